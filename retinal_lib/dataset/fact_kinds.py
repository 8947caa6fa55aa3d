"""The kinds of facts that a dataset page may name: each reads what the files hold on one image and says what it means."""

import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, field_validator

from retinal_lib.check.language import lexicon
from retinal_lib.check.language.negation import AFFIRMED, NEGATED
from retinal_lib.check.language.statements import of_label, of_note
from retinal_lib.dataset import lesion_facts
from retinal_lib.dataset.image import Column, ExcludedImage, Image
from retinal_lib.dataset.lesions.wording import is_count
from retinal_lib.dataset.tables import Table, fold
from retinal_lib.errors import unknown
from retinal_lib.facts import ASPECTS, Fact, Facts, Source
from retinal_lib.reply_text import plain
from retinal_lib.training_text import cell_problem

NOT_GRADABLE = "not gradable"


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


@cache
def scales() -> dict[str, dict]:
    """Returns the grading scales by name."""
    return yaml.safe_load(Path(__file__).with_name("scales.yaml").read_text(encoding="utf-8"))


def denies(fact: Fact) -> bool:
    """Says whether a fact says that there is no disease or lesion, and nothing else."""
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
    """A grade on a published scale; a number in `ungradable` says that the image could not be graded."""

    column: Column
    scale: Scale
    name: str = "grade"
    ungradable: list[int] = []

    @property
    def gives(self) -> tuple[str, ...]:
        """Disease, and quality where the column says which images could not be graded."""
        return ("disease", "quality") if self.ungradable else ("disease",)

    def columns(self) -> list[Column]:
        return [self.column]

    def facts(self, image: Image) -> Facts:
        scale = scales()[self.scale]
        what = f"the grade of {scale['of']}"
        value, source, missing = image.record.whole_number(self.column, [*scale["levels"], *self.ungradable], what)
        if value is None:
            return Facts(missing=missing)
        if value in self.ungradable:
            text = "the graders marked the image as not gradable"
            return Facts((Fact("quality", "ungradable", value, "graders", text, source, NOT_GRADABLE),))
        words = scale["levels"][value]
        joint = "meaning" if scale["form"] in ("noun", "criterion") else "meaning that"
        text = f"{what} is {value} on the {scale['title']} (0 to {max(scale['levels'])}), {joint} {words}"
        return Facts((Fact("disease", self.name, value, self.scale, text, source, words),))


class Flags(Kind):
    """0/1 columns, one per condition, with one column that says whether anything was found."""

    gives: ClassVar[tuple[str, ...]] = ("disease",)
    labels: dict[str, str]
    alias: dict[str, str] = {}  # spelling in the file -> code on the page
    overall: str  # the column that says whether the image is normal
    normal: int  # its value for a normal image
    normal_words: str

    def columns(self) -> list[Column]:
        return [self.overall]

    def facts(self, image: Image) -> Facts:
        overall, source, missing = image.record.whole_number(self.overall, [0, 1], "whether the image is normal")
        if overall is None:
            return Facts(missing=missing)
        known = {fold(code): code for code in self.labels}
        facts, unexplained, missing = [], [], []
        for code, column in self._codes(image.record.table).items():
            value, cell, empty = image.record.whole_number(column, [0, 1], f"the label {code}")
            missing += empty
            if value and fold(code) in known:
                words = self.labels[known[fold(code)]]
                facts.append(Fact("disease", known[fold(code)], 1, "", f"the image is labelled with {words}", cell, words))
            elif value:
                unexplained.append(code)
        labelled = ", ".join([fact.name for fact in facts] + unexplained)
        if overall == self.normal:
            if labelled:
                raise ExcludedImage(f"{source}: {self.overall} is {overall} (normal) though {labelled} is labelled")
            words = self.normal_words
            facts.append(Fact("disease", "normal", 1, "", f"the image is labelled as showing {words}", source, words))
        elif not labelled:
            raise ExcludedImage(f"{source}: {self.overall} is {overall} (not normal) though no condition is labelled")
        missing += [f"the label {code} is positive but has no confirmed meaning; it is not told" for code in unexplained]
        return Facts(tuple(facts), tuple(missing))

    def _codes(self, table: Table) -> dict[str, str]:
        """code -> column for every 0/1 column of the table."""
        skip = {"id", fold(self.overall)}
        alias = {fold(spelling): code for spelling, code in self.alias.items()}
        return {alias.get(fold(name), name): name for name in table.header if fold(name) not in skip}


