"""A run loses nothing, asks for nothing twice, and ends each image in one state."""

import asyncio
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from fake_server import GOOD, FakeServer, completion, error, running
from PIL import Image

from retinal_lib import Job, UserError
from retinal_lib.ask.vault import PUT_REPLY, Reply, Vault
from retinal_lib.run.run_files import FILES
from retinal_lib.teacher import prompt

EXPORTS = [name for name in FILES if name != "vault.sqlite"]


def files(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text(encoding="utf-8") for name in EXPORTS}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_run_writes_what_it_promises(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    outcome = ask()
    folder = tmp_path / "run"
    entries = lines(folder / "conversations.jsonl")
    assert outcome.counts == {"images": 4, "accepted": 4, "rejected": 0, "failed": 0, "skipped": 0}
    assert entries == json.loads((folder / "conversations.json").read_text(encoding="utf-8"))
    assert entries[0]["id"] == "ODIR-11_left" and entries[0]["image"] == "ODIR/11_left.jpg"
    assert entries[0]["conversations"][0] == {"from": "human", "value": "What is this?\n<image>"}
    assert [turn["from"] for turn in entries[0]["conversations"]] == ["human", "gpt"] * 3
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["counts"] == outcome.counts
    assert manifest["tokens"] == {"prompt": 400, "completion": 80}
    assert manifest["teacher"] == "openai" and manifest["model"] == "m"
    assert all(hashlib.sha256(p["text"].encode()).hexdigest() == p["sha256"] for p in manifest["prompts"])
    root = Job.load(dataset="ODIR").data.root
    for name, digest in manifest["inputs"].items():
        assert hashlib.sha256((root / name).read_bytes()).hexdigest() == digest
    lineage = lines(folder / "lineage.jsonl")
    assert {entry["prompt_sha256"] for entry in lineage} <= {p["sha256"] for p in manifest["prompts"]}
    assert lineage[0]["request_id"] == "req-1"
    assert any(source["row"] == 2 and "Left-Diagnostic Keywords" in source["columns"] for source in lineage[0]["sources"])


def test_a_second_run_asks_for_nothing_and_writes_the_same(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    ask()
    before, asked = files(tmp_path / "run"), len(server.asked)
    assert ask().asked == 0
    assert files(tmp_path / "run") == before and len(server.asked) == asked


def test_requests_in_flight_follow_concurrency(ask: Callable, server: FakeServer) -> None:
    server.hold = threading.Event()

    def release() -> None:
        for _ in range(3):
            server.reached.acquire(timeout=10)
        server.hold.set()

    thread = threading.Thread(target=release)
    thread.start()
    ask(concurrency=3, limit=9)
    thread.join()
    assert server.most_in_flight == 3


def test_equal_messages_get_a_conversation_each(
    ask: Callable, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt, "task", lambda *_: "Write.")  # else each image has a style of its own
    root = tmp_path / "own"
    root.mkdir()
    source = Job.load(dataset="ODIR").data.root / "ODIR-5K_Training_Dataset" / "11_left.jpg"
    for name in ("a", "b"):
        (root / f"{name}.jpg").write_bytes(source.read_bytes())
    (root / "own.csv").write_text("image,disease\na.jpg,no disease\nb.jpg,no disease\n", encoding="utf-8")
    ask(dataset=str(root / "own.csv"))
    assert len(server.asked) == 2 and len(set(server.users())) == 1


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (lambda: completion("I see an eye."), "no roles found"),
        (lambda: completion(""), "empty"),
        (lambda: completion(None), "empty"),
        (lambda: completion(GOOD, finish="length"), "cut"),
        (lambda: completion(GOOD, finish="content_filter"), "cut"),
        (lambda: completion(None, refusal="I cannot"), "refused"),
        (lambda: completion("User: What?\nAssistant: An eye.\nUser: And?"), "no answer"),
    ],
)
def test_useless_replies_are_asked_again_then_listed(
    reply: Callable, why: str, ask: Callable, server: FakeServer, tmp_path: Path
) -> None:
    server.script = lambda number, body: reply()
    outcome = ask(limit=1)
    assert outcome.counts["rejected"] == 1 and len(server.asked) == 3
    failure = lines(tmp_path / "run" / "failures.jsonl")[0]
    assert why in failure["reason"] and failure["state"] == "rejected" and failure["attempts"] == 3
    assert outcome.tokens["prompt"] == 300  # what was paid is counted, used or not
    assert ask(limit=1).asked == 0, "three were enough the first time"
    with pytest.raises(UserError, match="no conversation was written"):
        outcome.require()


