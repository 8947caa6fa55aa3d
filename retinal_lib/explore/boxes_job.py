"""Boxes for every lesion of a dataset: the job that writes boxes.json, and a look at its result."""

import argparse
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import pandas as pd

from retinal_lib import display, drawing, paths
from retinal_lib.dataset import page
from retinal_lib.dataset.fact_kinds import Boxes
from retinal_lib.dataset.lesions.wording import said
from retinal_lib.display import FullTable, count
from retinal_lib.drawing import Figure
from retinal_lib.errors import UserError
from retinal_lib.explore import overlay, sheets, spread
from retinal_lib.explore.mask_summary import Measuring, Sums, Task
from retinal_lib.explore.overlay import Overlay
from retinal_lib.files import atomic_write, json_line
from retinal_lib.run.dataset_job import DatasetJob

FILE = "boxes.json"
_FEW = 40  # images that are done before helper processes would have begun
CONVENTION = (
    "[x_min, y_min, x_max, y_max] as fractions of the picture's width and height, counted from its top left corner; "
    "rounded outwards, so that each box holds its lesions whole"
)


class Boxed(NamedTuple):
    """How many boxes an image has, and the share of their pixels that is lesion."""

    image: str
    boxes: int
    fill: float


@dataclass(frozen=True)
class Measured:
    """What came of a run: its images, sums by lesion type, what could not be used as (image, reason), and the file. A dataset
    without masks has none of them, and `note` says so."""

    boxed: tuple[Boxed, ...]
    sums: dict[str, Sums]
    failures: tuple[tuple[str, str], ...]
    file: Path
    max_failed: float
    note: str = ""

    @property
    def images(self) -> int:
        """How many images were measured."""
        return len(self.boxed)

    @property
    def summary(self) -> str:
        """The counts in one sentence."""
        if self.note:
            return self.note
        lesions, clusters = (sum(getattr(s, name) for s in self.sums.values()) for name in ("lesions", "clusters"))
        lost = len({image for image, _ in self.failures})
        trouble = f"; {count(lost, 'image')} could not be used whole, see the failures" if lost else ""
        return f"{count(self.images, 'image')}: {count(lesions, 'lesion')} in {clusters:,} boxes{trouble}"

    @property
    def table(self) -> pd.DataFrame:
        """Coverage and fill by lesion type."""
        return FullTable([s.row for s in self.sums.values()], index=[s.words for s in self.sums.values()])

    @property
    def failed(self) -> pd.DataFrame:
        """The images or masks that could not be used, and why."""
        return FullTable(self.failures, columns=["image", "reason"])

    def require(self) -> None:
        """UserError: nothing was measured, or a larger share of images failed than `max_failed` allows."""
        lost = len({image for image, _ in self.failures})
        if self.note:
            return
        if not self.images:
            raise UserError(f"no image could be measured; {self.failures[0][0]}: {self.failures[0][1]}")
        if lost > self.max_failed * (self.images + lost):
            first = f"{self.failures[0][0]}: {self.failures[0][1]}"
            raise UserError(
                f"{count(lost, 'image')} could not be used whole, more than max_failed {self.max_failed:g} allows; {first}"
            )


