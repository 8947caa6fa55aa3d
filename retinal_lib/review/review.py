"""Finished runs for review in review.ipynb: as widgets in JupyterLab, or as a page for a browser."""

import getpass
import os
from collections import Counter
from pathlib import Path

import pandas as pd
from pydantic import Field

from retinal_lib import conversation, paths, typed_paths
from retinal_lib.dataset import page
from retinal_lib.display import FullTable, are, count
from retinal_lib.errors import UserError, unknown
from retinal_lib.parameters import Parameters, Whole
from retinal_lib.review import agreement, decisions, fixes, sample_html
from retinal_lib.review.decisions import FILE, STATES
from retinal_lib.review.finished_run import FinishedRun
from retinal_lib.review.session import ReviewSession
from retinal_lib.run import run_files, settings
from retinal_lib.run.job import Job

VIEWS = ("widgets", "sheet")


class _ReviewParameters(Parameters):
    """The parameters of review.ipynb that are not of the run."""

    reviewer: str | None = None
    also: str | None = None
    limit: Whole | None = Field(None, ge=1)


class Review(ReviewSession):
    """A review of samples of one or several finished runs, see `load`; each decision is saved in reviews.jsonl at once.

    >>> import tempfile
    >>> from retinal_lib import Job
    >>> folder = tempfile.mkdtemp()
    >>> run = Job.load(dataset="APTOS", limit=2, out_dir=folder).run()
    >>> review = Review.load(dataset="APTOS", out_dir=folder, reviewer="Ada")
    >>> decision = review.reject(review.chosen[0], "the grade is too high")
    >>> review.progress
    (1, 2)
    >>> print(review.rates["errors"][0])
    1 error in 1: at least 5 % at 95 %
    """

    @classmethod
    def load(
        cls, reviewer: str | None = None, also: str | None = None, limit: int | None = None, **parameters: object
    ) -> "Review":
        """Opens the run that generate.ipynb made with these parameters, and other runs' folders (`also`, separated by commas).
        If a published dataset has no run and no data_root, its drawn sample is run first. UserError: a parameter is wrong,
        there is no finished run, or its dataset is not found."""
        given = _ReviewParameters.of(reviewer=reviewer, also=also, limit=limit)
        parameters = {name: value for name, value in parameters.items() if value is not None}
        run_settings = settings.load(**parameters)
        published = run_settings.data_root is None and not page.is_own(run_settings.dataset)
        on_sample = run_settings.teacher == "offline" and published
        if "out_dir" not in parameters and on_sample and not (run_settings.folder / run_files.MANIFEST).is_file():
            Job.load(**parameters).run().require()
        roots = {name: typed_paths.resolve(parameters[name]) for name in ("data_root", "automorph_root") if name in parameters}
        others = [typed_paths.resolve(name.strip()) for name in given.also.split(",")] if given.also else []
        runs = [FinishedRun(run_settings.folder, **roots)]
        runs += [FinishedRun(folder, number) for number, folder in enumerate(others, start=1)]
        return cls(runs, given.reviewer or _login(), run_settings.split, given.limit)

    @property
    def table(self) -> pd.DataFrame:
        """The runs under review, one row each."""
        rows = []
        for run in self.runs:
            data = "drawn eyes of this project" if run.job.drawn else str(run.job.data.root)
            mine = sum(sample.run == run.number for sample in self.under_review)
            unreadable = f"; {count(len(run.unreadable), 'line')} of {FILE} cannot be read" if run.unreadable else ""
            so_far = f"{count(len(run.decisions), 'decision')}{unreadable}"
            rows.append((run.manifest["run"], data, len(run.samples), mine, so_far))
        folders = [paths.display_path(run.folder) for run in self.runs]
        return FullTable(rows, columns=["run", "data", "accepted samples", "under review", "so far"], index=folders)

    def show(self, view: str | None = None, limit: int | None = None) -> object:
        """Returns the reviewer's widgets. With `view` sheet, or if a notebook runs unattended, it writes a page of the samples
        (at most `limit`) into the run's folder instead and returns a table of it. UserError: there is no such view, or the
        libraries of the widgets are not installed."""
        if view not in (None, *VIEWS):
            raise unknown("view", view, VIEWS)
        if view == "sheet" or (view is None and os.environ.get(paths.NON_INTERACTIVE)):
            file = self.runs[0].folder / sample_html.SHEET
            written = count(sample_html.sheet(self, file, limit), "sample")
            text = f"{written} of {len(self.chosen):,}, to look at in a browser"
            return FullTable({"holds": [text]}, index=[paths.display_path(file)])
        try:
            from retinal_lib.review.reviewer import Reviewer
        except ImportError as error:
            raise UserError(
                "the reviewer needs JupyterLab's widgets: python -m pip install -e '.[lab]', or pass view=sheet"
            ) from error
        return Reviewer(self).box

    @property
    def files(self) -> pd.DataFrame:
        """The files that reviewing has left in the runs' folders."""
        holds = {FILE: run_files.AT_TIMES[FILE], sample_html.SHEET: "samples with their pictures, to look at in a browser"}
        files = {run.folder / name: what for run in self.runs for name, what in holds.items()}
        files = {paths.display_path(file): what for file, what in files.items() if file.is_file()}
        return FullTable({"holds": list(files.values())}, index=list(files))


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without user names
        return "reviewer"


# --- for the command line: results from a run's folder alone, without its dataset ---------------------------------------


def report(folder: Path) -> list[str]:
    """Returns a run's review results in a few lines. UserError: the folder holds no finished run, or its reviews cannot be
    read."""
    file = folder / "conversations.jsonl"
    if not file.is_file():
        raise UserError(f"{paths.display_path(folder)} holds no conversations.jsonl; name the folder of a finished run")
    hashes = {entry.id: decisions.conversation_hash(entry.to_llava()["conversations"]) for entry in conversation.read(file)}
    run_decisions, unreadable = decisions.read(folder / FILE)
    verdicts = decisions.verdicts(run_decisions, hashes)
    final = Counter(decisions.consensus(verdicts.get(name, {}).values()).state for name in hashes)
    lines = [f"{paths.display_path(folder)}: " + ", ".join(f"{final[state]:,} {state}" for state in STATES)]
    pairs = agreement.between(map(decisions.votes, verdicts.values()))
    lines += [f"  {one} and {other}: {result}" for (one, other), result in pairs.items()]
    old = len({d.id for d in decisions.not_undone(run_decisions) if hashes.get(d.id) != d.sha256})
    lines += [f"  {count(old, 'sample')} changed since a review, which does not count any more"] if old else []
    return lines + ([f"  {decisions.unreadable_text(folder / FILE, unreadable)}"] if unreadable else [])


def merge_reviews(folders: list[Path], others: list[str]) -> str:
    """Adds the decisions of other reviewers' files to a run's own and returns a sentence with their number. UserError: there
    is not exactly one folder; the checks find an error in a fix; as `report` and `decisions.merge`."""
    if len(folders) != 1:
        raise UserError(f"--merge adds to the reviews of one run; found {count(len(folders), 'folder')}")
    file = folders[0] / FILE
    report(folders[0])
    fixes.require_checked(folders[0], others)
    number = decisions.merge([*([file] if file.is_file() else []), *others], file)
    return f"{count(number, 'decision')} {are(number)} in {paths.display_path(file)}"
