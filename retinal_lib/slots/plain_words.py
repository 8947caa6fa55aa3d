"""The words of a slotted answer: numbers that were typed, and words that facts, explanations and plain English do not license.

A common word is licensed, unless flagged.yaml lists it: as one that states something, or goes beyond facts (`beyond`). These
may stand only where a line says so.
"""

import re
from collections.abc import Iterator
from functools import cache, cached_property, lru_cache
from pathlib import Path

from retinal_lib.check.case_profile import CaseProfile
from retinal_lib.check.findings import AnswerFindings
from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import ParsedText, Term, family, word_lists
from retinal_lib.check.language.negation import AFFIRMED, polarity
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.parsing import packaged_yaml
from retinal_lib.slots import comparison
from retinal_lib.slots.sentence import Sentence
from retinal_lib.slots.sheet import SPEC, FactSheet, Line

KNOWING = frozenset(word_lists("negation").knowing) | {"know", "said", "say", "tell", "concluded", "judge"}
_SPELLED = frozenset(word_lists("numbers").spelled) - frozenset(["half", "single", "one", "pair"])
_COUNTED = frozenset(word_lists("numbers").counted)
_LEVELS = (["grade"], ["level"], ["stage"], ["class"])
_COMMON = 2.0  # words at least this frequent (Zipf) are plain English
_PERCEIVING, _MODALS, _PERSONS = (frozenset(SPEC[name]) for name in ("perceiving", "modals", "persons"))
_OBLIGING = frozenset(["should", "must", "ought"])
_CLAIMED = ("conditions", "measures", "vessels", "zones", "normal", "disorder", "quality", "gradable", "scales")
_FLAGGED = Path(__file__).with_name("flagged.yaml")
_FREQUENT = 4.3  # and these a question may have, whatever the lines say
_OF_DISC = frozenset("pale yellowish whitish hollow oval".split())  # the disc of every eye, and its cup
_DISC = frozenset(["disc", "cup"])
_EXPERTS = frozenset("doctor ophthalmologist specialist physician clinician expert".split())
_SIGHT = frozenset("vision sight eyesight thing".split())
_ILL = frozenset("ill sick unwell unhealthy ailment trouble".split())
_NAMING = frozenset("call name term refer speak use say word".split())
_WANTED = frozenset("needed required necessary repeated advised useful helpful wise better best prudent sensible".split())
_EXCLUDING = frozenset(["ruled", "excluded", "exclude", "denied"])
_EITHER_WAY = frozenset(["nor", "neither", "not", "cannot"])
_SAYING = KNOWING | word_lists("negation").saying
_UNKNOWN = frozenset(["cannot", "can't", "not", "unknown", "nor", "neither", "won't"])


class KnownWords:
    """The words of a sheet: those that an answer may say, and those that place something."""

    def __init__(self, sheet: FactSheet):
        self.sheet = sheet
        every = [(line, _words_of(line)) for line in sheet.lines]
        self.known = frozenset().union(*(words for _, words in every))
        placing = frozenset().union(*(words for line, words in every if line.id[0] in "dln"))
        self.placing, self._placed = placing, {word[:5] for word in placing}
        self.typed = frozenset(k for line in sheet.lines for k in _typed(_without_values(line.text)))

    @cached_property
    def of_picture(self) -> frozenset[str]:
        """The words of the lines of the picture: what it is centred on."""
        return frozenset().union(*(_words_in(line.text) for line in self.sheet.lines if line.id[0] == "i"))

    @cached_property
    def rare(self) -> set[str]:
        """The words of the lines of diseases and lesions that are not common: membrane, atrophy."""
        lines = (_without_values(line.text) for line in self.sheet.lines if line.id[0] in "dl" and line.facts)
        return {word for line in lines for word in _words_in(line) if word.isalpha() and word not in _frequent()}

    def places(self, word: str) -> bool:
        """Says whether a line places something at a landmark: maculopathy is of the macula."""
        return word[:5] in self._placed

    @cached_property
    def tops(self) -> frozenset[str]:
        """The lowest and highest levels of the scales of the sheet's grades."""
        known = [scales()[slot.fact.unit]["levels"] for _, slot in self.sheet.slots.values() if slot.fact.unit in scales()]
        return frozenset(str(end) for levels in known for end in (0, max(levels)))


def _at_least(zipf: float) -> Iterator[str]:
    """English words of this frequency or more (Zipf scale: 3 is once in a million words), as they are written."""
    from wordfreq import get_frequency_dict

    least = 10 ** (zipf - 9)
    return (word for word, share in get_frequency_dict("en", wordlist="large").items() if share >= least)


@cache
def _common() -> frozenset[str]:
    """Plain English words, as they are written."""
    return frozenset(_at_least(_COMMON)) | comparison.COMPARING | _listed("glue")


