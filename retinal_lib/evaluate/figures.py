"""What an evaluation shows: confusion matrices, and the images that were answered wrongly."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retinal_lib.closed_questions import wording
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.evaluate import metrics
from retinal_lib.evaluate.scored_answers import ScoredAnswer
from retinal_lib.imaging import drawing
from retinal_lib.imaging.drawing import Axes, Figure
from retinal_lib.imaging.images import drawn_among
from retinal_lib.imaging.side_by_side import Part, Piece, Row, SideBySide


def confusions(groups: dict[str, Sequence[ScoredAnswer]]) -> Figure:
    """Draws a confusion matrix for each group of single answers, as a closed Figure; the last column counts what has no
    answer."""
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
        return str(wording.words()["quality"].get(value, value))
    return str(value)


def gallery(wrong: Sequence[ScoredAnswer]) -> SideBySide:
    """Shows images beside question, reference and answer."""
    rows = []
    for answer in wrong:
        told = {"question": answer.question, "reference": _name(answer.entry, answer.reference), "answer": answer.text}
        parts = [Part(label, [Piece(text)], "facts") for label, text in told.items()]
        rows.append(Row(Path(answer.image), f"{answer.model}: {answer.dataset}, {answer.subject}", parts))
    return SideBySide(rows, "no wrong answer to show")
