"""What is drawn over a picture: the boxes and masks of its lesions, and what makes a picture worth a second look."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from retinal_lib import drawing, images
from retinal_lib.dataset import lesion_facts
from retinal_lib.dataset.image import Image
from retinal_lib.dataset.lesions import boxes
from retinal_lib.dataset.lesions.boxes import Box, Cluster, CropInfo, Lesion, Lesions
from retinal_lib.dataset.lesions.locations import Side
from retinal_lib.dataset.page import Page
from retinal_lib.drawing import Hue

_EDGE = 0.015  # a box this near the end of the round field, as a share of the picture's width, touches its edge
_DARK = 24  # no channel of a pixel outside the field is brighter, of 255
_NEAR = 0.06  # of the picture: lesions nearer to each other are not both enlarged
_SIDE = 256  # pixels of the picture that the field is looked for in


@dataclass(frozen=True)
class Layer:
    """One lesion type of an image: code, words for one and many, hue, mask file, the clusters (their boxes as fractions of
    the picture) with the most pixels first, how many lesions there are, and their share of the image (0 to 1)."""

    kind: str
    one: str
    many: str
    hue: Hue
    path: Path
    clusters: tuple[Cluster, ...]
    lesions: int
    area: float

    @property
    def short(self) -> str:
        """The words for many, without what stands in brackets."""
        return self.many.split(" (")[0]

    @property
    def counted(self) -> str:
        """Number and words: 3 haemorrhages."""
        return f"{self.lesions:,} {self.one if self.lesions == 1 else self.many}"


@dataclass(frozen=True)
class Overlay:
    """One image and what lies over it. `title` is what it is called where people look, `size` its (width, height) in
    pixels, `landmarks` are boxes by their words, `named` is how many boxes of a type a description names, `crop` what
    AutoMorph cropped the picture by, `nasal_side` where the nose is (right, left, unknown),
    `missing` what could not be used. Masks are read again where they are drawn: many overlays take little memory."""

    title: str
    path: Path
    size: tuple[int, int]
    layers: tuple[Layer, ...]
    landmarks: dict[str, Box]
    named: int
    crop: CropInfo | None = None
    nasal_side: Side = "unknown"
    missing: tuple[str, ...] = ()

    @property
    def clusters(self) -> list[Cluster]:
        """The clusters of all lesion types."""
        return [cluster for layer in self.layers for cluster in layer.clusters]

    @property
    def boxes(self) -> int:
        """How many boxes there are."""
        return len(self.clusters)

    @property
    def fill(self) -> float:
        """The lesions' share of the pixels of all boxes, 0 to 1; 1 where there is none."""
        area = sum(cluster.pixels / cluster.fill for cluster in self.clusters)
        return sum(cluster.pixels for cluster in self.clusters) / area if area else 1.0

    @cached_property
    def edge_boxes(self) -> int:
        """How many boxes touch the edge of the field of view. UserError: the image cannot be read."""
        edges = np.array([cluster.box for cluster in self.clusters])
        return int(touches_field_edge(np.asarray(images.load_upright(self.path, _SIDE)), edges).sum()) if len(edges) else 0

    @property
    def caption(self) -> str:
        """What makes it worth a second look."""
        if not self.boxes:
            return "no lesion is marked"
        edge = f", {self.edge_boxes} at the edge" if self.edge_boxes else ""
        return f"{self.boxes} {'box' if self.boxes == 1 else 'boxes'}{edge}, {self.fill:.0%} filled"

    def mask(self, layer: Layer) -> np.ndarray:
        """The mask of a layer as the picture shows it, bool [height, width]: cut where the picture is AutoMorph's crop."""
        return raster(self._lesions(layer))

    def _lesions(self, layer: Layer) -> Lesions:
        return lesion_facts.shown(boxes.read(layer.path), self.size, self.crop)

    def smallest(self, count: int) -> list[tuple[Layer, Lesion]]:
        """The smallest lesions, the types in turn, none close to another, each with its box as a fraction of the picture."""
        turns = [self._upwards(layer, 10 * count) for layer in self.layers]
        chosen: list[tuple[Layer, Lesion]] = []
        while turns and len(chosen) < count:
            for turn in list(turns):
                pair = next((pair for pair in turn if all(_apart(pair[1], other) for _, other in chosen)), None)
                if pair is None:
                    turns.remove(turn)
                elif len(chosen) < count:
                    chosen.append(pair)
        return chosen

    def _upwards(self, layer: Layer, count: int) -> Iterator[tuple[Layer, Lesion]]:
        for lesion in heapq.nsmallest(count, self._lesions(layer).lesions, key=lambda lesion: lesion.pixels):
            yield layer, lesion


