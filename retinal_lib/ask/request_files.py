"""Walks over a plan: settles each image as far as replies allow, and writes what is still to be asked into request files."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import orjson

from retinal_lib.ask.attempts import Attempts, Entry, Limits
from retinal_lib.ask.batch_ledger import Batch, BatchLedger, Line, custom_id
from retinal_lib.ask.limits import BatchSettings
from retinal_lib.ask.vault import ImageState, Vault
from retinal_lib.errors import UserError
from retinal_lib.teacher import cost
from retinal_lib.teacher.teachers import Request, RequestFailed, Teacher

URL = "/v1/chat/completions"
_WORKERS = os.cpu_count() or 1
_ROWS = 2000  # images and lines that go into the vault at once
_BLOCK = 4 << 20  # bytes written at once: few, since each waits for the interpreter's lock
_LOOKED_UP = 128  # images whose replies are looked up at once
WAITS = "waiting: the server's limit of queued tokens is reached"
WAITING = {
    "pending": "an answer is pending in a batch",
    "exported": "packed in a request file; its answer is not here yet",
}


class Item(NamedTuple):
    """A request that is to be packed. `line` may still be in the making."""

    row: ImageState
    request: Request
    attempt: int
    prompt: cost.Span
    line: bytes | Future


def line(name: str, body: dict) -> bytes:
    """A request as a line of a file, in the form of the Batch API."""
    return orjson.dumps({"custom_id": name, "method": "POST", "url": URL, "body": body}) + b"\n"


class Behind:
    """Carries out work in one thread behind the caller, in order, a few pieces at most waiting. What fails there is raised
    by the next call."""

    def __init__(self) -> None:
        self._worker, self._waiting = ThreadPoolExecutor(1), deque()

    def do(self, work: Callable, *arguments: object) -> None:
        """Hands over a piece of work."""
        self._waiting.append(self._worker.submit(work, *arguments))
        while len(self._waiting) > 2:
            self._waiting.popleft().result()

    def settle(self) -> None:
        """Returns when all is done."""
        while self._waiting:
            self._waiting.popleft().result()

    def close(self) -> None:
        """Ends the thread, whatever came of its work."""
        self._worker.shutdown()


class File:
    """A request file that is being written, `behind` the caller; it takes its name when it is whole. UserError: it cannot
    be written."""

    def __init__(self, path: Path, behind: Behind):
        self.path, self.part, self.hash = path, path.with_name(f".{path.name}.part"), hashlib.sha256()
        self._behind, self._block, self._size = behind, [], 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.part.open("wb", buffering=0)
        except OSError as error:
            raise self._problem(error) from error

    def add(self, text: bytes) -> None:
        """Appends a line."""
        self._block.append(text)
        self._size += len(text)
        if self._size >= _BLOCK:
            self._hand_over()

    def _hand_over(self) -> None:
        data, self._block, self._size = memoryview(b"".join(self._block)), [], 0
        self._behind.do(self._write, data)

    def _write(self, data: memoryview) -> None:
        self.hash.update(data)
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise self._problem(error) from error

    def close(self) -> None:
        """Puts the file on disk under its name."""
        self._hand_over()
        self._behind.settle()
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            self.part.replace(self.path)
        except OSError as error:
            raise self._problem(error) from error

    def drop(self) -> None:
        """Leaves nothing behind."""
        self._file.close()
        self.part.unlink(missing_ok=True)

    def _problem(self, error: OSError) -> UserError:
        return UserError(
            f"{self.path} cannot be written ({error.strerror or error}); free its place and run again: nothing is lost"
        )


class Pack:
    """One walk over a plan. `files` gives request files one by one; when it ends, every image has a state. `room` says how
    many prompt tokens may be under way at once (None: no limit), `held` why nothing more is packed, `halt` ends it early.
    """

    def __init__(
        self, vault: Vault, teacher: Teacher, budget: cost.Budget, estimate: cost.Estimate, limits: BatchSettings, rules: Limits
    ):
        self.vault, self.ledger, self.teacher, self.budget, self.estimate = vault, BatchLedger(vault), teacher, budget, estimate
        self.limits, self.rules = limits, rules
        self.room: float | None = None
        self.alone = True  # nothing is under way, so that waiting would not help
        self.held, self.halt, self.done, self.packed = "", False, 0, 0
        self.sending = WAITING["pending"]  # what is told of an image whose request was packed
        self._window: deque[Item] = deque()
        self._settled: list[ImageState] = []
        self._lines: list[Line] = []
        self._behind = Behind()
        self._asked: Iterator[tuple[ImageState, Request, int]] = iter(())
        self._answered = self._sent = True

    def files(self, plan: Iterator[Entry], folder: Path, name: str) -> Iterator[Batch]:
        """Whole request files below the folder, recorded in the vault in state packing. UserError: as `File`, `Vault`."""
        self.vault.begin()
        # a new vault need not be asked again and again
        self._answered = any(self.vault.rows("SELECT 1 FROM replies LIMIT 1"))
        self._sent = any(self.vault.rows("SELECT 1 FROM lines LIMIT 1"))
        try:
            with ThreadPoolExecutor(_WORKERS) as workers:
                self._asked = self._unsettled(plan)
                while first := self._next(workers):
                    self._window.appendleft(first)
                    batch = self._file(workers, folder, name)
                    if batch is not None:
                        yield batch
            self._flush()
        finally:
            self._behind.close()

    def _file(self, workers: ThreadPoolExecutor, folder: Path, name: str) -> Batch | None:
        """The next request file; None where nothing more may be packed."""
        batch = file = None
        try:
            while item := self._next(workers):
                text = self._text(item)
                if text is None:
                    continue
                if batch and self._full(batch, item, len(text)):
                    self._window.appendleft(item._replace(line=text))
                    break
                if not self._fits(batch, item, len(text)):
                    continue
                if batch is None:
                    batch = self.ledger.begin(*self.teacher.origin, name)
                    file = File(folder / batch.file, self._behind)
                self._add(batch, file, item, text)
            if batch is None or self.halt:
                return None
            self._flush()
            file.close()
            batch.sha256 = file.hash.hexdigest()
            self.ledger.save(batch)
            return batch
        except UserError:
            if file is not None:
                file.drop()
            raise

    # --- which requests ---------------------------------------------------------------------------------------------

    def _next(self, workers: ThreadPoolExecutor) -> Item | None:
        """The next request to pack; a few more are made ready behind it, pictures side by side."""
        while len(self._window) < 2 * _WORKERS and (asked := next(self._asked, None)) is not None:
            row, request, attempt = asked
            prompt = self.estimate.add(request.system, request.told, request.size)
            if self.held:
                row.state, row.reason = "pending", self.held
                self._settle(row)
                continue
            name = custom_id(row.key, attempt)
            text = workers.submit(self._line, name, request) if request.picture else self._line(name, request)
            self._window.append(Item(row, request, attempt, prompt, text))
        return self._window.popleft() if self._window and not self.halt else None

    def _unsettled(self, plan: Iterator[Entry]) -> Iterator[tuple[ImageState, Request, int]]:
        """The images to ask for, each with the number of the attempt; the others are settled in passing. What is known of
        them is looked up for many at once."""
        while not self.halt and (block := list(islice(plan, _LOOKED_UP))):
            keyed = [entry for entry in block if entry.request and self._keyed(entry)]
            keys = [entry.row.key for entry in keyed]
            replies = self.vault.replies_to(keys) if self._answered else {}
            names = [custom_id(key, len(replies.get(key, ())) + 1) for key in keys]
            status = self.ledger.status(names, 1 + self.limits.resubmissions) if self._sent else {}
            open_ = {}
            for entry, name in zip(keyed, names, strict=True):
                known = replies.get(entry.row.key, [])
                attempts = Attempts(entry.row, entry.request, self.teacher, self.rules).take_all(known)
                if not self._told(attempts, *status.get(name, ("", ""))):
                    open_[entry.row.position] = attempts.request, len(known) + 1
            for entry in block:
                if asked := open_.get(entry.row.position):
                    yield entry.row, *asked
                else:
                    self._settle(entry.row)

    def _keyed(self, entry: Entry) -> bool:
        """False where the picture to be sent cannot be read; the image then has failed."""
        try:
            entry.row.key = entry.request.key(self.teacher.identity)
        except UserError as error:
            entry.row.state, entry.row.reason = "failed", str(error)
            return False
        return True

    def _told(self, attempts: Attempts, status: str, why: str) -> bool:
        """Gives an image its state as far as replies and batches under way tell; False where it is to be asked for."""
        row = attempts.row
        if not attempts.open:
            return True
        if status == "exported" and not self.held:  # its file is with the user, who now has it asked here
            return False
        if status:
            row.state = "failed" if status == "failed" else "pending"
            row.reason = why or WAITING[status]
        return bool(status)

    def _line(self, name: str, request: Request) -> bytes:
        return line(name, self.teacher.body(request))

    def _text(self, item: Item) -> bytes | None:
        """The request's line; None where it cannot be made: its image then has failed."""
        try:
            text = item.line if isinstance(item.line, bytes) else item.line.result()
        except RequestFailed as error:
            return self._fail(item, str(error))
        if len(text) > self.limits.bytes:
            return self._fail(item, f"its request has {len(text):,} bytes, more than a file may have ({self.limits.bytes:,})")
        return text

    def _fail(self, item: Item, why: str) -> None:
        item.row.state, item.row.reason = "failed", why
        self._settle(item.row)

    # --- limits -----------------------------------------------------------------------------------------------------

    def _bound(self, item: Item, size: int) -> cost.Bound:
        if item.request.picture:
            return self.teacher.bound(item.request)
        return cost.Bound(size, self.teacher.answer_bound)  # no tokenizer makes more tokens than a text has bytes

    def _tokens(self, item: Item) -> int:
        seen = self.estimate.price.image if self.estimate.price else None
        unknown = item.request.picture and cost.picture(item.request.size, seen) is None
        return int(item.prompt.high) + (cost.picture_for_queue(item.request.size, None) if unknown else 0)

    def _full(self, batch: Batch, item: Item, size: int) -> bool:
        """The file ends before this request."""
        return (
            batch.lines >= self.limits.requests
            or batch.bytes + size > self.limits.bytes
            or (self.room is not None and batch.tokens + self._tokens(item) > self.room)
        )

    def _fits(self, batch: Batch | None, item: Item, size: int) -> bool:
        """The request may be asked now; else its image is settled, and where that holds for all that follow, `held` is
        set."""
        if self.held:
            item.row.state, item.row.reason = "pending", self.held
        elif batch is None and self.room is not None and (wanted := self._tokens(item)) > self.room:
            if self.alone:
                return bool(self._fail(item, f"its {wanted:,} tokens are more than may be under way at once"))
            self.held = WAITS
            item.row.state, item.row.reason = "pending", self.held
        elif not self.budget.reserve(self.budget.upper_bound(self._bound(item, size), "batch")):
            self.budget.close()
            self.held = item.row.reason = self.budget.exhausted
            item.row.state = "pending"
        else:
            return True
        self._settle(item.row)
        return False

    # --- writing ----------------------------------------------------------------------------------------------------

    def _add(self, batch: Batch, file: File, item: Item, text: bytes) -> None:
        bound = self._bound(item, len(text))
        batch.lines += 1
        batch.bytes += len(text)
        batch.tokens += self._tokens(item)
        batch.prompt_bound += bound.prompt
        batch.completion_bound += bound.completion
        file.add(text)
        row = item.row
        name = custom_id(row.key, item.attempt)
        self._lines.append(Line(name, batch.number, row.key, item.attempt, row.id))
        row.state, row.reason = "pending", self.sending
        self.packed += 1
        self._settle(row)

    def _settle(self, row: ImageState) -> None:
        self.done += 1
        if row.state != "accepted":
            row.sources, row.traces = [], []  # they stand in lineage.jsonl, which has accepted images alone
        self._settled.append(row)
        if len(self._settled) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        settled, self._settled = self._settled, []
        if lines:
            self.ledger.add(lines)
        self.vault.settle_all(settled)
