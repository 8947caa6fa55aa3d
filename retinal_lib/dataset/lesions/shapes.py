"""Boxes, polygons and contours as annotation programs write them: Pascal VOC, COCO, LabelMe, VIA, YOLO, and lists of points."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

import numpy as np

from retinal_lib import parsing
from retinal_lib.dataset.lesions.boxes import Lesions, largest_first
from retinal_lib.dataset.lesions.masks import Frame, Pixels, Unclear, connected
from retinal_lib.errors import UserError
from retinal_lib.files import read_bytes
from retinal_lib.imaging.images import MAX_PIXELS

SUFFIXES = (".xml", ".json", ".txt")
_SHARES = (1, 1)  # the size that shares of width and height are of
_POLYGONS = ("polygon", "polyline")
_OUTSIDE = 0.01  # of the picture's side: so far beyond its edge a shape may be drawn
_ROUND = 64  # corners of the polygon that a circle becomes


class Shape(NamedTuple):
    """A marked region: its label, its corners (x, y) in order, and whether it is a box, which holds a lesion and more; or, in
    `runs`, the numbers of unmarked and marked pixels in turn, column by column of the whole picture."""

    label: str
    points: tuple[tuple[float, float], ...]
    is_box: bool = False
    runs: tuple[int, ...] = ()


class Annotated(NamedTuple):
    """The shapes of one picture, which is named by the stem of its file; `size` is the (width, height) that their points are
    of, (1, 1) for shares of it, None for pixels of a picture whose size the file does not say."""

    image: str
    size: tuple[int, int] | None
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Outlines:
    """The shapes of one type in one picture, with the file they were read from; `frame` is the picture's."""

    path: Path
    annotated: Annotated
    frame: Frame | None = None

    def of(self, picture: Frame) -> "Outlines":
        """Returns the shapes laid on a picture. Unclear: they may be of the stored picture, and it is shown turned."""
        if picture.orientation != 1:
            raise Unclear(f"the picture is turned by its EXIF orientation {picture.orientation}; save it upright")
        return Outlines(self.path, self.annotated, picture)

    def lesions(self) -> Lesions:
        """Returns each shape as one lesion, or of run lengths each connected part, as of a mask. UserError: a shape lies
        outside the picture."""
        _, size, shapes = self.annotated
        if any(shape.runs for shape in shapes):
            return self._of_runs(size, shapes)
        if size == _SHARES or size is None:
            scale, size = (self.frame.size if size else (1, 1)), self.frame.size
        else:
            scale = (1, 1)
        drawn = [np.array(shape.points, np.float64).reshape(-1, 2) * scale for shape in shapes]
        for points in drawn:
            if not np.isfinite(points).all() or (points < -_OUTSIDE * np.array(size)).any():
                raise UserError(f"{self.path}: a shape has the corner {points.min(axis=0).tolist()}, outside of the picture")
            if (points > (1 + _OUTSIDE) * np.array(size)).any():
                by = " x ".join(map(str, size))
                raise UserError(f"{self.path}: a shape has the corner {points.max(axis=0).tolist()}, outside of {by} pixels")
        if any(shape.is_box for shape in shapes):  # then of all lesions the extent alone is known
            return _boxes(size, drawn)
        return Lesions.of(size, _filled(size, drawn))

    def _of_runs(self, size: tuple[int, int], shapes: tuple[Shape, ...]) -> Lesions:
        if not all(shape.runs for shape in shapes):
            raise UserError(f"{self.path}: run lengths stand beside polygons or boxes of one type; keep one form")
        marked = np.zeros(size[::-1], bool)
        for shape in shapes:
            marked |= np.repeat(np.arange(len(shape.runs)) % 2 == 1, shape.runs).reshape(size).T
        return Lesions.of(size, connected(marked))