def test_a_good_reply_after_a_useless_one_is_taken(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    server.script = lambda number, body: completion("nothing" if number == 1 else GOOD)
    assert ask(limit=1).counts["accepted"] == 1
    assert lines(tmp_path / "run" / "lineage.jsonl")[0]["attempt"] == 2


def test_a_failed_request_is_asked_again_by_the_next_run(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    bad = lambda number, body: error(400, "odd image") if "left" in body["messages"][1]["content"] else completion()  # noqa: E731
    server.script = bad
    outcome = ask()
    assert outcome.counts == {"images": 4, "accepted": 2, "rejected": 0, "failed": 2, "skipped": 0}
    assert "odd image" in outcome.table.to_string()
    with pytest.raises(
        UserError, match=r"2 of 4 images have no conversation, more than max_failed 0.05 allows.*max_failed=0.5 accepts"
    ):
        outcome.require()
    replace(outcome, max_failed=0.29, counts=outcome.counts | {"images": 100, "accepted": 71, "failed": 29}).require()
    assert lines(tmp_path / "run" / "failures.jsonl")[0]["state"] == "failed"
    server.script = lambda number, body: completion()
    outcome = ask()
    assert outcome.asked == 2 and outcome.counts["accepted"] == 4
    outcome.require()
    assert lines(tmp_path / "run" / "failures.jsonl") == []


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (lambda: error(401, "wrong key", "invalid_api_key"), "refused the key"),
        (lambda: error(403, "not for you"), "refused the key"),
        (lambda: error(429, "spent", "insufficient_quota"), "the quota is spent"),
        (lambda: error(404, "no such model", "model_not_found"), "does not offer model 'm'"),
        (lambda: error(302, "over there", Location="http://127.0.0.1:9/v1"), "does not offer model 'm'"),
    ],
)
def test_a_hopeless_answer_stops_the_run_and_keeps_what_came(
    refusal: Callable, sentence: str, ask: Callable, server: FakeServer
) -> None:
    server.script = lambda number, body: completion() if number <= 2 else refusal()
    outcome = ask(concurrency=1, limit=9)
    assert len(server.asked) == 3
    assert outcome.counts["accepted"] == 2 and outcome.counts["failed"] == 7
    assert sentence in outcome.stopped
    server.script = lambda number, body: completion()
    assert ask(concurrency=1, limit=9).asked == 7


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_passing_errors_are_tried_again(status: int, ask: Callable, server: FakeServer) -> None:
    server.script = lambda number, body: error(status, "busy", **{"Retry-After": "0"}) if number % 2 else completion()
    assert ask(limit=2, concurrency=1).counts["accepted"] == 2


def test_broken_connections_are_tried_again(ask: Callable, server: FakeServer) -> None:
    server.script = lambda number, body: None if number % 3 else completion()
    assert ask(limit=2, concurrency=1).counts["accepted"] == 2


def test_a_server_that_is_down_is_given_up(ask: Callable, server: FakeServer) -> None:
    server.script = lambda number, body: error(503, "down")
    outcome = ask(limit=9, concurrency=1)
    assert outcome.counts["failed"] == 9 and "in a row got no answer" in outcome.stopped
    assert len(server.asked) == 5 * 6


NO_COMPLETIONS = [
    ("<html>gateway</html>", "not JSON, it begins with '<html>gateway</html>'"),
    ("", "the body is empty"),
    ("[]", "no JSON object"),
    ("[" * 1000, "not JSON"),
    ('{"choices": []}', "it has no choices"),
    ('{"error": {"message": "overloaded"}}', "overloaded"),
    ('{"error": {"message": "no upstream", "code": 502}}', "502 no upstream"),
    ('{"choices": [{"message": null}]}', "its first choice has no message"),
    ('{"choices": [{"message": "hi"}]}', "its first choice has no message"),
    ('{"choices": [{"error": {"code": 502, "message": "up"}, "message": {"content": ""}}]}', "502 up"),
    ('data: {"choices": [{"delta": {"content": "User: a?"}}]}\n\n', "the stream is cut"),
]


@pytest.mark.parametrize(("body", "why"), NO_COMPLETIONS)
def test_a_body_that_is_no_completion_is_no_answer(
    body: str, why: str, ask: Callable, server: FakeServer, tmp_path: Path
) -> None:
    server.script = lambda number, _: web.Response(text=body, content_type="application/json")
    outcome = ask(limit=9)
    assert len(server.asked) == 5 * 6 and outcome.counts["failed"] == 9, "asked again with pauses, then the run stops"
    assert "5 requests in a row got no answer after 6 tries each" in outcome.stopped and why in outcome.stopped
    with sqlite3.connect(tmp_path / "run" / "vault.sqlite") as vault:
        assert vault.execute("SELECT count(*) FROM replies").fetchone()[0] == 0
    server.script = lambda number, _: completion()
    outcome = ask(limit=9)
    assert outcome.asked == 9 and outcome.counts["accepted"] == 9, "no attempt was used up"


