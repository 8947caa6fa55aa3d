"""Fills the slots of an answer, and takes out its marks.

`{v1}` and `{l2.count}` are slots; `[d1]` and `[d1, q1]` are marks: a sentence that rests on a fact without showing a value ends
in one. `{g1}` is the slot of an explanation, a sentence of its own. A filled answer knows what each of its places rests on.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from retinal_lib.slots.sheet import SPEC, FactSheet, Line, Slot

_NAME = r"[a-z]\d{1,3}(?:\.[a-z]+\d*)?"
_SLOT = re.compile(rf"(?<!\{{)\{{+\s*({_NAME})\s*\}}+", re.IGNORECASE)
_MARK = re.compile(rf"(?<![ \t])[ \t]*\[\s*\{{?({_NAME}\}}?(?:\s*[,;&]\s*(?:and\s+)?\{{?{_NAME}\}}?)*)\s*\]", re.IGNORECASE)
_EITHER = re.compile(rf"{_MARK.pattern}|{_SLOT.pattern}", re.IGNORECASE)
_NAMES = re.compile(_NAME)
_WORD_ENDS = re.compile(r"\W+")
_AFTER_EXPLANATION = re.compile(r"\s*[.;]?(?=\s|\)|$)")
_BRACES = re.compile(r"\{[^{}\n]{0,40}\}?|\}")
_ENDS = re.compile(r"(?:^|[.!?:\n])[\s\"'“(*-]*$")
_EXPLAINS = "an explanation is written as its slot, {{{}}}, in a sentence of its own, and in no other words"


class Anchor(NamedTuple):
    """A place of a filled answer that rests on a line: the value at text[start:end], or for a mark (slot None) the sentence
    that holds the character at `start`."""

    start: int
    end: int
    line: Line
    slot: Slot | None = None


class Problem(NamedTuple):
    """A slot or mark that cannot be filled: where it stands in the filled text, and why."""

    start: int
    end: int
    text: str


class Filled(NamedTuple):
    """An answer with its values: its text, what its places rest on (in order), and what could not be filled."""

    text: str
    anchors: tuple[Anchor, ...]
    problems: tuple[Problem, ...] = ()


def is_slotted(answers: Iterable[str]) -> bool:
    """Says whether any answer has a slot or a mark.

    >>> is_slotted(["The left eye [i2].", "Good."]), is_slotted(["The ratio is 0.38 [0.1, 0.2, 0.3, 0.4]."])
    (True, False)
    """
    return any(_EITHER.search(answer) for answer in answers)


def fill(answer: str, sheet: FactSheet) -> Filled:
    """Returns an answer with the values of its slots and without its marks."""
    filler = _Filler(sheet)
    at = 0
    for match in _EITHER.finditer(answer):
        filler.add(answer[at : match.start()])
        if match[1]:
            filler.mark(match[1])
            at = match.end()
        else:
            at = filler.slot(match[2].lower(), answer, match.end())
    filler.add(answer[at:])
    return filler.filled()


class _Filler:
    """The filled text so far, in parts; `size` is their length."""

    def __init__(self, sheet: FactSheet) -> None:
        self.sheet, self.parts, self.size = sheet, [], 0
        self.anchors: list[Anchor] = []
        self.problems: list[Problem] = []

    def add(self, text: str) -> None:
        """Adds words of the answer."""
        if self.parts and self.parts[-1][-1:] in " \n" and text[:1] == " ":
            text = text[1:]
        if text:
            for found in _BRACES.finditer(text):
                says = f"{found[0]!r} is no slot; known: {', '.join(self.sheet.slots) or 'none'}"
                self.problems.append(Problem(self.size + found.start(), self.size + found.end(), says))
            self.parts.append(text)
            self.size += len(text)

    def mark(self, names: str) -> None:
        """Takes a mark for the sentence that ends here."""
        last = "".join(self.parts[-3:])
        place = max(0, self.size - (len(last) - len(last.rstrip())) - 1)
        for name in _NAMES.findall(names.lower()):
            line = self.sheet.by_id.get(name.partition(".")[0])
            if line is None:
                says = f"[{name}] names no line of the facts; known: {', '.join(self.sheet.by_id)}"
                self.problems.append(Problem(place, place + 1, says))
            elif line in self.sheet.explained:
                self.problems.append(Problem(place, place + 1, _EXPLAINS.format(name)))
            else:
                self.anchors.append(Anchor(place, place, line))

    def slot(self, name: str, answer: str, end: int) -> int:
        """Writes the value of a slot; returns where the answer goes on."""
        line, slot = self.sheet.slots.get(name, (None, None))
        if slot is None:
            line = self.sheet.by_id.get(name)
            if line in self.sheet.explained:
                return self._explanation(line, answer, end)
            if line and len(line.slots) == 1:
                slot = line.slots[0]
            elif line and not line.slots:  # a mark in the form of a slot
                self.mark(name)
                return end
        if slot is None:
            known = [s.name for s in line.slots] if line else list(self.sheet.slots)
            written = f"{{{name}}}"
            self.problems.append(
                Problem(self.size, self.size + len(written), f"{written} is no slot of the facts; known: {', '.join(known)}")
            )
            self.add_value(written)
            return end
        self._value(line, slot)
        after = answer[end : end + 20]
        if not any(pattern.match(after) for _, pattern in _units()):
            return end
        if unit := _other_unit(slot.text, after):
            says = f"{unit!r} is written after {{{slot.name}}}, which reads {slot.text!r}"
            self.problems.append(Problem(self.size - len(slot.text), self.size, says))
        return end + _repeated_unit(slot.text, after)

    def _value(self, line: Line, slot: Slot) -> None:
        before, text = "".join(self.parts[-3:]), slot.text
        word, _, rest = text.partition(" ")
        if word in SPEC["approximate"] and _WORD_ENDS.split(before.rstrip().lower())[-1] in SPEC["approximate"]:
            text = rest  # 'about' is there already
        if text.startswith("[") and before.endswith("["):
            text = text[1:]
        if text[:1].isalpha() and text[:1].islower() and (not before or _ENDS.search(before)):
            text = text[0].upper() + text[1:]
        self.anchors.append(Anchor(self.size, self.size + len(text), line, slot))
        self.add_value(text)

    def _explanation(self, line: Line, answer: str, end: int) -> int:
        """Writes an explanation, which is a sentence of its own; returns where the answer goes on."""
        before, after = "".join(self.parts[-3:]), _AFTER_EXPLANATION.match(answer[end:])
        if not _ENDS.search(before) or not after:
            self.problems.append(Problem(self.size, self.size + len(line.text), _EXPLAINS.format(line.id)))
        self.add_value(line.text)
        return end + (len(after[0]) if after else 0)

    def add_value(self, text: str) -> None:
        """Adds the text of a slot."""
        self.parts.append(text)
        self.size += len(text)

    def filled(self) -> Filled:
        """Returns what was filled."""
        return Filled("".join(self.parts).rstrip(), tuple(self.anchors), tuple(self.problems))


@cache
def _units() -> tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]:
    """The spellings of each unit, with a pattern of one that follows a slot."""
    more = {"µm": ("um", "μm", "micrometers", "micron"), "%": ("per cent",), "degrees": ("degree",)}
    kinds = [(*spellings, *more[unit]) for unit, spellings in SPEC["units"].items()]
    kinds += [("disc diameters", "disc diameter"), ("]",)]
    patterns = ("|".join(map(re.escape, sorted(set(kind), key=len, reverse=True))) for kind in kinds)
    return tuple((kind, re.compile(rf"\s*(?:{any_of})(?!\w)")) for kind, any_of in zip(kinds, patterns, strict=True))


def _repeated_unit(value: str, after: str) -> int:
    """How many characters after a slot repeat its unit: a teacher writes '{v1} µm' though v1 reads '47 µm'."""
    found = next((pattern.match(after) for spellings, pattern in _units() if value.endswith(spellings)), None)
    return found.end() if found else 0


def _other_unit(value: str, after: str) -> str:
    """The unit that is written after a slot that has another one, or none: {v4} per cent, of 0.116."""
    found = (pattern.match(after) for spellings, pattern in _units() if not value.endswith(spellings) and "]" not in spellings)
    return next((match[0].strip() for match in found if match), "")
