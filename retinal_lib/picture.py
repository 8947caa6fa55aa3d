"""Image files as people and teachers see them: upright, scaled down, without metadata."""

import base64
import hashlib
import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from retinal_lib.errors import UserError

SENT_SIDE = 1024  # longest side of an image as sent, in pixels: larger ones cost money and show a model nothing more
MOST_PIXELS = 100_000_000  # a larger image is refused: fundus cameras stay far below, decompression bombs do not
_QUALITY = 90


def upright(path: Path, side: int) -> Image.Image:
    """The picture as RGB, turned as its camera meant it, at most `side` pixels long. UserError: it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit that counts is MOST_PIXELS
            with Image.open(path) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise UserError(f"{path}: {image.width} x {image.height} pixels is no fundus photograph (at most {MOST_PIXELS} are read)")
                image.draft("RGB", (side, side))  # lets JPEG files decode at a fraction of their size
                picture = ImageOps.exif_transpose(image)
                picture.thumbnail((side, side), Image.Resampling.LANCZOS if picture.mode != "P" else Image.Resampling.NEAREST)
                return _rgb(picture)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path.name} is not a readable image: {_why(error)}") from error


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):  # 16-bit grey: the darkest to the brightest value
        low, high = picture.getextrema()
        scale = 255 / (high - low) if high > low else 1
        picture = picture.point(lambda value: (value - low) * scale).convert("L")
    return picture.convert("RGB")


def as_sent(path: Path) -> str:
    """The image as a data URL: JPEG, at most SENT_SIDE pixels long, without metadata. UserError: it cannot be read."""
    file = io.BytesIO()
    upright(path, SENT_SIDE).save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def check(path: Path) -> None:
    """UserError: the file is no image by its first bytes (its pixels are not read)."""
    try:
        with Image.open(path):
            pass
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path.name} is not a readable image: {_why(error)}") from error


def _why(error: Exception) -> str:
    # Pillow names the whole path again
    return "its first bytes are those of no known format" if isinstance(error, UnidentifiedImageError) else str(error)


def fingerprint(path: Path) -> str:
    """What decides the image as sent: the file's sha256 and how it is encoded. UserError: it cannot be read."""
    try:
        with path.open("rb") as file:
            return f"{hashlib.file_digest(file, 'sha256').hexdigest()} jpeg {SENT_SIDE} {_QUALITY}"
    except OSError as error:
        raise UserError(f"{path}: not a readable image ({error})") from error
