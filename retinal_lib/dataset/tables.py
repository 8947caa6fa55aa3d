"""Reads label tables exactly as published: encodings, separators, odd headers and blank lines, but never a guess."""

import csv
import datetime
import hashlib
import io
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import ParseError

import xlrd
from xlrd.compdoc import CompDocError

from retinal_lib import parsing
from retinal_lib.dataset.cells import headers, values
from retinal_lib.errors import UserError, did_you_mean
from retinal_lib.facts import Source
from retinal_lib.files import read_bytes
from retinal_lib.imaging import dicom
from retinal_lib.text import encodings

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".webp", *dicom.SUFFIXES)
MOST_COLUMNS = 10_000
_BEGINNINGS = {b"PK": ".xlsx", b"\xd0\xcf\x11\xe0": ".xls"}  # of a spreadsheet's bytes
SHEET = "read from the sheet"
_SHOWN = 50  # names of columns in a message
SPREADSHEETS = (".xls", ".xlsx")
# what stands in a cell of which nothing is known, without marks around it; an error of a spreadsheet program begins with #
EMPTY = frozenset(
    ["", "na", "n/a", "n.a", "nan", "nat", "null", "unknown", "nd", "n/d", "n.d", "k.a", "missing", "no data"]
) | {f"not {word}" for word in ("known", "available", "applicable", "recorded", "assessed", "stated", "done", "determined")}
_ERROR = re.compile(r"#(n/a|ref!|value!|div/0!|name\?|null!|num!|err)", re.IGNORECASE)
_MOST_ROWS, _MOST_CELLS, _MOST_BYTES = 1_048_576, 20_000_000, 200_000_000  # of a spreadsheet; Excel has as many rows
_LARGE = 5_000_000  # bytes of a spreadsheet whose merged cells are not looked at
LONGEST_CELL = 4_000  # characters; a label or note is far shorter, and the checks read it word by word
# what the two readers raise where a file is cut off or damaged: neither has one kind of error of its own
BROKEN = (
    xlrd.XLRDError,
    CompDocError,
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


Code = str | int | float  # a cell as a page writes it


def code(cell: Code) -> str:
    """Returns a cell as code books compare it: case folded, whole numbers without a point.

    >>> [code(cell) for cell in ("Yes", "1.0", "1,0", 1, " No_DR ", "1.5", "1,000")]
    ['yes', '1', '1', '1', 'no_dr', '1.5', '1,000']
    """
    return values.whole(fold(str(cell)))


def key_code(cell: str) -> str:
    """Returns a cell of a key, or what a template makes of a name, as they are compared: as `code`, without an image suffix."""
    return _without_suffix(code(cell))


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return (stem if dot and f".{suffix.casefold()}" in IMAGE_SUFFIXES else name).casefold()


def image_key(cell: str) -> str:
    """Returns the part of an image's name that finds its row: folder and image suffix removed, case folded."""
    return _without_suffix(cell.strip().replace("\\", "/").rsplit("/", 1)[-1])


def is_empty(cell: str) -> bool:
    """Says whether a cell tells nothing: it is blank, or holds a mark for a missing value.

    >>> [cell for cell in ("n/a", "-", "?", "NaN", "#REF!", "None", "0", "none", "no DR") if not is_empty(cell)]
    ['0', 'none', 'no DR']
    """
    bare = fold(cell).strip(" .?<>()-–—_/")
    return bare in EMPTY or cell.strip() == "None" or bool(_ERROR.fullmatch(cell.strip()))  # Python writes None


def is_table(name: str | Path) -> bool:
    """Says whether a file's name is that of a label table: .csv, .tsv, .xlsx or .xls."""
    return Path(name).suffix.casefold() in (".csv", ".tsv", *SPREADSHEETS)


@dataclass(frozen=True)
class Table:
    """A table of stripped strings; `columns` maps a folded column name to its cells, `rows` are spreadsheet row numbers."""

    path: Path
    header: tuple[str, ...]
    columns: dict[str, list[str]]
    rows: list[int]
    sha256: str
    notes: tuple[str, ...] = ()  # sentences on how the file was read

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
            more = f" and {len(self.header) - _SHOWN:,} more" if len(self.header) > _SHOWN else ""
            columns = ", ".join(map(repr, self.header[:_SHOWN])) + more
            hint = did_you_mean(names if isinstance(names, str) else names[0], self.header)
            raise UserError(f"{self.path}: no column {wanted}; the columns are {columns}{hint}")
        return self.columns[name]

    def has_decimal_commas(self, name: str) -> bool | None:
        """Says whether commas in the numbers of a column part decimals (12,5); None where that is not plain: in 1,250 they may
        part thousands, and beside a comma a point may.

        >>> columns = {"a": ["12,5", "3", "1,250"], "b": ["1,250", "7"], "c": ["12,5", "3.1"], "d": ["12.5", "x, y"]}
        >>> content = Table(Path("labels.csv"), tuple(columns), columns, [], "")
        >>> [content.has_decimal_commas(name) for name in content.header]
        [True, None, None, False]
        """
        if fold(name) not in self._commas:
            cells = [cell for cell in self.column(name) if re.fullmatch(r"[-+]?\d[\d.,]*", cell)]
            with_comma = [cell for cell in cells if "," in cell]
            one_way = not any("." in cell or cell.count(",") > 1 for cell in cells)
            plain = one_way and any(not re.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}", cell) for cell in with_comma)
            self._commas[fold(name)] = (plain or None) if with_comma else False
        return self._commas[fold(name)]

    @cached_property
    def is_foreign(self) -> bool:
        """Whether a column is named in another language than English."""
        return bool(values.languages(self.header))

    def mostly_has_fractions(self, name: str) -> bool:
        """Says whether most numbers of a column have a fraction."""
        if fold(name) not in self._fractions:
            cells = [cell for cell in self.column(name) if cell]
            self._fractions[fold(name)] = 2 * sum(map(values.has_fraction, cells)) > len(cells)
        return self._fractions[fold(name)]

    @cached_property
    def _fractions(self) -> dict[str, bool]:
        return {}

    @cached_property
    def _commas(self) -> dict[str, bool | None]:
        return {}  # each column is looked through once, not for each of its cells

    def source(self, row: int, column: str | None = None) -> Source:
        """Returns the place in the file of a cell in the `row`-th kept row, counted from 0."""
        return Source(str(self.path), self.rows[row], column)


def read(path: Path, header: list[str] | int | Literal["find"] = 1, separator: str = "") -> Table:
    """Reads a .csv, .tsv, .txt, .xls, .xlsx or .json file (objects of cells by column, in a list or an object); `header`
    names the columns of one that has no header row, or is the
    number of its header rows, of which the lowest that is filled names a column, or "find": below titles, in two rows, by the
    column that names pictures. `separator` parts the cells of a text; where it is "", that is found out.
    Drops unnamed columns, blank rows and repeated header rows.

    UserError: the file is missing, not a table, empty, or has two columns of one name.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such table")
    raw = read_bytes(path)
    spreadsheet = path.suffix.casefold() in SPREADSHEETS
    if path.suffix.casefold() == ".json":
        cells, note = _json(path, raw), ""
    else:
        cells, note = _sheet(path, raw, header == "find") if spreadsheet else _text(path, raw, header, separator)
    header, first = _header(path, cells, header)
    kept = [i for i, name in enumerate(header) if name and not name.casefold().startswith("unnamed:")]
    folded = [fold(header[i]) for i in kept]
    doubled = sorted(name for name, number in Counter(folded).items() if number > 1)
    if doubled:
        raise UserError(f"{path}: the column {doubled[0]!r} occurs twice; column names must be unique")
    body = [(number, [row[i].strip() for i in kept]) for number, row in enumerate(cells[first:], start=first + 1)]
    names = [header[i] for i in kept]
    for number, row in body:
        if (longest := max(map(len, row), default=0)) > LONGEST_CELL:
            column = next(name for name, cell in zip(names, row, strict=True) if len(cell) == longest)
            raise UserError(
                f"{path}, row {number}, column {column[:80]!r}: a cell of {longest:,} characters, more than {LONGEST_CELL:,}"
            )
    body = [(number, row) for number, row in body if any(row) and [fold(cell) for cell in row] != folded]
    columns = {name: [row[i] for _, row in body] for i, name in enumerate(folded)}
    rows = [number for number, _ in body]
    return Table(path, tuple(names), columns, rows, hashlib.sha256(raw).hexdigest(), (note,) if note else ())


def _header(path: Path, cells: list[list[str]], header: list[str] | int | Literal["find"]) -> tuple[list[str], int]:
    """The names of a table's columns, and its first row of data."""
    top = next((number for number, row in enumerate(cells) if any(cell.strip() for cell in row)), None)
    if top is None:
        raise UserError(f"{path}: the table is empty")
    given = header if isinstance(header, list) else None
    if given and len(cells[top]) != len(given):
        named = f"the page's header names {len(given)}: {', '.join(given)}"
        raise UserError(f"{path}, row {top + 1}: the number of cells is {len(cells[top])}; {named}")
    if len(cells[top]) > MOST_COLUMNS:
        raise UserError(
            f"{path}: the table has {len(cells[top]):,} columns, and at most {MOST_COLUMNS:,} are read; leave out some"
        )
    if header == "find":
        found = headers.find(cells)
        widest = headers.widest(cells)
        names, first = (found.names, found.first) if found else (cells[widest], widest + 1)
        return [" ".join(name.split()) for name in names], first
    first = top + (0 if isinstance(header, list) else header)
    rows_above = cells[top:first]
    return [" ".join(name.split()) for name in given or [_lowest(names) for names in zip(*rows_above, strict=True)]], first


def _json(path: Path, raw: bytes) -> list[list[str]]:
    try:
        content = parsing.json_value(raw)
    except parsing.Unreadable as why:
        raise UserError(f"{path}: {why}") from why
    rows = list(content.values()) if isinstance(content, dict) else content
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path}: not a table; a table in JSON is a list of objects, which hold a row's cells by column")
    header = list(dict.fromkeys(name for row in rows for name in row))
    return [header, *([_cell(row.get(name)) for name in header] for row in rows)]


