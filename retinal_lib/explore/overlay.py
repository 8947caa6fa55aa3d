"""What is drawn over a picture: its lesions' boxes and masks, and what makes a picture worth a second look."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from retinal_lib import drawing
from retinal_lib import images as picture
from retinal_lib.dataset import lesion_facts
from retinal_lib.dataset.fact_kinds import Boxes
from retinal_lib.dataset.image import Image
from retinal_lib.dataset.lesions import boxes
from retinal_lib.dataset.lesions.boxes import Box, Cluster, CropInfo, Lesion, Lesions
from retinal_lib.dataset.page import Page
from retinal_lib.drawing import Hue

RIM = 0.015  # a box this near the end of the picture's round field, as a share of the picture's width, touches the rim
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
    def fill(self) -> float:
        """The lesions' share of their boxes' pixels, 0 to 1."""
        return sum(c.pixels for c in self.clusters) / sum(c.pixels / c.fill for c in self.clusters)

    @property
    def told(self) -> str:
        """Words and number: 3 haemorrhages."""
        return f"{self.lesions:,} {self.one if self.lesions == 1 else self.many}"


@dataclass(frozen=True)
class Overlay:
    """One image and what lies over it. `title` is what it is called where people look, `size` its (width, height) in
    pixels, `landmarks` are boxes by their words, `named` is how many boxes of a type a description names, `cut` what
    AutoMorph cropped the picture by, `nasal` 1 where the nose is on the right, -1 on the left, 0 where that is not known,
    `missing` what could not be used. Masks are read again where they are drawn: many overlays take little memory."""

    title: str
    path: Path
    size: tuple[int, int]
    layers: tuple[Layer, ...]
    landmarks: dict[str, Box]
    named: int
    cut: CropInfo | None = None
    nasal: int = 0
    missing: tuple[str, ...] = ()

    @property
    def boxes(self) -> int:
        """How many boxes there are."""
        return sum(len(layer.clusters) for layer in self.layers)

    @property
    def fill(self) -> float:
        """The lesions' share of the pixels of all boxes, 0 to 1; 1 where there is none."""
        pixels = sum(c.pixels for layer in self.layers for c in layer.clusters)
        return pixels / sum(c.pixels / c.fill for layer in self.layers for c in layer.clusters) if pixels else 1.0

    @cached_property
    def at_rim(self) -> int:
        """How many boxes touch the rim of the picture's round field, or its edge. UserError: the image cannot be read."""
        found = [c.box for layer in self.layers for c in layer.clusters]
        return int(touching(np.asarray(picture.upright(self.path, _SIDE)), np.array(found)).sum()) if found else 0

    @property
    def caption(self) -> str:
        """What makes it worth a second look."""
        if not self.boxes:
            return "no lesion is marked"
        rim = f", {self.at_rim} at the rim" if self.at_rim else ""
        return f"{self.boxes} {'box' if self.boxes == 1 else 'boxes'}{rim}, {self.fill:.0%} filled"

    def marked(self, layer: Layer) -> np.ndarray:
        """The mask of a layer as the picture shows it, bool [height, width]: cut where the picture is AutoMorph's crop."""
        return raster(self._content(layer))

    def _content(self, layer: Layer) -> Lesions:
        return lesion_facts.shown(boxes.read(layer.path), self.size, self.cut)

    def smallest(self, count: int) -> list[tuple[Layer, Lesion]]:
        """The smallest lesions, the types in turn, none close to another, each with its box as a fraction of the picture."""
        turns = [self._upwards(layer, 10 * count) for layer in self.layers]
        found: list[tuple[Layer, Lesion]] = []
        while turns and len(found) < count:
            for turn in list(turns):
                pair = next((pair for pair in turn if all(_apart(pair[1], other) for _, other in found)), None)
                if pair is None:
                    turns.remove(turn)
                elif len(found) < count:
                    found.append(pair)
        return found

    def _upwards(self, layer: Layer, count: int) -> Iterator[tuple[Layer, Lesion]]:
        for lesion in heapq.nsmallest(count, self._content(layer).lesions, key=lambda lesion: lesion.pixels):
            yield layer, lesion


