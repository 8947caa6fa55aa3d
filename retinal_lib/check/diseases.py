"""Checks of diseases, lesions, grades and normality that answers state."""

from itertools import pairwise, takewhile

from retinal_lib.check import lesion_locations
from retinal_lib.check.case_profile import ABSENT, POSSIBLE, PRESENT, SUSPECTED
from retinal_lib.check.findings import WARNING, AnswerFindings, Check, but_fact
from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import VOCABULARY, ParsedText, Term, implied, word_lists
from retinal_lib.check.language.negation import (
    AFFIRMED,
    NEGATED,
    UNCERTAIN,
    Mention,
    comments,
    is_suspected,
    mentions,
    polarity,
)
from retinal_lib.check.language.statements import is_free_of, is_of_part
from retinal_lib.dataset.fact_kinds import scales

WORDS = word_lists("diseases")
_SAID = word_lists("negation").knowing | {"ruled"}  # of a disease, by somebody
FORMS = word_lists("statements").forms  # of a condition that is denied: its other forms may be there
_RETINOPATHY = frozenset(["diabetic_retinopathy", "npdr", "pdr"])
_UNSAID = frozenset(["wouldn't", "can't", "cannot", "won't", "don't", "doesn't", "not"])
_SAYING = frozenset("say mean call claim conclude state affirm".split())
_ON_FILE = ("diabetes", "hypertension")  # conditions of a person, not of an eye
_ZERO = frozenset(["0", "zero"])
_WITHHELD = frozenset([NEGATED, UNCERTAIN, "negated_after", "uncertain_after"])  # cues that negate or leave uncertain


