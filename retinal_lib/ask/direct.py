"""Many requests now: asks a teacher with several in flight, stores each reply before it is read, settles each image."""

import asyncio
from collections.abc import Callable, Iterator

from retinal_lib.ask.attempts import Attempts, Entry, Limits
from retinal_lib.ask.batch_collect import BatchCollect
from retinal_lib.ask.batch_ledger import PENDING, BatchLedger, custom_id
from retinal_lib.ask.vault import ImageState, Reply, Vault
from retinal_lib.errors import UserError
from retinal_lib.teacher import cost
from retinal_lib.teacher.teachers import Request, RequestFailed, RunStopped, Teacher

WAITS = "an answer is pending in a batch; run again with mode batch to fetch it"


class Direct:
    """One pass over a plan. `done` counts settled images, `asked` the requests sent now, `stopped` says why no more are.
    `heavy` says that the plan takes long over an image, `collect` fetches what batches have under way."""

    broken: tuple[str, ...] = ()
    no_result = ""

    def __init__(
        self,
        vault: Vault,
        teacher: Teacher,
        budget: cost.Budget,
        concurrency: int,
        limits: Limits,
        heavy: bool = False,
        collect: BatchCollect | None = None,
    ):
        self.vault, self.teacher, self.budget, self.concurrency, self.limits = vault, teacher, budget, concurrency, limits
        self.heavy, self.slots = heavy, asyncio.Semaphore(concurrency)
        self.ledger = BatchLedger(vault) if BatchLedger(vault).batches(*PENDING) else None
        self.collect = collect if self.ledger else None
        self.done = self.asked = 0
        self.stopped = ""

    @property
    def note(self) -> str:
        """What it is waiting for, for the progress line."""
        return self.teacher.note

    @property
    def over(self) -> str:
        """Why the budget lets nothing more be asked, or nothing."""
        return self.budget.exhausted

    @property
    def trouble(self) -> list[str]:
        """What kept batches from being fetched."""
        return [*self.collect.trouble, *filter(None, [self.collect.stopped])] if self.collect else []

    @property
    def unknown(self) -> dict[tuple[str, str, int], None]:
        """Answers in batches that belong to no request of this run."""
        return self.collect.unknown if self.collect else {}

    async def run(self, plans: Callable[[], Iterator[Entry]]) -> None:
        """Settles every image of the plan. UserError: the vault cannot be written."""
        if self.collect:
            await self.collect.collect()
        self.vault.begin()
        plan, turn = plans(), asyncio.Lock()
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
                await self._settle(entry.row, entry.request, known)
            self.vault.settle(entry.row)
            self.done += 1
            await asyncio.sleep(0)  # images that need no request let the others, and an interruption, in

    def _next(self, plan: Iterator[Entry]) -> tuple[Entry, list[Reply]] | None:
        entry = next(plan, None)
        if entry is None:
            return None
        if entry.request is None:
            return entry, []
        try:
            entry.row.key = entry.request.key(self.teacher.identity)
        except UserError as error:  # the picture to be sent cannot be read
            entry.row.state, entry.row.reason = "failed", str(error)
            return Entry(entry.row), []
        return entry, self.vault.replies(entry.row.key)

    async def _settle(self, row: ImageState, request: Request, known: list[Reply]) -> None:
        """Ends in one state: the first reply that stands up to the checks decides; none does after all attempts: rejected."""
        attempts = Attempts(row, request, self.teacher, self.limits).take_all(known)
        while attempts.open:
            if self.ledger and self._under_way(custom_id(row.key, attempts.attempt)):
                row.state, row.reason = "pending", WAITS
                return
            try:
                reply = await self._ask(row, attempts.request, attempts.attempt)
            except RequestFailed as error:
                row.state, row.reason = "failed", str(error)
                return
            except RunStopped as error:
                row.state, row.reason = "failed", f"not answered, the run stopped: {error}"
                self.stopped = self.stopped or str(error)
                return
            if reply is None:
                row.state, row.reason = "pending", self.budget.exhausted
                return
            attempts.take(reply)

    def _under_way(self, name: str) -> bool:
        return self.ledger.status([name], 1).get(name, ("",))[0] == "pending"

    async def _ask(self, row: ImageState, request: Request, attempt: int) -> Reply | None:
        """A new reply, on disk before anything is read from it; None where it could pass the budget."""
        aside, paid = 0.0, 0.0
        try:
            async with self.slots:  # while one is stored, the next is in flight
                if self.stopped:
                    raise RunStopped(self.stopped)
                if self.budget.limit is not None:
                    worst = self.budget.upper_bound(self.teacher.bound(request), "direct")
                    if not await self.budget.reserve_later(worst):
                        return None
                    aside = worst
                self.asked += 1
                raw, request_id = await self.teacher.ask(request)
            reply = Reply(row.key, attempt, row.id, raw, request_id, "direct", *self.teacher.origin)
            await self.vault.put(reply)
            paid = self._paid(raw)
        finally:
            self.budget.release(aside, paid)
        return reply

    def _paid(self, raw: str) -> float:
        if self.budget.limit is None or self.budget.price is None:
            return 0.0
        tokens = self.teacher.read(raw).tokens
        if "prompt" not in tokens:
            self.stopped = self.stopped or cost.UNCOUNTED
        return self.budget.price.of(tokens, "direct")
