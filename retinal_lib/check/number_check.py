"""Checks of the numbers and comparisons in answers."""

from retinal_lib.check import lesion_locations
from retinal_lib.check.case_profile import CaseProfile
from retinal_lib.check.findings import AnswerFindings, Check
from retinal_lib.check.language import number_names
from retinal_lib.check.language.lexicon import ParsedText, Term, family, word_lists
from retinal_lib.check.language.number_names import NamedNumber
from retinal_lib.check.language.numbers import Amount
from retinal_lib.check.number_matching import QuantityMatcher
from retinal_lib.check.quantity_index import Quantity, QuantityIndex, matches_quantity
from retinal_lib.facts import Fact

WORDS = word_lists("number_check")
_COMPARATIVES = frozenset().union(*WORDS.greater.values(), *WORDS.lesser.values())
_STOPS = frozenset([".", ";"])


class Comparisons(Check):
    """Check of comparisons of arteries with veins, and of words that say there are several lesions."""

    def answer(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks an answer."""
        if answer.has(_COMPARATIVES):
            vessels = [t for t in answer.of("vessels") if t.value != "all"]
            self._superlatives(answer, vessels, findings)
            if len(vessels) > 1:
                self._comparatives(answer, vessels, findings)
        if answer.has(WORDS.many):
            self._check_several(answer, findings)

    def _comparatives(self, answer: ParsedText, vessels: list[Term], findings: AnswerFindings) -> None:
        """Checks sentences such as: the arteries are wider than the veins."""
        words = answer.words
        for k in [k for k, word in enumerate(words) if word == "than"]:
            before = [t for t in vessels if t.last <= k and k - t.last < 7]
            after = [t for t in vessels if t.first > k and t.first - k < 4]
            near = set(words[max(0, k - 4) : k])
            if not before or not after or before[-1].value == after[0].value or near & {"not", "no", "nor"}:
                continue
            sentence = answer.sentence(before[-1])
            zones = [v for t in answer.within("zones", sentence) for v in t.values] or ("whole", "b", "c")
            for measure in WORDS.greater:
                pairs = [(self._of(measure, before[-1].value, z), self._of(measure, after[0].value, z)) for z in zones]
                named = [(one, other) for one, other in pairs if one and other]
                if named and all((one.value - other.value) * _sign(measure, near) < 0 for one, other in named):
                    self._add_contradiction(answer, Term(before[-1].first, after[0].last), *named[0], findings)

    def _superlatives(self, answer: ParsedText, vessels: list[Term], findings: AnswerFindings) -> None:
        """Checks sentences such as: the arteries are the wider ones."""
        for term in vessels:
            after = answer.words[term.last : term.last + 4]
            if after[:2] not in (["are", "the"], ["is", "the"]) or "than" in answer.words[term.last : term.last + 6]:
                continue
            for measure in WORDS.greater:
                one = self._of(measure, term.value, "whole")
                other = self._of(measure, "vein" if term.value == "artery" else "artery", "whole")
                if one and other and (one.value - other.value) * _sign(measure, set(after)) < 0:
                    self._add_contradiction(answer, Term(term.first, term.last + len(after)), one, other, findings)

    @staticmethod
    def _add_contradiction(answer: ParsedText, spot: Term, one: Quantity, other: Quantity, findings: AnswerFindings) -> None:
        text = f"{answer.text_of(spot)!r} is wrong: {one.fact.text}, {other.fact.text}"
        findings.add("misattributed", spot, text, one.fact)

    def _of(self, measure: str, vessel: object, zone: str) -> Quantity | None:
        named = (measure, vessel, zone)
        return next((q for q in self.index.quantities if (q.measure, q.vessel, q.zone) == named), None)

    def _check_several(self, answer: ParsedText, findings: AnswerFindings) -> None:
        """Checks words such as several, where one lesion of the type is marked."""
        counts = [q for q in self.index.of("count") if q.value == 1 and q.subjects and not q.part]
        for term in answer.of("conditions") if counts else ():
            if not WORDS.many.isdisjoint(answer.words[max(0, term.first - 3) : term.first]):
                fact = next((q.fact for q in counts if q.subjects & family(term)), None)
                if fact is not None:
                    text = f"the answer says that there are several {answer.text_of(term)!r}, but {fact.text}"
                    findings.add("unsupported", term, text, fact)


def _sign(measure: str, words: set[str]) -> int:
    """1 where words say more of a measure, -1 where less, 0 where neither or both."""
    return bool(words & WORDS.greater[measure]) - bool(words & WORDS.lesser[measure])


class NumberCheck(Check):
    """Check of the numbers in answers. Words of earlier turns may name a number, too."""

    def __init__(self, profile: CaseProfile, index: QuantityIndex):
        super().__init__(profile, index)
        self._matcher = QuantityMatcher(index)

    def question(self, question: ParsedText, findings: AnswerFindings) -> None:
        """Records what a question names."""
        self._matcher.remember(question.terms)

    def answer(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Traces each number to a fact, or adds what is wrong with it."""
        stated: dict[int, Quantity] = {}  # by the number's position
        read = 0  # the number of terms that the matcher has recorded
        for number in number_names.read(answer):
            upto = next((k for k in range(read, len(answer.terms)) if answer.terms[k].first >= number.amount.first), None)
            self._matcher.remember(answer.terms[read:upto])
            read = len(answer.terms) if upto is None else upto
            grade = stated.get(number.position - 1)
            if grade is not None and grade.top and _ends_scale(number):
                _check_top(number, grade, findings)
            elif (fact := self._fact(number, stated)) is not None:
                findings.trace(number.amount, fact, "number")
            elif not self._is_definition(number, stated):
                self._matcher.report(number, findings)
        self._matcher.remember(answer.terms)

    def _fact(self, number: NamedNumber, stated: dict[int, Quantity]) -> Fact | None:
        """The fact that supports a number; a matching quantity is recorded in `stated`."""
        quantity = self._matcher.quantity(number)
        if quantity is not None:
            stated[number.position] = quantity
            return quantity.fact
        fact = self._worded(number)
        if fact is not None:
            return fact
        quantity = self._difference(number) or self._together(number)
        return quantity.fact if quantity else None

    def _worded(self, number: NamedNumber) -> Fact | None:
        """The fact with a number in its text: criteria of a scale, an angle of view, a note."""
        text, amount = number.text, number.amount
        if amount.first and text.words[amount.first - 1] in WORDS.levels:
            return None
        for written, fact in self.index.text_numbers:
            if (written.low, written.high, written.bound) != (amount.low, amount.high, amount.bound):
                continue
            if fact.aspect == "lesion" and not text.has(WORDS.largest):
                continue
            if written.unit == amount.unit or (not amount.unit and written.unit == "degrees"):
                return fact
        return None

    def _is_definition(self, number: NamedNumber, stated: dict[int, Quantity]) -> bool:
        """Whether a number is the end of a scale, a level that is explained, or part of the definition of a zone or measure."""
        amount, i, tops = number.amount, number.position, self.index.tops
        if amount.low == 0 and amount.high in tops:
            here = i and _STOPS.isdisjoint(number.text.words[number.amounts[i - 1].last : amount.first])
            return not (here and i - 1 in stated and stated[i - 1].top not in (0, amount.high))
        return (amount.whole and _is_level(number, tops)) or self._defines(number)

    def _defines(self, number: NamedNumber) -> bool:
        """Whether a number is the tortuosity of a straight line, a limit of fractal dimensions, or the extent of a zone."""
        text, amount = number.text, number.amount
        if lesion_locations.counts_quadrants(text.words, amount.last):
            return True  # which the check of locations judges
        if amount.low == 1 and text.has(WORDS.straight):
            return True
        edges = {edge for a in number.amounts for edge in (a.low, a.high)}
        if amount.low in (1, 2) and "fractal" in self._matcher.named_so_far["measures"] and edges >= {1.0, 2.0}:
            return True
        described = self.index.vascular or self.index.located
        return bool(described) and amount.unit == "dd" and {amount.low, amount.high} <= {0.5, 1.0, 2.0}

    def _difference(self, number: NamedNumber) -> Quantity | None:
        """The first of two quantities of one measure whose difference a number states, in words such as 5 µm wider."""
        amount, quantities = number.amount, self.index.quantities
        words = number.text.words
        if amount.spelled:
            compared = amount.ratio or words[amount.last : amount.last + 1] in (["that"], ["as"]) or _is_part_of_vessels(number)
        elif amount.bound or not _differs(words, amount):
            return None
        else:
            compared = amount.unit == "%"
        if amount.ratio:
            for quantity in quantities:
                if quantity.measure == "avr" and abs(1 / quantity.value - amount.low) <= amount.step:
                    return next(q for q in quantities if q.measure == "avr")
        measures = number.own("measures") | number.before("measures") | self._matcher.named_so_far["measures"]
        named = [q for q in quantities if q.measure in measures and not q.excess]
        for i, one in enumerate(named):
            for other in named[i + 1 :]:
                if one.measure == other.measure and _differ_in_one(one, other) and _is_between(one, other, amount, compared):
                    return one
        return None

    def _together(self, number: NamedNumber) -> Quantity | None:
        """A quantity of the lesions that a number counts in several quadrants together."""
        amount = number.amount
        counts = amount.whole and not (amount.unit or amount.edges or amount.bound)
        return lesion_locations.together(number.text, amount, self.index) if counts else None


def _ends_scale(number: NamedNumber) -> bool:
    """Whether a number is the end of the scale of the number before it: 2 of 4, 2/4, 2 out of 4."""
    before = number.amounts[number.position - 1]
    return number.text.words[before.last : number.amount.first] in (["of"], ["/"], ["out", "of"])


def _check_top(number: NamedNumber, grade: Quantity, findings: AnswerFindings) -> None:
    """Adds a finding where an answer gives a wrong end of a grade's scale."""
    amount = number.amount
    if amount.high != grade.top or amount.low not in (0, grade.top):
        top = number.text.text_of(amount)
        says = f"the answer says that the scale ends at {top!r}, but it ends at {grade.top}: {grade.fact.text}"
        findings.add("wrong_grade", amount, says, grade.fact)


def _is_level(number: NamedNumber, tops: set[int]) -> bool:
    """Whether a whole number is a scale's end or a level that is explained."""
    text, amount, words = number.text, number.amount, number.text.words
    before, after = words[amount.first - 1] if amount.first else "", words[amount.last : amount.last + 1]
    if amount.low in tops and (before in ("/", "of", "to") or words[amount.first - 2 : amount.first] == ["out", "of"]):
        return True
    ends = amount.low == amount.high and (amount.low in tops or amount.low == 0)
    explained = (
        before in WORDS.before_end
        or (before == "at" and words[amount.first - 2] in WORDS.reaches)
        or after == ["("]
        or not WORDS.means.isdisjoint(after)
    )
    if len(number.amounts) > 1 and ends and explained and before not in WORDS.levels and text.has(WORDS.scale):
        return True
    if amount.bound and amount.low in (0, 1) and not amount.unit:
        return True  # a value below 1 means ...
    return before in WORDS.levels and not WORDS.means.isdisjoint(after)  # the check of diseases judges it


def _differs(words: list[str], amount: Amount) -> bool:
    near = words[max(0, amount.first - 4) : amount.last + 4]
    return not WORDS.differs.isdisjoint(near) or "by" in words[max(0, amount.first - 2) : amount.first]


def _differ_in_one(one: Quantity, other: Quantity) -> bool:
    """Whether two quantities differ in one thing that names them: in vessels, zone, formula, direction or lesion."""
    apart = sum(a != b for a, b in zip(one[4:8], other[4:8], strict=True)) + (one.subjects != other.subjects)
    return apart == 1


def _is_between(one: Quantity, other: Quantity, amount: Amount, compared: bool) -> bool:
    """Whether an amount states how far two quantities lie apart, or what part the one is of the other."""
    if compared and _is_share(one, other, amount):
        return True
    value = abs(one.value - other.value)
    apart = abs(one.displayed_value - other.displayed_value)
    return bool(value) and matches_quantity(amount, one._replace(value=value, rounded=apart))


def _is_part_of_vessels(number: NamedNumber) -> bool:
    """Whether a number is a part of what other vessels have: three quarters of the veins' width."""
    last = number.amount.last
    if number.text.words[last : last + 1] != ["of"]:
        return False
    return any(last < t.first <= last + 2 for t in number.text.of("vessels"))


def _is_share(one: Quantity, other: Quantity, amount: Amount) -> bool:
    """Whether an amount states by what share one value is larger or smaller than another, or what part it is of it."""
    low, high = sorted((one.value, other.value))
    if low <= 0:
        return False
    if amount.ratio:
        return abs(high / low - amount.low) <= amount.step
    if amount.spelled:
        return abs(low / high - amount.low) <= 0.06
    share, most = amount.low / 100, max(amount.step, 0.5) * 1.01 / 100
    return min(abs(high / low - 1 - share), abs(1 - low / high - share)) <= most
