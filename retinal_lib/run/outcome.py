"""The result of a run: counts of images by state and reason, findings of the checks, and the cost."""

import datetime
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from retinal_lib import paths
from retinal_lib.ask.account import Account
from retinal_lib.ask.batch_ledger import PENDING, Batch, BatchLedger
from retinal_lib.ask.runner import RunResult
from retinal_lib.ask.vault import FINAL, ImageState
from retinal_lib.check import conversation_check
from retinal_lib.closed_questions.blind_reader import BlindReport
from retinal_lib.display import FullTable, are, count, without_rows
from retinal_lib.errors import UserError, shortened
from retinal_lib.reader.second_reader import Report
from retinal_lib.run import run_files
from retinal_lib.run.context import RunContext
from retinal_lib.run.settings import Settings
from retinal_lib.teacher.cost import Estimate
from retinal_lib.text.shown_text import for_people


@dataclass
class Checks:
    """Numbers of conversations with a finding, by kind and severity: `before` repair and `after` it. `repaired` counts images
    accepted after their findings were sent back to the teacher, `rejected` those that still had errors; `slotted` and `free`
    count accepted conversations whose values were filled in, and those that were read as free text."""

    version: int
    before: Counter = field(default_factory=Counter)
    after: Counter = field(default_factory=Counter)
    repaired: int = 0
    rejected: int = 0
    slotted: int = 0
    free: int = 0

    def add(self, row: ImageState) -> None:
        """Counts one image."""
        first = row.repairs[0]["findings"] if row.repairs else row.findings
        self.before.update({(f["kind"], f["severity"]) for f in first})
        self.after.update({(f["kind"], f["severity"]) for f in row.findings})
        self.repaired += bool(row.repairs) and row.state == "accepted"
        self.rejected += bool(row.repairs) and row.state == "rejected"
        form = next((reply.get("form") for reply in row.usage if reply["used"]), None)
        self.slotted += form == "slotted"
        self.free += form == "free"

    @property
    def table(self) -> pd.DataFrame:
        """Kinds of findings, the most frequent first, with the numbers of conversations before and after repair."""
        kinds = sorted({*self.before, *self.after}, key=lambda kind: (-self.before[kind], kind))
        return FullTable(
            [(*kind, self.before[kind], self.after[kind]) for kind in kinds], columns=["finding", "severity", "before", "after"]
        )

    @property
    def summary(self) -> str:
        """The checks in one sentence."""
        read = f" {self.free:,} without slots, read as free text." if self.free else ""
        if not self.before:
            return f"The checks found nothing.{read}"
        text = f"{count(self.repaired, 'conversation')} put right after a corrective turn, "
        text += f"{self.rejected:,} rejected for errors that remained"
        warned = sum(n for (_, severity), n in self.after.items() if severity == "warning")
        return text + (f"; {count(warned, 'warning')} to look at in lineage.jsonl." if warned else ".") + read

    def manifest(self) -> dict:
        """Returns the checks for manifest.json."""
        counts_by_kind = {
            name: [{"kind": kind, "severity": severity, "conversations": n} for (kind, severity), n in sorted(counts.items())]
            for name, counts in (("before_repair", self.before), ("after_repair", self.after))
        }
        counts = {name: getattr(self, name) for name in ("repaired", "rejected", "slotted", "free")}
        return {"version": self.version, **counts_by_kind, **counts}


if TYPE_CHECKING:
    from retinal_lib.imaging.side_by_side import SideBySide

_SHOWN, _REASONS = 10, 3  # examples in an outcome, reasons in its summary


class Reason(NamedTuple):
    """The reason why a number of images is in a state; `first` is the first of them, whose rows and numbers `reason` names."""

    state: str
    reason: str
    images: int
    first: str

    @property
    def text(self) -> str:
        """The reason with the number of images, as a part of a sentence."""
        of_first = ", the first" if self.images > 1 and _without_numbers(self.reason) != self.reason else ""
        return f"{self.images:,} {self.state}{of_first}: {self.reason}"


