"""The kinds of facts that a dataset page may name: each reads what the files hold on one image and says what it means."""

import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from retinal_lib.check.language.negation import AFFIRMED, NEGATED
from retinal_lib.check.language.statements import of_label, of_note
from retinal_lib.dataset import lesion_facts, measurements
from retinal_lib.dataset.cells import values
from retinal_lib.dataset.cells.notes import without_plans
from retinal_lib.dataset.image import DISAGREE, Codes, Column, ExcludedImage, Image, names_of
from retinal_lib.dataset.lesions.wording import is_count
from retinal_lib.dataset.tables import Code, Table, code, fold
from retinal_lib.errors import UserError, unknown
from retinal_lib.facts import ASPECTS, Fact, Facts, Source
from retinal_lib.parsing import packaged_yaml
from retinal_lib.text.reply_text import plain
from retinal_lib.text.training_text import cell_problem, personal

NOT_GRADABLE = "not gradable"
_MANY = 200  # rows of a table that is large enough for all levels of a scale


class Kind(BaseModel):
    """A kind of facts with its settings; `gives` names its aspects, `label` marks kinds that must agree where an image has
    several rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    label: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ()

    def facts(self, image: Image) -> Facts:
        """Returns the facts of this kind. ExcludedImage: the cells contradict themselves or hold an impossible value."""
        raise NotImplementedError

    def label_facts(self, image: Image) -> tuple[Fact, ...]:
        """Returns the facts that images may be chosen by. ExcludedImage: as `facts`."""
        return self.facts(image).facts

    def columns(self) -> list[Column]:
        """Returns the columns that must be in a labelled table."""
        return []

    def optional(self) -> list[Column]:
        """Returns the columns that are told where a table has them."""
        return []

    def notes_on(self, content: Table, has: Callable[[str | list[str]], bool]) -> list[str]:
        """Returns sentences on what a label table lacks of what the kind tells; `has` says whether there is a column."""
        wanted = [names for column in self.optional() for names in names_of(column)]
        lost = [names if isinstance(names, str) else names[0] for names in wanted if not has(names)]
        return [f"{content.path.name} has no column {', '.join(map(repr, lost))}: not told"] if lost else []


@cache
def _published() -> dict[str, dict]:
    return packaged_yaml(Path(__file__).with_name("scales.yaml"))


@cache
def scales() -> dict[str, dict]:
    """Returns the grading scales by name: those of scales.yaml, and those of the pages that were read."""
    return dict(_published())


class GradingScale(BaseModel, extra="forbid", frozen=True):
    """A grading scale of a page's own, see scales.yaml."""

    title: str
    of: str  # the disease that is graded
    form: Literal["noun", "criterion", "clause", "presence"] = "noun"
    source: str = ""
    levels: dict[int, str] = Field(min_length=2)


def own_scales(given: object, page: Path) -> None:
    """Makes the scales of a page known; what is none is left to the page's own check. UserError: a published scale bears the
    name, and means something else."""
    for name, entry in given.items() if isinstance(given, dict) else ():
        try:
            scale = GradingScale.model_validate(entry).model_dump()
        except ValidationError:
            continue
        if name in _published():
            raise UserError(f"{page}: scales: {name} is a published scale; give the dataset's own another name")
        scales()[name] = scale


def denies(fact: Fact) -> bool:
    """Says whether a fact says that there is no disease or lesion, and nothing else."""
    if fact.unit in scales() and fact.unit not in _published():
        return of_label(fact.words).normal or {says for _, says in of_label(fact.words).conditions} == {NEGATED}
    if fact.unit:
        return (fact.unit in scales() or is_count(fact)) and not fact.value  # the lowest level of each scale denies
    if fact.aspect in ("image", "quality"):
        return False
    if fact.aspect == "disease" and fact.name in ("normal", "absent"):
        return True
    # what a note calls normal may be something else than the eye
    statement = (of_note if fact.aspect in ("vascular", "notes") else of_label)(fact.words)
    stated = {stated for _, stated in statement.conditions}
    return AFFIRMED not in stated and (statement.normal or bool(statement.denied) or stated == {NEGATED})


def _known(what: str, names: Callable[[], Iterable[str]]) -> AfterValidator:
    """A check of a page's value: ValueError, which lists what would be right."""

    def check(name: str) -> str:
        if name not in names():
            raise ValueError(str(unknown(what, name, names())))
        return name

    return AfterValidator(check)


