"""A second reader: its verdicts, its entrance sample, and what a run makes of them, in direct and batch mode."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from fake_batches import FakeBatches
from fake_server import FakeServer, completion, error
from hypothesis import given
from hypothesis import strategies as st

from retinal_lib import Job, UserError
from retinal_lib.export.card import write_card
from retinal_lib.reader import entrance, verdicts
from retinal_lib.reader.verdicts import SPEC, Verdict
from retinal_lib.review import sample_html
from retinal_lib.review.review import Review
from retinal_lib.run import settings
from retinal_lib.run.run_files import read_manifest
from retinal_lib.teacher import cost

TOLD = "User: What is this?\nAssistant: It is an eye. It is seen well.\n"
TOLD += "User: Ill?\nAssistant: Unknown.\nUser: All?\nAssistant: Yes."
PLANTED = {page.request.sentences[number - 1].text for page in entrance.pages() for number in page.planted}
SAMPLE = {sentence.text for page in entrance.pages() for sentence in page.request.sentences}
VERDICTS = {"supported", "not supported", "not addressed"}


def is_reading(body: dict) -> bool:
    return body["messages"][0]["content"] == SPEC["system"]


def verdict_lines(body: dict, doubts: Callable[[str], bool]) -> str:
    """A verdict on each numbered sentence of a request; those of the entrance sample get the true one."""
    text = body["messages"][1]["content"]
    first = re.search(r"^Facts:\n(\w+)", text)[1]
    lines = []
    for number, sentence in re.findall(r"^(\d+)\. (?:Question: )?(.+)$", text.partition("Conversation:")[2], re.MULTILINE):
        wrong = sentence in PLANTED if sentence in SAMPLE else doubts(sentence)
        lines.append(f"{number}. {'not supported' if wrong else 'supported'} [{first}]")
    return "\n".join(lines)


def reader(doubts: Callable[[str], bool] = lambda sentence: False) -> Callable:
    """A server's script: every teacher's reply is sound, and a reader doubts these sentences."""
    return lambda number, body: completion(verdict_lines(body, doubts) if is_reading(body) else TOLD)


@pytest.fixture
def read(tmp_path: Path) -> Callable:
    """Runs ODIR's sample with a second reader that reads every sample; retries wait no time."""

    def run(**changes: object) -> object:
        given = {"dataset": "ODIR", "teacher": "openai", "model": "m", "max_repairs": 0, "limit": 3}
        changes = {"reader": "openai", "reader_share": 1.0, "out_dir": tmp_path / "run"} | changes
        passed = {name: changes.pop(name) for name in list(changes) if name in settings.NOTEBOOK}
        made = settings.load(**given | passed)
        job = Job(made.model_copy(update={"batch": made.batch.model_copy(update={"poll_seconds": 0}), **changes}))
        for each in filter(None, (job.teacher, job.context.reader)):
            each.server.backoff = 0.0
        return job.run()

    return run


def lineage(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "run" / "lineage.jsonl").read_text(encoding="utf-8").splitlines()]


def readings(server: FakeServer) -> list[dict]:
    return list(filter(is_reading, server.asked))


# --- verdicts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("1. supported [v1]", ("supported", ("v1",))),
        ("  **1** – Supported by v1 and d1.", ("supported", ("v1", "d1"))),
        ("- Sentence 1: NOT SUPPORTED (v1, d1): the facts say 0.38", ("not supported", ("v1", "d1"))),
        ("| 1 | not_supported | |", ("not supported", ())),
        ('{"sentence": 1, "verdict": "not addressed", "facts": []}', ("not addressed", ())),
        ("1) supported {v1.count}", ("supported", ("v1",))),
        ("1. Question: not supported [v1]", ("not supported", ("v1",))),
        ("**Question 1**: not addressed", ("not addressed", ())),
        ("1. not supported - a new finding", ("not supported", ())),
        ("1. supported", None),  # by no fact
        ("1. supported [v9]", None),  # by a fact that was not given
        ("1. supported / not supported / not addressed", None),
        ("1. partly supported [v1]", None),
        ("1. not fully supported [v1]", None),
        ("1. yes", None),
        ("7. supported [v1]", None),  # of another sentence
        ("11. supported [v1]", None),
        ("1. supported [v1]\n1. not supported [v1]", None),
        ("", None),
    ],
)
def test_a_verdict_is_read_from_many_forms_and_never_guessed(line: str, verdict: tuple | None) -> None:
    read = verdicts.parse(line, [1, 2], ["v1", "d1"])
    assert read == ({1: Verdict(*verdict)} if verdict else {})


