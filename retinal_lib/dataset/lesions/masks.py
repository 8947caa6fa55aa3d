"""Mask files as published, read to bits: one place that knows palettes, channels and packed pixels."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from retinal_lib.dataset.lesions import runs
from retinal_lib.errors import UserError

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
        found[top : top + rows] = runs.packed(pixels)
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
