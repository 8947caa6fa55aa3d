"""Which fact a stated number belongs to, and what is wrong where there is none."""

from retinal_lib.check import lesion_locations as whereabouts
from retinal_lib.check.findings import ERROR, Finding
from retinal_lib.check.language.lexicon import Reading, Term, implied, word_lists
from retinal_lib.check.language.number_lists import KINDS, Named
from retinal_lib.check.language.numbers import Amount
from retinal_lib.check.ledger import Ledger, Quantity
from retinal_lib.facts import Fact

WORDS = word_lists("number_binding")

_NONE: frozenset[str] = frozenset()
_BY_THE_WAY = frozenset("disc cup width box area".split())  # said beside a grade without taking it over
_ANY = frozenset(["area", "box", "count", "age"])  # words that leave the measure as it was
_AREA = frozenset(["area", "box"])
_CUP_DISC = frozenset(["cup", "disc"])
_BESIDE_GRADE = frozenset(["disc", "cup", "width"])
_ALIKE = {"edge": "box", "distance": "count"}  # measures that go by the words of another
_ZONED = ("crae", "crve", "avr")  # measures that have a zone always
_PARTS = {
    **WORDS.parts,
    "place": whereabouts.REGION_WORDS,
    "rest place": whereabouts.REGION_WORDS,
}  # part -> words that tell of it
_EQUIVALENTS = {"crae": "artery", "crve": "vein"}


class Binder:
    """Binds numbers to the quantities of a ledger; `known` is what this conversation named so far, `latest` the measures
    named last."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger
        self.known: dict[str, set] = {kind: set() for kind in KINDS}
        self.latest: frozenset[str] = _NONE

    def hear(self, terms: list[Term]) -> None:
        """Remembers what terms name."""
        known = self.known
        for term in terms:
            if term.kind in known:
                known[term.kind].update(term.values)
                if term.kind == "measures" and not _ANY.issuperset(term.values):
                    self.latest = frozenset(term.values)

    def bind(self, amount: Amount, names: Named) -> Quantity | None:
        """The first quantity that an amount tells rightly and by its name."""
        return next((q for q in self.ledger.valued(amount) if self.called(q, amount, names)), None)

    def called(self, quantity: Quantity, amount: Amount, names: Named) -> bool:
        """Whether a quantity goes by the name that an amount is given."""
        return (
            self._measured(quantity, amount, names)
            and self.of_subject(quantity, names)
            and self._placed(quantity, names)
            and self._parted(quantity, amount)
        )

    def read(self, text: Reading, found: list[Amount]) -> None:
        """Takes the text that is bound next, with its amounts."""
        self._text, self._found = text, found

    def _parted(self, quantity: Quantity, amount: Amount) -> bool:
        """Whether the words from the amount before an amount to the one after it tell the part that a quantity is of."""
        wanted = _PARTS.get(quantity.part)
        if wanted is None:
            return True
        words, i = self._text.words, self._found.index(amount)
        first = self._found[i - 1].last if i else 0
        last = self._found[i + 1].first if i + 1 < len(self._found) else len(words)
        sentence = self._text.sentence(Term(amount.first, amount.last, "number", ()))
        return not wanted.isdisjoint(words[max(first, sentence.start) : min(last, sentence.stop)])

    # --- measure ------------------------------------------------------------------------------------------------------

    def _measured(self, quantity: Quantity, amount: Amount, names: Named) -> bool:
        own = names.own.get("measures", _NONE)
        measure = _ALIKE.get(quantity.measure, quantity.measure)
        if measure in ("age", "box", "area", "count"):
            return self._counted(quantity, measure, amount, names)
        if quantity.excess:  # a path 3 % longer than its chord
            known = own | names.before.get("measures", _NONE) | self.known["measures"]
            return amount.unit == "%" and "tortuosity" in known
        if measure == "density" and own <= _AREA and (own or amount.unit == "%"):
            return bool(self.known["vessels"] or names.own.get("vessels") or "density" in self.known["measures"])
        if measure in own or self._implied(measure, amount, names):
            return True
        if measure == "grade":
            return self._graded(quantity, amount, names)
        return own <= _ANY and self._as_before(measure, names)

    def _counted(self, quantity: Quantity, measure: str, amount: Amount, names: Named) -> bool:
        """Ages, boxes, areas, counts and distances, which units and other words tell apart."""
        own = names.own.get("measures", _NONE)
        if measure == "age":
            return amount.unit == "years" or "age" in own or (amount.whole and not amount.unit and not own)
        if measure == "box":
            before = names.before.get("measures", _NONE)
            spans = amount.low != amount.high and amount.step < 0.001  # from 0.3500 to 0.5304 of the width
            return spans or bool(amount.edges) or "box" in own or "box" in before or "box" in self.known["measures"]
        if measure == "area":
            return amount.unit == "%" or "area" in own
        if quantity.measure == "distance":
            return amount.unit == "dd"
        lesion = bool(names.own.get("conditions") or names.before.get("conditions") or self.known["conditions"])
        return amount.whole and not amount.unit and lesion and "grade" not in own

    def _implied(self, measure: str, amount: Amount, names: Named) -> bool:
        """Whether unit and vessels, or a part that is told of, leave only one measure to be meant."""
        own, known = names.own.get("measures", _NONE), self.known["measures"]
        if measure == "width":  # arteries of 60 µm
            return amount.unit == "µm" and not own and not {"artery", "vein"}.isdisjoint(names.own.get("vessels", _NONE))
        if measure == "avr":
            return (amount.spelled or amount.unit == "%") and "avr" in known
        if measure != "cdr":
            return False
        if "cup" in own and (amount.unit == "%" or amount.spelled or amount.low < 1):
            return True
        if not own and known >= _CUP_DISC:
            return True
        return own <= _CUP_DISC and "cup" in known and not amount.unit and amount.low < 1

    def _graded(self, quantity: Quantity, amount: Amount, names: Named) -> bool:
        own = names.own.get("measures", _NONE)
        if not own <= _ANY and not own <= _BESIDE_GRADE:
            return False
        if own <= _BY_THE_WAY and amount.whole and not amount.unit and quantity.subjects & names.own.get("conditions", _NONE):
            return True
        return "grade" in names.before.get("measures", ()) or ("grade" in self.known["measures"] and amount.whole)

    def _as_before(self, measure: str, names: Named) -> bool:
        """Whether a number without a measure of its own is of the one spoken of before."""
        before = names.before.get("measures", _NONE)
        allowed = before - _ANY or self.latest
        if measure in allowed:
            return True
        if measure in _EQUIVALENTS and not allowed.isdisjoint(_EQUIVALENTS):
            vessels = names.own.get("vessels") or self.known["vessels"]
            if vessels:
                return _EQUIVALENTS[measure] in vessels
        return not allowed or (measure in self.known["measures"] and not before)

    # --- lesion, vessels, zone, formula, direction --------------------------------------------------------------------

    def of_subject(self, quantity: Quantity, names: Named) -> bool:
        """Whether the lesion or disease that is named is the quantity's."""
        named = names.own.get("conditions")
        if quantity.edges and not named:
            own = names.own.get("measures", _NONE)
            if "disc" in own and "cup" not in own:
                return not quantity.subjects  # the disc's box, not a lesion's
        if not quantity.subjects:
            return quantity.measure not in ("count", "area") or not named
        relevant = (named or names.before.get("conditions") or _NONE) & self.ledger.family
        if not relevant:
            return True
        return any(s in relevant or not relevant.isdisjoint(implied(s)) for s in quantity.subjects)

    def _placed(self, quantity: Quantity, names: Named) -> bool:
        own, before = names.own, names.before
        for kind, value in zip(("vessels", "zones", "formulas", "orientations"), quantity[4:8], strict=True):
            if value is None:
                continue
            if named := own.get(kind) or before.get(kind):
                if value not in named:
                    return False
            elif kind in ("formulas", "orientations") or (kind == "zones" and quantity.measure in _ZONED):
                continue
            elif value not in ("all", "whole") and value not in self.known[kind]:  # what nothing is said of is of all
                return False
        return True


