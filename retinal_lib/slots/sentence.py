"""A slotted answer as its check reads it: its sentences, the slots and marks of each, and the words of each dimension.

A dimension is what words around a slot may name of it: vessel, zone, formula, direction, measure, lesion, landmark, grade.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from retinal_lib.check.language import naming
from retinal_lib.check.language.lexicon import VOCABULARY, ParsedText, Term, tokens
from retinal_lib.check.language.naming import DIMENSIONS, Part, Spot, Word
from retinal_lib.check.quantity_index import column_names, graded_names
from retinal_lib.dataset import measurements
from retinal_lib.slots.filling import Anchor
from retinal_lib.slots.sheet import FactSheet, Line, Slot

_WIDEST = frozenset("widest broadest thickest largest narrowest thinnest smallest".split())
_VESSELS = frozenset("artery arteriole arteriolar vein venule venular venous arterial".split())
CALIBRES = frozenset(["crae", "crve"])
_NEAR = 3  # sentences around one whose slots it may compare with


class Placed(NamedTuple):
    """A slot as it stands in a text: its anchor, its tokens, and by dimension what words may be named for it."""

    anchor: Anchor
    first: int
    last: int
    allowed: dict[str, frozenset[str]]


# --- what words may be named for a slot -------------------------------------------------------------------------------------


def allowed_words(line: Line, slot: Slot) -> dict[str, frozenset[str]]:
    """Returns, by dimension, the values that words may name for a slot; a dimension that does not apply is left out."""
    fact = slot.fact
    if fact.aspect == "vascular" and fact.name in measurements.columns():
        return column_names(fact.name)
    if fact.unit in VOCABULARY["subjects"] and slot.name.endswith(".grade"):
        return {"graded": graded_names(frozenset(VOCABULARY["subjects"][fact.unit]), fact.words)}
    if fact.aspect != "lesion":
        return {}
    landmark = {}
    if fact.name.endswith(("_fovea", "_disc")):
        landmark = {"landmark": frozenset([fact.name.rpartition("_")[2]])}
    return {"lesion": graded_names(frozenset(), line.facts[0].words) or frozenset(["disc"]), **landmark}


# --- texts and their sentences ----------------------------------------------------------------------------------------------


class SlottedText:
    """A filled answer, or a question, which has no slots: its text, slots and sentences."""

    def __init__(self, text: ParsedText, sheet: FactSheet, anchors: Sequence[Anchor] = ()):
        self.text, self.sheet, self.anchors = text, sheet, anchors
        self.slots = list(_placed(text, anchors))
        self.values = {k for slot in self.slots for k in range(slot.first, slot.last)}  # the tokens of values

    @cached_property
    def sentences(self) -> list["Sentence"]:
        """The sentences in order; read once they are asked for, as few questions are."""
        found: list[Sentence] = []
        for within in self.text.sentences:
            found.append(Sentence(self, within, tuple(found)))
        return found


def _placed(text: ParsedText, anchors: Sequence[Anchor]) -> Iterator[Placed]:
    """The slots of a text with the tokens that their values are."""
    k = 0
    for anchor in anchors:
        if anchor.slot is None:
            continue
        starts = text.starts
        while k < len(starts) and starts[k] < anchor.start:
            k += 1
        last = k
        while last < len(starts) and starts[last] < anchor.end:
            last += 1
        yield Placed(anchor, k, last, allowed_words(anchor.line, anchor.slot))


class Sentence:
    """A sentence of a slotted text, with its `tokens`, `slots`, `anchors` (slots and marks), `lines` by their ids, and the
    sentences `earlier`. Its `signs` are its words, the kinds of its terms, and the letters of its lines: eye, conditions, [d].
    """

    def __init__(self, of: SlottedText, tokens: range, earlier: "tuple[Sentence, ...]"):
        self.text, self.sheet, self.tokens, self.earlier = of.text, of.sheet, tokens, earlier
        self.words, self.values, self._every = of.text.words, of.values, of.slots  # of the whole text
        self.within = frozenset(self.words[tokens.start : tokens.stop])  # the words of the sentence
        self.slots = [slot for slot in of.slots if slot.first in tokens]
        self.anchors: list[Anchor] = []  # the slots and marks of the sentence
        if of.anchors:
            start, end = self.span
            self.anchors = [anchor for anchor in of.anchors if start <= anchor.start <= end]
        self.lines = {anchor.line.id: anchor.line for anchor in self.anchors}
        self._terms: dict[str, list[Term]] = {}
        for term in of.text.terms:
            if tokens.start <= term[0] < tokens.stop:
                self._terms.setdefault(term[2], []).append(term)
        self.signs = self.within.union(self._terms, (f"[{name[0]}]" for name in self.lines))
        self._named: dict[str, list[Word]] = {}

    @property
    def span(self) -> tuple[int, int]:
        """Where the sentence stands in the text, in characters."""
        return self.text.starts[self.tokens.start], self.text.end(self.tokens.stop - 1)

    @property
    def part(self) -> Part:
        """The sentence with the tokens of its text's values."""
        return Part(self.text, self.tokens, self.values)

    @property
    def asks(self) -> bool:
        """Whether the sentence is a question, and none that expects assent: Isn't it wider?"""
        ends = self.words[self.tokens.stop : self.tokens.stop + 1]
        return ends == ["?"] and not self.words[self.tokens.start].endswith("n't")

    @property
    def around(self) -> list[Placed]:
        """The slots of the sentences before and after."""
        place = len(self.earlier)
        near = self.text.sentences[max(0, place - _NEAR) : place + _NEAR + 1]
        return [slot for slot in self._every if slot not in self.slots and any(slot.first in tokens for tokens in near)]

    def terms(self, kind: str) -> Sequence[Term]:
        """Returns the terms of one kind in the sentence."""
        return self._terms.get(kind, ())

    def named(self, dimension: str) -> list[Word]:
        """Returns the words of a dimension, but not those inside of slots' values."""
        if dimension not in self._named:
            self._named[dimension] = naming.words(self.part, dimension)
        return self._named[dimension]