class Keywords(Kind):
    """Free diagnostic keywords per eye: diagnoses, remarks on quality, and reasons not to use an image."""

    gives: ClassVar[tuple[str, ...]] = ("disease", "quality")
    column: Column
    separators: str = ",，"
    normal: str
    quality: dict[str, str] = {}
    exclude: list[str] = []
    spelling: dict[str, str] = {}  # as written -> as told, within a keyword

    @field_validator("normal", "quality", "exclude", "spelling", mode="after")
    @classmethod
    def _as_compared(cls, words: str | dict[str, str] | list[str]) -> str | dict[str, str] | list[str]:
        """The page's words as cells are compared with them: in any case."""
        if isinstance(words, dict):
            return {fold(written): told for written, told in words.items()}
        return [fold(word) for word in words] if isinstance(words, list) else fold(words)

    def columns(self) -> list[Column]:
        return list(self.column.values()) if isinstance(self.column, dict) else [self.column]

    def facts(self, image: Image) -> Facts:
        text, source = image.record.cell(self.column)
        keywords = list(dict.fromkeys(filter(None, (fold(k) for k in re.split(f"[{self.separators}]", plain(text))))))
        if not keywords:
            return Facts(missing=(f"the diagnosis is not known: {source} is empty",) if image.record.table else ())
        unusable = [k for k in keywords if k in self.exclude]
        if unusable:
            raise ExcludedImage(f"{source} says {unusable[0]!r}: not a picture of the fundus")
        remarks = [k for k in keywords if k in self.quality]
        diagnoses = [k for k in keywords if k not in self.quality]
        if self.normal in diagnoses and len(diagnoses) > 1:
            raise ExcludedImage(
                f"{source} contradicts itself: {self.normal!r} stands beside "
                f"{', '.join(d for d in diagnoses if d != self.normal)}"
            )
        facts = (*(self._remark(k, source) for k in remarks), *(self._diagnosis(k, source) for k in diagnoses))
        return Facts(facts, () if diagnoses else (f"the diagnosis is not known: {source} names only {', '.join(remarks)}",))

    def _remark(self, keyword: str, source: Source) -> Fact:
        words = self.quality[keyword]
        return Fact("quality", "remark", keyword, "", f"the annotators noted {words}", source, words)

    def _diagnosis(self, keyword: str, source: Source) -> Fact:
        words = keyword
        for written, right in self.spelling.items():
            words = re.sub(rf"\b{re.escape(written)}\b", right, words)
        if keyword == self.normal and lexicon.conditions(words) and not of_label(words).normal:
            # 'no referable glaucoma' leaves every other disease open
            return Fact("disease", "absent", keyword, "", f"this eye is labelled {words}", source, words, "eye")
        if keyword == self.normal:
            return Fact("disease", "normal", 1, "", f"this eye is labelled {words}", source, words, "eye")
        return Fact("disease", "diagnosis", keyword, "", f"this eye is labelled with {words}", source, words, "eye")


class Quality(Kind):
    """A graded image quality; at a level in `ungradable` nothing else is told of the image."""

    gives: ClassVar[tuple[str, ...]] = ("quality",)
    column: Column
    by: str
    levels: dict[int, str]
    ungradable: list[int] = []

    def columns(self) -> list[Column]:
        return [self.column]

    def facts(self, image: Image) -> Facts:
        value, source, missing = image.record.whole_number(self.column, list(self.levels), "the image quality")
        if value is None:
            return Facts(missing=missing)
        text = f"the {self.by} graded the image quality as {self.levels[value]}"
        if value in self.ungradable:
            return Facts((Fact("quality", "ungradable", value, self.by, text, source, NOT_GRADABLE),))
        return Facts((Fact("quality", "quality", value, self.by, text, source, self.levels[value]),))


