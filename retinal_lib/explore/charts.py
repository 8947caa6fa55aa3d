"""A dataset's numbers and examples as figures."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retinal_lib import drawing
from retinal_lib import images as picture
from retinal_lib.dataset.measurements import Feature
from retinal_lib.drawing import Axes, Figure
from retinal_lib.errors import UserError
from retinal_lib.explore.lesion_map import Heat
from retinal_lib.explore.measurement_table import range_of

_THUMB = 240  # pixels of an example
_MOST = 12  # bars of one label
_LETTERS = 52  # of a class beside its bar


def bars(groups: dict[str, list[tuple[str, int]]], total: int) -> Figure:
    """Classes and their images as bars, a panel for each label; `total` images are all there are."""
    if not groups:
        return drawing.sentence("no image has a label")
    shown = {title: _cut(classes) for title, classes in groups.items()}
    with drawing.style():
        lines = sum(len(classes) + 1.7 for classes in shown.values())
        figure, axes = drawing.grid(1, 1, 0.15 * lines + 0.1)
        place, y, ticks = axes[0, 0], 0.0, {}
        for title, classes in shown.items():
            place.text(0, y, title, fontweight="bold", va="center", fontsize=7.5)
            at = [y + 1 + i for i in range(len(classes))]
            numbers = [n for _, n in classes]
            drawn = place.barh(at, numbers, color=drawing.BAR, height=0.72)
            place.bar_label(drawn, [f"{n:,}  ({n / total:.0%})" for n in numbers], padding=3, fontsize=6.5)
            ticks |= dict(zip(at, [textwrap.shorten(name, _LETTERS, placeholder=" …") for name, _ in classes], strict=True))
            y = at[-1] + 1.7
        place.set_yticks(list(ticks), list(ticks.values()))
        place.set_ylim(y - 1, -0.6)
        place.set_xlim(0, 1.12 * max(n for classes in shown.values() for _, n in classes))
        place.set_xticks([])
        place.spines[["left", "bottom"]].set_visible(False)
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
        figure, axes = drawing.grid(rows, columns, 1.6 * rows)
        for place, (feature, values, outside) in zip(axes.flat, found, strict=False):
            _histogram(place, feature, values, outside)
        for place in axes.flat[len(found) :]:
            place.axis("off")
    return figure


def _histogram(axes: Axes, feature: Feature, values: np.ndarray, outside: np.ndarray) -> None:
    title = "\n".join(textwrap.wrap(feature.words.replace(" over the whole image", ""), 44)[:2])
    unit = f"{feature.unit}, " if feature.unit else ""
    drawing.headline(axes, title, lines=2, fontsize=6.5)
    axes.set_xlabel(f"{unit}plausible {range_of(feature)}; {len(values)} images", fontsize=6)
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
    inside = axes.get_xaxis_transform()
    for beyond, x, align in ((outside <= feature.low, 0.03, "left"), (outside >= feature.high, 0.97, "right")):
        if n := int(beyond.sum()):
            text = f"× {n} below" if align == "left" else f"{n} above ×"
            said = axes.text(x, 0.93, text, transform=axes.transAxes, color=drawing.ALARM, fontsize=6.5, ha=align, va="top")
            said.set_in_layout(False)
    if len(near := outside[(outside > left) & (outside < right)]):
        axes.plot(near, np.full(len(near), 0.04), "x", color=drawing.ALARM, markersize=4, transform=inside)
    axes.yaxis.set_major_locator(drawing.whole_numbers(3))
    axes.xaxis.set_major_locator(drawing.some_numbers(4))


def examples(rows: dict[str, list[tuple[str, Path]]], columns: int) -> Figure:
    """Pictures (title, path) of each class in rows of `columns`, the class above its first; a picture that cannot be read
    says so."""
    if not any(rows.values()):
        return drawing.sentence("there is no image to show")
    lines = _flowing(rows, columns)
    pictures = {path: _thumb(path) for found in rows.values() for _, path in found}
    ratio = max([p.shape[0] / p.shape[1] for p in pictures.values() if p is not None] or [1])
    with drawing.style():
        figure, axes = drawing.grid(len(lines), columns, (drawing.WIDTH / columns * ratio + 0.45) * len(lines))
        for places, line in zip(axes, lines, strict=True):
            at = 0
            for name, found in line:
                for place, (title, path) in zip(places[at:], found, strict=False):
                    _example(place, title, pictures[path])
                letters = 21 * len(found)
                named = textwrap.wrap(textwrap.shorten(name, 2 * letters - 8, placeholder=" …"), letters)
                drawing.headline(places[at], "\n".join(named), fontsize=6.5, fontweight="bold")
                at += len(found)
            for place in places[at:]:
                place.axis("off")
    return figure


def _flowing(rows: dict[str, list], columns: int) -> list[list[tuple[str, list]]]:
    """Lines of (class, pictures): a class follows another on its line where it fits whole."""
    lines: list[list[tuple[str, list]]] = []
    for name, found in rows.items():
        for i in range(0, len(found), columns):
            part = found[i : i + columns]
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
        return np.asarray(picture.upright(path, _THUMB))
    except UserError:
        return None


def heat(found: Heat) -> Figure:
    """A map of each lesion type: in what share of the images such a lesion lies within 3 % of the width of each place."""
    if not found.types:
        return drawing.sentence("there are no lesion masks")
    count = len(found.types)
    columns = min(count, 4)
    rows = -(-count // columns)
    with drawing.style():
        high = drawing.WIDTH / max(columns, 3) * found.ratio
        figure, axes = drawing.grid(rows, columns, (high + 0.55) * rows + 0.2)
        for place, spread in zip(axes.flat, found.types.values(), strict=False):
            share = 100 * spread.near / found.images
            look = {"cmap": drawing.HEAT, "vmin": 0, "vmax": max(share.max(), 1e-9), "interpolation": "bilinear"}
            drawn = place.imshow(share, extent=(0, 1, found.ratio, 0), **look)
            if found.disc:
                x0, y0, x1, y1 = found.disc
                drawing.ring(place, (x0 + x1) / 2, (y0 + y1) / 2 * found.ratio, x1 - x0, (y1 - y0) * found.ratio)
            said = f"{spread.many.split(' (')[0]}: {len(spread.counts)} of {found.images} images"
            drawing.headline(place, "\n".join(textwrap.wrap(said, 132 // max(columns, 3))), fontsize=6.5)
            place.set_xticks([])
            place.set_yticks([])
            place.spines[:].set_visible(True)
            bar = figure.colorbar(drawn, ax=place, orientation="horizontal", shrink=0.9, aspect=28, pad=0.02)
            bar.ax.xaxis.set_major_locator(drawing.some_numbers(4))
            bar.outline.set_visible(False)
            bar.set_label("% of images with one at or near here", fontsize=6)
        for place in axes.flat[count:]:
            place.axis("off")
        figure.supxlabel(found.note + ("; ring: mean optic disc" if found.disc else ""), fontsize=6.5, x=0.01, ha="left")
    return figure
