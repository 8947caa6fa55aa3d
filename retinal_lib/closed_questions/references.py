"""What the labels of an image answer: the reference of each question, from its facts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from retinal_lib.check.language.lexicon import implied
from retinal_lib.check.language.negation import AFFIRMED, NEGATED
from retinal_lib.check.language.statements import Statement, is_suspicion, of_label
from retinal_lib.closed_questions.wording import words
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.fact_kinds import NOT_GRADABLE, scales
from retinal_lib.dataset.label_kinds import Flags, Label
from retinal_lib.dataset.lesions import wording
from retinal_lib.display import listed
from retinal_lib.facts import Case, Fact


@dataclass(frozen=True)
class Topics:
    """What to ask of a dataset: its conditions, the names of the facts that state them, what its free text calls conditions
    (condition -> name), and the measurements."""

    labels: tuple[str, ...]
    names: frozenset[str]
    called: dict[str, str]
    measures: Sequence[str]

    @classmethod
    def of(cls, data: BaseDescription, cases: Sequence[Case], measures: Sequence[str]) -> "Topics":
        """Collects the conditions that a dataset's page declares or that an image has."""
        flags = (kind for kind in data.page.facts if isinstance(kind, Flags))
        declared = {code: condition.words for kind in flags for code, condition in kind.conditions.items()}
        labels = [kind for kind in data.page.facts if isinstance(kind, Label) and kind.judged]
        names = frozenset(["diagnosis", *declared, *(kind.fact_name for kind in labels)])
        told = {f.words for case in cases for f in case.about("disease") if f.name in names}
        seen = sorted(words for words in told if not is_suspicion(words))
        called: dict[str, str] = {}
        for statement in (s for case in cases for s in _free_text(case)):
            for (condition, stated), name in zip(statement.conditions, statement.names, strict=True):
                if stated == AFFIRMED:
                    called.setdefault(condition, name)
        judged = [words for kind in labels for words in kind.judged]
        return cls(tuple(dict.fromkeys([*declared.values(), *judged, *seen, *called.values()])), names, called, measures)


Questions = Iterator[tuple[str, object, dict]]  # subject, reference, and what phrasing and scoring need


def grades(case: Case, topics: Topics) -> Questions:
    """Yields each grade on a scale."""
    for fact in case.about("disease"):
        if fact.unit in scales():
            scale = scales()[fact.unit]
            slots = grade_slots(scale)
            yield fact.name, fact.value, {"scale": fact.unit, "levels": list(scale["levels"]), "slots": slots}


def grade_slots(scale: dict) -> dict[str, object]:
    """Returns what the phrasings of a grade need of its scale."""
    of = scale["of"].replace("risk of", "the risk of")
    return {"of": of, "title": scale["title"], "top": max(scale["levels"])}


def diseases(case: Case, topics: Topics) -> Questions:
    """Yields the diseases of an image, none where it is free of them and nothing where that is not known."""
    facts = [fact for fact in case.about("disease") if not fact.unit]
    normal = any(fact.name in ("normal", "absent") for fact in facts)
    conditions = [fact.words for fact in facts if fact.name in topics.names]
    if case.withheld or any(map(is_suspicion, conditions)):
        return  # nobody knows what is right
    for statement in _free_text(case):
        if any(stated not in (AFFIRMED, NEGATED) for _, stated in statement.conditions):
            return  # it leaves open what the eye has
        has = {c for c, stated in statement.conditions if stated == AFFIRMED}
        has |= {parent for condition in has for parent in implied(condition)}
        conditions += [name for condition, name in topics.called.items() if condition in has and name not in conditions]
        normal = normal or statement.normal or bool(statement.conditions)
    if conditions or normal:
        yield "diseases", conditions, {"labels": list(topics.labels)}


def _free_text(case: Case) -> list[Statement]:
    """What the columns of free text say of diseases: what such a cell does not name, its eye does not have."""
    return [of_label(fact.words) for fact in case.about("disease") if fact.text == fact.words and not fact.unit]


def quality(case: Case, topics: Topics) -> Questions:
    """Yields the level of the image quality: 0 good, 1 usable, 2 not gradable."""
    level = quality_level(case)[0]
    levels = words()["quality"]
    if level in levels.values():
        written = next(number for number, said in levels.items() if said == level)
        yield "quality", written, {"slots": {"levels": listed(list(levels.values()), "or", ",")}}


def quality_level(case: Case) -> tuple[str, Fact | None]:
    """Returns the quality of an image in the words of whoever judged it, with its fact; "" where nobody did, or they differ."""
    found = {}
    for fact in case.about("quality"):
        said = NOT_GRADABLE if fact.name == "ungradable" else fact.words.casefold()
        is_level = fact.text != fact.words or said in words()["quality"].values()  # else free text
        if fact.name == "ungradable" or (fact.name == "quality" and is_level):
            found.setdefault(said, fact)
    return next(iter(found.items())) if len(found) == 1 else ("", None)


def eye(case: Case, topics: Topics) -> Questions:
    """Yields which eye it is."""
    if case.eye:
        yield "eye", case.eye, {}


def boxes(case: Case, topics: Topics) -> Questions:
    """Yields the boxes of each lesion type and landmark."""
    lesions = case.about("lesion")
    for fact in lesions:
        if fact.name.endswith(_PARTS) or (fact.name.endswith("_box") and fact.unit == "box" and _is_lesion(fact, lesions)):
            continue
        kind = fact.name.removesuffix("_box")
        boxes = [f.value for f in lesions if f.name == f"{kind}_box"]
        many = fact.words if fact.name.endswith("_box") else fact.unit
        phrased = {"phrasing": "landmark"} if fact.name.endswith("_box") else {}
        yield kind, boxes, {"count": len(boxes) if phrased else fact.value, "slots": {"many": many}, **phrased}


def _is_lesion(fact: Fact, lesions: Sequence[Fact]) -> bool:
    """Whether a box belongs to a lesion type with a count, whose question asks for its boxes."""
    return any(other.name == fact.name.removesuffix("_box") for other in lesions)


def measurements(case: Case, topics: Topics) -> Questions:
    """Yields the measurements that are asked for."""
    for fact in case.about("vascular"):
        if isinstance(fact.value, int | float) and ("all" in topics.measures or fact.name in topics.measures):
            unit = f" in {fact.unit}" if fact.unit else ""
            yield fact.name, fact.value, {"unit": fact.unit, "slots": {"words": fact.words, "unit": unit}}


_PARTS = tuple(ending for ending in wording.ENDINGS if ending != "_box")  # details of a type that is asked for
