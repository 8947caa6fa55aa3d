"""Train, validation and test splits that keep all images of a person or a picture together, across datasets."""

import csv
import hashlib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from retinal_lib import paths
from retinal_lib.dataset import page
from retinal_lib.dataset.image import Image
from retinal_lib.dataset.image_files import shared_pictures
from retinal_lib.dataset.page import Page
from retinal_lib.display import count, listed
from retinal_lib.errors import UserError, unknown
from retinal_lib.files import atomic_write, pieces_sha256, require_file, would_replace

if TYPE_CHECKING:
    from retinal_lib.dataset.base import BaseDescription

FILE = "splits.csv"
SPLITS = ("train", "validation", "test")  # the last of these is the most protective
SHARES = {"train": 80, "validation": 10, "test": 10}  # of a hundred, for groups without an official split


class SplitCandidate(NamedTuple):
    """An image to be assigned to a split. `official` is the split that its dataset gives it, "" for none; `ties` link it to
    others: `patient:…`, `person:…` (recognised by age, sex, height and weight), `bytes:…`, and `same:<official>:<id>`, the
    same picture under that id elsewhere, whether or not that dataset is at hand."""

    dataset: str
    id: str
    image: str
    official: str = ""
    ties: tuple[str, ...] = ()


class SplitRow(NamedTuple):
    """A row of splits.csv: an image, its split and why, and its group of images that must stay together."""

    dataset: str
    id: str
    image: str
    split: str
    official_split: str
    group: str
    why: str
    ties: str = ""


# --- what ties an image to others ------------------------------------------------------------------------------------


class ImageLocation(NamedTuple):
    """The page, split and file stem that identify a picture."""

    page: Page
    split: str
    stem: str

    @property
    def id(self) -> str:
        """The id of its sample."""
        return self.page.sample_id(self.split, self.stem)


def members(of: Page, images: Iterable[Image], prefix: str) -> Iterator[SplitCandidate]:
    """Yields the images of a dataset with their ties; `prefix` precedes their names in exported files."""
    own = _symmetric(_page_pairs(of))
    for image in images:
        same = _same_pictures(ImageLocation(of, image.split, image.stem), own)
        ties = [f"same:{other.page.role(other.split)}:{quote(other.id)}" for other in same]
        ties = sorted([*_persons(of, image), *ties, *_bytes(image.path, image.size)])
        yield SplitCandidate(of.name, image.id, f"{prefix}{image.export_name}", of.role(image.split), tuple(ties))


def _persons(of: Page, image: Image) -> Iterator[str]:
    """The ties to a patient, by name or table, and to a person, by cells that together identify one if none is empty."""
    record = image.record
    if record.patient:
        where = f"{of.name}/{image.split}" if of.restart else of.name
        yield f"patient:{quote(where)}/{quote(record.patient, safe='')}"
    cells = [record.cell(column)[0] for column in of.same_person if record.rows and record.has(column)]
    if cells and all(cells) and len(cells) == len(of.same_person):
        yield f"person:{quote('/'.join([of.name, *(re.sub(r'[.]0*$', '', cell) for cell in cells)]))}"


def _bytes(path: Path, size: int) -> list[str]:
    """The tie to files with equal bytes; none for a file that is gone or cannot be used (size 0)."""
    if not size:
        return []
    try:
        return [f"bytes:{size}-{pieces_sha256(path, size)[:20]}"]
    except OSError:
        return []


def _location(name: str) -> ImageLocation:
    dataset, split, stem = name.split("/")
    return ImageLocation(page.get(dataset), split, stem)


@cache
def _published_pairs() -> dict[str, list[ImageLocation]]:
    """Folded id -> the other locations of the same picture, by same_pictures.yaml and the pages of all datasets."""
    pairs = [(_location(one), _location(other)) for one, other in shared_pictures()["pairs"]]
    pairs += [pair for name in page.names() for pair in _page_pairs(page.get(name))]
    return _symmetric(pairs)


def _page_pairs(of: Page) -> Iterator[tuple[ImageLocation, ImageLocation]]:
    for pair in of.same_image:
        one, other = (name.rsplit("/", 1) if "/" in name else ["", name] for name in pair)
        only = next(iter(of.splits)) if len(of.splits) == 1 else ""
        yield ImageLocation(of, one[0] or only, one[1]), ImageLocation(of, other[0] or only, other[1])


def _symmetric(pairs: Iterable[tuple[ImageLocation, ImageLocation]]) -> dict[str, list[ImageLocation]]:
    pairs_by_id = defaultdict(list)
    for one, other in pairs:
        pairs_by_id[one.id.casefold()].append(other)
        pairs_by_id[other.id.casefold()].append(one)
    return pairs_by_id


