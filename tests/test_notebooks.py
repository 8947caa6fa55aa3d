"""generate.ipynb, run by papermill for every dataset and track, as at night."""

import json
from pathlib import Path

import nbformat
import papermill
import pytest

from retinal_lib import page, validate

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "generate.ipynb"
# each dataset in both tracks, the styles in turn: a kernel takes seconds (test_job.py runs all of them without one)
RUNS = [(name, "instruction", None) for name in page.names()]
RUNS += [(name, "alignment", ("caption", "consult")[i % 2]) for i, name in enumerate(page.names())]


@pytest.mark.parametrize(("dataset", "track", "style"), RUNS)
def test_every_dataset_and_track_runs(
    dataset: str, track: str, style: str | None, drawn: dict[str, Path], tmp_path: Path
) -> None:
    parameters = {"dataset": dataset.lower(), "track": track, "data_root": str(drawn[dataset]), "out_dir": str(tmp_path)}
    parameters |= {"style": style} if style else {}
    output = tmp_path / "generate.ipynb"
    papermill.execute_notebook(str(NOTEBOOK), str(output), parameters, progress_bar=False)
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    counts = manifest["counts"]
    assert counts["accepted"] >= 12 and counts["images"] == sum(counts.values()) - counts["images"]
    assert validate(tmp_path / "conversations.jsonl") == [] == validate(tmp_path / "conversations.json")
    assert manifest["checks"]["before_repair"] == []
    executed = nbformat.read(output, 4)
    outputs = [out for cell in executed.cells for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out.output_type == "stream" and out.name == "stderr"]
    assert sum("image/jpeg" in out.get("data", {}) for out in outputs) == 2
    assert output.stat().st_size < 700_000
    if page.get(dataset).private_names:
        first = json.loads((tmp_path / "conversations.jsonl").read_text(encoding="utf-8").splitlines()[0])["image"]
        assert Path(first).stem not in output.read_text(encoding="utf-8"), "participants' names stay out of notebooks"
