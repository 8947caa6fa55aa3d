"""Comparisons in a slotted answer: wider than, similar to, twice; each is evaluated on the facts that it stands between."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, permutations
from typing import NamedTuple

from retinal_lib.check.language import naming
from retinal_lib.check.language.lexicon import Term
from retinal_lib.check.language.naming import Word
from retinal_lib.check.lesion_locations import regions
from retinal_lib.facts import Fact
from retinal_lib.slots.sentence import Placed, Sentence, SlottedText, allowed_words
from retinal_lib.slots.sheet import SPEC, Line, Slot

WORDS = SPEC["comparison"]
_LEVELS = {"above": 1, "below": -1}  # where they compare: above that average, below the veins
_SIGNS = {word: sign for sign, kind in ((1, "greater"), (-1, "lesser"), (0, "equal")) for word in WORDS[kind]}
_SIGNS |= _LEVELS
COMPARING = frozenset([*_SIGNS, *WORDS["times"]])
_OF = (["in"], ["for"], ["of"])  # it is slightly greater in the vertical direction
_DIRECTIONS = frozenset(["horizontally", "vertically"])
_LED = _DIRECTIONS | {"in", "for"}
_NAMING = frozenset("vertical horizontal artery vein".split())
_LEVELLED = frozenset("average mean overall vein artery venule arteriole vessel value figure".split())
_ALONE = frozenset(WORDS["alone"])
_SAYING_OF = frozenset("sum summing summarise combine stand".split())
_THINGS = frozenset("network ones one kind value share figure part system tree pattern portion ratio number".split())
_MANY = 12  # comparisons of a sentence that are read
_USUAL = frozenset("normal usual average typical expected reference healthy others most".split())
_VERBS = frozenset(WORDS["verbs"])
_CLOSING = frozenset(", . ; ( : and but with at in on by here averaging while than off away".split())
_EXTENTS = {"taller": "vertical", "higher": "vertical", "wider": "horizontal", "broader": "horizontal"}
# the direction that is called longer -> the words for the other one
_EXTENT_WORDS = {"vertical": frozenset(["wide", "broad", "width"]), "horizontal": frozenset(["high", "tall", "height", "long"])}
_CONTRASTING = frozenset("unlike against versus vs over compared opposed contrast".split())
_SAME = frozenset("as in on , . ; size width value density length and here".split())  # after 'same', where it compares
_REFERRING = frozenset("that this it these they those".split())
_DIMENSIONS = ("vessel", "lesion", "zone", "direction", "formula", "measure")
_SIMILAR, _EQUAL = 0.15, 0.05  # how far apart values may lie that are called similar, or equal, as a share of the larger


class Compared(NamedTuple):
    """What a comparison is of: a fact with the words that may name it."""

    fact: Fact
    shown: str
    allowed: dict[str, frozenset[str]]
    slot: Placed | None = None


class Wrong(NamedTuple):
    """A comparison that no facts support: its tokens, why, and the fact that contradicts it."""

    at: Term
    text: str
    fact: Fact | None = None


def wrong(sentence: Sentence, question: SlottedText) -> Iterator[Wrong]:
    """Yields the comparisons of a sentence that are wrong, or that are of nothing that was told: the first one, which is enough
    to send an answer back."""
    yield from _divided(sentence)
    if sentence.asks or COMPARING.isdisjoint(sentence.within):
        return
    words, places = sentence.words, {region.first for region in regions(sentence.text)}
    judged = 0
    for k in sentence.tokens:
        if words[k] not in COMPARING or k in sentence.values or k in places or not _is_judged(sentence, k):
            continue
        if problem := _problem(sentence, k, question):
            yield problem
            return
        judged += 1
        if judged == _MANY:
            yield Wrong(Term(k, k + 1), "the sentence compares too much to be read")
            return


def _is_judged(sentence: Sentence, k: int) -> bool:
    """Whether the word at token k compares values of this eye."""
    words, slots = sentence.words, sentence.slots
    if not _compares(words, k, sentence.tokens) and not (words[k] in _SIGNS and _against(words, k, slots)):
        return False
    if words[k - 1 : k] in (["get"], ["goe"], ["become"]):
        return False  # a denser network has a higher value
    if sentence.anchors and all(anchor.line.places for anchor in sentence.anchors):
        return False  # the fovea lies a little lower, the cup is smaller: checked with their places
    if words[k] in WORDS["equal"] and not slots and _all_alike(sentence.around):
        return False
    if words[k] == "more" and "there" in words[max(0, k - 2) : k] and "than" not in words[k : k + 4]:
        return False  # yes, there is more
    # I can say no more than that
    return words[k : k + 2] != ["more", "than"] or words[k + 2 : k + 3] not in (["that"], ["this"], ["these"], ["it"])


def _against(words: list[str], k: int, slots: Sequence[Placed]) -> bool:
    """Whether two values that are set against each other follow: the arteries cover more of it, {v2} against {v3}."""
    after = [slot for slot in slots if slot.first > k]
    return any(
        len(between := words[one.last : other.first]) < 4 and not naming.WORDS.contrasts.isdisjoint(between)
        for one, other in pairwise(after)
    )


def _compares(words: list[str], k: int, sentence: range) -> bool:
    """Whether the word at token k compares: with 'than' or 'as' after it, or by itself."""
    word, after = words[k], words[k + 1 : min(sentence.stop, k + 13)]
    last = k + 1 >= sentence.stop  # the veins cover slightly more
    if word in _LEVELS:
        return after[:1] in (["them"], ["these"], ["those"]) or not _LEVELLED.isdisjoint(after[:5])
    if word in _VERBS or (word in _SIGNS and (last or (words[k - 1 : k] == ["the"] and words[k + 1] == "of"))):
        return True
    if word in WORDS["equal"]:
        if word == "same":
            return (last or after[0] in _SAME) and words[k - 2 : k] != ["all", "the"]
        if word == "equally":  # equally, none is excluded
            return after[:1] not in ([","], ["impossible"])
        return word not in ("match", "equal") or not {"as", "to", "for", "in"}.isdisjoint(after) or "both" in words
    if word in _SIGNS and (
        _is_ranked(words, k, after)
        or not _DIRECTIONS.isdisjoint(after[:1])
        or (after[:1] in _OF and not _NAMING.isdisjoint(after[1:4]))
    ):
        return True
    if word in ("more", "less") and words[k - 1] in ("is", "are") and after[1:2] == [","]:
        return True  # haemorrhages are more numerous, {l2.count} in all
    if "than" not in after and after and after[0] not in _CLOSING:
        return word in WORDS["times"] and word != "half"  # the larger vessels: no comparison
    if word in _ALONE or (word in WORDS["times"] and word != "half"):
        return True
    if word == "half":
        return "as" in after[:1] or "that" in after[:1]
    return "than" in after


def _is_ranked(words: list[str], k: int, after: list[str]) -> bool:
    """Whether a word ranks one of two: the more richly branched of both, the denser network, the wider vessels."""
    if words[k - 1 : k] != ["the"]:
        return False
    of = after.index("of") if "of" in after[:4] else None
    if (of is not None and after[of + 1 : of + 2] in (["both"], ["two"])) or not _THINGS.isdisjoint(after[:1]):
        return True
    return after[:1] == ["vessel"] and not {"artery", "vein"}.isdisjoint(words[max(0, k - 8) : k])


def _problem(sentence: Sentence, k: int, question: SlottedText) -> Wrong | None:
    words, at, raw = sentence.words, Term(k, k + 1), repr(sentence.text.raw(k))
    if (shape := _shape(sentence, k)) is not None:
        return _wrong_shape(sentence, k, shape)
    than = words[k + 1 : min(k + 8, sentence.tokens.stop)]
    if "than" in than and not _USUAL.isdisjoint(than[than.index("than") : than.index("than") + 4]):
        return Wrong(at, f"{raw} compares with what is usual, which no fact gives")
    if (ratio := _ratio_alone(sentence)) is not None and (told := _by_ratio(sentence, k, question, ratio)) is not None:
        return None if told else Wrong(at, f"{raw} is wrong: {ratio.text}", ratio)
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


def _all_alike(slots: Sequence[Placed]) -> bool:
    """Whether values of one kind, two at least, are similar."""
    known = _of_slots(slots)
    alike = all(_alike(one, other) and _holds("similar", one, other) for one, other in permutations(known, 2))
    return len(known) > 1 and alike


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
    if not near:
        return []
    levelled = not {"average", "mean", "overall"}.isdisjoint(sentence.within) and not _LEVELS.keys().isdisjoint(sentence.within)
    if levelled:
        near = [each for each in near if "all" in each.allowed.get("vessel", ())]
    if not here:
        named = {d: sentence.named(d) for d in ("vessel", "lesion", "direction")}
        if not any(named.values()):  # No, they are narrower.
            named = {d: [word for asked in question.sentences for word in asked.named(d)] for d in named}
        here = [c for c in near if any(w and w[0].values & c.allowed.get(d, frozenset()) for d, w in named.items())]
    pairs = [(one, other) for one in here for other in near]
    if sentence.words[sentence.tokens.start] in _REFERRING and "than" in sentence.within:
        pairs = [(other, one) for one, other in pairs]  # That is wider than the veins, which have ...
    found = []
    for one, other in pairs:
        apart = next((d for d in _DIMENSIONS if one.allowed.get(d) != other.allowed.get(d)), None)
        if one.fact == other.fact or not _alike(one, other) or apart is None or not _same_besides(one, other, apart):
            continue
        if not levelled and "all" in (*one.allowed.get("vessel", ()), *other.allowed.get("vessel", ())):
            continue
        turned = _fit(_operands(sentence, k, apart, question), other, one, apart, both=True)
        found.append((other, one) if turned else (one, other))
    return found


def _each_with_all(sentence: Sentence, k: int) -> list[tuple[Compared, Compared]]:
    """The pairs of 'both lie below the value for all vessels': arteries and veins, each with all vessels."""
    words = sentence.words
    if {"both", "each"}.isdisjoint(words[sentence.tokens.start : k]) or words[k] not in _SIGNS or not _SIGNS[words[k]]:
        return []
    own = [each for each in _of_slots(sentence.slots) if {"artery", "vein"} & {*each.allowed.get("vessel", ())}]
    every = [each for each in _compared(sentence.sheet.slots.values()) if "all" in each.allowed.get("vessel", ())]
    pairs = [(one, other) for one in own for other in every if _alike(one, other) and _same_besides(one, other, "vessel")]
    return pairs if len({one.fact for one, _ in pairs}) > 1 else []


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
    """The pairs that a comparison is of, the subject first: by the words before and after it, else by the order of slots."""
    pairs = _pairs(sentence.words[k], known, strictly=by_words)
    found = False
    for one, other in pairs:
        dimension = next((d for d in _DIMENSIONS if one.allowed.get(d) != other.allowed.get(d)), None)
        if dimension is None or not _same_besides(one, other, dimension):
            continue
        if by_words and not _told(sentence, one, dimension):
            continue
        if _fit(_operands(sentence, k, dimension, question), one, other, dimension, both=by_words):
            found = True
            yield one, other
    if found or by_words or sentence.named("vessel") or sentence.named("lesion"):
        return
    for one, other in pairs:
        if one.slot and other.slot and one.slot.first < k < other.slot.first:
            yield one, other


def _pairs(comparative: str, known: Sequence[Compared], strictly: bool = False) -> list[tuple[Compared, Compared]]:
    """The pairs of facts that a word can compare, those of the measure that it is of first; `strictly`: these alone."""
    measures = frozenset(WORDS["measures"].get(comparative, ()))
    pairs = [(one, other) for one, other in permutations(known, 2) if one.fact != other.fact and _alike(one, other)]
    fitting = [pair for pair in pairs if measures & _measures(pair[0]) and measures & _measures(pair[1])]
    return fitting if measures and (fitting or strictly) else pairs


def _alike(one: Compared, other: Compared) -> bool:
    """Whether two values can be compared: of one unit and kind."""
    counts = [c.fact.aspect == "lesion" and isinstance(c.fact.value, int) for c in (one, other)]
    if counts[0] or counts[1]:
        return all(counts) and not any(c.fact.name.endswith("_place") for c in (one, other))
    if one.fact.aspect == "lesion":
        endings = [c.fact.name.rpartition("_")[2] for c in (one, other)]
        return other.fact.aspect == "lesion" and endings[0] == endings[1]
    return one.fact.unit == other.fact.unit and other.fact.aspect == one.fact.aspect


def _same_besides(one: Compared, other: Compared, dimension: str) -> bool:
    """Whether two facts differ in one dimension alone; calibres of arteries and veins are two measures of one kind."""
    pair = _measures(one) | _measures(other)
    calibres = pair <= {"crae", "crve"}
    others = [d for d in _DIMENSIONS if d != dimension and not (d == "measure" and calibres)]
    return all(one.allowed.get(d) == other.allowed.get(d) for d in others)


def _measures(compared: Compared) -> frozenset[str]:
    if compared.fact.aspect == "lesion":
        return frozenset(["count" if isinstance(compared.fact.value, int) else compared.fact.name.rpartition("_")[2]])
    return compared.allowed.get("measure", frozenset())


def _told(sentence: Sentence, one: Compared, dimension: str) -> bool:
    """Whether what two facts have in common is not contradicted by the words of the sentence."""
    for d in _DIMENSIONS:
        allowed = one.allowed.get(d)
        words = sentence.named(d) if allowed and d not in (dimension, "measure") else ()
        if words and not any(word.values & allowed for word in words):
            return False
    return True


class Operands(NamedTuple):
    """What a comparison names: of what it is said, and with what that is compared; None where it names nothing."""

    subject: Word | None
    other: Word | None


def _operands(sentence: Sentence, k: int, dimension: str, question: SlottedText) -> Operands:
    """The words of a dimension that the comparison at token k is of."""
    words, stop, named = sentence.words, sentence.tokens.stop, sentence.named(dimension)
    if words[k] in _LEVELS and not {"average", "mean", "overall", "vessel"}.isdisjoint(words[k + 1 : k + 5]):
        plain = [w for w in named if w.first < k and "all" not in w.values]
        following = [w for w in named if k < w.first < k + 4 and "all" not in w.values]
        if plain and following:
            return Operands(plain[-1], following[0])
        return Operands((plain[-1:] or [None])[0], Word(k, k + 1, frozenset(["all"])))
    if any("all" not in word.values for word in named):
        named = [word for word in named if "all" not in word.values]  # the veins are the wider vessels
    before, after = [w for w in named if w.first < k], [w for w in named if w.first > k]
    than = next((i for i in range(k, stop) if words[i] == "than"), None)
    if than is not None:
        between, beyond = [w for w in after if w.first < than], [w for w in after if w.first > than]
        plain = [w for w in before if not _is_contrasted(words, w)]
        # the veins are wider than ...; larger in height than in width; wider than the arteries are the veins
        subject = (plain[-1:] or between[-1:] or beyond[1:2] or [None])[0]
        return Operands(subject or _referred(sentence, k, dimension, question), (beyond[:1] or [None])[0])
    plain = [w for w in before if not _is_contrasted(words, w)]
    if not _LED.isdisjoint(words[k + 1 : k + 2]) and after:  # larger in the vertical direction, smaller horizontally
        plain = after[:1]
    subject = (plain[-1:] or [None])[0] or _referred(sentence, k, dimension, question) or (after[:1] or [None])[0]
    contrasted = [w for w in named if w is not subject and _is_contrasted(words, w)]
    others = [w for w in contrasted or [*after, *reversed(before)] if subject and w.values != subject.values]
    return Operands(subject, (others[:1] or [None])[0])


def _is_contrasted(words: list[str], word: Word) -> bool:
    """Whether a word is of what something is compared with: unlike the arteries, against those of the arteries."""
    return not _CONTRASTING.isdisjoint(words[max(0, word.first - 3) : word.first])


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
    yield from _summed(sentence)
    start = next((k for k in sentence.tokens if words[k].startswith("divid")), None) if "by" in sentence.within else None
    by = next((k for k in sentence.tokens if start is not None and k > start and words[k] == "by"), None)
    if by is None:
        return
    named = sentence.named("vessel")
    before, after = [w for w in named if w.last <= by], [w for w in named if w.first > by]
    if before and after and before[-1].values == {"vein"} and after[0].values == {"artery"}:
        yield Wrong(Term(start, start + 1), "the ratio is of arteries to veins, not the other way round")


def _summed(sentence: Sentence) -> Iterator[Wrong]:
    """CRAE is of arteries, CRVE of veins, also in what is said of them: CRVE, which sums up the widths of the largest veins."""
    if _SAYING_OF.isdisjoint(sentence.within):
        return
    words, named = sentence.words, sentence.named("vessel")
    for k in sentence.tokens:
        if words[k] not in _SAYING_OF:
            continue
        before, after = [w for w in named if w.last <= k][-1:], [w for w in named if w.first > k][:1]
        if not before or not after or {*before[0].values, *after[0].values} != {"artery", "vein"} or after[0].first - k > 9:
            continue
        between = words[k : after[0].first]
        parted = any(k < slot.first < after[0].first for slot in sentence.slots)
        if not parted and COMPARING.isdisjoint(between) and not {",", "and", "while"} & set(between):
            yield Wrong(Term(after[0].first, after[0].last), "CRAE is of the largest arteries, CRVE of the largest veins")
