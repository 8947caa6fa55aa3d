"""The modes of a run: its runner, and the checks of data-use terms and budget."""

from collections.abc import Callable, Iterable
from functools import partial

from retinal_lib import paths
from retinal_lib.ask.attempts import AttemptLimits
from retinal_lib.ask.batch_collect import BatchCollect
from retinal_lib.ask.batch_ledger import PENDING, BatchLedger
from retinal_lib.ask.batch_submit import BatchSubmit
from retinal_lib.ask.direct import Direct
from retinal_lib.ask.file_exchange import DryRun, PackMode, PlanPass, RecheckMode, UnpackMode
from retinal_lib.ask.request_files import QueueCapacity, RequestFileWriter
from retinal_lib.ask.runner import Runner
from retinal_lib.ask.vault import Vault
from retinal_lib.dataset.page import Page
from retinal_lib.errors import UserError
from retinal_lib.reader.second_reader import Samples, WithReader
from retinal_lib.reader.verdicts import Reading
from retinal_lib.run.context import RunContext
from retinal_lib.run.settings import Settings
from retinal_lib.slots.sheet import FactSheet
from retinal_lib.teacher import cost, destination
from retinal_lib.teacher.destination import Permission
from retinal_lib.teacher.teachers import OpenAITeacher, Teacher

RECHECKED = "not asked: this run only checks stored replies again"


def runner(context: RunContext, vault: Vault, sheet_of: Callable[[str], FactSheet]) -> Runner:
    """Makes the runner for a run's mode, with its second reader, if it has one; `sheet_of` gives the facts told of an image.
    UserError: what was spent so far cannot be counted against its budget."""
    run, settings = _runner(context, vault), context.settings
    if context.reader is None or settings.dry_run:
        return run
    BatchLedger(vault).recall_refused_options(context.reader)
    closed = RECHECKED if settings.mode == "recheck" else ""
    return WithReader(
        run, Samples(vault, sheet_of, settings.seed, settings.reader_share), vault, partial(_reading, context), closed
    )


def _runner(context: RunContext, vault: Vault) -> Runner:
    settings, folder = context.settings, context.folder
    if context.asks_server:
        BatchLedger(vault).recall_refused_options(context.teacher)
    if settings.dry_run:
        return DryRun(_closed_writer(context, vault, "would be asked for"), folder)
    if settings.mode == "batch":
        writer, besides = partial(_writer, context, vault), _besides(context, context.reader)
        return BatchSubmit(vault, context.teacher, writer, context.limits, folder, settings.wait, besides)
    if settings.mode == "pack":
        return PackMode(partial(_writer, context, vault), folder)
    if settings.mode == "unpack":
        return UnpackMode(_closed_writer(context, vault, "not packed yet; run with mode=pack"), folder, settings.results)
    if settings.mode == "recheck":
        return RecheckMode(_closed_writer(context, vault, RECHECKED), folder)
    slow = settings.images == "send" or context.page.kind("boxes") is not None
    collect = BatchCollect(vault, context.teacher, folder, _besides(context, context.reader)) if context.asks_server else None
    budget, limits = _budget(context, vault, context.teacher), _attempt_limits(settings)
    return Direct(vault, context.teacher, budget, context.concurrency, limits, slow, collect)


def _reading(context: RunContext, readings: Vault, closed: str) -> Runner:
    """The second reader's pass over samples, whose states go to `readings`; nothing is asked where `closed` says why."""
    settings, reader, folder = context.settings, context.reader, context.folder
    limits, besides = AttemptLimits(settings.attempts, 0), _besides(context, context.teacher)
    if closed or settings.mode == "batch":
        budget = cost.Budget(None, None) if closed else None

        def writer(queue: Callable[[], QueueCapacity]) -> RequestFileWriter:
            estimate = cost.Estimate(reader.price, "verdicts", cost.answer_limit(reader.options))
            spent = budget or _budget(context, readings, reader)
            return RequestFileWriter(readings, reader, spent, estimate, context.limits, limits, queue, attempts=Reading)

        if closed:
            return PlanPass(writer(lambda: QueueCapacity(closed=closed)), folder)
        return BatchSubmit(readings, reader, writer, context.limits, folder, settings.wait, besides)
    collect, slow = BatchCollect(readings, reader, folder, besides), context.page.kind("boxes") is not None
    return Direct(readings, reader, _budget(context, readings, reader), context.concurrency, limits, slow, collect, Reading)


