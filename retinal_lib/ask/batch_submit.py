"""Many requests later: request files handed to a server's Batch API so that nothing is paid twice.

What costs money, the making of a batch, is written down before it is done.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from retinal_lib import display as shown
from retinal_lib.ask.attempts import Entry
from retinal_lib.ask.batch_collect import FOLDER, TRIES, BatchCollect
from retinal_lib.ask.batch_ledger import PENDING, Batch, now
from retinal_lib.ask.limits import BatchSettings
from retinal_lib.ask.request_files import URL, WAITS, Pack
from retinal_lib.ask.vault import Vault
from retinal_lib.teacher.server import DeliveryUnknown, NotFound, OutcomeUnknown, RequestFailed, RunStopped
from retinal_lib.teacher.teachers import OpenAITeacher

WINDOW = "24h"
PATIENCE = 60  # looks in a row that meet with trouble, before a run that waits gives up


class BatchSubmit(BatchCollect):
    """A run in batch mode: fetches what is there, packs and submits what is to be asked; with `wait`, until all is done.

    `done` counts settled images, `asked` the requests sent now, `stopped` says why no more are.
    """

    def __init__(
        self, vault: Vault, teacher: OpenAITeacher, pack: Callable[[], Pack], limits: BatchSettings, folder: Path, wait: bool
    ):
        super().__init__(vault, teacher, folder)
        self.new_pack, self.limits, self.wait = pack, limits, wait
        self.pack = pack()
        self.asked, self._note = 0, ""

    @property
    def over(self) -> str:
        """Why the budget lets nothing more be asked, or nothing."""
        return self.pack.budget.exhausted

    @property
    def done(self) -> int:
        """Images that have a state."""
        return self.pack.done

    @property
    def note(self) -> str:
        """What it is waiting for, for the progress line."""
        return self.server.note or self._note

    async def run(self, plans: Callable[[], Iterator[Entry]]) -> None:
        """Settles every image of the plan. UserError: the vault or a file cannot be written."""
        rounds = 0
        try:
            await self.collect()
            await self._walk(plans)
            while self.wait and not self.stopped and rounds < PATIENCE and self._more():
                await self._pause()
                again = self.crowded
                if await self.collect() or again:
                    await self._walk(plans)
                rounds = rounds + 1 if self.trouble else 0
        finally:
            await self.server.close()
        if self.trouble:
            self.stop(RequestFailed("; ".join(self.trouble)))

    def _more(self) -> bool:
        """Something is under way, or waits for room in the server's queue."""
        return self.crowded or any(batch.server == self.server.name for batch in self.ledger.batches(*PENDING))

    async def _pause(self) -> None:
        batches = self.open()
        first = f", the first: {batches[0].status or 'validating'}" if batches else ""
        trouble = f"; {self.trouble[0]}" if self.trouble else ""
        self._note = f"{shown.count(len(batches), 'batch')} under way{first}{trouble}"[:120]
        await asyncio.sleep(self.limits.poll_seconds)

    async def _walk(self, plans: Callable[[], Iterator[Entry]]) -> None:
        """One pass over the plan: each image is settled or packed, each full file submitted."""
        self.pack = pack = self.new_pack()
        self._make_room(pack)
        if self.stopped:
            pack.held = f"not asked, the run stopped: {self.stopped}"
        elif self.crowded:
            pack.held = "waiting: the server's queue is full"
        files = pack.files(plans(), self.folder / FOLDER, "{}.jsonl")
        while batch := await self.in_thread(lambda: next(files, None)):
            try:
                await self._submit(batch)
            except OutcomeUnknown as error:
                self.trouble.append(str(error))
                self.ledger.not_sent(batch, "it is not known whether the server has it in a batch")
            except (RunStopped, RequestFailed) as error:
                self.stop(error)
                pack.held = f"not asked, the run stopped: {self.stopped}"
                self.ledger.not_sent(batch, pack.held)
            else:
                self.asked += batch.lines
            self._make_room(pack)
        if pack.held == WAITS and not self.open():
            self.forget()  # what was guessed lets nothing through

    def halt(self) -> None:
        """Ends packing early."""
        self.pack.halt = True

    def _make_room(self, pack: Pack) -> None:
        """Tokens that may still be put under way, and whether more could never be."""
        learned, told = self.learned()
        limits = [n for n in (self.limits.enqueued_tokens, learned) if n is not None]
        taken = sum(batch.tokens for batch in self.open() if batch.model == self.teacher.model)
        pack.room = min(limits) - taken if limits else None
        guessed = learned is not None and not told and learned == min(limits)
        pack.alone = not taken and not guessed

    # --- submitting -------------------------------------------------------------------------------------------------

    async def _submit(self, batch: Batch) -> None:
        """Uploads a file and makes a batch of it. RunStopped, RequestFailed: it was not made."""
        try:
            batch.file_id = await self._upload(batch)
            batch.state, batch.begun = "creating", now()
            self.ledger.save(batch)  # before the call that costs money
            self._opened(batch, await self._create(batch))
        except (RunStopped, OutcomeUnknown):
            raise  # whether it was made is told by the next run
        except RequestFailed:
            self._unlink(batch)
            self.ledger.void(batch)
            raise

    async def _upload(self, batch: Batch) -> str:
        file_id = await self.server.upload(self.folder / FOLDER / batch.file)
        for trial in range(1, TRIES + 1):
            found = await self.server.get(f"/files/{file_id}", patient=True)
            status = str(found.get("status") or "").casefold()
            if status == "error":
                raise RequestFailed(f"the server cannot use the request file: {found.get('status_details') or status}")
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
            except DeliveryUnknown as error:  # it may have arrived
                last = error
                if found := await self._adopt(batch):
                    return found
            except OutcomeUnknown:
                raise
            except RequestFailed as error:
                if not isinstance(error, NotFound) and "not found" not in str(error) and "not exist" not in str(error):
                    raise
                last = error  # its file is not visible yet
            await self.server.pause(trial)
        raise RequestFailed(f"no batch could be made of {batch.file}: {last}")
