"""What the checks find in a conversation, and what they trace to a fact."""

from typing import NamedTuple

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
