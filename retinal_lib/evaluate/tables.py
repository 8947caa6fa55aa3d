"""Tables of answers against labels: how well models do, by dataset and in all, and what could not be read."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from retinal_lib.display import FullTable
from retinal_lib.evaluate import metrics
from retinal_lib.evaluate.answer_reader import ABSTAINED, ANSWERED, UNREADABLE
from retinal_lib.evaluate.metrics import bootstrap
from retinal_lib.evaluate.paired_tests import compare
from retinal_lib.evaluate.scored_answers import MISSING, SCORES, ScoredAnswer, box_counts, count_states

SINGLE = ("grade", "quality", "modality", "eye", "yes_no", "option", "options")  # one right answer of several
ORDERED = ("grade", "quality")
LETTERED = ("option", "options")  # whose letters stand for something else in each question
TOTAL = "all"


class Tables:
    """The tables of an evaluation, each computed when it is used. Intervals come from resampling images.

    >>> Tables([]).states.empty
    True
    """

    def __init__(self, answers: Sequence[ScoredAnswer], resamples: int = 200, seed: int = 0):
        self.answers, self.resamples, self.seed = list(answers), resamples, seed

    def of(self, *kinds: str) -> list[ScoredAnswer]:
        """Returns the answers to some kinds of question."""
        return [answer for answer in self.answers if answer.kind in kinds]

    def _grouped(
        self, answers: Sequence[ScoredAnswer], subject_of: Callable[[ScoredAnswer], str] | None = None
    ) -> dict[tuple[str, str, str], list[ScoredAnswer]]:
        """By model, dataset and subject; and over all datasets where a subject is asked in several."""
        groups: dict[tuple[str, str, str], list[ScoredAnswer]] = {}
        for answer in answers:
            groups.setdefault((answer.model, answer.dataset, (subject_of or _subject)(answer)), []).append(answer)
        for model, subject in dict.fromkeys((m, s) for m, _, s in groups):
            parts = [answers for (m, _, s), answers in groups.items() if (m, s) == (model, subject)]
            if len(parts) > 1:
                groups[model, TOTAL, subject] = [answer for answers in parts for answer in answers]
        return groups

    def _score(self, answers: Sequence[ScoredAnswer], measure: Callable[[Sequence[ScoredAnswer]], float]) -> str:
        return self._interval(answers, lambda rows: measure([answers[i] for i in rows]))

    def _interval(self, answers: Sequence[ScoredAnswer], measure: Callable[[np.ndarray], float]) -> str:
        """A measure of the rows of some answers, with its interval."""
        images = [f"{answer.dataset} {answer.image}" for answer in answers]
        return str(bootstrap(measure, images, self.resamples, self.seed))

    @property
    def states(self) -> FullTable:
        """How many answers could be read, by model, dataset and kind of question."""
        rows = []
        for (model, dataset, kind), answers in _group(self.answers, lambda m: (m.model, m.dataset, m.kind)).items():
            rows.append({"model": model, "dataset": dataset, "question": kind, "asked": len(answers), **count_states(answers)})
        return FullTable(rows)

    @property
    def single(self) -> FullTable:
        """Grades, quality, modality and side. Accuracy counts an answer that is missing, abstained or unreadable as wrong;
        the other metrics are of what was answered."""
        rows = []
        for (model, dataset, subject), answers in self._grouped(self.of(*SINGLE)).items():
            counted = count_states(answers)
            row = {"model": model, "dataset": dataset, "question": subject, "asked": len(answers)}
            row |= {"answered": counted[ANSWERED], "abstained": f"{counted[ABSTAINED] / len(answers):.0%}"}
            row["accuracy"] = self._score(answers, _measure(metrics.accuracy))
            row["balanced accuracy"] = self._score(answers, _measure(metrics.balanced))
            row["macro-F1"] = self._score(answers, _measure(metrics.macro_f1))
            ordered = answers[0].kind in ORDERED
            row["quadratic kappa"] = self._score(answers, _measure(metrics.kappa)) if ordered else "–"
            rows.append(row)
        return FullTable(rows)

    @property
    def diseases(self) -> FullTable:
        """Conditions as a whole: the share of images with exactly the right ones, and F1 over labels. What has no answer
        counts as naming nothing."""
        rows = []
        for (model, dataset, _), answers in self._grouped(self.of("diseases")).items():
            labels = _labels(answers)
            row = {"model": model, "dataset": dataset, "asked": len(answers), "answered": count_states(answers)[ANSWERED]}
            row["all right"] = self._score(answers, lambda part: float(np.mean([_exact(answer) for answer in part])))
            for average in ("micro", "macro"):
                row[f"{average}-F1"] = self._score(
                    answers, lambda part, average=average, labels=labels: metrics.multilabel_f1(*_lists(part), labels, average)
                )
            rows.append(row)
        return FullTable(rows)

    @property
    def labels(self) -> FullTable:
        """Precision, recall and F1 of each condition that a reference or an answer names."""
        rows = []
        for (model, dataset, _), answers in self._grouped(self.of("diseases")).items():
            for score in metrics.per_label(*_lists(answers), _labels(answers)):
                row = {"model": model, "dataset": dataset, "condition": score.label}
                row |= {"labelled": int(score.references), "named": int(score.answers)}
                rows.append(row | {"precision": score.precision, "recall": score.recall, "F1": score.f1})
        return FullTable(rows).round(3) if rows else FullTable(rows)

    @property
    def boxes(self) -> FullTable:
        """Boxes by type, each marked and each named one used once: the mean IoU, in which a box without a partner counts 0;
        precision, recall, F1 and average precision (AP) at an IoU of 0.3 and 0.5; and how often "there are none" was right.
        Answers give no scores, so that AP is precision times recall. Where an image has more lesions than its labels list, as
        many of the named boxes that match none are left out."""
        rows = []
        for (model, dataset, subject), answers in self._grouped(self.of("boxes")).items():
            counts, free = list(map(box_counts, answers)), [m for m in answers if not m.reference]
            row = {"model": model, "dataset": dataset, "type": subject, "images": len(answers)}
            row["read"] = count_states(answers)[ANSWERED]
            row["boxes marked"] = sum(each.marked for each in counts)
            row["boxes named"] = sum(len(m.value or ()) for m in answers)
            row["mean IoU"] = self._interval(answers, lambda rows, c=counts: metrics.mean_iou([c[i] for i in rows]))
            for place, least in enumerate(metrics.LEAST_IOU):
                for k, rate in enumerate(("precision", "recall", "F1", "AP")):
                    row[f"{rate} at {least}"] = self._interval(
                        answers, lambda rows, c=counts, at=place, k=k: metrics.box_rates([c[i] for i in rows], at)[k]
                    )
            row["none, rightly"] = f"{sum(m.right for m in free)} of {len(free)}"
            rows.append(row)
        return FullTable(rows)

    @property
    def measurements(self) -> FullTable:
        """Measurements by name: mean absolute and median relative error, and rank correlation, of what was answered."""
        rows = []
        for (model, dataset, subject), answers in self._grouped(self.of("measurement")).items():
            read = [m for m in answers if m.parsed.state == ANSWERED]
            row = {"model": model, "dataset": dataset, "measurement": subject, "unit": answers[0].entry.get("unit") or ""}
            row |= {"asked": len(answers), "answered": len(read)}
            row["absolute error"] = self._score(read, lambda part: metrics.absolute_error(*_numbers(part)))
            row["relative error"] = self._score(read, lambda part: metrics.relative_error(*_numbers(part)))
            row["rank correlation"] = self._score(read, lambda part: metrics.rank_correlation(*_numbers(part)))
            rows.append(row)
        return FullTable(rows)

    @property
    def unread(self) -> FullTable:
        """Every answer that could not be read, with the reason."""
        lost = [m for m in self.answers if m.parsed.state in (UNREADABLE, MISSING)]
        columns = {"model": [m.model for m in lost], "id": [m.id for m in lost], "answer": [m.text for m in lost]}
        return FullTable(columns | {"why": [m.parsed.why for m in lost]})

    @property
    def layout(self) -> FullTable:
        """One row a model, one column a task, as papers print it: accuracy in percent for single answers, micro-F1 in percent
        for conditions, mean IoU in percent for boxes, median relative error in percent for measurements (less is better)."""
        rows: dict[str, dict[str, str]] = {}
        for (model, dataset, kind), answers in _group(self.answers, lambda m: (m.model, m.dataset, m.kind)).items():
            for subject, part in _group(answers, _question).items():
                rows.setdefault(model, {})[f"{dataset}: {subject}"] = _percent(kind, part)
        return FullTable.from_dict(rows, orient="index") if rows else FullTable([])

    @property
    def compared(self) -> FullTable:
        """Each two models on the questions that both were asked, by dataset and over all. What is not answered counts 0."""
        rows = []
        by_model = _group(self.answers, lambda m: m.model)
        for one, other in itertools.combinations(by_model, 2):
            second = {answer.id: answer for answer in by_model[other]}
            first = [answer for answer in by_model[one] if answer.id in second]
            for (_, dataset, question), answers in self._grouped(first, _question).items():
                told = compare([(answer, second[answer.id]) for answer in answers], (one, other), self.seed)
                row = {"model": one, "other": other, "dataset": dataset, "question": question, "asked": told.asked}
                row |= {"score": SCORES.get(answers[0].kind, "accuracy"), "of model": told.first, "of other": told.second}
                rows.append(row | {"difference": str(told.difference), "p": told.p, "test": told.test, "in words": told.words})
        return FullTable(rows).round(3) if rows else FullTable(rows)

    def blinded(self, without: Sequence[ScoredAnswer]) -> FullTable:
        """Returns a table of the same questions with and without the right image. A model that uses the image does worse
        without it and gives other answers. What is not answered counts 0, what was not asked does not count."""
        rows = []
        seen = {(m.model, m.id): m for m in without if m.parsed.state != MISSING}
        for (model, kind), answers in _group(self.answers, lambda m: (m.model, m.kind)).items():
            pairs = [(m, seen[model, m.id]) for m in answers if (model, m.id) in seen and m.parsed.state != MISSING]
            if pairs:
                told = compare(pairs, (f"{model} with its image", f"{model} without"), self.seed)
                row = {"model": model, "question": kind, "asked": told.asked, "score": SCORES.get(kind, "accuracy")}
                row |= {"with its image": told.first, "without": told.second, "difference": str(told.difference)}
                row["same answer"] = np.mean([m.text == other.text for m, other in pairs])
                rows.append(row | {"in words": told.words})
        return FullTable(rows).round(3) if rows else FullTable(rows)


def _group(answers: Sequence[ScoredAnswer], key: Callable[[ScoredAnswer], object]) -> dict:
    groups: dict = {}
    for answer in answers:
        groups.setdefault(key(answer), []).append(answer)
    return groups


def _subject(answer: ScoredAnswer) -> str:
    """What is asked; grades on different scales are different questions, closed questions of a form are one."""
    if answer.kind in LETTERED or answer.kind == "yes_no":
        return answer.kind
    return f"{answer.subject} ({answer.entry['scale']})" if answer.kind == "grade" else answer.subject


def _question(answer: ScoredAnswer) -> str:
    """What is asked, all boxes and all measurements together."""
    return _subject(answer) if answer.kind == "grade" else answer.kind


def _measure(metric: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[Sequence[ScoredAnswer]], float]:
    def measured(part: Sequence[ScoredAnswer]) -> float:
        return metric(
            *(
                np.array(list(map(_class, values)), object)
                for values in zip(*((m.reference, m.value) for m in part), strict=True)
            )
        )

    return measured


def _class(value: object) -> object:
    """A single answer as a class: several letters are one."""
    return (", ".join(value) or "none") if isinstance(value, tuple) else value


def _labels(answers: Sequence[ScoredAnswer]) -> list[str]:
    return list(dict.fromkeys(label for answer in answers for label in answer.entry["labels"]))


def _lists(answers: Sequence[ScoredAnswer]) -> tuple[list, list]:
    return [answer.reference for answer in answers], [answer.value or () for answer in answers]


def _exact(answer: ScoredAnswer) -> bool:
    return answer.value is not None and set(answer.value) == set(answer.reference)


def _numbers(answers: Sequence[ScoredAnswer]) -> tuple[list[float], list[float]]:
    return [answer.reference for answer in answers], [answer.value for answer in answers]


def _percent(kind: str, answers: Sequence[ScoredAnswer]) -> str:
    if kind in SINGLE:
        value = float(np.mean([answer.right for answer in answers]))
    elif kind == "diseases":
        value = metrics.multilabel_f1(*_lists(answers), _labels(answers), "micro")
    elif kind == "boxes":
        value = metrics.mean_iou(list(map(box_counts, answers)))
    else:
        value = metrics.relative_error(*_numbers([m for m in answers if m.parsed.state == ANSWERED]))
    return "–" if np.isnan(value) else f"{100 * value:.1f}"
