"""Parsers of free-text answers, one for each kind of question: a grade, a side, conditions, options, boxes, a number.

Each function gives a `ParsedAnswer`: a value, or why there is none: the model abstained (it says that it cannot tell), or its
answer could not be read with certainty: an answer that names two grades has no grade.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache, wraps
from typing import NamedTuple

from retinal_lib.check.image_and_person import sides
from retinal_lib.check.language import lexicon, numbers
from retinal_lib.check.language.lexicon import VOCABULARY, ParsedText, Term, family, implied
from retinal_lib.check.language.negation import AFFIRMED, NEGATED, mentions, polarity
from retinal_lib.check.language.statements import is_of_part
from retinal_lib.check.quantity_index import UNITS
from retinal_lib.closed_questions.writing import LETTERS
from retinal_lib.evaluate.answer_text import marks_boxes, said, words
from retinal_lib.text import box_notation
from retinal_lib.text.reply_text import NoAnswer

ANSWERED, ABSTAINED, UNREADABLE = "answered", "abstained", "unreadable"
_LONGEST = 8000  # characters of an answer that is read


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


def _reader(parse: Callable[..., ParsedAnswer]) -> Callable[..., ParsedAnswer]:
    """A parser that is given what an answer says, without thoughts, marks and quotes around it."""

    @wraps(parse)
    def parsed(text: str, *arguments: object, **options: object) -> ParsedAnswer:
        try:
            answer = said(text)
        except NoAnswer as error:
            return ParsedAnswer(UNREADABLE, why=str(error))
        if len(answer) > _LONGEST:
            return ParsedAnswer(UNREADABLE, why=f"is longer than {_LONGEST:,} characters")
        return parse(answer, *arguments, **options)

    return parsed


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


@_reader
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


@_reader
def side(text: str) -> ParsedAnswer:
    """Reads which eye an answer names: left or right."""
    statements, abstained = _clauses(text)
    named = [name for clause in statements for name, term in sides(clause, asked=True) if not _is_negated(clause, term)]
    return _single(named, abstained, "eye")


@_reader
def modality(text: str) -> ParsedAnswer:
    """Reads one of the modalities of the checks' vocabulary."""
    statements, abstained = _clauses(text)
    found = [t.value for clause in statements for t in clause.of("modalities") if not _is_negated(clause, t)]
    found += ["fundus" for clause in statements if _stated(clause, ["fundus"])]
    return _single(found, abstained, "modality")


@_reader
def quality(text: str) -> ParsedAnswer:
    """Reads 0 good, 1 usable, 2 not gradable. "Cannot be graded" is an answer here."""
    reading = ParsedText(text.replace("’", "'"))
    found = [int(level) for level, names in words()["quality_words"].items() if _stated(reading, names)]
    if re.search(r"\b(?:not|cannot be|can't be|can not be) (?:gradable|graded)\b", " ".join(reading.words)):
        found.append(2)
    return _single(found, bool(_ABSTAINS.search(text)), "quality")


# --- conditions ----------------------------------------------------------------------------------------------------------


@_reader
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


# --- options -------------------------------------------------------------------------------------------------------------

