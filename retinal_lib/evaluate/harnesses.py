"""Questions with references in the forms of other evaluation harnesses, written and read: inspect_ai's samples (JSON lines),
VLMEvalKit's table (TSV) and lmms-eval's task folder (YAML, utils.py and JSON lines).

Each form carries the whole question beside its own fields, so that what is read again is what was written. Questions that
others wrote are read where they have choices, or where yes or no is right.
"""

import base64
import binascii
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from retinal_lib.closed_questions.writing import LETTERS
from retinal_lib.display import count
from retinal_lib.errors import UserError, unknown
from retinal_lib.files import atomic_path, atomic_write, read_bytes, read_json, read_jsonl, write_jsonl
from retinal_lib.imaging import images
from retinal_lib.parsing import Unreadable, json_value, yaml_value

_OPTION_LINE = re.compile(r"\n\(?A[.):]\s")
_ASKS = "Answer with the letter of the right option."
_NO_IMAGE = "names no image"


def write_harness(entries: Sequence[dict], form: str, out: str | Path, embed: bool = False) -> Path:
    """Writes questions with references in the form of a harness and returns the file or folder: `inspect_ai` (a .jsonl),
    `VLMEvalKit` (a .tsv) or `lmms-eval` (a folder, called like its task). Images are named by their paths; with `embed`,
    VLMEvalKit's table holds them, upright and without metadata. UserError: an unknown form, or a file cannot be written."""
    if form not in _WRITERS:
        raise unknown("harness", form, _WRITERS)
    return _WRITERS[form](list(entries), Path(out).absolute(), embed)


def form_of(file: Path) -> str | None:
    """Returns the harness whose form a file or folder of questions has; None where it is a question file of this package."""
    if file.is_dir() or file.suffix in (".yaml", ".yml"):
        return "lmms-eval"
    if file.suffix == ".tsv":
        return "VLMEvalKit"
    if file.suffix == ".json":
        return "inspect_ai"
    first = next(iter(read_jsonl(file)), (0, None))[1]
    return "inspect_ai" if isinstance(first, dict) and "input" in first and "question" not in first else None


def read(file: Path, form: str) -> list[dict]:
    """Reads the questions of a harness's file or folder. UserError: it cannot be read, or a question has neither choices nor
    yes or no as its answer."""
    return list(_READERS[form](file))


# --- what a question is ----------------------------------------------------------------------------------------------------


def _stem(entry: dict) -> str:
    """A question without the lines of its options, which harnesses add by themselves."""
    found = _OPTION_LINE.search(entry["question"]) if entry["kind"] in ("option", "options") else None
    return entry["question"][: found.start()] if found else entry["question"]


def _target(entry: dict) -> str:
    """The reference as a text."""
    reference = entry["reference"]
    if entry["kind"] in ("options", "diseases"):
        return ", ".join(reference) or "none"
    return json.dumps(reference) if entry["kind"] == "boxes" else str(reference)


def _entry(where: str, id_: object, image: str, question: str, target: object, choices: list[str], held: object) -> dict:
    """A question of its parts; `held` is the whole question where this package wrote it."""
    if not image:
        raise UserError(f"{where}: {_NO_IMAGE}")
    if isinstance(held, dict) and "kind" in held:
        return held | {"image": image}
    subject = str(held.get("category") or "question") if isinstance(held, dict) else "question"
    entry = {
        "id": str(id_),
        "image": image,
        "question": question,
        "dataset": Path(where.split(",")[0]).stem,
        "subject": subject,
    }
    if choices:
        lines = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)]
        entry["question"] = "\n".join([question, *lines, _ASKS])
        places = [_letter(where, each, choices) for each in (target if isinstance(target, list) else [target])]
        several = len(places) > 1
        reference = places if several else places[0]
        return entry | {"kind": "options" if several else "option", "reference": reference, "options": choices}
    if str(target).strip().casefold() in ("yes", "no"):
        return entry | {"kind": "yes_no", "reference": str(target).strip().casefold()}
    raise UserError(
        f"{where}: the answer {str(target)[:60]!r} cannot be scored: expected choices, or yes or no, or a question that "
        "retinal_lib.evaluate wrote"
    )


def _letter(where: str, target: object, choices: list[str]) -> str:
    """The letter of the right choice, named by letter, text or place."""
    if len(choices) > len(LETTERS):
        raise UserError(f"{where}: {count(len(choices), 'choice')}; at most {len(LETTERS)} are read")
    if isinstance(target, int) and not isinstance(target, bool) and 0 <= target < len(choices):
        return LETTERS[target]
    text = str(target).strip()
    if text in choices:
        return LETTERS[choices.index(text)]
    letter = text.strip("().").upper()
    if len(letter) == 1 and letter in LETTERS[: len(choices)]:
        return letter
    raise UserError(f"{where}: the answer {text[:60]!r} is none of its {count(len(choices), 'choice')}")


