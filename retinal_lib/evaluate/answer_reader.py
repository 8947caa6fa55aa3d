"""Parsers of free-text answers, one for each kind of question: a grade, a side, conditions, boxes, a number.

Each function gives a `Read`: a value, or why there is none: the model abstained (it says that it cannot tell), or its answer
could not be read with certainty: an answer that names two grades has no grade.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from retinal_lib.check.image_and_person import sides
from retinal_lib.check.language import lexicon, numbers
from retinal_lib.check.language.lexicon import VOCABULARY, ParsedText, Term, family, implied
from retinal_lib.check.language.negation import AFFIRMED, NEGATED, mentions, polarity
from retinal_lib.check.language.statements import is_of_part
from retinal_lib.check.quantity_index import UNITS
from retinal_lib.parsing import packaged_yaml

ANSWERED, ABSTAINED, UNREADABLE = "answered", "abstained", "unreadable"
Box = tuple[float, float, float, float]


class ParsedAnswer(NamedTuple):
    """The value in an answer. `value` is None unless `state` is answered; `why` is then the reason, in words."""

    state: str
    value: object = None
    why: str = ""


_ABSTAINS = re.compile(
    r"\b(?:can(?:not|'t| not)|unable to|not able to|impossible to|not possible to|hard to|difficult to)\s+(?:\w+\s+){0,3}"
    r"(?:tell|say|determine|judge|assess|grade|measure|see|estimate|identify|diagnose|know|provide|give|"
    r"be (?:\w+ )?(?:determined|told|judged|assessed|graded|measured|estimated|known))|"
    r"\b(?:i am|i'm) not (?:sure|certain)|\bnot (?:known|recorded|certain)\b|\bdo(?: not|n't) know|\bunknown\b|"
    r"\bcould be either\b|\binsufficient (?:information|quality)|\bas an ai\b|\bnot enough ",
    re.IGNORECASE,
)
_CLAUSES = re.compile(r"(?<![.!?;\n])[.!?;\n]+(?=\s|$)|,? \b(?:but|however|although|though|yet|while)\b,?", re.IGNORECASE)


@cache
def words() -> dict:
    """Reads evaluation.yaml: questions, and names in answers that the checks' vocabulary does not have."""
    return packaged_yaml(Path(__file__).with_name("evaluation.yaml"))


def _clauses(text: str) -> tuple[list[ParsedText], bool]:
    """The clauses that state something, and whether other clauses say that the writer cannot tell."""
    text = re.sub(r"\b(?:rather than|instead of)\b", "not", text.replace("’", "'"), flags=re.IGNORECASE)
    parts = [part.strip() for part in _CLAUSES.split(text) if part.strip(" *#")]
    statements = [ParsedText(part) for part in parts if not _ABSTAINS.search(part)]
    return statements, len(statements) < len(parts)


def _single(values: Iterable[object], abstained: bool, what: str) -> ParsedAnswer:
    found = list(dict.fromkeys(values))
    if len(found) == 1:
        return ParsedAnswer(ANSWERED, found[0])
    if not found:
        if abstained:
            return ParsedAnswer(ABSTAINED, why="says that it cannot tell")
        return ParsedAnswer(UNREADABLE, why=f"names no {what}")
    return ParsedAnswer(UNREADABLE, why=f"names several: {', '.join(map(str, found))}")


def _is_negated(clause: ParsedText, term: Term) -> bool:
    """Whether a term is negated by words after it, or before it since the last comma."""
    if clause.words[term.first - 1 : term.first] == ["not"]:
        return True
    comma = max((k for k in range(term.first) if clause.words[k] == ","), default=-1)
    return polarity(clause, term, term.first - comma - 1) == NEGATED


def _named_at(clause: ParsedText, name: str) -> list[Term]:
    """The places where a clause has a name, in any spelling, in singular or plural."""
    tokens = lexicon.tokens(name)
    starts = [k for k in range(len(clause.words)) if tuple(clause.words[k : k + len(tokens)]) == tokens]
    return [Term(k, k + len(tokens)) for k in starts]


