"""The words of a slotted answer: numbers that were typed, and words that facts, explanations and plain English do not license.

The vocabulary is closed: a word is in the sheet, or it is one of the common words that state nothing by themselves, see
plain_words.yaml.
"""

import re
from functools import cache, cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

from retinal_lib.check.findings import AnswerFindings
from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import ParsedText, Term, family, word_lists
from retinal_lib.check.language.statements import is_suspicion
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.dataset.lesions.wording import is_count
from retinal_lib.display import listed
from retinal_lib.parsing import packaged_yaml
from retinal_lib.slots import comparison
from retinal_lib.slots.sentence import Sentence
from retinal_lib.slots.sheet import SPEC, FactSheet, Line

KNOWING = frozenset(word_lists("negation").knowing) | {"know", "said", "say", "tell", "concluded", "judge"}
_SPELLED = frozenset(word_lists("numbers").spelled) - frozenset(["half", "single", "one", "pair"])
_COUNTED = frozenset(word_lists("numbers").counted)
_LEVELS = (["grade"], ["level"], ["stage"], ["class"])
_BETWEEN = frozenset([",", "which", "that", "(", "it", "of"])
_EXPLAINING = frozenset("measure tell count describe rank order reflect express capture gauge quantify summarise sum".split())
_VALUE = re.compile(r'\{[^}]*\} = "[^"]*"')  # a slot of a line, and what it reads
_EXPLAINS = _EXPLAINING | {"mean", "that", "which"}
_HOW = (["how"], ["what"], ["whether"])  # the fractal dimension tells us; but not: tells us how tortuous vessels are
_OWN_WORDS = frozenset("a an small tiny deposit area patch bleeding damage swelling spot fluid fat lipid".split())
_REFERRING = ("it", "this", "that", "us", "you", "me")
_ASKED = frozenset(["risk", "sign"])  # of lines, but no question gives anything away by them
_PARTS = frozenset("vessel artery vein disc macula fovea retina".split())
_PERCEIVING, _MODALS, _PERSONS = (frozenset(SPEC[name]) for name in ("perceiving", "modals", "persons"))
_OBLIGING = frozenset(["should", "must", "ought"])
# kinds of terms that no check of claims judges
_UNCLAIMED = frozenset(["cues", "asks", "units", "jargon", "generic", "severity", "history", "treatment", "meaning", "lay"])
_COMMON = 3.4  # words at least this frequent (Zipf scale: 3 is once in a million words) are common
_WORDS: dict[str, list[str]] = packaged_yaml(Path(__file__).with_name("plain_words.yaml"))
_PHRASES: dict[str, list[str]] = {}  # word -> phrases with it
for _phrase in _WORDS["phrases"]:
    for _word in _phrase.split():
        _PHRASES.setdefault(_word, []).append(_phrase)
_STATING: dict[str, list[list[str]]] = {}  # first word -> phrases that state something
for _phrase in map(str.split, _WORDS["stating phrases"]):
    _STATING.setdefault(_phrase[0], []).append(_phrase)
_OF_DISC = frozenset("pale yellowish whitish hollow oval".split())  # the disc of every eye, and its cup
_DISC = frozenset(["disc", "cup"])
_EXPERTS = frozenset("doctor ophthalmologist specialist physician clinician expert".split())
_SIGHT = frozenset("vision sight eyesight thing print letter line face text object".split())
_CHANGED = frozenset("become became thinned narrowed widened worsened failed".split())
_SEEING = frozenset(["sight", "eyesight", "vision"])
_POSSESSIVE = frozenset("my her his their its your the".split())
_BLURRED = frozenset(
    "blur blurred blurry hazy dark dim unfocused grainy".split()
)  # why a picture is poor, which a line may tell
_ILL = frozenset("ill sick unwell unhealthy health ailment trouble old young".split())  # which may be said of what is not known
_NAMING = frozenset("call name term refer speak use say word".split())
_WANTED = frozenset("needed required necessary repeated advised useful helpful wise better best prudent sensible".split())
_EXCLUDING = frozenset(["ruled", "excluded", "exclude", "denied"])
_EITHER_WAY = frozenset(["nor", "neither", "not", "cannot"])
_SAYING = KNOWING | word_lists("negation").saying
# what is named only with its line -> the words of a line that name it
THINGS = {word: frozenset([word, *others.split()]) for word, others in SPEC["things"].items() if word}
THINGS |= {word: frozenset([word]) for word in SPEC["things"][""].split()}
_UNKNOWN = frozenset(["nobody", "wouldn't", "open", "whether", "cannot", "can't", "not", "unknown", "nor", "neither", "won't"])


