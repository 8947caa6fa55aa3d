"""Finds a dataset's files below the folder a user unzipped, doubled folders and all."""

import fnmatch
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from urllib.parse import unquote

from retinal_lib import paths
from retinal_lib.dataset.tables import IMAGE_SUFFIXES, image_key
from retinal_lib.errors import UserError
from retinal_lib.files import file_sha256, pieces_sha256, printable, why_unusable
from retinal_lib.imaging import dicom
from retinal_lib.parsing import packaged_yaml

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


# alternatives, of which the first that exists counts; those of an inner list count together, and one may be given with the
# pattern of the images' names there: {folder: pattern}
Place = str | list[str] | dict[str, str]
Places = list[Place]


def together(place: Place) -> list[str]:
    """Returns the patterns of one alternative."""
    return [place] if isinstance(place, str) else list(place)


def named_in(tree: list[Folder], cells: Iterable[str]) -> tuple[list[Folder], list[Folder]]:
    """Returns the folders without images that share their id with the one file that a cell of a table names (of images/1.jpg
    and masks/1.png, a cell 1.jpg means the first), and those with images of which no cell names one, such as masks: they have
    none in the first list where another folder has any that a cell names."""
    cells = list(cells)
    places = [(folder, name) for folder in tree for name in images(folder)]
    by_id: dict[str, list[tuple[Folder, str]]] = defaultdict(list)
    for folder, name in places:
        by_id[Path(name).stem.casefold()].append((folder, name))
    dropped = set()
    for cell in cells:
        parts = tuple(cell.strip().replace("\\", "/").casefold().split("/"))
        same = by_id.get(image_key(cell), [])
        meant = [place for place in same if (*place[0].words, place[1].casefold())[-len(parts) :] == parts]
        if len(same) > len(meant) == 1:
            dropped |= {(folder.path, name) for folder, name in same if (folder, name) != meant[0]}
    named = {image_key(cell) for cell in cells}
    of_none = [f for f in tree if images(f) and named.isdisjoint(Path(name).stem.casefold() for name in images(f))]
    if len(of_none) < sum(bool(images(f)) for f in tree):
        dropped |= {(folder.path, name) for folder in of_none for name in images(folder)}
    else:
        of_none = []
    return [replace(f, files=tuple(n for n in f.files if (f.path, n) not in dropped)) for f in tree], of_none


def patterns(places: Places | dict[str, Places]) -> list[str]:
    """Returns the patterns of all alternatives, of both eyes where they are given by eye."""
    listed = [each for some in places.values() for each in some] if isinstance(places, dict) else places
    return [one for each in listed for one in together(each)]


def names_at(place: Place, otherwise: str) -> str:
    """Returns the pattern of the images' names at one alternative."""
    return next(iter(place.values())) if isinstance(place, dict) else otherwise


def folders(tree: list[Folder], places: Places, accept: str = "") -> tuple[list[Folder], str]:
    """Returns the folders that fit the first alternative for which any folder holds an image whose name fits `accept`, or the
    pattern of its own, with that pattern."""
    for place in places:
        names = names_at(place, accept)
        fitting = [f for f in tree if any(_fits(f.words, each) for each in together(place))]
        if any(named_like(names, f.path / name) for f in fitting for name in images(f)):
            return fitting, names
    return [], accept


def named_like(pattern: str, path: Path) -> re.Match | None:
    """Returns the match of a pattern in a file's stem or, where the pattern holds a slash, in its folder and stem."""
    return re.search(pattern, f"{path.parent.name}/{path.stem}" if "/" in pattern else path.stem, re.IGNORECASE)


def files(tree: list[Folder], places: Places) -> list[Path]:
    """Returns the files whose path fits the first alternative that any file fits."""
    return found(tree, places)[0]


def found(tree: list[Folder], places: Places) -> tuple[list[Path], str]:
    """Returns the same, and the pattern of the images' names in these files, "" where it is not given."""
    for place in places:
        each = together(place)
        fitting = [f.path / n for f in tree for n in f.files if any(_fits((*f.words, n.casefold()), one) for one in each)]
        if fitting:
            return fitting, names_at(place, "")
    return [], ""


def newest(tables: list[Path], update: str, split: str, dataset: str) -> list[Path]:
    """Returns the newest edition of each of the label tables of a split; `update`: the pattern of what marks one in its name,
    "" for none. UserError: two tables of one edition differ."""
    editions: dict[str, dict[str, Path]] = defaultdict(dict)  # a table's name -> edition, "" for the first -> file
    for path in sorted(tables, key=lambda p: (p.stem.casefold(), str(p))):
        found = re.search(update, path.stem) if update else None
        stem = path.stem[: found.start()] if found else path.stem
        same = editions[re.sub(r"[\W_]+", "", stem.casefold())]
        edition = re.sub(r"[\W_]+", "", found[0].casefold()) if found else ""
        if edition in same and path.read_bytes() != same[edition].read_bytes():
            raise UserError(
                f"two different label tables for split {split}: {same[edition]} and {path}; remove one, or name the "
                f"right one under `tables` in params/{dataset}.yaml"
            )
        same.setdefault(edition, path)
    return [same[max(same)] for same in editions.values()]


