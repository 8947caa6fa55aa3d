"""Lesion masks to lesion boxes: pure functions of files and arrays."""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from retinal_lib.errors import UserError


@dataclass(frozen=True)
class Lesion:
    """One connected lesion: its box [x_min, y_min, x_max, y_max] as fractions of the mask's width and height, with
    4 digits, rounded outwards so that it always holds the lesion (x to the right, y down, the maximum edges exclusive),
    and its pixel count."""

    box: tuple[float, float, float, float]
    pixels: int


@dataclass(frozen=True)
class Lesions:
    """All connected lesions of one mask, the largest first; `size` is the mask's (width, height)."""

    size: tuple[int, int]
    lesions: tuple[Lesion, ...]

    @property
    def area(self) -> float:
        """The lesions' share of the image, 0 to 1."""
        return sum(lesion.pixels for lesion in self.lesions) / (self.size[0] * self.size[1])


def load_mask(path: Path) -> np.ndarray:
    """A mask file as a boolean array [height, width]. UserError: the file cannot be read as an image.

    Lesions are where the red channel is not 0: that holds for 0/1 palettes (black, red), for 0/255 and 0/1 grey, and for
    RGBA masks whose alpha is opaque everywhere (IDRiD_81_EX.tif), of which any other channel or a threshold at 127 fails.
    """
    try:
        with Image.open(path) as image:
            if image.mode == "P":
                palette = np.asarray(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
                red = np.zeros(256, dtype=bool)
                red[: len(palette)] = palette[:, 0] > 0
                return red[np.asarray(image)]
            pixels = np.asarray(image)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: the mask cannot be read ({error})") from error
    return (pixels if pixels.ndim == 2 else pixels[..., 0]) > 0


def find(mask: np.ndarray) -> Lesions:
    """The 8-connected lesions of a boolean mask [height, width], the largest first, ties from the top left."""
    height, width = mask.shape
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found = [
        Lesion((_floor(x / width), _floor(y / height), _ceil((x + w) / width), _ceil((y + h) / height)), int(n))
        for x, y, w, h, n in stats[1:count].tolist()
    ]
    return Lesions((width, height), tuple(sorted(found, key=lambda lesion: (-lesion.pixels, lesion.box))))


def _floor(edge: float) -> float:
    return math.floor(round(edge * 1e4, 6)) / 1e4


def _ceil(edge: float) -> float:
    return math.ceil(round(edge * 1e4, 6)) / 1e4


@lru_cache(maxsize=512)
def read(path: Path) -> Lesions:
    """The lesions of a mask file, remembered, since a mask is described, checked and drawn in turn."""
    return find(load_mask(path))
