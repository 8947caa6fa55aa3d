"""Figures in one style, by the only module that imports matplotlib: sizes, text, bars, lesion colours, files to print."""

import io
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from retinal_lib import files
from retinal_lib.imaging import images
from retinal_lib.text.shown_text import for_people

# yellow, mint, pink, periwinkle, purple: any two differ by at least 30 (CIE 1976) for normal, red-, green- and blue-blind
# eyes alike; tests/test_figures.py measures it
COLOURS = ("#e6e600", "#8cffa9", "#ff0080", "#7e98e6", "#a64dff")
LANDMARK = "#ffffff"
INK, FAINT, ALARM = "#1a1a1a", "#8a8a8a", "#c1121f"  # text and axes, secondary lines, implausible values
BAR = "#3b6ea5"
_NAME = 2.6  # inches of a name beside its bar
_TITLE_GAP = 0.08  # inches between a title and the next one
_DASHES = ((), (4, 1.5), (1.2, 1.2))
# the types of published datasets have the same colour in every image; exudates are yellow and blood is not, as one expects
_USUAL_COLOUR = {"MA": 1, "HE": 2, "EX": 0, "SE": 3, "LC": 1, "CNV": 2, "FS": 0}


class Hue(NamedTuple):
    """The look of a lesion type: its colour, and dashes (on, off, in points; none: a solid line)."""

    colour: str
    dashes: tuple[float, ...] = ()