class Person(Kind):
    """Age and sex from the patient's record. An age in `placeholder` is not an age."""

    gives: ClassVar[tuple[str, ...]] = ("patient",)
    age: str
    sex: str
    placeholder: list[int] = []

    def facts(self, image: Image) -> Facts:
        record = image.record
        if record.table is None or not (record.table.find(self.age) and record.table.find(self.sex)):
            return Facts()
        facts, missing = [], []
        age, source = record.cell(self.age)
        if re.fullmatch(r"\d+(\.0*)?", age) and 0 < float(age) < 120 and int(float(age)) not in self.placeholder:
            years = int(float(age))
            text, words = f"the patient was {years} years old", f"{years} years old"
            facts.append(Fact("patient", "age", years, "years", text, source, words, "patient"))
        elif age:
            missing.append(f"the age is not known: {source} holds {age!r}, which is no usable age")
        sex, source = record.cell(self.sex)
        if fold(sex) in ("male", "female"):
            facts.append(Fact("patient", "sex", fold(sex), "", f"the patient is {fold(sex)}", source, fold(sex), "patient"))
        elif sex:
            missing.append(f"the sex is not known: {source} holds {sex!r}, expected male or female")
        return Facts(tuple(facts), tuple(missing))


class PatientLabels(Kind):
    """0/1 labels of the patient, both eyes together: never told as the eye's."""

    gives: ClassVar[tuple[str, ...]] = ("patient",)
    labels: dict[str, str]

    def facts(self, image: Image) -> Facts:
        facts, missing, table = [], [], image.record.table
        for code, words in self.labels.items():
            if table is None or table.find(code) is None:
                continue
            value, source, empty = image.record.whole_number(code, [0, 1], f"the patient's label {code}")
            missing += empty
            if value:
                text = f"the patient's record, for both eyes together, is labelled {words}"
                facts.append(Fact("patient", code, 1, "", text, source, words, "patient"))
        return Facts(tuple(facts), tuple(missing))


class Columns(Kind):
    """Free text columns, each under an aspect."""

    aspects: dict[str, Aspect]  # column -> aspect

    @property
    def gives(self) -> tuple[str, ...]:
        """The aspects that the columns are told under."""
        return tuple(dict.fromkeys(self.aspects.values()))

    def facts(self, image: Image) -> Facts:
        facts, missing, table = [], [], image.record.table
        for column, aspect in self.aspects.items():
            if table is None or table.find(column) is None:
                continue
            cell, source = image.record.cell(column)
            cell = plain(cell)
            if why := cell_problem(cell):
                missing.append(f"{source} is not told: {why}")
                continue
            # a line break parts statements: 'no DR' above 'glaucoma' denies no glaucoma
            text = "; ".join(filter(None, (" ".join(line.split()).rstrip(".;,") for line in cell.splitlines())))
            text = re.sub(r"(?<=\w)_(?=\w)", " ", text)  # No_DR, as folders of classes are called
            if text and not (aspect != "disease" and fold(text) == "none"):  # of disease, 'none' says that there is none
                facts.append(Fact(aspect, column, text, "", text, source, text))
        return Facts(tuple(facts), tuple(missing))


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
    """Lesion boxes from the masks that the page declares; a description names at most `max_boxes` per lesion type."""

    label: ClassVar[bool] = False
    max_boxes: int = 10
    gives: ClassVar[tuple[str, ...]] = ("lesion",)

    def facts(self, image: Image) -> Facts:
        return lesion_facts.facts(image.masks, image.path, image.eye, image.crop, self.max_boxes)

    def label_facts(self, image: Image) -> tuple[Fact, ...]:
        return ()  # to choose images, masks are not read: that takes seconds for each


KINDS: dict[str, type[Kind]] = {
    "grade": Grade,
    "flags": Flags,
    "keywords": Keywords,
    "quality": Quality,
    "person": Person,
    "patient_labels": PatientLabels,
    "columns": Columns,
    "say": Say,
    "automorph": AutoMorphFacts,
    "boxes": Boxes,
}


def graded_only(kinds: Iterable[Kind], facts: Iterable[Fact]) -> tuple[str, ...]:
    """Returns what alone was looked for in an image with these facts, where its page's labels are grades of named diseases and
    masks of named lesions; empty where labels or keywords of many diseases, or free text on them, were given too."""
    if any(isinstance(kind, Flags | Keywords | Columns) and "disease" in kind.gives for kind in kinds):
        return ()
    graded = (scales()[f.unit]["of"] for f in facts if f.aspect == "disease" and f.unit in scales())
    marked = (f.unit for f in facts if is_count(f) and f.unit)
    return tuple(dict.fromkeys((*graded, *marked)))


def looked_for(kinds: Iterable[Kind]) -> tuple[str, ...]:
    """Returns the conditions that a page's 0/1 labels are for; empty where it has no such labels."""
    return tuple(words for kind in kinds if isinstance(kind, Flags) for words in kind.labels.values())
