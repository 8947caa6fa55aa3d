"""Free-text answers read for the one thing that was asked: a grade, a side, conditions, boxes, a number.

Each function gives a `Read`: a value, or why there is none: the model abstained (it says that it cannot tell), or its answer
could not be read with certainty. Nothing is guessed: an answer that names two grades names none.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from retinal_lib.check.language import lexicon as vocabulary

ANSWERED, ABSTAINED, UNREADABLE = "answered", "abstained", "unreadable"
Box = tuple[float, float, float, float]


class Read(NamedTuple):
    """What an answer says. `value` is None unless `state` is answered; `why` tells in words why there is none."""

    state: str
    value: object = None
    why: str = ""


_ABSTAINS = re.compile(
    r"\b(?:can(?:not|'t| not)|unable to|not able to|impossible to|not possible to|hard to|difficult to)\s+(?:\w+\s+){0,3}"
    r"(?:tell|say|determine|judge|assess|grade|measure|see|estimate|identify|diagnose|know|provide|give|"
    r"be (?:\w+ )?(?:determined|told|judged|assessed|graded|measured|estimated|known))|"
    r"\b(?:i am|i'm) not (?:sure|certain)|\bnot (?:known|recorded|certain)\b|\bdo(?: not|n't) know|\bunknown\b|"
    r"\bcould be either\b|\binsufficient (?:information|quality)|\bas an ai\b|\bnot enough "
)
_BOTH = re.compile(r"[.!?;\n]+(?=\s|$)|,? \b(?:but|however|although|though|yet|while)\b,?")
_SPELLING = {
    "hemorrhag": "haemorrhag",
    "edema": "oedema",
    "ooedema": "oedema",
    "ischemi": "ischaemi",
    "center": "centre",
    "color": "colour",
    "disk": "disc",
    "tesselat": "tessellat",
    "neovascularization": "neovascularisation",
    "nonproliferative": "non-proliferative",
    "non proliferative": "non-proliferative",
    "cotton-wool": "cotton wool",
    "’": "'",
    "–": "-",
}
_NUMBERS = {w: i for i, w in enumerate("zero one two three four five six seven eight nine ten".split())}
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4}
_NEGATED = re.compile(
    r"\b(?:no|not|without|never|absence of|absent|free of|free from|nor|neither|rather than|instead of|negative for|"
    r"rules? out|ruled out|unlikely|lack of|isn't|doesn't|exclude[sd]?)\b"
)
_AFFIRMED = re.compile(r"\b(?:shows?|has|have|with|there (?:is|are)|i see|presence|present)\b")
_REACH = 40  # letters that a "no" reaches over


@cache
def words() -> dict:
    """The words of evaluation.yaml: the one place where the parser takes its vocabulary from."""
    return yaml.safe_load(Path(__file__).with_name("evaluation.yaml").read_text(encoding="utf-8"))


def plain(text: str) -> str:
    """Lower case, British spelling, without marks of emphasis."""
    text = re.sub(r"[*_`\"“”]", "", text.lower())
    for written, meant in _SPELLING.items():
        text = text.replace(written, meant)
    return re.sub(r"[ \t]+", " ", text).strip()


def clauses(text: str) -> tuple[list[str], bool]:
    """The clauses that say something, and whether others say that it cannot be told."""
    parts = [part.strip() for part in _BOTH.split(plain(text)) if part and part.strip()]
    telling = [part for part in parts if not _ABSTAINS.search(part)]
    return telling, len(telling) < len(parts)


def _settled(values: Iterable[object], abstained: bool, what: str) -> Read:
    found = list(dict.fromkeys(values))
    if len(found) == 1:
        return Read(ANSWERED, found[0])
    if not found:
        return Read(ABSTAINED, why="says that it cannot tell") if abstained else Read(UNREADABLE, why=f"names no {what}")
    return Read(UNREADABLE, why=f"names several: {', '.join(map(str, found))}")


# --- grades --------------------------------------------------------------------------------------------------------------


def grade(text: str, scale: str, levels: Iterable[int]) -> Read:
    """A grade on a scale, by number or by name; number and name must agree."""
    levels = sorted(levels)
    telling, abstained = clauses(text)
    telling = [_without_range(part, levels[-1]) for part in telling]
    whole = " ".join(telling).strip(" .:")
    bare = re.fullmatch(r"(?:the )?(?:answer(?: is)?:? ?)?(?:grade|level|stage)? ?(\d+|[iv]+|\w+)(?: ?/ ?\d+)?", whole)
    if bare and (number := _number(bare[1])) in levels:
        return Read(ANSWERED, number)
    numbers = [n for part in telling for n in _graded(part) if n in levels]
    named = [level for part in telling for level in _named(part, scale)]
    return _settled([*numbers, *named], abstained, "grade")


def _without_range(part: str, top: int) -> str:
    """A clause without what only explains the scale: 0 to 4, out of 4, 0 means no retinopathy."""
    part = re.sub(rf"\(?\b(?:from )?0 ?(?:-|to|through) ?{top}\b\)?", " ", part)
    part = re.sub(r"\bout of \d\b", " ", part)
    if len(set(re.findall(r"\b\d\b", part))) > 1:  # a legend
        part = re.sub(r"\b\d (?:means|stands for|being) [^,;)]*", " ", part)
    return re.sub(r" +", " ", part)


def _graded(part: str) -> list[int]:
    """Numbers that stand as a grade: grade 2, stage II, a grade of 2, level is 2, 2/4, 2 on the scale."""
    found = []
    before = r"\b(?:graded?|stage|level|score|class|category|icdrs?|grading|rating)\b"
    link = (
        r"(?: (?:of|for|in) (?:diabetic retinopathy|retinopathy|dr|this (?:image|eye)|risk of \w+ \w+|[\w ]{1,40}?)| this| it)?"
    )
    for match in re.finditer(
        rf"{before}{link}(?: (?:is|as|at|of|would be|appears to be|:|=))* ?[:=]? ?(\d+|[iv]+\b|{'|'.join(_NUMBERS)})\b", part
    ):
        found += [] if _is_negated(part, match.start(1)) else [_number(match[1])]
    for match in re.finditer(r"\b(\d) ?/ ?\d\b|\b(\d) (?:on|by) the\b|\bis (\d)$|^(\d)(?=[ ,:(-]|$)", part):
        digit = next(group for group in match.groups() if group)
        found += [] if _is_negated(part, match.start()) else [int(digit)]
    return [n for n in found if n is not None]


def _number(word: str) -> int | None:
    return int(word) if word.isdecimal() and len(word) < 4 else _NUMBERS.get(word, _ROMAN.get(word))


def _is_negated(part: str, place: int, listed: bool = False) -> bool:
    """Whether what stands at a place is denied: by a "no" close before it, or, where things are `listed`, by one anywhere
    before it that nothing affirmed follows."""
    if not listed:
        return bool(_NEGATED.search(part[max(0, place - _REACH) : place].rsplit(",", 1)[-1]))
    denied = [match.end() for match in _NEGATED.finditer(part[:place])]
    return bool(denied) and not _AFFIRMED.search(part[denied[-1] : place])


@cache
def _patterns(scale: str) -> list[tuple[int, re.Pattern]]:
    near = r"(?=$|[ -]+(?:\w+[ -]+){0,3}?(?:npdr|non-proliferative|diabetic|retinopathy|dr|stage|grade|form|disease)\b)"
    parts = {"{near}": near, "{not_non}": r"(?<!non-)(?<!non )(?<!pre-)(?<!pre)\b", "{severe}": ""}
    found = []
    for level, patterns in words()["levels"].get(scale, {}).items():
        for pattern in patterns:
            for mark, meant in parts.items():
                pattern = pattern.replace(mark, meant)
            found.append((int(level), re.compile(pattern)))
    return found


def _named(part: str, scale: str) -> list[int]:
    """Levels by name. A name that says no (level 0) is taken as it stands; others count where nothing denies them."""
    found = []
    for level, pattern in _patterns(scale):
        for match in pattern.finditer(part):
            if level == 0 or not _is_negated(part, match.start()):
                found.append(level)
    return found


# --- sides, modalities, quality ------------------------------------------------------------------------------------------


def side(text: str) -> Read:
    """Left or right."""
    telling, abstained = clauses(text)
    names = {
        "left": r"\bleft\b(?! (?:side|of|edge|border|half))|\bos\b",
        "right": r"\bright\b(?! (?:side|of|edge|border|half))|\bod\b",
    }
    return _settled(_present(telling, {value: [pattern] for value, pattern in names.items()}), abstained, "eye")


def modality(text: str) -> Read:
    """One of the modalities of evaluation.yaml."""
    telling, abstained = clauses(text)
    return _settled(_present(telling, words()["modalities"]), abstained, "modality")


def quality(text: str) -> Read:
    """0 good, 1 usable, 2 not gradable. "Cannot be graded" is an answer here."""
    text = plain(text)
    names = {
        2: [
            r"\b(?:not|un) ?-?grad[e]?able",
            r"can(?:not|'t) be graded",
            r"\breject",
            r"\b(?:poor|bad|low|insufficient)\b",
            r"\bunusable",
        ],
        1: [r"(?<!not )(?<!un)\b(?:usable|acceptable|adequate|fair|moderate|medium|average)\b"],
        0: [r"(?<!not )(?<!no )\b(?:good|excellent|high|sharp|clear)\b"],
    }
    found = [value for value, patterns in names.items() if any(re.search(pattern, text) for pattern in patterns)]
    return _settled(found, bool(_ABSTAINS.search(text)), "quality")


def _present(telling: list[str], names: dict[object, list[str]]) -> list[object]:
    found = []
    for value, patterns in names.items():
        for part in telling:
            if any(not _is_negated(part, m.start()) for pattern in patterns for m in re.finditer(pattern, part)):
                found.append(value)
                break
    return found


# --- conditions ----------------------------------------------------------------------------------------------------------


def conditions(text: str, labels: Iterable[str]) -> Read:
    """The labels that an answer affirms, as a tuple; empty where it calls the eye normal."""
    telling, abstained = clauses(text)
    found = tuple(label for label in labels if any(_affirms(part, _names(label)) for part in telling))
    if found:
        return Read(ANSWERED, found)
    if any(re.search(pattern, part) for part in telling for pattern in words()["normal"]):
        return Read(ANSWERED, ())
    if any(pattern.search(part) for part in telling for label in labels for pattern in _names(label)):
        return Read(ANSWERED, ())  # it names labels only to deny them
    return _settled([], abstained, "condition of the list")


def _affirms(part: str, names: tuple[re.Pattern, ...]) -> bool:
    return any(not _is_negated(part, match.start(), True) for pattern in names for match in pattern.finditer(part))


@cache
def _names(label: str) -> tuple[re.Pattern, ...]:
    """How a label is written: as it stands, by its other names here and in the checks' vocabulary, in singular and plural."""
    known = [plain(label), *(plain(name) for name in words()["names"].get(label, []))]
    for condition in vocabulary.conditions(label):
        names = vocabulary.VOCABULARY["conditions"][condition]
        known += [plain(name) for name in names if len(name) > 2 and vocabulary.means_one(name)]
    return tuple(re.compile(rf"\b{re.escape(name.removesuffix('s'))}(?:s|es)?\b") for name in dict.fromkeys(known))