class PendingBatch(NamedTuple):
    """A batch that a server is working on."""

    server: str
    batch: str
    status: str
    requests: int


class Example(NamedTuple):
    """An accepted conversation: its picture's path, its title, the turns as exported, and the traces as in lineage.jsonl."""

    path: Path
    title: str
    turns: list[dict[str, str]]
    traces: list[dict]


@dataclass(frozen=True)
class Outcome:
    """The result of a run. `state` is complete, pending, over budget, stopped or dry run; `asked` counts the requests sent in
    this run (None: the teacher has no server); `examples` are the first accepted conversations; `notes` are sentences for the
    user; `no_result` says why the run produced no conversations, where the user can do something about it."""

    state: str
    counts: dict[str, int]
    reasons: tuple[Reason, ...]
    checks: Checks
    cost: Account
    examples: tuple[Example, ...]
    asked: int | None
    stopped: str
    folder: Path
    max_failed: float
    pending_batches: tuple[PendingBatch, ...] = ()
    notes: tuple[str, ...] = ()
    no_result: str = ""
    again: str = ""  # how to ask again for what failed
    reader: Report | None = None  # what came of the second reader
    blind: BlindReport | None = None  # of the vqa track: what readers would score who do not see the pictures

    @property
    def tokens(self) -> dict[str, int]:
        """Prompt and completion tokens of all stored replies, as counted by the server."""
        return self.cost.tokens()

    def show(self, count: int = 3) -> "SideBySide":
        """Shows the pictures of the first accepted images, each beside its conversation."""
        from retinal_lib.imaging import side_by_side  # a run without a picture needs no matplotlib

        return side_by_side.conversations(self.examples[:count])

    @property
    def example(self) -> str:
        """The first conversation as text."""
        turns = self.examples[0].turns if self.examples else []
        text = "\n".join(f"{'Q' if turn['from'] == 'human' else 'A'}: {turn['value']}" for turn in turns)
        return text or "no conversation is accepted yet"

    @property
    def table(self) -> pd.DataFrame:
        """The number of images in each state, by reason, the most frequent first."""
        rows = [Reason("accepted", "a conversation was written", self.counts["accepted"], "")]
        rows += sorted(self.reasons, key=lambda row: (row.state, -row.images))
        return FullTable(rows, columns=["state", "reason", "images", "first image"])

    @property
    def summary(self) -> str:
        """The counts in one sentence; below it notes on what is pending and what to do next."""
        counts = dict(self.counts)
        total = counts.pop("images")
        text = f"{count(total, 'image')}: " + ", ".join(f"{number} {state}" for state, number in counts.items())
        if self.asked is not None:
            text += f"; {count(self.asked, 'request')} sent now, {sum(self.tokens.values()):,} tokens for all stored replies"
        checks = [self.checks.summary] if self.checks.before else []
        blind = [self.blind.text] if self.blind and self.blind.scores else []
        return for_people("\n".join([text, *self._reasons(), *checks, *blind, *self.notes]))

    def _reasons(self) -> Iterator[str]:
        """The most frequent reasons why images have no conversation, and where all are listed."""
        rows = sorted((row for row in self.reasons if row.state != "pending"), key=lambda row: -row.images)
        yield from (row.text for row in rows[:_REASONS])
        if rows and self.state != "dry run":
            yield f"All images without a conversation are listed in {paths.display_path(self.folder / 'failures.jsonl')}"

    @property
    def files(self) -> pd.DataFrame:
        """The run's files with their content."""
        contents = run_files.FILES | run_files.AT_TIMES
        names = [name for name in contents if (path := self.folder / name).is_file() or (path.is_dir() and any(path.iterdir()))]
        return FullTable({"holds": [contents[n] for n in names]}, index=[paths.display_path(self.folder / n) for n in names])

    @property
    def problem(self) -> str:
        """Why the run has failed: it stopped, no conversation was written, or more images failed than `max_failed` allows; ""
        if it has not. A run with pending answers, or one that ended at its budget, has not failed."""
        if self.no_result:
            return self.no_result
        if self.stopped and self.reader and self.reader.waiting and not self.counts.get("pending"):
            unread = count(self.reader.waiting.total(), "sample")
            return f"the run stopped: {self.stopped}; {unread} without a second reader's verdict; run again to continue"
        if self.stopped and (pending := self.counts.get("pending")):
            return f"the run stopped: {self.stopped}; {count(pending, 'image')} without an answer; run again to continue"
        if self.state in ("dry run", "pending") or (self.state == "over budget" and self.counts["accepted"]):
            return ""
        failed = self.counts["rejected"] + self.counts["failed"]
        asked = self.counts["images"] - self.counts["skipped"]
        why = "; ".join(row.text for row in self.reasons)
        where = f"all are listed in {paths.display_path(self.folder / 'failures.jsonl')}"
        if self.again and self.counts["failed"]:  # what was rejected or skipped is not asked again
            where += f"; {self.again}"
        if not self.counts["accepted"]:
            return f"no conversation was written for {count(self.counts['images'], 'image')} ({why}); {where}"
        if failed / asked > self.max_failed:
            have = f"{failed} of {count(asked, 'image')} {'has' if failed == 1 else 'have'} no conversation"
            let = f"the others are written; max_failed={math.ceil(100 * failed / asked) / 100:g} accepts that so many fail"
            return f"{have}, more than max_failed {self.max_failed:g} allows ({why}); {where}; {let}"
        return ""

    def require(self) -> None:
        """Checks that the run has not failed. UserError: it has; see `problem`."""
        if self.problem:
            raise UserError(self.problem)


