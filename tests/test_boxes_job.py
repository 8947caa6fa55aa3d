"""boxes.json: every lesion of a dataset, with AutoMorph's crops, and what its boxes come to."""

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import bench_boxes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from retinal_lib import BoxJob, UserError, load_dataset
from retinal_lib.__main__ import main
from retinal_lib.dataset import page
from retinal_lib.dataset.lesions import boxes
from retinal_lib.dataset.lesions import wording as telling
from retinal_lib.dataset.lesions.boxes import Crop
from retinal_lib.dataset.lesions.locations import Locations
from retinal_lib.explore import boxes_job

PAGE = """
name: clinic
title: Our clinic
may_send: 'no'
image: '^eye\\d+$'
splits: {all: {images: [images], masks: [masks, 'masks/*']}}
masks:
  name: '^(?P<image>eye\\d+)_(?P<type>[A-Z]{2})$'
  types: {MA: [microaneurysm, microaneurysms], EX: [hard exudate, hard exudates]}
  landmarks: {OD: optic disc, FO: fovea}
  absent: none
  near_fovea: [EX]
facts: [boxes, automorph]
"""
MARKED = arrays.arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24)))


def clinic(root: Path) -> Path:
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "masks").mkdir(exist_ok=True)
    (root / "clinic.yaml").write_text(PAGE, encoding="utf-8")
    return root


def eye(root: Path, n: int, size: tuple[int, int] = (80, 60), **spots: list[tuple[int, int, int, int]]) -> None:
    """A picture, and a mask for each type with its spots [left, top, right, bottom[ in pixels."""
    noise = np.random.default_rng(n).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "images" / f"eye{n}.png")
    for kind, places in spots.items():
        grey = Image.new("L", size)
        for place in places:
            grey.paste(255, place)
        grey.save(root / "masks" / f"eye{n}_{kind}.png")


def job(root: Path, **parameters: object) -> BoxJob:
    return BoxJob.load(dataset=str(root / "clinic.yaml"), out_dir=str(root / "out"), **parameters)


def written(root: Path) -> dict:
    return json.loads((root / "out" / "boxes.json").read_text(encoding="utf-8"))


@given(MARKED, st.integers(1, 4))
def test_what_the_named_boxes_leave_out_adds_up(marked: np.ndarray, most: int) -> None:
    found = boxes.find(marked)
    if not len(found.pixels):
        return
    told = telling.LesionType(
        "EX", "hard exudate", "hard exudates", Path("m.png"), found, 0.05, 0.0, Locations(found.size)
    ).facts(most)
    of = {ending: [f.value for f in told if f.name == f"EX{ending}"] for ending in ("", *telling.ENDINGS)}
    groups, _ = boxes.clusters(found, 0.05)
    assert of["_box"] == [c.box for c in groups[:most]]
    # a single lesion over the middle lies in no quarter
    assert of[""][0] == len(found.pixels) and (sum(of["_place"]) == of[""][0] or of[""] == [1])
    left = groups[most:]
    assert sum(of["_rest"]) == sum(of["_rest_place"]) == sum(c.lesions for c in left)
    share = 100 * sum(c.pixels for c in left) / marked.sum()
    assert sum(of["_rest_share"]) == pytest.approx(share)


# --- AutoMorph's crops ---


def test_pictures_that_automorph_cropped_have_the_boxes_of_the_crop(tmp_path: Path) -> None:
    root = clinic(tmp_path)
    eye(root, 1, size=(100, 60), EX=[(40, 20, 50, 30), (2, 2, 6, 6)], OD=[(60, 20, 70, 30)])
    crop = Crop.around((100, 60), 30, 50, 25)
    whole = Image.open(root / "images" / "eye1.png")
    whole.crop((crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)).save(root / "images" / "eye1.png")
    (root / "Results" / "M0").mkdir(parents=True)
    head = "Name,centre_w,centre_h,radius,Scale,Scale_resolution"  # of these names, w holds the row and h the column
    (root / "Results" / "M0" / "crop_info.csv").write_text(f"{head}\neye1.png,30,50,25,0.05,1\n", encoding="utf-8")
    case = load_dataset(str(root / "clinic.yaml"), root).describe("eye1.png")
    facts = {f.name: f for f in case.facts}
    assert facts["EX"].value == 1, "the other lies outside"
    assert facts["EX_box"].value == (0.3, 0.3, 0.5, 0.5) and facts["OD_box"].value == (0.7, 0.3, 0.9, 0.5)
    assert facts["EX_area"].value == pytest.approx(100 * 100 / 2500), "a share of the picture that is shown"
    assert any("1 of 2 marks lie outside AutoMorph's crop" in why for why in case.missing)
    job(root).run()
    assert written(root)["images"]["eye1.png"]["lesions"]["EX"]["boxes"][0]["box"] == [0.3, 0.3, 0.5, 0.5]


# --- boxes.json ---


