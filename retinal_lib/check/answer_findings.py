"""One answer being read: its findings, and what is traced to facts."""

from retinal_lib.check.findings import ERROR, Finding, Trace
from retinal_lib.check.language.lexicon import Reading, Term
from retinal_lib.check.language.negation import cues
from retinal_lib.facts import Fact


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
