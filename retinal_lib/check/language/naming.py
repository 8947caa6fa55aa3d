"""Which words of a sentence name a value: its measure, vessels, zone, formula, direction, lesion, landmark or what it grades.

A dimension's words and the sentence's values are read in order. A value is named by the words before it, by those after it, by
a list that names several values one by one, by what the value before it is named, or by what it is compared with. A value that
may be of several facts is of those that its names fit.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

from retinal_lib.check.language.lexicon import VOCABULARY, ParsedText, Term, word_lists

WORDS = word_lists("naming")
PLACES = word_lists("lesion_locations")
DIMENSIONS = ("measure", "vessel", "zone", "formula", "direction", "lesion", "landmark", "graded")
KINDS = {"vessel": "vessels", "zone": "zones", "formula": "formulas", "direction": "orientations", "measure": "measures"}
OPPOSITES = {  # what is compared with what
    "vessel": {"artery": "vein", "vein": "artery"},
    "direction": {"vertical": "horizontal", "horizontal": "vertical"},
    "formula": {"Hubbard": "Knudtson", "Knudtson": "Hubbard"},
    "zone": {"b": "c", "c": "b"},
}
CALIBRE_OF = {"crae": "artery", "crve": "vein"}
MEASURED = frozenset("fractal density width tortuosity curvature tort_density crae crve avr disc cup cdr angle".split())
_GRADED = frozenset(c for subjects in VOCABULARY["subjects"].values() for c in subjects)
_OVERALL = frozenset(["all", "whole"])  # what is meant where nothing is named
_EXTENTS = frozenset(["disc", "cup"])  # of either: a height, a diameter
_STEPS = 2000  # orders of the words that are tried at most
_LISTED = 4  # values that one list names at most

Names = frozenset[str]
Allowed = dict[str, Names]  # by dimension: what words may be named for a value; a dimension that does not apply is left out


class Word(NamedTuple):
    """A word of one dimension: its tokens and the values that it may mean."""

    first: int
    last: int
    values: Names


class Spot(NamedTuple):
    """A value in a text: its tokens, and what words may be named for it, for each fact that it may be of."""

    first: int
    last: int
    allowed: tuple[Allowed, ...]
    box: bool = False


class Part(NamedTuple):
    """A sentence of a text, with the tokens that are inside its values and name nothing."""

    text: ParsedText
    sentence: range
    inner: set[int]


def words(part: Part, dimension: str, spots: Sequence[Spot] = (), here: bool = True) -> list[Word]:
    """Returns the words of a dimension in a sentence that may name values; `here`: it holds these values itself."""
    text, sentence, inner = part
    if not text.of(KINDS.get(dimension, "conditions")) and dimension in ("zone", "formula", "direction"):
        return []
    found = [word for word in _all_words(text, sentence, dimension, spots) if word.first not in inner]
    if dimension == "measure":
        return _narrowed(sorted([*found, *_widths(text, sentence, found, spots)]) if here else found)
    kept: list[Word] = []
    for word in found:
        again = kept and (word.first < kept[-1].last or text.words[word.first - 1] == "(")  # soft exudates (cotton wool spots)
        if again and not word.values.isdisjoint(kept[-1].values):
            kept[-1] = Word(kept[-1].first, word.last, kept[-1].values & word.values)
        else:
            kept.append(word)
    return kept


def _all_words(text: ParsedText, sentence: range, dimension: str, spots: Sequence[Spot]) -> list[Word]:
    tokens = text.words
    if dimension in ("lesion", "graded"):
        found = [_word(term) for term in text.within("conditions", sentence)]
        if dimension == "graded":
            named = [word for word in found if not word.values.isdisjoint(_GRADED)]
            return named or [Word(t.first, t.last, _graded(t.values)) for t in text.within("scales", sentence)]
        if any(spot.box for spot in spots):
            found += [
                Word(k, k + 1, frozenset(["disc"])) for k in sentence if tokens[k] in PLACES.disc and _is_subject(tokens, k)
            ]
        return sorted(w for w in found if WORDS.none.isdisjoint(tokens[max(sentence.start, w.first - 2) : w.first]))
    if dimension == "landmark":
        kinds = (("fovea", PLACES.fovea), ("disc", PLACES.disc))
        return [Word(k, k + 1, frozenset([name])) for k in sentence for name, of in kinds if tokens[k] in of]
    found = [_word(term) for term in text.within(KINDS[dimension], sentence)]
    if dimension == "measure":
        return list(_measures(text, found, spots))
    if dimension == "vessel":
        found = _vessels(text, sentence, found)
    if dimension == "direction":  # taller than it is wide
        found = [word for word in found if not _is_shape(tokens, word)]
    if dimension in ("vessel", "direction"):
        found = sorted([*found, *_pronouns(text, sentence, KINDS[dimension])])
    return found


def _is_shape(tokens: list[str], word: Word) -> bool:
    """Whether a word is of the disc's shape: taller than it is wide; but not: than it is wide (1812 µm)."""
    led = tokens[word.last : word.last + 1] == ["("]
    return tokens[word.first].endswith("er") or (not led and "than" in tokens[max(0, word.first - 3) : word.first])


