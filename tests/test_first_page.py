"""`python -m retinal_lib page`: what is plain of a folder is written, what is not is asked, and nothing is guessed."""

from pathlib import Path

import openpyxl
import pytest
from PIL import Image

from retinal_lib.__main__ import main
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.errors import UserError

BRSET = (
    "image_id,patient_id,patient_age,patient_sex,exam_eye,diabetes,nationality,optic_disc,DR_SDRG,DR_ICDR,focus,amd,drusens,quality",
    "img00001,1,48,1,1,yes,Brazil,1,1,2,1,0,1,Adequate",
    "img00002,1,48,1,2,yes,Brazil,2,0,0,1,0,0,Inadequate",
    "img00003,2,51,2,1,no,Brazil,1,0,0,2,0,0,Adequate",
)
DEEPDRID = "patient_id,image_id,image_path,Overall quality,left_eye_DR_Level,right_eye_DR_Level,patient_DR_Level,Clarity"


def picture(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    shades = Image.linear_gradient("L").resize((64, 48))
    turned = shades.rotate(len(list(file.parents[1].rglob("*"))) * 7)  # no two alike
    Image.merge("RGB", (shades, turned, shades)).save(file)


def brset(root: Path) -> None:
    (root / "labels_brset.csv").write_text("\ufeff" + "\n".join(BRSET) + "\n", encoding="utf-8")
    for number in (1, 2, 3):
        picture(root / "fundus_photos" / f"img{number:05d}.jpg")


def papila(root: Path) -> None:
    (root / "ClinicalData").mkdir()
    for side in ("od", "os"):
        book = openpyxl.Workbook()
        for row in (
            [None, "Age", "Gender", "Diagnosis", "Refractive_Defect", None],
            [None, None, None, None, "dioptre_1", "dioptre_2"],
            ["ID"],
            ["#002", 47, 0, 2, 0.75, -1.75],
            ["#004", 58, 1, 1, 1.5, -1.75],
        ):
            book.active.append(row)
        book.save(root / "ClinicalData" / f"patient_data_{side}.xlsx")
        for number in (2, 4):
            picture(root / "FundusImages" / f"RET{number:03d}{side.upper()}.jpg")


def deepdrid(root: Path) -> None:
    for split, patient in (("training", 1), ("validation", 265)):
        folder, rows = root / "regular_fundus_images" / f"regular-fundus-{split}", [DEEPDRID]
        for name, grades in (("l1", "2,"), ("l2", "2,"), ("r1", ",0")):
            stem = f"{patient}_{name}"
            picture(folder / "Images" / str(patient) / f"{stem}.jpg")
            rows.append(f"{patient},{stem},\\{patient}\\{stem}.jpg,{int(name == 'l1')},{grades},2,8")
        (folder / f"regular-fundus-{split}.csv").write_text("\n".join(rows) + "\n")


ANSWERS = {  # dataset -> the answers that its page asks for, as a person writes them into its lines
    brset: {"'1': ?, '2': ?": ("'1': right, '2': left", "'1': male, '2': female"), "scale: ?": ("scale: Scottish",)},
    papila: {
        "'1': ?, '2': ?": ("1: glaucoma, 2: suspected glaucoma",),
        "'0': ?, '1': ?": ("0: male, 1: female",),
    },
    deepdrid: {"scale: ?": ("scale: ICDR",), "'0': ?, '1': ?": ("0: not good, 1: good",)},
}


def answered(text: str, answers: dict[str, tuple[str, ...]]) -> str:
    """A page as it is once a person has written the answers into it."""
    lines = text.splitlines()
    for question, given in answers.items():
        places = [n for n, line in enumerate(lines) if line.startswith("#") and question in line]
        for place, answer in zip(places, given, strict=False):
            lines[place] = lines[place].removeprefix("#").replace(question, answer)
    return "\n".join(lines).replace("#eye: exam_eye", "eye: exam_eye")


@pytest.mark.parametrize("layout", ANSWERS, ids=lambda layout: layout.__name__)
def test_a_page_needs_three_answers_at_most_and_reads_the_files_before_and_after(tmp_path: Path, layout) -> None:
    layout(tmp_path)
    said = main(["page", str(tmp_path), "--out", str(tmp_path / "mine.yaml")])
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    number = text.count("# answer: ")
    assert 0 < number <= 3 and f"{number} answer" in said and f"Answers needed: {number}." in text
    data = BaseDescription(tmp_path, dataset=str(tmp_path / "mine.yaml"))
    assert not data.skipped and not data.rows_without_image
    plain = {name: data.describe(name).description for name in data.images}
    given = {question: answers for question, answers in ANSWERS[layout].items() if "Scottish" not in answers[0]}
    (tmp_path / "mine.yaml").write_text(answered(text, given), encoding="utf-8")
    data = BaseDescription(tmp_path, dataset=str(tmp_path / "mine.yaml"))
    told = {name: data.describe(name).description for name in data.images}
    assert not data.skipped and all(set(plain[name].split("; ")) != set(told[name].split("; ")) for name in told)
    first = "\n".join(told[min(told)].splitlines())
    assert first == FIRST[layout]


FIRST = {
    brset: "Image: it shows the right eye.\n"
    "Patient record: the patient was 48 years old; the patient's record, for both eyes together, is labelled diabetes; "
    "the patient is male.\n"
    "Image quality: adequate.\n"
    "Disease: the grade of diabetic retinopathy is 2 on the International Clinical Diabetic Retinopathy scale (0 to 4), "
    "meaning moderate non-proliferative diabetic retinopathy; the label of the image says no age-related macular "
    "degeneration; the label of the image says drusen.",
    papila: "Image: it shows the right eye.\n"
    "Patient record: the patient was 47 years old; the patient is male.\n"
    "Disease: the label of the image says suspected glaucoma.",
    deepdrid: "Image: it shows the left eye.\n"
    "Image quality: the graders graded the image quality as good.\n"
    "Disease: the grade of diabetic retinopathy is 2 on the International Clinical Diabetic Retinopathy scale (0 to 4), "
    "meaning moderate non-proliferative diabetic retinopathy.",
}


def test_what_is_left_out_is_named_with_its_counts(tmp_path: Path) -> None:
    brset(tmp_path)
    (tmp_path / "marks").mkdir()
    Image.new("L", (64, 48), 255).save(tmp_path / "marks" / "img00001.png")
    (tmp_path / "marks" / "readme.txt").write_text("hello\n")
    main(["page", str(tmp_path), "--out", str(tmp_path / "mine.yaml")])
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    left = text.partition("# Left out:\n")[2].splitlines()
    assert "#   focus: nothing says what its cells mean: 1 (2), 2 (1)" in left
    assert any(
        "marks: 1 files like masks; values in the first: 255; the ground along the border: 255." in line for line in left
    )
    assert "#   marks: 1 .txt, in which no column names pictures" in left
    assert "patient: patient_id  # patient: persons (2), kept together in splits and never told" in text
    assert "# amd: condition: absent: 0 (3)\n" in text
    with pytest.raises(UserError, match=r"mine.yaml is there already; pass --out"):
        main(["page", str(tmp_path), "--out", str(tmp_path / "mine.yaml")])


def test_a_table_without_a_header_row_is_read_and_its_column_asked_about(tmp_path: Path) -> None:
    for split, name in (("train", "007-0004-000"), ("valid", "007-0005-000")):
        picture(tmp_path / "DR_grading" / split / f"{name}.jpg")
        (tmp_path / "DR_grading" / f"{split}.txt").write_text(f"{name}.jpg 5\n")
    main(["page", str(tmp_path), "--out", str(tmp_path / "ddr.yaml")])
    text = (tmp_path / "ddr.yaml").read_text(encoding="utf-8")
    assert "header: [image, column 2]" in text and "# answer: column 2 holds 5 (2); what does each stand for?" in text
    (tmp_path / "ddr.yaml").write_text(answered(text, {"'5': ?": ("5: not gradable",)}), encoding="utf-8")
    data = BaseDescription(tmp_path, dataset=str(tmp_path / "ddr.yaml"))
    assert {data.image(name).split for name in data.images} == {"train", "validation"}


def test_folders_of_classes_are_asked_about(tmp_path: Path) -> None:
    for folder in ("0.0.Normal", "9.Pathological myopia"):
        picture(tmp_path / folder / "a.jpg")
    main(["page", str(tmp_path)])
    (file,) = tmp_path.glob("*.yaml")
    text = file.read_text(encoding="utf-8")
    assert "# answer: the folders are 0.0.Normal (1), 9.Pathological myopia (1); what does each stand for?" in text
    answers = {
        "0.0.Normal: ?, 9.Pathological myopia: ?": ("0.0.Normal: normal fundus, 9.Pathological myopia: pathological myopia",)
    }
    file.write_text(answered(text, answers), encoding="utf-8")
    data = BaseDescription(tmp_path, dataset=str(file))
    assert [data.describe(name).description for name in data.images] == [
        "Disease: the label of the image says normal fundus.",
        "Disease: the label of the image says pathological myopia.",
    ]


@pytest.mark.parametrize("named", ["marks/{kind}/e1.png", "marks/e1_{kind}.png"])
def test_masks_are_asked_about_and_told_by_the_answer(tmp_path: Path, named: str) -> None:
    picture(tmp_path / "photos" / "e1.jpg")
    for kind, box in (("MA", (8, 6, 16, 12)), ("EX", (32, 24, 48, 36))):
        mask = Image.new("L", (64, 48))
        mask.paste(255, box)
        (file := tmp_path / named.format(kind=kind)).parent.mkdir(parents=True, exist_ok=True)
        mask.save(file)
    main(["page", str(tmp_path), "--out", str(tmp_path / "mine.yaml")])
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert "# answer: the masks are of EX, MA; what does each mark, one and several?" in text
    assert not BaseDescription(tmp_path, dataset=str(tmp_path / "mine.yaml")).describe("e1.jpg").facts
    marks = "EX: [hard exudate, hard exudates], MA: [microaneurysm, microaneurysms]"
    text = answered(text, {"EX: [?, ?], MA: [?, ?]": (marks,)}).replace("#- boxes", "- boxes")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    case = BaseDescription(tmp_path, dataset=str(tmp_path / "mine.yaml")).describe("e1.jpg")
    boxes = [fact.value for fact in case.facts if fact.unit == "box"]
    assert sorted(boxes) == [(0.125, 0.125, 0.25, 0.25), (0.5, 0.5, 0.75, 0.75)] and "microaneurysm" in case.description


def test_a_mask_that_does_not_fit_its_picture_is_named_with_what_is_not_used(tmp_path: Path) -> None:
    for number in (1, 2):
        picture(tmp_path / "photos" / f"e{number}.jpg")
        (tmp_path / "marks" / "EX").mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 48) if number == 1 else (64, 60)).save(tmp_path / "marks" / "EX" / f"e{number}.png")
    page = "name: p\ntitle: p\nsplits: {all: {images: [photos], masks: ['marks/*']}}\nfacts: [boxes]\n"
    page += "masks: {name: '^(?P<type>EX)/(?P<image>.+)$', types: {EX: [hard exudate, hard exudates]}}\n"
    data = opened(tmp_path, page)
    (says,) = [each for each in data.not_used if "mask" in each]
    assert says.startswith("1 mask not used, which does not fit its picture: ")
    assert says.endswith("e2.png: the mask is 64 x 60 pixels, the image 64 x 48; they must have the same shape")
    assert data.not_used_places == ["1 mask not used, which does not fit its picture"]
    (tmp_path / "photos" / "e2.jpg").write_bytes(b"no picture")
    assert not [each for each in opened(tmp_path, page).not_used if "mask" in each]


