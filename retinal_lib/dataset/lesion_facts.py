"""The lesion masks of one image, and the facts they give."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, Field, model_validator

from retinal_lib import paths
from retinal_lib.dataset import image_files, tables
from retinal_lib.dataset.image_files import Folder
from retinal_lib.dataset.lesions import boxes, locations
from retinal_lib.dataset.lesions import masks as mask_files
from retinal_lib.dataset.lesions.boxes import Crop, CropInfo, Landmark, Lesions, MaskFile
from retinal_lib.dataset.lesions.locations import CUP, DISC, FOVEA, Locations
from retinal_lib.dataset.lesions.masks import Coding, Frame, Unclear, same_shape
from retinal_lib.dataset.lesions.wording import LesionType, box_text
from retinal_lib.display import are, count
from retinal_lib.errors import UserError
from retinal_lib.facts import Fact, Facts, Source

Size = tuple[int, int]
_NUMBER = re.compile(r"\d+(\.\d*)?")
Value = Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]  # as masks.Value


class CentreTables(BaseModel, extra="forbid", frozen=True):
    """Tables of a landmark's centre: `x` and `y` are columns in pixels of a picture of `size`, (width, height), from its upper
    left corner. `name` is the column that names the picture as `dataset` does; a picture of another dataset has the centre
    where same_pictures.yaml says that it is the same."""

    dataset: str
    tables: dict[str, str]  # split of that dataset -> name of the file, which may hold *
    name: str
    x: str
    y: str
    size: Size


class Centre(NamedTuple):
    """A landmark's centre as shares of a picture's width and height, the picture's (width, height), and the cell of x."""

    x: float
    y: float
    size: Size
    source: Source


class MaskSpec(BaseModel, extra="forbid", frozen=True):
    """The masks of a dataset page.

    `name` is a regular expression with the group `type` (lesion type) and, unless the whole stem names the image, the group
    `image`. It is matched with a mask's file stem or, where it contains a slash, with folder name and stem, as in MA/eye1.
    `gap` is the largest distance of lesions of one cluster, as a share of the mask's longer side; `fill` the smallest share
    of its box that a cluster fills (see `boxes.clusters`). Locations are measured from the landmarks "optic disc" and "fovea".

    Marked is what differs from the ground, which is what lies along a mask's border. Where that is not so, the page states
    the value of the `ground`, the values that `mark`, the least difference from the ground that marks (`threshold`), or, for
    several classes in one file, the type or landmark of each of the `values` (None: not told). A value is a number (of a
    palette: the index) or a colour such as "#ff0000".
    """

    name: str
    mark: Value | list[Value] = []
    ground: Value | None = None
    threshold: int | None = Field(None, gt=0)
    values: dict[Value, str | None] = {}
    types: dict[str, tuple[str, str]]  # type -> (singular, plural)
    landmarks: dict[str, str] = {}
    centres: dict[Literal["optic disc", "fovea"], CentreTables] = {}  # the disc's centre only confirms that of the fovea
    absent: Literal["none", "unknown"] = "unknown"  # what a missing mask file means where the type's folder has others
    gap: float = Field(0.00025, ge=0, lt=1)
    fill: float = Field(0.2, ge=0, le=1)
    centred: Literal["macula", "not said"] = "not said"  # macula: all pictures are, so that the disc is on the nasal side
    near_fovea: list[str] = []  # types whose description says if one is within one disc diameter of the fovea

    @model_validator(mode="after")
    def _checked(self) -> "MaskSpec":
        for key, kinds in (("values", self.values.values()), ("near_fovea", self.near_fovea)):
            if strange := [kind for kind in kinds if kind is not None and self.kind(kind) is None]:
                raise ValueError(
                    f"{key} names {strange[0]!r}, which is none of the types and landmarks: {', '.join(self.kinds)}"
                )
        if not self.values and "type" not in re.compile(self.name).groupindex:
            raise ValueError(
                f"name {self.name!r} needs a group (?P<type>…), which tells a mask's type, or the page needs values"
            )
        if self.values and self.mark:
            raise ValueError("mark and values exclude each other: values say what each value marks")
        return self

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The codes of all types and landmarks."""
        return (*self.types, *self.landmarks)

    def kind(self, name: str) -> str | None:
        """Returns a type's or landmark's code as the page writes it, by its name in any case; None where there is none."""
        return next((kind for kind in self.kinds if kind.casefold() == name.casefold()), None)

    def coding(self, kind: str) -> Coding:
        """Returns which values mark a type or landmark. The cup is a part of the disc, whose mask would else be a ring."""
        if not self.values:
            mark = self.mark if isinstance(self.mark, list) else [self.mark]
            return Coding(tuple(mark), (), self.ground, self.threshold)
        words = {DISC: (DISC, CUP)}.get(self.landmarks.get(kind), (None,))
        kinds = {kind, *(code for code, named in self.landmarks.items() if named in words)}
        named = {value: self.kind(code) if code else None for value, code in self.values.items()}
        mark = tuple(value for value, code in named.items() if code in kinds)
        return Coding(mark, tuple(value for value in named if value not in mark), self.ground)


@dataclass(frozen=True)
class MaskFiles:
    """One image's mask files by lesion type or landmark (None: the missing file means that there is no such lesion), and the
    centres that tables give of landmarks, by their words."""

    spec: MaskSpec
    files: dict[str, MaskFile | None]
    centres: dict[str, Centre] = field(default_factory=dict)


@dataclass(frozen=True)
class PlacedLandmark:
    """A landmark: its code in the masks' names, its mask, and where it lies in a mask of `size`."""

    kind: str
    mask: MaskFile
    at: Landmark
    size: Size


