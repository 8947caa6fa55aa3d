"""Diseases, lesions, grades and normality stated in answers, held against the facts."""

from itertools import pairwise

from retinal_lib.check import lesion_locations as whereabouts
from retinal_lib.check.case_profile import MAY, NO, YES, Profile
from retinal_lib.check.findings import WARNING, Finding, Heard, Trace
from retinal_lib.check.language import negation as polarity
from retinal_lib.check.language.lexicon import VOCABULARY, Reading, Term, word_lists
from retinal_lib.check.language.negation import Mention
from retinal_lib.facts import Fact

WORDS = word_lists("diseases")

_RETINOPATHY = frozenset(["diabetic_retinopathy", "npdr", "pdr"])
_EXUDATES = frozenset(["hard_exudate", "exudate"])


def check_grades(heard: Heard, profile: Profile, mentioned: list[Mention]) -> None:
    """What the grades of an answer come to; `mentioned` are its conditions."""
    for term in heard.text.of("severity"):
        _severity(heard, profile, mentioned, term)
    for term in heard.text.of("scales"):
        _scale(heard, profile, term)
    fact = next((f for f in profile.grades if "exudate distance" in f.unit), None)
    for term in heard.text.of("units") if fact is not None else ():
        if "dd" in term.values:
            _distance(heard, fact, term)


def _severity(heard: Heard, profile: Profile, mentioned: list[Mention], term: Term) -> None:
    if not _of_retinopathy(heard, profile, mentioned, term) or heard.polarity(term) != "yes":
        return
    if term.first and heard.words[term.first - 1] in WORDS.other_levels:
        return
    says = f"{heard.said(term)!r} is told of diabetic retinopathy, but "
    if profile.severity is not None:
        level, fact = profile.severity
        if level not in term.values:
            heard.add("wrong_grade", term, says + fact.text, fact)
    elif profile.stance("diabetic_retinopathy")[0] == YES:
        heard.add("wrong_grade", term, says + "no fact says how severe it is")


def _of_retinopathy(heard: Heard, profile: Profile, mentioned: list[Mention], term: Term) -> bool:
    """Whether a word of severity says how severe diabetic retinopathy is."""
    text, sentence = heard.text, heard.text.sentence(term)
    near = [m for m in mentioned if m.sentence == sentence]
    after = next((m for m in near if m.term.first >= term.last), None)
    if after is not None and after.term.first - term.last <= 2:
        return after.conditions[0] in _RETINOPATHY
    if term.last < len(text.words) and text.words[term.last] not in WORDS.after_severity:
        return False
    before = [m for m in near if m.term.last <= term.first]
    if before:
        return before[-1].conditions[0] in _RETINOPATHY
    return bool(profile.severity) and any("grade" in t.values for t in text.within("measures", sentence))


def _scale(heard: Heard, profile: Profile, term: Term) -> None:
    """A scale that is named, against those that the facts grade on."""
    held = {f.unit for f in profile.grades}
    if not held.isdisjoint(term.values):
        return
    if any("exudate" in str(v) for v in term.values) and any("exudate" in unit for unit in held):
        return
    if heard.polarity(term, 4) == "yes":
        fact = profile.grades[0] if profile.grades else None
        reason = f"but {fact.text}" if fact else "but no fact is a grade on it"
        heard.add("wrong_grade", term, f"the scale {heard.said(term)!r} is named, {reason}", fact)


