"""Where an answer says that the optic disc, its cup, the fovea and the largest lesions lie: in which part of the picture, and
on which side of each other. Their boxes and centres tell."""

from collections.abc import Iterator
from typing import NamedTuple

from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import Term
from retinal_lib.check.lesion_locations import quadrant, regions
from retinal_lib.facts import Fact
from retinal_lib.slots.comparison import WORDS, Wrong
from retinal_lib.slots.sentence import Sentence
from retinal_lib.slots.sheet import FactSheet

_LARGEST, _SMALLEST = (frozenset(WORDS[name]) for name in ("largest", "smallest"))
_NEAREST = frozenset("nearest closest near nearer closer".split())
_NEAR = frozenset(["near", "close", "beside"])
_STRUCTURES = frozenset(["disc", "macula", "fovea"])
# word -> the axis that it is of (0: from left to right, 1: downwards), and which way along it
_WAYS = {"left": (0, -1), "right": (0, 1), "leftward": (0, -1), "rightward": (0, 1)}
_WAYS |= dict.fromkeys(("upper", "top", "above", "higher", "up", "upward"), (1, -1))
_WAYS |= dict.fromkeys(("lower", "bottom", "below", "beneath", "under", "down", "downward"), (1, 1))
_BETWEEN = frozenset("above below beneath under higher lower".split())  # a structure after these is what it is compared with
_MIDDLE = frozenset("middle centre central centrally heart".split())
_PICTURE = frozenset("image picture photograph frame photo view field fundus shot scene".split())
_NAMES = {"fovea": "fovea", "disc": "optic disc", "nerve": "optic disc", "cup": "optic cup"}
_OF_NAME = frozenset("the a its that this your optic nerve head whole".split())  # between a preposition and a structure
_PARTS = frozenset("cup hollow left right side rim inside middle margin out front".split())  # of the disc, not the disc
_PLACING = frozenset("in inside within from to near beside around by than into on above below".split())
_OF_SHAPE = frozenset(["tall", "wide", "wider", "taller", "high", "ratio", "diameter", "quarter", "quadrant"])
_STEPS = frozenset("further farther higher lower lie sit bit little slightly way right left".split())  # before up and down
_FILLED = 0.7  # of the disc's height and width, from where on a cup fills most of it
_CLOSE, _CENTRAL = 0.05, 0.2  # shares of the picture within which a side may be called either way, and the middle the middle


class _Structure(NamedTuple):
    """A structure as a sentence names it: at which token, its name, its place as shares of the picture, and what says so."""

    at: int
    name: str
    place: tuple[float, float]
    text: str


def wrong(sentence: Sentence) -> Iterator[Wrong]:
    """Yields the words of a sentence that put a structure or the largest lesion elsewhere than its box or centre."""
    if not sentence.within.isdisjoint(_LARGEST | _SMALLEST):
        yield from _largest(sentence)
        yield from _nearest(sentence)
    if sentence.asks or not (known := _known(sentence.sheet)):
        return
    yield from _outside(sentence, known)
    if {"left", "right"} <= sentence.within and len(sentence.within & _WAYS.keys()) > 2:
        return  # a box is left, upper, right and lower edge
    with_lesions = any(line.id[0] == "l" and not line.places for line in sentence.sheet.lines)
    lesions = sentence.terms("conditions") if with_lesions else ()
    named = list(_named(sentence, sentence.tokens, known))
    if not lesions:
        yield from _shown_wrongly(sentence, named)
    for k in sentence.tokens:
        if not (sentence.words[k] in _WAYS or sentence.words[k] in _MIDDLE) or not _places(sentence, k):
            continue
        if not any(term.first < k for term in lesions):  # else it may be a lesion that lies there
            yield from _misplaced(sentence, named, known, k)


def _misplaced(sentence: Sentence, named: list[_Structure], known: dict, k: int) -> Iterator[Wrong]:
    """What the word at token k says of a structure's place, where that is wrong."""
    words, after = sentence.words, sentence.words[k + 1 : min(k + 7, sentence.tokens.stop)]
    end = k + (8 if "centre" in after else 6)  # to the left of the centre of the optic disc
    other = next((one for one in named if k < one.at <= end and _is_compared(words, k, one.at)), None)
    if not named and not sentence.anchors and not _PICTURE.isdisjoint(after):  # both in the left part of the picture:
        named = [_Structure(k + 1, name, *place) for name, place in known.items()]
    subject = _subject(sentence, named, known, k, other)
    if subject is None and other is None and _WAYS.get(words[k]) and named and named[0].at > k:
        problems = [_problem(one, None, _WAYS[words[k]], after) for one in named]
        subject = named[0] if all(problems) else None  # over on the right are disc and cup
    if subject is None:
        return
    if other is None and (words[k] in ("higher", "lower") or words[k - 2 : k] == ["to", "its"] or _further(words, k)):
        other = _opposite(subject, known, k)
        if other is None:
            return
    if (problem := _problem(subject, other, _WAYS.get(words[k]), after)) is not None:
        at = Term(k, k + 1)
        yield Wrong(at, f"{sentence.text.text_of(at)!r} is wrong of the {subject.name}: {problem}")