def _apart(one: Lesion, other: Lesion) -> bool:
    return any(abs(a - b) > _NEAR for a, b in zip(one.box[:2], other.box[:2], strict=True))


def read(page: Page, image: Image, title: str = "") -> Overlay:
    """Reads the overlay of an image of a dataset; `title` where its name is not to be shown. UserError: it is not used."""
    image.require_usable()
    if not page.masks:
        return Overlay(title or image.name, image.path, (1, 1), (), {}, 0)
    masks = lesion_facts.read(image.masks, image.path, image.eye, image.crop)
    hues = drawing.hues(page.masks.types)
    layers = []
    for kind, (path, mask) in masks.types.items():
        if mask is not None and len(mask.pixels):
            clusters, _ = boxes.clusters(mask, page.masks.gap, page.masks.fill)
            one, many = page.masks.types[kind]
            layers.append(Layer(kind, one, many, hues[kind], path, tuple(clusters), len(mask.pixels), mask.area))
    landmarks = {words: mark.at.box for words, mark in masks.marks.items()}
    where = masks.locations(masks.size)
    return Overlay(
        title=title or image.name,
        path=image.path,
        size=masks.image,
        layers=tuple(layers),
        landmarks=landmarks,
        named=page.max_boxes,
        crop=image.crop,
        nasal_side=where.nasal_side,
        missing=(*masks.missing, *where.missing),
    )


def raster(mask: Lesions) -> np.ndarray:
    """Returns the marked pixels, bool [height, width]."""
    width, height = mask.size
    marked = np.zeros((height, width), bool)
    marked[mask.marked.rows, mask.marked.columns] = True
    return marked


def shares(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns how much of each cell of a grid of `size` (columns, rows) is marked in a mask [height, width], 0 to 1 [rows,
    columns]; the grid must not be finer than the mask."""
    across = np.linspace(0, mask.shape[1], size[0] + 1).astype(int)
    down = np.linspace(0, mask.shape[0], size[1] + 1).astype(int)
    sums = np.add.reduceat(np.add.reduceat(mask, down[:-1], axis=0, dtype=np.int32), across[:-1], axis=1)
    return sums / (np.diff(down)[:, None] * np.diff(across))


def touches_field_edge(pixels: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Returns which boxes [n, 4] (fractions) of a picture [height, width, 3] touch the edge of the field of view: the end of
    the bright field in the row or column of their middle, or the picture's edge; bool [n]."""
    bright = pixels.max(axis=2) > _DARK
    height, width = bright.shape
    x = np.clip((edges[:, [0, 2]].mean(axis=1) * width).astype(int), 0, width - 1)
    y = np.clip((edges[:, [1, 3]].mean(axis=1) * height).astype(int), 0, height - 1)
    left, right = _ends(bright)
    top, bottom = _ends(bright.T)
    across, down = _EDGE, _EDGE * width / height
    return (
        (edges[:, 0] <= left[y] / width + across)
        | (edges[:, 2] >= right[y] / width - across)
        | (edges[:, 1] <= top[x] / height + down)
        | (edges[:, 3] >= bottom[x] / height - down)
    )


def _ends(bright: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first bright pixel of each row, and the place after the last one; a row without any counts as whole."""
    any_bright, width = bright.any(axis=1), bright.shape[1]
    first = np.where(any_bright, bright.argmax(axis=1), 0)
    last = np.where(any_bright, width - bright[:, ::-1].argmax(axis=1), width)
    return first, last


def rank(values: Sequence[float]) -> np.ndarray:
    """Returns how many values are smaller than each one, int [n]: equal values share a rank."""
    return np.searchsorted(np.sort(values), values)


def rank_for_review(overlays: Sequence[Overlay]) -> list[int]:
    """Returns the places of the overlays, those first that most want a second look: by the mean of three ranks, most boxes,
    lowest fill, most boxes at the edge of the field. Ties stay in the order given; images without lesions come last.
    UserError: a picture cannot be read."""
    ranks = rank([-o.boxes for o in overlays]) + rank([o.fill for o in overlays]) + rank([-o.edge_boxes for o in overlays])
    return np.lexsort((ranks, [not o.boxes for o in overlays])).tolist()
