"""reviews.jsonl: lines that outlive crashes, undo, merging."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retinal_lib import UserError
from retinal_lib.review import decisions
from retinal_lib.review.decisions import Decision, Verdict

TURNS = [
    {"from": "human", "value": "What is it?\n<image>"},
    {"from": "gpt", "value": "An eye."},
    {"from": "human", "value": "Is it ill?"},
    {"from": "gpt", "value": "No."},
]


def made(what: str, number: int = 0, who: str = "Ada", **said: object) -> Decision:
    when = f"2026-01-01T00:00:00.{number:06d}+00:00"
    return Decision(f"{who}{number}", "one", "hash", who, when, what, **said)


def standing(*given: Decision) -> Verdict:
    return decisions.verdicts(given, {"one": "hash"}).get("one", {}).get("Ada", Verdict())


# --- the file --------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from retinal_lib.review import decisions
file, who = Path(sys.argv[1]), sys.argv[2]
known = []
while True:
    known.append(decisions.new_decision(known, who, "comment", id="one", sha256="hash", text="words " * 200))
    decisions.append(file, known[-1])
    print(known[-1].key, flush=True)
"""


def test_what_was_acknowledged_outlives_kill_9(tmp_path: Path) -> None:
    file, told = tmp_path / decisions.FILE, []
    for _ in range(4):
        environment = os.environ | {"PYTHONPATH": str(Path(decisions.__file__).parents[2])}
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, file, who], stdout=subprocess.PIPE, text=True, env=environment)
            for who in ("Ada", "Bob")
        ]
        told += [writer.stdout.readline().strip() for writer in writers]
        time.sleep(random.uniform(0.05, 0.3))
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            told += writer.communicate()[0].split("\n")[:-1]
    found, broken = decisions.read(file)
    assert set(told) <= {decision.key for decision in found} and len(told) > 8
    assert len(broken) <= 8, "at most the line that each was writing"


def test_a_line_cut_short_costs_nothing_else(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    for number, text in enumerate(("first", "zweitens äöü 眼", "third")):
        decisions.append(whole, made("comment", number, text=text))
    content = whole.read_bytes()
    file = tmp_path / decisions.FILE
    for cut in range(len(content) + 1):
        file.write_bytes(content[:cut])
        before, _ = decisions.read(file)
        decisions.append(file, made("accept", 9))
        after, broken = decisions.read(file)
        assert [d.key for d in after] == [*[d.key for d in before], "Ada9"] and len(broken) <= 1
        assert len(before) >= content[:cut].count(b"\n")


def test_strange_lines_are_counted_and_left(tmp_path: Path) -> None:
    file = tmp_path / decisions.FILE
    decisions.append(file, made("accept"))
    strange = [b"[]", b"{}", b'{"what": "accept"}', b"\xff\xfe", b"nonsense", b'"text"']
    line = file.read_bytes().strip()
    strange += [
        line.replace(b'"accept"', b'"explode"'),
        line.replace(b"2026-01-01T", b"yesterday"),
        line[:-1] + b', "turn": "x"}',
    ]
    with file.open("ab") as lines:
        lines.write(b"\n".join([*strange, b"", line[:-1] + b', "of_a_later_version": 1}']))
    found, broken = decisions.read(file)
    assert (len(found), broken) == (1, list(range(2, 2 + len(strange))))
    with pytest.raises(UserError, match=f"line 2 and {len(strange) - 1} other lines: no decision can be read there"):
        decisions.read_whole(file)


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / decisions.FILE).mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        decisions.append(tmp_path / decisions.FILE, made("accept"))
    with pytest.raises(UserError, match="cannot be read"):
        decisions.read(tmp_path / decisions.FILE)
    assert decisions.read(tmp_path / "none") == ([], [])


def test_later_decisions_are_later_whatever_the_clock_says() -> None:
    ahead = made("accept").__class__("k", "one", "hash", "Ada", "2999-01-01T00:00:00.000000+00:00", "accept")
    known = [ahead]
    for _ in range(3):
        known.append(decisions.new_decision(known, "Ada", "reject", id="one", sha256="hash"))
    assert [d.when for d in known] == sorted({d.when for d in known})
    assert decisions.new_decision(known, "Bob", "accept", id="one", sha256="hash").when < ahead.when


# --- what stands -----------------------------------------------------------------------------------------------------


