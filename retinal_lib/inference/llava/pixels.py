"""An image as a CLIP tower wants it: the shortest edge scaled, the centre cut out, normalised; as the released script does."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from retinal_lib.errors import UserError
from retinal_lib.images import MOST_PIXELS

# OpenAI's CLIP, for towers that bring no preprocessor_config.json
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_TURNED = 0x0112  # the EXIF tag of an image's orientation


@dataclass(frozen=True)
class Preparation:
    """What a tower's preprocessor_config.json asks for. UserError in `read`: it asks for something else than CLIP does."""

    edge: int
    crop: tuple[int, int]  # height, width
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    resample: int = 3  # bicubic
    factor: float = 1 / 255

    @classmethod
    def read(cls, folder: Path | None, image_size: int) -> "Preparation":
        """Of a tower's folder; CLIP's own where it has no such file."""
        file = folder / "preprocessor_config.json" if folder else None
        if file is None or not file.is_file():
            return cls(image_size, (image_size, image_size))
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{file} is not readable as JSON ({error})") from error
        size, crop = held.get("size", image_size), held.get("crop_size", image_size)
        edge = size if isinstance(size, int) else size.get("shortest_edge")
        crop = (crop, crop) if isinstance(crop, int) else (crop.get("height"), crop.get("width"))
        if edge is None or crop != (image_size, image_size):
            raise UserError(
                f"{file}: expected the shortest edge scaled and a centre of {image_size} x {image_size} cut out, "
                f"found size {size} and crop_size {held.get('crop_size')}"
            )
        mean, std = tuple(held.get("image_mean", MEAN)), tuple(held.get("image_std", STD))
        return cls(edge, crop, mean, std, held.get("resample", 3), held.get("rescale_factor", 1 / 255))

    def config(self) -> dict:
        """The same as a preprocessor_config.json."""
        height, width = self.crop
        switches = ("do_center_crop", "do_convert_rgb", "do_normalize", "do_rescale", "do_resize")
        return {
            **dict.fromkeys(switches, True),
            "crop_size": {"height": height, "width": width},
            "image_mean": list(self.mean),
            "image_std": list(self.std),
            "image_processor_type": "CLIPImageProcessor",
            "resample": self.resample,
            "rescale_factor": self.factor,
            "size": {"shortest_edge": self.edge},
        }

    def pixels(self, image: Image.Image) -> np.ndarray:
        """float32 [3, height, width] of an image in any mode."""
        image = image.convert("RGB")
        width, height = image.size
        short, long = sorted(image.size)
        scaled = int(self.edge * long / short)
        size = (self.edge, scaled) if width <= height else (scaled, self.edge)
        values = np.asarray(image.resize(size, resample=self.resample))
        top, left = (size[1] - self.crop[0]) // 2, (size[0] - self.crop[1]) // 2
        if top < 0 or left < 0:
            raise UserError(f"the tower cuts out {self.crop} of an image scaled to {size}, which is smaller")
        values = values[top : top + self.crop[0], left : left + self.crop[1]]
        values = (values.astype(np.float64) * self.factor).astype(np.float32)
        values = (values - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1))


def opened(image: str | Path | Image.Image) -> Image.Image:
    """An image with its pixels read. UserError: the file is not there, is no image, or has too many pixels."""
    if isinstance(image, Image.Image):
        return image
    path = Path(image).expanduser()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                if file.width * file.height > MOST_PIXELS:
                    raise UserError(f"{path.name} has {file.width} x {file.height} pixels, more than {MOST_PIXELS:,}")
                file.load()
                return file.copy() if file.mode != "RGB" or file.getexif().get(_TURNED, 1) != 1 else file
    except FileNotFoundError as error:
        raise UserError(f"there is no image {path}") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{path.name} is not a readable image: its first bytes are those of no known format") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path.name} is not a readable image: {error}") from error


def oddity(image: Image.Image) -> str:
    """What the released script does to an image that its owner may not want, in words; "" where there is nothing."""
    if image.mode.startswith(("I", "F")):
        return "is deep grey (16 bit or more): as in the released script, values above 255 turn white; save it with 8 bits"
    if image.getexif().get(_TURNED, 1) != 1:
        return "is turned by its EXIF mark, which the released script does not heed: the model sees it as stored"
    return ""
