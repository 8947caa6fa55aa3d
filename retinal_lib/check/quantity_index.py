"""The numbers in the facts of a case, looked up by name and by value."""

from collections.abc import Iterator
from functools import cache, cached_property, lru_cache
from operator import ge, gt, le, lt
from typing import NamedTuple

from retinal_lib.check.language import lexicon, numbers
from retinal_lib.check.language.naming import CALIBRE_OF
from retinal_lib.check.language.numbers import Amount
from retinal_lib.dataset import fact_kinds, measurements
from retinal_lib.dataset.lesions.wording import ENDINGS
from retinal_lib.facts import Case, Fact

_MEASURES = {
    "Fractal_dimension": "fractal",
    "Vessel_density": "density",
    "Average_width": "width",
    "Distance_tortuosity": "tortuosity",
    "Squared_curvature_tortuosity": "curvature",
    "Tortuosity_density": "tort_density",
}
# unit of a fact -> unit in a text -> factor from the one to the other; a unit that is not listed does not fit the fact
UNITS: dict[str, dict[str, float]] = {
    "µm": {"": 1, "µm": 1, "mm": 1e-3, "cm": 1e-4},
    "": {"": 1, "%": 100},
    "%": {"%": 1, "": 0.01},
    "count": {"": 1},
    "grade": {"": 1},
    "years": {"": 1, "years": 1},
    "degrees": {"": 1, "degrees": 1},
    "disc diameters": {"": 1, "dd": 1},
    "box": {"": 1, "%": 100},
}
# ending of a lesion fact's name -> the part that the fact is about
PARTS = {
    "_clusters": "clusters",
    "_place": "place",
    "_fovea": "fovea",
    "_disc": "disc",
    "_rest": "rest",
    "_rest_share": "rest",
    "_rest_place": "rest place",
}
_ENDINGS = sorted(ENDINGS, key=len, reverse=True)
_MAX_ROUNDING = 0.065  # how far a rounded number may lie from the value, as a share of it
_ROUNDED = frozenset(["", "µm", "%", "degrees"])
_BOUNDS = {"more": gt, "less": lt, "least": ge, "most": le}
_UNIT_ERRORS = (1, 100, 0.01, 1000, 0.001, 10, 0.1)


class Quantity(NamedTuple):
    """A number in a fact, with what names it; a dimension that does not apply is None."""

    value: float
    unit: str
    fact: Fact
    measure: str
    vessel: str | None = None
    zone: str | None = None
    formula: str | None = None
    orientation: str | None = None
    excess: bool = False  # what a ratio has above 1
    subjects: frozenset[str] = frozenset()
    edges: tuple[float, ...] = ()
    top: int = 0  # of a grade: the scale's highest level
    part: str = ""  # of a lesion type: the quadrant, the rest or the landmark that it is about; empty for the whole

    @property
    def names(self) -> dict[str, frozenset[str]]:
        """By dimension, the values that words may name for the quantity; a dimension that does not apply is left out."""
        if self.measure == "grade":
            return {"graded": graded_names(self.subjects, self.fact.words)}
        if self.measure in ("count", "area", "box", "edge", "distance"):
            lesions = self.subjects or (frozenset(["disc"]) if self.edges else frozenset())
            return {"lesion": _with_implied(lesions)} if lesions else {}
        return column_names(self.fact.name) if self.measure != "age" else {}


@cache
def column_parts(column: str) -> tuple[str, str | None, str | None, str | None, str | None]:
    """Returns measure, vessel, zone, formula and orientation of a column of AutoMorph; None where one does not apply."""
    base, _, zone = column.partition("_zone_")
    part, _, rest = base.partition("_")
    if part in ("Disc", "Cup", "CDR"):
        return part.lower(), None, None, None, "vertical" if rest in ("height", "vertical") else "horizontal"
    if part in ("CRAE", "CRVE", "AVR"):
        return part.lower(), None, zone, rest, None
    for prefix, vessel in (("Artery_", "artery"), ("Vein_", "vein"), ("", "all")):
        if base.startswith(prefix) and base.removeprefix(prefix) in _MEASURES:
            return _MEASURES[base.removeprefix(prefix)], vessel, zone or "whole", None, None
    return "angle", None, None, None, None