def _object(text: object, where: str) -> object:
    """What a field of JSON holds; None where it is empty."""
    try:
        return json_value(str(text).encode()) if text else None
    except Unreadable as error:
        raise UserError(f"{where}: its metadata cannot be read ({error})") from error


# --- inspect_ai ------------------------------------------------------------------------------------------------------------


def _write_inspect(entries: list[dict], out: Path, embed: bool) -> Path:
    samples = []
    for entry in entries:
        choices = entry["options"] if entry["kind"] == "option" else None
        content = [{"type": "image", "image": str(entry["image"])}]
        content.append({"type": "text", "text": _stem(entry) if choices else entry["question"]})
        sample = {"id": str(entry["id"]), "input": [{"role": "user", "content": content}], "target": _target(entry)}
        samples.append(sample | ({"choices": choices} if choices else {}) | {"metadata": entry})
    return write_jsonl(out, samples)


def _read_inspect(file: Path) -> Iterator[dict]:
    listed = enumerate(_list(read_json(file), file), 1) if file.suffix == ".json" else read_jsonl(file)
    for number, sample in listed:
        where = f"{file}, line {number}"
        if not isinstance(sample, dict) or "input" not in sample:
            raise UserError(f"{where}: not a sample of inspect_ai: it has no input")
        text, image = _input(sample["input"])
        held = sample.get("metadata") or {}
        image = image or str(held.get("image") or "")
        image = image if image.startswith(("data:", "http")) else str((file.parent / image).absolute()) if image else ""
        choices = list(map(str, sample.get("choices") or ()))
        yield _entry(where, sample.get("id", number), image, text, sample.get("target", ""), choices, held)


def _list(value: object, file: Path) -> list:
    if not isinstance(value, list):
        raise UserError(f"{file}: expected a list of samples")
    return value


def _input(given: object) -> tuple[str, str]:
    """The text and the first image of a sample's input, a text or messages."""
    if not isinstance(given, list):
        return str(given), ""
    texts, pictures = [], []
    for message in (each for each in given if isinstance(each, dict) and each.get("role") == "user"):
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        texts += [str(part.get("text", "")) for part in parts if part.get("type") == "text"]
        pictures += [str(part.get("image", "")) for part in parts if part.get("type") == "image"]
    return "\n".join(texts), (pictures or [""])[0]


# --- VLMEvalKit ------------------------------------------------------------------------------------------------------------


def _write_vlmevalkit(entries: list[dict], out: Path, embed: bool) -> Path:
    rows, first = [], {}
    for index, entry in enumerate(entries):
        row = {"index": index, "id": str(entry["id"])}
        if embed:  # a picture stands once; later rows name the row that holds it
            row["image"] = first.get(entry["image"]) or _embedded(Path(entry["image"]))
            first.setdefault(entry["image"], str(index))
        else:
            row["image_path"] = str(entry["image"])
        choices = entry["options"] if entry["kind"] == "option" else []
        choices = choices if all(map(_stays_text, choices)) else []  # else they stand in the question
        row |= {"question": _stem(entry) if choices else entry["question"], "answer": _target(entry)}
        row |= dict(zip(LETTERS, choices, strict=False)) | {"category": f"{entry['kind']}: {entry['subject']}"}
        rows.append(row | {"metadata": json.dumps(entry, ensure_ascii=False)})
    table = pd.DataFrame(rows)
    options = [letter for letter in LETTERS if letter in table]
    names = [name for name in table if name not in options]
    with atomic_write(out) as file:
        table[[*names[:-3], *options, *names[-3:]]].to_csv(file, sep="\t", index=False, lineterminator="\n")
    return out


@cache
def _stays_text(option: str) -> bool:
    """Whether a cell stays as it is where VLMEvalKit reads its table: pandas makes 29.0 of 29, and nothing of None."""
    cells = pd.Series([option], name="cell").to_csv(sep="\t", index=False)
    return pd.read_csv(io.StringIO(cells), sep="\t")["cell"].tolist() == [option]


def _embedded(path: Path) -> str:
    """A picture as base64, upright and without metadata."""
    target = io.BytesIO()
    images.load_upright(path, images.MAX_PIXELS).save(target, "PNG")
    return base64.b64encode(target.getvalue()).decode()


def read_table(file: Path) -> list[dict[str, str]]:
    """Reads the rows of a TSV, by column. UserError: it is none."""
    try:
        table = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{file}: not a table with tabs between its cells ({error})") from error
    return table.to_dict("records")


