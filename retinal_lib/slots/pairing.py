"""Whether the words around slots name what the slots are of: vessel, zone, formula, direction, measure, lesion, landmark.

A sentence's slots and its words of one such dimension are paired in order. Where there are as many words as slots, each word is
of its slot; where there are fewer, a word is of all slots up to the next one, or lists repeat; where there are more, some name
none.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import VOCABULARY, ParsedText, implied, word_lists
from retinal_lib.check.quantity_index import column_parts
from retinal_lib.dataset import measurements
from retinal_lib.slots.filling import Anchor

PLACES = word_lists("lesion_locations")
DIMENSIONS = ("vessel", "zone", "formula", "direction", "measure", "lesion", "landmark", "graded")
_TERMS = {"vessel": "vessels", "zone": "zones", "formula": "formulas", "direction": "orientations", "measure": "measures"}
CONTRASTS = frozenset(["against", "versus", "vs", "than", "compared", "to"])
_CALIBRE_OF = {"crae": "artery", "crve": "vein"}
# measure -> what may be named with it; the vessels tell CRAE from CRVE
_CALIBRES = ("crae", "crve", "a width")
_CALLED = {"cdr": ("cdr", "cup", "disc"), "avr": ("avr", *_CALIBRES), "crae": _CALIBRES, "crve": _CALIBRES}
_LYING = frozenset(
    ["lie", "is", "sit", "occupy", "span", "fill", "appear", ":", "has", "in", "within", "itself", "measure", "reach"]
)  # disc: it is the subject


class Placed(NamedTuple):
    """A slot as it stands in a text: its anchor, its tokens, and by dimension what words may be named for it."""

    anchor: Anchor
    first: int
    last: int
    allowed: dict[str, frozenset[str]]


class Word(NamedTuple):
    """A word of one dimension: its tokens and the values that it may mean."""

    first: int
    last: int
    values: frozenset[str]


@cache
def _of_column(column: str) -> dict[str, frozenset[str]]:
    measure, vessel, zone, formula, direction = column_parts(column)
    named = {"vessel": vessel or _CALIBRE_OF.get(measure), "zone": zone, "formula": formula, "direction": direction}
    allowed = {dimension: frozenset([value]) for dimension, value in named.items() if value}
    measures = _CALLED.get(measure, (measure,))
    return {**allowed, "measure": frozenset(measures)}


@cache
def _of_lesion(words: str) -> frozenset[str]:
    named = lexicon.conditions(words)
    return frozenset(named).union(*(implied(name) for name in named))


@cache
def _graded(scale: str, words: str) -> frozenset[str]:
    """The conditions that may be named with a grade: what its scale grades, and what the level is called."""
    return frozenset(VOCABULARY["subjects"][scale]) | _of_lesion(words)


def allowed_words(anchor: Anchor) -> dict[str, frozenset[str]]:
    """Returns, by dimension, the values that words may name for a slot; a dimension that does not apply is left out."""
    fact = anchor.slot.fact
    if fact.aspect == "vascular" and fact.name in measurements.columns():
        return _of_column(fact.name)
    if fact.unit in VOCABULARY["subjects"] and anchor.slot.name.endswith(".grade"):
        return {"graded": _graded(fact.unit, fact.words)}
    if fact.aspect != "lesion":
        return {}
    if fact.name.endswith(("_fovea", "_disc")):
        landmark = {"landmark": frozenset([fact.name.rpartition("_")[2]])}
    else:
        landmark = {}
    named = _of_lesion(anchor.line.facts[0].words)
    return {"lesion": named or frozenset(["disc"]), **landmark}


def mismatches(
    text: ParsedText, sentence: range, slots: Sequence[Placed], question: ParsedText
) -> Iterator[tuple[Placed, str, Word]]:
    """Yields slots of a sentence whose words name something else, each with the dimension and such a word."""
    for dimension in DIMENSIONS:
        concerned = [slot for slot in slots if dimension in slot.allowed]
        if not concerned:
            continue
        named = _words(text, sentence, dimension, concerned, slots)
        if not named:
            named, concerned = _context(text, sentence, dimension, concerned, question)
            if dimension == "vessel" and len({word.values for word in named}) > 1:
                concerned = [slot for slot in concerned if "all" not in slot.allowed["vessel"]]  # taken together
            if named and concerned and not any(_fits(word, slot, dimension) for word in named for slot in concerned):
                yield concerned[0], dimension, named[-1]
            continue
        if dimension == "vessel":
            concerned = _without_whole(named, concerned)
        wrong = _unpaired(named, concerned, dimension)
        if wrong is not None and len(named) != len(concerned):
            first = [slot for slot in concerned if not _is_second(text, slot, concerned, dimension)]
            wrong = _unpaired(named[-len(first) :], first, dimension) if 0 < len(first) < len(concerned) else wrong
        if wrong is not None and not _of_pronoun(text, sentence, concerned[wrong], named, dimension):
            yield concerned[wrong], dimension, _nearest(named, concerned[wrong], dimension)


def _of_pronoun(text: ParsedText, sentence: range, slot: Placed, named: list[Word], dimension: str) -> bool:
    """Whether a slot before all words of its sentence is of what 'they' stands for: The veins. They average {v3}, ..."""
    if named[0].first < slot.first or {"they", "it", "their", "its"}.isdisjoint(text.words[sentence.start : slot.first]):
        return False
    earlier = [tokens for tokens in text.sentences if tokens.stop <= sentence.start]
    last = _words(text, earlier[-1], dimension, [slot], ()) if earlier else []
    return bool(last) and _fits(last[-1], slot, dimension)


def _is_second(text: ParsedText, slot: Placed, slots: Sequence[Placed], dimension: str) -> bool:
    """Whether a slot is the second of two that are compared, named by what the first is compared with: {v3} against {v2}."""
    before = [other for other in slots if other.last <= slot.first]
    if not before or slot.allowed[dimension] & before[-1].allowed[dimension]:
        return False
    between = text.words[before[-1].last : slot.first]
    return len(between) < 4 and not CONTRASTS.isdisjoint(between)


def _without_whole(named: list[Word], slots: list[Placed]) -> list[Placed]:
    """The slots without those of all vessels before the first word, where arteries and veins have a word each: {v1} in all, the
    arteries {v2}."""
    whole = [slot for slot in slots if "all" in slot.allowed["vessel"] and slot.first < named[0].first]
    parts = [slot for slot in slots if slot not in whole]
    return parts if len(parts) == len(named) and not any("all" in word.values for word in named) else slots


def words_of(text: ParsedText, within: range, dimension: str, slots: Sequence[Placed]) -> list[Word]:
    """Returns the words of a dimension within some tokens, but not those inside of slots' values."""
    found = [
        word for word in _named(text, within, dimension) if not any(slot.first <= word.first < slot.last for slot in slots)
    ]
    return _with_pronouns(text, within, dimension, found) if dimension in ("vessel", "lesion", "direction") else found


