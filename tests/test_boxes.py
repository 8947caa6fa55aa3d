"""Boxes: clusters, AutoMorph's crops, places in words, and masks as they are published."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from retinal_lib import load_dataset
from retinal_lib.dataset import automorph, page
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.lesions import boxes, locations, masks
from retinal_lib.dataset.lesions.boxes import Crop, Landmark
from retinal_lib.dataset.lesions.wording import LesionType
from retinal_lib.errors import UserError
from retinal_lib.explore import boxes_job
from retinal_lib.facts import Case

MARKED = arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.booleans(), fill=st.just(False))


def flooded(mask: np.ndarray) -> list[frozenset]:
    """The 8-connected parts, found pixel by pixel."""
    left, found = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            part.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge += near
        found.append(frozenset(part))
    return found


def holds(outer: boxes.Box, inner: np.ndarray, size: tuple[int, int]) -> bool:
    x0, y0, x1, y1 = np.array(outer) * (*size, *size)
    return x0 <= inner[0] + 1e-6 and y0 <= inner[1] + 1e-6 and inner[2] <= x1 + 1e-6 and inner[3] <= y1 + 1e-6


# --- lesions and clusters ---


@given(MARKED)
def test_lesions_are_the_connected_parts(mask: np.ndarray) -> None:
    found = boxes.find(mask)
    parts = flooded(mask)
    expected = sorted((len(p), min(x for _, x in p), min(y for y, _ in p), max(x for _, x in p) + 1) for p in parts)
    edges = found.edges.tolist()
    assert sorted((n, e[0], e[1], e[2]) for n, e in zip(found.pixels.tolist(), edges, strict=True)) == expected
    for n, (x, y) in enumerate(found.centres):
        own = [p for p in parts if len(p) == found.pixels[n] and min(q for _, q in p) == edges[n][0]]
        assert any(math.isclose(x, np.mean([q + 0.5 for _, q in p])) for p in own)
        assert any(math.isclose(y, np.mean([q + 0.5 for q, _ in p])) for p in own)


@given(MARKED, st.floats(0, 0.5), st.floats(0, 1))
def test_every_lesion_is_held_whole_by_the_box_of_exactly_one_cluster(mask: np.ndarray, gap: float, fill: float) -> None:
    found = boxes.find(mask)
    groups, owners = boxes.clusters(found, gap, fill)
    assert len(owners) == len(found.pixels) and sorted(set(owners.tolist())) == list(range(len(groups)))
    assert [c.pixels for c in groups] == sorted((c.pixels for c in groups), reverse=True)
    assert sum(c.pixels for c in groups) == mask.sum() and sum(c.lesions for c in groups) == len(found.pixels)
    for lesion, owner in enumerate(owners.tolist()):
        assert holds(groups[owner].box, found.edges[lesion], found.size)
    for cluster in groups:
        assert cluster.lesions == 1 or cluster.fill >= fill - 1e-4, "sparse clusters are parted"


@given(MARKED, st.floats(0, 0.5))
def test_clusters_are_what_is_near_step_by_step(mask: np.ndarray, gap: float) -> None:
    found = boxes.find(mask)
    _, owners = boxes.clusters(found, gap)
    reach = gap * max(found.size)

    def near(a: int, b: int) -> bool:
        one, other = found.edges[a], found.edges[b]
        return all(max(one[i], other[i]) - min(one[i + 2], other[i + 2]) <= reach for i in (0, 1))

    for a in range(len(owners)):
        assert all(owners[a] == owners[b] for b in range(a) if near(a, b))
    for cluster in set(owners.tolist()):
        inside = np.flatnonzero(owners == cluster).tolist()
        seen, edge = {inside[0]}, [inside[0]]
        while edge:
            more = {b for b in inside if b not in seen and near(edge[-1], b)}
            edge.pop()
            seen |= more
            edge += more
        assert seen == set(inside), "nothing far away is in it"


@given(MARKED, st.randoms())
def test_boxes_do_not_depend_on_order(mask: np.ndarray, random: object) -> None:
    once, again = boxes.find(mask), boxes.find(mask.copy())
    assert boxes.clusters(once, 0.05, 0.4)[0] == boxes.clusters(again, 0.05, 0.4)[0]
    mirrored = boxes.find(mask[:, ::-1])
    assert sorted(c.pixels for c in boxes.clusters(mirrored, 0.05)[0]) == sorted(
        c.pixels for c in boxes.clusters(once, 0.05)[0]
    )


def test_an_empty_mask_has_neither_lesions_nor_clusters() -> None:
    found = boxes.find(np.zeros((5, 9), bool))
    assert found.lesions == () and found.area == 0
    groups, owners = boxes.clusters(found, 0.1, 0.5)
    assert groups == [] and len(owners) == 0


def test_a_ring_of_grains_is_parted_where_a_box_around_it_would_be_empty() -> None:
    mask = np.zeros((100, 100), bool)
    for n in range(12):
        y, x = round(50 + 30 * math.sin(n * math.pi / 6)), round(50 + 30 * math.cos(n * math.pi / 6))
        mask[y : y + 3, x : x + 3] = True
    found = boxes.find(mask)
    (ring,), _ = boxes.clusters(found, 0.2)
    assert ring.lesions == 12 and ring.fill < 0.03
    parted, _ = boxes.clusters(found, 0.2, 0.4)
    assert len(parted) == 12 and all(c.fill == 1 for c in parted)


def test_near_lesions_that_fill_their_box_stay_one_cluster() -> None:
    mask = np.zeros((50, 50), bool)
    mask[10:20, 10:20] = mask[10:20, 22:30] = True
    (cluster,), _ = boxes.clusters(boxes.find(mask), 0.05, 0.4)
    assert cluster == boxes.Cluster((0.2, 0.2, 0.6, 0.4), 2, 180, 0.9)


# --- AutoMorph's crops ---


@given(MARKED, st.data())
def test_a_cropped_mask_is_what_the_cropped_picture_shows(mask: np.ndarray, data: st.DataObject) -> None:
    height, width = mask.shape
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    crop = Crop.around((width, height), row, column, data.draw(st.integers(1, 30)))
    square = np.zeros((crop.side, crop.side), bool)
    part = mask[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    square[crop.down : crop.down + crop.height, crop.right : crop.right + crop.width] = part
    cut, whole = crop.cut(boxes.find(mask)), boxes.find(square)
    assert cut.size == whole.size and cut.pixels.sum() == whole.pixels.sum()
    drawn = np.zeros_like(square)
    drawn[cut.marked.rows, cut.marked.columns] = True
    assert (drawn == square).all() and len(cut.pixels) <= len(whole.pixels), "an edge parts no lesion in two"


def test_automorph_s_own_arithmetic() -> None:
    """A 4288 x 2848 picture whose field of radius 1700 reaches beyond its upper and lower edge."""
    crop = Crop.around((4288, 2848), 1424, 2144, 1700)
    assert (crop.left, crop.top, crop.width, crop.height, crop.side) == (444, 0, 3400, 2848, 3400)
    assert (crop.right, crop.down) == (0, 276)


def test_crop_info_is_read_with_its_names_the_wrong_way_round(tmp_path: Path) -> None:
    (tmp_path / "M0").mkdir()
    lines = ["Name,centre_w,centre_h,radius,Scale,Scale_resolution", "a.png,1424,2144,1700,3.7,1", "b.png,x,1,1,1,1"]
    lines += ["c.png,1,1,1,1,1", "c.png,2,1,1,1,1", "d.png,9.0,8,7,1,1"]
    (tmp_path / "M0" / "crop_info.csv").write_text("\n".join(lines), encoding="utf-8")
    assert automorph.AutoMorph(tmp_path).crops == {"a": (1424, 2144, 1700), "d": (9, 8, 7)}


# --- masks as published ---


def saved(path: Path, mask: np.ndarray, form: str) -> Path:
    """A mask written the way a dataset publishes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "grey 0/255":
        Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    elif form == "grey 0/1":
        Image.fromarray(mask.astype(np.uint8)).save(path)
    elif form == "one bit":
        Image.fromarray(mask).save(path)
    elif form == "palette":
        made = Image.fromarray(mask.astype(np.uint8)).convert("P")
        made.putpalette([0, 0, 0, 255, 0, 0])
        made.save(path)
    elif form == "RGBA":
        pixels = np.zeros((*mask.shape, 4), np.uint8)
        pixels[..., 0], pixels[..., 3] = mask * 200, 255
        Image.fromarray(pixels).save(path)
    elif form == "RGB":
        Image.fromarray(np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)).save(path)
    else:
        Image.fromarray(mask.astype(np.uint16) * 65535).save(path)
    return path


