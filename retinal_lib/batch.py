"""Many requests later: request files handed to a server's Batch API so that nothing is paid twice.

What costs money, the making of a batch, is written down before it is done.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from retinal_lib.book import Batch, now
from retinal_lib.collect import FOLDER, TRIES, Collect
from retinal_lib.pack import URL, Pack
from retinal_lib.server import Missing, RequestFailed, RunStopped, Unsure
from retinal_lib.settings import BatchSettings
from retinal_lib.settle import Entry
from retinal_lib.teacher import OpenAITeacher
from retinal_lib.vault import Vault

WINDOW = "24h"


class Batches(Collect):
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
        return self.pack.purse.over

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
        try:
            await self.collect()
            await self._walk(plans)
            while self.wait and self.open() and not self.stopped:
                await self._pause()
                if await self.collect():
                    await self._walk(plans)
        finally:
            await self.server.close()

    async def _pause(self) -> None:
        batches = self.open()
        count = f"{len(batches)} batch{'es' * (len(batches) > 1)}"
        self._note = f"{count} under way, the first: {batches[0].status or 'validating'}"
        await asyncio.sleep(self.limits.poll_seconds)

    async def _walk(self, plans: Callable[[], Iterator[Entry]]) -> None:
        """One pass over the plan: each image is settled or packed, each full file submitted."""
        self.pack = pack = self.new_pack()
        pack.room, pack.alone = self._room(), not self.open()
        if self.stopped:
            pack.held = f"not asked, the run stopped: {self.stopped}"
        files = pack.files(plans(), self.folder / FOLDER, "{}.jsonl")
        while batch := await self.in_thread(lambda: next(files, None)):
            try:
                await self._submit(batch)
            except (RunStopped, RequestFailed) as error:
                self.stop(error)
                pack.held = f"not asked, the run stopped: {self.stopped}"
                self.book.not_sent(batch, pack.held)
            else:
                self.asked += batch.lines
            pack.room, pack.alone = self._room(), not self.open()

    def halt(self) -> None:
        """Ends packing early."""
        self.pack.halt = True

    def _room(self) -> float | None:
        """Tokens that may still be put under way; None where no limit is known."""
        learned = self.book.note(self._limit_name)
        limits = [n for n in (self.limits.enqueued_tokens, int(learned) if learned else None) if n is not None]
        if not limits:
            return None
        return min(limits) - sum(batch.tokens for batch in self.open() if batch.model == self.teacher.model)

    # --- submitting -------------------------------------------------------------------------------------------------

    async def _submit(self, batch: Batch) -> None:
        """Uploads a file and makes a batch of it. RunStopped, RequestFailed: it was not made."""
        try:
            batch.file_id = await self._upload(batch)
            batch.state, batch.begun = "creating", now()
            self.book.save(batch)  # before the call that costs money
            self._opened(batch, await self._create(batch))
        except RunStopped:
            raise  # whether it was made is told by the next run
        except RequestFailed:
            self._unlink(batch)
            self.book.void(batch)
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
                return await self.server.call(lambda client: client.post("/batches", body=body, cast_to=object), once=True)
            except Unsure as error:  # it may have arrived
                last = error
                if found := await self._adopt(batch):
                    return found
            except RequestFailed as error:
                if not isinstance(error, Missing) and "not found" not in str(error) and "not exist" not in str(error):
                    raise
                last = error  # its file is not visible yet
            await self.server.pause(trial)
        raise RequestFailed(f"no batch could be made of {batch.file}: {last}")