def _read_vlmevalkit(file: Path) -> Iterator[dict]:
    rows = read_table(file)
    for column in ("index", "question", "answer"):
        if rows and column not in rows[0]:
            raise UserError(
                f"{file}: no column {column!r}; a table of VLMEvalKit has index, image or image_path, question, answer"
            )
    held = {row["index"]: row.get("image", "") for row in rows}  # a short cell names the row that holds the picture
    unpacked: dict[tuple[str, str], Path] = {}
    for number, row in enumerate(rows, 2):
        where = f"{file}, row {number}"
        picture = row.get("image", "")
        index, picture = (picture, held[picture]) if picture in held else (row["index"], picture)
        if picture and (index, picture) not in unpacked:
            unpacked[index, picture] = _unpacked(picture, file.parent / "images" / file.stem / index, where)
        named = unpacked.get((index, picture)) or row.get("image_path") or ""
        image = str((file.parent / named).absolute()) if named else ""
        choices = [row[letter] for letter in LETTERS if row.get(letter)]
        meta = _object(row.get("metadata"), where) or {"category": row.get("category", "")}
        question = "\n".join(filter(None, (row.get("hint", ""), row["question"])))
        yield _entry(where, row.get("id") or row["index"], image, question, row["answer"], choices, meta)


def _unpacked(text: str, target: Path, where: str) -> Path:
    """Writes a picture that a table holds beside it, as VLMEvalKit does, and returns its path."""
    try:
        raw = base64.b64decode(text.partition("base64,")[2] or text, validate=True)
    except binascii.Error as error:
        raise UserError(f"{where}: its image is not base64 ({error})") from error
    path = target.with_suffix(".png" if raw.startswith(b"\x89PNG") else ".jpg")
    with atomic_path(path) as part:
        part.write_bytes(raw)
    return path


# --- lmms-eval -------------------------------------------------------------------------------------------------------------

_TASK = """task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.doc_to_visual
doc_to_text: !function utils.doc_to_text
doc_to_target: target
process_results: !function utils.process_results
metric_list:
  - metric: score
    aggregation: mean
    higher_is_better: true
  - metric: answered
    aggregation: mean
    higher_is_better: true
generation_kwargs:
  max_new_tokens: 512
  temperature: 0
  do_sample: false
metadata:
  - version: 1.0
"""
_UTILS = '''"""The questions of this folder for lmms-eval; answers are read and scored by retinal_lib."""

import json
from pathlib import Path

from retinal_lib.evaluate import score
from retinal_lib.imaging.images import MAX_PIXELS, load_upright


def doc_to_visual(doc):
    return [load_upright(Path(doc["image"]), MAX_PIXELS)]


def doc_to_text(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]


def process_results(doc, results):
    return score(json.loads(doc["metadata"]), results[0])
'''


def _write_lmms(entries: list[dict], out: Path, embed: bool) -> Path:
    task = re.sub(r"\W+", "_", out.name)
    rows = []
    for entry in entries:
        row = {"id": str(entry["id"]), "image": str(entry["image"]), "question": entry["question"], "target": _target(entry)}
        rows.append(row | {"metadata": json.dumps(entry, ensure_ascii=False)})  # one type a column, whatever the reference is
    data = write_jsonl(out / f"{task}.jsonl", rows)
    for name, text in ((f"{task}.yaml", _TASK.format(task=task, data=json.dumps(str(data)))), ("utils.py", _UTILS)):
        with atomic_write(out / name) as file:
            file.write(text)
    return out


def _read_lmms(file: Path) -> Iterator[dict]:
    tasks = sorted(file.glob("*.yaml")) if file.is_dir() else [file]
    if not tasks:
        raise UserError(f"{file}: no task of lmms-eval (.yaml) in this folder")
    for task in tasks:
        try:
            found = yaml_value(read_bytes(task).replace(b"!function ", b""))  # its functions are not called
        except Unreadable as error:
            raise UserError(f"{task}: not readable as a task of lmms-eval ({error})") from error
        files = ((found.get("dataset_kwargs") or {}).get("data_files") or {}) if isinstance(found, dict) else {}
        named = files.get(found.get("test_split", "test")) if isinstance(files, dict) else files
        if not isinstance(named, str):
            raise UserError(
                f"{task}: its dataset_kwargs name no data_files of the test split, so there is nothing to read here"
            )
        data = Path(named)
        data = data if data.is_absolute() and data.is_file() else task.parent / (data.name if data.is_absolute() else data)
        for number, row in read_jsonl(data):
            where = f"{data}, line {number}"
            if not isinstance(row, dict):
                raise UserError(f"{where}: expected an object")
            target = row.get("target", row.get("answer", ""))
            choices = row.get("options") or row.get("choices") or []
            picture = str(row.get("image") or "")
            image = str((data.parent / picture).absolute()) if picture else ""
            held = _object(row.get("metadata"), where)
            yield _entry(
                where, row.get("id", number), image, str(row.get("question", "")), target, list(map(str, choices)), held
            )


_WRITERS: dict[str, Callable] = {"inspect_ai": _write_inspect, "VLMEvalKit": _write_vlmevalkit, "lmms-eval": _write_lmms}
_READERS: dict[str, Callable] = {"inspect_ai": _read_inspect, "VLMEvalKit": _read_vlmevalkit, "lmms-eval": _read_lmms}
