"""The check of one sentence of a slotted answer: what its words say around the slots, and besides them."""

import sys
from itertools import pairwise

from retinal_lib.check.case_profile import PRESENT, CaseProfile
from retinal_lib.check.findings import AnswerFindings
from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import VOCABULARY, Term
from retinal_lib.check.language.negation import NEGATED, SUSPECTING, polarity
from retinal_lib.check.lesion_locations import REGION_WORDS, regions
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.dataset.label_kinds import NOTHING
from retinal_lib.facts import LIMITED
from retinal_lib.slots.plain_words import KNOWING, KnownWords, suspected_words
from retinal_lib.slots.sentence import Sentence, SlottedText, marked_otherwise, mismatches, misshown
from retinal_lib.slots.sheet import SPEC

_BESIDE = frozenset(
    "below above along beside under beneath around near close closest next adjacent over across away far".split()
)
_PLACING = frozenset(SPEC["placing"])
_CENTRES = frozenset(["centre", "central", "centrally"])
_RIMS = frozenset(["border", "margin"])
_MIDDLES = frozenset(["middle", "midst"])
_STRUCTURES = frozenset(["macula", "fovea", "disc", "nerve"])
_LANDMARKS = frozenset(["macula", "fovea", "foveal", "periphery", "peripheral"])
_PLACES = _LANDMARKS | _STRUCTURES | _PLACING | REGION_WORDS
_OF_LIST = frozenset("look looked search searched sought list listed check checked among those condition".split())
_MAYBE = frozenset(["may", "might", "could"])
_HEALTH = frozenset(["healthy", "normal"])
_OPEN = frozenset("open undecided unsettled whether".split())
_OTHER_EYES = frozenset("both other fellow second opposite either neither".split())
_LOOKING = frozenset("look appear seem is are".split())
_PARTS = frozenset("vessel artery vein disc macula fovea nerve retina".split())
_FORMS = frozenset(["referable", "risk"])  # of a disease: an eye with less may have it too
_PROVING = frozenset("rule prove confirm exclude suggest hint imply argue establish brought cause caused led".split())
_CAUSES = frozenset("because since due owing reason why".split())
_NEAR = frozenset("near beside next".split())
_WHOLES = frozenset(["retina", "disc"])  # of which no line tells a share
_WELL = frozenset("healthy free normal well".split())
_SO = frozenset("so therefore hence thus".split())
_TOO_POOR = frozenset("gradable enough poor unclear".split())
_QUALITY = frozenset("quality gradable graded enough clear blurred blurry poor sharp".split())
_PICTURE = frozenset("picture photograph image quality".split())
_GOOD = frozenset("good clear sharp well fine".split())
_LIMITING = frozenset("limit reduce lower make spoil hamper impair".split())  # the quality of the picture
_SAID_OF_NONE = frozenset("known judged told named none".split())  # because none is known
_NEUTRAL = frozenset("retinal intraretinal of in the a".split())
_HARDLY = frozenset("hardly barely scarcely".split())
_ADDING = frozenset(["add", "added", "adding"])
_YIELDING = frozenset("make give yield form equal".split())
_SIZES = frozenset("large small wide narrow big tiny thick thin dense sparse round oval huge slim low high".split())
_DEGREES = frozenset(
    "rather quite very fairly pretty relatively remarkably unusually perfectly especially particularly slightly".split()
)
_STATES = frozenset("is are look appear seem remain".split())
_SIZED = frozenset("disc cup ratio network".split())
_FOUND = frozenset("abnormal found seen wrong unusual noted turned note suspicious amiss remarkable".split())
_NO_LIMIT = sys.maxsize
_JOINING = frozenset("with without of for at in on by to name grade check because eye disease thing person called".split())
# words for an amount -> the numbers that they may stand for
_AMOUNTS = {"several": range(3, _NO_LIMIT), "few": range(2, 9), "handful": range(3, 9)}
_AMOUNTS |= dict.fromkeys(("many", "numerous", "plenty"), range(8, _NO_LIMIT))
_QUARTERS = frozenset(["quadrant", "quarter"])
_JUDGING = KNOWING | {"checked", "looked", "searched"}  # the only disease that was checked
_SOLE = frozenset(["only", "sole"])
_FINDINGS = frozenset("lesion finding spot mark change abnormality disease condition problem disorder diagnosis".split())
_OTHERS = frozenset(SPEC["others"])


