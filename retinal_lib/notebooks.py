"""The notebooks as the command line runs and copies them: those of the checkout, else those that the wheel brought along."""

import importlib.metadata
import shutil
from collections.abc import Sequence
from pathlib import Path

from papermill.cli import papermill

from retinal_lib import paths
from retinal_lib.errors import UserError

_BROUGHT = "share/retinal_lib/notebooks/"  # see data-files in pyproject.toml


def files() -> dict[str, Path]:
    """Returns the notebooks by their path below notebooks/. UserError: this installation has none."""
    checkout = paths.PACKAGE.parent / "notebooks"
    if checkout.is_dir():
        found = {file.relative_to(checkout).as_posix(): file for file in sorted(checkout.rglob("*.ipynb"))}
        found = {name: file for name, file in found.items() if ".ipynb_checkpoints" not in name}
    else:
        brought = {str(file).replace("\\", "/"): file for file in importlib.metadata.files("retinal_lib") or []}
        brought = {path.partition(_BROUGHT)[2]: Path(file.locate()) for path, file in brought.items() if _BROUGHT in path}
        # pip's --target puts them beside the package, which the list of files does not say
        found = {name: file if file.is_file() else paths.PACKAGE.parent / _BROUGHT / name for name, file in brought.items()}
    if not found:
        raise UserError("this installation of retinal_lib has no notebooks; install it again, or run it from a checkout")
    return found


def run(name: str, words: Sequence[str]) -> None:
    """Runs a notebook by papermill, as `papermill notebooks/<name>.ipynb -p key value …` does, and ends the process as that
    does. `words` are a dataset, which may be missing, and texts key=value. UserError: one is neither."""
    given = []
    for number, word in enumerate(words):
        key, equals, value = word.partition("=")
        if equals and key.isidentifier():
            given += ["-p", key, value]
        elif number == 0:
            given += ["-p", "dataset", word]
        else:
            raise UserError(f"found {word!r} after the dataset; expected a parameter and its value, such as limit=20")
    papermill.main([str(files()[f"{name}.ipynb"]), *given], prog_name=f"retinal {name}")


def copy(folder: Path) -> list[Path]:
    """Copies all notebooks into a folder, which is made where it is missing; returns the copies. UserError: another file has
    the name of one; then nothing is copied."""
    copies = {folder / name: source for name, source in files().items()}
    for target, source in copies.items():
        if target.exists() and target.read_bytes() != source.read_bytes():
            shown = paths.display_path(target)
            raise UserError(f"{shown} is another notebook than the one to copy; rename it, or name another folder")
    for target, source in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copyfile(source, target)
    return list(copies)
