"""The published files themselves, where they lie beside the project: of IDRiD, RFMiD and AutoMorph."""

import csv
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retinal_lib import load_dataset
from retinal_lib.dataset import automorph, measurements
from retinal_lib.dataset import tables as table
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.lesions import boxes

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TABLES = DATA / "IDRiD" / "B. Disease Grading" / "2. Groundtruths"
TRAIN, TEST = (TABLES / f"{name}.csv" for name in (
    "a. IDRiD_Disease Grading_Training Labels", "b. IDRiD_Disease Grading_Testing Labels",
))  # fmt: skip
MASKS = DATA / "IDRiD" / "A. Segmentation" / "2. All Segmentation Groundtruths"
RFMID = DATA / "RFMiD" / "RFMiD_Training_Labels.csv"


@pytest.fixture(autouse=True, scope="module")  # before the datasets below are loaded
def published() -> None:
    if not DATA.is_dir():
        pytest.skip(f"the published files are not there ({DATA})")


@pytest.fixture(scope="module")
def grading() -> BaseDescription:
    return load_dataset("IDRiD", DATA / "IDRiD")


@pytest.fixture(scope="module")
def segmentation() -> BaseDescription:
    return load_dataset("IDRiD_seg", DATA / "IDRiD")


def told(dataset: BaseDescription, image: str) -> dict[str, object]:
    return {fact.name: fact.value for fact in dataset.describe(image).facts}


@pytest.mark.parametrize(
    ("path", "grades", "risks"),
    [(TRAIN, [134, 20, 136, 74, 49], [177, 41, 195]), (TEST, [34, 5, 32, 19, 13], [45, 10, 48])],
)
def test_idrid_s_tables_hold_the_published_counts(path: Path, grades: list[int], risks: list[int]) -> None:
    found = table.read(path)
    assert found.header == ("Image name", "Retinopathy grade", "Risk of macular edema")
    assert len(found) == sum(grades) == sum(risks)
    assert [Counter(found.column("Retinopathy grade"))[str(n)] for n in range(5)] == grades
    assert [Counter(found.column("Risk of macular edema"))[str(n)] for n in range(3)] == risks


def test_every_row_of_idrid_becomes_its_two_grades(tmp_path: Path) -> None:
    place = tmp_path / "B. Disease Grading"
    shutil.copytree(TABLES, place / "2. Groundtruths")
    with TRAIN.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    folder = place / "1. Original Images" / "a. Training Set"
    folder.mkdir(parents=True)
    for n, row in enumerate(rows):
        (folder / f"{row[0]}.jpg").write_bytes(f"stands for picture {n}".encode())
    dataset = load_dataset("IDRiD", tmp_path, split="train")
    listed = {"IDRiD_021", "IDRiD_391", "IDRiD_028", "IDRiD_327", "IDRiD_045", "IDRiD_333"}
    assert set(dataset.skipped) == {f"{name}.jpg" for name in listed}
    for number, row in enumerate(rows, start=2):
        if row[0] not in listed:
            grade, risk = dataset.describe(f"{row[0]}.jpg").about("disease")
            assert (grade.value, risk.value) == (int(row[1]), int(row[2])) and grade.source.row == number


def test_idrid_s_twins_with_other_grades_are_left_out(grading: BaseDescription) -> None:
    twins = ("train/IDRiD_021.jpg", "train/IDRiD_391.jpg", "train/IDRiD_118.jpg", "test/IDRiD_064.jpg")
    for image in twins:
        assert "same picture with different labels" in grading.skipped[image]
    assert grading.images == ["train/IDRiD_001.jpg", "train/IDRiD_102.jpg", "test/IDRiD_001.jpg"]


def test_one_number_is_two_patients_in_idrid_s_splits(grading: BaseDescription) -> None:
    train, test = told(grading, "train/IDRiD_001.jpg"), told(grading, "test/IDRiD_001.jpg")
    assert (train["grade"], train["macular_oedema_risk"]) == (3, 2)
    assert (test["grade"], test["macular_oedema_risk"]) == (4, 0)


