"""Pictures with the boxes of their lesions, as JPEG."""

import io
from collections.abc import Iterable
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw

from retinal_lib.facts import Fact
from retinal_lib.imaging import drawing, images
from retinal_lib.imaging.drawing import Hue

SIDE = 1000  # longest side of a picture, in pixels
_HIGHLIGHT = "#ffffff"
_QUALITY = 85
_ZOOM_SIDE = 360  # pixels of the zoom
_MIN_LESION = 24  # pixels: a smaller lesion is shown with more around it
_MAX_ZOOMED = 1 / 3  # of the picture's width: a zoom of more would show lesions smaller than the picture
_GAP = 3  # pixels between a lesion and the line of its box

Box = tuple[float, float, float, float]  # left, top, right, bottom as fractions of the picture


def boxes(facts: Iterable[Fact]) -> list[Fact]:
    """Returns the facts that are boxes: their value is left, top, right, bottom as fractions of the picture."""
    return [fact for fact in facts if fact.name.endswith("_box")]


def lesion_hues(facts: Iterable[Fact]) -> dict[str, Hue]:
    """Returns the hue of each kind of box by its words: lesion types first, then landmarks (no fact counts them) in white."""
    facts = list(facts)
    counted = {fact.name for fact in facts}
    kinds = {fact.words: fact.name.removesuffix("_box") for fact in boxes(facts)}
    hues = drawing.hues(kind for kind in kinds.values() if kind in counted)
    lesions = {words: hues[kind] for words, kind in kinds.items() if kind in hues}
    return lesions | {words: Hue(drawing.LANDMARK) for words in kinds if words not in lesions}


def legend(colours: dict[str, str]) -> str:
    """Returns a legend of the lesion types and the colours of their boxes, as HTML."""
    return " ".join(
        f'<span class="rl-key" style="border-color:{colour}">{escape(words)}</span>' for words, colour in colours.items()
    )


class Picture:
    """A picture as reviewers see it: `pixels` with a longest side of at most `side`, the facts that are `boxes`, the `colours`
    of lesion types by words, and the `jpeg` with all boxes. UserError: the file cannot be read."""

    def __init__(self, path: Path, facts: Iterable[Fact], side: int = SIDE):
        self.path = path
        pixels = images.load_upright(path, side)
        self.pixels = Image.new("RGB", pixels.size)  # a new image has none of the file's metadata
        self.pixels.paste(pixels)
        facts = list(facts)
        self.boxes = boxes(facts)
        self.colours = {words: hue.colour for words, hue in lesion_hues(facts).items()}
        self.jpeg = self.to_jpeg()

    def to_jpeg(self, highlighted: Box | None = None, boxes: bool = True) -> bytes:
        """Returns the picture as JPEG, with or without its boxes; the box `highlighted` is marked with white lines."""
        copy = self.pixels.copy()
        pen = ImageDraw.Draw(copy)
        facts = self.boxes if boxes else []
        edges = drawing.frames([fact.value for fact in facts], copy.size, _GAP).tolist()
        for fact, frame in zip(facts, edges, strict=True):
            if tuple(fact.value) != highlighted:
                pen.rectangle(frame, outline=self.colours[fact.words], width=2)
        if highlighted:
            colour = next((self.colours[fact.words] for fact in facts if tuple(fact.value) == highlighted), drawing.COLOURS[0])
            left, top, right, bottom = drawing.frames([highlighted], copy.size, 2 * _GAP)[0].tolist()
            pen.rectangle((left - _GAP, top - _GAP, right + _GAP, bottom + _GAP), outline=_HIGHLIGHT, width=3)
            pen.rectangle((left, top, right, bottom), outline=colour, width=3)
            across, down = (left + right) / 2, (top + bottom) / 2
            pen.line((0, down, left - _GAP, down), fill=_HIGHLIGHT)
            pen.line((across, 0, across, top - _GAP), fill=_HIGHLIGHT)
        return _jpeg(copy)

    def zoom(self, box: Box) -> bytes:
        """Returns a box and its surroundings at full resolution, as JPEG, enlarged if they are small; b"" for a box so
        large that it would be smaller here than in the picture. UserError: the file can no longer be read."""
        pixels = images.load_upright(self.path, images.MAX_PIXELS)
        left, top, right, bottom = drawing.frames([box], pixels.size, 0)[0].tolist()
        side, most = max(right - left, bottom - top, _MIN_LESION), pixels.width * _MAX_ZOOMED
        if side > most:
            return b""
        half = min(side * 3, most) / 2
        across, down = (left + right) / 2, (top + bottom) / 2
        part = pixels.crop(tuple(round(edge) for edge in (across - half, down - half, across + half, down + half)))
        return _jpeg(part.resize((_ZOOM_SIDE, _ZOOM_SIDE), Image.Resampling.BICUBIC))


def _jpeg(pixels: Image.Image) -> bytes:
    file = io.BytesIO()
    pixels.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
