"""The teachers, which answer requests with conversations."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from retinal_lib.closed_questions.writing import Asked
from retinal_lib.errors import UserError
from retinal_lib.facts import Case
from retinal_lib.imaging import images as picture
from retinal_lib.slots.sheet import FactSheet
from retinal_lib.teacher import completion, cost, offline, prompt
from retinal_lib.teacher.completion import NoCompletion
from retinal_lib.teacher.cost import TokenLimit
from retinal_lib.teacher.request_errors import NotFound, RequestFailed, RunStopped
from retinal_lib.text.reply_text import chat_answer

_TURN = {"question": {"type": "string"}, "answer": {"type": "string"}}
_CONVERSATION = {
    "turns": {
        "type": "array",
        "items": {"type": "object", "properties": _TURN, "required": list(_TURN), "additionalProperties": False},
    }
}
# the option that asks for JSON; strict schemas name all properties as required
RESPONSE_FORMAT = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "conversation",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": _CONVERSATION,
                "required": list(_CONVERSATION),
                "additionalProperties": False,
            },
        },
    }
}
_SORTED = json.JSONEncoder(sort_keys=True).encode


@dataclass(frozen=True)
class Request:
    """A request to a teacher about one image: the facts of `sheet`, and its `picture` where that is sent."""

    sheet: FactSheet
    system: str
    track: str
    style: str | None
    task: str = ""  # what is asked about the facts
    picture: Path | None = None
    size: tuple[int, int] | None = None  # pixels of the picture as sent
    turns: tuple[tuple[str, str], ...] = ()  # earlier replies, each with the findings sent back
    asked: tuple[Asked, ...] = ()  # closed questions with their answers, which no model is asked for

    @property
    def case(self) -> Case:
        """The image's case, with all facts."""
        return self.sheet.case

    @property
    def message(self) -> str:
        """The first message after the system prompt: facts, explanations, and what is asked."""
        explained = [prompt.explanations(self.sheet)] if self.sheet.explained else []
        return "\n\n".join(filter(None, [self.sheet.text, *explained, self.task]))

    @property
    def user_text(self) -> str:
        """All text besides the system prompt."""
        return "\n".join([self.message, *(text for turn in self.turns for text in turn)])

    def key(self, identity: dict) -> str:
        """Returns the sha256 of everything that changes the first answer: messages, picture and teacher. The image's id makes
        keys of images with the same facts differ, so that each gets its own answer. UserError: the picture cannot be
        read."""
        image = picture.encoding_hash(self.picture) if self.picture else ""
        short = [self.case.id, self.track, self.style, image, identity]
        # each part has its length before it, so that no two requests give the same bytes
        parts = [_SORTED(short).encode()]
        for text in (self.system, self.message):
            encoded = text.encode()
            parts += [b"\n%d\n" % len(encoded), encoded]
        return hashlib.sha256(b"".join(parts)).hexdigest()


@dataclass(frozen=True)
class ParsedReply:
    """A parsed reply: its text, or the problem that makes it unusable, with the server's model name and token counts."""

    text: str = ""
    problem: str = ""
    model: str = ""  # as the server named it
    tokens: dict[str, int] = field(default_factory=dict)


class Teacher(Protocol):
    """A teacher. `identity` is all that changes its answers besides the messages, `origin` the server and model that are stored
    with a reply, `note` what it is waiting for; `notes` are sentences for the user."""

    name: str
    model: str
    identity: dict
    origin: tuple[str, str] = ("", "")
    note: str = ""
    notes: Sequence[str] = ()

    async def ask(self, request: Request) -> tuple[str, str]:
        """Returns the raw reply and the server's id of it. RequestFailed, RunStopped."""

    def read(self, raw: str) -> ParsedReply:
        """Parses a raw reply."""

    async def close(self) -> None:
        """Closes connections, if it has any."""


class OfflineTeacher(Teacher):
    """The offline composer: conversations made from the facts on this machine, free, the same for a seed."""

    name = "offline"
    model = "retinal_lib offline composer"

    def __init__(self, seed: int = 0):
        self.seed = seed
        self.identity = {"teacher": self.name, "seed": seed, "composer": offline.version()}

    async def ask(self, request: Request) -> tuple[str, str]:
        """Returns the composed reply and an empty id."""
        if request.asked:
            return json.dumps([asked.turn._asdict() for asked in request.asked], ensure_ascii=False), ""
        return offline.compose(request.sheet, request.track, request.style, self.seed), ""

    def read(self, raw: str) -> ParsedReply:
        """Returns the reply unchanged."""
        return ParsedReply(raw, model=self.model)


