"""Small tables to look at: every letter of a cell and every row is shown, as a notebook's reader expects."""

import pandas as pd

_WHOLE = ("display.max_colwidth", None, "display.max_rows", 200)


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 batch, 2 batches, 3,000 requests."""
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def are(number: int) -> str:
    """The verb to a number."""
    return "is" if number == 1 else "are"


class Shown(pd.DataFrame):
    """A DataFrame that notebooks show whole."""

    def _repr_html_(self) -> str | None:
        with pd.option_context(*_WHOLE):
            return super()._repr_html_()

    def __repr__(self) -> str:
        with pd.option_context(*_WHOLE, "display.width", 200):
            return super().__repr__()