def _same_named(location: ImageLocation) -> Iterator[ImageLocation]:
    """The locations of a picture under its own name in other datasets. Where it may lie in one of several splits of such a
    dataset, or in none, the split is not known: "", which has no role."""
    for rule in shared_pictures()["same_name"]:
        splits = defaultdict(list)
        for name, split in (spot.split("/") for spot in rule["splits"]):
            splits[name].append(split)
        if location.split in splits.pop(location.page.name, ()) and re.search(rule["image"], location.stem, re.IGNORECASE):
            for name, possible in splits.items():
                yield ImageLocation(page.get(name), possible[0] if len(possible) == 1 else "", location.stem)


def _same_pictures(location: ImageLocation, own: dict[str, list[ImageLocation]]) -> list[ImageLocation]:
    """All other locations of a picture, by the published pairs and by those of its own dataset's page."""
    published = _published_pairs()
    known, todo = {location.id.casefold(): location}, [location]
    while todo:
        here = todo.pop()
        key = here.id.casefold()
        for other in (*published.get(key, ()), *own.get(key, ()), *_same_named(here)):
            if known.setdefault(other.id.casefold(), other) is other:
                todo.append(other)
    return list(known.values())[1:]


# --- groups and their splits -----------------------------------------------------------------------------------------


class _Decision(NamedTuple):
    """A group's name, its split, and the image with that official split ("" where the split is drawn)."""

    group: str
    split: str
    first: str


class Draw(NamedTuple):
    """A draw that gives each split its share (of a hundred, by split) of images as nearly as whole groups allow. It hangs on
    the seed, on which images are there, and on the names of their files, whatever the dataset is called."""

    shares: dict[str, int] = SHARES
    seed: int = 0


def shares(text: str) -> dict[str, int]:
    """Reads the shares of train, validation and test. UserError: they are not three whole numbers of a hundred.

    >>> shares("70,15,15")
    {'train': 70, 'validation': 15, 'test': 15}
    """
    numbers = [int(part) if part.isdecimal() and len(part) < 4 else -1 for part in re.split(r"[,/ ]+", text.strip())]
    if len(numbers) != len(SPLITS) or min(numbers) < 0 or sum(numbers) != 100 or not numbers[0]:
        raise UserError(f"shares {text!r}: expected those of train, validation and test, which make 100, such as 70,15,15")
    return dict(zip(SPLITS, numbers, strict=True))


def assign_splits(members: Iterable[SplitCandidate], draw: Draw | None = None) -> list[SplitRow]:
    """Assigns each image to a split; rows in the order given, equal rows once.

    Images that share a patient, a person, their bytes or a picture are a group and stay together, and so do groups that
    share an image. A group gets the most protective official split (test before validation before train) of its images and of
    the same pictures elsewhere; without any, its name draws one, or all are drawn together by `draw`. The same images give the
    same splits in any order.
    """
    members, groups, officials = list(dict.fromkeys(members)), {}, {}
    for member in members:
        own = _key(member.id)
        groups.setdefault(own, {own})
        _note_official(officials, own, member.id, member.official)
        for tie in member.ties:
            kind, _, value = tie.partition(":")
            if kind == "same":
                official, _, name = value.partition(":")
                tie = _key(name, quoted=True)
                _note_official(officials, tie, name, official)
            _merge(groups, own, tie.casefold())
    decisions: dict[str, _Decision] = {}
    for names in {id(names): names for names in groups.values()}.values():
        decisions |= dict.fromkeys(names, _decide(names, officials))
    if draw:
        split_of = _drawn_together(members, decisions, draw)
        decisions |= {name: d._replace(split=split_of[d.group]) for name, d in decisions.items() if d.group in split_of}
    return [_split_row(member, decisions[_key(member.id)], officials) for member in members]


def _merge(groups: dict[str, set[str]], one: str, other: str) -> None:
    """Makes the groups of two names one. `groups` has the group of each name; those of a group share one set."""
    small, large = sorted((groups.setdefault(name, {name}) for name in (one, other)), key=len)
    if small is not large:
        large |= small
        groups |= dict.fromkeys(small, large)


def _key(name: str, quoted: bool = False) -> str:
    return f"image:{name if quoted else quote(name)}".casefold()


