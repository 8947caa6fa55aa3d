"""The kinds of facts that are labels: what a table's columns or words say of diseases; and all kinds by their names."""

import re
from collections.abc import Iterable
from functools import cached_property
from typing import ClassVar, Literal

from pydantic import BaseModel, field_validator, model_validator

from retinal_lib.check.language import lexicon
from retinal_lib.check.language.negation import AFFIRMED, NEGATED, SUSPECTED
from retinal_lib.check.language.statements import of_label
from retinal_lib.dataset import measurements
from retinal_lib.dataset.cells import values
from retinal_lib.dataset.cells.notes import agreeing, contradicts, noted_in, tells_ratio, unsaid
from retinal_lib.dataset.fact_kinds import (
    Aspect,
    AutoMorphFacts,
    Boxes,
    Columns,
    Grade,
    Kind,
    Number,
    Person,
    Quality,
    Say,
    scales,
    ungradable,
)
from retinal_lib.dataset.image import Codes, Column, ExcludedImage, Image, WholeNumber, in_list, names_of
from retinal_lib.dataset.lesions.wording import is_count
from retinal_lib.dataset.tables import Code, code, fold
from retinal_lib.facts import Fact, Facts, Source
from retinal_lib.text.reply_text import plain

MOST_DENIED = 3  # conditions of a short list of labels, each of which is told also where it is not there
SAYS = "the label of the image says"  # of diseases that were judged by name, beside which nothing is known
NOTHING = "no abnormality among the conditions that were looked for"


class Condition(BaseModel, extra="forbid", frozen=True):
    """A condition of `flags`: its words, and where they differ from those of all, its column and the cells that say that it is
    there or not."""

    words: str
    column: Column | None = None
    present: Code | list[Code] | None = None
    absent: Code | list[Code] | None = None


class Flags(Kind):
    """Columns of one condition each, which is there (`present`) or not (`absent`). `overall` is a column that says whether
    anything was found, `normal` its value for a normal image. Without one, the labels say nothing of other conditions. Codes
    that are `unconfirmed` have no known meaning."""

    labels: dict[str, str | Condition]
    present: Code | list[Code] = 1
    absent: Code | list[Code] = 0
    alias: dict[str, str] = {}  # spelling in the file -> code on the page
    overall: str | None = None
    normal: int | None = None
    normal_words: str = ""
    unconfirmed: list[str] = []
    scope: Literal["image", "eye"] = "image"

    gives: ClassVar[tuple[str, ...]] = ("disease",)

    @model_validator(mode="after")
    def _whole(self) -> "Flags":
        if self.overall and (self.normal is None or not self.normal_words):
            raise ValueError("overall needs normal (its value for a normal image) and normal_words beside it")
        return self

    @cached_property
    def conditions(self) -> dict[str, Condition]:
        """The conditions by their codes."""
        return {name: Condition(words=c) if isinstance(c, str) else c for name, c in self.labels.items()}

    @property
    def few(self) -> bool:
        """Whether a few conditions by name were judged, and nothing beside them."""
        return _denies_one(self.normal_words) if self.overall else len(self.labels) <= MOST_DENIED

    def columns(self) -> list[Column]:
        return [self.overall] if self.overall else [self._column(name, c) for name, c in self.conditions.items()]

    def _column(self, name: str, condition: Condition) -> Column:
        spellings = [written for written, of in self.alias.items() if fold(of) == fold(name)]
        return condition.column or ([name, *spellings] if spellings else name)

    def read(self, image: Image) -> dict[str, WholeNumber]:
        """Returns for each condition that has a column 1 (there), 0 (not there), or why nothing is known. ExcludedImage: a cell
        holds something else."""
        found = {}
        for name, condition in self.conditions.items():
            column = self._column(name, condition)
            if image.record.has(column):
                found[name] = self._value(image, name, condition)
        order = {title: k for row in image.record.rows[:1] for k, title in enumerate(row.table.header)}
        return dict(sorted(found.items(), key=lambda each: order.get(each[1].source.column, 0)))  # as the table has them

    def _value(self, image: Image, name: str, condition: Condition) -> WholeNumber:
        codes = dict.fromkeys(in_list(self.absent if condition.absent is None else condition.absent), 0)
        codes |= dict.fromkeys(in_list(self.present if condition.present is None else condition.present), 1)
        return image.record.whole_number(self._column(name, condition), [], f"the label {name}", codes)

    def facts(self, image: Image) -> Facts:
        if self.overall:
            overall, source, missing = image.record.whole_number(self.overall, [0, 1], "whether the image is normal")
            if overall is None:
                return Facts(missing=missing)
        found, conditions, facts = self.read(image), self.conditions, []
        missing = [why for cell in found.values() for why in cell.missing]
        for name, (value, cell, _) in found.items():
            words = conditions[name].words
            if value:
                text = f"{SAYS} {words}" if self.few else f"the image is labelled with {words}"
                facts.append(Fact("disease", name, 1, "", text, cell, words, self.scope))
            elif value == 0 and self.few and not self.overall:
                facts.append(_denial(f"no {words}", cell, self.scope))
        unexplained = [name for name in self.unconfirmed if self._is_positive(image, name)]
        missing += [f"the label {name} is positive but has no confirmed meaning; it is not told" for name in unexplained]
        labelled = ", ".join([fact.name for fact in facts if fact.name != "absent"] + unexplained)
        if self.overall:
            facts += self._verdict(overall, source, labelled)
        elif not labelled and not self.few and any(cell.value == 0 for cell in found.values()):
            cell = next(cell.source for cell in found.values() if cell.value == 0)
            facts.append(Fact("disease", "normal", 1, "", f"the image is labelled as showing {NOTHING}", cell, NOTHING))
        return Facts(tuple(facts), tuple(missing))

    def _verdict(self, overall: int, source: Source, labelled: str) -> list[Fact]:
        """What the column for all conditions says. ExcludedImage: it contradicts them."""
        if overall != self.normal and not labelled:
            raise ExcludedImage(f"{source}: {self.overall} is {overall} (not normal) though no condition is labelled")
        if overall != self.normal:
            return []
        if labelled:
            raise ExcludedImage(f"{source}: {self.overall} is {overall} (normal) though {labelled} is labelled")
        words = self.normal_words
        if self.few:
            return [_denial(words, source, self.scope)]
        return [Fact("disease", "normal", 1, "", f"the image is labelled as showing {words}", source, words)]

    def _is_positive(self, image: Image, name: str) -> bool:
        return image.record.has(name) and bool(self._value(image, name, Condition(words=name)).value)


