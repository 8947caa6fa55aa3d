"""Pictures beside what is said of them. Each function returns a closed Figure and shows nothing by itself."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retinal_lib import drawing
from retinal_lib import images as picture
from retinal_lib.conversation import IMAGE
from retinal_lib.drawing import Axes, Figure, Hue
from retinal_lib.facts import ASPECTS, Case

_SIDE = 360  # pixels of a shown picture: enough to recognise an eye, small enough to keep in a notebook
_COLUMNS = 92  # letters in a line of text beside it
_LINES = 26


def cases(shown: Sequence[Case], titles: Sequence[str] | None = None) -> Figure:
    """Pictures with the boxes of their lesions, each beside its hidden facts (shortened; `description` has them whole)."""
    with drawing.style():
        hues, words = _hues(shown), {}
        figure, rows = _rows(len(shown), 0.4 if hues else 0)
        for axes, case, title in zip(rows, shown, titles or [case.id for case in shown], strict=True):
            _picture(axes[0], case.path, title)
            words |= _boxes(axes[0], case, hues)
            parts = [(ASPECTS[a], "; ".join(f.text for f in case.about(a)).replace("; [", ", [") + ".") for a in case.aspects]
            _text(axes[1], parts)
        drawing.legend(figure, [(words[kind], hue) for kind, hue in hues.items()])
    return figure


def conversations(shown: Sequence[tuple[Path, str, list[dict[str, str]]]]) -> Figure:
    """Pictures (path, title, turns as exported), each beside its conversation (shortened)."""
    if not shown:
        return drawing.sentence("no conversation is accepted yet")
    with drawing.style():
        figure, rows = _rows(len(shown))
        for axes, (path, title, turns) in zip(rows, shown, strict=True):
            _picture(axes[0], path, title)
            _text(axes[1], [("Q" if t["from"] == "human" else "A", t["value"].replace(f"\n{IMAGE}", "")) for t in turns])
    return figure


def _rows(count: int, more: float = 0) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    figure = drawing.figure(4.1 * count + more, 12, dpi=72)
    axes = figure.subplots(count, 2, width_ratios=(1, 1.9), squeeze=False)
    return figure, [tuple(row) for row in axes]


def _picture(axes: Axes, path: Path, title: str) -> None:
    drawing.show(axes, np.asarray(picture.upright(path, _SIDE)))
    drawing.headline(axes, title, fontsize=10)


def _kind(name: str) -> str:
    return name.removesuffix("_box")


def _hues(shown: Sequence[Case]) -> dict[str, Hue]:
    """A hue for each lesion type of these cases; landmarks, which no fact counts, are white."""
    lesions = [f for case in shown for f in case.about("lesion")]
    counted = {f.name for f in lesions}
    kinds = [_kind(f.name) for f in lesions if f.name.endswith("_box")]
    white = {kind: Hue(drawing.LANDMARK) for kind in kinds if kind not in counted}
    return drawing.hues(kind for kind in kinds if kind in counted) | white


def _boxes(axes: Axes, case: Case, hues: dict[str, Hue]) -> dict[str, str]:
    """The lesion boxes over the picture; returns what each kind is called."""
    found: dict[str, list] = {}
    words = {}
    for fact in case.about("lesion"):
        if fact.name.endswith("_box"):
            found.setdefault(_kind(fact.name), []).append(fact.value)
            words[_kind(fact.name)] = fact.words
    for kind, edges in found.items():
        drawing.boxes(axes, edges, hues[kind], width=1)
    return words


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
