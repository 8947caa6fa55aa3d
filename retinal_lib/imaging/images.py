"""Image files opened for people and for teachers: upright, scaled down, without metadata."""

import base64
import io
import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from retinal_lib.errors import UserError
from retinal_lib.files import file_sha256, git_lfs_pointer, printable, why_unusable
from retinal_lib.imaging import dicom
from retinal_lib.text.shown_text import for_people

SENT_SIDE = 1024  # longest side of an image as sent, in pixels: larger ones cost money and show a model nothing more
# formats that datasets come in; the rest of Pillow's would start other programs (EPS, PDF) or need their libraries (HDF5)
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM", "GIF")
MAX_PIXELS = 100_000_000  # a larger image is refused: fundus cameras stay far below, decompression bombs do not
_TOO_MANY = f"more than the {MAX_PIXELS:,} that a fundus photograph may have"
_QUALITY = 90
_DEEP = ("I", "F")  # Pillow's modes of more than 8 bits


MARKER = ".sample"  # the file that marks a folder of drawn eyes
DRAWN = "Drawn sample: made-up eyes, nobody's pictures"


def drawn_among(files: Iterable[Path]) -> set[Path]:
    """Returns those picture files that this project drew: a folder above them, or above what they link to, has MARKER."""
    marked: dict[Path, bool] = {}

    def is_marked(folder: Path) -> bool:
        if folder not in marked:
            marked[folder] = (folder / MARKER).is_file() or (folder != folder.parent and is_marked(folder.parent))
        return marked[folder]

    drawn = set()
    for file in files:
        target = Path(os.path.realpath(file)) if file.is_symlink() else file  # resolve() fails on a loop of links
        folders = {file.absolute().parent, target.absolute().parent}
        if any(is_marked(folder) or is_marked(folder.resolve()) for folder in folders):
            drawn.add(file)
    return drawn


def load_upright(path: Path, side: int) -> Image.Image:
    """Reads a picture as RGB, rotated as its EXIF orientation says, with a longest side of at most `side` pixels. UserError: it
    cannot be read."""
    with open_image(path) as image:
        image.draft("RGB", (side, side))  # lets JPEG files decode at a fraction of their size
        turned = upright(image)
        turned.load()
        picture = turned if turned.mode == "RGB" else rgb(turned)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        return picture


def orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation of an opened picture, 1 to 8: 1 is upright, from 5 on width and height are exchanged."""
    # of a PNG, Pillow would read all pixels to look for a chunk behind them
    exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
    stated = exif.get(ExifTags.Base.Orientation, 1)
    return stated if stated in range(1, 9) else 1


def upright(image: Image.Image) -> Image.Image:
    """Returns an opened picture with its pixels turned as its EXIF orientation says."""
    return image if orientation(image) == 1 else ImageOps.exif_transpose(image)


_BARE = ("JPEG", "PNG", "BMP", "PPM")  # formats without metadata, or whose metadata `without_metadata` takes out


def is_upright(path: Path, side: int = MAX_PIXELS, bare: bool = False) -> bool:
    """Says whether any reader of a file sees the picture as `load_upright` gives it: it is neither to be turned nor deep grey,
    nor longer than `side` pixels, nor a DICOM file, whose header nobody else is to get; if it is to be `bare`, nor in a format
    whose metadata cannot be taken out. UserError: it cannot be read."""
    with open_image(path) as image:
        _refuse_cut_off(path, image)
        plain = orientation(image) == 1 and not image.mode.startswith(_DEEP) and not dicom.is_dicom(path)
        return plain and max(image.size) <= side and (not bare or image.format in _BARE)


_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


def _refuse_cut_off(path: Path, image: Image.Image) -> None:
    """UserError: an opened JPEG or PNG file lacks its end. Only a file that does not end as it should is decoded, since all
    pixels of a large dataset would take an hour."""
    if end := _ENDS.get(image.format):
        with path.open("rb") as file:
            file.seek(-min(64, path.stat().st_size), os.SEEK_END)
            if end in file.read():
                return
        try:
            load_upright(path, 64)
        except UserError as error:
            raise UserError(f"{path.name} is not a readable image: its end is missing") from error


def load_bare(path: Path, side: int = MAX_PIXELS) -> Image.Image:
    """Returns a picture as `load_upright` does, without metadata. UserError: it cannot be read."""
    pixels = load_upright(path, side)
    bare = Image.new("RGB", pixels.size)  # Pillow writes comments and profiles that it read; a new image has none
    bare.paste(pixels)
    return bare


def same_pixels(one: Path, other: Path, side: int = MAX_PIXELS) -> bool:
    """Says whether two files show the same picture, upright, see `load_upright`. UserError: one cannot be read."""
    return np.array_equal(*(np.asarray(load_upright(path, side)) for path in (one, other)))


def without_metadata(content: bytes) -> bytes | None:
    """Returns the bytes of a JPEG or PNG file without what cameras and people wrote into it (EXIF, XMP, IPTC, comments); the
    picture and its colour profile stay as they are. None for other files, and where the end of the picture is not found."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _without_chunks(content)
    return _without_segments(content) if content.startswith(b"\xff\xd8") else None