@given(st.text(), st.lists(st.sampled_from(["1. supported [v1]", "2. not supported", "1", "supported", "[", "²"])))
def test_any_reply_is_read(text: str, lines: list[str]) -> None:
    read = verdicts.parse("\n".join([text, *lines]), [1, 2], ["v1"])
    assert set(read) <= {1, 2} and {verdict.verdict for verdict in read.values()} <= VERDICTS


def test_every_word_of_an_answer_stands_in_one_sentence() -> None:
    answer = "Yes. The ratio is 0.38 (zone B, e.g. here); it is fine.\n- One\n- Two!  Dr. No said so"
    cut = verdicts._sentences(answer)
    assert [answer[slice(*span)] for span, _ in cut] == [text for _, text in cut]
    assert "".join("".join(text for _, text in cut).split()) == "".join(answer.split()) and len(cut) > 2


def numbers(text: str) -> list[float]:
    found = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]
    return found + [number * 100 for number in found if number < 1]


def test_the_entrance_sample_is_what_it_says() -> None:
    pages = entrance.pages()
    assert len(PLANTED) == sum(len(page.planted) for page in pages) == 48 and len(SAMPLE) == 106
    for page in pages:
        request = page.request
        assert all(f"{name} {text}" in request.message for name, text in request.facts.items())
        told = numbers(" ".join(request.facts.values()))
        for sentence in request.sentences:
            if sentence.number not in page.planted:
                assert all(any(abs(value - fact) <= 0.5 for fact in told) for value in numbers(sentence.text)), sentence


# --- a run --------------------------------------------------------------------------------------------------------------


def test_a_reader_that_agrees_leaves_no_doubt(read: Callable, server: FakeServer, tmp_path: Path) -> None:
    server.script = reader()
    outcome = read()
    outcome.require()
    pages = len(entrance.pages())
    assert outcome.counts["accepted"] == 3 and len(readings(server)) == pages + 3 and outcome.asked == pages + 6
    assert (
        "read 3 samples and doubts 0 of them" in outcome.summary
        and "48 of 48 planted sentences and questions (100%)" in outcome.summary
    )
    for line in lineage(tmp_path):
        said = line["second_reader"]
        assert said["used"] and [v["verdict"] for v in said["verdicts"]] == ["supported"] * 7 and said["model"] == "m"
        assert all(f["kind"] != "second_reader" for f in line["findings"])
    facts = readings(server)[-1]["messages"][1]["content"].partition("Conversation:")[0]
    assert "colour fundus photograph" in facts and "{" not in facts


