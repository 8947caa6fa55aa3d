"""What closed questions ask, and in which words; those of exams and those to train on are kept apart by seed."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from retinal_lib.files import sha256
from retinal_lib.parsing import packaged_yaml

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


@cache
def words() -> dict:
    """Reads wording.yaml: questions, how answers are asked for, and which measurements and qualities are asked for."""
    return packaged_yaml(Path(__file__).with_name("wording.yaml"))


def phrasings(kind: str, seed: int, exam: bool) -> list[str]:
    """Returns the phrasings of a kind of question: a third of them for exams, the others to train on, parted by seed.

    >>> exam, training = (set(phrasings("grade", 3, exam)) for exam in (True, False))
    >>> len(exam), len(training), len(exam & training)
    (4, 10, 0)
    """
    every = sorted(words()["questions"][kind], key=lambda phrase: sha256(f"{seed} {phrase}"))
    first = max(1, len(every) // 3)
    return every[:first] if exam else every[first:]


def of(kind: str, key: str, seed: int, exam: bool = False, **slots: object) -> str:
    """Returns a question of a kind with its slots filled; `key` and `seed` choose the phrasing."""
    choices = phrasings(kind, seed, exam)
    phrase = choices[int(sha256(f"{seed} {key}")[:8], 16) % len(choices)]
    name = str(slots.get("name", ""))
    return phrase.format(**slots, Name=name[:1].upper() + name[1:])
