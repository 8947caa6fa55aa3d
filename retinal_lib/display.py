"""Output for people: counts in words, tables in full, progress bars, and pages filled from templates."""

import base64
import re
import sys
from functools import cache

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from tqdm import tqdm

from retinal_lib.paths import PACKAGE


def count(number: int, noun: str) -> str:
    """Returns a number with its noun.

    >>> count(1, "batch"), count(3000, "image"), count(2, "entry")
    ('1 batch', '3,000 images', '2 entries')
    """
    plural = f"{noun}es" if noun.endswith("ch") else re.sub(r"(?<![aeiou])y$", "ie", noun) + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def are(number: int) -> str:
    """Returns the verb that goes with a number: is or are."""
    return "is" if number == 1 else "are"


class FullTable(pd.DataFrame):
    """A DataFrame that notebooks and terminals show in full, up to 200 rows."""

    def _repr_html_(self) -> str | None:
        with pd.option_context("display.max_colwidth", None, "display.max_rows", 200):
            return super()._repr_html_()

    def __repr__(self) -> str:
        with pd.option_context("display.max_colwidth", None, "display.max_rows", 200, "display.width", 200):
            return super().__repr__()


class Bar(tqdm):
    """A progress bar that appears after two seconds. It is a context manager; its last line stays when the block ends."""

    def __init__(self, total: int, unit: str):
        file = _CellOutput() if _in_kernel() else sys.stderr
        options = {"unit": f" {unit}", "ascii": " #", "ncols": 100}
        super().__init__(total=total, delay=2, mininterval=0.5, position=0, file=file, **options)

    def show(self, done: int, note: str = "") -> None:
        """Sets how many of the total are done, and a note, such as what is waited for."""
        self.set_postfix_str(note, refresh=False)
        self.update(done - self.n)


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
    files. explore/sheets, review/sample_html and export/card use it."""
    return _templates().get_template(template).render(values)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(PACKAGE),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["count"] = count
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    return environment
