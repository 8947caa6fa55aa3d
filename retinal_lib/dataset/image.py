"""One image of a dataset on disk, with its label row, masks and results of AutoMorph."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel

from retinal_lib.dataset.lesion_facts import MaskFiles
from retinal_lib.dataset.lesions.boxes import CropInfo
from retinal_lib.dataset.tables import Table, fold, is_empty
from retinal_lib.errors import UserError
from retinal_lib.facts import Source

if TYPE_CHECKING:  # it loads pandas, which a page does not need
    from retinal_lib.dataset.automorph import ImageResults

Column = str | list[str] | dict[str, str]  # one name, alternatives, or one per eye


class Correction(BaseModel, extra="forbid", frozen=True):
    """A published erratum: the stale value and the right one."""

    image: str
    column: str
    stale: str
    right: str
    source: str


class ExcludedImage(Exception):
    """Raised for an image that must not be used; the message says why. A run continues with the others."""


class Cell(NamedTuple):
    """A cell's text, "" for an empty one, and its place."""

    text: str
    source: Source


class WholeNumber(NamedTuple):
    """A cell that holds a whole number; where it is empty, None, and a sentence in `missing` where the image has a row."""

    value: int | None
    source: Source
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """One image's label row, eye and patient; each is None where it is not known. `corrections` are the published errata."""

    image: str
    eye: str | None = None
    patient: str | None = None
    table: Table | None = None
    row: int | None = None
    unlabelled: bool = False  # the table may lack the label columns
    corrections: dict[str, Correction] = field(default_factory=dict)  # by folded column

    def cell(self, column: Column) -> Cell:
        """Returns a cell; its text is "" where it holds nothing or a mark such as n/a, where the image has no row, or where an
        unlabelled split lacks the column."""
        names = column[self.eye or "left"] if isinstance(column, dict) else column
        if self.table is None or self.row is None:
            return Cell("", Source(self.image))
        if self.unlabelled and self.table.find(names) is None:
            return Cell("", self.table.source(self.row, names if isinstance(names, str) else names[0]))
        text = self.table.column(names)[self.row]
        folded = self.table.find(names)
        title = next(name for name in self.table.header if fold(name) == folded)
        correction = self.corrections.get(folded)
        if correction and text == correction.stale:
            text = correction.right
        return Cell("" if is_empty(text) else text, self.table.source(self.row, title))

    def whole_number(self, column: Column, allowed: list[int], what: str) -> WholeNumber:
        """Returns a cell that holds one of the `allowed` numbers; `what` names it. ExcludedImage: it holds something else."""
        text, source = self.cell(column)
        if not text:
            return WholeNumber(None, source, (f"{what} is not known: {source} is empty",) if self.table else ())
        number = re.fullmatch(r"(-?\d+)(\.0*)?", text)
        if not number or int(number[1]) not in allowed:
            raise ExcludedImage(f"{source}: found {text!r}; expected one of {', '.join(map(str, allowed))}")
        return WholeNumber(int(number[1]), source)


@dataclass(frozen=True, eq=False)
class Image:
    """An image with everything that its dataset's files hold on it. `name` is what the dataset lists it by, `id` its
    sample's id, unique over splits and datasets, `export_name` its name in exported files (after the prefix), `size` the
    file's in bytes, `masks` its lesion masks where the dataset has any, `automorph` AutoMorph's results where its split has
    any, `excluded_because` why it must not be used, "" where it may."""

    name: str
    id: str
    export_name: str
    path: Path
    split: str
    size: int
    record: Record
    masks: MaskFiles | None
    automorph: "ImageResults | None"
    excluded_because: str = ""

    @property
    def stem(self) -> str:
        """The file's name without its last suffix."""
        return self.path.stem

    @property
    def eye(self) -> str | None:
        """left, right, or None where that is not known."""
        return self.record.eye

    @cached_property
    def crop(self) -> CropInfo | None:
        """How AutoMorph cropped the picture; None where its results do not say. UserError: they cannot be read."""
        return self.automorph.crop if self.automorph else None

    def require_usable(self) -> None:
        """Checks that the image may be used. UserError: it is excluded; the sentence says why."""
        if self.excluded_because:
            raise UserError(f"{self.name} is not used: {self.excluded_because}")
