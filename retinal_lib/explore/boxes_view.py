"""A look at the boxes of a run: the images that want a second look first, as figures, in numbers, and as a page to send."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from retinal_lib import drawing, paths
from retinal_lib.dataset.lesions.wording import said
from retinal_lib.display import Shown
from retinal_lib.drawing import Figure
from retinal_lib.errors import UserError
from retinal_lib.explore import html_sheet as handout
from retinal_lib.explore import overlay, sheets
from retinal_lib.explore.boxes_job import Boxed, BoxJob, Measured
from retinal_lib.explore.overlay import Overlay

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
        return Shown(rows, columns=columns).fillna(dict.fromkeys(kinds, 0)).astype(dict.fromkeys(kinds, int))

    @property
    def panels(self) -> Figure:
        """The first image, its mask and its boxes, and its smallest lesions enlarged."""
        return _large(sheets.panels(self.shown[0], _INSETS)) if self.shown else drawing.sentence(_NONE)

    @property
    def smallest(self) -> pd.DataFrame:
        """The enlarged lesions in numbers."""
        found = self.shown[0].smallest(_INSETS) if self.shown else []
        rows = [(layer.one.split(" (")[0], lesion.pixels, said(lesion.box)) for layer, lesion in found]
        return Shown(rows, columns=["lesion", "pixels of the mask", "box"], index=list("abcdef"[: len(rows)]))

    def save(self) -> pd.DataFrame:
        """Writes the figures to print (PNG and PDF) and the sheet as a page to send, and lists them with boxes.json."""
        folder, page = self.job.folder, self.job.page
        told = [(folder / "boxes.json", "every lesion's box, by image and lesion type")] if page.masks else []
        if self.shown:
            told += [(path, "the sheet, to print") for path in drawing.save(self.sheet, folder / "sheet")]
            told += [(path, "the first image of the sheet, to print") for path in drawing.save(self.panels, folder / "first")]
            source = f"{page.citation}{'; ' if page.citation else ''}{page.licence}"
            file = handout.write(self.shown, folder / "sheet.html", page.title, source, order=False)
            told.append((file, "the sheet as a page to send, its pictures inside"))
        return Shown({"holds": [what for _, what in told]}, index=[paths.shown(path) for path, _ in told])


def _large(figure: Figure) -> Figure:
    figure.set_dpi(_DOTS)
    return figure


def look(job: BoxJob, measured: Measured, number: int = 12) -> Look:
    """The `number` images of a run that want a second look most. Pictures that cannot be read are passed over: `measured`
    lists them."""
    found = []
    for boxed in _suspects(measured.boxed)[: _MORE * number]:
        try:
            shown = overlay.read(job.data, boxed.image, job.title(boxed.image), job.data.record(boxed.image).eye)
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
