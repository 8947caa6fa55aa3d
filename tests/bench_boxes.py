"""Boxes in `make bench`: how well they hold what masks mark, beside the original tool's, and how fast they are found.

`python tests/bench_boxes.py [folder of masks]` prints the same alone; without a folder, the published masks beside the project
are compared where they are, and masks of the same size are drawn for the speed."""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from bench_size import size
from PIL import Image

from retinal_lib.dataset import page
from retinal_lib.dataset.lesions import boxes
from retinal_lib.explore.boxes_job import in_processes

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SIZE = (4288, 2848)
MOST = 10
CLUSTERS = (page.get("IDRiD_seg").masks.gap, page.get("IDRiD_seg").masks.fill)
LEAST = 0.2  # seconds of work that a rate is measured over, at the least
SECONDS = size(6, 1)  # of work for one core: what helper processes are started for
Edges = tuple[int, int, int, int]


# --- what the original tool makes of a mask, for comparison ---


def original(edges: list[Edges], most: int = MOST) -> list[Edges]:
    """The boxes that RetinalGPT's tool would keep of lesions' boxes in pixels: what is at most 50 pixels apart is merged in
    one pass, boxes half hidden by a larger one and those below a twentieth of the mean area are dropped, and the distance
    grows by 5 pixels until `most` are left."""
    distance = 50
    while len(kept := _large(_uncovered(_merged(edges, distance)))) > most:
        distance += 5
    return kept


def _merged(edges: list[Edges], distance: int) -> list[Edges]:
    merged: list[Edges] = []
    for box in edges:
        for i, other in enumerate(merged):
            if _adjoin(box, other, 0, distance) and _adjoin(box, other, 1, distance):
                merged[i] = (*map(min, box[:2], other[:2]), *map(max, box[2:], other[2:]))
                break
        else:
            merged.append(box)
    return merged


def _adjoin(one: Edges, other: Edges, axis: int, distance: int) -> bool:
    return abs(one[axis] - other[axis + 2]) <= distance or abs(one[axis + 2] - other[axis]) <= distance


def _area(box: Edges) -> int:
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def _uncovered(edges: list[Edges]) -> list[Edges]:
    def hidden(box: Edges) -> bool:
        larger = [other for other in edges if _area(other) > _area(box)]
        shared = [_area((*map(max, box[:2], other[:2]), *map(min, box[2:], other[2:]))) for other in larger]
        return any(2 * area > _area(box) for area in shared)

    return [box for box in edges if not hidden(box)]


def _large(edges: list[Edges]) -> list[Edges]:
    mean = sum(map(_area, edges)) / max(len(edges), 1)
    return [box for box in edges if _area(box) >= 0.05 * mean]


# --- coverage and fill ---


def held(marked: np.ndarray, edges: list[Edges]) -> tuple[float, float, float]:
    """Of the marked pixels of a mask, the share that lies in boxes; the share of the boxes' pixels that is marked; and the
    share of the picture that the boxes take."""
    inside = np.zeros_like(marked)
    for left, top, right, bottom in edges:
        inside[top:bottom, left:right] = True
    both = int((marked & inside).sum())
    return both / max(int(marked.sum()), 1), both / max(int(inside.sum()), 1), float(inside.mean())


def compared(path: Path) -> dict[str, object] | None:
    """A mask's row: the original's boxes and ours, those that a description names and all. None: at most ten lesions."""
    with Image.open(path) as image:
        marked = np.asarray(image.getchannel(0) if len(image.getbands()) > 1 else image) > 0
    found = boxes.load(boxes.MaskFile(path))
    if len(found.pixels) <= MOST:
        return None
    lowest_first = [tuple(e) for e in found.edges[np.lexsort((-found.edges[:, 0], -found.edges[:, 1]))].tolist()]
    groups, _ = boxes.clusters(found, *CLUSTERS)
    old = held(marked, original(lowest_first))
    named, every = (held(marked, [_pixels(c.box, found.size) for c in g]) for g in (groups[:MOST], groups))
    return {
        "mask": path.stem,
        "lesions": len(found.pixels),
        "clusters": len(groups),
        "original holds": old[0],
        "original fill": old[1],
        "named hold": named[0],
        "named fill": named[1],
        "times": named[1] / old[1],
        "all hold": every[0],
        "all fill": every[1],
    }