def mismatches(sentence: Sentence, question: SlottedText) -> Iterator[tuple[Placed, str, Word]]:
    """Yields slots of a sentence whose words name something else, each with the dimension and such a word."""
    for dimension in DIMENSIONS:
        concerned = [slot for slot in sentence.slots if dimension in slot.allowed]
        if not concerned:
            continue
        spots = [Spot(s.first, s.last, (s.allowed,), s.anchor.slot.fact.name.endswith("_box")) for s in concerned]
        earlier = (each.part for texts in (reversed(sentence.earlier), question.sentences) for each in texts)
        reading = naming.Reading(dimension, spots, sentence.part, earlier)
        if not reading.is_plain() and reading.names() is None:
            slot, named = concerned[reading.reached], reading.named or reading.context
            wrong = [word for word in named if word.values.isdisjoint(slot.allowed[dimension])] or named
            yield slot, dimension, min(wrong, key=lambda word: abs(word.first - slot.first))


def marked_otherwise(sentence: Sentence) -> Iterator[tuple[Anchor, str, Word]]:
    """Yields a mark of a measurement whose sentence names another zone or formula than any of its marked lines: it is of zone C
    [v1]."""
    marks = [anchor for anchor in sentence.anchors if anchor.slot is None and anchor.line.id[0] == "v"]
    if not marks or sentence.slots:
        return
    for dimension in ("zone", "formula"):
        allowed = [allowed_words(a.line, slot).get(dimension) for a in marks for slot in a.line.slots]
        allowed = frozenset().union(*(each for each in allowed if each))
        for word in sentence.named(dimension):
            if allowed and word.values.isdisjoint(allowed):
                yield marks[0], dimension, word


def misshown(sentence: Sentence) -> Iterator[tuple[Placed, str]]:
    """Values that are shown for another thing than their own: an average as the widest vessel's, an age as a duration."""
    words = sentence.words
    for slot in sentence.slots:
        before = words[max(sentence.tokens.start, slot.first - 6) : slot.first]
        if "width" in slot.allowed.get("measure", ()):
            pairs = pairwise(before)
            if any(one in _WIDEST and {"vessel", "artery", "vein"} & {other} for one, other in pairs):
                yield slot, f"is an average, not of one vessel: {slot.anchor.line.text}"
        if slot.anchor.slot.fact.name == "age" and before[-1:] == ["for"] and "diabete" in before:
            yield slot, f"is an age, not how long: {slot.anchor.line.text}"
        if "central" in before and "equivalent" not in before and not CALIBRES.isdisjoint(slot.allowed.get("measure", ())):
            yield slot, f"is an estimate from the largest vessels, not of one: {slot.anchor.line.text}"
        if "cdr" in slot.allowed.get("measure", ()) and "area" in sentence.within:
            yield slot, f"compares diameters, not areas: {slot.anchor.line.text}"
        lasting = slot.anchor.line.text.partition("duration of ")[2].partition(":")[0]
        if lasting and sentence.terms("conditions") and sentence.within.isdisjoint(tokens(lasting)):
            yield slot, f"is not of that disease: {slot.anchor.line.text}"
        if "avr" in slot.allowed.get("measure", ()):
            factors = (k for k in sentence.tokens if sentence.text.raw(k) in ("times", "fraction"))
            times = next(factors, sentence.tokens.stop)
            of = next((word for word in words[times : sentence.tokens.stop] if word in _VESSELS), "")
            if of.startswith("arter"):
                yield slot, f"is how many times as wide as the veins the arteries are: {slot.anchor.line.text}"
