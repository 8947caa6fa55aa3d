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
        return Path(folder).expanduser().absolute()
    for folder in (PACKAGE.parent, Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
            return folder
    return Path.cwd()


def resolve(path: str | Path) -> Path:
    """Returns the absolute path for a path that a user typed: relative to the working directory, or to the project's folder
    if the working directory is `notebooks/`, where JupyterLab starts its kernels."""
    path = Path(path).expanduser()
    inside_notebooks = Path.cwd().is_relative_to(root() / "notebooks")
    return Path(os.path.normpath((root() if inside_notebooks else Path.cwd()) / path))


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