def _graded(scales: tuple) -> Names:
    """What the scales grade whose names these are: Messidor's are two."""
    subjects = VOCABULARY["subjects"]
    return frozenset(c for name in subjects if any(str(scale) in name for scale in scales) for c in subjects[name])


def _word(term: Term) -> Word:
    return Word(term.first, term.last, _as_names(term.values))


@lru_cache(maxsize=1024)
def _as_names(values: tuple) -> Names:
    return frozenset(map(str, values))


def _is_subject(tokens: list[str], k: int) -> bool:
    """Whether the disc at token k is what is spoken of, and no place: the disc lies at ..., not near the disc."""
    before = tokens[max(0, k - 4) : k]
    return "box" in before or WORDS.beside.isdisjoint(before[-3:])


def _measures(text: ParsedText, found: list[Word], spots: Sequence[Spot]) -> Iterator[Word]:
    """The words of measures; the disc is a place for values of vessels; what covers the image is the vessels' density."""
    units = {k for t in text.of("units") for k in range(t.first, t.last)} if found else ()
    discs = any(not a.get("measure", frozenset()).isdisjoint(("disc", "cup")) for spot in spots for a in spot.allowed)
    for word in found:
        values, tokens = word.values, text.words[word.first : word.last]
        if "area" in values and not WORDS.covering.isdisjoint(tokens):
            values = values | {"density", "cdr"}
        elif tokens[-1].startswith("dense") and len(tokens) == 1:  # a denser network
            values = values | {"fractal"}
        elif "width" in values and WORDS.average.isdisjoint(tokens):
            values = values | {"a width"}  # that is no average may be a calibre
        lies = not WORDS.lying.isdisjoint(text.words[word.last : word.last + 2])
        place = values <= {"disc", "cup"} and not discs and not (lies and _is_subject(text.words, word.first))
        if word.first not in units and not values.isdisjoint(MEASURED) and not place:
            yield word._replace(values=values)


def _widths(text: ParsedText, sentence: range, found: list[Word], spots: Sequence[Spot]) -> Iterator[Word]:
    """Vessels that stand for their width, in a part of a sentence that names no measure: arteries 41.9 µm."""
    start = sentence.start
    for spot in spots:
        if any("width" in allowed.get("measure", ()) for allowed in spot.allowed):
            start = max([start, *(k for k in range(start, spot.first) if text.words[k] in WORDS.groups)])
            vessels = text.within("vessels", range(start, spot.first))
            measured = any(start <= word.first < spot.first for word in found)
            if vessels and not measured and WORDS.leading.issuperset(text.words[vessels[-1].last : spot.first]):
                yield Word(vessels[-1].first, vessels[-1].last, frozenset(["width", "a width"]))
        start = spot.last


def _narrowed(found: list[Word]) -> list[Word]:
    """Words that may mean several measures, as the one before them says: a cup that is 700 µm high."""
    sure: Names = frozenset()
    for k, word in enumerate(found):
        if word.values & sure:
            found[k] = word._replace(values=word.values & sure)
        elif len(word.values) == 1:
            sure = word.values
    return found


def _vessels(text: ParsedText, sentence: range, found: list[Word]) -> list[Word]:
    """CRAE is of the arteries, CRVE of the veins, their ratio of neither."""
    measures = text.within("measures", sentence)
    ratios = [t for t in measures if "avr" in t.values]
    calibres = [t for t in measures if len(t.values) == 1 and t.value in CALIBRE_OF]
    plain = [word for word in found if not any(t.first <= word.first < t.last for t in ratios)]
    return sorted([*plain, *(Word(t.first, t.last, frozenset([CALIBRE_OF[t.value]])) for t in calibres)])


def _pronouns(text: ParsedText, sentence: range, kind: str) -> Iterator[Word]:
    """Yields 'the former' and 'the latter', as words for the last two that were named before."""
    for k in sentence if text.has(WORDS.pronouns) else ():
        before = [t.values for t in text.within(kind, range(k))]
        two = list(dict.fromkeys(before[::-1]))[:2]
        if text.words[k] in WORDS.pronouns and len(two) == 2:
            yield Word(k, k + 1, frozenset(map(str, two[text.words[k] == "former"])))


