"""What trained models know: their answers about held-out images, scored against the labels, and against chance."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import joblib

from retinal_lib.display import Bar, FullTable
from retinal_lib.errors import UserError
from retinal_lib.evaluate import label_questions
from retinal_lib.evaluate.evaluation import Evaluation
from retinal_lib.evaluate.metrics import Score, bootstrap
from retinal_lib.evaluate.scored_answers import ScoredAnswer
from retinal_lib.inference.infer import Infer

_RESAMPLES = 1000
_ASKED = {"max_new_tokens": 24, "batch_size": 32, "max_failed": 0.0}


@dataclass(frozen=True)
class Report:
    """The scored answers of some models, with their images and with swapped ones."""

    evaluation: Evaluation

    @classmethod
    def of(
        cls, models: dict[str, Path], data_root: Path, dataset: str, kinds: str, folder: Path, device: str, at_once: int = 1
    ) -> "Report":
        """Asks the models (name -> folder), so many `at_once`, what the labels of the split test answer, and scores the
        answers; what was answered before is not asked again. UserError: a model cannot be opened."""
        file = label_questions.questions(dataset, data_root, folder / "questions.jsonl", kinds, split="test")
        blind = label_questions.blind(file, folder / "questions-swap.jsonl")
        exams = [(name, way, asked) for name in models for way, asked in (("answers", file), ("blind", blind))]
        places = [folder / models[name].parent.name / way for name, way, _ in exams]
        given = [(models[name], asked, out, device) for (name, _, asked), out in zip(exams, places, strict=True)]
        files = joblib.Parallel(n_jobs=min(at_once, len(exams)), return_as="generator")(
            joblib.delayed(_answered)(*e) for e in given
        )
        answers: dict[str, dict[str, Path]] = {"answers": {}, "blind": {}}
        with Bar(len(exams), "exams") as bar:
            for number, ((name, way, _), file_of) in enumerate(zip(exams, files, strict=True), start=1):
                answers[way][name] = file_of
                bar.show(number)
        return cls(
            Evaluation.load(
                question_file=file,
                answers_files=answers["answers"],
                blind_answers=answers["blind"],
                resamples=_RESAMPLES,
                out_dir=folder,
            )
        )

    @property
    def table(self) -> FullTable:
        """The share of right answers by question, with its 95 % interval over eyes. Chance: what the most frequent answer would
        reach."""
        return self._scores(self.evaluation.tables.answers)

    @property
    def blind(self) -> FullTable:
        """The same questions about the image of another eye, which cannot show the answer: no model may be above chance."""
        return self._scores(self.evaluation.blind_answers)

    def _scores(self, answers: list[ScoredAnswer] | tuple[ScoredAnswer, ...]) -> FullTable:
        rows: dict[str, dict[str, object]] = {}
        for kind, by_model in _grouped(answers).items():
            first = next(iter(by_model.values()))
            rows[kind] = {"asked": len(first), "chance": f"{_chance(first):.3f}"}
            rows[kind] |= {model: str(_score(some)) for model, some in by_model.items()}
        return FullTable.from_dict(rows, orient="index")

    @property
    def conclusions(self) -> list[str]:
        """What the tables say of the models that learned right labels, a sentence for each question."""
        sentences = []
        seen, unseen = _grouped(self.evaluation.tables.answers), _grouped(self.evaluation.blind_answers)
        for kind, by_model in seen.items():
            right = {model: some for model, some in by_model.items() if "mixed" not in model}
            above = sum(_score(some).low > _chance(some) for some in right.values())
            blind = sum(_score(unseen[kind][model]).low > _chance(unseen[kind][model]) for model in right)
            text = f"{kind}: above chance in {above} of {len(right)}, and with other images in {blind} of {len(right)}"
            for model, some in by_model.items():
                if "mixed" in model:
                    now, before = _score(some).value, _score(by_model[model.partition(",")[0]]).value
                    text += f"; with mixed labels {now:.3f} instead of {before:.3f}"
            sentences.append(text)
        return sentences

    def require(self) -> None:
        """UserError: not one answer could be read."""
        if not any(answer.value is not None for answer in self.evaluation.tables.answers):
            raise UserError("no answer of any model could be read; train longer")


def _answered(model: Path, asked: Path, out: Path, device: str) -> Path:
    """Lets a model answer a file of questions, and returns the file of its answers."""
    return Infer.load(model_name=str(model), question_file=asked, out_dir=out, device=device, **_ASKED).answer().file


def _grouped(answers: list[ScoredAnswer] | tuple[ScoredAnswer, ...]) -> dict[str, dict[str, list[ScoredAnswer]]]:
    """By kind of question and model."""
    found: dict[str, dict[str, list[ScoredAnswer]]] = {}
    for answer in answers:
        found.setdefault(answer.kind, {}).setdefault(answer.model, []).append(answer)
    return found


def _chance(answers: list[ScoredAnswer]) -> float:
    """The share of the most frequent reference."""
    return Counter(answer.reference for answer in answers).most_common(1)[0][1] / len(answers)


def _score(answers: list[ScoredAnswer]) -> Score:
    right = [float(answer.right) for answer in answers]
    return bootstrap(
        lambda rows: sum(right[i] for i in rows) / len(rows), [answer.image for answer in answers], _RESAMPLES, seed=0
    )
