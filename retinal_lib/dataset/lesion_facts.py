"""The lesion masks of one image, and the facts they give."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from retinal_lib import paths
from retinal_lib.dataset import image_files, measurements, tables
from retinal_lib.dataset.image_files import Folder
from retinal_lib.dataset.lesions import boxes, locations, shapes
from retinal_lib.dataset.lesions import masks as mask_files
from retinal_lib.dataset.lesions.boxes import Crop, CropInfo, Landmark, Lesions, Marks, MaskFile
from retinal_lib.dataset.lesions.locations import CUP, DISC, FOVEA, Locations
from retinal_lib.dataset.lesions.masks import Frame, Unclear, same_shape
from retinal_lib.dataset.lesions.spec import CentreSpec, MaskSpec
from retinal_lib.dataset.lesions.wording import LesionType, box_text
from retinal_lib.errors import UserError
from retinal_lib.facts import Fact, Facts, Source

Size = tuple[int, int]
Column = str | list[str]
_NUMBER = re.compile(r"\d+(\.\d*)?")
_UNREAD = (".json", ".xml", ".npy", ".npz", ".mat", ".nii")  # what may hold masks and is no picture
RATIO = "CDR_vertical"  # the measurement's column, as AutoMorph calls it


class Record(Protocol):
    """What is read of an image's record, see `image.Record`."""

    eye: str | None

    def has(self, column: Column) -> bool:
        """Says whether the image has a row with that column."""

    def cell(self, column: Column) -> tuple[str, Source, str]:
        """Returns a cell's text, "" for an empty one, its place, and why nothing is known."""


class Centre(NamedTuple):
    """A landmark's centre as shares of a picture's width and height, the picture's (width, height), and the cell of x."""

    x: float
    y: float
    size: Size
    source: Source


@dataclass(frozen=True)
class MaskFiles:
    """One image's mask files by lesion type or landmark (None: the missing file means that there is no such lesion), and the
    centres that tables give of landmarks, by their words. `graders`: what each of several experts outlined, by expert and code;
    `files` has the first's."""

    spec: MaskSpec
    files: dict[str, Marks | None]
    centres: dict[str, Centre] = field(default_factory=dict)
    graders: dict[str, dict[str, Marks]] = field(default_factory=dict)


@dataclass(frozen=True)
class PlacedLandmark:
    """A landmark: its code in the masks' names, its mask, and where it lies in a mask of `size`."""

    kind: str
    mask: Marks
    at: Landmark
    size: Size


class TypeMask(NamedTuple):
    """The mask of a lesion type and its lesions, both None where a missing file means no lesion."""

    mask: Marks | None
    lesions: Lesions | None


@dataclass(frozen=True)
class ImageMasks:
    """The masks of one image as read: `types` by lesion type; `landmarks` by their words; `image`, the picture's
    (width, height); `missing`, in sentences, what could not be used; `points`, the centres of landmarks as shares of the masks'
    width and height where a table gives them, with their cells."""

    types: dict[str, TypeMask]
    landmarks: dict[str, PlacedLandmark]
    image: Size
    eye: str | None
    macula_centred: bool
    missing: tuple[str, ...]
    points: dict[str, tuple[float, float, Source]] = field(default_factory=dict)

    @property
    def fovea(self) -> tuple[float, float] | None:
        """The fovea's centre, where a table gives it."""
        return self.points[FOVEA][:2] if FOVEA in self.points else None

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
                mask = _laid(mask, frame)
                whole = (boxes.read if remember else boxes.load)(mask)
                content = shown(whole, size, crop)
                if lost := len(whole.pixels) - len(content.pixels):
                    parts = f"{lost} of {len(whole.pixels)} marks"
                    missing.append(f"{mask.path}: {parts} lie outside AutoMorph's crop of the picture")
                _check_shape(content.size, whole.size, size, mask.path)
                points = points or _points(masks, whole.size, _crop(whole.size, size, crop))
            except UserError as error:
                missing.append(str(error))
                continue
        if kind in spec.types:
            types[kind] = TypeMask(mask, content)
        elif content is not None and (mark := boxes.landmark(content)):
            landmarks[spec.landmarks[kind]] = PlacedLandmark(kind, mask, mark, content.size)
    if masks.centres and frame.orientation != 1:
        missing.append(
            f"the centres of {' and '.join(masks.centres)} are not used: the picture is turned by its EXIF orientation"
        )
        points = {}
    elif not points:
        points = _points(masks, size, None)
    if FOVEA in points and not _confirmed(points.get(DISC), landmarks.get(DISC)):
        disc = masks.centres[DISC].source
        missing.append(f"the fovea's centre is not used: the disc's centre that {disc} gives lies outside the disc's mask")
        points = {}
    return ImageMasks(types, landmarks, size, eye, spec.centred == "macula", tuple(missing), points)