class Label(Kind):
    """A column of codes, with the words that each stands for; null: its meaning is not confirmed, so that it is not told. Cells
    in `ungradable` say that the image could not be graded, those in `exclude` that it must not be used. Of diseases other than
    those that it names it says nothing, unless its words call the eye normal."""

    column: Column
    values: dict[Code, str | None]
    name: str = ""
    aspect: Aspect = "disease"
    scope: Literal["image", "eye", "patient"] = "image"
    ungradable: Codes = []
    exclude: dict[Code, str] = {}

    @property
    def gives(self) -> tuple[str, ...]:
        """The aspect that the words are told under, and quality where the column says which images could not be graded."""
        return (self.aspect, "quality") if self.ungradable else (self.aspect,)

    @property
    def fact_name(self) -> str:
        """The name of its facts."""
        return self.name or _name(self.column)

    @property
    def judged(self) -> tuple[str, ...]:
        """The diseases that the words name."""
        told = (words for words in self.values.values() if words and self.aspect == "disease")
        return tuple(dict.fromkeys(name for words in told for name in of_label(words).names))

    def columns(self) -> list[Column]:
        return [self.column]

    def facts(self, image: Image) -> Facts:
        cell, what = image.record.cell(self.column), self.fact_name
        written = code(cell.text)
        if not cell.text:
            return Facts(missing=(f"{what} is not known: {cell.unknown}",) if image.record.rows else ())
        if why := {code(key): why for key, why in self.exclude.items()}.get(written):
            raise ExcludedImage(f"{cell.source} is {cell.text!r}: {why}")
        book = {code(key): words for key, words in self.values.items()}
        if written in map(code, self.ungradable) or values.says_ungradable(book.get(written) or cell.text):
            return Facts((ungradable(cell.text, cell.source),))
        if written not in book:
            expected = ", ".join(map(str, [*self.values, *self.ungradable]))
            raise ExcludedImage(f"{cell.source}: found {cell.text!r}; expected one of {expected}")
        if not (words := book[written]):
            return Facts(missing=(f"{what} is not told: {cell.source} holds {cell.text!r}, which has no confirmed meaning",))
        if self.aspect != "disease":
            return Facts((Fact(self.aspect, what, cell.text, "", words, cell.source, words, self.scope),))
        normal = of_label(words).normal
        name = "normal" if normal else "absent" if _denies_one(words) else what
        text = f"{SAYS} {words}"
        return Facts((Fact("disease", name, 1 if normal else cell.text, "", text, cell.source, words, self.scope),))


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

    @property
    def judged(self) -> tuple[str, ...]:
        """The one disease that was judged, where the word for normal denies that alone; empty where others were looked for."""
        words = self._told(self.normal)
        return (words.removeprefix("no "),) if _denies_one(words) else ()

    def columns(self) -> list[Column]:
        return [self.column]

    def facts(self, image: Image) -> Facts:
        text, source, _ = cell = image.record.cell(self.column)
        keywords = list(dict.fromkeys(filter(None, (fold(k) for k in re.split(f"[{self.separators}]", plain(text))))))
        if not keywords:
            return Facts(missing=(f"the diagnosis is not known: {cell.unknown}",) if image.record.rows else ())
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

    def _told(self, keyword: str) -> str:
        """A keyword as it is told."""
        for written, right in self.spelling.items():
            keyword = re.sub(rf"\b{re.escape(written)}\b", right, keyword)
        return keyword

    def _diagnosis(self, keyword: str, source: Source) -> Fact:
        words = self._told(keyword)
        if keyword == self.normal and _denies_one(words):
            # 'no referable glaucoma' leaves every other disease open
            return Fact("disease", "absent", keyword, "", f"this eye is labelled {words}", source, words, "eye")
        if keyword == self.normal:
            return Fact("disease", "normal", 1, "", f"this eye is labelled {words}", source, words, "eye")
        return Fact("disease", "diagnosis", keyword, "", f"this eye is labelled with {words}", source, words, "eye")


