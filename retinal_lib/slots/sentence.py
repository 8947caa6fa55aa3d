"""A slotted answer as its check reads it: its sentences, the slots and marks of each, and the words of each dimension.

A dimension is what words around a slot may name of it: vessel, zone, formula, direction, measure, lesion, landmark, grade.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import VOCABULARY, ParsedText, Term, implied, word_lists
from retinal_lib.check.quantity_index import column_parts
from retinal_lib.dataset import measurements
from retinal_lib.slots.filling import Anchor
from retinal_lib.slots.sheet import FactSheet, Line, Slot

PLACES = word_lists("lesion_locations")
_TERMS = {"vessel": "vessels", "zone": "zones", "formula": "formulas", "direction": "orientations", "measure": "measures"}
_CALIBRE_OF = {"crae": "artery", "crve": "vein"}
# measure -> what may be named with it; the vessels tell CRAE from CRVE
_CALIBRES = ("crae", "crve", "a width")
_CALLED = {"cdr": ("cdr", "cup", "disc"), "avr": ("avr", *_CALIBRES), "crae": _CALIBRES, "crve": _CALIBRES}
# after the disc: it is the subject
LYING = frozenset("lie is sit occupy span fill appear : has in within itself measure reach".split())
_COVERING = frozenset("cover covering covered occupy occupying take takes".split())
_AVERAGE = frozenset("average mean averaged averaging".split())
_NEAR = 2  # sentences around one whose slots it may compare with


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


# --- what words may be named for a slot -------------------------------------------------------------------------------------


@cache
def _of_column(column: str) -> dict[str, frozenset[str]]:
    measure, vessel, zone, formula, direction = column_parts(column)
    named = {"vessel": vessel or _CALIBRE_OF.get(measure), "zone": zone, "formula": formula, "direction": direction}
    allowed = {dimension: frozenset([value]) for dimension, value in named.items() if value}
    return {**allowed, "measure": frozenset(_CALLED.get(measure, (measure,)))}


@cache
def _of_lesion(words: str) -> frozenset[str]:
    named = lexicon.conditions(words)
    return frozenset(named).union(*(implied(name) for name in named))


@cache
def _graded(scale: str, words: str) -> frozenset[str]:
    """The conditions that may be named with a grade: what its scale grades, and what the level is called."""
    return frozenset(VOCABULARY["subjects"][scale]) | _of_lesion(words)


def allowed_words(line: Line, slot: Slot) -> dict[str, frozenset[str]]:
    """Returns, by dimension, the values that words may name for a slot; a dimension that does not apply is left out."""
    fact = slot.fact
    if fact.aspect == "vascular" and fact.name in measurements.columns():
        return _of_column(fact.name)
    if fact.unit in VOCABULARY["subjects"] and slot.name.endswith(".grade"):
        return {"graded": _graded(fact.unit, fact.words)}
    if fact.aspect != "lesion":
        return {}
    landmark = {}
    if fact.name.endswith(("_fovea", "_disc")):
        landmark = {"landmark": frozenset([fact.name.rpartition("_")[2]])}
    return {"lesion": _of_lesion(line.facts[0].words) or frozenset(["disc"]), **landmark}


# --- texts and their sentences ----------------------------------------------------------------------------------------------


class SlottedText:
    """A filled answer, or a question, which has no slots: its text, slots and sentences."""

    def __init__(self, text: ParsedText, sheet: FactSheet, anchors: Sequence[Anchor] = ()):
        self.text, self.sheet, self.anchors = text, sheet, anchors
        self.slots = list(_placed(text, anchors))
        self.values = {k for slot in self.slots for k in range(slot.first, slot.last)}  # the tokens of values
        self.sentences = [Sentence(self, place, tokens) for place, tokens in enumerate(text.sentences)]


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
    """A sentence of a slotted text, with its `tokens`, `slots`, `anchors` (slots and marks) and the explanations it uses."""

    def __init__(self, of: SlottedText, place: int, tokens: range):
        self.of, self.text, self.sheet, self.place, self.tokens = of, of.text, of.sheet, place, tokens
        self.words = of.text.words  # of the whole text
        self.within = frozenset(self.words[tokens.start : tokens.stop])  # the words of the sentence
        self.slots = [slot for slot in of.slots if slot.first in tokens]
        self.anchors: list[Anchor] = []  # the slots and marks of the sentence
        if of.anchors:
            start, end = self.span
            self.anchors = [anchor for anchor in of.anchors if start <= anchor.start <= end]
        # the explanations that the sentence uses, by its marks
        self.explained = [anchor.line for anchor in self.anchors if anchor.line.id[0] == "g"]
        self._named: dict[str, list[Word]] = {}

    @property
    def span(self) -> tuple[int, int]:
        """Where the sentence stands in the text, in characters."""
        return self.text.starts[self.tokens.start], self.text.end(self.tokens.stop - 1)

    @property
    def asks(self) -> bool:
        """Whether the sentence is a question, and none that expects assent: Isn't it wider?"""
        ends = self.words[self.tokens.stop : self.tokens.stop + 1]
        return ends == ["?"] and not self.words[self.tokens.start].endswith("n't")

    @property
    def only_explains(self) -> bool:
        """Whether the sentence rests on explanations alone."""
        return bool(self.explained) and len(self.explained) == len(self.anchors)

    @property
    def earlier(self) -> list["Sentence"]:
        """The sentences before, in order."""
        return self.of.sentences[: self.place]

    @property
    def around(self) -> list[Placed]:
        """The slots of the sentences before and after."""
        near = self.of.sentences[max(0, self.place - _NEAR) : self.place + _NEAR + 1]
        return [slot for sentence in near if sentence is not self for slot in sentence.slots]

    def terms(self, kind: str) -> list[Term]:
        """Returns the terms of one kind in the sentence."""
        return self.text.within(kind, self.tokens)

    def named(self, dimension: str) -> list[Word]:
        """Returns the words of a dimension, but not those inside of slots' values."""
        if dimension not in self._named:
            found = [word for word in self._all_named(dimension) if word.first not in self.of.values]
            if dimension in ("vessel", "lesion", "direction"):
                found = self._with_pronouns(dimension, found)
            self._named[dimension] = found
        return self._named[dimension]

    def _all_named(self, dimension: str) -> list[Word]:
        """The words of a dimension."""
        if dimension in ("lesion", "graded"):
            return [_word(term) for term in self.terms("conditions")]
        if dimension == "landmark":
            kinds = (("fovea", PLACES.fovea), ("disc", PLACES.disc))
            return [Word(k, k + 1, frozenset([name])) for k in self.tokens for name, of in kinds if self.words[k] in of]
        found = [_word(term) for term in self.terms(_TERMS[dimension])]
        if dimension == "measure":
            return list(self._measures(found))
        if dimension == "vessel":  # CRAE is of the arteries, CRVE of the veins, AVR of neither
            measures = self.terms("measures")
            ratios = [t for t in measures if "avr" in t.values]
            found = [word for word in found if not any(t.first <= word.first < t.last for t in ratios)]
            calibres = [t for t in measures if len(t.values) == 1 and t.value in _CALIBRE_OF]
            found = sorted([*found, *(Word(t.first, t.last, frozenset([_CALIBRE_OF[t.value]])) for t in calibres)])
        return found

    def _measures(self, found: list[Word]) -> Iterator[Word]:
        """The words of measures, but not units, adjectives of explanations, and the disc as a place; a width that is no average
        may be a calibre."""
        units = {k for t in self.text.of("units") for k in range(t.first, t.last)} if found else ()
        for word in found:
            words = self.words[word.first : word.last]
            if word.first in units or (words == ["mean"] and self.words[word.first - 1] in ("you", "i", "we", "they", "can")):
                continue
            if words[-1] in ("dense", "denser", "densely") and len(words) == 1:
                continue
            lies = not LYING.isdisjoint(self.words[word.last : word.last + 2])
            if word.values <= {"disc", "cup"} and not lies and "'" in self.text.raw(word.last - 1):
                continue  # from the disc's edge
            values = word.values
            if "width" in values and _AVERAGE.isdisjoint(words):
                values = values | {"a width"}
            if values == {"area"} and words[0] in _COVERING:  # the vessels cover ..., but not: the cup takes up ...
                values = frozenset(["density", "cdr"])
            yield word._replace(values=values)

    def _with_pronouns(self, dimension: str, found: list[Word]) -> list[Word]:
        """Adds 'the former' and 'the latter', as words for the last two that were named before."""
        for k in self.tokens if not self.within.isdisjoint(("former", "latter")) else ():
            if self.words[k] in ("former", "latter"):
                before = _distinct([word for word in found if word.first < k])
                earlier = self.earlier
                while len(before) < 2 and earlier:
                    before = _distinct([*earlier.pop()._all_named(dimension), *before])
                if len(before) > 1:
                    found = sorted([*found, Word(k, k + 1, before[-2 if self.words[k] == "former" else -1].values)])
        return found


def _word(term: Term) -> Word:
    return Word(term.first, term.last, frozenset(map(str, term.values)))


def _distinct(found: list[Word]) -> list[Word]:
    """Words without those that name again what a word before them names."""
    kept: list[Word] = []
    for word in found:
        if not any(word.values == other.values for other in kept):
            kept.append(word)
    return kept