Aspect = Annotated[str, _known("aspect", lambda: ASPECTS)]
Scale = Annotated[str, _known("scale", scales)]


class Grade(Kind):
    """A grade on a published scale, or one of the page's own. `values`: what cells stand for, where they do not hold the grade
    itself (words beside it, or other numbers in its place); a cell in `ungradable` says that the image could not be graded, one
    in `unclear` has no confirmed meaning."""

    column: Column
    scale: Scale
    name: str = "grade"
    values: dict[Code, int] = {}
    ungradable: Codes = []
    unclear: Codes = []

    @model_validator(mode="after")
    def _of_the_scale(self) -> "Grade":
        known = [*scales()[self.scale]["levels"], *self.ungradable, *self.unclear]
        if other := {level for level in self.values.values() if str(level) not in map(code, known)}:
            raise ValueError(f"values: {min(other)} is no level of {self.scale}; its levels are {', '.join(map(str, known))}")
        return self

    @property
    def gives(self) -> tuple[str, ...]:
        """Disease, and quality where the column says which images could not be graded."""
        return ("disease", "quality") if self.ungradable else ("disease",)

    def columns(self) -> list[Column]:
        return [self.column]

    def notes_on(self, content: Table, has: Callable[[str | list[str]], bool]) -> list[str]:
        """Notes levels that a large table never holds: some copies keep only whether a grade is referable."""
        notes, levels = [], {str(level) for level in scales()[self.scale]["levels"]}
        for names in names_of(self.column) if len(content) >= _MANY and not self.values else ():
            cells = content.column(names) if content.find(names) else ()
            found = sorted(levels & set(map(code, cells)))
            if cells and len(found) < len(levels):
                notes.append(
                    f"{content.path.name}: of the levels {min(levels)} to {max(levels)}, the column {names!r} holds "
                    f"{', '.join(found) or 'none'} alone; are these its grades?"
                )
        return notes

    def facts(self, image: Image) -> Facts:
        scale = scales()[self.scale]
        what = f"the grade of {scale['of']}"
        cell = image.record.cell(self.column)
        value = {code(key): level for key, level in self.values.items()}.get(code(cell.text), cell.text)
        if code(value) in map(code, self.unclear):
            return Facts(missing=(f"{what} is not known: {cell.source} holds {cell.text!r}, which has no confirmed meaning",))
        if code(value) in map(code, self.ungradable) or values.says_ungradable(cell.text):
            value = next((each for each in self.ungradable if code(each) == code(value)), value)
            return Facts((ungradable(value, cell.source),))
        numbered = any(code(key).isdecimal() for key in self.values)  # such as 1 for grade 0: then 0 is none
        allowed = [*(() if numbered else scale["levels"]), *self.ungradable, *self.unclear]
        value, source, missing = image.record.whole_number(self.column, allowed, what, self.values)
        if value is None:
            return Facts(missing=missing)
        words = scale["levels"][value]
        joint = "meaning" if scale["form"] in ("noun", "criterion") else "meaning that"
        text = f"{what} is {value} on the {scale['title']} ({min(scale['levels'])} to {max(scale['levels'])}), {joint} {words}"
        return Facts((Fact("disease", self.name, value, self.scale, text, source, words),))


_MARKED = "the graders marked the image as not gradable"


def ungradable(value: Code, source: Source, text: str = _MARKED, by: str = "graders") -> Fact:
    """Returns the fact that graders could not grade the image."""
    return Fact("quality", "ungradable", value, by, text, source, NOT_GRADABLE)


class Quality(Kind):
    """A graded image quality; at a level in `ungradable` nothing else is told of the image."""

    gives: ClassVar[tuple[str, ...]] = ("quality",)
    column: Column
    by: str = "graders"
    levels: dict[Code, str]
    ungradable: Codes = []

    def columns(self) -> list[Column]:
        return [self.column]

    def facts(self, image: Image) -> Facts:
        codes = {code(key): place for place, key in enumerate(self.levels)}
        place, source, missing = image.record.whole_number(self.column, [], "the image quality", codes)
        if place is None:
            return Facts(missing=missing)
        value, words = list(self.levels.items())[place]
        text = f"the {self.by} graded the image quality as {words}"
        if code(value) in map(code, self.ungradable) or values.says_ungradable(words):
            return Facts((ungradable(value, source, text, self.by),))
        return Facts((Fact("quality", "quality", value, self.by, text, source, words),))