class PatientLabels(Kind):
    """Labels of the patient, both eyes together, which are there (`present`) or not: never told as the eye's. `alias`: spelling
    in a copy -> code on the page."""

    gives: ClassVar[tuple[str, ...]] = ("patient",)
    labels: dict[str, str]
    present: Code | list[Code] = 1
    absent: Code | list[Code] = 0
    alias: dict[str, str] = {}

    def optional(self) -> list[Column]:
        return [self._column(name) for name in self.labels]

    def _column(self, name: str) -> list[str]:
        return [name, *(written for written, of in self.alias.items() if of == name)]

    def read(self, image: Image) -> dict[str, WholeNumber]:
        """Returns for each label that has a column 1 (there), 0 (not there), or why nothing is known. ExcludedImage: a cell
        holds something else."""
        codes, found = dict.fromkeys(in_list(self.absent), 0) | dict.fromkeys(in_list(self.present), 1), {}
        for name in self.labels:
            column = self._column(name)
            if image.record.has(column):
                found[name] = image.record.whole_number(column, [], f"the patient's label {name}", codes)
        return found

    def facts(self, image: Image) -> Facts:
        facts, missing = [], []
        for name, (value, source, empty) in self.read(image).items():
            missing += empty
            if value:
                words = self.labels[name]
                text = f"the patient's record, for both eyes together, is labelled {words}"
                facts.append(Fact("patient", name, 1, "", text, source, words, "patient"))
        return Facts(tuple(facts), tuple(missing))


def _denial(words: str, source: Source, scope: str) -> Fact:
    return Fact("disease", "absent", words, "", f"{SAYS} {words}", source, words, scope)


def _name(column: Column) -> str:
    """What a column is called in a sentence."""
    first = names_of(column)[0]
    return first if isinstance(first, str) else first[0]


def _denies_one(words: str) -> bool:
    """Whether words deny a disease by name, and so leave every other one open: no referable glaucoma."""
    statement = of_label(words)
    said = {says for _, says in statement.conditions}
    if said & {AFFIRMED, SUSPECTED}:
        return False
    return bool(lexicon.conditions(words)) and (not statement.normal or said == {NEGATED})


KINDS: dict[str, type[Kind]] = {
    "grade": Grade,
    "flags": Flags,
    "label": Label,
    "keywords": Keywords,
    "quality": Quality,
    "person": Person,
    "number": Number,
    "patient_labels": PatientLabels,
    "columns": Columns,
    "say": Say,
    "automorph": AutoMorphFacts,
    "boxes": Boxes,
}


