"""Every published layout with its quirks, laid out by hand: what is told of an image, what is not, and why not."""

import csv
import itertools
import json
import math
import random
import re
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import openpyxl
import pytest
import xlrd
import xlwt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from retinal_lib import AlignDesc, APTOSDesc, ODIRDDesc, UserError, load_dataset
from retinal_lib.dataset import fact_kinds, label_kinds, measurements, page
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.dataset.lesions import boxes
from retinal_lib.dataset.lesions import wording as telling
from retinal_lib.explore import mask_summary
from retinal_lib.facts import Case
from retinal_lib.teacher import prompt

_shade = itertools.count()


def picture(path: Path, size: tuple[int, int] = (8, 6)) -> Path:
    """A picture of its own: byte-identical files count as one image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n = next(_shade)
    Image.frombytes("RGB", size, random.Random(n).randbytes(size[0] * size[1] * 3)).save(path)
    return path


def pictures(folder: Path, *names: str) -> None:
    for name in names:
        picture(folder / name)


def rows(path: Path, *lines: str, encoding: str = "utf-8", end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode(encoding))
    return path


def sheet(path: Path, *lines: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".xls":
        book = xlwt.Workbook()
        found = book.add_sheet("Feuil1")
        for r, line in enumerate(lines):
            for c, cell in enumerate(line):
                found.write(r, c, cell)
    else:
        book = openpyxl.Workbook()
        for line in lines:
            book.active.append(line)
    book.save(str(path))
    return path


def mask(path: Path, box: tuple[int, int, int, int] | None, mode: str = "palette", size: tuple[int, int] = (8, 6)) -> Path:
    """A mask with one lesion [left, top, right, bottom[ in pixels, or none; written as the datasets write theirs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = Image.new("L", size)
    if box:
        grey.paste(255, box)
    if mode == "palette":
        found = grey.point(lambda value: value // 255).convert("L")
        found.putpalette([0, 0, 0, 255, 0, 0] + [0] * 762)
    elif mode == "RGBA":
        zero = Image.new("L", size)
        found = Image.merge("RGBA", (grey, zero, zero, Image.new("L", size, 255)))
    else:
        found = grey
    found.save(path)
    return path


def told(dataset: BaseDescription, image: str) -> dict[str, object]:
    return {fact.name: fact.value for fact in dataset.describe(image).facts}


def said(dataset: BaseDescription, image: str) -> str:
    assert dataset.describe(image).description == dataset.get_description(image)
    return dataset.get_description(image)


def reason(dataset: BaseDescription, image: str) -> str:
    with pytest.raises(UserError, match="is not used"):
        dataset.describe(image)
    return dataset.skipped[image]


# --- names of datasets ---


@pytest.mark.parametrize("name", ["odir", "ODIR", "Odir"])
def test_a_dataset_is_found_by_its_name_in_any_case(drawn: dict[str, Path], name: str) -> None:
    dataset = load_dataset(name, drawn["ODIR"])
    assert isinstance(dataset, ODIRDDesc) and dataset.page.name == "ODIR"


def test_an_unknown_dataset_lists_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown dataset 'IDRID-seg'; known: APTOS, .*did you mean 'IDRiD_seg'"):
        load_dataset("IDRID-seg", ".")


def test_an_unknown_split_lists_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown split of IDRiD 'trian'; known: train, test \(did you mean 'train'"):
        load_dataset("IDRiD", tmp_path, split="trian")


def test_a_folder_that_is_not_there_or_holds_no_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data_root .*nowhere is not a folder"):
        load_dataset("APTOS", tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no image of APTOS.*looked for folders 'train_images'.*there are no image files"):
        load_dataset("APTOS", tmp_path)
    pictures(tmp_path / "photos", "a.png")
    with pytest.raises(UserError, match=r"image folders there: photos"):
        load_dataset("APTOS", tmp_path)


def test_a_table_without_its_folder_and_a_folder_without_its_table_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "train_images", "000c1434d8d7.png")
    with pytest.raises(UserError, match=r"no label table of APTOS under .*looked for 'train.csv'"):
        load_dataset("APTOS", tmp_path)
    rows(tmp_path / "train.csv", "id_code,level", "000c1434d8d7,2")
    with pytest.raises(UserError, match=r"train.csv: no column 'diagnosis'; the columns are 'id_code', 'level'"):
        load_dataset("APTOS", tmp_path)
    other = tmp_path / "other"
    rows(other / "train.csv", "id_code,diagnosis", "000c1434d8d7,2")
    with pytest.raises(UserError, match="no image of APTOS"):
        load_dataset("APTOS", other)


# --- APTOS ---


@pytest.fixture
def aptos(tmp_path: Path) -> BaseDescription:
    pictures(tmp_path / "train_images", "000c1434d8d7.png", "001639a390f0.png", "0024cdab0c1e.png", "00a8624548a9.png")
    pictures(tmp_path / "test_images", "0005cfc8afb6.png")
    train = ("000c1434d8d7,2", "001639a390f0,9", "0024cdab0c1e,", "ffffffffffff,1")
    rows(tmp_path / "train.csv", "id_code,diagnosis", *train)
    rows(tmp_path / "test.csv", "id_code", "0005cfc8afb6")
    rows(tmp_path / "sample_submission.csv", "id_code,diagnosis", "0005cfc8afb6,0", "00a8624548a9,0")
    return load_dataset("aptos", tmp_path)


def test_a_grade_is_told_with_its_scale_and_its_cell(aptos: BaseDescription) -> None:
    case = aptos.describe("000c1434d8d7.png")
    (grade,) = case.about("disease")
    assert (grade.value, grade.unit) == (2, "ICDR") and str(grade.source) == "train.csv, row 2, column 'diagnosis'"
    assert "2 on the International Clinical Diabetic Retinopathy scale (0 to 4), meaning moderate" in said(
        aptos, "000c1434d8d7.png"
    )


def test_a_test_image_without_a_label_gets_no_grade(aptos: BaseDescription) -> None:
    case = aptos.describe("0005cfc8afb6.png")
    assert case.about("disease") == () and case.split == "test"
    assert any("grade" in why and "not known" in why for why in case.missing)
    assert "sample_submission" not in " ".join(aptos.inputs)


def test_an_empty_grade_is_not_grade_0(aptos: BaseDescription) -> None:
    case = aptos.describe("0024cdab0c1e.png")
    assert case.about("disease") == () and "row 4" in case.missing[0]


def test_an_impossible_grade_and_an_image_without_a_row_are_skipped_with_the_reason(aptos: BaseDescription) -> None:
    assert re.search(r"row 3, column 'diagnosis': found '9'; expected one of 0, 1, 2, 3, 4", reason(aptos, "001639a390f0.png"))
    assert "no row for it in train.csv" in reason(aptos, "00a8624548a9.png")


def test_a_row_without_an_image_is_listed(aptos: BaseDescription) -> None:
    (lost,) = aptos.rows_without_image
    assert "train.csv, row 5" in lost and "ffffffffffff" in lost and any(lost in note for note in aptos.notes)


def test_the_re_split_copy_of_aptos_is_read_with_its_labelled_test(tmp_path: Path) -> None:
    for n, folder in enumerate(("train_images", "val_images", "test_images")):
        pictures(tmp_path / folder / folder, f"{n}" * 12 + ".png")
    for n, name in enumerate(("train_1.csv", "valid.csv", "test.csv")):
        rows(tmp_path / name, "id_code,diagnosis", f"{n}" * 12 + f",{n + 1}")
    dataset = load_dataset("APTOS", tmp_path)
    assert [told(dataset, f"{n}" * 12 + ".png")["grade"] for n in range(3)] == [1, 2, 3]


def test_equal_doubled_rows_count_once_and_different_ones_not_at_all(tmp_path: Path) -> None:
    pictures(tmp_path / "train_images", "0" * 12 + ".png", "1" * 12 + ".png")
    rows(
        tmp_path / "train.csv",
        "id_code,diagnosis",
        "0" * 12 + ",3",
        "1" * 12 + ",3",
        "0" * 12 + ",3",
        "1" * 12 + ",4",
    )
    dataset = load_dataset("APTOS", tmp_path)
    assert told(dataset, "0" * 12 + ".png")["grade"] == 3
    assert re.search(r"rows disagree: .*row 3.*row 5", reason(dataset, "1" * 12 + ".png"))


def test_byte_identical_pictures_with_different_grades_are_left_out_but_an_unlabelled_copy_is_no_other_grade(
    tmp_path: Path,
) -> None:
    pictures(tmp_path / "train_images", "0" * 12 + ".png", "2" * 12 + ".png")
    for source, copies in (("0", ("train_images/" + "1" * 12,)), ("2", ("test_images/" + "3" * 12,))):
        for copy in copies:
            (tmp_path / f"{copy}.png").parent.mkdir(exist_ok=True)
            (tmp_path / f"{copy}.png").write_bytes((tmp_path / "train_images" / (source * 12 + ".png")).read_bytes())
    rows(tmp_path / "train.csv", "id_code,diagnosis", "0" * 12 + ",0", "1" * 12 + ",2", "2" * 12 + ",2")
    rows(tmp_path / "test.csv", "id_code", "3" * 12)
    dataset = load_dataset("APTOS", tmp_path)
    assert "same picture with different labels" in reason(dataset, "0" * 12 + ".png")
    assert "same picture with different labels" in reason(dataset, "1" * 12 + ".png")
    assert told(dataset, "2" * 12 + ".png")["grade"] == 2 and dataset.describe("3" * 12 + ".png").about("disease") == ()


# --- EyeQ ---


@pytest.fixture
def eyeq(tmp_path: Path) -> BaseDescription:
    names = ("10_left.jpeg", "10_right.jpeg", "11_left.png", "492_right.jpeg")
    pictures(tmp_path / "train", *names, "16_left_mirror.jpeg")
    quality = {"10_left.jpeg": "0,3", "10_right.jpeg": "2,2", "11_left.jpeg": "1,0", "492_right.jpeg": "0,0"}
    lines = [f"{n},{name},{values}" for n, (name, values) in enumerate(quality.items())]
    rows(tmp_path / "Label_EyeQ_train.csv", ",image,quality,DR_grade", *lines)
    return load_dataset("EyeQ", tmp_path)


def test_eyeq_is_read_by_column_name_past_its_unnamed_index(eyeq: BaseDescription) -> None:
    case = eyeq.describe("10_left.jpeg")
    assert told(eyeq, "10_left.jpeg") | {"quality": 0, "grade": 3, "eye": "left"} == told(eyeq, "10_left.jpeg")
    assert (case.patient, case.eye) == ("10", "left")
    assert told(eyeq, "11_left.png")["quality"] == 1, "preprocessed copies are .png, the table says .jpeg"


def test_nothing_is_told_of_the_retina_in_a_rejected_image(eyeq: BaseDescription) -> None:
    case = eyeq.describe("10_right.jpeg")
    assert case.about("disease") == () and "reject" in case.description
    assert "withheld" in case.missing[-1] and "row 3" in case.missing[-1]


def test_unreadable_and_foreign_files_of_eyepacs_are_left_out(eyeq: BaseDescription) -> None:
    assert "cannot be decoded" in reason(eyeq, "492_right.jpeg")
    assert any("16_left_mirror" in note and "is not named like images of EyeQ" in note for note in eyeq.notes)


# --- IDRiD ---

B = "B. Disease Grading/1. Original Images"
HEADER = "Image name,Retinopathy grade,Risk of macular edema "


def idrid(root: Path) -> Path:
    pictures(root / B / "a. Training Set", "IDRiD_001.jpg", "IDRiD_021.jpg", "IDRiD_391.jpg", "IDRiD_03.jpg")
    pictures(root / B / "b. Testing Set", "IDRiD_001.jpg")
    place = root / "B. Disease Grading" / "2. Groundtruths"
    train = ("IDRiD_001,3,2,,,,,,, ,,", "IDRiD_021,1,0,,,,,,,,,", "IDRiD_391,2,0,,,,,,,,,")
    rows(place / "a. IDRiD_Disease Grading_Training Labels.csv", HEADER + ",,,,,,,,,", *train, end="\r\n")
    rows(place / "b. IDRiD_Disease Grading_Testing Labels.csv", HEADER, "IDRiD_001,0,1", end="\r\n")
    return root


def test_idrid_s_numbering_restarts_in_each_split(tmp_path: Path) -> None:
    dataset = load_dataset("IDRiD", idrid(tmp_path))
    assert dataset.images == ["train/IDRiD_001.jpg", "test/IDRiD_001.jpg"]
    assert (told(dataset, "train/IDRiD_001.jpg")["grade"], told(dataset, "test/IDRiD_001.jpg")["grade"]) == (3, 0)
    ids = {dataset.describe(image).id for image in dataset.images}
    assert ids == {"IDRiD-train-IDRiD_001", "IDRiD-test-IDRiD_001"}
    with pytest.raises(UserError, match=r"has 2 images 'IDRiD_001.jpg'; say which: train/IDRiD_001.jpg, test/IDRiD_001.jpg"):
        dataset.describe("IDRiD_001.jpg")


def test_one_split_of_idrid_is_named_without_prefix_but_exported_with_it(tmp_path: Path) -> None:
    dataset = load_dataset("IDRiD", idrid(tmp_path), split="test")
    case = dataset.describe("IDRiD_001.jpg")
    assert dataset.images == ["IDRiD_001.jpg"] and (case.id, case.image) == (
        "IDRiD-test-IDRiD_001",
        "test/IDRiD_001.jpg",
    )
    assert dataset.rows_without_image == []


def test_a_two_digit_name_is_no_image_of_the_grading_set(tmp_path: Path) -> None:
    dataset = load_dataset("IDRiD", idrid(tmp_path))
    assert any("IDRiD_03.jpg" in note for note in dataset.notes)
    assert not any("IDRiD_03" in image for image in (*dataset.images, *dataset.skipped))


def test_the_risk_of_macular_oedema_speaks_of_exudates_alone(tmp_path: Path) -> None:
    dataset = load_dataset("IDRiD", idrid(tmp_path))
    text = said(dataset, "train/IDRiD_001.jpg")
    assert "there are hard exudates within one disc diameter of the centre of the macula" in text
    for scale in ("exudate distance", "Messidor exudate distance"):
        for words in (*scales()[scale]["levels"].values(), text):
            assert "exudate" in words and not re.search("fluid|thicken|fovea", words)


def test_idrid_s_listed_duplicates_with_different_grades_are_left_out(tmp_path: Path) -> None:
    dataset = load_dataset("IDRiD", idrid(tmp_path))
    assert "same picture with different labels" in reason(dataset, "train/IDRiD_021.jpg")
    assert "same picture with different labels" in reason(dataset, "train/IDRiD_391.jpg")


@pytest.mark.parametrize("above", ["B.%20Disease%20Grading", "B. Disease Grading", "download/unzipped", "."])
def test_folders_that_an_unzip_tool_doubled_or_escaped_are_found(tmp_path: Path, above: str) -> None:
    idrid(tmp_path / above)
    assert load_dataset("IDRiD", tmp_path).images == ["train/IDRiD_001.jpg", "test/IDRiD_001.jpg"]


@pytest.mark.parametrize("leaf", ["a. Training Set/a. Training Set", "a.%20Training%20Set", "A. TRAINING SET"])
def test_the_innermost_folder_may_be_doubled_escaped_or_in_capitals(tmp_path: Path, leaf: str) -> None:
    idrid(tmp_path)
    pictures(tmp_path / B / leaf, "IDRiD_001.jpg")
    (tmp_path / B / "a. Training Set" / "IDRiD_001.jpg").unlink()
    for name in ("IDRiD_021.jpg", "IDRiD_391.jpg", "IDRiD_03.jpg"):
        (tmp_path / B / "a. Training Set" / name).unlink()
    assert load_dataset("IDRiD", tmp_path).images == ["train/IDRiD_001.jpg", "test/IDRiD_001.jpg"]


def test_hidden_files_and_mac_copies_are_no_images(tmp_path: Path) -> None:
    idrid(tmp_path)
    pictures(tmp_path / "__MACOSX" / B / "a. Training Set", "IDRiD_002.jpg")
    pictures(tmp_path / B / "a. Training Set", "._IDRiD_005.png")
    assert len(load_dataset("IDRiD", tmp_path).images) == 2


# --- IDRiD segmentation ---

A = "A.%20Segmentation/A. Segmentation"
KINDS = {"MA": "1. Microaneurysms", "HE": "2. Haemorrhages", "EX": "3. Hard Exudates", "SE": "4. Soft Exudates"}


def segmentation(root: Path) -> Path:
    train = root / A / "2. All Segmentation Groundtruths" / "a. Training Set"
    test = root / A / "2. All Segmentation Groundtruths" / "b. Testing Set"
    pictures(
        root / A / "1. Original Images" / "a. Training Set",
        "IDRiD_01.jpg",
        "IDRiD_43.jpg",
        "IDRiD_44.jpg",
        "IDRiD_001.jpg",
    )
    pictures(root / A / "1. Original Images" / "b. Testing Set", "IDRiD_81.jpg")
    for kind in ("MA", "HE"):
        mask(train / KINDS[kind] / f"IDRiD_01_{kind}.tif", (2, 1, 4, 3))
    mask(train / KINDS["MA"] / "IDRiD_43_MA.tif", None)
    mask(train / "5. Optic Disc" / "IDRiD_01_OD.tif", (6, 3, 8, 6))
    mask(test / KINDS["EX"] / "IDRiD_81_EX.tif", (0, 0, 2, 3), "RGBA")
    return root


def test_a_palette_mask_of_0_and_1_gives_its_lesion(tmp_path: Path) -> None:
    dataset = load_dataset("IDRiD_seg", segmentation(tmp_path))
    found = told(dataset, "IDRiD_01.jpg")
    assert found["MA"] == 1 and found["MA_area"] == pytest.approx(100 * 4 / 48)
    assert found["MA_box"] == (0.25, 0.1666, 0.5, 0.5), "rounded outwards"
    assert found["OD_box"] == (0.75, 0.5, 1.0, 1.0)
    assert "1 microaneurysm is marked; the microaneurysm covers 8.33 % of the image" in said(dataset, "IDRiD_01.jpg")


def test_a_missing_mask_means_no_lesion_but_a_missing_folder_means_unknown(tmp_path: Path) -> None:
    dataset = load_dataset("IDRiD_seg", segmentation(tmp_path))
    found = told(dataset, "IDRiD_43.jpg")
    assert found["HE"] == 0 and "no haemorrhages are marked" in said(dataset, "IDRiD_43.jpg")
    assert found["MA"] == 0, "an empty mask is none as well"
    assert "SE" not in found and "EX" not in found, "the training folders of these were not downloaded"


def test_an_opaque_alpha_is_no_lesion(tmp_path: Path) -> None:
    found = told(load_dataset("IDRiD_seg", segmentation(tmp_path)), "IDRiD_81.jpg")
    assert found["EX"] == 1 and found["EX_box"] == (0.0, 0.0, 0.25, 0.5)


def test_an_image_without_any_mask_and_a_three_digit_name_are_left_out(tmp_path: Path) -> None:
    dataset = load_dataset("IDRiD_seg", segmentation(tmp_path))
    assert reason(dataset, "IDRiD_44.jpg") == "no mask for it"
    assert "IDRiD_001.jpg" not in (*dataset.images, *dataset.skipped)


def test_a_mask_of_another_shape_or_that_cannot_be_read_is_not_told_and_said_to_be_missing(tmp_path: Path) -> None:
    root = segmentation(tmp_path)
    train = root / A / "2. All Segmentation Groundtruths" / "a. Training Set"
    mask(train / KINDS["MA"] / "IDRiD_01_MA.tif", (0, 0, 3, 3), size=(6, 6))
    (train / KINDS["HE"] / "IDRiD_01_HE.tif").write_bytes(b"no picture")
    case = load_dataset("IDRiD_seg", root).describe("IDRiD_01.jpg")
    assert not {"MA", "HE"} & {fact.name for fact in case.facts}
    assert any("they must have the same shape" in why for why in case.missing) and any(
        "cannot be read" in why for why in case.missing
    )


PART_C = "C. Localization/2. Groundtruths"
CENTRES = {
    "fovea": f"{PART_C}/2. Fovea Center Location/IDRiD_Fovea_Center_Training Set_Markups.csv",
    "disc": f"{PART_C}/1. Optic Disc Center Location/a. IDRiD_OD_Center_Training Set_Markups.csv",
}


def with_part_c(sample: Path, of: str, **centres: tuple[object, object]) -> BaseDescription:
    """A copy of IDRiD_seg's sample with part C, whose tables have one row: the picture `of` part B."""
    for landmark, (x, y) in centres.items():
        rows(sample / CENTRES[landmark], "Image No,X- Coordinate,Y - Coordinate,,", f"{of},{x},{y},,", ",,,,")
    return load_dataset("IDRiD_seg", sample)


@pytest.fixture
def part_a(tmp_path: Path, drawn: dict[str, Path]) -> tuple[Path, tuple[float, float], float]:
    """IDRiD_seg's sample, and the centre and diameter of IDRiD_01's disc, in pixels of a published picture."""
    sample = Path(shutil.copytree(drawn["IDRiD_seg"], tmp_path / "IDRiD"))
    disc = boxes.landmark(boxes.load(boxes.MaskFile(next(sample.rglob("IDRiD_01_OD.tif")))))
    scale = 4288 / boxes.load(boxes.MaskFile(next(sample.rglob("IDRiD_01_OD.tif")))).size[0]
    return sample, (disc.centre[0] * scale, disc.centre[1] * scale), disc.diameter * scale


def test_part_c_gives_the_fovea_of_the_same_picture_in_part_a(part_a: tuple[Path, tuple[float, float], float]) -> None:
    sample, (x, y), diameter = part_a
    before = load_dataset("IDRiD_seg", sample).describe("IDRiD_01.jpg")
    assert "fovea" not in before.description and not any("macula" in fact.place for fact in before.facts)
    dataset = with_part_c(sample, "IDRiD_102", fovea=(round(x - 2.5 * diameter), round(y)), disc=(round(x), round(y)))
    assert {Path(path).name for path in dataset.inputs} >= {Path(path).name for path in CENTRES.values()}
    case = dataset.describe("IDRiD_01.jpg")
    told = {fact.name: fact for fact in case.facts if fact.unit == "disc diameters"}
    assert "MA_fovea" in told and "MA_disc" not in told and "quadrant around the fovea" in case.description
    exudates = [fact for fact in case.facts if fact.name == "EX_box"]
    assert any("near the macula" in fact.place for fact in exudates) == (told["EX_fovea"].value <= 1)
    assert any("periphery" in fact.place for fact in case.facts)
    image = dataset.image("IDRiD_01.jpg")
    task = mask_summary.MaskTask("IDRiD_01.jpg", image.path, image.masks, image.eye, image.crop)
    shown = mask_summary.summarise(task, dataset.page, 10).entry["landmarks"]["fovea"]
    assert shown == {"centre": pytest.approx([(x - 2.5 * diameter) / 4288, y / 2848], abs=2e-4)}
    for name in set(dataset.images) - {"IDRiD_01.jpg"}:
        assert "fovea" not in dataset.describe(name).description, "no other picture has a centre"


def test_the_fovea_follows_automorph_s_crop(part_a: tuple[Path, tuple[float, float], float]) -> None:
    sample, (x, y), diameter = part_a
    centres = {"fovea": (round(x - 2.5 * diameter), round(y)), "disc": (round(x), round(y))}
    whole = with_part_c(sample, "IDRiD_102", **centres).describe("IDRiD_01.jpg")
    rows(sample / "Results" / "M0" / "crop_info.csv", "Name,centre_w,centre_h,radius", "IDRiD_01.jpg,255,384,300")
    Image.new("RGB", (600, 600), (9, 9, 9)).save(next(sample.rglob("IDRiD_01.jpg")))
    crop = load_dataset("IDRiD_seg", sample).describe("IDRiD_01.jpg")
    distances = [{f.name: f.value for f in case.facts if f.name.endswith("_fovea")} for case in (whole, crop)]
    assert distances[0] == pytest.approx(distances[1], abs=0.02) and len(distances[0]) == 3


@pytest.mark.parametrize("of", ["IDRiD_001", "IDRiD_366"])
def test_part_c_of_another_picture_gives_no_fovea(part_a: tuple[Path, tuple[float, float], float], of: str) -> None:
    sample, (x, y), diameter = part_a
    dataset = with_part_c(sample, of, fovea=(round(x - 2.5 * diameter), round(y)), disc=(round(x), round(y)))
    assert "fovea" not in dataset.describe("IDRiD_01.jpg").description


def test_a_fovea_whose_disc_lies_elsewhere_is_not_used(part_a: tuple[Path, tuple[float, float], float]) -> None:
    sample, (x, y), diameter = part_a
    case = with_part_c(sample, "IDRiD_102", fovea=(round(x), round(y)), disc=(round(x - diameter), round(y))).describe(
        "IDRiD_01.jpg"
    )
    assert "fovea" not in case.description
    assert any("the fovea's centre is not used" in why and "row 2" in why for why in case.missing)


@pytest.mark.parametrize("cells", [(5000, 10), (10, 2849), ("", 10), ("-1", 10), ("left", 10)])
def test_a_centre_outside_the_picture_is_noted(part_a: tuple[Path, tuple[float, float], float], cells: tuple) -> None:
    dataset = with_part_c(part_a[0], "IDRiD_102", fovea=cells)
    assert any("row 2" in note and "no place in a picture of 4288 x 2848 pixels" in note for note in dataset.notes)
    assert "fovea" not in dataset.describe("IDRiD_01.jpg").description


def test_only_the_largest_ten_boxes_are_told_of_many_lesions(tmp_path: Path) -> None:
    root = segmentation(tmp_path)
    path = root / A / "2. All Segmentation Groundtruths" / "a. Training Set" / KINDS["MA"] / "IDRiD_01_MA.tif"
    grey = Image.new("L", (80, 60))
    for n in range(12):
        grey.paste(255, (n * 6, 0, n * 6 + 1, n + 1))
    grey.save(path)
    case = load_dataset("IDRiD_seg", root).describe("IDRiD_01.jpg")
    lying = [fact.value for fact in case.facts if fact.name == "MA_box"]
    assert told(load_dataset("IDRiD_seg", root), "IDRiD_01.jpg")["MA"] == 12
    assert [round((y1 - y0) * 60) for _, y0, _, y1 in lying] == [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]
    assert "the 10 largest of the microaneurysms lie in the boxes [" in case.description


@given(arrays.arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24))))
def test_boxes_hold_every_lesion_whole_and_come_largest_first(marked: np.ndarray) -> None:
    height, width = marked.shape
    found = boxes.find(marked)
    assert sum(lesion.pixels for lesion in found.lesions) == marked.sum() == round(found.area * width * height)
    assert [lesion.pixels for lesion in found.lesions] == sorted((e.pixels for e in found.lesions), reverse=True)
    for y, x in np.argwhere(marked):
        assert any(
            x0 <= x / width and (x + 1) / width <= x1 and y0 <= y / height and (y + 1) / height <= y1
            for x0, y0, x1, y1 in (lesion.box for lesion in found.lesions)
        )
    for lesion in found.lesions:
        assert all(0 <= edge <= 1 and edge == round(edge, 4) for edge in lesion.box)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.123456, "12.3 %"),
        (0.0123456, "1.23 %"),
        (0.00251, "0.251 %"),
        (0.000506, "0.0506 %"),
        (1 / 12212224, "0.0000082 %"),
    ],
)
def test_the_smallest_lesion_covers_more_than_nothing(share: float, text: str) -> None:
    assert telling.percent(share) == text


