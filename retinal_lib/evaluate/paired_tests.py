"""Two sets of answers to the same questions: how far apart they are, and how often such a difference would come by chance."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from retinal_lib.evaluate import metrics
from retinal_lib.evaluate.metrics import Score
from retinal_lib.evaluate.scored_answers import SCORES, ScoredAnswer

_RESAMPLES = 2000


class Comparison(NamedTuple):
    """The mean scores of two sets of answers, the difference of the first from the second with its interval, the two-sided p
    and its test, and all that in words."""

    asked: int
    first: float
    second: float
    difference: Score
    p: float
    test: str
    words: str


def compare(pairs: Sequence[tuple[ScoredAnswer, ScoredAnswer]], names: tuple[str, str], seed: int = 0) -> Comparison:
    """Compares two answers to each of some questions of one kind: by McNemar's exact test where an answer is right or wrong,
    else by a bootstrap of the paired scores over images. ValueError: no pairs."""
    if not pairs:
        raise ValueError("no question was answered by both")
    scores = np.array([(one.score, other.score) for one, other in pairs])
    images = [f"{one.dataset} {one.image}" for one, _ in pairs]
    difference, p = metrics.paired_bootstrap(scores[:, 0] - scores[:, 1], images, _RESAMPLES, seed)
    first, second = map(float, scores.mean(0))
    kind = pairs[0][0].kind
    if kind in SCORES:
        return Comparison(len(pairs), first, second, difference, p, "paired bootstrap", _scored(names, difference, p))
    p = metrics.mcnemar(*scores.astype(bool).T)
    only = [int((scores[:, place] > scores[:, 1 - place]).sum()) for place in (0, 1)]
    return Comparison(len(pairs), first, second, difference, p, "McNemar", _right(names, only, p))


def _right(names: tuple[str, str], only: Sequence[int], p: float) -> str:
    """How many more questions one answered rightly, in words; `only` counts what one alone had right."""
    if only[0] == only[1]:
        return f"{names[0]} and {names[1]} answered equally many rightly"
    (more, better), (fewer, other) = sorted(zip(only, names, strict=True), reverse=True)
    alone = f"{more} that {other} had wrong, and {fewer} the other way round"
    return f"{better} answered {more - fewer:,} more rightly than {other} ({alone}); {_chance(p)}"


def _scored(names: tuple[str, str], difference: Score, p: float) -> str:
    """How much higher one scores, in words."""
    if not difference.value:
        return f"{names[0]} and {names[1]} score the same"
    better, other = names if difference.value > 0 else names[::-1]
    return f"{better} scores {abs(difference.value):.3f} higher than {other}; {_chance(p)}"


def _chance(p: float) -> str:
    """A p in words.

    >>> _chance(0.0021)
    'such a difference would come by chance in 2 of 1,000'
    """
    times = round(1000 * p)
    return f"such a difference would come by chance in {f'{times:,}' if times else 'fewer than 1'} of 1,000"
