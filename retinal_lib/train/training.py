"""Training as train.ipynb does it: a trial with drawn eyes and a tiny model, or conversations and a model of one's own."""

import json
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import joblib
from pydantic import Field, field_validator

from retinal_lib import paths, typed_paths
from retinal_lib.display import FullTable, count, shared_bar
from retinal_lib.errors import UserError
from retinal_lib.files import atomic_write, read_json, read_object, sha256
from retinal_lib.inference.loading import needs_torch
from retinal_lib.parameters import Number, Parameters, TypedPath, Whole
from retinal_lib.sample import many_eyes
from retinal_lib.train import examples
from retinal_lib.train.examples import Example
from retinal_lib.train.report import Report

SHORT = "RETINAL_LIB_SHORT_TRIAL"  # in the environment: the default of `short`
_NOISE = 0.2  # share of the tokens asked that the tiny model sees replaced; without, it lost whole wordings of an exam
_TALKED_ABOUT = 0.1  # share of the drawn eyes with a conversation of the instruction track besides their closed questions


class TrainParameters(Parameters):
    """The parameters of train.ipynb, which explains them."""

    data: TypedPath | None = None
    image_folder: TypedPath | None = None
    model_name: str | None = None
    vision_tower: str | None = None
    mm_projector: str | None = None
    lora: Whole = Field(0, ge=0, le=1024)
    epochs: Whole | None = Field(None, ge=1, le=1000)
    learning_rate: Number | None = Field(None, gt=0, le=1)
    batch_size: Whole | None = Field(None, ge=1, le=10_000)
    seeds: tuple[Whole, ...] | None = Field(None, min_length=1)
    limit: Whole | None = Field(None, ge=1)
    held_out: Whole | None = Field(None, ge=2)
    wrong_labels: Number = Field(0.3, ge=0, le=1)
    kinds: tuple[str, ...] = examples.KINDS
    tower_epochs: Whole | None = Field(None, ge=1, le=1000)
    short: bool = Field(default_factory=lambda: bool(os.environ.get(SHORT)))
    device: str = "auto"
    dtype: str = "auto"
    out_dir: TypedPath | None = None

    @field_validator("seeds", "kinds", mode="before")
    @classmethod
    def _several(cls, given: object) -> object:
        """Several as a list, one alone, or as text with commas between."""
        if isinstance(given, int) and not isinstance(given, bool):
            return (given,)
        return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else given

    @field_validator("kinds")
    @classmethod
    def _known(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        """Some of the kinds of questions that drawn eyes are asked, in their order."""
        if not given or set(given) - set(examples.KINDS):
            raise ValueError(f"expected some of {', '.join(examples.KINDS)}")
        return tuple(kind for kind in examples.KINDS if kind in given)

    @property
    def tiny(self) -> bool:
        """Whether the model is the tiny one that is made here."""
        return self.model_name is None

    @property
    def folder(self) -> Path:
        """The run's folder, absolute."""
        name = "trial" if self.tiny else Path(self.model_name).name
        return self.out_dir or typed_paths.root() / "artifacts" / f"train-{name}"

    def complete(self) -> "TrainParameters":
        """Returns the parameters with what follows from others. UserError: they do not go together."""
        if self.data is not None and self.tiny:
            raise UserError("data needs a model_name: the tiny model of the trial learns from drawn eyes alone")
        if self.tiny and self.lora:
            raise UserError("lora needs a model_name: all weights of the tiny model are trained")
        short = self.short
        if self.tiny:
            usual = {"epochs": 1 if short else 5, "learning_rate": 3e-3, "tower_epochs": 1 if short else 20}
        else:
            usual = {"epochs": 3, "learning_rate": 2e-4 if self.lora else 2e-5}
        usual |= {"seeds": (0, 1, 2) if self.tiny and not short else (0,), "held_out": 10 if short else 200, "batch_size": 4}
        if self.data is None:
            usual["limit"] = 20 if short else 1000
        return self.model_copy(update={name: value for name, value in usual.items() if getattr(self, name) is None})


def folder(parameters: dict[str, object]) -> Path:
    """Returns the absolute folder of the run that a notebook with these parameters makes. UserError: an impossible value."""
    return TrainParameters.of_known(parameters).folder


@dataclass(frozen=True)
class Training:
    """Conversations, and the models that are to learn them: one for each seed, and one that learns labels of which
    a share is mixed up.

    `eyes` is the folder of the drawn eyes; None where the data are one's own."""

    given: TrainParameters
    folder: Path
    examples: tuple[Example, ...]
    eyes: Path | None

    @classmethod
    def load(cls, **parameters: object) -> "Training":
        """Reads or makes the conversations that the notebook's parameters name; None counts as not passed. UserError: a
        parameter is unknown or impossible, a file cannot be read, or the folder holds a training with other settings."""
        given = TrainParameters.of(**parameters).complete()
        if given.data is not None:
            found, eyes = examples.read(given.data, given.image_folder, given.limit), None
        else:
            talked_about = round(_TALKED_ABOUT * given.limit)
            made = examples.drawn(given.folder / "drawn", given.limit, given.held_out, 0, talked_about, given.kinds)
            found, eyes = made.examples, made.folder
        training = cls(given, given.folder, tuple(found), eyes)
        training._check_folder()
        return training

    def _check_folder(self) -> None:
        """Notes the settings in the folder, over those of a start that trained nothing. UserError: it holds a training with
        others, which these cannot go on with."""
        left_out = {"out_dir", "device", "data", "image_folder", "seeds", "short"}
        now = self.given.model_dump(mode="json", exclude=left_out)
        said = [(each.id, each.image.name, each.questions, each.answers) for each in self.examples]
        now["conversations"] = sha256(json.dumps(said))
        file, base = self.folder / "settings.json", self.folder / "base"
        noted = read_object(file) if file.is_file() else {}
        other = [name for name, value in noted.items() if now.get(name) != value]
        if other and any(any(self.folder.glob(f"seed-*/{name}")) for name in ("tower.pt", "state.pt", "losses.json")):
            raise UserError(
                f"{paths.display_path(self.folder)} holds a training with other {', '.join(other)}; "
                "pass another out_dir, or remove that folder"
            )
        for made in (base, *self.folder.glob("seed-*")) if other else ():
            if made.is_dir():
                shutil.rmtree(made)  # with those settings
        if other or not noted:
            with atomic_write(file) as out:
                out.write(json.dumps(now, indent=1) + "\n")

    @property
    def table(self) -> FullTable:
        """The training at a glance, one row each."""
        given, images = self.given, len({each.image for each in self.examples})
        manner = f"LoRA of rank {given.lora}" if given.lora else "all weights but the vision tower's"
        manner = "its vision tower first, from the answers as classes; then all else" if given.tiny else manner
        rows = {
            "model": "a tiny LLaVA, made here" if given.tiny else given.model_name,
            "conversations": f"{len(self.examples):,} about {count(images, 'drawn eye' if self.eyes else 'image')}",
            "learned": manner,
            "recipe": f"epochs: {given.epochs}, at once: {given.batch_size}, learning rate: {given.learning_rate:g}",
            "seeds": ", ".join(map(str, given.seeds)),
            "held out": count(given.held_out, "drawn eye") if self.eyes else "nothing: evaluate.ipynb asks about data of yours",
            "folder": paths.display_path(self.folder),
        }
        if self.eyes and given.short:
            rows["note"] = "a short trial: it shows that everything runs, its numbers mean nothing"
        return FullTable({"": rows.values()}, index=list(rows))

    def shown(self, most: int = 4) -> FullTable:
        """Returns the first turn of some conversations."""
        some = self.examples[:: max(1, len(self.examples) // most)][:most]
        rows = [{"image": e.image.name, "question": e.questions[0], "answer": e.answers[0]} for e in some]
        return FullTable(rows)

    @cached_property
    def runs(self) -> dict[str, tuple[int, tuple[Example, ...]]]:
        """The models to train, by name: seed and conversations."""
        runs = {f"seed {seed}": (seed, self.examples) for seed in self.given.seeds}
        if self.eyes and self.given.wrong_labels:
            first = self.given.seeds[0]
            wrong = examples.with_wrong_labels(self.examples, self.given.wrong_labels, first)
            runs[f"seed {first}, {self.given.wrong_labels:.0%} mixed labels"] = first, tuple(wrong)
        return runs

    def train(self) -> FullTable:
        """Trains each model that is not finished yet, and goes on where one was stopped. UserError: torch or peft is missing,
        the model cannot be opened, or the loss is no number."""
        waiting = [(name, *run) for name, run in self.runs.items()]
        at_once = min(len(waiting), self._at_once)
        # a worker that is begun anew for its memory's sake is no fault
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        steps = sum(self._steps(learned) for _, _, learned in waiting)
        with shared_bar(steps, f"steps of {count(len(waiting), 'model')}", at_once) as told:
            trained = joblib.Parallel(n_jobs=at_once)(joblib.delayed(self._trained)(*run, told) for run in waiting)
        rows = zip(self.runs, trained, strict=True)
        return FullTable(
            [{"model": name, "loss of the first epoch": losses[0], "of the last": losses[-1]} for name, losses in rows]
        ).round(3)

    def _steps(self, learned: tuple[Example, ...]) -> int:
        """How many steps the training of a model has."""
        given = self.given
        tower = examples.tower_steps(learned, given.tower_epochs) if given.tiny else 0
        return tower + examples.steps_of(len(learned), given.batch_size) * given.epochs

    def place(self, name: str) -> Path:
        """Returns the folder of a run, in which `model` is the trained model."""
        return self.folder / name.replace(",", "").replace("%", "").replace(" ", "-")

    def _trained(self, name: str, seed: int, learned: tuple[Example, ...], told: Callable[[int, str], None]) -> list[float]:
        """Trains one model, unless it is there, and returns its losses."""
        place = self.place(name)
        file = place / "losses.json"
        if (place / "model").is_dir() and file.is_file():
            told(self._steps(learned), name)
            return read_json(file)
        with needs_torch():
            from retinal_lib.train import loop, tiny_model

        def step(number: int, loss: float | None) -> None:
            told(number, name if loss is None else f"{name}, loss {loss:.3f}")

        given = self.given
        if given.tiny:
            model = tiny_model.with_trained_tower(place, learned, seed, given.tower_epochs, step)
            source = tiny_model.source(place)
        else:
            model, source = loop.opened(given, self.folder / "base")
        noise = _NOISE if given.tiny else 0.0
        recipe = loop.Recipe(given.epochs, given.learning_rate, given.batch_size, given.lora, seed, noise)
        losses = loop.train(model, learned, recipe, place / "state.pt", place / "model", source, step)
        with atomic_write(file) as out:
            out.write(json.dumps(losses) + "\n")
        (place / "state.pt").unlink()
        return losses

    def report(self) -> Report:
        """Asks the trained models about the held-out eyes, with their own images and with others, and scores the answers.
        UserError: the data are one's own, or a model is not trained."""
        if self.eyes is None:
            raise UserError("the eyes held out are drawn ones; ask the model about your own by infer.ipynb and evaluate.ipynb")
        models = {name: self.place(name) / "model" for name in self.runs}
        if untrained := [name for name, model in models.items() if not model.is_dir()]:
            raise UserError(f"{untrained[0]} is not trained yet; call train() first")
        asked = ",".join(self.given.kinds)
        scores = self.folder / "scores"
        return Report.of(models, self.eyes, many_eyes.DATASET, asked, scores, self.given.device, self._at_once)

    @property
    def _at_once(self) -> int:
        """How many models work at once: tiny ones have a core each; a model of one's own has the machine for itself."""
        return (os.cpu_count() or 1) if self.given.tiny and not self.given.short else 1

    @property
    def next_step(self) -> str:
        """What to do with the models."""
        model = self.place(next(iter(self.runs))) / "model"
        return f"retinal infer model_name='{paths.to_type(model, self.folder)}'"