# --- boxes and numbers ---------------------------------------------------------------------------------------------------

_FLOAT = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_FOUR = re.compile(
    rf"[\[(]\s*({_FLOAT})\s*%?\s*[,; ]\s*({_FLOAT})\s*%?\s*[,; ]\s*({_FLOAT})\s*%?\s*[,; ]\s*({_FLOAT})\s*%?\s*[\])]"
)
_LETTERED = re.compile(
    rf"x_?(?:min|1)\s*[:=]\s*({_FLOAT})\W+y_?(?:min|1)\s*[:=]\s*({_FLOAT})\W+x_?(?:max|2)\s*[:=]\s*({_FLOAT})\W+y_?(?:max|2)\s*[:=]\s*({_FLOAT})"
)


def boxes(text: str, size: tuple[int, int] | None = None) -> Read:
    """Boxes as fractions of the image, as a tuple of (x_min, y_min, x_max, y_max); empty where the answer says that there
    are none. Numbers above 1 are percent where the answer says so, else pixels where `size` (width, height) is known."""
    low = text.lower().replace("−", "-")
    found = [
        tuple(float(edge) / (100 if "%" in match[0] else 1) for edge in match.groups())
        for pattern in (_FOUR, _LETTERED)
        for match in pattern.finditer(low)
    ]
    if not found:
        telling, abstained = clauses(text)
        none = [p for p in telling if re.search(r"\b(?:no|none|not|without|absent|absence)\b", p)]
        return Read(ANSWERED, ()) if none else _settled([], abstained, "box")
    if max(max(box) for box in found) > 1:
        scale = (100, 100) if "percent" in low else size
        if scale is None:
            return Read(UNREADABLE, why="gives boxes that are no fractions")
        found = [(box[0] / scale[0], box[1] / scale[1], box[2] / scale[0], box[3] / scale[1]) for box in found]
    right = [box for box in found if 0 <= box[0] < box[2] <= 1.001 and 0 <= box[1] < box[3] <= 1.001]
    if not right:
        return Read(UNREADABLE, why=f"gives {len(found)} boxes, none of which is one")
    return Read(ANSWERED, tuple(dict.fromkeys(right)))