# --- MMAC ---


def test_a_mask_that_bears_its_image_s_name_is_found_by_its_folder(tmp_path: Path) -> None:
    root = tmp_path / "2. Segmentation of Myopic Maculopathy Plus Lesions"
    for code, folder in (("LC", "1. Lacquer Cracks"), ("FS", "3. Fuchs Spot")):
        name = f"mmac_task_2_train_{code}_0001.png"
        picture(root / folder / "1. Images" / "1. Training Set" / name)
        mask(root / folder / "2. Groundtruths" / "1. Training Set" / name, (0, 0, 4, 3), "L")
    dataset = load_dataset("MICCAI_task2", tmp_path)
    assert told(dataset, "mmac_task_2_train_LC_0001.png")["LC"] == 1
    assert "1 Fuchs spot is marked" in said(dataset, "mmac_task_2_train_FS_0001.png")
    assert "FS" not in told(dataset, "mmac_task_2_train_LC_0001.png"), "nothing is known of other lesions"


@pytest.mark.parametrize(
    "place",
    ["1. Classification of Myopic Maculopathy/1. Images/1. Training Set", "1.Classification/1.Images/1.Training"],
)
def test_mmac_task_1_is_found_in_the_published_and_in_the_short_layout(tmp_path: Path, place: str) -> None:
    pictures(tmp_path / place, "mmac_task_1_train_0001.png", "mmac_task_1_train_0002.png")
    table = (
        (tmp_path / place).parents[1] / "2. Groundtruths" / "1. MMAC2023_Myopic_Maculopathy_Classification_Training_Labels.csv"
    )
    header = "image,myopic_maculopathy_grade,age,sex,height,weight,data_center"
    rows(
        table,
        header,
        "mmac_task_1_train_0001.png,0,34,female,160,50,1",
        "mmac_task_1_train_0002.png,4,x,Male,170,60,1",
    )
    dataset = load_dataset("miccai_TASK1", tmp_path)
    assert told(dataset, "mmac_task_1_train_0001.png") | {"grade": 0, "age": 34, "sex": "female"} == told(
        dataset, "mmac_task_1_train_0001.png"
    )
    assert "meaning no myopic macular lesion" in said(dataset, "mmac_task_1_train_0001.png")
    case = dataset.describe("mmac_task_1_train_0002.png")
    assert "age" not in told(dataset, "mmac_task_1_train_0002.png") and any("'x'" in why for why in case.missing)


