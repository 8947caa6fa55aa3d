"""The quantity that a number in an answer states, and what is wrong with a number that states none."""

from collections.abc import Iterable

from retinal_lib.check.findings import AnswerFindings
from retinal_lib.check.language.lexicon import Term, implied, word_lists
from retinal_lib.check.language.number_lists import KINDS
from retinal_lib.check.language.number_names import NamedNumber
from retinal_lib.check.language.numbers import Amount
from retinal_lib.check.lesion_locations import REGION_WORDS
from retinal_lib.check.quantity_index import Quantity, QuantityIndex

WORDS = word_lists("number_matching")
_NONE: frozenset[str] = frozenset()
_UNRELATED = frozenset("disc cup width box area".split())  # named beside a grade without being what is graded
_ANY = frozenset(["area", "box", "count", "age"])  # words that leave the measure as it was
_AREA = frozenset(["area", "box"])
_CUP_DISC = frozenset(["cup", "disc"])
_BESIDE_GRADE = frozenset(["disc", "cup", "width"])
_ALIKE = {"edge": "box", "distance": "count"}  # measures named by the words of another
_ZONED = ("crae", "crve", "avr")  # measures that have a zone always
_PARTS = {**WORDS.parts, "place": REGION_WORDS, "rest place": REGION_WORDS}  # part of a lesion type -> words that name it
_EQUIVALENTS = {"crae": "artery", "crve": "vein"}


