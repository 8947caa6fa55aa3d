"""Whether the words around slots name what the slots are of: vessel, zone, formula, direction, measure, lesion, landmark.

A sentence's slots and its words of one such dimension are paired in order. Where there are as many words as slots, each word is
of its slot; where there are fewer, a word is of all slots up to the next one, or lists repeat; where there are more, some name
none.
"""

from collections.abc import Iterator, Sequence

from retinal_lib.check.language.lexicon import VOCABULARY
from retinal_lib.slots.sentence import LYING, PLACES, Placed, Sentence, SlottedText, Word

DIMENSIONS = ("vessel", "zone", "formula", "direction", "measure", "lesion", "landmark", "graded")
CONTRASTS = frozenset(["against", "versus", "vs", "than", "compared", "to"])
_BESIDE = frozenset("near beside at around from by next close to of above below".split())  # the disc as a place
_NONE = frozenset(["no", "without", "nor", "neither"])
_KNOWN = {  # dimension -> what words of it may name a slot; words of other measures, diseases and extents name none
    "measure": frozenset("fractal density width tortuosity curvature tort_density crae crve avr disc cup cdr angle".split()),
    "direction": frozenset(["vertical", "horizontal"]),
    "graded": frozenset(c for subjects in VOCABULARY["subjects"].values() for c in subjects),
    "lesion": frozenset(
        "microaneurysm haemorrhage hard_exudate soft_exudate exudate neovascularisation drusen irma disc".split()
    ),
}


def mismatches(sentence: Sentence, question: SlottedText) -> Iterator[tuple[Placed, str, Word]]:
    """Yields slots of a sentence whose words name something else, each with the dimension and such a word."""
    for dimension in DIMENSIONS:
        concerned = [slot for slot in sentence.slots if dimension in slot.allowed]
        if not concerned:
            continue
        named = _words(sentence, dimension, concerned)
        if not named:
            named = _context(sentence, dimension, concerned, question)
            if dimension == "vessel" and len({word.values for word in named}) > 1:
                concerned = [slot for slot in concerned if "all" not in slot.allowed["vessel"]]  # taken together
            if named and concerned and not any(_fits(word, slot, dimension) for word in named for slot in concerned):
                yield concerned[0], dimension, named[-1]
            continue
        if dimension == "lesion" and (counted := _counted(sentence, named, concerned)):
            yield counted[0], dimension, counted[1]
            continue
        if dimension == "vessel":
            concerned = _without_whole(named, concerned)
        wrong = _unpaired(named, concerned, dimension)
        if wrong is not None and len(named) != len(concerned):
            first = [slot for slot in concerned if not _is_second(sentence, slot, concerned, dimension)]
            wrong = _unpaired(named[-len(first) :], first, dimension) if 0 < len(first) < len(concerned) else wrong
        if wrong is not None and not _of_pronoun(sentence, concerned[wrong], named, dimension):
            yield concerned[wrong], dimension, _nearest(named, concerned[wrong], dimension)


def _counted(sentence: Sentence, named: list[Word], slots: list[Placed]) -> tuple[Placed, Word] | None:
    """A count whose noun is another lesion than its own: {l3.count} small haemorrhages."""
    for slot in slots:
        after = next((word for word in named if slot.last <= word.first < slot.last + 3), None)
        if after is None or not slot.anchor.slot.name.endswith(".count") or _fits(after, slot, "lesion"):
            continue
        if {",", "of", "and", "or"}.isdisjoint(sentence.words[slot.last : after.first]):
            return slot, after
    return None


def _of_pronoun(sentence: Sentence, slot: Placed, named: list[Word], dimension: str) -> bool:
    """Whether a slot before all words of its sentence is of what 'they' stands for: The veins. They average {v3}, ..."""
    before = sentence.words[sentence.tokens.start : slot.first]
    if named[0].first < slot.first or (dimension != "measure" and {"they", "it", "their", "its"}.isdisjoint(before)):
        return False
    last = _words(sentence.earlier[-1], dimension, [slot]) if sentence.earlier else []
    return bool(last) and _fits(last[-1], slot, dimension)


def _is_second(sentence: Sentence, slot: Placed, slots: Sequence[Placed], dimension: str) -> bool:
    """Whether a slot is the second of two that are compared, named by what the first is compared with: {v3} against {v2}."""
    before = [other for other in slots if other.last <= slot.first]
    if not before or slot.allowed[dimension] & before[-1].allowed[dimension]:
        return False
    between = sentence.words[before[-1].last : slot.first]
    return len(between) < 4 and not CONTRASTS.isdisjoint(between)


def _without_whole(named: list[Word], slots: list[Placed]) -> list[Placed]:
    """The slots without those of all vessels before the first word, where arteries and veins have a word each: {v1} in all, the
    arteries {v2}."""
    whole = [slot for slot in slots if "all" in slot.allowed["vessel"] and slot.first < named[0].first]
    parts = [slot for slot in slots if slot not in whole]
    return parts if len(parts) == len(named) and not any("all" in word.values for word in named) else slots


