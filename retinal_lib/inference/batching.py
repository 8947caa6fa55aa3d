"""Requests answered in batches of like length: smaller ones where memory runs out, one by one where something is wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from retinal_lib.errors import UserError, unknown
from retinal_lib.inference.llava import conversation_forms as dialogue


@dataclass(frozen=True)
class Options:
    """How questions are asked. `temperature` 0 is greedy; `stop` False goes on to max_new_tokens, as the released script."""

    conv_mode: str = "simple"
    max_new_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    batch_size: int = 8
    stop: bool = True

    @classmethod
    def of(cls, **given: object) -> "Options":
        """Options from keywords; None counts as not given. UserError: an unknown one, or an impossible value."""
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise unknown("option", name, known)
        made = cls(**{name: value for name, value in given.items() if value is not None})
        dialogue.form(made.conv_mode)
        for name, least in (("max_new_tokens", 1), ("batch_size", 1), ("temperature", 0)):
            value = getattr(made, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
                raise UserError(f"{name} is {value!r}; expected a number of at least {least}")
        return made

    @property
    def given(self) -> dict[str, object]:
        """All options by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Asked:
    """One conversation to hold: its questions about an image; `key` is its own."""

    key: object
    image: object
    questions: tuple[str, ...]


class Stopped(UserError):
    """No request can be answered any more."""


class Answerer(Protocol):
    """What can answer: a model on this machine, or a server in its place."""

    name: str
    identity: str  # what tells it from other models
    place: str
    noticed: dict[str, str]

    def length(self, asked: Asked, options: Options) -> int:
        """How long a request is."""

    def converse(self, batch: Sequence[Asked], options: Options) -> list[list[str] | UserError]:
        """The answers to each request's questions, or why there are none. UserError: an image cannot be read."""

    def check(self, asked: Asked) -> None:
        """UserError: the request's image cannot be read."""

    def is_out(self, error: BaseException) -> bool:
        """Whether the error says that memory ran out."""


def run(model: Answerer, asked: Sequence[Asked], options: Options) -> Iterator[tuple[object, list[str] | UserError]]:
    """Key and answers of each request as they come, the longest first; a UserError in place of answers says why not.

    Stopped: none of the rest can be answered."""
    waiting = sorted(asked, key=lambda request: -model.length(request, options))
    size = options.batch_size
    while waiting:
        batch, waiting = waiting[:size], waiting[size:]
        try:
            answers = model.converse(batch, options)
        except Stopped:
            raise
        except UserError as error:
            refused = _refused(model, batch) or dict.fromkeys([request.key for request in batch], error)
            yield from refused.items()
            waiting = [request for request in batch if request.key not in refused] + waiting
        except (RuntimeError, MemoryError) as error:
            if not model.is_out(error):
                raise
            if len(batch) == 1:
                yield batch[0].key, UserError("the memory does not suffice for this conversation; make max_new_tokens smaller")
                continue
            size = len(batch) // 2
            waiting = batch + waiting
        else:
            yield from zip([request.key for request in batch], answers, strict=True)


def _refused(model: Answerer, batch: list[Asked]) -> dict[object, UserError]:
    """The requests of a batch whose image cannot be read, with the reason."""
    found = {}
    for request in batch:
        try:
            model.check(request)
        except UserError as error:
            found[request.key] = error
    return found


def answered(
    model: Answerer, questions: Sequence[str | Sequence[str]], images: object, **options: object
) -> list[str | list[str]]:
    """Answers in the order of the questions; a list of questions is one conversation and gets a list of answers.

    `images`: a list with one for each, or one image for all. UserError: one of them got no answer, or an unknown option."""
    chosen = Options.of(**options)
    images = list(images) if isinstance(images, list | tuple) else [images] * len(questions)
    if len(images) != len(questions):
        raise UserError(f"there are {len(questions)} questions and {len(images)} images; give as many, or one for all")
    asked = [
        Asked(i, image, (q,) if isinstance(q, str) else tuple(q))
        for i, (q, image) in enumerate(zip(questions, images, strict=True))
    ]
    done = dict(run(model, asked, chosen))
    for found in done.values():
        if isinstance(found, UserError):
            raise found
    return [done[i][0] if isinstance(q, str) else done[i] for i, q in enumerate(questions)]
