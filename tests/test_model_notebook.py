"""infer.ipynb as typed: with the sample model, with one of a user's own, and where something is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from PIL import Image

from retinal_lib.inference import answer_files
from retinal_lib.sample import llava_model as sample_model

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "infer.ipynb"
PAPERMILL = Path(sys.executable).with_name("papermill")


def run(*given: str) -> subprocess.CompletedProcess:
    """papermill without an output path."""
    command = [str(PAPERMILL), str(NOTEBOOK), *given, "--no-progress-bar"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


def test_a_model_of_one_s_own_answers_a_question_file(tmp_path: Path) -> None:
    model = sample_model.draw(tmp_path / "mine", sample_model.Shape(seed=3))
    for i in range(3):
        Image.new("RGB", (64, 60), (90 * i, 40, 10)).save(tmp_path / f"{i}.png")
    asked = {"data": [{"id": i, "image": f"{i}.png", "questions": ["Which eye?", "Why?"]} for i in range(4)]}
    (tmp_path / "q.json").write_text(json.dumps(asked), encoding="utf-8")
    out = tmp_path / "run"
    given = ["-p", "model_name", str(model), "-p", "question_file", str(tmp_path / "q.json"), "-p", "max_new_tokens", "6"]
    done = run(*given, "-p", "out_dir", str(out), "-p", "max_failed", "0.3")
    assert done.returncode == 0, done.stderr
    rows = answer_files.load(out / "answers.jsonl")
    assert [row["id"] for row in rows] == ["0", "1", "2", "3"] and len(rows[0]["qa_pairs"]) == 2
    assert "there is no such file" in rows[3]["error"] and (out / "infer.ipynb").is_file()
    again = run(*given, "-p", "out_dir", str(out))
    assert again.returncode == 1 and "1 of 4 images have no answer (max_failed allows 5%)" in again.stderr.splitlines()[-1]


def test_a_missing_tower_is_one_sentence(tmp_path: Path) -> None:
    model = sample_model.draw(tmp_path / "mine", sample_model.Shape(tower="none"))
    done = run("-p", "model_name", str(model), "-p", "out_dir", str(tmp_path), "-p", "vision_tower", str(tmp_path / "nowhere"))
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("Error: the vision tower")