def test_an_answer_after_bodies_that_are_none_is_taken(ask: Callable, server: FakeServer) -> None:
    bodies = [body for body, _ in NO_COMPLETIONS[:5]]
    server.script = lambda number, _: web.Response(text=bodies[number - 1]) if number <= 5 else completion()
    outcome = ask(limit=2)
    assert outcome.counts["accepted"] == 2 and len(server.asked) == 7


@pytest.mark.parametrize(
    ("code", "sentence"),
    [(401, "refused the key"), ("insufficient_quota", "the quota is spent"), (404, "does not offer model")],
)
def test_an_error_under_200_counts_as_what_it_says(code: object, sentence: str, ask: Callable, server: FakeServer) -> None:
    entry = {"error": {"message": "no", "code": code if isinstance(code, int) else 429, "type": str(code)}}
    server.script = lambda number, _: web.json_response(entry)
    assert sentence in ask(limit=3).stopped and len(server.asked) == 1


ODD = json.loads(completion().text)
PARTS = [GOOD[:20], GOOD[20:]]


@pytest.mark.parametrize(
    "body",
    [
        "\ufeff" + json.dumps(ODD),
        json.dumps(ODD) + "\n\ndata: [DONE]\n\n",
        json.dumps(ODD).replace('"index": 0', '"index": 0, "logprobs": NaN'),
        f"data: {json.dumps(ODD)}\n\ndata: [DONE]",
        ": comment\n\n"
        + "".join(f"data: {json.dumps({'model': 'm', 'choices': [{'delta': {'content': part}}]})}\n\n" for part in PARTS)
        + f"data: {json.dumps({'choices': [], 'usage': ODD['usage']})}\n\ndata: [DONE]",
    ],
)
def test_a_completion_in_odd_clothes_is_an_answer(body: str, ask: Callable, server: FakeServer) -> None:
    server.script = lambda number, _: web.Response(body=body.encode(), content_type="application/json", charset="utf-8")
    outcome = ask(limit=1)
    assert outcome.counts["accepted"] == 1 and len(server.asked) == 1
    assert outcome.tokens == {"prompt": 100, "completion": 20}, "what was paid can be counted"


@pytest.mark.parametrize(
    "raw",
    [
        *(body for body, _ in NO_COMPLETIONS),
        json.dumps({"choices": [{"message": {"content": "[" * 1000}}]}),
        json.dumps({"choices": [{"message": {"content": "[" * 450 + "1" + "]" * 450}}]}),
        json.dumps({"choices": [{"message": {"content": {"a": 1}}, "finish_reason": [1]}], "model": 3, "usage": [1]}),
        json.dumps({"choices": [{"message": {"content": [1, {"text": [2]}]}}], "usage": {"prompt_tokens": True}}),
        '{"choices": [{"message": {"content": "User: \\ud83d"}}]}',
    ],
)
def test_a_stored_reply_that_cannot_be_read_rejects_its_image_alone(
    raw: str, ask: Callable, server: FakeServer, tmp_path: Path
) -> None:
    ask(limit=2)
    with sqlite3.connect(tmp_path / "run" / "vault.sqlite") as vault:
        sample = vault.execute("SELECT sample FROM replies ORDER BY sample LIMIT 1").fetchone()[0]
        vault.execute("UPDATE replies SET raw = ? WHERE sample = ?", (raw, sample))
        columns = "key, attempt, sample, raw, request_id, channel, server, model"
        again = f"INSERT INTO replies ({columns}) SELECT {columns.replace('attempt', '?')} FROM replies WHERE sample = ?"
        vault.execute(again, (2, sample))
        vault.execute(again.replace("WHERE", "WHERE attempt = 1 AND"), (3, sample))
    for mode in ("recheck", "direct", "recheck"):
        outcome = ask(limit=2, mode=mode)
        assert outcome.counts["accepted"] == 1 and outcome.counts["rejected"] == 1 and len(server.asked) == 2