def test_a_doubt_sends_a_sample_to_review_and_changes_no_state(read: Callable, server: FakeServer, tmp_path: Path) -> None:
    left = lambda body: reader(lambda s: "seen well" in s and "the left eye" in str(body))  # noqa: E731
    server.script = lambda number, body: left(body)(number, body)
    before = read(reader=None, limit=6)
    kept = (tmp_path / "run" / "conversations.jsonl").read_bytes()
    outcome = read(limit=6)
    assert outcome.counts == before.counts and (tmp_path / "run" / "conversations.jsonl").read_bytes() == kept
    doubted = [line for line in lineage(tmp_path) if line["findings"] and line["findings"][0]["kind"] == "second_reader"]
    assert 0 < len(doubted) < outcome.counts["accepted"]
    doubt = doubted[-1]["findings"][0]
    assert doubt["text"].startswith("the second reader doubts the sentence 'It is seen well.' (the facts: ")
    answer = json.loads(kept.splitlines()[0])["conversations"][1]["value"]
    assert answer[slice(*doubt["span"])] == "It is seen well." and doubt["severity"] == "warning" and doubt["turn"] == 1
    review = Review.load(dataset="ODIR", out_dir=str(tmp_path / "run"), reviewer="Ada").draw(1)
    first = review.chosen[: len(doubted)]
    assert {sample.id for sample in first} == {line["id"] for line in doubted} and len(review.chosen) == len(doubted) + 1
    assert set(review.rates["dataset"]) == {"ODIR", "ODIR, doubted", "all, weighted by size"}
    html = sample_html.conversation(review.item(first[0]))
    assert html.index("The second reader doubts the sentence") < html.index("What is this?")
    assert review.filter(finding="second_reader") == first
    card = write_card(tmp_path / "run").read_text(encoding="utf-8")
    assert f"doubts {len(doubted)} of them, which review shows first" in card


def test_nothing_is_asked_twice(read: Callable, server: FakeServer, tmp_path: Path) -> None:
    server.script = reader(lambda sentence: "well" in sentence)
    read()
    asked, before = len(server.asked), lineage(tmp_path)
    assert read().asked == 0 and len(server.asked) == asked and lineage(tmp_path) == before
    assert read(mode="recheck").asked == 0 and lineage(tmp_path) == before
    read(reader_model="another")
    assert {body["model"] for body in server.asked[asked:]} == {"another"} and len(server.asked) == asked + 13
    read(limit=4)
    assert len(server.asked) == asked + 13 + 2, "the entrance sample is asked once for a model"


def test_a_reader_that_fails_the_entrance_sample_is_not_used(read: Callable, server: FakeServer, tmp_path: Path) -> None:
    def always(verdict: str) -> Callable:
        """A reader that says the same of each sentence."""
        said = lambda body: re.sub("(not )?supported", verdict, verdict_lines(body, bool))  # noqa: E731
        return lambda number, body: completion(said(body) if is_reading(body) else TOLD)

    server.script = always("supported")
    outcome = read()
    told = read_manifest(tmp_path / "run")["second_reader"]
    assert (told["used"], told["entrance"]["recall"], told["samples"]) == (False, 0.0, 3)
    card = write_card(tmp_path / "run").read_text(encoding="utf-8")
    assert "stored but not used" in outcome.summary and "stored but not used" in card
    server.script = always("not supported")
    read(reader_model="cautious")
    told = read_manifest(tmp_path / "run")["second_reader"]
    assert (told["used"], told["entrance"]["recall"], told["entrance"]["false_alarms"]) == (False, 1.0, 1.0)
    assert told["doubted"] == 0 and told["verdicts"]["not supported"] == 21, "its verdicts are kept"
    assert all(f["kind"] != "second_reader" for line in lineage(tmp_path) for f in line["findings"])


def test_rubbish_counts_as_no_verdict_and_is_asked_again(read: Callable, server: FakeServer, tmp_path: Path) -> None:
    def script(number: int, body: dict) -> object:
        if not is_reading(body) or "1. Question: What is this?" not in body["messages"][1]["content"]:
            return reader()(number, body)
        if len(body["messages"]) == 2:
            return completion("1. supported [i1]\nThe rest looks fine to me!\n2. perhaps\n3. supported [zz9]")
        return completion("\n".join(["2. not supported", *(f"{n}. supported [i1]" for n in range(3, 8))]))

    server.script = script
    outcome = read()
    assert outcome.counts["accepted"] == 3
    again = [body["messages"][3]["content"] for body in readings(server) if len(body["messages"]) == 4]
    assert len(again) == 3 and all("for number 2, 3, 4, 5, 6, 7." in text for text in again)
    said = [v["verdict"] for v in lineage(tmp_path)[0]["second_reader"]["verdicts"]]
    assert said == ["supported", "not supported", *["supported"] * 5]


