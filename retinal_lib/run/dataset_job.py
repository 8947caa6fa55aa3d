"""Opens a dataset for a notebook: checks parameters, finds its files, chooses its images."""

from functools import cached_property
from typing import Self

import pandas as pd

from retinal_lib import paths
from retinal_lib.dataset import page
from retinal_lib.dataset.desc import CLASSES, BaseDescription
from retinal_lib.dataset.page import Page
from retinal_lib.display import FullTable
from retinal_lib.run import selection, settings
from retinal_lib.sample import draw


def data(chosen: settings.Settings, page: Page) -> tuple[BaseDescription, bool]:
    """Opens the dataset that settings name; the second value is True for a drawn sample, which stands in where a published
    dataset is named without data_root. UserError: the data are not there, or cannot be read."""
    root, tables = chosen.data_root, chosen.tables
    if chosen.dataset.casefold().endswith(".csv"):
        tables = {"all": chosen.dataset}
    drawn = root is None and not settings.is_own(chosen.dataset)
    if drawn:
        root = draw.draw(page.name, paths.root() / "artifacts" / "sample" / page.name)
    elif root is None:
        root = page.file.parent  # beside the page or table of one's own
    kind = CLASSES.get(page.name, BaseDescription)
    return kind(root, chosen.automorph_root, chosen.split, dataset=page, tables=tables), drawn


class DatasetJob:
    """A dataset opened for one notebook, such as boxes or explore; see `load`. `images` are the names of the chosen images,
    unusable ones among them; `drawn` says that they are the project's own made-up eyes."""

    notebook = ""

    def __init__(self, chosen: settings.Settings):
        self.settings, self.page = chosen, page.page_of(chosen.dataset)
        self.folder = settings.notebook_folder(chosen, self.notebook)
        self.data, self.drawn = data(chosen, self.page)
        self.images = selection.images(self.data, chosen.subset, chosen.start, chosen.limit)

    @classmethod
    def load(cls, **parameters: object) -> Self:
        """Opens a dataset by a notebook's parameters, named and meant as in generate.ipynb; None counts as not passed.

        UserError: a parameter, a setting of params/<dataset>.yaml or the data are wrong, or the data-use terms forbid it."""
        return cls(settings.load(**parameters))

    @property
    def notes(self) -> list[str]:
        """What was found and not found on disk, one sentence each; without names that would identify a participant."""
        notes = [note.split(", the first ")[0] for note in self.data.notes] if self.page.private_names else self.data.notes
        return list(dict.fromkeys(notes))

    def title(self, image: str) -> str:
        """Returns what an image is called where people look: its name, or its number where names identify participants."""
        return f"image {self._numbers[image]}" if self.page.private_names else image

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: i for i, name in enumerate([*self.data.images, *self.data.skipped], start=1)}

    def why_not(self, image: str) -> str:
        """Returns why an image is not used, without its name where that would identify a participant."""
        reason = self.data.skipped[image]
        return reason.replace(self.data.image(image).stem, self.title(image)) if self.page.private_names else reason

    def glance(self, **more: str) -> pd.DataFrame:
        """Returns the dataset and what is to be done with it, one row each."""
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
