"""Figures of an evaluation: confusion matrices, and the images that were answered wrongly. Each returns a closed Figure."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retinal_lib import images as picture
from retinal_lib.errors import UserError
from retinal_lib.evaluate import metrics as scores
from retinal_lib.evaluate.marks import Mark

_SIDE, _COLUMNS = 220, 4


def confusions(groups: dict[str, Sequence[Mark]]) -> Figure:
    """A confusion matrix for each group of single answers; the last column counts what has no answer."""
    if not groups:
        return _nothing("no grades or other single answers to compare")
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 3.2 * rows), squeeze=False, dpi=72, layout="constrained")
    plt.close(figure)
    for place, (title, held) in zip(axes.flat, groups.items(), strict=False):
        _matrix(place, title, held)
    for place in axes.flat[len(groups) :]:
        place.axis("off")
    return figure


def classes(held: Sequence[Mark]) -> list[object]:
    """The classes of single answers: a scale's levels, or whatever occurs."""
    if "levels" in held[0].entry:
        return held[0].entry["levels"]
    return sorted({m.reference for m in held} | {m.value for m in held if m.value is not None}, key=str)


def _matrix(axes: Axes, title: str, held: Sequence[Mark]) -> None:
    names = classes(held)
    counts = scores.confusion([m.reference for m in held], [m.value for m in held], names)
    axes.imshow(counts, cmap="Blues", vmin=0)
    for i, row in enumerate(counts):
        for j, number in enumerate(row):
            axes.text(
                j, i, int(number), ha="center", va="center", color="white" if number > counts.max() / 2 else "black", fontsize=9
            )
    axes.set_xticks(range(len(names) + 1), [*map(str, names), "none"], fontsize=8)
    axes.set_yticks(range(len(names)), map(str, names), fontsize=8)
    axes.set_xlabel("answer", fontsize=9)
    axes.set_ylabel("reference", fontsize=9)
    axes.set_title("\n".join(textwrap.wrap(title, 40)), fontsize=9)


def gallery(wrong: Sequence[Mark]) -> Figure:
    """Images with what was asked, wanted and answered. An image that cannot be read is left blank."""
    if not wrong:
        return _nothing("no wrong answer to show")
    rows = -(-len(wrong) // _COLUMNS)
    figure, axes = plt.subplots(rows, _COLUMNS, figsize=(13, 3.1 * rows), squeeze=False, dpi=72, layout="constrained")
    plt.close(figure)
    for place in axes.flat:
        place.axis("off")
    for place, mark in zip(axes.flat, wrong, strict=False):
        try:
            place.imshow(picture.upright(Path(mark.image), _SIDE))
        except UserError:
            place.set_facecolor("0.8")
        said = textwrap.wrap(f"said: {mark.text}", 40)[:3]
        told = [f"{mark.model}: {mark.dataset}, {mark.subject}", f"wanted: {mark.reference}", *said]
        place.set_title("\n".join(told), fontsize=8, loc="left", parse_math=False)
    return figure


def blank(path: Path, side: int = 512) -> Path:
    """Writes a grey picture without anything on it and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plt.imsave(path, np.full((side, side, 3), 128, np.uint8))
    return path


def _nothing(why: str) -> Figure:
    figure = plt.figure(figsize=(12, 0.6), dpi=72)
    figure.text(0.01, 0.4, why, fontsize=10, family="monospace")
    plt.close(figure)
    return figure
