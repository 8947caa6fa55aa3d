"""What is odd about a conversation, in short sentences: its form, and numbers that the hidden facts do not hold."""

import re
from collections.abc import Iterable

from retinal_lib.conversation import Turn

TURNS = {"instruction": (3, 6), "alignment": (1, 1)}
CONSULT_WORDS = 50
_UNIT = r"(?:[µμu]m|mm|px|mmHg)\b"  # may stand right behind its number
_NUMBER = re.compile(rf"[^\w.]([0-9]+(?:\.[0-9]+)?)(?=(?!\w|\.\d)|{_UNIT})")  # in a text that begins with a space
_GOES_ON = re.compile(rf"(?!{_UNIT})\w|\.\d")  # what follows belongs to the same number or word
_ZEROS = re.compile(r"\A\.0+(?!\d)")
_DATA = re.compile(
    r"\b(hidden|the (given|provided) (facts|data|information|description)|csv|spreadsheet|dataset|instructions)\b", re.I
)

_ENDS = (" ", ";", "%")
_WORDS = ("hidden", "the given", "the provided", "csv", "spreadsheet", "dataset", "instructions")  # one of them is in each


def findings(turns: list[Turn], hidden: str, track: str, style: str | None) -> list[str]:
    """What a reader should know before using a conversation; none where all is well. `hidden` is the description."""
    low, high = TURNS[track]
    found = []
    if not low <= len(turns) <= high:
        found.append(f"{len(turns)} turns, expected {low if low == high else f'{low} to {high}'}")
    if style == "consult" and (words := len(turns[0].answer.split())) > CONSULT_WORDS:
        found.append(f"{words} words, expected at most {CONSULT_WORDS}")
    known = _Known(hidden)
    if _clean(turns, known):  # as nearly always: then no turn need be looked at by itself
        return found
    for place, turn in enumerate(turns, start=1):
        found += [f"turn {place}: {n} stands in no hidden fact" for n in numbers([turn.answer]) if n not in known]
        asked = [n for n in numbers([turn.question]) if n in known]
        found += [f"turn {place}: the question names the hidden value {n}" for n in asked]
        said = _DATA.search(f"{turn.question}\n{turn.answer}")
        if said and said[0].casefold() not in hidden.casefold():
            found.append(f"turn {place}: speaks of {said[0].casefold()!r}")
    return found


def _clean(turns: list[Turn], known: "_Known") -> bool:
    """Nothing is odd in any turn."""
    questions, answers = "\n".join(t.question for t in turns), "\n".join(t.answer for t in turns)
    lower = f"{questions}\n{answers}".lower()
    return (
        not any(word in lower for word in _WORDS)
        and all(known.as_written(number) or _plain(number) in known for number in _NUMBER.findall(f" {answers}"))
        and not any(number in known for number in numbers([questions]))
    )


class _Known:
    """The numbers that a text holds. Looked for one by one: a description has hundreds, an answer a few."""

    def __init__(self, text: str):
        self._text = text

    def as_written(self, number: str) -> bool:
        """True where the first place that has these digits has the number by itself: the quick way for most."""
        place = self._text.find(number)
        return place > 0 and self._text[place - 1] == " " and self._text[place + len(number) : place + len(number) + 1] in _ENDS

    def __contains__(self, number: str) -> bool:
        fraction, place, size = "." in number, -1, len(number)
        while (place := self._text.find(number, place + 1)) >= 0:
            rest = self._text[place + size : place + size + 12]
            rest = rest.lstrip("0") if fraction else _ZEROS.sub("", rest)
            before = self._text[place - 1] if place else " "
            if not (before.isalnum() or before in "._") and not _GOES_ON.match(rest):
                return True
        return False


def numbers(texts: Iterable[str]) -> list[str]:
    """The numbers of texts as written, without trailing zeros after the point: 12, 0.4312."""
    return [_plain(number) for text in texts for number in _NUMBER.findall(f" {text}")]


def _plain(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number.lstrip("0") or "0"
