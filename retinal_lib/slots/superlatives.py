"""Superlatives in a slotted answer: the largest lesion of a type, and the ends of a grading scale."""

from collections.abc import Iterator

from retinal_lib.check.language.lexicon import Term
from retinal_lib.check.lesion_locations import quadrant, regions
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.slots.comparison import WORDS, Wrong
from retinal_lib.slots.sentence import Sentence

LARGEST, _SMALLEST = (frozenset(WORDS[name]) for name in ("largest", "smallest"))
_ENDS = dict.fromkeys("highest severest top topmost maximum maximal worst".split(), 1)
_ENDS |= dict.fromkeys("lowest minimal mildest bottom".split(), -1)
_STANDING = frozenset("mean stand denote kept reserved call called be is".split())  # of the scale, not of this eye
_NEXT_TO = frozenset("below second next above but beneath under one short".split())


def wrong(sentence: Sentence) -> Iterator[Wrong]:
    """Yields the superlatives of a sentence that no facts support."""
    yield from _largest(sentence)
    yield from _largest_by_mark(sentence)
    yield from _on_scale(sentence)


def _largest(sentence: Sentence) -> Iterator[Wrong]:
    """The box that is called the largest is the first of its type, and lies where it is said to lie."""
    boxes = [s for s in sentence.slots if s.anchor.slot.fact.name.endswith("_box") and s.anchor.slot.name[-1].isdigit()]
    for k in sentence.tokens if boxes else ():
        raw = repr(sentence.text.raw(k))
        if sentence.words[k] in _SMALLEST and "vessel" not in sentence.words[k + 1 : k + 4]:
            yield Wrong(Term(k, k + 1), f"{raw} is wrong: the boxes of the facts are of the largest")
        if sentence.words[k] in LARGEST:
            following = [slot for slot in boxes if slot.first > k] or boxes
            slot = following[0]
            run = [slot.anchor.slot.name.rpartition("box")[2] for slot in following]
            if run[0] != "1" and not (len(run) > 1 and "1" in run):
                yield Wrong(Term(k, k + 1), f"{raw} is wrong: {slot.anchor.slot.name} is not the largest")
            place = quadrant(slot.anchor.slot.fact.place)
            for region in regions(sentence.text) if place else ():
                if k < region.first < slot.first and region.contains(place) is False:
                    at = Term(region.first, region.last)
                    yield Wrong(at, f"{sentence.text.text_of(at)!r} is wrong: it lies {slot.anchor.slot.fact.place}")


def _largest_by_mark(sentence: Sentence) -> Iterator[Wrong]:
    """The largest lesion of a line that is marked, not shown, lies where it is said to lie."""
    lines = {anchor.line.id: anchor.line for anchor in sentence.anchors if anchor.line.id[0] == "l"}
    boxes = [fact for line in lines.values() for fact in line.facts if fact.name.endswith("_box") and fact.place]
    named = [region for region in regions(sentence.text) if region.first in sentence.tokens]
    if len(lines) != 1 or sentence.slots or not boxes or len(named) != 1 or LARGEST.isdisjoint(sentence.within):
        return
    place = quadrant(boxes[0].place)
    if place is not None and named[0].contains(place) is False:
        at = Term(named[0].first, named[0].last)
        yield Wrong(at, f"{sentence.text.text_of(at)!r} is wrong: the largest lies {boxes[0].place}", boxes[0])


def _on_scale(sentence: Sentence) -> Iterator[Wrong]:
    """A grade that is called the highest of its scale, the lowest, or one near the end."""
    graded = [a.line.facts[0] for a in sentence.anchors if a.line.facts and a.line.facts[0].unit in scales()]
    if not graded or len({fact.unit for fact in graded}) > 1 or sentence.within.isdisjoint((*_ENDS, "severe")):
        return
    words, (fact, levels) = sentence.words, (graded[0], scales()[graded[0].unit]["levels"])
    for k in sentence.tokens:
        sign = _ENDS.get(words[k]) or (words[k] == "severe" and {"most": 1, "least": -1}.get(words[k - 1]))
        if not sign or k in sentence.of.values or "the" not in words[max(0, k - 3) : k]:
            continue
        after, before = words[k + 1 : min(k + 5, sentence.tokens.stop)], words[max(sentence.tokens.start, k - 4) : k]
        if not _STANDING.isdisjoint(after) or {"from", "between", "whose"} & {*before}:
            continue  # whose highest grade means that it is proliferative
        end = max(levels) if sign > 0 else min(levels)
        near = not _NEXT_TO.isdisjoint(before)
        if fact.value != (sorted(levels)[-2 if sign > 0 else 1] if near else end):
            yield Wrong(Term(k, k + 1), f"{sentence.text.raw(k)!r} is wrong: {fact.text}", fact)