def graded_only(told: Iterable[tuple[Kind, Facts]], image: Image) -> tuple[str, ...]:
    """Returns what alone was judged in an image, by the kinds of its page with what each tells of it: named diseases and named
    lesions; empty where labels or keywords of many diseases, or free text on disease, are given too. An empty cell judges
    nothing, and a note is no judgement of all diseases."""
    told = [(kind, [fact for fact in found.facts if fact.aspect in ("disease", "lesion")]) for kind, found in told]
    filled = [kind for kind, found in told if found or looked_for([kind], image)]
    if any((isinstance(kind, Keywords) and not kind.judged) or (isinstance(kind, Flags) and not kind.few) for kind in filled):
        return ()
    facts = [fact for _, found in told for fact in found]
    if any(fact.aspect == "disease" and (fact.text == fact.words or fact.name == "normal") for fact in facts):
        return ()
    graded = (scales()[f.unit]["of"] for f in facts if f.aspect == "disease" and f.unit in scales())
    marked = (f.unit for f in facts if is_count(f) and f.unit)
    named = (name for kind in filled if isinstance(kind, Label | Keywords) for name in kind.judged)
    return tuple(dict.fromkeys((*graded, *marked, *looked_for(filled, image), *named)))


def settled(facts: Iterable[Fact], hidden: Iterable[Fact] = ()) -> tuple[list[Fact], list[str], frozenset[str]]:
    """Returns facts without what a note, which may be a hidden one, and a label or number of the same image say against each
    other: one of the two is wrong, and nobody knows which; items of a text that agree with all stay. With it a sentence on each
    such pair, and the conditions of which something is said that is not told."""
    facts, hidden, said, left, open_ = list(facts), list(hidden), [], {}, set()
    labels = [fact for fact in facts if fact.aspect in ("disease", "patient")]
    for note in (*(fact for fact in facts if fact.aspect == "notes" and fact.source.row is not None), *hidden):
        against = [each for each in labels if note.scope != "patient" and contradicts(note.words, each)]
        for label in against:
            for one, other in ((note, label), (label, note._replace(aspect="disease"))):
                left[one] = agreeing(left.get(one, one.words), other) if one.text == one.words else ""
            open_ |= _named([label.words]) - _named([left[label]]) if label.aspect == "disease" else set()
        rest = "" if note in hidden else left.get(note, note.words)
        open_ |= noted_in(note.words) - noted_in(rest) - _named(each.words for each in labels if each not in left)
        said += [_contradiction(note, label, note in hidden, rest) for label in against]
    told = [fact._replace(value=left[fact], text=left[fact], words=left[fact]) if left.get(fact) else fact for fact in facts]
    return [fact for fact, was in zip(told, facts, strict=True) if left.get(was, "told")], said, frozenset(open_)


def _contradiction(note: Fact, label: Fact, hidden: bool, rest: str) -> str:
    """A sentence on a note and a label or number that cannot both be true; `rest` of the note is told."""
    says, other = "its text" if hidden else repr(note.words), label.words if label.aspect == "disease" else label.text
    told = f"of the note only {rest!r} is told" if rest else "neither is told"
    return f"{note.source}: {says} contradicts {other!r} ({label.source}); {told}"


def _named(words: Iterable[str]) -> set[str]:
    """The conditions that words name, and what they imply."""
    return {each for text in words for c in lexicon.conditions(text) for each in (c, *lexicon.implied(c))}


def known_of(names: Iterable[str], withheld: frozenset[str]) -> tuple[str, ...]:
    """Returns the names of conditions of which nothing is withheld."""
    return tuple(name for name in names if withheld.isdisjoint(_named([name])))