def _lowest(names: tuple[str, ...]) -> str:
    """The name of a column by its cells in the header rows."""
    return next((name for name in reversed(names) if name.strip()), "")


def _sheet(path: Path, raw: bytes, find: bool) -> tuple[list[list[str]], str]:
    """The rows of the first sheet, or of the first that names pictures, with a sentence on sheets that are not read."""
    sheets, ending = {}, path.suffix.casefold()
    is_of = next((of for begin, of in _BEGINNINGS.items() if raw.startswith(begin)), ending)
    if is_of == ".xls" and "EncryptedPackage".encode("utf-16-le") in raw:
        raise UserError(f"{path}: it is protected by a password; save it without one, or as CSV")
    if is_of != ending:
        raise UserError(
            f"{path}: its ending is {ending}, but its content is that of an {is_of} file; give it the ending {is_of}"
        )
    try:
        for name, rows in _old_sheets(raw) if ending == ".xls" else _sheets(path, raw, find):
            if sheets and not find:  # only named
                sheets[name] = [row for row in rows if any(row)][:1]
                continue
            width = max(map(len, rows), default=0)
            if len(rows) > _MOST_ROWS or len(rows) * width > _MOST_CELLS:
                many = f"{len(rows):,} rows of {width:,} columns are too many; delete empty ones, or save as CSV"
                raise UserError(f"{path}: {many}")
            sheets[name] = [row + [""] * (width - len(row)) for row in rows]
    except BROKEN as error:
        raise UserError(f"{path}: not a readable spreadsheet ({str(error) or type(error).__name__})") from error
    chosen = next((name for name, rows in sheets.items() if find and headers.find(rows)), next(iter(sheets)))
    others = ", ".join(repr(name) for name, rows in sheets.items() if name != chosen and any(map(any, rows)))
    said = f"{path.name}: {SHEET} {chosen!r}; not read: {others}"
    return sheets[
        chosen
    ], f"{said}; to use another sheet, save it as a CSV file beside this one and run retinal page" if others else ""


