"""Request files: each image of a plan gets a state as far as replies allow, and what is still to be asked is written."""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import orjson

from retinal_lib.ask.attempts import AttemptLimits, Attempts
from retinal_lib.ask.batch_ledger import Batch, BatchLedger, Line, custom_id
from retinal_lib.ask.limits import BatchSettings
from retinal_lib.ask.runner import PlannedImage
from retinal_lib.ask.vault import ImageState, Vault
from retinal_lib.files import atomic_path
from retinal_lib.teacher import cost
from retinal_lib.teacher.teachers import Request, RequestFailed, Teacher

URL = "/v1/chat/completions"
_WORKERS = os.cpu_count() or 1
_ROWS = 2000  # images and lines that go into the vault in one transaction
_BLOCK = 4 << 20  # bytes written at once
_LOOKED_UP = 128  # images whose replies are looked up at once
QUEUE_FULL = "waiting: the server's limit of queued tokens is reached"
PENDING_REASON = "an answer is pending in a batch"
EXPORTED_REASON = "packed in a request file; its answer is not here yet"


class Queue(NamedTuple):
    """What may be handed over now: `tokens` of prompts (None: no limit), whether it is `empty`, so that waiting would not
    make it larger, and why it is `closed`, if it is."""

    tokens: float | None = None
    empty: bool = True
    closed: str = ""


class Item(NamedTuple):
    """A request that is to be packed. `line` may still be in the making."""

    row: ImageState
    request: Request
    attempt: int
    prompt: cost.Span
    line: bytes | Future


class _Halted(Exception):
    """Packing was ended early."""