def _stated(clause: ParsedText, names: Iterable[str]) -> list[Term]:
    """The places where a clause has one of these names and does not negate it."""
    return [term for name in names for term in _named_at(clause, name) if not _is_negated(clause, term)]


# --- grades --------------------------------------------------------------------------------------------------------------

_LEVEL = r"\b(?:graded?|stage|level|score|class|category|icdrs?|grading|rating)\b"
_LINK = (
    r"(?: (?:of|for|in) (?:diabetic retinopathy|retinopathy|dr|this (?:image|eye)|risk of \w+ \w+|[\w ]{1,40}?)| this| it)?"
    r"(?: (?:is|as|at|of|would be|appears? to be|:|=))* "
)
_BARE = r"\b(\d) / \d\b|\b(\d) (?:on|by) the\b|\bis (\d)$|^(\d)(?= [,:(]| \w|$)"


def grade(text: str, scale: str, levels: Iterable[int]) -> ParsedAnswer:
    """Reads a grade on a scale, by number or by name; number and name must agree."""
    levels = sorted(levels)
    statements, abstained = _clauses(text)
    whole = " ".join(word for clause in statements for word in clause.words).strip(" .:")
    bare = re.fullmatch(r"(?:the )?(?:answer(?: is)?:? ?)?(?:grade|level|stage)? ?(\d+|[ivIV]+|\w+)(?: ?/ ?\d+)?", whole)
    if bare and (number := _number(bare[1])) in levels:
        return ParsedAnswer(ANSWERED, number)
    found: list[int] = []
    for clause in statements:
        numbered = [n for n in _numbered(clause, levels[-1]) if n in levels]
        found += numbered + _named(clause, scale, bool(numbered))
    return _single(found, abstained, "grade")


def _numbered(clause: ParsedText, top: int) -> list[int]:
    """Numbers that are grades: grade 2, stage II, a grade of 2, level is 2, 2/4, 2 on the scale."""
    text = " ".join(clause.words).lower()
    text = re.sub(rf"\b0 (?:to|through|–|—)? ?{top}\b|\bout of \d\b", lambda m: "_ " * m[0].count(" ") + "_", text)
    if len(set(re.findall(r"\b\d\b", text))) > 1:  # a legend
        text = re.sub(r"\b\d (?:mean|stand for|being) [^,;)]*", lambda m: "_ " * m[0].count(" ") + "_", text)
    spelled = "|".join(word for word, value in numbers.SPELLED.items() if value == int(value))
    found = []
    for match in (*re.finditer(rf"{_LEVEL}{_LINK}(\d+|[iv]+|{spelled})\b", text), *re.finditer(_BARE, text)):
        group = next(k for k, held in enumerate(match.groups(), 1) if held)
        at = text[: match.start(group)].count(" ")
        if not _is_negated(clause, Term(at, at + 1)):
            found.append(_number(match[group]))
    return [n for n in found if n is not None]


def _number(word: str) -> int | None:
    if word.isdecimal() and len(word) < 4:
        return int(word)
    return numbers.WORDS.roman.get(word.lower(), numbers.SPELLED.get(word.lower()))


def _named(clause: ParsedText, scale: str, numbered: bool) -> list[int]:
    """Levels by name: by a condition that this level alone has, by how severe retinopathy is, by the words of
    evaluation.yaml; level 0 by a negation of what is graded, or by normality."""
    found: list[int] = []
    graded = VOCABULARY["levels"][scale][0]["absent"][0]
    marks = {condition: level for condition, level in _marks(scale).items() if not (numbered and condition == graded)}
    subjects = {c for c in (graded, *VOCABULARY["subjects"][scale]) if graded not in implied(c)}
    for mention in mentions(clause):
        if mention.polarity == NEGATED:
            found += [0] if subjects.intersection(mention.conditions) else []
        elif clause.words[mention.term.first - 1 : mention.term.first] != ["pre"]:
            found += [marks[c] for c in mention.conditions if c in marks]
    found += [0 for _ in _normal(clause)]
    if scale == "ICDR":
        found += [int(t.value) for t in clause.of("severity") if len(t.values) == 1 and _is_of_retinopathy(clause, t)]
    for level, names in words()["levels"].get(scale, {}).items():
        found += [int(level) for _ in _stated(clause, names)]
    return found