_ANSWER_IS = r"(?:(?:answers?|options?|choices?|letters?)(?: is| are| would be| should be)?|(?:best|correct|right)(?: one)? is)"
_ARTICLE = re.compile(r"a\s+[a-z]")
_NAMED_LETTER = re.compile(rf"\b{_ANSWER_IS}\s*[:=]?\s*[(\[\"'*]{{0,4}}([A-Za-z])(?!\w|['’]\w)", re.IGNORECASE)
_FIRST_LETTER = re.compile(
    r"\A[\s(\[\"'*]*([A-Za-z])(?:[\s)\]\"'*]*\Z|[)\].:*]+(?=\s|\Z)|\s*[-–—:]\s"
    r"|[\"'* ]*(?=\n)(?!(?s:.*)\n[ (\[*]{0,4}[A-Za-z][ )\].*]{0,4}(?:\n|\Z)))"  # alone on the first line, and no other is so
)
_LOOSE_LETTER = re.compile(
    r"[(\[]([A-Za-z])[)\]]|(?<![\w'’.])([B-H])(?!\w|['’]\w)|\bis (A)(?=[.,;:]|\Z)"
    r"|\b(A)(?=\s*(?:,|/|\bor\b|\band\b)\s*[B-H]\b)|^\s*([A-H])[).:]\s",
    re.MULTILINE,
)
_NOT_BEFORE = re.compile(
    r"\b(?:not|neither|nor|never|than|exclude[sd]?|rules? out|ruled out)\s*(?:the )?(?:option |answer )?[(\[\"'*]*\Z",
    re.IGNORECASE,
)
_IS_WRONG = re.compile(
    r"[)\].\"'*]*[^\S\n]*(?:is|are|was|can be|would be)?[^\S\n]*(?:wrong|incorrect|false|not\b|excluded|ruled out|unlikely)",
    re.IGNORECASE,
)
_LETTER_LIST = re.compile(r"(?:[(\[]?\b[A-Ha-h]\b[)\]]?[.]?\s*(?:,|;|/|&|\+|and\b|\s)?\s*)+[.]?")


@_reader
def option(text: str, options: Sequence[str]) -> ParsedAnswer:
    """Reads the letter of the one option that an answer takes, by its letter or in its words; both must agree, but for lines
    that follow the one with the letter.

    >>> [option(text, ["none", "mild", "severe"]).value for text in ("(b)", "Answer: B", "B. mild", "It is mild.", "B. severe")]
    ['B', 'B', 'B', 'B', None]
    """
    letters = LETTERS[: len(options)]
    found = _letters(text, letters)
    first = text.partition("\n")[0]  # where it takes a letter, what follows explains, and may have the words of any option
    explained = bool(found) and found == _letters(first, letters, (_NAMED_LETTER, _FIRST_LETTER))
    worded = _options_in_words(first if explained else text, options)
    if found and len(worded) == 1 and worded[0] not in found:
        return ParsedAnswer(UNREADABLE, why=f"names {found[0]}, but the words of {worded[0]}")
    if not found and not worded and _ABSTAINS.search(text):
        return ParsedAnswer(ABSTAINED, why="says that it cannot tell")
    return _single(found or worded, False, "option")


@_reader
def several_options(text: str, options: Sequence[str]) -> ParsedAnswer:
    """Reads the letters of all options that an answer takes, as a tuple in the order of the options; empty where it says that
    none is right.

    >>> options = ("drusen", "glaucoma", "cataract")
    >>> [several_options(text, options).value for text in ("A, C", "B. glaucoma; A. drusen", "None.")]
    [('A', 'C'), ('A', 'B'), ()]
    """
    letters = LETTERS[: len(options)]
    bare = text.split(":")[-1].strip(" .*()[]\"'")
    if _LETTER_LIST.fullmatch(bare):
        found = [letter.upper() for letter in re.findall(r"[A-Za-z]+", bare) if len(letter) == 1]
    else:
        found = [m[1].upper() for m in re.finditer(r"(?:^|[;,\n]|\band\b)\s*[(\[*]*([A-Ha-h])[).\]:*]+(?=\s|$)", text)]
        found = found or _letters(text, letters) or _options_in_words(text, options)
    if outside := [letter for letter in found if letter not in letters]:
        return ParsedAnswer(UNREADABLE, why=f"names {outside[0]}, which is no option")
    if not found and re.match(r"\W*(?:none|no\b|\[\s*\])", text, re.IGNORECASE):
        return ParsedAnswer(ANSWERED, ())
    if not found:
        return _single([], bool(_ABSTAINS.search(text)), "option")
    return ParsedAnswer(ANSWERED, tuple(letter for letter in letters if letter in found))


