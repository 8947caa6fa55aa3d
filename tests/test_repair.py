"""Errors go back to the teacher once, what remains is rejected with its reasons, and a newer check can look again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_server import FakeServer, completion
from hallucinator import Hallucinator

from retinal_lib import Job, UserError
from retinal_lib.ask import attempts as settle
from retinal_lib.check import conversation_check
from retinal_lib.check.findings import WARNING
from retinal_lib.slots import slot_check
from retinal_lib.slots.sheet import FactSheet
from retinal_lib.teacher import offline

WRONG = (
    "User: What is this?\nAssistant: A retinal detachment [d1].\nUser: Bad?\nAssistant: Unknown.\nUser: All?\nAssistant: Yes."
)
RIGHT = "User: What is this?\nAssistant: An eye [d1].\nUser: Ill?\nAssistant: Unknown.\nUser: All?\nAssistant: Yes."


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def truths(dataset: str = "ODIR") -> dict[FactSheet, str]:
    """By the sheet of each image of a drawn sample, a true conversation with slots."""
    sheets = [planned.request.sheet for planned in Job.load(dataset=dataset).plan() if planned.request]
    return {sheet: offline.compose(sheet, "instruction", None, 0) for sheet in sheets}


def mending(wrong: int) -> Callable:
    """A script that answers each image wrongly so many times."""
    return lambda number, body: completion(WRONG if len(body["messages"]) // 2 <= wrong else RIGHT)


def test_an_error_is_put_to_the_teacher_in_one_more_turn(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    server.script = mending(1)
    outcome = ask(limit=2)
    assert outcome.counts["accepted"] == 2 and len(server.asked) == 4
    first, second = (body["messages"] for body in sorted(server.asked, key=lambda body: len(body["messages"]))[::3])
    assert [m["role"] for m in second] == ["system", "user", "assistant", "user"] and second[2]["content"] == WRONG
    assert "turn 1, answer: the answer says that 'retinal detachment' is present" in second[3]["content"] and len(first) == 2
    assert (outcome.checks.repaired, outcome.checks.rejected) == (2, 0)
    errors = {kind: n for kind, n in outcome.checks.before.items() if kind[1] == "error"}
    assert errors == {("unsupported_disease", "error"): 2} and not {s for _, s in outcome.checks.after} & {"error"}
    lineage = lines(tmp_path / "run" / "lineage.jsonl")[0]
    assert (
        lineage["attempt"] == 2
        and lineage["repairs"][0]["attempt"] == 1
        and {f["severity"] for f in lineage["findings"]} == {"warning"}
    )
    assert "unsupported_disease" in [f["kind"] for f in lineage["repairs"][0]["findings"]] and lineage["model_returned"] == "m"


@pytest.mark.parametrize(("repairs", "asked", "accepted"), [(0, 1, 0), (1, 2, 0), (2, 3, 1), (3, 3, 1)])
def test_findings_go_back_so_many_times(
    repairs: int, asked: int, accepted: int, ask: Callable, server: FakeServer, tmp_path: Path
) -> None:
    server.script = mending(2)
    outcome = ask(limit=1, max_repairs=repairs)
    assert (len(server.asked), outcome.counts["accepted"]) == (asked, accepted)
    if not accepted:
        failure = lines(tmp_path / "run" / "failures.jsonl")[0]
        assert failure["state"] == "rejected" and failure["reason"] == "the checks found unsupported_disease"
        assert any(f["text"].startswith("the answer says that 'retinal detachment' is present") for f in failure["findings"])
    assert ask(limit=1, max_repairs=repairs).asked == 0, "all replies are kept"


def test_useless_replies_count_apart_from_repairs(ask: Callable, server: FakeServer) -> None:
    said = ["no conversation", WRONG, "again none", RIGHT]
    server.script = lambda number, body: completion(said[number - 1])
    assert ask(limit=1).counts["accepted"] == 1 and len(server.asked) == 4


@pytest.mark.parametrize("slots", [True, False])
def test_a_hallucinating_teacher_leaves_no_planted_fault(
    slots: bool, ask: Callable, server: FakeServer, tmp_path: Path
) -> None:
    server.script = teacher = Hallucinator(truths(), 0.7, 0.4, slots)
    outcome = ask(limit=None)
    assert teacher.planted > 5 and outcome.checks.repaired > 0 and outcome.counts["accepted"] > 0
    assert teacher.wrong and not teacher.said_wrong(lines(tmp_path / "run" / "conversations.jsonl"))
    assert outcome.counts["accepted"] + outcome.counts["rejected"] == 13
    assert (outcome.checks.slotted, outcome.checks.free)[:: 1 if slots else -1] == (outcome.counts["accepted"], 0)


def test_a_repaired_run_is_made_anew_without_asking(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    server.script = Hallucinator(truths(), 0.7, 0.4)
    ask(limit=None)
    before = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "run").glob("*.json*")}
    assert ask(limit=None).asked == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "run").glob("*.json*")} == before


def test_checking_again_asks_nothing_and_says_what_changed(
    ask: Callable, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script = lambda number, body: completion(RIGHT)
    ask(limit=3)
    asked = len(server.asked)
    examine = slot_check.examine

    def stricter(turns: list, sheet: FactSheet, *more: object) -> slot_check.SlotChecked:
        read = examine(turns, sheet, *more)
        if sheet.case.eye == "left":
            finding = conversation_check.Finding("new_kind", "error", 1, (0, 2), "An eye is too little said")
            return read._replace(checked=read.checked._replace(findings=[finding, *read.checked.findings]))
        return read

    monkeypatch.setattr(settle.slot_check, "examine", stricter)
    outcome = ask(limit=3, mode="recheck")
    changed = lines(tmp_path / "run" / "changes.jsonl")
    assert len(server.asked) == asked and outcome.counts["rejected"] == len(changed) > 0
    assert {(c["before"], c["after"], c["why"]) for c in changed} == {("accepted", "rejected", "An eye is too little said")}
    assert f"{len(changed)} image" in outcome.summary and "changes.jsonl" in outcome.summary
    monkeypatch.undo()
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    again = ask(limit=3, mode="recheck")
    assert again.counts["rejected"] == 0 and {c["after"] for c in lines(tmp_path / "run" / "changes.jsonl")} == {"accepted"}
    assert "no image changed" in ask(limit=3, mode="recheck").summary and not (tmp_path / "run" / "changes.jsonl").exists()


def test_warnings_stay_with_the_sample(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    server.script = lambda number, body: completion(RIGHT)
    outcome = ask(limit=1)
    kept = lines(tmp_path / "run" / "lineage.jsonl")[0]["findings"]
    assert kept and {f["severity"] for f in kept} == {WARNING} and outcome.counts["accepted"] == 1
    assert "to look at in lineage.jsonl" in outcome.summary and len(outcome.checks.table) == len(outcome.checks.after)


def test_each_number_s_cell_stands_in_the_lineage(tmp_path: Path) -> None:
    job = Job.load(dataset="ODIR", out_dir=str(tmp_path), limit=4)
    job.run()
    numbers = []
    for entry, kept in zip(lines(tmp_path / "conversations.jsonl"), lines(tmp_path / "lineage.jsonl"), strict=True):
        answers = [part["value"] for part in entry["conversations"][1::2]]
        assert kept["traces"] and kept["page"] == "ODIR" and kept["checks"] == conversation_check.VERSION
        for trace in kept["traces"]:
            assert answers[trace["turn"] - 1][slice(*trace["span"])] == trace["said"] and trace["file"]
        numbers += [t for t in kept["traces"] if t["is"] == "number" and t["column"] == "CDR_vertical"]
    assert numbers and all(abs(float(t["said"].removeprefix("about ")) - t["value"]) < 0.0051 for t in numbers)


def test_in_batches_findings_go_back_with_the_next_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fake_batches import FakeBatches
    from fake_server import running

    def answer(name: str, body: dict) -> str:
        return WRONG if len(body["messages"]) == 2 else RIGHT

    with running(FakeBatches(line=answer)) as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
        job = {"dataset": "ODIR", "teacher": "openai", "model": "m", "limit": 3, "mode": "batch", "out_dir": str(tmp_path)}
        outcome = None
        for _ in range(20):
            outcome = Job.load(**job).run()
            if outcome.state == "complete":
                break
        assert outcome.state == "complete" and outcome.counts["accepted"] == 3 and outcome.checks.repaired == 3


def test_there_must_be_a_run_to_check_again(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no run in .* to check again"):
        Job.load(dataset="ODIR", mode="recheck", out_dir=str(tmp_path / "none")).run()
    assert not (tmp_path / "none").exists()


def test_lineage_names_files_as_they_lie_below_the_dataset(tmp_path: Path) -> None:
    Job.load(dataset="ODIR", out_dir=str(tmp_path), limit=2).run()
    for kept in lines(tmp_path / "lineage.jsonl"):
        assert not any(Path(trace["file"]).is_absolute() for trace in kept["traces"])
