"""Where an answer says that the optic disc, its cup and the fovea lie: in which part of the picture, and on which side of each
other. Their boxes and centres tell."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from retinal_lib.check.language.lexicon import Term
from retinal_lib.slots.comparison import Wrong
from retinal_lib.slots.sentence import Sentence
from retinal_lib.slots.sheet import FactSheet

# word -> the axis that it is of (0: from left to right, 1: downwards), and which way along it
_WAYS = {"left": (0, -1), "right": (0, 1), "leftward": (0, -1), "rightward": (0, 1)}
_WAYS |= dict.fromkeys(("upper", "top", "above", "higher", "up", "upward"), (1, -1))
_WAYS |= dict.fromkeys(("lower", "bottom", "below", "beneath", "under", "down", "downward"), (1, 1))
_BETWEEN = frozenset("above below beneath under higher lower".split())  # a structure after these is what it is compared with
_MIDDLE = frozenset("middle centre central centrally heart".split())
_PICTURE = frozenset("image picture photograph frame photo view field fundus shot scene".split())
_NAMES = {"fovea": "fovea", "disc": "optic disc", "nerve": "optic disc", "cup": "optic cup"}
_NOT_PLACING = frozenset(["coordinate", "fraction"])  # of how boxes are written
_OF_NAME = frozenset("the a its that this your optic nerve head whole".split())  # between a preposition and a structure
_PARTS = frozenset("cup hollow left right side rim inside middle margin out front".split())  # of the disc, not the disc
_PLACING = frozenset("in inside within from to near beside around by than with into on above below".split())
_OF_SHAPE = frozenset(["tall", "wide", "wider", "taller", "high", "ratio", "diameter", "quarter", "quadrant"])
_STEPS = frozenset("further farther higher lower lie sit bit little slightly way right left".split())  # before up and down
_FAR = frozenset("far extreme outermost outer very".split())
_REFERS = frozenset(["it", "that", "this", "them"])
_DENYING = frozenset("not never nowhere without".split()) | {"doesn't", "don't", "no"}
_EDGE = frozenset("edge rim border margin".split())
_FILLED = 0.7  # of the disc's height and width, from where on a cup fills most of it
_CLOSE, _CENTRAL = 0.05, 0.2  # shares of the picture within which a side may be called either way, and the middle the middle


class _Structure(NamedTuple):
    """A structure as a sentence names it: at which token, its name, its place as shares of the picture, and what says so."""

    at: int
    name: str
    place: tuple[float, float]
    text: str


def wrong(sentence: Sentence) -> Iterator[Wrong]:
    """Yields the words of a sentence that put a structure elsewhere than its box or centre."""
    if sentence.asks or not (known := _known(sentence.sheet)):
        return
    yield from _outside(sentence, known)
    edges = "edge" in sentence.within and len(sentence.within & _WAYS.keys()) > 2  # a box is left, upper, right and lower edge
    if edges or not _NOT_PLACING.isdisjoint(sentence.within):
        return
    named, words, lesions = list(_named(sentence, sentence.tokens, known)), sentence.words, sentence.terms("conditions")
    if not lesions:
        yield from _shown_wrongly(sentence, named)
    for k in sentence.tokens:
        way = _WAYS.get(words[k])
        if k in sentence.values or not (way or words[k] in _MIDDLE) or not _places(sentence, k):
            continue
        if lesions and not _opens(words, named, lesions, k):
            continue  # it may be a lesion that lies there
        yield from _misplaced(sentence, named, known, k)


def _misplaced(sentence: Sentence, named: list[_Structure], known: dict, k: int) -> Iterator[Wrong]:
    """What the word at token k says of a structure's place, where that is wrong."""
    words, after = sentence.words, sentence.words[k + 1 : min(k + 7, sentence.tokens.stop)]
    other = next((one for one in named if k < one.at <= k + 6 and _is_compared(words, k, one.at)), None)
    subject = _subject(sentence, named, known, k, other)
    if not named and not sentence.anchors and not _PICTURE.isdisjoint(after):  # both in the left part of the picture:
        named = [_Structure(k + 1, name, *place) for name, place in known.items()]
    if subject is None and other is None and _WAYS.get(words[k]) and named and named[0].at > k:
        problems = [_problem(one, None, _WAYS[words[k]], after, False) for one in named]
        subject = named[0] if all(problems) else None  # over on the right are disc and cup
    if subject is None:
        return
    if other is None and (words[k] in ("higher", "lower") or "further" in words[max(0, k - 2) : k]):
        other = _opposite(subject, known, k)
        if other is None:
            return
    of_it = not _REFERS.isdisjoint(after[1:3]) and after[:1] in (["of"], ["from"])
    if other is None and (of_it or words[k - 2 : k] == ["to", "its"]):
        other = _it(sentence, named, known, k, subject)
        if other is None:
            return
    far = not _FAR.isdisjoint(words[k - 1 : k]) or "corner" in after[:2]
    if (problem := _problem(subject, other, _WAYS.get(words[k]), after, far)) is not None:
        at = Term(k, k + 1)
        yield Wrong(at, f"{sentence.text.text_of(at)!r} is wrong of the {subject.name}: {problem}")


def _opens(words: list[str], named: list[_Structure], lesions: Sequence[Term], k: int) -> bool:
    """Whether a structure is spoken of before token k, and no lesion: the disc lies on the left, and the exudates ..."""
    spoken_of = any(one.at < k and not _is_place(words, one.at) for one in named)
    return spoken_of and not any(term.first < k for term in lesions)


