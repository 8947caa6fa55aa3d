"""Pictures beside their facts or conversations. Each function returns a closed Figure and shows nothing by itself."""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from retinal_lib.conversation import IMAGE
from retinal_lib.errors import UserError
from retinal_lib.facts import ASPECTS, Case, Fact
from retinal_lib.imaging import drawing, images
from retinal_lib.imaging.drawing import Axes, Figure, Hue

_SIDE = 360  # pixels of a picture: enough to recognise an eye, small enough to keep in a notebook
_COLUMNS = 92  # letters in a line of text beside it
_LINES = 22


def cases(items: Sequence[Case], titles: Sequence[str] | None = None) -> Figure:
    """Draws pictures with the boxes of their lesions, each beside its facts (shortened; `description` has them whole).
    In place of a picture that cannot be read stands why."""
    with drawing.style():
        hues = lesion_hues(fact for case in items for fact in case.about("lesion"))
        figure, rows = _rows(len(items), 0.4 if hues else 0)
        for axes, case, title in zip(rows, items, titles or [case.id for case in items], strict=True):
            _picture(axes[0], case.path, title)
            for words, hue in hues.items():
                edges = [fact.value for fact in boxes(case.about("lesion")) if fact.words == words]
                drawing.boxes(axes[0], edges, hue, width=1)
            parts = [(ASPECTS[a], case.clauses(a)) for a in case.aspects]
            _text(axes[1], parts)
        drawing.legend(figure, hues.items())
    return drawing.tell_drawn(figure, images.drawn_among(case.path for case in items))


def conversations(items: Sequence[tuple[Path, str, list[dict[str, str]]]]) -> Figure:
    """Draws pictures (path, title, turns as exported), each beside its conversation (shortened). In place of a picture that
    cannot be read stands why."""
    if not items:
        return drawing.sentence("no conversation is accepted yet")
    with drawing.style():
        figure, rows = _rows(len(items))
        for axes, (path, title, turns) in zip(rows, items, strict=True):
            _picture(axes[0], path, title)
            _text(axes[1], [("Q" if t["from"] == "human" else "A", t["value"].replace(f"\n{IMAGE}", "")) for t in turns])
    return drawing.tell_drawn(figure, images.drawn_among(path for path, _, _ in items))


def boxes(facts: Iterable[Fact]) -> list[Fact]:
    """Returns the facts that are boxes: their value is left, top, right, bottom as fractions of the picture."""
    return [fact for fact in facts if fact.name.endswith("_box")]


def lesion_hues(facts: Iterable[Fact]) -> dict[str, Hue]:
    """Returns the hue of each kind of box by its words: lesion types first, then landmarks (no fact counts them) in white."""
    facts = list(facts)
    counted = {fact.name for fact in facts}
    kinds = {fact.words: fact.name.removesuffix("_box") for fact in boxes(facts)}
    hues = drawing.hues(kind for kind in kinds.values() if kind in counted)
    lesions = {words: hues[kind] for words, kind in kinds.items() if kind in hues}
    return lesions | {words: Hue(drawing.LANDMARK) for words in kinds if words not in lesions}


def _rows(count: int, more: float = 0) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    figure = drawing.figure(4.1 * count + more, 12, dpi=72)
    axes = figure.subplots(count, 2, width_ratios=(1, 1.9), squeeze=False)
    return figure, [tuple(row) for row in axes]


def _picture(axes: Axes, path: Path, title: str) -> None:
    try:
        drawing.show(axes, np.asarray(images.load_upright(path, _SIDE)))
    except UserError as error:  # one bad picture stops nothing
        axes.axis("off")
        axes.text(0, 0.5, textwrap.fill(str(error), 40), fontsize=8, va="center", parse_math=False, transform=axes.transAxes)
    drawing.headline(axes, title, fontsize=10)


def _text(axes: Axes, parts: list[tuple[str, str]]) -> None:
    axes.axis("off")
    wrapped = [textwrap.wrap(f"{title}: {text}", _COLUMNS, subsequent_indent="    ") for title, text in parts]
    while sum(map(len, wrapped)) > _LINES and max(map(len, wrapped)) > 2:  # the longest is shortened first
        longest = max(wrapped, key=len)
        longest.pop()
        longest[-1] = f"{longest[-1][: _COLUMNS - 2].rstrip(' …')} …"
    lines = [line for part in wrapped for line in part]
    # plain text: a dollar sign in a note does not start a formula
    axes.text(0, 1, "\n".join(lines), fontsize=9, family="monospace", va="top", parse_math=False, transform=axes.transAxes)
