"""Numbers in words: which there are, and when one counts something or is a level rather than a manner of speaking."""

from typing import NamedTuple

from retinal_lib.check.language.lexicon import Reading

SPELLED = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen twenty".split()
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "single": 1, "dozen": 12, "half": 0.5}
ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4}
LEVEL = frozenset("grade stage level category class score".split())  # a number after one of these is a level of a scale
# what lesions are called when they are counted
_COUNTED = frozenset("lesion spot box cluster patch area region branch dot line mark crack streak".split())
_ORDERED = frozenset("eye largest biggest smallest main kind measure formula".split())  # two of these count no lesions
_PAUSES = frozenset([",", ":", ";", ".", "finding"])
_NOT_COUNTED = frozenset(["of", "can", "or", ":", ",", "-"])  # one of them, one can see
_PARTS = {"third": 1 / 3, "quarter": 0.25}
_TIMES = {"a": 1, "one": 1, "two": 2, "three": 3}
_AFTER_PART = ("of", "the", "as", ":", ".", ",")


class Spelled(NamedTuple):
    """A number in words: how many tokens it takes, its ends, its half step, and what kind of number it is."""

    size: int
    low: float
    high: float
    step: float
    whole: bool
    ratio: bool = False


def fraction(words: list[str], i: int) -> Spelled | None:
    """A third, two thirds, three quarters; twice, three times."""
    if words[i] == "twice":
        return Spelled(1, 2.0, 2.0, 0.2, False, True)
    after = words[i + 1] if i + 1 < len(words) else ""
    if after == "time" and words[i] in SPELLED:
        value = float(SPELLED[words[i]])
        return Spelled(2, value, value, 0.1 * value, False, True)
    if after not in _PARTS or words[i] not in _TIMES or i + 2 >= len(words) or words[i + 2] not in _AFTER_PART:
        return None
    value = _TIMES[words[i]] * _PARTS[after]
    return Spelled(2, value, value, 0.05, False)


def number(words: list[str], i: int) -> Spelled:
    """The number in words at token i, with the second word of twenty-three and the second end of two to three."""
    value, after = float(SPELLED[words[i]]), words[i + 1] if i + 1 < len(words) else ""
    if value >= 20 and 0 < SPELLED.get(after, 0) < 10:
        return Spelled(2, value + SPELLED[after], value + SPELLED[after], 0.0, True)
    value *= 0.5 if words[max(0, i - 2) : i] == ["half", "a"] else 2 if words[i] == "dozen" and words[i - 1] == "two" else 1
    if after == "to" and i + 2 < len(words) and SPELLED.get(words[i + 2], 0) > value:
        return Spelled(3, value, float(SPELLED[words[i + 2]]), 0.0, True)
    return Spelled(1, value, value, 0.05 if value == 0.5 else 0.0, value != 0.5)


def quantifies(text: Reading, i: int) -> bool:
    """Whether the number in words at token i counts something that the facts may count, or is a level."""
    words, word = text.words, text.words[i]
    before, after = words[i - 1] if i else "", words[i + 1] if i + 1 < len(words) else ""
    conditions = text.of("conditions")
    if SPELLED[word] >= 20 and 0 < SPELLED.get(after, 0) < 10:
        return quantifies(text, i + 1)  # fifty-nine
    if after in _ORDERED:
        return False
    if word == "dozen" and before not in ("the", "per"):
        return True
    if word not in ("one", "single", "half") and any(0 <= i - t.last < 3 for t in conditions):
        return True
    if after == "to" and i + 2 < len(words) and words[i + 2] in SPELLED:
        return any(w in _COUNTED for w in words[i + 3 : i + 7]) or any(i < t.first <= i + 5 for t in conditions)
    if before in LEVEL or before in ("aged", "age") or (before == "(" and i > 1 and words[i - 2] in LEVEL):
        return True
    if word in ("half", "two") and "dozen" in words[i + 1 : i + 3]:
        return False
    if word == "half":
        return _half(text, i)
    if any(t.first == i + 1 for t in text.of("units")) and (word != "one" or after not in ("degree", "pixel")):
        return True
    return _one(text, i, before, after) if word in ("one", "single") else _several(text, i)


def _half(text: Reading, i: int) -> bool:
    """Whether a half is of something measured: about half, just over half."""
    led = any(t.last == i and {"approx", "more", "less", "verb"} & set(t.values) for t in text.of("cues"))
    return led and bool(text.of("measures"))


def _one(text: Reading, i: int, before: str, after: str) -> bool:
    """Whether one is a count: one percent, that one spot, a single haemorrhage; not one of them, one eye, one can see."""
    if after in ("percent", "per") or (before in ("that", "the") and after in _COUNTED):
        return True
    first = next((t for t in text.terms if t.first > i), None)
    return first is not None and first.kind == "conditions" and first.first <= i + 2 and after not in _NOT_COUNTED


def _several(text: Reading, i: int) -> bool:
    """Whether what follows a number within its clause is counted."""
    following = text.words[i + 1 : i + 4]
    stop = next((k for k, word in enumerate(following) if word in _PAUSES), len(following))
    near = any(i < t.first <= i + min(stop, 3) for t in text.of("conditions"))
    return near or any(word in _COUNTED for word in following[:stop])
