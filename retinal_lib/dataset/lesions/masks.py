"""Mask files as published, read to marked pixels, and the connected lesions of these."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from retinal_lib import images
from retinal_lib.errors import UserError


class Pixels(NamedTuple):
    """The marked pixels of a mask in reading order: `rows`, `columns`, and in `owners` the number of the lesion that each
    belongs to; int32 [n]."""

    rows: np.ndarray
    columns: np.ndarray
    owners: np.ndarray


def size(path: Path) -> tuple[int, int]:
    """Returns width and height of an image file, its pixels not read. UserError: it cannot be read."""
    try:
        with images.open_image(path) as image:
            return image.size
    except UserError as error:
        raise UserError(f"{path}: the image cannot be read ({error})") from error


def read(path: Path) -> np.ndarray:
    """Reads the marked pixels of a mask file, bool [height, width]. UserError: the file cannot be read as an image.

    Lesions are where the red channel is not 0: that holds for 0/1 palettes (black, red), for 0/255 and 0/1 grey, and for
    RGBA masks whose alpha is opaque everywhere (IDRiD_81_EX.tif), of which any other channel or a threshold at 127 fails.
    """
    import cv2  # here, since a dataset page that is only read needs no OpenCV

    try:
        with images.open_image(path) as image:
            if image.mode != "P":
                return np.asarray(image.getchannel(0) if len(image.getbands()) > 1 else image) > 0
            pixels, red = np.asarray(image), np.array(image.getpalette("RGB")[0::3], np.uint8)
    except UserError as error:
        raise UserError(f"{path}: the mask cannot be read ({error})") from error
    return cv2.LUT(pixels, np.pad(red > 0, (0, 256 - len(red))).view(np.uint8)).view(bool)


def connected(marked: np.ndarray) -> Pixels:
    """Returns the marked pixels of a mask, bool [height, width], with their 8-connected lesions, numbered from 0."""
    import cv2  # as in `read`

    left, top, width, height = cv2.boundingRect(marked.view(np.uint8))
    part = np.ascontiguousarray(marked[top : top + height, left : left + width])
    if not part.size:
        return Pixels(*np.empty((3, 0), np.int32))
    labels = cv2.connectedComponents(part.view(np.uint8), connectivity=8)[1]
    places = np.flatnonzero(part)
    rows, columns = np.divmod(places.astype(np.int32), np.int32(width))
    return Pixels(rows + top, columns + left, labels.reshape(-1)[places] - 1)
