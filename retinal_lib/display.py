"""What a notebook or terminal shows: whole tables and progress bars."""

import base64
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from tqdm import tqdm

from retinal_lib.paths import PACKAGE

_WHOLE = ("display.max_colwidth", None, "display.max_rows", 200)


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 batch, 2 batches, 3,000 requests."""
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def are(number: int) -> str:
    """The verb to a number."""
    return "is" if number == 1 else "are"


class FullTable(pd.DataFrame):
    """A DataFrame that notebooks show whole."""

    def _repr_html_(self) -> str | None:
        with pd.option_context(*_WHOLE):
            return super()._repr_html_()

    def __repr__(self) -> str:
        with pd.option_context(*_WHOLE, "display.width", 200):
            return super().__repr__()


_DELAY = 2.0  # seconds: what is done sooner needs no bar


class _Cell:
    """A text file that tqdm writes to: in a notebook each text replaces the one before, so that one line is kept."""

    def __init__(self):
        from IPython.display import display  # only inside a kernel

        self._display, self._handle = display, None

    def write(self, text: str) -> None:
        """Shows the text in place of the last one."""
        line = {"text/plain": text.strip("\r\n ")}
        if not line["text/plain"]:
            return
        if self._handle is None:
            self._handle = self._display(line, raw=True, display_id=True)
        else:
            self._handle.update(line, raw=True)

    def flush(self) -> None:
        """Nothing is held back."""


class Bar:
    """Shows how many of the total are done, and a note on what is being waited for."""

    def __init__(self, total: int, unit: str):
        self._make = lambda: tqdm(total=total, unit=f" {unit}", file=_file(), ascii=" #", mininterval=0.5, ncols=100)
        self._start, self._bar = time.monotonic(), None

    def show(self, done: int, note: str = "") -> None:
        """Brings the bar up to date; it appears after two seconds."""
        if self._bar is None and time.monotonic() - self._start > _DELAY:
            self._bar = self._make()
            self._bar.start_t -= _DELAY
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leaves the last line standing."""
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()


def _file() -> object:
    return _Cell() if _in_kernel() else sys.stderr


def _in_kernel() -> bool:
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def bar(total: int, unit: str) -> Iterator[Bar]:
    """A bar for a block of work."""
    shown = Bar(total, unit)
    try:
        yield shown
    finally:
        shown.close()


def render(template: str, **values: object) -> str:
    """Fills a template of the package, named by its path below retinal_lib/; values are escaped in .html files."""
    return _templates().get_template(template).render(values)


@cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(PACKAGE),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["base64"] = lambda data: base64.b64encode(data).decode()
    return made
