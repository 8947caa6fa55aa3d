"""Figures: colours that can be told apart, boxes that fall on their lesions, and files to print and to send."""

import html
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from retinal_lib import Job, load_dataset
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.lesions import boxes
from retinal_lib.dataset.lesions.boxes import Cluster
from retinal_lib.explore import charts, overlay, sheets
from retinal_lib.explore.boxes_job import BoxJob
from retinal_lib.explore.explore import Explore
from retinal_lib.explore.overlay import Layer, Overlay
from retinal_lib.imaging import drawing, side_by_side
from retinal_lib.imaging import images as picture

# linear RGB as seen by eyes without red, green or blue cones (Machado et al. 2009, severity 1)
EYES = {
    "all": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
FUNDUS = [(185, 92, 28), (245, 163, 69), (199, 110, 33), (143, 63, 21), (166, 80, 30)]  # of IDRiD_03, five means


def lab(colour: np.ndarray, eye: str) -> np.ndarray:
    """CIE L*a*b* of an RGB colour (0 to 255) as an eye sees it."""
    share = np.asarray(colour, float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(EYES[eye]) @ linear, 0, 1)
    x, y, z = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen
    f = [np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x / 0.9505, y, z / 1.089)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eye", EYES)
def test_the_colours_are_told_apart_by_every_eye(eye: str) -> None:
    seen = {name: lab(sheets.rgb(name), eye) for name in drawing.COLOURS}
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) >= 30, (one, other)
    for name, ground in itertools.product(seen, FUNDUS):
        assert np.linalg.norm(seen[name] - lab(ground, eye)) >= 24, (name, ground)


def test_a_type_keeps_its_colour_and_many_types_differ() -> None:
    assert drawing.hues(["MA", "HE", "EX", "SE"])["EX"] == drawing.hues(["EX"])["EX"]
    assert len(set(drawing.hues(["MA", "HE", "EX", "SE"]).values())) == 4
    own = drawing.hues([f"type {i}" for i in range(15)] + ["EX"])
    assert len(set(own.values())) == len(own) or len(own) > 15
    assert len(set(list(own.values())[:9])) == 9


# --- what lies over a picture ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def idrid(drawn: dict[str, Path]) -> BaseDescription:
    return load_dataset("IDRiD_seg", drawn["IDRiD_seg"])


@pytest.fixture(scope="module")
def seen(idrid: BaseDescription) -> list[Overlay]:
    return [overlay.read(idrid.page, idrid.image(image)) for image in idrid.images[:6]]


def test_an_overlay_holds_every_cluster(idrid: BaseDescription, seen: list[Overlay]) -> None:
    for image, shown in zip(idrid.images, seen, strict=False):
        files = idrid.image(image).masks.files
        for layer in shown.layers:
            found = boxes.read(files[layer.kind])
            assert sum(c.lesions for c in layer.clusters) == layer.lesions == len(found.pixels)
            assert sum(c.pixels for c in layer.clusters) == found.pixels.sum()
            assert np.array_equal(shown.mask(layer), np.asarray(Image.open(files[layer.kind].path).convert("RGB"))[:, :, 0] > 0)
        assert set(shown.landmarks) == {"optic disc"} and shown.nasal_side != "unknown"


def test_the_smallest_lesions_are_taken_in_turn_and_apart(seen: list[Overlay]) -> None:
    found = seen[0].smallest(6)
    assert len(found) == 6
    kinds = [layer.kind for layer, _ in found]
    assert kinds[: len(set(kinds))] == list(dict.fromkeys(kinds))
    first = {kind: next(lesion for layer, lesion in found if layer.kind == kind) for kind in kinds}
    for layer in seen[0].layers:
        if layer.kind == kinds[0]:
            assert first[layer.kind].pixels == boxes.read(layer.file).pixels.min()


def test_boxes_at_the_edge_of_the_field_are_known() -> None:
    y, x = np.mgrid[:100, :150]
    field = np.where(np.hypot(x - 75, y - 50) < 60, 120, 5).astype(np.uint8)  # cut above and below, round at the sides
    pixels = np.stack([field] * 3, axis=2)
    middle, side, top, outside = (0.45, 0.4, 0.5, 0.5), (0.105, 0.48, 0.12, 0.52), (0.5, 0.0, 0.55, 0.05), (0.0, 0.4, 0.05, 0.5)
    assert overlay.touches_field_edge(pixels, np.array([middle, side, top, outside])).tolist() == [False, True, True, True]
    assert overlay.touches_field_edge(pixels * 0, np.array([middle, top])).tolist() == [False, True]