class Person(Kind):
    """Age and sex from the patient's record, or the age from a DICOM header. An age in `placeholder` is none; `sexes` says what
    cells stand for."""

    gives: ClassVar[tuple[str, ...]] = ("patient",)
    age: Column | None = None
    sex: Column | None = None
    placeholder: list[int] = []
    sexes: dict[Code, Literal["male", "female"]] = {"male": "male", "female": "female"}

    def optional(self) -> list[Column]:
        return [column for column in (self.age, self.sex) if column is not None]

    def facts(self, image: Image) -> Facts:
        facts, missing, record = [], [], image.record
        if record.disagrees:
            return Facts(missing=(DISAGREE,))
        age, source = record.cell(self.age)[:2] if self.age and record.has(self.age) else ("", None)
        broken = values.has_fraction(age) and not record.mostly_has_fractions(source)
        years, told = None if broken else values.age(age), record.age
        if told and years and abs(years - told) > 1 and years not in self.placeholder:
            raise ExcludedImage(f"{source} is {age!r}, but the DICOM header of the picture says {told} years")
        if told and (years is None or years in self.placeholder):
            years, source = told, Source(f"{image.path.name}, DICOM header")
        if years is not None and years not in self.placeholder:
            text, words = f"the patient was {years} years old", f"{years} years old"
            facts.append(Fact("patient", "age", years, "years", text, source, words, "patient"))
        elif age:
            shown = personal(age) or repr(age)
            missing.append(f"the age is not known: {source} holds {shown}, which is no usable age")
        sexes = {code(cell): sex for cell, sex in self.sexes.items()}
        cell, source = record.cell(self.sex)[:2] if self.sex and record.has(self.sex) else ("", None)
        if sex := sexes.get(code(cell)):
            facts.append(Fact("patient", "sex", sex, "", f"the patient is {sex}", source, sex, "patient"))
        elif cell:
            missing.append(f"the sex is not known: {source} holds {cell!r}, expected {' or '.join(map(str, self.sexes))}")
        return Facts(tuple(facts), tuple(missing))


class Number(Kind):
    """A number on record of the eye or the person: `name` in the words of a sentence, its `unit`, and the `range` in which it
    is plausible. One whose `scope` is the image, or whose name says that it was measured in it, such as a cup-to-disc ratio, is
    not told of a picture that is not gradable."""

    gives: ClassVar[tuple[str, ...]] = ("patient",)
    column: Column
    name: str
    unit: str = ""
    range: tuple[float, float]
    scope: Literal["image", "eye", "patient"] = "patient"
    exclude: list[float] = []  # numbers that stand for a missing one

    def columns(self) -> list[Column]:
        return [self.column]

    def facts(self, image: Image) -> Facts:
        (value, cell, why), (low, high) = image.record.decimal(self.column), self.range
        if not cell.text:
            return Facts(missing=(f"the {self.name} is not known: {cell.unknown}",) if image.record.rows else ())
        if value is None or value in self.exclude or not low <= value <= high:
            expected = why or f"expected a number from {low:g} to {high:g}"
            return Facts(missing=(f"the {self.name} is not told: {cell.source} holds {cell.text!r}; {expected}",))
        unit = f" {self.unit}" if self.unit and self.unit != "%" else self.unit
        text = f"the {self.name} is {value:g}{unit}"
        scope = "image" if measurements.is_of_picture(self.name) else self.scope
        return Facts((Fact("patient", self.name, value, self.unit, text, cell.source, self.name, scope),))