class TypeMask(NamedTuple):
    """The mask of a lesion type and its lesions, both None where a missing file means no lesion."""

    mask: MaskFile | None
    lesions: Lesions | None


@dataclass(frozen=True)
class ImageMasks:
    """The masks of one image as read: `types` by lesion type; `landmarks` by their words; `image`, the picture's
    (width, height); `missing`, in sentences, what could not be used; `fovea`, its centre as shares of the masks' width and
    height where a table gives it."""

    types: dict[str, TypeMask]
    landmarks: dict[str, PlacedLandmark]
    image: Size
    eye: str | None
    macula_centred: bool
    missing: tuple[str, ...]
    fovea: tuple[float, float] | None = None

    @property
    def size(self) -> Size:
        """(width, height) of the masks, or of the picture where there is none."""
        sizes = [lesions.size for _, lesions in self.types.values() if lesions] + [
            mark.size for mark in self.landmarks.values()
        ]
        return sizes[0] if sizes else self.image

    def locations(self, size: Size) -> Locations:
        """Returns the frame for locations in a mask of `size`, (width, height)."""
        landmarks = {words: _scaled(mark, size) for words, mark in self.landmarks.items()}
        if self.fovea and FOVEA not in landmarks:
            x, y = self.fovea
            landmarks[FOVEA] = Landmark((x, y, x, y), (x * size[0], y * size[1]), 0.0)
        return locations.of_picture(size, landmarks, self.eye, self.macula_centred)


def _scaled(mark: PlacedLandmark, size: Size) -> Landmark:
    ratio = size[0] / mark.size[0]
    x, y = mark.at.centre
    return replace(mark.at, centre=(x * ratio, y * ratio), diameter=mark.at.diameter * ratio)


def read(
    masks: MaskFiles, picture: Path, eye: str | None = None, crop: CropInfo | None = None, remember: bool = True
) -> ImageMasks:
    """Reads an image's mask files. Where the picture is what AutoMorph cropped by `crop`, so are the masks, and only that
    part is described. A mask that cannot be read, or that fits neither the whole picture nor the crop, is left out and named in
    `missing`."""
    spec = masks.spec
    try:
        frame = mask_files.frame(picture)
    except UserError as error:
        return ImageMasks({}, {}, (1, 1), eye, False, (str(error),))
    size, types, landmarks, missing, points = frame.size, {}, {}, [], {}
    for kind in (kind for kind in spec.kinds if kind in masks.files):
        mask, content = masks.files[kind], None
        if mask:
            try:
                mask = _turned(mask, frame)
                whole = (boxes.read if remember else boxes.load)(mask)
                content = shown(whole, size, crop)
                if lost := len(whole.pixels) - len(content.pixels):
                    missing.append(
                        f"{mask.path}: {lost} of {len(whole.pixels)} marks lie outside AutoMorph's crop of the picture"
                    )
                _check_shape(content, whole, size, mask.path)
                points = points or _points(masks, whole.size, _crop(whole.size, size, crop))
            except UserError as error:
                missing.append(str(error))
                continue
        if kind in spec.types:
            types[kind] = TypeMask(mask, content)
        elif content is not None and (mark := boxes.landmark(content)):
            landmarks[spec.landmarks[kind]] = PlacedLandmark(kind, mask, mark, content.size)
    fovea = points.get(FOVEA)
    if fovea and not _confirmed(points.get(DISC), landmarks.get(DISC)):
        disc = masks.centres[DISC].source
        missing.append(f"the fovea's centre is not used: the disc's centre that {disc} gives lies outside the disc's mask")
        fovea = None
    return ImageMasks(types, landmarks, size, eye, spec.centred == "macula", tuple(missing), fovea)


