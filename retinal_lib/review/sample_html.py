"""Conversations as HTML: each number and claim is linked to its cell. All text is escaped, nothing is fetched."""

from collections.abc import Iterator
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from retinal_lib import display
from retinal_lib.conversation import IMAGE
from retinal_lib.errors import UserError
from retinal_lib.files import atomic_write
from retinal_lib.imaging import images
from retinal_lib.reader.second_reader import DOUBT
from retinal_lib.review.finished_run import AcceptedSample
from retinal_lib.review.pictures import Picture
from retinal_lib.review.session import ReviewItem, ReviewSession

SHEET = "review.html"
PARTS = ("question", "answer")
_MAX_SAMPLES = 200  # of a page: a browser must open it
_SIDE = 420  # pixels of a picture
_MAX_LETTERS = 200  # of a raw value


class _Piece(NamedTuple):
    """A piece of text with the same marks throughout: its CSS classes ("" without marks), its tooltip, and the box that a
    click highlights (four numbers as text)."""

    text: str
    classes: str = ""
    hover: str = ""
    box: str = ""


def conversation(item: ReviewItem, name: str = "") -> str:
    """Returns a sample's turns, findings, verdict and comments; `name` is the title."""
    parts = [_part(item, index) for index in range(len(item.turns))]
    others = [finding for finding in item.findings if not 1 <= finding["turn"] <= len(item.turns) // 2]
    doubts = [finding for finding in item.findings if finding["kind"] == DOUBT]
    return display.render("review/conversation.html", name=name, item=item, doubts=doubts, parts=parts, other_findings=others)


def _part(item: ReviewItem, index: int) -> dict[str, object]:
    """A question or an answer for the template."""
    turn, part = index // 2 + 1, PARTS[index % 2]
    traces = [trace for trace in item.traces if trace["turn"] == turn] if part == "answer" else []
    findings = [finding for finding in item.findings if (finding["turn"], finding["part"]) == (turn, part)]
    return {
        "part": part,
        "number": turn if part == "question" else "",
        "pieces": _pieces(item.turns[index]["value"].removesuffix(f"\n{IMAGE}"), traces, findings),
        "fixed": (turn, part) in item.verdict.fixes,
        "findings": [finding for finding in findings if finding["kind"] != DOUBT],
    }


def _pieces(text: str, traces: list[dict], findings: list[dict]) -> list[_Piece]:
    edges = sorted({0, len(text), *(edge for mark in traces + findings for edge in mark["span"] if 0 < edge < len(text))})
    return [
        _piece(
            text[start:end],
            [trace for trace in traces if trace["span"][0] <= start and end <= trace["span"][1]],
            [finding for finding in findings if finding["span"][0] <= start and end <= finding["span"][1]],
        )
        for start, end in pairwise(edges)
    ]


def _piece(text: str, traces: list[dict], findings: list[dict]) -> _Piece:
    classes = [("rl-number" if any(trace["is"] == "number" for trace in traces) else "rl-claim")] if traces else []
    boxes = [trace["value"] for trace in traces if is_box(trace)]
    classes += ["rl-wrong"] * bool(findings) + ["rl-box"] * bool(boxes)
    hover = dict.fromkeys([source(trace) for trace in traces] + [finding["text"] for finding in findings])
    return _Piece(text, " ".join(classes), "\n".join(hover), " ".join(map(str, boxes[0])) if boxes else "")


def is_box(trace: dict) -> bool:
    """Says whether a trace is of one box, four fractions of the picture; a count of boxes ("the 10 largest") is not."""
    value = trace["value"]
    four = isinstance(value, list) and len(value) == 4 and all(isinstance(edge, int | float) for edge in value)
    return four and not trace["said"].strip().isdigit()


def source(trace: dict) -> str:
    """Returns the source of a number or claim: fact and raw value, then file, row and column."""
    value = str(trace["value"])
    value = value if len(value) <= _MAX_LETTERS else f"{value[:_MAX_LETTERS]}…"
    cell = [Path(trace["file"].replace("\\", "/")).name]
    cell += [f"row {trace['row']}"] if trace["row"] is not None else []
    cell += [f"column {trace['column']!r}"] if trace["column"] else []
    return f"{trace['fact']} = {value}\n{', '.join(cell)}"


def legend(colours: dict[str, str]) -> str:
    """Returns a legend of the lesion types and the colours of their boxes."""
    return " ".join(
        f'<span class="rl-key" style="border-color:{colour}">{escape(words)}</span>' for words, colour in colours.items()
    )


def sheet(session: ReviewSession, file: Path, limit: int | None = None) -> int:
    """Writes the chosen samples (at most `limit`) as one HTML page with pictures and conversations, without scripts or
    network, and returns their number. UserError: the run was repeated since, or the page cannot be written."""
    chosen = session.chosen
    samples = chosen[: min(_MAX_SAMPLES, limit or _MAX_SAMPLES)]
    drawn = f". {images.DRAWN}" if any(run.job.drawn for run in session.runs) else ""
    html = display.render(
        "review/sheet.html",
        title=", ".join(dict.fromkeys(run.name for run in session.runs)),
        count=f"{display.count(len(samples), 'sample')} of {len(chosen):,}{drawn}",
        rows=_rows(session, samples),
    )
    with atomic_write(file) as page:
        page.write(html)
    return len(samples)


def _rows(session: ReviewSession, samples: list[AcceptedSample]) -> Iterator[dict[str, object]]:
    for sample in samples:
        row = {"title": sample.title, "conversation": conversation(session.item(sample), sample.title)}
        try:
            picture = Picture(*session.picture(sample), side=_SIDE)
            yield row | {"jpeg": picture.jpeg, "legend": legend(picture.colours)}
        except UserError as error:  # the other samples are shown all the same
            yield row | {"problem": str(error)}
