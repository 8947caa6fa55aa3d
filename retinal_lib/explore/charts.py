"""A dataset's measurements, example pictures and lesions as figures."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retinal_lib import drawing, images
from retinal_lib.dataset.measurements import Feature
from retinal_lib.display import count
from retinal_lib.drawing import Axes, Figure
from retinal_lib.errors import UserError
from retinal_lib.explore.lesion_map import LesionMap
from retinal_lib.explore.measurement_table import range_of

_THUMB = 240  # pixels of an example


def histograms(measured: Sequence[tuple[Feature, np.ndarray, np.ndarray]], columns: int = 3) -> Figure:
    """Draws a histogram of each measurement's trusted values; the plausible range is white, the rest grey; values outside it
    (`outside`) are crosses, with their number at the side where they are."""
    measured = [(feature, values, outside) for feature, values, outside in measured if len(values) or len(outside)]
    if not measured:
        return drawing.sentence("there are no AutoMorph measurements")
    rows = -(-len(measured) // columns)
    with drawing.style():
        figure, axes = drawing.grid(rows, columns, 1.6 * rows)
        for panel, (feature, values, outside) in zip(axes.flat, measured, strict=False):
            _histogram(panel, feature, values, outside)
        for panel in axes.flat[len(measured) :]:
            panel.axis("off")
    return figure


def _histogram(axes: Axes, feature: Feature, values: np.ndarray, outside: np.ndarray) -> None:
    title = "\n".join(textwrap.wrap(feature.words.replace(" over the whole image", ""), 44)[:2])
    unit = f"{feature.unit}, " if feature.unit else ""
    drawing.headline(axes, title, lines=2, fontsize=6.5)
    axes.set_xlabel(f"{unit}plausible {range_of(feature)}; {count(len(values), 'image')}", fontsize=6)
    low, high = (values.min(), values.max()) if len(values) else (feature.low, feature.high)
    margin = 0.18 * (high - low) or 0.1 * abs(high) or 0.1
    left, right = low - margin, high + margin
    if len(values):
        bins = min(30, max(6, round(len(values) ** 0.5)))
        axes.hist(values, bins=bins, range=(low, high) if high > low else None, color=drawing.BAR, linewidth=0)
        axes.axvline(np.median(values), color=drawing.INK, linewidth=0.8)
    axes.set_xlim(left, right)
    for start, end in ((left, feature.low), (feature.high, right)):
        if start < end:
            axes.axvspan(start, end, color="#e4e4e4", linewidth=0, zorder=0)
    for beyond, x, align in ((outside <= feature.low, 0.03, "left"), (outside >= feature.high, 0.97, "right")):
        if n := int(beyond.sum()):
            text = f"× {n} below" if align == "left" else f"{n} above ×"
            label = axes.text(x, 0.93, text, transform=axes.transAxes, color=drawing.ALARM, fontsize=6.5, ha=align, va="top")
            label.set_in_layout(False)
    if len(near := outside[(outside > left) & (outside < right)]):
        marks = np.full(len(near), 0.04)
        axes.plot(near, marks, "x", color=drawing.ALARM, markersize=4, transform=axes.get_xaxis_transform())
    drawing.ticks(axes.yaxis, 3, whole=True)
    drawing.ticks(axes.xaxis, 4)


def examples(classes: dict[str, list[tuple[str, Path]]], columns: int) -> Figure:
    """Draws the pictures (title, path) of each class in rows of `columns`, with the class above its first picture; instead of
    a picture that cannot be read, it writes so."""
    if not any(classes.values()):
        return drawing.sentence("there is no image to show")
    lines = _lines(classes, columns)
    thumbs = {path: _thumb(path) for pictures in classes.values() for _, path in pictures}
    ratio = max([thumb.shape[0] / thumb.shape[1] for thumb in thumbs.values() if thumb is not None] or [1])
    with drawing.style():
        figure, axes = drawing.grid(len(lines), columns, (drawing.WIDTH / columns * ratio + 0.45) * len(lines))
        for panels, line in zip(axes, lines, strict=True):
            at = 0
            for name, pictures in line:
                for panel, (title, path) in zip(panels[at:], pictures, strict=False):
                    _example(panel, title, thumbs[path])
                letters = 21 * len(pictures)
                wrapped = textwrap.wrap(textwrap.shorten(name, 2 * letters - 8, placeholder=" …"), letters)
                drawing.headline(panels[at], "\n".join(wrapped), fontsize=6.5, fontweight="bold")
                at += len(pictures)
            for panel in panels[at:]:
                panel.axis("off")
    return drawing.tell_drawn(figure, images.drawn_among(thumbs))


def _lines(classes: dict[str, list], columns: int) -> list[list[tuple[str, list]]]:
    """Rows of (class, pictures): a class continues the row of the last one if it fits."""
    lines: list[list[tuple[str, list]]] = []
    for name, pictures in classes.items():
        for i in range(0, len(pictures), columns):
            part = pictures[i : i + columns]
            if not lines or sum(len(other) for _, other in lines[-1]) + len(part) > columns:
                lines.append([])
            lines[-1].append((name if not i else "", part))
    return lines


def _example(axes: Axes, title: str, pixels: np.ndarray | None) -> None:
    grey = np.full((3, 4, 3), 230, np.uint8)
    drawing.show(axes, grey if pixels is None else pixels, "", drawing.short(title, 27))
    axes.xaxis.label.set_fontsize(5.5)
    if pixels is None:
        axes.text(0.5, 0.5, "cannot be read", transform=axes.transAxes, ha="center", va="center")


def _thumb(path: Path) -> np.ndarray | None:
    try:
        return np.asarray(images.load_upright(path, _THUMB))
    except UserError:
        return None


def lesion_map(lesions: LesionMap) -> Figure:
    """Draws a map of each lesion type: the share of images with such a lesion at or near each point (3 % of the picture)."""
    if not lesions.types:
        return drawing.sentence("there are no lesion masks")
    columns = min(len(lesions.types), 4)
    rows = -(-len(lesions.types) // columns)
    with drawing.style():
        high = drawing.WIDTH / max(columns, 3) * lesions.ratio
        figure, axes = drawing.grid(rows, columns, (high + 0.55) * rows + 0.2)
        for panel, of_type in zip(axes.flat, lesions.types.values(), strict=False):
            percent = 100 * of_type.near / lesions.images
            options = {"cmap": drawing.HEAT, "vmin": 0, "vmax": max(percent.max(), 1e-9), "interpolation": "bilinear"}
            heat = panel.imshow(percent, extent=(0, 1, lesions.ratio, 0), **options)
            if lesions.disc:
                x0, y0, x1, y1 = lesions.disc
                drawing.ring(panel, (x0 + x1) / 2, (y0 + y1) / 2 * lesions.ratio, x1 - x0, (y1 - y0) * lesions.ratio)
            title = f"{of_type.words.split(' (')[0]}: {len(of_type.counts)} of {count(lesions.images, 'image')}"
            drawing.headline(panel, "\n".join(textwrap.wrap(title, 132 // max(columns, 3))), fontsize=6.5)
            panel.set_xticks([])
            panel.set_yticks([])
            panel.spines[:].set_visible(True)
            bar = figure.colorbar(heat, ax=panel, orientation="horizontal", shrink=0.9, aspect=28, pad=0.02)
            drawing.ticks(bar.ax.xaxis, 4)
            bar.outline.set_visible(False)
            bar.set_label("% of images with one at or near here", fontsize=6)
        for panel in axes.flat[len(lesions.types) :]:
            panel.axis("off")
        figure.supxlabel(lesions.note + ("; ring: mean optic disc" if lesions.disc else ""), fontsize=6.5, x=0.01, ha="left")
    return figure
