"""The number ledger: which fact holds a number, by name and by value."""

from bisect import bisect_left, bisect_right
from functools import cache, lru_cache
from typing import NamedTuple

from retinal_lib import amounts, automorph, kinds, vocabulary
from retinal_lib.amounts import Amount
from retinal_lib.fact import Case, Fact
from retinal_lib.telling import ENDINGS

DIMENSIONS = ("measures", "vessels", "zones", "formulas", "orientations", "conditions")
_MEASURES = {
    "Fractal_dimension": "fractal",
    "Vessel_density": "density",
    "Average_width": "width",
    "Distance_tortuosity": "tortuosity",
    "Squared_curvature_tortuosity": "curvature",
    "Tortuosity_density": "tort_density",
}
# said unit -> how many of it one of the fact's unit makes; a unit that is not here cannot be said of the fact
_UNITS: dict[str, dict[str, float]] = {
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
# what the endings of a lesion fact's name say that it tells a part of
PARTS = {
    "_clusters": "clusters",
    "_place": "place",
    "_fovea": "fovea",
    "_disc": "disc",
    "_rest": "rest",
    "_rest_share": "rest",
    "_rest_place": "rest place",
}
_COARSEST = 0.065  # of the value: how far a rounded number may lie from it
_SLIPS = (1, 100, 0.01, 1000, 0.001, 10, 0.1)


class Quantity(NamedTuple):
    """A number that a fact holds, and what names it: None where a dimension says nothing of it."""

    value: float
    shown: float  # rounded as the description shows it
    unit: str
    fact: Fact
    measure: str
    vessel: str | None = None
    zone: str | None = None
    formula: str | None = None
    orientation: str | None = None
    subjects: frozenset[str] = frozenset()
    edges: tuple[float, ...] = ()
    top: int = 0  # of a grade: the scale's highest level
    excess: bool = False  # what a ratio has above 1
    part: str = ""  # of a lesion type: the quadrant, the rest or the landmark that it tells of; nothing of the whole


@cache
def _static(column: str) -> dict[str, str | None]:
    """What names a measurement of AutoMorph."""
    base, _, zone = column.partition("_zone_")
    if base.startswith(("Disc_", "Cup_", "CDR_")):
        part, _, way = base.partition("_")
        return {"measure": part.lower(), "orientation": "vertical" if way in ("height", "vertical") else "horizontal"}
    if base.startswith(("CRAE_", "CRVE_", "AVR_")):
        part, _, formula = base.partition("_")
        return {"measure": part.lower(), "formula": formula, "zone": zone}
    for prefix, vessel in (("Artery_", "artery"), ("Vein_", "vein"), ("", "all")):
        if base.startswith(prefix) and base.removeprefix(prefix) in _MEASURES:
            return {"measure": _MEASURES[base.removeprefix(prefix)], "vessel": vessel, "zone": zone or "whole"}
    return {"measure": "angle"}


@cache
def _digits(column: str) -> int:
    return automorph.feature(column).digits


@lru_cache(maxsize=8192)
def _loose(text: str) -> tuple[Amount, ...]:
    """The numbers in a fact's text."""
    return tuple(amounts.read(vocabulary.read(text)))


class Ledger:
    """The quantities of a case, findable by value."""

    def __init__(self, case: Case):
        self.quantities: list[Quantity] = []
        self.loose: list[tuple[Amount, Fact]] = []
        self._kinds: dict[str, frozenset[str]] = {}  # lesion types by their codes
        columns, scales = automorph.columns(), kinds.scales()
        for fact in case.facts:
            if fact.aspect == "vascular" and fact.name in columns:
                value = float(fact.value)
                shown, named = round(value, _digits(fact.name)), _static(fact.name)
                self.quantities.append(Quantity(value, shown, fact.unit, fact, **named))
                if named["measure"] == "tortuosity":
                    self.quantities.append(Quantity(value - 1, shown - 1, "", fact, **named, excess=True))
            elif fact.unit in scales and isinstance(fact.value, int):
                self._grade(fact, scales[fact.unit])
            elif fact.aspect == "lesion":
                self._lesion(fact)
            elif fact.name == "age" and isinstance(fact.value, int):
                self.quantities.append(Quantity(fact.value, fact.value, "years", fact, "age"))
            else:
                if isinstance(fact.value, int) and fact.aspect == "quality":
                    self.quantities.append(
                        Quantity(fact.value, fact.value, "grade", fact, "grade", subjects=frozenset(["quality"]))
                    )
                self.loose += [(amount, fact) for amount in _loose(fact.text)]
        self._total()
        self.boxes = [q for q in self.quantities if q.edges]
        self.placed = [q for q in self.quantities if q.edges or q.part in ("place", "rest place", "fovea", "disc")]
        self.vascular = any(q.fact.aspect == "vascular" for q in self.quantities)
        self.subjects = frozenset(s for q in self.quantities for s in q.subjects)
        self.by_value = sorted(self.quantities, key=lambda q: q.value)
        self._values = [q.value for q in self.by_value]

    def _grade(self, fact: Fact, scale: dict) -> None:
        subjects = frozenset(vocabulary.WORDS["subjects"].get(fact.unit, ()))
        top = max(scale["levels"])
        self.quantities.append(Quantity(fact.value, fact.value, "grade", fact, "grade", subjects=subjects, top=top))
        self.loose += [(amount, fact) for amount in _loose(fact.words)]

    def _lesion(self, fact: Fact) -> None:
        ending = next((e for e in sorted(ENDINGS, key=len, reverse=True) if fact.name.endswith(e)), "")
        of = self._kinds.get(fact.name.removesuffix(ending)) if ending in PARTS else None
        subjects = of or frozenset(vocabulary.conditions(fact.words)) or frozenset(vocabulary.conditions(fact.text))
        if not ending:
            self._kinds[fact.name] = subjects
        if fact.unit == "box":
            edges = tuple(float(e) for e in fact.value)
            self.quantities.append(Quantity(edges[0], edges[0], "box", fact, "box", subjects=subjects, edges=edges))
            self.quantities += [Quantity(e, e, "box", fact, "edge", subjects=subjects) for e in edges]
            self.loose += [(a, fact) for a in _loose(fact.text) if not a.edges]
        elif isinstance(fact.value, int | float):
            unit = fact.unit if fact.unit in _UNITS else "count"
            measure = {"%": "area", "disc diameters": "distance"}.get(unit, "count")
            shown = _loose(fact.text)[0].low if unit != "count" and _loose(fact.text) else fact.value
            part = PARTS.get(ending, "")
            self.quantities.append(Quantity(fact.value, shown, unit, fact, measure, subjects=subjects, part=part))

    def _total(self) -> None:
        """All marked lesions together may be told as well."""
        counts = [q for q in self.quantities if q.measure == "count" and not q.part]
        if len(counts) > 1:
            total = sum(q.value for q in counts)
            self.quantities.append(Quantity(total, total, "count", counts[0].fact, "count"))
        areas = [q for q in self.quantities if q.measure == "area" and q.fact.name.endswith("_area")]
        if len(areas) > 1:
            total = sum(q.value for q in areas)
            self.quantities.append(Quantity(total, total, "%", areas[0].fact, "area"))

    def valued(self, amount: Amount) -> list[Quantity]:
        """The quantities whose value the amount tells rightly, in its unit, whatever they are called."""
        if amount.edges:
            return [
                q
                for q in self.boxes
                if all(abs(a - b) <= amount.step * 1.001 for a, b in zip(q.edges, amount.edges, strict=True))
            ]
        if amount.bound or amount.low != amount.high:
            return [q for q in self.quantities if not q.edges and holds(amount, q)]
        return [q for q in self._near(amount) if holds(amount, q)]

    def _near(self, amount: Amount) -> list[Quantity]:
        """The quantities whose value may be near enough, in any unit."""
        found: list[Quantity] = []
        wide = 1.01 * amount.step + 1e-9
        for factor in (1.0, 1e-3, 100.0, 0.01, 1e-4):
            low = bisect_left(self._values, (amount.low - 2.1 * wide) / factor)
            high = bisect_right(self._values, (amount.low + 2.1 * wide) / factor)
            found += [q for q in self.by_value[low:high] if _UNITS[q.unit].get(amount.unit) == factor and not q.edges]
        return found

    def slipped(self, amount: Amount) -> list[Quantity]:
        """The quantities whose digits the amount has, in a unit or at a scale that is not theirs."""
        found = []
        for quantity in self.quantities:
            if quantity.unit not in ("count", "grade") or (amount.unit and amount.unit not in _UNITS[quantity.unit]):
                for factor in _SLIPS:
                    if abs(quantity.value * factor - amount.low) <= amount.step * 1.01 and not quantity.edges:
                        found.append(quantity)
                        break
        return found


def holds(amount: Amount, quantity: Quantity) -> bool:
    """Whether the amount, in the unit it is said in, tells the quantity's value at the digits it is said with."""
    factor = _UNITS[quantity.unit].get(amount.unit)
    if factor is None:
        return False
    value, shown = quantity.value * factor, quantity.shown * factor
    step = amount.step * 1.0001 + 1e-12
    if amount.low != amount.high:
        if quantity.unit == "grade" or (amount.whole and quantity.unit == "" and not amount.unit):
            return False
        return amount.low - step <= value <= amount.high + step
    if quantity.unit == "count" and not amount.about and not amount.bound:
        return value == amount.low
    if amount.bound and quantity.unit == "count":
        return {
            "more": value > amount.low,
            "less": value < amount.low,
            "least": value >= amount.low,
            "most": value <= amount.low,
        }[amount.bound]
    if amount.bound in ("more", "least"):
        close = value <= amount.low + 2 * amount.step if amount.about else value <= max(2 * amount.low, amount.low + 1)
        return value > amount.low - 1e-9 and close
    if amount.bound:
        close = value >= amount.low - 2 * amount.step if amount.about else value >= 0.5 * amount.low
        return value < amount.low + 1e-9 and close
    if not amount.spelled and quantity.unit in ("", "µm", "%", "degrees"):
        step = min(
            step, (1.6 if amount.about else 1) * _COARSEST * value + 1e-12
        )  # 0.4 for 0.37 is no rounding that tells anything
    return abs(value - amount.low) <= step or abs(shown - amount.low) <= step