def graded(root: Path, *grades: str) -> str:
    """The first page of a folder with one picture a grade, two of masks, and a disease in three words."""
    for number, _ in enumerate(grades, 1):
        picture(root / "photos" / f"e{number}.jpg")
    rows = [f"e{n}.jpg,{grade},{('yes', 'no', 'maybe')[n % 3]}" for n, grade in enumerate(grades, 1)]
    (root / "grades.csv").write_text("\n".join(["image,ICDR grade,glaucoma", *rows]) + "\n", encoding="utf-8")
    mask = Image.new("L", (64, 48))
    mask.paste(255, (8, 6, 16, 12))
    (root / "marks").mkdir()
    mask.save(root / "marks" / "e1_EX.png")
    mask.save(root / "marks" / "e2_MA.png")
    main(["page", str(root), "--out", str(root / "mine.yaml")])
    return (root / "mine.yaml").read_text(encoding="utf-8")


def opened(root: Path, text: str) -> BaseDescription:
    (root / "mine.yaml").write_text(text, encoding="utf-8")
    return BaseDescription(root, dataset=str(root / "mine.yaml"))


def test_a_line_of_a_question_needs_its_mark_taken_away_and_nothing_else(tmp_path: Path) -> None:
    text = graded(tmp_path, *"0123401234", "9", "9")
    head, _, questions = text.partition("- automorph\n")
    assert "Answers needed: 3." in head and questions.count("# answer: ") == 3
    assert "mask" not in questions.partition("# Left out:")[2] and "#private_names: true" in head
    bare = "\n".join(line.removeprefix("#") if line[:2] not in ("# ", "#") else line for line in text.splitlines())
    with pytest.raises(UserError, match=r"mine\.yaml, lines \d+, \d+, \d+: a \? still needs your answer"):
        opened(tmp_path, bare)
    filled = bare.replace("ungradable: [?], unclear: [?]", "ungradable: 9, unclear: []").replace("[?, ?]", "[spot, spots]")
    case = opened(tmp_path, filled.replace(": ?", ": null")).describe("e1.jpg")
    assert "grade of diabetic retinopathy is 0" in case.description and "spot" in case.description


