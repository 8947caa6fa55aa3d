"""Questions that a dataset's labels answer, written as a question file with the reference beside each question."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from PIL import Image
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from retinal_lib import typed_paths
from retinal_lib.closed_questions import references, run_questions, wording
from retinal_lib.closed_questions.references import Topics
from retinal_lib.closed_questions.wording import CANNOT, Options
from retinal_lib.closed_questions.writing import LETTERS, Asked
from retinal_lib.dataset import measurements, page
from retinal_lib.dataset.base import BaseDescription, load_dataset
from retinal_lib.dataset.label_kinds import denied
from retinal_lib.display import progress
from retinal_lib.errors import UserError, unknown, validation_text
from retinal_lib.evaluate import answer_reader, harnesses
from retinal_lib.facts import Case
from retinal_lib.files import atomic_path, read_jsonl, sha256, write_jsonl
from retinal_lib.inference import question_files
from retinal_lib.sample import draw as sample

KINDS = ("grade", "diseases", "quality", "modality", "eye", "boxes", "measurement")
CLOSED = ("option", "options", "yes_no")  # asked where they are named: those of track `vqa`, in phrasings kept for exams


def questions(
    dataset: str,
    data_root: str | Path | None = None,
    out: str | Path | None = None,
    kinds: Sequence[str] | str | None = None,
    measures: Sequence[str] | str | None = None,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    automorph_root: str | Path | None = None,
) -> Path:
    """Writes a question file (JSONL) for a dataset and returns it.

    `kinds`: some of grade, diseases, quality, modality, eye, boxes, measurement, which are the default, and of option, options
    and yes_no, the closed questions of track `vqa` in phrasings that it does not use; `measures`: names of AutoMorph's columns,
    or all that are told; `limit`: images at most. Which phrasing an image gets depends on the seed. Without `data_root` a drawn
    sample is used. An entry has id, image (a path), question, dataset, kind, subject, reference, and what its scoring needs.
    UserError: an unknown kind, the dataset cannot be read, or it answers no such question.
    """
    kinds = _split(kinds) or KINDS
    for kind in kinds:
        if kind not in (*KINDS, *CLOSED):
            raise unknown("kind of question", kind, (*KINDS, *CLOSED))
    if data_root is None:
        own = page.page_of(dataset) if page.is_own(dataset) else None
        drawn = typed_paths.root() / "artifacts" / "sample" / (own or page.get(dataset)).name
        data_root = own.file.absolute().parent if own else sample.draw(dataset, drawn)
    data = load_dataset(dataset, data_root, automorph_root, split)
    measures = _split(measures) or tuple(wording.words()["measures"])
    _check_measures(measures)
    entries = list(_entries(data, kinds, measures, limit, seed))
    if not entries:
        raise UserError(f"{data.page.name}: its labels answer no question of the kinds {', '.join(kinds)}")
    file = Path(out) if out else typed_paths.root() / "artifacts" / f"evaluate-{data.page.name}" / "questions.jsonl"
    return write_jsonl(file, entries)


def _check_measures(measures: Sequence[str]) -> None:
    """UserError: one is no measurement, or is too unreliable to ask for."""
    for name in measures:
        if name == "all":
            continue
        if name not in measurements.columns():
            raise unknown("measurement", name, [f.column for f in measurements.features()])
        if why := measurements.feature(name).why_not:
            raise UserError(f"{name} cannot be asked for: {why}")


def _split(names: Sequence[str] | str | None) -> tuple[str, ...]:
    """Names as a list or with commas between them."""
    return tuple(name.strip() for name in (names.split(",") if isinstance(names, str) else names or ()))


def _entries(
    data: BaseDescription, kinds: Sequence[str], measures: Sequence[str], limit: int | None, seed: int
) -> Iterator[dict]:
    cases = [data.describe(name) for name in progress(data.images[:limit], "images read")]
    topics = Topics.of(data, cases, measures)
    private = {"private_names": True} if data.page.private_names else {}
    for case in cases:
        for kind in (kind for kind in kinds if kind in KINDS):
            for subject, reference, more in _QUESTIONS[kind](case, topics):
                entry = {"id": f"{case.id}-{kind}-{subject}".replace(" ", "_"), "image": str(case.path)}
                question = wording.of(more.pop("phrasing", kind), entry["id"], seed, exam=True, **more.pop("slots", {}))
                entry |= {"question": question, "dataset": case.dataset, "kind": kind, "subject": subject}
                yield entry | private | {"reference": reference, **more}
    if not set(CLOSED).isdisjoint(kinds):
        denials = [denied(data.page.facts, data.image(name)) for name in data.images[:limit]]
        planned = run_questions.plan(data, list(zip(cases, denials, strict=True)), Options(seed=seed, exam=True))
        for case in cases:
            for place, each in enumerate(planned.asked(case.id)):
                entry = {"id": f"{case.id}-closed-{place}", "image": str(case.path), "question": each.turn.question}
                entry |= {"dataset": case.dataset, "subject": each.subject, "chance": each.chance} | private
                yield from (entry | told for told in _closed(each) if told["kind"] in kinds)


def _closed(asked: Asked) -> Iterator[dict]:
    """The kind of a closed question with its reference and options; nothing where it is one of KINDS."""
    right = [asked.options[place] for place in asked.right]
    if asked.form == "letters":
        letters = [LETTERS[place] for place in asked.right]
        several = asked.kind == "choices"
        yield {"kind": "options" if several else "option", "reference": letters if several else letters[0]} | {
            "options": list(asked.options)
        }
    elif asked.kind == "yes_no" and CANNOT not in right:
        yield {"kind": "yes_no", "reference": right[0], "condition": asked.subject}


def _modality(case: Case, topics: Topics) -> references.Questions:
    for fact in case.about("image"):
        modality = answer_reader.modality(str(fact.value)).value if fact.name == "modality" else None
        if modality:
            yield "modality", modality, {}


_QUESTIONS = {
    "grade": references.grades,
    "diseases": references.diseases,
    "quality": references.quality,
    "modality": _modality,
    "eye": references.eye,
    "boxes": references.boxes,
    "measurement": references.measurements,
}


def blind(question_file: str | Path, out: str | Path, way: str = "swap", seed: int = 0) -> Path:
    """Writes the same questions with images that do not show the answer, and returns the file: `swap` takes another image of
    the dataset, `blank` a grey one. A model that uses the image should do worse.

    UserError: an unknown way, or there is no other image to swap with.

    >>> import json, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = questions("IDRiD", out=Path(folder) / "questions.jsonl", kinds="quality", limit=2)
    ...     hidden = blind(file, Path(folder) / "blind.jsonl")
    ...     [entry["image"] for entry in load(hidden)] == [entry["image"] for entry in load(file)][::-1]
    True
    """
    if way not in ("swap", "blank"):
        raise unknown("blind test", way, ("swap", "blank"))
    entries, out = load(question_file), Path(out)
    other = _swapped(entries, seed) if way == "swap" else dict.fromkeys([e["image"] for e in entries], _grey(out.parent))
    return write_jsonl(out, [entry | {"image": other[entry["image"]], "blind": way} for entry in entries])


def _grey(folder: Path) -> str:
    """A grey picture, written into the folder."""
    path = folder / "blank.png"
    with atomic_path(path) as part:
        Image.new("RGB", (512, 512), (128, 128, 128)).save(part, format="PNG")
    return str(path)


def _swapped(entries: list[dict], seed: int) -> dict[str, str]:
    """Image -> another image of its dataset: the next in an order that depends on the seed."""
    others: dict[str, str] = {}
    for dataset in dict.fromkeys(entry["dataset"] for entry in entries):
        images = sorted({e["image"] for e in entries if e["dataset"] == dataset}, key=lambda i: sha256(f"{seed} {i}"))
        if len(images) < 2:
            raise UserError(f"{dataset} has only one image in the question file, so there is none to swap it with")
        others |= dict(zip(images, [*images[1:], images[0]], strict=True))
    return others


class _Question(BaseModel):
    id: str | int
    image: str
    question: str
    dataset: str
    subject: str


class _Words(_Question):
    kind: Literal["modality", "eye"]
    reference: str


class _Quality(_Question):
    kind: Literal["quality"]
    reference: str | int


class _Grade(_Question):
    kind: Literal["grade"]
    reference: int | float
    scale: str
    levels: list[int | float]


class _Diseases(_Question):
    kind: Literal["diseases"]
    reference: list[str]
    labels: list[str]


class _Boxes(_Question):
    kind: Literal["boxes"]
    reference: list[tuple[float, float, float, float]]


class _Measurement(_Question):
    kind: Literal["measurement"]
    reference: float
    unit: str = ""


class _Option(_Question):
    kind: Literal["option"]
    reference: Literal[tuple(LETTERS)]
    options: list[str] = Field(min_length=2, max_length=len(LETTERS))


class _Options(_Question):
    kind: Literal["options"]
    reference: list[Literal[tuple(LETTERS)]]
    options: list[str] = Field(min_length=2, max_length=len(LETTERS))


class _YesNo(_Question):
    kind: Literal["yes_no"]
    reference: Literal["yes", "no"]
    condition: str = ""


_KIND_OF = _Option | _Options | _YesNo | _Words | _Quality | _Grade | _Diseases | _Boxes | _Measurement
_ANY_QUESTION = TypeAdapter(Annotated[_KIND_OF, Field(discriminator="kind")])


def load(question_file: str | Path) -> list[dict]:
    """Reads the entries of a question file that `questions` made, with their references, or of a harness's file or folder (see
    `harnesses`). UserError: it cannot be read, or a line is not such an entry."""
    file = typed_paths.expand(question_file)
    entries, form = [], harnesses.form_of(file)
    for number, entry in enumerate(harnesses.read(file, form), 1) if form else read_jsonl(file):
        try:
            _ANY_QUESTION.validate_python(entry)
        except ValidationError as error:
            raise UserError(
                f"{file}, line {number}: not a question with a reference, as retinal_lib.evaluate.questions writes them "
                f"({validation_text(error)})"
            ) from error
        entries.append(entry)
    question_files.keep_names_private((entry["id"], entry["image"], entry.get("private_names")) for entry in entries)
    return entries