def _it(sentence: Sentence, named: list[_Structure], known: dict, k: int, subject: _Structure) -> _Structure | None:
    """What 'it' is in: the disc, to the left of it. What was named before the subject, here or in the sentence before."""
    before = [one for one in named if one.at < k]
    if not before:  # to the left of it lies the disc
        earlier = (one for each in reversed(sentence.earlier[-2:]) for one in [*_named(sentence, each.tokens, known)][::-1])
        return next((one for one in earlier if one.name != subject.name), None)
    if len(before) == 1 and sentence.earlier:
        before = [*_named(sentence, sentence.earlier[-1].tokens, known), *before]
    return before[-2] if len(before) > 1 and before[-2].name != subject.name and before[-1].at < k else None


def _places(sentence: Sentence, k: int) -> bool:
    """Whether the word at token k says where something lies: not from top to bottom, takes up, higher than wide."""
    words = sentence.words
    if words[k - 2 : k] == ["to", "it"] or words[k - 2 : k] == ["to", "its"]:
        return True  # the fovea lies to its left
    if words[k - 1 : k] in (["from"], ["to"], ["its"]) or words[k + 1 : k + 2] in (["to"], ["eye"]):
        return False
    if words[k] == "right" and words[k + 1 : k + 2] in (["inside"], ["within"], ["in"], ["at"], ["beside"], ["on"], ["around"]):
        return False  # right inside it
    if words[k] in ("up", "down") and (words[k - 1] not in _STEPS or {"up", "down"} <= sentence.within):
        return False
    after = words[k + 1 : min(k + 7, sentence.tokens.stop)]
    return words[k] not in ("higher", "lower", "up", "down", "under") or _OF_SHAPE.isdisjoint(after)


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
            near, before = sentence.words[k : min(k + 8, sentence.tokens.stop)], sentence.words[sentence.tokens.start : k]
            reaches = sentence.words[k] in ("reach", "touch", "extend") and not _EDGE.isdisjoint(near)
            if reaches and "cup" in before and _DENYING.isdisjoint(before):
                yield Wrong(Term(k, k + 1), "that the cup reaches the edge of the disc is on no line")
            if sentence.words[k] in ("beyond", "outside") and "disc" in sentence.words[k : min(k + 7, sentence.tokens.stop)]:
                yield Wrong(Term(k, k + 1), f"the cup lies within the disc: {known['optic cup'][1]}, {known['optic disc'][1]}")


def _filled(sentence: Sentence) -> Iterator[Wrong]:
    """A cup that is said to fill most of its disc, or all of it, though its box is less than seven tenths as high or wide."""
    facts = sentence.sheet.structures
    cup, disc = facts["optic cup"], facts["optic disc"]
    if len(cup.value) < 4 or len(disc.value) < 4:
        return
    share = min((cup.value[i + 2] - cup.value[i]) / (disc.value[i + 2] - disc.value[i]) for i in (0, 1))
    for k in sentence.tokens:
        named = range(sentence.tokens.start, min(k + 3, sentence.tokens.stop))
        before = [sentence.words[j] for j in named if sentence.words[j] in ("cup", "disc")]
        of_subject = before and sentence.words[k + 1 : k + 2] != ["box"]  # within the disc, in the smaller box
        if of_subject and sentence.words[k] == {"cup": "larger", "disc": "smaller"}[before[-1]]:
            yield Wrong(Term(k, k + 1), f"{sentence.text.raw(k)!r} is wrong: the cup lies within the disc", cup)
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
    return ("of" in between and "side" not in between[:1]) or "than" in between or words[k] in _BETWEEN


def _subject(sentence: Sentence, named: list[_Structure], known: dict, k: int, other: _Structure | None) -> _Structure | None:
    """What the word at token k places: what is named before it; else what follows it, or what the sentence shows."""
    own = [one for one in named if one != other and (other is None or one.name != other.name)]
    if before := [one for one in own if one.at < k and not _is_place(sentence.words, one.at)]:
        return before[-1]
    shown = [anchor.line.facts[0].words for anchor in sentence.anchors if anchor.line.facts]
    found = list(dict.fromkeys([*(one.name for one in own), *(name for name in shown if name in known)]))
    if not found and sentence.earlier and not _REFERS.isdisjoint(sentence.words[sentence.tokens.start : k]):
        found = [one.name for one in _named(sentence, sentence.earlier[-1].tokens, known)][:1]
    found = [name for name in found if other is None or name != other.name]
    if len(found) > 1 and own and own[0].at > k and ":" in sentence.words[k : own[0].at]:
        found = [own[0].name]  # look in the right half: the optic disc lies at ...
    return _Structure(k, found[0], *known[found[0]]) if len(found) == 1 else None


def _problem(
    subject: _Structure, other: _Structure | None, way: tuple[int, int] | None, after: list[str], far: bool
) -> str | None:
    """What is wrong with a place; None where it is right, or is none. `far`: it is called far to that side."""
    if way is None:
        off = max(abs(share - 0.5) for share in subject.place)
        return subject.text if other is None and not _PICTURE.isdisjoint(after[:4]) and off > _CENTRAL else None
    axis, sign = way
    if other is not None:
        return f"{subject.text}, {other.text}" if (subject.place[axis] - other.place[axis]) * sign <= 0 else None
    return subject.text if (subject.place[axis] - 0.5) * sign < (_CENTRAL if far else -_CLOSE) else None
