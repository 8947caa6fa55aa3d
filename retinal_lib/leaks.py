"""Questions that give away what only the facts tell: values, labels, boxes, jargon, and answers put into the asker's mouth."""

import re

from retinal_lib import amounts, automorph, vocabulary
from retinal_lib.amounts import Amount
from retinal_lib.circumstances import of_picture, sides
from retinal_lib.finding import ERROR, Finding
from retinal_lib.ledger import Ledger
from retinal_lib.profile import NO, YES, Profile
from retinal_lib.vocabulary import WORDS, Reading, Term, implied

_CODE = re.compile(r"\b[A-Za-z]+(?:_[A-Za-z0-9]+)+\b")
_ASKS = frozenset(
    "is are do does did can could has have would will was were any whether if what which how where who when should may might".split()
)
_PRESUMES = frozenset("given since because as considering knowing seeing despite although though with why".split())
_TAG = re.compile(r"(?:isn't it|aren't they|doesn't it|don't they|, right|, correct|is it not|am i right|isn't that so|, no|i take it|as it (?:looks|seems)|i suppose|i guess|i assume|i think)\s*\?\s*$", re.I)
_AUXILIARY = frozenset("is are do does did can could has have would will was were any should may might isn't aren't doesn't don't".split())
_LEADING = frozenset("and so but ok okay doctor please also then well hello hi , now".split())
_MARKS = frozenset("spot dot line mark patch streak point fleck blot crack".split())
_DEFINITE = frozenset("the these those my its".split())
_PLACES = frozenset("macula eye retina disc vessel artery vein patient picture image photograph person lens vision sight show see".split())
_TECHNICAL = frozenset("fractal tortuosity curvature tort_density crae crve angle".split())
_DAMAGE = frozenset("damage harm change swelling effect".split())
_NEGATED = frozenset("isn't aren't doesn't don't wasn't".split())
_THIS = frozenset(["it's", "it is", "is it", "this is", "that is", "these are", "those are", "are those", "are these", "is this", "is that"])
_OPEN = frozenset("any sign evidence whether if possible".split())