class KnownWords:
    """The words of a sheet: those that an answer may say, and those that place something."""

    def __init__(self, sheet: FactSheet):
        self.sheet = sheet
        self._bare = {line.id: _VALUE.sub("", line.text) for line in sheet.lines}  # lines without slots and what they read
        self.of_line = {line.id: _words_of(line, self._bare[line.id]) for line in sheet.lines}
        self.known = frozenset().union(*self.of_line.values())
        self.counts = {line.facts[0] for line in sheet.lines if line.facts and is_count(line.facts[0])}  # of lesions
        self.suspected = any(suspected_words(fact.words) for line in sheet.lines for fact in line.facts)
        self.structures = [line for line in sheet.lines if line.places]
        placing = frozenset().union(*(words for name, words in self.of_line.items() if name[0] in "dln"))
        self.placing, self._placed = placing, {word[:5] for word in placing}
        self.typed = frozenset(number for bare in self._bare.values() for number in _typed(bare))

    @cached_property
    def of_picture(self) -> frozenset[str]:
        """The words of the lines of the picture: what it is centred on."""
        return frozenset().union(*(_words_in(line.text) for line in self.sheet.lines if line.id[0] == "i"))

    @cached_property
    def rare(self) -> set[str]:
        """The words of the lines of diseases and lesions that are not common: membrane, atrophy."""
        lines = (self._bare[line.id] for line in self.sheet.lines if line.id[0] in "dl" and line.facts)
        plain = _plain()
        words = (word for line in lines for word in _words_in(line) if word.isalpha())
        return {word for word in words if word not in plain and word not in _ASKED}

    def places(self, word: str) -> bool:
        """Says whether a line places something at a landmark: maculopathy is of the macula."""
        return word[:5] in self._placed

    @cached_property
    def tops(self) -> frozenset[str]:
        """The lowest and highest levels of the scales of the sheet's grades."""
        known = [scales()[slot.fact.unit]["levels"] for _, slot in self.sheet.slots.values() if slot.fact.unit in scales()]
        return frozenset(str(end) for levels in known for end in (0, max(levels)))


@cache
def _plain() -> frozenset[str]:
    """The plain words: common ones that state nothing, those that are listed, and what compares."""
    from wordfreq import get_frequency_dict  # slow to load

    least = 10 ** (_COMMON - 9)
    common = (word for word, share in get_frequency_dict("en", wordlist="large").items() if share >= least)
    read = {token for word in common if len(word) > 2 for token in lexicon.tokens(word)[:1]}
    return frozenset(read - _listed("stating") - _listed("resting")) | comparison.COMPARING | _listed("rare")


@cache
def _plain_at_rest() -> frozenset[str]:
    """The plain words of a sentence that rests on a line."""
    return _plain() | _listed("resting")


@cache
def _listed(name: str) -> frozenset[str]:
    return frozenset(word for line in _WORDS[name] for word in line.split())


@lru_cache(maxsize=4096)
def suspected_words(words: str) -> frozenset[str]:
    """Returns the words of what a fact leaves a suspicion."""
    items = (lexicon.read(item) for item in re.split(r"[,;]", words) if is_suspicion(item))
    return frozenset(word for item in items for word in item.words if len(word) > 4)


@lru_cache(maxsize=4096)
def _words_in(text: str) -> frozenset[str]:
    return frozenset(ParsedText(text).words)