def _filled(size: tuple[int, int], drawn: list[np.ndarray]) -> Pixels:
    """The pixels of each polygon, the largest drawn first, so that those inside others are seen."""
    labels = np.zeros((size[1], size[0]), np.int32)
    extents = [np.prod(np.ptp(points, axis=0)) for points in drawn]
    for i in np.argsort(extents, kind="stable")[::-1]:
        (left, top), inside = _inside(drawn[i], size)
        part = labels[top : top + inside.shape[0], left : left + inside.shape[1]]
        part[inside] = int(i) + 1
    rows, columns = np.nonzero(labels)
    owners = np.unique(labels[rows, columns], return_inverse=True)[1]
    return Pixels(rows.astype(np.int32), columns.astype(np.int32), owners.astype(np.int32))


def _inside(points: np.ndarray, size: tuple[int, int]) -> tuple[tuple[int, int], np.ndarray]:
    """Which pixels have their middle inside a polygon, bool [height, width], and the corner (left, top) of these; of a polygon
    that holds no pixel's middle, the nearest pixel."""
    left, top = np.clip(np.floor(points.min(axis=0)), 0, np.array(size) - 1).astype(int).tolist()
    right, bottom = np.clip(np.ceil(points.max(axis=0)), [left + 1, top + 1], size).astype(int).tolist()
    middles, crossed = np.arange(top, bottom) + 0.5, np.zeros((bottom - top, right - left + 1), np.int32)
    for (xa, ya), (xb, yb) in zip(points, np.roll(points, -1, axis=0), strict=True):
        rows = np.flatnonzero((middles >= min(ya, yb)) & (middles < max(ya, yb)))
        if len(rows):
            at = xa + (middles[rows] - ya) * (xb - xa) / (yb - ya)
            np.add.at(crossed, (rows, np.clip(np.ceil(at - 0.5) - left, 0, right - left).astype(int)), 1)
    inside = np.cumsum(crossed, axis=1)[:, :-1] % 2 == 1
    if not inside.any():
        column, row = np.clip(points.mean(axis=0) - (left, top), 0, [right - left - 1, bottom - top - 1]).astype(int)
        inside[row, column] = True
    return (left, top), inside


def _boxes(size: tuple[int, int], drawn: list[np.ndarray]) -> Lesions:
    """Boxes as they are drawn, the largest first: each is one, whether it overlaps another or not."""
    limits = np.tile(size, 2)
    drawn = [np.round(points, 6) for points in drawn]  # what floating point adds is no part of a box
    edges = [np.clip([*np.floor(p.min(axis=0)), *np.ceil(p.max(axis=0))], 0, limits) for p in drawn]
    edges = np.array(edges, np.int64).reshape(-1, 4)
    areas = np.prod(edges[:, 2:] - edges[:, :2], axis=1)
    order = largest_first(areas, edges)
    marks = [np.mgrid[y0:y1, x0:x1].reshape(2, -1) for x0, y0, x1, y1 in edges[order].tolist()]
    rows, columns = np.hstack(marks).astype(np.int32) if marks else np.empty((2, 0), np.int32)
    owners = np.repeat(np.arange(len(marks), dtype=np.int32), areas[order])
    return Lesions(size, edges[order], areas[order], Pixels(rows, columns, owners), True)


def read(path: Path, classes: list[str] = ()) -> list[Annotated]:
    """Reads the shapes of an annotation file; `classes` name the numbers of a YOLO file, which a classes.txt beside it names
    else. UserError: it is in none of the forms, or damaged."""
    raw, suffix = read_bytes(path), path.suffix.casefold()
    try:
        if suffix == ".xml":
            return [_voc(path, raw)]
        if suffix == ".json":
            return list(_json(path, raw))
        return [_lines(path, raw.decode("utf-8-sig"), classes)]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:  # of a form that is not as it should be
        why = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
        raise UserError(f"{path}: not a readable annotation file ({why})") from error


