"""Asking a trained model, as infer.ipynb does it: a model, an image or a file of questions, and where the answers go."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from retinal_lib import paths
from retinal_lib.dataset import page
from retinal_lib.display import FullTable
from retinal_lib.errors import UserError, unknown
from retinal_lib.inference import answer_files as answers
from retinal_lib.inference import question_files as questions
from retinal_lib.inference.answer_files import Answered
from retinal_lib.inference.batching import Options
from retinal_lib.inference.llava.conversation_forms import DEFAULT_QUESTION
from retinal_lib.inference.question_files import Entry
from retinal_lib.sample import draw as sample

_IMAGES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
_LOADING = ("vision_tower", "mm_projector", "device", "dtype", "quantize")
_ASKING = ("conv_mode", "temperature", "max_new_tokens", "batch_size", "seed")
PARAMETERS = (
    *("model_name", "image_file", "question", "image_folder", "question_file", "answers_file"),
    *(*_LOADING, *_ASKING, "append", "max_questions", "num_chunks", "chunk_idx", "limit", "max_failed", "out_dir"),
)
NOISE = "a tiny model with random weights, drawn by this project: its answers are noise"


def folder(parameters: dict[str, object]) -> Path:
    """The absolute folder of the run that a notebook with these parameters makes."""
    if named := parameters.get("out_dir"):
        return paths.resolve(str(named))
    model = parameters.get("model_name")
    name = "sample" if model is None else Path(str(model).removeprefix("openai:")).name
    return paths.root() / "artifacts" / f"infer-{name}"


@dataclass(frozen=True)
class Infer:
    """A model with what it is to be asked; see `load`."""

    model: object
    drawn: bool
    image: Path
    question: str
    entries: tuple[Entry, ...]
    answers_file: Path
    options: Options
    max_failed: float

    @classmethod
    def load(cls, **given: object) -> "Infer":
        """From the notebook's parameters; None counts as not passed. Everything is checked before a weight is read.

        UserError: a parameter is unknown or cannot be, a file is not there, or the model cannot be loaded.
        """
        for name in given:
            if name not in PARAMETERS:
                raise unknown("parameter", name, PARAMETERS)
        given = {name: value for name, value in given.items() if value is not None}
        noise = {} if "model_name" in given else {"max_new_tokens": 32}  # enough of it
        options = Options.of(**noise | {name: given[name] for name in _ASKING if name in given})
        place = folder(given)
        entries = _entries(given)
        image = paths.resolve(str(given["image_file"])) if "image_file" in given else _first(entries)
        if not image.is_file():
            raise UserError(f"image_file {image} is not a file")
        answers_file = paths.resolve(str(given.get("answers_file", place / "answers.jsonl")))
        share = given.get("max_failed", 0.05)
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise UserError(f"max_failed is {share!r}; expected a share from 0 to 1")
        asked = str(given.get("question", DEFAULT_QUESTION))
        model = _model(given)
        _check_terms(model, entries)
        return cls(model, "model_name" not in given, image, asked, tuple(entries), answers_file, options, share)

    @property
    def table(self) -> FullTable:
        """What will be asked of what, one row each."""
        model = self.model
        rows = {
            "model": f"{model.name}: {NOISE}" if self.drawn else model.name,
            "runs on": model.place,
            "image": paths.display_path(self.image),
            "question file": f"{len(self.entries)} entries, {sum(len(e.questions) for e in self.entries)} questions",
            "conversation form": self.options.conv_mode,
            "answers": f"greedy, at most {self.options.max_new_tokens} tokens"
            if not self.options.temperature
            else f"sampled at temperature {self.options.temperature}, seed {self.options.seed}",
            "answers file": paths.display_path(self.answers_file),
        }
        return FullTable({"": rows.values()}, index=list(rows))

    def ask(self) -> list[tuple[Path, str, list[dict[str, str]]]]:
        """The one image with its question and answer: picture, title and turns, as `figures.conversations` takes them."""
        text = self.model.answer([self.question], [self.image], **self.options.given)[0]
        turns = [{"from": "human", "value": self.question}, {"from": "gpt", "value": text}]
        return [(self.image, self.image.stem, turns)]

    def answer(self) -> Answered:
        """Asks all entries and writes the answers file; what it holds already is not asked again."""
        if self.drawn:  # noise need not be kept
            self.answers_file.unlink(missing_ok=True)
        return answers.answer(self.model, self.entries, self.answers_file, self.max_failed, **self.options.given)


def _entries(given: dict[str, object]) -> Sequence[Entry]:
    where = paths.resolve(str(given["image_folder"])) if "image_folder" in given else None
    if where is not None and not where.is_dir():
        raise UserError(f"image_folder {where} is not a folder")
    limit = given.get("limit")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise UserError(f"limit is {limit!r}; expected a whole number of at least 1")
    if "question_file" in given:
        parts = {
            name: given[name] for name in ("max_questions", "num_chunks", "chunk_idx", "append", "question") if name in given
        }
        return questions.read(paths.resolve(str(given["question_file"])), where, **parts)[:limit]
    if where is None and "image_file" in given:
        where, names = paths.resolve(str(given["image_file"])).parent, [Path(str(given["image_file"])).name]
    elif where is None:
        where = sample.draw("IDRiD", paths.root() / "artifacts" / "sample" / "IDRiD")
        where = next(where.glob("B*/1*/a*"))
        names = _names(where)[: limit or 4]
    else:
        names = _names(where)[:limit]
    if not names:
        raise UserError(f"image_folder {where} has no images ({', '.join(_IMAGES)})")
    asked = f"{given.get('question', DEFAULT_QUESTION)} {given.get('append', '')}".strip()
    return [Entry(Path(name).stem, name, where / name, (asked,)) for name in names]


def _check_terms(model: object, entries: Sequence[Entry]) -> None:
    """UserError: images would go to a remote server that their dataset's terms keep from it."""
    if not getattr(model, "remote", False):
        return
    for name in dict.fromkeys(entry.dataset for entry in entries):
        found = page.get(name) if name in page.names() else None
        if found is not None and found.may_send != "yes":
            raise UserError(f"{found.name}: {found.terms}; {model.name} is on {model.place}")