class Diseases(Check):
    """Check of the conditions that answers affirm or negate."""

    def answer(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks an answer."""
        for mention in mentions(answer):
            alone = "only" in answer.words[mention.term.last : mention.term.last + 4]  # glaucoma was the only thing judged
            known = mention.polarity == UNCERTAIN or self._is_definition(answer.words, mention)
            if not known and not (alone and self._is_judged_alone(answer.words, mention)):
                judge = self._negated if mention.polarity == NEGATED else self._affirmed
                judge(answer, mention, findings)
        self._yes_or_no(answer, question, findings)

    def _negated(self, answer: ParsedText, mention: Mention, findings: AnswerFindings) -> None:
        term, text = mention.term, f"the answer says that {answer.text_of(mention.term)!r} is absent, but "
        status, fact = self.profile.status_of(mention.conditions)
        if status == PRESENT and fact.aspect == "lesion" and lesion_locations.somewhere(answer, term, mention.sentence):
            findings.trace(term, fact)
        elif status in (PRESENT, SUSPECTED):
            findings.add("denied_disease", term, text + fact.text, fact)
        elif status is None and not self.profile.was_looked_for(mention.conditions):
            named = [c for m in mentions(answer) if m.sentence == mention.sentence for c in m.conditions]
            form = any(not implied(c).isdisjoint(mention.conditions) for c in named)  # not myopic, no myopic macular lesion
            if self._is_graded_absent(answer.words, mention) and not form:
                return
            findings.add("ungrounded_denial", term, f"{text}no fact says that anyone looked for it", None, WARNING)
        elif fact is not None:
            findings.trace(term, fact)

    def _affirmed(self, answer: ParsedText, mention: Mention, findings: AnswerFindings) -> None:
        profile, term, text = self.profile, mention.term, answer.text_of(mention.term)
        status, fact = profile.status_of(mention.conditions)
        if status in (PRESENT, POSSIBLE) or (status == SUSPECTED and is_suspected(answer, term)):
            findings.trace(term, fact)
        elif status == SUSPECTED:
            says = f"the answer says that {text!r} is present, but it is only suspected: {fact.text}"
            findings.add("unsupported_disease", term, says, fact)
        elif self._is_graded_absent(answer.words, mention) or self._is_judged_alone(answer.words, mention):
            pass
        elif mention.conditions[0] in profile.patient:
            fact = profile.patient[mention.conditions[0]]
            if self._is_of_patient(answer, mention):
                findings.trace(term, fact)
            else:
                findings.add("unsupported_disease", term, f"the answer says that this eye has {text!r}, but {fact.text}", fact)
        elif profile.ungradable:
            says = f"the answer says that {text!r} is present, but the image cannot be graded"
            findings.add("ungradable", term, says, profile.ungradable)
        else:
            says = f"the answer says that {text!r} is present, {but_fact(fact)}"
            findings.add("unsupported_disease", term, says, fact)

    def _is_judged_alone(self, words: list[str], mention: Mention) -> bool:
        """Whether a condition is named as what alone was judged: only diabetic retinopathy was graded."""
        within, first = {words[k] for k in mention.sentence}, mention.term.first
        if words[first - 1 : first] == ["for"] and not WORDS.judged.isdisjoint(words[max(0, first - 3) : first]):
            return True  # the photograph was judged for diabetic retinopathy
        alone = words[first - 2 : first] == ["nothing", "but"] or not within.isdisjoint(WORDS.alone)
        if not alone or within.isdisjoint(WORDS.judged):
            return False
        judged = {c for name in self.profile.case.graded_only for c in lexicon.conditions(name)}
        judged = judged.union(*map(implied, judged))
        return any(c in judged or not implied(c).isdisjoint(judged) for c in mention.conditions)

    def _is_definition(self, words: list[str], mention: Mention) -> bool:
        """Whether a sentence says what another level of a scale stands for: grade 4 is proliferative; 0 (no retinopathy)."""
        others = {str(n) for fact in self.profile.grades for n in scales()[fact.unit]["levels"] if n != fact.value}
        before = words[max(mention.sentence.start, mention.term.first - 5) : mention.term.first]
        return any(level in others and after in WORDS.stands_for for level, after in pairwise(before))

    def _is_of_patient(self, answer: ParsedText, mention: Mention) -> bool:
        """Whether a label of both eyes together is reported as that alone."""
        sentence = mention.sentence
        of_eye = any(
            pair in (("this", "eye"), ("both", "eye")) for pair in pairwise(answer.words[sentence.start : sentence.stop])
        )
        return (mention.conditions[0] in _ON_FILE and not of_eye) or any(
            "patient_scope" in t.values for t in answer.within("cues", sentence)
        )

    def _is_graded_absent(self, words: list[str], mention: Mention) -> bool:
        """Whether a condition is named as what a grade of 0 beside it is a grade of: retinopathy is graded 0."""
        subjects = VOCABULARY["subjects"]
        graded = [f for f in self.profile.grades if not set(mention.conditions).isdisjoint(subjects.get(f.unit, ()))]
        first, last, sentence = mention.term.first, mention.term.last, mention.sentence
        if "dme_risk" in mention.conditions:
            return bool(graded)
        graded = [f for f in graded if scales()[f.unit]["form"] != "clause"]  # a low risk of oedema is not its absence
        if "hard_exudate" in mention.conditions or not any(f.value == 0 for f in graded):
            return False
        before = words[max(first - 9, sentence.start) : first][::-1]
        zero = next((k for k, word in enumerate(before) if word in _ZERO), None)
        near = zero is not None and WORDS.parting.isdisjoint(before[:zero])
        return near or not _ZERO.isdisjoint(words[last : sentence.stop])

    def _yes_or_no(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """A bare yes or no to a question that names one condition."""
        asked, bare = question.of("conditions"), bool(answer.sentences) and len(answer.sentences[0]) <= 6
        if not bare or len(asked) != 1 or any(mention.sentence == answer.sentences[0] for mention in mentions(answer)):
            return
        status, fact = self.profile.status_of(asked[0].values)
        wrong = {"no": status == PRESENT, "yes": status in (ABSENT, None)}
        if wrong.get(answer.words[0]):
            kind = "denied_disease" if answer.words[0] == "no" else "unsupported_disease"
            text = f"the answer to the question about {question.text_of(asked[0])!r} is {answer.words[0]!r}, {but_fact(fact)}"
            findings.add(kind, Term(0, 1), text, fact)


class Grades(Check):
    """Check of words of severity and names of scales."""

    def answer(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks an answer."""
        for term in answer.of("severity"):
            if self._is_of_retinopathy(answer, term) and polarity(answer, term) == AFFIRMED:
                self._severity(answer, term, findings)
        for term in answer.of("scales"):
            self._scale(answer, term, findings)

    def _severity(self, answer: ParsedText, term: Term, findings: AnswerFindings) -> None:
        text = f"the answer calls diabetic retinopathy {answer.text_of(term)!r}, but "
        if self.profile.severity is not None:
            level, fact = self.profile.severity
            if level not in term.values:
                findings.add("wrong_grade", term, text + fact.text, fact)
        elif self.profile.status("diabetic_retinopathy")[0] in (PRESENT, ABSENT):
            findings.add("wrong_grade", term, f"{text}no fact gives its severity")

    def _is_of_retinopathy(self, answer: ParsedText, term: Term) -> bool:
        """Whether a word of severity says how severe diabetic retinopathy is."""
        named = mentions(answer)
        after = [m for m in named if term.last <= m.term.first <= term.last + 2]
        before = [m for m in named if m.term.last <= term.first]
        return any(m.conditions[0] in _RETINOPATHY for m in after[:1] or before[-1:])

    def _scale(self, answer: ParsedText, term: Term, findings: AnswerFindings) -> None:
        """A scale that is named, against those that the facts grade on."""
        grades = self.profile.grades
        units = {f.unit for f in grades}
        if units.isdisjoint(term.values) and polarity(answer, term, 4) == AFFIRMED:
            fact = grades[0] if grades else None
            reason = f"but {fact.text}" if fact else "but no fact gives a grade on it"
            findings.add("wrong_grade", term, f"the answer names the scale {answer.text_of(term)!r}, {reason}", fact)


class Normality(Check):
    """Words for normality and absence of disease, and descriptions of images that cannot be graded."""

    def answer(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks an answer."""
        for term in (*answer.of("normal"), *answer.of("disorder")):
            if term.kind == "normal":
                self._normal_word(answer, term, findings)
            else:
                self._disorder_word(answer, term, findings)
        if self.profile.rejected is not None:
            self._parts(answer, findings)

    def _normal_word(self, answer: ParsedText, term: Term, findings: AnswerFindings) -> None:
        normal, stated = self.profile.normal, polarity(answer, term)
        if self._is_not_about_this_eye(answer.words, term) or comments(answer, term):
            return
        if stated == AFFIRMED:
            self._normal(answer, term, findings)
        elif stated == NEGATED and normal is not None:
            findings.add("unsupported_disease", term, f"the answer says that the eye is not normal, but {normal.text}", normal)

    def _disorder_word(self, answer: ParsedText, term: Term, findings: AnswerFindings) -> None:
        normal, text, words = self.profile.normal, answer.text_of(term), answer.words
        sentence, stated = answer.sentence(term), polarity(answer, term)
        before, normal_follows = words[sentence.start : term.first], answer.within("normal", range(term.last, sentence.stop))
        if not _SAYING.isdisjoint(before) and not _UNSAID.isdisjoint(before):
            return  # I wouldn't say that it is free of disease
        if not is_free_of(answer, term):
            after = takewhile(str.isalpha, words[term.last : term.last + 4])
            finds = not WORDS.finding.isdisjoint((*words[max(0, term.first - 3) : term.first], *after))
            finds = finds and not normal_follows  # my finding is a normal fundus
            if normal is not None and finds and term.value != "condition" and stated == AFFIRMED:
                findings.add("unsupported_disease", term, f"the answer reports {text!r}, but {normal.text}", normal)
            return
        after = words[term.last : term.last + 4]
        if "name" in after or (not _SAID.isdisjoint(after) and not {"is", "be"}.isdisjoint(after)):
            return  # no disease is affirmed, none can be ruled out; there is no disease to name
        if not self.profile.lists_all and stated != UNCERTAIN and "other" in words[max(0, term.first - 3) : term.first]:
            says = f"the answer says that other {text!r} is absent, but no fact says that anyone looked for it"
            findings.add("ungrounded_denial", term, says, None, WARNING)
        if not self._is_not_about_this_eye(words, term) and stated != UNCERTAIN:
            self._normal(answer, term, findings)

    def _is_not_about_this_eye(self, words: list[str], term: Term) -> bool:
        """Whether a word is not of this eye as a whole: a normal range, other conditions, and 'no lesions are marked', which
        speaks of marks, which there may be none of because none were made."""
        profile, after = self.profile, words[term.last : term.last + 4]
        if (profile.rejected or not profile.present) and not WORDS.reported.isdisjoint(after):
            return True
        return not WORDS.marked.isdisjoint(after) and not any(f.aspect == "lesion" for f in profile.present.values())

    def _normal(self, answer: ParsedText, term: Term, findings: AnswerFindings) -> None:
        """Judges a word that calls the eye, or a part of it, normal."""
        profile, sentence, text = self.profile, answer.sentence(term), answer.text_of(term)
        of_eye = not {"retina", "fundus", "eye"}.isdisjoint(answer.words[max(sentence.start, term.first - 2) : term.first])
        pictured = not of_eye and not WORDS.picture.isdisjoint(answer.words[sentence.start : sentence.stop])
        if pictured and text.lower().endswith(tuple(WORDS.fine)):
            return  # the picture is fine
        disease, normal_eye = profile.diseased, f"the answer calls the eye normal or free of disease ({text!r})"
        if profile.normal is not None and disease is None:
            findings.trace(term, profile.normal)
        elif is_of_part(answer, term, sentence):
            recorded = next((f for f in profile.records if _records_part(f.text, answer, sentence)), None)
            if recorded is not None:
                findings.trace(term, recorded)
                return
            says = f"the answer calls a part of the eye normal ({text!r}), but no fact says so"
            findings.add("ungrounded", term, says, None, WARNING)
        elif disease is not None:
            findings.add("normal_beside_disease", term, f"{normal_eye}, but {disease.text}", disease)
        elif profile.ungradable:
            findings.add("ungradable", term, f"{normal_eye}, but the image cannot be graded", profile.ungradable)
        else:
            fact = next(iter(profile.absent.values()), None)
            only = f"but the facts say only: {fact.text}" if fact else "but no fact says so"
            findings.add("unsupported_normal", term, f"{normal_eye}, {only}", fact)

    def _parts(self, answer: ParsedText, findings: AnswerFindings) -> None:
        """Parts of the eye that are described though the image cannot be graded."""
        withheld = {t.first for t in answer.of("cues") if not _WITHHELD.isdisjoint(t.values)}
        for sentence in answer.sentences:
            words = answer.words[sentence.start : sentence.stop]
            part = next((k for k in sentence if answer.words[k] in WORDS.seen), None)
            if part is None or not WORDS.not_as_seen.isdisjoint(words) or WORDS.stating.isdisjoint(words):
                continue
            start, end = answer.span(Term(sentence.start, sentence.stop))
            traced = any(t.kind == "claim" and start <= t.span[0] < end for t in findings.traces)
            if withheld.isdisjoint(sentence) and not traced:
                text = f"the answer describes {answer.raw(part)!r}, but {self.profile.rejected.text}"
                findings.add("ungradable", Term(part, part + 1), text, self.profile.rejected)


def _records_part(record: str, answer: ParsedText, sentence: range) -> bool:
    """Whether a free text calls a part of the eye normal that a sentence names too."""
    named = set(answer.words[sentence.start : sentence.stop])
    items = [lexicon.read(item) for item in record.replace(";", ",").split(",")]
    return any(
        WORDS.seen & named & set(item.words) and any(polarity(item, t) == AFFIRMED for t in item.of("normal")) for item in items
    )
