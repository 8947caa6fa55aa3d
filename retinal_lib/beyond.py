"""What answers add to the facts: details of a condition, words of quality that no scale has, who judged, what came before, what
is to be done, what numbers are said to mean, and knowledge that is denied though it is there."""

import re
from collections.abc import Iterator

from retinal_lib import vocabulary
from retinal_lib.finding import ERROR, Finding
from retinal_lib.ledger import Ledger, Quantity
from retinal_lib.polarity import Cues
from retinal_lib.profile import Profile
from retinal_lib.vocabulary import WORDS, Reading, Term, implied

_GRADERS = frozenset("reading grader human ophthalmologist panel reader expert colleague ourselves".split())
_SHAPES = frozenset("flame dot blot".split())
_JUDGING = frozenset("quality rated graded judged called found marked check rate rejected".split())


class Beyond:
    """The answers of one conversation, one by one."""

    def __init__(self, profile: Profile, ledger: Ledger):
        self.profile, self.ledger = profile, ledger
        texts = " ".join(
            f"{fact.words} {fact.text} {fact.unit}" for fact in profile.case.facts if fact.aspect != "vascular"
        ).casefold()
        self._known = frozenset(re.findall(r"[^\W\d_]+", texts)) | frozenset(vocabulary.tokens(texts))

    def answer(self, turn: int, text: Reading) -> list[Finding]:
        """What an answer says beyond the facts."""
        self._turn, self._text = turn, text
        return [*self._details(), *self._quality(), *self._told(), *self._disc()]

    def _finding(self, kind: str, first: int, last: int, says: str, fact: object = None) -> Finding:
        said = self._text.said(first, last)
        return Finding(kind, ERROR, self._turn, self._text.span(first, last), f"{said!r} {says}", fact)

    def _details(self) -> Iterator[Finding]:
        """Words that tell how far a condition has gone or what it looks like: early drusen, circinate exudates."""
        details = WORDS["details"]
        for term in self._text.of("conditions"):
            inside = next((k for k in range(term.first, term.last) if self._text.words[k] in _SHAPES), None)
            if inside is not None and self._text.words[inside] not in self._known and self._labelled(term):
                yield self._finding("unsupported_detail", term.first, term.last, "tells more of it than any fact")
                continue
            for k in range(max(0, term.first - 2), term.first):
                word = self._text.words[k]
                asked = self._text.words[max(0, k - 1)] == "how"
                if word in details and not asked and word not in self._known and self._labelled(term):
                    yield self._finding("unsupported_detail", k, term.last, "tells more of it than any fact")
                    break

    def _labelled(self, term: Term) -> bool:
        known = {*term.values, *(c for v in term.values for c in implied(str(v)))}
        return any(c in self.profile.yes or c in self.profile.patient for c in known)

    def _quality(self) -> Iterator[Finding]:
        """Words of quality that are on no scale here, and judges that the facts do not name."""
        facts = [fact for fact in self.profile.quality if fact.name != "remark"]
        if not facts:
            return
        for sentence in self._text.sentences:
            words = {self._text.words[k] for k in sentence}
            if not words & _JUDGING or not ("quality" in words or {"image", "picture", "photograph", "it"} & words):
                continue
            for k in sentence:
                word = self._text.words[k]
                if word in WORDS["off scale"] and word not in self._known and self._graded(sentence, k):
                    yield self._finding("quality", k, k + 1, f"is no word of the scale: {facts[0].text}", facts[0])
                elif word in _GRADERS and word not in self._known and "quality" in words | self._kinds(sentence):
                    yield self._finding("quality", k, k + 1, f"did not judge the image quality: {facts[0].text}", facts[0])

    def _graded(self, sentence: range, k: int) -> bool:
        """Whether the word at token k is what the quality was called."""
        near = set(self._text.words[max(sentence.start, k - 5) : min(sentence.stop, k + 3)])
        return bool(near & (_JUDGING | {"as", "quality"}))

    def _kinds(self, sentence: range) -> set[str]:
        return {"quality"} if any(t.first in sentence for t in self._text.of("quality")) else set()

    def _told(self) -> Iterator[Finding]:
        """History, treatment, meaning of numbers, and a diagnosis that is said not to be known."""
        cues = Cues(self._text)
        for term in (*self._text.of("history"), *self._text.of("treatment"), *self._text.of("meaning")):
            said = cues.polarity(term, self._text.sentence(term), 8)
            if (
                said == "open"
                or (said == "no" and term.kind == "meaning")
                or all(w in self._known for w in self._text.words[term.first : term.last])
            ):
                continue
            yield self._finding("beyond", term.first, term.last, "is said, but no fact says so")
        known = next((f for f in self.profile.case.facts if f.aspect == "disease"), None)
        for term in self._text.of("no diagnosis") if known else ():
            yield self._finding("denied_disease", term.first, term.last, f"is said, but {known.text}", known)

    def _disc(self) -> Iterator[Finding]:
        """The disc told wider than high though it is not, or round."""
        words = self._text.words
        for k, word in enumerate(words):
            if word != "than" or not {"disc", "cup"} & set(words[max(0, k - 6) : k]):
                continue
            first = next((w for w in reversed(words[max(0, k - 3) : k]) if w in _WAYS), None)
            second = next(
                (w for w in words[k + 1 : k + 5] if w in _WAYS.values() or w in ("high", "wide", "tall", "broad")), None
            )
            part = "disc" if "disc" in words[max(0, k - 6) : k] else "cup"
            high, wide = (self._length(part, way) for way in ("vertical", "horizontal"))
            if first is None or second is None or high is None or wide is None:
                continue
            if (_WAYS[first] == "wide") != (wide.value > high.value):
                yield self._finding(
                    "misattributed",
                    max(0, k - 1),
                    k + 1,
                    f"is told of the {part}: {high.fact.text}, {wide.fact.text}",
                    high.fact,
                )

    def _length(self, part: str, way: str) -> Quantity | None:
        return next((q for q in self.ledger.quantities if q.measure == part and q.orientation == way), None)


_WAYS = {"wider": "wide", "broader": "wide", "higher": "high", "taller": "high"}
