"""The dataset card says what a run holds and where it comes from."""

import shutil
from pathlib import Path

import pytest
import yaml

from retinal_lib import Job, UserError
from retinal_lib.__main__ import main
from retinal_lib.conversation import Turn
from retinal_lib.export import card
from retinal_lib.run.survey import Survey


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
        "Made by the offline teacher: a format sample, composed without a language model; ",
    ):
        assert expected in body, expected
    assert "\n\n\n" not in body and (tmp_path / "card-claims.png").is_file()


def test_a_guess_is_of_what_was_asked_after() -> None:
    """An answer on the quality that tells the person's sex too: a reader without the picture guesses the quality."""
    survey = Survey()
    for said in ("good", "good", "poor"):
        traces = [
            {"turn": 1, "span": [0, 4], "is": "claim", "fact": "quality", "label": said, "aspect": "quality"},
            {"turn": 1, "span": [9, 14], "is": "claim", "fact": "sex", "label": "male", "aspect": "patient"},
        ]
        survey.add([Turn("How good is the quality of this picture?", f"It is {said}, of a man.")], traces)
    survey.add([Turn("How good is the quality of this picture?", "A man.")], traces[1:])
    assert survey.report()["blind_guess"]["quality"] == {"questions": 3, "most common answer": "good", "share": 0.6667}


def test_automorph_is_named_where_it_was_used_alone(tmp_path: Path) -> None:
    for name, named in (("ODIR", True), ("APTOS", False)):
        job = Job.load(dataset=name, limit=2, out_dir=str(tmp_path / name))
        if not named:
            shutil.copytree(job.data.root, tmp_path / "data", ignore=shutil.ignore_patterns("Results", ".sample"))
            job = Job.load(dataset=name, data_root=str(tmp_path / "data"), limit=2, out_dir=str(tmp_path / name))
        job.run()
        assert ("AutoMorph" in card.write_card(tmp_path / name).read_text(encoding="utf-8")) is named


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