def test_a_reader_that_never_answers_in_form_ends_the_asking(read: Callable, server: FakeServer, tmp_path: Path) -> None:
    server.script = lambda number, body: completion("I am sure that all is well." if is_reading(body) else TOLD)
    outcome = read(attempts=2)
    outcome.require()
    assert len(readings(server)) == 2 * (len(entrance.pages()) + 3) and outcome.counts["accepted"] == 3
    assert "3 samples are not read, or not whole" in outcome.summary
    assert "the most frequent reason: no verdict can be read for 7 of 7 numbered lines." in outcome.summary
    assert outcome.state == "complete" and read(attempts=2).asked == 0


def test_errors_of_the_server_lose_nothing(read: Callable, server: FakeServer) -> None:
    server.script = lambda number, body: error(400, "too long") if is_reading(body) else completion(TOLD)
    outcome = read()
    outcome.require()
    assert outcome.counts["accepted"] == 3 and "too long" in outcome.summary and "not used yet" in outcome.summary
    server.script = lambda number, body: error(404, "no such model") if is_reading(body) else completion(TOLD)
    outcome = read()
    why = r"the second reader: .*does not offer model 'm'.*3 samples without a second reader's verdict"
    with pytest.raises(UserError, match=why):
        outcome.require()
    assert outcome.counts["accepted"] == 3 and outcome.state == "stopped"
    server.script = reader()
    assert read().state == "complete" and "48 of 48" in read().summary


def test_its_replies_are_paid_from_the_same_budget(
    read: Callable, server: FakeServer, prices: Callable, tmp_path: Path
) -> None:
    prices(server.url, "m: {input: 1, output: 1, most_output: 1000}\n    r: {input: 10, output: 10, most_output: 1000}")
    server.script = reader()
    outcome = read(reader_model="r")
    pages = len(entrance.pages())
    assert outcome.cost.usd() == pytest.approx((3 * 120 + (pages + 3) * 1200) / 1e6) and outcome.cost.replies == pages + 6
    with pytest.raises(UserError, match="budget_usd needs a price for dear"):
        read(reader_model="dear", budget_usd=1.0)
    short = read(reader_model="r", budget_usd=0.035, out_dir=tmp_path / "run" / "small")
    assert short.state == "over budget" and short.counts["accepted"] == 3 and short.cost.usd() <= 0.035
    assert "Raise budget_usd" in short.summary and "could exceed the budget" in short.summary


SLOTTED = """User: What kind of picture is this?
Assistant: It is a colour fundus photograph [i1].
User: Which eye is it?
Assistant: It is the left eye, as one glance tells{}. [i2]
User: How is the quality?
Assistant: It is good. [q1]"""


def slotted(number: int, body: dict) -> object:
    """A server's script: a teacher writes a word that no fact licenses and takes it back; a reader doubts what stays."""
    told = SLOTTED.format(" the blorptious observer" if len(body["messages"]) == 2 else "")
    return completion(verdict_lines(body, lambda s: "glance" in s) if is_reading(body) else told)


def test_without_a_draw_only_turns_with_doubtful_words_are_read(read: Callable, server: FakeServer, tmp_path: Path) -> None:
    server.script = reader()
    summary = read(limit=1, reader_share=0.0).summary
    assert "had nothing to read: no accepted sample was drawn (reader_share is 0)" in summary and not readings(server)
    server.script = slotted
    outcome = read(limit=1, max_repairs=1, model="slotted", reader_share=0.0)
    (line,) = lineage(tmp_path)
    assert "unlicensed" in {f["kind"] for f in line["repairs"][0]["findings"]}, "the word was put right"
    asked, said = line["second_reader"]["verdicts"]
    assert (asked["turn"], asked["part"], asked["verdict"]) == (2, "question", "supported")
    assert (said["turn"], said["part"], said["verdict"]) == (2, "answer", "not supported")
    assert said["said"] == "It is the left eye, as one glance tells."
    assert outcome.counts["accepted"] == 1 and line["findings"][0]["kind"] == "second_reader"


