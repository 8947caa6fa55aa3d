"""What answers add to the facts: details of a condition, words of quality that no scale has, who judged, what came before, what
is to be done, what numbers are said to mean, and knowledge that is denied though it is there."""

import re

from retinal_lib.check.case_profile import Profile
from retinal_lib.check.findings import Heard
from retinal_lib.check.language import lexicon as vocabulary
from retinal_lib.check.language.lexicon import Reading, Term, family, word_lists
from retinal_lib.check.ledger import Ledger, Quantity
from retinal_lib.facts import Fact

WORDS = word_lists("unsupported")


class Beyond:
    """The answers of one conversation, one by one."""

    def __init__(self, profile: Profile, ledger: Ledger):
        self.profile, self.ledger = profile, ledger
        texts = " ".join(
            f"{fact.words} {fact.text} {fact.unit}" for fact in profile.case.facts if fact.aspect != "vascular"
        ).casefold()
        self._known = frozenset(re.findall(r"[^\W\d_]+", texts)) | frozenset(vocabulary.tokens(texts))

    def told(self, heard: Heard) -> None:
        """What an answer says beyond the facts."""
        self._details(heard)
        self._quality(heard)
        self._added(heard)
        self._disc(heard)

    def _details(self, heard: Heard) -> None:
        """Words that tell how far a condition has gone or what it looks like: early drusen, circinate exudates."""
        for term in heard.text.of("conditions"):
            inside = next((k for k in range(term.first, term.last) if heard.words[k] in WORDS.shapes), None)
            if inside is not None and heard.words[inside] not in self._known and self._labelled(term):
                _add(heard, "unsupported_detail", term.first, term.last, "tells more of it than any fact")
                continue
            for k in range(max(0, term.first - 2), term.first):
                word = heard.words[k]
                asked = heard.words[max(0, k - 1)] == "how"
                if word in WORDS.details and not asked and word not in self._known and self._labelled(term):
                    _add(heard, "unsupported_detail", k, term.last, "tells more of it than any fact")
                    break

    def _labelled(self, term: Term) -> bool:
        return any(c in self.profile.yes or c in self.profile.patient for c in family(term))

    def _quality(self, heard: Heard) -> None:
        """Words of quality that are on no scale here, and judges that the facts do not name."""
        facts = [fact for fact in self.profile.quality if fact.name != "remark"]
        if not facts:
            return
        for sentence in heard.text.sentences:
            words = {heard.words[k] for k in sentence}
            if not words & WORDS.judging or not ("quality" in words or {"image", "picture", "photograph", "it"} & words):
                continue
            for k in sentence:
                word = heard.words[k]
                if word in WORDS.off_scale and word not in self._known and self._graded(heard.words, sentence, k):
                    _add(heard, "quality", k, k + 1, f"is no word of the scale: {facts[0].text}", facts[0])
                elif (
                    word in WORDS.judges and word not in self._known and "quality" in words | self._kinds(heard.text, sentence)
                ):
                    _add(heard, "quality", k, k + 1, f"did not judge the image quality: {facts[0].text}", facts[0])

    def _graded(self, words: list[str], sentence: range, k: int) -> bool:
        """Whether the word at token k is what the quality was called."""
        near = set(words[max(sentence.start, k - 5) : min(sentence.stop, k + 3)])
        return bool(near & (WORDS.judging | {"as", "quality"}))

    def _kinds(self, text: Reading, sentence: range) -> set[str]:
        return {"quality"} if any(t.first in sentence for t in text.of("quality")) else set()

    def _added(self, heard: Heard) -> None:
        """History, treatment, meaning of numbers, and a diagnosis that is said not to be known."""
        for term in (*heard.text.of("history"), *heard.text.of("treatment"), *heard.text.of("meaning")):
            said = heard.polarity(term, 8)
            if (
                said == "open"
                or (said == "no" and term.kind == "meaning")
                or all(w in self._known for w in heard.words[term.first : term.last])
            ):
                continue
            _add(heard, "beyond", term.first, term.last, "is said, but no fact says so")
        known = next((f for f in self.profile.case.facts if f.aspect == "disease"), None)
        for term in heard.text.of("no diagnosis") if known else ():
            _add(heard, "denied_disease", term.first, term.last, f"is said, but {known.text}", known)

    def _disc(self, heard: Heard) -> None:
        """The disc told wider than high though it is not, or round."""
        words = heard.words
        for k, word in enumerate(words):
            if word != "than" or not {"disc", "cup"} & set(words[max(0, k - 6) : k]):
                continue
            first = next((w for w in reversed(words[max(0, k - 3) : k]) if w in WORDS.dimensions), None)
            second = next(
                (w for w in words[k + 1 : k + 5] if w in WORDS.dimensions.values() or w in ("high", "wide", "tall", "broad")),
                None,
            )
            part = "disc" if "disc" in words[max(0, k - 6) : k] else "cup"
            high, wide = (self._length(part, way) for way in ("vertical", "horizontal"))
            if first is None or second is None or high is None or wide is None:
                continue
            if (WORDS.dimensions[first] == "wide") != (wide.value > high.value):
                _add(
                    heard,
                    "misattributed",
                    max(0, k - 1),
                    k + 1,
                    f"is told of the {part}: {high.fact.text}, {wide.fact.text}",
                    high.fact,
                )

    def _length(self, part: str, way: str) -> Quantity | None:
        return next((q for q in self.ledger.quantities if q.measure == part and q.orientation == way), None)


def _add(heard: Heard, kind: str, first: int, last: int, says: str, fact: Fact | None = None) -> None:
    spot = Term(first, last, "beyond", ())
    heard.add(kind, spot, f"{heard.said(spot)!r} {says}", fact)
