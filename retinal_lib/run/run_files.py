"""Writes the files of a run from the vault. Each is first written under another name, then renamed, so that nobody reads an
incomplete file."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from retinal_lib import paths, typed_paths
from retinal_lib.ask.vault import ImageState
from retinal_lib.conversation import IMAGE, TURNS
from retinal_lib.dataset.page import MaySend
from retinal_lib.errors import UserError, validation_text
from retinal_lib.files import atomic_write, json_line, read_object
from retinal_lib.reader.second_reader import Report
from retinal_lib.text.shown_text import cleaned

Count = Annotated[int, Field(ge=0, le=10**12)]
MANIFEST = "manifest.json"
PLACES = "places.json"
_PART = "#"  # before the number of a question that is a conversation of its own
_WHERE = ("dataset", "data_root", "automorph_root")  # settings that may name a place
FILES = {
    "conversations.jsonl": "the conversations, one line an image",
    "conversations.json": "the same as one JSON list, as LLaVA's training reads it",
    "failures.jsonl": "every image without a conversation, and why",
    "lineage.jsonl": "where each conversation comes from, number by number: cells, prompt, teacher, findings, repairs",
    "splits.csv": "train, validation and test for every image: a person's eyes and equal pictures together",
    MANIFEST: "the whole run: counts, inputs, prompts, versions",
    "vault.sqlite": "every raw reply; with it, running again asks for nothing twice",
}
AT_TIMES = {
    "card.md": "the dataset card: sources, licences, counts, checks, limits; read it before you train or pass on",
    "changes.jsonl": "images whose state another check changed, and why",
    "unknown.jsonl": "answers that belong to no request of this run, and were not used",
    PLACES: "where the data lie on this machine; leave it out when you pass the folder on",
    "requests": "request files for another machine",
    "batches": "request files of pending batches",
    "reviews.jsonl": "what reviewers decided, line by line; running again does not change it",
    "exports": "the conversations in the formats of training tools",
}


class Files:
    """The files of a run, written image by image; `origin` are fields of each lineage line. Equal images give equal bytes.
    All files are renamed together when the block ends without an error."""

    def __init__(self, folder: Path, prefix: str, origin: dict, separate: bool = False):
        self._folder, self._prefix, self._origin, self._first, self._separate = folder, prefix, origin, True, separate
        self._stack = ExitStack()

    def __enter__(self) -> "Files":
        names = ("conversations.jsonl", "conversations.json", "failures.jsonl", "lineage.jsonl")
        self._lines, self._list, self._failures, self._lineage = (
            self._stack.enter_context(atomic_write(self._folder / name)) for name in names
        )
        self._list.write("[")
        return self

    def add(self, row: ImageState, reader: Report | None = None, questions: Sequence[dict] = ()) -> None:
        """Writes one image: its conversation and lineage with what the second reader said and its closed `questions`, or why
        there is no conversation. Where the run keeps questions `separate`, each is a conversation of its own."""
        if row.state != "accepted":
            self._failures.write(json_line(_failure(row, self._prefix)) + "\n")
            return
        for part, asked in parted(row, questions) if self._separate else [(row, questions)]:
            line = json_line(conversation_entry(part, self._prefix))
            self._lines.write(line + "\n")
            self._list.write(("\n" if self._first else ",\n") + line)
            lineage = _lineage(part, self._prefix, self._origin)
            if asked:
                lineage["questions"] = list(asked)
            if reader:
                lineage |= reader.lineage(row.id) | {"findings": [*reader.doubts(row.id), *row.findings]}
            self._lineage.write(json_line(lineage) + "\n")
            self._first = False

    def __exit__(self, *error: object) -> bool | None:
        if error[0] is None:
            self._list.write("\n]\n")
        return self._stack.__exit__(*error)


class _Source(BaseModel):
    name: str
    title: str
    citation: str = ""
    licence: str
    may_send: MaySend
    terms: str = ""
    drawn_sample: bool


class _Finding(BaseModel):
    kind: str
    severity: str
    conversations: int


class _Checks(BaseModel):
    version: int
    before_repair: list[_Finding]
    after_repair: list[_Finding]
    repaired: int
    rejected: int


class _Reader(BaseModel):
    text: str


class _Repeated(BaseModel):
    questions: float
    answers: float


class _Openings(BaseModel):
    different: int
    most_common: float = Field(alias="most common")


class _Guess(BaseModel):
    questions: int
    most_common: str = Field(alias="most common answer")
    share: float


class _Run(BaseModel):
    dataset: str
    track: Literal[*TURNS]
    data_root: str | None = None
    separate: bool = False


class _Survey(BaseModel):
    turns: dict[str, Count]
    repeated: _Repeated
    distinct_n: dict[str, float]
    openings: _Openings
    claims: dict[str, Count]
    sentences_without_fact: float
    blind_guess: dict[str, _Guess]


class _Reason(BaseModel):
    state: str
    reason: str
    images: int
    text: str = ""  # earlier runs have none


class _Score(BaseModel):
    kind: str
    questions: Count
    chance: float
    usual: float
    longest: float
    place: float


class _Closed(BaseModel):
    scores: list[_Score]
    balance: dict[str, dict[str, Count]]


class _Manifest(BaseModel):
    """What others read of manifest.json; it holds more."""

    run: str = Field(pattern=r"\S+ \S")
    dataset: _Source
    counts: dict[str, Count]
    reasons: list[_Reason]
    not_used: list[str] = []
    not_used_places: list[str] = []
    checks: _Checks
    second_reader: _Reader | None = None
    teacher_is: str
    model: str | None
    inputs: dict[str, str]
    survey: _Survey
    settings: _Run
    closed_questions: _Closed | None = None


class _Number(BaseModel):
    is_: Literal["number"] = Field(alias="is")
    turn: int
    span: tuple[int, int]
    said: str
    fact: str
    file: str
    row: int | None
    column: str | None
    value: Any


class _Claim(_Number):
    is_: Literal["claim"] = Field(alias="is")
    label: str
    aspect: str


class _Mark(BaseModel):
    kind: str
    turn: int
    part: str
    span: tuple[int, int]
    text: str


class _Lineage(BaseModel):
    """What others read of a line of lineage.jsonl; it holds more."""

    id: str
    split: str
    traces: list[_Claim | _Number]
    findings: list[_Mark]


def lineage(line: object) -> dict:
    """Returns a line of lineage.jsonl. ValueError: it is damaged, or of an earlier version."""
    _Lineage.model_validate(line)
    return line


def read_manifest(folder: Path) -> dict:
    """Returns the manifest of the run that was last finished in a folder. UserError: there is none, or it cannot be read."""
    typed_paths.expand(folder)
    if not (folder / MANIFEST).exists():
        raise UserError(
            f"{paths.display_path(folder)} holds no finished run; name the folder of one, or make one with "
            "notebooks/generate.ipynb"
        )
    manifest = read_record(folder / MANIFEST)
    try:
        _Manifest.model_validate(manifest)
    except ValidationError as error:
        raise UserError(
            f"{paths.display_path(folder / MANIFEST)} is damaged or of an earlier version ({validation_text(error)}); "
            "run it again (nothing is asked twice)"
        ) from error
    return manifest


def write_manifest(folder: Path, manifest: dict) -> None:
    """Writes manifest.json; written last, it shows that the run's files are complete."""
    write_record(folder / MANIFEST, manifest)


