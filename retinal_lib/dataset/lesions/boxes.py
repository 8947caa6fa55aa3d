"""Lesion masks to lesions, clusters and boxes: pure functions of files and arrays."""

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from retinal_lib.dataset.lesions import masks
from retinal_lib.dataset.lesions.masks import Coding, Frame, Pixels

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Lesion:
    """One connected lesion: its box [x_min, y_min, x_max, y_max] as fractions of the mask's width and height, with
    4 digits, rounded outwards so that it always holds the lesion (x to the right, y down, the maximum edges exclusive),
    and its pixel count."""

    box: Box
    pixels: int


@dataclass(frozen=True)
class Cluster:
    """Lesions that lie close together: the box around them (as `Lesion`), how many they are, their pixels, and the share
    of the box's pixels that they fill, 0 to 1 with 4 digits."""

    box: Box
    lesions: int
    pixels: int
    fill: float


@dataclass(frozen=True, eq=False)
class Lesions:
    """All connected lesions of one mask, the largest first; `size` is the mask's (width, height), `edges` their boxes in
    pixels [n, 4], `pixels` their sizes [n], `marked` the marked pixels with `owners` as numbered here. `are_boxes`: people drew
    boxes, so that each holds a lesion and more: its area is not the lesion's."""

    size: tuple[int, int]
    edges: np.ndarray
    pixels: np.ndarray
    marked: Pixels
    are_boxes: bool = False

    @classmethod
    def of(cls, size: tuple[int, int], marked: Pixels) -> "Lesions":
        """Sorts marked pixels into lesions, the largest first, however their owners are numbered."""
        count = int(marked.owners.max(initial=-1)) + 1
        # int32 throughout: ufunc.at is twenty times slower where types differ, and took more time than reading the file
        low, high = np.full((2, count), np.iinfo(np.int32).max, np.int32), np.zeros((2, count), np.int32)
        for i, places in enumerate((marked.columns, marked.rows)):
            np.minimum.at(low[i], marked.owners, places)
            np.maximum.at(high[i], marked.owners, places + 1)
        edges, pixels = np.vstack([low, high]).T.astype(np.int64), np.bincount(marked.owners, minlength=count)
        order = largest_first(pixels, edges)
        return cls(size, edges[order], pixels[order], marked._replace(owners=_ranks(order)[marked.owners]))

    @cached_property
    def lesions(self) -> tuple[Lesion, ...]:
        """Each lesion by itself."""
        return tuple(map(Lesion, self.shares(self.edges), self.pixels.tolist()))

    @property
    def area(self) -> float:
        """The lesions' share of the image, 0 to 1."""
        return int(self.pixels.sum()) / (self.size[0] * self.size[1])

    def shares(self, edges: np.ndarray) -> list[Box]:
        """Boxes in pixels [n, 4] as fractions of the mask, rounded outwards to 4 digits."""
        scaled = np.round(edges / np.tile(self.size, 2) * 1e4, 6)  # 6 digits: what floating point adds is no part of a pixel
        outer = np.hstack([np.floor(scaled[:, :2]), np.ceil(scaled[:, 2:])]) / 1e4
        return [tuple(box) for box in outer.tolist()]

    @cached_property
    def centres(self) -> np.ndarray:
        """The mean place of each lesion's pixels, (x, y) in pixels [n, 2]."""
        count = len(self.pixels)
        x = np.bincount(self.marked.owners, self.marked.columns + 0.5, count)
        y = np.bincount(self.marked.owners, self.marked.rows + 0.5, count)
        return np.stack([x, y], axis=1) / np.maximum(self.pixels, 1)[:, None]

    def distances(self, x: float, y: float) -> np.ndarray:
        """Returns how far each lesion's nearest pixel is from a point, in pixels [n]; 0 where the point lies on the lesion."""
        columns, rows = self.marked.columns, self.marked.rows
        across = np.maximum(np.maximum(columns - x, x - columns - 1), 0)
        down = np.maximum(np.maximum(rows - y, y - rows - 1), 0)
        nearest = np.full(len(self.pixels), np.inf)
        np.minimum.at(nearest, self.marked.owners, np.hypot(across, down))
        return nearest


def find(mask: np.ndarray) -> Lesions:
    """Finds the 8-connected lesions of a boolean mask [height, width], the largest first, ties from the top left."""
    return Lesions.of((mask.shape[1], mask.shape[0]), masks.connected(mask))


