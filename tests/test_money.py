"""What a run would cost, what it costs, and a budget that is never passed."""

import json
import math
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from answers import lines
from fake_batches import FakeBatches, answer, failure, mark, told
from fake_server import completion, error
from hypothesis import given
from hypothesis import strategies as st

from retinal_lib import Job, UserError
from retinal_lib.files import read_yaml
from retinal_lib.teacher import cost
from retinal_lib.teacher.cost import Budget, Price, TokenLimit

PRICE = "m: {input: 2, cached: 0.5, output: 10, batch: 0.5, most_output: 1000, image: {tiles: [85, 170]}}"
EXPENSIVE = "m: {input: 20000, output: 100000, batch: 0.5, most_output: 100}"
ONE = (100 * 20000 + 20 * 100000) / 1e6  # USD of one answer of the tests' servers at the expensive price


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


# --- estimates --------------------------------------------------------------------------------------------------------------


def test_a_dry_run_sends_nothing_and_tells_requests_tokens_and_cost(
    run: Callable, batches: FakeBatches, prices: Callable, tmp_path: Path
) -> None:
    prices(batches.url, PRICE)
    outcome = run(mode="direct", dry_run=True)
    outcome.require()
    assert outcome.state == "dry run" and not batches.seen and not batches.asked
    assert outcome.counts["pending"] == 13 and "nothing was sent" in outcome.summary
    table = outcome.cost.table
    assert "estimated for all 13 requests, direct" in table.index and "estimated for the 13 still to ask, batch" in table.index
    direct, batch = (table.loc[f"estimated for all 13 requests, {channel}", "USD"] for channel in ("direct", "batch"))
    low, high = (float(end) for end in direct.split(" to "))
    assert [float(end) for end in batch.split(" to ")] == pytest.approx([low / 2, high / 2], rel=0.01)
    assert "Prices as of 2026-01-31" in outcome.cost.note
    assert not (tmp_path / "run" / "manifest.json").exists(), "the run's files are as they were"


def test_a_dry_run_needs_no_key_and_counts_what_is_answered(
    run: Callable, batches: FakeBatches, prices: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches.script = lambda number, body: completion(answer(body))
    run(mode="direct", limit=5)
    before = len(batches.asked)
    outcome = run(mode="batch", wait=False, dry_run=True)
    assert outcome.counts["accepted"] == 5 and outcome.counts["pending"] == 8 and len(batches.asked) == before
    assert "estimated for the 8 still to ask, direct" in outcome.cost.table.index
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.example.org/v1")
    assert run(mode="direct", dataset="RFMiD", dry_run=True, out_dir=None).counts["pending"] > 0


def test_an_unknown_model_costs_unknown_and_never_a_guess(run: Callable, batches: FakeBatches, prices: Callable) -> None:
    prices(batches.url, "other: {input: 1, output: 1}")
    outcome = run(mode="direct", dry_run=True)
    assert set(outcome.cost.table["USD"]) == {"unknown", "0.0000"}
    assert "The cost is unknown: params/prices.yaml has no price for this model at http://127.0.0.1" in outcome.cost.note
    outcome = run(mode="direct", dry_run=True, images="send")
    assert outcome.cost.table.iloc[0]["prompt tokens"] == "unknown", "no rule tells what a picture takes"


def test_the_estimate_holds_what_the_server_counts(
    run: Callable, batches: FakeBatches, prices: Callable, tmp_path: Path
) -> None:
    prices(batches.url, PRICE)
    run(images="send")
    estimated = manifest(tmp_path / "run")["cost"]["estimated"]
    words = sum(len(re.findall(r"\w+|[^\w\s]", text)) for text in map(_texts, batches.uploaded))
    bytes_ = sum(len(text.encode()) for text in map(_texts, batches.uploaded))
    pictures = 13 * 765  # 1024 x 1024 pixels: scaled to 768, four tiles of 170 and the base of 85
    low, high = estimated["prompt"]
    assert 0.8 * words < low - pictures < high - pictures < bytes_ and estimated["requests"] == 13
    assert run(images="send", dry_run=True, wait=False).cost.estimate.pictures == 0


def _texts(line: dict) -> str:
    return line["body"]["messages"][0]["content"] + line["body"]["messages"][1]["content"][0]["text"]


@pytest.mark.parametrize(
    ("size", "rule", "count"),
    [
        ((1024, 1024), {"tiles": [85, 170]}, 765),
        ((2048, 4096), {"tiles": [85, 170]}, 1105),
        ((128, 64), {"tiles": [85, 170]}, 255),
        ((1024, 683), {"tiles": [85, 170]}, 765),
        ((1024, 1024), {"tiles": [2833, 5667]}, 25501),
        ((1024, 1024), {"patches": 1536}, 1024),
        ((1800, 2400), {"patches": 1536}, 1452),
        ((1024, 1024), {"patches": 2500, "times": 1.2}, 1229),
        ((2048, 2048), {"patches": 2500, "times": 1.2}, 3000),
        ((1024, 1024), None, None),
    ],
)
def test_picture_tokens_follow_the_published_rules(size: tuple, rule: dict | None, count: int | None) -> None:
    """The worked examples of OpenAI's page on images and vision, and figures measured by others."""
    assert cost.picture_tokens(size, rule) == count


@given(st.integers(1, 8000), st.integers(1, 8000))
def test_patches_never_pass_their_limit(width: int, height: int) -> None:
    assert 1 <= cost.picture_tokens((width, height), {"patches": 1536}) <= 1536


@given(st.text(max_size=300))
def test_no_text_counts_more_than_its_bytes(text: str) -> None:
    low, high = cost.count_tokens(text)
    assert low <= high <= len(text.encode()) <= cost.most_prompt_tokens(text)


# --- prices -----------------------------------------------------------------------------------------------------------------


def test_the_prices_that_come_with_the_project_can_be_read() -> None:
    file = Path(__file__).resolve().parents[1] / "params" / "prices.yaml"
    found = cost._File.model_validate(read_yaml(file, "prices"))
    models = found.servers["https://api.openai.com/v1"]
    assert models["gpt-4o-mini"].of({"prompt": 1_000_000, "completion": 1_000_000}, "batch") == pytest.approx(0.375)
    assert all(model.most_output and model.image for model in models.values())


def test_a_dated_name_and_a_star_find_their_price(prices: Callable) -> None:
    prices("http://one/v1", "a: {input: 1, output: 2}\n    '*': {input: 0, output: 0}")
    assert cost.find_price("http://one/v1", "a-2024-07-18").input == 1
    assert cost.find_price("http://one/v1", "a-mini").input == 0 and cost.find_price("http://two/v1", "a") is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("m: {input: cheap, output: 1}", r"params/prices.yaml: servers > http://x/v1 > m > input: found 'cheap'; expected"),
        ("m: {input: 1}", r"servers > http://x/v1 > m > output: is missing"),
        ("m: {input: 1, output: 1, tokens: 5}", r"m > tokens: is not a known key"),
        ("m: {input: [", r"not readable as prices"),
    ],
)
def test_a_wrong_price_is_named_with_its_place(text: str, sentence: str, prices: Callable) -> None:
    prices("http://x/v1", text)
    with pytest.raises(UserError, match=sentence):
        cost.find_price("http://x/v1", "m")


