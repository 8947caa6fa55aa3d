"""Opens a dataset for a notebook: checks parameters, finds files, selects images."""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

import pandas as pd

from retinal_lib import paths, typed_paths
from retinal_lib.dataset import page, tables
from retinal_lib.dataset.base import CLASSES, BaseDescription
from retinal_lib.dataset.page import Page, is_own
from retinal_lib.display import FullTable, count
from retinal_lib.errors import UserError
from retinal_lib.imaging.images import drawn_among
from retinal_lib.run import run_files, selection
from retinal_lib.run.settings import Settings, of_run
from retinal_lib.run.settings import load as load_settings
from retinal_lib.sample import draw
from retinal_lib.text.shown_text import for_people

_READ_AS = {"": "not read", "image": "the picture of the row", "person's": "a disease of the person", "private": "never told"}


def open_dataset(settings: Settings, page: Page) -> tuple[BaseDescription, bool]:
    """Opens the dataset that settings name; a drawn sample for a published dataset without data_root. The second value says
    whether its pictures are drawn. UserError: the data do not exist, or cannot be read."""
    root = settings.data_root
    if root is None and not is_own(settings.dataset):
        root = draw.draw(page.name, typed_paths.root() / "artifacts" / "sample" / page.name)
    elif root is None:
        root = page.file.parent  # the folder of the user's own page or table
    kind = CLASSES.get(page.name, BaseDescription)
    data = kind(root, settings.automorph_root, settings.split, dataset=page, tables=settings.tables)
    return data, _is_drawn(data)


def _is_drawn(data: BaseDescription) -> bool:
    """Whether the pictures are drawn by this project, wherever they lie. UserError: only some are."""
    drawn = len(drawn_among(data.paths))
    if 0 < drawn < len(data.paths):
        raise UserError(
            f"{drawn} of {count(len(data.paths), 'picture')} in {data.root} are drawn by this project, made-up eyes, and the "
            "others are not; pass a data_root that does not hold the drawn ones"
        )
    return drawn > 0


def page_of(settings: Settings) -> Page:
    """Returns the page of the dataset that settings name, with what they say of its measurements. UserError: there is none."""
    stated = {name: value for name in ("tell", "microns_per_pixel") if (value := getattr(settings, name))}
    return page.page_of(settings.dataset).model_copy(update=stated)


def dataset_of_run(folder: Path, root: Path | None = None) -> tuple[Settings, Page]:
    """Returns the settings of a finished run, and the page of its dataset; `root` is where the dataset has moved. UserError:
    there is no finished run, or its page is not there any more."""
    settings = of_run(run_files.read_manifest(folder)["settings"], **({"data_root": root} if root else {}))
    automorph = settings.automorph_root
    if automorph is not None and not automorph.is_dir():
        settings = settings.model_copy(update={"automorph_root": None})
    return settings, page_of(settings)


def picture_files(settings: Settings, page: Page) -> dict[str, Path]:
    """Returns the file of each image of a dataset, by its name in the files of a run with these settings. UserError: as
    `open_dataset`."""
    data, _ = open_dataset(settings, page)
    found = map(data.image, [*data.images, *data.skipped])
    return {f"{settings.prefix(page)}{image.export_name}": image.path for image in found}


def find_pictures(folder: Path, names: Iterable[str], root: Path | None = None, by: str = "--images") -> dict[str, Path]:
    """Returns the file of each image of a run, by its name in the run's files. With `root`, files lie there: under their
    names, or as the dataset does; `by` is how the user passes it. UserError: the dataset or a picture is not there."""
    names = list(dict.fromkeys(names))
    if root is not None:
        files = {name: root / name for name in names}
        lost = [name for name, file in files.items() if not file.is_file()]
        if len(lost) < len(names) or not (folder / run_files.MANIFEST).is_file():
            return _complete(files, lost, folder, str(root), by)
    settings, page = dataset_of_run(folder, root)
    found = picture_files(settings, page)
    lost = [name for name in names if name not in found or not found[name].is_file()]
    return _complete(found, lost, folder, str(root or "the dataset's folder any more"), by)


