"""Lists of numbers in a sentence, and the names of each number of a list."""

from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from retinal_lib.check.language.lexicon import ParsedText, Term, word_lists
from retinal_lib.check.language.numbers import Amount

WORDS = word_lists("number_lists")

KINDS = ("measures", "vessels", "zones", "formulas", "orientations", "conditions")
_BRACKETS = frozenset("( ) ;".split())
_ENDS = frozenset("; : ( )".split())


class Sentence:
    """One sentence of a text with its `amounts` and `terms`, by kind in `kinds`; `kinds_present` are the kinds that occur."""

    def __init__(self, text: ParsedText, sentence: range, amounts: list[Amount], earlier: range = range(0)):
        self.text, self.words, self.sentence, self.amounts = text, text.words, sentence, amounts
        self.kinds: dict[str, list[Term]] = {}
        self.terms: list[Term] = []
        inner = {k for a in amounts for k in range(a.first + 1, a.last)}  # what stands within an amount names nothing
        for kind in KINDS:
            terms = [t for t in text.within(kind, sentence) if t.first not in inner]
            self.kinds[kind] = terms
            self.terms += terms
        self.runs = self._runs() if len(amounts) > 1 else []
        unsaid = [kind for kind in KINDS if self.runs and all(len(t.values) > 1 for t in self.kinds[kind])]
        # what the sentence before lists, for the runs of a sentence that names nothing of the kind
        self.carried = {kind: named for kind in unsaid if len(named := distinct(text.within(kind, earlier))) > 1}
        self.kinds_present = [kind for kind in KINDS if self.kinds[kind] or kind in self.carried]
        self.run_of = {i: run for run in self.runs for i in run}
        self.bracketed = text.has(_BRACKETS)

    def between(self, kind: str, first: int, last: int) -> list[Term]:
        """Returns the terms of a kind that lie between two tokens."""
        return [t for t in self.kinds[kind] if first <= t.first and t.last <= last]

    def start(self, i: int, name_ends: list[int]) -> int:
        """Returns the first token that may name amount i: the one after the names of the amount before it."""
        return name_ends[i - 1] if i else self.sentence.start

    def stop(self, i: int) -> int:
        """Returns the token where the names of amount i end at the latest: the next amount."""
        return self.amounts[i + 1].first if i + 1 < len(self.amounts) else self.sentence.stop

    @cached_property
    def _ends(self) -> list[int]:
        return [k for k in self.sentence if self.words[k] in _ENDS]

    def group(self, at: int) -> range:
        """Returns the part of the sentence between semicolons, colons or brackets that a token is in."""
        first, last = self.sentence.start, self.sentence.stop
        for k in self._ends:
            if k < at:
                first = k + 1
            elif k > at:
                last = k
                break
        return range(first, last)

    def in_brackets(self, at: int) -> bool:
        """Says whether a token is in brackets."""
        before = self.words[self.sentence.start : at]
        return before.count("(") > before.count(")")

    def _runs(self) -> list[list[int]]:
        """The runs of two or more amounts with only commas and the like between them."""
        runs = [[0]]
        for i, (a, b) in enumerate(pairwise(self.amounts), start=1):
            if self._joined(a, b):
                runs[-1].append(i)
            else:
                runs.append([i])
        return [run for run in runs if len(run) > 1]

    def _joined(self, a: Amount, b: Amount) -> bool:
        between = self.words[a.last : b.first]
        same = bool(a.edges) == bool(b.edges) and (not a.unit or a.unit == b.unit or not b.whole)
        if same and WORDS.joined.issuperset(between):
            return True
        if len(between) > 3 or WORDS.contrasts.isdisjoint(between):
            return False
        return not any(a.last <= t.first < b.first for t in self.terms if t.kind != "measures")


def distinct(terms: list[Term]) -> list[Term]:
    """Returns the first term of each meaning."""
    chosen: list[Term] = []
    for term in terms:
        if all(set(term.values).isdisjoint(other.values) for other in chosen):
            chosen.append(term)
    return chosen


NamesByAmount = dict[tuple[int, str], frozenset]  # by amount and kind
PAIRS = {  # what is compared with what
    "vessels": {"artery": "vein", "vein": "artery"},
    "orientations": {"vertical": "horizontal", "horizontal": "vertical"},
    "formulas": {"Hubbard": "Knudtson", "Knudtson": "Hubbard"},
    "zones": {"b": "c", "c": "b"},
    "measures": {"crae": "crve", "crve": "crae"},
}


class Names(NamedTuple):
    """What names a number, as values by kind: from its own words (`own`) and from earlier words of its sentence (`before`)."""

    own: dict[str, frozenset]
    before: dict[str, frozenset]


def listed(sentence: Sentence, name_ends: list[int]) -> NamesByAmount:
    """Finds the values listed for the amounts of a run one by one: '0.42 and 0.40 for the vertical and horizontal ratio'."""
    names: NamesByAmount = {}
    for run in sentence.runs:
        for kind in sentence.kinds_present:
            names |= _of_run(sentence, kind, run, name_ends)
    return names


