"""Question files: which questions are asked about which image, in the forms that such files come in."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from retinal_lib import typed_paths
from retinal_lib.errors import UserError
from retinal_lib.files import read_bytes, read_jsonl
from retinal_lib.inference.llava.conversation_forms import DEFAULT_QUESTION, without_image_tokens
from retinal_lib.parsing import Unreadable, json_value
from retinal_lib.shown_text import identifies, keep_private

_PERSON = ("user", "human")


@dataclass(frozen=True)
class Entry:
    """One entry of a question file. `error` says why it cannot be asked; `path` is its image on disk."""

    id: str
    image: str
    path: Path | None
    questions: tuple[str, ...]
    error: str = ""
    dataset: str = ""  # whose terms hold for the image, where the file says so
    private: bool = False  # the file says that the image's name identifies a participant


def keep_names_private(images: Iterable[tuple[str, str, object]]) -> None:
    """Has people read an image's number among these (id of the entry, image, whether names are said to be private) instead of
    a name that identifies a participant."""
    numbers: dict[str, int] = {}
    for id_, image, private in images:
        number = numbers.setdefault(image, len(numbers) + 1)
        if private or identifies(Path(image).name):
            keep_private(dict.fromkeys([id_, image, Path(image).name, Path(image).stem]), f"image {number}")


def read(
    file: str | Path,
    image_folder: str | Path | None = None,
    max_questions: int | None = None,
    num_chunks: int = 1,
    chunk_idx: int = 0,
    append: str = "",
    question: str | None = None,
) -> list[Entry]:
    """Reads the entries of a JSON or JSONL file, in order.

    An entry has `id`, `image` (or `images`, one of them), and `question`, `questions` or `messages` (turns of user or human);
    without any of these, `question` is asked, or to describe the image. `max_questions` of an entry are asked at most, each
    followed by `append`; of `num_chunks` parts of the file, only number `chunk_idx` (from 0) is taken. Images lie in
    `image_folder`, by default beside the file.
    UserError: the file cannot be read, two entries have one id, or the chunk does not exist.
    """
    file = typed_paths.expand(file)
    folder = typed_paths.expand(image_folder) if image_folder else file.parent
    if not isinstance(num_chunks, int) or not isinstance(chunk_idx, int) or not 0 <= chunk_idx < num_chunks:
        raise UserError(f"chunk_idx {chunk_idx!r} of num_chunks {num_chunks!r}: expected a number from 0 to num_chunks - 1")
    default = question or DEFAULT_QUESTION
    entries = [_entry(i, entry, folder, max_questions, append, default) for i, entry in enumerate(_load(file))]
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise UserError(f"{file}: two entries have the id {entry.id!r}; give each its own")
        seen.add(entry.id)
    size = -(-len(entries) // num_chunks)
    return entries[chunk_idx * size : (chunk_idx + 1) * size]


def _load(file: Path) -> list[object]:
    try:
        content = json_value(read_bytes(file))
    except Unreadable:
        return [entry for _, entry in read_jsonl(file)]
    if isinstance(content, dict):
        content = content["data"] if isinstance(content.get("data"), list) else [content]
    if not isinstance(content, list):
        raise UserError(f"{file}: expected a list of entries, an object with `data`, one entry, or an entry on each line")
    return content


def _entry(number: int, entry: object, folder: Path, max_questions: int | None, append: str, default: str) -> Entry:
    if not isinstance(entry, dict):
        return Entry(str(number), "", None, (), f"entry {number + 1} is {type(entry).__name__}; expected an object")
    name = entry.get("id", entry.get("question_id", entry.get("image")))
    name = str(number) if name is None else str(name)
    try:
        image = _image(entry)
        path = typed_paths.expand(folder / image)
        questions = _questions(entry) or [default]
    except UserError as error:
        return Entry(name, "", None, (), str(error))
    questions = [f"{text} {append}".strip() if append else text for text in questions[:max_questions]]
    return Entry(name, image, path, tuple(questions), "", str(entry.get("dataset") or ""), entry.get("private_names") is True)


def _image(entry: dict) -> str:
    image = entry.get("image")
    if image is None and isinstance(entry.get("images"), list) and entry["images"]:
        if len(entry["images"]) > 1:
            raise UserError(f"the entry has {len(entry['images'])} images, the model takes one")
        image = entry["images"][0]
    image = image.get("path") if isinstance(image, dict) else image
    if not isinstance(image, str) or not image.strip():
        raise UserError("the entry names no image (`image`, or `images` with one)")
    return image


def _questions(entry: dict) -> list[str]:
    if "questions" in entry or "question" in entry:
        questions = entry.get("questions", entry.get("question"))
        questions = [questions] if isinstance(questions, str) else questions
        if not isinstance(questions, list):
            raise UserError(f"its questions are {type(questions).__name__}; expected text or a list of texts")
    else:
        turns = entry.get("messages", entry.get("conversations")) or []
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise UserError("its messages are not a list of turns")
        questions = [_text(turn) for turn in turns if turn.get("role", turn.get("from")) in _PERSON]
    if not all(isinstance(text, str) for text in questions):
        raise UserError("one of its questions is not text")
    return [text for text in map(without_image_tokens, questions) if text]


def _text(turn: dict) -> object:
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict) and part.get("type") == "text")
    return content
