"""Statistics of a review: drawing samples, the error rate with its interval, and the agreement of two reviewers."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import combinations
from typing import NamedTuple, TypeVar

from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

Item = TypeVar("Item")


class Rate(NamedTuple):
    """An error rate with the exact interval around it; all three are shares, None if nothing was looked at.

    With no error, or with nothing but errors, the interval is one-sided.
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
        counted = f"{self.errors:,} {'error' if self.errors == 1 else 'errors'} in {self.looked_at:,}"
        level = f"{self.level:.0%}".replace("%", " %")
        if self.errors == 0:
            return f"{counted}: at most {_percent(self.high)} at {level}"
        if self.errors == self.looked_at:
            return f"{counted}: at least {_percent(self.low)} at {level}"
        return f"{counted}: {_percent(self.estimate)}, {_percent(self.low)} to {_percent(self.high)} at {level}"


def _percent(share: float) -> str:
    value = share * 100
    return f"{value:.2g} %" if value < 99.5 else f"{value:.3g} %"


def draw(
    items: Iterable[Item], number: int, stratum: Callable[[Item], str], name: Callable[[Item], str], seed: int = 0
) -> list[Item]:
    """Draws at most `number` items of each stratum and returns them in the order given. The draw depends on
    seed and names alone, so that a longer list draws the same items, except those that new items displace. ValueError: the
    number is negative."""
    if number < 0:
        raise ValueError(f"{number} items cannot be drawn")
    items = list(items)
    strata: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        strata[stratum(item)].append(index)
    sample = set()
    for indices in strata.values():
        indices.sort(key=lambda index: hashlib.sha256(f"{seed}:{name(items[index])}".encode()).digest())
        sample.update(indices[:number])
    return [item for index, item in enumerate(items) if index in sample]


def rate(errors: int, looked_at: int, level: float = 0.95) -> Rate:
    """Returns the share of errors with its Clopper-Pearson interval. ValueError: more errors than were looked at, or no such
    level."""
    if not 0 <= errors <= looked_at or not 0 < level < 1:
        raise ValueError(f"{errors} errors in {looked_at} at level {level}: not possible")
    if not looked_at:
        return Rate(0, 0, None, None, None, level)
    side = "less" if errors == 0 else "greater" if errors == looked_at else "two-sided"
    low, high = binomtest(errors, looked_at, alternative=side).proportion_ci(level, "exact")
    return Rate(errors, looked_at, errors / looked_at, float(low), float(high), level)


def weighted(strata: Sequence[tuple[int, int, int]], level: float = 0.95) -> Rate:
    """Returns the error rate of a whole from (size, errors, looked at) of each of its strata, weighted by their sizes.

    The interval is the sum of the strata's intervals, each at a level so high that all hold together at `level`: it is never
    too narrow, whatever was drawn from each. A stratum without reviews may have any share of errors.
    """
    strata = [row for row in strata if row[0]]
    total, errors, looked_at = (sum(row[i] for row in strata) for i in range(3))
    if len(strata) == 1 or not looked_at:
        return rate(errors, looked_at, level)
    level_of_each = 1 - (1 - level) / len(strata)
    low = high = estimate = 0.0
    for size, errors_in_stratum, reviewed in strata:
        part = rate(errors_in_stratum, reviewed, level_of_each)
        estimate += size / total * (part.estimate if reviewed else 0.5)
        low += size / total * (part.low or 0.0)
        high += size / total * (part.high if reviewed else 1.0)
    return Rate(errors, looked_at, estimate, low, high, level)


class Agreement(NamedTuple):
    """The agreement of two people on `both` samples that both reviewed: the share of equal verdicts, and Cohen's kappa (None if
    it is not defined, since both gave one verdict only)."""

    both: int
    equal: float | None
    kappa: float | None

    def __str__(self) -> str:
        if self.equal is None:
            return "no sample has a verdict of both"
        kappa = "not defined: both gave one verdict only" if self.kappa is None else f"{round(self.kappa, 2) + 0.0:.2f}"
        return f"{_percent(self.equal)} of {self.both:,} equal, Cohen's kappa {kappa}"


def agreement(pairs: Iterable[tuple[Hashable, Hashable]]) -> Agreement:
    """Returns the agreement (kappa unweighted) of pairs of verdicts, one pair for each sample that both reviewed."""
    pairs = list(pairs)
    if not pairs:
        return Agreement(0, None, None)
    first, second = zip(*pairs, strict=True)
    equal = sum(one == other for one, other in pairs) / len(pairs)
    defined = len({*first, *second}) > 1
    return Agreement(len(pairs), equal, float(cohen_kappa_score(first, second)) if defined else None)


def between(votes: Iterable[dict[str, str]]) -> dict[tuple[str, str], Agreement]:
    """Returns the agreement of each two reviewers, from the votes (reviewer -> verdict) on each sample."""
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for of_sample in votes:
        for one, other in combinations(sorted(of_sample), 2):
            pairs[one, other].append((of_sample[one], of_sample[other]))
    return {who: agreement(verdicts) for who, verdicts in sorted(pairs.items())}
