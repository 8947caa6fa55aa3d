"""Reads label tables exactly as published: encodings, separators, odd headers and blank lines, but never a guess."""

import csv
import hashlib
import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from xml.etree.ElementTree import ParseError

import openpyxl
import xlrd
from openpyxl.utils.exceptions import InvalidFileException
from xlrd.compdoc import CompDocError

from retinal_lib.errors import UserError
from retinal_lib.facts import Source

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
SPREADSHEETS = (".xls", ".xlsx")
# what the two readers raise where a file is cut off or damaged: neither has one kind of error of its own
BROKEN = (
    xlrd.XLRDError,
    CompDocError,
    InvalidFileException,
    zipfile.BadZipFile,
    zlib.error,
    ParseError,
    struct.error,
    AssertionError,
    AttributeError,
    TypeError,
    ValueError,
    LookupError,
    OSError,
    EOFError,
    OverflowError,
    MemoryError,
    NotImplementedError,
)


@lru_cache(maxsize=4096)  # the same few names, for every image again
def fold(name: str) -> str:
    """Returns a column name as compared: no outer white space (also no-break), inner runs collapsed, case folded."""
    return " ".join(str(name).split()).casefold()


def image_key(cell: str) -> str:
    """Returns the part of an image's name that finds its row: folder and image suffix removed, case folded."""
    name = cell.strip().replace("\\", "/").rsplit("/", 1)[-1]
    stem, dot, suffix = name.rpartition(".")
    return (stem if dot and f".{suffix.casefold()}" in IMAGE_SUFFIXES else name).casefold()


@dataclass(frozen=True)
class Table:
    """A table of stripped strings; `columns` maps a folded column name to its cells, `rows` are spreadsheet row numbers."""

    path: Path
    header: tuple[str, ...]
    columns: dict[str, list[str]]
    rows: list[int]
    sha256: str

    def __len__(self) -> int:
        return len(self.rows)

    def find(self, names: str | list[str]) -> str | None:
        """Returns the folded name of the first of `names` that the table has, or None."""
        names = [names] if isinstance(names, str) else names
        return next((fold(name) for name in names if fold(name) in self.columns), None)

    def column(self, names: str | list[str]) -> list[str]:
        """Returns the cells of the first of `names` that the table has. UserError: it has none of them."""
        name = self.find(names)
        if name is None:
            wanted = repr(names) if isinstance(names, str) else " or ".join(map(repr, names))
            raise UserError(f"{self.path}: no column {wanted}; the columns are {', '.join(map(repr, self.header))}")
        return self.columns[name]

    def source(self, row: int, column: str | None = None) -> Source:
        """Returns the place in the file of a cell in the `row`-th kept row, counted from 0."""
        return Source(str(self.path), self.rows[row], column)


def read(path: Path) -> Table:
    """Reads a .csv, .tsv, .txt, .xls or .xlsx file. Drops unnamed columns, blank rows and repeated header rows.

    UserError: the file is missing, not a table, empty, or has two columns of one name.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such table")
    raw = path.read_bytes()
    cells = _sheet(path, raw) if path.suffix.casefold() in SPREADSHEETS else _text(path, raw)
    top = next((number for number, row in enumerate(cells) if any(cell.strip() for cell in row)), None)
    if top is None:
        raise UserError(f"{path}: the table is empty")
    header = [" ".join(name.split()) for name in cells[top]]
    kept = [i for i, name in enumerate(header) if name and not name.casefold().startswith("unnamed:")]
    folded = [fold(header[i]) for i in kept]
    doubled = sorted({name for name in folded if folded.count(name) > 1})
    if doubled:
        raise UserError(f"{path}: the column {doubled[0]!r} occurs twice; column names must be unique")
    body = [(number, [row[i].strip() for i in kept]) for number, row in enumerate(cells[top + 1 :], start=top + 2)]
    names = [header[i] for i in kept]
    body = [(number, row) for number, row in body if any(row) and [fold(cell) for cell in row] != folded]
    columns = {name: [row[i] for _, row in body] for i, name in enumerate(folded)}
    return Table(path, tuple(names), columns, [number for number, _ in body], hashlib.sha256(raw).hexdigest())


def _sheet(path: Path, raw: bytes) -> list[list[str]]:
    try:
        if path.suffix.casefold() == ".xls":
            sheet = xlrd.open_workbook(file_contents=raw, logfile=io.StringIO()).sheet_by_index(0)
            return [[_old_cell(cell) for cell in sheet.row(row)] for row in range(sheet.nrows)]
        sheet = openpyxl.load_workbook(io.BytesIO(raw), read_only=True, data_only=True).worksheets[0]
        sheet.reset_dimensions()  # some programs write a wrong size, at which the reader would stop
        rows = [[_cell(value) for value in row] for row in sheet.iter_rows(values_only=True)]
    except BROKEN as error:
        raise UserError(f"{path}: not a readable spreadsheet ({str(error) or type(error).__name__})") from error
    width = max(map(len, rows), default=0)
    return [row + [""] * (width - len(row)) for row in rows]


def _old_cell(cell: xlrd.sheet.Cell) -> str:
    """A cell of an .xls file, which keeps an error such as #N/A as a number that would pass for a label."""
    return xlrd.error_text_from_code.get(cell.value, "#ERR") if cell.ctype == xlrd.XL_CELL_ERROR else _cell(cell.value)


def _cell(value: object) -> str:
    """A cell as a person reads it: whole numbers, which spreadsheets keep as fractions, without a point."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _text(path: Path, raw: bytes) -> list[list[str]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="strict") if _is_cp1252(raw) else raw.decode("latin-1")
    if "\0" in text:
        raise UserError(f"{path}: not a text table (it holds zero bytes); save it as CSV in UTF-8")
    head = text.strip().replace("\r", "\n").split("\n", 1)[0]
    separator = max(",;\t", key=head.count)
    # numbering by the reader's own line count keeps the row right when a quoted cell runs over several lines
    rows: list[list[str]] = []
    try:
        rows += csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    except csv.Error as error:
        place = f"{path}, row {len(rows) + 1}"
        raise UserError(f"{place}: not readable ({error}); look for a quote that is never closed") from error
    width = next((len(row) for row in rows if row), 0)
    for number, row in enumerate(rows, start=1):
        if len(row) > width and any(cell.strip() for cell in row[width:]):
            raise UserError(
                f"{path}, row {number}: {len(row)} cells where the header has {width}; quote cells that hold {separator!r}"
            )
    return [row[:width] + [""] * (width - len(row)) for row in rows]


def _is_cp1252(raw: bytes) -> bool:
    return not any(byte in raw for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D))