def fake(title: str, count: int, fill: float) -> Overlay:
    clusters = tuple(Cluster((0.4, 0.4, 0.5, 0.5), 1, 10, fill) for _ in range(count))
    layers = (Layer("EX", "exudate", "exudates", drawing.Hue("#e6e600"), Path("no"), clusters, count, 0.1),) if count else ()
    shown = Overlay(title, Path("no"), (10, 10), layers, {}, 10)
    shown.__dict__["edge_boxes"] = 0
    return shown


def test_the_worst_come_first() -> None:
    given = [fake("none", 0, 1), fake("clean", 1, 0.9), fake("many", 40, 0.5), fake("worst", 40, 0.1), fake("sparse", 3, 0.2)]
    assert [given[i].title for i in overlay.rank_for_review(given)] == ["worst", "many", "sparse", "clean", "none"]
    assert overlay.rank_for_review([]) == []


def test_shares_are_those_of_the_mask() -> None:
    mask = np.zeros((10, 12), bool)
    mask[:5, :6] = True
    assert overlay.coverage(mask, (2, 2)).tolist() == [[1, 0], [0, 0]]
    assert overlay.coverage(mask, (1, 1)).tolist() == [[0.25]]


# --- figures -----------------------------------------------------------------------------------------------------


def pixels_of(axes: object, gid: str) -> np.ndarray:
    """The corners of the boxes drawn for one lesion type, [n, 5, 2] in the picture's pixels."""
    return np.array([p.vertices for c in axes.collections if c.get_gid() == gid for p in c.get_paths()])


def test_panels_draw_every_box_around_its_lesions(seen: list[Overlay]) -> None:
    made = sheets.panels(seen[0])
    axes = made.subfigs[0].axes
    assert len(axes) == 3 and len(made.subfigs[1].axes) == 6
    high, wide = axes[2].images[0].get_size()
    for layer in seen[0].layers:
        drawn = pixels_of(axes[2], layer.kind)
        assert len(drawn) == len(layer.clusters)
        edges = np.array([c.box for c in layer.clusters]) * (wide, high, wide, high) - 0.5
        order = np.argsort([c.box for c in layer.clusters], axis=0)[:, 0]
        found = np.sort(drawn[:, :, 0].min(axis=1))
        assert np.all(found <= edges[order, 0]) and np.all(edges[order, 0] - found < wide / 100), "just outside"
    names = [text.get_text() for text in made.legends[0].get_texts()]
    assert names == [layer.counted for layer in seen[0].layers] + ["optic disc"]


def test_the_mask_panel_shows_every_type_in_its_colour(seen: list[Overlay]) -> None:
    found = sheets.masks(seen[0], (300, 200))
    assert found.shape == (200, 300, 3)
    for layer in seen[0].layers:
        cover = overlay.coverage(seen[0].mask(layer), (300, 200)) > 0
        assert (found[cover].max(axis=1) > 60).all(), "the smallest lesion stays visible"
    assert not found[~np.any([overlay.coverage(seen[0].mask(layer), (300, 200)) > 0 for layer in seen[0].layers], axis=0)].any()


def test_figures_are_saved_to_print_and_the_same_each_time(seen: list[Overlay], tmp_path: Path) -> None:
    made = [drawing.save(sheets.contact(seen[:2]), tmp_path / name / "sheet") for name in "ab"]
    assert [path.name for path in made[0]] == ["sheet.png", "sheet.pdf"]
    assert [path.read_bytes() for path in made[0]] == [path.read_bytes() for path in made[1]]
    with Image.open(made[0][0]) as image:
        assert image.width == round(drawing.WIDTH * drawing.PRINT) and round(image.info["dpi"][0]) == 300
    assert made[0][1].read_bytes().startswith(b"%PDF")
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]


