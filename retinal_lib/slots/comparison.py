"""Comparisons in a slotted answer: wider than, similar to, twice, the highest grade; each is evaluated on the facts that it
stands between."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, permutations
from typing import NamedTuple

from retinal_lib.check.language.lexicon import Term
from retinal_lib.check.language.naming import Word
from retinal_lib.check.lesion_locations import regions
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.facts import Fact
from retinal_lib.slots.sentence import CALIBRES, Placed, Sentence, SlottedText, allowed_words
from retinal_lib.slots.sheet import SPEC, Line, Slot

WORDS = SPEC["comparison"]
_SIGNS = {word: sign for sign, kind in ((1, "greater"), (-1, "lesser"), (0, "equal")) for word in WORDS[kind]}
COMPARING = frozenset([*_SIGNS, *WORDS["times"]])
_OF = (["in"], ["for"], ["of"])  # it is slightly greater in the vertical direction
_DIRECTIONS = frozenset(["horizontally", "vertically"])
_LED = _DIRECTIONS | {"in", "for"}
_NAMING = frozenset("vertical horizontal artery vein".split())
_ALONE = frozenset(WORDS["alone"])
_THINGS = frozenset("network ones one kind value share figure part system tree pattern portion ratio number".split())
_USUAL = frozenset("normal usual average typical expected reference healthy others most".split())
_VERBS = frozenset(WORDS["verbs"])
_CLOSING = frozenset(", . ; ( : and but with at in on by here averaging while than off away".split())
_EXTENTS = {"taller": "vertical", "higher": "vertical", "wider": "horizontal", "broader": "horizontal"}
# the direction that is called longer -> the words for the other one
_EXTENT_WORDS = {"vertical": frozenset(["wide", "broad", "width"]), "horizontal": frozenset(["high", "tall", "height", "long"])}
_SAME = frozenset("as in on , . ; size width value density length and here".split())  # after 'same', where it compares
_LYING = frozenset("lie fall sit rest be is come".split())
_SETTING_APART = frozenset("while whereas but".split())
_REFERRING = frozenset("that this it these they those".split())
_VESSELS = (["artery"], ["vein"])
_THAN = [["than", word] for word in ("that", "this", "these", "it")]
_ENDS = dict.fromkeys("highest severest top topmost maximum maximal worst".split(), 1)
_ENDS |= dict.fromkeys("lowest minimal mildest bottom".split(), -1)
_ON_SCALE = frozenset([*_ENDS, "severe"])
_STANDING = frozenset("mean stand denote kept reserved call called be is".split())  # of the scale, not of this eye
_NEXT_TO = frozenset("below second next above but beneath under one short".split())
_DIMENSIONS = ("vessel", "lesion", "zone", "direction", "formula")
_SIMILAR, _EQUAL = 0.15, 0.05  # how far apart values may lie that are called similar, or equal, as a share of the larger


class Compared(NamedTuple):
    """What a comparison is of: a fact with the words that may name it."""

    fact: Fact
    shown: str
    allowed: dict[str, frozenset[str]]
    slot: Placed | None = None

    @property
    def overall(self) -> bool:
        """Whether it is of all vessels, arteries and veins together."""
        return "all" in self.allowed.get("vessel", ())


class Wrong(NamedTuple):
    """A comparison that no facts support: its tokens, why, and the fact that contradicts it."""

    at: Term
    text: str
    fact: Fact | None = None


def wrong(sentence: Sentence, question: SlottedText) -> Iterator[Wrong]:
    """Yields the comparisons of a sentence that are wrong, or that are of nothing that was told: the first one, which is enough
    to send an answer back."""
    yield from _divided(sentence)
    if "between" in sentence.within:
        yield from _between(sentence)
    if not sentence.within.isdisjoint(_ON_SCALE):
        yield from _on_scale(sentence)
    if sentence.asks or COMPARING.isdisjoint(sentence.within):
        return
    places = {region.first for region in regions(sentence.text)}
    for k in sentence.tokens:
        if sentence.words[k] not in COMPARING or k in sentence.values or k in places or not _is_judged(sentence, k):
            continue
        if problem := _problem(sentence, k, question):
            yield problem
            return


def _is_judged(sentence: Sentence, k: int) -> bool:
    """Whether the word at token k compares values of this eye."""
    words = sentence.words
    if sentence.anchors and all(anchor.line.places for anchor in sentence.anchors):
        return False  # the fovea lies a little lower, the cup is smaller: checked with their places
    if words[k + 1 : k + 2] in _VESSELS:
        return words[k] in ("more", "fewer")
    if words[k] == "more" and ("there" in words[max(0, k - 2) : k] or words[k + 1 : k + 3] in _THAN):
        return False  # yes, there is more; I can say no more than that
    return _compares(words, k, sentence.tokens)


def _compares(words: list[str], k: int, sentence: range) -> bool:
    """Whether the word at token k compares: with 'than' or 'as' after it, or by itself."""
    word, after = words[k], words[k + 1 : min(sentence.stop, k + 13)]
    if word in _VERBS or (word in _SIGNS and not after):
        return True  # the veins cover slightly more
    if word in WORDS["equal"]:
        if word == "same":
            return after[0] in _SAME and words[k - 2 : k] != ["all", "the"]
        if word in ("match", "equal"):
            return not {"as", "to", "in"}.isdisjoint(after)
        return word != "equally" or after[:1] not in ([","], ["impossible"])  # equally, none is excluded
    if word in WORDS["times"]:
        return word != "half" or not {"as", "that"}.isdisjoint(after[:1])
    if _is_ranked(words, k, after) or after[0] in _DIRECTIONS or after[0] == "numerous":
        return True
    if after[:1] in _OF and not _NAMING.isdisjoint(after[1:4]):
        return True
    if "than" not in after and after[0] not in _CLOSING:
        return False  # the larger vessels
    return word in _ALONE or "than" in after


def _is_ranked(words: list[str], k: int, after: list[str]) -> bool:
    """Whether a word ranks one of two: the more richly branched of both, the denser network, the wider of the vessels."""
    ranked = "both" in after[1:5] or after[:1] in (["of"], ["vessel"]) or not _THINGS.isdisjoint(after[:1])
    return ranked and words[k - 1 : k] == ["the"]


def _problem(sentence: Sentence, k: int, question: SlottedText) -> Wrong | None:
    words, at, raw = sentence.words, Term(k, k + 1), repr(sentence.text.raw(k))
    if (shape := _shape(sentence, k)) is not None:
        return _wrong_shape(sentence, k, shape)
    than = words[k + 1 : min(k + 8, sentence.tokens.stop)]
    if "than" in than and not _USUAL.isdisjoint(than[than.index("than") : than.index("than") + 4]):
        return Wrong(at, f"{raw} compares with what is usual, which no fact gives")
    if (ratio := _ratio_alone(sentence)) is not None and (told := _by_ratio(sentence, k, question, ratio)) is not None:
        return None if told else Wrong(at, f"{raw} is wrong: {ratio.text}", ratio)
    if words[k + 1 : k + 2] in _VESSELS:
        return Wrong(at, f"{raw}: no line counts vessels")
    if words[k - 1 : k + 2] == ["branch", "more", "than"]:
        return Wrong(at, f"{raw}: no line tells how much vessels branch; a fractal dimension is higher or lower")
    judged = list(_each_with_all(sentence, k) or _judged(sentence, k, _comparable(sentence), question))
    if not judged:  # the other value stands in the sentence before: the veins, with {v3}, are wider
        judged = _over_sentences(sentence, k, question)
    if not judged:  # the values may stand elsewhere: on any line of the sheet
        every = _compared(sentence.sheet.slots.values())
        judged = list(_judged(sentence, k, [each for each in every if each.allowed], question, by_words=True))
    if not judged:
        return Wrong(at, f"{raw} compares what no two facts give")
    for one, other in judged:
        if not _holds(words[k], one, other):
            return Wrong(at, f"{raw} is wrong: {one.fact.text}, {other.fact.text}", one.fact)
    return None


def _ratio_alone(sentence: Sentence) -> Fact | None:
    """The ratio of arterioles to venules where it is the only value of a sentence."""
    ratios = [s.anchor.slot.fact for s in sentence.slots if "avr" in s.allowed.get("measure", ())]
    return ratios[0] if ratios and len(sentence.slots) == 1 else None


def _by_ratio(sentence: Sentence, k: int, question: SlottedText, ratio: Fact) -> bool | None:
    """Whether a comparison of arteries and veins agrees with their ratio; None where it compares something else."""
    subject, sign = _operands(sentence, k, "vessel", question).subject, _SIGNS.get(sentence.words[k], 0)
    if subject is None or not sign or subject.values not in ({"artery"}, {"vein"}):
        return None
    return (float(ratio.value) > 1) == ((subject.values == {"artery"}) == (sign > 0))


def _shape(sentence: Sentence, k: int) -> str | None:
    """The direction that is said to be the longer one: taller than it is wide."""
    direction = _EXTENTS.get(sentence.words[k])
    after = sentence.words[k + 1 : min(k + 6, sentence.tokens.stop)]
    if direction and "than" in after[:2] and not _EXTENT_WORDS[direction].isdisjoint(after):
        return direction
    return None


def _wrong_shape(sentence: Sentence, k: int, direction: str) -> Wrong | None:
    of, raw = "Cup" if "cup" in sentence.words[max(0, k - 6) : k] else "Disc", repr(sentence.text.raw(k))
    facts = {fact.name: fact for line in sentence.sheet.lines for fact in line.facts}
    height, width = facts.get(f"{of}_height"), facts.get(f"{of}_width")
    at = Term(k, k + 1)
    if height is None or width is None:
        return Wrong(at, f"{raw} compares what no two facts give")
    if (float(height.value) > float(width.value)) != (direction == "vertical"):
        return Wrong(at, f"{raw} is wrong: {height.text}, {width.text}", height)
    return None


def _over_sentences(sentence: Sentence, k: int, question: SlottedText) -> list[tuple[Compared, Compared]]:
    """The pairs of a value of a sentence and one of the sentences around it; where the sentence has no values, of those around,
    the one that it names first."""
    near, here = _of_slots(sentence.around), _of_slots(sentence.slots)
    if not here and not _SIGNS.get(sentence.words[k]):  # Both values are nearly the same.
        here = near = next((found for each in reversed(sentence.earlier) if (found := _of_slots(each.slots))), [])
    if not here:
        named = {d: sentence.named(d) for d in ("vessel", "direction")}
        if not any(named.values()):  # No, they are narrower.
            named = {d: [word for asked in question.sentences for word in asked.named(d)] for d in named}
        here = [c for c in near if any(w and w[0].values & c.allowed.get(d, frozenset()) for d, w in named.items())]
    pairs = [(one, other) for one in here for other in near]
    if sentence.words[sentence.tokens.start] in _REFERRING and "than" in sentence.within:
        pairs = [(other, one) for one, other in pairs]  # That is wider than the veins, which have ...
    found = []
    for one, other in pairs:
        apart = _apart(one, other)
        if apart and _is_measured(sentence.words[k], one) and not (one.overall or other.overall):
            turned = _fit(_operands(sentence, k, apart, question), other, one, apart, both=True)
            found.append((other, one) if turned else (one, other))
    return found


def _between(sentence: Sentence) -> Iterator[Wrong]:
    """The value of all vessels lies between those of arteries and veins only where it does."""
    k = next(k for k in sentence.tokens if sentence.words[k] == "between")
    if _LYING.isdisjoint(sentence.words[max(sentence.tokens.start, k - 3) : k]):
        return
    for one in (each for each in _of_slots(sentence.slots) if each.overall):
        ends = [each for each in _compared(sentence.sheet.slots.values()) if _apart(one, each) == "vessel"]
        values = [each.fact.value for each in ends]
        if values and not min(values) <= one.fact.value <= max(values):
            known = ", ".join(each.fact.text for each in (one, *ends))
            yield Wrong(Term(k, k + 1), f"'between' is wrong: {known}", one.fact)


def _each_with_all(sentence: Sentence, k: int) -> list[tuple[Compared, Compared]]:
    """The pairs of 'both lie below the value for all vessels': arteries and veins, each with all vessels."""
    before = sentence.words[sentence.tokens.start : k]
    if {"both", "each"}.isdisjoint(before) or not _SETTING_APART.isdisjoint(before) or not _SIGNS.get(sentence.words[k]):
        return []
    every = [each for each in _compared(sentence.sheet.slots.values()) if each.overall]
    pairs = [(one, other) for one in _of_slots(sentence.slots) for other in every if _apart(one, other) == "vessel"]
    return pairs if len(pairs) > 1 else []


def _compared(slots: Iterable[tuple[Line, Slot]]) -> list[Compared]:
    """What can be compared of slots: those with a number."""
    found = [Compared(slot.fact, slot.text, allowed_words(line, slot)) for line, slot in slots]
    return [each for each in found if isinstance(each.fact.value, int | float)]


def _of_slots(slots: Sequence[Placed]) -> list[Compared]:
    """What can be compared of the slots in a text."""
    found = [Compared(s.anchor.slot.fact, s.anchor.slot.text, s.allowed, s) for s in slots if s.allowed]
    return [each for each in found if isinstance(each.fact.value, int | float)]


def _comparable(sentence: Sentence) -> list[Compared]:
    """The facts with a value that a sentence rests on, by slots and by marks."""
    found = _of_slots(sentence.slots)
    seen = {each.fact for each in found}
    marked = [(anchor.line, slot) for anchor in sentence.anchors if anchor.slot is None for slot in anchor.line.slots]
    return found + [each for each in _compared(marked) if each.allowed and each.fact not in seen]


def _judged(
    sentence: Sentence, k: int, known: Sequence[Compared], question: SlottedText, by_words: bool = False
) -> Iterator[tuple[Compared, Compared]]:
    """The pairs that a comparison is of, the subject first: by the words before and after it, else by the order of slots.
    `by_words`: only pairs of the measure that the comparative is of, both of which are named."""
    pairs = [(one, other, _apart(one, other)) for one, other in permutations(known, 2) if _is_measured(sentence.words[k], one)]
    pairs = [pair for pair in pairs if pair[2]]
    found = False
    for one, other, apart in pairs:
        if _fit(_operands(sentence, k, apart, question), one, other, apart, both=by_words):
            found = True
            yield one, other
    if found or by_words or sentence.named("vessel") or sentence.named("lesion"):
        return
    for one, other, _ in pairs:
        if not _SIGNS.get(sentence.words[k]) or (one.slot and other.slot and one.slot.first < k < other.slot.first):
            yield one, other


def _is_measured(comparative: str, compared: Compared) -> bool:
    """Whether a value is of a measure that a comparative is said of: wider, of a width; higher is said of all."""
    measures = WORDS["measures"].get(comparative)
    return measures is None or not _measures(compared).isdisjoint(measures)


def _apart(one: Compared, other: Compared) -> str | None:
    """The one dimension in which two values differ that can be compared; None where they differ in several, or in kind."""
    if _measures(one) != _measures(other):
        return None
    apart = [d for d in _DIMENSIONS if one.allowed.get(d) != other.allowed.get(d)]
    return apart[0] if len(apart) == 1 else None


def _measures(compared: Compared) -> frozenset[str]:
    """What a value measures; the calibres of arteries and of veins, CRAE and CRVE, are of one kind."""
    if compared.fact.aspect == "lesion":
        return frozenset(["count" if isinstance(compared.fact.value, int) else compared.fact.name.rpartition("_")[2]])
    measures = compared.allowed.get("measure", frozenset())
    return CALIBRES if measures and measures <= CALIBRES else measures


class Operands(NamedTuple):
    """What a comparison names: of what it is said, and with what that is compared; None where it names nothing."""

    subject: Word | None
    other: Word | None


def _operands(sentence: Sentence, k: int, dimension: str, question: SlottedText) -> Operands:
    """The words of a dimension that the comparison at token k is of."""
    words, stop, named = sentence.words, sentence.tokens.stop, sentence.named(dimension)
    if any("all" not in word.values for word in named):
        named = [word for word in named if "all" not in word.values]  # the veins are the wider vessels
    before, after = [w for w in named if w.first < k], [w for w in named if w.first > k]
    than = next((i for i in range(k, stop) if words[i] == "than"), None)
    if than is not None:
        between, beyond = [w for w in after if w.first < than], [w for w in after if w.first > than]
        # the veins are wider than ...; larger in height than in width; wider than the arteries are the veins
        subject = (before[-1:] or between[-1:] or beyond[1:2] or [None])[0]
        return Operands(subject or _referred(sentence, k, dimension, question), (beyond[:1] or [None])[0])
    subjects = before[-1:]
    if not _LED.isdisjoint(words[k + 1 : k + 2]) and after:  # larger in the vertical direction, smaller horizontally
        subjects = after[:1]
    subject = (subjects or [None])[0] or _referred(sentence, k, dimension, question) or (after[:1] or [None])[0]
    others = [w for w in (*after, *reversed(before)) if subject and w.values != subject.values]
    return Operands(subject, (others[:1] or [None])[0])


def _referred(sentence: Sentence, k: int, dimension: str, question: SlottedText) -> Word | None:
    """What 'they' stands for where it is the subject: what the sentence before names first, or the question."""
    if _REFERRING.isdisjoint(sentence.words[sentence.tokens.start : k]):
        return None
    for earlier in (*reversed(sentence.earlier), *question.sentences):
        if named := [word for word in earlier.named(dimension) if "all" not in word.values]:
            return named[0]
    return None


def _fit(operands: Operands, one: Compared, other: Compared, dimension: str, both: bool) -> bool:
    """Whether two facts are those that a comparison names, in this order; `both`: it must name both."""
    first, second = one.allowed.get(dimension, frozenset()), other.allowed.get(dimension, frozenset())
    if operands.subject is None or not operands.subject.values & first or operands.subject.values & second:
        return False
    if operands.other is None:
        return not both
    return bool(operands.other.values & second) and not operands.other.values & first


def _holds(word: str, one: Compared, other: Compared) -> bool:
    """Whether a comparison is true of the values, and of what is shown of them."""
    a, b = float(one.fact.value), float(other.fact.value)
    if word in WORDS["times"]:
        return b != 0 and abs(a / b / WORDS["times"][word] - 1) <= 0.1
    sign = _SIGNS[word]
    if sign == 0:
        apart = _SIMILAR if word in ("similar", "comparable", "alike") else _EQUAL
        return one.shown == other.shown or abs(a - b) <= apart * max(abs(a), abs(b))
    return (a - b) * sign > 0 and one.shown != other.shown


def _divided(sentence: Sentence) -> Iterator[Wrong]:
    """The ratio of arterioles to venules is not that of veins to arteries."""
    words = sentence.words
    start = next((k for k in sentence.tokens if words[k].startswith("divid")), None) if "by" in sentence.within else None
    by = next((k for k in sentence.tokens if start is not None and k > start and words[k] == "by"), None)
    if by is None:
        return
    named = sentence.named("vessel")
    before, after = [w for w in named if w.last <= by], [w for w in named if w.first > by]
    if before and after and before[-1].values == {"vein"} and after[0].values == {"artery"}:
        yield Wrong(Term(start, start + 1), "the ratio is of arteries to veins, not the other way round")


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
        if not exists and not _STANDING.isdisjoint(after):
            continue  # whose highest grade means that it is proliferative
        end = max(levels) if sign > 0 else min(levels)
        near = not _NEXT_TO.isdisjoint(before)
        if fact.value != (sorted(levels)[-2 if sign > 0 else 1] if near else end):
            yield Wrong(Term(k, k + 1), f"{sentence.text.raw(k)!r} is wrong: {fact.text}", fact)
