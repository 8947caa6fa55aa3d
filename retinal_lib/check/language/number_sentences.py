"""A sentence with numbers: the terms that may name them by kind, and the runs of numbers that are told as one list."""

from itertools import pairwise

from retinal_lib.check.language.lexicon import Reading, Term
from retinal_lib.check.language.numbers import Amount

KINDS = ("measures", "vessels", "zones", "formulas", "orientations", "conditions")
CONTRASTS = frozenset("against versus vs compared than".split())  # words between two numbers that are held against each other
# what may stand between the numbers of one run
_JOINED = frozenset("and or , versus vs / & – — to µm respectively mm % by x × against degree µ".split())
_BRACKETS = frozenset("( ) ;".split())
_ENDS = frozenset("; : ( )".split())


class Sentence:
    """The amounts `found` in one sentence of a text, and its `terms`, by kind in `kinds`; `spoken` are the kinds that occur."""

    __slots__ = ("_ends", "bracketed", "found", "kinds", "run_of", "runs", "sentence", "spoken", "terms", "text", "words")

    def __init__(self, text: Reading, sentence: range, found: list[Amount]):
        self.text, self.words, self.sentence, self.found = text, text.words, sentence, found
        self.kinds: dict[str, list[Term]] = {}
        self.terms: list[Term] = []
        inner = {k for a in found for k in range(a.first + 1, a.last)}  # what stands within an amount names nothing
        for kind in KINDS:
            terms = [t for t in text.within(kind, sentence) if t.first not in inner]
            self.kinds[kind] = terms
            self.terms += terms
        self.spoken = [kind for kind in KINDS if self.kinds[kind]]
        self.runs = self._runs() if len(found) > 1 else []
        self.run_of = {i: run for run in self.runs for i in run}
        self.bracketed = text.has(_BRACKETS)
        self._ends: list[int] | None = None

    def between(self, kind: str, first: int, last: int) -> list[Term]:
        """The terms of a kind that lie between two tokens."""
        return [t for t in self.kinds[kind] if first <= t.first and t.last <= last]

    def start(self, i: int, posts: list[int]) -> int:
        """Where what may name amount i begins: after what belongs to the one before it."""
        return posts[i - 1] if i else self.sentence.start

    def stop(self, i: int) -> int:
        """Where what may name amount i ends: at the next one."""
        return self.found[i + 1].first if i + 1 < len(self.found) else self.sentence.stop

    def group(self, at: int) -> range:
        """The part of the sentence between semicolons, colons and brackets that a token stands in."""
        if self._ends is None:
            self._ends = [k for k in self.sentence if self.words[k] in _ENDS] if self.text.has(_ENDS) else []
        first, last = self.sentence.start, self.sentence.stop
        for k in self._ends:
            if k < at:
                first = k + 1
            elif k > at:
                last = k
                break
        return range(first, last)

    def in_brackets(self, at: int) -> bool:
        """Whether a token stands in brackets."""
        before = self.words[self.sentence.start : at]
        return before.count("(") > before.count(")")

    def _runs(self) -> list[list[int]]:
        """Amounts that follow each other with nothing but commas and the like between."""
        runs = [[0]]
        for i, (a, b) in enumerate(pairwise(self.found), start=1):
            if self._joined(a, b):
                runs[-1].append(i)
            else:
                runs.append([i])
        return [run for run in runs if len(run) > 1]

    def _joined(self, a: Amount, b: Amount) -> bool:
        between = self.words[a.last : b.first]
        same = bool(a.edges) == bool(b.edges) and (not a.unit or a.unit == b.unit or not b.whole)
        if same and _JOINED.issuperset(between):
            return True
        if len(between) > 3 or CONTRASTS.isdisjoint(between):
            return False
        return not any(a.last <= t.first < b.first for t in self.terms if t.kind != "measures")


def distinct(terms: list[Term]) -> list[Term]:
    """The first terms of each meaning."""
    chosen: list[Term] = []
    for term in terms:
        if all(set(term.values).isdisjoint(other.values) for other in chosen):
            chosen.append(term)
    return chosen
