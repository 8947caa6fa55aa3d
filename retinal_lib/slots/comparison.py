"""Comparisons in a slotted answer: wider than, similar to, twice, the largest; each is evaluated on the facts that it stands
between."""

from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations
from typing import NamedTuple

from retinal_lib.check.language.lexicon import ParsedText, Term
from retinal_lib.check.lesion_locations import regions
from retinal_lib.facts import Fact
from retinal_lib.slots import pairing
from retinal_lib.slots.filling import Anchor
from retinal_lib.slots.pairing import Placed, Word
from retinal_lib.slots.sheet import SPEC, FactSheet

WORDS = SPEC["comparison"]
_SIGNS = {word: sign for sign, kind in ((1, "greater"), (-1, "lesser"), (0, "equal")) for word in WORDS[kind]}
COMPARING = frozenset([*_SIGNS, *WORDS["times"]])
_ALONE, _LARGEST, _SMALLEST = (frozenset(WORDS[name]) for name in ("alone", "largest", "smallest"))
_MANY = 12  # comparisons of a sentence that are read
_USUAL = frozenset("normal usual average typical expected reference healthy others most".split())
_VERBS = frozenset(WORDS["verbs"])
_CLOSING = frozenset(", . ; ( : and but with at in on by here averaging while than".split())
_EXTENTS = {"taller": "vertical", "higher": "vertical", "wider": "horizontal", "broader": "horizontal"}
# the direction that is called longer -> the words for the other one
_EXTENT_WORDS = {"vertical": frozenset(["wide", "broad", "width"]), "horizontal": frozenset(["high", "tall", "height", "long"])}
_DIMENSIONS = ("vessel", "lesion", "zone", "direction", "formula", "measure")
_SIMILAR, _EQUAL = 0.15, 0.05  # how far apart values may lie that are called similar, or equal, as a share of the larger


class Compared(NamedTuple):
    """What a comparison is of: a fact with the words that may name it."""

    fact: Fact
    allowed: dict[str, frozenset[str]]
    slot: Placed | None = None


class Wrong(NamedTuple):
    """A comparison that no facts support: its tokens, why, and the fact that contradicts it."""

    at: Term
    text: str
    fact: Fact | None = None


def wrong(
    text: ParsedText,
    sentence: range,
    slots: Sequence[Placed],
    anchors: Sequence[Anchor],
    sheet: FactSheet,
    before: Sequence[Placed],
    question: ParsedText,
) -> Iterator[Wrong]:
    """Yields the comparisons of a sentence that are wrong, or that are of nothing that was told. `slots` and `anchors` are the
    sentence's, `before` the slots of the sentences around it."""
    words = text.words
    yield from _superlatives(text, sentence, slots)
    if not any(words[k] in COMPARING for k in sentence):
        return
    inside = {k for slot in slots for k in range(slot.first, slot.last)} | {r.first for r in regions(text)}
    judged = 0
    for k in sentence:
        if words[k] not in COMPARING or k in inside:
            continue
        if not _compares(words, k, sentence) and not (words[k] in _SIGNS and _against(words, k, slots)):
            continue
        if words[k] in WORDS["equal"] and not slots and before and _all_alike(before):
            continue
        if not slots and any(anchor.line in sheet.explained for anchor in anchors):
            continue  # a denser network has a higher value
        if (
            words[k] == "more"
            and words[k + 1 : k + 2] == ["than"]
            and words[k + 2 : k + 3] in (["that"], ["this"], ["these"], ["it"])
        ):
            continue  # I can say no more than that
        problem = _problem(text, k, sentence, slots, anchors, sheet, before, question)
        if problem:  # one of a sentence is enough to send it back
            yield problem
            return
        judged += 1
        if judged == _MANY:
            yield Wrong(Term(k, k + 1), "the sentence compares too much to be read")
            return


def _against(words: list[str], k: int, slots: Sequence[Placed]) -> bool:
    """Whether two values that are set against each other follow: the arteries cover more of it, {v2} against {v3}."""
    after = [slot for slot in slots if slot.first > k]
    return any(
        len(between := words[one.last : other.first]) < 4 and not pairing.CONTRASTS.isdisjoint(between)
        for one, other in pairwise(after)
    )


def _compares(words: list[str], k: int, sentence: range) -> bool:
    """Whether the word at token k compares: with 'than' or 'as' after it, or by itself."""
    word, after = words[k], words[k + 1 : min(sentence.stop, k + 13)]
    last = k + 1 >= sentence.stop  # the veins cover slightly more
    if word in _VERBS or (word in _SIGNS and (last or (words[k - 1 : k] == ["the"] and words[k + 1] == "of"))):
        return True
    if word in WORDS["equal"]:
        return word not in ("same", "match", "equal") or not {"as", "to", "for", "in"}.isdisjoint(after) or "both" in words
    if "than" not in after and after and after[0] not in _CLOSING:
        return word in WORDS["times"] and word != "half"  # the larger vessels: no comparison
    if word in _ALONE or (word in WORDS["times"] and word != "half"):
        return True
    if word == "half":
        return "as" in after[:1] or "that" in after[:1]
    return "than" in after