@_reader
def yes_no(text: str, condition: str = "") -> ParsedAnswer:
    """Reads yes or no: by the first word or sentence, or by whether the answer affirms the condition that was asked for.

    >>> [yes_no(text, "drusen").value for text in ("Yes.", "Answer: no", "There are drusen.", "No drusen can be seen.")]
    ['yes', 'no', 'yes', 'no']
    >>> [yes_no(text).value for text in ("Probably yes.", "Absent.", "It is not present.", "There is no sign of it.")]
    ['yes', 'no', 'no', 'no']
    """
    if lead := re.match(
        rf"\W{{0,20}}(?:the )?(?:final )?(?:{_ANSWER_IS})?\W{{0,20}}(yes|no|true|false)\b", text, re.IGNORECASE
    ):
        return ParsedAnswer(ANSWERED, {"true": "yes", "false": "no"}.get(lead[1].lower(), lead[1].lower()))
    first = re.match(r"[^.,;:!\n]*\b(?:yes|no|not)\b[^.,;:!\n]*|[^.;!\n]*", text.casefold())[0]
    first = first.strip(" *'\"").removeprefix("it is ")  # behind a comma, "present" may be taken back, "probably yes" not
    if said_so := [value for value, phrases in words()["yes_no"].items() if first in phrases]:
        return ParsedAnswer(ANSWERED, said_so[0])
    found = conditions.__wrapped__(text, [condition]) if condition else _single([], bool(_ABSTAINS.search(text)), "yes or no")
    return found._replace(value="yes" if found.value else "no") if found.state == ANSWERED else found


def _letters(text: str, letters: str, ways: Sequence[re.Pattern] = (_NAMED_LETTER, _FIRST_LETTER, _LOOSE_LETTER)) -> list[str]:
    """The letters of options that an answer takes: what it calls its answer; else what it begins with; else all it names."""
    for pattern in ways:
        found = []
        for match in pattern.finditer(text):
            place = next(place for place, held in enumerate(match.groups(), 1) if held)
            letter = match[place].upper()
            taken = (
                not _ARTICLE.match(text, match.start(place))
                and not _NOT_BEFORE.search(text[max(0, match.start() - 60) : match.start()])
                and not _IS_WRONG.match(text[match.end() :])
            )
            if letter in letters and taken:
                found.append(letter)
        if found:
            return found
    return []


def _options_in_words(text: str, options: Sequence[str]) -> list[str]:
    """The letters of the options whose words an answer has, without those that stand within a longer one."""
    clauses = [ParsedText(part.strip()) for part in _CLAUSES.split(text) if part.strip(" *#")]
    found: list[tuple[str, int, Term]] = []
    for letter, name in zip(LETTERS, options, strict=False):
        denies = lexicon.tokens(name)[:1] in (("no",), ("not",))  # its own words negate
        for number, clause in enumerate(clauses):
            terms = _named_at(clause, name) if denies else _stated(clause, [name])
            found += [(letter, number, term) for term in terms]
    longest = [
        letter
        for letter, number, term in found
        if not any(number == n and t != term and t.first <= term.first and term.last <= t.last for _, n, t in found)
    ]
    return list(dict.fromkeys(longest))


# --- boxes and numbers ---------------------------------------------------------------------------------------------------

_FLOAT = r"([+-]?(?:\d+\.?\d*|\.\d+))\s*%?"
_POINT = rf"[\[(]\s*{_FLOAT}\s*[,; ]\s*{_FLOAT}\s*[\])]"
_FOUR = re.compile(r"[\[(]\s*" + r"\s*[,; ]\s*".join([_FLOAT] * 4) + r"\s*[\])]")
_POINTS = re.compile(rf"(?:{_POINT}\s*(?:,|;|to|and|-)?\s*)+")  # a box where there are two, its corners
_EDGE = re.compile(rf"\b([a-z]+[ _]?(?:min|max|[12])?)\W{{0,3}}[:=]\s*{_FLOAT}")
_EDGES = {"x_min": "xmin x1 left x", "y_min": "ymin y1 top y", "x_max": "xmax x2 right", "y_max": "ymax y2 bottom"}
_EDGES |= {"width": "width w", "height": "height h"}
_EDGE_OF = {word: edge for edge, names in _EDGES.items() for word in names.split()}

_NONE = ("no", "none", "not", "without", "absent", "absence")


