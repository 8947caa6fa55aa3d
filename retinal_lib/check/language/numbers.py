"""The numbers of a text, in digits and in words: values, ranges, ratios and boxes, with unit, bound and precision."""

import itertools
import re
from functools import lru_cache
from typing import NamedTuple

from retinal_lib.check.language.lexicon import ParsedText, Term, kept, word_lists

WORDS = word_lists("numbers")
SPELLED = WORDS.spelled


class Spelled(NamedTuple):
    """A number in words: its count of tokens, its lower and upper end, half its precision, and its kind."""

    size: int
    low: float
    high: float
    step: float
    whole: bool
    ratio: bool = False


def fraction(words: list[str], i: int) -> Spelled | None:
    """Reads a third, two thirds, three quarters; twice, three times."""
    if words[i] == "twice":
        return Spelled(1, 2.0, 2.0, 0.2, False, True)
    after = words[i + 1] if i + 1 < len(words) else ""
    if after == "time" and words[i] in SPELLED:
        value = float(SPELLED[words[i]])
        return Spelled(2, value, value, 0.1 * value, False, True)
    if after not in WORDS.fractions or words[i] not in WORDS.times or WORDS.after_fraction.isdisjoint(words[i + 2 : i + 3]):
        return None
    value = WORDS.times[words[i]] * WORDS.fractions[after]
    return Spelled(2, value, value, 0.05, False)


def number(words: list[str], i: int) -> Spelled | None:
    """Reads the number in words at token i, of any size, and the second end of two to three; None where it is none.

    >>> number("one thousand eight hundred and twelve".split(), 0).low, number("zero point eight one".split(), 0).low
    (1812.0, 0.81)
    """
    size, value, step = _cardinal(words, i)
    if not size:
        return None
    if size == 1:
        value *= 0.5 if words[max(0, i - 2) : i] == ["half", "a"] else 2 if words[i] == "dozen" and words[i - 1] == "two" else 1
    if words[i + size : i + size + 1] == ["to"]:
        more, high, _ = _cardinal(words, i + size + 1)
        if high > value:
            return Spelled(size + 1 + more, value, high, 0.0, True)
    return Spelled(size, value, value, 0.05 if value == 0.5 else step, step == 0.0 and value != 0.5)


def _cardinal(words: list[str], i: int) -> tuple[int, float, float]:
    """The number in words at token i: its count of tokens (0 where there is none), its value and half its last digit."""
    total = part = last = 0.0  # thousands; what is below; the number of the word before, which a smaller one may follow
    k = i
    while k < len(words):
        word, after = words[k], words[k + 1] if k + 1 < len(words) else ""
        value = 1 if word == "a" and k == i and after in WORDS.powers else SPELLED.get(word)
        if word in WORDS.powers and k > i:
            last = WORDS.powers[word]
            total, part = (total, part * last) if last == 100 else (total + part * last, 0.0)
        elif value is not None and (k == i or 1 <= value < (10 if last < 100 else last)) and (k == i or last >= 20):
            part, last = part + value, value
        elif word == "point" and k > i and SPELLED.get(after, 10) < 10:
            digits = [SPELLED[w] for w in itertools.takewhile(lambda w: SPELLED.get(w, 10) < 10, words[k + 1 :])]
            part += sum(digit / 10**n for n, digit in enumerate(digits, 1))
            return k + 1 + len(digits) - i, total + part, 0.5 * 10.0 ** -len(digits)
        elif not (word == "and" and last >= 100 and SPELLED.get(after, 100) < 100):
            break
        k += 1
    return k - i, float(total + part), 0.0


