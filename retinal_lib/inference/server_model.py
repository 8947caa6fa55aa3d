"""A model behind an OpenAI-compatible server in place of one on this machine: `model_name="openai:<name>"`."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TypeVar

from anyio.from_thread import start_blocking_portal

from retinal_lib.errors import UserError
from retinal_lib.imaging import images
from retinal_lib.inference.batching import Answerer, ImageQuestions, MessageChat, NoMoreAnswers, Options
from retinal_lib.inference.llava.conversation_forms import clean_answer, without_image_tokens
from retinal_lib.teacher import completion
from retinal_lib.teacher.destination import Accepted, Permission, permission, terms_of_picture
from retinal_lib.teacher.request_errors import NotFound, RequestFailed, RunStopped
from retinal_lib.text.reply_text import chat_answer

T = TypeVar("T")
_NAMES = {"max_new_tokens": "max_tokens", "temperature": "temperature", "seed": "seed"}  # option -> its name in a request
_RUN_ON = re.compile(r"###\s?Human\b")  # a LLaVA-v0 model behind a server that goes on with the next question


class ServerModel(Answerer):
    """A model on a server; address and key come from OPENAI_BASE_URL and OPENAI_API_KEY. Images are sent at most 1024 pixels
    long, without metadata. Only the options that were given are sent. The conversation form is the server's own; conv_mode
    changes nothing. A server on this machine is asked one conversation at a time unless batch_size is given. `timeout_s`: how
    many seconds an answer may take.

    `terms_accepted`: the user says that she may send images whose dataset's terms ask for leave, or are not known.
    UserError: there is no key for a server elsewhere.
    """

    own_defaults = own_form = True

    def __init__(self, name: str, terms_accepted: Accepted = False, timeout_s: float | None = None):
        from retinal_lib.teacher.server import Server  # brings openai, which a model on this machine does not need

        self._server, self._model = Server(timeout_s=timeout_s), name
        self.name = f"openai:{name}"
        self.notes: dict[str, str] = {}
        self.identity = f"{name} at {self._server.name}"
        self.runs_on = f"{self._server.name}; the images are sent there"
        self._terms_accepted = terms_accepted
        self._permission: Permission | None = None

    def allow(self, permission: Permission) -> None:
        """Takes leave for all images to be sent; without it, each is sent only where the dataset that its name shows allows
        it."""
        self._permission = permission
        self._server.allow(permission)

    def _ask_leave(self, image: Path) -> None:
        """UserError: the image may not be sent, or only with the user's word."""
        if self._permission is None:
            self._server.allow(permission(terms_of_picture(image.name), accepted=self._terms_accepted))

    def chat(self, image: str | Path, **options: object) -> MessageChat:
        """Opens a conversation about an image. UserError: an unknown option, the image cannot be read, or may not be sent."""
        self._ask_leave(Path(image))
        return MessageChat(self, images.as_sent(Path(image)), Options.of(**options))

    def message(self, question: str, image: str | None = None) -> dict:
        """Writes a user's message, with the image, a data URL, where there is one."""
        content: list[dict] = [{"type": "text", "text": without_image_tokens(question)}]
        return {"role": "user", "content": [*content, {"type": "image_url", "image_url": {"url": image}}] if image else content}

    def answer_message(self, text: str) -> dict:
        """Writes the message of an answer."""
        return {"role": "assistant", "content": text}

    def length(self, asked: ImageQuestions) -> int:
        """Gives all conversations the same length: they keep their order, since a server makes its own batches."""
        return 0

    def check(self, asked: ImageQuestions) -> None:
        """UserError: the conversation's image cannot be read, or may not be sent."""
        self._ask_leave(Path(asked.image))
        images.sent_size(Path(asked.image))

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Never: the memory is the server's."""
        return False

    def converse(self, batch: Sequence[ImageQuestions], options: Options) -> list[list[str] | UserError]:
        """Answers several conversations, asked side by side; a UserError in place of answers says why there are none.
        NoMoreAnswers: the server answers nothing any more."""

        one_at_a_time = self._server.local and "batch_size" not in options.given

        async def all_of_them() -> list[list[str] | BaseException]:
            places = asyncio.Semaphore(1 if one_at_a_time else len(batch))
            return await asyncio.gather(*(self._converse(asked, options, places) for asked in batch), return_exceptions=True)

        answers = self._run(all_of_them)
        for error in answers:
            if isinstance(error, BaseException) and (isinstance(error, NoMoreAnswers) or not isinstance(error, UserError)):
                raise error
        return answers

    def reply(self, messages: list[dict], options: Options) -> str:
        """Answers a conversation so far. UserError: there is no answer."""
        return self._run(lambda: self._reply(messages, options))

    def _run(self, work: Callable[[], Coroutine[object, object, T]]) -> T:
        """The result of work with the server, also inside a notebook, where an event loop is running already."""

        async def once() -> T:
            try:
                return await work()
            finally:
                await self._server.close()

        with start_blocking_portal() as portal:
            return portal.call(once)

    async def _converse(self, asked: ImageQuestions, options: Options, places: asyncio.Semaphore) -> list[str]:
        async with places:
            self._ask_leave(Path(asked.image))
            url = await asyncio.to_thread(images.as_sent, Path(asked.image))
            messages: list[dict] = []
            answers = []
            for question in asked.questions:
                messages.append(self.message(question, None if messages else url))
                answers.append(await self._reply(messages, options))
                messages.append(self.answer_message(answers[-1]))
            return answers

    async def _reply(self, messages: list[dict], options: Options) -> str:
        given = {_NAMES[name]: value for name, value in options.given.items() if name in _NAMES}
        try:
            reply = await self._server.chat({"model": self._model, "messages": messages, **given})
        except NotFound as error:
            raise NoMoreAnswers(
                f"{self._server.name} does not offer model {self._model!r} ({error}); check OPENAI_BASE_URL and model_name"
            ) from error
        except RunStopped as error:
            raise NoMoreAnswers(str(error)) from error
        except RequestFailed as error:
            raise UserError(str(error)) from error
        self.notes |= {note: note for note in self._server.refused.notes}
        text, problem = chat_answer(completion.parse(reply.raw).body["choices"][0], "max_new_tokens")
        if problem:
            raise UserError(problem)
        run_on = _RUN_ON.search(text)
        return clean_answer(text[: run_on.start()], "###") if run_on else text
