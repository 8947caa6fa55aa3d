"""AutoMorph's measurements: names, units, digits and valid ranges, as measurements.yaml has them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

SPEC = yaml.safe_load(Path(__file__).with_name("measurements.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Feature:
    """One measurement: its column, how it is said, its unit, digits after the point and open validity interval."""

    column: str
    words: str
    unit: str
    digits: int
    low: float
    high: float
    parents: tuple[str, ...]
    where: str  # the zone's words, "" for the disc
    of: str  # the vessels' words, "" for the disc and the calibres
    measure: str  # the measure's words without vessels and zone

    def say(self, value: float) -> str:
        """Writes a value with its unit: 152.3 µm."""
        return f"{value:.{self.digits}f}{' ' if self.unit else ''}{self.unit}"

    @property
    def template(self) -> str:
        """A %-template of the feature's clause."""
        return f"the {self.words} is %.{self.digits}f{' ' if self.unit else ''}{self.unit}"


def _feature(column: str, spec: dict, words: str, parents: Iterable[str] = (), where: str = "", of: str = "") -> Feature:
    digits = spec.get("zone_digits", spec["digits"]) if "_zone_" in column else spec["digits"]
    low, high = spec["valid"]
    return Feature(column, words, spec.get("unit", ""), digits, low, high, tuple(parents), where, of, spec["words"])


@cache
def features() -> tuple[Feature, ...]:
    """Returns all measurements, in the order of AutoMorph's header; the optional extra ones last."""
    result = [_feature(c, s, s["words"], [s["parent"]] if "parent" in s else ()) for c, s in SPEC["disc"].items()]
    for zone, where in SPEC["zones"].items():
        for prefix, vessels in SPEC["vessels"].items():
            for measure, spec in SPEC["measures"].items():
                parents = [f"{prefix}{spec['parent']}{zone}"] if "parent" in spec else []
                words = f"{spec['words']} of the {vessels['of']} {where}"
                result.append(_feature(f"{prefix}{measure}{zone}", spec, words, parents, where, vessels["of"]))
            if zone:
                result += _calibres(prefix, zone, where)
        if zone:
            result += _calibres(None, zone, where)
    return (*result, *(_feature(c, s, s["words"]) for c, s in SPEC["extra"].items()))


def _calibres(after: str | None, zone: str, where: str) -> list[Feature]:
    return [
        _feature(f"{name}{zone}", spec, f"{spec['words']} {where}", [p + zone for p in spec.get("parents", ())], where)
        for name, spec in SPEC["calibres"].items()
        if spec.get("after") == after
    ]


def feature(column: str) -> Feature:
    """Returns the measurement of that column."""
    return _by_column()[column]


@cache
def columns() -> frozenset[str]:
    """Returns the columns of all measurements."""
    return frozenset(_by_column())


@cache
def _by_column() -> dict[str, Feature]:
    return {f.column: f for f in features()}
