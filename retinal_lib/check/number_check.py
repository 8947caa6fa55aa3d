"""Checks of the numbers and comparisons in answers."""

from collections.abc import Iterator

from retinal_lib.check import lesion_locations
from retinal_lib.check.case_profile import CaseProfile
from retinal_lib.check.findings import AnswerFindings, Check
from retinal_lib.check.language import naming, numbers
from retinal_lib.check.language.lexicon import ParsedText, Term, family, word_lists
from retinal_lib.check.language.numbers import Amount
from retinal_lib.check.number_facts import Number, NumberReader
from retinal_lib.check.quantity_index import Quantity, QuantityIndex, matches_quantity
from retinal_lib.facts import Fact

WORDS = word_lists("number_check")
_MEASURED = naming.MEASURED - {"angle"}
_STOPS = frozenset([".", ";"])
_DIMENSION = {kind: dimension for dimension, kind in naming.KINDS.items() if dimension != "measure"}
_COMPARED = ("vessels", "orientations", "formulas", "zones", "measures")


class Comparisons(Check):
    """Check of comparisons, such as of arteries with veins, and of words that say there are several lesions."""

    def answer(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks an answer."""
        if answer.has(WORDS.comparing):
            for sentence in answer.sentences:
                for k in [k for k in sentence if answer.words[k] in WORDS.comparing]:
                    self._compare(answer, sentence, k, findings)
        if answer.has(WORDS.many):
            self._check_several(answer, findings)

    def _compare(self, answer: ParsedText, sentence: range, k: int, findings: AnswerFindings) -> None:
        """Checks one comparison: the arteries are wider than the veins, CRVE exceeds CRAE, the veins are the wider ones."""
        words = answer.words
        low, high = sentence.start, min(sentence.stop, k + 8)
        than = next((i for i in range(k + 1, min(k + 5, high)) if words[i] == "than"), None)
        sign = -1 if words[k] in WORDS.lesser or "less" in words[max(low, k - 1) : k] else 1
        if not {"not", "no", "nor", "neither"}.isdisjoint(words[max(low, k - 3) : k]):
            return
        low = max((i + 1 for i in range(low, k) if words[i] in WORDS.clauses), default=low)
        verb = words[k] in WORDS.exceeding
        if than is None and not verb and "the" not in words[max(low, k - 1) : k]:
            return
        at = than or k
        high = next((i for i in range(at + 1, high) if words[i] in WORDS.clauses), high)
        left = range(low, at if than is None else k + 1)
        right = range(at + 1, high) if than or verb else range(0)
        pair = self._operands(answer, left, right)
        if pair is None:
            return
        kind, one, other = pair
        shared = {t.value for t in answer.within("measures", sentence) if len(t.values) == 1} - {"box", "area", "count"}
        measures = {WORDS.of_comparative[words[k]]} if words[k] in WORDS.of_comparative else shared & _MEASURED or shared
        places = {each: {v for t in answer.within(each, range(low, high)) for v in t.values} for each in _COMPARED[:-1]}
        pairs = list(self._pairs(kind, one, other, measures, places))
        if not places["zones"]:  # of the whole image, where that is known
            pairs = [(a, b) for a, b in pairs if a.zone == b.zone == "whole"] or pairs
        if pairs and all((a.value - b.value) * sign < 0 for a, b in pairs):
            first, second = pairs[0]
            spot = Term(max(low, k - 1), min(at + 1, high))
            text = f"{answer.text_of(spot)!r} is wrong: {first.fact.text}, {second.fact.text}"
            findings.add("misattributed", spot, text, first.fact)

    @staticmethod
    def _operands(answer: ParsedText, left: range, right: range) -> tuple[str, str, str] | None:
        """What is compared: the kind of name that differs, with its values; the second may be left out: the wider ones."""
        for kind in _COMPARED:
            before = [t.value for t in answer.within(kind, left) if len(t.values) == 1 and t.value not in ("all", "whole")]
            after = [t.value for t in answer.within(kind, right) if len(t.values) == 1]
            opposite = naming.OPPOSITES.get(_DIMENSION.get(kind, ""), {"crae": "crve", "crve": "crae"})
            if before and after and before[-1] != after[0]:
                return kind, str(before[-1]), str(after[0])
            if before and not after and not right and len(set(before)) == 1 and before[0] in opposite:
                return kind, str(before[0]), opposite[str(before[0])]
        return None

    def _pairs(self, kind: str, one: str, other: str, measures: set, places: dict) -> Iterator[tuple[Quantity, Quantity]]:
        """The quantities that are compared, which differ in one thing that names them."""
        name = kind.removesuffix("s")
        for first in self.index.quantities:
            if getattr(first, name) != one or first.excess or first.edges:
                continue
            if kind != "measures" and first.measure not in (measures or {"width"} if kind == "vessels" else measures):
                continue
            if any(places[each] and getattr(first, each[:-1]) not in (None, *places[each]) for each in places if each != kind):
                continue
            for second in self.index.quantities:
                if getattr(second, name) == other and first._replace(**{name: other})[3:8] == second[3:8]:
                    yield first, second

    def _check_several(self, answer: ParsedText, findings: AnswerFindings) -> None:
        """Checks words such as several, where one lesion of the type is marked."""
        counts = [q for q in self.index.of("count") if q.value == 1 and q.subjects and not q.part]
        for term in answer.of("conditions") if counts else ():
            if not WORDS.many.isdisjoint(answer.words[max(0, term.first - 3) : term.first]):
                fact = next((q.fact for q in counts if q.subjects & family(term)), None)
                if fact is not None:
                    text = f"the answer says that there are several {answer.text_of(term)!r}, but {fact.text}"
                    findings.add("unsupported", term, text, fact)


class NumberCheck(Check):
    """Check of the numbers in answers. Words of earlier turns may name a number, too."""

    def __init__(self, profile: CaseProfile, index: QuantityIndex):
        super().__init__(profile, index)
        self._reader = NumberReader(index)

    def question(self, question: ParsedText, findings: AnswerFindings) -> None:
        """Records what a question names."""
        self._reader.remember(question)

    def answer(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Traces each number to a fact, or adds what is wrong with it."""
        self._reader.remember(answer)
        amounts = numbers.read(answer)
        read = self._reader.read(answer, question, amounts) if amounts else {}
        stated: dict[int, Quantity] = {}  # by the number's position
        for i in range(len(amounts)):
            number = Number(answer, amounts, i)
            grade = stated.get(i - 1)
            if grade is not None and grade.top and _ends_scale(number):
                _check_top(number, grade, findings)
            elif (quantity := read.get(i)) is not None:
                stated[i] = quantity
                findings.trace(number.amount, quantity.fact, "number")
            elif (fact := self._fact(number)) is not None:
                findings.trace(number.amount, fact, "number")
            elif not self._is_definition(number, stated):
                self._report(number, findings)

    def _fact(self, number: Number) -> Fact | None:
        """The fact that supports a number that states no quantity by itself."""
        fact = self._worded(number)
        if fact is not None:
            return fact
        quantity = self._difference(number) or self._together(number)
        return quantity.fact if quantity else None

    def _worded(self, number: Number) -> Fact | None:
        """The fact with a number in its text: criteria of a scale, an angle of view, a note."""
        text, amount = number.text, number.amount
        if amount.first and text.words[amount.first - 1] in WORDS.levels:
            return None
        for written, fact in self.index.text_numbers:
            if (written.low, written.high, written.bound) != (amount.low, amount.high, amount.bound):
                continue
            if fact.aspect == "lesion" and not text.has(WORDS.largest):
                continue
            aged = written.unit == "years" and "age" in number.measures
            if written.unit == amount.unit or (not amount.unit and (aged or written.unit == "degrees")):
                return fact
        return None

    def _is_definition(self, number: Number, stated: dict[int, Quantity]) -> bool:
        """Whether a number is the end of a scale, a level that is explained, or part of the definition of a zone or measure."""
        amount, i, tops = number.amount, number.position, self.index.tops
        if amount.low == 0 and amount.high in tops:
            here = i and _STOPS.isdisjoint(number.text.words[number.amounts[i - 1].last : amount.first])
            return not (here and i - 1 in stated and stated[i - 1].top not in (0, amount.high))
        return (amount.whole and _is_level(number, tops)) or self._defines(number)

    def _defines(self, number: Number) -> bool:
        """Whether a number is the tortuosity of a straight line, a limit of fractal dimensions, or the extent of a zone."""
        text, amount = number.text, number.amount
        if lesion_locations.counts_quadrants(text.words, amount.last):
            return True  # which the check of locations judges
        if amount.low == 1 and text.has(WORDS.straight):
            return True
        edges = {edge for a in number.amounts for edge in (a.low, a.high)}
        if amount.low in (1, 2) and "fractal" in self._reader.named["measures"] and edges >= {1.0, 2.0}:
            return True
        described = self.index.vascular or self.index.located
        return bool(described) and amount.unit == "dd" and {amount.low, amount.high} <= {0.5, 1.0, 2.0}

    def _difference(self, number: Number) -> Quantity | None:
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
        measures = self._reader.named["measures"]
        named = [q for q in quantities if q.measure in measures and not q.excess]
        for i, one in enumerate(named):
            for other in named[i + 1 :]:
                if one.measure == other.measure and _differ_in_one(one, other) and _is_between(one, other, amount, compared):
                    return one
        return None

    def _together(self, number: Number) -> Quantity | None:
        """A quantity of the lesions that a number counts in several quadrants together."""
        amount = number.amount
        counts = amount.whole and not (amount.unit or amount.edges or amount.bound)
        return lesion_locations.together(number.text, amount, self.index) if counts else None

    # --- what is wrong ------------------------------------------------------------------------------------------------

    def _report(self, number: Number, findings: AnswerFindings) -> None:
        """Adds a finding for a number that matches no fact."""
        amount, index, tokens = number.amount, self.index, number.text.words
        text = number.text.text_of(amount)
        if amount.edges:
            findings.add("box", amount, f"the box {text} is not among the marked boxes{_closest(index, amount)}")
            return
        if amount.whole and not WORDS.levels.isdisjoint(tokens[max(0, amount.first - 3) : amount.first]):
            conditions = {c for t in number.text.within("conditions", number.text.sentence(amount)) for c in family(t)}
            grades = index.of("grade")
            right = next((q.fact for q in grades if q.subjects & conditions), grades[0].fact if grades else None)
            if right is not None:
                findings.add("wrong_grade", amount, f"the answer gives the grade {text!r}, but {right.text}", right)
                return
        same = index.matching(amount)
        if same and (len(text.strip("0.")) > 1 or any(q.measure == "count" for q in same)):
            fact = same[0].fact
            findings.add("misattributed", amount, f"{text!r} belongs to another fact: {fact.text}", fact)
            return
        named = [q for q in index.quantities if not number.measures.isdisjoint(q.names.get("measure", ()))]
        if wrong_unit_matches := [q for q in index.wrong_unit_matches(amount) if q in named]:
            fact = wrong_unit_matches[0].fact
            findings.add("unit", amount, f"{text!r} has a wrong unit or factor: {fact.text}", fact)
            return
        fact = min(named, key=lambda q: abs(q.value - amount.low)).fact if named else None
        instead = f", which say: {fact.text}" if fact else ""
        findings.add("unsupported", amount, f"{text!r} is not in the facts{instead}", fact)


def _ends_scale(number: Number) -> bool:
    """Whether a number is the end of the scale of the number before it: 2 of 4, 2/4, 2 out of 4."""
    before = number.amounts[number.position - 1]
    return number.text.words[before.last : number.amount.first] in (["of"], ["/"], ["out", "of"])


def _check_top(number: Number, grade: Quantity, findings: AnswerFindings) -> None:
    """Adds a finding where an answer gives a wrong end of a grade's scale."""
    amount = number.amount
    if amount.high != grade.top or amount.low not in (0, grade.top):
        top = number.text.text_of(amount)
        says = f"the answer says that the scale ends at {top!r}, but it ends at {grade.top}: {grade.fact.text}"
        findings.add("wrong_grade", amount, says, grade.fact)


def _is_level(number: Number, tops: set[int]) -> bool:
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


def _is_part_of_vessels(number: Number) -> bool:
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


def _closest(index: QuantityIndex, amount: Amount) -> str:
    boxes = sorted(index.boxes, key=lambda q: sum(abs(a - b) for a, b in zip(q.edges, amount.edges, strict=True)))
    return f"; the closest is {list(boxes[0].edges)}" if boxes else ""
