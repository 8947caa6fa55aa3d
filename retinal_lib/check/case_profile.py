"""The facts of a case, looked up by condition, grade, image quality and name."""

from functools import lru_cache

from retinal_lib.check.language import lexicon, negation, statements
from retinal_lib.check.language.lexicon import VOCABULARY, beside, forms_of, implied, word_lists
from retinal_lib.check.language.negation import AFFIRMED, NEGATED, polarity
from retinal_lib.check.language.statements import Statement
from retinal_lib.dataset import fact_kinds, measurements
from retinal_lib.dataset.lesions.wording import ENDINGS
from retinal_lib.facts import Case, Fact

WORDS = word_lists("case_profile")
_ADJECTIVES = word_lists("image_and_person").adjectives  # of image quality, with the levels that they may stand for

PRESENT, ABSENT, POSSIBLE, SUSPECTED = "present", "absent", "possible", "suspected"
ANY_DISEASE = "everything"  # absent where the eye is labelled normal
_STATUS_OF = {AFFIRMED: PRESENT, NEGATED: ABSENT, negation.SUSPECTED: SUSPECTED}


@lru_cache(maxsize=4096)
def _condition_statuses(aspect: str, name: str, value: object, unit: str, words: str, text: str) -> tuple[tuple[str, str], ...]:
    """(condition, status) for all conditions that a fact names, without those that they imply."""
    if unit in VOCABULARY["levels"]:
        level = VOCABULARY["levels"][unit].get(value, {})
        return tuple((condition, status) for status in (PRESENT, ABSENT, POSSIBLE) for condition in level.get(status, ()))
    if aspect == "lesion":
        if name.endswith(ENDINGS) or not isinstance(value, int | float):
            return ()
        return tuple((c, PRESENT if value else ABSENT) for c in lexicon.conditions(words))
    if name == "normal" or (aspect == "patient" and words == "normal"):
        return ((ANY_DISEASE, ABSENT),)
    if aspect == "patient" and isinstance(value, float):  # what lasts for some years is there
        lasts = value > 0 and words.startswith("duration of")
        return tuple((condition, PRESENT) for condition in lexicon.conditions(words)) if lasts else ()
    if aspect == "disease" or (aspect == "patient" and name not in ("age", "sex")):
        if unit and unit not in fact_kinds.scales():  # what is left of these are a page's own
            return ()
        statement = statements.of_label(words)
    elif aspect in ("notes", "quality", "image", "vascular"):
        statement = statements.of_note(text)
    else:
        return ()
    everything = ((ANY_DISEASE, ABSENT),) if statement.normal else ()
    return everything + tuple((c, _STATUS_OF.get(stated, POSSIBLE)) for c, stated in statement.conditions)


@lru_cache(maxsize=64)
def _conditions_of(labels: tuple[str, ...]) -> frozenset[str]:
    return frozenset(c for words in labels for c in lexicon.conditions(words))


@lru_cache(maxsize=4096)
def _severity(words: str) -> int:
    """The severity of diabetic retinopathy in the words of a diagnosis; 0 where they give none."""
    text = lexicon.read(words)
    levels = {t.value for t in text.of("severity") if len(t.values) == 1 and polarity(text, t) == AFFIRMED}
    return levels.pop() if len(levels) == 1 else 0


