"""Two workers with a model each answer as one does."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("ray", reason="ray is not installed")

from PIL import Image

from retinal_lib import UserError, scale
from retinal_lib.sample import llava_model as sample_model


def test_two_models_answer_as_one(tmp_path: Path) -> None:
    model = sample_model.draw(tmp_path / "model")
    for i in range(4):
        Image.new("RGB", (64, 60), (60 * i, 40, 10)).save(tmp_path / f"{i}.png")
    asked = [{"id": f"q{i}", "image": f"{i % 5}.png", "questions": ["Which eye?", "Why?"][: 1 + i % 2]} for i in range(10)]
    (tmp_path / "q.json").write_text(json.dumps(asked), encoding="utf-8")
    options = {"max_new_tokens": 6, "batch_size": 1, "loading": {"device": "cpu"}}
    one = scale.answer(model, tmp_path / "q.json", tmp_path / "one.jsonl", workers=1, **options)
    two = scale.answer(model, tmp_path / "q.json", tmp_path / "two.jsonl", workers=2, **options)
    assert one.rows == two.rows and len(one.failed) == 2 and [row["id"] for row in two.rows] == [e["id"] for e in asked]
    again = scale.answer(model, tmp_path / "q.json", tmp_path / "two.jsonl", workers=1, **options)
    assert again.rows == two.rows and again.asked == 2
    with pytest.raises(UserError, match="other settings"):
        scale.answer(model, tmp_path / "q.json", tmp_path / "two.jsonl", **options | {"max_new_tokens": 7})
