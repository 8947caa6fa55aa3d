"""Evaluation: answers read, scored and compared; nothing here needs torch."""

import base64
import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from retinal_lib import UserError
from retinal_lib.closed_questions import wording
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.evaluate import answer_reader as answer_parser
from retinal_lib.evaluate import figures, harnesses, label_questions, scored_answers
from retinal_lib.evaluate import made_up_answers as pretend
from retinal_lib.evaluate import metrics as scores
from retinal_lib.evaluate.answer_reader import ABSTAINED, ANSWERED, UNREADABLE
from retinal_lib.evaluate.evaluation import Evaluation
from retinal_lib.evaluate.label_questions import blind, questions
from retinal_lib.evaluate.tables import Tables

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "evaluate.ipynb"
SCALES = list(scales())
LEVELS = [(scale, level) for scale in SCALES for level in scales()[scale]["levels"]]
LABELS = ("diabetic retinopathy", "drusen", "macular hole", "optic disc oedema", "branch retinal vein occlusion")
FORMS = (
    "{}",
    "Grade {}.",
    "**Grade: {}**",
    "The grade is {}.",
    "stage {}",
    "Level {}",
    "I would grade this as {}.",
    "The grade of {of} is {} on the {title} (0 to {top}).",
    "It is {} on the {title}.",
    "{}/{top}",
    "The answer is {}.",
    "I cannot be certain, but I would say grade {}.",
    "It is not grade 9, but grade {}.",
    "No drusen, grade {}.",
)


def read_grade(text: str, scale: str) -> answer_parser.ParsedAnswer:
    """A grade, with the scale's levels."""
    return answer_parser.grade(text, scale, scales()[scale]["levels"])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("scale", "level"), LEVELS)
def test_every_grade_is_read_in_every_form(form: str, scale: str, level: int) -> None:
    held = scales()[scale]
    text = form.format(level, of=held["of"], title=held["title"], top=max(held["levels"]))
    assert read_grade(text, scale) == (ANSWERED, level, ""), text
    if "{}" in form and level in (1, 2, 3):
        words = form.format(("one", "two", "three")[level - 1], of=held["of"], title=held["title"], top=max(held["levels"]))
        assert "/" in form or " on the" in form or read_grade(words, scale).value == level


@pytest.mark.parametrize(("scale", "level"), [(s, level) for s, level in LEVELS if s in ("ICDR", "META-PM")])
def test_grades_are_read_by_name(scale: str, level: int) -> None:
    words = scales()[scale]["levels"][level]
    for text in (words, f"This image shows {words}.", f"{words.capitalize()}, grade {level}.", f"I see signs of {words}"):
        if "signs of no" not in text:
            assert read_grade(text, scale).value == level, text
    other = next(n for n in scales()[scale]["levels"] if n != level)
    assert read_grade(f"Grade {other}: {words}.", scale).state == UNREADABLE


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("moderate NPDR", 2),
        ("Mild nonproliferative diabetic retinopathy", 1),
        ("No signs of diabetic retinopathy are visible.", 0),
        ("The fundus looks normal.", 0),
        ("There is no evidence of proliferative diabetic retinopathy; it is moderate NPDR", 2),
        ("Severe", 3),
        ("PDR", 4),
        ("There are mild haemorrhages. Grade 3.", 3),
    ],
)
def test_what_people_write_of_grades(text: str, value: int) -> None:
    assert read_grade(text, "ICDR").value == value


@pytest.mark.parametrize(
    "text", ["I cannot tell.", "It can't be determined from this image.", "Unable to assess the grade.", "Unknown"]
)
@pytest.mark.parametrize("kind", ["grade", "diseases", "modality", "eye", "boxes", "measurement"])
def test_who_cannot_tell_abstains(text: str, kind: str) -> None:
    entry = {"scale": "ICDR", "levels": [0, 1, 2, 3, 4], "labels": LABELS, "unit": "µm"}
    assert scored_answers.read_answer(kind, text, entry).state == ABSTAINED


@pytest.mark.parametrize("text", ["", "grade 2 or grade 3", "The retina is in the eye.", "7", "grade 9", "###"])
def test_what_is_not_clear_is_no_grade(text: str) -> None:
    assert read_grade(text, "ICDR").state == UNREADABLE


def test_sides_modalities_and_quality() -> None:
    assert [answer_parser.side(t).value for t in ("Left.", "the right eye", "OS", "not the left but the right eye")] == [
        "left",
        "right",
        "left",
        "right",
    ]
    assert answer_parser.side("left or right").state == UNREADABLE
    assert answer_parser.side("the optic disc is on the left side").state == UNREADABLE
    assert answer_parser.modality("a color fundus photo, not OCT").value == "fundus"
    assert answer_parser.modality("Optical coherence tomography").value == "oct"
    texts = ("Good quality", "it is usable", "not gradable", "ungradeable", "poor", "It cannot be graded.", "acceptable")
    assert [answer_parser.quality(t).value for t in texts] == [0, 1, 2, 2, 2, 2, 1]


@given(st.sets(st.sampled_from(LABELS), min_size=1), st.sets(st.sampled_from(LABELS)))
def test_conditions_are_read_with_their_denials(has: set[str], lacks: set[str]) -> None:
    lacks -= has
    text = f"This eye shows {' and '.join(sorted(has))}" + (f", but no {' or '.join(sorted(lacks))}" if lacks else "") + "."
    assert set(answer_parser.conditions(text, LABELS).value) == has
    assert answer_parser.conditions(text.replace("oedema", "edema").upper(), LABELS).value is not None


def test_conditions_by_other_names_and_none_at_all() -> None:
    assert answer_parser.conditions("Signs of BRVO and a macular hole", LABELS).value == (
        "macular hole",
        "branch retinal vein occlusion",
    )
    for text in ("The fundus looks normal.", "No abnormality.", "Healthy", "no drusen"):
        assert answer_parser.conditions(text, LABELS) == (ANSWERED, (), "")
    assert answer_parser.conditions("A retina.", LABELS).state == UNREADABLE


