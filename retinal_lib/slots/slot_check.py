"""The check of a conversation that was written with slots: what its words say besides the values.

The values are right by construction, so that what is checked is small: that the words around a slot name what it is of; that
comparisons hold; that every other claim (a disease, a lesion, a place, the quality, the eye) is one of the facts, in its
polarity; and that no word says more than facts, glossary and plain English do.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from retinal_lib import conversation
from retinal_lib.check import conversation_check, form
from retinal_lib.check.case_profile import ABSENT, POSSIBLE, PRESENT, CaseProfile
from retinal_lib.check.conversation_check import Checked
from retinal_lib.check.diseases import FORMS, Diseases, Grades, Normality
from retinal_lib.check.findings import ERROR, WARNING, AnswerFindings, Finding, Trace
from retinal_lib.check.image_and_person import ImageAndPerson
from retinal_lib.check.language import glossary, lexicon, tables
from retinal_lib.check.language.lexicon import VOCABULARY, ParsedText, Term
from retinal_lib.check.language.negation import AFFIRMED, NEGATED, SUSPECTING, mentions, polarity
from retinal_lib.check.language.statements import is_suspicion
from retinal_lib.check.language.tables import FlatText
from retinal_lib.check.leaks import Leaks
from retinal_lib.check.lesion_locations import REGION_WORDS, LesionLocations, regions
from retinal_lib.check.quantity_index import QuantityIndex
from retinal_lib.conversation import Turn
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.dataset.label_kinds import NOTHING
from retinal_lib.facts import Case
from retinal_lib.slots import comparison, filling, positions, superlatives
from retinal_lib.slots.filling import Filled
from retinal_lib.slots.plain_words import KNOWING, THINGS, KnownWords, QuestionCheck, WordCheck
from retinal_lib.slots.sentence import Sentence, SlottedText, marked_otherwise, mismatches, misshown
from retinal_lib.slots.sheet import SPEC, FactSheet

_CLAIMS = (Leaks, Diseases, Grades, Normality, ImageAndPerson, LesionLocations)
_BESIDE = frozenset(
    "below above along beside under beneath around near close closest next adjacent over across away far".split()
)
_NEAR = frozenset("near close beside next adjacent".split())
_PLACING = frozenset(SPEC["placing"])
_CENTRES = frozenset(["centre", "central", "centrally"])
_MIDDLES = frozenset(["middle", "midst"])
_STRUCTURES = frozenset(["macula", "fovea", "disc", "nerve"])
_LANDMARKS = frozenset(["macula", "fovea", "foveal", "periphery", "peripheral"])
_AFFIRMING = frozenset("there has have show find found see".split())
_ABSENT_WORDS = frozenset("none absent missing lacking".split())
_PLACES = _LANDMARKS | _STRUCTURES | _PLACING | REGION_WORDS
_AROUND = 60  # characters around what is denied, where its form may be named
_OF_LIST = frozenset("look looked search searched sought list listed check checked among those condition".split())
_CAMERAS = frozenset("the a an this that same fundus retinal of by our your any with and or in on to".split())
_VESSELS = frozenset(["artery", "vein"])
_MAYBE = frozenset(["may", "might", "could"])
_DOUBTS = frozenset("possibly perhaps probably likely maybe seemingly suspected suspicion unsure".split())
_EDGES_WITHIN = 12  # tokens before 'edge' that list the edges
_EDGES = (("left",), ("upper", "top"), ("right",), ("lower", "bottom"))
_HEALTH = frozenset(["healthy", "normal"])
_OTHER_EYES = frozenset("both other fellow second opposite either neither".split())
_LOOKING = frozenset("look appear seem is are".split())
_PARTS = frozenset("vessel artery vein disc macula fovea nerve retina".split())
_FORMS = frozenset(["referable", "risk"])  # of a disease: an eye with less may have it too
_PROVING = frozenset("rule prove confirm exclude suggest hint imply argue establish brought cause caused led".split())
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
    raised = [_raised(finding) for finding in found if not _is_told(finding, sheet, texts)]
    return SlotChecked(exported, Checked(sorted(raised, key=lambda f: (f.turn, f.part != "question", f.span)), traces))


def _raised(finding: Finding) -> Finding:
    return finding._replace(severity=ERROR) if finding.severity == WARNING and finding.kind in _UNLICENSED else finding


def _is_told(finding: Finding, sheet: FactSheet, texts: Sequence[tuple[ParsedText, ParsedText]]) -> bool:
    """Whether what an answer is said to deny without ground is denied by a line in the same words, and not more of it: a line
    on referable oedema denies no other."""
    if finding.kind != "ungrounded_denial":
        return False
    answer = texts[finding.turn - 1][1].text
    said = set(lexicon.read(answer[slice(*finding.span)]).words)
    around = set(lexicon.read(answer[max(0, finding.span[0] - _AROUND) : finding.span[1] + _AROUND]).words)
    denied = (lexicon.read(f.words).words for f in sheet.case.facts if f.words.startswith("no "))
    return any(around.issuperset(FORMS.intersection(words)) and said.issubset(words) for words in denied)


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


@lru_cache(maxsize=4096)
def _suspected(words: str) -> frozenset[str]:
    """The words of what a fact leaves a suspicion."""
    items = (lexicon.read(item) for item in re.split(r"[,;]", words) if is_suspicion(item))
    return frozenset(word for item in items for word in item.words if len(word) > 4)


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
        following = [each for each in self.sentences[sentence.place + 1 : sentence.place + 2] if not each.terms("conditions")]
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
            denied = denied or ("as" in before and not _ABSENT_WORDS.isdisjoint(sentence.within))  # absent, as are ...
            subject = fact in graded and not set(VOCABULARY["subjects"].get(fact.unit, ())).isdisjoint(term.values)
            told = denied or subject or not denials.isdisjoint(term.values)
            if _AFFIRMING.isdisjoint(before) and told:
                yield self.text.span(term)

    def check(self, question: SlottedText) -> None:
        """Checks slots and marks, numbers, words, and sentence by sentence what stands around the slots."""
        for start, end, why in self.filled.problems:
            self.findings.add_at("slot", (start, end), why)
        words = WordCheck(self.known, self.profile, self.findings, self.explained)
        for sentence in self.sentences:
            if self.explained.issuperset(sentence.tokens):
                continue
            words.numbers(sentence)
            self._pairs(sentence, question)
            for at, why, fact in (
                *comparison.wrong(sentence, question),
                *superlatives.wrong(sentence),
                *positions.wrong(sentence),
            ):
                self.findings.add("comparison", at, why, fact)
            words.licensed(sentence)
            words.explains(sentence)
            self._judgements(sentence)
            self._hedged(sentence)
            self._landmarks(sentence)
            self._both_eyes_and_health(sentence)
            self._suspicions(sentence)
            self._forms(sentence)
            self._proved(sentence)
            self._picture(sentence)
        self._left_open()
        if not self.filled.problems:
            self._held()

    def _held(self) -> None:
        """Checks that an answer names only what a line has that it shows or marks: no macula where it is on the vessels."""
        lines = {anchor.line for anchor in self.filled.anchors}
        if not lines.isdisjoint(self.known.structures):
            lines.update(self.known.structures)  # a structure may be placed beside another
        held = frozenset().union(*(self.known.of_line[line.id] for line in lines))
        for sentence in self.sentences:
            compares = not comparison.COMPARING.isdisjoint(sentence.within)  # perhaps with the value of another line
            known = self.known.known if compares else held
            for k in sentence.tokens:
                word = self.text.words[k]
                if word in THINGS and known.isdisjoint(THINGS[word]) and k not in self.values and k not in self.explained:
                    says = f"{self.text.raw(k)!r} is named on no line that the answer shows or marks"
                    self.findings.add("unlicensed", Term(k, k + 1), says)
                    return

    def _pairs(self, sentence: Sentence, question: SlottedText) -> None:
        for slot, dimension, word in mismatches(sentence, question):
            fact, named = slot.anchor.slot.fact, " ".join(sorted(word.values))
            says = f"{{{slot.anchor.slot.name}}} stands with another {dimension} ({named}): {slot.anchor.line.text}"
            self.findings.add("misattributed", slot, says, fact)
        for anchor, dimension, word in marked_otherwise(sentence):
            says = f"[{anchor.line.id}] is of another {dimension} ({' '.join(sorted(word.values))}): {anchor.line.text}"
            self.findings.add("misattributed", Term(word.first, word.last), says, anchor.line.facts[0])
        for slot in sentence.slots:
            after = sentence.words[slot.last : slot.last + 4]
            before = sentence.words[sentence.tokens.start : slot.first]
            of_vessels = ["vessel", "area"] in ([*pair] for pair in pairwise((*before, *after)))
            if "density" in slot.allowed.get("measure", ()) and of_vessels:
                says = f"{{{slot.anchor.slot.name}}} is a share of the picture, not of the vessels: {slot.anchor.line.text}"
                self.findings.add("misattributed", slot, says, slot.anchor.slot.fact)
            if "density" in slot.allowed.get("measure", ()) and after[:1] == ["of"] and "disc" in after:
                says = f"{{{slot.anchor.slot.name}}} is no share of the disc: {slot.anchor.line.text}"
                self.findings.add("misattributed", slot, says, slot.anchor.slot.fact)
        for slot, why in misshown(sentence):
            self.findings.add("misattributed", slot, f"{{{slot.anchor.slot.name}}} {why}", slot.anchor.slot.fact)
        graded = [slot for slot in sentence.slots if slot.anchor.slot.fact.unit in scales()]
        for one, other in pairwise(graded):
            parts = [slot.anchor.slot.name.rpartition(".")[2] for slot in (one, other)]
            if parts[0] == "grade" != parts[1] and other.anchor.line != one.anchor.line:
                says = f"{{{one.anchor.slot.name}}} stands with {{{other.anchor.slot.name}}}, which is of another grade"
                self.findings.add("wrong_grade", one, says, one.anchor.slot.fact)

    def _landmarks(self, sentence: Sentence) -> None:
        """Checks that lesions and diseases are placed near a structure only where a line places them so."""
        if sentence.within.isdisjoint(_PLACES):
            return
        lines, words, tokens = {anchor.line.id[0] for anchor in sentence.anchors}, sentence.words, sentence.tokens
        zoned = any(term.value != "whole" for term in sentence.terms("zones"))
        for k in tokens if zoned and "disc" not in sentence.within else ():
            if words[k] in ("macula", "fovea"):
                self.findings.add("place", Term(k, k + 1), "zones B and C lie around the optic disc, not around the macula")
        for k in tokens if zoned else ():
            if words[k] in ("within", "inside") and "disc" in words[k + 1 : k + 4] and "diameter" not in words[k + 1 : k + 6]:
                self.findings.add("place", Term(k, k + 1), "zones B and C lie around the optic disc, not within it")
        if lines.isdisjoint("dl") and not sentence.terms("conditions"):
            return
        inside = self.values | self.explained
        for region in regions(self.text) if "d" in lines and lines.isdisjoint("lvi") and "scale" not in sentence.within else ():
            if region.first in tokens and region.first not in inside and words[region.first] not in self.known.placing:
                self.findings.add("place", region, f"{self.text.text_of(region)!r} places something where no line does")
        for k in tokens:
            beside = words[k] in _BESIDE and not _STRUCTURES.isdisjoint(words[k + 1 : min(k + 8, tokens.stop)])
            beside = (
                beside and words[k] not in self.known.placing and (lines.isdisjoint("lv") or self._brought_near(sentence, k))
            )
            if (
                words[k : k + 2] == ["far", "from"]
                and not _STRUCTURES.isdisjoint(words[k + 2 : k + 5])
                and self._is_near(sentence)
            ):
                self.findings.add("place", Term(k, k + 2), f"{self.text.text_of(Term(k, k + 2))!r} is wrong: it lies near it")
            centred = words[k] in _LANDMARKS and "centred" in words[max(tokens.start, k - 4) : k + 2]
            placed = words[k] in _LANDMARKS and not self.known.places(words[k]) and not centred
            placed = placed and not (words[k] == "macula" and self.known.places("fovea"))  # the fovea, in its middle
            named = lines != {"d"} and any(map(self.known.places, ("fovea", "macula", "disc")))
            centre = words[k] in _CENTRES and named
            centre = centre or (words[k] in _MIDDLES and self.known.places("disc"))  # the cup, in the middle of the disc
            apart = words[k] in _PLACING and not zoned and not centre and words[k] not in self.known.known
            placed = placed or (apart and "v" not in lines)
            if k not in inside and (beside or placed):
                self.findings.add("place", Term(k, k + 1), f"{self.text.raw(k)!r} places something where no line does")

    @staticmethod
    def _is_near(sentence: Sentence) -> bool:
        """Whether the largest lesion that is shown lies near a structure."""
        boxes = [slot.anchor.slot.fact for slot in sentence.slots if "box" in slot.anchor.slot.name]
        return bool(boxes) and (boxes[0].place or "").startswith("near")

    @staticmethod
    def _brought_near(sentence: Sentence, k: int) -> bool:
        """Whether a word brings lesions near a structure, though the line of the lesions does not."""
        lines = [anchor.line.text for anchor in sentence.anchors if anchor.line.id[0] == "l"]
        if superlatives.LARGEST.isdisjoint(sentence.within) and not any("box" in s.anchor.slot.name for s in sentence.slots):
            lines = [text.partition(", largest ")[0] for text in lines]  # where the largest lies, the others need not
        return bool(lines) and sentence.words[k] in _NEAR and not any("near " in text or "close " in text for text in lines)

    def _judgements(self, sentence: Sentence) -> None:
        """Checks that no measurement is called normal, and nothing else absent where not everything was looked for."""
        text, aspects = self.text, {fact.aspect for anchor in sentence.anchors for fact in anchor.line.facts[:1]}
        for term in sentence.terms("normal"):
            before = text.words[max(sentence.tokens.start, term.first - 5) : term.first]
            if before and before[-1] in _LOOKING and not _PARTS.isdisjoint(before[:-1]) and not self.known.known >= _PARTS:
                says = f"{text.text_of(term)!r} judges a part of the eye, which no fact does"
                self.findings.add("unsupported_normal", term, says)
        for term in sentence.terms("normal") if "vascular" in aspects and "disease" not in aspects else ():
            says = f"{text.text_of(term)!r} judges a measurement, which no fact does"
            self.findings.add("beyond", term, says)
        if self.profile.lists_all or _OTHERS.isdisjoint(sentence.within) or not KNOWING.isdisjoint(sentence.within):
            return
        for term in (*sentence.terms("disorder"), *sentence.terms("conditions")):
            others = not _OTHERS.isdisjoint(text.words[max(sentence.tokens.start, term.first - 3) : term.first])
            if others and polarity(text, term) == NEGATED:
                says = f"{text.text_of(term)!r}: that there is nothing else is in no fact"
                self.findings.add("ungrounded_denial", term, says)

    def _hedged(self, sentence: Sentence) -> None:
        """Checks that what a line says is told without doubt, and boxes in the order of their edges."""
        words, within = sentence.words, sentence.within
        maybe = () if _MAYBE.isdisjoint(within) else sentence.tokens
        may = [k for k in maybe if words[k] in _MAYBE and words[k + 1 : k + 2] in (["be"], ["have"], ["show"])]
        unsaid = not _OTHERS.isdisjoint(within) or not KNOWING.isdisjoint(within)  # what others there may be is not known
        if not sentence.asks and not unsaid and (may or not _DOUBTS.isdisjoint(within)):
            for term in sentence.terms("conditions"):
                status, fact = self.profile.status_of(term.values)
                if status == PRESENT and term.first not in sentence.of.values:
                    says = f"{self.text.text_of(term)!r} is told as a possibility, but {fact.text}"
                    self.findings.add("denied_disease", term, says, fact)
        if "edge" not in within:
            return
        end = next(k for k in sentence.tokens if words[k] == "edge")
        named = range(max(sentence.tokens.start, end - _EDGES_WITHIN), end)
        edges = [next((k for k in named if words[k] in names), None) for names in _EDGES]
        if None not in edges and edges != sorted(edges):
            self.findings.add("comparison", Term(edges[0], edges[0] + 1), "a box is left, upper, right and lower edge")

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

    def _both_eyes_and_health(self, sentence: Sentence) -> None:
        """Checks what is said of both eyes, and health where a list of labels was looked for."""
        words, tokens, within = self.text.words, sentence.tokens, sentence.within
        for k in tokens if "eye" in within else ():
            last = next((j for j in range(k + 1, min(k + 6, tokens.stop)) if words[j] == "eye"), k)
            if words[k] in _OTHER_EYES and (last == k + 1 or (last > k and words[k + 1] == "of")):
                says = f"the answer speaks of {self.text.text_of(Term(k, last + 1))!r}, but the facts are of one eye"
                self.findings.add("side", Term(k, last + 1), says, None)
        listed = any(anchor.line.text == NOTHING for anchor in sentence.anchors)
        general = (*sentence.terms("disorder"), *sentence.terms("normal"))
        for term in general if listed else ():
            if not _OF_LIST.isdisjoint(within) and "free" not in words[max(0, term.first - 3) : term.first]:
                continue
            says = f"{self.text.text_of(term)!r} says more than that none of the conditions on a list was found"
            self.findings.add("unsupported_normal", term, says)
        for k in tokens if not _HEALTH.isdisjoint(within - self.known.known) and self.sheet.case.looked_for else ():
            if words[k] in _HEALTH and polarity(self.text, Term(k, k + 1)) == AFFIRMED:
                says = f"{self.text.raw(k)!r} says more than that none of the conditions on a list was found"
                self.findings.add("unsupported_normal", Term(k, k + 1), says)

    def _picture(self, sentence: Sentence) -> None:
        """Checks on what a picture is centred and by which camera it was taken, and the vessels of a disease."""
        words, of_picture = sentence.words, self.known.of_picture
        for k in sentence.tokens:
            centred = words[k] == "centred" and words[k + 1 : k + 2] == ["on"]
            spots = range(k + 2, min(k + 6, sentence.tokens.stop)) if centred else ()
            spot = next((j for j in spots if words[j] in ("macula", "fovea", "disc")), None)
            if spot is not None and words[spot] not in of_picture:
                self.findings.add("place", Term(k, spot + 1), f"{self.text.text_of(Term(k, spot + 1))!r} is in no fact")
            kind = words[k - 1] if words[k] == "camera" and k > sentence.tokens.start else "the"
            if kind.isalpha() and kind not in _CAMERAS and kind not in self.known.known:
                self.findings.add("unlicensed", Term(k - 1, k + 1), f"{self.text.text_of(Term(k - 1, k + 1))!r} is in no fact")
        if {anchor.line.id[0] for anchor in sentence.anchors} == {"d"}:
            told = frozenset().union(*(lexicon.read(anchor.line.text).words for anchor in sentence.anchors))
            for k in sentence.tokens if not told.isdisjoint(_VESSELS) else ():
                if words[k] in _VESSELS - told:
                    self.findings.add("misattributed", Term(k, k + 1), f"{self.text.raw(k)!r} is not the vessel of the finding")

    def _suspicions(self, sentence: Sentence) -> None:
        """Checks that what a line leaves a suspicion is told as one."""
        if not SUSPECTING.isdisjoint(sentence.within):
            return
        for fact in (fact for anchor in sentence.anchors for fact in anchor.line.facts):
            if sentence.within.isdisjoint(suspected := _suspected(fact.words)):
                continue
            spots = (k for k in sentence.tokens if sentence.words[k] in suspected and k not in sentence.of.values)
            if (k := next(spots, None)) is not None:
                says = f"{self.text.raw(k)!r} is told as certain, but it is only suspected: {fact.text}"
                self.findings.add("unsupported_disease", Term(k, k + 1), says, fact)

    def _forms(self, sentence: Sentence) -> None:
        """Checks that a form of a disease is told as that form: referable oedema is not oedema."""
        for anchor in sentence.anchors:
            for fact in anchor.line.facts[:1] if anchor.line.id[0] == "d" else ():
                if not (_FORMS & set(lexicon.read(fact.words).words)) - sentence.within:
                    continue
                graded = set(VOCABULARY["subjects"].get(fact.unit, ()))
                for term in sentence.terms("conditions"):
                    if not graded.isdisjoint(term.values) and term.first not in sentence.of.values:
                        says = f"{self.text.text_of(term)!r} says more than {fact.words}"
                        self.findings.add("unsupported_detail", term, says, fact)

    def _proved(self, sentence: Sentence) -> None:
        """Checks that no value is said to prove or exclude a disease."""
        values = [slot for slot in sentence.slots if slot.anchor.line.id[0] in "pv"]
        for slot in values:
            after = range(slot.last, min(slot.last + 5, sentence.tokens.stop))
            spot = next((k for k in after if sentence.words[k] in _PROVING), None)
            if spot is not None:
                says = f"{self.text.raw(spot)!r}: what the value means for a disease is in no fact"
                self.findings.add("beyond", Term(spot, spot + 1), says)
