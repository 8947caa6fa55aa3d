"""Writes the files of a run from the vault. Each is first written under another name, then renamed, so that nobody reads an
incomplete file."""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from retinal_lib import paths
from retinal_lib.ask.vault import ImageState
from retinal_lib.errors import UserError
from retinal_lib.files import atomic_write, json_line

MANIFEST = "manifest.json"
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
    "requests": "request files for another machine",
    "batches": "request files of pending batches",
    "reviews.jsonl": "what reviewers decided, line by line; running again does not change it",
    "exports": "the conversations in the formats of training tools",
}


class Files:
    """The files of a run, written image by image; `origin` are fields of each lineage line. Equal images give equal bytes.
    All files are renamed together when the block ends without an error."""

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
        """Writes one image: its conversation and lineage, or why there is no conversation."""
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


def read_manifest(folder: Path, needs: Iterable[str] = ("dataset", "settings", "survey")) -> dict:
    """Returns the manifest of the run that was last finished in a folder, which `needs` these keys. UserError: there is none,
    it cannot be read, or it lacks one."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(manifest, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        why = "" if isinstance(error, FileNotFoundError) else f" ({MANIFEST}: {error})"
        raise UserError(
            f"{paths.display_path(folder)} holds no finished run{why}; name the folder of one, or make one with "
            "notebooks/generate.ipynb"
        ) from error
    if not all(isinstance(manifest.get(key), dict) for key in needs):
        raise UserError(f"{paths.display_path(folder)} was made by an earlier version; run it again (nothing is asked twice)")
    return manifest


def write_lines(path: Path, entries: list[dict]) -> None:
    """Writes entries as JSON lines; without entries, deletes the file. UserError: it cannot be written."""
    if not entries:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as file:
        file.writelines(json_line(entry) + "\n" for entry in entries)


def write_manifest(folder: Path, manifest: dict) -> None:
    """Writes manifest.json; written last, it shows that the run's files are complete."""
    with atomic_write(folder / MANIFEST) as file:
        file.write(json.dumps(manifest, ensure_ascii=False, indent=2) + "\n")


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
