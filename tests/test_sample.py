"""The drawn datasets: published layouts with their quirks, labels that the pictures show, and no file overwritten."""

import csv
import hashlib
import io
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retinal_lib import load_dataset
from retinal_lib.dataset import measurements, page
from retinal_lib.dataset import tables as table
from retinal_lib.dataset.lesions import boxes
from retinal_lib.errors import UserError
from retinal_lib.sample import automorph, canvas, datasets, files, fundus
from retinal_lib.sample import draw as sample

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
NAMES = page.names()


@pytest.fixture(scope="session")
def loaded(drawn: dict[str, Path]) -> dict:
    return {name: load_dataset(name, folder) for name, folder in drawn.items()}


def digests(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def values(case: object) -> dict[str, object]:
    return {fact.name: fact.value for fact in case.facts}


# --- every page ---


@pytest.mark.parametrize("name", NAMES)
def test_every_page_draws_and_loads(name: str, loaded: dict) -> None:
    dataset = loaded[name]
    assert 10 <= len(dataset.images) <= 14
    assert set(dataset.skipped) == ({"1086_left.jpg"} if name == "ODIR" else set())
    assert dataset.rows_without_image == []
    expected = ("no images of split", "AutoMorph: ", "AutoMorph's tortuosity")
    if name == "Messidor":
        expected += ("Annotation_Base11.xls: 1 label corrected by ADCIS erratum of ",)
    assert all(note.startswith(expected) for note in dataset.notes)
    broken = [note for note in dataset.notes if "the optic cup is larger than the optic disc" in note]
    assert len(broken) == (name in ("ODIR", "UK")), "a row that breaks its own arithmetic"
    for image in dataset.images:
        case = dataset.describe(image)
        assert case.description == dataset.get_description(image)


@pytest.mark.parametrize("name", NAMES)
def test_automorph_files_are_read_with_all_they_can_say(name: str, drawn: dict[str, Path], loaded: dict) -> None:
    roots = sorted(p.parent for p in (drawn[name] / "Results").rglob("M1"))
    assert all((root / "M3" / f"{kind}_Features.csv").is_file() for root in roots for kind in ("Macular", "Disc"))
    assert ((drawn[name] / "Results" / "train" / "M1").is_dir()) == page.get(name).restart
    cases = [loaded[name].describe(image) for image in loaded[name].images]
    counts = {len(case.about("vascular")) for case in cases}
    assert 45 in counts and 0 in counts, "measured and rejected images"
    assert counts - {0, 45}, "a row with failed measurements"


@pytest.mark.parametrize("name", NAMES)
def test_automorph_rows_follow_its_own_rules(name: str, drawn: dict[str, Path]) -> None:
    doubtful = discs = 0
    for m1 in (drawn[name] / "Results").rglob("results_ensemble.csv"):
        quality = list(csv.DictReader(m1.open(encoding="utf-8")))
        rows = {
            kind: list(csv.DictReader((m1.parents[1] / "M3" / f"{kind}_Features.csv").open(encoding="utf-8")))
            for kind in ("Macular", "Disc")
        }
        assert all(row["Name"].startswith("../Results/M0/images/") for row in quality)
        good = set()
        for row in quality:
            shares = [float(row[f"softmax_{word}"]) for word in ("good", "usable", "bad")]
            assert sum(shares) == pytest.approx(1) and int(row["Prediction"]) == int(np.argmax(shares))
            if row["Prediction"] == "0" or (row["Prediction"] == "1" and shares[2] < 0.25):
                good.add(row["Name"].rsplit("/", 1)[-1])
            doubtful += row["Prediction"] == "1" and shares[2] >= 0.25
        assert {row["Name"] for some in rows.values() for row in some} == good
        assert all(row["Disc_height"] for row in rows["Disc"]), "without a disc a picture counts as centred on the macula"
        discs += len(rows["Disc"])
    assert doubtful == 1
    # IDRiD's page calls every picture centred on the macula, and PAPILA's every one on the disc
    assert discs == {"IDRiD": 0, "PAPILA": 7}.get(name.partition("_")[0], 1)


def test_automorph_header_is_the_published_one() -> None:
    header = SHARED / "automorph" / "Macular_Features.header.csv"
    if not header.is_file():
        pytest.skip(f"{header} is not there: the published header cannot be compared")
    assert list(automorph.COLUMNS) == header.read_text(encoding="utf-8").strip().split(",")
    ensemble = SHARED / "automorph" / "results_ensemble.csv"
    assert ensemble.read_text(encoding="utf-8").splitlines()[0] == automorph.QUALITY


def test_measurements_lie_where_automorph_s_do() -> None:
    measures = fundus.draw(canvas.Eye("someone", "someone's eye")).measures
    assert len(measures) == 72
    for column, value in measures.items():
        spec = measurements.feature(column)
        assert spec.low < value < spec.high, column
    assert 0.05 < measures["Vessel_density"] < 0.13
    assert 1.4 < measures["Fractal_dimension"] < 1.65
    assert measures["Vessel_density"] > measures["Vessel_density_zone_c"] > measures["Vessel_density_zone_b"]
    assert measures["CDR_vertical"] == pytest.approx(measures["Cup_height"] / measures["Disc_height"])
    assert measures["AVR_Knudtson_zone_b"] == pytest.approx(measures["CRAE_Knudtson_zone_b"] / measures["CRVE_Knudtson_zone_b"])


# --- the same bytes, and nobody's files overwritten ---


def test_the_same_seed_gives_the_same_bytes_in_another_process(drawn: dict[str, Path], tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from retinal_lib.sample.draw import draw; draw('odir', Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "again")], check=True)
    assert digests(tmp_path / "again") == digests(drawn["ODIR"])


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_eye(self: datasets.Sample) -> None:
        camera = canvas.Camera((160, 120))
        self.draw_photograph(datasets.Photograph("9000001_21015_0_0.png", "9000001", "left", camera=camera))

    monkeypatch.setattr(datasets.Sample, "draw_eyes", one_eye)