def _named(text: ParsedText, within: range, dimension: str) -> list[Word]:
    """The words of a dimension within some tokens."""
    if dimension in ("lesion", "graded"):
        found = [Word(t.first, t.last, frozenset(map(str, t.values))) for t in text.within("conditions", within)]
    elif dimension == "landmark":
        kinds = (("fovea", PLACES.fovea), ("disc", PLACES.disc))
        found = [Word(k, k + 1, frozenset([name])) for k in within for name, words in kinds if text.words[k] in words]
    else:
        terms = text.within(_TERMS[dimension], within)
        found = [Word(t.first, t.last, frozenset(map(str, t.values))) for t in terms]
    if dimension == "measure":
        found = _measure_words(text, found)
    if dimension == "vessel":  # CRAE is of the arteries, CRVE of the veins, AVR of neither
        ratios = [t for t in text.within("measures", within) if "avr" in t.values]
        found = [word for word in found if not any(t.first <= word.first < t.last for t in ratios)]
        calibres = [t for t in text.within("measures", within) if len(t.values) == 1 and t.value in _CALIBRE_OF]
        found = sorted([*found, *(Word(t.first, t.last, frozenset([_CALIBRE_OF[t.value]])) for t in calibres)])
    return found


def _with_pronouns(text: ParsedText, within: range, dimension: str, found: list[Word]) -> list[Word]:
    """Adds 'the former' and 'the latter', as words for the last two that were named before."""
    for k in within:
        if text.words[k] in ("former", "latter"):
            before = _distinct([word for word in found if word.first < k])
            earlier = [tokens for tokens in text.sentences if tokens.stop <= within.start]
            while len(before) < 2 and earlier:
                before = _distinct([*_named(text, earlier.pop(), dimension), *before])
            if len(before) > 1:
                found = sorted([*found, Word(k, k + 1, before[-2 if text.words[k] == "former" else -1].values)])
    return found


def _distinct(found: list[Word]) -> list[Word]:
    """Words without those that name again what a word before them names."""
    kept: list[Word] = []
    for word in found:
        if not any(word.values == other.values for other in kept):
            kept.append(word)
    return kept


