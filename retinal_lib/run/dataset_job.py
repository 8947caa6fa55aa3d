"""Opens a dataset for a notebook: checks parameters, finds files, selects images."""

from functools import cached_property
from typing import Self

import pandas as pd

from retinal_lib import paths
from retinal_lib.dataset import page
from retinal_lib.dataset.desc import CLASSES, BaseDescription
from retinal_lib.dataset.page import Page
from retinal_lib.display import FullTable
from retinal_lib.run import selection
from retinal_lib.run.settings import Settings, is_own
from retinal_lib.run.settings import load as load_settings
from retinal_lib.sample import draw


def open_dataset(settings: Settings, page: Page) -> tuple[BaseDescription, bool]:
    """Opens the dataset that settings name. The second value is True for a drawn sample, which is used for a published dataset
    without data_root. UserError: the data do not exist, or cannot be read."""
    root, tables = settings.data_root, settings.tables
    if settings.dataset.casefold().endswith(".csv"):
        tables = {"all": settings.dataset}
    drawn = root is None and not is_own(settings.dataset)
    if drawn:
        root = draw.draw(page.name, paths.root() / "artifacts" / "sample" / page.name)
    elif root is None:
        root = page.file.parent  # the folder of the user's own page or table
    kind = CLASSES.get(page.name, BaseDescription)
    return kind(root, settings.automorph_root, settings.split, dataset=page, tables=tables), drawn


class DatasetJob:
    """A dataset opened for one notebook, such as boxes or explore; see `load`. `images` are the names of the selected images,
    with unusable ones; `drawn` is True for a sample of made-up eyes drawn by this project."""

    notebook = ""

    def __init__(self, settings: Settings):
        self.settings, self.page = settings, page.page_of(settings.dataset)
        self.folder = settings.notebook_folder(self.notebook)
        self.data, self.drawn = open_dataset(settings, self.page)
        self.images = selection.images(self.data, settings.subset, settings.start, settings.limit)

    @classmethod
    def load(cls, **parameters: object) -> Self:
        """Opens a dataset by a notebook's parameters, which are those of generate.ipynb; None counts as not passed.

        UserError: a parameter, a setting of params/<dataset>.yaml or the data are wrong, or the data-use terms forbid it."""
        return cls(load_settings(**parameters))

    @property
    def notes(self) -> list[str]:
        """Sentences on files that were found or are missing; without names that would identify a participant."""
        notes = [note.split(", the first ")[0] for note in self.data.notes] if self.page.private_names else self.data.notes
        return list(dict.fromkeys(notes))

    def title(self, image: str) -> str:
        """Returns how an image is called in figures: by its name, or by its number where names identify participants."""
        return f"image {self._numbers[image]}" if self.page.private_names else image

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: i for i, name in enumerate([*self.data.images, *self.data.skipped], start=1)}

    def why_not(self, image: str) -> str:
        """Returns why an image is not used, without its name where that would identify a participant."""
        reason = self.data.skipped[image]
        return reason.replace(self.data.image(image).stem, self.title(image)) if self.page.private_names else reason

    def summary_table(self, **more: str) -> pd.DataFrame:
        """Returns a table of the dataset, its images and further rows."""
        drawn = "a sample drawn by this project, made-up eyes; pass data_root for your own copy"
        rows = {
            "dataset": f"{self.page.name}: {self.page.title}",
            "data": drawn if self.drawn else str(self.data.root),
            "images": f"{len(self.images)} chosen, of {len(self.data.images)} usable and {len(self.data.skipped)} not usable",
            **more,
            "folder": paths.display_path(self.folder),
            "noticed": "; ".join(self.notes) or "nothing is missing",
        }
        return FullTable({"": rows.values()}, index=list(rows))
