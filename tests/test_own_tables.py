"""A table of one's own: what its free text says of an eye is told as it stands, and what says the opposite is an error."""

import itertools
import json
import random
import re
from pathlib import Path

import openpyxl
import pytest
import yaml

from retinal_lib.check import conversation_check
from retinal_lib.check.language import lexicon
from retinal_lib.check.language.negation import AFFIRMED, NEGATED, SUSPECTED, UNCERTAIN
from retinal_lib.check.language.statements import of_label
from retinal_lib.conversation import Turn
from retinal_lib.dataset import measurements, page, tables
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.cells import values
from retinal_lib.dataset.cells.columns import understand, without_names
from retinal_lib.dataset.label_kinds import told_once
from retinal_lib.errors import UserError
from retinal_lib.evaluate import label_questions
from retinal_lib.evaluate.evaluation import Evaluation
from retinal_lib.explore.explore import Explore
from retinal_lib.facts import Case, Fact, Source
from retinal_lib.paths import PACKAGE
from retinal_lib.slots import filling, sheet, slot_check
from retinal_lib.teacher import offline, prompt
from retinal_lib.teacher.reply_parser import parse

LIMIT = "; at most a tenth of the cells may be wrong (where there are four or more, one)"
TRACKS = (("instruction", None), ("alignment", "caption"), ("alignment", "consult"))
NORMAL = (
    "normal|Normal|NORMAL FUNDUS|healthy|healthy eye|normal retina|fundus within normal limits|unremarkable|no disease|none|"
    "nil|no abnormality detected|NAD|WNL|No visible abnormality|no evidence of retinal disease|no ocular pathology|"
    "No significant findings|nothing abnormal|disease absent|free of disease|Normal; NAD|normal, no DR|"
    "not diseased|nothing found"
).split("|")
OPEN = ["abnormal", "not normal", "probably normal", "normal?", "normal optic disc", "normal IOP"]
OPEN += ["no macular pathology", "no lesion", "no DR", "other"]
WORDED = {  # as people write it -> what it says of a condition
    "no DR": ("diabetic_retinopathy", NEGATED),
    "No_DR": ("diabetic_retinopathy", NEGATED),
    "no dr": ("diabetic_retinopathy", NEGATED),
    "DR: no": ("diabetic_retinopathy", NEGATED),
    "DR (-)": ("diabetic_retinopathy", NEGATED),
    "DR grade 0": ("diabetic_retinopathy", NEGATED),
    "DR grade 1": ("diabetic_retinopathy", AFFIRMED),
    "No apparent retinopathy": ("diabetic_retinopathy", NEGATED),
    "without retinopathy": ("diabetic_retinopathy", NEGATED),
    "negative for glaucoma": ("glaucoma", NEGATED),
    "Non-glaucoma": ("glaucoma", NEGATED),
    "glaucoma absent": ("glaucoma", NEGATED),
    "no signs of glaucoma": ("glaucoma", NEGATED),
    "normal tension glaucoma": ("glaucoma", AFFIRMED),
    "?glaucoma": ("glaucoma", SUSPECTED),
    "r/o glaucoma": ("glaucoma", SUSPECTED),
    "amd": ("amd", AFFIRMED),
    "moderate NPDR, no macular edema": ("macular_oedema", NEGATED),
    "no DR but drusen": ("drusen", AFFIRMED),
    "AMD absent, DR present": ("diabetic_retinopathy", AFFIRMED),
    "-ve for DR": ("diabetic_retinopathy", NEGATED),
    "no macular edema, drusen": ("drusen", UNCERTAIN),
    "no haemorrhages, exudates or drusen": ("drusen", NEGATED),
    "normal apart from drusen": ("drusen", AFFIRMED),
}


def pictures(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).write_bytes(b"a picture " + b"." * number)


def table(folder: Path, *lines: str, name: str = "my.csv") -> BaseDescription:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return BaseDescription(folder, dataset=str(folder / name))


def eye(folder: Path, **cells: str) -> Case:
    """An eye that a table of one row tells of."""
    pictures(folder, "1.png")
    lines = [",".join(["image", *cells]), ",".join(["1.png", *(f'"{cell}"' for cell in cells.values())])]
    return table(folder, *lines).describe("1.png")


def human(question: str) -> dict[str, str]:
    return {"from": "human", "value": question}


def errors(case: Case, *answers: str) -> list[str]:
    talk = [turn for answer in answers for turn in (human("What?"), {"from": "gpt", "value": answer})]
    talk[0] = human("<image>\nWhat?")
    return [finding.kind for finding in conversation_check.errors(conversation_check.check(talk, case))]


NEVER_TOLD = (
    "Meier called, clear media|seen on 12.03.2021|2021-03-12 laser|tel 0170-1234567|ask anna@example.org|Dr. Weber informed|"
    "Z.n. PRP|V. a. AMD|case K-1001"
).split("|")


@pytest.mark.parametrize("note", NEVER_TOLD)
def test_what_identifies_a_person_is_never_told_nor_shown(tmp_path: Path, note: str) -> None:
    pictures(tmp_path, "1.png", "2.png")
    row = f'"Meier, Hans",12.03.1958,K-1001,drusen,"{note}"'
    data = table(tmp_path, "image,Patientenname,Geb.-Datum,PatID,disease,notes", f"1.png,{row}", f"2.png,{row}")
    case = data.describe("1.png")
    assert [fact.aspect for fact in case.facts] == ["disease"]
    assert "is not told" in case.missing[0]
    assert not any(word in " ".join(data.notes) for word in ("Meier", "1958", "K-1001"))
    assert not any("Meier" in reading.says for reading in page.readings(tables.read(tmp_path / "my.csv", "find")))


def test_pictures_called_by_a_name_of_a_person_are_private(tmp_path: Path) -> None:
    pictures(tmp_path, "meier_od.png", "meier_os.png")
    lines = "image,Nachname,disease|meier_od.png,Meier,drusen|meier_os.png,Meier,drusen".split("|")
    data = table(tmp_path, *lines)
    assert [data.called(name) for name in data.images] == ["image 1", "image 2"]


@pytest.mark.parametrize(
    ("columns", "cell", "side"),
    [
        *(("eye,age", "li", "left"), ("Auge,Alter", "re", "right"), ("Olho,Idade", "E", "left"), ("eye,Idade", "D", "right")),
        *(("oeil,age", "G", "left"), ("eye,age", "D", None), ("eye,age", "E", None), ("ojo,edad", "I", "left")),
        *(("occhio,età", "S", "left"), ("Lato,Paziente", "D", "right")),
    ],
)
def test_a_letter_is_an_eye_where_the_language_is_plain(tmp_path: Path, columns: str, cell: str, side: str | None) -> None:
    pictures(tmp_path, "1.png", "2.png")
    data = table(tmp_path, f"image,{columns},disease", f"1.png,{cell},58,drusen", "2.png,OD,60,drusen")
    assert data.describe("1.png").eye == side
    assert side or cell in " ".join((*data.notes, *data.describe("1.png").missing))


def test_the_eye_and_patient_are_read_from_file_names_where_no_column_says_them(tmp_path: Path) -> None:
    pictures(tmp_path, "12_left.jpg", "12_right.jpg", "brightness_7.jpg")
    data = table(tmp_path, "image,disease", "12_left.jpg,drusen", "12_right,drusen", "brightness_7.jpg,drusen")
    assert [data.describe(name).eye for name in data.images] == ["left", "right", None]
    (tmp_path / "brightness_7.jpg").unlink()
    data = table(tmp_path, "image,disease", "12_left.jpg,drusen", "12_right,drusen")
    assert [data.describe(name).patient for name in data.images] == ["12", "12"]
    data = table(tmp_path, "image,eye,disease", "12_left.jpg,OD,drusen", "12_right,OD,drusen")
    assert "the right eye, but its name says the left eye" in data.skipped["12_left.jpg"]


