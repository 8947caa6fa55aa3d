"""Calls to OpenAI-compatible servers: address, key, and repeated tries."""

import asyncio
import datetime
import email.utils
import json
import math
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import openai
from aiohttp import ClientError

try:  # the SDK's HTTP client, whose errors end a download
    from httpx2 import ReadTimeout, TransportError
except ImportError:  # versions of the SDK before 3
    from httpx import ReadTimeout, TransportError

from retinal_lib.errors import UserError
from retinal_lib.teacher import body_limits, completion, destination
from retinal_lib.teacher.body_limits import MiB, UnreadableBody
from retinal_lib.teacher.completion import Failure, NoCompletion
from retinal_lib.teacher.destination import Permission
from retinal_lib.teacher.request_errors import DeliveryUnknown, NotFound, Refused, RequestFailed, RunStopped, Unreachable

RETRIES = 6  # tries of one call while the server cannot answer: about half a minute in all
RATE_RETRIES = 30  # tries of one call while the server asks to wait
UNANSWERED = 5  # calls in a row without an answer, after which nothing more is asked
TIMED_OUT = 3  # the same, where each call took as long as it may
LONGEST_PAUSE = 120.0  # seconds between two tries, where the server does not say how long
LONGEST_WAIT = 900.0  # seconds; a server that asks for more, such as until its daily quota is renewed, stops the run
TIMEOUT, LOCAL_TIMEOUT = 600.0, 3600.0  # seconds for an answer; a small server on this machine may take long for one
NO_SERVER = "files that are carried by hand"  # the server's name where requests are written to files and no address is set
T = TypeVar("T")
_DAILY = re.compile(r"per[-_ ]?day|daily", re.IGNORECASE)
_RAW = {"headers": {"X-Stainless-Raw-Response": "true"}}  # the SDK then returns the raw answer
UNEXPECTED_ANSWER = "the server's answer is not that of an OpenAI-compatible API; check OPENAI_BASE_URL (does it end in /v1?)"


class ChatReply(NamedTuple):
    """A chat completion's JSON as it is stored, and the server's id of it."""

    raw: str
    request_id: str


