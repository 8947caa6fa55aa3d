"""Answers to a question file, written as they come and taken up again where a run stopped."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from retinal_lib import display, paths
from retinal_lib.display import FullTable, count
from retinal_lib.errors import UserError
from retinal_lib.files import atomic_write, json_line, read_jsonl
from retinal_lib.inference.batching import Answerer, Asked, Options, run
from retinal_lib.inference.question_files import Entry


@dataclass(frozen=True)
class Answered:
    """What came of a question file: its entries with answers, those with an error, in the order asked."""

    file: Path
    rows: tuple[dict, ...]
    asked: int  # entries that were answered now; the others stood in the file already
    max_failed: float
    noticed: tuple[str, ...] = ()  # images that the model sees otherwise than their owners may think

    @property
    def failed(self) -> list[dict]:
        """The entries that have an error."""
        return [row for row in self.rows if "error" in row]

    @property
    def summary(self) -> str:
        """The counts in a sentence."""
        had = len(self.rows) - self.asked
        kept = f", {had} of them were there already" if had else ""
        failed = len(self.failed)
        return f"{count(len(self.rows), 'image')}: {len(self.rows) - failed} answered, {failed} failed{kept}"

    @property
    def table(self) -> FullTable:
        """Every question with its answer, or the error in its place."""
        columns: dict[str, list[str]] = {"image": [], "question": [], "answer": []}
        for row in self.rows:
            for pair in row["qa_pairs"] or [{"question": "", "answer": f"error: {row['error']}"}]:
                for name, value in (("image", row["image"]), *pair.items()):
                    columns[name].append(value)
        return FullTable(columns)

    def require(self) -> None:
        """UserError: nothing was answered, or more failed than allowed."""
        lost = self.failed
        if lost and (len(lost) == len(self.rows) or len(lost) > self.max_failed * len(self.rows)):
            raise UserError(
                f"{len(lost)} of {len(self.rows)} images have no answer (max_failed allows {self.max_failed:.0%}); "
                f"the first, {lost[0]['id']}: {lost[0]['error']}"
            )


def answer(
    model: Answerer,
    entries: Sequence[Entry],
    file: str | Path,
    max_failed: float = 0.05,
    ask: Callable[..., Iterable[tuple[object, list[str] | UserError]]] = run,
    **options: object,
) -> Answered:
    """Asks the model and writes `{"id", "image", "qa_pairs": [{"question", "answer"}]}` for each entry, a line each.

    An entry that cannot be asked has an `error` and no pairs; such entries are asked again in the next run, what was answered
    with the same questions is not. The last line of a run that was killed may be torn; it is passed over. At the end the lines
    stand in the order of the entries. UserError: the file holds answers of another model or of other options.
    """
    chosen, file = Options.of(**options), Path(file).expanduser()
    stamp = _stamp(model, chosen)
    kept = _kept(file, stamp)
    done = {e.id: kept[e.id] for e in entries if e.id in kept and _same(kept[e.id], e)}
    todo = [entry for entry in entries if entry.id not in done]
    by_id = {entry.id: entry for entry in todo}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_name(f"{file.name}.options").write_text(stamp, encoding="utf-8")
    had = len(done)
    write(file, list(done.values()))
    with file.open("a", encoding="utf-8") as lines, display.Bar(len(entries), "images") as bar:

        def put(row: dict) -> None:
            lines.write(json_line(row) + "\n")
            lines.flush()
            done[row["id"]] = row
            bar.show(len(done))

        for entry in [entry for entry in todo if entry.error]:
            put(_row(entry, entry.error))
        asked = [Asked(entry.id, entry.path, entry.questions) for entry in todo if not entry.error]
        for key, found in ask(model, asked, chosen):
            put(_row(by_id[key], str(found) if isinstance(found, UserError) else found))
    rows = [done[entry.id] for entry in entries]
    write(file, rows)
    return Answered(file, tuple(rows), len(rows) - had, max_failed, tuple(model.noticed.values()))


def _row(entry: Entry, found: list[str] | str) -> dict:
    row = {"id": entry.id, "image": entry.image, "qa_pairs": []}
    if isinstance(found, str):
        return row | {"error": found}
    pairs = zip(entry.questions, found, strict=True)
    return row | {"qa_pairs": [{"question": question, "answer": text} for question, text in pairs]}


def _same(row: dict, entry: Entry) -> bool:
    return "error" not in row and tuple(pair["question"] for pair in row["qa_pairs"]) == entry.questions


def _stamp(model: Answerer, options: Options) -> str:
    """What decides the answers: a file of one run is not taken up with another model or other options."""
    given = {name: value for name, value in options.given.items() if name != "batch_size"}
    return json.dumps({"model": model.identity, **given}) + "\n"


def _kept(file: Path, stamp: str) -> dict[str, dict]:
    if not file.is_file():
        return {}
    beside = file.with_name(f"{file.name}.options")
    if beside.is_file() and beside.read_text(encoding="utf-8") != stamp:
        raise UserError(
            f"{paths.display_path(file)} holds answers of other settings ({beside.read_text(encoding='utf-8').strip()}); "
            "pass another answers_file, or remove it"
        )
    return {row["id"]: row for row in load(file)}


def load(file: str | Path) -> list[dict]:
    """The rows of an answers file; a torn last line is passed over. UserError: it cannot be read."""
    file, rows = Path(file).expanduser(), []
    for number, row in read_jsonl(file, torn_end=True):
        try:
            rows.append(row | {"id": str(row["id"]), "qa_pairs": list(row["qa_pairs"])})
        except (KeyError, TypeError) as error:
            raise UserError(f"{file}, line {number}: expected an object with id, image and qa_pairs") from error
    return rows


def write(file: Path, rows: list[dict]) -> Path:
    """Puts rows into a file, whole or not at all, and returns it."""
    with atomic_write(file) as lines:
        lines.writelines(json_line(row) + "\n" for row in rows)
    return file
