"""Answer files: answers to a question file, written as they come and continued where a run stopped."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from retinal_lib import display, files, paths, typed_paths
from retinal_lib.dataset.image_files import natural
from retinal_lib.display import FullTable, count
from retinal_lib.errors import UserError, from_validation
from retinal_lib.files import atomic_write, file_sha256, json_line, read_bytes, read_jsonl, read_object, sha256, why_unusable
from retinal_lib.inference.batching import Answerer, ImageQuestions, Options, answer_in_batches
from retinal_lib.inference.question_files import Entry
from retinal_lib.parsing import Unreadable, json_value

_WAIT = 60  # seconds to wait while another process writes


class _Pair(BaseModel, coerce_numbers_to_str=True):
    question: str = ""
    answer: str


class _Row(BaseModel, coerce_numbers_to_str=True):
    """A row of an answers file; other keys may stand beside these."""

    id: str
    image: str = ""
    qa_pairs: list[_Pair]
    key: str = ""
    error: str = ""


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
        kept = f", {had} of them {'was' if had == 1 else 'were'} there already" if had else ""
        failed = len(self.failed)
        return f"{self._entries}: {len(self.rows) - failed} answered, {failed} failed{kept}"

    @property
    def _entries(self) -> str:
        """How many entries there are, called images where each has its own."""
        images = len({row["image"] for row in self.rows})
        asked = count(len(self.rows), "entry")
        return count(images, "image") if images == len(self.rows) else f"{asked} about {count(images, 'image')}"

    @property
    def table(self) -> FullTable:
        """Every question with its answer or error."""
        columns: dict[str, list[str]] = {"image": [], "question": [], "answer": []}
        for row in self.rows:
            for pair in row["qa_pairs"] or [{"question": "", "answer": f"error: {row['error']}"}]:
                for name, value in (("image", row["image"]), ("question", pair["question"]), ("answer", pair["answer"])):
                    columns[name].append(value)
        return FullTable(columns)

    def require(self) -> None:
        """UserError: nothing was answered, or more failed than allowed."""
        lost = self.failed
        if lost and (len(lost) == len(self.rows) or len(lost) / len(self.rows) > self.max_failed):
            raise UserError(
                f"{len(lost)} of {self._entries} have no answer (max_failed allows {self.max_failed:.0%}); "
                f"the first, {lost[0]['id']}: {lost[0]['error']}"
            )


def answer(
    model: Answerer,
    entries: Sequence[Entry],
    file: str | Path,
    max_failed: float = 0.05,
    append: bool = False,
    ask: Callable[..., Iterable[tuple[object, list[str] | UserError]]] = answer_in_batches,
    **options: object,
) -> AnswerFile:
    """Asks the model and writes `{"id", "image", "qa_pairs": [{"question", "answer"}], "key"}` for each entry, a line each.

    `key` is the sha256 of all that changes the answers: the picture's bytes, the questions, the options and the model with its
    weights. What the file holds under the same key is not asked again, unless `append` is set: then all are asked, and their
    rows added. Nothing is removed from the file, so that entries of other calls stay, also where several processes write at
    once. An entry that cannot be asked has an `error` and no pairs, and is asked again in the next run.
    UserError: the file holds answers of another model or of other options.
    """
    chosen, file = Options.of(**options), typed_paths.expand(file)
    settings = _settings(model, chosen)
    _claim(file, settings)
    keys, unreadable = _keys(entries, settings)
    there = load(file) if file.is_file() else []
    kept = {} if append else {row["key"]: row for row in there if "error" not in row and row.get("key")}
    done = {entry.id: kept[keys[entry.id]] for entry in entries if keys.get(entry.id) in kept}
    waiting = {entry.id: entry for entry in entries if entry.id not in done}
    with display.Bar(len(entries), "images") as bar:
        bar.show(len(done))

        def put(entry: Entry, answers: list[str] | UserError) -> None:
            done[entry.id] = _row(entry, answers, keys.get(entry.id, ""))
            _append(file, done[entry.id])
            bar.show(len(done))

        for id_, error in unreadable.items():
            put(waiting[id_], error)
        asked = [ImageQuestions(e.id, e.path, e.questions) for e in waiting.values() if e.id not in unreadable]
        for id_, answers in ask(model, asked, chosen):
            put(waiting[id_], answers)
    rows = [done[entry.id] for entry in entries]
    return AnswerFile(file, tuple(rows), len(waiting), max_failed, tuple(model.notes.values()))


def _keys(entries: Sequence[Entry], settings: str) -> tuple[dict[str, str], dict[str, UserError]]:
    """The key of each entry by its id, and why an entry has none."""
    keys: dict[str, str] = {}
    unreadable: dict[str, UserError] = {}
    hashes: dict[Path, str] = {}
    for entry in entries:
        try:
            if entry.error or entry.path is None:
                raise UserError(entry.error)
            if entry.path not in hashes:
                if why := why_unusable(entry.path):
                    raise UserError(f"{entry.image} is not a readable image: {why}")
                hashes[entry.path] = file_sha256(entry.path)
            keys[entry.id] = sha256(json_line([settings, entry.id, entry.image, hashes[entry.path], entry.questions]))
        except UserError as error:
            unreadable[entry.id] = error
        except OSError as error:
            unreadable[entry.id] = UserError(f"{entry.image} cannot be read ({error.strerror or error})")
    return keys, unreadable


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Lets one process after the other write. UserError: the file cannot be written."""
    if file.is_dir():
        raise UserError(f"{paths.display_path(file)} is a folder; name a file in it")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", timeout=_WAIT):
            yield
    except Timeout as error:
        raise UserError(f"{paths.display_path(file)} has been locked by another process for {_WAIT} seconds") from error
    except OSError as error:
        raise UserError(f"{paths.display_path(file)} cannot be written ({error.strerror or error})") from error