def _laid(mask: Marks, picture: Frame) -> Marks:
    """The marks laid on their picture. UserError: they cannot be read, or how they lie is not known."""
    try:
        return mask.of(picture)
    except Unclear as why:
        raise UserError(f"{mask.path}: the mask is not told: {why}") from why


def _points(masks: MaskFiles, whole: Size, crop: Crop | None) -> dict[str, tuple[float, float, Source]]:
    """The centres that tables give, as shares of what is described of masks of size `whole`."""
    points = {}
    for words, centre in masks.centres.items():
        if not same_shape(whole, centre.size):
            continue
        x, y = centre.x * whole[0], centre.y * whole[1]
        size = (crop.side, crop.side) if crop else whole
        right, down = (crop.right - crop.left, crop.down - crop.top) if crop else (0, 0)
        points[words] = ((x + right) / size[0], (y + down) / size[1], centre.source)
    return points


def _confirmed(point: tuple[float, float, Source] | None, disc: PlacedLandmark | None) -> bool:
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


def unfit(masks: MaskFiles, picture: Path, crop_info: CropInfo | None) -> list[str]:
    """Returns why mask files of an image do not fit their picture, of which the headers alone are read; nothing where the
    picture itself cannot be read, which its description says."""
    found = []
    try:
        frame = mask_files.frame(picture)
    except UserError:
        return []
    for path in dict.fromkeys(mask.path for mask in masks.files.values() if isinstance(mask, MaskFile)):
        try:
            whole = mask_files.size(path)
            whole = whole[::-1] if mask_files.turn_of(whole, frame) > 1 else whole
            crop = _crop(whole, frame.size, crop_info)
            _check_shape((crop.side, crop.side) if crop else whole, whole, frame.size, path)
        except (UserError, Unclear) as why:
            found.append(str(why))
    return found


def _check_shape(size: Size, whole: Size, image: Size, path: Path) -> None:
    """UserError: a mask, `whole` or cropped to `size`, is not of the picture's shape."""
    if not same_shape(size, image):
        by = " x ".join(map(str, whole))
        raise UserError(f"{path}: the mask is {by} pixels, the image {image[0]} x {image[1]}; they must have the same shape")


def centres(tree: list[Folder], spec: MaskSpec) -> tuple[dict[str, dict[str, Centre]], list[tables.Table], list[str]]:
    """Returns the centres of landmarks that tables hold, by their words and by the picture's folded name
    (dataset/split/stem), the tables, and a sentence on each row that names no place in the picture. UserError: a column is
    missing."""
    read_tables, notes, found = [], [], defaultdict(dict)
    for words, listed in spec.centres.items():
        for split, pattern in listed.tables.items():
            for path in image_files.files(tree, [pattern]):
                content = tables.read(path)
                read_tables.append(content)
                for name, centre in _centres(content, listed, notes):
                    found[f"{listed.dataset}/{split}/{name}".casefold()][words] = centre
    return found, read_tables, notes