class QuantityMatcher:
    """Matches the numbers of one conversation to quantities. `named_so_far` are the values of each kind that the conversation
    has named so far, `last_measures` the measures named last."""

    def __init__(self, index: QuantityIndex):
        self.index = index
        self.named_so_far: dict[str, set] = {kind: set() for kind in KINDS}
        self.last_measures: frozenset[str] = _NONE

    def remember(self, terms: Iterable[Term]) -> None:
        """Records the values that terms name."""
        for term in terms:
            if term.kind in self.named_so_far:
                self.named_so_far[term.kind].update(term.values)
                if term.kind == "measures" and not _ANY.issuperset(term.values):
                    self.last_measures = frozenset(term.values)

    def quantity(self, number: NamedNumber) -> Quantity | None:
        """Returns the first quantity that fits a number by value and by name; None where none does."""
        return next((q for q in self.index.matching(number.amount) if self.is_named(q, number)), None)

    def is_named(self, quantity: Quantity, number: NamedNumber) -> bool:
        """Says whether a number is named as a quantity is."""
        if number.counts_conditions and quantity.measure not in ("count", "grade", "age"):
            return False
        return (
            self._measure_fits(quantity, number)
            and self.subject_fits(quantity, number)
            and self._place_fits(quantity, number)
            and _part_fits(quantity, number)
        )

    # --- measure ------------------------------------------------------------------------------------------------------

    def _measure_fits(self, quantity: Quantity, number: NamedNumber) -> bool:
        own, amount = number.own("measures"), number.amount
        measure = _ALIKE.get(quantity.measure, quantity.measure)
        if measure in ("age", "box", "area", "count"):
            return self._count_fits(quantity, measure, number)
        if quantity.excess:  # a path 3 % longer than its chord
            return amount.unit == "%" and "tortuosity" in own | number.before("measures") | self.named_so_far["measures"]
        if measure == "density" and own <= _AREA and (own or amount.unit == "%"):
            return bool(self.named_so_far["vessels"] or number.own("vessels") or "density" in self.named_so_far["measures"])
        if measure in own or self._is_implied(measure, number):
            return True
        if measure == "grade":
            return self._grade_fits(quantity, number)
        return own <= _ANY and self._is_as_before(measure, number)

    def _count_fits(self, quantity: Quantity, measure: str, number: NamedNumber) -> bool:
        """Of ages, boxes, areas, counts and distances, which units and other words tell apart."""
        own, amount = number.own("measures"), number.amount
        if measure == "age":
            return amount.unit == "years" or "age" in own or (amount.whole and not amount.unit and not own)
        if measure == "box":
            spans = amount.low != amount.high and amount.step < 0.001  # from 0.3500 to 0.5304 of the width
            return spans or bool(amount.edges) or "box" in own | number.before("measures") | self.named_so_far["measures"]
        if measure == "area":
            return amount.unit == "%" or "area" in own
        if quantity.measure == "distance":
            return amount.unit == "dd"
        lesion = bool(number.own("conditions") or number.before("conditions") or self.named_so_far["conditions"])
        return amount.whole and not amount.unit and lesion and "grade" not in own

    def _is_implied(self, measure: str, number: NamedNumber) -> bool:
        """Whether unit and vessels, or a part that is described, leave only one measure to be meant."""
        own, named_so_far, amount = number.own("measures"), self.named_so_far["measures"], number.amount
        if measure == "width":  # arteries of 60 µm
            return amount.unit == "µm" and not own and not {"artery", "vein"}.isdisjoint(number.own("vessels"))
        if measure == "avr":
            return (amount.spelled or amount.unit == "%") and "avr" in named_so_far
        if measure != "cdr":
            return False
        if "cup" in own and (amount.unit == "%" or amount.spelled or amount.low < 1):
            return True
        if not own and named_so_far >= _CUP_DISC:
            return True
        return own <= _CUP_DISC and "cup" in named_so_far and (amount.unit == "%" or (not amount.unit and amount.low < 1))

    def _grade_fits(self, quantity: Quantity, number: NamedNumber) -> bool:
        own, amount = number.own("measures"), number.amount
        if not own <= _ANY and not own <= _BESIDE_GRADE:
            return False
        if own <= _UNRELATED and amount.whole and not amount.unit and quantity.subjects & number.own("conditions"):
            return True
        return "grade" in number.before("measures") or ("grade" in self.named_so_far["measures"] and amount.whole)

    def _is_as_before(self, measure: str, number: NamedNumber) -> bool:
        """Whether a number without a measure of its own is of the one named before."""
        before = number.before("measures")
        allowed = before - _ANY or self.last_measures
        if measure in allowed:
            return True
        if measure in _EQUIVALENTS and not allowed.isdisjoint(_EQUIVALENTS):
            vessels = number.own("vessels") or self.named_so_far["vessels"]
            if vessels:
                return _EQUIVALENTS[measure] in vessels
        return not allowed or (measure in self.named_so_far["measures"] and not before)

    # --- lesion, vessels, zone, formula, direction --------------------------------------------------------------------

    def subject_fits(self, quantity: Quantity, number: NamedNumber) -> bool:
        """Says whether the lesion or disease that is named is the quantity's."""
        named, own = number.own("conditions"), number.own("measures")
        if quantity.edges and not named and "disc" in own and "cup" not in own:
            return not quantity.subjects  # the disc's box, not a lesion's
        if not quantity.subjects:
            return quantity.measure not in ("count", "area") or not named
        relevant = (named or number.before("conditions")) & self.index.family
        if not relevant:
            return True
        return any(s in relevant or not relevant.isdisjoint(implied(s)) for s in quantity.subjects)

    def _place_fits(self, quantity: Quantity, number: NamedNumber) -> bool:
        for kind in ("vessels", "zones", "formulas", "orientations"):
            value = getattr(quantity, kind.removesuffix("s"))
            if value is None:
                continue
            if named := number.own(kind) or number.before(kind):
                if value not in named:
                    return False
            elif kind in ("formulas", "orientations") or (kind == "zones" and quantity.measure in _ZONED):
                continue
            elif value not in ("all", "whole") and value not in self.named_so_far[kind]:  # what nothing is named of is of all
                return False
        return True

    # --- what is wrong ------------------------------------------------------------------------------------------------

    def report(self, number: NamedNumber, findings: AnswerFindings) -> None:
        """Adds a finding for a number that matches no fact."""
        amount, index = number.amount, self.index
        text = number.text.text_of(amount)
        if amount.edges:
            findings.add("box", amount, f"the box {text} is not among the marked boxes{_closest(index, amount)}")
            return
        if "grade" in number.own("measures") and amount.whole:
            right = next((q.fact for q in index.of("grade") if self.subject_fits(q, number)), None)
            if right is not None:
                findings.add("wrong_grade", amount, f"the answer gives the grade {text!r}, but {right.text}", right)
                return
        same = index.matching(amount)
        if same and (len(text.strip("0.")) > 1 or any(q.measure == "count" for q in same)):
            fact = same[0].fact
            findings.add("misattributed", amount, f"{text!r} belongs to another fact: {fact.text}", fact)
            return
        measured = number.own("measures") or number.before("measures")
        named = [q for q in index.quantities if self.is_named(q, number)] if measured else []
        if wrong_unit_matches := [q for q in index.wrong_unit_matches(amount) if q in named]:
            fact = wrong_unit_matches[0].fact
            findings.add("unit", amount, f"{text!r} has a wrong unit or factor: {fact.text}", fact)
            return
        fact = min(named, key=lambda q: abs(q.value - amount.low)).fact if named else None
        instead = f", which say: {fact.text}" if fact else ""
        findings.add("unsupported", amount, f"{text!r} is not in the facts{instead}", fact)


def _part_fits(quantity: Quantity, number: NamedNumber) -> bool:
    """Whether the words between the amounts before and after a number name the part that a quantity is of."""
    part_words = _PARTS.get(quantity.part)
    if part_words is None:
        return True
    text, amounts, i = number.text, number.amounts, number.position
    first = amounts[i - 1].last if i else 0
    last = amounts[i + 1].first if i + 1 < len(amounts) else len(text.words)
    sentence = text.sentence(number.amount)
    return not part_words.isdisjoint(text.words[max(first, sentence.start) : min(last, sentence.stop)])


def _closest(index: QuantityIndex, amount: Amount) -> str:
    boxes = sorted(index.boxes, key=lambda q: sum(abs(a - b) for a, b in zip(q.edges, amount.edges, strict=True)))
    return f"; the closest is {list(boxes[0].edges)}" if boxes else ""
