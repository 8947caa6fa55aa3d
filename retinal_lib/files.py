"""Files written whole or not at all, JSON lines, and sha256."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from retinal_lib import paths, typed_paths
from retinal_lib.errors import UserError
from retinal_lib.parsing import Unreadable, json_value, yaml_value
from retinal_lib.text.shown_text import for_people

if TYPE_CHECKING:
    from pandas import DataFrame

_PIECE = 4096
_HALF = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")  # half characters that stand for no byte of a name


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`. The file written there is renamed to `path` when the block ends without an error
    and removed otherwise. Missing folders are created. UserError: the file cannot be written."""
    part = path.with_name(f".{path.name}.part")
    try:
        typed_paths.expand(part)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); free disk space or allow writing there, "
            "then run again; nothing is lost"
        ) from error


@contextmanager
def atomic_write(path: Path) -> Iterator[TextIO]:
    """Writes a text file (UTF-8) to a temporary file, syncs it to disk, then renames it into place. UserError: it cannot be
    written; an earlier file is then unchanged."""
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def would_replace(file: Path, holds: str, way: str = "out_dir=", of_folder: bool = True) -> UserError:
    """Returns the error that a run would replace a file by something smaller or other: what it `holds`, and the two ways out.
    `way` is what the user types just before another place: one for its folder, or for the file alone."""
    place, number = (file.parent if of_folder else file), 2
    while (other := place.with_name(f"{place.stem}-{number}{place.suffix}")).exists():
        number += 1
    return UserError(
        f"{paths.display_path(file)} holds {holds}. To keep it, name another place, such as {way}{paths.display_path(other)}; "
        f"to replace it, delete {file.name} first"
    )


def json_line(entry: object) -> str:
    """Returns an entry as one line of JSON without line feed, readable in every alphabet."""
    return json.dumps(entry, ensure_ascii=False)


def remove(path: Path) -> None:
    """Removes a file, if there is one. UserError: it cannot be removed, or is a folder."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{paths.display_path(path)} cannot be removed ({error.strerror or error}); move it away") from error


class NotJson(NamedTuple):
    """A line that is not JSON. `text` says what is wrong with it, `torn` whether it is the last line and has no line feed, as
    an interrupted write leaves it."""

    text: str
    torn: bool


def json_lines(path: Path) -> Iterator[tuple[int, object]]:
    """Yields the number (from 1) and value of each line that is not empty; NotJson for a line that cannot be parsed.
    UserError: the file cannot be read."""
    require_file(path)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _value(line)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def _value(line: bytes) -> object:
    try:
        return json_value(line)
    except Unreadable as error:
        return NotJson(str(error), torn=not line.endswith(b"\n"))


def read_json(path: Path) -> object:
    """Returns the value that a file of JSON holds. UserError: it cannot be read; the message names the file and the line."""
    try:
        return json_value(read_bytes(path))
    except Unreadable as error:
        place = f", line {error.line}" if error.line else ""
        raise UserError(f"{path}{place}: {git_lfs_pointer(path) or error}") from error


def read_object(path: Path) -> dict:
    """Returns the object that a file of JSON holds. UserError: it cannot be read, or holds something else."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: found {type(content).__name__}; expected an object")
    return content


def read_yaml(path: Path, what: str, words: bool = False) -> object:
    """Returns the value that a file of YAML holds, which is to be `what`. `words`: yes and no are words, no booleans.
    UserError: it cannot be read."""
    try:
        return yaml_value(read_bytes(path), words)
    except Unreadable as error:
        place = f"{paths.display_path(path)}{f', line {error.line}' if error.line else ''}"
        raise UserError(f"{place}: not readable as {what} ({error})") from error


def read_jsonl(path: Path, torn_end: bool = False) -> Iterator[tuple[int, object]]:
    """Yields the number (from 1) and value of each line of JSON that is not empty. With `torn_end`, a last line that an
    interrupted write cut short is skipped. UserError: the file cannot be read, or a line is not JSON."""
    for number, value in json_lines(path):
        if isinstance(value, NotJson):
            if torn_end and value.torn:
                return
            raise UserError(f"{path}, line {number}: {value.text}")
        yield number, value


def write_jsonl(path: Path, rows: Iterable[object]) -> Path:
    """Writes rows as lines of JSON, whole or not at all, and returns the path. UserError: it cannot be written."""
    with atomic_write(path) as file:
        file.writelines(json_line(row) + "\n" for row in rows)
    return path


def write_csv(path: Path, table: "DataFrame", index: str = "") -> Path:
    """Writes a table for people as CSV, whole or not at all, and returns the path; its texts are as people may read them.
    `index` is the name of the column that the index becomes. UserError: it cannot be written."""
    with atomic_write(path) as file:
        shown = table.map(lambda cell: for_people(cell) if isinstance(cell, str) else cell)
        shown.to_csv(file, index=bool(index), index_label=index or None, lineterminator="\n")
    return path


def printable(name: str) -> str:
    r"""Returns a file's name as text that can be written as UTF-8.

    >>> printable("caf\udce9.png")
    'caf\\xe9.png'
    """
    return _HALF.sub("\ufffd", name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


_EMPTY = "the file is empty (0 bytes)"


def read_bytes(path: Path) -> bytes:
    """Returns the bytes of a file. UserError: it cannot be read, or is a pipe or a device, which would wait for ever."""
    require_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def require_file(path: Path) -> None:
    """Checks that a path is a file that can be read, be it empty. UserError: it is none."""
    if (why := why_unusable(path)) not in ("", _EMPTY):
        raise UserError(f"{printable(str(path))}: cannot be read ({why})")


def why_unusable(path: Path) -> str:
    """Returns why a path is no file that can be read and named, "" where it is one. Nothing is opened: a pipe would wait for
    ever."""
    try:
        if printable(str(path)) != str(path):
            return "its name or folder is not in UTF-8; rename it"
        if path.is_file() and not os.access(path, os.R_OK):
            return "it may not be read (permission denied)"
        if path.is_file():
            return "" if path.stat().st_size else _EMPTY
        if path.is_symlink():
            return "it is a link to a file that is not there"
        if path.is_dir():
            return "it is a folder, not a file"
        return "it is a pipe or a device, not a file" if path.exists() else "there is no such file"
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"


def git_lfs_pointer(path: Path) -> str:
    """Returns a sentence where a file is a git-lfs pointer, "" where it is not. OSError: the file cannot be read."""
    with path.open("rb") as file:
        pointer = file.read(40).startswith(b"version https://git-lfs.github.com/")
    return "it is a git-lfs pointer, not the file itself: run `git lfs pull` in its folder" if pointer else ""


def sha256(text: str) -> str:
    """Returns the sha256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def pieces_sha256(path: Path, size: int) -> str:
    """Returns the sha256 of the first, middle and last 4,096 bytes of a file of `size` bytes: it distinguishes most
    files of equal size without reading them completely. OSError: the file cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for place in (0, size // 2, max(0, size - _PIECE)):
            file.seek(place)
            digest.update(file.read(_PIECE))
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Returns the sha256 of a file's bytes, in hexadecimal. OSError: it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
