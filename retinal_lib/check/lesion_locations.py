"""Check of where answers say that lesions lie: quadrants, counts in them, distances from the fovea and the disc."""

from functools import lru_cache
from itertools import pairwise
from math import inf
from typing import NamedTuple

from retinal_lib.check.findings import AnswerFindings, Check
from retinal_lib.check.language import lexicon, numbers
from retinal_lib.check.language.lexicon import ParsedText, Term, family, implied, kept, word_lists
from retinal_lib.check.language.negation import AFFIRMED, UNCERTAIN, cues, polarity
from retinal_lib.check.language.numbers import Amount
from retinal_lib.check.quantity_index import Quantity, QuantityIndex
from retinal_lib.facts import Fact

WORDS = word_lists("lesion_locations")
_SPARING = frozenset(["except", "but"])  # after a quadrant: every one except this

REGION_WORDS = frozenset([*WORDS.vertical, *WORDS.sides, *WORDS.quadrants, "quadrant", "quarter", "half"])


class Region(NamedTuple):
    """A part of the picture, named at the tokens `first` to `last` (exclusive). `vertical` is upper, lower or "" (neither),
    `side` is left, right, nasal, temporal or ""."""

    first: int
    last: int
    vertical: str
    side: str

    def contains(self, other: "Region") -> bool | None:
        """Says whether a quadrant lies in this region; None where that is unknown, as for nasal and left."""
        if self.vertical and other.vertical and self.vertical != other.vertical:
            return False
        if not self.side or self.side == other.side:
            return True
        return None if (self.side in ("left", "right")) != (other.side in ("left", "right")) else False


@kept
def regions(text: ParsedText) -> list[Region]:
    """Finds the regions of the image that a text names, in order."""
    named: list[Region] = []
    if not text.has(REGION_WORDS):
        return named
    for k in range(len(text.words)):
        region = _region(text.words, k)
        if region and not (named and k < named[-1].last):
            named.append(region)
    return named


def _region(words: list[str], k: int) -> Region | None:
    """The region named at token k."""
    word, following = words[k], words[k + 1] if k + 1 < len(words) else ""
    if word in WORDS.quadrants:
        return Region(k, k + 1, *WORDS.quadrants[word].split())
    if word in WORDS.vertical and following in WORDS.sides:
        return Region(k, k + 2, WORDS.vertical[word], following)
    if word in WORDS.sides and following in WORDS.vertical:
        return Region(k, k + 2, WORDS.vertical[following], word)
    if (word in WORDS.vertical or word in WORDS.sides) and following in WORDS.region:
        return Region(k, k + 1, WORDS.vertical.get(word, ""), word if word in WORDS.sides else "")
    if word in ("top", "bottom") and k and words[k - 1] == "the":
        return Region(k, k + 1, WORDS.vertical[word], "")
    return None


@lru_cache(maxsize=1024)
def quadrant(words: str) -> Region | None:
    """Returns the first region that the words of a place name."""
    return next(iter(regions(lexicon.read(words))), None)


Places = tuple[tuple[Region, int], ...]  # how many lesions lie in a region


class Locations(NamedTuple):
    """Where the lesions of one type lie, after the facts: all of them by quadrant (`places`), those beyond the listed boxes
    (`rest`), and each box (`boxes`), which is `complete` where there is one for each lesion."""

    places: Places
    rest: Places
    boxes: Places
    complete: bool
    fact: Fact

    def known(self, group: list[Region]) -> Places:
        """Returns the account that can tell of these regions; where none can, nothing."""
        accounts = [self.places, self.boxes]
        return next((a for a in accounts if a and all(r.contains(place) is not None for r in group for place, _ in a)), ())

    def contains_lesion(self, region: Region) -> bool | None:
        """Says whether a lesion lies in a region; None where no fact says."""
        known = self.known([region])
        if not known:
            return False if self.places and region.side in ("nasal", "temporal") else None
        lies = any(region.contains(place) for place, _ in known)
        return lies or (False if known is self.places or self.complete else None)


