"""Tables of answers against labels: how well models do, by dataset and in all, and what could not be read."""

from collections.abc import Callable, Sequence

import numpy as np

from retinal_lib.display import FullTable
from retinal_lib.evaluate import metrics
from retinal_lib.evaluate.answer_reader import ABSTAINED, ANSWERED, UNREADABLE
from retinal_lib.evaluate.marks import MISSING, Mark, count_states
from retinal_lib.evaluate.metrics import bootstrap

SINGLE = ("grade", "quality", "modality", "eye")  # one right answer of several
ORDERED = ("grade", "quality")
TOTAL = "all"


class Tables:
    """The tables of an evaluation, each computed when it is looked at. Intervals come from resampling images.

    >>> Tables([]).states.empty
    True
    """

    def __init__(self, marks: Sequence[Mark], resamples: int = 200, seed: int = 0):
        self.marks, self.resamples, self.seed = list(marks), resamples, seed

    def of(self, *kinds: str) -> list[Mark]:
        """Selects the marks of some kinds of question."""
        return [mark for mark in self.marks if mark.kind in kinds]

    def _grouped(self, marks: Sequence[Mark]) -> dict[tuple[str, str, str], list[Mark]]:
        """By model, dataset and subject; and over all datasets where a subject is asked in several."""
        groups: dict[tuple[str, str, str], list[Mark]] = {}
        for mark in marks:
            groups.setdefault((mark.model, mark.dataset, _subject(mark)), []).append(mark)
        for model, subject in dict.fromkeys((m, s) for m, _, s in groups):
            parts = [marks for (m, _, s), marks in groups.items() if (m, s) == (model, subject)]
            if len(parts) > 1:
                groups[model, TOTAL, subject] = [mark for marks in parts for mark in marks]
        return groups

    def _score(self, marks: Sequence[Mark], measure: Callable[[Sequence[Mark]], float]) -> str:
        images = [f"{mark.dataset} {mark.image}" for mark in marks]
        return str(bootstrap(lambda rows: measure([marks[i] for i in rows]), images, self.resamples, self.seed))

    @property
    def states(self) -> FullTable:
        """How many answers could be read, by model, dataset and kind of question."""
        rows = []
        for (model, dataset, kind), marks in _group(self.marks, lambda m: (m.model, m.dataset, m.kind)).items():
            rows.append({"model": model, "dataset": dataset, "question": kind, "asked": len(marks), **count_states(marks)})
        return FullTable(rows)

    @property
    def single(self) -> FullTable:
        """Grades, quality, modality and side. Accuracy counts an answer that is missing, abstained or unreadable as wrong;
        the other metrics are of what was answered."""
        rows = []
        for (model, dataset, subject), marks in self._grouped(self.of(*SINGLE)).items():
            counted = count_states(marks)
            row = {"model": model, "dataset": dataset, "question": subject, "asked": len(marks)}
            row |= {"answered": counted[ANSWERED], "abstained": f"{counted[ABSTAINED] / len(marks):.0%}"}
            row["accuracy"] = self._score(marks, _measure(metrics.accuracy))
            row["balanced accuracy"] = self._score(marks, _measure(metrics.balanced))
            row["macro-F1"] = self._score(marks, _measure(metrics.macro_f1))
            ordered = marks[0].kind in ORDERED
            row["quadratic kappa"] = self._score(marks, _measure(metrics.kappa)) if ordered else "–"
            rows.append(row)
        return FullTable(rows)

    @property
    def diseases(self) -> FullTable:
        """Conditions as a whole: the share of images with exactly the right ones, and F1 over labels. What has no answer
        counts as naming nothing."""
        rows = []
        for (model, dataset, _), marks in self._grouped(self.of("diseases")).items():
            labels = _labels(marks)
            row = {"model": model, "dataset": dataset, "asked": len(marks), "answered": count_states(marks)[ANSWERED]}
            row["all right"] = self._score(marks, lambda part: float(np.mean([_exact(mark) for mark in part])))
            for average in ("micro", "macro"):
                row[f"{average}-F1"] = self._score(
                    marks, lambda part, average=average, labels=labels: metrics.multilabel_f1(*_lists(part), labels, average)
                )
            rows.append(row)
        return FullTable(rows)

    @property
    def labels(self) -> FullTable:
        """Precision, recall and F1 of each condition that a reference or an answer names."""
        rows = []
        for (model, dataset, _), marks in self._grouped(self.of("diseases")).items():
            for score in metrics.per_label(*_lists(marks), _labels(marks)):
                row = {"model": model, "dataset": dataset, "condition": score.label}
                row |= {"labelled": int(score.references), "named": int(score.answers)}
                rows.append(row | {"precision": score.precision, "recall": score.recall, "F1": score.f1})
        return FullTable(rows).round(3) if rows else FullTable(rows)

    @property
    def boxes(self) -> FullTable:
        """Boxes by type: the mean IoU over the marked lesions, the recall at an IoU of 0.3 and 0.5, and how often "there are
        none" was right. Where an image has more lesions than its labels list, only the listed ones count."""
        rows = []
        for (model, dataset, subject), marks in self._grouped(self.of("boxes")).items():
            marked, free = [m for m in marks if m.reference], [m for m in marks if not m.reference]
            row = {"model": model, "dataset": dataset, "type": subject, "images": len(marks)}
            row["read"] = count_states(marks)[ANSWERED]
            row["boxes marked"] = sum(len(m.reference) for m in marked)
            row["boxes named"] = sum(len(m.value or ()) for m in marks)
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
        for (model, dataset, subject), marks in self._grouped(self.of("measurement")).items():
            read = [m for m in marks if m.read.state == ANSWERED]
            row = {"model": model, "dataset": dataset, "measurement": subject, "unit": marks[0].entry.get("unit") or ""}
            row |= {"asked": len(marks), "answered": len(read)}
            row["absolute error"] = self._score(read, lambda part: metrics.absolute_error(*_numbers(part)))
            row["relative error"] = self._score(read, lambda part: metrics.relative_error(*_numbers(part)))
            row["rank correlation"] = self._score(read, lambda part: metrics.rank_correlation(*_numbers(part)))
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
        for (model, dataset, kind), marks in _group(self.marks, lambda m: (m.model, m.dataset, m.kind)).items():
            for subject, part in _group(marks, _subject).items() if kind == "grade" else [(kind, marks)]:
                rows.setdefault(model, {})[f"{dataset}: {subject}"] = _percent(kind, part)
        return FullTable.from_dict(rows, orient="index") if rows else FullTable([])

    def blinded(self, without: Sequence[Mark]) -> FullTable:
        """The same questions with and without the right image: a model that looks does worse without, and answers otherwise."""
        rows = []
        seen = {(m.model, m.id): m for m in without}
        for (model, kind), marks in _group(self.of(*SINGLE), lambda m: (m.model, m.kind)).items():
            pairs = [(m, seen[model, m.id]) for m in marks if (model, m.id) in seen]
            if pairs:
                row = {"model": model, "question": kind, "asked": len(pairs)}
                row["accuracy with its image"] = np.mean([m.right for m, _ in pairs])
                row["without"] = np.mean([other.right for _, other in pairs])
                row["same answer"] = np.mean([m.text == other.text for m, other in pairs])
                rows.append(row)
        return FullTable(rows).round(3) if rows else FullTable(rows)


