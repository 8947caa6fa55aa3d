"""Reviewers' decisions, one line each in reviews.jsonl: lines are only added, and the file stays readable after any crash."""

import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from retinal_lib import paths, typed_paths
from retinal_lib.conversation import IMAGE, problems
from retinal_lib.display import count
from retinal_lib.errors import UserError
from retinal_lib.files import atomic_write, json_line, json_lines, sha256
from retinal_lib.text.reply_text import plain

FILE = "reviews.jsonl"
ACTIONS = ("accept", "reject", "fix", "comment", "undo")
STATES = ("unreviewed", "accepted", "fixed", "rejected", "disputed")  # disputed: reviewers differ
REVIEWED = {
    "accepted": "only what reviewers accepted or fixed",
    "unrejected": "that, and what nobody has reviewed yet",
}
_WHEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
_WAIT = 10  # seconds to wait while another reviewer writes


@dataclass(frozen=True)
class Decision:
    """One decision of a reviewer (`who`) on a sample, where `sha256` is that of the conversation as the run wrote it. A fix
    replaces the `part` (question or answer) of `turn` by `text`; for other decisions, `text` is the comment. An undo names the
    `key` of the decision that it takes back."""

    key: str
    id: str
    sha256: str
    who: str
    when: str  # UTC, in microseconds; increases with each decision of a reviewer
    what: str
    turn: int = 0
    part: str = ""
    text: str = ""
    undoes: str = ""
    checks: int = 0  # of a fix: the version of the checks that passed it
    findings: list[dict] = field(default_factory=list)  # of a fix: the warnings that remain

    @property
    def order(self) -> tuple[str, str]:
        """The key by which decisions are sorted."""
        return self.when, self.key


_FIELDS = tuple(field.name for field in fields(Decision))
_REQUIRED = ("key", "id", "sha256", "who", "when", "what")


@dataclass
class Verdict:
    """The result of a reviewer's decisions on a sample: the state (unreviewed if there are only comments), the fixes as
    {(turn, part): text}, and the comments."""

    state: str = "unreviewed"
    fixes: dict[tuple[int, str], str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)


def conversation_hash(conversation: list[dict[str, str]]) -> str:
    """Returns the sha256 by which a decision identifies its conversation."""
    return sha256(json_line(conversation))


# --- the file --------------------------------------------------------------------------------------------------------


def read(file: Path) -> tuple[list[Decision], list[int]]:
    """Returns the decisions of a file in order, and the numbers of its unreadable lines (an interrupted write leaves one); both
    are empty if there is no such file. UserError: the file cannot be read at all."""
    if not file.exists():
        return [], []
    lines = [(number, _decision(value)) for number, value in json_lines(file)]
    return ordered(decision for _, decision in lines if decision), [number for number, decision in lines if not decision]


def unreadable_text(file: Path, lines: list[int]) -> str:
    """Returns a sentence's beginning on the unreadable lines of a file."""
    more = f" and {count(len(lines) - 1, 'other line')}" if len(lines) > 1 else ""
    return f"{paths.display_path(file)}, line {lines[0]}{more}: no decision can be read there"


def read_whole(file: Path) -> list[Decision]:
    """Returns the decisions of a file in order, where none may be lost. UserError: a line cannot be read: it may reject a
    sample that an earlier line accepts."""
    found, unreadable = read(file)
    if unreadable:
        raise UserError(
            f"{unreadable_text(file, unreadable)}, and it may reject a sample; look which sample it names, remove the line, "
            "and decide on that sample again in review.ipynb"
        )
    return found


def _decision(entry: object) -> Decision | None:
    if (
        not isinstance(entry, dict)
        or not all(isinstance(entry.get(name), str) for name in _REQUIRED)
        or entry["what"] not in ACTIONS
    ):
        return None
    values = {name: entry[name] for name in _FIELDS if name in entry}
    typed = type(values.get("turn", 0)) is int and isinstance(values.get("findings", []), list)
    texts = all(isinstance(values.get(name, ""), str) for name in ("part", "text", "undoes"))
    return Decision(**values) if typed and texts and _is_time(entry["when"]) else None


def _is_time(text: str) -> bool:
    """Whether a text is a time after which others can come."""
    try:
        _ = datetime.fromisoformat(text) + timedelta(days=1)
    except (ValueError, OverflowError):
        return False
    return bool(_WHEN.fullmatch(text))


def ordered(decisions: Iterable[Decision]) -> list[Decision]:
    """Returns each decision once, in the order in which they were made."""
    one_each = {decision.key: decision for decision in sorted(decisions, key=_line)}  # always the same one of two with one key
    return sorted(one_each.values(), key=lambda decision: decision.order)


def _line(decision: Decision) -> str:
    return json_line(_entry(decision)) + "\n"


def _entry(decision: Decision) -> dict:
    plain = {name: getattr(decision, name) for name in _FIELDS}
    return {name: value for name, value in plain.items() if name in _REQUIRED or value}


