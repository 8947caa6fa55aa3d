"""What the masks of one image say, read together: lesions, landmarks, and how their places are told."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from retinal_lib.dataset import image_files as folder
from retinal_lib.dataset.lesions import boxes, masks
from retinal_lib.dataset.lesions import locations as places
from retinal_lib.dataset.lesions.boxes import Crop, Landmark, Lesions
from retinal_lib.dataset.page import Page
from retinal_lib.errors import UserError

Size = tuple[int, int]
Cut = tuple[int, int, int]  # row, column and radius of AutoMorph's crop_info.csv


@dataclass(frozen=True)
class Mark:
    """A landmark: its code in the masks' names, its file, and where it lies in a mask of `size`."""

    kind: str
    path: Path
    at: Landmark
    size: Size


@dataclass(frozen=True)
class Marked:
    """`types`: per lesion type its file and lesions, both None where a missing file means no lesion; `marks`: landmarks by
    their words; `image`: the picture's (width, height); `missing`: what could not be used, in sentences."""

    types: dict[str, tuple[Path | None, Lesions | None]]
    marks: dict[str, Mark]
    image: Size
    eye: str | None
    macula_centred: bool
    missing: list[str]

    @property
    def size(self) -> Size:
        """(width, height) of the masks, or of the picture where there is none."""
        sizes = [found.size for _, found in self.types.values() if found] + [mark.size for mark in self.marks.values()]
        return sizes[0] if sizes else self.image

    def places(self, size: Size) -> places.Places:
        """How to tell places in a mask of `size`."""
        told = {words: _scaled(mark, size) for words, mark in self.marks.items()}
        return places.places(size, told, self.eye, self.macula_centred, self.missing)


def _scaled(mark: Mark, size: Size) -> Landmark:
    ratio = size[0] / mark.size[0]
    x, y = mark.at.centre
    return replace(mark.at, centre=(x * ratio, y * ratio), diameter=mark.at.diameter * ratio)


def _alike(one: Size, other: Size) -> bool:
    return abs(one[0] / one[1] - other[0] / other[1]) <= 0.01


def read(
    files: dict[str, Path | None],
    page: Page,
    image: folder.Found,
    eye: str | None = None,
    cut: Cut | None = None,
    remember: bool = True,
) -> Marked:
    """Reads an image's mask files (type -> file, None: no lesion). Where the picture is what AutoMorph cut out by `cut`, so
    are the masks, and everything is told of that part alone. A mask that cannot be read, or that fits the picture in neither
    way, is left out and told in `missing`."""
    missing: list[str] = []
    try:
        size = masks.size(image.path)
    except UserError as error:
        return Marked({}, {}, (1, 1), eye, False, [str(error)])
    found = Marked({}, {}, size, eye, page.masks.centred == "macula", missing)
    for kind, path, content in _contents(files, page, remember, found, cut):
        if kind in page.masks.types:
            found.types[kind] = (path, content)
        elif content is not None and (mark := boxes.landmark(content)):
            found.marks[page.masks.landmarks[kind]] = Mark(kind, path, mark, content.size)
    return found


def _contents(
    files: dict[str, Path | None], page: Page, remember: bool, found: Marked, cut: Cut | None
) -> Iterator[tuple[str, Path | None, Lesions | None]]:
    for kind in (*page.masks.types, *page.masks.landmarks):
        if kind not in files:
            continue
        try:
            path = files[kind]
            yield kind, path, _fitted((boxes.read if remember else boxes.load)(path), path, found, cut) if path else None
        except UserError as error:
            found.missing.append(str(error))


def shown(content: Lesions, image: Size, cut: Cut | None) -> Lesions:
    """What a picture of size `image` shows of a mask: all, or where the picture is AutoMorph's crop by `cut`, what is in it."""
    crop = Crop.around(content.size, *cut) if cut and content.size != image else None
    return crop.cut(content) if crop and image == (crop.side, crop.side) else content


def _fitted(content: Lesions, path: Path, found: Marked, cut: Cut | None) -> Lesions:
    """A mask's content as the picture shows it. UserError: the mask is not of its shape."""
    inside = shown(content, found.image, cut)
    if lost := len(content.pixels) - len(inside.pixels):
        found.missing.append(f"{path}: {lost} of {len(content.pixels)} marks lie outside AutoMorph's crop of the picture")
    if _alike(inside.size, found.image):
        return inside
    by = " x ".join(map(str, content.size))
    raise UserError(f"{path}: the mask is {by}, the image {found.image[0]} x {found.image[1]}; not the same shape")