def test_cached_tokens_have_their_own_price() -> None:
    found = Price(input=2, cached=0.5, output=10, batch=0.5)
    assert found.of({"prompt": 100, "cached": 60, "completion": 10}, "direct") == pytest.approx((40 * 2 + 60 * 0.5 + 100) / 1e6)
    assert found.of({"prompt": 100, "completion": 10}, "batch") == pytest.approx((200 + 100) / 2e6)


def test_a_dry_run_without_an_address_is_about_openai(
    monkeypatch: pytest.MonkeyPatch, prices: Callable, tmp_path: Path
) -> None:
    prices("https://api.openai.com/v1", "m: {input: 2, output: 10}")
    job = Job.load(dataset="RFMiD", teacher="openai", model="m", dry_run=True, out_dir=str(tmp_path / "run"))
    assert "unknown" not in job.run().cost.table.to_string()


# --- what was paid -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["direct", "batch"])
def test_what_was_paid_is_counted_also_for_replies_of_no_use(
    mode: str, run: Callable, batches: FakeBatches, prices: Callable, tmp_path: Path
) -> None:
    prices(batches.url, PRICE)
    useless: list[str] = []

    def text(body: dict) -> str:
        useless.extend([str(body)] if not useless else [])
        return "nothing" if str(body) == useless[0] else answer(body)

    batches.script = lambda number, body: completion(text(body))
    batches.line = lambda name, body: text(body)
    outcome = run(mode=mode, limit=3, **({"concurrency": 1} if mode == "direct" else {}))
    one = (100 * 2 + 20 * 10) / 1e6 * (0.5 if mode == "batch" else 1)
    cost = manifest(tmp_path / "run")["cost"]
    assert cost["actual"]["usd"] == pytest.approx(5 * one) and cost["lost"]["usd"] == pytest.approx(3 * one)
    table = outcome.cost.table
    assert table.loc["paid for 5 replies", "prompt tokens"] == "500"
    assert table.loc["lost on replies without a conversation", "prompt tokens"] == "300"
    assert table.loc["per accepted conversation", "prompt tokens"] == "250"
    assert list(table.index)[-1].startswith("lost"), "the notebook's last table"


