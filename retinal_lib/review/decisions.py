"""What reviewers decide, line by line in reviews.jsonl: only ever added to, and whole again after any crash."""

import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from retinal_lib import paths
from retinal_lib.conversation import IMAGE, Conversation, problems
from retinal_lib.errors import UserError
from retinal_lib.files import atomic_write, json_line, json_lines, sha256

FILE = "reviews.jsonl"
WHAT = ("accept", "reject", "fix", "comment", "undo")
STATES = ("unreviewed", "accepted", "fixed", "rejected", "disputed")  # disputed: reviewers differ
REVIEWED = {
    "accepted": "only what reviewers accepted or fixed",
    "unrejected": "that, and what no one has reviewed yet",
}
_WHEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
_WAIT = 10  # seconds for another reviewer's line to be written


@dataclass(frozen=True)
class Decision:
    """One thing that a reviewer did to a sample, `sha256` being that of its conversation as the run wrote it. A fix replaces
    the `part` (question or answer) of `turn` by `text`; of the others, `text` is the comment. An undo names the `key` of the
    decision that it takes back."""

    key: str
    id: str
    sha256: str
    who: str
    when: str  # UTC, to the microsecond; later ones of a reviewer are always later
    what: str
    turn: int = 0
    part: str = ""
    text: str = ""
    undoes: str = ""
    checks: int = 0  # of a fix: the version of the checks that passed it
    findings: list[dict] = field(default_factory=list)  # of a fix: the warnings that remain

    @property
    def order(self) -> tuple[str, str]:
        """What decisions are put in order by."""
        return self.when, self.key


_FIELDS = tuple(field.name for field in fields(Decision))
_NEEDED = ("key", "id", "sha256", "who", "when", "what")


@dataclass
class Verdict:
    """What stands of a reviewer's decisions on a sample: the state (unreviewed where there are comments only), the fixes as
    {(turn, part): text}, and the comments."""

    state: str = "unreviewed"
    fixes: dict[tuple[int, str], str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)


def fingerprint(conversation: list[dict[str, str]]) -> str:
    """The sha256 by which a decision knows the conversation it was made on."""
    return sha256(json_line(conversation))


# --- the file --------------------------------------------------------------------------------------------------------


def read(file: Path) -> tuple[list[Decision], int]:
    """The decisions of a file in order, and how many of its lines cannot be read (a write that was cut short leaves one).

    UserError: the file cannot be read at all. A file that is not there holds none.
    """
    if not file.exists():
        return [], 0
    lines = [_decision(value) for _, value in json_lines(file)]
    found = [decision for decision in lines if decision is not None]
    return ordered(found), len(lines) - len(found)


def _decision(entry: object) -> Decision | None:
    if (
        not isinstance(entry, dict)
        or not all(isinstance(entry.get(name), str) for name in _NEEDED)
        or entry["what"] not in WHAT
    ):
        return None
    known = {name: entry[name] for name in _FIELDS if name in entry}
    whole = isinstance(known.get("turn", 0), int) and isinstance(known.get("findings", []), list)
    texts = all(isinstance(known.get(name, ""), str) for name in ("part", "text", "undoes"))
    return Decision(**known) if whole and texts and _WHEN.fullmatch(entry["when"]) else None


def ordered(decisions: Iterable[Decision]) -> list[Decision]:
    """Each decision once, in the order in which they were made."""
    return sorted({decision.key: decision for decision in sorted(decisions, key=_whole)}.values(), key=lambda d: d.order)


def _whole(decision: Decision) -> str:
    return json_line(_entry(decision))


def _entry(decision: Decision) -> dict:
    plain = {name: getattr(decision, name) for name in _FIELDS}
    return {name: value for name, value in plain.items() if name in _NEEDED or value}


def append(file: Path, decision: Decision) -> None:
    """Adds a line; it is on disk when this returns. A line cut short before it is closed first, so that it costs nothing
    but itself. UserError: the file cannot be written."""
    line = json_line(_entry(decision)).encode() + b"\n"
    try:
        with _alone(file), file.open("a+b", buffering=0) as lines:
            if end := lines.seek(0, os.SEEK_END):
                lines.seek(end - 1)
                line = line if lines.read(1) == b"\n" else b"\n" + line
            written = lines.write(line)
            while written < len(line):  # a disk that is nearly full takes a part
                written += lines.write(line[written:])
            os.fsync(lines.fileno())
    except OSError as error:
        place = paths.display_path(file)
        raise UserError(
            f"{place} cannot be written ({error.strerror or error}); nothing was decided, free its place"
        ) from error


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    try:
        with FileLock(file.with_name("reviews.lock"), timeout=_WAIT):
            yield
    except Timeout as error:
        raise UserError(f"{paths.display_path(file)} is being written by another reviewer; try again") from error


