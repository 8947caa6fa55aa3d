"""Markdown tables read as sentences: each cell with the names of its row and column."""

import re
from typing import NamedTuple

from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import word_lists
from retinal_lib.check.language.naming import KINDS

WORDS = word_lists("tables")

_TABLE = re.compile(
    r"^(?P<head>[^\n]*\|[^\n]*)\n[ \t]*\|?[ \t]*:?-+[-:| \t]*(?:\n|\Z)(?P<body>(?:[^\n]*\|[^\n]*(?:\n|\Z))*)", re.MULTILINE
)
_NAMING = frozenset([*KINDS.values(), "conditions", "units"])


class FlatText(NamedTuple):
    """A text without tables, and for each of its characters the place in the text as it was."""

    text: str
    places: list[int] | None = None

    def place(self, span: tuple[int, int]) -> tuple[int, int]:
        """Returns where a part of the flat text stands in the text as it was."""
        if self.places is None or span[0] >= span[1]:
            return span
        held = [self.places[k] for k in (span[0], span[1] - 1)]
        return min(held), max(held) + 1


def flatten(text: str) -> FlatText:
    """Reads the tables of a text as sentences; a column's name is left out where it names nothing, as Value and Seen do.

    >>> flatten("| Lesion | Count |\\n|---|---|\\n| Drusen | 3 |").text
    'Drusen Count: 3.\\n'
    """
    if "|" not in text:
        return FlatText(text)
    pieces: list[tuple[str, int | None]] = []  # text with its place; None for glue
    done = 0
    for table in _TABLE.finditer(text):
        pieces.append((text[done : table.start()], done))
        heads = _cells(text, *table.span("head"))
        for row in re.finditer(r"[^\n]+", table["body"]):
            first = table.start("body")
            pieces += _row(heads, _cells(text, first + row.start(), first + row.end()))
        done = table.end()
    pieces.append((text[done:], done))
    flat, places = "", []
    for piece, place in pieces:
        flat += piece
        places += range(place, place + len(piece)) if place is not None else [places[-1] if places else 0] * len(piece)
    return FlatText(flat, places)


def _cells(text: str, start: int, end: int) -> list[tuple[str, int]]:
    """The cells of a line with their places; the line may begin and end with a bar or not."""
    line = text[start:end].rstrip().removesuffix("|")
    cells, at = [], re.match(r"\s*\|?", line).end()
    for part in line[at:].split("|"):
        cells.append((part.strip(), start + at + len(part) - len(part.lstrip())))
        at += len(part) + 1
    return cells


def _row(heads: list[tuple[str, int]], cells: list[tuple[str, int]]) -> list[tuple[str, int | None]]:
    label, pieces = cells[0], []
    of_row = [label] if lexicon.read(label[0]).terms or not heads else [heads[0], label]
    for head, cell in zip(heads[1:], cells[1:], strict=False):
        if not cell[0].strip("-–— ."):
            continue
        named = [name for name in of_row if name[0]]
        naming = _NAMING & lexicon.read(head[0]).by_kind.keys() and cell[0].casefold() not in WORDS.bare
        named += [head] * bool(naming)
        for name in named:
            pieces += [(" ", None)] * bool(name is not named[0]) + [name]
        pieces += [(": ", None), cell, (".\n", None)]
    return pieces
