"""The reviewer without a browser: samples, filters, decisions by clicks, exports, the page, the notebook."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from retinal_lib import Job, Review, UserError, paths
from retinal_lib.__main__ import main
from retinal_lib.export import trainers
from retinal_lib.imaging import side_by_side
from retinal_lib.imaging.boxed_picture import Picture
from retinal_lib.review import decisions, sample_html
from retinal_lib.review.reviewer import Reviewer

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "review.ipynb"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished runs of drawn eyes."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("IDRiD_seg", "ODIR", "UK"):
        Job.load(dataset=name, out_dir=str(folder / name)).run()
    return {name: folder / name for name in ("IDRiD_seg", "ODIR", "UK")}


@pytest.fixture
def folder(made: dict[str, Path], tmp_path: Path) -> Path:
    """A run of eyes with lesions, to be reviewed."""
    return shutil.copytree(made["IDRiD_seg"], tmp_path / "run")


def load(folder: Path, reviewer: str = "Ada", dataset: str = "IDRiD_seg", **parameters: object) -> Review:
    return Review.load(dataset=dataset, out_dir=str(folder), reviewer=reviewer, **parameters)


def test_a_review_without_buttons_is_made_as_the_readme_says(made: dict[str, Path], tmp_path: Path) -> None:
    run = shutil.copytree(made["ODIR"], tmp_path / "run")
    readme = NOTEBOOK.with_name("README.md").read_text(encoding="utf-8")
    example = readme.partition("**Without JupyterLab.**")[2].partition("```python\n")[2].partition("```")[0]
    assert example.count('dataset="ODIR"') == 1
    exec(example.replace('dataset="ODIR"', f'dataset="ODIR", out_dir={str(run)!r}'), {})
    judged = lines(run)
    assert [line["what"] for line in judged] == ["accept", "reject"] and len({line["id"] for line in judged}) == 2


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "reviews.jsonl").read_text(encoding="utf-8").splitlines()]


def spoil(folder: Path, change: object) -> None:
    """Changes the first line of lineage.jsonl and of conversations.jsonl."""
    pairs = []
    for name in ("conversations.jsonl", "lineage.jsonl"):
        entries = [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]
        pairs.append(entries)
    change(pairs[0][0], pairs[1][0])
    for name, entries in zip(("conversations.jsonl", "lineage.jsonl"), pairs, strict=True):
        (folder / name).write_text("".join(json.dumps(e, ensure_ascii=False) + "\n" for e in entries), encoding="utf-8")


def tell(said: dict, origin: dict) -> None:
    """A conversation and a finding that would break a page that does not escape."""
    said["conversations"][1]["value"] = "<script>alert(1)</script> & 'so' \"on\"\nnext"
    origin["traces"] = [
        {
            "turn": 1,
            "span": [3, 12],
            "said": "",
            "is": "claim",
            "label": "<l>",
            "aspect": "<a>",
            "fact": "<i>",
            "file": 'a"><b>.csv',
            "row": 3,
            "column": "<c>",
            "value": '"><img src=x>',
        }
    ]
    finding = {"kind": "leak<b>", "severity": "warning", "turn": 1, "part": "answer", "span": [1, 7], "text": "<u>odd</u>"}
    origin["findings"] = [finding]


# --- samples ---------------------------------------------------------------------------------------------------------


def test_filters(made: dict[str, Path], folder: Path) -> None:
    spoil(folder, tell)
    review = load(folder, also=str(made["ODIR"]))
    assert len(review.chosen) == len(review.all) == 25
    assert review.options["dataset"] == ("IDRiD_seg", "ODIR")
    assert [len(review.filter(dataset=name)) for name in ("IDRiD_seg", "ODIR", None)] == [12, 13, 25]
    assert 0 < len(review.filter(lesion="haemorrhages")) < 12
    assert all("haemorrhages" in item.lesions for item in review.chosen)
    review.filter(lesion=None, finding="leak<b>")
    assert [item.kinds for item in review.chosen] == [("leak<b>",)]
    review.reject(review.chosen[0])
    assert review.filter(finding=None, state="rejected") == [review.all[0]]
    assert len(review.filter(state="unreviewed")) == 24
    for wrong, told in ({"state": "good"}, "unknown state 'good'"), ({"eye": "left"}, "unknown filter 'eye'"):
        with pytest.raises(UserError, match=told):
            review.filter(**wrong)


def test_what_is_not_there_is_told(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match="no finished run"):
        load(tmp_path / "none", data_root=str(tmp_path))
    lineage = folder / "lineage.jsonl"
    whole = lineage.read_bytes()
    for broken in (
        whole[: len(whole) // 2],
        b"",
        b"".join(reversed(whole.splitlines(True))),
        whole.replace(b'"traces"', b'"old"'),
        whole.replace(b'"value"', b'"old"'),
        whole.replace(b'"label"', b'"old"'),
    ):
        lineage.write_bytes(broken)
        with pytest.raises(UserError, match="are incomplete"):
            load(folder)
    for target in ("/dev/zero", "nothing"):
        lineage.unlink()
        lineage.symlink_to(target)
        with pytest.raises(UserError, match="are incomplete"):
            load(folder)
    (folder / "manifest.json").write_text("[]")
    with pytest.raises(UserError, match="expected an object"):
        load(folder)


def test_a_dataset_that_was_moved_is_asked_for(made: dict[str, Path], tmp_path: Path, drawn: dict[str, Path]) -> None:
    data = shutil.copytree(drawn["ODIR"], tmp_path / "data")
    Job.load(dataset="ODIR", data_root=str(data), out_dir=str(tmp_path / "run"), limit=3).run()
    data.rename(tmp_path / "moved")
    with pytest.raises(UserError, match="data_root"):
        load(tmp_path / "run", dataset="ODIR")
    review = load(tmp_path / "run", dataset="ODIR", data_root=str(tmp_path / "moved"))
    assert review.picture(review.all[0])[0].is_file()


def test_limit_split_and_draw(made: dict[str, Path]) -> None:
    assert len(load(made["IDRiD_seg"], limit=5).under_review) == 5
    for limit in (0, -1, 1.5, float("nan"), 10**400):
        with pytest.raises(UserError, match="parameter limit: found"):
            load(made["IDRiD_seg"], limit=limit)
    tests = load(made["IDRiD_seg"], split="test").under_review
    assert 0 < len(tests) < 12 and {item.split for item in tests} == {"test"}
    review = load(made["IDRiD_seg"]).draw(2, "split", seed=4)
    assert len(review.under_review) == 4 == len(load(made["IDRiD_seg"], reviewer="Bob").draw(2, "split", seed=4).under_review)
    again = load(made["IDRiD_seg"]).draw(2, "split", seed=4)
    assert {item.id for item in review.under_review} == {item.id for item in again.under_review}
    with pytest.raises(UserError, match="unknown stratum 'eye'"):
        review.draw(2, "eye")


def test_without_any_run_the_drawn_sample_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RETINAL_LIB_ROOT", str(tmp_path))
    assert len(Review.load(dataset="APTOS", reviewer="Ada").all) >= 12
    assert (tmp_path / "artifacts" / "APTOS-instruction" / "manifest.json").is_file()


# --- decisions -------------------------------------------------------------------------------------------------------


def test_decisions_are_on_disk_and_come_back(folder: Path) -> None:
    review = load(folder)
    one, two, three = review.all[:3]
    review.accept(one)
    review.reject(two, " no disc ")
    review.comment(three, "odd")
    again = load(folder)
    assert [again.mine(i).state for i in (one, two, three)] == ["accepted", "rejected", "unreviewed"]
    assert again.mine(two).comments == ["no disc"]
    assert [line["sha256"] for line in lines(folder)] == [one.sha256, two.sha256, three.sha256]
    assert {line["who"] for line in lines(folder)} == {"Ada"} and again.progress == (2, 12)
    assert again.next_unreviewed(again.chosen, one) == three
    assert again.undo() == three and again.undo() == two and load(folder).mine(two).state == "unreviewed"
    again.undo()
    with pytest.raises(UserError, match="nothing to undo"):
        again.undo()
    with pytest.raises(UserError, match="needs a text"):
        review.comment(one, " ")


def test_a_conversation_that_changed_is_unreviewed_again(folder: Path) -> None:
    review = load(folder)
    review.accept(review.all[0])
    spoil(folder, lambda said, origin: said["conversations"][1].update(value="Another answer."))
    with pytest.raises(UserError, match="was repeated since"):
        review.item(review.all[0])
    again = load(folder)
    assert again.mine(again.all[0]).state == "unreviewed"
    assert "1 sample changed since a review" in main(["review", str(folder)])
    with pytest.raises(UserError, match="nothing to undo"):
        again.undo()


def test_a_fix_is_checked_again(folder: Path) -> None:
    review = load(folder)
    item = review.all[0]
    with pytest.raises(UserError, match="97"):
        review.fix(item, 2, "answer", "97 microaneurysms are marked.")
    assert not (folder / "reviews.jsonl").exists()
    before = review.item(item)
    with pytest.raises(UserError, match="has not changed"):
        review.fix(item, 1, "answer", before.turns[1]["value"])
    with pytest.raises(UserError, match="turn 9"):
        review.fix(item, 9, "answer", "words")
    said = "AutoMorph's quality check called it: the quality is good."
    turn = next(i // 2 + 1 for i, part in enumerate(before.turns) if re.search("good quality|quality is good", part["value"]))
    kept = review.fix(item, turn, "answer", said)
    assert kept.checks and review.mine(item).state == "fixed"
    after = review.item(item)
    assert after.turns[2 * turn - 1]["value"] == said
    traced = [t for t in after.traces if t["turn"] == turn and t["said"] == "quality is good"]
    assert traced and traced[0]["span"][0] == said.index("quality is good"), "traces are of the words as they are now"
    assert "fixed" in sample_html.conversation(after)


def test_exports_heed_reviews(folder: Path, tmp_path: Path) -> None:
    review = load(folder)
    accepted, rejected, fixed, disputed, commented = review.all[:5]
    review.accept(accepted)
    review.reject(rejected)
    said = review.item(fixed).turns
    review.fix(fixed, 1, "question", "What kind of picture is this, please?")
    review.accept(disputed)
    review.comment(commented, "hm")
    load(folder, "Bob").reject(disputed)

    def export(*more: str) -> dict[str, dict]:
        told = main(["export", str(folder), "--form", "llava", "--out", str(tmp_path / "out"), *more])
        files = (tmp_path / "out").glob("*.json")
        found = {entry["id"]: entry for file in files for entry in json.loads(file.read_text(encoding="utf-8"))}
        assert ("was not used" in told) == (not more)
        return found

    assert len(export()) == 12
    only = export("--reviewed", "accepted")
    assert set(only) == {accepted.id, fixed.id}
    assert only[fixed.id]["conversations"][0]["value"] == "What kind of picture is this, please?\n<image>"
    assert only[fixed.id]["conversations"][1:] == said[1:]
    assert set(export("--reviewed", "unrejected")) == {item.id for item in review.all} - {rejected.id, disputed.id}
    with pytest.raises(UserError, match="unknown choice of reviewed 'all'"):
        trainers.export([folder], "llava", reviewed="all")
    review.reject(accepted)
    review.reject(fixed)
    with pytest.raises(UserError, match="accepted by a reviewer"):
        export("--reviewed", "accepted")


def test_a_decision_that_cannot_be_read_is_not_passed_over(folder: Path, tmp_path: Path) -> None:
    review = load(folder)
    review.accept(review.all[0])
    review.reject(review.all[0])
    whole = (folder / decisions.FILE).read_bytes()
    export = ["export", str(folder), "--form", "llava", "--out", str(tmp_path / "out"), "--reviewed"]
    for torn in (whole[:-30], whole.replace(b'"reject"', b'"re"'), whole + b"\xe9\n"):
        (folder / decisions.FILE).write_bytes(torn)
        for which in decisions.REVIEWED:
            with pytest.raises(UserError, match=r"reviews.jsonl, line [23]: no decision can be read there, and it may reject"):
                main([*export, which])
        assert "no decision can be read" in main(["review", str(folder)]) and not (tmp_path / "out").exists()


def test_a_fix_from_elsewhere_is_read_by_the_checks(folder: Path, tmp_path: Path) -> None:
    review = load(folder)
    item = review.all[0]
    for text in ("It is a right and left eye of a man aged 31.", "Fine.</s>"):
        fix = decisions.new_decision(
            [], "Eve", "fix", id=item.id, sha256=item.sha256, turn=1, part="answer", text=text, checks=99
        )
        (tmp_path / "theirs").unlink(missing_ok=True)
        decisions.append(tmp_path / "theirs", fix)
        with pytest.raises(UserError, match=r"the fix of .* is not used, the checks found errors: turn 1"):
            main(["review", str(folder), "--merge", str(tmp_path / "theirs")])
        assert not (folder / decisions.FILE).exists(), "nothing is merged"
    decisions.append(folder / decisions.FILE, fix)  # by hand
    with pytest.raises(UserError, match="the checks found errors"):
        main(["export", str(folder), "--form", "llava", "--out", str(tmp_path / "out"), "--reviewed", "accepted"])


def test_a_fix_that_cannot_be_checked_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "eyes").mkdir()
    Image.new("RGB", (60, 60), "red").save(tmp_path / "eyes" / "1.png")
    (tmp_path / "eyes" / "my.csv").write_text("image,disease\n1.png,severe glaucoma\n", encoding="utf-8")
    run = tmp_path / "run"
    Job.load(dataset=str(tmp_path / "eyes" / "my.csv"), out_dir=str(run)).run()
    entry = json.loads((run / "conversations.jsonl").read_text(encoding="utf-8"))
    which = {"id": entry["id"], "sha256": decisions.conversation_hash(entry["conversations"]), "turn": 1, "part": "answer"}
    fix = decisions.new_decision([], "Eve", "fix", **which, text="There is severe glaucoma.", checks=99)
    decisions.append(tmp_path / "theirs", fix)
    (tmp_path / "eyes").rename(tmp_path / "elsewhere")
    sentence = r"the fix of conversation 1 cannot be checked, so it is not used: .*my.csv: no such table; .*undo the fix"
    with pytest.raises(UserError, match=sentence):
        main(["review", str(run), "--merge", str(tmp_path / "theirs")])
    assert not (run / decisions.FILE).exists(), "nothing is merged"
    decisions.append(run / decisions.FILE, fix)
    for which in decisions.REVIEWED:
        with pytest.raises(UserError, match=sentence):
            main(["export", str(run), "--form", "llava", "--reviewed", which])
    assert not (run / "exports").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "eyes")
    assert "1 conversation" in main(["export", str(run), "--form", "llava", "--reviewed", "accepted"])


def test_two_reviewers_are_merged_and_agree(folder: Path, made: dict[str, Path], tmp_path: Path) -> None:
    other = shutil.copytree(made["IDRiD_seg"], tmp_path / "other")
    ada, bob = load(folder), load(other, "Bob")
    for place, item in enumerate(ada.all):
        ada.reject(item) if place < 4 else ada.accept(item)
        bob.reject(item) if place < 3 else bob.accept(item)
    assert ada.agreement["both"].tolist() == [0]
    told = main(["review", str(folder), "--merge", str(other / "reviews.jsonl")])
    assert "24 decisions are in" in told and "8 accepted, 0 fixed, 3 rejected, 1 disputed" in told
    assert "Ada and Bob: 92 % of 12 equal, Cohen's kappa 0.80" in told
    assert main(["review", str(folder), "--merge", str(other / "reviews.jsonl")]) == told
    again = load(folder)
    assert again.states.loc["disputed", "all reviewers"] == 1
    assert again.rates["errors"].tolist() == ["4 errors in 12: 33 %, 9.9 % to 65 % at 95 %"]
    with pytest.raises(UserError, match="found 2 folders"):
        main(["review", str(folder), str(other), "--merge", str(other / "reviews.jsonl")])


def test_rates_by_stratum(made: dict[str, Path], folder: Path) -> None:
    review = load(folder, also=str(made["ODIR"])).draw(4, "dataset", 1)
    for item in review.under_review:
        if item.run == 0:
            review.accept(item)
    rows = review.rates
    assert rows["samples"].tolist() == [12, 13, 25]
    assert rows["errors"].tolist()[:2] == ["0 errors in 4: at most 53 % at 95 %", "nothing was looked at yet"]


# --- clicks ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def desk_of(folder: Path, caplog: pytest.LogCaptureFixture) -> Reviewer:
    """A reviewer's desk; an error that a widget would swallow fails the test."""
    found = Reviewer(load(folder))
    yield found
    found.pictures.close()
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING], caplog.text


