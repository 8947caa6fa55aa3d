"""Requests that leave as files and answers that come back as files: in any order, repeated, mixed or partial."""

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from answers import check_every_answer, lines
from fake_batches import FakeBatches, reply

from retinal_lib import Job, UserError
from retinal_lib.ask.limits import BatchSettings
from retinal_lib.run import settings

GIVEN = {"teacher": "openai", "model": "m", "terms_accepted": True}


def exchange(mode: str, folder: Path, **parameters: object) -> object:
    """A run in mode pack or unpack, over ODIR's sample, without a server."""
    return Job.load(**{"dataset": "ODIR", "mode": mode, "out_dir": str(folder)} | GIVEN | parameters).run()


def run_batch(source: Path, target: Path, skip: Callable[[int], bool] = lambda place: False) -> None:
    """Answers a request file as vLLM's run_batch does: failures stand among the answers."""
    rows = []
    for place, line in enumerate(lines(source)):
        if skip(place):
            continue
        response = {"status_code": 200, "request_id": f"vllm-{place}", "body": reply(line["body"])}
        rows.append({"id": f"vllm-{place}", "custom_id": line["custom_id"], "response": response, "error": None})
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_packed_answered_and_unpacked(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    outcome = exchange("pack", folder)
    outcome.require()
    assert outcome.state == "pending" and outcome.counts["pending"] == 13
    assert "13 requests are packed in 1 file in" in outcome.summary and "mode=unpack" in outcome.summary
    [file] = (folder / "requests").iterdir()
    run_batch(file, folder / "results" / "answers.jsonl")
    outcome = exchange("unpack", folder)
    outcome.require()
    assert outcome.state == "complete" and outcome.counts["accepted"] == 13
    assert lines(folder / "conversations.jsonl")[0]["image"] == "ODIR/11_left.jpg", "the original name returns"
    check_every_answer(folder, 14)


def test_of_several_answers_to_one_request_the_first_is_kept_and_said(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    exchange("pack", folder)
    [file] = (folder / "requests").iterdir()
    run_batch(file, folder / "results" / "a.jsonl")
    rows = lines(folder / "results" / "a.jsonl")
    first = rows[0]["response"]["body"]["choices"][0]["message"]["content"]
    for name in ("b", "c"):
        rows[0]["response"]["body"]["choices"][0]["message"]["content"] = f"another: {name}"
        (folder / "results" / f"{name}.jsonl").write_text(json.dumps(rows[0]) + "\n", encoding="utf-8")
    for _ in range(2):
        outcome = exchange("unpack", folder)
        assert "Requests with several answers that differ: 1; the one that was read first is kept" in outcome.summary
        assert outcome.counts["accepted"] == 13
    raw = [row[0] for row in sqlite3.connect(folder / "vault.sqlite").execute("SELECT raw FROM replies")]
    assert len(raw) >= 13 and any(first in json.loads(each)["choices"][0]["message"]["content"] for each in raw)
    assert not any("another: " in each for each in raw)


def test_no_server_and_no_key_is_needed_or_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.openai.com/v1")
    with pytest.raises(UserError, match="may not be sent to a remote server"):
        exchange("pack", tmp_path / "run")
    outcome = exchange("pack", tmp_path / "run", dataset="RFMiD", limit=2)
    assert outcome.counts["pending"] == 2


def test_results_in_any_order_repeated_mixed_and_partial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    chosen = settings.load(dataset="ODIR", mode="pack", out_dir=str(folder), **GIVEN)
    Job(chosen.model_copy(update={"batch": BatchSettings(requests=4)})).run()
    files = sorted((folder / "requests").iterdir())
    assert [len(lines(file)) for file in files] == [4, 4, 4, 1]
    results = folder / "results"
    run_batch(files[3], results / "z.jsonl")
    run_batch(files[1], results / "deep" / "a.jsonl", skip=lambda place: place == 2)
    whole = (results / "deep" / "a.jsonl").read_text(encoding="utf-8")
    rows = whole.splitlines() * 2 + (results / "z.jsonl").read_text(encoding="utf-8").splitlines()
    random.Random(1).shuffle(rows)
    (results / "mixed.jsonl").write_text("\n".join(rows) + '\n\n{"custom_id": "cut off', encoding="utf-8")
    outcome = exchange("unpack", folder)
    assert outcome.counts["accepted"] == 4 and outcome.counts["pending"] == 9
    assert "1 line of the result files cannot be read, the first: mixed.jsonl, line" in outcome.summary
    check_every_answer(folder, 14)

    exchange("pack", folder)  # only what is missing, and the old files are gone
    [rest] = (folder / "requests").iterdir()
    assert len(lines(rest)) == 9
    run_batch(files[0] if files[0].exists() else rest, results / "rest.jsonl")
    outcome = exchange("unpack", folder)
    assert outcome.counts["accepted"] == 13 and "pending" not in outcome.counts
    check_every_answer(folder, 14)


def test_answers_to_files_of_an_earlier_packing_still_count(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    exchange("pack", folder)
    [old] = (folder / "requests").iterdir()
    shutil.copy(old, tmp_path / "old.jsonl")
    exchange("pack", folder)
    run_batch(tmp_path / "old.jsonl", folder / "results" / "old.jsonl")
    assert exchange("unpack", folder).counts["accepted"] == 13


def test_ids_that_the_run_does_not_know_are_listed_not_taken(tmp_path: Path) -> None:
    folder, other = tmp_path / "run", tmp_path / "other"
    exchange("pack", folder)
    exchange("pack", other, track="alignment")
    for place in (folder, other):
        [file] = (place / "requests").iterdir()
        run_batch(file, folder / "results" / f"{place.name}.jsonl")
    outcome = exchange("unpack", folder)
    assert outcome.counts["accepted"] == 13
    assert "13 answers belong to no request of this run and were not used (unknown.jsonl)" in outcome.summary
    unknown = lines(folder / "unknown.jsonl")
    assert len(unknown) == 13 and {entry["file"] for entry in unknown} == {"other.jsonl"}
    assert not {entry["custom_id"] for entry in unknown} & {
        line["custom_id"] for line in lines(folder / "results" / "run.jsonl")
    }
    check_every_answer(folder, 14)


def test_failed_lines_are_told_and_packed_again_where_they_may_pass(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    exchange("pack", folder, limit=4)
    [file] = (folder / "requests").iterdir()
    names = [line["custom_id"] for line in lines(file)]
    rows = [
        {"custom_id": names[0], "response": {"status_code": 400, "body": {"error": {"message": "too long"}}}, "error": None},
        {"custom_id": names[1], "response": {"status_code": 500, "body": {"error": {"message": "down"}}}, "error": None},
        {"custom_id": names[2], "response": None, "error": {"code": "batch_expired", "message": "late"}},
    ]
    (folder / "results").mkdir()
    (folder / "results" / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    outcome = exchange("unpack", folder, limit=4)
    assert outcome.counts["failed"] == 1 and outcome.counts["pending"] == 3
    assert "the server refused the request (400 too long)" in outcome.table.to_string()
    exchange("pack", folder, limit=4)
    new = next(path for path in (folder / "requests").iterdir() if path != file)
    assert {line["custom_id"] for line in lines(new)} == set(names[1:])


def test_an_empty_folder_or_request_files_for_results_end_in_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    exchange("pack", folder, limit=4)
    with pytest.raises(UserError, match=r"no result files \(\*.jsonl\) in .*results; put them there, or pass results=<folder>"):
        exchange("unpack", folder, limit=4)
    outcome = exchange("unpack", folder, limit=4, results=str(folder / "requests"))
    assert outcome.counts["pending"] == 4 and "a request, not a result" in outcome.summary
    with pytest.raises(UserError, match="no answer"):
        outcome.require()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing"])
def test_a_result_file_without_an_end_is_not_read(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    exchange("pack", folder, limit=2)
    (folder / "results").mkdir()
    file = folder / "results" / "a.jsonl"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero" if kind == "device" else "nothing")
    with pytest.raises(UserError, match=r"a.jsonl: cannot be read \(it is a (pipe|link|folder)"):
        exchange("unpack", folder, limit=2)


def test_a_folder_in_place_of_a_request_file_ends_in_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    exchange("pack", folder, limit=2)
    [file] = (folder / "requests").iterdir()
    file.unlink()
    file.mkdir()
    with pytest.raises(UserError, match=r"requests-0001.jsonl cannot be removed \(Is a directory\); move it away"):
        exchange("pack", folder, limit=2)
    file.rmdir()
    file.symlink_to(tmp_path / "nothing")
    exchange("pack", folder, limit=2)
    assert [path.is_symlink() for path in (folder / "requests").iterdir()] == [False]


def test_terms_are_asked_for_before_anything_is_packed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"request files of ODIR contain facts.*pass terms_accepted=True"):
        exchange("pack", tmp_path / "run", terms_accepted=False)
    assert not (tmp_path / "run").exists()
    assert exchange("pack", tmp_path / "run", dataset="RFMiD", terms_accepted=False, limit=2).counts["pending"] == 2


def test_what_was_packed_for_a_server_is_finished_by_it(tmp_path: Path, batches: FakeBatches, run: Callable) -> None:
    exchange("pack", tmp_path / "run", limit=4)
    [file] = (tmp_path / "run" / "requests").iterdir()
    run_batch(file, tmp_path / "run" / "results" / "r.jsonl", skip=lambda place: place == 0)
    assert exchange("unpack", tmp_path / "run", limit=4).counts["accepted"] == 3
    outcome = run(limit=4)
    assert outcome.counts["accepted"] == 4 and outcome.asked == 1, "one vault for all modes"
    check_every_answer(tmp_path / "run", 4)


def vllm_line(name: str, error: object, status: int = 400) -> dict:
    """A request's failure as vLLM's run_batch writes it."""
    return {
        "id": f"vllm-{name}",
        "custom_id": name,
        "response": {"status_code": status, "request_id": f"vllm-batch-{name}", "body": None},
        "error": error,
    }


def put_results(folder: Path, rows: list[dict], name: str = "r.jsonl") -> None:
    """Writes a result file."""
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results" / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
TOO_LONG = {"error": {"message": "This model's maximum context length is 2048 tokens.", "type": "BadRequestError", "code": 400}}


def test_a_dead_engine_fails_no_request_for_good(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    exchange("pack", folder, limit=4)
    [file] = (folder / "requests").iterdir()
    names = [line["custom_id"] for line in lines(file)]
    put_results(folder, [vllm_line(names[0], TOO_LONG), *(vllm_line(name, DEAD) for name in names[1:])])
    outcome = exchange("unpack", folder, limit=4)
    assert outcome.counts["failed"] == 1 and outcome.counts["pending"] == 3
    assert "This model's maximum context length is 2048 tokens" in outcome.table.to_string()
    with pytest.raises(
        UserError, match=r"All 4 results in .*results are errors .* reason \(3 of 4\): .*EngineCore encountered"
    ):
        outcome.require()
    outcome = exchange("pack", folder, limit=4)
    assert "3 requests are packed in 1 file" in outcome.summary and f"{file.name} is kept" in outcome.summary
    assert file.exists(), "one of its answers is missing, and in no other file"
    new = next(path for path in (folder / "requests").iterdir() if path != file)
    assert [line["custom_id"] for line in lines(new)] == names[1:]

    outcome = exchange("unpack", folder, limit=4)  # the old results say nothing of the new file
    assert outcome.counts["pending"] == 3 and "its answer is not here yet" in outcome.table.to_string()
    run_batch(new, folder / "results" / "new.jsonl")
    assert exchange("unpack", folder, limit=4).counts["accepted"] == 3
    check_every_answer(folder, 4)


def test_pack_removes_only_files_whose_requests_are_answered_or_in_a_new_file(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    exchange("pack", folder, limit=4)
    [first] = (folder / "requests").iterdir()
    exchange("pack", folder, limit=2)
    assert first.exists(), "two of its requests are nowhere else"
    exchange("pack", folder, limit=4, model="other")
    assert len(list((folder / "requests").iterdir())) == 3, "another model's requests are others"
    (folder / "requests" / "requests-mine.jsonl").write_text("", encoding="utf-8")
    exchange("pack", folder, limit=4)
    left = {path.name for path in (folder / "requests").iterdir()}
    assert first.name not in left and len(left) == 3 and "requests-mine.jsonl" in left


@pytest.mark.parametrize(
    "shape",
    [
        lambda name, body: {"id": "vllm-1", "custom_id": name, "response": {"status_code": 200, "body": body}, "error": None},
        lambda name, body: {"custom_id": name, "response": {"status_code": 200, "body": body}, "error": {}},
        lambda name, body: {"custom_id": name, "response": {"status_code": 200, "body": json.dumps(body)}},
        lambda name, body: {"custom_id": name, "response": body},
        lambda name, body: {"custom_id": name, "response": json.dumps(body)},
        lambda name, body: {"custom_id": name, "response": body["choices"][0]["message"]["content"]},
    ],
)
def test_an_answer_is_taken_in_every_form_that_servers_write(shape: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    exchange("pack", folder, limit=2)
    [file] = (folder / "requests").iterdir()
    put_results(folder, [shape(line["custom_id"], reply(line["body"])) for line in lines(file)])
    assert exchange("unpack", folder, limit=2).counts["accepted"] == 2
    check_every_answer(folder, 2)


@pytest.mark.parametrize(
    ("row", "passing", "why"),
    [
        ({"response": {"status_code": 200, "body": {"error": {"message": "busy", "code": 429}}}}, True, "429 busy"),
        ({"response": {"status_code": 200, "body": {"choices": []}}}, True, "no choices"),
        ({"response": {"status_code": 200, "body": "<html>"}}, True, "not JSON"),
        ({"response": "<html>login</html>"}, True, "not JSON"),
        ({"response": None, "error": None}, True, "no reason given"),
        ({"response": {"status_code": 404, "body": None}, "error": {"error": {"message": "no model `x`", "code": 404}}},
         True, "404 no model `x`"),
        ({"response": {"status_code": 400, "body": {"detail": [{"msg": "Field required", "loc": ["body", "a"]}]}}},
         False, "400 Field required (a)"),
        ({"response": {"status_code": 422, "body": {"error": "{\"error\": {\"message\": \"odd\"}}"}}}, False, "422 odd"),
    ],
)  # fmt: skip
def test_a_failure_is_told_with_its_reason(row: dict, passing: bool, why: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    exchange("pack", folder, limit=1)
    [file] = (folder / "requests").iterdir()
    put_results(folder, [row | {"custom_id": line["custom_id"]} for line in lines(file)])
    outcome = exchange("unpack", folder, limit=1)
    assert outcome.counts["failed"] == (not passing)
    assert "All 1 results" not in outcome.summary and why in outcome.summary