def test_a_label_in_words_is_told_and_normal_denies_the_classes_alone(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png", "3.png")
    data = table(tmp_path, "image,label", "1.png,diabetic_retinopathy", "2.png,glaucoma", "3.png,normal")
    told = [data.describe(name).facts[-1].text for name in data.images]
    assert told[0].endswith("diabetic retinopathy")
    assert told[2].endswith("no diabetic retinopathy or glaucoma")
    assert "unsupported_normal" in errors(data.describe("3.png"), "This eye is normal.")
    pictures(tmp_path, "4.png", "5.png")
    data = table(
        tmp_path, "image,label", "1.png,DR", "2.png,other", "3.png,Normal", "4.png,Diabetic Retinopathy", "5.png,Glaucoma"
    )
    assert data.describe("3.png").facts[-1].text.endswith("no DR or glaucoma")
    assert "which has no confirmed meaning" in data.describe("2.png").missing[0]


@pytest.mark.parametrize(
    ("columns", "cells"),
    [
        *(
            ("Diagnostic,Œil", "RD,D"),
            ("Diagnóstico,Olho", "RDNP,D"),
            ("remarques,Œil", "RAS,D"),
            ("Diagnose,eye", "trockene AMD,OD"),
        ),
        *(("notes,eye", "suspicion de glaucome,OD"), ("notes,eye", "IVOM li,OD"), ("Notiz,Auge", "Pat. kooperativ,OD")),
    ],
)
def test_words_that_are_english_by_chance_are_not_told(tmp_path: Path, columns: str, cells: str) -> None:
    pictures(tmp_path, "1.png")
    case = table(tmp_path, f"image,{columns}", f"1.png,{cells}").describe("1.png")
    assert [fact.aspect for fact in case.facts] == ["image"]


def test_a_date_where_an_age_should_be_is_not_shown(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png", "3.png")
    data = table(tmp_path, "image,age,disease", "1.png,58,drusen", "2.png,1960-05-01 00:00:00,drusen", "3.png,61,drusen")
    (why,) = data.describe("2.png").missing
    assert why.endswith("holds a date, which is no usable age")
    says = [reading.says for reading in page.readings(tables.read(tmp_path / "my.csv", "find"))]
    assert "58 to 61 years; not read: a date (1)" in says


@pytest.mark.parametrize(
    ("note", "known"),
    [("drusen in the periphery", "nothing is known of other diseases beyond what is noted"),
     ("RRD sup, mac on", "nothing is known of other diseases beyond what is noted"),
     ("", "nothing is known of other diseases")],
)  # fmt: skip
def test_a_note_is_no_judgement_of_all_diseases(tmp_path: Path, note: str, known: str) -> None:
    case = eye(tmp_path, glaucoma="no", notes=note)
    assert case.graded_only == ("glaucoma",)
    told = sheet.make(case, 0)
    assert [line.text for line in told.lines if line.id == "d2"] == [f"only glaucoma was judged; {known}"]
    for track, style in TRACKS:
        assert all("d2]" in offline.compose(told, track, style, seed) for seed in range(5))


def test_a_fact_keeps_the_raw_text_of_its_cell(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png")
    case = table(tmp_path, "image,eye,sex,age,macular oedema", "1.png,OS,F,61 y,ja", "2.png,OD,M,,nein").describe("1.png")
    assert [(fact.source.column, fact.source.as_row()["cell"], fact.value) for fact in case.facts] == [
        ("eye", "OS", "left"),
        ("age", "61 y", 61),
        ("sex", "F", "female"),
        ("macular oedema", "ja", 1),
    ]


def test_homme_is_male_beside_femme(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png")
    data = table(tmp_path, "fichier,sexe,diagnostic", "1.png,H,drusen", "2.png,F,drusen")
    assert [data.describe(name).facts[0].value for name in data.images] == ["male", "female"]


@pytest.mark.parametrize("column", ["quality", "notes", "disease"])
def test_ungradable_is_that_in_whatever_column_it_stands(tmp_path: Path, column: str) -> None:
    case = eye(tmp_path, glaucoma="no", **{column: "ungradable"})
    assert [fact.name for fact in case.facts] == ["ungradable"]
    assert [fact.name for fact in eye(tmp_path, glaucoma="no", **{column: "ungradable?"}).facts] == ["absent"]


def test_a_table_of_mild_and_severe_is_not_read(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png", "3.png")
    with pytest.raises(UserError, match=r"'label', classes are read where .* and not: mild \(1\), severe \(1\)"):
        table(tmp_path, "image,label", "1.png,mild", "2.png,severe", "3.png,normal")


AGAINST = {  # cells of labels, the note beside them -> what is told
    ("glaucoma=no", "susp. glaucoma"): [],
    ("glaucoma=yes", "no glaucoma"): [],
    ("glaucoma=no", "POAG"): [],
    ("glaucoma=no,ICDR grade=1", "glaucoma suspect, OHT, PVD"): ["mild non-proliferative diabetic retinopathy", "OHT, PVD"],
    ("glaucoma=no,cataract=no", "r/o glaucoma, AMD; drusen"): ["no cataract", "drusen"],
    ("cataract=yes,glaucoma=no", "PCIOL, WNL"): ["no glaucoma", "posterior chamber intraocular lens"],
    ("ICDR grade=0,cataract=no", "mild NPDR, few MAs"): ["no cataract", "few MAs"],
    ("DR=yes,drusen=no", "no haemorrhages, DR or drusen"): ["no drusen"],  # no item of such a list can stand alone
    ("disease=glaucoma", "Normal"): [],
    ("disease=glaucoma; cataract", "no glaucoma"): ["cataract"],
    ("vertical CDR=0.3,glaucoma=no", "C/D 0.8, drusen"): ["no glaucoma", "drusen"],
    ("glaucoma=no,cataract=no", "glaucoma, seen 12.03.2021"): ["no cataract"],
}


@pytest.mark.parametrize(("cells", "note"), AGAINST)
def test_of_a_note_and_a_label_against_each_other_neither_is_told(tmp_path: Path, cells: str, note: str) -> None:
    case = eye(tmp_path, **dict(cell.split("=") for cell in cells.split(",")), notes=note)
    assert [fact.words for fact in case.facts] == AGAINST[cells, note]
    against = [why for why in case.missing if " contradicts " in why]
    data = BaseDescription(tmp_path, dataset=str(tmp_path / "my.csv"))
    assert len(against) == 1 and against == [each for each in data.not_used if " contradicts " in each]
    assert "glaucoma" not in " ".join(case.graded_only + case.looked_for) or "no glaucoma" in AGAINST[cells, note]
    assert note not in " ".join(data.not_used_places)


def test_rows_that_contradict_themselves_are_listed_together_and_leave_what_is_known_of_others_open(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"{n}.png" for n in range(5)))
    notes = ["glaucoma suspect, VH", "POAG, CSR", "Normal", "see OS, AMD", "glaucoma?"]
    rows = [f'{n}.png,OD,{int(n == 2)},0,"{note}",good' for n, note in enumerate(notes)]
    data = table(tmp_path, "image,eye,cataract,glaucoma,notes,quality", *rows)
    said = [re.findall(r"[0-9]+ images: rows [0-9, ]+", each) for each in data.not_used if " contradicts " in each]
    assert said == [["2 images: rows 2, 3"], [], []]
    assert "shorthand told as written, since it has several meanings: CSR (1 image), VH (1 image)" in data.not_used
    sheets = [sheet.make(data.describe(name), 0) for name in data.images]
    assert [line.text for told in sheets for line in told.lines if "of other diseases" in line.text] == [
        f"nothing is said of other diseases{beyond}" for beyond in (*[" beyond what is noted"] * 2, "", "", "")
    ]
    for told, (track, style), seed in itertools.product(sheets, TRACKS, range(6)):
        prompt.task(told, track, style, seed)
        turns = parse(offline.compose(told, track, style, seed))
        assert slot_check.examine(turns, told, track, style).checked.findings == []
        assert "nothing is known" not in " ".join(turn.answer for turn in turns).casefold()


def test_where_all_that_is_known_is_contradicted_nothing_is_said_of_disease(tmp_path: Path) -> None:
    case = eye(tmp_path, glaucoma="no", notes="glaucoma suspect", modality="colour fundus photograph", eye="OD")
    told = sheet.make(case, 0)
    assert [line.id for line in told.lines] == ["i1", "i2"]
    for track, style in TRACKS:
        prompt.task(told, track, style, 0)
        turns = parse(offline.compose(told, track, style, 0))
        assert slot_check.examine(turns, told, track, style).checked.findings == []
    assert "no diagnosis is known" in sheet.make(eye(tmp_path, glaucoma="no", notes="glaucoma suspect", age="50"), 0).text


def test_closed_questions_ask_nothing_of_what_is_contradicted(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"{n}.png" for n in range(4)))
    rows = [f"{n}.png,{int(n > 0)},{note}" for n, note in enumerate(("glaucoma suspect", "", "", ""))]
    data = table(tmp_path, "image,glaucoma,notes", *rows)
    with pytest.raises(UserError, match="answer no question"):  # of a healthy eye, which a question of yes and no needs
        label_questions.questions(str(data.page.file), tmp_path, tmp_path / "asked.jsonl", kinds="yes_no")


@pytest.mark.parametrize(
    "denied",
    ["diabetic maculopathy", "diabetic papillopathy", "diabetic cataract", "myopic degeneration", "glaucomatous disc"],
)
def test_a_denied_form_of_a_disease_leaves_the_disease_itself(tmp_path: Path, denied: str) -> None:
    diseases = {"diabetic": "moderate NPDR", "myopic": "high myopia", "glaucomatous": "glaucoma"}
    case = eye(tmp_path, disease=f"{diseases[denied.split()[0]]}; no {denied}")
    assert [fact.name for fact in case.facts] == ["disease"]
    assert errors(case, f"The eye shows {diseases[denied.split()[0]]}.") == []


def test_no_diabetic_maculopathy_beside_retinopathy_is_no_contradiction(tmp_path: Path) -> None:
    case = eye(tmp_path, **{"ICDR grade": "1", "diabetic maculopathy": "no"})
    assert [fact.words for fact in case.facts] == ["mild non-proliferative diabetic retinopathy", "no diabetic maculopathy"]
    with pytest.raises(UserError, match="contradict each other"):
        eye(tmp_path, **{"DME": "yes", "diabetic maculopathy": "no"})


TOLD_IN_FRENCH_TABLES = {"Microanévrismes": 0, "Exsudats": 0, "PPR": 0, "Télangiectasies": 0, "RAS": 0, "drusen near fovea": 1}


@pytest.mark.parametrize(("note", "told"), TOLD_IN_FRENCH_TABLES.items())
def test_a_table_named_in_another_language_tells_notes_of_english_words_alone(tmp_path: Path, note: str, told: int) -> None:
    pictures(tmp_path, "1.png")
    data = table(tmp_path, "Fichier,Œil,Commentaire", f"1.png,OD,{note}")
    assert len([fact for fact in data.describe("1.png").facts if fact.aspect == "notes"]) == told
    says = page.readings(tables.read(tmp_path / "my.csv", "find"))[-1].says
    assert says.startswith("texts (1)" if told else "texts (0 of 1)")  # the count before the run is of what is told


def test_abbreviations_for_suspicion_and_denial_are_written_out(tmp_path: Path) -> None:
    case = eye(tmp_path, disease="mild NPDR w/o DME; susp. glaucoma")
    assert case.facts[0].text == "mild NPDR without diabetic macular oedema; suspected glaucoma"
    assert errors(case, "There is macular oedema.") == ["unsupported_disease"]
    assert errors(case, "There is definite glaucoma.") != []
    assert ("amd", SUSPECTED) in of_label("AMD versus CSR").conditions


@pytest.mark.parametrize("words", NORMAL)
def test_words_for_a_normal_eye_make_it_normal(tmp_path: Path, words: str) -> None:
    case = eye(tmp_path, disease=words)
    assert errors(case, "This eye is normal. There is no glaucoma.") == []
    assert errors(case, "This eye has glaucoma.") == ["unsupported_disease"]
    assert errors(case, "The eye is not healthy.") == ["unsupported_disease"]


@pytest.mark.parametrize("words", [*OPEN, *WORDED])
def test_no_other_words_make_an_eye_normal(tmp_path: Path, words: str) -> None:
    assert set(errors(eye(tmp_path, disease=words), "This eye is normal.")) & {"unsupported_normal", "normal_beside_disease"}


@pytest.mark.parametrize(("words", "says"), WORDED.items())
def test_a_condition_is_affirmed_denied_or_left_open_as_people_write_it(words: str, says: tuple[str, str]) -> None:
    assert says in of_label(words).conditions


def test_what_is_denied_is_absent_and_what_is_affirmed_is_present(tmp_path: Path) -> None:
    case = eye(tmp_path, disease="moderate NPDR, no macular edema")
    assert errors(case, "The eye has moderate NPDR without macular oedema.") == []
    assert errors(case, "There is macular oedema.") == ["unsupported_disease"]
    assert errors(case, "There is no diabetic retinopathy.") == ["denied_disease"]
    assert errors(eye(tmp_path, disease="no referable DR"), "There is diabetic retinopathy.") == ["unsupported_disease"]


CELLS = [
    *({"disease": words} for words in (*NORMAL, *OPEN, *WORDED, "DR", "glaucoma suspect", "papilledema", "cataract; glaucoma")),
    {"quality": "good", "disease": "normal", "notes": "left eye"},
    {"quality": "1", "disease": "glaucoma", "vascular": "AV ratio 0.7", "notes": "62-year-old male"},
    {"disease": "glaucoma", "notes": "no family history of glaucoma"},
    {"modality": "OCT scan", "quality": "poor, some glare", "notes": "OS, no drusen, normal IOP"},
]


@pytest.mark.parametrize(("track", "style"), TRACKS)
@pytest.mark.parametrize("cells", CELLS, ids=lambda cells: " ".join(cells.values()))
def test_the_checks_pass_what_the_offline_teacher_says(tmp_path: Path, cells: dict, track: str, style: str | None) -> None:
    case = eye(tmp_path, **cells)
    for seed in range(5):
        facts = sheet.make(case, seed)
        turns = parse(offline.compose(facts, track, style, seed))
        found = conversation_check.errors(slot_check.examine(turns, facts, track, style).checked.findings)
        assert found == [], [turn.answer for turn in turns]


def test_what_notes_say_of_eye_and_person_may_be_told_in_other_words(tmp_path: Path) -> None:
    case = eye(tmp_path, disease="glaucoma", notes="left eye, 62-year-old male, no family history of glaucoma")
    assert errors(case, "It is the left eye of a man. There is no family history of glaucoma.") == []
    assert errors(case, "It is the right eye of a woman.") == ["side", "sex"]
    assert errors(eye(tmp_path, disease="glaucoma"), "There is no glaucoma.") == ["denied_disease"]


def test_the_offline_teacher_does_not_deny_what_a_note_says_of_the_person(tmp_path: Path) -> None:
    case = eye(tmp_path, disease="No_DR", notes="62-year-old male")
    facts = sheet.make(case, 0)
    said = [filling.fill(offline.compose(facts, "instruction", None, seed), facts).text for seed in range(8)]
    assert not any("nothing is known about the p" in text.casefold() or "who the person is" in text for text in said)
    assert all("62-year-old male" in text and "no dr" in text.casefold() for text in said)


def test_a_quote_is_no_way_to_say_the_opposite(tmp_path: Path) -> None:
    case = eye(tmp_path, disease="DR")
    assert errors(case, "On record: DR.") == []
    assert errors(case, "There is no DR.") == ["denied_disease"]


# --- the table itself ---


@pytest.mark.parametrize("cell", ["", "None", "n/a", "NA", "N.A.", "nan", "NULL", "-", "--", "?", ".", "#REF!", "<NA>"])
def test_a_mark_for_a_missing_value_tells_nothing(tmp_path: Path, cell: str) -> None:
    case = eye(tmp_path, modality=cell, quality=cell, disease=cell, vascular=cell, notes=cell)
    assert case.facts == ()


def test_none_denies_disease_and_is_nothing_elsewhere(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png")
    data = table(tmp_path, "image,disease,notes", "1.png,none,None")
    assert data.describe("1.png").description == "Disease: none."
    assert any("'none' under disease (1 of its cells) is read as no disease" in note for note in data.notes)


def test_a_line_break_in_a_cell_parts_statements(tmp_path: Path) -> None:
    case = eye(tmp_path, disease="no DR\nglaucoma")
    assert errors(case, "There is glaucoma, but no diabetic retinopathy.") == []
    assert errors(case, "There is no glaucoma.") == ["denied_disease"]


def test_a_workbook_reads_like_the_same_csv(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png")
    book = openpyxl.Workbook()
    for row in (["image", "disease", "Age"], ["1.png", "no DR", 61], ["2.png", "drusen", None]):
        book.active.append(row)
    book.save(tmp_path / "my.xlsx")
    data = BaseDescription(tmp_path, dataset=str(tmp_path / "my.xlsx"))
    assert [data.describe(name).description for name in data.images] == [
        "Patient record: the patient was 61 years old.\nDisease: no DR.",
        "Disease: drusen.",
    ]
    assert str(data.describe("1.png").facts[1].source) == "my.xlsx, row 2, column 'disease'"


def test_columns_that_are_not_read_are_named_with_the_nearest(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png")
    (note, *_) = table(tmp_path, "image,disease,Name,nots", "1.png,drusen,A. Miller,left eye").notes
    assert "not read: 'Name', names and dates are never read" in note
    assert "'nots' (did you mean 'notes'?), nothing says" in note
    assert "What is read: the picture (image), eye, age" in note
    with pytest.raises(UserError, match=r"no column tells anything of a picture; .*'diseasez' \(did you mean 'disease'\?\)"):
        table(tmp_path, "image,diseasez", "1.png,drusen")
    with pytest.raises(UserError, match=r"no column 'image', .*'imago', 'disease' \(did you mean 'imago'\?\)"):
        table(tmp_path, "imago,disease", "1.png,drusen")


def test_rows_without_a_picture_are_listed_with_their_row(tmp_path: Path) -> None:
    pictures(tmp_path, "001.jpg", "002.jpg")
    data = table(tmp_path, "image,disease", "001.jpg,drusen", "003.jpg,no DR", "2.0,no DR")
    assert data.rows_without_image[0] == "my.csv, row 3: 003.jpg"
    assert data.rows_without_image[1].startswith("my.csv, row 4: 2.0 (is it 002.jpg?")
    assert any("no image for 2 rows" in note and "row 3: 003.jpg; my.csv, row 4" in note for note in data.notes)
    with pytest.raises(UserError, match=r"no row names a picture .*row 2: 1 \(is it 001.jpg\?.*pictures are like 001.jpg"):
        table(tmp_path, "image,disease", "1,drusen")


def test_results_of_automorph_beside_a_table_are_told(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png")
    (tmp_path / "Results" / "M1").mkdir(parents=True)
    (tmp_path / "Results" / "M1" / "results_ensemble.csv").write_text("Name,Prediction,softmax_bad\n1.png,0,0.1\n2.png,0,0.1\n")
    data = table(tmp_path, "image,quality", "1.png,", "2.png,poor")
    assert data.describe("1.png").description == "Image quality: AutoMorph's quality check called the image good."
    assert data.describe("2.png").description == "Image quality: poor."
    assert table(tmp_path, "image,label", "1.png,x").images == ["1.png", "2.png"][:1]


UNKNOWN = {"shift_jis": "緑内障", "cp1251": "глаукома", "big5": "青光眼", "cp1250": "świń łąka", "mac_roman": "rétinopathie"}


@pytest.mark.parametrize(("encoding", "words"), UNKNOWN.items())
def test_letters_of_an_unknown_encoding_are_refused_with_their_row(tmp_path: Path, encoding: str, words: str) -> None:
    pictures(tmp_path, "1.png", "2.png")
    (tmp_path / "my.csv").write_bytes(f"image,disease\n1.png,DR\n2.png,{words}\n".encode(encoding))
    with pytest.raises(UserError, match=r"my.csv, row 3: letters in an encoding that is not known; save"):
        BaseDescription(tmp_path, dataset=str(tmp_path / "my.csv"))


@pytest.mark.parametrize("words", ["糖尿病视网膜病变", "右", "12岁"])
def test_chinese_letters_are_read_and_never_told_as_others(tmp_path: Path, words: str) -> None:
    pictures(tmp_path, "1.png", "2.png")
    (tmp_path / "my.csv").write_bytes(f"image,disease,notes\n1.png,DR,{words}\n2.png,no DR,\n".encode("gbk"))
    data = BaseDescription(tmp_path, dataset=str(tmp_path / "my.csv"))
    assert "my.csv: its letters were read as Chinese (gb18030); if that is wrong, save it as CSV UTF-8" in data.notes
    case = data.describe("1.png")
    assert case.description == "Disease: DR." and words.lstrip("12") in case.missing[0]


@pytest.mark.parametrize("words", ["sem alteraÃ§Ãµes", "ÌÇÄò²¡", "Ãœberweisung"])
def test_letters_that_were_read_in_a_wrong_encoding_are_not_told(tmp_path: Path, words: str) -> None:
    case = eye(tmp_path, disease="DR", notes=words)
    assert case.description == "Disease: DR." and "saved in one encoding and read in another" in case.missing[0]


def test_western_letters_in_an_old_code_page_are_read(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png")
    (tmp_path / "my.csv").write_bytes("image,notes\n1.png,the naïve patient was seen in São Tomé\n".encode("cp1252"))
    assert (
        "naïve patient was seen in São Tomé"
        in BaseDescription(tmp_path, dataset=str(tmp_path / "my.csv")).describe("1.png").description
    )


@pytest.mark.parametrize("name", ["1.gif", "1.ppm", "1.webp", "1.PGM"])
def test_every_format_of_pictures_counts(tmp_path: Path, name: str) -> None:
    pictures(tmp_path, name)
    assert table(tmp_path, "image,disease", f"{name},drusen").images == [name]


def test_a_folder_without_pictures_says_which_files_it_has(tmp_path: Path) -> None:
    pictures(tmp_path, "1.nef", "2.nef")
    with pytest.raises(UserError, match=r"there are no image files \(.png, .*\); files there: 2 .nef, 1 .csv"):
        table(tmp_path, "image,disease", "1.nef,drusen")


# --- what columns hold ---

CODED = ["1", "0", "2.0", "-1", "no", "Yes", "right", "L", "R2", "++", "x", "male", "ja"]
OTHER_WORDS = [
    "keine DR",
    "sem retinopatia",
    "Verdacht auf Glaukom",
    "retinopatia diabética proliferativa",
    "ohne Befund",
    "cicatriz",
]


@pytest.mark.parametrize("cell", [*CODED, *OTHER_WORDS])
def test_a_code_and_words_of_other_languages_are_never_told(tmp_path: Path, cell: str) -> None:
    case = eye(tmp_path, modality="colour fundus photograph", quality=cell, vascular=cell, notes=cell)
    assert case.description == "Image: colour fundus photograph."
    pictures(tmp_path, "1.png", "2.png")
    data = table(tmp_path, "image,disease", f"1.png,{cell}", "2.png,drusen")
    assert data.describe("1.png").facts == () and data.describe("2.png").description == "Disease: drusen."


SPOKEN = {  # header, and cells of two eyes
    "English": ("Image File;Patient ID;Laterality;Age (years);Gender;Diagnosis;Remarks", "OD;58 y;F", "left;61.0;male"),
    "German": ("Bilddatei;Patienten-Nr.;Auge;Alter (Jahre);Geschlecht;Diagnose;Bemerkung", "rechts;58 J;w", "LA;61,0;männlich"),
    "Portuguese": ("Arquivo;Paciente;Olho;Idade;Sexo;Diagnóstico;Observações", "OD;58 anos;F", "esquerdo;61,0;M"),
    "Chinese": ("图像;患者编号;眼别;年龄（岁）;性别;诊断;备注", "右眼;58岁;女", "左;61;男"),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gbk"])
@pytest.mark.parametrize("language", SPOKEN)
def test_columns_are_read_by_what_they_are_called_in_several_languages(tmp_path: Path, language: str, encoding: str) -> None:
    header, one, other = SPOKEN[language]
    if encoding == "gbk" and not language.startswith("C"):
        encoding = "cp1252"
    pictures(tmp_path, "a.png", "b.png")
    lines = [header, f"a.png;P1;{one};drusen;", f"b.png;P2;{other};no DR;blurred"]
    (tmp_path / "my.csv").write_bytes("\n".join(lines).encode(encoding))
    data = BaseDescription(tmp_path, dataset=str(tmp_path / "my.csv"))
    assert data.describe("a.png").description.splitlines() == [
        "Image: it shows the right eye.",
        "Patient record: the patient was 58 years old; the patient is female.",
        "Disease: drusen.",
    ]
    assert data.describe("b.png").description.splitlines() == [
        "Image: it shows the left eye.",
        "Patient record: the patient was 61 years old; the patient is male.",
        "Disease: no DR.",
        "Notes: blurred.",
    ]
    assert data.describe("a.png").patient == "P1" and not any("not read" in note for note in data.notes)


def test_what_is_not_plain_is_not_read(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png")
    header = "image,eye,sex,grade,label,glaucoma,AMD,age,final_icdr,quality"
    data = table(tmp_path, header, "1.png,1,H,2,RG,2,no,1,5,good", "2.png,2,M,0,NRG,1,yes,2,0,good")
    assert data.describe("1.png").description.splitlines() == [
        "Patient record: the patient was 1 years old.",
        "Image quality: good.",
        "Disease: the label of the image says no age-related macular degeneration.",
    ]
    for part in (
        "'eye', nothing says what its cells mean: 1 (1), 2 (1)",
        "'final_icdr', it names the scale ICDR, but 1 of its 2 cells is none of the grades 0 to 4 of it: 5 (1); at most",
        "'sex'",
    ):
        assert part in "".join(data.notes[:2])
    assert data.notes[0].startswith("my.csv: not read, although it may hold a diagnosis: 'glaucoma', ")
    assert all(f"'{name}'" in "".join(data.notes) for name in ("grade", "label")) and "'AMD'" not in "".join(data.notes)


def test_a_column_called_by_a_disease_says_nothing_of_others(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png", "3.png")
    data = table(tmp_path, "ID,glaucoma", "1,0", "2,1", "3,")
    assert data.describe("2.png").description == "Disease: the label of the image says glaucoma."
    case = data.describe("1.png")
    assert errors(case, "The eye has no glaucoma.") == [] and errors(case, "The eye is normal.") == ["unsupported_normal"]
    assert errors(case, "There is drusen.") == ["unsupported_disease"]
    assert data.describe("3.png").facts == ()


def test_a_column_called_by_a_disease_may_hold_a_suspicion_and_a_slip(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(12)]
    pictures(tmp_path, *names)
    cells = ["yes", "no", "suspect", "supsect", "ungradable", *["no"] * 7]
    data = table(tmp_path, "image,Glaucoma", *map(",".join, zip(names, cells, strict=True)))
    told = [[fact.words for fact in data.describe(name).facts] for name in names[:5]]
    assert told == [["glaucoma"], ["no glaucoma"], ["suspected glaucoma"], [], ["not gradable"]]
    assert data.not_used == [
        "Glaucoma is not told: my.csv, row 5, column 'Glaucoma' holds 'supsect', which has no confirmed meaning"
    ]
    cells = ["yes", "no", "maybe", "who knows", *["no"] * 8]
    (reading,) = understand({"Glaucoma": cells}, {})
    plainly = "it is called by glaucoma, but not all of its cells are plainly yes or no: "
    line = "in a page: - label: {column: Glaucoma, values: {maybe: …, no: …, who knows: …, yes: …}}"
    assert reading.says == f"{plainly}no (9), yes (1), maybe (1), who knows (1){LIMIT}, and no more than one number; {line}"
    (reading,) = understand({"operator": ["yes", "no", "Meier", *["no"] * 8]}, {})
    assert reading.says == "nothing says what its cells mean: no (9), yes (1); 1 more that may be names"


@pytest.mark.parametrize(
    ("column", "sure", "doubted"),
    [
        ("Glaucoma", "yes,no", "yes?,ja?,1?,yes (?),no?"),
        ("eye", "OD,OS", "OD?,left?"),
        ("sex", "F,M", "F?"),
        ("sex", "F,H", "H?"),
        ("olho", "D,E", "D?"),
        ("age", "58,61", "58?"),
        ("ICDR grade", "0,1", "ungradable?"),
        ("label", "glaucoma,normal", "Glaukom?"),
    ],
)
def test_a_doubtful_cell_says_nothing_for_certain(column: str, sure: str, doubted: str) -> None:
    (reading,) = understand({column: [*sure.split(",") * 40, *doubted.split(",")]}, {"ICDR": range(5)})
    assert reading.is_read and (column != "age" or "not read: 58? (1)" in reading.says)
    said = {reading.book.get(cell) for cell in doubted.split(",")}
    assert said <= {None, "unclear", "suspected glaucoma"}


def test_a_doubtful_class_is_denied_without_its_mark_and_minus_one_is_no_yes() -> None:
    (reading,) = understand({"label": ["glaucoma (?)", "cataract?", "cataract", "normal"]}, {})
    assert reading.book["normal"] == "no cataract or glaucoma"
    (reading,) = understand({"Glaucoma": ["1", "0", *["-1"] * 3] * 3}, {})
    assert (
        "not all of its cells are plainly yes or no: -1 (9), 1 (3), 0 (3); at most a tenth of the cells may be wrong "
        in reading.says
    )


def test_ungradable_images_leave_the_grades_of_others_read() -> None:
    (reading,) = understand({"ICDR grade": [*"01234" * 3, *["ungradable"] * 5]}, {"ICDR": range(5)})
    assert reading.role == "grade" and reading.says.endswith("; ungradable: ungradable (5)")
    (reading,) = understand({"ICDR grade": [*"01234" * 3, "ungradable", *["bad"] * 5]}, {"ICDR": range(5)})
    assert reading.says.startswith(
        "it names the scale ICDR, but 5 of its 21 cells are none of the grades 0 to 4 of it: bad (5)"
        f"{LIMIT}, and no more than one number; write these numbers, or a"
    )


def test_a_cell_that_may_be_a_name_is_counted_and_not_shown(tmp_path: Path) -> None:
    levels = {"ICDR": range(5)}
    (few,) = understand({"ICDR": [*"0123401234", "John Miller"]}, levels)
    assert few.says.endswith("; not read: 1 that may be a name") and few.book == {"John Miller": "unclear"}
    assert without_names(few).book == {} and "or their images are left out" in without_names(few).says
    (many,) = understand({"ICDR": [*"0123", "John Miller", "not done"]}, levels)
    (classes,) = understand({"label": ["glaucoma", "John Miller"]}, levels)
    assert "grades 0 to 4 of it: not done (1); 1 more that may be names;" in many.says and classes.says.endswith(
        f"and not: 1 that may be a name{LIMIT}"
    )
    (flagged,) = understand({"Glaucoma": ["yes", "no", "John Miller"]}, levels)
    assert not any("Miller" in reading.says for reading in (many, classes, flagged))
    names = [f"{n}.png" for n in range(11)]
    pictures(tmp_path, *names)
    data = table(tmp_path, "image,ICDR", *map(",".join, zip(names, [*"0123401234", "John Miller"], strict=True)))
    assert data.describe("10.png").facts == () and "row 12, column 'ICDR' holds 'John Miller'" in data.not_used[0]
    assert "row 12, column 'ICDR' holds …, which" in data.not_used_places[0] and "Miller" not in str(data.not_used_places)


def test_texts_that_are_withheld_are_counted_before_the_run(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"{n}.png" for n in range(5)))
    notes = ["drusen", "seen by Dr. Weber", "like K-1004", "2", ""]
    rows = [f"{n}.png,K-100{n},{note}".replace("K-1002", "K-1004") for n, note in enumerate(notes)]
    data = table(tmp_path, "image,patient,notes", *rows)
    (says,) = (r.says for r in page.readings(tables.read(data.page.file, "find")) if r.column == "notes")
    assert says == (
        "texts (1 of 4), told as they stand; not told: it holds a person's name (1), it holds a name or code of a person (1), "
        "only a code (1)"
    )
    assert [len(data.describe(name).facts) for name in data.images] == [1, 0, 0, 0, 0], "the run does what the table says"


@pytest.mark.parametrize("note", ["wet AMD", "PCV"])
def test_that_no_diagnosis_is_known_is_said_beyond_a_note_that_is_told(tmp_path: Path, note: str) -> None:
    told = sheet.make(eye(tmp_path, cataract="", eye="OD", notes=note), 0)
    assert [line.text for line in told.lines if line.id == "d1"] == ["no diagnosis is known beyond what is noted"]
    assert [[line.id for line in turn] for turn in prompt.turns(told, random.Random(3)) if turn[0].id == "d1"] == [["d1", "n1"]]
    for (track, style), seed in itertools.product(TRACKS, range(8)):
        assert "beyond what is noted" in prompt.task(told, track, style, seed)
        turns = parse(offline.compose(told, track, style, seed))
        about = [turn.answer for turn in turns if "d1]" in turn.answer]
        assert len(about) == 1 and "beyond what is noted" in about[0].casefold() and "{n1}" in about[0]
        assert not about[0].startswith("No,") and "I cannot" not in about[0]
        assert slot_check.examine(turns, told, track, style).checked.findings == []


def test_numbers_of_the_eye_are_not_asked_for_as_those_of_the_person(tmp_path: Path) -> None:
    cells = {"age": "66", "sex": "M", "eye": "OD", "ICDR grade": "2", "vertical CDR": "0.7", "IOP (mmHg)": "15"}
    told = sheet.make(eye(tmp_path, **cells, notes="drusen", quality="good", modality="colour fundus photograph"), 0)
    asked = set()
    for seed in range(40):
        turns = parse(offline.compose(told, "instruction", None, seed))
        asked |= {turn.question for turn in turns if "ratio" in turn.answer}
        assert slot_check.examine(turns, told, "instruction").checked.findings == []
    assert len(asked) > 8 and not [question for question in asked if "eye" not in question]


def test_the_retina_is_asked_about_only_where_a_finding_is_one_of_it(tmp_path: Path) -> None:
    asked = {}
    for grade in ("", "2"):
        told = sheet.make(eye(tmp_path, cataract="yes", **{"ICDR grade": grade}, eye="OD"), 0)
        turns = [turn for seed in range(60) for turn in parse(offline.compose(told, "instruction", None, seed))]
        asked[grade] = " ".join(turn.question for turn in turns if "ataract" in turn.answer)
    assert re.search("retina|back of the eye", asked["2"])
    assert not re.search("retina|back of the eye|normal|unusual|any disease", asked[""])


def test_only_what_a_row_judges_is_said_to_be_judged(tmp_path: Path) -> None:
    one = eye(tmp_path, cataract="yes", glaucoma="", **{"ICDR grade": ""})
    assert one.graded_only == one.looked_for == ("cataract",)
    assert "only cataract was judged; nothing is known of other diseases" in sheet.make(one, 0).text
    both = eye(tmp_path, cataract="yes", glaucoma="no", **{"ICDR grade": "2"})
    assert both.graded_only == ("diabetic retinopathy", "cataract", "glaucoma")
    assert eye(tmp_path, cataract="", glaucoma="", modality="colour fundus photograph").graded_only == ()


def test_what_one_column_says_of_a_disease_answers_no_question_about_all(tmp_path: Path) -> None:
    case = eye(tmp_path, glaucoma="0", disease="", modality="colour fundus photograph")
    assert case.graded_only == ("glaucoma",)
    for seed in range(12):
        facts = sheet.make(case, seed)
        turns = parse(offline.compose(facts, "instruction", None, seed))
        about = [turn for turn in turns if "glaucoma" in turn.answer]
        assert not any(turn.answer.startswith(("No,", "No.", "Yes")) for turn in about)


CONTRADICTIONS = {
    "glaucoma": ("0", "suspected glaucoma"),
    "AMD": ("yes", "normal"),
    "DR": ("no", "mild NPDR"),
    "amd": ("1", "no AMD"),
}


@pytest.mark.parametrize("column", CONTRADICTIONS)
def test_an_image_whose_cells_contradict_each_other_is_left_out(tmp_path: Path, column: str) -> None:
    flag, text = CONTRADICTIONS[column]
    pictures(tmp_path, "1.png", "2.png")
    data = table(tmp_path, f"image,disease,{column}", f"1.png,{text},{flag}", f"2.png,cataract,{flag}")
    assert data.skipped["1.png"].startswith("its cells contradict each other: ") and "2.png" in data.images


@pytest.mark.parametrize("column", ["Glaukom", "glaucome", "青光眼", "GLAUCOMA", "Glaucoma "])
def test_a_disease_may_be_named_in_other_languages(tmp_path: Path, column: str) -> None:
    pictures(tmp_path, "1.png")
    assert table(tmp_path, f"image,{column}", "1.png,1").describe("1.png").facts[0].words == "glaucoma"


@pytest.mark.parametrize(("cell", "told"), {"白内障": "cataract", "Katarakt, Glaukom": "cataract; glaucoma"}.items())
def test_a_cell_that_is_a_disease_s_name_in_another_language_is_told_in_english(tmp_path: Path, cell: str, told: str) -> None:
    case = eye(tmp_path, disease=cell)
    assert case.description == f"Disease: {told}."
    assert errors(case, "There is no cataract.") == ["denied_disease"]
    assert eye(tmp_path, disease=f"kein {cell}", notes="blurred").description == "Notes: blurred."


def test_a_table_without_a_header_row_is_told_what_it_lacks(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png")
    with pytest.raises(UserError, match="its first row names a picture: write the names of the columns above it"):
        table(tmp_path, "1.png,drusen")


def test_a_split_column_is_the_official_split(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png", "3.png")
    data = table(tmp_path, "image,disease,set", "1.png,drusen,Training", "2.png,DR,test", "3.png,no DR,train")
    assert [(data.image(name).split, data.page.role(data.image(name).split)) for name in data.images] == [
        ("train", "train"),
        ("train", "train"),
        ("test", "test"),
    ]


def test_a_note_on_the_other_eye_is_not_told_of_this_one(tmp_path: Path) -> None:
    assert "Notes" not in eye(tmp_path, eye="OD", disease="DR", notes="left eye blurred").description
    assert "Notes: right eye blurred" in eye(tmp_path, eye="OD", disease="DR", notes="right eye blurred").description


def test_an_image_that_was_called_ungradable_tells_no_disease(tmp_path: Path) -> None:
    case = eye(tmp_path, quality="Ungradable", disease="PDR")
    assert case.description == "Image quality: the image was called not gradable." and "withheld" in case.missing[0]


def test_a_messy_workbook_is_read_from_its_header_on(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    pictures(tmp_path, "1.png", "2.png", "3.png", "masks/1.tif")
    book = openpyxl.Workbook()
    book.active.title = "Legend"
    book.active.append(["OD", "right"])
    sheet_ = book.create_sheet("Data")
    rows = [
        ["Our clinic, study 12"],
        [],
        ["Person", None, "Eye", None, "Finding"],
        ["Patient", "Age", "Image", "Side", "Diagnosis"],
    ]
    rows += [["P1", 58, "1.png", "OD", "drusen"], [None, 58, "2", "OS", "no DR"], ["P2", 61, "3.PNG", "OU", "#N/A"]]
    for row in rows:
        sheet_.append(row)
    sheet_.merge_cells("A1:E1")
    sheet_.merge_cells("A5:A6")
    book.save(tmp_path / "my.xlsx")
    data = BaseDescription(tmp_path, dataset=str(tmp_path / "my.xlsx"))
    assert [data.describe(name).patient for name in data.images] == ["P1", "P1", "P2"]
    assert [data.describe(name).eye for name in data.images] == ["right", "left", None]
    assert str(data.describe("2.png").about("disease")[0].source) == "my.xlsx, row 6, column 'Diagnosis'"
    (sheets,) = [
        note for note in data.not_used if note.startswith("my.xlsx: read from the sheet 'Data'; not read: 'Legend'; to use")
    ]
    assert sheets in data.not_used_places and sheets in data.notes
    assert any("cells with a mark for a missing value are read as empty: #N/A (1)" in note for note in data.notes)


def test_the_notebook_s_table_says_what_each_column_holds(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png")
    table(tmp_path, "image,Eye,glaucoma,score", "1.png,OS,1,7")
    job = Explore.load(dataset=str(tmp_path / "my.csv"), out_dir=str(tmp_path / "out"))
    assert job.columns.to_numpy().tolist() == [
        ["image", "the picture of the row", "names of pictures (1)"],
        ["Eye", "eye", "left: OS (1)"],
        ["glaucoma", "glaucoma: there or not", "present: 1 (1)"],
        ["score", "not read", "nothing says what its cells mean: 7 (1)"],
    ]


# --- pages over the tables of others ---

PAGE = """
name: grades
title: Grades
header: [image, level]
splits: {train: {images: ['*'], tables: [train.txt, train.csv]}}
key: image
facts:
  - grade: {column: level, scale: ICDR, ungradable: [5]}
"""


@pytest.mark.parametrize(("file", "separator"), [("train.txt", " "), ("train.csv", ",")])
def test_a_table_without_a_header_row_is_named_by_the_page(tmp_path: Path, file: str, separator: str) -> None:
    pictures(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "page.yaml").write_text(PAGE)
    (tmp_path / file).write_text("".join(f"{name}.jpg{separator}{grade}\n" for name, grade in zip("abc", "025", strict=True)))
    data = BaseDescription(tmp_path, dataset=str(tmp_path / "page.yaml"))
    assert [fact.value for name in "ab" for fact in data.describe(f"{name}.jpg").facts] == [0, 2]
    (fact,) = data.describe("c.jpg").facts
    assert (fact.name, fact.text) == ("ungradable", "the graders marked the image as not gradable")
    assert str(fact.source) == f"{file}, row 3, column 'level'"
    (tmp_path / file).write_text("a.jpg\n")
    with pytest.raises(UserError, match=rf"{file}, row 1: the number of cells is 1; the page's header names 2: image, level"):
        BaseDescription(tmp_path, dataset=str(tmp_path / "page.yaml"))


def test_a_keyword_page_may_be_written_in_capitals_and_its_normal_may_deny_one_disease(tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg", "b.jpg")
    keywords = {"column": "class", "normal": "NRG", "spelling": {"RG": "referable glaucoma", "NRG": "no referable glaucoma"}}
    page = {"name": "airogs", "title": "AIROGS", "key": "id", "facts": [{"keywords": keywords}]}
    page |= {"splits": {"train": {"images": ["*"], "tables": ["train.csv"]}}}
    (tmp_path / "page.yaml").write_text(json.dumps(page))
    (tmp_path / "train.csv").write_text("id,class\na,NRG\nb,RG\n")
    data = BaseDescription(tmp_path, dataset=str(tmp_path / "page.yaml"))
    assert data.describe("a.jpg").description == "Disease: this eye is labelled no referable glaucoma."
    assert data.describe("b.jpg").description == "Disease: this eye is labelled with referable glaucoma."
    assert errors(data.describe("a.jpg"), "This eye is normal.") == ["unsupported_normal"]
    assert errors(data.describe("a.jpg"), "I see no referable glaucoma.") == []
    assert errors(data.describe("b.jpg"), "There is no glaucoma.") == ["denied_disease"]


def test_questions_come_from_what_free_text_says(tmp_path: Path) -> None:
    cells = {"1": "mild NPDR", "2": "no DR", "3": "normal", "4": "?glaucoma", "5": "other", "6": "amd; cataract", "7": "DR"}
    pictures(tmp_path, *(f"{name}.png" for name in cells))
    table(tmp_path, "image,quality,disease", *(f"{name}.png,Good,{cell}" for name, cell in cells.items()))
    job = Evaluation.load(dataset=str(tmp_path / "my.csv"), out_dir=str(tmp_path / "run"))
    asked = {Path(entry["image"]).stem: entry["reference"] for entry in job.asked if entry["kind"] == "diseases"}
    assert asked == {"1": ["NPDR", "DR"], "2": [], "3": [], "6": ["AMD", "cataract"], "7": ["DR"]}
    assert {entry["reference"] for entry in job.asked if entry["kind"] == "quality"} == {0}
    assert not job.made_up and "questions are in" in job.next_step
    told = {"1": "Mild NPDR.", "2": "No diabetic retinopathy.", "3": "Healthy.", "6": "Cataract and AMD.", "7": "No DR."}
    rows = [
        {"id": entry["id"], "image": entry["image"], "qa_pairs": [{"question": "", "answer": told[Path(entry["image"]).stem]}]}
        for entry in job.asked
        if entry["kind"] == "diseases"
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"dataset": str(tmp_path / "my.csv"), "kinds": "diseases", "out_dir": str(tmp_path / "scored")}
    job = Evaluation.load(answers_files=f"m={tmp_path / 'a.jsonl'}", **given)
    wrong = [Path(a.image).stem for a in job.tables.answers if set(a.value) != set(a.reference)]
    assert len(job.tables.answers) == 5 and wrong == ["7"]


# --- suspicions ---

SUSPICIONS = ["suspected glaucoma", "glaucoma suspect", "suspicious cupping", "drusen; suspected glaucoma", "probable DR"]


@pytest.fixture
def odir(tmp_path: Path) -> BaseDescription:
    """Two eyes of ODIR with suspicions, beside labels of the patient that name the same diseases."""
    pictures(tmp_path, "7_left.jpg", "7_right.jpg")
    (tmp_path / "full_df.csv").write_text(
        "ID,Patient Age,Patient Sex,Left-Fundus,Right-Fundus,Left-Diagnostic Keywords,Right-Diagnostic Keywords,N,D,G\n"
        "7,55,Male,7_left.jpg,7_right.jpg,suspected glaucoma,suspected abnormal color of  optic disc,0,1,1\n"
    )
    page = yaml.safe_load((PACKAGE / "dataset/pages/ODIR.yaml").read_text(encoding="utf-8"))
    page["splits"] = {"train": {"images": ["*"], "tables": ["full_df.csv"]}}
    (tmp_path / "page.yaml").write_text(json.dumps(page))
    return BaseDescription(tmp_path, dataset=str(tmp_path / "page.yaml"))


@pytest.mark.parametrize(("track", "style"), TRACKS)
def test_the_offline_teacher_tells_a_suspicion_as_one_and_the_checks_pass_it(
    odir: BaseDescription, track: str, style: str | None
) -> None:
    for name, seed in [(name, seed) for name in odir.images for seed in range(20)]:
        facts = sheet.make(odir.describe(name), seed)
        checked = slot_check.examine(parse(offline.compose(facts, track, style, seed)), facts, track, style)
        answers = [part["value"] for part in checked.conversation if part["from"] == "gpt"]
        assert conversation_check.errors(checked.checked.findings) == [], answers
        assert not [text for text in answers if "suspected" in text and text.startswith(("Yes", "No"))]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("There is glaucoma [d1].", True),
        ("Suspected glaucoma was noted, so the eye has glaucoma [d1].", True),
        ("Glaucoma is suspected [d1].", False),
        ("It may be glaucoma, which is only a suspicion [d1].", False),
    ],
)
def test_a_suspicion_is_never_told_as_certain(odir: BaseDescription, answer: str, found: bool) -> None:
    facts = sheet.make(odir.describe("7_left.jpg"), 0)
    kinds = {f.kind for f in slot_check.examine([Turn("What do you see?", answer)], facts).checked.findings}
    assert ("unsupported_disease" in kinds) == found
    facts = sheet.make(odir.describe("7_right.jpg"), 0)  # of words that the vocabulary does not know
    answer = answer.replace("glaucoma", "an abnormal colour of the optic disc").replace("Glaucoma", "An abnormal colour")
    kinds = {f.kind for f in slot_check.examine([Turn("What do you see?", answer)], facts).checked.findings}
    assert ("unsupported_disease" in kinds) == (found and " so " not in answer)


ASKED = {"How advanced is the glaucoma?": 1, "How sure is the suspected glaucoma?": 0}


@pytest.mark.parametrize(("question", "found"), ASKED.items())
def test_a_question_does_not_take_a_suspicion_as_known(odir: BaseDescription, question: str, found: int) -> None:
    facts = sheet.make(odir.describe("7_left.jpg"), 0)
    turns = [Turn("What do you see?", "It has suspected glaucoma [d1]."), Turn(question, "That I cannot say.")]
    assert [f.kind for f in slot_check.examine(turns, facts).checked.findings].count("leak_label") == found


@pytest.mark.parametrize("words", SUSPICIONS)
def test_nobody_is_examined_on_a_suspicion(tmp_path: Path, words: str) -> None:
    pictures(tmp_path, "1.png", "2.png")
    table(tmp_path, "image,disease", f"1.png,{words}", "2.png,drusen")
    job = Evaluation.load(dataset=str(tmp_path / "my.csv"), out_dir=str(tmp_path / "run"), kinds="diseases")
    assert [(Path(entry["image"]).stem, entry["labels"]) for entry in job.asked] == [("2", ["drusen"])]


@pytest.mark.parametrize(
    ("picture", "patient", "right", "left"),
    [
        ("Ficheiro", "Nº Doente", "OD", "OE"),
        ("Nome do ficheiro", "Utente", "dir", "esq"),
        ("Fotografia", "Nº Processo", "OD", "OE"),
        ("Nombre del archivo", "Nº de historia clínica", "OD", "OI"),
        ("Nom du fichier", "N° de dossier", "OD", "OG"),
        ("Nome immagine", "Codice paziente", "OD", "OS"),
        ("Bild-Name", "Patienten-Nr.", "RA", "LA"),
        ("Image name", "Subject No.", "RE", "LE"),
    ],
)
def test_picture_patient_and_eye_are_known_in_several_languages(
    tmp_path: Path, picture: str, patient: str, right: str, left: str
) -> None:
    names = [f"P{n}_2023-05-14_{eye}.png" for n in (1, 2) for eye in (right, left)]
    pictures(tmp_path, *names)
    rows = [f"{name},{name[:2]},OD,drusen" for name in names]
    data = table(tmp_path, f"{picture},{patient},camera,disease", *rows)
    cases = [data.describe(name) for name in names]
    assert [(case.patient, case.eye) for case in cases] == [(p, e) for p in ("P1", "P2") for e in ("right", "left")]


@pytest.mark.parametrize("eyes", [("OD", "OE"), ("OD", "OI"), ("OD", "OG"), ("OD", "OS"), ("dx", "sx"), ("droit", "gauche")])
def test_the_names_of_pictures_say_the_eye_in_several_languages(tmp_path: Path, eyes: tuple[str, str]) -> None:
    for names in (
        [f"P{n}_{eye}_2023-05-14.png" for n in (1, 2) for eye in eyes],
        [f"P{n}{eye}.png" for n in (1, 2) for eye in eyes],
    ):
        pictures(tmp_path, *names)
        data = table(tmp_path, "image,disease", *(f"{name},drusen" for name in names))
        assert [data.describe(name).eye for name in names] == ["right", "left"] * 2
        assert [data.describe(name).patient for name in names] == ["1", "1", "2", "2"]


@pytest.mark.parametrize("names", [("scan_1_macula", "scan_2_capture"), ("p1_a", "p2_b"), ("le fundus 1", "la fundus 2")])
def test_other_words_in_names_are_no_eyes(tmp_path: Path, names: tuple[str, str]) -> None:
    pictures(tmp_path, *(f"{name}.png" for name in names))
    data = table(tmp_path, "image,disease", *(f"{name}.png,drusen" for name in names))
    assert [data.describe(name).eye for name in data.images] == [None, None]


@pytest.mark.parametrize("words", [("boa", "razoável", "má"), ("buena", "regular foco", "Mala"), ("bonne", "moyenne", "ma")])
def test_short_words_of_another_language_are_not_told_either(tmp_path: Path, words: tuple[str, ...]) -> None:
    names = [f"{n}.png" for n in range(3)]
    pictures(tmp_path, *names)
    data = table(tmp_path, "Ficheiro,Qualidade da imagem", *map(",".join, zip(names, words, strict=True)))
    assert [data.describe(name).facts for name in names] == [()] * 3
    assert all(f"{word!r} is not understood as English" in " ".join(data.not_used) for word in (words[0], words[2]))


@pytest.mark.parametrize("column", ["RD (ICDR)", "ICDR Grau", "Retinopathie (ICDR-Stadium)", "grado ICDR"])
def test_a_lost_column_that_names_a_scale_is_told_first_with_its_reason(tmp_path: Path, column: str) -> None:
    cells = ["0", "1", "2", "3", "moderada", "sem RD", "grave", "Miller"]
    pictures(tmp_path, *(f"{n}.png" for n in range(8)))
    rows = [f"{n}.png,{cell},{'yes' if n > 1 else 'perhaps'},58,x" for n, cell in enumerate(cells)]
    data = table(tmp_path, f"image,{column},EMD,age,Other", *rows)
    lost, rest = data.not_used[:2]
    assert lost.startswith(
        f"my.csv: not read, although it may hold a diagnosis: '{column}', it names the scale ICDR, but 4 of its"
    )
    assert "moderada (1), sem RD (1), grave (1); 1 more that may be names; at most a tenth of the cells may be wrong " in lost
    assert (
        "; write these numbers, or a page with" in lost
        and "values: {…}" in lost
        and "'EMD', it is called by diabetic macular oedema" in lost
    )
    assert rest.startswith("my.csv: not read: 'Other', ")


def test_a_folder_of_which_no_row_names_a_picture_is_not_read(tmp_path: Path) -> None:
    for folder in ("photos", "marks"):
        (tmp_path / folder).mkdir()
    pictures(tmp_path, "photos/a.png", "photos/b.png", "photos/c.png", "marks/a_EX.png", "marks/b_EX.png")
    data = table(tmp_path, "image,disease", "a.png,drusen", "b.png,no DR")
    assert data.images == ["a.png", "b.png"] and data.skipped == {"c.png": "no row for it in my.csv"}
    assert "marks: 2 images, none of which a row names: not read" in data.notes


def test_ages_and_sexes_of_one_person_that_disagree_are_not_told_and_said(tmp_path: Path) -> None:
    names = [f"P{n}_{eye}.png" for n in (1, 2, 3) for eye in ("OD", "OE")]
    pictures(tmp_path, *names)
    people = ["76,F", "58,F", "60,M", "60,F", "50,F", "59,F"]
    rows = [f"{name},{name[:2]},{who},drusen" for name, who in zip(names, people, strict=True)]
    rows[3] = rows[3].replace("drusen", "drusen; normal")  # that image is skipped, and its row counts all the same
    data = table(tmp_path, "image,patient,age,sex,disease", *rows)
    where = "my.csv, row 3, column 'age' says '58', and my.csv, row 2, column 'age' '76'"
    assert f"the age of one person differs: {where}: neither age nor sex is told" in data.not_used
    where = "my.csv, row 5, column 'sex' says 'female', and my.csv, row 4, column 'sex' 'male'"
    assert f"the sex of one person differs: {where}: neither age nor sex is told" in data.not_used
    told = {name: [f.name for f in data.describe(name).facts if f.aspect == "patient"] for name in data.images}
    assert {name for name, facts in told.items() if facts} == {"P3_OD.png", "P3_OE.png"}
    assert "rows of this person disagree" in " ".join(data.describe("P1_OD.png").missing)


@pytest.mark.parametrize(("years", "told"), [(("2020", "2020"), 0), (("2020", "2024"), 2), (("2020", "2022"), 0)])
def test_ages_of_one_person_are_held_against_the_years_of_the_visits(tmp_path: Path, years: tuple, told: int) -> None:
    names = [f"P1_{eye}_{year}-03-01.png" for eye, year in zip(("OD", "OS"), years, strict=True)]
    pictures(tmp_path, *names)
    (tmp_path / "t.csv").write_text(f"f,a\n{names[0]},58\n{names[1]},62\n")
    of = {"name": "p", "title": "p", "splits": {"all": {"images": ["*"], "tables": ["t.csv"]}}, "key": "f"}
    of |= {"image": "^(?P<patient>P1)_..?_(?P<year>....)-03-01$", "facts": [{"person": {"age": "a"}}]}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(of))
    data = BaseDescription(tmp_path, dataset=str(tmp_path / "p.yaml"))
    assert len([f for name in data.images for f in data.describe(name).facts if f.name == "age"]) == told


def test_a_column_that_is_not_read_comes_with_the_line_that_a_page_needs() -> None:
    columns = {"Maculopathie": ["oui", "non", "non"], "PIO": [f"1{n},5" for n in range(9)] + [f"2{n}" for n in range(9)]}
    columns["Qualité"] = ["bonne", "moyenne", "bonne"]
    flags, number, quality = (reading.says for reading in understand(columns, {}))
    assert flags.startswith(
        "its cells say yes or no, but its name is no disease that is known: non (2), oui (1); if it is one, "
    )
    assert flags.endswith("- flags: {labels: {Maculopathie: …}, present: oui, absent: non}")
    assert number == (
        "18 different numbers; nothing says what they are; "
        "in a page: - number: {column: PIO, name: …, unit: …, range: [lowest, highest]}"
    )
    assert quality.endswith("; in a page: - quality: {column: Qualité, levels: {bonne: …, moyenne: …}}")


def test_a_table_without_a_column_of_pictures_names_the_command_with_its_folder(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png")
    with pytest.raises(UserError, match=rf"retinal page …/\S*{tmp_path.name} writes its beginning"):
        table(tmp_path, "Person,Finding", "1,drusen")


def test_a_fraction_among_whole_ages_is_a_slip(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png", "3.png")
    for ages, told in ((("58", "4.7", "61.0"), [58, 61]), (("58.4", "47.5", "61"), [58, 47, 61])):
        data = table(tmp_path, "image,age,disease", *(f"{n}.png,{age},drusen" for n, age in enumerate(ages, 1)))
        assert [f.value for name in data.images for f in data.describe(name).facts if f.name == "age"] == told
        assert ("'4.7', which is no usable age" in " ".join(data.not_used)) == ("4.7" in ages)


def test_a_number_measured_in_a_picture_that_is_not_gradable_is_not_told(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png")
    (tmp_path / "t.csv").write_text("f,q,crae,cdr,iop,depth\n1,bad,150.6,0.67,15,3.1\n2,good,150.6,0.67,15,3.1\n")
    numbers = {"crae": "central retinal arteriolar equivalent", "cdr": "vertical cup-to-disc ratio"}
    numbers |= {"iop": "intra-ocular pressure", "depth": "depth of the fovea"}
    facts = [{"number": {"column": c, "name": n, "range": [0, 300]}} for c, n in numbers.items()]
    facts[3]["number"]["scope"] = "image"
    facts.append({"quality": {"column": "q", "levels": {"bad": "bad", "good": "good"}, "ungradable": ["bad"]}})
    of = {"name": "p", "title": "p", "splits": {"all": {"images": ["*"], "tables": ["t.csv"]}}, "key": "f", "facts": facts}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(of))
    data = BaseDescription(tmp_path, dataset=str(tmp_path / "p.yaml"))
    assert [f.name for f in data.describe("1.png").facts] == ["intra-ocular pressure", "ungradable"]
    assert "3 measurements not told" in " ".join(data.describe("1.png").missing)
    assert not any("withheld" in why for why in data.describe("1.png").missing)  # of no fact nothing is said
    assert len(data.describe("2.png").facts) == 5


def test_a_table_without_a_known_column_of_pictures_lists_its_columns_and_not_its_title(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png")
    with pytest.raises(UserError, match=r"the columns are 'Lichtbild', 'Doente', 'EMD'"):
        table(tmp_path, "Serviço 2023,,", ",,", "Lichtbild,Doente,EMD", "1.png,7,sim")


def test_whole_numbers_with_a_comma_are_grades_and_yes_or_no(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png")
    data = table(tmp_path, "image;ICDR;AMD;age", "1.png;2,0;0,0;58,0", "2.png;0,0;1,0;61,0")
    first, second = (data.describe(name).description for name in data.images)
    assert "58 years old" in first and "is 2 on the" in first and "says no age-related macular degeneration" in first
    assert "61 years old" in second and "is 0 on the" in second and "says age-related macular degeneration" in second


MEASURED = {  # a column and its cells -> what a page says of it, "" where it is not read, and a part of what is said
    "CDR": ("0.3,0.75", {"name": "cup-to-disc ratio", "range": [0, 1]}, "cup-to-disc ratio, 0.3 to 0.75 (2)"),
    "vertical CDR": ("0,4;0,6", {"name": "vertical cup-to-disc ratio", "range": [0, 1]}, "0.4 to 0.6 (2)"),
    "cup-to-disc ratio": ("0.3", {"name": "cup-to-disc ratio", "range": [0, 1]}, "0.3 to 0.3 (1)"),
    "IOP (mmHg)": (
        "14,21",
        {"name": "intraocular pressure", "unit": "mmHg", "range": [1, 80], "scope": "eye"},
        "14 to 21 mmHg (2)",
    ),
    "BCVA_logMAR": (
        "0.3,-0.1",
        {"name": "best-corrected visual acuity", "unit": "logMAR", "range": [-0.5, 3], "scope": "eye"},
        "-0.1 to 0.3 logMAR (2)",
    ),
    "IOP": ("14", {}, "nothing states its unit; where it is mmHg, call the column 'IOP (mmHg)'; or in a page: - number: {col"),
    "VA": ("20/40", {}, "most of its cells are not plain numbers: 20/40 (1); write plain numbers, or write them as notes"),
    "vCDR": (
        "30,60",
        {},
        "not all of its numbers are from 0 to 1: 30 (1), 60 (1)" + LIMIT + "; in a page: - number: {column: vCDR, name: ",
    ),
    "cdr": ("0,0.5,2", {}, "may be the Clinical Dementia Rating too, of whose numbers all are: 0 (1), 0.5 (1), 2 (1); call it"),
}


@pytest.mark.parametrize("column", MEASURED)
def test_a_column_called_by_a_measurement_is_read_where_its_unit_is_stated(column: str) -> None:
    cells, number, says = MEASURED[column]
    (reading,) = understand({column: [*re.split(";" if ";" in cells else ",", cells), ""]}, {})
    assert reading.role == ("number" if number else "") and says in reading.says
    assert not number or reading.number == number


def test_measurements_of_a_table_are_told_with_their_units_and_for_each_eye(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png")
    data = table(tmp_path, "image,CDR,IOP (mmHg),IOP", "1.png,0.7,24,24", "2.png,,,24")
    assert data.describe("1.png").description == (
        "Patient record: the cup-to-disc ratio is 0.7; the intraocular pressure is 24 mmHg."
    )
    assert not data.describe("2.png").facts
    (sides,) = page.understand_rows_of_both_eyes({"IOP OD (mmHg)": ["14", ""], "IOP OS (mmHg)": ["", "21"]}, {})
    assert sides.role == "number" and sides.place == {"right": "IOP OD (mmHg)", "left": "IOP OS (mmHg)"}


@pytest.mark.parametrize(
    ("column", "cells", "cure"),
    [
        (
            "DR",
            "0,3",
            "names their scale, such as 'ICDR DR', or by a page (retinal page writes its beginning) with - grade: {col",
        ),
        ("DME", "0,1,2", "one number; in a page: - label: {column: DME, values: {0: …, 1: …, 2: …}}"),
    ],
)
def test_a_column_called_by_a_disease_with_other_codes_says_what_to_do(column: str, cells: str, cure: str) -> None:
    (reading,) = understand({column: cells.split(",")}, {"ICDR": range(5)})
    assert reading.is_lost and cure in reading.says
    (named,) = understand({"ICDR DR": ["0", "3"]}, {"ICDR": range(5)})
    assert named.role == "grade"


NOTED = {  # a note beside ICDR grade 2, a cataract and no glaucoma -> whether it is told
    "moderate NPDR": False,
    "Cataract.": False,
    "cataract; moderate nonproliferative diabetic retinopathy": False,
    "moderate NPDR with DME": True,
    "cataract?": True,
    "dense cataract": True,
    "nuclear cataract, drusen": True,
}


@pytest.mark.parametrize("note", NOTED)
def test_a_note_that_only_repeats_a_label_is_told_once(tmp_path: Path, note: str) -> None:
    case = eye(tmp_path, **{"ICDR grade": "2", "cataract": "yes", "glaucoma": "no", "notes": note, "remarks": note})
    noted = [fact for fact in case.facts if fact.aspect == "notes"]
    assert len(noted) == NOTED[note]  # of two columns with one text too
    assert [fact.name for fact in case.about("disease")] == ["grade", "cataract", "absent"]
    assert any("column 'remarks' is not told: " in why and why.endswith("told already") for why in case.missing)


def test_clinic_shorthand_is_written_out_or_listed(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png")
    data = table(tmp_path, "image,notes", '1.png,"POAG, s/p PRP, s/p vitrectomy; PVD"', "2.png,disc WNL; CSME; PVD; NAD")
    assert [data.describe(name).about("notes")[0].words for name in data.images] == [
        "primary open-angle glaucoma, after panretinal photocoagulation, after vitrectomy; PVD",
        "disc within normal limits; clinically significant macular oedema; PVD; NAD",
    ]
    says = "shorthand told as written, since it has several meanings: NAD (1 image), PVD (2 images)"
    assert says in data.not_used and says in data.not_used_places
    assert data.describe("1.png").facts[0].source.cell == "POAG, s/p PRP, s/p vitrectomy; PVD"


def test_shorthand_names_the_same_conditions_as_its_words() -> None:
    written = values.words()["shorthand"] | values.words()["known shorthand"]
    named = {short: (set(lexicon.conditions(short)), set(lexicon.conditions(words))) for short, words in written.items()}
    assert {short for short, (of_short, of_words) in named.items() if of_short and of_short != of_words} == set()
    assert {"POAG", "CSME", "NVE"} <= {short for short, (of_short, _) in named.items() if of_short}
    assert not written.keys() & {*values.words()["ambiguous shorthand"]}


def test_a_ratio_of_the_table_stands_in_place_of_that_by_automorph() -> None:
    cell = Source("my.csv", 2, "CDR")
    ratio = Fact("patient", "cup-to-disc ratio", 0.7, "", "the cup-to-disc ratio is 0.7", cell, "cup-to-disc ratio", "image")
    measured = [
        Fact("vascular", name, 0.4, "", "", cell, measurements.feature(name).words)
        for name in ("CDR_vertical", "CDR_horizontal", "Fractal_dimension")
    ]
    facts, missing = told_once([ratio, *measured], [])
    assert [fact.name for fact in facts] == ["cup-to-disc ratio", "Fractal_dimension"] and len(missing) == 2
    assert told_once(measured, []) == (measured, [])


SLIPS = {  # a column with one wrong cell of four or more -> what the others say
    "cataract": [*"000001111", "", "2"],
    "ICDR DR": [*"0024031", "5"],
    "IOP (mmHg)": ["15", "16", "14", "15", "24", "28", "26", "17", "160"],
    "label": ["glaucoma", "normal", "normal", "glaucmoa"],
}


@pytest.mark.parametrize("column", SLIPS)
def test_one_wrong_cell_costs_only_itself(column: str) -> None:
    cells, levels = SLIPS[column], {"ICDR": range(5)}
    (reading,) = understand({column: cells}, levels)
    assert reading.is_read and ("not read: " in reading.says or reading.book[cells[-1]] is None)
    (reading,) = understand({column: [*cells, cells[-1]]}, levels)
    assert (
        not reading.is_read and "at most a tenth of the cells may be wrong (where there are four or more, one)" in reading.says
    )
    (reading,) = understand({column: [cells[0], cells[-1]]}, levels)
    assert not reading.is_read


def test_numbers_from_1_to_5_are_no_grades_from_0_to_4() -> None:
    (reading,) = understand({"ICDR": [*"11231421", "5"]}, {"ICDR": range(5)})
    assert not reading.is_read
    (reading,) = understand({"DR": [*"001001", "3"]}, {"ICDR": range(5)})
    assert not reading.is_read and "such as 'ICDR DR'" in reading.says


@pytest.mark.parametrize("column", ["DR (ICDR 0-4)", "ICDR 0-4", "DR grade ICDR (0-4)", "ICDR [0 to 4]", "DR_ICDR_0–4"])
def test_a_range_of_grades_in_a_header_is_no_part_of_its_name(column: str) -> None:
    (reading,) = understand({column: [*"01234", "ungradable"]}, {"ICDR": range(5)})
    assert (reading.role, reading.of) == ("grade", "ICDR")
    for other in ("ICDR 1-5", "ICDR (0-3)"):
        assert not understand({other: [*"0123"]}, {"ICDR": range(5)})[0].is_read


def test_a_range_without_a_scale_gets_the_hint_of_the_bare_name(tmp_path: Path) -> None:
    (reading,) = understand({"DR (0-4)": [*"01234"]}, {"ICDR": range(5)})
    assert (
        reading.is_lost
        and "such as 'ICDR DR (0-4)'" in reading.says
        and "- grade: {column: DR (0-4), scale: …}" in reading.says
    )
    (reading,) = understand({"glaucoma (0/1)": [*"0110"]}, {})
    assert reading.role == "condition" and reading.of == "glaucoma"


def test_a_column_with_a_disease_in_its_name_that_is_not_read_may_hold_a_diagnosis(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png")
    data = table(tmp_path, "image,DR status,Operator,cataract", "1.png,a1,b,0", "2.png,b2,c,1")
    assert data.not_used[0].startswith("my.csv: not read, although it may hold a diagnosis: 'DR status', ")
    assert "my.csv: columns that are not read: 'DR status' (may hold a diagnosis), 'Operator'" in data.not_used_places