FORMS = ["grey 0/255", "grey 0/1", "one bit", "palette", "RGBA", "RGB", "deep grey"]


@pytest.mark.parametrize("suffix", [".tif", ".png"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_mask_marks_the_same(form: str, suffix: str, tmp_path: Path) -> None:
    mask = np.pad(np.random.default_rng(1).random((35, 51)) < 0.2, 1)
    found = masks.read(saved(tmp_path / f"mask{suffix}", mask, form))
    assert found.dtype == bool and found.shape == (37, 53) and (found == mask).all()


@pytest.mark.parametrize("content", [b"", b"no picture", b"II*\0\x08\0\0\0", b"\x89PNG\r\n\x1a\n"])
def test_a_mask_that_is_none_says_so(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mask.tif").write_bytes(content)
    with pytest.raises(UserError, match=r"mask.tif: the mask cannot be read"):
        boxes.load(boxes.MaskFile(tmp_path / "mask.tif"))


@pytest.mark.parametrize("form", ["palette", "grey 0/255"])
def test_a_mask_that_was_cut_off_while_copying_says_so(form: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "mask.tif", np.ones((200, 200), bool), form)
    path.write_bytes(path.read_bytes()[:-300] if form == "palette" else path.read_bytes()[:4000])
    with pytest.raises(UserError, match="the mask cannot be read"):
        boxes.load(boxes.MaskFile(path))


SPOTS = np.zeros((60, 80), bool)
SPOTS[10:18, 20:30] = SPOTS[40:46, 50:58] = True


def coded(ground: object, mark: object, mode: str, **settings: object) -> Image.Image:
    """SPOTS in the values of a mode."""
    bands = np.atleast_1d(ground).size
    pixels = np.where(SPOTS[..., None], np.atleast_1d(mark), np.atleast_1d(ground))
    pixels = pixels.astype(settings.get("dtype", np.uint8))
    return Image.fromarray(pixels[..., 0] if bands == 1 else pixels, **({} if bands == 1 else {"mode": mode}))


def with_palette(index: int, colours: list[int]) -> Image.Image:
    made = Image.fromarray(np.where(SPOTS, index, 0).astype(np.uint8)).convert("P")
    made.putpalette(colours)
    return made


CODED = {
    "white ground": coded(255, 0, "L"),
    "white ground in colours": coded((255, 255, 255), (0, 0, 0), "RGB"),
    "green": coded((0, 0, 0), (0, 255, 0), "RGB"),
    "cyan on red": coded((255, 0, 0), (0, 255, 255), "RGB"),
    "alpha alone": coded((255, 255, 255, 0), (255, 255, 255, 255), "RGBA"),
    "alpha alone, opaque ground": coded((9, 9, 9, 255), (9, 9, 9, 0), "RGBA"),
    "grey and alpha": coded((0, 0), (255, 255), "LA"),
    "ink": coded((0, 0, 0, 255), (0, 255, 255, 0), "CMYK"),
    "palette of VOC": with_palette(2, [0, 0, 0, 128, 0, 0, 0, 128, 0]),
    "real numbers": coded(0, 0.5, "F", dtype=np.float32),
    "many bits": coded(0, 70_000, "I", dtype=np.int32),
    "soft edges": Image.fromarray(np.repeat(np.repeat(SPOTS.astype(np.uint8) * 255, 2, 0), 2, 1)).resize((80, 60), 4),
}


@pytest.mark.parametrize("coding", CODED)
def test_marked_is_what_differs_from_the_ground_in_any_coding(coding: str, tmp_path: Path) -> None:
    CODED[coding].save(tmp_path / "mask.tif")
    assert (masks.read(tmp_path / "mask.tif") == SPOTS).all()


@pytest.mark.parametrize("quality", [30, 60, 90])
@pytest.mark.parametrize("ground", [0, 255])
def test_the_noise_of_jpeg_makes_no_lesions(quality: int, ground: int, tmp_path: Path) -> None:
    path = tmp_path / "mask.jpg"
    coded(ground, 255 - ground, "L").save(path, quality=quality)
    assert len(boxes.load(boxes.MaskFile(path)).pixels) == 2


def layers(**values: np.ndarray) -> Image.Image:
    pixels = np.zeros((60, 80), np.uint8)
    for value, place in values.items():
        pixels[place] = int(value[1:])
    return Image.fromarray(pixels)


LEFT, RIGHT = np.s_[10:20, 10:20], np.s_[30:40, 40:60]
UNCLEAR = {
    "marked all over": (layers(_255=np.s_[:, :]), {}, "may be ground or mark"),
    "several classes": (layers(_1=LEFT, _2=RIGHT), {}, r"several values beside the ground \(1, 2\)"),
    "a faint class": (layers(_255=LEFT, _9=RIGHT), {}, "faint values far from any mark"),
    "most is marked": (layers(_255=np.s_[1:-1, 1:-1]), {}, "would cover 9"),
    "a cross": (layers(_255=np.s_[30], _254=np.s_[:, 40]), {"mark": (255, 254)}, "all four borders"),
    "no ground at the border": (layers(_255=np.s_[:40, :35]), {}, "no value holds most of its border"),
    "a class that the page leaves out": (layers(_1=LEFT, _2=RIGHT), {"mark": (1,)}, "says nothing of the values 0, 2"),
    "a mark that is not there, and another": (layers(_1=LEFT), {"mark": (255,)}, "says nothing of the values 0, 1"),
    "another ground": (layers(_1=LEFT), {"ground": 255}, "states the ground 255, and its border holds 0"),
    "dots of soft edges": (
        Image.fromarray((np.random.default_rng(2).random((60, 80)) < 0.02).astype(np.uint8) * 255).resize((33, 25), 4),
        {},
        "state `threshold`",
    ),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_a_mask_that_could_be_read_in_two_ways_is_refused(case: str, tmp_path: Path) -> None:
    picture, stated, why = UNCLEAR[case]
    picture.save(tmp_path / "mask.png")
    with pytest.raises(UserError, match=f"mask.png: the mask is not told: .*{why}"):
        masks.read(tmp_path / "mask.png", masks.Coding(**stated))


def test_a_file_of_several_pages_is_refused(tmp_path: Path) -> None:
    coded(0, 255, "L").save(tmp_path / "mask.tif", save_all=True, append_images=[coded(0, 255, "L")])
    with pytest.raises(UserError, match="the file has 2 pages"):
        masks.read(tmp_path / "mask.tif")


def test_a_page_says_what_marks(tmp_path: Path) -> None:
    layers(_1=LEFT, _2=RIGHT).save(tmp_path / "mask.png")
    area = {1: 100, 2: 200}
    for mark in ((1,), (2,), (1, 2)):
        coding = masks.Coding(mark, tuple({1, 2} - {*mark}))
        assert masks.read(tmp_path / "mask.png", coding).sum() == sum(area[value] for value in mark)
    layers(_255=LEFT, _9=RIGHT).save(tmp_path / "mask.png")
    assert masks.read(tmp_path / "mask.png", masks.Coding(threshold=128)).sum() == 100
    layers(_255=np.s_[:, :]).save(tmp_path / "mask.png")
    assert not masks.read(tmp_path / "mask.png", masks.Coding(ground=255)).any()
    assert not masks.read(tmp_path / "mask.png", masks.Coding((0,))).any()
    coded((0, 0, 0), (0, 255, 0), "RGB").save(tmp_path / "mask.png")
    assert masks.read(tmp_path / "mask.png", masks.Coding(("#00ff00",))).sum() == SPOTS.sum()


def of_page(folder: Path, mask: Image.Image | None, picture: Image.Image, **settings: object) -> Case:
    """An image as a page with these settings of its masks describes it."""
    for place, content in (("img/e1.png", picture), ("M/drusen/e1.png", mask), ("M/drusen/e0.png", coded(0, 255, "L"))):
        if content is not None:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            content.save(folder / place, exif=content.getexif())
    spec = {"name": "^(?P<type>drusen|disc)/(?P<image>.+)$", "types": {"Drusen": ["druse", "drusen"]}, **settings}
    splits = {"all": {"images": ["img"], "masks": ["M/*"]}}
    made = page.Page(name="own", title="own", splits=splits, masks=spec, facts=["boxes"])
    return BaseDescription(folder, dataset=made).describe("e1.png")


def turned(picture: Image.Image, orientation: int) -> Image.Image:
    picture.getexif()[274] = orientation
    return picture


def test_mask_types_fit_the_files_in_any_case(tmp_path: Path) -> None:
    case = of_page(tmp_path, coded(0, 255, "L"), Image.new("RGB", (80, 60)))
    assert "2 drusen are marked" in case.description and not case.missing


@pytest.mark.parametrize(("orientation", "of_stored"), [(1, True), (6, True), (6, False), (5, True), (8, True)])
def test_a_mask_is_turned_with_its_picture(orientation: int, of_stored: bool, tmp_path: Path) -> None:
    picture, mask = turned(Image.new("RGB", (80, 60)), orientation), coded(0, 255, "L")
    upright = ImageOps.exif_transpose(turned(mask.copy(), orientation))
    case = of_page(tmp_path, mask if of_stored else upright, picture)
    seen = boxes.find(np.asarray(upright) > 0)
    assert [f.value for f in case.facts if f.name == "Drusen_box"] == [lesion.box for lesion in seen.lesions]


@pytest.mark.parametrize(("orientation", "size"), [(3, (80, 60)), (6, (60, 60))])
def test_a_mask_that_may_be_of_the_turned_or_the_stored_picture_is_refused(
    orientation: int, size: tuple[int, int], tmp_path: Path
) -> None:
    case = of_page(tmp_path, coded(0, 255, "L"), turned(Image.new("RGB", size), orientation), absent="none")
    assert not case.facts and f"EXIF orientation {orientation}" in case.missing[0]


def test_a_mask_that_is_refused_never_means_that_there_is_none(tmp_path: Path) -> None:
    case = of_page(tmp_path, Image.new("L", (80, 60), 255), Image.new("RGB", (80, 60)), absent="none")
    assert not case.facts and "may be ground or mark" in case.missing[0]


def test_several_classes_of_one_file_are_told_each_by_itself(tmp_path: Path) -> None:
    mask = Image.new("L", (80, 60), 255)
    mask.paste(128, (10, 10, 30, 30))
    mask.paste(0, (14, 14, 24, 24))
    settings = {"name": "drusen/(?P<image>.+)", "types": {}, "landmarks": {"OD": "optic disc", "OC": "optic cup"}}
    case = of_page(tmp_path, mask, Image.new("RGB", (80, 60)), **settings, values={0: "oc", 128: "od"})
    told = {fact.words: fact.value for fact in case.facts}
    boxed = {"optic disc": (0.125, 0.1666, 0.375, 0.5), "optic cup": (0.175, 0.2333, 0.3, 0.4)}
    assert told == boxed | {"vertical cup-to-disc ratio": 0.5}


def test_masks_of_a_type_that_the_page_does_not_name_are_noted(tmp_path: Path) -> None:
    of_page(tmp_path, coded(0, 255, "L"), Image.new("RGB", (80, 60)))
    (tmp_path / "M" / "disc").mkdir()
    coded(0, 255, "L").save(tmp_path / "M" / "disc" / "e1.png")
    spec = {"name": "^(?P<type>drusen|disc)/(?P<image>.+)$", "types": {"drusen": ["druse", "drusen"]}}
    made = page.Page(
        name="own", title="own", splits={"all": {"images": ["img"], "masks": ["M/*"]}}, masks=spec, facts=["boxes"]
    )
    assert "the page does not name the type 'disc': 1 of its masks not read" in BaseDescription(tmp_path, dataset=made).notes


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"values": {0: "CUP"}}, "values names 'CUP', which is none of the types and landmarks: Drusen"),
        ({"name": "x"}, r"name 'x' needs a group \(\?P<type>"),
        ({"mark": "red"}, "#"),
        ({"values": {0: "drusen"}, "mark": 1}, "mark and values exclude each other"),
    ],
)
def test_a_page_that_says_impossible_things_of_masks_is_refused(settings: dict, why: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=why):
        of_page(tmp_path, coded(0, 255, "L"), Image.new("RGB", (80, 60)), **settings)


