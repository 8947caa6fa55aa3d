"""Passes over a plan that call no server: a dry run, a recheck, and requests and answers exchanged as files, for a server that
is reached by other means (another machine, a browser, vLLM's run_batch)."""

from collections.abc import Callable, Iterator
from pathlib import Path

from retinal_lib import paths
from retinal_lib.ask import result_files
from retinal_lib.ask.batch_ledger import Batch
from retinal_lib.ask.request_files import EXPORTED_REASON, RequestFileWriter
from retinal_lib.ask.result_files import Failures
from retinal_lib.ask.runner import Change, Plan, Progress, RunResult, UnknownAnswer, in_thread
from retinal_lib.ask.vault import Vault
from retinal_lib.check.findings import is_error
from retinal_lib.display import are, count
from retinal_lib.errors import UserError
from retinal_lib.files import remove

REQUESTS = "requests"
RESULTS = "results"
AGAIN = "mode=pack packs what may be sent again"


class PlanPass:
    """A pass that sends nothing: images without an answer become pending, with the reason for which the writer's queue is
    closed."""

    def __init__(self, writer: RequestFileWriter, folder: Path):
        self.writer, self.ledger, self.folder = writer, writer.ledger, folder

    @property
    def progress(self) -> Progress:
        """Images that have a state."""
        return Progress(self.writer.done)

    async def run(self, plan: Plan) -> RunResult:
        """Gives every image of the plan a state. UserError: the vault or a file cannot be written."""
        return await in_thread(lambda: self._pass(plan), self.writer.halt)

    def _pass(self, plan: Plan) -> RunResult:
        for _ in self.writer.files(plan(), self.folder, "{}.jsonl"):
            pass
        return RunResult(to_ask=self.writer.estimate)


class DryRun(PlanPass):
    """A dry run: reports what would be sent."""


class RecheckMode(PlanPass):
    """Mode recheck: checks the stored replies again; makes no requests."""

    def _pass(self, plan: Plan) -> RunResult:
        vault = self.writer.vault
        before = {id_: (state, reason) for id_, state, reason in vault.rows("SELECT id, state, reason FROM samples")}
        super()._pass(plan)
        changes = tuple(_changes(vault, before))
        answered = any(vault.rows("SELECT 1 FROM samples WHERE attempt > 0 LIMIT 1"))
        no_result = "" if answered else "no stored reply belongs to a request of this run; pass the parameters of the first run"
        first = "; ".join(f"{c.id}: {c.before} -> {c.after} ({c.why})" for c in changes[:3])
        note = f"Checked again: {count(len(changes), 'image')} changed state (changes.jsonl), the first: {first}"
        notes = (note,) if changes else ("Checked again: no image changed its state.",)
        return RunResult(no_result=no_result, notes=notes, changes=changes)


def _changes(vault: Vault, before: dict[str, tuple[str, str]]) -> Iterator[Change]:
    for row in vault.samples():
        state, reason = before.get(row.id, ("not asked", ""))
        if state != row.state:
            errors = "; ".join(dict.fromkeys(f["text"] for f in row.findings if is_error(f)))
            why = errors or row.reason or (f"no longer found: {reason}" if reason else "it now passes the checks")
            yield Change(row.id, row.image, state, row.state, why)


