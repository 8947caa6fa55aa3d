"""Boxes in the notations of vision-language models: written, read back, and as models' own processors have them."""

import random

import pytest
from PIL import Image

from retinal_lib import box_notation
from retinal_lib.errors import UserError

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