def _measure_words(text: ParsedText, found: list[Word]) -> list[Word]:
    """The words of measures, but not units, adjectives of explanations, and the disc as a place; a width that is no average may
    be a calibre."""
    units = {k for t in text.of("units") for k in range(t.first, t.last)}
    kept = []
    for word in found:
        words = text.words[word.first : word.last]
        if word.first in units or (words[-1] in ("dense", "denser", "densely") and len(words) == 1):
            continue
        if (
            word.values <= {"disc", "cup"}
            and _LYING.isdisjoint(text.words[word.last : word.last + 2])
            and "'" in text.raw(word.last - 1)
        ):
            continue  # from the disc's edge
        average = not {"average", "mean", "averaged", "averaging"}.isdisjoint(words)
        values = word.values | {"a width"} if "width" in word.values and not average else word.values
        covers = word.values == {"area"} and words[0] in (
            "cover",
            "covering",
            "covered",
            "occupy",
            "occupying",
            "take",
            "takes",
        )
        kept.append(word._replace(values=frozenset(["density"]) if covers else values))
    return kept


def _words(text: ParsedText, within: range, dimension: str, concerned: Sequence[Placed], slots: Sequence[Placed]) -> list[Word]:
    """The words of a dimension that could be of one of these slots, one for each run of equal ones."""
    every = words_of(text, within, dimension, slots)
    if dimension == "lesion" and any(slot.anchor.slot.fact.name.endswith("_box") for slot in concerned):
        subject = [k for k in within if text.words[k] in PLACES.disc and not _LYING.isdisjoint(text.words[k + 1 : k + 3])]
        every = sorted([*every, *(Word(k, k + 1, frozenset(["disc"])) for k in subject)])
    if dimension == "measure" and all(slot.allowed["measure"].isdisjoint(("disc", "cup")) for slot in concerned):
        # around the disc: a place, unless the disc is the subject
        every = [w for w in every if not w.values <= {"disc", "cup"} or not _LYING.isdisjoint(text.words[w.last : w.last + 2])]
    if dimension in ("measure", "lesion", "direction", "graded"):  # words of other measures, diseases and extents name no slot
        known = _known(dimension)
        every = [word for word in every if word.values & known]
    if dimension == "direction":  # taller than it is wide
        every = [word for word in every if not _of_shape(text.words, word.first)]
    found: list[Word] = []
    for word in every:
        parted = found and any(found[-1].last <= slot.first < word.first for slot in slots)
        if found and not parted and (word.values <= found[-1].values or found[-1].values <= word.values):
            found[-1] = Word(found[-1].first, word.last, found[-1].values & word.values)
        else:
            found.append(word)
    return found


def _of_shape(words: list[str], k: int) -> bool:
    """Whether the word at token k is of the disc's shape: taller than it is wide, wider than high."""
    before = words[max(0, k - 3) : k]
    return (
        words[k].endswith("er") or before == ["than", "it", "is"] or (before[-1:] == ["than"] and not words[k].endswith("ly"))
    )


@cache
def _known(dimension: str) -> frozenset[str]:
    if dimension == "measure":
        return frozenset("fractal density width tortuosity curvature tort_density crae crve avr disc cup cdr angle".split())
    if dimension == "direction":
        return frozenset(["vertical", "horizontal"])
    if dimension == "graded":
        return frozenset(c for subjects in VOCABULARY["subjects"].values() for c in subjects)
    lesions = "microaneurysm haemorrhage hard_exudate soft_exudate exudate neovascularisation drusen irma disc"
    return frozenset(lesions.split())


def _context(
    text: ParsedText,
    sentence: range,
    dimension: str,
    concerned: list[Placed],
    question: ParsedText,
) -> tuple[list[Word], list[Placed]]:
    """The words that an earlier sentence of the answer has, the latest that has any, else the question."""
    earlier = [tokens for tokens in text.sentences if tokens.stop <= sentence.start]
    for tokens in reversed(earlier):
        if named := _words(text, tokens, dimension, concerned, ()):
            return named, concerned
    named = [word for tokens in question.sentences for word in _words(question, tokens, dimension, concerned, ())]
    return named, concerned


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
    if len(slots) != 1 or len(named) != 2 or named[1].last > slots[0].first or all(fits[0]):
        return False
    return named[1].first - named[0].last <= 2 and slots[0].first - named[1].last <= 4


def _nearest(named: list[Word], slot: Placed, dimension: str) -> Word:
    wrong = [word for word in named if not _fits(word, slot, dimension)] or named
    return min(wrong, key=lambda word: abs(word.first - slot.first))


def placed(text: ParsedText, anchors: Sequence[Anchor]) -> list[Placed]:
    """Returns the slots of a text with the tokens that their values are."""
    starts, found, k = text.starts, [], 0
    for anchor in anchors:
        if anchor.slot is None:
            continue
        while k < len(starts) and starts[k] < anchor.start:
            k += 1
        last = k
        while last < len(starts) and starts[last] < anchor.end:
            last += 1
        found.append(Placed(anchor, k, last, allowed_words(anchor)))
    return found
