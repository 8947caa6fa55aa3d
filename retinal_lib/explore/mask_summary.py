"""The masks of one image: its entry in boxes.json, and sums by lesion type. Worker processes import it, so it must be light."""

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retinal_lib.dataset import lesion_facts
from retinal_lib.dataset.lesions import boxes
from retinal_lib.dataset.lesions.boxes import Cluster, CropInfo, Lesions
from retinal_lib.dataset.lesions.locations import FOVEA
from retinal_lib.dataset.page import Page


@dataclass(frozen=True)
class TypeSums:
    """Sums over the masks of one lesion type. `in_boxes` and `in_named` are the lesions' pixels that lie in any box and in a
    box that a description names; `named_area` and `box_area` are the pixels of the named boxes and of all boxes; pixels in
    several boxes count for each."""

    images: int = 0
    lesions: int = 0
    boxes: int = 0
    pixels: int = 0
    in_boxes: int = 0
    in_named: int = 0
    named_area: float = 0.0
    box_area: float = 0.0

    @classmethod
    def of(cls, mask: Lesions, clusters: list[Cluster], owners: np.ndarray, max_named: int) -> "TypeSums":
        """Returns the sums of one mask with its clusters, `owners` [n] being the cluster of each lesion."""
        width, height = mask.size
        named = clusters[:max_named]
        return cls(
            images=1,
            lesions=len(mask.pixels),
            boxes=len(clusters),
            pixels=int(mask.pixels.sum()),
            in_boxes=int(mask.pixels[_inside(mask, clusters, owners)].sum()),
            in_named=sum(cluster.pixels for cluster in named),
            named_area=sum((x1 - x0) * width * (y1 - y0) * height for x0, y0, x1, y1 in (c.box for c in named)),
            box_area=sum(cluster.pixels / cluster.fill for cluster in clusters),
        )

    def __add__(self, other: "TypeSums") -> "TypeSums":
        return TypeSums(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))

    @property
    def row(self) -> dict[str, object]:
        """The row of the table of coverage and fill."""
        shares = (
            ("in a box", self.in_boxes, self.pixels),
            ("in a named box", self.in_named, self.pixels),
            ("fill of named boxes", self.in_named, self.named_area),
        )
        texts = {name: f"{part / whole:.3f}" if whole else "–" for name, part, whole in shares}
        return {"images": self.images, "lesions": self.lesions, "clusters": self.boxes, **texts}


def _inside(mask: Lesions, clusters: list[Cluster], owners: np.ndarray) -> np.ndarray:
    """Says for each lesion whether the box of its cluster, as written, contains it; bool [n]."""
    width, height = mask.size
    outer = np.array([cluster.box for cluster in clusters]).reshape(-1, 4)[owners] * [width, height, width, height]
    slack = 1e-6
    return ((outer[:, :2] <= mask.edges[:, :2] + slack) & (outer[:, 2:] >= mask.edges[:, 2:] - slack)).all(axis=1)


class MaskTask(NamedTuple):
    """The input of `summarise`: an image's name in boxes.json, file, masks by type, eye, and AutoMorph's crop."""

    image: str
    path: Path
    masks: lesion_facts.MaskFiles
    eye: str | None
    crop: CropInfo | None


class MaskSummary(NamedTuple):
    """The masks of one image: its entry in boxes.json, sums by lesion type, and sentences on masks that could not be used."""

    entry: dict[str, object]
    sums: dict[str, TypeSums]
    missing: list[str]


def summarise(task: MaskTask, page: Page, max_named: int) -> MaskSummary:
    """Reads the masks of one image and returns their summary; a description names at most `max_named` boxes of a type."""
    masks = lesion_facts.read(task.masks, task.path, task.eye, task.crop, remember=False)
    lesions, sums = {}, {}
    for kind, (_, mask) in masks.types.items():
        clusters: list[Cluster] = []
        if mask is not None and len(mask.pixels):
            clusters, owners = boxes.clusters(mask, page.masks.gap, page.masks.fill)
            sums[kind] = TypeSums.of(mask, clusters, owners, max_named)
        lesions[kind] = {
            "lesions": len(mask.pixels) if mask else 0,
            "area": round(mask.area, 8) if mask else 0.0,
            "boxes": [{"box": c.box, "lesions": c.lesions, "pixels": c.pixels, "fill": c.fill} for c in clusters],
        }
    entry = {"size": masks.image, "landmarks": _landmarks(masks), "lesions": lesions}
    return MaskSummary(entry, sums, list(dict.fromkeys(masks.missing)))


def _landmarks(masks: lesion_facts.ImageMasks) -> dict[str, dict[str, object]]:
    """Box, centre and diameter of each landmark, as fractions of the picture; the diameter as a fraction of its width. Of a
    fovea that a table gives, the centre alone."""
    landmarks = {}
    for words, mark in masks.landmarks.items():
        (x, y), (width, height) = mark.at.centre, mark.size
        centre = [round(x / width, 4), round(y / height, 4)]
        landmarks[words] = {"box": mark.at.box, "centre": centre, "diameter": round(mark.at.diameter / width, 4)}
    if masks.fovea:
        landmarks.setdefault(FOVEA, {"centre": [round(share, 4) for share in masks.fovea]})
    return landmarks
