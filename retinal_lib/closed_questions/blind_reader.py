"""What readers would score who see the words of closed questions and not the pictures; and how balanced the answers are."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from retinal_lib.closed_questions.wording import CANNOT, KINDS
from retinal_lib.closed_questions.writing import LETTERS, NONE, Asked
from retinal_lib.display import FullTable, count

MOST_ABOVE = 0.03  # above chance, for the best of the readers
_SHOWS = ("yes_no", "eye", "quality")  # kinds whose questions name their options also without letters


class Score(NamedTuple):
    """The questions of a kind, the share that is right by chance, and what three readers score: who takes the answer that is
    most often right for such a question, the longest option, and the place that is right most often."""

    kind: str
    questions: int
    chance: float
    usual: float
    longest: float
    place: float

    @property
    def above(self) -> float:
        """How far the best reader is above chance."""
        return max(self.usual, self.longest, self.place) - self.chance


@dataclass(frozen=True)
class BlindReport:
    """The scores by kind and of all, and the balance: how often each answer or letter is right."""

    scores: tuple[Score, ...]
    balance: dict[str, dict[str, int]]

    @classmethod
    def of(cls, asked: Iterable[Asked]) -> "BlindReport":
        """Reads the questions of a run."""
        asked = list(asked)
        kinds = [kind for kind in KINDS if any(each.kind == kind for each in asked)]
        scores = [_score(kind, [each for each in asked if each.kind == kind]) for kind in kinds]
        total = [_score("all", asked)] if asked else []
        return cls((*scores, *total), _balance(asked))

    @property
    def table(self) -> pd.DataFrame:
        """The scores as a table, in percent."""
        rows = [(s.kind, s.questions, *(round(100 * share, 1) for share in s[2:])) for s in self.scores]
        return FullTable(rows, columns=["kind", "questions", "chance", "usual answer", "longest option", "best place"])

    @property
    def text(self) -> str:
        """The scores and the balance in lines."""
        if not self.scores:
            return ""
        *_, total = self.scores
        lines = [
            f"{count(total.questions, 'closed question')}. In percent, what guessing scores, and what a reader would score who "
            "does not see the picture, by the usual answer, the longest option, the best place:"
        ]
        for s in self.scores:
            shares = ", ".join(f"{100 * share:.0f}" for share in s[2:])
            lines.append(f"  {s.kind}: {count(s.questions, 'question')}: {shares}")
        lines += [f"  right in {name}: {', '.join(f'{k} {n}' for k, n in of.items())}" for name, of in self.balance.items()]
        return "\n".join(lines)

    def manifest(self) -> dict:
        """Returns the report for manifest.json."""
        rounded = [{k: round(v, 4) if isinstance(v, float) else v for k, v in s._asdict().items()} for s in self.scores]
        return {"scores": rounded, "balance": self.balance}


def _score(kind: str, asked: Sequence[Asked]) -> Score:
    shares = (_usual(asked), _longest(asked), _place(asked))
    return Score(kind, len(asked), _mean([each.chance for each in asked]), *shares)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _right(asked: Asked) -> tuple[str, ...]:
    return tuple(sorted(asked.options[place] for place in asked.right))


def _shows_options(asked: Asked) -> bool:
    return asked.form == "letters" or asked.kind in _SHOWS


def _usual(asked: Sequence[Asked]) -> float:
    by: dict[tuple, Counter] = defaultdict(Counter)
    for each in asked:
        shown = frozenset(each.options) if _shows_options(each) else CANNOT in each.options
        by[each.kind, each.subject, each.form, shown][_right(each)] += 1
    return sum(max(counts.values()) for counts in by.values()) / len(asked)


def _longest(asked: Sequence[Asked]) -> float:
    """Where a question shows no options, this reader guesses."""
    scored = []
    for each in asked:
        if not _shows_options(each):
            scored.append(each.chance)
            continue
        most = max(map(len, each.options))
        longest = [option for option in each.options if len(option) == most]
        scored.append(sum(_right(each) == (option,) for option in longest) / len(longest))
    return _mean(scored)


def _place(asked: Sequence[Asked]) -> float:
    by: dict[tuple, Counter] = defaultdict(Counter)
    guessed = 0.0
    for each in asked:
        if _shows_options(each):
            by[each.kind, each.form, len(each.options)][each.right] += 1
        else:
            guessed += each.chance
    return (guessed + sum(max(counts.values()) for counts in by.values())) / len(asked)


def _balance(asked: Sequence[Asked]) -> dict[str, dict[str, int]]:
    """How often each answer is right: yes and no, levels and grades by scale; and each letter."""
    told: dict[str, Counter] = {}
    for each in asked:
        if each.kind in ("yes_no", "eye", "quality", "grade"):
            name = each.subject if each.kind in ("quality", "grade") else each.kind
            told.setdefault(name, Counter())[_right(each)[0]] += 1
        if each.form == "letters":
            letters = told.setdefault("letters", Counter())
            letters.update(LETTERS[place] for place in each.right)
            letters.update([NONE] * (not each.right))
        told.setdefault("all", Counter())[CANNOT if CANNOT in _right(each) else "told"] += 1
    return {name: dict(sorted(counts.items())) for name, counts in told.items()}
