"""Writes a block of closed questions: their words, options and answers."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from retinal_lib.closed_questions import wording
from retinal_lib.closed_questions.topics import Answer, Topic
from retinal_lib.closed_questions.wording import CANNOT, words
from retinal_lib.conversation import Turn
from retinal_lib.dataset import measurements
from retinal_lib.display import listed
from retinal_lib.facts import Fact

LETTERS = "ABCDEFGH"
NONE = "none of these"
_SHORT = 12  # words of an option that an answer repeats


@dataclass(frozen=True)
class Asked:
    """A question of one image with its answer. `options` are what it offers, or what is right of the block's images where it
    offers nothing, `right` the places of those that are right; `block` numbers the questions that differ in their images,
    `same_words` says that they do in nothing else; `says` are sentences for the check, `why` tells why nobody knows."""

    kind: str
    form: str
    subject: str
    turn: Turn
    options: tuple[str, ...]
    right: tuple[int, ...]
    facts: tuple[Fact, ...]
    says: tuple[str, ...]
    block: int
    images: int
    same_words: bool
    why: str = ""

    @property
    def chance(self) -> float:
        """The share of a block that is right where the picture is not seen."""
        return 1 / self.images

    @property
    def held_by(self) -> str:
        """What the answer rests on, in words: cells, or why nobody knows."""
        return self.why or "; ".join(dict.fromkeys(str(fact.source) for fact in self.facts))

    def entry(self) -> dict:
        """Returns what lineage.jsonl says of the question."""
        told = {"kind": self.kind, "form": self.form, "subject": self.subject, "options": list(self.options)}
        told |= {"right": [self.options[place] for place in self.right], "block": self.block, "chance": round(self.chance, 4)}
        return told | {"same_words": self.same_words} | ({"unknown_because": self.why} if self.why else {})


def write(topic: Topic, block: Sequence[Answer], number: int, seed: int, swapped: float, exam: bool = False) -> list[Asked]:
    """Returns the question of each image of a block; in the share `swapped` of blocks all have the same words. `exam`: in the
    phrasings kept for exams."""
    rng = random.Random(f"words {seed} {number} {topic.subject}")
    writer = _Writer(topic, block, seed, rng, exam)
    same = rng.random() < swapped
    key, places = rng.random(), rng.sample(range(len(block)), len(block))
    asked = []
    for i, answer in enumerate(block):
        turn, options, right = writer.turn(i, key if same else f"{key} {i}", 0 if same else places[i] - i)
        asked.append(
            Asked(
                topic.kind,
                writer.form,
                topic.subject,
                turn,
                options,
                right,
                answer.facts,
                answer.says,
                number,
                len(block),
                same,
                answer.why,
            )
        )
    return asked


def letters(options: Sequence[str], right: Sequence[int], short: bool) -> str:
    """Returns the answer that names options by their places; `short`: by letters alone.

    >>> letters(["drusen", "glaucoma"], [1], False)
    'B. glaucoma.'
    """
    if not right:
        return "None." if short else f"{NONE[0].upper()}{NONE[1:]}."
    if short:
        return ", ".join(LETTERS[place] for place in right)
    return _sentence("; ".join(f"{LETTERS[place]}. {options[place]}" for place in right))


class _Writer:
    """The writer of one block: `form` is how it is answered."""

    def __init__(self, topic: Topic, block: Sequence[Answer], seed: int, rng: random.Random, exam: bool):
        self.topic, self.block, self.seed, self.exam = topic, block, seed, exam
        self.unknown = any(answer.option == CANNOT for answer in block)
        sure = len(block) - self.unknown
        forms = [form for form in topic.asked if form != "open" or not topic.whole or sure == min(5, len(topic.by))]
        self.form = rng.choice(forms or list(topic.asked))
        self.options = _options(topic, block)
        if topic.kind == "choices" and topic.options:
            self.options = rng.sample(self.options, len(self.options))
        self.short = rng.random() < 0.5 or max(map(len, map(str.split, self.options))) > _SHORT

    def turn(self, place: int, key: object, shift: int) -> tuple[Turn, tuple[str, ...], tuple[int, ...]]:
        """Returns question and answer of one image, the options as they stand, and which are right."""
        topic, count = self.topic, len(self.options)
        shift = 0 if topic.kind == "choices" and topic.options else shift
        options = [self.options[(i - shift) % count] for i in range(count)]
        if topic.kind == "choices" and topic.options:
            there = [option for option in options if option in self.block[place].option.split("; ")]
            right = tuple(map(options.index, there))
        else:
            right = ((place + shift) % count,)
        slots = topic.slots | ({"levels": listed(options, "or", ",")} if topic.kind == "quality" else {})
        question = wording.of(topic.asked[self.form], f"{key} {topic.subject}", self.seed, self.exam, **slots)
        lines = [f"{LETTERS[i]}. {option}" for i, option in enumerate(options)] if self.form == "letters" else []
        request = self._request(key)
        if lines:
            question = "\n".join([question, *lines, *([request] if request else [])])
        else:
            question = f"{question} {request}".rstrip()
        return Turn(question, self._answer(self.block[place], options, right)), tuple(options), right

    def _request(self, key: object) -> str:
        """How an answer is asked for."""
        topic = self.topic
        if self.form == "letters":
            several = "letters" if topic.kind == "choices" else "letter"
            name = several if self.short else several.replace("letter", "option")
        elif topic.kind == "yes_no":
            name = "yes_no_cannot" if self.unknown else "yes_no"
        elif self.unknown:
            name = "cannot"
        else:
            name = "number" if topic.kind == "count" else "open"
        choices = words()["ask_for"][name]
        return random.Random(f"ask {key}").choice(choices)

    def _answer(self, answer: Answer, options: list[str], right: tuple[int, ...]) -> str:
        if self.form == "letters":
            return letters(options, right, self.short)
        if answer.option == CANNOT:
            return _sentence("Cannot tell")
        value = answer.value or answer.option
        if self.topic.kind in ("count", "box"):
            return value
        if self.topic.kind == "measurement":
            unit = measurements.feature(self.topic.subject).unit
            return f"{value} {unit}".rstrip()
        return _sentence(value)


def _sentence(text: str) -> str:
    text = f"{text[:1].upper()}{text[1:]}"
    return text if text.endswith(".") else f"{text}."


def _options(topic: Topic, block: Sequence[Answer]) -> list[str]:
    """What a block offers: an option for each image, in the order of its images, or the items of a list."""
    if topic.kind == "choices" and topic.options:
        return list(topic.options)
    if topic.kind == "measurement":
        sure = [answer for answer in block if answer.option != CANNOT]
        ranges = _ranges([float(answer.value) for answer in sure])
        return [*ranges, *(CANNOT for _ in block[len(sure) :])]
    if topic.kind == "box":
        return [answer.value for answer in block]
    return [answer.option or NONE for answer in block]


def _ranges(values: list[float]) -> list[str]:
    """A range around each of some values, the smallest first; they meet halfway between two values."""
    between = [(one + other) / 2 for one, other in pairwise(values)]
    edges = [max(0.0, 2 * values[0] - between[0]), *between, 2 * values[-1] - between[-1]]
    for digits in range(7):
        told = [f"{edge:.{digits}f}" for edge in edges]
        apart = [float(edge) for edge in told]
        if all(low < value < high for low, value, high in zip(apart, values, apart[1:], strict=False)):
            return [f"{low} to {high}" for low, high in pairwise(told)]
    return [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
