"""Findings and traces, their collector for one text, and the base class of the checks."""

from typing import NamedTuple

from retinal_lib.check.case_profile import CaseProfile
from retinal_lib.check.language.lexicon import ParsedText, Tokens
from retinal_lib.check.quantity_index import QuantityIndex
from retinal_lib.facts import Fact

ERROR, WARNING = "error", "warning"


class Finding(NamedTuple):
    """One problem of a conversation. `turn` counts pairs of question and answer from 1; `part` is question or answer; `span` is
    (start, end) in that text in characters, (0, 0) for the whole text; `text` is a sentence; `fact` the contradicted fact."""

    kind: str
    severity: str
    turn: int
    span: tuple[int, int]
    text: str
    fact: Fact | None = None
    part: str = "answer"


class Trace(NamedTuple):
    """A number or claim in an answer and the fact that supports it; `text` lies at `span` of the answer of `turn`."""

    turn: int
    span: tuple[int, int]
    text: str
    kind: str  # number or claim
    fact: Fact


def finding_entry(finding: Finding) -> dict:
    """Returns a finding as an entry of lineage.jsonl and reviews.jsonl."""
    entry = {"kind": finding.kind, "severity": finding.severity, "turn": finding.turn, "part": finding.part}
    return {**entry, "span": list(finding.span), "text": finding.text}


def trace_entry(trace: Trace) -> dict:
    """Returns a trace as an entry of lineage.jsonl, with the table cell that supports it and its value."""
    fact = trace.fact
    value = fact.value if isinstance(fact.value, str | int | float) else list(fact.value)
    entry = {"turn": trace.turn, "span": list(trace.span), "said": trace.text, "is": trace.kind, "fact": fact.name}
    if trace.kind == "claim":
        entry |= {"label": fact.words or fact.text, "aspect": fact.aspect}
    return {**entry, **fact.source.as_row(), "value": value}


def is_error(finding: dict) -> bool:
    """Says whether an entry made by `finding_entry` is an error."""
    return finding["severity"] == ERROR


class AnswerFindings:
    """Collector of the findings and traces of one answer, or of one question where `part` says so."""

    def __init__(self, turn: int, text: ParsedText, part: str = "answer"):
        self.turn, self.text, self.part = turn, text, part
        self.findings: list[Finding] = []
        self.traces: list[Trace] = []

    def add(self, kind: str, at: Tokens, text: str, fact: Fact | None = None, severity: str = ERROR) -> None:
        """Adds a finding about a term, an amount or other tokens."""
        self.add_at(kind, self.text.span(at), text, fact, severity)

    def add_at(self, kind: str, span: tuple[int, int], text: str, fact: Fact | None = None, severity: str = ERROR) -> None:
        """Adds a finding about a span of characters."""
        self.findings.append(Finding(kind, severity, self.turn, span, text, fact, self.part))

    def trace(self, at: Tokens, fact: Fact, kind: str = "claim") -> None:
        """Adds a claim, or a number, that a fact supports."""
        self.traces.append(Trace(self.turn, self.text.span(at), self.text.text_of(at), kind, fact))


class Check:
    """Base class of the checks. A check gets the questions and answers of one conversation in order."""

    def __init__(self, profile: CaseProfile, index: QuantityIndex):
        self.profile, self.index = profile, index

    def question(self, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks a question; most checks ignore questions."""

    def answer(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks an answer to a question; adds findings and traces."""
        raise NotImplementedError


def but_fact(fact: Fact | None) -> str:
    """Returns the second half of a finding's sentence: what a fact says instead, or that no fact says so."""
    return f"but {fact.text}" if fact else "but no fact says so"