def _claim(file: Path, settings: str) -> None:
    """Notes beside the file whose answers it holds. UserError: they are of another model or of other options."""
    options = file.with_name(f"{file.name}.options")
    with _locked(file):
        before = read_bytes(options).decode(errors="replace") if file.is_file() and options.is_file() else settings
        if before != settings:
            raise UserError(
                f"{paths.display_path(file)} holds answers of other settings ({before.strip()}); "
                "pass another answers_file, or remove it"
            )
        with atomic_write(options) as lines:
            lines.write(settings)


def remove(file: Path, model: Answerer) -> None:
    """Removes an answers file of this model; one of another model, or of which no settings are known, stays."""
    options = file.with_name(f"{file.name}.options")
    if options.is_file() and _of_options(options).get("model") == model.identity:
        files.remove(file)


def _of_options(file: Path) -> dict:
    """What stands in the file of options, as `_settings` writes it; nothing where it is damaged."""
    try:
        return read_object(file)
    except UserError:
        return {}


def _append(file: Path, row: dict) -> None:
    """Adds a row at the end, after removing a torn line that a killed run left. UserError: the file cannot be written."""
    with _locked(file), file.open("ab+") as lines:
        if lines.tell() and (lines.seek(-1, os.SEEK_END), lines.read())[1] != b"\n":
            lines.seek(0)
            content = lines.read()
            start = content.rfind(b"\n") + 1
            try:
                json_value(content[start:])  # a whole row that lacks its line end stays
                lines.write(b"\n")
            except Unreadable:
                lines.truncate(start)
        lines.write(f"{json_line(row)}\n".encode())


def _row(entry: Entry, answers: list[str] | UserError, key: str) -> dict:
    row = {"id": entry.id, "image": entry.image, "qa_pairs": []}
    if isinstance(answers, UserError):
        return row | {"key": key, "error": str(answers)}
    pairs = zip(entry.questions, answers, strict=True)
    return row | {"qa_pairs": [{"question": question, "answer": text} for question, text in pairs], "key": key}


def _settings(model: Answerer, chosen: Options) -> str:
    """All that changes the answers: a file is not continued with another model or other options."""
    options = chosen.given if model.own_defaults else chosen.all
    given = {name: value for name, value in options.items() if name != "batch_size"}
    return json.dumps({"model": model.identity, **given}) + "\n"


def load(file: str | Path) -> list[dict]:
    """Reads the rows of an answers file in natural order of their ids; an error counts until its entry is answered, and a torn
    last line is skipped. UserError: a line is not such a row."""
    file = typed_paths.expand(file)
    answered: dict[tuple[str, str], dict] = {}
    failed: dict[str, dict] = {}
    for number, row in read_jsonl(file, torn_end=True):
        try:
            row = row | _Row.model_validate(row).model_dump(exclude_unset=True)
        except ValidationError as error:
            raise from_validation(error, f"{file}, line {number}") from error
        if "error" in row:
            failed[row["id"]] = row
        else:
            answered[row["id"], str(row.get("key", ""))] = row
            failed.pop(row["id"], None)
    return sorted([*answered.values(), *failed.values()], key=lambda row: natural(row["id"]))