# --- boxes, polygons and contours ---

BOX, CORNERS = (8, 6, 24, 18), ((40, 30), (60, 30), (60, 45), (40, 45))  # a box, and a polygon that is one, in 80 x 60 pixels
ANNOTATED = {
    "voc.xml": """<annotation><filename>other.jpg</filename><size><width>80</width><height>60</height></size>
      <object><name>ex</name><bndbox><xmin>8</xmin><ymin>6</ymin><xmax>24</xmax><ymax>18</ymax></bndbox></object></annotation>""",
    "coco.json": {
        "images": [{"id": 7, "file_name": "a/e1.jpg", "width": 80, "height": 60}],
        "categories": [{"id": 1, "name": "EX"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [8, 6, 16, 12]},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 1], "segmentation": [[c for xy in CORNERS for c in xy]]},
        ],
    },
    "labelme.json": {
        "imageWidth": 80, "imageHeight": 60, "imagePath": "e1.jpg",
        "shapes": [
            {"label": "EX", "points": [[24, 6], [8, 18]], "shape_type": "rectangle"},
            {"label": "EX", "points": CORNERS, "shape_type": "polygon"},
        ],
    },
    "via.json": {
        "e1.jpg123": {
            "filename": "e1.jpg", "size": 123,
            "regions": [
                {
                    "shape_attributes": {"name": "rect", "x": 8, "y": 6, "width": 16, "height": 12},
                    "region_attributes": {"type": "Ex"},
                },
                {
                    "shape_attributes": {"name": "polygon", "all_points_x": [40, 60, 60, 40], "all_points_y": [30, 30, 45, 45]},
                    "region_attributes": {"type": {"EX": True, "MA": False}},
                },
            ],
        }
    },
    "yolo.txt": "1 0.2 0.2 0.2 0.2\n1 0.5 0.5 0.75 0.5 0.75 0.75 0.5 0.75\n",
}  # fmt: skip


