"""Questions whose answers a dataset's labels know: written as a question file, with the reference beside each question."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from retinal_lib import paths
from retinal_lib.dataset import page
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.desc import load_dataset
from retinal_lib.dataset.fact_kinds import Flags, scales
from retinal_lib.dataset.lesions import wording as telling
from retinal_lib.errors import UserError, unknown
from retinal_lib.evaluate import answer_reader as answer_parser
from retinal_lib.facts import Case, Fact
from retinal_lib.files import read_jsonl, sha256, write_jsonl
from retinal_lib.sample import draw as sample

KINDS = ("grade", "diseases", "quality", "modality", "eye", "boxes", "measurement")


def write(
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
    or all; `limit`: images at most. Which phrasing an image gets depends on the seed. Without `data_root` a drawn sample is
    used. An entry has id, image (a path), question, dataset, kind, subject, reference, and what its scoring needs.
    UserError: an unknown kind, the dataset cannot be read, or it answers no such question.
    """
    kinds = _chosen(kinds)
    drawn = data_root is None
    root = sample.draw(dataset, paths.root() / "artifacts" / "sample" / page.get(dataset).name) if drawn else data_root
    data = load_dataset(dataset, root, automorph_root, split)
    wanted = answer_parser.words()["measures"] if measures is None else measures
    entries = list(_entries(data, kinds, wanted, limit, seed))
    if not entries:
        raise UserError(f"{data.page.name}: its labels answer no question of the kinds {', '.join(kinds)}")
    file = Path(out) if out else paths.root() / "artifacts" / f"evaluate-{data.page.name}" / "questions.jsonl"
    return write_jsonl(file, entries)


def _chosen(kinds: Sequence[str] | str | None) -> tuple[str, ...]:
    if kinds is None:
        return KINDS
    kinds = tuple(k.strip() for k in kinds.split(",")) if isinstance(kinds, str) else tuple(kinds)
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("kind of question", kind, KINDS)
    return kinds


def _entries(data: BaseDescription, kinds: Sequence[str], measures: object, limit: int | None, seed: int) -> Iterator[dict]:
    cases = [data.describe(name) for name in data.images[:limit]]
    wanted = _Wanted.of(data, cases, measures)
    for case in cases:
        for kind in kinds:
            for subject, reference, more in _MAKERS[kind](case, wanted):
                entry = {"id": f"{case.id}-{kind}-{subject}".replace(" ", "_"), "image": str(case.path)}
                said = _phrasing(kind, f"{seed} {entry['id']}", more.pop("slots", {}))
                entry |= {"question": said, "dataset": case.dataset, "kind": kind, "subject": subject}
                yield entry | {"reference": reference, **more}


@dataclass(frozen=True)
class _Wanted:
    """What a dataset is asked for: its conditions, the names of the facts that tell them, and the measurements."""

    labels: tuple[str, ...]
    names: frozenset[str]
    measures: object

    @classmethod
    def of(cls, data: BaseDescription, cases: Sequence[Case], measures: object) -> "_Wanted":
        """Of a dataset: every condition that its page declares or that an image has. Free text names none."""
        declared = {code: words for kind in data.page.gives if isinstance(kind, Flags) for code, words in kind.labels.items()}
        names = frozenset(["diagnosis", *declared])
        seen = sorted({f.words for case in cases for f in case.about("disease") if f.name in names})
        return cls(tuple(dict.fromkeys([*declared.values(), *seen])), names, measures)


def _phrasing(kind: str, key: str, slots: dict[str, object]) -> str:
    known = answer_parser.words()["questions"][kind]
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % len(known)
    return known[place].format(**slots)


Made = Iterator[tuple[str, object, dict]]


def _grades(case: Case, wanted: _Wanted) -> Made:
    for fact in case.about("disease"):
        if fact.unit in scales():
            scale = scales()[fact.unit]
            slots = {"of": scale["of"], "title": scale["title"], "top": max(scale["levels"])}
            yield fact.name, fact.value, {"scale": fact.unit, "levels": list(scale["levels"]), "slots": slots}


def _diseases(case: Case, wanted: _Wanted) -> Made:
    normal = any(fact.name == "normal" for fact in case.about("disease"))
    found = [fact.words for fact in case.about("disease") if fact.name in wanted.names]
    if found or normal:
        yield "diseases", found, {"labels": list(wanted.labels)}


