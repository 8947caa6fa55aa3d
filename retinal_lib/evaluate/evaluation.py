"""The evaluation of evaluate.ipynb: questions from labels, answers of one or more models, tables and figures."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from retinal_lib import paths, typed_paths
from retinal_lib.dataset import page
from retinal_lib.display import FullTable, are, count
from retinal_lib.errors import UserError, did_you_mean, unknown
from retinal_lib.evaluate import figures, harnesses, label_questions, made_up_answers
from retinal_lib.evaluate.scored_answers import ScoredAnswer, score_answers
from retinal_lib.evaluate.tables import LETTERED, SINGLE, Tables
from retinal_lib.files import read_jsonl, would_replace, write_csv, write_jsonl
from retinal_lib.parameters import Number, Parameters, TypedPath, Whole
from retinal_lib.text import box_notation

SAMPLE = "IDRiD, IDRiD_seg, MICCAI_task1, RFMiD"
MADE_UP = "made up"
_TABLES = ("states", "single", "diseases", "labels", "boxes", "measurements", "unread", "layout", "compared")
_HARNESS_FILES = {"inspect_ai": "inspect_ai.jsonl", "VLMEvalKit": "VLMEvalKit.tsv", "lmms-eval": "lmms_eval"}
Files = str | Path | list[str | Path] | dict[str, str | Path]  # answers files, as `_files` reads them


class EvaluationParameters(Parameters):
    """The parameters of evaluate.ipynb, which explains them."""

    dataset: str | None = None
    data_root: TypedPath | None = None
    automorph_root: TypedPath | None = None
    split: str | None = None
    kinds: str | list[str] | None = None
    measures: str | list[str] | None = None
    limit: Whole | None = Field(None, ge=1)
    seed: Whole = 0
    question_file: TypedPath | None = None
    answers_files: Files | None = None
    blind_answers: Files | None = None
    blind: str | None = None
    boxes: str | dict[str, str] | None = None
    harnesses: str | list[str] | None = None
    resamples: Whole | None = Field(None, ge=1, le=100_000)
    max_unread: Number = Field(0.5, ge=0, le=1)
    out_dir: TypedPath | None = None

    @property
    def datasets(self) -> list[str]:
        """The names of the datasets, or their pages' paths."""
        return [name.strip() for name in (self.dataset or SAMPLE).split(",") if name.strip()]

    @property
    def folder(self) -> Path:
        """The run's folder, absolute."""
        name = "-".join(Path(name).stem for name in self.datasets) if self.dataset else "sample"
        return self.out_dir or typed_paths.root() / "artifacts" / f"evaluate-{name}"


def folder(parameters: dict[str, object]) -> Path:
    """Returns the absolute folder of the run that a notebook with these parameters makes. UserError: an impossible value."""
    return EvaluationParameters.of_known(parameters).folder


