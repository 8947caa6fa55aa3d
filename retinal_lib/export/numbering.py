"""Names of pictures that tell of a person: said before an export is passed on, and numbers in their place."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from retinal_lib import paths
from retinal_lib.conversation import Conversation
from retinal_lib.dataset import page, splits
from retinal_lib.dataset.cells.values import holds_code
from retinal_lib.dataset.splits import SplitRow
from retinal_lib.display import count
from retinal_lib.errors import UserError
from retinal_lib.export.preferences import Pair
from retinal_lib.run import run_files

_WAY = "to have numbers in their place, add --numbers --pictures copy"


def note(folder: Path) -> list[str]:
    """Returns a sentence where the names of a run's pictures, and so its ids, tell of a person: where its page says so, or, of
    the user's own data, where they hold what tells whose a picture is. UserError: the run's files cannot be read."""
    if not (folder / run_files.MANIFEST).is_file():
        return []
    manifest = run_files.read_manifest(folder)
    if manifest["dataset"].get("private_names"):
        return [f"{folder.name}: names and ids identify participants, as the dataset's page says; {_WAY}"]
    rows = _rows(folder) if page.is_own(manifest["settings"]["dataset"]) else []
    told = sum(map(_holds_its_patient, rows))
    if not told:
        return []
    return [f"{folder.name}: the names and ids of {told:,} of {count(len(rows), 'picture')} hold the patient's code; {_WAY}"]


def _rows(folder: Path) -> list[SplitRow]:
    return splits.read(folder / splits.FILE) if (folder / splits.FILE).is_file() else []


def _holds_its_patient(row: SplitRow) -> bool:
    """Whether a picture's name holds the code of its patient, as the name or a column of the table gives it."""
    codes = [unquote(tie.rpartition("/")[2]) for tie in row.ties.split() if tie.startswith("patient:")]
    return any(holds_code(PurePosixPath(row.image).stem, code) for code in codes)


class Numbers(NamedTuple):
    """What stands for ids and names of pictures, each by run and id or name: the name of the run's folder, and the place of the
    picture's row in its splits.csv, counted from 1."""

    ids: dict[tuple[Path, str], str]
    images: dict[tuple[Path, str], str]

    def splits(self, split_of_id: dict[str, str] | None) -> dict[str, str] | None:
        """Returns the splits of ids, with those of the numbers that stand for them."""
        if split_of_id is None:
            return None
        of = {new: split_of_id.get(id_) or split_of_id[run_files.image_id(id_)] for (_, id_), new in self.ids.items()}
        return split_of_id | of


def numbers(runs: Mapping[Path, Sequence[Conversation | Pair]], target: Path) -> Numbers:
    """Numbers the pictures of runs for an export into `target`. UserError: a run has no splits.csv, or one that lacks a
    picture, two runs have one name, or an earlier export has left pictures under their names."""
    if len({folder.name for folder in runs}) < len(runs):
        raise UserError("--numbers calls pictures by the names of the runs, and two runs have one name; rename a folder")
    found = Numbers({}, {})
    for folder, entries in runs.items():
        rows = splits.read(folder / splits.FILE)
        number_of = {row.id: f"{number:0{len(str(len(rows)))}}" for number, row in enumerate(rows, start=1)}
        if any(_has(target, entry.image) for entry in entries):
            raise UserError(f"{paths.display_path(target)} holds pictures under their names; name another folder with --out")
        for entry in entries:
            of_image = entry.id if entry.id in number_of else run_files.image_id(entry.id)  # else a part of a conversation
            if of_image not in number_of:
                raise UserError(f"{paths.display_path(folder / splits.FILE)} lacks a picture of the run; run it again")
            number = number_of[of_image]
            found.ids[folder, entry.id] = f"{folder.name}-{number}{entry.id.removeprefix(of_image)}"
            found.images[folder, entry.image] = f"{folder.name}/{number}{PurePosixPath(entry.image).suffix}"
    return found


def _has(target: Path, image: str) -> bool:
    """Whether an export has left a picture under its name."""
    names = (image, str(PurePosixPath(image).with_suffix(".png")))
    return any((target / top / name).exists() for top in ("", "drawn") for name in names)
