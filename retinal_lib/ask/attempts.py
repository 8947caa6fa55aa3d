"""The state of an image given the teacher's replies so far. All modes, asking now and later, end here."""

from dataclasses import replace
from functools import cache
from string import Template
from typing import NamedTuple

from retinal_lib import conversation
from retinal_lib.ask.vault import ImageState, Reply
from retinal_lib.check import conversation_check as check
from retinal_lib.check.findings import Finding, finding_entry, trace_entry
from retinal_lib.teacher import prompt, reply_parser
from retinal_lib.teacher.teachers import Request, Teacher


class AttemptLimits(NamedTuple):
    """How often an image is asked for where replies cannot be used, and how often findings are sent back."""

    attempts: int
    repairs: int


class Attempts:
    """Reads the replies to one image's requests in order into its state; `request` is what is to be asked next, as long as
    it is `open`."""

    def __init__(self, row: ImageState, request: Request, teacher: Teacher, limits: AttemptLimits):
        self.row, self.request, self.teacher, self.limits = row, request, teacher, limits
        self.accepted = False
        self._unusable = self._faulty = self._read = 0

    @property
    def open(self) -> bool:
        """Whether another reply may change the image's state."""
        return not self.accepted and self._unusable < self.limits.attempts and self._faulty <= self.limits.repairs

    @property
    def attempt(self) -> int:
        """The number of the next reply, from 1."""
        return self._read + 1

    def add_all(self, replies: list[Reply]) -> "Attempts":
        """Reads the replies on hand, until one is accepted."""
        for reply in replies:
            self.add(reply)
            if self.accepted:
                break
        return self

    def add(self, reply: Reply) -> None:
        """Reads a reply: the image is then accepted, or rejected with the reason."""
        row, read = self.row, self.teacher.read(reply.raw)
        usage = {"channel": reply.channel, **read.tokens, "used": False}
        row.usage.append(usage)
        row.state, row.reason, self._read = "rejected", read.problem, reply.attempt
        row.attempt, row.request_id, row.model = reply.attempt, reply.request_id, read.model
        try:
            turns = [] if read.problem else reply_parser.parse(read.text)
        except reply_parser.Unparsable as error:
            row.reason = f"the reply is no conversation: {error}"
        if row.reason:
            self._unusable += 1
            return
        exported = conversation.to_llava(turns)
        checked = check.examine(exported, self.request.case, self.request.track, self.request.style)
        row.findings = [finding_entry(finding) for finding in checked.findings]
        if errors := check.errors(checked.findings):
            self._send_back(read.text, errors)
            return
        row.state, usage["used"], self.accepted = "accepted", True, True
        row.conversation, row.traces = exported, [trace_entry(trace) for trace in checked.traces]

    def _send_back(self, text: str, errors: list[Finding]) -> None:
        """Keeps what is wrong, and puts it to the teacher in one more turn."""
        self._faulty += 1
        row = self.row
        row.repairs.append({"attempt": row.attempt, "findings": row.findings})
        row.reason = "the checks found " + ", ".join(sorted({f.kind for f in errors}))
        findings = "\n".join(dict.fromkeys(f"- turn {f.turn}, {f.part}: {f.text}" for f in errors))
        turn = (text, Template(_repair()).substitute(findings=findings).strip())
        self.request = replace(self.request, turns=(*self.request.turns, turn))


@cache
def _repair() -> str:
    return (prompt.PROMPTS / "repair.txt").read_text(encoding="utf-8")
