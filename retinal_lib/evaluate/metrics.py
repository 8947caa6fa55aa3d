"""Metrics of answers against references; scikit-learn does the counting, and resampling says how sure a number is."""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from sklearn import metrics

Box = Sequence[float]


class Score(NamedTuple):
    """A number with the interval that 95 of 100 resamples fall into; NaN where there is nothing to count."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return "–" if np.isnan(self.value) else f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


def bootstrap(measure: Callable[[np.ndarray], float], groups: Sequence[object], times: int, seed: int) -> Score:
    """The measure of all rows, with its interval over resamples of whole groups (images): `measure` takes row numbers."""
    rows = np.arange(len(groups))
    if not len(rows):
        return Score(np.nan, np.nan, np.nan)
    value = measure(rows)
    members: dict[object, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    held = [np.array(m) for m in members.values()]
    rng = np.random.default_rng(seed)
    drawn = [measure(np.concatenate([held[i] for i in rng.integers(0, len(held), len(held))])) for _ in range(times)]
    drawn = [number for number in drawn if not np.isnan(number)]
    if not drawn or np.isnan(value):
        return Score(value, np.nan, np.nan)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Score(float(value), float(low), float(high))


def accuracy(truth: np.ndarray, found: np.ndarray) -> float:
    """The share of right answers; one that is missing (None) is wrong."""
    return float(np.mean([t == f for t, f in zip(truth, found, strict=True)])) if len(truth) else np.nan


def _answered(truth: np.ndarray, found: np.ndarray) -> tuple[list, list]:
    kept = [(t, f) for t, f in zip(truth, found, strict=True) if f is not None]
    return [str(t) for t, _ in kept], [str(f) for _, f in kept]


def balanced(truth: np.ndarray, found: np.ndarray) -> float:
    """Balanced accuracy of what was answered."""
    right, said = _answered(truth, found)
    return _quiet(metrics.balanced_accuracy_score, right, said) if right else np.nan


def macro_f1(truth: np.ndarray, found: np.ndarray) -> float:
    """Macro-F1 of what was answered, over the classes that references have."""
    right, said = _answered(truth, found)
    return (
        _quiet(metrics.f1_score, right, said, labels=sorted(set(right)), average="macro", zero_division=0) if right else np.nan
    )


def kappa(truth: np.ndarray, found: np.ndarray) -> float:
    """Quadratic weighted kappa of what was answered, for grades; NaN where all references are one grade."""
    kept = [(int(t), int(f)) for t, f in zip(truth, found, strict=True) if f is not None]
    if len({t for t, _ in kept}) < 2:
        return np.nan
    right, said = zip(*kept, strict=True)
    return _quiet(metrics.cohen_kappa_score, right, said, weights="quadratic", labels=list(range(max(*right, *said) + 1)))


def _quiet(measure: Callable, *given: object, **options: object) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that only answers have, or only one class: the table's counts show it
        return float(measure(*given, **options))


def confusion(truth: Sequence[object], found: Sequence[object], classes: Sequence[object]) -> np.ndarray:
    """Counts [reference, answer]; the last column holds what has no answer."""
    names = [str(c) for c in classes]
    said = ["" if f is None else str(f) for f in found]
    right = [str(t) for t in truth]
    return metrics.confusion_matrix(right, said, labels=[*names, ""])[: len(names)]


def per_label(truth: Sequence[Sequence[str]], found: Sequence[Sequence[str]], labels: Sequence[str]) -> list[tuple]:
    """(label, precision, recall, F1, references, answers) of each label that a reference or an answer has."""
    wanted, said = (np.array([[label in row for label in labels] for row in rows], dtype=int) for rows in (truth, found))
    if not len(wanted):
        return []
    precision, recall, f1, support = metrics.precision_recall_fscore_support(wanted, said, average=None, zero_division=0)
    rows = zip(labels, precision, recall, f1, support, said.sum(0), strict=True)
    return [tuple(row) for row in rows if row[4] or row[5]]


def multilabel_f1(truth: Sequence[Sequence[str]], found: Sequence[Sequence[str]], labels: Sequence[str], average: str) -> float:
    """F1 over all labels that references have: macro, or micro over all decisions."""
    known = [label for label in labels if any(label in row for row in truth)]
    if not known:
        return np.nan
    wanted, said = (np.array([[label in row for label in known] for row in rows], dtype=int) for rows in (truth, found))
    return float(metrics.f1_score(wanted, said, average=average, zero_division=0))


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def matched(truth: Sequence[Box], found: Sequence[Box]) -> list[float]:
    """For each reference box the IoU with the answer's box that is given to it, each box used once; 0 where there is none."""
    if not truth or not found:
        return [0.0] * len(truth)
    overlaps = np.array([[iou(t, f) for f in found] for t in truth])
    rows, columns = linear_sum_assignment(-overlaps)
    best = dict(zip(rows.tolist(), overlaps[rows, columns].tolist(), strict=True))
    return [best.get(i, 0.0) for i in range(len(truth))]


def absolute_error(truth: Sequence[float], found: Sequence[float]) -> float:
    """The mean absolute error."""
    return float(metrics.mean_absolute_error(truth, found)) if len(truth) else np.nan


def relative_error(truth: Sequence[float], found: Sequence[float]) -> float:
    """The median relative error, of references that are not 0."""
    shares = [abs(f - t) / abs(t) for t, f in zip(truth, found, strict=True) if t]
    return float(np.median(shares)) if shares else np.nan


def rank_correlation(truth: Sequence[float], found: Sequence[float]) -> float:
    """Spearman's correlation, from three pairs on; NaN where one side is all the same."""
    if len(truth) < 3 or len(set(truth)) < 2 or len(set(found)) < 2:
        return np.nan
    return float(np.corrcoef(rankdata(truth), rankdata(found))[0, 1])