class Reading:
    """How the values of a sentence may be read in one dimension: `named` are its words, `context` those of the first of the
    `earlier` sentences that has any, `tokens` the words of the text, `known` what the conversation has named."""

    def __init__(
        self, dimension: str, spots: list[Spot], part: Part, earlier: Iterable[Part], known: Names = frozenset()
    ) -> None:
        self.dimension, self.spots, self.tokens = dimension, spots, part.text.words
        self.named, self._earlier, self.known = words(part, dimension, spots), earlier, known
        extents = dimension == "measure" and len(spots) > 1 and all(word.values >= _EXTENTS for word in self.named)
        if extents and len(self.context) == len(spots):
            self.named = []  # their heights are ...: of what was named before
        self.reached = 0  # the last value that could be named
        self._failed: set[tuple] = set()
        self._steps = 0

    @cached_property
    def context(self) -> list[Word]:
        """The words of an earlier sentence, which are read where those of the sentence do not suffice."""
        read = (words(each, self.dimension, self.spots, here=False) for each in self._earlier)
        return next(filter(None, read), [])

    def is_plain(self) -> bool:
        """Says whether each word may name each value, and one of the sentence's own stands before them all: then they can be
        read in some order."""
        named, first = self.named, self.spots[0].first
        if named and ((named[0].first > first and len(self.spots) > 1) or "than" in self.tokens):
            return False
        return all(self._fits(i, word.values) for word in named or self.context for i in range(len(self.spots)))

    def names(self, i: int = 0, earlier: tuple[Names, ...] = (), used: int = 0) -> list[Names] | None:
        """Returns the names of the values from value i on; None where no order of the words gives any. `earlier` are the last
        names before, `used` words stand before what is left."""
        if i == len(self.spots):
            return []
        if (i, earlier, used) in self._failed:
            return None
        self.reached = max(self.reached, i)
        self._steps += 1
        if self._steps > _STEPS:
            return None
        for option in self._options(i, earlier, used):
            chosen = [word.values if isinstance(word, Word) else word for word in option]
            if all(self._fits(i + k, values) for k, values in enumerate(chosen)):
                taken = max([used, *(self.named.index(word) + 1 for word in option if isinstance(word, Word))])
                rest = self.names(i + len(chosen), (*earlier, *chosen)[-_LISTED:], taken)
                if rest is not None:
                    return [*chosen, *rest]
        self._failed.add((i, earlier, used))
        return None

    def _fits(self, i: int, values: Names) -> bool:
        return any(not values.isdisjoint(allowed.get(self.dimension, values)) for allowed in self.spots[i].allowed)

    def _any(self, i: int) -> Names:
        """Whatever may be named for value i."""
        return frozenset(value for allowed in self.spots[i].allowed for value in allowed.get(self.dimension, ("",)))

    def _opposite(self, values: Names) -> Names:
        """What is compared with something: the veins with the arteries."""
        return frozenset(filter(None, (OPPOSITES.get(self.dimension, {}).get(value) for value in values)))

    def _between(self, i: int) -> list[str]:
        return self.tokens[self.spots[i].last : self.spots[i + 1].first]

    def _compared(self, i: int) -> bool:
        """Whether value i is set against the next."""
        between = self._between(i)
        return len(between) < 5 and not WORDS.contrasts.isdisjoint(between)

    def _run(self, i: int) -> int:
        """The number of values from value i on with only commas and the like between them."""
        size = 1
        while i + size < len(self.spots) and size < _LISTED:
            last = self.spots[i + size - 1].last
            named = any(last <= word.first < self.spots[i + size].first for word in self.named)
            if not WORDS.joined.issuperset(self._between(i + size - 1)) and (named or not self._compared(i + size - 1)):
                break
            size += 1
        return size

    def _options(self, i: int, earlier: tuple[Names, ...], used: int) -> Iterator[Sequence[Word | Names]]:
        """Yields what values from value i on may be named, the likeliest first; what can be nothing else alone."""
        first = self.spots[i].first
        if self.dimension in ("zone", "formula") and len(self.named) == len(self.spots) == 1:
            yield [self.named[0].values]  # measured in zone C, whatever was said before
            return
        start = self.spots[i - 1].last if i else 0
        since = [word for word in self.named if start <= word.first < first]
        before = [word for word in since if word in self.named[used:]]
        if i and len(before) > 1 and WORDS.prepositions.issuperset(self.tokens[start : before[0].first]):
            before = before[1:]  # that is of the value before
        size = self._run(i)
        for count in range(size, 1, -1):
            if (sure := self._one_by_one(i, count, size, before)) is not None:
                yield sure
                return
            yield from self._lists(i, count, since, () if before and self.dimension != "measure" else earlier)
            if len(before) == 1:
                other = self._opposite(before[0].values) if count == 2 and self._compared(i) else before[0].values
                yield [before[0].values] + [other] * (count - 1)
        yield from self._alone(i, earlier, before, size)

    def _one_by_one(self, i: int, count: int, size: int, before: list[Word]) -> Sequence[Names] | None:
        """The names of so many values where they can be no others: arteries and veins, 43 and 48 µm."""
        if len(before) == count == size:
            return [word.values for word in before]
        if len(before) == 1 and count == 2 and "than" in self.tokens[max(0, before[0].first - 2) : before[0].first]:
            other = self._opposite(before[0].values)  # narrower than the veins: 36 against 52 µm
            return [other, before[0].values] if other else None
        whole = not before and not self.named and len(self.context) == count
        return [word.values for word in self.context] if whole and "or" not in self._between(i) else None

    def _alone(self, i: int, earlier: tuple[Names, ...], before: list[Word], size: int) -> Iterator[Sequence[Word | Names]]:
        """Yields what value i may be named by itself."""
        spot, after = self.spots[i], self._after(i)
        gap = self.tokens[spot.last : after[0].first] if after else []
        directly = bool(after) and WORDS.prepositions.issuperset(gap)
        led = bool(before) and WORDS.leading.issuperset(self.tokens[before[-1].last : spot.first])
        if directly and not led:
            yield after[:1]
            if size == 1 and not before:
                return
        yield from ([word.values] for word in self._ranked(before))
        if before and self.tokens[spot.first - 1] == ":":
            yield [before[0].values]  # the veins exceed the arteries: 52 µm
        near = bool(after) and WORDS.parting.isdisjoint(gap)
        if after and (near or not before):
            yield after[:1]
        if not before:
            yield from self._unnamed(i, earlier, near)

    def _lists(self, i: int, count: int, since: list[Word], earlier: tuple[Names, ...]) -> Iterator[Sequence[Word | Names]]:
        """Yields lists that may name so many values: before or after them, that of the values before, or one at the end."""
        after, end = self._after(i + count - 1), [word for word in self.named if word.first >= self.spots[-1].last]
        if len(since) >= count:
            yield [word.values for word in since[-count:]]
        if len(after) >= count:
            yield after[:count]
        for listed in (earlier[-count:], earlier[-count - 1 : -1]):  # the last may stand in brackets
            if len(set(listed)) == count:
                yield listed
        if not since and len(end) == count:
            yield [word.values for word in end]

    def _ranked(self, before: list[Word]) -> list[Word]:
        """Those of the words before a value that may name it alone: the last, or what is compared with it."""
        if self.dimension == "measure":
            return before[::-1]
        plain = [w for w in before if "than" not in self.tokens[max(0, w.first - 2) : w.first] and "all" not in w.values]
        return [*plain[-1:], *before[-1:]]

    def _unnamed(self, i: int, earlier: tuple[Names, ...], near: bool) -> Iterator[list[Names]]:
        """Yields what a value without words of its own may be named."""
        first, last = self.spots[i].first, self.spots[i].last
        since = self.tokens[self.spots[i - 1].last : first] if i else []
        if earlier and self._compared(i - 1) and (opposite := self._opposite(earlier[-1])):
            yield [opposite]
        if earlier and not (near and earlier[-1] == _OVERALL):
            yield [earlier[-1]]
        later = next((word for word in self.named if word.first >= last), None)
        shared = later is not None and WORDS.groups.isdisjoint(self.tokens[last : later.first])
        if shared:
            yield [later.values]  # named once after several values
        if not near and (not self.named or self.named[0].first > first):
            yield from ([word.values] for word in self.context)
            if not self.named and self.known:
                yield [self.known]
            if not self.context and not shared:
                yield [self._any(i)]
        parted = not earlier or not WORDS.groups.isdisjoint(since)  # nothing was named in this part of the sentence
        disc = self.dimension == "lesion" and "disc" in self._any(i)
        if disc or self.dimension == "direction" or (self.dimension == "formula" and not shared and not self.context):
            yield [self._any(i)]
        elif self.dimension == "zone" and self.context:
            return  # a zone that was named holds until another is
        elif not near and self.dimension != "formula" and (parted or self.dimension == "vessel"):
            yield [_OVERALL]

    def _after(self, i: int) -> list[Word]:
        """The words between value i and the next; in brackets, those before a value are its own."""
        last = self.spots[i].last
        stop = following = self.spots[i + 1].first if i + 1 < len(self.spots) else len(self.tokens)
        if following < len(self.tokens) and "(" in (between := self.tokens[last:following]) and ")" not in between:
            stop = last + between.index("(")
        return [word for word in self.named if last <= word.first < stop]