class SentenceCheck:
    """The check of the sentences of one answer. `explained` are the tokens of explanations, word for word."""

    def __init__(self, known: KnownWords, profile: CaseProfile, findings: AnswerFindings, explained: set[int]):
        self.known, self.profile, self.findings, self.explained = known, profile, findings, explained
        self.text = findings.text

    def check(self, sentence: Sentence, question: SlottedText) -> None:
        """Adds the findings of a sentence."""
        if sentence.anchors:
            self._pairs(sentence, question)
        for rule, signs in _RULES:
            if not signs.isdisjoint(sentence.signs):
                rule(self, sentence)

    def _pairs(self, sentence: Sentence, question: SlottedText) -> None:
        words = sentence.words
        for slot, dimension, word in mismatches(sentence, question):
            fact, named = slot.anchor.slot.fact, " ".join(sorted(word.values))
            says = f"{{{slot.anchor.slot.name}}} stands with another {dimension} ({named}): {slot.anchor.line.text}"
            self.findings.add("misattributed", slot, says, fact)
        for anchor, dimension, word in marked_otherwise(sentence):
            says = f"[{anchor.line.id}] is of another {dimension} ({' '.join(sorted(word.values))}): {anchor.line.text}"
            self.findings.add("misattributed", Term(word.first, word.last), says, anchor.line.facts[0])
        for slot in sentence.slots:
            share = slot.anchor.slot.name.endswith(".share") or "density" in slot.allowed.get("measure", ())
            after = words[slot.last : slot.last + 3]
            if share and after[:1] == ["of"] and not _WHOLES.isdisjoint(after):
                says = f"{{{slot.anchor.slot.name}}} is a share of the picture: {slot.anchor.line.text}"
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
        lines, words, tokens = {name[0] for name in sentence.lines}, sentence.words, sentence.tokens
        if lines.isdisjoint("dl") and not sentence.terms("conditions"):
            return
        near = "l" in lines and not any("near " in line.text for line in sentence.lines.values())  # that some lie near is wrong
        placed_at = [name for name in ("fovea", "macula", "disc") if self.known.places(name)]
        for k in tokens:
            word, before, after = words[k], words[max(tokens.start, k - 4) : k + 2], words[k + 1 : min(k + 8, tokens.stop)]
            landmark = word in _LANDMARKS and not self.known.places(word) and "centred" not in before
            beside = word in _BESIDE and after[:1] != [","] and not _STRUCTURES.isdisjoint(after)
            beside = beside and word not in self.known.placing and (lines.isdisjoint("lv") or (near and word in _NEAR))
            centre = placed_at and word in _CENTRES and lines != {"d"}
            of_disc = word in _MIDDLES or (word in _RIMS and not sentence.terms("conditions"))  # where the cup lies
            centre = centre or (of_disc and "disc" in placed_at)
            apart = word in _PLACING and not centre and word not in self.known.known and "v" not in lines
            if (landmark or beside or apart) and k not in sentence.values and k not in self.explained:
                self.findings.add("place", Term(k, k + 1), f"{self.text.raw(k)!r} places something where no line does")

    def _judgements(self, sentence: Sentence) -> None:
        """Checks that no measurement is called normal, and nothing else absent where not everything was looked for."""
        text, normal = self.text, sentence.terms("normal")
        for term in normal:
            before = text.words[max(sentence.tokens.start, term.first - 5) : term.first]
            if before and before[-1] in _LOOKING and not _PARTS.isdisjoint(before[:-1]) and not self.known.known >= _PARTS:
                says = f"{text.text_of(term)!r} judges a part of the eye, which no fact does"
                self.findings.add("unsupported_normal", term, says)
        aspects = {fact.aspect for anchor in sentence.anchors for fact in anchor.line.facts[:1]} if normal else ()
        for term in normal if "vascular" in aspects and "disease" not in aspects else ():
            says = f"{text.text_of(term)!r} judges a measurement, which no fact does"
            self.findings.add("beyond", term, says)
        if _OTHERS.isdisjoint(sentence.within) or not KNOWING.isdisjoint(sentence.within):
            return
        for term in (*sentence.terms("disorder"), *sentence.terms("conditions")):
            others = not _OTHERS.isdisjoint(text.words[max(sentence.tokens.start, term.first - 3) : term.first])
            if others and term.first not in sentence.values and polarity(text, term) == NEGATED:
                says = f"{text.text_of(term)!r}: that there is nothing else is in no fact"
                self.findings.add("ungrounded_denial", term, says)

    def _hedged(self, sentence: Sentence) -> None:
        """Checks that what a line says is told without doubt: there may be a cataract."""
        words = sentence.words
        maybe = any(words[k] in _MAYBE and words[k + 1 : k + 2] in (["be"], ["have"], ["show"]) for k in sentence.tokens)
        if maybe and sentence.within.isdisjoint(_OTHERS | KNOWING):  # what others there may be is not known
            for term in sentence.terms("conditions"):
                status, fact = self.profile.status_of(term.values)
                if status == PRESENT:
                    says = f"{self.text.text_of(term)!r} is told as a possibility, but {fact.text}"
                    self.findings.add("denied_disease", term, says, fact)

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
        open_ = not _OPEN.isdisjoint(within) and any(a.line.text.endswith(SPEC["but lesions"]) for a in sentence.anchors)
        for k in tokens if open_ else ():
            if words[k] in _HEALTH:
                says = f"{self.text.raw(k)!r}: whether the eye is healthy is not open, since the picture shows lesions"
                self.findings.add("unsupported_normal", Term(k, k + 1), says)
        for k in tokens if not _HEALTH.isdisjoint(within - self.known.known) and self.known.sheet.case.looked_for else ():
            if words[k] in _HEALTH:
                says = f"{self.text.raw(k)!r} says more than that none of the conditions on a list was found"
                self.findings.add("unsupported_normal", Term(k, k + 1), says)

    def _picture(self, sentence: Sentence) -> None:
        """Checks on what a picture is centred, and that its quality is called good enough only where it is gradable."""
        words, of_picture = sentence.words, self.known.of_picture
        for k in sentence.tokens:
            centred = words[k] == "centred" and words[k + 1 : k + 2] == ["on"]
            spots = range(k + 2, min(k + 6, sentence.tokens.stop)) if centred else ()
            spot = next((j for j in spots if words[j] in ("macula", "fovea", "disc")), None)
            if spot is not None and words[spot] not in of_picture:
                self.findings.add("place", Term(k, spot + 1), f"{self.text.text_of(Term(k, spot + 1))!r} is in no fact")
            good = words[k] == "enough" and words[k - 1] in _GOOD and not {"not", "isn't"} & {*words[max(0, k - 3) : k]}
            if good and any(line.text.endswith("not gradable") for line in self.known.sheet.lines if line.id[0] == "q"):
                self.findings.add(
                    "quality", Term(k - 1, k + 1), f"{self.text.text_of(Term(k - 1, k + 1))!r}, but it is not gradable"
                )

    def _suspicions(self, sentence: Sentence) -> None:
        """Checks that what a line leaves a suspicion is told as one."""
        if not self.known.suspected or not SUSPECTING.isdisjoint(sentence.within):
            return
        for fact in (fact for anchor in sentence.anchors for fact in anchor.line.facts):
            if sentence.within.isdisjoint(suspected := suspected_words(fact.words)):
                continue
            spots = (k for k in sentence.tokens if sentence.words[k] in suspected and k not in sentence.values)
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
                    if not graded.isdisjoint(term.values) and term.first not in sentence.values:
                        says = f"{self.text.text_of(term)!r} says more than {fact.words}"
                        self.findings.add("unsupported_detail", term, says, fact)

    def _caused(self, sentence: Sentence) -> None:
        """Checks that no cause is told: of a disease, of its absence, or of what is not known."""
        lines = list(sentence.lines.values())
        if not _CAUSES.isdisjoint(sentence.words[sentence.tokens.start : sentence.tokens.start + 3]):
            lines += [line for each in sentence.earlier[-1:] for line in each.lines.values()]  # The reason is that
        if not lines and "known" in sentence.within:  # None is known, because
            lines = set(self.known.sheet.lines)
        unknown = any(line.text.startswith(SPEC["no diagnosis"]) for line in lines)
        limited = any(fact.name == LIMITED for line in lines for fact in line.facts)
        medical = unknown or limited or any(sentence.terms(kind) for kind in ("conditions", "disorder"))
        if sentence.asks or any("judged" in line.text for line in lines) or not (medical or "diagnosis" in sentence.within):
            return
        passed, with_quality = sentence.values | self.explained, any(line.id[0] == "q" for line in lines)
        poor_is_why = unknown and (not with_quality or not _SO.isdisjoint(sentence.within))
        for k in sentence.tokens:
            after, before = sentence.words[k + 1 : min(k + 5, sentence.tokens.stop)], sentence.words[k - 1 : k]
            of_picture = not _PICTURE.isdisjoint(after) and before != ["the"]
            too_poor = poor_is_why or (unknown and "to" in after and sentence.words[k] != "gradable")  # not clear enough to
            blamed = (too_poor and sentence.words[k] in _TOO_POOR) or (
                of_picture and ((unknown and sentence.words[k] == "with") or (limited and sentence.words[k] in _LIMITING))
            )
            if k not in passed and (blamed or self._is_reason(sentence, k)):
                says = f"{self.text.raw(k)!r}: what is a reason for a disease, or for its absence, is on no line"
                self.findings.add("beyond", Term(k, k + 1), says)
                return

    @staticmethod
    def _is_reason(sentence: Sentence, k: int) -> bool:
        """Whether the word at token k begins a reason, other than what a grade means, or that none is known."""
        words = sentence.words
        proves = words[k] in _PROVING or words[k : k + 2] == ["shown", "by"]
        if not proves and words[k] not in _CAUSES:
            return False
        values = any(slot.anchor.line.id[0] in "pv" for slot in sentence.slots)
        if "lesion" in words[k : sentence.tokens.stop] and not sentence.terms("conditions"):
            return False  # is it healthy? No, because the picture shows lesions
        if proves:
            return values
        if not _WELL.isdisjoint(words[sentence.tokens.start : k]) or words[k - 2 : k] in (["for", "that"], ["for", "this"]):
            return False  # it is not healthy, because the picture shows lesions; for that reason
        parts = [(slot.anchor.slot.name.partition(".")[2], slot.first) for slot in sentence.slots]
        if any(part == "meaning" or (part == "grade" and first < k) for part, first in parts):
            return False
        after = words[k + 1 : sentence.tokens.stop]
        return values or not _QUALITY.isdisjoint(after) or _SAID_OF_NONE.isdisjoint(after)

    def _sized(self, sentence: Sentence) -> None:
        """Checks that no size or shape is judged: a rather large disc, the cup is round. Only comparisons are on lines."""
        words, passed = sentence.words, sentence.values | self.explained
        for k in sentence.tokens:
            if words[k] not in _SIZES or k in passed or words[k] in self.known.known:
                continue
            before, after = words[max(sentence.tokens.start, k - 4) : k], words[k + 1 : min(k + 3, sentence.tokens.stop)]
            if {"than", "as", "how"} & {*before} or {"difference", "quality"} & {*before, *after[:1]}:
                continue
            stated = not _STATES.isdisjoint(before[-1:]) and after[:1] in ([], [","], ["and"])
            if stated or not _DEGREES.isdisjoint(before[-1:]) or not _SIZED.isdisjoint(after[:1]):
                says = f"{self.text.raw(k)!r} judges a size or shape, which no line does"
                self.findings.add("beyond", Term(k, k + 1), says)

    def _summed(self, sentence: Sentence) -> None:
        """Checks that no measurements are added up, and that no cup-to-disc ratio is called one of areas."""
        words = sentence.words
        ratios = [slot for slot in sentence.around if "cdr" in slot.allowed.get("measure", ())]
        if ratios and not sentence.slots and "area" in sentence.within and {"disc", "cup"} & sentence.within:
            says = f"a cup-to-disc ratio compares diameters, not areas: {ratios[0].anchor.line.text}"
            self.findings.add(
                "misattributed", Term(sentence.tokens.start, sentence.tokens.stop), says, ratios[0].anchor.slot.fact
            )
        shares = [slot for slot in sentence.slots if slot.anchor.slot.name.endswith(".share")]
        lesions = {line for each in (sentence, *sentence.earlier[-1:]) for line in each.lines.values() if line.id[0] == "l"}
        if len(shares) == 1 and len(lesions) > 1 and words[sentence.tokens.start] in ("together", "combined"):
            says = f"{{{shares[0].anchor.slot.name}}} is of one type of lesion: {shares[0].anchor.line.text}"
            self.findings.add("misattributed", shares[0], says, shares[0].anchor.slot.fact)
        measured = any(slot.anchor.line.id[0] == "v" for slot in (*sentence.slots, *sentence.around))
        for k in sentence.tokens if measured else ():
            added = words[k] in _ADDING and not {"up", "together"}.isdisjoint(words[k + 1 : k + 3])
            added = added or words[k : k + 2] == ["sum", "of"]
            gives = words[k] == "together" and not _YIELDING.isdisjoint(words[k + 1 : k + 2]) and "ratio" not in sentence.within
            if added or gives:
                says = f"{self.text.text_of(Term(k, k + 2))!r}: no line tells a sum of measurements"
                self.findings.add("comparison", Term(k, k + 2), says)

    def _nothing(self, sentence: Sentence) -> None:
        """Checks that nothing is said to be found only where a line says so: nothing abnormal was found."""
        lines = sentence.lines.values()
        denied = any(line.facts and (line.text.startswith(("no ", "none")) or "normal" in line.text) for line in lines)
        if denied or not lines:
            return
        for k in sentence.tokens:
            after = sentence.words[k + 1 : min(k + 6, sentence.tokens.stop)]
            if (
                sentence.words[k] == "nothing"
                and k not in sentence.values
                and not _FOUND.isdisjoint(after)
                and KNOWING.isdisjoint(after)
            ):
                says = f"{self.text.text_of(Term(k, k + 2))!r}: that there is nothing is on no line"
                self.findings.add("ungrounded_denial", Term(k, k + 2), says)

    def _modified(self, sentence: Sentence) -> None:
        """Checks that an adjective between an article and a disease or lesion is on a line: a dense cataract."""
        words, passed = sentence.words, sentence.values | self.explained
        for term in sentence.terms("conditions"):
            start = next((k for k in range(term.first - 1, term.first - 4, -1) if words[k : k + 1] in (["a"], ["an"])), None)
            if start is None or start not in sentence.tokens or term.first in passed:
                continue
            between = [k for k in range(start + 1, term.first) if k not in passed]
            added = next((k for k in between if words[k] not in self.known.known), None)
            if added is not None and _JOINING.isdisjoint(words[start + 1 : term.first]):
                says = f"{self.text.raw(added)!r} of {self.text.text_of(term)!r} is on no line"
                self.findings.add("unsupported_detail", Term(added, added + 1), says)

    def _narrowed(self, sentence: Sentence) -> None:
        """Checks that no form of a condition is named that its line does not name: open-angle glaucoma, flame haemorrhages."""
        words, passed = sentence.words, sentence.values | self.explained
        for term in sentence.terms("conditions"):
            narrowing = (k for k in range(term.first, term.last - 1) if k not in passed and words[k] not in _NEUTRAL)
            added = next((k for k in narrowing if words[k] not in self.known.known), None)
            status, fact = self.profile.status_of(term.values)
            if added is not None and status == PRESENT and {*term.values} & {*lexicon.conditions(words[term.last - 1])}:
                says = f"{self.text.raw(added)!r} of {self.text.text_of(term)!r} is on no line"
                self.findings.add("unsupported_detail", Term(added, added + 1), says, fact)

    def _hardly(self, sentence: Sentence) -> None:
        """Checks that nothing is said to be hardly there: a line says that it is there, or that it is not."""
        for term in sentence.terms("conditions"):
            if not _HARDLY.isdisjoint(sentence.words[max(sentence.tokens.start, term.first - 2) : term.first]):
                self.findings.add("comparison", term, f"{self.text.text_of(term)!r} is there or not; no line says: hardly any")

    def _amounts(self, sentence: Sentence) -> None:
        """Checks that lesions are said to be many or few where they are."""
        words = sentence.words
        for term in sentence.terms("conditions"):
            fact = self.profile.status_of(term.values)[1]
            if fact not in self.known.counts or term.first in self.explained:
                continue
            before = words[max(sentence.tokens.start, term.first - 3) : term.first]
            said = next((amount for word, amount in _AMOUNTS.items() if word in before), None)
            if said is not None and fact.value not in said:
                self.findings.add("comparison", term, f"the amount of {self.text.text_of(term)!r} is wrong: {fact.text}", fact)

    def _everywhere(self, sentence: Sentence) -> None:
        """Checks that lesions are said to lie in every quadrant only where their line says so."""
        lines, words = [line for line in sentence.lines.values() if line.id[0] == "l"], sentence.words
        for line in lines:
            for k in sentence.tokens[:-1] if "in all four" not in line.text else ():
                if words[k] not in ("every", "all"):
                    continue
                after = words[k + 1 : min(k + 5, sentence.tokens.stop)]
                before = [self.profile.status_of(t.values)[1] for t in sentence.terms("conditions") if t.first < k]
                of_it = len(lines) == 1 or ("each" in words[k - 3 : k] and line.facts[0] in before)
                every = of_it and not _QUARTERS.isdisjoint(after[:2]) and {"except", "but", "save"}.isdisjoint(after[:2])
                most = len(lines) == 1 and "most in" in line.text and words[k] == "all" and self._all_placed(sentence, k)
                if every or most:
                    says = f"{self.text.text_of(Term(k, k + 2))!r} is not what its line says: {line.text}"
                    self.findings.add("place", Term(k, k + 2), says)

    @staticmethod
    def _all_placed(sentence: Sentence, k: int) -> bool:
        """Whether the word 'all' at token k is said of lesions that the sentence places: here we find all the hard exudates;
        the exudates all lie here."""
        of_lesions = any(k < term.first < k + 4 for term in sentence.terms("conditions"))
        of_lesions = of_lesions or (
            sentence.words[k + 1] in ("lie", "are", "sit") and sentence.words[k - 1] not in ("in", "of")
        )
        return of_lesions and any(region.first in sentence.tokens for region in regions(sentence.text))

    def _sole(self, sentence: Sentence) -> None:
        """Checks that no lesion or disease is called the only one; what alone was judged may be."""
        words, within = sentence.words, sentence.within
        for k in sentence.tokens[:-1] if within.isdisjoint(_JUDGING | {"no", "not"}) else ():
            if words[k] in _SOLE and words[k + 1] in _FINDINGS:
                says = f"{self.text.text_of(Term(k, k + 2))!r}: no line says that there is nothing else"
                self.findings.add("ungrounded_denial", Term(k, k + 2), says)