def append(file: Path, decision: Decision) -> None:
    """Adds a line, which is on disk when the function returns. After an interrupted write, a line feed comes first, so that
    only that line is lost. UserError: the file cannot be written."""
    line = _line(decision).encode()
    try:
        with _locked(file), file.open("a+b", buffering=0) as lines:
            if end := lines.seek(0, os.SEEK_END):
                lines.seek(end - 1)
                line = line if lines.read(1) == b"\n" else b"\n" + line
            written = lines.write(line)
            while written < len(line):  # a nearly full disk may take only a part
                written += lines.write(line[written:])
            os.fsync(lines.fileno())
    except OSError as error:
        raise UserError(
            f"{paths.display_path(file)} cannot be written ({error.strerror or error}), so your decision was not saved; free "
            "disk space or allow writing there, then decide again"
        ) from error


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    try:
        with FileLock(file.with_name("reviews.lock"), timeout=_WAIT):
            yield
    except Timeout as error:
        raise UserError(f"{paths.display_path(file)} is being written by another reviewer; try again") from error


def merge(sources: Iterable[str | Path], target: str | Path) -> int:
    """Writes the decisions of several reviews.jsonl into one file, each once, and returns their number. The order of the
    sources does not matter, and the target may be one of them. UserError: a source does not exist or has unreadable lines,
    or the target cannot be written."""
    merged: list[Decision] = []
    target = typed_paths.resolve(target)
    for source in map(typed_paths.resolve, sources):
        if not source.is_file():
            raise UserError(f"{paths.display_path(source)} does not exist; name a reviewer's {FILE}")
        merged += read_whole(source)
    merged = ordered(merged)
    with _locked(target), atomic_write(target) as file:
        file.writelines(map(_line, merged))
    return len(merged)


# --- verdicts --------------------------------------------------------------------------------------------------------


def new_decision(earlier: list[Decision], who: str, what: str, **fields: object) -> Decision:
    """Returns a decision with the current time, or just after the reviewer's latest one if the clock was set back."""
    last = max((d.when for d in earlier if d.who == who), default="")
    now = datetime.now(UTC)
    if last and (after := datetime.fromisoformat(last) + timedelta(microseconds=1)) > now:
        now = after
    return Decision(uuid.uuid4().hex, who=who, when=now.isoformat(timespec="microseconds"), what=what, **fields)


def not_undone(decisions: Iterable[Decision]) -> list[Decision]:
    """Returns the decisions that their reviewer has not undone, in order."""
    decisions = ordered(decisions)
    undone = {(d.who, d.undoes) for d in decisions if d.what == "undo"}
    return [d for d in decisions if d.what != "undo" and (d.who, d.key) not in undone]


def verdicts(decisions: Iterable[Decision], hashes: dict[str, str]) -> dict[str, dict[str, Verdict]]:
    """Returns sample id -> reviewer -> verdict, from decisions on the current conversations (id -> sha256 in
    `hashes`)."""
    by_sample: dict[str, dict[str, Verdict]] = {}
    for decision in not_undone(decisions):
        if hashes.get(decision.id) == decision.sha256:
            _apply(by_sample.setdefault(decision.id, {}).setdefault(decision.who, Verdict()), decision)
    return by_sample


def _apply(verdict: Verdict, decision: Decision) -> None:
    if decision.what == "fix":
        verdict.fixes[decision.turn, decision.part] = decision.text
        verdict.state = "fixed"
    elif decision.text:
        verdict.comments.append(decision.text)
    if decision.what == "accept":
        verdict.state = "fixed" if verdict.fixes else "accepted"
    elif decision.what == "reject":
        verdict.state = "rejected"


def votes(verdicts: dict[str, Verdict]) -> dict[str, str]:
    """Returns reviewer -> state, for reviewers who gave a verdict."""
    return {who: verdict.state for who, verdict in verdicts.items() if verdict.state != "unreviewed"}


def consensus(verdicts: Iterable[Verdict]) -> Verdict:
    """Returns the verdict of all reviewers of a sample: disputed if they differ. Reviewers who only commented do not count."""
    verdicts = list(verdicts)
    votes = [verdict for verdict in verdicts if verdict.state != "unreviewed"]
    comments = [text for verdict in verdicts for text in verdict.comments]
    if not votes:
        return Verdict(comments=comments)
    equal = all(_vote(verdict) == _vote(votes[0]) for verdict in votes)
    return replace(votes[0], comments=comments) if equal else Verdict("disputed", {}, comments)


def _vote(verdict: Verdict) -> tuple:
    return verdict.state, verdict.fixes if verdict.state == "fixed" else {}


def with_fixes(conversation: list[dict[str, str]], fixes: dict[tuple[int, str], str]) -> list[dict[str, str]]:
    """Returns a conversation with fixes applied. UserError: a fix is for a turn that does not exist, or breaks the form."""
    turns = [dict(part) for part in conversation]
    for (turn, part), text in fixes.items():
        index = 2 * (turn - 1) + (part == "answer")
        if part not in ("question", "answer") or not 0 <= index < len(turns):
            number = count(len(turns) // 2, "turn")
            raise UserError(f"a fix is for the {part or 'part'} of turn {turn}, but the conversation has {number}")
        text = plain(text)
        turns[index]["value"] = text + f"\n{IMAGE}" if index == 0 else text
    if wrong := problems(turns):
        raise UserError(f"the fix breaks the conversation's form: {'; '.join(wrong)}")
    return turns