def quantifies(text: ParsedText, i: int) -> bool:
    """Says whether the number in words at token i counts something that the facts may count, or is a level."""
    words, word = text.words, text.words[i]
    before, after = words[i - 1] if i else "", words[i + 1] if i + 1 < len(words) else ""
    conditions = text.of("conditions")
    size, value, _ = _cardinal(words, i)
    if size > 1:  # fifty-nine, a hundred
        return words[i + size : i + size + 1] != ["of"] or value >= 100
    if after in WORDS.ordered:
        return False
    if word == "dozen" and before not in ("the", "per"):
        return True
    if word not in ("one", "single", "half") and any(0 <= i - t.last < 3 for t in conditions):
        return True
    if after == "to" and i + 2 < len(words) and words[i + 2] in SPELLED:
        return any(w in WORDS.counted for w in words[i + 3 : i + 7]) or any(i < t.first <= i + 5 for t in conditions)
    if before in WORDS.levels or before in ("aged", "age") or (before == "(" and i > 1 and words[i - 2] in WORDS.levels):
        return True
    if word in ("half", "two") and "dozen" in words[i + 1 : i + 3]:
        return False
    if word == "half":
        return _half(text, i)
    if any(t.first == i + 1 for t in text.of("units")) and (word != "one" or after not in ("degree", "pixel")):
        return True
    return _one(text, i, before, after) if word in ("one", "single") else _several(text, i)


def _half(text: ParsedText, i: int) -> bool:
    """Whether a half is of something measured: about half, just over half."""
    led = any(t.last == i and {"about", "more", "less", "verb"} & set(t.values) for t in text.of("cues"))
    return led and bool(text.of("measures"))


def _one(text: ParsedText, i: int, before: str, after: str) -> bool:
    """Whether one is a count: one percent, that one spot, a single haemorrhage; not one of them, one eye, one can see."""
    if after in ("percent", "per") or (before in ("that", "the") and after in WORDS.counted):
        return True
    first = next((t for t in text.terms if t.first > i), None)
    return first is not None and first.kind == "conditions" and first.first <= i + 2 and after not in WORDS.not_counted


def _several(text: ParsedText, i: int) -> bool:
    """Whether what follows a number within its clause is counted."""
    placed = text.words[i + 1 : i + 3] == ["of", "the"] and text.has(
        WORDS.places
    )  # five of the six haemorrhages lie in the ...
    following = text.words[i + 1 : i + (8 if placed else 4)]
    stop = next((k for k, word in enumerate(following) if word in WORDS.pauses), len(following))
    near = any(i < t.first <= i + min(stop, 7 if placed else 3) for t in text.of("conditions"))
    return near or any(word in WORDS.counted for word in following[:stop])


_DASH = re.compile(r"\s*[-–—]\s*")
_STARTS = frozenset("0123456789.[(")
_IN_WORDS = frozenset([*SPELLED, *WORDS.roman, "twice"])
_LIST = re.compile(r"[.):](\s|\*|$)")  # after the number of an item of a list
_ORDINAL = re.compile(r"(st|nd|rd|th|D)\b")
_BOUNDS = ("more", "less", "least", "most")


class Amount(NamedTuple):
    """A number at the tokens `first` to `last` (exclusive), its unit among them; `low` and `high` differ for a range.
    `step` is half the last digit. `edges` are the four numbers of a box. `bound` is more, less or nothing."""

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


@kept
def read(text: ParsedText) -> list[Amount]:
    """Reads the numbers of a text, in order. Numbers that only order (first, 1., Figure 2) are left out."""
    places = _places(text)
    return _Numbers(text).at(places) if places else []


def _places(text: ParsedText) -> list[int]:
    """The tokens that a number may begin at."""
    words = text.words
    places = {i for i, word in enumerate(words) if word[0] in _STARTS or word in _IN_WORDS}
    places |= {t.first for t in text.of("ages") if text.raw(t.first)[-1] == "s"}
    if text.has(WORDS.fractions) or text.has(WORDS.powers):
        parts = {*WORDS.fractions, *WORDS.powers}
        places |= {i for i, word in enumerate(words[:-1]) if word == "a" and words[i + 1] in parts}
    return sorted(places)


