"""Label tables are read exactly as published, or refused in one sentence that says what would be right."""

import datetime
import re
import struct
import zipfile
from pathlib import Path

import openpyxl
import pytest
import xlwt
from hypothesis import given
from hypothesis import strategies as st

from retinal_lib.dataset import tables as table
from retinal_lib.errors import UserError
from retinal_lib.paths import display_path


def written(folder: Path, content: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def xls(path: Path, rows: list[list]) -> Path:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Feuil1")
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            sheet.write(r, c, cell)
    book.save(str(path))
    return path


def xlsx(path: Path, rows: list[list]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        table.read(path)
    sentence = str(error.value)
    assert display_path(path) in sentence and "\n" not in sentence
    return sentence


# --- encodings, separators, line ends ---


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"image,grade\na,1\nb,2\n", id="LF"),
        pytest.param(b"image,grade\r\na,1\r\nb,2\r\n", id="CRLF, as IDRiD"),
        pytest.param(b"image,grade\ra,1\rb,2", id="CR, as old Macs"),
        pytest.param(b"image,grade\na,1\nb,2", id="no last line end"),
        pytest.param(b"\xef\xbb\xbfimage,grade\na,1\nb,2\n", id="BOM, as RFMiD"),
        pytest.param(b"image;grade\na;1\nb;2\n", id="semicolons, as Messidor-2"),
        pytest.param(b"image\tgrade\na\t1\nb\t2\n", id="tabs"),
        pytest.param(b" image , grade \n a , 1 \n b , 2 \n", id="spaces around cells"),
        pytest.param(b"image,grade\xa0\na,1\nb,2\n", id="no-break space in cp1252, as RFMiD 2.0"),
        pytest.param(b"\xef\xbb\xbf\nimage,grade\n\na,1\n,\nb,2\n\n", id="blank lines, one above the header"),
        pytest.param(b",image,grade\n0,a,1\n1,b,2\n", id="an unnamed index, as EyeQ"),
        pytest.param(b"Unnamed: 0,image,grade\n0,a,1\n1,b,2\n", id="an index named by pandas"),
        pytest.param(b"image,grade,,,,\na,1,,,,\nb,2,, ,,\n", id="blank columns, one with a space, as IDRiD"),
        pytest.param(b"image,grade,\na,1,\nb,2,\n", id="a trailing blank column, as RFMiD 2.0"),
        pytest.param(b"image,grade\na,1,,\nb,2,,\n", id="blank cells beyond the header"),
        pytest.param(b"image,grade\nImage, GRADE\na,1\nb,2\n", id="a repeated header row"),
        pytest.param("image,grade\na,1\nb,2\n".encode("utf-16"), id="UTF-16, Excel's Unicode text"),
        pytest.param(b"sep=;\r\nimage;grade\r\na;1\r\nb;2\r\n", id="a line for Excel"),
        pytest.param(b'"image","grade"\n"a","1"\n"b","2"\n', id="quotes"),
    ],
)
def test_a_table_reads_the_same_however_it_is_written(tmp_path: Path, content: bytes) -> None:
    found = table.read(written(tmp_path, content))
    assert found.columns == {"image": ["a", "b"], "grade": ["1", "2"]} and found.header == ("image", "grade")


@pytest.mark.parametrize("write", [xls, xlsx])
def test_a_spreadsheet_reads_like_the_same_csv(tmp_path: Path, write: object) -> None:
    rows = [["Image name", "Retinopathy grade", "Risk of macular edema "], ["x.tif", 3, 0.5], ["y.tif", 0, "1"]]
    path = write(tmp_path / f"labels.{write.__name__}", rows)
    found = table.read(path)
    assert found.columns == {
        "image name": ["x.tif", "y.tif"],
        "retinopathy grade": ["3", "0"],
        "risk of macular edema": ["0.5", "1"],
    }
    assert found.rows == [2, 3]


def test_names_are_found_without_regard_to_case_and_space(tmp_path: Path) -> None:
    found = table.read(written(tmp_path, "Image  No,X- Coordinate,Risk of macular edema \na,5,2\n"))
    assert found.column("image no") == ["a"] and found.column(["x", "X- COORDINATE"]) == ["5"]
    assert found.find("risk of  Macular Edema") == "risk of macular edema" and found.find("grade") is None
    with pytest.raises(UserError, match=r"no column 'grade' or 'level'; the columns are 'Image No', 'X- Coordinate'"):
        found.column(["grade", "level"])