def _besides(context: RunContext, other: Teacher | None) -> str:
    """The model whose batches are fetched by the run's other pass: the second reader's, or the teacher's."""
    return other.model if context.reader and context.reader.model != context.teacher.model and other else ""


def _writer(
    context: RunContext, vault: Vault, queue: Callable[[], QueueCapacity] = QueueCapacity, **more: str
) -> RequestFileWriter:
    budget, limits = _budget(context, vault, context.teacher), _attempt_limits(context.settings)
    return RequestFileWriter(vault, context.teacher, budget, context.estimate(), context.limits, limits, queue, **more)


def _closed_writer(context: RunContext, vault: Vault, reason: str) -> RequestFileWriter:
    """A writer that writes no request files, for this reason."""
    return _writer(context, vault, lambda: QueueCapacity(closed=reason))


def _attempt_limits(settings: Settings) -> AttemptLimits:
    """How often an image is asked for. The offline teacher would give the same reply again."""
    repairs = 0 if settings.mode == "recheck" or settings.teacher == "offline" else settings.max_repairs
    return AttemptLimits(settings.attempts, repairs)


def _budget(context: RunContext, vault: Vault, teacher: Teacher) -> cost.Budget:
    """The run's budget for requests to a teacher, with what was paid so far and what pending batches can cost."""
    limit = context.settings.budget_usd
    if limit is None or context.settings.dry_run:
        return cost.Budget(None, None)
    spent = pending = 0.0
    for server_, model, channel, usage, uncounted in vault.usage():
        if uncounted:
            raise UserError(cost.UNCOUNTED)
        spent += _price(context, server_, model).of(usage, channel)
    for batch in BatchLedger(vault).batches(*PENDING):
        answers = batch.completion_bound or batch.lines * context.teacher.answer_bound
        price = _price(context, batch.server, batch.model)
        pending += price.of({"prompt": batch.prompt_bound, "completion": answers}, "batch")
    return cost.Budget(limit, teacher.price, spent, pending)


def _price(context: RunContext, server_: str, model: str) -> cost.Price:
    """The price of a model whose replies are in the run's folder. UserError: it is not in prices.yaml."""
    price = cost.find_price(server_, model) if server_ else context.teacher.price  # the first version of vaults has no server
    if price is None:
        raise UserError(
            f"budget_usd also needs a price for {model} at {server_}, whose replies are in "
            f"{paths.display_path(context.folder)}; add it to {paths.display_path(cost.prices_file())}"
        )
    return price


def permission(of: Page, names: Iterable[str], settings: Settings) -> Permission | None:
    """Returns leave for the data of a dataset's images of these names to go where the run sends it; None where nothing leaves
    this machine. UserError: the terms do not allow it."""
    if settings.teacher == "offline" or settings.mode in ("unpack", "recheck"):
        return None
    return destination.permission(destination.terms_of(of, names), settings.terms_accepted, settings.mode == "pack")


def check_budget(teacher: OpenAITeacher, pictures: bool) -> None:
    """Checks that the highest cost of a request is known. UserError: it is not, so that a budget cannot be kept."""
    where = paths.display_path(cost.prices_file())
    if teacher.price is None:
        raise UserError(f"budget_usd needs a price for {teacher.model} at {teacher.server.name}; add it to {where}")
    if pictures and teacher.price.image is None:
        raise UserError(f"budget_usd needs to know how many tokens a picture takes: add image for {teacher.model} to {where}")
    if not teacher.answer_bound:
        raise UserError(
            "budget_usd needs to know how long an answer can be: set max_tokens under `request` in params/<dataset>.yaml, "
            f"or most_output for {teacher.model} in {where}"
        )
