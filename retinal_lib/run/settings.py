"""Settings of a run: from the notebook's parameters, else params/<dataset>.yaml, else the defaults."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from retinal_lib import paths, typed_paths
from retinal_lib.ask.limits import BatchSettings
from retinal_lib.closed_questions.wording import KINDS, Options
from retinal_lib.dataset import page
from retinal_lib.errors import UserError, from_validation, unknown, validation_text
from retinal_lib.files import read_yaml
from retinal_lib.parameters import Number, Whole, check_texts
from retinal_lib.teacher.destination import Accepted

STYLES: dict[str, tuple[str, ...]] = {"instruction": (), "alignment": ("caption", "consult")}
_CLOSED = ("kinds", "per_image", "separate", "cannot_tell", "swapped")  # settings of the vqa track alone
_TEACHING = ("style", "teacher", "model", "mode", "images", "budget_usd", "wait", "results")
_TEACHING += ("reader", "reader_model", "reader_share")
PATHS = ("data_root", "automorph_root", "results", "out_dir")


def _kinds(given: object) -> object:
    """Kinds as a list, or with commas between them."""
    return tuple(filter(None, (name.strip() for name in given.split(",")))) if isinstance(given, str) else given


def _known_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    if not kinds:
        raise ValueError(f"none is named; expected some of {', '.join(KINDS)}")
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(str(unknown("kind of question", kind, KINDS)))
    return kinds


Kinds = Annotated[tuple[str, ...], BeforeValidator(_kinds), AfterValidator(_known_kinds)]


class Settings(BaseModel):
    """The settings of one run. The first block are the notebook's parameters; the second is in params/<dataset>.yaml only."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)
    dataset: str
    track: Literal["instruction", "alignment", "vqa"] = "instruction"
    style: Literal["caption", "consult"] | None = None
    mode: Literal["direct", "batch", "pack", "unpack", "recheck"] = "direct"
    teacher: Literal["offline", "openai"] = "offline"
    model: str | None = None
    data_root: Path | None = None
    automorph_root: Path | None = None
    split: str | None = None
    subset: str | None = None
    start: Whole = Field(0, ge=0)
    limit: Whole | None = Field(None, ge=1)
    images: Literal["none", "send"] = "none"
    concurrency: Whole | None = Field(None, ge=1, le=1000)  # None: 10, and 1 at a server on this machine
    timeout_s: Number | None = Field(None, gt=0, le=86400)  # for one answer; None: 600, and 3,600 at a server on this machine
    wait: bool = False
    results: Path | None = None
    dry_run: bool = False
    budget_usd: Number | None = Field(None, gt=0)
    max_failed: Number = Field(0.05, ge=0, le=1)
    max_repairs: Whole = Field(1, ge=0, le=5)
    terms_accepted: Accepted = False
    kinds: Kinds = KINDS  # of the vqa track, as are the next four
    per_image: Whole = Field(4, ge=1, le=20)  # questions of an image at most
    separate: bool = False  # each question is a conversation of its own
    cannot_tell: Number = Field(0.1, ge=0, le=0.5)  # the share of questions that cannot be told, at most
    swapped: Number = Field(0.5, ge=0, le=1)  # the share of questions that are asked of several images in the same words
    seed: Whole = 0
    out_dir: Path | None = None

    image_prefix: str | None = None  # the text before an image's name in exported files
    tables: dict[str, str] = {}  # split -> label table in data_root, where it differs from the published one
    tell: list[Literal["tortuosity"]] = []  # measures of AutoMorph that are told although they are unreliable
    measurements: Literal["chosen", "all"] = "chosen"  # all: every measurement and box, not a choice drawn by seed
    microns_per_pixel: Number | None = Field(None, gt=0)  # the scale of the pictures that AutoMorph was given
    hidden_text: str | None = None  # a sentence of your own that is added to every image's facts
    attempts: Whole = Field(3, ge=1, le=10)  # how often an image is asked for in all, where replies are unusable
    answer_form: Literal["text", "json"] = "text"  # json: the server is given a schema for the conversation
    reader: Literal["openai"] | None = None  # a second reader compares some conversations with their facts
    reader_model: str | None = None  # None: the teacher's
    reader_share: Number = Field(0.05, ge=0, le=1)  # of accepted conversations that it reads whole
    request: dict[str, Any] = {}  # options sent with each request, such as temperature
    batch: BatchSettings = BatchSettings()

    @property
    def questions(self) -> Options:
        """What the vqa track asks."""
        return Options(self.kinds, self.per_image, self.cannot_tell, self.swapped, self.seed)

    @property
    def name(self) -> str:
        """The dataset's name in file names."""
        return dataset_name(self.dataset)

    def prefix(self, of: page.Page) -> str:
        """Returns the text before the name of an image of a dataset in exported files."""
        return of.image_prefix if self.image_prefix is None else self.image_prefix

    @property
    def file_exchange(self) -> bool:
        """True where requests leave as files, so that no server is called."""
        return self.mode in ("pack", "unpack", "recheck")

    @property
    def folder(self) -> Path:
        """The run's folder, absolute."""
        return self.notebook_folder("generate")

    def notebook_folder(self, notebook: str) -> Path:
        """Returns the absolute folder that a notebook writes to: boxes and explore have their own, others use the run's."""
        parts = [notebook] if notebook in ("boxes", "explore") else [self.track, self.style]
        return self.out_dir or typed_paths.root() / "artifacts" / "-".join(filter(None, [self.name, *parts]))


NOTEBOOK = tuple(Settings.model_fields)[: tuple(Settings.model_fields).index("image_prefix")]


