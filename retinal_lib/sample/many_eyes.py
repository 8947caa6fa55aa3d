"""Draws as many eyes as a trial of training needs: small pictures in the layout of EyeQ, with side, quality and grade."""

from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np

from retinal_lib.display import Bar
from retinal_lib.sample import files, fundus
from retinal_lib.sample.canvas import Camera, Eye, generator
from retinal_lib.sample.datasets import contents
from retinal_lib.sample.draw import draw_once

DATASET = "EyeQ"
_QUALITY = ("good", "usable", "bad")  # by the number in EyeQ's column, with their shares
_SHARES = (0.4, 0.4, 0.2)


def draw(folder: str | Path, train: int, held_out: int, seed: int = 0, pixels: int = 64) -> Path:
    """Draws `train` eyes of EyeQ's split train and `held_out` of its split test into `folder` and returns it.

    Each patient has two eyes, in one split. Pictures are squares of `pixels`; as the smallest lesion is two pixels wide, small
    pictures show lesions larger than real ones. Grades are equally frequent. The same numbers give the same bytes.
    UserError: the folder holds something else, or cannot be written."""
    identity = {"eyes": [train, held_out], "seed": seed, "pixels": pixels, "version": contents()["version"]}
    sizes = {"train": train, "test": held_out}

    def write(made: Path) -> None:
        for split, count in sizes.items():
            eyes = list(_eyes(split, count, seed))
            drawn = joblib.Parallel(n_jobs=-1, return_as="generator_unordered")(
                joblib.delayed(_picture)(made / split / f"{name}.jpeg", name, side, level, grade, seed, pixels)
                for name, side, level, grade in eyes
            )
            with Bar(len(eyes), "eyes drawn") as bar:
                for done, _ in enumerate(drawn, start=1):
                    bar.show(done)
            rows = [f"{i},{name}.jpeg,{level},{grade}" for i, (name, _, level, grade) in enumerate(eyes)]
            files.table(made / f"Label_EyeQ_{split}.csv", [",image,quality,DR_grade", *rows])

    return draw_once(Path(folder), identity, write, "cohort")


def _eyes(split: str, count: int, seed: int) -> Iterator[tuple[str, str, int, int]]:
    """Name, side, quality and grade of each eye."""
    rng, first = generator("cohort", split, seed), {"train": 100_000, "test": 500_000}[split]
    grades = rng.permutation(np.arange(count) % 5)
    levels = rng.choice(len(_SHARES), count, p=_SHARES)
    for i in range(count):
        side = ("left", "right")[i % 2]
        yield f"{first + i // 2}_{side}", side, int(levels[i]), int(grades[i])


def _picture(file: Path, name: str, side: str, level: int, grade: int, seed: int, pixels: int) -> None:
    findings = contents()["looks"]["ICDR"][grade] | contents()["faults"][_QUALITY[level]]
    patient = f"{seed}/{name.partition('_')[0]}"
    eye = Eye(patient, f"{seed}/{name}", side, "macula", Camera((pixels, pixels), 0.97, notch=False), findings)
    files.picture(file, fundus.draw(eye, measured=False).image)
