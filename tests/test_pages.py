"""The language of dataset pages, beside what the guide's pages show: what is refused, noted, and never said."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from retinal_lib import load_dataset
from retinal_lib.check import conversation_check
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.errors import UserError
from retinal_lib.explore.explore import Explore

HEAD = """name: clinic
title: Our clinic
image: '^(?P<patient>[a-z])(?P<eye>[lr])?$'
eyes: {l: left, r: right}
splits: {all: {images: [photos, more], tables: [labels.csv]}}
key: file
facts:
"""


def own(root: Path, facts: str, *lines: str, head: str = HEAD, folder: str = "photos") -> BaseDescription:
    (root / "page.yaml").write_text(head + facts + "\n", encoding="utf-8")
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for n, line in enumerate(lines[1:]):
        draw(root / folder / line.split(",")[0], n)
    return load_dataset(str(root / "page.yaml"), root)


def draw(path: Path, n: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (n % 250, n // 250, 90)).save(path)


def found(data: BaseDescription, image: str, answer: str) -> list[str]:
    talk = [{"from": "human", "value": "<image>\nWhat do you see?"}, {"from": "gpt", "value": answer}]
    return [finding.kind for finding in conversation_check.check(talk, data.describe(image))]


def test_a_binary_column_denies_its_disease_and_no_other(tmp_path: Path) -> None:
    data = own(tmp_path, "  - flags: {labels: {glaucoma: glaucoma}}", "file,glaucoma", "al.png,0", "br.png,1")
    assert data.skipped == {}
    assert [fact.words for name in data.images for fact in data.describe(name).about("disease")] == ["no glaucoma", "glaucoma"]
    assert found(data, "al.png", "This is the left eye. There is no glaucoma.") == []
    assert found(data, "br.png", "This is the right eye. It has glaucoma.") == []
    for name in data.images:
        assert "ungrounded_denial" in found(data, name, "There is no diabetic retinopathy.")
        assert found(data, name, "This eye is healthy and shows no disease.") != []


def test_a_long_list_of_columns_denies_what_is_on_it(tmp_path: Path) -> None:
    labels = "{dr: diabetic retinopathy, dru: drusen, glau: glaucoma, erm: epiretinal membrane}"
    kind = f"  - flags: {{labels: {labels}, present: 'yes', absent: 'no', unconfirmed: [other]}}"
    lines = ["a.png,no,no,no,no,no", "b.png,no,yes,no,,no", "c.png,no,no,no,no,yes"]
    data = own(tmp_path, kind, "file,dr,dru,glau,erm,other", *lines)
    words = {name: [fact.words for fact in data.describe(name).about("disease")] for name in data.images}
    nothing = "no abnormality among the conditions that were looked for"
    assert words == {"a.png": [nothing], "b.png": ["drusen"], "c.png": []}, "an unconfirmed label makes no eye normal"
    assert found(data, "b.png", "The eye has drusen. There is no glaucoma.") == []
    assert "ungrounded_denial" in found(data, "b.png", "There is no epiretinal membrane."), "its cell is empty"


def test_a_column_by_eye_tells_nothing_where_the_eye_is_not_known(tmp_path: Path) -> None:
    facts = "  - grade: {column: {left: left DR, right: right DR}, scale: ICDR}"
    data = own(tmp_path, facts, "file,left DR,right DR", "al.png,1,4", "ar.png,1,4", "a.png,1,4")
    assert {name: [fact.value for fact in data.describe(name).about("disease")] for name in data.images} == {
        "a.png": [],
        "al.png": [1],
        "ar.png": [4],
    }
    assert "which eye a.png shows is not known" in data.describe("a.png").missing[0]


def test_a_name_and_a_column_that_name_two_eyes_exclude_the_image(tmp_path: Path) -> None:
    head = HEAD.replace("eyes: {l: left, r: right}", "eyes: {l: left, r: right, 1: right, 2: left}\neye: side")
    data = own(tmp_path, "  - automorph", "file,side", "al.png,2", "ar.png,2", "c.png,1.0", "d.png,5", head=head)
    assert data.skipped == {"ar.png": "labels.csv, row 3, column 'side' is '2', the left eye, but its name says the right eye"}
    assert [data.image(name).eye for name in data.images] == ["left", "right", None]
    assert "holds '5'; expected one of l, r, 1, 2" in data.describe("d.png").missing[0]


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ("  - grade: {column: DRR, scale: ICDR}", r"line 8, facts > grade: .*no column 'DRR'; .*did you mean 'DR'"),
        ("  - automorph\n  - label: {column: x, values: {1: a}}", r"line 9, facts > label: .*no column 'x'"),
        ("  - grade: {column: DR, scale: own}", r"line 8: facts: grade: scale: unknown scale 'own'; known: ICDR"),
        (
            "  - grade: {column: DR, scale: ICDR, values: {a: 7}}",
            r"line 8: facts: grade: .*7 is no level of ICDR; .* 3, 4",
        ),
        ("  - quality: {column: DR, levels: {0: [a]}}", r"line 8: facts: quality: levels > 0: found \['a'\]"),
        ("  - boxes\nmasks: {name: x, types: {a: [b, 3]}}", r"line 9: masks > types > a > entry 2: found 3; expected text"),
        ("  - automorph\n   - boxes", r"line 8: facts: 'automorph - boxes' was read as one entry"),
        ("  - label: {column: DR, values: {1: ?}}", r"line 8: a \? still needs your answer"),
        ("  - number: {column: DR, name: x}", r"line 8: facts: number: range: is missing"),
        ("  - flags: {labels: {DR: x}, overall: DR}", r"line 8: facts: flags: overall needs normal"),
        ("  - automorph\njoin: [{tables: [other.csv], key: file}]", r"line 9: no table 'other.csv'"),
        ("  - automorph\nscales: {ICDR: {title: a, of: b, levels: {0: c, 1: d}}}", r"ICDR is a published scale"),
    ],
)
def test_a_page_s_fault_is_named_with_its_line(tmp_path: Path, facts: str, says: str) -> None:
    with pytest.raises(UserError, match=rf"page\.yaml.*{says}"):
        own(tmp_path, facts, "file,DR", "a.png,1")


def test_yes_and_no_in_a_page_are_the_words_of_the_table(tmp_path: Path) -> None:
    facts = "  - label: {column: edema, values: {yes: macular oedema, no: no macular oedema}}"
    data = own(tmp_path, facts, "file,edema", "a.png,Yes", "b.png,NO", "c.png,maybe")
    assert [data.describe(name).about("disease")[0].words for name in data.images] == ["macular oedema", "no macular oedema"]
    assert data.skipped == {"c.png": "labels.csv, row 4, column 'edema': found 'maybe'; expected one of yes, no"}


def test_a_code_without_a_confirmed_meaning_is_not_told(tmp_path: Path) -> None:
    data = own(tmp_path, "  - label: {column: d, values: {0: no glaucoma, 9: null}}", "file,d", "a.png,9")
    case = data.describe("a.png")
    assert case.about("disease") == () and case.missing == (
        "d is not told: labels.csv, row 2, column 'd' holds '9', which has no confirmed meaning",
    )


@pytest.mark.parametrize(
    "kind",
    [
        "grade: {column: d, scale: ICDR, ungradable: bad}",
        "grade: {column: d, scale: ICDR, values: {bad: 9, mild: 1}, ungradable: [9]}",
        "label: {column: d, values: {bad: Ungradable, 1: drusen}}",
        "label: {column: d, values: {bad: null}, ungradable: bad}",
        "quality: {column: d, levels: {bad: not gradable}}",
    ],
)
def test_a_word_for_an_ungradable_image_is_that_in_every_kind(tmp_path: Path, kind: str) -> None:
    labels = "  - flags: {labels: {glaucoma: glaucoma}}\n  - "
    data = own(tmp_path, labels + kind, "file,d,glaucoma", "a.png,bad,1")
    assert [(fact.name, fact.words) for fact in data.describe("a.png").facts] == [("ungradable", "not gradable")]


def test_a_second_folder_that_is_not_read_is_named(tmp_path: Path) -> None:
    draw(tmp_path / "more" / "z.png", 7)
    data = own(tmp_path, "  - automorph", "file", "a.png")
    assert data.images == ["a.png"]
    assert any("more: 1 image of split all not read" in note and "[[one, other]]" in note for note in data.notes)
    both = own(tmp_path, "  - automorph", "file", "a.png", head=HEAD.replace("[photos, more]", "[[photos, more]]"))
    assert set(both.images) | set(both.skipped) == {"a.png", "z.png"}
    assert not any("not read" in note for note in both.notes)


def test_a_table_that_is_not_there_is_answered_with_the_page_s_line_and_those_that_are(tmp_path: Path) -> None:
    says = (
        r"looked for 'lables.csv'; the tables there are 'labels.csv'; name one in .*page.yaml, line 5, splits > all > tables$"
    )
    with pytest.raises(UserError, match=says):
        own(tmp_path, "  - person: {age: age}", "file,age", "a.png,50", head=HEAD.replace("labels.csv", "lables.csv"))


def test_a_large_table_that_lacks_levels_is_asked_about(tmp_path: Path) -> None:
    lines = ["file,DR", "a.png,1", *(f"{n}.png,{n % 2}" for n in range(300))]
    (tmp_path / "page.yaml").write_text(HEAD + "  - grade: {column: DR, scale: ICDR}\n", encoding="utf-8")
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    draw(tmp_path / "photos" / "a.png", 1)
    notes = load_dataset(str(tmp_path / "page.yaml"), tmp_path).notes
    assert "labels.csv: of the levels 0 to 4, the column 'DR' holds 0, 1 alone; are these its grades?" in notes


def test_files_of_another_dataset_are_named_as_such(tmp_path: Path) -> None:
    draw(tmp_path / "resized_train" / "7_left.jpeg", 1)
    (tmp_path / "Label_EyeQ_train.csv").write_text(",image,quality,DR_grade\n0,7_left.jpeg,0,0\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"no label table of EyePACS .*tables: \{train: labels.csv\}; or .* EyeQ: dataset=EyeQ"):
        load_dataset("EyePACS", tmp_path)
    with pytest.raises(UserError, match=r"no image of APTOS.* dataset=EyeQ"):
        load_dataset("APTOS", tmp_path)
    (tmp_path / "Label_EyeQ_train.csv").rename(tmp_path / "mine.csv")
    with pytest.raises(UserError, match=r"no image of APTOS.* a page of your own may name other folders"):
        load_dataset("APTOS", tmp_path)


def test_a_folder_of_a_dataset_that_is_not_read_is_named_with_the_reason(drawn: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(drawn["DeepDRiD"], tmp_path / "data")
    wide = tmp_path / "data" / "ultra-widefield_images" / "ultra-widefield-training" / "Images"
    wide.mkdir(parents=True)
    Image.new("RGB", (8, 6)).save(wide / "1.jpg")
    notes = BaseDescription(tmp_path / "data", dataset="DeepDRiD").notes
    why = "they are ultra-wide field images, and what their level 5 means is not confirmed"
    assert f"ultra-widefield*/Images is not read: {why}" in notes
    with pytest.raises(UserError, match=why):
        BaseDescription(tmp_path / "data" / "ultra-widefield_images", dataset="DeepDRiD")


def test_the_copy_of_g1020_with_contours_tells_what_the_published_files_tell(drawn: dict[str, Path], tmp_path: Path) -> None:
    for kind in ("OD", "OC"):
        (tmp_path / "Contours" / kind).mkdir(parents=True)
    (tmp_path / "Images").mkdir()
    shutil.copy(drawn["G1020"] / "G1020.csv", tmp_path)
    for file in drawn["G1020"].rglob("image_*.json"):
        name = f"21_G1020_{int(file.stem.removeprefix('image_')):03d}"
        shutil.copy(file.with_suffix(".jpg"), tmp_path / "Images" / f"{name}.jpg")
        for shape in json.loads(file.read_text())["shapes"]:
            if kind := {"disc": "OD", "cup": "OC"}.get(shape["label"]):
                points = "\n".join(f"{x} {y}" for x, y in shape["points"])
                (tmp_path / "Contours" / kind / f"{name}.txt").write_text(points)
    published = BaseDescription(drawn["G1020"], tmp_path / "Contours", dataset="G1020")  # without AutoMorph's results
    copy = BaseDescription(tmp_path, dataset="G1020")
    told = [[[f.text for f in data.describe(name).facts] for name in data.images] for data in (published, copy)]
    assert told[0] == told[1] and len(told[0]) > 5 and not copy.skipped and not copy.rows_without_image


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (("12,5", "21", "18,0"), [12.5, 21, 18]),
        (("12.5", "21", "18.0"), [12.5, 21, 18]),
        (("0,431", "0,52", "0,6"), [0.431, 0.52, 0.6]),
        (("12,543", "21", "18,0"), [12.543, 21, 18]),
        (("12,543", "21", "18,125"), [None, 21, None]),  # thousands or decimals
        (("12,5", "21", "18.0"), [None, 21, None]),
        (("12,5", "1,234,567", "18"), [None, None, 18]),
        (("12,5", "below 10, twice", "18,0"), [12.5, None, 18]),
    ],
)
def test_a_comma_parts_decimals_where_the_column_is_plain(tmp_path: Path, cells: tuple[str, ...], told: list) -> None:
    kind = "  - number: {column: IOP, name: intra-ocular pressure, unit: mmHg, range: [0, 60]}"
    rows = [f"{letter}.png;{cell}" for letter, cell in zip("abc", cells, strict=True)]
    (tmp_path / "page.yaml").write_text(HEAD + kind + "\n", encoding="utf-8")
    (tmp_path / "labels.csv").write_text("\n".join(["file;IOP", *rows]) + "\n", encoding="utf-8")
    for n, letter in enumerate("abc"):
        draw(tmp_path / "photos" / f"{letter}.png", n)
    data = load_dataset(str(tmp_path / "page.yaml"), tmp_path)
    cases = [data.describe(name) for name in data.images]
    assert [next((f.value for f in case.facts if f.unit == "mmHg"), None) for case in cases] == told
    refused = [why for case in cases for why in case.missing if "comma or point may part thousands or decimals" in why]
    assert len(refused) == sum(value is None and "twice" not in cell for value, cell in zip(told, cells, strict=True))


JOINED = """name: clinic
title: Our clinic
image: '^(?P<patient>P\\d)_(?P<eye>OD|OE)$'
eyes: {OD: right, OE: left}
splits: {all: {images: [photos], tables: [labels.csv]}}
key: {id: '{patient}'}
eye: olho
join: [{tables: [more.csv], key: {id: '{patient}', olho: '{eye}'}}]
facts:
- person: {age: idade}
"""


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("number: {column: x, name: thickness, unit: mm, range: [0, 9]}", 3),
        ("grade: {column: x, scale: ICDR}", 3),
        ("label: {column: x, values: {3: drusen}}", "3"),
        ("quality: {column: x, levels: {3: good}}", 3),
        ("flags: {labels: {x: drusen}, present: 3}", 1),
    ],
    ids=lambda text: str(text).partition(":")[0],
)
def test_an_image_without_a_row_in_a_joined_table_tells_the_rest(tmp_path: Path, kind: str, value: object) -> None:
    (tmp_path / "page.yaml").write_text(f"{JOINED}- {kind}\n", encoding="utf-8")
    (tmp_path / "labels.csv").write_text("id,olho,idade\nP1,OD,60\nP1,OE,60\nP2,OD,61\nP2,0E,61\n", encoding="utf-8")
    (tmp_path / "more.csv").write_text("id,olho,x\nP1,OD,3\nP1,OE,?\n", encoding="utf-8")
    for n, name in enumerate(("P1_OD", "P1_OE", "P2_OD", "P2_OE")):
        draw(tmp_path / "photos" / f"{name}.png", n)
    data = load_dataset(str(tmp_path / "page.yaml"), tmp_path)
    assert data.skipped == {"P2_OE.png": "which eye its row is of is not known: labels.csv, row 5, column 'olho' holds '0E'"}
    told = {name: [f.value for f in data.describe(name).facts if f.source.column == "x"] for name in data.images}
    assert told == {"P1_OD.png": [value], "P1_OE.png": [], "P2_OD.png": []}
    assert "61 years old" in data.describe("P2_OD.png").description
    assert "more.csv has no row for it" in data.describe("P2_OD.png").missing
    missing = data.describe("P1_OE.png").missing
    assert any("more.csv, row 3, column 'x' holds '?', which is read as empty" in why for why in missing)
    assert [note for note in data.not_used if "more.csv" in note] == ["1 image has no row in more.csv"]


def test_what_a_page_does_not_name_is_listed(tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "copia de al.png", 7)
    data = own(tmp_path, "  - grade: {column: DR, scale: ICDR}", "file,DR,IOP,scale", "al.png,1,12,0.8", "ar.png,2,14,1.0")
    odd = f"1 file is not named like images of clinic, the first {tmp_path}/photos/copia de al.png"
    assert [each.replace("…", str(tmp_path.parent)) for each in data.not_used[:1]] == [
        "labels.csv: columns that the page does not name: 'IOP', 'scale'"
    ]
    assert data.not_used[1].startswith(odd.partition(", the")[0]) and data.not_used[1].endswith("copia de al.png")
    assert data.not_used_places == [
        "page.yaml: columns that are not read: 'IOP', 'scale'",
        "1 file is not named like images of clinic",
    ]
    job = Explore.load(dataset=str(tmp_path / "page.yaml"), data_root=str(tmp_path), out_dir=str(tmp_path / "out"))
    (row,) = [row for row in job.problems.itertuples() if "not named" in row.what]
    assert row[1:] == ("not usable", "files are not named like images of the page", 1, "copia de al.png")
