"""Finds a dataset's files below the folder a user unzipped, doubled folders and all."""

import fnmatch
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from urllib.parse import unquote

import yaml

from retinal_lib import paths
from retinal_lib.dataset.tables import IMAGE_SUFFIXES
from retinal_lib.files import printable, why_unusable

IGNORED = ("__MACOSX", ".ipynb_checkpoints", ".git")


@dataclass(frozen=True)
class Folder:
    """One folder with files, and the words its place is matched by: its path from the root (the root's own name first),
    percent signs decoded, folder names that an unzip tool doubled taken once."""

    path: Path
    words: tuple[str, ...]
    files: tuple[str, ...]


def walk(root: Path, without: Iterable[Path] = ()) -> list[Folder]:
    """Lists all folders below `root` that hold files, in path order, without hidden ones and those in `without`."""
    skip = {Path(path) for path in without}
    walked = []
    for path, folders, files in os.walk(root):
        here = Path(path)
        folders[:] = sorted(f for f in folders if f not in IGNORED and not f.startswith(".") and here / f not in skip)
        words: list[str] = []
        for part in (root.name, *here.relative_to(root).parts):
            word = unquote(part).strip().casefold()
            if not words or words[-1] != word:
                words.append(word)
        kept = tuple(sorted(f for f in files if not f.startswith(".")))
        if kept:
            walked.append(Folder(here, tuple(words), kept))
    return walked


def _fits(words: tuple[str, ...], pattern: str) -> bool:
    parts = [part.casefold() for part in pattern.split("/")]
    tail = words[-len(parts) :]
    return len(tail) == len(parts) and all(map(fnmatch.fnmatchcase, tail, parts))


def folders(tree: list[Folder], patterns: Iterable[str], accept: str = "") -> list[Folder]:
    """Returns the folders that fit the first pattern for which any folder holds an image whose stem fits `accept`."""
    for pattern in patterns:
        fitting = [f for f in tree if _fits(f.words, pattern)]
        if any(re.search(accept, Path(name).stem, re.IGNORECASE) for f in fitting for name in images(f)):
            return fitting
    return []


def files(tree: list[Folder], patterns: Iterable[str]) -> list[Path]:
    """Returns the files whose path fits the first pattern that any file fits."""
    for pattern in patterns:
        fitting = [f.path / n for f in tree for n in f.files if _fits((*f.words, n.casefold()), pattern)]
        if fitting:
            return fitting
    return []


@cache
def shared_pictures() -> dict:
    """Returns which pictures stand in two datasets, as same_pictures.yaml has it."""
    return yaml.safe_load(Path(__file__).with_name("same_pictures.yaml").read_text(encoding="utf-8"))


def same_picture(name: str) -> list[str]:
    """Returns the folded names (dataset/split/stem) of a picture: its own, and those that it has in other datasets."""
    name = name.casefold()
    pairs = [[one.casefold() for one in pair] for pair in shared_pictures()["pairs"]]
    return [name, *(other for pair in pairs if name in pair for other in pair if other != name)]


def images(folder: Folder) -> list[str]:
    """Returns the names of a folder's image files."""
    return [name for name in folder.files if Path(name).suffix.casefold() in IMAGE_SUFFIXES]


def natural(name: str) -> list:
    """Returns a sort key that puts 2 before 10."""
    return [
        (0, int(part), "") if part.isdecimal() and len(part) < 300 else (1, 0, part.casefold())
        for part in re.split(r"(\d+)", name)
    ]


@dataclass(frozen=True)
class ImageFile:
    """One image file of a split, with its size in bytes; 0 where it cannot be used."""

    split: str
    path: Path
    size: int

    @cached_property
    def name(self) -> str:
        """The file's name."""
        return printable(self.path.name)

    @cached_property
    def stem(self) -> str:
        """The name without its last suffix."""
        return Path(self.name).stem

    @cached_property
    def key(self) -> str:
        """The stem as rows are found by: case folded."""
        return self.stem.casefold()

    @property
    def place(self) -> tuple[str, str]:
        """Split and key, which no two images of a dataset share."""
        return self.split, self.key


@dataclass
class Inventory:
    """The image files of one split, one per id."""

    images: list[ImageFile] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)  # files in the image folders whose name is no id of the dataset
    unusable: dict[str, str] = field(default_factory=dict)  # key of an image -> why its file, or files, cannot be used


def inventory(folders: list[Folder], split: str, accept: str) -> Inventory:
    """Sorts the image files of a split: a copy of equal size counts once, two different files of one id count as unusable."""
    by_id: dict[str, list[ImageFile]] = defaultdict(list)
    result = Inventory()
    for folder in folders:
        for name in images(folder):
            path = folder.path / name
            if re.search(accept, path.stem, re.IGNORECASE):
                why = why_unusable(path)
                file = ImageFile(split, path, 0 if why else path.stat().st_size)
                by_id[file.key].append(file)
                if why:
                    result.unusable[file.key] = why
            else:
                result.ignored.append(printable(str(path)))
    for same in by_id.values():
        first = same[0]
        if any(other.size != first.size or other.name != first.name for other in same):
            which = ", ".join(paths.display_path(file.path) for file in same)
            result.unusable[first.key] = f"{len(same)} different files bear this id: {which}; keep one"
        result.images.append(first)
    result.images.sort(key=lambda image: natural(image.name))
    return result
