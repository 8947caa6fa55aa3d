"""Train, validation and test for whole persons and pictures, so that no benchmark image is trained on under another name."""

import csv
import hashlib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import yaml
from scipy.cluster.hierarchy import DisjointSet

from retinal_lib import paths
from retinal_lib.dataset import page
from retinal_lib.dataset.image import Image
from retinal_lib.dataset.page import Page
from retinal_lib.display import count
from retinal_lib.errors import UserError, unknown
from retinal_lib.files import atomic_write, pieces_sha256

if TYPE_CHECKING:
    from retinal_lib.dataset.base import BaseDescription

FILE = "splits.csv"
SPLITS = ("train", "validation", "test")  # a group goes where its most protective member belongs: the last of these
SHARES = {"train": 80, "validation": 10, "test": 10}  # of a hundred, for groups without an official split


class Member(NamedTuple):
    """An image to be placed. `official` is the split that its dataset gives it, "" for none; `ties` say what keeps it with
    others: `patient:…`, `person:…` (told by age, sex, height and weight), `bytes:…`, and `same:<official>:<id>`, one
    picture that stands elsewhere under that id, at hand or not."""

    dataset: str
    id: str
    image: str
    official: str = ""
    ties: tuple[str, ...] = ()


class Placed(NamedTuple):
    """A row of splits.csv: an image, where it belongs and why, and its group: images that must stay together."""

    dataset: str
    id: str
    image: str
    split: str
    official_split: str
    group: str
    why: str
    ties: str = ""


# --- what ties an image to others ------------------------------------------------------------------------------------


class Place(NamedTuple):
    """A picture by its place in a dataset."""

    page: Page
    split: str
    stem: str

    @property
    def id(self) -> str:
        """Its sample's id."""
        return self.page.sample_id(self.split, self.stem)


def members(of: Page, images: Iterable[Image], prefix: str) -> Iterator[Member]:
    """Yields images of a dataset with what ties each to others; `prefix` stands before their names in exported files."""
    own = _both_ways(_page_pairs(of))
    for image in images:
        same = _same_pictures(Place(of, image.split, image.stem), own)
        ties = [f"same:{other.page.role(other.split)}:{quote(other.id)}" for other in same]
        ties = sorted([*_persons(of, image), *ties, *_bytes(image.path, image.size)])
        yield Member(of.name, image.id, f"{prefix}{image.export_name}", of.role(image.split), tuple(ties))


def _persons(of: Page, image: Image) -> Iterator[str]:
    """Whose eye an image shows: by name or table, or by cells that together tell a person, where none of them is empty."""
    record = image.record
    if record.patient:
        where = f"{of.name}/{image.split}" if of.restart else of.name
        yield f"patient:{quote(f'{where}/{record.patient}')}"
    cells = [record.cell(column)[0] for column in of.same_person if record.table and record.table.find(column)]
    if cells and all(cells) and len(cells) == len(of.same_person):
        yield f"person:{quote('/'.join([of.name, *(re.sub(r'[.]0*$', '', cell) for cell in cells)]))}"


def _bytes(path: Path, size: int) -> list[str]:
    """Names the file's content, so that equal files are found; nothing for a file that is gone."""
    try:
        return [f"bytes:{size}-{pieces_sha256(path, size)[:20]}"]
    except OSError:
        return []


@cache
def _twins() -> dict:
    return yaml.safe_load(Path(__file__).with_name("same_pictures.yaml").read_text(encoding="utf-8"))


def _place(name: str) -> Place:
    dataset, split, stem = name.split("/")
    return Place(page.get(dataset), split, stem)


@cache
def _published_pairs() -> dict[str, list[Place]]:
    """Folded id -> the places where the same picture stands, by same_pictures.yaml and the pages of all datasets."""
    pairs = [(_place(one), _place(other)) for one, other in _twins()["pairs"]]
    pairs += [pair for name in page.names() for pair in _page_pairs(page.get(name))]
    return _both_ways(pairs)


def _page_pairs(of: Page) -> Iterator[tuple[Place, Place]]:
    for pair in of.same_image:
        one, other = (name.rsplit("/", 1) if "/" in name else ["", name] for name in pair)
        only = next(iter(of.splits)) if len(of.splits) == 1 else ""
        yield Place(of, one[0] or only, one[1]), Place(of, other[0] or only, other[1])


def _both_ways(pairs: Iterable[tuple[Place, Place]]) -> dict[str, list[Place]]:
    pairs_by_id = defaultdict(list)
    for one, other in pairs:
        pairs_by_id[one.id.casefold()].append(other)
        pairs_by_id[other.id.casefold()].append(one)
    return pairs_by_id


def _namesakes(place: Place) -> Iterator[Place]:
    for rule in _twins()["same_name"]:
        spots = [spot.split("/") for spot in rule["splits"]]
        if [place.page.name, place.split] in spots and re.search(rule["image"], place.stem, re.IGNORECASE):
            yield from (Place(page.get(name), split, place.stem) for name, split in spots if name != place.page.name)


def _same_pictures(place: Place, own: dict[str, list[Place]]) -> list[Place]:
    """All other places of a picture, by what is published and by the pairs of its own dataset's page."""
    published = _published_pairs()
    known, todo = {place.id.casefold(): place}, [place]
    while todo:
        here = todo.pop()
        key = here.id.casefold()
        for other in (*published.get(key, ()), *own.get(key, ()), *_namesakes(here)):
            if known.setdefault(other.id.casefold(), other) is other:
                todo.append(other)
    return list(known.values())[1:]


# --- groups and their splits -----------------------------------------------------------------------------------------


class _Decision(NamedTuple):
    """A group's name, its split, and which image has that officially ("" where the split is drawn)."""

    group: str
    split: str
    first: str


