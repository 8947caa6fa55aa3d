"""Checks of the eye side, image quality, kind of image and sex of the person that answers state."""

from itertools import takewhile

from retinal_lib.check.findings import AnswerFindings, Check, but_fact
from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import ParsedText, Term, kept, word_lists
from retinal_lib.check.language.negation import AFFIRMED, NEGATED, UNCERTAIN, polarity

WORDS = word_lists("image_and_person")
_SIDES = {"OD": "right", "OS": "left", "OU": "both"}


def sides(text: ParsedText, asked: bool = False) -> list[tuple[str, Term]]:
    """Finds the words that name an eye, as (left, right or both, place); `asked`: the question was which eye it is."""
    if not text.has(WORDS.sides):
        return []
    found, words = [], text.words
    for i, word in enumerate(words):
        if text.raw(i) in _SIDES:
            found.append((_SIDES[text.raw(i)], Term(i, i + 1)))
        elif word in ("left", "right") and _is_side(words, i, asked):
            found.append((word, Term(i, i + 1)))
        elif word == "both" and words[i + 1 : i + 2] == ["eye"]:
            found.append(("both", Term(i, i + 2)))
    return found


def of_picture(text: ParsedText, term: Term) -> bool:
    """Says whether a word of quality describes the image, not the person's sight."""
    within = {text.words[k] for k in text.sentence(term)}
    return not within & WORDS.sight and (term.last - term.first > 1 or bool(within & WORDS.pictured))


@kept
def sexes(text: ParsedText) -> list[tuple[Term, str]]:
    """Finds the words that name the sex of a person, as (place, male or female)."""
    if not text.has(WORDS.sex):
        return []
    return [(Term(i, i + 1), WORDS.sex[word]) for i, word in enumerate(text.words) if word in WORDS.sex]


def _is_side(words: list[str], i: int, asked: bool) -> bool:
    after = words[i + 1 : i + 3]
    if after[:1] and after[0] in WORDS.of_eye:
        return True
    if after[:1] and after[0] in WORDS.places:
        return False
    before = words[max(0, i - 6) : i]
    if after[:1] == ["one"] and "eye" in words[max(0, i - 9) : i]:
        return True
    if after[:1] == ["one"] or after[:1] in (["or"], ["and"], ["/"]):
        return "eye" in words[i : i + 5] or asked
    return ("eye" in before and before[-1] in ("the", "is", ":", "a", "patient", "their", "patient's", "your")) or (
        asked and before[-1:] != ["that's"]
    )


def _judgements(answer: ParsedText, question: ParsedText) -> list[Term]:
    """The adjectives and adverbs that judge the picture: fair quality, the photograph came out badly, or alone as an answer."""
    words, found = answer.words, []
    taken = {k for t in answer.terms if t.kind not in ("asks", "severity") for k in range(t.first, t.last)}
    for sentence in answer.sentences:
        pictured = [k for k in sentence if words[k] in WORDS.picture]
        asked = sentence == answer.sentences[0] and bool(question.of("quality") or question.has(WORDS.picture))
        for k in sentence if pictured or asked else ():
            levels = WORDS.adjectives.get(words[k]) or WORDS.adjectives.get(words[k].removesuffix("ly"))
            severity = any(term.first == k + 1 for term in answer.of("conditions"))  # it has moderate retinopathy
            if levels and k not in taken and not severity and _judges(words, sentence, k, pictured, asked):
                found.append(Term(k, k + 1, "judgement", tuple(levels)))
    return found


def _judges(words: list[str], sentence: range, k: int, pictured: list[int], asked: bool) -> bool:
    """Whether the adjective at token k is said of the picture."""
    after = words[k + 1 : min(k + 4, sentence.stop)]
    if not WORDS.picture.isdisjoint(takewhile(lambda word: word not in WORDS.parting, after)):
        return True
    subject = [i for i in (*pictured, *(i for i in sentence if asked and words[i] == "it")) if i < k]
    if subject:
        between = words[max(subject) + 1 : k]
        return not WORDS.linking.isdisjoint(between) and WORDS.linking.union(WORDS.degrees).issuperset(between)
    return (
        asked
        and WORDS.degrees.issuperset(words[sentence.start : k])
        and words[k + 1 : k + 2] in ([], [","], [":"], ["."], [";"])
    )


def _side_polarity(text: ParsedText, term: Term) -> str:
    """Whether the name of an eye is affirmed; 'the left eye shows no disease' is, 'not the left eye' is not."""
    stated, start = polarity(text, term), max(text.sentence(term).start, term.first - 4)
    if stated != NEGATED:
        return stated
    before = text.words[start : term.first]
    return NEGATED if not {"not", "isn't", "no", "never", "neither", "nor", "rather"}.isdisjoint(before) else AFFIRMED


