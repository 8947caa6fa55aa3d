"""Reviewers' fixes, read by the checks wherever they come from: from the notebook, from another machine, or by hand."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from retinal_lib import check, paths, typed_paths
from retinal_lib.closed_questions import run_questions
from retinal_lib.conversation import Conversation, read
from retinal_lib.errors import UserError
from retinal_lib.review import decisions
from retinal_lib.review.decisions import FILE, Verdict
from retinal_lib.review.finished_run import dataset_of
from retinal_lib.run.job import Job


class Fixes:
    """The fixes in a run's folder, held against the facts of its images. The dataset is read once there is one."""

    def __init__(self, folder: Path):
        self.folder = folder

    @cached_property
    def _job(self) -> Job:
        return dataset_of(self.folder)

    def applied(self, entry: dict, verdict: Verdict, number: int) -> list[dict[str, str]]:
        """Returns a conversation, the run's `number`-th from 1, with a verdict's fixes. UserError: the checks find an error in
        it, a fix is for a turn that does not exist, or the dataset cannot be read."""
        if not verdict.fixes:
            return entry["conversations"]
        where = f"{paths.display_path(self.folder / FILE)}: the fix of conversation {number}"  # names may be of participants
        turns = decisions.with_fixes(entry["conversations"], verdict.fixes)
        try:
            job = self._job
            run_questions.refuse_fix(job.settings.track)
            case = job.case(entry["image"].removeprefix(job.context.prefix))
        except UserError as error:
            raise UserError(
                f"{where} cannot be checked, so it is not used: {error}; put that right, or undo the fix"
            ) from error
        if errors := check.errors(check.check(turns, case, job.settings.track, job.settings.style)):
            found = "; ".join(dict.fromkeys(f"turn {f.turn}, {f.part}: {f.text}" for f in errors))
            raise UserError(f"{where} is not used, the checks found errors: {found}; undo or mend it in review.ipynb")
        return turns


def require_checked(folder: Path, files: Iterable[str | Path]) -> None:
    """Checks the fixes in reviewers' files on a run's conversations. UserError: as `Fixes.applied`."""
    given = [decision for file in map(typed_paths.resolve, files) if file.is_file() for decision in decisions.read_whole(file)]
    if not any(decision.what == "fix" for decision in given):
        return
    fixes = Fixes(folder)
    entries = {conversation.id: conversation.to_llava() for conversation in read(folder / "conversations.jsonl")}
    numbers = {name: number for number, name in enumerate(entries, start=1)}
    for name, by_reviewer in decisions.verdicts(given, _hashes(entries.values())).items():
        for verdict in by_reviewer.values():
            if verdict.state == "fixed":
                fixes.applied(entries[name], verdict, numbers[name])


def reviewed(folder: Path, conversations: Iterable[Conversation], which: str) -> Iterator[Conversation]:
    """Yields a run's conversations that its reviews allow to be used (see decisions.REVIEWED), with fixes applied. UserError:
    reviews.jsonl cannot be read, or as `Fixes.applied`."""
    entries = [conversation.to_llava() for conversation in conversations]
    verdicts_of, fixes = decisions.verdicts(decisions.read_whole(folder / FILE), _hashes(entries)), Fixes(folder)
    passing = {"accepted", "fixed"} | ({"unreviewed"} if which == "unrejected" else set())
    for number, entry in enumerate(entries, start=1):
        verdict = decisions.consensus(verdicts_of.get(entry["id"], {}).values())
        if verdict.state == "fixed":
            yield Conversation.from_llava(entry | {"conversations": fixes.applied(entry, verdict, number)})
        elif verdict.state in passing:
            yield Conversation.from_llava(entry)


def _hashes(entries: Iterable[dict]) -> dict[str, str]:
    return {entry["id"]: decisions.conversation_hash(entry["conversations"]) for entry in entries}