def divide(members: Iterable[Member]) -> list[Placed]:
    """Returns each image with its split, in the order given, equal rows once.

    Images that share a patient, a person, their bytes or a picture are a group and stay together, and so do groups that
    share an image. A group goes where the most protective official split among its images, and the pictures they are the
    same as, says; without any, its name draws one. The same images give the same splits in any order.
    """
    members, groups, officials = list(dict.fromkeys(members)), DisjointSet(), {}
    for member in members:
        own = _key(member.id)
        groups.add(own)
        _protect(officials, own, member.id, member.official)
        for tie in member.ties:
            kind, _, value = tie.partition(":")
            if kind == "same":
                official, _, name = value.partition(":")
                tie = _key(name, quoted=True)
                _protect(officials, tie, name, official)
            groups.add(tie.casefold())
            groups.merge(own, tie.casefold())
    decisions: dict[str, _Decision] = {}
    for names in groups.subsets():
        decisions |= dict.fromkeys(names, _decide(names, officials))
    return [_placed(member, decisions[_key(member.id)], officials) for member in members]


def _key(name: str, quoted: bool = False) -> str:
    return f"image:{name if quoted else quote(name)}".casefold()


def _rank(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else -1


def _protect(officials: dict[str, tuple[str, str]], key: str, name: str, official: str) -> None:
    """Keeps an image's most protective official split, with its id."""
    if _rank(official) > _rank(officials.get(key, ("",))[0]):
        officials[key] = official, name


def _decide(names: set[str], officials: dict[str, tuple[str, str]]) -> _Decision:
    order = {"patient": 0, "person": 1, "image": 2, "bytes": 3}
    group = min(names, key=lambda name: (order.get(name.partition(":")[0], 4), name))
    first = min((key for key in names if key in officials), key=lambda key: (-_rank(officials[key][0]), key), default="")
    return _Decision(group, officials[first][0] if first else _drawn(group), first)


def _drawn(group: str) -> str:
    """A split by the group's name alone, in the proportion of SHARES."""
    point = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) % 100
    for split, share in SHARES.items():
        if point < share:
            return split
        point -= share
    raise AssertionError("SHARES are of a hundred")


def _placed(member: Member, decided: _Decision, officials: dict[str, tuple[str, str]]) -> Placed:
    group, split, first = decided
    why = f"official {split}" if first else "drawn"
    if first and member.official != split:
        why = f"with {officials[first][1]}, {why}"
    return Placed(member.dataset, member.id, member.image, split, member.official, group, why, " ".join(member.ties))


# --- files -----------------------------------------------------------------------------------------------------------


def write(target: Path, rows: Iterable[Placed]) -> None:
    """Writes splits.csv. UserError: it cannot be written."""
    with atomic_write(target) as file:
        file.writelines(_line(row) for row in (Placed._fields, *rows))


def write_run(folder: Path, data: "BaseDescription", names: Iterable[str], prefix: str) -> None:
    """Writes a run's splits.csv: all of its images, whatever became of them. UserError: it cannot be written."""
    write(folder / FILE, divide(members(data.page, map(data.image, names), prefix)))


def _line(cells: Iterable[str]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow(cells)  # ends lines with CRLF, and so quotes both letters in a name
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def read(file: Path) -> list[Placed]:
    """Reads the rows of a splits.csv; columns beside the known ones are ignored.

    UserError: it is not there, lacks a column, or names a split that does not exist.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines, restval="")
            lacking = [name for name in Placed._fields[:-1] if name not in (table.fieldnames or ())]
            if lacking:
                raise UserError(
                    f"{file}: no column {lacking[0]!r}; the columns are {', '.join(table.fieldnames or ()) or 'none'}"
                )
            rows = [Placed(**{name: row.get(name, "") for name in Placed._fields}) for row in table]
    except FileNotFoundError as error:
        raise UserError(
            f"{file} is not there: name the folder of a finished run; a run of an earlier version writes it when it is "
            "run again, which asks for nothing twice"
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: not a readable table ({error})") from error
    for number, row in enumerate(rows, start=2):
        for column, split, allowed in (("split", row.split, SPLITS), ("official_split", row.official_split, ("", *SPLITS))):
            if split not in allowed:
                raise UserError(f"{file}, row {number}, column {column}: {unknown('split', split, SPLITS)}")
    return rows


def together(folders: Iterable[Path]) -> list[Placed]:
    """Joins the splits of several runs: what was held apart in one run alone is held apart in all.

    Only what each splits.csv says of official splits and ties counts. UserError: as `read`.
    """
    rows = [row for folder in folders for row in read(folder / FILE)]
    return divide(Member(r.dataset, r.id, r.image, r.official_split, tuple(r.ties.split())) for r in rows)


def summary(rows: list[Placed]) -> str:
    """Says how many images and groups are in each split, and which left their official one."""
    sizes = Counter(row.split for row in rows)
    groups = len({row.group for row in rows})
    text = f"{count(len(rows), 'image')} in {count(groups, 'group')}: " + ", ".join(f"{sizes[s]:,} {s}" for s in SPLITS)
    moved = [row for row in rows if row.official_split not in ("", row.split)]
    if moved:
        first = moved[0]
        text += f"\n{count(len(moved), 'image')} left the official split, the first {first.id}: {first.why}"
    return text


def write_together(folders: list[Path], target: Path) -> list[Placed]:
    """Writes one splits.csv for several runs and returns its rows. UserError: a folder holds no finished run, or the file is
    a run's own."""
    if target in [folder / FILE for folder in folders]:
        raise UserError(
            f"{paths.display_path(target)} belongs to its own run, which would write it anew; give --out another file"
        )
    rows = together(folders)
    write(target, rows)
    return rows