@pytest.mark.usefixtures("tiny")
def test_a_drawn_sample_is_left_alone(tmp_path: Path) -> None:
    folder = sample.draw("uk", tmp_path / "deep" / "uk")
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert sample.draw("UK", folder) == folder
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    assert json.loads((folder / ".sample").read_text()).items() >= {"dataset": "UK", "seed": 0}.items()
    assert [p.name for p in folder.parent.iterdir()] == ["uk"], "no temporary folder stays"


@pytest.mark.usefixtures("tiny")
def test_another_seed_or_version_is_drawn_anew(tmp_path: Path) -> None:
    first = digests(sample.draw("UK", tmp_path / "uk"))
    second = digests(sample.draw("UK", tmp_path / "uk", seed=1))
    assert first.keys() == second.keys() and first["9000001_21015_0_0.png"] != second["9000001_21015_0_0.png"]
    assert digests(sample.draw("UK", tmp_path / "uk")) == first
    (tmp_path / "uk" / "stray.txt").write_text("from an older version")
    (tmp_path / "uk" / ".sample").write_text('{"version": 0, "dataset": "UK", "seed": 0}')
    assert "stray.txt" not in digests(sample.draw("UK", tmp_path / "uk"))
    assert [p.name for p in tmp_path.iterdir()] == ["uk"]


@pytest.mark.usefixtures("tiny")
def test_a_folder_that_is_no_sample_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "9000001_21015_0_0.png").write_bytes(b"precious")
    with pytest.raises(UserError, match=r"mine exists and is no drawn sample"):
        sample.draw("UK", tmp_path / "mine")
    assert (tmp_path / "mine" / "9000001_21015_0_0.png").read_bytes() == b"precious"
    (tmp_path / "file").write_text("a file")
    with pytest.raises(UserError, match="no drawn sample"):
        sample.draw("UK", tmp_path / "file")


@pytest.mark.usefixtures("tiny")
def test_of_two_at_once_the_quicker_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, one_eye = tmp_path / "uk", datasets.Sample.draw_eyes

    def overtaken(self: datasets.Sample) -> None:
        monkeypatch.setattr(datasets.Sample, "draw_eyes", one_eye)
        sample.draw("UK", folder)
        (folder / "winner").touch()
        one_eye(self)

    monkeypatch.setattr(datasets.Sample, "draw_eyes", overtaken)
    assert sample.draw("UK", folder) == folder
    assert (folder / "winner").exists() and [p.name for p in tmp_path.iterdir()] == ["uk"]


