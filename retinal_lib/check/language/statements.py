"""What a label or a note in free text says of an eye: the conditions that it affirms, denies or leaves open, and whether it
calls the eye normal."""

import re
from functools import lru_cache
from typing import NamedTuple

from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import ParsedText, Term, word_lists
from retinal_lib.check.language.negation import (
    AFFIRMED,
    NEGATED,
    SUSPECTED,
    UNCERTAIN,
    Mention,
    is_suspected,
    mentions,
    polarity,
)

WORDS = word_lists("statements")
_MINUS = re.compile(r"(?<=\w)\s*(?:\(\s*[-−]\s*\)|[-−](?:ve)?)(?=\s*(?:[,;.]|$))")  # DR (-), DR -ve


class Statement(NamedTuple):
    """What a text says: (condition, polarity) for what it names, in its `names`; `normal`: it calls the eye normal, or denies
    all disease; `denied`: the words for disorders that it denies, such as lesion; `complete`: it denies all that it does not
    name."""

    conditions: tuple[tuple[str, str], ...] = ()
    normal: bool = False
    denied: frozenset[str] = frozenset()
    complete: bool = False
    names: tuple[str, ...] = ()


def is_free_of(text: ParsedText, term: Term) -> bool:
    """Says whether a negation is of the disorder itself: no sign of any disease."""
    start, k = text.sentence(term).start, term.first
    ends = {t.last for t in text.of("cues") if NEGATED in t.values}
    while k > start and k not in ends:
        if text.words[k - 1] not in WORDS.fillers:
            return False
        k -= 1
    return k > start


def is_of_part(text: ParsedText, term: Term, sentence: range) -> bool:
    """Says whether a part of the eye alone is called normal: the disc is normal, normal vessels."""
    named = {k for t in text.within("conditions", sentence) for k in range(t.first, t.last)}
    near = range(max(sentence.start, term.first - 6), min(sentence.stop, term.last + 3))
    return any(text.words[k] in WORDS.parts for k in near if k not in named)


def is_of_others(words: list[str], term: Term) -> bool:
    """Says whether a word for disorders is of others than those named: no other disease."""
    return not WORDS.further.isdisjoint(words[max(0, term.first - 3) : term.first])


@lru_cache(maxsize=16384)
def of_label(label: str) -> Statement:
    """Reads the words of a label, or a cell of a column on disease. Abbreviations count in any case there, and a negation that
    stands alone denies all disease.

    >>> of_label("moderate NPDR, no macular edema").conditions
    (('npdr', 'affirmed'), ('macular_oedema', 'negated'))
    >>> [of_label(words).normal for words in ("none", "no abnormality detected", "not normal", "normal apart from drusen")]
    [True, True, False, False]
    """
    label = re.sub(r"(?<!\w)[-−]ve(?= \w)", "negative", label)  # -ve for DR
    words = re.findall(r"[^\W\d_]+", label)
    short = {word for word in words if word.upper() in lexicon.capitals()}
    text = lexicon.read(re.sub(r"[^\W\d_]+", lambda word: word[0].upper() if word[0] in short else word[0], label))
    said = _stated(text)
    named = tuple((mention.conditions[0], stated) for mention, stated in said)
    disorders = [t for t in text.of("disorder") if polarity(text, t) == NEGATED and (is_free_of(text, t) or _is_last(text, t))]
    denied = [t for t in disorders if not is_of_others(text.words, t)]
    called = any(t.value not in WORDS.limited for t in denied) or any(_is_called_normal(text, t) for t in text.of("normal"))
    alone = bool(text.words) and WORDS.alone.issuperset(text.words)
    normal = (called or alone) and not text.has(WORDS.doubtful) and all(stated == NEGATED for _, stated in named)
    return Statement(
        named,
        normal,
        frozenset(str(t.value) for t in denied),
        len(denied) < len(disorders),
        tuple(text.text_of(m.term) for m, _ in said),
    )


def is_suspicion(label: str) -> bool:
    """Says whether a label leaves what it names a suspicion, whether or not the vocabulary knows that.

    >>> [is_suspicion(words) for words in ("suspected cupping", "glaucoma suspect", "glaucoma", "no apparent retinopathy")]
    [True, True, False, False]
    """
    suspected = any(stated == SUSPECTED for _, stated in of_label(label).conditions)
    return suspected or lexicon.read(label).has(WORDS.suspicion)


