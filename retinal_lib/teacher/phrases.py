"""Small tools of grammar for composed sentences."""

import random
import re
from string import Template

_CHOICE = re.compile(r"<([^<>]*\|[^<>]*)>")


class Phrases:
    """Draws phrases, with one random generator, never the same template twice in a row."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self._used: set[str] = set()

    def say(self, templates: list[str], **slots: object) -> str:
        """One of the templates with its alternatives chosen and its slots filled; $Words is $words with a capital."""
        fresh = [t for t in templates if t not in self._used] or templates
        chosen = self.rng.choice(fresh)
        self._used.add(chosen)
        text = chosen
        while _CHOICE.search(text):  # from the inside out
            text = _CHOICE.sub(lambda match: self.rng.choice(match[1].split("|")), text)
        texts = {name: str(value) for name, value in slots.items()}
        texts |= {name.capitalize(): capital(value) for name, value in texts.items()}
        # alternatives may be empty: what that leaves is tidied before the slots are filled, so that no fact is touched
        tidy = re.sub(r" ([,;.?:])", r"\1", re.sub(r" {2,}", " ", text))
        return capital(Template(tidy).substitute(texts).strip())


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """A clause as a sentence."""
    text = text.strip()
    return capital(text) if text.endswith((".", "!", "?")) else capital(text) + "."


def joined(words: list[str], last: str = "and") -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def articled(noun: str) -> str:
    """The noun with an indefinite article, unless it has an article or a negation."""
    if re.match(r"(an?|the|no|one|two|several|some)(?![\w-])", noun, re.IGNORECASE):
        return noun
    # a word in capitals is spelled out: an OCT scan, but a UWF picture
    first = noun[:1]
    vowel = first in "AEFHILMNORSX" if re.match(r"[A-Z]{2,}", noun) else first.casefold() in "aeiou"
    # and some begin with a vowel that is spoken like a consonant: a usable picture, a unilateral finding, a one-sided view
    vowel = vowel and not re.match(r"us[aeu]|uni[^mn]|eu|on(e|ce)\b", noun, re.IGNORECASE)
    return f"{'an' if vowel else 'a'} {noun}"