@pytest.mark.parametrize("written", ["#   - boxes", "# - boxes"])
def test_an_indented_line_is_named_in_plain_words(tmp_path: Path, written: str) -> None:
    text = graded(tmp_path, *"0123").replace("#- boxes", written.replace("#", "").replace("boxes", "boxes: {}"))
    line = next(n for n, each in enumerate(text.splitlines(), 1) if "boxes: {}" in each)
    number = len(written) - len("#- boxes")
    with pytest.raises(UserError, match=rf"line {line}: .*begins with {number} blanks?, but the lines above it with 0"):
        opened(tmp_path, text)


@pytest.mark.parametrize(("word", "told"), [("2?", ""), ("ungradable", "not gradable")])
def test_a_word_among_grades_of_a_known_scale_leaves_the_others_read(tmp_path: Path, word: str, told: str) -> None:
    text = graded(tmp_path, *"0123401234", word)
    assert "ICDR grade holds" not in text and "- {grade: {column: ICDR grade, scale: ICDR, un" in text
    data = opened(tmp_path, text)
    assert "grade of diabetic retinopathy is 4" in data.describe("e5.jpg").description
    last = data.describe("e11.jpg").description
    assert not data.skipped and told in last and "grade of" not in last


NAMES = [f"AK{n:03}_{eye}_{date}" for n in (7, 12) for eye in ("OD", "OS") for date in ("20220314", "20230905")]
BY_PARTS = {  # rows of a table -> what it is called, and the key that is proposed
    "one eye, German dates": (
        ["Patient code,Eye,Visit,ICDR grade"]
        + [f"AK{n:03},{eye},{day},{n % 5}" for n in (7, 12) for eye in ("right", "left") for day in ("14.3.2022", "5.9.2023")],
        "key: {Patient code: '{patient}', Visit: '{day:d}.{month:d}.{year}'}  # 8 rows name 8 of 8 pictures",
    ),
    "both eyes": (
        ["Pat ID,Date,ICDR OD,ICDR OS,Glaucoma OD,Glaucoma OS"]
        + [f"{n},{day},{n % 5},{n % 5},no,yes" for n in (7, 12) for day in ("2022-03-14", "2023-09-05")],
        "key: {Pat ID: '{patient:d}', Date: '{year}-{month}-{day}'}  # 4 rows name 8 of 8 pictures",
    ),
}


