"""Answers made from the references with a fixed error rate, to try out and test an evaluation without a model."""

import random
from pathlib import Path

from retinal_lib.closed_questions import wording
from retinal_lib.closed_questions.writing import LETTERS
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.files import write_jsonl

WRONG, ABSTAINED, UNREADABLE = 0.2, 0.08, 0.04  # shares of answers


def write(
    asked: list[dict], file: Path, seed: int = 0, wrong: float = WRONG, abstained: float = ABSTAINED, blind: bool = False
) -> Path:
    """Writes an answers file for entries with references and returns it; `wrong` and `abstained` are shares of the answers.
    `blind` answers name no image."""
    rows = []
    for entry in asked:
        dice = random.Random(f"{seed} {entry['id']}")
        text = _answer(entry, dice, wrong, abstained)
        image = "" if blind else entry["image"]
        rows.append({"id": entry["id"], "image": image, "qa_pairs": [{"question": entry["question"], "answer": text}]})
    return write_jsonl(file, rows)


def _answer(entry: dict, dice: random.Random, wrong: float, abstained: float) -> str:
    drawn = dice.random()
    if drawn < abstained:
        return dice.choice(["I cannot tell from this image.", "It is not possible to determine this."])
    if drawn < abstained + UNREADABLE:
        return dice.choice(["The retina is a light-sensitive tissue.", "Please see a specialist."])
    return _ANSWERS[entry["kind"]](entry, dice, drawn < abstained + UNREADABLE + wrong)


def _other(values: list, value: object, dice: random.Random) -> object:
    return dice.choice([v for v in values if v != value])


def _grade(entry: dict, dice: random.Random, is_wrong: bool) -> str:
    value = _other(entry["levels"], entry["reference"], dice) if is_wrong else entry["reference"]
    scale = scales().get(entry["scale"])
    if scale is None:  # of a page that was not read
        return f"Grade {value}."
    forms = [
        f"Grade {value}.",
        f"The grade of {scale['of']} is {value}.",
        f"I would grade this as {value} on the {scale['title']}.",
    ]
    if entry["scale"] in ("ICDR", "META-PM"):
        forms.append(f"This image shows {scale['levels'][value]}.")
    return dice.choice(forms)


def _diseases(entry: dict, dice: random.Random, is_wrong: bool) -> str:
    conditions = [_other(entry["labels"], None, dice)] if is_wrong else entry["reference"]
    return f"This image shows {' and '.join(conditions)}." if conditions else "The fundus looks normal."


def _quality(entry: dict, dice: random.Random, is_wrong: bool) -> str:
    names = wording.words()["quality"]
    return f"The quality is {names[_other(list(names), entry['reference'], dice) if is_wrong else entry['reference']]}."


def _modality(entry: dict, dice: random.Random, is_wrong: bool) -> str:
    return "This is an OCT scan." if is_wrong else "This is a colour fundus photograph."


def _eye(entry: dict, dice: random.Random, is_wrong: bool) -> str:
    return f"It is the {_other(['left', 'right'], entry['reference'], dice) if is_wrong else entry['reference']} eye."


def _boxes(entry: dict, dice: random.Random, is_wrong: bool) -> str:
    if not entry["reference"]:
        return "I see one at [0.4, 0.4, 0.5, 0.5]." if is_wrong else "There are none."
    shift = 0.2 if is_wrong else 0.01
    moved = [
        [min(1.0, max(0.0, edge + dice.uniform(-shift, shift) * (box[2] - box[0]) * 4)) for edge in box]
        for box in entry["reference"]
    ]
    return "They lie in " + ", ".join("[" + ", ".join(f"{edge:.4f}" for edge in box) + "]" for box in moved) + "."


def _measurement(entry: dict, dice: random.Random, is_wrong: bool) -> str:
    value = entry["reference"] * (1 + dice.gauss(0, 0.4 if is_wrong else 0.05))
    return f"It is about {value:.4g}{' ' + entry['unit'] if entry.get('unit') else ''}."


def _option(entry: dict, dice: random.Random, is_wrong: bool) -> str:
    letters = list(LETTERS[: len(entry["options"])])
    letter = _other(letters, entry["reference"], dice) if is_wrong else entry["reference"]
    return dice.choice(
        [f"{letter}.", f"({letter})", f"Answer: {letter}", f"{letter}. {entry['options'][letters.index(letter)]}"]
    )


def _options(entry: dict, dice: random.Random, is_wrong: bool) -> str:
    letters = [letter for letter in LETTERS[: len(entry["options"])] if (letter in entry["reference"]) != is_wrong]
    return ", ".join(letters) or "None."


def _yes_no(entry: dict, dice: random.Random, is_wrong: bool) -> str:
    return f"{_other(['yes', 'no'], entry['reference'], dice) if is_wrong else entry['reference']}.".capitalize()


_ANSWERS = {
    "option": _option,
    "options": _options,
    "yes_no": _yes_no,
    "grade": _grade,
    "diseases": _diseases,
    "quality": _quality,
    "modality": _modality,
    "eye": _eye,
    "boxes": _boxes,
    "measurement": _measurement,
}