class Server:
    """A server; the key comes from OPENAI_API_KEY alone. With `file_exchange` or `dry_run` it is never called.
    `note` says what calls are waiting for, for the progress line; `backoff` is in seconds, and so is `timeout_s`: how long
    one answer may take, by default 600, and 3,600 at a server on this machine. `refused` are the options that it refused.

    UserError: the address is no http address, or there is no key for a server on another machine.
    """

    def __init__(
        self, file_exchange: bool = False, dry_run: bool = False, backoff: float = 1.0, timeout_s: float | None = None
    ):
        self._address, self.backoff, self.note, self.refused = destination.address(), backoff, "", RefusedOptions()
        self.local = destination.is_loopback(self._address)
        self.timeout_s = timeout_s or (LOCAL_TIMEOUT if self.local else TIMEOUT)
        self._key = destination.key()
        self.name = NO_SERVER if file_exchange and destination.has_no_address() else self._address.partition("?")[0]
        if not self._key and not self.local and not file_exchange and not dry_run:
            raise UserError(f"no key for {self.name}: set OPENAI_API_KEY in the environment")
        self._resume = 0.0  # no call is sent before this time (monotonic seconds)
        self._failed_calls = 0  # calls in a row that the server did not answer
        self._client: openai.AsyncOpenAI | None = None
        self._permission: Permission | None = None

    def allow(self, permission: Permission) -> None:
        """Takes leave for data to be sent; without it, nothing goes to another machine."""
        self._permission = permission

    def _require_permission(self) -> None:
        if not self.local and (self._permission is None or self._permission.address != self._address):
            raise UserError(f"nothing was sent to {self.name}: nobody has checked whether the data may go there")

    def _connect(self) -> openai.AsyncOpenAI:
        # made inside the running event loop: a client of one loop fails in the next. Redirects are not followed and, on this
        # machine, no proxy is used: both would send the data to another place than the one that was allowed.
        if self._client is None:
            hooks = {"response": [body_limits.limit]}
            http = openai.DefaultAioHttpClient(follow_redirects=False, trust_env=not self.local, event_hooks=hooks)
            address, headers = destination.connect_to(self._address)
            self._client = openai.AsyncOpenAI(
                api_key=self._key or "none",
                base_url=address,
                default_headers={**body_limits.HEADERS, **headers},
                max_retries=0,
                http_client=http,
                timeout=openai.Timeout(self.timeout_s, connect=5.0),
            )
        return self._client

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def call(self, send: Callable[[openai.AsyncOpenAI], Awaitable[T]], once: bool = False, patient: bool = False) -> T:
        """Returns the answer that `send` gets with the client; tries again while the server cannot answer.

        `once`: the call costs money, so that it is not sent again where it may have arrived. `patient`: tries again where the
        server does not know the address (404) yet. DeliveryUnknown, RequestFailed, NotFound, RunStopped.
        """
        trial, limit = 0, RETRIES
        while trial < limit:
            trial += 1
            if (wait := self._resume - time.monotonic()) > 0:
                await asyncio.sleep(wait + random.uniform(0, self.backoff))  # not all at once
            try:
                answer = await send(self._connect())
            except openai.APIStatusError as error:
                (reason, pause), must_wait = self._refused(error, patient), error.status_code == 429
                limit = RATE_RETRIES if must_wait else RETRIES
            except _Unanswered as error:
                (reason, pause), must_wait = self._unanswered(error), error.status == 429
                limit = RATE_RETRIES if must_wait else RETRIES
            except (openai.APIConnectionError, TransportError, ClientError) as error:
                reason, pause, must_wait = self._broken_off(error), None, False
            except TimeoutError:
                reason, pause, must_wait = f"no whole answer within {self.timeout_s:,g} seconds", None, False
            except json.JSONDecodeError:
                reason, pause, must_wait = "the server's answer is not JSON", None, False
            else:
                self._failed_calls, self.note = 0, ""
                return answer
            if once and not must_wait:
                raise DeliveryUnknown(reason)
            if trial < limit:
                await self._wait(trial, reason, pause)
        raise self._given_up(reason, f"after {trial} tries each", f"tried {trial} times", UNANSWERED)

    def _broken_off(self, error: BaseException) -> str:
        while error.__cause__ is not None and not isinstance(error, UnreadableBody):
            error = error.__cause__
        if isinstance(error, UnreadableBody):
            return str(error)
        return self.clean(f"the server could not be reached ({f'{type(error).__name__}: {error}'.rstrip(': ')})")

    def _given_up(self, reason: str, each: str, tried: str, most: int) -> RequestFailed | Unreachable:
        """Counts a call that got no answer, and returns the error to raise."""
        self._failed_calls += 1
        if self._failed_calls >= most:
            return Unreachable(f"{self._failed_calls} requests in a row got no answer {each}; the last: {reason}")
        return RequestFailed(f"{reason}; {tried}")

    async def chat(self, body: dict) -> ChatReply:
        """Posts a chat completion and returns its JSON; an option that the server refuses is sent under its other name, or left
        out. NotFound, RequestFailed, RunStopped."""
        while True:
            sent = self.refused.apply(body)
            try:
                return await self.call(lambda client, sent=sent: self._chat(client, sent))
            except Refused as error:
                if not self.refused.add(str(error), sent):
                    raise

    async def _chat(self, client: openai.AsyncOpenAI, body: dict) -> ChatReply:
        self._require_permission()
        # the SDK's plain post: chat.completions.create checks each message's type first, which takes as long as the rest of
        # a request, and refuses options that only other servers have
        try:
            async with asyncio.timeout(self.timeout_s):  # in all: a body may come a byte at a time
                response = await client.post("/chat/completions", body=body, cast_to=object, options=_RAW)
        except (openai.APITimeoutError, TimeoutError) as error:
            if isinstance(error, openai.APITimeoutError) and not isinstance(error.__cause__, ReadTimeout):
                raise  # it may not have arrived
            # not sent again: the server may be working on it still, and would do the work twice
            reason = f"no answer within {self.timeout_s:,g} seconds; pass a larger timeout_s, or a smaller concurrency"
            raise self._given_up(reason, "in time", "not sent again in this run", TIMED_OUT) from error
        try:
            answer = completion.parse(response.text)
        except NoCompletion as error:
            raise _Unanswered(error, response.headers) from error
        return ChatReply(self._without_key(answer.raw), self._without_key(response.headers.get("x-request-id", "")))

    async def get(self, path: str, patient: bool = False, **query: object) -> dict:
        """Returns the JSON object at a path; a bare list is put under `data`. RequestFailed, NotFound, RunStopped."""
        options = {"params": query} if query else {}
        answer = await self.call(self._timed(lambda client: client.get(path, cast_to=object, options=options)), patient=patient)
        answer = {"data": answer} if isinstance(answer, list) else answer
        if not isinstance(answer, dict):
            raise RequestFailed(UNEXPECTED_ANSWER)
        return answer

    async def post(self, path: str, body: dict, once: bool = False) -> object:
        """Posts a body to a path and returns the JSON of the answer; `once` and errors as in `call`."""
        self._require_permission()
        return await self.call(self._timed(lambda client: client.post(path, body=body, cast_to=object)), once=once)

    def _timed(self, send: Callable[[openai.AsyncOpenAI], Awaitable[T]], size: int = 0) -> Callable:
        """A call that raises TimeoutError where it takes longer than an answer may; sending a file takes its time besides."""

        async def within(client: openai.AsyncOpenAI) -> T:
            async with asyncio.timeout(self.timeout_s + size / body_limits.SLOWEST):
                return await send(client)

        return within

    async def create(self, path: str, body: dict) -> dict:
        """Posts a call that costs money, once, and returns the new object. DeliveryUnknown: it may have been made."""
        made = await self.post(path, body, once=True)
        if not isinstance(made, dict) or not isinstance(made.get("id"), str):
            raise DeliveryUnknown(UNEXPECTED_ANSWER)
        return made

    async def upload(self, path: Path) -> str:
        """Uploads a request file for a batch, reading it as it is sent; returns its id. RequestFailed, RunStopped."""
        self._require_permission()

        async def send(client: openai.AsyncOpenAI) -> str:
            with path.open("rb") as file:
                made = await client.files.create(file=(path.name, file, "application/jsonl"), purpose="batch")
            return getattr(made, "id", None) or ""

        if not (file_id := await self.call(self._timed(send, path.stat().st_size))):
            raise RequestFailed(UNEXPECTED_ANSWER)
        return file_id

    async def download(self, file_id: str, path: Path, lines: int) -> None:
        """Downloads a file of results to disk; `lines` is how many it should have. RequestFailed: the download failed each
        time, or the file is far too large for its lines; OSError: the file cannot be written."""
        longest, loop = body_limits.LONGEST_BODY + lines * MiB, asyncio.get_running_loop()

        async def send(client: openai.AsyncOpenAI) -> None:
            begun, size = loop.time(), 0
            async with (
                asyncio.timeout(self.timeout_s) as deadline,
                client.files.with_streaming_response.content(file_id) as answer,
            ):
                with path.open("wb") as file:
                    async for part in answer.iter_bytes(MiB):
                        size += len(part)
                        if size > longest:
                            raise RequestFailed(f"the file of {lines:,} results is larger than {longest // MiB:,} MiB")
                        deadline.reschedule(begun + self.timeout_s + size / body_limits.SLOWEST)
                        file.write(part)

        await self.call(send, patient=True)

    async def pause(self, trial: int) -> None:
        """Waits a little longer with each trial (from 1)."""
        await asyncio.sleep(min(LONGEST_PAUSE, self.backoff * 2 ** (trial - 1)) * random.uniform(0.5, 1))

    async def _wait(self, trial: int, reason: str, pause: float | None) -> None:
        self.note = f"waiting: {reason[:80]}"
        if pause is not None:  # the server says how long; this holds for all calls
            self._resume = max(self._resume, time.monotonic() + pause)
            return
        await self.pause(trial)

    def _refused(self, error: openai.APIStatusError, patient: bool) -> tuple[str, float | None]:
        """The reason for a temporary refusal, and the pause that the server asks for. RequestFailed, NotFound, RunStopped."""
        try:
            return self._refusal(error.status_code, _failure(error), error.response.headers, patient)
        except (RequestFailed, RunStopped) as hopeless:
            raise hopeless from error

    def _unanswered(self, error: "_Unanswered") -> tuple[str, float | None]:
        """The same for an error that came as if it were an answer (status 200)."""
        if error.status:
            return self._refusal(error.status, error.failure, error.headers)
        reason = self.clean(f"the server's answer is no chat completion ({error})")
        return reason, _retry_after(error.headers)

    def _refusal(self, status: int, failure: Failure, headers: Mapping, patient: bool = False) -> tuple[str, float | None]:
        message, pause = self.clean(f"{status} {failure.message}"), _retry_after(headers)
        spent = status == 402 or (status == 429 and re.search("quota|billing", f"{failure.code} {failure.kind}"))
        if spent or (pause or 0) > LONGEST_WAIT or (status == 429 and pause is None and _DAILY.search(message)):
            raise RunStopped(_not_now(status, message, pause))
        if status in (401, 403):
            raise RunStopped(f"the server refused the key ({message}); check OPENAI_API_KEY, then run again")
        if status in (408, 409, 425, 429) or status >= 500 or (patient and status == 404):
            return f"the server answered {message}", pause
        if status == 404 or 300 <= status < 400:
            raise NotFound(message)
        raise Refused(f"the server refused the request ({message})")

    def _without_key(self, text: str) -> str:
        """The text without the key, which some servers and models echo."""
        return text.replace(self._key, "[key]") if self._key else text

    def clean(self, text: str) -> str:
        """Returns a text for users: one line, without the key."""
        text = self._without_key(" ".join(text.split()))
        return destination.without_login(re.sub(r"\b(sk-|Bearer )[\w*.-]{8,}", r"\1[key]", text))[:300]


