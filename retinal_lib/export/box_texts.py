"""Boxes in exported texts in the notation of a model or trainer, and what the texts say of the notation that they had."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from retinal_lib.conversation import Conversation, Turn
from retinal_lib.errors import UserError
from retinal_lib.export.preferences import Pair
from retinal_lib.imaging import images
from retinal_lib.text import box_notation
from retinal_lib.text.box_notation import Box, Size

_EDGE = r"\s*([01]?\.\d+|[01])\s*"
_SHARES = re.compile(rf"[\[(](?=[^\])]*\.){','.join([_EDGE] * 4)}[\])]")
_SPECIFIED = "[x_min, y_min, x_max, y_max]"
_PART = r"(?:the )?(?:(?:image|picture|photograph)(?:'s width and height)?|width and height)"
# what questions and answers say of boxes in fractions, which a model's own notation does not have; points stay as they are
_SAYINGS = [
    re.compile(r"\s*\((?![^()]*across and down)[^()]*(?:\bfractions?\b|from 0 to 1)[^()]*\)"),
    re.compile(rf"\s*The numbers are fractions of {_PART}\."),
    re.compile(rf"(?<!across and down)(?<!across and down,),?\s*(?:given |each )?(?:as|in) fractions of {_PART}(?:,(?= \w))?"),
    re.compile(r",\s*each number a fraction from 0 to 1|,\s*from 0 to 1(?: across the (?:image|picture))?"),
    re.compile(rf"\s*(?:\bas )?{re.escape(_SPECIFIED)}"),
]


def rewritten(text: str, put: Callable[[Box], str]) -> str:
    """Returns a text with each of its boxes, in shares of the picture, as `put` writes it, and without words on fractions.

    >>> rewritten("It lies in [0.25, 0.10, 0.50, 0.30] (in fractions of the image).", lambda box: "<bbox>")
    'It lies in <bbox>.'
    """

    def write(match: re.Match) -> str:
        left, top, right, bottom = box = tuple(map(float, match.groups()))
        if not (left < right <= 1 and top < bottom <= 1):
            return match[0]
        written.append(box)
        return put(box)

    written: list[Box] = []
    new = _SHARES.sub(write, text)
    if written or _SPECIFIED in text or _SPECIFIED[1:-1] in text:
        for saying in _SAYINGS:
            new = saying.sub("", new)
    return new


def ms_swift(entry: Conversation) -> dict:
    """Returns a row for ms-swift: messages with <bbox> for each box, and the boxes in `objects`, from which it writes them in
    the notation of the model that is trained, after that model's own resize."""
    boxes: list[Box] = []

    def put(box: Box) -> str:
        boxes.append(box)
        return "<bbox>"

    messages = [
        {"role": role, "content": rewritten(text, put)}
        for turn in entry.turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    messages[0]["content"] = f"<image>{messages[0]['content']}"
    objects = {"ref": [], "bbox": [list(box) for box in boxes], "bbox_type": "norm1"}
    return {"id": entry.id, "messages": messages, "images": [entry.image], "objects": objects}


def with_boxes(entries: Iterable[Conversation | Pair], form: str, folder: Path) -> list[Conversation | Pair]:
    """Returns exported entries with their boxes in a notation (see box_notation); images are named relative to `folder`.
    UserError: an unknown notation, or a picture cannot be read whose size is needed."""
    needed, sizes = box_notation.needs_size(form), {}
    written = []
    for entry in entries:
        if needed and entry.image not in sizes:
            sizes[entry.image] = _size(folder / entry.image)
        size = sizes.get(entry.image)

        def put(box: Box, size: Size | None = size) -> str:
            return box_notation.write(form, box, size)

        turns = tuple(Turn(*(rewritten(text, put) for text in turn)) for turn in entry.turns)
        more = {"rejected": rewritten(entry.rejected, put)} if isinstance(entry, Pair) else {}
        written.append(replace(entry, turns=turns, **more))
    return written


def _size(file: Path) -> Size:
    if not file.is_file():
        raise UserError(
            "boxes in pixels need the pictures: add --pictures link or copy, or --images, to the export with --boxes"
        )
    with images.open_image(file) as picture:
        return picture.size
