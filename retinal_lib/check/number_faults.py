"""What is wrong with a number that no fact holds, in a sentence, with the fact that stands nearest."""

from retinal_lib.check.findings import ERROR, Finding
from retinal_lib.check.language.lexicon import Reading
from retinal_lib.check.language.number_lists import Named
from retinal_lib.check.language.numbers import Amount
from retinal_lib.check.ledger import Ledger, Quantity
from retinal_lib.check.number_binding import Binder
from retinal_lib.facts import Fact


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
