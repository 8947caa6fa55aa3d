"""Mask files as published, read to marked pixels, and the connected lesions of these.

A pixel is marked if it differs from the ground, whatever the file's form. The ground is what a page states or, without that,
what lies along the picture's border. A file that could be read in two ways is refused: what is told must be so.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retinal_lib.errors import UserError
from retinal_lib.imaging import images

Value = int | str  # a grey value or a palette's index; or a colour, "#ff0000"
_BLACK = 0xFF000000  # opaque, as `_Coded.codes` has it
_BORDER = 0.75  # the share of the border that the ground must hold
_FAINT, _SAME = 0.25, 0.1  # shares of the strongest mark: what is fainter is noise; how unlike two marks of one colour may be
_REACH = 16  # pixels around a mark in which JPEG's noise lies: its blocks are so large at most
_SHOWN = 6  # values in a message
_TURNED = 5  # from this EXIF orientation on, width and height are exchanged


class Coding(NamedTuple):
    """What a page states of its masks' values: those of the `mark`, those known to be something `other`, the `ground`, and
    the least difference from the ground, in any channel, that marks a pixel. What is empty or None is found out."""

    mark: tuple[Value, ...] = ()
    other: tuple[Value, ...] = ()
    ground: Value | None = None
    threshold: int | None = None


class Pixels(NamedTuple):
    """The marked pixels of a mask in reading order: `rows`, `columns`, and in `owners` the number of the lesion that each
    belongs to; int32 [n]."""

    rows: np.ndarray
    columns: np.ndarray
    owners: np.ndarray


class Frame(NamedTuple):
    """A picture's (width, height) as people see it, upright, and the EXIF orientation of its stored pixels: 1 to 8."""

    size: tuple[int, int]
    orientation: int


class Unclear(Exception):
    """Raised where a mask could be read in two ways; the message says why."""


class _Coded(NamedTuple):
    """A mask's pixels as numbers [height, width]: grey values, a palette's indexes, or four channels in one number; and, of a
    palette, its colours [256, 4]."""

    codes: np.ndarray
    packed: bool
    palette: np.ndarray | None

    def channels(self, codes: np.ndarray) -> np.ndarray:
        """The channels of some codes [n], float64 [n, channels]."""
        if self.palette is not None:
            return self.palette[codes].astype(np.float64)
        if self.packed:
            return np.ascontiguousarray(codes, "<u4").view(np.uint8).reshape(-1, 4).astype(np.float64)
        return codes.astype(np.float64)[:, None]

    def named(self, codes: Iterable) -> str:
        """Some codes as a page writes them."""
        codes = list(codes)
        if self.packed:
            names = ["#" + bytes(self.channels(np.array([c]))[0, :3].astype(np.uint8)).hex() for c in codes[:_SHOWN]]
            names = list(dict.fromkeys(names))
        else:
            names = [f"{code:g}" for code in codes[:_SHOWN]]
        return ", ".join(names) + (f" and {len(codes) - _SHOWN} more" if len(codes) > _SHOWN else "")

    def fits(self, codes: np.ndarray, values: Iterable[Value]) -> np.ndarray:
        """Says which of some codes [n] are one of the values that a page states, bool [n]."""
        fitting, channels = np.zeros(len(codes), bool), self.channels(codes)
        for value in values:
            if isinstance(value, str):
                colour = np.frombuffer(bytes.fromhex(value.removeprefix("#")), np.uint8)
                fitting |= (channels[:, :3] == colour).all(axis=1)
            elif self.packed:
                fitting |= (channels[:, :3] == value).all(axis=1)
            else:
                fitting |= codes == value
        return fitting


class _Levels(NamedTuple):
    """The values of a mask that has more than two: their codes and channels, how `far` each is from the ground [n], and the
    number of each pixel's value [height, width]."""

    values: np.ndarray
    channels: np.ndarray
    far: np.ndarray
    places: np.ndarray


def frame(path: Path) -> Frame:
    """Returns how an image file is seen, its pixels not read. UserError: it cannot be read."""
    try:
        with images.open_image(path) as image:
            orientation = images.orientation(image)
            return Frame(image.size if orientation < _TURNED else image.size[::-1], orientation)
    except UserError as error:
        raise UserError(f"{path}: the image cannot be read ({error})") from error


def size(path: Path) -> tuple[int, int]:
    """Returns width and height of an image file as people see it. UserError: it cannot be read."""
    return frame(path).size


def turn_of(mask: tuple[int, int], picture: Frame) -> int:
    """Returns the EXIF orientation by which a mask of a size must be turned to lie on a picture: 1, or that of the picture
    where the mask has the shape of its stored pixels. Unclear: the mask may be of the stored or of the turned picture."""
    if picture.orientation == 1:
        return 1
    if picture.orientation < _TURNED or same_shape(picture.size, picture.size[::-1]):
        orientation = f"the picture is turned by its EXIF orientation {picture.orientation}"
        raise Unclear(f"{orientation}, and its mask may be of the stored or of the turned picture; save both upright")
    return picture.orientation if same_shape(mask, picture.size[::-1]) else 1


