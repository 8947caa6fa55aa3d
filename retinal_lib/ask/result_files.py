"""Reads the answers in result files of batches, in every format that servers write."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import orjson

from retinal_lib.ask.batch_ledger import Answer, Batch, BatchLedger, Line
from retinal_lib.ask.runner import UnknownAnswer
from retinal_lib.errors import UserError

_CHUNK = 2000  # lines stored in one transaction
_RETRYABLE = {401, 403, 404, 408, 409, 425, 429}  # HTTP statuses that are not the request's fault
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


def read(text: str | bytes) -> Answer:
    """Returns the answer in a line. NoResult: it is no JSON object with a custom_id and a response or an error."""
    try:
        entry = orjson.loads(text)
    except ValueError as error:
        raise NoResult("not JSON") from error
    name = entry.get("custom_id") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        raise NoResult("no custom_id")
    if "response" not in entry and "error" not in entry:
        raise NoResult("a request, not a result" if "body" in entry else "neither response nor error")
    response, failure = entry.get("response"), entry.get("error")
    if not isinstance(response, dict):
        return Answer(name, None, "", *_failed(None, failure))
    status, body = response.get("status_code"), response.get("body")
    status = int(status) if isinstance(status, str) and status.isdecimal() else status
    if isinstance(failure, dict) and not any(failure.values()):
        failure = None
    done = status is None or (isinstance(status, int) and 200 <= status < 300)
    answered = isinstance(body, dict) and "choices" in body  # paid for, even where an error is given too
    if done and body and isinstance(body, dict | str) and (answered or not failure):
        request_id = response.get("request_id")
        return Answer(
            name,
            body if isinstance(body, str) else orjson.dumps(body).decode(),
            request_id if isinstance(request_id, str) else "",
        )
    inner = body.get("error", body) if isinstance(body, dict) else body
    return Answer(name, None, "", *_failed(status, failure or inner))


def request_name(text: str | bytes) -> str:
    """Returns the custom_id of a line that this package wrote."""
    return orjson.loads(text)["custom_id"]


def _failed(status: object, failure: object) -> tuple[str, bool]:
    """Why a request failed, and whether it may be sent again."""
    code, message = "", str(failure or "")
    if isinstance(failure, dict):
        code, message = str(failure.get("code") or failure.get("type") or ""), str(failure.get("message") or "")
    why = " ".join(" ".join(filter(None, [str(status or ""), code, message])).split())[:300]
    retryable = code in RETRYABLE_CODES or not isinstance(status, int) or status in _RETRYABLE or not 300 <= status < 500
    if retryable:
        return f"the server could not answer ({why or 'no reason given'})", True
    return f"the server refused the request ({why})", False


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields the lines of a file with their numbers, blank ones left out. UserError: it cannot be read."""
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, start=1):
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
