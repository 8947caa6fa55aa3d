"""Many requests later: request files handed to a server's Batch API so that nothing is paid twice.

What costs money, the making of a batch, is written down before it is done.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from retinal_lib.ask.batch_collect import FOLDER, TRIES, BatchCollect
from retinal_lib.ask.batch_ledger import PENDING, Batch, now
from retinal_lib.ask.limits import BatchSettings
from retinal_lib.ask.request_files import QUEUE_FULL, URL, Pack, Queue
from retinal_lib.ask.runner import Plan, Progress, RunResult, in_thread
from retinal_lib.ask.vault import Vault
from retinal_lib.display import count
from retinal_lib.teacher.server import DeliveryUnknown, NotFound, OutcomeUnknown, RequestFailed, RunStopped
from retinal_lib.teacher.teachers import OpenAITeacher

WINDOW = "24h"
PATIENCE = 60  # rounds with a problem, one after the other, before a run that waits gives up


class BatchSubmit(BatchCollect):
    """Mode batch: fetches what is there, packs and submits what is to be asked; with `wait`, until all is done. `new_pack`
    makes the pack of a pass over the plan, given what tells it how much the server's queue takes."""

    def __init__(
        self,
        vault: Vault,
        teacher: OpenAITeacher,
        new_pack: Callable[[Callable[[], Queue]], Pack],
        limits: BatchSettings,
        folder: Path,
        wait: bool,
    ):
        super().__init__(vault, teacher, folder)
        self._new_pack, self._limits, self._wait = new_pack, limits, wait
        self._pack = new_pack(self._queue)  # of the latest pass
        self._asked, self._note = 0, ""

    @property
    def progress(self) -> Progress:
        """Images that have a state, and what the server or the run waits for."""
        return Progress(self._pack.done, self.server.note or self._note)

    async def run(self, plan: Plan) -> RunResult:
        """Gives every image of the plan a state. UserError: the vault or a file cannot be written."""
        troubled = 0  # rounds
        try:
            await self.collect()
            await self._pass(plan)
            while self._wait and not self.stopped and troubled < PATIENCE and self._more():
                await self._pause()
                again = self.crowded
                if await self.collect() or again:
                    await self._pass(plan)
                troubled = troubled + 1 if self.problems else 0
        finally:
            await self.server.close()
        if self.problems:
            self.stop(RequestFailed("; ".join(self.problems)))
        return RunResult(
            asked=self._asked,
            stopped=self.stopped,
            over_budget=self._pack.budget.exhausted,
            problems=tuple(self.problems),
            unknown=tuple(self.unknown),
        )

    def _more(self) -> bool:
        """A batch is pending, or requests wait for room in the server's queue."""
        return self.crowded or any(batch.server == self.server.name for batch in self.ledger.batches(*PENDING))

    async def _pause(self) -> None:
        batches = self.open()
        first = f", the first: {batches[0].status or 'validating'}" if batches else ""
        problem = f"; {self.problems[0]}" if self.problems else ""
        self._note = f"{count(len(batches), 'batch')} pending{first}{problem}"[:120]
        await asyncio.sleep(self._limits.poll_seconds)

    async def _pass(self, plan: Plan) -> None:
        """One pass over the plan: each image is settled or packed, each full file submitted."""
        self._pack = pack = self._new_pack(self._queue)
        files = pack.files(plan(), self.folder / FOLDER, "{}.jsonl")
        while batch := await in_thread(lambda: next(files, None), pack.halt):
            try:
                await self._submit(batch)
            except OutcomeUnknown as error:
                self.problems.append(str(error))
                self.ledger.not_sent(batch, "it is not known whether the server has it in a batch")
            except (RunStopped, RequestFailed) as error:
                self.stop(error)
                self.ledger.not_sent(batch, self._queue().closed)
            else:
                self._asked += batch.lines
        if pack.held == QUEUE_FULL and not self.open():
            self.forget()  # what was guessed lets nothing through

    def _queue(self) -> Queue:
        """How many prompt tokens the server's queue takes now, and whether it takes any."""
        learned, named = self.learned()
        limits = [n for n in (self._limits.enqueued_tokens, learned) if n is not None]
        pending = sum(batch.tokens for batch in self.open() if batch.model == self.teacher.model)
        guessed = learned is not None and not named and learned == min(limits)
        closed = f"not asked, the run stopped: {self.stopped}" if self.stopped else ""
        if self.crowded:
            closed = closed or "waiting: the server's queue is full"
        return Queue(min(limits) - pending if limits else None, not pending and not guessed, closed)

    # --- submitting -------------------------------------------------------------------------------------------------

    async def _submit(self, batch: Batch) -> None:
        """Uploads a file and makes a batch of it. RunStopped, RequestFailed: it was not made."""
        try:
            batch.file_id = await self._upload(batch)
            batch.state, batch.begun = "creating", now()
            self.ledger.save(batch)  # before the call that costs money
            self._opened(batch, await self._create(batch))
        except (RunStopped, OutcomeUnknown):
            raise  # the next run finds out whether it was made
        except RequestFailed:
            self._unlink(batch)
            self.ledger.void(batch)
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
                if remote := await self._adopt(batch):
                    return remote
            except OutcomeUnknown:
                raise
            except RequestFailed as error:
                if not isinstance(error, NotFound) and "not found" not in str(error) and "not exist" not in str(error):
                    raise
                last = error  # its file is not visible yet
            await self.server.pause(trial)
        raise RequestFailed(f"no batch could be made of {batch.file}: {last}")
