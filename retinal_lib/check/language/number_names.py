"""Which words of a text name a number: its measure, vessels, zone, formula, direction and lesion."""

from itertools import pairwise
from typing import NamedTuple

from retinal_lib.check.language import number_lists, numbers
from retinal_lib.check.language.lexicon import ParsedText, Term, word_lists
from retinal_lib.check.language.number_lists import Names, Sentence
from retinal_lib.check.language.numbers import Amount

WORDS = word_lists("number_names")

_EVERYWHERE = frozenset(["area", "box", "count", "age", "grade"])  # measures whose words are used for much else
_WHOLE = (("vessels", "all"), ("zones", "whole"))  # the values meant where nothing is named
_ARTERY_VEIN = frozenset(["artery", "vein"])
_NOTHING = Names({}, {})


class NamedNumber(NamedTuple):
    """A number of a text with its names; `position` is its index in `amounts`, the numbers of the text."""

    text: ParsedText
    amounts: list[Amount]
    position: int
    names: Names

    @property
    def amount(self) -> Amount:
        """The number itself."""
        return self.amounts[self.position]

    def own(self, kind: str) -> frozenset:
        """Returns the values of a kind from the number's own words."""
        return self.names.own.get(kind, frozenset())

    @property
    def counts_conditions(self) -> bool:
        """Whether a condition follows that the number counts: 6 haemorrhages, 20 of the hard exudates."""
        amount, text = self.amount, self.text
        if not amount.whole or amount.unit or text.words[amount.first - 1 : amount.first] == ["grade"]:
            return False
        return any(amount.last <= t.first <= amount.last + 1 for t in text.of("conditions"))

    def before(self, kind: str) -> frozenset:
        """Returns the values of a kind from earlier words of the sentence."""
        return self.names.before.get(kind, frozenset())


def read(text: ParsedText) -> list[NamedNumber]:
    """Reads the numbers of a text, each with its names."""
    amounts = numbers.read(text)
    named: dict[int, Names] = {}
    for earlier, sentence in pairwise([range(0), *text.sentences]):
        inside = [a for a in amounts if sentence.start <= a.first < sentence.stop]
        if inside:
            named |= _SentenceNames(Sentence(text, sentence, inside, earlier)).named()
    return [NamedNumber(text, amounts, i, named.get(a.first, _NOTHING)) for i, a in enumerate(amounts)]


def _combined_measures(terms: list[Term]) -> frozenset:
    """The measures that several terms mean together: in 'the optic cup is 700 µm high', cup decides, though discs are high."""
    if len(terms) < 2:
        return frozenset(terms[0].values) if terms else frozenset()
    sure = {t.values[0] for t in terms if len(t.values) == 1}
    return frozenset(v for t in terms for v in (sure & set(t.values) or t.values))


def _values(terms: list[Term]) -> frozenset:
    return frozenset(v for t in terms for v in t.values)