def _old_sheets(raw: bytes) -> Iterator[tuple[str, list[list[str]]]]:
    book = xlrd.open_workbook(file_contents=raw, logfile=io.StringIO())
    for sheet in book.sheets():
        yield sheet.name, [[_old_cell(cell, book.datemode) for cell in sheet.row(row)] for row in range(sheet.nrows)]


def _sheets(path: Path, raw: bytes, whole: bool) -> Iterator[tuple[str, list[list[str]]]]:
    """The rows of each sheet; where it is read as a whole, a cell that is merged over rows counts for each of them."""
    import openpyxl  # takes longer to import than a table of text to read

    _check_size(path, raw)
    whole = whole and len(raw) < _LARGE
    for sheet in openpyxl.load_workbook(io.BytesIO(raw), read_only=not whole, data_only=True).worksheets:
        if not whole:
            sheet.reset_dimensions()  # some programs write a wrong size, at which the reader would stop
        rows = [[_cell(value) for value in row] for row in islice(sheet.iter_rows(values_only=True), _MOST_ROWS + 1)]
        for merged in sheet.merged_cells.ranges if whole else ():
            if merged.min_col == merged.max_col:
                for row in range(merged.min_row, merged.max_row):
                    rows[row][merged.min_col - 1] = rows[merged.min_row - 1][merged.min_col - 1]
        yield sheet.title, rows