def _words_of(line: Line, bare: str) -> frozenset[str]:
    """The words of a line and of the facts behind it; those of its values, which hardly recur, are not kept."""
    values = (lexicon.tokens(slot.text) for slot in line.slots)
    of_vessels = any(fact.aspect == "vascular" and fact.text == fact.words for fact in line.facts[:1])  # a free text on them
    of_facts = (_words_in(fact.words) for fact in line.facts)
    return _words_in(bare).union(*values, *of_facts, ("vessel", "disc") if of_vessels else ())


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
        vessels, compares = {"artery", "vein"} & set(words), not comparison.COMPARING.isdisjoint(words)
        untold = (compares and not self._said) or (len(vessels) == 2 and not vessels <= self._words and self._said)
        if far is not None and "than" in words and untold:
            says = "the question says how two values compare, which no answer told yet"
            findings.add("leak_answer", Term(far, far + 2), says)
        self._presumed(question, findings)
        if "why" in question.words and KNOWING.isdisjoint(question.words):
            says = "the question asks for a reason, which no line gives, and takes as known what it asks about"
            findings.add("leak_answer", Term(0, len(question.words)), says)
        for term in question.of("conditions"):
            if self._told.isdisjoint(family(term)):
                says = f"the question names {question.text_of(term)!r}, which no earlier answer told"
                findings.add("leak_label", term, says)

    def _presumed(self, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks that a question takes no symptom and no change as known: my sight, the leaking vessels, have become narrow."""
        words = question.words
        for k, (word, following) in enumerate(pairwise([*words, ""])):
            leaking = word.endswith("ing") and word in _listed("stating") and following in _PARTS
            changed = word in _CHANGED or self._is_change(words, k)
            if word not in self._words and (leaking or changed or (word in _POSSESSIVE and following in _SEEING)):
                says = (
                    f"the question has {question.text_of(Term(k, k + 1 + (following in _SEEING)))!r}, of which no answer told"
                )
                findings.add("leak_answer", Term(k, k + 1), says)
                return

    @staticmethod
    def _is_change(words: list[str], k: int) -> bool:
        """Whether the participle at token k says that a part of the eye has changed: the cup that has widened."""
        state = words[k].endswith(("ed", "en", "own")) and words[k] in _listed("stating")
        has = not {"have", "has"}.isdisjoint(words[:k]) or words[k - 1] in ("so", "badly")
        return state and has and not (_PARTS | _DISC).isdisjoint(words[max(0, k - 6) : k])


class WordCheck:
    """The check of the words of an answer. `explained` are the tokens of explanations, word for word."""

    def __init__(self, known: KnownWords, findings: AnswerFindings, explained: set[int]):
        self.known, self.findings, self.explained = known, findings, explained

    def numbers(self, sentence: Sentence) -> None:
        """Adds findings for numbers that no slot wrote."""
        words, values = sentence.words, sentence.values
        for k in sentence.tokens:
            word = words[k]
            if not (word[0].isdigit() or word in _SPELLED or word in "¼½¾") or k in values:
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
        known, skipped = self.known.known, sentence.values | self.explained
        plain = _plain_at_rest() if sentence.anchors or sentence.asks else _plain()
        unknown, odd = [], sentence.within.difference(known, plain) or not sentence.within.isdisjoint(_MODALS)
        for k in sentence.tokens if odd else ():
            word = sentence.words[k]
            if word in known or word in plain:
                if word in _MODALS and k not in skipped and not sentence.asks:
                    self._modal(sentence, k)
            elif word[0].isalpha() and k not in skipped and not self._is_alike(sentence, k, known):
                unknown += [k] if self._is_unknown(sentence, k) else []
        if not sentence.within.isdisjoint(_STATING):
            words = sentence.words
            said = (k for k in sentence.tokens if k not in skipped)  # a quoted note may state anything
            unknown += [k for k in said if any(words[k : k + len(p)] == p for p in _STATING.get(words[k], ()))]
        if unknown:
            raw = list(dict.fromkeys(repr(sentence.text.raw(k)) for k in unknown))
            says = f"{listed(raw)} {'are' if len(raw) > 1 else 'is'} in no line, and not among the plain words"
            self.findings.add("unlicensed", Term(unknown[0], unknown[0] + 1), says)

    def explains(self, sentence: Sentence) -> None:
        """Checks that no measure, scale or disease is explained in own words: the fractal dimension, which counts branches."""
        if sentence.within.isdisjoint(_EXPLAINS):
            return
        named = [
            t for kind in ("measures", "scales", "conditions") for t in sentence.terms(kind) if t.first not in self.explained
        ]
        words, stop, values = sentence.words, sentence.tokens.stop, sentence.values
        for term in named:
            passed = (j for j in range(term.last, min(term.last + 8, stop)) if words[j] not in _BETWEEN and j not in values)
            k = next(passed, stop)
            led = words[term.last : k]
            says = words[k : k + 1] and words[k] in _EXPLAINING and (k == term.last or {"which", "that"} & {*led})
            after = words[term.last : term.last + 4]
            that_is = after in ([",", "that", "is", ","], ["(", "that", "is", ","])
            following = range(k, min(k + 6, stop))
            shown = any(slot.first in following for slot in sentence.slots)
            graded = any(slot.first < k for slot in sentence.slots if slot.anchor.line.id[0] == "d")
            means = words[k : k + 1] == ["mean"] and "which" in led and not graded
            of_it = words[k + 1 : k + 2] in ([":"], *([word] for word in _REFERRING)) and words[k + 2 : k + 3] not in _HOW
            is_one = words[term.last : term.last + 3] in ([",", "which", "is"], [",", "which", "are"])  # which are deposits
            is_one = is_one and term.kind == "conditions" and not _OWN_WORDS.isdisjoint(words[term.last + 3 : term.last + 4])
            if (says or that_is or means or is_one) and not shown and not of_it:
                said = sentence.text.text_of(Term(term.first, k + 1))
                why = f"{said!r}: a term is explained by its slot alone, in a sentence of its own"
                self.findings.add("unlicensed", Term(k, k + 1), why)

    @staticmethod
    def _is_alike(sentence: Sentence, k: int, known: frozenset[str]) -> bool:
        """Whether a word is as good as a known one: damaged, of what explains damage; the pale disc; ill or not, who knows."""
        word, words = sentence.words[k], sentence.words
        if any(f" {phrase} " in f" {' '.join(words[max(0, k - 4) : k + 5])} " for phrase in _PHRASES.get(word, ())):
            return True
        if SPEC["alike"].get(word) in known or (word.endswith("ly") and word[:-2] in known):
            return True
        if "'" in word and word.partition("'")[0].removesuffix("n") in SPEC["contracted"]:
            return True
        return (word in _OF_DISC and not _DISC.isdisjoint(known)) or (word in _ILL and not _UNKNOWN.isdisjoint(sentence.within))

    @staticmethod
    def _is_unknown(sentence: Sentence, k: int) -> bool:
        """Whether no check of claims judges a word that is not known."""
        text, words = sentence.text, sentence.words
        kinds = {term.kind for term in text.terms if term.first <= k < term.last}
        several = words[k] in _EXPERTS and text.raw(k).endswith("s")  # doctors, of none that one should see
        naming = not _NAMING.isdisjoint(words[k + 1 : k + 4]) or words[k - 1 : k] == ["don't"]
        sight = "quality" in kinds and not _SIGHT.isdisjoint((*sentence.within, *words[k : k + 2]))
        untold = {"tortuosity"} == {value for term in sentence.terms("measures") if term.first == k for value in term.values}
        return not several and not naming and (kinds <= _UNCLAIMED or sight or untold or words[k] in _BLURRED)

    def _modal(self, sentence: Sentence, k: int) -> None:
        """A verb such as may or should that speaks of what may come."""
        words, tokens = sentence.words, sentence.tokens
        word, after = words[k], words[k + 1 : tokens.stop]
        if not _SAYING.isdisjoint(sentence.within) and not _UNKNOWN.isdisjoint(sentence.within):
            return  # which disease it may have cannot be told
        if not _EXCLUDING.isdisjoint(after) and not _EITHER_WAY.isdisjoint(sentence.within):
            return  # nor may any disease be ruled out
        parts = not _PARTS.isdisjoint(words[max(tokens.start, k - 8) : k])
        if word == "should" and parts and not after[:1] and "they" in words[k - 2 : k]:
            self.findings.add(
                "beyond", Term(k, k + 1), f"{sentence.text.raw(k)!r} says how it ought to be, which no fact gives"
            )
            return
        if word == "should" and (after[:1] in (["know"], ["note"]) or after[:2] == ["be", "able"]):
            return
        if k > tokens.start and (words[k - 1] in _PERSONS if word not in _OBLIGING else words[k - 1] in ("i", "we")):
            return
        if word == "shall" or (after[:1] == ["be"] and after[1:2] in (["kept"], ["borne"], ["noted"], ["said"], ["added"])):
            return
        passed = ("not", "also", "only", "therefore", "both", "all", "simply", "indeed", "certainly", *_PERSONS)
        if after[:1] == ["do"] and word == "will":
            return  # the picture will do
        following = next((each for each in after[:4] if each not in passed), "")
        if (
            not following.isalpha()
            or after[:1] in ([","], [":"], [";"])
            or (following in ("remain", "be", "stay") and "open" in after)
        ):
            return  # it appears as it should; it must remain open
        wanted = following == "be" and not _WANTED.isdisjoint(after[1:4])
        makes = wanted or (following == "make" and "out" not in after[:4])
        if after[:1] == ["be"] and after[1:2] in (["described"], ["mentioned"], ["named"], ["called"], ["told"]):
            return  # it should be described as follows
        told = word in _OBLIGING and (words[k - 1] != "you" or following == "be")  # you should see the disc at ...
        if told or makes or following not in _PERCEIVING:
            says = f"{sentence.text.raw(k)!r} speaks of what may come or should be done, which no fact gives"
            self.findings.add("beyond", Term(k, k + 1), says)


def _counts(text: ParsedText, k: int) -> bool:
    """Whether the number word at token k counts lesions or units."""
    near = range(k + 1, k + 4)
    return any(text.within(kind, near) for kind in ("conditions", "disorder", "units")) or not _COUNTED.isdisjoint(
        text.words[k + 1 : k + 3]
    )