class _SentenceNames:
    """Names the amounts of one sentence."""

    def __init__(self, sentence: Sentence):
        self.sentence, self.words, self.amounts, self.kinds = sentence, sentence.words, sentence.amounts, sentence.kinds
        self.compared = sentence.text.has(WORDS.compared)

    def named(self) -> dict[int, Names]:
        """Returns the names of each amount, by its first token."""
        sentence, amounts = self.sentence, self.amounts
        name_ends = [self._end_of_names(i) for i in range(len(amounts))]
        listed = number_lists.listed(sentence, name_ends)
        named: dict[int, Names] = {}
        before: dict[str, frozenset] = {}
        outer: list[dict[str, frozenset]] = []  # the names before each open bracket
        copied: set[tuple[int, str]] = set()
        for i, amount in enumerate(amounts):
            start = sentence.start(i, name_ends)
            if sentence.bracketed:
                before = self._bracketed(amounts[i - 1].last if i else start, amount.first, before, outer)
            own: dict[str, frozenset] = {}
            for kind in sentence.kinds_present:
                if values := listed.get((i, kind)) or self._own(kind, start, i, name_ends[i]):
                    own[kind] = values
            own |= number_lists.opposite_names(sentence, i, own, named)
            own |= number_lists.names_of_earlier_run(sentence, i, own, named, copied)
            own |= self._names_after_list(i, own, name_ends)
            named[amount.first] = Names(own, before)
            before = before | own
            for kind in sentence.kinds_present:  # names that belong to no amount count for later numbers
                if kind not in own and (more := _values(sentence.between(kind, start, name_ends[i]))):
                    before[kind] = more
        return named

    def _bracketed(self, first: int, last: int, before: dict, outer: list[dict]) -> dict:
        """The names before an amount, after brackets between two amounts: names in closed brackets no longer count."""
        for k in range(first, last):
            if self.words[k] == "(":
                outer.append(before)
            elif self.words[k] == ")" and outer:
                before = outer.pop()
            elif self.words[k] == ";":  # a new clause may be of all vessels, and of the whole image, again
                before = before | {kind: before[kind] | {whole} for kind, whole in _WHOLE if kind in before}
        return before

    def _end_of_names(self, i: int) -> int:
        """The token where the names after an amount end."""
        last, stop, end = self.amounts[i].last, self.sentence.stop(i), self.sentence.sentence.stop
        at, seen, closed, depth, words = last, False, last, 0, self.words
        while at < stop:
            word = words[at]
            if word == "(":
                if ")" not in words[at:stop]:
                    return at
                depth += 1
            elif word == ")":
                depth -= 1
                if depth < 0:
                    return at
                closed = at + 1
            elif word in WORDS.dividers and depth == 0 and (seen or word != "with"):
                return self._coordinated(at)
            seen = seen or word not in WORDS.prepositions
            at += 1
        if at < end and at > last + 1 and words[at - 1] == "to":
            return at - 1
        if at < end and at > last and words[at - 1] in WORDS.leading:
            named = (*self.kinds["orientations"], *self.kinds["conditions"])
            counted = (t.last for t in named if last <= t.first <= last + 2 and t.last <= at)
            return next(counted, closed)  # prepositions that lead to the next amount belong to it
        return at

    def _coordinated(self, at: int) -> int:
        """The end of the names beyond a divider that joins two of a kind: in arteries and veins."""
        if self.words[at] not in WORDS.coordinating:
            return at
        kinds = {t.kind for t in self.sentence.terms if t.last == at}
        after = next((t.last for t in self.sentence.terms if t.first == at + 1 and t.kind in kinds), None) if kinds else None
        if after is not None and (after >= self.sentence.sentence.stop or self.words[after] in WORDS.after_coordinated):
            return after
        return at

    def _own(self, kind: str, start: int, i: int, name_end: int) -> frozenset:
        """The nearest names: those after the amount, else those before it in its clause, else those since the last amount."""
        amount = self.amounts[i]
        after = self.sentence.between(kind, amount.last, name_end)
        if kind == "measures":
            inside = [t for t in self.kinds[kind] if amount.first <= t.first < amount.last]
            before = self.sentence.between(kind, start, amount.first)
            return _combined_measures([*(() if amount.edges else after), *before, *inside, *self._measure_before_run(i)])
        if (
            after
            and not (amount.edges and kind == "conditions")
            and (kind != "vessels" or not self._is_overall(start, i, after))
        ):
            return _values(after)
        if kind == "vessels" and not WORDS.paired.isdisjoint(self.words[start : amount.first]):
            return _ARTERY_VEIN
        before = self.sentence.between(kind, start, amount.first)
        if not before:
            return frozenset()
        clause = self._clause(start, amount.first)
        near = [t for t in before if t.first >= clause]
        if not near:
            return _values(before)
        last = near[-1]
        return _values([t for t in before if t is last or self._together(kind, t, last)] + near)

    def _is_overall(self, start: int, i: int, after: list[Term]) -> bool:
        """Whether 'all' after an amount means all the vessels that its clause names: arteries average 45 µm overall."""
        if _values(after) != {"all"}:
            return False
        first = self.amounts[i].first
        before = self.sentence.between("vessels", start, first)
        return bool(before) and before[-1].first >= self._clause(start, first)

    def _measure_before_run(self, i: int) -> list[Term]:
        """The measures before the first amount of a run, for its other amounts."""
        run = self.sentence.run_of.get(i)
        if run is None or run[0] == i:
            return []
        first = self.amounts[run[0]].first
        clause = self._clause(self.amounts[run[0] - 1].last if run[0] else self.sentence.sentence.start, first)
        return self.sentence.between("measures", clause, first)

    def _clause(self, start: int, stop: int) -> int:
        """Where the clause before an amount begins."""
        last = max((t.first for t in self.sentence.terms if t.first < stop), default=-1)
        for k in range(min(stop, last) - 1, start - 1, -1):
            if self.words[k] in WORDS.clauses:
                return k + 1
        return start

    def _together(self, kind: str, one: Term, other: Term) -> bool:
        """Whether two terms of a kind are listed together: vertical and horizontal."""
        if one.last > other.first:
            return False
        chain = [t for t in self.kinds[kind] if one.first <= t.first <= other.first]
        return all(WORDS.listed.issuperset(self.words[a.last : b.first]) for a, b in pairwise(chain))

    def _names_after_list(self, i: int, own: dict[str, frozenset], name_ends: list[int]) -> dict[str, frozenset]:
        """The formula and zone that are named once after several numbers: CRAE 178 and CRVE 198 with Hubbard's."""
        given = {}
        if "measures" not in own and (measure := self._measure_ahead(i)):
            given["measures"] = measure
        if i + 1 == len(self.amounts):
            return given
        for kind in ("formulas", "zones"):
            if kind not in own and self.kinds[kind] and (values := self._shared_later_name(kind, i, name_ends)):
                given[kind] = values
        return given

    def _measure_ahead(self, i: int) -> frozenset:
        """The measure from a comparison after an amount, or named once after all amounts of a clause."""
        first, last = self.amounts[i].first, self.amounts[i].last
        if self.compared:
            end = min(last + 5, self.sentence.sentence.stop)
            near = self.words[last : next((k for k in range(last, end) if self.words[k] in WORDS.pauses), end)]
            if not WORDS.compared.isdisjoint(near):
                return frozenset(["density"] if "denser" in near else ["width"])
        measures = self.kinds["measures"]
        if not measures or measures[0].first < first:
            return frozenset()
        group, final = self.sentence.group(first), self.amounts[-1].first
        for term in measures:
            if term.first in group and (term.first > final or self.words[term.first] in WORDS.compared):
                return frozenset() if _EVERYWHERE.issuperset(term.values) else frozenset(term.values)
        return frozenset()

    def _shared_later_name(self, kind: str, i: int, name_ends: list[int]) -> frozenset:
        """The values that a later amount of the same part of the sentence names, if no other comes before it."""
        group = self.sentence.group(self.amounts[i].first)
        if any(group.start <= t.first < self.amounts[i].first for t in self.kinds[kind]):
            return frozenset()
        for j in range(i + 1, len(self.amounts)):
            if self.amounts[j].first not in group:
                break
            if after := self.sentence.between(kind, self.amounts[j].last, name_ends[j]):
                return _values(after)
            if self.sentence.between(kind, name_ends[j - 1], self.amounts[j].first):
                break
        return frozenset()