class ImageAndPerson(Check):
    """Check of the eye side, image quality, artefacts, kind of image, and sex of the person."""

    def answer(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks an answer."""
        self._side(answer, question, findings)
        for term in (*answer.of("quality"), *answer.of("gradable")):
            self._quality(answer, term, findings)
        for term in _judgements(answer, question):
            self._quality(answer, term, findings)
        for term in answer.of("artefacts"):
            self._artefact(answer, term, findings)
        self._graders(answer, findings)
        for term in answer.of("modalities"):
            self._modality(answer, term, findings)
        self._sex(answer, question, findings)

    def _side(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        asked = "eye" in question.words and ("which" in question.words or "left" in question.words)
        named = sides(answer, asked)
        eye, fact, words = self.profile.case.eye, self.profile.facts.get("eye"), answer.words
        for side, term in named:
            sentence = answer.sentence(term)
            within = {words[k] for k in sentence}
            both = {"left", "right"} <= {s for s, t in named if answer.sentence(t) == sentence}
            stated = _side_polarity(answer, term)
            undecided = both and not WORDS.either.isdisjoint(within)
            if undecided or stated == UNCERTAIN or (stated == NEGATED and side != eye):
                continue
            if side == "both":
                image_words = within & {"image", "picture", "photograph", "show"}
                before = words[max(0, term.first - 3)]
                if stated == AFFIRMED and image_words and before not in ("for", "of", "together", "record"):
                    findings.add("side", term, "the answer says that the image shows both eyes, but it shows one", fact)
            elif side == eye and stated == AFFIRMED:
                if fact:
                    findings.trace(term, fact)
            elif told := next((f for f in self.profile.records if side in {s for s, _ in sides(lexicon.read(f.text))}), None):
                findings.trace(term, told)
            elif {"fellow", "other", "opposite"}.isdisjoint(words[max(0, term.first - 3) : term.last + 2]):
                reason = f"but it is the {eye} eye" if eye else "but no fact says which eye it is"
                findings.add("side", term, f"the answer names the {side} eye, {reason}", fact)

    def _quality(self, answer: ParsedText, term: Term, findings: AnswerFindings) -> None:
        stated, text, facts = polarity(answer, term, 4), answer.text_of(term), self.profile.quality
        if stated == UNCERTAIN or (term.kind != "judgement" and not of_picture(answer, term)):
            return
        if not facts:
            findings.add("quality", term, f"the answer rates the image quality ({text!r}), but no fact does")
            return
        fact = next((f for f in facts if f.name != "remark"), facts[0])
        levels = {0, 1, 3} if term.kind == "gradable" else {int(v) for v in term.values}
        if levels == {1} and term.kind != "judgement" and "usable" not in text.lower():
            levels = {0, 1}
        enough = "enough" in (*text.lower().split(), *answer.words[term.last : term.last + 1])
        if (levels == {1} and 3 in self.profile.levels) or (levels == {0} and enough):
            levels = {0, 1, 3}
        fits = not levels.isdisjoint(self.profile.levels)
        if fits == (stated == AFFIRMED):
            findings.trace(term, fact)
        elif stated == AFFIRMED or (fits and len(levels) == 1 and answer.words[term.first] not in WORDS.superlatives):
            findings.add("quality", term, f"the answer calls the image quality {text!r}, but {fact.text}", fact)

    def _graders(self, answer: ParsedText, findings: AnswerFindings) -> None:
        """Checks who is said to have judged the image quality."""
        units = {fact.unit.split()[0].casefold() for fact in self.profile.quality if fact.unit}
        for name in WORDS.graders - units if units else ():
            if name not in answer.words:
                continue
            k = answer.words.index(name)
            sentence = answer.sentence(Term(k, k + 1))
            if answer.within("quality", sentence) or answer.within("gradable", sentence):
                fact = self.profile.quality[0]
                text = f"the answer says that {answer.raw(k)!r} judged the image quality, but {fact.text}"
                findings.add("quality", Term(k, k + 1), text, fact)

    def _artefact(self, answer: ParsedText, term: Term, findings: AnswerFindings) -> None:
        """Checks dust, lashes and glare, which only annotators' remarks tell of."""
        text, word, stated = answer.text_of(term), answer.words[term.last - 1], polarity(answer, term)
        noted = [
            f for f in self.profile.quality if word in lexicon.read(f.text).words or (word, f.name) == ("artefact", "remark")
        ]
        if stated == NEGATED and noted:
            findings.add("quality", term, f"the answer says that the image has no {text!r}, but {noted[0].text}", noted[0])
        facts = (fact for fact in self.profile.case.facts if fact.aspect != "vascular")
        if stated == AFFIRMED and not any(word in lexicon.read(fact.text).words for fact in facts):
            findings.add("quality", term, f"the answer says that the image has {text!r}, but no fact says so")

    def _modality(self, answer: ParsedText, term: Term, findings: AnswerFindings) -> None:
        fact, text = self.profile.facts.get("modality"), answer.text_of(term)
        if "fundus" in term.values and fact is not None:
            if polarity(answer, term, 3) == NEGATED:
                findings.add("modality", term, f"the answer says that the image is not {text!r}, but {fact.text}", fact)
            else:
                findings.trace(term, fact)
                return
        elif "fundus" in term.values:
            return
        sentence = {answer.words[k] for k in answer.sentence(term)}
        agrees = fact is not None and text.casefold() in fact.text.casefold()
        if polarity(answer, term) == AFFIRMED and not agrees and sentence & WORDS.shown and not sentence & WORDS.wished:
            findings.add("modality", term, f"the answer gives {text!r} as the kind of image, {but_fact(fact)}", fact)

    def _sex(self, answer: ParsedText, question: ParsedText, findings: AnswerFindings) -> None:
        """Checks words for the person's sex, pronouns among them; a question may tell it too: my son."""
        fact = self.profile.facts.get("sex")
        told = {sex: f for f in self.profile.records for _, sex in sexes(lexicon.read(f.text))}
        named, asked = sexes(answer), {sex for _, sex in sexes(question)}
        if len({sex for _, sex in named}) > 1:
            return
        for term, sex in named:
            pronoun = answer.words[term.first] in WORDS.pronouns
            if not pronoun and polarity(answer, term) != AFFIRMED:
                continue
            source = told.get(sex) if fact is None else fact if fact.value == sex else None
            if source is not None:
                if not pronoun:
                    findings.trace(term, source)
            elif fact is not None or sex not in asked or not pronoun:
                text = f"the answer calls the person {answer.text_of(term)!r}, {but_fact(fact)}"
                findings.add("sex", term, text, fact)