def follows(text: Reading, one: Amount, other: Amount) -> bool:
    """Whether an amount is told as the end of the scale of another: 2 of 4, 2/4, 2 out of 4."""
    return text.words[one.last : other.first] in (["of"], ["/"], ["out", "of"])


def fault(binder: Binder, turn: int, text: Reading, amount: Amount, names: Named) -> Finding:
    """The finding for an amount that nothing holds."""
    kind, says, fact = _fault(binder, text.said(amount.first, amount.last), amount, names)
    return Finding(kind, ERROR, turn, text.span(amount.first, amount.last), says, fact)


def overreach(turn: int, text: Reading, amount: Amount, grade: Quantity) -> Finding | None:
    """The finding for the end of a scale, told after a grade on it, that is not where the scale ends."""
    if amount.high == grade.top and amount.low in (0, grade.top):
        return None
    said, span = text.said(amount.first, amount.last), text.span(amount.first, amount.last)
    says = f"the scale is told to reach to {said!r}, it reaches to {grade.top}: {grade.fact.text}"
    return Finding("wrong_grade", ERROR, turn, span, says, grade.fact)


def _fault(binder: Binder, said: str, amount: Amount, names: Named) -> tuple[str, str, Fact | None]:
    """The kind of a fault, what it says, and the fact it stands against."""
    ledger = binder.ledger
    if amount.edges:
        return "box", f"the box {said} is none of the boxes that are marked{_closest(ledger, amount)}", None
    if "grade" in names.own.get("measures", ()) and amount.whole:
        right = next((q.fact for q in ledger.of("grade") if binder.of_subject(q, names)), None)
        if right is not None:
            return "wrong_grade", f"{said!r} is told as the grade, but {right.text}", right
    same = ledger.valued(amount)
    if same and (len(said.strip("0.")) > 1 or any(q.measure == "count" for q in same)):
        return "misattributed", f"{said!r} is told of something else: {same[0].fact.text}", same[0].fact
    measured = names.own.get("measures") or names.before.get("measures")
    called = [q for q in ledger.quantities if binder.called(q, amount, names)] if measured else []
    slips = ledger.slipped(amount)
    slipped = [q for q in slips if q in called]
    if slipped:
        return "unit", f"{said!r} has a wrong unit or is at a wrong scale: {slipped[0].fact.text}", slipped[0].fact
    fact = min(called, key=lambda q: abs(q.value - amount.low)).fact if called else None
    return "unsupported", f"{said!r} is held by no fact" + (f": {fact.text}" if fact else ""), fact


def _closest(ledger: Ledger, amount: Amount) -> str:
    boxes = sorted(ledger.boxes, key=lambda q: sum(abs(a - b) for a, b in zip(q.edges, amount.edges, strict=True)))
    return f"; the closest is {list(boxes[0].edges)}" if boxes else ""
