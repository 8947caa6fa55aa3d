"""Diseases and lesions told in answers against what the facts say."""

from itertools import pairwise

from retinal_lib.check import grades, normality
from retinal_lib.check import lesion_locations as whereabouts
from retinal_lib.check.answer_findings import Heard
from retinal_lib.check.case_profile import MAY, NO, YES, Profile
from retinal_lib.check.findings import WARNING, Finding, Trace
from retinal_lib.check.language import negation as polarity
from retinal_lib.check.language.lexicon import WORDS, Reading, Term
from retinal_lib.check.language.negation import Mention

_LEVELS = frozenset(["grade", "level", "stage"])
_STANDS_FOR = ("is", "means", "mean", "would", "stand", "stands", "=")
_DEFINED = (["means"], ["mean"], ["stand"], ["("])
_PARTING = frozenset(", ; : meaning means mean that which it shows show find".split())  # between a grade and another claim
_ON_FILE = ("diabetes", "hypertension")  # conditions of a person, not of an eye


class Claims:
    """The claims of one conversation, answer by answer."""

    def __init__(self, profile: Profile):
        self.profile = profile

    def answer(self, turn: int, text: Reading, question: Reading) -> tuple[list[Finding], list[Trace]]:
        """What the claims of an answer come to."""
        heard, mentioned = Heard(turn, text), polarity.mentions(text)
        for mention in mentioned:
            self._mention(heard, mention)
        self._replied(heard, question, mentioned)
        grades.told(heard, self.profile, mentioned)
        normality.told(heard, self.profile)
        return heard.findings, heard.traces

    def _mention(self, heard: Heard, mention: Mention) -> None:
        if mention.polarity == "open" or self._defined(heard.words, mention):
            return
        condition, term = mention.conditions[0], mention.term
        stance, fact = self.profile.stance_of(mention.conditions)
        said = heard.said(term)
        if mention.polarity == "no":
            if stance == YES and fact.aspect == "lesion" and whereabouts.somewhere(heard.text, term, mention.sentence):
                heard.trace(term, fact)
            elif stance == YES:
                heard.add("denied_disease", term, f"{said!r} is denied, but {fact.text}", fact)
            elif stance is None and not self.profile.listed and not self._is_subject(heard.words, mention):
                says = f"{said!r} is denied, but no fact says that it was looked for"
                heard.add("ungrounded_denial", term, says, None, WARNING)
            elif fact is not None:
                heard.trace(term, fact)
            return
        if stance in (YES, MAY):
            heard.trace(term, fact)
        elif self._is_subject(heard.words, mention):
            pass
        elif condition in self.profile.patient:
            self._of_patient(heard, mention, said)
        elif self.profile.ungradable:
            heard.add("ungradable", term, f"{said!r} is told of an image that cannot be graded", self.profile.ungradable)
        else:
            reason = f"but {fact.text}" if fact else "but no fact says so"
            heard.add("unsupported_disease", term, f"{said!r} is told as present, {reason}", fact)

    def _defined(self, words: list[str], mention: Mention) -> bool:
        """Whether a sentence tells what another level of a scale stands for: grade 4 is proliferative retinopathy."""
        graded = {f.value for f in self.profile.grades}
        for k in mention.sentence:
            if words[k].isdigit() and words[k + 1 : k + 2] in _DEFINED and 0 < mention.term.first - k < 6:
                return int(words[k]) not in graded
            if words[k] in _LEVELS and k + 2 < len(words) and words[k + 2] in _STANDS_FOR:
                level = words[k + 1]
                return level.isdigit() and any(int(level) != grade for grade in graded)
        return False

    def _of_patient(self, heard: Heard, mention: Mention, said: str) -> None:
        """A label of both eyes together may be told as that alone."""
        fact = self.profile.patient[mention.conditions[0]]
        cues = any("patient_scope" in t.values for t in heard.text.within("cues", mention.sentence))
        words = heard.words[mention.sentence.start : mention.sentence.stop]
        of_eye = any(pair in (("this", "eye"), ("both", "eye")) for pair in pairwise(words))
        if cues or (mention.conditions[0] in _ON_FILE and not of_eye):
            heard.trace(mention.term, fact)
        else:
            heard.add("unsupported_disease", mention.term, f"{said!r} is told of this eye, but {fact.text}", fact)

    def _is_subject(self, words: list[str], mention: Mention) -> bool:
        """Whether a condition is named as what a grade of 0, told beside it, is a grade of: retinopathy is graded 0."""
        graded = [f for f in self.profile.grades if set(mention.conditions) & set(WORDS["subjects"].get(f.unit, ()))]
        risk = "risk" in words[max(mention.sentence.start, mention.term.first - 5) : mention.term.last + 4]
        if "dme_risk" in mention.conditions or (risk and "macular_oedema" in mention.conditions):
            return bool(graded)
        if "hard_exudate" in mention.conditions or not any(f.value == 0 for f in graded):
            return False
        first, last, sentence = mention.term.first, mention.term.last, mention.sentence
        if first - 2 >= sentence.start and words[first - 1] == "of" and words[first - 2] in _LEVELS:
            return True  # the grade of retinopathy is 0
        if words[last : last + 1] and words[last] in _LEVELS and {"0", "zero"} & set(words[last : sentence.stop]):
            return True  # the retinopathy grade is 0
        after, before = words[last : min(last + 6, sentence.stop)], words[max(first - 9, sentence.start) : first]
        for said in (after, before[::-1]):
            k = next((k for k, word in enumerate(said) if word in ("0", "zero")), None)
            if k is not None and (_PARTING - {","} if said is after else _PARTING).isdisjoint(said[:k]):
                return True
        return False

    def _replied(self, heard: Heard, question: Reading, mentioned: list[Mention]) -> None:
        """A bare yes or no to a question that names a condition."""
        text = heard.text
        if not text.words or text.words[0] not in ("yes", "no") or not text.sentences:
            return
        first = text.sentences[0]
        if any(m.sentence == first for m in mentioned) or len(first) > 6:
            return
        asked = question.of("conditions")
        for term in asked[:1] if len(asked) == 1 else ():
            stance, fact = self.profile.stance_of(term.values)
            said = text.words[0]
            if (said == "no" and stance == YES) or (said == "yes" and stance in (NO, None)):
                kind = "denied_disease" if said == "no" else "unsupported_disease"
                reason = f"but {fact.text}" if fact else "but no fact says so"
                says = f"{said!r} answers whether there is {question.said(term.first, term.last)!r}, {reason}"
                heard.add(kind, Term(0, 1, "reply", ()), says, fact)