def _group(marks: Sequence[Mark], key: Callable[[Mark], object]) -> dict:
    groups: dict = {}
    for mark in marks:
        groups.setdefault(key(mark), []).append(mark)
    return groups


def _subject(mark: Mark) -> str:
    """What is asked; grades on different scales are different questions."""
    return f"{mark.subject} ({mark.entry['scale']})" if mark.kind == "grade" else mark.subject


def _measure(metric: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[Sequence[Mark]], float]:
    def measured(part: Sequence[Mark]) -> float:
        return metric(np.array([m.reference for m in part], object), np.array([m.value for m in part], object))

    return measured


def _labels(marks: Sequence[Mark]) -> list[str]:
    return list(dict.fromkeys(label for mark in marks for label in mark.entry["labels"]))


def _lists(marks: Sequence[Mark]) -> tuple[list, list]:
    return [mark.reference for mark in marks], [mark.value or () for mark in marks]


def _exact(mark: Mark) -> bool:
    return mark.value is not None and set(mark.value) == set(mark.reference)


def _share(marks: Sequence[Mark], worth: Callable[[float], float]) -> float:
    """The mean over marked boxes."""
    values = [worth(overlap) for mark in marks for overlap in metrics.matched(mark.reference, mark.value or ())]
    return float(np.mean(values)) if values else np.nan


def _numbers(marks: Sequence[Mark]) -> tuple[list[float], list[float]]:
    return [mark.reference for mark in marks], [mark.value for mark in marks]


def _percent(kind: str, marks: Sequence[Mark]) -> str:
    if kind in SINGLE:
        value = float(np.mean([mark.right for mark in marks]))
    elif kind == "diseases":
        value = metrics.multilabel_f1(*_lists(marks), _labels(marks), "micro")
    elif kind == "boxes":
        value = _share([mark for mark in marks if mark.reference], lambda x: x)
    else:
        value = metrics.relative_error(*_numbers([m for m in marks if m.read.state == ANSWERED]))
    return "–" if np.isnan(value) else f"{100 * value:.1f}"
