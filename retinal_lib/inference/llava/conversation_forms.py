"""Conversation forms of LLaVA-v0: the text of a prompt, and the answer in what a model writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from retinal_lib.errors import unknown
from retinal_lib.parsing import packaged_yaml

IMAGE_PATCH, IMAGE_START, IMAGE_END = "<im_patch>", "<im_start>", "<im_end>"
RESERVED = (IMAGE_PATCH, IMAGE_START, IMAGE_END, "<image>")
DEFAULT_QUESTION = "Please describe this retinal image in detail."
_LEADING = ("###", "Assistant:", "Response:")  # what the model may write before its answer


@dataclass(frozen=True)
class ConversationForm:
    """The words around questions and answers with which a checkpoint was trained, as conversation_forms.yaml explains them."""

    system: str
    roles: tuple[str, str]
    between: str
    stop: str
    before: tuple[tuple[str, str], ...] = ()
    opened: bool = False

    def prompt(self, questions: Sequence[str], answers: Sequence[str], image: str) -> str:
        """Writes a conversation up to its latest question; `image`, the image's tokens, follows the first question."""
        turns = list(self.before)
        for i, question in enumerate(questions):
            text = without_image_tokens(question)
            turns.append((self.roles[0], f"{text}\n{image}" if i == 0 and image else text))
            turns += [(self.roles[1], answers[i])] if i < len(answers) else []
        prompt = self.system + self.between
        for role, text in turns:
            # the released code writes an empty answer without its mark
            prompt += f"{role}: {text}{self.between if role == self.roles[0] else self.stop}" if text else f"{role}:"
        return f"{prompt}{self.roles[1]}:" if self.opened else prompt


def _read() -> dict[str, ConversationForm]:
    """The forms of conversation_forms.yaml, by conv_mode."""
    forms = packaged_yaml(Path(__file__).with_suffix(".yaml"))["forms"]
    return {name: ConversationForm(**parts) for name, parts in forms.items()}


FORMS = _read()


def form(conv_mode: str) -> ConversationForm:
    """Gives the conversation form of that name. UserError: there is none."""
    if conv_mode not in FORMS:
        raise unknown("conv_mode", conv_mode, FORMS)
    return FORMS[conv_mode]


def without_image_tokens(question: str) -> str:
    """Removes the words that stand for an image: within a question they would change the number of image tokens."""
    before = None
    while before != question:  # removing one may leave another
        before = question
        for word in RESERVED:
            question = question.replace(word, "")
    return question.strip()


def image_tokens(count: int, start_end: bool) -> str:
    """Writes the tokens of an image of `count` patches."""
    return f"{IMAGE_START}{IMAGE_PATCH * count}{IMAGE_END}" if start_end else IMAGE_PATCH * count


def _without_leading(text: str) -> str:
    """What a model wrote without the marks and roles that it puts before an answer."""
    length = None
    while length != len(text):
        length = len(text)
        text = text.strip()
        for mark in _LEADING:
            text = text.removeprefix(mark).strip()
    return text


def is_complete(text: str, stop: str) -> bool:
    """Whether an answer has ended: the stop mark occurs after any leading marks."""
    return stop in _without_leading(text)


def clean_answer(text: str, stop: str) -> str:
    """Cuts the answer out of what a model wrote: between the leading marks and the stop mark."""
    return _without_leading(text).split(stop)[0].strip()
