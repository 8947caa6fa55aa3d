"""Conversation files from one form to another: JSON lines and nested JSON, checked, repaired and merged."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from retinal_lib.conversation import IMAGE, entries, entry_problems, is_nested, problems, read_list
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
    """Writes JSON lines as one nested JSON list, and returns the number of entries. UserError names the bad line."""
    return _write(Path(target), (entry for _, entry in entries(Path(source))))


def json_to_jsonl(source: str | Path, target: str | Path) -> int:
    """Writes a nested JSON list as JSON lines, and returns the number of entries. UserError names the bad entry."""
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
    """Everything wrong with a conversation file, by line; an empty list where it can be trained on.

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
    """Writes a copy in which `<image>` stands once, as the last line of the first question; returns what was changed.

    Nothing else is touched. UserError: an entry is broken in a way that no rule can mend, named by its line.
    """
    changed: list[Problem] = []
    _write(Path(target), _repaired(Path(source), changed))
    return changed


def _repaired(path: Path, changed: list[Problem]) -> Iterator[dict]:
    for number, entry in entries(path):
        name, turns = str(entry.get("id", "")), entry.get("conversations")
        beyond = [what for what in entry_problems(entry) if IMAGE not in what]
        if beyond:
            raise UserError(f"{path}, line {number}: {'; '.join(beyond)}; only the place of {IMAGE} can be repaired")
        if any(IMAGE in what for what in problems(turns)):
            mended = [turn | {"value": _without(turn["value"])} for turn in turns]
            if not all(turn["value"] for turn in mended):
                raise UserError(f"{path}, line {number}: a part holds {IMAGE} and nothing else; only its place can be repaired")
            mended[0]["value"] += f"\n{IMAGE}"
            changed.append(Problem(number, name, f"{IMAGE} put as the last line of the first question"))
            entry = entry | {"conversations": mended}
        yield entry


def _without(value: str) -> str:
    lines = [line.replace(IMAGE, "").rstrip() if IMAGE in line else line for line in value.split("\n")]
    kept = [line for line, before in zip(lines, value.split("\n"), strict=True) if line or IMAGE not in before]
    return "\n".join(kept).strip()


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
