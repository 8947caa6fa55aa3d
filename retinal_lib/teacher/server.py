"""The door to OpenAI-compatible servers: address, key, and the one place where a call is tried again."""

import asyncio
import email.utils
import json
import os
import random
import re
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import openai

try:  # the SDK's transport, in whose terms a download breaks off
    from httpx2 import TransportError
except ImportError:  # versions of the SDK before 3
    from httpx import TransportError

from retinal_lib.errors import UserError

RETRIES = 6  # tries of one call while the server cannot answer: about half a minute in all
RATE_RETRIES = 30  # tries of one call while the server only asks for patience
LONGEST_PAUSE = 120.0  # seconds
DEFAULT_SERVER = "https://api.openai.com/v1"
NOWHERE = "files that are carried by hand"  # the server's name where requests leave as files and no address is set
T = TypeVar("T")
_RAW = {"headers": {"X-Stainless-Raw-Response": "true"}}  # the SDK then returns the answer as it came
STRANGE = "the server answered with something else than the API does; check OPENAI_BASE_URL (does it end in /v1?)"


class ChatReply(NamedTuple):
    """The body of an answer to a chat completion as it came, and the server's id of it."""

    raw: str
    request_id: str


class RequestFailed(Exception):
    """A request got no answer; the message says why. It is asked again in the next run."""


class NotFound(RequestFailed):
    """The server has nothing at that address (404), or redirects elsewhere."""


class DeliveryUnknown(RequestFailed):
    """It is not known whether the call reached the server."""


class OutcomeUnknown(RequestFailed):
    """It is not known whether a call that costs money was carried out, and the server does not tell."""


class RunStopped(Exception):
    """No request can be answered any more (a bad key, a spent quota, no server); the message says why."""


class Unreachable(RunStopped):
    """The server did not answer many calls in a row."""


def address() -> str:
    """Returns the OpenAI-compatible server's address from OPENAI_BASE_URL. UserError: it is no http address."""
    url = os.environ.get("OPENAI_BASE_URL", "").strip().rstrip("/") or DEFAULT_SERVER
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"OPENAI_BASE_URL is {without_login(url)!r}; expected an address such as http://localhost:8000/v1")
    return url


def unnamed() -> bool:
    """Whether no address is set, so that it is not known where request files go."""
    return not os.environ.get("OPENAI_BASE_URL", "").strip()


def is_loopback(address: str) -> bool:
    """Whether the address can only be this machine."""
    host = urlsplit(address).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def without_login(address: str) -> str:
    """Returns an address, or a text with addresses, without user name, password and query."""
    return re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", re.sub(r"//[^/@]*@", "//", address))


