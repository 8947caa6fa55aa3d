"""The entrance sample of a second reader: how many planted sentences and questions it finds, and how many faithful
ones it doubts."""

import random
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from retinal_lib.ask.vault import ImageState
from retinal_lib.parsing import packaged_yaml
from retinal_lib.reader import verdicts
from retinal_lib.reader.verdicts import DOUBTED, SPEC, ReadingRequest, Sentence

FILE = Path(__file__).with_name("entrance.yaml")


class Page(NamedTuple):
    """The questions and sentences about one made-up eye as a request, and the numbers of those that are planted."""

    request: ReadingRequest
    planted: frozenset[int]


class Figures(NamedTuple):
    """What a reader made of the sample. `unanswered` says why it has not been asked after all of it."""

    planted: int = 0
    found: int = 0
    faithful: int = 0
    doubted: int = 0
    unanswered: str = ""

    @property
    def recall(self) -> float:
        """The share of planted sentences and questions that it did not support."""
        return self.found / self.planted if self.planted else 0.0

    @property
    def false_alarms(self) -> float:
        """The share of faithful sentences and questions that it did not support."""
        return self.doubted / self.faithful if self.faithful else 0.0

    @property
    def passed(self) -> bool:
        """Whether its verdicts may be used."""
        good = self.recall >= SPEC["least_recall"] and self.false_alarms <= SPEC["most_false_alarms"]
        return good and not self.unanswered

    def manifest(self) -> dict:
        """Returns the figures for manifest.json."""
        if self.unanswered:
            return {"unanswered": self.unanswered}
        shares = {"recall": round(self.recall, 4), "false_alarms": round(self.false_alarms, 4)}
        return {name: number for name, number in self._asdict().items() if name != "unanswered"} | shares

    @property
    def text(self) -> str:
        """The figures as the end of a sentence."""
        if self.unanswered:
            return f"its entrance sample is not answered ({self.unanswered}), so that its verdicts are not used yet"
        found = f"of its entrance sample it found {self.found} of {self.planted} planted sentences and questions "
        found += f"({self.recall:.0%}) and doubted {self.doubted} of {self.faithful} faithful ones ({self.false_alarms:.0%})"
        floor = f"at least {SPEC['least_recall']:.0%} and at most {SPEC['most_false_alarms']:.0%} are needed"
        return found if self.passed else f"{found}; {floor}, so that its verdicts are stored but not used"


@cache
def pages() -> tuple[Page, ...]:
    """Reads the sample."""
    return tuple(map(_page, packaged_yaml(FILE)))


def _page(case: dict) -> Page:
    dice = random.Random(case["id"])
    told, questions = (
        [(text, name == "planted") for name in ("faithful", "planted") for text in part.get(name, ())]
        for part in (case, case["then_asked"])
    )
    dice.shuffle(told)
    dice.shuffle(questions)
    lines = [("question", case["asked"], False), *(("answer", *line) for line in told)]
    lines += [("question", *line) for line in questions]
    sentences = [Sentence(number, 1, part, (0, 0), text) for number, (part, text, _) in enumerate(lines, start=1)]
    request = verdicts.request(f"entrance: {case['id']}", case["facts"], sentences)
    return Page(request, frozenset(number for number, (_, _, planted) in enumerate(lines, start=1) if planted))


def rows() -> Iterator[tuple[ImageState, ReadingRequest]]:
    """Yields the requests of the sample, each with its row in the vault, at positions below 0."""
    for position, page in enumerate(pages(), start=-len(pages())):
        yield ImageState(position, page.request.id, "", "", "failed"), page.request


def figures(answered: Iterable[ImageState]) -> Figures:
    """Measures a reader by the rows of the sample with its verdicts; a line without one is neither found nor doubted."""
    by_id = {row.id: row for row in answered}
    planted = found = faithful = doubted = 0
    for page in pages():
        row = by_id.get(page.request.id)
        if row is None or row.state not in ("accepted", "rejected"):
            return Figures(unanswered=row.reason if row else "not asked")
        wrong = {entry["number"] for entry in row.findings if entry["verdict"] == DOUBTED}
        planted += len(page.planted)
        found += len(wrong & page.planted)
        faithful += len(page.request.sentences) - len(page.planted)
        doubted += len(wrong - page.planted)
    return Figures(planted, found, faithful, doubted)
