"""Answer files: answers to a question file, written as they come and continued where a run stopped."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from retinal_lib import display, paths
from retinal_lib.display import FullTable, count
from retinal_lib.errors import UserError
from retinal_lib.files import atomic_write, json_line, read_jsonl, write_jsonl
from retinal_lib.inference.batching import Answerer, ImageQuestions, Options, answer_in_batches
from retinal_lib.inference.question_files import Entry


@dataclass(frozen=True)
class AnswerFile:
    """The answers to a question file, in the order of its entries."""

    file: Path
    rows: tuple[dict, ...]
    asked: int  # entries that were answered now; the others were in the file already
    max_failed: float
    notes: tuple[str, ...] = ()  # images that the model sees otherwise than their owners may expect

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
        """Every question with its answer or error."""
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
    ask: Callable[..., Iterable[tuple[object, list[str] | UserError]]] = answer_in_batches,
    **options: object,
) -> AnswerFile:
    """Asks the model and writes `{"id", "image", "qa_pairs": [{"question", "answer"}]}` for each entry, a line each.

    An entry that cannot be asked has an `error` and no pairs; such entries are asked again in the next run, what was answered
    with the same questions is not. A torn last line, left by a run that was killed, is skipped. At the end the lines have the
    order of the entries. UserError: the file holds answers of another model or of other options.
    """
    chosen, file = Options.of(**options), Path(file).expanduser()
    settings = _settings(model, chosen)
    kept = _kept(file, settings)
    done = {e.id: kept[e.id] for e in entries if e.id in kept and _is_answered(kept[e.id], e)}
    waiting = {entry.id: entry for entry in entries if entry.id not in done}
    with atomic_write(_options_file(file)) as options_file:
        options_file.write(settings)
    write_jsonl(file, list(done.values()))
    with file.open("a", encoding="utf-8") as lines, display.Bar(len(entries), "images") as bar:

        def put(row: dict) -> None:
            lines.write(json_line(row) + "\n")
            lines.flush()
            done[row["id"]] = row
            bar.show(len(done))

        for entry in waiting.values():
            if entry.error:
                put(_row(entry, UserError(entry.error)))
        asked = [ImageQuestions(entry.id, entry.path, entry.questions) for entry in waiting.values() if not entry.error]
        for key, answers in ask(model, asked, chosen):
            put(_row(waiting[key], answers))
    rows = [done[entry.id] for entry in entries]
    write_jsonl(file, rows)
    return AnswerFile(file, tuple(rows), len(waiting), max_failed, tuple(model.notes.values()))


def _row(entry: Entry, answers: list[str] | UserError) -> dict:
    row = {"id": entry.id, "image": entry.image, "qa_pairs": []}
    if isinstance(answers, UserError):
        return row | {"error": str(answers)}
    pairs = zip(entry.questions, answers, strict=True)
    return row | {"qa_pairs": [{"question": question, "answer": text} for question, text in pairs]}


def _is_answered(row: dict, entry: Entry) -> bool:
    return "error" not in row and tuple(pair["question"] for pair in row["qa_pairs"]) == entry.questions


def _settings(model: Answerer, options: Options) -> str:
    """All that changes the answers: a file is not continued with another model or other options."""
    given = {name: value for name, value in options.given.items() if name != "batch_size"}
    return json.dumps({"model": model.identity, **given}) + "\n"


def _options_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.options")


def _kept(file: Path, settings: str) -> dict[str, dict]:
    """The rows of an earlier run, by id. UserError: it had other settings."""
    if not file.is_file():
        return {}
    options = _options_file(file)
    if options.is_file() and (before := options.read_text(encoding="utf-8")) != settings:
        raise UserError(
            f"{paths.display_path(file)} holds answers of other settings ({before.strip()}); "
            "pass another answers_file, or remove it"
        )
    return {row["id"]: row for row in load(file)}


def load(file: str | Path) -> list[dict]:
    """Reads the rows of an answers file; a torn last line is skipped. UserError: a line is not such a row."""
    file, rows = Path(file).expanduser(), []
    for number, row in read_jsonl(file, torn_end=True):
        try:
            rows.append(row | {"id": str(row["id"]), "qa_pairs": list(row["qa_pairs"])})
        except (KeyError, TypeError) as error:
            raise UserError(f"{file}, line {number}: expected an object with id, image and qa_pairs") from error
    return rows
