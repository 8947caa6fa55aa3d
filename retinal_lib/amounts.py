"""The numbers of a text: values, ranges, ratios and boxes, with the unit, the bound and the digits that they are said with."""

import re
from typing import NamedTuple

from retinal_lib.vocabulary import Reading, Term

SPELLED = {
    w: n
    for n, w in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
        "nineteen twenty".split()
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "single": 1, "dozen": 12, "half": 0.5}
ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4}
_DASH = re.compile(r"\s*[-–—]\s*")
_STARTS = frozenset("0123456789.[(")


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
    if text._amounts is None:
        text._amounts = _read(text)
    return text._amounts


def _read(text: Reading) -> list[Amount]:
    words, found, done = text.words, [], 0
    places = [i for i, word in enumerate(words) if word[0] in _STARTS or word in SPELLED or word in ROMAN or word in ("a", "twice")]
    places += [t.first for t in text.of("ages") if text.said(t.first, t.last)[-1] == "s"]
    if not places:
        return found
    cues, units = _cues(text)
    decades = {t.first: float(t.values[0]) for t in text.of("ages") if text.said(t.first, t.last)[-1] == "s"}
    taken = {k for t in text.terms if t.last - t.first > 1 and t.kind != "units" for k in range(t.first, t.last)}
    for i in sorted(places):
        if i < done:
            continue
        word = words[i]
        amount = None
        if word in "[(" and len(word) == 1:
            amount = _box(words, i)
        elif i in decades:
            amount = Amount(i, i + 1, i + 1, decades[i], decades[i] + 9, 0.5, True, "years", spelled=True)
        elif word in ROMAN and i and text.said(i, i + 1).isupper() and (words[i - 1] in _LEVEL or _ends_scale(words, i, found)):
            amount = Amount(i, i + 1, i + 1, ROMAN[word], ROMAN[word], 0.0, True)
        elif i in taken and not _is_digit(word) and word != "a":
            pass
        elif _is_digit(word):
            amount = None if _only_orders(text, i) else _digits(text, i, units)
        elif (part := _fraction(words, i)) is not None:
            amount = part
        elif word in SPELLED and _quantifies(text, i):
            value = float(SPELLED[word])
            if value >= 20 and words[i + 1 : i + 2] and 0 < SPELLED.get(words[i + 1], 0) < 10:  # twenty-three
                found.append(_with_cue(Amount(i, i + 2, i + 2, value + SPELLED[words[i + 1]], value + SPELLED[words[i + 1]], 0.0, True, spelled=True), cues, units, words))
                done = i + 2
                continue
            value *= 0.5 if words[max(0, i - 2) : i] == ["half", "a"] else 2 if word == "dozen" and words[i - 1] == "two" else 1
            if words[i + 1 : i + 2] == ["to"] and words[i + 2 : i + 3] and SPELLED.get(words[i + 2], 0) > value:
                found.append(_with_cue(Amount(i, i + 3, i + 3, value, float(SPELLED[words[i + 2]]), 0.0, True, spelled=True), cues, units, words))
                done = i + 3
                continue
            amount = Amount(i, i + 1, i + 1, value, value, 0.05 if value == 0.5 else 0.0, value != 0.5, spelled=True)
        if amount is not None:
            found.append(_with_cue(amount, cues, units, words))
            done = found[-1].last
    return found


def _is_digit(word: str) -> bool:
    return word[0].isdigit() or (word[0] == "." and len(word) > 1)


def _cues(text: Reading) -> tuple[dict[int, tuple], dict[int, Term]]:
    """The cues that end before a token, and the units that begin at one."""
    return {t.last: t.values for t in text.of("cues")}, {t.first: t for t in text.of("units")}


def _digits(text: Reading, i: int, units: dict[int, Term]) -> Amount:
    """The number at token i, and the second end where it begins a range or a ratio."""
    words = text.words
    value, step, whole = _value(words[i])
    j, unit = i + 1, ""
    if j in units and j + 1 < len(words):  # 150 µm to 160 µm
        j, unit = units[j].last, str(units[j].value)
    other = _range_end(text, i, j)
    if other is not None:
        high, high_step, high_whole = _value(words[other])
        if high > value:
            return Amount(i, other + 1, other + 1, value, high, min(step, high_step), whole and high_whole)
    if i + 2 < len(words) and words[i + 1] == ":" and _is_digit(words[i + 2]) and text.starts[i + 2] == text.ends[i + 1]:
        below = _value(words[i + 2])[0]
        return Amount(i, i + 3, i + 3, value / (below or 1), value / (below or 1), 0.05, False, ratio=True)
    return Amount(i, i + 1, i + 1, value, value, step, whole)


def _range_end(text: Reading, i: int, j: int) -> int | None:
    """The token of a range's upper end: 0.4-0.5, 0.4 to 0.5, between 0.4 and 0.5."""
    words = text.words
    if j < len(words) and _is_digit(words[j]) and _DASH.fullmatch(text.text[text.ends[j - 1] : text.starts[j]]):
        return j
    if j + 1 >= len(words) or not _is_digit(words[j + 1]):
        return None
    before = words[max(0, i - 3) : i]
    if words[j] in ("–", "—", "to", "through"):
        return j + 1
    return j + 1 if words[j] == "and" and "between" in before else None


