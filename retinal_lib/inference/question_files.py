"""Question files: which questions are asked about which image, in the forms that such files come in."""

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from retinal_lib import typed_paths
from retinal_lib.errors import UserError, quoted
from retinal_lib.files import read_bytes, read_jsonl
from retinal_lib.inference.llava.conversation_forms import DEFAULT_QUESTION, without_image_tokens
from retinal_lib.parsing import Unreadable, json_value
from retinal_lib.text.shown_text import identifies, keep_private

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
    default: bool = False  # the entry holds no question of its own: the default one is asked


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
    suffix: str = "",
    question: str | None = None,
) -> list[Entry]:
    """Reads the entries of a JSON or JSONL file, in order.

    An entry has `id`, `image` (or `images`, one of them), and `questions`, `question`, `messages`, `conversations` (turns of
    user or human) or `text`: the first of these that holds a question counts. Where none does, `question` is asked, or to
    describe the image, and the entry's `default` says so. An entry without an id is called by its image, with a number where
    another is. `max_questions` of an entry are asked at most (all where it is None, 0 or negative), each followed by `suffix`;
    of `num_chunks` parts of the file, only number `chunk_idx` (from 0) is taken. Images lie in `image_folder`, by default
    beside the file.
    UserError: the file cannot be read, two entries have one id, or the chunk does not exist.
    """
    file = typed_paths.expand(file)
    folder = typed_paths.expand(image_folder) if image_folder else file.parent
    if not isinstance(num_chunks, int) or not isinstance(chunk_idx, int) or not 0 <= chunk_idx < num_chunks:
        raise UserError(f"chunk_idx {chunk_idx!r} of num_chunks {num_chunks!r}: expected a number from 0 to num_chunks - 1")
    most = max_questions if max_questions and max_questions > 0 else None
    loaded = _load(file)
    names = _names(loaded, file)
    entries = [_entry(*named, folder, most, suffix, question or DEFAULT_QUESTION) for named in zip(names, loaded, strict=True)]
    size = -(-len(entries) // num_chunks)
    return entries[chunk_idx * size : (chunk_idx + 1) * size]


def _names(entries: list[object], file: Path) -> list[str]:
    """What each entry is called. UserError: two have one id."""
    given = [_id(entry) for entry in entries]
    names = {name for name in given if name}
    if double := next((name for name, uses in Counter(filter(None, given)).items() if uses > 1), ""):
        raise UserError(f"{file}: two entries have the id {double!r}; give each its own")
    chosen = []
    for number, (name, entry) in enumerate(zip(given, entries, strict=True)):
        if not name:
            image = (entry.get("image") or entry.get("images")) if isinstance(entry, dict) else None
            base = image if isinstance(image, str) and image else str(number)
            name = next(free for i in itertools.count(1) if (free := base if i == 1 else f"{base} ({i})") not in names)
            names.add(name)
        chosen.append(name)
    return chosen


def _id(entry: object) -> str:
    """An entry's own id; "" where it has none."""
    ids = (entry.get("id"), entry.get("question_id")) if isinstance(entry, dict) else ()
    return next((str(each).strip() for each in ids if each is not None and str(each).strip()), "")


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


def _entry(name: str, entry: object, folder: Path, most: int | None, suffix: str, default: str) -> Entry:
    try:
        if not isinstance(entry, dict):
            raise UserError(f"the entry is {type(entry).__name__}; expected an object")
        image = _image(entry)
        found = _questions(entry)[:most]
    except UserError as error:
        return Entry(name, "", None, (), str(error))
    questions = tuple(f"{text} {suffix}".strip() for text in found or [default])
    dataset, private = str(entry.get("dataset") or ""), entry.get("private_names") is True
    return Entry(name, image, typed_paths.expand(folder / image), questions, "", dataset, private, not found)


def _image(entry: dict) -> str:
    image = entry.get("image") or entry.get("images")
    if isinstance(image, list) and image:
        if len(image) > 1:
            raise UserError(f"the entry has {len(image)} images, the model takes one")
        image = image[0]
    image = image.get("path") if isinstance(image, dict) else image
    if not isinstance(image, str) or not image.strip():
        raise UserError("the entry names no image (`image`, or `images` with one)")
    return image


def _questions(entry: dict) -> list[str]:
    """The questions in the first place of the entry that holds one. UserError: a place holds something else."""
    for place in ("questions", "question", "messages", "conversations", "text"):
        if found := _texts(_asked(entry[place], place) if entry.get(place) is not None else [], place):
            return found
    return []


def _asked(value: object, place: str) -> list[object]:
    """What stands for questions in one place of an entry. UserError: it is no list of turns where it must be."""
    if place not in ("messages", "conversations"):
        return value if isinstance(value, list) else [value]
    if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
        raise UserError(f"its {place} are not a list of turns")
    return [_content(turn) for turn in value if str(turn.get("role") or turn.get("from")).casefold() in _PERSON]


def _texts(values: list[object], place: str) -> list[str]:
    """Questions as texts, without empty ones. UserError: one is neither text nor a number."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise UserError(f"its {place!r} holds {quoted(value)}; expected text")
    return [text for value in values if (text := without_image_tokens(str(value)))]


def _content(turn: dict) -> object:
    content = turn.get("value") or turn.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict) and part.get("type") == "text")
    return content
