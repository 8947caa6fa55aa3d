"""Reads the bodies that servers answer with: a chat completion, or why it is none."""

import json
import re
from typing import NamedTuple

import orjson

_LENIENT = json.JSONDecoder(strict=False, parse_constant=lambda _: None)  # takes NaN in logprobs
_LONE_SURROGATES = re.compile("[\ud800-\udfff]")  # half of a character, where an answer was cut
_DEEPEST = 5  # errors within errors


class Failure(NamedTuple):
    """An error of a server: its code, its kind (type or status), and its message; each may be empty."""

    code: str = ""
    kind: str = ""
    message: str = ""

    @property
    def status(self) -> int:
        """The HTTP status that the code names, else 0."""
        return int(self.code) if re.fullmatch(r"[45]\d\d", self.code) else 0

    @property
    def text(self) -> str:
        """The code, or else the kind, with the message."""
        return " ".join(f"{self.code or self.kind} {self.message}".split())


class Completion(NamedTuple):
    """A chat completion, whose first choice has a message, and its JSON as it is stored."""

    body: dict
    raw: str


class NoCompletion(ValueError):
    """Raised for a body that is no chat completion; the message says why. `failure` is the error that the server sent instead,
    if it sent one, `body` the JSON object that was read, if it was one."""

    def __init__(self, why: str, failure: Failure | None = None, body: object = None):
        super().__init__(why)
        self.failure, self.body = failure, body if isinstance(body, dict) else {}


def parse(raw: str) -> Completion:
    """Returns the chat completion in a body. A byte order mark, NaN, a half character, `data: [DONE]` at the end, and a
    completion streamed in parts are put right; any other body is stored as it came. NoCompletion: it is none."""
    try:
        completion = Completion(orjson.loads(raw), raw)
    except orjson.JSONDecodeError:
        try:
            text = json.dumps(_odd(raw.lstrip("\ufeff \t\r\n")), ensure_ascii=False)
            text = _LONE_SURROGATES.sub("\ufffd", text)
            completion = Completion(orjson.loads(text), text)
        except (ValueError, RecursionError) as error:
            start = " ".join(raw[:60].split())
            why = f"not JSON, it begins with {start!r}" if start else "the body is empty"
            raise NoCompletion(str(error) if isinstance(error, NoCompletion) else why) from error
    _check(completion.body)
    return completion


def _check(body: object) -> None:
    """NoCompletion: there is no message in the first choice, or an error in its place."""
    choice = _first_choice(body)
    error = choice.get("error")
    if not error and isinstance(choice.get("message"), dict):
        return
    error = error or (body.get("error") if isinstance(body, dict) else body)
    found = failure(error or ("" if choice else body))
    if found.text:
        raise NoCompletion(found.text, found, body)
    if not isinstance(body, dict):
        raise NoCompletion("no JSON object")
    raise NoCompletion("its first choice has no message" if choice else "it has no choices", None, body)


def _first_choice(body: object) -> dict:
    choices = body.get("choices") if isinstance(body, dict) else None
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def failure(error: object) -> Failure:
    """Returns an error that came in any form: OpenAI's, a text, JSON in a text, or one error within another."""
    code = kind = ""
    for _ in range(_DEEPEST):
        if isinstance(error, str) and error.strip().startswith(("{", "[")):
            try:
                error = orjson.loads(error)
            except orjson.JSONDecodeError:
                break
        if isinstance(error, list):
            error = error[0] if error else ""
        if not isinstance(error, dict):
            break
        code, kind = _word(error.get("code")) or code, _word(error.get("type")) or _word(error.get("status")) or kind
        names = ("error", "errors", "message", "detail", "msg")
        inner = next((error[name] for name in names if error.get(name) and isinstance(error[name], str | dict | list)), "")
        loc = error.get("loc")
        place = error.get("param") or (loc[-1] if isinstance(loc, list) and loc else "")
        if isinstance(inner, str) and isinstance(place, str) and place not in inner:
            inner = f"{inner} ({place})".strip()
        error = inner
    return Failure(code, kind, " ".join(error.split()) if isinstance(error, str) else "")


def _word(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "None" else ""


def _odd(text: str) -> object:
    """The JSON in a body that is not plain JSON. ValueError, RecursionError: there is none."""
    if text.startswith(("data:", ":", "event:")):
        return _streamed(text)
    value, end = _LENIENT.raw_decode(text)
    if text[end:].strip() not in ("", "data: [DONE]"):
        raise ValueError("more than one value")
    return value


def _streamed(lines: str) -> dict:
    """One completion from the parts of a stream. NoCompletion: the stream is cut."""
    data = [line.removeprefix("data:").strip() for line in lines.splitlines() if line.startswith("data:")]
    whole, content, finish = {}, "", None
    for part in (_LENIENT.decode(entry) for entry in data if entry != "[DONE]"):
        if not isinstance(part, dict):
            raise ValueError("no object")
        choice, delta = _first_choice(part), _first_choice(part).get("delta")
        if part.get("error") or "message" in choice:
            return part
        whole |= {name: value for name, value in part.items() if value is not None and name != "choices"}
        text = delta.get("content") if isinstance(delta, dict) else ""
        content += text if isinstance(text, str) else ""
        finish = choice.get("finish_reason") or finish
    if finish is None and "[DONE]" not in data:
        raise NoCompletion("the stream is cut")
    message = {"role": "assistant", "content": content}
    return whole | {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}