class Columns(Kind):
    """Free text columns, each under an aspect. A text is not told that holds what a column of `private` does, such as a name,
    or a word of `unclear`, which means something else in the table's language than in English."""

    aspects: dict[str, Aspect]  # column -> aspect
    private: list[str] = []
    unclear: list[str] = []

    @property
    def gives(self) -> tuple[str, ...]:
        """The aspects that the columns are told under."""
        return tuple(dict.fromkeys(self.aspects.values()))

    def optional(self) -> list[Column]:
        return list(self.aspects)

    def facts(self, image: Image) -> Facts:
        facts, missing, hidden = [], [], []
        foreign = any(row.table.is_foreign for row in image.record.rows)
        for column, aspect in self.aspects.items():
            if not image.record.has(column):
                continue
            cell, source, _ = image.record.cell(column)
            cell = values.in_english(plain(cell)) if aspect == "disease" else plain(cell)
            other_reason = values.untold(cell, image.eye, foreign)
            if why := cell_problem(cell) or self._unfit(cell, image) or other_reason:
                missing.append(f"{source} is not told: {why}")
                if aspect in ("disease", "notes"):
                    fact = _recorded(aspect, column, values.written_out(cell), source)
                    hidden.append(fact._replace(scope="patient" if other_reason else "eye"))  # of which eye is not sure
                continue
            # a line break parts statements: 'no DR' above 'glaucoma' denies no glaucoma
            text = "; ".join(filter(None, (" ".join(line.split()).rstrip(".;,") for line in cell.splitlines())))
            text, plans = without_plans(text)
            if plans:
                missing.append(f"{source}: {plans!r} is not told, as it is a plan or refers to another text")
            text = values.written_out(text)
            if text and not (aspect != "disease" and fold(text) == "none"):  # of disease, 'none' says that there is none
                facts.append(_recorded(aspect, column, text, source))
        return Facts(tuple(facts), tuple(missing), tuple(hidden))

    def _unfit(self, text: str, image: Image) -> str:
        """Why a text is not told: it names a person as another column does, or is unclear; "" where it may be."""
        words = set(re.findall(r"[^\W_]+", text.casefold()))
        if values.is_other(text):
            return f"{text!r} names no disease"
        if unclear := words.intersection(self.unclear):
            return f"{min(unclear).upper()!r} may mean something else in this table's language than in English"
        named = (c for c in self.private if not words.isdisjoint(values.names_in(image.record.cell(c).text)))
        return next((f"it holds what the column {column!r} does" for column in named), "")


def _recorded(aspect: str, column: str, text: str, source: Source) -> Fact:
    """A text as it was written down; an image that somebody called ungradable counts as such."""
    if values.says_ungradable(text):
        return ungradable(text, source, "the image was called not gradable")
    words = text.casefold() if aspect == "quality" and text.istitle() and text.isalpha() else text  # Good: a grade, no sentence
    return Fact(aspect, column, words, "", words, source, words)


class Say(Kind):
    """One statement that holds for every image, or for those in `only`."""

    label: ClassVar[bool] = False
    aspect: Aspect
    name: str
    text: str
    words: str = ""
    source: str = ""
    only: list[str] = []

    @property
    def gives(self) -> tuple[str, ...]:
        """The statement's aspect."""
        return () if self.only else (self.aspect,)

    def facts(self, image: Image) -> Facts:
        if self.only and image.stem.casefold() not in {name.casefold() for name in self.only}:
            return Facts()
        source = Source(self.source or "dataset page")
        return Facts((Fact(self.aspect, self.name, 1, "", self.text, source, self.words or self.text),))


class AutoMorphFacts(Kind):
    """AutoMorph's image quality and measurements."""

    label: ClassVar[bool] = False
    gives: ClassVar[tuple[str, ...]] = ("quality", "vascular")

    def facts(self, image: Image) -> Facts:
        if image.automorph is None:
            return Facts()
        ambiguous = image.automorph.ambiguous
        return Facts((*self.label_facts(image), *image.automorph.measurements), (ambiguous,) if ambiguous else ())

    def label_facts(self, image: Image) -> tuple[Fact, ...]:
        quality = image.automorph.quality if image.automorph else None
        return (quality,) if quality else ()


class Boxes(Kind):
    """Lesion boxes from the masks that the page declares; a description names at most `max_boxes` per lesion type. `centres`:
    those of landmarks that the page declares are told too."""

    label: ClassVar[bool] = False
    max_boxes: int = 10
    centres: bool = False
    gives: ClassVar[tuple[str, ...]] = ("lesion",)

    def facts(self, image: Image) -> Facts:
        return lesion_facts.facts(image.masks, image.path, image.record, image.crop, self.max_boxes, self.centres)

    def label_facts(self, image: Image) -> tuple[Fact, ...]:
        return ()  # to choose images, masks are not read: that takes seconds for each
