"""The closed questions of a run: all chosen together, from its images, before any is asked."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from retinal_lib.closed_questions import blocks, known, references, topics, writing
from retinal_lib.closed_questions.blocks import Room
from retinal_lib.closed_questions.options import Options
from retinal_lib.closed_questions.phrasing import words
from retinal_lib.closed_questions.writing import Asked
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.facts import Case, Fact

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