def test_one_text_that_cannot_be_stored_loses_no_other_reply(tmp_path: Path) -> None:
    async def save(vault: Vault) -> list:
        keys = [Reply(str(i), 1, "a\udce9" if i == 2 else "a", "{}") for i in range(5)]
        return await asyncio.gather(*map(vault.save_reply, keys), return_exceptions=True)

    with Vault(tmp_path) as vault:
        outcomes = asyncio.run(save(vault))
        assert [type(error) for error in outcomes] == [type(None), type(None), UserError, type(None), type(None)]
        assert sorted(vault.replies(*"01234")) == ["0", "1", "3", "4"]
        with pytest.raises(UserError, match="cannot be stored"):
            vault.write((PUT_REPLY, [Reply("6", 1, "a", "{}"), Reply("7", 1, "\udce9", "{}")]))
        assert vault.replies("6", "7") == {}, "a transaction that fails leaves nothing"
        vault.write((PUT_REPLY, [Reply("6", 1, "a", "{}")]))
        assert "6" in vault.replies("6")


def test_the_key_is_nowhere_in_the_files(
    ask: Callable, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-secret-0123456789abcdef"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    server.script = lambda number, body: error(400, f"the key {key} is odd") if number == 1 else completion()
    ask()
    assert server.headers[0]["Authorization"] == f"Bearer {key}"
    for path in (tmp_path / "run").iterdir():
        assert key.encode() not in path.read_bytes(), path.name


def test_a_second_run_in_the_same_folder_says_so(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    server.hold = threading.Event()
    outcomes: list = []
    thread = threading.Thread(target=lambda: outcomes.append(ask()))
    thread.start()
    server.reached.acquire(timeout=10)
    with pytest.raises(UserError, match="another run is using"):
        Job.load(dataset="ODIR", out_dir=str(tmp_path / "run")).run()
    server.hold.set()
    thread.join()
    assert outcomes[0].counts["accepted"] == 4


def test_changed_messages_images_models_and_options_are_new_requests(
    ask: Callable, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(limit=1)
    for changed in ({"model": "other"}, {"images": "send"}, {"model": "other", "images": "send"}):
        assert ask(**({"limit": 1} | changed)).asked == 1, changed
    with running(FakeServer()) as other:
        monkeypatch.setenv("OPENAI_BASE_URL", other.url)
        assert ask(limit=1).asked == 1, "another server is another teacher"


def test_requests_of_other_tracks_styles_and_options_have_other_keys(server: FakeServer) -> None:
    def key(**parameters: object) -> str:
        job = Job.load(dataset="ODIR", teacher="openai", model="m", **parameters)
        return next(job.plan()).request.key(job.teacher.identity)

    changed = [{}, {"track": "alignment"}, {"track": "alignment", "style": "consult"}, {"start": 1}, {"images": "send"}]
    assert len({key(**parameters) for parameters in changed}) == 5
    assert key(limit=3, concurrency=7) == key(), "what does not change the answer does not change the key"


def test_the_files_of_another_run_are_not_replaced(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    ask(limit=1)
    before = files(tmp_path / "run")
    for other in ({"track": "alignment"}, {"dataset": "RFMiD"}):
        with pytest.raises(UserError, match=r"holds the conversations of ODIR instruction; pass another out_dir for .*"):
            ask(**other)
    assert files(tmp_path / "run") == before


def test_a_vault_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "vault.sqlite").write_text("not a database, but somebody's notes" * 50, encoding="utf-8")
    with pytest.raises(UserError, match="not a readable vault"):
        Job.load(dataset="ODIR", out_dir=str(folder)).run()
    assert "somebody's notes" in (folder / "vault.sqlite").read_text(encoding="utf-8")


RUN = """
import sys
from retinal_lib import Job
Job.load(dataset="ODIR", teacher="openai", model="m", concurrency=3, out_dir=sys.argv[1]).run()
"""


@pytest.mark.parametrize("stop_at", [1, 5, 11])
def test_killed_at_any_moment_a_run_resumes_as_if_nothing_was(stop_at: int, tmp_path: Path, server: FakeServer) -> None:
    def answer(number: int, body: dict) -> object:
        if kill and number == stop_at:
            os.kill(child.pid, signal.SIGKILL)
        return completion("no conversation" if '= "64"' in body["messages"][1]["content"] else GOOD)

    def run(folder: str) -> int:
        nonlocal child
        environment = os.environ | {"OPENAI_BASE_URL": server.url}
        child = subprocess.Popen(
            [sys.executable, "-c", RUN, str(tmp_path / folder)], env=environment, stderr=subprocess.DEVNULL
        )
        return child.wait(60)

    child: subprocess.Popen
    server.script, kill = answer, False
    assert run("whole") == 0
    undisturbed, whole = files(tmp_path / "whole"), len(server.asked)

    server.asked.clear()
    kill = True
    assert run("killed") == -signal.SIGKILL
    kill = False
    with sqlite3.connect(tmp_path / "killed" / "vault.sqlite") as vault:
        stored = vault.execute("SELECT count(*) FROM replies").fetchone()[0]
    server.asked.clear()
    assert run("killed") == 0
    assert len(server.asked) == whole - stored, "what was answered and stored is not asked again"
    assert files(tmp_path / "killed") == undisturbed


def test_a_smaller_run_does_not_replace_a_larger_one(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    ask(limit=4)
    before, asked = files(tmp_path / "run"), len(server.asked)
    said = r"conversations.jsonl holds \d conversations? that this run leaves out. To keep"
    for fewer in ({"limit": 2}, {"start": 1}, {"subset": "image == '11_left.jpg'"}, {"limit": 2, "mode": "recheck"}):
        with pytest.raises(UserError, match=said) as no:
            ask(**fewer)
        assert f"out_dir=…/{tmp_path.name}/run-2;" in str(no.value), "it names a place that is free"
    assert files(tmp_path / "run") == before and len(server.asked) == asked, "nothing is asked before that is said"
    assert ask(limit=2, dry_run=True).counts["images"] == 2, "a dry run replaces nothing"
    assert ask(limit=6).asked == 2, "more images are no loss"
    (tmp_path / "run" / "conversations.jsonl").unlink()
    assert ask(limit=2).counts["accepted"] == 2, "the other way that the sentence names"


def test_another_model_s_conversations_stay_until_there_are_as_many(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    ask(limit=4)
    before = (tmp_path / "run" / "conversations.jsonl").read_bytes()
    server.script = lambda number, body: completion() if number < 6 else error(401, "wrong key", "invalid_api_key")
    outcome = ask(limit=4, model="n", concurrency=1)
    assert "The files still hold the 4 conversations of an earlier run: 3 of them have no answer" in outcome.summary
    with pytest.raises(UserError, match="refused the key"):
        outcome.require()
    assert (tmp_path / "run" / "conversations.jsonl").read_bytes() == before
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["state"], manifest["model"], manifest["counts"]["accepted"]) == ("stopped", "m", 4)
    server.script = lambda number, body: completion()
    assert ask(limit=4, model="n").asked == 3
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["state"], manifest["model"], manifest["stopped"]) == ("complete", "n", None)
    with pytest.raises(UserError, match="made by the model n, and this run uses the offline teacher"):
        Job.load(dataset="ODIR", limit=4, out_dir=str(tmp_path / "run")).run()


def own_table(root: Path, grade: int) -> str:
    root.mkdir(parents=True)
    Image.new("RGB", (64, 64), (90 + grade, 40, 10)).save(root / "1.jpg")
    (root / "labels.csv").write_text(f"image,disease\n1.jpg,{'glaucoma' if grade else 'cataract'}\n", encoding="utf-8")
    return str(root / "labels.csv")


def test_tables_of_one_name_in_two_places_do_not_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINAL_LIB_ROOT", str(tmp_path))
    first = Job.load(dataset=own_table(tmp_path / "A", 0))
    first.run()
    before = files(first.folder)
    with pytest.raises(UserError, match=r"holds 1 conversation made from other data, in A\. To keep it"):
        Job.load(dataset=own_table(tmp_path / "B", 1)).run()
    assert files(first.folder) == before
    (tmp_path / "A").rename(tmp_path / "moved")
    assert Job.load(dataset=str(tmp_path / "moved" / "labels.csv")).run().counts["accepted"] == 1, "moved data are the same"


def test_a_sample_does_not_replace_what_was_made_from_own_data(tmp_path: Path) -> None:
    sample = Job.load(dataset="ODIR", out_dir=str(tmp_path / "run"))
    sample.run()
    file = tmp_path / "run" / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    manifest["dataset"]["drawn_sample"], manifest["settings"]["data_root"] = False, "/data/ODIR-5K"  # as of photographs
    file.write_text(json.dumps(manifest), encoding="utf-8")
    before = files(tmp_path / "run")
    with pytest.raises(UserError, match=r"made from your own data in /data/ODIR-5K, and this run uses a drawn sample"):
        sample.run()
    assert files(tmp_path / "run") == before


def test_exports_are_made_anew_without_asking(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    ask()
    before = files(tmp_path / "run")
    for name in EXPORTS:
        (tmp_path / "run" / name).write_text("damaged", encoding="utf-8")
    assert ask().asked == 0 and files(tmp_path / "run") == before
