"""Numbers and comparisons of answers, held against the facts."""

from retinal_lib.check import lesion_locations as whereabouts
from retinal_lib.check import number_binding
from retinal_lib.check.findings import Finding, Heard, Trace
from retinal_lib.check.language import number_names as naming
from retinal_lib.check.language import numbers as amounts
from retinal_lib.check.language.lexicon import Reading, Term, family, word_lists
from retinal_lib.check.language.number_lists import Named
from retinal_lib.check.language.numbers import Amount
from retinal_lib.check.ledger import Ledger, Quantity, holds
from retinal_lib.check.number_binding import Binder, follows
from retinal_lib.facts import Fact

WORDS = word_lists("number_check")

_COMPARES = frozenset().union(*WORDS.greater.values(), *WORDS.lesser.values())


def compared(heard: Heard, ledger: Ledger) -> None:
    """Which of arteries and veins is told to have more, against the measurements."""
    text = heard.text
    if not text.has(_COMPARES):
        return
    words, vessels = text.words, [t for t in text.of("vessels") if t.values[0] != "all"]
    _alone(heard, ledger, vessels)
    for k in [k for k, word in enumerate(words) if word == "than"] if len(vessels) > 1 and text.has({"than"}) else ():
        before = [t for t in vessels if t.last <= k and k - t.last < 7]
        after = [t for t in vessels if t.first > k and t.first - k < 4]
        said = set(words[max(0, k - 4) : k])
        if not before or not after or before[-1].value == after[0].value or said & {"not", "no", "nor"}:
            continue
        for measure in WORDS.greater:
            sign = bool(said & WORDS.greater[measure]) - bool(said & WORDS.lesser[measure])
            if not sign:
                continue
            sentence = text.sentence(before[-1])
            zones = {v for t in text.of("zones") if t.first in sentence for v in t.values} or {"whole", "b", "c"}
            pairs = [(_of(ledger, measure, before[-1].value, z), _of(ledger, measure, after[0].value, z)) for z in zones]
            known = [(one, other) for one, other in pairs if one and other]
            if known and all((one.value - other.value) * sign < 0 for one, other in known):
                (one, other), spot = known[0], Term(before[-1].first, after[0].last, "compared", ())
                says = f"{heard.said(spot)!r} is not so: {one.fact.text}, {other.fact.text}"
                heard.add("misattributed", spot, says, one.fact)


def _alone(heard: Heard, ledger: Ledger, vessels: list[Term]) -> None:
    """The arteries are the wider ones."""
    text = heard.text
    for term in vessels:
        after = text.words[term.last : term.last + 4]
        for measure in WORDS.greater:
            sign = bool(set(after) & WORDS.greater[measure]) - bool(set(after) & WORDS.lesser[measure])
            if not sign or after[:2] not in (["are", "the"], ["is", "the"]) or "than" in text.words[term.last : term.last + 6]:
                continue
            one, other = (
                _of(ledger, measure, v, "whole") for v in (term.value, "vein" if term.value == "artery" else "artery")
            )
            if one and other and (one.value - other.value) * sign < 0:
                said = text.said(term.first, term.last + 4)
                says = f"{said!r} is not so: {one.fact.text}, {other.fact.text}"
                heard.add("misattributed", term, says, one.fact)


def _of(ledger: Ledger, measure: str, vessel: object, zone: str) -> Quantity | None:
    return next((q for q in ledger.quantities if (q.measure, q.vessel, q.zone) == (measure, vessel, zone)), None)


def counted(heard: Heard, ledger: Ledger) -> None:
    """Several lesions of a type of which one is marked."""
    text = heard.text
    if not text.has(WORDS.many):
        return
    counts = [q for q in ledger.of("count") if q.value == 1 and q.subjects and not q.part]
    for term in text.of("conditions") if counts else ():
        if WORDS.many & set(text.words[max(0, term.first - 3) : term.first]):
            fact = next((q.fact for q in counts if q.subjects & family(term)), None)
            if fact is not None:
                heard.add("unsupported", term, f"several {heard.said(term)!r} are told, but {fact.text}", fact)