def _count(places: Places, group: list[Region]) -> int:
    return sum(n for place, n in places if any(r.contains(place) for r in group))


def _total(places: Places) -> int:
    return sum(n for _, n in places)


def _centre(edges: tuple[float, ...]) -> Region:
    """The quadrant of the image that the middle of a box lies in."""
    x, y = (edges[0] + edges[2]) / 2, (edges[1] + edges[3]) / 2
    return Region(0, 0, "upper" if y <= 0.5 else "lower", "left" if x <= 0.5 else "right")


def _locations(index: QuantityIndex, term: Term, given: list[tuple[float, ...]] = ()) -> Locations | None:
    """Where the facts say that the lesions named by a term lie; of `given` boxes, those alone; None where they say nothing."""
    wide = [q for q in index.located if _is_about(q, term)]
    places, rest = (
        tuple((place, int(q.value)) for q in wide if q.part == part and (place := quadrant(q.fact.words)))
        for part in ("place", "rest place")
    )
    edges = [q for q in wide if q.edges]
    chosen = [q for q in edges if q.edges in given]
    if not places and not edges:
        return None
    counted = sum(q.value for q in index.lesions if q.measure == "count" and not q.part and _is_about(q, term))
    boxes = tuple((_centre(q.edges), 1) for q in chosen or edges)
    fact = next(q.fact for q in wide if q.part == "place" or q.edges)
    return Locations(places, rest, boxes, bool(chosen) or len(boxes) == counted, fact)


def _is_about(quantity: Quantity, term: Term) -> bool:
    """Whether a quantity is of the lesion that a term names, or of a form of it."""
    return bool(quantity.subjects & family(term)) or any(set(term.values) & implied(s) for s in quantity.subjects)


def _subject(text: ParsedText, region: Region, sentence: range) -> Term | None:
    """The lesion that an answer places in a region: named last before it, else first after it, else in the sentence before."""
    inside = [t for t in text.of("conditions") if t.first in sentence]
    if inside:
        before = [t for t in inside if t.last <= region.first]
        term = before[-1] if before else inside[0]
        return None if polarity(text, term) == UNCERTAIN else term
    earlier = [t for t in text.of("conditions") if t.last <= sentence.start]
    return earlier[-1] if earlier and polarity(text, earlier[-1]) == AFFIRMED else None


def _grouped(text: ParsedText, named: list[Region]) -> list[list[Region]]:
    """Groups of regions that are listed together: the superonasal and inferonasal quadrants."""
    groups: list[list[Region]] = []
    for region in named:
        if groups and set(text.words[groups[-1][-1].last : region.first]) <= WORDS.between:
            groups[-1].append(region)
        else:
            groups.append([region])
    return groups


