"""The images of a dataset with their label rows, and which images are left out and why."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from retinal_lib import display, paths
from retinal_lib.dataset import image_files, lesion_facts, page, tables
from retinal_lib.dataset.automorph import AutoMorph, ImageResults, results_folder
from retinal_lib.dataset.image import ExcludedImage, Image, Joined, Record, Row, fill, in_list, names_of
from retinal_lib.dataset.image_files import ImageFile
from retinal_lib.dataset.label_kinds import KINDS, compared, disagreement, refuse_contradiction
from retinal_lib.dataset.lesion_facts import MaskFiles
from retinal_lib.dataset.page import Page
from retinal_lib.dataset.tables import Table
from retinal_lib.display import are, count
from retinal_lib.errors import UserError, unknown
from retinal_lib.facts import Fact
from retinal_lib.text.shown_text import IMAGE, keep_private


class Catalogue:
    """The files of one dataset, joined by image. `files` are all images that were found, `rows` the label rows by (split,
    folded stem), `excluded` the reason by (split, folded stem) for each image that must not be used, `rows_without_image`
    the label rows of the loaded splits that have no picture, `notes` what was found and what was not.

    UserError: no images, no table, or a table without its columns."""

    def __init__(self, root: Path, wanted: Page, split: str | None, named: dict[str, str], automorph_root: Path):
        self.root, self.page, self.split = root, wanted, split
        self.inputs: dict[str, str] = {}
        self._read: dict[tuple[Path, str, str], Table] = {}
        self.tree = image_files.walk(root, without=[automorph_root, root / "Results"])
        self.notes = image_files.not_read(self.tree, wanted.not_read)
        if wanted.of_table:
            self.tree, others = image_files.named_in(self.tree, self._content(wanted.file, wanted).column(wanted.key))
            for each in others:
                place, number = each.path.relative_to(root).as_posix(), count(len(image_files.images(each)), "image")
                self.notes.append(f"{place}: {number}, none of which a row names: not read")
        self.table_names: dict[str, list[str]] = defaultdict(list)
        self.excluded: dict[tuple[str, str], str] = {}
        self.unread_columns: list[str] = []  # sentences, of the user's own table
        self.unread_names: dict[str, bool] = {}  # the same columns -> whether they may hold a diagnosis
        self.unnamed_files: list[str] = []  # files in the folders of images whose names are not those of images
        self.files = self._find_images()
        self._keep_private(name for file in self.files for name in (file.name, file.stem))
        self.rows = self._find_rows(named)
        self._eyes = self._find_pairs()
        self._note_corrections()
        self._masks = self._find_masks()
        self._keep_files_of_splits()
        self._automorph = self._find_automorph(automorph_root)
        self._keep_private(key for _, key in (*self.rows, *self._masks))
        paths_of = (mask.path for masks in self._masks.values() for mask in masks.files.values() if mask)
        self._keep_private(name for path in paths_of for name in (path.name, path.stem))
        self._exclude()
        self.rows_without_image = self._find_rows_without_image()
        if self.page.of_table:
            if not any(file.place in self.rows for file in self.files):
                page.refuse_table(self.page, self.root, self.rows_without_image, self.files[0].name)
            content = self._content(wanted.file, wanted)
            understood = page.readings(content)
            self.unread_columns = page.unread_columns(wanted.file, understood)
            self.unread_names = {name: each.is_lost for each in understood if not each.is_read for name in each.columns}
            self.notes[:0] = page.notes_on_table(self.page, content, understood, bool(self._automorph))

    @property
    def tables(self) -> list[Table]:
        """The tables that were read, those that are joined too."""
        return list(self._read.values())

    def _find_images(self) -> list[ImageFile]:
        files, ignored, absent, read = [], [], [], {}
        for split, spec in self.page.splits.items():
            read[split], pattern = image_files.folders(self.tree, spec.images, self.page.image)
            contents = image_files.inventory(read[split], split, pattern)
            files += contents.images
            self.excluded |= {(split, key): why for key, why in contents.unusable.items()}
            ignored += contents.ignored
            if not contents.images:
                absent.append(split)
        if not files or self.split in absent:
            splits = [self.split] if self.split else self.page.splits
            wanted = [p for s in splits for p in image_files.patterns(self.page.splits[s].images)]
            raise UserError(
                f"no image of {self.page.name}{f', split {self.split}' if self.split else ''}, under {self.root}: looked for "
                f"folders {', '.join(map(repr, wanted))} with names like {self.page.image}; "
                f"{'; '.join([image_files.described(self.tree, self.root), *self.notes, page.other_way(self.tree)])}"
            )
        self._note_unread(files, read)
        if absent and self.split is None:
            self.notes.append(f"no images of split {', '.join(absent)} under the data root")
        self.unnamed_files = ignored = sorted({*ignored} - {str(file.path) for file in files})  # of splits that share a folder
        if ignored:
            self.notes.append(
                f"{count(len(ignored), 'file')} {are(len(ignored))} not named like "
                f"images of {self.page.name}, the first {paths.display_path(ignored[0])}"
            )
            self._keep_private(name for path in map(Path, ignored) for name in (path.name, path.stem))
        return files

    def _note_unread(self, files: list[ImageFile], read: dict[str, list[image_files.Folder]]) -> None:
        """Notes folders that a page names, but that are not read since another of its alternatives exists, and hold more."""
        taken = {folder.path for some in read.values() for folder in some}
        for split, spec in self.page.splits.items():
            known = {file.key for file in files if file.split == split}
            for place in spec.images:
                folders, pattern = image_files.folders(self.tree, [place], self.page.image)
                for folder in (folder for folder in folders if folder.path not in taken):
                    more = image_files.inventory([folder], split, pattern).images
                    if not (lost := [file for file in more if file.key not in known]):
                        continue
                    taken.add(folder.path)
                    self.notes.append(
                        f"{paths.display_path(folder.path)}: {count(len(lost), 'image')} of split {split} not read, since the "
                        f"images of {paths.display_path(read[split][0].path)} were found first; on a page of your own, "
                        "images: [[one, other]] reads both folders"
                    )

    def _keep_private(self, names: Iterable[str]) -> None:
        """Keeps names of images out of all that people read, where they identify participants."""
        if self.page.private_names:
            keep_private(names, IMAGE)

    def _find_rows(self, named: dict[str, str]) -> dict[tuple[str, str], list[Row]]:
        """(split, folded stem) -> rows, each with the eye it is a row of where a row has two images. A row that a template
        finds may be of several images."""
        rows: dict = defaultdict(list)
        if self.page.key is None:
            return rows
        if odd := next((split for split in named if split not in self.page.splits), None):
            raise unknown(f"split of {self.page.name} in tables", odd, self.page.splits)
        for split, spec in self.page.splits.items():
            for path, eye, pattern in self._tables(split, spec, named.get(split)):
                content = self._read_table(path, self.page)
                self.table_names[split].append(path.name)
                self._check_columns(split, content)
                self._add_rows(rows, split, Row(content, 0, eye), pattern)
        if not self.table_names:
            looked = ", ".join(repr(p) for spec in self.page.splits.values() for p in image_files.patterns(spec.tables))
            ways = page.other_table(self.page, self.tree)
            raise UserError(f"no label table of {self.page.name} under {self.root}: looked for {looked}; {ways}")
        if self.page.by_template:
            rows = self._rows_by_template(rows)
        self._keep_rows_of_splits(rows)
        return rows

    def _read_table(self, path: Path, of: Page | page.Join) -> Table:
        content = self._content(path, of)
        self.inputs[str(path)] = content.sha256
        self.notes += content.notes
        return content

    def _content(self, path: Path, of: Page | page.Join) -> Table:
        """A table as a page says that it is read: once, although several splits may share it."""
        key = path, str(of.header), of.separator
        if key not in self._read:
            self._read[key] = tables.read(path, of.header, of.separator)
        return self._read[key]

    def _add_rows(self, rows: dict, split: str, of: Row, pattern: str) -> None:
        """Adds the rows of a split in a table; `of` holds the table, and its eye where it has one; `pattern` its names of the
        split's images, where it names others too."""
        content, _, eye = of
        spec = self.page.splits[split]
        where = [(content.column(column), set(map(tables.code, in_list(cells)))) for column, cells in spec.where.items()]
        kept = [n for n in range(len(content)) if all(tables.code(cells[n]) in wanted for cells, wanted in where)]
        if templates := self.page.by_template:
            cells, eyes = [content.column(column) for column in templates], self.page.eyes_of_rows(content)
            for row in kept:
                rows[split, tuple(tables.key_code(column[row]) for column in cells)].append(Row(content, row, eye or eyes[row]))
            return
        pattern = pattern or (self.page.image if "(?P<id>" in self.page.image else "")
        for eye_of_key, column in self._keys():
            cells = content.column(column)
            for row in kept:
                if not cells[row]:
                    self.notes.append(f"{content.source(row, str(column))} is empty: the row names no image")
                    continue
                key = tables.image_key(cells[row])
                if pattern:
                    match = re.search(pattern, key, re.IGNORECASE)
                    if not match:
                        continue  # a row of another split
                    key = (match.groupdict().get("id") or key).casefold()
                rows[split, key].append(Row(content, row, eye_of_key or eye))

    def _rows_by_template(self, found: dict) -> dict[tuple[str, str], list[Row]]:
        """The rows of each image, found by what its name says; those of no image keep what their cells hold."""
        rows, used, sides = defaultdict(list), set(), ("left", "right", None)
        for file in self.files:
            filled = [fill(template, file.groups) for template in self.page.by_template.values()]
            key = (file.split, tuple(tables.key_code(cell) for cell in filled if cell is not None))
            eye = self.page.eyes.get(file.groups.get("eye", "").casefold())
            if of_image := [row for row in found.get(key, ()) if None in (eye, row.eye) or row.eye == eye]:
                rows[file.place] = of_image
                used |= {id(row) for row in of_image}
            elif odd := next((row for row in found.get(key, ()) if row.eye not in sides), None):
                used.add(id(odd))
                names = next(name for name in names_of(self.page.eye) if odd.table.find(name))
                place = odd.table.source(odd.number, names if isinstance(names, str) else names[0])
                self.excluded.setdefault(file.place, f"which eye its row is of is not known: {place} holds {odd.eye!r}")
        for (split, cells), lost in found.items():
            if lost := [row for row in lost if id(row) not in used]:
                rows[split, " / ".join(cells)] = lost
        return rows

    def _keep_rows_of_splits(self, rows: dict) -> None:
        """Leaves an image that lies in a folder of several splits to the one that has its row."""
        shared = [split for split, spec in self.page.splits.items() if spec.where]
        owner = {file.key: split for split in reversed(shared) for file in self.files if file.split == split}
        owner |= {file.key: file.split for file in self.files if file.split in shared and file.place in rows}
        self.files = [file for file in self.files if file.split not in shared or owner[file.key] == file.split]

    def _keep_files_of_splits(self) -> None:
        """Leaves an image that lies in a folder of several splits to the first that has its mask, or else to the first."""
        owner = {file.path: file.split for file in reversed(self.files)}
        owner |= {file.path: file.split for file in reversed(self.files) if file.place in self._masks}
        self.files = [file for file in self.files if owner[file.path] == file.split]

    def _check_columns(self, split: str, content: Table) -> None:
        """Checks that a label table, or what is joined to it, has the columns of the page; notes those that it may lack.
        UserError: one is not there."""
        of, spec = self.page, self.page.splits[split]
        if missing := [name for name in of.same_person if content.find(name) is None]:
            self.notes.append(f"{content.path.name} has no column {missing[0]!r}, so images of one person cannot be recognised")
        if spec.unlabelled:
            return
        here = (content, *(joined.table for joined in self._joined))
        groups = set(re.compile(of.image).groupindex)

        def has(names: str | list[str]) -> bool:
            return any(table.find(names) for table in here) or not groups.isdisjoint(in_list(names))

        names_of_kinds = {kind: name for name, kind in KINDS.items()}
        needed = [(("facts", n, names_of_kinds[type(kind)]), c) for n, kind in enumerate(of.facts) for c in kind.columns()]
        needed += [((name,), column) for name in ("eye", "patient") if (column := getattr(of, name)) is not None]
        needed += [(("key",), column) for column in of.by_template or (column for _, column in self._keys())]
        for keys, column in sorted(needed, key=lambda each: each[0] != ("key",)):
            for names in names_of(column):
                if not has(names):
                    self._no_column(content, names, keys)
        self.notes += [note for kind in of.facts if not of.of_table for note in kind.notes_on(content, has)]

    def _no_column(self, content: Table, names: str | list[str], keys: tuple) -> None:
        """UserError: a table lacks a column; it says where the page names it."""
        way = " > ".join(key for key in keys if isinstance(key, str))
        place = f"{page.line_of(self.page.file, keys)}, {way}: " if self.page.is_own and not self.page.of_table else ""
        words = [word for cell in content.header for word in cell.split()]
        headless = any(Path(word).suffix.casefold() in tables.IMAGE_SUFFIXES for word in words)
        hint = "; its first row names a picture: columns without a header row are named as in header: [image, level]"
        try:
            content.column(names)
        except UserError as error:
            raise UserError(f"{place}{error}{hint if headless else ''}") from error

    def _tables(self, split: str, spec: page.Split, named: str | None) -> list[tuple[Path, str | None, str]]:
        """The label tables of a split, each with the eye that it is of where each eye has its own, and the pattern of names."""
        if named or self.page.of_table:
            return [(self.root / (named or self.page.file), None, "")]
        by_eye = spec.tables if isinstance(spec.tables, dict) else {None: spec.tables}
        found = [(eye, *image_files.found(self.tree, places)) for eye, places in by_eye.items()]
        names = self.page.update or "", split, self.page.name
        return [(path, eye, pattern) for eye, files, pattern in found for path in image_files.newest(files, *names)]

    def _keys(self) -> list[tuple[str | None, str | list[str]]]:
        return list(self.page.key.items()) if isinstance(self.page.key, dict) else [(None, self.page.key)]

    @cached_property
    def _joined(self) -> list[Joined]:
        """The tables that are joined. UserError: one is not there, or lacks a column of its key."""
        joined = []
        for place, join in enumerate(self.page.join):
            files = image_files.files(self.tree, join.tables)
            if not files:
                line = page.line_of(self.page.file, ("join", place))
                raise UserError(f"{line}: no table {', '.join(map(repr, image_files.patterns(join.tables)))} under {self.root}")
            for path in files:
                content = self._read_table(path, join)
                rows = defaultdict(list)
                for number, cells in enumerate(zip(*(content.column(c) for c in join.templates), strict=True)):
                    rows[tuple(map(tables.code, cells))].append(number)
                joined.append(Joined(content, join.templates, rows))
        return joined

    def _note_corrections(self) -> None:
        """Notes the labels that published errata put right."""
        records = [self._record(file, None) for file in self.files if self.page.corrections]
        corrected = Counter((r.table.path.name, c.source) for r in records if r.rows for c in r.corrections if r.is_stale(c))
        for (table, source), number in corrected.items():
            self.notes.append(f"{table}: {count(number, 'label')} corrected by {source}")

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
        centres, centre_tables, notes = lesion_facts.centres(self.tree, self.page.masks)
        self.inputs |= {str(content.path): content.sha256 for content in centre_tables}
        self.notes += notes
        for file in self.files if centres else ():
            names = image_files.same_picture(f"{self.page.name}/{file.split}/{file.stem}")
            if of_picture := next((centres[name] for name in names if name in centres), None):
                masks[file.place] = replace(masks.get(file.place, self._no_masks(file.split)), centres=of_picture)
        return masks

    def _no_masks(self, split: str) -> MaskFiles | None:
        """The masks of an image that has none: in a split of healthy eyes it has no lesion, else nothing is known."""
        spec = self.page.masks
        return spec and MaskFiles(spec, dict.fromkeys(spec.types) if split in spec.healthy else {})

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
            file.stem,
            file.split,
            file.size,
            self._record(file, row),
            self._masks.get(file.place, self._no_masks(file.split)),
            self._results(file),
            self.excluded.get(file.place, ""),
        )

    def export_name(self, file: ImageFile) -> str:
        """Returns the name of an image as exported, after the prefix: `split/name` where numbering restarts in each split."""
        return f"{file.split}/{file.name}" if self.page.restart else file.name

    def _record(self, file: ImageFile, row: Row | None) -> Record:
        rows = self.rows.get(file.place, ())
        row = row or (rows[0] if rows else None)
        names = (file.key, f"{file.split}/{file.stem}".casefold())
        corrections = tuple(c for c in self.page.corrections if c.image.casefold() in names)
        paired_eye, paired = self._eyes.get(file.key, (None, None))
        eye = (row and row.eye) or self.page.eyes.get(file.groups.get("eye", "").casefold()) or paired_eye
        found = (row,) if row else ()
        unlabelled = self.page.splits[file.split].unlabelled
        record = Record(file.name, eye, file.groups.get("patient") or paired, found, unlabelled, corrections, file.groups)
        if self.page.join:
            record = record.with_joined(self._joined)
        if self.page.eye is not None or self.page.patient is not None:
            record = record.with_columns(self.page.eye, self.page.eyes, self.page.patient)
        return record.with_header(file.header)

    def _results(self, file: ImageFile) -> ImageResults | None:
        results = self._automorph.get(file.split)
        return ImageResults(results, file.path.stem, self._automorph_key(file, results)) if results else None

    def _automorph_key(self, file: ImageFile, results: AutoMorph) -> str | None:
        """The name AutoMorph gave the image: its stem; M0 cuts names at the first dot, which counts where it is unique."""
        if self._shares_results(file, results):
            return None
        key = file.result_key
        if key in results.qualities or key in results.rows or "." not in key:
            return key
        cut = key.split(".")[0]
        return cut if self._cut_stems[cut] == 1 else None

    def _shares_results(self, file: ImageFile, results: AutoMorph) -> bool:
        """Whether one results folder serves several loaded splits that have this id, so that its row may be of either image."""
        if self.split is not None or not self.page.restart:
            return False
        return any(s != file.split and self._automorph[s] is results for s in self._splits_of[file.result_key])

    @cached_property
    def _cut_stems(self) -> Counter:
        return Counter(file.result_key.split(".")[0] for file in self.files)

    @cached_property
    def _splits_of(self) -> dict[str, list[str]]:
        """Folded stem -> the splits that have such an image."""
        splits = defaultdict(list)
        for file in self.files:
            splits[file.result_key].append(file.split)
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
                row = rows[0]
                columns = self.page.by_template or [dict(self._keys()).get(row.eye) or self.page.key]
                cells = ", ".join(row.table.column(column)[row.number] for column in columns)
                written = "" if self.page.private_names else f": {cells}"
                lost.append(f"{row.table.source(row.number)}{written}{hint}")
        return lost

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
                of_rows = [self._label_facts(file, row) for row in rows]
                if len(set(map(compared, of_rows))) > 1:
                    places = " and ".join(str(row.table.source(row.number)) for row in rows)
                    return f"its rows disagree: {places}{disagreement(of_rows)}"
                if self.page.is_own:
                    refuse_contradiction(of_rows[0])
            except ExcludedImage as why:
                return str(why)
        if problem := self._record(file, None).problem:
            return problem
        masks = self._masks.get(file.place) or self._no_masks(file.split)
        if masks and self.page.key is None and not (masks.files or (masks.centres and self.page.kind("boxes").centres)):
            return "no mask for it"
        return ""

    def _label_facts(self, file: ImageFile, row: Row | None = None) -> list[Fact]:
        """What the labels of an image say, by its first row or the given one. ExcludedImage: as `Kind.facts`."""
        image = self.image(file, row=row)
        return [fact for kind in self.page.facts if kind.label for fact in kind.facts(image).facts]

    def _labels(self, file: ImageFile) -> tuple:
        """The labels of an image, to compare two copies of a picture."""
        try:
            return compared(self._label_facts(file))
        except ExcludedImage:
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
        if self.page.key is not None:
            yield from image_files.equal_bytes(self.files)
