"""Which facts the numbers of an answer state: by their value and unit, and by what names them."""

from collections import defaultdict
from typing import NamedTuple

from retinal_lib.check.language import naming
from retinal_lib.check.language.lexicon import ParsedText, word_lists
from retinal_lib.check.language.naming import DIMENSIONS, Part, Spot
from retinal_lib.check.language.numbers import Amount
from retinal_lib.check.lesion_locations import REGION_WORDS
from retinal_lib.check.quantity_index import Quantity, QuantityIndex

WORDS = word_lists("number_facts")
_MANY = 40  # numbers of a sentence that are named together
_NEAR = 12  # sentences before one that may name its numbers
_ASIDE = frozenset(["age", "grade", "count", "box", "area"])  # measures beside which a bare number may be an age
_PARTS = {**WORDS.parts, "place": REGION_WORDS, "rest place": REGION_WORDS}  # part of a lesion type -> words that name it


class Number(NamedTuple):
    """A number of a text; `position` is its index in `amounts`, the numbers of the text."""

    text: ParsedText
    amounts: list[Amount]
    position: int

    @property
    def amount(self) -> Amount:
        """The number itself."""
        return self.amounts[self.position]

    @property
    def measures(self) -> set[str]:
        """The measures that the sentence names."""
        return {v for t in self.text.within("measures", self.text.sentence(self.amount)) for v in t.values}

    @property
    def counts_conditions(self) -> bool:
        """Whether a condition follows that the number counts: 6 haemorrhages, 20 of the hard exudates."""
        return any(self.amount.last <= t.first <= self.amount.last + 1 for t in self.text.of("conditions"))


class NumberReader:
    """Reader of the numbers of one conversation; `named` is what it has named so far, by kind."""

    def __init__(self, index: QuantityIndex):
        self.index = index
        self.named: dict[str, set] = defaultdict(set)

    def remember(self, text: ParsedText) -> None:
        """Records what a question or an answer names."""
        for term in text.terms:
            self.named[term.kind].update(map(str, term.values))

    def read(self, answer: ParsedText, question: ParsedText, amounts: list[Amount]) -> dict[int, Quantity]:
        """Returns the quantity that each of the numbers states, by position; numbers that state none are left out."""
        known = {i: found for i in range(len(amounts)) if (found := self._candidates(Number(answer, amounts, i)))}
        inner = {k for amount in amounts for k in range(amount.first, amount.last)}
        earlier = [Part(question, sentence, set()) for sentence in reversed(question.sentences)]
        for sentence in answer.sentences:
            inside = [i for i in known if amounts[i].first in sentence]
            for first in range(0, len(inside), _MANY):
                here = {i: known[i] for i in inside[first : first + _MANY]}
                for dimension in DIMENSIONS:
                    self._name(dimension, here, amounts, Part(answer, sentence, inner), earlier[: -_NEAR - 1 : -1])
                known |= here
            earlier.append(Part(answer, sentence, inner))
        return {i: found[0] for i, found in known.items() if found}

    def _name(
        self, dimension: str, found: dict[int, list[Quantity]], amounts: list[Amount], part: Part, earlier: list[Part]
    ) -> None:
        """Leaves those quantities of the numbers of a sentence that the words around them name, in one dimension."""
        known = frozenset([*self.named["measures"], "density"] if dimension == "measure" else ())
        while concerned := [i for i, quantities in found.items() if any(dimension in q.names for q in quantities)]:
            spots = [Spot(*amounts[i][:2], tuple(q.names for q in found[i]), bool(amounts[i].edges)) for i in concerned]
            reading = naming.Reading(dimension, spots, part, earlier, known)
            if (names := reading.names()) is None:
                found[concerned[reading.reached]] = []
                continue
            for i, given in zip(concerned, names, strict=True):
                found[i] = [q for q in found[i] if not given.isdisjoint(q.names.get(dimension, given))]
            return

    def _candidates(self, number: Number) -> list[Quantity]:
        """The quantities of a number's value that its unit and the words of the conversation allow; one for each fact."""
        fitting = (quantity for quantity in self.index.matching(number.amount) if self._may_be(quantity, number))
        return list({(q.fact.name, q.measure): q for q in reversed(list(fitting))}.values())[::-1]

    def _may_be(self, quantity: Quantity, number: Number) -> bool:
        amount, named, measure = number.amount, self.named, quantity.measure
        counts = amount.whole and not amount.unit
        if counts and number.counts_conditions and measure not in ("count", "grade", "age"):
            return False
        if measure == "count":
            lesions = (named["conditions"] or named["disorder"]) if quantity.subjects else not number.counts_conditions
            return counts and bool(lesions) and _part_fits(quantity, number)
        if measure == "age":
            return amount.unit == "years" or (counts and number.measures <= _ASIDE)
        if measure == "grade":
            return counts and ("grade" in named["measures"] or not named["conditions"].isdisjoint(quantity.subjects))
        if measure in ("box", "edge"):
            spans = amount.low != amount.high and amount.step < 0.001  # from 0.3500 to 0.5304 of the width
            return bool(amount.edges) or spans or "box" in named["measures"]
        if measure == "area":
            return amount.unit == "%" or "area" in named["measures"]
        if measure == "distance":
            return amount.unit == "dd"
        if quantity.excess:  # a path 3 % longer than its chord
            return amount.unit == "%" and "tortuosity" in named["measures"]
        return self._is_measured(quantity, amount)

    def _is_measured(self, quantity: Quantity, amount: Amount) -> bool:
        """Whether the conversation has named the measure, zone and vessels of a measurement."""
        named, measure = self.named, quantity.measure
        vessels = quantity.vessel in (None, "all") or bool(named["vessels"])
        zones = measure in ("crae", "crve", "avr") or quantity.zone in (None, "whole", *named["zones"])
        covered = measure == "density" and (amount.unit == "%" or "area" in named["measures"])
        implied = covered or (measure == "width" and amount.unit == "µm")
        return vessels and zones and (implied or not named["measures"].isdisjoint(quantity.names["measure"]))


def _part_fits(quantity: Quantity, number: Number) -> bool:
    """Whether the words between the amounts before and after a number name the part that a quantity is of."""
    part_words = _PARTS.get(quantity.part)
    if part_words is None:
        return True
    text, amounts, i = number.text, number.amounts, number.position
    first = amounts[i - 1].last if i else 0
    last = amounts[i + 1].first if i + 1 < len(amounts) else len(text.words)
    sentence = text.sentence(number.amount)
    return not part_words.isdisjoint(text.words[max(first, sentence.start) : min(last, sentence.stop)])