def test_a_reply_that_is_no_json_was_not_paid(run: Callable, batches: FakeBatches, prices: Callable) -> None:
    from aiohttp import web

    prices(batches.url, PRICE)
    batches.script = lambda number, body: web.Response(text="<html>", content_type="application/json")
    outcome = run(mode="direct", limit=1)
    assert outcome.cost.replies == 0 and outcome.counts["failed"] == 1, "it is no reply, and asked for again next time"


# --- a budget ----------------------------------------------------------------------------------------------------------------


def test_direct_runs_never_pass_their_budget_and_say_what_is_left(
    run: Callable, batches: FakeBatches, prices: Callable, tmp_path: Path
) -> None:
    prices(batches.url, EXPENSIVE)
    batches.script = lambda number, body: completion(answer(body))
    worst = max(len(str(body)) for body in _bodies(run, batches)) * 20000 / 1e6 + 100 * 100000 / 1e6
    budget = worst + 3 * ONE
    outcome = run(mode="direct", budget_usd=budget, concurrency=10)
    paid = ONE * len(batches.asked)
    assert 0 < paid <= budget < paid + worst, "it stops when the next request could exceed the budget, not before"
    assert outcome.state == "over budget" and outcome.counts["accepted"] == len(batches.asked)
    outcome.require()
    left = 13 - len(batches.asked)
    assert f"The budget of {budget:g} USD is reached: {left} images are not asked. Raise budget_usd" in outcome.summary
    assert manifest(tmp_path / "run")["state"] == "over budget"
    asked = len(batches.asked)
    run(mode="direct", budget_usd=budget)
    assert len(batches.asked) == asked, "what was paid earlier counts"
    assert run(mode="direct", budget_usd=100 * budget).counts["accepted"] == 13


def _bodies(run: Callable, batches: FakeBatches) -> list[dict]:
    job = Job.load(dataset="ODIR", teacher="openai", model="m")
    return [job.teacher.body(entry.request) for entry in job.plan() if entry.request]


def test_batch_runs_never_pass_their_budget_and_go_on_within_it(
    run: Callable, batches: FakeBatches, prices: Callable, tmp_path: Path
) -> None:
    prices(batches.url, EXPENSIVE)
    worst = max(len(json.dumps(body)) + 200 for body in _bodies(run, batches)) * 10000 / 1e6 + 100 * 50000 / 1e6
    budget = 1.2 * worst
    first = run(budget_usd=budget, wait=False)
    assert first.state == "pending" and first.asked == 1, "what a request can cost at most is set aside"
    assert run(budget_usd=budget, wait=False).asked == 0
    outcome = run(budget_usd=budget)
    paid = ONE / 2 * sum(batches.billed.values())
    assert paid <= budget and outcome.state == "over budget" and outcome.counts["accepted"] > 2
    outcome.require()
    assert "could exceed the budget" in outcome.table.to_string()
    assert run(budget_usd=1000 * budget).counts["accepted"] == 13 and set(batches.billed.values()) == {1}


def test_what_batches_can_cost_counts_in_direct_mode_too(
    run: Callable, batches: FakeBatches, prices: Callable, tmp_path: Path
) -> None:
    prices(batches.url, EXPENSIVE)
    run(wait=False, limit=5)
    outcome = run(mode="direct", budget_usd=50)
    assert outcome.asked == 0 and not batches.asked and outcome.counts["pending"] == 13


def test_a_budget_too_small_for_anything_is_no_green_run(run: Callable, batches: FakeBatches, prices: Callable) -> None:
    prices(batches.url, EXPENSIVE)
    for mode in ("direct", "batch"):
        outcome = run(mode=mode, budget_usd=0.01)
        assert outcome.state == "over budget" and not batches.asked and not batches.batches
        with pytest.raises(UserError, match=r"no conversation was written for 14 images .*raise budget_usd"):
            outcome.require()


def test_a_budget_needs_a_price_and_a_longest_answer(run: Callable, batches: FakeBatches, prices: Callable) -> None:
    with pytest.raises(UserError, match=r"budget_usd needs a price for m at http://127.*; add it to params/prices.yaml"):
        run(mode="direct", budget_usd=1)
    prices(batches.url, "m: {input: 1, output: 1}")
    with pytest.raises(UserError, match=r"set max_tokens under `request`"):
        run(mode="direct", budget_usd=1)
    with pytest.raises(UserError, match="budget_usd: found -1"):
        run(mode="direct", budget_usd=-1)
    with pytest.raises(UserError, match="which the offline teacher does not use"):
        Job.load(dataset="ODIR", budget_usd=1)


