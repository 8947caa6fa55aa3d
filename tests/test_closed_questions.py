"""Closed questions: true, of facts alone, and of no use to a reader who does not see the picture."""

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from retinal_lib.closed_questions import references, run_questions, wording
from retinal_lib.closed_questions.blind_reader import MOST_ABOVE, BlindReport
from retinal_lib.closed_questions.known import conditions_of, touched
from retinal_lib.closed_questions.wording import CANNOT, KINDS, Options
from retinal_lib.closed_questions.writing import NONE, Asked
from retinal_lib.dataset import page
from retinal_lib.dataset.base import BaseDescription, load_dataset
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.dataset.label_kinds import denied
from retinal_lib.evaluate import answer_reader
from retinal_lib.facts import Case, Fact, Source


@cache
def _cases(name: str, root: Path) -> tuple[BaseDescription, list[tuple[Case, tuple[Fact, ...]]]]:
    data = load_dataset(name, root)
    return data, [(data.describe(image), denied(data.page.facts, data.image(image))) for image in data.images]


def _asked(name: str, drawn: dict[str, Path], **options: object) -> list[tuple[Case, Asked]]:
    """All questions of a drawn dataset, each with its case, to which the denials of its cells are added."""
    data, cases = _cases(name, drawn[name])
    planned = run_questions.plan(data, cases, Options(**options))
    return [(case, each) for case, _ in cases for each in planned.asked(case.id)]


@pytest.mark.parametrize("name", page.names())
def test_a_reader_without_the_picture_is_at_chance(name: str, drawn: dict[str, Path]) -> None:
    for seed in (0, 1):
        asked = [each for _, each in _asked(name, drawn, seed=seed)]
        report = BlindReport.of(asked)
        assert report.scores and all(score.above <= MOST_ABOVE for score in report.scores), report.text
        yes_no = report.balance.get("yes_no", {})
        assert yes_no.get("yes") == yes_no.get("no")
        blocks = {each.block: [other for other in asked if other.block == each.block] for each in asked}
        for block in blocks.values():
            right = [
                each.turn.answer if each.form == "open" else tuple(sorted(each.options[i] for i in each.right))
                for each in block
            ]
            assert len(set(map(str, right))) == len(block) == block[0].images > 1, "no equal labels"
            if block[0].same_words:
                assert len({each.turn.question for each in block}) == 1
        assert sum(CANNOT in [each.options[i] for i in each.right] for each in asked) <= max(1, 0.1 * len(asked))


@pytest.mark.parametrize("name", page.names())
def test_what_is_wrong_is_denied_and_what_is_right_is_told(name: str, drawn: dict[str, Path]) -> None:
    _, cases = _cases(name, drawn[name])
    told = {case.id: {*case.facts, *no} for case, no in cases}
    for case, each in _asked(name, drawn):
        assert set(each.facts) <= told[case.id], "held by facts of this image, with their cells"
        right, wrong = [each.options[i] for i in each.right], [o for i, o in enumerate(each.options) if i not in each.right]
        assert each.facts or CANNOT in right
        assert all(fact.scope != "patient" and fact.aspect != "patient" for fact in each.facts)
        said = {fact.words for fact in each.facts}
        poor = any(fact.words in ("not gradable", "reject") for fact in case.about("quality"))
        assert CANNOT in right or each.kind in ("eye", "quality") or not poor, "a rejected image shows nothing else"
        if CANNOT in right:
            rejected = any(fact.aspect == "quality" for fact in each.facts)
            assert rejected or "graders disagree" in each.why
        elif each.kind in ("choice", "choices") and each.form == "letters" and "suspected or not" not in each.subject:
            graded = {fact.words for fact in case.facts if fact.unit}
            normal = any(fact.name == "normal" for fact in each.facts)
            for option in set(wrong) - {CANNOT, NONE}:
                zero = any(fact.unit == option and fact.value == 0 for fact in each.facts)
                denies = {c for words in said if words.startswith("no ") for c in (words[3:], *conditions_of(words[3:])[0])}
                denies = denies & touched(option)  # no hypertension, no hypertensive retinopathy
                assert normal or zero or denies or graded & said, (option, said)
                assert option not in {fact.words for fact in case.about("disease")}
        elif each.kind == "grade":
            assert len({fact.value for fact in each.facts}) == 1
        elif each.kind == "measurement" and each.form == "letters":
            (low, high), value = map(float, right[0].split(" to ")), float(each.facts[0].value)
            assert low < value < high
            assert all(value <= float(o.split(" to ")[0]) or value >= float(o.split(" to ")[1]) for o in wrong if o != CANNOT)


