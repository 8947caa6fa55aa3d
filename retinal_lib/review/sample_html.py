"""A conversation as HTML: each number and claim tied to the cell that holds it. All text is escaped, nothing is fetched."""

import base64
from collections.abc import Iterable
from html import escape
from itertools import pairwise
from pathlib import Path

from retinal_lib.conversation import IMAGE
from retinal_lib.display import count
from retinal_lib.errors import UserError
from retinal_lib.facts import Fact
from retinal_lib.files import atomic_write
from retinal_lib.review import pictures as shelf
from retinal_lib.review.review import Item, Page, Review

CSS = Path(__file__).with_name("reviewer.css").read_text(encoding="utf-8")
SHEET = "review.html"
PARTS = ("question", "answer")
_MOST = 200  # samples of a contact sheet: a browser must open it
_SMALL = 420
_LONGEST = 200  # letters of a raw value

# what the checks' kinds mean, for readers; the sentence of a finding says the rest
SEVERE = {"error": "Error", "warning": "Look at this"}


def conversation(page: Page, name: str = "") -> str:
    """The turns of a sample, what was found in them, and what has been decided; `name` stands above."""
    told = [f'<h3>{escape(name)} <span class="rl-state rl-{page.verdict.state}">{page.verdict.state}</span></h3>']
    for place, part in enumerate(page.turns):
        turn, which = place // 2 + 1, PARTS[place % 2]
        traces = [t for t in page.traces if t["turn"] == turn] if which == "answer" else []
        found = [f for f in page.findings if (f["turn"], f["part"]) == (turn, which)]
        mark = ' <span class="rl-mark">fixed</span>' if (turn, which) in page.verdict.fixes else ""
        label = f"{turn}" if which == "question" else ""
        text = _text(part["value"].removesuffix(f"\n{IMAGE}"), traces, found)
        told.append(f'<div class="rl-{which}"><b>{label}</b><p>{text}{mark}</p></div>')
        told += [_finding(finding) for finding in found]
    loose = [f for f in page.findings if not 1 <= f["turn"] <= len(page.turns) // 2]
    told += [_finding(finding) for finding in loose]
    told += [f'<div class="rl-comment">{escape(text)}</div>' for text in page.verdict.comments]
    for who, verdict in page.others.items():
        said = "; ".join([verdict.state, *verdict.comments])
        told.append(f'<div class="rl-comment"><b>{escape(who)}</b>: {escape(said)}</div>')
    return "".join(told)


def _finding(finding: dict) -> str:
    severity = finding["severity"] if finding["severity"] in SEVERE else "warning"
    text = finding["text"][:1].upper() + finding["text"][1:]
    return f'<div class="rl-finding rl-{severity}">{SEVERE[severity]}: {escape(text)} <i>({escape(finding["kind"])})</i></div>'


def _text(text: str, traces: list[dict], findings: list[dict]) -> str:
    """The text in pieces, each marked by what covers it."""
    edges = {0, len(text)}
    for mark in (*traces, *findings):
        edges |= {edge for edge in mark["span"] if 0 < edge < len(text)}
    edges = sorted(edges)
    pieces = []
    for start, end in pairwise(edges):
        held = [t for t in traces if t["span"][0] <= start and end <= t["span"][1]]
        wrong = [f for f in findings if f["span"][0] <= start and end <= f["span"][1]]
        pieces.append(_piece(text[start:end], held, wrong))
    return "".join(pieces)


def _piece(text: str, held: list[dict], wrong: list[dict]) -> str:
    shown = escape(text).replace("\n", "<br>")
    if not held and not wrong:
        return shown
    kinds = [f"rl-{'number' if any(t['is'] == 'number' for t in held) else 'claim'}"] if held else []
    kinds += ["rl-wrong"] if wrong else []
    hover = "\n".join(dict.fromkeys([source(t) for t in held] + [f["text"] for f in wrong]))
    boxes = [t["value"] for t in held if is_box(t)]
    at = f' data-box="{escape(" ".join(map(str, boxes[0])))}"' if boxes else ""
    return f'<span class="{" ".join(kinds)}{" rl-box" if boxes else ""}" title="{escape(hover)}"{at}>{shown}</span>'


def is_box(trace: dict) -> bool:
    """Whether a trace is of one box, four shares of the picture; a count of boxes ("the 10 largest") is not."""
    value = trace["value"]
    four = isinstance(value, list) and len(value) == 4 and all(isinstance(edge, int | float) for edge in value)
    return four and not trace["said"].strip().isdigit()


def source(trace: dict) -> str:
    """Where a number or claim comes from, in a line: fact, raw value, file, row, column."""
    value = str(trace["value"])
    value = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
    place = [Path(trace["file"].replace("\\", "/")).name]
    place += [f"row {trace['row']}"] if trace["row"] is not None else []
    place += [f"column {trace['column']!r}"] if trace["column"] else []
    return f"{trace['fact']} = {value}\n{', '.join(place)}"


def legend(boxes: Iterable[Fact]) -> str:
    """The lesion types and the colours of their boxes."""
    of = shelf.colours(boxes).items()
    return " ".join(f'<span class="rl-key" style="border-color:{colour}">{escape(name)}</span>' for name, colour in of)


def sheet(review: Review, file: Path, limit: int | None = None) -> tuple[int, int]:
    """Writes the chosen samples as one HTML page with pictures and conversations; it fetches nothing and runs no script.
    Returns how many it holds and how many there are. UserError: the run was made anew, or the page cannot be written."""
    chosen = review.chosen
    shown = chosen[: min(_MOST, limit or _MOST)]
    with atomic_write(file) as page:
        rules = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        title = escape(", ".join(dict.fromkeys(run.name for run in review.runs)))
        page.write(f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>')
        page.write(f'<meta http-equiv="Content-Security-Policy" content="{rules}"><style>{CSS}</style></head>')
        told = (
            f"{count(len(shown), 'sample')} of {len(chosen):,}. Hold the pointer over a marked number or claim to see its cell."
        )
        page.write(f'<body class="rl-sheet"><h1>{title}</h1><p>{told}</p>')
        for item in shown:
            page.write(_row(review, item))
        page.write("</body></html>\n")
    return len(shown), len(chosen)


def _row(review: Review, item: Item) -> str:
    said = conversation(review.page(item), item.title)
    return (
        f'<section class="rl-row"><div class="rl-left">{_small(review, item)}</div><div class="rl-right">{said}</div></section>'
    )


def _small(review: Review, item: Item) -> str:
    try:
        path, boxes = review.picture(item)
        ready = shelf.prepare(path, boxes, _SMALL)
    except UserError as error:  # one lost picture is no reason to show none
        return f'<p class="rl-problem">{escape(str(error))}</p>'
    data = base64.b64encode(ready.jpeg).decode()
    return f'<img alt="{escape(item.title)}" src="data:image/jpeg;base64,{data}"><p>{legend(boxes)}</p>'
