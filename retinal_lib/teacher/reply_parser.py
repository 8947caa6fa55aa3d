"""A teacher's reply text to turns, in any of the ways models write."""

import json
import re
from itertools import pairwise
from typing import NamedTuple

from retinal_lib.conversation import Turn, without_thinking

ASKER = ("user", "human", "patient", "layperson", "person", "question", "asker")


ANSWERER = (
    "assistant",
    "doctor",
    "ophthalmologist",
    "ai",
    "gpt",
    "chatgpt",
    "answer",
    "response",
    "bot",
    "model",
    "expert",
    "specialist",
)


# a label stands at the start of a line, maybe quoted, bulleted, bold, numbered or after "Turn 1", and ends in a colon;
# one in bold or in a heading may have a line of its own instead
_BEFORE = r"[ \t>#*_\[\"'•+-]*(?:\(?\d{1,2}[.):][ \t]*)?(?:turn[ \t]*\d+[ \t]*[-–:.][ \t]*)?[#*_\[\"' \t]*"


_WORD = rf"(?P<role>{'|'.join((*ASKER, *ANSWERER))}|(?-i:[QA]))"


_LABEL = re.compile(
    rf"^(?P<shape>{_BEFORE}){_WORD}"
    r"[ \t]*(?:\([^)\n]{0,40}\))?[ \t]*(?:\d{1,2})?[*_.)\]\"' \t]*[:：][*_]*[ \t]*"
    rf"|^(?P<lone>[ \t>]*(?:#{{1,6}}[ \t]*[*_]*|[*_]{{2,3}}))(?:\d{{1,2}}[.)][ \t]*)?{_WORD.replace('role', 'word')}"
    r"[ \t]*\d{0,2}[*_ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)


_HEADING = r"(?:turn|round|exchange|q&a)[ \t]*\d+|\[end\]|\[?end of (?:the )?conversation\]?"


_SEPARATOR = re.compile(
    rf"(?:\s*^[ \t]*(?:[-*_=]{{3,}}|[#*_ \t]*(?:{_HEADING})[#*_:. \t]*|\d{{1,2}}[.)])[ \t]*$)+\s*\Z",
    re.IGNORECASE | re.MULTILINE,
)


# a farewell of the model's own below a rule is no part of the last answer
_FAREWELL = re.compile(
    r"\n[ \t]*[-*_=]{3,}[ \t]*\n\s*[*_(\[]*"
    r"(?:let me know|hope|i hope|feel free|would you like|please let|note:|is there anything)[^\n]*\Z",
    re.IGNORECASE,
)


_FENCE = re.compile(r"```[a-z]*[ \t]*\n?(.*?)```", re.DOTALL)


_RULE = re.compile(r"[-*_=#\d\[]|turn|round|exchange|q&a|end of", re.IGNORECASE)  # how a separator may begin


_PLAIN = ("User: ", "Assistant: ")


class Unparsable(ValueError):
    """The reply is no conversation; the message says why."""


def parse(reply: str) -> list[Turn]:
    """The turns of a teacher's reply: labelled in any of the ways models write, or JSON. Answers are kept whole.

    Unparsable: no roles, roles that do not alternate, labels of several kinds of which it cannot be told which count, an
    empty question or answer, or a question without its answer.
    """
    if plain := _plain(reply):
        return plain
    text = without_thinking(reply.replace("\r\n", "\n").replace("\r", "\n"))
    if not text:
        raise Unparsable("the reply is empty")
    said = _from_json(text) or _from_labels(_unfenced(text))
    if not said:
        raise Unparsable("no roles found: expected lines that begin with 'User:' and 'Assistant:'")
    return _pair([(role, _clean(value)) for role, value in said])


def _plain(reply: str) -> list[Turn]:
    """The turns of a reply in exactly the form that prompts ask for, a line each; else nothing: the long way tells then.

    Most replies are of that form, and this takes a tenth of the time. What it gives, the long way gives too.
    """
    if "<" in reply or "**" in reply or "\r" in reply or "```" in reply:
        return []
    said = []
    for line in filter(None, map(str.strip, reply.strip().split("\n"))):
        label = _PLAIN[len(said) % 2]
        value = line[len(label) :].strip()
        if not line.startswith(label) or not value or _RULE.match(value):
            return []
        said.append(value)
    return [] if len(said) % 2 else [Turn(q, a) for q, a in zip(said[::2], said[1::2], strict=True)]


def _unfenced(text: str) -> str:
    """The content of a code block that holds the whole conversation, else the text."""
    fence = _FENCE.search(text)
    return fence[1] if fence and not _LABEL.search(text[: fence.start()]) and _LABEL.search(fence[1]) else text


class _Label(NamedTuple):
    """A label: the role and word it names, the marks before it, and where it and what is said begin."""

    role: str
    word: str
    shape: str
    start: int
    end: int


def _labels(text: str) -> list[_Label]:
    found = []
    for match in _LABEL.finditer(text):
        word = (match["role"] or match["word"]).casefold()
        before = match["shape"] if match["role"] else match["lone"]
        shape = "".join(sorted(set(before) & set(">#*_-•+")))
        found.append(_Label("human" if word in (*ASKER, "q") else "gpt", word, shape, match.start(), match.end()))
    return found


def _from_labels(text: str) -> list[tuple[str, str]]:
    """What each side says. Of the lines that look like labels those count that are like the first of their side, since
    an answer may hold lines such as 'Patient: 58 years'; where they could be a turn all the same, nothing is guessed.
    """
    found = _labels(text)
    first = next((i for i, label in enumerate(found) if label.role == "human"), None)
    if first is None:
        return []
    model = {"human": found[first]}
    model |= {"gpt": next((label for label in found[first:] if label.role == "gpt"), None)}
    counts = [m and (m.word, m.shape) for m in model.values()]
    labels = [label for label in found[first:] if (label.word, label.shape) in counts]
    for before, after in pairwise(found[: first + 1]):
        if text[before.end : after.start].strip():
            raise Unparsable(f"an answer, {before.word!r}, stands before the first question")
    ends = [label.start for label in labels[1:]] + [len(text)]
    said = []
    for label, end in zip(labels, ends, strict=True):
        others = {other.role for other in found if label.end <= other.start < end and other not in labels}
        if others == {"human", "gpt"} or (others and label.role == "human"):
            raise Unparsable(f"several kinds of labels in what {label.word!r} says: it cannot be told who says what")
        value = text[label.end : end]
        said.append((label.role, _SEPARATOR.sub("", _FAREWELL.sub("", value.rstrip()) if end == len(text) else value)))
    return said


def _from_json(text: str) -> list[tuple[str, str]]:
    fences = [block for block in _FENCE.findall(text) if block.strip().startswith(("[", "{"))]
    body = "\n".join(fences) if fences else text
    start = re.search(r"^[ \t]*[\[{]", body, re.MULTILINE)
    before = text[: text.index("```")] if fences else body[: start.start()] if start else ""
    if start is None or _LABEL.search(before):
        return []
    return [part for content in _documents(body[start.start() :]) for part in _entries(content)]


def _documents(text: str) -> list[object]:
    """The JSON values that follow each other in a text; what comes after them is left."""
    decoder, found, place = json.JSONDecoder(strict=False), [], 0
    while (more := re.compile(r"[\s,;]*(?=[\[{])").match(text, place)) is not None:
        try:
            content, place = decoder.raw_decode(text, more.end())
        except json.JSONDecodeError as error:
            if '"' in text[more.end() : more.end() + 40]:
                raise Unparsable(f"the reply is no valid JSON ({error})") from error
            break  # a bracket in plain text
        found.append(content)
    return found


def _entries(content: object) -> list[tuple[str, str]]:
    """What is said in a JSON value: of a list its parts, of an object its own words, else those of the lists in it."""
    if isinstance(content, list):
        return [part for entry in content for part in _entries(entry)]
    if not isinstance(content, dict):
        return []
    return _entry(content) or [part for inner in content.values() if isinstance(inner, list | dict) for part in _entries(inner)]


def _entry(entry: dict) -> list[tuple[str, str]]:
    folded = {re.sub(r"[\s_]*\d*\Z", "", str(k).casefold()) + f"#{i}": v for i, (k, v) in enumerate(entry.items())}
    plain = {str(k).casefold(): v for k, v in entry.items()}
    for role_key, text_key in (("from", "value"), ("role", "content"), ("role", "text"), ("speaker", "text")):
        if role_key in plain and text_key in plain:
            return _spoken(str(plain[role_key]).casefold(), plain[text_key])
    found = []
    for key, value in folded.items():
        word = key.rpartition("#")[0]
        if word in (*ASKER, *ANSWERER, "q", "a") and isinstance(value, str):
            found.append(("human" if word in (*ASKER, "q") else "gpt", value))
    return sorted(found, key=lambda part: part[0], reverse=True) if len(found) == 2 else found


def _spoken(role: str, value: object) -> list[tuple[str, str]]:
    if role == "system":
        return []
    if role not in (*ASKER, *ANSWERER):
        raise Unparsable(f"unknown role {role!r}: expected 'user' and 'assistant'")
    if not isinstance(value, str):
        raise Unparsable(f"what {role!r} says is no text but {type(value).__name__}")
    return [("human" if role in ASKER else "gpt", value)]


def _clean(value: str) -> str:
    value = re.sub(r"[ \t]*<image>[ \t]*\n?", "", value, flags=re.IGNORECASE)
    lines = [line.rstrip() for line in value.strip().split("\n")]
    value = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    # a label in bold closes its markers after the colon: "**User:** text" leaves none, "**User: text**" leaves one pair
    if value.endswith("**") and value.count("**") % 2:
        value = value[:-2].rstrip()
    return value


def _pair(said: list[tuple[str, str]]) -> list[Turn]:
    for i, (role, value) in enumerate(said):
        expected = ("human", "gpt")[i % 2]
        name = {"human": "question", "gpt": "answer"}
        if role != expected:
            wanted = "a question" if expected == "human" else "an answer"
            raise Unparsable(f"turn {i // 2 + 1}: expected {wanted}, found another {name[role]}")
        if not value:
            raise Unparsable(f"turn {i // 2 + 1}: the {name[role]} is empty")
    if len(said) % 2:
        raise Unparsable(f"turn {len(said) // 2 + 1}: the question has no answer")
    return [Turn(q[1], a[1]) for q, a in zip(said[::2], said[1::2], strict=True)]
