"""Check of questions that give away what only the facts say: values, labels, boxes, technical words, and whole answers."""

import re
from collections import defaultdict
from collections.abc import Iterable

from retinal_lib.check.case_profile import ABSENT, PRESENT, SUSPECTED, CaseProfile
from retinal_lib.check.findings import AnswerFindings, Check
from retinal_lib.check.image_and_person import of_picture, sexes, sides
from retinal_lib.check.language import lexicon, numbers
from retinal_lib.check.language.lexicon import ParsedText, Term, implied, word_lists
from retinal_lib.check.language.negation import is_suspected
from retinal_lib.check.language.numbers import Amount
from retinal_lib.check.language.presupposition import is_tagged, presupposes, presupposes_normality
from retinal_lib.check.lesion_locations import regions
from retinal_lib.check.quantity_index import Quantity, QuantityIndex
from retinal_lib.dataset import measurements
from retinal_lib.facts import Fact

WORDS = word_lists("leaks")
_COLUMN = re.compile(r"\b[A-Za-z]+(?:_[A-Za-z0-9]+)+\b")
_UNSURE = frozenset(["how", "or", "whether"])  # how severe is it; mild or severe
_TECHNICAL = frozenset("fractal tortuosity curvature tort_density crae crve angle".split())  # measures nobody sees


