"""Reads the answers in result files of batches, in every format that servers write."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import orjson

from retinal_lib.ask.batch_ledger import Answer, Batch, BatchLedger, Line
from retinal_lib.ask.runner import UnknownAnswer
from retinal_lib.display import are, count
from retinal_lib.errors import UserError
from retinal_lib.files import require_file
from retinal_lib.teacher import completion
from retinal_lib.teacher.body_limits import LONGEST_BODY, MiB
from retinal_lib.teacher.completion import Failure, NoCompletion
from retinal_lib.teacher.teachers import OpenAITeacher

_CHUNK = 2000  # lines stored in one transaction
_RETRYABLE = {401, 402, 403, 404, 408, 409, 425, 429}  # HTTP statuses that are not the request's fault
# codes for which a whole batch is refused, even where the error names a line
WHOLE_CODES = {
    "model_not_found",
    "mismatched_model",
    "model_mismatch",
    "url_mismatch",
    "invalid_method",
    "too_many_tasks",
    "empty_file",
    "empty_batch",
    "input_no_permissions",
}
# codes of failures that are not the request's fault, for one line or a whole batch
RETRYABLE_CODES = {
    "batch_expired",
    "batch_cancelled",
    "batch_canceled",
    "cancelled",
    "expired",
    "rate_limit_exceeded",
    "request_timeout",
    "timeout",
    "server_error",
    "internal_error",
    "service_unavailable",
    "overloaded",
}


class NoResult(ValueError):
    """Raised for a line of a result file that holds no answer; the message says why."""


def read(text: bytes) -> Answer:
    """Returns the answer in a line. NoResult: it is no JSON object with a custom_id and a response or an error."""
    if len(text) > LONGEST_BODY:
        raise NoResult(f"longer than {LONGEST_BODY // MiB} MiB")
    try:
        entry = orjson.loads(text)
    except ValueError as error:
        raise NoResult("not JSON") from error
    name = entry.get("custom_id") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        raise NoResult("no custom_id")
    if "response" not in entry and "error" not in entry:
        raise NoResult("a request, not a result" if "body" in entry else "neither response nor error")
    status, body, request_id = _response(entry.get("response"))
    error = completion.failure(entry.get("error"))
    if status is None or 200 <= status < 300:
        try:
            return Answer(name, completion.parse(body).raw, request_id)  # paid for, even where an error is given too
        except NoCompletion as none:
            failure = error if error.text else none.failure or Failure(message=str(none) if body else "")
            problem, retryable = _failed(failure.status or None, failure)
    else:
        # vLLM's run_batch writes a bare text where its engine died: that is not the request's fault
        passing = not body and isinstance(entry.get("error"), str)
        problem, retryable = _failed(status, error if error.text else completion.failure(body), passing)
    return Answer(name, None, "", problem, retryable, sha256=hashlib.sha256(text).hexdigest())


def _response(response: object) -> tuple[int | None, str, str]:
    """Status, body and request id in any form of a response: OpenAI's, a body alone, or the text of the answer."""
    if isinstance(response, str):
        if not response.lstrip().startswith(("{", "[", "<")) and response.strip():
            response = {"choices": [{"index": 0, "message": {"role": "assistant", "content": response}}]}
        else:
            response = {"body": response}
    if not isinstance(response, dict):
        return None, "", ""
    status, request_id = response.get("status_code"), response.get("request_id")
    status = int(status) if isinstance(status, str) and re.fullmatch(r"[0-9]{3}", status) else status
    body = response if "choices" in response else response.get("body") or ""
    text = body if isinstance(body, str) else orjson.dumps(body).decode()
    return status if isinstance(status, int) else None, text, request_id if isinstance(request_id, str) else ""


def request_name(text: str | bytes) -> str:
    """Returns the custom_id of a line that this package wrote."""
    return orjson.loads(text)["custom_id"]


