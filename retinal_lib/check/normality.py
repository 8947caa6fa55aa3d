"""Normality told in answers, and parts of an eye described that could not be judged, against what the facts say."""

from retinal_lib.check.answer_findings import Heard
from retinal_lib.check.case_profile import Profile
from retinal_lib.check.findings import WARNING
from retinal_lib.check.language.lexicon import Reading, Term

_PARTS = frozenset("disc vessel artery vein macula fovea rest periphery nerve cup vasculature remainder".split())
_USUAL = frozenset("range limit value person eyesight vision".split())  # after 'normal': not said of what is seen
_FURTHER = frozenset("other further additional".split())
_PICTURE = frozenset("quality picture photograph".split())
_FINDS = frozenset("show find see is has".split())
_FINE = ("fine", "right", "order")
_MARKED = frozenset("marked outlined recorded annotated labelled listed noted segmented delineated".split())
_TOLD = frozenset("recorded given told described reported made itself".split())
# between a negation and the disorder that it denies
_FILLERS = frozenset(
    "are there other further sign evidence of any visible clear obvious apparent eye retinal such significant detectable the "
    "indication kind a see show suggestion retina".split()
)
_SEEN = frozenset("disc macula fovea artery vein vessel arteriole venule cup retina".split())
_BESIDE = frozenset("centred photograph examination direct new again if".split())  # what is said of no part as seen
_STATING = frozenset("is are look looks appear appears show shows seem seems lie lies".split())
_WITHHELD = frozenset(["neg", "open", "after_neg", "after_open"])  # cues that leave something open or deny it


def told(heard: Heard, profile: Profile) -> None:
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
    return not _FINDS.isdisjoint(heard.words[max(heard.text.sentence(term).start, term.first - 3) : term.first])


def _free_of(text: Reading, term: Term) -> bool:
    """Whether a negation is of the disorder itself: no sign of any disease."""
    start, k = text.sentence(term).start, term.first
    ends = {t.last for t in text.of("cues") if "neg" in t.values}
    while k > start and k not in ends:
        if text.words[k - 1] not in _FILLERS:
            return False
        k -= 1
    return k > start


def _aside(heard: Heard, profile: Profile, term: Term) -> bool:
    """Whether a word is not of this eye as a whole: a normal range, other conditions, and 'no lesions are marked', which tells
    of marks, which there may be none of because none were made."""
    words = heard.words
    after, before = words[term.last : term.last + 4], words[max(0, term.first - 3) : term.first]
    if not _USUAL.isdisjoint(after[:2]) or not _FURTHER.isdisjoint(before):
        return True
    if (profile.rejected or not profile.yes) and not _TOLD.isdisjoint(after):
        return True
    return not _MARKED.isdisjoint(after) and not any(fact.aspect == "lesion" for fact in profile.yes.values())


def _normal(heard: Heard, profile: Profile, term: Term) -> None:
    sentence, said, disease = heard.text.sentence(term), heard.said(term), profile.diseased
    words = heard.words[sentence.start : sentence.stop]
    if not _PICTURE.isdisjoint(words) and said.lower().endswith(_FINE):
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
    return any(heard.words[k] in _PARTS for k in near if k not in named)


def _parts(heard: Heard, profile: Profile) -> None:
    """Parts of the eye that are described though the image cannot be graded."""
    text = heard.text
    if not text.has(_SEEN) or not text.has(_STATING):
        return
    withheld = [t.first for t in text.of("cues") if not _WITHHELD.isdisjoint(t.values)]
    withheld += [t.first for t in text.of("generic")]
    for sentence in text.sentences:
        words = text.words[sentence.start : sentence.stop]
        part = next((k for k in sentence if text.words[k] in _SEEN), None)
        if part is None or not _BESIDE.isdisjoint(words) or _STATING.isdisjoint(words):
            continue
        if any(w[0].isdigit() for w in words) or any(k in sentence for k in withheld):
            continue
        start, end = text.span(sentence.start, sentence.stop)
        if not any(t.span[0] >= start and t.span[1] <= end for t in heard.traces):
            says = f"{text.said(part, part + 1)!r} is described, but {profile.rejected.text}"
            heard.add("ungradable", Term(part, part + 1, "part", ()), says, profile.rejected)