class Leaks:
    """The questions of one conversation, in order; `hear` each answer in between: what it tells may be asked after."""

    def __init__(self, profile: Profile, ledger: Ledger):
        self.profile, self.ledger = profile, ledger
        self.told: set[object] = set()
        self.numbers: set[float] = set()

    def hear(self, answer: Reading) -> None:
        """Remembers what an answer tells."""
        for term in answer.terms:
            for value in term.values:
                self.told.add((term.kind, value))
                if term.kind == "conditions":
                    self.told |= {("conditions", parent) for parent in implied(str(value))}
            self.told.add(" ".join(answer.words[term.first : term.last]))
        for amount in amounts.read(answer):
            self.numbers |= {amount.low, amount.high, *amount.edges}
        self.told |= {("side", side) for side, _ in sides(answer, True)}

    def question(self, turn: int, text: Reading) -> list[Finding]:
        """What a question gives away."""
        self._turn, self._text, self._found = turn, text, []
        self._tagged = bool(_TAG.search(text.text))
        self._codes()
        self._values()
        self._labels()
        self._answers()
        self._jargon()
        return self._found

    def _add(self, kind: str, span: tuple[int, int], text: str, fact: object = None) -> None:
        self._found.append(Finding(kind, ERROR, self._turn, span, text, fact, "question"))

    def _at(self, term: Term) -> tuple[int, int]:
        return self._text.span(term.first, term.last)

    def _codes(self) -> None:
        for found in _CODE.finditer(self._text.text):
            if found[0] in automorph.columns() or "zone" in found[0].lower() or found[0] in self.profile.facts:
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

    def _held(self, amount: Amount) -> object | None:
        """The fact that holds a number of a question, where the words around it are of that fact."""
        kinds = {t.kind for t in self._text.terms}
        measures = {v for t in self._text.of("measures") for v in t.values}
        for quantity in self.ledger.valued(amount):
            if quantity.measure in ("count", "distance", "edge"):
                fits = "conditions" in kinds or "disorder" in kinds or bool(_MARKS & set(self._text.words))
            elif quantity.measure == "grade":
                fits = "grade" in measures or self._text.words[amount.last : amount.last + 1] == ["of"] or self._text.words[amount.last : amount.last + 2] == ["out", "of"]
            else:
                fits = quantity.measure in measures or bool(amount.unit) or not amount.whole or amount.spelled
            if fits:
                return quantity.fact
        if amount.whole and self._text.words[amount.first - 1 : amount.first] in (["i'm"], ["am"], ["aged"]):
            ages = (q.fact for q in self.ledger.valued(amount) if q.measure == "age")
            if fact := next(ages, None):
                return fact
        if amount.whole and amount.low > 12 and not amount.unit and "disorder" not in measures:
            loose = (fact for known, fact in self.ledger.loose if known.low == known.high == amount.low and not known.unit)
            if fact := next(loose, None):
                return fact
        if amount.unit == "degrees":
            return next((fact for known, fact in self.ledger.loose if (known.low, known.unit) == (amount.low, "degrees")), None)
        loose = ((known, fact) for known, fact in self.ledger.loose if (known.low, known.high) == (amount.low, amount.high))
        return next((fact for known, fact in loose if known.low != known.high), None)

    # --- labels -------------------------------------------------------------------------------------------------------

    def _labels(self) -> None:
        for term in self._text.terms:
            if term.kind == "conditions":
                self._label(term, str(term.values[0]))
            elif term.kind == "lay" and self._presumed(term):
                known = next((c for c in term.values[0] if c in self.profile.yes), None)
                if known and not any(("conditions", c) in self.told for c in term.values[0]):
                    self._tell("leak_answer", term, self.profile.yes[known])
            elif term.kind == "severity" and ("severity", term.value) not in self.told and self.profile.severity:
                after = [t for t in self._text.terms if t.kind == "conditions" and 0 <= t.first - term.last <= 1]
                if after and self.profile.severity[0] in term.values:
                    self._tell("leak_label", term, self.profile.severity[1])

    def _label(self, term: Term, condition: str) -> None:
        if any(("conditions", each) in self.told for each in term.values):
            return
        stance, fact = self.profile.stance_of(term.values)
        fact = fact or self.profile.patient.get(condition)
        if self._text.of("generic") or (condition == "dme_risk" and not self._tagged):
            return
        graded = {"grade", "stage", "level", "sign", "degree"} & set(self._text.words[max(0, term.first - 2) : term.first])
        if graded and condition in WORDS["asked_openly"] and not self._tagged:
            return
        denied = stance == NO and not {"without", "no"} & set(self._text.words[max(0, term.first - 2) : term.first])
        if self._presumed(term) and fact is not None and not denied:
            self._tell("leak_label", term, fact)
        elif stance == YES and condition not in WORDS["asked_openly"] and len(term.values) == 1:
            self._tell("leak_label", term, fact)

    def _tell(self, kind: str, term: Term, fact: object) -> None:
        said = self._text.said(term.first, term.last)
        reason = f": {fact.text}" if fact else ""
        self._add(kind, self._at(term), f"the question takes {said!r} as known, which no answer told before{reason}", fact)

    def _presumed(self, term: Term) -> bool:
        """Whether what is named is taken as known rather than asked for."""
        text, words = self._text, self._text.words
        sentence = text.sentence(term)
        if self._tagged and sentence == text.sentences[-1]:
            return True
        before, said = [words[k] for k in range(sentence.start, term.first)], [words[k] for k in sentence]
        if "or" in said and said[0] in _AUXILIARY:
            return False
        if term.kind in ("conditions", "lay", "severity") and self._definite(before):
            return True
        if _PRESUMES & set(said[:2]):
            return True
        if said[0] in _NEGATED:
            return True
        if _OPEN & set(before) or said[0] in _AUXILIARY or (len(said) > 1 and said[0] in _LEADING and said[1] in _AUXILIARY):
            return False
        verbless = not {"is", "are", "was", "do", "does", "has", "have", "show", "describe", "make", "makes", "look", "looks"} & set(said)
        return not (verbless and len(said) < 8)

    @staticmethod
    def _definite(before: list[str]) -> bool:
        """Whether what follows is spoken of as known: the haemorrhages, the damage by ..."""
        if before[-1:] and before[-1] in _DEFINITE:
            return True
        if before[-2:-1] and before[-2] in _DEFINITE and before[-1] not in _PLACES:
            return True
        return bool(_DAMAGE & set(before[-3:])) and bool(_DEFINITE & set(before[-5:]))

    # --- answers in the question --------------------------------------------------------------------------------------

    def _answers(self) -> None:
        text = self._text
        compared = {"wider", "thinner", "narrower", "thicker", "denser"} & set(text.words)
        if compared and "why" in text.words and not any(isinstance(t, tuple) and t[0] == "measures" for t in self.told):
            self._add("leak_answer", (0, len(text.text)), f"the question takes as known that vessels are {compared.pop()}, which no answer told before")
        if self.profile.rejected and ({"why"} & set(text.words)) and {"can't", "cannot", "impossible", "unable"} & set(text.words) and not any(isinstance(t, tuple) and t[0] == "quality" for t in self.told):
            self._add("leak_answer", (0, len(text.text)), "the question takes as known that nothing can be told of the image", self.profile.rejected)
        told = sides(text)
        if len({side for side, _ in told} & {"left", "right"}) == 1:
            for side, term in told:
                if side != "both" and ("side", side) not in self.told:
                    self._add("leak_answer", self._at(term), f"the question tells that it is the {side} eye, which no answer told before", self.profile.facts.get("eye"))
        levels = {v for t in text.of("quality") for v in t.values}
        for term in text.terms:
            if term.kind == "quality" and of_picture(text, term) and len(levels) == 1 and ("quality", term.value) not in self.told and self._presumed(term):
                self._add("leak_answer", self._at(term), f"the question judges the image quality ({text.said(term.first, term.last)!r}) before any answer did")
            elif term.kind == "artefacts" and self._noted(term) and ("artefacts", term.value) not in self.told:
                self._add("leak_answer", self._at(term), f"the question takes {text.said(term.first, term.last)!r} as known before any answer told it")
            elif term.kind == "quality" and text.words[term.first] == "too" and 2 in self.profile.levels and ("quality", 2) not in self.told:
                self._add("leak_answer", self._at(term), f"the question judges the image quality ({text.said(term.first, term.last)!r}) before any answer did")
            elif (term.kind == "normal" or (term.kind == "disorder" and self._denied(term))) and self._supposed(term) and not self._spoken_of and not self._limits(term):
                self._add("leak_answer", self._at(term), f"the question takes {text.said(term.first, term.last)!r} as known before any answer told it")

    def _supposed(self, term: Term) -> bool:
        """Whether a question supposes normality rather than asks for it."""
        words = self._text.words
        sentence = self._text.sentence(term)
        said = [words[k] for k in sentence if words[k] not in _LEADING]
        if {"isn't", "not", "aren't"} & set(words[max(0, term.first - 2) : term.first]) and not self._tagged:
            return False  # anything that is not normal?
        if self._tagged or "don't you think" in self._text.text or words[term.first - 1 : term.first] == ["perfectly"]:
            return True
        if said[:2] == ["all", "right"] and len(said) > 2:
            return False  # All right, and what ...
        if not said or said[0] in _PRESUMES or said[0] not in _ASKS or "confirm" in said:
            return bool(said) and len(said) > 2
        return {"my", "this", "the"} & set(words[term.first - 1 : term.first]) != set()

    @property
    def _spoken_of(self) -> bool:
        """Whether an answer told of disease or of health."""
        return any(isinstance(each, tuple) and each[0] in ("normal", "disorder", "conditions") for each in self.told)

    def _noted(self, term: Term) -> bool:
        """Whether annotators noted what a question asks after, or it is spoken of as known."""
        word = self._text.words[term.last - 1]
        noted = any(f.name == "remark" and (word in vocabulary.read(f.text).words or word == "dirt") for f in self.profile.quality)
        return noted or bool({"the", "this"} & set(self._text.words[max(0, term.first - 1) : term.first]))

    def _denied(self, term: Term) -> bool:
        """Whether a question says that there is no disease."""
        return bool({"no", "without", "free"} & set(self._text.words[max(0, term.first - 3) : term.first]))

    def _limits(self, term: Term) -> bool:
        return self._text.words[term.last : term.last + 1] in (["range"], ["value"], ["person"], ["vessel"])

    def _jargon(self) -> None:
        technical = [t for t in self._text.of("measures") if t.last - t.first > 1 and _TECHNICAL & set(t.values)]
        for term in [*self._text.of("jargon"), *technical, *self._text.of("scales")]:
            phrase = " ".join(self._text.words[term.first : term.last])
            if phrase.startswith("zone") and any(isinstance(each, tuple) and each[0] == "zones" for each in self.told):
                continue
            if phrase not in self.told and ("jargon", term.value) not in self.told:
                said = self._text.said(term.first, term.last)
                self._add("leak_jargon", self._at(term), f"the question says {said!r}, which a person who sees only the picture would not know")