class Pack:
    """One pass over a plan. `files` gives request files one by one; when it ends, every image has a state.

    `queue` is called before each file. `packed_reason` is the state's reason of an image whose request was packed.
    """

    def __init__(
        self,
        vault: Vault,
        teacher: Teacher,
        budget: cost.Budget,
        estimate: cost.Estimate,
        limits: BatchSettings,
        attempt_limits: AttemptLimits,
        queue: Callable[[], Queue] = Queue,
        packed_reason: str = PENDING_REASON,
    ):
        self.vault, self.ledger, self.teacher, self.budget, self.estimate = vault, BatchLedger(vault), teacher, budget, estimate
        self.done = self.packed = 0  # images that have a state; requests in files
        self.held = ""  # why nothing more is packed
        self._limits, self._attempt_limits = limits, attempt_limits
        self._ask_queue, self._queue, self._packed_reason = queue, Queue(), packed_reason
        self._halted = threading.Event()
        self._left_over: Item | None = None  # for the next file
        self._rows: list[ImageState] = []  # not in the vault yet
        self._lines: list[Line] = []

    def halt(self) -> None:
        """Ends packing early, from another thread; a file that is not whole is removed."""
        self._halted.set()

    def files(self, plan: Iterator[PlannedImage], folder: Path, name: str) -> Iterator[Batch]:
        """Yields whole request files below the folder, recorded in the vault in state packing; `name` has {} for their
        number. UserError: a file or the vault cannot be written."""
        self.vault.begin()
        with ThreadPoolExecutor(_WORKERS) as workers:
            items = self._items(plan, workers)
            while True:
                self._queue = self._ask_queue()
                self.held = self.held or self._queue.closed
                try:
                    batch = self._file(items, folder, name)
                except _Halted:
                    break
                if batch is None:
                    break
                yield batch
        self._flush()

    def _file(self, items: Iterator[Item], folder: Path, name: str) -> Batch | None:
        """The next request file; None where nothing more may be packed."""
        packable = self._packable(items, None)
        if packable is None:
            return None
        batch, sha256 = self.ledger.begin(*self.teacher.origin, name), hashlib.sha256()
        with atomic_path(folder / batch.file) as part, part.open("wb", buffering=_BLOCK) as file:
            while packable is not None:
                item, text = packable
                file.write(text)
                sha256.update(text)
                self._add(batch, item, len(text))
                packable = self._packable(items, batch)
            if self._halted.is_set():
                raise _Halted
            self._flush()
            file.flush()
            os.fsync(file.fileno())
        batch.sha256 = sha256.hexdigest()
        self.ledger.save(batch)
        return batch

    def _add(self, batch: Batch, item: Item, size: int) -> None:
        bound, row = self._bound(item, size), item.row
        batch.lines += 1
        batch.bytes += size
        batch.tokens += self._tokens(item)
        batch.prompt_bound += bound.prompt
        batch.completion_bound += bound.completion
        self._lines.append(Line(custom_id(row.key, item.attempt), batch.number, row.key, item.attempt, row.id))
        self.packed += 1
        self._settle(row, "pending", self._packed_reason)

    # --- which requests ---------------------------------------------------------------------------------------------

    def _packable(self, items: Iterator[Item], batch: Batch | None) -> tuple[Item, bytes] | None:
        """The next request for a file, with its line; None where the file is full or nothing more may be packed."""
        while (item := self._left_over or next(items, None)) is not None and not self._halted.is_set():
            self._left_over = None
            text = self._text(item)
            if text is None:
                continue
            if batch and self._full(batch, item, len(text)):
                self._left_over = item._replace(line=text)
                return None
            if self._fits(batch, item, len(text)):
                return item, text
        return None

    def _items(self, plan: Iterator[PlannedImage], workers: ThreadPoolExecutor) -> Iterator[Item]:
        """The requests to pack. Pictures of many megapixels take most of the time: the next ones are made ready side by
        side."""
        ready: deque[Item] = deque()
        for row, request, attempt in self._unsettled(plan):
            prompt = self.estimate.add(request.system, request.user_text, request.size)
            if self.held:
                self._settle(row, "pending", self.held)
                continue
            name = custom_id(row.key, attempt)
            line = workers.submit(self._line, name, request) if request.picture else self._line(name, request)
            ready.append(Item(row, request, attempt, prompt, line))
            if len(ready) == 2 * _WORKERS:
                yield ready.popleft()
        yield from ready

    def _unsettled(self, plan: Iterator[PlannedImage]) -> Iterator[tuple[ImageState, Request, int]]:
        """The images to ask for, each with the number of the attempt; the others are settled in passing. What is known of
        them is looked up for many at once."""
        while not self._halted.is_set() and (block := list(islice(plan, _LOOKED_UP))):
            keyed = [image for image in block if image.set_key(self.teacher.identity)]
            replies = self.vault.replies_to([image.row.key for image in keyed])
            numbers = {image.row.key: len(replies.get(image.row.key, ())) + 1 for image in keyed}
            names = [custom_id(*numbered) for numbered in numbers.items()]
            statuses = self.ledger.status(names, 1 + self._limits.resubmissions)
            for image in block:
                row, number = image.row, numbers.get(image.row.key)
                if number is not None:
                    attempts = Attempts(row, image.request, self.teacher, self._attempt_limits)
                    attempts.add_all(replies.get(row.key, []))
                    if not self._has_state(attempts, *statuses.get(custom_id(row.key, number), ("", ""))):
                        yield row, attempts.request, number
                        continue
                self._settle(row)

    def _has_state(self, attempts: Attempts, status: str, why: str) -> bool:
        """Gives an image its state as far as replies and batches tell; False where it is to be asked for."""
        row = attempts.row
        if not attempts.open:
            return True
        if status == "exported" and not self.held:  # its file is with the user, who now has it asked here
            return False
        if status:
            row.state = "failed" if status == "failed" else "pending"
            row.reason = why or (EXPORTED_REASON if status == "exported" else PENDING_REASON)
        return bool(status)

    def _line(self, name: str, request: Request) -> bytes:
        """A request as a line of a file, in the form of the Batch API."""
        entry = {"custom_id": name, "method": "POST", "url": URL, "body": self.teacher.body(request)}
        return orjson.dumps(entry) + b"\n"

    def _text(self, item: Item) -> bytes | None:
        """The request's line; None where it cannot be made: its image then has failed."""
        try:
            text = item.line if isinstance(item.line, bytes) else item.line.result()
        except RequestFailed as error:
            self._settle(item.row, "failed", str(error))
            return None
        if len(text) > self._limits.bytes:
            why = f"its request has {len(text):,} bytes, more than a file may have ({self._limits.bytes:,})"
            self._settle(item.row, "failed", why)
            return None
        return text

    # --- limits -----------------------------------------------------------------------------------------------------

    def _bound(self, item: Item, size: int) -> cost.Bound:
        if item.request.picture:
            return self.teacher.bound(item.request)
        return cost.Bound(size, self.teacher.answer_bound)  # no tokenizer makes more tokens than a text has bytes

    def _tokens(self, item: Item) -> int:
        rule = self.estimate.price.image if self.estimate.price else None
        unknown = item.request.picture and cost.picture(item.request.size, rule) is None
        return int(item.prompt.high) + (cost.picture_for_queue(item.request.size, None) if unknown else 0)

    def _full(self, batch: Batch, item: Item, size: int) -> bool:
        """The file ends before this request."""
        return (
            batch.lines >= self._limits.requests
            or batch.bytes + size > self._limits.bytes
            or (self._queue.tokens is not None and batch.tokens + self._tokens(item) > self._queue.tokens)
        )

    def _fits(self, batch: Batch | None, item: Item, size: int) -> bool:
        """The request may be asked now; else its image is settled, and where that holds for all that follow, `held` is
        set."""
        tokens, free = self._tokens(item), self._queue.tokens
        if not self.held and batch is None and free is not None and tokens > free:
            if self._queue.empty:
                self._settle(item.row, "failed", f"its {tokens:,} tokens are more than may be under way at once")
                return False
            self.held = QUEUE_FULL
        elif not self.held and not self.budget.reserve(self.budget.upper_bound(self._bound(item, size), "batch")):
            self.budget.close()
            self.held = self.budget.exhausted
        if self.held:
            self._settle(item.row, "pending", self.held)
        return not self.held

    # --- the vault --------------------------------------------------------------------------------------------------

    def _settle(self, row: ImageState, state: str = "", reason: str = "") -> None:
        if state:
            row.state, row.reason = state, reason
        self.done += 1
        if row.state != "accepted":
            row.sources, row.traces = [], []  # they stand in lineage.jsonl, which has accepted images alone
        self._rows.append(row)
        if len(self._rows) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        rows, self._rows = self._rows, []
        if lines:
            self.ledger.add(lines)
        self.vault.settle_all(rows)
