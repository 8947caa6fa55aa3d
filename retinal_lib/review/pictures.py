"""A picture with the boxes of its lesions drawn in, as JPEG; the next ones are made ready while somebody looks at one."""

import io
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from retinal_lib import drawing
from retinal_lib import images as picture
from retinal_lib.check.language import lexicon as vocabulary
from retinal_lib.facts import Fact

SIDE = 1000  # longest side of a shown picture, in pixels
_LIT = "#ffffff"
_KEPT = 12  # pictures in memory
_QUALITY = 85
_CLOSE = 360  # pixels of a closer look
_LEAST = 24  # pixels: a smaller lesion is shown with more around it
_ROOM = 3  # pixels between a lesion and its line


class Ready(NamedTuple):
    """A picture as shown: its file, its pixels, its boxes as facts, and the JPEG with all of them drawn in."""

    path: Path
    pixels: Image.Image
    boxes: list[Fact]
    jpeg: bytes


def colours(boxes: Iterable[Fact]) -> dict[str, str]:
    """Lesion type in words -> the colour of its boxes, as in the figures; landmarks are white."""
    kinds = {fact.name.removesuffix("_box"): fact.words for fact in boxes}
    lesions = [kind for kind, words in kinds.items() if vocabulary.conditions(words)]
    hues = drawing.hues(lesions)
    return {words: hues[kind].colour if kind in hues else drawing.LANDMARK for kind, words in kinds.items()}


def prepare(path: Path, boxes: list[Fact], side: int = SIDE) -> Ready:
    """The picture at most `side` pixels long with its boxes. UserError: it cannot be read."""
    pixels = picture.upright(path, side)
    bare = Image.new("RGB", pixels.size)  # without what the file says of itself
    bare.paste(pixels)
    return Ready(path, bare, boxes, drawn(bare, boxes))


def drawn(pixels: Image.Image, boxes: list[Fact], lit: Iterable[tuple[float, ...]] = ()) -> bytes:
    """A copy with the boxes drawn in, as JPEG; those in `lit` (left, top, right, bottom as shares) stand out."""
    copy = pixels.copy()
    pen, of = ImageDraw.Draw(copy), colours(boxes)
    lit = {tuple(box) for box in lit}
    for fact in boxes:
        if tuple(fact.value) not in lit:
            pen.rectangle(_edges(fact.value, copy.size), outline=of[fact.words], width=2)
    for box in lit:
        left, top, right, bottom = _edges(box, copy.size)
        colour = next((of[fact.words] for fact in boxes if tuple(fact.value) == box), drawing.COLOURS[0])
        pen.rectangle((left - 6, top - 6, right + 6, bottom + 6), outline=_LIT, width=3)
        pen.rectangle((left - 3, top - 3, right + 3, bottom + 3), outline=colour, width=3)
        across, down = (left + right) / 2, (top + bottom) / 2
        pen.line((0, down, left - 6, down), fill=_LIT)
        pen.line((across, 0, across, top - 6), fill=_LIT)
    file = io.BytesIO()
    copy.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def closer(path: Path, box: tuple[float, ...]) -> bytes:
    """What lies in a box and around it at full resolution, as JPEG, enlarged where it is small. UserError: as `prepare`."""
    pixels = picture.upright(path, picture.MOST_PIXELS)
    left, top, right, bottom = (edge * pixels.size[place % 2] for place, edge in enumerate(box))
    half = max(right - left, bottom - top, _LEAST) * 1.5
    across, down = (left + right) / 2, (top + bottom) / 2
    cut = pixels.crop(tuple(round(edge) for edge in (across - half, down - half, across + half, down + half)))
    file = io.BytesIO()
    cut.resize((_CLOSE, _CLOSE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _edges(box: tuple[float, ...], size: tuple[int, int]) -> tuple[float, ...]:
    return tuple(drawing.frames([box], size, _ROOM)[0].tolist())


class Shelf:
    """Pictures made ready ahead of time, one after the other, in a thread; the latest are kept."""

    def __init__(self, make: Callable[[Hashable], Ready]):
        self._make, self._made = make, OrderedDict[Hashable, Future]()
        self._worker = ThreadPoolExecutor(1, "pictures")

    def order(self, key: Hashable) -> Future:
        """Has a picture made, unless it is there or under way."""
        if key not in self._made:
            self._made[key] = self._worker.submit(self._make, key)
        self._made.move_to_end(key)
        while len(self._made) > _KEPT:
            self._made.popitem(last=False)[1].cancel()
        return self._made[key]

    def take(self, key: Hashable, then: Iterable[Hashable] = ()) -> Ready:
        """A picture, waited for where need be; `then` are made next. UserError: it cannot be read."""
        future = self.order(key)
        for other, waiting in list(self._made.items()):  # what is asked for now goes before what may be asked for later
            if other != key and not future.done() and waiting.cancel():
                del self._made[other]
        try:
            found = future.result()
        except BaseException:
            self._made.pop(key, None)  # the file may be mended
            raise
        for other in then:
            self.order(other)
        return found

    def close(self) -> None:
        """Ends the thread."""
        self._worker.shutdown(wait=False, cancel_futures=True)
