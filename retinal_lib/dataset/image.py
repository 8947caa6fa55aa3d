"""One image of a dataset on disk, with its row: found once and handed round in place of its name."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from retinal_lib.dataset.lesions.boxes import CropInfo
from retinal_lib.dataset.tables import Table, fold
from retinal_lib.errors import UserError
from retinal_lib.facts import Source

if TYPE_CHECKING:  # it loads pandas, which a page does not need
    from retinal_lib.dataset.automorph import ImageResults

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
    patient: str | None = None
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


@dataclass(frozen=True, eq=False)
class Image:
    """An image with everything that its dataset's files hold on it. `name` is what the dataset lists it by, `id` its
    sample's id, unique over splits and datasets, `export_name` what it is called in exported files (after the prefix),
    `size` the file's in bytes,
    `masks` the mask file of each lesion type and landmark (None: the missing file means that there is no such lesion),
    `automorph` AutoMorph's results where its split has any, `excluded_because` why it must not be used, "" where it may."""

    name: str
    id: str
    export_name: str
    path: Path
    split: str
    size: int
    record: Record
    masks: dict[str, Path | None]
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
        """What AutoMorph cropped the picture by; None where its results do not tell. UserError: they cannot be read."""
        return self.automorph.crop if self.automorph else None

    def require_usable(self) -> None:
        """UserError: the image is excluded."""
        if self.excluded_because:
            raise UserError(f"{self.name} is not used: {self.excluded_because}")