# measure -> what may be named with it; the vessels tell CRAE from CRVE
_CALIBRES = ("crae", "crve", "a width")
_CALLED = {"cdr": ("cdr", "cup", "disc"), "avr": ("avr", *_CALIBRES), "crae": _CALIBRES, "crve": _CALIBRES}


@cache
def column_names(column: str) -> dict[str, frozenset[str]]:
    """Returns, by dimension, what words may be named for a column of AutoMorph."""
    measure, vessel, zone, formula, direction = column_parts(column)
    named = {"vessel": vessel or CALIBRE_OF.get(measure), "zone": zone, "formula": formula, "direction": direction}
    allowed = {dimension: frozenset([value]) for dimension, value in named.items() if value}
    return {**allowed, "measure": frozenset(_CALLED.get(measure, (measure,)))}


@cache
def _with_implied(conditions: frozenset[str]) -> frozenset[str]:
    return conditions.union(*map(lexicon.implied, conditions))


@cache
def graded_names(subjects: frozenset[str], words: str) -> frozenset[str]:
    """Returns the conditions that may be named with a grade or count: its subjects, and what its words name, with all that they
    are forms of."""
    return _with_implied(subjects.union(lexicon.conditions(words)))


@lru_cache(maxsize=8192)
def _numbers_in(text: str) -> tuple[Amount, ...]:
    """The numbers in a fact's text."""
    return tuple(numbers.read(lexicon.read(text)))


