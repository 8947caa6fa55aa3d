"""Draws the sample of a dataset page into a folder."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from retinal_lib.dataset import page
from retinal_lib.errors import UserError, unknown
from retinal_lib.sample import datasets

MARKER = ".sample"


def draw(dataset: str, folder: Path, seed: int = 0) -> Path:
    """Draws the sample of a published dataset (name in any case) into `folder` and returns the folder.

    The same dataset and seed give the same bytes. A folder that holds this sample already is left as it is, one with
    another sample is replaced. UserError: unknown dataset, or the folder exists and is no sample."""
    name = page.get(dataset).name
    if name not in datasets.contents()["datasets"]:
        raise unknown("dataset with a sample", name, datasets.contents()["datasets"])
    folder = Path(folder)
    wanted = {"version": datasets.contents()["version"], "dataset": name, "seed": seed}
    if not _is_drawn(folder, wanted):
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            made.chmod(0o755)
            sample = datasets.Sample(name, made, seed)
            sample.draw_eyes()
            sample.write_automorph()
            (made / MARKER).write_text(json.dumps(wanted) + "\n", encoding="utf-8")
            _put(made, folder, wanted)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder


def _is_drawn(folder: Path, wanted: dict[str, object]) -> bool:
    """Whether the folder holds the wanted sample. UserError: it holds something that is no sample."""
    if not os.path.lexists(folder):
        return False
    try:
        return json.loads((folder / MARKER).read_text(encoding="utf-8")) == wanted
    except json.JSONDecodeError:
        return False  # a sample all the same, by its marker
    except OSError as error:
        raise UserError(
            f"{folder} exists and is no drawn sample (it has no {MARKER} file); choose a folder that does not exist yet"
        ) from error


def _put(made: Path, folder: Path, wanted: dict[str, object]) -> None:
    """Moves a finished sample into place. Where another process was quicker, its equal sample stays."""
    while not _is_drawn(folder, wanted):
        if folder.exists():
            aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            try:
                folder.rename(aside / "old")
            except FileNotFoundError:
                pass  # another process has moved it
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        try:
            made.rename(folder)
            return
        except OSError:
            if not folder.exists():
                raise