def test_a_form_affirms_what_it_is_a_form_of() -> None:
    labels = ("diabetes", "diabetic retinopathy", "glaucoma")
    assert answer_parser.conditions("This eye shows diabetic retinopathy.", ["diabetes", "glaucoma"]).value == ("diabetes",)
    assert answer_parser.conditions("Moderate NPDR.", labels).value == ("diabetes", "diabetic retinopathy")
    assert answer_parser.conditions("No proliferative retinopathy, but glaucoma.", labels).value == ("glaucoma",)
    assert answer_parser.conditions("Diabetes without macular oedema.", ["diabetes", "macular oedema"]).value == ("diabetes",)
    assert answer_parser.conditions("Cotton wool spots.", ["exudation", "cotton wool spots"]).value == ("cotton wool spots",)
    haemorrhages = ["vitreous haemorrhage", "preretinal haemorrhage"]
    assert answer_parser.conditions("A preretinal haemorrhage.", haemorrhages).value == ("preretinal haemorrhage",)


EDGE = st.integers(0, 9999).map(lambda n: n / 10000)


@given(st.lists(st.tuples(EDGE, EDGE, EDGE, EDGE), min_size=1, max_size=6), st.sampled_from(["[{}]", "({})", "box [{}];"]))
def test_boxes_come_back_as_they_were_written(edges: list, form: str) -> None:
    wanted = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in edges]
    wanted = list(dict.fromkeys(box for box in wanted if box[0] < box[2] and box[1] < box[3]))
    text = " and ".join(form.format(", ".join(f"{edge:.4f}" for edge in box)) for box in wanted)
    found = answer_parser.boxes(f"They lie in {text}")
    assert found.value == (tuple(wanted) if wanted else None)


def test_boxes_in_percent_pixels_and_letters() -> None:
    wanted = ((0.1, 0.2, 0.3, 0.4),)
    assert answer_parser.boxes("(10%, 20%, 30%, 40%)").value == wanted
    assert answer_parser.boxes("[100, 100, 300, 200]", (1000, 500)).value == wanted
    assert answer_parser.boxes("x_min: 0.1, y_min: 0.2, x_max: 0.3, y_max: 0.4").value == wanted
    assert answer_parser.boxes("[100, 100, 300, 200]").state == UNREADABLE
    assert answer_parser.boxes("[0.5, 0.5, 0.1, 0.1]").state == UNREADABLE
    assert answer_parser.boxes("There are none.").value == ()


BOX, PLACES = (0.1, 0.2, 0.3, 0.4), "[100, 200, 300, 400]"


@pytest.mark.parametrize(
    ("text", "notation"),
    [
        (PLACES, "qwen3-vl"),
        (PLACES, "internvl"),
        (f"The disc: <ref>disc</ref><box>[{PLACES}]</box>", None),
        ("<|object_ref_start|>disc<|object_ref_end|><|box_start|>(100,200),(300,400)<|box_end|><|im_end|>", None),
        ("<loc0205><loc0102><loc0410><loc0307> optic disc", None),
        ("<bbox>[0.1, 0.2, 0.3, 0.4]</bbox>", None),
        ("<box>100,200,300,400</box> is the disc", None),
        (PLACES.replace("00", "0"), "percent"),
        ("[56, 168, 168, 336]", "qwen2.5-vl"),  # the picture of 570 x 830 pixels is seen as 560 x 840
        ('```json\n[{"bbox_2d": [57, 166, 171, 332], "label": "optic disc"}]\n```', None),
        ('{"thoughts": "not [1, 2, 3, 4]", "boxes": [{"x_min": 0.1, "y_min": 0.2, "x_max": 0.3, "y_max": 0.4}]}', None),
        ("{'x1': 0.1, 'x2': 0.3, 'y1': 0.2, 'y2': 0.4}", None),
        ('{"left": 0.1, "top": 0.2, "width": 0.2, "height": 0.2}', None),
        ("<think>[0.5, 0.5, 0.6, 0.6] is too far right.</think>\n<answer>[0.1, 0.2, 0.3, 0.4]</answer>", "qwen3-vl"),
    ],
)
def test_boxes_in_the_notations_of_models(text: str, notation: str | None) -> None:
    text, notation = (f"In percent: {text}", None) if notation == "percent" else (text, notation)
    (found,) = answer_parser.boxes(text, (570, 830), notation).value
    assert found == pytest.approx(BOX, abs=0.0015), text


def test_boxes_whose_unit_nobody_knows_are_not_guessed() -> None:
    assert answer_parser.boxes(PLACES).why.startswith("gives boxes that are not fractions")
    assert "size is not known" in answer_parser.boxes(PLACES, None, "qwen2.5-vl").why
    for text in ("[]", '{"boxes": []}', "<box></box> There is none."):
        assert answer_parser.boxes(text).value == (), text
    with pytest.raises(UserError, match="did you mean 'qwen3-vl'"):
        answer_parser.boxes(PLACES, None, "qwen3vl")


GRADES = ("no diabetic retinopathy", "mild", "moderate", "severe", "cannot tell")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "B",
            "b",
            "B.",
            "(b)",
            "**B**",
            "Answer: B",
            "The answer is (B).",
            "B. mild",
            "b) mild",
            "Option B",
            "B - mild",
            "Mild.",
        ),
        *("<answer>B</answer>", "<think>A? No, C.</think>B", '{"answer": "B"}', "{'answer': 'B'}", "It is mild."),
        *("Not A or C. The correct answer is B.", "A is wrong, so it is B.", "<|begin_of_box|>B<|end_of_box|>"),
        '```json\n{"reasoning": "C is wrong", "answer": "B. mild"}\n```',
        "The optic disc is normal and a few microaneurysms are there: mild.",
        *("B\n\nExplanation: severe disease has venous beading.", "**B**\n\nNot A: a moderate form would show more."),
        "The correct answer is B.\nA severe form (D) has venous beading.",
    ],
)
def test_letters_are_read_in_every_form(text: str) -> None:
    assert answer_parser.option(text, GRADES) == (ANSWERED, "B", ""), text