def boxes(text: str, size: tuple[int, int] | None = None, notation: str | None = None) -> ParsedAnswer:
    """Reads boxes as fractions of the image, as a tuple of (x_min, y_min, x_max, y_max); empty where the answer says that there
    are none.

    Numbers above 1 are percent where the answer says so, else of a `notation` (see `box_notation.FORMS`), else of 1000 between
    the marks <box> and <|box_start|>, else pixels where `size` (width, height) is known. UserError: an unknown notation.

    >>> boxes('[{"bbox_2d": [280, 280, 560, 840], "label": "disc"}]', (1120, 1120), "qwen2.5-vl").value
    ((0.25, 0.25, 0.5, 0.75),)
    >>> boxes("<box>[[250, 250, 500, 750]]</box>").value == boxes("<loc0256><loc0256><loc0768><loc0512>").value
    True
    """
    return _boxes(text, size, notation or ("internvl" if marks_boxes(text) else None))


@_reader
def _boxes(text: str, size: tuple[int, int] | None, notation: str | None) -> ParsedAnswer:
    low = text.lower().replace("−", "-")
    if found := box_notation.read(low, "loc"):
        return _valid(found)
    written = _written(low)
    if not written:
        statements, abstained = _clauses(text)
        none = any(clause.has(_NONE) for clause in statements) or re.search(r"\[\s*\]", text)
        return ParsedAnswer(ANSWERED, ()) if none else _single([], abstained, "box")
    if "%" in low or "percent" in low:
        return _valid([tuple(edge / 100 for edge in box) for box in written])
    edges = [edge for box in written for edge in box]
    if max(edges) <= 1 and (notation is None or any(edge % 1 for edge in edges)):
        return _valid(written)
    if notation is None and size is None:
        return ParsedAnswer(UNREADABLE, why="gives boxes that are not fractions, and neither image nor notation tells of what")
    if notation is None:
        return _valid([(box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1]) for box in written])
    if size is None and box_notation.needs_size(notation):
        return ParsedAnswer(UNREADABLE, why=f"gives boxes in pixels of {notation}, and the image's size is not known")
    plain = " ".join(f"[{', '.join(f'{edge:.6f}' for edge in box)}]" for box in written)
    return _valid(box_notation.read(plain, "qwen3-vl" if notation == "loc" else notation, size))


def _written(text: str) -> list[tuple[float, ...]]:
    """The four numbers of each box in a text, in whichever way it writes them."""
    if found := [tuple(map(float, match.groups())) for match in _FOUR.finditer(text)]:
        return found
    runs = [re.findall(_POINT, run[0]) for run in _POINTS.finditer(text)]
    if found := [tuple(map(float, (*run[0], *run[1]))) for run in runs if len(run) == 2]:
        return found
    sets: list[dict[str, float]] = []
    for match in _EDGE.finditer(text):
        edge = _EDGE_OF.get(re.sub("[ _]", "", match[1]))
        if edge and (not sets or edge in sets[-1]):
            sets.append({})
        if edge:
            sets[-1][edge] = float(match[2])
    return [box for each in sets if (box := _of_edges(each))]


def _of_edges(edges: dict[str, float]) -> tuple[float, ...] | None:
    """A box of its named edges, or of a corner with width and height."""
    if {"x_min", "y_min", "width", "height"} == set(edges):
        return (edges["x_min"], edges["y_min"], edges["x_min"] + edges["width"], edges["y_min"] + edges["height"])
    names = ("x_min", "y_min", "x_max", "y_max")
    return tuple(edges[name] for name in names) if set(names) == set(edges) else None


def _valid(found: Sequence[tuple[float, ...]]) -> ParsedAnswer:
    """The boxes that lie within the image, each once."""
    right = [box for box in found if 0 <= box[0] < box[2] <= 1.001 and 0 <= box[1] < box[3] <= 1.001]
    if not right:
        return ParsedAnswer(UNREADABLE, why=f"gives {len(found)} boxes, none of them valid")
    return ParsedAnswer(ANSWERED, tuple(dict.fromkeys(right)))


_USUAL = re.compile(
    r"\b(?:normal(?:ly)?|typical(?:ly)?|usual(?:ly)?|reference|average range|ranges? (?:from|between)|healthy)\b", re.IGNORECASE
)
_LEADS = frozenset(["is", "of", "be", "at", "=", ":", "~", "≈"])


@_reader
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
