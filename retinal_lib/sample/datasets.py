"""Draws the eyes of eyes.yaml as their datasets are published: photographs, label tables, lesion masks, AutoMorph's tables."""

from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np

from retinal_lib.dataset import page
from retinal_lib.display import Bar
from retinal_lib.parsing import packaged_yaml
from retinal_lib.sample import automorph, files
from retinal_lib.sample.canvas import Camera, Eye
from retinal_lib.sample.fundus import Drawing, draw


@cache
def contents() -> dict:
    """Reads eyes.yaml, whose first lines explain what it holds."""
    return packaged_yaml(Path(__file__).with_name("eyes.yaml"))


@dataclass(frozen=True)
class Photograph:
    """A photograph to draw, with settings as eyes.yaml explains them. `path` is relative to the dataset's folder."""

    path: str
    patient: str
    side: str = "right"
    findings: dict[str, float] = field(default_factory=dict)
    centre: str = "macula"
    quality: str = "good"
    failed: str = ""
    camera: Camera = field(default_factory=Camera)
    split: str = ""


class Sample:
    """The sample of one dataset, drawn into a folder. `photographs`: those that are drawn already."""

    def __init__(self, dataset: str, folder: Path, seed: int = 0):
        self.dataset, self.folder, self.seed = dataset, folder, seed
        self.photographs: list[tuple[Photograph, Drawing]] = []

    def draw_eyes(self) -> None:
        """Draws the photographs of all splits, with their masks and label tables."""
        layout = contents()["datasets"][self.dataset]
        splits = [contents()["defaults"] | layout | split for split in layout["splits"]]
        of_split = [[_complete(settings | eye, index) for index, eye in enumerate(settings["eyes"])] for settings in splits]
        with Bar(sum(map(len, of_split)), "eyes drawn") as bar:
            for settings, eyes in zip(splits, of_split, strict=True):
                for eye in eyes:
                    self._draw_eye(eye)
                    bar.show(len(self.photographs))
                for table in settings["tables"]:
                    self._write_table(table, eyes)

    def _draw_eye(self, eye: dict) -> None:
        """Draws an eye with its masks, and notes in it what its tables say of them."""
        drawing = self.draw_photograph(_photograph(eye))
        self._write_masks(eye, drawing)
        for of, places in drawing.centres.items():
            height, width = drawing.disc.shape
            sides = eye["centre_size"] or (width, height)
            x, y = (at * side / own for at, side, own in zip(places, sides, (width, height), strict=True))
            eye |= {f"{of}_x": f"{x:.0f}", f"{of}_y": f"{y:.0f}"}
        eye["ratio"] = f"{drawing.ratio:.4f}"

    def draw_photograph(self, photograph: Photograph) -> Drawing:
        """Draws a photograph and saves it."""
        of_dataset = f"{self.seed}/{self.dataset}"
        eye = Eye(
            f"{of_dataset}/{photograph.patient}",
            f"{of_dataset}/{photograph.path}",
            photograph.side,
            photograph.centre,
            photograph.camera,
            photograph.findings,
        )
        drawing = draw(eye)
        files.picture(self.folder / photograph.path, drawing.image)
        self.photographs.append((photograph, drawing))
        return drawing

    def _write_masks(self, eye: dict, drawing: Drawing) -> None:
        """Writes the masks of an eye; those of one file in the values that it gives them, or as shapes."""
        masks = drawing.masks | {
            "OD": drawing.disc,
            "OC": drawing.cup,
            "second OD": drawing.disc,
            "second OC": files.shrunk(drawing.cup),
        }
        of_file: dict[Path, dict[str, np.ndarray]] = {}
        for kind, path in eye["masks"].items():
            if (kind in masks and masks[kind].any()) or kind in eye["empty_masks"]:
                file = self.folder / path.format(**eye)
                of_file.setdefault(file, {})[kind] = masks.get(kind, np.zeros_like(drawing.disc))
        for file, of in of_file.items():
            if file.suffix in (".txt", ".json", ".xml"):
                files.shapes(file, of, eye["shape_labels"])
            elif eye["mask_values"]:
                files.classes(file, [(eye["mask_values"][kind], mask) for kind, mask in of.items()], eye["mask_ground"])
            else:
                ((kind, mask),) = of.items()
                files.mask(file, mask, alpha=kind == eye["red_mask"])

    def _write_table(self, table: dict, eyes: list[dict]) -> None:
        rows = eyes
        if table.get("per") == "patient":
            pairs = [list(pair) for _, pair in groupby(eyes, key=lambda eye: eye["patient"])]
            rows = [pair[0] | {eye["side"]: eye for eye in pair} for pair in pairs]
        lines = table.get("header", "").format(codes=",".join(eyes[0]["codes"])).splitlines()
        lines += [table["row"].format(**row) for row in rows]
        path = self.folder / table["path"].format(**eyes[0])
        files.table(path, lines, table.get("newline", "\n"), table.get("encoding", "utf-8"))

    def write_automorph(self) -> None:
        """Writes AutoMorph's tables: one set, or one for each split where the numbering of images restarts."""
        restart = page.get(self.dataset).restart
        for split in dict.fromkeys(photograph.split if restart else "" for photograph, _ in self.photographs):
            some = [(p, drawing) for p, drawing in self.photographs if not restart or p.split == split]
            root = self.folder / "Results" / split
            quality = [automorph.quality_row(p.path, p.quality, f"{self.seed}/{self.dataset}") for p, _ in some]
            files.table(root / "M1" / "results_ensemble.csv", [automorph.QUALITY, *quality])
            rows: dict[str, list[str]] = {"Macular": [], "Disc": []}
            for p, drawing in some:
                if p.quality in ("good", "usable"):
                    kind = "Disc" if p.centre == "disc" and p.failed != "disc" else "Macular"
                    rows[kind].append(automorph.measurements_row(p.path, drawing.measures, p.failed))
            for kind, lines in rows.items():
                files.table(root / "M3" / f"{kind}_Features.csv", [",".join(automorph.COLUMNS), *lines])


def _complete(eye: dict, index: int) -> dict:
    """The settings of one eye, with those that follow from others."""
    eye = {"side": eye["sides"][index % len(eye["sides"])], "index": index, "n": index + 1} | eye
    eye["image"] = eye["image"].format(**eye)
    eye["patient"] = str(eye["patient"]).format(**eye)
    eye["flags"] = ",".join(str(int(code.strip() in eye["labels"])) for code in eye["codes"])
    return eye


def _photograph(eye: dict) -> Photograph:
    findings = dict(eye.get("faults", contents()["faults"][eye["quality"]]))
    for setting, looks in eye["shows"].items():
        values = eye[setting] if isinstance(eye[setting], list) else [eye[setting]]
        for value in values:
            findings |= looks[value] if value != "" else {}
    return Photograph(
        eye["picture"].format(**eye),
        eye["patient"],
        eye["side"],
        findings | eye["findings"],
        eye["centre"],
        eye["quality"],
        eye["failed"],
        Camera(**eye["cameras"][eye["index"] % len(eye["cameras"])]),
        eye.get("split", ""),
    )