def _apart(one: Lesion, other: Lesion) -> bool:
    return any(abs(a - b) > _NEAR for a, b in zip(one.box[:2], other.box[:2], strict=True))


def read(page: Page, image: Image, title: str = "") -> Overlay:
    """The overlay of an image of a dataset; `title` where its name is not to be shown. UserError: the image is not used."""
    image.require_usable()
    if not page.masks:
        return Overlay(title or image.name, image.path, (1, 1), (), {}, 0)
    told = lesion_facts.read(image.masks, page, image.path, image.eye, image.crop)
    hues = drawing.hues(page.masks.types)
    layers = []
    for kind, (path, content) in told.types.items():
        if content is not None and len(content.pixels):
            groups, _ = boxes.clusters(content, page.masks.gap, page.masks.fill)
            one, many = page.masks.types[kind]
            layers.append(Layer(kind, one, many, hues[kind], path, tuple(groups), len(content.pixels), content.area))
    marks = {words: mark.at.box for words, mark in told.marks.items()}
    most = next((kind.max_boxes for kind in page.gives if isinstance(kind, Boxes)), 0)
    nasal = told.places(told.size).nasal  # before `missing` is taken: it adds to it where eye and disc disagree
    drawn = tuple(layer for layer in layers if layer.clusters)
    return Overlay(title or image.name, image.path, told.image, drawn, marks, most, image.crop, nasal, tuple(told.missing))


def raster(found: Lesions) -> np.ndarray:
    """The marked pixels, bool [height, width]."""
    width, height = found.size
    steps = np.zeros(height * (width + 1), np.int8)
    line = found.runs.rows * (width + 1)
    steps[line + found.runs.starts] = 1
    steps[line + found.runs.ends] -= 1  # two runs of a row never touch
    np.cumsum(steps, out=steps)
    return steps.view(bool).reshape(height, width + 1)[:, :width]


def shares(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """How much of each cell of a grid of `size` (columns, rows) is marked in a mask [height, width], 0 to 1 [rows, columns];
    the grid is not finer than the mask."""
    across = np.linspace(0, mask.shape[1], size[0] + 1).astype(int)
    down = np.linspace(0, mask.shape[0], size[1] + 1).astype(int)
    sums = np.add.reduceat(np.add.reduceat(mask, down[:-1], axis=0, dtype=np.int32), across[:-1], axis=1)
    return sums / (np.diff(down)[:, None] * np.diff(across))


def touching(pixels: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Which boxes [n, 4] (fractions) of a picture [height, width, 3] reach its rim: the end of the bright field in the row
    or column of their middle, or the picture's edge; bool [n]."""
    bright = pixels.max(axis=2) > _DARK
    height, width = bright.shape
    x = np.clip((found[:, [0, 2]].mean(axis=1) * width).astype(int), 0, width - 1)
    y = np.clip((found[:, [1, 3]].mean(axis=1) * height).astype(int), 0, height - 1)
    left, right = _ends(bright)
    top, bottom = _ends(bright.T)
    margin, down = RIM, RIM * width / height
    return (
        (found[:, 0] <= left[y] / width + margin)
        | (found[:, 2] >= right[y] / width - margin)
        | (found[:, 1] <= top[x] / height + down)
        | (found[:, 3] >= bottom[x] / height - down)
    )


def _ends(bright: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first bright pixel of each row, and the place after the last one; a row without any counts as whole."""
    any_bright, width = bright.any(axis=1), bright.shape[1]
    first = np.where(any_bright, bright.argmax(axis=1), 0)
    last = np.where(any_bright, width - bright[:, ::-1].argmax(axis=1), width)
    return first, last


def worst(overlays: Sequence[Overlay]) -> list[Overlay]:
    """Those that want a second look first: by the mean of three ranks, most boxes, lowest fill, most boxes at the rim. Ties
    stay in the order given; images without lesions come last."""
    ranks = np.zeros(len(overlays))
    for values in ([-o.boxes for o in overlays], [o.fill for o in overlays], [-o.at_rim for o in overlays]):
        ranks += np.searchsorted(np.sort(values), values)
    empty = np.array([not o.boxes for o in overlays], bool)
    return [overlays[i] for i in np.lexsort((ranks, empty))]