def test_the_latest_verdict_counts() -> None:
    assert standing().state == "unreviewed"
    assert standing(made("accept", 1), made("reject", 2, text="no disc")) == Verdict("rejected", {}, ["no disc"])
    assert standing(made("reject", 2), made("accept", 3)).state == "accepted"
    assert standing(made("comment", 1, text="hm")) == Verdict("unreviewed", {}, ["hm"])
    fix = made("fix", 1, turn=2, part="answer", text="Yes.")
    assert standing(fix, made("accept", 2)) == Verdict("fixed", {(2, "answer"): "Yes."}, [])
    assert standing(fix, made("reject", 2)).state == "rejected"
    assert decisions.verdicts([made("accept")], {"one": "another"}) == {}, "the conversation changed since"


def test_reviewers_who_differ_dispute() -> None:
    accepted, rejected = Verdict("accepted"), Verdict("rejected")
    one, other = Verdict("fixed", {(1, "answer"): "a"}), Verdict("fixed", {(1, "answer"): "b"})
    assert decisions.consensus([]).state == "unreviewed"
    assert decisions.consensus([accepted, Verdict(comments=["hm"])]) == Verdict("accepted", {}, ["hm"])
    assert decisions.consensus([rejected, Verdict("rejected", one.fixes)]).state == "rejected"
    for pair in ([accepted, rejected], [accepted, one], [one, other], [one, rejected]):
        assert decisions.consensus(pair).state == decisions.consensus(pair[::-1]).state == "disputed"


def test_fixes_are_put_in_and_keep_the_form() -> None:
    assert decisions.with_fixes(TURNS, {(1, "question"): "And this?"})[0]["value"] == "And this?\n<image>"
    assert decisions.with_fixes(TURNS, {(2, "answer"): "Yes."})[3]["value"] == "Yes."
    assert TURNS[3]["value"] == "No.", "the run's own words stay"
    for fixes in (
        {(3, "answer"): "x"},
        {(0, "answer"): "x"},
        {(1, "middle"): "x"},
        {(1, "answer"): " "},
        {(2, "answer"): "<image>"},
    ):
        with pytest.raises(UserError):
            decisions.with_fixes(TURNS, fixes)


acts = st.one_of(
    st.tuples(st.sampled_from(["accept", "reject"]), st.just("")),
    st.tuples(st.just("comment"), st.text(min_size=1, max_size=3)),
    st.tuples(st.just("fix"), st.sampled_from(["a", "b"])),
)


@given(st.lists(st.one_of(acts, st.just(("undo", ""))), max_size=25))
def test_undo_gives_back_what_was(steps: list[tuple[str, str]]) -> None:
    lines: list[Decision] = []
    history = [standing()]
    stack: list[Decision] = []
    for number, (what, text) in enumerate(steps):
        if what == "undo":
            if not stack:
                continue
            lines.append(made("undo", number, undoes=stack.pop().key))
            history.pop()
        else:
            turn = {"turn": 1, "part": "answer"} if what == "fix" else {}
            lines.append(made(what, number, text=text, **turn))
            stack.append(lines[-1])
            history.append(standing(*lines))
        assert standing(*lines) == history[-1]


def test_nobody_undoes_for_another() -> None:
    theft = made("undo", 2, who="Bob", undoes="Ada1")
    assert standing(made("accept", 1), theft).state == "accepted"


@settings(max_examples=40)
@given(st.data())
def test_merging_is_the_same_in_any_order(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    who = st.sampled_from(["Ada", "Bob", "Cyd"])
    steps = data.draw(st.lists(st.tuples(who, acts), max_size=12))
    lines = [
        made(what, number, who=name, text=text, **({"turn": 1, "part": "answer"} if what == "fix" else {}))
        for number, (name, (what, text)) in enumerate(steps)
    ]
    folder = tmp_path_factory.mktemp("merge")
    files = [folder / str(i) for i in range(3)]
    for file in files:
        file.touch()
    for line in lines:  # each lies in one file at least
        for file in data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=3, unique=True)):
            decisions.append(file, line)
    order = data.draw(st.permutations(files))
    assert decisions.merge(files, folder / "all") == decisions.merge(order, folder / "other") == len(lines)
    assert (folder / "all").read_bytes() == (folder / "other").read_bytes()
    decisions.merge(files[:2], folder / "two")
    decisions.merge([folder / "two", files[2], folder / "two"], folder / "two")
    assert (folder / "two").read_bytes() == (folder / "all").read_bytes()
    hashes = {"one": "hash"}
    assert decisions.verdicts(decisions.read(folder / "all")[0], hashes) == decisions.verdicts(lines, hashes)


def test_merging_refuses_what_it_would_lose(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        decisions.merge([tmp_path / "none"], tmp_path / "all")
    (tmp_path / "torn").write_text("{")
    with pytest.raises(UserError, match="torn, line 1: no decision can be read there"):
        decisions.merge([tmp_path / "torn"], tmp_path / "all")
    assert not (tmp_path / "all").exists()
