"""What a question takes as known instead of asking for it."""

import re

from retinal_lib.check.language.lexicon import ParsedText, Term, word_lists

WORDS = word_lists("presupposition")

_TAG = re.compile(
    r"(?:isn't it|aren't they|doesn't it|don't they|, right|, correct|is it not|am i right|isn't that so|, no|i take it"
    r"|as it (?:looks|seems)|i suppose|i guess|i assume|i think)\s*\?\Z",
    re.I,
)


def is_tagged(text: ParsedText) -> bool:
    """Says whether a question ends in words that only ask for assent: isn't it?"""
    end = text.text.rstrip()
    return end.endswith("?") and _TAG.search(end) is not None


def presupposes(text: ParsedText, term: Term) -> bool:
    """Says whether a question takes a condition, a word of quality or the like as known.

    >>> from retinal_lib.check.language.lexicon import ParsedText
    >>> texts = [ParsedText("Is there a haemorrhage?"), ParsedText("How large are the haemorrhages?")]
    >>> [presupposes(text, text.of("conditions")[0]) for text in texts]
    [False, True]
    """
    words, sentence = text.words, text.sentence(term)
    if is_tagged(text) and sentence == text.sentences[-1]:
        return True
    later = range(sentence.start + 1, term.first)  # What is it, and is it of good quality?
    asks = (k for k in later if words[k] in WORDS.auxiliaries and words[k - 1] in WORDS.joining)
    start = max(asks, default=sentence.start)
    before, within = words[start : term.first], words[start : sentence.stop]
    if "or" in within and within[0] in WORDS.auxiliaries:
        return False
    if term.kind in ("conditions", "lay", "severity") and _definite(before):
        return True
    if term.kind == "quality" and before[-1:] == ["the"] and words[term.first] not in WORDS.places:
        return True  # did the good quality help?
    if not WORDS.reasons.isdisjoint(within[:2]) or within[0] in WORDS.negated:
        return True
    if within[0] in WORDS.auxiliaries or not WORDS.open.isdisjoint(before):
        return False
    if len(within) > 1 and within[0] in WORDS.opening and within[1] in WORDS.auxiliaries:
        return False
    return len(within) >= 8 or not WORDS.verbs.isdisjoint(within)


def _definite(before: list[str]) -> bool:
    """Whether the words before a term mark it as known: the haemorrhages, the damage by ..."""
    if before[-1:] and before[-1] in WORDS.definite:
        return True
    if len(before) > 1 and before[-2] in WORDS.definite and before[-1] not in WORDS.places:
        return True
    return not WORDS.damage.isdisjoint(before[-3:]) and not WORDS.definite.isdisjoint(before[-5:])


def presupposes_normality(text: ParsedText, term: Term) -> bool:
    """Says whether a question takes normality as known."""
    words, tag = text.words, is_tagged(text)
    within = [words[k] for k in text.sentence(term) if words[k] not in WORDS.opening]
    if not tag and not WORDS.denied.isdisjoint(words[max(0, term.first - 2) : term.first]):
        return False  # anything that is not normal?
    if tag or "don't you think" in text.text or words[term.first - 1 : term.first] == ["perfectly"]:
        return True
    if within[:2] == ["all", "right"] and len(within) > 2:
        return False  # All right, and what ...
    if not {"whether", "say"}.isdisjoint(words[max(0, term.first - 6) : term.first]):
        return False  # I should like to know whether it is healthy; would you say that it is?
    if not within or within[0] in WORDS.reasons or within[0] not in WORDS.asking or "confirm" in within:
        return len(within) > 2
    return words[term.first - 1 : term.first] in (["my"], ["this"], ["the"])
