"""Images prepared for a CLIP tower as the released script does: shortest edge scaled, centre cropped, normalised."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from retinal_lib import typed_paths
from retinal_lib.errors import UserError, quoted
from retinal_lib.files import read_object
from retinal_lib.imaging.images import open_image

# of OpenAI's CLIP, for towers without a preprocessor_config.json
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_ORIENTATION = 0x0112  # an EXIF tag


@dataclass(frozen=True)
class Preprocessing:
    """The steps that a folder's preprocessor_config.json asks for: scale, crop, normalise."""

    edge: int  # pixels of the shortest edge after scaling
    crop: tuple[int, int]  # height, width
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    resample: int = 3  # bicubic
    factor: float = 1 / 255

    @classmethod
    def read(cls, folder: Path | None, image_size: int) -> "Preprocessing":
        """Reads them from processor_config.json, where transformers 5 saves them, or preprocessor_config.json; without either,
        they are CLIP's own. UserError: they are not such steps."""
        file, config = _image_processor(folder) if folder else (None, {})
        size, crop = config.get("size", image_size), config.get("crop_size", image_size)
        edge = size.get("shortest_edge") if isinstance(size, dict) else size
        crop = (crop.get("height"), crop.get("width")) if isinstance(crop, dict) else (crop, crop)
        if type(edge) is not int or edge < 1 or crop != (image_size, image_size):
            raise UserError(
                f"{file}: expected the shortest edge scaled and a centre of {image_size} x {image_size} cropped, "
                f"found size {size} and crop_size {config.get('crop_size')}"
            )
        mean, std = config.get("image_mean", MEAN), config.get("image_std", STD)
        resample, factor = config.get("resample", 3), config.get("rescale_factor", 1 / 255)
        numbers = [*mean, *std, factor] if isinstance(mean, list | tuple) and isinstance(std, list | tuple) else []
        if len(numbers) != 7 or not all(type(n) in (int, float) for n in numbers) or 0 in std or resample not in range(6):
            raise UserError(
                f"{file}: expected image_mean and image_std of three numbers, rescale_factor and resample, found "
                f"{quoted(mean)}, {quoted(std)}, {quoted(factor)} and {quoted(resample)}"
            )
        return cls(edge, crop, tuple(mean), tuple(std), resample, factor)

    def config(self) -> dict:
        """Gives the same as a preprocessor_config.json."""
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
        """Prepares an image of any mode: float32 [3, height, width]. UserError: it is smaller than the crop."""
        image = image.convert("RGB")
        width, height = image.size
        short, long = sorted(image.size)
        scaled = int(self.edge * long / short)
        size = (self.edge, scaled) if width <= height else (scaled, self.edge)
        values = np.asarray(image.resize(size, resample=self.resample))
        top, left = (size[1] - self.crop[0]) // 2, (size[0] - self.crop[1]) // 2
        if top < 0 or left < 0:
            raise UserError(f"the tower crops {self.crop} from an image scaled to {size}, which is smaller")
        values = values[top : top + self.crop[0], left : left + self.crop[1]]
        values = (values.astype(np.float64) * self.factor).astype(np.float32)
        values = (values - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1))


def _image_processor(folder: Path) -> tuple[Path | None, dict]:
    """The file that says how images are prepared, and what it says; nothing where there is none."""
    file = folder / "processor_config.json"
    if file.is_file() and isinstance(config := read_object(file).get("image_processor"), dict):
        return file, config
    file = folder / "preprocessor_config.json"
    return (file, read_object(file)) if file.is_file() else (None, {})


def load_image(image: str | Path | Image.Image) -> Image.Image:
    """Reads an image file as it is stored. UserError: the file is not there, is no image, or has too many pixels."""
    if isinstance(image, Image.Image):
        return image
    with open_image(typed_paths.expand(image)) as file:
        file.load()
        return file.copy()


def warning(image: Image.Image) -> str:
    """Says what the released script does to an image that its owner may not expect; "" where there is nothing."""
    if image.mode.startswith(("I", "F")):
        return "is deep grey (16 bit or more): as in the released script, values above 255 turn white; save it with 8 bits"
    if image.getexif().get(_ORIENTATION, 1) != 1:
        return "is rotated by its EXIF orientation, which the released script ignores: the model sees it as stored"
    return ""