def annotated(folder: Path, form: str, content: object = None, **settings: object) -> BaseDescription:
    """A dataset of one picture of 80 x 60 pixels with its annotation file."""
    content = ANNOTATED[form] if content is None else content
    suffix = Path(form).suffix
    (folder / "img").mkdir(parents=True)
    Image.new("RGB", (80, 60)).save(folder / "img" / "e1.png")
    (folder / f"e1{suffix}").write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    spec = {"types": {"EX": ["hard exudate", "hard exudates"]}, "classes": ["MA", "EX"], "absent": "none", **settings}
    splits = {"all": {"images": ["img"], "masks": [f"*{suffix}"]}}
    return BaseDescription(folder, dataset=page.Page(name="own", title="own", splits=splits, masks=spec, facts=["boxes"]))


@pytest.mark.parametrize("form", ANNOTATED)
def test_boxes_and_polygons_of_annotation_programs_are_told(form: str, tmp_path: Path) -> None:
    case = annotated(tmp_path, form).describe("e1.png")
    told = [fact.value for fact in case.facts if fact.unit == "box"]
    assert set(told) == {(0.1, 0.1, 0.3, 0.3), *([] if form == "voc.xml" else [(0.5, 0.5, 0.75, 0.75)])}
    assert not case.missing and "EX_area" not in {fact.name for fact in case.facts}, "a box is larger than its lesion"


