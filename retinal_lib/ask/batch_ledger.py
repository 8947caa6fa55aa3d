"""The vault's record of batches: which request was sent where, under which id, and with what result."""

import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

import orjson

from retinal_lib.ask.vault import PUT_REPLY, Reply, Vault
from retinal_lib.teacher.teachers import OpenAITeacher

# states of a batch: packing (nothing was sent), creating (the call that costs money was about to be made), open (the server
# has it), exchange (the user carries its file), done (everything was fetched), void (it never ran)
PENDING = ("creating", "open")
# states of a line, as stored in vaults: open, answered, and
RETRYABLE = "passing"  # it failed, and may be sent again
REJECTED = "final"  # the server refused it
NEVER_SUBMITTED = "void"


@dataclass
class Batch:
    """A request file and its batch. Token counts are for the whole file, `begun` is in Unix seconds."""

    number: int
    state: str
    server: str
    model: str
    file: str
    sha256: str = ""
    lines: int = 0
    bytes: int = 0
    tokens: int = 0  # of its prompts, as estimated
    prompt_bound: int = 0  # the most prompt tokens that the server can count
    completion_bound: int = 0
    file_id: str = ""
    batch_id: str = ""
    status: str = ""
    begun: float = 0.0
    looks: int = 0  # how often it was finished, but its results incomplete


class Line(NamedTuple):
    """A request in a batch."""

    custom_id: str
    batch: int
    key: str
    attempt: int
    sample: str
    state: str = "open"
    problem: str = ""


class Answer(NamedTuple):
    """The answer to a request: the raw reply, or why there is none and whether the request may be sent again. `new_form`: in
    another form than before, since the server refused one of its options. `sha256`: of the line that holds no reply."""

    custom_id: str
    raw: str | None
    request_id: str = ""
    problem: str = ""
    retryable: bool = False
    new_form: bool = False
    sha256: str = ""


_COLUMNS = [f.name for f in fields(Batch)]
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM batches"
_PUT = f"INSERT OR REPLACE INTO batches VALUES ({', '.join('?' * len(_COLUMNS))})"
_PUT_LINE = "INSERT OR REPLACE INTO lines VALUES (?, ?, ?, ?, ?, ?, ?)"
_PUT_NOTE = "INSERT OR REPLACE INTO notes VALUES (?, ?)"
_MARK = "UPDATE lines SET state = ?, problem = ? WHERE custom_id = ? AND batch = ?"
_REST = "UPDATE lines SET state = ?, problem = ? WHERE batch = ? AND state = 'open'"


def custom_id(key: str, attempt: int) -> str:
    """Returns a request's name in a batch: at most 64 characters of [A-Za-z0-9_-], the same each time it is written,
    different for every image, split, dataset, teacher and attempt. It reveals nothing: only the vault knows its image."""
    return f"{key[:48]}-{attempt}"


