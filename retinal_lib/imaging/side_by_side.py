"""Pictures beside their facts, conversations or answers: as HTML, whose text can be selected, and as text for terminals.

Numbers and claims carry the cell that they rest on as a tooltip. All text is escaped, and nothing is fetched."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from retinal_lib import display
from retinal_lib.conversation import IMAGE
from retinal_lib.errors import UserError
from retinal_lib.facts import ASPECTS, Case, Fact
from retinal_lib.imaging import boxed_picture, images
from retinal_lib.imaging.boxed_picture import Picture
from retinal_lib.text.shown_text import for_people

_SIDE = 360  # pixels of a picture: enough to recognise an eye, small enough to keep in a notebook
_MAX_LETTERS = 200  # of a raw value


class Piece(NamedTuple):
    """A piece of text with the same marks throughout: its CSS classes ("" without marks), its tooltip, and the box that a
    click highlights (four numbers as text)."""

    text: str
    classes: str = ""
    hover: str = ""
    box: str = ""


class Part(NamedTuple):
    """A text with its label, such as Q, and the CSS class of its lines."""

    label: str
    pieces: Sequence[Piece]
    part: str = "answer"

    @property
    def text(self) -> str:
        """The part in one line or more, without marks."""
        return f"{self.label}: {''.join(piece.text for piece in self.pieces)}"


@dataclass(frozen=True)
class Row:
    """A picture, with the boxes of `facts`, beside its texts. In place of one that cannot be read stands why."""

    path: Path
    title: str
    parts: Sequence[Part]
    facts: Sequence[Fact] = ()
    jpeg: bytes = field(init=False, default=b"")
    legend: str = field(init=False, default="")
    problem: str = field(init=False, default="")

    def __post_init__(self) -> None:
        try:
            picture = Picture(self.path, self.facts, _SIDE)
        except UserError as error:  # one bad picture stops nothing
            object.__setattr__(self, "problem", str(error))
        else:
            object.__setattr__(self, "jpeg", picture.jpeg)
            object.__setattr__(self, "legend", boxed_picture.legend(picture.colours))


@dataclass(frozen=True, repr=False)
class SideBySide:
    """Pictures beside texts: a notebook shows them as HTML, a terminal the texts alone. `nothing` stands for none."""

    rows: Sequence[Row]
    nothing: str = ""

    @property
    def drawn(self) -> str:
        """A note where this project drew one of the eyes, else ""."""
        return images.DRAWN if images.drawn_among(row.path for row in self.rows) else ""

    def _repr_html_(self) -> str:
        return display.render("imaging/side_by_side.html", css=css(), rows=self.rows, drawn=self.drawn, nothing=self.nothing)

    def __repr__(self) -> str:
        texts = ["\n".join([row.title, *[row.problem] * bool(row.problem), *(p.text for p in row.parts)]) for row in self.rows]
        return for_people("\n\n".join([*[self.drawn] * bool(self.drawn), *texts]) or self.nothing)


def css() -> str:
    """Returns the style of pictures beside texts."""
    return Path(__file__).with_name("side_by_side.css").read_text(encoding="utf-8")


def cases(items: Sequence[Case], titles: Sequence[str] | None = None) -> SideBySide:
    """Shows pictures with the boxes of their lesions, each beside its facts with their cells."""
    rows = []
    for case, title in zip(items, titles or [case.id for case in items], strict=True):
        parts = [Part(ASPECTS[aspect], _facts(case.about(aspect)), "facts") for aspect in case.aspects]
        rows.append(Row(case.path, title, parts, case.about("lesion")))
    return SideBySide(rows)


def _facts(facts: Sequence[Fact]) -> list[Piece]:
    """The clauses of an aspect, as `Case.clauses` joins them."""
    pieces = []
    for fact in facts:
        if pieces:
            pieces.append(Piece(", " if fact.text.startswith("[") else "; "))
        pieces.append(Piece(fact.text, "rl-fact", str(fact.source)))
    return [*pieces, Piece(".")]


def conversations(items: Iterable[tuple[Path, str, Sequence[dict[str, str]], Sequence[dict]]]) -> SideBySide:
    """Shows pictures (path, title, turns as exported, traces as in lineage.jsonl), each beside its conversation."""
    rows = []
    for path, title, turns, traces in items:
        parts = []
        for index, turn in enumerate(turns):
            here = [trace for trace in traces if index % 2 and trace["turn"] == index // 2 + 1]
            said = pieces(turn["value"].removesuffix(f"\n{IMAGE}"), here)
            parts.append(Part("A", said) if index % 2 else Part("Q", said, "question"))
        rows.append(Row(path, title, parts))
    return SideBySide(rows, "no conversation is accepted yet")


# --- texts with marks ---------------------------------------------------------------------------------------------------


def pieces(text: str, traces: Sequence[dict], findings: Sequence[dict] = ()) -> list[Piece]:
    """Returns a text in pieces, with the numbers and claims of `traces` and the words of `findings` marked."""
    edges = sorted({0, len(text), *(edge for mark in [*traces, *findings] for edge in mark["span"] if 0 < edge < len(text))})
    return [
        _piece(
            text[start:end],
            [trace for trace in traces if trace["span"][0] <= start and end <= trace["span"][1]],
            [finding for finding in findings if finding["span"][0] <= start and end <= finding["span"][1]],
        )
        for start, end in pairwise(edges)
    ]


def _piece(text: str, traces: list[dict], findings: list[dict]) -> Piece:
    classes = [("rl-number" if any(trace["is"] == "number" for trace in traces) else "rl-claim")] if traces else []
    boxes = [trace["value"] for trace in traces if is_box(trace)]
    classes += ["rl-wrong"] * bool(findings) + ["rl-box"] * bool(boxes)
    hover = dict.fromkeys([source(trace) for trace in traces] + [finding["text"] for finding in findings])
    return Piece(text, " ".join(classes), "\n".join(hover), " ".join(map(str, boxes[0])) if boxes else "")


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
