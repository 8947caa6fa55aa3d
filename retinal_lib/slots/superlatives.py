"""Superlatives in a slotted answer: the largest lesion of a type, and the ends of a grading scale."""

from collections.abc import Iterator
from itertools import pairwise

from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import Term
from retinal_lib.check.lesion_locations import quadrant, regions
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.facts import Fact
from retinal_lib.slots.comparison import WORDS, Wrong
from retinal_lib.slots.sentence import Sentence

LARGEST, _SMALLEST = (frozenset(WORDS[name]) for name in ("largest", "smallest"))
_ENDS = dict.fromkeys("highest severest top topmost maximum maximal worst".split(), 1)
_ENDS |= dict.fromkeys("lowest minimal mildest bottom".split(), -1)
_ON_SCALE = frozenset([*_ENDS, "severe"])
_CLAUSE = 7  # tokens from a box to the place that is told of it
_LYING = frozenset("sit lie is located found placed".split())
_OTHERS = frozenset("most all they and other rest while whereas but".split())
_LANDMARKS = {"disc": "optic disc", "macula": "macula", "fovea": "macula"}
_NEAREST = frozenset("nearest closest near nearer closer".split())
_STANDING = frozenset("mean stand denote kept reserved call called be is".split())  # of the scale, not of this eye
_NEXT_TO = frozenset("below second next above but beneath under one short".split())


def wrong(sentence: Sentence) -> Iterator[Wrong]:
    """Yields the superlatives of a sentence that no facts support."""
    if not sentence.within.isdisjoint(LARGEST | _SMALLEST):
        yield from _largest(sentence)
        yield from _nearest(sentence)
    if not sentence.within.isdisjoint(_ON_SCALE):
        yield from _on_scale(sentence)


def _largest(sentence: Sentence) -> Iterator[Wrong]:
    """The lesion that is called the largest is the first of its type, and lies where it is said to lie."""
    boxes = [s for s in sentence.slots if s.anchor.slot.fact.name.endswith("_box") and s.anchor.slot.name[-1].isdigit()]
    for k in sentence.tokens:
        raw = repr(sentence.text.raw(k))
        if boxes and sentence.words[k] in _SMALLEST and "vessel" not in sentence.words[k + 1 : k + 4]:
            yield Wrong(Term(k, k + 1), f"{raw} is wrong: the boxes of the facts are of the largest")
        if sentence.words[k] not in LARGEST:
            continue
        following = [slot for slot in boxes if slot.first > k] or boxes
        run = [slot.anchor.slot.name.rpartition("box")[2] for slot in following]
        if run and run[0] != "1" and not (len(run) > 1 and "1" in run):
            yield Wrong(Term(k, k + 1), f"{raw} is wrong: {following[0].anchor.slot.name} is not the largest")
        box = following[0].anchor.slot.fact if following else _box_of(sentence, k)
        place = quadrant(box.place) if box else None
        end = following[0].first if following and following[0].first > k else sentence.tokens.stop
        named = [region for region in regions(sentence.text) if place and region.first in sentence.tokens]
        said = next((region for region in named if k < region.first < end), None)
        if said is None and len(named) == 1 and (not following or _is_included(sentence, k, named[0])):
            said = named[0]  # most lie in the upper left quarter, and so does the largest
        near = _near(sentence, range(k, end)) if box else None
        if near and _LANDMARKS[sentence.words[near.last - 1]] not in box.place:
            yield Wrong(near, f"the largest does not lie there: {box.text}", box)
        if said is not None and said.contains(place) is False:
            at = Term(said.first, said.last)
            yield Wrong(at, f"{sentence.text.text_of(at)!r} is wrong: the largest lies {box.place}", box)


def _near(sentence: Sentence, tokens: range) -> Term | None:
    """The words that put something near a landmark: close to the optic disc. Their last one names it."""
    words, end = sentence.words, tokens.stop
    first = next((j for j in tokens if words[j] in ("near", "close", "beside")), end)
    last = next((j for j in range(first, min(first + 5, end)) if words[j] in _LANDMARKS), None)
    return None if last is None else Term(first, last + 1)


def _is_included(sentence: Sentence, k: int, region: Term) -> bool:
    """Whether the largest, at token k, is one of those that lie in a region: most, including the largest at ..., lie there."""
    before = sentence.words[max(sentence.tokens.start, k - 3) : k]
    boxes = [slot.last for slot in sentence.slots if k < slot.first < region.first]
    between = sentence.words[boxes[0] : region.first] if boxes else []
    if between and len(between) < _CLAUSE and not _LYING.isdisjoint(between) and _OTHERS.isdisjoint(between):
        return True  # the largest, at ..., sits in the lower right quarter
    return ("including" in before and k < region.first) or before in (["so", "is", "the"], ["so", "doe", "the"])


def _nearest(sentence: Sentence) -> Iterator[Wrong]:
    """A distance is that of the nearest lesion of its type, not of the largest."""
    for slot in sentence.slots:
        if slot.anchor.slot.name.endswith((".disc", ".fovea")) and sentence.within.isdisjoint(_NEAREST):
            largest = next((k for k in range(sentence.tokens.start, slot.first) if sentence.words[k] in LARGEST), None)
            if largest is not None:
                says = f"{sentence.text.raw(largest)!r} is wrong: {slot.anchor.slot.fact.text}"
                yield Wrong(Term(largest, largest + 1), says, slot.anchor.slot.fact)


def _box_of(sentence: Sentence, k: int) -> Fact | None:
    """The box of the largest lesion of the type that the sentence names last before token k, or right after it."""
    lines = {anchor.line.id: anchor.line for anchor in sentence.anchors if anchor.line.id[0] == "l"}
    boxes = {id_: fact for id_, line in lines.items() for fact in line.facts[::-1] if fact.name.endswith("_box") and fact.place}
    terms = sentence.terms("conditions")
    named = [t for t in terms if k < t.first < k + 4][:1] or [t for t in terms if t.last <= k][-1:]
    if named and len(boxes) > 1:
        boxes = {i: box for i, box in boxes.items() if named[0].values[0] in lexicon.conditions(lines[i].facts[0].unit)}
    return next(iter(boxes.values())) if len(boxes) == 1 else None


def _on_scale(sentence: Sentence) -> Iterator[Wrong]:
    """A grade that is called the highest of its scale, the lowest, or one near the end."""
    graded = [a.line.facts[0] for a in sentence.anchors if a.line.facts and a.line.facts[0].unit in scales()]
    if not graded or len({fact.unit for fact in graded}) > 1:
        return
    words, (fact, levels) = sentence.words, (graded[0], scales()[graded[0].unit]["levels"])
    for k in sentence.tokens:
        sign = _ENDS.get(words[k]) or (words[k] == "severe" and {"most": 1, "least": -1}.get(words[k - 1]))
        if not sign or k in sentence.values or "the" not in words[max(0, k - 3) : k]:
            continue
        after, before = words[k + 1 : min(k + 5, sentence.tokens.stop)], words[max(sentence.tokens.start, k - 4) : k]
        exists = ["there", "is"] in ([*pair] for pair in pairwise(after))  # the highest grade there is
        if (not exists and not _STANDING.isdisjoint(after)) or {"from", "between", "whose"} & {*before}:
            continue  # whose highest grade means that it is proliferative
        end = max(levels) if sign > 0 else min(levels)
        near = not _NEXT_TO.isdisjoint(before)
        if fact.value != (sorted(levels)[-2 if sign > 0 else 1] if near else end):
            yield Wrong(Term(k, k + 1), f"{sentence.text.raw(k)!r} is wrong: {fact.text}", fact)
