"""The glossary: reviewed explanations of terms, which hold for every image."""

import random
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from retinal_lib.check.language.lexicon import VOCABULARY, ParsedText, kept
from retinal_lib.check.language.lexicon import tokens as tokens_of
from retinal_lib.parsing import packaged_yaml

MOST = 3  # explanations for an image
_ARTICLES = frozenset(["a", "an", "the"])
_SHORTEST = 5  # words of what an explanation says of its term
_MARKS = frozenset(",;:.()'\"")


class Entry(NamedTuple):
    """An explanation: the names of its term, the first as the term is called, and what it says of it, in one or several
    wordings; `common` where most readers know the term."""

    terms: tuple[str, ...]
    says: tuple[str, ...]
    source: str = ""
    common: bool = False


@cache
def entries() -> tuple[Entry, ...]:
    """Returns all explanations."""
    content = packaged_yaml(Path(__file__).with_name("glossary.yaml"))
    return tuple(Entry(tuple(entry.pop("terms")), tuple(entry.pop("says")), **entry) for entry in content)


def named(texts: Iterable[str]) -> Iterator[Entry]:
    """Yields the explanations of the terms that texts name, in the order of the glossary."""
    found = set(_any_term().findall("\n".join(texts).casefold()))
    yield from (entries()[i] for i in sorted({i for term in found for i in _by_term()[term]}))


def draw(entries: Iterable[Entry], rng: random.Random) -> list[str]:
    """Draws at most `MOST` explanations, those of common terms last, each in one of its wordings."""
    known = list(entries)
    rng.shuffle(known)
    return [rng.choice(entry.says) for entry in sorted(known, key=lambda entry: entry.common)[:MOST]]


def spelled(text: str, spelling: str) -> str:
    """Returns a text of British spelling in a spelling, British or American; the names of slots stay."""
    return _british().sub(_in_american, text) if spelling == "American" else text


@cache
def _british() -> re.Pattern[str]:
    """Parts of words that American spelling writes otherwise, and the names of slots, which stay."""
    return re.compile("|".join([r"\{[^}]*\}", *VOCABULARY["american"]]), re.IGNORECASE)


def _in_american(found: re.Match[str]) -> str:
    said = VOCABULARY["american"].get(found[0].lower(), found[0])
    return said.capitalize() if found[0][0].isupper() else said


@kept
def sentences(text: ParsedText) -> list[range]:
    """Returns the parts of a text that are explanations: a sentence, or what follows a semicolon or colon in one, word for
    word; or what an explanation says of its term, also in a clause of its own ('..., which is a gap in the retina'). These are
    reviewed, and say nothing of an image."""
    words, found = text.words, []
    explains = _has_predicate([word for word in words if word not in _MARKS])
    for tokens in text.sentences:
        starts = [tokens.start, *(k + 1 for k in tokens if words[k] in (";", ":"))]
        found += [range(k, tokens.stop) for k in starts if " ".join(words[k : tokens.stop]) in _explanations()][:1]
        found += _predicates_in(words, tokens) if explains else ()
    return found


def _has_predicate(plain: list[str]) -> bool:
    """Whether any three words in a row begin what an explanation says of its term."""
    return not _predicates().keys().isdisjoint(zip(plain, plain[1:], plain[2:], strict=False))


def _predicates_in(words: list[str], tokens: range) -> Iterator[range]:
    """What explanations say of their terms, as it stands in a sentence, with the term's name before it."""
    kept = [k for k in tokens if words[k] not in _MARKS]
    plain = [words[k] for k in kept]
    predicates = _predicates()
    for i, three in enumerate(zip(plain, plain[1:], plain[2:], strict=False)):
        for predicate, name in predicates.get(three, ()):
            if tuple(plain[i : i + len(predicate)]) == predicate:
                # the name belongs to it at the beginning of a sentence or clause: elsewhere it may be said to be present
                starts = (j for j in range(max(0, i - len(name) - 5), i) if tuple(plain[j : j + len(name)]) == name)
                first = next((j for j in starts if j == 0 or kept[j] > kept[j - 1] + 1 or plain[j - 1] in _ARTICLES), i)
                yield range(kept[first], kept[i + len(predicate) - 1] + 1)


@cache
def _explanations() -> frozenset[str]:
    texts = [ParsedText(says) for entry in entries() for says in entry.says]
    return frozenset(" ".join(text.words[k] for k in tokens) for text in texts for tokens in text.sentences)


@cache
def _predicates() -> dict[tuple[str, ...], list[tuple[tuple[str, ...], tuple[str, ...]]]]:
    """First three words of what an explanation says of its term -> all its words, with the term's name."""
    found: dict[tuple[str, ...], list] = {}
    for says in (says for entry in entries() for says in entry.says):
        words = tuple(word for word in tokens_of(says) if word not in _MARKS)
        verb = next((k for k, word in enumerate(words) if word in ("is", "are", "mean", "say", "compare") and k), None)
        if verb is not None and len(words) - verb >= _SHORTEST:
            name = words[1:verb] if words[0] in ("a", "an", "the") else words[:verb]
            for start in (verb, verb + 1):  # also in apposition: a macular hole, a gap in the retina
                if len(words) - start >= _SHORTEST:
                    found.setdefault(words[start : start + 3], []).append((words[start:], name))
    return found


@cache
def _by_term() -> dict[str, list[int]]:
    """The casefolded name of a term, in either spelling -> the places of its explanations in the glossary."""
    found: dict[str, list[int]] = {}
    for place, entry in enumerate(entries()):
        for term in entry.terms:
            for name in dict.fromkeys((term.casefold(), spelled(term.casefold(), "American"))):
                found.setdefault(name, []).append(place)
    return found


@cache
def _any_term() -> re.Pattern[str]:
    """Any term of an explanation in a casefolded text; the longest where several begin."""
    terms = sorted(_by_term(), key=lambda term: (term[0], -len(term)))
    begun = ("|".join(map(re.escape, group)) for _, group in groupby(terms, key=itemgetter(0)))  # faster than one long list
    return re.compile(rf"(?<![\w-])(?:{'|'.join(f'(?:{group})' for group in begun)})(?!\w)")
