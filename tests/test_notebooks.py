"""The notebooks, run by papermill for every dataset that they are for, as at night."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import papermill
import pytest
from fake_batches import FakeBatches
from fake_server import FakeServer, error

from retinal_lib import load_dataset, paths, validate
from retinal_lib.dataset import page
from retinal_lib.run import settings

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOK = NOTEBOOKS / "generate.ipynb"
PAPERMILL = Path(sys.executable).with_name("papermill")
# each dataset in two tracks, the styles in turn: a kernel takes seconds (test_job.py runs all of them without one)
RUNS = [(name, "instruction", None) for name in page.names()]
RUNS += [
    (name, *(("vqa", None) if name in ("IDRiD_seg", "UK") else ("alignment", ("caption", "consult")[i % 2])))
    for i, name in enumerate(page.names())
]


@pytest.mark.parametrize(("dataset", "track", "style"), RUNS)
def test_every_dataset_and_track_runs(
    dataset: str, track: str, style: str | None, drawn: dict[str, Path], execute: Callable, tmp_path: Path
) -> None:
    parameters = {"dataset": dataset.lower(), "track": track, "data_root": str(drawn[dataset]), "out_dir": str(tmp_path)}
    parameters |= {"style": style} if style else {}
    output = tmp_path / "generate.ipynb"
    execute(NOTEBOOK, output, parameters)
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    counts = manifest["counts"]
    assert (
        counts["accepted"] >= min(12, counts["images"] - counts["skipped"]) >= 10
        and counts["images"] == sum(counts.values()) - counts["images"]
    )
    assert validate(tmp_path / "conversations.jsonl") == [] == validate(tmp_path / "conversations.json")
    assert manifest["checks"]["before_repair"] == []
    executed = nbformat.read(output, 4)
    outputs = [out for cell in executed.cells for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out.output_type == "stream" and out.name == "stderr"]
    beside = [html for out in outputs if "rl-beside" in (html := out.get("data", {}).get("text/html", ""))]
    assert [html.count("<img ") for html in beside] == [2, 3]
    assert output.stat().st_size < 700_000
    if page.get(dataset).private_names:
        first = json.loads((tmp_path / "conversations.jsonl").read_text(encoding="utf-8").splitlines()[0])["image"]
        assert Path(first).stem not in output.read_text(encoding="utf-8"), "participants' names stay out of notebooks"


@pytest.mark.parametrize("dataset", [name for name in page.names() if page.get(name).masks])
def test_boxes_are_made_for_every_dataset_with_masks(
    dataset: str, drawn: dict[str, Path], execute: Callable, tmp_path: Path
) -> None:
    parameters = {"dataset": dataset.lower(), "data_root": str(drawn[dataset]), "out_dir": str(tmp_path)}
    output = tmp_path / "boxes.ipynb"
    execute(NOTEBOOKS / "boxes.ipynb", output, parameters)
    found = json.loads((tmp_path / "boxes.json").read_text(encoding="utf-8"))
    images = load_dataset(dataset, drawn[dataset]).images
    assert len(found["images"]) == min(12, len(images)) >= 10 and found["failures"] == []
    outputs = [out for cell in nbformat.read(output, 4).cells for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out.output_type == "stream" and out.name == "stderr"]
    assert sum("image/jpeg" in out.get("data", {}) for out in outputs) == 2
    assert output.stat().st_size < 500_000
    made = {path.name for path in tmp_path.iterdir()}
    # where the disc, its cup and centres alone are marked, the figures say that there is no lesion to show
    figures = {"first.pdf", "first.png", "sheet.html", "sheet.pdf", "sheet.png"} if page.get(dataset).masks.types else set()
    assert made == {"boxes.ipynb", "boxes.json", *figures}


def test_a_dataset_without_masks_goes_through_the_boxes_notebook_and_says_so(
    drawn: dict[str, Path], execute: Callable, tmp_path: Path
) -> None:
    parameters = {"dataset": "APTOS", "data_root": str(drawn["APTOS"]), "out_dir": str(tmp_path)}
    output = tmp_path / "boxes.ipynb"
    execute(NOTEBOOKS / "boxes.ipynb", output, parameters)
    text = output.read_text(encoding="utf-8")
    assert "APTOS has no lesion masks" in text and "IDRiD_seg" in text and "DDR_seg" in text
    assert [path.name for path in tmp_path.iterdir()] == ["boxes.ipynb"]


def test_the_boxes_notebook_has_its_folder_and_the_parameters_of_generate() -> None:
    own = papermill.inspect_notebook(str(NOTEBOOKS / "boxes.ipynb"))
    assert list(own) == ["dataset", "data_root", "out_dir", "automorph_root", "split", "limit"]
    assert set(own) <= set(settings.NOTEBOOK) and all(parameter["help"] for parameter in own.values())
    assert settings.folder({"dataset": "idrid_seg"}, "boxes") == paths.root() / "artifacts" / "IDRiD_seg-boxes"


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """papermill's command line for generate.ipynb, with a server, as a user types it."""
    line = [PAPERMILL, NOTEBOOK, "-p", "dataset", "ODIR", "-p", "limit", "3", "-p", "teacher", "openai", "-p", "model", "m"]
    return subprocess.run([*map(str, line), "-p", "out_dir", str(folder), *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "state", "result"),
    [
        (["dry_run", "True"], None, "Dry run: nothing was sent, 3 requests would be"),
        (["mode", "batch"], "pending", "3 requests are pending in 1 batch"),
        (["mode", "pack", "-p", "terms_accepted", "True"], "pending", "packed in 1 file"),
        (["budget_usd", "0.12"], "over budget", "The budget of 0.12 USD is reached: 2 images are not asked"),
    ],
)
def test_the_command_ends_well_in_an_empty_folder(
    arguments: list[str], state: str | None, result: str, batches: FakeBatches, prices: Callable, tmp_path: Path
) -> None:
    prices(batches.url, "m: {input: 1, output: 1000, batch: 0.5, most_output: 100}")
    done = command(tmp_path / "run", "-p", *arguments)
    assert done.returncode == 0, done.stderr
    assert result in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"To look at it, open {tmp_path / 'run' / 'generate.ipynb'}")
    manifest = tmp_path / "run" / "manifest.json"
    assert state == (json.loads(manifest.read_text(encoding="utf-8"))["state"] if manifest.is_file() else None)
    assert (tmp_path / "run" / "card.md").is_file() == bool(state)


def test_a_stopped_run_shows_all_cells_and_ends_in_a_sentence(server: FakeServer, tmp_path: Path) -> None:
    server.script = lambda number, body: error(401, "wrong key", "invalid_api_key")
    done = command(tmp_path / "run")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: ") and "the server refused the key (401 wrong key); check OPENAI_API_KEY" in last
    cells = [cell for cell in nbformat.read(tmp_path / "run" / "generate.ipynb", 4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells), "only the last cell may fail"
    assert json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))["state"] == "stopped"
