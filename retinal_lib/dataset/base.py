"""A dataset on disk: its page, its files, and for each image a `Case` of facts."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd

from retinal_lib.dataset import lesion_facts as lesions
from retinal_lib.dataset.automorph import ImageResults
from retinal_lib.dataset.catalogue import Catalogue
from retinal_lib.dataset.fact_kinds import AutoMorphFacts, Boxes
from retinal_lib.dataset.image import Image, Record
from retinal_lib.dataset.page import Page, page_of
from retinal_lib.errors import UserError, unknown
from retinal_lib.facts import ASPECTS, Case, Fact, Source


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
        self._catalogue = Catalogue(self.root, self.page, split, tables or {}, self.automorph_root)
        self.notes, self.inputs = self._catalogue.notes, self._catalogue.inputs
        self.rows_without_image = self._catalogue.rows_without_image
        if lost := self.rows_without_image:
            self.notes.append(f"{len(lost)} rows of the label tables have no image, the first {lost[0]}")
        self._list()

    def _list(self) -> None:
        chosen = [file for file in self._catalogue.files if self.split in (None, file.split)]
        prefix = self.page.restart and len({file.split for file in chosen}) > 1
        self._by_name = {(f"{file.split}/{file.name}" if prefix else file.name): file for file in chosen}
        if len(self._by_name) != len(chosen):
            twice = next(name for name, n in Counter(file.name for file in chosen).items() if n > 1)
            raise UserError(f"{twice} stands in several splits of {self.page.name}; choose one with split")
        excluded = self._catalogue.excluded
        self.images = [name for name, file in self._by_name.items() if (file.split, file.key) not in excluded]
        self.skipped = {
            name: excluded[file.split, file.key] for name, file in self._by_name.items() if (file.split, file.key) in excluded
        }

    # --- describing ----------------------------------------------------------------------------------------------

    def image(self, name: str) -> Image:
        """The image of that name, whether it can be used or not. UserError: there is none."""
        if name not in self._by_name:
            files = self._by_name.items()
            matching = {n: f for n, f in files if name in (f.name, self._catalogue.export_name(f))}
            if len(matching) != 1:
                several = f"; say which: {', '.join(f'{f.split}/{f.name}' for f in matching.values())}" if matching else ""
                raise UserError(f"{self.page.name} has {len(matching) or 'no'} image {name!r}{several}")
            (name,) = matching
        return self._catalogue.image(self._by_name[name], name)

    def describe(self, image: Image | str) -> Case:
        """All facts of an image, by name or as `image` gives it. UserError: it is unknown or skipped."""
        image = self.image(image) if isinstance(image, str) else image
        image.require_usable()
        record = replace(image.record, missing=[])
        facts = [*self._basics(record), *self._row_facts(record)]
        if image.automorph and self._gives(AutoMorphFacts):
            facts += self._automorph_facts(image.automorph, facts, record)
        if self._gives(Boxes):
            facts += lesions.facts(image.masks, self.page, image.path, record.missing, record.eye, image.crop)
        facts, missing = self._withhold(facts, record.missing)
        order = {aspect: i for i, aspect in enumerate(ASPECTS)}
        facts = sorted((f for f in facts if f.aspect in self.aspects), key=lambda f: order[f.aspect])
        return Case(
            self.page.name,
            image.id,
            image.export_name,
            image.path,
            image.split,
            record.patient,
            record.eye,
            tuple(facts),
            tuple(missing),
        )

    def get_description(self, image: Image | str) -> str:
        """The hidden description of an image, one line per aspect. UserError: as `describe`."""
        return self.describe(image).description

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

    def _automorph_facts(self, results: ImageResults, facts: list[Fact], record: Record) -> list[Fact]:
        record.missing += [results.ambiguous] if results.ambiguous else []
        quality = results.quality
        return ([quality] if quality and not _has_quality(facts) else []) + results.measurements

    def _withhold(self, facts: list[Fact], missing: list[str]) -> tuple[list[Fact], list[str]]:
        """Nothing is told of the retina in an image that graders called ungradable."""
        ungradable = next((f for f in facts if f.name == "ungradable"), None)
        if ungradable is None:
            return facts, missing
        kept = [f for f in facts if f.aspect not in ("disease", "lesion", "vascular")]
        held = len(facts) - len(kept)
        return kept, [*missing, f"{held} facts on disease and vessels are withheld: {ungradable.text} ({ungradable.source})"]

    def labels(self) -> pd.DataFrame:
        """One row per usable image with split, eye, patient and every label by name: for choosing images."""
        rows = []
        for name in self.images:
            image = self.image(name)
            row = {"image": name, "split": image.split, "eye": image.eye, "patient": image.record.patient}
            facts = self._row_facts(image.record)
            for fact in facts:  # an image may have several diagnoses: none is lost
                row[fact.name] = f"{row[fact.name]}, {fact.value}" if fact.name in row else fact.value
            quality = image.automorph.quality if image.automorph and self._gives(AutoMorphFacts) else None
            if quality and not _has_quality(facts):
                row["quality"] = quality.value
            rows.append(row)
        return pd.DataFrame(rows)


def _has_quality(facts: list[Fact]) -> bool:
    return any(f.name in ("quality", "ungradable") for f in facts)
