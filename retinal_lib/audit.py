"""The numbers of answers against the ledger: which fact holds each, and what is wrong with those that none holds."""

from itertools import combinations

from retinal_lib import amounts, naming
from retinal_lib.amounts import Amount
from retinal_lib.finding import ERROR, Finding, Trace
from retinal_lib.ledger import Ledger, Quantity, holds
from retinal_lib.naming import Named
from retinal_lib.vocabulary import Reading, Term, implied

_FIELD = {"vessels": "vessel", "zones": "zone", "formulas": "formula", "orientations": "orientation"}
_BY_THE_WAY = frozenset("disc cup width box area".split())
_ANY = frozenset(["area", "box", "count", "age"])  # words that leave the measure as it was
_DEFAULT = {"vessels": "all", "zones": "whole"}


class Auditor:
    """Reads the turns of one conversation in order; remembers what was named before."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger
        self.known: dict[str, set] = {kind: set() for kind in naming.KINDS}  # named in this turn or before
        self.latest: frozenset[str] = frozenset()  # the measures named last

    def hear(self, text: Reading) -> None:
        """Remembers what a question or sentence names."""
        for term in text.terms:
            if term.kind in self.known:
                self.known[term.kind].update(term.values)
                self._note(term)

    def _note(self, term: Term) -> None:
        if term.kind == "measures" and not set(term.values) <= _ANY:
            self.latest = frozenset(term.values)

    def answer(self, turn: int, text: Reading) -> tuple[list[Finding], list[Trace]]:
        """What the numbers of an answer come to."""
        found = amounts.read(text)
        findings, traces = [], []
        if found:
            named = naming.name(text, found)
            bound: dict[int, Quantity] = {}
            seen = 0
            for i, (amount, names) in enumerate(zip(found, named, strict=True)):
                seen = self._remember(text, seen, amount.first)
                graded = bound[i - 1] if i and i - 1 in bound and self._follows(text, found[i - 1], amount) else None
                if graded is not None and graded.top:
                    if amount.high != graded.top or amount.low not in (0, graded.top):
                        said = text.said(amount.first, amount.last)
                        fault = f"the scale is told to reach to {said!r}, it reaches to {graded.top}: {graded.fact.text}"
                        findings.append(
                            Finding("wrong_grade", ERROR, turn, text.span(amount.first, amount.last), fault, graded.fact)
                        )
                    continue
                quantity = self._bind(amount, names)
                if quantity is not None:
                    bound[i] = quantity
                    traces.append(
                        Trace(
                            turn,
                            text.span(amount.first, amount.last),
                            text.said(amount.first, amount.last),
                            "number",
                            quantity.fact,
                        )
                    )
                elif (fact := self._other(text, found, i, bound)) is not None:
                    traces.append(
                        Trace(turn, text.span(amount.first, amount.last), text.said(amount.first, amount.last), "number", fact)
                    )
                elif (apart := self._difference(text, amount, names)) is not None:
                    traces.append(
                        Trace(
                            turn,
                            text.span(amount.first, amount.last),
                            text.said(amount.first, amount.last),
                            "number",
                            apart.fact,
                        )
                    )
                elif not self._of_scale(text, found, i, bound):
                    findings.append(self._fault(turn, text, amount, names))
        self.hear(text)
        return findings, traces

    @staticmethod
    def _follows(text: Reading, one: Amount, other: Amount) -> bool:
        """Whether an amount is told as the end of the scale of another: 2 of 4, 2/4, 2 out of 4."""
        return text.words[one.last : other.first] in (["of"], ["/"], ["out", "of"])

    def _remember(self, text: Reading, seen: int, upto: int) -> int:
        for term in text.terms:
            if seen <= term.first < upto and term.kind in self.known:
                self.known[term.kind].update(term.values)
                self._note(term)
        return upto

    # --- binding ------------------------------------------------------------------------------------------------------

    def _bind(self, amount: Amount, names: Named) -> Quantity | None:
        fits = [q for q in self.ledger.valued(amount) if self._called(q, amount, names)]
        return fits[0] if fits else None

    def _called(self, quantity: Quantity, amount: Amount, names: Named) -> bool:
        """Whether a quantity goes by the name that an amount is given."""
        return (
            self._measured(quantity, amount, names)
            and self._subject(quantity, names)
            and all(self._attribute(quantity, kind, names) for kind in _FIELD)
        )

    def _measured(self, quantity: Quantity, amount: Amount, names: Named) -> bool:
        own = names.own.get("measures", frozenset())
        measure = {"edge": "box", "distance": "count"}.get(quantity.measure, quantity.measure)
        if measure == "age":
            return amount.unit == "years" or "age" in own or (amount.whole and not amount.unit and not own)
        if measure == "box":
            return (
                bool(amount.edges)
                or "box" in own
                or "box" in names.before.get("measures", ())
                or "box" in self.known["measures"]
            )
        if (
            measure == "width"
            and amount.unit == "µm"
            and not own
            and names.own.get("vessels", frozenset()) & {"artery", "vein"}
        ):
            return True
        if measure == "avr" and (amount.spelled or amount.unit == "%") and "avr" in self.known["measures"]:
            return True
        if quantity.excess:  # a path 3 % longer than its chord
            return amount.unit == "%" and bool(
                {"tortuosity"} & (own | names.before.get("measures", frozenset()) | self.known["measures"])
            )
        if measure == "density" and own <= {"area", "box"} and (own or amount.unit == "%"):
            return bool(self.known["vessels"] or names.own.get("vessels") or "density" in self.known["measures"])
        if measure == "cdr" and (
            ("cup" in own and (amount.unit == "%" or amount.spelled or amount.low < 1))
            or (not own and {"cup", "disc"} <= self.known["measures"])
        ):
            return True
        if (
            measure == "cdr"
            and own <= {"cup", "disc"}
            and "cup" in self.known["measures"]
            and not amount.unit
            and amount.low < 1
        ):
            return True
        if measure == "area":
            return amount.unit == "%" or "area" in own
        if quantity.measure == "distance":
            return amount.unit == "dd"
        if measure == "count":
            lesion = bool(names.own.get("conditions") or names.before.get("conditions") or self.known["conditions"])
            return amount.whole and not amount.unit and lesion and "grade" not in own
        if measure in own:
            return True
        if own - {"area", "box", "count", "age"} and not (measure == "grade" and own <= {"disc", "cup", "width"}):
            return False
        if (
            measure == "grade"
            and own <= _BY_THE_WAY
            and amount.whole
            and not amount.unit
            and quantity.subjects & names.own.get("conditions", frozenset())
        ):
            return True
        if measure == "grade":
            return "grade" in names.before.get("measures", ()) or ("grade" in self.known["measures"] and amount.whole)
        allowed = names.before.get("measures", frozenset()) - _ANY or self.latest
        if measure in allowed:
            return True
        if (
            measure in ("crae", "crve")
            and allowed & {"crae", "crve"}
            and (vessels := names.own.get("vessels") or self.known["vessels"])
        ):
            return ("artery" if measure == "crae" else "vein") in vessels
        return not allowed or (measure in self.known["measures"] and not names.before.get("measures"))

    def _subject(self, quantity: Quantity, names: Named) -> bool:
        """Whether the lesion or disease that is named is the quantity's."""
        if (
            quantity.edges
            and not names.own.get("conditions")
            and "disc" in (own := names.own.get("measures", frozenset()))
            and "cup" not in own
        ):
            return not quantity.subjects  # the disc's box, not a lesion's
        if not quantity.subjects:
            return quantity.measure not in ("count", "area") or not names.own.get("conditions")
        named = names.own.get("conditions") or names.before.get("conditions") or frozenset()
        wide = quantity.subjects | {parent for s in quantity.subjects for parent in implied(s)}
        every = self.ledger.subjects | {parent for s in self.ledger.subjects for parent in implied(s)}
        relevant = named & every
        return not relevant or bool(relevant & wide)

    def _attribute(self, quantity: Quantity, kind: str, names: Named) -> bool:
        value = getattr(quantity, _FIELD[kind])
        if value is None:
            return True
        if own := names.own.get(kind):
            return value in own
        if before := names.before.get(kind):
            return value in before
        if kind in _DEFAULT and (kind == "vessels" or quantity.measure not in ("crae", "crve", "avr")):
            return value == _DEFAULT[kind] or value in self.known[kind]
        return not self.known[kind] or value in self.known[kind] or True

    # --- numbers that need no quantity of their own -------------------------------------------------------------------

    def _other(self, text: Reading, found: list[Amount], i: int, bound: dict[int, Quantity]) -> object | None:
        """The fact whose words hold the amount: a scale's criteria, an angle of view, a note."""
        amount, words = found[i], text.words
        if amount.first and words[amount.first - 1] in _LEVEL:
            return None
        for loose, fact in self.ledger.loose:
            if (loose.low, loose.high, loose.bound) != (amount.low, amount.high, amount.bound) or (
                fact.aspect == "lesion" and not _LARGEST & set(words)
            ):
                continue
            if loose.unit == amount.unit or (not amount.unit and loose.unit == "degrees"):
                return fact
        return None

    def _of_scale(self, text: Reading, found: list[Amount], i: int, bound: dict[int, Quantity]) -> bool:
        """Whether the amount tells how far a scale reaches, or how a zone is defined."""
        amount, words = found[i], text.words
        tops = {q.top for q in self.ledger.quantities if q.top}
        before = words[amount.first - 1] if amount.first else ""
        if amount.low == 0 and amount.high in tops:
            here = i and not {".", ";"} & set(words[found[i - 1].last : amount.first])
            return not (here and i - 1 in bound and bound[i - 1].top not in (0, amount.high))
        if (
            amount.whole
            and amount.low in tops
            and (before in ("/", "of", "to") or words[amount.first - 2 : amount.first] == ["out", "of"])
        ):
            return True
        if (
            amount.whole
            and amount.low == amount.high
            and amount.low in {0, *tops}
            and before not in _LEVEL
            and ("scale" in words or "grade" in words)
        ):
            return i > 0 or len(found) > 1
        if amount.whole and amount.bound and amount.low in (0, 1) and not amount.unit:
            return True  # a value below 1 means ...
        if amount.low == 1 and {"straight", "line"} & set(words):
            return True  # the tortuosity of a straight line
        after = words[amount.last] if amount.last < len(words) else ""
        if amount.whole and before in _LEVEL and after in ("is", "means", "would", "stands", "mean", "stand", "="):
            return True  # what a level stands for; the claims hold it against what it is
        if (
            amount.low in (1, 2)
            and "fractal" in self.known["measures"]
            and {1.0, 2.0} <= {e for a in found for e in (a.low, a.high)}
        ):
            return True  # between what values a fractal dimension lies
        return self.ledger.vascular and amount.unit == "dd" and {amount.low, amount.high} <= {0.5, 1.0, 2.0}

    def _difference(self, text: Reading, amount: Amount, names: Named) -> Quantity | None:
        """The first of two quantities of one measure that the amount is the difference of, in words such as 5 µm wider."""
        near = set(text.words[max(0, amount.first - 4) : amount.last + 4])
        if (amount.bound and not amount.spelled) or not (
            amount.spelled or _DIFFERS & near or "by" in text.words[max(0, amount.first - 2) : amount.first]
        ):
            return None
        measures = names.own.get("measures", frozenset()) | names.before.get("measures", frozenset()) | self.known["measures"]
        compared = amount.spelled and (
            amount.ratio or text.words[amount.last : amount.last + 1] in (["that"], ["as"]) or self._of_vessels(text, amount)
        )
        if amount.ratio and any(
            q.measure == "avr" and abs(1 / q.value - amount.low) <= amount.step for q in self.ledger.quantities
        ):
            return next(q for q in self.ledger.quantities if q.measure == "avr")
        named = [q for q in self.ledger.quantities if q.measure in measures and not q.excess]
        for one, other in combinations(named, 2):
            if sum(getattr(one, f) != getattr(other, f) for f in (*_FIELD.values(), "subjects")) != 1:
                continue
            if one.measure == other.measure and (amount.unit == "%" or compared) and _apart(one, other, amount):
                return one
            value, shown = abs(one.value - other.value), abs(one.shown - other.shown)
            if one.measure == other.measure and value and holds(amount, one._replace(value=value, shown=shown)):
                return one
        return None

    @staticmethod
    def _of_vessels(text: Reading, amount: Amount) -> bool:
        """Whether a part is told of what other vessels have: three quarters of the veins' width."""
        return text.words[amount.last : amount.last + 1] == ["of"] and any(
            amount.last < t.first <= amount.last + 2 for t in text.of("vessels")
        )

    # --- what is wrong ------------------------------------------------------------------------------------------------

    def _fault(self, turn: int, text: Reading, amount: Amount, names: Named) -> Finding:
        said = text.said(amount.first, amount.last)
        span = text.span(amount.first, amount.last)
        if amount.edges:
            return Finding(
                "box", ERROR, turn, span, f"the box {said} is none of the boxes that are marked{_closest(self.ledger, amount)}"
            )
        if "grade" in names.own.get("measures", ()) and amount.whole:
            right = next((q for q in self.ledger.quantities if q.measure == "grade" and self._subject(q, names)), None)
            if right is not None:
                return Finding(
                    "wrong_grade", ERROR, turn, span, f"{said!r} is told as the grade, but {right.fact.text}", right.fact
                )
        same = self.ledger.valued(amount)
        if same and (len(said.strip("0.")) > 1 or any(q.measure == "count" for q in same)):
            fact = same[0].fact
            return Finding("misattributed", ERROR, turn, span, f"{said!r} is told of something else: {fact.text}", fact)
        called = [q for q in self.ledger.quantities if self._named_so(q, amount, names)]
        slipped = [q for q in self.ledger.slipped(amount) if q in called] or (
            self.ledger.slipped(amount) if len(said) > 3 else []
        )
        if slipped:
            fact = slipped[0].fact
            return Finding("unit", ERROR, turn, span, f"{said!r} has a wrong unit or is at a wrong scale: {fact.text}", fact)
        fact = min(called, key=lambda q: abs(q.value - amount.low)).fact if called else None
        tail = f": {fact.text}" if fact else ""
        return Finding("unsupported", ERROR, turn, span, f"{said!r} is held by no fact{tail}", fact)

    def _named_so(self, quantity: Quantity, amount: Amount, names: Named) -> bool:
        return bool(names.own.get("measures") or names.before.get("measures")) and self._called(quantity, amount, names)


def _apart(one: Quantity, other: Quantity, amount: Amount) -> bool:
    """Whether an amount tells by what share one value is larger or smaller than another, or what part it is of it."""
    low, high = sorted((one.value, other.value))
    if low <= 0:
        return False
    if amount.ratio:
        return abs(high / low - amount.low) <= amount.step
    if amount.spelled:
        return abs(low / high - amount.low) <= 0.06
    return (
        min(abs(high / low - 1 - amount.low / 100), abs(1 - low / high - amount.low / 100))
        <= max(amount.step, 0.5) * 1.01 / 100
    )


_LARGEST = frozenset("largest biggest named listed".split())
_DIFFERS = frozenset(
    "higher lower wider narrower difference differ larger smaller thinner thicker denser longer shorter apart gap".split()
)
_LEVEL = frozenset("grade graded stage level category score scored class".split())


def _closest(ledger: Ledger, amount: Amount) -> str:
    boxes = sorted(ledger.boxes, key=lambda q: sum(abs(a - b) for a, b in zip(q.edges, amount.edges, strict=True)))
    return f"; the closest is {list(boxes[0].edges)}" if boxes else ""
