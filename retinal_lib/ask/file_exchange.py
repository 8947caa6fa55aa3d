"""Passes over a plan that call no server: a dry run, and requests and answers that are carried as files, where a server is
reached by other means (another machine, a browser, vLLM's run_batch)."""

from collections.abc import Callable, Iterator
from pathlib import Path

from retinal_lib import paths
from retinal_lib.ask import result_files
from retinal_lib.ask.batch_ledger import Answer, Line
from retinal_lib.ask.request_files import EXPORTED_REASON, Pack
from retinal_lib.ask.runner import Change, Plan, Progress, RunResult, UnknownAnswer, in_thread
from retinal_lib.ask.vault import Vault
from retinal_lib.check.findings import is_error
from retinal_lib.display import are, count
from retinal_lib.errors import UserError

REQUESTS = "requests"
RESULTS = "results"


class DryPass:
    """Reports what would be sent, sends nothing. The reason that images wait for is the one for which the pack's queue is
    closed."""

    def __init__(self, pack: Pack, folder: Path):
        self.pack, self.ledger, self.folder = pack, pack.ledger, folder

    @property
    def progress(self) -> Progress:
        """Images that have a state."""
        return Progress(self.pack.done)

    async def run(self, plan: Plan) -> RunResult:
        """Gives every image of the plan a state. UserError: the vault or a file cannot be written."""
        return await in_thread(lambda: self._pass(plan), self.pack.halt)

    def _pass(self, plan: Plan) -> RunResult:
        for _ in self.pack.files(plan(), self.folder, "{}.jsonl"):
            pass
        return RunResult(to_ask=self.pack.estimate)


class Recheck(DryPass):
    """Mode recheck: re-runs the checks on stored replies; makes no requests."""

    def _pass(self, plan: Plan) -> RunResult:
        vault = self.pack.vault
        before = {id_: (state, reason) for id_, state, reason in vault.rows("SELECT id, state, reason FROM samples")}
        super()._pass(plan)
        changes = tuple(_changes(vault, before))
        answered = any(vault.rows("SELECT 1 FROM samples WHERE attempt > 0 LIMIT 1"))
        no_result = "" if answered else "no reply on hand belongs to a request of this run; give the parameters of that run"
        first = "; ".join(f"{c.id}: {c.before} -> {c.after} ({c.why})" for c in changes[:3])
        note = f"Checked again: {count(len(changes), 'image')} changed state (changes.jsonl), the first: {first}"
        notes = (note,) if changes else ("Checked again: no image changed its state.",)
        return RunResult(no_result=no_result, notes=notes, changes=changes)


def _changes(vault: Vault, before: dict[str, tuple[str, str]]) -> Iterator[Change]:
    """The images whose state is another than before."""
    for row in vault.samples():
        state, reason = before.get(row.id, ("not asked", ""))
        if state != row.state:
            errors = "; ".join(dict.fromkeys(f["text"] for f in row.findings if is_error(f)))
            why = errors or row.reason or (f"no longer found: {reason}" if reason else "it now passes the checks")
            yield Change(row.id, row.image, state, row.state, why)


class Packing(DryPass):
    """Mode pack: writes everything that has no answer yet into `requests/`, anew each time it runs. `new_pack` makes a pack,
    given the reason of images whose request was packed."""

    def __init__(self, new_pack: Callable[..., Pack], folder: Path):
        super().__init__(new_pack(packed_reason=EXPORTED_REASON), folder)

    def _pass(self, plan: Plan) -> RunResult:
        for old in self.ledger.batches("exchange", "packing"):
            self.ledger.void(old)
        folder = self.folder / REQUESTS
        for path in folder.glob("requests-*.jsonl"):
            path.unlink()
        for batch in self.pack.files(plan(), folder, "requests-{}.jsonl"):
            batch.state = "exchange"
            self.ledger.save(batch)
        packed, files = self.pack.packed, self.ledger.batches("exchange")
        notes = (
            f"{count(packed, 'request')} {are(packed)} packed in {count(len(files), 'file')} in {paths.display_path(folder)}.",
            f"Have them answered, put the result files into {paths.display_path(self.folder / RESULTS)}, "
            "run with -p mode unpack.",
        )
        return RunResult(notes=notes)


class Unpacking(DryPass):
    """Mode unpack: reads result files from a folder, in any order, repeated, mixed or partial."""

    def __init__(self, pack: Pack, folder: Path, results: Path | None):
        super().__init__(pack, folder)
        self._results = results or folder / RESULTS
        self._unknown: dict[UnknownAnswer, None] = {}
        self._unreadable: list[str] = []
        self._stored, self._models = 0, set[str]()

    def _pass(self, plan: Plan) -> RunResult:
        files = sorted(self._results.rglob("*.jsonl")) if self._results.is_dir() else []
        if not files:
            raise UserError(f"no result files (*.jsonl) in {self._results}; put them there, or pass -p results <folder>")
        for path in files:
            self._store(path)
        super()._pass(plan)
        where = paths.display_path(self._results)
        return RunResult(
            no_result="" if self._stored else f"no answer in {where} belongs to a request of this run",
            unknown=tuple(self._unknown),
            unreadable=tuple(self._unreadable),
            notes=tuple(self._notes(where)),
        )

    def _notes(self, where: str) -> Iterator[str]:
        if others := sorted(self._models - {self.pack.teacher.model}):
            yield f"Answers of {', '.join(others)} were among them; this run is of {self.pack.teacher.model}: pass -p model."
        yield f"{self._stored:,} answers were taken from {where}; -p mode pack packs what is missing."

    def _store(self, path: Path) -> None:
        origins = self.ledger.origins()
        for answers, unreadable in result_files.answers(path):
            self._unreadable += unreadable
            known = self.ledger.known({answer.custom_id for _, answer in answers})
            new: list[tuple[Line, Answer]] = []
            for number, answer in answers:
                line = known.get(answer.custom_id)
                if line is None:
                    self._unknown[UnknownAnswer(answer.custom_id, path.name, number)] = None
                elif line.state != "answered" and (answer.raw is not None or line.state == "open"):
                    new.append((line, answer))
                    self._stored += answer.raw is not None
                    self._models.add(origins[line.batch][1])
            self.ledger.store(new)
