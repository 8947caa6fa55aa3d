"""One image with its row of a label table, and what every kind of fact is."""

import re
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from retinal_lib.dataset.tables import Table, fold
from retinal_lib.facts import Fact, Source

Column = str | list[str] | dict[str, str]  # one name, alternatives, or one per eye


class ExcludedImage(Exception):
    """This image must not be used; the message says why. The run goes on with the others."""


@dataclass
class Record:
    """One image and its row. `missing` collects what could not be read, in sentences."""

    image: str
    stem: str
    split: str
    eye: str | None = None
    table: Table | None = None
    row: int | None = None
    unlabelled: bool = False
    corrections: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # folded column -> stale, right, source
    missing: list[str] = field(default_factory=list)

    def cell(self, column: Column) -> tuple[str, Source]:
        """The cell's text and place; "" where the image has no row, or an unlabelled split lacks the column."""
        names = column[self.eye or "left"] if isinstance(column, dict) else column
        if self.table is None or self.row is None:
            return "", Source(self.image)
        if self.unlabelled and self.table.find(names) is None:
            return "", self.table.source(self.row, names if isinstance(names, str) else names[0])
        text = self.table.column(names)[self.row]
        found = self.table.find(names)
        title = next(name for name in self.table.header if fold(name) == found)
        if found in self.corrections and text == self.corrections[found][0]:
            text = self.corrections[found][1]
        return text, self.table.source(self.row, title)

    def whole(self, column: Column, allowed: list[int], what: str) -> tuple[int | None, Source]:
        """A whole-number cell, None (and a sentence in `missing`) where it is empty. ExcludedImage: not an allowed value."""
        text, source = self.cell(column)
        if not text:
            if self.table is not None:
                self.missing.append(f"{what} is not known: {source} is empty")
            return None, source
        number = re.fullmatch(r"(-?\d+)(\.0*)?", text)
        if not number or int(number[1]) not in allowed:
            raise ExcludedImage(f"{source}: found {text!r}; expected one of {', '.join(map(str, allowed))}")
        return int(number[1]), source


class Kind(BaseModel):
    """A kind of fact with its settings; `gives` names its aspects, `label` marks kinds that must agree where an image has
    several rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    label: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ()

    def facts(self, record: Record) -> list[Fact]:
        """The facts of this kind. ExcludedImage: the cells contradict themselves or hold an impossible value."""
        raise NotImplementedError

    def columns(self) -> list[Column]:
        """The columns that must be in a labelled table."""
        return []
