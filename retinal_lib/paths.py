"""Where things are, from any working directory."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
HEADLESS = "RETINAL_LIB_HEADLESS"  # an environment variable, set where no one looks on


def root() -> Path:
    """The project's folder, with params/ and artifacts/: RETINAL_LIB_ROOT where the environment names one, else the checkout
    that this package lies in, else the nearest one above the working directory, else the working directory itself."""
    if named := os.environ.get("RETINAL_LIB_ROOT"):
        return Path(named).expanduser().absolute()
    for folder in (PACKAGE.parent, Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
            return folder
    return Path.cwd()


def resolve(path: str | Path) -> Path:
    """An absolute path for what a user typed: relative to the shell's folder; from inside `notebooks/`, where
    JupyterLab starts its kernels, relative to the project's folder."""
    path = Path(path).expanduser()
    inside_notebooks = Path.cwd().is_relative_to(root() / "notebooks")
    return Path(os.path.normpath((root() if inside_notebooks else Path.cwd()) / path))


def shown(path: str | Path) -> str:
    """The path as shown to people: relative to the project's folder where it lies in it, with forward slashes."""
    path = Path(path)
    return (path.relative_to(root()) if path.is_relative_to(root()) else path).as_posix()