def largest_first(pixels: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Returns the order of lesions with these pixels [n] and boxes [n, 4]: the largest first, ties from the left."""
    return np.lexsort((edges[:, 3], edges[:, 2], edges[:, 1], edges[:, 0], -pixels))


def _ranks(order: np.ndarray) -> np.ndarray:
    """The place of each number in an order of them, int64 [n]."""
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


class MaskFile(NamedTuple):
    """A mask file with what its page states of its values, and the EXIF orientation by which it is turned."""

    path: Path
    coding: Coding = Coding()
    turn: int = 1

    def of(self, picture: Frame) -> "MaskFile":
        """Returns the mask turned with its picture. UserError: it cannot be read. Unclear: how it lies is not known."""
        return self._replace(turn=masks.turn_of(masks.size(self.path), picture))

    def lesions(self) -> "Lesions":
        """Returns the connected lesions. UserError: it cannot be read, or its values could be read in two ways."""
        return find(masks.read(*self))


class Marks(Protocol):
    """What marks lesions in a picture: a mask file, or the shapes of an annotation file."""

    path: Path

    def of(self, picture: Frame) -> "Marks":
        """Returns the marks laid on a picture. UserError: they cannot be read. Unclear: how they lie is not known."""

    def lesions(self) -> Lesions:
        """Returns the marked lesions. UserError: they cannot be told."""


@lru_cache(maxsize=16)
def read(mask: Marks) -> Lesions:
    """Reads the lesions of a mask and keeps the last 16 in memory, since a mask is described, checked and drawn in turn.
    UserError: it cannot be read, or its values could be read in two ways."""
    return load(mask)


def load(mask: Marks) -> Lesions:
    """Reads the lesions of a mask, for whole folders: nothing is kept in memory. UserError: as `read`."""
    return mask.lesions()


class Clustering(NamedTuple):
    """The clusters of a mask's lesions, those with most pixels first, and the number of each lesion's cluster, int64 [n]."""

    clusters: list[Cluster]
    owners: np.ndarray


def clusters(lesions: Lesions, gap: float, fill: float = 0.0) -> Clustering:
    """Groups a mask's lesions into clusters.

    Two lesions belong to one cluster where their boxes are at most `gap` apart, across and down, as a share of the mask's
    longer side; so does whatever is near one of them. A cluster that fills less than `fill` of its box is parted: at half
    the gap, a quarter, an eighth, where boxes touch, and at last into single lesions. Each lesion is in exactly one. Boxes that
    people drew stay as they are."""
    if not len(lesions.pixels):
        return Clustering([], np.empty(0, np.int64))
    owners = np.arange(len(lesions.pixels)) if lesions.are_boxes else _dense(lesions, gap * max(lesions.size), fill)
    groups = _around(lesions.edges, lesions.pixels, owners)
    order = largest_first(groups.pixels, groups.edges)
    fills = [round(fill, 4) for fill in groups.fill[order].tolist()]
    boxes = lesions.shares(groups.edges[order])
    rows = map(Cluster, boxes, groups.lesions[order].tolist(), groups.pixels[order].tolist(), fills)
    return Clustering(list(rows), _ranks(order)[owners])


def of(path: Path, gap: float, fill: float) -> list[Cluster]:
    """Returns the clusters of a mask file. UserError: as `read`."""
    return clusters(load(MaskFile(path)), gap, fill).clusters


def _dense(lesions: Lesions, gap: float, fill: float) -> np.ndarray:
    """The number of each lesion's cluster, int64 [n], with `gap` in pixels."""
    owners, left, taken = np.empty(len(lesions.pixels), np.int64), np.arange(len(lesions.pixels)), 0
    for apart in (gap, gap / 2, gap / 4, gap / 8, 0):
        near = _near(lesions.edges[left], apart)
        groups = _around(lesions.edges[left], lesions.pixels[left], near)
        whole = ((groups.fill >= fill) | (groups.lesions == 1))[near]
        owners[left[whole]] = taken + near[whole]
        left, taken = left[~whole], taken + len(groups.pixels)
        if not len(left):
            break
    owners[left] = taken + np.arange(len(left))
    return np.unique(owners, return_inverse=True)[1]


def _near(edges: np.ndarray, gap: float) -> np.ndarray:
    """The groups of boxes [n, 4] in which each is at most `gap` pixels from another, across and down, as numbers [n]."""
    from scipy.sparse import coo_array  # here, as OpenCV in `masks`
    from scipy.sparse.csgraph import connected_components

    order = np.argsort(edges[:, 0], kind="stable")
    left, top, right, bottom = edges[order].T
    # by their left edges, a box can only be near those that follow until one begins beyond its right edge
    following = np.searchsorted(left, right + gap, side="right") - np.arange(len(order)) - 1
    one = np.repeat(np.arange(len(order)), following)
    other = one + 1 + np.arange(len(one)) - np.repeat(np.cumsum(following) - following, following)
    close = np.maximum(top[one], top[other]) - np.minimum(bottom[one], bottom[other]) <= gap
    one, other = order[one[close]], order[other[close]]
    return connected_components(coo_array((np.ones(len(one)), (one, other)), shape=(len(order),) * 2), directed=False)[1]


class _Groups(NamedTuple):
    """Groups of lesions: the box of each in pixels [n, 4], its pixels and how many lesions it has [n]."""

    edges: np.ndarray
    pixels: np.ndarray
    lesions: np.ndarray

    @property
    def fill(self) -> np.ndarray:
        """The share of each box's pixels that is marked, [n]."""
        return self.pixels / ((self.edges[:, 2] - self.edges[:, 0]) * (self.edges[:, 3] - self.edges[:, 1]))


def _around(edges: np.ndarray, pixels: np.ndarray, owners: np.ndarray) -> _Groups:
    """The groups of lesions with these boxes [n, 4] and pixels [n], by the number of each lesion's group [n]."""
    order = np.argsort(owners, kind="stable")
    cut = np.flatnonzero(np.diff(owners[order], prepend=-1))
    low = np.minimum.reduceat(edges[order, :2], cut)
    boxes = np.hstack([low, np.maximum.reduceat(edges[order, 2:], cut)])
    return _Groups(boxes, np.add.reduceat(pixels[order], cut), np.diff(cut, append=len(order)))


@dataclass(frozen=True)
class Landmark:
    """A part of the eye that a mask marks: its box (as `Lesion`), its centre (x, y) and its diameter (that of a circle of
    its area), both in the mask's pixels."""

    box: Box
    centre: tuple[float, float]
    diameter: float


def landmark(lesions: Lesions) -> Landmark | None:
    """Returns the largest marked part of a landmark's mask; None where nothing is marked."""
    if not len(lesions.pixels):
        return None
    x, y = lesions.centres[0].tolist()
    return Landmark(lesions.lesions[0].box, (x, y), 2 * math.sqrt(int(lesions.pixels[0]) / math.pi))


class CropInfo(NamedTuple):
    """How AutoMorph cropped a picture: row and column of the field's centre and the field's radius, in pixels of the whole
    picture."""

    row: int
    column: int
    radius: int


@dataclass(frozen=True)
class Crop:
    """A picture cut out of another and laid on a square, as AutoMorph's M0 does it: `size` of the whole picture, `left`
    and `top` corner, `width` and `height` of the part, and its place (`right`, `down`) on a square of `side`; pixels."""

    size: tuple[int, int]
    left: int
    top: int
    width: int
    height: int
    right: int
    down: int
    side: int

    @classmethod
    def around(cls, size: tuple[int, int], row: int, column: int, radius: int) -> "Crop":
        """Returns what AutoMorph's M0 keeps of a picture of `size` (width, height), by the three numbers of its
        crop_info.csv."""
        left, top = max(0, column - radius), max(0, row - radius)
        width, height = min(size[0] - left, 2 * radius), min(size[1] - top, 2 * radius)
        side = max(width, height)
        return cls(size, left, top, width, height, int(side / 2 - width / 2), int(side / 2 - height / 2), side)

    def cut(self, lesions: Lesions) -> Lesions:
        """Returns what the crop holds of the lesions of a whole picture, in the crop's pixels; a lesion that its edge parts in
        two stays one."""
        rows, columns, owners = lesions.marked
        right, down = columns - self.left, rows - self.top
        inside = (right >= 0) & (right < self.width) & (down >= 0) & (down < self.height)
        owners = np.unique(owners[inside], return_inverse=True)[1]
        part = Lesions.of((self.side, self.side), Pixels(down[inside] + self.down, right[inside] + self.right, owners))
        return replace(part, are_boxes=lesions.are_boxes)