@cache
def _frequent() -> frozenset[str]:
    """Words so common, or so much of every eye, that a question may have them."""
    return frozenset(word for written in _at_least(_FREQUENT) for word in lexicon.tokens(written)[:1]) | _listed("anatomy")


@cache
def _flagged(bare: bool) -> frozenset[str]:
    """Words that are common, but state something; `bare`: in a sentence that rests on nothing."""
    return _listed("stating") | _listed("beyond") | (_listed("bare") if bare else frozenset())


@cache
def _lists() -> dict[str, list[str]]:
    """The lists of words of wording.yaml and flagged.yaml."""
    return SPEC | packaged_yaml(_FLAGGED)


@cache
def _listed(name: str) -> frozenset[str]:
    return frozenset(
        word for line in _lists()[name] for item in line.split() for word in lexicon.tokens(item.replace("-", " "))
    )


@lru_cache(maxsize=4096)
def _words_in(text: str) -> frozenset[str]:
    return frozenset(ParsedText(text).words)


def _words_of(line: Line) -> frozenset[str]:
    """The words of a line and of the facts behind it; those of its values, which hardly recur, are not kept."""
    values = (lexicon.tokens(slot.text) for slot in line.slots)
    return _words_in(_without_values(line.text)).union(*values, *(_words_in(fact.words) for fact in line.facts))


def _without_values(line: str) -> str:
    """A line without its slots and what they read."""
    return re.sub(r'\{[^}]*\} = "[^"]*"', "", line)


@lru_cache(maxsize=4096)
def _typed(line: str) -> frozenset[str]:
    """The numbers that a line has outside of slots, as in a 45 degree field of view."""
    return frozenset(word for word in lexicon.tokens(line) if word[0].isdigit())


class QuestionCheck:
    """The check of questions: a number or a condition that no earlier answer told gives something away."""

    def __init__(self, known: KnownWords) -> None:
        self._said: list[str] = []
        self._words: set[str] = set()
        self._told: set[str] = set()
        self._rare = known.rare

    def answered(self, answer: ParsedText) -> None:
        """Takes note of what an answer tells."""
        self._said.append(answer.text)
        self._words.update(answer.words)
        self._told |= {each for term in answer.of("conditions") for each in family(term)}

    def check(self, question: ParsedText, findings: AnswerFindings) -> None:
        """Adds findings of a question."""
        for k, word in enumerate(question.words):
            counts = word in _SPELLED and word != "two"
            if (word[0].isdigit() or counts) and not any(word in text for text in self._said):
                says = f"the question gives the number {question.raw(k)!r}, which no earlier answer stated"
                findings.add("leak_value", Term(k, k + 1), says)
                break
        for k, word in enumerate(question.words):
            if word in self._rare and word not in self._words:
                says = f"the question has {question.raw(k)!r} of what the eye has, which no earlier answer told"
                findings.add("leak_label", Term(k, k + 1), says)
                return
        words = question.words
        far = next((k for k in range(len(words) - 1) if words[k] == "how" and words[k + 1] in ("far", "much")), None)
        if far is not None and "than" in words[far:] and not comparison.COMPARING.isdisjoint(words[far:]) and not self._said:
            findings.add(
                "leak_answer", Term(far, far + 2), "the question says how two values compare, which no answer told yet"
            )
        if "why" in question.words and not self._said:
            says = "the question asks for the reason of what no answer told yet"
            findings.add("leak_answer", Term(0, len(question.words)), says)
        for term in question.of("conditions"):
            if self._told.isdisjoint(family(term)):
                says = f"the question names {question.text_of(term)!r}, which no earlier answer told"
                findings.add("leak_label", term, says)


