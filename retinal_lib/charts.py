"""A dataset's numbers and examples as figures."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retinal_lib import drawing, palette, picture
from retinal_lib.automorph import Feature
from retinal_lib.drawing import Axes, Figure
from retinal_lib.errors import UserError
from retinal_lib.heat import Heat, smooth
from retinal_lib.measured import range_of

_THUMB = 240  # pixels of an example
_MOST = 12  # bars of one label
_LETTERS = 52  # of a class beside its bar


def bars(groups: dict[str, list[tuple[str, int]]], total: int) -> Figure:
    """Classes and their images as bars, a panel for each label; `total` images are all there are."""
    if not groups:
        return drawing.sentence("no image has a label")
    shown = {title: _cut(classes) for title, classes in groups.items()}
    with drawing.style():
        heights = [len(classes) + 2.2 for classes in shown.values()]
        figure = drawing.figure(0.16 * sum(heights) + 0.1)
        axes = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
        most = max(n for classes in shown.values() for _, n in classes)
        for place, (title, classes) in zip(axes, shown.items(), strict=True):
            names = [textwrap.shorten(name, _LETTERS, placeholder=" …") for name, _ in classes]
            numbers = [n for _, n in classes]
            drawn = place.barh(range(len(classes)), numbers, color=palette.BAR, height=0.72)
            place.bar_label(drawn, [f"{n:,}  {n / total:.0%}" for n in numbers], padding=3, fontsize=6.5)
            place.set_yticks(range(len(classes)), names)
            place.set_ylim(len(classes) - 0.4, -0.6)
            place.set_xlim(0, most * 1.12)
            place.set_title(title, fontweight="bold")
            place.set_xticks([])
            place.spines["bottom"].set_visible(False)
            place.tick_params(axis="y", length=0)
    return figure


def _cut(classes: list[tuple[str, int]]) -> list[tuple[str, int]]:
    if len(classes) <= _MOST:
        return classes
    rest = classes[_MOST - 1 :]
    return [*classes[: _MOST - 1], (f"{len(rest)} more, each at most {rest[0][1]}", max(n for _, n in rest))]


def histograms(found: Sequence[tuple[Feature, np.ndarray, np.ndarray]], columns: int = 3) -> Figure:
    """Per measurement its trusted values as a histogram; the plausible range is white, what lies beyond it grey, and values
    there are crosses at the side where they lie, their number beside them."""
    found = [(feature, values, outside) for feature, values, outside in found if len(values) or len(outside)]
    if not found:
        return drawing.sentence("there are no AutoMorph measurements")
    rows = -(-len(found) // columns)
    with drawing.style():
        figure, axes = drawing.grid(rows, columns, 1.25 * rows)
        for place, (feature, values, outside) in zip(axes.flat, found, strict=False):
            _histogram(place, feature, values, outside)
        for place in axes.flat[len(found) :]:
            place.axis("off")
    return figure


def _histogram(axes: Axes, feature: Feature, values: np.ndarray, outside: np.ndarray) -> None:
    title = "\n".join(textwrap.wrap(feature.words, 44)[:2])
    unit = f"{feature.unit}, " if feature.unit else ""
    axes.set_title(title, fontsize=6.5)
    axes.set_xlabel(f"{unit}plausible {range_of(feature)}; {len(values)} images", fontsize=6)
    low, high = (values.min(), values.max()) if len(values) else (feature.low, feature.high)
    margin = 0.18 * (high - low) or 0.1 * abs(high) or 0.1
    left, right = low - margin, high + margin
    if len(values):
        bins = min(30, max(6, round(len(values) ** 0.5)))
        axes.hist(values, bins=bins, range=(low, high) if high > low else None, color=palette.BAR, linewidth=0)
        axes.axvline(np.median(values), color=palette.INK, linewidth=0.8)
    axes.set_xlim(left, right)
    for start, end in ((left, feature.low), (feature.high, right)):
        if start < end:
            axes.axvspan(start, end, color="#e4e4e4", linewidth=0, zorder=0)
    inside = axes.get_xaxis_transform()
    for beyond, x, align in ((outside <= feature.low, 0.03, "left"), (outside >= feature.high, 0.97, "right")):
        if n := int(beyond.sum()):
            text = f"× {n} below" if align == "left" else f"{n} above ×"
            axes.text(x, 0.93, text, transform=axes.transAxes, color=palette.ALARM, fontsize=6.5, ha=align, va="top")
    near = outside[(outside > left) & (outside < right)]
    axes.plot(near, np.full(len(near), 0.04), "x", color=palette.ALARM, markersize=4, transform=inside, clip_on=False)
    axes.yaxis.set_major_locator(drawing.whole_numbers(3))
    axes.xaxis.set_major_locator(drawing.some_numbers(4))


def examples(rows: dict[str, list[tuple[str, Path]]], columns: int) -> Figure:
    """Pictures (title, path) of each class in rows of `columns`, the class above its first; a picture that cannot be read
    says so."""
    lines = [(name if not i else "", found[i : i + columns]) for name, found in rows.items() for i in range(0, len(found), columns)]
    if not lines:
        return drawing.sentence("there is no image to show")
    pictures = {path: _thumb(path) for _, found in lines for _, path in found}
    ratio = max([p.shape[0] / p.shape[1] for p in pictures.values() if p is not None] or [1])
    with drawing.style():
        figure, axes = drawing.grid(len(lines), columns, (drawing.WIDTH / columns * ratio + 0.36) * len(lines))
        for places, (name, found) in zip(axes, lines, strict=True):
            for place, (title, path) in zip(places, found, strict=False):
                _example(place, title, pictures[path])
            for place in places[len(found) :]:
                place.axis("off")
            places[0].set_title(textwrap.shorten(name, 110, placeholder=" …"), fontsize=7, fontweight="bold")
    return figure


def _example(axes: Axes, title: str, pixels: np.ndarray | None) -> None:
    short = title if len(title) < 27 else f"{title[:12]}…{title[-12:]}"
    drawing.show(axes, np.full((3, 4, 3), 230, np.uint8) if pixels is None else pixels, "", short)
    axes.xaxis.label.set_fontsize(5.5)
    if pixels is None:
        axes.text(0.5, 0.5, "cannot be read", transform=axes.transAxes, ha="center", va="center")


def _thumb(path: Path) -> np.ndarray | None:
    try:
        return np.asarray(picture.upright(path, _THUMB))
    except UserError:
        return None


def heat(found: Heat) -> Figure:
    """A map of each lesion type: in what share of the images such a lesion lies there."""
    if not found.types:
        return drawing.sentence("there are no lesion masks")
    count = len(found.types)
    columns = min(count, 4)
    rows = -(-count // columns)
    with drawing.style():
        high = drawing.WIDTH / max(columns, 3) * found.ratio
        figure, axes = drawing.grid(rows, columns, (high + 0.55) * rows + 0.2)
        for place, spread in zip(axes.flat, found.types.values(), strict=False):
            cells = 100 * smooth(spread.cells / found.images)
            drawn = place.imshow(cells, extent=(0, 1, found.ratio, 0), cmap=drawing.HEAT, vmin=0, vmax=max(cells.max(), 1e-9))
            if found.disc:
                x0, y0, x1, y1 = found.disc
                drawing.ring(place, (x0 + x1) / 2, (y0 + y1) / 2 * found.ratio, x1 - x0, (y1 - y0) * found.ratio)
            place.set_title(f"{spread.many.split(' (')[0]}: {len(spread.counts)} of {found.images} images", fontsize=6.5)
            place.set_xticks([])
            place.set_yticks([])
            place.spines[:].set_visible(True)
            bar = figure.colorbar(drawn, ax=place, orientation="horizontal", shrink=0.9, aspect=28, pad=0.02)
            bar.ax.xaxis.set_major_locator(drawing.some_numbers(4))
            bar.outline.set_visible(False)
            bar.set_label("% of images with one here", fontsize=6)
        for place in axes.flat[count:]:
            place.axis("off")
        figure.supxlabel(found.note + ("; ring: mean optic disc" if found.disc else ""), fontsize=6.5, x=0.01, ha="left")
    return figure
