"""What a model is trained on: conversations about images, from an export or from drawn eyes."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from retinal_lib import paths
from retinal_lib.display import count
from retinal_lib.errors import UserError
from retinal_lib.files import read_json, read_jsonl
from retinal_lib.run import run_files
from retinal_lib.run.dataset_job import find_pictures
from retinal_lib.run.job import Job
from retinal_lib.sample import many_eyes

KINDS = ("eye", "quality", "grade")  # what drawn eyes can be asked
TOWER_BATCH = 32  # pictures of a step of the tiny model's vision tower
_ROLES = ("human", "gpt")


@dataclass(frozen=True)
class Example:
    """A conversation to learn: an image, and questions with their answers. `classes` are the answers of closed questions by
    kind, such as grade -> "3", which a vision tower alone can learn."""

    id: str
    image: Path
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    classes: dict[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """How long it is, in characters."""
        return sum(map(len, (*self.questions, *self.answers)))


def steps_of(number: int, batch_size: int) -> int:
    """Returns how many steps one look at so many conversations or pictures has."""
    return -(-number // batch_size)


def tower_steps(examples: Sequence[Example], epochs: int) -> int:
    """Returns how many steps the tiny model's vision tower has: it learns from the images with known classes."""
    return steps_of(len({each.image for each in examples if each.classes}), TOWER_BATCH) * epochs


def read(file: Path, image_folder: Path | None = None, limit: int | None = None) -> list[Example]:
    """Reads an export in LLaVA's form (.json or .jsonl), or a finished run's folder; images lie in `image_folder`, by default
    beside the file, or where the run found them. UserError: an entry is no conversation, or an image is not there; says
    which."""
    run = file if (file / run_files.MANIFEST).is_file() else None
    file = file / "conversations.jsonl" if file.is_dir() else file
    folder = Path() if run else image_folder or file.parent
    examples = [_example(entry, folder, place) for place, entry in _entries(file)][:limit]
    if not examples:
        raise UserError(f"{paths.display_path(file)} holds no conversation to train on")
    if run:
        found = find_pictures(run, (each.image.as_posix() for each in examples), image_folder, "image_folder")
        return [replace(each, image=found[each.image.as_posix()]) for each in examples]
    missing = [each.image for each in examples if not each.image.is_file()]
    if missing:
        raise UserError(
            f"{len(missing)} of {count(len(examples), 'image')} are not there, the first {paths.display_path(missing[0])}; "
            "pass image_folder, or export with --pictures link"
        )
    return examples


def _entries(file: Path) -> Iterator[tuple[str, object]]:
    """Each entry, with where it stands."""
    name = paths.display_path(file)
    if file.suffix == ".jsonl":
        yield from ((f"{name}, line {number}", entry) for number, entry in read_jsonl(file))
        return
    entries = read_json(file)
    if not isinstance(entries, list):
        raise UserError(f"{name}: expected a list of conversations, as `retinal_lib export --form llava` writes it")
    yield from ((f"{name}, entry {number}", entry) for number, entry in enumerate(entries, start=1))


def _example(entry: object, folder: Path, place: str) -> Example:
    turns = entry.get("conversations") if isinstance(entry, dict) else None
    fits = isinstance(turns, list) and turns and len(turns) % 2 == 0 and isinstance(entry.get("image"), str)
    if not fits or any(
        not isinstance(turn, dict) or turn.get("from") != _ROLES[i % 2] or not isinstance(turn.get("value"), str)
        for i, turn in enumerate(turns)
    ):
        raise UserError(
            f'{place}: expected "image" and "conversations" of human and gpt in turn, as `retinal_lib export --form llava` '
            "writes them"
        )
    said = [turn["value"].replace("<image>", "").strip() for turn in turns]
    if not all(said):
        raise UserError(f"{place}: a question or an answer is empty")
    return Example(str(entry.get("id", "")), folder / entry["image"], tuple(said[::2]), tuple(said[1::2]))


@dataclass(frozen=True)
class DrawnEyes:
    """Drawn eyes with the conversations and closed questions about those to train on; those held out are in the same folder."""

    folder: Path
    examples: list[Example]


def drawn(folder: Path, train: int, held_out: int, seed: int, conversations: int, kinds: Sequence[str] = KINDS) -> DrawnEyes:
    """Draws eyes into `folder` and makes closed questions of some kinds about those to train on, in the phrasings that
    `evaluate` does not use, and conversations of the instruction track about the first few. UserError: the folder cannot be
    written."""
    eyes = many_eyes.draw(folder / "eyes", train, held_out, seed)
    told = {"dataset": many_eyes.DATASET, "data_root": eyes, "split": "train"}
    closed = {"track": "vqa", "kinds": tuple(kinds), "per_image": 4, "seed": 0}
    runs = {"vqa": closed, "instruction": {"limit": conversations}} if conversations else {"vqa": closed}
    examples: list[Example] = []
    for name, options in runs.items():
        job = Job.load(**told, **options, out_dir=folder / name)
        job.run().require()
        files = {job.data.image(image).export_name: job.data.image(image).path for image in job.images}
        prefix = job.settings.prefix(job.page)
        rows = [row for _, row in read_jsonl(folder / name / "conversations.jsonl")]
        found = [_example(row, Path(), name) for row in rows]
        lineage = [row for _, row in read_jsonl(folder / name / "lineage.jsonl")]
        for example, row in zip(found, lineage, strict=True):
            image = files[str(example.image).removeprefix(prefix)]
            examples.append(replace(example, image=image, classes=_classes(row)))
    return DrawnEyes(eyes, examples)


def _classes(lineage: dict) -> dict[str, str]:
    """The answers of closed questions, as a class of each kind."""
    return {asked["kind"]: " ".join(asked["right"]) for asked in lineage.get("questions", ())}


def with_wrong_labels(examples: Sequence[Example], share: float, seed: int) -> list[Example]:
    """Gives a share of the images the conversations of other images, as if their labels had been mixed up."""
    rng = random.Random(f"wrong labels {seed}")
    images = sorted({each.image for each in examples})
    chosen = rng.sample(images, round(share * len(images)))
    other = dict(zip(chosen, [*chosen[1:], *chosen[:1]], strict=True))
    return [replace(each, image=other.get(each.image, each.image)) for each in examples]