def same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Says whether two pictures have the same width for their height."""
    return abs(size[0] / size[1] - other[0] / other[1]) <= 0.01


def read(path: Path, coding: Coding = Coding(), turn: int = 1) -> np.ndarray:  # noqa: B008 (it cannot change)
    """Reads the marked pixels of a mask file, bool [height, width], turned by an EXIF orientation. UserError: the file cannot
    be read as an image, or its values could be read in two ways."""
    try:
        with images.open_image(path) as image:
            pages = getattr(image, "n_frames", 1)
            coded = _coded(images.upright(image)) if pages == 1 else None
    except UserError as error:
        raise UserError(f"{path}: the mask cannot be read ({error})") from error
    try:
        if coded is None:
            raise Unclear(f"the file has {pages} pages, and one is needed")
        marked = _stated(coded, coding) if coding.mark else _found(coded, coding)
        _check_extent(marked)
    except Unclear as why:
        raise UserError(f"{path}: the mask is not told: {why}") from why
    return np.ascontiguousarray(_TURNS[turn](marked)) if turn > 1 else marked


_TURNS = {5: np.transpose, 6: lambda m: np.rot90(m, -1), 7: lambda m: np.rot90(m, 2).T, 8: np.rot90}


def _coded(image: images.Image.Image) -> _Coded:
    if image.mode == "P":
        strip = image.resize((256, 1))
        strip.putdata(range(256))
        return _Coded(np.asarray(image), False, np.asarray(strip.convert("RGBA"))[0])
    if len(image.getbands()) == 1:
        values = np.asarray(image)
        return _Coded(values.view(np.uint8) if values.dtype == bool else values, False, None)
    if image.mode not in ("CMYK", "RGBA"):
        image = (image.convert("RGB") if image.mode in ("YCbCr", "LAB", "HSV") else image).convert("RGBA")
    pixels = np.array(image)
    if image.mode == "RGBA":
        clear = pixels[..., 3] == 0
        if clear.all():
            pixels[..., 3] = 255  # where all is transparent, the colours alone can mean something
        elif clear.any():
            pixels[clear] = 0  # nobody sees the colour of what is transparent
    return _Coded(pixels.view("<u4")[..., 0], True, None)


def _stated(coded: _Coded, coding: Coding) -> np.ndarray:
    """The pixels of the values that the page calls the mark. Unclear: there are values that it says nothing of."""
    values, places = np.unique(coded.codes, return_inverse=True)
    is_mark = coded.fits(values, coding.mark)
    known = (*coding.other, *(() if coding.ground is None else (coding.ground,)))
    rest = values[~(is_mark | coded.fits(values, known))]
    # one value may be left: the ground, where the page does not state it
    if len(rest) > (coding.ground is None) or (len(rest) and rest[0] not in _border(coded.codes)):
        raise Unclear(f"the page says nothing of the values {coded.named(rest)} that it holds")
    return is_mark[places.reshape(coded.codes.shape)]


def _found(coded: _Coded, coding: Coding) -> np.ndarray:
    """The pixels that differ from the ground. Unclear: what the ground is, or which differences count."""
    codes = coded.codes
    if codes.dtype.kind == "f" and not np.isfinite(codes).all():
        raise Unclear("it holds values that are no numbers")
    ground = _ground(coded, coding)
    marked = codes != ground
    other = codes[marked]
    if not len(other):
        _check_empty(coded, ground, coding)
        return marked
    is_clear = (other == other[0]).all()
    if is_clear and coded.palette is not None and (coded.palette[other[0]] == coded.palette[ground]).all():
        raise Unclear(f"its palette has one colour for the values {coded.named([ground, other[0]])}; state `mark`")
    near = marked
    if not is_clear or coding.threshold is not None:
        levels = _levels(coded, ground)
        distances = levels.far.astype(np.float32)[levels.places]
        near = distances > _SAME * levels.far.max()
        if coding.threshold is not None:
            marked = distances >= coding.threshold
        else:
            _check_one_mark(coded, levels)
            marked = _clear_cut(distances, float(levels.far.max()))
    if (share := 1 - float(_border(near).mean())) < _BORDER:
        raise Unclear(f"no value holds most of its border (at most {share:.0%}), so that the ground is unknown; state `ground`")
    return marked


def _border(codes: np.ndarray) -> np.ndarray:
    return np.concatenate([codes[0], codes[-1], codes[1:-1, 0], codes[1:-1, -1]])


def _ground(coded: _Coded, coding: Coding) -> int | float:
    border, counts = np.unique(_border(coded.codes), return_counts=True)
    if coding.ground is None:
        return border[counts.argmax()]
    stated = border[coded.fits(border, [coding.ground])]
    if not len(stated):
        raise Unclear(f"the page states the ground {coding.ground}, and its border holds {coded.named(border)}")
    return stated[0]


def _check_empty(coded: _Coded, ground: int, coding: Coding) -> None:
    """Unclear: a mask of one value may be marked all over, unless that is black or the stated ground."""
    black = not coded.palette[ground, :3].any() if coded.palette is not None else ground == (_BLACK if coded.packed else 0)
    if coding.ground is None and not black:
        what = f"the value {coded.named([ground])} alone, which may be ground or mark"
        raise Unclear(f"it holds {what}; state `ground` or `mark`")


def _levels(coded: _Coded, ground: int) -> _Levels:
    values, places = np.unique(coded.codes, return_inverse=True)
    channels = coded.channels(values)
    far = np.abs(channels - channels[np.searchsorted(values, ground)]).max(axis=1)
    if not far.any():
        raise Unclear(f"its palette has one colour for the values {coded.named(values)}; state `mark`")
    return _Levels(values, channels, far, places.reshape(coded.codes.shape))


def _check_one_mark(coded: _Coded, levels: _Levels) -> None:
    """Unclear: there are areas of several colours beside the ground, which may be several classes."""
    places, (height, width) = levels.places, levels.places.shape
    inner = places[1:-1, 1:-1]
    flat = np.ones(inner.shape, bool)
    for down, right in np.ndindex(3, 3):
        flat &= inner == places[down : height - 2 + down, right : width - 2 + right]
    counts, strongest = np.bincount(inner[flat], minlength=len(levels.values)), levels.far.max()
    areas = np.flatnonzero((counts > 0) & (levels.far >= _FAINT * strongest))
    if not len(areas):
        return
    main = areas[counts[areas].argmax()]
    unlike = np.abs(levels.channels[areas] - levels.channels[main]).max(axis=1) >= _SAME * strongest
    if unlike.any():
        found = coded.named(levels.values[np.unique([main, *areas[unlike]])])
        raise Unclear(
            f"it holds areas of several values beside the ground ({found}); say with `values` or `mark` what they are"
        )


def _clear_cut(distances: np.ndarray, strongest: float) -> np.ndarray:
    """The marked pixels of a mask with soft edges or noise: those nearer to the mark than to the ground. Unclear: the lesions
    depend on where the line is drawn, or there are faint ones."""
    import cv2  # as in `connected`

    marked = distances >= strongest / 2
    labels, counts = [], []
    for share in (_FAINT, 0.5, 1 - _FAINT):
        count, of = cv2.connectedComponents((distances >= share * strongest).view(np.uint8), connectivity=8)
        labels.append(of)
        counts.append(count - 1)
    held = [len(np.unique(labels[0][of > 0])) for of in labels[1:]]
    if {*counts, *held} != {counts[0]}:
        lines = f"{min(counts)} to {max(counts)} marks, as the line is drawn between mark and ground"
        raise Unclear(f"its edges are not clear: it holds {lines}; state `threshold`, or take the file before it was resized")
    reach = np.ones((2 * _REACH + 1,) * 2, np.uint8)
    around = cv2.dilate(marked.view(np.uint8), reach) > 0
    if ((distances > 0) & ~around).any():
        raise Unclear("it holds faint values far from any mark, which may be noise or another class; state `threshold`")
    return marked


def _check_extent(marked: np.ndarray) -> None:
    """Unclear: so much is marked that mark and ground may be exchanged."""
    if (share := float(marked.mean())) > 0.5:
        raise Unclear(f"the mark would cover {share:.0%} of the picture, so that mark and ground may be exchanged")
    if min(marked.shape) > 1 and all(edge.any() for edge in (marked[0], marked[-1], marked[:, 0], marked[:, -1])):
        raise Unclear("the mark would touch all four borders of the picture, so that mark and ground may be exchanged")


def connected(marked: np.ndarray) -> Pixels:
    """Returns the marked pixels of a mask, bool [height, width], with their 8-connected lesions, numbered from 0."""
    import cv2  # here, since a dataset page that is only read needs no OpenCV

    left, top, width, height = cv2.boundingRect(marked.view(np.uint8))
    part = np.ascontiguousarray(marked[top : top + height, left : left + width])
    if not part.size:
        return Pixels(*np.empty((3, 0), np.int32))
    labels = cv2.connectedComponents(part.view(np.uint8), connectivity=8)[1]
    places = np.flatnonzero(part)
    rows, columns = np.divmod(places.astype(np.int32), np.int32(width))
    return Pixels(rows + top, columns + left, labels.reshape(-1)[places] - 1)
