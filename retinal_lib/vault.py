"""The run's SQLite file: every raw reply, kept for good, and the state of each image in the latest run."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

from filelock import FileLock, Timeout

from retinal_lib.errors import UserError

STATES = ("accepted", "rejected", "failed", "skipped")
_VERSION = 1
# replies are never changed or deleted: they were paid for. samples are the latest run's view, made anew by each run.
_SCHEMA = """
CREATE TABLE replies (
  key TEXT NOT NULL, attempt INTEGER NOT NULL, sample TEXT NOT NULL, raw TEXT NOT NULL, request_id TEXT NOT NULL,
  PRIMARY KEY (key, attempt)
) WITHOUT ROWID;
CREATE TABLE samples (
  position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, image TEXT NOT NULL, split TEXT NOT NULL, state TEXT NOT NULL,
  reason TEXT NOT NULL, key TEXT NOT NULL, attempt INTEGER NOT NULL, request_id TEXT NOT NULL, prompt TEXT NOT NULL,
  conversation TEXT NOT NULL, findings TEXT NOT NULL, sources TEXT NOT NULL, tokens TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class Reply:
    """A raw reply as it came, before anything was read from it."""

    key: str
    attempt: int
    sample: str
    raw: str
    request_id: str = ""


@dataclass
class Sample:
    """The one state that an image ended in, with the reason where it is not accepted."""

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
    conversation: list[dict[str, str]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    sources: list[dict] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)  # of all its replies, as the server counted them


_COLUMNS = [f.name for f in fields(Sample)]
_NESTED = ("conversation", "findings", "sources", "tokens")
_PUT_REPLY = "INSERT INTO replies VALUES (?, ?, ?, ?, ?)"
_PUT_SAMPLE = f"INSERT INTO samples ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a run's folder. UserError: another run holds it."""
    lock = FileLock(folder / "vault.lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise UserError(f"another run is at work in {folder}; wait for it, or give this one another out_dir") from error
    except OSError as error:
        raise UserError(
            f"the run's folder {folder} cannot be written ({error.strerror or error}); give another out_dir"
        ) from error
    try:
        yield
    finally:
        lock.release()


class Vault:
    """Reads and writes one vault. Writes go through `put`, which gathers what comes at once into one transaction, and
    returns when it is on disk. UserError: the file is no vault, or of another version."""

    def __init__(self, folder: Path):
        self.path = folder / "vault.sqlite"
        self._writer = self._open()
        self._reader = self._open()
        self._pending: list[tuple[str, tuple, asyncio.Future | None]] = []
        self._broken: UserError | None = None
        self._flushing: asyncio.Task | None = None

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=30)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # a reply that was stored outlives a power cut
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        except sqlite3.OperationalError as error:
            raise UserError(f"{self.path} cannot be opened ({error}); give the run another out_dir") from error
        except sqlite3.DatabaseError as error:
            raise UserError(f"{self.path}: not a readable vault ({error}); move it away, and the run begins anew") from error
        if version not in (0, _VERSION):
            raise UserError(f"{self.path}: written by another version of retinal_lib; give the run another out_dir")
        return connection

    def __enter__(self) -> "Vault":
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._writer.close()

    def replies(self, key: str) -> list[Reply]:
        """The stored replies to a request, the first attempt first."""
        rows = self._reader.execute(
            "SELECT key, attempt, sample, raw, request_id FROM replies WHERE key = ? ORDER BY attempt", (key,)
        )
        return [Reply(*row) for row in rows]

    def samples(self) -> Iterator[Sample]:
        """The latest run's images in order, read one by one."""
        for row in self._reader.execute(f"SELECT {', '.join(_COLUMNS)} FROM samples ORDER BY position"):
            plain = len(row) - len(_NESTED)
            yield Sample(*row[:plain], *map(json.loads, row[plain:]))

    def prompts(self) -> dict[str, int]:
        """How many images were asked for with each system prompt, by its sha256."""
        return dict(self._reader.execute("SELECT prompt, count(*) FROM samples WHERE prompt != '' GROUP BY prompt").fetchall())

    def begin(self) -> None:
        """Forgets the last run's view of the images; replies stay."""
        self._writer.execute("DELETE FROM samples")

    async def put(self, reply: Reply) -> None:
        """Stores a reply; returns when it is on disk."""
        done = asyncio.get_running_loop().create_future()
        self._queue(_PUT_REPLY, (reply.key, reply.attempt, reply.sample, reply.raw, reply.request_id), done)
        await done

    def settle(self, sample: Sample) -> None:
        """Stores an image's state, with the next transaction: should it be lost, the next run makes it anew."""
        values = [vars(sample)[name] for name in _COLUMNS]
        values[-len(_NESTED) :] = [json.dumps(value, ensure_ascii=False) for value in values[-len(_NESTED) :]]
        self._queue(_PUT_SAMPLE, tuple(values), None)

    async def settled(self) -> None:
        """Returns when everything is on disk. UserError: it cannot be written."""
        while self._flushing is not None and not self._flushing.done():
            await asyncio.wait([self._flushing])
        if self._broken:
            raise self._broken

    def _queue(self, statement: str, values: tuple, done: asyncio.Future | None) -> None:
        if self._broken:
            raise self._broken
        self._pending.append((statement, values, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            # shielded: a transaction that has begun in the thread is seen to its end, whatever is cancelled here
            outcome = await asyncio.shield(asyncio.to_thread(self._commit, batch))
            self._broken = self._broken or outcome
            for _, _, done in batch:
                if done is not None and not done.done():
                    done.set_result(None) if outcome is None else done.set_exception(outcome)

    def _commit(self, batch: list[tuple[str, tuple, asyncio.Future | None]]) -> UserError | None:
        try:
            self._writer.execute("BEGIN")
            for statement in (_PUT_REPLY, _PUT_SAMPLE):
                self._writer.executemany(statement, [values for same, values, _ in batch if same is statement])
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            return UserError(f"{self.path} cannot be written ({error}); free some space and run again: nothing stored is lost")
        return None
