"""Output for people: counts in words, tables in full, progress bars, and pages filled from templates."""

import base64
import multiprocessing
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from tqdm import tqdm

from retinal_lib.paths import PACKAGE
from retinal_lib.text.shown_text import for_people

Item = TypeVar("Item")


def count(number: int, noun: str) -> str:
    """Returns a number with its noun.

    >>> count(1, "batch"), count(3000, "image"), count(2, "entry")
    ('1 batch', '3,000 images', '2 entries')
    """
    plural = f"{noun}es" if noun.endswith("ch") else re.sub(r"(?<![aeiou])y$", "ie", noun) + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def without_rows(sentence: str) -> str:
    """Returns a sentence on cells without the numbers of their rows, so that equal ones are counted together.

    >>> without_rows("labels.csv, row 12, column 'age': found '?'")
    "labels.csv, row …, column 'age': found '?'"
    """
    return re.sub(r"\brow \d+", "row …", sentence)


def without_cells(sentence: str) -> str:
    """Returns a sentence without the texts of cells, which may name a person, for what is passed on; names of columns stay.

    >>> without_cells("labels.csv, row 12, column 'age': found 'Meier'")
    "labels.csv, row 12, column 'age': found …"
    """
    return _QUOTED.sub(lambda found: found[0] if found[1] else "…", sentence)


_QUOTED = re.compile(r"""(?<!\w)(column )?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(?!\w)""")


def listed(words: list[str], last: str = "and", comma: str = "") -> str:
    """Returns words as a list in a sentence: a, b and c; `comma` stands before its last word where it has three or more.

    >>> listed(["good", "usable", "not gradable"], "or", ",")
    'good, usable, or not gradable'
    """
    if len(words) < 3:
        return f" {last} ".join(words)
    return f"{', '.join(words[:-1])}{comma} {last} {words[-1]}"


def are(number: int) -> str:
    """Returns the verb that goes with a number: is or are."""
    return "is" if number == 1 else "are"


_PICTURE = re.compile(r"[A-Za-z0-9+/]{500,}=*")  # as base64


class FullTable(pd.DataFrame):
    """A DataFrame that notebooks and terminals show in full, up to 200 rows, as people may read it, see `shown_text`."""

    @property
    def _constructor(self) -> type["FullTable"]:
        """Parts of the table are shown as it is."""
        return FullTable

    def _repr_html_(self) -> str | None:
        with pd.option_context("display.max_colwidth", None, "display.max_rows", 200):
            html = super()._repr_html_()
        return None if html is None else for_people(html)

    def __repr__(self) -> str:
        with pd.option_context("display.max_colwidth", None, "display.max_rows", 200, "display.width", 200):
            return for_people(super().__repr__())

    def to_string(self, *arguments: object, **options: object) -> str | None:
        """Returns the table as text."""
        text = super().to_string(*arguments, **options)
        return None if text is None else for_people(text)


class Bar(tqdm):
    """A progress bar that appears after two seconds. It is a context manager; its last line stays when the block ends.
    A process that works for another one shows none: its bar would be written over those of the others."""

    def __init__(self, total: int, unit: str):
        file = _CellOutput() if _in_kernel() else sys.stderr
        options = {"unit": f" {unit}", "ascii": " #", "ncols": 100}
        if multiprocessing.current_process().name != "MainProcess":
            options["disable"] = True
        super().__init__(total=total, delay=2, mininterval=0.5, position=0, file=file, **options)

    def show(self, done: int, note: str = "") -> None:
        """Sets how many of the total are done, and a note, such as what is waited for."""
        self.set_postfix_str(note, refresh=False)
        self.update(done - self.n)


def progress(items: Sequence[Item], unit: str) -> Iterator[Item]:
    """Yields items under a progress bar."""
    with Bar(len(items), unit) as bar:
        for done, item in enumerate(items, start=1):
            yield item
            bar.show(done)


@contextmanager
def shared_bar(total: int, unit: str, processes: int) -> Iterator[Callable[[int, str], None]]:
    """Shows one bar for what several processes do. It yields a function that each of them calls with the number of steps that
    it has just done, and a note. The note is shown where there is one process; those of several would take turns."""
    with Bar(total, unit) as bar:
        if processes == 1:
            yield lambda number, note: bar.show(bar.n + number, note)
            return
        ended = threading.Event()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "steps"  # a byte for each step, so that no reader meets half a number
            file.touch()
            follower = threading.Thread(target=_follow, args=(file, bar, ended), daemon=True)
            follower.start()
            try:
                yield partial(_append, file)
            finally:
                ended.set()
                follower.join()


def _append(file: Path, number: int, note: str) -> None:
    with file.open("ab") as steps:
        steps.write(bytes(number))


def _follow(file: Path, bar: Bar, ended: threading.Event) -> None:
    waiting = True
    while waiting:
        waiting = not ended.wait(0.5)
        if (done := file.stat().st_size) > bar.n:
            bar.show(done)


class _CellOutput:
    """A text file for tqdm in a notebook: each text replaces the last one, so that the executed notebook holds one line."""

    def __init__(self):
        self._handle = None

    def write(self, text: str) -> None:
        """Shows the text in place of the last one."""
        from IPython.display import display  # only inside a kernel

        line = {"text/plain": text.strip("\r\n ")}
        if not line["text/plain"]:
            return
        if self._handle is None:
            self._handle = display(line, raw=True, display_id=True)
        else:
            self._handle.update(line, raw=True)

    def flush(self) -> None:
        """Does nothing: `write` shows at once."""


def _in_kernel() -> bool:
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def render(template: str, **values: object) -> str:
    """Fills a template of the package, named by its path below retinal_lib/, and returns the text; values are escaped in .html
    files, and texts are as people may read them, see `shown_text`. explore/sheets, review/sample_html and export/card use
    it."""
    return _templates().get_template(template).render(values)


def _shown(value: object) -> object:
    if not isinstance(value, str) or _PICTURE.fullmatch(value):
        return value
    return type(value)(for_people(value))  # as marked up as before


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(PACKAGE),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.filters["count"] = count
    environment.filters["without_cells"] = without_cells
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    return environment