@pytest.mark.parametrize(
    ("text", "state", "value"),
    [
        ("A or B", UNREADABLE, None),
        ("Neither A nor B.", UNREADABLE, None),
        ("The answer is a moderate form.", ANSWERED, "C"),
        ("B. severe", UNREADABLE, None),
        ("B\nC\nD", UNREADABLE, None),
        ("B\nThe answer is D.", ANSWERED, "D"),
        ("B, severe\nas I said", UNREADABLE, None),
        ("A fundus photograph.", UNREADABLE, None),
        ("I see a retina.", UNREADABLE, None),
        ("G", UNREADABLE, None),
        ("I am not sure.", ABSTAINED, None),
        ("Cannot tell.", ANSWERED, "E"),
        ("No diabetic retinopathy.", ANSWERED, "A"),
        ("It is not mild but moderate.", ANSWERED, "C"),
    ],
)
def test_letters_are_not_guessed(text: str, state: str, value: str | None) -> None:
    assert answer_parser.option(text, GRADES)[:2] == (state, value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("Absent", "no"), ("It is absent.", "no"), ("Present.", "yes"), ("Not visible.", "no"), ("Not absent.", None)),
        *(("Probably yes", "yes"), ("Probably not.", "no"), ("Most likely yes, few of them.", "yes")),
        *(("There is no sign of it.", "no"), ("There are no signs of it; the disc is pale.", "no"), ("A sign of it.", None)),
        *(("Drusen are present.", "yes"), ("Drusen are absent.", "no"), ("Present images are dark.", None)),
        *(("Probably, no.", None), ("Present: no drusen", "no"), ("Not visible, as it seems.", "no")),
    ],
)
def test_yes_and_no_are_read_in_other_words(text: str, value: str | None) -> None:
    assert answer_parser.yes_no(text, "drusen").value == value


def test_answers_in_json_and_after_thoughts_are_read_in_every_kind() -> None:
    assert read_grade('{"diabetic_retinopathy_grade": 2, "confidence": 0.9}', "ICDR").value == 2
    assert read_grade("<think>Grade 3? No.</think>Grade 1.", "ICDR").value == 1
    assert answer_parser.side('```json\n{"eye": "left"}\n```').value == "left"
    assert answer_parser.quality("{'quality': 'good'}").value == 0
    assert answer_parser.conditions('{"drusen": true, "macular hole": false}', LABELS).value == ("drusen",)
    assert answer_parser.conditions('{"conditions": ["drusen", "macular hole"]}', LABELS).value == ("drusen", "macular hole")
    assert answer_parser.number('{"cup_to_disc_ratio": 0.45}').value == 0.45
    assert answer_parser.side("<think>left or").state == UNREADABLE


@given(st.floats(0.001, 5000, allow_nan=False), st.sampled_from(["", "µm", "degrees"]))
def test_numbers_come_back_as_they_were_written(value: float, unit: str) -> None:
    said = f"{value:.4f}"
    for form in (
        "{}",
        "It is {}.",
        "about {}",
        "The width in zone B is approximately {}.",
        "{} (the normal range is 0.3 to 0.5)",
    ):
        assert answer_parser.number(form.format(f"{said} {unit}".strip()), unit).value == pytest.approx(float(said))


def test_numbers_in_other_units() -> None:
    assert answer_parser.number("0.15 mm", "µm").value == pytest.approx(150)
    assert answer_parser.number("7 %").value == pytest.approx(0.07)
    assert answer_parser.number("between 0.3 and 0.4").state == UNREADABLE


# right answers of each kind, and another one that stands in thoughts
READ = {
    "option": (["B", "B. mild", "(b)", "Mild.", "Option B"], "C"),
    "options": (["A, C", "A. no diabetic retinopathy; C. moderate", "None.", "B"], "B, D"),
    "yes_no": (["No.", "Yes", "There are drusen.", "No drusen."], "yes or no"),
    "grade": (["2", "Grade 2.", "Grade II", "moderate NPDR"], "Grade 4"),
    "diseases": (["Drusen.", "drusen and macular hole", "The fundus looks normal."], "macular hole"),
    "boxes": (
        [
            "[0.1, 0.2, 0.3, 0.4]",
            "[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.6, 0.7]",
            "[57, 166, 171, 332]",
            "There are none.",
            "<box>[[100, 200, 300, 400]]</box>",
            "<loc0205><loc0102><loc0410><loc0307>",
        ],
        "[0.7, 0.7, 0.9, 0.9]",
    ),
    "measurement": (["150 µm", "150", "about 0.15 mm"], "999 µm"),
    "eye": (["Left.", "the right eye", "OS"], "right or left"),
    "quality": (["Good.", "not gradable", "usable"], "poor"),
    "modality": (["Fundus photograph", "OCT"], "oct"),
}
SAID = {
    "plain": "{text}",
    "JSON": lambda text, other: json.dumps({"answer": text}),
    "reasons in JSON": lambda text, other: json.dumps({"reasoning": f"Or {other}?", "final_answer": text, "confidence": 0.7}),
    "quoted keys": "{{'answer': '{text}'}}",
    "list": lambda text, other: json.dumps([text], ensure_ascii=False),
    "fence": lambda text, other: f"```json\n{json.dumps({'Answer': text}, indent=1)}\n```",
    "boxed": "$\\boxed{{\\text{{{text}}}}}$",
    "lead": "**Answer:** {text}",
    "final": "Final answer: {text}",
    "quotes": '"{text}"',
    "bold": "**{text}**",
}
AROUND = {
    "nothing": "{text}",
    "thoughts": "<think>\n{other}? Let me see.\n</think>\n\n{text}",
    "thoughts without a beginning": "{other}, maybe.</think>\n{text}",
    "answer": "<answer>\n{text}\n</answer>",
    "thoughts and answer": "<think><answer>{other}</answer>?</think><answer>{text}</answer>",
    "answer after words": "It may be {other}. <answer>{text}</answer>\n",
    "conclusion": "<SUMMARY>{other}</SUMMARY><CONCLUSION>{text}</CONCLUSION>",
    "channels": "<|channel|>analysis<|message|>{other}<|end|><|start|>assistant<|channel|>final<|message|>{text}<|return|>",
    "mark of the template": "{text}<|im_end|>",
    "stop": "{text}\n###",
}


