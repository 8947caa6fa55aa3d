"""Answers against labels: tables of how well models do, per dataset and in all, and of what could not be read."""

from collections.abc import Callable, Sequence

import numpy as np

from retinal_lib.display import FullTable
from retinal_lib.evaluate import metrics as scores
from retinal_lib.evaluate.answer_reader import ABSTAINED, ANSWERED, UNREADABLE
from retinal_lib.evaluate.marks import MISSING, Mark, states
from retinal_lib.evaluate.metrics import bootstrap

SINGLE = ("grade", "quality", "modality", "eye")  # one right answer of several
ORDERED = ("grade", "quality")
TOTAL = "all"


class Tables:
    """Every table of an evaluation; each is computed when it is looked at. Intervals come from resampling images."""

    def __init__(self, found: Sequence[Mark], resamples: int = 200, seed: int = 0):
        self.marks, self.resamples, self.seed = list(found), resamples, seed

    def of(self, *kinds: str) -> list[Mark]:
        """The marks of some kinds of question."""
        return [mark for mark in self.marks if mark.kind in kinds]

    def _grouped(self, found: Sequence[Mark]) -> dict[tuple[str, str, str], list[Mark]]:
        """By model, dataset and subject; and over all datasets where a subject is asked in several."""
        groups: dict[tuple[str, str, str], list[Mark]] = {}
        for mark in found:
            groups.setdefault((mark.model, mark.dataset, _subject(mark)), []).append(mark)
        for model, subject in dict.fromkeys((m, s) for m, _, s in groups):
            parts = [held for (m, _, s), held in groups.items() if (m, s) == (model, subject)]
            if len(parts) > 1:
                groups[model, TOTAL, subject] = [mark for held in parts for mark in held]
        return groups

    def _score(self, found: Sequence[Mark], measure: Callable[[Sequence[Mark]], float]) -> str:
        images = [f"{mark.dataset} {mark.image}" for mark in found]
        return str(bootstrap(lambda rows: measure([found[i] for i in rows]), images, self.resamples, self.seed))

    @property
    def states(self) -> FullTable:
        """How many answers could be read, by model, dataset and kind of question."""
        rows = []
        for (model, dataset, kind), held in _by(self.marks, lambda m: (m.model, m.dataset, m.kind)).items():
            rows.append({"model": model, "dataset": dataset, "question": kind, "asked": len(held), **states(held)})
        return FullTable(rows)

    @property
    def single(self) -> FullTable:
        """Grades, quality, modality and side. Accuracy counts an answer that is missing, abstained or unreadable as wrong;
        the other metrics are of what was answered."""
        rows = []
        for (model, dataset, subject), held in self._grouped(self.of(*SINGLE)).items():
            counted = states(held)
            row = {"model": model, "dataset": dataset, "question": subject, "asked": len(held)}
            row |= {"answered": counted[ANSWERED], "abstained": f"{counted[ABSTAINED] / len(held):.0%}"}
            row["accuracy"] = self._score(held, _measure(scores.accuracy))
            row["balanced accuracy"] = self._score(held, _measure(scores.balanced))
            row["macro-F1"] = self._score(held, _measure(scores.macro_f1))
            ordered = held[0].kind in ORDERED
            row["quadratic kappa"] = self._score(held, _measure(scores.kappa)) if ordered else "–"
            rows.append(row)
        return FullTable(rows)

    @property
    def diseases(self) -> FullTable:
        """Conditions as a whole: the share of images with exactly the right ones, and F1 over labels. What has no answer
        counts as naming nothing."""
        rows = []
        for (model, dataset, _), held in self._grouped(self.of("diseases")).items():
            labels = _labels(held)
            row = {"model": model, "dataset": dataset, "asked": len(held), "answered": states(held)[ANSWERED]}
            row["all right"] = self._score(held, lambda part: float(np.mean([_exact(mark) for mark in part])))
            for average in ("micro", "macro"):
                row[f"{average}-F1"] = self._score(
                    held, lambda part, average=average, labels=labels: scores.multilabel_f1(*_lists(part), labels, average)
                )
            rows.append(row)
        return FullTable(rows)

    @property
    def labels(self) -> FullTable:
        """Precision, recall and F1 of each condition that a reference or an answer names."""
        rows = []
        for (model, dataset, _), held in self._grouped(self.of("diseases")).items():
            for label, precision, recall, f1, wanted, said in scores.per_label(*_lists(held), _labels(held)):
                row = {"model": model, "dataset": dataset, "condition": label, "labelled": int(wanted), "named": int(said)}
                rows.append(row | {"precision": precision, "recall": recall, "F1": f1})
        return FullTable(rows).round(3) if rows else FullTable(rows)

    @property
    def boxes(self) -> FullTable:
        """Boxes by type: the mean IoU over the marked lesions, the share found at an IoU of 0.3 and 0.5, and how often "there
        are none" was said rightly. Where an image has more lesions than its labels list, only the listed ones count."""
        rows = []
        for (model, dataset, subject), held in self._grouped(self.of("boxes")).items():
            marked, free = [m for m in held if m.reference], [m for m in held if not m.reference]
            row = {"model": model, "dataset": dataset, "type": subject, "images": len(held), "read": states(held)[ANSWERED]}
            row["boxes marked"] = sum(len(m.reference) for m in marked)
            row["boxes named"] = sum(len(m.value or ()) for m in held)
            row["mean IoU"] = self._score(marked, lambda part: _share(part, lambda x: x))
            for least in (0.3, 0.5):
                row[f"recall at {least}"] = self._score(
                    marked, lambda part, least=least: _share(part, lambda x: float(x >= least))
                )
            row["none, rightly"] = f"{sum(m.right for m in free)} of {len(free)}"
            rows.append(row)
        return FullTable(rows)

    @property
    def measurements(self) -> FullTable:
        """Measurements by name: mean absolute and median relative error, and rank correlation, of what was answered."""
        rows = []
        for (model, dataset, subject), held in self._grouped(self.of("measurement")).items():
            read = [m for m in held if m.read.state == ANSWERED]
            row = {"model": model, "dataset": dataset, "measurement": subject, "unit": held[0].entry.get("unit") or ""}
            row |= {"asked": len(held), "answered": len(read)}
            row["absolute error"] = self._score(read, lambda part: scores.absolute_error(*_numbers(part)))
            row["relative error"] = self._score(read, lambda part: scores.relative_error(*_numbers(part)))
            row["rank correlation"] = self._score(read, lambda part: scores.rank_correlation(*_numbers(part)))
            rows.append(row)
        return FullTable(rows)

    @property
    def unread(self) -> FullTable:
        """Every answer that could not be read, with the reason."""
        lost = [m for m in self.marks if m.read.state in (UNREADABLE, MISSING)]
        columns = {"model": [m.model for m in lost], "id": [m.id for m in lost], "answer": [m.text for m in lost]}
        return FullTable(columns | {"why": [m.read.why for m in lost]})

    @property
    def layout(self) -> FullTable:
        """One row a model, one column a task, as papers print it: accuracy in percent for single answers, micro-F1 in percent
        for conditions, mean IoU in percent for boxes, median relative error in percent for measurements (less is better)."""
        rows: dict[str, dict[str, str]] = {}
        for (model, dataset, kind), held in _by(self.marks, lambda m: (m.model, m.dataset, m.kind)).items():
            for subject, part in _by(held, _subject).items() if kind == "grade" else [(kind, held)]:
                rows.setdefault(model, {})[f"{dataset}: {subject}"] = _percent(kind, part)
        return FullTable.from_dict(rows, orient="index") if rows else FullTable([])

    def blinded(self, without: Sequence[Mark]) -> FullTable:
        """The same questions with and without the right image: a model that looks does worse without, and answers otherwise."""
        rows = []
        seen = {(m.model, m.id): m for m in without}
        for (model, kind), held in _by(self.of(*SINGLE), lambda m: (m.model, m.kind)).items():
            pairs = [(m, seen[model, m.id]) for m in held if (model, m.id) in seen]
            if pairs:
                row = {"model": model, "question": kind, "asked": len(pairs)}
                row["accuracy with its image"] = np.mean([m.right for m, _ in pairs])
                row["without"] = np.mean([other.right for _, other in pairs])
                row["same answer"] = np.mean([m.text == other.text for m, other in pairs])
                rows.append(row)
        return FullTable(rows).round(3) if rows else FullTable(rows)


