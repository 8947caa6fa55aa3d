"""Answers made up from the references, wrong in a known share: for trying, and checking, an evaluation without a model."""

import random
from pathlib import Path

from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.evaluate import answer_reader as answer_parser
from retinal_lib.files import write_jsonl

WRONG, SILENT, MUMBLED = 0.2, 0.08, 0.04  # shares of answers that are wrong, that abstain, that cannot be read


def write(asked: list[dict], file: Path, seed: int = 0, wrong: float = WRONG, silent: float = SILENT) -> Path:
    """Writes an answers file for entries with references and returns it."""
    rows = []
    for entry in asked:
        dice = random.Random(f"{seed} {entry['id']}")
        text = _answer(entry, dice, wrong, silent)
        rows.append({"id": entry["id"], "image": entry["image"], "qa_pairs": [{"question": entry["question"], "answer": text}]})
    return write_jsonl(file, rows)


def _answer(entry: dict, dice: random.Random, wrong: float, silent: float) -> str:
    thrown = dice.random()
    if thrown < silent:
        return dice.choice(["I cannot tell from this image.", "It is not possible to determine this."])
    if thrown < silent + MUMBLED:
        return dice.choice(["The retina is a light-sensitive tissue.", "Please see a specialist."])
    amiss = thrown < silent + MUMBLED + wrong
    return _SPEAKERS[entry["kind"]](entry, dice, amiss)


def _other(values: list, value: object, dice: random.Random) -> object:
    return dice.choice([v for v in values if v != value])


def _grade(entry: dict, dice: random.Random, amiss: bool) -> str:
    value = _other(entry["levels"], entry["reference"], dice) if amiss else entry["reference"]
    scale = scales()[entry["scale"]]
    forms = [
        f"Grade {value}.",
        f"The grade of {scale['of']} is {value}.",
        f"I would grade this as {value} on the {scale['title']}.",
    ]
    if entry["scale"] in ("ICDR", "META-PM"):
        forms.append(f"This image shows {scale['levels'][value]}.")
    return dice.choice(forms)


def _diseases(entry: dict, dice: random.Random, amiss: bool) -> str:
    found = [_other(entry["labels"], None, dice)] if amiss else entry["reference"]
    return f"This image shows {' and '.join(found)}." if found else "The fundus looks normal."


def _quality(entry: dict, dice: random.Random, amiss: bool) -> str:
    names = answer_parser.words()["quality"]
    return f"The quality is {names[_other(list(names), entry['reference'], dice) if amiss else entry['reference']]}."


def _modality(entry: dict, dice: random.Random, amiss: bool) -> str:
    return "This is an OCT scan." if amiss else "This is a colour fundus photograph."


def _eye(entry: dict, dice: random.Random, amiss: bool) -> str:
    return f"It is the {_other(['left', 'right'], entry['reference'], dice) if amiss else entry['reference']} eye."


def _boxes(entry: dict, dice: random.Random, amiss: bool) -> str:
    if not entry["reference"]:
        return "I see one at [0.4, 0.4, 0.5, 0.5]." if amiss else "There are none."
    shift = 0.2 if amiss else 0.01
    moved = [
        [min(1.0, max(0.0, edge + dice.uniform(-shift, shift) * (box[2] - box[0]) * 4)) for edge in box]
        for box in entry["reference"]
    ]
    return "They lie in " + ", ".join("[" + ", ".join(f"{edge:.4f}" for edge in box) + "]" for box in moved) + "."


def _measurement(entry: dict, dice: random.Random, amiss: bool) -> str:
    value = entry["reference"] * (1 + dice.gauss(0, 0.4 if amiss else 0.05))
    return f"It is about {value:.4g}{' ' + entry['unit'] if entry.get('unit') else ''}."


_SPEAKERS = {
    "grade": _grade,
    "diseases": _diseases,
    "quality": _quality,
    "modality": _modality,
    "eye": _eye,
    "boxes": _boxes,
    "measurement": _measurement,
}
