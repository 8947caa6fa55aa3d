"""Conversations answered in batches of like length: smaller ones where memory runs out, one by one where something is wrong."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

from retinal_lib.errors import UserError, unknown
from retinal_lib.inference.llava import conversation_forms


@dataclass(frozen=True)
class Options:
    """How questions are asked. `temperature` 0 is greedy; with `stop` False an answer runs on to `max_new_tokens` tokens, as in
    the released script. `chosen` are the names of those that were given.

    >>> Options.of(max_new_tokens=64, seed=None)
    Options(conv_mode='simple', max_new_tokens=64, temperature=0.0, seed=0, batch_size=8, stop=True)
    """

    conv_mode: str = "simple"
    max_new_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    batch_size: int = 8
    stop: bool = True
    chosen: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    @classmethod
    def of(cls, **given: object) -> "Options":
        """Makes options of keywords; None counts as not given. UserError: an unknown option, or an impossible value."""
        known = [option.name for option in fields(cls) if option.repr]
        for name in given:
            if name not in known:
                raise unknown("option", name, known)
        given = {name: value for name, value in given.items() if value is not None}
        options = cls(**given, chosen=frozenset(given))
        conversation_forms.form(options.conv_mode)
        for name, least in (("max_new_tokens", 1), ("batch_size", 1), ("temperature", 0)):
            value = getattr(options, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
                raise UserError(f"{name} is {value!r}; expected a number of at least {least}")
        return options

    @property
    def all(self) -> dict[str, object]:
        """All options by name."""
        return {option.name: getattr(self, option.name) for option in fields(self) if option.repr}

    @property
    def given(self) -> dict[str, object]:
        """The options that were given, by name."""
        return {name: value for name, value in self.all.items() if name in self.chosen}

    def with_changes(self, **given: object) -> "Options":
        """Makes options that differ in the given ones. UserError: as in `of`."""
        return Options.of(**(self.given | given))


@dataclass(frozen=True)
class ImageQuestions:
    """A conversation to hold: the questions about an image; `key` tells it from others."""

    key: object
    image: object
    questions: tuple[str, ...]


class NoMoreAnswers(UserError):
    """The reason why no question can be answered any more."""


class Answerer(ABC):
    """A model that answers: on this machine, or behind a server."""

    name: str
    identity: str  # differs between any two models
    runs_on: str
    notes: dict[str, str]  # image -> how the model sees it otherwise than its owner may expect
    own_defaults = False  # whether it decides itself on options that are not given
    own_form = False  # whether it has a conversation form of its own, which conv_mode does not change

    def length(self, asked: ImageQuestions) -> int:
        """Estimates how long a conversation is, so that batches hold like ones: by its number of turns, then of letters."""
        return len(asked.questions) * 10_000 + len(" ".join(asked.questions))

    @abstractmethod
    def converse(self, batch: Sequence[ImageQuestions], options: Options) -> list[list[str] | UserError]:
        """Answers the questions of each conversation, or says why not. UserError: an image cannot be read."""

    @abstractmethod
    def check(self, asked: ImageQuestions) -> None:
        """UserError: the conversation's image cannot be read."""

    @abstractmethod
    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether the error says that memory ran out; frees unused GPU memory."""

    @abstractmethod
    def chat(self, image: object, **options: object) -> object:
        """Opens a conversation about an image. UserError: an unknown option, or the image cannot be read."""

    def ask(self, image: object, question: str, **options: object) -> str:
        """Answers one question; options as in `Options`. UserError: as in `chat`, or there is no answer."""
        return self.chat(image, **options).ask(question)

    def answer(
        self, questions: Sequence[str | Sequence[str]], images: Sequence[object] | object, **options: object
    ) -> list[str | list[str]]:
        """Answers questions, in their order; a list of questions is one conversation and gets a list of answers.

        `images`: a list with one for each, or one image for all. UserError: one got no answer, or an unknown option.
        """
        chosen = Options.of(**options)
        images = list(images) if isinstance(images, list | tuple) else [images] * len(questions)
        if len(images) != len(questions):
            raise UserError(f"there are {len(questions)} questions and {len(images)} images; give as many, or one for all")
        asked = [
            ImageQuestions(i, image, (q,) if isinstance(q, str) else tuple(q))
            for i, (q, image) in enumerate(zip(questions, images, strict=True))
        ]
        done = dict(answer_in_batches(self, asked, chosen))
        for answers in done.values():
            if isinstance(answers, UserError):
                raise answers
        return [done[i][0] if isinstance(q, str) else done[i] for i, q in enumerate(questions)]


class MessageChat:
    """A conversation about one image with a model that is given all messages each time."""

    def __init__(self, model: Answerer, image: object, options: Options):
        self.model, self.options = model, options
        self._image, self._messages = image, list[dict]()

    def ask(self, question: str, **options: object) -> str:
        """Answers the next question; options hold for this one. UserError: there is no answer."""
        message = self.model.message(question, None if self._messages else self._image)
        text = self.model.reply([*self._messages, message], self.options.with_changes(**options))
        self._messages += [message, self.model.answer_message(text)]
        return text


def answer_in_batches(
    model: Answerer, asked: Sequence[ImageQuestions], options: Options
) -> Iterator[tuple[object, list[str] | UserError]]:
    """Yields key and answers of each conversation as they come, the longest first; a UserError in place of answers says why
    there are none. NoMoreAnswers: none of the rest can be answered."""
    waiting = sorted(asked, key=lambda conversation: -model.length(conversation))
    size = options.batch_size
    while waiting:
        batch, waiting = waiting[:size], waiting[size:]
        try:
            answers = model.converse(batch, options)
        except NoMoreAnswers:
            raise
        except UserError as error:
            refused = _refused(model, batch) or dict.fromkeys([asked.key for asked in batch], error)
            yield from refused.items()
            waiting = [asked for asked in batch if asked.key not in refused] + waiting
        except (RuntimeError, MemoryError) as error:
            if not model.is_out_of_memory(error):
                raise
            if len(batch) == 1:
                yield batch[0].key, UserError("the memory does not suffice for this conversation; make max_new_tokens smaller")
                continue
            size = len(batch) // 2
            waiting = batch + waiting
        else:
            yield from zip([asked.key for asked in batch], answers, strict=True)


def _refused(model: Answerer, batch: Sequence[ImageQuestions]) -> dict[object, UserError]:
    """The conversations of a batch whose image cannot be read, with the reason."""
    refused = {}
    for asked in batch:
        try:
            model.check(asked)
        except UserError as error:
            refused[asked.key] = error
    return refused
