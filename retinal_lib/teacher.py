"""Teachers: whoever answers a request. Retries of a server live here and nowhere else."""

import asyncio
import email.utils
import hashlib
import json
import os
import random
import re
import time
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import openai

from retinal_lib import offline, picture
from retinal_lib.errors import UserError
from retinal_lib.fact import Case

RETRIES = 6  # tries of one request while the server cannot answer: about half a minute in all
RATE_RETRIES = 30  # tries of one request while the server only asks for patience
LONGEST_PAUSE = 120.0  # seconds
_RAW = {"headers": {"X-Stainless-Raw-Response": "true"}}  # the SDK then returns the answer as it came
DEFAULT_SERVER = "https://api.openai.com/v1"


@dataclass(frozen=True)
class Request:
    """What a teacher is asked about one image. `picture` is sent along where there is one."""

    case: Case
    system: str
    track: str
    style: str | None
    picture: Path | None = None

    def key(self, identity: dict) -> str:
        """sha256 over everything that changes the answer: messages, image, teacher. The id keeps two images that have
        the same facts apart, so that each gets an answer of its own."""
        image = picture.fingerprint(self.picture) if self.picture else ""
        short = [self.case.id, self.track, self.style, image, identity]
        # each part has a length or an end of its own, so that no two requests give the same bytes
        digest = hashlib.sha256(json.dumps(short, sort_keys=True).encode())
        for text in (self.system, self.case.description):
            encoded = text.encode()
            digest.update(b"\n%d\n" % len(encoded))
            digest.update(encoded)
        return digest.hexdigest()


@dataclass(frozen=True)
class Reading:
    """A raw reply as read: the text, or the problem that makes it useless; tokens as the server counted them."""

    text: str = ""
    problem: str = ""
    tokens: dict[str, int] = field(default_factory=dict)


class RequestFailed(Exception):
    """This request got no answer; the message says why. It is asked again in the next run."""


class RunStopped(Exception):
    """No request can be answered any more (a bad key, a spent quota, no server); the message says why."""


class Teacher(Protocol):
    """What `direct` needs of a teacher. `identity` is all that changes its answers besides the messages."""

    name: str
    model: str
    identity: dict

    async def ask(self, request: Request) -> tuple[str, str]:
        """The raw reply and the server's id of it. RequestFailed, RunStopped."""

    def read(self, raw: str) -> Reading:
        """What a raw reply says."""

    async def close(self) -> None:
        """Lets go of connections."""


class OfflineTeacher:
    """Composes conversations from the facts on this machine: free, grounded in every word, the same for a seed."""

    name = "offline"
    model = "retinal_lib offline composer"
    note = ""  # never waits

    def __init__(self, seed: int = 0):
        self.seed = seed
        self.identity = {"teacher": self.name, "seed": seed, "composer": offline.version()}

    async def ask(self, request: Request) -> tuple[str, str]:
        """The composed reply; it needs no server, so the id is empty."""
        return offline.compose(request.case, request.track, request.style, self.seed), ""

    def read(self, raw: str) -> Reading:
        """The reply as it stands."""
        return Reading(raw)

    async def close(self) -> None:
        """Nothing to let go of."""


def server() -> str:
    """The OpenAI-compatible server's address from OPENAI_BASE_URL. UserError: it is no http address."""
    address = os.environ.get("OPENAI_BASE_URL", "").strip().rstrip("/") or DEFAULT_SERVER
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"OPENAI_BASE_URL is {_without_login(address)!r}; expected an address such as http://localhost:8000/v1")
    return address


def is_loopback(address: str) -> bool:
    """True where the address can only be this machine."""
    host = urlsplit(address).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _without_login(address: str) -> str:
    return re.sub(r"//[^/@]*@", "//", address)


