"""Mask files as published, read to bits, and their pixels joined to lesions."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from retinal_lib.errors import UserError

_PAIRS = 1 << 20  # pairs of boxes compared together: bounds the memory of masks with thousands of lesions


class Runs(NamedTuple):
    """Marked pixels in reading order, a run of neighbours in each entry: `rows`, `starts` and `ends` (exclusive) in pixels,
    `owners` the number of the lesion that it belongs to; int64 [n]."""

    rows: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    owners: np.ndarray


class Extents(NamedTuple):
    """One lesion in each entry: `boxes` [n, 4] as left, top, right, bottom in pixels (right and bottom exclusive), and
    `pixels` [n], how many are marked."""

    boxes: np.ndarray
    pixels: np.ndarray


def packed(marked: np.ndarray) -> np.ndarray:
    """The rows of a bool or uint8 array [height, width] as bits, uint8 [height, bytes of a row]: marked where not 0."""
    return np.packbits(marked, axis=1)


def lesions(bits: np.ndarray, width: int) -> tuple[Runs, Extents]:
    """The 8-connected lesions of a mask of `width` pixels, its rows given as bits (see `packed`; those beyond the width
    do not count), numbered in reading order of their first pixel."""
    rows, starts, ends = _runs(bits, width)
    owners = groups(len(rows), *_touching(rows, starts, ends, width))
    found = Runs(rows, starts, ends, owners)
    return found, extents(found)


def _runs(bits: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, start and end of every run. Where a pixel differs from its left neighbour, a run starts or ends: what is the
    same for millions of pixels is found eight at a time."""
    height, given = bits.shape
    row = np.zeros((height, given + 1), np.uint8)  # an empty byte more, so that each run ends within its row
    row[:, :given] = bits
    if width % 8:
        row[:, given - 1] &= 0xFF << (8 - width % 8) & 0xFF
    left = row >> 1
    left[:, 1:] |= row[:, :-1] << 7
    edges = (row ^ left).reshape(-1)
    hit = np.flatnonzero(edges != 0)
    byte, bit = np.nonzero(np.unpackbits(edges[hit]).reshape(-1, 8))
    places = hit[byte] * 8 + bit
    rows, starts = np.divmod(places[0::2], (given + 1) * 8)
    return rows, starts, starts + places[1::2] - places[0::2]