@cache
def shared_pictures() -> dict:
    """Returns which pictures stand in two datasets, as same_pictures.yaml has it."""
    return packaged_yaml(Path(__file__).with_name("same_pictures.yaml"))


def same_picture(name: str) -> list[str]:
    """Returns the folded names (dataset/split/stem) of a picture: its own, and those that it has in other datasets."""
    name = name.casefold()
    pairs = [[one.casefold() for one in pair] for pair in shared_pictures()["pairs"]]
    return [name, *(other for pair in pairs if name in pair for other in pair if other != name)]


def images(folder: Folder) -> list[str]:
    """Returns the names of a folder's image files."""
    return [name for name in folder.files if Path(name).suffix.casefold() in IMAGE_SUFFIXES]


def described(tree: list[Folder], root: Path) -> str:
    """Returns which folders of images there are below a root, or which files where there are none."""
    names = sorted({folder.path.relative_to(root).as_posix() for folder in tree if images(folder)})
    if names:
        return f"image folders there: {', '.join(names[:6])}"
    ends = Counter(Path(name).suffix.casefold() for folder in tree for name in folder.files)
    found = ", ".join(f"{number} {end or 'without an ending'}" for end, number in ends.most_common(6))
    return f"there are no image files ({', '.join(IMAGE_SUFFIXES)}); files there: {found or 'none'}"


def not_read(tree: list[Folder], listed: dict[str, str]) -> list[str]:
    """Returns a sentence on each folder that is there, of those that a page lists with the reason why they are not read."""
    return [
        f"{place} is not read: {why}" for place, why in listed.items() if any(_fits(folder.words, place) for folder in tree)
    ]


def natural(name: str) -> list:
    """Returns a sort key that puts 2 before 10."""
    return [
        (0, int(part), "") if part.isdecimal() and len(part) < 300 else (1, 0, part.casefold())
        for part in re.split(r"(\d+)", name)
    ]


@dataclass(frozen=True, eq=False)
class ImageFile:
    """One image file of a split, with its size in bytes (0 where it cannot be used), its name (with its folder where images are
    told apart by that), the part of the name that identifies it, and the named groups of the name."""

    split: str
    path: Path
    size: int
    name: str
    stem: str
    groups: dict[str, str]

    @classmethod
    def of(cls, split: str, path: Path, match: re.Match, by_folder: bool, size: int) -> "ImageFile":
        """Makes one from a file and the match of its name; `by_folder`: the pattern reads the folder's name too."""
        groups = {name: text for name, text in match.groupdict().items() if text}
        folder = f"{path.parent.name}/" if by_folder else ""
        stem = groups.get("id") or f"{folder}{path.stem}"
        return cls(split, path, size, printable(f"{folder}{path.name}"), printable(stem), groups)

    @cached_property
    def key(self) -> str:
        """The stem as rows are found by: case folded."""
        return self.stem.casefold()

    @cached_property
    def result_key(self) -> str:
        """The name that programs give their results on it: that of the file, case folded."""
        return printable(self.path.stem).casefold()

    @property
    def header(self) -> dicom.Header:
        """Which eye it is, and the patient's age, by a DICOM file's header; of other files nothing."""
        return dicom.header(self.path) if self.size and dicom.is_dicom(self.path) else dicom.Header()

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
            match = named_like(accept, path)
            if match is None:
                result.ignored.append(printable(str(path)))
                continue
            why = why_unusable(path) or _why_no_header(path)
            file = ImageFile.of(split, path, match, "/" in accept, 0 if why else path.stat().st_size)
            by_id[file.key].append(file)
            if why:
                result.unusable[file.key] = why
    for same in by_id.values():
        first = same[0]
        if any(other.size != first.size or other.name != first.name for other in same):
            which = ", ".join(paths.display_path(file.path) for file in same)
            result.unusable[first.key] = f"{len(same)} different files bear this id: {which}; keep one"
        result.images.append(first)
    result.images.sort(key=lambda image: natural(image.name))
    return result


def _why_no_header(path: Path) -> str:
    """Why the header of a DICOM file cannot be used; "" where it can, and of other files. UserError: no header can be read."""
    if not dicom.is_dicom(path):
        return ""
    dicom.require_reader(path)
    try:
        dicom.header(path)
    except UserError as why:
        return str(why)
    return ""


def equal_bytes(files: list[ImageFile]) -> Iterator[list[ImageFile]]:
    """Yields the groups of byte-identical files among those that can be used."""
    images = [file for file in files if file.size]
    for digest in (
        lambda file: file.size,
        lambda file: pieces_sha256(file.path, file.size),
        lambda file: file_sha256(file.path),
    ):
        groups = defaultdict(list)
        for image in images:
            groups[digest(image)].append(image)
        images = [image for group in groups.values() if len(group) > 1 for image in group]
    yield from (group for group in groups.values() if len(group) > 1)
