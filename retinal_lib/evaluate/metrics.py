"""Metrics of answers against references by scikit-learn, with bootstrap confidence intervals."""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest, rankdata
from sklearn import metrics

from retinal_lib.display import progress

Box = Sequence[float]
LEAST_IOU = (0.3, 0.5)  # from which overlap on a box counts as found


class Score(NamedTuple):
    """A number with its 95 % bootstrap interval; NaN where there is nothing to count."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return "–" if np.isnan(self.value) else f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


class LabelScore(NamedTuple):
    """How well one label is found; `references` and `answers` count where it occurs."""

    label: str
    precision: float
    recall: float
    f1: float
    references: int
    answers: int


def bootstrap(measure: Callable[[np.ndarray], float], groups: Sequence[object], times: int, seed: int) -> Score:
    """Computes a measure of all rows, with its interval over resamples of whole groups (images). `measure` takes the numbers of
    rows, int [rows]."""
    rows = np.arange(len(groups))
    if not len(rows):
        return Score(np.nan, np.nan, np.nan)
    value = measure(rows)
    members: dict[object, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    rows_of = [np.array(numbers) for numbers in members.values()]
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(rows_of), (times, len(rows_of)))
    resampled = [measure(np.concatenate([rows_of[i] for i in draw])) for draw in progress(draws, "resamples")]
    resampled = [number for number in resampled if not np.isnan(number)]
    if not resampled or np.isnan(value):
        return Score(value, np.nan, np.nan)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Score(float(value), float(low), float(high))


def accuracy(truth: np.ndarray, answers: np.ndarray) -> float:
    """Computes the share of right answers; one that is missing (None) is wrong."""
    return float(np.mean([t == f for t, f in zip(truth, answers, strict=True)])) if len(truth) else np.nan


def _answered(truth: np.ndarray, answers: np.ndarray) -> tuple[list, list]:
    kept = [(t, f) for t, f in zip(truth, answers, strict=True) if f is not None]
    return [str(t) for t, _ in kept], [str(f) for _, f in kept]


def balanced(truth: np.ndarray, answers: np.ndarray) -> float:
    """Computes the balanced accuracy of what was answered."""
    right, given = _answered(truth, answers)
    return _quiet(metrics.balanced_accuracy_score, right, given) if right else np.nan


def macro_f1(truth: np.ndarray, answers: np.ndarray) -> float:
    """Computes macro-F1 of what was answered, over the classes that references have."""
    right, given = _answered(truth, answers)
    return (
        _quiet(metrics.f1_score, right, given, labels=sorted(set(right)), average="macro", zero_division=0) if right else np.nan
    )


def kappa(truth: np.ndarray, answers: np.ndarray) -> float:
    """Computes the quadratic weighted kappa of what was answered, for grades; NaN where all references are one grade."""
    kept = [(int(t), int(f)) for t, f in zip(truth, answers, strict=True) if f is not None]
    if len({t for t, _ in kept}) < 2:
        return np.nan
    right, given = zip(*kept, strict=True)
    return _quiet(metrics.cohen_kappa_score, right, given, weights="quadratic", labels=list(range(max(*right, *given) + 1)))


def _quiet(measure: Callable, *values: object, **options: object) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that only answers have, or only one class: the table's counts show it
        return float(measure(*values, **options))


def confusion(truth: Sequence[object], answers: Sequence[object], classes: Sequence[object]) -> np.ndarray:
    """Counts answers by reference: int [classes, classes + 1]; the last column counts what has no answer."""
    names = [str(c) for c in classes]
    given = ["" if f is None else str(f) for f in answers]
    right = [str(t) for t in truth]
    return metrics.confusion_matrix(right, given, labels=[*names, ""])[: len(names)]


def per_label(truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]], labels: Sequence[str]) -> list[LabelScore]:
    """Scores each label that a reference or an answer has."""
    labelled, named = (np.array([[label in row for label in labels] for row in rows], dtype=int) for rows in (truth, answers))
    if not len(labelled):
        return []
    precision, recall, f1, support = metrics.precision_recall_fscore_support(labelled, named, average=None, zero_division=0)
    rows = map(LabelScore, labels, precision, recall, f1, support, named.sum(0))
    return [row for row in rows if row.references or row.answers]


def multilabel_f1(
    truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]], labels: Sequence[str], average: str
) -> float:
    """Computes F1 over all labels that references have: macro, or micro over all decisions."""
    known = [label for label in labels if any(label in row for row in truth)]
    if not known:
        return np.nan
    labelled, named = (np.array([[label in row for label in known] for row in rows], dtype=int) for rows in (truth, answers))
    return float(metrics.f1_score(labelled, named, average=average, zero_division=0))


def overlaps(truth: Sequence[Box], answers: Sequence[Box]) -> np.ndarray:
    """Computes the IoU of each reference box with each answered box: float [references, answers]."""
    one, other = (np.asarray(boxes, float).reshape(-1, 4) for boxes in (truth, answers))
    corner = np.minimum(one[:, None, 2:], other[None, :, 2:]) - np.maximum(one[:, None, :2], other[None, :, :2])
    shared = np.prod(np.clip(corner, 0, None), axis=-1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def matched(truth: Sequence[Box], answers: Sequence[Box]) -> list[float]:
    """Matches boxes so that the IoUs sum up highest, each used once; gives each reference box its IoU, 0 without a match."""
    if not truth or not answers:
        return [0.0] * len(truth)
    every = overlaps(truth, answers)
    rows, columns = linear_sum_assignment(-every)
    best = dict(zip(rows.tolist(), every[rows, columns].tolist(), strict=True))
    return [best.get(i, 0.0) for i in range(len(truth))]


class BoxCounts(NamedTuple):
    """Boxes counted over images. Of `named` boxes that match no marked one, as many are left out as lesions are known to be
    there without a box; `found` and `false` have a number for each of LEAST_IOU."""

    marked: int
    overlap: float  # the sum of the IoUs of matched boxes
    apart: int  # boxes, matched ones as one: what the overlaps are shared by
    found: tuple[int, ...]
    false: tuple[int, ...]

    @classmethod
    def of(cls, truth: Sequence[Box], answers: Sequence[Box], unlisted: int = 0) -> "BoxCounts":
        """Counts the boxes of one image, each used once; `unlisted` lesions are there without a box.

        >>> BoxCounts.of([(0, 0, 2, 2)], [(0, 0, 2, 1), (5, 5, 6, 6)])
        BoxCounts(marked=1, overlap=0.5, apart=2, found=(1, 1), false=(1, 1))
        """
        best = matched(truth, answers)
        every = overlaps(truth, answers)
        pairs = [linear_sum_assignment(every >= least, maximize=True) for least in LEAST_IOU]
        found = tuple(int((every[pair] >= least).sum()) for pair, least in zip(pairs, LEAST_IOU, strict=True))
        false = [max(0, len(answers) - right - unlisted) for right in (sum(map(bool, best)), *found)]
        return cls(len(truth), float(sum(best)), len(truth) + false[0], found, tuple(false[1:]))


def mean_iou(counts: Sequence[BoxCounts]) -> float:
    """Computes the mean IoU over marked and named boxes, each used once; one without a partner counts 0."""
    apart = sum(each.apart for each in counts)
    return sum(each.overlap for each in counts) / apart if apart else np.nan


def box_rates(counts: Sequence[BoxCounts], place: int) -> tuple[float, float, float, float]:
    """Computes precision, recall, F1 and average precision at the IoU in this place of LEAST_IOU.

    Answers give no scores, so that the curve of precision over recall has one point: average precision, the area under it, is
    precision times recall.
    """
    found, false = (sum(each[place] for each in column) for column in ([c.found for c in counts], [c.false for c in counts]))
    marked = sum(each.marked for each in counts)
    precision = found / (found + false) if found + false else (0.0 if marked else np.nan)
    recall = found / marked if marked else np.nan
    f1 = 2 * found / (found + false + marked) if false + marked else np.nan
    return precision, recall, f1, precision * recall


def absolute_error(truth: Sequence[float], answers: Sequence[float]) -> float:
    """Computes the mean absolute error."""
    return float(metrics.mean_absolute_error(truth, answers)) if len(truth) else np.nan


def relative_error(truth: Sequence[float], answers: Sequence[float]) -> float:
    """Computes the median relative error, of references that are not 0."""
    shares = [abs(f - t) / abs(t) for t, f in zip(truth, answers, strict=True) if t]
    return float(np.median(shares)) if shares else np.nan


def rank_correlation(truth: Sequence[float], answers: Sequence[float]) -> float:
    """Computes Spearman's rank correlation; NaN with fewer than three pairs, or where one side is all the same."""
    if len(truth) < 3 or len(set(truth)) < 2 or len(set(answers)) < 2:
        return np.nan
    return float(np.corrcoef(rankdata(truth), rankdata(answers))[0, 1])


# --- paired tests ----------------------------------------------------------------------------------------------------------


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Computes the exact two-sided p of McNemar's test for right and wrong answers to the same questions.

    >>> mcnemar([True] * 6, [False] * 6)
    0.03125
    """
    only = [sum(a and not b for a, b in zip(*pair, strict=True)) for pair in ((first, second), (second, first))]
    return float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0


def paired_bootstrap(differences: Sequence[float], groups: Sequence[object], times: int, seed: int) -> tuple[Score, float]:
    """Computes the mean difference of paired scores with its interval over resamples of whole groups (images), and the
    two-sided p: the share of resamples that lie as far from this mean as it lies from 0."""
    of = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    places = [of[group] for group in groups]
    sums, sizes = np.bincount(places, differences), np.bincount(places)
    mean, rng = float(sums.sum() / sizes.sum()), np.random.default_rng(seed)
    drawn = (rng.integers(0, len(of), len(of)) for _ in range(times))
    means = np.array([sums[rows].sum() / sizes[rows].sum() for rows in drawn])
    low, high = np.percentile(means, [2.5, 97.5])
    far = int((np.abs(means - mean) >= abs(mean) - 1e-12).sum())
    return Score(mean, float(low), float(high)), (far + 1) / (times + 1)