def _of_run(sentence: Sentence, kind: str, run: list[int], name_ends: list[int]) -> NamesByAmount:
    amounts, start, stop = sentence.amounts, sentence.start(run[0], name_ends), sentence.stop(run[-1])
    first, last = amounts[run[0]].first, amounts[run[-1]].last
    before = sentence.between(kind, start, first)
    if kind == "vessels" and not WORDS.contrasts.isdisjoint(sentence.words[amounts[run[0]].last : last]):
        before = [t for t in before if t.value != "all"]  # the veins are the wider vessels, 48 against 43 µm
    if compared := _compared(sentence, kind, run, before):
        return compared
    named = sentence.carried.get(kind, ())
    if len(named) == len(run) and len({amounts[i].unit for i in run}) == 1:
        return {(i, kind): frozenset(t.values) for i, t in zip(run, named, strict=True)}
    for terms in (before, sentence.between(kind, last, _list_end(sentence.words, last, stop))):
        chosen = distinct(terms)
        if len(chosen) >= len(run):
            chosen = chosen[-len(run) :] if terms and terms[-1].last <= first else chosen[: len(run)]
            return {(i, kind): frozenset(t.values) for i, t in zip(run, chosen, strict=True)}
    return {} if before else _shared(sentence, kind, run, name_ends)


def _compared(sentence: Sentence, kind: str, run: list[int], terms: list[Term]) -> NamesByAmount:
    """The names of two numbers after one term that the first is compared with: narrower than the veins, 36 against 52."""
    pairs = PAIRS.get(kind, {})
    if len(run) != 2 or len(terms) != 1 or terms[0].value not in pairs:
        return {}
    if "than" not in sentence.words[max(0, terms[0].first - 2) : terms[0].first]:
        return {}
    return {(run[0], kind): frozenset((pairs[terms[0].value],)), (run[1], kind): frozenset(terms[0].values)}


def _list_end(words: list[str], first: int, stop: int) -> int:
    return next((k for k in range(first, stop) if words[k] in WORDS.breaks), stop)


def _shared(sentence: Sentence, kind: str, run: list[int], name_ends: list[int]) -> NamesByAmount:
    """The names after a run, for each of its numbers, where none are before it: from 171 to 166 µm by Hubbard."""
    words, last = sentence.words, sentence.amounts[run[-1]]
    if kind == "vessels" and not WORDS.contrasts.isdisjoint(words[sentence.amounts[run[0]].last : last.first]):
        return {}
    after, stop = sentence.between(kind, last.last, name_ends[run[-1]]), sentence.stop(run[-1])
    if not after and words[last.last : last.last + 1] == ["("] and ")" in words[last.last : stop]:
        after = sentence.between(kind, last.last, stop)
    if len(distinct(after)) != 1:
        return {}
    return {(i, kind): frozenset(after[0].values) for i in run}


def names_of_earlier_run(
    sentence: Sentence, i: int, own: dict[str, frozenset], named: dict[int, Names], copied: set[tuple[int, str]]
) -> dict[str, frozenset]:
    """Finds the names that a run of numbers shares in order with the run before: 0.64 in zone B and 0.67 in zone C; then 0.80
    and 0.81. `copied` collects the (amount, kind) that were named in this way."""
    run, amounts = sentence.run_of.get(i, ()), sentence.amounts
    size = len(run)
    if not size or run[0] < size:
        return {}
    outside = [j for j in range(run[0]) if not sentence.in_brackets(amounts[j].first)]
    if len(outside) < size:
        return {}
    names = {}
    for kind in ("measures", "vessels", "zones", "formulas", "orientations"):
        if kind in own or any(kind in named[amounts[j].first].own for j in run if j < i and (j, kind) not in copied):
            continue
        if kind == "measures" and ";" not in sentence.words[amounts[run[0] - 1].last : amounts[run[0]].first]:
            continue
        earlier = [named[amounts[j].first].own.get(kind) for j in outside[-size:]]
        if all(earlier) and len(set(earlier)) == size:
            names[kind] = earlier[run.index(i)]
            copied.add((i, kind))
    return names


def opposite_names(sentence: Sentence, i: int, own: dict[str, frozenset], named: dict[int, Names]) -> dict[str, frozenset]:
    """Finds the opposite names for a number in a comparison: 49.0 µm in veins, compared with 41.9 µm (of arteries)."""
    if not i:
        return {}
    one = sentence.amounts[i - 1]
    between = sentence.words[one.last : sentence.amounts[i].first]
    if len(between) > 4 or WORDS.contrasts.isdisjoint(between):
        return {}
    earlier = {kind: named[one.first].own.get(kind) or named[one.first].before.get(kind) or frozenset() for kind in KINDS}
    named_apart = [kind for kind in own if kind != "measures" or PAIRS[kind].keys() >= own[kind]]
    if any(own[kind] != earlier[kind] for kind in named_apart):
        return {}
    if not WORDS.zoned.issuperset(earlier["measures"] or ("",)):
        earlier["zones"] = frozenset()  # 54 µm in zone B against 49 µm: of veins and arteries
    found = {
        kind: frozenset((pairs[value],))
        for kind, pairs in PAIRS.items()
        if len(earlier[kind]) == 1 and (value := next(iter(earlier[kind]))) in pairs
    }
    if "vessels" in found or len(found) < 2:
        return {"vessels": found["vessels"]} if "vessels" in found else found
    return {kind: opposite | earlier[kind] for kind, opposite in found.items()}  # either may be meant
