"""What came of a run: each image in one state, by reason, and where everything lies."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from retinal_lib import export, paths
from retinal_lib.errors import UserError
from retinal_lib.shown import Shown
from retinal_lib.vault import STATES, Sample

if TYPE_CHECKING:
    from retinal_lib.job import Job

_SHOWN = 10


class Reason(NamedTuple):
    """Why images are in a state; `first` is the first of them."""

    state: str
    reason: str
    images: int
    first: str


@dataclass(frozen=True)
class Outcome:
    """A finished run. `asked` counts the requests sent now (None: the teacher has no server), `findings` the conversations
    that a reader should look at by kind of finding, `tokens` those of every reply on hand, `accepted` has the first few:
    picture, title and turns."""

    counts: dict[str, int]
    reasons: tuple[Reason, ...]
    findings: dict[str, int]
    tokens: dict[str, int]
    accepted: tuple[tuple[Path, str, list[dict[str, str]]], ...]
    asked: int | None
    stopped: str
    folder: Path
    max_failed: float

    def first(self, count: int) -> list[tuple[Path, str, list[dict[str, str]]]]:
        """Picture, title and turns of the first accepted images."""
        return list(self.accepted[:count])

    @property
    def example(self) -> str:
        """The first conversation as text."""
        turns = self.accepted[0][2] if self.accepted else []
        return "\n".join(f"{'Q' if turn['from'] == 'human' else 'A'}: {turn['value']}" for turn in turns)

    @property
    def table(self) -> pd.DataFrame:
        """How many images ended in each state, and why; below them, what a reader should look at among the accepted."""
        rows = [Reason("accepted", "a conversation was written", self.counts["accepted"], "")]
        rows += sorted(self.reasons, key=lambda row: (row.state, -row.images))
        rows += [Reason("to look at", finding, count, "") for finding, count in sorted(self.findings.items())]
        return Shown(rows, columns=["state", "reason", "images", "first image"])

    @property
    def summary(self) -> str:
        """The counts in one sentence."""
        counts = dict(self.counts)
        total = counts.pop("images")
        text = f"{total} images: " + ", ".join(f"{count} {state}" for state, count in counts.items())
        if self.asked is not None:
            text += f"; {self.asked} requests sent now, {sum(self.tokens.values()):,} tokens for all replies on hand"
        odd = sum(self.findings.values())
        return text + (f"; {odd} findings to look at in lineage.jsonl" if odd else "")

    @property
    def files(self) -> pd.DataFrame:
        """The run's files and what each holds."""
        names = [name for name in export.FILES if (self.folder / name).is_file()]
        return Shown({"holds": [export.FILES[n] for n in names]}, index=[paths.shown(self.folder / n) for n in names])

    def require(self) -> None:
        """UserError: no conversation was written, or a larger share of the asked images failed than `max_failed` allows."""
        bad = self.counts["rejected"] + self.counts["failed"]
        asked = self.counts["images"] - self.counts["skipped"]
        why = "; ".join(f"{row.images} {row.state}: {row.reason}" for row in self.reasons)
        where = f"every one is listed in {paths.shown(self.folder / 'failures.jsonl')}; run again to ask for what failed"
        if not self.counts["accepted"]:
            raise UserError(f"no conversation was written for {self.counts['images']} images ({why}); {where}")
        if bad > self.max_failed * asked:
            raise UserError(
                f"{bad} of {asked} images have no conversation, more than max_failed {self.max_failed:g} allows ({why}); "
                f"{where}"
            )


class Tally:
    """Counts a run's images one by one into an Outcome."""

    def __init__(self, job: "Job"):
        self._job = job
        self._counts = Counter(dict.fromkeys(("images", *STATES), 0))
        self._groups: dict[tuple[str, str], tuple[int, str]] = {}
        self._findings: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter(prompt=0, completion=0)
        self._accepted: list[tuple[Path, str, list[dict[str, str]]]] = []

    def add(self, sample: Sample) -> None:
        """Counts one image."""
        private = self._job.page.private_names
        self._counts.update(("images", sample.state))
        self._tokens.update(sample.tokens)
        self._findings.update({_alike(finding) for finding in sample.findings})
        if sample.state != "accepted":
            group = sample.state, _alike(sample.reason)
            count, first = self._groups.get(group, (0, "" if private else sample.image))
            self._groups[group] = count + 1, first
        elif len(self._accepted) < _SHOWN:
            title = f"image {len(self._accepted) + 1}" if private else sample.id
            self._accepted.append((self._job.data.locate(sample.image).path, title, sample.conversation))

    def outcome(self, asked: int, stopped: str) -> Outcome:
        """What came of the images added so far."""
        reasons = tuple(Reason(*group, *rest) for group, rest in self._groups.items())
        return Outcome(
            dict(self._counts),
            reasons,
            dict(self._findings),
            dict(self._tokens),
            tuple(self._accepted),
            None if self._job.teacher.name == "offline" else asked,
            stopped,
            self._job.folder,
            self._job.settings.max_failed,
        )


def _alike(reason: str) -> str:
    """A reason without what differs from image to image, so that equal ones count together."""
    reason = re.sub(r"\brow \d+", "row …", reason)
    reason = re.sub(r"\d+(\.\d+)? stands in no hidden fact", "a number stands in no hidden fact", reason)
    return re.sub(r"^turn \d+: ", "", reason)
