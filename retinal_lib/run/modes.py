"""The mode of a run: who carries it out, where data may go, what it may cost."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from retinal_lib import display as shown
from retinal_lib import files, paths
from retinal_lib.ask.attempts import Entry, Limits
from retinal_lib.ask.batch_collect import BatchCollect
from retinal_lib.ask.batch_ledger import PENDING, BatchLedger
from retinal_lib.ask.batch_submit import BatchSubmit
from retinal_lib.ask.direct import Direct
from retinal_lib.ask.file_exchange import DryPass, Packing, Unpacking
from retinal_lib.ask.request_files import Pack
from retinal_lib.ask.vault import ImageState, Vault
from retinal_lib.check.findings import is_error
from retinal_lib.dataset.page import Page
from retinal_lib.errors import UserError
from retinal_lib.run.context import RunContext
from retinal_lib.run.settings import Settings
from retinal_lib.teacher import cost, server
from retinal_lib.teacher.teachers import OpenAITeacher


class Change(NamedTuple):
    """An image whose state, or whose findings, are others than before."""

    id: str
    image: str
    before: str
    after: str
    why: str


class Rechecking(DryPass):
    """Mode recheck."""

    def __init__(self, pack: Pack, folder: Path):
        super().__init__(pack, folder)
        self._before: dict[str, tuple[str, str]] = {}
        self.changes: list[Change] = []
        self._answered = 0

    async def run(self, plans: Callable[[], Iterator[Entry]]) -> None:
        """As `DryPass`, with what the images were before kept to compare."""
        rows = self.pack.vault.rows("SELECT id, state, reason FROM samples")
        self._before = {id_: (state, reason) for id_, state, reason in rows}
        await super().run(plans)

    @property
    def no_result(self) -> str:
        """Why the run came to nothing, or nothing."""
        return "" if self._answered else "no reply on hand belongs to a request of this run; give the parameters of that run"

    def compare(self, row: ImageState) -> None:
        """Notes an image that changed."""
        self._answered += bool(row.attempt)
        before, reason = self._before.get(row.id, ("not asked", ""))
        if before != row.state:
            wrong = "; ".join(dict.fromkeys(f["text"] for f in row.findings if is_error(f)))
            why = wrong or row.reason or (f"no longer found: {reason}" if reason else "it now stands up to the checks")
            self.changes.append(Change(row.id, row.image, before, row.state, why))

    def told(self) -> Iterator[str]:
        """What changed."""
        count = len(self.changes)
        if not count:
            yield "Checked again: no image changed its state."
            return
        first = "; ".join(f"{c.id}: {c.before} -> {c.after} ({c.why})" for c in self.changes[:3])
        yield f"Checked again: {shown.count(count, 'image')} changed state (changes.jsonl), the first: {first}"

    def write(self) -> None:
        """Writes changes.jsonl, one line an image; without any, there is no such file."""
        path = self.folder / "changes.jsonl"
        if not self.changes:
            path.unlink(missing_ok=True)
            return
        with files.atomic_write(path) as file:
            for change in self.changes:
                file.write(files.json_line(change._asdict()) + "\n")


Way = Direct | BatchSubmit | DryPass


def way(context: RunContext, vault: Vault) -> Way:
    """What carries out a job. UserError: its budget cannot be kept."""
    chosen, budget = context.settings, _budget(context, vault)
    if chosen.dry_run:
        return DryPass(_pack(context, vault, "would be asked for"), context.folder)
    if chosen.mode == "batch":
        return BatchSubmit(vault, context.teacher, lambda: _pack(context, vault), context.limits, context.folder, chosen.wait)
    if chosen.mode == "pack":
        return Packing(_pack(context, vault), context.folder)
    if chosen.mode == "unpack":
        return Unpacking(_pack(context, vault, "not packed yet; run with -p mode pack"), context.folder, chosen.results)
    if chosen.mode == "recheck":
        return Rechecking(_pack(context, vault, "not asked: this run only checks again what is on hand"), context.folder)
    heavy = chosen.images == "send" or context.page.kind("boxes") is not None
    collect = BatchCollect(vault, context.teacher, context.folder) if chosen.teacher == "openai" else None
    return Direct(vault, context.teacher, budget, chosen.concurrency, _rules(chosen), heavy, collect)


def _pack(context: RunContext, vault: Vault, held: str = "") -> Pack:
    pack = Pack(vault, context.teacher, _budget(context, vault), context.estimate(), context.limits, _rules(context.settings))
    pack.held = held
    return pack


def _rules(chosen: Settings) -> Limits:
    """How often an image is asked for. The offline teacher would say the same again."""
    repairs = 0 if chosen.mode == "recheck" or chosen.teacher == "offline" else chosen.max_repairs
    return Limits(chosen.attempts, repairs)


def _budget(context: RunContext, vault: Vault) -> cost.Budget:
    """The budget as it now stands: what was paid, and what batches under way can cost."""
    limit = context.settings.budget_usd
    if limit is None or context.settings.dry_run:
        return cost.Budget(None, None)
    spent = under_way = 0.0
    for server_, model, channel, usage, uncounted in vault.usage():
        if uncounted:
            raise UserError(cost.UNCOUNTED)
        spent += _price(context, server_, model).of(usage, channel)
    for batch in BatchLedger(vault).batches(*PENDING):
        answers = batch.completion_bound or batch.lines * context.teacher.answer_bound
        under_way += _price(context, batch.server, batch.model).of(
            {"prompt": batch.prompt_bound, "completion": answers}, "batch"
        )
    return cost.Budget(limit, context.teacher.price, spent, under_way)


def _price(context: RunContext, server_: str, model: str) -> cost.Price:
    """The price of what lies in a run's folder. UserError: it is not known, so that a budget cannot be kept."""
    found = cost.find(server_, model) if server_ else context.teacher.price  # the first version did not keep the server
    if found is None:
        raise UserError(
            f"budget_usd needs a price for {model} at {server_} too, whose replies lie in "
            f"{paths.display_path(context.folder)}; add it to {paths.display_path(cost.prices_file())}"
        )
    return found


