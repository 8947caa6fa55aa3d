"""The closed questions of a run: all chosen together, from its images, before any is asked; and the check of each image's."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from retinal_lib.check import conversation_check, form
from retinal_lib.check.conversation_check import Checked
from retinal_lib.check.findings import ERROR, Finding, Trace
from retinal_lib.closed_questions import blocks, known, references, topics, writing
from retinal_lib.closed_questions.blocks import Room
from retinal_lib.closed_questions.wording import Options, words
from retinal_lib.closed_questions.writing import Asked
from retinal_lib.conversation import IMAGE, Turn, to_llava
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.errors import UserError
from retinal_lib.facts import Case, Fact

TRACK = "vqa"
_KEPT = ("image", "quality", "disease", "lesion")  # aspects whose facts are asked about, besides some measurements


@dataclass(frozen=True)
class RunQuestions:
    """The questions of a run by the ids of its images."""

    of_image: dict[str, tuple[Asked, ...]] = field(default_factory=dict)

    def asked(self, image: str) -> tuple[Asked, ...]:
        """Returns the questions of an image, in their order; none where its labels answer none that is fair."""
        return self.of_image.get(image, ())

    @property
    def all(self) -> list[Asked]:
        """The questions of all images."""
        return [each for asked in self.of_image.values() for each in asked]


def plan(data: BaseDescription, cases: Iterable[tuple[Case, tuple[Fact, ...]]], options: Options) -> RunQuestions:
    """Chooses the questions of a run from its cases, each with what its cells deny; equal cases and options give equal
    questions."""
    measures = tuple(words()["measures"])
    kept, denied = [], []
    for case, no in cases:
        facts = tuple(f for f in case.facts if f.aspect in _KEPT or f.name in measures)
        kept.append(replace(case, facts=facts))  # of a large run, what is not asked about would fill the memory
        denied.append(no)
    about = references.Topics.of(data, kept, measures)
    names = _names(about, kept)
    images = [known.of(case, no, names) for case, no in zip(kept, denied, strict=True)]
    room, found = Room(options.per_image, options.cannot_tell), {}
    every = topics.of(images, names, about, options.kinds, options.seed)
    for number, (topic, block) in enumerate(blocks.of(every, room, options.seed)):
        written = writing.write(topic, block, number, options.seed, options.swapped, options.exam)
        for answer, asked in zip(block, written, strict=True):
            found.setdefault(kept[answer.image].id, []).append(asked)
    return RunQuestions({image: _ordered(asked, image, options.seed) for image, asked in found.items()})


def _names(about: references.Topics, cases: Sequence[Case]) -> list[str]:
    """The conditions that may be asked about: those of labels, and those that a scale grades."""
    units = {fact.unit for case in cases for fact in case.about("disease") if fact.unit in scales()}
    graded = [scales()[unit]["of"] for unit in sorted(units) if scales()[unit]["form"] in ("noun", "criterion")]
    return [name for name in dict.fromkeys([*about.labels, *graded]) if known.can_be_asked(name)]


def _ordered(asked: list[Asked], image: str, seed: int) -> tuple[Asked, ...]:
    return tuple(random.Random(f"order {seed} {image}").sample(asked, len(asked)))


# --- the check of a conversation of closed questions: it is the one that was chosen, and each answer is held by the facts ---


def examine(turns: Sequence[Turn], asked: Sequence[Asked], case: Case) -> tuple[list[dict[str, str]], Checked]:
    """Returns the exported form of a conversation and what its check found; `case` has the facts of its answers. What an answer
    affirms and denies is held against the case in whole sentences."""
    exported = to_llava(turns)
    found = form.check([(part["from"], part["value"]) for part in exported], TRACK, None)
    found = [finding for finding in found if finding.kind != "form_cut"]  # an answer may be a letter
    if [(turn.question, turn.answer) for turn in turns] != [(each.turn.question, each.turn.answer) for each in asked]:
        found.append(Finding("question", ERROR, 1, (0, 0), "the conversation is not the one that was chosen for this image"))
        return exported, Checked(found, [])
    traces = []
    for number, (turn, each) in enumerate(zip(turns, asked, strict=True), start=1):
        found += _unsupported(number, each, case)
        span = (0, len(turn.answer))
        traces += [Trace(number, span, turn.answer, "claim", fact) for fact in each.facts]
    return exported, Checked(found, traces)


def refuse_fix(track: str) -> None:
    """UserError: the conversations of a track are closed questions, which are not fixed one by one."""
    if track == TRACK:
        raise UserError(
            "the answers of closed questions were chosen together with those of other images, so they are not fixed; reject "
            "the sample, or mend the table that its labels come from"
        )


def _unsupported(number: int, asked: Asked, case: Case) -> Iterator[Finding]:
    """Errors of the sentences in which a question's answer is told in full."""
    for sentence in asked.says:
        talk = [{"from": "human", "value": f"What does it show?\n{IMAGE}"}, {"from": "gpt", "value": sentence}]
        for finding in conversation_check.errors(conversation_check.examine(talk, case).findings):
            yield finding._replace(turn=number, span=(0, len(asked.turn.answer)), text=f"{sentence!r}: {finding.text}")
