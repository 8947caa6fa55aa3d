"""One image of a dataset on disk, with its label row, masks and results of AutoMorph."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, Field

from retinal_lib.dataset.cells import values
from retinal_lib.dataset.lesion_facts import MaskFiles
from retinal_lib.dataset.lesions.boxes import CropInfo
from retinal_lib.dataset.tables import Code, Table, code, fold, is_empty
from retinal_lib.errors import UserError
from retinal_lib.facts import Source
from retinal_lib.imaging.dicom import Header

if TYPE_CHECKING:  # it loads pandas, which a page does not need
    from retinal_lib.dataset.automorph import ImageResults


class Agreed(BaseModel, extra="forbid", frozen=True):
    """Columns of several graders of one image: what they agree on, or what the column `adjudicated` holds where it is
    filled."""

    agree: list[str] = Field(min_length=2)
    adjudicated: str | None = None


# one name, alternatives, one per eye, or those of several graders; a named group of the page's `image` is read like a column
Column = str | list[str] | dict[Literal["left", "right"], str | list[str]] | Agreed


def names_of(column: Column) -> list[str | list[str]]:
    """Returns the columns that one reads, each a name or alternatives."""
    if isinstance(column, Agreed):
        return [*column.agree, *filter(None, [column.adjudicated])]
    return list(column.values()) if isinstance(column, dict) else [column]


def in_list(value: object) -> list:
    """Returns what a page writes as one value or as a list of them, as a list."""
    return value if isinstance(value, list) else [value]


Codes = Annotated[list[Code], BeforeValidator(in_list)]  # cells, of which a page may write one without a list


class Correction(BaseModel, extra="forbid", frozen=True):
    """A published erratum: the image (`split/name` where numbering restarts), the stale value and the right one."""

    image: str
    column: str | list[str]
    stale: str
    right: str
    source: str


DISAGREE = "age and sex are not told: rows of this person disagree"
NO_ROW = " has no row for it"  # the end of a sentence on a joined table
EMPTY = "empty"  # the end of a sentence on a cell that holds nothing


class ExcludedImage(Exception):
    """Raised for an image that must not be used; the message says why. A run continues with the others."""


class Cell(NamedTuple):
    """A cell's text, "" for an empty one, its place, and why it is empty where that is more than that it holds nothing."""

    text: str
    source: Source
    why: str = ""

    @property
    def unknown(self) -> str:
        """The end of a sentence on why nothing is known."""
        return self.why or f"{self.source} is {EMPTY}"


class WholeNumber(NamedTuple):
    """A cell that holds a whole number; where it is empty, None, and a sentence in `missing` where the image has a row."""

    value: int | None
    source: Source
    missing: tuple[str, ...] = ()


class Decimal(NamedTuple):
    """A cell that holds a number, and the number; where it holds none, None, and the reason where a comma is that."""

    value: float | None
    cell: Cell
    why: str = ""


class Row(NamedTuple):
    """A row of a table, counted from 0, and the eye that it is of where that is known."""

    table: Table
    number: int
    eye: str | None = None


