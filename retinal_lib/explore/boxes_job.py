"""Boxes for every lesion of a dataset: the job that writes boxes.json, and its result on contact sheets."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import joblib
import numpy as np
import pandas as pd
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from retinal_lib import display, paths
from retinal_lib.dataset import page
from retinal_lib.dataset.lesions.wording import box_text
from retinal_lib.display import FullTable, count
from retinal_lib.errors import UserError
from retinal_lib.explore import overlay, sheets
from retinal_lib.explore.mask_summary import MaskTask, TypeSums, summarise
from retinal_lib.explore.overlay import Overlay
from retinal_lib.files import atomic_write, json_line
from retinal_lib.imaging import drawing
from retinal_lib.imaging.drawing import Figure
from retinal_lib.imaging.images import DRAWN
from retinal_lib.parsing import json_value
from retinal_lib.run import earlier_run
from retinal_lib.run.dataset_job import DatasetJob

FILE = "boxes.json"
_MIN_FOR_WORKERS = 40  # images; one process measures fewer in the time that worker processes need to start
_IMAGE = re.compile(r'("(?:[^"\\]|\\.)*"): ')  # the beginning of an image's line in the file
CONVENTION = (
    "[x_min, y_min, x_max, y_max] as fractions of the picture's width and height, counted from its top left corner; "
    "rounded outwards, so that each box holds its lesions whole"
)
Item, Result = TypeVar("Item"), TypeVar("Result")


def in_processes(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yields what `work` returns for each item, in the order of the items, computed in `workers` processes (1: in this one).
    `work`, items and results must be picklable. UserError: a worker process was killed; other errors of `work` pass through."""
    if workers < 2:
        yield from map(work, items)
        return
    try:
        yield from joblib.Parallel(workers, return_as="generator")(map(joblib.delayed(work), items))
    except TerminatedWorkerError as error:
        raise UserError("a worker process was killed, probably for lack of memory; run again with workers=1") from error
    finally:
        get_reusable_executor().shutdown()  # joblib would keep the processes and their memory for minutes


class ImageBoxes(NamedTuple):
    """The number of an image's boxes, and the share of their pixels that is lesion (0 to 1)."""

    image: str
    boxes: int
    fill: float


@dataclass(frozen=True)
class BoxesResult:
    """The result of a run: its images, the sums by lesion type (in words), failures as (image, reason), and the job. For a
    dataset without masks all are empty, and `note` says so."""

    images: tuple[ImageBoxes, ...]
    sums: dict[str, TypeSums]
    failures: tuple[tuple[str, str], ...]
    job: "BoxJob"
    note: str = ""

    @property
    def _failed_images(self) -> int:
        return len({image for image, _ in self.failures})

    @property
    def summary(self) -> str:
        """The counts in one sentence."""
        if self.note:
            return self.note
        lesions, boxes = sum(s.lesions for s in self.sums.values()), sum(s.boxes for s in self.sums.values())
        failed = self._failed_images
        problem = f"; {count(failed, 'image')} could not be used in full, see the failures" if failed else ""
        return f"{count(len(self.images), 'image')}: {count(lesions, 'lesion')} in {boxes:,} boxes{problem}"

    @property
    def table(self) -> pd.DataFrame:
        """Coverage and fill by lesion type."""
        return FullTable([sums.row for sums in self.sums.values()], index=list(self.sums))

    @property
    def failed(self) -> pd.DataFrame:
        """The images or masks that could not be used, and why."""
        return FullTable(self.failures, columns=["image", "reason"])

    def require(self) -> None:
        """UserError: nothing was measured, or a larger share of images failed than `max_failed` allows."""
        if self.note:
            return
        first = "{}: {}".format(*self.failures[0]) if self.failures else ""
        if not self.images:
            raise UserError(f"no image could be measured; {first}")
        failed, allowed = self._failed_images, self.job.settings.max_failed
        if failed > allowed * (len(self.images) + failed):
            raise UserError(
                f"{count(failed, 'image')} could not be used in full, more than max_failed {allowed:g} allows; {first}"
            )


