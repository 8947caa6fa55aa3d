"""A finished run for review: its accepted samples, and the decisions on them so far."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from retinal_lib import paths
from retinal_lib.errors import UserError
from retinal_lib.reader.second_reader import DOUBT
from retinal_lib.review import decisions
from retinal_lib.review.decisions import FILE
from retinal_lib.run import run_files, settings
from retinal_lib.run.job import Job

NONE = "none"  # the filter's word for samples without a lesion or finding
STRATA = ("dataset", "split", "lesion", "finding")
_FILES = ("conversations.jsonl", "lineage.jsonl")
# settings that a review replaces: it asks no teacher, and covers every sample
_REVIEW_SETTINGS = {"teacher": "offline", "model": None, "mode": "direct", "budget_usd": None, "wait": False, "results": None}
_REVIEW_SETTINGS |= {"reader": None, "reader_model": None}
_REVIEW_SETTINGS |= {"dry_run": False, "split": None, "subset": None, "start": 0, "limit": None}


class AcceptedSample(NamedTuple):
    """An accepted sample of a run (numbered from 0), without its text. `lesions` are the types that its conversation mentions,
    `kinds` those of the checks' findings; `title` is its id, or a number if names identify participants; `offsets` are the
    bytes at which its lines of conversations.jsonl and lineage.jsonl begin."""

    run: int
    dataset: str
    id: str
    image: str
    title: str
    split: str
    sha256: str
    lesions: tuple[str, ...]
    kinds: tuple[str, ...]
    offsets: tuple[int, int]

    @property
    def key(self) -> tuple[int, str]:
        """Run and id, which identify the sample."""
        return self.run, self.id

    def stratum(self, by: str) -> str:
        """Returns the sample's group by one of STRATA."""
        several = {"lesion": self.lesions, "finding": self.kinds}
        group = " + ".join(several[by]) or NONE if by in several else getattr(self, by) or NONE
        return f"{group}, doubted" if self.doubted and by != "finding" else group

    @property
    def doubted(self) -> bool:
        """Whether the run's second reader doubts a sentence of it: these samples are shown first, and are strata of their
        own, so that error rates stay those of the run."""
        return DOUBT in self.kinds


class FinishedRun:
    """A finished run's folder: its accepted `samples`, the `decisions` in its reviews.jsonl (`unreadable`: its broken lines),
    and its dataset (`job`). `roots` are data_root or automorph_root if they have moved. UserError: there is no finished run,
    or its dataset is not found."""

    def __init__(self, folder: Path, number: int = 0, **roots: Path):
        self.folder, self.number = folder, number
        self.manifest = run_files.read_manifest(folder)
        self.job = dataset_of(folder, **roots)
        self.name = self.job.page.name
        try:
            self.samples = list(self._samples())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{paths.display_path(folder)}: conversations.jsonl and lineage.jsonl are incomplete or of an earlier version; "
                "run generate.ipynb again (nothing is asked twice)"
            ) from error
        self.decisions, self.unreadable = decisions.read(folder / FILE)

    def _samples(self) -> Iterator[AcceptedSample]:
        types = self.job.page.masks.types if self.job.page.masks else {}
        offsets = (0, 0)
        if not all((self.folder / name).is_file() for name in _FILES):  # a device has no end
            raise FileNotFoundError(self.folder)
        with (self.folder / _FILES[0]).open("rb") as conversations, (self.folder / _FILES[1]).open("rb") as lineage:
            for lines in zip(conversations, lineage, strict=True):
                entry, origin = orjson.loads(lines[0]), run_files.lineage(orjson.loads(lines[1]))
                if entry["id"] != origin["id"]:
                    raise ValueError("not in the same order")
                image = entry["image"].removeprefix(self.job.context.prefix)
                yield AcceptedSample(
                    run=self.number,
                    dataset=self.name,
                    id=entry["id"],
                    image=image,
                    title=self.job.data.called(image) if self.job.page.private_names else entry["id"],
                    split=origin["split"],
                    sha256=decisions.conversation_hash(entry["conversations"]),
                    lesions=tuple(types[code][1] for code in types if any(_mentions(t, code) for t in origin["traces"])),
                    kinds=tuple(sorted({finding["kind"] for finding in origin["findings"]})),
                    offsets=offsets,
                )
                offsets = (offsets[0] + len(lines[0]), offsets[1] + len(lines[1]))

    def entries(self, sample: AcceptedSample) -> tuple[dict, dict]:
        """Returns a sample's lines of conversations.jsonl and lineage.jsonl, read by offset, since runs of 100,000 samples
        do not fit into a notebook's memory. UserError: the run was repeated since."""
        entries = []
        for name, offset in zip(_FILES, sample.offsets, strict=True):
            try:
                with (self.folder / name).open("rb") as file:
                    file.seek(offset)
                    entries.append(orjson.loads(file.readline()))
            except (OSError, orjson.JSONDecodeError):
                entries.append({})
        same = all(entry.get("id") == sample.id for entry in entries)
        if not same or decisions.conversation_hash(entries[0]["conversations"]) != sample.sha256:
            folder = paths.display_path(self.folder)
            raise UserError(f"the run in {folder} was repeated since this review was loaded; load it again, decisions are kept")
        return entries[0], entries[1]


def dataset_of(folder: Path, **roots: Path) -> Job:
    """Returns the job of a finished run, with all images of its dataset. `roots` as in FinishedRun. UserError: as there."""
    manifest = run_files.read_manifest(folder)
    return Job(settings.of_run(manifest["settings"], **_REVIEW_SETTINGS | {"out_dir": folder} | roots))


def _mentions(trace: dict, code: str) -> bool:
    return trace["fact"] == f"{code}_box" or (trace["fact"] == code and bool(trace["value"]))