class _Unanswered(Exception):
    """Raised for an answer with status 200 that is no chat completion; `status` is that of the error in it, 0 without one."""

    def __init__(self, why: NoCompletion, headers: Mapping):
        super().__init__(str(why))
        self.headers, self.failure = headers, why.failure or Failure()
        self.status = self.failure.status


def _failure(error: openai.APIStatusError) -> Failure:
    # the body of a refused download was not read
    text = error.response.text if error.response.is_stream_consumed else ""
    found = completion.failure(text if text.strip().startswith(("{", "[")) else error.body)
    return found._replace(message=(found.message or text or error.response.reason_phrase)[:200])


def _not_now(status: int, message: str, pause: float | None) -> str:
    """Why a server answers nothing for long, and when to go on."""
    what = "the quota is spent" if status in (402, 429) else "the server answers nothing"
    if (pause or 0) <= LONGEST_WAIT:
        return f"{what} ({message}); raise it, or wait until it is renewed, then run again: nothing answered is asked again"
    when = datetime.datetime.now().astimezone() + datetime.timedelta(seconds=min(pause, 366 * 86400))
    return f"{what} until {when:%d %b %H:%M} ({message}); run again then: nothing answered is asked again"


def _retry_after(headers: object) -> float | None:
    """The seconds that the server asks to wait, in any of three formats; None where it asks for nothing readable."""
    try:
        if value := headers.get("retry-after-ms"):
            seconds = float(value) / 1000
        elif value := headers.get("retry-after", ""):
            seconds = (
                float(value)
                if re.fullmatch(r"[\d.]+", value)
                else email.utils.parsedate_to_datetime(value).timestamp() - time.time()
            )
        else:
            return None
    except (ValueError, TypeError):
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