def test_boxes_json_holds_every_lesion_and_landmark(tmp_path: Path) -> None:
    root = clinic(tmp_path)
    dots = [(4 * i, 4 * (i % 9), 4 * i + 2, 4 * (i % 9) + 2) for i in range(15)]
    eye(root, 1, MA=dots, EX=[(10, 50, 30, 58)], OD=[(60, 20, 70, 30)])
    eye(root, 2, MA=[])
    measured = job(root).run()
    measured.require()
    found = written(root)
    assert found["dataset"] == "clinic" and found["failures"] == []
    assert list(found["images"]) == ["eye1.png", "eye2.png"]
    first = found["images"]["eye1.png"]
    assert first["size"] == [80, 60] and first["landmarks"]["optic disc"]["box"] == [0.75, 0.3333, 0.875, 0.5]
    assert first["landmarks"]["optic disc"]["centre"] == [0.8125, 0.4167]
    assert first["lesions"]["MA"]["lesions"] == 15 == len(first["lesions"]["MA"]["boxes"]), "all of them, not the named ones"
    assert first["lesions"]["EX"] == {
        "lesions": 1,
        "area": round(160 / 4800, 8),
        "boxes": [{"box": [0.125, 0.8333, 0.375, 0.9667], "lesions": 1, "pixels": 160, "fill": 1.0}],
    }
    assert found["images"]["eye2.png"]["lesions"] == {
        "MA": {"lesions": 0, "area": 0.0, "boxes": []},
        "EX": {"lesions": 0, "area": 0.0, "boxes": []},
    }
    assert (measured.table["in a box"] == "1.000").all()
    assert measured.sums["microaneurysms"].in_named == 40 and measured.sums["microaneurysms"].in_boxes == 60
    assert measured.summary == "2 images: 16 lesions in 16 boxes"


def test_the_same_masks_give_the_same_bytes_whatever_the_number_of_workers(tmp_path: Path) -> None:
    root = clinic(tmp_path)
    for n in range(12):
        eye(root, n, MA=[(n, n, n + 5, n + 7), (40, 3 * n, 44, 3 * n + 2)], EX=[(20, n, 25, 50)])
    files = []
    for workers in (1, 2):
        job(root).run(workers)
        files.append((root / "out" / "boxes.json").read_bytes())
    assert files[0] == files[1]


def test_boxes_of_fewer_images_do_not_replace_those_of_more(tmp_path: Path) -> None:
    root = clinic(tmp_path)
    for n in range(3):
        eye(root, n, MA=[(4, 4, 9, 9)], EX=[])
    job(root, limit=2).run(1)
    job(root).run(1)
    before = (root / "out" / "boxes.json").read_bytes()
    with pytest.raises(UserError, match=r"boxes.json holds 1 image that this run leaves out\. To keep it"):
        job(root, limit=2).run(1)
    assert (root / "out" / "boxes.json").read_bytes() == before


