"""explore.ipynb and what it shows: a dataset in one page, for every dataset."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest

from retinal_lib.dataset import measurements, page
from retinal_lib.errors import UserError
from retinal_lib.explore import lesion_map
from retinal_lib.explore.explore import Explore
from retinal_lib.explore.lesion_map import LesionMap
from retinal_lib.explore.measurement_table import Measurements
from retinal_lib.explore.overlay import Overlay
from retinal_lib.imaging import drawing
from retinal_lib.run import settings

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "explore.ipynb"


def explore(dataset: str, drawn: dict[str, Path], tmp_path: Path, **more: object) -> Explore:
    return Explore.load(dataset=dataset, data_root=str(drawn[dataset]), out_dir=str(tmp_path / "out"), **more)


@pytest.mark.parametrize("dataset", page.names())
def test_every_dataset_is_told_in_numbers(dataset: str, drawn: dict[str, Path], tmp_path: Path) -> None:
    found = explore(dataset, drawn, tmp_path)
    counts = found.counts.iloc[:, -1]
    assert counts["usable"] == len(found.data.images) and counts["not usable"] == len(found.data.skipped)
    assert counts["left eyes"] + counts["right eyes"] + counts["eye not known"] == counts["usable"]
    for group in found.classes:
        assert all(len(set(images)) == len(images) for images in group.classes.values())
        if not group.several:
            assert sum(map(len, group.classes.values())) <= counts["usable"]
    assert found.classes and len(found.labels) and len(found.problems) and len(found.examples) and len(found.outliers)
    assert len(found.measured.images) >= 8
    table = found.measured.table()
    assert (table["images"] + table["not plausible"] + table["left out besides"] <= len(found.measured.images)).all()
    assert bool(found.lesions.types) == bool(found.page.masks and found.page.masks.types)
    if found.page.private_names:
        shown = "".join(str(t.to_dict()) for t in (found.problems, found.outliers, found.examples, found.measured.outliers))
        assert not [name for name in found.data.images if Path(name).stem in shown or Path(name).stem[:7] in shown]


def test_files_that_are_no_whole_picture_are_not_usable(drawn: dict[str, Path], tmp_path: Path) -> None:
    data = shutil.copytree(drawn["APTOS"], tmp_path / "data")
    whole = Explore.load(dataset="APTOS", data_root=str(data), out_dir=str(tmp_path / "out"))
    before, (cut, page_of_a_server) = len(whole.usable), [whole.data.image(name).path for name in whole.usable[:2]]
    cut.write_bytes(cut.read_bytes()[:-900])
    page_of_a_server.write_text("<html>403 Forbidden</html>")
    found = Explore.load(dataset="APTOS", data_root=str(data), out_dir=str(tmp_path / "out"))
    assert found.counts.iloc[:, -1]["usable"] == before - 2
    told = dict(zip(found.problems["what"], found.problems["the first"], strict=True))
    assert told["the file is not a readable image: its end is missing"] == cut.name
    assert any(what.startswith("the file is not a readable image: its format is none of") for what in told)


@pytest.mark.parametrize("dataset", ["IDRiD_seg", "UK"])
def test_the_notebook_runs(dataset: str, drawn: dict[str, Path], execute: Callable, tmp_path: Path) -> None:
    parameters = {"dataset": dataset.lower(), "data_root": str(drawn[dataset]), "out_dir": str(tmp_path)}
    execute(NOTEBOOK, tmp_path / "explore.ipynb", parameters)
    executed = nbformat.read(tmp_path / "explore.ipynb", 4)
    outputs = [out for cell in executed.cells for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out.output_type == "stream"], "no warning and no chatter"
    assert sum("image/jpeg" in out.get("data", {}) for out in outputs) == 4
    assert sum("text/html" in out.get("data", {}) for out in outputs) == 9
    size = (tmp_path / "explore.ipynb").stat().st_size
    assert size < 800_000
    written = {path.name for path in tmp_path.iterdir()}
    assert {"labels.csv", "trouble.csv", "outliers.csv", "measurements.pdf", "examples.png", "lesions.pdf"} <= written
    if page.get(dataset).private_names:
        names = [path.stem for path in drawn[dataset].rglob("*.png")]
        text = (tmp_path / "explore.ipynb").read_text(encoding="utf-8")
        text += "".join(path.read_text(encoding="utf-8") for path in tmp_path.glob("*.csv"))
        assert names and not [name for name in names if name in text]


def test_the_notebook_s_parameters_are_those_of_generate() -> None:
    from papermill.inspection import inspect_notebook

    found = inspect_notebook(str(NOTEBOOK))
    assert set(found) < set(settings.NOTEBOOK) and all(parameter["help"] for parameter in found.values())
    assert found["dataset"]["default"] == '"ODIR"'


def test_a_level_that_nobody_has_is_shown(drawn: dict[str, Path], tmp_path: Path) -> None:
    found = explore("IDRiD", drawn, tmp_path, limit=1)
    grade = found.classes[0]
    assert [value for value, _ in grade.classes] == ["0", "1", "2", "3", "4"]
    assert sum(map(len, grade.classes.values())) == len(found.usable) == 1


def test_trouble_counts_equal_things_together(drawn: dict[str, Path], tmp_path: Path) -> None:
    table = explore("APTOS", drawn, tmp_path).problems
    assert list(table["how many"]) == [2] and re.search(r"row \d", table["what"][0]) and table["kind"][0] == "not known"
    odir = explore("ODIR", drawn, tmp_path).problems
    assert odir["kind"][0] == "not usable" and "anterior segment image" in odir["what"][0]


def test_limit_and_split_narrow_the_page(drawn: dict[str, Path], tmp_path: Path) -> None:
    found = explore("IDRiD", drawn, tmp_path, split="test", limit=2)
    assert list(found.counts.columns) == ["test"] and found.counts["test"]["images"] == 2
    with pytest.raises(UserError, match="split"):
        explore("IDRiD", drawn, tmp_path, split="tset")


# --- measurements ------------------------------------------------------------------------------------------------


def measured_of(column: str, written: list[float]) -> Measurements:
    place = [f.column for f in measurements.features()].index(column)
    feature = measurements.features()[place]
    values = np.full((len(written), len(measurements.features())), np.nan)
    values[:, place] = written
    trusted = np.where((values > feature.low) & (values < feature.high), values, np.nan)
    return Measurements(tuple(f"image {i}" for i in range(len(written))), values, trusted, np.zeros(values.shape, int))


def test_outliers_are_the_implausible_and_the_far_ones() -> None:
    usual = [0.10, 0.11, 0.12, 0.10, 0.11, 0.12, 0.105, 0.115, 0.11]
    found = measured_of("Vessel_density", [*usual, 0.7, -1, 0.28]).outliers
    assert list(found["image"]) == ["image 9", "image 10", "image 11"]
    assert found["why"][0] == "plausible is 0 to 0.3" and "nothing to measure" in found["why"][1]
    assert "from the median 0.1100" in found["why"][2]
    assert measured_of("Vessel_density", usual).outliers.empty
    assert measured_of("Vessel_density", [0.1, 0.1, 0.29]).outliers.empty, "three values have no usual"


def test_the_table_accounts_for_every_value() -> None:
    row = measured_of("CDR_vertical", [0.3, 0.4, 0.5, 1.2, np.nan]).table(["CDR_vertical"]).iloc[0]
    assert (row["images"], row["not plausible"], row["left out besides"]) == (3, 1, 0)
    assert (row["median"], row["plausible"]) == ("0.400", "0 to 1")


# --- the map of lesions ------------------------------------------------------------------------------------------


class Fake(Overlay):
    """An overlay whose one mask is given."""

    def mask(self, layer: object) -> np.ndarray:
        """The upper left eighth."""
        mask = np.zeros((128, 128), bool)
        mask[:16, :16] = True
        return mask


def fake(nasal_side: str) -> Fake:
    from test_figures import fake as figure_s

    shown = figure_s("one", 1, 0.5)
    return Fake("one", Path("no"), (128, 128), shown.layers, {"optic disc": (0.8, 0.4, 0.9, 0.5)}, 10, None, nasal_side)


def test_left_eyes_are_mirrored() -> None:
    found = LesionMap()
    for nasal_side in ("right", "left", "unknown"):
        found.add(fake(nasal_side))
    cells = found.types["EX"].cells
    assert cells[0, 0] == 2 and cells[0, -1] == 1 and cells[-1].sum() == 0
    assert (found.images, found.mirrored, found.unknown) == (3, 1, 1)
    assert found.disc == pytest.approx((0.45, 0.4, 0.55, 0.5))
    row = found.table.loc["exudates"]
    assert row["upper temporal"] == "67%" and row["upper nasal"] == "33%" and row["images with them"] == "3 of 3"
    assert "1 of left eyes mirrored to right-eye orientation" in found.note
    unknown = LesionMap()
    unknown.add(fake("unknown"))
    assert "upper left" in unknown.table.columns


def test_near_is_within_two_cells() -> None:
    cells = np.zeros((9, 9), bool)
    cells[4, 0] = True
    wide = lesion_map.widened(cells)
    assert wide[4, 2] and wide[2, 0] and not wide[4, 3] and not wide[1, 0] and not wide[:, -1].any()


def test_charts_without_anything_say_so(drawn: dict[str, Path], tmp_path: Path) -> None:
    from retinal_lib.explore import charts

    for made in (drawing.bars({}, 0), charts.histograms([]), charts.examples({}, 6), charts.lesion_map(LesionMap())):
        assert isinstance(made, drawing.Figure) and made.axes[0].texts


def test_figures_of_fewer_images_do_not_replace_those_of_more(drawn: dict[str, Path], tmp_path: Path) -> None:
    explore("APTOS", drawn, tmp_path, limit=3).save()
    before = (tmp_path / "out" / "labels.csv").read_bytes()
    with pytest.raises(UserError, match=r"explored.json holds 1 image that this run leaves out\. To keep it"):
        explore("APTOS", drawn, tmp_path, limit=2).save()
    assert (tmp_path / "out" / "labels.csv").read_bytes() == before
