"""Answers of models, parsed and compared with the references of their questions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from retinal_lib.display import count
from retinal_lib.errors import UserError
from retinal_lib.evaluate import answer_reader, harness_answers, metrics
from retinal_lib.evaluate.answer_reader import ABSTAINED, ANSWERED, UNREADABLE, ParsedAnswer
from retinal_lib.evaluate.answer_text import unwrapped
from retinal_lib.imaging import images
from retinal_lib.text import reply_text

MISSING = "missing"  # the state of an entry that failed or was never asked
# what the score of one answer is, by kind of question; of other kinds it is whether the answer is right
SCORES = {"diseases": "F1", "boxes": "mean IoU", "measurement": "1 less the relative error"}


@dataclass(frozen=True)
class ScoredAnswer:
    """An answer with its question and reference. `parsed.value` is None unless the answer could be read."""

    model: str
    id: str
    dataset: str
    kind: str
    subject: str
    image: str
    question: str
    text: str
    reference: object
    parsed: ParsedAnswer
    entry: dict

    @property
    def value(self) -> object:
        """What the answer says."""
        return self.parsed.value

    @property
    def right(self) -> bool:
        """Whether a single answer is the reference."""
        return self.parsed.state == ANSWERED and self.value == self.reference

    @property
    def score(self) -> float:
        """From 0 to 1 what SCORES says of the kind; 0 without an answer, 1 where there is nothing to name and none is named."""
        if self.parsed.state != ANSWERED or self.right or self.kind not in SCORES:
            return float(self.right)
        if self.kind == "diseases":
            named, there = set(self.value), set(self.reference)
            return 2 * len(named & there) / (len(named) + len(there)) if named or there else 1.0
        if self.kind == "boxes":
            return metrics.mean_iou([box_counts(self)])
        return max(0.0, 1 - abs(self.value - self.reference) / abs(self.reference)) if self.reference else 0.0


def box_counts(answer: ScoredAnswer) -> metrics.BoxCounts:
    """Returns the counts of the boxes of an answer; one that could not be read names none."""
    unlisted = max(0, int(answer.entry.get("count") or 0) - len(answer.reference))
    return metrics.BoxCounts.of(answer.reference, answer.value or (), unlisted)


def read_answer(kind: str, text: str, entry: dict, notation: str | None = None) -> ParsedAnswer:
    """Reads an answer to a question of a kind; `entry` holds the question's scale, labels, unit or options, `notation` is how
    the model writes boxes, see `answer_reader.boxes`. UserError: an unknown notation."""
    if kind == "grade":
        return answer_reader.grade(text, entry["scale"], entry["levels"])
    if kind == "diseases":
        return answer_reader.conditions(text, tuple(entry["labels"]))
    if kind == "boxes":
        return answer_reader.boxes(text, _size(entry) if _LARGE.search(text) else None, notation)
    if kind == "measurement":
        return answer_reader.number(text, entry.get("unit", ""))
    if kind in ("option", "options"):
        reader = answer_reader.option if kind == "option" else answer_reader.several_options
        return reader(text, tuple(entry["options"]))
    if kind == "yes_no":
        return answer_reader.yes_no(text, entry.get("condition", ""))
    single = {"quality": answer_reader.quality, "modality": answer_reader.modality, "eye": answer_reader.side}
    return single[kind](text)


_LARGE = re.compile(r"(?<![.\d])\d{2}")  # as only boxes in pixels or the like have


def _size(entry: dict) -> tuple[int, int] | None:
    """Width and height of a question's image, upright; None where it is not at hand."""
    size = entry.get("size")
    return tuple(size) if size else _size_of(str(entry.get("image", "")))


@lru_cache(maxsize=4096)
def _size_of(file: str) -> tuple[int, int] | None:
    path = Path(file)
    if not file or not path.is_file():
        return None
    try:
        with images.open_image(path) as image:
            turned = images.orientation(image) > 4  # the fifth to eighth lie on their side
            return (image.height, image.width) if turned else image.size
    except UserError:
        return None