def told_once(facts: list[Fact], missing: list[str]) -> tuple[list[Fact], list[str]]:
    """Returns facts and what is missing without texts that only repeat a label or another text of the image, and without
    AutoMorph's cup-to-disc ratios where the table has one."""
    texts = [f for f in facts if f.aspect in ("disease", "notes") and f.text == f.words and f.source.row is not None]
    said = [f.words for f in facts if f.aspect == "disease" and f not in texts]
    ratios = (f for f in facts if f.name.endswith("cup-to-disc ratio") or (f in texts and tells_ratio(f.words)))
    ratio = next((f for f in ratios if f.aspect in ("patient", "disease", "notes")), None)
    kept, lost = [], []
    for fact in facts:
        new = unsaid(fact.words, said) if fact in texts else fact.words
        if fact in texts and not new:
            lost.append(f"{fact.source} is not told: {fact.words!r} is told already")
        elif ratio and fact.name in measurements.columns() and "cup-to-disc ratio" in fact.words:
            lost.append(f"{fact.words} by AutoMorph is not told: {ratio.source} has one")
        else:
            said += [fact.words] if fact in texts else []
            kept.append(fact._replace(text=new, words=new) if fact in texts else fact)
    return kept, [*missing, *lost]


def compared(facts: Iterable[Fact]) -> tuple[tuple[str, object], ...]:
    """Returns what two rows or copies of a picture must agree on."""
    return tuple((fact.name, fact.value) for fact in facts if fact.scope != "patient")


def disagreement(of_rows: list[list[Fact]]) -> str:
    """Returns the end of a sentence on rows of one image that disagree: the columns, and the cells where they tell something.

    >>> from pathlib import Path
    >>> from retinal_lib.dataset.tables import Table
    >>> labels = Table(Path("labels.csv"), ("DR",), {"dr": ["2", "4"]}, [2, 5], "")
    >>> cells = ((labels.source(row, "DR"), cell) for row, cell in enumerate(("2", "4")))
    >>> disagreement([[Fact("disease", "grade", int(cell), "ICDR", "", s._replace(cell=cell))] for s, cell in cells])
    "; DR: '2' and '4'"
    """
    shared = set.intersection(*(set(compared(facts)) for facts in of_rows))
    odd = [{f.source.column: f.source.cell for f in facts if set(compared([f])) - shared} for facts in of_rows]
    columns = dict.fromkeys(column for told in odd for column, cell in told.items() if column and cell)
    cells = {column: [repr(told[column]) if told.get(column) else "nothing" for told in odd] for column in columns}
    return "".join(f"; {column}: {' and '.join(said)}" for column, said in cells.items())


def refuse_contradiction(labels: Iterable[Fact]) -> None:
    """ExcludedImage: what an image's cells say both states and denies a disease, whatever columns they stand in."""
    facts = [fact for fact in labels if fact.aspect == "disease"]
    there, denied = {}, {}
    for fact in facts:
        for condition, says in of_label(fact.words).conditions:
            for each in (condition, *lexicon.implied(condition)) if says in (AFFIRMED, SUSPECTED) else ():
                there.setdefault(each, fact)
            if says == NEGATED:
                denied.setdefault(condition, fact)
    if both := there.keys() & denied.keys():
        one, other = (found[min(both)] for found in (there, denied))
    elif there and (normal := next((fact for fact in facts if of_label(fact.words).normal), None)):
        one, other = next(iter(there.values())), normal
    else:
        return
    raise ExcludedImage(f"its cells contradict each other: {one.words!r} ({one.source}) and {other.words!r} ({other.source})")


def looked_for(kinds: Iterable[Kind], image: Image) -> tuple[str, ...]:
    """Returns the conditions that an image's labels of one condition each are filled for; empty where it has no such labels."""
    flags = [kind for kind in kinds if isinstance(kind, Flags)]
    return tuple(
        kind.conditions[code].words for kind in flags for code, cell in kind.read(image).items() if cell.value is not None
    )


def denied(kinds: Iterable[Kind], image: Image) -> tuple[Fact, ...]:
    """Returns what the cells of an image's row deny by name, each with its cell, also where `facts` tells it in one sentence or
    not at all; a record of both eyes that denies a condition denies it of each."""
    facts = []
    for kind in kinds:
        if isinstance(kind, Flags):
            cells, says = {kind.conditions[name].words: cell for name, cell in kind.read(image).items()}, SAYS
        elif isinstance(kind, PatientLabels):
            cells = {kind.labels[name]: cell for name, cell in kind.read(image).items()}
            says = "the patient's record, for both eyes together, says"
        else:
            continue
        zero = [(f"no {words}", cell.source) for words, cell in cells.items() if cell.value == 0]
        facts += [Fact("disease", "absent", no, "", f"{says} {no}", source, no, "eye") for no, source in zero]
    return tuple(facts)