def hues(kinds: Iterable[str]) -> dict[str, Hue]:
    """Returns a hue for each lesion type; types beyond the colours repeat them dashed."""
    kinds = list(dict.fromkeys(kinds))
    places = {kind: _USUAL_COLOUR[kind] for kind in kinds if kind in _USUAL_COLOUR}
    free = (i for i in range(len(kinds) + len(COLOURS)) if i not in places.values())
    places |= {kind: next(free) for kind in kinds if kind not in _USUAL_COLOUR}
    return {kind: Hue(COLOURS[i % len(COLOURS)], _DASHES[i // len(COLOURS) % len(_DASHES)]) for kind, i in places.items()}


WIDTH = 7.2  # inches: two columns of a journal
SCREEN, PRINT = 100, 300  # dots per inch in a notebook, and in files
FONT = "DejaVu Sans"
_STYLE = {
    "font.family": FONT,  # comes with matplotlib: the same letters everywhere
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.titlepad": 3,
    "axes.labelsize": 7,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "pdf.fonttype": 42,  # letters stay letters in a PDF
    "text.parse_math": False,  # a dollar sign in a name does not start a formula
    "figure.facecolor": "white",
    "legend.frameon": False,
    "legend.fontsize": 7,
}
HEAT = LinearSegmentedColormap.from_list("heat", ["#ffffff", "#fde0a6", "#f19a5b", "#c8485a", "#6d2368", "#1c1044"])


@contextmanager
def style():
    """Draws everything within the block in one style."""
    with plt.rc_context(_STYLE):
        yield


def figure(height: float, width: float = WIDTH, dpi: int = SCREEN) -> Figure:
    """Returns an empty figure with sides in inches; it is closed, so that a notebook shows it once."""
    empty = plt.figure(figsize=(width, height), dpi=dpi, layout="constrained")
    empty.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    plt.close(empty)
    return empty


def grid(rows: int, columns: int, height: float) -> tuple[Figure, np.ndarray]:
    """Returns a figure, `height` in inches, and its axes [rows, columns]."""
    empty = figure(height)
    return empty, empty.subplots(rows, columns, squeeze=False)


def sentence(text: str) -> Figure:
    """Returns a figure that holds only a sentence, such as why there is nothing to draw."""
    with style():
        note = figure(0.35)
        axes = note.subplots()  # a notebook shows no figure without axes
        axes.axis("off")
        axes.text(0, 0.5, text, va="center", fontsize=8, transform=axes.transAxes)
    return note


def tell_drawn(fig: Figure, drawn: object) -> Figure:
    """Writes above a figure that its eyes are drawn, where `drawn` is true, and returns the figure."""
    if drawn:
        fig.set_figheight(fig.get_figheight() + 0.2)
        fig.suptitle(images.DRAWN, x=0.005, ha="left", fontsize=7, color=ALARM)
    return fig


def show(axes: Axes, pixels: np.ndarray, title: str = "", below: str = "", small: float = 6.5) -> None:
    """Draws a picture [height, width, 3] with a title above and a text (of `small` points) below, without ticks
    and frame."""
    axes.imshow(pixels, interpolation="antialiased")
    headline(axes, title)
    axes.set_anchor("NW")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if below:
        axes.set_xlabel("\n".join(wrap(below, column_width(axes), small)), fontsize=small, color=INK, labelpad=2)


def headline(axes: Axes, text: str, span: int = 1, beside: float = 0, **more: object) -> int:
    """Writes a title at the upper left, whole, in as many lines as fit over `span` columns of axes, of which `beside` inches
    are left of the axes; returns the number of lines."""
    font = {"fontsize": 7} | more
    lines = wrap(text, column_width(axes, span) - beside, font["fontsize"], font.get("fontweight", "normal"))
    # keeps the room; a title proper would push the axes about where it is wider than they
    axes.set_title("\n".join("|" for _ in lines), fontsize=font["fontsize"], color="none", pad=5 + 0.6 * font["fontsize"])
    label = axes.annotate(
        "\n".join(lines), (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", va="bottom", **font
    )
    label.set_in_layout(False)
    return len(lines)


def column_width(axes: Axes, span: int = 1) -> float:
    """Returns how wide a text over or under `span` columns of axes may be, in inches."""
    spec = axes.get_subplotspec()
    ratios, first = spec.get_gridspec().get_width_ratios(), spec.colspan.start
    width = axes.figure.bbox.width / axes.figure.dpi  # of a subfigure too
    return width * sum(ratios[first : first + span]) / sum(ratios) - _TITLE_GAP


def wrap(text: str, width: float, size: float, weight: str = "normal") -> list[str]:
    """Returns a text as people may read it, in lines of at most `width` inches, as measured in a font of `size` points; a long
    word is broken."""
    font = get_font(findfont(FontProperties(family=_STYLE["font.family"], weight=weight)))
    font.set_size(100, 72)  # large, so that rounding to pixels does not count

    def inches(line: str) -> float:
        font.set_text(line)
        return font.get_width_height()[0] / 64 / 72 * size / 100

    text = for_people(text)
    tried = (textwrap.wrap(text, letters) for letters in range(len(text), 0, -1))
    return next((lines for lines in tried if all(inches(line) <= width for line in lines)), [])


def bars(groups: dict[str, Sequence[tuple[str, int]]], total: int | None = None, max_bars: int = 12) -> Figure:
    """Draws counts as horizontal bars, in the order given, under a title for each group; if there are more than
    `max_bars`, the last ones are combined. With `total`, each count is also given as a share of it."""
    if not groups:
        return sentence("no image has a label")
    groups = {title: _with_rest(counts, max_bars) for title, counts in groups.items()}
    with style():
        rows, y = [], 0.0  # of each group: its title, and the middle of each bar with its name
        for title, counts in groups.items():
            names = ["\n".join(wrap(name, _NAME, 6.5)) for name, _ in counts]
            steps = [1 + 0.7 * name.count("\n") for name in names]
            middles = (y + 0.5 + np.cumsum(steps) - np.array(steps) / 2).tolist()
            rows.append((title, y, middles, names, counts))
            y += 1.7 + sum(steps)
        chart, axes = grid(1, 1, 0.15 * y + 0.1)
        panel, ticks = axes[0, 0], {}
        for title, top, middles, names, counts in rows:
            panel.text(0, top, title, fontweight="bold", va="center", fontsize=7.5)
            rectangles = panel.barh(middles, [n for _, n in counts], color=BAR, height=0.72)
            labels = [f"{n:,}" + (f"  ({n / total:.0%})" if total else "") for _, n in counts]
            panel.bar_label(rectangles, labels, padding=3, fontsize=6.5)
            ticks |= dict(zip(middles, names, strict=True))
        panel.set_yticks(list(ticks), list(ticks.values()))
        panel.set_ylim(y - 1, -0.6)
        panel.set_xlim(0, 1.12 * max(n for counts in groups.values() for _, n in counts))
        panel.set_xticks([])
        panel.spines[["left", "bottom"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
    return chart


def _with_rest(counts: Sequence[tuple[str, int]], max_bars: int) -> Sequence[tuple[str, int]]:
    if len(counts) <= max_bars:
        return counts
    most = max(n for _, n in counts[max_bars - 1 :])
    return [*counts[: max_bars - 1], (f"{len(counts) - max_bars + 1} more, each at most {most}", most)]


def frames(edges: Sequence[Sequence[float]], size: tuple[int, int], gap: float) -> np.ndarray:
    """Returns boxes [n, 4] (fractions) in pixels of a picture of `size` (width, height), float [n, 4], each side moved
    outwards by `gap` pixels, so that a line lies beside the lesion and not on it."""
    width, height = size
    return np.asarray(edges, float).reshape(-1, 4) * (width, height, width, height) + (-gap, -gap, gap, gap)


def boxes(axes: Axes, edges: Sequence[Sequence[float]], hue: Hue, width: float = 0.8, name: str = "boxes") -> None:
    """Draws boxes [n, 4] (fractions) over the picture in `axes`: thin, just outside the lesions, with a dark edge so
    that they are visible on bright and dark ground."""
    if not len(edges):
        return
    high, wide = axes.images[0].get_size()
    x0, y0, x1, y1 = frames(edges, (wide, high), max(high, wide) / 600 * width).T - 0.5  # a pixel's middle has whole numbers
    lines = np.stack([np.stack(p, 1) for p in ((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0))], 1)
    outlines = LineCollection(lines, colors=hue.colour, linewidths=width, capstyle="projecting", joinstyle="miter", gid=name)
    if hue.dashes:
        outlines.set_linestyle((0, hue.dashes))
    outlines.set_path_effects([withStroke(linewidth=width * 1.6 + 0.1, foreground=(0, 0, 0, 0.6))])
    axes.add_collection(outlines, autolim=False)


def outline(axes: Axes, mask: np.ndarray, hue: Hue, extent: Sequence[float]) -> None:
    """Draws the outline of the marked pixels in a part of a mask, placed at `extent` (left, right, bottom, top)."""
    if mask.any() and not mask.all():
        padded = np.pad(mask.astype(np.float32), 1)
        high, wide = mask.shape
        left, right, bottom, top = extent
        x = left + (np.arange(-1, wide + 1) + 0.5) * (right - left) / wide
        y = top + (np.arange(-1, high + 1) + 0.5) * (bottom - top) / high
        contour = axes.contour(x, y, padded, [0.5], colors=hue.colour, linewidths=0.9)
        contour.set_path_effects([withStroke(linewidth=1.6, foreground=(0, 0, 0, 0.55))])


def tag(axes: Axes, x: float, y: float, text: str, **more: object) -> None:
    """Writes a small white text with a dark edge at a point, in data coordinates."""
    label = axes.text(x, y, text, color="white", fontsize=6.5, fontweight="bold", **more)
    label.set_path_effects([withStroke(linewidth=1.6, foreground=(0, 0, 0, 0.8))])


def point(axes: Axes, x: float, y: float, text: str) -> None:
    """Writes a letter beside a point, in data coordinates, with a short line to it, so that the point itself stays visible."""
    left, right = axes.get_xlim()
    side = -1 if x > left + 0.93 * (right - left) else 1  # one side for all but those at the edge: letters stay as far apart
    edge = [withStroke(linewidth=1.8, foreground=(0, 0, 0, 0.8))]
    label = axes.annotate(
        text,
        (x, y),
        (side * 9, 9),
        textcoords="offset points",
        color="white",
        fontsize=6.5,
        fontweight="bold",
        ha="center",
        va="center",
        arrowprops={"arrowstyle": "-", "color": "white", "linewidth": 0.6, "shrinkA": 2, "shrinkB": 1.5},
    )
    label.set_path_effects(edge)
    label.arrow_patch.set_path_effects(edge)


def ruler(axes: Axes, length: float, text: str) -> None:
    """Draws a scale bar of `length`, in data coordinates, at the lower left."""
    left, right = sorted(axes.get_xlim())
    bottom, top = axes.get_ylim()
    x, y = left + 0.06 * (right - left), bottom + 0.08 * (top - bottom)
    edge = [withStroke(linewidth=3, foreground=(0, 0, 0, 0.7))]
    axes.plot([x, x + length], [y, y], color="white", linewidth=1.6, solid_capstyle="butt", path_effects=edge)
    tag(axes, x, y + 0.03 * (top - bottom), text, va="bottom", ha="left")


def ring(axes: Axes, x: float, y: float, wide: float, high: float) -> None:
    """Draws a thin dark ellipse around a point, in data coordinates."""
    axes.add_patch(Ellipse((x, y), wide, high, fill=False, edgecolor=INK, linewidth=0.8))


def ticks(axis: Axis, number: int, whole: bool = False) -> None:
    """Puts about `number` ticks on an axis, at round or at whole numbers."""
    axis.set_major_locator(MaxNLocator(number, integer=whole))


def legend(under: Figure, entries: Iterable[tuple[str, Hue]]) -> None:
    """Writes a legend under a figure: each name with its hue."""
    entries = list(entries)
    if not entries:
        return
    handles = []
    for _, hue in entries:
        dashes = tuple(part * 0.7 for part in hue.dashes)  # a legend's line is thick, and dashes grow with it
        line = Line2D([], [], color=hue.colour, linewidth=2.2, linestyle=(0, dashes) if dashes else "-")
        line.set_path_effects([withStroke(linewidth=3.4, foreground=(0, 0, 0, 0.8))])
        handles.append(line)
    names = [words for words, _ in entries]
    columns = len(names) if sum(map(len, names)) < 14 * under.get_figwidth() else 2
    under.legend(handles, names, loc="outside lower left", ncols=columns, handlelength=1.6, columnspacing=1.4)


# neither holds when and by what it was written; a PNG is a tenth larger than it could be, and written in two thirds of the time
_AS_FILE = {
    "png": {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}},
    "pdf": {"metadata": {"CreationDate": None, "Creator": None, "Producer": None}},
}


def save(fig: Figure, stem: Path, kinds: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Writes a figure to `stem`.png and `stem`.pdf at print quality, whole or not at all; the same figure gives the same
    bytes. Returns the files."""
    written = []
    for kind in kinds:
        path = stem.with_name(f"{stem.name}.{kind}")
        with style(), files.atomic_path(path) as part:
            fig.savefig(part, format=kind, dpi=PRINT, **_AS_FILE[kind])
        written.append(path)
    return written


def jpeg(fig: Figure, dpi: int) -> bytes:
    """Returns a figure as a JPEG file's bytes."""
    file = io.BytesIO()
    with style():  # not optimised: Pillow then gives a noisy picture too little room, and fails
        fig.savefig(file, format="jpeg", dpi=dpi, pil_kwargs={"quality": 88, "subsampling": 0})
    return file.getvalue()
