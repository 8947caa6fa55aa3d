"""Eye side, image quality, kind of picture and the person's sex told in answers, against the facts."""

from retinal_lib.check.case_profile import Profile
from retinal_lib.check.findings import Finding, Heard, Trace
from retinal_lib.check.language import lexicon as vocabulary
from retinal_lib.check.language.lexicon import Reading, Term, word_lists

WORDS = word_lists("image_and_person")


def sides(text: Reading, asked: bool = False) -> list[tuple[str, Term]]:
    """(left, right or both, where) for each word that names an eye; `asked`: the question was which eye it is."""
    if not text.has(WORDS.sides):
        return []
    found, words = [], text.words
    for i in [i for i, word in enumerate(words) if word in WORDS.sides]:
        word, raw = words[i], text.said(i, i + 1)
        if raw in ("OD", "OS", "OU"):
            found.append(({"OD": "right", "OS": "left", "OU": "both"}[raw], Term(i, i + 1, "side", ())))
        elif word in ("left", "right") and _is_side(words, i, asked):
            found.append((word, Term(i, i + 1, "side", ())))
        elif word == "both" and words[i + 1 : i + 2] == ["eye"]:
            found.append(("both", Term(i, i + 2, "side", ())))
    return found


def of_picture(text: Reading, term: Term) -> bool:
    """Whether a word of quality is said of the picture: not of the person's sight."""
    said = {text.words[k] for k in text.sentence(term)}
    return not said & WORDS.sight and (term.last - term.first > 1 or bool(said & WORDS.pictured))


def _is_side(words: list[str], i: int, asked: bool) -> bool:
    after = words[i + 1 : i + 3]
    if after[:1] and after[0] in WORDS.of_eye:
        return True
    if after[:1] == ["optic"] or after[:1] == ["human"]:
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