def press(at: Reviewer, **content: str | int) -> None:
    at.pane._handle_custom_msg({"shown": at.pane.shown} | content, [])


def problem(at: Reviewer) -> str:
    return at.info.value if "rl-problem" in at.info.value else ""


def test_next_and_back_by_click_and_key(desk_of: Reviewer) -> None:
    first, picture = desk_of.sample, desk_of.image.value
    assert Image.open(BytesIO(picture)).format == "JPEG"
    desk_of.buttons["next"].click()
    assert desk_of.sample != first and desk_of.image.value != picture and desk_of.sample.id in desk_of.pane.html
    press(desk_of, key="back")
    assert desk_of.sample == first and desk_of.image.value == picture and not problem(desk_of)
    desk_of.buttons["back"].click()
    assert "first sample" in problem(desk_of) and desk_of.sample == first


def test_accept_and_reject_move_on(desk_of: Reviewer, folder: Path) -> None:
    first = desk_of.sample
    desk_of.buttons["accept"].click()
    second = desk_of.sample
    desk_of.comment.value = "wrong eye"
    press(desk_of, key="reject")
    assert first != second != desk_of.sample and desk_of.comment.value == ""
    assert [(d["id"], d["what"], d.get("text")) for d in lines(folder)] == [
        (first.id, "accept", None),
        (second.id, "reject", "wrong eye"),
    ]
    assert (desk_of.bar.value, desk_of.bar.max) == (2, 12)
    desk_of.buttons["undo"].click()
    assert desk_of.sample == second and "rejected" not in desk_of.pane.html and desk_of.bar.value == 1
    assert "1" in desk_of.summary.value and "0 errors in 1" in desk_of.summary.value


