"""Text read for what it names: conditions, measures, vessels, zones, units, image quality and the cues of grammar."""

import re
from functools import cache, lru_cache
from typing import NamedTuple

import yaml

from retinal_lib.paths import PACKAGE

WORDS: dict = yaml.safe_load((PACKAGE / "vocabulary.yaml").read_text(encoding="utf-8"))
_TOKEN = re.compile(
    r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])|\d+\.\d+|(?<![\w.])\.\d+|\d+|[^\W\d_]+(?:['’][a-z]{1,2}\b)?|[^\w\s*_`#\"“”-]|[–—]|\n|[¼½¾]"
)
_END = frozenset(".!?\n")
_ABBREVIATED = frozenset("vs approx eg ie ca dr e i g e.g fig cf".split())
_MEASURE_PARTS = ("vessels", "orientations", "zones", "formulas")


class Term(NamedTuple):
    """What the tokens `first` to `last` (exclusive) name: of which kind, and which values of that kind it may mean."""

    first: int
    last: int
    kind: str
    values: tuple

    @property
    def value(self) -> object:
        """The value, of a term that means one thing."""
        return self.values[0]


class Reading:
    """A text as tokens (`words`, normalised, with their spans) and `terms`, in order; `sentences` are ranges of tokens."""

    __slots__ = ("_amounts", "_kinds", "ends", "sentences", "starts", "terms", "text", "words")

    def __init__(self, text: str):
        self.text = text
        spans = [found.span() for found in _TOKEN.finditer(text)]
        self.starts = [start for start, _ in spans]
        self.ends = [end for _, end in spans]
        self.words = [_word(text[start:end]) for start, end in spans]
        self.terms = _terms(self.words)
        self.sentences = self._sentences()
        self._kinds: dict[str, list[Term]] = {}
        for term in self.terms:
            self._kinds.setdefault(term.kind, []).append(term)
        self._amounts: list | None = None  # kept by `amounts`

    def of(self, kind: str) -> list[Term]:
        """The terms of one kind."""
        return self._kinds.get(kind, [])

    def sentence(self, term: Term) -> range:
        """The sentence that a term stands in."""
        return next((s for s in self.sentences if s.start <= term.first < s.stop), range(0, len(self.words)))

    def _sentences(self) -> list[range]:
        found, first, words = [], 0, self.words
        for i in [i for i, word in enumerate(words) if word in _END]:
            word = words[i]
            if word == "." and not self._stops(i):
                continue
            if i > first:
                found.append(range(first, i))
            first = i + 1
        if first < len(words):
            found.append(range(first, len(words)))
        return found

    def _stops(self, i: int) -> bool:
        """Whether the full stop at token i ends a sentence."""
        after = self.text[self.ends[i] : self.ends[i] + 1]
        return (not after or not after.isalnum()) and not (i and self.words[i - 1] in _ABBREVIATED)

    def said(self, first: int, last: int) -> str:
        """The text of the tokens first to last (exclusive)."""
        return self.text[self.starts[first] : self.ends[last - 1]]

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Where the tokens first to last (exclusive) stand in the text."""
        return self.starts[first], self.ends[last - 1]


@lru_cache(maxsize=65536)
def _word(raw: str) -> str:
    if not raw[0].isalpha():
        return raw
    if raw in _capitals():
        return raw
    if raw[-1] == "s" and raw[:-1] in _capitals() and len(raw) > 2:
        return raw[:-1]
    return _plain(raw)


@lru_cache(maxsize=65536)
def _plain(raw: str) -> str:
    """A word in British spelling, singular, without possessive."""
    word = raw.lower().replace("’", "'").replace("μ", "µ")
    if "'" in word:
        word = word.removesuffix("'s")
        return word
    word = WORDS["spelling"].get(word, word)
    if word in ("does", "whereas", "always", "besides", "perhaps"):
        return word
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif (len(word) > 3 and word[-1] == "s" and word[-2] not in "sui") or word in ("sees", "shows"):
        word = word[:-1]
    return WORDS["spelling"].get(word, word)


@cache
def _capitals() -> frozenset[str]:
    """Abbreviations that count in capitals only."""
    every = [name for kind in ("conditions", "measures", "scales", "units", "modalities", "jargon") for name in _names(kind)]
    return frozenset(w for name in every for w in re.findall(r"[A-Za-z]+", name) if w.isupper() and len(w) > 1) - {"META", "PM"}


def _names(kind: str) -> list[str]:
    held = WORDS[kind]
    return held if isinstance(held, list) else [n for names in held.values() for n in names if not n.startswith(("<", "~"))]


def tokens(phrase: str) -> tuple[str, ...]:
    """A phrase as normalised tokens."""
    return tuple(_word(found) for found in _TOKEN.findall(phrase))


@cache
def _index() -> dict[str, list[tuple[tuple[str, ...], tuple[tuple[str, tuple], ...]]]]:
    """First token -> the phrases that begin with it, the longest first, each with the kinds and values it may mean."""
    phrases: dict[tuple[str, ...], dict[str, list]] = {}
    for kind in (
        "conditions",
        "asks",
        "scales",
        "measures",
        "vessels",
        "zones",
        "formulas",
        "orientations",
        "units",
        "quality",
        "modalities",
        "cues",
    ):
        for value, names in WORDS[kind].items():
            for name in names:
                if not name.startswith(("< ", "~ ")):
                    phrases.setdefault(tokens(name), {}).setdefault(kind, []).append(value)
    for kind in ("not_conditions", "gradable", "normal", "disorder", "jargon", "artefacts", "generic", "history", "treatment", "meaning", "no diagnosis"):
        for name in WORDS.get(kind, ()):
            phrases.setdefault(tokens(name), {}).setdefault(kind, []).append(name)
    for kind in ("ages", "severity", "lay"):
        for name, value in WORDS[kind].items():
            phrases.setdefault(tokens(name), {}).setdefault(kind, []).extend(
                [tuple(value)] if kind == "lay" else value if isinstance(value, list) else [value]
            )
    index: dict[str, list] = {}
    for phrase, kinds in phrases.items():
        index.setdefault(phrase[0], []).append(
            (phrase, tuple((kind, tuple(dict.fromkeys(values))) for kind, values in kinds.items()))
        )
    for found in index.values():
        found.sort(key=lambda item: -len(item[0]))
    return index


def _terms(words: list[str]) -> list[Term]:
    index, found, i, n = _index(), [], 0, len(words)
    while i < n:
        for phrase, kinds in index.get(words[i], ()):
            size = len(phrase)
            if size == 1 or tuple(words[i : i + size]) == phrase:
                for kind, values in kinds:
                    found.append(Term(i, i + size, kind, values))
                    if size > 1 and "than" not in phrase and kind in ("measures", "quality", "jargon"):
                        found += _inner(phrase, i)
                    elif kind == "scales" and "grade" in phrase:
                        found.append(Term(i + phrase.index("grade"), i + size, "measures", ("grade",)))
                    elif kind == "zones" and size > 1:
                        found += _more_zones(words, i + size)
                i += size
                break
        else:
            i += 1
    return found


@lru_cache(maxsize=4096)
def _inside(phrase: tuple[str, ...]) -> tuple[Term, ...]:
    inner = [
        t
        for k in range(len(phrase))
        for t in _terms([phrase[k]])
        if t.kind in _MEASURE_PARTS and t.values != ("all",)
        for t in [Term(k, k + 1, t.kind, t.values)]
    ]
    return tuple(inner)


def _inner(phrase: tuple[str, ...], at: int) -> list[Term]:
    """What a measure's name holds besides: the vein of 'vein equivalent'."""
    return [Term(t.first + at, t.last + at, t.kind, t.values) for t in _inside(phrase)]


def _more_zones(words: list[str], at: int) -> list[Term]:
    """The second zone of 'zones B and C'."""
    more = words[at : at + 2]
    if len(more) == 2 and more[0] in ("and", "or", "/", ",", "to", "versus", "vs", "&") and more[1] in ("b", "c"):
        return [Term(at + 1, at + 2, "zones", (more[1],))]
    return []


@cache
def _relations() -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """condition -> what an eye with it has too (all levels up), and what may be said besides."""
    up = {c: {n[2:] for n in names if n.startswith("< ")} for c, names in WORDS["conditions"].items()}
    beside = {c: frozenset(n[2:] for n in names if n.startswith("~ ")) for c, names in WORDS["conditions"].items()}
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
    """What an eye with a condition has too: all that it is a form of."""
    return _relations()[0].get(condition, frozenset())


def beside(condition: str) -> frozenset[str]:
    """What may be said of an eye with a condition besides."""
    return _relations()[1].get(condition, frozenset())


@lru_cache(maxsize=16384)
def read(text: str) -> Reading:
    """A short text, such as a fact's words, read; kept, since they recur."""
    return Reading(text)


@lru_cache(maxsize=16384)
def conditions(text: str) -> tuple[str, ...]:
    """The conditions that a text names, in order."""
    return tuple(dict.fromkeys(t.values[0] for t in read(text).terms if t.kind == "conditions"))


def means_one(text: str) -> bool:
    """Whether a text is the name of one condition alone, and may not mean others."""
    terms = read(text).of("conditions")
    return len(terms) == 1 and len(terms[0].values) == 1


def name(condition: str) -> str:
    """What a condition is called in a finding."""
    names = WORDS["conditions"].get(condition)
    return names[0] if names else condition
