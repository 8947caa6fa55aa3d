"""The fact sheet: what a teacher gets of a case, in lines with ids, and what each slot of a line will read.

Facts are chosen from the case by seed and worded as findings. A teacher writes `{v1}` where the value of line v1 stands; what
it reads (digits, rounding, spelling of the unit) is drawn once for a sheet, so that the value cannot be wrong.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from retinal_lib.check.language import glossary
from retinal_lib.dataset import measurements
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.dataset.lesions.wording import is_count
from retinal_lib.facts import ASPECTS, LIMITED, Case, Fact
from retinal_lib.parsing import packaged_yaml

SPEC: dict = packaged_yaml(Path(__file__).with_name("wording.yaml"))


class Slot(NamedTuple):
    """What stands for a value: its name (v1, l2.count), what it will read, and the fact that it is the value of."""

    name: str
    text: str
    fact: Fact


class Line(NamedTuple):
    """A line of a sheet: its id, its words, its slots and all facts that it tells. `about` is the words without values."""

    id: str
    text: str
    facts: tuple[Fact, ...]
    slots: tuple[Slot, ...] = ()

    @property
    def places(self) -> bool:
        """True where the line tells where a structure lies, and nothing else."""
        return len(self.facts) == 1 and isinstance(self.facts[0].value, tuple)


@dataclass(frozen=True)
class FactSheet:
    """What a teacher gets of a case: lines of facts, and explanations that it may use. The units and explanations are in
    `spelling`, as the conversation shall be."""

    case: Case
    lines: tuple[Line, ...]
    explained: tuple[Line, ...] = ()
    spelling: str = "British"

    @cached_property
    def text(self) -> str:
        """The lines of facts as they are sent."""
        return "\n".join(f"{line.id} {line.text}" for line in self.lines)

    @cached_property
    def slots(self) -> dict[str, tuple[Line, Slot]]:
        """Each slot by its name, with its line."""
        return {slot.name: (line, slot) for line in self.lines for slot in line.slots}

    @cached_property
    def structures(self) -> dict[str, Fact]:
        """The boxes and centres of structures, each by what it is of."""
        return {line.facts[0].words: line.facts[0] for line in self.lines if line.places}

    @cached_property
    def by_id(self) -> dict[str, Line]:
        """Each line and explanation by its id."""
        return {line.id: line for line in (*self.lines, *self.explained)}


def make(case: Case, seed: int, every_measurement: bool = False) -> FactSheet:
    """Returns the sheet of a case; equal seeds give equal sheets. `every_measurement`: all of AutoMorph's measurements and
    boxes are told, not a choice."""
    spelling = random.Random(f"spelling:{seed}:{case.id}").choice(SPEC["spellings"])
    maker = _Maker(case, random.Random(f"sheet:{seed}:{case.id}"), spelling, every_measurement)
    lines = tuple(maker.lines())
    named = glossary.named(line.text for line in lines if line.id[0] in SPEC["explained"])
    drawn = glossary.draw(named, random.Random(f"glossary:{seed}:{case.id}"))
    explained = tuple(Line(f"g{i}", glossary.spelled(says, spelling), ()) for i, says in enumerate(drawn, start=1))
    return FactSheet(case, lines, explained, spelling)


class _Maker:
    """The maker of one sheet; `count` is the number of lines so far by their letter."""

    def __init__(self, case: Case, rng: random.Random, spelling: str, every: bool):
        self.case, self.rng, self.spelling, self.every = case, rng, spelling, every
        self.count: dict[str, int] = {}
        self.units = {unit: glossary.spelled(rng.choice(names), spelling) for unit, names in SPEC["units"].items()}
        self.styles: dict[str, dict] = {}
        self.chosen: list[Fact] = []  # the measurements that are told
        low = all(fact.value < len(SPEC["numbers"]) for fact in case.about("lesion") if is_count(fact))
        self.words_for_numbers = rng.random() < 0.3 and low  # not: 15 hard exudates and twelve microaneurysms

    def lines(self) -> Iterator[Line]:
        """Yields the lines of facts, in the order of a description."""
        for aspect, facts in ((aspect, self.case.about(aspect)) for aspect in ASPECTS):
            if aspect == "lesion":
                yield from self._lesions(facts)
            elif aspect == "vascular":
                yield from self._vessels(facts)
            else:
                for fact in facts:
                    if not _of_both_eyes(fact):
                        yield self._plain(fact)
            if aspect == "disease":
                yield from self._scope(facts)

    def _id(self, aspect: str) -> str:
        letter = SPEC["letters"][aspect]
        self.count[letter] = self.count.get(letter, 0) + 1
        return f"{letter}{self.count[letter]}"

    def _line(self, fact: Fact, text: str, **values: str) -> Line:
        """A line about one fact; in its text $id is its id. `values`: part of a slot's name ("" for none) -> what it reads."""
        id_ = self._id(fact.aspect)
        slots = tuple(Slot(f"{id_}.{part}" if part != "value" else id_, reads, fact) for part, reads in values.items())
        shown = ", ".join(f'{{{slot.name}}} = "{slot.text}"' for slot in slots)
        return Line(id_, f"{text}: {shown}" if shown else text, (fact,), slots)

    def _plain(self, fact: Fact) -> Line:
        """A fact of the picture, its quality, disease, the person, or a note."""
        if fact.unit in scales():
            return self._grade(fact)
        if fact.text == fact.words and fact.aspect != "image":  # free text: may be quoted as a whole
            title = {"notes": "note", "disease": "recorded", "quality": "image quality, as recorded"}
            return self._line(fact, title.get(fact.aspect, "on record"), value=fact.words.rstrip("."))
        words = fact.words or fact.text
        if fact.name == "age":
            return self._line(fact, "age in years", value=str(fact.value))
        if isinstance(fact.value, float):  # a number that a page names, with its unit
            return self._line(fact, words, value=fact.text.removeprefix(f"the {words} is "))
        if fact.aspect == "patient":
            return self._line(fact, f"the person is {words}")
        if fact.aspect == "quality":
            if fact.name == "remark":
                return self._line(fact, f"the picture shows {words}")
            gradable = words.removeprefix("not ") == "gradable"  # the image is, its quality is not
            return self._line(fact, f"the image is {words}" if gradable else f"image quality: {words}")
        if fact.name == LIMITED:
            return self._line(fact, words)
        if is_diagnosed(fact):
            return self._line(fact, f"{words} was diagnosed" if fact.name == "absent" else f"diagnosed: {words}")
        return self._line(fact, f"the {words} eye" if fact.name == "eye" else words)

    def _grade(self, fact: Fact) -> Line:
        scale = scales()[fact.unit]
        if scale["form"] == "presence":  # yes or no is no grade
            return self._line(fact, fact.words.removeprefix("there is "))
        title = f"{glossary.spelled(scale['title'], self.spelling)} ({min(scale['levels'])} to {max(scale['levels'])})"
        if scale["form"] == "noun":
            return self._line(fact, fact.words, grade=str(fact.value), scale=title)
        meaning = glossary.spelled(fact.words, self.spelling)
        return self._line(fact, scale["of"], grade=str(fact.value), scale=title, meaning=meaning)

    def _scope(self, facts: tuple[Fact, ...]) -> Iterator[Line]:
        """What alone was judged, where the labels are of named conditions only, or that no diagnosis is known; where the files
        say more of diseases than is told, only that nothing more is said."""
        graded, beyond = self.case.graded_only, SPEC["beyond notes"] if self.case.about("notes") else ""
        withheld = bool(self.case.withheld)
        if not facts and not (withheld and any(fact.aspect != "patient" for fact in self.case.facts)):
            found = any(is_count(fact) and fact.value for fact in self.case.about("lesion"))
            yield Line(self._id("disease"), SPEC["no diagnosis"] + beyond + (SPEC["but lesions"] if found else ""), ())
        elif facts and graded:
            judged = f"only {' and '.join(graded)} {'was' if len(graded) == 1 else 'were'} judged; "
            others = f"nothing is {'said' if withheld else 'known'} of other diseases{beyond}"
            yield Line(self._id("disease"), f"{judged if len(graded) < 3 and not withheld else ''}{others}", ())

    # --- lesions ----------------------------------------------------------------------------------------------------------

    def _lesions(self, facts: tuple[Fact, ...]) -> Iterator[Line]:
        counts = [fact for fact in facts if is_count(fact)]
        boxed = sum(1 for fact in counts if fact.value)
        for count in counts:
            of_type = {}
            for fact in facts:
                if fact.name.startswith(f"{count.name}_"):
                    of_type.setdefault(fact.name.removeprefix(count.name), []).append(fact)
            yield self._lesion_type(count, of_type, boxed) if count.value else self._line(count, f"no {count.unit}")
        for mark in facts:
            if mark.name.endswith("_box") and not any(mark.name == f"{count.name}_box" for count in counts):
                yield self._line(mark, f"box of the {mark.words}", box=self._box_text([mark], mark))
            elif mark.unit == "point":
                x, y = mark.value
                yield self._line(mark, f"centre of the {mark.words}", centre=f"[{x:.2f}, {y:.2f}]")

    def _lesion_type(self, count: Fact, of_type: dict[str, list[Fact]], types: int) -> Line:
        """The number of lesions, where most of them lie, their share of the image or their distance, and the largest boxes."""
        id_ = self._id("lesion")
        slots = [Slot(f"{id_}.count", self._number(count.value), count)]
        parts, told = [self._shown(slots[0])], [count]
        if places := of_type.get("_place"):
            parts.append(_placed(places, count.value))
            told += places
        measured = [(ending, fact) for ending in ("_fovea", "_disc", "_area") for fact in of_type.get(ending, ())]
        if any(ending == "_fovea" for ending, _ in measured):  # the distance that clinicians use
            measured = [(ending, fact) for ending, fact in measured if ending != "_disc"]
        for ending, fact in measured if self.every else measured and [self.rng.choice(measured)]:
            slots.append(self._measured(f"{id_}.{_PART[ending]}", fact))
            parts.append(_ABOUT[ending].format(self._shown(slots[-1])))
        boxes = of_type.get("_box", [])
        # fewer boxes of each type where there are many types
        most = len(boxes) if self.every else self.rng.randint(1, max(1, min(SPEC["boxes"], SPEC["all_boxes"] // max(types, 1))))
        for number, fact in enumerate(boxes[:most], start=1):
            slots.append(Slot(f"{id_}.box{number}", self._box_text(boxes[:most], fact), fact))
            largest = ("largest " if len(boxes) > 1 else "box ") if number == 1 else ""
            # alone, 'superonasal' is the quadrant; after 'near the optic disc' it would be a side of the disc
            place = fact.place if "," in fact.place else fact.place.removesuffix(" quadrant")
            parts.append(f"{largest}{self._shown(slots[-1])}{f' ({place})' if place else ''}")
        told += [slot.fact for slot in slots[1:]]
        return Line(id_, f"{count.words if count.value == 1 else count.unit}: {', '.join(parts)}", tuple(told), tuple(slots))

    def _style(self, fact: Fact) -> dict:
        """How values of this measure are rounded and written on this sheet: alike, as all lengths are, so that they can be
        compared."""
        name = fact.name.rpartition("_")[2] if fact.aspect == "lesion" else _measure(fact.name)
        if name not in self.styles:
            drawn = {**self.rng.choice(SPEC["rounding"]), "percent": self.rng.random() < 0.5}
            others = self._told_alike(fact)
            while drawn["digits"] < _MOST_DIGITS and any(_read_alike(of, drawn["digits"]) for of in others):
                drawn = drawn | {"digits": drawn["digits"] + 1, "say": ""}  # not: about 1.4 and about 1.4
            if fact.unit == "µm":  # so many digits that a ratio told beside two lengths is seen to follow from them
                exact = drawn if drawn["digits"] > 2 else drawn | {"digits": 3, "say": ""}
                drawn = self.styles.setdefault("lengths", exact)
            self.styles[name] = drawn
        return self.styles[name]

    def _told_alike(self, fact: Fact) -> list[list[Fact]]:
        """The measurements of this sheet that are rounded like this one, by measure: all lengths are."""
        told: dict[str, list[Fact]] = {}
        for each in self.chosen if fact.aspect == "vascular" else ():
            if _measure(each.name) == _measure(fact.name) or fact.unit == each.unit == "µm":
                told.setdefault(_measure(each.name), []).append(each)
        return list(told.values())

    @staticmethod
    def _shown(slot: Slot) -> str:
        return f'{{{slot.name}}} = "{slot.text}"'

    @staticmethod
    def _box_text(boxes: list[Fact], box: Fact) -> str:
        """A box with so few digits as keep its sides apart; boxes of one type have equal digits."""
        smallest = min(min(x2 - x1, y2 - y1) for x1, y1, x2, y2 in (fact.value for fact in boxes))
        digits = 2 if smallest >= 0.02 else 3 if smallest >= 0.002 else 4
        return "[" + ", ".join(f"{edge:.{digits}f}" for edge in box.value) + "]"

    # --- values -----------------------------------------------------------------------------------------------------------

    def _vessels(self, facts: tuple[Fact, ...]) -> Iterator[Line]:
        known = {fact.name: fact for fact in facts if fact.name in measurements.columns()}
        for fact in facts:
            if fact.name not in known:
                yield self._line(fact, "on record", value=fact.words.rstrip("."))
        self.chosen = list(known.values()) if self.every else self._chosen(known)
        for fact in self.chosen:
            id_ = self._id("vascular")
            slot = self._measured(id_, fact)
            yield Line(id_, f"{_measurement(fact.name)}: {self._shown(slot)}", (fact,), (slot,))

    def _chosen(self, known: dict[str, Fact]) -> list[Fact]:
        """4 to 8 measurements of use: whole groups in a drawn order, since the members of a group can be compared."""
        spec = SPEC["measurements"]
        groups = [[known[name] for name in group if name in known] for group in spec["groups"]]
        self.rng.shuffle(groups)
        # lesions and their boxes leave less room
        most = spec["least"] if any(fact.aspect == "lesion" and fact.value for fact in self.case.facts) else spec["most"]
        enough, chosen = self.rng.randint(spec["least"], most), []
        for group in groups:
            if len(chosen) + len(group) <= most and len(chosen) < enough:
                chosen += group
        return chosen or list(known.values())[: spec["most"]]

    def _number(self, value: int) -> str:
        return SPEC["numbers"][value] if self.words_for_numbers or value == 1 else str(value)

    def _measured(self, name: str, fact: Fact) -> Slot:
        """The slot of a measured value: rounded and spelled by seed."""
        value, unit, digits = float(fact.value), fact.unit, _digits(fact)
        style = self._style(fact)
        if fact.name.endswith("Vessel_density") and style["percent"]:  # a share of the image
            value, unit, digits = value * 100, "%", max(0, digits - 2)
        text = _rounded(value, style["digits"], digits)
        # 1966 told as 1970 is about that much
        about = "about " if text.isdigit() and len(text) > style["digits"] else style["say"]
        unit = self.units.get(unit, unit)
        space = "" if unit in ("", "°") else " "
        return Slot(name, f"{about}{text}{space}{unit}", fact)


_MOST_DIGITS = 4
_PART = {"_area": "share", "_fovea": "fovea", "_disc": "disc"}
_ABOUT = {
    "_area": "{} of the image",
    "_fovea": "the nearest {} from the fovea",
    "_disc": "the nearest {} from the disc's centre",
}


def _placed(places: list[Fact], count: int) -> str:
    """Where the lesions of a type lie: in which quadrant most or all of them, else in which quadrants."""
    first = places[0]
    words = first.words.removesuffix(" of the image")
    if first.value == count:
        return f"{'all ' if count > 1 else ''}in the {words}"
    if first.value * 2 > count:
        return f"most in the {words}"
    frame = first.words.partition(" quadrant ")[2] or first.words.partition(" quarter ")[2]
    shown = f" {frame}" if frame != "of the image" else ""
    if len(places) == 4:
        return f"in all four {'quadrants' if 'quadrant' in first.words else 'quarters'}{shown}"
    names = [fact.words.removesuffix(f" {frame}").rpartition(" ")[0] for fact in places]
    kind = "quadrant" if "quadrant" in first.words else "quarter"
    return f"in the {', '.join(names[:-1])} and {names[-1]} {kind}s{shown}"


def is_diagnosed(fact: Fact) -> bool:
    """Whether a fact tells what a photograph of the fundus does not show itself, such as a cataract, or denies what it does not
    exclude, such as glaucoma."""
    words = fact.words.removeprefix("no ")
    return words in SPEC["diagnosed"] or (words != fact.words and words in SPEC["not diagnosed"])


def is_of_fundus(fact: Fact) -> bool:
    """Whether a finding, or its absence, is one of the fundus by name; of free text that is not known."""
    words = fact.words.removeprefix("no ").removeprefix("suspected ")
    return fact.text != fact.words and words not in (*SPEC["diagnosed"], *SPEC["not diagnosed"])


def _read_alike(facts: list[Fact], significant: int) -> bool:
    """Whether values that differ are the same when they are told with so many significant digits."""
    told = {_rounded(float(fact.value), significant, _digits(fact)) for fact in facts}
    return len(told) < len({_rounded(float(fact.value), _MOST_DIGITS, _digits(fact)) for fact in facts})


def _of_both_eyes(fact: Fact) -> bool:
    """Whether a fact is what a record says of both eyes together: no finding of this eye, so that a teacher is not told."""
    return fact.aspect == "patient" and type(fact.value) is int and not fact.unit


def _measurement(name: str) -> str:
    """What a measurement is called on a line: 'average width of the retinal arteries, whole image'."""
    words = measurements.feature(name).words.replace(" over the whole image", ", whole image")
    words = words.replace("vessel density of the", "density of the").replace(" in zone", ", zone")
    return re.sub(r"\) by (\w+)'s formula", r", \1)", words)


@cache
def _measure(column: str) -> str:
    """What a column measures, in either direction."""
    return re.sub(r"\b(?:vertical|horizontal) ", "", measurements.feature(column).measure)


@cache
def _digits_of(name: str) -> int:
    feature = measurements.feature(name)
    return SPEC["ratio_digits"] if "ratio" in feature.words else feature.digits


def _digits(fact: Fact) -> int:
    """Digits after the point that a value is told with at most."""
    if fact.aspect == "vascular":
        return _digits_of(fact.name)
    return 4 if fact.unit == "%" else 2


def _rounded(value: float, significant: int, most: int) -> str:
    """Writes a value with so many significant digits, and at most so many after the point."""
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    if whole:
        after = max(0, significant - whole)
        value = round(value, significant - whole) if significant < whole else value
    else:
        leading = next((i for i, c in enumerate(f"{abs(value):.9f}"[2:]) if c != "0"), 0)
        after = leading + significant
    return f"{value:.{min(after, most)}f}"