def test_row_numbers_are_those_of_a_spreadsheet(tmp_path: Path) -> None:
    path = written(tmp_path, 'image,note\na,"two\nlines, and a comma"\n\nimage,note\nb,"said ""so"""\n')
    found = table.read(path)
    assert found.column("note") == ["two\nlines, and a comma", 'said "so"']
    assert found.rows == [2, 5], "the quoted line break is inside row 2; the blank row and the second header count"
    assert str(found.source(1, "note")) == "labels.csv, row 5, column 'note'"


def test_short_rows_are_filled_with_nothing(tmp_path: Path) -> None:
    assert table.read(written(tmp_path, "image,grade,dme\na\nb,1\n")).columns == {
        "image": ["a", "b"],
        "grade": ["", "1"],
        "dme": ["", ""],
    }


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1), min_size=3, max_size=3),
        min_size=1,
    ),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_cells_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], separator: str, end: str
) -> None:
    def quoted(row: list[str]) -> str:
        return separator.join('"' + cell.replace('"', '""') + '"' for cell in row)

    rows = [["0", *row[1:]] for row in rows]
    path = written(tmp_path_factory.getbasetemp(), end.join(map(quoted, [["image", "b", "c"], *rows])))
    found = table.read(path)
    assert [list(row) for row in zip(*found.columns.values(), strict=True)] == rows


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        ("10_left", "10_left"),
        ("10_left.jpeg", "10_left"),
        ("20051020_44400_0100_PP.tif", "20051020_44400_0100_pp"),
        ("IM000001.JPG", "im000001"),
        ("a.b.png", "a.b"),
        ("a.b", "a.b"),
        ("../Results/M0/images/1.png", "1"),
        ("C:\\data\\1.PNG", "1"),
        (" 7 ", "7"),
    ],
)
def test_an_image_is_known_by_its_name_without_folder_and_suffix(cell: str, key: str) -> None:
    assert table.image_key(cell) == key


# --- spreadsheets with traps ---


def test_an_error_in_an_old_spreadsheet_is_no_number(tmp_path: Path) -> None:
    # an .xls keeps #N/A as the number 42, #DIV/0! as 7, #NULL! as 0: that would be the grade 0
    def record(code: int, data: bytes) -> bytes:
        return struct.pack("<HH", code, len(data)) + data

    def label(row: int, column: int, text: str) -> bytes:
        return record(0x0004, struct.pack("<HH3xB", row, column, len(text)) + text.encode())

    error = record(0x0005, struct.pack("<HH3xBB", 1, 1, 0, 1))
    parts = [
        record(0x0009, struct.pack("<HH", 7, 0x10)),
        label(0, 0, "image"),
        label(0, 1, "grade"),
        label(1, 0, "a"),
    ]
    path = written(tmp_path, b"".join([*parts, error, record(0x000A, b"")]), "labels.xls")
    assert table.read(path).column("grade") == ["#NULL!"]


def test_a_workbook_that_states_a_wrong_size_is_read_whole(tmp_path: Path) -> None:
    path = xlsx(tmp_path / "labels.xlsx", [["image", "grade"], ["a", 1], ["b", 2]])
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    assert b'<dimension ref="A1:B3"' in parts[sheet]
    parts[sheet] = parts[sheet].replace(b'ref="A1:B3"', b'ref="A1"')
    with zipfile.ZipFile(path, "w") as book:
        for name, content in parts.items():
            book.writestr(name, content)
    assert table.read(path).columns == {"image": ["a", "b"], "grade": ["1", "2"]}


def test_a_repeated_header_row_is_dropped_as_in_some_copies_of_odir(tmp_path: Path) -> None:
    path = xlsx(tmp_path / "labels.xlsx", [["ID", "Age"], ["ID", "Age"], [1, 58], [None, None], [2, 60]])
    found = table.read(path)
    assert found.column("id") == ["1", "2"] and found.rows == [3, 5]


# --- refused, in one sentence ---


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    assert "no such table" in refused(tmp_path / "none.csv")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b",,\n,\n"])
def test_an_empty_table_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "empty" in refused(written(tmp_path, content))


def test_an_empty_spreadsheet_is_refused(tmp_path: Path) -> None:
    assert "empty" in refused(xlsx(tmp_path / "labels.xlsx", []))
    assert "empty" in refused(xls(tmp_path / "labels.xls", []))