def _words(sentence: Sentence, dimension: str, concerned: Sequence[Placed]) -> list[Word]:
    """The words of a dimension that could be of one of these slots, one for each run of equal ones."""
    every, words = sentence.named(dimension), sentence.words
    if dimension == "lesion" and any(slot.anchor.slot.fact.name.endswith("_box") for slot in concerned):
        of_disc = any("disc" in slot.allowed["lesion"] for slot in concerned)
        discs = [k for k in sentence.tokens if (words[k] in PLACES.disc or words[k] == "cup") and k not in sentence.of.values]
        subject = [k for k in discs if _is_subject(words, k, k + 1, of_disc)]
        every = sorted([*every, *(Word(k, k + 1, frozenset(["disc"])) for k in subject)])
    if dimension == "measure" and all(slot.allowed["measure"].isdisjoint(("disc", "cup")) for slot in concerned):
        # around the disc: a place, unless the disc is the subject
        every = [w for w in every if not w.values <= {"disc", "cup"} or _is_subject(words, w.first, w.last)]
    if dimension == "lesion":  # but no soft exudates: of no value
        every = [word for word in every if _NONE.isdisjoint(words[max(sentence.tokens.start, word.first - 2) : word.first])]
    if dimension in _KNOWN:
        every = [word for word in every if not word.values.isdisjoint(_KNOWN[dimension])]
    if dimension == "direction":  # taller than it is wide
        every = [word for word in every if not _of_shape(words, word.first)]
    found: list[Word] = []
    for word in every:
        parted = found and any(found[-1].last <= slot.first < word.first for slot in sentence.slots)
        if found and not parted and (word.values <= found[-1].values or found[-1].values <= word.values):
            found[-1] = Word(found[-1].first, word.last, found[-1].values & word.values)
        else:
            found.append(word)
    return found


def _is_subject(words: list[str], first: int, last: int, anyway: bool = False) -> bool:
    """Whether the disc at these tokens is what a sentence is about, and no place: the disc lies at ..., not near the disc."""
    before = words[max(0, first - 4) : first]
    if "box" in before:  # the box around the disc
        return True
    return _BESIDE.isdisjoint(before[-3:]) and (anyway or not LYING.isdisjoint(words[last : last + 2]))


def _of_shape(words: list[str], k: int) -> bool:
    """Whether the word at token k is of the disc's shape: taller than it is wide, wider than high."""
    before = words[max(0, k - 3) : k]
    return (
        words[k].endswith("er") or before == ["than", "it", "is"] or (before[-1:] == ["than"] and not words[k].endswith("ly"))
    )


def _context(sentence: Sentence, dimension: str, concerned: list[Placed], question: SlottedText) -> list[Word]:
    """The words that an earlier sentence of the answer has, the latest that has any, else the question."""
    for earlier in reversed(sentence.earlier):
        if named := _words(earlier, dimension, concerned):
            return named
    return [word for asked in question.sentences for word in _words(asked, dimension, concerned)]


def _fits(word: Word, slot: Placed, dimension: str) -> bool:
    return not word.values.isdisjoint(slot.allowed[dimension])


def _unpaired(named: list[Word], slots: list[Placed], dimension: str) -> int | None:
    """The first slot that no pairing in order gives a fitting word; None where there is such a pairing."""
    fits = [[_fits(word, slot, dimension) for word in named] for slot in slots]
    many, count = len(named), len(slots)
    if many >= count:
        if many > count and _joined(named, slots, fits):
            return 0
        at = 0
        for i, row in enumerate(fits):
            at = next((k + 1 for k in range(at, many if many > count else i + 1) if row[k]), 0)
            if not at:
                return _in_runs(named, slots, fits, dimension) if dimension == "measure" and many > count else i
        return None
    listed = count % many == 0 and all(word.last <= slots[0].first for word in named)
    if listed and all(fits[i][i % many] for i in range(count)):
        return None
    return _in_runs(named, slots, fits, dimension)


def _in_runs(named: list[Word], slots: list[Placed], fits: list[list[bool]], dimension: str) -> int | None:
    """Pairs fewer words than slots: each word with the slot that is nearest to it, each slot with the word before or after it.
    A slot of all vessels beside others, of the disc beside lesions, or of a direction may have no word of its own."""
    for k, word in enumerate(named):
        apart = [slot.first - word.last if slot.first >= word.last else word.first - slot.last for slot in slots]
        if not any(fits[i][k] for i, distance in enumerate(apart) if distance == min(apart)):
            return apart.index(min(apart))
    at = 0
    for i, slot in enumerate(slots):
        before = max((k for k, word in enumerate(named) if word.first < slot.first), default=None)
        after = min((k for k, word in enumerate(named) if word.first > slot.first), default=None)
        k = next((k for k in (before, after) if k is not None and k >= at and fits[i][k]), None)
        if k is not None:
            at = k
        elif dimension != "direction" and slot.allowed[dimension].isdisjoint(("disc", "all")):
            return i
    return None


def _joined(named: list[Word], slots: list[Placed], fits: list[list[bool]]) -> bool:
    """Whether one slot is told of two things that are joined, of which it is one: arteries and veins average {v2}."""
    if len(slots) != 1 or len(named) != 2 or named[1].last > slots[0].first or all(fits[0]) or "all" in named[0].values:
        return False
    return named[1].first - named[0].last <= 2 and slots[0].first - named[1].last <= 4


def _nearest(named: list[Word], slot: Placed, dimension: str) -> Word:
    wrong = [word for word in named if not _fits(word, slot, dimension)] or named
    return min(wrong, key=lambda word: abs(word.first - slot.first))