def test_all_reviewed(desk_of: Reviewer) -> None:
    for _ in range(12):
        desk_of.buttons["accept"].click()
    assert desk_of.bar.value == 12 and "are reviewed" in desk_of.info.value
    desk_of.filters["state"].value = "unreviewed"
    assert "no sample passes" in problem(desk_of)
    desk_of.filters["state"].value = "accepted"
    assert not problem(desk_of) and len(desk_of.queue) == 12


def test_filters_by_choice(desk_of: Reviewer) -> None:
    desk_of.filters["lesion"].value = "haemorrhages"
    assert all("haemorrhages" in item.lesions for item in desk_of.queue) and desk_of.sample in desk_of.queue
    desk_of.filters["lesion"].value = "all"
    assert len(desk_of.queue) == 12


def test_a_typed_comment_is_never_lost(desk_of: Reviewer, folder: Path) -> None:
    first = desk_of.sample
    desk_of.comment.value = "look again"
    desk_of.buttons["next"].click()
    assert (lines(folder)[0]["id"], lines(folder)[0]["text"], desk_of.comment.value) == (first.id, "look again", "")
    desk_of.buttons["comment"].click()
    assert "needs a text" in problem(desk_of)
    desk_of.comment.value = "<b>"
    desk_of.buttons["comment"].click()
    assert "&lt;b&gt;" in desk_of.pane.html


