"""Paths of the project and of what users type, from any working directory."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
NON_INTERACTIVE = "RETINAL_LIB_HEADLESS"  # an environment variable, set when a notebook runs unattended


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
    """Returns an absolute path for what a user typed: relative to the working directory, or to the project's folder where
    that is `notebooks/`, in which JupyterLab starts its kernels."""
    path = Path(path).expanduser()
    inside_notebooks = Path.cwd().is_relative_to(root() / "notebooks")
    return Path(os.path.normpath((root() if inside_notebooks else Path.cwd()) / path))


def display_path(path: str | Path) -> str:
    """Returns the path as shown to people: relative to the project's folder if it lies there, with forward slashes."""
    path = Path(path)
    return (path.relative_to(root()) if path.is_relative_to(root()) else path).as_posix()