class BoxJob(DatasetJob):
    """A job that finds the lesions in every mask of a dataset and writes boxes.json. For a dataset without masks, its result
    says so and nothing is written.

    >>> import tempfile
    >>> job = BoxJob.load(dataset="IDRiD_seg", limit=2, out_dir=tempfile.mkdtemp())
    >>> job.run().summary
    '2 images: 99 lesions in 89 boxes'
    """

    notebook = "boxes"

    @property
    def no_masks(self) -> str:
        """The reason why there are no boxes to make; "" if there are."""
        if self.page.masks:
            return ""
        with_masks = ", ".join(name for name in page.names() if (masks := page.get(name).masks) and masks.types)
        return (
            f"{self.page.name} has no lesion masks, so there are no boxes to make; use {with_masks}, "
            "or your own page with `masks`"
        )

    @property
    def table(self) -> pd.DataFrame:
        """The dataset and what the job does with it, one row each."""
        if self.no_masks:
            return self.summary_table(boxes=self.no_masks)
        masks = self.page.masks
        near = f"at most {masks.gap * 100:g} % of the picture's longer side apart that fill {masks.fill:.0%} of it or more"
        return self.summary_table(
            lesions=", ".join(many for _, many in masks.types.values()) or "none",
            landmarks=", ".join(masks.landmarks.values()) or "none",
            boxes=f"one for every cluster of lesions {near}; a description names the {self.page.max_boxes} largest of a type",
        )

    def run(self, workers: int | None = None) -> BoxesResult:
        """Writes boxes.json, one image a line, so that two files are easily compared. `workers` processes share the work, by
        default one for each core. Masks that cannot be used are listed as failures. UserError: the file cannot be written,
        or it holds the boxes of images that this job leaves out."""
        if self.no_masks:
            return BoxesResult((), {}, (), self, self.no_masks)
        file = self.folder / FILE
        self._check_file(file)
        failures = [(name, self.why_not(name)) for name in self.images if name in self.data.skipped]
        names = [name for name in self.images if name not in self.data.skipped]
        tasks = [self._task(name) for name in names]
        if workers is None:
            workers = joblib.cpu_count() if len(names) >= _MIN_FOR_WORKERS else 1
        work = partial(summarise, page=self.page, max_named=self.page.max_boxes)
        images, sums = [], {kind: TypeSums() for kind in self.page.masks.types}
        masks, head = self.page.masks, {"dataset": self.page.name} | ({"drawn_sample": DRAWN} if self.drawn else {})
        head |= {"box": CONVENTION, "gap": masks.gap, "fill": masks.fill}
        with atomic_write(file) as part, display.Bar(len(names), "images") as bar:
            part.write(json_line(head)[:-1] + ', "images": {')
            for name, task, masks in zip(names, tasks, in_processes(work, tasks, workers), strict=True):
                part.write(f"{',' if images else ''}\n{json_line(task.image)}: {json_line(masks.entry)}")
                images.append(_image_boxes(name, masks.sums.values()))
                sums |= {kind: sums[kind] + more for kind, more in masks.sums.items()}
                failures += [(task.image, reason) for reason in masks.missing]
                bar.show(len(images))
            lines = ",\n".join(json_line({"image": image, "reason": reason}) for image, reason in failures)
            part.write('\n}, "failures": [' + (f"\n{lines}\n" if lines else "") + "]}\n")
        sums_by_words = {many: sums[kind] for kind, (_, many) in self.page.masks.types.items()}
        return BoxesResult(tuple(images), sums_by_words, tuple(failures), self)

    def _check_file(self, file: Path) -> None:
        """UserError: the file holds the boxes of images that this job leaves out."""
        if file.is_file():
            with file.open(encoding="utf-8") as lines:  # a line for each image; whole, the file may not fit into memory
                held = [json_value(found[1].encode()) for line in lines if (found := _IMAGE.match(line))]
            chosen = {self.data.image(name).export_name for name in self.images}
            earlier_run.check(file, {}, self.data, self.drawn, held, chosen, "image")

    def _task(self, name: str) -> MaskTask:
        image = self.data.image(name)
        return MaskTask(image.export_name, image.path, image.masks, image.eye, image.crop)

    def look(self, result: BoxesResult, number: int = 12) -> "BoxReview":
        """Returns the `number` images of a result that need review most: most boxes, lowest fill, most boxes at the edge of
        the field. Pictures that cannot be read are left out; the result lists them."""
        overlays = []
        for image in _ranked_for_review(result.images)[: _CANDIDATES * number]:
            try:
                candidate = overlay.read(self.page, self.data.image(image.image), self.title(image.image))
                _ = candidate.edge_boxes  # reads the picture
                overlays.append(candidate)
            except UserError:
                continue
        return BoxReview(self, tuple(overlays[i] for i in overlay.rank_for_review(overlays)[:number]))


