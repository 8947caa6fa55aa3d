"""Checks of the numbers and comparisons in answers."""

from collections import defaultdict
from itertools import combinations
from typing import NamedTuple

from retinal_lib.check import lesion_locations
from retinal_lib.check.case_profile import CaseProfile
from retinal_lib.check.findings import AnswerFindings, Check
from retinal_lib.check.language import naming, numbers
from retinal_lib.check.language.lexicon import ParsedText, Term, family, word_lists
from retinal_lib.check.language.naming import DIMENSIONS, Part, Spot
from retinal_lib.check.language.numbers import Amount
from retinal_lib.check.quantity_index import UNITS, Quantity, QuantityIndex, matches_value
from retinal_lib.facts import Fact

WORDS = word_lists("number_check")
_COMPARED = {"vessels": "vessel", "orientations": "orientation", "formulas": "formula", "zones": "zone", "measures": "measure"}
_PARTS = {**WORDS.parts, "place": lesion_locations.REGION_WORDS, "rest place": lesion_locations.REGION_WORDS}
_MANY = 40  # numbers of a sentence that are named together
_NEAR = 12  # sentences before one that may name its numbers
_ASIDE = frozenset(["age", "grade", "count", "box", "area"])  # measures beside which a bare number may be an age


class Comparisons(Check):
    """Check of comparisons, such as of arteries with veins, and of words that say there are several lesions."""

    def answer(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks an answer."""
        for sentence in answer.sentences if answer.has(WORDS.comparing) else ():
            for k in [k for k in sentence if answer.words[k] in WORDS.comparing]:
                self._compare(answer, sentence, k, findings)

    def _compare(self, answer: ParsedText, sentence: range, k: int, findings: AnswerFindings) -> None:
        """Checks one comparison: the arteries are wider than the veins, CRVE exceeds CRAE, the veins are the wider ones."""
        words = answer.words
        low = max((i + 1 for i in range(sentence.start, k) if words[i] in WORDS.clauses), default=sentence.start)
        high = next((i for i in range(k + 1, sentence.stop) if words[i] in WORDS.clauses), sentence.stop)
        than = next((i for i in range(k + 1, min(k + 5, high)) if words[i] == "than"), None)
        alone = than is None and words[k] not in WORDS.exceeding  # the wider ones
        if (alone and "the" not in words[max(low, k - 1) : k]) or {"not", "no"} & set(words[max(low, k - 3) : k]):
            return
        at = than or k
        pair = self._operands(answer, range(low, than or k + 1), range(at + 1, at + 1 if alone else high))
        shared = {t.value for t in answer.within("measures", sentence) if len(t.values) == 1}
        measures = {WORDS.of_comparative[words[k]]} if words[k] in WORDS.of_comparative else shared or {"width"}
        zones = {v for t in answer.within("zones", sentence) for v in t.values}
        sign = -1 if words[k] in WORDS.lesser or "less" in words[max(low, k - 1) : k] else 1
        pairs = self._pairs(*pair, measures, zones) if pair else []
        if pairs and all((a.value - b.value) * sign < 0 for a, b in pairs):
            spot = Term(max(low, k - 1), at + 1)
            says = " ".join(f"{answer.text_of(spot)!r} is wrong: {pairs[0][0].fact.text}, {pairs[0][1].fact.text}".split())
            findings.add("misattributed", spot, says, pairs[0][0].fact)

    @staticmethod
    def _operands(answer: ParsedText, left: range, right: range) -> tuple[str, str, str] | None:
        """What is compared: the dimension that differs, with its values; the second may be left out: the wider ones."""
        for kind, dimension in _COMPARED.items():
            before = [t.value for t in answer.within(kind, left) if len(t.values) == 1]
            after = [t.value for t in answer.within(kind, right) if len(t.values) == 1]
            if before and not right:
                after = [naming.OPPOSITES.get(dimension, {}).get(before[-1])]
            if before and after and before[-1] != after[0]:
                return dimension, before[-1], after[0]
        return None

    def _pairs(self, dimension: str, one: str, other: str, measures: set, zones: set) -> list[tuple[Quantity, Quantity]]:
        """The quantities that are compared, which differ in one dimension."""
        named = [q for q in self.index.quantities if not q.excess and (dimension == "measure" or q.measure in measures)]
        named = [q for q in named if not zones or q.zone in (None, *zones)]
        return [
            (first, second)
            for first in named
            for second in named
            if getattr(first, dimension) == one and first._replace(**{dimension: other})[3:8] == second[3:8]
        ]


class Number(NamedTuple):
    """A number of a text; `position` is its index in `amounts`, the numbers of the text."""

    text: ParsedText
    amounts: list[Amount]
    position: int

    @property
    def amount(self) -> Amount:
        """The number itself."""
        return self.amounts[self.position]

    @property
    def measures(self) -> set[str]:
        """The measures that the sentence names."""
        return {v for t in self.text.within("measures", self.text.sentence(self.amount)) for v in t.values}

    @property
    def around(self) -> list[str]:
        """The words of the sentence between the numbers before and after."""
        i, sentence = self.position, self.text.sentence(self.amount)
        first = self.amounts[i - 1].last if i else 0
        last = self.amounts[i + 1].first if i + 1 < len(self.amounts) else sentence.stop
        return self.text.words[max(first, sentence.start) : min(last, sentence.stop)]

    @property
    def before(self) -> str:
        """The word before the number."""
        return self.text.words[self.amount.first - 1] if self.amount.first else ""


class NumberCheck(Check):
    """Check of the numbers in answers. Words of earlier turns may name a number, too."""

    def __init__(self, profile: CaseProfile, index: QuantityIndex):
        super().__init__(profile, index)
        self._named: dict[str, set] = defaultdict(set)  # what the conversation has named so far, by kind

    def question(self, question: ParsedText, findings: AnswerFindings) -> None:
        """Records what a question names."""
        for term in question.terms:
            self._named[term.kind].update(map(str, term.values))

    def answer(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Traces each number to a fact, or adds what is wrong with it."""
        self.question(answer, findings)
        amounts = numbers.read(answer)
        read = self._read(answer, question, amounts) if amounts else {}
        for i in range(len(amounts)):
            number, grade = Number(answer, amounts, i), read.get(i - 1)
            if grade is not None and grade.top and _ends_scale(number):
                _check_top(number, grade, findings)
                continue
            quantity = read.get(i) or self._difference(number)
            if (fact := quantity.fact if quantity else self._worded(number)) is not None:
                findings.trace(number.amount, fact, "number")
            elif not self._defines(number):
                self._report(number, findings)

    # --- which quantity a number states ---------------------------------------------------------------------------------

    def _read(self, answer: ParsedText, question: ParsedText, amounts: list[Amount]) -> dict[int, Quantity]:
        """The quantity that each of the numbers states, by position; numbers that state none are left out."""
        known = {i: found for i in range(len(amounts)) if (found := self._candidates(Number(answer, amounts, i)))}
        inner = {k for amount in amounts for k in range(amount.first, amount.last)}
        earlier = [Part(question, sentence, set()) for sentence in reversed(question.sentences)]
        for sentence in answer.sentences:
            inside = [i for i in known if amounts[i].first in sentence]
            for first in range(0, len(inside), _MANY):
                here = {i: known[i] for i in inside[first : first + _MANY]}
                for dimension in DIMENSIONS:
                    self._name(dimension, here, amounts, Part(answer, sentence, inner), earlier[: -_NEAR - 1 : -1])
                known |= here
            earlier.append(Part(answer, sentence, inner))
        return {i: found[0] for i, found in known.items() if found}

    def _name(
        self, dimension: str, found: dict[int, list[Quantity]], amounts: list[Amount], part: Part, earlier: list[Part]
    ) -> None:
        """Leaves those quantities of the numbers of a sentence that the words around them name, in one dimension."""
        known = frozenset([*self._named["measures"], "density"])
        while concerned := [i for i, quantities in found.items() if any(dimension in q.names for q in quantities)]:
            spots = [Spot(*amounts[i][:2], tuple(q.names for q in found[i]), bool(amounts[i].edges)) for i in concerned]
            reading = naming.Reading(dimension, spots, part, earlier, known)
            if (names := reading.names()) is None:
                found[concerned[reading.reached]] = []
                continue
            for i, given in zip(concerned, names, strict=True):
                found[i] = [q for q in found[i] if not given.isdisjoint(q.names.get(dimension, given))]
            return

    def _candidates(self, number: Number) -> list[Quantity]:
        """The quantities of a number's value that its unit and the words of the conversation allow; one for each fact."""
        fitting = [quantity for quantity in self.index.matching(number.amount) if self._may_be(quantity, number)]
        return list({(q.fact.name, q.measure): q for q in reversed(fitting)}.values())[::-1]

    def _may_be(self, quantity: Quantity, number: Number) -> bool:
        amount, named, measure = number.amount, self._named, quantity.measure
        counts = amount.whole and not amount.unit
        if quantity.part in _PARTS and _PARTS[quantity.part].isdisjoint(number.around):
            return False
        if measure == "count":  # without subjects: of all types of lesion together
            counted = any(amount.last <= t.first <= amount.last + 1 for t in number.text.of("conditions"))
            return counts and (bool(named["conditions"] or named["disorder"]) if quantity.subjects else not counted)
        if measure == "age":
            return amount.unit == "years" or (counts and number.measures <= _ASIDE)
        if measure == "grade":
            return counts and ("grade" in named["measures"] or not named["conditions"].isdisjoint(quantity.subjects))
        if measure in ("box", "edge"):
            return bool(amount.edges) or amount.low != amount.high or "box" in named["measures"]
        if measure == "area":
            return amount.unit == "%" or "area" in named["measures"]
        if measure == "distance":
            return amount.unit == "dd"
        if quantity.excess:  # a path 3 % longer than its chord
            return amount.unit == "%" and "tortuosity" in named["measures"]
        return self._is_measured(quantity, amount)

    def _is_measured(self, quantity: Quantity, amount: Amount) -> bool:
        """Whether the conversation has named the measure, zone and vessels of a measurement."""
        named, measure = self._named, quantity.measure
        vessels = quantity.vessel in (None, "all") or bool(named["vessels"])
        zones = measure in ("crae", "crve", "avr") or quantity.zone in (None, "whole", *named["zones"])
        implied = measure == "density" or (measure == "width" and amount.unit == "µm")
        return vessels and zones and (implied or not named["measures"].isdisjoint(quantity.names["measure"]))

    # --- numbers that state no quantity by themselves -------------------------------------------------------------------

    def _difference(self, number: Number) -> Quantity | None:
        """The first of two quantities that a number compares: 5 µm wider, a fifth less, three quarters of the veins' width.
        They are of one measure, and differ in vessels, zone, formula, direction or lesion. Or a quantity of lesions that a
        number counts in several quadrants together."""
        amount, words = number.amount, number.text.words
        near, by = words[max(0, amount.first - 4) : amount.last + 4], "by" in words[max(0, amount.first - 2) : amount.first]
        if amount.spelled or (not amount.bound and (by or not WORDS.differs.isdisjoint(near))):
            named = [q for q in self.index.quantities if q.measure in self._named["measures"] and not q.excess]
            for one, other in combinations(named, 2):
                apart = sum(a != b for a, b in zip(one[4:8], other[4:8], strict=True)) + (one.subjects != other.subjects)
                if one.measure == other.measure and apart == 1 and _is_between(one, other, amount):
                    return one
        counts = amount.whole and not (amount.unit or amount.edges or amount.bound)
        return lesion_locations.together(number.text, amount, self.index) if counts else None

    def _worded(self, number: Number) -> Fact | None:
        """The fact with a number in its text: criteria of a scale, an angle of view, a note."""
        amount = number.amount
        known = self.index.text_numbers if number.before not in WORDS.levels else ()
        same = [pair for pair in known if (pair[0].low, pair[0].high, pair[0].bound) == (amount.low, amount.high, amount.bound)]
        return next((fact for written, fact in same if amount.unit in ("", written.unit)), None)

    def _defines(self, number: Number) -> bool:
        """Whether a number belongs to a definition: an end of a scale, a level that is explained, the tortuosity of a straight
        line, a limit of fractal dimensions, the extent of a zone; or counts quadrants, which the check of locations judges."""
        text, amount, ends = number.text, number.amount, {number.amount.low, number.amount.high}
        if number.before in WORDS.levels:  # grade 4 is ..., which the check of diseases judges
            return not WORDS.means.isdisjoint(text.words[amount.last : amount.last + 1])
        if ends <= {0, *self.index.tops} and (len(ends) > 1 or text.has(WORDS.scale)):
            return True
        if amount.unit == "dd":
            return ends <= {0.5, 1.0, 2.0}
        winding = any(t.value in ("fractal", "tortuosity") for t in text.of("measures"))
        return (winding and ends <= {1.0, 2.0}) or lesion_locations.counts_quadrants(text.words, amount.last)

    # --- what is wrong --------------------------------------------------------------------------------------------------

    def _report(self, number: Number, findings: AnswerFindings) -> None:
        """Adds a finding for a number that matches no fact."""
        amount, index, text = number.amount, self.index, number.text.text_of(number.amount)
        named = [q for q in index.quantities if not number.measures.isdisjoint(q.names.get("measure", ()))]
        if amount.edges:
            near = min((q.edges for q in index.boxes), key=lambda edges: sum(map(_apart, edges, amount.edges)), default=None)
            closest = f"; the closest is {list(near)}" if near else ""
            findings.add("box", amount, f"the box {text} is not among the marked boxes{closest}")
        elif number.before in WORDS.levels and (grades := index.of("grade")):
            conditions = {c for t in number.text.within("conditions", number.text.sentence(amount)) for c in family(t)}
            fact = next((q for q in grades if q.subjects & conditions), grades[0]).fact
            findings.add("wrong_grade", amount, f"the answer gives the grade {text!r}, but {fact.text}", fact)
        elif same := index.matching(amount):
            says = f"{text!r} belongs to another fact: {same[0].fact.text}"
            findings.add("misattributed", amount, says, same[0].fact)
        elif wrong := [q for q in index.wrong_unit_matches(amount) if q in named]:
            says = f"{text!r} has a wrong unit or factor: {wrong[0].fact.text}"
            findings.add("unit", amount, says, wrong[0].fact)
        else:
            fact = min(named, key=lambda q: _apart(q.value, amount.low)).fact if named else None
            says = f"{text!r} is not in the facts" + (f", which say: {fact.text}" if fact else "")
            findings.add("unsupported", amount, says, fact)


def _apart(one: float, other: float) -> float:
    return abs(one - other)


def _ends_scale(number: Number) -> bool:
    """Whether a number ends the scale of the grade before it: 2 of 4, 2/4, 2 out of 4, 2 on a scale of 0 to 4."""
    before = number.amounts[number.position - 1]
    between = number.text.words[before.last : number.amount.first]
    return between in (["of"], ["/"], ["out", "of"]) or number.amount.low == 0 < number.amount.high


def _check_top(number: Number, grade: Quantity, findings: AnswerFindings) -> None:
    """Adds a finding where an answer gives a wrong end of a grade's scale."""
    amount = number.amount
    if amount.high != grade.top or amount.low not in (0, grade.top):
        top = number.text.text_of(amount)
        says = f"the answer says that the scale ends at {top!r}, but it ends at {grade.top}: {grade.fact.text}"
        findings.add("wrong_grade", amount, says, grade.fact)


def _is_between(one: Quantity, other: Quantity, amount: Amount) -> bool:
    """Whether an amount states how far two values lie apart, by what share they differ, or what part one is of the other."""
    value, exact = _apart(one.value, other.value), not (amount.spelled or amount.bound)
    factor = UNITS[one.unit].get(amount.unit) if exact else None
    if matches_value(amount, one.unit, value) or (factor and _apart(factor * value, amount.low) < 2 * amount.step):
        return True  # which may be of rounded values
    low, high = sorted((one.value, other.value))
    if low <= 0:
        return False
    if amount.ratio:  # twice as wide
        return _apart(high / low, amount.low) <= amount.step
    if amount.spelled:  # three quarters of it
        return _apart(low / high, amount.low) <= 0.06
    share, most = amount.low / 100, max(amount.step, 0.5) * 1.01 / 100
    return amount.unit == "%" and min(_apart(high / low - 1, share), _apart(1 - low / high, share)) <= most
