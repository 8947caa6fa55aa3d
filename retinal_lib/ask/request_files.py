"""Writes request files: gives each image of a plan its state, and writes the requests that have no answer yet."""

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
_ROWS = 2000  # images that go into the vault in one transaction
_BLOCK = 4 << 20  # bytes written at once
_LOOKED_UP = 128  # images whose replies are read from the vault in one query
QUEUE_FULL = "waiting: the server's limit of queued tokens is reached"
PENDING_REASON = "an answer is pending in a batch"
EXPORTED_REASON = "packed in a request file; its answer is not here yet"


class QueueCapacity(NamedTuple):
    """How many requests may be sent now: `tokens` of prompts (None: no limit). `empty` says that no request of ours is in the
    server's queue, so that waiting gives no more room; `closed` is the reason why nothing may be sent, if there is one."""

    tokens: float | None = None
    empty: bool = True
    closed: str = ""


class PendingRequest(NamedTuple):
    """A request that is to be written to a file. `line` is its line there, or the worker's task that makes it."""

    row: ImageState
    request: Request
    attempt: int
    prompt: cost.Range
    line: bytes | Future


class _Halted(Exception):
    """Raised where packing is to end early."""


class RequestFileWriter:
    """A pass over a plan that writes request files; when `files` ends, every image has a state.

    `queue` is called before each file. `packed_reason` is the reason stored with images whose request was written;
    `attempts` reads replies into states.
    """

    def __init__(
        self,
        vault: Vault,
        teacher: Teacher,
        budget: cost.Budget,
        estimate: cost.Estimate,
        limits: BatchSettings,
        attempt_limits: AttemptLimits,
        queue: Callable[[], QueueCapacity] = QueueCapacity,
        packed_reason: str = PENDING_REASON,
        attempts: type[Attempts] = Attempts,
    ):
        self.vault, self.ledger, self.teacher, self.budget, self.estimate = vault, BatchLedger(vault), teacher, budget, estimate
        self.done = self.packed = 0  # images that have a state; requests in files
        self.closed = ""  # why no more requests are written
        self._limits, self._attempt_limits, self._attempts = limits, attempt_limits, attempts
        self._queue_capacity, self._queue, self._packed_reason = queue, QueueCapacity(), packed_reason
        self._halted = threading.Event()
        self._left_over: PendingRequest | None = None  # for the next file
        self._rows: list[ImageState] = []  # not in the vault yet
        self._lines: list[Line] = []

    def halt(self) -> None:
        """Ends the pass early, from another thread; an incomplete file is removed."""
        self._halted.set()

    def files(self, plan: Iterator[PlannedImage], folder: Path, name: str) -> Iterator[Batch]:
        """Yields complete request files in the folder, recorded in the vault in state packing; `name` has {} where their
        number goes. UserError: a file or the vault cannot be written."""
        self.vault.clear_states()
        with ThreadPoolExecutor(_WORKERS) as workers:
            requests = self._requests(plan, workers)
            while True:
                self._queue = self._queue_capacity()
                self.closed = self.closed or self._queue.closed
                try:
                    batch = self._file(requests, folder, name)
                except _Halted:
                    break
                if batch is None:
                    break
                yield batch
        self._flush()

    def _file(self, requests: Iterator[PendingRequest], folder: Path, name: str) -> Batch | None:
        """Writes the next request file; None where no more requests may be written."""
        packable = self._packable(requests, None)
        if packable is None:
            return None
        batch, sha256 = self.ledger.create(*self.teacher.origin, name), hashlib.sha256()
        with atomic_path(folder / batch.file) as part, part.open("wb", buffering=_BLOCK) as file:
            while packable is not None:
                pending, text = packable
                file.write(text)
                sha256.update(text)
                self._add(batch, pending, len(text))
                packable = self._packable(requests, batch)
            if self._halted.is_set():
                raise _Halted
            self._flush()
            file.flush()
            os.fsync(file.fileno())
        batch.sha256 = sha256.hexdigest()
        self.ledger.save(batch)
        return batch

    def _add(self, batch: Batch, pending: PendingRequest, size: int) -> None:
        bound, row = self._token_limit(pending, size), pending.row
        batch.lines += 1
        batch.bytes += size
        batch.tokens += self._tokens(pending)
        batch.prompt_bound += bound.prompt
        batch.completion_bound += bound.completion
        self._lines.append(Line(custom_id(row.key, pending.attempt), batch.number, row.key, pending.attempt, row.id))
        self.packed += 1
        self._save_state(row, "pending", self._packed_reason)

    # --- which requests ---------------------------------------------------------------------------------------------

    def _packable(self, requests: Iterator[PendingRequest], batch: Batch | None) -> tuple[PendingRequest, bytes] | None:
        """The next request for a file, with its line; None where the file is full or no more may be written."""
        while (pending := self._left_over or next(requests, None)) is not None and not self._halted.is_set():
            self._left_over = None
            text = self._finished_line(pending)
            if text is None:
                continue
            if batch and self._full(batch, pending, len(text)):
                self._left_over = pending._replace(line=text)
                return None
            if self._fits(batch, pending, len(text)):
                return pending, text
        return None

    def _requests(self, plan: Iterator[PlannedImage], workers: ThreadPoolExecutor) -> Iterator[PendingRequest]:
        """The requests to write. Pictures of many megapixels take most of the time: the next ones are encoded in parallel."""
        ready: deque[PendingRequest] = deque()
        for row, request, attempt in self._unanswered(plan):
            prompt = self.estimate.add(request.system, request.user_text, request.size)
            if self.closed:
                self._save_state(row, "pending", self.closed)
                continue
            name = custom_id(row.key, attempt)
            line = workers.submit(self._line, name, request) if request.picture else self._line(name, request)
            ready.append(PendingRequest(row, request, attempt, prompt, line))
            if len(ready) == 2 * _WORKERS:
                yield ready.popleft()
        yield from ready

    def _unanswered(self, plan: Iterator[PlannedImage]) -> Iterator[tuple[ImageState, Request, int]]:
        """The images to ask for, each with its request and the number of the attempt; saves the state of the others."""
        while not self._halted.is_set() and (block := list(islice(plan, _LOOKED_UP))):
            keyed = [image for image in block if image.set_key(self.teacher.identity)]
            replies = self.vault.replies(*(image.row.key for image in keyed))
            numbers = {image.row.key: len(replies.get(image.row.key, ())) + 1 for image in keyed}
            names = [custom_id(*numbered) for numbered in numbers.items()]
            statuses = self.ledger.status(names, 1 + self._limits.resubmissions)
            for image in block:
                row, number = image.row, numbers.get(image.row.key)
                if number is not None:
                    attempts = self._attempts(row, image.request, self.teacher, self._attempt_limits)
                    attempts.add_all(replies.get(row.key, []))
                    if not self._has_state(attempts, *statuses.get(custom_id(row.key, number), ("", ""))):
                        yield row, attempts.request, number
                        continue
                self._save_state(row)

    def _has_state(self, attempts: Attempts, status: str, why: str) -> bool:
        """Gives an image its state from replies and batches; False where it is to be asked for."""
        row = attempts.row
        if not attempts.open:
            return True
        if status == "exported" and not self.closed:  # the user has its file, and now sends it in a batch
            return False
        if status:
            row.state = "failed" if status == "failed" else "pending"
            row.reason = why or (EXPORTED_REASON if status == "exported" else PENDING_REASON)
        return bool(status)

    def _line(self, name: str, request: Request) -> bytes:
        entry = {"custom_id": name, "method": "POST", "url": URL, "body": self.teacher.body(request)}
        return orjson.dumps(entry) + b"\n"

    def _finished_line(self, pending: PendingRequest) -> bytes | None:
        """The request's line; None where it cannot be made, so that its image has failed."""
        try:
            text = pending.line if isinstance(pending.line, bytes) else pending.line.result()
        except RequestFailed as error:
            self._save_state(pending.row, "failed", str(error))
            return None
        if len(text) > self._limits.bytes:
            why = f"its {len(text):,} bytes are more than a request file may have ({self._limits.bytes:,})"
            self._save_state(pending.row, "failed", why)
            return None
        return text

    # --- limits -----------------------------------------------------------------------------------------------------

    def _token_limit(self, pending: PendingRequest, size: int) -> cost.TokenLimit:
        if pending.request.picture:
            return self.teacher.token_limit(pending.request)
        return cost.TokenLimit(size, self.teacher.answer_bound)  # no tokenizer makes more tokens than a text has bytes

    def _tokens(self, pending: PendingRequest) -> int:
        rule = self.estimate.price.image if self.estimate.price else None
        unknown = pending.request.picture and not rule
        return int(pending.prompt.high) + (cost.DEFAULT_PICTURE_TOKENS if unknown else 0)

    def _full(self, batch: Batch, pending: PendingRequest, size: int) -> bool:
        """Says whether the file has no room for this request."""
        return (
            batch.lines >= self._limits.requests
            or batch.bytes + size > self._limits.bytes
            or (self._queue.tokens is not None and batch.tokens + self._tokens(pending) > self._queue.tokens)
        )

    def _fits(self, batch: Batch | None, pending: PendingRequest, size: int) -> bool:
        """Says whether the request may be sent now; else saves its image's state, and sets `closed` where no later one may
        be sent either."""
        tokens, free = self._tokens(pending), self._queue.tokens
        if not self.closed and batch is None and free is not None and tokens > free:
            if self._queue.empty:
                why = f"its {tokens:,} tokens are more than the server's queue limit of {free:,.0f}"
                self._save_state(pending.row, "failed", why)
                return False
            self.closed = QUEUE_FULL
        elif not self.closed and not self.budget.reserve(self.budget.upper_bound(self._token_limit(pending, size), "batch")):
            self.budget.close()
            self.closed = self.budget.exhausted
        if self.closed:
            self._save_state(pending.row, "pending", self.closed)
        return not self.closed

    # --- the vault --------------------------------------------------------------------------------------------------

    def _save_state(self, row: ImageState, state: str = "", reason: str = "") -> None:
        if state:
            row.state, row.reason = state, reason
        self.done += 1
        if row.state != "accepted":
            row.sources, row.traces = [], []  # only accepted images have a line in lineage.jsonl
        self._rows.append(row)
        if len(self._rows) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        rows, self._rows = self._rows, []
        if lines:
            self.ledger.add(lines)
        self.vault.save_states(rows)
