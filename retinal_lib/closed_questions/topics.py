"""What can be asked of the images of a run: each topic with the images that answer it, by their answers."""

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from retinal_lib.closed_questions import known, references
from retinal_lib.closed_questions.known import Known
from retinal_lib.closed_questions.wording import CANNOT, KINDS, words
from retinal_lib.dataset import measurements
from retinal_lib.dataset.fact_kinds import denies, scales
from retinal_lib.dataset.lesions.wording import is_count
from retinal_lib.display import listed
from retinal_lib.facts import Fact

_SETS = 3  # lists of options for each condition that is there
_OPTIONS = (4, 3, 2)  # so many options, as far as labels deny enough
_LONGER = 3  # the longest option has at most so many times the characters of the shortest
_MOST_BOXES = 6  # of an answer


class Answer(NamedTuple):
    """What one image (by its place in the run) answers to a topic: the option, its facts, what else it gives away, and the
    answer to the question without options, where that says more."""

    image: int
    option: str
    facts: tuple[Fact, ...]
    gives: frozenset[object]
    value: str = ""
    says: tuple[str, ...] = ()  # in sentences, for the check
    boxes: tuple[tuple[float, ...], ...] = ()
    why: str = ""  # why nobody knows


@dataclass
class Topic:
    """One thing to ask about. `forms`: open (without options), letters; `asked`: the phrasing of each form; `by` option: its
    images; `unknown`: images of which nobody knows; `number`: its values are on a scale, `apart`: they are boxes."""

    kind: str
    subject: str
    asked: dict[str, str]
    slots: dict[str, object]
    by: dict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    unknown: list[Answer] = field(default_factory=list)
    options: tuple[str, ...] = ()  # of kind choices: all that can be chosen
    ordered: bool = False
    apart: bool = False
    whole: bool = False  # without options it is asked only where all its answers, or the most that fit, can be asked together

    def add(self, answer: Answer) -> None:
        """Adds an image's answer."""
        self.by[answer.option].append(answer)

    def add_unknown(self, place: int, image: Known, reasons: Sequence[str] = ()) -> None:
        """Adds an image that was rejected, or of which `reasons` say that nobody knows."""
        if image.rejected or reasons:
            facts = (image.rejected,) if image.rejected else ()
            gives = frozenset([self.subject, *facts])
            why = f"{image.rejected.text} ({image.rejected.source})" if image.rejected else reasons[0]
            self.unknown.append(Answer(place, CANNOT, facts, gives, CANNOT, why=why))


def of(images: Sequence[Known], names: Sequence[str], about: references.Topics, kinds: Iterable[str], seed: int) -> list[Topic]:
    """Returns the topics of these kinds that at least two answers of different images can be found for."""
    makers = {
        "yes_no": lambda: _yes_no(images),
        "choice": lambda: [*_choices(images, names, seed, single=True), *_suspicions(images)],
        "choices": lambda: [*_choices(images, names, seed, single=False), *_diseases(images, about)],
        "count": lambda: _counts(images),
        "eye": lambda: _eyes(images),
        "quality": lambda: _qualities(images),
        "grade": lambda: _grades(images),
        "measurement": lambda: _measurements(images, about, alone=tuple(kinds) == ("measurement",)),
        "box": lambda: _boxes(images),
    }
    return [topic for kind in KINDS if kind in kinds for topic in makers[kind]() if len(topic.by) > 1]


def _conditions(images: Sequence[Known]) -> list[str]:
    """The conditions and lesions that labels affirm or deny."""
    return sorted({name for image in images for name in (*image.present, *image.absent)})


def _disputed(image: Known, *names: str) -> list[str]:
    """The sentences that graders disagree on something; an empty cell is no reason why an image cannot be judged."""
    starts = tuple(f"{name} is not known: the graders disagree" for name in names)
    return [why for why in image.case.missing if why.startswith(starts)]


def _yes_no(images: Sequence[Known]) -> Iterator[Topic]:
    for name in _conditions(images):
        topic, gives = Topic("yes_no", name, {"open": "yes_no"}, {"name": name}), known.touched(name)
        for place, image in enumerate(images):
            for option, held in (("yes", image.present), ("no", image.absent)):
                if fact := held.get(name):
                    says = f"This image shows {name}." if option == "yes" else f"This image shows no {name}."
                    topic.add(Answer(place, option, (fact,), gives | {fact}, option, (says,)))
            if image.says_nothing_of(name):
                topic.add_unknown(place, image, _disputed(image, name, f"the label {name}"))
        yield topic


def _suspicions(images: Sequence[Known]) -> Iterator[Topic]:
    """Conditions that some images are suspected to have: a third answer."""
    for name in sorted({name for image in images for name in image.suspected}):
        subject, gives = f"{name}, suspected or not", known.touched(name)
        topic = Topic("choice", subject, {"letters": "suspicion"}, {"name": name})
        for place, image in enumerate(images):
            told = ((name, image.present), (f"suspected {name}", image.suspected), (f"no {name}", image.absent))
            for option, held in told:
                if fact := held.get(name):
                    topic.add(Answer(place, option, (fact,), gives | {fact}, option, (f"This image shows {option}.",)))
        yield topic


