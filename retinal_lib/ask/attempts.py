"""The state of an image given the teacher's replies so far, for all modes."""

from dataclasses import replace
from functools import cache
from string import Template
from typing import NamedTuple

from retinal_lib import conversation
from retinal_lib.ask.vault import ImageState, Reply
from retinal_lib.check import conversation_check
from retinal_lib.check.findings import Finding, finding_entry, trace_entry
from retinal_lib.teacher import prompt, reply_parser
from retinal_lib.teacher.teachers import Request, Teacher


class AttemptLimits(NamedTuple):
    """How often an image is asked for where replies are unusable, and how often findings are sent back."""

    attempts: int
    repairs: int


class Attempts:
    """The attempts at one image, whose replies are read in order into its state; `request` is the next one to send, as long as
    attempts are `open`."""

    def __init__(self, row: ImageState, request: Request, teacher: Teacher, limits: AttemptLimits):
        self.row, self.request, self.teacher, self.limits = row, request, teacher, limits
        self.accepted = False
        self._unusable = self._faulty = self._read = 0

    @property
    def open(self) -> bool:
        """Says whether another reply may change the image's state."""
        return not self.accepted and self._unusable < self.limits.attempts and self._faulty <= self.limits.repairs

    @property
    def attempt(self) -> int:
        """The number of the next reply, from 1."""
        return self._read + 1

    def add_all(self, replies: list[Reply]) -> "Attempts":
        """Reads stored replies, until one is accepted."""
        for reply in replies:
            self.add(reply)
            if self.accepted:
                break
        return self

    def add(self, reply: Reply) -> None:
        """Reads a reply: the image is then accepted, or rejected with the reason."""
        row, parsed = self.row, self.teacher.read(reply.raw)
        usage = {"channel": reply.channel, **parsed.tokens, "used": False}
        row.usage.append(usage)
        row.state, row.reason, self._read = "rejected", parsed.problem, reply.attempt
        row.attempt, row.request_id, row.model = reply.attempt, reply.request_id, parsed.model
        try:
            turns = [] if parsed.problem else reply_parser.parse(parsed.text)
        except reply_parser.Unparsable as error:
            row.reason = f"the reply is no conversation: {error}"
        if row.reason:
            self._unusable += 1
            return
        exported = conversation.to_llava(turns)
        checked = conversation_check.examine(exported, self.request.case, self.request.track, self.request.style)
        row.findings = [finding_entry(finding) for finding in checked.findings]
        if errors := conversation_check.errors(checked.findings):
            self._send_back(parsed.text, errors)
            return
        row.state, usage["used"], self.accepted = "accepted", True, True
        row.conversation, row.traces = exported, [trace_entry(trace) for trace in checked.traces]

    def _send_back(self, text: str, errors: list[Finding]) -> None:
        """Stores the findings, and adds a turn with them to the request."""
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