class WordCheck:
    """The check of the words of an answer. `explained` are the tokens of explanations, word for word."""

    def __init__(self, known: KnownWords, profile: CaseProfile, findings: AnswerFindings, explained: set[int]):
        self.known, self.profile, self.findings, self.explained = known, profile, findings, explained

    def numbers(self, sentence: Sentence) -> None:
        """Adds findings for numbers that no slot wrote."""
        words, values = sentence.words, sentence.of.values
        for k in sentence.tokens:
            word = words[k]
            if k in values or not (word[0].isdigit() or word in _SPELLED or word in "¼½¾"):
                continue
            if word == "four" and (words[k - 1 : k] == ["all"] or words[k + 1 : k + 2] in (["quadrant"], ["quarter"])):
                continue  # all four quadrants: the check of places judges it
            if word in ("two", "couple") and words[k - 1 : k] not in _LEVELS and not _counts(sentence.text, k):
                continue
            if word in self.known.typed or (word in self.known.tops and words[k - 1 : k] in (["of"], ["to"], ["/"], ["from"])):
                continue  # a 45 degree field of view; grade {d1.grade} of 4
            slot = next(iter(self.known.sheet.slots), "v1")
            says = f"{sentence.text.raw(k)!r} was typed; a value is written as a slot, such as {{{slot}}}"
            self.findings.add("typed_number", Term(k, k + 1), says)

    def licensed(self, sentence: Sentence) -> None:
        """Adds findings for words that nothing licenses."""
        known, skipped = self.known.known, sentence.of.values | self.explained
        common, flagged = _common(), _flagged(bare=not sentence.anchors and not sentence.asks)
        self._lay_words(sentence, known)
        for k in sentence.tokens:
            word = sentence.words[k]
            if word in known or (word in common and word not in flagged):
                if word in _MODALS and k not in skipped and not sentence.asks:
                    self._modal(sentence, k)
            elif word[0].isalpha() and k not in skipped and not self._is_alike(sentence, k, known):
                self._judge(sentence, k, word in flagged)

    @staticmethod
    def _is_alike(sentence: Sentence, k: int, known: frozenset[str]) -> bool:
        """Whether a word is as good as a known one: damaged, of what explains damage; the pale disc; ill or not, who knows."""
        word, words = sentence.words[k], sentence.words
        if word == "heart" and words[k + 1 : k + 3] == ["of", "the"]:
            return True  # in the heart of the picture
        if SPEC["alike"].get(word) in known or (word.endswith("ly") and word[:-2] in known):
            return True
        return (word in _OF_DISC and not _DISC.isdisjoint(known)) or (word in _ILL and not _UNKNOWN.isdisjoint(sentence.within))

    def _judge(self, sentence: Sentence, k: int, flagged: bool) -> None:
        """Adds the finding of a word that is not known."""
        text, words = sentence.text, sentence.words
        if not flagged and text.raw(k).lower() in _common():
            return
        kinds = {term.kind for term in text.terms if term.first <= k < term.last}
        if words[k] in _listed("beyond") and kinds.isdisjoint(_CLAIMED):  # the checks of claims judge these
            several = words[k] in _EXPERTS and text.raw(k).endswith("s")  # doctors, of none that one should see
            if not several and _NAMING.isdisjoint(words[k + 1 : k + 4]) and words[k - 1 : k] != ["don't"]:
                self.findings.add("beyond", Term(k, k + 1), f"{text.raw(k)!r} goes beyond the facts")
        elif kinds <= {"cues"} or ("quality" in kinds and not _SIGHT.isdisjoint((*sentence.within, *words[k : k + 2]))):
            self.findings.add("unlicensed", Term(k, k + 1), f"{text.raw(k)!r} is in no fact and is no plain word")

    def _lay_words(self, sentence: Sentence, known: frozenset[str]) -> None:
        """Lay words that name only conditions which no fact gives."""
        for term in sentence.terms("lay"):
            told = known.issuperset(sentence.words[term.first : term.last])
            told = told or (sentence.words[term.first] in _OF_DISC and not _DISC.isdisjoint(known))
            if not told and polarity(sentence.text, term) == AFFIRMED and self.profile.present.keys().isdisjoint(term.value):
                self.findings.add("unlicensed", term, f"{sentence.text.text_of(term)!r} says what no fact says")

    def _modal(self, sentence: Sentence, k: int) -> None:
        """A verb such as may or should that speaks of what may come."""
        words, tokens = sentence.words, sentence.tokens
        word, after = words[k], words[k + 1 : tokens.stop]
        if not _SAYING.isdisjoint(sentence.within) and not _UNKNOWN.isdisjoint(sentence.within):
            return  # which disease it may have cannot be told
        if not _EXCLUDING.isdisjoint(after) and not _EITHER_WAY.isdisjoint(sentence.within):
            return  # nor may any disease be ruled out
        if word == "should" and (after[:1] in (["know"], ["note"]) or after[:2] == ["be", "able"]):
            return
        if k > tokens.start and (words[k - 1] in _PERSONS if word not in _OBLIGING else words[k - 1] in ("i", "we")):
            return
        if word == "shall" or (after[:1] == ["be"] and after[1:2] in (["kept"], ["borne"], ["noted"], ["said"], ["added"])):
            return
        following = next((each for each in after[:4] if each not in ("not", "also", "only", "therefore", *_PERSONS)), "")
        if not following or after[:1] in ([","], [":"], [";"]) or (following in ("remain", "be", "stay") and "open" in after):
            return  # it appears as it should; it must remain open
        wanted = following == "be" and not _WANTED.isdisjoint(after[1:4])
        makes = wanted or (following == "make" and "out" not in after[:4])
        if word in _OBLIGING or makes or following not in _PERCEIVING:
            says = f"{sentence.text.raw(k)!r} speaks of what may come or should be done, which no fact gives"
            self.findings.add("beyond", Term(k, k + 1), says)


def _counts(text: ParsedText, k: int) -> bool:
    """Whether the number word at token k counts lesions or units."""
    near = range(k + 1, k + 4)
    return any(text.within(kind, near) for kind in ("conditions", "disorder", "units")) or not _COUNTED.isdisjoint(
        text.words[k + 1 : k + 3]
    )
