"""The dataset card says what a run holds and where it comes from."""

from pathlib import Path

import pytest
import yaml

from retinal_lib import Job, UserError
from retinal_lib.__main__ import main
from retinal_lib.export import card


def test_the_card_holds_source_counts_and_survey(tmp_path: Path) -> None:
    outcome = Job.load(dataset="ODIR", out_dir=str(tmp_path)).run()
    text = card.write_card(tmp_path).read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["size_categories"] == ["n<1K"] and yaml.safe_load(head)["language"] == ["en"]
    for expected in (
        "# Drawn sample in the layout of Ocular Disease Intelligent Recognition",
        "**Made from a drawn sample",
        "- Licence: made-up eyes, nobody's pictures: no dataset's licence or citation applies",
        "- Image quality and vessel measurements: of the drawings",
        f"| accepted | {outcome.counts['accepted']} |",
        "Splits by person and picture (`splits.csv`): 14 train.",
        "![Question-and-answer pairs of a conversation](card-turns.png)",
        f"\n\n## Checks\n\nIn {outcome.counts['accepted']} conversations the teacher wrote slots",
        "\nEach number and claim",
        "\nNo finding.\n\n## Intended use\n",
    ):
        assert expected in body, expected
    assert "\n\n\n" not in body and (tmp_path / "card-claims.png").is_file()


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no finished run"):
        card.write_card(tmp_path)


def test_a_broken_manifest_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"run": ', encoding="utf-8")
    with pytest.raises(UserError, match=r"manifest.json, line 1: not JSON"):
        card.write_card(tmp_path)
    (tmp_path / "manifest.json").write_text('{"run": "ODIR instruction"}', encoding="utf-8")
    with pytest.raises(UserError, match=r"of an earlier version .dataset: is missing.; run it again"):
        card.write_card(tmp_path)


def test_the_survey_finds_pictures_in_the_dataset_s_folder(tmp_path: Path) -> None:
    job = Job.load(dataset="IDRiD", limit=2, out_dir=str(tmp_path))
    job.run()
    assert "of pictures nearly the same, of 2:" in main(["survey", str(tmp_path), "--images", str(job.data.root)])