class Tally:
    """The counts of a run, image by image, from which `outcome` is made. `estimate` is for the first request of every image,
    `reader` what came of the second reader, `to_read` for its requests in a dry run."""

    def __init__(self, context: RunContext, estimate: Estimate, reader: Report | None = None, to_read: Estimate | None = None):
        self._context = context
        self._counts = Counter(dict.fromkeys(("images", *FINAL), 0))
        self._groups: dict[tuple[str, str], Reason] = {}
        self._checks = Checks(conversation_check.VERSION)
        self._cost = Account(context.teacher.origin[0], estimate if context.asks_server else None, to_read=to_read)
        self._reader = reader
        if reader:
            self._cost.reader = context.reader.price
            self._cost.add(reader.usage, read=True)
        self._examples: list[Example] = []

    def add(self, row: ImageState) -> None:
        """Counts one image."""
        self._counts.update(("images", row.state))
        if self._cost.estimate is not None:
            self._cost.add(row.usage)
        self._checks.add(row)
        if row.state != "accepted":
            group = row.state, _without_numbers(row.reason)
            first = self._groups.get(group) or Reason(row.state, row.reason, 0, self._context.data.called(row.image))
            self._groups[group] = first._replace(images=first.images + 1)
        elif len(self._examples) < _SHOWN:
            title = self._context.data.called(row.image) if self._context.page.private_names else row.id
            self._examples.append(Example(self._context.data.image(row.image).path, title, row.conversation, row.traces))

    def outcome(self, result: RunResult, ledger: BatchLedger) -> Outcome:
        """Returns the outcome of a run with the images added so far."""
        settings, pending, own_server = self._context.settings, self._counts["pending"], self._context.teacher.origin[0]
        batches = ledger.batches(*PENDING)
        unread = bool(self._reader) and self._reader.to_come and settings.mode != "recheck"
        state = "stopped" if result.stopped else "pending" if pending or unread else "complete"
        if result.over_budget and not batches and not result.stopped:
            state = "over budget"
        if settings.dry_run:
            state = "dry run"
        to_ask = result.to_ask if settings.dry_run and self._cost.estimate else None
        return Outcome(
            state,
            dict(self._counts),
            tuple(self._groups.values()),
            self._checks,
            replace(self._cost, accepted=self._counts["accepted"], to_ask=to_ask),
            tuple(self._examples),
            result.asked if self._context.asks_server else None,
            result.stopped,
            self._context.folder,
            settings.max_failed,
            tuple(PendingBatch(b.server, b.batch_id, b.status or "validating", b.lines) for b in batches),
            (
                *_notes(result, settings, batches, own_server, pending, state),
                *self._reader_notes(),
                *self._context.asked_notes,
                *self._context.data.not_used,
            ),
            result.no_result if pending and not self._counts["accepted"] else "",
            _again(settings),
            self._reader,
        )

    def _reader_notes(self) -> Iterator[str]:
        """A sentence on the second reader, where settings name one."""
        settings = self._context.settings
        if self._reader:
            yield self._reader.text
        elif settings.reader and settings.teacher == "offline":
            yield "The second reader was not asked: it reads what a language model wrote (teacher: openai)."
        elif settings.reader:
            read = f"a share of {settings.reader_share:g} of the conversations; those with doubtful words are not foreseen"
            read = "every conversation" if settings.reader_share == 1 else read
            yield f"The second reader's requests come on top; their estimate is for {read}."