def test_a_failed_drawing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: datasets.Sample) -> None:
        files.table(self.folder / "half.csv", ["half"])
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(datasets.Sample, "draw_eyes", broken)
    with pytest.raises(RuntimeError, match="disk"):
        sample.draw("UK", tmp_path / "uk")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"a sample cannot be drawn into .*file/ODIR \(File exists\)"):
        sample.draw("ODIR", tmp_path / "file" / "ODIR")


def test_an_unknown_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown dataset 'Aptoss'.*did you mean 'APTOS'"):
        sample.draw("Aptoss", tmp_path / "a")


# --- the published quirks ---


def test_idrid_tables_are_as_published(drawn: dict[str, Path]) -> None:
    place = drawn["IDRiD"] / "B. Disease Grading" / "2. Groundtruths"
    train = (place / "a. IDRiD_Disease Grading_Training Labels.csv").read_bytes()
    test = (place / "b. IDRiD_Disease Grading_Testing Labels.csv").read_bytes()
    assert train.startswith(b"Image name,Retinopathy grade,Risk of macular edema ,,,,,,,,,\r\nIDRiD_001,")
    assert test.startswith(b"Image name,Retinopathy grade,Risk of macular edema \r\nIDRiD_001,")
    rows = [line.split(",") for line in train.decode().split("\r\n")[1:-1]]
    assert {len(row) for row in rows} == {12} and [cell for row in rows for cell in row[3:] if cell] == [" "]
    published = SHARED / "IDRiD" / "B. Disease Grading" / "2. Groundtruths" / "a. IDRiD_Disease Grading_Training Labels.csv"
    if published.is_file():
        assert train.split(b"\r\n")[0] == published.read_bytes().split(b"\r\n")[0]


def test_idrid_masks_are_as_published(drawn: dict[str, Path]) -> None:
    root = drawn["IDRiD_seg"] / "A. Segmentation"
    masks = {p.stem: p for p in (root / "2. All Segmentation Groundtruths").rglob("*.tif")}
    for name, path in masks.items():
        with Image.open(path) as mask:
            assert mask.mode == ("RGBA" if name == "IDRiD_81_EX" else "P")
            if mask.mode == "P":
                assert mask.tag_v2[258] == (1,) and mask.getpalette("RGB")[:6] == [0, 0, 0, 255, 0, 0]
                assert set(np.unique(np.asarray(mask))) == {0, 1}
            else:
                pixels = np.asarray(mask)
                assert (
                    (pixels[..., 3] == 255).all() and not pixels[..., 1:3].any() and set(np.unique(pixels[..., 0])) == {0, 255}
                )
    images = [p.stem for p in (root / "1. Original Images").rglob("*.jpg")]
    for code in ("MA", "EX", "OD"):
        assert {f"{image}_{code}" for image in images} <= set(masks)
    assert {image for image in images if f"{image}_HE" not in masks} == {"IDRiD_43"}
    assert 3 <= sum(f"{image}_SE" in masks for image in images) <= len(images) - 3


def test_idrid_lesions_are_told_as_they_were_drawn(drawn: dict[str, Path], loaded: dict) -> None:
    dataset = loaded["IDRiD_seg"]
    for image in dataset.images:
        told = values(dataset.describe(image))
        assert told["MA"] == 12 and "OD_box" in told
    assert values(dataset.describe("IDRiD_43.jpg"))["HE"] == 0 and values(dataset.describe("IDRiD_01.jpg"))["SE"] == 0
    assert values(dataset.describe("IDRiD_81.jpg"))["EX_area"] < 5, "the opaque alpha is no lesion"


def test_masks_are_of_their_image_s_size(drawn: dict[str, Path]) -> None:
    root = drawn["MICCAI_task2"] / "2. Segmentation of Myopic Maculopathy Plus Lesions"
    masks = sorted(p for p in root.rglob("*.png") if "2. Groundtruths" in p.parts)
    assert len(masks) == 12
    for path in masks:
        image = Path(str(path).replace("2. Groundtruths", "1. Images"))
        with Image.open(path) as mask, Image.open(image) as picture:
            assert mask.mode == "L" and set(np.unique(np.asarray(mask))) == {0, 255} and mask.size == picture.size
        assert boxes.read(boxes.MaskFile(path)).lesions