# two blocks of marked pixels, column by column: x 8 to 24, y 6 to 18, and x 40 to 60, y 30 to 45
RUNS = [
    *(n for x in range(16) for n in (486 if x == 0 else 48, 12)),
    *(n for x in range(20) for n in (1032 if x == 0 else 45, 15)),
    1215,
]


def packed(runs: list[int]) -> str:
    """Run lengths as COCO's own tool packs them: differences to the last but one, five bits a letter."""
    text = ""
    for i, run in enumerate(runs):
        rest, goes_on = run - runs[i - 2] if i > 2 else run, True
        while goes_on:
            bits, rest = rest & 31, rest >> 5
            goes_on = rest != (-1 if bits & 16 else 0)
            text += chr(bits + 32 * goes_on + 48)
    return text


def run_lengths(counts: object, size: tuple[int, int] = (60, 80)) -> dict:
    mask = {"image_id": 7, "category_id": 1, "iscrowd": 1, "segmentation": {"size": size, "counts": counts}}
    return ANNOTATED["coco.json"] | {"annotations": [mask]}


@pytest.mark.parametrize("counts", [RUNS, packed(RUNS)], ids=["a list", "a text"])
def test_run_lengths_of_coco_are_read_like_a_mask(counts: object, tmp_path: Path) -> None:
    case = annotated(tmp_path, "coco.json", run_lengths(counts)).describe("e1.png")
    assert [f.value for f in case.facts if f.unit == "box"] == [(0.5, 0.5, 0.75, 0.75), (0.1, 0.1, 0.3, 0.3)]
    (area,) = (f.value for f in case.facts if f.name == "EX_area")
    assert area == pytest.approx(100 * (16 * 12 + 20 * 15) / (80 * 60))


@pytest.mark.parametrize(
    ("counts", "size"), [(RUNS[:-1], (60, 80)), ([9, -9, 4800], (60, 80)), (RUNS, (80, 60)), ("o" * 99, (60, 80))]
)
def test_run_lengths_that_do_not_fill_the_picture_are_refused(counts: object, size: tuple, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"e1.json: not a readable annotation file \(run lengths"):
        annotated(tmp_path, "coco.json", run_lengths(counts, size))


@pytest.mark.parametrize("corners", [CORNERS, CORNERS[::-1], CORNERS[2:] + CORNERS[:2]])
def test_a_polygon_marks_the_pixels_whose_middle_it_holds(corners: tuple, tmp_path: Path) -> None:
    content = {"shapes": [{"label": "EX", "points": corners}]}
    (area,) = (f.value for f in annotated(tmp_path, "labelme.json", content).describe("e1.png").facts if f.name == "EX_area")
    assert area == pytest.approx(100 * 20 * 15 / (80 * 60))


def test_a_picture_that_was_looked_over_without_a_find_has_none(tmp_path: Path) -> None:
    content = ANNOTATED["coco.json"] | {"images": [*ANNOTATED["coco.json"]["images"], {"id": 8, "file_name": "e2.jpg"}]}
    data = annotated(tmp_path, "coco.json", content)
    Image.new("RGB", (80, 60)).save(tmp_path / "img" / "e2.png")
    case = BaseDescription(tmp_path, dataset=data.page).describe("e2.png")
    assert case.description.endswith("Lesions: no hard exudates are marked.") and case.graded_only == ("hard exudates",)


@pytest.mark.parametrize(
    ("form", "content", "why"),
    [
        ("voc.xml", "<annotation>", "no element found"),
        ("voc.xml", "<html/>", "its root is 'html'; Pascal VOC has 'annotation'"),
        ("voc.xml", '<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>', "EntitiesForbidden"),
        ("voc.xml", ANNOTATED["voc.xml"].replace("24", "8"), "which has no extent"),
        ("coco.json", {"some": "thing"}, "its form is none of COCO, LabelMe and VIA"),
        ("coco.json", ANNOTATED["coco.json"] | {"categories": []}, "1 is missing"),
        ("yolo.txt", "5 0.2 0.2 0.2 0.2\n", "the class 5, which neither"),
        ("labelme.json", {"shapes": [{"label": "EX", "points": [[1, 1]], "shape_type": "point"}]}, "of the kind 'point'"),
    ],
)
def test_an_annotation_file_that_cannot_be_read_is_named(form: str, content: object, why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"e1{Path(form).suffix}: not a readable annotation file .*{why}"):
        annotated(tmp_path, form, content)


def test_a_shape_outside_the_picture_is_not_told(tmp_path: Path) -> None:
    case = annotated(tmp_path, "yolo.txt", "1 0.9 0.9 0.4 0.4\n").describe("e1.png")
    assert not case.facts and "outside of 80 x 60 pixels" in case.missing[0]


def test_labels_that_the_page_does_not_name_are_noted(tmp_path: Path) -> None:
    data = annotated(tmp_path, "yolo.txt", "0 0.5 0.5 0.1 0.1\n1 0.5 0.5 0.1 0.1\n")
    assert "the page does not name the type 'MA': 1 of its masks not read" in data.notes


# --- cup and disc ---


