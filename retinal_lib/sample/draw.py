"""Draws the sample of a dataset page into a folder."""

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from retinal_lib import typed_paths
from retinal_lib.dataset import page
from retinal_lib.errors import UserError, unknown
from retinal_lib.files import read_bytes
from retinal_lib.imaging.images import MARKER
from retinal_lib.parsing import Unreadable, json_value
from retinal_lib.sample import datasets


def draw(dataset: str, folder: Path, seed: int = 0) -> Path:
    """Draws the sample of a published dataset (name in any case) into `folder` and returns the folder.

    The same dataset and seed give the same bytes. A folder that holds this sample already is left as it is; one with
    another sample, or one of another `version` in eyes.yaml, is replaced.
    UserError: unknown dataset, or the folder exists and is no sample."""
    name = page.get(dataset).name
    if name not in datasets.contents()["datasets"]:
        raise unknown("dataset with a sample", name, datasets.contents()["datasets"])

    def write(made: Path) -> None:
        sample = datasets.Sample(name, made, seed)
        sample.draw_eyes()
        sample.write_automorph()

    return draw_once(folder, {"version": datasets.contents()["version"], "dataset": name, "seed": seed}, write)


def draw_once(folder: Path, identity: dict[str, object], write: Callable[[Path], None], kind: str = "sample") -> Path:
    """Draws into `folder`, unless it holds a drawing of the same `identity` already, and returns the folder.

    `write` draws into the temporary folder that it is given, which then takes the place of a drawing with another identity.
    UserError: the folder holds something that was not drawn, or cannot be written."""
    folder = typed_paths.expand(folder)
    if _is_drawn(folder, identity, kind):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent, ignore_cleanup_errors=True) as place:
            made = Path(place) / "new"
            made.mkdir()
            write(made)
            (made / MARKER).write_text(json.dumps(identity) + "\n", encoding="utf-8")
            while not _is_drawn(folder, identity, kind):  # where another process was quicker, its equal sample stays
                with suppress(FileNotFoundError):  # there is nothing, or another process has moved it
                    folder.rename(Path(tempfile.mkdtemp(dir=place)) / "old")
                try:
                    made.rename(folder)
                except OSError:
                    if not folder.exists():
                        raise
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"a {kind} cannot be drawn into {folder} ({why}); free disk space, or allow writing there") from error
    return folder


def _is_drawn(folder: Path, identity: dict[str, object], kind: str) -> bool:
    """Whether the folder holds the drawing of that identity. UserError: it holds something that was not drawn."""
    if not os.path.lexists(folder):
        return False
    if (folder / MARKER).is_file():
        try:
            return json_value(read_bytes(folder / MARKER)) == identity
        except Unreadable:
            return False  # drawn all the same, by its marker
    raise UserError(
        f"{folder} exists and is no drawn {kind} (it has no {MARKER} file); choose a folder that does not exist yet"
    )