def write_record(file: Path, content: dict, indent: int = 2) -> None:
    """Writes a JSON object that people read and pass on, see `shown_text`; where the data of its `settings` lie on this
    machine is written into PLACES beside it, if that is outside the project. UserError: it cannot be written."""
    shown, places = cleaned(content), file.with_name(PLACES)
    here = {name: content["settings"].get(name) for name in _WHERE}
    here = {name: value for name, value in here.items() if value and value != shown["settings"][name]}
    if here:
        with atomic_write(places) as lines:
            lines.write(json.dumps(here, ensure_ascii=False, indent=indent) + "\n")
    with atomic_write(file) as lines:
        lines.write(json.dumps(shown, ensure_ascii=False, indent=indent) + "\n")


def _is_place(name: str, value: str) -> bool:
    """Whether a setting is a place in the project; a dataset may be a name too."""
    return (name != "dataset" or bool(Path(value).suffix)) and (typed_paths.root() / typed_paths.expand(value)).exists()


def read_record(file: Path) -> dict:
    """Returns a JSON object as it was given to `write_record`, as far as PLACES is still there. UserError: it cannot be
    read, or is no object."""
    content = read_object(file)
    settings, places = content.get("settings"), file.with_name(PLACES)
    if isinstance(settings, dict):
        here = read_object(places) if places.exists() else {}
        named = {name: value for name in _WHERE if isinstance(value := settings.get(name), str) and value}
        inside = {name: value for name, value in named.items() if _is_place(name, value)}
        settings |= {name: str(typed_paths.root() / value) for name, value in inside.items()}
        # a place belongs to these settings where people read the same of it
        settings |= {name: value for name, value in here.items() if cleaned(value) == settings.get(name)}
    return content


def parted(row: ImageState, questions: Sequence[dict]) -> Iterator[tuple[ImageState, Sequence[dict]]]:
    """Yields each turn of an accepted image as a conversation of its own, with its closed question; its id is the image's with
    the turn's number."""
    for number, question in enumerate(questions, start=1):
        turn = row.conversation[2 * number - 2 : 2 * number]
        first = turn[0]["value"].removesuffix(f"\n{IMAGE}")
        marks = [[mark | {"turn": 1} for mark in marks if mark["turn"] == number] for marks in (row.traces, row.findings)]
        turn = [turn[0] | {"value": f"{first}\n{IMAGE}"}, turn[1]]
        yield replace(row, id=f"{row.id}{_PART}{number}", conversation=turn, traces=marks[0], findings=marks[1]), [question]


def image_id(entry_id: str) -> str:
    """Returns the id of the image of a conversation that `parted` made.

    >>> image_id("ODIR-1_left#2")
    'ODIR-1_left'
    """
    return entry_id.rpartition(_PART)[0]


def conversation_entry(row: ImageState, prefix: str) -> dict:
    """Returns an accepted image's entry of conversations.jsonl, with `prefix` before the image's name."""
    return {"id": row.id, "image": f"{prefix}{row.image}", "conversations": row.conversation}


def _image(row: ImageState, prefix: str) -> dict:
    return {"id": row.id, "image": f"{prefix}{row.image}", "split": row.split}


def _failure(row: ImageState, prefix: str) -> dict:
    return {
        **_image(row, prefix),
        "state": row.state,
        "reason": row.reason,
        "attempts": row.attempt,
        "findings": row.findings,
        "repairs": row.repairs,
    }


def _lineage(row: ImageState, prefix: str, origin: dict) -> dict:
    return {
        **_image(row, prefix),
        "sources": row.sources,
        "prompt_sha256": row.prompt,
        **origin,
        "model_returned": row.model,
        "request_sha256": row.key,
        "request_id": row.request_id,
        "attempt": row.attempt,
        "traces": row.traces,
        "findings": row.findings,
        "repairs": row.repairs,
    }