class OpenAITeacher:
    """Any OpenAI-compatible server. The address comes from OPENAI_BASE_URL, the key from OPENAI_API_KEY alone."""

    name = "openai"

    def __init__(self, model: str | None, options: dict | None = None, backoff: float = 1.0):
        if not model:
            raise UserError(
                "the openai teacher needs a model, such as -p model gpt-4o-mini, or the name your own server gives it"
            )
        self.model, self.options, self.backoff = model, options or {}, backoff
        clashing = sorted({"model", "messages", "stream", "n", "api_key", "extra_headers", "extra_query"} & set(self.options))
        if clashing:
            raise UserError(f"request options {', '.join(clashing)} are set by the run and cannot stand under `request`")
        self._address = server()
        self._local = is_loopback(self._address)
        self._key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not self._key and not self._local:
            raise UserError(f"no key for {_without_login(self._address)}: set OPENAI_API_KEY in the environment")
        self.server = _without_login(self._address)
        self.identity = {"teacher": self.name, "server": self.server, "model": model, "request": self.options}
        self.note = ""  # what it is waiting for, for the progress line
        self._resume = 0.0  # no request leaves before this moment (monotonic seconds)
        self._dead = 0  # requests in a row that the server did not answer
        self._client: openai.AsyncOpenAI | None = None

    def _connect(self) -> openai.AsyncOpenAI:
        # built inside the running loop: a client of one loop fails in the next. Redirects are not followed and, on this
        # machine, no proxy is used: both would carry the data to another place than the one that was allowed.
        if self._client is None:
            http = openai.DefaultAioHttpClient(follow_redirects=False, trust_env=not self._local)
            self._client = openai.AsyncOpenAI(
                api_key=self._key or "none", base_url=self._address, max_retries=0, http_client=http
            )
        return self._client

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _messages(self, request: Request) -> list[dict]:
        content: str | list[dict] = request.case.description
        if request.picture:
            url = await asyncio.to_thread(picture.as_sent, request.picture)
            content = [{"type": "text", "text": content}, {"type": "image_url", "image_url": {"url": url}}]
        return [{"role": "system", "content": request.system}, {"role": "user", "content": content}]

    async def ask(self, request: Request) -> tuple[str, str]:
        """The body of the server's answer and its request id."""
        try:
            body = {"model": self.model, "messages": await self._messages(request), **self.options}
        except UserError as error:
            raise RequestFailed(str(error)) from error
        trial, limit = 0, RETRIES
        while trial < limit:
            trial += 1
            if (wait := self._resume - time.monotonic()) > 0:
                await asyncio.sleep(wait + random.uniform(0, self.backoff))  # not all at once
            try:
                # the SDK's plain post: chat.completions.create checks each message's type first, which takes as long as
                # all the rest of a request, and refuses options that only other servers know
                response = await self._connect().post("/chat/completions", body=body, cast_to=object, options=_RAW)
            except openai.APIStatusError as error:
                reason, pause = self._refused(error)
                limit = RATE_RETRIES if error.status_code == 429 else RETRIES
            except openai.APIConnectionError as error:
                reason, pause = self._clean(f"the server could not be reached ({_cause(error)})"), None
            else:
                self._dead, self.note = 0, ""
                return response.text, response.headers.get("x-request-id", "")
            if trial < limit:
                await self._wait(trial, reason, pause)
        self._dead += 1
        if self._dead >= 5:
            raise RunStopped(f"{self._dead} requests in a row got no answer after {trial} tries each; the last: {reason}")
        raise RequestFailed(f"{reason}; tried {trial} times")

    async def _wait(self, trial: int, reason: str, pause: float | None) -> None:
        self.note = f"waiting: {reason[:80]}"
        if pause is not None:  # the server said how long: that holds for all requests
            self._resume = max(self._resume, time.monotonic() + pause)
            return
        await asyncio.sleep(min(LONGEST_PAUSE, self.backoff * 2 ** (trial - 1)) * random.uniform(0.5, 1))

    def _refused(self, error: openai.APIStatusError) -> tuple[str, float | None]:
        """The reason, and the pause the server asked for, of a refusal that may pass. RequestFailed, RunStopped."""
        status, code = error.status_code, str(error.code or error.type or "")
        said = self._clean(f"{status} {_said(error)}")
        if status in (401, 402, 403):
            raise RunStopped(f"the server refused the key ({said}); check OPENAI_API_KEY, then run again") from error
        if status == 429 and ("quota" in code or "billing" in code):
            raise RunStopped(
                f"the quota is spent ({said}); top it up, then run again: nothing answered is asked again"
            ) from error
        if status == 404 or 300 <= status < 400:
            raise RunStopped(
                f"{self.server} does not offer model {self.model!r} there ({said}); check OPENAI_BASE_URL and model"
            ) from error
        if status in (408, 409, 425, 429) or status >= 500:
            return f"the server answered {said}", _retry_after(error.response.headers)
        raise RequestFailed(f"the server refused the request ({said})") from error

    def _clean(self, text: str) -> str:
        """Text for people to see: one line, without the key."""
        text = " ".join(text.split())
        if self._key:
            text = text.replace(self._key, "[key]")
        return _without_login(re.sub(r"\b(sk-|Bearer )[\w*.-]{8,}", r"\1[key]", text))[:300]

    def read(self, raw: str) -> Reading:
        """The text of a chat completion, or what makes it useless: cut, refused, empty, or no completion at all."""
        try:
            body = json.loads(raw)
        except json.JSONDecodeError:
            return Reading(problem="the reply is not JSON")
        if not isinstance(body, dict):
            return Reading(problem="the reply is no chat completion")
        tokens = _tokens(body.get("usage"))
        choices = body.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            said = self._clean(json.dumps(body["error"])) if body.get("error") else "it has no choices"
            return Reading(problem=f"the reply is no chat completion: {said}", tokens=tokens)
        message = choices[0].get("message") or {}
        text, finish = _text(message.get("content")), choices[0].get("finish_reason")
        problem = ""
        if message.get("refusal"):
            problem = "the teacher refused"
        elif finish == "length":
            problem = "the reply is cut (finish_reason length): raise max_tokens under `request`"
        elif finish == "content_filter":
            problem = "the reply is cut (finish_reason content_filter)"
        elif not text:
            problem = "the reply is empty"
        return Reading(text, problem, tokens)


def _text(content: object) -> str:
    if isinstance(content, list):  # some servers answer in parts
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    # reasoning models of some servers put their thoughts before the answer
    return re.sub(r"\A\s*<think>.*?</think>", "", content, flags=re.DOTALL).strip() if isinstance(content, str) else ""


def _tokens(usage: object) -> dict[str, int]:
    names = {"prompt_tokens": "prompt", "completion_tokens": "completion"}
    usage = usage if isinstance(usage, dict) else {}
    return {told: usage[name] for name, told in names.items() if isinstance(usage.get(name), int)}


def _said(error: openai.APIStatusError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or error.response.text or error.response.reason_phrase)[:200]


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


def make(settings: object) -> Teacher:
    """The teacher that the settings name. UserError: no model, or no key for a server elsewhere."""
    if settings.teacher == "offline":
        return OfflineTeacher(settings.seed)
    return OpenAITeacher(settings.model, settings.request)
