"""The locations of a dataset's lesions, over all images, in right-eye orientation."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from retinal_lib.display import FullTable
from retinal_lib.explore import overlay
from retinal_lib.explore.overlay import Overlay
from retinal_lib.imaging.drawing import Hue

CELLS = 64  # of the map, across and down
_NEAR = 2  # cells: 3 % of the picture


@dataclass
class TypeMap:
    """The map of one lesion type: `cells` [CELLS, CELLS] counts the images with such a lesion in the cell, `near` those with
    one in the cell or within 3 % of the picture; `counts` and `areas` hold, for each image with the type, the number of
    lesions and their share of the image, 0 to 1."""

    words: str
    hue: Hue
    cells: np.ndarray = field(default_factory=lambda: np.zeros((CELLS, CELLS)))
    near: np.ndarray = field(default_factory=lambda: np.zeros((CELLS, CELLS)))
    counts: list[int] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)


@dataclass
class LesionMap:
    """A map of each lesion type, by code, over `images` images. Left eyes are mirrored to right-eye orientation; the `unknown`
    images whose side is not known are not. `ratio` is the pictures' mean height divided by width, `discs` are the boxes of
    marked optic discs."""

    images: int = 0
    mirrored: int = 0
    unknown: int = 0
    ratio: float = 1.0
    types: dict[str, TypeMap] = field(default_factory=dict)
    discs: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, image: Overlay) -> None:
        """Adds one image to the maps."""
        left_eye = image.nasal_side == "left"
        self.ratio = (self.ratio * self.images + image.size[1] / image.size[0]) / (self.images + 1)
        self.images += 1
        self.mirrored += left_eye
        self.unknown += image.nasal_side == "unknown"
        for layer in image.layers:
            lesions = self.types.setdefault(layer.kind, TypeMap(layer.many, layer.hue))
            cells = overlay.coverage(image.mask(layer), (CELLS, CELLS)) > 0
            cells = cells[:, ::-1] if left_eye else cells
            lesions.cells += cells
            lesions.near += widened(cells)
            lesions.counts.append(layer.lesions)
            lesions.areas.append(layer.area)
        if (box := image.landmarks.get("optic disc")) and image.nasal_side != "unknown":
            x0, y0, x1, y1 = box
            self.discs.append((1 - x1, y0, 1 - x0, y1) if left_eye else (x0, y0, x1, y1))

    @property
    def disc(self) -> tuple[float, ...] | None:
        """The mean box of the optic disc, as fractions of the picture in right-eye orientation; None if none is marked."""
        return tuple(np.mean(self.discs, axis=0).tolist()) if self.discs else None

    @property
    def note(self) -> str:
        """A sentence on how many eyes were mirrored."""
        if self.unknown == self.images:
            return f"{self.images} images, not mirrored: the side of the eyes is not known"
        unknown = f"; the side of {self.unknown} is not known, they are not mirrored" if self.unknown else ""
        return f"{self.images} images, {self.mirrored} of left eyes mirrored to right-eye orientation{unknown}"

    @property
    def table(self) -> pd.DataFrame:
        """The map in numbers: for each type its images, its lesions, and the share of the map's cells in each quarter."""
        sides = ("left", "right") if self.unknown == self.images else ("temporal", "nasal")
        rows = {lesions.words: self._row(lesions, sides) for lesions in self.types.values()}
        return FullTable.from_dict(rows, orient="index") if rows else FullTable({"": ["no lesion masks"]}, index=["lesions"])

    def _row(self, lesions: TypeMap, sides: tuple[str, str]) -> dict[str, object]:
        half = CELLS // 2
        quarters = lesions.cells.reshape(2, half, 2, half).sum(axis=(1, 3)) / lesions.cells.sum()
        names = [f"{name} {side}" for name in ("upper", "lower") for side in sides]
        return {
            "images with them": f"{len(lesions.counts)} of {self.images}",
            "lesions": f"{sum(lesions.counts):,}",
            "median of an image": f"{np.median(lesions.counts):g}",
            "median share of it": f"{np.median(lesions.areas):.3%}",
            **{name: f"{share:.0%}" for name, share in zip(names, quarters.flat, strict=True)},
        }


def widened(cells: np.ndarray) -> np.ndarray:
    """Returns True for true cells and those within _NEAR cells of one, bool [rows, columns]."""
    padded, reach = np.pad(cells, _NEAR), range(-_NEAR, _NEAR + 1)
    steps = [(x, y) for x in reach for y in reach if x * x + y * y <= _NEAR * _NEAR + 1]
    return np.any([np.roll(padded, step, (1, 0)) for step in steps], axis=0)[_NEAR:-_NEAR, _NEAR:-_NEAR]
