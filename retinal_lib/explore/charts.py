"""A dataset's measurements, example pictures and lesions as figures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retinal_lib.dataset.measurements import Feature
from retinal_lib.display import count
from retinal_lib.errors import UserError
from retinal_lib.explore.lesion_map import LesionMap
from retinal_lib.explore.measurement_table import range_of
from retinal_lib.imaging import drawing, images
from retinal_lib.imaging.drawing import Axes, Figure

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
    unit = f"{feature.unit}, " if feature.unit else ""
    drawing.headline(axes, feature.words.replace(" over the whole image", ""), beside=0.35, fontsize=6.5)
    below, above = int((outside <= feature.low).sum()), int((outside >= feature.high).sum())
    beyond = [f"{n} {side}" for n, side in ((below, "below"), (above, "above")) if n]
    text = f"{unit}plausible {range_of(feature)}; {count(len(values), 'image')}"
    axes.set_xlabel("\n".join([text, *([f"× {', '.join(beyond)}"] if beyond else [])]), fontsize=6)
    if beyond:
        axes.xaxis.label.set_color(drawing.ALARM)
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
    if len(near := outside[(outside > left) & (outside < right)]):
        marks = np.full(len(near), 0.04)
        axes.plot(near, marks, "x", color=drawing.ALARM, markersize=4, transform=axes.get_xaxis_transform())
    drawing.ticks(axes.yaxis, 3, whole=True)
    drawing.ticks(axes.xaxis, 4)


def examples(classes: dict[str, list[tuple[str, Path]]], columns: int, note: str = "") -> Figure:
    """Draws the pictures (title, path) of each class in rows of `columns`, with the class above its first picture; instead of
    a picture that cannot be read, it writes so. `note` is a sentence below them."""
    if not any(classes.values()):
        return drawing.sentence("there is no image to show")
    lines = _lines(classes, columns)
    thumbs = {path: _thumb(path) for pictures in classes.values() for _, path in pictures}
    ratio = max([thumb.shape[0] / thumb.shape[1] for thumb in thumbs.values() if thumb is not None] or [1])
    with drawing.style():
        figure, axes = drawing.grid(len(lines), columns, 1)
        titles = 0
        for panels, line in zip(axes, lines, strict=True):
            at, written = 0, []
            for name, pictures in line:
                for panel, (title, path) in zip(panels[at:], pictures, strict=False):
                    _example(panel, title, thumbs[path])
                written.append(drawing.headline(panels[at], name, len(pictures), fontsize=6.5, fontweight="bold"))
                at += len(pictures)
            titles += max(written) + max(panel.get_xlabel().count("\n") for panel in panels)
            for panel in panels[at:]:
                panel.axis("off")
        figure.set_figheight((drawing.WIDTH / columns * ratio + 0.35) * len(lines) + 0.115 * titles + 0.2)
        if note:
            figure.supxlabel(note, fontsize=6.5, x=0.01, ha="left")
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
    drawing.show(axes, grey if pixels is None else pixels, "", title, small=5.5)
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
        figure, axes = drawing.grid(rows, columns, (high + 0.65) * rows + 0.3)
        figure.get_layout_engine().set(h_pad=0.08)
        for panel, of_type in zip(axes.flat, lesions.types.values(), strict=False):
            percent = 100 * of_type.near / lesions.images
            options = {"cmap": drawing.HEAT, "vmin": 0, "vmax": max(percent.max(), 1e-9), "interpolation": "bilinear"}
            heat = panel.imshow(percent, extent=(0, 1, lesions.ratio, 0), **options)
            if lesions.disc:
                x0, y0, x1, y1 = lesions.disc
                drawing.ring(panel, (x0 + x1) / 2, (y0 + y1) / 2 * lesions.ratio, x1 - x0, (y1 - y0) * lesions.ratio)
            title = f"{of_type.words.split(' (')[0]}: {len(of_type.counts)} of {count(lesions.images, 'image')}"
            drawing.headline(panel, title, fontsize=6.5)
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
