"""The lesions drawn over a picture: boxes and masks; and the ranking of pictures for review."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from retinal_lib.dataset import lesion_facts
from retinal_lib.dataset.image import Image
from retinal_lib.dataset.lesions import boxes
from retinal_lib.dataset.lesions.boxes import Box, Cluster, CropInfo, Lesion, Lesions, Marks
from retinal_lib.dataset.lesions.locations import Side
from retinal_lib.dataset.page import Page
from retinal_lib.imaging import drawing, images
from retinal_lib.imaging.drawing import Hue

_EDGE = 0.015  # of the picture's width: a box this near the end of the field of view touches its edge
_DARK = 24  # of 255: outside the field of view, no channel of a pixel is brighter
_NEAR = 0.06  # of the picture: of lesions nearer to each other, only one is enlarged
_POINT = 0.006  # of the picture: half the side of the box that stands for a centre
_SIDE = 256  # pixels of the picture in which the field of view is searched


@dataclass(frozen=True)
class Layer:
    """One lesion type of an image: code, words for one and many, hue, mask file, its clusters (boxes as fractions of the
    picture), those with the most pixels first, the number of lesions, and their share of the image (0 to 1)."""

    kind: str
    one: str
    many: str
    hue: Hue
    file: Marks
    clusters: tuple[Cluster, ...]
    lesions: int
    area: float

    @property
    def short(self) -> str:
        """The words for many, without a part in brackets."""
        return self.many.split(" (")[0]

    @property
    def counted(self) -> str:
        """Number and words: 3 haemorrhages."""
        return f"{self.lesions:,} {self.one if self.lesions == 1 else self.many}"


@dataclass(frozen=True)
class Overlay:
    """One image with its lesions. `title` is its name in figures, `size` its (width, height) in pixels, `landmarks` are boxes
    by words, `named` is the number of boxes of a type that a description names, `crop` is AutoMorph's crop of the picture,
    `nasal_side` the side of the nose (right, left, unknown), `missing` are sentences on masks that could not be used. Masks
    are read again when they are drawn, so that many overlays take little memory."""

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
        """The number of boxes."""
        return len(self.clusters)

    @property
    def fill(self) -> float:
        """The lesions' share of the pixels of all boxes, 0 to 1; 1 if there are no boxes."""
        area = sum(cluster.pixels / cluster.fill for cluster in self.clusters)
        return sum(cluster.pixels for cluster in self.clusters) / area if area else 1.0

    @cached_property
    def edge_boxes(self) -> int:
        """The number of boxes that touch the edge of the field of view. UserError: the image cannot be read."""
        edges = np.array([cluster.box for cluster in self.clusters])
        return int(touches_field_edge(np.asarray(images.load_upright(self.path, _SIDE)), edges).sum()) if len(edges) else 0

    @property
    def caption(self) -> str:
        """The number of boxes, those at the edge, and their fill, in words."""
        if not self.boxes:
            return "no lesion is marked"
        edge = f", {self.edge_boxes} at the edge" if self.edge_boxes else ""
        return f"{self.boxes} {'box' if self.boxes == 1 else 'boxes'}{edge}, {self.fill:.0%} filled"

    def mask(self, layer: Layer) -> np.ndarray:
        """Returns the mask of a layer, bool [height, width], cropped as AutoMorph cropped the picture."""
        return raster(self._lesions(layer))

    def _lesions(self, layer: Layer) -> Lesions:
        return lesion_facts.shown(boxes.read(layer.file), self.size, self.crop)

    def smallest(self, count: int) -> list[tuple[Layer, Lesion]]:
        """Returns the smallest lesions, taking the types in turn, none close to another; boxes are fractions of the picture."""
        queues = [self._smallest_first(layer, 10 * count) for layer in self.layers]
        smallest: list[tuple[Layer, Lesion]] = []
        while queues and len(smallest) < count:
            for queue in list(queues):
                pair = next((pair for pair in queue if all(_far_apart(pair[1], other) for _, other in smallest)), None)
                if pair is None:
                    queues.remove(queue)
                elif len(smallest) < count:
                    smallest.append(pair)
        return smallest

    def _smallest_first(self, layer: Layer, count: int) -> Iterator[tuple[Layer, Lesion]]:
        for lesion in heapq.nsmallest(count, self._lesions(layer).lesions, key=lambda lesion: lesion.pixels):
            yield layer, lesion


def _far_apart(one: Lesion, other: Lesion) -> bool:
    return any(abs(a - b) > _NEAR for a, b in zip(one.box[:2], other.box[:2], strict=True))


def read(page: Page, image: Image, title: str = "") -> Overlay:
    """Reads the overlay of an image of a dataset; `title` replaces a private name. UserError: the image is not used."""
    image.require_usable()
    if not page.masks:
        return Overlay(title or image.name, image.path, (1, 1), (), {}, 0)
    masks = lesion_facts.read(image.masks, image.path, image.eye, image.crop)
    hues = drawing.hues(page.masks.types)
    layers = []
    for kind, (file, mask) in masks.types.items():
        if mask is not None and len(mask.pixels):
            clusters, _ = boxes.clusters(mask, page.masks.gap, page.masks.fill)
            one, many = page.masks.types[kind]
            layers.append(Layer(kind, one, many, hues[kind], file, tuple(clusters), len(mask.pixels), mask.area))
    landmarks = {words: mark.at.box for words, mark in masks.landmarks.items()}
    if page.kind("boxes") and page.kind("boxes").centres:
        points = {words: point[:2] for words, point in masks.points.items() if words not in landmarks}
        landmarks |= {
            f"centre of the {words}": (x - _POINT, y - _POINT, x + _POINT, y + _POINT) for words, (x, y) in points.items()
        }
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


def coverage(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the marked share of each cell, when a grid of `size` (columns, rows) is laid over a mask [height, width]: 0 to 1
    [rows, columns]. The grid must not be finer than the mask."""
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
    left, right = _field_limits(bright)
    top, bottom = _field_limits(bright.T)
    across, down = _EDGE, _EDGE * width / height
    return (
        (edges[:, 0] <= left[y] / width + across)
        | (edges[:, 2] >= right[y] / width - across)
        | (edges[:, 1] <= top[x] / height + down)
        | (edges[:, 3] >= bottom[x] / height - down)
    )


def _field_limits(bright: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first bright pixel of each row and the one after the last; a row without bright pixels counts as bright."""
    any_bright, width = bright.any(axis=1), bright.shape[1]
    first = np.where(any_bright, bright.argmax(axis=1), 0)
    last = np.where(any_bright, width - bright[:, ::-1].argmax(axis=1), width)
    return first, last


def rank(values: Sequence[float]) -> np.ndarray:
    """Returns the rank of each value, int [n]: how many values are smaller; equal values share a rank."""
    return np.searchsorted(np.sort(values), values)


def rank_for_review(overlays: Sequence[Overlay]) -> list[int]:
    """Returns the indices of the overlays, those that need review most first: by the mean of three ranks, most boxes, lowest
    fill, most boxes at the edge of the field. Ties keep their order; images without lesions come last.
    UserError: a picture cannot be read."""
    ranks = rank([-o.boxes for o in overlays]) + rank([o.fill for o in overlays]) + rank([-o.edge_boxes for o in overlays])
    return np.lexsort((ranks, [not o.boxes for o in overlays])).tolist()
