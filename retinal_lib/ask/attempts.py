"""What replies make of an image: the one state it ends in. All ways of asking, now and later, end here."""

from dataclasses import dataclass, replace
from functools import cache
from string import Template
from typing import NamedTuple

from retinal_lib import conversation
from retinal_lib.ask.vault import ImageState, Reply
from retinal_lib.check import conversation_check as check
from retinal_lib.check.findings import Finding, finding_entry, trace_entry
from retinal_lib.paths import PACKAGE
from retinal_lib.teacher import reply_parser
from retinal_lib.teacher.teachers import Request, Teacher


@dataclass(frozen=True)
class Entry:
    """One image of a plan: its state so far, and the request where it is to be asked for."""

    row: ImageState
    request: Request | None = None


class Limits(NamedTuple):
    """How often an image is asked for where replies cannot be used, and how often findings are sent back."""

    attempts: int
    repairs: int


class Attempts:
    """Reads the replies of one image in order; `request` is what is to be asked next, as long as it is `open`."""

    def __init__(self, row: ImageState, request: Request, teacher: Teacher, limits: Limits):
        self.row, self.request, self.teacher, self.limits = row, request, teacher, limits
        self.accepted = False
        self._unusable = self._faulty = self._read = 0

    @property
    def open(self) -> bool:
        """Whether another reply may change the image's state."""
        return not self.accepted and self._unusable < self.limits.attempts and self._faulty <= self.limits.repairs

    @property
    def attempt(self) -> int:
        """The number of the next reply."""
        return self._read + 1

    def take_all(self, known: list[Reply]) -> "Attempts":
        """Reads the replies on hand, until one is accepted."""
        for reply in known:
            self.take(reply)
            if self.accepted:
                break
        return self

    def take(self, reply: Reply) -> None:
        """Reads a reply into its image's state: accepted, or rejected with the reason."""
        row, reading = self.row, self.teacher.read(reply.raw)
        bill = {"channel": reply.channel, **reading.tokens, "used": False}
        row.usage.append(bill)
        row.state, row.reason, self._read = "rejected", reading.problem, reply.attempt
        row.attempt, row.request_id, row.model = reply.attempt, reply.request_id, reading.model
        try:
            turns = [] if reading.problem else reply_parser.parse(reading.text)
        except reply_parser.Unparsable as error:
            row.reason = f"the reply is no conversation: {error}"
        if row.reason:
            self._unusable += 1
            return
        said = conversation.to_llava(turns)
        checked = check.examine(said, self.request.case, self.request.track, self.request.style)
        row.findings = [finding_entry(finding) for finding in checked.findings]
        if wrong := check.errors(checked.findings):
            self._fault(reading.text, wrong)
            return
        row.state, bill["used"], self.accepted = "accepted", True, True
        row.conversation, row.traces = said, [trace_entry(trace) for trace in checked.traces]

    def _fault(self, text: str, wrong: list[Finding]) -> None:
        """Keeps what is wrong, and puts it to the teacher in one more turn."""
        self._faulty += 1
        row = self.row
        row.repairs.append({"attempt": row.attempt, "findings": row.findings})
        row.reason = "the checks found " + ", ".join(sorted({f.kind for f in wrong}))
        told = "\n".join(dict.fromkeys(f"- turn {f.turn}, {f.part}: {f.text}" for f in wrong))
        turn = (text, Template(_repair()).substitute(findings=told).strip())
        self.request = replace(self.request, turns=(*self.request.turns, turn))


@cache
def _repair() -> str:
    return (PACKAGE / "teacher" / "prompts" / "repair.txt").read_text(encoding="utf-8")