class QuantityIndex:
    """The quantities of a case, looked up by value; they are read once they are asked for."""

    def __init__(self, case: Case):
        self.case = case
        self._kinds: dict[str, frozenset[str]] = {}  # lesion types by their codes

    @cached_property
    def quantities(self) -> list[Quantity]:
        """All quantities."""
        found = [quantity for fact in self.case.facts for quantity in self._of(fact)]
        for measure, unit in (("count", "count"), ("area", "%")):  # over all types of lesion, which an answer may state too
            parts = [q for q in found if q.measure == measure and not q.part]
            if len(parts) > 1:
                found.append(Quantity(sum(q.value for q in parts), unit, parts[0].fact, measure))
        return found

    @cached_property
    def text_numbers(self) -> list[tuple[Amount, Fact]]:
        """The numbers within the texts of facts that are no measurements, lesions or ages, each with its fact."""
        columns, scales = measurements.columns(), fact_kinds.scales()
        told = [f for f in self.case.facts if f.aspect != "lesion" and f.name not in ("age", *columns)]
        return [(amount, f) for f in told for amount in _numbers_in(f.words if f.unit in scales else f.text)]

    def _of(self, fact: Fact) -> Iterator[Quantity]:
        """Yields the quantities of a fact."""
        scale, whole = fact_kinds.scales().get(fact.unit), isinstance(fact.value, int)
        if fact.aspect == "vascular" and fact.name in measurements.columns():
            value, named = float(fact.value), column_parts(fact.name)
            yield Quantity(value, fact.unit, fact, *named)
            if named[0] == "tortuosity":
                yield Quantity(value - 1, "", fact, *named, True)
        elif scale is not None and whole:
            subjects = frozenset(lexicon.VOCABULARY["subjects"].get(fact.unit, ()))
            yield Quantity(fact.value, "grade", fact, "grade", subjects=subjects, top=max(scale["levels"]))
        elif fact.aspect == "lesion":
            yield from self._of_lesion(fact)
        elif fact.name == "age" and whole:
            yield Quantity(fact.value, "years", fact, "age")
        elif fact.aspect == "quality" and whole:
            yield Quantity(fact.value, "grade", fact, "grade", subjects=frozenset(["quality"]))

    def _of_lesion(self, fact: Fact) -> Iterator[Quantity]:
        ending = next((e for e in _ENDINGS if fact.name.endswith(e)), "")
        of = self._kinds.get(fact.name.removesuffix(ending)) if ending in PARTS else None
        subjects = of or frozenset(lexicon.conditions(fact.words)) or frozenset(lexicon.conditions(fact.text))
        if not ending:
            self._kinds[fact.name] = subjects
        if fact.unit == "box":
            edges = tuple(map(float, fact.value))
            yield Quantity(edges[0], "box", fact, "box", subjects=subjects, edges=edges)
        if fact.unit in ("box", "point"):
            yield from (Quantity(edge, "box", fact, "edge", subjects=subjects) for edge in fact.value)
        elif isinstance(fact.value, int | float):
            unit = fact.unit if fact.unit in UNITS else "count"
            measure = {"%": "area", "disc diameters": "distance"}.get(unit, "count")
            yield Quantity(fact.value, unit, fact, measure, subjects=subjects, part=PARTS.get(ending, ""))

    @cached_property
    def boxes(self) -> list[Quantity]:
        """The quantities that are boxes."""
        return [q for q in self.quantities if q.edges]

    @cached_property
    def lesions(self) -> list[Quantity]:
        """The quantities of lesions and marks, which answers with slots ask for alone."""
        return [quantity for fact in self.case.about("lesion") for quantity in self._of(fact)]

    @cached_property
    def located(self) -> list[Quantity]:
        """The quantities that tell where lesions lie."""
        return [q for q in self.lesions if q.edges or q.part in ("place", "rest place", "fovea", "disc")]

    @cached_property
    def tops(self) -> set[int]:
        """The highest levels of the scales."""
        return {q.top for q in self.quantities if q.top}

    def of(self, measure: str) -> list[Quantity]:
        """Returns the quantities of one measure."""
        return [q for q in self.quantities if q.measure == measure]

    def matching(self, amount: Amount) -> list[Quantity]:
        """Returns the quantities whose value an amount gives in a fitting unit, whatever they are called."""
        if amount.edges:
            return [
                q
                for q in self.boxes
                if all(abs(a - b) <= amount.step * 1.001 for a, b in zip(q.edges, amount.edges, strict=True))
            ]
        return [q for q in self.quantities if not q.edges and matches_value(amount, q.unit, q.value)]

    def wrong_unit_matches(self, amount: Amount) -> list[Quantity]:
        """Returns the quantities that an amount has the digits of, but not the unit or the power of ten."""
        return [
            q
            for q in self.quantities
            if (q.unit not in ("count", "grade") or (amount.unit and amount.unit not in UNITS[q.unit]))
            and not q.edges
            and any(abs(q.value * factor - amount.low) <= amount.step * 1.01 for factor in _UNIT_ERRORS)
        ]


def matches_value(amount: Amount, unit: str, value: float) -> bool:
    """Says whether an amount gives a value in a unit of the facts, at the amount's precision."""
    factor = UNITS[unit].get(amount.unit)
    if factor is None:
        return False
    value = value * factor
    if amount.low != amount.high:
        if unit == "grade" or (amount.whole and unit == "" and not amount.unit):
            return False
        step = amount.step * 1.0001 + 1e-12
        return amount.low - step <= value <= amount.high + step
    if amount.bound:
        return _bounds(amount, value)
    if unit == "count" and not amount.about:
        return value == amount.low
    return abs(value - amount.low) <= _step(amount, unit, value)


def _step(amount: Amount, unit: str, value: float) -> float:
    """The largest allowed distance of a number from the value; 0.4 for 0.37 is too coarse."""
    step = amount.step * 1.0001 + 1e-12
    if amount.spelled or unit not in _ROUNDED:
        return step
    return min(step, (1.3 if amount.about else 1) * _MAX_ROUNDING * value + 1e-12)


def _bounds(amount: Amount, value: float) -> bool:
    """Whether a bound, as in more than 0.4, is true of a value and near enough to say something."""
    near = 2 * amount.step
    if amount.bound in ("more", "least"):
        top = amount.low + near if amount.about else max(2 * amount.low, amount.low + 1)
        return amount.low - 1e-9 < value <= top
    bottom = amount.low - near if amount.about else 0.5 * amount.low
    return bottom <= value < amount.low + 1e-9
