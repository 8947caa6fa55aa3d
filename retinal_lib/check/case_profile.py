"""What the facts of a case say of conditions, grades, image quality, side and person, ready to be looked up."""

from functools import lru_cache

from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import VOCABULARY, beside, implied, word_lists
from retinal_lib.check.language.negation import AFFIRMED, NEGATED, mentions
from retinal_lib.dataset import fact_kinds, measurements
from retinal_lib.dataset.lesions.wording import ENDINGS
from retinal_lib.facts import Case, Fact

WORDS = word_lists("case_profile")

PRESENT, ABSENT, POSSIBLE = "present", "absent", "possible"
EVERYTHING = "everything"  # what a label of normality denies
_STANCES = {AFFIRMED: PRESENT, NEGATED: ABSENT}


@lru_cache(maxsize=4096)
def _stances(aspect: str, name: str, value: object, unit: str, words: str, text: str) -> tuple[tuple[str, str], ...]:
    """(condition, stance) for all that a fact says, without what follows from it."""
    if unit in VOCABULARY["levels"]:
        level = VOCABULARY["levels"][unit].get(value, {})
        return tuple((condition, stance) for stance in (PRESENT, ABSENT, POSSIBLE) for condition in level.get(stance, ()))
    if aspect == "lesion":
        if name.endswith(ENDINGS) or not isinstance(value, int | float):
            return ()
        return tuple((c, PRESENT if value else ABSENT) for c in lexicon.conditions(words))
    if name == "normal" or (aspect == "patient" and words == "normal"):
        return ((EVERYTHING, ABSENT),)
    if aspect == "disease" or (aspect == "patient" and name not in ("age", "sex")):
        if unit:
            return ()
        return tuple((c, PRESENT) for c in lexicon.conditions(words))
    if aspect in ("notes", "quality", "image", "vascular"):
        return tuple((c, _STANCES.get(m.polarity, POSSIBLE)) for m in mentions(lexicon.read(text)) for c in m.conditions)
    return ()


@lru_cache(maxsize=4096)
def _severity(words: str) -> int:
    """How severe a diagnosis in words calls diabetic retinopathy; 0 where it does not say."""
    found = {t.value for t in lexicon.read(words).of("severity") if len(t.values) == 1}
    return found.pop() if len(found) == 1 else 0


class CaseProfile:
    """What the facts of a case say of conditions: the fact by condition in `present`, `absent` and `possible`, in `patient` for
    labels of both eyes together."""

    def __init__(self, case: Case):
        self.case = case
        self.present: dict[str, Fact] = {}
        self.absent: dict[str, Fact] = {}
        self.possible: dict[str, Fact] = {}
        self.patient: dict[str, Fact] = {}
        self.grades: list[Fact] = []
        self.severity: tuple[int, Fact] | None = None
        self.normal: Fact | None = None
        self.quality: list[Fact] = []
        self.facts: dict[str, Fact] = {}
        self.listed = False  # what is not labelled was looked for and not found
        scales, columns = fact_kinds.scales(), measurements.columns()
        for fact in case.facts:
            if fact.aspect == "vascular" and fact.unit in ("", "µm", "degrees") and fact.name in columns:
                continue
            self.facts.setdefault(fact.name, fact)
            if fact.unit in scales:
                self.grades.append(fact)
            if fact.aspect == "quality":
                self.quality.append(fact)
            if fact.aspect == "disease":
                self._disease(fact)
            self._add(fact)

    def _disease(self, fact: Fact) -> None:
        self.listed = self.listed or fact.text.startswith(("the image is labelled", "this eye is labelled"))
        level = fact.value if fact.unit == "ICDR" else _severity(fact.words) if not fact.unit else 0
        if level:
            self.severity = (int(level), fact)
        if fact.name == "normal":
            self.normal = fact

    def _add(self, fact: Fact) -> None:
        for condition, stance in _stances(
            fact.aspect, fact.name, fact.value if not isinstance(fact.value, tuple) else None, fact.unit, fact.words, fact.text
        ):
            if fact.scope == "patient":
                if stance == PRESENT:
                    self.patient.update(dict.fromkeys((condition, *implied(condition)), fact))
                continue
            if stance == PRESENT:
                for each in (condition, *implied(condition), *beside(condition)):
                    self.present.setdefault(each, fact)
            elif stance == ABSENT:
                self.absent.setdefault(condition, fact)
            else:
                self.possible.setdefault(condition, fact)

    def stance(self, condition: str) -> tuple[str | None, Fact | None]:
        """Returns whether a condition is present, absent or possible, with the fact; None where no fact says. A condition is
        absent with what it is a form of."""
        for known, stance in ((self.present, PRESENT), (self.possible, POSSIBLE)):
            if condition in known:
                return stance, known[condition]
        for each in (condition, *implied(condition), EVERYTHING):
            if each in self.absent:
                return ABSENT, self.absent[each]
        return None, None

    def stance_of(self, conditions: tuple[str, ...]) -> tuple[str | None, Fact | None]:
        """Returns the stance of a name that fits several conditions: of the one that the facts know."""
        found = [self.stance(condition) for condition in conditions]
        return next((known for wanted in (PRESENT, POSSIBLE, ABSENT) for known in found if known[0] == wanted), (None, None))

    @property
    def diseased(self) -> Fact | None:
        """A fact that says the eye is not normal."""
        return next((f for c, f in self.present.items() if f.aspect in ("disease", "lesion")), None)

    @property
    def levels(self) -> set[int]:
        """The levels of image quality that the quality facts tell: 0 good, 1 usable, 2 not gradable; 3: gradable alone."""
        found = set()
        for fact in self.quality:
            parts = [part.strip() for part in fact.words.replace(";", ",").split(",")]
            if known := {WORDS.quality_levels[part] for part in parts if part in WORDS.quality_levels}:
                found |= known
                continue
            terms = lexicon.read(fact.words or fact.text).terms
            found |= {int(v) for t in terms if t.kind == "quality" for v in t.values}
            found |= {3 for t in terms if t.kind == "gradable"}
        return found

    @property
    def rejected(self) -> Fact | None:
        """The fact that graders or AutoMorph held the image not fit to be judged."""
        return next((f for f in self.quality if WORDS.quality_levels.get(f.words) == 2), None)

    @property
    def ungradable(self) -> Fact | None:
        """The fact that nothing can be told of the image, where there is one."""
        return next((f for f in self.quality if f.name == "ungradable"), None)
