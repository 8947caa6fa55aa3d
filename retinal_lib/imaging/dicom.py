"""DICOM files: their picture, and of their header which eye it shows and the patient's age; no other field is read or kept."""

import importlib.util
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retinal_lib.errors import UserError
from retinal_lib.files import printable

if TYPE_CHECKING:  # an extra, and slow to load
    from pydicom import Dataset

SUFFIXES = (".dcm", ".dicom")
_EYES = {"L": "left", "R": "right"}
_SAID = ("ImageLaterality", "Laterality", "PatientAge")
_SHAPE = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration", "PhotometricInterpretation")
_PIXELS = (*_SHAPE, "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_DEFLATED = "1.2.840.10008.1.2.1.99"  # the whole file is packed: how large it is, shows only when it is unpacked
# what pydicom raises on damaged files, each of its readers in its own way; it has no kind of error for them
_BROKEN = (OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, RuntimeError, struct.error, zlib.error)


class Header(NamedTuple):
    """What is read of a header: the eye, left or right, and the patient's age in years; None where it does not say."""

    eye: str | None = None
    age: int | None = None


def is_dicom(path: Path) -> bool:
    """Says whether a file is called like a DICOM file."""
    return path.suffix.casefold() in SUFFIXES


def require_reader(path: Path) -> None:
    """Checks that DICOM files can be read. UserError: pydicom is not installed."""
    if importlib.util.find_spec("pydicom") is None:
        raise UserError(f"{printable(path.name)} is a DICOM file, which needs pydicom: python -m pip install -e '.[dicom]'")


def header(path: Path) -> Header:
    """Reads which eye a DICOM file shows, and the patient's age. UserError: it cannot be read, or its fields contradict each
    other."""
    return _header(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=65536)
def _header(path: Path, _changed: int) -> Header:
    with _reading(path, _SAID, False) as fields:
        said = [str(fields.get(name) or "").strip().upper() for name in _SAID]
    eyes = {_EYES[letter] for letter in said[:2] if letter in _EYES}
    if len(eyes) > 1:
        raise UserError(f"{printable(path.name)}: the DICOM fields ImageLaterality and Laterality name different eyes")
    age = said[2].removesuffix("Y")
    years = int(age) if said[2].endswith("Y") and age.isdecimal() else 0
    return Header(eyes.pop() if eyes else None, years if 0 < years < 120 else None)


def pixels(path: Path, most: int) -> np.ndarray:
    """Reads the picture of a DICOM file: uint8 [height, width, 3], or uint8 or uint16 [height, width], black the least.
    UserError: it cannot be read, has more than `most` pixels, several frames, or colours of more than 8 bits."""
    with _reading(path, _PIXELS, True) as fields:
        if why := _unfit(fields, most):
            raise UserError(f"{printable(path.name)} is a DICOM file that {why}")
        from pydicom.pixels import pixel_array

        values, bits = np.asarray(pixel_array(fields)), int(fields.BitsStored)
        grey = fields.SamplesPerPixel == 1
        if values.shape != (fields.Rows, fields.Columns, *(() if grey else (3,))):
            raise ValueError("another number of pixels")
        if not grey:
            return values.astype(np.uint8)
        values = values.astype(np.int64) - (values.min() if fields.PixelRepresentation else 0)
        values = (2**bits - 1) - values if fields.PhotometricInterpretation == "MONOCHROME1" else values
        return values.clip(0).astype(np.uint8 if bits <= 8 else np.uint16)


def _unfit(fields: "Dataset", most: int) -> str:
    """Why a picture is not read, as the end of a sentence; "" where it is."""
    if "PixelData" not in fields:
        return "holds no picture"
    if (frames := int(fields.get("NumberOfFrames") or 1)) > 1:
        return f"holds {frames:,} frames; one picture is needed"
    if fields.Rows * fields.Columns > most:
        return f"has {fields.Columns} x {fields.Rows} pixels, more than the {most:,} that a fundus photograph may have"
    if fields.SamplesPerPixel == 1 and fields.PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2"):
        return "" if fields.BitsStored <= 16 else "has more than 16 bits a pixel"
    if fields.SamplesPerPixel != 3 or fields.PhotometricInterpretation not in _COLOURS:
        return "codes its colours in a way that is not read; save it as RGB, or as PNG"
    return "" if fields.BitsAllocated == 8 else "has more than 8 bits a colour; save it as RGB with 8, or as PNG"


@contextmanager
def _reading(path: Path, names: tuple[str, ...], whole: bool) -> Iterator["Dataset"]:
    """Gives the named fields of a DICOM file, and no others. UserError, also inside the block: it cannot be read. Neither that
    sentence nor a warning repeats what pydicom says, which may quote the header."""
    require_reader(path)
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_file_meta_info

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            packed = read_file_meta_info(path).get("TransferSyntaxUID") == _DEFLATED
            if not packed:
                yield dcmread(path, stop_before_pixels=not whole, specific_tags=list(names))
    except (*_BROKEN, InvalidDicomError):
        why = "its picture is damaged, or compressed in a way that is not read" if whole else "it is damaged, or no DICOM file"
        # the cause is not chained: it may quote the header
        raise UserError(f"{printable(path.name)} is not a readable DICOM file: {why}") from None
    if packed:
        raise UserError(f"{printable(path.name)} is a DICOM file that is packed as a whole (deflated); save it otherwise")
