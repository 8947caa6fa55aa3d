"""A run from its settings to its files, in the steps of generate.ipynb."""

import json
import platform
from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

import pandas as pd
from anyio.from_thread import start_blocking_portal

from retinal_lib import display, files, paths
from retinal_lib.ask.batch_ledger import BatchLedger
from retinal_lib.ask.runner import PlannedImage, Progress, RunResult
from retinal_lib.ask.vault import READINGS, Vault, locked
from retinal_lib.check import conversation_check
from retinal_lib.closed_questions.blind_reader import BlindReport
from retinal_lib.closed_questions.writing import Asked
from retinal_lib.conversation import Conversation
from retinal_lib.dataset import splits
from retinal_lib.dataset.image import Image
from retinal_lib.display import count
from retinal_lib.errors import UserError
from retinal_lib.facts import Case, Source
from retinal_lib.reader.second_reader import Report
from retinal_lib.run import earlier_run, modes, run_files
from retinal_lib.run.context import RunContext
from retinal_lib.run.dataset_job import DatasetJob
from retinal_lib.run.outcome import Outcome, Tally
from retinal_lib.run.plan import Planner
from retinal_lib.run.settings import Settings
from retinal_lib.run.survey import Survey
from retinal_lib.teacher import teachers
from retinal_lib.teacher.teachers import Request
from retinal_lib.text.shown_text import for_people

if TYPE_CHECKING:
    from retinal_lib.imaging.side_by_side import SideBySide

VERSIONED = ("retinal_lib", "numpy", "opencv-python-headless", "openai", "pandas", "pillow")
_TEACHERS = {
    "offline": "the offline teacher: a format sample, composed without a language model; sentences put together from the facts",
    "vqa": "the program, which chose the questions from the facts, without a language model",
    "openai": "a language model behind an OpenAI-compatible server, told the facts in `prompts`",
}