# --- tables and folders that do not meet ---


def test_a_table_whose_pictures_were_not_downloaded_is_noted(tmp_path: Path) -> None:
    idrid(tmp_path)
    for path in (tmp_path / B / "a. Training Set").iterdir():
        path.unlink()
    dataset = load_dataset("IDRiD", tmp_path)
    assert dataset.images == ["IDRiD_001.jpg"] and told(dataset, "IDRiD_001.jpg")["grade"] == 0
    assert "no images of split train under the data root" in dataset.notes
    assert len(dataset.rows_without_image) == 3
    with pytest.raises(UserError, match=r"no image of IDRiD, split train"):
        load_dataset("IDRiD", tmp_path, split="train")


def test_a_table_of_another_name_is_taken_where_it_is_named(tmp_path: Path) -> None:
    pictures(tmp_path / "train_images", "0" * 12 + ".png")
    rows(tmp_path / "labels" / "mine.csv", "id_code,diagnosis", "0" * 12 + ",3")
    dataset = APTOSDesc(tmp_path, tables={"train": "labels/mine.csv"})
    assert told(dataset, "0" * 12 + ".png")["grade"] == 3
    with pytest.raises(UserError, match=r"unknown split of APTOS in tables 'training'.*did you mean 'train'"):
        APTOSDesc(tmp_path, tables={"training": "labels/mine.csv"})
    with pytest.raises(UserError, match=r"mine2.csv: no such table"):
        APTOSDesc(tmp_path, tables={"train": "labels/mine2.csv"})


def test_two_different_tables_for_one_split_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "train_images", "0" * 12 + ".png")
    for n, place in enumerate(("a", "b")):
        rows(tmp_path / place / "train.csv", "id_code,diagnosis", "0" * 12 + f",{n}")
    with pytest.raises(
        UserError, match=r"two different label tables for split train: .*a/train.csv and .*b/train.csv; .*APTOS"
    ):
        load_dataset("APTOS", tmp_path)
    rows(tmp_path / "b" / "train.csv", "id_code,diagnosis", "0" * 12 + ",0")
    assert told(load_dataset("APTOS", tmp_path), "0" * 12 + ".png")["grade"] == 0


# --- Messidor ---

MESSIDOR = ["Image name", "Ophthalmologic department", "Retinopathy grade", "Risk of macular edema "]


def messidor(root: Path, **tables: list) -> BaseDescription:
    for name in ("20051020_63045_0100_PP", "20051020_64007_0100_PP", "20051020_44400_0100_PP"):
        picture(root / "Base11" / f"{name}.tif")
    for name, lines in tables.items():
        sheet(root / "Base11" / f"{name.replace('__', ' ')}.xls", MESSIDOR, *lines)
    return load_dataset("Messidor", root)


def line(name: str, grade: int, risk: int = 0) -> list:
    return [f"{name}_0100_PP.tif", "Service Ophtalmologie Lariboisière", grade, risk]


def test_the_labels_of_a_copy_of_idrid_that_differ_from_the_official_ones_are_put_right(tmp_path: Path) -> None:
    pictures(tmp_path / "Imagenes" / "Imagenes", *(f"IDRiD_{name}.jpg" for name in ("098", "099", "062", "062test")))
    table = [
        "id_code,diagnosis,Risk of macular edema ,,",
        "IDRiD_098,4,2,,",
        "IDRiD_099,3,2,,",
        "IDRiD_062,2,0,,",
        "IDRiD_062test,2,2,,",
    ]
    rows(tmp_path / "idrid_labels.csv", *table)
    dataset = load_dataset("IDRiD", tmp_path)
    grades = {name: told(dataset, name)["grade"] for name in dataset.images}
    assert grades == {"train/IDRiD_062.jpg": 2, "train/IDRiD_098.jpg": 3, "train/IDRiD_099.jpg": 3, "test/IDRiD_062test.jpg": 4}
    assert dataset.describe("test/IDRiD_062test.jpg").id == "IDRiD-test-IDRiD_062", "it is the picture of the official set"
    assert "idrid_labels.csv: 2 labels corrected by the official tables of IDRiD" in dataset.notes
    assert not dataset.rows_without_image and not dataset.skipped and len(dataset.notes) == 2


def test_messidor_s_stale_grades_are_put_right_by_its_errata(tmp_path: Path) -> None:
    published = [line("20051020_63045", 3), line("20051020_64007", 1), line("20051020_44400", 2, 1)]
    dataset = messidor(tmp_path, Annotation_Base11=published)
    assert told(dataset, "20051020_63045_0100_PP.tif")["grade"] == 0
    assert told(dataset, "20051020_64007_0100_PP.tif")["grade"] == 3
    text = said(dataset, "20051020_44400_0100_PP.tif")
    assert "2 on the Messidor retinopathy scale (0 to 3), meaning 6 to 14 microaneurysms or 1 to 4 haemorrhages" in text


def test_a_newer_edition_of_a_messidor_table_counts_and_is_not_corrected_again(tmp_path: Path) -> None:
    old = [line("20051020_63045", 3), line("20051020_64007", 1), line("20051020_44400", 0)]
    new = [line("20051020_63045", 0), line("20051020_64007", 3), line("20051020_44400", 1)]
    dataset = messidor(tmp_path, Annotation_Base11=old, Annotation_Base11_update20161024=new)
    assert told(dataset, "20051020_44400_0100_PP.tif")["grade"] == 1
    assert told(dataset, "20051020_63045_0100_PP.tif")["grade"] == 0
    assert [Path(name).name for name in dataset.inputs] == ["Annotation_Base11_update20161024.xls"]