class CaseProfile:
    """What the facts of a case say of conditions: the fact by condition in `present`, `absent`, `possible` and `suspected`, in
    `patient` for labels of both eyes together."""

    def __init__(self, case: Case):
        self.case = case
        self.present: dict[str, Fact] = {}
        self.absent: dict[str, Fact] = {}
        self.possible: dict[str, Fact] = {}  # a grade or list of labels leaves it open
        self.suspected: dict[str, Fact] = {}
        self.patient: dict[str, Fact] = {}
        self.grades: list[Fact] = []
        self.severity: tuple[int, Fact] | None = None
        self.normal: Fact | None = None
        self.quality: list[Fact] = []
        self.facts: dict[str, Fact] = {}
        self.records = [f for f in case.facts if f.text == f.words]  # told in the words of a free text column
        self.lists_all = False  # every condition without a label was looked for and is absent
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
                self._add_disease(fact)
            self._add(fact)

    def _add_disease(self, fact: Fact) -> None:
        listed = fact.name != "absent" and fact.text.startswith(("the image is labelled", "this eye is labelled"))
        self.lists_all = self.lists_all or (listed and not self.case.graded_only)
        level = fact.value if fact.unit == "ICDR" else _severity(fact.words) if not fact.unit else 0
        if level:
            self.severity = (int(level), fact)
        statement = Statement() if fact.unit else statements.of_label(fact.words)
        self.lists_all = self.lists_all or statement.complete
        if fact.name == "normal" or statement.normal:
            self.normal = fact

    def _add(self, fact: Fact) -> None:
        for condition, status in _condition_statuses(
            fact.aspect, fact.name, fact.value if not isinstance(fact.value, tuple) else None, fact.unit, fact.words, fact.text
        ):
            if fact.scope == "patient":
                if status == PRESENT:
                    self.patient.update(dict.fromkeys((condition, *implied(condition)), fact))
                continue
            if status == PRESENT:
                for each in (condition, *implied(condition), *beside(condition)):
                    self.present.setdefault(each, fact)
            elif status == ABSENT:
                self.absent.setdefault(condition, fact)
            elif status == SUSPECTED:
                for each in (condition, *implied(condition)):
                    self.suspected.setdefault(each, fact)
            else:
                self.possible.setdefault(condition, fact)

    def status(self, condition: str) -> tuple[str | None, Fact | None]:
        """Returns whether a condition is present, suspected, possible or absent, with the fact; (None, None) where no
        fact says. Where a condition is absent, so are its forms; where all its forms are, so is the condition."""
        held = {PRESENT: self.present, SUSPECTED: self.suspected, POSSIBLE: self.possible}
        for status, facts in held.items():
            if condition in facts:
                return status, facts[condition]
        every = (ANY_DISEASE,) if self._is_listed((condition,)) else ()
        for each in (condition, *implied(condition), *every):
            if each in self.absent:
                return ABSENT, self.absent[each]
        forms = forms_of(condition)
        if len(forms) > 1 and all(each in self.absent for each in forms):
            return ABSENT, self.absent[min(forms)]
        return None, None

    def status_of(self, conditions: tuple[str, ...]) -> tuple[str | None, Fact | None]:
        """Returns the status of a name that may mean several conditions: of the one that the facts name."""
        statuses = [self.status(condition) for condition in conditions]
        return next(
            (s for expected in (PRESENT, SUSPECTED, POSSIBLE, ABSENT) for s in statuses if s[0] == expected), (None, None)
        )

    def was_looked_for(self, conditions: tuple[str, ...]) -> bool:
        """Says whether a condition of which no fact tells was looked for, so that it is absent: any, or one of a list."""
        return self.lists_all and self._is_listed(conditions)

    def _is_listed(self, conditions: tuple[str, ...]) -> bool:
        """Whether a condition stands in the closed list of labels; any does where there is no such list."""
        listed = _conditions_of(self.case.looked_for)
        return not listed or any(c in listed or not implied(c).isdisjoint(listed) for c in conditions)

    @property
    def diseased(self) -> Fact | None:
        """A fact that says that the eye is not normal; None where there is none."""
        return next((f for c, f in self.present.items() if f.aspect in ("disease", "lesion")), None)

    @property
    def levels(self) -> set[int]:
        """The levels of image quality in the facts: 0 good, 1 usable, 2 not gradable; 3: a fact says gradable and no more."""
        levels = set()
        for fact in self.quality:
            parts = [part.strip() for part in fact.words.replace(";", ",").split(",")]
            if named := {WORDS.quality_levels[part] for part in parts if part in WORDS.quality_levels}:
                levels |= named
                continue
            terms = lexicon.read(fact.words or fact.text).terms
            named = {int(v) for t in terms if t.kind == "quality" for v in t.values}
            named |= {3 for t in terms if t.kind == "gradable"}
            levels |= named or {level for part in parts for level in _ADJECTIVES.get(part, ())}  # poor, in a column
        return levels

    @property
    def rejected(self) -> Fact | None:
        """The fact that graders or AutoMorph rejected the image; None where there is none."""
        return next((f for f in self.quality if WORDS.quality_levels.get(f.words) == 2), None)

    @property
    def ungradable(self) -> Fact | None:
        """The fact that the image cannot be graded; None where there is none."""
        return next((f for f in self.quality if f.name == "ungradable"), None)
