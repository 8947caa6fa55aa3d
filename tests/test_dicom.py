"""DICOM files: pictures are read rightly or refused, and of the header nothing but eye and age leaves the file."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from retinal_lib import Job
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.errors import UserError
from retinal_lib.evaluate.evaluation import Evaluation
from retinal_lib.explore.explore import Explore
from retinal_lib.export import card, trainers
from retinal_lib.imaging import images
from retinal_lib.review.review import Review

SECRETS = ("QQSURNAME", "QQGIVEN", "19570131", "QQID77", "QQACC88", "QQHOSPITAL", "QQDOCTOR", "QQFREE", "20230417")
COLOURS = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)


def dicom(file: Path, values: np.ndarray = COLOURS, syntax: str = ExplicitVRLittleEndian, **fields: object) -> Path:
    """Writes a file with a header full of what must not leave it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = syntax, generate_uid()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
    made = Dataset()
    made.file_meta, made.SOPClassUID, made.SOPInstanceUID = meta, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.PatientName, made.PatientBirthDate, made.PatientID = "QQSURNAME^QQGIVEN", "19570131", "QQID77"
    made.AccessionNumber, made.InstitutionName, made.ReferringPhysicianName = "QQACC88", "QQHOSPITAL", "QQDOCTOR"
    made.ImageComments, made.StudyDate, made.PatientSex = "QQFREE", "20230417", "F"
    made.Rows, made.Columns = values.shape[:2]
    made.SamplesPerPixel = 3 if values.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    made.PlanarConfiguration, made.PixelRepresentation = 0, 0
    made.BitsAllocated = made.BitsStored = values.dtype.itemsize * 8
    made.HighBit = made.BitsStored - 1
    made.PixelData = values.tobytes()
    for name, value in fields.items():
        setattr(made, name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are wrong on purpose
        made.save_as(file, enforce_file_format=True)
    return file


def jpeg(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "JPEG", quality=95)
    return encapsulate([stream.getvalue()])


def seen(file: Path) -> np.ndarray:
    return np.asarray(images.load_upright(file, 1000)).astype(int)


DEEP = (np.arange(24 * 32).reshape(24, 32) * 5).astype(np.uint16)
SMOOTH = np.repeat(np.linspace(0, 255, 32).astype(np.uint8)[None, :, None], 24, 0).repeat(3, 2)
SMOOTH[..., 2] = 90


def test_pictures_are_seen_as_their_form_says(tmp_path: Path) -> None:
    assert (seen(dicom(tmp_path / "rgb.dcm")) == COLOURS).all()
    planes = COLOURS.transpose(2, 0, 1)
    assert (seen(dicom(tmp_path / "p.dcm", PlanarConfiguration=1, PixelData=planes.tobytes())) == COLOURS).all()
    grey = COLOURS[..., 0]
    assert (seen(dicom(tmp_path / "g.dcm", grey))[..., 0] == grey).all()
    inverted = dicom(tmp_path / "m1.dcm", grey, PhotometricInterpretation="MONOCHROME1")
    assert (seen(inverted)[..., 0] == 255 - grey.astype(int)).all()
    twelve = dicom(tmp_path / "d.dcm", DEEP, BitsStored=12, HighBit=11)
    assert np.ptp(seen(twelve)[..., 0]) == 255 and (np.diff(seen(twelve)[..., 0].ravel()) >= 0).all()
    dark = dicom(tmp_path / "d1.dcm", DEEP, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1")
    assert (np.diff(seen(dark)[..., 0].ravel()) <= 0).all()
    packed = dicom(
        tmp_path / "j.dcm", SMOOTH, JPEGBaseline8Bit, PixelData=jpeg(SMOOTH), PhotometricInterpretation="YBR_FULL_422"
    )
    assert np.abs(seen(packed) - SMOOTH).mean() < 4
    ybr = np.asarray(Image.fromarray(SMOOTH).convert("YCbCr"))
    plain = dicom(tmp_path / "y.dcm", SMOOTH, PhotometricInterpretation="YBR_FULL", PixelData=ybr.tobytes())
    assert np.abs(seen(plain) - SMOOTH).mean() < 4


REFUSED = {
    "holds 2 frames": {"NumberOfFrames": "2", "PixelData": COLOURS.tobytes() * 2},
    "has 65000 x 65000 pixels": {"Rows": 65000, "Columns": 65000},
    "codes its colours in a way that is not read": {"PhotometricInterpretation": "HSV"},
    "more than 8 bits a colour": {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelData": COLOURS.tobytes() * 2},
    "its picture is damaged": {"PixelData": COLOURS.tobytes()[:99]},
    "holds no picture": {"PixelData": None},
}


@pytest.mark.parametrize(("why", "fields"), REFUSED.items())
def test_what_cannot_be_read_rightly_is_refused_in_a_sentence(tmp_path: Path, why: str, fields: dict) -> None:
    file = dicom(tmp_path / "x.dcm", **fields)
    if why == "holds no picture":
        from pydicom import dcmread

        whole = dcmread(file)
        del whole.PixelData
        whole.save_as(file)
    with pytest.raises(UserError, match=why) as error:
        images.load_upright(file, 100)
    assert not any(secret in str(error.value) for secret in SECRETS)


def test_files_that_are_packed_or_no_dicom_are_refused(tmp_path: Path) -> None:
    dicom(tmp_path / "x.dcm", syntax=DeflatedExplicitVRLittleEndian)
    with pytest.raises(UserError, match="packed as a whole"):
        images.load_upright(tmp_path / "x.dcm", 100)
    (tmp_path / "y.dcm").write_bytes(b"no picture")
    with pytest.raises(UserError, match="not a readable DICOM file"):
        images.load_upright(tmp_path / "y.dcm", 100)


def test_without_pydicom_one_sentence_has_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicom(tmp_path / "1.dcm")
    (tmp_path / "my.csv").write_text("image,disease\n1.dcm,drusen\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs pydicom: python -m pip install -e '.\[dicom\]'"):
        BaseDescription(tmp_path, dataset=str(tmp_path / "my.csv"))


def test_eye_and_age_come_from_the_header_and_a_contradiction_leaves_the_image_out(tmp_path: Path) -> None:
    dicom(tmp_path / "1.dcm", ImageLaterality="L", PatientAge="061Y")
    dicom(tmp_path / "2.dcm", Laterality="R", PatientAge="004M")
    dicom(tmp_path / "3.dcm", ImageLaterality="L", Laterality="R")
    dicom(tmp_path / "4_left.dcm", ImageLaterality="R")
    dicom(tmp_path / "5.dcm", PatientAge="061Y")
    dicom(tmp_path / "6.dcm", ImageLaterality="R")
    lines = ["image,eye,age,disease", "1.dcm,,,drusen", "2,,,drusen", "3,,,drusen", "4_left,,,drusen", "5,,44,drusen"]
    (tmp_path / "my.csv").write_text("\n".join([*lines, "6.dcm,OS,50,drusen"]))
    data = BaseDescription(tmp_path, dataset=str(tmp_path / "my.csv"))
    told = {name: [fact.text for fact in data.describe(name).facts] for name in data.images}
    assert told["1.dcm"] == ["it shows the left eye", "the patient was 61 years old", "drusen"]
    assert told["2.dcm"] == ["it shows the right eye", "drusen"]
    assert "name different eyes" in data.skipped["3.dcm"]
    assert "its DICOM header says the right eye" in data.skipped["4_left.dcm"]
    assert "'44', but the DICOM header of the picture says 61 years" in data.skipped["5.dcm"]
    assert "its DICOM header says the right eye, but its name or table says the left eye" in data.skipped["6.dcm"]
    (tmp_path / "own").mkdir()
    dicom(tmp_path / "own" / "1.dcm", PatientAge="061Y")
    (tmp_path / "own" / "my.csv").write_text("image,disease\n1.dcm,drusen")
    (case,) = map((own := BaseDescription(tmp_path / "own", dataset=str(tmp_path / "own" / "my.csv"))).describe, own.images)
    assert "the patient was 61 years old" in case.description


def test_nothing_else_of_a_header_is_in_whatever_is_made(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    (data := tmp_path / "data").mkdir()
    fields = [{"ImageLaterality": "L"}, {"ImageLaterality": "R", "PatientAge": "QQFREE"}, {"StudyDate": "QQID77"}, {"Rows": 7}]
    for number, more in enumerate(fields):
        dicom(data / f"{number}.dcm", **more)
    lines = "\n".join(f"{number}.dcm,{words}" for number, words in enumerate(("drusen", "glaucoma", "normal", "AMD")))
    (data / "my.csv").write_text(f"image,disease\n{lines}\n")
    given, out = {"dataset": str(data / "my.csv")}, tmp_path / "out"
    job = Job.load(**given, out_dir=str(out / "run"), max_failed=1.0)
    shown = [job.run().table, job.summary_table(), job.columns]
    explore = Explore.load(**given, out_dir=str(out / "explore"))
    shown += [explore.problems, explore.example_chart, explore.save(), explore.notes]
    shown += Evaluation.load(**given, out_dir=str(out / "evaluate")).save()
    shown.append(Review.load(**given, out_dir=str(out / "run"), reviewer="Ada").show())
    card.write_card(out / "run")
    trainers.export([out / "run"], "chat", str(out / "export"), None, None, None, "copy")
    made = [file for file in out.rglob("*") if file.is_file()]
    assert sum(file.suffix == ".png" for file in made) > 2 and not any(file.suffix == ".dcm" for file in made)
    texts = [file.read_bytes() for file in made] + [" ".join(map(str, shown)).encode(), "".join(capfd.readouterr()).encode()]
    for secret in SECRETS:
        assert not any(secret.encode() in text for text in texts), secret