@pytest.mark.parametrize("header", ["image,grade,Grade ", "image,grade,,grade"])
def test_a_column_that_stands_twice_is_refused(tmp_path: Path, header: str) -> None:
    assert re.search(r"'grade' occurs twice", refused(written(tmp_path, header + "\na,1\n")))


def test_a_row_longer_than_the_header_is_refused_with_its_number(tmp_path: Path) -> None:
    sentence = refused(written(tmp_path, "image,note\na,x\nb,one, two\n"))
    assert "row 3" in sentence and "3 cells where the header has 2" in sentence and "quote" in sentence


def test_a_quote_that_never_closes_swallows_no_rows(tmp_path: Path) -> None:
    sentence = refused(written(tmp_path, 'image,note\na,x\nb,"open\nc,y\n'))
    assert "row 3" in sentence and "quote" in sentence


def test_a_picture_named_csv_is_refused(tmp_path: Path) -> None:
    assert "zero bytes" in refused(written(tmp_path, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"))
    assert "UTF-8" in refused(written(tmp_path, "image,grade\na,1\n".encode("utf-16-le")))


@pytest.mark.parametrize("name", ["labels.xls", "labels.xlsx"])
def test_a_file_that_is_no_spreadsheet_is_refused(tmp_path: Path, name: str) -> None:
    assert "not a readable spreadsheet" in refused(written(tmp_path, "image,grade\na,1\n", name))


@pytest.mark.parametrize(("write", "right", "wrong"), [(xlsx, ".xlsx", ".xls"), (xls, ".xls", ".xlsx")])
def test_a_spreadsheet_with_the_other_ending_is_to_be_renamed(tmp_path: Path, write: object, right: str, wrong: str) -> None:
    whole = write(tmp_path / f"whole{right}", [["image", "grade"], ["a", 1]]).read_bytes()
    says = refused(written(tmp_path, whole, f"labels{wrong}"))
    assert f"its ending is {wrong}, but its content is that of an {right} file; give it the ending {right}" in says


@pytest.mark.parametrize("name", ["labels.xls", "labels.xlsx"])
def test_a_workbook_with_a_password_is_to_be_saved_without(tmp_path: Path, name: str) -> None:
    locked = b"\xd0\xcf\x11\xe0" + bytes(508) + "EncryptedPackage".encode("utf-16-le")
    assert "protected by a password; save it without one, or as CSV" in refused(written(tmp_path, locked, name))


def test_a_sheet_that_is_not_read_may_be_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = xlsx(tmp_path / "labels.xlsx", [["image", "grade"], ["a", 1]])
    book = openpyxl.load_workbook(file)
    book.create_sheet("Wide").append(list(range(9)))
    book.save(file)
    monkeypatch.setattr(table, "_MOST_CELLS", 8)
    assert table.read(file).columns["grade"] == ["1"] and "not read: 'Wide'" in table.read(file).notes[0]
    with pytest.raises(UserError, match="1 rows of 9 columns are too many"):
        table.read(file, header="find")


@pytest.mark.parametrize("name", ["labels.xls", "labels.xlsx"])
def test_a_date_without_a_time_is_read_without_midnight(tmp_path: Path, name: str) -> None:
    dates = [datetime.datetime(2024, 3, 1), datetime.datetime(2024, 3, 2, 9, 30)]
    if name.endswith(".xlsx"):
        path = xlsx(tmp_path / name, [["image", "Visit"], ["a", dates[0]], ["b", dates[1]]])
    else:
        book = xlwt.Workbook()
        sheet, style = book.add_sheet("Feuil1"), xlwt.easyxf(num_format_str="YYYY-MM-DD")
        for r, row in enumerate([["image", "Visit"], ["a", dates[0]], ["b", dates[1]]]):
            for c, cell in enumerate(row):
                sheet.write(r, c, cell, style)
        book.save(path := tmp_path / name)
    assert table.read(path).column("visit") == ["2024-03-01", "2024-03-02 09:30:00"]


@pytest.mark.parametrize("write", [xls, xlsx])
def test_a_spreadsheet_cut_short_is_refused(tmp_path: Path, write: object) -> None:
    whole = write(tmp_path / f"whole.{write.__name__}", [["image", "grade"], *([f"i{n}", n] for n in range(50))])
    raw = whole.read_bytes()
    for share in range(1, 10):
        path = written(tmp_path, raw[: len(raw) * share // 10], f"cut.{write.__name__}")
        assert "not a readable spreadsheet" in refused(path)