def dataset_name(dataset: str) -> str:
    """Returns a dataset's name in file names: the page's, or the stem of the user's own page or CSV. UserError: no such one."""
    if page.is_own(dataset):
        return page.own_name(dataset)
    return page.published_name(dataset)


def load(**parameters: object) -> Settings:
    """Reads the settings of a run; a parameter that is None counts as not passed.

    UserError: an unknown parameter, key or dataset, or a value that a setting cannot have; with its file.
    """
    for name in parameters:
        if name not in NOTEBOOK:
            raise unknown("parameter", name, NOTEBOOK)
    passed = {name: value for name, value in parameters.items() if value is not None}
    check_texts(passed)
    if not isinstance(passed.get("dataset"), str):
        raise UserError(f"dataset must be named, such as dataset=ODIR; known: {', '.join(page.names())}")
    if page.is_own(passed["dataset"]):
        passed["dataset"] = str(typed_paths.resolve(passed["dataset"]))
    file = params_file(dataset_name(passed["dataset"]))
    from_file = _from_file(file)
    for name in PATHS:
        if isinstance(passed.get(name), str | Path):
            passed[name] = typed_paths.resolve(passed[name])
    settings = _valid(from_file, passed, file)
    if settings.track != "vqa" and (closed := next((name for name in _CLOSED if name in passed), None)):
        raise UserError(f"{closed} belongs to the vqa track; leave {closed} out, or pass track=vqa")
    _check(settings)
    if settings.track == "alignment" and settings.style is None:
        settings = settings.model_copy(update={"style": STYLES["alignment"][0]})
    return settings


def _check(settings: Settings) -> None:
    """Checks that settings go together. UserError: two do not."""
    if settings.track != "alignment" and settings.style is not None:
        raise UserError(f"style {settings.style!r} belongs to the alignment track; leave style out, or pass track=alignment")
    if settings.track == "vqa":
        asking = {"teacher": settings.teacher != "offline", "mode": settings.mode not in ("direct", "recheck")}
        asking |= {"model": settings.model is not None, "budget_usd": settings.budget_usd is not None}
        if name := next((name for name, asks in asking.items() if asks), None):
            raise UserError(f"the vqa track is made from the facts by the program and asks no model; leave {name} out")
    if settings.teacher == "offline":
        for name, value, default in (("mode", settings.mode, "direct"), ("budget_usd", settings.budget_usd, None)):
            if value not in (default, "recheck"):
                raise UserError(
                    f"{name} {value!r} needs a server, which the offline teacher does not use: pass teacher=openai and model=…"
                )
    if settings.reader and settings.mode in ("pack", "unpack"):
        raise UserError(
            f"reader {settings.reader!r} is asked in mode direct or batch, not by files; found {settings.mode!r}. Take it out "
            f"of {paths.display_path(params_file(settings.name))}, and set it again for a server that can be reached from here"
        )
    if settings.reader_model and not settings.reader:
        raise UserError("reader_model names the model of the second reader, which is off; set reader: openai too")
    if "reader_share" in settings.model_fields_set and not settings.reader:
        raise UserError("reader_share is the share that the second reader reads, which is off; set reader: openai too")
    if settings.wait and settings.mode != "batch":
        raise UserError(f"wait belongs to mode=batch, found mode {settings.mode!r}; leave it out")
    if settings.results and settings.mode != "unpack":
        raise UserError(f"results belongs to mode=unpack, found mode {settings.mode!r}; leave it out")


def params_file(name: str) -> Path:
    """Returns the path of the user's settings for a dataset."""
    return typed_paths.root() / "params" / f"{name}.yaml"


def _from_file(file: Path) -> dict[str, object]:
    if not file.exists():
        return {}
    content = read_yaml(file, "YAML") or {}
    if not isinstance(content, dict):
        raise UserError(f"{paths.display_path(file)}: expected settings such as 'data_root: /data/ODIR-5K', one in a line")
    known = [name for name in Settings.model_fields if name != "dataset"]
    for name in content:
        if name not in known:
            raise UserError(f"{paths.display_path(file)}: {unknown('setting', name, known)}")
    for name in PATHS:
        if isinstance(content.get(name), str):  # relative to the project, wherever the command is typed
            content[name] = (typed_paths.root() / typed_paths.expand(content[name])).absolute()
    return {name: value for name, value in content.items() if value is not None}


def _valid(from_file: dict[str, object], passed: dict[str, object], file: Path) -> Settings:
    # what the file says for another track, such as a style, must not stop a run
    track = passed.get("track", from_file.get("track", "instruction"))
    others = _TEACHING if track == "vqa" else ("style", *_CLOSED) if track == "instruction" else _CLOSED
    from_file = {name: value for name, value in from_file.items() if name not in others}
    try:
        return Settings(**{**from_file, **passed})
    except ValidationError as error:
        if error.errors()[0]["loc"][0] in passed:
            raise UserError(f"parameter {validation_text(error)}") from error
        raise from_validation(error, paths.display_path(file)) from error


def of_run(values: dict[str, object], **changes: object) -> Settings:
    """Returns the settings of a finished run, by its manifest, with changes. UserError: a value is not possible any more."""
    known = {name: value for name, value in values.items() if name in Settings.model_fields}
    try:
        return Settings(**known | changes)
    except ValidationError as error:
        raise UserError(f"the run's settings: {validation_text(error)}; run it again (nothing is asked twice)") from error


def folder(parameters: dict[str, object], notebook: str = "generate") -> Path:
    """Returns the absolute folder that a notebook with these parameters writes to. UserError: as `load`."""
    of_run = {name: value for name, value in parameters.items() if name in NOTEBOOK}
    return load(**of_run).notebook_folder(notebook)
