"""Which words of a text name a number: its measure, vessels, zone, formula, direction and lesion."""

from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from retinal_lib.amounts import Amount
from retinal_lib.vocabulary import Reading, Term

KINDS = ("measures", "vessels", "zones", "formulas", "orientations", "conditions")
_DIVIDERS = frozenset(", ; : and but while whereas versus vs compared than – — / plus with against &".split())
_PREPOSITIONS = frozenset("in for of at over on across within by along".split())
_JOINED = frozenset("and or , versus vs / & – — to µm respectively mm % by x × against degree µ".split())
_LEADING = frozenset("of is are was were at to about approximately around roughly reach reaches measure measures average".split())
_EVERYWHERE = frozenset(["area", "box", "count", "age", "grade"])
_COMPARED = frozenset("wider narrower thicker thinner denser".split())
_CONTRASTS = frozenset("against versus vs compared than".split())
_PAIRS = {
    "vessels": {"artery": "vein", "vein": "artery"},
}
_LISTED = frozenset("and or by x × , / & versus vs to the in of for zone both".split())


class Named(NamedTuple):
    """The values of each kind that a number's own words give (`own`) and that its sentence gave before (`before`)."""

    own: dict[str, frozenset]
    before: dict[str, frozenset]


def name(text: Reading, found: list[Amount]) -> list[Named]:
    """What names each amount of a text."""
    named: dict[int, Named] = {}
    for sentence in text.sentences:
        inside = [a for a in found if sentence.start <= a.first < sentence.stop]
        if inside:
            terms = [t for kind in KINDS for t in text.of(kind) if sentence.start <= t.first < sentence.stop]
            terms = [t for t in terms if not any(a.first <= t.first < a.last and t.first != a.first for a in inside)]
            named |= _Sentence(text, sentence, inside, terms).named()
    return [named.get(a.first, Named({}, {})) for a in found]


def _united(terms: list[Term]) -> frozenset:
    """What several names of measures may mean together: 'the optic cup is 700 µm high' is of the cup, though discs are high."""
    sure = {t.values[0] for t in terms if len(t.values) == 1}
    return frozenset(v for t in terms for v in (sure & set(t.values) or t.values))


