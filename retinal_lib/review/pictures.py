"""Pictures with the boxes of their lesions drawn in, as JPEG; the next ones are rendered in the background."""

import io
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from PIL import Image, ImageDraw

from retinal_lib import drawing, figures, images
from retinal_lib.facts import Fact

SIDE = 1000  # longest side of a picture, in pixels
_LIT = "#ffffff"
_KEPT = 12  # pictures in memory
_QUALITY = 85
_CLOSE = 360  # pixels of a closer look
_LEAST = 24  # pixels: a smaller lesion is shown with more around it
_GAP = 3  # pixels between a lesion and its line

Box = tuple[float, float, float, float]  # left, top, right, bottom as fractions of the picture


class Picture:
    """A picture as reviewers see it: `pixels` at most `side` long, the facts that are `boxes`, the `colours` of their lesion
    types by words, and the `jpeg` with all boxes drawn in. UserError: the file cannot be read."""

    def __init__(self, path: Path, facts: Iterable[Fact], side: int = SIDE):
        self.path = path
        pixels = images.load_upright(path, side)
        self.pixels = Image.new("RGB", pixels.size)  # a new image has none of the file's own remarks
        self.pixels.paste(pixels)
        facts = list(facts)
        self.boxes = figures.boxes(facts)
        self.colours = {words: hue.colour for words, hue in figures.lesion_hues(facts).items()}
        self.jpeg = self.to_jpeg()

    def to_jpeg(self, highlighted: Box | None = None, boxes: bool = True) -> bytes:
        """Returns a copy as JPEG, with the boxes drawn in if wanted; the box `highlighted` stands out."""
        copy = self.pixels.copy()
        pen = ImageDraw.Draw(copy)
        shown = self.boxes if boxes else []
        edges = drawing.frames([fact.value for fact in shown], copy.size, _GAP).tolist()
        for fact, frame in zip(shown, edges, strict=True):
            if tuple(fact.value) != highlighted:
                pen.rectangle(frame, outline=self.colours[fact.words], width=2)
        if highlighted:
            colour = next((self.colours[fact.words] for fact in shown if tuple(fact.value) == highlighted), drawing.COLOURS[0])
            left, top, right, bottom = drawing.frames([highlighted], copy.size, 2 * _GAP)[0].tolist()
            pen.rectangle((left - _GAP, top - _GAP, right + _GAP, bottom + _GAP), outline=_LIT, width=3)
            pen.rectangle((left, top, right, bottom), outline=colour, width=3)
            across, down = (left + right) / 2, (top + bottom) / 2
            pen.line((0, down, left - _GAP, down), fill=_LIT)
            pen.line((across, 0, across, top - _GAP), fill=_LIT)
        return _jpeg(copy)

    def zoom(self, box: Box) -> bytes:
        """Returns what lies in a box and around it at full resolution, as JPEG, enlarged where it is small. UserError: the
        file cannot be read any more."""
        pixels = images.load_upright(self.path, images.MAX_PIXELS)
        left, top, right, bottom = drawing.frames([box], pixels.size, 0)[0].tolist()
        half = max(right - left, bottom - top, _LEAST) * 1.5
        across, down = (left + right) / 2, (top + bottom) / 2
        part = pixels.crop(tuple(round(edge) for edge in (across - half, down - half, across + half, down + half)))
        return _jpeg(part.resize((_CLOSE, _CLOSE), Image.Resampling.BICUBIC))


def _jpeg(pixels: Image.Image) -> bytes:
    file = io.BytesIO()
    pixels.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


class PictureCache:
    """Renders the next pictures in a background thread, one after the other; the latest are kept."""

    def __init__(self, make: Callable[[Hashable], Picture]):
        self._make, self._futures = make, OrderedDict[Hashable, Future]()
        self._worker = ThreadPoolExecutor(1, "pictures")

    def order(self, key: Hashable) -> Future:
        """Orders a picture, unless it is there or being rendered."""
        if key not in self._futures:
            self._futures[key] = self._worker.submit(self._make, key)
        self._futures.move_to_end(key)
        while len(self._futures) > _KEPT:
            self._futures.popitem(last=False)[1].cancel()
        return self._futures[key]

    def take(self, key: Hashable, following: Iterable[Hashable] = ()) -> Picture:
        """Returns a picture, waiting for it where need be; the `following` are rendered next. UserError: it cannot be read."""
        future = self.order(key)
        for other, waiting in list(self._futures.items()):  # what is asked for now goes before what may be asked for later
            if other != key and not future.done() and waiting.cancel():
                del self._futures[other]
        try:
            picture = future.result()
        except BaseException:
            self._futures.pop(key, None)  # the file may be mended
            raise
        for other in following:
            self.order(other)
        return picture

    def close(self) -> None:
        """Ends the thread."""
        self._worker.shutdown(wait=False, cancel_futures=True)
