"""Parses a teacher's reply into turns, in all formats that models write."""

import json
import re
from itertools import pairwise
from typing import NamedTuple

from retinal_lib.conversation import Turn
from retinal_lib.text import reply_text
from retinal_lib.text.training_text import LONGEST_TALK

ASKER = frozenset("user human patient layperson person question asker".split())
ANSWERER = frozenset("assistant doctor ophthalmologist ai gpt chatgpt answer response bot model expert specialist".split())

# a label begins a line, possibly quoted, bulleted, bold, numbered or after "Turn 1", and ends in a colon; a bold one or a
# heading may have its own line instead
# possessive quantifiers (*+) keep the time in proportion to the text's length
_BEFORE = r"[ \t>#*_\[\"'•+-]*+(?:\(?\d{1,2}[.):][ \t]*+)?+(?:turn[ \t]*+\d++[ \t]*+[-–:.][ \t]*+)?+[#*_\[\"' \t]*+"
_WORD = rf"(?P<role>{'|'.join(sorted(ASKER | ANSWERER))}|(?-i:[QA]))"
_LABEL = re.compile(
    rf"^(?P<shape>{_BEFORE}){_WORD}"
    r"[ \t]*+(?:\([^)\n]{0,40}\))?+[ \t]*+(?:\d{1,2})?+[*_.)\]\"' \t]*+[:：][*_]*+[ \t]*+"
    rf"|^(?P<lone>[ \t>]*+(?:#{{1,6}}[ \t]*+[*_]*+|[*_]{{2,3}}))(?:\d{{1,2}}[.)][ \t]*+)?+{_WORD.replace('role', 'word')}"
    r"[ \t]*+\d{0,2}+[*_ \t]*+$",
    re.IGNORECASE | re.MULTILINE,
)
_HEADING = r"(?:turn|round|exchange|q&a)[ \t]*+\d++|\[?(?:the )?end(?: of (?:the )?conversation)?\.?\]?"
_SEPARATOR = re.compile(rf"[-*_=]{{3,}}|```|[#*_ \t]*+(?:{_HEADING})[#*_:. \t]*+|\d{{1,2}}[.)]|", re.IGNORECASE)
_FENCE = re.compile(r"```[a-z]*+[ \t]*+\n?+(.*?)```", re.DOTALL)
_MORE_JSON = re.compile(r"[\s,;]*(?=[\[{])")


class Unparsable(ValueError):
    """Raised where a reply is no conversation; the message says why."""


def parse(reply: str) -> list[Turn]:
    """Returns the turns of a teacher's reply, which has labels such as "User:" or is JSON. Answers are not shortened.

    Unparsable: no roles, roles that do not alternate, ambiguous labels, an empty question or answer, or a question without an
    answer.

    >>> parse("User: Which eye is it?\\nAssistant: The left eye.")
    [Turn(question='Which eye is it?', answer='The left eye.')]
    """
    try:
        text = reply_text.answer(reply.replace("\r\n", "\n").replace("\r", "\n"))
    except reply_text.NoAnswer as error:
        raise Unparsable(str(error)) from error
    if not text:
        raise Unparsable("the reply is empty")
    if len(text) > LONGEST_TALK:
        raise Unparsable(f"its answer has {len(text):,} characters, and at most {LONGEST_TALK:,} are read")
    try:
        parts = _from_json(text) or _from_labels(_unfenced(text))
    except RecursionError as error:
        raise Unparsable("the reply is JSON nested too deep for a conversation") from error
    if not parts:
        raise Unparsable("no roles found: expected lines that begin with 'User:' and 'Assistant:'")
    return _pair([(role, _clean(value)) for role, value in parts])


def _unfenced(text: str) -> str:
    """The content of a code block that contains the whole conversation, else the text."""
    fence = _FENCE.search(text)
    return fence[1] if fence and not _LABEL.search(text[: fence.start()]) and _LABEL.search(fence[1]) else text


class _Label(NamedTuple):
    """A label: its role and word, the marks before it, and where it begins and ends in the text."""

    role: str
    word: str
    shape: str
    start: int
    end: int


def _role(word: str) -> str:
    return "human" if word in ASKER or word == "q" else "gpt"


def _labels(text: str) -> list[_Label]:
    labels = []
    for match in _LABEL.finditer(text):
        word = (match["role"] or match["word"]).casefold()
        before = match["shape"] if match["role"] else match["lone"]
        shape = "".join(sorted(set(before) & set(">#*_-•+")))
        labels.append(_Label(_role(word), word, shape, match.start(), match.end()))
    return labels