class _Sentence:
    def __init__(self, text: Reading, sentence: range, found: list[Amount], terms: list[Term]):
        self.words, self.sentence, self.found, self.terms = text.words, sentence, found, terms
        self.kinds = {kind: [t for t in terms if t.kind == kind] for kind in KINDS}
        self._taken: set[tuple[int, str]] = set()
        self.spoken = [kind for kind in KINDS if self.kinds[kind]]

    def named(self) -> dict[int, Named]:
        """By the first token of each amount."""
        posts = [self._post(i) for i in range(len(self.found))]
        listed = self._listed(posts)
        result, before = {}, {}
        start = self.sentence.start
        held: list[dict[str, frozenset]] = []  # what was named where a bracket opened
        for i, amount in enumerate(self.found):
            before = self._bracketed(self.found[i - 1].last if i else start, amount.first, before, held)
            own: dict[str, frozenset] = {}
            for kind in self.spoken:
                values = listed.get((i, kind)) or self._own(kind, start, amount, posts[i])
                if values:
                    own[kind] = values
            own |= self._other(i, own, result)
            own |= self._paired(i, own, result)
            own |= self._ahead(i, own, posts)
            result[amount.first] = Named(own, dict(before))
            before |= own
            for kind in self.spoken:  # what stands by the way counts for later numbers too
                more = frozenset(v for t in self._between(kind, start, posts[i]) for v in t.values)
                if more and kind not in own:
                    before[kind] = more
            start = posts[i]
        return result

    def _bracketed(self, first: int, last: int, before: dict, held: list[dict]) -> dict:
        """What was named before, where brackets opened or closed between two amounts: what stood in them no longer counts."""
        for k in range(first, last):
            if self.words[k] == "(":
                held.append(dict(before))
            elif self.words[k] == ")" and held:
                before = held.pop()
            elif self.words[k] == ";":  # a new clause may be of all vessels, and of the whole image, again
                for kind, whole in (("vessels", "all"), ("zones", "whole")):
                    if kind in before:
                        before = {**before, kind: before[kind] | {whole}}
        return before

    def _between(self, kind: str, first: int, last: int) -> list[Term]:
        return [t for t in self.kinds[kind] if first <= t.first and t.last <= last]

    def _post(self, i: int) -> int:
        """The token up to which what follows an amount belongs to it."""
        amount = self.found[i]
        stop = self.found[i + 1].first if i + 1 < len(self.found) else self.sentence.stop
        at, seen, closed = amount.last, False, amount.last
        depth = 0
        while at < stop:
            word = self.words[at]
            if word == "(":
                close = next((k for k in range(at, self.sentence.stop) if self.words[k] == ")"), stop)
                if close >= stop:
                    return at
                depth += 1
            elif word == ")":
                depth -= 1
                if depth < 0:
                    return at
                closed = at + 1
            elif word in _DIVIDERS and depth == 0 and not (word == "with" and not seen):
                return self._coordinated(at, stop)
            seen = seen or word not in _PREPOSITIONS
            at += 1
        if at < self.sentence.stop and at > amount.last + 1 and self.words[at - 1] == "to":
            return at - 1
        if at < self.sentence.stop and at > amount.last and self.words[at - 1] in _LEADING:
            counted = (t.last for t in self.kinds["conditions"] if amount.last <= t.first <= amount.last + 2 and t.last <= at)
            return next(counted, closed)  # what leads to the next amount names that
        return at

    def _coordinated(self, at: int, stop: int) -> int:
        """Beyond a divider where what stands before and after it are listed together: in arteries and veins."""
        before = [t for t in self.terms if t.last == at]
        after = [t for t in self.terms if t.first == at + 1 and any(t.kind == b.kind for b in before)]
        if self.words[at] in ("and", "/", "&") and after and (
            after[0].last >= self.sentence.stop or self.words[after[0].last] in (",", ";", ":", ")", "(", "respectively")
        ):
            return after[0].last
        return at

    def _own(self, kind: str, start: int, amount: Amount, post: int) -> frozenset:
        """The nearest words: those after the amount, else those of its clause before it, else of the words since the last."""
        after = self._between(kind, amount.last, post)
        before = self._between(kind, start, amount.first)
        inside = [t for t in self.kinds[kind] if amount.first <= t.first < amount.last]
        if kind == "measures":
            leading = self._run_lead(start, amount)
            after = [] if amount.edges else after
            return _united([*after, *before, *inside, *leading])
        if kind == "vessels" and before and {v for t in after for v in t.values} == {"all"} and before[-1].first >= self._clause(start, amount.first):
            after = []  # arteries average 45 µm overall
        if after and not (amount.edges and kind == "conditions"):
            return frozenset(v for t in after for v in t.values)
        if kind == "vessels" and {"former", "latter"} & set(self.words[start : amount.first]):
            return frozenset(["artery", "vein"])
        if not before:
            return frozenset()
        clause = self._clause(start, amount.first)
        near = [t for t in before if t.first >= clause]
        chosen = near or before
        last = chosen[-1]
        group = [t for t in before if t is last or self._together(kind, t, last)]
        return frozenset(v for t in ([*group, *near] if near else chosen) for v in t.values)

    def _run_lead(self, start: int, amount: Amount) -> list[Term]:
        """The measures before the first amount of a run: they are of all its amounts where they are not of one each."""
        i = self.found.index(amount)
        run = next((run for run in self._runs if i in run[1:]), None)
        if run is None:
            return []
        first = self.found[run[0]].first
        clause = self._clause(self.found[run[0] - 1].last if run[0] else self.sentence.start, first)
        return self._between("measures", clause, first)

    def _clause(self, start: int, stop: int) -> int:
        """Where the clause before an amount begins."""
        for k in range(stop - 1, start - 1, -1):
            if self.words[k] in _DIVIDERS and self.words[k] not in ("/", ":", "with") and any(k < t.first < stop for t in self.terms):
                return k + 1
        return start

    def _together(self, kind: str, one: Term, other: Term) -> bool:
        """Whether two terms of a kind are listed together: vertical and horizontal."""
        if one.last > other.first:
            return False
        chain = [t for t in self.kinds[kind] if one.first <= t.first <= other.first]
        return all(all(self.words[k] in _LISTED for k in range(a.last, b.first)) for a, b in pairwise(chain))

    def _paired(self, i: int, own: dict[str, frozenset], result: dict[int, Named]) -> dict[str, frozenset]:
        """What a run of numbers takes in order from as many before it: 0.64 in zone B and 0.67 in zone C; then 0.80 and 0.81."""
        run = next((run for run in self._runs if i in run), [])
        size = len(run)
        if not size or run[0] < size:
            return {}
        given = {}
        for kind in ("measures", "vessels", "zones", "formulas", "orientations"):
            if kind in own or any(kind in result.get(self.found[j].first, Named({}, {})).own for j in run if j < i and (j, kind) not in self._taken):
                continue
            if kind == "measures" and ";" not in self.words[self.found[run[0] - 1].last : self.found[run[0]].first]:
                continue
            outside = [j for j in range(run[0]) if not self._bracketed_at(self.found[j].first)]
            if len(outside) < size:
                continue
            earlier = [result[self.found[j].first].own.get(kind) for j in outside[-size:]]
            if all(earlier) and len(set(earlier)) == size:
                given[kind] = earlier[run.index(i)]
                self._taken.add((i, kind))
        return given

    def _bracketed_at(self, at: int) -> bool:
        """Whether a token stands in brackets."""
        before = self.words[self.sentence.start : at]
        return before.count("(") > before.count(")")

    def _ahead(self, i: int, own: dict[str, frozenset], posts: list[int]) -> dict[str, frozenset]:
        """The formula and zone that stand once, after the last of several numbers: CRAE 178 and CRVE 198 with Hubbard's."""
        group = self._group(self.found[i].first)
        given = {}
        end = min(self.found[i].last + 5, self.sentence.stop)
        nearby = range(self.found[i].last, next((k for k in range(self.found[i].last, end) if self.words[k] in (",", "and", ";")), end))
        if "measures" not in own and any(self.words[k] in _COMPARED for k in nearby):
            given["measures"] = frozenset(["density"] if "denser" in (self.words[k] for k in nearby) else ["width"])
        elif "measures" not in own and not any(t.first < self.found[i].first for t in self.kinds["measures"]):
            last = self.found[-1].first
            later = next((t for t in self.kinds["measures"] if t.first in group and (t.first > last or self.words[t.first] in _COMPARED)), None)
            if later is not None and not _EVERYWHERE >= set(later.values):
                given["measures"] = frozenset(later.values)
        for kind in ("formulas", "zones"):
            if kind in own or any(t.first in range(group.start, self.found[i].first) for t in self.kinds[kind]):
                continue
            for j in range(i + 1, len(self.found)):
                if self.found[j].first not in group:
                    break
                if after := self._between(kind, self.found[j].last, posts[j]):
                    given[kind] = frozenset(v for t in after for v in t.values)
                    break
                if self._between(kind, posts[j - 1], self.found[j].first):
                    break
        return given

    def _group(self, at: int) -> range:
        """The part of the sentence between semicolons, colons and brackets that a token stands in."""
        ends = [k for k in self.sentence if self.words[k] in (";", ":", "(", ")")]
        return range(max([k + 1 for k in ends if k < at], default=self.sentence.start), min([k for k in ends if k > at], default=self.sentence.stop))

    def _other(self, i: int, own: dict[str, frozenset], result: dict[int, Named]) -> dict[str, frozenset]:
        """What a number that another is compared with is of: 49.0 µm in veins, compared with 41.9 µm, is of arteries."""
        if not i:
            return {}
        one = self.found[i - 1]
        between = self.words[one.last : self.found[i].first]
        if not _CONTRASTS & set(between) or len(between) > 4:
            return {}
        given = {}
        for kind, pairs in _PAIRS.items():
            earlier = result[one.first].own.get(kind) or result[one.first].before.get(kind) or frozenset()
            if kind not in own and len(earlier) == 1 and (value := next(iter(earlier))) in pairs:
                given[kind] = frozenset((pairs[value],))
        return given

    @cached_property
    def _runs(self) -> list[list[int]]:
        """Amounts that follow each other with nothing but commas and the like between."""
        runs = [[0]]
        for i, (a, b) in enumerate(pairwise(self.found), start=1):
            between = self.words[a.last : b.first]
            named = any(a.last <= t.first < b.first for t in self.terms if t.kind != "measures")
            same = bool(a.edges) == bool(b.edges) and (not a.unit or a.unit == b.unit or not b.whole)
            if (same and all(word in _JOINED for word in between)) or (len(between) < 4 and _CONTRASTS & set(between) and not named):
                runs[-1].append(i)
            else:
                runs.append([i])
        return [run for run in runs if len(run) > 1]

    def _listed(self, posts: list[int]) -> dict[tuple[int, str], frozenset]:
        """Values given to the amounts of a run one by one: '0.42 and 0.40 for the vertical and horizontal ratio'."""
        given: dict[tuple[int, str], frozenset] = {}
        for run in self._runs:
            first = self.found[run[0]].first
            start = posts[run[0] - 1] if run[0] else self.sentence.start
            stop = self.found[run[-1] + 1].first if run[-1] + 1 < len(self.found) else self.sentence.stop
            for kind in self.spoken:
                before = self._compared(kind, run, self._between(kind, start, first), given)
                if before is None:
                    continue
                for terms in (before, self._between(kind, self.found[run[-1]].last, self._list_end(self.found[run[-1]].last, stop))):
                    chosen = self._distinct(terms)
                    if len(chosen) >= len(run):
                        chosen = chosen[-len(run) :] if terms and terms[-1].last <= first else chosen[: len(run)]
                        given |= {(i, kind): frozenset(t.values) for i, t in zip(run, chosen, strict=True)}
                        break
                else:
                    given |= self._shared(kind, run, start, posts)
        return given

    def _compared(self, kind: str, run: list[int], terms: list[Term], given: dict) -> list[Term] | None:
        """The terms before a run; None where they are what its first number is compared with: narrower than the veins, 36
        against 52, which gives both their names."""
        pairs = _PAIRS.get(kind, {})
        if len(run) == 2 and len(terms) == 1 and terms[0].value in pairs and "than" in self.words[max(0, terms[0].first - 2) : terms[0].first]:
            given |= {(run[0], kind): frozenset((pairs[terms[0].value],)), (run[1], kind): frozenset(terms[0].values)}
            return None
        return terms

    def _list_end(self, first: int, stop: int) -> int:
        return next((k for k in range(first, stop) if self.words[k] in (",", ";", ":", "while", "but", "(")), stop)

    def _shared(self, kind: str, run: list[int], start: int, posts: list[int]) -> dict[tuple[int, str], frozenset]:
        """What follows a run names each of its numbers, where nothing before it does: from 171 to 166 µm by Hubbard."""
        last = self.found[run[-1]]
        if kind == "vessels" and _CONTRASTS & set(self.words[self.found[run[0]].last : last.first]):
            return {}
        after = self._between(kind, last.last, posts[run[-1]])
        stop = self.found[run[-1] + 1].first if run[-1] + 1 < len(self.found) else self.sentence.stop
        if not after and self.words[last.last : last.last + 1] == ["("] and ")" in self.words[last.last : stop]:
            after = self._between(kind, last.last, stop)
        if len(self._distinct(after)) != 1 or self._between(kind, start, self.found[run[0]].first):
            return {}
        return {(i, kind): frozenset(after[0].values) for i in run}

    @staticmethod
    def _distinct(terms: list[Term]) -> list[Term]:
        chosen: list[Term] = []
        for term in terms:
            if all(set(term.values).isdisjoint(other.values) for other in chosen):
                chosen.append(term)
        return chosen
