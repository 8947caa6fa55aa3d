"""Notes of one's own table: what contradicts its row or tells of the other eye is not told, what is of the past is."""

from pathlib import Path

import pytest
from test_own_tables import errors, eye

from retinal_lib.check import conversation_check
from retinal_lib.dataset import measurements
from retinal_lib.dataset.label_kinds import told_once
from retinal_lib.facts import Case, Fact, Source
from retinal_lib.slots import sheet, slot_check
from retinal_lib.teacher import offline
from retinal_lib.teacher.reply_parser import parse


def noted(case: Case) -> list[str]:
    return [fact.words for fact in case.about("notes")]


@pytest.mark.parametrize(
    ("note", "told"),
    [
        *(("right eye blurred", True), ("OD fine", True), ("WNL OU", True), ("drusen, no bleeding left", True)),
        *(("left eye blurred", False), ("ERM OS, OD fine", False), ("s/p PRP OD, PPV OS", False), ("LE: ERM", False)),
        *(("fellow eye PDR", False), ("drusen OU, ERM in the left macula", False), ("other eye normal", False)),
    ],
)
def test_a_note_that_names_the_other_eye_is_not_told(tmp_path: Path, note: str, told: bool) -> None:
    case = eye(tmp_path, eye="OD", notes=note)
    assert bool(noted(case)) == told
    assert told or "eye" in case.missing[0].partition("is not told: ")[2]


def test_a_note_on_both_eyes_by_name_is_not_told_where_the_eye_is_not_known(tmp_path: Path) -> None:
    assert noted(eye(tmp_path, notes="ERM OS, OD fine")) == []
    assert noted(eye(tmp_path, notes="ERM OS")) == ["epiretinal membrane OS"]


ROW = {"ICDR grade": "2", "cataract": "0", "CDR": "0.35", "IOP (mmHg)": "15", "VA (logMAR)": "0.3"}
NOT_TRUE = [
    "PDR",
    "NVD",
    "severe NPDR",
    "mod NPDR; sev. NPDR",
    "C/D 0.8",
    "CDR: 0.30",
    "C/D ratio of 0.5",
    "IOP 30",
    "IOP OD 16 mmHg",
]
NOT_TRUE += ["VA 20/20", "VA 6/60", "dense cataract", "no DR"]
TRUE = [
    "background diabetic retinopathy",
    "NPDR, DME",
    "C/D 0.35",
    "C/D 0.3",
    "C/D 0.4",
    "IOP 15",
    "IOP < 21",
    "VA 20/40",
    "VA 6/12",
]
TRUE += ["VA CF", "s/p 3 injections", "IOP normal", "early ERM, NPDR"]


@pytest.mark.parametrize("note", [*NOT_TRUE, *TRUE])
def test_a_note_with_another_grade_or_number_than_its_row_is_not_told(tmp_path: Path, note: str) -> None:
    case = eye(tmp_path, **ROW, notes=note)
    against = any("contradicts" in why for why in case.missing)
    assert against == (note in NOT_TRUE) and (against or noted(case)), case.missing
    assert not against or note not in noted(case)


PAST = [
    "FHx POAG, no glaucoma",
    "FH glaucoma",
    "FHx: glaucoma",
    "FHx of glaucoma",
    "mother has glaucoma",
    "s/p cataract surgery",
]
PAST += ["cataract extraction 2010", "NPDR resolved", "family history of primary open-angle glaucoma"]
PRESENT = ["mother with AMD, glaucoma", "cataract extraction, DR", "family history; glaucoma", "POAG"]


@pytest.mark.parametrize("note", [*PAST, *PRESENT])
def test_family_history_and_previous_surgery_are_no_present_disease(tmp_path: Path, note: str) -> None:
    case = eye(tmp_path, **{"ICDR grade": "0", "cataract": "0", "glaucoma": "0"}, notes=note)
    against = any("contradicts" in why for why in case.missing)
    assert against == (note in PRESENT) and (against or noted(case)), case.missing
    assert against or not errors(case, "There is no cataract and no glaucoma.")
    assert "unsupported_disease" in errors(case, "There is glaucoma, and the lens shows a cataract.")


@pytest.mark.parametrize(
    "note", ["HCQ screening, no maculopathy", "under control, taken again every year", "smoker, reduced vision"]
)
def test_the_words_of_a_quoted_note_are_on_its_line(tmp_path: Path, note: str) -> None:
    facts = sheet.make(eye(tmp_path, glaucoma="0", notes=note), 1)
    turns = parse(offline.compose(facts, "instruction", None, 1))
    assert conversation_check.errors(slot_check.examine(turns, facts, "instruction").checked.findings) == []


@pytest.mark.parametrize(
    ("note", "told"),
    [
        *(("As above", ""), ("Dilate next visit", ""), ("Plan: IVT Eylea q4w, OCT", ""), ("f/u 3/12", ""), ("see report", "")),
        *(("drusen, f/u 3/12, ERM", "drusen, epiretinal membrane"), ("ERM. Plan: PPV, tamponade", "epiretinal membrane")),
        *(("seen after dilation", "seen after dilation"), ("plane of focus is anterior", "plane of focus is anterior")),
    ],
)
def test_plans_and_references_are_not_told_and_listed(tmp_path: Path, note: str, told: str) -> None:
    case = eye(tmp_path, notes=note)
    assert noted(case) == ([told] if told else [])
    assert told == note or "is not told, as it is a plan or refers to another text" in case.missing[0]


@pytest.mark.parametrize(
    ("note", "told"),
    [
        *(("NTG, glaucoma, glaucoma", "normal tension glaucoma"), ("PDR PDR, VH", "PDR, VH"), ("OAG, OAG", "OAG")),
        *(("drusen; Drusen; ERM", "drusen; epiretinal membrane"), ("no drusen, glaucoma", "no drusen, glaucoma")),
    ],
)
def test_a_diagnosis_is_told_once(tmp_path: Path, note: str, told: str) -> None:
    assert noted(eye(tmp_path, glaucoma="1", notes=note)) == [told]


SHORT = {
    "nAMD s/p IVT": "neovascular age-related macular degeneration after IVT",
    "NAION s/p": "non-arteritic anterior ischaemic optic neuropathy s/p",
    "NVD+, PRP": "NVD+, panretinal photocoagulation",
    "PCIOL, FTMH s/p PPV": "posterior chamber intraocular lens, full-thickness macular hole after pars plana vitrectomy",
}


def test_a_ratio_in_a_note_stands_in_place_of_that_by_automorph() -> None:
    cell = Source("my.csv", 2, "note")
    measured = Fact("vascular", "CDR_vertical", 0.4, "", "", cell, measurements.feature("CDR_vertical").words)
    said = [Fact("notes", "note", note, "", note, cell, note) for note in ("C/D 0.8", "CDR normal")]
    assert told_once([said[0], measured], [])[0] == said[:1] and told_once([said[1], measured], [])[0] == [said[1], measured]


@pytest.mark.parametrize("note", SHORT)
def test_shorthand_is_written_out_in_whole_words_alone(tmp_path: Path, note: str) -> None:
    assert noted(eye(tmp_path, notes=note)) == [SHORT[note]]


@pytest.mark.parametrize("note", ["s/p trab", "MGD, DES"])
def test_an_unknown_abbreviation_is_not_called_another_language(tmp_path: Path, note: str) -> None:
    assert eye(tmp_path, notes=note).missing[0].endswith("is not understood as English")