def _turned(mask: MaskFile, picture: Frame) -> MaskFile:
    """The mask, turned with its picture. UserError: it cannot be read, or how it lies on the picture is not known."""
    try:
        return mask._replace(turn=mask_files.turn_of(mask_files.size(mask.path), picture))
    except Unclear as why:
        raise UserError(f"{mask.path}: the mask is not told: {why}") from why


def _points(masks: MaskFiles, whole: Size, crop: Crop | None) -> dict[str, tuple[float, float]]:
    """The centres that tables give, as shares of what is described of masks of size `whole`."""
    points = {}
    for words, centre in masks.centres.items():
        if not same_shape(whole, centre.size):
            continue
        x, y = centre.x * whole[0], centre.y * whole[1]
        size = (crop.side, crop.side) if crop else whole
        right, down = (crop.right - crop.left, crop.down - crop.top) if crop else (0, 0)
        points[words] = ((x + right) / size[0], (y + down) / size[1])
    return points


def _confirmed(point: tuple[float, float] | None, disc: PlacedLandmark | None) -> bool:
    """Whether the disc's centre by a table, where it gives one, lies in the disc's mask: the tables are of this picture."""
    if point is None or disc is None:
        return True
    width, height = disc.size
    return math.dist((point[0] * width, point[1] * height), disc.at.centre) <= disc.at.diameter / 2


def shown(content: Lesions, image: Size, crop_info: CropInfo | None) -> Lesions:
    """Returns the lesions that a picture of size `image` shows: all, or where it is AutoMorph's crop, those inside it."""
    crop = _crop(content.size, image, crop_info)
    return crop.cut(content) if crop else content


def _crop(whole: Size, image: Size, crop_info: CropInfo | None) -> Crop | None:
    """The crop by which a picture of size `image` was cut out of one of size `whole`; None where it was not."""
    crop = Crop.around(whole, *crop_info) if crop_info and whole != image else None
    return crop if crop and image == (crop.side, crop.side) else None


def _check_shape(content: Lesions, whole: Lesions, image: Size, path: Path) -> None:
    """UserError: the mask is not of the picture's shape."""
    if not same_shape(content.size, image):
        by = " x ".join(map(str, whole.size))
        raise UserError(f"{path}: the mask is {by} pixels, the image {image[0]} x {image[1]}; they must have the same shape")


def with_centres(
    masks: dict[tuple[str, str], MaskFiles], tree: list[Folder], dataset: str, spec: MaskSpec
) -> tuple[dict[tuple[str, str], MaskFiles], list[tables.Table], list[str]]:
    """Gives the masks of each image, by (split, folded stem), the centres of landmarks that tables hold of that picture.
    Returns them with the tables read, and a sentence on each row that names no place in the picture. UserError: a column is
    missing."""
    read_tables, notes, centres = [], [], defaultdict(dict)
    for words, listed in spec.centres.items():
        for split, pattern in listed.tables.items():
            for path in image_files.files(tree, [pattern]):
                content = tables.read(path)
                read_tables.append(content)
                for name, centre in _centres(content, listed, notes):
                    centres[f"{listed.dataset}/{split}/{name}".casefold()][words] = centre
    if not centres:
        return masks, read_tables, notes
    result = {}
    for (split, stem), files in masks.items():
        names = image_files.same_picture(f"{dataset}/{split}/{stem}")
        result[split, stem] = replace(files, centres=next((centres[n] for n in names if n in centres), {}))
    return result, read_tables, notes


