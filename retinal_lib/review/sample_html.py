"""Conversations as HTML: each number and claim is linked to its cell. All text is escaped, nothing is fetched."""

from collections.abc import Iterator
from pathlib import Path

from retinal_lib import display
from retinal_lib.conversation import IMAGE
from retinal_lib.errors import UserError
from retinal_lib.files import atomic_write
from retinal_lib.imaging import boxed_picture, images, side_by_side
from retinal_lib.imaging.boxed_picture import Picture
from retinal_lib.reader.second_reader import DOUBT
from retinal_lib.review.finished_run import AcceptedSample
from retinal_lib.review.session import ReviewItem, ReviewSession

SHEET = "review.html"
PARTS = ("question", "answer")
_MAX_SAMPLES = 200  # of a page: a browser must open it
_SIDE = 420  # pixels of a picture


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
        "pieces": side_by_side.pieces(item.turns[index]["value"].removesuffix(f"\n{IMAGE}"), traces, findings),
        "fixed": (turn, part) in item.verdict.fixes,
        "findings": [finding for finding in findings if finding["kind"] != DOUBT],
    }


def sheet(session: ReviewSession, file: Path, limit: int | None = None) -> int:
    """Writes the chosen samples (at most `limit`) as one HTML page with pictures and conversations, without scripts or
    network, and returns their number. UserError: the run was repeated since, or the page cannot be written."""
    chosen = session.chosen
    samples = chosen[: min(_MAX_SAMPLES, limit or _MAX_SAMPLES)]
    drawn = f". {images.DRAWN}" if any(run.job.drawn for run in session.runs) else ""
    html = display.render(
        "review/sheet.html",
        css=side_by_side.css(),
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
            yield row | {"problem": "", "jpeg": picture.jpeg, "legend": boxed_picture.legend(picture.colours)}
        except UserError as error:  # the other samples are shown all the same
            yield row | {"problem": str(error)}