def _places(sentence: Sentence, k: int) -> bool:
    """Whether the word at token k says where something lies: not from top to bottom, takes up, higher than wide."""
    words = sentence.words
    if words[k - 2 : k] == ["to", "its"]:
        return True  # the fovea lies to its left
    if words[k - 1 : k] in (["from"], ["to"], ["its"]) or words[k + 1 : k + 2] in (["to"], ["eye"]):
        return False
    if words[k] in ("up", "down"):
        return words[k - 1] in _STEPS
    after = words[k + 1 : min(k + 7, sentence.tokens.stop)]
    return words[k] not in ("higher", "lower", "under") or _OF_SHAPE.isdisjoint(after)


def _further(words: list[str], k: int) -> bool:
    """Whether a side is one that something lies further to than what was named before: further to the left is the fovea."""
    return not {"further", "farther"}.isdisjoint(words[max(0, k - 3) : k])


def _opposite(subject: _Structure, known: dict, k: int) -> _Structure | None:
    """What disc and fovea are compared with where a text names nothing: each with the other."""
    name = {"optic disc": "fovea", "fovea": "optic disc"}.get(subject.name)
    return _Structure(k, name, *known[name]) if name in known else None


def _shown_wrongly(sentence: Sentence, named: list[_Structure]) -> Iterator[Wrong]:
    """Boxes and centres that are shown for another structure than their own: the optic disc {l2.box}, where l2 is the cup's."""
    words, start = sentence.words, sentence.tokens.start
    for slot in (slot for slot in sentence.slots if slot.anchor.line.facts[0].words in _NAMES.values()):
        own = [one for one in named if start <= one.at < slot.first and not _is_place(words, one.at)]
        if own and own[-1].name != slot.anchor.line.facts[0].words:
            says = f"{{{slot.anchor.slot.name}}} is shown for the {own[-1].name}: {slot.anchor.line.text}"
            yield Wrong(Term(slot.first, slot.last), says, slot.anchor.slot.fact)
        start = slot.last


def _outside(sentence: Sentence, known: dict) -> Iterator[Wrong]:
    """A cup that is said to reach beyond its disc, though its box lies within."""
    if {"optic disc", "optic cup"} <= known.keys() and "cup" in sentence.within:
        yield from _filled(sentence)
        for k in sentence.tokens:
            if sentence.words[k] in ("beyond", "outside") and "disc" in sentence.words[k : k + 7]:
                yield Wrong(Term(k, k + 1), f"the cup lies within the disc: {known['optic cup'][1]}, {known['optic disc'][1]}")


def _filled(sentence: Sentence) -> Iterator[Wrong]:
    """A cup that is said to fill most of its disc, or all of it, though its box is less than seven tenths as high or wide."""
    facts = sentence.sheet.structures
    cup, disc = facts["optic cup"], facts["optic disc"]
    if len(cup.value) < 4 or len(disc.value) < 4:
        return
    share = min((cup.value[i + 2] - cup.value[i]) / (disc.value[i + 2] - disc.value[i]) for i in (0, 1))
    for k in sentence.tokens if share > 0.5 else ():
        if sentence.words[k] in ("small", "tiny", "little") and {"part", "share", "portion"} & {*sentence.words[k + 1 : k + 3]}:
            yield Wrong(Term(k, k + 1), f"{sentence.text.raw(k)!r} is wrong: {cup.text}, {disc.text}", cup)
    for k in sentence.tokens if share < _FILLED else ():
        after = sentence.words[k + 1 : k + 4]
        if (
            sentence.words[k] in ("most", "whole", "entire", "all", "entirety")
            and after[:1] == ["of"]
            and {"it", "disc"} & {*sentence.words[k + 1 : k + 7]}
        ):
            yield Wrong(Term(k, k + 1), f"{sentence.text.raw(k)!r} is wrong: {cup.text}, {disc.text}", cup)


def _is_place(words: list[str], at: int) -> bool:
    """Whether the structure at token `at` is named as a place for something else: inside the disc, the cup of the disc."""
    first = at
    while first and words[first - 1] in _OF_NAME:
        first -= 1
    before = words[max(0, first - 2) : first]
    if before[-1:] == ["of"]:
        return before[0] in _PARTS
    return before[-1:] in [[word] for word in _PLACING]


def _known(sheet: FactSheet) -> dict[str, tuple[tuple[float, float], str]]:
    """The structures whose place a sheet tells: name -> where it lies, and the words of the fact."""
    known = sheet.structures.items()
    return {name: (_centre(mark.value), mark.text) for name, mark in known if name in _NAMES.values()}


def _centre(value: tuple[float, ...]) -> tuple[float, float]:
    """The middle of a box (left, upper, right, lower), or a point."""
    return (value[0], value[1]) if len(value) == 2 else ((value[0] + value[2]) / 2, (value[1] + value[3]) / 2)