def test_two_different_tables_of_one_edition_are_refused(tmp_path: Path) -> None:
    some = [line("20051020_63045", 0), line("20051020_64007", 3), line("20051020_44400", 0)]
    other = [*some[:2], line("20051020_44400", 2)]
    with pytest.raises(UserError, match=r"two different label tables .*Annotation Base11.xls and .*Annotation_Base11.xls"):
        messidor(tmp_path, Annotation_Base11=some, Annotation__Base11=other)


def test_messidor_s_two_tables_are_read_side_by_side_whatever_their_names_separate(tmp_path: Path) -> None:
    picture(tmp_path / "Base12" / "20051116_44816_0100_PP.tif")
    sheet(tmp_path / "Base12" / "Annotation Base12.xls", MESSIDOR, line("20051116_44816", 1))
    dataset = messidor(tmp_path, Annotation_Base11=[line("20051020_44400", 2)])
    assert told(dataset, "20051116_44816_0100_PP.tif")["grade"] == 1
    assert told(dataset, "20051020_44400_0100_PP.tif")["grade"] == 2


def test_messidor_s_listed_twins_with_different_grades_are_left_out(tmp_path: Path) -> None:
    names = ("20051202_55626_0400_PP", "20051205_33025_0400_PP", "20051202_55582_0400_PP", "20051202_54744_0400_PP")
    pictures(tmp_path / "Base33", *(f"{name}.tif" for name in names))
    lines = [[f"{name}.tif", "x", grade, 0] for name, grade in zip(names, (2, 3, 1, 1), strict=True)]
    sheet(tmp_path / "Base33" / "Annotation_Base33.xls", MESSIDOR, *lines)
    dataset = load_dataset("Messidor", tmp_path)
    assert "different labels" in reason(dataset, names[0] + ".tif") and "different labels" in reason(dataset, names[1] + ".tif")
    assert dataset.images == [names[3] + ".tif", names[2] + ".tif"], "twins that agree stay"


# --- Messidor-2 ---


@pytest.fixture
def messidor2(tmp_path: Path) -> BaseDescription:
    pictures(tmp_path / "IMAGES", "IM003718.JPG", "IM003719.JPG", "IM004176.JPG", "20051020_43808_0100_PP.png")
    header = "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable"
    lines = ("IM003718.jpg,2.0,1.0,1", "IM003719.jpg,,,0", "IM004176.jpg,0,0,1", "20051020_43808_0100_PP.png,4,0,1")
    rows(tmp_path / "messidor_data.csv", header, *lines)
    rows(tmp_path / "messidor-2.csv", "left;right", "IM003718.jpg;IM003719.jpg")
    return load_dataset("messidor2", tmp_path)


def test_messidor_2_s_small_letter_names_find_its_capital_ones(messidor2: BaseDescription) -> None:
    assert told(messidor2, "IM003718.JPG") | {"grade": 2, "referable_dme": 1} == told(messidor2, "IM003718.JPG")
    assert told(messidor2, "20051020_43808_0100_PP.png")["grade"] == 4


def test_an_ungradable_image_of_messidor_2_has_no_disease(messidor2: BaseDescription) -> None:
    case = messidor2.describe("IM003719.JPG")
    assert case.about("disease") == () and told(messidor2, "IM003719.JPG")["ungradable"] == 0
    assert "graded the image quality as not gradable" in said(messidor2, "IM003719.JPG")


def test_messidor_2_s_pairs_name_patient_and_eye(messidor2: BaseDescription) -> None:
    left, right, alone = (messidor2.describe(f"IM00{n}.JPG") for n in (3718, 3719, 4176))
    assert (left.eye, right.eye, alone.eye) == ("left", "right", None)
    assert left.patient == right.patient == "im003718" and alone.patient is None


def test_the_re_upload_of_messidor_2_has_other_column_names(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "IM003718.JPG")
    rows(tmp_path / "messidor_data.csv", "id_code,diagnosis,adjudicated_dme,adjudicated_gradable", "IM003718.JPG,3,0,1")
    assert told(load_dataset("Messidor2", tmp_path), "IM003718.JPG")["grade"] == 3


# --- ODIR ---

ODIR = [
    "ID",
    "Patient Age",
    "Patient Sex",
    "Left-Fundus",
    "Right-Fundus",
    "Left-Diagnostic Keywords",
    "Right-Diagnostic Keywords",
]


def odir(root: Path, *people: tuple, upper: bool = False) -> BaseDescription:
    lines = []
    for number, (age, sex, left, right, labels) in enumerate(people):
        for eye in ("left", "right"):
            picture(root / "Training Images" / f"{number}_{eye.capitalize() if upper else eye}.jpg")
        flags = [int(code in labels) for code in "NDGCAHMO"]
        lines.append([number, age, sex, f"{number}_left.jpg", f"{number}_right.jpg", left, right, *flags])
    sheet(root / "data.xlsx", [*ODIR, *"NDGCAHMO"], *lines)
    return load_dataset("ODIR", root)


def test_keywords_are_split_at_full_width_and_ascii_commas(tmp_path: Path) -> None:
    left, right = (
        "moderate non proliferative retinopathy，  hypertensive retinopathy，",
        "drusen, suspected  glaucoma",
    )
    dataset = odir(tmp_path, (58, "Female", left, right, "DHO"))
    assert [f.words for f in dataset.describe("0_left.jpg").about("disease")] == [
        "moderate non-proliferative retinopathy",
        "hypertensive retinopathy",
    ]
    assert [f.value for f in dataset.describe("0_right.jpg").about("disease")] == ["drusen", "suspected glaucoma"]
    assert "，" not in said(dataset, "0_left.jpg")


def test_a_keyword_in_the_singular_counts_nothing(tmp_path: Path) -> None:
    dataset = odir(tmp_path, (58, "Female", "tessellated fundus，laser spot", "white vessel", "O"))
    told = [[f.words for f in dataset.describe(eye).about("disease")] for eye in ("0_left.jpg", "0_right.jpg")]
    assert told == [["tessellated fundus", "laser spots"], ["white vessels"]]


def test_what_is_no_disease_becomes_a_remark_on_quality(tmp_path: Path) -> None:
    dataset = odir(
        tmp_path,
        (58, "Male", "lens dust，normal fundus", "low image quality，optic disk photographically invisible", "N"),
    )
    left, right = dataset.describe("0_left.jpg"), dataset.describe("0_right.jpg")
    assert [f.name for f in left.about("disease")] == ["normal"]
    assert "the annotators noted dust on the camera lens" in left.description
    assert right.about("disease") == () and [f.value for f in right.about("quality")] == [
        "low image quality",
        "optic disk photographically invisible",
    ]
    assert any("names only" in why for why in right.missing)


def test_age_1_is_no_age(tmp_path: Path) -> None:
    dataset = odir(tmp_path, (1, "Male", "normal fundus", "normal fundus", "N"), (2, "Female", "normal fundus", "drusen", "O"))
    case = dataset.describe("0_left.jpg")
    assert "years old" not in case.description and any("'1'" in why for why in case.missing)
    assert "2 years old" in said(dataset, "1_left.jpg")


def test_the_patient_s_labels_are_never_told_as_the_eye_s(tmp_path: Path) -> None:
    dataset = odir(tmp_path, (60, "Male", "normal fundus", "cataract", "C"))
    case = dataset.describe("0_left.jpg")
    assert [f.name for f in case.about("disease")] == ["normal"]
    (label,) = [f for f in case.facts if f.value == 1 and f.scope == "patient"]
    assert (label.aspect, label.name) == ("patient", "C") and "for both eyes together" in label.text
    assert "cataract" not in "".join(f.text for f in case.facts if f.aspect != "patient")


def test_the_eye_is_read_from_a_name_in_any_case(tmp_path: Path) -> None:
    dataset = odir(tmp_path, (60, "Male", "drusen", "cataract", "CO"), upper=True)
    left, right = dataset.describe("0_Left.jpg"), dataset.describe("0_Right.jpg")
    assert (left.eye, right.eye) == ("left", "right") and left.patient == right.patient == "0"
    assert [f.value for f in (*left.about("disease"), *right.about("disease"))] == ["drusen", "cataract"]


def test_an_eye_that_is_both_normal_and_ill_and_a_picture_of_something_else_are_left_out(tmp_path: Path) -> None:
    dataset = odir(tmp_path, (60, "Male", "normal fundus，cataract", "anterior segment image", "C"))
    assert "contradicts itself: 'normal fundus' stands beside cataract" in reason(dataset, "0_left.jpg")
    assert "anterior segment image" in reason(dataset, "0_right.jpg")


def test_an_eye_without_keywords_has_no_diagnosis(tmp_path: Path) -> None:
    dataset = odir(tmp_path, (60, "Male", None, "drusen", "O"))
    case = dataset.describe("0_left.jpg")
    assert case.about("disease") == () and "nan" not in case.description.casefold()
    assert any("Left-Diagnostic Keywords" in why for why in case.missing)


def test_odir_s_test_images_have_no_labels(tmp_path: Path) -> None:
    odir(tmp_path, (60, "Male", "drusen", "drusen", "O"))
    pictures(tmp_path / "Testing Images", "9_left.jpg")
    assert "no label table" in reason(load_dataset("ODIR", tmp_path), "9_left.jpg")


@pytest.mark.parametrize("name", ["training annotation (English).xlsx", "training_annotation_(English).xlsx"])
def test_odir_is_found_in_the_layout_of_oia(tmp_path: Path, name: str) -> None:
    pictures(tmp_path / "Training Set" / "Images", "0_left.jpg", "0_right.jpg")
    people = [0, 60, "Male", "0_left.jpg", "0_right.jpg", "drusen", "glaucoma", 0, 0, 1, 0, 0, 0, 0, 1]
    for title, lines in ((name, [people]), (name.replace("English", "Chinese"), [])):
        sheet(tmp_path / "Training Set" / "Annotation" / title, [*ODIR, *"NDGCAHMO"], *lines)
    assert told(load_dataset("ODIR", tmp_path), "0_right.jpg")["diagnosis"] == "glaucoma"


def test_odir_s_table_of_one_row_an_eye_says_the_same_twice(tmp_path: Path) -> None:
    pictures(tmp_path / "preprocessed_images", "0_left.jpg", "0_right.jpg")
    row = "0,60,Male,0_left.jpg,0_right.jpg,drusen，glaucoma,normal fundus,0,0,1,0,0,0,0,1,../input/x.jpg"
    header = ",".join([*ODIR, *"NDGCAHMO", "filepath", "labels", "target", "filename"])
    rows(
        tmp_path / "full_df.csv",
        header,
        f"{row},['G'],\"[0, 0, 1]\",0_left.jpg",
        f"{row},['N'],\"[1, 0]\",0_right.jpg",
    )
    dataset = load_dataset("ODIR", tmp_path)
    assert [f.value for f in dataset.describe("0_left.jpg").about("disease")] == ["drusen", "glaucoma"]
    assert "normal" in told(dataset, "0_right.jpg") and dataset.skipped == {}


def test_labels_of_an_eye_with_several_diagnoses_lose_none(tmp_path: Path) -> None:
    dataset = odir(tmp_path, (60, "Male", "drusen，glaucoma", "normal fundus", "GO"))
    labels = dataset.labels().set_index("image")
    assert labels.loc["0_left.jpg", "diagnosis"] == "drusen, glaucoma" and labels.loc["0_right.jpg", "normal"] == 1


# --- RFMiD ---


def rfmid(root: Path, header: str, *lines: str) -> BaseDescription:
    pictures(root / "Training_Set" / "Training", *(f"{line.split(',')[0]}.png" for line in lines))
    rows(root / "Training_Set" / "RFMiD_Training_Labels.csv", header, *lines, encoding="utf-8-sig")
    return load_dataset("RFMiD", root, split="train")


