"""Claims that need a look at several facts: arteries wider than veins, several lesions where one is marked, and where lesions
lie."""

from collections.abc import Iterator

from retinal_lib import whereabouts
from retinal_lib.finding import ERROR, Finding
from retinal_lib.ledger import Ledger, Quantity
from retinal_lib.vocabulary import Reading, Term, implied

_GREATER = {
    "width": frozenset("wider thicker broader bigger larger".split()),
    "density": frozenset(["denser"]),
    "fractal": frozenset(["complex"]),
}
_LESSER = {
    "width": frozenset("narrower thinner smaller finer slimmer".split()),
    "density": frozenset(["sparser"]),
    "fractal": frozenset(),
}
_MANY = frozenset("multiple several many numerous countless".split())
_THAN = frozenset(["than"])
_COMPARES = frozenset().union(*_GREATER.values(), *_LESSER.values())


def compared(turn: int, text: Reading, ledger: Ledger) -> Iterator[Finding]:
    """Which of arteries and veins is told to have more, against the measurements."""
    if not text.has(_COMPARES):
        return
    words, vessels = text.words, [t for t in text.of("vessels") if t.values[0] != "all"]
    yield from _alone(turn, text, ledger, vessels)
    for k in [k for k, word in enumerate(words) if word == "than"] if len(vessels) > 1 and text.has(_THAN) else ():
        before = [t for t in vessels if t.last <= k and k - t.last < 7]
        after = [t for t in vessels if t.first > k and t.first - k < 4]
        said = set(words[max(0, k - 4) : k])
        if not before or not after or before[-1].value == after[0].value or said & {"not", "no", "nor"}:
            continue
        for measure in _GREATER:
            sign = bool(said & _GREATER[measure]) - bool(said & _LESSER[measure])
            if not sign:
                continue
            sentence = text.sentence(before[-1])
            zones = {v for t in text.of("zones") if t.first in sentence for v in t.values} or {"whole", "b", "c"}
            pairs = [(_of(ledger, measure, before[-1].value, z), _of(ledger, measure, after[0].value, z)) for z in zones]
            known = [(one, other) for one, other in pairs if one and other]
            if known and all((one.value - other.value) * sign < 0 for one, other in known):
                one = known[0][0]
                span = text.span(before[-1].first, after[0].last)
                told = text.said(before[-1].first, after[0].last)
                yield Finding(
                    "misattributed",
                    ERROR,
                    turn,
                    span,
                    f"{told!r} is not so: {one.fact.text}, {known[0][1].fact.text}",
                    one.fact,
                )


def _alone(turn: int, text: Reading, ledger: Ledger, vessels: list[Term]) -> Iterator[Finding]:
    """The arteries are the wider ones."""
    for term in vessels:
        after = text.words[term.last : term.last + 4]
        for measure in _GREATER:
            sign = bool(set(after) & _GREATER[measure]) - bool(set(after) & _LESSER[measure])
            if not sign or after[:2] not in (["are", "the"], ["is", "the"]) or "than" in text.words[term.last : term.last + 6]:
                continue
            one, other = (
                _of(ledger, measure, v, "whole") for v in (term.value, "vein" if term.value == "artery" else "artery")
            )
            if one and other and (one.value - other.value) * sign < 0:
                said = text.said(term.first, term.last + 4)
                yield Finding(
                    "misattributed",
                    ERROR,
                    turn,
                    text.span(term.first, term.last),
                    f"{said!r} is not so: {one.fact.text}, {other.fact.text}",
                    one.fact,
                )


def _of(ledger: Ledger, measure: str, vessel: object, zone: str) -> Quantity | None:
    return next((q for q in ledger.quantities if (q.measure, q.vessel, q.zone) == (measure, vessel, zone)), None)


def counted(turn: int, text: Reading, ledger: Ledger) -> Iterator[Finding]:
    """Several lesions of a type of which one is marked."""
    if not text.has(_MANY):
        return
    counts = [q for q in ledger.of("count") if q.value == 1 and q.subjects and not q.part]
    for term in text.of("conditions") if counts else ():
        if _MANY & set(text.words[max(0, term.first - 3) : term.first]):
            fact = next((q.fact for q in counts if q.subjects & _family(term)), None)
            if fact is not None:
                span = text.span(term.first, term.last)
                yield Finding(
                    "unsupported",
                    ERROR,
                    turn,
                    span,
                    f"several {text.said(term.first, term.last)!r} are told, but {fact.text}",
                    fact,
                )


def _family(term: Term) -> frozenset[str]:
    return frozenset(str(v) for v in term.values) | {c for v in term.values for c in implied(str(v))}


def check(turn: int, text: Reading, ledger: Ledger) -> list[Finding]:
    """All of these, of one answer."""
    return [*compared(turn, text, ledger), *counted(turn, text, ledger), *whereabouts.check(turn, text, ledger)]
