"""What all drawn samples share: photographs, findings, AutoMorph tables."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from retinal_lib.dataset import measurements, page
from retinal_lib.sample import files as sample_tables
from retinal_lib.sample.canvas import generator
from retinal_lib.sample.fundus import Camera, Drawing, Eye, draw

IDRID = Camera((768, 510), 1.19, 50)
SQUARE = Camera((560, 560), 0.98, notch=False)

# what a grade looks like; amounts as in `sample_lesions`
ICDR = {
    0: {},
    1: {"microaneurysms": 4},
    2: {"microaneurysms": 10, "haemorrhages": 5, "exudates far": 1},
    3: {"microaneurysms": 18, "haemorrhages": 22, "flames": 6, "soft exudates": 4},
    4: {"microaneurysms": 12, "haemorrhages": 9, "new vessels": 3, "preretinal": 1.0},
}
MYOPIA = {
    0: {"tessellation": 0.15},
    1: {"tessellation": 1.5, "crescent": 0.5},
    2: {"tessellation": 1.7, "crescent": 1.2, "diffuse atrophy": 1.0},
    3: {"tessellation": 1.5, "crescent": 1.3, "diffuse atrophy": 0.6, "patchy atrophy": 3},
    4: {"tessellation": 1.6, "crescent": 1.4, "diffuse atrophy": 0.7, "macular atrophy": 0.85},
}

RISK = {0: {}, 1: {"exudates far": 2}, 2: {"exudates near": 2, "exudates far": 1}}
CONDITIONS = {
    "DR": {"microaneurysms": 12, "haemorrhages": 10, "exudates far": 2},
    "ARMD": {"CNV": 0.4, "subretinal blood": 0.6},
    "DN": {"drusen": 45},
    "ODC": {"cup": 0.76},
    "MYA": {"crescent": 1.3, "diffuse atrophy": 0.8},
    "TSLN": {"tessellation": 1.6},
    "BRVO": {"vein occlusion": 1},
    "CRVO": {"vein occlusion": 2, "tortuous": 2.2},
    "MH": {"haze": 0.75},
    "CSR": {"serous detachment": 0.85},
    "LS": {"laser": 120},
    "MHL": {"macular hole": 0.15},
    "ODE": {"disc oedema": 1, "cup": 0.22},
    "ON": {},
    "ERM": {"membrane": 1},
    "MNF": {"nerve fibres": 1},
    "RP": {"spicules": 60, "disc pallor": 0.6, "artery width": 0.75},
    "CNV": {"CNV": 0.5},
}


def side_of(n: int) -> str:
    """Left and right in turn."""
    return "left" if n % 2 == 0 else "right"


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