class Server:
    """One server; the key comes from OPENAI_API_KEY alone. With `file_exchange` it is never called: requests leave as files,
    and only an address that is set in the environment names it; with `dry_run` it is not called either. `note` says what it
    is waiting for, for the progress line; `backoff` is in seconds.

    UserError: the address is none, or there is no key for a server elsewhere.
    """

    def __init__(self, file_exchange: bool = False, dry_run: bool = False, backoff: float = 1.0):
        self._address, self.backoff, self.note = address(), backoff, ""
        self.local = is_loopback(self._address)
        self._key = os.environ.get("OPENAI_API_KEY", "").strip()
        self.name = NOWHERE if file_exchange and unnamed() else without_login(self._address)
        if not self._key and not self.local and not file_exchange and not dry_run:
            raise UserError(f"no key for {self.name}: set OPENAI_API_KEY in the environment")
        self._resume = 0.0  # no call leaves before this moment (monotonic seconds)
        self._dead = 0  # calls in a row that the server did not answer
        self._client: openai.AsyncOpenAI | None = None

    def _connect(self) -> openai.AsyncOpenAI:
        # built inside the running loop: a client of one loop fails in the next. Redirects are not followed and, on this
        # machine, no proxy is used: both would carry the data to another place than the one that was allowed.
        if self._client is None:
            http = openai.DefaultAioHttpClient(follow_redirects=False, trust_env=not self.local)
            self._client = openai.AsyncOpenAI(
                api_key=self._key or "none", base_url=self._address, max_retries=0, http_client=http
            )
        return self._client

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def call(self, send: Callable[[openai.AsyncOpenAI], Awaitable[T]], once: bool = False, patient: bool = False) -> T:
        """Returns what `send` gets with the client; tries again while the server cannot answer.

        `once`: the call costs money, so that it is not sent again where it may have arrived: DeliveryUnknown. `patient`: what
        the server does not know yet is asked for again. RequestFailed, NotFound, RunStopped.
        """
        trial, limit = 0, RETRIES
        while trial < limit:
            trial += 1
            if (wait := self._resume - time.monotonic()) > 0:
                await asyncio.sleep(wait + random.uniform(0, self.backoff))  # not all at once
            try:
                answer = await send(self._connect())
            except openai.APIStatusError as error:
                reason, pause = self._refused(error, patient)
                if once and error.status_code != 429:
                    raise DeliveryUnknown(reason) from error
                limit = RATE_RETRIES if error.status_code == 429 else RETRIES
            except (openai.APIConnectionError, TransportError) as error:
                reason, pause = self.clean(f"the server could not be reached ({_cause(error)})"), None
                if once:
                    raise DeliveryUnknown(reason) from error
            except json.JSONDecodeError as error:
                reason, pause = "the server's answer is no JSON", None
                if once:
                    raise DeliveryUnknown(reason) from error
            else:
                self._dead, self.note = 0, ""
                return answer
            if trial < limit:
                await self._wait(trial, reason, pause)
        self._dead += 1
        if self._dead >= 5:
            raise Unreachable(f"{self._dead} requests in a row got no answer after {trial} tries each; the last: {reason}")
        raise RequestFailed(f"{reason}; tried {trial} times")

    async def chat(self, body: dict) -> ChatReply:
        """Posts a chat completion and returns the answer unread. NotFound, RequestFailed, RunStopped."""
        # the SDK's plain post: chat.completions.create checks each message's type first, which takes as long as all the
        # rest of a request, and refuses options that only other servers know
        response = await self.call(lambda client: client.post("/chat/completions", body=body, cast_to=object, options=_RAW))
        return ChatReply(response.text, response.headers.get("x-request-id", ""))

    async def get(self, path: str, patient: bool = False, **query: object) -> dict:
        """Returns the JSON object at a path; a bare list is put under `data`. RequestFailed, NotFound, RunStopped."""
        options = {"params": query} if query else {}
        answer = await self.call(lambda client: client.get(path, cast_to=object, options=options), patient=patient)
        answer = {"data": answer} if isinstance(answer, list) else answer
        if not isinstance(answer, dict):
            raise RequestFailed(STRANGE)
        return answer

    async def post(self, path: str, body: dict, once: bool = False) -> object:
        """Posts a body to a path and returns the JSON of the answer; `once` and errors as in `call`."""
        return await self.call(lambda client: client.post(path, body=body, cast_to=object), once=once)

    async def create(self, path: str, body: dict) -> dict:
        """Posts a call that costs money, once, and returns what it made. DeliveryUnknown: it may have been made."""
        made = await self.post(path, body, once=True)
        if not isinstance(made, dict) or not isinstance(made.get("id"), str):
            raise DeliveryUnknown(STRANGE)
        return made

    async def upload(self, path: Path) -> str:
        """Uploads a request file for a batch, reading it as it is sent; returns its id. RequestFailed, RunStopped."""

        async def send(client: openai.AsyncOpenAI) -> str:
            with path.open("rb") as file:
                made = await client.files.create(file=(path.name, file, "application/jsonl"), purpose="batch")
            return getattr(made, "id", None) or ""

        if not (file_id := await self.call(send)):
            raise RequestFailed(STRANGE)
        return file_id

    async def download(self, file_id: str, path: Path) -> None:
        """Downloads a file to disk as it comes. RequestFailed: it broke off each time; OSError: the disk is full."""

        async def send(client: openai.AsyncOpenAI) -> None:
            async with client.files.with_streaming_response.content(file_id) as answer:
                with path.open("wb") as file:
                    async for part in answer.iter_bytes(1 << 20):
                        file.write(part)

        await self.call(send, patient=True)

    async def pause(self, trial: int) -> None:
        """Waits a little longer with each trial (from 1)."""
        await asyncio.sleep(min(LONGEST_PAUSE, self.backoff * 2 ** (trial - 1)) * random.uniform(0.5, 1))

    async def _wait(self, trial: int, reason: str, pause: float | None) -> None:
        self.note = f"waiting: {reason[:80]}"
        if pause is not None:  # the server said how long: that holds for all calls
            self._resume = max(self._resume, time.monotonic() + pause)
            return
        await self.pause(trial)

    def _refused(self, error: openai.APIStatusError, patient: bool) -> tuple[str, float | None]:
        """The reason, and the pause the server asked for, of a refusal that may pass. RequestFailed, NotFound, RunStopped."""
        status, code = error.status_code, str(error.code or error.type or "")
        message = self.clean(f"{status} {_message(error)}")
        if status in (401, 402, 403):
            raise RunStopped(f"the server refused the key ({message}); check OPENAI_API_KEY, then run again") from error
        if status == 429 and ("quota" in code or "billing" in code):
            raise RunStopped(
                f"the quota is spent ({message}); top it up, then run again: nothing answered is asked again"
            ) from error
        if status in (408, 409, 425, 429) or status >= 500 or (patient and status == 404):
            return f"the server answered {message}", _retry_after(error.response.headers)
        if status == 404 or 300 <= status < 400:
            raise NotFound(message) from error
        raise RequestFailed(f"the server refused the request ({message})") from error

    def clean(self, text: str) -> str:
        """Returns text for people to see: one line, without the key."""
        text = " ".join(text.split())
        if self._key:
            text = text.replace(self._key, "[key]")
        return without_login(re.sub(r"\b(sk-|Bearer )[\w*.-]{8,}", r"\1[key]", text))[:300]


def _message(error: openai.APIStatusError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or _text(error) or error.response.reason_phrase)[:200]


def _text(error: openai.APIStatusError) -> str:
    # the answer to a streamed download is not read where it is a refusal
    return error.response.text if error.response.is_stream_consumed else ""


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _retry_after(headers: object) -> float | None:
    """Seconds to wait as the server asks, in any of the three forms; None where it asks for nothing usable."""
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
    return min(max(seconds, 0.0), LONGEST_PAUSE)
