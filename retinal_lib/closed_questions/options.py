"""The kinds of closed questions, and what a run asks."""

from dataclasses import dataclass

KINDS = ("yes_no", "choice", "choices", "count", "eye", "quality", "grade", "measurement", "box")
CANNOT = "cannot tell"


@dataclass(frozen=True)
class Options:
    """What is asked: `kinds`, at most `per_image` questions of an image, the share of questions of which nobody knows the
    answer, and that of blocks whose questions have the same words; `exam`: in the phrasings kept for exams."""

    kinds: tuple[str, ...] = KINDS
    per_image: int = 4
    cannot_tell: float = 0.1
    swapped: float = 0.5
    seed: int = 0
    exam: bool = False
