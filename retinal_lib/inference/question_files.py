"""Question files: which questions are asked about which image, in the forms that such files have."""

import json
from dataclasses import dataclass
from pathlib import Path

from retinal_lib.errors import UserError
from retinal_lib.files import atomic_write, json_line, read_jsonl
from retinal_lib.inference.llava.conversation_forms import DEFAULT_QUESTION, plain

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


def read(
    file: str | Path,
    image_folder: str | Path | None = None,
    max_questions: int | None = None,
    num_chunks: int = 1,
    chunk_idx: int = 0,
    append: str = "",
    question: str | None = None,
) -> list[Entry]:
    """The entries of a JSON or JSONL file, in order.

    An entry has `id`, `image` (or `images`, one of them), and `question`, `questions` or `messages` (turns of user or human);
    without any of these, `question` is asked, or to describe the image. `max_questions` of an entry are asked at most, each
    with `append` behind it; of `num_chunks` parts of the file, only number `chunk_idx` (from 0) is taken. Images lie in
    `image_folder`, by default beside the file.
    UserError: the file cannot be read, two entries have one id, or the chunk does not exist.
    """
    file = Path(file).expanduser()
    folder = Path(image_folder).expanduser() if image_folder else file.parent
    if not isinstance(num_chunks, int) or not isinstance(chunk_idx, int) or not 0 <= chunk_idx < num_chunks:
        raise UserError(f"chunk_idx {chunk_idx!r} of num_chunks {num_chunks!r}: expected a number from 0 to num_chunks - 1")
    entries = [
        _entry(i, held, folder, max_questions, append, question or DEFAULT_QUESTION) for i, held in enumerate(_load(file))
    ]
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise UserError(f"{file}: the id {entry.id!r} stands there twice; answers could not be told apart")
        seen.add(entry.id)
    size = -(-len(entries) // num_chunks)
    return entries[chunk_idx * size : (chunk_idx + 1) * size]


def _load(file: Path) -> list[object]:
    try:
        held = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"question_file {file} cannot be read ({error.strerror or error})") from error
    except ValueError:
        return [entry for _, entry in read_jsonl(file)]
    if isinstance(held, dict):
        held = held["data"] if isinstance(held.get("data"), list) else [held]
    if not isinstance(held, list):
        raise UserError(f"{file}: expected a list of entries, an object with `data`, one entry, or an entry on each line")
    return held


def _entry(number: int, held: object, folder: Path, most: int | None, append: str, otherwise: str) -> Entry:
    if not isinstance(held, dict):
        return Entry(str(number), "", None, (), f"entry {number + 1} is no object but {type(held).__name__}")
    name = held.get("id", held.get("question_id", held.get("image")))
    name = str(number) if name is None else str(name)
    try:
        image = _image(held)
        asked = _questions(held) or [otherwise]
    except UserError as error:
        return Entry(name, "", None, (), str(error))
    asked = [f"{text} {append}".strip() if append else text for text in asked[:most]]
    return Entry(name, image, folder / image, tuple(asked), dataset=str(held.get("dataset") or ""))


def _image(held: dict) -> str:
    found = held.get("image")
    if found is None and isinstance(held.get("images"), list) and held["images"]:
        if len(held["images"]) > 1:
            raise UserError(f"the entry has {len(held['images'])} images, the model takes one")
        found = held["images"][0]
    found = found.get("path") if isinstance(found, dict) else found
    if not isinstance(found, str) or not found.strip():
        raise UserError("the entry names no image (`image`, or `images` with one)")
    return found


def _questions(held: dict) -> list[str]:
    if "questions" in held or "question" in held:
        found = held.get("questions", held.get("question"))
        found = [found] if isinstance(found, str) else found
        if not isinstance(found, list):
            raise UserError(f"its questions are {type(found).__name__}, expected text or a list of texts")
    else:
        turns = held.get("messages", held.get("conversations")) or []
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise UserError("its messages are no list of turns")
        found = [_said(turn) for turn in turns if turn.get("role", turn.get("from")) in _PERSON]
    if not all(isinstance(text, str) for text in found):
        raise UserError("one of its questions is no text")
    return [text for text in map(plain, found) if text]


def _said(turn: dict) -> object:
    said = turn.get("content", turn.get("value"))
    if isinstance(said, list):
        return "\n".join(str(part.get("text", "")) for part in said if isinstance(part, dict) and part.get("type") == "text")
    return said


def write(file: Path, entries: list[dict]) -> Path:
    """Writes entries as JSON lines and returns the file."""
    with atomic_write(file) as lines:
        lines.writelines(json_line(entry) + "\n" for entry in entries)
    return file
