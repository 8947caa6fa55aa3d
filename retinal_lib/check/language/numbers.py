"""The numbers of a text: values, ranges, ratios and boxes, with the unit, the bound and the digits that they are said with."""

import re
from functools import lru_cache
from typing import NamedTuple

from retinal_lib.check.language.lexicon import Reading, Term
from retinal_lib.check.language.number_words import LEVEL, ROMAN, SPELLED, Spelled, fraction, number, quantifies

_DASH = re.compile(r"\s*[-–—]\s*")
_STARTS = frozenset("0123456789.[(")
_IN_WORDS = frozenset([*SPELLED, *ROMAN, "twice"])
_PARTS = frozenset(["third", "quarter"])
_ORDERING = frozenset(["turn", "step", "figure"])  # a number after one of these counts no thing
_LIST = re.compile(r"[.):](\s|\*|$)")  # after the number of an item of a list
_ORDINAL = re.compile(r"(st|nd|rd|th|D)\b")
_AT_LEAST = (["or", "more"], ["or", "greater"])
_AT_MOST = (["or", "fewer"], ["or", "less"])
_BOUNDS = ("more", "less", "least", "most")


class Amount(NamedTuple):
    """A number as said at the tokens `first` to `last` (exclusive), its unit among them; `low` and `high` differ for a range.
    `step` is half the last digit said. `edges` are the four numbers of a box. `bound` is more, less or nothing."""

    first: int
    last: int
    number: int  # the token after the digits: what follows is the unit
    low: float
    high: float
    step: float
    whole: bool
    unit: str = ""
    bound: str = ""  # more, less, least or most
    about: bool = False
    spelled: bool = False
    edges: tuple[float, ...] = ()
    ratio: bool = False


def read(text: Reading) -> list[Amount]:
    """The numbers of a text, in order. Numbers that only order (first, 1., Figure 2) are none."""
    found = text.kept.get("amounts")
    if found is None:
        places = _places(text)
        found = text.kept["amounts"] = _Numbers(text).at(places) if places else []
    return found


def _places(text: Reading) -> list[int]:
    """The tokens that a number may begin at."""
    words = text.words
    if text.has(_IN_WORDS):
        places = [i for i, word in enumerate(words) if word[0] in _STARTS or word in _IN_WORDS]
    else:
        places = [i for i, word in enumerate(words) if word[0] in _STARTS]
    more = [t.first for t in text.of("ages") if text.said(t.first, t.last)[-1] == "s"]
    if text.has(_PARTS):
        more += [i for i, word in enumerate(words[:-1]) if word == "a" and words[i + 1] in _PARTS]
    return sorted(places + more) if more else places


class _Numbers:
    """Reads the numbers of one text that has any."""

    def __init__(self, text: Reading):
        self.text, self.words = text, text.words
        self.cues = {t.last: t.values for t in text.of("cues")}
        self.units = {t.first: t for t in text.of("units")}
        self.decades = {t.first: float(t.values[0]) for t in text.of("ages") if text.said(t.first, t.last)[-1] == "s"}
        self.found: list[Amount] = []
        self.named: set[int] | None = None  # the tokens of longer names, once they are asked for

    def at(self, places: list[int]) -> list[Amount]:
        """The numbers at these tokens."""
        done = 0
        for i in places:
            if i >= done and (amount := self._amount(i)) is not None:
                amount = _with_cue(amount, self.cues, self.units, self.words)
                self.found.append(amount)
                done = amount.last
        return self.found

    def _amount(self, i: int) -> Amount | None:
        word = self.words[i]
        if word[0].isdigit() or (word[0] == "." and len(word) > 1):
            return None if _only_orders(self.text, i) else _digits(self.text, i, self.units)
        if word in ("[", "("):
            return _box(self.words, i)
        if i in self.decades:
            return Amount(i, i + 1, i + 1, self.decades[i], self.decades[i] + 9, 0.5, True, "years", spelled=True)
        if word in ROMAN and self._is_level(i):
            return Amount(i, i + 1, i + 1, ROMAN[word], ROMAN[word], 0.0, True)
        if word != "a" and self._within_a_name(i):
            return None
        if (part := fraction(self.words, i)) is not None:
            return _in_words(i, part)
        return _in_words(i, number(self.words, i)) if word in SPELLED and quantifies(self.text, i) else None

    def _is_level(self, i: int) -> bool:
        """Whether a Roman numeral is a level, or the end of a scale: grade II of IV."""
        if not i or not self.text.raw(i).isupper():
            return False
        words, found = self.words, self.found
        return words[i - 1] in LEVEL or (bool(found) and words[found[-1].last : i] in (["of"], ["out", "of"], ["/"]))

    def _within_a_name(self, i: int) -> bool:
        """Whether token i is a word of a longer name, such as 'one thing'; units may hold numbers."""
        if self.named is None:
            names = [t for t in self.text.terms if t.last - t.first > 1 and t.kind != "units"]
            self.named = {k for t in names for k in range(t.first, t.last)}
        return i in self.named


