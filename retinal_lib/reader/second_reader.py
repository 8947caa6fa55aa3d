"""A run followed by its second reader: which accepted samples are read, and what comes of it.

A reader changes no sample's state. What it doubts is told in lineage.jsonl, and review shows these samples first.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from retinal_lib.ask.runner import Plan, PlannedImage, Progress, Runner, RunResult
from retinal_lib.ask.vault import READINGS, ImageState, Vault
from retinal_lib.check.findings import WARNING
from retinal_lib.conversation import Conversation
from retinal_lib.display import are, count
from retinal_lib.errors import UserError
from retinal_lib.reader import entrance, verdicts
from retinal_lib.reader.entrance import Figures
from retinal_lib.reader.verdicts import DOUBTED, NOT_ADDRESSED, SPEC, SUPPORTED
from retinal_lib.slots.sheet import FactSheet
from retinal_lib.teacher.cost import Estimate, Range

DOUBT = "second_reader"  # the kind of a doubt among the findings of lineage.jsonl


class Samples:
    """The accepted samples of a run that are read: a share of them, drawn by seed, whole, and of the others the turns in which
    the checks found words that no fact licenses. `sheet_of` gives the facts that the teacher got."""

    def __init__(self, vault: Vault, sheet_of: Callable[[str], FactSheet], seed: int, share: float):
        self._vault, self._sheet_of, self._seed, self._share = vault, sheet_of, seed, share

    def plan(self) -> Iterator[PlannedImage]:
        """Yields the requests: first those of the entrance sample, where there is anything to read."""
        first = True
        for row in self._vault.samples():
            if row.state != "accepted":
                continue
            turns = frozenset() if (drawn := self._drawn(row)) else _turns(row)
            if drawn or turns:
                if first:
                    yield from (PlannedImage(*planned) for planned in entrance.rows())
                first = False
                yield self._planned(row, turns)

    def _drawn(self, row: ImageState) -> bool:
        return random.Random(f"second reader:{self._seed}:{row.id}").random() < self._share

    def _planned(self, row: ImageState, turns: frozenset[int]) -> PlannedImage:
        reading = ImageState(row.position, row.id, row.image, row.split, "failed")
        conversation = Conversation.from_llava({"id": row.id, "image": row.image, "conversations": row.conversation})
        try:
            sheet = self._sheet_of(row.image)
        except UserError as error:
            reading.reason = str(error)
            return PlannedImage(reading)
        return PlannedImage(reading, verdicts.of_sample(row.id, sheet, conversation.turns, turns))


def estimate(facts: Estimate, conversation: Range, share: float) -> Estimate:
    """Returns an estimate of a reader's requests before there are replies: for a share of conversations of this many tokens
    about these facts, and for the entrance sample."""
    prompt = facts.prompt.plus(conversation.times(facts.requests)).times(share)
    of_all = replace(facts, requests=math.ceil(facts.requests * share), prompt=prompt)
    for page in entrance.pages():
        of_all.add(page.request.system, page.request.message, None)
    return of_all


def _turns(row: ImageState) -> frozenset[int]:
    """The turns in which the checks found words without a license, in the conversation or in replies that were sent back; all
    turns where the conversation has fewer than that reply."""
    found = [*row.findings, *(finding for repair in row.repairs for finding in repair["findings"])]
    turns = frozenset(finding["turn"] for finding in found if finding["kind"] in SPEC["kinds"])
    pairs = len(row.conversation) // 2
    return turns if all(turn <= pairs for turn in turns) else frozenset(range(1, pairs + 1))


class WithReader:
    """A run, then its second reader. `reading` makes the pass over the samples, given the vault that takes their states and the
    reason why nothing may be asked, if there is one."""

    def __init__(self, run: Runner, samples: Samples, vault: Vault, reading: Callable[[Vault, str], Runner], closed: str = ""):
        self._run, self._samples, self._vault, self._reading, self._closed = run, samples, vault, reading, closed
        self._done: Progress | None = None  # of the run, once the reader is at work
        self._pass: Runner | None = None

    @property
    def progress(self) -> Progress:
        """The progress of the run, then besides it that of the reader."""
        if self._done is None or self._pass is None:
            return self._run.progress
        read = self._pass.progress
        return Progress(self._done.done, f"second reader: {count(read.done, 'sample')}{f', {read.note}' if read.note else ''}")

    async def run(self, plan: Plan) -> RunResult:
        """Gives every image of the plan a state, then every sample that is read. UserError: as the run."""
        first = await self._run.run(plan)
        closed = self._closed or ("the run stopped" if first.stopped else "")
        if not closed and any(self._vault.rows("SELECT 1 FROM samples WHERE state = 'pending' LIMIT 1")):
            closed = "the second reader waits until all replies are in"
        with Vault(self._vault.path.parent, READINGS) as readings:
            self._pass = self._reading(readings, closed)
            self._done = self._run.progress
            second = await self._pass.run(self._samples.plan)
        return _together(first, second)


def _together(first: RunResult, second: RunResult) -> RunResult:
    stopped = f"the second reader: {second.stopped}" if second.stopped else ""
    return replace(
        first,
        asked=first.asked + second.asked,
        stopped=first.stopped or stopped,
        over_budget=first.over_budget or second.over_budget,
        problems=tuple(dict.fromkeys((*first.problems, *second.problems))),
        unknown=tuple(dict.fromkeys((*first.unknown, *second.unknown))),
        failed_results=tuple(dict.fromkeys((*first.failed_results, *second.failed_results))),
    )


class Report(NamedTuple):
    """What came of the second reader: its figures, the samples that it read, by id, and the bills of its replies. `share` is
    that of the samples that are read whole; `waiting` counts the samples that are without a verdict on some line, by why;
    `to_come` says whether answers are still to come."""

    model: str
    share: float
    figures: Figures
    read: dict[str, list[dict]]
    waiting: Counter
    usage: list[dict]
    to_come: bool = False

    @classmethod
    def of(cls, readings: Iterable[ImageState], model: str, share: float) -> "Report":
        """Makes the report from the states of a reader's pass."""
        rows = list(readings)
        samples = [row for row in rows if row.position >= 0]
        read = {row.id: row.findings for row in samples if row.findings}
        waiting = Counter(row.reason for row in samples if row.state != "accepted")
        usage = [bill for row in rows for bill in row.usage]
        figures = entrance.figures(row for row in rows if row.position < 0)
        to_come = any(row.state == "pending" for row in rows)
        return cls(model, share, figures, read, waiting, usage, to_come)

    @property
    def doubted(self) -> list[str]:
        """The ids of samples with a question or sentence that the reader, if its verdicts are used, doubts."""
        return [id_ for id_ in self.read if self.doubts(id_)]

    def doubts(self, id_: str) -> list[dict]:
        """Returns the doubts about a sample as entries of findings; none where the reader has not passed."""
        return [_doubt(entry) for entry in self.read.get(id_, ()) if self.figures.passed and entry["verdict"] == DOUBTED]

    def lineage(self, id_: str) -> dict:
        """Returns the fields of a sample's line of lineage.jsonl; none where it was not read."""
        if id_ not in self.read:
            return {}
        return {"second_reader": {"model": self.model, "used": self.figures.passed, "verdicts": self.read[id_]}}

    def manifest(self) -> dict:
        """Returns the report for manifest.json."""
        said = Counter(entry["verdict"] for entries in self.read.values() for entry in entries)
        return {
            "model": self.model,
            "share": self.share,
            "entrance": self.figures.manifest(),
            "used": self.figures.passed,
            "samples": len(self.read),
            "doubted": len(self.doubted),
            "verdicts": {verdict: said[verdict] for verdict in (SUPPORTED, DOUBTED, NOT_ADDRESSED)},
            "without_verdict": dict(self.waiting),
            "text": self.text,
        }

    @property
    def text(self) -> str:
        """The report in a few sentences."""
        if not self.read and not self.waiting:
            drawn = f"no accepted sample was drawn (reader_share is {self.share:g})"
            return f"The second reader ({self.model}) had nothing to read: {drawn}, and none had doubtful words."
        doubted = len(self.doubted)
        text = f"The second reader ({self.model}) read {count(len(self.read), 'sample')} and doubts {doubted:,} of them"
        text += f"{', which review shows first' if doubted else ''}; {self.figures.text}."
        if self.waiting:
            number, (why, _) = self.waiting.total(), self.waiting.most_common(1)[0]
            text += f" {count(number, 'sample')} {are(number)} not read, or not whole; the most frequent reason: {why}."
        return text


def _doubt(entry: dict) -> dict:
    facts = "; ".join(entry["facts"].values())
    said = "question" if entry["part"] == "question" else "sentence"
    says = f"the second reader doubts the {said} {' '.join(entry['said'].split())!r}"
    says += f" (the facts: {facts})" if facts else ""
    where = {"turn": entry["turn"], "part": entry["part"], "span": entry["span"]}
    return {"kind": DOUBT, "severity": WARNING, **where, "text": says}
