"""Preference pairs: the wrong answer is wrong, the right one right, both have the same history, and trainers can read them."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_server import FakeServer
from hallucinator import Hallucinator
from test_repair import lines, truths
from test_trainers import load, put  # noqa: F401 (a fixture)

from retinal_lib import Job, UserError, check
from retinal_lib.__main__ import main
from retinal_lib.conversation import Conversation, Turn, to_llava
from retinal_lib.export import planted_faults
from retinal_lib.export.trainers import export
from retinal_lib.facts import Case
from retinal_lib.review import decisions


@pytest.fixture
def refused(ask: Callable, server: FakeServer, tmp_path: Path) -> Path:
    """A run whose teacher was sent back most of its drafts."""
    server.script = Hallucinator(truths(), 0.9, 0)
    assert ask(limit=8).checks.repaired > 1
    return tmp_path / "run"


def text(message: dict) -> str:
    return message["content"][-1]["text"]


def talk(row: dict, answer: str) -> list[dict[str, str]]:
    """The turns of a row, with an answer."""
    said = [*map(text, row["prompt"]), answer]
    return to_llava(map(Turn, said[::2], said[1::2]))


def test_each_wrong_answer_is_wrong_and_its_reason_is_told(refused: Path) -> None:
    told = main(["export", str(refused), "--form", "dpo", "--planted", "number=1,side=1,diagnosis=1", "--pictures", "link"])
    out, job = refused / "exports" / "dpo", Job.load(dataset="ODIR", limit=8)
    rows = [row for file in out.glob("*.jsonl") if file.name != "lineage.jsonl" for row in lines(file)]
    reasons = {line["id"]: line for line in lines(out / "lineage.jsonl")}
    assert len(rows) == len(reasons) == len({row["id"] for row in rows}) and f"{len(rows)} pairs; " in told
    assert {reason["source"] for reason in reasons.values()} == {"repair", "planted"}
    assert {reason["kind"] for reason in reasons.values() if "kind" in reason} == {"number", "side", "diagnosis"}
    right = {entry["id"]: Conversation.from_llava(entry).turns for entry in lines(refused / "conversations.jsonl")}
    for row in rows:
        reason, turns = reasons[row["id"]], right[row["conversation"]]
        history = [part for turn in turns for part in turn][: 2 * reason["turn"]]
        assert [*map(text, row["prompt"]), text(row["chosen"][0])] == history, "the history and answer of the accepted one"
        assert (out / row["images"][0]).is_file() and row["prompt"][0]["content"][0] == {"type": "image"}
        case = next(case for case in map(job.case, job.images) if case.id == row["conversation"])
        wrong = text(row["rejected"][0])
        assert wrong != text(row["chosen"][0]) and reason["findings"]
        found = check.errors(check.check(talk(row, wrong), case))
        kinds = {finding.kind for finding in found if finding.turn == reason["turn"]}
        assert kinds & {finding["kind"] for finding in reason["findings"]} or reason["source"] == "repair"
        if reason["source"] == "planted":
            assert wrong == text(row["chosen"][0]).replace(reason["before"], reason["after"], 1) or reason["before"] in wrong
    again = {path.name: path.read_bytes() for path in out.glob("*.json*")}
    export([refused], "dpo", planted="number=1,side=1,diagnosis=1", pictures="link")
    assert {path.name: path.read_bytes() for path in out.glob("*.json*")} == again


@pytest.mark.parametrize("form", ["dpo", "kto"])
def test_trl_and_llama_factory_find_their_columns(form: str, refused: Path, load: Callable) -> None:  # noqa: F811
    written = export([refused], form)
    count = sum(written.values())
    folder = next(iter(written)).parent
    kinds = {"messages": list, "images": list, "chosen": dict, "rejected": dict, "kto_tag": bool}
    for file in written:
        trl = load("json", {"train": file})["train"]
        columns = {"dpo": {"prompt", "chosen", "rejected"}, "kto": {"prompt", "completion", "label"}}[form]
        assert set(trl.column_names) == {"id", "conversation", "images", *columns}
        assert all(row["prompt"][-1]["role"] == "user" for row in trl)
    listed = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    found = []
    for told in listed.values():
        rows = json.loads((folder / told["file_name"]).read_text(encoding="utf-8"))
        found += rows
        assert told["formatting"] == "sharegpt" and bool(told.get("ranking")) == (form == "dpo")
        assert load("json", {"train": folder / told["file_name"]})["train"].num_rows == len(rows)
        for row in rows:
            assert all(isinstance(row[name], kinds[what]) for what, name in told["columns"].items())
            roles = [turn["from"] for turn in row["conversations"]]
            assert roles == (["human", "gpt"] * len(roles))[: len(roles)] and roles[-1] == ("human" if form == "dpo" else "gpt")
            assert sum(turn["value"].count("<image>") for turn in row["conversations"]) == 1
    assert len(found) == count
    if form == "kto":
        assert sum(row["label"] for row in found) * 2 == count


def test_a_reviewer_s_fix_is_preferred_and_what_was_rejected_never(refused: Path) -> None:
    entries = lines(refused / "conversations.jsonl")[:2]
    hashes = [decisions.conversation_hash(entry["conversations"]) for entry in entries]
    old = entries[0]["conversations"][1]["value"]
    ids = [{"id": entry["id"], "sha256": digest} for entry, digest in zip(entries, hashes, strict=True)]
    fix = {"turn": 1, "part": "answer", "text": f"{old} That is all."}
    decisions.append(refused / decisions.FILE, decisions.new_decision([], "Eve", "fix", **ids[0], **fix))
    decisions.append(refused / decisions.FILE, decisions.new_decision([], "Eve", "reject", **ids[1]))
    export([refused], "orpo")
    reasons = lines(refused / "exports" / "orpo" / "lineage.jsonl")
    assert entries[1]["id"] not in {reason["conversation"] for reason in reasons}
    (fixed,) = [reason for reason in reasons if reason["source"] == "review"]
    (row,) = [row for row in lines(refused / "exports" / "orpo" / "train.jsonl") if row["id"] == fixed["id"]]
    assert (text(row["chosen"][0]), text(row["rejected"][0])) == (f"{old} That is all.", old)


@pytest.mark.parametrize(("dataset", "forms"), [("ODIR", {"open", "letters"}), ("IDRiD_seg", {"letters"})])
def test_closed_questions_give_pairs_of_which_no_text_tells_the_right_one(
    dataset: str, forms: set[str], tmp_path: Path
) -> None:
    Job.load(dataset=dataset, track="vqa", cannot_tell=0.2, out_dir=str(tmp_path / "run")).run()
    written = export([tmp_path / "run"], "dpo", planted="0.3")
    assert any("no fault is planted in closed questions" in note for note in written.notes)
    out = tmp_path / "run" / "exports" / "dpo"
    reasons = lines(out / "lineage.jsonl")
    rows = {row["id"]: row for path in written for row in lines(path)}
    told = {line["id"]: line for line in lines(tmp_path / "run" / "lineage.jsonl")}
    assert rows.keys() == {reason["id"] for reason in reasons} and {reason["source"] for reason in reasons} == {"option"}
    blocks: dict[int, list[Counter]] = {}
    for reason in reasons:
        turn, row = reason["turn"] - 1, rows[reason["id"]]
        asked = told[reason["conversation"]]["questions"][turn]
        right, wrong = text(row["chosen"][0]), text(row["rejected"][0])
        assert (right, wrong) == (reason["before"], reason["after"]) and right != wrong and "annot tell" not in wrong
        assert reason["denied_by"] or reason["unknown_because"]
        (other,) = [each for each in told[reason["right_of"]]["questions"] if each["block"] == asked["block"]]
        assert sorted(other["right"]) != sorted(asked["right"]), "what the labels of the image say is never refused"
        if asked["form"] == "letters":
            said, place = (_chosen(answer, asked["options"]) for answer in (right, wrong))
            assert (said, place) == (set(asked["right"]), set(other["right"]))
            assert (len(right) < 3) == (len(wrong) < 3) or len(asked["right"]) != len(other["right"])
        for counter, side in zip(blocks.setdefault(asked["block"], [Counter(), Counter()]), (asked, other), strict=True):
            counter["; ".join(sorted(side["right"]))] += 1
        if asked["kind"] == "eye":
            assert {right, wrong} == {"Left.", "Right."}
    whole = [(right, wrong) for right, wrong in blocks.values() if not any("annot tell" in option for option in right)]
    assert len(whole) > 1 and all(right == wrong for right, wrong in whole), "each answer is right once and wrong once"
    assert forms <= {asked["form"] for line in told.values() for asked in line["questions"]}


def _chosen(answer: str, options: list[str]) -> set[str]:
    """The options that an answer of letters names."""
    return {options["ABCDEFGH".index(letter)] for letter in re.findall(r"\b([A-H])\b(?:\.|,|$)", answer)}


def test_what_gives_no_pairs_is_said(tmp_path: Path) -> None:
    Job.load(dataset="APTOS", limit=1, out_dir=str(tmp_path / "run")).run()
    with pytest.raises(UserError, match=r"0 pairs; no draft was refused; --planted 0.3 plants faults"):
        export([tmp_path / "run"], "dpo")
    with pytest.raises(UserError, match=r"--planted is for pairs: --form dpo, orpo, kto"):
        export([tmp_path / "run"], "chat", planted="0.1")
    for wrong in ("2", "a third", "", "number=-1"):
        with pytest.raises(UserError, match=r"share of the conversations from 0 to 1, such as 0.3, not"):
            planted_faults.shares(wrong)
    with pytest.raises(UserError, match=r"unknown kind of planted fault 'eye'; known: number, side, diagnosis"):
        planted_faults.shares("eye=0.2")


# --- a reward --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", ["ODIR", "IDRiD_seg"])
def test_a_reward_is_higher_for_the_right_answer(dataset: str) -> None:
    job = Job.load(dataset=dataset, limit=3)
    for case in map(job.case, job.images[:3]):
        again = Case.from_json(case.to_json())
        assert again == replace(case, path=Path(case.path.name)) and again.description == case.description
        asked = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "<image>\nWhich eye is it, and what is seen?"},
        ]
        side, other = ("left", "right") if case.eye == "left" else ("right", "left")
        told = f"It is the {side} eye."
        answers = [told, f"<think>The {other} eye?</think>{told}", told.replace(side, other), "", "I see vitreous haemorrhage."]
        chat = [[{"role": "assistant", "content": [{"type": "text", "text": text}]}] for text in answers]
        rewards = check.reward([asked] * 5, chat, case=[case.to_json()] * 5, id=["a"] * 5)
        assert rewards == check.reward(["Which eye is it, and what is seen?"] * 5, answers, case=[case] * 5)
        assert rewards[0] == rewards[1] and rewards[3] == 0 and rewards[4] == -1
        if case.eye:
            assert rewards[0] == 1 and rewards[2] == -1


def test_a_reward_without_its_column_says_so() -> None:
    with pytest.raises(UserError, match=r"needs a column 'case'.* found 0 for 1"):
        check.reward(["Which eye?"], ["The left one."], image=["a.png"])
    with pytest.raises(UserError, match=r"'a.png' is no case as Case.to_json writes it"):
        check.reward(["Which eye?"], ["The left one."], case=["a.png"])