def _failed(status: int | None, failure: Failure, passing: bool = False) -> tuple[str, bool]:
    """Why a request failed, and whether it may be sent again."""
    code = failure.kind if failure.code in ("", str(status)) else failure.code
    why = " ".join(filter(None, [str(status or ""), code, failure.message]))[:300]
    known = {failure.code, failure.kind} & RETRYABLE_CODES
    if passing or known or status is None or status in _RETRYABLE or not 300 <= status < 500:
        return f"the server could not answer ({why or 'no reason given'})", True
    return f"the server refused the request ({why})", False


def in_new_form(answers: list[tuple[Line, Answer]], teacher: OpenAITeacher, known: set[str]) -> list[tuple[Line, Answer]]:
    """Returns answers of which those that name an option of the teacher's requests as refused may be sent again, in another
    form; `known` are the options that the server had refused before."""
    refused, result = teacher.server.refused, []
    for line, answer in answers:
        if answer.raw is None and not answer.retryable:
            name = refused.add(answer.problem, teacher.options | refused.apply(teacher.options))
            if name:
                answer = answer._replace(retryable=True, new_form=name not in known)
        result.append((line, answer))
    return result


class Failures:
    """The results of one batch or folder that hold no answer, counted by reason."""

    def __init__(self) -> None:
        self.results = 0
        self._by_kind: dict[str, list[str]] = {}  # reasons that differ in numbers alone are one kind

    def add(self, answers: Iterable[tuple[Line, Answer]]) -> None:
        """Counts results."""
        for _, answer in answers:
            self.results += 1
            if answer.raw is None:
                self._by_kind.setdefault(re.sub(r"\d+", "…", answer.problem), []).append(answer.problem)

    def sentence(self, where: str) -> str:
        """How many results are errors, and the most frequent reason; "" where none is."""
        if not self._by_kind:
            return ""
        failed, first = sum(map(len, self._by_kind.values())), max(self._by_kind.values(), key=len)
        results = count(self.results, "result")
        who = f"{failed:,} of {results} {where} {are(failed)}"
        if failed == self.results:
            who = f"All {results} {where} are" if failed > 1 else f"The only result {where} is"
        reason = f"the most frequent reason ({len(first):,} of {failed:,})" if len(first) < failed else "the reason"
        return f"{who} {'errors instead of answers' if failed > 1 else 'an error instead of an answer'}; {reason}: {first[0]}"


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields the lines of a file with their numbers, blank ones left out. UserError: it cannot be read."""
    require_file(path)
    try:
        with path.open("rb") as file:
            number = 0
            while text := file.readline(LONGEST_BODY + 1):
                number += 1
                rest = text
                while len(rest) > LONGEST_BODY and not rest.endswith(b"\n"):  # what is too long is not kept in memory
                    rest = file.readline(LONGEST_BODY + 1)
                if text.strip():
                    yield number, text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


class MatchedAnswers(NamedTuple):
    """The answers in some lines of a result file: those to known requests, with the request's line in the vault; those to no
    request; and what is wrong with lines that hold no answer."""

    known: list[tuple[Line, Answer]]
    unknown: list[UnknownAnswer]
    unreadable: list[str]


def matched_answers(path: Path, ledger: BatchLedger, batch: Batch | None = None) -> Iterator[MatchedAnswers]:
    """Yields a file's answers, many at a time, matched to the requests of a batch or of the whole vault.

    UserError: the file cannot be read.
    """
    remaining, origin = lines(path), batch.batch_id if batch else path.name
    while chunk := list(islice(remaining, _CHUNK)):
        answers, matched = [], MatchedAnswers([], [], [])
        for number, text in chunk:
            try:
                answers.append((number, read(text)))
            except NoResult as error:
                matched.unreadable.append(f"{path.name}, line {number}: {error}")
        known = ledger.lines({answer.custom_id for _, answer in answers}, batch)
        for number, answer in answers:
            if line := known.get(answer.custom_id):
                matched.known.append((line, answer))
            else:
                matched.unknown.append(UnknownAnswer(answer.custom_id, origin, number))
        yield matched