def _image_boxes(image: str, sums: Collection[TypeSums]) -> ImageBoxes:
    area = sum(s.box_area for s in sums)
    return ImageBoxes(image, sum(s.boxes for s in sums), sum(s.pixels for s in sums) / area if area else 1.0)


def _ranked_for_review(images: tuple[ImageBoxes, ...]) -> list[ImageBoxes]:
    """The images with boxes, ordered by the mean of two ranks: most boxes, lowest fill."""
    boxed = [image for image in images if image.boxes]
    ranks = overlay.rank([-image.boxes for image in boxed]) + overlay.rank([image.fill for image in boxed])
    return [boxed[i] for i in np.argsort(ranks, kind="stable")]


# --- the images that need review most -------------------------------------------------------------------------------------

_CANDIDATES = 3  # images read for each one shown, to rank them by their boxes at the edge of the field
_INSETS = 6
_DPI = 150  # in the notebook: so that the smallest lesions are visible
_NO_LESIONS = "no image has a lesion to show"


@dataclass(frozen=True)
class BoxReview:
    """Images of a dataset with their boxes, those that need review most first (see `overlay.rank_for_review`)."""

    job: BoxJob
    overlays: tuple[Overlay, ...]

    @property
    def sheet(self) -> Figure:
        """A contact sheet of the images."""
        return _large(sheets.contact(self.overlays, order=False)) if self.overlays else drawing.sentence(_NO_LESIONS)

    @property
    def table(self) -> pd.DataFrame:
        """The contact sheet in numbers."""
        no_lesions = dict.fromkeys((layer.short for image in self.overlays for layer in image.layers), 0)
        rows = [
            {"image": image.title}
            | no_lesions
            | {layer.short: layer.lesions for layer in image.layers}
            | {"boxes": image.boxes, "at the edge": image.edge_boxes, "filled": f"{image.fill:.0%}"}
            for image in self.overlays
        ]
        return FullTable(rows, columns=["image", *no_lesions, "boxes", "at the edge", "filled"])

    @property
    def panels(self) -> Figure:
        """The first image, its mask and its boxes, and its smallest lesions enlarged."""
        return _large(sheets.panels(self.overlays[0], _INSETS)) if self.overlays else drawing.sentence(_NO_LESIONS)

    @property
    def smallest(self) -> pd.DataFrame:
        """The enlarged lesions in numbers."""
        lesions = self.overlays[0].smallest(_INSETS) if self.overlays else []
        rows = [(layer.one.split(" (")[0], lesion.pixels, box_text(lesion.box)) for layer, lesion in lesions]
        return FullTable(rows, columns=["lesion", "pixels of the mask", "box"], index=list("abcdef"[: len(rows)]))

    def save(self) -> pd.DataFrame:
        """Writes the figures to print (PNG and PDF) and the sheet as a page to send, and lists them with boxes.json."""
        folder, page = self.job.folder, self.job.page
        files = [(folder / FILE, "every lesion's box, by image and lesion type")] if page.masks else []
        if self.overlays:
            files += [(path, "the sheet, to print") for path in drawing.save(self.sheet, folder / "sheet")]
            files += [(path, "the first image of the sheet, to print") for path in drawing.save(self.panels, folder / "first")]
            told = self.job.source
            source = "; ".join(filter(None, (told["citation"], told["licence"])))
            page_file = sheets.write(self.overlays, folder / "sheet.html", str(told["title"]), source, order=False)
            files.append((page_file, "the sheet as a page to send, its pictures inside"))
        return FullTable({"holds": [what for _, what in files]}, index=[paths.display_path(path) for path, _ in files])


def _large(figure: Figure) -> Figure:
    figure.set_dpi(_DPI)
    return figure