def test_rfmid_s_codes_mean_what_its_list_says_and_its_bom_is_no_part_of_a_name(tmp_path: Path) -> None:
    dataset = rfmid(tmp_path, "ID,Disease_Risk,DR,MH,MHL", "1,1,0,1,0", "2,1,1,0,1", "3,0,0,0,0")
    assert [f.words for f in dataset.describe("1.png").about("disease")] == ["media haze"]
    assert [f.words for f in dataset.describe("2.png").about("disease")] == ["diabetic retinopathy", "macular hole"]
    assert "showing no abnormality among the conditions that were looked for" in said(dataset, "3.png")


def test_an_overall_flag_that_the_labels_contradict_excludes_the_image(tmp_path: Path) -> None:
    dataset = rfmid(tmp_path, "ID,Disease_Risk,DR,MH", "1,0,1,0", "2,1,0,0", "3,1,2,0", "4,1,1,0")
    assert "Disease_Risk is 0 (normal) though DR is labelled" in reason(dataset, "1.png")
    assert "Disease_Risk is 1 (not normal) though no condition is labelled" in reason(dataset, "2.png")
    assert "found '2'; expected one of 0, 1" in reason(dataset, "3.png")
    assert dataset.images == ["4.png"]


def rfmid2(root: Path, header: str, *lines: str) -> BaseDescription:
    pictures(root / "Training_set", *(f"{line.split(',')[0]}.jpg" for line in lines))
    rows(root / "Training_set" / "RFMiD_2_Training_labels.csv", header, *lines, encoding="cp1252")
    return load_dataset("RFMiD2", root)


def test_rfmid_2_is_read_in_cp1252_with_its_typo_and_its_own_codes(tmp_path: Path) -> None:
    dataset = rfmid2(tmp_path, "ID,WNL,OPDM,CSC,ON\xa0,", "1,1,0,0,0,", "2,0,1,1,0,")
    assert "a fundus within normal limits" in said(dataset, "train/1.jpg" if "train/1.jpg" in dataset.images else "1.jpg")
    words = [f.words for f in dataset.describe(dataset.images[1]).about("disease")]
    assert words == ["optic disc pit maculopathy", "cysticercosis"]


def test_a_code_without_a_confirmed_meaning_is_not_told_and_makes_no_eye_normal(tmp_path: Path) -> None:
    dataset = rfmid2(tmp_path, "ID,WNL,DR,ON\xa0", "1,0,0,1", "2,0,1,1", "3,1,0,1")
    case = dataset.describe("1.jpg")
    assert case.about("disease") == () and any("ON" in why and "no confirmed meaning" in why for why in case.missing)
    assert [f.name for f in dataset.describe("2.jpg").about("disease")] == ["DR"]
    assert "though ON is labelled" in reason(dataset, "3.jpg")


# --- UK Biobank ---


def test_a_uk_biobank_eye_is_read_from_the_field_id(tmp_path: Path) -> None:
    pictures(tmp_path / "bulk", "1234567_21015_0_0.png", "1234567_21016_1_0.png", "1234567_21017_0_0.png", "photo.png")
    dataset = load_dataset("uk", tmp_path)
    left, right = (dataset.describe(image) for image in dataset.images)
    assert (left.eye, right.eye, left.patient) == ("left", "right", "1234567") and dataset.page.private_names
    assert len(dataset.images) == 2 and any("2 files are not named like images of UK" in note for note in dataset.notes)
    assert "dementia" not in left.description and left.about("disease") == ()


# --- names of images ---


def test_a_name_with_dots_is_cut_at_the_last_one_alone(tmp_path: Path) -> None:
    pictures(tmp_path, "scan.v1.left.png", "scan.v1.right.png")
    path = rows(tmp_path / "eyes.csv", "image,notes", "scan.v1.left.png,first", "scan.v1.right,second")
    dataset = BaseDescription(tmp_path, dataset=str(path))
    assert [said(dataset, image).splitlines()[-1] for image in dataset.images] == ["Notes: first.", "Notes: second."]


def test_two_different_files_of_one_id_are_left_out_and_an_equal_copy_counts_once(tmp_path: Path) -> None:
    for place in ("train_images", "copy/train_images"):
        (tmp_path / place).mkdir(parents=True)
    picture(tmp_path / "train_images" / ("0" * 12 + ".png"))
    (tmp_path / "copy/train_images" / ("0" * 12 + ".png")).write_bytes(
        (tmp_path / "train_images" / ("0" * 12 + ".png")).read_bytes()
    )
    picture(tmp_path / "train_images" / ("1" * 12 + ".png"))
    picture(tmp_path / "train_images" / ("1" * 12 + ".jpg"))
    rows(tmp_path / "train.csv", "id_code,diagnosis", "0" * 12 + ",0", "1" * 12 + ",1")
    dataset = load_dataset("APTOS", tmp_path)
    assert dataset.images == ["0" * 12 + ".png"] and "2 different files bear this id" in next(iter(dataset.skipped.values()))


# --- AutoMorph ---

QUALITY = "Name,softmax_good,softmax_usable,softmax_bad,good_sd,usable_sd,bad_sd,Prediction"
COLUMNS = [f.column for f in measurements.features() if f.column != "Average Branch Angle"]
# a plausible value of each kind of measurement, in µm where it is a length
PLAUSIBLE = {
    "Disc_height": 1800, "Disc_width": 1700, "Cup_height": 700, "Cup_width": 650,
    "CDR_vertical": 0.389, "CDR_horizontal": 0.382,
    "Fractal_dimension": 1.5, "Vessel_density": 0.083, "Average_width": 45.0, "Distance_tortuosity": 3.0,
    "Squared_curvature_tortuosity": 17.0, "Tortuosity_density": 0.72,
    "CRAE_Hubbard": 152.0, "CRAE_Knudtson": 148.0, "CRVE_Hubbard": 233.0, "CRVE_Knudtson": 228.0,
}  # fmt: skip
OF_WHOLE = {"": 1.0, "_zone_c": 0.5, "_zone_b": 0.2}  # a part of the vessels covers less than the whole


def plausible(column: str) -> float:
    """The value of a column: no two columns share one, so that an exchange would show."""
    if column.startswith("AVR"):
        return round(plausible(column.replace("AVR", "CRAE")) / plausible(column.replace("AVR", "CRVE")), 6)
    bare = re.sub(r"^(Artery_|Vein_)|_zone_[bc]$", "", column)
    value = PLAUSIBLE[bare] * (1 + 0.0013 * COLUMNS.index(column))
    if bare == "Vessel_density":
        value *= OF_WHOLE[re.sub(r".*?(_zone_[bc])?$", r"\1", column)] * (1 if column.startswith(bare) else 0.5)
    return round(value, 6)


def measured(**changed: object) -> dict[str, object]:
    return {column: plausible(column) for column in COLUMNS} | changed


def results(
    root: Path, measures: dict[str, dict], quality: dict[str, str] | None = None, columns: list[str] | None = None
) -> Path:
    """A Results folder: name -> measurements, and name -> 'softmax_bad,Prediction'."""
    wanted = columns or COLUMNS
    lines = [",".join([name, *(str(values.get(c, "")) for c in wanted)]) for name, values in measures.items()]
    rows(root / "M3" / "Macular_Features.csv", ",".join(["Name", *wanted]), *lines)
    rows(root / "M3" / "Disc_Features.csv", ",".join(["Name", *wanted]))
    if quality is not None:
        lines = [
            f"../Results/M0/images/{name},0.1,0.1,{v.split(',')[0]},0,0,0,{v.split(',')[1]}" for name, v in quality.items()
        ]
        rows(root / "M1" / "results_ensemble.csv", QUALITY, *lines)
    return root


def uk(root: Path, *eyes: str, **page_says: object) -> BaseDescription:
    pictures(root, *(f"{eye}.png" for eye in eyes))
    return BaseDescription(root, dataset=page.get("UK").model_copy(update=page_says))


EYE = "1234567_21015_0_0"
EYES = [f"123456{n}_21015_0_0" for n in range(8)]


def vessels(dataset: BaseDescription, eye: str = EYE) -> dict[str, object]:
    said(dataset, f"{eye}.png")
    return {fact.name: fact.value for fact in dataset.describe(f"{eye}.png").about("vascular")}


UNRELIABLE = {f.column for f in measurements.features() if f.reliability == "unreliable"}
RELIABLE = {column: plausible(column) for column in COLUMNS if column not in UNRELIABLE}


def test_tortuosity_is_told_only_where_it_is_asked_for(tmp_path: Path) -> None:
    results(tmp_path / "Results", {f"{EYE}.png": measured()})
    dataset = uk(tmp_path, EYE)
    assert len(UNRELIABLE) == 27 and all("ortuosity" in column for column in UNRELIABLE)
    assert vessels(dataset) == RELIABLE and not re.search("tortuos|curvature", said(dataset, f"{EYE}.png"))
    (note,) = (note for note in dataset.notes if "AutoMorph's tortuosity" in note)
    assert "27 columns" in note and "issue 18" in note and "9a953e5" in note and "tell: [tortuosity]" in note
    told = uk(tmp_path, EYE, tell=["tortuosity"])
    assert vessels(told) == measured() and not any("AutoMorph's tortuosity" in note for note in told.notes)


def test_all_72_measurements_are_told_with_unit_and_zone(tmp_path: Path) -> None:
    results(tmp_path / "Results", {f"{EYE}.png": measured()})
    dataset = uk(tmp_path, EYE, tell=["tortuosity"])
    assert vessels(dataset) == measured()
    text = said(dataset, f"{EYE}.png")
    assert "the vertical diameter of the optic disc is 1800 µm" in text
    assert re.search(r"absolute total curvature of the retinal arteries over the whole image is [\d.]+(;|\.)", text)
    assert re.search(r"central retinal arteriolar equivalent \(CRAE\) by Hubbard's formula in zone B is [\d.]+ µm", text)
    assert not re.search(r"demission|averge|vessels density|  |\.;|veins\.", text)


def test_zone_densities_keep_five_digits_and_whole_image_ones_four(tmp_path: Path) -> None:
    results(tmp_path / "Results", {EYE: measured(Vessel_density=0.08312, Artery_Vessel_density_zone_b=0.00587)})
    text = said(uk(tmp_path, EYE), f"{EYE}.png")
    assert "vessel density of the retinal vessels over the whole image is 0.0831" in text
    assert "vessel density of the retinal arteries in zone B is 0.00587" in text


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_columns_changes_no_fact_and_no_vessel(tmp_path: Path, seed: int) -> None:
    results(tmp_path / "a" / "Results", {EYE: measured()})
    shuffled = random.Random(seed).sample(COLUMNS, len(COLUMNS))
    results(tmp_path / "b" / "Results", {EYE: measured()}, columns=shuffled)
    plain, permuted = uk(tmp_path / "a", EYE), uk(tmp_path / "b", EYE)
    assert said(plain, f"{EYE}.png") == said(permuted, f"{EYE}.png")
    for fact in permuted.describe(f"{EYE}.png").about("vascular"):
        vessel = "arteries" if fact.name.startswith("Artery_") else "veins" if fact.name.startswith("Vein_") else None
        assert fact.value == plausible(fact.name) and (vessel is None or vessel in fact.text)
        assert {"arteries", "veins"} - {vessel} and not any(v in fact.text for v in {"arteries", "veins"} - {vessel})


@pytest.mark.parametrize(
    ("quality", "words"),
    [
        ("0.1,0", "called the image good"),
        ("0.24,1", "called the image usable"),
        ("0.25,1", "rejected the image as not gradable"),
        ("0.4,1", "rejected the image as not gradable"),
        ("0.9,2", "rejected the image as not gradable"),
    ],
)
def test_quality_follows_automorph_s_own_rule(tmp_path: Path, quality: str, words: str) -> None:
    results(tmp_path / "Results", {}, {f"{EYE}.png": quality})
    assert words in said(uk(tmp_path, EYE), f"{EYE}.png")