def _notes(
    result: RunResult, settings: Settings, batches: list[Batch], own_server: str, pending: int, state: str
) -> Iterator[str]:
    """Sentences for the user besides the counts."""
    if state == "dry run":
        yield f"Dry run: nothing was sent, {count(pending, 'request')} would be; the run's files are unchanged."
        return
    if settings.mode == "recheck":
        yield from result.notes
    if result.stopped:
        yield f"The run stopped: {result.stopped}"
    elif result.problems:
        yield f"Not everything could be fetched: {'; '.join(result.problems)}"
    yield from _batch_notes(batches, own_server)
    if settings.mode in ("batch", "direct") and any(batch.server == own_server for batch in batches):
        yield "Run the same command again to fetch the answers; a batch may take up to 24 hours."
    if state == "over budget":
        limit = f"The budget of {settings.budget_usd:g} USD is reached"
        unasked = f"{count(pending, 'image')} {are(pending)} not asked. " if pending else ""
        yield f"{limit}: {unasked}Raise budget_usd to go on."
    elif pending and settings.mode in ("pack", "unpack"):
        yield from result.notes
    yield from result.failed_results
    if number := len(result.unknown):
        first = ", ".join(f"{shortened(name)} ({file}, line {line})" for name, file, line in result.unknown[:3])
        answers, were = ("answer belongs", "was") if number == 1 else ("answers belong", "were")
        yield f"{number} {answers} to no request of this run and {were} not used (unknown.jsonl), the first: {first}"
    if result.several:
        kept = "the one that was read first is kept (files by name, lines in order), since no stored answer is ever replaced"
        yield f"Requests with several answers that differ: {result.several:,}; {kept}."
    if result.unreadable:
        first = "; ".join(result.unreadable[:3])
        yield f"{count(len(result.unreadable), 'line')} of the result files cannot be read, the first: {first}"


def _again(settings: Settings) -> str:
    if settings.teacher == "offline" or settings.file_exchange:
        return ""
    return (
        "run with mode=direct to ask again for what failed" if settings.mode == "batch" else "run again to ask for what failed"
    )


def _batch_notes(batches: list[Batch], own_server: str) -> Iterator[str]:
    for server in dict.fromkeys(batch.server for batch in batches):
        here = [batch for batch in batches if batch.server == server]
        number = sum(batch.lines for batch in here)
        yield f"{count(number, 'request')} {are(number)} pending in {count(len(here), 'batch')} at {server}:"
        yield from (f"  {batch.batch_id or batch.file}: {_status(batch)}" for batch in here)
        if server != own_server:
            yield f"Set OPENAI_BASE_URL to {server} and run again to fetch them."


def _status(batch: Batch) -> str:
    if batch.state == "creating":
        return "it is not known whether the server has made it"
    when = datetime.datetime.fromtimestamp(batch.begun + 24 * 3600).astimezone()
    return f"{batch.status or 'validating'}; due by {when:%d %b %H:%M}"


def _without_numbers(reason: str) -> str:
    """A reason without the numbers of its image, so that equal reasons are counted together."""
    return re.sub(r"\bits [\d,]+ (?=tokens|bytes)", "its … ", without_rows(reason))