def test_fix_by_click(desk_of: Reviewer, folder: Path) -> None:
    first = desk_of.sample
    desk_of.part.value = 0
    assert "<image>" not in desk_of.text.value
    desk_of.text.value = "Would you please speak about this picture?"
    for name in ("next", "accept", "unreviewed"):
        desk_of.buttons[name].click()
        assert "not saved" in problem(desk_of) and desk_of.sample == first, "nothing typed is lost"
    desk_of.buttons["save"].click()
    assert not problem(desk_of) and lines(folder)[0]["what"] == "fix" and "speak about this picture" in desk_of.pane.html
    desk_of.part.value = 1
    desk_of.text.value = "The image shows 97 drusen."
    desk_of.buttons["save"].click()
    assert "97" in problem(desk_of) and len(lines(folder)) == 1
    desk_of.buttons["reset"].click()
    desk_of.buttons["undo"].click()
    assert "speak about this picture" not in desk_of.pane.html and not problem(desk_of)


def test_another_part_does_not_lose_what_is_typed(desk_of: Reviewer) -> None:
    desk_of.part.value = 2
    desk_of.text.value = "typed"
    desk_of.part.value = 3
    assert "question 2 has changed but is not saved" in problem(desk_of)
    assert (desk_of.part.value, desk_of.text.value) == (2, "typed")
    desk_of.buttons["reset"].click()
    desk_of.part.value = 3
    assert not problem(desk_of) and desk_of.text.value in desk_of.session.item(desk_of.sample).turns[3]["value"]