def test_rfmid_tables_are_as_published(drawn: dict[str, Path]) -> None:
    ours = (drawn["RFMiD"] / "A. RFMiD_All_Classes_Dataset" / "2. Groundtruths" / "a. RFMiD_Training_Labels.csv").read_bytes()
    assert ours.startswith(b"\xef\xbb\xbfID,Disease_Risk,DR,ARMD,MH,DN,") and b"\r" not in ours
    published = SHARED / "RFMiD" / "RFMiD_Training_Labels.csv"
    if published.is_file():
        assert ours.split(b"\n")[0] == published.read_bytes().split(b"\n")[0].rstrip(b"\r")
    second = (drawn["RFMiD2"] / "Training_set" / "RFMiD_2_Training_labels.csv").read_bytes()
    header = second.decode("cp1252").split("\n")[0].split(",")
    assert header[:2] == ["ID", "WNL"] and header[-1] == "" and "OPDM" in header and "ON\xa0" in header
    with pytest.raises(UnicodeDecodeError):
        second.decode("utf-8")
    for name in ("RFMiD", "RFMiD2"):
        stems = [p.stem for p in drawn[name].rglob("*") if p.suffix in (".png", ".jpg")]
        assert stems.count("1") == 3, "numbering restarts"


def test_odir_table_is_as_published(drawn: dict[str, Path], loaded: dict) -> None:
    content = table.read(drawn["ODIR"] / "ODIR-5K_Training_Annotations(Updated)_V2.xlsx")
    assert list(content.header) == [
        "ID",
        "Patient Age",
        "Patient Sex",
        "Left-Fundus",
        "Right-Fundus",
        "Left-Diagnostic Keywords",
        "Right-Diagnostic Keywords",
        *"NDGCAHMO",
    ]
    keywords = content.column("Left-Diagnostic Keywords") + content.column("Right-Diagnostic Keywords")
    assert any("，" in cell for cell in keywords) and any("lens dust" in cell for cell in keywords)
    assert any("low image quality" in cell for cell in keywords) and "1" in content.column("Patient Age")
    assert "anterior segment image" in loaded["ODIR"].skipped["1086_left.jpg"]
    left, right = (values(loaded["ODIR"].describe(f"23_{side}.jpg")) for side in ("left", "right"))
    assert "normal" in right and "normal" not in left and "diagnosis" in left


def test_messidor_tables_are_old_spreadsheets_with_errata(drawn: dict[str, Path], loaded: dict) -> None:
    root = drawn["Messidor"]
    paths = [root / "Base11" / "Annotation_Base11.xls", root / "Base12" / "Annotation Base12.xls"]
    assert all(path.read_bytes().startswith(b"\x09\x00\x04\x00") for path in paths), "BIFF, no zip"
    assert b"Risk of macular edema \x04" in paths[0].read_bytes(), "a trailing space"
    content = table.read(paths[0])
    assert set(content.column("Ophthalmologic department")) == {"Service Ophtalmologie Lariboisière"}
    published = dict(zip(content.column("Image name"), content.column("Retinopathy grade"), strict=True))
    for name, stale, right in (("20051020_63045_0100_PP.tif", "3", 0), ("20051020_64007_0100_PP.tif", "1", 3)):
        assert published[name] == stale and values(loaded["Messidor"].describe(name))["grade"] == right


def test_messidor_2_has_mixed_suffixes_and_an_ungradable_picture(drawn: dict[str, Path], loaded: dict) -> None:
    lines = (drawn["Messidor2"] / "messidor_data.csv").read_text().splitlines()
    names = {p.name for p in (drawn["Messidor2"] / "IMAGES").iterdir()}
    assert {Path(name).suffix for name in names} == {".JPG", ".png"}
    assert {Path(line.split(",")[0]).suffix for line in lines[1:]} == {".jpg", ".png"}
    assert sum(line.endswith(",,,0") for line in lines) == 1
    assert (drawn["Messidor2"] / "messidor-2.csv").read_text().startswith("left;right\n")
    case = loaded["Messidor2"].describe("IM003719.JPG")
    assert (case.eye, case.patient) == ("right", "im003718") and not case.about("disease")


def test_eyeq_and_aptos_tables_are_as_published(drawn: dict[str, Path]) -> None:
    rows = list(csv.reader(io.StringIO((drawn["EyeQ"] / "Label_EyeQ_train.csv").read_text())))
    assert rows[0] == ["", "image", "quality", "DR_grade"] and rows[1][0] == "0" and rows[1][1].endswith("_left.jpeg")
    assert {row[2] for row in rows[1:]} == {"0", "1", "2"}
    assert (drawn["APTOS"] / "test.csv").read_text().startswith("id_code\n")
    assert (
        len(list((drawn["APTOS"] / "train_images").iterdir())) == 12
        and len(list((drawn["APTOS"] / "test_images").iterdir())) == 2
    )
    submission = (drawn["APTOS"] / "sample_submission.csv").read_text().splitlines()
    assert len({line.split(",")[1] for line in submission[1:]}) == 1