def _in_words(i: int, said: Spelled) -> Amount:
    last = i + said.size
    return Amount(i, last, last, said.low, said.high, said.step, said.whole, spelled=True, ratio=said.ratio)


def _is_digit(word: str) -> bool:
    return word[0].isdigit() or (word[0] == "." and len(word) > 1)


def _digits(text: Reading, i: int, units: dict[int, Term]) -> Amount:
    """The number at token i, and the second end where it begins a range or a ratio."""
    words = text.words
    value, step, whole = _value(words[i])
    j = i + 1
    if j in units and j + 1 < len(words):  # 150 µm to 160 µm
        j = units[j].last
    other = _range_end(text, i, j)
    if other is not None:
        high, high_step, high_whole = _value(words[other])
        if high > value:
            return Amount(i, other + 1, other + 1, value, high, min(step, high_step), whole and high_whole)
    if i + 2 < len(words) and words[i + 1] == ":" and _is_digit(words[i + 2]) and text.starts[i + 2] == text.end(i + 1):
        below = _value(words[i + 2])[0]
        return Amount(i, i + 3, i + 3, value / (below or 1), value / (below or 1), 0.05, False, ratio=True)
    return Amount(i, i + 1, i + 1, value, value, step, whole)


def _range_end(text: Reading, i: int, j: int) -> int | None:
    """The token of a range's upper end: 0.4-0.5, 0.4 to 0.5, between 0.4 and 0.5."""
    words = text.words
    if j < len(words) and _is_digit(words[j]) and _DASH.fullmatch(text.text[text.end(j - 1) : text.starts[j]]):
        return j
    if j + 1 >= len(words) or not _is_digit(words[j + 1]):
        return None
    before = words[max(0, i - 3) : i]
    if words[j] in ("–", "—", "to", "through"):
        return j + 1
    return j + 1 if words[j] == "and" and "between" in before else None


@lru_cache(maxsize=16384)
def _value(word: str) -> tuple[float, float, bool]:
    """A number, half its last digit, and whether it is written without a point."""
    plain = word.replace(",", "")
    digits = len(plain.partition(".")[2])
    return float(plain), 0.5 * 10.0**-digits, "." not in plain


def _with_cue(amount: Amount, cues: dict[int, tuple], units: dict[int, Term], words: list[str]) -> Amount:
    """The amount with the unit after it, and with what 'about', 'more than' and their like before it say."""
    unit, last, said = amount.unit, amount.last, cues.get(amount.first, ())
    if last in units:
        unit, last = str(units[last].value), units[last].last
    about, bound = "approx" in said, next((b for b in _BOUNDS if b in said), "") if said else ""
    if not bound and last < len(words) and words[last] in ("or", "plus"):  # 15 or more, fifteen-plus
        after = words[last : last + 2]
        bound = "least" if after in _AT_LEAST or after[0] == "plus" else "most" if after in _AT_MOST else ""
    if last == amount.last and not about and not bound:
        return amount
    step = amount.step
    if amount.whole and about and not amount.spelled:
        text = f"{amount.low:.0f}"
        step = 0.5 * 10.0 ** (len(text) - len(text.rstrip("0")) if amount.low else 0)
    return amount._replace(unit=unit, last=last, about=about, bound=bound, step=step)


def _box(words: list[str], i: int) -> Amount | None:
    """Four numbers in brackets."""
    part = words[i : i + 9]
    if len(part) < 9 or part[2] != "," or part[4] != "," or part[6] != "," or part[8] not in "])":
        return None
    if not all(_is_digit(part[k]) for k in (1, 3, 5, 7)):
        return None
    edges = tuple(_value(part[k])[0] for k in (1, 3, 5, 7))
    step = max(_value(part[k])[1] for k in (1, 3, 5, 7))
    return Amount(i, i + 9, i + 9, edges[0], edges[0], step, False, edges=edges)


def _only_orders(text: Reading, i: int) -> bool:
    """Whether the number at token i counts items of a list or names a thing: 1. or (2) at a line's start, 20/20, 3D, 1st."""
    words, end = text.words, text.end(i)
    after = text.text[end : end + 2]
    if "." not in words[i] and _LIST.match(after) and not text.text[: text.starts[i]].rpartition("\n")[2].strip(" *#>(-"):
        return True
    return _ORDINAL.match(after) is not None or (i > 0 and words[i - 1] in _ORDERING)