def _by(found: Sequence[Mark], key: Callable[[Mark], object]) -> dict:
    groups: dict = {}
    for mark in found:
        groups.setdefault(key(mark), []).append(mark)
    return groups


def _subject(mark: Mark) -> str:
    """What is asked; grades on different scales are different questions."""
    return f"{mark.subject} ({mark.entry['scale']})" if mark.kind == "grade" else mark.subject


def _measure(metric: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[Sequence[Mark]], float]:
    def measured(part: Sequence[Mark]) -> float:
        truth, found = np.array([m.reference for m in part], object), np.array([m.value for m in part], object)
        return metric(truth, found)

    return measured


def _labels(held: Sequence[Mark]) -> list[str]:
    return list(dict.fromkeys(label for mark in held for label in mark.entry["labels"]))


def _lists(held: Sequence[Mark]) -> tuple[list, list]:
    return [mark.reference for mark in held], [mark.value or () for mark in held]


def _exact(mark: Mark) -> bool:
    return mark.value is not None and set(mark.value) == set(mark.reference)


def _share(held: Sequence[Mark], worth: Callable[[float], float]) -> float:
    """The mean over marked boxes."""
    found = [worth(overlap) for mark in held for overlap in scores.matched(mark.reference, mark.value or ())]
    return float(np.mean(found)) if found else np.nan


def _numbers(held: Sequence[Mark]) -> tuple[list[float], list[float]]:
    return [mark.reference for mark in held], [mark.value for mark in held]


def _percent(kind: str, held: Sequence[Mark]) -> str:
    if kind in SINGLE:
        value = float(np.mean([mark.right for mark in held]))
    elif kind == "diseases":
        value = scores.multilabel_f1(*_lists(held), _labels(held), "micro")
    elif kind == "boxes":
        value = _share([mark for mark in held if mark.reference], lambda x: x)
    else:
        value = scores.relative_error(*_numbers([m for m in held if m.read.state == ANSWERED]))
    return "–" if np.isnan(value) else f"{100 * value:.1f}"