def _centres(content: tables.Table, listed: CentreSpec, notes: list[str]) -> Iterator[tuple[str, Centre]]:
    """Each picture of a table with the centre of a landmark; what is no place goes to the notes."""
    columns = zip(content.column(listed.name), content.column(listed.x), content.column(listed.y), strict=True)
    for row, (name, *cells) in enumerate(columns):
        if not name or not any(cells):
            continue
        source = content.source(row, listed.x)
        if at := _place(cells, listed.size):
            yield tables.image_key(name), Centre(*at, listed.size, source)
        else:
            by = " x ".join(map(str, listed.size))
            notes.append(f"{source}: {', '.join(cells)} is no place in a picture of {by} pixels; it is left out")


def _place(cells: Sequence[str], size: Size) -> tuple[float, ...] | None:
    """Cells of x and y in pixels as shares of a picture of `size`; None where they are no place in it."""
    if not all(map(_NUMBER.fullmatch, cells)):
        return None
    shares = tuple(float(cell) / side for cell, side in zip(cells, size, strict=True))
    return shares if max(shares) <= 1 else None


class _Index:
    """The marks of each image, by (split, folded stem), as they are found; `other_files` are not named like masks, `unnamed`
    counts the types that the page does not name."""

    def __init__(self, spec: MaskSpec):
        self.spec = spec
        self.codings = {kind: spec.coding(kind) for kind in spec.kinds}
        self.files: dict[tuple[str, str], dict[str, Marks | None]] = defaultdict(dict)
        self.graders: dict[tuple[str, str], dict[str, dict[str, Marks]]] = defaultdict(lambda: defaultdict(dict))
        self.other_files: list[Path] = []
        self.unnamed: Counter = Counter()
        self.unread: list[Path] = []

    def add_folder(self, split: str, folder: Folder) -> None:
        """Adds the mask files of a folder. UserError: as `index`."""
        self.unread += [folder.path / name for name in folder.files if Path(name).suffix.casefold() in _UNREAD]
        for name in image_files.images(folder):
            path = folder.path / name
            groups = self._groups(path)
            if groups is None:
                self.other_files.append(path)
                continue
            if not self.spec.values and "type" not in groups:
                raise UserError(f"{path}: nothing says what this mask marks; the page's `name` needs a group (?P<type>…)")
            kinds = [k for k in self.codings if self.codings[k].mark] if self.spec.values else [groups["type"]]
            for kind in kinds:
                mask = MaskFile(path, self.codings.get(self.spec.kind(kind) or "", mask_files.Coding()))
                self._add(split, groups.get("image") or path.stem, kind, mask, groups.get("grader"))

    def add_shapes(self, split: str, path: Path) -> None:
        """Adds the shapes of an annotation file. UserError: it cannot be read, or as `index`."""
        groups = self._groups(path) if self.spec.name else {}
        if groups is None:
            self.other_files.append(path)
            return
        for annotated in shapes.read(path, self.spec.classes):
            image = groups.get("image") or annotated.image
            self.files[split, image.casefold()]  # looked over, be it without a shape
            by_label = defaultdict(list)
            for shape in annotated.shapes:
                label = shape.label or groups.get("type") or ""
                by_label[self.spec.kind(label) or label].append(shape)
            for label, of_label in by_label.items():
                outlines = shapes.Outlines(path, annotated._replace(shapes=tuple(of_label)))
                self._add(split, image, label, outlines, groups.get("grader"))

    def _groups(self, path: Path) -> dict[str, str] | None:
        match = image_files.named_like(self.spec.name, path)
        return {name: found for name, found in match.groupdict().items() if found} if match else None

    def _add(self, split: str, image: str, label: str, marks: Marks, grader: str | None) -> None:
        kind, place = self.spec.kind(label), (split, image.casefold())
        if kind is None:
            self.unnamed[label] += 1
            return
        if isinstance(self.files[place].get(kind), MaskFile) and not isinstance(marks, MaskFile):
            return  # boxes or polygons beside a mask were made from it, or it from them
        known = (self.graders[place][grader] if grader else self.files[place]).setdefault(kind, marks)
        self.files[place].setdefault(kind, marks)
        if known != marks and (known.path == marks.path or known.path.read_bytes() != marks.path.read_bytes()):
            raise UserError(
                f"{known.path} and {marks.path} both mark {kind} of one image; keep one, or name a group (?P<grader>…)"
            )

    def add_absent(self) -> None:
        """Where the page says that a missing mask means no lesion, says so of the types that other images of the split have."""
        for split in {split for split, _ in self.files}:
            seen = {kind for (of, _), files in self.files.items() if of == split for kind in files} & set(self.spec.types)
            for (of, _), files in self.files.items():
                files |= {kind: None for kind in seen - files.keys() if of == split}

    @property
    def notes(self) -> list[str]:
        """A sentence on each kind of mask that is not read."""
        notes = [f"the page does not name the type {kind!r}: {n} of its masks not read" for kind, n in self.unnamed.items()]
        if self.unread:
            first = paths.display_path(self.unread[0])
            how = "list annotation files under the split's `masks`, as in masks/*.json, and save arrays as PNG"
            notes.append(f"files in the mask folders that are not read: {len(self.unread):,}, the first {first}; {how}")
        if self.other_files:
            number = len(self.other_files)
            words = "1 file in the mask folders is" if number == 1 else f"{number:,} files in the mask folders are"
            notes.append(f"{words} not named like masks, the first {paths.display_path(self.other_files[0])}")
        return notes