def _choices(images: Sequence[Known], names: Sequence[str], seed: int, single: bool) -> Iterator[Topic]:
    """Lists of conditions, or of lesions, of which one or several are there and all others are denied."""
    rng, done = random.Random(f"options {seed} {single}"), set()
    for group in _groups(images, names):
        for name in group:
            for size in _OPTIONS * _SETS:
                others = [other for other in group if other != name and _alike(name, other)]
                options = tuple(sorted([name, *rng.sample(others, min(size - 1, len(others)))]))
                if len(options) > 1 and options not in done and _are_apart(options):
                    done.add(options)
                    yield _choice(images, options, single)


def _groups(images: Sequence[Known], names: Sequence[str]) -> list[list[str]]:
    """Conditions and lesions that are there in an image and denied in another."""
    there, denied = {n for image in images for n in image.present}, {n for image in images for n in image.absent}
    both = sorted(there & denied)
    return [[n for n in both if n in names], [n for n in both if n not in names]]


def _alike(one: str, other: str) -> bool:
    return max(len(one), len(other)) <= _LONGER * min(len(one), len(other))


def _are_apart(options: tuple[str, ...]) -> bool:
    """Whether no option is a form of another, and all have lengths that are alike."""
    given = [known.conditions_of(option)[0] for option in options]
    touched = [known.touched(option) for option in options]
    forms = any(set(given[i]) & touched[j] for i in range(len(options)) for j in range(len(options)) if i != j)
    return not forms and _alike(min(options, key=len), max(options, key=len))


def _choice(images: Sequence[Known], options: tuple[str, ...], single: bool) -> Topic:
    kind = "choice" if single else "choices"
    topic = Topic(kind, "; ".join(options), {"letters": kind}, {}, options=options)
    gives = frozenset().union(*map(known.touched, options))
    for place, image in enumerate(images):
        there = [option for option in options if option in image.present]
        denied = [option for option in options if option in image.absent]
        if len(there) + len(denied) < len(options) or (single and len(there) != 1):
            continue
        facts = tuple(dict.fromkeys([*(image.present[o] for o in there), *(image.absent[o] for o in denied)]))
        says = (*(f"This image shows {o}." for o in there), *(f"This image shows no {o}." for o in denied))
        topic.add(Answer(place, "; ".join(there), facts, gives | set(facts), "", says))
    for place, image in enumerate(images) if single else ():
        if all(map(image.says_nothing_of, options)):
            topic.add_unknown(place, image)
    return topic


def _diseases(images: Sequence[Known], about: references.Topics) -> Iterator[Topic]:
    """All diseases of an image, as `evaluate` asks for them, where labels are of many and none stands in a grade alone."""
    topic = Topic("choices", "diseases", {"open": "diseases"}, {}, whole=True)
    for place, image in enumerate(images):
        if image.rejected or image.case.graded_only:
            continue
        for _, reference, _ in references.diseases(image.case, about):
            if any(not denies(fact) and scale["of"] not in reference for fact, scale in known.graded(image.case)):
                continue
            facts = tuple(f for f in image.case.about("disease") if not f.unit)
            gives = {"all diseases", *facts, *(each for name in reference for each in known.touched(name))}
            told = listed(reference, comma=",")
            value = f"{told[0].upper()}{told[1:]}" if reference else _without(facts)
            if value:
                topic.add(Answer(place, "; ".join(sorted(reference)), facts, frozenset(gives), value))
    yield topic


def _without(facts: Sequence[Fact]) -> str:
    """What an image without a disease is said to show: only as much as its label denies."""
    if any(fact.name == "normal" for fact in facts):
        return "The retina is normal"
    denied = [fact.words for fact in facts if fact.name == "absent"]
    return f"{denied[0][0].upper()}{denied[0][1:]}" if denied else ""


def _counts(images: Sequence[Known]) -> Iterator[Topic]:
    topics: dict[str, Topic] = {}
    for place, image in enumerate(images):
        for fact in image.case.about("lesion"):
            if is_count(fact) and not image.rejected:
                many = fact.unit
                topic = topics.setdefault(
                    many, Topic("count", many, dict.fromkeys(("open", "letters"), "count"), {"many": many}, ordered=True)
                )
                one = f"{fact.value} {many if fact.value != 1 else fact.words}"
                says = f"This image shows {one}." if fact.value else f"This image shows no {many}."
                topic.add(Answer(place, str(fact.value), (fact,), known.touched(many) | {fact}, str(fact.value), (says,)))
    for topic in topics.values():
        for place, image in enumerate(images):
            if image.says_nothing_of(topic.subject):
                topic.add_unknown(place, image)
    yield from topics.values()


