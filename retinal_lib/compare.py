"""Claims that need a look at several facts: arteries wider than veins, several lesions where one is marked, and the part of the
picture that a lesion lies in."""

from collections.abc import Iterator

from retinal_lib import amounts
from retinal_lib.fact import Fact
from retinal_lib.finding import ERROR, Finding
from retinal_lib.ledger import Ledger, Quantity
from retinal_lib.polarity import cues
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
_UP, _DOWN, _LEFT, _RIGHT = (frozenset(w.split()) for w in ("upper top", "lower bottom", "left", "right"))
_THAN = frozenset(["than"])
_REGION = frozenset("corner quarter quadrant part half third area side edge margin".split())
_PLACED = _REGION | {"bottom", "top"}
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
    counts = [q for q in ledger.of("count") if q.value == 1 and q.subjects and "_" not in q.fact.name]
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


def placed(turn: int, text: Reading, ledger: Ledger) -> Iterator[Finding]:
    """The part of the picture that a lesion is told to lie in, against its boxes."""
    if not ledger.boxes or not text.of("conditions") or not text.has(_PLACED):
        return
    for k, word in enumerate(text.words):
        alone = (
            word in ("bottom", "top")
            and text.words[k - 1 : k] == ["the"]
            and text.words[k + 1 : k + 2] not in (["left"], ["right"])
        )
        if (word not in _REGION and not alone) or {"number", "fraction", "counted", "bracket"} & {
            text.words[i] for i in text.sentence(Term(k, k + 1, "", ()))
        }:
            continue
        near = {word} if alone else set(text.words[max(0, k - 3) : k])
        if not near & (_UP | _DOWN | _LEFT | _RIGHT) or near & {"superior", "inferior"}:
            continue
        spot = Term(k, k + 1, "region", ())
        sentence = text.sentence(spot)
        every = text.of("conditions")
        near_by = [t for t in every if t.first in sentence] or [t for t in every if t.last <= sentence.start][-1:]
        named = [t for t in near_by if cues(text).polarity(t, text.sentence(t)) == "yes"]
        boxes = [q for q in ledger.boxes if any(q.subjects & _family(t) for t in named)]
        given = [a.edges for a in amounts.read(text) if a.edges and a.first in sentence]
        if boxes and not any(_lies(edges, near) for edges in given or [q.edges for q in boxes]):
            fact: Fact = boxes[0].fact
            yield Finding(
                "box",
                ERROR,
                turn,
                text.span(max(0, k - 2), k + 1),
                f"{text.said(max(0, k - 2), k + 1)!r} holds no box of it: {fact.text}",
                fact,
            )


def _lies(edges: tuple[float, ...], near: set[str]) -> bool:
    """Whether a box reaches into the half that words name."""
    left, top, right, bottom = edges
    x, y = (left + right) / 2, (top + bottom) / 2
    sides = ((_UP, y < 0.5), (_DOWN, y > 0.5), (_LEFT, x < 0.5), (_RIGHT, x > 0.5))
    return all(holds for words, holds in sides if words & near)


def check(turn: int, text: Reading, ledger: Ledger) -> list[Finding]:
    """All of these, of one answer."""
    return [*compared(turn, text, ledger), *counted(turn, text, ledger), *placed(turn, text, ledger)]
