"""Answers joined with their questions' references, each read and marked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from retinal_lib.errors import UserError
from retinal_lib.evaluate import answer_reader as answer_parser
from retinal_lib.evaluate.answer_reader import ABSTAINED, ANSWERED, UNREADABLE, Read
from retinal_lib.inference import answer_files as answers

MISSING = "missing"  # there is no answer: the entry failed, or was never asked


@dataclass(frozen=True)
class Mark:
    """One answer with what was wanted. `read.value` is None unless the answer could be read."""

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


def read(kind: str, text: str, entry: dict) -> Read:
    """An answer to a question of a kind, read."""
    if kind == "grade":
        return answer_parser.grade(text, entry["scale"], entry["levels"])
    if kind == "diseases":
        return answer_parser.conditions(text, tuple(entry["labels"]))
    if kind == "boxes":
        return answer_parser.boxes(text)
    if kind == "measurement":
        return answer_parser.number(text, entry.get("unit", ""))
    single = {"quality": answer_parser.quality, "modality": answer_parser.modality, "eye": answer_parser.side}
    return single[kind](text)


def marks(model: str, asked: Sequence[dict], answers_file: str | Path) -> list[Mark]:
    """The answers of a model to a question file's entries. UserError: the files do not belong together."""
    said = {row["id"]: row for row in answers.load(answers_file)}
    known = [entry for entry in asked if str(entry["id"]) in said]
    if asked and not known:
        raise UserError(f"{answers_file} answers none of the {len(asked)} questions; it belongs to another question file")
    found = []
    for entry in asked:
        row = said.get(str(entry["id"]))
        pairs = row["qa_pairs"] if row else []
        text = str(pairs[0]["answer"]) if pairs else ""
        if pairs:
            result = read(entry["kind"], text, entry)
        else:
            result = Read(MISSING, why=row.get("error", "no answer") if row else "was not asked")
        found.append(_mark(model, entry, text, result))
    return found


def _mark(model: str, entry: dict, text: str, result: Read) -> Mark:
    names = ("dataset", "kind", "subject", "image", "question")
    reference = entry["reference"]
    reference = tuple(map(tuple, reference)) if entry["kind"] == "boxes" else reference
    return Mark(model, str(entry["id"]), *(entry[name] for name in names), text, reference, result, entry)


def states(found: Sequence[Mark]) -> dict[str, int]:
    """How many answers are in each state."""
    return {s: sum(mark.read.state == s for mark in found) for s in (ANSWERED, ABSTAINED, UNREADABLE, MISSING)}