@pytest.mark.parametrize("path", sorted(MASKS.rglob("*.tif")) or [None], ids=lambda path: path.stem if path else "none")
def test_idrid_s_masks_mark_what_their_red_channel_marks(path: Path) -> None:
    with Image.open(path) as image:
        assert image.mode == ("RGBA" if path.stem == "IDRiD_81_EX" else "P") and image.size == (4288, 2848)
        red = np.asarray(image.convert("RGB"))[..., 0] > 0
    found = boxes.read(boxes.MaskFile(path))
    assert sum(lesion.pixels for lesion in found.lesions) == red.sum() > 0
    assert found.area < 0.06, "an opaque alpha would mark the whole picture"
    ys, xs = np.nonzero(red)
    edges = np.array([lesion.box for lesion in found.lesions])
    assert edges[:, 0].min() == pytest.approx(xs.min() / 4288, abs=1e-4) and edges[:, 0].min() <= xs.min() / 4288
    assert edges[:, 3].max() == pytest.approx((ys.max() + 1) / 2848, abs=1e-4)


def test_a_missing_real_mask_is_no_lesion(segmentation: BaseDescription) -> None:
    assert told(segmentation, "IDRiD_43.jpg")["HE"] == 0
    assert told(segmentation, "IDRiD_81.jpg")["EX_area"] == pytest.approx(2.56, abs=0.01)
    assert "IDRiD_01.jpg" in segmentation.images and "SE" in told(segmentation, "IDRiD_03.jpg")


def test_rfmid_s_training_labels_hold_the_published_counts() -> None:
    found = table.read(RFMID)
    positive = {name: Counter(found.column(name))["1"] for name in found.header[1:]}
    assert len(found) == 1920 and len(positive) == 46 and positive["Disease_Risk"] == 1519
    assert (
        positive | {"DR": 376, "ARMD": 100, "MH": 317, "DN": 138, "MYA": 101, "BRVO": 73, "TSLN": 186, "ODC": 282} == positive
    )
    assert positive["ODPM"] == positive["HR"] == 0


def test_every_real_row_of_rfmid_becomes_its_conditions(tmp_path: Path) -> None:
    place = tmp_path / "Training_Set"
    (place / "Training").mkdir(parents=True)
    shutil.copy(RFMID, place)
    with RFMID.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        (place / "Training" / f"{row['ID']}.png").write_bytes(f"stands for picture {row['ID']}".encode())
    dataset = load_dataset("RFMiD", tmp_path, split="train")
    assert len(dataset.images) == 1920 and dataset.skipped == {}
    for row in rows:
        codes = [code for code in list(row)[2:] if row[code] == "1"]
        facts = dataset.describe(f"{row['ID']}.png").about("disease")
        assert [fact.name for fact in facts] == (codes or ["normal"])


def test_automorph_s_header_is_what_the_measurements_are_named_by() -> None:
    header = (DATA / "automorph" / "Macular_Features.header.csv").read_text(encoding="utf-8").strip().split(",")
    names = [feature.column for feature in measurements.features()]
    assert header[0] == "Name" and names == [*header[1:], "Average Branch Angle"] and len(header) == 73


def test_automorph_s_published_quality_table_is_read_by_its_rule(tmp_path: Path) -> None:
    (tmp_path / "M1").mkdir()
    shutil.copy(DATA / "automorph" / "results_ensemble.csv", tmp_path / "M1")
    with (tmp_path / "M1" / "results_ensemble.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = automorph.AutoMorph(tmp_path)
    for row in rows:
        key = row["Name"].rsplit("/", 1)[-1].rsplit(".", 1)[0].casefold()
        rejected = row["Prediction"] == "2" or (row["Prediction"] == "1" and float(row["softmax_bad"]) >= 0.25)
        assert found.qualities[key].value == (2 if rejected else int(row["Prediction"]))
