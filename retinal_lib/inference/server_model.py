"""A model behind an OpenAI-compatible server in place of one on this machine: `model_name="openai:<name>"`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from retinal_lib import images as picture
from retinal_lib.errors import UserError
from retinal_lib.inference.batching import Asked, Options, Stopped, answered
from retinal_lib.inference.llava.conversation_forms import answer, plain
from retinal_lib.teacher.server import RequestFailed, RunStopped, Server


class StandIn:
    """Asks a server; address and key come from OPENAI_BASE_URL and OPENAI_API_KEY. Images are sent at most 1024 pixels long,
    without metadata. The conversation form is the server's own; conv_mode changes nothing.

    UserError: no name, no key for a server elsewhere.
    """

    def __init__(self, name: str):
        if not name:
            raise UserError("model_name 'openai:' lacks the model's name, such as openai:gpt-4o-mini")
        self.name, self._server = f"openai:{name}", Server()
        self._model, self.noticed = name, dict[str, str]()
        self.remote = not self._server.local
        self.identity = f"{name} at {self._server.name}"
        self.place = f"{self._server.name}; the images are sent there"

    def answer(
        self, questions: Sequence[str | Sequence[str]], images: Sequence[str | Path] | str | Path, **options: object
    ) -> list[str | list[str]]:
        """As a model's `answer`."""
        return answered(self, questions, images, **options)

    def ask(self, image: str | Path, question: str, **options: object) -> str:
        """The answer to one question."""
        return self.answer([question], [image], **options)[0]

    def chat(self, image: str | Path, **options: object) -> "StandInChat":
        """A conversation about an image."""
        return StandInChat(self, Path(image), Options.of(**options))

    def length(self, asked: Asked, options: Options) -> int:
        """Requests keep their order: a server makes its own batches."""
        return 0

    def check(self, asked: Asked) -> None:
        """UserError: the image cannot be read."""
        picture.check(Path(asked.image))

    def is_out(self, error: BaseException) -> bool:
        """Never: the memory is the server's."""
        return False

    def converse(self, batch: Sequence[Asked], options: Options) -> list[list[str] | UserError]:
        """The answers of several conversations, asked side by side; what went wrong stands in place of answers."""

        async def all_of_them() -> list[list[str] | UserError | BaseException]:
            try:
                return await asyncio.gather(*(self._one(asked, options) for asked in batch), return_exceptions=True)
            finally:
                await self._server.close()

        with start_blocking_portal() as portal:  # works inside a notebook, where a loop is running already
            found = portal.call(all_of_them)
        for error in found:
            if isinstance(error, BaseException) and (isinstance(error, Stopped) or not isinstance(error, UserError)):
                raise error
        return found

    def said(self, messages: list[dict], options: Options) -> str:
        """The server's answer to a conversation so far. UserError: there is none."""

        async def once() -> str:
            try:
                return await self._said(messages, options)
            finally:
                await self._server.close()

        with start_blocking_portal() as portal:
            return portal.call(once)

    async def _one(self, asked: Asked, options: Options) -> list[str]:
        url = await asyncio.to_thread(picture.as_sent, Path(asked.image))
        messages: list[dict] = []
        answers = []
        for question in asked.questions:
            messages.append(_message(question, "" if messages else url))
            said = await self._said(messages, options)
            messages.append({"role": "assistant", "content": said})
            answers.append(said)
        return answers

    async def _said(self, messages: list[dict], options: Options) -> str:
        body = {"model": self._model, "messages": messages, "max_tokens": options.max_new_tokens}
        body |= {"temperature": options.temperature, "seed": options.seed}
        try:
            found = await self._server.call(lambda client: client.post("/chat/completions", body=body, cast_to=object))
            said = found["choices"][0]["message"]["content"]
        except RunStopped as error:
            raise Stopped(str(error)) from error
        except RequestFailed as error:
            raise UserError(str(error)) from error
        except (KeyError, IndexError, TypeError) as error:
            raise UserError("the server answered with something else than a chat completion") from error
        if not isinstance(said, str):
            raise UserError("the server's answer holds no text")
        return answer(said, "###")


def _message(question: str, url: str) -> dict:
    """A user's message, with the image where there is one."""
    content = [{"type": "text", "text": plain(question)}]
    return {"role": "user", "content": [*content, {"type": "image_url", "image_url": {"url": url}}] if url else content}


class StandInChat:
    """A conversation about one image; the server is told all of it each time."""

    def __init__(self, model: StandIn, image: Path, options: Options):
        self.model, self.options = model, options
        self._url, self._messages = picture.as_sent(image), list[dict]()

    def ask(self, question: str, **options: object) -> str:
        """The answer to the next question; options hold for this one."""
        asked = _message(question, "" if self._messages else self._url)
        said = self.model.said([*self._messages, asked], Options.of(**(self.options.given | options)))
        self._messages += [asked, {"role": "assistant", "content": said}]
        return said