@dataclass(frozen=True)
class Record:
    """One image's label row with the rows joined to it, eye and patient; each is empty or None where it is not known. `groups`
    are the named parts of the image's name, which are read like columns; `age` in years as a DICOM header has it; `corrections`
    the published errata by column, `notes` sentences on what could not be read of eye and patient, `problem` why the image must
    not be used, `eye_from` where the eye was read, where that is not the name alone, `without` the joined tables that have no
    row for it, `disagrees` that rows of this person hold two sexes, or two ages of one visit."""

    image: str
    eye: str | None = None
    patient: str | None = None
    rows: tuple[Row, ...] = ()
    unlabelled: bool = False  # the table may lack the label columns
    corrections: tuple[Correction, ...] = ()
    groups: dict[str, str] = field(default_factory=dict)
    age: int | None = None
    notes: tuple[str, ...] = ()
    problem: str = ""
    eye_from: Source | None = None
    without: tuple[Table, ...] = ()
    disagrees: bool = False

    @property
    def table(self) -> Table | None:
        """The label table, or the first that is joined; None where the image has no row."""
        return self.rows[0].table if self.rows else None

    def has(self, column: Column) -> bool:
        """Says whether there is such a column, though its cell may be empty."""
        return any(self._row(names) or self._group(names) for names in names_of(column))

    def _row(self, names: str | list[str]) -> Row | None:
        return next((row for row in self.rows if row.table.find(names) is not None), None)

    def _group(self, names: str | list[str]) -> str | None:
        names = [names] if isinstance(names, str) else names
        return next((name for name in names if self.groups.get(name)), None)

    def cell(self, column: Column) -> Cell:
        """Returns a cell; its text is "" where it holds nothing or a mark such as n/a, where the image has no row, or none in
        the joined table of the column, where an unlabelled split lacks the column, where it is one of an eye that is not known,
        and where graders disagree."""
        if isinstance(column, Agreed):
            return self._agreed(column)
        if isinstance(column, dict):
            if self.eye is None:
                return Cell("", Source(self.image), f"which eye {self.image} shows is not known")
            column = column[self.eye]
        row = self._row(column)
        if row is None and (group := self._group(column)):
            return Cell(self.groups[group], Source(self.image, None, group, self.groups[group]))
        if not self.rows:
            return Cell("", Source(self.image))
        if row is None and self.unlabelled:
            return Cell("", self.rows[0].table.source(self.rows[0].number, column if isinstance(column, str) else column[0]))
        if row is None and (lost := next((table for table in self.without if table.find(column)), None)):
            return Cell("", Source(self.image), f"{lost.path.name}{NO_ROW}")
        table, number, _ = row or self.rows[0]
        text = as_written = table.column(column)[number]
        folded = table.find(column)
        title = next(name for name in table.header if fold(name) == folded)
        for correction in self.corrections:
            if folded == table.find(correction.column) and text == correction.stale:
                text = correction.right
                break
        source = table.source(number, title)._replace(cell=as_written)
        if text and is_empty(text):
            return Cell("", source, f"{source} holds {text!r}, which is read as {EMPTY}")
        return Cell(text, source)

    def is_stale(self, correction: Correction) -> bool:
        """Says whether the row holds what an erratum puts right."""
        column = self._row(correction.column)
        return column is not None and column.table.column(correction.column)[column.number] == correction.stale

    def _agreed(self, column: Agreed) -> Cell:
        if column.adjudicated and (cell := self.cell(column.adjudicated)).text:
            return cell
        cells = [self.cell(name) for name in column.agree]
        filled = [cell for cell in cells if cell.text]
        if len({code(cell.text) for cell in filled}) > 1:
            listed = ", ".join(f"{cell.source.column} {cell.text!r}" for cell in filled)
            return Cell("", cells[0].source, f"the graders disagree: {cells[0].source._replace(column=None)}, {listed}")
        return filled[0] if filled else cells[0]

    def with_joined(self, tables: Iterable["Joined"]) -> "Record":
        """Returns the record with the rows of further tables that belong to it."""
        rows, notes, without = list(self.rows), [], []
        for joined in tables:
            fields = {name for template in joined.key.values() for _, name, _, _ in Formatter().parse(template) if name}
            parts = {name: self.cell(name).text for name in fields if self.has(name)}
            filled = [fill(template, parts) for template in joined.key.values()]
            found = joined.rows.get(tuple(code(cell) for cell in filled if cell is not None), ())
            if len(found) == 1:
                rows.append(Row(joined.table, found[0]))
            elif self.rows or self.groups:
                many = f" has {len(found)} rows for it, of which none is taken" if found else NO_ROW
                notes.append(f"{joined.table.path.name}{many}")
                without.append(joined.table)
        return replace(self, rows=tuple(rows), notes=(*self.notes, *notes), without=tuple(without))

    def with_columns(self, eye: Column | None, eyes: dict[str, str], patient: Column | None) -> "Record":
        """Returns the record with eye and patient as columns give them; `eyes`: what a cell stands for."""
        notes, problem, seen, place = [*self.notes], "", None, self.eye_from
        if eye is not None:
            cell = self.cell(eye)
            seen = eyes.get(code(cell.text))
            place = cell.source if seen else place
            if cell.text and seen is None and not (self.eye and values.is_of_both_eyes(cell.text)):
                what = "which eye it is is not known" if self.eye is None else f"it is taken as the {self.eye} eye all the same"
                notes.append(f"{what}: {cell.source} holds {cell.text!r}; expected one of {', '.join(eyes)}")
            if seen and self.eye and seen != self.eye:
                problem = f"{cell.source} is {cell.text!r}, the {seen} eye, but its name says the {self.eye} eye"
        whose = self.cell(patient).text if patient is not None else ""
        changes = {"eye": self.eye or seen, "patient": self.patient or whose or None}
        return replace(self, **changes, notes=tuple(notes), problem=problem, eye_from=place)

    def with_header(self, header: Header) -> "Record":
        """Returns the record with what the header of a DICOM file says."""
        problem = self.problem
        if header.eye and self.eye and header.eye != self.eye:
            problem = f"its DICOM header says the {header.eye} eye, but its name or table says the {self.eye} eye"
        place = Source(f"{self.image}, DICOM header") if header.eye and not self.eye else self.eye_from
        return replace(self, eye=self.eye or header.eye, age=header.age, problem=problem, eye_from=place)

    def whole_number(self, column: Column, allowed: list[int], what: str, codes: dict[Code, int] | None = None) -> WholeNumber:
        """Returns a cell that holds one of the `allowed` numbers, or what stands for one in `codes`; `what` names it.
        ExcludedImage: it holds something else."""
        cell = self.cell(column)
        if not cell.text:
            return WholeNumber(None, cell.source, (f"{what} is not known: {cell.unknown}",) if self.rows else ())
        known = {str(number): number for number in allowed} | {code(key): value for key, value in (codes or {}).items()}
        if code(cell.text) not in known:
            expected = ", ".join(map(str, [*(codes or ()), *allowed]))
            raise ExcludedImage(f"{cell.source}: found {cell.text!r}; expected one of {expected}")
        return WholeNumber(known[code(cell.text)], cell.source)

    def _table_of(self, source: Source) -> Table | None:
        """The table of a cell; None where it is none of a table."""
        return next((row.table for row in self.rows if str(row.table.path) == source.file), None)

    def mostly_has_fractions(self, source: Source) -> bool:
        """Says whether most numbers in the column of a cell have a fraction, as ages have that were computed from dates."""
        table = self._table_of(source)
        return bool(table and source.column) and table.mostly_has_fractions(source.column)

    def decimal(self, column: Column) -> Decimal:
        """Returns a cell that holds a number with a point, or with a comma where those of its column part decimals."""
        cell = self.cell(column)
        table = self._table_of(cell.source)
        comma = table.has_decimal_commas(cell.source.column) if table and cell.source.column else False
        if comma is None and re.search("[.,]", cell.text):
            return Decimal(None, cell, "its comma or point may part thousands or decimals; write numbers as 12.5 or 1200")
        text = cell.text.replace(",", ".") if comma else cell.text
        return Decimal(float(text) if re.fullmatch(r"[-+]?\d{1,9}(\.\d*)?", text) else None, cell)