def _voc(path: Path, raw: bytes) -> Annotated:
    from defusedxml import DefusedXmlException, ElementTree  # neither entities nor files beyond the text

    try:
        root = ElementTree.fromstring(raw)
    except (ParseError, DefusedXmlException) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if root.tag != "annotation":
        raise ValueError(f"its root is {root.tag!r}; Pascal VOC has 'annotation'")
    size = root.find("size")
    sides = (round(_number(size, "width")), round(_number(size, "height"))) if size is not None else (0, 0)
    shapes = []
    for thing in root.iter("object"):
        box = thing.find("bndbox")
        x0, y0, x1, y1 = _number(box, "xmin"), _number(box, "ymin"), _number(box, "xmax"), _number(box, "ymax")
        shapes.append(_box(str(thing.findtext("name")).strip(), x0, y0, x1, y1))
    return Annotated(path.stem, sides if all(sides) else None, tuple(shapes))


def _number(parent: Element | None, tag: str) -> float:
    text = parent.findtext(tag) if parent is not None else None
    if text is None:
        raise KeyError(tag)
    return float(text)


def _box(label: str, x0: float, y0: float, x1: float, y1: float) -> Shape:
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"a box of {label} from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}), which has no extent")
    return Shape(label, ((x0, y0), (x1, y0), (x1, y1), (x0, y1)), True)


def _json(path: Path, raw: bytes) -> Iterator[Annotated]:
    content = parsing.json_value(raw)
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
        yield from _coco(content)
    elif isinstance(content, dict) and "shapes" in content:
        yield _labelme(path, content)
    else:
        content = content.get("_via_img_metadata", content) if isinstance(content, dict) else content
        if not isinstance(content, dict) or not all(isinstance(e, dict) and "regions" in e for e in content.values()):
            raise ValueError("its form is none of COCO, LabelMe and VIA")
        for entry in content.values():
            regions = entry["regions"].values() if isinstance(entry["regions"], dict) else entry["regions"]
            yield Annotated(PurePath(entry["filename"]).stem, None, tuple(map(_via, regions)))


def _coco(content: dict) -> Iterator[Annotated]:
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    shapes: dict[object, list[Shape]] = {image["id"]: [] for image in content["images"]}
    sizes = {image["id"]: [image.get("height"), image.get("width")] for image in content["images"]}
    for entry in content["annotations"]:
        label, outline = names[entry["category_id"]], entry.get("segmentation")
        if isinstance(outline, dict):
            shapes[entry["image_id"]].append(Shape(label, (), False, _runs(outline, sizes[entry["image_id"]])))
            continue
        if outline and len(outline) > 1:
            raise ValueError(f"annotation {entry.get('id')} has {len(outline)} polygons, and one is needed")
        if outline:
            shapes[entry["image_id"]].append(Shape(label, _pairs(outline[0])))
        else:
            x, y, width, height = map(float, entry["bbox"])
            shapes[entry["image_id"]].append(_box(label, x, y, x + width, y + height))
    for image in content["images"]:
        size = (int(image["width"]), int(image["height"])) if image.get("width") and image.get("height") else None
        yield Annotated(PurePath(str(image["file_name"]).replace("\\", "/")).stem, size, tuple(shapes[image["id"]]))


def _runs(mask: dict, size: list[int]) -> tuple[int, ...]:
    """The run lengths of a mask of [height, width], which COCO writes as a list or as a text of packed differences."""
    counts, whole = mask["counts"], math.prod(size) if all(size) else 0
    runs = _unpacked(counts) if isinstance(counts, str) else list(map(int, counts))
    if list(mask["size"]) != size or not 0 < whole <= MAX_PIXELS or min(runs, default=-1) < 0 or sum(runs) != whole:
        raise ValueError(f"run lengths of {sum(runs)} pixels for a picture of {' x '.join(map(str, size[::-1]))}")
    return tuple(runs)