@cache
def _marks(scale: str) -> dict[str, int]:
    """The conditions that one level of a scale has and no other."""
    levels = VOCABULARY["levels"][scale]
    held = [c for says in levels.values() for status in ("present", "possible") for c in says.get(status, ())]
    return {c: level for level, says in levels.items() for c in says.get("present", ()) if held.count(c) == 1}


def _is_of_retinopathy(clause: ParsedText, term: Term) -> bool:
    """Whether a word of severity describes diabetic retinopathy, or nothing else, and is not negated."""
    if _is_negated(clause, term):
        return False
    after = [t for t in clause.of("conditions") if 0 <= t.first - term.last <= 3]
    if after:
        return "diabetic_retinopathy" in family(after[0])
    return {".", ",", "stage", "grade", "form", "disease", "non"}.issuperset(clause.words[term.last : term.last + 1])


def _normal(clause: ParsedText) -> list[Term]:
    """The words that call the eye as a whole normal, or free of disease."""
    normal = [t for t in clause.of("normal") if polarity(clause, t) == AFFIRMED]
    normal += [t for t in clause.of("disorder") if polarity(clause, t) == NEGATED]
    return [t for t in normal if not is_of_part(clause, t, clause.sentence(t))]


# --- sides, modalities, quality ------------------------------------------------------------------------------------------


def side(text: str) -> ParsedAnswer:
    """Reads which eye an answer names: left or right."""
    statements, abstained = _clauses(text)
    named = [name for clause in statements for name, term in sides(clause, asked=True) if not _is_negated(clause, term)]
    return _single(named, abstained, "eye")


def modality(text: str) -> ParsedAnswer:
    """Reads one of the modalities of the checks' vocabulary."""
    statements, abstained = _clauses(text)
    found = [t.value for clause in statements for t in clause.of("modalities") if not _is_negated(clause, t)]
    found += ["fundus" for clause in statements if _stated(clause, ["fundus"])]
    return _single(found, abstained, "modality")


def quality(text: str) -> ParsedAnswer:
    """Reads 0 good, 1 usable, 2 not gradable. "Cannot be graded" is an answer here."""
    reading = ParsedText(text.replace("’", "'"))
    found = [int(level) for level, names in words()["quality_words"].items() if _stated(reading, names)]
    if re.search(r"\b(?:not|cannot be|can't be|can not be) (?:gradable|graded)\b", " ".join(reading.words)):
        found.append(2)
    return _single(found, bool(_ABSTAINS.search(text)), "quality")


# --- conditions ----------------------------------------------------------------------------------------------------------


def conditions(text: str, labels: Iterable[str]) -> ParsedAnswer:
    """Reads the labels that an answer affirms, as a tuple; empty where it calls the eye normal.

    >>> conditions("Signs of BRVO, but no drusen.", ["drusen", "branch retinal vein occlusion"]).value
    ('branch retinal vein occlusion',)
    """
    statements, abstained = _clauses(text)
    named = {label: [negated for clause in statements for negated in _negations(clause, label)] for label in labels}
    if found := tuple(label for label, negated in named.items() if False in negated):
        return ParsedAnswer(ANSWERED, found)
    if any(named.values()) or any(_normal(clause) for clause in statements):
        return ParsedAnswer(ANSWERED, ())  # it calls the eye normal, or names labels only to negate them
    return _single([], abstained, "condition of the list")


def _negations(clause: ParsedText, label: str) -> list[bool]:
    """Whether a label is negated, for each time that a clause names it by any of its names or affirms a form of it: an eye with
    diabetic retinopathy has diabetes too. A negated form says nothing of the label."""
    names = (label, *words()["names"].get(label, ()))
    texts = [lexicon.read(name) for name in names]
    meanings = {term.values for text in texts for term in text.of("conditions")}
    whole = {term.values for text in texts for term in text.of("conditions") if term.last - term.first == len(text.words)}
    negations = [polarity(clause, term) == NEGATED for name in names for term in _named_at(clause, name)]
    for mention in mentions(clause):
        parents = frozenset.intersection(*(implied(condition) for condition in mention.conditions))
        if mention.conditions in meanings:
            negations.append(mention.polarity == NEGATED)
        elif mention.polarity == AFFIRMED and label not in words()["apart"] and any((parent,) in whole for parent in parents):
            negations.append(False)
    return negations


