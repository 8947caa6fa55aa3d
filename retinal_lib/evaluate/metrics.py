"""Metrics of answers against references by scikit-learn, with bootstrap confidence intervals."""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from sklearn import metrics

Box = Sequence[float]


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
    resampled = [measure(np.concatenate([rows_of[i] for i in draw])) for draw in draws]
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


def iou(first: Box, second: Box) -> float:
    """Computes the intersection over union of two boxes (x_min, y_min, x_max, y_max)."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def matched(truth: Sequence[Box], answers: Sequence[Box]) -> list[float]:
    """Matches boxes so that the IoUs sum up highest, each used once; gives each reference box its IoU, 0 without a match."""
    if not truth or not answers:
        return [0.0] * len(truth)
    overlaps = np.array([[iou(t, f) for f in answers] for t in truth])
    rows, columns = linear_sum_assignment(-overlaps)
    best = dict(zip(rows.tolist(), overlaps[rows, columns].tolist(), strict=True))
    return [best.get(i, 0.0) for i in range(len(truth))]


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
