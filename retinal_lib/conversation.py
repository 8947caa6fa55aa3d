"""Reply text to turns, and the form that exported turns keep."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from retinal_lib.errors import UserError

IMAGE = "<image>"
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


class Turn(NamedTuple):
    """One question and its answer."""

    question: str
    answer: str


def without_thinking(text: str) -> str:
    """Returns a reply without the thoughts that reasoning models of some servers put before it."""
    return _THOUGHTS.sub("", text).strip()


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


TURNS = {"instruction": (3, 6), "alignment": (1, 1)}


CONSULT_WORDS = 50


def _entries(path: Path) -> Iterator[tuple[int, object]]:
    """Each entry with its line (its place in the list, for nested JSON). UserError: the file is neither."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            if path.suffix.casefold() == ".json":
                content = json.load(file)
                if not isinstance(content, list):
                    raise UserError(f"{path}: expected a list of conversations, found {type(content).__name__}")
                yield from enumerate(content, start=1)
                return
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _parsed(path, number, line)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not text in UTF-8 ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def _parsed(path: Path, number: int, line: str) -> object:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {number}: not JSON ({error.msg} at column {error.colno})") from error


def checked(path: Path) -> Iterator[dict]:
    """The entries of a conversation file, as long as each can be trained on. UserError: the first that cannot, by its line."""
    for number, entry in _objects(path):
        if wrong := _wrong(entry):
            raise UserError(f"{path}, line {number}: {wrong[0]}")
        yield entry


def _objects(path: Path) -> Iterator[tuple[int, dict]]:
    for number, entry in _entries(path):
        if not isinstance(entry, dict):
            raise UserError(
                f"{path}, line {number}: expected an object with id, image and conversations, found {type(entry).__name__}"
            )
        yield number, entry


def _wrong(entry: object) -> list[str]:
    if not isinstance(entry, dict):
        return [f"expected an object with id, image and conversations, found {type(entry).__name__}"]
    found = [
        f"{key} is missing or not a text" for key in ("id", "image") if not isinstance(entry.get(key), str) or not entry[key]
    ]
    return found + problems(entry.get("conversations"))
