"""Questions that a dataset's labels answer, written as a question file with the reference beside each question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from PIL import Image
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from retinal_lib import typed_paths
from retinal_lib.check.language.lexicon import implied
from retinal_lib.check.language.negation import AFFIRMED, NEGATED
from retinal_lib.check.language.statements import Statement, is_suspicion, of_label
from retinal_lib.dataset import measurements, page
from retinal_lib.dataset.base import BaseDescription, load_dataset
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.dataset.label_kinds import Flags, Label
from retinal_lib.dataset.lesions import wording
from retinal_lib.errors import UserError, unknown, validation_text
from retinal_lib.evaluate import answer_reader
from retinal_lib.facts import Case, Fact
from retinal_lib.files import atomic_path, read_jsonl, sha256, write_jsonl
from retinal_lib.inference import question_files
from retinal_lib.sample import draw as sample

KINDS = ("grade", "diseases", "quality", "modality", "eye", "boxes", "measurement")


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

    `kinds`: some of grade, diseases, quality, modality, eye, boxes, measurement; `measures`: names of AutoMorph's columns,
    or all that are told; `limit`: images at most. Which phrasing an image gets depends on the seed. Without `data_root` a drawn
    sample is used. An entry has id, image (a path), question, dataset, kind, subject, reference, and what its scoring needs.
    UserError: an unknown kind, the dataset cannot be read, or it answers no such question.
    """
    kinds = _split(kinds) or KINDS
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("kind of question", kind, KINDS)
    if data_root is None:
        own = page.page_of(dataset) if page.is_own(dataset) else None
        drawn = typed_paths.root() / "artifacts" / "sample" / (own or page.get(dataset)).name
        data_root = own.file.absolute().parent if own else sample.draw(dataset, drawn)
    data = load_dataset(dataset, data_root, automorph_root, split)
    measures = _split(measures) or tuple(answer_reader.words()["measures"])
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
    cases = [data.describe(name) for name in data.images[:limit]]
    topics = _Topics.of(data, cases, measures)
    for case in cases:
        for kind in kinds:
            for subject, reference, more in _QUESTIONS[kind](case, topics):
                entry = {"id": f"{case.id}-{kind}-{subject}".replace(" ", "_"), "image": str(case.path)}
                question = _phrasing(kind, f"{seed} {entry['id']}", more.pop("slots", {}))
                entry |= {"question": question, "dataset": case.dataset, "kind": kind, "subject": subject}
                entry |= {"private_names": True} if data.page.private_names else {}
                yield entry | {"reference": reference, **more}


@dataclass(frozen=True)
class _Topics:
    """What to ask of a dataset: its conditions, the names of the facts that state them, what its free text calls conditions
    (condition -> name), and the measurements."""

    labels: tuple[str, ...]
    names: frozenset[str]
    called: dict[str, str]
    measures: Sequence[str]

    @classmethod
    def of(cls, data: BaseDescription, cases: Sequence[Case], measures: Sequence[str]) -> "_Topics":
        """Collects the conditions that a dataset's page declares or that an image has."""
        flags = (kind for kind in data.page.facts if isinstance(kind, Flags))
        declared = {code: condition.words for kind in flags for code, condition in kind.conditions.items()}
        labels = [kind for kind in data.page.facts if isinstance(kind, Label) and kind.judged]
        names = frozenset(["diagnosis", *declared, *(kind.fact_name for kind in labels)])
        told = {f.words for case in cases for f in case.about("disease") if f.name in names}
        seen = sorted(words for words in told if not is_suspicion(words))
        called: dict[str, str] = {}
        for statement in (s for case in cases for s in _free_text(case)):
            for (condition, stated), name in zip(statement.conditions, statement.names, strict=True):
                if stated == AFFIRMED:
                    called.setdefault(condition, name)
        judged = [words for kind in labels for words in kind.judged]
        return cls(tuple(dict.fromkeys([*declared.values(), *judged, *seen, *called.values()])), names, called, measures)


def _phrasing(kind: str, key: str, slots: dict[str, object]) -> str:
    phrasings = answer_reader.words()["questions"][kind]
    return phrasings[int(sha256(key)[:8], 16) % len(phrasings)].format(**slots)


Questions = Iterator[tuple[str, object, dict]]  # subject, reference, and what phrasing and scoring need


