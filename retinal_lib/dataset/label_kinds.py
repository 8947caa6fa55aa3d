"""The kinds of facts that are labels: what a table's columns or words say of diseases; and all kinds by their names."""

import re
from collections.abc import Iterable
from typing import ClassVar

from pydantic import field_validator

from retinal_lib.check.language import lexicon
from retinal_lib.check.language.statements import of_label
from retinal_lib.dataset.fact_kinds import (
    AutoMorphFacts,
    Boxes,
    Columns,
    Grade,
    Kind,
    Person,
    Quality,
    Say,
    scales,
)
from retinal_lib.dataset.image import Column, ExcludedImage, Image
from retinal_lib.dataset.lesions.wording import is_count
from retinal_lib.dataset.tables import Table, fold
from retinal_lib.facts import Fact, Facts, Source
from retinal_lib.reply_text import plain


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
