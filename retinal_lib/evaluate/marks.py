"""Answers beside the references of their questions, each read and marked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from retinal_lib.errors import UserError
from retinal_lib.evaluate import answer_reader
from retinal_lib.evaluate.answer_reader import ABSTAINED, ANSWERED, UNREADABLE, Read
from retinal_lib.inference import answer_files

MISSING = "missing"  # the state of an entry that failed or was never asked


@dataclass(frozen=True)
class Mark:
    """One answer beside its reference. `read.value` is None unless the answer could be read."""

    model: str
    id: str
    dataset: str
    kind: str
    subject: str
    image: str
    question: str
    text: str
    reference: object
    read: Read
    entry: dict

    @property
    def value(self) -> object:
        """What the answer says."""
        return self.read.value

    @property
    def right(self) -> bool:
        """Whether a single answer is the reference."""
        return self.read.state == ANSWERED and self.value == self.reference


def read_answer(kind: str, text: str, entry: dict) -> Read:
    """Reads an answer to a question of a kind; `entry` holds the question's scale, labels or unit."""
    if kind == "grade":
        return answer_reader.grade(text, entry["scale"], entry["levels"])
    if kind == "diseases":
        return answer_reader.conditions(text, tuple(entry["labels"]))
    if kind == "boxes":
        return answer_reader.boxes(text)
    if kind == "measurement":
        return answer_reader.number(text, entry.get("unit", ""))
    single = {"quality": answer_reader.quality, "modality": answer_reader.modality, "eye": answer_reader.side}
    return single[kind](text)


def mark_answers(model: str, asked: Sequence[dict], answers_file: str | Path) -> list[Mark]:
    """Marks a model's answers to the entries of a question file, in their order. UserError: the answers file cannot be read,
    or answers another question file."""
    answers = {row["id"]: row for row in answer_files.load(answers_file)}
    if asked and not any(str(entry["id"]) in answers for entry in asked):
        raise UserError(f"{answers_file} answers none of the {len(asked)} questions; it belongs to another question file")
    return [_mark(model, entry, answers.get(str(entry["id"]))) for entry in asked]


def _mark(model: str, entry: dict, row: dict | None) -> Mark:
    if row and row["qa_pairs"]:
        text = str(row["qa_pairs"][0]["answer"])
        read = read_answer(entry["kind"], text, entry)
    else:
        text, read = "", Read(MISSING, why=row.get("error", "no answer") if row else "was not asked")
    fields = [entry[name] for name in ("dataset", "kind", "subject", "image", "question")]
    reference = entry["reference"]
    reference = tuple(map(tuple, reference)) if entry["kind"] == "boxes" else reference
    return Mark(model, str(entry["id"]), *fields, text, reference, read, entry)


def count_states(marks: Sequence[Mark]) -> dict[str, int]:
    """Counts the answers in each state."""
    return {s: sum(mark.read.state == s for mark in marks) for s in (ANSWERED, ABSTAINED, UNREADABLE, MISSING)}