@pytest.mark.parametrize("key", ["accept", "reject", "comment", "save", "undo"])
def test_a_key_meant_for_the_last_sample_does_nothing(desk_of: Reviewer, folder: Path, key: str) -> None:
    shown = desk_of.pane.shown
    press(desk_of, key="accept")
    second = desk_of.sample
    desk_of.comment.value = "for the first one"
    press(desk_of, key=key, shown=shown)
    assert "another sample has come since" in problem(desk_of)
    assert desk_of.sample == second and [line["what"] for line in lines(folder)] == ["accept"]


def test_a_filter_that_nothing_passes_clears_the_desk(desk_of: Reviewer, folder: Path) -> None:
    desk_of.comment.value = "typed before"
    desk_of.filters["state"].value = "rejected"
    assert "no sample passes these filters" in problem(desk_of) and lines(folder)[0]["text"] == "typed before"
    assert (desk_of.sample, desk_of.image.value, desk_of.pane.html, desk_of.text.value) == (None, b"", "", "")
    for key in ("accept", "reject", "comment", "save", "next", "back", "unreviewed"):
        press(desk_of, key=key)
        assert problem(desk_of) and len(lines(folder)) == 1
    desk_of.filters["state"].value = "all"
    assert desk_of.sample and desk_of.image.value and not problem(desk_of)