class BoxJob(DatasetJob):
    """Measures every mask of a dataset and writes boxes.json; where a dataset has no masks, it says so and writes nothing."""

    notebook = "boxes"

    @property
    def most(self) -> int:
        """How many boxes of a type a description names at most."""
        return next((kind.max_boxes for kind in self.page.gives if isinstance(kind, Boxes)), 0)

    @property
    def none(self) -> str:
        """Why there are no boxes to make; "" where there are."""
        if self.page.masks:
            return ""
        having = ", ".join(name for name in page.names() if page.get(name).masks)
        return (
            f"{self.page.name} has no lesion masks, so there are no boxes to make; datasets with masks: {having}, "
            "or a page of your own that names them under `masks`"
        )

    @property
    def table(self) -> pd.DataFrame:
        """The job at a glance, one row each."""
        if self.none:
            return self.glance(boxes=self.none)
        masks = self.page.masks
        near = f"at most {masks.gap * 100:g} % of the picture's longer side apart that fill {masks.fill:.0%} of it or more"
        return self.glance(
            lesions=", ".join(many for _, many in masks.types.values()),
            landmarks=", ".join(masks.landmarks.values()) or "none",
            boxes=f"one for every cluster of lesions {near}; a description names the {self.most} largest of a type",
        )

    def run(self, workers: int | None = None) -> Measured:
        """Writes boxes.json, `workers` images at a time (as many as there are cores). A mask that cannot be used is listed,
        and the rest goes on. UserError: the file cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.none:
            return Measured((), {}, (), self.folder / FILE, self.settings.max_failed, self.none)
        sums = {kind: Sums(many) for kind, (_, many) in self.page.masks.types.items()}
        failures = [(name, self.why_not(name)) for name in self.images if name in self.data.skipped]
        names = [name for name in self.images if name not in self.data.skipped]
        if workers is None:
            workers = spread.cores() if len(names) >= _FEW else 1
        work, boxed = Measuring(self.page, self.most), []
        with _written(self.folder / FILE, self.page) as write, display.bar(len(names), "images") as bar:
            for name, (task, (entry, added, missing)) in zip(
                names, spread.each(work, map(self._task, names), workers), strict=True
            ):
                write(task.image, entry)
                boxed.append(_boxed(name, added.values()))
                for kind, more in added.items():
                    sums[kind].add(more)
                failures += [(task.image, why) for why in missing]
                bar.show(len(boxed))
            write("", [{"image": image, "reason": why} for image, why in failures])
        return Measured(tuple(boxed), sums, tuple(failures), self.folder / FILE, self.settings.max_failed)

    def _task(self, name: str) -> Task:
        image = self.data.image(name)
        return Task(image.export_name, image.path, image.masks, image.eye, image.crop)


def _boxed(image: str, sums: Collection[Sums]) -> Boxed:
    area = sum(s.all_boxes for s in sums)
    return Boxed(image, sum(s.clusters for s in sums), sum(s.pixels for s in sums) / area if area else 1.0)


@contextmanager
def _written(path: Path, of: page.Page) -> Iterator[Callable[[str, object], None]]:
    """Writes boxes.json image by image; the image "" stands for the failures, which end it."""
    head = {"dataset": of.name, "box": CONVENTION, "gap": of.masks.gap, "fill": of.masks.fill}
    with atomic_write(path) as file:
        file.write(json_line(head)[:-1] + ', "images": {')
        writer = _Writer(file)
        yield writer.write


class _Writer:
    def __init__(self, file: TextIO):
        self._file, self._first = file, True

    def write(self, image: str, entry: object) -> None:
        """One image a line, so that two files are easily compared."""
        if not image:
            lines = ",\n".join(json_line(each) for each in entry)
            self._file.write(f'\n}}, "failures": [{chr(10) + lines + chr(10) if lines else ""}]}}\n')
            return
        self._file.write(f"{'' if self._first else ','}\n{json_line(image)}: {json_line(entry)}")
        self._first = False


def main(arguments: list[str]) -> str:
    """`python -m retinal_lib boxes`: writes boxes.json and tells coverage and fill. UserError: as `load`, `run`, `require`."""
    parser = argparse.ArgumentParser(prog="python -m retinal_lib boxes", description="A box for every lesion of a dataset.")
    parser.add_argument("dataset", help="a dataset with lesion masks, such as IDRiD_seg, or a page of your own")
    for name, text in (
        ("data_root", "the dataset's folder as unzipped; without one, a sample is drawn"),
        ("automorph_root", "AutoMorph's Results folder, where the pictures are its crops"),
        ("split", "one of the dataset's splits"),
        ("out_dir", "where boxes.json is written"),
    ):
        parser.add_argument(f"--{name.replace('_', '-')}", help=text)
    parser.add_argument("--limit", type=int, help="how many images at most")
    measured = BoxJob.load(**vars(parser.parse_args(arguments))).run()
    if measured.note:
        raise UserError(measured.note)
    measured.require()
    parts = [measured.summary, measured.table.to_string(), *([measured.failed.to_string()] if measured.failures else [])]
    return "\n".join([*parts, f"written to {paths.display_path(measured.file)}"])


_MORE = 3  # times as many images as are shown are looked at for boxes at the rim
_INSETS = 6
_DOTS = 150  # to the inch in the notebook: the smallest lesions are to be seen
_NONE = "no image has a lesion to show"


@dataclass(frozen=True)
class Look:
    """Images with their boxes, those that want a second look first (see `overlay.worst`)."""

    job: BoxJob
    shown: tuple[Overlay, ...]

    @property
    def sheet(self) -> Figure:
        """All of them on one sheet."""
        return _large(sheets.contact(self.shown, order=False)) if self.shown else drawing.sentence(_NONE)

    @property
    def table(self) -> pd.DataFrame:
        """The sheet in numbers."""
        rows = [
            {
                "image": shown.title,
                **{layer.many.split(" (")[0]: layer.lesions for layer in shown.layers},
                "boxes": shown.boxes,
                "at the rim": shown.at_rim,
                "filled": f"{shown.fill:.0%}",
            }
            for shown in self.shown
        ]
        kinds = dict.fromkeys(layer.many.split(" (")[0] for shown in self.shown for layer in shown.layers)
        columns = ["image", *kinds, "boxes", "at the rim", "filled"]
        return FullTable(rows, columns=columns).fillna(dict.fromkeys(kinds, 0)).astype(dict.fromkeys(kinds, int))

    @property
    def panels(self) -> Figure:
        """The first image, its mask and its boxes, and its smallest lesions enlarged."""
        return _large(sheets.panels(self.shown[0], _INSETS)) if self.shown else drawing.sentence(_NONE)

    @property
    def smallest(self) -> pd.DataFrame:
        """The enlarged lesions in numbers."""
        found = self.shown[0].smallest(_INSETS) if self.shown else []
        rows = [(layer.one.split(" (")[0], lesion.pixels, said(lesion.box)) for layer, lesion in found]
        return FullTable(rows, columns=["lesion", "pixels of the mask", "box"], index=list("abcdef"[: len(rows)]))

    def save(self) -> pd.DataFrame:
        """Writes the figures to print (PNG and PDF) and the sheet as a page to send, and lists them with boxes.json."""
        folder, page = self.job.folder, self.job.page
        told = [(folder / "boxes.json", "every lesion's box, by image and lesion type")] if page.masks else []
        if self.shown:
            told += [(path, "the sheet, to print") for path in drawing.save(self.sheet, folder / "sheet")]
            told += [(path, "the first image of the sheet, to print") for path in drawing.save(self.panels, folder / "first")]
            source = f"{page.citation}{'; ' if page.citation else ''}{page.licence}"
            file = sheets.write(self.shown, folder / "sheet.html", page.title, source, order=False)
            told.append((file, "the sheet as a page to send, its pictures inside"))
        return FullTable({"holds": [what for _, what in told]}, index=[paths.display_path(path) for path, _ in told])


def _large(figure: Figure) -> Figure:
    figure.set_dpi(_DOTS)
    return figure


def look(job: BoxJob, measured: Measured, number: int = 12) -> Look:
    """The `number` images of a run that want a second look most. Pictures that cannot be read are passed over: `measured`
    lists them."""
    found = []
    for boxed in _suspects(measured.boxed)[: _MORE * number]:
        try:
            shown = overlay.read(job.page, job.data.image(boxed.image), job.title(boxed.image))
            _ = shown.at_rim  # reads the picture
            found.append(shown)
        except UserError:
            continue
    return Look(job, tuple(overlay.worst(found)[:number]))


def _suspects(boxed: tuple[Boxed, ...]) -> list[Boxed]:
    """Images that have boxes, by the mean of two ranks: most boxes, lowest fill."""
    having = [b for b in boxed if b.boxes]
    ranks = sum(np.searchsorted(np.sort(v), v) for v in ([-b.boxes for b in having], [b.fill for b in having]))
    return [having[i] for i in np.argsort(ranks, kind="stable")] if having else []