_USUAL = re.compile(
    r"\b(?:normal(?:ly)?|typical(?:ly)?|usual(?:ly)?|reference|average range|ranges? (?:from|between)|healthy)\b"
)
_MICRONS = ("µm", "um", "micron", "microns", "micrometre", "micrometres", "micrometer", "micrometers")
_UNITS = {
    "µm": dict.fromkeys(_MICRONS, 1) | {"mm": 1000},
    "%": {"%": 1, "percent": 1, "per cent": 1},
    "": {"%": 0.01, "percent": 0.01},
    "degrees": {"degrees": 1, "°": 1, "degree": 1},
}


def number(text: str, unit: str = "") -> Read:
    """A measured number in its unit; where an answer has several, the one that follows "is" and the like, or has the unit."""
    text = re.sub(r"\([^()]*\)", lambda aside: "" if _USUAL.search(aside[0].lower()) else aside[0], text.replace("μ", "µ"))
    telling, abstained = clauses(text)
    telling = [part for part in telling if not _USUAL.search(part)] or telling
    units = _UNITS.get(unit, {unit: 1} if unit else {})
    shown = "|".join(re.escape(name) for name in sorted(units, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w.])({_FLOAT})(?![\d.]*\d)\s*({shown or '(?!)'})?(?![a-z])", re.IGNORECASE)
    found = []
    for part in telling:
        for match in pattern.finditer(part):
            led = bool(
                re.search(
                    r"(?:\bis|\bof|\bbe|\babout|\bapproximately|\baround|\broughly|\bat|=|:|~|≈)\s*$", part[: match.start()]
                )
            )
            found.append((float(match[1][:40]) * units.get(match[2] or "", 1), bool(match[2]), led))
    for best in ([f for f in found if f[1] and f[2]], [f for f in found if f[1] or f[2]], found):
        if best:
            return _settled([value for value, _, _ in best], abstained, "number")
    return _settled([], abstained, "number")
