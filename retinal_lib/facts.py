"""The facts known about an image, each with the table cell or file that it was read from."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

from retinal_lib import paths
from retinal_lib.errors import UserError

# aspect -> the title under which its facts stand in a description, in this order
ASPECTS = {
    "image": "Image",
    "patient": "Patient record",
    "quality": "Image quality",
    "disease": "Disease",
    "lesion": "Lesions",
    "vascular": "Vessels and optic disc",
    "notes": "Notes",
}

LIMITED = "limited_quality"  # the name of the fact that labels were given although the image quality is limited


class Source(NamedTuple):
    """The place a fact was read from. `row` counts as a spreadsheet does: the header is row 1; `cell` is the text that stands
    there, "" where it is not kept.

    >>> str(Source("/data/ODIR-5K/labels.csv", 12, "DR"))
    "labels.csv, row 12, column 'DR'"
    """

    file: str
    row: int | None = None
    column: str | None = None
    cell: str = ""

    def __str__(self) -> str:
        row = f", row {self.row}" if self.row is not None else ""
        column = f", column {self.column!r}" if self.column else ""
        return f"{Path(self.file).name}{row}{column}"

    def relative_to(self, root: Path) -> "Source":
        """Returns the same place with its file relative to a folder, if it is inside, else as people read paths."""
        if "/" not in self.file and "\\" not in self.file:  # a page or a name
            return self
        return Source(_inside(self.file, root) or paths.display_path(Path(self.file)), *self[1:])

    def as_row(self) -> dict:
        """Returns the place as lineage.jsonl has it: file, row, column and, where it is kept, the text of the cell."""
        return {name: value for name, value in self._asdict().items() if name != "cell" or value}


@lru_cache(maxsize=4096)  # each image has many facts of a few files
def _inside(file: str, root: Path) -> str | None:
    """A file's path relative to a folder; None where it lies elsewhere."""
    path = Path(file)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else None


class Fact(NamedTuple):
    """One statement about an image. `value` is as measured or labelled, `unit` its unit (for a grade: the scale's name), `text`
    the statement as a clause, `words` the finding alone without who said so, `scope` what the statement is about: image, eye or
    patient, `place` where a lesion lies in words that need no coordinates, "" where that is not known.

    >>> cell = Source("labels.csv", 2, "grade")
    >>> Fact("disease", "grade", 2, "ICDR", "diabetic retinopathy grade 2 (moderate)", cell).value
    2
    """

    aspect: str  # a key of ASPECTS
    name: str
    value: object
    unit: str
    text: str
    source: Source
    words: str = ""
    scope: str = "image"
    place: str = ""


class Facts(NamedTuple):
    """Facts of an image; `missing` says, in sentences, what is not known and why; `hidden` are texts on disease that may not be
    told, such as one with a name in it."""

    facts: tuple[Fact, ...] = ()
    missing: tuple[str, ...] = ()
    hidden: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class Case:
    """Everything known of one image. `missing` says, in sentences, what is not known and why. `graded_only` names what alone
    was looked for, so that nothing else may be denied; it is empty where more was looked for, or nothing at all.

    >>> cell = Source("labels.csv", 2, "grade")
    >>> fact = Fact("disease", "grade", 2, "ICDR", "diabetic retinopathy grade 2 (moderate)", cell)
    >>> case = Case("APTOS", "APTOS-a1", "a1.png", Path("a1.png"), "train", None, "left", (fact,))
    >>> case.description
    'Disease: diabetic retinopathy grade 2 (moderate).'
    """

    dataset: str
    id: str
    image: str
    path: Path
    split: str
    patient: str | None
    eye: str | None
    facts: tuple[Fact, ...]
    missing: tuple[str, ...] = ()
    graded_only: tuple[str, ...] = ()
    looked_for: tuple[str, ...] = ()  # the conditions of a closed list of labels, each of which is absent where it is not told
    withheld: tuple[str, ...] = ()  # conditions of which the files say what is not told: what is known of others is open

    @property
    def aspects(self) -> tuple[str, ...]:
        """The aspects that have facts, in the order of a description."""
        present = {fact.aspect for fact in self.facts}
        return tuple(aspect for aspect in ASPECTS if aspect in present)

    def about(self, aspect: str) -> tuple[Fact, ...]:
        """Returns the facts of one aspect."""
        return tuple(fact for fact in self.facts if fact.aspect == aspect)

    def to_json(self) -> str:
        """Returns all that is known as one line of JSON, for a column of a training dataset (see check.reward). It holds the
        labels: no model may see it."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return json.dumps(told | {"path": self.path.name}, ensure_ascii=False)  # a named tuple is a list there

    @classmethod
    def from_json(cls, text: str) -> "Case":
        """Reads what `to_json` wrote. UserError: it is something else."""
        try:
            told = json.loads(text)
            rows = [dict(zip(Fact._fields, row, strict=True)) for row in told["facts"]]
            for row in rows:
                row["source"] = Source(*row["source"])
                row["value"] = tuple(row["value"]) if isinstance(row["value"], list) else row["value"]
            told["facts"] = [Fact(**row) for row in rows]
            lists = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
            return cls(**told | lists | {"path": Path(told["path"])})
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{str(text)[:60]!r} is no case as Case.to_json writes it ({error})") from error

    def clauses(self, aspect: str) -> str:
        """Returns the facts of one aspect in words: clauses joined by semicolons, the boxes of a list by commas."""
        return "; ".join(fact.text for fact in self.about(aspect)).replace("; [", ", [") + "."

    @cached_property
    def description(self) -> str:
        """The hidden description: one line per aspect."""
        return "\n".join(f"{ASPECTS[aspect]}: {self.clauses(aspect)}" for aspect in self.aspects)


def source_rows(facts: Iterable[Fact]) -> list[dict]:
    """Returns the places that facts were read from, by file and row, each with its columns; as lineage.jsonl has them."""
    rows: dict[tuple[str, int | None], dict[str, None]] = {}
    for fact in facts:
        columns = rows.setdefault(fact.source[:2], {})
        if fact.source.column:
            columns[fact.source.column] = None
    return [{"file": file, "row": row, "columns": list(columns)} for (file, row), columns in rows.items()]
