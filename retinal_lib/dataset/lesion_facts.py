"""The lesion masks of one image, and the facts they give."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from retinal_lib.dataset import image_files as folder
from retinal_lib.dataset.fact_kinds import Boxes
from retinal_lib.dataset.lesions import boxes, masks
from retinal_lib.dataset.lesions import locations as places
from retinal_lib.dataset.lesions.boxes import Crop, CropInfo, Landmark, Lesions
from retinal_lib.dataset.lesions.wording import Type, said
from retinal_lib.dataset.page import Page
from retinal_lib.errors import UserError
from retinal_lib.facts import Fact, Source

Size = tuple[int, int]


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
    path: Path,
    eye: str | None = None,
    cut: CropInfo | None = None,
    remember: bool = True,
) -> Marked:
    """Reads an image's mask files (type -> file, None: no lesion). Where the picture is what AutoMorph cut out by `cut`, so
    are the masks, and everything is told of that part alone. A mask that cannot be read, or that fits the picture in neither
    way, is left out and told in `missing`."""
    missing: list[str] = []
    try:
        size = masks.size(path)
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
    files: dict[str, Path | None], page: Page, remember: bool, found: Marked, cut: CropInfo | None
) -> Iterator[tuple[str, Path | None, Lesions | None]]:
    for kind in (*page.masks.types, *page.masks.landmarks):
        if kind not in files:
            continue
        try:
            path = files[kind]
            yield kind, path, _fitted((boxes.read if remember else boxes.load)(path), path, found, cut) if path else None
        except UserError as error:
            found.missing.append(str(error))


def shown(content: Lesions, image: Size, cut: CropInfo | None) -> Lesions:
    """What a picture of size `image` shows of a mask: all, or where the picture is AutoMorph's crop by `cut`, what is in it."""
    crop = Crop.around(content.size, *cut) if cut and content.size != image else None
    return crop.cut(content) if crop and image == (crop.side, crop.side) else content


def _fitted(content: Lesions, path: Path, found: Marked, cut: CropInfo | None) -> Lesions:
    """A mask's content as the picture shows it. UserError: the mask is not of its shape."""
    inside = shown(content, found.image, cut)
    if lost := len(content.pixels) - len(inside.pixels):
        found.missing.append(f"{path}: {lost} of {len(content.pixels)} marks lie outside AutoMorph's crop of the picture")
    if _alike(inside.size, found.image):
        return inside
    by = " x ".join(map(str, content.size))
    raise UserError(f"{path}: the mask is {by}, the image {found.image[0]} x {found.image[1]}; not the same shape")


Index = dict[tuple[str, str], dict[str, Path | None]]


def index(tree: list[folder.Folder], page: Page, notes: list[str]) -> Index:
    """(split, folded image stem) -> {type: mask file}. Where the page says that a missing file means no lesion, the type
    is there with None, but only if its folder has masks of other images: a folder not downloaded says nothing."""
    result: Index = defaultdict(dict)
    seen: dict[str, set[str]] = defaultdict(set)
    strange = []
    for split, spec in page.splits.items():
        by_folder = "/" in page.masks.name
        for found in [f for p in spec.masks for f in folder.folders(tree, [p], "" if by_folder else page.masks.name)]:
            for name in folder.images(found):
                stem = Path(name).stem
                match = re.search(page.masks.name, f"{found.path.name}/{stem}" if by_folder else stem, re.IGNORECASE)
                if not match:
                    strange.append(str(found.path / name))
                    continue
                kind = match["type"].upper()
                image = match.groupdict().get("image") or stem
                result[split, image.casefold()][kind] = found.path / name
                seen[split].add(kind)
    if strange:
        notes.append(f"{len(strange)} files in the mask folders are no masks by name, the first {strange[0]}")
    if page.masks.absent == "none":
        for (split, _), masks in result.items():
            for kind in seen[split] & set(page.masks.types):
                masks.setdefault(kind, None)
    return dict(result)


def facts(
    files: dict[str, Path | None],
    page: Page,
    path: Path,
    missing: list[str],
    eye: str | None = None,
    cut: CropInfo | None = None,
) -> list[Fact]:
    """The lesion facts of an image: per type the count, the area share, where the lesions lie, the boxes of the largest
    clusters and what these leave out; landmarks by their box. `cut` is AutoMorph's crop, where the image is one."""
    told = read(files, page, path, eye, cut)
    most = next(kind.max_boxes for kind in page.gives if isinstance(kind, Boxes))
    found: list[Fact] = []
    for kind, (one, many) in page.masks.types.items():
        file, content = told.types.get(kind, (None, None))
        if content is not None and len(content.pixels):
            where, near = told.places(content.size), kind in page.masks.near_fovea
            type_ = Type(kind, one, many, file, content, page.masks.gap, page.masks.fill, where, near)
            found += type_.facts(most)
        elif kind in told.types:
            source = Source(str(file) if file else f"no {kind} mask of {path.stem}")
            found.append(Fact("lesion", kind, 0, many, f"no {many} are marked", source, one))
    for words, mark in told.marks.items():
        text = f"the {words} lies in the box {said(mark.at.box)}"
        found.append(Fact("lesion", f"{mark.kind}_box", mark.at.box, "box", text, Source(str(mark.path)), words))
    missing += dict.fromkeys(told.missing)
    return found