def _from_labels(text: str) -> list[tuple[str, str]]:
    """The parts of a labelled text, each with its role. Only labels that look like the first of their role count, since an
    answer may have lines such as 'Patient: 58 years'. Unparsable: other labels could be turns too."""
    every = _labels(text)
    first = next((i for i, label in enumerate(every) if label.role == "human"), None)
    if first is None:
        return []
    for before, after in pairwise(every[: first + 1]):
        if text[before.end : after.start].strip():
            raise Unparsable(f"an answer, {before.word!r}, comes before the first question")
    answer = next((label for label in every[first:] if label.role == "gpt"), None)
    kinds = {(label.word, label.shape) for label in (every[first], answer) if label}
    turns = [i for i in range(first, len(every)) if (every[i].word, every[i].shape) in kinds]
    parts = []
    for i, following in zip(turns, [*turns[1:], len(every)], strict=True):
        label, others = every[i], {other.role for other in every[i + 1 : following]}
        if others == {"human", "gpt"} or (others and label.role == "human"):
            raise Unparsable(f"other labels in the text after {label.word!r}: it is not clear who says what")
        last = following == len(every)
        value = text[label.end : len(text) if last else every[following].start]
        value = _without_separators(value)
        parts.append((label.role, _without_separators(reply_text.without_chatter(value)) if last else value))
    return parts


def _without_separators(value: str) -> str:
    """A text without the rules, empty lines and headings of turns at its end."""
    lines = value.split("\n")
    while lines and _SEPARATOR.fullmatch(lines[-1].strip(" \t")):
        lines.pop()
    return "\n".join(lines)


def _from_json(text: str) -> list[tuple[str, str]]:
    fences = [block for block in _FENCE.findall(text) if block.strip().startswith(("[", "{"))]
    body = "\n".join(fences) if fences else text
    start = re.search(r"^[ \t]*[\[{]", body, re.MULTILINE)
    before = text[: text.index("```")] if fences else body[: start.start()] if start else ""
    if start is None or _LABEL.search(before):
        return []
    try:
        return [part for content in _documents(body[start.start() :]) for part in _entries(content)]
    except RecursionError as error:
        raise Unparsable("its JSON is nested too deeply") from error


def _documents(text: str) -> list[object]:
    """The JSON values at the start of a text; text after them is left out."""
    decoder, values, end = json.JSONDecoder(strict=False), [], 0
    while (more := _MORE_JSON.match(text, end)) is not None:
        try:
            value, end = decoder.raw_decode(text, more.end())
        except ValueError as error:  # or a number of thousands of digits
            if '"' in text[more.end() : more.end() + 40]:
                raise Unparsable(f"the reply is not valid JSON ({error})") from error
            break  # a bracket in plain text
        values.append(value)
    return values


def _entries(content: object) -> list[tuple[str, str]]:
    """The parts in a JSON value: those of a list's entries, an object's own, or those of the values in it."""
    if isinstance(content, list):
        return [part for entry in content for part in _entries(entry)]
    if not isinstance(content, dict):
        return []
    return _entry(content) or [part for inner in content.values() if isinstance(inner, list | dict) for part in _entries(inner)]


def _entry(entry: dict) -> list[tuple[str, str]]:
    """The parts of an object: {role: ..., content: ...} in any wording, or {question: ..., answer: ...} in either order."""
    plain = {str(key).casefold(): value for key, value in entry.items()}
    for role_key, text_key in (("from", "value"), ("role", "content"), ("role", "text"), ("speaker", "text")):
        if role_key in plain and text_key in plain:
            return _spoken(str(plain[role_key]).casefold(), plain[text_key])
    words = [(str(key).casefold().rstrip("0123456789").rstrip(" \t\n_"), value) for key, value in entry.items()]
    named = ASKER | ANSWERER | {"q", "a"}
    parts = [(_role(word), value) for word, value in words if word in named and isinstance(value, str)]
    return sorted(parts, key=lambda part: part[0], reverse=True) if len(parts) == 2 else parts


def _spoken(role: str, value: object) -> list[tuple[str, str]]:
    if role == "system":
        return []
    if role not in ASKER | ANSWERER:
        raise Unparsable(f"unknown role {role!r}: expected 'user' and 'assistant'")
    if not isinstance(value, str):
        raise Unparsable(f"the text of {role!r} is {type(value).__name__}: expected a string")
    return [(_role(role), value)]


def _clean(value: str) -> str:
    value = re.sub(r"(?<![ \t])[ \t]*+<image>[ \t]*+\n?", "", value, flags=re.IGNORECASE)
    lines = [line.rstrip() for line in value.strip().split("\n")]
    value = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    # a bold label may close after the text: "**User: text**"; the closing markers are removed
    if value.endswith("**") and value.count("**") % 2:
        value = value[:-2].rstrip()
    return value


def _pair(parts: list[tuple[str, str]]) -> list[Turn]:
    """Turns from parts that alternate, the human's first."""
    names = {"human": "question", "gpt": "answer"}
    for i, (role, value) in enumerate(parts):
        expected = ("human", "gpt")[i % 2]
        if role != expected:
            expected_part = "a question" if expected == "human" else "an answer"
            raise Unparsable(f"turn {i // 2 + 1}: expected {expected_part}, found another {names[role]}")
        if not value:
            raise Unparsable(f"turn {i // 2 + 1}: the {names[role]} is empty")
    if len(parts) % 2:
        raise Unparsable(f"turn {len(parts) // 2 + 1}: the question has no answer")
    return [Turn(q[1], a[1]) for q, a in zip(parts[::2], parts[1::2], strict=True)]