def _value(word: str) -> tuple[float, float, bool]:
    """A number, half its last digit, and whether it is written without a point."""
    plain = word.replace(",", "")
    digits = len(plain.partition(".")[2])
    return float(plain), 0.5 * 10.0**-digits, "." not in plain


def _with_cue(amount: Amount, cues: dict[int, tuple], units: dict[int, Term], words: list[str]) -> Amount:
    """The amount with the unit after it, and with what 'about', 'more than' and their like before it say."""
    unit, last = amount.unit, amount.last
    if last in units:
        unit, last = str(units[last].value), units[last].last
    said = cues.get(amount.first, ()) 
    about, bound = "approx" in said, next((b for b in ("more", "less", "least", "most") if b in said), "")
    if not bound:  # 15 or more, fifteen-plus
        after = words[last : last + 2]
        bound = "least" if after in (["or", "more"], ["or", "greater"]) or after[:1] == ["plus"] else bound
        bound = "most" if after in (["or", "fewer"], ["or", "less"]) else bound
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
    words, after = text.words, text.text[text.ends[i] : text.ends[i] + 2]
    line = not text.text[: text.starts[i]].rpartition("\n")[2].strip(" *#>(-")
    if line and re.match(r"[.):](\s|\*|$)", after) and "." not in words[i]:
        return True
    return bool(re.match(r"(st|nd|rd|th|D)\b", after)) or (i > 0 and words[i - 1] in ("turn", "step", "figure"))


def _fraction(words: list[str], i: int) -> Amount | None:
    """A third, two thirds, three quarters; twice."""
    if words[i] == "twice":
        return Amount(i, i + 1, i + 1, 2.0, 2.0, 0.2, False, spelled=True, ratio=True)
    if words[i + 1 : i + 2] == ["time"] and words[i] in SPELLED:
        value = float(SPELLED[words[i]])
        return Amount(i, i + 2, i + 2, value, value, 0.1 * value, False, spelled=True, ratio=True)
    part = {"third": 1 / 3, "quarter": 0.25}.get(words[i + 1] if i + 1 < len(words) else "")
    times = {"a": 1, "one": 1, "two": 2, "three": 3}.get(words[i])
    if part is None or times is None or words[i + 2 : i + 3] not in (["of"], ["the"], ["as"], [":"], ["."], [","]):
        return None
    return Amount(i, i + 2, i + 2, times * part, times * part, 0.05, False, spelled=True)


def _ends_scale(words: list[str], i: int, found: list[Amount]) -> bool:
    """Whether the Roman numeral at token i is the end of a scale: grade II of IV."""
    return bool(found) and words[found[-1].last : i] in (["of"], ["out", "of"], ["/"])


def _quantifies(text: Reading, i: int) -> bool:
    """Whether a spelled-out number counts something that the facts may count, or is a level."""
    word, words = text.words[i], text.words
    before = words[i - 1] if i else ""
    if words[i + 1 : i + 2] and words[i + 1] in ("largest", "biggest", "smallest", "main", "kind", "measure", "formula"):
        return False
    if word == "dozen" and before not in ("the", "per"):
        return True
    if word not in ("one", "single", "half") and any(0 <= i - t.last < 3 for t in text.of("conditions")):
        return True
    if words[i + 1 : i + 2] == ["to"] and words[i + 2 : i + 3] and words[i + 2] in SPELLED:
        return any(w in _COUNTED for w in words[i + 3 : i + 7]) or any(i < t.first <= i + 5 for t in text.of("conditions"))
    if before in _LEVEL or before in ("aged", "age") or (before == "(" and i > 1 and words[i - 2] in _LEVEL):
        return True
    if word in ("half", "two") and "dozen" in words[i + 1 : i + 3]:
        return False
    if word == "half":  # about half, just over half
        return any(t.last == i and {"approx", "more", "less", "verb"} & set(t.values) for t in text.of("cues")) and bool(text.of("measures"))
    if any(t.first == i + 1 and "years" in t.values for t in text.of("units")):
        return True
    if word in ("one", "single"):  # one of them, one eye, one can see
        after = words[i + 1] if i + 1 < len(words) else ""
        first = next((t for t in text.terms if t.first > i), None)
        return first is not None and first.kind == "conditions" and first.first <= i + 2 and after not in ("of", "can", "or", ":", ",", "-")
    following = words[i + 1 : i + 4]
    stop = next((k for k, w in enumerate(following) if w in (",", ":", ";", ".", "finding")), len(following))
    near = any(t.first <= i + stop for t in text.of("conditions") if i < t.first <= i + 3)
    return near or any(w in _COUNTED for w in following[:stop])


_LEVEL = frozenset("grade stage level category class score".split())
_COUNTED = frozenset("lesion spot box cluster patch area region branch dot line mark crack streak".split())