def test_a_picture_and_its_conversation_change_together(desk_of: Reviewer, monkeypatch: pytest.MonkeyPatch) -> None:
    before, during, take = (desk_of.image.value, desk_of.pane.html), [], desk_of.pictures.take

    def slow(*given: object) -> object:
        during.append((desk_of.image.value, desk_of.pane.html))
        return take(*given)

    monkeypatch.setattr(desk_of.pictures, "take", slow)
    desk_of.buttons["next"].click()
    assert during == [before] and desk_of.image.value != before[0] and desk_of.pane.html != before[1]


def test_a_box_lights_up(desk_of: Reviewer) -> None:
    while not any(map(side_by_side.is_box, desk_of._item.traces)):
        desk_of.buttons["next"].click()
    plain = desk_of.image.value
    box = next(t["value"] for t in desk_of._item.traces if side_by_side.is_box(t))
    marked = f'data-box="{" ".join(map(str, box))}"'
    assert marked in desk_of.pane.html
    press(desk_of, box=" ".join(map(str, box)))
    assert desk_of.image.value != plain and Image.open(BytesIO(desk_of.zoomed.value)).size == (360, 360)
    press(desk_of, box="")
    assert desk_of.image.value == plain and desk_of.zoomed.value == b""
    press(desk_of, key="boxes")
    assert desk_of.image.value != plain and desk_of.legend.value == ""
    press(desk_of, key="boxes")
    assert desk_of.image.value == plain and not problem(desk_of)


