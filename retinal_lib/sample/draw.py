"""Draws the sample of a dataset page into a folder."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from retinal_lib.dataset import page
from retinal_lib.errors import UserError, unknown
from retinal_lib.paths import PACKAGE
from retinal_lib.sample import datasets
from retinal_lib.sample.kit import Kit

PAGES: dict[str, Callable[[Kit], None]] = {
    "APTOS": datasets.aptos,
    "EyeQ": datasets.eyeq,
    "IDRiD": datasets.idrid,
    "IDRiD_seg": datasets.idrid_seg,
    "MICCAI_task1": datasets.miccai_1,
    "MICCAI_task2": datasets.miccai_2,
    "Messidor": datasets.messidor,
    "Messidor2": datasets.messidor2,
    "ODIR": datasets.odir,
    "RFMiD": datasets.rfmid,
    "RFMiD2": datasets.rfmid2,
    "UK": datasets.uk,
}


MARKER = ".sample"


def draw(dataset: str, folder: Path, seed: int = 0) -> Path:
    """Draws the sample of a published dataset (name in any case) into `folder` and returns the folder.

    The same dataset and seed give the same bytes. A folder that holds this sample already is left as it is, one with
    another sample is replaced. UserError: unknown dataset, or the folder exists and is no sample."""
    name = page.get(dataset).name
    if name not in PAGES:
        raise unknown("dataset with a sample", name, PAGES)
    folder = Path(folder)
    wanted = {"drawn_by": _drawn_by(), "dataset": name, "seed": seed}
    if not _is_drawn(folder, wanted):
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            made.chmod(0o755)
            kit = Kit(name, made, seed)
            PAGES[name](kit)
            kit.finish()
            (made / MARKER).write_text(json.dumps(wanted) + "\n", encoding="utf-8")
            _put(made, folder, wanted)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder


@cache
def _drawn_by() -> str:
    """What decides a sample's bytes: the code that draws it, so that samples of an older version are drawn again."""
    digest = hashlib.sha256()
    for path in sorted((PACKAGE / "sample").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


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