def _problem(
    text: ParsedText,
    k: int,
    sentence: range,
    slots: Sequence[Placed],
    anchors: Sequence[Anchor],
    sheet: FactSheet,
    before: Sequence[Placed],
    question: ParsedText,
) -> Wrong | None:
    word, at = text.words[k], Term(k, k + 1)
    if (shape := _shape(text, k, sentence)) is not None:
        return _wrong_shape(text, k, shape, sheet)
    than = text.words[k + 1 : min(k + 8, sentence.stop)]
    if "than" in than and not _USUAL.isdisjoint(than[than.index("than") : than.index("than") + 4]):
        return Wrong(at, f"{text.raw(k)!r} compares with what is usual, which no fact gives")
    known = _comparable(slots, anchors)
    judged = list(_judged(text, k, sentence, known, slots))
    if not judged and before:  # the other value stands in the sentence before: the veins, with {v3}, are wider
        judged = _over_sentences(text, sentence, slots, before, question)
    if not judged:  # the values may stand elsewhere: on any line of the sheet
        known = [Compared(s.fact, pairing.allowed_words(Anchor(0, 0, line, s))) for line, s in sheet.slots.values()]
        known = [c for c in known if c.allowed and isinstance(c.fact.value, int | float)]
        judged = list(_judged(text, k, sentence, known, slots, by_words=True))
    if not judged:
        return Wrong(at, f"{text.raw(k)!r} compares what no two facts give")
    for one, other in judged:
        if not _holds(word, one.fact, other.fact):
            return Wrong(at, f"{text.raw(k)!r} is wrong: {one.fact.text}, {other.fact.text}", one.fact)
    return None


def _all_alike(slots: Sequence[Placed]) -> bool:
    """Whether values of one kind, two at least, are similar."""
    known = _comparable(slots, ())
    alike = all(_alike(one, other) and _holds("similar", one.fact, other.fact) for one, other in permutations(known, 2))
    return len(known) > 1 and alike


def _shape(text: ParsedText, k: int, sentence: range) -> str | None:
    """The direction that is said to be the longer one: taller than it is wide."""
    direction = _EXTENTS.get(text.words[k])
    after = text.words[k + 1 : min(k + 6, sentence.stop)]
    if direction and "than" in after[:2] and not _EXTENT_WORDS[direction].isdisjoint(after):
        return direction
    return None


def _wrong_shape(text: ParsedText, k: int, direction: str, sheet: FactSheet) -> Wrong | None:
    of = "Cup" if "cup" in text.words[max(0, k - 6) : k] else "Disc"
    facts = {fact.name: fact for line in sheet.lines for fact in line.facts}
    height, width = facts.get(f"{of}_height"), facts.get(f"{of}_width")
    at = Term(k, k + 1)
    if height is None or width is None:
        return Wrong(at, f"{text.raw(k)!r} compares what no two facts give")
    if (float(height.value) > float(width.value)) != (direction == "vertical"):
        return Wrong(at, f"{text.raw(k)!r} is wrong: {height.text}, {width.text}", height)
    return None


def _over_sentences(
    text: ParsedText, sentence: range, slots: Sequence[Placed], before: Sequence[Placed], question: ParsedText
) -> list[tuple[Compared, Compared]]:
    """The pairs of a value of a sentence and one of the sentence before; where the sentence has no values, of those before, the
    one that it names first."""
    within = text.words[sentence.start : sentence.stop]
    earlier = _comparable(before, ())
    here = _comparable(slots, ())
    if not here:
        named = {d: pairing.words_of(text, sentence, d, slots) for d in ("vessel", "lesion", "direction")}
        if not any(named.values()):  # No, they are narrower.
            asked = range(len(question.words))
            named = {d: pairing.words_of(question, asked, d, ()) for d in named}
        here = [c for c in earlier if any(w and w[0].values & c.allowed.get(d, frozenset()) for d, w in named.items())]
    pairs = [(one, other) for one in here for other in earlier]
    if text.words[sentence.start] in ("that", "this", "it", "these", "they", "those") and "than" in within:
        pairs = [(other, one) for one, other in pairs]  # That is wider than the veins, which have ...
    return [
        (one, other)
        for one, other in pairs
        if one.fact != other.fact
        and _alike(one, other)
        and any(one.allowed.get(d) != other.allowed.get(d) and _same_besides(one, other, d) for d in _DIMENSIONS)
        and "all" not in (*one.allowed.get("vessel", ()), *other.allowed.get("vessel", ()))
    ]


def _comparable(slots: Sequence[Placed], anchors: Sequence[Anchor]) -> list[Compared]:
    """The facts with a value that a sentence rests on, by slots and by marks."""
    found = [Compared(slot.anchor.slot.fact, slot.allowed, slot) for slot in slots if slot.allowed]
    seen = {compared.fact for compared in found}
    for anchor in anchors:
        if anchor.slot is None:
            for slot in anchor.line.slots:
                allowed = pairing.allowed_words(Anchor(0, 0, anchor.line, slot))
                if slot.fact not in seen and allowed:
                    found.append(Compared(slot.fact, allowed))
    return [compared for compared in found if isinstance(compared.fact.value, int | float)]