@dataclass(frozen=True)
class Evaluation:
    """Questions with references, and the answers to them.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     job = Evaluation.load(dataset="IDRiD", kinds="grade", limit=3, resamples=5, out_dir=folder)
    >>> job.made_up, list(job.tables.single["asked"])
    (True, [3, 3])
    """

    folder: Path
    question_file: Path
    asked: tuple[dict, ...]
    files: dict[str, Path]  # answers files, by model
    tables: Tables
    blind_answers: tuple[ScoredAnswer, ...]  # answers to the blind questions
    made_up: bool
    next_step: str  # where there are no answers yet
    max_unread: float

    @classmethod
    def load(cls, **parameters: object) -> "Evaluation":
        """Reads the answers that the notebook's parameters name; None counts as not passed.

        Without `answers_files`, questions on your own data are written, and `next_step` says how to have them answered; those
        on drawn samples get made-up answers. UserError: a parameter is unknown or impossible, or a file cannot be read.
        """
        given = EvaluationParameters.of(**parameters)
        file = given.question_file or _write_questions(given)
        asked = label_questions.load(file)
        for form in _harnesses(given.harnesses):
            harnesses.write_harness(asked, form, given.folder / _HARNESS_FILES[form])
        blind_file = None
        if given.blind is not None:
            blind_file = label_questions.blind(file, given.folder / f"questions-{given.blind}.jsonl", given.blind, given.seed)
        files, notations = _files(given.answers_files), _notations(given.boxes)
        blind_files = _blind_files(given.blind_answers, files)
        own = given.data_root is not None or any(map(page.is_own, given.datasets))
        made_up = not files and given.question_file is None and not own
        next_step = "" if files or made_up else _next_step(file, blind_file, len(asked), given)
        if made_up:
            files = {MADE_UP: made_up_answers.write(asked, given.folder / "made-up-answers.jsonl")}
            blind_file = given.folder / "made-up-blind-answers.jsonl"
            blind_files = {MADE_UP: made_up_answers.write(asked, blind_file, given.seed + 1, wrong=0.6, blind=True)}
        answers = [
            answer for name, path in files.items() for answer in score_answers(name, asked, path, notation=notations(name))
        ]
        blind_answers = tuple(
            answer
            for name, path in blind_files.items()
            for answer in score_answers(name, asked, path, blind=True, notation=notations(name))
        )
        tables = Tables(answers, given.resamples or (50 if made_up else 200), given.seed)
        return cls(given.folder, file, tuple(asked), files, tables, blind_answers, made_up, next_step, given.max_unread)

    @property
    def table(self) -> FullTable:
        """A summary of the evaluation: questions, datasets, models, and the next step or a note."""
        rows = {
            "questions": f"{len(self.asked)} in {paths.display_path(self.question_file)}",
            "datasets": ", ".join(dict.fromkeys(entry["dataset"] for entry in self.asked)),
            "models": ", ".join(self.files) or "none yet",
        }
        if self.next_step:
            rows["next"] = self.next_step
        if self.made_up:
            rows["note"] = "the eyes are drawn and the answers made up with a fixed error rate: the numbers mean nothing"
        return FullTable({"": rows.values()}, index=list(rows))

    @property
    def examples(self) -> FullTable:
        """One question of each kind with its reference, the first model's answer, and what was read from it."""
        first: dict[str, ScoredAnswer] = {}
        for answer in self.tables.answers:
            first.setdefault(answer.kind, answer)
        rows = [(m.question, str(m.reference)[:60], m.text[:120], m.parsed.state, str(m.value)[:60]) for m in first.values()]
        return FullTable(rows, columns=["question", "reference", "answer", "state", "read as"])

    @property
    def confusions(self) -> object:
        """A confusion matrix for each model and question with a single answer, as a matplotlib Figure."""
        groups: dict[str, list[ScoredAnswer]] = {}
        for answer in self.tables.of(*(kind for kind in SINGLE if kind not in LETTERED)):
            subject = answer.kind if answer.kind == "yes_no" else answer.entry.get("scale", answer.subject)
            groups.setdefault(f"{answer.model}: {answer.dataset}, {subject}", []).append(answer)
        return figures.confusions({title: answers for title, answers in groups.items() if len(figures.classes(answers)) > 1})

    @property
    def wrong(self) -> list[ScoredAnswer]:
        """Single answers that were read and differ from the reference."""
        return [m for m in self.tables.of(*SINGLE) if m.parsed.state == "answered" and not m.right]

    def gallery(self, most: int = 8) -> object:
        """Shows the first wrong answers beside their images, as a `SideBySide`."""
        return figures.gallery(self.wrong[:most])

    @property
    def blinded(self) -> FullTable:
        """The blind test's table; empty without blind answers."""
        return self.tables.blinded(self.blind_answers)

    def save(self) -> list[str]:
        """Writes every table as CSV and every scored answer as a JSON line into the run's folder; returns the files' names, or
        the next step where there are no answers yet. UserError: a file cannot be written, or the folder holds the scores of a
        model that is not among these."""
        if self.next_step:
            return [self.next_step]
        file = self.folder / "marks.jsonl"
        models = {row["model"] for _, row in read_jsonl(file)} if file.is_file() else set()
        if lost := sorted(models - {MADE_UP} - set(self.files)):
            raise would_replace(file, f"the scores of {', '.join(lost)}")
        fields = ("model", "id", "dataset", "kind", "subject", "image", "question", "text", "reference", "value")
        rows = [
            {n: getattr(m, n) for n in fields} | {"state": m.parsed.state, "why": m.parsed.why} for m in self.tables.answers
        ]
        write_jsonl(file, rows)
        for name in _TABLES:
            write_csv(self.folder / f"{name}.csv", getattr(self.tables, name), index="model" if name == "layout" else "")
        return [*(f"{name}.csv" for name in _TABLES), "marks.jsonl"]

    def require(self) -> None:
        """Checks that enough answers could be read. UserError: fewer could than `max_unread` allows."""
        lost = len(self.tables.unread)
        if lost > self.max_unread * len(self.tables.answers):
            raise UserError(
                f"{lost} of {count(len(self.tables.answers), 'answer')} {are(lost)} missing or could not be read "
                f"(max_unread allows "
                f"{self.max_unread:.0%}); look at the table of unread answers"
            )


