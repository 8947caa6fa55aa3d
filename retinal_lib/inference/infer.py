"""Asking a trained model, as infer.ipynb does it: a model, an image or a file of questions, and where the answers go."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from retinal_lib import paths, typed_paths
from retinal_lib.display import FullTable, count
from retinal_lib.errors import UserError
from retinal_lib.files import read_object
from retinal_lib.inference import answer_files, question_files
from retinal_lib.inference.answer_files import AnswerFile
from retinal_lib.inference.batching import Answerer, Options
from retinal_lib.inference.llava.conversation_forms import DEFAULT_QUESTION
from retinal_lib.inference.loading import SERVER, load_model, needs_torch
from retinal_lib.inference.question_files import Entry
from retinal_lib.inference.server_model import ServerModel
from retinal_lib.parameters import Number, Parameters, TypedPath, Whole
from retinal_lib.sample import draw as sample
from retinal_lib.teacher.destination import Accepted, Terms, permission, terms_of_picture, terms_of_run

_IMAGES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
NOISE = "a tiny model with random weights, drawn by this project: its answers are noise"


class InferParameters(Parameters):
    """The parameters of infer.ipynb; they are explained there."""

    model_name: str | None = None
    image_file: TypedPath | None = None
    question: str = DEFAULT_QUESTION
    image_folder: TypedPath | None = None
    question_file: TypedPath | None = None
    answers_file: TypedPath | None = None
    vision_tower: str | None = None
    mm_projector: str | None = None
    conv_mode: str | None = None
    temperature: Number | None = None
    max_new_tokens: Whole | None = Field(None, le=1_000_000)
    batch_size: Whole | None = Field(None, le=10_000)
    timeout_s: Number | None = Field(None, gt=0, le=86400)
    device: str = "auto"
    dtype: str = "auto"
    quantize: str | None = None
    attn_implementation: str | None = None
    device_map: str | None = None
    seed: Whole | None = None
    suffix: str = ""
    append: bool = False
    max_questions: Whole | None = None
    num_chunks: Whole = 1
    chunk_idx: Whole = 0
    limit: Whole | None = Field(None, ge=1)
    max_failed: Number = Field(0.05, ge=0, le=1)
    terms_accepted: Accepted = False
    out_dir: TypedPath | None = None

    @property
    def folder(self) -> Path:
        """The run's folder, absolute."""
        if self.model_name is None:
            name = "sample"
        else:
            path = Path(self.model_name.removeprefix(SERVER))
            # train.ipynb calls each of its models `model`; the folders above tell them apart
            above = [part for part in path.parts[:-1] if part not in (path.anchor, "..", ".")][-2:]
            name = "-".join(above) if path.name == "model" and above else path.name
        return self.out_dir or typed_paths.root() / "artifacts" / f"infer-{name}"

    @property
    def options(self) -> Options:
        """How questions are asked; the drawn model's noise is short. UserError: an impossible value."""
        shortest = 32 if self.model_name is None and self.max_new_tokens is None else self.max_new_tokens
        names = ("conv_mode", "temperature", "batch_size", "seed")
        return Options.of(max_new_tokens=shortest, **{name: getattr(self, name) for name in names})


def folder(parameters: dict[str, object]) -> Path:
    """Gives the absolute folder of the run that a notebook with these parameters makes. UserError: an impossible value."""
    return InferParameters.of_known(parameters).folder


@dataclass(frozen=True)
class OneAnswer:
    """The answer to a question about one image."""

    image: Path
    question: str
    text: str

    @property
    def shown(self) -> object:
        """The image beside question and answer, as a `SideBySide`."""
        from retinal_lib.imaging import side_by_side  # brings matplotlib, which a server alone does not need

        turns = [{"from": "human", "value": self.question}, {"from": "gpt", "value": self.text}]
        return side_by_side.conversations([(self.image, self.image.stem, turns, [])])