def contour(x: float, y: float, across: float, down: float) -> str:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return "\n".join(f"{x + across * math.cos(a)} {y + down * math.sin(a)}" for a in angles)


def of_cups(folder: Path, expert: str, *cups: float) -> Case:
    """An eye with a disc of 40 pixels, a cup of these heights by each grader, and an expert's number."""
    (folder / "img").mkdir(parents=True)
    (folder / "C").mkdir()
    Image.new("RGB", (160, 120)).save(folder / "img" / "e1.png")
    (folder / "t.csv").write_text(f"image,cdr\ne1,{expert}\n", encoding="utf-8")
    for n, cup in enumerate(cups, start=1):
        (folder / "C" / f"e1_disc_exp{n}.txt").write_text(contour(60, 60, 18, 20), encoding="utf-8")
        (folder / "C" / f"e1_cup_exp{n}.txt").write_text(contour(62, 60, 8, cup / 2), encoding="utf-8")
    spec = {
        "name": "^(?P<image>.+)_(?P<type>disc|cup)_(?P<grader>exp.)$",
        "landmarks": {"DISC": "optic disc", "CUP": "optic cup"},
        "expert_ratio": "cdr",
    }
    splits = {"all": {"images": ["img"], "tables": ["t.csv"], "masks": ["C/*.txt"]}}
    made = page.Page(name="own", title="own", splits=splits, key="image", masks=spec, facts=["boxes"])
    return BaseDescription(folder, dataset=made).describe("e1.png")


@pytest.mark.parametrize(
    ("expert", "cups", "told"),
    [("", (20,), 0.5), ("0.55", (20,), 0.5), ("", (20, 22), 0.525)],
)
def test_the_cup_to_disc_ratio_is_computed(expert: str, cups: tuple, told: float, tmp_path: Path) -> None:
    case = of_cups(tmp_path, expert, *cups)
    assert [fact.value for fact in case.about("vascular")] == pytest.approx([told], abs=0.015) and not case.missing
    assert [fact.words for fact in case.about("lesion")] == ["optic disc", "optic cup"]


@pytest.mark.parametrize(
    ("expert", "cups", "why"),
    [
        ("0.8", (20,), " (e1_cup_exp1.txt) and 0.80 (t.csv, row 2, column 'cdr')"),
        ("", (20, 30), "(e1_cup_exp1.txt) and 0.7"),
        ("", (44,), "the cup reaches beyond the disc"),
        ("1.3", (20,), "holds '1.3', which is no such ratio"),
    ],
)
def test_a_contradicted_cup_to_disc_ratio_is_withheld(expert: str, cups: tuple, why: str, tmp_path: Path) -> None:
    case = of_cups(tmp_path, expert, *cups)
    assert not case.about("vascular") and any(why in sentence for sentence in case.missing)


def test_the_images_of_a_healthy_split_have_none_of_what_was_looked_for(tmp_path: Path) -> None:
    of_page(tmp_path, coded(0, 255, "L"), Image.new("RGB", (80, 60)))
    (tmp_path / "well").mkdir()
    Image.new("RGB", (80, 60)).save(tmp_path / "well" / "w1.png")
    spec = {"name": "^(?P<type>drusen)/(?P<image>.+)$", "types": {"drusen": ["druse", "drusen"]}, "healthy": ["well"]}
    splits = {"ill": {"images": ["img"], "masks": ["M/*"]}, "well": {"images": ["well"]}}
    made = page.Page(name="own", title="own", splits=splits, masks=spec, facts=["boxes"])
    case = BaseDescription(tmp_path, dataset=made).describe("w1.png")
    assert [fact.text for fact in case.facts] == ["no drusen are marked"] and case.graded_only == ("drusen",)


