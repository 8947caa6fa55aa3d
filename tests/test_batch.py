"""Batch mode: half the price, nothing lost, nothing paid twice, every answer on its own image."""

import hashlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web
from answers import check_every_answer, lines
from fake_batches import FakeBatches, answer, failure, mark, told
from fake_server import completion, error, running
from PIL import Image

from retinal_lib import Job, UserError
from retinal_lib.run.run_files import FILES

EXPORTS = [name for name in FILES if name != "vault.sqlite"]


# --- the notebook's way: submit, come back, collect ---------------------------------------------------------------------


def test_without_wait_a_run_submits_then_says_what_is_under_way_then_collects(
    run: Callable, batches: FakeBatches, tmp_path: Path
) -> None:
    first = run(wait=False)
    first.require()
    assert first.state == "pending" and first.counts["pending"] == 13 and first.asked == 13
    assert "13 requests are pending in 1 batch" in first.summary and "batch_1" in first.summary
    assert "Run the same command again" in first.summary and "due by" in first.summary
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["state"] == "pending" and manifest["batches"][0]["batch"] == "batch_1"
    assert {entry["state"] for entry in lines(tmp_path / "run" / "failures.jsonl")} == {"pending", "skipped"}
    states = []
    while (outcome := run(wait=False)).state == "pending":
        states.append(outcome.pending_batches[0].status.split(",")[0])
        assert outcome.asked == 0
    assert states == ["validating", "in_progress", "in_progress", "finalizing"]
    assert outcome.state == "complete" and outcome.counts["accepted"] == 13
    assert batches.calls["create"] == 1 and set(batches.billed.values()) == {1}
    check_every_answer(tmp_path / "run", 14)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))["state"] == "complete"
    assert not list((tmp_path / "run" / "batches").iterdir()), "request and result files are gone once all is in the vault"


