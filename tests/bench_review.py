"""How long it takes from a click to another picture in the reviewer, on photographs of 12 megapixels with lesions marked."""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_size import size
from PIL import Image, ImageDraw

SIZE = (4288, 2848)
SAMPLES = size(12, 3)
PAUSE = 0.6  # seconds that a quick reader takes for a look

PAGE = """
name: photographs
title: photographs
may_send: 'yes'
modality: colour fundus photograph
image: '^eye\\d+$'
splits: {all: {images: [images], masks: [masks], tables: [labels.csv]}}
key: image
masks:
  name: '^(?P<image>eye\\d+)_(?P<type>MA|HE)$'
  types: {MA: [microaneurysm, microaneurysms], HE: [haemorrhage, haemorrhages]}
facts:
  - grade: {column: grade, scale: ICDR}
  - boxes
"""


def photographs(folder: Path) -> Path:
    """A dataset of large pictures with masks, and a finished run of it."""
    from retinal_lib import Job

    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    chance = np.random.default_rng(1)
    down, across = np.ogrid[: SIZE[1], : SIZE[0]]
    disc = (across - SIZE[0] / 2) ** 2 + (down - SIZE[1] / 2) ** 2 < (SIZE[1] * 0.48) ** 2
    for number in range(SAMPLES):
        pixels = disc[..., None] * (np.array([150, 70, 30]) + chance.integers(-12, 12, (SIZE[1], SIZE[0], 1)))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / "images" / f"eye{number}.jpg", quality=92)
        for kind, wide in (("MA", 14), ("HE", 60)):
            mask = Image.new("L", SIZE)
            for x, y in chance.integers((1200, 700), (3000, 2100), (15, 2)):
                ImageDraw.Draw(mask).ellipse((x, y, x + wide, y + wide), fill=255)
            mask.save(folder / "masks" / f"eye{number}_{kind}.tif", compression="tiff_lzw")
    rows = "".join(f"eye{number},2\n" for number in range(SAMPLES))
    (folder / "labels.csv").write_text(f"image,grade\n{rows}", encoding="utf-8")
    (folder / "photographs.yaml").write_text(PAGE, encoding="utf-8")
    Job.load(dataset=str(folder / "photographs.yaml"), out_dir=str(folder / "run")).run().require()
    return folder / "run"


def clicks(run: Path, pause: float) -> list[float]:
    """Milliseconds from a click on next to another picture in the widget, with pauses in between."""
    from retinal_lib import Review
    from retinal_lib.review.reviewer import Reviewer

    desk = Reviewer(Review.load(dataset=str(run.parent / "photographs.yaml"), out_dir=str(run), reviewer="bench"))
    times = []
    for _ in range(SAMPLES - 1):
        time.sleep(pause)
        before, start = desk.image.value, time.perf_counter()
        desk.buttons["next"].click()
        times.append((time.perf_counter() - start) * 1000)
        assert desk.image.value != before and not desk.info.value, desk.info.value
    desk.pictures.close()
    return times


def main() -> None:
    """Prints both."""
    with tempfile.TemporaryDirectory() as place:
        run = photographs(Path(place))
        for pause, what in ((PAUSE, f"with {PAUSE:g} s for each look"), (0.0, "without any pause")):
            times = clicks(run, pause)
            told = f"{statistics.median(times):.0f} ms at the median, {max(times):.0f} ms at most"
            print(f"reviewer, 12 megapixels and 30 lesions, click to new picture {what}: {told}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
