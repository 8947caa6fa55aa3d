"""What the masks of one image come to: its entry in boxes.json, and sums by lesion type. Light, for helper processes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retinal_lib.dataset import lesion_facts, page
from retinal_lib.dataset.lesions import boxes
from retinal_lib.dataset.lesions.boxes import Cluster, CropInfo, Lesions


@dataclass
class Sums:
    """What the masks of one lesion type come to, over all images: pixels `held` by some box, by a box that a description
    names (`named`), and the pixels of these `named_boxes` and of `all_boxes` (of each box, also where two share them)."""

    words: str
    images: int = 0
    lesions: int = 0
    clusters: int = 0
    pixels: int = 0
    held: int = 0
    named: int = 0
    named_boxes: float = 0.0
    all_boxes: float = 0.0

    def take(self, found: Lesions, groups: list[Cluster], owners: np.ndarray, most: int) -> None:
        """Adds one mask with its clusters, of which a description names at most `most`."""
        width, height = found.size
        self.images += 1
        self.lesions += len(found.pixels)
        self.clusters += len(groups)
        self.pixels += int(found.pixels.sum())
        self.held += int(found.pixels[_held(found, groups, owners)].sum())
        self.named += sum(cluster.pixels for cluster in groups[:most])
        edges = [cluster.box for cluster in groups[:most]]
        self.named_boxes += sum((x1 - x0) * width * (y1 - y0) * height for x0, y0, x1, y1 in edges)
        self.all_boxes += sum(cluster.pixels / cluster.fill for cluster in groups)

    def add(self, other: "Sums") -> None:
        """Adds other sums to these."""
        for name in list(vars(self))[1:]:  # all but the words
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def row(self) -> dict[str, object]:
        """As a row of the table of coverage and fill."""
        shares = (
            ("in a box", self.held, self.pixels),
            ("in a named box", self.named, self.pixels),
            ("fill of named boxes", self.named, self.named_boxes),
        )
        told = {name: f"{part / whole:.3f}" if whole else "–" for name, part, whole in shares}
        return {"images": self.images, "lesions": self.lesions, "clusters": self.clusters, **told}


def _held(found: Lesions, groups: list[Cluster], owners: np.ndarray) -> np.ndarray:
    """Whether the box of a lesion's cluster, as written, holds the lesion whole; bool [n]."""
    width, height = found.size
    outer = np.array([cluster.box for cluster in groups]).reshape(-1, 4)[owners] * [width, height, width, height]
    inner, slack = found.edges, 1e-6
    return ((outer[:, :2] <= inner[:, :2] + slack) & (outer[:, 2:] >= inner[:, 2:] - slack)).all(axis=1)


@dataclass(frozen=True)
class Task:
    """One image to be measured: its name, file, masks, eye and crop."""

    image: str
    path: Path
    files: dict[str, Path | None]
    eye: str | None
    cut: CropInfo | None


@dataclass(frozen=True)
class Measuring:
    """The work on one image: its entry in boxes.json, its sums by lesion type, and what could not be used."""

    page: page.Page
    most: int

    def __call__(self, task: Task) -> tuple[dict[str, object], dict[str, Sums], list[str]]:
        found = lesion_facts.read(task.files, self.page, task.path, task.eye, task.cut, remember=False)
        sums: dict[str, Sums] = {}
        told = {kind: self._lesions(kind, content, sums) for kind, (_, content) in found.types.items()}
        return {"size": found.image, "landmarks": _landmarks(found), "lesions": told}, sums, list(dict.fromkeys(found.missing))

    def _lesions(self, kind: str, content: Lesions | None, sums: dict[str, Sums]) -> dict[str, object]:
        groups: list[Cluster] = []
        if content is not None and len(content.pixels):
            groups, owners = boxes.clusters(content, self.page.masks.gap, self.page.masks.fill)
            sums[kind] = Sums("")
            sums[kind].take(content, groups, owners, self.most)
        return {
            "lesions": len(content.pixels) if content else 0,
            "area": round(content.area, 8) if content else 0.0,
            "boxes": [{"box": c.box, "lesions": c.lesions, "pixels": c.pixels, "fill": c.fill} for c in groups],
        }


def _landmarks(found: lesion_facts.Marked) -> dict[str, dict[str, object]]:
    """Box, centre and diameter of each landmark, as fractions of the picture; the diameter of its width."""
    told = {}
    for words, mark in found.marks.items():
        (x, y), (width, height) = mark.at.centre, mark.size
        centre = [round(x / width, 4), round(y / height, 4)]
        told[words] = {"box": mark.at.box, "centre": centre, "diameter": round(mark.at.diameter / width, 4)}
    return told