@settings(max_examples=200)
@given(st.sampled_from([(kind, text) for kind, held in READ.items() for text in held[0]]), st.data())
def test_what_stands_around_an_answer_changes_nothing(asked: tuple[str, str], data: st.DataObject) -> None:
    kind, plain = asked
    entry = {"scale": "ICDR", "levels": [0, 1, 2, 3, 4], "labels": LABELS, "unit": "µm", "options": GRADES, "size": (570, 830)}
    entry |= {"condition": "drusen"}
    text = plain
    for forms in (SAID, AROUND):
        form = forms[data.draw(st.sampled_from(list(forms)))]
        other = READ[kind][1]
        text = form(text, other) if callable(form) else form.format(text=text, other=other)
    wanted = scored_answers.read_answer(kind, plain, entry)
    assert scored_answers.read_answer(kind, text, entry) == wanted and wanted.state == ANSWERED, text


PIECES = [
    "<answer>",
    "</answer>",
    "<think>",
    "</think>",
    "\\boxed{",
    "{",
    "}",
    "[",
    "]",
    "'",
    '"answer":',
    "###",
    "Answer: ",
    "B",
]


@settings(max_examples=300)
@given(st.text(max_size=120) | st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30).map("".join))
def test_no_text_breaks_the_parser(text: str) -> None:
    entry = {"scale": "ICDR", "levels": [0, 1, 2, 3, 4], "labels": LABELS, "unit": "µm", "options": GRADES}
    for kind in (*label_questions.KINDS, "option", "options", "yes_no"):
        found = scored_answers.read_answer(kind, text, entry)
        assert (found.value is not None) == (found.state == ANSWERED)


# --- scores ----------------------------------------------------------------------------------------------------------------