def _touching(rows: np.ndarray, starts: np.ndarray, ends: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs in neighbouring rows that touch, by a side or a corner."""
    step = width + 2  # a row's numbers never reach the next row's
    low = np.searchsorted(rows * step + ends, (rows + 1) * step + starts, side="left")
    high = np.searchsorted(rows * step + starts, (rows + 1) * step + ends, side="right")
    return _spread(np.arange(len(rows)), low, high)


def _spread(of: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each entry of `of` paired with the numbers low to high (exclusive) beside it."""
    counts = np.maximum(high - low, 0)
    before = np.cumsum(counts) - counts
    return np.repeat(of, counts), np.arange(counts.sum()) + np.repeat(low - before, counts)


def groups(count: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The connected groups of `count` things whose pairs one[i], other[i] belong together, int64 [count]; groups are
    numbered by their first thing."""
    root = np.arange(count)
    while True:
        a, b = root[one], root[other]
        apart = a != b
        if not apart.any():
            return np.unique(root, return_inverse=True)[1]
        a, b = a[apart], b[apart]
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(above := root[root], root):
            root = above


def extents(found: Runs) -> Extents:
    """The box and pixels of each lesion."""
    rows, starts, ends, owners = found
    if not len(rows):
        return Extents(np.empty((0, 4), np.int64), np.empty(0, np.int64))
    order = np.argsort(owners, kind="stable")
    cut = np.flatnonzero(np.diff(owners[order], prepend=-1))
    rows, starts, ends = rows[order], starts[order], ends[order]
    low = [np.minimum.reduceat(starts, cut), np.minimum.reduceat(rows, cut)]
    high = [np.maximum.reduceat(ends, cut), np.maximum.reduceat(rows, cut) + 1]
    return Extents(np.stack([*low, *high], axis=1), np.add.reduceat(ends - starts, cut))


def near(boxes: np.ndarray, gap: float) -> np.ndarray:
    """The groups of boxes [n, 4] in which each is at most `gap` pixels from another, across and down, int64 [n]; groups
    are numbered by their first box."""
    order = np.argsort(boxes[:, 0], kind="stable")
    left, top, right, bottom = boxes[order].T
    reach = np.searchsorted(left, right + gap, side="right")
    start, one, other = 0, [], []
    ends = np.cumsum(reach - np.arange(len(order)))
    while start < len(order):
        stop = max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + _PAIRS)))
        a, b = _spread(np.arange(start, stop), np.arange(start, stop) + 1, reach[start:stop])
        close = np.maximum(top[a], top[b]) - np.minimum(bottom[a], bottom[b]) <= gap
        one.append(order[a[close]])
        other.append(order[b[close]])
        start = stop
    empty = [np.empty(0, np.int64)]
    return groups(len(order), np.concatenate(one or empty), np.concatenate(other or empty))


_BAND = 1 << 18  # pixels taken together


def size(path: Path) -> tuple[int, int]:
    """Width and height of an image file, its pixels not read. UserError: it cannot be read."""
    try:
        with _opened(path) as image:
            return image.size
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: the image cannot be read ({error})") from error


def read(path: Path) -> tuple[np.ndarray, tuple[int, int]]:
    """A mask file as rows of bits, uint8 [height, bytes of a row], marked pixels 1, and its (width, height). UserError: the
    file cannot be read as an image.

    Lesions are where the red channel is not 0: that holds for 0/1 palettes (black, red), for 0/255 and 0/1 grey, and for
    RGBA masks whose alpha is opaque everywhere (IDRiD_81_EX.tif), of which any other channel or a threshold at 127 fails.
    """
    try:
        with _opened(path) as image:
            red = _red(image)
            bits = _as_stored(image, path)
            if bits is None:
                bits, red = _decoded(image, red), None
            return (bits if red is None else _mapped(bits, red)), image.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: the mask cannot be read ({error})") from error


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file as an image, its pixels not read yet. What Pillow warns of is either an error soon after, or nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            yield image


def _decoded(image: Image.Image, red: list[bool] | None) -> np.ndarray:
    """The rows of any picture as bits. Taken in bands: memory of a whole picture costs more time to get than to fill."""
    width, height = image.size
    if image.mode == "1":
        return np.frombuffer(image.tobytes(), np.uint8).reshape(height, -1)
    table = None if red is None or not (red[0] or not all(red[1:])) else bytes(red)
    found = np.empty((height, (width + 7) // 8), np.uint8)
    rows = max(1, _BAND // max(width, 1))
    image.load()
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        if len(band.getbands()) > 1:
            band = band.getchannel(0)
        if band.mode in ("L", "P"):
            data = band.tobytes() if table is None else band.tobytes().translate(table)
            pixels = np.frombuffer(data, np.uint8).reshape(-1, width)
        else:  # deep grey
            pixels = np.asarray(band) > 0
        found[top : top + rows] = packed(pixels)
    return found


def _red(image: Image.Image) -> list[bool] | None:
    """Of a picture with a palette: whether each of the 256 colours holds red."""
    if image.mode != "P":
        return None
    tiny, (mode, colours) = Image.new("P", (1, 1)), image.palette.getdata()
    tiny.putpalette(colours, mode)  # of another picture, since asking this one decodes all its pixels
    palette = tiny.getpalette("RGB")
    return [level > 0 for level in palette[0::3]] + [False] * (256 - len(palette) // 3)


def _mapped(bits: np.ndarray, red: list[bool]) -> np.ndarray:
    """Bits that are places in a palette of two colours, as whether that colour is red."""
    if red[0] == red[1]:
        return np.full_like(bits, 255 if red[0] else 0)
    return ~bits if red[0] else bits


def _as_stored(image: Image.Image, path: Path) -> np.ndarray | None:
    """The rows of an uncompressed file of one bit a pixel, as most of IDRiD's masks are: their bits are read as they lie
    there, instead of eight times as many bytes. None where the file is stored otherwise."""
    width, height = image.size
    row = (width + 7) // 8
    tiles = [(codec, extents, offset, arguments) for codec, extents, offset, arguments in image.tile]
    if not tiles or any(t[0] != "raw" or t[3] not in (("P;1", 0, 1), ("1", 0, 1)) for t in tiles):
        return None
    tops = [0, *(extents[3] for _, extents, _, _ in tiles)]
    whole = all(e[0] == 0 and e[2] == width and e[1] == top for (_, e, _, _), top in zip(tiles, tops, strict=False))
    if not whole or tops[-1] != height:
        return None
    data = np.fromfile(path, np.uint8)
    strips = [data[offset : offset + (e[3] - e[1]) * row] for _, e, offset, _ in tiles]
    if sum(map(len, strips)) != height * row:
        raise OSError(f"{len(data)} bytes are fewer than its {width} x {height} pixels take")
    return np.concatenate(strips).reshape(height, row)
