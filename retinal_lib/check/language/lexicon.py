"""Texts parsed into tokens and terms: conditions, measures, vessels, zones, units, image quality and cues of grammar."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache, wraps
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, Protocol, TypeVar

from retinal_lib.parsing import packaged_yaml

VOCABULARY: dict = packaged_yaml(Path(__file__).with_name("vocabulary.yaml"))


def word_lists(heading: str) -> SimpleNamespace:
    """Returns the word lists under a heading of vocabulary.yaml as attributes: sets of words, or dicts of what words mean."""
    return SimpleNamespace(**{name: _frozen(listed) for name, listed in VOCABULARY["lists"][heading].items()})


def _frozen(listed: object) -> object:
    if isinstance(listed, dict):
        return {word: _frozen(meaning) for word, meaning in listed.items()}
    return frozenset(listed) if isinstance(listed, list) else listed


T = TypeVar("T")
WORDS = word_lists("lexicon")
_TOKEN = re.compile(  # words, numbers, marks, line ends; words come first, as they are the most
    r"([A-Za-z]++(?![^\W\d_])(?:['’][a-z]{1,2}\b)?|[^\W\d_]+(?:['’][a-z]{1,2}\b)?|\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])|\d+\.\d+|(?<![\w.])\.\d+|\d+"
    r"|[^\w\s*_`#\"“”-]|[–—]|\n|[¼½¾])"
)
_DASHES = str.maketrans("‐‑‒−―", "----—")
_LONG_DASHES = "‐‑‒−―–—"
_HYPHEN = re.compile(  # a dash in place of a hyphen; a long one parts clauses but in a few names
    r"(?<=\w)–(?=[^\W\d_])|(?<=\bnon)—|(?<=\bcup)—(?=to)|(?<=\bto)—(?=dis)|(?<=age)—(?=related)|(?<=\d)—(?=year)"
    r"|(?<=year)—(?=old)|(?<=wool)—(?=spot)",
    re.IGNORECASE,
)
_END = frozenset(".!?\n")
_MANY = 65536  # normalised tokens kept at most
_MEASURE_PARTS = ("vessels", "orientations", "zones", "formulas")


class Term(NamedTuple):
    """The tokens `first` to `last` (exclusive) of a text that name something: its kind, and the values that it may mean."""

    first: int
    last: int
    kind: str = ""
    values: tuple = ()

    @property
    def value(self) -> object:
        """The first or only value."""
        return self.values[0]


class Tokens(Protocol):
    """A run of tokens, `first` to `last` (exclusive): a term, an amount, a region."""

    first: int
    last: int


class ParsedText:
    """A text as tokens (`words`, normalised) and `terms`, in order and `by_kind`; `sentences` are ranges of tokens.

    >>> reading = ParsedText("No haemorrhages are seen. The left eye shows drusen.")
    >>> [(reading.text_of(term), term.value) for term in reading.of("conditions")]
    [('haemorrhages', 'haemorrhage'), ('drusen', 'drusen')]
    """

    def __init__(self, text: str):
        if not text.isascii() and any(map(text.__contains__, _LONG_DASHES)):
            text = _HYPHEN.sub("-", text.translate(_DASHES))  # each for one, so that spans hold
        self.text = text
        pieces = _TOKEN.split(self.text)  # what is between tokens, a token, what is between, ...
        self._raw = pieces[1::2]
        self.starts = list(accumulate(map(len, pieces)))[:-1:2]  # in characters, where each token begins
        self.words = list(map(_NORMAL.__getitem__, self._raw))
        self._distinct = frozenset(self.words)
        self.terms = _terms(self.words)
        self.by_kind: dict[str, list[Term]] = {}
        for term in self.terms:
            self.by_kind.setdefault(term.kind, []).append(term)
        self.kept: dict[Callable, object] = {}  # by function: what was read from the text
        self.sentences = self._sentences()

    def of(self, kind: str) -> Sequence[Term]:
        """Returns the terms of one kind, in order."""
        return self.by_kind.get(kind, ())

    def has(self, words: Iterable[str]) -> bool:
        """Says whether any of these words occurs."""
        return not self._distinct.isdisjoint(words)

    def sentence(self, term: Term) -> range:
        """Returns the tokens of the sentence that holds a term; all tokens where the term stands between sentences."""
        first = term.first
        for tokens in self.sentences:
            if tokens.start <= first < tokens.stop:
                return tokens
        return range(len(self.words))

    def within(self, kind: str, tokens: range) -> list[Term]:
        """Returns the terms of one kind that begin within a range of tokens."""
        found = self.by_kind.get(kind)
        return [t for t in found if tokens.start <= t[0] < tokens.stop] if found else []

    def _sentences(self) -> list[range]:
        found, first, words = [], 0, self.words
        for i in [i for i, word in enumerate(words) if word in _END]:
            if words[i] == "." and not self._stops(i):
                continue
            if i > first:
                found.append(range(first, i))
            first = i + 1
        if first < len(words):
            found.append(range(first, len(words)))
        return found

    def _stops(self, i: int) -> bool:
        """Whether the full stop at token i ends a sentence."""
        if i and self.words[i - 1] in WORDS.abbreviations:
            return False
        return i + 1 == len(self.words) or not self.text[self.end(i) : self.end(i) + 1].isalnum()

    def end(self, i: int) -> int:
        """Returns the position in the text, in characters, where token i ends."""
        return self.starts[i] + len(self._raw[i])

    def raw(self, i: int) -> str:
        """Returns token i as it is written."""
        return self._raw[i]

    def span(self, part: Tokens) -> tuple[int, int]:
        """Returns the position of a term, an amount or another run of tokens in the text: (start, end) in characters."""
        return self.starts[part.first], self.end(part.last - 1)

    def text_of(self, part: Tokens) -> str:
        """Returns the text of a term, an amount or another run of tokens as it is written."""
        start, end = self.span(part)
        return self.text[start:end]


def kept(function: Callable[[ParsedText], T]) -> Callable[[ParsedText], T]:
    """Keeps what a function of a text returns with that text, as each check asks for it."""

    @wraps(function)
    def once(text: ParsedText) -> T:
        if function not in text.kept:
            text.kept[function] = function(text)
        return text.kept[function]

    return once


class _Normal(dict[str, str]):
    """Cache of tokens as written -> normalised; emptied when it gets large, as there is no end of numbers."""

    def __missing__(self, raw: str) -> str:
        if len(self) >= _MANY:
            self.clear()
        word = self[raw] = _word(raw)
        return word


_NORMAL = _Normal()


def _word(raw: str) -> str:
    if not raw[0].isalpha():
        return raw
    if raw in capitals():
        return raw
    if raw[-1] == "s" and raw[:-1] in capitals() and len(raw) > 2:
        return raw[:-1]
    return _plain(raw)


def _plain(raw: str) -> str:
    """A word in British spelling, singular, without possessive."""
    word = raw.lower().replace("’", "'").replace("μ", "µ")
    if "'" in word:
        return word.removesuffix("'s")
    word = VOCABULARY["spelling"].get(word, word)
    if word in ("does", "whereas", "always", "besides", "perhaps"):
        return word
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif (len(word) > 3 and word[-1] == "s" and word[-2] not in "sui") or word in ("sees", "shows"):
        word = word[:-1]
    return VOCABULARY["spelling"].get(word, word)


@cache
def capitals() -> frozenset[str]:
    """Returns the abbreviations that count in capitals only."""
    every = [name for kind in ("conditions", "measures", "scales", "units", "modalities", "jargon") for name in _names(kind)]
    return frozenset(w for name in every for w in re.findall(r"[A-Za-z]+", name) if w.isupper() and len(w) > 1) - {"META", "PM"}


def _names(kind: str) -> list[str]:
    held = VOCABULARY[kind]
    return held if isinstance(held, list) else [n for names in held.values() for n in names if not n.startswith(("<", "~"))]


def tokens(phrase: str) -> tuple[str, ...]:
    """Splits a phrase into normalised tokens."""
    return tuple(_NORMAL[found] for found in _TOKEN.findall(phrase))


class _Phrase(NamedTuple):
    """A phrase of the vocabulary: its tokens and terms, each as (first token, last token, kind, values)."""

    tokens: tuple[str, ...]
    terms: tuple[tuple[int, int, str, tuple], ...]


_BY_VALUE = (  # kinds listed as value -> names
    *("conditions", "asks", "scales", "measures", "vessels", "zones"),
    *("formulas", "orientations", "units", "quality", "modalities", "cues"),
)
_BY_NAME = ("not_conditions", "gradable", "normal", "disorder", "jargon", "artefacts", "generic", "history", "treatment")
_BY_NAME += ("meaning", "no diagnosis")
_VALUED = ("ages", "severity", "lay")  # kinds listed as name -> values


def _phrases() -> dict[tuple[str, ...], dict[str, list]]:
    """The phrases of the vocabulary as tokens, each with the kinds and values it may mean."""
    found: dict[tuple[str, ...], dict[str, list]] = {}
    for kind in _BY_VALUE:
        for value, names in VOCABULARY[kind].items():
            for name in names:
                if not name.startswith(("< ", "~ ")):
                    found.setdefault(tokens(name), {}).setdefault(kind, []).append(value)
    for kind in _BY_NAME:
        for name in VOCABULARY.get(kind, ()):
            found.setdefault(tokens(name), {}).setdefault(kind, []).append(name)
    for kind in _VALUED:
        for name, value in VOCABULARY[kind].items():
            values = [tuple(value)] if kind == "lay" else value if isinstance(value, list) else [value]
            found.setdefault(tokens(name), {}).setdefault(kind, []).extend(values)
    return found


@cache
def _index() -> dict[str, dict[str, list[_Phrase]]]:
    """First token -> second token -> the phrases that begin with them, the longest first; single words under no second."""
    phrases = _phrases()
    index: dict[str, dict[str, list[_Phrase]]] = {}
    for phrase, kinds in phrases.items():
        size, terms = len(phrase), []
        for kind, values in kinds.items():
            terms.append((0, size, kind, tuple(dict.fromkeys(values))))
            if size > 1 and "than" not in phrase and kind in ("measures", "quality", "jargon"):
                terms += _inside(phrase, phrases)
            elif kind == "scales" and (named := {"grade", "scale"} & set(phrase)):
                terms.append((phrase.index(named.pop()), size, "measures", ("grade",)))
        by_second = index.setdefault(phrase[0], {})
        by_second.setdefault(phrase[1] if size > 1 else "", []).append(_Phrase(phrase, tuple(terms)))
    for by_second in index.values():
        for found in by_second.values():
            found.sort(key=lambda item: -len(item.tokens))
    return index


def _inside(phrase: tuple[str, ...], phrases: dict[tuple[str, ...], dict[str, list]]) -> list[tuple[int, int, str, tuple]]:
    """The other terms within the name of a measure: the vein of 'vein equivalent'."""
    found = []
    for k, word in enumerate(phrase):
        for kind, values in phrases.get((word,), {}).items():
            if kind in _MEASURE_PARTS and values != ["all"]:
                found.append((k, k + 1, kind, tuple(dict.fromkeys(values))))
    return found


def _terms(words: list[str]) -> list[Term]:
    found, done = [], 0
    for i, by_second in enumerate(map(_index().get, words)):
        if by_second is None or i < done:
            continue
        after = words[i + 1] if i + 1 < len(words) else ""
        phrase = _longest(by_second, words, i) if after in by_second else by_second[""][0] if "" in by_second else None
        if phrase is not None:
            done = i + len(phrase.tokens)
            for first, last, kind, values in phrase.terms:
                found.append(tuple.__new__(Term, (i + first, i + last, kind, values)))  # faster than Term(...)
                if kind == "zones" and last == done - i > 1 and first == 0:
                    found += _more_zones(words, done)
    return found


def _longest(by_second: dict[str, list[_Phrase]], words: list[str], i: int) -> _Phrase | None:
    """The longest phrase at token i, where one begins with it and the next."""
    for phrase in by_second[words[i + 1]] if i + 1 < len(words) else ():
        size = len(phrase.tokens)
        if size == 2 or tuple(words[i : i + size]) == phrase.tokens:
            return phrase
    single = by_second.get("")
    return single[0] if single else None


def _more_zones(words: list[str], at: int) -> list[Term]:
    """The second zone of 'zones B and C'."""
    more = words[at : at + 2]
    if len(more) == 2 and more[0] in ("and", "or", "/", ",", "to", "versus", "vs", "&") and more[1] in ("b", "c"):
        return [Term(at + 1, at + 2, "zones", (more[1],))]
    return []


@cache
def _relations() -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """condition -> all that it is a form of, at every level; condition -> what may be named beside it."""
    up = {c: {n[2:] for n in names if n.startswith("< ")} for c, names in VOCABULARY["conditions"].items()}
    beside = {c: frozenset(n[2:] for n in names if n.startswith("~ ")) for c, names in VOCABULARY["conditions"].items()}
    every = {}
    for condition in up:
        todo, seen = [condition], set()
        while todo:
            for parent in up.get(todo.pop(), ()):
                if parent not in seen:
                    seen.add(parent)
                    todo.append(parent)
        every[condition] = frozenset(seen)
    return every, beside


def implied(condition: str) -> frozenset[str]:
    """Returns all conditions that a condition is a form of; an eye with it has these too."""
    return _relations()[0].get(condition, frozenset())


@cache
def forms_of(condition: str) -> frozenset[str]:
    """Returns the conditions that are forms of a condition, as hard and soft exudates are exudates."""
    return frozenset(each for each, broader in _relations()[0].items() if condition in broader and each != condition)


def family(term: Term) -> frozenset[str]:
    """Returns the conditions that a term may mean, and all that they are forms of."""
    return _family(term.values)


@lru_cache(maxsize=4096)
def _family(conditions: tuple[str, ...]) -> frozenset[str]:
    return frozenset(conditions).union(*map(implied, conditions))


def beside(condition: str) -> frozenset[str]:
    """Returns the conditions that may be named beside a condition, such as its usual signs."""
    return _relations()[1].get(condition, frozenset())


@lru_cache(maxsize=2048)  # some ten KiB each
def read(text: str) -> ParsedText:
    """Parses a text that recurs, such as a fact's words, or what many conversations ask; the result is cached."""
    return ParsedText(text)


@lru_cache(maxsize=16384)
def conditions(text: str) -> tuple[str, ...]:
    """Returns the conditions that a text names, in order."""
    return tuple(dict.fromkeys(t.values[0] for t in read(text).terms if t.kind == "conditions"))
