"""The check of a conversation that was written with slots: what its words say besides the values.

The values are right by construction, so that what is checked is small: that the words around a slot name what it is of; that
comparisons hold; that every other claim (a disease, a lesion, a place, the quality, the eye) is one of the facts, in its
polarity; and that no word says more than facts, glossary and plain English do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from retinal_lib import conversation
from retinal_lib.check import conversation_check, form
from retinal_lib.check.added_details import AddedDetails
from retinal_lib.check.case_profile import ABSENT, POSSIBLE, CaseProfile
from retinal_lib.check.conversation_check import Checked
from retinal_lib.check.diseases import Diseases, Grades, Normality
from retinal_lib.check.findings import ERROR, WARNING, AnswerFindings, Finding, Trace
from retinal_lib.check.image_and_person import ImageAndPerson
from retinal_lib.check.language import glossary, lexicon, tables
from retinal_lib.check.language.lexicon import VOCABULARY, ParsedText, Term
from retinal_lib.check.language.negation import AFFIRMED, NEGATED, mentions
from retinal_lib.check.language.tables import FlatText
from retinal_lib.check.leaks import Leaks
from retinal_lib.check.lesion_locations import LesionLocations
from retinal_lib.check.quantity_index import QuantityIndex
from retinal_lib.conversation import Turn
from retinal_lib.facts import Case
from retinal_lib.slots import comparison, filling, positions
from retinal_lib.slots.filling import Filled
from retinal_lib.slots.plain_words import THINGS, KnownWords, QuestionCheck, WordCheck
from retinal_lib.slots.sentence import Sentence, SlottedText
from retinal_lib.slots.sentence_check import SentenceCheck
from retinal_lib.slots.sheet import FactSheet

_CLAIMS = (Leaks, Diseases, Grades, Normality, ImageAndPerson, LesionLocations, AddedDetails)
_AFFIRMING = frozenset("there has have show find found see".split())
_ABSENT_WORDS = frozenset("none absent missing lacking".split())
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
    profile, index, known = CaseProfile(sheet.case), QuantityIndex(sheet.case), KnownWords(sheet)
    claims = [each(profile, index) for each in _CLAIMS]
    questions, texts = QuestionCheck(known), []
    for number, (turn, one) in enumerate(zip(turns, filled, strict=True), start=1):
        flat = tables.flatten(one.text)  # spans stay those of the answer
        question, answer = lexicon.read(turn.question), lexicon.read(flat.text)
        asked = AnswerFindings(number, question, "question")
        told = _Answer(answer, _flattened(one, flat), known, profile, AnswerFindings(number, answer))
        for each in claims:
            each.question(question, asked)
        for each in claims:
            each.answer(answer, question, told.findings)
        questions.check(question, asked)
        questions.answered(answer)
        told.drop_values()
        told.check(SlottedText(question, sheet))
        texts.append((question, answer))
        found += asked.findings
        found += [finding._replace(span=flat.place(finding.span)) for finding in told.findings.findings]
        traces += [trace._replace(span=flat.place(trace.span)) for trace in (*told.traces(), *told.findings.traces)]
    if style != "consult" and (track is not None or len(turns) > 1):
        found += conversation_check.coverage(_told(sheet), texts, traces)
    raised = [_raised(finding) for finding in found]
    return SlotChecked(exported, Checked(sorted(raised, key=lambda f: (f.turn, f.part != "question", f.span)), traces))


def _raised(finding: Finding) -> Finding:
    return finding._replace(severity=ERROR) if finding.severity == WARNING and finding.kind in _UNLICENSED else finding


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


class _Answer:
    """One answer with its slots and marks, its sentences and what was found in it."""

    def __init__(
        self, text: ParsedText, filled: Filled, known: KnownWords, profile: CaseProfile, findings: AnswerFindings
    ) -> None:
        self.text, self.filled, self.sheet, self.known = text, filled, known.sheet, known
        self.profile, self.findings = profile, findings
        slotted = SlottedText(text, known.sheet, filled.anchors)
        self.sentences, self.values = slotted.sentences, slotted.values
        self.explanations = glossary.sentences(text)
        self.explained = {k for tokens in self.explanations for k in tokens}

    def traces(self) -> Iterator[Trace]:
        """Yields the facts that the answer's values are of."""
        for anchor in self.filled.anchors:
            if anchor.slot is not None:
                said = self.filled.text[anchor.start : anchor.end]
                yield Trace(self.findings.turn, (anchor.start, anchor.end), said, "number", anchor.slot.fact)
            elif anchor.line.facts:
                found = (s.span for s in self.sentences if s.span[0] <= anchor.start <= s.span[1])
                span = next(found, (anchor.start, anchor.start + 1))
                yield Trace(self.findings.turn, span, self.filled.text[slice(*span)], "claim", anchor.line.facts[0])

    def drop_values(self) -> None:
        """Takes back findings about the values of slots, which are right by construction, and within explanations."""
        if self.findings.findings:
            spans = [(anchor.start, anchor.end) for anchor in self.filled.anchors if anchor.slot is not None]
            spans += [self.text.span(Term(tokens.start, tokens.stop)) for tokens in self.explanations]
            spans += [span for sentence in self.sentences for span in self._told_absent(sentence)]
            self.findings.findings = [
                f
                for f in self.findings.findings
                if not any(a <= f.span[0] and f.span[1] <= b for a, b in spans) and not self._is_part_told(f)
            ]

    def _is_part_told(self, finding: Finding) -> bool:
        """Whether a part of an ungradable image is one that a line tells of: the box of the disc, a picture of the macula."""
        said = self.text.text[slice(*finding.span)]
        return finding.kind == "ungradable" and self.known.known.issuperset(lexicon.read(said).words)

    def _told_absent(self, sentence: Sentence) -> Iterator[tuple[int, int]]:
        """Conditions that are named, and said to be absent in words elsewhere: diabetic retinopathy: grade 0; let us begin with
        diabetic retinopathy, there is none."""
        following = [each for each in self.sentences[len(sentence.earlier) + 1 :][:1] if not each.terms("conditions")]
        graded = {slot.anchor.slot.fact for each in (sentence, *following) for slot in each.slots}
        terms = sentence.terms("conditions")
        if any(self.profile.status_of(term.values)[0] != ABSENT for term in terms):
            return
        denials = {value for mention in mentions(self.text) if mention.polarity == NEGATED for value in mention.conditions}
        for term in terms:
            fact = self.profile.status_of(term.values)[1]
            before = sentence.words[max(sentence.tokens.start, term.first - 4) : term.first]
            after = sentence.words[term.last : sentence.tokens.stop]
            denied = not _ABSENT_WORDS.isdisjoint(after) or any(not _ABSENT_WORDS.isdisjoint(each.within) for each in following)
            subject = fact in graded and not set(VOCABULARY["subjects"].get(fact.unit, ())).isdisjoint(term.values)
            told = denied or subject or not denials.isdisjoint(term.values)
            if _AFFIRMING.isdisjoint(before) and told:
                yield self.text.span(term)

    def check(self, question: SlottedText) -> None:
        """Checks slots and marks, numbers, words, and sentence by sentence what stands around the slots."""
        for start, end, why in self.filled.problems:
            self.findings.add_at("slot", (start, end), why)
        words = WordCheck(self.known, self.findings, self.explained)
        said = SentenceCheck(self.known, self.profile, self.findings, self.explained)
        for sentence in self.sentences:
            if self.explained.issuperset(sentence.tokens):
                continue
            words.numbers(sentence)
            for at, why, fact in (
                *comparison.wrong(sentence, question),
                *positions.wrong(sentence),
            ):
                self.findings.add("comparison", at, why, fact)
            words.licensed(sentence)
            words.explains(sentence)
            said.check(sentence, question)
        self._left_open()
        if not self.findings.findings:
            self._held()

    def _held(self) -> None:
        """Checks that an answer names only what a line has that it shows or marks: no macula where it is on the vessels."""
        lines = {anchor.line for anchor in self.filled.anchors}
        if not lines.isdisjoint(self.known.structures):
            lines.update(self.known.structures)  # a structure may be placed beside another
        held = frozenset().union(*(self.known.of_line[line.id] for line in lines))
        for sentence in self.sentences if self.text.has(THINGS) else ():
            compares = not comparison.COMPARING.isdisjoint(sentence.within)  # perhaps with the value of another line
            known = self.known.known if compares else held
            for k in sentence.tokens:
                word = self.text.words[k]
                if word in THINGS and known.isdisjoint(THINGS[word]) and k not in self.values and k not in self.explained:
                    says = f"{self.text.raw(k)!r} is named on no line that the answer shows or marks"
                    self.findings.add("unlicensed", Term(k, k + 1), says)
                    return

    def _left_open(self) -> None:
        """Checks that what a grade leaves open is not said to be present."""
        values = self.values | self.explained
        for mention in mentions(self.text) if self.profile.possible else ():
            status, fact = self.profile.status_of(mention.conditions)
            if status != POSSIBLE or mention.polarity != AFFIRMED or mention.term.first in values:
                continue
            if set(VOCABULARY["subjects"].get(fact.unit, ())).isdisjoint(mention.conditions):
                says = f"{self.text.text_of(mention.term)!r} is said to be present, but the grade leaves that open: {fact.text}"
                self.findings.add("unsupported_disease", mention.term, says, fact)