def _check_size(path: Path, raw: bytes) -> None:
    """UserError: the parts of a spreadsheet, which is packed, are far larger than those of any table."""
    with zipfile.ZipFile(io.BytesIO(raw)) as packed:
        size = sum(part.file_size for part in packed.infolist())
    if size > _MOST_BYTES:
        raise UserError(f"{path}: {size:,} bytes when unpacked, more than {_MOST_BYTES:,}; save the table as CSV")


def _old_cell(cell: xlrd.sheet.Cell, datemode: int) -> str:
    """A cell of an .xls file, which keeps an error such as #N/A as a number that would pass for a label, and a date as one."""
    if cell.ctype == xlrd.XL_CELL_DATE:
        return _cell(xlrd.xldate_as_datetime(cell.value, datemode))
    return xlrd.error_text_from_code.get(cell.value, "#ERR") if cell.ctype == xlrd.XL_CELL_ERROR else _cell(cell.value)


def _cell(value: object) -> str:
    """A cell as a person reads it: whole numbers, which spreadsheets keep as fractions, without a point, and a date without the
    midnight that they put behind it."""
    if value is None:
        return ""
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _text(path: Path, raw: bytes, header: list[str] | int | Literal["find"], separator: str) -> tuple[list[list[str]], str]:
    text, note = _decoded(path, raw)
    stated = re.match(r"sep=(.)(?=[\r\n])", text)  # a line that Excel reads and people do not see
    text = text[stated.end() :] if stated else text
    head = text.strip().replace("\r", "\n").split("\n", 1)[0]
    separator = separator or (stated[1] if stated else _separator(text) if header == "find" else max(",;\t", key=head.count))
    if isinstance(header, list) and separator not in head:
        separator = " "
    if separator == " ":  # columns may be lined up by several
        text = "\n".join(" ".join(line.split()) for line in text.splitlines())
    # numbering by the reader's own line count keeps the row right when a quoted cell runs over several lines
    rows: list[list[str]] = []
    try:
        rows += csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    except csv.Error as error:
        place = f"{path}, row {len(rows) + 1}"
        raise UserError(f"{place}: not readable ({error}); look for a quote that is never closed") from error
    width = max(map(len, rows), default=0) if header == "find" else next((len(row) for row in rows if row), 0)
    if header == "find" and (found := headers.find(rows)):
        width = len(found.names)
        rows = [*(row[:width] for row in rows[: found.first]), *rows[found.first :]]
    for number, row in enumerate(rows, start=1):
        if len(row) > width and any(cell.strip() for cell in row[width:]):
            raise UserError(
                f"{path}, row {number}: {len(row)} cells where the header has {width}; quote cells that hold {separator!r}"
            )
    return [row[:width] + [""] * (width - len(row)) for row in rows], note


def _separator(text: str) -> str:
    """What parts the cells of most lines into equally many."""
    lines = [line for line in text.splitlines()[:30] if line.strip()]

    def regular(separator: str) -> tuple[int, int]:
        counts = Counter(line.count(separator) for line in lines)
        counts.pop(0, None)
        return max(((lines, number) for number, lines in counts.items()), default=(0, 0))

    return max(",;\t", key=regular)


def _decoded(path: Path, raw: bytes) -> tuple[str, str]:
    """The text of a table, with a sentence on its encoding where that was found out."""
    try:
        text, encoding = encodings.decoded(raw)
    except encodings.UnknownEncoding as error:
        raise UserError(
            f"{path}, row {error.line}: letters in an encoding that is not known; save the table as CSV UTF-8, or as .xlsx"
        ) from error
    if "\0" in text:
        raise UserError(f"{path}: not a text table (it holds zero bytes); save it as CSV in UTF-8")
    read_as = "its letters were read as Chinese (gb18030); if that is wrong, save it as CSV UTF-8"
    return text, f"{path.name}: {read_as}" if encoding == "gb18030" else ""
