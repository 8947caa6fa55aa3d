"""A conversation about an image: its turns, the forms in which it is written, and the rules of the exported form."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from retinal_lib.errors import UserError
from retinal_lib.files import read_json, read_jsonl

IMAGE = "<image>"
TURNS = {"instruction": (2, 6), "alignment": (1, 1), "vqa": (1, 20)}  # track -> fewest and most turns
CONSULT_WORDS = 50  # most words of an answer in style consult


class Turn(NamedTuple):
    """One question and its answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Conversation:
    """The turns about one image. `image` is the image's path as exported files have it.

    >>> conversation = Conversation("eye-1", "ODIR/1.jpg", (Turn("Which eye is it?", "The left eye."),))
    >>> conversation.to_llava()["conversations"][0]
    {'from': 'human', 'value': 'Which eye is it?\\n<image>'}
    >>> Conversation.from_llava(conversation.to_llava()) == conversation
    True
    """

    id: str
    image: str
    turns: tuple[Turn, ...]

    @classmethod
    def from_llava(cls, entry: dict) -> "Conversation":
        """Reads an entry of conversations.jsonl; keys other than id, image and conversations are ignored. UserError: its
        form is wrong."""
        if wrong := entry_problems(entry):
            raise UserError(wrong[0])
        texts = [part["value"] for part in entry["conversations"]]
        texts[0] = texts[0].removesuffix(f"\n{IMAGE}")
        return cls(entry["id"], entry["image"], tuple(map(Turn, texts[::2], texts[1::2])))

    def to_llava(self) -> dict:
        """Returns the entry of conversations.jsonl: id, image, conversations."""
        return {"id": self.id, "image": self.image, "conversations": to_llava(self.turns)}

    def to_messages(self) -> list[dict]:
        """Returns the messages of a chat as OpenAI and TRL write them; the image comes before the first question."""
        messages = [
            {"role": role, "content": [{"type": "text", "text": text}]}
            for turn in self.turns
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
        messages[0]["content"].insert(0, {"type": "image"})
        return messages


def to_llava(turns: Iterable[Turn]) -> list[dict[str, str]]:
    """Returns the exported form: human and gpt in turn, `<image>` once, on the last line of the first question."""
    values = []
    for i, turn in enumerate(turns):
        values.append({"from": "human", "value": f"{turn.question}\n{IMAGE}" if i == 0 else turn.question})
        values.append({"from": "gpt", "value": turn.answer})
    return values


def problems(conversation: object) -> list[str]:
    """Lists what is wrong with the form of an exported conversation, in short sentences; empty if nothing is."""
    if not isinstance(conversation, list) or not conversation:
        return ["conversations must be a list of turns, and not empty"]
    sentences = []
    for i, part in enumerate(conversation, start=1):
        if not isinstance(part, dict) or not isinstance(part.get("value"), str) or "from" not in part:
            return [f"part {i} must have 'from' and a text 'value'"]
        expected = "human" if i % 2 else "gpt"
        if part["from"] != expected:
            sentences.append(f"part {i} is from {part['from']!r}; expected {expected!r}")
        if not part["value"].replace(IMAGE, "").strip():
            sentences.append(f"part {i} is empty")
    if len(conversation) % 2:
        sentences.append("the last question has no answer")
    count = sum(part["value"].count(IMAGE) for part in conversation)
    if count != 1:
        sentences.append(f"{IMAGE} occurs {count} times; expected once")
    elif not conversation[0]["value"].endswith(f"\n{IMAGE}"):
        sentences.append(f"{IMAGE} must be the last line of the first question")
    return sentences


def entry_problems(entry: object) -> list[str]:
    """Lists what is wrong with an entry of a conversation file; empty if it can be trained on."""
    if not isinstance(entry, dict):
        return [f"expected an object with id, image and conversations, found {type(entry).__name__}"]
    missing = [key for key in ("id", "image") if not isinstance(entry.get(key), str) or not entry[key]]
    return [f"{key} is missing or not a text" for key in missing] + problems(entry.get("conversations"))


def read(path: Path) -> Iterator[Conversation]:
    """Yields the conversations of a file. UserError: one cannot be trained on; the message names its line."""
    for number, entry in entries(path):
        try:
            yield Conversation.from_llava(entry)
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from error


def entries(path: Path) -> Iterator[tuple[int, dict]]:
    """Yields each entry of a conversation file with its line number; in nested JSON (.json), its position in the list.
    UserError: the file cannot be read, or an entry is not an object."""
    for number, entry in read_list(path) if is_nested(path) else read_jsonl(path):
        if not isinstance(entry, dict):
            raise UserError(f"{path}, line {number}: {entry_problems(entry)[0]}")
        yield number, entry


def is_nested(path: Path) -> bool:
    """Says whether a file is one JSON list, by its suffix .json; any other suffix means JSON lines."""
    return path.suffix.casefold() == ".json"


def read_list(path: Path) -> list[tuple[int, object]]:
    """Returns the entries of a nested JSON file, numbered from 1. UserError: the file cannot be read, or is not a list."""
    content = read_json(path)
    if not isinstance(content, list):
        raise UserError(f"{path}: expected a list of conversations, found {type(content).__name__}")
    return list(enumerate(content, start=1))
