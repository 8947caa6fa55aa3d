"""What every sample is made with: photographs, and the tables that AutoMorph would leave for them."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from retinal_lib.dataset import measurements, page
from retinal_lib.sample import files as sample_tables
from retinal_lib.sample.canvas import generator
from retinal_lib.sample.fundus import Camera, Drawing, Eye, draw

WIDE = Camera((768, 512), 0.97, 45)
COLUMNS = ("Name", *(f.column for f in measurements.features() if f.column not in measurements.SPEC["extra"]))
QUALITY = "Name,softmax_good,softmax_usable,softmax_bad,good_sd,usable_sd,bad_sd,Prediction"


@dataclass(frozen=True)
class Shot:
    """One photograph to take. `quality` is what AutoMorph's check says: good, usable, doubtful (usable, but too
    probably bad, so not measured) or bad; `failed` leaves out a measurement: disc or artery."""

    path: str
    patient: str
    side: str = "right"
    findings: dict[str, float] | None = None
    centre: str = "macula"
    quality: str = "good"
    failed: str = ""
    plain: bool = False  # nothing of the camera's faults that the quality stands for
    camera: Camera | None = None
    split: str = ""


class Kit:
    """Draws one dataset's files into a folder. `results` gathers the photographs for AutoMorph's tables."""

    def __init__(self, dataset: str, folder: Path, seed: int):
        self.dataset, self.folder, self.seed = dataset, folder, seed
        self.camera = WIDE
        self.restart = page.get(dataset).restart
        self.results: dict[str, list[tuple[Shot, Drawing]]] = {}

    def take(self, shot: Shot) -> Drawing:
        """Draws a photograph and saves it."""
        look = {
            "usable": {"blur": 0.35},
            "doubtful": {"blur": 0.6, "dark": 0.3},
            "bad": {"blur": 1.6, "dark": 0.75, "haze": 0.5},
        }
        findings = ({} if shot.plain else look.get(shot.quality, {})) | (shot.findings or {})
        words = (self.seed, self.dataset)
        eye = Eye(
            "/".join(map(str, (*words, shot.patient))),
            "/".join(map(str, (*words, shot.path))),
            shot.side,
            shot.centre,
            shot.camera or self.camera,
            findings,
        )
        drawing = draw(eye)
        sample_tables.picture(self.folder / shot.path, drawing.image)
        self.results.setdefault(shot.split if self.restart else "", []).append((shot, drawing))
        return drawing

    def text(self, path: str, lines: list[str], newline: str = "\n", encoding: str = "utf-8") -> None:
        """A text table."""
        sample_tables.text(self.folder / path, lines, newline, encoding)

    def finish(self) -> None:
        """Writes AutoMorph's tables: one set, or one a split where numbering restarts."""
        for split, shots in self.results.items():
            root = self.folder / "Results" / split
            rows = [self._quality(shot) for shot, _ in shots]
            sample_tables.text(root / "M1" / "results_ensemble.csv", [QUALITY, *rows])
            measured = [(s, d) for s, d in shots if s.quality in ("good", "usable")]
            discs = [(s, d) for s, d in measured if s.centre == "disc" and s.failed != "disc"]
            for name, some in (("Macular", [m for m in measured if m not in discs]), ("Disc", discs)):
                lines = [",".join(COLUMNS), *(_measured(shot, drawing) for shot, drawing in some)]
                sample_tables.text(root / "M3" / f"{name}_Features.csv", lines)

    def _quality(self, shot: Shot) -> str:
        rng = generator(self.seed, self.dataset, "quality", shot.path)
        bad = {"good": (0.01, 0.08), "usable": (0.06, 0.2), "doubtful": (0.28, 0.36), "bad": (0.7, 0.95)}[shot.quality]
        third = round(rng.uniform(*bad), 8)
        share = {"good": 0.88, "usable": 0.26, "doubtful": 0.2, "bad": 0.25}[shot.quality] * rng.uniform(0.92, 1.04)
        first = round((1 - third) * share, 8)
        parts = [first, round(1 - first - third, 8), third]
        spread = [round(float(x), 8) for x in rng.uniform(0.01, 0.08, 3)]
        prediction = parts.index(max(parts))
        # AutoMorph's Name is a path to its own crop, whatever the image was called
        name = f"../Results/M0/images/{PurePosixPath(shot.path).stem}.png"
        return ",".join(map(str, [name, *parts, *spread, prediction]))


def _measured(shot: Shot, drawing: Drawing) -> str:
    """A row of AutoMorph's measurements; what failed is empty, a ratio of two failures 1.0, of one of them negative."""
    values = dict(drawing.measures)
    if shot.failed == "disc":  # no disc, no zones
        values = {c: v for c, v in values.items() if "_zone_" not in c and not c.startswith(("Disc", "Cup", "CDR"))}
        values |= {c: 1.0 for c in COLUMNS if c.startswith("AVR")}
    elif shot.failed == "artery":
        values = {c: v for c, v in values.items() if not (c.startswith("CRAE") and c.endswith("_zone_b"))}
        values |= {
            f"AVR_{f}_zone_b": -1 / values[f"CRVE_{f}_zone_b"] for f in ("Hubbard", "Knudtson") if f"CRVE_{f}_zone_b" in values
        }
    cells = [f"{PurePosixPath(shot.path).stem}.png", *(f"{values[c]:.9g}" if c in values else "" for c in COLUMNS[1:])]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