def test_a_budget_counts_all_models_and_needs_a_picture_s_tokens(run: Callable, batches: FakeBatches, prices: Callable) -> None:
    prices(batches.url, EXPENSIVE + "\n    n: {input: 20000, output: 100000, most_output: 100}")
    batches.script = lambda number, body: completion(answer(body))
    worst = max(len(json.dumps(body)) + 200 for body in _bodies(run, batches)) * 20000 / 1e6 + 100 * 100000 / 1e6
    budget = 1.1 * worst
    run(mode="direct", budget_usd=budget, concurrency=10)
    paid = len(batches.asked) * ONE
    assert 0 < paid <= budget
    job = Job.load(dataset="ODIR", teacher="openai", model="n")
    first = next(entry.request for entry in job.plan() if entry.request)
    alone = (job.teacher.token_limit(first).prompt * 20000 + 100 * 100000) / 1e6
    assert run(mode="direct", budget_usd=alone + paid - ONE / 2, model="n").asked == 0, "what m was paid counts"
    with pytest.raises(UserError, match="budget_usd needs to know how many tokens a picture takes: add image for m to"):
        run(mode="direct", budget_usd=budget, images="send")
    prices(batches.url, "n: {input: 20000, output: 100000, most_output: 100}")
    with pytest.raises(UserError, match=r"budget_usd also needs a price for m at http.*, whose replies are in"):
        run(mode="direct", budget_usd=budget, model="n")


def test_only_a_positive_limit_bounds_an_answer() -> None:
    assert [cost.answer_limit({"max_tokens": n}) for n in (-1, 0, True, 50)] == [None, None, None, 50]


def test_a_server_that_counts_no_tokens_ends_a_run_with_a_budget(run: Callable, batches: FakeBatches, prices: Callable) -> None:
    from aiohttp import web

    prices(batches.url, EXPENSIVE)

    def uncounted(number: int, body: dict) -> web.Response:
        found = json.loads(completion(answer(body)).text)
        found.pop("usage")
        return web.json_response(found)

    batches.script = uncounted
    outcome = run(mode="direct", budget_usd=1000, concurrency=1)
    assert len(batches.asked) <= 2 and "budget_usd cannot be kept" in outcome.stopped
    with pytest.raises(UserError, match="budget_usd cannot be kept"):
        run(mode="direct", budget_usd=1000)


def test_failed_requests_give_back_what_was_set_aside(run: Callable, batches: FakeBatches, prices: Callable) -> None:
    prices(batches.url, EXPENSIVE)
    batches.script = lambda number, body: error(400, "odd") if number <= 9 else completion(answer(body))
    outcome = run(mode="direct", budget_usd=400, concurrency=1)
    assert outcome.counts["failed"] == 9 and outcome.counts["accepted"] == 4


def test_failed_lines_of_a_batch_give_back_what_was_set_aside(run: Callable, batches: FakeBatches, prices: Callable) -> None:
    prices(batches.url, EXPENSIVE)
    batches.line = lambda name, body: failure(400, "odd") if mark(told(body))[0] < "k" else None
    outcome = run(budget_usd=300)
    assert outcome.counts["failed"] > 2 and outcome.counts["accepted"] + outcome.counts["failed"] == 13


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 1000)), max_size=40), st.floats(0.001, 2))
def test_a_purse_never_lets_more_out_than_it_holds(bounds: list[tuple[int, int]], limit: float) -> None:
    budget = Budget(limit, Price(input=20, output=100))
    for prompt, completion_ in bounds:
        worst = budget.upper_bound(TokenLimit(prompt, completion_), "direct")
        if budget.reserve(worst):
            budget.release(worst, worst)
        assert budget.spent <= limit + 1e-9 and math.isclose(budget.reserved, 0, abs_tol=1e-9)


# --- vaults of earlier versions ----------------------------------------------------------------------------------------------


def test_a_vault_of_the_first_version_keeps_its_replies(run: Callable, batches: FakeBatches, tmp_path: Path) -> None:
    batches.script = lambda number, body: completion(answer(body))
    run(mode="direct", limit=4)
    with sqlite3.connect(tmp_path / "run" / "vault.sqlite") as vault:  # as the first version wrote it
        for column in ("channel", "server", "model"):
            vault.execute(f"ALTER TABLE replies DROP COLUMN {column}")
        for table in ("batches", "lines", "notes", "readings"):
            vault.execute(f"DROP TABLE {table}")
        vault.execute("PRAGMA user_version = 1")
    asked = len(batches.asked)
    outcome = run(mode="direct", limit=4)
    assert outcome.counts["accepted"] == 4 and len(batches.asked) == asked
    assert len(lines(tmp_path / "run" / "conversations.jsonl")) == 4