def merge(sources: Iterable[str | Path], target: str | Path) -> int:
    """Writes the decisions of several reviews.jsonl as one, each once, and returns their number. The order of the sources
    does not matter, and the target may be one of them. UserError: a source is not there or has broken lines, or the target
    cannot be written."""
    found: list[Decision] = []
    target = paths.resolve(target)
    for source in map(paths.resolve, sources):
        if not source.is_file():
            raise UserError(f"{paths.display_path(source)} is not there: name the {FILE} of a reviewer")
        decisions, broken = read(source)
        if broken:
            raise UserError(f"{paths.display_path(source)}: {broken} of its lines cannot be read; take them out, then merge")
        found += decisions
    whole = ordered(found)
    with _alone(target), atomic_write(target) as file:
        file.writelines(json_line(_entry(decision)) + "\n" for decision in whole)
    return len(whole)


# --- what stands -----------------------------------------------------------------------------------------------------


def new(known: list[Decision], who: str, what: str, **said: object) -> Decision:
    """A decision of now, later than all that the reviewer decided before, whatever the clock says."""
    last = max((d.when for d in known if d.who == who), default="")
    now = datetime.now(UTC)
    if last and (after := datetime.fromisoformat(last) + timedelta(microseconds=1)) > now:
        now = after
    return Decision(uuid.uuid4().hex, who=who, when=now.isoformat(timespec="microseconds"), what=what, **said)


def standing(decisions: Iterable[Decision]) -> list[Decision]:
    """The decisions that were not taken back, each reviewer's own undos counting alone."""
    decisions = ordered(decisions)
    undone = {(d.who, d.undoes) for d in decisions if d.what == "undo"}
    return [d for d in decisions if d.what != "undo" and (d.who, d.key) not in undone]


def verdicts(decisions: Iterable[Decision], hashes: dict[str, str]) -> dict[str, dict[str, Verdict]]:
    """Sample id -> reviewer -> verdict, of the decisions on conversations as they are now (id -> sha256 in `hashes`)."""
    found: dict[str, dict[str, Verdict]] = {}
    for decision in standing(decisions):
        if hashes.get(decision.id) == decision.sha256:
            _count(found.setdefault(decision.id, {}).setdefault(decision.who, Verdict()), decision)
    return found


def _count(verdict: Verdict, decision: Decision) -> None:
    if decision.what == "fix":
        verdict.fixes[decision.turn, decision.part] = decision.text
        verdict.state = "fixed"
    elif decision.text:
        verdict.comments.append(decision.text)
    if decision.what == "accept":
        verdict.state = "fixed" if verdict.fixes else "accepted"
    elif decision.what == "reject":
        verdict.state = "rejected"


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """What all reviewers of a sample come to. Who only commented has no vote; where the others differ, it is disputed."""
    verdicts = list(verdicts)
    votes = [verdict for verdict in verdicts if verdict.state != "unreviewed"]
    comments = [text for verdict in verdicts for text in verdict.comments]
    if not votes:
        return Verdict(comments=comments)
    alike = all(_vote(verdict) == _vote(votes[0]) for verdict in votes)
    return replace(votes[0], comments=comments) if alike else Verdict("disputed", {}, comments)


def _vote(verdict: Verdict) -> tuple:
    return verdict.state, verdict.fixes if verdict.state == "fixed" else {}


def fixed(conversation: list[dict[str, str]], fixes: dict[tuple[int, str], str]) -> list[dict[str, str]]:
    """A conversation with fixes put in. UserError: a fix is for a turn that is not there, or breaks the form."""
    turns = [dict(part) for part in conversation]
    for (turn, part), text in fixes.items():
        place = 2 * (turn - 1) + (part == "answer")
        if part not in ("question", "answer") or not 0 <= place < len(turns):
            raise UserError(f"a fix is for the {part or 'part'} of turn {turn}, of {len(turns) // 2} turns")
        turns[place]["value"] = text + f"\n{IMAGE}" if place == 0 else text
    if wrong := problems(turns):
        raise UserError(f"the fix breaks the conversation's form: {'; '.join(wrong)}")
    return turns


def reviewed(folder: Path, conversations: Iterable[Conversation], which: str) -> Iterator[Conversation]:
    """The conversations of a run that its reviewers let pass (see REVIEWED), with fixes put in.

    UserError: reviews.jsonl cannot be read, or holds a fix that cannot be put in.
    """
    entries = [conversation.to_llava() for conversation in conversations]
    decided = verdicts(read(folder / FILE)[0], {entry["id"]: fingerprint(entry["conversations"]) for entry in entries})
    passing = {"accepted", "fixed"} | ({"unreviewed"} if which == "unrejected" else set())
    for entry in entries:
        verdict = together(decided.get(entry["id"], {}).values())
        if verdict.state in passing:
            fixes = verdict.fixes if verdict.state == "fixed" else {}
            yield Conversation.from_llava(entry | {"conversations": fixed(entry["conversations"], fixes)})