@pytest.mark.parametrize("name", [f"../Results/M0/images/{EYE}.png", f"C:\\out\\M0\\images\\{EYE}.PNG", f"{EYE}.png", EYE])
def test_quality_is_found_by_the_last_part_of_its_path(tmp_path: Path, name: str) -> None:
    rows(tmp_path / "Results" / "M1" / "results_ensemble.csv", QUALITY, f"{name},0.7,0.2,0.1,0,0,0,0")
    assert "called the image good" in said(uk(tmp_path, EYE), f"{EYE}.png")


def test_a_quality_that_is_none_is_left_out_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "Results" / "M1" / "results_ensemble.csv"
    rows(path, QUALITY, f"{EYES[0]},0,0,0.1,0,0,0,3", "", f"{EYES[1]},0,0,,0,0,0,1", f"{EYES[2]},0,0,0.1,0,0,0,0")
    dataset = uk(tmp_path, *EYES[:3])
    assert ["Image quality" in said(dataset, f"{eye}.png") for eye in EYES[:3]] == [False, False, True]
    notes = [note for note in dataset.notes if "is not a quality" in note]
    assert "row 2: Prediction 3" in notes[0] and "row 4" in notes[1]
    assert dataset.describe(f"{EYES[2]}.png").about("quality")[0].source.row == 5


@pytest.mark.parametrize(
    ("changed", "gone"),
    [
        ({"Vessel_density": -1}, {"Vessel_density"}),
        ({"Vein_Vessel_density_zone_b": 0}, {"Vein_Vessel_density_zone_b"}),
        ({"Vessel_density": ""}, {"Vessel_density"}),
        ({"Fractal_dimension": 2.0}, {"Fractal_dimension"}),
        ({"Fractal_dimension": "1.5x"}, {"Fractal_dimension"}),
        ({"CDR_vertical": 1.0}, {"CDR_vertical", "Disc_height", "Cup_height"}),
        ({"Distance_tortuosity": 0}, {"Distance_tortuosity", "Tortuosity_density"}),
        ({"Tortuosity_density": 0}, set()),
        (
            {"Artery_Distance_tortuosity_zone_c": 0.99},
            {"Artery_Distance_tortuosity_zone_c", "Artery_Tortuosity_density_zone_c"},
        ),
        (
            {"CRAE_Hubbard_zone_b": -1, "CRVE_Hubbard_zone_b": -1, "AVR_Hubbard_zone_b": 1.0},
            {"CRAE_Hubbard_zone_b", "CRVE_Hubbard_zone_b", "AVR_Hubbard_zone_b"},
        ),
        ({"CRAE_Knudtson_zone_c": "", "AVR_Knudtson_zone_c": -0.01}, {"CRAE_Knudtson_zone_c", "AVR_Knudtson_zone_c"}),
        ({"CRVE_Knudtson_zone_c": -1, "AVR_Knudtson_zone_c": 0.65}, {"CRVE_Knudtson_zone_c", "AVR_Knudtson_zone_c"}),
        ({"AVR_Knudtson_zone_b": 1.0}, {f"{name}_Knudtson_zone_b" for name in ("CRAE", "CRVE", "AVR")}),
        ({"Artery_Vessel_density_zone_b": 0.0004}, set()),
        ({"Disc_width": -1, "Cup_width": 700}, {"Disc_width", "Cup_width"}),
        ({"Average_width": "inf"}, {"Average_width"}),
    ],
)  # fmt: skip
def test_failures_are_left_out_each_by_its_own_rule_and_nothing_else_is(tmp_path: Path, changed: dict, gone: set) -> None:
    measures = {EYE: measured(**changed)} | {f"123456{n}_21016_0_0": measured() for n in range(4)}
    results(tmp_path / "Results", measures)
    assert set(COLUMNS) - set(vessels(uk(tmp_path, EYE, tell=["tortuosity"]))) == gone


LENGTHS = {f.column for f in measurements.features() if f.unit == "µm"}
HUBBARD = {c for c in COLUMNS if c.startswith("AVR_Hubbard")}


@pytest.mark.parametrize(("factor", "unit"), [(1 / 1000, "millimetres"), (1 / 9.2, "pixels"), (1000, "a resolution of 1")])
def test_lengths_of_an_unknown_unit_are_not_told_but_ratios_without_unit_are(tmp_path: Path, factor: float, unit: str) -> None:
    values = {c: v * factor if c in LENGTHS else v for c, v in measured().items()}
    results(tmp_path / "Results", {EYE: values})
    dataset = uk(tmp_path, EYE)
    assert set(RELIABLE) - set(vessels(dataset)) == LENGTHS | HUBBARD, f"Hubbard's formula holds in µm alone; {unit}"
    assert any("23 values of 1 image not told: no scale is stated" in note for note in dataset.notes)


def test_a_ratio_of_failed_lengths_is_not_told_even_where_their_unit_is_unknown(tmp_path: Path) -> None:
    values = {c: v / 1000 if c in LENGTHS else v for c, v in measured().items()}
    results(tmp_path / "Results", {EYE: values | {"CRAE_Knudtson_zone_b": -1, "AVR_Knudtson_zone_b": 0.7}})
    found = vessels(uk(tmp_path, EYE))
    assert "AVR_Knudtson_zone_b" not in found and "AVR_Knudtson_zone_c" in found


SCALE_FILE = "resolution_information.csv"
LARGE = {"Disc_height": 2700, "Cup_height": 1050, "CDR_vertical": 0.389}


def test_the_scale_is_judged_by_the_image_and_not_by_the_folder(tmp_path: Path) -> None:
    blind = dict.fromkeys((c for c in COLUMNS if c.startswith(("Disc", "Cup", "CDR"))), "")
    results(tmp_path / "Results", {EYES[0]: measured(), EYES[1]: measured(**LARGE), EYES[2]: measured(**blind)})
    dataset = uk(tmp_path, *EYES[:3])
    assert vessels(dataset, EYES[0]) == RELIABLE
    for eye in EYES[1:3]:
        assert not LENGTHS & set(vessels(dataset, eye)) and "AVR_Knudtson_zone_b" in vessels(dataset, eye)
    assert "CDR_vertical" in vessels(dataset, EYES[1])
    (note,) = (note for note in dataset.notes if "no scale is stated" in note)
    assert "of 2 images" in note


@pytest.mark.parametrize(
    ("file", "page_says", "told"),
    [
        ("0.0061", {}, True),
        ("0.008", {}, False),  # what AutoMorph's own script writes for every image
        ("", {"microns_per_pixel": 6.1}, True),
        ("0.0061", {"microns_per_pixel": 6.1}, True),
        ("0.008", {"microns_per_pixel": 8}, True),
        ("0.0061", {"microns_per_pixel": 9}, False),
    ],
)
@pytest.mark.parametrize("place", ["Results", ""])
def test_lengths_are_told_where_a_scale_is_stated(tmp_path: Path, file: str, page_says: dict, told: bool, place: str) -> None:
    results(tmp_path / "Results", {EYE: measured(**LARGE)})
    if file:
        rows(tmp_path / place / SCALE_FILE, "fundus,res", f"{EYE}.png,{file}")
    dataset = uk(tmp_path, EYE, **page_says)
    assert (set(vessels(dataset)) >= LENGTHS) == told and bool(LENGTHS & set(vessels(dataset))) == told
    assert any("different scales" in note for note in dataset.notes) == (page_says == {"microns_per_pixel": 9})


def test_a_scale_file_states_the_scale_of_the_images_that_it_names(tmp_path: Path) -> None:
    results(tmp_path / "Results", dict.fromkeys(EYES[:3], measured(**LARGE)))
    lines = [f"{EYES[0]}.png,0.006", f"{EYES[1]}.png,0.006", f"{EYES[1]}.png,0.007"]
    rows(tmp_path / SCALE_FILE, "fundus,res", *lines)
    dataset = uk(tmp_path, *EYES[:3])
    assert [bool(LENGTHS & set(vessels(dataset, eye))) for eye in EYES[:3]] == [True, False, False]


DISC_VALUES = {
    "vertical": {"Disc_height", "Cup_height", "CDR_vertical"},
    "horizontal": {"Disc_width", "Cup_width", "CDR_horizontal"},
}
ZONES = {c for c in COLUMNS if "_zone_" in c}


@pytest.mark.parametrize(
    ("changed", "gone", "why"),
    [
        ({"Cup_height": 1900, "CDR_vertical": 0.4}, set.union(*DISC_VALUES.values()), "cup is larger than the optic disc"),
        ({"Cup_width": 1800, "CDR_horizontal": 1.05}, set.union(*DISC_VALUES.values()), "cup is larger than the optic disc"),
        ({"CDR_vertical": 0.45}, DISC_VALUES["vertical"], "ratio is not cup over disc"),
        ({"CDR_horizontal": 0.38}, set(), ""),  # rounded
        ({"AVR_Knudtson_zone_c": 0.8}, {f"{n}_Knudtson_zone_c" for n in ("CRAE", "CRVE", "AVR")}, "not CRAE over CRVE"),
        ({"AVR_Hubbard_zone_b": 0.5}, {f"{n}_Hubbard_zone_b" for n in ("CRAE", "CRVE", "AVR")}, "not CRAE over CRVE"),
        ({"Artery_Vessel_density": 0.09}, {"Artery_Vessel_density", "Vessel_density"}, "a part of"),
        ({"Vein_Vessel_density_zone_b": 0.02}, {"Vein_Vessel_density_zone_b", "Vessel_density_zone_b"}, "a part of"),
        ({"Vessel_density_zone_b": 0.06}, {"Vessel_density_zone_b", "Vessel_density_zone_c"}, "a part of"),
        ({c: plausible(c.replace("zone_b", "zone_c")) for c in ZONES if "_zone_b" in c}, ZONES, "zone B equals zone C"),
        (
            {c: plausible(c.replace("zone_b", "zone_c")) for c in ZONES if "_zone_b" in c} | {"Average_width_zone_b": 47.1},
            ZONES,
            "zone B equals zone C",
        ),  # in all cells but one
        ({c: plausible(c.replace("zone_b", "zone_c")) for c in ZONES if "Average_width_zone_b" in c}, set(), ""),
        (dict.fromkeys(ZONES, -1) | {c: 1.0 for c in ZONES if c.startswith("AVR")}, ZONES, ""),  # failed, not equal
    ],
)  # fmt: skip
def test_a_row_that_breaks_its_own_arithmetic_does_not_tell_the_values_concerned(
    tmp_path: Path, changed: dict, gone: set, why: str
) -> None:
    results(tmp_path / "Results", {EYES[0]: measured(**changed), EYES[1]: measured()})
    dataset = uk(tmp_path, *EYES[:2])
    assert set(RELIABLE) - set(vessels(dataset, EYES[0])) == gone - UNRELIABLE and vessels(dataset, EYES[1]) == RELIABLE
    notes = [note for note in dataset.notes if "not told" in note and "columns" not in note]
    assert [f"of 1 image not told: {note.split(': ')[-1]}" in note and why in note for note in notes] == [True] * bool(why)


def test_rows_of_disc_centred_images_are_told_too(tmp_path: Path) -> None:
    results(tmp_path / "Results", {EYES[0]: measured()})
    header, values = (
        ",".join(["Name", *COLUMNS]),
        ",".join(str(v) for v in measured(Fractal_dimension=1.411).values()),
    )
    rows(tmp_path / "Results" / "M3" / "Disc_Features.csv", header, f"{EYES[1]}.png,{values}")
    dataset = uk(tmp_path, *EYES[:2])
    assert vessels(dataset, EYES[1])["Fractal_dimension"] == 1.411
    source = dataset.describe(f"{EYES[1]}.png").about("vascular")[0].source
    assert (Path(source.file).name, source.row) == ("Disc_Features.csv", 2)