def test_mmac_pairs_stand_in_consecutive_rows(drawn: dict[str, Path]) -> None:
    path = next(drawn["MICCAI_task1"].rglob("*Training_Labels.csv"))
    rows = list(csv.DictReader(path.open()))
    assert list(rows[0]) == ["image", "myopic_maculopathy_grade", "age", "sex", "height", "weight"]
    people = [(row["age"], row["sex"], row["height"], row["weight"]) for row in rows]
    assert people[::2] == people[1::2] and len(set(people)) == len(people) / 2


# --- pictures show what the labels say ---


def count(drawing: fundus.Drawing, kind: str) -> int:
    return len(boxes.find(drawing.masks[kind]).lesions) if kind in drawing.masks else 0


def nearest(drawing: fundus.Drawing) -> float:
    """From the fovea to the nearest hard exudate, in disc diameters (of the disc's height)."""
    rows, columns = np.nonzero(drawing.masks["EX"])
    x, y = drawing.centres["fovea"]
    diameter = np.ptp(np.flatnonzero(drawing.disc.any(axis=1))) + 1
    return float(np.hypot(columns - x, rows - y).min() / diameter)


@pytest.fixture
def shots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    """Draws a dataset without saving pictures; image stem (with its split) -> drawing."""

    def take(name: str) -> dict[str, fundus.Drawing]:
        one = datasets.Sample(name, tmp_path)
        one.draw_eyes()
        restart = page.get(name).restart
        return {f"{p.split if restart else ''}/{Path(p.path).stem}".lstrip("/"): d for p, d in one.photographs}

    return take


def test_messidor_pictures_agree_with_its_own_scale(shots: object, loaded: dict) -> None:
    for name, drawing in shots("Messidor").items():
        told = values(loaded["Messidor"].describe(f"{name}.tif"))
        spots, bleeds = count(drawing, "MA"), count(drawing, "HE")
        grade = 3 if spots >= 15 or bleeds >= 5 else 2 if spots > 5 or bleeds else 1 if spots else 0
        assert grade == told.get("grade", 0), name  # of a rejected picture, a grade of 0 is not told
        risk = 0 if "EX" not in drawing.masks else 2 if nearest(drawing) <= 1 else 1
        assert risk == told.get("macular_oedema_risk", 0), name


def test_idrid_pictures_agree_with_both_grades(shots: object, loaded: dict) -> None:
    for name, drawing in shots("IDRiD").items():
        told = values(loaded["IDRiD"].describe(f"{name}.jpg"))
        kinds = set(drawing.masks) - {"EX"}
        assert (
            kinds
            == {0: set(), 1: {"MA"}, 2: {"MA", "HE"}, 3: {"MA", "HE", "SE"}, 4: {"MA", "HE", "NV", "PRH"}}[told.get("grade", 0)]
        ), name
        risk = 0 if "EX" not in drawing.masks else 2 if nearest(drawing) <= 1 else 1
        assert risk == told.get("macular_oedema_risk", 0), name


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_disc_lies_on_the_side_of_the_nose(side: str) -> None:
    drawing = fundus.draw(canvas.Eye("someone", f"{side} eye", side))
    (disc_x, disc_y), (fovea_x, fovea_y) = drawing.centres["disc"], drawing.centres["fovea"]
    assert (disc_x > fovea_x) == (side == "right")
    diameter = np.ptp(np.flatnonzero(drawing.disc.any(axis=1))) + 1
    assert 2.1 < math.hypot(disc_x - fovea_x, disc_y - fovea_y) / diameter < 2.9
    assert drawing.image.shape == (512, 768, 3) and drawing.image.dtype == np.uint8
    assert drawing.image[drawing.disc].mean() > 1.2 * drawing.image[drawing.image.max(axis=2) > 40].mean()
    assert drawing.image[:5, :5].max() < 15


