"""Whether a question takes a thing as known rather than asks for it."""

import re

from retinal_lib.check.language.lexicon import Reading, Term

_TAG = re.compile(
    r"(?:isn't it|aren't they|doesn't it|don't they|, right|, correct|is it not|am i right|isn't that so|, no|i take it"
    r"|as it (?:looks|seems)|i suppose|i guess|i assume|i think)\s*\?\Z",
    re.I,
)
_AUXILIARY = frozenset(  # a question that begins with one of these asks
    "is are do does did can could has have would will was were any should may might isn't aren't doesn't don't".split()
)
_ASKS = (_AUXILIARY | frozenset("whether if what which how where who when".split())) - {"isn't", "aren't", "doesn't", "don't"}
_NEGATED = frozenset("isn't aren't doesn't don't wasn't".split())
_DENIED = frozenset("isn't not aren't".split())
_PRESUMES = frozenset("given since because as considering knowing seeing despite although though with why".split())
_LEADING = frozenset("and so but ok okay doctor please also then well hello hi , now".split())
_DEFINITE = frozenset("the these those my its".split())
_DAMAGE = frozenset("damage harm change swelling effect".split())
_OPEN = frozenset("any sign evidence whether if possible".split())
# what may be named with an article without being taken as known
_PLACES = frozenset(
    "macula eye retina disc vessel artery vein patient picture image photograph person lens vision sight show see".split()
)
_VERBS = frozenset("is are was do does has have show describe make makes look looks".split())


def tagged(text: Reading) -> bool:
    """Whether a question ends in words that ask for nothing but assent: isn't it?"""
    end = text.text.rstrip()
    return end.endswith("?") and _TAG.search(end) is not None


def presumed(text: Reading, term: Term, tag: bool) -> bool:
    """Whether a condition, a word of quality or the like is taken as known; `tag`: the text is `tagged`."""
    words, sentence = text.words, text.sentence(term)
    if tag and sentence == text.sentences[-1]:
        return True
    before, said = words[sentence.start : term.first], words[sentence.start : sentence.stop]
    if "or" in said and said[0] in _AUXILIARY:
        return False
    if term.kind in ("conditions", "lay", "severity") and _definite(before):
        return True
    if term.kind == "quality" and before[-1:] == ["the"] and words[term.first] not in _PLACES:
        return True  # did the good quality help?
    if not _PRESUMES.isdisjoint(said[:2]) or said[0] in _NEGATED:
        return True
    if said[0] in _AUXILIARY or not _OPEN.isdisjoint(before):
        return False
    if len(said) > 1 and said[0] in _LEADING and said[1] in _AUXILIARY:
        return False
    return len(said) >= 8 or not _VERBS.isdisjoint(said)


def _definite(before: list[str]) -> bool:
    """Whether what follows is spoken of as known: the haemorrhages, the damage by ..."""
    if before[-1:] and before[-1] in _DEFINITE:
        return True
    if len(before) > 1 and before[-2] in _DEFINITE and before[-1] not in _PLACES:
        return True
    return not _DAMAGE.isdisjoint(before[-3:]) and not _DEFINITE.isdisjoint(before[-5:])


def supposed(text: Reading, term: Term, tag: bool) -> bool:
    """Whether a question supposes normality rather than asks for it; `tag`: the text is `tagged`."""
    words, sentence = text.words, text.sentence(term)
    said = [words[k] for k in sentence if words[k] not in _LEADING]
    if not tag and not _DENIED.isdisjoint(words[max(0, term.first - 2) : term.first]):
        return False  # anything that is not normal?
    if tag or "don't you think" in text.text or words[term.first - 1 : term.first] == ["perfectly"]:
        return True
    if said[:2] == ["all", "right"] and len(said) > 2:
        return False  # All right, and what ...
    if not said or said[0] in _PRESUMES or said[0] not in _ASKS or "confirm" in said:
        return len(said) > 2
    return words[term.first - 1 : term.first] in (["my"], ["this"], ["the"])