def test_doubled_rows_count_once_where_equal_and_not_at_all_where_different(tmp_path: Path) -> None:
    header = ",".join(["Name", *COLUMNS])
    lines = [",".join([eye, *(str(v) for v in measured(**changed).values())]) for eye, changed in (
        (EYES[0], {}), (EYES[0], {}), (EYES[1], {}), (EYES[1], {"Vessel_density": 0.07}),
    )]  # fmt: skip
    rows(tmp_path / "Results" / "M3" / "Macular_Features.csv", header, *lines)
    dataset = uk(tmp_path, *EYES[:2])
    assert len(vessels(dataset, EYES[0])) == 45 and vessels(dataset, EYES[1]) == {}
    assert any(f"measured '{EYES[1]}' twice with different values; they are left out" in note for note in dataset.notes)


def test_row_numbers_count_blank_lines(tmp_path: Path) -> None:
    values = ",".join(str(v) for v in measured().values())
    rows(
        tmp_path / "Results" / "M3" / "Macular_Features.csv",
        ",".join(["Name", *COLUMNS]),
        "",
        "," * 72,
        f"{EYE},{values}",
    )
    assert {f.source.row for f in uk(tmp_path, EYE).describe(f"{EYE}.png").about("vascular")} == {4}


def test_columns_are_found_in_any_case(tmp_path: Path) -> None:
    results(tmp_path / "Results", {EYE: measured()})
    path = tmp_path / "Results" / "M3" / "Macular_Features.csv"
    header, *body = path.read_text().splitlines()
    rows(path, header.lower().replace("name", " name "), *body)
    assert vessels(uk(tmp_path, EYE)) == RELIABLE


@pytest.mark.parametrize(
    ("header", "line", "what"),
    [
        ("Name,Vessel_density,Vessel_density", f"{EYE},0.08,0.09", "the column 'Vessel_density' occurs twice"),
        ("Name,Vessel_density", f"{EYE},0.08,0.09", "more cells than the 2 of the header"),
        ("Image,Vessel_density", f"{EYE},0.08", "no column 'Name'; the columns are 'Image', 'Vessel_density'"),
    ],
)
def test_an_automorph_table_that_could_be_misread_is_refused(tmp_path: Path, header: str, line: str, what: str) -> None:
    rows(tmp_path / "Results" / "M3" / "Macular_Features.csv", header, line)
    with pytest.raises(UserError, match=rf"Macular_Features.csv.*({what})"):
        uk(tmp_path, EYE)


@pytest.mark.parametrize(
    "name", ["M1/results_ensemble.csv", "M3/Macular_Features.csv", "M3/Disc_Features.csv", "M0/crop_info.csv"]
)
def test_an_empty_automorph_table_costs_its_own_facts_alone(tmp_path: Path, name: str) -> None:
    results(tmp_path / "Results", {EYE: measured()}, {EYE: "0,0.1"})
    rows(tmp_path / "Results" / name, "", "")
    dataset = uk(tmp_path, EYE)
    assert dataset.image(f"{EYE}.png").crop is None and dataset.images
    if not name.startswith("M0"):
        assert any(f"{Path(name).name} is empty" in note for note in dataset.notes)
    assert bool(vessels(dataset)) == (name != "M3/Macular_Features.csv")


def test_older_tables_are_read_with_the_place_of_each_cell(tmp_path: Path) -> None:
    place = tmp_path / "Results" / "M3" / "Macular_centred"
    whole = [c for c in COLUMNS if "zone" not in c and not re.match("Disc|Cup|CDR", c)]
    zone = [c.removesuffix("_zone_b") for c in COLUMNS if c.endswith("_zone_b")]
    disc = [c for c in COLUMNS if re.match("Disc|Cup|CDR", c)]
    tables = {
        "Macular_Measurement.csv": (whole, ""),
        "Macular_Zone_B_Measurement.csv": (zone, "_zone_b"),
        "Disc_cup_results.csv": (disc, ""),
    }
    for n, (name, (columns, suffix)) in enumerate(tables.items()):
        lines = [",".join([eye, *(str(plausible(c + suffix)) for c in columns)]) for eye in (EYES[1], EYES[0])]
        rows(place / name, ",".join(["Name", *columns]), *[""] * n, *lines)
    dataset = uk(tmp_path, *EYES[:2])
    found = dataset.describe(f"{EYES[0]}.png").about("vascular")
    assert {f.name: f.value for f in found} == {c: v for c, v in RELIABLE.items() if not c.endswith("_zone_c")}
    for fact in found:
        assert cell(fact.source.file, fact.source.row, fact.source.column) == str(plausible(fact.name))


def test_older_tables_do_not_choose_between_doubled_rows(tmp_path: Path) -> None:
    path = tmp_path / "Results" / "M3" / "Macular_centred" / "Macular_Measurement.csv"
    rows(path, "Name,Fractal_dimension", f"{EYES[0]},1.5", f"{EYES[0]},1.4", f"{EYES[1]},1.45")
    dataset = uk(tmp_path, *EYES[:2])
    assert vessels(dataset, EYES[0]) == {} and vessels(dataset, EYES[1]) == {"Fractal_dimension": 1.45}


def test_a_measured_branch_angle_is_told_in_degrees_where_a_table_has_it(tmp_path: Path) -> None:
    results(
        tmp_path / "Results",
        {EYE: measured() | {"Average Branch Angle": 71.5}},
        columns=[*COLUMNS, "Average Branch Angle"],
    )
    assert "the average branching angle of the retinal vessels is 71.5 degrees" in said(uk(tmp_path, EYE), f"{EYE}.png")


def test_absent_results_are_noted_and_nothing_is_invented(tmp_path: Path) -> None:
    dataset = uk(tmp_path, EYE)
    assert vessels(dataset) == {} and any("no AutoMorph results" in note for note in dataset.notes)
    with pytest.raises(UserError, match=r"automorph_root .*nowhere is not a folder"):
        load_dataset("UK", tmp_path, automorph_root=tmp_path / "nowhere")


def test_automorph_s_own_pictures_are_no_images_of_the_dataset(tmp_path: Path) -> None:
    picture(tmp_path / "Results" / "M0" / "images" / f"{EYE}.png")
    (tmp_path / "elsewhere").mkdir()
    picture(tmp_path / "bulk" / f"{EYE}.png")
    assert load_dataset("UK", tmp_path).images == [f"{EYE}.png"]
    assert load_dataset("UK", tmp_path, automorph_root=tmp_path / "elsewhere").images == [f"{EYE}.png"]


@pytest.mark.parametrize("name", page.names())
def test_a_rejected_image_tells_nothing_measured_and_denies_nothing(tmp_path: Path, drawn: dict[str, Path], name: str) -> None:
    sample = Path(shutil.copytree(drawn[name], tmp_path / name))
    for table in sample.rglob("results_ensemble.csv"):
        header, *lines = table.read_text(encoding="utf-8").splitlines()
        names = [line.split(",")[0] for line in lines]
        before = load_dataset(name, sample)
        rows(table, header, *(f"{each},0.05,0.05,0.9,0,0,0,2" for each in names))
    after, kept = load_dataset(name, sample), 0
    for image in after.images:
        case, was = after.describe(image), before.describe(image)
        quality = [f for f in case.about("quality") if f.name in ("quality", "ungradable")]
        assert case.about("vascular") == () and quality
        if quality[0].words != "not gradable":  # graders judged it, and their judgement counts
            continue
        told, lost = case.about("disease"), [f for f in was.about("disease") if f not in case.facts]
        assert not any(f.name in ("normal", "absent") or (f.unit in scales() and not f.value) for f in told)
        assert not any(telling.is_count(f) and not f.value for f in case.about("lesion"))
        assert not any(fact_kinds.denies(f) for f in case.facts), "nor does a patient's record or a note deny"
        assert bool(told) == any(f.name == "limited_quality" for f in told), "labels are told with the limited quality"
        assert quality[0].name == "ungradable" or all(fact_kinds.denies(f) for f in lost), "labels stay"
        kept += len(told)
    has_labels = any(kind.label for kind in after.page.facts if kind.gives == ("disease",))
    assert kept or not has_labels or after.page.kind("quality")


PROVENANCE = re.compile(r"(?i)automorph|annotat|adjudicat|grader|label|\bmark|dataset|chosen|quality check")


@pytest.mark.parametrize("name", page.names())
def test_the_words_of_a_fact_are_a_finding_and_not_who_found_it(drawn: dict[str, Path], name: str) -> None:
    dataset = load_dataset(name, drawn[name])
    told = {fact.words for image in dataset.images for fact in dataset.describe(image).facts}
    for kind in dataset.page.facts:  # and what the sample does not have
        if isinstance(kind, fact_kinds.Grade):
            told |= {scales()[kind.scale]["title"], *scales()[kind.scale]["levels"].values()}
        elif isinstance(kind, label_kinds.Keywords):
            told |= set(kind.quality.values())
        elif isinstance(kind, label_kinds.Flags | label_kinds.PatientLabels):
            told |= {*kind.labels.values(), getattr(kind, "normal_words", "") or "normal"}
        elif isinstance(kind, fact_kinds.Say):
            told.add(kind.words)
    assert all(told) and not [words for words in told if PROVENANCE.search(words)]
    assert not [words for words in told if words.startswith("that ")], "a finding is a noun, or a sentence of its own"


@pytest.mark.parametrize(
    ("name", "looked_for"),
    [
        ("APTOS", {("diabetic retinopathy",)}),
        ("EyeQ", {("diabetic retinopathy",), ()}),
        ("IDRiD", {("diabetic retinopathy", "risk of macular oedema")}),
        ("IDRiD_seg", {("microaneurysms", "haemorrhages", "hard exudates", "soft exudates (cotton wool spots)")}),
        ("MICCAI_task1", {("myopic maculopathy",), ()}),
        ("MICCAI_task2", {("lacquer cracks",), ("areas of choroidal neovascularisation",), ("Fuchs spots",)}),
        ("Messidor", {("diabetic retinopathy", "risk of macular oedema"), ()}),
        ("Messidor2", {("diabetic retinopathy", "referable diabetic macular oedema"), ()}),
        *((name, {("diabetic retinopathy",), ()}) for name in ("EyePACS", "DDR", "DeepDRiD")),
        ("mBRSET", {("diabetic retinopathy", "macular oedema"), ()}),
        *((name, {("glaucoma",), ()}) for name in ("REFUGE", "ORIGA", "G1020", "PAPILA")),
        ("DDR_seg", {("microaneurysms", "haemorrhages", "hard exudates", "soft exudates (cotton wool spots)")}),
        ("MAPLES_DR", {("microaneurysms", "haemorrhages", "hard exudates", "soft exudates (cotton wool spots)", "drusen")}),
        *((name, {()}) for name in ("ODIR", "RFMiD", "RFMiD2", "UK", "BRSET", "IDRiD_loc")),
    ],
)
def test_a_case_says_what_alone_was_looked_for(drawn: dict[str, Path], name: str, looked_for: set[tuple[str, ...]]) -> None:
    dataset = load_dataset(name, drawn[name])
    cases = [dataset.describe(image) for image in dataset.images]
    assert {case.graded_only for case in cases} <= looked_for | {()} and max(looked_for) in {c.graded_only for c in cases}
    assert not any(case.graded_only and not (case.about("disease") or case.about("lesion")) for case in cases)


