"""Where the lesions of a dataset lie, all images together, as if every eye were a right one."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from retinal_lib.display import FullTable
from retinal_lib.drawing import Hue
from retinal_lib.explore import overlay
from retinal_lib.explore.overlay import Overlay

CELLS = 64  # of the map, across and down
_NEAR = 2  # cells: 3 % of the picture


@dataclass
class Spread:
    """One lesion type: `cells` [CELLS, CELLS] counts the images that have such a lesion there, `near` those that have one
    there or within 3 % of the picture; `counts` and `areas` hold each of these images' lesions and their share of it, 0 to
    1."""

    many: str
    hue: Hue
    cells: np.ndarray = field(default_factory=lambda: np.zeros((CELLS, CELLS)))
    near: np.ndarray = field(default_factory=lambda: np.zeros((CELLS, CELLS)))
    counts: list[int] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)


@dataclass
class Heat:
    """Lesion types by code, over `images`; those of left eyes are mirrored, so that the nose is on the right, and `unknown`
    are those whose side is not known, taken as they are. `ratio` is the pictures' mean height by width, `disc` the mean box
    of the optic disc, if known."""

    images: int = 0
    mirrored: int = 0
    unknown: int = 0
    ratio: float = 1.0
    types: dict[str, Spread] = field(default_factory=dict)
    discs: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, shown: Overlay) -> None:
        """Counts one image."""
        self.ratio = (self.ratio * self.images + shown.size[1] / shown.size[0]) / (self.images + 1)
        self.images += 1
        self.mirrored += shown.nasal < 0
        self.unknown += not shown.nasal
        for layer in shown.layers:
            found = self.types.setdefault(layer.kind, Spread(layer.many, layer.hue))
            cells = overlay.shares(shown.marked(layer), (CELLS, CELLS)) > 0
            cells = cells[:, ::-1] if shown.nasal < 0 else cells
            found.cells += cells
            found.near += widened(cells)
            found.counts.append(layer.lesions)
            found.areas.append(layer.area)
        if (box := shown.landmarks.get("optic disc")) and shown.nasal:
            x0, y0, x1, y1 = box
            self.discs.append((1 - x1, y0, 1 - x0, y1) if shown.nasal < 0 else (x0, y0, x1, y1))

    @property
    def disc(self) -> tuple[float, ...] | None:
        """The mean box of the optic disc, as fractions of the mirrored picture; None where it is not marked."""
        return tuple(np.mean(self.discs, axis=0).tolist()) if self.discs else None

    @property
    def note(self) -> str:
        """How the eyes were laid over each other."""
        if self.unknown == self.images:
            return f"{self.images} images as they are: which side the nose is on is not known"
        some = f"; of {self.unknown} the side is not known, they are as they are" if self.unknown else ""
        return f"{self.images} images as right eyes, the nose on the right: {self.mirrored} are mirrored{some}"

    @property
    def table(self) -> pd.DataFrame:
        """The map in numbers: per type the images that have it, their lesions, and how the map's cells share out."""
        sides = ("left", "right") if self.unknown == self.images else ("temporal", "nasal")
        rows = {found.many: self._row(found, sides) for found in self.types.values()}
        return FullTable.from_dict(rows, orient="index") if rows else FullTable({"": ["no lesion masks"]}, index=["lesions"])

    def _row(self, found: Spread, sides: tuple[str, str]) -> dict[str, object]:
        half, total = CELLS // 2, found.cells.sum()
        parts = {
            f"{name} {side}": found.cells[rows, columns].sum() / total
            for name, rows in (("upper", slice(half)), ("lower", slice(half, None)))
            for side, columns in zip(sides, (slice(half), slice(half, None)), strict=True)
        }
        return {
            "images with them": f"{len(found.counts)} of {self.images}",
            "lesions": f"{sum(found.counts):,}",
            "median of an image": f"{np.median(found.counts):g}",
            "median share of it": f"{np.median(found.areas):.3%}",
            **{name: f"{share:.0%}" for name, share in parts.items()},
        }


def collect(overlays: Iterable[Overlay]) -> Heat:
    """The map of these images."""
    found = Heat()
    for shown in overlays:
        found.add(shown)
    return found


def widened(cells: np.ndarray) -> np.ndarray:
    """True cells and those within _NEAR cells of one, bool [rows, columns]."""
    padded, reach = np.pad(cells, _NEAR), range(-_NEAR, _NEAR + 1)
    steps = [(x, y) for x in reach for y in reach if x * x + y * y <= _NEAR * _NEAR + 1]
    return np.any([np.roll(padded, step, (1, 0)) for step in steps], axis=0)[_NEAR:-_NEAR, _NEAR:-_NEAR]
