"""An evaluation as evaluate.ipynb shows it: questions from labels, answers of one or more models, tables and figures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from retinal_lib import paths
from retinal_lib.display import FullTable, count
from retinal_lib.errors import UserError, unknown
from retinal_lib.evaluate import figures as score_figures
from retinal_lib.evaluate import label_questions
from retinal_lib.evaluate import made_up_answers as pretend
from retinal_lib.evaluate import marks as marking
from retinal_lib.evaluate.marks import Mark
from retinal_lib.evaluate.tables import SINGLE, Tables
from retinal_lib.files import write_jsonl

PARAMETERS = (
    *("dataset", "data_root", "automorph_root", "split", "kinds", "measures", "limit", "seed", "question_file"),
    *("answers_files", "blind_answers", "blind", "resamples", "max_unread", "out_dir"),
)
SAMPLE = "IDRiD, IDRiD_seg, MICCAI_task1, RFMiD"
MADE_UP = "made up"


def folder(parameters: dict[str, object]) -> Path:
    """The absolute folder of the run that a notebook with these parameters makes."""
    if named := parameters.get("out_dir"):
        return paths.resolve(str(named))
    name = "-".join(_names(parameters.get("dataset"))) if parameters.get("dataset") else "sample"
    return paths.root() / "artifacts" / f"evaluate-{name}"


def _names(dataset: object) -> list[str]:
    return [Path(name.strip()).stem for name in str(dataset or SAMPLE).split(",") if name.strip()]


@dataclass(frozen=True)
class Evaluation:
    """Questions with references and the answers to them; see `load`."""

    folder: Path
    question_file: Path
    asked: tuple[dict, ...]
    files: dict[str, Path]
    tables: Tables
    without: tuple[Mark, ...]
    made_up: bool
    waiting: str  # what to do next, where there are no answers yet
    max_unread: float

    @classmethod
    def load(cls, **given: object) -> "Evaluation":
        """From the notebook's parameters; None counts as not passed.

        Without `answers_files`, questions on your own data are written, and `waiting` says how to have them answered; those
        on drawn samples are answered by made-up answers. UserError: what is wrong with files or parameters.
        """
        for name in given:
            if name not in PARAMETERS:
                raise unknown("parameter", name, PARAMETERS)
        given = {name: value for name, value in given.items() if value is not None}
        place = folder(given)
        file = paths.resolve(str(given["question_file"])) if "question_file" in given else _written(given, place)
        asked = label_questions.load(file)
        blind_file = _blind(given, file, place)
        drawn = "question_file" not in given and "data_root" not in given
        files = _files(given.get("answers_files"))
        waiting = _next_step(file, blind_file, len(asked)) if not files and not drawn else ""
        made_up = not files and drawn
        if made_up:
            files = {MADE_UP: pretend.write(asked, place / "answers.jsonl")}
        found = [mark for name, path in files.items() for mark in marking.marks(name, asked, path)]
        without = [m for name, path in _files(given.get("blind_answers")).items() for m in marking.marks(name, asked, path)]
        tables = Tables(found, int(given.get("resamples", 50 if made_up else 200)), int(given.get("seed", 0)))
        least = float(given.get("max_unread", 0.5))
        return cls(place, file, tuple(asked), files, tables, tuple(without), made_up, waiting, least)

    @property
    def table(self) -> FullTable:
        """What is evaluated, one row each."""
        rows = {
            "questions": f"{len(self.asked)} in {paths.display_path(self.question_file)}",
            "datasets": ", ".join(dict.fromkeys(entry["dataset"] for entry in self.asked)),
            "models": ", ".join(self.files) or "none yet",
        }
        if self.waiting:
            rows["next"] = self.waiting
        if self.made_up:
            rows["note"] = "the eyes are drawn and the answers are made up, wrong in a known share: the numbers mean nothing"
        return FullTable({"": rows.values()}, index=list(rows))

    @property
    def first(self) -> FullTable:
        """One question of each kind with its reference and the first model's answer, as it was read."""
        seen: dict[str, Mark] = {}
        for mark in self.tables.marks:
            seen.setdefault(mark.kind, mark)
        shown = [(m.question, str(m.reference)[:60], m.text[:120], m.read.state, str(m.value)[:60]) for m in seen.values()]
        return FullTable(shown, columns=["question", "reference", "answer", "state", "read as"])

    @property
    def confusions(self) -> object:
        """A confusion matrix for each model and question with a single answer."""
        groups: dict[str, list[Mark]] = {}
        for mark in self.tables.of(*SINGLE):
            subject = mark.entry.get("scale", mark.subject)
            groups.setdefault(f"{mark.model}: {mark.dataset}, {subject}", []).append(mark)
        return score_figures.confusions({title: held for title, held in groups.items() if len(score_figures.classes(held)) > 1})

    @property
    def wrong(self) -> list[Mark]:
        """Single answers that are wrong: read, and not the reference."""
        return [m for m in self.tables.of(*SINGLE) if m.read.state == "answered" and not m.right]

    def gallery(self, most: int = 8) -> object:
        """The first wrong answers beside their images."""
        return score_figures.gallery(self.wrong[:most])

    @property
    def blinded(self) -> FullTable:
        """The blind test's table; empty without blind answers."""
        return self.tables.blinded(self.without)

    def save(self) -> list[str]:
        """Writes every table as CSV and every mark as a JSON line into the run's folder; returns the files' names, or what
        to do next where there are no answers yet."""
        if self.waiting:
            return [self.waiting]
        self.folder.mkdir(parents=True, exist_ok=True)
        names = ("states", "single", "diseases", "labels", "boxes", "measurements", "unread", "layout")
        held = {f"{name}.csv": getattr(self.tables, name) for name in names}
        for name, table in held.items():
            table.to_csv(self.folder / name, index=name == "layout.csv")
        keep = ("model", "id", "dataset", "kind", "subject", "image", "question", "text", "reference", "value")
        lines = [
            json.dumps({n: getattr(m, n) for n in keep} | {"state": m.read.state, "why": m.read.why}) for m in self.tables.marks
        ]
        (self.folder / "marks.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return [*held, "marks.jsonl"]

    def require(self) -> None:
        """UserError: more answers than allowed could not be read, so that the numbers say little."""
        lost = len(self.tables.unread)
        if lost > self.max_unread * len(self.tables.marks):
            raise UserError(
                f"{lost} of {len(self.tables.marks)} answers are missing or could not be read (max_unread allows "
                f"{self.max_unread:.0%}); look at the table of unread answers"
            )


def _written(given: dict[str, object], place: Path) -> Path:
    """The question file of the named datasets, made anew: the same labels and seed give the same questions."""
    datasets = [name.strip() for name in str(given.get("dataset", SAMPLE)).split(",") if name.strip()]
    if len(datasets) > 1 and "data_root" in given:
        raise UserError("data_root is of one dataset; write a question file for each, or name one dataset")
    options = {name: given[name] for name in ("kinds", "measures", "split", "limit", "seed", "automorph_root") if name in given}
    root = paths.resolve(str(given["data_root"])) if "data_root" in given else None
    entries = []
    for name in datasets:
        part = label_questions.write(name, root, place / f"questions-{Path(name).stem}.jsonl", **options)
        entries += label_questions.load(part)
        part.unlink()
    return write_jsonl(place / "questions.jsonl", entries)


def _blind(given: dict[str, object], file: Path, place: Path) -> Path | None:
    if "blind" not in given:
        return None
    way = str(given["blind"])
    return label_questions.blind(file, place / f"questions-{way}.jsonl", way, int(given.get("seed", 0)))


def _next_step(file: Path, blind_file: Path | None, asked: int) -> str:
    """What to do with a question file that nobody has answered."""
    also = f", and the same for {paths.display_path(blind_file)}" if blind_file else ""
    return (
        f"{count(asked, 'question')} lie in {paths.display_path(file)}; have them answered with "
        f"papermill notebooks/infer.ipynb -p model_name <folder> "
        f"-p question_file {paths.display_path(file)}{also}, then pass answers_files"
    )


def _files(given: object) -> dict[str, Path]:
    """Answers files by model: a mapping, a list, or text such as mine=a.jsonl, other=b.jsonl."""
    if given is None:
        return {}
    if isinstance(given, dict):
        pairs = list(given.items())
    else:
        parts: Sequence[str] = [p.strip() for p in given.split(",")] if isinstance(given, str) else list(map(str, given))
        pairs = [tuple(p.split("=", 1)) if "=" in p else (_name(Path(p)), p) for p in parts if p]
    found = {str(name).strip(): paths.resolve(str(path).strip()) for name, path in pairs}
    if len(found) != len(pairs):
        raise UserError(f"two answers files are named {pairs[0][0]!r}; name them, such as mine=a.jsonl, other=b.jsonl")
    for path in found.values():
        if not path.is_file():
            raise UserError(f"answers file {path} is not there")
    return found


def _name(path: Path) -> str:
    return path.parent.name.removeprefix("infer-") if path.stem == "answers" else path.stem
