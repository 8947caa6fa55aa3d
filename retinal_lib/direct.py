"""Many requests now: asks a teacher with several in flight, stores each reply before it is read, settles each image."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from retinal_lib import check, conversation
from retinal_lib.errors import UserError
from retinal_lib.teacher import Request, RequestFailed, RunStopped, Teacher
from retinal_lib.vault import Reply, Sample, Vault

_CHUNK, _CHUNK_SECONDS = 64, 0.05


@dataclass(frozen=True)
class Entry:
    """One image of a plan: its state so far, and the request where it is to be asked for."""

    sample: Sample
    request: Request | None = None


class Direct:
    """One pass over a plan. `done` counts settled images, `asked` the requests sent now, `stopped` says why no more are."""

    def __init__(self, vault: Vault, teacher: Teacher, concurrency: int, attempts: int):
        self.vault, self.teacher, self.concurrency, self.attempts = vault, teacher, concurrency, attempts
        self.done = self.asked = 0
        self.stopped = ""

    async def run(self, plan: Iterator[Entry]) -> None:
        """Settles every image of the plan. UserError: the vault cannot be written."""
        queue: asyncio.Queue = asyncio.Queue(maxsize=2 * self.concurrency)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._produce(plan, queue))
                for _ in range(self.concurrency):
                    group.create_task(self._work(queue))
        except* UserError as errors:
            raise errors.exceptions[0] from None
        finally:
            await self.teacher.close()

    async def _produce(self, plan: Iterator[Entry], queue: asyncio.Queue) -> None:
        # in a thread, a few at a time: reading masks takes long enough to hold up the requests in flight
        while chunk := await asyncio.to_thread(self._chunk, plan):
            for planned in chunk:
                await queue.put(planned)
        for _ in range(self.concurrency):
            await queue.put(None)

    def _chunk(self, plan: Iterator[Entry]) -> list[tuple[Entry, list[Reply]]]:
        chunk, end = [], time.monotonic() + _CHUNK_SECONDS
        while len(chunk) < _CHUNK and time.monotonic() < end and (entry := next(plan, None)) is not None:
            known: list[Reply] = []
            if entry.request:
                try:
                    entry.sample.key = entry.request.key(self.teacher.identity)
                    known = self.vault.replies(entry.sample.key)
                except UserError as error:  # the picture to be sent cannot be read
                    entry.sample.state, entry.sample.reason = "skipped", str(error)
            chunk.append((entry, known))
        return chunk

    async def _work(self, queue: asyncio.Queue) -> None:
        while (planned := await queue.get()) is not None:
            entry, known = planned
            if entry.sample.state != "skipped":
                await self._settle(entry.sample, entry.request, known)
            await self.vault.put(entry.sample)
            self.done += 1

    async def _settle(self, sample: Sample, request: Request, known: list[Reply]) -> None:
        """Ends in one state: the first reply that holds a conversation decides; none does after all attempts: rejected."""
        sample.state = "rejected"
        for reply in known:
            if self._take(sample, request, reply):
                return
        for attempt in range(len(known) + 1, self.attempts + 1):
            try:
                if self.stopped:
                    raise RunStopped(self.stopped)
                self.asked += 1
                raw, request_id = await self.teacher.ask(request)
            except RequestFailed as error:
                sample.state, sample.reason = "failed", str(error)
                return
            except RunStopped as error:
                sample.state, sample.reason = "failed", f"not answered, the run stopped: {error}"
                self.stopped = self.stopped or str(error)
                return
            reply = Reply(sample.key, attempt, sample.id, raw, request_id)
            await self.vault.put(reply)  # on disk before anything is read from it
            if self._take(sample, request, reply):
                return

    def _take(self, sample: Sample, request: Request, reply: Reply) -> bool:
        reading = self.teacher.read(reply.raw)
        for name, count in reading.tokens.items():
            sample.tokens[name] = sample.tokens.get(name, 0) + count
        sample.attempt, sample.request_id = reply.attempt, reply.request_id
        sample.reason = reading.problem
        if reading.problem:
            return False
        try:
            turns = conversation.parse(reading.text)
        except conversation.Unparsable as error:
            sample.reason = f"the reply is no conversation: {error}"
            return False
        sample.state, sample.conversation = "accepted", conversation.to_llava(turns)
        sample.findings = check.findings(turns, request.case.description, request.track, request.style)
        return True
