"""A table of one's own: what its free text says of an eye is told as it stands, and what says the opposite is an error."""

from pathlib import Path

import pytest

from retinal_lib.check import conversation_check
from retinal_lib.check.language.negation import AFFIRMED, NEGATED, UNCERTAIN
from retinal_lib.check.language.statements import of_label
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.facts import Case
from retinal_lib.teacher import offline
from retinal_lib.teacher.reply_parser import parse

TRACKS = (("instruction", None), ("alignment", "caption"), ("alignment", "consult"))
NORMAL = (
    "normal|Normal|NORMAL FUNDUS|healthy|healthy eye|normal retina|fundus within normal limits|unremarkable|no disease|none|"
    "None|nil|no|no abnormality detected|NAD|WNL|No visible abnormality|no evidence of retinal disease|no ocular pathology|"
    "No significant findings|nothing abnormal|disease absent|free of disease|Normal; NAD|normal, no DR|not diseased"
).split("|")
OPEN = "abnormal|not normal|probably normal|normal?|normal optic disc|normal IOP|no lesion|no DR|other|0".split("|")
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
    "?glaucoma": ("glaucoma", UNCERTAIN),
    "r/o glaucoma": ("glaucoma", UNCERTAIN),
    "amd": ("amd", AFFIRMED),
    "moderate NPDR, no macular edema": ("macular_oedema", NEGATED),
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
        turns = parse(offline.compose(case, track, style, seed))
        talk = [t for turn in turns for t in (human(turn.question), {"from": "gpt", "value": turn.answer})]
        talk[0]["value"] = "<image>\n" + talk[0]["value"]
        found = conversation_check.errors(conversation_check.check(talk, case, track, style))
        assert found == [], [turn.answer for turn in turns]


def test_what_notes_say_of_eye_and_person_may_be_told_in_other_words(tmp_path: Path) -> None:
    case = eye(tmp_path, disease="glaucoma", notes="left eye, 62-year-old male, no family history of glaucoma")
    assert errors(case, "It is the left eye of a man. There is no family history of glaucoma.") == []
    assert errors(case, "It is the right eye of a woman.") == ["side", "sex"]
    assert errors(eye(tmp_path, disease="glaucoma"), "There is no glaucoma.") == ["denied_disease"]


def test_a_quote_is_no_way_to_say_the_opposite(tmp_path: Path) -> None:
    case = eye(tmp_path, disease="DR")
    assert errors(case, "On record: DR.") == []
    assert errors(case, "There is no DR.") == ["denied_disease"]