def _distance(heard: Heard, fact: Fact, term: Term) -> None:
    """Exudates within or beyond one disc diameter of the macula, against the graded distance."""
    text, sentence = heard.text, heard.text.sentence(term)
    before = heard.words[max(sentence.start, term.first - 6) : term.first]
    near = not WORDS.near.isdisjoint(before) or before[-3:-1] == ["less", "than"]
    if before[-4:-1] == ["not", "more", "than"]:
        near, before = True, before[:-4]
    far = not WORDS.far.isdisjoint(before)
    if "zone" in heard.words[sentence.start : sentence.stop]:
        return
    beyond = heard.words[term.last : min(term.last + 9, sentence.stop)]
    if "disc" in beyond and not {"macula", "fovea"} & set(beyond):
        heard.add("wrong_grade", term, f"{heard.said(term)} from the optic disc is told, but {fact.text}", fact)
        return
    if fact.value == 1 and "most" in before:
        heard.add("wrong_grade", term, f"most exudates are told to lie so, but {fact.text}", fact)
        return
    if near == far:
        return
    exudates = [t for t in text.within("conditions", sentence) if not _EXUDATES.isdisjoint(t.values)]
    denied = any(
        t.last <= term.first and "neg" in t.values and (not exudates or t.first > exudates[-1].first)
        for t in text.within("cues", sentence)
    ) or (bool(exudates) and heard.polarity(exudates[-1]) == "no")
    wrong = (fact.value == 2) == (near if denied else far) if fact.value else not denied
    if wrong:
        says = f"{' '.join(before[-3:])} {heard.said(term)} is told of exudates, but {fact.text}"
        heard.add("wrong_grade", term, says, fact)


_WITHHELD = frozenset(["neg", "open", "after_neg", "after_open"])  # cues that leave something open or deny it


def check_normality(heard: Heard, profile: Profile) -> None:
    """What is told to be normal, free of disease, or seen in an image that cannot be judged."""
    for term in heard.text.of("normal"):
        if not _aside(heard, profile, term):
            said = heard.polarity(term)
            if said == "yes":
                _normal(heard, profile, term)
            elif said == "no" and profile.normal is not None:
                says = f"normality is denied, but {profile.normal.text}"
                heard.add("unsupported_disease", term, says, profile.normal)
    for term in heard.text.of("disorder"):
        if not _free_of(heard.text, term):
            if profile.normal is not None and heard.polarity(term) == "yes" and _found(heard, term):
                heard.add(
                    "unsupported_disease", term, f"{heard.said(term)!r} is told, but {profile.normal.text}", profile.normal
                )
            continue
        if not profile.listed and "other" in heard.words[max(0, term.first - 3) : term.first]:
            says = f"other {heard.said(term)!r} is denied, but no fact says that it was looked for"
            heard.add("ungrounded_denial", term, says, None, WARNING)
        if not _aside(heard, profile, term) and heard.polarity(term) != "open":
            _normal(heard, profile, term)
    if profile.rejected is not None:
        _parts(heard, profile)


def _found(heard: Heard, term: Term) -> bool:
    """Whether a disorder is told as found: the image shows an abnormality."""
    return not WORDS.finding.isdisjoint(heard.words[max(heard.text.sentence(term).start, term.first - 3) : term.first])


def _free_of(text: Reading, term: Term) -> bool:
    """Whether a negation is of the disorder itself: no sign of any disease."""
    start, k = text.sentence(term).start, term.first
    ends = {t.last for t in text.of("cues") if "neg" in t.values}
    while k > start and k not in ends:
        if text.words[k - 1] not in WORDS.fillers:
            return False
        k -= 1
    return k > start


def _aside(heard: Heard, profile: Profile, term: Term) -> bool:
    """Whether a word is not of this eye as a whole: a normal range, other conditions, and 'no lesions are marked', which tells
    of marks, which there may be none of because none were made."""
    words = heard.words
    after, before = words[term.last : term.last + 4], words[max(0, term.first - 3) : term.first]
    if not WORDS.usual.isdisjoint(after[:2]) or not WORDS.further.isdisjoint(before):
        return True
    if (profile.rejected or not profile.yes) and not WORDS.reported.isdisjoint(after):
        return True
    return not WORDS.marked.isdisjoint(after) and not any(fact.aspect == "lesion" for fact in profile.yes.values())