def test_with_wait_one_run_does_it_all_and_the_next_asks_nothing(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    assert run().counts["accepted"] == 13
    calls = sum(batches.calls.values())
    assert run().counts["accepted"] == 13 and sum(batches.calls.values()) == calls


def test_request_files_hold_what_the_api_takes(run: Callable, batches: FakeBatches) -> None:
    run(images="send", limit=3, batch={"requests": 2})
    assert [len(batches.files[made.file].splitlines()) for made in batches.batches.values()] == [2, 1]
    for line in batches.uploaded:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", line["custom_id"])
        assert (line["method"], line["url"], line["body"]["model"]) == ("POST", "/v1/chat/completions", "m")
        text, picture = line["body"]["messages"][1]["content"]
        assert text["type"] == "text" and picture["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/")
        assert set(line["body"]["messages"][1]) == {"role", "content"}
    for made in batches.batches.values():
        assert set(made.metadata) == {"retinal_lib_run", "retinal_lib_file", "sha256"}


@pytest.mark.parametrize(
    ("limits", "files"),
    [({"requests": 5}, 3), ({"bytes": 30_000}, 3), ({"enqueued_tokens": 9_000}, 3)],
)
def test_files_end_at_each_limit(limits: dict, files: int, run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    assert run(batch=limits).counts["accepted"] == 13
    sizes = [batches.files[made.file] for made in batches.batches.values()]
    assert len(sizes) >= files and all(len(data) <= limits.get("bytes", 10**9) for data in sizes)
    assert max(len(data.splitlines()) for data in sizes) <= limits.get("requests", 13)
    assert set(batches.billed.values()) == {1}
    check_every_answer(tmp_path / "run", 14)


def test_ids_differ_across_datasets_splits_tracks_and_attempts(batches: FakeBatches, drawn: dict, tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for name in ("RFMiD", "IDRiD", "IDRiD_seg"):
        for track in ("instruction", "alignment"):
            job = Job.load(dataset=name, track=track, teacher="openai", model="m", mode="batch", data_root=str(drawn[name]),
                           out_dir=str(tmp_path / f"{name}-{track}"))  # fmt: skip
            job.run()
            seen.update(line["custom_id"] for line in batches.uploaded)
            batches.batches.clear()
    assert set(seen.values()) == {1} and len(seen) > 60


def test_waves_follow_the_enqueued_token_limit(run: Callable, batches: FakeBatches) -> None:
    outcome = run(wait=False, batch={"enqueued_tokens": 12_000})
    assert 0 < outcome.asked < 13 and "limit of queued tokens is reached" in outcome.table.to_string()
    first = outcome.asked
    for _ in range(4):
        assert run(wait=False, batch={"enqueued_tokens": 12_000}).asked == 0, (
            "nothing is sent while the first wave is under way"
        )
    assert run(wait=False, batch={"enqueued_tokens": 12_000}).asked > 0
    assert len(batches.billed) == first


def test_a_refusal_for_too_many_tokens_is_heeded(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    batches.most_tokens, batches.weight = 4, 1500
    outcome = run(batch={"requests": 6})
    assert outcome.counts["accepted"] == 13 and set(batches.billed.values()) == {1}
    refused = [made for made in batches.batches.values() if made.errors]
    assert refused and all(made.errors[0]["code"] == "token_limit_exceeded" for made in refused)
    check_every_answer(tmp_path / "run", 14)


def test_a_request_larger_than_what_may_ever_be_under_way_fails_with_a_reason(run: Callable, batches: FakeBatches) -> None:
    batches.most_tokens, batches.weight = 0, 1
    batches._invalid = lambda made, given: [
        {"code": "token_limit_exceeded", "message": "Limit: 500 enqueued tokens.", "line": None, "param": None}
    ]
    outcome = run(limit=2)
    assert outcome.state == "complete" and outcome.counts["failed"] == 2
    assert "tokens are more than the server's queue limit of" in outcome.table.to_string()


# --- the ways in which other tools lose data (failures 1 to 9) -------------------------------------------------------------


def test_failure_1_a_failed_line_shifts_no_answer(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    broken: list[str] = []

    def line(name: str, body: dict) -> dict | None:
        broken.append(name) if not broken else None
        return failure(400, "odd request", "invalid_request") if name == broken[0] else None

    batches.line = line
    outcome = run(limit=6)
    assert outcome.counts == {"images": 6, "accepted": 5, "rejected": 0, "failed": 1, "skipped": 0}
    failed = lines(tmp_path / "run" / "failures.jsonl")
    assert [entry["reason"] for entry in failed] == ["the server refused the request (400 invalid_request odd request)"]
    check_every_answer(tmp_path / "run", 6)
    assert batches.calls["create"] == 1, "what the server refuses is not sent again"


def test_failure_2_an_expired_shard_keeps_its_finished_lines(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    batches.ends = lambda made: "expired" if made.number == 2 else "completed"
    outcome = run(batch={"requests": 5})
    assert outcome.counts["accepted"] == 13 and set(batches.billed.values()) == {1}
    assert len(batches.batches) == 4, "three files, and one for the expired lines"
    check_every_answer(tmp_path / "run", 14)


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_what_never_finishes_is_sent_again_a_stated_number_of_times(
    end: str, run: Callable, batches: FakeBatches, tmp_path: Path
) -> None:
    batches.ends = lambda made: end
    outcome = run(limit=4, batch={"resubmissions": 1})
    assert outcome.counts["accepted"] == 3 and outcome.counts["failed"] == 1, "of 4 lines 2 are done, then of 2 one"
    assert f"batch_{end} not run); sent 2 times" in outcome.table.to_string()
    assert run(limit=4, batch={"resubmissions": 1}).asked == 0
    assert run(limit=4, batch={"resubmissions": 2}).asked == 1
    check_every_answer(tmp_path / "run", 4)


def test_failure_3_a_batch_whose_id_was_lost_is_adopted(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    batches.lost["create"] = 1
    assert run().counts["accepted"] == 13
    assert batches.calls["create"] == 1 and len(batches.batches) == 1 and set(batches.billed.values()) == {1}


@pytest.mark.parametrize("form", ["openai", "groq", "bare"])
def test_failure_3_adoption_reads_every_page_of_a_list(form: str, run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    batches.form = form
    run(wait=False, limit=5, batch={"requests": 1})
    with sqlite3.connect(tmp_path / "run" / "vault.sqlite") as vault:  # as after a kill before the first id was kept
        vault.execute("UPDATE batches SET state = 'creating', batch_id = '' WHERE number = 1")
    assert run(limit=5).counts["accepted"] == 5
    assert batches.calls["create"] == 5 and set(batches.billed.values()) == {1}


def test_failure_3_where_batches_cannot_be_listed_nothing_is_paid_twice(
    run: Callable, batches: FakeBatches, tmp_path: Path
) -> None:
    batches.listed = False
    batches.lost["create"] = 1
    outcome = run(limit=3)
    assert outcome.state == "stopped" and "it is not known whether the server made a batch" in outcome.stopped
    with pytest.raises(UserError, match="3 images without an answer"):
        outcome.require()
    assert run(limit=3).asked == 0 and batches.calls["create"] == 1
    batches.listed = True
    assert run(limit=3).counts["accepted"] == 3 and batches.calls["create"] == 1


def test_failure_4_results_are_counted_by_id(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    def torn(name: str, number: int, data: bytes) -> bytes:  # a repeated line hides a missing one
        rows = data.splitlines(keepends=True)
        return b"".join([rows[0], *rows[:-1]]) if number < 2 else data

    batches.torn, batches.whole_length = torn, False
    assert run().counts["accepted"] == 13 and set(batches.billed.values()) == {1}
    assert batches.calls["download file-output-1"] == 3
    check_every_answer(tmp_path / "run", 14)


def test_failure_5_replies_are_stored_before_they_are_read_and_paid_tokens_counted(
    run: Callable, batches: FakeBatches, tmp_path: Path, prices: Callable
) -> None:
    prices(batches.url, "m: {input: 2, output: 10, batch: 0.5}")
    odd: list[str] = []

    def line(name: str, body: dict) -> str | None:
        odd.extend([told(body)] if not odd else [])
        return "no conversation at all" if told(body) == odd[0] else None

    batches.line = line
    outcome = run(limit=3)
    assert outcome.counts["accepted"] == 2 and outcome.counts["rejected"] == 1
    with sqlite3.connect(tmp_path / "run" / "vault.sqlite") as vault:
        assert vault.execute("SELECT count(*) FROM replies").fetchone()[0] == 5, "three answers, and two more tries of one"
    cost = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))["cost"]
    one = (100 * 2 + 20 * 10) / 2 / 1e6
    assert cost["actual"] == {"replies": 5, "uncounted": 0, "prompt": 500, "completion": 100, "usd": pytest.approx(5 * one)}
    assert cost["lost"] == {"prompt": 300, "completion": 60, "usd": pytest.approx(3 * one)}
    assert cost["per_accepted_usd"] == pytest.approx(5 * one / 2)
    assert set(batches.billed.values()) == {1}, "each attempt has an id of its own"


def test_failure_6_what_changes_the_answer_changes_the_id(
    run: Callable, batches: FakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    for changed in ({}, {"model": "other"}, {"images": "send"}):
        run(limit=1, wait=False, **changed)
    names = {line["custom_id"] for line in batches.uploaded}
    assert len(names) == 3
    with running(FakeBatches()) as other:
        monkeypatch.setenv("OPENAI_BASE_URL", other.url)
        run(limit=1, wait=False)
        assert not names & {line["custom_id"] for line in other.uploaded}, "another server is another teacher"


@pytest.mark.parametrize("name", ["eye.tif", "eye.png", "eye.jpg"])
def test_failure_7_pictures_are_parts_of_their_true_type(
    name: str, run: Callable, batches: FakeBatches, tmp_path: Path
) -> None:
    from PIL import Image

    (tmp_path / "own").mkdir()
    Image.linear_gradient("L").resize((3000, 2000)).convert("RGB").save(tmp_path / "own" / name)
    (tmp_path / "own" / "own.csv").write_text(f"image,disease\n{name},mild cataract\n", encoding="utf-8")
    outcome = run(dataset=str(tmp_path / "own" / "own.csv"), images="send")
    assert outcome.counts["accepted"] == 1, "the server refuses what the real one refuses"
    entry = lines(tmp_path / "run" / "conversations.jsonl")[0]
    assert entry["image"] == f"own/{name}", "the original name and extension return"


def test_failure_8_errors_are_seen_and_answers_kept_whole_and_running_twice_doubles_nothing(
    run: Callable, batches: FakeBatches, tmp_path: Path
) -> None:
    long = "User: What?\nAssistant: First line.\n\n- second\n- third\nUser: Ill?\nAssistant: No.\nUser: Sure?\nAssistant: Yes."
    batches.line = lambda name, body: failure(500, "down") if '= "64"' in told(body) else long
    outcome = run()
    failed = outcome.counts["failed"]
    assert failed and "the server could not answer (500 error down); sent 3 times" in outcome.table.to_string()
    before = (tmp_path / "run" / "conversations.jsonl").read_text(encoding="utf-8")
    entries = lines(tmp_path / "run" / "conversations.jsonl")
    assert entries and all(entry["conversations"][1]["value"] == "First line.\n\n- second\n- third" for entry in entries)
    run()
    assert (tmp_path / "run" / "conversations.jsonl").read_text(encoding="utf-8") == before


def test_failure_9_the_key_is_in_no_file(
    run: Callable, batches: FakeBatches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-secret-0123456789abcdef"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    bad: list[str] = []

    def line(name: str, body: dict) -> dict | None:
        bad.extend([name] if not bad else [])
        return failure(400, f"Authorization: Bearer {key} is odd") if name == bad[0] else None

    batches.line = line
    outcome = run(limit=3)
    assert batches.headers[0]["Authorization"] == f"Bearer {key}" and outcome.counts["failed"] == 1
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes(), path.name
    assert key not in outcome.summary + outcome.table.to_string()


# --- a server's moods ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "status"),
    [("upload", 502), ("file", 404), ("create", 404), ("create", 500), ("create", 429), ("look", 404), ("look", 503),
     ("download", 502), ("download", 404)],
)  # fmt: skip
def test_passing_faults_are_tried_again(call: str, status: int, run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    batches.faults = lambda name, number: error(status, "not yet") if name == call and number <= 2 else None
    assert run().counts["accepted"] == 13 and set(batches.billed.values()) == {1} and len(batches.batches) == 1
    check_every_answer(tmp_path / "run", 14)


def test_a_file_that_the_server_cannot_find_yet_is_waited_for(run: Callable, batches: FakeBatches) -> None:
    batches.faults = lambda name, n: error(400, "Invalid file: file-1 not found") if name == "create" and n <= 3 else None
    assert run().counts["accepted"] == 13 and len(batches.batches) == 1


@pytest.mark.parametrize("told_length", [True, False])
@pytest.mark.parametrize("at", ["in a line", "between lines"])
def test_torn_downloads_are_noticed(told_length: bool, at: str, run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    def torn(name: str, number: int, data: bytes) -> bytes:
        half = data[: len(data) // 2]
        return data if number >= 3 else half if at == "in a line" else half[: half.rindex(b"\n") + 1]

    batches.torn, batches.whole_length = torn, told_length
    assert run().counts["accepted"] == 13
    assert batches.calls["create"] == 1 and set(batches.billed.values()) == {1}
    check_every_answer(tmp_path / "run", 14)


def test_a_result_file_that_stays_short_is_looked_at_again_before_anything_is_paid_again(
    run: Callable, batches: FakeBatches, tmp_path: Path
) -> None:
    batches.torn = lambda name, number, data: data[: data.index(b"\n") + 1] if name == "file-output-1" else data
    batches.whole_length = False
    for _ in range(5):
        run(wait=False)
    for _ in range(4):
        outcome = run(wait=False)
        assert outcome.state == "pending" and "its results are incomplete: 1 of 13" in outcome.summary
        assert outcome.counts["accepted"] == 1, "what came is taken at once"
        assert batches.calls["create"] == 1
    assert run().counts["accepted"] == 13
    assert sum(batches.billed.values()) == 25, "the server's own loss: it answered 13, and 12 of them again"


def test_completed_without_an_output_file_is_all_failed(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    batches.line = lambda name, body: failure(400, "no")
    outcome = run(limit=4)
    assert outcome.counts["failed"] == 4 and batches.calls["create"] == 1
    with pytest.raises(UserError, match="no conversation was written"):
        outcome.require()


def test_a_batch_that_failed_for_one_named_line_goes_without_it(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    kept = batches._invalid
    batches._invalid = lambda made, given: (
        kept(made, given)
        or ([{"code": "invalid_request", "line": 3, "message": "odd line", "param": None}] if len(given) == 5 else [])
    )
    outcome = run(limit=5)
    assert outcome.counts["accepted"] == 4 and outcome.counts["failed"] == 1
    assert "the server refused the request (invalid_request odd line)" in outcome.table.to_string()
    check_every_answer(tmp_path / "run", 5)


def test_a_batch_refused_as_a_whole_stops_the_run(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    batches.ends = lambda made: "failed: model_not_found"
    outcome = run(limit=5)
    assert outcome.state == "stopped" and "model_not_found happened" in outcome.stopped and batches.calls["create"] == 1
    with pytest.raises(UserError, match="the run stopped: the server refused the batch of 5 requests"):
        outcome.require()
    batches.ends = lambda made: "completed"
    assert run(limit=5).counts["accepted"] == 5


@pytest.mark.parametrize("call", ["upload", "create", "look", "download"])
def test_a_refused_key_stops_the_run_and_nothing_is_lost(
    call: str, run: Callable, batches: FakeBatches, tmp_path: Path
) -> None:
    batches.faults = lambda name, number: error(401, "wrong key", "invalid_api_key") if name == call else None
    outcome = run()
    assert outcome.state == "stopped" and "refused the key" in outcome.stopped
    with pytest.raises(UserError, match="the run stopped: the server refused the key"):
        outcome.require()
    batches.faults = lambda name, number: None
    assert run().counts["accepted"] == 13 and set(batches.billed.values()) == {1}
    check_every_answer(tmp_path / "run", 14)


def test_a_server_that_goes_away_and_comes_back(run: Callable, batches: FakeBatches, tmp_path: Path, monkeypatch) -> None:
    with running(FakeBatches()) as other:
        port = int(other.url.rsplit(":", 1)[1].split("/")[0])
        monkeypatch.setenv("OPENAI_BASE_URL", other.url)
        run(wait=False)
    outcome = run(wait=False)
    assert outcome.state == "stopped" and "could not be reached" in outcome.stopped and outcome.pending_batches
    with running(other, port):
        assert run().counts["accepted"] == 13
    assert len(other.batches) == 1 and set(other.billed.values()) == {1}


def test_answers_that_belong_to_no_request_are_listed_not_taken(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    def strange(name: str, number: int, data: bytes) -> bytes:
        first = json.loads(data.splitlines()[0])
        return json.dumps(first | {"custom_id": "somebody-else"}).encode() + b"\n" + data

    batches.torn, batches.whole_length = strange, False
    outcome = run()
    assert outcome.counts["accepted"] == 13
    assert "1 answer belongs to no request of this run and was not used" in outcome.summary
    assert lines(tmp_path / "run" / "unknown.jsonl") == [{"custom_id": "somebody-else", "file": "batch_1", "line": 1}]


def test_a_queue_that_others_fill_is_waited_for(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    text = "Enqueued token limit reached for m in organization o. Limit: 2,000,000 enqueued tokens. Please try again."
    kept = batches._invalid
    batches._invalid = lambda made, given: (
        [{"code": "token_limit_exceeded", "line": None, "message": text}] if made.number <= 4 else kept(made, given)
    )
    tables = [run(wait=False).table.to_string() for _ in range(6)]
    assert any("the server's queue is full" in table for table in tables)
    assert run().counts["accepted"] == 13 and len(batches.batches) == 5


def test_a_queue_that_stays_full_ends_a_run_that_waits(run: Callable, batches: FakeBatches) -> None:
    text = "Enqueued token limit reached for m. Limit: 2,000,000 enqueued tokens."
    kept = batches._invalid
    batches._invalid = lambda made, given: [{"code": "token_limit_exceeded", "line": None, "message": text}]
    outcome = run(limit=2)
    assert outcome.state == "stopped" and "refused the requests 60 times" in outcome.stopped and not batches.billed
    assert outcome.counts["pending"] == 2 and "run again" in outcome.problem
    batches._invalid = kept
    assert run(limit=2).counts["accepted"] == 2


def test_an_untold_limit_that_lets_nothing_through_is_forgotten(run: Callable, batches: FakeBatches) -> None:
    kept = batches._invalid
    batches._invalid = lambda made, given: (
        [{"code": "token_limit_exceeded", "line": None, "message": "too many"}] if made.number <= 6 else kept(made, given)
    )
    for _ in range(8):
        run(wait=False)
    assert run().counts["accepted"] == 13 and set(batches.billed.values()) == {1}


def test_one_batch_s_trouble_does_not_keep_the_others(run: Callable, batches: FakeBatches) -> None:
    run(wait=False, batch={"requests": 4})
    batches.batches.pop("batch_2")
    for _ in range(6):
        outcome = run(wait=False, batch={"requests": 4})
    assert outcome.counts["accepted"] == 9 and outcome.counts["pending"] == 4
    assert outcome.state == "stopped" and "batch batch_2: the server answered 404 No batch found" in outcome.stopped
    with pytest.raises(UserError, match="4 images without an answer"):
        outcome.require()


def test_an_unclear_batch_does_not_keep_the_others(run: Callable, batches: FakeBatches) -> None:
    batches.listed = False
    batches.faults = lambda name, number: error(500, "x") if name == "create" and number == 2 else None
    run(wait=False, batch={"requests": 4})
    for _ in range(6):
        outcome = run(wait=False, batch={"requests": 4})
    assert outcome.counts["accepted"] == 9 and outcome.counts["pending"] == 4 and batches.calls["create"] == 4
    assert "it is not known whether the server has made it" in outcome.summary
    batches.listed = True
    assert run().counts["accepted"] == 13 and set(batches.billed.values()) == {1}


def test_a_run_that_waits_outlasts_an_outage(run: Callable, batches: FakeBatches) -> None:
    batches.faults = lambda name, number: error(502, "bad gateway") if name == "look" and 3 <= number < 60 else None
    assert run().counts["accepted"] == 13


def test_an_end_that_nobody_told_of_is_an_end_after_two_days(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    batches.ends = lambda made: "errored" if made.number == 1 else "completed"
    run(limit=2, wait=False)
    for _ in range(6):
        outcome = run(limit=2, wait=False)
    assert outcome.state == "pending" and "errored" in outcome.summary
    with sqlite3.connect(tmp_path / "run" / "vault.sqlite") as vault:
        vault.execute("UPDATE batches SET begun = begun - 3 * 86400")
    assert run(limit=2).counts["accepted"] == 2


def test_a_refusal_of_the_whole_file_that_names_a_line_refuses_no_image(run: Callable, batches: FakeBatches) -> None:
    kept = batches._invalid
    batches._invalid = lambda made, given: [{"code": "model_not_found", "line": 1, "message": "no such model"}]
    outcome = run()
    assert outcome.state == "stopped" and "no such model" in outcome.stopped and len(batches.batches) == 1
    batches._invalid = kept
    assert run().counts["accepted"] == 13


@pytest.mark.parametrize("call", ["upload", "file", "create", "look", "list"])
@pytest.mark.parametrize("text", ["<html>login</html>", '{"id": "x", "sta', '{"object": "x"}', "null"])
def test_answers_that_are_no_api_s_end_in_a_sentence(call: str, text: str, run: Callable, batches: FakeBatches) -> None:
    kind = "text/html" if "<" in text else "application/json"

    def strange(name: str, number: int) -> web.Response | None:
        if call == "list" and name == "create" and number == 1:
            return error(500, "busy")
        return web.Response(text=text, content_type=kind) if name == call else None

    batches.faults = strange
    for _ in range(2):
        outcome = run(limit=2, wait=False)
        assert outcome.counts["accepted"] == 0 and outcome.counts["pending"] == 2
    batches.faults = lambda name, number: None
    assert run(limit=2).counts["accepted"] == 2 and set(batches.billed.values()) == {1}


@pytest.mark.parametrize("odd", [{"status_code": "200"}, {"error": {"code": None, "message": None}}, {"status_code": None}])
def test_an_answer_that_is_there_is_taken_whatever_stands_beside_it(odd: dict, run: Callable, batches: FakeBatches) -> None:
    def bent(name: str, number: int, data: bytes) -> bytes:
        rows = [json.loads(row) for row in data.splitlines()]
        for row in rows:
            row["error"] = odd.get("error")
            row["response"] |= {key: value for key, value in odd.items() if key != "error"}
        return "".join(json.dumps(row) + "\n" for row in rows).encode()

    batches.torn, batches.whole_length = bent, False
    assert run(limit=3).counts["accepted"] == 3 and set(batches.billed.values()) == {1}


def test_batches_at_another_server_are_told_of(run: Callable, batches: FakeBatches, monkeypatch: pytest.MonkeyPatch) -> None:
    run(limit=2, wait=False)
    with running(FakeBatches()) as other:
        monkeypatch.setenv("OPENAI_BASE_URL", other.url)
        outcome = run(limit=2)
    assert outcome.state == "complete"
    assert f"Set OPENAI_BASE_URL to {batches.url} and run again" in outcome.summary and "same command" not in outcome.summary


def test_options_that_lines_are_refused_for_are_renamed_or_left_out(run: Callable, batches: FakeBatches) -> None:
    def line(name: str, body: dict) -> dict | None:
        if refused := next((option for option in ("max_tokens", "temperature", "top_p", "seed") if option in body), None):
            return failure(
                400, f"Unsupported parameter: '{refused}' is not supported with this model.", "unsupported_parameter"
            )
        return None

    batches.line = line
    options = {"max_tokens": 700, "temperature": 0.7, "top_p": 0.9, "seed": 1}
    outcome = run(limit=3, request=options)
    assert outcome.counts["accepted"] == 3 and set(batches.billed.values()) == {1}
    assert len(batches.batches) == 5, "one for each option, and the last is answered"
    assert {line["body"].get("max_completion_tokens") for line in batches.uploaded} == {None, 700}
    assert "The server refused the option temperature" in outcome.summary
    assert "All 3 results of batch_1 are errors instead of answers; the reason: the server refused" in outcome.summary
    assert run(limit=4, request=options).asked == 1 and len(batches.batches) == 6, "remembered in the run's folder"


# --- direct and batch together ---------------------------------------------------------------------------------------------


def test_a_run_begun_in_batch_mode_can_be_finished_directly(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    run(limit=6, wait=False)
    batches.script = lambda number, body: completion(answer(body))
    outcome = run(mode="direct")
    assert outcome.asked == 7 and outcome.counts["accepted"] == 7 and outcome.counts["pending"] == 6
    assert "an answer is pending in a batch" in outcome.table.to_string()
    for _ in range(6):
        outcome = run(mode="direct")
    assert outcome.counts["accepted"] == 13 and len(batches.asked) == 7, "direct runs fetch what batches answered"
    check_every_answer(tmp_path / "run", 14)


def test_a_run_begun_directly_can_be_finished_in_batch_mode(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    batches.script = lambda number, body: completion(answer(body) if number <= 4 else "nothing of use")
    outcome = run(mode="direct", limit=6)
    assert outcome.counts["accepted"] == 4 and outcome.counts["rejected"] == 2
    outcome = run()
    assert outcome.counts["accepted"] == 11 and outcome.counts["rejected"] == 2 and outcome.asked == 7
    check_every_answer(tmp_path / "run", 14)


# --- a whole dataset -------------------------------------------------------------------------------------------------------

CLINIC = """
name: clinic
title: a clinic
may_send: 'yes'
modality: colour fundus photograph
image: '^eye-[a-z]+$'
splits: {train: {images: ['*'], tables: [labels.csv]}}
key: image
facts:
  - grade: {column: grade, scale: ICDR}
  - columns: {aspects: {remark: notes}}
"""


def test_three_thousand_images_with_failing_lines_and_an_expired_file(
    run: Callable, batches: FakeBatches, tmp_path: Path
) -> None:
    """5 % of the lines fail, half of them for good, and one file of six expires half-way: every image in its right state,
    every answer on its own image, nothing answered twice."""
    root, names = tmp_path / "clinic", [f"eye-{mark(str(i))}" for i in range(3000)]
    root.mkdir()
    Image.new("RGB", (8, 8)).save(root / "one.png")
    pixels = (root / "one.png").read_bytes()
    (root / "one.png").unlink()
    for name in names:
        (root / f"{name}.png").write_bytes(pixels + name.encode())  # equal files would be one picture
    rows = "".join(f"{name},{i % 5},no. {mark(name)}\n" for i, name in enumerate(names))
    (root / "labels.csv").write_text(f"image,grade,remark\n{rows}", encoding="utf-8")
    (root / "clinic.yaml").write_text(CLINIC, encoding="utf-8")

    tries: Counter[str] = Counter()

    def chance(text: str) -> float:  # the same in each test run
        return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32

    def line(name: str, body: dict) -> dict | None:
        tries[told(body)] += 1
        if chance(told(body)) < 0.025:
            return failure(400, "odd", "invalid_request")
        return failure(500, "busy") if chance(told(body)) < 0.05 and tries[told(body)] == 1 else None

    batches.line, batches.ends = line, lambda made: "expired" if made.number == 3 else "completed"
    outcome = run(dataset=str(root / "clinic.yaml"), batch={"requests": 500})
    outcome.require()
    refused = sum(chance(text) < 0.025 for text in tries)
    again = sum(0.025 <= chance(text) < 0.05 for text in tries)
    assert 50 < refused < 100 and 50 < again < 100
    assert outcome.counts == {"images": 3000, "accepted": 3000 - refused, "rejected": 0, "failed": refused, "skipped": 0}
    assert set(batches.billed.values()) == {1} and len(batches.billed) == 3000 - refused
    assert batches.calls["create"] == 8, "six files, one for what failed or expired, one for what did both"
    check_every_answer(tmp_path / "run", 3000)


# --- killed between any two steps --------------------------------------------------------------------------------------------

# forks a run for each line of "folder address step", which ends itself at that step: before or after a transaction, at a
# file that is opened, renamed or removed; 0 is never. Prints the run's process and, when it is over, how it ended.
DRIVER = """
import os, signal, sys
from retinal_lib import Job
from retinal_lib.ask.limits import BatchSettings
from retinal_lib.ask.vault import Vault
from retinal_lib.run import settings

def run(folder, last):
    count = 0
    def step(*event):
        nonlocal count
        if event and (event[0] not in ("open", "os.rename", "os.remove") or folder not in str(event[1][0])):
            return
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)
    carry_out = Vault._transact
    def counted(self, changes):
        step()
        done = carry_out(self, changes)
        step()
        return done
    Vault._transact = counted
    sys.addaudithook(step)
    chosen = settings.load(dataset="ODIR", teacher="openai", model="m", mode="batch", wait=True, out_dir=folder)
    job = Job(chosen.model_copy(update={"batch": BatchSettings(poll_seconds=0, requests=5)}))
    job.teacher.server.backoff = 0.0
    job.run()
    return count

for line in sys.stdin:
    folder, os.environ["OPENAI_BASE_URL"], last = line.split()
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(write, b"%d" % run(folder, int(last)))
        finally:
            os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    os.close(write)
    print(status, os.read(read, 20).decode() or 0, flush=True)
    os.close(read)
"""


class Driver:
    """Runs in processes of their own, without the time that an import takes."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.child = 0

    def run(self, folder: Path, url: str, last: int = 0) -> tuple[int, int]:
        """The signal that ended the run (0: none), and the number of its steps where it came to its end."""
        self.process.stdin.write(f"{folder} {url} {last}\n")
        self.process.stdin.flush()
        self.child = int(self.process.stdout.readline())
        status, steps = map(int, self.process.stdout.readline().split())
        self.child = 0
        return os.waitstatus_to_exitcode(status), steps


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    """One for all runs that are killed."""
    made = Driver()
    yield made
    made.process.kill()
    made.process.communicate()


def _scripted() -> FakeBatches:
    """Some lines fail for good, some once, some hold no conversation at first, one file expires; always the same."""
    tries: Counter[str] = Counter()

    def line(name: str, body: dict) -> dict | str | None:
        tries[name] += 1
        first = mark(told(body))[0]
        if first in "no":
            return failure(400, "odd", "invalid_request")
        if first in "efi" and tries[name] == 1:
            return failure(500, "busy")
        return "no conversation" if first in "bhk" and name.endswith("-1") else None

    return FakeBatches(line=line, ends=lambda made: "expired" if made.number == 2 else "completed")


def _files(folder: Path) -> dict[str, str]:
    """The run's files without the server's port, which differs, and the keys that follow from it."""
    found = {}
    for name in EXPORTS:
        text = re.sub(r"http://127\.0\.0\.1:\d+/v1", "URL", (folder / name).read_text(encoding="utf-8"))
        found[name] = re.sub(r'"(request_sha256|request_id)": "[^"]*"', r'"\1": ""', text)
    return found


class Whole(NamedTuple):
    """A run that nobody kills: its files, calls, steps and bills by the attempt they paid."""

    files: dict[str, str]
    calls: int
    steps: int
    bills: int


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, driver: Driver) -> Whole:
    """What each killed run must end like."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with running(_scripted()) as fake:
        code, steps = driver.run(folder, fake.url)
    found = _files(folder)
    counts = json.loads(found["manifest.json"])["counts"]
    assert code == 0 and counts["failed"] and counts["accepted"] and set(fake.billed.values()) == {1}
    assert fake.calls["create"] >= 5 and steps > 40, "there is something to interrupt"
    return Whole(found, len(fake.seen), steps, sum(fake.billed.values()))


def _ends_the_same(folder: Path, fake: FakeBatches, whole: Whole) -> None:
    assert _files(folder) == whole.files
    assert set(fake.billed.values()) == {1} and sum(fake.billed.values()) == whole.bills


@pytest.mark.parametrize("part", range(20))
def test_killed_at_any_step_of_its_own_a_run_ends_the_same_and_pays_once(
    part: int, driver: Driver, undisturbed: Whole, tmp_path: Path
) -> None:
    """At random steps, the same in each test run: between two transactions, two files, or both."""
    last = random.Random(part).randint(1 + part * undisturbed.steps // 20, (part + 1) * undisturbed.steps // 20)
    with running(_scripted()) as fake:
        assert driver.run(tmp_path / "run", fake.url, last)[0] == -signal.SIGKILL
        assert driver.run(tmp_path / "run", fake.url)[0] == 0
    _ends_the_same(tmp_path / "run", fake, undisturbed)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("part", range(8))
def test_killed_at_any_call_a_run_ends_the_same_and_pays_once(
    part: int, after: bool, driver: Driver, undisturbed: Whole, tmp_path: Path
) -> None:
    """Before a call is carried out, or after it was and before its answer arrives."""
    point = 1 + part * (undisturbed.calls - 1) // 7
    fake = _scripted()
    guard = fake._guard

    def guarded(name: str, handler: Callable) -> Callable:
        async def watched(request: web.Request) -> web.StreamResponse:
            made = await handler(request) if after else None
            if len(fake.seen) == point:
                os.kill(driver.child, signal.SIGKILL)
            return made or await handler(request)

        return guard(name, watched)

    fake._guard = guarded
    with running(fake):
        assert driver.run(tmp_path / "run", fake.url)[0] == -signal.SIGKILL
        point = 0
        assert driver.run(tmp_path / "run", fake.url)[0] == 0
    _ends_the_same(tmp_path / "run", fake, undisturbed)
