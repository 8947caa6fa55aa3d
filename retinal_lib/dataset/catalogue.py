"""The images of a dataset with their label rows, and which images are left out and why."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from retinal_lib import display, paths
from retinal_lib.dataset import image_files, lesion_facts, page, tables
from retinal_lib.dataset.automorph import AutoMorph, ImageResults, results_folder
from retinal_lib.dataset.image import ExcludedImage, Image, Record
from retinal_lib.dataset.image_files import ImageFile
from retinal_lib.dataset.lesion_facts import MaskFiles
from retinal_lib.dataset.page import Page
from retinal_lib.dataset.tables import Table
from retinal_lib.display import are, count
from retinal_lib.errors import UserError, unknown
from retinal_lib.files import file_sha256, pieces_sha256
from retinal_lib.shown_text import IMAGE, keep_private


class Row(NamedTuple):
    """A row of a label table, and the eye it is of where a row has two images."""

    table: Table
    number: int
    eye: str | None


class Catalogue:
    """The files of one dataset, joined by image. `files` are all images that were found, `rows` the label rows by (split,
    folded stem), `excluded` the reason by (split, folded stem) for each image that must not be used, `rows_without_image`
    the label rows of the loaded splits that have no picture, `notes` what was found and what was not.

    UserError: no images, no table, or a table without its columns."""

    def __init__(self, root: Path, wanted: Page, split: str | None, named: dict[str, str], automorph_root: Path):
        self.root, self.page, self.split = root, wanted, split
        self.notes: list[str] = []
        self.inputs: dict[str, str] = {}
        self.tree = image_files.walk(root, without=[automorph_root, root / "Results"])
        self.table_names: dict[str, list[str]] = defaultdict(list)
        self.excluded: dict[tuple[str, str], str] = {}
        self.files = self._find_images()
        self._keep_private(name for file in self.files for name in (file.name, file.stem))
        self.rows = self._find_rows(named)
        self._eyes = self._find_pairs()
        self._masks = self._find_masks()
        self._automorph = self._find_automorph(automorph_root)
        self._keep_private(key for _, key in (*self.rows, *self._masks))
        paths_of = (mask.path for masks in self._masks.values() for mask in masks.files.values() if mask)
        self._keep_private(name for path in paths_of for name in (path.name, path.stem))
        self._exclude()
        self.rows_without_image = self._find_rows_without_image()
        if self.page.of_table:
            self._look_over_own_table()

    def _find_images(self) -> list[ImageFile]:
        files, ignored, absent = [], [], []
        for split, spec in self.page.splits.items():
            folders = image_files.folders(self.tree, spec.images, self.page.image)
            contents = image_files.inventory(folders, split, self.page.image)
            files += contents.images
            self.excluded |= {(split, key): why for key, why in contents.unusable.items()}
            ignored += contents.ignored
            if not contents.images:
                absent.append(split)
        if not files or self.split in absent:
            wanted = [p for s in ([self.split] if self.split else self.page.splits) for p in self.page.splits[s].images]
            raise UserError(
                f"no image of {self.page.name}{f', split {self.split}' if self.split else ''}, under {self.root}: looked for "
                f"folders {', '.join(map(repr, wanted))} with names like {self.page.image}; {self._folders_found()}"
            )
        if absent and self.split is None:
            self.notes.append(f"no images of split {', '.join(absent)} under the data root")
        if ignored:
            self.notes.append(
                f"{count(len(ignored), 'file')} {are(len(ignored))} not named like "
                f"images of {self.page.name}, the first {paths.display_path(ignored[0])}"
            )
            self._keep_private(name for path in map(Path, ignored) for name in (path.name, path.stem))
        return files

    def _keep_private(self, names: Iterable[str]) -> None:
        """Keeps names of images out of all that people read, where they identify participants."""
        if self.page.private_names:
            keep_private(names, IMAGE)

    def _folders_found(self) -> str:
        names = sorted({f.path.relative_to(self.root).as_posix() for f in self.tree if image_files.images(f)})
        if names:
            return f"image folders there: {', '.join(names[:6])}"
        ends = Counter(Path(name).suffix.casefold() for f in self.tree for name in f.files)
        found = ", ".join(f"{number} {end or 'without an ending'}" for end, number in ends.most_common(6))
        return f"there are no image files ({', '.join(tables.IMAGE_SUFFIXES)}); files there: {found or 'none'}"

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
                content = tables.read(path, self.page.header)
                self.inputs[str(path)] = content.sha256
                self.notes += content.notes
                self.table_names[split].append(path.name)
                if missing_columns := [name for name in self.page.same_person if content.find(name) is None]:
                    self.notes.append(
                        f"{path.name} has no column {missing_columns[0]!r}, so images of one person cannot be recognised"
                    )
                for eye, column in self._keys():
                    for row, cell in enumerate(content.column(column)):
                        if cell:
                            rows[split, tables.image_key(cell)].append(Row(content, row, eye))
                        else:
                            self.notes.append(f"{content.source(row, str(column))} is empty: the row names no image")
                for column in [] if spec.unlabelled else [c for kind in self.page.facts for c in kind.columns()]:
                    content.column(column)  # UserError: it is not there
        if not self.table_names:
            wanted = [p for spec in self.page.splits.values() for p in spec.tables]
            raise UserError(f"no label table of {self.page.name} under {self.root}: looked for {', '.join(map(repr, wanted))}")
        return rows

    def _tables(self, split: str, spec: page.Split, named: str | None) -> list[Path]:
        if named or self.page.of_table:
            return [self.root / (named or self.page.file)]
        files = image_files.files(self.tree, spec.tables)
        editions: dict[str, dict[str, Path]] = defaultdict(dict)  # a table's name -> edition, "" for the first -> file
        for path in sorted(files, key=lambda p: (p.stem.casefold(), str(p))):
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

    def _find_pairs(self) -> dict[str, tuple[str, str]]:
        """folded stem -> (eye, patient) from a pairing table."""
        eyes: dict[str, tuple[str, str]] = {}
        for path in image_files.files(self.tree, self.page.pairs.tables) if self.page.pairs else []:
            content = tables.read(path)
            self.inputs[str(path)] = content.sha256
            for left, right in zip(content.column(self.page.pairs.left), content.column(self.page.pairs.right), strict=True):
                patient = tables.image_key(left)
                eyes[patient] = ("left", patient)
                eyes[tables.image_key(right)] = ("right", patient)
        return eyes

    def _find_masks(self) -> dict[tuple[str, str], MaskFiles]:
        if self.page.masks is None:
            return {}
        patterns = {split: spec.masks for split, spec in self.page.splits.items()}
        masks, self.notes[len(self.notes) :] = lesion_facts.index(self.tree, patterns, self.page.masks)
        masks, centre_tables, notes = lesion_facts.with_centres(masks, self.tree, self.page.name, self.page.masks)
        self.inputs |= {str(content.path): content.sha256 for content in centre_tables}
        self.notes += notes
        return masks

    def _find_automorph(self, root: Path) -> dict[str, AutoMorph]:
        """split -> AutoMorph's tables; splits share those of one folder."""
        read: dict[Path, AutoMorph] = {}
        result = {}
        for split in self.page.splits if root.is_dir() else ():
            place = results_folder(root, split)
            if place not in read:
                read[place] = AutoMorph(place, self.page.tell, self.page.microns_per_pixel)
                self._keep_private((*read[place].qualities, *read[place].rows, *read[place].clashing))
                self.notes += read[place].notes
                self.inputs |= read[place].inputs
            result[split] = read[place]
        if not result:
            self.notes.append(
                f"no AutoMorph results ({paths.display_path(root)} is not there): no measurements, no AutoMorph quality"
            )
        return result

    # --- one image --------------------------------------------------------------------------------------------------

    def image(self, file: ImageFile, name: str = "", row: Row | None = None) -> Image:
        """Returns an image, `name` as the dataset lists it, with its first label row or with the given one."""
        return Image(
            name or file.name,
            self.page.sample_id(file.split, file.stem),
            self.export_name(file),
            file.path,
            file.split,
            file.size,
            self._record(file, row),
            self._masks.get(file.place, MaskFiles(self.page.masks, {}) if self.page.masks else None),
            self._results(file),
            self.excluded.get(file.place, ""),
        )

    def export_name(self, file: ImageFile) -> str:
        """Returns the name of an image as exported, after the prefix: `split/name` where numbering restarts in each split."""
        return f"{file.split}/{file.name}" if self.page.restart else file.name

    def _record(self, file: ImageFile, row: Row | None) -> Record:
        rows = self.rows.get(file.place, ())
        content, number, eye = row or (rows[0] if rows else (None, None, None))
        corrections = {tables.fold(c.column): c for c in self.page.corrections if c.image.casefold() == file.key}
        groups = (re.search(self.page.image, file.stem, re.IGNORECASE) or re.match("", "")).groupdict()
        paired_eye, patient = self._eyes.get(file.key, (None, None))
        named = self.page.eyes.get((groups.get("eye") or "").casefold())
        return Record(
            file.name,
            eye or named or paired_eye,
            groups.get("patient") or patient,
            content,
            number,
            self.page.splits[file.split].unlabelled,
            corrections,
        )

    def _results(self, file: ImageFile) -> ImageResults | None:
        results = self._automorph.get(file.split)
        return ImageResults(results, file.stem, self._automorph_key(file, results)) if results else None

    def _automorph_key(self, file: ImageFile, results: AutoMorph) -> str | None:
        """The name AutoMorph gave the image: its stem; M0 cuts names at the first dot, which counts where it is unique."""
        if self._shares_results(file, results):
            return None
        if file.key in results.qualities or file.key in results.rows or "." not in file.key:
            return file.key
        cut = file.key.split(".")[0]
        return cut if self._cut_stems[cut] == 1 else None

    def _shares_results(self, file: ImageFile, results: AutoMorph) -> bool:
        """Whether one results folder serves several loaded splits that have this id, so that its row may be of either image."""
        if self.split is not None or not self.page.restart:
            return False
        return any(s != file.split and self._automorph[s] is results for s in self._splits_of[file.key])

    @cached_property
    def _cut_stems(self) -> Counter:
        return Counter(file.key.split(".")[0] for file in self.files)

    @cached_property
    def _splits_of(self) -> dict[str, list[str]]:
        """Folded stem -> the splits that have such an image."""
        splits = defaultdict(list)
        for file in self.files:
            splits[file.key].append(file.split)
        return splits

    # --- images that must not be used -------------------------------------------------------------------------------

    def _exclude(self) -> None:
        with display.Bar(len(self.files), "images checked") as bar:
            for done, file in enumerate(self.files):
                if why := self._why_not(file):
                    self.excluded.setdefault(file.place, why)
                if done % 500 == 0:
                    bar.show(done)
            bar.show(len(self.files))
        for group in self._same_pictures():
            copies = {labels for file in group if (labels := self._labels(file))}  # an unlabelled copy says nothing else
            if len(copies) > 1:
                names = " and ".join(f"{file.split}/{file.name}" for file in group)
                for file in group:
                    self.excluded.setdefault(file.place, f"{names} are the same picture with different labels")

    def _find_rows_without_image(self) -> list[str]:
        used = {file.place for file in self.files}
        loaded = [s for s in self.page.splits if self.split in (None, s)]
        numbered = {(file.split, int(file.stem)): file.name for file in self.files if file.stem.isdecimal()}
        lost = []
        for (split, key), rows in self.rows.items():
            if split in loaded and (split, key) not in used:
                number = re.fullmatch(r"(\d+)(?:\.0*)?", key)
                near = numbered.get((split, int(number[1]))) if number else None
                hint = f" (is it {near}? save the column as text, so that no program changes its zeros)" if near else ""
                column = dict(self._keys())[rows[0].eye]
                written = rows[0].table.column(column)[rows[0].number]
                lost.append(f"{rows[0].table.source(rows[0].number)}: {written}{hint}")
        return lost

    def _look_over_own_table(self) -> None:
        """Notes what is not read of a table of the user's own. UserError: it tells nothing of any picture."""
        place, content = self.page.file, tables.read(self.page.file)
        notes = page.notes_on_table(content)
        self.notes[:0] = notes
        if not any(file.place in self.rows for file in self.files):
            lost = self.rows_without_image[0] if self.rows_without_image else "the column image is empty"
            like = f"pictures are like {self.files[0].name}"
            raise UserError(f"{place}: no row names a picture under {self.root}; {lost}; {like}")
        if len(content.header) > 1 and not any(map(content.find, page.TABLE_ASPECTS)) and not self._automorph:
            raise UserError(f"{place}: no column tells anything of a picture; {notes[0]}")

    def _why_not(self, file: ImageFile) -> str:
        listed = {name.casefold(): why for name, why in self.page.exclude.items()}
        for name in (file.key, f"{file.split}/{file.stem}".casefold()):
            if name in listed:
                return listed[name]
        if self.page.key is not None:
            rows = self.rows.get(file.place)
            if not rows:
                if file.split not in self.table_names:
                    return f"the split {file.split} has no label table"
                return f"no row for it in {', '.join(self.table_names[file.split])}"
            try:
                if len({self._labels(file, row) for row in rows}) > 1:
                    return f"its rows disagree: {' and '.join(str(row.table.source(row.number)) for row in rows)}"
            except ExcludedImage as why:
                return str(why)
        if self.page.masks and file.place not in self._masks:
            return "no mask for it"
        return ""

    def _labels(self, file: ImageFile, row: Row | None = None) -> tuple:
        """The labels of an image, to compare two rows or two copies of a picture."""
        image = self.image(file, row=row)
        facts = (kind.facts(image).facts for kind in self.page.facts if kind.label)
        try:
            return tuple((fact.name, fact.value) for some in facts for fact in some if fact.scope != "patient")
        except ExcludedImage:
            if row is not None:
                raise
            return ("excluded",)

    def _same_pictures(self) -> Iterator[list[ImageFile]]:
        """Groups of images that are one picture: by the page's list, and by equal bytes on disk."""
        by_name = {f"{file.split}/{file.stem}".casefold(): file for file in self.files} | {
            file.key: file for file in self.files if not self.page.restart
        }
        for pair in self.page.same_image:
            group = [by_name[n.casefold()] for n in pair if n.casefold() in by_name]
            if len(group) > 1:
                yield group
        by_size = defaultdict(list)
        for file in self.files if self.page.key is not None else ():
            if file.size:
                by_size[file.size].append(file)
        for same_size in by_size.values():
            if len(same_size) > 1:
                yield from _equal_bytes(same_size)


def _equal_bytes(images: list[ImageFile]) -> Iterator[list[ImageFile]]:
    """Groups of byte-identical files among files of equal size."""
    for digest in (lambda file: pieces_sha256(file.path, file.size), lambda file: file_sha256(file.path)):
        groups = defaultdict(list)
        for image in images:
            groups[digest(image)].append(image)
        images = [image for group in groups.values() if len(group) > 1 for image in group]
    yield from (group for group in groups.values() if len(group) > 1)