def collisions(figure: object) -> list[tuple[str, ...]]:
    """The texts of a figure that lie over each other or leave it."""
    for _ in range(2):  # pictures take their places in the first drawing
        figure.draw_without_rendering()
    renderer, texts = figure._get_renderer(), []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high] + [axis.label]
        texts += axes.texts
    texts += [*figure.texts, *(t for legend in figure.legends for t in legend.get_texts())]
    boxes = [(t.get_text(), Text.get_window_extent(t, renderer)) for t in texts if t.get_text().strip()]  # without their lines
    whole = figure.bbox
    out = [(name,) for name, b in boxes if b.x0 < -1 or b.y0 < -1 or b.x1 > whole.width + 1 or b.y1 > whole.height + 1]
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1:
            out.append((one, other))
    return out


@pytest.mark.parametrize("dataset", ["ODIR", "IDRiD", "IDRiD_seg", "MICCAI_task2", "Messidor"])
def test_no_text_lies_over_another_one_or_is_cut(dataset: str, drawn: dict[str, Path]) -> None:
    explored = Explore.load(dataset=dataset, data_root=str(drawn[dataset]))
    for chart in ("label_chart", "measurement_chart", "example_chart", "lesion_chart"):
        assert collisions(getattr(explored, chart)) == [], chart
    data = explored.data
    if data.page.masks:
        found = [overlay.read(data.page, data.image(image)) for image in explored.usable]
        assert collisions(sheets.contact(found)) == [] and all(collisions(sheets.panels(image)) == [] for image in found[:2])