class _Numbers:
    """Reads the numbers of one text that has any."""

    def __init__(self, text: ParsedText):
        self.text, self.words = text, text.words
        self.cues = {t.last: t.values for t in text.of("cues")}
        self.units = {t.first: t for t in text.of("units")}
        self.decades = {t.first: float(t.value) for t in text.of("ages") if text.raw(t.first)[-1] == "s"}
        self.rounded = {k for s in text.sentences if _is_round(self.words[s.start : s.stop]) for k in s}
        self.found: list[Amount] = []

    def at(self, places: list[int]) -> list[Amount]:
        """Reads the numbers at these tokens."""
        done = 0
        for i in places:
            if i >= done and (amount := self._amount(i)) is not None:
                against = bool(self.found) and self.found[-1].last == i - 1  # 0.076 over 0.051
                cues = {} if against else self.cues
                amount = _with_cue(amount, cues, self.units, self.words, i in self.rounded)
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
        if word in WORDS.roman and self._is_level(i):
            return Amount(i, i + 1, i + 1, WORDS.roman[word], WORDS.roman[word], 0.0, True)
        if word == "half" and self.words[i + 1 : i + 2] == ["a"] and i + 2 in self.units:
            return Amount(i, i + 2, i + 2, 0.5, 0.5, 0.05, False)  # half a percent
        if (part := fraction(self.words, i)) is not None:
            return _in_words(i, part)
        spelled = number(self.words, i) if word in SPELLED or word == "a" else None
        return _in_words(i, spelled) if spelled and quantifies(self.text, i) else None

    def _is_level(self, i: int) -> bool:
        """Whether a Roman numeral is a level, or the end of a scale: grade II of IV."""
        if not i or not self.text.raw(i).isupper():
            return False
        words, found = self.words, self.found
        return words[i - 1] in WORDS.levels or (bool(found) and words[found[-1].last : i] in (["of"], ["out", "of"], ["/"]))


def _in_words(i: int, number: Spelled) -> Amount:
    last = i + number.size
    long = number.low >= 100 or (number.size > 1 and number.step == 0.5 * 10.0 ** (2 - number.size))  # read as digits are
    step = max(number.step, 0.5) if number.low >= 100 else number.step
    return Amount(i, last, last, number.low, number.high, step, number.whole, spelled=not long, ratio=number.ratio)


def _is_digit(word: str) -> bool:
    return word[0].isdigit() or (word[0] == "." and len(word) > 1)


def _digits(text: ParsedText, i: int, units: dict[int, Term]) -> Amount:
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


def _range_end(text: ParsedText, i: int, j: int) -> int | None:
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


def _with_cue(amount: Amount, cues: dict[int, tuple], units: dict[int, Term], words: list[str], loose: bool) -> Amount:
    """The amount with the unit after it, and with what 'about', 'more than' and their like before it say."""
    unit, last, before = amount.unit, amount.last, cues.get(amount.first, ())
    if last in units:
        unit, last = str(units[last].value), units[last].last
    about, bound = (
        loose or "about" in before or _is_loose(words[last : last + 4]),
        next((b for b in _BOUNDS if b in before), ""),
    )
    if not bound and last < len(words) and words[last] in ("or", "plus"):  # 15 or more, fifteen-plus
        after = " ".join(words[last : last + 2])
        bound = "least" if after in WORDS.at_least or words[last] == "plus" else "most" if after in WORDS.at_most else ""
    if last == amount.last and not about and not bound:
        return amount
    step = amount.step
    if about and not amount.spelled and amount.low and step:
        digits = f"{amount.low / (2 * step):.0f}"  # as written, without the point: about 1.75 may be rounded to a half tenth
        step *= 10.0 ** (len(digits) - len(digits.rstrip("0"))) if amount.whole else 5 if digits.endswith("5") else 1
    return amount._replace(unit=unit, last=last, about=about, bound=bound, step=step)


def _is_round(words: list[str]) -> bool:
    """Whether a sentence says of all its numbers that they are about so: roughly speaking, to the nearest hundred."""
    said = f" {' '.join(words)} "
    return any(f" {phrase} " in said for phrase in WORDS.roundly)


def _is_loose(after: list[str]) -> bool:
    """Whether the words after a number say that it is about so: 1600 µm or so, rounded."""
    return any(" ".join(after[:size]) in WORDS.loosely for size in (1, 2, 3)) or after[1:2] == ["rounded"]


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


def _only_orders(text: ParsedText, i: int) -> bool:
    """Whether the number at token i counts items of a list or names a thing: 1. or (2) at a line's start, 20/20, 3D, 1st."""
    words, end = text.words, text.end(i)
    after = text.text[end : end + 2]
    if "." not in words[i] and _LIST.match(after) and not text.text[: text.starts[i]].rpartition("\n")[2].strip(" *#>(-"):
        return True
    return _ORDINAL.match(after) is not None or (i > 0 and words[i - 1] in WORDS.ordering)
