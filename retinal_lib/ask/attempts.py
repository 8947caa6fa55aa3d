"""The state of an image given the teacher's replies so far, for all modes."""

from dataclasses import replace
from functools import cache
from string import Template
from typing import NamedTuple

from retinal_lib import conversation
from retinal_lib.ask.vault import ImageState, Reply
from retinal_lib.check import conversation_check
from retinal_lib.check.conversation_check import Checked
from retinal_lib.check.findings import Finding, finding_entry, trace_entry
from retinal_lib.closed_questions import run_questions
from retinal_lib.slots import filling, slot_check
from retinal_lib.teacher import prompt, reply_parser
from retinal_lib.teacher.teachers import Request, Teacher


class AttemptLimits(NamedTuple):
    """How often an image is asked for where replies are unusable, and how often findings are sent back."""

    attempts: int
    repairs: int


class Attempts:
    """The attempts at one image, whose replies are read in order into its state; `request` is the next one to send, as long as
    attempts are `open`.

    A reply without slots is sent back once with the request to write slots. It is read as free text, and stands where what
    comes then is not accepted.
    """

    def __init__(self, row: ImageState, request: Request, teacher: Teacher, limits: AttemptLimits):
        self.row, self.request, self.teacher, self.limits = row, request, teacher, limits
        self.accepted = False
        self._unusable = self._faulty = self._read = 0
        self._free: _Read | None = None  # the reply that was sent back since it has no slots

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
            self._fall_back()
            return
        read = self._checked(turns, parsed.text, usage)
        row.findings = [finding_entry(finding) for finding in read.checked.findings]
        if usage["form"] == "free" and self.limits.repairs and self._free is None:
            self._free = read
            row.reason = "the reply has no slots"
            self._send(parsed.text, _text("slots"))
        elif errors := conversation_check.errors(read.checked.findings):
            self._send_back(parsed.text, errors)
            self._fall_back()
        else:
            self._accept(read)

    def _checked(self, turns: list[conversation.Turn], text: str, usage: dict) -> "_Read":
        """Fills and checks a conversation, and notes its form."""
        usage["form"], exported, checked = examine(turns, self.request)
        row = self.row
        return _Read(exported, checked, usage, (row.attempt, row.request_id, row.model))

    def _accept(self, read: "_Read") -> None:
        row = self.row
        row.state, row.reason, read.usage["used"], self.accepted = "accepted", "", True, True
        row.attempt, row.request_id, row.model = read.origin
        row.findings = [finding_entry(finding) for finding in read.checked.findings]
        row.conversation, row.traces = read.conversation, [trace_entry(trace) for trace in read.checked.traces]

    def _fall_back(self) -> None:
        """Takes the reply that had no slots, where it is sound."""
        if self._free is not None and not conversation_check.errors(self._free.checked.findings):
            self._accept(self._free)

    def _send_back(self, text: str, errors: list[Finding]) -> None:
        """Stores the findings, and adds a turn with them to the request."""
        self._faulty += 1
        row = self.row
        row.repairs.append({"attempt": row.attempt, "findings": row.findings})
        row.reason = "the checks found " + ", ".join(sorted({f.kind for f in errors}))
        findings = "\n".join(dict.fromkeys(f"- turn {f.turn}, {f.part}: {f.text}" for f in errors))
        self._send(text, Template(_text("repair")).substitute(findings=findings))

    def _send(self, text: str, answer: str) -> None:
        """Adds a reply, and what is said to it, to the request."""
        self.request = replace(self.request, turns=(*self.request.turns, (text, answer.strip())))


def examine(turns: list[conversation.Turn], request: Request) -> tuple[str, list[dict[str, str]], Checked]:
    """Fills and checks a reply's turns: by their slots, where they have any, else as free text. Returns its form (closed,
    slotted or free), the conversation as exported, and what the checks found."""
    if request.asked:
        return "closed", *run_questions.examine(turns, request.asked, request.case)
    if filling.is_slotted(turn.answer for turn in turns):
        exported, checked = slot_check.examine(turns, request.sheet, request.track, request.style)
        return "slotted", exported, checked
    exported = conversation.to_llava(turns)
    return "free", exported, conversation_check.examine(exported, request.case, request.track, request.style)


class _Read(NamedTuple):
    """A reply as it was read: the conversation, what the checks found, its entry of `usage`, and attempt, id and model."""

    conversation: list[dict[str, str]]
    checked: Checked
    usage: dict
    origin: tuple[int, str, str]


@cache
def _text(name: str) -> str:
    """What is said to a reply that is sent back."""
    return (prompt.PROMPTS / f"{name}.txt").read_text(encoding="utf-8")