def killed(item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_worker_that_is_killed_is_told_in_a_sentence() -> None:
    with pytest.raises(UserError, match=r"a worker process was killed, probably for lack of memory"):
        list(boxes_job.in_processes(killed, range(4), 2))


def test_workers_import_nothing_heavy() -> None:
    code = "import sys, retinal_lib.explore.mask_summary as m; print([n for n in ('torch', 'matplotlib') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_mask_that_cannot_be_used_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    root = clinic(tmp_path)
    for n in range(6):
        eye(root, n, MA=[(2, 2, 6, 6)], EX=[(10, 10, 30, 20)])
    (root / "masks" / "eye1_MA.png").write_bytes(b"no picture")
    Image.new("L", (60, 60)).save(root / "masks" / "eye2_EX.png")
    whole = (root / "masks" / "eye3_EX.png").read_bytes()
    (root / "masks" / "eye3_EX.png").write_bytes(whole[: len(whole) // 2])
    measured = job(root).run()
    found = written(root)
    assert [f["image"] for f in found["failures"]] == ["eye1.png", "eye2.png", "eye3.png"]
    assert len(found["images"]) == 6 and "MA" not in found["images"]["eye1.png"]["lesions"], "unknown is not none"
    assert found["images"]["eye1.png"]["lesions"]["EX"]["lesions"] == 1
    assert list(measured.failed["image"]) == ["eye1.png", "eye2.png", "eye3.png"]
    with pytest.raises(UserError, match=r"3 images could not be used in full, more than max_failed 0.05"):
        measured.require()


@pytest.mark.parametrize("dataset", [name for name in page.names() if not page.get(name).masks])
def test_a_dataset_without_masks_says_which_have_them(dataset: str, drawn: dict[str, Path], tmp_path: Path) -> None:
    opened = BoxJob.load(dataset=dataset, data_root=str(drawn[dataset]), out_dir=str(tmp_path / "out"))
    measured = opened.run()
    measured.require()
    assert f"{dataset} has no lesion masks" in measured.summary
    assert "; use DDR_seg, IDRiD_seg, MAPLES_DR, MICCAI_task2, or" in measured.summary, "not those that mark disc and cup alone"
    assert "no lesion masks" in str(opened.table) and len(measured.table) == len(measured.failed) == 0
    seen = opened.look(measured)
    assert len(seen.table) == len(seen.smallest) == len(seen.save()) == 0
    assert seen.sheet.get_size_inches()[1] < 1 and seen.panels.get_size_inches()[1] < 1, "a sentence alone"
    with pytest.raises(UserError, match=f"{dataset} has no lesion masks"):
        main(["boxes", dataset, "--data-root", str(drawn[dataset]), "--out-dir", str(tmp_path / "out")])


# --- a second look ---


def test_what_wants_a_second_look_comes_first_and_broken_pictures_are_passed_over(tmp_path: Path) -> None:
    root = clinic(tmp_path)
    eye(root, 0, MA=[])
    for n in range(1, 8):
        eye(root, n, MA=[(8 * i, 8 * (i % 5), 8 * i + 2, 8 * (i % 5) + 2) for i in range(1, n + 1)], EX=[(40, 40, 50, 50)])
    whole = (root / "images" / "eye6.png").read_bytes()
    (root / "images" / "eye6.png").write_bytes(whole[: len(whole) // 2])
    opened = job(root)
    measured = opened.run()
    assert [image.boxes for image in measured.images] == [0, 2, 3, 4, 5, 6, 7, 8]
    assert all(image.fill == 1 for image in measured.images)
    seen = opened.look(measured, 3)
    assert [shown.title for shown in seen.overlays] == ["eye7.png", "eye5.png", "eye4.png"]
    assert list(seen.table["boxes"]) == [8, 6, 5] and list(seen.table["microaneurysms"]) == [7, 5, 4]
    assert list(seen.smallest["pixels of the mask"]) == [4, 100, 4, 4, 4, 4]
    listed = seen.save()
    assert listed.index.size and all(any((root / "out").rglob(Path(name).name)) for name in listed.index)
    html = (root / "out" / "sheet.html").read_text(encoding="utf-8")
    assert "eye7.png" in html and "eye1.png" not in html and "http" not in html.replace("http-equiv", "")


def test_memory_does_not_grow_with_the_number_of_masks(tmp_path: Path) -> None:
    root = clinic(tmp_path)
    eye(root, 0, MA=[(4 * i, 4 * j, 4 * i + 2, 4 * j + 2) for i in range(12) for j in range(9)])
    picture, mask = (root / "images" / "eye0.png").read_bytes(), (root / "masks" / "eye0_MA.png").read_bytes()
    for n in range(1, 1000):
        (root / "images" / f"eye{n}.png").write_bytes(picture + b"%d" % n)  # equal files would be one picture
        (root / "masks" / f"eye{n}_MA.png").write_bytes(mask)
    peaks = []
    for limit in (100, 1000):
        opened = job(root, limit=limit)
        tracemalloc.start()
        opened.run(1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000, peaks


def test_the_command_tells_coverage_and_fill(tmp_path: Path) -> None:
    root = clinic(tmp_path)
    eye(root, 1, MA=[(2, 2, 6, 6)], EX=[(10, 10, 30, 20)])
    line = [sys.executable, "-m", "retinal_lib", "boxes", str(root / "clinic.yaml"), "--out-dir", str(root / "out")]
    found = subprocess.run(line, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[1], check=True)
    assert "1 image: 2 lesions in 2 boxes" in found.stdout and "fill of named boxes" in found.stdout
    assert (root / "out" / "boxes.json").is_file() and found.stderr == ""


# --- the published masks, beside the original's boxes ---

# one box a lesion is as tight as boxes can be: of these 13 lesions 10 are named, and no cluster is merged
AS_TIGHT_AS_CAN_BE = {"IDRiD_81_HE"}


@pytest.mark.skipif(not bench_boxes.published(), reason=f"the published masks are not there ({bench_boxes.DATA})")
def test_named_boxes_are_filled_twice_as_well_as_the_original_s_and_nothing_is_lost() -> None:
    table = bench_boxes.comparison(bench_boxes.published())
    assert len(table) == 10 and (table["all hold"] == 1).all()
    assert set(table.index[table["times"] < 2]) == AS_TIGHT_AS_CAN_BE
    tight = table.loc[list(AS_TIGHT_AS_CAN_BE)]
    assert (tight["clusters"] == tight["lesions"]).all() and (tight["times"] > 1.5).all()
    original = table["original holds"], table["original fill"]
    assert original[0]["IDRiD_03_MA"] == pytest.approx(0.67, abs=0.005)
    assert original[1]["IDRiD_03_MA"] == pytest.approx(0.008, abs=0.0005)
    assert original[0]["IDRiD_03_EX"] == pytest.approx(0.865, abs=0.005)
    assert original[1]["IDRiD_03_EX"] == pytest.approx(0.13, abs=0.005)