def _eyes(images: Sequence[Known]) -> Iterator[Topic]:
    topic = Topic("eye", "eye", {"open": "eye"}, {})
    for place, image in enumerate(images):
        for fact in (fact for fact in image.case.about("image") if fact.name == "eye"):
            topic.add(
                Answer(place, str(fact.value), (fact,), frozenset(["eye"]), str(fact.value), (f"It is the {fact.value} eye.",))
            )
    yield topic


def _qualities(images: Sequence[Known]) -> Iterator[Topic]:
    """The quality in the words of whoever judged it; levels of different judges are not compared."""
    judged = [(place, *references.quality_level(image.case)) for place, image in enumerate(images)]
    own = {fact.unit for _, option, fact in judged if fact and option not in words()["quality"].values()}
    topics: dict[str, Topic] = {}
    for place, option, fact in judged:
        if fact is not None:
            by = fact.unit if fact.unit in own else ""
            topic = topics.setdefault(by, Topic("quality", by or "quality", {"open": "quality"}, {}))
            says = (f"The image quality is {option}.",) if not by else ()
            topic.add(Answer(place, option, (fact,), frozenset(["quality", fact]), option, says))
    yield from topics.values()


def _grades(images: Sequence[Known]) -> Iterator[Topic]:
    topics: dict[tuple[str, str], Topic] = {}
    for place, image in enumerate(images):
        for fact, scale in () if image.rejected else known.graded(image.case):
            slots = references.grade_slots(scale)
            topic = topics.setdefault(
                (fact.name, fact.unit),
                Topic("grade", fact.unit, dict.fromkeys(("open", "letters"), "grade"), slots, whole=True),
            )
            gives = known.touched(scale["of"]) | {fact}
            says = (f"The grade of {scale['of']} is {fact.value} on the {scale['title']}.",)
            topic.add(Answer(place, scale["levels"][fact.value], (fact,), gives, f"Grade {fact.value}", says))
    for (name, unit), topic in topics.items():
        for place, image in enumerate(images):
            if not any(fact.name == name for fact, _ in known.graded(image.case)):
                topic.add_unknown(place, image, _disputed(image, f"the grade of {scales()[unit]['of']}"))
    yield from topics.values()


def _measurements(images: Sequence[Known], about: references.Topics, alone: bool) -> Iterator[Topic]:
    """The usual measurements; beside questions of other kinds one of an image, else they would be most of all questions."""
    for column in about.measures:
        feature = measurements.feature(column)
        slots = {"words": feature.words, "unit": f" in {feature.unit}" if feature.unit else ""}
        once = () if alone else ("a measurement",)
        topic = Topic("measurement", column, {"open": "measurement", "letters": "range"}, slots, ordered=True)
        for place, image in enumerate(images):
            fact = next((f for f in image.case.about("vascular") if f.name == column), None)
            if fact is None:
                topic.add_unknown(place, image)
            elif isinstance(fact.value, int | float):
                told, says = _three_digits(fact.value), f"The {feature.words} is {feature.say(fact.value)}."
                topic.add(Answer(place, told, (fact,), frozenset([column, fact, *once]), told, (says,)))
        yield topic


def _three_digits(value: float) -> str:
    """Writes a number with three digits that count.

    >>> [_three_digits(value) for value in (223.49, 0.3751, 0.09484)]
    ['223', '0.375', '0.0948']
    """
    after = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{after}f}"


def _boxes(images: Sequence[Known]) -> Iterator[Topic]:
    """Landmarks with one box, and lesions whose boxes are all told."""
    topics: dict[str, Topic] = {}
    for place, image in enumerate(images):
        lesions = () if image.rejected else image.case.about("lesion")
        counted = {fact.name: fact for fact in lesions if is_count(fact)}
        for kind in dict.fromkeys(f.name.removesuffix("_box") for f in lesions if f.name.endswith("_box") and f.unit == "box"):
            facts = tuple(fact for fact in lesions if fact.name == f"{kind}_box")
            if len(facts) > _MOST_BOXES or any(fact.name == f"{kind}_rest" for fact in lesions):
                continue
            subject = counted[kind].unit if kind in counted else facts[0].words
            asked = {"open": "boxes"} if kind in counted else {"open": "landmark", "letters": "which_box"}
            topic = topics.setdefault(kind, Topic("box", subject, asked, {"many": subject}, apart=True))
            boxes = tuple(tuple(fact.value) for fact in facts)
            told = ", ".join(box_text(box) for box in boxes)
            topic.add(Answer(place, told, facts, known.touched(subject) | set(facts), told, (), boxes))
    yield from topics.values()


def box_text(box: Sequence[float]) -> str:
    """Writes a box with two digits, or three where it is small."""
    digits = 2 if min(box[2] - box[0], box[3] - box[1]) >= 0.02 else 3
    return f"[{', '.join(f'{edge:.{digits}f}' for edge in box)}]"