def _rank(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else -1


def _note_official(officials: dict[str, tuple[str, str]], key: str, name: str, official: str) -> None:
    """Records an image's most protective official split, with its id."""
    if _rank(official) > _rank(officials.get(key, ("",))[0]):
        officials[key] = official, name


def _decide(names: set[str], officials: dict[str, tuple[str, str]]) -> _Decision:
    order = {"patient": 0, "person": 1, "image": 2, "bytes": 3}
    group = min(names, key=lambda name: (order.get(name.partition(":")[0], 4), name))
    first = min((key for key in names if key in officials), key=lambda key: (-_rank(officials[key][0]), key), default="")
    return _Decision(group, officials[first][0] if first else _draw_split(group), first)


def _draw_split(group: str) -> str:
    """A split by the group's name alone, in the proportion of SHARES."""
    point = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) % 100
    for split, share in SHARES.items():
        if point < share:
            return split
        point -= share
    raise AssertionError("SHARES are of a hundred")


def _drawn_together(members: list[SplitCandidate], decisions: dict[str, _Decision], draw: Draw) -> dict[str, str]:
    """Group -> split, for groups without an official one. Test and validation have a group at least, while others are left."""
    files: dict[str, list[str]] = defaultdict(list)
    for member in members:
        decision = decisions[_key(member.id)]
        if not decision.first:
            files[decision.group].append(Path(member.image).name.casefold())
    order = sorted(files, key=lambda group: (hashlib.sha256(f"{draw.seed}/{min(files[group])}".encode()).digest(), group))
    total, split_of = sum(map(len, files.values())), dict.fromkeys(order, "train")
    for split in ("test", "validation"):
        wanted, taken = total * draw.shares[split] / 100, 0
        while wanted and len(order) > 1 and (not taken or taken + len(files[order[0]]) / 2 <= wanted):
            taken += len(files[order[0]])
            split_of[order.pop(0)] = split
    return split_of


def _split_row(member: SplitCandidate, decision: _Decision, officials: dict[str, tuple[str, str]]) -> SplitRow:
    group, split, first = decision
    why = f"official {split}" if first else "drawn"
    if first and member.official != split:
        why = f"with {officials[first][1]}, {why}"
    return SplitRow(member.dataset, member.id, member.image, split, member.official, group, why, " ".join(member.ties))


# --- files -----------------------------------------------------------------------------------------------------------


def write(target: Path, rows: Iterable[SplitRow]) -> None:
    """Writes splits.csv. UserError: it cannot be written."""
    with atomic_write(target) as file:
        file.writelines(_line(row) for row in (SplitRow._fields, *rows))


def write_run(folder: Path, data: "BaseDescription", names: Iterable[str], prefix: str) -> list[SplitRow]:
    """Writes a run's splits.csv, all of its images, accepted or not, and returns its rows. UserError: it cannot be written."""
    rows = assign_splits(members(data.page, map(data.image, names), prefix))
    write(folder / FILE, rows)
    return rows