@pytest.mark.parametrize("case", BY_PARTS)
def test_rows_without_a_file_name_are_found_by_the_parts_of_names(tmp_path: Path, case: str) -> None:
    rows, key = BY_PARTS[case]
    for name in NAMES:
        picture(tmp_path / "photos" / f"{name}.jpg")
    (tmp_path / "grades.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert "no answer needed" in main(["page", str(tmp_path), "--out", str(tmp_path / "mine.yaml")])
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert key in text and "patient: Pat" in text
    data = opened(tmp_path, text)
    assert not data.skipped and not data.rows_without_image
    told = {name: [f.value for f in data.describe(name).facts if f.name == "grade"] for name in data.images}
    assert told == {f"{name}.jpg": [2] for name in NAMES}
    words = {data.describe(name).eye: data.describe(name).about("disease")[-1].words for name in data.images}
    assert case != "both eyes" or words == {"right": "no glaucoma", "left": "glaucoma"}


CODES = [f"AK{n:03}" for n in (7, 12)]
BESIDE_NAMES = {  # rows of a table, the dates of the names, and what the page says
    "texts for each eye": (
        ["Patient code,Visit,Findings OD,Findings OS,Glaucoma OD,Glaucoma OS"]
        + [f"{code},{day},drusen,like AK012,no,yes" for code in CODES for day in ("2022-03-14", "2023-09-05")],
        ("20220314", "20230905"),
        "OS: columns for each eye are read where they hold grades, classes, numbers or a disease; these hold texts",
    ),
    "dates for each eye": (
        ["Patient code,Visit,Date OD,Date OS,notes"]
        + [f"{code},{day},2020-01-01,2020-01-02,drusen" for code in CODES for day in ("2022-03-14", "2023-09-05")],
        ("20220314", "20230905"),
        "private: [Date OD, Date OS, Patient code]",
    ),
    "dates with marks in no column": (
        ["Patient code,Eye,glaucoma", *(f"{code},{eye},yes" for code in CODES for eye in ("OD", "OS"))],
        ("2022-03-14", "2023-09-05"),
        "such as ak007_od_2022-03-14",
    ),
    "one date with marks": (
        ["Patient code,Eye,glaucoma", *(f"{code},{eye},yes" for code in CODES for eye in ("OD", "OS"))],
        ("2022-03-14", "20230905"),
        "such as ak007_od_2022-03-14",
    ),
    "dates of two orders": (
        ["Patient code,Visit,glaucoma", *(f"{code},2022-03-14,yes" for code in CODES)],
        ("2022-03-14", "05-09-2023"),
        "grades.csv: not used",
    ),
    "an empty column": (
        ["Patient code,Visit,batch,ICDR", *(f"{code},2022-03-14,,1" for code in CODES)],
        ("20220314", "20230905"),
        "batch: empty",
    ),
}


@pytest.mark.parametrize("case", BESIDE_NAMES)
def test_no_column_keeps_a_table_from_being_looked_at(tmp_path: Path, case: str) -> None:
    rows, dates, told = BESIDE_NAMES[case]
    for name in (f"{code}_{eye}_{date}" for code in CODES for eye in ("OD", "OS") for date in dates):
        picture(tmp_path / "photos" / f"{name}.jpg")
    (tmp_path / "grades.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    main(["page", str(tmp_path), "--out", str(tmp_path / "mine.yaml")])
    assert told in (tmp_path / "mine.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("rows", "asked"),
    [
        (["Patient,ICDR OD,ICDR OS", "AK007,1,2", "AK012,3,4"], "names several pictures of one eye, such as ak007_od_20220314"),
        (["Patient,Visit,ICDR", "AK007,2022-03-14,1", "AK012,2022-03-14,2"], "names both eyes; if it holds for all"),
    ],
)
def test_a_row_that_would_hold_for_several_pictures_is_asked_about(tmp_path: Path, rows: list[str], asked: str) -> None:
    for name in NAMES:
        picture(tmp_path / "photos" / f"{name}.jpg")
    (tmp_path / "grades.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    main(["page", str(tmp_path), "--out", str(tmp_path / "mine.yaml")])
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert (
        asked in text
        and "\n#key: {Patient: " in text
        and not opened(tmp_path, text).describe(f"{NAMES[0]}.jpg").about("disease")
    )
    assert opened(tmp_path, text.replace("#key:", "key:")).describe(f"{NAMES[0]}.jpg").about("disease")[0].value == 1


@pytest.mark.parametrize("names", [("a",), ("img_7", "img_12"), ("s007_od", "s012_od")], ids=" ".join)
def test_a_table_that_names_no_picture_is_named(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        picture(tmp_path / "photos" / f"{name}.jpg")
    (tmp_path / "grades.csv").write_text("Patient,ICDR\nAK007,1\nAK012,3\n", encoding="utf-8")
    assert "a table or sheet is not used, see '# Left out'" in main(
        ["page", str(tmp_path), "--out", str(tmp_path / "mine.yaml")]
    )
    left = (tmp_path / "mine.yaml").read_text(encoding="utf-8").partition("# Left out:")[2]
    assert "grades.csv: not used: no column names pictures" in left


def test_folders_of_classes_whose_pictures_say_the_eye_keep_both(tmp_path: Path) -> None:
    for name in ("glaucoma/12_left", "glaucoma/12_right", "normal/13_left"):
        picture(tmp_path / f"{name}.png")
    main(["page", str(tmp_path), "--out", str(tmp_path / "mine.yaml")])
    answers = {"glaucoma: ?, normal: ?": ("glaucoma: glaucoma, normal: no glaucoma",)}
    data = opened(tmp_path, answered((tmp_path / "mine.yaml").read_text(encoding="utf-8"), answers))
    cases = [data.describe(name) for name in data.images]
    told = [(case.patient, case.eye, case.about("disease")[0].words) for case in cases]
    assert told == [("12", "left", "glaucoma"), ("12", "right", "glaucoma"), ("13", "left", "no glaucoma")]


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pictures under"):
        main(["page", str(tmp_path)])
    with pytest.raises(UserError, match="is not a folder"):
        main(["page", str(tmp_path / "nowhere")])


PORTO = ["Nº Doente,Olho,Data exame,ICDR"]
PORTO += [f"AK{n:03},{eye},{day},{n % 5}" for n in (7, 12) for eye in ("OD", "OE") for day in ("14-03-2022", "05-09-2023")]


@pytest.mark.parametrize(
    ("eyes", "rows", "says"),
    [
        (
            ("OD", "OE"),
            PORTO,
            "key: {Nº Doente: '{patient}', Data exame: '{day}-{month}-{year}'}  # 8 rows name 8 of 8 pictures",
        ),
        (("D", "E"), PORTO, "rows 2 and 4 are of the same pictures, whose names do not plainly say what 'Olho' does"),
        (
            ("D", "G"),
            [row for row in PORTO if "OE" not in row],
            "of several pictures, which differ in 'd' and 'g'; that may be",
        ),
        (("OD", "OE"), [PORTO[0].replace("Nº Doente", "x"), *PORTO[1:]], "no column is called like one of patients, and what"),
        (
            ("OD", "OE"),
            [row.replace("AK", "BK") for row in PORTO],
            "what 'Nº Doente' holds does not plainly stand in the names",
        ),
    ],
)
def test_two_eyes_are_never_taken_for_pictures_of_one(tmp_path: Path, eyes: tuple, rows: list[str], says: str) -> None:
    for name in [f"AK{n:03}_{eye}_{date}" for n in (7, 12) for eye in eyes for date in ("20220314", "20230905")]:
        picture(tmp_path / "photos" / f"{name}.jpg")
    picture(tmp_path / "photos" / "copy of AK007_OD.jpg")
    for n in range(20, 30):  # so that one odd name is a small part
        for eye in eyes:
            picture(tmp_path / "photos" / f"AK{n:03}_{eye}_20220314.jpg")
    (tmp_path / "grades.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    main(["page", str(tmp_path), "--out", str(tmp_path / "mine.yaml")])
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert says.replace("8 of 8", "8 of 29") in text and "several pictures of one eye" not in text


def test_words_among_grades_are_asked_about_and_count_beside_them(tmp_path: Path) -> None:
    text = graded(tmp_path, *"01234", "moderada", "moderada", "grave", "2/3")
    asked = "holds '2/3' and 'grave' and 'moderada', no grade from 0 to 4 of the scale ICDR; which grade is each word?"
    line = "#- grade: {column: ICDR grade, scale: ICDR, values: {grave: ?, moderada: ?}, unclear: [2/3]}\n"
    assert asked in text and line in text
    data = opened(tmp_path, text.replace(line, line[1:].replace("grave: ?, moderada: ?", "grave: 3, moderada: 2")))
    grades = [next((f.value for f in data.describe(name).facts if f.name == "grade"), None) for name in data.images]
    assert not data.skipped and grades == [0, 1, 2, 3, 4, 2, 2, 3, None]


def test_the_same_cells_are_shown_in_a_question_and_in_its_line(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "photos" / f"e{number}.jpg")
    (tmp_path / "grades.csv").write_text("image,grade\ne0.jpg,gering\ne1.jpg,gering\ne2.jpg,Müller\n", encoding="utf-8")
    main(["page", str(tmp_path), "--out", str(tmp_path / "mine.yaml")])
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert "grade holds gering (2), Müller (1); what does each stand for?" in text and "values: {Müller: ?, gering: ?}" in text


def test_a_second_sheet_is_named_by_the_page_and_by_what_is_read_with_it(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["image", "ICDR"], ["1.png", 0], ["2.png", 2]):
        book.active.append(row)
    book.create_sheet("Vessels").append(["image", "CRAE"])
    book.create_sheet("Empty")
    book.save(tmp_path / "labels.xlsx")
    for number in (1, 2):
        picture(tmp_path / "images" / f"{number}.png")
    assert "a table or sheet is not used" in main(["page", str(tmp_path), "--out", str(tmp_path / "p.yaml")])
    says = "labels.xlsx: read from the sheet 'Sheet'; not read: 'Vessels'; to use another sheet, save it as a CSV file"
    assert says in (tmp_path / "p.yaml").read_text()
    assert any(note.startswith(says) for note in BaseDescription(tmp_path, dataset=str(tmp_path / "p.yaml")).not_used)


def test_a_second_table_is_left_out_with_the_line_that_joins_it(tmp_path: Path) -> None:
    for name in [f"AK{n:03}_{eye}_{date}" for n in (7, 12) for eye in ("OD", "OE") for date in ("20220314", "20230905")]:
        picture(tmp_path / "photos" / f"{name}.jpg")
    rows = [*PORTO, "AK099,AO,14-03-2022,1"]
    (tmp_path / "grades.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "vessels.csv").write_text("Doente,Olho,CRAE\nAK007,OD,151.2\nAK007,OE,149.9\nAK012,OD,150\n", encoding="utf-8")
    assert "no answer needed" in main(["page", str(tmp_path), "--out", str(tmp_path / "mine.yaml")])
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    line = "join: [{tables: [vessels.csv], key: {'Doente': '{patient}', 'Olho': '{eye}'}}]"
    assert f"vessels.csv: also names pictures; this line reads it too: {line}" in text and "both: AO (1)" in text
    number = "- number: {column: CRAE, name: arteriolar width, unit: µm, range: [80, 250]}"
    data = opened(tmp_path, text.replace("facts:\n", f"{line}\nfacts:\n{number}\n"))
    told = [f.value for name in data.images for f in data.describe(name).facts if f.unit == "µm"]
    assert told == [151.2, 151.2, 149.9, 149.9, 150, 150] and not data.skipped


def test_numbers_without_a_unit_have_a_line_to_complete_also_where_few_cells_are_filled(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        picture(tmp_path / "images" / f"{number}.png")
    (tmp_path / "labels.csv").write_text("image,AMD,IOP,CDR,DR\n1.png,1,,,0\n2.png,0,14,0.4,3\n3.png,0,,,0\n")
    main(["page", str(tmp_path), "--out", str(tmp_path / "mine.yaml")])
    text = (tmp_path / "mine.yaml").read_text()
    assert "- {number: {column: CDR, name: cup-to-disc ratio, range: [0, 1]}}" in text
    assert "#- grade: {column: DR, scale: ?}" in text
    line = "#- number: {column: IOP, name: intraocular pressure, unit: ?, range: [?, ?], scope: eye}\n"
    assert line in text and "nothing states its unit; to tell it, write what belongs in place of each ?" in text
    filled = line.removeprefix("#").replace("unit: ?, range: [?, ?]", "unit: mmHg, range: [5, 60]")
    told = opened(tmp_path, text.replace(line, filled)).describe("2.png").description
    assert "the intraocular pressure is 14 mmHg" in told and "the cup-to-disc ratio is 0.4" in told
    assert not opened(tmp_path, text).skipped  # the line may stay as it is