class BatchLedger:
    """The tables of batches, of their lines and of notes. UserError wherever the vault cannot be written."""

    def __init__(self, vault: Vault):
        self.vault = vault

    @property
    def run(self) -> str:
        """The id that marks this vault's batches in a server's list; made once."""
        if not (run := self.note("run")):
            self.save_note("run", run := uuid.uuid4().hex)
        return run

    def note(self, name: str) -> str:
        """Returns a stored note, or an empty text."""
        return next((value for (value,) in self.vault.rows("SELECT value FROM notes WHERE name = ?", name)), "")

    def save_note(self, name: str, value: str) -> None:
        """Stores a note."""
        self.vault.write((_PUT_NOTE, [(name, value)]))

    def unread(self, answers: list[tuple[Line, Answer]]) -> list[tuple[Line, Answer]]:
        """Returns the answers without the failures whose lines were read before, and remembers those that were not: a result
        file stays in its folder when its failed requests have been packed again, and does not answer those."""
        failed = {f"result {answer.sha256}" for _, answer in answers if answer.raw is None}
        new = {name for name in failed if not self.note(name)}
        if new:
            self.vault.write((_PUT_NOTE, [(name, "read") for name in sorted(new)]))
        return [pair for pair in answers if pair[1].raw is not None or f"result {pair[1].sha256}" in new]

    def recall_refused_options(self, teacher: OpenAITeacher) -> None:
        """Gives the teacher the options that its server refused in earlier runs."""
        if stored := self.note(_refused_options(teacher)):
            teacher.server.refused.changes |= {name: tuple(change) for name, change in orjson.loads(stored).items()}

    def save_refused_options(self, teacher: OpenAITeacher) -> None:
        """Stores the options that the teacher's server refused so far."""
        self.save_note(_refused_options(teacher), orjson.dumps(teacher.server.refused.changes).decode())

    # --- batches ----------------------------------------------------------------------------------------------------

    def batches(self, *states: str) -> list[Batch]:
        """Returns the batches in these states, the oldest first."""
        marks = ", ".join("?" * len(states))
        return [Batch(*row) for row in self.vault.rows(f"{_SELECT} WHERE state IN ({marks}) ORDER BY number", *states)]

    def create(self, server: str, model: str, file: str) -> Batch:
        """Makes a batch in state packing; `file` may have {} where its number goes."""
        number = next(self.vault.rows("SELECT coalesce(max(number), 0) + 1 FROM batches"))[0]
        batch = Batch(number, "packing", server, model, file.format(f"{number:04}"))
        self.save(batch)
        return batch

    def save(self, batch: Batch) -> None:
        """Stores a batch."""
        self.vault.write(_saved(batch))

    def add(self, lines: Iterable[Line]) -> None:
        """Stores the requests of a batch."""
        self.vault.write((_PUT_LINE, lines))

    def mark_never_ran(self, batch: Batch) -> None:
        """Records that a batch never ran, so that its requests are sent again."""
        batch.state = "void"
        self.vault.write(_saved(batch), (_REST, [(NEVER_SUBMITTED, "", batch.number)]))

    def delete(self, batch: Batch) -> None:
        """Deletes a batch of which nothing was sent."""
        self.vault.write(
            ("DELETE FROM lines WHERE batch = ?", [(batch.number,)]),
            ("DELETE FROM batches WHERE number = ?", [(batch.number,)]),
        )

    # --- answers ----------------------------------------------------------------------------------------------------

    def lines(self, names: Iterable[str], batch: Batch | None = None) -> dict[str, Line]:
        """Returns the latest line of each named request, or its line in a batch; unknown names are left out."""
        return {line.custom_id: line for line in self._all_lines(names) if batch is None or line.batch == batch.number}

    def _all_lines(self, names: Iterable[str]) -> Iterator[Line]:
        names = list(names)
        marks = ", ".join("?" * len(names))
        rows = self.vault.rows(f"SELECT * FROM lines WHERE custom_id IN ({marks}) ORDER BY custom_id, batch", *names)
        return (Line(*row) for row in rows)

    def origins(self) -> dict[int, tuple[str, str]]:
        """Returns server and model of each batch, by its number."""
        rows = self.vault.rows("SELECT number, server, model FROM batches")
        return {number: (server, model) for number, server, model in rows}

    def store(self, answers: Iterable[tuple[Line, Answer]]) -> None:
        """Stores raw replies and the states of their lines in one transaction. Stored replies are not changed."""
        replies, marks, origins = [], [], self.origins()
        for line, answer in answers:
            state = NEVER_SUBMITTED if answer.new_form else RETRYABLE if answer.retryable else REJECTED
            if answer.raw is not None:
                state = "answered"
                replies.append(
                    Reply(line.key, line.attempt, line.sample, answer.raw, answer.request_id, "batch", *origins[line.batch])
                )
            marks.append((state, answer.problem, line.custom_id, line.batch))
        self.vault.write((PUT_REPLY, replies), (_MARK, marks))

    def finish(self, batch: Batch, problem: str) -> None:
        """Records that a batch is done; requests without an answer failed for this reason."""
        batch.state = "done"
        self.vault.write(_saved(batch), (_REST, [(RETRYABLE, problem, batch.number)]))

    def is_replaced(self, batch: Batch) -> bool:
        """Says whether each request of a batch has its reply, or is in a later batch whose answers are still to come."""
        query = (
            "SELECT 1 FROM lines AS line WHERE batch = ? "
            "AND NOT EXISTS (SELECT 1 FROM replies WHERE key = line.key AND attempt = line.attempt) "
            "AND NOT EXISTS (SELECT 1 FROM lines AS later JOIN batches ON number = later.batch WHERE later.batch > line.batch "
            "AND custom_id = line.custom_id AND batches.state IN ('exchange', 'creating', 'open')) LIMIT 1"
        )
        return not any(self.vault.rows(query, batch.number))

    def missing(self, batch: Batch) -> int:
        """Counts the requests of a batch that have no answer yet."""
        query = "SELECT count(*) FROM lines WHERE batch = ? AND state = 'open'"
        return next(self.vault.rows(query, batch.number))[0]

    def status(self, names: Iterable[str], max_sent: int) -> dict[str, tuple[str, str]]:
        """Returns the batch status of each request: ("pending" or "exported", ""), or ("failed", why); requests to be sent are
        left out. `max_sent` says how often a request may be sent in all."""
        exported = {batch.number for batch in self.batches("exchange")}
        statuses: dict[str, tuple[str, str]] = {}
        failures: dict[str, list[str]] = {}
        for line in self._all_lines(names):
            if line.state == "open":
                statuses[line.custom_id] = ("exported" if line.batch in exported else "pending"), ""
            elif line.state == REJECTED:
                statuses.setdefault(line.custom_id, ("failed", line.problem))
            elif line.state == RETRYABLE:
                failures.setdefault(line.custom_id, []).append(line.problem)
        for name, problems in failures.items():
            if len(problems) >= max_sent:
                why = f"{problems[-1]}; sent {len(problems)} times: raise batch: resubmissions, or use mode=direct"
                statuses.setdefault(name, ("failed", why))
        return statuses

    def is_pending(self, name: str) -> bool:
        """Says whether a request was sent and has no answer yet."""
        return self.status([name], 1).get(name, ("", ""))[0] == "pending"

    def not_sent(self, batch: Batch, why: str) -> None:
        """Stores why the images of a batch that could not be submitted are pending."""
        these = "id IN (SELECT sample FROM lines WHERE batch = ?)"
        change = f"UPDATE {self.vault.states} SET state = 'pending', reason = ? WHERE {these}"
        self.vault.write((change, [(why, batch.number)]))


def _refused_options(teacher: OpenAITeacher) -> str:
    return f"options refused by {teacher.server.name} for {teacher.model}"


def _saved(batch: Batch) -> tuple[str, list[tuple]]:
    return _PUT, [tuple(vars(batch)[name] for name in _COLUMNS)]


def now() -> float:
    """Returns the time in Unix seconds."""
    return time.time()
