"""Grades told in words: how severe retinopathy is called, which scale is named, how far exudates lie from the macula."""

from retinal_lib.check.answer_findings import Heard
from retinal_lib.check.case_profile import YES, Profile
from retinal_lib.check.language.lexicon import Term
from retinal_lib.check.language.negation import Mention
from retinal_lib.facts import Fact

_RETINOPATHY = frozenset(["diabetic_retinopathy", "npdr", "pdr"])
_OTHER_LEVELS = ("how", "than", "between", "from", "to", "or")  # before a word of severity that is not told of this eye
# after a word of severity that stands for a grade by itself
_GRADED = frozenset(". , ; ) and or on in according by grade stage form level degree category severity (".split()) | {"\n"}
_NEAR, _FAR = frozenset(["within", "inside"]), frozenset("beyond outside farther further more over".split())
_EXUDATES = frozenset(["hard_exudate", "exudate"])
_ZONE = frozenset(["zone"])


def told(heard: Heard, profile: Profile, mentioned: list[Mention]) -> None:
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
    if term.first and heard.words[term.first - 1] in _OTHER_LEVELS:
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
    if term.last < len(text.words) and text.words[term.last] not in _GRADED:
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
    near = not _NEAR.isdisjoint(before) or before[-3:-1] == ["less", "than"]
    if before[-4:-1] == ["not", "more", "than"]:
        near, before = True, before[:-4]
    far = not _FAR.isdisjoint(before)
    if not _ZONE.isdisjoint(heard.words[sentence.start : sentence.stop]):
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