def test_answers_are_read_by_the_evaluation(drawn: dict[str, Path]) -> None:
    read = Counter()
    for name in ("IDRiD", "EyeQ", "IDRiD_seg", "mBRSET"):
        for _, each in _asked(name, drawn):
            answer, right = each.turn.answer, [each.options[i] for i in each.right]
            if each.form == "letters" or each.kind in ("yes_no", "choices"):
                continue
            if CANNOT in right:
                assert answer_reader.number(answer).state == "abstained"
            elif each.kind == "grade":
                assert answer_reader.grade(answer, each.facts[0].unit, range(5)).value == each.facts[0].value
            elif each.kind == "eye":
                assert answer_reader.side(answer).value == right[0]
            elif each.kind == "quality":
                assert wording.words()["quality"][answer_reader.quality(answer).value] == right[0]
            elif each.kind in ("measurement", "count"):
                unit = each.facts[0].unit if each.kind == "measurement" else ""
                assert answer_reader.number(answer, unit).value == pytest.approx(each.facts[0].value, rel=0.01)
            elif each.kind == "box":
                assert len(answer_reader.boxes(answer).value) == len(each.facts)
            read[each.kind] += 1
    assert {"eye", "quality", "measurement", "count", "box"} <= set(read)


def test_questions_follow_seed_kinds_and_number(drawn: dict[str, Path]) -> None:
    first, same, other = ([(c.id, a.turn) for c, a in _asked("IDRiD", drawn, seed=seed)] for seed in (0, 0, 1))
    assert first == same != other
    assert {each.kind for _, each in _asked("MAPLES_DR", drawn, kinds=("count", "box"))} == {"count", "box"}
    assert max(Counter(case.id for case, _ in _asked("IDRiD", drawn, per_image=2)).values()) == 2
    assert not any(CANNOT in each.options for _, each in _asked("EyeQ", drawn, cannot_tell=0.0))
    data, cases = _cases("EyeQ", drawn["EyeQ"])
    for part in (cases[:5], cases[5:]):  # chunks of a cluster: each is balanced in itself
        balance = BlindReport.of(run_questions.plan(data, part, Options()).all).balance
        assert balance["eye"]["left"] == balance["eye"]["right"]
    for share in (0.0, 1.0):
        assert all(each.same_words == bool(share) for _, each in _asked("IDRiD", drawn, swapped=share))
    for kind in wording.words()["questions"]:
        assert (
            not set(wording.phrasings(kind, 5, exam=True)) & set(wording.phrasings(kind, 5, exam=False)) or kind == "modality"
        )
    assert set(KINDS) >= {each.kind for _, each in _asked("RFMiD", drawn)}


def test_graders_who_disagree_and_their_quality() -> None:
    """What graders call not gradable is so whatever the number in its cell; where they disagree, nobody can tell."""
    cell = Source("labels.csv", 2, "quality")
    poor = Fact("quality", "ungradable", 0, "graders", "graders graded the image quality as not gradable", cell, "not gradable")
    case = Case("mine", "1", "1.png", Path("1.png"), "all", None, None, (poor,))
    assert [level for _, level, _ in references.quality(case, None)] == [2]
    assert not list(references.quality(replace(case, facts=(poor._replace(name="quality", words="gradable"),)), None))
    grades = [Fact("disease", "grade", n, "ICDR", f"grade {n}", cell, scales()["ICDR"]["levels"][n]) for n in (0, 2)]
    known_ = [replace(case, id=str(n), facts=(grade,)) for n, grade in enumerate(grades * 6)]
    disputed = "the grade of diabetic retinopathy is not known: the graders disagree: labels.csv, row 9"
    empty = "the grade of diabetic retinopathy is not known: labels.csv, row 8, column 'grade' is empty"
    left_open = [replace(case, id=name, facts=(), missing=(why,)) for name, why in (("disputed", disputed), ("empty", empty))]
    data = SimpleNamespace(page=SimpleNamespace(facts=[]))
    planned = run_questions.plan(
        data, [(each, ()) for each in (*known_, *left_open)], Options(kinds=("grade",), cannot_tell=0.5)
    )
    (asked,) = planned.asked("disputed")
    assert [asked.options[i] for i in asked.right] == [CANNOT] and asked.why == disputed and not planned.asked("empty")


