"""The kinds of facts that a dataset page may name: each reads what the files hold on one image and says what it means."""

import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict

from retinal_lib.check.language.negation import AFFIRMED, NEGATED
from retinal_lib.check.language.statements import of_label, of_note
from retinal_lib.dataset import lesion_facts
from retinal_lib.dataset.image import Column, Image
from retinal_lib.dataset.lesions.wording import is_count
from retinal_lib.dataset.tables import fold
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