def check_terms(page: Page, chosen: Settings) -> None:
    """UserError: the teacher is a remote server, and the dataset's terms do not let its data go there."""
    if chosen.teacher == "offline" or chosen.mode in ("unpack", "recheck") or page.may_send == "yes":
        return
    if chosen.mode == "pack" and server.unnamed():  # files of which nobody knows where they go
        if not chosen.terms_accepted:
            raise UserError(
                f"request files of {page.name} would hold facts about its images ({page.licence}): {page.terms}; if they "
                "will be answered only on machines where this data may be, pass -p terms_accepted True"
            )
        return
    if server.is_loopback(server.address()):
        return
    if page.may_send == "no":
        raise UserError(f"{page.name} may not be sent to a remote server ({page.licence}): {page.terms}")
    if not chosen.terms_accepted:
        raise UserError(
            f"{page.name} may be sent to a remote server only with leave ({page.licence}): {page.terms}; "
            "with that leave, pass -p terms_accepted True"
        )


def check_budget(teacher: OpenAITeacher, pictures: bool) -> None:
    """UserError: what a request costs at most is not known, so that a budget cannot be kept."""
    where = paths.display_path(cost.prices_file())
    if teacher.price is None:
        raise UserError(f"budget_usd needs a price for {teacher.model} at {teacher.server.name}; add it to {where}")
    if pictures and teacher.price.image is None:
        raise UserError(f"budget_usd needs to know what a picture takes: add image for {teacher.model} to {where}")
    if not teacher.answer_bound:
        raise UserError(
            "budget_usd needs to know how long an answer can be: set max_tokens under `request` in params/<dataset>.yaml, "
            f"or most_output for {teacher.model} in {where}"
        )
