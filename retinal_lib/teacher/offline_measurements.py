"""The offline composer's turns about measurements of vessels and optic disc."""

import re
from collections.abc import Iterator, Sequence

from retinal_lib.dataset import measurements
from retinal_lib.display import listed
from retinal_lib.slots.sheet import Line, Slot
from retinal_lib.teacher.offline_phrases import Phrases, Topic, articled

_PAIRS = {
    "Disc_height": "disc_size", "Disc_width": "disc_size", "Cup_height": "cup_size", "Cup_width": "cup_size",
    "CDR_vertical": "ratio", "CDR_horizontal": "ratio",
}  # fmt: skip
_QUESTIONS = {"fractal dimension": "fractal", "vessel density": "density", "average width": "width"}
_ALIKE = 0.05  # as a share of the larger one: values that differ by no more are not compared
_WHOSE = {"Artery_": "the arteries", "Vein_": "the veins", "": "all vessels together"}


def topics(lines: Sequence[Line], phrases: Phrases) -> list[Topic]:
    """Returns a turn for each group of measurements that belong together, in an order drawn by seed."""
    groups: dict[tuple[str, ...], dict[str, Slot]] = {}
    told = []
    for line in lines:
        name = line.facts[0].name
        if name in measurements.columns():
            groups.setdefault(_group(name), {})[name] = line.slots[0]
        else:
            told.append(Topic((("vessels", ""),), (phrases.say("vessels_recorded", value=f"{{{line.slots[0].name}}}"),)))
    drawn = list(groups.items())
    phrases.rng.shuffle(drawn)
    return told + [_topic(key, slots, phrases) for key, slots in drawn]


def _group(name: str) -> tuple[str, ...]:
    """What the measurements of a group have in common; the first word is their kind."""
    feature = measurements.feature(name)
    if name in _PAIRS:
        return (_PAIRS[name],)
    if feature.of:
        return "vessels", feature.measure, feature.where
    calibre = re.match(r"(CRAE|CRVE|AVR)_([A-Za-z]+)", name)
    return ("calibres", f"{calibre[2]}'s", feature.where) if calibre else ("single", name)


def _topic(key: tuple[str, ...], slots: dict[str, Slot], phrases: Phrases) -> Topic:
    kind, *rest = key
    if kind == "vessels":
        measure, where = rest
        return Topic(((_QUESTIONS.get(measure, "vessels"), ""), ("vessels", "")), (_vessels(measure, where, slots, phrases),))
    wanted = {"calibres": 3, "single": 2}.get(kind, 2)
    if len(slots) < wanted:
        return Topic((("disc" if kind in _PAIRS.values() else "vessels", ""),), (*_singles(slots, phrases),))
    ordered = [slots[name] for name in measurements.SPEC["disc"] if name in slots] or [
        slots[name] for name in sorted(slots, key=lambda name: ("CRAE", "CRVE", "AVR").index(name.partition("_")[0]))
    ]
    values = dict(zip("abc", map(_ref, ordered), strict=False))
    if kind == "calibres":
        bigger = larger(ordered[1], ordered[0]) and phrases.rng.random() < 0.5
        text = phrases.say("calibres_more" if bigger else "calibres", formula=rest[0], where=rest[1], **values)
        return Topic((("calibres", ""), ("vessels", "")), (text,))
    vertical = larger(*ordered)
    if vertical is None or kind == "cup_size" or phrases.rng.random() < 0.4:
        text = phrases.say(kind, **values)
    else:
        text = phrases.say(f"{kind}_more", larger="larger" if vertical else "smaller", **values)
    return Topic(((kind, ""), ("disc", "")), (text,))


def _vessels(measure: str, where: str, slots: dict[str, Slot], phrases: Phrases) -> str:
    """A sentence on one measure of the vessels and of the arteries and veins alone."""
    by_prefix = {re.match(r"(Artery_|Vein_)?", name)[0]: slot for name, slot in slots.items()}
    name = f"{_QUESTIONS.get(measure)}_more"
    if len(by_prefix) == 3 and name != "None_more" and phrases.rng.random() < 0.6:
        veins, arteries = by_prefix["Vein_"], by_prefix["Artery_"]
        bigger = larger(veins, arteries)
        if bigger is not None:
            more, less = ("veins", "arteries") if bigger else ("arteries", "veins")
            x, y = (veins, arteries) if bigger else (arteries, veins)
            return phrases.say(name, where=where, more=more, less=less, a=_ref(by_prefix[""]), x=_ref(x), y=_ref(y))
    parts = [f"{_ref(by_prefix[prefix])} for {whose}" for prefix, whose in _WHOSE.items() if prefix in by_prefix]
    if phrases.rng.random() < 0.5:
        parts.reverse()
    return phrases.say("measured", where=where, measure=measure, an=articled(measure), list=listed(parts))


def _singles(slots: dict[str, Slot], phrases: Phrases) -> Iterator[str]:
    for name, slot in slots.items():
        yield phrases.say("single", words=measurements.feature(name).words, value=_ref(slot))


def larger(one: Slot, other: Slot) -> bool | None:
    """Says whether the first value is the larger one; None where they are closer than measurements can tell apart, or as they
    are shown do not tell."""
    if abs(one.fact.value - other.fact.value) <= _ALIKE * max(abs(one.fact.value), abs(other.fact.value)):
        return None
    shown = [re.search(r"([\d.]+)(.*)", slot.text) for slot in (one, other)]
    a, b = (float(number[1].rstrip(".")) for number in shown)
    difference = one.fact.value - other.fact.value
    return a > b if shown[0][2] == shown[1][2] and (a - b) * difference > 0 else None


def _ref(slot: Slot) -> str:
    return f"{{{slot.name}}}"
