"""The images of a dataset with their label rows, and which images are left out and why."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from retinal_lib import display
from retinal_lib.dataset import image_files as folder
from retinal_lib.dataset import page
from retinal_lib.dataset import tables as table
from retinal_lib.dataset.fact_kinds import ExcludedImage, Record
from retinal_lib.dataset.lesion_facts import Index
from retinal_lib.dataset.page import Page
from retinal_lib.errors import UserError, unknown

Row = tuple[table.Table, int, str | None]  # a table, a row of it, and the eye it is of where a row has two images


class Catalogue:
    """The files of one dataset. `images` are all that were found, each with the reason why it is not used, if any; `rows`
    are the label rows by (split, folded stem). UserError: no images, no table, or a table without its columns."""

    def __init__(self, root: Path, wanted: Page, split: str | None, tables: dict[str, str], without: Path):
        self.root, self.page, self.split = root, wanted, split
        self.notes: list[str] = []
        self.inputs: dict[str, str] = {}
        self.tree = folder.walk(root, without=[without, root / "Results"])
        self.tabled: dict[str, list[str]] = defaultdict(list)
        self.images = self._find_images()
        self.rows = self._find_rows(tables)
        self._eyes = self._find_pairs()

    def _find_images(self) -> list[folder.Found]:
        found, ignored, absent = [], [], []
        for split, spec in self.page.splits.items():
            folders = folder.folders(self.tree, spec.images, self.page.image)
            contents = folder.inventory(folders, split, self.page.image)
            found += contents.images
            ignored += contents.ignored
            if not contents.images:
                absent.append(split)
        if not found or self.split in absent:
            wanted = [p for s in ([self.split] if self.split else self.page.splits) for p in self.page.splits[s].images]
            raise UserError(
                f"no image of {self.page.name}{f', split {self.split}' if self.split else ''}, under {self.root}: looked for "
                f"folders {', '.join(map(repr, wanted))} with names like {self.page.image}; {self._seen()}"
            )
        if absent and self.split is None:
            self.notes.append(f"no images of split {', '.join(absent)} under the data root")
        if ignored:
            self.notes.append(f"{len(ignored)} files are no images of {self.page.name} by name, the first {ignored[0]}")
        return found

    def _seen(self) -> str:
        names = sorted({f.path.relative_to(self.root).as_posix() for f in self.tree if folder.images(f)})
        return f"image folders there: {', '.join(names[:6])}" if names else "there are no image files"

    def _find_rows(self, named: dict[str, str]) -> dict[tuple[str, str], list[Row]]:
        """(split, folded stem) -> rows, each with the eye it is a row of where a row has two images."""
        rows: dict = defaultdict(list)
        if self.page.key is None:
            return rows
        for split in named:
            if split not in self.page.splits:
                raise unknown(f"split of {self.page.name} in tables", split, self.page.splits)
        for split, spec in self.page.splits.items():
            for path in self._tables(split, spec, named.get(split)):
                content = table.read(path)
                self.inputs[str(path)] = content.sha256
                self._check_columns(content, spec)
                self.tabled[split].append(path.name)
                if lacking := [name for name in self.page.same_person if content.find(name) is None]:
                    self.notes.append(f"{path.name} has no column {lacking[0]!r}: which eyes are one person's cannot be told")
                for eye, column in self._keys():
                    for row, cell in enumerate(content.column(column)):
                        if cell:
                            rows[split, table.image_key(cell)].append((content, row, eye))
                        else:
                            self.notes.append(f"{content.source(row, str(column))} is empty: the row names no image")
        if not self.tabled:
            wanted = [p for spec in self.page.splits.values() for p in spec.tables]
            raise UserError(f"no label table of {self.page.name} under {self.root}: looked for {', '.join(map(repr, wanted))}")
        return rows

    def _tables(self, split: str, spec: page.Split, named: str | None) -> list[Path]:
        if named:
            return [self.root / named]
        found = folder.files(self.tree, spec.tables)
        editions: dict[str, dict[str, Path]] = defaultdict(dict)  # a table's name -> edition, "" for the first -> file
        for path in sorted(found, key=lambda p: (p.stem.casefold(), str(p))):
            update = re.search(self.page.update, path.stem) if self.page.update else None
            stem = path.stem[: update.start()] if update else path.stem
            same = editions[re.sub(r"[\W_]+", "", stem.casefold())]
            edition = re.sub(r"[\W_]+", "", update[0].casefold()) if update else ""
            if edition in same and path.read_bytes() != same[edition].read_bytes():
                raise UserError(
                    f"two different label tables for split {split}: {same[edition]} and {path}; remove one, or name the "
                    f"right one under `tables` in params/{self.page.name}.yaml"
                )
            same.setdefault(edition, path)
        return [same[max(same)] for same in editions.values()]

    def _keys(self) -> list[tuple[str | None, str | list[str]]]:
        return list(self.page.key.items()) if isinstance(self.page.key, dict) else [(None, self.page.key)]

    def _check_columns(self, content: table.Table, spec: page.Split) -> None:
        for _, column in self._keys():
            content.column(column)
        for column in [] if spec.unlabelled else [c for kind in self.page.gives for c in kind.columns()]:
            content.column(column)

    def _find_pairs(self) -> dict[str, tuple[str, str]]:
        """folded stem -> (eye, patient) from a pairing table."""
        eyes: dict[str, tuple[str, str]] = {}
        for path in folder.files(self.tree, self.page.pairs.tables) if self.page.pairs else []:
            content = table.read(path)
            self.inputs[str(path)] = content.sha256
            for left, right in zip(content.column(self.page.pairs.left), content.column(self.page.pairs.right), strict=True):
                patient = table.image_key(left)
                eyes[patient] = ("left", patient)
                eyes[table.image_key(right)] = ("right", patient)
        return eyes

    def record(self, image: folder.Found, row: Row | None = None) -> Record:
        """An image with its first label row, or with the given one."""
        rows = self.rows.get((image.split, image.key), ())
        content, number, eye = row or (rows[0] if rows else (None, None, None))
        corrections = {
            table.fold(c.column): (c.stale, c.right, c.source) for c in self.page.corrections if c.image.casefold() == image.key
        }
        record = Record(
            image.name, image.stem, image.split, eye, content, number, self.page.splits[image.split].unlabelled, corrections
        )
        record.eye, record.patient = self._eye_and_patient(image, eye)
        return record

    def _eye_and_patient(self, image: folder.Found, eye: str | None) -> tuple[str | None, str | None]:
        groups = (re.search(self.page.image, image.stem, re.IGNORECASE) or re.match("", "")).groupdict()
        paired_eye, patient = self._eyes.get(image.key, (None, None))
        named = self.page.eyes.get((groups.get("eye") or "").casefold())
        return eye or named or paired_eye, groups.get("patient") or patient


def mark(found: Catalogue, masks: Index) -> None:
    """Writes the reason into each image that must not be used."""
    with display.bar(len(found.images), "images checked") as bar:
        for done, image in enumerate(found.images):
            image.reason = image.reason or _why_not(found, masks, image)
            if done % 500 == 0:
                bar.show(done)
        bar.show(len(found.images))
    for group in _same_images(found):
        told = {labels for image in group if (labels := _labels(found, image))}  # an unlabelled copy says nothing else
        if len(told) > 1:
            names = " and ".join(f"{i.split}/{i.name}" for i in group)
            for image in group:
                image.reason = image.reason or f"{names} are the same picture with different labels"


def rows_without_image(found: Catalogue) -> list[str]:
    """The label rows of the loaded splits that have no picture."""
    used = {(i.split, i.key) for i in found.images}
    loaded = [s for s in found.page.splits if found.split in (None, s)]
    return [
        f"{rows[0][0].source(rows[0][1])}: {key}"
        for (split, key), rows in found.rows.items()
        if split in loaded and (split, key) not in used
    ]


def _why_not(found: Catalogue, masks: Index, image: folder.Found) -> str:
    listed = {name.casefold(): why for name, why in found.page.exclude.items()}
    for name in (image.key, f"{image.split}/{image.stem}".casefold()):
        if name in listed:
            return listed[name]
    if found.page.key is not None:
        rows = found.rows.get((image.split, image.key))
        if not rows:
            if image.split not in found.tabled:
                return f"the split {image.split} has no label table"
            return f"no row for it in {', '.join(found.tabled[image.split])}"
        try:
            if len({_labels(found, image, row) for row in rows}) > 1:
                return f"its rows disagree: {' and '.join(str(t.source(r)) for t, r, _ in rows)}"
        except ExcludedImage as why:
            return str(why)
    if found.page.masks and (image.split, image.key) not in masks:
        return "no mask for it"
    return ""


def _labels(found: Catalogue, image: folder.Found, row: Row | None = None) -> tuple:
    """What the labels of an image say, to compare two rows or two copies of a picture."""
    record = found.record(image, row)
    try:
        return tuple((f.name, f.value) for k in found.page.gives if k.label for f in k.facts(record) if f.scope != "patient")
    except ExcludedImage:
        if row is not None:
            raise
        return ("excluded",)


def _same_images(found: Catalogue) -> Iterator[list[folder.Found]]:
    """Groups of images that are one picture: by the page's list, and by equal bytes on disk."""
    by_name = {f"{i.split}/{i.stem}".casefold(): i for i in found.images} | {
        i.key: i for i in found.images if not found.page.restart
    }
    for pair in found.page.same_image:
        group = [by_name[n.casefold()] for n in pair if n.casefold() in by_name]
        if len(group) > 1:
            yield group
    by_size = defaultdict(list)
    for image in found.images if found.page.key is not None else ():
        by_size[image.size].append(image)
    for same_size in by_size.values():
        if len(same_size) > 1:
            yield from _equal_bytes(same_size)


def _equal_bytes(images: list[folder.Found]) -> Iterator[list[folder.Found]]:
    """Groups of byte-identical files among files of equal size; a piece from the middle tells most apart cheaply."""
    for digest in (_middle, _whole):
        groups = defaultdict(list)
        for image in images:
            groups[digest(image)].append(image)
        images = [i for group in groups.values() if len(group) > 1 for i in group]
    yield from (group for group in groups.values() if len(group) > 1)


def _middle(image: folder.Found) -> bytes:
    with image.path.open("rb") as file:
        file.seek(image.size // 2)
        return file.read(4096)


def _whole(image: folder.Found) -> str:
    with image.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
