"""What a sample tells of the whole: exact intervals, agreement, draws."""

import random
from collections import Counter
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from retinal_lib.review import agreement


def at_most(errors: int, number: int, share: float) -> float:
    """The chance of at most so many errors, in exact arithmetic."""
    p = Fraction(share)
    return float(sum(comb(number, k) * p**k * (1 - p) ** (number - k) for k in range(errors + 1)))


def test_no_error_in_150() -> None:
    found = agreement.rate(0, 150)
    assert str(found) == "0 errors in 150: at most 2 % at 95 %"
    assert found.high == pytest.approx(1 - 0.05 ** (1 / 150), abs=1e-12) and found.low == 0


@pytest.mark.parametrize(
    ("errors", "number", "low", "high"),
    [(1, 10, 0.002529, 0.445016), (5, 20, 0.086571, 0.491046), (50, 100, 0.398321, 0.601679)],
)
def test_published_intervals(errors: int, number: int, low: float, high: float) -> None:
    found = agreement.rate(errors, number)
    assert (found.low, found.high) == (pytest.approx(low, abs=2e-6), pytest.approx(high, abs=2e-6))


@settings(max_examples=60)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_where_the_tails_begin(pair: tuple[int, int]) -> None:
    errors, number = pair
    found = agreement.rate(errors, number)
    tail = 0.05 if errors in (0, number) else 0.025
    if errors < number:
        assert at_most(errors, number, found.high) == pytest.approx(tail, abs=1e-9)
    if errors:
        assert 1 - at_most(errors - 1, number, found.low) == pytest.approx(tail, abs=1e-9)
    assert found.low <= found.estimate <= found.high


def test_it_agrees_with_the_quantiles_of_the_beta_distribution() -> None:
    for errors, number in ((1, 7), (40, 4000), (999, 1000), (0, 20)):
        found, tail = agreement.rate(errors, number), 0.05 if errors == 0 else 0.025
        assert found.high == pytest.approx(beta.ppf(1 - tail, errors + 1, number - errors), abs=1e-9)
        if errors:
            assert found.low == pytest.approx(beta.ppf(tail, errors, number - errors + 1), abs=1e-9)


def test_large_samples_and_none() -> None:
    assert agreement.rate(300, 100_000).high == pytest.approx(0.003358, abs=2e-6)
    assert str(agreement.rate(0, 0)) == "nothing was looked at yet"
    assert str(agreement.rate(3, 3)).startswith("3 errors in 3: at least 37 %")
    assert str(agreement.rate(1, 150)) == "1 error in 150: 0.67 %, 0.017 % to 3.7 % at 95 %"
    with pytest.raises(ValueError, match="4 errors in 3"):
        agreement.rate(4, 3)


def test_a_weighted_rate_covers_the_truth() -> None:
    random.seed(7)
    sizes, truth = (9000, 1000), (0.02, 0.3)
    whole = sum(size * share for size, share in zip(sizes, truth, strict=True)) / sum(sizes)
    held = 0
    for _ in range(300):
        rows = [(size, sum(random.random() < share for _ in range(60)), 60) for size, share in zip(sizes, truth, strict=True)]
        found = agreement.weighted(rows)
        held += found.low <= whole <= found.high
    assert held >= 285, "at least 95 in a hundred"
    alone = agreement.weighted([(10, 1, 5), (0, 0, 0)])
    assert alone == agreement.rate(1, 5)
    assert agreement.weighted([(10, 0, 5), (10, 0, 0)]).high > 0.5, "half of it was never looked into"


def test_kappa() -> None:
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert agreement.agreement(pairs).kappa == pytest.approx(0.4)
    assert str(agreement.agreement(pairs)) == "70 % of 50 equal, Cohen's kappa 0.40"
    assert agreement.agreement([("yes", "yes")] * 3).kappa is None
    assert "not defined" in str(agreement.agreement([("yes", "yes")]))
    assert str(agreement.agreement([])) == "no sample has a verdict of both"
    assert agreement.agreement([("a", "b"), ("b", "a")]).kappa == pytest.approx(-1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=60))
def test_kappa_is_what_agreement_exceeds_chance_by(pairs: list[tuple[str, str]]) -> None:
    found, number = agreement.agreement(pairs), len(pairs)
    equal = Fraction(sum(one == other for one, other in pairs), number)
    first, second = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    expected = Fraction(sum(first[verdict] * second[verdict] for verdict in first), number**2)
    assert found.equal == pytest.approx(float(equal))
    if expected == 1:
        assert found.kappa is None
    else:
        assert found.kappa == pytest.approx(float((equal - expected) / (1 - expected)), abs=1e-12)


def test_each_two_reviewers_are_compared_on_what_both_judged() -> None:
    found = agreement.between([{"Bob": "accepted", "Ada": "accepted"}, {"Ada": "rejected"}, {"Ada": "fixed", "Cyd": "fixed"}])
    assert {pair: one.both for pair, one in found.items()} == {("Ada", "Bob"): 1, ("Ada", "Cyd"): 1}


@given(st.lists(st.integers(0, 400), unique=True), st.integers(0, 5), st.integers(0, 3))
def test_a_draw_is_the_same_in_any_order(things: list[int], number: int, seed: int) -> None:
    def drawn(given: list[int]) -> list[int]:
        return agreement.draw(given, number, lambda thing: str(thing % 3), str, seed)

    found = drawn(things)
    assert sorted(found) == sorted(drawn(list(reversed(things))))
    assert found == [thing for thing in things if thing in found]
    for stratum in range(3):
        size = sum(thing % 3 == stratum for thing in things)
        assert sum(thing % 3 == stratum for thing in found) == min(size, number)


def test_seeds_draw_differently_and_fairly() -> None:
    draws = [set(agreement.draw(range(100), 10, lambda _: "", str, seed)) for seed in range(400)]
    assert len({frozenset(draw) for draw in draws}) == 400
    counts = [sum(thing in draw for draw in draws) for thing in range(100)]
    assert min(counts) > 15 and max(counts) < 70, "each about 40 times"