def index(
    tree: list[Folder], patterns: dict[str, list[str]], spec: MaskSpec
) -> tuple[dict[tuple[str, str], MaskFiles], list[str]]:
    """Finds the masks and shapes of each image, by (split, folded stem), and says in notes which files in the mask folders are
    not read. Where the page says that a missing file means no lesion, the type is there with None, but only if its folder has
    masks of other images: a folder not downloaded says nothing. UserError: two files mark the same of one image, or an
    annotation file cannot be read."""
    found = _Index(spec)
    for split, split_patterns in patterns.items():
        for pattern in split_patterns:
            if pattern.casefold().endswith(shapes.SUFFIXES):
                for path in image_files.files(tree, [pattern]):
                    found.add_shapes(split, path)
            else:
                for folder in image_files.folders(tree, [pattern], "" if "/" in spec.name else spec.name)[0]:
                    found.add_folder(split, folder)
    if spec.absent == "none":
        found.add_absent()
    graders = {place: dict(sorted(of_image.items())) for place, of_image in found.graders.items()}
    masks = {place: MaskFiles(spec, files, {}, graders.get(place, {})) for place, files in found.files.items()}
    return masks, found.notes


def facts(
    files: MaskFiles,
    picture: Path,
    record: Record,
    crop: CropInfo | None,
    max_boxes: int,
    centres: bool,
) -> Facts:
    """Returns the lesion facts of an image: per type the count, the area share, where the lesions lie, the boxes of the
    `max_boxes` largest clusters and what these leave out; landmarks by their box or, where `centres` are told, by their
    centre; and the cup-to-disc ratio. `crop` is AutoMorph's, where the image is one."""
    spec = files.spec
    own, missing = _own_centres(spec, record, picture)
    files = replace(files, centres=own | files.centres)
    masks = read(files, picture, record.eye, crop)
    result, missing = [], [*missing, *masks.missing]
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
        source = Source(str(mark.mask.path))
        result.append(Fact("lesion", f"{mark.kind}_box", mark.at.box, "box", text, source, words, place=place))
    if centres:
        result += [_centre_fact(words, *point) for words, point in masks.points.items() if words not in masks.landmarks]
    ratio = _ratio(files, masks, picture, record)
    return Facts((*result, *ratio.facts), tuple(dict.fromkeys((*missing, *ratio.missing))))


