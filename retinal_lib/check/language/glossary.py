"""The glossary: reviewed explanations of terms, which hold for every image."""

import random
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from retinal_lib.check.language.lexicon import ParsedText

MOST = 3  # explanations for an image


class Entry(NamedTuple):
    """An explanation: the names of its term, the first as the term is called, and what it says of it; `common` where most
    readers know the term."""

    terms: tuple[str, ...]
    says: str
    source: str = ""
    common: bool = False


@cache
def entries() -> tuple[Entry, ...]:
    """Returns all explanations."""
    content = yaml.safe_load(Path(__file__).with_name("glossary.yaml").read_text(encoding="utf-8"))
    return tuple(Entry(tuple(entry.pop("terms")), **entry) for entry in content)


def named(texts: Iterable[str]) -> Iterator[Entry]:
    """Yields the explanations of the terms that texts name, in the order of the glossary."""
    found = {match[0].casefold() for match in _any_term().finditer("\n".join(texts))}
    yield from (entry for entry in entries() if any(term.casefold() in found for term in entry.terms))


def draw(texts: Iterable[str], rng: random.Random) -> list[Entry]:
    """Draws at most `MOST` explanations of terms that texts name, those of common terms last."""
    known = list(named(texts))
    rng.shuffle(known)
    return sorted(known, key=lambda entry: entry.common)[:MOST]


def sentences(text: ParsedText) -> list[range]:
    """Returns the sentences of a text, or what follows a semicolon or colon in one, that are explanations, word for word: these
    are reviewed, and say nothing of an image."""
    words, found = text.words, []
    for tokens in text.sentences:
        starts = [tokens.start, *(k + 1 for k in tokens if words[k] in (";", ":"))]
        found += [range(k, tokens.stop) for k in starts if " ".join(words[k : tokens.stop]) in _explanations()][:1]
    return found


@cache
def _explanations() -> frozenset[str]:
    texts = [ParsedText(entry.says) for entry in entries()]
    return frozenset(" ".join(text.words[k] for k in tokens) for text in texts for tokens in text.sentences)


@cache
def _any_term() -> re.Pattern[str]:
    terms = sorted((term for entry in entries() for term in entry.terms), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, terms))})(?!\w)", re.IGNORECASE)
