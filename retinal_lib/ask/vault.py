"""The run's SQLite file: every raw reply, never deleted, and the state of each image in the latest run."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import orjson
from filelock import FileLock, Timeout

from retinal_lib.errors import UserError

FINAL = ("accepted", "rejected", "failed", "skipped")  # the states of a run that is complete
# besides them, pending: an answer is still to come, or still to be asked for
_VERSION = 4
# replies are never changed or deleted: they were paid for. batches and lines say which requests were sent and answered (see
# batch_ledger.py). samples are the images' states in the latest run, readings what its second reader said of samples.
SAMPLES, READINGS = "samples", "readings"
_REPLIES = """
CREATE TABLE replies (
  key TEXT NOT NULL, attempt INTEGER NOT NULL, sample TEXT NOT NULL, raw TEXT NOT NULL, request_id TEXT NOT NULL,
  channel TEXT NOT NULL DEFAULT 'direct', server TEXT NOT NULL DEFAULT '', model TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (key, attempt)
);
"""
_SINCE_1 = """
ALTER TABLE replies ADD COLUMN channel TEXT NOT NULL DEFAULT 'direct';
ALTER TABLE replies ADD COLUMN server TEXT NOT NULL DEFAULT '';
ALTER TABLE replies ADD COLUMN model TEXT NOT NULL DEFAULT '';
DROP TABLE samples;
"""
_SINCE_2 = """
ALTER TABLE samples ADD COLUMN model TEXT NOT NULL DEFAULT '';
ALTER TABLE samples ADD COLUMN repairs TEXT NOT NULL DEFAULT '[]';
ALTER TABLE samples ADD COLUMN traces TEXT NOT NULL DEFAULT '[]';
"""
_STATES = """
CREATE TABLE {} (
  position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, image TEXT NOT NULL, split TEXT NOT NULL, state TEXT NOT NULL,
  reason TEXT NOT NULL, key TEXT NOT NULL, attempt INTEGER NOT NULL, request_id TEXT NOT NULL, prompt TEXT NOT NULL,
  conversation TEXT NOT NULL, findings TEXT NOT NULL, sources TEXT NOT NULL, usage TEXT NOT NULL,
  model TEXT NOT NULL DEFAULT '', repairs TEXT NOT NULL DEFAULT '[]', traces TEXT NOT NULL DEFAULT '[]'
);
"""
_SINCE_3 = _STATES.format(READINGS)
_SCHEMA = f"""{_STATES.format(SAMPLES)}{_SINCE_3}
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE batches (
  number INTEGER PRIMARY KEY, state TEXT NOT NULL, server TEXT NOT NULL, model TEXT NOT NULL, file TEXT NOT NULL,
  sha256 TEXT NOT NULL, lines INTEGER NOT NULL, bytes INTEGER NOT NULL, tokens INTEGER NOT NULL,
  prompt_bound INTEGER NOT NULL, completion_bound INTEGER NOT NULL, file_id TEXT NOT NULL, batch_id TEXT NOT NULL,
  status TEXT NOT NULL, begun REAL NOT NULL, looks INTEGER NOT NULL
);
CREATE TABLE lines (
  custom_id TEXT NOT NULL, batch INTEGER NOT NULL, key TEXT NOT NULL, attempt INTEGER NOT NULL, sample TEXT NOT NULL,
  state TEXT NOT NULL, problem TEXT NOT NULL, PRIMARY KEY (custom_id, batch)
);
"""


class Reply(NamedTuple):
    """A raw reply of a teacher."""

    key: str
    attempt: int
    sample: str  # the image's id
    raw: str
    request_id: str = ""
    channel: str = "direct"  # direct or batch: they have different prices
    server: str = ""
    model: str = ""


@dataclass
class ImageState:
    """The state of one image in the latest run, with the reason where it is not accepted."""

    position: int
    id: str
    image: str
    split: str
    state: str
    reason: str = ""
    key: str = ""
    attempt: int = 0
    request_id: str = ""
    prompt: str = ""  # sha256 of the system prompt
    model: str = ""  # as the server named it
    conversation: list[dict[str, str]] = field(default_factory=list)
    findings: list[dict] = field(default_factory=list)  # of the last reply: kind, severity, turn, part, span, text
    repairs: list[dict] = field(default_factory=list)  # of each reply that was sent back: attempt, findings
    traces: list[dict] = field(default_factory=list)  # of each number and claim: its place in the text, and its cell
    sources: list[dict] = field(default_factory=list)
    usage: list[dict] = field(default_factory=list)  # of each reply: channel, tokens, whether it was used


_COLUMNS = [f.name for f in fields(ImageState)]
_NESTED = ("conversation", "findings", "repairs", "traces", "sources", "usage")
_REPLY = Reply._fields
_READ = ", ".join("CAST(raw AS TEXT)" if name == "raw" else name for name in _REPLY)  # a damaged one is text too
_TABLES = {
    "replies": ", ".join(_REPLY),
    SAMPLES: ", ".join(_COLUMNS),
    READINGS: ", ".join(_COLUMNS),
    "notes": "name, value",
    "batches": "number, state, server, model, file, batch_id",
    "lines": "custom_id, batch, key, attempt, sample, state, problem",
}
# a stored reply is not changed
PUT_REPLY = f"INSERT OR IGNORE INTO replies ({', '.join(_REPLY)}) VALUES ({', '.join('?' * len(_REPLY))})"
_PUT_STATE = f"INSERT INTO {{}} ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks a run's folder. UserError: another run has locked it, or it cannot be written."""
    lock = FileLock(folder / "vault.lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise UserError(f"another run is using {folder}; wait until it ends, or pass another out_dir") from error
    except OSError as error:
        raise UserError(
            f"the run's folder {folder} cannot be written ({error.strerror or error}); pass another out_dir"
        ) from error
    try:
        yield
    finally:
        lock.release()


class Vault:
    """One run's SQLite file, with the states of its images, or of what its second reader reads (`states`). `save_reply` and
    `save_state` gather what comes at once into one transaction. UserError: the file is no vault, or of another version."""

    def __init__(self, folder: Path, states: str = SAMPLES):
        self.path, self.states, self._put_state = folder / "vault.sqlite", states, _PUT_STATE.format(states)
        self._writer = self._open()
        self._reader = self._open()
        self._pending: list[tuple[str, tuple, asyncio.Future | None]] = []
        self._broken: BaseException | None = None
        self._lock = threading.Lock()  # one transaction at a time
        self._writing: asyncio.Task | None = None

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=30)
            connection.execute("PRAGMA synchronous = FULL")  # a stored reply survives a power cut
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version < _VERSION:
                made = (_REPLIES + _SCHEMA, _SINCE_1 + _SCHEMA, _SINCE_2 + _SINCE_3, _SINCE_3)[version]
                connection.executescript(f"BEGIN; {made} PRAGMA user_version = {_VERSION}; COMMIT;")
            for table, columns in _TABLES.items():
                connection.execute(f"SELECT {columns} FROM {table} LIMIT 0")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA wal_autocheckpoint = 8000")  # pages, so that many replies are copied at once
            connection.execute("PRAGMA cache_size = -32000")  # KiB, enough for the index of many replies
        except sqlite3.OperationalError as error:
            if "no such" in str(error):
                raise self._damaged(error) from error
            raise UserError(f"{self.path} cannot be opened ({error}); pass another out_dir") from error
        except (sqlite3.DatabaseError, UnicodeDecodeError, IndexError) as error:
            raise self._damaged(error) from error
        if version > _VERSION:
            raise UserError(f"{self.path}: written by another version of retinal_lib; pass another out_dir")
        connection.text_factory = lambda raw: raw.decode(errors="replace")
        return connection

    def _damaged(self, error: Exception) -> UserError:
        return UserError(f"{self.path}: not a readable vault ({error}); move it to another folder and run again")

    def __enter__(self) -> "Vault":
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._writer.close()

    def replies(self, *keys: str) -> dict[str, list[Reply]]:
        """Returns the stored replies by request, the first attempt first; requests without a reply are left out."""
        replies: dict[str, list[Reply]] = {}
        marks = ", ".join("?" * len(keys))
        query = f"SELECT {_READ} FROM replies WHERE key IN ({marks}) ORDER BY key, attempt"
        for row in self.rows(query, *keys):
            replies.setdefault(row[0], []).append(Reply(*row))
        return replies

    def rows(self, query: str, *values: object) -> Iterator[tuple]:
        """Yields the rows of a query. UserError: the vault is damaged."""
        try:
            yield from self._reader.execute(query, values)
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error

    def write(self, *changes: tuple[str, Iterable[tuple]]) -> None:
        """Executes statements, each with its rows, in one transaction; returns when it is on disk. UserError: the vault cannot
        be written."""
        self._transact(changes)

    def save_states(self, rows: Iterable[ImageState]) -> None:
        """Stores the states of images; returns when they are on disk. UserError: as `write`."""
        self.write((self._put_state, [_values(row) for row in rows]))

    def samples(self) -> Iterator[ImageState]:
        """Yields the states of the latest run in order, reading one at a time."""
        for row in self.rows(f"SELECT {', '.join(_COLUMNS)} FROM {self.states} ORDER BY position"):
            plain = len(row) - len(_NESTED)
            yield ImageState(*row[:plain], *map(orjson.loads, row[plain:]))

    def prompts(self) -> dict[str, int]:
        """Returns the number of images for each system prompt, by its sha256."""
        return dict(self.rows("SELECT prompt, count(*) FROM samples WHERE prompt != '' GROUP BY prompt"))

    def usage(self) -> list[tuple[str, str, str, dict[str, int], int]]:
        """Returns the tokens of all replies summed up: (server, model, channel, tokens, replies without a token count)."""
        names = ("prompt_tokens", "prompt_tokens_details.cached_tokens", "completion_tokens")
        sums = ", ".join(f"coalesce(sum(json_extract(raw, '$.usage.{name}')), 0)" for name in names)
        query = (
            f"SELECT server, model, channel, {sums}, sum(json_extract(raw, '$.usage.prompt_tokens') IS NULL) FROM replies "
            "WHERE json_valid(raw) GROUP BY server, model, channel"
        )
        return [
            (*row[:3], dict(zip(("prompt", "cached", "completion"), row[3:6], strict=True)), row[6]) for row in self.rows(query)
        ]

    def clear_states(self) -> None:
        """Deletes the states of the last run; replies stay."""
        self.write((f"DELETE FROM {self.states}", [()]))

    async def save_reply(self, reply: Reply) -> None:
        """Stores a reply; returns when it is on disk."""
        done = asyncio.get_running_loop().create_future()
        self._queue(PUT_REPLY, reply, done)
        await done

    def save_state(self, row: ImageState) -> None:
        """Stores an image's state with the next transaction. Nothing is lost where that fails: the next run finds it out
        again."""
        self._queue(self._put_state, _values(row), None)

    async def flush(self) -> None:
        """Waits until everything is on disk. UserError: the vault cannot be written."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing])
        if self._broken:
            raise self._broken

    def _queue(self, statement: str, values: tuple, done: asyncio.Future | None) -> None:
        if self._broken:
            raise self._broken
        self._pending.append((statement, values, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_queue())

    async def _write_queue(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            outcomes = [await self._commit(batch)] * len(batch)
            if len(batch) > 1 and outcomes[0]:  # what cannot be stored keeps nothing else from it
                outcomes = [await self._commit([change]) for change in batch]
            for (_, _, done), error in zip(batch, outcomes, strict=True):
                self._broken = self._broken or error
                if done is not None and not done.done():
                    done.set_result(None) if error is None else done.set_exception(error)

    async def _commit(self, batch: list[tuple[str, tuple, asyncio.Future | None]]) -> BaseException | None:
        """Stores changes in one transaction; returns the error where that fails."""
        by_statement = [(same, [row for other, row, _ in batch if other is same]) for same in (PUT_REPLY, self._put_state)]
        # shielded: a transaction that has begun in the thread ends, whatever is cancelled here
        writing = asyncio.shield(asyncio.to_thread(self._transact, by_statement))
        [outcome] = await asyncio.gather(writing, return_exceptions=True)
        return outcome

    def _transact(self, changes: Iterable[tuple[str, Iterable[tuple]]]) -> None:
        with self._lock:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                for statement, rows in changes:
                    self._writer.executemany(statement, rows)
                self._writer.execute("COMMIT")
            except sqlite3.Error as error:
                raise UserError(
                    f"{self.path} cannot be written ({error}); free some space and run again: nothing stored is lost"
                ) from error
            except (UnicodeEncodeError, OverflowError) as error:
                raise UserError(f"{self.path}: a text or number cannot be stored ({error}); nothing stored is lost") from error
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")


_plain, _nested = attrgetter(*_COLUMNS[: -len(_NESTED)]), attrgetter(*_NESTED)


def _values(row: ImageState) -> tuple:
    return (*_plain(row), *(orjson.dumps(value).decode() if value else "[]" for value in _nested(row)))