class PackMode(PlanPass):
    """Mode pack: writes all requests without an answer to new files in `requests/`. `new_writer` makes the writer, given the
    reason stored with images whose request was written."""

    def __init__(self, new_writer: Callable[..., RequestFileWriter], folder: Path):
        super().__init__(new_writer(packed_reason=EXPORTED_REASON), folder)

    def _pass(self, plan: Plan) -> RunResult:
        folder, earlier = self.folder / REQUESTS, self.ledger.batches("exchange")
        for killed in self.ledger.batches("packing"):
            self._remove(killed)
        for batch in self.writer.files(plan(), folder, "requests-{}.jsonl"):
            batch.state = "exchange"
            self.ledger.save(batch)
        for batch in earlier:
            if self.ledger.is_replaced(batch):
                self._remove(batch)
        files = [batch for batch in self.ledger.batches("exchange") if (folder / batch.file).is_file()]
        packed, kept = self.writer.packed, [batch for batch in earlier if batch.number in {b.number for b in files}]
        notes = (
            f"{count(packed, 'request')} {are(packed)} packed in {count(len(files) - len(kept), 'file')} in "
            f"{paths.display_path(folder)}.",
            *(
                f"{batch.file} is kept: not all of its answers are here, and not all of its requests were packed again."
                for batch in kept
            ),
            f"Send them to a server, put the result files into {paths.display_path(self.folder / RESULTS)}, "
            "run with mode=unpack.",
        )
        return RunResult(notes=notes)

    def _remove(self, batch: Batch) -> None:
        remove(self.folder / REQUESTS / batch.file)
        self.ledger.mark_never_ran(batch)


class UnpackMode(PlanPass):
    """Mode unpack: reads result files from a folder; they may come in any order, repeatedly, mixed or incomplete."""

    def __init__(self, writer: RequestFileWriter, folder: Path, results: Path | None):
        super().__init__(writer, folder)
        self._results = results or folder / RESULTS
        self._unknown: dict[UnknownAnswer, None] = {}
        self._unreadable: list[str] = []
        self._first: dict[str, int] = {}  # custom_id -> hash of the answer that was read first
        self._several: set[str] = set()  # those with another answer besides
        self._stored, self._models, self._failures = 0, set[str](), Failures()
        self._refused = set(writer.teacher.server.refused.changes)  # options, before these results

    def _pass(self, plan: Plan) -> RunResult:
        files = sorted(self._results.rglob("*.jsonl")) if self._results.is_dir() else []
        if not files:
            raise UserError(f"no result files (*.jsonl) in {self._results}; put them there, or pass results=<folder>")
        for path in files:
            self._store(path)
        super()._pass(plan)
        where = paths.display_path(self._results)
        failed = self._failures.sentence(f"in {where}")
        none = f"{failed}; {AGAIN}" if failed else f"no answer in {where} belongs to a request of this run"
        return RunResult(
            no_result="" if self._stored else none,
            failed_results=(failed,) if failed else (),
            unknown=tuple(self._unknown),
            unreadable=tuple(self._unreadable),
            several=len(self._several),
            notes=tuple(self._notes(where)),
        )

    def _notes(self, where: str) -> Iterator[str]:
        if others := sorted(self._models - {self.writer.teacher.model}):
            by = f"Some answers are by {', '.join(others)}, this run asks {self.writer.teacher.model}"
            yield f"{by}: pass model={others[0] if len(others) == 1 else '…'}."
        yield f"{self._stored:,} answers were taken from {where}; mode=pack packs what is missing."

    def _store(self, path: Path) -> None:
        origins = self.ledger.origins()
        for matched in result_files.matched_answers(path, self.ledger):
            self._unreadable += matched.unreadable
            self._unknown.update(dict.fromkeys(matched.unknown))
            self._failures.add(matched.known)
            for _, answer in matched.known:
                if answer.raw is not None and self._first.setdefault(answer.custom_id, hash(answer.raw)) != hash(answer.raw):
                    self._several.add(answer.custom_id)
            wanted = [
                (line, answer)
                for line, answer in matched.known
                if line.state != "answered" and (answer.raw is not None or line.state == "open")
            ]
            new = self.ledger.unread(wanted)
            self._stored += sum(answer.raw is not None for _, answer in new)
            self._models.update(origins[line.batch][1] for line, _ in new)
            self.ledger.store(result_files.in_new_form(new, self.writer.teacher, self._refused))
        if set(self.writer.teacher.server.refused.changes) != self._refused:
            self.ledger.save_refused_options(self.writer.teacher)
