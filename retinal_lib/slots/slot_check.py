"""The check of a conversation that was written with slots: what its words say besides the values.

The values are right by construction, so that what is checked is small: that the words around a slot name what it is of; that
comparisons hold; that every other claim (a disease, a lesion, a place, the quality, the eye) is one of the facts, in its
polarity; and that no word says more than facts, glossary and plain English do.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from retinal_lib import conversation
from retinal_lib.check import conversation_check, form
from retinal_lib.check.added_details import AddedDetails
from retinal_lib.check.case_profile import POSSIBLE, PRESENT, CaseProfile
from retinal_lib.check.conversation_check import Checked
from retinal_lib.check.diseases import Diseases, Grades, Normality
from retinal_lib.check.findings import ERROR, WARNING, AnswerFindings, Finding, Trace
from retinal_lib.check.image_and_person import ImageAndPerson
from retinal_lib.check.language import glossary, lexicon, tables
from retinal_lib.check.language.lexicon import VOCABULARY, ParsedText, Term, word_lists
from retinal_lib.check.language.negation import AFFIRMED, NEGATED, SUSPECTING, mentions, polarity
from retinal_lib.check.language.statements import is_suspicion
from retinal_lib.check.language.tables import FlatText
from retinal_lib.check.leaks import Leaks
from retinal_lib.check.lesion_locations import LesionLocations
from retinal_lib.check.quantity_index import QuantityIndex
from retinal_lib.conversation import Turn
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.facts import Case
from retinal_lib.slots import comparison, filling, pairing
from retinal_lib.slots.filling import Anchor, Filled
from retinal_lib.slots.pairing import Placed
from retinal_lib.slots.sheet import SPEC, FactSheet

_CLAIMS = (Leaks, Diseases, Grades, Normality, ImageAndPerson, LesionLocations, AddedDetails)
_SPELLED = frozenset(word_lists("numbers").spelled) - frozenset(["half", "single", "one", "pair"])
_COMMON = 2.0  # words at least this frequent (Zipf scale: 3 is once in a million words) are plain English
_PERCEIVING, _MODALS, _PERSONS = (frozenset(SPEC[name]) for name in ("perceiving", "modals", "persons"))
_HERE = frozenset(["this", "these", "here", "you", "your", "my", "patient"])  # of this eye, not of eyes in general
_BESIDE = frozenset(["below", "above", "along", "beside", "under", "beneath", "around", "near"])
_STRUCTURES = frozenset(["macula", "fovea", "disc", "nerve"])
_LANDMARKS = frozenset(["macula", "fovea", "foveal", "periphery", "peripheral"])
_COUNTED = frozenset(word_lists("numbers").counted)
_DEFINING = frozenset(["it", "that", "those", "they", "such", "in", "a", "an"])  # begin a definition
_CLAIMED = ("conditions", "measures", "vessels", "zones", "normal", "disorder", "quality", "gradable", "scales")
_KNOWING = frozenset(word_lists("negation").knowing) | {"said", "say", "tell", "concluded", "judge"}
_OTHERS = frozenset(SPEC["others"])
_UNLICENSED = ("ungrounded", "ungrounded_denial")  # warnings of the claim checks that are errors here


class SlotChecked(NamedTuple):
    """A conversation with its values, as it is exported, and what the check found."""

    conversation: list[dict[str, str]]
    checked: Checked


def examine(turns: Sequence[Turn], sheet: FactSheet, track: str | None = None, style: str | None = None) -> SlotChecked:
    """Fills the slots of a conversation and checks it against the facts of its sheet."""
    filled = [filling.fill(turn.answer, sheet) for turn in turns]
    exported = conversation.to_llava(Turn(turn.question, f.text) for turn, f in zip(turns, filled, strict=True))
    parts = [(part["from"], part["value"]) for part in exported]
    found, traces = form.check(parts, track, style), []
    if any(finding.kind == "form_size" for finding in found):
        return SlotChecked(exported, Checked(found, []))
    profile, index = CaseProfile(sheet.case), QuantityIndex(sheet.case)
    claims = [each(profile, index) for each in _CLAIMS]
    known, said, texts = _words_of(sheet), [], []
    for number, (turn, one) in enumerate(zip(turns, filled, strict=True), start=1):
        flat = tables.flatten(one.text)  # spans stay those of the answer
        question, answer = ParsedText(turn.question), ParsedText(flat.text)
        asked = AnswerFindings(number, question, "question")
        told = _Answer(answer, _flattened(one, flat), sheet, profile, AnswerFindings(number, answer))
        for each in claims:
            each.question(question, asked)
        for each in claims:
            each.answer(answer, question, told.findings)
        _question_numbers(question, asked, said)
        told.drop_values()
        told.check(question, known)
        said.append(one.text)
        texts.append((question, answer))
        found += asked.findings
        found += [finding._replace(span=flat.place(finding.span)) for finding in told.findings.findings]
        traces += [trace._replace(span=flat.place(trace.span)) for trace in (*told.traces(), *told.findings.traces)]
    if style != "consult" and (track is not None or len(turns) > 1):
        found += conversation_check.coverage(_told(sheet), texts, traces)
    denied = {word for fact in sheet.case.facts if fact.words.startswith("no ") for word in _words_in(fact.words)}
    found = [f for f in found if f.kind != "ungrounded_denial" or not denied.issuperset(_words_in(_said(f, texts)))]
    raised = [f._replace(severity=ERROR) if f.severity == WARNING and f.kind in _UNLICENSED else f for f in found]
    return SlotChecked(exported, Checked(sorted(raised, key=lambda f: (f.turn, f.part != "question", f.span)), traces))


def _said(finding: Finding, texts: Sequence[tuple[ParsedText, ParsedText]]) -> str:
    """The words of an answer that a finding is about."""
    return texts[finding.turn - 1][1].text[slice(*finding.span)]


def _flattened(filled: Filled, flat: FlatText) -> Filled:
    """A filled answer whose tables are read as sentences, with its anchors where they are then."""
    if flat.places is None:
        return filled
    index = {place: k for k, place in reversed(list(enumerate(flat.places)))}

    def at(place: int) -> int:
        return next((index[k] for k in range(place, -1, -1) if k in index), 0)

    anchors = tuple(
        anchor._replace(start=at(anchor.start), end=at(anchor.end - 1) + 1 if anchor.slot else at(anchor.start))
        for anchor in filled.anchors
    )
    return Filled(flat.text, anchors, tuple(p._replace(start=at(p.start), end=at(p.end - 1) + 1) for p in filled.problems))


def _told(sheet: FactSheet) -> Case:
    """The case with those of its facts that its sheet tells."""
    return replace(sheet.case, facts=tuple({fact: None for line in sheet.lines for fact in line.facts}))


def _question_numbers(question: ParsedText, findings: AnswerFindings, said: Iterable[str]) -> None:
    """A number in a question that no earlier answer stated gives something away."""
    for k, word in enumerate(question.words):
        counts = word in _SPELLED and word != "two"
        if (word[0].isdigit() or counts) and not any(word in text for text in said):
            spot = Term(k, k + 1)
            findings.add(
                "leak_value", spot, f"the question gives the number {question.raw(k)!r}, which no earlier answer stated"
            )
            return


# --- words that may be said ---------------------------------------------------------------------------------------------------


@cache
def _common() -> frozenset[str]:
    """Plain English words, as they are written."""
    from wordfreq import get_frequency_dict

    least = 10 ** (_COMMON - 9)
    frequent = {word for word, share in get_frequency_dict("en", wordlist="large").items() if share >= least}
    return frozenset(frequent | comparison.COMPARING | _listed("glue"))


@cache
def _flagged() -> frozenset[str]:
    """Words that are common, but state something."""
    return _stating() | _beyond()


def _listed(name: str) -> frozenset[str]:
    return frozenset(word for line in SPEC[name] for item in line.split() for word in lexicon.tokens(item.replace("-", " ")))


@cache
def _stating() -> frozenset[str]:
    return _listed("stating")


@cache
def _beyond() -> frozenset[str]:
    return _listed("beyond")


@cache
def _words_in(text: str) -> frozenset[str]:
    return frozenset(lexicon.read(text).words)


def _words_of(sheet: FactSheet, letters: str = "") -> frozenset[str]:
    """The words of a sheet's lines (those with these letters, or all and the explanations), and of the facts behind them."""
    words = set() if letters else {word for line in sheet.explained for word in _words_in(line.text)}
    for line in sheet.lines:
        if letters and line.id[0] not in letters:
            continue
        words |= _words_in(re.sub(r"\{[^}]*\} = ", "", line.text))
        for fact in line.facts:
            words |= _words_in(fact.words)
    return frozenset(words)