def test_a_run_writes_questions_with_their_lineage(drawn: dict[str, Path], tmp_path: Path) -> None:
    from retinal_lib import Job, write_card
    from retinal_lib.errors import UserError

    given = {"dataset": "ODIR", "track": "vqa", "data_root": str(drawn["ODIR"]), "out_dir": str(tmp_path / "run")}
    outcome = Job.load(**given).run()
    outcome.require()
    assert re.search(r"all: \d+ questions: (\d+), (\d+), (\d+), (\d+)", outcome.summary)
    text = (tmp_path / "run" / "conversations.jsonl").read_text()
    again = Job.load(**given).run()
    assert (tmp_path / "run" / "conversations.jsonl").read_text() == text and again.counts == outcome.counts
    lines = [json.loads(line) for line in (tmp_path / "run" / "lineage.jsonl").read_text().splitlines()]
    for entry, line in zip(map(json.loads, text.splitlines()), lines, strict=True):
        assert len(line["questions"]) == len(entry["conversations"]) // 2
        assert {trace["turn"] for trace in line["traces"]} == set(range(1, len(line["questions"]) + 1))
    assert "## What can be guessed" in write_card(tmp_path / "run").read_text()
    Job.load(**given, separate=True).run().require()
    parts = [json.loads(line) for line in (tmp_path / "run" / "conversations.jsonl").read_text().splitlines()]
    assert all(len(part["conversations"]) == 2 for part in parts)
    assert len(parts) == sum(len(line["questions"]) for line in lines) == len({part["id"] for part in parts})
    Job.load(**given).run().require()
    assert (tmp_path / "run" / "conversations.jsonl").read_text() == text
    tried = Job.load(**given | {"out_dir": str(tmp_path / "dry")}, dry_run=True).run()
    assert "closed questions" in tried.summary and not (tmp_path / "dry" / "conversations.jsonl").exists()
    for wrong, says in (
        ({"kinds": "yes_no,eyes"}, "kind of question"),
        ({"teacher": "openai", "model": "m"}, "asks no model; leave teacher out"),
        ({"mode": "batch"}, "asks no model; leave mode out"),
        ({"kinds": ""}, "none is named; expected some of yes_no"),
        ({"track": "alignment", "per_image": 3}, "per_image belongs to the vqa track"),
    ):
        with pytest.raises(UserError, match=says):
            Job.load(**given | wrong)


RUN = """
import os, signal, sys
from retinal_lib import Job
from retinal_lib.ask.vault import Vault
save, left = Vault.save_reply, [int(sys.argv[2])]
async def save_or_die(self, reply):
    await save(self, reply)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
Vault.save_reply = save_or_die
Job.load(dataset="EyeQ", track="vqa", data_root=sys.argv[1], out_dir=sys.argv[3]).run()
"""


def test_a_killed_run_goes_on_with_the_same_questions(drawn: dict[str, Path], tmp_path: Path) -> None:
    from retinal_lib import Job

    given = {"dataset": "EyeQ", "track": "vqa", "data_root": str(drawn["EyeQ"])}
    Job.load(**given, out_dir=str(tmp_path / "whole")).run().require()
    line = [sys.executable, "-c", RUN, str(drawn["EyeQ"]), "4", str(tmp_path / "killed")]
    assert subprocess.run(line, capture_output=True).returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "conversations.jsonl").exists()
    Job.load(**given, out_dir=str(tmp_path / "killed")).run().require()
    for name in ("conversations.jsonl", "lineage.jsonl", "manifest.json"):
        assert (tmp_path / "killed" / name).read_text() == (tmp_path / "whole" / name).read_text()
