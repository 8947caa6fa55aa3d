"""Recovers, polls, downloads and closes submitted batches.

A batch whose id was lost in a crash is looked up in the server's list of batches. Each answer is matched to its request by
custom_id; servers' own counts are not relied on.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path

from retinal_lib.ask import result_files
from retinal_lib.ask.batch_ledger import Answer, Batch, BatchLedger, now
from retinal_lib.ask.result_files import Failures
from retinal_lib.ask.runner import UnknownAnswer, in_thread
from retinal_lib.ask.vault import Vault
from retinal_lib.display import count
from retinal_lib.errors import UserError
from retinal_lib.files import remove
from retinal_lib.teacher.request_errors import NotFound, OutcomeUnknown, RequestFailed, RunStopped, Unreachable
from retinal_lib.teacher.teachers import OpenAITeacher

TRIES = 6  # for what a server shows only after a while: a file, a batch in a list, a complete result file
MAX_INCOMPLETE_POLLS = 5  # polls of a finished batch with incomplete results, before missing answers count as failed
NEW_BATCH_SECONDS = 600.0  # in which a server may not know its new batch yet
LOST_BATCH_SECONDS = 48 * 3600.0  # after which a batch that a server does not know cannot be pending any more
FOLDER = "batches"
_ENDS = {
    "completed": "the server's results lack it",
    "expired": "the batch expired before it was answered",
    "cancelled": "the batch was cancelled before it was answered",
    "canceled": "the batch was cancelled before it was answered",
    "failed": "the batch failed before it was answered",
}
_RUNNING = {"validating", "in_progress", "finalizing", "cancelling"}
_QUEUE_FULL = re.compile(r"token_limit_exceeded|enqueued tokens?", re.IGNORECASE)
_LIMIT = re.compile(r"limit(?: of|:)? ([\d,.]+\d)([KM]?)\b", re.IGNORECASE)


class BatchCollect:
    """Fetches the answers of pending batches, for batch and direct runs alike; those of the model `besides` are left to
    another: a run's second reader, or for that the run."""

    def __init__(self, vault: Vault, teacher: OpenAITeacher, folder: Path, besides: str = ""):
        self.vault, self.ledger, self.teacher, self.server = vault, BatchLedger(vault), teacher, teacher.server
        self.folder, self.stopped, self._besides = folder, "", besides
        self.problems: list[str] = []  # of the latest round
        self.queue_full, self.times_full = False, 0  # with requests of others; how often it was, one time after the other
        self.unknown: dict[UnknownAnswer, None] = {}  # an ordered set
        self._failures: dict[str, Failures] = {}  # by batch

    def open(self) -> list[Batch]:
        """Returns the batches that this server is working on."""
        return self._ours(self.ledger.batches("open"))

    def _ours(self, batches: list[Batch]) -> list[Batch]:
        return [batch for batch in batches if batch.server == self.server.name and batch.model != self._besides]

    def stop(self, error: Exception) -> None:
        """Stops sending; keeps the first reason."""
        self.stopped = self.stopped or str(error)

    async def collect(self) -> bool:
        """Recovers the batches of a killed run and fetches answers; returns True where a batch has ended. A problem with one
        batch does not keep the others from being fetched."""
        self.problems, self.queue_full, ended = [], False, False
        try:
            await self._recover()
            for batch in self.open():
                try:
                    ended |= await self._poll(batch)
                except RequestFailed as error:
                    self.problems.append(f"batch {batch.batch_id}: {error}")
        except Unreachable as error:
            self.problems.append(str(error))
        except RunStopped as error:
            self.stop(error)
        return ended

    # --- after a crash ----------------------------------------------------------------------------------------------

    async def _recover(self) -> None:
        for batch in self.ledger.batches("packing"):  # nothing was sent
            self._unlink(batch)
            self.ledger.delete(batch)
        for batch in self.ledger.batches("creating"):
            if batch.server == self.server.name:
                try:
                    await self._resolve_creating(batch)
                except RequestFailed as error:
                    self.problems.append(str(error))

    async def _resolve_creating(self, batch: Batch) -> None:
        """Records a batch that was about to be created as open where the server has it; else discards it."""
        if remote := await self._find_on_server(batch):
            self._mark_open(batch, remote)
        else:
            self._discard(batch)

    async def _find_on_server(self, batch: Batch) -> dict | None:
        """The server's batch for this file, None where it has none. OutcomeUnknown: its batches cannot be listed."""
        for trial in range(1, TRIES + 1):
            try:
                async for remote in self._server_batches():
                    if self._is_same(batch, remote):
                        return remote
            except RequestFailed as error:
                if now() - batch.begun > LOST_BATCH_SECONDS:
                    return None
                raise OutcomeUnknown(
                    f"it is not known whether the server made a batch of {FOLDER}/{batch.file}: its batches cannot be listed "
                    f"({error}); the {batch.lines:,} requests are not sent again for two days"
                ) from error
            if trial < TRIES:
                await self.server.pause(trial)
        return None

    async def _server_batches(self) -> AsyncIterator[dict]:
        place: dict[str, object] | None = {}
        while place is not None:
            page = await self.server.get("/batches", limit=100, **place)
            entries = [entry for entry in page.get("data") or page.get("value") or [] if isinstance(entry, dict)]
            for entry in entries:
                yield entry
            cursor = (page.get("paging") or {}).get("next_cursor")  # Groq's form
            following = (
                {"cursor": cursor} if cursor else {"after": entries[-1].get("id")} if page.get("has_more") and entries else None
            )
            place = None if following == place else following

    def _is_same(self, batch: Batch, remote: dict) -> bool:
        tags = remote.get("metadata") or {}
        ours = self.tags(batch)
        return remote.get("input_file_id") == batch.file_id or all(tags.get(name) == value for name, value in ours.items())

    def tags(self, batch: Batch) -> dict[str, str]:
        """Returns the metadata that identify a batch in the server's list."""
        return {"retinal_lib_run": self.ledger.run, "retinal_lib_file": str(batch.number), "sha256": batch.sha256}

    def _mark_open(self, batch: Batch, remote: dict) -> None:
        batch.state, batch.batch_id, batch.status = "open", str(remote["id"]), str(remote.get("status") or "")
        self.ledger.save(batch)

    # --- fetching ---------------------------------------------------------------------------------------------------

    async def _poll(self, batch: Batch) -> bool:
        """Asks for a batch's status and fetches answers; True where the batch has ended. RunStopped, RequestFailed."""
        try:
            remote = await self.server.get(f"/batches/{batch.batch_id}", patient=now() - batch.begun < NEW_BATCH_SECONDS)
        except NotFound as error:
            if now() - batch.begun < LOST_BATCH_SECONDS:
                raise RequestFailed(f"the server does not know batch {batch.batch_id} ({error})") from error
            self._finish(batch, "the server no longer knows its batch")
            return True
        status, counts = str(remote.get("status") or "").casefold(), remote.get("request_counts") or {}
        batch.status = status
        if counts.get("total"):
            batch.status += f", {(counts.get('completed') or 0) + (counts.get('failed') or 0):,} of {counts['total']:,} done"
        self.ledger.save(batch)
        # ended, though the server does not say so
        lost = status not in _RUNNING and now() - batch.begun > LOST_BATCH_SECONDS
        if status not in _ENDS and not lost:
            return False
        if missing := await self._fetch_answers(batch, remote, status):
            batch.looks += 1
            batch.status = f"{status}, but its results are incomplete: {missing}"
            self.ledger.save(batch)
            if batch.looks < MAX_INCOMPLETE_POLLS:
                return False
        self._close(batch, remote, status)
        return True

    async def _fetch_answers(self, batch: Batch, remote: dict, status: str) -> str:
        """Stores the answers in a batch's result files; returns what is missing, in words, or an empty text."""
        counts = remote.get("request_counts") or {}
        counted = (counts.get("completed") or 0) + (counts.get("failed") or 0)
        expected = batch.lines if status == "completed" else min(counted, batch.lines)
        missing = ""
        for trial in range(1, TRIES + 1):
            try:
                broken = 0
                for kind in ("output", "error"):
                    if file_id := remote.get(f"{kind}_file_id"):
                        broken += await self._store_result_file(batch, str(file_id), kind)
            except RequestFailed as error:
                missing = str(error)
            else:
                stored = batch.lines - self.ledger.missing(batch)
                if not broken and stored >= expected:
                    return ""
                missing = f"{stored:,} of {expected:,}" + (f", {count(broken, 'line')} cannot be read" if broken else "")
            if trial < TRIES:
                await self.server.pause(trial)
        return missing

    async def _store_result_file(self, batch: Batch, file_id: str, kind: str) -> int:
        """Downloads a result file and stores its answers; returns how many lines cannot be read. RequestFailed."""
        path = self.folder / FOLDER / f"{batch.file.removesuffix('.jsonl')}-{kind}.jsonl"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            await self.server.download(file_id, path, batch.lines)
            return await in_thread(lambda: self._store(batch, path))
        except OSError as error:
            raise UserError(
                f"{path} cannot be written ({error.strerror or error}); free disk space or allow writing there, then run again"
            ) from error
        finally:
            remove(path)  # its answers are in the vault

    def _store(self, batch: Batch, path: Path) -> int:
        broken, known = 0, set(self.server.refused.changes)
        failures = self._failures.setdefault(batch.batch_id, Failures())
        for matched in result_files.matched_answers(path, self.ledger, batch):
            broken += len(matched.unreadable)
            self.unknown.update(dict.fromkeys(matched.unknown))
            answers = [
                (line, answer._replace(problem=self.server.clean(answer.problem)))
                for line, answer in matched.known
                if line.state == "open"
            ]
            failures.add(answers)
            self.ledger.store(result_files.in_new_form(answers, self.teacher, known))
        if set(self.server.refused.changes) != known:
            self.ledger.save_refused_options(self.teacher)
        return broken

    @property
    def failed_results(self) -> tuple[str, ...]:
        """A sentence on each batch that was fetched and whose results are errors, all or some."""
        sentences = (failures.sentence(f"of {batch}") for batch, failures in self._failures.items())
        return tuple(filter(None, sentences))

    # --- the end of a batch -----------------------------------------------------------------------------------------

    def _close(self, batch: Batch, remote: dict, status: str) -> None:
        """Ends a batch whose answers are fetched: requests without one have failed, or are sent again. RunStopped: the server
        refused the file."""
        errors = remote.get("errors")
        errors = (errors.get("data") or []) if isinstance(errors, dict) else errors or []
        errors = [entry for entry in errors if isinstance(entry, dict)]
        reason = self.server.clean("; ".join(f"{entry.get('code')}: {entry.get('message')}" for entry in errors[:3]))
        refused = self._store_refusals(batch, errors)
        queue_full = status == "failed" and _QUEUE_FULL.search(reason)
        retryable = any(
            e.get("code") in result_files.RETRYABLE_CODES or "not found" in str(e.get("message")).casefold() for e in errors
        )
        if queue_full:
            self._store_token_limit(reason)
        elif status != "failed" or not errors or (retryable and not refused):
            ended = _ENDS.get(status, f"the batch ended as {status!r}")
            self._finish(batch, f"the batch failed ({reason})" if errors and status == "failed" else ended)
            return
        self._discard(batch)
        if not refused and not queue_full:
            raise RunStopped(f"the server refused the batch of {batch.lines:,} requests ({reason})")

    def _store_refusals(self, batch: Batch, errors: list[dict]) -> bool:
        """Stores which requests the server refused for good, named by their line in the file; False where it names none."""
        others = result_files.RETRYABLE_CODES | result_files.WHOLE_CODES
        wrong = {e["line"]: e for e in errors if isinstance(e.get("line"), int) and e.get("code") not in others}
        path, taken = self.folder / FOLDER / batch.file, []
        if wrong and path.is_file():
            for number, text in result_files.lines(path):
                if entry := wrong.get(number):
                    reason = self.server.clean(f"{entry.get('code')} {entry.get('message')}")
                    answer = Answer(result_files.request_name(text), None, "", f"the server refused the request ({reason})")
                    taken.append((self.ledger.lines([answer.custom_id], batch)[answer.custom_id], answer))
        self.ledger.store(taken)
        return bool(taken)

    def _store_token_limit(self, reason: str) -> None:
        """Stores for a day how many tokens the server's queue takes: the number in its refusal, else half of what was sent.
        Where it takes more than we sent, the queue is full with requests of others, and waiting helps."""
        sent = sum(other.tokens for other in self.open())  # the refused one among them
        if stated := _LIMIT.search(reason):
            factor = {"k": 1000, "m": 1_000_000}.get(stated[2].casefold(), 1)
            limit = int(float(stated[1].replace(",", "")) * factor)
            self.queue_full = limit >= sent
            self.times_full += self.queue_full
        else:
            limit = max(1, sent // 2)
        if not self.queue_full:
            self.ledger.save_note(self._limit_name, f"{limit} {'told' if stated else 'guessed'} {now():.0f}")

    def queue_token_limit(self) -> tuple[int | None, bool]:
        """Returns how many tokens the server's queue takes by its refusals of the last day, None without one, and whether the
        server stated that limit."""
        limit, kind, when = (self.ledger.note(self._limit_name) or "0 none 0").split()
        return (int(limit) if now() - float(when) < 24 * 3600 else None), kind == "told"

    def clear_token_limit(self) -> None:
        """Deletes the stored limit of the server's queue."""
        self.ledger.save_note(self._limit_name, "0 none 0")

    @property
    def _limit_name(self) -> str:
        # vaults have it in these words
        return f"tokens under way at {self.server.name} for {self.teacher.model}"

    def _finish(self, batch: Batch, problem: str) -> None:
        self.times_full = 0
        self.ledger.finish(batch, problem)
        self._unlink(batch)

    def _discard(self, batch: Batch) -> None:
        """Records that a batch never ran, so that its requests are sent again."""
        self._unlink(batch)
        self.ledger.mark_never_ran(batch)

    def _unlink(self, batch: Batch) -> None:
        for path in (self.folder / FOLDER / batch.file, self.folder / FOLDER / f".{batch.file}.part"):
            remove(path)