class LesionLocations(Check):
    """Check of the quadrants, counts, distances and shares of area that answers state of lesions."""

    def answer(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks an answer."""
        self._places(answer, findings)
        self._spread(answer, findings)
        self._distances(answer, findings)

    def _places(self, answer: ParsedText, findings: AnswerFindings) -> None:
        """Checks the regions that lesions are said to lie in, and their counts there."""
        named = regions(answer) if self.index.located else []
        for group in _grouped(answer, named):
            spot = Term(group[0].first, group[-1].last)
            sentence = answer.sentence(spot)
            term = _subject(answer, group[0], sentence)
            if term is None or not WORDS.convention.isdisjoint(answer.words[sentence.start : sentence.stop]):
                continue
            lesions = _locations(self.index, term)
            near = range(max(sentence.start, spot.first - 6), sentence.stop)
            if lesions is None or cues(answer).polarity(spot, near) == UNCERTAIN:
                continue
            before = answer.words[max(sentence.start, spot.first - 5) : spot.first]
            if not WORDS.largest.isdisjoint(before) and "them" in before:
                continue  # all over the image, the largest of them in the lower left quarter
            if problem := _location_problem(answer, group, term, self.index, lesions):
                findings.add("place", spot, problem, lesions.fact)

    def _spread(self, answer: ParsedText, findings: AnswerFindings) -> None:
        """Checks in how many quadrants lesions are said to lie: in all four quadrants, in every quadrant."""
        named = self.index.located and answer.has(WORDS.quarters)
        for at in [k for k, word in enumerate(answer.words) if word in WORDS.quarters] if named else ():
            spot, number = quadrants_counted(answer.words, at)
            if not number or not _SPARING.isdisjoint(answer.words[spot[1] : spot[1] + 2]):
                continue  # in every quarter except the lower left
            term = _subject(answer, Region(*spot, "", ""), answer.sentence(Term(*spot)))
            lesions = _locations(self.index, term) if term else None
            held = {place[2:] for place, n in (lesions.places or lesions.boxes) if n} if lesions else set()
            if lesions and (len(held) < number or (len(held) > number and (lesions.places or lesions.complete))):
                says = (
                    f"the answer says that lesions lie in {number} quadrants, but they lie in {len(held)}: {lesions.fact.text}"
                )
                findings.add("place", Term(*spot), says, lesions.fact)

    def _distances(self, answer: ParsedText, findings: AnswerFindings) -> None:
        """Checks distances in disc diameters from the fovea and the disc, as measured or as graded."""
        if not (amounts := _distances(answer)):
            return
        known = [q for q in map(_graded, self.index.of("grade")) if q]
        known = known or [q for q in self.index.located if q.measure == "distance"]
        for amount in amounts if known or self.index.located else ():
            sentence = answer.sentence(amount)
            landmark, term = _landmark(answer, amount, sentence), _measured(answer, amount, sentence)
            if not landmark or term is None or polarity(answer, term) == UNCERTAIN:
                continue
            facts = [q for q in known if q.part == landmark and (q.measure == "grade" or _is_about(q, term))]
            distance = f"the distance {answer.text_of(amount)!r} from the {landmark}"
            if not facts:
                findings.add("place", amount, f"{distance} is not in the facts")
            elif _is_wrong_distance(answer, amount, term, facts):
                findings.add("place", amount, f"{distance} is wrong: {facts[0].fact.text}", facts[0].fact)


def _location_problem(text: ParsedText, group: list[Region], term: Term, index: QuantityIndex, lesions: Locations) -> str:
    """What is wrong with the regions that lesions are said to lie in, as a sentence; empty where nothing is."""
    words, first, sentence = text.words, group[0].first, text.sentence(group[0])
    where = repr(text.text_of(Term(first, group[-1].last)))
    before = _clause_before(words, sentence, first)
    given = [a.edges for a in numbers.read(text) if a.edges and a.first in sentence]
    lesions = _locations(index, term, given) if given else lesions
    listed = bool(lesions.boxes) and not WORDS.listed.isdisjoint(words[sentence.start : first])
    if listed:  # the largest one, or all that have a box
        many = text.text_of(term).endswith("s") and term.first >= first - len(before)
        one = not WORDS.largest.isdisjoint(before) and not many and "one" not in before  # one of the largest
        lesions = lesions._replace(places=(), boxes=lesions.boxes[:1] if one else lesions.boxes, complete=True)
    known = lesions.known(group)
    here, total = _count(known, group), _total(known)
    if WORDS.all & {after for word, after in pairwise(before) if word == "not"}:
        return f"the answer says that not all lie in {where}, but all {total} do" if total and here == total else ""
    spared = "alone" in words[group[-1].last : group[-1].last + 2] or before[-2:] in (["but", "the"], ["except", "the"])
    if spared or not {"no", "none", "not", "without", "neither"}.isdisjoint(before[-8:]):
        return f"the answer says that none lie in {where}, but {lesions.fact.text}" if here else ""
    if any(lesions.contains_lesion(region) is False for region in group):
        return f"no {'lesion' if lesions.places else 'box'} of this type lies in {where}: {lesions.fact.text}"
    if not known:
        return ""
    rest = lesions.rest if WORDS.rest & set(words[max(0, sentence.start - 30) : sentence.stop]) else ()
    accounts = [account for account in (known, rest) if account]
    says = f"lie in {where}, but {here} of {total} lie there"
    number = _number(text, sentence, first)
    if number is not None and (lesions.places or lesions.complete):
        parts = [[r] for r in group] if "each" in words[number.last : group[-1].last + 3] else [group]
        but = words[number.first - 2 : number.first] == ["all", "but"]
        right = all(
            any(number.low == (_total(a) - _count(a, part) if but else _count(a, part)) for a in accounts) for part in parts
        )
        return "" if right else f"the answer says that {text.text_of(number)} {says}"
    shares = [(_count(account, group), _total(account)) for account in accounts]
    for share, listed, right in (
        ("most", WORDS.most, any(2 * n > t for n, t in shares)),
        ("half of them", WORDS.half, any(abs(2 * n - t) < 2 for n, t in shares)),
        ("few", WORDS.few, any(2 * n <= t for n, t in shares)),
        ("all", WORDS.all, any(n == t for n, t in shares) or not WORDS.excepting.isdisjoint(words[sentence.start : first])),
    ):
        if not listed.isdisjoint(before):
            return "" if right else f"the answer says that {share} {says}"
    return ""


def _clause_before(words: list[str], sentence: range, first: int) -> list[str]:
    """The words of the clause that ends before token `first`; 'everywhere but the upper half' goes on, ', the largest' not."""
    breaks = (k for k in range(sentence.start, first) if words[k] in (",", ";", "but"))
    parts = (k for k in breaks if words[k + 1] != "the" or words[k + 2] in WORDS.largest)
    return words[max(parts, default=sentence.start - 1) + 1 : first]


def _number(text: ParsedText, sentence: range, first: int) -> Amount | None:
    """The number of lesions that a sentence places in the region at token `first`."""
    counts = [a for a in numbers.read(text) if a.whole and not (a.unit or a.edges or a.bound or a.about)]
    number = next((a for a in reversed(counts) if sentence.start <= a.first and a.last <= first), None)
    while number is not None and text.words[number.first - 2 : number.first] == ["of", "the"]:  # two of the ten largest
        number = next((a for a in reversed(counts) if sentence.start <= a.first and a.last <= number.first - 2), None)
    counted = {text.words[k] for a in counts for k in range(a.first, a.last)} if number else set()
    if number is None or set(text.words[number.last : first]) - _names(text, number.last, first) - counted - WORDS.lying:
        return None
    most = WORDS.most & set(text.words[max(sentence.start, number.first - 4) : number.first])
    return None if most else number  # most of the 27 hard exudates


def counts_quadrants(words: list[str], last: int) -> bool:
    """Says whether the number that ends before token `last` counts quadrants: three of the four quadrants."""
    after = words[last : last + 4]
    return not WORDS.quarters.isdisjoint((*after[:1], *(after[3:] if after[:2] == ["of", "the"] else ())))


def quadrants_counted(words: list[str], at: int) -> tuple[tuple[int, int], int]:
    """Returns the tokens and the number of the quadrants that are counted before token `at`, "quadrant"; 0 where none are."""
    first = at - 1 if (words[at - 1 : at] and words[at - 1] in numbers.SPELLED) or words[at - 1].isdigit() else at
    of_all = words[first - 2 : first] == ["of", "the"]
    k = first - 3 if of_all else first - 1 if first == at or words[first - 1] in WORDS.every else first
    if k < 0:
        return (at, at + 1), 0
    if words[k] in WORDS.every:
        return (k, at + 1), 4 if first == at else numbers.SPELLED.get(words[first], 4)
    value = int(words[k]) if words[k].isdigit() else numbers.SPELLED.get(words[k], 0)
    return (k, at + 1), int(value) if k < at and value <= 4 else 0


def _names(text: ParsedText, first: int, last: int) -> set[str]:
    """The words of conditions between two tokens."""
    return {text.words[k] for t in text.of("conditions") for k in range(t.first, t.last) if first <= k < last}


def _distances(text: ParsedText) -> list[Amount]:
    """The amounts of disc diameters, those in words among them: within one disc diameter, a disc diameter away."""
    units = [term for term in text.of("units") if "dd" in term.values]
    named = [a for a in numbers.read(text) if a.unit == "dd"] if units else []
    for term in units:
        k = term.first - 1
        if k >= 0 and not any(a.first <= k < a.last for a in named):
            value = 1 if text.words[k] in ("a", "the") else numbers.SPELLED.get(text.words[k])
            if value is not None:
                named.append(Amount(k, term.last, term.first, value, value, 0.0, True, "dd", spelled=True))
    return named


def together(text: ParsedText, amount: Amount, index: QuantityIndex) -> Quantity | None:
    """Returns a quantity of the lesions if an amount is their number in the regions named after it together; else None."""
    sentence = text.sentence(amount)
    group = next((g for g in _grouped(text, regions(text)) if g[0].first >= amount.last and g[0].first in sentence), None)
    term = _subject(text, group[0], sentence) if group and index.located else None
    but = text.words[amount.first - 2 : amount.first] == ["all", "but"]
    lesions = _locations(index, term) if term else None
    if not lesions:
        return None
    right = {_count(account, group) for account in (lesions.known(group), lesions.rest)}
    right |= {_total(account) - _count(account, group) for account in (lesions.known(group),)} if but else set()
    return next((q for q in index.located if q.fact == lesions.fact), None) if amount.low in right else None


def somewhere(text: ParsedText, term: Term, sentence: range) -> bool:
    """Says whether a sentence is about a lesion in one region only: none in the upper left quarter."""
    parts = [r.first for r in regions(text)] + [t.first for t in text.of("units") if "dd" in t.values]
    return any(term.last <= k < sentence.stop and not {";", ":", ","} & set(text.words[term.last : k]) for k in parts)


def _measured(text: ParsedText, amount: Amount, sentence: range) -> Term | None:
    """The lesion whose distance an amount gives; None where it is the distance of a vessel or zone, or no lesion is named."""
    if any(t.first in sentence for kind in ("zones", "vessels") for t in text.of(kind)):
        return None
    named = [t for t in text.of("conditions") if t.last <= amount.first]
    inside = [t for t in named if t.first in sentence] or [t for t in text.of("conditions") if t.first in sentence]
    return (inside or named or [None])[-1]


def _landmark(text: ParsedText, amount: Amount, sentence: range) -> str:
    """The landmark that a distance is measured from: the first named after it, else the last before it."""
    after = [k for k in range(amount.last, sentence.stop) if text.words[k] in WORDS.fovea | WORDS.disc]
    before = [k for k in range(sentence.start, amount.first) if text.words[k] in WORDS.fovea | WORDS.disc]
    k = after[0] if after else before[-1] if before else None
    return "" if k is None else "fovea" if text.words[k] in WORDS.fovea else "disc"


def _graded(quantity: Quantity) -> Quantity | None:
    """The distance from the fovea that a grade of exudates tells: none, more than one disc diameter, or within it."""
    if "exudate distance" not in quantity.fact.unit:
        return None
    return quantity._replace(value=(inf, 1.001, 0.999)[int(quantity.value)], part="fovea")


def _is_wrong_distance(text: ParsedText, amount: Amount, term: Term, facts: list[Quantity]) -> bool:
    """Whether none of the lesions lies as near, or one lies nearer, than an answer says."""
    least, words = min(q.value for q in facts), text.words
    start = text.sentence(amount).start
    before = words[max(start, amount.first - 4) : amount.first]
    of_lesion = words[max(start, term.first - 3 if term.last <= amount.first else start) : amount.first]
    at_most = before[-3:-1] == ["not", "more"] or before[-2:] == ["not", "more"]
    denied = not at_most and not {"no", "none", "not", "neither", "without"}.isdisjoint(of_lesion)
    if at_most or not WORDS.within.isdisjoint(before):
        return (least <= amount.low) == denied
    if not WORDS.beyond.isdisjoint(before):
        return not denied and least <= amount.low
    near = amount.step * 1.0001 + 1e-9
    return not any(amount.low - near <= q.value <= amount.high + near for q in facts)
