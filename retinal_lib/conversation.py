"""Reply text to turns, and the form that exported turns keep."""

import json
import re
from typing import NamedTuple

IMAGE = "<image>"
ASKER = "user human patient layperson question asker"
ANSWERER = "assistant doctor ophthalmologist ai gpt chatgpt answer response bot model expert specialist"
# words that also begin lines inside an answer: labels only where the reply's first label of that role is one of them
WEAK = "question asker answer response bot model expert specialist".split()
_LABEL = re.compile(
    r"^[ \t>#*_\[\"'•+-]*(?:\(?\d{1,2}[.):][ \t]*)?(?:turn[ \t]*\d+[ \t]*[-–:.][ \t]*)?[#*_\[\"' \t]*"
    rf"(?P<role>{'|'.join((ASKER + ' ' + ANSWERER).split())})"
    r"[ \t]*(?:\([^)\n]{0,40}\))?[ \t]*(?:\d{1,2})?[*_\]\"' \t]*[:：][*_]*[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_LETTER = re.compile(r"^[ \t>]*(?:[-*•][ \t]+)?[*_]*(?P<role>[QA])[ \t]*\d{0,2}[*_.)]*[ \t]*[:：][*_]*[ \t]*", re.MULTILINE)
_SEPARATOR = re.compile(r"(?:\s*^[ \t]*(?:[-*_=]{3,}|[#*_ \t]*(?:turn|round|exchange|q&a)[ \t]*\d+[#*_:. \t]*|\d{1,2}[.)])[ \t]*$)+\s*\Z", re.I | re.M)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)


class Turn(NamedTuple):
    """One question and its answer."""

    question: str
    answer: str


class Unparsable(ValueError):
    """The reply is no conversation; the message says why."""


def parse(reply: str) -> list[Turn]:
    """The turns of a teacher's reply: role labels in any of the ways models write them, or JSON. Answers are kept whole.

    Unparsable: no roles, roles that do not alternate, an empty question or answer, or a question without its answer.
    """
    text = reply.replace("\r\n", "\n").strip()
    if not text:
        raise Unparsable("the reply is empty")
    said = _from_json(text) or _from_labels(text)
    if not said:
        raise Unparsable("no roles found: expected lines that begin with 'User:' and 'Assistant:'")
    return _pair([(role, _clean(value)) for role, value in said])


def _from_labels(text: str) -> list[tuple[str, str]]:
    labels = _labels(text) or list(_LETTER.finditer(text))
    if not labels:
        return []
    ends = [label.start() for label in labels[1:]] + [len(text)]
    said = []
    for label, end in zip(labels, ends, strict=True):
        word = label["role"].casefold()
        role = "human" if word in ASKER.split() or word == "q" else "gpt"
        said.append((role, _SEPARATOR.sub("", text[label.end() : end])))
    return said


def _labels(text: str) -> list[re.Match]:
    found = list(_LABEL.finditer(text))
    kept = []
    for words in (ASKER.split(), ANSWERER.split()):
        mine = [label for label in found if label["role"].casefold() in words]
        weak = bool(mine) and mine[0]["role"].casefold() in WEAK
        kept += [label for label in mine if weak or label["role"].casefold() not in WEAK]
    return sorted(kept, key=lambda label: label.start())


def _from_json(text: str) -> list[tuple[str, str]]:
    fence = _FENCE.search(text)
    body = (fence[1] if fence else text).strip()
    if not body.startswith(("[", "{")):
        return []
    try:
        content = json.loads(body)
    except json.JSONDecodeError:
        return []
    while isinstance(content, dict):
        inner = next((v for v in content.values() if isinstance(v, list)), None)
        if inner is None:
            content = [content]
        else:
            content = inner
    said: list[tuple[str, str]] = []
    for entry in content:
        if isinstance(entry, dict):
            said += _entry(entry)
    return said


def _entry(entry: dict) -> list[tuple[str, str]]:
    folded = {str(k).casefold(): v for k, v in entry.items()}
    for role_key, text_key in (("from", "value"), ("role", "content"), ("role", "text"), ("speaker", "text")):
        if role_key in folded and isinstance(folded.get(text_key), str):
            asker = str(folded[role_key]).casefold() in ASKER.split()
            known = asker or str(folded[role_key]).casefold() in ANSWERER.split()
            return [("human" if asker else "gpt", folded[text_key])] if known else []
    found = []
    for role, names in (("human", ASKER), ("gpt", ANSWERER)):
        found += [(role, folded[n]) for n in [*names.split(), names[0]] if isinstance(folded.get(n), str)][:1]
    return found


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
            raise Unparsable(f"turn {i // 2 + 1}: expected {'a question' if expected == 'human' else 'an answer'}, found another {name[role]}")
        if not value:
            raise Unparsable(f"turn {i // 2 + 1}: the {name[role]} is empty")
    if len(said) % 2:
        raise Unparsable(f"turn {len(said) // 2 + 1}: the question has no answer")
    return [Turn(q[1], a[1]) for q, a in zip(said[::2], said[1::2], strict=True)]


def to_llava(turns: list[Turn]) -> list[dict[str, str]]:
    """The exported form: human and gpt in turn, `<image>` once, on the last line of the first question."""
    values = []
    for i, turn in enumerate(turns):
        values.append({"from": "human", "value": f"{turn.question}\n{IMAGE}" if i == 0 else turn.question})
        values.append({"from": "gpt", "value": turn.answer})
    return values


def problems(conversation: object) -> list[str]:
    """What is wrong with the form of an exported conversation, in short sentences; none where it is right."""
    if not isinstance(conversation, list) or not conversation:
        return ["conversations must be a list of turns, and not empty"]
    found = []
    for i, part in enumerate(conversation, start=1):
        if not isinstance(part, dict) or not isinstance(part.get("value"), str) or "from" not in part:
            return [f"part {i} must have 'from' and a text 'value'"]
        expected = "human" if i % 2 else "gpt"
        if part["from"] != expected:
            found.append(f"part {i} is from {part['from']!r}, expected {expected!r}")
        if not part["value"].replace(IMAGE, "").strip():
            found.append(f"part {i} is empty")
    if len(conversation) % 2:
        found.append("the last question has no answer")
    count = sum(part["value"].count(IMAGE) for part in conversation)
    if count != 1:
        found.append(f"{IMAGE} stands {count} times, expected once")
    elif not conversation[0]["value"].endswith(f"\n{IMAGE}"):
        found.append(f"{IMAGE} must be the last line of the first question")
    return found