def _counts(text: ParsedText, k: int) -> bool:
    """Whether the number word at token k counts lesions or units."""
    near = range(k + 1, k + 4)
    return any(text.within(kind, near) for kind in ("conditions", "disorder", "units")) or not _COUNTED.isdisjoint(
        text.words[k + 1 : k + 3]
    )


def _typed(sheet: FactSheet) -> frozenset[str]:
    """The numbers that lines have outside of slots, as in a 45 degree field of view."""
    texts = [re.sub(r'\{[^}]*\} = "[^"]*"', "", line.text) for line in sheet.lines]
    return frozenset(word for text in texts for word in lexicon.tokens(text) if word[0].isdigit())


class _Answer:
    """One answer with its slots and marks, its sentences and what was found in it."""

    def __init__(
        self, text: ParsedText, filled: Filled, sheet: FactSheet, profile: CaseProfile, findings: AnswerFindings
    ) -> None:
        self.text, self.filled, self.sheet, self.profile, self.findings = text, filled, sheet, profile, findings
        self.slots = pairing.placed(text, filled.anchors)
        self.values = {k for slot in self.slots for k in range(slot.first, slot.last)}
        self.explanations = glossary.sentences(text)
        self.explained = {k for tokens in self.explanations for k in tokens}
        self.placed = _words_of(sheet, "dln")
        self.graded = {c for fact in profile.grades for c in VOCABULARY["subjects"].get(fact.unit, ())}
        self.typed = _typed(sheet)
        grades = (slot.anchor.slot.fact.unit for slot in self.slots)
        self.tops = {str(end) for unit in grades if unit in scales() for end in (0, max(scales()[unit]["levels"]))}

    def traces(self) -> Iterator[Trace]:
        """Yields the facts that the answer's values are of."""
        for anchor in self.filled.anchors:
            if anchor.slot is not None:
                said = self.filled.text[anchor.start : anchor.end]
                yield Trace(self.findings.turn, (anchor.start, anchor.end), said, "number", anchor.slot.fact)
            elif anchor.line.facts:
                span = self._sentence_span(anchor)
                said = self.filled.text[slice(*span)]
                yield Trace(self.findings.turn, span, said, "claim", anchor.line.facts[0])

    def _sentence_span(self, anchor: Anchor) -> tuple[int, int]:
        for tokens in self.text.sentences:
            start, end = self.text.span(Term(tokens.start, tokens.stop))
            if start <= anchor.start <= end:
                return start, end
        return anchor.start, anchor.start + 1

    def drop_values(self) -> None:
        """Takes back findings about the values of slots, which are right by construction, and within explanations."""
        spans = [(anchor.start, anchor.end) for anchor in self.filled.anchors if anchor.slot is not None]
        spans += self._explanations()
        if spans and self.findings.findings:
            self.findings.findings = [
                f for f in self.findings.findings if not any(a <= f.span[0] and f.span[1] <= b for a, b in spans)
            ]

    def _explanations(self) -> Iterator[tuple[int, int]]:
        """The sentences that explain a term and say nothing of this eye: an explanation as it stands, or one in other words."""
        for tokens in self.explanations:
            yield self.text.span(Term(tokens.start, tokens.stop))
        for tokens in self.text.sentences:
            anchors = self._anchors(tokens)
            in_own_words = bool(anchors) and all(anchor.line in self.sheet.explained for anchor in anchors)
            told = any(anchor.line in self.sheet.explained for anchor in anchors)
            for term in self.text.within("conditions", tokens) if told and not in_own_words else ():
                if not self.graded.isdisjoint(term.values) and self.profile.status_of(term.values)[0] is None:
                    yield self.text.span(term)  # the risk of macular oedema, a swelling of the macula
            if in_own_words and self._defines(tokens) and _HERE.isdisjoint(self.text.words[k] for k in tokens):
                yield self.text.span(Term(tokens.start, tokens.stop))

    def check(self, question: ParsedText, known: frozenset[str]) -> None:
        """Checks slots and marks, numbers, words, and sentence by sentence what stands around the slots."""
        for start, end, why in self.filled.problems:
            self.findings.add_at("slot", (start, end), why)
        for tokens in self.text.sentences:
            slots = [slot for slot in self.slots if slot.first in tokens]
            anchors = self._anchors(tokens)
            self._numbers(tokens)
            self._pairs(tokens, slots, question)
            for at, why, fact in comparison.wrong(
                self.text, tokens, slots, anchors, self.sheet, self._around(tokens), question
            ):
                self.findings.add("comparison", at, why, fact)
            self._words(tokens, anchors, known)
            self._judgements(tokens, anchors)
            self._landmarks(tokens, anchors)
            self._claims(tokens, anchors)
            self._suspicions(tokens, anchors)

    def _defines(self, tokens: range) -> bool:
        """Whether a sentence begins as a definition does, with its term or a word for it, or names what the eye has."""
        if self.text.words[tokens.start] in _DEFINING:
            return True
        unknown = [t for t in self.text.within("conditions", tokens) if self.profile.status_of(t.values)[0] != PRESENT]
        return all(term.first <= tokens.start + 3 for term in unknown)

    def _around(self, tokens: range) -> list[Placed]:
        """The slots of the sentences before and after."""
        place = self.text.sentences.index(tokens)
        near = self.text.sentences[max(0, place - 2) : place + 3]
        return [slot for slot in self.slots if slot.first not in tokens and any(slot.first in each for each in near)]

    def _anchors(self, tokens: range) -> list[Anchor]:
        start, end = self.text.span(Term(tokens.start, tokens.stop))
        return [anchor for anchor in self.filled.anchors if start <= anchor.start <= end]

    def _numbers(self, tokens: range) -> None:
        """A number that no slot wrote."""
        words = self.text.words
        for k in tokens:
            word = words[k]
            if k in self.values or not (word[0].isdigit() or word in _SPELLED or word in "¼½¾"):
                continue
            if word == "four" and (words[k - 1 : k] == ["all"] or words[k + 1 : k + 2] in (["quadrant"], ["quarter"])):
                continue  # all four quadrants: the check of places judges it
            if word == "two" and not _counts(self.text, k):
                continue
            if word in self.typed or (word in self.tops and words[k - 1 : k] in (["of"], ["to"], ["/"], ["from"])):
                continue  # a 45 degree field of view; grade {d1.grade} of 4
            slot = next(iter(self.sheet.slots), "v1")
            says = f"{self.text.raw(k)!r} was typed; a value is written as a slot, such as {{{slot}}}"
            self.findings.add("typed_number", Term(k, k + 1), says)

    def _pairs(self, tokens: range, slots: list[Placed], question: ParsedText) -> None:
        for slot, dimension, word in pairing.mismatches(self.text, tokens, slots, question):
            fact = slot.anchor.slot.fact
            words = word and " ".join(sorted(word.values))
            says = f"{{{slot.anchor.slot.name}}} stands with another {dimension} ({words}): {slot.anchor.line.text}"
            self.findings.add("misattributed", slot, says, fact)
        graded = [slot for slot in slots if slot.anchor.slot.fact.unit in scales()]
        for one, other in pairwise(graded):
            parts = [slot.anchor.slot.name.rpartition(".")[2] for slot in (one, other)]
            if parts[0] == "grade" != parts[1] and other.anchor.line != one.anchor.line:
                says = f"{{{one.anchor.slot.name}}} stands with {{{other.anchor.slot.name}}}, which is of another grade"
                self.findings.add("wrong_grade", one, says, one.anchor.slot.fact)

    def _words(self, tokens: range, anchors: list[Anchor], known: frozenset[str]) -> None:
        """A word that neither facts, glossary nor plain English license."""
        explained = [anchor.line for anchor in anchors if anchor.line in self.sheet.explained]
        if explained:
            known = known.union(_stating(), *(_words_in(line.text) for line in explained))
        words, common, flagged = self.text.words, _common(), _flagged()
        terms = [t for t in self.text.terms if tokens.start <= t.first < tokens.stop]
        named = {k for t in terms if t.kind != "cues" for k in range(t.first, t.last)}
        claimed = {k for t in terms if t.kind in _CLAIMED for k in range(t.first, t.last)}  # the checks of claims judge these
        for term in terms:
            if explained:
                break  # an explanation in other words
            if term.kind == "lay" and self._is_unknown(term) and not known.issuperset(self.text.words[term.first : term.last]):
                self.findings.add("unlicensed", term, f"{self.text.text_of(term)!r} says what no fact says")
        for k in tokens:
            word = words[k]
            plain = word in known or (word.endswith("ly") and word[:-2] in known)
            plain = plain or (word not in flagged and (word in common or self.text.raw(k).lower() in common))
            if plain or k in self.values or k in self.explained or not word[0].isalpha():
                if word in _MODALS and k not in self.values and k not in self.explained:
                    self._modal(k, tokens)
                continue
            if word in _beyond() and k not in claimed:
                self.findings.add("beyond", Term(k, k + 1), f"{self.text.raw(k)!r} goes beyond the facts")
            elif k not in named:
                self.findings.add("unlicensed", Term(k, k + 1), f"{self.text.raw(k)!r} is in no fact and is no plain word")

    def _landmarks(self, tokens: range, anchors: list[Anchor]) -> None:
        """Checks that lesions are placed near a landmark only where a line places them so."""
        text = self.text
        lesions = text.within("conditions", tokens) or any(a.line.id[0] == "l" for a in anchors)
        if not lesions or any(anchor.line in self.sheet.explained for anchor in anchors):
            return
        if not any(anchor.line.id[0] in "lv" for anchor in anchors):
            self._beside(tokens)
        for k in tokens:
            word, centred = text.words[k], "centred" in text.words[max(tokens.start, k - 4) : k]
            told = any(placed.startswith(word[:5]) for placed in self.placed)  # maculopathy is of the macula
            inside = k in self.values or k in self.explained
            if word in _LANDMARKS and not inside and not told and not centred:
                says = f"{text.raw(k)!r} places something where no line does"
                self.findings.add("place", Term(k, k + 1), says)

    def _beside(self, tokens: range) -> None:
        """Checks that a disease is not placed beside a structure: below the macula, along the edge of the disc."""
        words = self.text.words
        for k in tokens:
            structure = _STRUCTURES.intersection(words[k + 1 : min(k + 7, tokens.stop)])
            if (
                words[k] in _BESIDE
                and structure
                and k not in self.explained
                and k not in self.values
                and words[k] not in self.placed
            ):
                self.findings.add("place", Term(k, k + 1), f"{self.text.raw(k)!r} places something where no line does")

    def _judgements(self, tokens: range, anchors: list[Anchor]) -> None:
        """Checks that no measurement is called normal, and nothing else absent where not everything was looked for."""
        text, aspects = self.text, {fact.aspect for anchor in anchors for fact in anchor.line.facts[:1]}
        for term in text.within("normal", tokens) if "vascular" in aspects and "disease" not in aspects else ():
            says = f"{text.text_of(term)!r} judges a measurement, which no fact does"
            self.findings.add("beyond", term, says)
        words = {text.words[k] for k in tokens}
        if self.profile.lists_all or _OTHERS.isdisjoint(words) or not _KNOWING.isdisjoint(words):
            return
        for term in (*text.within("disorder", tokens), *text.within("conditions", tokens)):
            others = not _OTHERS.isdisjoint(text.words[max(tokens.start, term.first - 3) : term.first])
            if others and polarity(text, term) == NEGATED:
                says = f"{text.text_of(term)!r}: that there is nothing else is in no fact"
                self.findings.add("ungrounded_denial", term, says)

    def _claims(self, tokens: range, anchors: list[Anchor]) -> None:
        """Checks what a grade leaves open, what is said of both eyes, and health where a list of labels was looked for."""
        text, words = self.text, self.text.words
        for mention in (each for each in mentions(text) if each.sentence == tokens):
            status, fact = self.profile.status_of(mention.conditions)
            open_ = status == POSSIBLE and mention.polarity == AFFIRMED and mention.term.first not in self.values
            graded = open_ and not set(VOCABULARY["subjects"].get(fact.unit, ())).isdisjoint(mention.conditions)
            if open_ and not graded and mention.term.first not in self.explained:
                says = f"{text.text_of(mention.term)!r} is said to be present, but the grade leaves that open: {fact.text}"
                self.findings.add("unsupported_disease", mention.term, says, fact)
        recorded = any(fact.scope == "patient" for anchor in anchors for fact in anchor.line.facts)
        for k in tokens:
            if words[k : k + 2] == ["both", "eye"] and not recorded and "record" not in words[tokens.start : tokens.stop]:
                self.findings.add("side", Term(k, k + 2), "the answer speaks of both eyes, but the facts are of one", None)
            if words[k] == "healthy" and self.sheet.case.looked_for and polarity(text, Term(k, k + 1)) == AFFIRMED:
                says = f"{text.raw(k)!r} says more than that none of the conditions on a list was found"
                self.findings.add("unsupported_normal", Term(k, k + 1), says)

    def _suspicions(self, tokens: range, anchors: list[Anchor]) -> None:
        """Checks that what a line leaves a suspicion is told as one."""
        said = {self.text.words[k] for k in tokens}
        if not SUSPECTING.isdisjoint(said):
            return
        for fact in (fact for anchor in anchors for fact in anchor.line.facts):
            items = (item for item in re.split(r"[,;]", fact.words) if is_suspicion(item))
            suspected = {word for item in items for word in _words_in(item) if len(word) > 4}
            if (k := next((k for k in tokens if self.text.words[k] in suspected and k not in self.values), None)) is not None:
                says = f"{self.text.raw(k)!r} is told as certain, but it is only suspected: {fact.text}"
                self.findings.add("unsupported_disease", Term(k, k + 1), says, fact)

    def _is_unknown(self, term: Term) -> bool:
        """Whether a lay word names only conditions that no fact gives."""
        return polarity(self.text, term) == AFFIRMED and not any(c in self.profile.present for c in term.value)

    def _modal(self, k: int, tokens: range) -> None:
        """A verb such as may or should that speaks of what may come."""
        words = self.text.words
        within = words[tokens.start : tokens.stop]
        if not _KNOWING.isdisjoint(within) and not {"cannot", "can't", "not", "unknown"}.isdisjoint(within):
            return  # which disease it may have cannot be told
        if words[k : k + 2] == ["should", "know"] or words[k : k + 2] == ["should", "note"]:
            return
        if words[k] not in ("should", "must") and k > tokens.start and words[k - 1] in _PERSONS:
            return
        following = next(
            (words[i] for i in range(k + 1, min(k + 4, tokens.stop)) if words[i] not in ("not", "also", "only")), ""
        )
        noted = words[k + 1 : k + 2] == ["be"] and words[k + 2 : k + 3] in (["kept"], ["borne"], ["noted"], ["said"], ["added"])
        if noted:
            return
        if words[k] == "shall" or (words[k] in ("must", "should") and words[k - 1 : k] in (["i"], ["we"])):
            return
        makes = following == "make" and "out" not in words[k : k + 5]
        if words[k] in ("should", "must", "ought") or makes or following not in _PERCEIVING:
            says = f"{self.text.raw(k)!r} speaks of what may come or should be done, which no fact gives"
            self.findings.add("beyond", Term(k, k + 1), says)
