"""Conversation files from one form to another: JSON lines and nested JSON, checked, repaired and merged.

>>> import tempfile
>>> from retinal_lib.conversation import Conversation, Turn
>>> folder = tempfile.TemporaryDirectory()
>>> run, other = Path(folder.name, "conversations.jsonl"), Path(folder.name, "other.jsonl")
>>> talk = Conversation("eye-1", "ODIR/1.jpg", (Turn("Which eye is it?", "The left eye."),))
>>> _ = run.write_text(json_line(talk.to_llava()))

A list for LLaVA's training, back to lines, and checked:

>>> jsonl_to_json(run, run.with_suffix(".json")), json_to_jsonl(run.with_suffix(".json"), run), validate(run)
(1, 1, [])

`<image>` in a wrong place is found and repaired; an id may not stand twice:

>>> entry = talk.to_llava()
>>> entry["conversations"][0]["value"] = "<image> Which eye is it?"
>>> _ = other.write_text(json_line(entry))
>>> print(*validate(other))
line 1 (eye-1): <image> must be the last line of the first question
>>> print(*repair(other, other))
line 1 (eye-1): <image> put as the last line of the first question
>>> merge([run, other], run)
Traceback (most recent call last):
retinal_lib.errors.UserError: ...other.jsonl, line 1: the id 'eye-1' stands in ...conversations.jsonl, line 1 already...
>>> folder.cleanup()
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from retinal_lib.conversation import IMAGE, entries, entry_problems, is_nested, read_list
from retinal_lib.errors import UserError
from retinal_lib.files import NotJson, atomic_write, json_line, json_lines


class Problem(NamedTuple):
    """What is wrong on a line of a JSON lines file, or in an entry of a JSON list (both count from 1)."""

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
    """The file's suffix decides: .json is a list, anything else JSON lines. Nothing is written unless all can be."""
    nested, count = is_nested(target), 0
    with atomic_write(target) as file:
        file.write("[" if nested else "")
        for count, entry in enumerate(rows, start=1):
            separator = (",\n" if count > 1 else "\n") if nested else ""
            file.write(separator + json_line(entry) + ("" if nested else "\n"))
        file.write("\n]\n" if nested else "")
    return count


def validate(source: str | Path) -> list[Problem]:
    """Lists everything wrong with a conversation file, by line; empty where it can be trained on.

    UserError: the file cannot be read at all.
    """
    path, found, seen = Path(source), [], {}
    for number, entry in read_list(path) if is_nested(path) else json_lines(path):
        if isinstance(entry, NotJson):
            found.append(Problem(number, "", entry.text))
            continue
        name = str(entry.get("id", "")) if isinstance(entry, dict) else ""
        found += [Problem(number, name, what) for what in entry_problems(entry)]
        if name and name in seen:
            found.append(Problem(number, name, f"the id stands on line {seen[name]} already"))
        seen.setdefault(name, number)
    return found


def repair(source: str | Path, target: str | Path) -> list[Problem]:
    """Writes a copy in which `<image>` stands once, as the last line of the first question, and returns what was changed.

    Nothing else is changed. UserError: something else is wrong with an entry.
    """
    repaired = list(_repaired(Path(source)))
    _write(Path(target), (entry for entry, _ in repaired))
    return [change for _, change in repaired if change]


def _repaired(path: Path) -> Iterator[tuple[dict, Problem | None]]:
    """Yields each entry in its right form, with what was changed."""
    for number, entry in entries(path):
        wrong = entry_problems(entry)
        if other := [what for what in wrong if IMAGE not in what]:
            raise UserError(f"{path}, line {number}: {'; '.join(other)}; only the place of {IMAGE} can be repaired")
        if not wrong:
            yield entry, None
            continue
        turns = [turn | {"value": _without_image(turn["value"])} for turn in entry["conversations"]]
        if not all(turn["value"] for turn in turns):
            raise UserError(f"{path}, line {number}: a part holds {IMAGE} and nothing else; only its place can be repaired")
        turns[0]["value"] += f"\n{IMAGE}"
        change = Problem(number, entry["id"], f"{IMAGE} put as the last line of the first question")
        yield entry | {"conversations": turns}, change


def _without_image(value: str) -> str:
    """A text without `<image>`, and without the lines that hold nothing else."""
    lines = [(line, line.replace(IMAGE, "").rstrip() if IMAGE in line else line) for line in value.split("\n")]
    return "\n".join(after for before, after in lines if after or IMAGE not in before).strip()


def merge(sources: Iterable[str | Path], target: str | Path) -> int:
    """Writes several conversation files as one, in the order given, and returns the number of entries.

    UserError: an id stands twice (both places are named), or a file is broken; the target is then left as it was.
    """
    return _write(Path(target), _merged([Path(source) for source in sources]))


def _merged(paths: list[Path]) -> Iterator[dict]:
    seen: dict[str, str] = {}
    for path in paths:
        for number, entry in entries(path):
            place, name = f"{path}, line {number}", entry.get("id")
            if not isinstance(name, str) or not name:
                raise UserError(f"{place}: id is missing or not a text")
            if name in seen:
                raise UserError(f"{place}: the id {name!r} stands in {seen[name]} already; ids must differ")
            seen[name] = place
            yield entry