def test_long_names_are_wrapped_and_not_cut(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    names = {f"{'a very long name of a class, ' * 4} ({i})": [(f"{'long' * 12}_{i}.png", tmp_path / "a.png")] for i in range(5)}
    made = charts.examples(names, 6, "2 more classes are not drawn")
    assert collisions(made) == []
    text = " ".join(" ".join(t.get_text() for t in axes.texts) for axes in made.axes)
    assert (
        all(f"({i})" in text for i in range(5)) and "…" not in text and made.get_supxlabel() == "2 more classes are not drawn"
    )
    bars = drawing.bars({"conditions": [(name, 3) for name in names]}, 15)
    assert collisions(bars) == [] and "…" not in "".join(t.get_text() for t in bars.axes[0].get_yticklabels())


def test_what_is_enlarged_is_larger_than_above(drawn: dict[str, Path]) -> None:
    for dataset in ("IDRiD_seg", "MICCAI_task2"):
        data = load_dataset(dataset, drawn[dataset])
        for image in data.images[::3]:
            made = sheets.panels(overlay.read(data.page, data.image(image)))
            for _ in range(2):
                made.draw_without_rendering()
            whole, insets = made.subfigs[0].axes[0], [a for a in made.subfigs[1].axes if a.images]
            full = data.image(image).path
            above = whole.get_window_extent().width / Image.open(full).width
            for inset in insets:
                assert inset.get_window_extent().width / inset.images[0].get_array().shape[1] > 1.2 * above, image


def test_nothing_to_show_is_said() -> None:
    assert sheets.contact([]).axes[0].texts
    nothing = side_by_side.conversations([])
    assert str(nothing) == "no conversation is accepted yet" and str(nothing) in nothing._repr_html_()


def test_a_dataset_without_masks_has_pictures_all_the_same(drawn: dict[str, Path], tmp_path: Path) -> None:
    data = load_dataset("APTOS", drawn["APTOS"])
    shown = overlay.read(data.page, data.image(data.images[0]), "image 1")
    assert shown.caption == "no lesion is marked" and not shown.boxes
    drawing.save(sheets.panels(shown), tmp_path / "one", ("png",))
    assert len(sheets.contact([shown]).axes) == 4


def test_cases_have_the_same_colours(idrid: BaseDescription) -> None:
    made = side_by_side.cases([idrid.describe(image) for image in idrid.images[:2]])._repr_html_()
    names = {words: colour for colour, words in re.findall(r'border-color:(#\w+)">(.*?)<', made)}
    assert names["microaneurysms"] == drawing.hues(["MA"])["MA"].colour and names["optic disc"] == drawing.LANDMARK


def test_conversations_beside_pictures_are_text_with_its_cells(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    answer = f"The veins are 47 µm wide, <b>not</b> $5$. {'It is said at length. ' * 100}"
    turns = [{"from": "human", "value": "How wide?\n<image>"}, {"from": "gpt", "value": answer}]
    cell = {"fact": "Vein_width", "value": 47.12, "file": "Results/M3/Macular.csv", "row": 2, "column": "width"}
    trace = {"is": "number", "turn": 1, "span": [14, 19], "said": "47 µm", **cell}
    made = side_by_side.conversations([(tmp_path / "a.png", "a", turns, [trace])])
    shown = made._repr_html_()
    assert 'title="Vein_width = 47.12\nMacular.csv, row 2, column &#39;width&#39;">47 µm</span>' in shown
    text = html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", "", shown, flags=re.DOTALL))
    assert str(made).splitlines() == ["a", "Q: How wide?", f"A: {answer}"] and answer in text and "<image>" not in text
    assert shown.count("<img ") == 1 and "…" not in shown


# --- a page to send ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\x89HDF\r\n\x1a\n", b"cut"])
def test_a_bad_picture_among_the_first_stops_no_run(raw: bytes, tmp_path: Path) -> None:
    for name in "ab":
        Image.new("RGB", (300, 300), "red").save(tmp_path / f"{name}.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2] if raw == b"cut" else raw)
    (tmp_path / "my.csv").write_text("image,disease\na.png,severe glaucoma\nb.png,severe glaucoma\n", encoding="utf-8")
    job = Job.load(dataset=str(tmp_path / "my.csv"), out_dir=str(tmp_path / "run"))
    shown = job.show(job.first(2))
    for texts in (str(shown), shown._repr_html_()):
        assert "a.png is not a readable image" in texts and "my-b" in texts
    assert shown._repr_html_().count("<img ") == 1
    job.run().show(2)
    assert job.run().counts["accepted"] == 1


def test_the_handout_needs_no_network_and_no_script(seen: list[Overlay], tmp_path: Path) -> None:
    lost = Overlay("lost <1>", tmp_path / "lost.jpg", (1, 1), seen[0].layers, {}, 10)
    file = sheets.write([*seen[:2], lost], tmp_path / "new" / "sheet.html", "A & B", "Porwal et al., 2018")
    text = file.read_text(encoding="utf-8")
    assert "A &amp; B" in text and "Porwal" in text and "default-src 'none'" in text
    assert not re.search(r"<script|https?:|src=\"(?!data:image/jpeg)|url\(|<link", text)
    assert text.count("<img ") == 2 == text.count("alt=")
    assert "lost.jpg" in text and "Not shown" in text
    titles = re.findall(r"<b>(.*?)</b>", text)
    assert titles == [seen[i].title for i in overlay.rank_for_review(seen[:2])]
    for layer in seen[0].layers:
        assert layer.hue.colour in text and layer.counted in text
    assert file.stat().st_size < 600_000 and json.dumps(titles)


def test_the_picture_lies_under_its_boxes(seen: list[Overlay]) -> None:
    shown = seen[0]
    made = sheets.image_pair(shown)
    thumb = np.asarray(picture.load_upright(shown.path, 480))
    assert np.array_equal(made.axes[0].images[0].get_array(), thumb)
    assert not made.axes[0].collections and made.axes[1].collections


def test_every_figure_and_sheet_of_drawn_eyes_says_so(tmp_path: Path) -> None:
    job = BoxJob.load(dataset="IDRiD_seg", limit=2, out_dir=str(tmp_path))
    review, explored = job.look(job.run(workers=1)), Explore.load(dataset="IDRiD_seg", limit=2)
    run = Job.load(dataset="IDRiD_seg", limit=2, out_dir=str(tmp_path / "run"))
    for beside in (run.show(run.first(1)), run.run().show(1)):
        assert str(beside).startswith(picture.DRAWN) and picture.DRAWN in html.unescape(beside._repr_html_())
    shown = [review.sheet, review.panels]
    shown += [explored.label_chart, explored.measurement_chart, explored.example_chart, explored.lesion_chart]
    assert [figure.get_suptitle() for figure in shown] == [picture.DRAWN] * len(shown)
    review.save()
    sheet = html.unescape((tmp_path / "sheet.html").read_text(encoding="utf-8"))
    assert picture.DRAWN in sheet and job.page.citation not in sheet and job.page.licence not in sheet
    assert "drawn_sample" in (tmp_path / "boxes.json").read_text(encoding="utf-8").split("\n")[0]
    assert explored.table.loc["citation", ""] == "none" and job.page.licence not in explored.table.loc["licence", ""]