def _complete(files: dict[str, Path], lost: list[str], folder: Path, where: str, by: str) -> dict[str, Path]:
    """The files. UserError: some are lost; the first is named unless names identify participants."""
    if lost:
        private = (folder / run_files.MANIFEST).is_file() and dataset_of_run(folder)[1].private_names
        first = "" if private else f", the first {lost[0]}"
        raise UserError(
            f"{len(lost)} of {count(len(files), 'picture')} are not in {where}{first}; name the folder of the dataset with {by}"
        )
    return files


def source_of(page: Page, drawn: bool) -> dict[str, object]:
    """Returns title, citation, licence and terms of a dataset, for whatever is made from it; those of a drawn sample say that
    it is drawn, and a published dataset's citation and licence do not apply to it."""
    told = {
        "name": page.name,
        "title": page.title,
        "citation": page.citation,
        "licence": page.licence,
        "may_send": page.may_send,
        "private_names": page.private_names,
        "terms": page.terms,
        "drawn_sample": drawn,
    }
    if drawn:
        told |= {
            "title": f"Drawn sample in the layout of {page.title}",
            "citation": "",
            "licence": "made-up eyes, nobody's pictures: no dataset's licence or citation applies",
            "terms": "",
        }
    return told


class DatasetJob:
    """A dataset opened for one notebook, such as boxes or explore; see `load`. `images` are the names of the selected images,
    with unusable ones; `drawn` is True for a sample of made-up eyes drawn by this project."""

    notebook = ""

    def __init__(self, settings: Settings):
        self.settings, self.page = settings, page_of(settings)
        self.folder = settings.notebook_folder(self.notebook)
        self.data, self.drawn = open_dataset(settings, self.page)
        self.images = selection.images(self.data, settings.subset, settings.start, settings.limit)

    @classmethod
    def load(cls, **parameters: object) -> Self:
        """Opens a dataset by a notebook's parameters, which are those of generate.ipynb; None counts as not passed.

        UserError: a parameter, a setting of params/<dataset>.yaml or the data are wrong, or the data-use terms forbid it."""
        return cls(load_settings(**parameters))

    @property
    def source(self) -> dict[str, object]:
        """Title, citation, licence and terms, see `source_of`."""
        return source_of(self.page, self.drawn)

    @property
    def notes(self) -> list[str]:
        """Sentences on files that were found or are missing, as people may read them."""
        return list(dict.fromkeys(map(for_people, self.data.notes)))

    @property
    def columns(self) -> pd.DataFrame | None:
        """A table of what each column of the user's own table is read as, and why others are not read; None for a page."""
        if not self.page.of_table:
            return None
        rows = [
            (r.column, _READ_AS.get(r.role, r.role) if r.role != "condition" else f"{r.of}: there or not", r.says)
            for r in page.readings(tables.read(self.page.file, "find"))
        ]
        return FullTable(rows, columns=["column", "read as", "what it holds"])

    def title(self, image: str) -> str:
        """Returns how an image is called in figures and tables: by its name, or by its number where names identify
        participants."""
        return self.data.called(image)

    def why_not(self, image: str) -> str:
        """Returns why an image is not used, as people may read it."""
        return for_people(self.data.skipped[image])

    def summary_table(self, **more: str) -> pd.DataFrame:
        """Returns a table of the dataset, its images and further rows."""
        drawn = "a sample drawn by this project, made-up eyes; pass data_root for your own copy"
        rows = {
            "dataset": f"{self.page.name}: {self.page.title}",
            "data": drawn if self.drawn else paths.display_path(self.data.root),
            "images": f"{len(self.images)} chosen, of {len(self.data.images)} usable and {len(self.data.skipped)} not usable",
            **more,
            "folder": paths.display_path(self.folder),
            "noticed": "; ".join(self.notes) or "nothing is missing",
        }
        return FullTable({"": rows.values()}, index=list(rows))