class Job(DatasetJob):
    """A dataset, a track and a teacher, checked and ready to run; `load` makes one from a notebook's parameters.

    >>> import tempfile
    >>> job = Job.load(dataset="APTOS", limit=2, out_dir=tempfile.mkdtemp())
    >>> outcome = job.run()
    >>> print(outcome.summary)
    2 images: 2 accepted, 0 rejected, 0 failed, 0 skipped
    """

    notebook = "generate"

    def __init__(self, settings: Settings):
        self.teacher, reader = teachers.make(settings), teachers.second_reader(settings)
        super().__init__(settings)
        if leave := modes.permission(self.page, self.images, settings):
            for asked in filter(None, (self.teacher, reader)):
                asked.server.allow(leave)
        limits = settings.batch.for_server(self.teacher.server.name if settings.teacher == "openai" else "")
        self.context = RunContext(settings, self.page, self.data, self.images, self.teacher, reader, limits, self.folder)
        self._planner = Planner(self.context)
        if settings.budget_usd is not None:
            modes.check_budget(self.teacher, settings.images == "send")
            if reader:
                modes.check_budget(reader, pictures=False)

    # --- before anything is asked -------------------------------------------------------------------------------

    @property
    def table(self) -> pd.DataFrame:
        """A summary of the job, one row for each setting."""
        settings, teacher = self.settings, self.teacher
        server = f" at {teacher.server.name}" if self.context.asks_server else ""
        return self.summary_table(
            track=" ".join(filter(None, [settings.track, settings.style])),
            teacher=f"{teacher.name}: {teacher.model}{server}",
            **self._at_once,
            **({"second reader": self.context.reader.model} if self.context.reader else {}),
            mode="dry run: nothing is sent" if settings.dry_run else settings.mode + (", waiting" if settings.wait else ""),
            **{"images sent": "yes" if self.context.sends_images else "no, facts only"},
            terms=f"{self.source['licence']}; may be sent to a remote server: {self.page.may_send}",
        )

    @property
    def _at_once(self) -> dict[str, str]:
        if not self.context.asks_server or self.settings.mode != "direct":
            return {}
        why = " (a server on this machine; set concurrency if it answers several at a time)"
        text = f"{self.context.concurrency}{'' if self.settings.concurrency or not self.teacher.server.local else why}"
        return {"requests at once": f"{text}, each waited for up to {self.teacher.server.timeout_s:,g} seconds"}

    def case(self, image: Image | str) -> Case:
        """Returns an image with the facts that this run uses. UserError: it is unknown or skipped."""
        return self._planner.case(image)

    def first(self, count: int) -> list[Case]:
        """Returns the first usable images with their facts. UserError: none of the selected images can be used."""
        usable = [name for name in self.images if name not in self.data.skipped]
        if not usable:
            first = self.images[0]
            raise UserError(
                f"none of the {display.count(len(self.images), 'chosen image')} can be used; "
                f"{first}: {self.data.skipped[first]}"
            )
        return [self.case(name) for name in usable[:count]]

    def show(self, cases: list[Case]) -> "SideBySide":
        """Shows images, with the boxes of their lesions, beside their facts."""
        from retinal_lib.imaging import side_by_side  # a run without a picture needs no matplotlib

        return side_by_side.cases(
            cases, [self.data.called(case.image) if self.page.private_names else case.id for case in cases]
        )

    def prompt(self, case: Case) -> str:
        """Returns what a teacher is told about an image: the system prompt, and below it the message with the facts."""
        request = self._planner.request(case)
        return for_people(f"{request.system}\n\n---\n\n{request.message}")

    def request(self, case: Case) -> Request:
        """Returns the request about an image, without its picture."""
        return self._planner.request(case)

    def plan(self) -> Iterator[PlannedImage]:
        """Yields every selected image in order: with a request, or with the reason why there is none."""
        return self._planner.images()

    # --- the run ----------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Asks for images without an answer, or fetches their answers, and writes the run's files. Interrupted or killed, it
        loses no reply, and the next run continues from there.

        UserError: another run is using the folder, or it cannot be written.
        """
        if self.settings.mode == "recheck" and not (self.folder / "vault.sqlite").is_file():
            raise UserError(f"there is no run in {paths.display_path(self.folder)} to check again; pass its out_dir")
        with locked(self.folder), Vault(self.folder) as vault:
            held = self._check_folder()
            runner = modes.runner(self.context, vault, lambda image: self._planner.request(self.case(image)).sheet)
            with display.Bar(len(self.images), "images") as bar, start_blocking_portal() as portal:
                task = portal.start_task_soon(runner.run, self.plan)
                while not wait([task], timeout=0.1).done:
                    bar.show(*runner.progress)
                bar.show(*Progress(runner.progress.done))
                result = task.result()
            report = self._reader_report()
            return self._kept(vault, result, held, report) or self._write(vault, result, report)

    def _reader_report(self) -> Report | None:
        """What came of the second reader; None without one."""
        if self.context.reader is None or self.settings.dry_run:
            return None
        with Vault(self.folder, READINGS) as readings:
            return Report.of(readings.samples(), self.context.reader.model, self.settings.reader_share)

    def _check_folder(self) -> frozenset[str]:
        """The ids of the conversations that the folder holds. UserError: this run may not replace them."""
        earlier_run.check_name(self.folder, self._run_name)
        file = self.folder / "conversations.jsonl"
        earlier = earlier_run.manifest(self.folder)
        held = earlier_run.ids(file, bool((earlier.get("settings") or {}).get("separate")))
        if held and not self.settings.dry_run:
            chosen = {self.data.image(name).id for name in self.images}
            earlier_run.check(file, earlier, self.data, self.drawn, held, chosen, "conversation", self.settings.teacher)
        return held

    def _kept(self, vault: Vault, result: RunResult, held: frozenset[str], report: Report | None) -> Outcome | None:
        """The outcome of a run that leaves the files as they are: a dry run, or one that did not get as far as an earlier run
        with other requests, so that some of the earlier conversations have no answer now. None for all others."""
        missing = {id_ for (id_,) in vault.rows("SELECT id FROM samples WHERE state IN ('failed', 'pending')")}
        lost = len(held & missing)
        if not lost and not self.settings.dry_run:
            return None
        tally = Tally(self.context, self._planner.estimate, report, self._planner.to_read)
        for row in vault.samples():
            tally.add(row)
        outcome = tally.outcome(result, BatchLedger(vault))
        if self.settings.dry_run:
            return replace(outcome, blind=BlindReport.of(self._planner.questions.all))
        if outcome.state == "complete" and not outcome.problem:
            return None
        if earlier := earlier_run.manifest(self.folder):
            now = self._manifest(vault, outcome)
            run_files.write_manifest(self.folder, earlier | {name: now[name] for name in ("state", "stopped", "batches")})
        note = (
            f"The files still hold the {count(len(held), 'conversation')} of an earlier run: {lost:,} of them "
            "have no answer to this run's requests."
        )
        return replace(outcome, notes=(note, *outcome.notes))

    def _write(self, vault: Vault, result: RunResult, report: Report | None) -> Outcome:
        tally, survey = Tally(self.context, self._planner.estimate, report), Survey()
        asked: list[Asked] = []
        origin = self.context.prefix, self._origin, self.settings.separate
        with run_files.Files(self.folder, *origin) as exported, display.Bar(len(self.images), "images written") as bar:
            for done, row in enumerate(vault.samples(), start=1):
                questions = self._planner.questions.asked(row.id)
                exported.add(row, report, [each.entry() for each in questions])
                tally.add(row)
                if row.state == "accepted":
                    asked += questions
                    entry = run_files.conversation_entry(row, self.context.prefix)
                    survey.add(Conversation.from_llava(entry).turns, row.traces)
                bar.show(done)
        outcome = replace(tally.outcome(result, BatchLedger(vault)), blind=BlindReport.of(asked))
        if outcome.counts["images"] != len(self.images):
            raise RuntimeError(f"{outcome.counts['images']} images have a state, {len(self.images)} are selected")
        placed = splits.write_run(self.folder, self.data, self.images, self.context.prefix)
        unknown = splits.of_unknown_persons(placed) if self.page.is_own else ""
        cure = "; a column of patients, or a page whose image pattern has (?P<patient>…), says it"
        unknown = [f"{unknown}{cure}"] if unknown else []
        outcome = replace(outcome, notes=(*outcome.notes, *unknown, *splits.empty(placed)))
        rows = {"unknown.jsonl": result.unknown}
        if self.settings.mode == "recheck":
            rows["changes.jsonl"] = result.changes
        for name, found in rows.items():
            if found:
                files.write_jsonl(self.folder / name, (row._asdict() for row in found))
            else:
                files.remove(self.folder / name)
        run_files.write_manifest(self.folder, self._manifest(vault, outcome) | {"survey": survey.report()})
        return outcome

    @property
    def _run_name(self) -> str:
        """Dataset, track and style, as manifest.json names the run."""
        return " ".join(filter(None, [self.page.name, self.settings.track, self.settings.style]))

    @property
    def _origin(self) -> dict[str, object]:
        """The fields that are the same in each line of lineage.jsonl."""
        page = {"page": self.page.name, "page_sha256": files.sha256(self.page.model_dump_json())}
        return {**page, "teacher": self.teacher.name, "model": self.teacher.model, "checks": conversation_check.VERSION}

    def _manifest(self, vault: Vault, outcome: Outcome) -> dict:
        """The content of manifest.json; without times, so that a resumed run writes the same as an uninterrupted one."""
        text, used = self._planner.system, vault.prompts()
        inputs = {Source(path).relative_to(self.data.root).file: digest for path, digest in sorted(self.data.inputs.items())}
        return {
            "run": self._run_name,
            "state": outcome.state,
            "dataset": self.source,
            "counts": outcome.counts,
            "reasons": [reason._asdict() | {"text": reason.text} for reason in outcome.reasons],
            "checks": outcome.checks.manifest(),
            **({"closed_questions": outcome.blind.manifest()} if outcome.blind and outcome.blind.scores else {}),
            "second_reader": outcome.reader.manifest() if outcome.reader else None,
            "teacher": self.teacher.name,
            "teacher_is": _TEACHERS.get(self.settings.track, _TEACHERS[self.teacher.name]),
            "model": self.teacher.model,
            "server": self.teacher.origin[0] or None,
            "tokens": outcome.cost.tokens(),
            "cost": outcome.cost.manifest(),
            "batches": [batch._asdict() for batch in outcome.pending_batches],
            "stopped": outcome.stopped or None,
            "prompt_sha256": files.sha256(text),
            "prompts": [{"sha256": digest, "images": count, "text": text} for digest, count in used.items()],
            "inputs": inputs,
            "rows_without_image": self.data.rows_without_image,
            "notes": [*self.notes, *self.context.asked_notes],
            "not_used": self.data.not_used,
            "not_used_places": self.data.not_used_places,
            "settings": json.loads(self.settings.model_dump_json(exclude={"out_dir"})),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONED}},
        }