class OpenAITeacher:
    """A model at an OpenAI-compatible server. The address comes from OPENAI_BASE_URL, the key from OPENAI_API_KEY alone."""

    name = "openai"

    def __init__(
        self,
        model: str | None,
        options: dict | None = None,
        file_exchange: bool = False,
        dry_run: bool = False,
        timeout_s: float | None = None,
        answer_form: str = "text",
    ):
        if not model:
            raise UserError("the openai teacher needs a model, such as model=gpt-4o-mini, or the name your own server gives it")
        self.model, self.options = model, (RESPONSE_FORMAT if answer_form == "json" else {}) | (options or {})
        from retinal_lib.teacher.server import Server  # brings openai, which the offline teacher does not need

        self.server = Server(file_exchange, dry_run, timeout_s=timeout_s)
        clashing = sorted({"model", "messages", "stream", "n", "api_key", "extra_headers", "extra_query"} & set(self.options))
        if clashing:
            raise UserError(
                f"request options {', '.join(clashing)} are set by the run; remove them from `request` in params/<dataset>.yaml"
            )
        self.identity = {"teacher": self.name, "server": self.server.name, "model": model, "request": self.options}
        self.origin = (self.server.name, model)
        self.price = cost.find_price(*self.origin)
        # the highest number of tokens in an answer; 0 where neither the options nor prices.yaml have it
        self.answer_bound = cost.answer_limit(self.options) or (self.price.most_output if self.price else None) or 0

    @property
    def note(self) -> str:
        """What calls are waiting for, for the progress line."""
        return self.server.note

    @property
    def notes(self) -> Sequence[str]:
        """A sentence on each option that is not sent as it was set, since the server refused it."""
        return self.server.refused.notes

    async def close(self) -> None:
        """Closes the connections."""
        await self.server.close()

    def body(self, request: Request) -> dict:
        """Returns the body to post, at once or in a batch. RequestFailed: the picture cannot be read."""
        content: str | list[dict] = request.message
        if request.picture:
            try:
                url = picture.as_sent(request.picture)
            except UserError as error:
                raise RequestFailed(str(error)) from error
            content = [{"type": "text", "text": content}, {"type": "image_url", "image_url": {"url": url}}]
        messages = [{"role": "system", "content": request.system}, {"role": "user", "content": content}]
        for reply, answer in request.turns:
            messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": answer}]
        return {"model": self.model, "messages": messages, **self.server.refused.apply(self.options)}

    def token_limit(self, request: Request) -> TokenLimit:
        """Returns the highest number of tokens that a request and its answer can have, by prices.yaml and options."""
        prompt = cost.most_prompt_tokens(request.system, request.user_text)
        if request.picture:
            picture_tokens = cost.picture_tokens(request.size, self.price.image if self.price else None)
            prompt += cost.DEFAULT_PICTURE_TOKENS if picture_tokens is None else picture_tokens
        return TokenLimit(prompt, self.answer_bound)

    async def ask(self, request: Request) -> tuple[str, str]:
        """Returns the chat completion and the server's id of it. RequestFailed, RunStopped."""
        body = await asyncio.to_thread(self.body, request) if request.picture else self.body(request)
        try:
            return await self.server.chat(body)
        except NotFound as error:
            raise RunStopped(
                f"{self.server.name} does not offer model {self.model!r} ({error}); check OPENAI_BASE_URL and model"
            ) from error

    def read(self, raw: str) -> ParsedReply:
        """Parses a chat completion: its text, or why it is unusable: cut, refused, empty, or no completion."""
        try:
            body = completion.parse(raw).body
        except NoCompletion as error:
            problem = self.server.clean(f"the reply is no chat completion: {error}")
            return ParsedReply(problem=problem, model=_model(error.body), tokens=_tokens(error.body.get("usage")))
        answer = chat_answer(body["choices"][0], "max_tokens under `request`")
        return ParsedReply(*answer, _model(body), _tokens(body.get("usage")))


def _model(body: dict) -> str:
    return model if isinstance(model := body.get("model"), str) else ""


def _tokens(usage: object) -> dict[str, int]:
    """The server's token counts: prompt, cached (a part of prompt), completion."""
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    counted = {"prompt": usage.get("prompt_tokens"), "completion": usage.get("completion_tokens")}
    counted["cached"] = details.get("cached_tokens") if isinstance(details, dict) else None
    return {name: number for name, number in counted.items() if type(number) is int and number >= 0}


def make(settings: object) -> Teacher:
    """Makes the teacher that settings name. UserError: no model, or no key for a server elsewhere."""
    if settings.teacher == "offline":
        return OfflineTeacher(settings.seed)
    return OpenAITeacher(
        settings.model,
        settings.request,
        settings.file_exchange,
        settings.dry_run,
        settings.timeout_s,
        settings.answer_form,
    )


def second_reader(settings: object) -> OpenAITeacher | None:
    """Makes the teacher that reads what another has written, None where settings name none. It is asked with the same options,
    without a form for conversations."""
    if settings.reader is None or settings.teacher == "offline":
        return None
    options = {name: value for name, value in settings.request.items() if name != "response_format"}
    model = settings.reader_model or settings.model
    return OpenAITeacher(model, options, settings.file_exchange, settings.dry_run, settings.timeout_s)