def told(heard: Heard, ledger: Ledger) -> None:
    """All of these, of one answer."""
    compared(heard, ledger)
    counted(heard, ledger)
    whereabouts.told(heard, ledger)


_STOPS = frozenset([".", ";"])
_NONE: frozenset[str] = frozenset()


def worded(ledger: Ledger, text: Reading, amount: Amount) -> Fact | None:
    """The fact whose words hold the amount: a scale's criteria, an angle of view, a note."""
    if amount.first and text.words[amount.first - 1] in WORDS.levels:
        return None
    for loose, fact in ledger.loose:
        if (loose.low, loose.high, loose.bound) != (amount.low, amount.high, amount.bound):
            continue
        if fact.aspect == "lesion" and not text.has(WORDS.largest):
            continue
        if loose.unit == amount.unit or (not amount.unit and loose.unit == "degrees"):
            return fact
    return None


def of_scale(binder: Binder, text: Reading, found: list[Amount], i: int, bound: dict[int, Quantity]) -> bool:
    """Whether amount i tells how far a scale reaches, what a level stands for, or how a zone or a measure is defined."""
    amount, words, tops = found[i], text.words, binder.ledger.tops
    if amount.low == 0 and amount.high in tops:
        here = i and _STOPS.isdisjoint(words[found[i - 1].last : amount.first])
        return not (here and i - 1 in bound and bound[i - 1].top not in (0, amount.high))
    return (amount.whole and _of_level(text, amount, tops, len(found) > 1)) or _defines(binder, text, found, amount)


def _of_level(text: Reading, amount: Amount, tops: set[int], among: bool) -> bool:
    """Whether a whole number is a scale's end or a level that is explained; `among` others."""
    words = text.words
    before, after = words[amount.first - 1] if amount.first else "", words[amount.last : amount.last + 1]
    if amount.low in tops and (before in ("/", "of", "to") or words[amount.first - 2 : amount.first] == ["out", "of"]):
        return True
    ends = amount.low == amount.high and (amount.low in tops or amount.low == 0)
    explained = (
        before in WORDS.before_end
        or (before == "at" and words[amount.first - 2] in WORDS.reaches)
        or after == ["("]
        or not WORDS.means.isdisjoint(after)
    )
    if among and ends and explained and before not in WORDS.levels and text.has(WORDS.scale):
        return True
    if amount.bound and amount.low in (0, 1) and not amount.unit:
        return True  # a value below 1 means ...
    return before in WORDS.levels and not WORDS.means.isdisjoint(after)  # the claims hold it against what it is


def _defines(binder: Binder, text: Reading, found: list[Amount], amount: Amount) -> bool:
    """The tortuosity of a straight line, the values between which a fractal dimension lies, how far a zone reaches."""
    if amount.low == 1 and text.has(WORDS.straight):
        return True
    if amount.low in (1, 2) and "fractal" in binder.known["measures"] and {e for a in found for e in a[3:5]} >= {1.0, 2.0}:
        return True
    told = binder.ledger.vascular or binder.ledger.placed
    return bool(told) and amount.unit == "dd" and {amount.low, amount.high} <= {0.5, 1.0, 2.0}


def difference(binder: Binder, text: Reading, amount: Amount, names: Named) -> Quantity | None:
    """The first of two quantities of one measure that the amount is the difference of, in words such as 5 µm wider."""
    words, quantities = text.words, binder.ledger.quantities
    if amount.spelled:
        compared = amount.ratio or words[amount.last : amount.last + 1] in (["that"], ["as"]) or _of_vessels(text, amount)
    elif amount.bound or not _differs(words, amount):
        return None
    else:
        compared = amount.unit == "%"
    if amount.ratio:
        for quantity in quantities:
            if quantity.measure == "avr" and abs(1 / quantity.value - amount.low) <= amount.step:
                return next(q for q in quantities if q.measure == "avr")
    known = names.own.get("measures", _NONE) | names.before.get("measures", _NONE) | binder.known["measures"]
    named = [q for q in quantities if q.measure in known and not q.excess]
    for i, one in enumerate(named):
        for other in named[i + 1 :]:
            if one.measure == other.measure and _apart_by_one(one, other) and _between(one, other, amount, compared):
                return one
    return None


