"""Boxes as vision-language models write them, both ways. Here a box is (x_min, y_min, x_max, y_max) in shares of the picture.

>>> box = (0.25, 0.1, 0.5, 0.3)
>>> for form in FORMS:
...     print(f"{form}: {write(form, box, (1000, 700))}")
qwen2.5-vl: [252, 70, 504, 210]
qwen3-vl: [250, 100, 500, 300]
internvl: <box>[[250, 100, 500, 300]]</box>
loc: <loc0102><loc0256><loc0307><loc0512>
>>> read("They lie at <loc0102><loc0256><loc0307><loc0512>.", "loc")
[(0.25, 0.099609375, 0.5, 0.2998046875)]
"""

import math
import re
from typing import NamedTuple

from retinal_lib.errors import unknown

Box = tuple[float, float, float, float]
Size = tuple[int, int]  # width, height of the picture in pixels, as the trainer finds it

_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_BRACKETS = re.compile(rf"\[{','.join([_NUMBER] * 4)}\]")
_LOC = re.compile(r"<loc(\d{4})>\s*" * 4)
# Qwen2.5-VL's released image processor: sides are multiples of 28 pixels, and the picture has so many pixels
_FACTOR, _FEWEST, _MOST = 28, 3136, 12_845_056


class _Form(NamedTuple):
    """A notation: its template, the pattern it is read by, the number of steps along a side (None: pixels as the model sees
    them), the highest number, and whether y stands before x."""

    template: str
    pattern: re.Pattern
    steps: int | None
    highest: int | None
    y_first: bool = False


_PLAIN = "[{}, {}, {}, {}]"
FORMS = {
    "qwen2.5-vl": _Form(_PLAIN, _BRACKETS, None, None),
    "qwen3-vl": _Form(_PLAIN, _BRACKETS, 1000, 1000),
    "internvl": _Form(f"<box>[{_PLAIN}]</box>", _BRACKETS, 1000, 1000),
    "loc": _Form("<loc{:04}><loc{:04}><loc{:04}><loc{:04}>", _LOC, 1024, 1023, y_first=True),
}


def needs_size(form: str) -> bool:
    """Says whether boxes in a notation depend on the picture's size. UserError: an unknown notation."""
    return _form(form).steps is None


def write(form: str, box: Box, size: Size | None = None) -> str:
    """Writes a box in whole numbers: in pixels of the picture after Qwen2.5-VL's own resize (`size` is then needed), of 1000,
    or as PaliGemma's tokens. No side becomes empty. UserError: an unknown notation. ValueError: no size, or no such box."""
    if not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
        raise ValueError(f"{box} is no box in shares of a picture")
    spec = _form(form)
    (left, right), (top, bottom) = (
        _side(low, high, steps, steps if spec.highest is None else spec.highest)
        for low, high, steps in zip(box[:2], box[2:], _steps(spec, size), strict=True)
    )
    edges = (top, left, bottom, right) if spec.y_first else (left, top, right, bottom)
    return spec.template.format(*edges)


def read(text: str, form: str, size: Size | None = None) -> list[Box]:
    """Reads all boxes of a text in a notation, also within JSON ("bbox_2d"), as shares in the text's order; edges may lie
    outside the picture or in a wrong order, as the text has them. UserError: an unknown notation. ValueError: no size."""
    spec = _form(form)
    across, down = _steps(spec, size)
    found = []
    for match in spec.pattern.finditer(text):
        first, second, third, fourth = map(float, match.groups())
        edges = (second, first, fourth, third) if spec.y_first else (first, second, third, fourth)
        found.append((edges[0] / across, edges[1] / down, edges[2] / across, edges[3] / down))
    return found


def resized(size: Size) -> Size:
    """Computes the width and height, in pixels, to which Qwen2.5-VL's image processor brings a picture. ValueError: one side is
    more than 200 times the other, which it refuses."""
    if max(size) > 200 * min(size):
        raise ValueError(f"a picture of {size[0]} x {size[1]} pixels is too narrow for Qwen2.5-VL")
    area = size[0] * size[1]
    width, height = (round(side / _FACTOR) * _FACTOR for side in size)
    if width * height > _MOST:
        scale = math.sqrt(_MOST / area)
        width, height = (max(1, math.floor(side * scale / _FACTOR)) * _FACTOR for side in size)
    elif width * height < _FEWEST:
        scale = math.sqrt(_FEWEST / area)
        width, height = (math.ceil(side * scale / _FACTOR) * _FACTOR for side in size)
    return width, height


def _form(form: str) -> _Form:
    if form not in FORMS:
        raise unknown("notation of boxes", form, FORMS)
    return FORMS[form]


def _steps(spec: _Form, size: Size | None) -> tuple[int, int]:
    """The numbers along the width and the height."""
    if spec.steps is not None:
        return spec.steps, spec.steps
    if size is None:
        raise ValueError("boxes in pixels need the picture's size")
    return resized(size)


def _side(low: float, high: float, steps: int, highest: int) -> tuple[int, int]:
    """The two edges of a side, at least one step apart."""
    first, last = min(round(low * steps), highest), min(round(high * steps), highest)
    if first == last:
        first = min(math.floor(low * steps), highest - 1)
        last = first + 1
    return first, last
