"""Boxes in the notations of vision-language models: written, read back, and as models' own processors have them."""

import json
import random
from pathlib import Path

import pytest
from PIL import Image
from test_trainers import entry, lines, put

from retinal_lib import UserError
from retinal_lib.__main__ import main
from retinal_lib.closed_questions.wording import words
from retinal_lib.export.box_texts import rewritten
from retinal_lib.export.trainers import export
from retinal_lib.text import box_notation

SIZES = [(4288, 2848), (1024, 1024), (37, 29), (28, 28), (9000, 9000), (50, 2000), (1013, 683)]


def boxes(number: int) -> list[tuple[float, float, float, float]]:
    """Boxes of all sizes, some far smaller than a step of any notation, some at the border."""
    dice, found = random.Random(5), [(0.0, 0.0, 1.0, 1.0), (0.9999, 0.9999, 1.0, 1.0), (0.0, 0.0, 1e-5, 1e-5)]
    for _ in range(number):
        left, top, width, height = (dice.random() for _ in range(4))
        scale = dice.choice([1, 0.01, 0.0002])
        found.append((left, top, min(1.0, left + 1e-6 + width * scale), min(1.0, top + 1e-6 + height * scale)))
    return found


@pytest.mark.parametrize("form", box_notation.FORMS)
@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_read_back_within_a_step(form: str, size: tuple[int, int]) -> None:
    steps = box_notation.resized(size) if box_notation.needs_size(form) else (1000, 1000)
    most = 2 if form == "loc" else 1  # <loc1023> is the last one, so that a thin box at the border moves
    for box in boxes(60):
        text = f"One lies at {box_notation.write(form, box, size)}."
        (again,) = box_notation.read(text, form, size)
        assert all(abs(a - b) * steps[k % 2] <= most for k, (a, b) in enumerate(zip(again, box, strict=True)))
        assert 0 <= again[0] < again[2] <= 1 and 0 <= again[1] < again[3] <= 1
        assert box_notation.write(form, again, size) == box_notation.write(form, box, size)


@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_those_of_the_model_s_own_processor(size: tuple[int, int]) -> None:
    processing = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    height, width = processing.smart_resize(size[1], size[0], 28, 3136, 12_845_056)
    if max(size) < 2000:  # the processor itself counts patches of 14 pixels
        prepare = processing.Qwen2VLImageProcessorPil(min_pixels=3136, max_pixels=12_845_056)
        grid = prepare(images=[Image.new("RGB", size)], return_tensors="np")["image_grid_thw"][0]
        assert [14 * int(side) for side in grid[1:]] == [height, width]
    assert box_notation.resized(size) == (width, height)
    for left, top, right, bottom in boxes(20):
        text = box_notation.write("qwen2.5-vl", (left, top, right, bottom), size)
        edges = [int(edge) for edge in text.strip("[]").split(", ")]
        exact = [left * width, top * height, right * width, bottom * height]
        assert max(abs(a - b) for a, b in zip(edges, exact, strict=True)) <= 1


def test_models_write_several_boxes_as_json_and_in_one_tag() -> None:
    answer = '```json\n[{"bbox_2d": [10, 20, 30, 40], "label": "drusen"}, {"bbox_2d": [50,60,70,80]}]\n```'
    assert box_notation.read(answer, "qwen3-vl") == [(0.01, 0.02, 0.03, 0.04), (0.05, 0.06, 0.07, 0.08)]
    answer = "<ref>drusen</ref><box>[[10, 20, 30, 40], [50, 60, 70, 80]]</box>"
    assert box_notation.read(answer, "internvl") == [(0.01, 0.02, 0.03, 0.04), (0.05, 0.06, 0.07, 0.08)]
    assert box_notation.read("<loc0000><loc0512><loc0256><loc1023> disc", "loc") == [(0.5, 0.0, 1023 / 1024, 0.25)]
    assert box_notation.read("There are none [1, 2].", "qwen3-vl") == []


def test_what_cannot_be_written_is_said() -> None:
    with pytest.raises(UserError, match=r"unknown notation of boxes 'qwen4'.*qwen2.5-vl"):
        box_notation.write("qwen4", (0.1, 0.1, 0.2, 0.2))
    with pytest.raises(ValueError, match="size"):
        box_notation.write("qwen2.5-vl", (0.1, 0.1, 0.2, 0.2))
    with pytest.raises(ValueError, match="no box"):
        box_notation.write("loc", (0.3, 0.1, 0.2, 0.2))
    with pytest.raises(ValueError, match="too narrow"):
        box_notation.resized((10, 3000))


