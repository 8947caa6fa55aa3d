"""The numbers of answers against the ledger: which fact holds each, and what is wrong with those that none holds."""

from retinal_lib.check import number_faults as faults
from retinal_lib.check import unbound_numbers as unheld
from retinal_lib.check.findings import Finding, Trace
from retinal_lib.check.language import number_names as naming
from retinal_lib.check.language import numbers as amounts
from retinal_lib.check.language.lexicon import Reading
from retinal_lib.check.language.number_lists import Named
from retinal_lib.check.language.numbers import Amount
from retinal_lib.check.ledger import Ledger, Quantity
from retinal_lib.check.number_binding import Binder, follows
from retinal_lib.facts import Fact


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
                    findings += filter(None, [faults.overreach(turn, text, amount, grade)])
                elif (fact := self._fact(text, found, i, names, bound)) is not None:
                    first, last = amount.first, amount.last
                    traces.append(Trace(turn, text.span(first, last), text.said(first, last), "number", fact))
                elif not unheld.of_scale(self._binder, text, found, i, bound):
                    findings.append(faults.fault(self._binder, turn, text, amount, names))
        self.hear(text)
        return findings, traces

    def _fact(self, text: Reading, found: list[Amount], i: int, names: Named, bound: dict[int, Quantity]) -> Fact | None:
        """The fact that holds amount i; a quantity that does is noted in `bound`."""
        quantity = self._binder.bind(found[i], names)
        if quantity is not None:
            bound[i] = quantity
            return quantity.fact
        fact = unheld.worded(self._binder.ledger, text, found[i])
        if fact is not None:
            return fact
        apart = unheld.difference(self._binder, text, found[i], names) or unheld.together(self._binder, text, found[i])
        return apart.fact if apart else None