def test_free_text_on_disease_leaves_open_what_was_looked_for(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    rows(tmp_path / "my.csv", "image,disease", "1.png,no DR")
    assert BaseDescription(tmp_path, dataset=str(tmp_path / "my.csv")).describe("1.png").graded_only == ()


@pytest.mark.parametrize(
    ("words", "denied"),
    [
        ("no DR", True),
        ("normal", True),
        ("healthy", True),
        ("no DR; drusen", False),
        ("drusen", False),
        ("suspected glaucoma", False),
    ],
)
def test_a_record_of_a_rejected_image_is_told_unless_all_it_does_is_deny(tmp_path: Path, words: str, denied: bool) -> None:
    picture(tmp_path / "1.png")
    rows(tmp_path / "my.csv", "image,disease", f"1.png,{words}")
    results(tmp_path / "Results", {}, {"1.png": "0.9,2"})
    case = BaseDescription(tmp_path, dataset=str(tmp_path / "my.csv")).describe("1.png")
    assert bool(case.about("disease")) != denied and any("not told" in why for why in case.missing) == denied
    assert ("although the image quality is limited" in case.description) != denied


def test_a_graded_quality_counts_before_automorph_s(tmp_path: Path) -> None:
    pictures(tmp_path / "train", "10_left.jpeg", "10_right.jpeg")
    rows(tmp_path / "Label_EyeQ_train.csv", ",image,quality,DR_grade", "0,10_left.jpeg,1,0", "1,10_right.jpeg,,0")
    results(tmp_path / "Results", {}, {"10_left.png": "0.1,0", "10_right.png": "0.1,0"})
    dataset = load_dataset("EyeQ", tmp_path)
    assert "Image quality: the EyeQ graders graded the image quality as usable." in said(dataset, "10_left.jpeg")
    assert "Image quality: AutoMorph's quality check called the image good." in said(dataset, "10_right.jpeg")
    assert dataset.labels().set_index("image")["quality"].to_dict() == {"10_left.jpeg": 1, "10_right.jpeg": 0}


def test_results_shared_by_splits_with_equal_names_are_told_of_neither(tmp_path: Path) -> None:
    idrid(tmp_path)
    results(tmp_path / "Results", {"IDRiD_001": measured()}, {"IDRiD_001.png": "0.1,0"})
    dataset = load_dataset("IDRiD", tmp_path)
    case = dataset.describe("train/IDRiD_001.jpg")
    assert case.about("vascular") == () and case.about("quality") == () and "run each split alone" in case.missing[-1]
    assert "quality" not in dataset.labels().columns, "nor is it offered for choosing images"
    assert len(load_dataset("IDRiD", tmp_path, split="train").describe("IDRiD_001.jpg").about("vascular")) == 45
    results(tmp_path / "Results" / "train", {"IDRiD_001": measured()})
    assert len(load_dataset("IDRiD", tmp_path).describe("train/IDRiD_001.jpg").about("vascular")) == 45


def test_alignment_tells_no_vessels(tmp_path: Path) -> None:
    results(tmp_path / "Results", {EYE: measured()}, {f"{EYE}.png": "0.1,0"})
    picture(tmp_path / f"{EYE}.png")
    dataset = AlignDesc(tmp_path, dataset="UK")
    assert dataset.describe(f"{EYE}.png").about("vascular") == () and "Vessels" not in dataset.get_description(f"{EYE}.png")
    assert "vascular" not in prompt.track_aspects("alignment")


# --- a dataset of one's own ---

OWN = """
name: clinic
title: Our clinic
splits: {{all: {{images: [photos], tables: [labels.csv]}}}}
key: file
facts:
{facts}
"""


def own(root: Path, facts: str, *lines: str) -> BaseDescription:
    (root / "clinic.yaml").write_text(OWN.format(facts=facts), encoding="utf-8")
    rows(root / "labels.csv", *lines)
    pictures(root / "photos", *(line.split(",")[0] for line in lines[1:]))
    return load_dataset(str(root / "clinic.yaml"), root)


def test_a_page_of_one_s_own_needs_no_class(tmp_path: Path) -> None:
    dataset = own(
        tmp_path,
        "  - grade: {column: DR, scale: ICDR}\n  - columns: {aspects: {remark: notes}}",
        "file,DR,remark",
        "a.png,4,after laser.",
    )
    assert told(dataset, "a.png")["grade"] == 4 and said(dataset, "a.png").endswith("Notes: after laser.")
    assert dataset.describe("a.png").id == "clinic-a" and type(dataset) is BaseDescription


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ("  - grades: {column: DR, scale: ICDR}", r"unknown kind of fact 'grades'.*did you mean 'grade'"),
        ("  - grade: {column: DR, scale: ICDRS}", r"unknown scale 'ICDRS'.*did you mean 'ICDR'"),
        ("  - grade: {colum: DR, scale: ICDR}", r"facts: grade: column: is missing"),
        ("  - boxes: {colum: DR}", r"facts: boxes: colum: is not a known key"),
        ("  - columns: {aspects: {remark: note}}", r"unknown aspect 'note'.*did you mean 'notes'"),
        ("  - say: {aspect: Diseases, name: x, text: y}", r"unknown aspect 'Diseases'.*did you mean 'disease'"),
        ("  - grade", r"facts: grade: column: is missing"),
        ("key2: x", r"key2: is not a known key"),
        ("1: x", r"a mapping of keys such as name"),
        ("facts:", r"the key 'facts' stands twice"),
        ("facts: grade", r"the key 'facts' stands twice"),
        ("may_send: perhaps", r"may_send: found 'perhaps'; expected 'yes', 'no', 'ask' or 'local'"),
        ("masks: {name: x}", r"types or landmarks are missing"),
        ("  - grade: 5", r"needs a mapping"),
        ("image: '('", r"regular expression"),
    ],
)
def test_a_page_that_is_wrong_is_refused_with_its_place(tmp_path: Path, facts: str, what: str) -> None:
    text = OWN.format(facts=facts if facts.startswith(" ") else "  - automorph\n" + facts)
    (tmp_path / "clinic.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"clinic\.yaml(, line \d+)?: .*{what}") as error:
        load_dataset(str(tmp_path / "clinic.yaml"), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [", "\xff"])
def test_a_file_that_is_no_page_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "clinic.yaml").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"clinic\.yaml"):
        load_dataset(str(tmp_path / "clinic.yaml"), tmp_path)


def test_a_plain_csv_needs_only_the_column_image(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png", "c.png")
    path = rows(tmp_path / "my eyes.csv", "image", "a.png", "b.png")
    dataset = BaseDescription(tmp_path, dataset=str(path))
    assert dataset.images == ["a.png", "b.png"] and said(dataset, "a.png") == "" and dataset.page.name == "my_eyes"
    assert "no row" in reason(dataset, "c.png")
    rows(path, "thing", "a.png")
    with pytest.raises(UserError, match=r"my eyes.csv: no column 'image', which names .*; the columns are 'thing'"):
        BaseDescription(tmp_path, dataset=str(path))


def test_a_plain_csv_tells_its_cells_as_they_stand(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    cells = "OCT scan,good,drusen; a scar,AV ratio 0.7,left  eye."
    path = rows(tmp_path / "eyes.csv", "image,Modality,QUALITY,disease,vascular,notes", f"a.png,{cells}")
    assert said(BaseDescription(tmp_path, dataset=str(path)), "a.png") == (
        "Image: OCT scan.\nImage quality: good.\nDisease: drusen; a scar.\n"
        "Vessels and optic disc: AV ratio 0.7.\nNotes: left eye."
    )


# --- what holds for every dataset ---


@cache
def grid(file: str) -> tuple[tuple[str, ...], ...]:
    """A table's cells, read without the package."""
    path = Path(file)
    if path.suffix == ".xlsx":
        found = openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)
        return tuple(tuple("" if c is None else str(c) for c in row) for row in found)
    if path.suffix == ".xls":
        found = xlrd.open_workbook(file).sheet_by_index(0)
        return tuple(tuple(str(c) for c in found.row_values(r)) for r in range(found.nrows))
    if path.suffix == ".json":  # REFUGE's, one object an image
        found = list(json.loads(path.read_text(encoding="utf-8")).values())
        header = tuple(dict.fromkeys(name for each in found for name in each))
        return header, *(tuple(str(each.get(name, "")).removesuffix(".0") for name in header) for each in found)
    raw = path.read_bytes()
    text = raw.decode("cp1252" if b"\xa0" in raw and "RFMiD_2" in path.name else "utf-8-sig")
    rows_ = list(csv.reader(text.splitlines(), delimiter=";" if ";" in text.splitlines()[0] else ","))
    return tuple(tuple(row) for row in rows_)


def cell(file: str, row: int, column: str) -> str:
    if file.endswith(".txt"):  # DDR's lists have no header row
        return Path(file).read_text(encoding="utf-8").splitlines()[row - 1].split()[["image", "level"].index(column)]
    headers = grid(file)[: 2 if "patient_data_o" in file else 1]  # PAPILA's has two rows
    header = next(names for row in headers if column in (names := [name.strip().replace("\xa0", "") for name in row]))
    return grid(file)[row - 1][header.index(column)].strip()


def holds(case: Case, fact: object, dataset: BaseDescription) -> bool:
    """Whether the cell that a fact names says what the fact says."""
    text = cell(fact.source.file, fact.source.row, fact.source.column)
    errata = [c for c in dataset.page.corrections if c.image in case.image and c.column == fact.source.column]
    corrected = {c.right: c.stale for c in errata}
    if fact.aspect == "vascular":
        return math.isclose(float(text), fact.value, rel_tol=1e-12)
    if fact.name == "limited_quality":  # told with what graders found in an image that AutoMorph rejected
        return text == "2" or (text == "1" and float(cell(fact.source.file, fact.source.row, "softmax_bad")) >= 0.25)
    if fact.unit == "AutoMorph":
        bad = float(cell(fact.source.file, fact.source.row, "softmax_bad"))
        return fact.value == (2 if text == "1" and bad >= 0.25 else int(text))
    if fact.name in ("normal", "diagnosis", "remark") and "Keywords" in fact.source.column:
        words = [word.strip() for word in re.split("[，,]", text.casefold())]
        return ("normal fundus" if fact.name == "normal" else fact.value) in words
    if fact.name == "normal":  # an overall flag: 0 in RFMiD, 1 in RFMiD 2.0
        return int(text) == {"Disease_Risk": 0, "WNL": 1}.get(fact.source.column, 0)
    if fact.unit == "point":
        source = (fact.source.file, fact.source.row)
        own = case.dataset == "REFUGE"  # which states the size of each picture; IDRiD's have one
        width, height = (float(cell(*source, f"Size_{axis}")) if own else size for axis, size in (("X", 4288), ("Y", 2848)))
        y = float(cell(*source, "Fovea_Y" if own else "Y - Coordinate"))
        return fact.value == pytest.approx((float(text) / width, y / height), abs=1e-4)
    if fact.name in ("absent", "final_edema"):
        return text in (("no", "0") if fact.name == "absent" else ("yes",))
    if fact.name == "sex" and text in ("0", "1", "2"):
        sexes = {"0": "male", "1": "female"} if case.dataset == "PAPILA" else {"1": "male", "2": "female"}
        return sexes.get(text) == fact.value
    if isinstance(fact.value, float):
        return float(text) == fact.value
    if isinstance(fact.value, int):
        return int(float(text)) == fact.value or corrected.get(str(fact.value)) == str(int(float(text)))
    return text.casefold() == str(fact.value).casefold()


@pytest.mark.parametrize("name", page.names())
def test_every_fact_of_every_sample_stands_in_the_cell_it_names(drawn: dict[str, Path], name: str) -> None:
    dataset = load_dataset(name, drawn[name])
    checked = 0
    for image in dataset.images:
        case = dataset.describe(image)
        assert case.description == dataset.get_description(image)
        for fact in case.facts:
            if fact.source.row is not None:
                text = cell(fact.source.file, fact.source.row, fact.source.column)
                assert fact.source.cell in ("", text, text.removesuffix(".0")), f"{image}: {fact}"
                told = dataset.page.eyes[text.casefold()] == fact.value if fact.name == "eye" else holds(case, fact, dataset)
                assert told, f"{image}: {fact}"
                checked += 1
            elif fact.aspect == "lesion" and fact.value:
                assert Path(fact.source.file).is_file()
    assert checked > 100


def test_names_of_classes_load_the_same_as_names_of_pages(drawn: dict[str, Path]) -> None:
    by_class, by_name = APTOSDesc(drawn["APTOS"]), load_dataset("aptos", drawn["APTOS"])
    assert by_class.images == by_name.images and type(by_name) is APTOSDesc
    assert by_class.get_description(by_class.images[0]) == by_name.get_description(by_name.images[0])