def _unpacked(text: str) -> list[int]:
    """Run lengths from COCO's text: five bits a letter, the lowest first, a sixth for 'goes on'; from the third on each is the
    difference to the last but one.

    >>> _unpacked("52203"), _unpacked("04L4")
    ([5, 2, 2, 2, 5], [0, 4, -4, 8])
    """
    runs: list[int] = []
    value = shift = 0
    for letter in text.encode("ascii"):
        bits = letter - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not 0 <= bits < 64 or shift > 40:
            raise ValueError("run lengths that are no text of COCO")
        if not bits & 0x20:
            value -= (1 << shift) if bits & 0x10 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _pairs(numbers: Iterable[float]) -> tuple[tuple[float, float], ...]:
    numbers = [float(number) for number in numbers]
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(f"a polygon of {len(numbers)} numbers; three corners have six")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _labelme(path: Path, content: dict) -> Annotated:
    shapes = []
    for entry in content["shapes"]:
        kind, points = entry.get("shape_type", "polygon"), [tuple(map(float, point)) for point in entry["points"]]
        if kind == "rectangle":
            (xa, ya), (xb, yb) = points
            shapes.append(_box(entry["label"], min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb)))
        elif kind == "circle":
            shapes.append(Shape(entry["label"], _ellipse(*points[0], *[math.dist(*points)] * 2)))
        elif kind in _POLYGONS:
            shapes.append(Shape(entry["label"], _pairs(number for point in points for number in point)))
        else:
            raise ValueError(f"a shape of the kind {kind!r}; read are polygon, rectangle and circle")
    size = (content.get("imageWidth"), content.get("imageHeight"))
    # the file of annotations bears the picture's name, and keeps it where the picture was renamed
    return Annotated(path.stem, size if all(size) else None, tuple(shapes))


def _via(region: dict) -> Shape:
    at, label = region["shape_attributes"], _via_label(region["region_attributes"])
    if at["name"] == "rect":
        return _box(label, at["x"], at["y"], at["x"] + at["width"], at["y"] + at["height"])
    if at["name"] in _POLYGONS:
        return Shape(label, _pairs(n for point in zip(at["all_points_x"], at["all_points_y"], strict=True) for n in point))
    if at["name"] in ("circle", "ellipse"):
        across, down = (at["r"], at["r"]) if at["name"] == "circle" else (at["rx"], at["ry"])
        return Shape(label, _ellipse(at["cx"], at["cy"], across, down, at.get("theta", 0)))
    raise ValueError(f"a region of the kind {at['name']!r}; read are rect, polygon, circle and ellipse")


def _via_label(attributes: dict) -> str:
    """The one attribute of a region, or the box that is ticked in it."""
    if len(attributes) != 1:
        raise ValueError(f"a region has {len(attributes)} attributes, and one is needed, the type of lesion")
    (value,) = attributes.values()
    ticked = [name for name, chosen in value.items() if chosen] if isinstance(value, dict) else [value]
    if len(ticked) != 1 or not str(ticked[0]).strip():
        raise ValueError(f"a region has the types {ticked}, and one is needed")
    return str(ticked[0]).strip()


def _ellipse(x: float, y: float, across: float, down: float, turn: float = 0) -> tuple[tuple[float, float], ...]:
    angles = np.linspace(0, 2 * math.pi, _ROUND, endpoint=False)
    right, lower = across * np.cos(angles), down * np.sin(angles)
    columns = x + right * math.cos(turn) - lower * math.sin(turn)
    rows = y + right * math.sin(turn) + lower * math.cos(turn)
    return tuple(zip(columns.tolist(), rows.tolist(), strict=True))


def _lines(path: Path, text: str, classes: list[str]) -> Annotated:
    """A file of YOLO, or the points of one contour, (x, y) in a line."""
    lines = [[float(cell) for cell in re.split(r"[\s,;]+", line.strip())] for line in text.splitlines() if line.strip()]
    if lines and {len(line) for line in lines} == {2}:
        return Annotated(path.stem, None, (Shape("", _pairs(number for line in lines for number in line)),))
    names = path.with_name("classes.txt")
    classes = classes or (names.read_text(encoding="utf-8-sig").split("\n") if lines and names.is_file() else [])
    shapes = []
    for number, *places in lines:
        if not number.is_integer() or not 0 <= number < len(classes):
            raise ValueError(f"the class {number:g}, which neither `classes` on the page nor a classes.txt beside it names")
        label = classes[int(number)].strip()
        if len(places) == 4:
            x, y, width, height = places
            shapes.append(_box(label, x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        else:
            shapes.append(Shape(label, _pairs(places)))
    return Annotated(path.stem, _SHARES, tuple(shapes))