@lru_cache(maxsize=16384)
def of_note(note: str) -> Statement:
    """Reads a note on anything: conditions alone count, since what it calls normal may be something else than the eye."""
    return Statement(
        tuple((condition, stated) for mention, stated in _stated(lexicon.read(note)) for condition in mention.conditions)
    )


def _is_last(text: ParsedText, term: Term) -> bool:
    """Whether only a negation follows a word for disorders: disease absent."""
    after = text.words[term.last :]
    return bool(after) and WORDS.alone.issuperset(after)


def _is_called_normal(text: ParsedText, term: Term) -> bool:
    beside = (
        *text.words[max(0, term.first - 2) : term.first],
        *text.words[term.last : term.last + 2],
    )
    part = is_of_part(text, term, text.sentence(term)) or not WORDS.usual.isdisjoint(beside)
    return not part and polarity(text, term) == AFFIRMED


def _stated(text: ParsedText) -> list[tuple[Mention, str]]:
    """The conditions that a text names, with what its item of a list says of each: 'no DR, cataract' may go on with what is
    there, so that it leaves cataract open; 'no haemorrhages, exudates or drusen' denies all three."""
    items = [ParsedText(item) for item in re.split(r"[,;\n]", _MINUS.sub(" absent", text.text))]
    whole = mentions(text)
    single = [_polarity(item, mention) for item in items for mention in mentions(item)]
    if len(single) != len(whole):  # a name has a comma in it
        return [(mention, mention.polarity) for mention in whole]
    listed = text.has(("or", "nor"))
    leads = [_is_led(item, mention) for item in items for mention in mentions(item)]
    stated, led = [], False
    for mention, alone, leading in zip(whole, single, leads, strict=True):
        led = leading if alone == NEGATED else led  # a negation after a name, as in 'AMD absent, DR', does not go on
        goes_on = led and mention.polarity == NEGATED and alone == AFFIRMED
        stated.append((mention, (NEGATED if listed else UNCERTAIN) if goes_on else alone))
    return [(m, says) for m, says in stated if not (_is_of_a_form(text, m, says) or _is_past(text.words, m.term))]


def _is_past(words: list[str], term: Term) -> bool:
    """Whether a condition was operated on, is over or is that of a relative, and so is not said to be there: cataract
    surgery."""
    k = term.first
    while k and words[k - 1] in WORDS.of_relatives:
        k -= 1
    relative = k > 0 and words[k - 1] in WORDS.relatives
    return relative or not WORDS.over.isdisjoint(words[term.last : term.last + 1])


def _is_led(item: ParsedText, mention: Mention) -> bool:
    """Whether a negation stands before a condition."""
    return any(t.last <= mention.term.first and NEGATED in t.values for t in item.of("cues"))


def _is_of_a_form(text: ParsedText, mention: Mention, stated: str) -> bool:
    """Whether only a form of a condition is denied: no referable DR, non-referable DR; that says nothing of the others, and
    'no diabetic papillopathy' nothing of diabetes."""
    before = text.words[max(mention.sentence.start, mention.term.first - 3) : mention.term.first]
    if stated == NEGATED and not WORDS.adjectives.isdisjoint((*before[-1:], *_adjective(text, mention))):
        return True
    return not WORDS.forms.isdisjoint(before) and (stated == NEGATED or "non" in before)


def _adjective(text: ParsedText, mention: Mention) -> list[str]:
    """The last word of a condition's name, where the word that it describes follows: the myopic of 'myopic degeneration'."""
    follows = text.words[mention.term.last : mention.term.last + 1]
    described = follows and follows[0].isalpha() and follows[0] not in WORDS.joints
    return text.words[mention.term.last - 1 : mention.term.last] if described else []


def _polarity(item: ParsedText, mention: Mention) -> str:
    """The polarity of a condition in one item, in the short form of records too: DR 0, DR: no, r/o glaucoma."""
    words = item.words
    if "?" in words or words[:1] == ["query"] or words[:3] == ["r", "/", "o"] or words[:2] == ["rule", "out"]:
        return SUSPECTED
    after = [word for word in words[mention.term.last :] if word not in WORDS.graded]
    if words[0] in WORDS.leading or after[:1] == ["0"] or (len(after) == 1 and after[0] in WORDS.alone):
        return NEGATED
    if mention.polarity == UNCERTAIN or (mention.polarity == AFFIRMED and is_suspected(item, mention.term)):
        return SUSPECTED
    return mention.polarity