def _centres(content: tables.Table, listed: CentreTables, notes: list[str]) -> Iterator[tuple[str, Centre]]:
    """Each picture of a table with the centre of a landmark; what is no place goes to the notes."""
    columns = zip(content.column(listed.name), content.column(listed.x), content.column(listed.y), strict=True)
    for row, (name, *cells) in enumerate(columns):
        if not name or not any(cells):
            continue
        shares = [float(cell) / side for cell, side in zip(cells, listed.size, strict=True) if _NUMBER.fullmatch(cell)]
        source = content.source(row, listed.x)
        if len(shares) == 2 and max(shares) <= 1:
            yield tables.image_key(name), Centre(*shares, listed.size, source)
        else:
            by = " x ".join(map(str, listed.size))
            notes.append(f"{source}: {', '.join(cells)} is no place in a picture of {by} pixels; it is left out")


def index(
    tree: list[Folder], patterns: dict[str, list[str]], spec: MaskSpec
) -> tuple[dict[tuple[str, str], MaskFiles], list[str]]:
    """Finds the mask files of each image, by (split, folded stem), and says in notes which files in the mask folders are not
    read. Where the page says that a missing file means no lesion, the type is there with None, but only if its folder has
    masks of other images: a folder not downloaded says nothing. UserError: two files are one image's mask of one type."""
    result: dict[tuple[str, str], dict[str, MaskFile | None]] = defaultdict(dict)
    seen: dict[str, set[str]] = defaultdict(set)
    other_files, unnamed, by_folder = [], Counter(), "/" in spec.name
    codings = {kind: spec.coding(kind) for kind in spec.kinds}
    for split, split_patterns in patterns.items():
        for folder in [f for p in split_patterns for f in image_files.folders(tree, [p], "" if by_folder else spec.name)]:
            for name in image_files.images(folder):
                stem, path = Path(name).stem, folder.path / name
                match = re.search(spec.name, f"{folder.path.name}/{stem}" if by_folder else stem, re.IGNORECASE)
                if not match:
                    other_files.append(path)
                    continue
                groups = match.groupdict()
                kinds = [kind for kind in codings if codings[kind].mark] if spec.values else [spec.kind(groups["type"])]
                if None in kinds:
                    unnamed[groups["type"]] += 1
                    continue
                files = result[split, (groups.get("image") or stem).casefold()]
                for kind in kinds:
                    if kind in files and files[kind].path.read_bytes() != path.read_bytes():
                        raise UserError(f"{files[kind].path} and {path} are both masks of type {kind} of one image; keep one")
                    files.setdefault(kind, MaskFile(path, codings[kind]))
                    seen[split].add(kind)
    if spec.absent == "none":
        for (split, _), files in result.items():
            for kind in seen[split] & set(spec.types):
                files.setdefault(kind, None)
    notes = [f"{count(n, 'mask')} of the type {kind} not read: the page does not name it" for kind, n in unnamed.items()]
    if other_files:
        first = paths.display_path(other_files[0])
        notes.append(
            f"{count(len(other_files), 'file')} in the mask folders {are(len(other_files))} not named like masks, "
            f"the first {first}"
        )
    return {key: MaskFiles(spec, files) for key, files in result.items()}, notes


def facts(files: MaskFiles, picture: Path, eye: str | None, crop: CropInfo | None, max_boxes: int) -> Facts:
    """Returns the lesion facts of an image: per type the count, the area share, where the lesions lie, the boxes of the
    `max_boxes` largest clusters and what these leave out; landmarks by their box. `crop` is AutoMorph's, where the image is
    one."""
    masks, spec = read(files, picture, eye, crop), files.spec
    result: list[Fact] = []
    missing = list(masks.missing)
    for kind, (one, many) in spec.types.items():
        mask, lesions = masks.types.get(kind, TypeMask(None, None))
        if lesions is not None and len(lesions.pixels):
            where, near = masks.locations(lesions.size), kind in spec.near_fovea
            missing += where.missing
            type_ = LesionType(kind, one, many, mask.path, lesions, spec.gap, spec.fill, where, near)
            result += type_.facts(max_boxes)
        elif kind in masks.types:
            source = Source(str(mask.path) if mask else f"no {kind} mask of {picture.stem}")
            result.append(Fact("lesion", kind, 0, many, f"no {many} are marked", source, one))
    for words, mark in masks.landmarks.items():
        text = f"the {words} lies in the box {box_text(mark.at.box)}"
        place = masks.locations(mark.size).region(mark.at.box, mark.at.centre)
        result.append(
            Fact("lesion", f"{mark.kind}_box", mark.at.box, "box", text, Source(str(mark.mask.path)), words, place=place)
        )
    return Facts(tuple(result), tuple(dict.fromkeys(missing)))