def _own_centres(spec: MaskSpec, record: Record, picture: Path) -> tuple[dict[str, Centre], list[str]]:
    """The centres that an image's own row gives, and why one is not known."""
    found, missing = {}, []
    for words, listed in spec.centres.items():
        if listed.tables or not record.has(listed.x):
            continue
        (x, source, _), (y, _, _) = record.cell(listed.x), record.cell(listed.y)
        if x or y:
            try:
                width, height = listed.size or mask_files.size(picture)
            except UserError as error:
                missing.append(str(error))
                continue
            at = _place((x, y), (width, height))
            if at is None:
                what = f"{source} holds {x!r} and {y!r}, which is no place in a picture of {width} x {height} pixels"
                missing.append(f"the centre of the {words} is not known: {what}")
            elif any(at):  # 0, 0 stands for what is not seen
                found[words] = Centre(*at, (width, height), source)
    return found, missing


def _centre_fact(words: str, x: float, y: float, source: Source) -> Fact:
    at = (round(x, 4), round(y, 4))
    text = f"the centre of the {words} lies at [{at[0]:.4f}, {at[1]:.4f}]"
    return Fact("lesion", f"{words.rpartition(' ')[2]}_centre", at, "point", text, source, words)


def _ratio(files: MaskFiles, masks: ImageMasks, picture: Path, record: Record) -> Facts:
    """The vertical cup-to-disc ratio by the outlines of cup and disc, which other experts' outlines and an expert's own number
    must bear out."""
    spec, feature = files.spec, measurements.feature(RATIO)
    outlined, stated, missing = [], [], []
    try:
        outlined = list(_outlined_ratios(files, masks, picture))
    except (UserError, Unclear) as why:
        missing.append(f"the {feature.words} is not told: {why}")
    if spec.expert_ratio and record.has(spec.expert_ratio):
        value, (cell, source, _), why = record.decimal(spec.expert_ratio)
        if value is not None and 0 < value < 1:
            stated.append((value, source))
        elif cell:
            reason = why or "which is no such ratio"
            missing.append(f"an expert's {feature.words} is not known: {source} holds {cell!r}, {reason}")
    if missing or not outlined:  # which ratio an expert's number is may not be known
        return Facts(missing=tuple(missing))
    values = [value for value, _ in (*outlined, *stated)]
    if max(values) - min(values) > spec.agree:
        listed = " and ".join(f"{value:.2f} ({source})" for value, source in (*outlined, *stated))
        return Facts(missing=(f"the {feature.words} is not told: it is {listed}",))
    of = [value for value, _ in outlined]
    value, source = round(sum(of) / len(of), feature.digits), outlined[0][1]
    return Facts((Fact("vascular", RATIO, value, feature.unit, feature.template % value, source, feature.words),))


def _outlined_ratios(files: MaskFiles, masks: ImageMasks, picture: Path) -> Iterator[tuple[float, Source]]:
    """The vertical cup-to-disc ratio by each expert's outlines, with the file of the cup. Unclear: a cup reaches beyond its
    disc. UserError: an outline cannot be read."""
    if not {CUP, DISC} <= masks.landmarks.keys():
        return
    frame = mask_files.frame(picture)
    for of_grader in files.graders.values() or [files.files]:
        named = {words: of_grader[code] for code, words in files.spec.landmarks.items() if of_grader.get(code)}
        cup, disc = named.get(CUP), named.get(DISC)
        if cup and disc:
            (left, top, right, bottom), outer = (_extent(mark.of(frame)) for mark in (cup, disc))
            slack = 0.02 * (outer[3] - outer[1])
            if left < outer[0] - slack or top < outer[1] - slack or right > outer[2] + slack or bottom > outer[3] + slack:
                raise Unclear(f"{cup.path}: the cup reaches beyond the disc")
            yield (bottom - top) / (outer[3] - outer[1]), Source(str(cup.path))


def _extent(mark: Marks) -> tuple[float, ...]:
    """The box of the largest marked part, as shares of width and height. Unclear: nothing is marked."""
    content = boxes.read(mark)
    if not len(content.pixels):
        raise Unclear(f"{mark.path}: nothing is marked")
    return tuple((content.edges[0] / np.tile(content.size, 2)).tolist())
