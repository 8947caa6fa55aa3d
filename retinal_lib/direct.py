"""Many requests now: asks a teacher with several in flight, stores each reply before it is read, settles each image."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from retinal_lib import check, conversation
from retinal_lib.errors import UserError
from retinal_lib.teacher import Request, RequestFailed, RunStopped, Teacher
from retinal_lib.vault import Reply, Sample, Vault


@dataclass(frozen=True)
class Entry:
    """One image of a plan: its state so far, and the request where it is to be asked for."""

    sample: Sample
    request: Request | None = None


class Direct:
    """One pass over a plan. `done` counts settled images, `asked` the requests sent now, `stopped` says why no more are.
    `heavy` says that the plan takes long over an image."""

    def __init__(self, vault: Vault, teacher: Teacher, concurrency: int, attempts: int, heavy: bool = False):
        self.vault, self.teacher, self.concurrency, self.attempts = vault, teacher, concurrency, attempts
        self.heavy, self.slots = heavy, asyncio.Semaphore(concurrency)
        self.done = self.asked = 0
        self.stopped = ""

    async def run(self, plan: Iterator[Entry]) -> None:
        """Settles every image of the plan. UserError: the vault cannot be written."""
        turn = asyncio.Lock()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(2 * self.concurrency):  # while some are in flight, others make ready or store what came
                    group.create_task(self._work(plan, turn))
            await self.vault.settled()
        except* UserError as errors:
            raise errors.exceptions[0] from None
        finally:
            await self.teacher.close()

    async def _work(self, plan: Iterator[Entry], turn: asyncio.Lock) -> None:
        while True:
            if self.heavy:  # in a thread, one at a time: reading masks would hold up the requests in flight
                async with turn:
                    planned = await asyncio.to_thread(self._next, plan)
            else:  # quicker than handing over to a thread, which would fight for the interpreter
                planned = self._next(plan)
            if planned is None:
                return
            entry, known = planned
            if entry.request:
                await self._settle(entry.sample, entry.request, known)
            self.vault.settle(entry.sample)
            self.done += 1
            await asyncio.sleep(0)  # images that need no request let the others, and an interruption, in

    def _next(self, plan: Iterator[Entry]) -> tuple[Entry, list[Reply]] | None:
        entry = next(plan, None)
        if entry is None:
            return None
        if entry.request is None:
            return entry, []
        try:
            entry.sample.key = entry.request.key(self.teacher.identity)
        except UserError as error:  # the picture to be sent cannot be read
            entry.sample.state, entry.sample.reason = "failed", str(error)
            return Entry(entry.sample), []
        return entry, self.vault.replies(entry.sample.key)

    async def _settle(self, sample: Sample, request: Request, known: list[Reply]) -> None:
        """Ends in one state: the first reply that holds a conversation decides; none does after all attempts: rejected."""
        sample.state = "rejected"
        for reply in known:
            if self._take(sample, request, reply):
                return
        for attempt in range(len(known) + 1, self.attempts + 1):
            try:
                async with self.slots:
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