def score(entry: dict, answer: str, notation: str | None = None) -> dict[str, float]:
    """Returns the score of one answer to a question with its reference, from 0 to 1 (see SCORES), and whether it could be read
    (1 or 0), as harnesses ask for them. UserError: an unknown notation of boxes.

    >>> asked = {"id": 1, "image": "1.png", "question": "Which eye?", "dataset": "d", "subject": "eye", "kind": "eye"}
    >>> score(asked | {"reference": "left"}, "<think>The disc …</think>It is the left eye.")
    {'score': 1.0, 'answered': 1.0}
    """
    scored = _score_answer("", entry, {"qa_pairs": [{"answer": answer}]}, notation)
    return {"score": float(scored.score), "answered": float(scored.parsed.state == ANSWERED)}


def score_answers(
    model: str, asked: Sequence[dict], answers_file: str | Path, blind: bool = False, notation: str | None = None
) -> list[ScoredAnswer]:
    """Compares a model's answers with the references of a question file, in its order. A row counts that names the question's
    image or none; for the `blind` test, one that names another or none. `notation`: how the model writes boxes.

    UserError: an unknown notation, or the answers file cannot be read, belongs to another question file, is of no (or only of)
    the blind test, or answers a question twice.
    """
    answers: dict[str, list[dict]] = {}
    for row in harness_answers.load(answers_file):
        answers.setdefault(row["id"], []).append(row)
    if asked and not any(str(entry["id"]) in answers for entry in asked):
        raise UserError(
            f"{answers_file} answers none of the {count(len(asked), 'question')}; it belongs to another question file"
        )
    counted = {
        str(entry["id"]): [row for row in answers.get(str(entry["id"]), []) if _is_of(row, entry["image"]) in (None, not blind)]
        for entry in asked
    }
    if asked and not any(counted.values()):
        seen = "its question's own image" if blind else "another image than its question's"
        what = "the blind test wants answers about other images" if blind else "answers to a blind test go into blind_answers"
        raise UserError(f"{answers_file}: every answer is about {seen}; {what}")
    scored = []
    for entry in asked:
        rows = counted[str(entry["id"])]
        if len(rows) > 1:
            raise UserError(
                f"{answers_file} holds {len(rows)} answers to the question {entry['id']}; name a file with one each"
            )
        scored.append(_score_answer(model, entry, rows[0] if rows else None, notation))
    return scored


def _is_of(row: dict, image: str) -> bool | None:
    """Whether a row's picture is this one: files may name it with folders before it. None where a row names none."""
    name = str(row.get("image") or "")
    return None if not name else name == image or name.endswith(f"/{image}") or image.endswith(f"/{name}")


def _score_answer(model: str, entry: dict, row: dict | None, notation: str | None = None) -> ScoredAnswer:
    if row and row["qa_pairs"]:
        text = str(row["qa_pairs"][0]["answer"])
        seen = entry | ({"image": row["image"], "size": None} if row.get("image") and not _is_of(row, entry["image"]) else {})
        parsed = read_answer(entry["kind"], text, seen, notation)
        text = _shown(text)
    else:
        text, parsed = "", ParsedAnswer(MISSING, why=row.get("error", "no answer") if row else "was not asked")
    fields = [entry[name] for name in ("dataset", "kind", "subject", "image", "question")]
    reference = entry["reference"]
    reference = tuple(map(tuple, reference)) if entry["kind"] == "boxes" else reference
    reference = tuple(reference) if entry["kind"] == "options" else reference
    return ScoredAnswer(model, str(entry["id"]), *fields, text, reference, parsed, entry)


def _shown(text: str) -> str:
    """An answer as people see it: without thoughts, where it does not end in them."""
    try:
        return unwrapped(text)
    except reply_text.NoAnswer:
        return text


def count_states(answers: Sequence[ScoredAnswer]) -> dict[str, int]:
    """Counts the answers in each state."""
    return {s: sum(answer.parsed.state == s for answer in answers) for s in (ANSWERED, ABSTAINED, UNREADABLE, MISSING)}