def test_a_large_cup_is_drawn_and_measured() -> None:
    measures = fundus.draw(canvas.Eye("someone", "a cupped eye", findings={"cup": 0.78})).measures
    assert 0.7 < measures["CDR_vertical"] < 0.85


# --- the version in eyes.yaml ---

GOLDEN = Path(__file__).with_name("golden_sample.json")
CHANGED = (
    "what the samples show has changed: raise `version` in retinal_lib/sample/eyes.yaml, so that samples which users have "
    "are drawn again, then write tests/golden_sample.json anew with `python tests/test_sample.py`"
)
FINDINGS = {
    **{"haemorrhages": 14, "exudates near": 2, "exudates far": 3, "soft exudates": 4, "microaneurysms": 15, "flames": 5},
    **{"new vessels": 3, "preretinal": 1, "nerve fibres": 1, "vein occlusion": 2, "membrane": 1, "macular hole": 0.15},
    **{"diffuse atrophy": 0.8, "patchy atrophy": 3, "macular atrophy": 0.85, "crescent": 1.2, "lacquer cracks": 3},
    **{"CNV": 0.45, "Fuchs spot": 0.3, "subretinal blood": 0.7, "serous detachment": 0.85, "drusen": 45, "laser": 110},
    **{"spicules": 60, "anterior": 1, "haze": 0.6, "dust": 7, "blur": 0.7, "dark": 0.5, "tessellation": 1.6, "cup": 0.78},
    **{"disc oedema": 1, "disc pallor": 0.6, "tortuous": 2.2, "artery width": 0.75},
}


def layout_digest(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a dataset's sample is made of: the eyes to draw, the paths of all files, the cells of all tables."""
    shown, every = [], np.ones((8, 8), bool)
    codes, places = "MA HE EX SE LC CNV FS".split(), {"disc": (5.0, 4.0), "fovea": (3.0, 4.0)}

    def draw(eye: canvas.Eye) -> fundus.Drawing:
        camera = eye.camera
        shown.append([*camera.size, camera.field, camera.degrees, camera.notch])
        shown.append([eye.patient, eye.name, eye.side, eye.centre, *sorted(eye.findings.items())])
        return fundus.Drawing(
            eye, np.zeros((8, 8, 3), np.uint8), dict.fromkeys(codes, every), every, every, places, {"CDR_vertical": 0.5}
        )

    with monkeypatch.context() as patch:
        patch.setattr(datasets, "draw", draw)
        sample.draw(name, folder)
    for path in sorted(p for p in folder.rglob("*.*") if p.is_file() and p.name != ".sample"):
        shown.append(path.relative_to(folder).as_posix())
        if path.suffix == ".csv":
            shown.append(path.read_bytes().hex())
        elif path.suffix.startswith(".xls"):
            content = table.read(path)
            shown.append([*content.header, *(content.column(column) for column in content.header)])
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def painting(finding: str) -> list[float]:
    """A coarse look at an eye with one finding: 4 x 4 mean colours, pixels of the masks, three measurements."""
    camera = canvas.Camera((240, 160), 0.97)
    drawing = fundus.draw(canvas.Eye(finding, finding, findings={finding: FINDINGS[finding]}, camera=camera))
    cells = drawing.image.reshape(4, 40, 4, 60, 3).mean(axis=(1, 3)).ravel().tolist()
    pixels = [int(drawing.masks[kind].sum()) for kind in sorted(drawing.masks)] + [int(drawing.disc.sum())]
    measures = [drawing.measures[c] for c in ("Fractal_dimension", "Average_width", "Distance_tortuosity")]
    return [round(float(x), 4) for x in [*cells, *pixels, *measures]]


def test_what_is_drawn_changes_with_the_version_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert golden["version"] == datasets.contents()["version"], CHANGED
    assert {name: layout_digest(name, tmp_path / name, monkeypatch) for name in NAMES} == golden["layouts"], CHANGED
    for finding in FINDINGS:
        assert painting(finding) == pytest.approx(golden["paintings"][finding], rel=0.01, abs=0.5), f"{finding}: {CHANGED}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        content = {
            "version": datasets.contents()["version"],
            "layouts": {name: layout_digest(name, Path(place) / name, patch) for name in NAMES},
            "paintings": {finding: painting(finding) for finding in FINDINGS},
        }
    lines = json.dumps(content, indent=1).replace("\n   ", " ").replace("\n  ]", "]")
    GOLDEN.write_text(lines + "\n", encoding="utf-8")