@dataclass(frozen=True)
class Infer:
    """A model with what it is to be asked.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Infer.load(limit=2, max_new_tokens=4, out_dir=folder).answer().summary
    '2 images: 2 answered, 0 failed'
    """

    model: Answerer
    drawn: bool  # whether the model is the tiny random one
    image: Path
    question: str
    entries: tuple[Entry, ...]
    answers_file: Path
    options: Options
    max_failed: float
    append: bool = False  # ask again what the answers file holds already

    @classmethod
    def load(cls, **parameters: object) -> "Infer":
        """Loads the model that the notebook's parameters name; None counts as not passed. Everything is checked before a
        weight is read.

        UserError: a parameter is unknown or impossible, a file is not there, or the model cannot be loaded.
        """
        given = InferParameters.of(**parameters)
        options, entries = given.options, _entries(given)
        private = _is_private(given)
        question_files.keep_names_private((e.id, e.image, private or e.private) for e in entries)
        image = given.image_file or _first(entries)
        if not image.is_file():
            raise UserError(f"image_file {paths.display_path(image)} is not a file")
        answers_file = given.answers_file or given.folder / "answers.jsonl"
        model, drawn = _model(given), given.model_name is None
        if isinstance(model, ServerModel):
            model.allow(permission(_terms(given, entries, image), given.terms_accepted))
        asked = model, drawn, image, given.question, tuple(entries), answers_file
        return cls(*asked, options, given.max_failed, given.append)

    @property
    def table(self) -> FullTable:
        """The job at a glance, one row each."""
        model, options = self.model, self.options
        rows = {
            "model": f"{model.name}: {NOISE}" if self.drawn else model.name,
            "runs on": model.runs_on,
            "image": self.image.name,
            "question file": self._asked,
            "conversation form": "the model's own chat template" if model.own_form else options.conv_mode,
            "answers": self._manner,
            "answers file": paths.display_path(self.answers_file),
        }
        return FullTable({"": rows.values()}, index=list(rows))

    @property
    def _asked(self) -> str:
        said = f"{count(len(self.entries), 'entry')}, {count(sum(len(e.questions) for e in self.entries), 'question')}"
        default = sum(entry.default for entry in self.entries)
        return f"{said}; {default} without a question of their own: {self.question!r}" if default else said

    @property
    def _manner(self) -> str:
        options = self.options
        if self.model.own_defaults:
            sent = [
                f"{name} {options.given[name]}" for name in ("temperature", "max_new_tokens", "seed") if name in options.given
            ]
            return f"{', '.join(sent) or 'no option is sent'}; all else as the server has it"
        if not options.temperature:
            return f"greedy, at most {options.max_new_tokens} tokens"
        return f"sampled at temperature {options.temperature}, seed {options.seed}"

    def ask(self) -> OneAnswer:
        """Asks about the one image. UserError: there is no answer."""
        return OneAnswer(self.image, self.question, self.model.ask(self.image, self.question, **self.options.given))

    def answer(self) -> AnswerFile:
        """Asks all entries and writes the answers file; what it holds already is not asked again, unless `append` is set.
        UserError: it holds answers of another model or of other options."""
        if self.drawn and not self.append:  # noise need not be kept
            answer_files.remove(self.answers_file, self.model)
        options = {"append": self.append, **self.options.given}
        return answer_files.answer(self.model, self.entries, self.answers_file, self.max_failed, **options)


def _is_private(given: InferParameters) -> bool:
    """Whether the question file belongs to a run of a dataset whose names identify participants, or may do so, where its
    manifest cannot be read."""
    manifest = given.question_file and given.question_file.parent / "manifest.json"
    if not manifest or not manifest.exists():
        return False
    try:
        return read_object(manifest)["dataset"].get("private_names", False) is not False
    except (UserError, KeyError, AttributeError):
        return True


def _entries(given: InferParameters) -> Sequence[Entry]:
    folder = given.image_folder
    if folder is not None and not folder.is_dir():
        raise UserError(f"image_folder {paths.display_path(folder)} is not a folder")
    if given.question_file is not None:
        options = given.model_dump(include={"max_questions", "num_chunks", "chunk_idx", "suffix", "question"})
        entries = question_files.read(given.question_file, folder, **options)
        if not entries:
            part = f"part {given.chunk_idx} of {given.num_chunks} of " if given.num_chunks > 1 else ""
            raise UserError(f"{part}{paths.display_path(given.question_file)} has no entries: there is nothing to ask")
        return entries[: given.limit]
    if folder is None and given.image_file is not None:
        folder, names = given.image_file.parent, [given.image_file.name]
    elif folder is None:
        drawn = sample.draw("IDRiD", typed_paths.root() / "artifacts" / "sample" / "IDRiD")
        folder = next(drawn.glob("B*/1*/a*"))
        names = _names(folder)[: given.limit or 4]
    else:
        names = _names(folder)[: given.limit]
    if not names:
        raise UserError(f"image_folder {paths.display_path(folder)} has no images ({', '.join(_IMAGES)})")
    question = f"{given.question} {given.suffix}".strip()
    return [Entry(Path(name).stem, name, folder / name, (question,)) for name in names]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix.casefold() in _IMAGES)


def _first(entries: Sequence[Entry]) -> Path:
    usable = [entry.path for entry in entries if entry.path is not None and entry.path.is_file()]
    if not usable:
        reason = entries[0].error or f"there is no image {entries[0].image}"
        raise UserError(f"no entry of the question file can be asked: {reason}; is image_folder right?")
    return usable[0]


def _model(given: InferParameters) -> Answerer:
    names = {"vision_tower", "mm_projector", "device", "dtype", "quantize", "attn_implementation", "device_map", "timeout_s"}
    options = given.model_dump(include=names)
    if given.model_name is not None:
        return load_model(given.model_name, **options)
    with needs_torch():
        from retinal_lib.sample import llava_model
    return load_model(llava_model.draw(typed_paths.root() / "artifacts" / "sample" / "model"), **options)


def _terms(given: InferParameters, entries: Sequence[Entry], image: Path) -> set[Terms]:
    """The terms that hold for all pictures: by their names, by the dataset that an entry names, and by the run that the
    question file is of. UserError: a page that an entry names cannot be read."""
    terms = {term for entry in entries for term in terms_of_picture(entry.image, entry.dataset or entry.image.split("/")[0])}
    if given.image_file is not None:
        terms |= terms_of_picture(image.name)
    if given.question_file is not None and (manifest := given.question_file.parent / "manifest.json").exists():
        terms |= terms_of_run(manifest)
    return terms
