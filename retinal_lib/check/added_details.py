"""Check of what answers add to the facts: details of a condition, history, treatment, causes, what is to come, what numbers
mean, what a record denies, and a diagnosis that is said to be unknown although a fact gives it."""

import re
from collections.abc import Iterator
from functools import cached_property, lru_cache

from retinal_lib.check.findings import AnswerFindings, Check
from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import ParsedText, Term, family, word_lists
from retinal_lib.check.language.negation import AFFIRMED, NEGATED, UNCERTAIN, polarity
from retinal_lib.facts import Fact

WORDS = word_lists("added_details")
_MEDICAL = re.compile(r"(?:.{2}[aeiou]mic|.{3}ic|.{3}ous|.{3}oid|.{4}ive|.{4}ary|.{4}form|.{4}ular)$")  # as ischaemic, fibrous
_DENYING = frozenset([NEGATED, "negated_after"])
_UNJUDGED = frozenset(["cues", "history", "treatment", "asks", "units", "jargon", "generic"])  # which no other check compares


class AddedDetails(Check):
    """Check of details, judgements, history and treatment that no fact supports."""

    @cached_property
    def _known(self) -> frozenset[str]:
        """The words of the facts."""
        facts = (fact for fact in self.profile.case.facts if fact.aspect != "vascular")
        return frozenset().union(*(_words_of(fact.words, fact.text, fact.unit) for fact in facts))

    def answer(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks an answer."""
        for term in answer.of("conditions"):
            self._details(answer, term, findings)
        self._added(answer, findings)
        for fact in self.profile.records:
            self._contradicted(answer, fact, findings)

    def _contradicted(self, answer: ParsedText, fact: Fact, findings: AnswerFindings) -> None:
        """Checks words of a free text that an answer denies though the text affirms them, or the reverse: no dilation."""
        record = lexicon.read(fact.text)
        judged = {k for t in record.terms if t.kind not in _UNJUDGED for k in range(t.first, t.last)}
        told = {word: denied for k, word, denied in _clauses(record) if k not in judged and len(word) > 3}
        for k, word, denied in _clauses(answer):
            if told.get(word, denied) != denied:
                says = f"the answer {'denies' if denied else 'affirms'} {answer.raw(k)!r}, but the record says {fact.text!r}"
                findings.add("beyond", Term(k, k + 1), says, fact)
                return

    def _details(self, answer: ParsedText, term: Term, findings: AnswerFindings) -> None:
        """Checks words for the stage, form or look of a condition: early drusen, glaucoma of the angle-closure type."""
        profile = self.profile
        if all(map(family(term).isdisjoint, (profile.present, profile.patient, profile.suspected))):
            return
        words, sentence = answer.words, answer.sentence(term)
        shape = next((k for k in range(term.first, term.last) if words[k] in WORDS.shapes - self._known), None)
        before = range(max(sentence.start, term.first - 3), term.first)
        parted = max((k + 1 for k in before if words[k] in WORDS.parting), default=before.start)
        spots = [
            (k, term.last) for k in range(parted, term.first) if words[max(0, k - 1)] != "how" and self._is_detail(words[k])
        ]
        after = words[term.last : min(term.last + 8, sentence.stop)]
        kind = next((k for k, word in enumerate(after) if word in WORDS.sorts), None)
        led = after[:1] and after[0] in WORDS.of_sort
        led = led and not answer.within("conditions", range(term.last, term.last + (kind or 0)))
        if kind and led and WORDS.parting.isdisjoint(after[1:kind]) and any(self._is_detail(w, True) for w in after[1:kind]):
            spots.append((term.first, term.last + kind + 1))
        elif len(after) > 1 and after[0] in ("is", "are", ",") and self._is_detail(after[1]) and after[2:3] in ([], [","]):
            spots.append((term.first, term.last + 2))
        if shape is not None or spots:
            spot = Term(*(spots or [(term.first, term.last)])[0])
            findings.add("unsupported_detail", spot, f"{answer.text_of(spot)!r} adds a detail that no fact gives")

    def _is_detail(self, word: str, sort: bool = False) -> bool:
        """Whether a word tells how a condition is; `sort`: it stands before type, form or stage, where any word does."""
        if word in self._known or word in WORDS.plain:
            return False
        return sort or word in WORDS.details or _MEDICAL.search(word) is not None

    def _added(self, answer: ParsedText, findings: AnswerFindings) -> None:
        """Checks history, treatment, meanings of numbers, and diagnoses that are said to be unknown."""
        for term in (*answer.of("history"), *answer.of("treatment"), *answer.of("meaning")):
            stated = polarity(answer, term, 8)
            known = self._known.issuperset(answer.words[term.first : term.last])
            if not known and stated != UNCERTAIN and not (stated == NEGATED and term.kind == "meaning"):
                findings.add("beyond", term, f"the answer states {answer.text_of(term)!r}, but no fact says so")
        fact = next((f for f in self.profile.case.facts if f.aspect == "disease"), None)
        for term in answer.of("no diagnosis") if fact else ():
            findings.add("denied_disease", term, f"the answer says {answer.text_of(term)!r}, but {fact.text}", fact)
        for sentence in answer.sentences:
            within = frozenset(answer.words[sentence.start : sentence.stop])
            if not answer.within("generic", sentence) and WORDS.deferring.isdisjoint(within):
                self._foretold(answer, sentence, within, findings)
                self._caused(answer, sentence, findings)

    def _foretold(self, answer: ParsedText, sentence: range, within: frozenset[str], findings: AnswerFindings) -> None:
        """Checks what should be done about the eye, and what will come of it."""
        about = bool(within & WORDS.fated) or bool(answer.within("conditions", sentence))
        for k in sentence:
            word, before = answer.words[k], answer.words[max(sentence.start, k - 2) : k]
            treats = word in WORDS.treatments and not within.isdisjoint(WORDS.obliging)
            phrase = " ".join(answer.words[k : k + 2])
            verb = "".join(answer.words[k + 1 : k + 2]).isalpha()  # not: It will: ...
            foretells = verb and not WORDS.foretelling.isdisjoint((word, phrase)) and about and WORDS.persons.isdisjoint(before)
            if (treats or foretells or word in WORDS.fates) and word not in self._known:
                spot, what = Term(k, k + 1), "treatment" if treats else "what is to come"
                findings.add("beyond", spot, f"the answer tells of {what} ({answer.raw(k)!r}), but no fact says so")
                return

    def _caused(self, answer: ParsedText, sentence: range, findings: AnswerFindings) -> None:
        """Checks the cause that a condition is said to have."""
        named = answer.within("conditions", sentence)
        for k in sentence if named else ():
            size = next((n for n in (3, 2, 1) if " ".join(answer.words[k : k + n]) in WORDS.causes), 0)
            subject = next((t for t in reversed(named) if t.last <= k), None)
            if size and subject is not None and polarity(answer, subject) == AFFIRMED:
                causes = {c for t in named if k + size <= t.first < k + size + 6 for c in t.values}
                if not causes or not causes <= family(subject) | self.profile.present.keys():
                    spot = Term(k, min(k + size + 2, sentence.stop))
                    findings.add("beyond", spot, f"the answer gives a cause ({answer.text_of(spot)!r}), but no fact says so")
                    return


@lru_cache(maxsize=4096)
def _words_of(*texts: str) -> frozenset[str]:
    """The words of a fact's texts, as they are written and as texts are read."""
    text = " ".join(texts).casefold()
    return frozenset(re.findall(r"[^\W\d_]+", text)).union(lexicon.tokens(text))


def _clauses(text: ParsedText) -> Iterator[tuple[int, str, bool]]:
    """The tokens of a text, each with its word and whether its clause denies something."""
    denials = [t.first for t in text.of("cues") if not _DENYING.isdisjoint(t.values)]
    first = 0
    for k in [*(k for k, word in enumerate(text.words) if word in WORDS.clauses), len(text.words)]:
        denied = any(first <= cue < k for cue in denials)
        yield from ((i, text.words[i], denied) for i in range(first, k))
        first = k + 1