def together(binder: Binder, text: Reading, amount: Amount) -> Quantity | None:
    """A quantity of the lesions that an amount counts in several quadrants together."""
    counts = amount.whole and not (amount.unit or amount.edges or amount.bound)
    return whereabouts.together(text, amount, binder.ledger) if counts else None


def _differs(words: list[str], amount: Amount) -> bool:
    near = words[max(0, amount.first - 4) : amount.last + 4]
    return not WORDS.differs.isdisjoint(near) or "by" in words[max(0, amount.first - 2) : amount.first]


def _apart_by_one(one: Quantity, other: Quantity) -> bool:
    """Whether two quantities differ in one thing that names them: in vessels, zone, formula, direction or lesion."""
    apart = sum(a != b for a, b in zip(one[4:8], other[4:8], strict=True)) + (one.subjects != other.subjects)
    return apart == 1


def _between(one: Quantity, other: Quantity, amount: Amount, compared: bool) -> bool:
    """Whether an amount tells how far two quantities lie apart, or what part the one is of the other."""
    if compared and _share(one, other, amount):
        return True
    value = abs(one.value - other.value)
    if not value:
        return False
    return holds(amount, one._replace(value=value, told=abs(one.shown - other.shown)))


def _of_vessels(text: Reading, amount: Amount) -> bool:
    """Whether a part is told of what other vessels have: three quarters of the veins' width."""
    if text.words[amount.last : amount.last + 1] != ["of"]:
        return False
    return any(amount.last < t.first <= amount.last + 2 for t in text.of("vessels"))


def _share(one: Quantity, other: Quantity, amount: Amount) -> bool:
    """Whether an amount tells by what share one value is larger or smaller than another, or what part it is of it."""
    low, high = sorted((one.value, other.value))
    if low <= 0:
        return False
    if amount.ratio:
        return abs(high / low - amount.low) <= amount.step
    if amount.spelled:
        return abs(low / high - amount.low) <= 0.06
    share, most = amount.low / 100, max(amount.step, 0.5) * 1.01 / 100
    return min(abs(high / low - 1 - share), abs(1 - low / high - share)) <= most


class Auditor:
    """Reads the turns of one conversation in order; remembers what was named before."""

    def __init__(self, ledger: Ledger):
        self._binder = Binder(ledger)

    def hear(self, text: Reading) -> None:
        """Remembers what a question or sentence names."""
        self._binder.hear(text.terms)

    def answer(self, turn: int, text: Reading) -> tuple[list[Finding], list[Trace]]:
        """What the numbers of an answer come to."""
        findings: list[Finding] = []
        traces: list[Trace] = []
        if found := amounts.read(text):
            named = naming.name(text, found)
            self._binder.read(text, found)
            bound: dict[int, Quantity] = {}
            heard, terms = 0, text.terms
            for i, (amount, names) in enumerate(zip(found, named, strict=True)):
                upto = heard
                while upto < len(terms) and terms[upto].first < amount.first:
                    upto += 1
                self._binder.hear(terms[heard:upto])
                heard = upto
                grade = bound.get(i - 1)
                if grade is not None and grade.top and follows(text, found[i - 1], amount):
                    findings += filter(None, [number_binding.overreach(turn, text, amount, grade)])
                elif (fact := self._fact(text, found, i, names, bound)) is not None:
                    first, last = amount.first, amount.last
                    traces.append(Trace(turn, text.span(first, last), text.said(first, last), "number", fact))
                elif not of_scale(self._binder, text, found, i, bound):
                    findings.append(number_binding.fault(self._binder, turn, text, amount, names))
        self.hear(text)
        return findings, traces

    def _fact(self, text: Reading, found: list[Amount], i: int, names: Named, bound: dict[int, Quantity]) -> Fact | None:
        """The fact that holds amount i; a quantity that does is noted in `bound`."""
        quantity = self._binder.bind(found[i], names)
        if quantity is not None:
            bound[i] = quantity
            return quantity.fact
        fact = worded(self._binder.ledger, text, found[i])
        if fact is not None:
            return fact
        apart = difference(self._binder, text, found[i], names) or together(self._binder, text, found[i])
        return apart.fact if apart else None