class Leaks(Check):
    """Check of questions. A later question may name what an earlier answer stated."""

    def __init__(self, profile: CaseProfile, index: QuantityIndex):
        super().__init__(profile, index)
        self._held: dict[str, set] = defaultdict(set)
        self._answers: list[ParsedText] = []
        self._unread: list[ParsedText] = []  # the answers of which `_held` has nothing yet

    def answer(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Records an answer."""
        self._answers.append(answer)
        self._unread.append(answer)

    @property
    def _stated(self) -> dict[str, set]:
        """The values that answers stated, by kind; read where a question names something."""
        while self._unread:
            answer = self._unread.pop()
            for term in answer.terms:
                self._held[term.kind].update(term.values)
            for term in answer.of("conditions"):
                self._held["conditions"].update(*map(implied, term.values))
            self._held["side"].update(side for side, _ in sides(answer, True))
            self._held["region"].update(region[2:] for region in regions(answer))
            self._held["sex"].update(sex for _, sex in sexes(answer))
        return self._held

    def question(self, question: ParsedText, findings: AnswerFindings) -> None:
        """Adds a finding for each thing that a question gives away."""
        self._columns(question, findings)
        self._values(question, findings)
        self._labels(question, findings)
        self._reasons(question, findings)
        self._sides(question, findings)
        self._sex(question, findings)
        self._places(question, findings)
        self._judged(question, findings)
        self._jargon(question, findings)

    def _is_new(self, kind: str, values: Iterable[object]) -> bool:
        """Whether no answer stated any of these values."""
        return self._stated[kind].isdisjoint(values)

    def _columns(self, question: ParsedText, findings: AnswerFindings) -> None:
        for match in _COLUMN.finditer(question.text):
            name = match[0]
            if name in measurements.columns() or "zone" in name.lower() or name in self.profile.facts:
                findings.add_at("leak_jargon", match.span(), f"the question uses the column name {name!r}")

    # --- values -------------------------------------------------------------------------------------------------------

    def _values(self, question: ParsedText, findings: AnswerFindings) -> None:
        asked = numbers.read(question)
        told = {n for a in self._answers for b in numbers.read(a) for n in (b.low, b.high, *b.edges)} if asked else set()
        for amount in asked:
            text = question.text_of(amount)
            stated = told.issuperset((amount.low, amount.high, *amount.edges))
            if stated or (amount.whole and amount.bound and amount.low <= 1):
                continue
            if amount.edges:
                findings.add("leak_box", amount, f"the question gives the box {text}, but no earlier answer stated it")
            elif (fact := self._fact(question, amount)) is not None:
                says = f"the question gives {text!r}, but no earlier answer stated it: {fact.text}"
                findings.add("leak_value", amount, says, fact)
            elif not amount.whole and not amount.spelled:
                findings.add("leak_value", amount, f"the question gives the value {text!r}, but no earlier answer stated it")

    def _fact(self, question: ParsedText, amount: Amount) -> Fact | None:
        """The fact with the number of a question, where the words around the number fit that fact."""
        matching, words, text_numbers = self.index.matching(amount), question.words, self.index.text_numbers
        fitting = [q.fact for q in matching if _fits(q, question, amount)]
        if amount.whole and words[amount.first - 1 : amount.first] in (["i'm"], ["am"], ["aged"]):
            fitting += [q.fact for q in matching if q.measure == "age"]
        telling = amount.low != amount.high or amount.low > 12 or amount.unit  # not: two things
        said = (amount.low, amount.high, amount.unit)
        fitting += [fact for known, fact in text_numbers if telling and (known.low, known.high, known.unit) == said]
        return next(iter(fitting), None)

    # --- labels -------------------------------------------------------------------------------------------------------

    def _labels(self, question: ParsedText, findings: AnswerFindings) -> None:
        for term in question.terms:
            if term.kind == "conditions":
                self._label(question, term, findings)
            elif term.kind == "lay":
                self._lay_word(question, term, findings)
            elif term.kind == "severity" and self.profile.severity and self._is_new("severity", term.values[:1]):
                level, fact = self.profile.severity
                if level in term.values and _UNSURE.isdisjoint(question.words):
                    _takes_as_known("leak_label", question, term, fact, findings)

    def _lay_word(self, question: ParsedText, term: Term, findings: AnswerFindings) -> None:
        """A lay word for a condition that the eye has."""
        conditions = term.value
        known = next((c for c in conditions if c in self.profile.present), None)
        if known and self._is_new("conditions", conditions) and (term.last - term.first > 1 or presupposes(question, term)):
            _takes_as_known("leak_answer", question, term, self.profile.present[known], findings)

    def _label(self, question: ParsedText, term: Term, findings: AnswerFindings) -> None:
        condition, tagged = str(term.value), is_tagged(question)
        status, fact = self.profile.status_of(term.values)
        if status == SUSPECTED and presupposes(question, term) and not is_suspected(question, term):
            says = f"the question takes {question.text_of(term)!r} as known, but it is only suspected: {fact.text}"
            findings.add("leak_label", term, says, fact)
            return
        openly = condition in WORDS.asked_openly
        if question.of("generic") or (condition == "dme_risk" and not tagged) or not self._is_new("conditions", term.values):
            return
        before = question.words[max(0, term.first - 2) : term.first]
        if openly and not tagged and not WORDS.graded.isdisjoint(before):
            return
        fact = fact or self.profile.patient.get(condition)
        freed = status == ABSENT and "free" in before  # is it free of ...?
        known = fact is not None and (status != ABSENT or "without" in before or "no" in before) and presupposes(question, term)
        technical = len(term.values) == 1 and WORDS.plain.isdisjoint(question.words[term.first : term.last])
        if freed or known or (status == PRESENT and not openly and technical):
            _takes_as_known("leak_label", question, term, fact, findings)

    # --- answers in the question --------------------------------------------------------------------------------------

    def _reasons(self, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks questions for the reason of something that no answer stated."""
        why, known = "why" in question.words, ""
        compared = next((word for word in question.words if word in WORDS.compared), None)
        if why and compared and not self._stated["measures"]:
            known = f"vessels are {compared}"
        elif why and self.profile.rejected and question.has(WORDS.unable) and not self._stated["quality"]:
            known = "the image cannot be graded"
        if known:
            says = f"the question takes as known that {known}, but no earlier answer stated it"
            findings.add_at("leak_answer", (0, len(question.text)), says)

    def _sides(self, question: ParsedText, findings: AnswerFindings) -> None:
        named = [(side, term) for side, term in sides(question) if side != "both"]
        if len({side for side, _ in named}) != 1:
            return
        for side, term in named:
            if self._is_new("side", (side,)):
                says = f"the question says that it is the {side} eye, but no earlier answer stated it"
                findings.add("leak_answer", term, says, self.profile.facts.get("eye"))

    def _sex(self, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks words that tell the person's sex where the facts tell it; whoever asks may know it: my son."""
        fact = self.profile.facts.get("sex")
        if fact is None or "my" in question.words or len({sex for _, sex in sexes(question)}) > 1:
            return
        for term, sex in sexes(question):
            if self._is_new("sex", (sex,)):
                says = f"the question tells the person's sex ({question.text_of(term)!r}), but no earlier answer stated it"
                findings.add("leak_answer", term, says, fact)

    def _places(self, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks parts of the picture that a question names, where lesions are known to lie, before an answer did."""
        for region in regions(question):
            if self.index.located and self._is_new("region", (region[2:],)):
                says = f"the question names the place {question.text_of(region)!r}, but no earlier answer stated it"
                findings.add("leak_answer", region, says)

    def _judged(self, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks image quality, artefacts and normality that a question judges before an answer does."""
        for term in question.terms:
            text = question.text_of(term)
            if term.kind == "quality" and self._is_rated(question, term):
                says = f"the question judges the image quality ({text!r}), but no earlier answer did"
            elif (term.kind == "artefacts" and self._is_noted(question, term)) or (
                term.kind in ("normal", "disorder") and self._is_called_normal(question, term)
            ):
                says = f"the question takes {text!r} as known, but no earlier answer stated it"
            else:
                continue
            findings.add("leak_answer", term, says)

    def _is_rated(self, question: ParsedText, term: Term) -> bool:
        """Whether a question takes the quality as known, or rightly says that the image is too poor."""
        if question.words[term.first - 1 : term.first] == ["how"]:
            return False  # how sharp is it?
        one = len({v for t in question.of("quality") for v in t.values}) == 1
        if one and of_picture(question, term) and self._is_new("quality", term.values[:1]) and presupposes(question, term):
            return True
        return question.words[term.first] == "too" and 2 in self.profile.levels and self._is_new("quality", (2,))

    def _is_called_normal(self, question: ParsedText, term: Term) -> bool:
        """Whether a question presupposes that the eye is normal before an answer spoke of health or disease."""
        before = question.words[max(0, term.first - 6) : term.first]
        given = not {"since", "because", "given"}.isdisjoint(before)  # since it is badly diseased
        if term.kind == "disorder" and not given and {"no", "without", "free"}.isdisjoint(before[-3:]):
            return False
        if any(self._stated[kind] for kind in ("normal", "disorder", "conditions")):
            return False
        asked = not {"is", "are"}.isdisjoint(before[:-2]) and "eye" in before and "why" not in question.words
        if asked and not given:
            return False  # I wonder, is this eye healthy?
        usual = not WORDS.usual.isdisjoint(question.words[term.last : term.last + 1])
        return not usual and (given or presupposes_normality(question, term))

    def _is_noted(self, question: ParsedText, term: Term) -> bool:
        """Whether annotators noted the artefact that a question names, or the question takes it as known."""
        word, remarks = question.words[term.last - 1], [f for f in self.profile.quality if f.name == "remark"]
        noted = any(word in lexicon.read(f.text).words or word == "dirt" for f in remarks)
        definite = not {"the", "this"}.isdisjoint(question.words[max(0, term.first - 1) : term.first])
        return (noted or definite) and self._is_new("artefacts", term.values[:1])

    def _jargon(self, question: ParsedText, findings: AnswerFindings) -> None:
        technical = [t for t in question.of("measures") if t.last - t.first > 1 and not _TECHNICAL.isdisjoint(t.values)]
        found = [*question.of("jargon"), *technical, *question.of("scales")]
        used = {" ".join(text.words[t.first : t.last]) for text in self._answers for t in text.terms} if found else ()
        for term in found:
            phrase = " ".join(question.words[term.first : term.last])
            if phrase in used or (phrase.startswith("zone") and self._stated["zones"]):
                continue
            if self._is_new("jargon", term.values[:1]):
                text = question.text_of(term)
                says = f"the question uses the technical term {text!r}, which a person who only sees the image would not know"
                findings.add("leak_jargon", term, says)


def _fits(quantity: Quantity, question: ParsedText, amount: Amount) -> bool:
    """Whether a question that has a number of a quantity's value is about that quantity."""
    measures = {v for t in question.of("measures") for v in t.values}
    if quantity.measure in ("count", "distance", "edge"):
        return bool(question.of("conditions") or question.of("disorder")) or question.has(WORDS.marks)
    if quantity.measure == "grade":
        after = question.words[amount.last : amount.last + 2]
        return "grade" in measures or after[:1] == ["of"] or after == ["out", "of"]
    return quantity.measure in measures or bool(amount.unit) or not amount.whole or amount.spelled


def _takes_as_known(kind: str, question: ParsedText, term: Term, fact: Fact | None, findings: AnswerFindings) -> None:
    reason = f": {fact.text}" if fact else ""
    says = f"the question takes {question.text_of(term)!r} as known, but no earlier answer stated it{reason}"
    findings.add(kind, term, says, fact)
