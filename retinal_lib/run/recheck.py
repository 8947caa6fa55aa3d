"""A finished run checked again: asks nothing, reads the replies on hand anew, and says which images changed state, and why."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from retinal_lib import display as shown
from retinal_lib import files
from retinal_lib.ask.attempts import Entry
from retinal_lib.ask.file_exchange import Walk
from retinal_lib.ask.request_files import Pack
from retinal_lib.ask.vault import Sample
from retinal_lib.check.findings import is_error


class Change(NamedTuple):
    """An image whose state, or whose findings, are others than before."""

    id: str
    image: str
    before: str
    after: str
    why: str


class Rechecking(Walk):
    """Mode recheck."""

    def __init__(self, pack: Pack, folder: Path):
        super().__init__(pack, folder)
        self._before: dict[str, tuple[str, str]] = {}
        self.changes: list[Change] = []
        self._answered = 0

    async def run(self, plans: Callable[[], Iterator[Entry]]) -> None:
        """As `Walk`, with what the images were before kept to compare."""
        rows = self.pack.vault.rows("SELECT id, state, reason FROM samples")
        self._before = {id_: (state, reason) for id_, state, reason in rows}
        await super().run(plans)

    @property
    def vain(self) -> str:
        """Why the run came to nothing, or nothing."""
        return "" if self._answered else "no reply on hand belongs to a request of this run; give the parameters of that run"

    def compare(self, sample: Sample) -> None:
        """Notes an image that changed."""
        self._answered += bool(sample.attempt)
        before, reason = self._before.get(sample.id, ("not asked", ""))
        if before != sample.state:
            wrong = "; ".join(dict.fromkeys(f["text"] for f in sample.findings if is_error(f)))
            why = wrong or sample.reason or (f"no longer found: {reason}" if reason else "it now stands up to the checks")
            self.changes.append(Change(sample.id, sample.image, before, sample.state, why))

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
        with files.swapped(path) as file:
            for change in self.changes:
                file.write(files.dump(change._asdict()) + "\n")
