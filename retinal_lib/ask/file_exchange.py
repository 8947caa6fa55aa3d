"""Requests that leave as files and come back as files, where a server is reached by other means: another machine, a browser,
vLLM's run_batch."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from retinal_lib import display as shown
from retinal_lib import paths
from retinal_lib.ask import result_files as unpack
from retinal_lib.ask.attempts import Entry
from retinal_lib.ask.batch_ledger import Answer, Line
from retinal_lib.ask.request_files import WAITING, Pack
from retinal_lib.errors import UserError

REQUESTS = "requests"
RESULTS = "results"


class DryPass:
    """One pass over a plan that sends nothing: what is still to be asked waits for the reason that its pack holds."""

    note, asked, stopped, over, no_result, trouble = "", 0, "", "", "", ()

    def __init__(self, pack: Pack, folder: Path):
        self.pack, self.ledger, self.folder = pack, pack.ledger, folder
        self.unknown: dict[tuple[str, str, int], None] = {}
        self.broken: list[str] = []

    @property
    def done(self) -> int:
        """Images that have a state."""
        return self.pack.done

    async def run(self, plans: Callable[[], Iterator[Entry]]) -> None:
        """Settles every image of the plan. UserError: the vault or a file cannot be written."""
        task = asyncio.ensure_future(asyncio.to_thread(self._walk, plans))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self.pack.halt = True
            await asyncio.wait([task])
            raise

    def _walk(self, plans: Callable[[], Iterator[Entry]]) -> None:
        for _ in self.pack.files(plans(), self.folder, "{}.jsonl"):
            pass


class Packing(DryPass):
    """Mode pack: writes everything that has no answer yet into `requests/`, anew each time it runs."""

    def told(self) -> Iterator[str]:
        """What to do with the files."""
        files = self.ledger.batches("exchange")
        count = shown.count(len(files), "file")
        requests = f"{shown.count(self.pack.packed, 'request')} {shown.are(self.pack.packed)}"
        yield f"{requests} packed in {count} in {paths.display_path(self.folder / REQUESTS)}."
        results = paths.display_path(self.folder / RESULTS)
        yield f"Have them answered, put the result files into {results}, then run with -p mode unpack."

    def _walk(self, plans: Callable[[], Iterator[Entry]]) -> None:
        for old in (batch for batch in self.ledger.batches("exchange", "packing")):
            self.ledger.void(old)
        folder, self.pack.sending = self.folder / REQUESTS, WAITING["exported"]
        for path in folder.glob("requests-*.jsonl"):
            path.unlink()
        for batch in self.pack.files(plans(), folder, "requests-{}.jsonl"):
            batch.state = "exchange"
            self.ledger.save(batch)


class Unpacking(DryPass):
    """Mode unpack: takes result files from a folder, in any order, repeated, mixed or partial. `unknown` lists the answers
    that belong to no request of this run, `broken` the lines that tell nothing."""

    def __init__(self, pack: Pack, folder: Path, results: Path | None):
        super().__init__(pack, folder)
        self.results = results or folder / RESULTS
        self.taken, self.models = 0, set()

    def told(self) -> Iterator[str]:
        """What was taken."""
        if others := sorted(self.models - {self.pack.teacher.model}):
            yield f"Answers of {', '.join(others)} were among them; this run is of {self.pack.teacher.model}: pass -p model."
        yield f"{self.taken:,} answers were taken from {paths.display_path(self.results)}; -p mode pack packs what is missing."

    @property
    def no_result(self) -> str:
        """Why the run came to nothing, or nothing."""
        return "" if self.taken else f"no answer in {paths.display_path(self.results)} belongs to a request of this run"

    def _walk(self, plans: Callable[[], Iterator[Entry]]) -> None:
        found = sorted(self.results.rglob("*.jsonl")) if self.results.is_dir() else []
        if not found:
            raise UserError(f"no result files (*.jsonl) in {self.results}; put them there, or pass -p results <folder>")
        for path in found:
            self._take(path)
        super()._walk(plans)

    def _take(self, path: Path) -> None:
        origins = self.ledger.origins()
        for answers, wrong in unpack.answers(path):
            self.broken += wrong
            known = self.ledger.known({answer.custom_id for _, answer in answers})
            taken: list[tuple[Line, Answer]] = []
            for number, answer in answers:
                line = known.get(answer.custom_id)
                if line is None:
                    self.unknown[answer.custom_id, path.name, number] = None
                elif line.state != "answered" and (answer.raw is not None or line.state == "open"):
                    taken.append((line, answer))
                    self.taken += answer.raw is not None
                    self.models.add(origins[line.batch][1])
            self.ledger.take(taken)
