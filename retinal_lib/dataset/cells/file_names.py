"""What the names of pictures say by themselves: which eye they show, and whose they are."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from retinal_lib.dataset.cells import values

# the words of which each says by itself, in a name, which eye it is
SIDES = {word: side for word, side in values.sides().items() if " " not in word}
_WORDS = "|".join(sorted(SIDES.keys() - {"l", "r"}, key=len, reverse=True))
_IN_A_NAME = "|".join(word for word in _WORDS.split("|") if word not in values.words()["small eye"])


class Names(NamedTuple):
    """What the names of pictures say: a pattern with the groups patient and eye, or eye alone, what each eye is called, and in
    words; all empty where they do not say which eye it is."""

    pattern: str = ""
    eyes: dict[str, str] = {}
    says: str = ""

    def eye(self, name: str) -> str | None:
        """Returns the eye that a name without its ending says, None where it does not."""
        match = re.search(self.pattern or "(?!)", name, re.IGNORECASE)
        return self.eyes.get((match["eye"] or "").casefold()) if match else None


def read(names: Iterable[str]) -> Names:
    """Returns what the names of pictures, without their endings, say.

    >>> read(["12_left", "12_right", "7_left"]).pattern
    '^(?P<patient>\\\\d+)[_-]*(?P<eye>left|right)$'
    >>> [read(["12_left", "13", "9_right"]).eye(name) for name in ("12_left", "13", "brightness")], read(["1", "2"])
    (['left', None, None], Names(pattern='', eyes={}, says=''))
    >>> [read([f"P{n}_{eye}_2024" for n in (1, 2) for eye in eyes]).says for eyes in (("OD", "OE"), ("D", "E"))]
    ['od: right (2), oe: left (2)', '']
    """
    names = list(names)
    return next((found for read in (_whole, _part) if (found := read(names)).pattern), Names())


def of_pattern(pattern: str, names: Iterable[str]) -> Names:
    """Returns what names say by a pattern, which may have the group eye."""
    found = filter(None, (re.search(pattern, name, re.IGNORECASE) for name in names))
    return _of(pattern, Counter(match["eye"].casefold() for match in found if match.groupdict().get("eye")))


def _whole(names: list[str]) -> Names:
    """The patient and eye, where all names have them and both eyes occur."""
    for eye in (r"left|right", r"od|os", rf"(?<![^\W\d_])(?:{_WORDS})", r"(?<=[\d_-])[lr](?=\d*$)"):
        pattern = re.compile(rf"(?P<patient>.*?)(?P<part>[_-]*)(?P<eye>{eye})(?P<view>\d*(?:[_-]\d+)*)", re.IGNORECASE)
        found = [pattern.fullmatch(name) for name in names]
        seen = Counter(match["eye"].casefold() for match in found if match)
        if not all(found) or len(set(map(SIDES.get, seen))) < 2:
            continue
        patients = {match["patient"] for match in found}
        parts = "[_-]" if any(match["part"] for match in found) else ""
        view = r"\d*(?:[_-]\d+)*" if any(match["view"] for match in found) else ""
        words = [re.fullmatch(r"(\D*)(\d+)", patient) for patient in patients]
        before = {match[1].casefold() for match in words if match}
        patient = rf"{re.escape(before.pop())}(?P<patient>\d+)" if all(words) and len(before) == 1 else "(?P<patient>.+?)"
        optional = f"{parts}*" if parts else ""
        return _of(f"^{patient}{optional}(?P<eye>{'|'.join(sorted(seen))}){view}$", seen)
    return Names()


def _part(names: list[str]) -> Names:
    """The eye alone, a word of some names: left or right; another word where both eyes occur (OD is the optic disc too)."""
    for eye, least in (("left|right", 1), (_IN_A_NAME, 2)):
        word = rf"(?<![^\W_])(?P<eye>{eye})(?![^\W_])"
        found = [{match["eye"].casefold() for match in re.finditer(word, name, re.IGNORECASE)} for name in names]
        seen = Counter(next(iter(of_name)) for of_name in found if of_name)
        if len(set(map(SIDES.get, seen))) >= least and max(map(len, found)) == 1:
            return _of(rf"^(?:.*?{word.replace(eye, '|'.join(sorted(seen)))})?", seen)
    return Names()


def _of(pattern: str, seen: Counter) -> Names:
    says = ", ".join(f"{token}: {SIDES[token]} ({number})" for token, number in sorted(seen.items()))
    return Names(pattern, {token: SIDES[token] for token in sorted(seen)}, says)
