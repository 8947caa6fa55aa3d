"""AutoMorph's measurements: names, units, digits and valid ranges, as measurements.yaml has them, and which values can be
trusted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from retinal_lib.check.language import lexicon
from retinal_lib.parsing import packaged_yaml

SPEC = packaged_yaml(Path(__file__).with_name("measurements.yaml"))
GROUPS = tuple(SPEC["unreliable"])  # of measures that are told only where params or a page ask for it
CONTRADICTIONS = list(SPEC["withheld"]).index("other_scale")  # so many reasons of the first are contradictions
REASONS = tuple(" ".join(why.split()) for why in SPEC["withheld"].values())


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
    reliability: str  # clinical, research or unreliable
    source: str  # what its reliability rests on
    group: str  # under which an unreliable measure may be asked for, "" for all others

    @property
    def why_not(self) -> str:
        """Why an unreliable measure is not told, with its source; "" for all others."""
        if self.reliability != "unreliable":
            return ""
        return f"{' '.join(SPEC['unreliable'][self.group].split())} ({self.source})"

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
    kind = (spec["reliability"], spec["source"], spec.get("group", ""))
    return Feature(column, words, spec.get("unit", ""), digits, low, high, tuple(parents), where, of, spec["words"], *kind)


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


def note(tell: Iterable[str] = ()) -> str:
    """Returns what a prompt says of the measurements, where these groups of unreliable ones are told too."""
    return " ".join(SPEC["note"].split()) + "".join(SPEC["group_notes"][group] for group in GROUPS if group in tell)


def is_of_picture(name: str) -> bool:
    """Says whether a number of that name is measured in the picture, so that it counts only where the picture is gradable.

    >>> named = ("CRAE", "vertical cup-to-disc ratio", "intra-ocular pressure", "axial length", "visual acuity")
    >>> [name for name in named if not is_of_picture(name)]
    ['intra-ocular pressure', 'axial length', 'visual acuity']
    """
    text, of = lexicon.read(name), SPEC["of_picture"]
    measures = [term.values for term in text.of("measures")]  # several values: it may be another, as in spherical equivalent
    return text.has(of["words"]) or any(values[0] in of["measures"] for values in measures if len(values) == 1)


# --- which values can be trusted --------------------------------------------------------------------------------------

_PAIRS = (("height", "vertical"), ("width", "horizontal"))


def withhold(matrix: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Sets to NaN what is a failure value, implausible, contradicts itself, is of doubtful scale, or is derived from such a
    value. Returns why, int [rows, features]: 0, or one more than the place in `REASONS` where a row is the reason.

    `matrix`: float [rows, features] as written; `scales`: int [rows], 1 where a scale is stated, -1 where two that differ
    are, else 0."""
    place = {f.column: i for i, f in enumerate(features())}
    written, reasons = matrix.copy(), np.zeros(matrix.shape, np.int8)
    needs_scale = [place[f.column] for f in features() if f.unit == "µm" or f.column.startswith("AVR_Hubbard")]
    names = list(SPEC["withheld"])
    for name, rows, columns in (*_contradictions(written, place), *_of_doubtful_scale(written, place, scales, needs_scale)):
        cells = np.ix_(np.flatnonzero(rows), columns)
        reasons[cells] = np.where((reasons[cells] == 0) & (written[cells] > 0), names.index(name) + 1, reasons[cells])
    matrix[reasons > 0] = np.nan
    with np.errstate(invalid="ignore"):
        for f in features():
            values = matrix[:, place[f.column]]
            values[~((values > f.low) & (values < f.high))] = np.nan
        doubtful = np.isin(reasons, [names.index(name) + 1 for name in ("scale", "other_scale")]) & (written > 0)
    for f in features():
        for parent in (place[name] for name in f.parents):
            # a ratio that needs no unit counts also where the unit of its two lengths is not known
            matrix[~(~np.isnan(matrix[:, parent]) | doubtful[:, parent]), place[f.column]] = np.nan
    return reasons


Broken = Iterator[tuple[str, np.ndarray, list[int]]]  # name of the reason, rows as bool [rows], the columns that are concerned


def _contradictions(written: np.ndarray, place: dict[str, int]) -> Broken:
    """Rows that break their own arithmetic."""
    values = np.where(written > 0, written, np.nan)  # a failure contradicts nothing
    with np.errstate(invalid="ignore"):
        pairs = [[place[f"Cup_{length}"], place[f"Disc_{length}"], place[f"CDR_{axis}"]] for length, axis in _PAIRS]
        # one outline was drawn: where it is wrong in one direction, its other diameters cannot be trusted either
        larger = np.any([values[:, cup] > values[:, disc] for cup, disc, _ in pairs], axis=0)
        yield "cup", larger, [column for columns in pairs for column in columns]
        for columns in pairs:
            cup, disc, ratio = values[:, columns].T
            yield "ratio", np.abs(cup / disc - ratio) > SPEC["rounding"], columns
        for column in (name for name in place if name.startswith("AVR_")):
            columns = [place[column.replace("AVR", name)] for name in ("CRAE", "CRVE", "AVR")]
            crae, crve, ratio = values[:, columns].T
            yield "avr", np.abs(crae / crve - ratio) > SPEC["rounding"], columns
        for part, whole in _parts():
            columns = [place[part], place[whole]]
            yield "part", values[:, columns[0]] > values[:, columns[1]] + SPEC["density_rounding"], columns
    zone_b = [name for name in place if name.endswith("_zone_b")]
    zone_c = [name.replace("_zone_b", "_zone_c") for name in zone_b]
    counted = [not name.startswith("AVR_") for name in zone_b]  # calibres that failed leave a ratio of 1 behind
    in_b, in_c = (values[:, [place[name] for name in zone]][:, counted] for zone in (zone_b, zone_c))
    equal, measured = (in_b == in_c).sum(axis=1), (~np.isnan(in_b + in_c)).sum(axis=1)
    yield "zones", 2 * equal > measured, [place[name] for name in (*zone_b, *zone_c)]


def _parts() -> Iterator[tuple[str, str]]:
    """The densities of a part of the vessels, each with the density of what it is a part of."""
    zones, vessels = list(SPEC["zones"]), list(SPEC["vessels"])
    for zone in zones:
        yield from ((f"{prefix}Vessel_density{zone}", f"Vessel_density{zone}") for prefix in vessels if prefix)
    for prefix in vessels:
        for inner, outer in (("_zone_b", "_zone_c"), ("_zone_c", ""), ("_zone_b", "")):
            yield f"{prefix}Vessel_density{inner}", f"{prefix}Vessel_density{outer}"


def _of_doubtful_scale(written: np.ndarray, place: dict[str, int], scales: np.ndarray, columns: list[int]) -> Broken:
    """Rows whose lengths may be in another unit, or of another scale."""
    low, high = SPEC["plausible_disc"]
    height = written[:, place["Disc_height"]]
    with np.errstate(invalid="ignore"):
        plausible = (height >= low) & (height <= high)
    yield "other_scale", scales < 0, columns
    yield "scale", (scales == 0) & ~plausible, columns