def _grades(case: Case, topics: _Topics) -> Questions:
    for fact in case.about("disease"):
        if fact.unit in scales():
            scale = scales()[fact.unit]
            slots = {"of": scale["of"], "title": scale["title"], "top": max(scale["levels"])}
            yield fact.name, fact.value, {"scale": fact.unit, "levels": list(scale["levels"]), "slots": slots}


def _diseases(case: Case, topics: _Topics) -> Questions:
    facts = [fact for fact in case.about("disease") if not fact.unit]
    normal = any(fact.name in ("normal", "absent") for fact in facts)
    conditions = [fact.words for fact in facts if fact.name in topics.names]
    if any(map(is_suspicion, conditions)):
        return  # nobody knows what is right
    for statement in _free_text(case):
        if any(stated not in (AFFIRMED, NEGATED) for _, stated in statement.conditions):
            return  # it leaves open what the eye has
        has = {c for c, stated in statement.conditions if stated == AFFIRMED}
        has |= {parent for condition in has for parent in implied(condition)}
        conditions += [name for condition, name in topics.called.items() if condition in has and name not in conditions]
        normal = normal or statement.normal or bool(statement.conditions)
    if conditions or normal:
        yield "diseases", conditions, {"labels": list(topics.labels)}


def _free_text(case: Case) -> list[Statement]:
    """What the columns of free text say of diseases: what such a cell does not name, its eye does not have."""
    return [of_label(fact.words) for fact in case.about("disease") if fact.text == fact.words and not fact.unit]


def _quality(case: Case, topics: _Topics) -> Questions:
    levels = answer_reader.words()["quality"]
    for fact in case.about("quality"):
        written = {words: level for level, words in levels.items()}.get(str(fact.value).casefold(), fact.value)
        if fact.name in ("quality", "ungradable") and written in levels:
            yield "quality", written, {}
            return


def _modality(case: Case, topics: _Topics) -> Questions:
    for fact in case.about("image"):
        modality = answer_reader.modality(str(fact.value)).value if fact.name == "modality" else None
        if modality:
            yield "modality", modality, {}


def _eye(case: Case, topics: _Topics) -> Questions:
    if case.eye:
        yield "eye", case.eye, {}


def _boxes(case: Case, topics: _Topics) -> Questions:
    lesions = case.about("lesion")
    for fact in lesions:
        if fact.name.endswith(_PARTS) or (fact.name.endswith("_box") and fact.unit == "box" and _is_lesion(fact, lesions)):
            continue
        kind = fact.name.removesuffix("_box")
        boxes = [f.value for f in lesions if f.name == f"{kind}_box"]
        many = fact.words if fact.name.endswith("_box") else fact.unit
        yield kind, boxes, {"count": len(boxes) if fact.name.endswith("_box") else fact.value, "slots": {"many": many}}


def _is_lesion(fact: Fact, lesions: Sequence[Fact]) -> bool:
    """Whether a box belongs to a lesion type with a count, whose question asks for its boxes."""
    return any(other.name == fact.name.removesuffix("_box") for other in lesions)


def _measurements(case: Case, topics: _Topics) -> Questions:
    for fact in case.about("vascular"):
        if isinstance(fact.value, int | float) and ("all" in topics.measures or fact.name in topics.measures):
            unit = f" in {fact.unit}" if fact.unit else ""
            yield fact.name, fact.value, {"unit": fact.unit, "slots": {"words": fact.words, "unit": unit}}


_PARTS = tuple(ending for ending in wording.ENDINGS if ending != "_box")  # details of a type that is asked for

_QUESTIONS = {
    "grade": _grades,
    "diseases": _diseases,
    "quality": _quality,
    "modality": _modality,
    "eye": _eye,
    "boxes": _boxes,
    "measurement": _measurements,
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


_KIND_OF = _Words | _Quality | _Grade | _Diseases | _Boxes | _Measurement
_ANY_QUESTION = TypeAdapter(Annotated[_KIND_OF, Field(discriminator="kind")])


def load(question_file: str | Path) -> list[dict]:
    """Reads the entries of a question file that `questions` made, with their references. UserError: it cannot be read, or a
    line is not such an entry."""
    file = typed_paths.expand(question_file)
    entries = []
    for number, entry in read_jsonl(file):
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
