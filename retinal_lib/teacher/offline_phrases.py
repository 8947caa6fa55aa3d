"""The offline composer's phrases, and small tools of grammar."""

import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from retinal_lib.display import listed
from retinal_lib.facts import Fact
from retinal_lib.parsing import packaged_yaml

_CHOICE = re.compile(r"<([^<>]*\|[^<>]*)>")
_YES_NO = re.compile(r"(?:is|are|do|does|did|have|has|can)\b(?! a look)")
_SLOT = re.compile(r"\$(\w+)")


@cache
def bank() -> dict:
    """Returns offline.yaml."""
    return packaged_yaml(Path(__file__).parent / "prompts" / "offline.yaml")


@cache
def ways(template: str) -> tuple[str, ...]:
    """Returns every way to say a template, its alternatives taken; $name still stands in them.

    >>> ways("<A|The> cat <|also> sat.")
    ('A cat sat.', 'A cat also sat.', 'The cat sat.', 'The cat also sat.')
    """
    choice = _CHOICE.search(template)
    if choice is None:
        # empty alternatives leave double spaces
        return (re.sub(r" ([,;.?:])", r"\1", re.sub(r" {2,}", " ", template)).strip(),)
    start, end = choice.span()
    return tuple(way for option in choice[1].split("|") for way in ways(f"{template[:start]}{option}{template[end:]}"))


class Topic(NamedTuple):
    """The subject of one turn: the questions that ask for it, each with the word that an answer to it begins with ("", Yes or
    No), the sentences of its answer, and what its questions name."""

    questions: tuple[tuple[str, str], ...]
    answer: tuple[str, ...]
    named: dict[str, str] = {}


@cache
def modest(template: str) -> tuple[str, ...]:
    """Returns the ways to say a template that do not say that all of a picture was seen."""
    return tuple(way for way in ways(template) if not any(words in way for words in bank()["thorough"]))


class Phrases:
    """A random source of phrases; a template is used again only when all of its list were used, and so are the first words of
    an answer's sentence. `thorough`: phrases may say that all of the picture was seen."""

    def __init__(self, rng: random.Random, thorough: bool = True):
        self.rng = rng
        self._ways = ways if thorough else modest
        self._used: set[str] = set()
        self._begun: set[tuple[str, ...]] = set()

    def say(self, name: str, bank_of: str = "answers", **slots: str) -> str:
        """Returns one of the phrases of that name, its slots filled; $Name is $name with a capital letter."""
        templates = [template for template in bank()[bank_of][name] if self._ways(template)]
        unused = [template for template in templates if template not in self._used] or templates
        fresh = [template for template in unused if not _beginnings(self._ways, template) <= self._begun]
        chosen = self.rng.choice(fresh or unused)
        ways_of = self._ways(chosen)
        way = self.rng.choice([way for way in ways_of if _begins(way) not in self._begun] if fresh else ways_of)
        self._used.add(chosen)
        if bank_of == "answers":
            self._begun.add(_begins(way))
        return filled(way, slots)

    def ask(self, name: str, first: bool, **slots: str) -> str:
        """Returns a question, some with an opening; `first`: it opens the conversation."""
        question = self.say(name, "questions", **slots)
        if self.rng.random() < 0.5:
            openings = bank()["openings"]["first" if first else "later"]
            opening = self.rng.choice([o for o in openings if o not in self._used])  # more than a conversation has turns
            self._used.add(opening)
            # an opening that goes on after a comma hides that a question can be answered by yes or no
            if opening.endswith(".") or not _YES_NO.match(question):
                question = f"{opening} {capital(question) if opening.endswith('.') else question}"
        return capital(question)


@cache
def _beginnings(ways_of: Callable[[str], tuple[str, ...]], template: str) -> frozenset[tuple[str, ...]]:
    """How the ways to say a template begin."""
    return frozenset(map(_begins, ways_of(template)))


@cache
def _begins(phrase: str) -> tuple[str, ...]:
    """The first two words of a phrase."""
    return tuple(phrase.casefold().replace(",", "").split()[:2])


def filled(phrase: str, slots: dict[str, str]) -> str:
    """Returns a phrase with its slots filled."""
    if "$" not in phrase:
        return phrase
    return _SLOT.sub(lambda m: slots[m[1]] if m[1] in slots else capital(slots[m[1][0].lower() + m[1][1:]]), phrase)


def capital(text: str) -> str:
    """Returns the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def lowered(text: str) -> str:
    """Returns a sentence as it goes on after a comma: its first letter in lower case, except that of I and of abbreviations."""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text.startswith("A ") else text


def articled(noun: str) -> str:
    """Returns the noun with an indefinite article, unless it has an article or a negation."""
    if re.match(r"(an?|the|no|one|two|several|some)(?![\w-])", noun, re.IGNORECASE):
        return noun
    # abbreviations are read letter by letter: an OCT scan, but a UWF picture
    first = noun[:1]
    vowel = first in "AEFHILMNORSX" if re.match(r"[A-Z]{2,}", noun) else first.casefold() in "aeiou"
    # some vowels are spoken like consonants: a usable picture, a unilateral finding, a one-sided view
    vowel = vowel and not re.match(r"us[aeu]|uni[^mn]|eu|on(e|ce)\b", noun, re.IGNORECASE)
    return f"{'an' if vowel else 'a'} {noun}"


def aged(years: str) -> str:
    """Returns the article before a number of years: an 80-year-old."""
    return "an" if years.startswith("8") or years in ("11", "18") else "a"


def as_signs(words: str) -> str:
    """Returns a denial as one of signs, where no photograph excludes what it denies.

    >>> as_signs("no glaucoma"), as_signs("there is no referable diabetic macular oedema"), as_signs("no drusen")
    ('no sign of glaucoma', 'there is no sign of referable diabetic macular oedema', 'no drusen')
    """
    denial = re.match(r"((?:there is )?no )(?!signs? )(.+)", words)
    return f"{denial[1]}sign of {denial[2]}" if denial and set(bank()["by_signs"]) & set(denial[2].split()) else words


def finding(words: str) -> str:
    """Returns a finding for use within a sentence: without numbers, and with an article where it is countable."""
    words = re.sub(r"\b\d+ ", "", words)
    return articled(words) if words.rpartition(" ")[2] in bank()["countable"] else words


def pictured(words: str) -> dict[str, str]:
    """Returns the kind of picture with its article, and what follows it, without numbers: they are no slots."""
    words = words[:1].lower() + words[1:] if words[1:2].islower() else words
    head, *rest = re.split(r"(?=, |(?<!,) with )", words)
    return {"a": articled(head), "rest": "".join(part for part in rest if not re.search(r"\d", part)) if rest else ""}


def placed(places: list[Fact], count: int) -> tuple[str, str]:
    """Returns the phrase for the places of the lesions of a type, and the place in words."""
    first = places[0]
    if count == 1 or first.value == count:
        return ("place_one" if count == 1 else "place_all"), first.words
    if first.value * 2 > count:
        return "place_most", first.words
    named = [re.fullmatch(r"(.*) (quadrant|quarter) (.*)", fact.words) for fact in places]
    _, kind, frame = named[0].groups()
    if len(places) == 4:
        return "place_every", f"{kind} {frame}"
    return "place_some", f"{listed([name[1] for name in named])} {kind}s {frame}"