def test_a_sample_that_is_drawn_is_read_whole(read: Callable, server: FakeServer, tmp_path: Path) -> None:
    server.script = slotted
    read(limit=1, max_repairs=1, reader_share=1.0)
    (line,) = lineage(tmp_path)
    said = [(entry["turn"], entry["part"]) for entry in line["second_reader"]["verdicts"]]
    assert said == [(turn, part) for turn in (1, 2, 3) for part in ("question", "answer")]
    told = read_manifest(tmp_path / "run")
    assert told["second_reader"]["share"] == told["settings"]["reader_share"] == 1.0
    server.script = reader()
    read(limit=None, model="other", reader_share=0.5)
    told = read_manifest(tmp_path / "run")
    assert 0 < told["second_reader"]["samples"] < told["counts"]["accepted"]


def test_a_doubt_about_a_question_marks_the_question(read: Callable, server: FakeServer, tmp_path: Path) -> None:
    asked = {"What is this?", "All?"}
    server.script = reader(lambda said: said in asked)
    read(limit=1)
    (line,) = lineage(tmp_path)
    doubts = [found for found in line["findings"] if found["kind"] == "second_reader"]
    assert [(found["turn"], found["part"], found["span"]) for found in doubts] == [
        (1, "question", [0, 13]),
        (3, "question", [0, 4]),
    ]
    assert doubts[0]["text"].startswith("the second reader doubts the question 'What is this?'")
    review = Review.load(dataset="ODIR", out_dir=str(tmp_path / "run"), reviewer="Ada").draw(1)
    parts = re.findall(
        r'<div class="rl-(question|answer)">(.*?)</div>', sample_html.conversation(review.item(review.chosen[0])), re.DOTALL
    )
    marked = [part for part, html in parts if "second_reader" in html or "doubts the question" in html]
    assert marked == ["question", "question"], parts


@pytest.mark.parametrize(("share", "most"), [(1.0, 13), (0.5, 7)])
def test_a_dry_run_estimates_what_the_reader_will_cost(
    share: float, most: int, read: Callable, server: FakeServer, prices: Callable, tmp_path: Path
) -> None:
    prices(server.url, "m: {input: 1, output: 1}\n    r: {input: 10, output: 10}")
    server.script = reader()
    outcome = read(limit=None, reader_model="r", dry_run=True, reader_share=share)
    pages = len(entrance.pages())
    assert outcome.counts["pending"] == 13 and not server.asked
    low, high = outcome.cost.to_read.usd("direct")
    name = f"estimated for {most + pages} requests of the second reader, direct"
    assert 0 < low < high and outcome.cost.table.loc[name, "USD"] == f"{low:.4f} to {high:.4f}"
    of = "every conversation" if share == 1 else "a share of 0.5 of the conversations"
    assert f"The second reader's requests come on top; their estimate is for {of}" in outcome.summary
    read(limit=None, reader_model="r", reader_share=share)
    sent = [cost.count_tokens("".join(m["content"] for m in body["messages"])) for body in readings(server)]
    low, high = outcome.cost.to_read.prompt
    assert low <= sum(s.high for s in sent) and sum(s.low for s in sent) <= high
    assert share < 1 or len(sent) == outcome.cost.to_read.requests