def test_metrics_on_small_cases() -> None:
    truth, found = np.array([0, 0, 1, 2], object), np.array([0, 1, 1, None], object)
    assert scores.accuracy(truth, found) == 0.5
    assert scores.balanced(truth, found) == 0.75 and scores.kappa(truth, found) == pytest.approx(0.4)
    assert scores.confusion(truth, found, [0, 1, 2]).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    assert np.isnan(scores.kappa(np.array([1, 1], object), np.array([1, 1], object)))
    rows = scores.per_label([["a"], ["a", "b"], []], [["a"], ["b"], ["c"]], ["a", "b", "c", "d"])
    assert [(r[0], r[1], r[2]) for r in rows] == [("a", 1, 0.5), ("b", 1, 1), ("c", 0, 0)]
    assert scores.overlaps([(0, 0, 2, 2)], [(1, 0, 3, 2), (3, 3, 4, 4)]) == pytest.approx(np.array([[1 / 3, 0]]))
    assert scores.matched([(0, 0, 1, 1), (2, 2, 3, 3)], [(2, 2, 3, 3)]) == [0, 1]
    assert scores.absolute_error([1, 2], [2, 2]) == 0.5 and scores.relative_error([0, 2], [1, 3]) == 0.5
    assert scores.rank_correlation([1, 2, 3], [10, 20, 30]) == pytest.approx(1) and np.isnan(
        scores.rank_correlation([1, 2], [1, 2])
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4) | st.none()), min_size=1, max_size=40), st.integers(0, 9))
def test_an_interval_holds_its_number_and_follows_its_seed(pairs: list, seed: int) -> None:
    truth, found = (np.array(side, object) for side in zip(*pairs, strict=True))
    groups = [i // 2 for i in range(len(pairs))]
    first = scores.bootstrap(lambda rows: scores.accuracy(truth[rows], found[rows]), groups, 60, seed)
    assert first == scores.bootstrap(lambda rows: scores.accuracy(truth[rows], found[rows]), groups, 60, seed)
    assert 0 <= first.low <= first.high <= 1 and 0 <= first.value <= 1


def answered(
    kind: str, pairs: list[tuple[object, str]], model: str = "m", **entry: object
) -> list[scored_answers.ScoredAnswer]:
    """Answers to questions of a kind, each of an image of its own, from (reference, text)."""
    found = []
    for i, (reference, text) in enumerate(pairs):
        asked = {"id": f"{kind}{i}", "dataset": "d", "kind": kind, "subject": kind, "image": f"{i}.png", "question": "?"}
        asked |= {"reference": reference} | entry
        found.append(scored_answers._score_answer(model, asked, {"qa_pairs": [{"answer": text}]}))
    return found


def test_a_flood_of_boxes_scores_less_than_an_honest_detector() -> None:
    marked = [(0.2, 0.2, 0.3, 0.3), (0.6, 0.6, 0.7, 0.7)]
    flood = " ".join(
        f"[{x / 20}, {y / 20}, {x / 20 + 0.1:.2f}, {y / 20 + 0.1:.2f}]" for x in range(4, 19) for y in range(4, 19)
    )
    honest = "[0.2, 0.2, 0.3, 0.26] and [0.1, 0.6, 0.2, 0.7]"
    (floods,), (honestly,) = (answered("boxes", [(marked, text)]) for text in (flood, honest))
    rows = {}
    for name, answers in (
        ("flood", [floods]),
        ("honest", [honestly]),
        ("both", answered("boxes", [(marked, honest), ([], flood)])),
    ):
        rows[name] = (
            Tables(answers, 5).boxes.iloc[0].map(lambda cell: float(str(cell).split()[0]) if str(cell)[1:2] == "." else cell)
        )
    assert rows["flood"]["recall at 0.5"] == 1 and rows["honest"]["recall at 0.5"] == 0.5
    for name in ("mean IoU", "precision at 0.5", "F1 at 0.5", "AP at 0.5", "F1 at 0.3", "AP at 0.3"):
        assert rows["flood"][name] < 0.02 < 0.15 < rows["honest"][name], name
        assert rows["both"][name] < 0.02, "boxes on images that have none are false"
    assert (rows["honest"]["precision at 0.5"], rows["honest"]["F1 at 0.5"], rows["honest"]["AP at 0.5"]) == (0.5, 0.5, 0.25)
    assert rows["honest"]["mean IoU"] == 0.2 and Tables([floods]).layout.iloc[0, 0] == "0.9"
    assert floods.score < honestly.score == pytest.approx(0.2)


def test_each_box_serves_once_and_lesions_that_are_not_listed_are_not_held_against_an_answer() -> None:
    twice = scores.BoxCounts.of([(0, 0, 1, 1)], [(0, 0, 1, 1), (0, 0, 1, 0.9)])
    assert (twice.found, twice.false) == ((1, 1), (1, 1)) and scores.box_rates([twice], 0)[0] == 0.5
    crossed = scores.BoxCounts.of([(0, 0, 10, 10), (0, 0, 10, 6)], [(0, 0, 10, 9), (0, 0, 10, 20)])
    assert crossed.found == (2, 2), "as many pairs as there can be, not the closest first"
    (answer,) = answered("boxes", [([(0, 0, 0.1, 0.1)], "[0, 0, 0.1, 0.1] [0.5, 0.5, 0.6, 0.6] [0.7, 0.7, 0.8, 0.8]")], count=2)
    assert scored_answers.box_counts(answer).false == (1, 1)


def test_the_blind_test_scores_conditions_boxes_and_measurements() -> None:
    box = [(0.2, 0.2, 0.4, 0.4)]
    seen, blindly = [], []
    for kind, reference, right, wrong, entry in (
        ("diseases", ["drusen"], "Drusen.", "Glaucoma.", {"labels": ["drusen", "glaucoma"]}),
        ("boxes", box, "[0.2, 0.2, 0.4, 0.4]", "[0.6, 0.6, 0.7, 0.7]", {}),
        ("measurement", 100.0, "100 µm", "150 µm", {"unit": "µm"}),
        ("eye", "left", "left", "right", {}),
    ):
        seen += answered(kind, [(reference, right)] * 3, **entry)
        blindly += answered(kind, [(reference, wrong)] * 2 + [(reference, "I cannot tell.")], **entry)
    table = Tables(seen).blinded(blindly).set_index("question")
    assert dict(table["with its image"]) == dict.fromkeys(("diseases", "boxes", "measurement", "eye"), 1.0)
    assert dict(table["without"]) == {"diseases": 0, "boxes": 0, "measurement": 0.333, "eye": 0}
    assert dict(table["score"])["boxes"] == "mean IoU" and list(table["same answer"]) == [0] * 4


def test_two_models_are_compared_on_the_same_questions() -> None:
    truth = ["left"] * 60
    better = answered("eye", [(t, "left") for t in truth], "A")
    worse = answered("eye", [(t, "left" if i % 4 else "right") for i, t in enumerate(truth)], "B")
    (row,) = Tables(better + worse).compared.to_dict("records")
    assert row["p"] < 0.001 and row["test"] == "McNemar" and (row["of model"], row["of other"]) == (1, 0.75)
    assert row["in words"] == (
        "A answered 15 more rightly than B (15 that B had wrong, and 0 the other way round); "
        "such a difference would come by chance in fewer than 1 of 1,000"
    )
    marked = [(0.2, 0.2, 0.4, 0.4)]
    near, far = "[0.2, 0.2, 0.4, 0.38]", "[0.2, 0.2, 0.4, 0.3]"
    close = answered("boxes", [(marked, near)] * 40, "A")
    wide = answered("boxes", [(marked, near if i % 2 else far) for i in range(40)], "B")
    (first,), (second,) = (Tables(part, seed=3).compared.to_dict("records") for part in (close + wide, close + wide))
    assert first == second and first["p"] < 0.001 and first["difference"].startswith("0.200 (")
    assert first["in words"].startswith("A scores 0.200 higher than B;")
    (same,) = Tables(close + answered("boxes", [(marked, near)] * 40, "C")).compared.to_dict("records")
    assert same["p"] == 1 and same["in words"] == "A and C score the same"
    (equal,) = Tables(worse + answered("eye", [("left", "right" if i % 4 == 1 else "left") for i in range(60)], "C")).compared[
        "p"
    ]
    assert equal == 1 and Tables(better).compared.empty


def test_chance_is_called_chance(seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    drawn = [scores.mcnemar(*(rng.random((2, 50)) < 0.6)) for _ in range(300)]
    assert np.mean(np.array(drawn) < 0.05) < 0.06
    ps = [scores.paired_bootstrap(rng.normal(size=40), range(40), 200, 0)[1] for _ in range(200)]
    assert 0.01 < np.mean(np.array(ps) < 0.05) < 0.12


def test_a_confusion_matrix_names_its_classes_with_shares_of_each_row() -> None:
    entry = {"scale": "ICDR", "levels": [0, 1, 2, 3, 4]}
    answers = answered("grade", [(2, "Grade 2.")] * 3 + [(2, "Grade 1."), (0, "Grade 0."), (1, "?")], **entry)
    (axes,) = figures.confusions({"m: grade": answers}).axes
    named = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    assert named[0] == "0 no diabetic retinopathy" and named[2] == "2 moderate non-proliferative diabetic retinopathy"
    assert {"3\n75%", "1\n25%", "1\n100%"} <= {text.get_text() for text in axes.texts}
    assert axes.get_xticklabels()[-1].get_text() == "no answer"


# --- questions from labels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dataset", ["IDRiD", "IDRiD_seg", "RFMiD", "MICCAI_task1", "ODIR", "EyeQ", "Messidor2", "MICCAI_task2"]
)
def test_a_perfect_answerer_gets_everything_right(dataset: str, drawn: dict[str, Path], tmp_path: Path) -> None:
    file = questions(dataset, drawn[dataset], tmp_path / "q.jsonl", measures="all" if dataset == "IDRiD" else None)
    asked = label_questions.load(file)
    assert len({entry["id"] for entry in asked}) == len(asked)
    out = pretend.write(asked, tmp_path / "a.jsonl", wrong=0, abstained=0)
    for answer in scored_answers.score_answers("m", asked, out):
        if answer.text.startswith(("The retina is a light", "Please see")):
            assert answer.parsed.state == UNREADABLE
        elif answer.kind in ("grade", "quality", "modality", "eye"):
            assert answer.right, answer
        elif answer.kind == "diseases":
            assert set(answer.value) == set(answer.reference), answer
        elif answer.kind == "measurement":
            assert answer.value == pytest.approx(answer.reference, rel=0.3), answer
        else:
            assert min(scores.matched(answer.reference, answer.value), default=1) > 0.3, answer


def test_phrasings_vary_with_the_seed_and_references_do_not(drawn: dict[str, Path], tmp_path: Path) -> None:
    first, same, other = (
        label_questions.load(questions("IDRiD", drawn["IDRiD"], tmp_path / f"{i}.jsonl", kinds="grade", seed=seed))
        for i, seed in enumerate((0, 0, 1))
    )
    assert first == same and [e["question"] for e in first] != [e["question"] for e in other]
    assert [e["reference"] for e in first] == [e["reference"] for e in other]
    assert len({e["question"] for e in first if e["scale"] == "ICDR"}) > 1
    with pytest.raises(UserError, match="did you mean 'grade'"):
        questions("IDRiD", drawn["IDRiD"], tmp_path / "x.jsonl", kinds="grades")
    with pytest.raises(UserError, match="answer no question of the kinds boxes"):
        questions("IDRiD", drawn["IDRiD"], tmp_path / "x.jsonl", kinds="boxes")


def test_closed_questions_of_vqa_are_asked_in_phrasings_that_it_does_not_use(drawn: dict[str, Path], tmp_path: Path) -> None:
    asked = label_questions.load(questions("RFMiD", drawn["RFMiD"], tmp_path / "q.jsonl", kinds=label_questions.CLOSED, seed=4))
    kinds = {entry["kind"] for entry in asked}
    assert kinds == set(label_questions.CLOSED)
    trained = {phrase.split("{")[0] for kind in ("choice", "choices") for phrase in wording.phrasings(kind, 4, exam=False)}
    assert not any(entry["question"].startswith(tuple(filter(None, trained))) for entry in asked)
    answers = pretend.write(asked, tmp_path / "a.jsonl", wrong=0, abstained=0)
    scored = scored_answers.score_answers("m", asked, answers)
    unread = ("The retina is a light", "Please see")
    assert [m.text for m in scored if not m.right and not m.text.startswith(unread)] == []
    tables = Tables(scored, 5)
    assert not tables.single.empty and not Tables(scored, 5).layout.empty


@pytest.mark.parametrize("way", ["swap", "blank"])
def test_the_blind_test_shows_who_does_not_look(way: str, drawn: dict[str, Path], tmp_path: Path) -> None:
    file = questions("IDRiD", drawn["IDRiD"], tmp_path / "q.jsonl", kinds=["grade", "quality"])
    asked = label_questions.load(file)
    hidden = label_questions.load(blind(file, tmp_path / "b.jsonl", way))
    assert [e["id"] for e in hidden] == [e["id"] for e in asked]
    assert all(a["image"] != b["image"] and Path(b["image"]).is_file() for a, b in zip(asked, hidden, strict=True))
    seen = pretend.write(asked, tmp_path / "seen.jsonl", wrong=0, abstained=0)
    answers = scored_answers.score_answers("m", asked, seen)
    same = Tables(answers).blinded(answers)
    assert list(same["same answer"]) == [1.0, 1.0] and list(same["without"]) == list(same["with its image"]) == [1.0, 1.0]
    with pytest.raises(UserError, match="unknown blind test 'squint'"):
        blind(file, tmp_path / "c.jsonl", "squint")


def test_an_evaluation_of_two_models_from_files(drawn: dict[str, Path], tmp_path: Path) -> None:
    file = questions("IDRiD", drawn["IDRiD"], tmp_path / "q.jsonl", limit=8)
    asked = label_questions.load(file)
    pretend.write(asked, tmp_path / "good.jsonl", wrong=0)
    pretend.write(asked[:-3], tmp_path / "bad.jsonl", wrong=0.9)
    given = {"question_file": str(file), "resamples": 20, "out_dir": str(tmp_path / "run"), "blind": "blank"}
    given |= {"harnesses": "inspect_ai, VLMEvalKit, lmms-eval", "boxes": "worse=qwen3-vl"}
    first = Evaluation.load(**given)
    (step,) = first.save()
    assert re.search(r"let a model answer them with retinal infer .* and the same for .*blank", step)
    assert first.tables.layout.empty and first.blinded.empty and first.examples.empty and first.confusions and first.gallery()
    first.require()
    found = Evaluation.load(**given, answers_files=f"better={tmp_path / 'good.jsonl'}, worse={tmp_path / 'bad.jsonl'}")
    assert list(found.tables.layout.index) == ["better", "worse"] and not found.made_up
    assert found.gallery(6)._repr_html_().count("<img ") == 6, "each wrong answer stands beside its image"
    assert float(found.tables.layout["IDRiD: grade (ICDR)"]["better"]) > float(
        found.tables.layout["IDRiD: grade (ICDR)"]["worse"]
    )
    assert sum(why == "was not asked" for why in found.tables.unread["why"]) == 3
    names = found.save()
    assert all((tmp_path / "run" / name).exists() for name in ("inspect_ai.jsonl", "VLMEvalKit.tsv", "lmms_eval"))
    assert sorted(names) == sorted(
        p.name
        for p in (tmp_path / "run").iterdir()
        if p.suffix in (".csv", ".jsonl") and not any(part in p.name for part in ("questions", "inspect"))
    )
    assert found.tables.compared["in words"].iloc[0].startswith("better ")
    rows = [json.loads(line) for line in (tmp_path / "run" / "marks.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 2 * len(asked) and {"reference", "value", "state", "why"} <= set(rows[0])
    found.require()
    assert (tmp_path / "run" / "layout.csv").read_text(encoding="utf-8").startswith("model,IDRiD: ")
    with pytest.raises(UserError, match="are missing or could not be read"):
        Evaluation.load(**given, answers_files=[str(tmp_path / "bad.jsonl")], max_unread=0.0).require()


def test_a_blind_test_that_cannot_be_made_is_told(drawn: dict[str, Path], tmp_path: Path) -> None:
    file = questions("IDRiD", drawn["IDRiD"], tmp_path / "q.jsonl", kinds="grade", limit=4)
    asked = label_questions.load(file)
    for name, rows in (("seen", asked), ("hidden", label_questions.load(blind(file, tmp_path / "b.jsonl")))):
        lines = [{"id": e["id"], "image": e["image"], "qa_pairs": [{"question": "?", "answer": "1"}]} for e in rows]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    seen, hidden = f"honest={tmp_path / 'seen.jsonl'}", f"honest={tmp_path / 'hidden.jsonl'}"
    given = {"question_file": str(file), "resamples": 5, "out_dir": str(tmp_path / "run")}
    assert len(Evaluation.load(**given, answers_files=seen, blind_answers=hidden).blinded) == 1
    for answers, blinded, said in (
        (
            seen,
            hidden.replace("honest", "honst"),
            r"the model 'honst', but answers_files names honest; .*did you mean 'honest'",
        ),
        (None, hidden, "the model 'honest', but answers_files names none"),
        (seen, seen, r"seen.jsonl: every answer is about its question's own image; the blind test wants"),
        (hidden, hidden, r"hidden.jsonl: every answer is about another image than its question's; answers to a blind test"),
    ):
        with pytest.raises(UserError, match=said):
            Evaluation.load(**given, answers_files=answers, blind_answers=blinded)


# --- other harnesses -------------------------------------------------------------------------------------------------------


def of_each_kind(folder: Path) -> list[dict]:
    """Questions of each kind on one picture."""
    picture = folder / "eye.png"
    Image.new("RGB", (40, 30), (120, 60, 20)).save(picture)
    lettered = "Which grade?\nA. none\nB. mild\nReply with one letter."
    kinds = {
        "option": {"question": lettered, "options": ["none", "mild"], "reference": "B"},
        "options": {"question": lettered, "options": ["none", "mild"], "reference": ["A", "B"]},
        "yes_no": {"reference": "no", "condition": "drusen"},
        "grade": {"reference": 2, "scale": "ICDR", "levels": [0, 1, 2, 3, 4]},
        "diseases": {"reference": [], "labels": ["drusen"]},
        "boxes": {"reference": [[0.1, 0.2, 0.3, 0.4]], "count": 1},
        "measurement": {"reference": 0.5, "unit": ""},
        "eye": {"reference": "left"},
    }
    base = {"image": str(picture), "dataset": "d", "subject": "s", "question": 'What?\tAnd "how"?'}
    return [base | {"id": kind, "kind": kind} | more for kind, more in kinds.items()]


ANSWERS = {"option": "B", "options": "A, B", "yes_no": "No.", "grade": "Grade 2.", "diseases": "Normal.", "eye": "left"}
ANSWERS |= {"boxes": "<box>[[100, 200, 300, 400]]</box>", "measurement": "0.5"}


@pytest.mark.parametrize(
    ("form", "name", "embed"),
    [
        ("inspect_ai", "i.jsonl", False),
        ("VLMEvalKit", "v.tsv", False),
        ("VLMEvalKit", "e.tsv", True),
        ("lmms-eval", "eyes", False),
    ],
)
def test_questions_come_back_from_the_forms_of_harnesses(form: str, name: str, embed: bool, tmp_path: Path) -> None:
    asked = of_each_kind(tmp_path)
    file = harnesses.write_harness(asked, form, tmp_path / name, embed)
    back = label_questions.load(file)
    pictures = {each["image"] for each in back}
    assert [each | {"image": ""} for each in back] == [each | {"image": ""} for each in asked]
    assert pictures == {asked[0]["image"]} if not embed else len(pictures) == 1, "a picture that stands once is one picture"
    assert all(Path(each).is_file() for each in pictures)
    with pytest.raises(UserError, match="did you mean 'VLMEvalKit'"):
        harnesses.write_harness(asked, "VLMEvalkit", tmp_path / "x")


@pytest.mark.parametrize("options", [["18", "29"], ["None", "mild"], ["true", "false"], ["0.10", "0.20"], ["none", "mild"]])
def test_options_stand_in_vlmevalkit_s_table_as_they_are_asked(options: list[str], tmp_path: Path) -> None:
    asked = of_each_kind(tmp_path)[0] | {"question": f"Which?\nA. {options[0]}\nB. {options[1]}\nA or B?", "options": options}
    file = harnesses.write_harness([asked], "VLMEvalKit", tmp_path / "v.tsv")
    (row,) = pd.read_csv(file, sep="\t").to_dict("records")  # as VLMEvalKit reads it
    shown = [f"{letter}. {row[letter]}" for letter in "AB" if letter in row]
    assert row["question"] == (asked["question"] if not shown else "Which?")
    assert not shown or shown == [f"A. {options[0]}", f"B. {options[1]}"]
    assert bool(shown) == (options == ["none", "mild"])
    (back,) = label_questions.load(file)
    assert back == asked


def test_answers_that_harnesses_kept_are_scored_by_the_same_reader(tmp_path: Path) -> None:
    asked = of_each_kind(tmp_path)
    kept = {}
    samples = [{"id": i, "output": {"choices": [{"message": {"content": t}}]}} for i, t in ANSWERS.items()]
    kept["inspect.json"] = json.dumps({"samples": samples})
    kept["predictions.tsv"] = "index\tid\tprediction\n" + "".join(
        f"{n}\t{i}\t{t}\n" for n, (i, t) in enumerate(ANSWERS.items())
    )
    kept["samples.jsonl"] = "".join(json.dumps({"doc": {"id": i}, "filtered_resps": [t]}) + "\n" for i, t in ANSWERS.items())
    for name, text in kept.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        found = scored_answers.score_answers("m", asked, tmp_path / name)
        assert [answer.score for answer in found] == pytest.approx([1.0] * len(asked)), name
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as log:
        for sample in samples:
            log.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
    assert len(scored_answers.score_answers("m", asked, tmp_path / "log.eval")) == len(asked)
    failed = {"status": "error", "error": {"message": "the server is gone"}, "samples": samples[:1]}
    (tmp_path / "failed.json").write_text(json.dumps(failed), encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "failed.eval", "w") as log:
        log.writestr("header.json", json.dumps({"status": "error", "error": {"message": "the server is gone"}}))
    with zipfile.ZipFile(tmp_path / "stopped.eval", "w") as log:
        log.writestr("_journal/start.json", "{}")
    for name, said in (
        ("failed.json", "'error' .the server is gone.*eval-retry"),
        ("failed.eval", "'error' .the server is gone"),
        ("stopped.eval", "the status 'started', so that answers are missing"),
    ):
        with pytest.raises(UserError, match=said):
            scored_answers.score_answers("m", asked, tmp_path / name)
    (tmp_path / "log.eval").write_text("no zip")
    with pytest.raises(UserError, match="inspect log dump"):
        scored_answers.score_answers("m", asked, tmp_path / "log.eval")


def test_the_task_folder_of_lmms_eval_scores_by_itself(tmp_path: Path) -> None:
    folder = harnesses.write_harness(of_each_kind(tmp_path), "lmms-eval", tmp_path / "eyes")
    spec = importlib.util.spec_from_file_location("utils_of_eyes", folder / "utils.py")
    utils = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(utils)
    rows = [json.loads(line) for line in (folder / "eyes.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {type(value) for row in rows for value in row.values()} == {str}, "one type a column, as Arrow needs it"
    for row in rows:
        assert utils.doc_to_visual(row)[0].size == (40, 30) and utils.doc_to_text(row) == row["question"]
        assert utils.process_results(row, [ANSWERS[row["id"]]]) == pytest.approx({"score": 1.0, "answered": 1.0})
        assert utils.process_results(row, ["?"]) == {"score": 0.0, "answered": 0.0}


def test_questions_that_others_wrote_are_read_or_refused(tmp_path: Path) -> None:
    asked = of_each_kind(tmp_path)
    held = base64.b64encode(Path(asked[0]["image"]).read_bytes()).decode()
    table = (
        f"index\timage\thint\tquestion\tA\tB\tanswer\n7\t{held}\tA fundus.\tWhich?\tmild\tsevere\tB\n8\t7\t\tIs it?\t\t\tYes\n"
    )
    (tmp_path / "theirs.tsv").write_text(table, encoding="utf-8")
    option, yes_no = label_questions.load(tmp_path / "theirs.tsv")
    assert (option["kind"], option["reference"], option["options"]) == ("option", "B", ["mild", "severe"])
    assert option["question"].startswith("A fundus.\nWhich?\nA. mild\nB. severe\n") and yes_no["reference"] == "yes"
    assert option["image"] == yes_no["image"] and Path(option["image"]).read_bytes() == Path(asked[0]["image"]).read_bytes()
    samples = [{"input": "Which?", "choices": ["mild", "severe"], "target": "severe", "metadata": {"image": "eye.png"}}]
    (tmp_path / "theirs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in samples), encoding="utf-8")
    (sample,) = label_questions.load(tmp_path / "theirs.jsonl")
    assert sample["reference"] == "B" and sample["image"] == asked[0]["image"]
    for change, said in (
        ({"target": "moderate"}, "'moderate' is none of its 2 choices"),
        ({"metadata": {}}, "names no image"),
        ({"choices": None}, "cannot be scored"),
    ):
        (tmp_path / "theirs.jsonl").write_text(json.dumps(samples[0] | change) + "\n", encoding="utf-8")
        with pytest.raises(UserError, match=said):
            label_questions.load(tmp_path / "theirs.jsonl")


def test_the_notebook_runs_as_typed(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("papermill"), NOTEBOOK, "-p", "dataset", "MICCAI_task1", "-p", "kinds", "grade"]
    command += ["-p", "out_dir", tmp_path / "run", "--no-progress-bar"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert {"evaluate.ipynb", "questions.jsonl", "single.csv", "marks.jsonl"} <= {p.name for p in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"datset": "IDRiD"}, "did you mean 'dataset'"),
        ({"dataset": "MMAC"}, "known: .*MICCAI_task1, MICCAI_task2.*mBRSET"),
        ({"question_file": "nowhere.jsonl"}, "cannot be read"),
        ({"answers_files": "nowhere.jsonl", "dataset": "IDRiD"}, "nowhere.jsonl does not exist"),
        ({"dataset": "IDRiD, RFMiD", "data_root": "."}, "data_root belongs to one dataset"),
    ],
)
def test_wrong_parameters_are_told(given: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        Evaluation.load(**{"out_dir": str(tmp_path)} | given)