# each rule with its signs: it is asked of a sentence that has one of them, so that a word that it looks for has to stand here
_RULES = (
    (SentenceCheck._judgements, _OTHERS | {"normal"}),
    (SentenceCheck._hedged, _MAYBE),
    (SentenceCheck._landmarks, _PLACES),
    (SentenceCheck._both_eyes_and_health, _HEALTH | {"eye", "disorder", "normal"}),
    (SentenceCheck._suspicions, frozenset(f"[{letter}]" for letter in SPEC["letters"].values())),
    (SentenceCheck._forms, frozenset(["[d]"])),
    (SentenceCheck._caused, _PROVING | _CAUSES | _TOO_POOR | _LIMITING | {"shown", "with"}),
    (SentenceCheck._sized, _SIZES),
    (SentenceCheck._nothing, frozenset(["nothing"])),
    (SentenceCheck._summed, _ADDING | {"sum", "together", "combined", "area"}),
    (SentenceCheck._modified, frozenset(["conditions"])),
    (SentenceCheck._narrowed, frozenset(["conditions"])),
    (SentenceCheck._hardly, _HARDLY),
    (SentenceCheck._amounts, frozenset(_AMOUNTS)),
    (SentenceCheck._everywhere, frozenset(["every", "all"])),
    (SentenceCheck._sole, _SOLE),
    (SentenceCheck._picture, frozenset(["centred", "enough"])),
)
