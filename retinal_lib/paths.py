"""Paths of the project and of what users type, from any working directory."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
NON_INTERACTIVE = "RETINAL_LIB_HEADLESS"  # the environment variable that is set when a notebook runs unattended


def root() -> Path:
    """Returns the project's folder, with params/ and artifacts/: RETINAL_LIB_ROOT if that environment variable is set, else
    the checkout that holds this package, else the nearest folder above the working directory that has notebooks/ and params/,
    else the working directory."""
    if folder := os.environ.get("RETINAL_LIB_ROOT"):
        return Path(os.path.expanduser(folder)).absolute()  # noqa: PTH111 - Path.expanduser fails where a user is not known
    for folder in (PACKAGE.parent, Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
            return folder
    return Path.cwd()


def display_path(path: str | Path) -> str:
    """Returns the path as people read it, with forward slashes: relative to the project's folder if it is inside, else the last
    two parts after "…/", since the folders above may tell what nobody else should know.

    >>> display_path("/data/secret/UKB/labels.csv")
    '…/UKB/labels.csv'
    """
    path = Path(path)
    if path.is_relative_to(root()):
        return path.relative_to(root()).as_posix()
    return f"…/{'/'.join(path.parts[1:][-2:])}" if path.is_absolute() else path.as_posix()


def to_type(path: Path, out_dir: Path) -> str:
    """Returns a path within a run's folder as it can be typed in a command: relative to the project's folder if it is inside,
    else after `<out_dir>`, which stands for what the user passed.

    >>> to_type(Path("/data/secret/run/model"), Path("/data/secret/run"))
    '<out_dir>/model'
    """
    return display_path(path) if path.is_relative_to(root()) else f"<out_dir>/{path.relative_to(out_dir).as_posix()}"
