"""Findings and traces of a conversation, and their collector for one answer."""

from typing import NamedTuple

from retinal_lib.check.language.lexicon import Reading, Term
from retinal_lib.check.language.negation import cues
from retinal_lib.facts import Fact

ERROR, WARNING = "error", "warning"


class Finding(NamedTuple):
    """One thing that is wrong. `turn` counts question and answer pairs from 1; `part` is question or answer; `span` is where
    it is said in that text (0, 0: the text as a whole); `text` is a sentence for a reader; `fact` the one it stands against."""

    kind: str
    severity: str
    turn: int
    span: tuple[int, int]
    text: str
    fact: Fact | None = None
    part: str = "answer"


class Trace(NamedTuple):
    """A number or claim and the fact that holds it: `said` at `span` of the answer of `turn`."""

    turn: int
    span: tuple[int, int]
    said: str
    kind: str  # number or claim
    fact: Fact


def finding_entry(finding: Finding) -> dict:
    """A finding as lineage.jsonl and reviews.jsonl keep it."""
    kept = {"kind": finding.kind, "severity": finding.severity, "turn": finding.turn, "part": finding.part}
    return {**kept, "span": list(finding.span), "text": finding.text}


def trace_entry(trace: Trace) -> dict:
    """A number or claim with the cell that holds it and what stands there."""
    fact = trace.fact
    value = fact.value if isinstance(fact.value, str | int | float) else list(fact.value)
    kept = {"turn": trace.turn, "span": list(trace.span), "said": trace.said, "is": trace.kind, "fact": fact.name}
    if trace.kind == "claim":
        kept |= {"label": fact.words or fact.text, "aspect": fact.aspect}
    return {**kept, "file": fact.source.file, "row": fact.source.row, "column": fact.source.column, "value": value}


def is_error(finding: dict) -> bool:
    """Whether a finding as kept is an error."""
    return finding["severity"] == ERROR


class Heard:
    """Collects what readers find in the answer of a turn."""

    __slots__ = ("findings", "text", "traces", "turn", "words")

    def __init__(self, turn: int, text: Reading):
        self.turn, self.text, self.words = turn, text, text.words
        self.findings: list[Finding] = []
        self.traces: list[Trace] = []

    def add(self, kind: str, term: Term, text: str, fact: Fact | None = None, severity: str = ERROR) -> None:
        """A finding about what a term says."""
        span = self.text.span(term.first, term.last) if term.last else (0, 0)
        self.findings.append(Finding(kind, severity, self.turn, span, text, fact))

    def trace(self, term: Term, fact: Fact) -> None:
        """A claim that a fact holds."""
        self.traces.append(Trace(self.turn, self.text.span(term.first, term.last), self.said(term), "claim", fact))

    def said(self, term: Term) -> str:
        """A term as it is written."""
        return self.text.said(term.first, term.last)

    def polarity(self, term: Term, reach: int = 99) -> str:
        """yes, no or open for what a term names; `reach` says how many words before it may negate it."""
        return cues(self.text).polarity(term, self.text.sentence(term), reach)
