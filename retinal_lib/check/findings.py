"""Findings and traces of a conversation, their collector for one text, and the form that each check has."""

from typing import NamedTuple

from retinal_lib.check.case_profile import CaseProfile
from retinal_lib.check.language.lexicon import Reading, Tokens
from retinal_lib.check.ledger import Ledger
from retinal_lib.facts import Fact

ERROR, WARNING = "error", "warning"


class Finding(NamedTuple):
    """One thing that is wrong. `turn` counts question and answer pairs from 1; `part` is question or answer; `span` is where
    it stands in that text ((0, 0): the text as a whole); `text` is a sentence for a reader; `fact` the one it contradicts."""

    kind: str
    severity: str
    turn: int
    span: tuple[int, int]
    text: str
    fact: Fact | None = None
    part: str = "answer"


class Trace(NamedTuple):
    """A number or claim and the fact that supports it: `text` at `span` of the answer of `turn`."""

    turn: int
    span: tuple[int, int]
    text: str
    kind: str  # number or claim
    fact: Fact


def finding_entry(finding: Finding) -> dict:
    """Returns a finding as lineage.jsonl and reviews.jsonl keep it."""
    kept = {"kind": finding.kind, "severity": finding.severity, "turn": finding.turn, "part": finding.part}
    return {**kept, "span": list(finding.span), "text": finding.text}


def trace_entry(trace: Trace) -> dict:
    """Returns a number or claim as lineage.jsonl keeps it: with the cell that supports it and the value there."""
    fact = trace.fact
    value = fact.value if isinstance(fact.value, str | int | float) else list(fact.value)
    kept = {"turn": trace.turn, "span": list(trace.span), "said": trace.text, "is": trace.kind, "fact": fact.name}
    if trace.kind == "claim":
        kept |= {"label": fact.words or fact.text, "aspect": fact.aspect}
    return {**kept, **fact.source.as_row(), "value": value}


def is_error(finding: dict) -> bool:
    """Says whether a finding as kept is an error."""
    return finding["severity"] == ERROR


class AnswerFindings:
    """Collects the findings and traces of one answer, or of one question where `part` says so."""

    def __init__(self, turn: int, text: Reading, part: str = "answer"):
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
    """One check of a conversation against the facts of its case: it reads the questions and answers in order."""

    def __init__(self, profile: CaseProfile, ledger: Ledger):
        self.profile, self.ledger = profile, ledger

    def question(self, question: Reading, findings: AnswerFindings) -> None:
        """Reads a question; most checks judge answers alone."""

    def answer(self, answer: Reading, question: Reading, findings: AnswerFindings) -> None:
        """Reads an answer and the question before it; adds what is wrong, and what facts support."""
        raise NotImplementedError


def but_fact(fact: Fact | None) -> str:
    """Returns the second half of a finding's sentence: what a fact says instead, or that no fact says so."""
    return f"but {fact.text}" if fact else "but no fact says so"
