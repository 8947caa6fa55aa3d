"""Claims that need a look at several facts: arteries wider than veins, several lesions where one is marked, and where lesions
lie."""

from retinal_lib.check import lesion_locations as whereabouts
from retinal_lib.check.answer_findings import Heard
from retinal_lib.check.language.lexicon import Term, family
from retinal_lib.check.ledger import Ledger, Quantity

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


def compared(heard: Heard, ledger: Ledger) -> None:
    """Which of arteries and veins is told to have more, against the measurements."""
    text = heard.text
    if not text.has(_COMPARES):
        return
    words, vessels = text.words, [t for t in text.of("vessels") if t.values[0] != "all"]
    _alone(heard, ledger, vessels)
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
                (one, other), spot = known[0], Term(before[-1].first, after[0].last, "compared", ())
                says = f"{heard.said(spot)!r} is not so: {one.fact.text}, {other.fact.text}"
                heard.add("misattributed", spot, says, one.fact)


def _alone(heard: Heard, ledger: Ledger, vessels: list[Term]) -> None:
    """The arteries are the wider ones."""
    text = heard.text
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
                says = f"{said!r} is not so: {one.fact.text}, {other.fact.text}"
                heard.add("misattributed", term, says, one.fact)


def _of(ledger: Ledger, measure: str, vessel: object, zone: str) -> Quantity | None:
    return next((q for q in ledger.quantities if (q.measure, q.vessel, q.zone) == (measure, vessel, zone)), None)


def counted(heard: Heard, ledger: Ledger) -> None:
    """Several lesions of a type of which one is marked."""
    text = heard.text
    if not text.has(_MANY):
        return
    counts = [q for q in ledger.of("count") if q.value == 1 and q.subjects and not q.part]
    for term in text.of("conditions") if counts else ():
        if _MANY & set(text.words[max(0, term.first - 3) : term.first]):
            fact = next((q.fact for q in counts if q.subjects & family(term)), None)
            if fact is not None:
                heard.add("unsupported", term, f"several {heard.said(term)!r} are told, but {fact.text}", fact)


def told(heard: Heard, ledger: Ledger) -> None:
    """All of these, of one answer."""
    compared(heard, ledger)
    counted(heard, ledger)
    whereabouts.told(heard, ledger)
