"""Diseases, lesions, grades and normality told in answers against what the facts say."""

from retinal_lib import polarity
from retinal_lib.fact import Fact
from retinal_lib.finding import ERROR, WARNING, Finding, Trace
from retinal_lib.polarity import Cues, Mention
from retinal_lib.profile import MAY, NO, YES, Profile
from retinal_lib.vocabulary import WORDS, Reading, Term

_RETINOPATHY = frozenset(["diabetic_retinopathy", "npdr", "pdr"])
_PARTS = frozenset("disc vessel artery vein macula fovea rest periphery nerve cup vasculature remainder".split())
_RANGE = frozenset("range limit value person eyesight vision".split())


class Claims:
    """The claims of one conversation, answer by answer."""

    def __init__(self, profile: Profile):
        self.profile = profile

    def answer(self, turn: int, text: Reading, question: Reading) -> tuple[list[Finding], list[Trace]]:
        """What the claims of an answer come to."""
        self._turn, self._text = turn, text
        self._findings: list[Finding] = []
        self._traces: list[Trace] = []
        mentioned = polarity.mentions(text)
        for mention in mentioned:
            self._mention(mention)
        self._replied(text, question, mentioned)
        self._severities(text, mentioned)
        self._scales(text)
        self._distances(text)
        self._normality(text)
        self._parts(text)
        return self._findings, self._traces

    def _add(self, kind: str, term: Term, text: str, fact: Fact | None = None, severity: str = ERROR) -> None:
        span = self._text.span(term.first, term.last) if term.last else (0, 0)
        self._findings.append(Finding(kind, severity, self._turn, span, text, fact))

    # --- conditions ---------------------------------------------------------------------------------------------------

    def _mention(self, mention: Mention) -> None:
        condition, term = mention.conditions[0], mention.term
        stance, fact = self.profile.stance_of(mention.conditions)
        said = self._text.said(term.first, term.last)
        if mention.polarity == "open" or self._defined(mention):
            return
        if mention.polarity == "no":
            if stance == YES:
                self._add("denied_disease", term, f"{said!r} is denied, but {fact.text}", fact)
            elif stance is None and not self.profile.listed and not self._is_subject(condition, mention.sentence):
                self._add(
                    "ungrounded_denial", term, f"{said!r} is denied, but no fact says that it was looked for", None, WARNING
                )
            elif fact is not None:
                self._trace(term, fact)
            return
        if stance in (YES, MAY):
            self._trace(term, fact)
        elif self._is_subject(condition, mention.sentence):
            pass
        elif condition in self.profile.patient:
            self._of_patient(mention, said)
        elif self.profile.ungradable:
            self._add("ungradable", term, f"{said!r} is told of an image that cannot be graded", self.profile.ungradable)
        else:
            reason = f"but {fact.text}" if fact else "but no fact says so"
            self._add("unsupported_disease", term, f"{said!r} is told as present, {reason}", fact)

    def _defined(self, mention: Mention) -> bool:
        """Whether a sentence tells what another level of a scale stands for: grade 4 is proliferative retinopathy."""
        words = self._text.words
        grades = {f.value for f in self.profile.grades}
        for k in mention.sentence:
            if (
                words[k].isdigit()
                and words[k + 1 : k + 2] in (["means"], ["mean"], ["stand"], ["("])
                and 0 < mention.term.first - k < 6
            ):
                return int(words[k]) not in grades
            if (
                words[k] in ("grade", "level", "stage")
                and words[k + 2 : k + 3]
                and words[k + 2] in ("is", "means", "mean", "would", "stand", "stands", "=")
            ):
                return any(words[k + 1].isdigit() and int(words[k + 1]) != f.value for f in self.profile.grades)
        return False

    def _of_patient(self, mention: Mention, said: str) -> None:
        """A label of both eyes together may be told as that alone."""
        fact = self.profile.patient[mention.conditions[0]]
        cues = [t for t in self._text.of("cues") if "patient_scope" in t.values]
        if any(mention.sentence.start <= t.first < mention.sentence.stop for t in cues) or mention.conditions[0] in (
            "diabetes",
            "hypertension",
        ):
            self._trace(mention.term, fact)
        else:
            self._add("unsupported_disease", mention.term, f"{said!r} is told of this eye, but {fact.text}", fact)

    def _is_subject(self, condition: str, sentence: range) -> bool:
        """Whether a condition is named as what a grade of 0, told beside it, is a grade of: retinopathy is graded 0."""
        if condition == "dme_risk":
            return any(condition in WORDS["subjects"].get(f.unit, ()) for f in self.profile.grades)
        words = self._text.words
        zero = any(words[k] in ("0", "zero") and words[k + 1 : k + 2] not in (["to"], ["–"], ["through"]) for k in sentence)
        return zero and any(f.value == 0 and condition in WORDS["subjects"].get(f.unit, ()) for f in self.profile.grades)

    def _trace(self, term: Term, fact: Fact) -> None:
        span = self._text.span(term.first, term.last)
        self._traces.append(Trace(self._turn, span, self._text.said(term.first, term.last), "claim", fact))

    def _replied(self, text: Reading, question: Reading, mentioned: list[Mention]) -> None:
        """A bare yes or no to a question that names a condition."""
        if not text.words or text.words[0] not in ("yes", "no") or not text.sentences:
            return
        first = text.sentences[0]
        if any(m.sentence == first for m in mentioned) or len(first) > 6:
            return
        asked = question.of("conditions")
        for term in asked[:1] if len(asked) == 1 else ():
            stance, fact = self.profile.stance_of(term.values)
            said = text.words[0]
            if (said == "no" and stance == YES) or (said == "yes" and stance in (NO, None)):
                kind = "denied_disease" if said == "no" else "unsupported_disease"
                reason = f"but {fact.text}" if fact else "but no fact says so"
                self._add(
                    kind,
                    Term(0, 1, "reply", ()),
                    f"{said!r} answers whether there is {question.said(term.first, term.last)!r}, {reason}",
                    fact,
                )

    # --- grades in words ----------------------------------------------------------------------------------------------

    def _severities(self, text: Reading, mentioned: list[Mention]) -> None:
        terms = text.of("severity")
        if not terms:
            return
        known, cues = self.profile.severity, Cues(text)
        for term in terms:
            sentence = text.sentence(term)
            if not self._of_retinopathy(term, sentence, mentioned) or cues.polarity(term, sentence) != "yes":
                continue
            if text.words[term.first - 1 : term.first] and text.words[term.first - 1] in (
                "how",
                "than",
                "between",
                "from",
                "to",
                "or",
            ):
                continue
            if known is None and self.profile.stance("diabetic_retinopathy")[0] == YES:
                self._add(
                    "wrong_grade",
                    term,
                    f"{text.said(term.first, term.last)!r} is told of diabetic retinopathy, but no fact says how severe it is",
                )
            elif known is not None and known[0] not in term.values:
                self._add(
                    "wrong_grade",
                    term,
                    f"{text.said(term.first, term.last)!r} is told of diabetic retinopathy, but {known[1].text}",
                    known[1],
                )

    def _of_retinopathy(self, term: Term, sentence: range, mentioned: list[Mention]) -> bool:
        """Whether a word of severity says how severe diabetic retinopathy is."""
        near = [m for m in mentioned if m.sentence == sentence]
        after = next((m for m in near if m.term.first >= term.last), None)
        if after is not None and after.term.first - term.last <= 2:
            return after.conditions[0] in _RETINOPATHY
        words = self._text.words
        following = words[term.last] if term.last < len(words) else "."
        if following not in _GRADED:
            return False
        before = [m for m in near if m.term.last <= term.first]
        graded = any("grade" in t.values and t.first in sentence for t in self._text.of("measures"))
        return before[-1].conditions[0] in _RETINOPATHY if before else graded and bool(self.profile.severity)

    def _scales(self, text: Reading) -> None:
        held = {f.unit for f in self.profile.grades}
        for term in text.of("scales"):
            if not held.isdisjoint(term.values):
                continue
            if any("exudate" in str(v) for v in term.values) and any("exudate" in unit for unit in held):
                continue
            sentence = text.sentence(term)
            if Cues(text).polarity(term, sentence, 4) != "yes":
                continue
            fact = self.profile.grades[0] if self.profile.grades else None
            reason = f"but {fact.text}" if fact else "but no fact is a grade on it"
            self._add("wrong_grade", term, f"the scale {text.said(term.first, term.last)!r} is named, {reason}", fact)

    def _distances(self, text: Reading) -> None:
        """Exudates within or beyond one disc diameter of the macula, against the graded distance."""
        fact = next((f for f in self.profile.grades if "exudate distance" in f.unit), None)
        for term in text.of("units") if fact is not None else ():
            if "dd" not in term.values:
                continue
            sentence = text.sentence(term)
            before = [text.words[k] for k in range(max(sentence.start, term.first - 6), term.first)]
            near = bool({"within", "inside"} & set(before)) or before[-3:-1] == ["less", "than"]
            if before[-4:-1] == ["not", "more", "than"]:
                near, before = True, before[:-4]
            far = bool({"beyond", "outside", "farther", "further", "more", "over"} & set(before))
            if near == far or "zone" in text.words[sentence.start : sentence.stop]:
                continue
            told = [t for t in text.of("conditions") if t.first in sentence and {"hard_exudate", "exudate"} & set(t.values)]
            negated = any(
                t.last <= term.first and "neg" in t.values and (not told or t.first > told[-1].first)
                for t in text.of("cues")
                if t.first in sentence
            )
            denied = negated or (bool(told) and Cues(text).polarity(told[-1], sentence) == "no")
            wrong = (fact.value == 2) == (far if not denied else near) if fact.value else not denied
            if wrong:
                self._add(
                    "wrong_grade",
                    term,
                    f"{' '.join(before[-3:])} {text.said(term.first, term.last)} is told of exudates, but {fact.text}",
                    fact,
                )

    # --- normality ----------------------------------------------------------------------------------------------------

    def _normality(self, text: Reading) -> None:
        terms = [*text.of("normal"), *text.of("disorder")]
        cues = Cues(text) if terms else None
        for term in terms:
            sentence = text.sentence(term)
            said = cues.polarity(term, sentence)
            if (
                term.kind == "disorder"
                and "other" in text.words[max(0, term.first - 3) : term.first]
                and not self.profile.listed
                and self._free_of(text, term, sentence)
            ):
                self._add(
                    "ungrounded_denial",
                    term,
                    f"other {text.said(term.first, term.last)!r} is denied, but no fact says that it was looked for",
                    None,
                    WARNING,
                )
            if said == "open" or self._is_modifier(text, term) or self._unmarked(text, term):
                continue
            if (term.kind == "normal" and said == "yes") or (term.kind == "disorder" and self._free_of(text, term, sentence)):
                self._normal(term, sentence)
            elif (
                self.profile.normal is not None
                and said != ("yes" if term.kind == "normal" else "no")
                and text.words[term.first] != "finding"
            ) and term.kind == "normal":
                self._add(
                    "unsupported_disease", term, f"normality is denied, but {self.profile.normal.text}", self.profile.normal
                )

    @staticmethod
    def _free_of(text: Reading, term: Term, sentence: range) -> bool:
        """Whether a negation is of the disorder itself: no sign of any disease."""
        ends = {t.last for t in text.of("cues") if "neg" in t.values}
        k = term.first
        while k > sentence.start:
            if k in ends:
                return True
            if text.words[k - 1] not in _FILLERS:
                return False
            k -= 1
        return False

    @staticmethod
    def _is_modifier(text: Reading, term: Term) -> bool:
        """A normal range, an eye disease that is looked for, other conditions."""
        following = text.words[term.last : term.last + 2]
        before = text.words[max(0, term.first - 3) : term.first]
        return bool(_RANGE & set(following)) or "other" in before or "further" in before or "additional" in before

    def _parts(self, text: Reading) -> None:
        """Parts of the eye that are described though the image cannot be graded."""
        if self.profile.rejected is None:
            return
        for sentence in text.sentences:
            words = [text.words[k] for k in sentence]
            part = next((k for k in sentence if text.words[k] in _SEEN), None)
            if (
                part is None
                or _BESIDE & set(words)
                or any(w[0].isdigit() for w in words)
                or not _STATING & set(words)
                or any(t.first in sentence for t in self._withheld)
            ):
                continue
            if not any(
                t.span[0] >= text.starts[sentence.start] and t.span[1] <= text.end(sentence.stop - 1) for t in self._traces
            ):
                said = Term(part, part + 1, "part", ())
                self._add(
                    "ungradable",
                    said,
                    f"{text.said(part, part + 1)!r} is described, but {self.profile.rejected.text}",
                    self.profile.rejected,
                )

    @property
    def _withheld(self) -> list[Term]:
        """The cues that leave something open or deny it, and words on people in general."""
        cues = [t for t in self._text.of("cues") if {"neg", "open", "after_neg", "after_open"} & set(t.values)]
        return [*cues, *self._text.of("generic")]

    def _unmarked(self, text: Reading, term: Term) -> bool:
        """'No lesions are marked' tells of marks, which there may be none of because none were made."""
        following = set(text.words[term.last : term.last + 4])
        if (self.profile.rejected or not self.profile.yes) and following & _TOLD:
            return True
        return bool(following & _MARKED) and not any(fact.aspect == "lesion" for fact in self.profile.yes.values())

    def _normal(self, term: Term, sentence: range) -> None:
        words = [self._text.words[k] for k in sentence]
        said = self._text.said(term.first, term.last)
        disease = self.profile.diseased
        if {"quality", "picture", "photograph"} & set(words) and said.lower().endswith(("fine", "right", "order")):
            return  # the picture is fine
        if self.profile.normal is not None and disease is None:
            self._trace(term, self.profile.normal)
        elif _PARTS & set(words):
            self._add("ungrounded", term, f"{said!r} is told of a part of the eye, but no fact says so", None, WARNING)
        elif disease is not None:
            self._add("normal_beside_disease", term, f"{said!r} is told as normal, but {disease.text}", disease)
        elif self.profile.ungradable:
            self._add("ungradable", term, f"{said!r} is told of an image that cannot be graded", self.profile.ungradable)
        elif not self.profile.no:
            self._add("unsupported_normal", term, f"{said!r} is told as normal, but no fact says so")
        else:
            fact = next(iter(self.profile.no.values()))
            self._add("ungrounded", term, f"{said!r} says more than the facts: {fact.text}", fact, WARNING)


_MARKED = frozenset("marked outlined recorded annotated labelled listed noted segmented delineated".split())
_TOLD = frozenset("recorded given told described reported made itself".split())
_FILLERS = frozenset(
    "are there other further sign evidence of any visible clear obvious apparent eye retinal such significant detectable the indication kind a see show suggestion retina".split()
)
_SEEN = frozenset("disc macula fovea artery vein vessel arteriole venule cup retina".split())
_BESIDE = frozenset("centred photograph examination direct new again if".split())
_STATING = frozenset("is are look looks appear appears show shows seem seems lie lies".split())
_GRADED = frozenset([*". , ; ) and or on in according by grade stage form level degree category severity ( \n".split(), "\n"])
