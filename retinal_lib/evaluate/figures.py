"""Figures of an evaluation: confusion matrices, and the images that were answered wrongly. Each returns a closed Figure."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retinal_lib.closed_questions import phrasing
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.errors import UserError
from retinal_lib.evaluate import metrics
from retinal_lib.evaluate.scored_answers import ScoredAnswer
from retinal_lib.imaging import drawing
from retinal_lib.imaging.drawing import Axes, Figure
from retinal_lib.imaging.images import drawn_among, load_upright

_SIDE, _COLUMNS = 220, 4  # pixels of a picture, pictures in a row


def confusions(groups: dict[str, Sequence[ScoredAnswer]]) -> Figure:
    """Draws a confusion matrix for each group of single answers; the last column counts what has no answer."""
    if not groups:
        return drawing.sentence("no grades or other single answers to compare")
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    with drawing.style():
        figure = drawing.figure(3.2 * rows, 5 * columns, dpi=72)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, (title, answers) in zip(axes, groups.items(), strict=False):
            _matrix(panel, title, answers)
        for panel in axes[len(groups) :]:
            panel.axis("off")
    pictures = (Path(answer.image) for answers in groups.values() for answer in answers)
    return drawing.tell_drawn(figure, drawn_among(pictures))


def classes(answers: Sequence[ScoredAnswer]) -> list[object]:
    """Lists the classes of single answers: a scale's levels, or whatever occurs."""
    if "levels" in answers[0].entry:
        return answers[0].entry["levels"]
    return sorted({m.reference for m in answers} | {m.value for m in answers if m.value is not None}, key=str)


def _matrix(axes: Axes, title: str, answers: Sequence[ScoredAnswer]) -> None:
    names = classes(answers)
    counts = metrics.confusion([m.reference for m in answers], [m.value for m in answers], names)
    # of a scale, every level has a row; of other answers, what no reference can be has only a column
    rows = [i for i, row in enumerate(counts) if row.any() or "levels" in answers[0].entry]
    counts = counts[rows]
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), number in np.ndenumerate(counts):
        share = shares[row, column]
        told = f"{int(number)}\n{share:.0%}" if number else "0"
        axes.text(column, row, told, ha="center", va="center", color="white" if share > 0.5 else "black", fontsize=8)
    told = [_name(answers[0].entry, name) for name in names]
    short = list(map(str, names)) if "levels" in answers[0].entry else told  # the rows of grades have the words
    axes.set_xticks(range(len(names) + 1), [textwrap.fill(name, 12) for name in [*short, "no answer"]], fontsize=8)
    axes.set_yticks(range(len(rows)), [textwrap.fill(told[row], 24, break_on_hyphens=False) for row in rows], fontsize=7)
    axes.set_xlabel("answer", fontsize=9)
    axes.set_ylabel("reference (shares of each row)", fontsize=9)
    drawing.headline(axes, title, beside=0.6, fontsize=9)


def _name(entry: dict, value: object) -> str:
    """What a class is called: a grade with its words, a level of quality, an option; else the value itself."""
    if "scale" in entry and entry["scale"] in scales():
        return f"{value} {scales()[entry['scale']]['levels'].get(value, '')}".strip()
    if entry["kind"] == "quality":
        return str(phrasing.words()["quality"].get(value, value))
    return str(value)


def gallery(wrong: Sequence[ScoredAnswer]) -> Figure:
    """Draws images with question, reference and answer. An image that cannot be read stays blank."""
    if not wrong:
        return drawing.sentence("no wrong answer to show")
    rows = -(-len(wrong) // _COLUMNS)
    with drawing.style():
        figure = drawing.figure(3.1 * rows, 13, dpi=72)
        axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for panel in axes:
            panel.axis("off")
        for panel, answer in zip(axes, wrong, strict=False):
            try:
                panel.imshow(load_upright(Path(answer.image), _SIDE))
            except UserError:
                panel.set_facecolor("0.8")
            text = textwrap.wrap(f"answer: {answer.text}", 40)[:3]
            lines = [f"{answer.model}: {answer.dataset}, {answer.subject}", f"reference: {answer.reference}", *text]
            panel.set_title("\n".join(lines), fontsize=8, loc="left", parse_math=False)
    return drawing.tell_drawn(figure, drawn_among(Path(answer.image) for answer in wrong))
