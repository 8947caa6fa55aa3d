"""Files written whole or not at all, and JSON as one line."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from retinal_lib.errors import UserError


@contextmanager
def swapped(path: Path) -> Iterator[TextIO]:
    """A text file to write that takes its place only when it is whole and on disk. UserError: it cannot be written."""
    try:
        with beside(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); free its place and run again: nothing is lost"
        ) from error


def dump(entry: object) -> str:
    """One line of JSON, readable in every alphabet."""
    return json.dumps(entry, ensure_ascii=False)


def sha256(text: str) -> str:
    """The sha256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A file beside `path` to be written, which takes its place when the block ends well, and is gone when it does not.
    OSError: it cannot take its place."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