_SEGMENTS = (0xE1, *range(0xE3, 0xEE), 0xEF, 0xFE)  # of JPEG; E0, E2 and EE say how colours are to be read
_MARK = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME")


def _without_segments(content: bytes) -> bytes | None:
    kept, place = bytearray(content[:2]), 2
    while content[place : place + 1] == b"\xff" and place + 2 <= len(content):
        kind = content[place + 1]
        if kind == 0xD9:  # what stands behind it is another picture, as some cameras write, or nothing
            return bytes(kept + content[place : place + 2])
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        if kind == 0xDA:  # pixels follow, to the next mark
            mark = _MARK.search(content, end)
            end = mark.start() if mark else len(content)
        kept += b"" if kind in _SEGMENTS else content[place:end]
        place = end
    return None


def _without_chunks(content: bytes) -> bytes | None:
    kept, place = bytearray(content[:8]), 8
    while place + 12 <= len(content):
        kind, end = content[place + 4 : place + 8], place + 12 + int.from_bytes(content[place : place + 4], "big")
        kept += b"" if kind in _CHUNKS else content[place:end]
        if kind == b"IEND":
            return bytes(kept)
        place = end
    return None


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Opens an image file without reading its pixels yet. UserError, also inside the block: the file does not exist, is not
    an image in one of FORMATS or DICOM, or has too many pixels."""
    if why := why_unusable(path):
        raise UserError(f"{printable(path.name)} is not a readable image: {why}")
    if dicom.is_dicom(path):
        yield Image.fromarray(dicom.pixels(path, MAX_PIXELS))
        return
    try:
        with warnings.catch_warnings():
            # Pillow's warnings either become errors or do not matter; our limit is MAX_PIXELS
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UserError(f"{path.name} has {image.width} x {image.height} pixels, {_TOO_MANY}")
                yield image
    except Image.DecompressionBombError as error:
        raise UserError(f"{path.name} has far too many pixels, {_TOO_MANY}") from error
    except UnidentifiedImageError as error:  # Pillow names the whole path again
        why = git_lfs_pointer(path) or f"its format is none of {', '.join(FORMATS)}"
        raise UserError(f"{path.name} is not a readable image: {why}") from error
    # Pillow's readers raise these on damaged files, each in its own way
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error) as error:
        raise UserError(f"{path.name} is not a readable image: {error}") from error


def rgb(picture: Image.Image) -> Image.Image:
    """Returns a picture as RGB; deep grey (16 bit or more) is stretched from its darkest to its brightest value."""
    if picture.mode.startswith(_DEEP):
        values = np.nan_to_num(np.asarray(picture, dtype=np.float64))
        low, high = values.min(), values.max()
        picture = Image.fromarray(((values - low) * (255 / (high - low) if high > low else 1)).astype(np.uint8))
    return picture.convert("RGB")


def as_sent(path: Path) -> str:
    """Returns the image as a data URL: JPEG, its longest side at most SENT_SIDE pixels, without metadata. UserError: it cannot
    be read."""
    file = io.BytesIO()
    load_bare(path, SENT_SIDE).save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def sent_size(path: Path) -> tuple[int, int]:
    """Returns width and height of the image as sent, in pixels, without reading the pixels. UserError: the file is not an
    image, has too many pixels, or lacks its end."""
    with open_image(path) as image:
        _refuse_cut_off(path, image)
        scale = min(1, SENT_SIDE / max(image.size))
        return max(1, round(image.width * scale)), max(1, round(image.height * scale))


def why_unreadable(path: Path, error: UserError) -> str:
    """Returns what an error says of a picture file, with "the file" for its name, so that equal reasons count together."""
    return str(error).replace(for_people(printable(path.name)), "the file", 1)


def perceptual_hash(path: Path) -> np.ndarray:
    """Returns a perceptual hash (uint8 [32], 256 bits): whether the fundus gets brighter from left to right, in a 16 x 16 grid.
    The dark margin is cut off first, so that crops and sizes matter little. UserError: the file cannot be read."""
    grey = np.asarray(load_upright(path, 256).convert("L"), dtype=np.float32)
    fundus = grey > max(12.0, 0.15 * float(grey.max()))
    rows, columns = np.flatnonzero(fundus.mean(axis=1) > 0.05), np.flatnonzero(fundus.mean(axis=0) > 0.05)
    if rows.size and columns.size:
        grey = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    small = np.asarray(Image.fromarray(grey.astype(np.uint8)).resize((17, 16), Image.Resampling.BOX), dtype=np.int16)
    return np.packbits(small[:, 1:] > small[:, :-1])


def encoding_hash(path: Path) -> str:
    """Returns an identifier of the image as sent: the file's sha256 and its encoding. UserError: it cannot be read."""
    try:
        return f"{file_sha256(path)} jpeg {SENT_SIDE} {_QUALITY}"
    except OSError as error:
        raise UserError(f"{path}: the image cannot be read ({error.strerror or error})") from error
