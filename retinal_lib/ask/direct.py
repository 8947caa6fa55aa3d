"""Mode direct: asks a teacher, several requests at once, and stores each reply before it is read."""

import asyncio
from collections.abc import Iterator

from retinal_lib.ask.attempts import AttemptLimits, Attempts
from retinal_lib.ask.batch_collect import BatchCollect
from retinal_lib.ask.batch_ledger import PENDING, BatchLedger, custom_id
from retinal_lib.ask.runner import Plan, PlannedImage, Progress, RunResult
from retinal_lib.ask.vault import ImageState, Reply, Vault
from retinal_lib.errors import UserError
from retinal_lib.teacher import cost
from retinal_lib.teacher.teachers import Request, RequestFailed, RunStopped, Teacher

PENDING_REASON = "an answer is pending in a batch; run again with mode batch to fetch it"


class Direct:
    """Mode direct. `slow_plan` says that planning an image takes long, `collect` fetches the answers of pending batches,
    `attempts` reads replies into states."""

    def __init__(
        self,
        vault: Vault,
        teacher: Teacher,
        budget: cost.Budget,
        concurrency: int,
        limits: AttemptLimits,
        slow_plan: bool = False,
        collect: BatchCollect | None = None,
        attempts: type[Attempts] = Attempts,
    ):
        self.vault, self.teacher, self.budget, self.concurrency, self.limits = vault, teacher, budget, concurrency, limits
        self._attempts, self._slow_plan, self._slots = attempts, slow_plan, asyncio.Semaphore(concurrency)
        ledger = BatchLedger(vault)
        self._ledger = ledger if ledger.batches(*PENDING) else None
        self._collect = collect if self._ledger else None
        self._done = self._asked = 0
        self._stopped = ""

    @property
    def progress(self) -> Progress:
        """Images that have a state, and what the teacher is waiting for."""
        return Progress(self._done, self.teacher.note)

    async def run(self, plan: Plan) -> RunResult:
        """Asks for every image of the plan that has no answer yet. UserError: the vault cannot be written."""
        if self._collect:
            await self._collect.collect()
        self.vault.clear_states()
        images, turn = plan(), asyncio.Lock()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(2 * self.concurrency):  # while some wait for the teacher, others are planned or stored
                    group.create_task(self._work(images, turn))
            await self.vault.flush()
        except* UserError as errors:
            raise errors.exceptions[0] from None
        finally:
            await self.teacher.close()
        problems = [*self._collect.problems, self._collect.stopped] if self._collect else []
        return RunResult(
            asked=self._asked,
            stopped=self._stopped,
            over_budget=self.budget.exhausted,
            problems=tuple(filter(None, problems)),
            unknown=tuple(self._collect.unknown) if self._collect else (),
            failed_results=self._collect.failed_results if self._collect else (),
        )

    async def _work(self, images: Iterator[PlannedImage], turn: asyncio.Lock) -> None:
        while True:
            # large masks and pictures take up to a second an image, while replies would wait; other images are planned here,
            # since a thread would compete for the interpreter and be slower
            if self._slow_plan:
                async with turn:
                    planned = await asyncio.to_thread(self._next, images)
            else:
                planned = self._next(images)
            if planned is None:
                return
            image, replies = planned
            if image.request:
                await self._ask_until_accepted(image.row, image.request, replies)
            self.vault.save_state(image.row)
            self._done += 1
            await asyncio.sleep(0)  # lets other tasks, and an interruption, run between images that need no request

    def _next(self, images: Iterator[PlannedImage]) -> tuple[PlannedImage, list[Reply]] | None:
        image = next(images, None)
        if image is None:
            return None
        if not image.set_key(self.teacher.identity):
            return PlannedImage(image.row), []
        key = image.row.key
        return image, self.vault.replies(key).get(key, [])

    async def _ask_until_accepted(self, row: ImageState, request: Request, replies: list[Reply]) -> None:
        """Asks until a reply is accepted; where none is after all attempts, the image is rejected."""
        attempts = self._attempts(row, request, self.teacher, self.limits).add_all(replies)
        while attempts.open:
            if self._ledger and self._ledger.is_pending(custom_id(row.key, attempts.attempt)):
                row.state, row.reason = "pending", PENDING_REASON
                return
            try:
                reply = await self._ask(row, attempts.request, attempts.attempt)
            except RequestFailed as error:
                row.state, row.reason = "failed", str(error)
                return
            except RunStopped as error:
                row.state, row.reason = "failed", f"not answered, the run stopped: {error}"
                self._stopped = self._stopped or str(error)
                return
            if reply is None:
                row.state, row.reason = "pending", self.budget.exhausted
                return
            attempts.add(reply)

    async def _ask(self, row: ImageState, request: Request, attempt: int) -> Reply | None:
        """Asks for a reply and stores it before it is read; None where it could exceed the budget."""
        reserved, paid = 0.0, 0.0
        try:
            async with self._slots:  # while one reply is stored, the next request is sent
                if self._stopped:
                    raise RunStopped(self._stopped)
                if self.budget.limit is not None:
                    bound = self.budget.upper_bound(self.teacher.token_limit(request), "direct")
                    if not await self.budget.reserve_later(bound):
                        return None
                    reserved = bound
                self._asked += 1
                refused = len(self.teacher.notes)
                raw, request_id = await self.teacher.ask(request)
                if len(self.teacher.notes) > refused:
                    BatchLedger(self.vault).save_refused_options(self.teacher)
            reply = Reply(row.key, attempt, row.id, raw, request_id, "direct", *self.teacher.origin)
            await self.vault.save_reply(reply)
            paid = self._paid(raw)
        finally:
            self.budget.release(reserved, paid)
        return reply

    def _paid(self, raw: str) -> float:
        if self.budget.limit is None or self.budget.price is None:
            return 0.0
        tokens = self.teacher.read(raw).tokens
        if "prompt" not in tokens:
            self._stopped = self._stopped or cost.UNCOUNTED
        return self.budget.price.of(tokens, "direct")