# --- options that a server refuses, such as max_tokens of some models: sent under their other name, or left out -------------

_OTHER_NAMES = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_REFUSES = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|unexpected|extra[_ ](?:forbidden|inputs)|deprecated|only the default|cannot both"
    r"|(?:not|n't)(?: be)? (?:support|allow|permit|recogni|accept|available)",
    re.IGNORECASE,
)
_IN_QUOTES = {"user", "stop", "n"}  # options whose names are common words


class RefusedOptions:
    """The options that a server refused so far. `changes` has for each the name under which it is sent, "" where it is left
    out, and the server's reason."""

    def __init__(self) -> None:
        self.changes: dict[str, tuple[str, str]] = {}

    @property
    def notes(self) -> list[str]:
        """A sentence on each option that is not sent as it was set."""
        return [
            f"The server refused the option {name} ({why}): " + (f"sent as {new}." if new else "requests are sent without it.")
            for name, (new, why) in self.changes.items()
        ]

    def apply(self, options: dict) -> dict:
        """Returns options, or a body with them, in the form that the server takes."""
        new = {name: value for name, value in options.items() if name not in self.changes}
        for name, (other, _) in self.changes.items():
            if other and name in options:
                new.setdefault(other, options[name])
        return new

    def add(self, reason: str, sent: dict) -> str:
        """Reads the reason why a server refused a request with these options; returns the option that it names, if the request
        may pass with that changed, else "". The limit of an answer's length is never left out: it limits the cost."""
        places = {name: place for name in sent if (place := _place(name, reason)) >= 0} if _REFUSES.search(reason) else {}
        if not places:
            return ""
        name = min(places, key=places.__getitem__)
        if name in self.changes:  # another request was refused before
            return name
        other = _OTHER_NAMES.get(name, "")
        if other in self.changes:
            return ""
        self.changes[name] = (other, reason.removeprefix("the server refused the request (").removesuffix(")"))
        return name


def _place(name: str, reason: str) -> int:
    pattern = rf"(?<![\w.-]){re.escape(name)}(?![\w-])"
    if name in _IN_QUOTES:
        pattern = rf"(?<=['\"`]){re.escape(name)}(?=['\"`])"
    found = re.search(pattern, reason)
    return found.start() if found and name not in ("model", "messages") else -1
