"""Mode batch: submits request files to a server's Batch API so that nothing is paid twice.

Before a batch is created, which costs money, the intention is stored in the vault.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from retinal_lib.ask.batch_collect import FOLDER, TRIES, BatchCollect
from retinal_lib.ask.batch_ledger import PENDING, Batch, now
from retinal_lib.ask.limits import BatchSettings
from retinal_lib.ask.request_files import QUEUE_FULL, URL, QueueCapacity, RequestFileWriter
from retinal_lib.ask.runner import Plan, Progress, RunResult, in_thread
from retinal_lib.ask.vault import Vault
from retinal_lib.display import count
from retinal_lib.teacher.request_errors import DeliveryUnknown, NotFound, OutcomeUnknown, RequestFailed, RunStopped
from retinal_lib.teacher.teachers import OpenAITeacher

WINDOW = "24h"
MAX_FAILED_ROUNDS = 60  # rounds with a problem, one after the other, before a run that waits gives up
MAX_TIMES_FULL = 60  # refusals since the queue is full, one after the other, before it gives up: a night by default


class BatchSubmit(BatchCollect):
    """Mode batch: fetches answers, then writes and submits request files; with `wait`, until every image is done. `new_writer`
    makes the writer for a pass over the plan, given the function that returns the server's queue capacity."""

    def __init__(
        self,
        vault: Vault,
        teacher: OpenAITeacher,
        new_writer: Callable[[Callable[[], QueueCapacity]], RequestFileWriter],
        limits: BatchSettings,
        folder: Path,
        wait: bool,
        besides: str = "",
    ):
        super().__init__(vault, teacher, folder, besides)
        self._new_writer, self._limits, self._wait = new_writer, limits, wait
        self._writer = new_writer(self._queue_capacity)  # of the latest pass
        self._asked, self._note = 0, ""

    @property
    def progress(self) -> Progress:
        """Images that have a state, and what the run is waiting for."""
        return Progress(self._writer.done, self.server.note or self._note)

    async def run(self, plan: Plan) -> RunResult:
        """Gives every image of the plan a state. UserError: the vault or a file cannot be written."""
        failed_rounds = 0
        try:
            await self.collect()
            await self._pass(plan)
            while self._wait and not self.stopped and failed_rounds < MAX_FAILED_ROUNDS and self._more():
                await self._pause()
                again = self.queue_full
                if await self.collect() or again:
                    await self._pass(plan)
                failed_rounds = failed_rounds + 1 if self.problems else 0
                if self.times_full >= MAX_TIMES_FULL:
                    self.stop(
                        RequestFailed(
                            f"the server refused the requests {self.times_full} times, one after the other, since its queue is "
                            "full, though it has room for them when it is empty"
                        )
                    )
        finally:
            await self.server.close()
        if self.problems:
            self.stop(RequestFailed("; ".join(self.problems)))
        return RunResult(
            asked=self._asked,
            stopped=self.stopped,
            over_budget=self._writer.budget.exhausted,
            problems=tuple(self.problems),
            unknown=tuple(self.unknown),
            failed_results=self.failed_results,
        )

    def _more(self) -> bool:
        """Says whether a batch is pending, or requests wait for room in the server's queue."""
        return self.queue_full or bool(self._ours(self.ledger.batches(*PENDING)))

    async def _pause(self) -> None:
        batches = self.open()
        first = f", the first: {batches[0].status or 'validating'}" if batches else ""
        problem = f"; {self.problems[0]}" if self.problems else ""
        self._note = f"{count(len(batches), 'batch')} pending{first}{problem}"[:120]
        slower = min(self.times_full, 10) if self.queue_full else 1  # each try sends a whole file
        await asyncio.sleep(self._limits.poll_seconds * slower)

    async def _pass(self, plan: Plan) -> None:
        """Makes one pass over the plan: gives each image a state or writes its request, and submits each file."""
        self._writer = writer = self._new_writer(self._queue_capacity)
        files = writer.files(plan(), self.folder / FOLDER, "{}.jsonl")
        while batch := await in_thread(lambda: next(files, None), writer.halt):
            try:
                await self._submit(batch)
            except OutcomeUnknown as error:
                self.problems.append(str(error))
                self.ledger.not_sent(batch, "it is not known whether the server made the batch with its request")
            except (RunStopped, RequestFailed) as error:
                self.stop(error)
                self.ledger.not_sent(batch, self._queue_capacity().closed)
            else:
                self._asked += batch.lines
        if writer.closed == QUEUE_FULL and not self.open():
            self.clear_token_limit()  # our guess was too low for any request

    def _queue_capacity(self) -> QueueCapacity:
        """Returns how many prompt tokens the server's queue takes now."""
        limit, stated = self.queue_token_limit()
        limits = [n for n in (self._limits.enqueued_tokens, limit) if n is not None]
        pending = sum(batch.tokens for batch in self.open() if batch.model == self.teacher.model)
        guessed = limit is not None and not stated and limit == min(limits)
        closed = f"not asked, the run stopped: {self.stopped}" if self.stopped else ""
        if self.queue_full:
            closed = closed or "waiting: the server's queue is full"
        return QueueCapacity(min(limits) - pending if limits else None, not pending and not guessed, closed)

    # --- submitting -------------------------------------------------------------------------------------------------

    async def _submit(self, batch: Batch) -> None:
        """Uploads a file and creates its batch. RunStopped, RequestFailed: the batch was not created."""
        try:
            batch.file_id = await self._upload(batch)
            batch.state, batch.begun = "creating", now()
            self.ledger.save(batch)  # before the call that costs money
            self._mark_open(batch, await self._create(batch))
        except (RunStopped, OutcomeUnknown):
            raise  # the next run asks the server whether it was created
        except RequestFailed:
            self._discard(batch)
            raise

    async def _upload(self, batch: Batch) -> str:
        file_id = await self.server.upload(self.folder / FOLDER / batch.file)
        for trial in range(1, TRIES + 1):
            file = await self.server.get(f"/files/{file_id}", patient=True)
            status = str(file.get("status") or "").casefold()
            if status == "error":
                raise RequestFailed(f"the server cannot use the request file: {file.get('status_details') or status}")
            if status not in ("pending", "notrunning", "running"):
                return file_id
            await self.server.pause(trial)
        return file_id

    async def _create(self, batch: Batch) -> dict:
        body = {
            "input_file_id": batch.file_id,
            "endpoint": URL,
            "completion_window": WINDOW,
            "metadata": self.tags(batch),
        }
        last: Exception | None = None
        for trial in range(1, TRIES + 1):
            try:
                return await self.server.create("/batches", body)
            except DeliveryUnknown as error:
                last = error
                if remote := await self._find_on_server(batch):
                    return remote
            except RequestFailed as error:
                if not isinstance(error, NotFound) and "not found" not in str(error) and "not exist" not in str(error):
                    raise
                last = error  # its file is not visible yet
            await self.server.pause(trial)
        raise RequestFailed(f"the server made no batch of {batch.file}: {last}")