def _write_questions(given: EvaluationParameters) -> Path:
    """Writes the question file of the named datasets; the same labels and seed give the same questions."""
    if len(given.datasets) > 1 and given.data_root is not None:
        raise UserError("data_root belongs to one dataset, but several are named; name one, or write a question file for each")
    options = given.model_dump(include={"kinds", "measures", "split", "limit", "seed", "automorph_root"})
    entries = []
    for name in given.datasets:
        part = label_questions.questions(name, given.data_root, given.folder / f"questions-{Path(name).stem}.jsonl", **options)
        entries += label_questions.load(part)
        part.unlink()
    file, asked = given.folder / "questions.jsonl", {entry["id"] for entry in entries}
    if file.is_file() and (lost := sum(entry["id"] not in asked for entry in label_questions.load(file))):
        raise would_replace(file, f"{count(lost, 'question')} that these parameters leave out")
    return write_jsonl(file, entries)


def _next_step(file: Path, blind_file: Path | None, asked: int, given: EvaluationParameters) -> str:
    """The next step for a question file without answers."""
    typed = "<question_file>" if given.question_file else paths.to_type(file, given.folder)
    also = f", and the same for {paths.to_type(blind_file, given.folder)}" if blind_file else ""
    return (
        f"{count(asked, 'question')} are in {paths.display_path(file)}; let a model answer them with "
        f"retinal infer model_name='<folder>' question_file='{typed}'{also}, then pass answers_files"
    )


def _harnesses(given: str | list[str] | None) -> list[str]:
    """The harnesses that are named, in a list or with commas. UserError: one is unknown."""
    names = [name.strip() for name in (given.split(",") if isinstance(given, str) else given or []) if name.strip()]
    for name in names:
        if name not in _HARNESS_FILES:
            raise unknown("harness", name, _HARNESS_FILES)
    return names


def _notations(given: str | dict[str, str] | None) -> Callable[[str], str | None]:
    """How each model writes boxes, from a notation for all, a mapping or text such as mine=qwen2.5-vl, other=loc. UserError: an
    unknown notation."""
    parts = [part.strip() for part in given.split(",")] if isinstance(given, str) else []
    named = given if isinstance(given, dict) else dict(part.split("=", 1) for part in parts if "=" in part)
    named = {model.strip(): notation.strip() for model, notation in named.items()}
    of_all = next((part for part in parts if part and "=" not in part), None)
    for notation in (*named.values(), *([of_all] if of_all else [])):
        box_notation.needs_size(notation)
    return lambda model: named.get(model, of_all)


def _files(given: Files | None) -> dict[str, Path]:
    """Answers files by model, from a mapping, a list or text such as mine=a.jsonl, other=b.jsonl. UserError: one is missing."""
    if isinstance(given, dict):
        pairs = list(given.items())
    else:
        parts = given if isinstance(given, list) else str(given or "").split(",")
        texts = [str(part).strip() for part in parts]
        pairs = [tuple(text.split("=", 1)) if "=" in text else (_model_name(Path(text)), text) for text in texts if text]
    files = {str(name).strip(): typed_paths.resolve(str(path).strip()) for name, path in pairs}
    if len(files) != len(pairs):
        names = [str(name).strip() for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"two answers files have the name {twice!r}; give each its own, such as mine=a.jsonl, other=b.jsonl")
    for path in files.values():
        if not path.is_file():
            raise UserError(f"answers file {path} does not exist")
    return files


def _blind_files(given: Files | None, files: dict[str, Path]) -> dict[str, Path]:
    """Answers to the blind questions by model. UserError: one is missing, or of a model without other answers."""
    blind = _files(given)
    for name in blind:
        if name not in files:
            raise UserError(
                f"blind_answers names the model {name!r}, but answers_files names {', '.join(files) or 'none'}; give both "
                f"files the same name, such as mine=a.jsonl and mine=b.jsonl{did_you_mean(name, files)}"
            )
    return blind


def _model_name(path: Path) -> str:
    return path.parent.name.removeprefix("infer-") if path.stem == "answers" else path.stem