class Circumstances:
    """What answers tell beside measurements and diseases."""

    def __init__(self, profile: Profile):
        self.profile = profile
        case = profile.case
        self.eye = case.eye
        self.eye_fact = profile.facts.get("eye")

    def answer(self, turn: int, text: Reading, question: Reading) -> tuple[list[Finding], list[Trace]]:
        """What an answer's words on side, quality, picture and person come to."""
        heard = Heard(turn, text)
        if text.has(WORDS.sides):
            self._side(heard, question)
        if text.of("quality") or text.of("gradable"):
            self._quality(heard)
        self._artefacts(heard)
        self._centre(heard)
        if text.has(WORDS.graders):
            self._graders(heard)
        self._modality(heard)
        if text.has(WORDS.sex):
            self._sex(heard)
        return heard.findings, heard.traces

    def _side(self, heard: Heard, question: Reading) -> None:
        asked = "eye" in question.words and ("which" in question.words or "left" in question.words)
        told = sides(heard.text, asked)
        by_sentence: dict[range, set[str]] = {}
        for side, term in told:
            by_sentence.setdefault(heard.text.sentence(term), set()).add(side)
        for side, term in told:
            both = len(by_sentence[heard.text.sentence(term)] & {"left", "right"}) == 2
            both = both and bool(WORDS.either & {heard.words[k] for k in heard.text.sentence(term)})
            said = heard.polarity(term)
            if both or said == "open" or (said == "no" and side != self.eye):
                continue
            words = heard.words
            if side == "both":
                shown = {words[k] for k in heard.text.sentence(term)} & {"image", "picture", "photograph", "show"}
                if said == "yes" and shown and words[max(0, term.first - 3)] not in ("for", "of", "together", "record"):
                    heard.add("side", term, "both eyes are told of one picture", self.eye_fact)
                continue
            if side == self.eye and said == "yes":
                if self.eye_fact:
                    heard.trace(term, self.eye_fact)
            elif {"fellow", "other", "opposite"} & set(words[max(0, term.first - 3) : term.last + 2]):
                continue
            else:
                known = f"but it is the {self.eye} eye" if self.eye else "but no fact says which eye it is"
                heard.add("side", term, f"the {side} eye is told, {known}", self.eye_fact)

    def _quality(self, heard: Heard) -> None:
        levels = self.profile.levels
        facts = self.profile.quality
        graded = [f for f in facts if f.name != "remark"]
        for term in (*heard.text.of("quality"), *heard.text.of("gradable")):
            if (said := heard.polarity(term, 4)) == "open":
                continue
            words = heard.said(term)
            if not of_picture(heard.text, term):
                continue
            if not facts:
                heard.add("quality", term, f"{words!r} tells the image quality, but no fact does")
                continue
            fact = (graded or facts)[0]
            told = {0, 1, 3} if term.kind == "gradable" else {int(v) for v in term.values}
            if told == {1} and "usable" not in words.lower():
                told = {0, 1}
            if (told == {1} and 3 in levels) or (told == {0} and "enough" in words.lower()):
                told = {0, 1, 3}
            fits = bool(told & levels)
            if fits == (said == "yes"):
                heard.trace(term, fact)
            elif said == "yes" or (fits and len(told) == 1):
                heard.add("quality", term, f"{words!r} is told of the image quality, but {fact.text}", fact)

    def _graders(self, heard: Heard) -> None:
        """Who judged the image quality, against who did."""
        units = {fact.unit.split()[0].casefold() for fact in self.profile.quality if fact.unit}
        for name in ("automorph", "eyeq"):
            if units and name not in units and name in heard.words:
                k = heard.words.index(name)
                near = heard.text.sentence(Term(k, k + 1, "", ()))
                if any(t.first in near for t in (*heard.text.of("quality"), *heard.text.of("gradable"))):
                    fact = self.profile.quality[0]
                    heard.add(
                        "quality",
                        Term(k, k + 1, "grader", ()),
                        f"{heard.text.said(k, k + 1)!r} is told to have judged the quality, but {fact.text}",
                        fact,
                    )

    def _artefacts(self, heard: Heard) -> None:
        """Dust, lashes and glare in the picture, which only annotators could tell."""
        for term in heard.text.of("artefacts"):
            said = heard.said(term)
            word = heard.words[term.last - 1]
            known = next(
                (
                    f
                    for f in self.profile.quality
                    if word in vocabulary.read(f.text).words or (word == "artefact" and f.name == "remark")
                ),
                None,
            )
            if heard.polarity(term) == "no" and known is not None:
                heard.add("quality", term, f"{said!r} is denied, but {known.text}", known)
            if heard.polarity(term) == "yes" and not any(
                word in vocabulary.read(f.text).words for f in self.profile.case.facts if f.aspect != "vascular"
            ):
                heard.add("quality", term, f"{said!r} is told of the picture, but no fact says so")

    def _centre(self, heard: Heard) -> None:
        """What the picture is centred on, where a fact says so."""
        fact = self.profile.facts.get("modality")
        if fact is None or "macula" not in fact.text or "centred" not in heard.words:
            return
        k = heard.words.index("centred")
        on = heard.words[k + 1 : k + 5]
        if "disc" in on and "macula" not in on:
            heard.add(
                "modality", Term(k, k + 1, "centre", ()), f"the picture is told centred on the disc, but {fact.text}", fact
            )

    def _modality(self, heard: Heard) -> None:
        fact = self.profile.facts.get("modality")
        for term in heard.text.of("modalities"):
            if "fundus" in term.values and fact is not None and heard.polarity(term, 3) == "no":
                heard.add("modality", term, f"{heard.said(term)!r} is denied, but {fact.text}", fact)
            elif "fundus" in term.values:
                if fact is not None:
                    heard.trace(term, fact)
                continue
            sentence = {heard.words[k] for k in heard.text.sentence(term)}
            held = fact is not None and heard.said(term).casefold() in fact.text.casefold()
            if heard.polarity(term) == "yes" and not held and sentence & WORDS.shown and not sentence & WORDS.wished:
                known = f"but {fact.text}" if fact else "but no fact says so"
                heard.add(
                    "modality",
                    term,
                    f"{heard.said(term)!r} is told as the kind of picture, {known}",
                    fact,
                )

    def _sex(self, heard: Heard) -> None:
        fact = self.profile.facts.get("sex")
        told = [(i, WORDS.sex[w]) for i, w in enumerate(heard.words) if w in WORDS.sex]
        for i, sex in told:
            term = Term(i, i + 1, "sex", ())
            if len({s for _, s in told}) > 1 or heard.polarity(term) != "yes":
                continue
            if fact is None or fact.value != sex:
                known = f"but {fact.text}" if fact else "but no fact says so"
                heard.add("sex", term, f"{heard.text.said(i, i + 1)!r} is told of the person, {known}", fact)
            else:
                heard.trace(term, fact)
