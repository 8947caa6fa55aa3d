"""Files out of the vault, each written beside its place and atomic_write in, so that a reader never meets half a file."""

import json
from contextlib import ExitStack
from pathlib import Path

from retinal_lib.ask.vault import ImageState
from retinal_lib.errors import UserError
from retinal_lib.files import atomic_write, json_line

FILES = {
    "conversations.jsonl": "the conversations, one line an image",
    "conversations.json": "the same as one JSON list, as LLaVA's training reads it",
    "failures.jsonl": "every image without a conversation, and why",
    "lineage.jsonl": "where each conversation comes from, number by number: cells, prompt, teacher, findings, repairs",
    "splits.csv": "train, validation and test for every image: a person's eyes and equal pictures together",
    "manifest.json": "the whole run: counts, inputs, prompts, versions",
    "vault.sqlite": "every raw reply; with it, running again asks for nothing twice",
}
AT_TIMES = {
    "card.md": "the dataset card: sources, licences, counts, checks, limits; read it before you train or pass on",
    "changes.jsonl": "images whose state another check changed, and why",
    "unknown.jsonl": "answers that belong to no request of this run, and were not taken",
    "requests": "request files for another machine",
    "batches": "request files of pending batches",
    "reviews.jsonl": "what reviewers decided, line by line; running again leaves it as it is",
    "exports": "the conversations in the forms that trainers read",
}


class Files:
    """The files of a run, written one image after the other; `origin` stands in each lineage line. The same images give the
    same bytes. All files are renamed into place together when the block ends without an error."""

    def __init__(self, folder: Path, prefix: str, origin: dict):
        self._folder, self._prefix, self._origin, self._first = folder, prefix, origin, True
        self._stack = ExitStack()

    def __enter__(self) -> "Files":
        names = ("conversations.jsonl", "conversations.json", "failures.jsonl", "lineage.jsonl")
        self._lines, self._list, self._failures, self._lineage = (
            self._stack.enter_context(atomic_write(self._folder / name)) for name in names
        )
        self._list.write("[")
        return self

    def add(self, row: ImageState) -> None:
        """Writes one image: its conversation and where that comes from, or why there is none."""
        if row.state != "accepted":
            self._failures.write(json_line(_failure(row, self._prefix)) + "\n")
            return
        line = json_line(conversation_entry(row, self._prefix))
        self._lines.write(line + "\n")
        self._list.write(("\n" if self._first else ",\n") + line)
        self._lineage.write(json_line(_lineage(row, self._prefix, self._origin)) + "\n")
        self._first = False

    def __exit__(self, *error: object) -> bool | None:
        if error[0] is None:
            self._list.write("\n]\n")
        return self._stack.__exit__(*error)


def check_same_run(folder: Path, title: str) -> None:
    """UserError: the folder holds the files of another dataset or track, which this run would replace."""
    try:
        held = json.loads((folder / "manifest.json").read_text(encoding="utf-8")).get("run", title)
    except (OSError, ValueError, AttributeError):  # no run was finished here
        return
    if held != title:
        raise UserError(f"{folder} holds the conversations of {held}; give {title} another out_dir")


def images_before(folder: Path) -> int:
    """Counts the images that the files of a folder are about; 0 where no run was finished there."""
    try:
        return int(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["counts"]["images"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def write_lines(path: Path, entries: list[dict]) -> None:
    """Writes entries as JSON lines; without any, there is no such file. UserError: it cannot be written."""
    if not entries:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as file:
        file.writelines(json_line(entry) + "\n" for entry in entries)


def write_manifest(folder: Path, manifest: dict) -> None:
    """Writes manifest.json, last of all: with it, the run's files are whole."""
    with atomic_write(folder / "manifest.json") as file:
        file.write(json.dumps(manifest, ensure_ascii=False, indent=2) + "\n")


def conversation_entry(row: ImageState, prefix: str) -> dict:
    """Returns an accepted image's entry of conversations.jsonl; `prefix` stands before the image's name."""
    return {"id": row.id, "image": f"{prefix}{row.image}", "conversations": row.conversation}


def _failure(row: ImageState, prefix: str) -> dict:
    return {
        "id": row.id,
        "image": f"{prefix}{row.image}",
        "split": row.split,
        "state": row.state,
        "reason": row.reason,
        "attempts": row.attempt,
        "findings": row.findings,
        "repairs": row.repairs,
    }


def _lineage(row: ImageState, prefix: str, origin: dict) -> dict:
    return {
        "id": row.id,
        "image": f"{prefix}{row.image}",
        "split": row.split,
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
