"""Whether each conversation of a run belongs to its own image, told by marks that the servers of the tests leave."""

import json
from functools import cache
from pathlib import Path

from fake_batches import mark

from retinal_lib import Job
from retinal_lib.run import run_files


def lines(path: Path) -> list[dict]:
    """The entries of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def check_every_answer(folder: Path, images: int) -> None:
    """Each image is in one state, and each conversation holds the mark of its own image's message."""
    found = lines(folder / "conversations.jsonl")
    failures = lines(folder / "failures.jsonl")
    names = [entry["id"] for entry in (*found, *failures)]
    assert len(names) == len(set(names)) == images
    for entry in found:
        assert f"What is {marks(folder)[entry['id']]}?" in entry["conversations"][0]["value"].split("\n"), entry["id"]


@cache
def marks(folder: Path) -> dict[str, str]:
    """The mark of each image's message, by its id, read anew from the dataset."""
    manifest = run_files.read_manifest(folder)["settings"]
    kept = {name: manifest[name] for name in ("dataset", "data_root", "limit", "track", "style", "seed") if manifest[name]}
    job = Job.load(**kept)
    requests = [planned.request for planned in job.plan() if planned.request]
    return {request.case.id: mark(request.message) for request in requests}