# --- boxes and numbers ---------------------------------------------------------------------------------------------------

_FLOAT = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_FOUR = re.compile(
    rf"[\[(]\s*({_FLOAT})\s*%?\s*[,; ]\s*({_FLOAT})\s*%?\s*[,; ]\s*({_FLOAT})\s*%?\s*[,; ]\s*({_FLOAT})\s*%?\s*[\])]"
)
_LETTERED = re.compile(
    rf"x_?(?:min|1)\s*[:=]\s*({_FLOAT})\W+y_?(?:min|1)\s*[:=]\s*({_FLOAT})\W+x_?(?:max|2)\s*[:=]\s*({_FLOAT})\W+y_?(?:max|2)\s*[:=]\s*({_FLOAT})"
)


_NONE = ("no", "none", "not", "without", "absent", "absence")


def boxes(text: str, size: tuple[int, int] | None = None) -> ParsedAnswer:
    """Reads boxes as fractions of the image, as a tuple of (x_min, y_min, x_max, y_max); empty where the answer says that there
    are none. Numbers above 1 are percent where the answer says so, else pixels where `size` (width, height) is known."""
    low = text.lower().replace("−", "-")
    found = [
        tuple(float(edge) / (100 if "%" in match[0] else 1) for edge in match.groups())
        for pattern in (_FOUR, _LETTERED)
        for match in pattern.finditer(low)
    ]
    if not found:
        statements, abstained = _clauses(text)
        none = any(clause.has(_NONE) for clause in statements)
        return ParsedAnswer(ANSWERED, ()) if none else _single([], abstained, "box")
    if max(max(box) for box in found) > 1:
        scale = (100, 100) if "percent" in low else size
        if scale is None:
            return ParsedAnswer(UNREADABLE, why="gives boxes that are not fractions")
        found = [(box[0] / scale[0], box[1] / scale[1], box[2] / scale[0], box[3] / scale[1]) for box in found]
    right = [box for box in found if 0 <= box[0] < box[2] <= 1.001 and 0 <= box[1] < box[3] <= 1.001]
    if not right:
        return ParsedAnswer(UNREADABLE, why=f"gives {len(found)} boxes, none of them valid")
    return ParsedAnswer(ANSWERED, tuple(dict.fromkeys(right)))


_USUAL = re.compile(
    r"\b(?:normal(?:ly)?|typical(?:ly)?|usual(?:ly)?|reference|average range|ranges? (?:from|between)|healthy)\b", re.IGNORECASE
)
_LEADS = frozenset(["is", "of", "be", "at", "=", ":", "~", "≈"])


def number(text: str, unit: str = "") -> ParsedAnswer:
    """Reads a measured number in its unit; where an answer has several, the one that follows "is" and the like, or that has the
    unit.

    >>> number("The disc is about 1.8 mm high (normal: 1500 to 2000 µm).", "µm").value
    1800.0
    """
    text = re.sub(r"\([^()]*\)", lambda aside: "" if _USUAL.search(aside[0]) else aside[0], text)
    statements, abstained = _clauses(text)
    statements = [clause for clause in statements if not _USUAL.search(clause.text)] or statements
    units = {**UNITS.get(unit, {unit: 1}), "": 1}
    found = []
    for clause in statements:
        for amount in numbers.read(clause):
            if amount.unit in units and not amount.edges:
                led = amount.about or not _LEADS.isdisjoint(clause.words[max(0, amount.first - 1) : amount.first])
                ends = dict.fromkeys((amount.low, amount.high))
                found += [(end / units[amount.unit], bool(amount.unit) + led) for end in ends]
    best = max((score for _, score in found), default=0)
    return _single([value for value, score in found if score == best], abstained, "number")