def test_errors_in_callbacks_are_shown(desk_of: Reviewer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("<surprise>")

    monkeypatch.setattr(desk_of.session, "accept", broken)
    desk_of.buttons["accept"].click()
    assert "KeyError" in problem(desk_of) and "&lt;surprise&gt;" in problem(desk_of) and "in broken" in problem(desk_of)
    press(desk_of, key="no such key")
    assert "KeyError" in problem(desk_of)
    press(desk_of, box="a b c d")
    assert "ValueError" in problem(desk_of)
    desk_of.buttons["next"].click()
    assert not desk_of.info.value, "the next action clears it"


def test_a_full_disk_is_shown_and_nothing_counts(desk_of: Reviewer, folder: Path) -> None:
    (folder / "reviews.jsonl").mkdir()
    first = desk_of.sample
    desk_of.buttons["accept"].click()
    assert "cannot be written" in problem(desk_of) and desk_of.sample == first and desk_of.bar.value == 0


def test_a_picture_that_cannot_be_read_is_told(folder: Path, drawn: dict[str, Path], tmp_path: Path) -> None:
    data = shutil.copytree(drawn["ODIR"], tmp_path / "data")
    Job.load(dataset="ODIR", data_root=str(data), out_dir=str(tmp_path / "odir"), limit=3).run()
    review = load(tmp_path / "odir", dataset="ODIR")
    path, _ = review.picture(review.all[1])
    whole = path.read_bytes()
    path.write_bytes(b"no picture")
    at = Reviewer(review)
    review.show("sheet")
    page = (tmp_path / "odir" / "review.html").read_text(encoding="utf-8")
    assert page.count("<img") == 2 and page.count("is not a readable image") == 1 and page.count("<section") == 3
    at.buttons["next"].click()
    assert "not a readable image" in problem(at) and at.image.value == b"" and at.sample.id in at.pane.html
    at.buttons["accept"].click()
    assert "cannot be accepted" in problem(at) and not (tmp_path / "odir" / "reviews.jsonl").exists()
    path.write_bytes(whole)
    at.buttons["back"].click()
    at.buttons["next"].click()
    assert not problem(at) and at.image.value
    at.pictures.close()


def test_others_are_told_only_after_one_s_own_verdict(folder: Path) -> None:
    bob = load(folder, "Bob <b>")
    bob.reject(bob.all[0], "the <i>disc</i>")
    at = Reviewer(load(folder))
    assert "Bob" not in at.pane.html
    at.buttons["accept"].click()
    at.buttons["back"].click()
    assert "Bob &lt;b&gt;" in at.pane.html and "the &lt;i&gt;disc" in at.pane.html
    at.pictures.close()


# --- pages -----------------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """The tags of a page, with the text that people read."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.hovers, self.text = set(), [], ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Notes a tag."""
        self.tags.add(tag)
        self.hovers += [value for name, value in attributes if name == "title"]

    def handle_data(self, data: str) -> None:
        """Notes a text."""
        self.text += data


def test_everything_is_escaped(folder: Path) -> None:
    spoil(folder, tell)
    review = load(folder)
    found = Tags(sample_html.conversation(review.item(review.all[0]), "<h1>"))
    assert found.tags <= {"h3", "div", "span", "b", "p", "i", "br"}
    assert "<script>alert(1)</script> & 'so' \"on\"" in found.text and "<u>odd</u> (leak<b>)" in found.text
    assert "<h1>" in found.text
    assert any("<i> = \"><img src=x>\na\"><b>.csv, row 3, column '<c>'" in hover for hover in found.hovers)


def test_every_number_and_claim_shows_its_cell(made: dict[str, Path]) -> None:
    review = load(made["ODIR"], dataset="ODIR")
    measured = []
    for page in map(review.item, review.all):
        found = Tags(sample_html.conversation(page))
        for trace in page.traces:
            assert any(side_by_side.source(trace) in hover for hover in found.hovers)
        for trace in (trace for trace in page.traces if trace["column"] == "Artery_Average_width"):
            table = (Job.load(dataset="ODIR").data.root / trace["file"]).read_text(encoding="utf-8").splitlines()
            value = dict(zip(table[0].split(","), table[trace["row"] - 1].split(","), strict=True))[trace["column"]]
            place = f"{Path(trace['file']).name}, row {trace['row']}, column '{trace['column']}'"
            measured.append(f"{trace['column']} = {value}\n{place}" in found.hovers)
    assert measured and all(measured)


def test_the_sheet_needs_no_network(folder: Path) -> None:
    spoil(folder, tell)
    review = load(folder)
    shown = review.show("sheet", limit=3)
    page = (folder / "review.html").read_text(encoding="utf-8")
    assert "3 samples of 12" in shown["holds"].iloc[0]
    assert page.count('src="data:image/jpeg;base64,') == 3 == page.count("<section")
    assert "http:" not in page and "https:" not in page and "<script" not in page and "default-src 'none'" in page
    with pytest.raises(UserError, match="unknown view 'both'"):
        review.show("both")


def test_participants_names_stay_out(made: dict[str, Path]) -> None:
    review = load(made["UK"], dataset="UK")
    html = "".join(sample_html.conversation(review.item(item), item.title) for item in review.all)
    for item in review.all:
        assert Path(item.image).stem not in html and item.title.startswith("image ")


def test_boxes_are_drawn_where_they_are(tmp_path: Path) -> None:
    from retinal_lib.facts import Fact, Source

    pixels = Image.new("RGB", (400, 200))
    box = Fact("lesion", "MA_box", (0.25, 0.25, 0.5, 0.75), "box", "", Source("mask"), "microaneurysms")
    pixels.save(tmp_path / "black.png")
    found = Image.open(BytesIO(Picture(tmp_path / "black.png", [box]).jpeg))
    for x, y, inked in (
        (97, 100, True),
        (203, 100, True),
        (150, 47, True),
        (150, 153, True),
        (150, 100, False),
        (50, 100, False),
    ):
        near = [sum(found.getpixel((x + i, y + j))) for i in range(-2, 3) for j in range(-2, 3)]
        assert (max(near) > 150) == inked, (x, y)


def test_the_zoom_shows_a_lesion_larger_than_the_picture(tmp_path: Path) -> None:
    for side in (0.01, 0.1, 0.3, 0.6):
        pixels = np.zeros((800, 1200, 3), np.uint8)
        pixels[300 : 300 + round(side * 800), 200 : 200 + round(side * 800)] = 255
        Image.fromarray(pixels).save(tmp_path / "lesion.png")
        box = (200 / 1200, 300 / 800, (200 + side * 800) / 1200, (300 + side * 800) / 800)
        zoom = Picture(tmp_path / "lesion.png", []).zoom(box)
        if side == 0.6:
            assert zoom == b"", "it cannot be enlarged"
        else:
            width = (np.asarray(Image.open(BytesIO(zoom)).convert("L")) > 128).any(axis=0).sum()
            assert width > 1.05 * side * 800 * 360 / 1200, "where both are shown at one width"


def test_the_notebook_writes_the_sheet_where_no_one_looks_on(folder: Path, execute: Callable, tmp_path: Path) -> None:
    output = tmp_path / "review.ipynb"
    parameters = {"dataset": "IDRiD_seg", "out_dir": str(folder), "draw": 2, "stratum": "split", "reviewer": "Ada"}
    execute(NOTEBOOK, output, parameters)
    executed = nbformat.read(output, 4)
    outputs = [out for cell in executed.cells for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out.output_type in ("stream", "error")]
    assert (folder / "review.html").read_text(encoding="utf-8").count("<section") == 4
    assert "widgets" not in executed.metadata and output.stat().st_size < 60_000


def test_the_notebook_s_parameters_are_explained() -> None:
    from papermill.inspection import inspect_notebook

    found = inspect_notebook(str(NOTEBOOK))
    assert all(parameter["help"] for parameter in found.values()) and len(found) == 14


def test_without_widgets_the_way_out_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "retinal_lib.review.reviewer", None)
    monkeypatch.delattr("retinal_lib.reviewer", raising=False)
    with pytest.raises(UserError, match="pass view=sheet"):
        load(folder).show("widgets")
    assert paths.NON_INTERACTIVE and decisions.STATES