def _normal(heard: Heard, profile: Profile, term: Term) -> None:
    sentence, said, disease = heard.text.sentence(term), heard.said(term), profile.diseased
    words = heard.words[sentence.start : sentence.stop]
    if not WORDS.picture.isdisjoint(words) and said.lower().endswith(tuple(WORDS.fine)):
        return  # the picture is fine
    if profile.normal is not None and disease is None:
        heard.trace(term, profile.normal)
    elif _of_part(heard, term, sentence):
        heard.add("ungrounded", term, f"{said!r} is told of a part of the eye, but no fact says so", None, WARNING)
    elif disease is not None:
        heard.add("normal_beside_disease", term, f"{said!r} is told as normal, but {disease.text}", disease)
    elif profile.ungradable:
        heard.add("ungradable", term, f"{said!r} is told of an image that cannot be graded", profile.ungradable)
    elif not profile.no:
        heard.add("unsupported_normal", term, f"{said!r} is told as normal, but no fact says so")
    else:
        fact = next(iter(profile.no.values()))
        heard.add("unsupported_normal", term, f"{said!r} says more than the facts: {fact.text}", fact)


def _of_part(heard: Heard, term: Term, sentence: range) -> bool:
    """Whether a part of the eye alone is called normal: the disc is normal, normal vessels."""
    named = {k for t in heard.text.within("conditions", sentence) for k in range(t.first, t.last)}
    near = range(max(sentence.start, term.first - 6), min(sentence.stop, term.last + 3))
    return any(heard.words[k] in WORDS.parts for k in near if k not in named)


def _parts(heard: Heard, profile: Profile) -> None:
    """Parts of the eye that are described though the image cannot be graded."""
    text = heard.text
    if not text.has(WORDS.seen) or not text.has(WORDS.stating):
        return
    withheld = [t.first for t in text.of("cues") if not _WITHHELD.isdisjoint(t.values)]
    withheld += [t.first for t in text.of("generic")]
    for sentence in text.sentences:
        words = text.words[sentence.start : sentence.stop]
        part = next((k for k in sentence if text.words[k] in WORDS.seen), None)
        if part is None or not WORDS.not_as_seen.isdisjoint(words) or WORDS.stating.isdisjoint(words):
            continue
        if any(w[0].isdigit() for w in words) or any(k in sentence for k in withheld):
            continue
        start, end = text.span(sentence.start, sentence.stop)
        if not any(t.span[0] >= start and t.span[1] <= end for t in heard.traces):
            says = f"{text.said(part, part + 1)!r} is described, but {profile.rejected.text}"
            heard.add("ungradable", Term(part, part + 1, "part", ()), says, profile.rejected)


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
        check_grades(heard, self.profile, mentioned)
        check_normality(heard, self.profile)
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
            if words[k].isdigit() and not WORDS.defined.isdisjoint(words[k + 1 : k + 2]) and 0 < mention.term.first - k < 6:
                return int(words[k]) not in graded
            if words[k] in WORDS.levels and k + 2 < len(words) and words[k + 2] in WORDS.stands_for:
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
        graded = [f for f in self.profile.grades if set(mention.conditions) & set(VOCABULARY["subjects"].get(f.unit, ()))]
        risk = "risk" in words[max(mention.sentence.start, mention.term.first - 5) : mention.term.last + 4]
        if "dme_risk" in mention.conditions or (risk and "macular_oedema" in mention.conditions):
            return bool(graded)
        if "hard_exudate" in mention.conditions or not any(f.value == 0 for f in graded):
            return False
        first, last, sentence = mention.term.first, mention.term.last, mention.sentence
        if first - 2 >= sentence.start and words[first - 1] == "of" and words[first - 2] in WORDS.levels:
            return True  # the grade of retinopathy is 0
        if words[last : last + 1] and words[last] in WORDS.levels and {"0", "zero"} & set(words[last : sentence.stop]):
            return True  # the retinopathy grade is 0
        after, before = words[last : min(last + 6, sentence.stop)], words[max(first - 9, sentence.start) : first]
        for said in (after, before[::-1]):
            k = next((k for k, word in enumerate(said) if word in ("0", "zero")), None)
            if k is not None and (WORDS.parting - {","} if said is after else WORDS.parting).isdisjoint(said[:k]):
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
