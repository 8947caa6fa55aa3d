"""A dataset on disk: its page, its files, and for each image a `Case` of facts."""

from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd

from retinal_lib.dataset import automorph, catalogue
from retinal_lib.dataset import image_files as folder
from retinal_lib.dataset import lesion_facts as lesions
from retinal_lib.dataset.catalogue import Catalogue
from retinal_lib.dataset.fact_kinds import AutoMorphFacts, Boxes, Record
from retinal_lib.dataset.page import Page, page_of
from retinal_lib.errors import UserError, unknown
from retinal_lib.facts import ASPECTS, Case, Fact, Source, line


class BaseDescription:
    """One dataset on disk.

    `images` lists the names of usable images (`split/name` where numbering restarts and several splits are loaded),
    `skipped` maps every other image to the reason, `rows_without_image` lists label rows that have no picture, `notes`
    says what was found and what was not. UserError: the folder, a table or a column is missing, or the page is wrong.
    """

    dataset = ""
    aspects = tuple(ASPECTS)

    def __init__(
        self,
        data_root: str | Path,
        automorph_root: str | Path | None = None,
        split: str | None = None,
        dataset: str | Page | None = None,
        tables: dict[str, str] | None = None,
    ):
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
        self._files = Catalogue(self.root, self.page, split, tables or {}, self.automorph_root)
        self.notes, self.inputs = self._files.notes, self._files.inputs
        self._masks = lesions.index(self._files.tree, self.page, self.notes) if self.page.masks else {}
        self._automorph = self._find_automorph()
        catalogue.mark(self._files, self._masks)
        self.rows_without_image = catalogue.rows_without_image(self._files)
        if lost := self.rows_without_image:
            self.notes.append(f"{len(lost)} rows of the label tables have no image, the first {lost[0]}")
        self._list()

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
            self.notes.append(
                f"no AutoMorph results ({self.automorph_root} is not there): no measurements, no AutoMorph quality"
            )
        return result

    def _list(self) -> None:
        chosen = [i for i in self._files.images if self.split in (None, i.split)]
        prefix = self.page.restart and len({i.split for i in chosen}) > 1
        self._by_name = {(f"{i.split}/{i.name}" if prefix else i.name): i for i in chosen}
        if len(self._by_name) != len(chosen):
            twice = next(name for name, n in Counter(i.name for i in chosen).items() if n > 1)
            raise UserError(f"{twice} stands in several splits of {self.page.name}; choose one with split")
        self.images = [name for name, image in self._by_name.items() if not image.reason]
        self.skipped = {name: image.reason for name, image in self._by_name.items() if image.reason}

    # --- describing ----------------------------------------------------------------------------------------------

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

    def record(self, image: str) -> Record:
        """An image's label row, eye and patient, whether it can be used or not. UserError: there is no such image."""
        return self._files.record(self.locate(image))

    def find(self, image: str) -> folder.Found:
        """The image of that name. UserError: there is none, or it is skipped (the reason is told)."""
        found = self.locate(image)
        if found.reason:
            raise UserError(f"{image} is not used: {found.reason}")
        return found

    def describe(self, image: str) -> Case:
        """All facts of an image. UserError: the image is unknown or skipped, or a mask cannot be read."""
        found = self.find(image)
        record = self._files.record(found)
        facts = [*self._basics(record), *self._row_facts(record)]
        if found.split in self._automorph and self._gives(AutoMorphFacts):
            facts += self._automorph_facts(found, facts, record)
        if self._gives(Boxes):
            files = self.masks_of(found)
            facts += lesions.facts(files, self.page, found, record.missing, record.eye, self.cut_of(found))
        facts, missing = self._withhold(facts, record.missing)
        order = {aspect: i for i, aspect in enumerate(ASPECTS)}
        facts = sorted((f for f in facts if f.aspect in self.aspects), key=lambda f: order[f.aspect])
        return Case(
            self.page.name,
            self.id_of(found),
            self.relative(found),
            found.path,
            found.split,
            record.patient,
            record.eye,
            tuple(facts),
            tuple(missing),
        )

    def masks_of(self, found: folder.Found) -> dict[str, Path | None]:
        """The mask file of each type of an image; None: its absence means that there is no such lesion."""
        return self._masks.get((found.split, found.key), {})

    def cut_of(self, found: folder.Found) -> tuple[int, int, int] | None:
        """Row, column and radius that AutoMorph cropped an image by, or None where its results do not tell."""
        key = self._automorph_key(found) if found.split in self._automorph else None
        return automorph.read(self._automorph[found.split].root).get(key) if key else None

    def get_description(self, image: str) -> str:
        """The hidden description of an image, one line per aspect; equal to `describe(image).description`."""
        if self._gives(Boxes) or "vascular" not in self.aspects:
            return self.describe(image).description
        found = self.find(image)
        record = self._files.record(found)
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
            facts.append(
                Fact(
                    "image",
                    "modality",
                    self.page.modality,
                    "",
                    f"this is a {self.page.modality}",
                    Source(f"{self.page.name} page"),
                    self.page.modality,
                )
            )
        if record.eye:
            facts.append(
                Fact("image", "eye", record.eye, "", f"it shows the {record.eye} eye", Source(record.image), record.eye, "eye")
            )
        return facts

    def _row_facts(self, record: Record) -> list[Fact]:
        return [fact for kind in self.page.gives for fact in kind.facts(record)]

    def _automorph_key(self, found: folder.Found) -> str | None:
        """The name AutoMorph gave the image: its stem; M0 cuts names at the first dot, which counts where it is unique."""
        results, stem = self._automorph[found.split], found.key
        if self.page.restart and self._shares_results(found):
            return None
        if stem in results.quality_rows or stem in results.rows or "." not in stem:
            return stem
        cut = stem.split(".")[0]
        return cut if sum(i.key.split(".")[0] == cut for i in self._files.images) == 1 else None

    def _shares_results(self, found: folder.Found) -> bool:
        """True where one results folder serves several loaded splits that both have this id: whose row it is cannot be told."""
        if self.split is not None:
            return False
        results = self._automorph[found.split]
        return any(
            i.split != found.split and i.key == found.key and self._automorph[i.split] is results
            for i in self._by_stem()[found.key]
        )

    def _by_stem(self) -> dict[str, list[folder.Found]]:
        if not hasattr(self, "_stems"):
            self._stems = defaultdict(list)
            for image in self._files.images:
                self._stems[image.key].append(image)
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
            record = self._files.record(found)
            row = {"image": name, "split": found.split, "eye": record.eye, "patient": record.patient}
            facts = self._row_facts(record)
            for fact in facts:  # an image may have several diagnoses: none is lost
                row[fact.name] = f"{row[fact.name]}, {fact.value}" if fact.name in row else fact.value
            key = self._automorph_key(found) if found.split in self._automorph and self._gives(AutoMorphFacts) else None
            quality = self._automorph[found.split].quality(key) if key else None
            if quality and not _has_quality(facts):
                row["quality"] = quality.value
            rows.append(row)
        return pd.DataFrame(rows)


def _has_quality(facts: list[Fact]) -> bool:
    return any(f.name in ("quality", "ungradable") for f in facts)