def _quality(case: Case, wanted: _Wanted) -> Made:
    for fact in case.about("quality"):
        if fact.name in ("quality", "ungradable") and fact.value in answer_parser.words()["quality"]:
            yield "quality", fact.value, {}
            return


def _modality(case: Case, wanted: _Wanted) -> Made:
    for fact in case.about("image"):
        found = answer_parser.modality(str(fact.value)) if fact.name == "modality" else None
        if found and found.value:
            yield "modality", found.value, {}


def _eye(case: Case, wanted: _Wanted) -> Made:
    if case.eye:
        yield "eye", case.eye, {}


def _boxes(case: Case, wanted: _Wanted) -> Made:
    lesions = case.about("lesion")
    for fact in lesions:
        if fact.name.endswith(_PARTS) or (fact.name.endswith("_box") and fact.unit == "box" and _is_lesion(fact, lesions)):
            continue
        kind = fact.name.removesuffix("_box")
        found = [f.value for f in lesions if f.name == f"{kind}_box"]
        many = fact.words if fact.name.endswith("_box") else fact.unit
        yield kind, found, {"count": len(found) if fact.name.endswith("_box") else fact.value, "slots": {"many": many}}


def _is_lesion(fact: Fact, lesions: Sequence[Fact]) -> bool:
    """Whether a box belongs to a type that is counted: it is asked for with its type."""
    return any(other.name == fact.name.removesuffix("_box") for other in lesions)


def _measurements(case: Case, wanted: _Wanted) -> Made:
    for fact in case.about("vascular"):
        if isinstance(fact.value, int | float) and (wanted.measures == "all" or fact.name in wanted.measures):
            unit = f" in {fact.unit}" if fact.unit else ""
            yield fact.name, fact.value, {"unit": fact.unit, "slots": {"words": fact.words, "unit": unit}}


_PARTS = tuple(ending for ending in telling.ENDINGS if ending != "_box")  # they tell more of a type that is asked for

_MAKERS = {
    "grade": _grades,
    "diseases": _diseases,
    "quality": _quality,
    "modality": _modality,
    "eye": _eye,
    "boxes": _boxes,
    "measurement": _measurements,
}


def blind(question_file: str | Path, out: str | Path, way: str = "swap", seed: int = 0) -> Path:
    """The same questions with images that cannot answer them: `swap`: another image of the dataset; `blank`: a grey one.

    A model that looks should do worse. UserError: an unknown way, or there is no other image to swap with.
    """
    if way not in ("swap", "blank"):
        raise unknown("blind test", way, ("swap", "blank"))
    entries, out = load(question_file), Path(out)
    if way == "blank":
        from retinal_lib.evaluate import figures as score_figures  # brings matplotlib, which questions alone do not need

        grey = str(score_figures.blank(out.parent / "blank.png"))
        other = {entry["image"]: grey for entry in entries}
    else:
        other = _swapped(entries, seed)
    return write_jsonl(out, [entry | {"image": other[entry["image"]], "blind": way} for entry in entries])


def _swapped(entries: list[dict], seed: int) -> dict[str, str]:
    """Image -> the next one of its dataset in an order that the seed decides: no image keeps its own."""
    found: dict[str, str] = {}
    for dataset in dict.fromkeys(entry["dataset"] for entry in entries):
        images = sorted({e["image"] for e in entries if e["dataset"] == dataset}, key=lambda i: sha256(f"{seed} {i}"))
        if len(images) < 2:
            raise UserError(f"{dataset} has one image in the question file: there is no other to swap with")
        found |= dict(zip(images, [*images[1:], images[0]], strict=True))
    return found


def load(question_file: str | Path) -> list[dict]:
    """The entries of a question file that `write` made, with their references. UserError: it is none."""
    file, found = Path(question_file).expanduser(), []
    for number, entry in read_jsonl(file):
        if not isinstance(entry, dict) or {"id", "image", "question", "dataset", "kind", "subject", "reference"} - set(entry):
            raise UserError(
                f"{file}, line {number}: no question with a reference, as retinal_lib.evaluate.questions writes them"
            )
        found.append(entry)
    return found
