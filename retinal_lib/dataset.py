"""A dataset on disk: its page, its files, and for each image a `Case` of facts."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from retinal_lib import automorph, folder, lesions, page, table
from retinal_lib.errors import UserError, unknown
from retinal_lib.fact import ASPECTS, Case, Fact, Source, line
from retinal_lib.kinds import AutoMorphFacts, Boxes, ExcludedImage, Record
from retinal_lib.page import Page

CSV_ASPECTS = {"modality": "image", "quality": "quality", "disease": "disease", "vascular": "vascular", "notes": "notes"}


class BaseDescription:
    """One dataset on disk.

    `images` lists the names of usable images (`split/name` where numbering restarts and several splits are loaded),
    `skipped` maps every other image to the reason, `rows_without_image` lists label rows that have no picture, `notes`
    says what was found and what was not. UserError: the folder, a table or a column is missing, or the page is wrong.
    """

    dataset = ""
    aspects = tuple(ASPECTS)

    def __init__(self, data_root: str | Path, automorph_root: str | Path | None = None, split: str | None = None,
                 dataset: str | Page | None = None, tables: dict[str, str] | None = None):
        self.page = dataset if isinstance(dataset, Page) else page_of(dataset or self.dataset)
        self.root = Path(data_root).expanduser().absolute()
        if not self.root.is_dir():
            raise UserError(f"data_root {self.root} is not a folder; give the folder that holds {self.page.title} as unzipped")
        if split is not None and split not in self.page.splits:
            raise unknown(f"split of {self.page.name}", split, self.page.splits)
        self.split = split
        self.automorph_root = Path(automorph_root).expanduser().absolute() if automorph_root else self.root / "Results"
        if automorph_root and not self.automorph_root.is_dir():
            raise UserError(f"automorph_root {self.automorph_root} is not a folder; give AutoMorph's Results folder")
        self.notes: list[str] = []
        self.inputs: dict[str, str] = {}
        self.rows_without_image: list[str] = []
        self._tree = folder.walk(self.root, without=[self.automorph_root])
        self._found = self._find_images()
        self._rows = self._find_rows(tables or {})
        self._eyes = self._find_pairs()
        self._masks = lesions.index(self._tree, self.page, self.notes) if self.page.masks else {}
        self._automorph = self._find_automorph()
        self._exclude()
        self._list()

    # --- finding files -------------------------------------------------------------------------------------------

    def _find_images(self) -> list[folder.Found]:
        found, ignored, absent = [], [], []
        for split, spec in self.page.splits.items():
            folders = folder.folders(self._tree, spec.images, self.page.image)
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
        names = sorted({f.path.relative_to(self.root).as_posix() for f in self._tree if folder.images(f)})
        return f"image folders there: {', '.join(names[:6])}" if names else "there are no image files"

    def _find_rows(self, named: dict[str, str]) -> dict[tuple[str, str], list[tuple[table.Table, int, str | None]]]:
        """(split, folded stem) -> rows, each with the eye it is a row of where a row has two images."""
        rows: dict = defaultdict(list)
        if self.page.key is None:
            return rows
        for split in named:
            if split not in self.page.splits:
                raise unknown(f"split of {self.page.name} in tables", split, self.page.splits)
        self._tabled: dict[str, list[str]] = defaultdict(list)
        for split, spec in self.page.splits.items():
            for path in self._tables(split, spec, named.get(split)):
                content = table.read(path)
                self.inputs[str(path)] = content.sha256
                self._check_columns(content, spec)
                self._tabled[split].append(path.name)
                for eye, column in self._keys():
                    for row, cell in enumerate(content.column(column)):
                        if cell:
                            rows[split, table.image_key(cell)].append((content, row, eye))
                        else:
                            self.notes.append(f"{content.source(row, str(column))} is empty: the row names no image")
        if not self._tabled:
            wanted = [p for spec in self.page.splits.values() for p in spec.tables]
            raise UserError(f"no label table of {self.page.name} under {self.root}: looked for {', '.join(map(repr, wanted))}")
        return rows

    def _tables(self, split: str, spec: page.Split, named: str | None) -> list[Path]:
        if named:
            return [self.root / named]
        found = folder.files(self._tree, spec.tables)
        editions: dict[str, Path] = {}
        for path in sorted(found, key=lambda p: (p.stem.casefold(), str(p))):
            stem = re.sub(self.page.update, "", path.stem) if self.page.update else path.stem
            key = re.sub(r"[\W_]+", "", stem.casefold())
            if key in editions and not self.page.update and path.read_bytes() != editions[key].read_bytes():
                raise UserError(
                    f"two different label tables for split {split}: {editions[key]} and {path}; remove one, or name the right one "
                    f"under `tables` in params/{self.page.name}.yaml"
                )
            editions[key] = path
        return list(editions.values())

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
        for path in folder.files(self._tree, self.page.pairs.tables) if self.page.pairs else []:
            content = table.read(path)
            self.inputs[str(path)] = content.sha256
            for left, right in zip(content.column(self.page.pairs.left), content.column(self.page.pairs.right), strict=True):
                patient = table.image_key(left)
                eyes[patient] = ("left", patient)
                eyes[table.image_key(right)] = ("right", patient)
        return eyes

    def _find_automorph(self) -> dict[str, automorph.AutoMorph]:
        read: dict[Path, automorph.AutoMorph] = {}
        result = {}
        for split in self.page.splits if self.automorph_root.is_dir() else ():
            place = automorph.find(self.automorph_root, split)
            if place not in read:
                read[place] = automorph.AutoMorph(place)
                self.notes += read[place].notes
                self.inputs |= read[place].inputs
            result[split] = read[place]
        if not result:
            self.notes.append(f"no AutoMorph results ({self.automorph_root} is not there): no measurements, no AutoMorph quality")
        return result

    # --- leaving out what cannot be trusted ----------------------------------------------------------------------

    def _exclude(self) -> None:
        for image in self._found:
            image.reason = image.reason or self._why_not(image)
        for group in self._same_images():
            told = {self._labels(image) for image in group}
            if len(told) > 1:
                names = " and ".join(f"{i.split}/{i.name}" for i in group)
                for image in group:
                    image.reason = image.reason or f"{names} are the same picture with different labels"
        used = {(i.split, i.stem.casefold()) for i in self._found}
        loaded = [s for s in self.page.splits if self.split in (None, s)]
        self.rows_without_image = [
            f"{rows[0][0].source(rows[0][1])}: {key}"
            for (split, key), rows in self._rows.items() if split in loaded and (split, key) not in used
        ]
        if self.rows_without_image:
            self.notes.append(f"{len(self.rows_without_image)} rows of the label tables have no image, the first {self.rows_without_image[0]}")

    def _why_not(self, image: folder.Found) -> str:
        listed = {name.casefold(): why for name, why in self.page.exclude.items()}
        for name in (image.stem.casefold(), f"{image.split}/{image.stem}".casefold()):
            if name in listed:
                return listed[name]
        if self.page.key is not None:
            rows = self._rows.get((image.split, image.stem.casefold()))
            if not rows:
                if image.split not in self._tabled:
                    return f"the split {image.split} has no label table"
                return f"no row for it in {', '.join(self._tabled[image.split])}"
            try:
                if len({self._labels(image, row) for row in rows}) > 1:
                    return f"its rows disagree: {' and '.join(str(t.source(r)) for t, r, _ in rows)}"
            except ExcludedImage as why:
                return str(why)
        if self.page.masks and (image.split, image.stem.casefold()) not in self._masks:
            return "no mask for it"
        return ""

    def _labels(self, image: folder.Found, row: tuple | None = None) -> tuple:
        """What the labels of an image say, to compare two rows or two copies of a picture."""
        record = self._record(image, row)
        try:
            return tuple((f.name, f.value) for k in self.page.gives if k.label for f in k.facts(record) if f.scope != "patient")
        except ExcludedImage:
            if row is not None:
                raise
            return ("excluded",)

    def _same_images(self) -> Iterator[list[folder.Found]]:
        """Groups of images that are one picture: by the page's list, and by equal bytes on disk."""
        by_name = {f"{i.split}/{i.stem}".casefold(): i for i in self._found} | {i.stem.casefold(): i for i in self._found if not self.page.restart}
        for pair in self.page.same_image:
            group = [by_name[n.casefold()] for n in pair if n.casefold() in by_name]
            if len(group) > 1:
                yield group
        by_size = defaultdict(list)
        for image in self._found if self.page.key is not None else ():
            by_size[image.size].append(image)
        for same_size in by_size.values():
            if len(same_size) > 1:
                yield from _equal_bytes(same_size)

    def _list(self) -> None:
        chosen = [i for i in self._found if self.split in (None, i.split)]
        prefix = self.page.restart and len({i.split for i in chosen}) > 1
        self._by_name = {(f"{i.split}/{i.name}" if prefix else i.name): i for i in chosen}
        if len(self._by_name) != len(chosen):
            twice = next(name for name, n in Counter(i.name for i in chosen).items() if n > 1)
            raise UserError(f"{twice} stands in several splits of {self.page.name}; choose one with split")
        self.images = [name for name, image in self._by_name.items() if not image.reason]
        self.skipped = {name: image.reason for name, image in self._by_name.items() if image.reason}

    # --- describing ----------------------------------------------------------------------------------------------

    def _record(self, image: folder.Found, row: tuple | None = None) -> Record:
        rows = self._rows.get((image.split, image.stem.casefold()), ())
        content, number, eye = row or (rows[0] if rows else (None, None, None))
        corrections = {
            table.fold(c.column): (c.stale, c.right, c.source)
            for c in self.page.corrections if c.image.casefold() == image.stem.casefold()
        }
        record = Record(image.name, image.stem, image.split, eye, content, number, self.page.splits[image.split].unlabelled, corrections)
        record.eye, record.patient = self._eye_and_patient(image, eye)
        return record

    def _eye_and_patient(self, image: folder.Found, eye: str | None) -> tuple[str | None, str | None]:
        groups = (re.search(self.page.image, image.stem, re.IGNORECASE) or re.match("", "")).groupdict()
        paired_eye, patient = self._eyes.get(image.stem.casefold(), (None, None))
        named = self.page.eyes.get((groups.get("eye") or "").casefold())
        return eye or named or paired_eye, groups.get("patient") or patient

    def locate(self, image: str) -> folder.Found:
        """The image of that name, usable or not. UserError: there is none."""
        found = self._by_name.get(image)
        if found is None:
            matching = [i for i in self._by_name.values() if image in (i.name, self.relative(i))]
            if len(matching) != 1:
                several = f"; say which: {', '.join(f'{i.split}/{i.name}' for i in matching)}" if matching else ""
                raise UserError(f"{self.page.name} has {len(matching) or 'no'} image {image!r}{several}")
            found = matching[0]
        return found

    def find(self, image: str) -> folder.Found:
        """The image of that name. UserError: there is none, or it is skipped (the reason is told)."""
        found = self.locate(image)
        if found.reason:
            raise UserError(f"{image} is not used: {found.reason}")
        return found

    def describe(self, image: str) -> Case:
        """All facts of an image. UserError: the image is unknown or skipped, or a mask cannot be read."""
        found = self.find(image)
        record = self._record(found)
        facts = [*self._basics(record), *self._row_facts(record)]
        if found.split in self._automorph and self._gives(AutoMorphFacts):
            facts += self._automorph_facts(found, facts, record)
        if self._gives(Boxes):
            facts += lesions.facts(self._masks.get((found.split, found.stem.casefold()), {}), self.page, found, record.missing)
        facts, missing = self._withhold(facts, record.missing)
        order = {aspect: i for i, aspect in enumerate(ASPECTS)}
        facts = sorted((f for f in facts if f.aspect in self.aspects), key=lambda f: order[f.aspect])
        return Case(self.page.name, self.id_of(found), self.relative(found), found.path, found.split, record.patient, record.eye,
                    tuple(facts), tuple(missing))

    def get_description(self, image: str) -> str:
        """The hidden description of an image, one line per aspect; equal to `describe(image).description`."""
        if self._gives(Boxes) or "vascular" not in self.aspects:
            return self.describe(image).description
        found = self.find(image)
        record = self._record(found)
        facts = [*self._basics(record), *self._row_facts(record)]
        vessels = ""
        if found.split in self._automorph and self._gives(AutoMorphFacts):
            results, key = self._automorph[found.split], self._automorph_key(found)
            quality = results.quality(key) if key else None
            facts += [quality] if quality and not _has_quality(facts) else []
            vessels = results.text(key) if key else ""
        if any(f.name == "ungradable" for f in facts):
            return self.describe(image).description
        texts: dict[str, list[str]] = defaultdict(list)
        for fact in facts:
            texts[fact.aspect].append(fact.text)
        if vessels:
            texts["vascular"].append(vessels)
        return "\n".join(line(aspect, texts[aspect]) for aspect in ASPECTS if aspect in texts)

    def _gives(self, kind: type) -> bool:
        return any(isinstance(k, kind) for k in self.page.gives)

    def _basics(self, record: Record) -> list[Fact]:
        facts = []
        if self.page.modality:
            facts.append(Fact("image", "modality", self.page.modality, "", f"this is a {self.page.modality}",
                              Source(f"{self.page.name} page"), self.page.modality))
        if record.eye:
            facts.append(Fact("image", "eye", record.eye, "", f"it shows the {record.eye} eye", Source(record.image), record.eye, "eye"))
        return facts

    def _row_facts(self, record: Record) -> list[Fact]:
        return [fact for kind in self.page.gives for fact in kind.facts(record)]

    def _automorph_key(self, found: folder.Found) -> str | None:
        """The name AutoMorph gave the image: its stem; M0 cuts names at the first dot, which counts where it is unique."""
        results, stem = self._automorph[found.split], found.stem.casefold()
        if self.page.restart and self._shares_results(found):
            return None
        if stem in results.quality_rows or stem in results.rows or "." not in stem:
            return stem
        cut = stem.split(".")[0]
        return cut if sum(i.stem.casefold().split(".")[0] == cut for i in self._found) == 1 else None

    def _shares_results(self, found: folder.Found) -> bool:
        """True where one results folder serves several loaded splits that both have this id: whose row it is cannot be told."""
        if self.split is not None:
            return False
        results = self._automorph[found.split]
        return any(
            i.split != found.split and i.stem.casefold() == found.stem.casefold() and self._automorph[i.split] is results
            for i in self._by_stem()[found.stem.casefold()]
        )

    def _by_stem(self) -> dict[str, list[folder.Found]]:
        if not hasattr(self, "_stems"):
            self._stems = defaultdict(list)
            for image in self._found:
                self._stems[image.stem.casefold()].append(image)
        return self._stems

    def _automorph_facts(self, found: folder.Found, facts: list[Fact], record: Record) -> list[Fact]:
        key = self._automorph_key(found)
        results = self._automorph[found.split]
        if key is None:
            record.missing.append(
                f"AutoMorph's results are not told: {results.root} does not say which image named {found.stem} they are of; "
                f"run each split alone, or put its results under {results.root}/<split>"
            )
            return []
        quality = results.quality(key)
        measured = results.measurements(key)
        return ([quality] if quality and not _has_quality(facts) else []) + measured

    def _withhold(self, facts: list[Fact], missing: list[str]) -> tuple[list[Fact], list[str]]:
        """Nothing is told of the retina in an image that graders called ungradable."""
        ungradable = next((f for f in facts if f.name == "ungradable"), None)
        if ungradable is None:
            return facts, missing
        kept = [f for f in facts if f.aspect not in ("disease", "lesion", "vascular")]
        held = len(facts) - len(kept)
        return kept, [*missing, f"{held} facts on disease and vessels are withheld: {ungradable.text} ({ungradable.source})"]

    def relative(self, found: folder.Found) -> str:
        """The image as exported, after the prefix: `split/name` where numbering restarts in each split."""
        return f"{found.split}/{found.name}" if self.page.restart else found.name

    def id_of(self, found: folder.Found) -> str:
        """A sample's id, unique over splits and datasets."""
        return f"{self.page.name}-{found.split}-{found.stem}" if self.page.restart else f"{self.page.name}-{found.stem}"

    def labels(self) -> pd.DataFrame:
        """One row per usable image with split, eye, patient and every label by name: for choosing images."""
        rows = []
        for name in self.images:
            found = self.find(name)
            record = self._record(found)
            row = {"image": name, "split": found.split, "eye": record.eye, "patient": record.patient}
            row |= {f.name: f.value for f in self._row_facts(record)}
            results = self._automorph.get(found.split)
            quality = results.quality(found.stem.casefold()) if results else None
            if quality and "quality" not in row:
                row["quality"] = quality.value
            rows.append(row)
        return pd.DataFrame(rows)


def _has_quality(facts: list[Fact]) -> bool:
    return any(f.name in ("quality", "ungradable") for f in facts)


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


def page_of(dataset: str) -> Page:
    """The page of a dataset by name, by path to a page, or for a plain CSV by path (see `csv_page`)."""
    return csv_page(Path(dataset)) if dataset.casefold().endswith(".csv") else page.get(dataset)


def csv_page(path: Path) -> Page:
    """A page for a plain CSV with columns image, modality, quality, disease, vascular, notes; only `image` is required."""
    table.read(path).column("image")
    return Page(
        name=page.own_name(path), title=path.name, licence="your own data", may_send="ask",
        terms="confirm that these images and notes may be sent there", splits={"all": {"images": ["*"], "tables": [path.name]}},
        key="image", facts=[{"columns": {"aspects": CSV_ASPECTS}}], file=path,
    )
