"""Files out of the vault, each written beside its place and swapped in, so that a reader never meets half a file."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from retinal_lib.errors import UserError
from retinal_lib.vault import Sample, Vault

FILES = {
    "conversations.jsonl": "the conversations, one line an image",
    "conversations.json": "the same as one JSON list, as LLaVA's training reads it",
    "failures.jsonl": "every image without a conversation, and why",
    "lineage.jsonl": "where each conversation comes from: cells, prompt, teacher, findings",
    "manifest.json": "the whole run: counts, inputs, prompts, versions",
    "vault.sqlite": "every raw reply; with it, running again asks for nothing twice",
}


@contextmanager
def swapped(path: Path) -> Iterator[TextIO]:
    """A text file to write that takes its place only when it is whole and on disk. UserError: it cannot be written."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}); free its place and run again: nothing is lost") from error
    finally:
        part.unlink(missing_ok=True)


def dump(entry: object) -> str:
    """One line of JSON, readable in every alphabet."""
    return json.dumps(entry, ensure_ascii=False)


def write(vault: Vault, folder: Path, prefix: str, origin: dict, manifest: dict) -> None:
    """All files of a run from its vault. `origin` stands in each lineage line; the same vault gives the same bytes."""
    _lines(folder / "conversations.jsonl", vault, "accepted", lambda s: _conversation(s, prefix))
    _list(folder / "conversations.json", vault, prefix)
    _lines(folder / "failures.jsonl", vault, None, lambda s: _failure(s, prefix))
    _lines(folder / "lineage.jsonl", vault, "accepted", lambda s: _lineage(s, prefix, origin))
    with swapped(folder / "manifest.json") as file:
        file.write(json.dumps(manifest, ensure_ascii=False, indent=2) + "\n")


def _lines(path: Path, vault: Vault, state: str | None, line: Callable[[Sample], dict | None]) -> None:
    with swapped(path) as file:
        for sample in vault.samples(state):
            if entry := line(sample):
                file.write(dump(entry) + "\n")


def _list(path: Path, vault: Vault, prefix: str) -> None:
    with swapped(path) as file:
        file.write("[")
        for i, sample in enumerate(vault.samples("accepted")):
            file.write((",\n" if i else "\n") + dump(_conversation(sample, prefix)))
        file.write("\n]\n")


def _conversation(sample: Sample, prefix: str) -> dict:
    return {"id": sample.id, "image": f"{prefix}{sample.image}", "conversations": sample.conversation}


def _failure(sample: Sample, prefix: str) -> dict | None:
    if sample.state == "accepted":
        return None
    return {
        "id": sample.id, "image": f"{prefix}{sample.image}", "split": sample.split, "state": sample.state,
        "reason": sample.reason, "attempts": sample.attempt,
    }


def _lineage(sample: Sample, prefix: str, origin: dict) -> dict:
    return {
        "id": sample.id, "image": f"{prefix}{sample.image}", "split": sample.split, "sources": sample.sources,
        "prompt_sha256": sample.prompt, **origin, "request_sha256": sample.key, "request_id": sample.request_id,
        "attempt": sample.attempt, "findings": sample.findings,
    }


def sha256(text: str) -> str:
    """The sha256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