def _named(sentence: Sentence, tokens: range, known: dict) -> Iterator[_Structure]:
    """The structures that are named at tokens."""
    for k in tokens:
        name = _NAMES.get(sentence.words[k])
        if name in known and k not in sentence.values:
            yield _Structure(k, name, *known[name])


def _is_compared(words: list[str], k: int, at: int) -> bool:
    """Whether what is named at token `at` is what the word at token k sets something against: to the left of the disc."""
    between = words[k + 1 : at]
    return between[:1] == ["of"] or "than" in between or words[k] in _BETWEEN


def _subject(sentence: Sentence, named: list[_Structure], known: dict, k: int, other: _Structure | None) -> _Structure | None:
    """What the word at token k places: what is named before it; else what follows it, or what the sentence shows."""
    own = [one for one in named if other is None or one.name != other.name]
    if before := [one for one in own if one.at < k and not _is_place(sentence.words, one.at)]:
        return before[-1]
    shown = [anchor.line.facts[0].words for anchor in sentence.anchors if anchor.line.facts]
    found = list(dict.fromkeys([*(one.name for one in own), *(name for name in shown if name in known)]))
    found = [name for name in found if other is None or name != other.name]
    return _Structure(k, found[0], *known[found[0]]) if len(found) == 1 else None


def _problem(subject: _Structure, other: _Structure | None, way: tuple[int, int] | None, after: list[str]) -> str | None:
    """What is wrong with a place; None where it is right, or is none."""
    if way is None:
        off = max(abs(share - 0.5) for share in subject.place)
        return subject.text if other is None and not _PICTURE.isdisjoint(after[:4]) and off > _CENTRAL else None
    axis, sign = way
    if other is not None:
        return f"{subject.text}, {other.text}" if (subject.place[axis] - other.place[axis]) * sign <= 0 else None
    return subject.text if (subject.place[axis] - 0.5) * sign < -_CLOSE else None


def _largest(sentence: Sentence) -> Iterator[Wrong]:
    """The lesion that is called the largest is the first of its type, and lies where it is said to lie."""
    boxes = [s for s in sentence.slots if s.anchor.slot.fact.name.endswith("_box")]
    for k in sentence.tokens:
        raw = repr(sentence.text.raw(k))
        if boxes and sentence.words[k] in _SMALLEST:
            yield Wrong(Term(k, k + 1), f"{raw} is wrong: the boxes of the facts are of the largest")
        if sentence.words[k] not in _LARGEST or sentence.words[k - 3 : k] == ["one", "of", "the"]:
            continue
        following = [slot for slot in boxes if slot.first > k] or boxes
        if following and following[0].anchor.slot.name[-1] not in "1x":
            yield Wrong(Term(k, k + 1), f"{raw} is wrong: {following[0].anchor.slot.name} is not the largest")
        box = following[0].anchor.slot.fact if following else _box_of(sentence, k)
        place = quadrant(box.place) if box else None
        end = following[0].first if following and following[0].first > k else sentence.tokens.stop
        named = [region for region in regions(sentence.text) if place and region.first in sentence.tokens]
        said = next((region for region in named if k < region.first < end), None)
        if said is None and len(named) == 1:
            said = named[0]  # most lie in the upper left quarter, and so does the largest
        near = next((j for j in range(k, end) if box and sentence.words[j] in _NEAR), None)
        if near is not None and not _STRUCTURES.isdisjoint(sentence.words[near:end]) and "near" not in box.place:
            yield Wrong(Term(near, near + 1), f"the largest does not lie there: {box.text}", box)
        if said is not None and said.contains(place) is False:
            at = Term(said.first, said.last)
            yield Wrong(at, f"{sentence.text.text_of(at)!r} is wrong: the largest lies {box.place}", box)


def _nearest(sentence: Sentence) -> Iterator[Wrong]:
    """A distance is that of the nearest lesion of its type, not of the largest."""
    for slot in sentence.slots:
        if slot.anchor.slot.name.endswith((".disc", ".fovea")) and sentence.within.isdisjoint(_NEAREST):
            k = next((k for k in range(sentence.tokens.start, slot.first) if sentence.words[k] in _LARGEST), None)
            if k is not None:
                says = f"{sentence.text.raw(k)!r} is wrong: {slot.anchor.slot.fact.text}"
                yield Wrong(Term(k, k + 1), says, slot.anchor.slot.fact)


def _box_of(sentence: Sentence, k: int) -> Fact | None:
    """The box of the largest lesion of the type that the sentence names last before token k, or right after it."""
    lines = {anchor.line.id: anchor.line for anchor in sentence.anchors if anchor.line.id[0] == "l"}
    boxes = {id_: fact for id_, line in lines.items() for fact in line.facts[::-1] if fact.name.endswith("_box") and fact.place}
    terms = sentence.terms("conditions")
    named = [t for t in terms if k < t.first < k + 4][:1] or [t for t in terms if t.last <= k][-1:]
    if named and len(boxes) > 1:
        boxes = {i: box for i, box in boxes.items() if named[0].values[0] in lexicon.conditions(lines[i].facts[0].unit)}
    return next(iter(boxes.values())) if len(boxes) == 1 else None
