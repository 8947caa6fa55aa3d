"""Conversation files from one form to another: JSON lines and nested JSON, checked, repaired and merged.

>>> import tempfile
>>> from retinal_lib.conversation import Conversation, Turn
>>> folder = tempfile.TemporaryDirectory()
>>> run, other = Path(folder.name, "conversations.jsonl"), Path(folder.name, "other.jsonl")
>>> conversation = Conversation("eye-1", "ODIR/1.jpg", (Turn("Which eye is it?", "The left eye."),))
>>> _ = run.write_text(json_line(conversation.to_llava()))

A list for LLaVA's training, back to lines, and checked:

>>> jsonl_to_json(run, run.with_suffix(".json")), json_to_jsonl(run.with_suffix(".json"), run), validate(run)
(1, 1, [])

`<image>` in a wrong place is found and repaired; ids must be unique:

>>> entry = conversation.to_llava()
>>> entry["conversations"][0]["value"] = "<image> Which eye is it?"
>>> _ = other.write_text(json_line(entry))
>>> print(*validate(other))
line 1 (eye-1): <image> must be the last line of the first question
>>> print(*repair(other, other))
line 1 (eye-1): <image> put as the last line of the first question
>>> merge([run, other], run)
Traceback (most recent call last):
retinal_lib.errors.UserError: ...other.jsonl, line 1: the id 'eye-1' is already used in ...conversations.jsonl, line 1...
>>> folder.cleanup()
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from retinal_lib.conversation import IMAGE, entries, entry_problems, is_nested, read_list
from retinal_lib.errors import UserError
from retinal_lib.files import NotJson, atomic_write, json_line, json_lines
from retinal_lib.text import training_text


class Problem(NamedTuple):
    """A problem on a line of a JSON lines file, or in an entry of a JSON list; both are counted from 1."""

    line: int
    id: str
    what: str

    def __str__(self) -> str:
        return f"line {self.line}{f' ({self.id})' if self.id else ''}: {self.what}"


def jsonl_to_json(source: str | Path, target: str | Path) -> int:
    """Writes JSON lines as one nested JSON list and returns the number of entries. UserError: a line is not an entry."""
    return _write(Path(target), (entry for _, entry in entries(Path(source))))


def json_to_jsonl(source: str | Path, target: str | Path) -> int:
    """Writes a nested JSON list as JSON lines and returns the number of entries. UserError: an element is not an entry."""
    return _write(Path(target), (entry for _, entry in entries(Path(source))))


def _write(target: Path, rows: Iterable[dict]) -> int:
    """The file's suffix decides: .json is a list, anything else JSON lines. The file is written completely or not at all."""
    nested, count = is_nested(target), 0
    with atomic_write(target) as file:
        file.write("[" if nested else "")
        for count, entry in enumerate(rows, start=1):
            separator = (",\n" if count > 1 else "\n") if nested else ""
            file.write(separator + json_line(entry) + ("" if nested else "\n"))
        file.write("\n]\n" if nested else "")
    return count


def validate(source: str | Path) -> list[Problem]:
    """Lists all problems of a conversation file, by line; empty if it can be trained on.

    UserError: the file cannot be read at all.
    """
    path, problems, first_lines = Path(source), [], {}
    for number, entry in read_list(path) if is_nested(path) else json_lines(path):
        if isinstance(entry, NotJson):
            problems.append(Problem(number, "", entry.text))
            continue
        name = str(entry.get("id", "")) if isinstance(entry, dict) else ""
        wrong = entry_problems(entry)
        problems += [Problem(number, name, what) for what in wrong or _unfit(entry["conversations"])]
        if name and name in first_lines:
            problems.append(Problem(number, name, f"the id is already used on line {first_lines[name]}"))
        first_lines.setdefault(name, number)
    return problems


def _unfit(turns: list[dict]) -> list[str]:
    return training_text.problems(turn["value"].replace(IMAGE, "") for turn in turns)


def repair(source: str | Path, target: str | Path) -> list[Problem]:
    """Writes a copy with `<image>` once, as the last line of the first question, and returns the changes.

    Nothing else is changed. UserError: something else is wrong with an entry.
    """
    repaired = list(_repaired(Path(source)))
    _write(Path(target), (entry for entry, _ in repaired))
    return [change for _, change in repaired if change]


def _repaired(path: Path) -> Iterator[tuple[dict, Problem | None]]:
    """Yields each entry in its right form, with the change."""
    for number, entry in entries(path):
        wrong = entry_problems(entry)
        if other := [what for what in wrong if IMAGE not in what]:
            raise UserError(f"{path}, line {number}: {'; '.join(other)}; repair can only move {IMAGE}")
        if not wrong:
            yield entry, None
            continue
        turns = [turn | {"value": _without_image(turn["value"])} for turn in entry["conversations"]]
        if not all(turn["value"] for turn in turns):
            raise UserError(f"{path}, line {number}: a part holds only {IMAGE} and no text; repair can only move {IMAGE}")
        turns[0]["value"] += f"\n{IMAGE}"
        change = Problem(number, entry["id"], f"{IMAGE} put as the last line of the first question")
        yield entry | {"conversations": turns}, change


def _without_image(value: str) -> str:
    """A text without `<image>`, and without the lines that held only that."""
    lines = [(line, line.replace(IMAGE, "").rstrip() if IMAGE in line else line) for line in value.split("\n")]
    return "\n".join(after for before, after in lines if after or IMAGE not in before).strip()


def merge(sources: Iterable[str | Path], target: str | Path) -> int:
    """Writes several conversation files as one, in the order given, and returns the number of entries.

    UserError: an id occurs twice (the message names both lines), or a file is broken; the target is then unchanged.
    """
    return _write(Path(target), _merged([Path(source) for source in sources]))


def _merged(paths: list[Path]) -> Iterator[dict]:
    first_lines: dict[str, str] = {}
    for path in paths:
        for number, entry in entries(path):
            line, name = f"{path}, line {number}", entry.get("id")
            if not isinstance(name, str) or not name:
                raise UserError(f"{line}: id is missing or not a text")
            if name in first_lines:
                raise UserError(f"{line}: the id {name!r} is already used in {first_lines[name]}; ids must be unique")
            first_lines[name] = line
            yield entry