class Joined(NamedTuple):
    """A table that is joined: its columns of the key with templates of what they hold, and its rows by what they hold."""

    table: Table
    key: dict[str, str]
    rows: dict[tuple[str, ...], list[int]]


class _Part(str):
    """A part of an image's name, or a cell of its row, in a page's template of a key: `{patient}`, or `{patient:d}` without
    leading zeros."""

    def __format__(self, spec: str) -> str:
        return format(int(self), spec) if spec else str(self)


def fill(template: str, parts: dict[str, str]) -> str | None:
    """Returns a template of a key with its parts, None where one is not known.

    >>> fill("#{patient:d}", {"patient": "024"}), fill("{patient}_{eye}", {"patient": "7"})
    ('#24', None)
    """
    try:
        return template.format_map({name: _Part(value) for name, value in parts.items() if value})
    except (KeyError, ValueError):
        return None


@dataclass(frozen=True, eq=False)
class Image:
    """An image with everything that its dataset's files hold on it. `name` is what the dataset lists it by, `id` its
    sample's id, unique over splits and datasets, `export_name` its name in exported files (after the prefix), `stem` what
    identifies it within its split, `size` the file's in bytes, `masks` its lesion masks where the dataset has any,
    `automorph` AutoMorph's results where its split has any, `excluded_because` why it must not be used, "" where it may."""

    name: str
    id: str
    export_name: str
    path: Path
    stem: str
    split: str
    size: int
    record: Record
    masks: MaskFiles | None
    automorph: "ImageResults | None"
    excluded_because: str = ""

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
