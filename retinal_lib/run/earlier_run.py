"""What a folder holds of an earlier run, and whether another run may replace it: nothing good is replaced by something smaller,
or by something about other data, without being asked."""

import filecmp
from collections.abc import Collection, Iterable
from pathlib import Path

from pydantic import BaseModel, ValidationError

from retinal_lib.dataset.base import BaseDescription
from retinal_lib.display import count
from retinal_lib.errors import UserError
from retinal_lib.files import NotJson, json_lines, sha256, would_replace
from retinal_lib.run.run_files import MANIFEST, image_id, read_record


class _Dataset(BaseModel):
    drawn_sample: bool | None = None


class _Settings(BaseModel):
    dataset: str = ""
    data_root: str | None = None
    separate: bool = False


class _Earlier(BaseModel):
    """What is read of an earlier run's manifest, also of earlier versions."""

    run: str = ""
    teacher: str = ""
    dataset: _Dataset | None = None
    settings: _Settings | None = None
    inputs: dict[str, str] | None = None


def manifest(folder: Path) -> dict:
    """Returns the manifest of the run that was last finished in a folder; empty without one, and where it is damaged."""
    content = record(folder / MANIFEST)
    try:
        _Earlier.model_validate(content)
    except ValidationError:
        return {}
    return content


def ids(file: Path, separate: bool = False) -> frozenset[str]:
    """Returns the ids of a file of conversations; none where there is no such file. Lines that are broken are left out. Where
    each question is a conversation of its own (`separate`), the ids are those of the images."""
    entries = (entry for _, entry in json_lines(file)) if file.is_file() else ()
    of = image_id if separate else str
    return frozenset(of(str(e["id"])) for e in entries if not isinstance(e, NotJson) and isinstance(e, dict) and "id" in e)


def hashed(names: Iterable[str]) -> list[str]:
    """Returns names as short hashes, since the names of some datasets' images would identify a participant."""
    return [sha256(name)[:16] for name in names]


def check_name(folder: Path, name: str) -> None:
    """Checks that a folder has no files of another dataset or track, which this run would replace. UserError: it has."""
    if (run := manifest(folder).get("run", name)) != name:
        raise UserError(f"{folder} holds the conversations of {run}; pass another out_dir for {name}")


def record(file: Path) -> dict:
    """Returns the JSON object in a file, see `run_files.read_record`; empty where there is none."""
    try:
        return read_record(file)
    except UserError:
        return {}


def check(
    file: Path,
    earlier: dict,
    data: BaseDescription,
    drawn: bool,
    held: Collection[str],
    chosen: Collection[str],
    what: str,
    teacher: str = "",
) -> None:
    """Checks that a run may replace a file, which a run with the manifest `earlier` has written.

    It may if everything that the file holds (`held`, each `what`) is `chosen` again, from the same data, and no language
    model's conversations are replaced by the offline teacher's. What was made from drawn eyes may be replaced by what is made
    from own data. UserError: it may not.
    """
    settings, was_drawn = earlier.get("settings") or {}, (earlier.get("dataset") or {}).get("drawn_sample")
    if not held or (was_drawn and not drawn):
        return
    made = f"{count(len(held), what)} made"
    root = Path(settings.get("data_root") or Path(settings.get("dataset", "")).parent)
    if drawn and was_drawn is False:
        raise would_replace(file, f"{made} from your own data in {root}, and this run uses a drawn sample")
    if settings and not drawn and root != data.root and not _same_data(root, earlier.get("inputs") or {}, data):
        raise would_replace(file, f"{made} from other data, in {root}")
    if left_out := len(set(held) - set(chosen)):
        raise would_replace(file, f"{count(left_out, what)} that this run leaves out")
    if teacher == "offline" and earlier.get("teacher", teacher) != teacher:
        raise would_replace(file, f"{made} by the model {earlier.get('model')}, and this run uses the offline teacher")


def _same_data(root: Path, inputs: dict[str, str], data: BaseDescription) -> bool:
    """Whether data that lay in `root` were moved or copied to where they are now: a table and the first picture are equal."""
    if inputs and data.inputs and not set(inputs.values()) & set(data.inputs.values()):
        return False
    if not data.images:
        return True
    path = data.image(data.images[0]).path
    first = root / path.relative_to(data.root) if path.is_relative_to(data.root) else path
    return not first.is_file() or filecmp.cmp(first, path, shallow=False)
