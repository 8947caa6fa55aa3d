"""Pictures beside what is said of them. Each function returns a closed Figure and shows nothing by itself."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from retinal_lib import picture
from retinal_lib.conversation import IMAGE
from retinal_lib.fact import ASPECTS, Case

_SIDE = 360  # pixels of a shown picture: enough to recognise an eye, small enough to keep in a notebook
_COLUMNS = 92  # letters in a line of text beside it
_LINES = 26
_COLOURS = ("#1f9bcf", "#f2a900", "#d1495b", "#4caf50", "#9b5de5", "#ffffff")


def cases(shown: Sequence[Case], titles: Sequence[str] | None = None) -> Figure:
    """Pictures with the boxes of their lesions, each beside its hidden facts (shortened; `description` has them whole)."""
    figure, rows = _rows(len(shown))
    for axes, case, title in zip(rows, shown, titles or [case.id for case in shown], strict=True):
        _picture(axes[0], case.path, title)
        _boxes(axes[0], case)
        _text(
            axes[1], [(ASPECTS[a], "; ".join(f.text for f in case.about(a)).replace("; [", ", [") + ".") for a in case.aspects]
        )
    return figure


def conversations(shown: Sequence[tuple[Path, str, list[dict[str, str]]]]) -> Figure:
    """Pictures (path, title, turns as exported), each beside its conversation (shortened)."""
    if not shown:
        return _nothing("no conversation is accepted yet")
    figure, rows = _rows(len(shown))
    for axes, (path, title, turns) in zip(rows, shown, strict=True):
        _picture(axes[0], path, title)
        _text(axes[1], [("Q" if t["from"] == "human" else "A", t["value"].replace(f"\n{IMAGE}", "")) for t in turns])
    return figure


def bars(title: str, counts: dict[str, int]) -> Figure:
    """Counts as horizontal bars, in the given order, each with its number."""
    figure, axes = plt.subplots(figsize=(7, 0.9 + 0.28 * len(counts)), dpi=72, layout="constrained")
    plt.close(figure)
    names = [textwrap.shorten(name, 60, placeholder="…") for name in counts]
    drawn = axes.barh(range(len(counts)), list(counts.values()), color=_COLOURS[0], height=0.7)
    axes.bar_label(drawn, padding=3, fontsize=9)
    axes.set_yticks(range(len(counts)), names, fontsize=9)
    axes.invert_yaxis()
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.xaxis.set_visible(False)
    axes.margins(x=0.12)
    axes.set_title(title, loc="left", fontsize=11)
    return figure

def _nothing(why: str) -> Figure:
    figure = plt.figure(figsize=(12, 0.6), dpi=72)
    figure.text(0.01, 0.4, why, fontsize=10, family="monospace")
    plt.close(figure)
    return figure


def _rows(count: int) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    figure, axes = plt.subplots(
        count, 2, figsize=(12, 4.1 * count), width_ratios=(1, 1.9), squeeze=False, dpi=72, layout="constrained"
    )
    plt.close(figure)  # or the notebook shows it twice
    return figure, [tuple(row) for row in axes]


def _picture(axes: Axes, path: Path, title: str) -> None:
    axes.imshow(picture.upright(path, _SIDE))
    axes.set_title(title, fontsize=10)
    axes.set_anchor("N")
    axes.axis("off")


def _boxes(axes: Axes, case: Case) -> None:
    """The lesion boxes over the picture, a colour for each type, named beneath it."""
    width, height = axes.images[0].get_size()[1], axes.images[0].get_size()[0]
    names = list(dict.fromkeys(f.words for f in case.about("lesion") if f.name.endswith("_box")))
    for fact in case.about("lesion"):
        if not fact.name.endswith("_box"):
            continue
        left, top, right, bottom = fact.value
        colour = _COLOURS[names.index(fact.words) % len(_COLOURS)]
        corner = (left * width - 0.5, top * height - 0.5)
        size = ((right - left) * width, (bottom - top) * height)
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=1))
    handles = [Rectangle((0, 0), 1, 1, color=_COLOURS[i % len(_COLOURS)]) for i in range(len(names))]
    if names:
        axes.legend(handles, names, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, facecolor="0.5")


def _text(axes: Axes, parts: list[tuple[str, str]]) -> None:
    axes.axis("off")
    wrapped = [textwrap.wrap(f"{title}: {text}", _COLUMNS, subsequent_indent="    ") for title, text in parts]
    while sum(map(len, wrapped)) > _LINES and max(map(len, wrapped)) > 2:  # the longest gives way first
        longest = max(wrapped, key=len)
        longest.pop()
        longest[-1] = f"{longest[-1][: _COLUMNS - 2].rstrip(' …')} …"
    lines = [line for part in wrapped for line in part]
    # text, not markup: a dollar sign in a note is no formula
    axes.text(0, 1, "\n".join(lines), fontsize=9, family="monospace", va="top", parse_math=False, transform=axes.transAxes)