def test_the_setting_is_for_a_server_that_can_be_reached(
    read: Callable, server: FakeServer, tmp_path: Path, drawn: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(drawn["ODIR"])
    monkeypatch.setenv("RETINAL_LIB_ROOT", str(tmp_path))  # a project of its own: other tests run beside this one
    file = settings.params_file("ODIR")
    file.parent.mkdir()
    file.write_text("reader: openai\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"reader 'openai' is asked in mode direct or batch, not by files"):
        settings.load(dataset="ODIR", data_root=folder, teacher="openai", model="m", mode="pack")
    outcome = Job.load(dataset="ODIR", data_root=folder, limit=2, out_dir=str(tmp_path / "run")).run()
    assert "The second reader was not asked" in outcome.summary and not server.asked
    file.write_text("reader_model: m\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"reader_model names .*set reader: openai too"):
        settings.load(dataset="ODIR", data_root=folder)
    file.write_text("reader_share: 0.05\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"reader_share is .*set reader: openai too"):
        settings.load(dataset="ODIR", data_root=folder)
    file.write_text("reader: openai\nreader_share: 1\n", encoding="utf-8")
    assert settings.load(dataset="ODIR", data_root=folder).reader_share == 1
    file.write_text("reader: openai\nreader_share: 5\n", encoding="utf-8")
    with pytest.raises(UserError, match="reader_share"):
        settings.load(dataset="ODIR", data_root=folder)


RUN = """
import sys
from retinal_lib import Job
from retinal_lib.run import settings
made = settings.load(dataset="ODIR", teacher="openai", model="m", limit=3, max_repairs=0, concurrency=2, out_dir=sys.argv[1])
Job(made.model_copy(update={"reader": "openai", "reader_share": 1.0})).run()
"""


@pytest.mark.parametrize("stop_at", [5, 15])
def test_killed_at_any_moment_it_goes_on_where_it_was(stop_at: int, tmp_path: Path, server: FakeServer) -> None:
    def answer(number: int, body: dict) -> object:
        if killing and number == stop_at:
            os.kill(child.pid, signal.SIGKILL)
        return reader(lambda sentence: "well" in sentence)(number, body)

    def run(folder: str) -> int:
        nonlocal child
        child = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path / folder)], stderr=subprocess.DEVNULL)
        return child.wait(60)

    child: subprocess.Popen
    server.script, killing = answer, False
    assert run("whole") == 0 and len(server.asked) == 16
    server.asked.clear()
    killing = True
    assert run("killed") == -signal.SIGKILL
    with sqlite3.connect(tmp_path / "killed" / "vault.sqlite") as vault:
        stored = vault.execute("SELECT count(*) FROM replies").fetchone()[0]
    killing = False
    server.asked.clear()
    assert run("killed") == 0 and len(server.asked) == 16 - stored
    for name in ("conversations.jsonl", "lineage.jsonl", "manifest.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


# --- in batches -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [None, "r"])
def test_in_batches_the_reader_s_requests_go_out_after_the_replies_are_in(
    model: str | None, read: Callable, batches: FakeBatches, tmp_path: Path
) -> None:
    batches.line = lambda name, body: verdict_lines(body, lambda s: "well" in s) if is_reading(body) else TOLD
    states = []
    for _ in range(30):
        outcome = read(mode="batch", reader_model=model)
        outcome.require()
        states.append((outcome.counts["accepted"], outcome.state))
        if outcome.state == "complete":
            break
    assert states[0] == (0, "pending") and (3, "pending") in states and states[-1] == (3, "complete")
    assert [len({line["body"]["model"] for line in batches.uploaded}), batches.calls["create"]] == [1 + bool(model), 2]
    assert set(batches.billed.values()) == {1} and len(batches.billed) == 3 + 13
    assert "doubts 3 of them" in outcome.summary and outcome.cost.replies == 16
    calls = batches.calls["create"]
    assert read(mode="batch", reader_model=model).state == "complete" and batches.calls["create"] == calls
    assert read(reader_model=model).asked == 0, "direct and batch mode share what was answered"


def test_with_wait_one_run_does_it_all(read: Callable, batches: FakeBatches) -> None:
    batches.line = lambda name, body: verdict_lines(body, lambda s: False) if is_reading(body) else TOLD
    outcome = read(mode="batch", wait=True, reader_model="r")
    assert outcome.state == "complete" and "read 3 samples" in outcome.summary and batches.calls["create"] == 2


def test_a_batch_of_the_reader_that_a_killed_run_left_is_found(read: Callable, batches: FakeBatches) -> None:
    batches.line = lambda name, body: verdict_lines(body, lambda s: False) if is_reading(body) else TOLD
    batches.lost["create"] = 6  # both calls are carried out while their answers get lost
    outcome = read(mode="batch", wait=True, reader_model="r")
    assert outcome.state == "complete" and set(batches.billed.values()) == {1} and batches.calls["create"] == 2
