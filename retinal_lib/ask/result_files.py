"""Reads result files of batches: the answer in each line, in every shape that servers write."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import orjson

from retinal_lib.ask.batch_ledger import Answer
from retinal_lib.errors import UserError

_CHUNK = 2000  # lines taken in at once
_RETRYABLE = {401, 403, 404, 408, 409, 425, 429}  # none of these is the request's own fault
# what a batch as a whole is refused for, even where a line is named
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
# what a line, or a batch as a whole, may fail of that is not the request's fault
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
    """A line of a result file that belongs to no request; the message says why."""


def read(text: str | bytes) -> Answer:
    """Returns the answer in a line. NoResult: it is no JSON object with a custom_id."""
    try:
        entry = orjson.loads(text)
    except ValueError as error:
        raise NoResult("no JSON") from error
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
    answered = isinstance(body, dict) and "choices" in body  # paid for, whatever stands beside it
    if done and body and isinstance(body, dict | str) and (answered or not failure):
        request_id = response.get("request_id")
        return Answer(
            name,
            body if isinstance(body, str) else orjson.dumps(body).decode(),
            request_id if isinstance(request_id, str) else "",
        )
    inner = body.get("error", body) if isinstance(body, dict) else body
    return Answer(name, None, "", *_failed(status, failure or inner))


def name(text: str | bytes) -> str:
    """Returns the custom_id of a line that this package wrote."""
    return orjson.loads(text)["custom_id"]


def _failed(status: object, failure: object) -> tuple[str, bool]:
    """The reason of a failure, and whether the request may be sent again."""
    code, message = "", str(failure or "")
    if isinstance(failure, dict):
        code, message = str(failure.get("code") or failure.get("type") or ""), str(failure.get("message") or "")
    why = " ".join(" ".join(filter(None, [str(status or ""), code, message])).split())[:300]
    retryable = code in RETRYABLE_CODES or not isinstance(status, int) or status in _RETRYABLE or not 300 <= status < 500
    if retryable:
        return f"the server could not answer ({why or 'without a reason'})", True
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


def answers(path: Path) -> Iterator[tuple[list[tuple[int, Answer]], list[str]]]:
    """Yields a file's answers with the numbers of their lines, many at a time, and what is wrong with lines that hold none.

    UserError: it cannot be read.
    """
    remaining = lines(path)
    while chunk := list(islice(remaining, _CHUNK)):
        readable, unreadable = [], []
        for number, text in chunk:
            try:
                readable.append((number, read(text)))
            except NoResult as error:
                unreadable.append(f"{path.name}, line {number}: {error}")
        yield readable, unreadable
