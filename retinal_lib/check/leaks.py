"""Questions that give away what only the facts tell: values, labels, boxes, jargon, and answers put into the asker's mouth."""

import re
from collections.abc import Iterable

from retinal_lib.check.case_profile import NO, YES, Profile
from retinal_lib.check.findings import ERROR, Finding
from retinal_lib.check.image_and_person import of_picture, sides
from retinal_lib.check.language import lexicon as vocabulary
from retinal_lib.check.language import numbers as amounts
from retinal_lib.check.language.lexicon import Reading, Term, implied, word_lists
from retinal_lib.check.language.numbers import Amount
from retinal_lib.check.language.presupposition import presumed, supposed, tagged
from retinal_lib.check.ledger import Ledger, Quantity
from retinal_lib.dataset import measurements
from retinal_lib.facts import Fact

WORDS = word_lists("leaks")

_CODE = re.compile(r"\b[A-Za-z]+(?:_[A-Za-z0-9]+)+\b")
_TECHNICAL = frozenset("fractal tortuosity curvature tort_density crae crve angle".split())  # measures nobody sees


class Leaks:
    """The questions of one conversation, in order; `hear` each answer in between: what it tells may be asked after."""

    def __init__(self, profile: Profile, ledger: Ledger):
        self.profile, self.ledger = profile, ledger
        self.told: dict[str, set] = {}  # the values that answers told, by kind
        self.numbers: set[float] = set()
        self._heard: list[Reading] = []

    def hear(self, answer: Reading) -> None:
        """Remembers what an answer tells."""
        self._heard.append(answer)
        for kind, terms in answer.by_kind.items():
            told = self.told.setdefault(kind, set())
            for term in terms:
                told.update(term.values)
        if "conditions" in answer.by_kind:
            told = self.told["conditions"]
            told.update([parent for term in answer.of("conditions") for value in term.values for parent in implied(value)])
        for amount in amounts.read(answer):
            self.numbers.update((amount.low, amount.high, *amount.edges))
        self.told.setdefault("side", set()).update([side for side, _ in sides(answer, True)])

    def question(self, turn: int, text: Reading) -> list[Finding]:
        """What a question gives away."""
        self._turn, self._text, self._found = turn, text, []
        self._tagged = tagged(text)
        if "_" in text.text:
            self._codes()
        self._values()
        self._labels()
        self._reasons()
        self._sides()
        self._judged()
        self._jargon()
        return self._found

    def _add(self, kind: str, span: tuple[int, int], text: str, fact: Fact | None = None) -> None:
        self._found.append(Finding(kind, ERROR, self._turn, span, text, fact, "question"))

    def _at(self, term: Term) -> tuple[int, int]:
        return self._text.span(term.first, term.last)

    def _said(self, term: Term) -> str:
        return self._text.said(term.first, term.last)

    def _untold(self, kind: str, values: Iterable[object]) -> bool:
        """Whether no answer told any of these values."""
        return self.told.get(kind, frozenset()).isdisjoint(values)

    def _codes(self) -> None:
        for found in _CODE.finditer(self._text.text):
            if found[0] in measurements.columns() or "zone" in found[0].lower() or found[0] in self.profile.facts:
                self._add("leak_jargon", found.span(), f"the question uses the column name {found[0]!r}")

    # --- values -------------------------------------------------------------------------------------------------------

    def _values(self) -> None:
        for amount in amounts.read(self._text):
            said = self._text.said(amount.first, amount.last)
            span = self._text.span(amount.first, amount.last)
            if {amount.low, amount.high, *amount.edges} <= self.numbers or (amount.whole and amount.bound and amount.low <= 1):
                continue
            if amount.edges:
                self._add("leak_box", span, f"the question gives the box {said}, which no answer told before")
            elif (fact := self._held(amount)) is not None:
                self._add("leak_value", span, f"the question gives {said!r}, which only the facts tell: {fact.text}", fact)
            elif not amount.whole and not amount.spelled:
                self._add("leak_value", span, f"the question gives the value {said!r}, which no answer told before")

    def _held(self, amount: Amount) -> Fact | None:
        """The fact that holds a number of a question, where the words around it are of that fact."""
        valued = self.ledger.valued(amount)
        for quantity in valued:
            if self._fits(quantity, amount):
                return quantity.fact
        loose, words = self.ledger.loose, self._text.words
        if amount.whole and words[amount.first - 1 : amount.first] in (["i'm"], ["am"], ["aged"]):
            fact = next((q.fact for q in valued if q.measure == "age"), None)
            if fact is not None:
                return fact
        if amount.whole and amount.low > 12 and not amount.unit:
            same = (fact for known, fact in loose if known.low == known.high == amount.low and not known.unit)
            if fact := next(same, None):
                return fact
        if amount.unit == "degrees":
            return next((fact for known, fact in loose if (known.low, known.unit) == (amount.low, "degrees")), None)
        ranges = (fact for known, fact in loose if known.low != known.high and known[3:5] == amount[3:5])
        return next(ranges, None)

    def _fits(self, quantity: Quantity, amount: Amount) -> bool:
        """Whether a question that has a number of a quantity's value is about that quantity."""
        words, measures = self._text.words, {v for t in self._text.of("measures") for v in t.values}
        if quantity.measure in ("count", "distance", "edge"):
            return bool(self._text.of("conditions") or self._text.of("disorder")) or self._text.has(WORDS.marks)
        if quantity.measure == "grade":
            after = words[amount.last : amount.last + 2]
            return "grade" in measures or after[:1] == ["of"] or after == ["out", "of"]
        return quantity.measure in measures or bool(amount.unit) or not amount.whole or amount.spelled

    # --- labels -------------------------------------------------------------------------------------------------------

    def _labels(self) -> None:
        for term in self._text.terms:
            if term.kind == "conditions":
                self._label(term, str(term.values[0]))
            elif term.kind == "lay":
                self._lay(term)
            elif term.kind == "severity" and self.profile.severity and self._untold("severity", term.values[:1]):
                after = any(0 <= t.first - term.last <= 1 for t in self._text.of("conditions"))
                if after and self.profile.severity[0] in term.values:
                    self._tell("leak_label", term, self.profile.severity[1])

    def _lay(self, term: Term) -> None:
        """A lay word for a condition that the eye has."""
        conditions = term.values[0]
        known = next((c for c in conditions if c in self.profile.yes), None)
        if known and self._untold("conditions", conditions) and (term.last - term.first > 1 or self._presumed(term)):
            self._tell("leak_answer", term, self.profile.yes[known])

    def _label(self, term: Term, condition: str) -> None:
        text, openly = self._text, condition in WORDS.asked_openly
        if text.of("generic") or (condition == "dme_risk" and not self._tagged):
            return
        if not self._untold("conditions", term.values):
            return
        before = text.words[max(0, term.first - 2) : term.first]
        if openly and not self._tagged and not WORDS.graded.isdisjoint(before):
            return
        stance, fact = self.profile.stance_of(term.values)
        fact = fact or self.profile.patient.get(condition)
        denied = stance == NO and "without" not in before and "no" not in before
        freed = stance == NO and "free" in before  # is it free of ...?
        if (
            freed
            or (fact is not None and not denied and self._presumed(term))
            or (
                stance == YES
                and not openly
                and len(term.values) == 1
                and WORDS.plain.isdisjoint(text.words[term.first : term.last])
            )
        ):
            self._tell("leak_label", term, fact)

    def _presumed(self, term: Term) -> bool:
        return presumed(self._text, term, self._tagged)

    def _tell(self, kind: str, term: Term, fact: Fact | None) -> None:
        said = self._text.said(term.first, term.last)
        reason = f": {fact.text}" if fact else ""
        self._add(kind, self._at(term), f"the question takes {said!r} as known, which no answer told before{reason}", fact)

    # --- answers in the question --------------------------------------------------------------------------------------

    def _reasons(self) -> None:
        """Questions for the reason of what no answer told."""
        text = self._text
        if not text.has({"why"}):
            return
        if text.has(WORDS.compared) and not self.told.get("measures"):
            said = next(word for word in text.words if word in WORDS.compared)
            says = f"the question takes as known that vessels are {said}, which no answer told before"
            self._add("leak_answer", (0, len(text.text)), says)
        if self.profile.rejected and text.has(WORDS.unable) and not self.told.get("quality"):
            says = "the question takes as known that nothing can be told of the image"
            self._add("leak_answer", (0, len(text.text)), says, self.profile.rejected)

    def _sides(self) -> None:
        found = [(side, term) for side, term in sides(self._text) if side != "both"]
        if len({side for side, _ in found}) != 1:
            return
        for side, term in found:
            if self._untold("side", (side,)):
                says = f"the question tells that it is the {side} eye, which no answer told before"
                self._add("leak_answer", self._at(term), says, self.profile.facts.get("eye"))

    def _judged(self) -> None:
        """Image quality, artefacts and normality that are judged before any answer did."""
        for term in self._text.terms:
            if term.kind == "quality":
                if self._rated(term):
                    says = f"the question judges the image quality ({self._said(term)!r}) before any answer did"
                    self._add("leak_answer", self._at(term), says)
            elif (term.kind == "artefacts" and self._noted(term) and self._untold("artefacts", term.values[:1])) or (
                term.kind in ("normal", "disorder") and self._normal(term)
            ):
                says = f"the question takes {self._said(term)!r} as known before any answer told it"
                self._add("leak_answer", self._at(term), says)

    def _rated(self, term: Term) -> bool:
        """Whether a word of quality is taken as known, or tells that the picture is too poor, which it is."""
        text = self._text
        one = len({v for t in text.of("quality") for v in t.values}) == 1
        if one and of_picture(text, term) and self._untold("quality", term.values[:1]) and self._presumed(term):
            return True
        return text.words[term.first] == "too" and 2 in self.profile.levels and self._untold("quality", (2,))

    def _normal(self, term: Term) -> bool:
        """Whether a question supposes that the eye is normal before an answer told of health or disease."""
        if term.kind == "disorder":
            before = self._text.words[max(0, term.first - 3) : term.first]
            if not self._given(term) and {"no", "without", "free"}.isdisjoint(before):
                return False
        if any(self.told.get(kind) for kind in ("normal", "disorder", "conditions")):
            return False
        after = self._text.words[term.last : term.last + 1]
        return not (after and after[0] in WORDS.usual) and (self._given(term) or supposed(self._text, term, self._tagged))

    def _given(self, term: Term) -> bool:
        """Whether a question gives a reason for what it takes as known: since it is badly diseased."""
        return not {"since", "because", "given"}.isdisjoint(self._text.words[max(0, term.first - 6) : term.first])

    def _noted(self, term: Term) -> bool:
        """Whether annotators noted what a question asks after, or it is spoken of as known."""
        word = self._text.words[term.last - 1]
        noted = any(
            f.name == "remark" and (word in vocabulary.read(f.text).words or word == "dirt") for f in self.profile.quality
        )
        return noted or bool({"the", "this"} & set(self._text.words[max(0, term.first - 1) : term.first]))

    def _jargon(self) -> None:
        text = self._text
        technical = [t for t in text.of("measures") if t.last - t.first > 1 and not _TECHNICAL.isdisjoint(t.values)]
        found = [*text.of("jargon"), *technical, *text.of("scales")]
        phrases = self._phrases() if found else frozenset()
        for term in found:
            phrase = " ".join(text.words[term.first : term.last])
            if phrase in phrases or (phrase.startswith("zone") and self.told.get("zones")):
                continue
            if self._untold("jargon", term.values[:1]):
                says = f"the question says {self._said(term)!r}, which a person who sees only the picture would not know"
                self._add("leak_jargon", self._at(term), says)

    def _phrases(self) -> set[str]:
        """The names that answers used."""
        return {" ".join(text.words[t.first : t.last]) for text in self._heard for t in text.terms}
