"""Work spread over two workers gives what one process gives, and goes on where it was stopped."""

import json
import os
from pathlib import Path

import pytest

from retinal_lib import UserError, load_dataset, scale

WORKERS = [1, 2]


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine, started once."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield ray
    ray.shutdown()


def rows(file: Path) -> list[dict]:
    """The lines of a file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def workers(request: pytest.FixtureRequest) -> int:
    """One worker, or two by Ray."""
    if request.param > 1:
        request.getfixturevalue("cluster")
    return request.param


@pytest.mark.parametrize("workers", WORKERS, indirect=True)
def test_boxes_of_masks(workers: int, drawn: dict[str, Path], tmp_path: Path) -> None:
    masks = sorted(drawn["IDRiD_seg"].glob("**/*_HE.tif"))
    (tmp_path / "broken.tif").write_bytes(b"no image")
    out = scale.boxes([*masks, tmp_path / "broken.tif"], tmp_path / "boxes.jsonl", workers=workers)
    found = rows(out)
    assert [row["id"] for row in found] == [*map(str, masks), str(tmp_path / "broken.tif")]
    assert all(len(lesion["box"]) == 4 for row in found[:-1] for lesion in row["lesions"]) and any(
        row["lesions"] for row in found[:-1]
    )
    assert "cannot be read" in found[-1]["error"]


@pytest.mark.parametrize("workers", WORKERS, indirect=True)
def test_descriptions_and_going_on(workers: int, drawn: dict[str, Path], tmp_path: Path) -> None:
    data = load_dataset("RFMiD", drawn["RFMiD"])
    out = tmp_path / "described.jsonl"
    scale.describe("RFMiD", drawn["RFMiD"], out, workers=workers)
    whole = out.read_text(encoding="utf-8")
    assert [row["description"] for row in rows(out)] == [data.get_description(name) for name in data.images]
    out.write_text("".join(whole.splitlines(keepends=True)[3:6])[:-30], encoding="utf-8")
    scale.describe("RFMiD", drawn["RFMiD"], out, workers=workers)
    assert out.read_text(encoding="utf-8") == whole
    out.write_text("[1]\n" + whole, encoding="utf-8")
    with pytest.raises(UserError, match="line 1: expected an object with an id"):
        scale.describe("RFMiD", drawn["RFMiD"], out)


def test_workers_are_checked_and_ray_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    with pytest.raises(UserError, match="workers is 0"):
        scale.boxes([], tmp_path / "x.jsonl", workers=0)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"ray is not installed; several workers need it.*or pass workers=1"):
        scale.boxes([tmp_path / "m.png"], tmp_path / "x.jsonl", workers=2)
