"""One reviewer's samples: which are under review, the decisions on each, and their error rates and agreement."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from retinal_lib import check, paths
from retinal_lib.check.findings import finding_entry, trace_entry
from retinal_lib.closed_questions import run_questions
from retinal_lib.display import FullTable
from retinal_lib.errors import UserError, unknown
from retinal_lib.facts import Case, Fact
from retinal_lib.review import decisions
from retinal_lib.review.agreement import Agreement, between, draw, rate, weighted
from retinal_lib.review.decisions import FILE, STATES, Decision, Verdict
from retinal_lib.review.finished_run import NONE, STRATA, AcceptedSample, FinishedRun


class ReviewItem(NamedTuple):
    """A sample as shown to a reviewer: the conversation with the reviewer's own fixes, its traces to facts, the checks'
    findings, the reviewer's verdict, and those of others (none until the reviewer has given one)."""

    turns: list[dict[str, str]]
    traces: list[dict]
    findings: list[dict]
    verdict: Verdict
    others: dict[str, Verdict]


class ReviewSession:
    """The samples of one or several finished runs that one reviewer reviews. `under_review` are those that were drawn, `chosen`
    those of them that pass the filters; every decision is in the run's reviews.jsonl before a method returns."""

    def __init__(self, runs: list[FinishedRun], reviewer: str, split: str | None = None, limit: int | None = None):
        self.runs, self.reviewer = runs, " ".join(reviewer.split())
        every = [sample for run in runs for sample in run.samples]
        self.all = sorted(every, key=lambda sample: not sample.doubted)  # what a second reader doubts comes first
        if not self.all:
            names = ", ".join(paths.display_path(run.folder) for run in runs)
            raise UserError(f"{names}: no conversation was accepted, so there is nothing to review")
        self._samples = {sample.key: sample for sample in self.all}
        self._decisions: dict[tuple[int, str], list[Decision]] = defaultdict(list)
        for run in runs:
            for decision in run.decisions:
                self._decisions[run.number, decision.id].append(decision)
        self._verdicts: dict[tuple[int, str], dict[str, Verdict]] = {}  # cached: a click on "next" reads thousands of them
        self.filters: dict[str, str | None] = {}
        self.under_review = [sample for sample in self.all if split in (None, sample.split)][:limit]
        self.draw(None)

    # --- which samples ------------------------------------------------------------------------------------------------

    def draw(self, number: int | None, by: str | None = None, seed: int | None = None) -> "ReviewSession":
        """Draws `number` samples of each stratum for review (None: all), `by` one of STRATA, and returns the session;
        those that a second reader doubts are all under review. UserError: there is no such stratum."""
        self.by = by or "dataset"
        if self.by not in STRATA:
            raise unknown("stratum", by, STRATA)
        self.sizes = Counter(sample.stratum(self.by) for sample in self.under_review)  # before anything is drawn
        if number is not None:
            of, name = (lambda sample: sample.stratum(self.by)), (lambda sample: sample.id)
            doubted = [sample for sample in self.under_review if sample.doubted]
            others = [sample for sample in self.under_review if not sample.doubted]
            self.under_review = doubted + draw(others, number, of, name, seed or 0)
        return self

    @property
    def options(self) -> dict[str, tuple[str, ...]]:
        """The filters, and the values of each."""
        lesions = {name for sample in self.under_review for name in sample.lesions or (NONE,)}
        kinds = {name for sample in self.under_review for name in sample.kinds or (NONE,)}
        datasets = tuple(dict.fromkeys(sample.dataset for sample in self.under_review))
        return {"dataset": datasets, "lesion": tuple(sorted(lesions)), "finding": tuple(sorted(kinds)), "state": STATES[:4]}

    def filter(self, **filters: str | None) -> list[AcceptedSample]:
        """Sets filters (dataset, lesion, finding, state; None: no filter) and returns the samples that pass. UserError:
        there is no such filter or value."""
        options = self.options
        for name, value in filters.items():
            if name not in options:
                raise unknown("filter", name, options)
            if value is not None and value not in options[name]:
                raise unknown(name, value, options[name])
        self.filters |= filters
        return self.chosen

    @property
    def chosen(self) -> list[AcceptedSample]:
        """The samples under review that pass the filters."""
        return [sample for sample in self.under_review if self._passes(sample)]

    def _passes(self, sample: AcceptedSample) -> bool:
        filters = {name: value for name, value in self.filters.items() if value is not None}
        values = {"dataset": (sample.dataset,), "lesion": sample.lesions or (NONE,), "finding": sample.kinds or (NONE,)}
        if not all(value in values[name] for name, value in filters.items() if name != "state"):
            return False
        return "state" not in filters or self.mine(sample).state == filters["state"]

    def next_unreviewed(self, among: list[AcceptedSample], after: AcceptedSample | None = None) -> AcceptedSample | None:
        """Returns the next sample without this reviewer's verdict after `after`, then from the start, or None."""
        start = among.index(after) + 1 if after in among else 0
        return next((s for s in among[start:] + among[:start] if s != after and self.mine(s).state == "unreviewed"), None)

    def find(self, key: tuple[int, str]) -> AcceptedSample:
        """Returns the sample of a run and id."""
        return self._samples[key]

    # --- one sample ---------------------------------------------------------------------------------------------------

    def item(self, sample: AcceptedSample) -> ReviewItem:
        """Returns a sample as shown to the reviewer. UserError: the run was repeated since, or the dataset cannot be read."""
        entry, origin = self.runs[sample.run].entries(sample)
        mine = self.mine(sample)
        others = {who: verdict for who, verdict in self.verdicts(sample).items() if who != self.reviewer}
        turns, traces, findings = entry["conversations"], origin["traces"], origin["findings"]
        if mine.fixes:
            turns = decisions.with_fixes(turns, mine.fixes)
            checked = self._examine(sample, turns)
            traces, findings = [*map(trace_entry, checked.traces)], [*map(finding_entry, checked.findings)]
        return ReviewItem(turns, traces, findings, mine, others if mine.state != "unreviewed" else {})

    def case(self, sample: AcceptedSample) -> Case:
        """Returns the run's facts on a sample's image. UserError: its image or a mask no longer exists."""
        return self.runs[sample.run].job.case(sample.image)

    def picture(self, sample: AcceptedSample) -> tuple[Path, list[Fact]]:
        """Returns the image's file, and the facts on its lesions. UserError: as `case`."""
        case = self.case(sample)
        return case.path, case.about("lesion")

    def _examine(self, sample: AcceptedSample, turns: list[dict[str, str]]) -> check.Checked:
        settings = self.runs[sample.run].job.settings
        return check.examine(turns, self.case(sample), settings.track, settings.style)

    # --- decisions ----------------------------------------------------------------------------------------------------

    def verdicts(self, sample: AcceptedSample) -> dict[str, Verdict]:
        """Returns the verdict of each reviewer of a sample."""
        key = sample.key
        if key not in self._verdicts:
            verdicts = decisions.verdicts(self._decisions.get(key, ()), {sample.id: sample.sha256})
            self._verdicts[key] = verdicts.get(sample.id, {})
        return self._verdicts[key]

    def mine(self, sample: AcceptedSample) -> Verdict:
        """Returns this reviewer's verdict on a sample."""
        return self.verdicts(sample).get(self.reviewer) or Verdict()

    def final(self, sample: AcceptedSample) -> Verdict:
        """Returns the verdict of all reviewers together."""
        return decisions.consensus(self.verdicts(sample).values())

    def accept(self, sample: AcceptedSample, comment: str = "") -> Decision:
        """Accepts a sample with its fixes. UserError, here and below: reviews.jsonl cannot be written."""
        return self._decide(sample, "accept", text=comment.strip())

    def reject(self, sample: AcceptedSample, comment: str = "") -> Decision:
        """Rejects a sample: it must not be trained on."""
        return self._decide(sample, "reject", text=comment.strip())

    def comment(self, sample: AcceptedSample, text: str) -> Decision:
        """Adds a comment without a verdict. UserError: it is empty."""
        if not text.strip():
            raise UserError("a comment needs a text")
        return self._decide(sample, "comment", text=text.strip())

    def fix(self, sample: AcceptedSample, turn: int, part: str, text: str) -> Decision:
        """Replaces a question or an answer. UserError: the checks find an error in the fixed conversation, or nothing has
        changed; then the fix is not saved."""
        run_questions.refuse_fix(self.runs[sample.run].job.settings.track)
        conversation, fixes = self.runs[sample.run].entries(sample)[0]["conversations"], self.mine(sample).fixes
        after = decisions.with_fixes(conversation, fixes | {(turn, part): text.strip()})
        if after == decisions.with_fixes(conversation, fixes):
            raise UserError(f"the {part} of turn {turn} has not changed; change it, then save")
        findings = self._examine(sample, after).findings
        if errors := check.errors(findings):
            texts = "; ".join(dict.fromkeys(f"turn {f.turn}, {f.part}: {f.text}" for f in errors))
            raise UserError(f"not saved, the checks found errors: {texts}")
        warnings = [*map(finding_entry, findings)]
        return self._decide(sample, "fix", turn=turn, part=part, text=text.strip(), checks=check.VERSION, findings=warnings)

    def undo(self) -> AcceptedSample:
        """Undoes this reviewer's latest decision that is not undone yet, and returns its sample. UserError: there is none."""
        not_undone = [(run.number, decision) for run in self.runs for decision in decisions.not_undone(run.decisions)]
        for number, decision in sorted(not_undone, key=lambda row: row[1].order, reverse=True):
            sample = self._samples.get((number, decision.id))
            if decision.who == self.reviewer and sample and sample.sha256 == decision.sha256:
                self._decide(sample, "undo", undoes=decision.key)
                return sample
        raise UserError("nothing to undo")

    def _decide(self, sample: AcceptedSample, what: str, **fields: object) -> Decision:
        run = self.runs[sample.run]
        earlier = [decision for each in self.runs for decision in each.decisions]
        decision = decisions.new_decision(earlier, self.reviewer, what, id=sample.id, sha256=sample.sha256, **fields)
        decisions.append(run.folder / FILE, decision)
        run.decisions.append(decision)
        self._decisions[sample.key].append(decision)
        self._verdicts.pop(sample.key, None)
        return decision

    # --- error rates and agreement --------------------------------------------------------------------------------------

    @property
    def judged(self) -> list[AcceptedSample]:
        """The samples under review that any reviewer has decided or commented on."""
        keys = {sample.key for sample in self.under_review}
        return [self._samples[key] for key in self._decisions if key in keys]

    @property
    def progress(self) -> tuple[int, int]:
        """How many of the samples under review have a verdict of this reviewer, and how many there are."""
        return sum(self.mine(sample).state != "unreviewed" for sample in self.judged), len(self.under_review)

    @property
    def states(self) -> pd.DataFrame:
        """How many of the samples under review are in each state, by this reviewer and by all together."""
        mine = Counter(self.mine(sample).state for sample in self.under_review)
        final = Counter(self.final(sample).state for sample in self.under_review)
        return FullTable({"you": [mine[s] for s in STATES], "all reviewers": [final[s] for s in STATES]}, index=list(STATES))

    @property
    def rates(self) -> pd.DataFrame:
        """The error rate of each stratum and of the whole, with its interval at 95 %. An error is a sample that was rejected
        or fixed, or that reviewers dispute. It is valid for samples that were drawn, not for selected ones."""
        errors, reviewed = Counter(), Counter()
        for sample in self.judged:
            state, stratum = self.final(sample).state, sample.stratum(self.by)
            reviewed[stratum] += state != "unreviewed"
            errors[stratum] += state not in ("unreviewed", "accepted")
        sizes = self.sizes
        rows = [(name, sizes[name], str(rate(errors[name], reviewed[name]))) for name in sorted(sizes)]
        if len(sizes) > 1:
            total = weighted([(sizes[name], errors[name], reviewed[name]) for name in sizes])
            rows.append(("all, weighted by size", sum(sizes.values()), str(total)))
        return FullTable(rows, columns=[self.by, "samples", "errors"])

    def _agreements(self) -> dict[tuple[str, str], Agreement]:
        return between(decisions.votes(self.verdicts(sample)) for sample in self.judged)

    @property
    def agreement(self) -> pd.DataFrame:
        """The agreement of each two reviewers."""
        rows = [(one, other, pair.both, str(pair)) for (one, other), pair in self._agreements().items()]
        none = [("", "", 0, "no two reviewers have judged the same sample yet")]
        return FullTable(rows or none, columns=["", "and", "both", "agreement"])

    @property
    def summary(self) -> list[str]:
        """Error rate and agreement in a few lines; none if this reviewer has no verdict yet."""
        if not self.progress[0]:
            return []
        pairs = [f"{one} and {other}: {pair}" for (one, other), pair in self._agreements().items()]
        return [f"Errors: {self.rates.iloc[-1]['errors']}", *pairs]