# --- in exports ------------------------------------------------------------------------------------------------------

ASKED = "In which boxes [x_min, y_min, x_max, y_max] (fractions of the image's width and height) do the drusen lie?"
TOLD = "In [0.2500, 0.1000, 0.5000, 0.3000] and [0.61, 0.02, 0.62, 0.04]; the fovea at (0.5, 0.4)."


@pytest.fixture
def located(tmp_path: Path) -> Path:
    """A run with boxes, whose picture has 4288 x 2848 pixels."""
    Image.new("L", (4288, 2848)).save(tmp_path / "a.png")
    (tmp_path / "my").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "my" / "a.png")
    talk = entry("a", ASKED, TOLD, "Which holds the disc?\nA) [0.1, 0.1, 0.2, 0.2]\nB) [0, 0.5, 0.25, 1.0]", "B")
    return put(tmp_path / "run", [talk], {"my-a": "train"})


@pytest.mark.parametrize("form", box_notation.FORMS)
def test_texts_of_an_export_have_the_boxes_of_a_notation(form: str, located: Path) -> None:
    main(["export", str(located), "--form", "llava", "--boxes", form, "--images", str(located.parent)])
    ((row,),) = (json.loads(file.read_bytes()) for file in (located / "exports" / "llava").glob("train.json"))
    question, answer, choice, letter = (part["value"] for part in row["conversations"])
    assert (question, letter) == ("In which boxes do the drusen lie?\n<image>", "B")
    size = box_notation.resized((4288, 2848)) if form == "qwen2.5-vl" else (1000, 1000)
    step = [1 / side for side in size * 2]
    for text, boxes in (
        (answer, [(0.25, 0.1, 0.5, 0.3), (0.61, 0.02, 0.62, 0.04)]),
        (choice, [(0.1, 0.1, 0.2, 0.2), (0, 0.5, 0.25, 1)]),
    ):
        found = box_notation.read(text, form, (4288, 2848))
        assert len(found) == len(boxes)
        for one, other in zip(found, boxes, strict=True):
            assert all(abs(a - b) <= within for a, b, within in zip(one, other, step, strict=True))
    assert answer.endswith("; the fovea at (0.5, 0.4).") and answer.startswith("In ") and "0.25" not in answer


def test_ms_swift_gets_boxes_as_shares_apart_from_the_text(located: Path) -> None:
    export([located], "ms-swift")
    (row,) = lines(located / "exports" / "ms-swift" / "train.jsonl")
    texts = [message["content"] for message in row["messages"]]
    assert texts[0] == "<image>In which boxes do the drusen lie?" and row["images"] == ["my/a.png"]
    assert texts[1] == "In <bbox> and <bbox>; the fovea at (0.5, 0.4)." and texts[2].endswith("A) <bbox>\nB) <bbox>")
    assert row["objects"]["bbox"] == [[0.25, 0.1, 0.5, 0.3], [0.61, 0.02, 0.62, 0.04], [0.1, 0.1, 0.2, 0.2], [0, 0.5, 0.25, 1]]
    assert row["objects"]["bbox_type"] == "norm1" and sum(text.count("<bbox>") for text in texts) == 4


def test_notations_that_cannot_be_are_said(located: Path) -> None:
    with pytest.raises(UserError, match="boxes in pixels need the pictures: add --pictures"):
        export([located], "llava", boxes="qwen2.5-vl")
    with pytest.raises(UserError, match=r"unknown notation of boxes 'qwen'"):
        export([located], "llava", boxes="qwen")
    with pytest.raises(UserError, match="leave out --boxes"):
        export([located], "ms-swift", boxes="loc")


def test_no_question_asks_for_fractions_of_a_model_s_own_boxes() -> None:
    phrases = [phrase for kind in words()["questions"].values() for phrase in kind if "fraction" in phrase or "x_min" in phrase]
    assert len(phrases) > 9
    for phrase in phrases:
        left = rewritten(f"{phrase}\nA) [0.1, 0.2, 0.3, 0.4]", lambda box: "B")
        assert not [part for part in ("fraction", "x_min", "0 to 1", " ,", "  ", "()") if part in left], left