def _judged(
    text: ParsedText,
    k: int,
    sentence: range,
    known: Sequence[Compared],
    slots: Sequence[Placed],
    by_words: bool = False,
) -> Iterator[tuple[Compared, Compared]]:
    """The pairs that a comparison is of, the subject first: by the words before and after it, else by the order of slots."""
    measures = frozenset(WORDS["measures"].get(text.words[k], ()))
    pairs = [(one, other) for one, other in permutations(known, 2) if one.fact != other.fact and _alike(one, other)]
    if measures:
        pairs = [pair for pair in pairs if measures & _measures(pair[0]) and measures & _measures(pair[1])] or (
            [] if by_words else pairs
        )
    named = {dimension: pairing.words_of(text, sentence, dimension, slots) for dimension in _DIMENSIONS}
    found = False
    for one, other in pairs:
        dimension = next((d for d in _DIMENSIONS if one.allowed.get(d) != other.allowed.get(d)), None)
        if dimension is None or not _same_besides(one, other, dimension):
            continue
        if _named_so(text, k, named[dimension], one, other, dimension, both=by_words) and not (
            by_words and not _told(named, one, dimension)
        ):
            found = True
            yield one, other
    if not found and not by_words:
        in_order = [(one, other) for one, other in pairs if one.slot and other.slot and one.slot.first < other.slot.first]
        for one, other in in_order:
            if one.slot.first < k < other.slot.first and not any(named[d] for d in ("vessel", "lesion")):
                yield one, other


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


def _told(named: dict[str, list[Word]], one: Compared, dimension: str) -> bool:
    """Whether what two facts have in common is not contradicted by the words of the sentence."""
    for d, words in named.items():
        allowed = one.allowed.get(d)
        if d != dimension and allowed and words and d != "measure" and not any(word.values & allowed for word in words):
            return False
    return True


def _named_so(text: ParsedText, k: int, words: list[Word], one: Compared, other: Compared, dimension: str, both: bool) -> bool:
    """Whether the words before a comparison name the first fact, and those after it the other one."""
    than = next((i for i in range(k, min(k + 8, len(text.words))) if text.words[i] == "than"), k)
    before = [word for word in words if word.first < k]
    after = [word for word in words if word.first > k]
    if after and "than" not in text.words[k : after[0].first] and text.words[k + 1 : k + 2] == ["in"]:
        before, after = (
            [after[0]],
            [word for word in before if word.values != after[0].values],
        )  # larger in the vertical direction
    if not before:  # larger in height than in width
        before, after = [word for word in after if word.first < than], [word for word in after if word.first > than]
    first, second = one.allowed.get(dimension, frozenset()), other.allowed.get(dimension, frozenset())
    if not before and len(after) > 1:  # wider than the arteries are the veins
        before, after = after[1:], after[:1]
    if len(before) > 1 and not after:  # the veins, unlike the arteries, are wider; ..., so that the veins are wider
        between = text.words[before[-1].last : k]
        linked = "," not in between or "which" in between
        others = [word for word in before if word.values != before[-1].values]
        before, after = ([before[-1]], others[:1]) if linked else (before[:1], before[1:])
    subject = before[-1] if before and (len(before) == 1 or after) else None
    if subject is None or not subject.values & first or subject.values & second:
        return False
    if not after:
        return not both
    return bool(after[0].values & second) and not after[0].values & first


def _holds(word: str, one: Fact, other: Fact) -> bool:
    a, b = float(one.value), float(other.value)
    if word in WORDS["times"]:
        return b != 0 and abs(a / b / WORDS["times"][word] - 1) <= 0.1
    sign = _SIGNS[word]
    if sign == 0:
        return abs(a - b) <= (_SIMILAR if word in ("similar", "comparable", "alike") else _EQUAL) * max(abs(a), abs(b))
    return (a - b) * sign > 0


def _superlatives(text: ParsedText, sentence: range, slots: Sequence[Placed]) -> Iterator[Wrong]:
    """The box that is called the largest is the first of its type."""
    boxes = [slot for slot in slots if slot.anchor.slot.fact.name.endswith("_box") and slot.anchor.slot.name[-1].isdigit()]
    if not boxes:
        return
    for k in sentence:
        if text.words[k] in _SMALLEST:
            yield Wrong(Term(k, k + 1), f"{text.raw(k)!r} is wrong: the boxes of the facts are of the largest")
        if text.words[k] in _LARGEST:
            following = [slot for slot in boxes if slot.first > k] or boxes
            slot = following[0]
            run = [slot.anchor.slot.name.rpartition("box")[2] for slot in following]
            if run[0] != "1" and not (len(run) > 1 and "1" in run):
                yield Wrong(Term(k, k + 1), f"{text.raw(k)!r} is wrong: {slot.anchor.slot.name} is not the largest")