def _line(cells: Iterable[str]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow(cells)  # ends lines with CRLF, and so quotes both letters in a name
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def read(file: Path) -> list[SplitRow]:
    """Reads the rows of a splits.csv; columns beside the known ones are ignored.

    UserError: it is not there, lacks a column, or names a split that does not exist.
    """
    try:
        if file.exists():
            require_file(file)
        with file.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines, restval="")
            missing = [name for name in SplitRow._fields[:-1] if name not in (table.fieldnames or ())]
            if missing:
                raise UserError(
                    f"{file}: no column {missing[0]!r}; the columns are {', '.join(table.fieldnames or ()) or 'none'}"
                )
            rows = [SplitRow(**{name: row.get(name, "") for name in SplitRow._fields}) for row in table]
    except FileNotFoundError as error:
        raise UserError(
            f"{file} does not exist; give the folder of a finished run (a run of an earlier version gets its "
            "splits.csv when it is run again; no image is asked for twice)"
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: not a readable table ({error})") from error
    for number, row in enumerate(rows, start=2):
        for column, split, allowed in (("split", row.split, SPLITS), ("official_split", row.official_split, ("", *SPLITS))):
            if split not in allowed:
                raise UserError(f"{file}, row {number}, column {column}: {unknown('split', split, SPLITS)}")
    return rows


def refuse_parted(file: Path, rows: list[SplitRow], known: Iterable[SplitRow]) -> None:
    """Checks the rows of a splits.csv that people may have edited; `known` are rows that tell further ties. UserError: images
    of one person, or one picture, are in two splits."""
    groups = {row.id: row.group for row in _regrouped([*rows, *known])}
    first, parted = {}, {}  # group -> its first row, and the first two of different splits
    for number, row in enumerate(rows, start=2):
        other = first.setdefault(groups[row.id], number)
        if rows[other - 2].split != row.split:
            parted.setdefault(groups[row.id], (other, number))
    if not parted:
        return
    group, (one, other) = next(iter(parted.items()))
    what = "person" if group.partition(":")[0] in ("patient", "person") else "picture"
    more = f"; {count(len(parted) - 1, 'more group')} likewise" if len(parted) > 1 else ""
    raise UserError(
        f"{paths.display_path(file)}: row {one} is in {rows[one - 2].split} and row {other} in {rows[other - 2].split}, but "
        f"they are of one {what}, so that a model would be tested on what it was trained on{more}; give both one split"
    )


def _regrouped(rows: Iterable[SplitRow], draw: Draw | None = None) -> list[SplitRow]:
    """The images of these rows with groups and splits by their official splits and ties alone."""
    found = (SplitCandidate(r.dataset, r.id, r.image, r.official_split, tuple(r.ties.split())) for r in rows)
    return assign_splits(found, draw)


def combine_runs(folders: Iterable[Path], draw: Draw | None = None) -> list[SplitRow]:
    """Assigns the images of several runs to common splits, see `assign_splits`.

    Of each splits.csv, only official splits and ties count. UserError: as `read`.
    """
    return _regrouped((row for folder in folders for row in read(folder / FILE)), draw)


def summary(rows: list[SplitRow], draw: Draw | None = None) -> str:
    """Describes how many images and groups are in each split, and how many images are not in their official one. `draw`: how
    the rows were drawn, where the user chose it; a split is then empty by the shares asked for."""
    sizes = Counter(row.split for row in rows)
    groups = len({row.group for row in rows})
    text = f"{count(len(rows), 'image')} in {count(groups, 'group')}: " + ", ".join(f"{sizes[s]:,} {s}" for s in SPLITS)
    moved = [row for row in rows if row.official_split not in ("", row.split)]
    if moved:
        first = moved[0]
        text += f"\n{count(len(moved), 'image')} left the official split, the first {first.id}: {first.why}"
    return "\n".join([text, *([] if draw else empty(rows)), *_perhaps_tested(rows)])


def empty(rows: list[SplitRow]) -> list[str]:
    """Returns a sentence on splits without an image, where some are drawn and there are groups for all; none else."""
    without = [split for split in SPLITS if not any(row.split == split for row in rows)]
    groups = len({row.group for row in rows if row.why == "drawn"})
    if not without or groups < len(SPLITS):
        return []
    why = f"{groups} groups (persons, or equal pictures) are few for a draw by name"
    cure = "retinal splits RUN --shares 80,10,10 --out FILE gives each its share, and retinal export RUN --splits FILE uses it"
    return [f"No image is in {listed(without, 'or')}: {why}; {cure}"]


def of_unknown_persons(rows: list[SplitRow]) -> str:
    """Returns a sentence on images without a known patient whose splits are drawn; "" where there are none."""
    known = ("patient:", "person:")
    number = sum(row.why == "drawn" and not any(tie.startswith(known) for tie in row.ties.split()) for row in rows)
    if number < 2:
        return ""
    which = f"{number:,} of the {len(rows):,}" if number < len(rows) else f"the {number:,}"
    return f"Nothing says whose {which} images are: two eyes of one person may be in different splits"


def _perhaps_tested(rows: list[SplitRow]) -> Iterator[str]:
    """A sentence for each dataset that is not at hand, and of whose test split images for training may be."""
    here = {row.dataset for row in rows}
    ties = [tie for row in rows if row.split == "train" for tie in row.ties.split()]
    elsewhere = Counter(unquote(tie[6:]).partition("-")[0] for tie in ties if tie.startswith("same::"))
    for dataset, number in elsewhere.items():
        if dataset not in here and "test" in map(page.get(dataset).role, page.get(dataset).splits):
            may = f"{count(number, 'image')} for training may be of {dataset}'s test split, which only its own files say"
            yield f"{may}; before you test on {dataset}, split its run together with these"


def write_combined(folders: list[Path], target: Path, draw: Draw | None = None) -> list[SplitRow]:
    """Writes one splits.csv for several runs and returns its rows. UserError: a folder holds no finished run, or `target`
    is the splits.csv of one of them, or one of other runs."""
    if target in [folder / FILE for folder in folders]:
        raise UserError(
            f"{paths.display_path(target)} is the splits.csv of one of these runs, which would overwrite it; "
            "give another file with --out"
        )
    rows = combine_runs(folders, draw)
    placed = {row.id for row in rows}
    if target.is_file() and (lost := sum(row.id not in placed for row in read(target))):
        raise would_replace(target, f"{count(lost, 'image')} of other runs", "--out ", of_folder=False)
    write(target, rows)
    return rows
