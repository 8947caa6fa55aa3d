"""What a sample tells of the whole: which to look at, how many errors there may be, and how far two people agree."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple, TypeVar

Thing = TypeVar("Thing")
_STEPS = 80  # halvings of an interval: beyond what a float can tell apart


class Rate(NamedTuple):
    """An error rate with the exact interval around it; all three are shares, None where nothing was looked at.

    With no error, or with nothing but errors, the whole of the confidence lies on the one side that is open.
    """

    errors: int
    looked_at: int
    estimate: float | None
    low: float | None
    high: float | None
    level: float = 0.95

    def __str__(self) -> str:
        if self.estimate is None:
            return "nothing was looked at yet"
        told = f"{self.errors:,} {'error' if self.errors == 1 else 'errors'} in {self.looked_at:,}"
        level = f"{self.level:.0%}".replace("%", " %")
        if self.errors == 0:
            return f"{told}: at most {_percent(self.high)} at {level}"
        if self.errors == self.looked_at:
            return f"{told}: at least {_percent(self.low)} at {level}"
        return f"{told}: {_percent(self.estimate)}, {_percent(self.low)} to {_percent(self.high)} at {level}"


def _percent(share: float) -> str:
    value = share * 100
    return f"{value:.2g} %" if value < 99.5 else f"{value:.3g} %"


def draw(
    things: Iterable[Thing], number: int, stratum: Callable[[Thing], str], name: Callable[[Thing], str], seed: int = 0
) -> list[Thing]:
    """At most `number` things of each stratum, in the order given. Seed and name alone decide, so that a longer list draws
    the same ones again, apart from those that newcomers displace. ValueError: the number is negative."""
    if number < 0:
        raise ValueError(f"{number} things cannot be drawn")
    things = list(things)
    strata: dict[str, list[int]] = defaultdict(list)
    for place, thing in enumerate(things):
        strata[stratum(thing)].append(place)
    chosen = set()
    for places in strata.values():
        places.sort(key=lambda place: hashlib.sha256(f"{seed}:{name(things[place])}".encode()).digest())
        chosen.update(places[:number])
    return [thing for place, thing in enumerate(things) if place in chosen]


def rate(errors: int, looked_at: int, level: float = 0.95) -> Rate:
    """The share of errors with its Clopper–Pearson interval. ValueError: more errors than were looked at, or no such level."""
    if not 0 <= errors <= looked_at or not 0 < level < 1:
        raise ValueError(f"{errors} errors in {looked_at} at level {level}: not possible")
    if not looked_at:
        return Rate(0, 0, None, None, None, level)
    one_sided = errors in (0, looked_at)
    tail = (1 - level) if one_sided else (1 - level) / 2
    low = 0.0 if errors == 0 else _solve(lambda share: 1 - _at_most(errors - 1, looked_at, share), tail)
    high = 1.0 if errors == looked_at else 1 - _solve(lambda share: _at_most(errors, looked_at, 1 - share), tail)
    return Rate(errors, looked_at, errors / looked_at, low, high, level)


def _solve(chance: Callable[[float], float], wanted: float) -> float:
    """The share at which a chance that rises with it reaches what is wanted."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) < wanted else (low, middle)
    return (low + high) / 2


def _at_most(errors: int, number: int, share: float) -> float:
    """The chance of at most so many errors among a number of independent ones."""
    if share <= 0 or share >= 1:
        return float(share <= 0 or errors >= number)
    yes, no = math.log(share), math.log1p(-share)
    ways = [math.lgamma(number + 1) - math.lgamma(k + 1) - math.lgamma(number - k + 1) for k in range(errors + 1)]
    return min(1.0, math.fsum(math.exp(each + k * yes + (number - k) * no) for k, each in enumerate(ways)))


def weighted(strata: Sequence[tuple[int, int, int]], level: float = 0.95) -> Rate:
    """The error rate of a whole from (size, errors, looked at) of each of its strata, weighted by their sizes.

    The interval adds up the strata's own, each at a level so high that all of them hold together at `level`: it is never
    too narrow, whatever was drawn from each. A stratum that nobody looked into may hold any share of errors.
    """
    strata = [row for row in strata if row[0]]
    total, looked_at = sum(size for size, _, _ in strata), sum(row[2] for row in strata)
    errors = sum(row[1] for row in strata)
    if len(strata) == 1 or not looked_at:
        return rate(errors, looked_at, level)
    each = 1 - (1 - level) / len(strata)
    low = high = estimate = 0.0
    for size, wrong, seen in strata:
        part = rate(wrong, seen, each)
        estimate += size / total * (part.estimate if seen else 0.5)
        low += size / total * (part.low or 0.0)
        high += size / total * (part.high if seen else 1.0)
    return Rate(errors, looked_at, estimate, low, high, level)


class Agreement(NamedTuple):
    """How far two people agree on what both looked at: the share of equal verdicts, and Cohen's kappa (None: not defined,
    since chance alone would make them agree)."""

    both: int
    equal: float | None
    kappa: float | None

    def __str__(self) -> str:
        if self.equal is None:
            return "no sample has a verdict of both"
        kappa = "not defined: both gave one verdict only" if self.kappa is None else f"{self.kappa:.2f}"
        return f"{_percent(self.equal)} of {self.both:,} equal, Cohen's kappa {kappa}"


def agreement(pairs: Iterable[tuple[Hashable, Hashable]]) -> Agreement:
    """Cohen's kappa (unweighted) of pairs of verdicts, one pair for each thing that both have judged."""
    pairs = list(pairs)
    if not pairs:
        return Agreement(0, None, None)
    number = len(pairs)
    equal = sum(one == other for one, other in pairs) / number
    first, second = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    expected = sum(first[verdict] * second[verdict] for verdict in first) / number**2
    return Agreement(number, equal, None if expected == 1 else (equal - expected) / (1 - expected))