def test_centres_of_the_image_s_own_row_are_told_where_the_page_says_so(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    for name in ("e1", "e2"):
        Image.new("RGB", (80, 60)).save(tmp_path / "img" / f"{name}.png")
    (tmp_path / "t.csv").write_text("image,x,y\ne1,40.5,15\ne2,0,0\n", encoding="utf-8")
    splits = {"all": {"images": ["img"], "tables": ["t.csv"]}}
    spec = {"centres": {"fovea": {"x": "x", "y": "y"}}}
    made = page.Page(name="own", title="own", splits=splits, key="image", masks=spec, facts=[{"boxes": {"centres": True}}])
    data = BaseDescription(tmp_path, dataset=made)
    (fact,) = data.describe("e1.png").facts
    assert (fact.text, fact.value) == ("the centre of the fovea lies at [0.5062, 0.2500]", (0.5062, 0.25))
    assert not data.describe("e2.png").facts


@given(MARKED)
def test_the_pixels_of_lesions_are_those_of_the_mask(mask: np.ndarray) -> None:
    found = boxes.find(mask).marked
    drawn = np.zeros_like(mask)
    drawn[found.rows, found.columns] = True
    assert (drawn == mask).all() and len(found.rows) == mask.sum()


# --- places in words ---


def dots(*at: tuple[int, int], size: tuple[int, int] = (1000, 800)) -> boxes.Lesions:
    mask = np.zeros((size[1], size[0]), bool)
    for x, y in at:
        mask[y - 2 : y + 2, x - 2 : x + 2] = True
    return boxes.find(mask)


def at(x: float, y: float, diameter: float = 100) -> Landmark:
    return Landmark((0, 0, 1, 1), (x, y), diameter)


@pytest.mark.parametrize(
    ("eye", "disc_x", "upper_left"),
    [("right", 800, "superotemporal quadrant"), ("left", 200, "superonasal quadrant"), (None, 800, "superotemporal quadrant")],
)
def test_the_nose_s_side_is_told_by_the_eye_or_the_disc(eye: str | None, disc_x: int, upper_left: str) -> None:
    where = locations.of_picture((1000, 800), {"optic disc": at(disc_x, 400)}, eye, True)
    assert where.quadrants(dots((300, 200), (300, 210), (700, 600))) == {
        upper_left: 2,
        "inferonasal quadrant" if "temporal" in upper_left else "inferotemporal quadrant": 1,
    }
    assert not where.missing and where.frame == "of the image"


def test_an_eye_that_its_disc_contradicts_has_no_nose() -> None:
    where = locations.of_picture((1000, 800), {"optic disc": at(200, 400)}, "right", True)
    assert where.quadrants(dots((300, 200))) == {"upper left quarter": 1}
    assert len(where.missing) == 1 and "temporal and nasal are left out" in where.missing[0]


def test_without_eye_or_disc_the_part_of_the_image_is_told() -> None:
    where = locations.of_picture((1000, 800), {}, None, False)
    assert where.quadrants(dots((900, 700))) == {"lower right quarter": 1}
    assert where.distances(dots((900, 700)), where.fovea) is None


def test_distances_are_in_disc_diameters_and_to_the_nearest_pixel() -> None:
    where = locations.of_picture((1000, 800), {"optic disc": at(800, 400), "fovea": at(400, 400, 20)}, None, False)
    assert where.frame == "around the fovea" and where.nasal_side == "right"
    assert where.distances(dots((502, 400), (900, 700)), where.fovea).min() == pytest.approx(1.0)
    assert where.distances(dots((400, 400)), where.fovea).tolist() == [0]


def places(lesions: boxes.Lesions, **landmarks: Landmark) -> list[str]:
    """The place of all lesions, then that of each box, in a right eye's picture of 1000 x 800 pixels."""
    where = locations.of_picture(
        (1000, 800), {words.replace("_", " "): mark for words, mark in landmarks.items()}, "right", True
    )
    told = LesionType("HE", "haemorrhage", "haemorrhages", Path("P1_HE.png"), lesions, 0.00025, 0.2, where).facts(10)
    return [f.place for f in told if f.name in ("HE", "HE_box")]


DISC, FOVEA = at(800, 400), at(480, 400, 10)


@pytest.mark.parametrize(
    ("spot", "landmarks", "place"),
    [
        ((560, 450), {"optic_disc": DISC, "fovea": FOVEA}, "near the macula, inferonasal quadrant"),
        ((590, 450), {"optic_disc": DISC, "fovea": FOVEA}, "inferonasal quadrant"),  # 1.2 disc diameters away
        ((560, 450), {"optic_disc": DISC}, "inferonasal quadrant"),  # the fovea is never guessed from the disc
        ((560, 450), {"fovea": FOVEA}, "inferonasal quadrant"),  # without the disc there is no measure
        ((930, 350), {"optic_disc": DISC}, "near the optic disc, superonasal quadrant"),
        ((960, 350), {"optic_disc": DISC}, "superonasal quadrant"),  # 1.1 disc diameters from the margin
        ((100, 700), {"optic_disc": DISC, "fovea": FOVEA}, "periphery, inferotemporal quadrant"),
        ((100, 700), {"optic_disc": DISC}, "inferotemporal quadrant"),
        ((930, 350), {"optic_disc": DISC, "fovea": FOVEA}, "near the optic disc, superonasal quadrant"),
        ((500, 100), {}, "upper half"),  # over the middle of the picture
        ((200, 400), {}, "temporal half"),
        ((500, 400), {}, ""),
    ],
)
def test_a_box_has_its_place_in_words(spot: tuple[int, int], landmarks: dict, place: str) -> None:
    assert places(dots(spot), **landmarks)[1] == place


def test_the_lesions_of_a_type_have_their_place_in_words() -> None:
    both = {"optic_disc": DISC, "fovea": FOVEA}
    assert places(dots((560, 450)), **both)[0] == "near the macula, in the inferonasal quadrant"
    many = dots((560, 450), (590, 500), (600, 500), (100, 100))
    assert places(many, **both)[0] == "partly near the macula, partly in the periphery, mostly in the inferonasal quadrant"
    assert places(dots((100, 100), (900, 700)))[0] == "in the superotemporal and inferonasal quadrants"
    assert places(dots((100, 100), (900, 100), (100, 700), (900, 700)))[0] == "in all quadrants"


def test_a_box_that_holds_a_tail_lies_where_its_lesion_does() -> None:
    mask = np.zeros((800, 1000), bool)
    mask[300:302, 100:500] = True  # three quarters of the width lie on the left, most of the pixels on the right
    mask[200:380, 500:600] = True
    assert places(boxes.find(mask))[1] == "upper half"


def test_distance_is_told_from_the_fovea_and_only_without_it_from_the_disc() -> None:
    for landmarks, told in (({"optic disc": DISC, "fovea": FOVEA}, ["HE_fovea"]), ({"optic disc": DISC}, ["HE_disc"])):
        where = locations.of_picture((1000, 800), landmarks, "right", True)
        type_ = LesionType("HE", "haemorrhage", "haemorrhages", Path("P1_HE.png"), dots((560, 450)), 0.00025, 0.2, where)
        assert [f.name for f in type_.facts(10) if f.unit == "disc diameters"] == told


OWN = """
name: clinic
title: Our clinic
licence: internal
may_send: 'no'
modality: colour fundus photograph
image: '^P\\d+$'
splits: {all: {images: [images], masks: [MASKS]}}
masks:
  name: 'NAME'
  types: {MA: [microaneurysm, microaneurysms], EX: [hard exudate, hard exudates]}
  landmarks: {OD: optic disc, FO: fovea}
  absent: none
  near_fovea: [EX]
facts: [boxes]
"""


def clinic(root: Path, layout: str = "flat") -> Path:
    """Two eyes with plain 0/255 masks: `flat` in one folder, `nested` in one a type, or in a folder `named` by the type."""
    wanted = {"flat": ("masks", "{}_{}"), "nested": ("masks/*", "{}_{}"), "named": ("masks/*", "{}")}[layout]
    patterns = {"flat": r"^(?P<image>P\d+)_(?P<type>[A-Z]{2})$", "named": r"^(?P<type>[A-Z]{2})/(?P<image>P\d+)$"}
    root.mkdir(parents=True, exist_ok=True)
    pattern = patterns.get(layout, patterns["flat"])
    (root / "clinic.yaml").write_text(OWN.replace("MASKS", f"'{wanted[0]}'").replace("NAME", pattern), encoding="utf-8")
    found = {"MA": dots((300, 200), (700, 200)), "EX": dots((480, 400)), "OD": dots((800, 400)), "FO": dots((400, 400))}
    for name in ("P1", "P2"):
        (root / "images").mkdir(exist_ok=True)
        Image.new("RGB", (1000, 800), (120, 60, int(name[1]))).save(root / "images" / f"{name}.png")
        for kind in found if name == "P1" else ("MA",):
            mask = np.zeros((800, 1000), bool)
            for x0, y0, x1, y1 in found[kind].edges:
                mask[y0:y1, x0:x1] = True
            if kind == "OD":
                mask[350:450, 750:850] = True
            folder = root / "masks" if layout == "flat" else root / "masks" / kind
            saved(folder / f"{wanted[1].format(name, kind)}.png", mask, "grey 0/255")
    return root / "clinic.yaml"


def described(root: Path, layout: str, image: str = "P1.png") -> Case:
    return load_dataset(str(clinic(root, layout)), root).describe(image)


@pytest.mark.parametrize("layout", ["flat", "nested", "named"])
def test_masks_of_one_s_own_are_found_flat_or_nested(layout: str, tmp_path: Path) -> None:
    case = described(tmp_path, layout)
    assert {f.name: f.value for f in case.facts if f.name in ("MA", "EX")} == {"MA": 2, "EX": 1}
    assert {f.name: f.value for f in described(tmp_path, layout, "P2.png").facts if f.name in ("MA", "EX")} == {
        "MA": 2,
        "EX": 0,
    }


def test_places_are_facts_of_the_lesions_with_their_mask_as_source(tmp_path: Path) -> None:
    case = described(tmp_path, "flat")
    told = {f.name: f for f in case.facts}
    assert (told["OD_box"].place, told["FO_box"].place, told["EX_box"].place) == (
        "nasal half",
        "",
        "near the macula, nasal half",
    )
    assert told["MA_place"].aspect == "lesion" and Path(told["MA_place"].source.file).name == "P1_MA.png"
    assert "1 of the microaneurysms lies in the superotemporal quadrant around the fovea" in case.description
    assert "1 in the superonasal quadrant" in case.description
    inner = 2 * math.sqrt(100 * 100 / math.pi)
    near = next(f for f in case.facts if f.name == "EX_fovea")
    assert near.value == pytest.approx(78 / inner, abs=0.01)
    assert f"the hard exudate lies {78 / inner:.2f} disc diameters from the fovea, within one disc diameter of it" in near.text


def test_what_the_named_boxes_leave_out_is_counted(tmp_path: Path) -> None:
    page_file = clinic(tmp_path, "flat")
    mask = np.zeros((800, 1000), bool)
    for n in range(13):
        mask[100 : 120 - n, 40 + 60 * n : 40 + 60 * n + 10] = True
    saved(tmp_path / "masks" / "P1_MA.png", mask, "grey 0/255")
    case = load_dataset(str(page_file), tmp_path).describe("P1.png")
    rest = {f.name: f for f in case.facts if f.name.startswith("MA_rest")}
    total, left = sum(20 - n for n in range(13)), sum(20 - n for n in (10, 11, 12))
    assert rest["MA_rest"].value == 3 and rest["MA_rest_share"].value == pytest.approx(100 * left / total)
    assert "3 more microaneurysms lie beyond these boxes" in case.description
    assert sum(f.value for f in case.facts if f.name == "MA_rest_place") == 3
    assert sum(f.name == "MA_box" for f in case.facts) == 10


def test_boxes_follow_automorph_s_crop(tmp_path: Path) -> None:
    page_file = clinic(tmp_path, "flat")
    before = {f.name: f.value for f in load_dataset(str(page_file), tmp_path).describe("P1.png").facts}
    (tmp_path / "Results" / "M0").mkdir(parents=True)
    info = "Name,centre_w,centre_h,radius,Scale,Scale_resolution\nP1.png,400,600,350,1,1\n"
    (tmp_path / "Results" / "M0" / "crop_info.csv").write_text(info, encoding="utf-8")
    Image.new("RGB", (700, 700), (9, 9, 9)).save(tmp_path / "images" / "P1.png")
    case = load_dataset(str(page_file), tmp_path).describe("P1.png")
    after = {f.name: f.value for f in case.facts}
    crop = Crop.around((1000, 800), 400, 600, 350)
    edges = np.array(before["EX_box"]) * (1000, 800, 1000, 800) + np.tile([crop.right - crop.left, crop.down - crop.top], 2)
    assert after["EX_box"] == pytest.approx(edges / crop.side, abs=2e-4)
    assert after["MA"] == before["MA"] and after["MA_area"] > before["MA_area"], "the area's whole is the crop"


def test_gap_and_fill_stand_on_each_page_with_masks() -> None:
    for name in page.names():
        found = page.get(name)
        if found.masks:
            assert 0 < found.masks.gap <= 0.002 and found.masks.fill == 0.2


# --- helper processes ---


def test_helper_processes_give_what_one_process_gives_in_order(tmp_path: Path) -> None:
    paths = [saved(tmp_path / f"{n:02d}.png", np.eye(8 + n, dtype=bool), "grey 0/255") for n in range(9)]
    alone, helped = (list(boxes_job.in_processes(masks.size, paths, workers)) for workers in (1, 3))
    assert alone == helped == [(8 + n, 8 + n) for n in range(len(paths))]


def test_what_a_helper_process_raises_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.png"):
        list(boxes_job.in_processes(masks.size, [tmp_path / "none.png"] * 3, 2))
