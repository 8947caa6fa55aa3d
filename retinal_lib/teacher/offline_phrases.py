"""The offline composer's phrases, and its sentences about measurements of vessels and optic disc."""

import random
import re
from string import Template

from retinal_lib.dataset import measurements
from retinal_lib.facts import Fact

_CHOICE = re.compile(r"<([^<>]*\|[^<>]*)>")


class Phrases:
    """A random source of phrases; a template is used again only when all of its list were used."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self._used: set[str] = set()

    def say(self, templates: list[str], **slots: object) -> str:
        """Returns one of the templates with alternatives drawn and slots filled; $Words is $words with a capital letter."""
        fresh = [t for t in templates if t not in self._used] or templates
        chosen = self.rng.choice(fresh)
        self._used.add(chosen)
        text = chosen
        while _CHOICE.search(text):  # from the inside out
            text = _CHOICE.sub(lambda match: self.rng.choice(match[1].split("|")), text)
        texts = {name: str(value) for name, value in slots.items()}
        texts |= {name.capitalize(): capital(value) for name, value in texts.items()}
        # empty alternatives leave double spaces: removed before the slots are filled, so that no fact is changed
        template = re.sub(r" ([,;.?:])", r"\1", re.sub(r" {2,}", " ", text))
        return capital(Template(template).substitute(texts).strip())


def capital(text: str) -> str:
    """Returns the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """Returns a clause as a sentence."""
    text = text.strip()
    return capital(text) if text.endswith((".", "!", "?")) else capital(text) + "."


def joined(words: list[str], last: str = "and") -> str:
    """Returns words as a list in a sentence: a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


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


_ZONES = ("", "_zone_b", "_zone_c")
_CALIBRES = ("CRAE", "CRVE", "AVR")
_FORMULAS = ("Hubbard", "Knudtson")
_DISC = (
    ("disc_size", "Disc_height", "Disc_width"),
    ("cup_size", "Cup_height", "Cup_width"),
    ("ratio", "CDR_vertical", "CDR_horizontal"),
)


class Vessels:
    """The sentences about the measurements of one image; values are written as in its description."""

    def __init__(self, facts: tuple[Fact, ...], bank: dict, phrases: Phrases):
        columns = measurements.columns()
        self.known = {f.name: f for f in facts if f.name in columns}
        self.free = [f for f in facts if f.name not in columns]
        self.bank, self.phrases = bank, phrases

    def _value(self, column: str) -> str:
        return measurements.feature(column).say(self.known[column].value)

    def disc(self) -> list[str]:
        """Returns sentences about all measurements of the optic disc and cup."""
        sentences = []
        for template, *columns in _DISC:
            known = [column for column in columns if column in self.known]
            if len(known) == 2:
                a, b = map(self._value, known)
                sentences.append(self.phrases.say(self.bank[template], a=a, b=b))
            else:
                sentences += map(self._single, known)
        return sentences

    def vessels(self, limit: int) -> list[str]:
        """Returns at most `limit` sentences about the vessels, each about another group of measurements, drawn at random."""
        options = [self._list(zone, prefix) for zone in _ZONES for prefix in measurements.SPEC["vessels"]]
        options += [self._pair(zone, measure) for zone in _ZONES for measure in measurements.SPEC["measures"]]
        options += [self._calibres(zone, formula) for zone in _ZONES[1:] for formula in _FORMULAS]
        options += [[column] for column in measurements.SPEC["extra"] if column in self.known]
        options = [option for option in options if option]
        self.phrases.rng.shuffle(options)
        used: set[str] = set()
        sentences = [self.phrases.say(self.bank["recorded"], words=fact.text.rstrip(".")) for fact in self.free]
        for columns in options:
            if len(sentences) < limit and not used & set(columns):
                used |= set(columns)
                sentences.append(self._sentence(columns))
        return sentences

    def _sentence(self, columns: list[str]) -> str:
        first = measurements.feature(columns[0])
        if len(columns) == 1:
            return self._single(columns[0])
        if columns[0].startswith(_CALIBRES):
            parts = [f"{_calibre(column)}{'' if i else ' is'} {self._value(column)}" for i, column in enumerate(columns)]
            formula = next(name for name in _FORMULAS if name in columns[0])
            return self.phrases.say(self.bank["calibre"], where=first.where, formula=f"{formula}'s", list=joined(parts))
        if columns[0].startswith("Artery_") and columns[1].startswith("Vein_"):
            a, b = map(self._value, columns)
            return self.phrases.say(
                self.bank["pair"], where=first.where, measure=first.measure, one=articled(first.measure), a=a, b=b
            )
        parts = [f"{articled(measurements.feature(c).measure)} of {self._value(c)}" for c in columns]
        return self.phrases.say(self.bank["list"], where=first.where, of=first.of, list=joined(parts))

    def _single(self, column: str) -> str:
        return self.phrases.say(self.bank["single"], words=measurements.feature(column).words, value=self._value(column))

    def _list(self, zone: str, prefix: str) -> list[str]:
        columns = [f"{prefix}{m}{zone}" for m in measurements.SPEC["measures"] if f"{prefix}{m}{zone}" in self.known]
        count = min(len(columns), self.phrases.rng.choice((2, 3, 3, 4)))
        chosen = self.phrases.rng.sample(columns, count) if count > 1 else []
        return [column for column in columns if column in chosen]

    def _pair(self, zone: str, measure: str) -> list[str]:
        columns = [f"{prefix}{measure}{zone}" for prefix in ("Artery_", "Vein_")]
        return columns if all(column in self.known for column in columns) else []

    def _calibres(self, zone: str, formula: str) -> list[str]:
        columns = [f"{name}_{formula}{zone}" for name in _CALIBRES]
        measured = [column for column in columns if column in self.known]
        return measured if len(measured) > 1 else []


def _calibre(column: str) -> str:
    return "the " + re.sub(r" by .*", "", measurements.feature(column).measure)