def _pixels(box: boxes.Box, size: tuple[int, int]) -> Edges:
    """A box as the pixels that it touches."""
    (x0, x1), (y0, y1) = ((box[i] * size[i], box[i + 2] * size[i]) for i in (0, 1))
    return int(x0 + 1e-6), int(y0 + 1e-6), int(np.ceil(x1 - 1e-6)), int(np.ceil(y1 - 1e-6))


def comparison(masks: list[Path]) -> pd.DataFrame:
    """The table of all masks with more than ten lesions."""
    return pd.DataFrame([row for path in masks if (row := compared(path))]).set_index("mask")


def published() -> list[Path]:
    """The published lesion masks beside the project, without landmarks; empty where they are absent."""
    return sorted(p for p in (DATA / "IDRiD").rglob("*.tif") if not p.stem.endswith("_OD"))


# --- speed ---


def draw(folder: Path, count: int) -> list[Path]:
    """Masks of SIZE with a few hundred lesions each, as IDRiD stores them and as PNG, in turn."""
    paths = []
    for i in range(count):
        random = np.random.default_rng(i)
        marked = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        for x, y, r in zip(
            random.integers(0, SIZE[0], 300), random.integers(0, SIZE[1], 300), random.integers(2, 40, 300), strict=True
        ):
            marked[max(0, y - r) : y + r, max(0, x - r) : x + r] = 1
        image = Image.fromarray(marked * 255).convert("1" if i % 2 else "L")
        path = folder / f"{i:02d}.{'tif' if i % 2 else 'png'}"
        image.save(path, compression="raw") if i % 2 else image.save(path, compress_level=3)
        paths.append(path)
    return paths


def decode(path: Path) -> int:
    """Only what the library does to give the pixels."""
    with Image.open(path) as image:
        return int(np.asarray(image).shape[0])


find = partial(boxes.of, gap=CLUSTERS[0], fill=CLUSTERS[1])  # all that is done to a mask


class Rates(NamedTuple):
    """Masks in a second by the clock, and in a second of work that cores did for this process and its helpers."""

    clock: float
    work: float


def rate(work: Callable[[Path], object], paths: list[Path], workers: int) -> Rates:
    """How fast so many workers are, with the start of their processes; again and again over the same masks until it has cost
    `LEAST` of work, since some machines count a process's work in steps of 10 ms."""
    clock, worked, masks = time.perf_counter(), sum(os.times()[:4]), 0
    while (cost := sum(os.times()[:4]) - worked) < LEAST:
        masks += len(paths)
        for _ in in_processes(work, paths, workers):
            pass
    return Rates(masks / (time.perf_counter() - clock), masks / cost)


def speed(paths: list[Path], title: str) -> None:
    """Rates of decoding alone and of finding boxes: on one core by the work, since others may share the machine, the best of
    five; on two by the clock, the best of three pairs over some seconds' masks. Where other work holds the second core, the
    clock cannot tell; then how much work two do for what one does tells how near they come to twice as fast."""
    plain, ours = (max(rate(work, paths, 1).work for _ in range(size(5, 1))) for work in (decode, find))
    many = (paths * (int(ours * SECONDS) // len(paths) + 1))[: int(ours * SECONDS)]
    pairs = [(rate(find, many, 2), rate(find, many, 1)) for _ in range(size(3, 1))]
    gain, more = max(two.clock / one.clock for two, one in pairs), min(one.work / two.work for two, one in pairs)
    share = f"{ours:.0f} masks/s on one core, {ours / plain:.2f} of decoding alone ({plain:.0f}/s)"
    print(f"{title}: {share}; two processes {gain:.2f} times one by the clock, {more:.2f} times its work in all")


def main() -> None:
    """The table and the speed."""
    masks = (
        sorted(p for p in Path(sys.argv[1]).rglob("*") if p.suffix.lower() in (".png", ".tif")) if sys.argv[1:] else published()
    )
    if masks:
        table = comparison(masks)
        print("coverage and fill of masks with more than ten lesions; `named`: the ten boxes that a description names")
        print(table.to_string(float_format="{:.3f}".format))
        speed(masks, f"{len(masks)} published masks")
    with tempfile.TemporaryDirectory() as folder:
        drawn = draw(Path(folder), size(12, 2))
        speed(drawn[0::2], f"PNG masks of {SIZE[0]} x {SIZE[1]}")
        speed(drawn[1::2], f"TIFF masks of {SIZE[0]} x {SIZE[1]}, one bit a pixel")


if __name__ == "__main__":
    main()
