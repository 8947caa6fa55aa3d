"""Recovers, polls, downloads and closes submitted batches.

A batch whose id was lost in a crash is found again by listing the server's batches. Answers are counted by their ids, never
by their number.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path

from retinal_lib.ask import result_files
from retinal_lib.ask.batch_ledger import Answer, Batch, BatchLedger, Line, now
from retinal_lib.ask.runner import UnknownAnswer, in_thread
from retinal_lib.ask.vault import Vault
from retinal_lib.errors import UserError
from retinal_lib.teacher.server import NotFound, OutcomeUnknown, RequestFailed, RunStopped, Unreachable
from retinal_lib.teacher.teachers import OpenAITeacher

TRIES = 6  # of what a server shows only after a while: a file, a batch in a list, a whole result file
LOOKS = 5  # looks at a finished batch whose results stay short, before what is missing counts as failed
FRESH = 600.0  # seconds in which a server may not know its new batch yet
FORGOTTEN = 48 * 3600.0  # seconds after which a batch that a server does not know cannot be pending any more
FOLDER = "batches"
_ENDS = {
    "completed": "the server's results lack it",
    "expired": "the batch expired before it was answered",
    "cancelled": "the batch was cancelled before it was answered",
    "canceled": "the batch was cancelled before it was answered",
    "failed": "the batch failed before it was answered",
}
_RUNNING = {"validating", "in_progress", "finalizing", "cancelling"}
_CROWDED = re.compile(r"token_limit_exceeded|enqueued tokens?", re.IGNORECASE)
_LIMIT = re.compile(r"limit(?: of|:)? ([\d,.]+\d)([KM]?)\b", re.IGNORECASE)


class BatchCollect:
    """Fetches what is pending in batches. Direct runs do this too, so that both modes fill one vault."""

    def __init__(self, vault: Vault, teacher: OpenAITeacher, folder: Path):
        self.vault, self.ledger, self.teacher, self.server = vault, BatchLedger(vault), teacher, teacher.server
        self.folder, self.stopped = folder, ""
        self.problems: list[str] = []  # with single batches, in the latest round
        self.crowded = False  # the server's queue is full with requests of others
        self.unknown: dict[UnknownAnswer, None] = {}  # in the order found

    def open(self) -> list[Batch]:
        """Returns the batches that this server is working on."""
        return [batch for batch in self.ledger.batches("open") if batch.server == self.server.name]

    def stop(self, error: Exception) -> None:
        """Lets nothing more be sent; the first reason is kept."""
        self.stopped = self.stopped or str(error)

    async def collect(self) -> bool:
        """Finds what a killed run left, and fetches what is there. True where a batch has ended. A problem with one batch does
        not keep the others from being fetched."""
        self.problems, self.crowded, ended = [], False, False
        try:
            await self._recover()
            for batch in self.open():
                try:
                    ended |= await self._look_at(batch)
                except RequestFailed as error:
                    self.problems.append(f"batch {batch.batch_id}: {error}")
        except Unreachable as error:
            self.problems.append(str(error))
        except RunStopped as error:
            self.stop(error)
        return ended

    # --- after a crash ----------------------------------------------------------------------------------------------

    async def _recover(self) -> None:
        for batch in self.ledger.batches("packing"):  # it never left this machine
            self._unlink(batch)
            self.ledger.drop(batch)
        for batch in self.ledger.batches("creating"):
            if batch.server == self.server.name:
                try:
                    await self._recreate(batch)
                except RequestFailed as error:
                    self.problems.append(str(error))

    async def _recreate(self, batch: Batch) -> None:
        """A batch of which only the intent is known: adopted where the server has it, else forgotten and packed anew."""
        remote = await self._adopt(batch)
        if remote is not None:
            self._opened(batch, remote)
            return
        self._unlink(batch)
        self.ledger.void(batch)

    async def _adopt(self, batch: Batch) -> dict | None:
        """The server's batch for this file, None where it has none. OutcomeUnknown: it cannot be told."""
        for trial in range(1, TRIES + 1):
            try:
                async for remote in self._listed():
                    if self._is(batch, remote):
                        return remote
            except RequestFailed as error:
                if now() - batch.begun > FORGOTTEN:
                    return None
                raise OutcomeUnknown(
                    f"it cannot be told whether the server made a batch of {FOLDER}/{batch.file}: its batches cannot be listed "
                    f"({error}); its {batch.lines:,} requests are not sent again for two days"
                ) from error
            if trial < TRIES:
                await self.server.pause(trial)
        return None

    async def _listed(self) -> AsyncIterator[dict]:
        """The server's batches, page by page."""
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

    def _is(self, batch: Batch, remote: dict) -> bool:
        tags = remote.get("metadata") or {}
        ours = self.tags(batch)
        return remote.get("input_file_id") == batch.file_id or all(tags.get(name) == value for name, value in ours.items())

    def tags(self, batch: Batch) -> dict[str, str]:
        """Returns the metadata by which a batch is recognised."""
        return {"retinal_lib_run": self.ledger.run, "retinal_lib_file": str(batch.number), "sha256": batch.sha256}

    def _opened(self, batch: Batch, remote: dict) -> None:
        batch.state, batch.batch_id, batch.status = "open", str(remote["id"]), str(remote.get("status") or "")
        self.ledger.save(batch)

    # --- fetching ---------------------------------------------------------------------------------------------------

    async def _look_at(self, batch: Batch) -> bool:
        """True where the batch has ended. RunStopped, RequestFailed."""
        try:
            remote = await self.server.get(f"/batches/{batch.batch_id}", patient=now() - batch.begun < FRESH)
        except NotFound as error:
            if now() - batch.begun < FORGOTTEN:
                raise RequestFailed(f"the server does not know batch {batch.batch_id} ({error})") from error
            self._done(batch, "the server no longer knows its batch")
            return True
        status, counts = str(remote.get("status") or "").casefold(), remote.get("request_counts") or {}
        batch.status = status
        if counts.get("total"):
            batch.status += f", {(counts.get('completed') or 0) + (counts.get('failed') or 0):,} of {counts['total']:,} done"
        self.ledger.save(batch)
        late = status not in _RUNNING and now() - batch.begun > FORGOTTEN  # an end that the server did not report
        if status not in _ENDS and not late:
            return False
        if short := await self._fetch(batch, remote, status):
            batch.looks += 1
            batch.status = f"{status}, but its results are not whole yet: {short}"
            self.ledger.save(batch)
            if batch.looks < LOOKS:
                return False
        self._end(batch, remote, status)
        return True

    async def _fetch(self, batch: Batch, remote: dict, status: str) -> str:
        """Takes every answer that is there; what is still short of the whole, in words, or nothing."""
        counts = remote.get("request_counts") or {}
        known = (counts.get("completed") or 0) + (counts.get("failed") or 0)
        whole = batch.lines if status == "completed" else min(known, batch.lines)
        short = ""
        for trial in range(1, TRIES + 1):
            try:
                broken = 0
                for kind in ("output", "error"):
                    if file_id := remote.get(f"{kind}_file_id"):
                        broken += await self._take(batch, str(file_id), kind)
            except RequestFailed as error:
                short = str(error)
            else:
                have = batch.lines - self.ledger.missing(batch)
                if not broken and have >= whole:
                    return ""
                short = f"{have:,} of {whole:,}" + (f", {broken} lines cannot be read" if broken else "")
            if trial < TRIES:
                await self.server.pause(trial)
        return short

    async def _take(self, batch: Batch, file_id: str, kind: str) -> int:
        """Downloads a result file and stores its answers; the number of lines that cannot be read. RequestFailed."""
        path = self.folder / FOLDER / f"{batch.file.removesuffix('.jsonl')}-{kind}.jsonl"

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            await self.server.download(file_id, path)
            return await in_thread(lambda: self._store(batch, path))
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror or error}); make room for it and run again") from error
        finally:
            path.unlink(missing_ok=True)  # what it says is in the vault

    def _store(self, batch: Batch, path: Path) -> int:
        broken = 0
        for answers, wrong in result_files.answers(path):
            broken += len(wrong)
            known = self.ledger.known({answer.custom_id for _, answer in answers}, batch)
            taken: list[tuple[Line, Answer]] = []
            for number, answer in answers:
                line = known.get(answer.custom_id)
                if line is None:
                    self.unknown[UnknownAnswer(answer.custom_id, batch.batch_id, number)] = None
                elif line.state == "open":
                    if answer.problem:
                        answer = answer._replace(problem=self.server.clean(answer.problem))
                    taken.append((line, answer))
            self.ledger.store(taken)
        return broken

    # --- the end of a batch -----------------------------------------------------------------------------------------

    def _end(self, batch: Batch, remote: dict, status: str) -> None:
        """Everything is fetched: what has no answer failed, or is packed anew. RunStopped: the server refused the file."""
        errors = remote.get("errors")
        errors = (errors.get("data") or []) if isinstance(errors, dict) else errors or []
        errors = [entry for entry in errors if isinstance(entry, dict)]
        reason = self.server.clean("; ".join(f"{entry.get('code')}: {entry.get('message')}" for entry in errors[:3]))
        named = self._refuse(batch, errors)
        crowded = status == "failed" and _CROWDED.search(reason)
        retryable = any(
            e.get("code") in result_files.RETRYABLE_CODES or "not found" in str(e.get("message")).casefold() for e in errors
        )
        if crowded:
            self._learn(reason)
        elif status != "failed" or not errors or (retryable and not named):
            ended = _ENDS.get(status, f"the batch ended as {status!r}")
            self._done(batch, f"the batch failed ({reason})" if errors and status == "failed" else ended)
            return
        self._unlink(batch)
        self.ledger.void(batch)  # nothing of it ran
        if not named and not crowded:
            raise RunStopped(f"the server refused the batch of {batch.lines:,} requests ({reason})")

    def _refuse(self, batch: Batch, errors: list[dict]) -> bool:
        """Requests that the server names by their line in the file are refused for good."""
        others = result_files.RETRYABLE_CODES | result_files.WHOLE_CODES
        wrong = {e["line"]: e for e in errors if isinstance(e.get("line"), int) and e.get("code") not in others}
        path, taken = self.folder / FOLDER / batch.file, []
        if wrong and path.is_file():
            for number, text in result_files.lines(path):
                if entry := wrong.get(number):
                    reason = self.server.clean(f"{entry.get('code')} {entry.get('message')}")
                    answer = Answer(result_files.name(text), None, "", f"the server refused the request ({reason})")
                    taken.append((self.ledger.known([answer.custom_id], batch)[answer.custom_id], answer))
        self.ledger.store(taken)
        return bool(taken)

    def _learn(self, reason: str) -> None:
        """The server's queue takes fewer tokens than were sent: as many as it says, or half of them, for a day. Where it takes
        more than are ours, others fill its queue, and waiting helps."""
        together = sum(other.tokens for other in self.open())  # the refused one among them
        if limit_told := _LIMIT.search(reason):
            factor = {"k": 1000, "m": 1_000_000}.get(limit_told[2].casefold(), 1)
            limit = int(float(limit_told[1].replace(",", "")) * factor)
            self.crowded = limit >= together
        else:
            limit = max(1, together // 2)
        if not self.crowded:
            self.ledger.keep(self._limit_name, f"{limit} {'told' if limit_told else 'guessed'} {now():.0f}")

    def learned(self) -> tuple[int | None, bool]:
        """Returns the tokens that the server's queue takes, as far as a refusal within a day shows, and whether it named the
        limit."""
        limit, kind, when = (self.ledger.note(self._limit_name) or "0 none 0").split()
        return (int(limit) if now() - float(when) < 24 * 3600 else None), kind == "told"

    def forget(self) -> None:
        """Forgets the limit that a refusal showed."""
        self.ledger.keep(self._limit_name, "0 none 0")

    @property
    def _limit_name(self) -> str:
        # its wording is kept in vaults
        return f"tokens under way at {self.server.name} for {self.teacher.model}"

    def _done(self, batch: Batch, problem: str) -> None:
        self.ledger.finish(batch, problem)
        self._unlink(batch)

    def _unlink(self, batch: Batch) -> None:
        for path in (self.folder / FOLDER / batch.file, self.folder / FOLDER / f".{batch.file}.part"):
            path.unlink(missing_ok=True)
