"""A run from its settings to its files: what the notebook shows, step by step."""

import gc
import json
import platform
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from anyio.from_thread import start_blocking_portal

from retinal_lib import display, files, paths
from retinal_lib import images as picture
from retinal_lib.ask.attempts import Entry
from retinal_lib.ask.batch_ledger import BatchLedger
from retinal_lib.ask.vault import ImageState, Vault, locked
from retinal_lib.check import conversation_check as check
from retinal_lib.dataset import page
from retinal_lib.dataset.image import Image
from retinal_lib.dataset.splits import write_run
from retinal_lib.display import FullTable
from retinal_lib.errors import UserError
from retinal_lib.facts import Case, Fact, Source
from retinal_lib.run import dataset_job as opened
from retinal_lib.run import modes as ways
from retinal_lib.run import run_files as export
from retinal_lib.run import selection as select
from retinal_lib.run import settings
from retinal_lib.run.context import RunContext
from retinal_lib.run.modes import Rechecking
from retinal_lib.run.outcome import Outcome, Tally
from retinal_lib.run.survey import Survey
from retinal_lib.teacher import prompt
from retinal_lib.teacher import teachers as teacher

VERSIONED = ("retinal_lib", "numpy", "opencv-python-headless", "openai", "pandas", "pillow")


class Job:
    """A dataset, a track and a teacher, checked and ready to run; see `load`."""

    def __init__(self, chosen: settings.Settings):
        self.settings, self.page = chosen, page.page_of(chosen.dataset)
        self.folder = chosen.folder
        ways.check_terms(self.page, chosen)
        self.teacher = teacher.make(chosen)
        self.data, self.drawn = opened.data(chosen, self.page)
        self.images = select.images(self.data, chosen.subset, chosen.start, chosen.limit)
        self._told = frozenset(prompt.told(chosen.track))
        self._prompts: dict[tuple[str, ...], str] = {}  # by the aspects of an image: few, and long
        limits = chosen.batch.at(self.teacher.server.name if chosen.teacher == "openai" else "")
        self.context = RunContext(chosen, self.page, self.data, self.images, self.teacher, limits, self.folder)
        self.estimate = self.context.estimate()  # of the latest plan
        if chosen.budget_usd is not None:
            ways.check_budget(self.teacher, chosen.images == "send")

    @classmethod
    def load(cls, **parameters: object) -> "Job":
        """A job from the notebook's parameters; None counts as not passed.

        UserError: a parameter, a setting of params/<dataset>.yaml, the data or the data-use terms stand against it.
        """
        return cls(settings.load(**parameters))

    # --- what is shown before anything is asked -------------------------------------------------------------------

    @property
    def table(self) -> pd.DataFrame:
        """The job at a glance, one row each."""
        chosen, page = self.settings, self.page
        rows = {
            "dataset": f"{page.name}: {page.title}",
            "data": "a sample drawn by this project, made-up eyes; pass data_root for your own copy"
            if self.drawn
            else str(self.data.root),
            "images": f"{len(self.images)} chosen, of {len(self.data.images)} usable and {len(self.data.skipped)} not usable",
            "track": " ".join(filter(None, [chosen.track, chosen.style])),
            "teacher": f"{self.teacher.name}: {self.teacher.model}"
            + (f" at {self.teacher.server.name}" if chosen.teacher == "openai" else ""),
            "mode": "dry run: nothing is sent" if chosen.dry_run else chosen.mode + (", waiting" if chosen.wait else ""),
            "images sent": "yes" if chosen.images == "send" and chosen.teacher == "openai" else "no, facts only",
            "terms": f"{page.licence}; may be sent to a remote server: {page.may_send}",
            "folder": paths.display_path(self.folder),
            "noticed": "; ".join(self.notes) or "nothing is missing",
        }
        return FullTable({"": rows.values()}, index=list(rows))

    @property
    def title(self) -> str:
        """Dataset, track and style: what a run's folder is for."""
        return " ".join(filter(None, [self.page.name, self.settings.track, self.settings.style]))

    @property
    def notes(self) -> list[str]:
        """What was found and not found on disk, one sentence each."""
        if self.page.private_names:  # a note's example would name a participant
            return [note.split(", the first ")[0] for note in self.data.notes]
        return list(self.data.notes)

    def case(self, image: Image | str) -> Case:
        """All that this run's track may tell of an image. UserError: the image is unknown or skipped."""
        case = self.data.describe(image)
        facts = [fact for fact in case.facts if fact.aspect in self._told]
        if text := " ".join((self.settings.hidden_text or "").split()).rstrip("."):
            file = paths.display_path(settings.params_file(self.settings.name))
            facts.append(Fact("notes", "hidden_text", text, "", text, Source(file, None, "hidden_text"), text))
        return replace(case, facts=tuple(facts))

    def first(self, count: int) -> list[Case]:
        """The first images that can be used, with their facts. UserError: none of those chosen can be used."""
        usable = [name for name in self.images if name not in self.data.skipped]
        if not usable:
            first = self.images[0]
            raise UserError(f"none of the {len(self.images)} chosen images can be used; {first}: {self.data.skipped[first]}")
        return [self.case(name) for name in usable[:count]]

    def titles(self, shown: list[Case]) -> list[str]:
        """What stands above pictures: their ids, or numbers where names identify participants."""
        return [f"image {i}" if self.page.private_names else case.id for i, case in enumerate(shown, start=1)]

    def prompt(self, case: Case) -> str:
        """The system prompt for an image with these facts."""
        if case.aspects not in self._prompts:
            chosen = self.settings
            self._prompts[case.aspects] = prompt.render(self.page, chosen.track, chosen.style, case.aspects)
        return self._prompts[case.aspects]

    # --- the run ----------------------------------------------------------------------------------------------------

    def plan(self) -> Iterator[Entry]:
        """Every chosen image in order: a request, or the reason why there is none."""
        self.estimate = self.context.estimate()
        for position, name in enumerate(self.images):
            entry = self._entry(position, name)
            if entry.request and self.settings.teacher == "openai":
                self.estimate.add(entry.request.system, entry.request.case.description, entry.request.size)
            yield entry

    def _entry(self, position: int, name: str) -> Entry:
        image = self.data.image(name)
        row = ImageState(position, image.id, image.export_name, image.split, "skipped", image.excluded_because)
        if image.excluded_because:
            return Entry(row)
        try:
            size = picture.check(image.path)
        except UserError as error:
            row.reason = str(error).replace(image.path.name, "the file", 1)  # equal reasons count together
            return Entry(row)
        case = self.case(image)
        if all(fact.name == "modality" for fact in case.facts):
            row.reason = "; ".join(["nothing is known of it", *case.missing])
            return Entry(row)
        system = self.prompt(case)
        row.state, row.prompt, row.sources = "failed", files.sha256(system), self._sources(case)
        sent = image.path if self.settings.images == "send" and self.settings.teacher == "openai" else None
        sized = size if sent else None
        return Entry(row, teacher.Request(case, system, self.settings.track, self.settings.style, sent, sized))

    def _sources(self, case: Case) -> list[dict]:
        """The cells behind the facts, gathered by file and row."""
        places: dict[tuple[str, int | None], dict[str, None]] = {}
        for fact in case.facts:
            file, row, column = fact.source
            columns = places.setdefault((file, row), {})
            if column:
                columns[column] = None
        return [{"file": self._place(file), "row": row, "columns": list(columns)} for (file, row), columns in places.items()]

    def _place(self, file: str) -> str:
        if "/" not in file and "\\" not in file:  # a page or a name, and most often so
            return file
        path = Path(file)
        return path.relative_to(self.data.root).as_posix() if path.is_relative_to(self.data.root) else file

    def run(self) -> Outcome:
        """Asks for what is not answered yet, or fetches it, and writes the run's files.

        UserError: another run holds the folder, or it cannot be written. Interrupted or killed, it loses no reply, and
        the next run goes on from there.
        """
        if self.settings.mode == "recheck" and not (self.folder / "vault.sqlite").is_file():
            raise UserError(f"there is no run in {paths.display_path(self.folder)} to check again; give the out_dir of one")
        with locked(self.folder), Vault(self.folder) as vault:
            export.check_same_run(self.folder, self.title)
            way = ways.way(self.context, vault)
            with _frozen(), display.Bar(len(self.images), "images") as bar, start_blocking_portal() as portal:
                task = portal.start_task_soon(way.run, self.plan)
                while not wait([task], timeout=0.1).done:
                    bar.show(way.done, way.note)
                bar.show(way.done, "")
                task.result()
            return self._write(vault, way)

    def _write(self, vault: Vault, way: ways.Way) -> Outcome:
        tally, looked, again = Tally(self.context, self.estimate), Survey(), way if isinstance(way, Rechecking) else None
        if self.settings.dry_run:  # the files stay as they are
            for row in vault.samples():
                tally.add(row)
            return tally.outcome(way, BatchLedger(vault))
        with export.Files(self.folder, self.context.prefix, self.origin, self._place) as files:
            for row in vault.samples():
                files.add(row)
                tally.add(row)
                if row.state == "accepted":
                    looked.add(row.conversation, row.traces)
                if again:
                    again.compare(row)
        outcome, before = tally.outcome(way, BatchLedger(vault)), export.images_before(self.folder)
        if before > len(self.images):
            fewer = (
                f"The files are about {len(self.images)} images now; before this run they were about {before}. "
                "Run again with what was chosen then to have those back: nothing is asked twice."
            )
            outcome = replace(outcome, noticed=(fewer, *outcome.noticed))
        if outcome.counts["images"] != len(self.images):
            raise RuntimeError(f"{outcome.counts['images']} images have a state, {len(self.images)} were chosen")
        if again:
            again.write()
        write_run(self.folder, self.data, self.images, self.context.prefix)
        export.write_unknown(self.folder, way.unknown)
        export.write_manifest(self.folder, self.manifest(vault, outcome) | {"survey": looked.report()})
        return outcome

    @property
    def origin(self) -> dict[str, object]:
        """What stands in each line of lineage."""
        page = {"page": self.page.name, "page_sha256": files.sha256(self.page.model_dump_json())}
        return {**page, "teacher": self.teacher.name, "model": self.teacher.model, "checks": check.VERSION}

    def manifest(self, vault: Vault, outcome: Outcome) -> dict:
        """The whole run in one mapping, without times, so that a resumed run writes what an undisturbed one does."""
        page, chosen = self.page, self.settings
        texts = sorted(self._prompts.values())
        used = vault.prompts()
        return {
            "run": self.title,
            "state": outcome.state,
            "dataset": {
                "name": page.name,
                "title": page.title,
                "citation": page.citation,
                "licence": page.licence,
                "may_send": page.may_send,
                "drawn_sample": self.drawn,
            },
            "counts": outcome.counts,
            "reasons": [row._asdict() for row in outcome.reasons],
            "checks": outcome.checks.manifest(),
            "teacher": self.teacher.name,
            "teacher_is": _TEACHERS[self.teacher.name],
            "model": self.teacher.model,
            "server": self.teacher.origin[0] or None,
            "tokens": outcome.money.tokens(),
            "cost": outcome.money.manifest(),
            "batches": [batch._asdict() for batch in outcome.pending_batches],
            "stopped": outcome.stopped or None,
            "prompt_sha256": files.sha256("\n".join(texts)),
            "prompts": [{"sha256": files.sha256(t), "images": used.get(files.sha256(t), 0), "text": t} for t in texts],
            "inputs": {self._place(path): digest for path, digest in sorted(self.data.inputs.items())},
            "rows_without_image": self.data.rows_without_image,
            "notes": self.notes,
            "settings": json.loads(chosen.model_dump_json(exclude={"out_dir"})),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONED}},
        }


@contextmanager
def _frozen() -> Iterator[None]:
    """Spares the garbage collector the tables read so far, and most of its looks at short-lived objects: looking through
    them again and again would slow a run."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(20_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


_TEACHERS = {
    "offline": "retinal_lib's own composer: sentences put together from the facts, no language model was asked",
    "openai": "a language model behind an OpenAI-compatible server, told the facts in `prompts`",
}
