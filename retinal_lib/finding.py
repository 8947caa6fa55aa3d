"""What the checks find in a conversation, and what they trace to a fact."""

from typing import NamedTuple

from retinal_lib.fact import Fact

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