def _names(where: Path) -> list[str]:
    return sorted(path.name for path in where.iterdir() if path.suffix.casefold() in _IMAGES)


def _first(entries: Sequence[Entry]) -> Path:
    usable = [entry.path for entry in entries if entry.path is not None and entry.path.is_file()]
    if not usable:
        told = entries[0].error or f"there is no image {entries[0].path}" if entries else "it has no entries"
        raise UserError(f"no entry of the question file can be asked: {told}; is image_folder right?")
    return usable[0]


def _model(given: dict[str, object]) -> object:
    name = given.get("model_name")
    if name is None:
        _inference()
        from retinal_lib.sample import llava_model as sample_model

        name = sample_model.draw(paths.root() / "artifacts" / "sample" / "model")
    return load(str(name), {key: given[key] for key in _LOADING if key in given})


def load(model_name: str, loading: dict[str, object]) -> object:
    """The model of that name: a folder as typed, a hub id, or a server. UserError: as `load_model`, or torch is missing."""
    if model_name.startswith("openai:"):
        from retinal_lib.inference.server_model import StandIn

        return StandIn(model_name.removeprefix("openai:"))
    return _inference().load_model(_place(model_name), **loading)


def identity(model_name: str, loading: dict[str, object]) -> str:
    """What tells a model from others, as the loaded model has it, without loading it."""
    if model_name.startswith("openai:"):
        return load(model_name, {}).identity
    return _inference().identity(_place(model_name), loading.get("vision_tower"), loading.get("mm_projector"))


def _place(model_name: str) -> str | Path:
    if Path(model_name).expanduser().is_dir() or model_name.count("/") != 1:
        return paths.resolve(model_name)
    return model_name


def _inference() -> object:
    try:
        from retinal_lib.inference import model as inference
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed, which a model on this machine needs: pip install -e '.[inference]'; "
            "or pass model_name openai:<name> to ask a server"
        ) from error
    return inference
