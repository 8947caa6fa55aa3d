"""AutoMorph's measurements of a whole dataset: their spread and their outliers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from retinal_lib.dataset import measurements
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.measurements import Feature
from retinal_lib.display import FullTable, count

# the measurements in the notebook; the file holds all
MAIN = (
    "Disc_height", "CDR_vertical", "CDR_horizontal", "Fractal_dimension", "Vessel_density",
    "Artery_Average_width", "Vein_Average_width", "Distance_tortuosity", "Squared_curvature_tortuosity",
    "CRAE_Knudtson_zone_b", "CRVE_Knudtson_zone_b", "AVR_Knudtson_zone_b",
)  # fmt: skip
FAR = 5.0  # robust standard deviations (1.4826 median distances) from the median, beyond which a value is an outlier
_MIN_VALUES = 8  # from this number on, "far from the others" is meaningful


@dataclass(frozen=True)
class Measurements:
    """The measurements of `images` (their titles): `written` as in the tables, and `trusted`, those that can be told; NaN for
    none; float [images, features], features as `measurements.features()`. `reasons` says why a row's values are withheld, as
    `measurements.withhold` returns it; `told` names the unreliable groups that are told."""

    images: tuple[str, ...]
    written: np.ndarray
    trusted: np.ndarray
    reasons: np.ndarray
    told: frozenset[str] = frozenset()

    def of(self, feature: Feature) -> tuple[np.ndarray, np.ndarray]:
        """Returns the trusted values of a measurement, and the values outside its plausible range; float [n] each."""
        column = measurements.features().index(feature)
        written, trusted = _without_nan(self.written[:, column]), _without_nan(self.trusted[:, column])
        return trusted, written[~_plausible(written, feature)]

    def table(self, columns: Sequence[str] = MAIN) -> pd.DataFrame:
        """Returns for each measurement its number of images, its spread, and how many values are left out."""
        rows = [self._row(measurements.feature(column)) for column in columns]
        return FullTable([row for row in rows if row] or [{"measurement": "none: there are no AutoMorph results"}])

    def _row(self, feature: Feature) -> dict[str, object] | None:
        values, outside = self.of(feature)
        column = measurements.features().index(feature)
        written = len(_without_nan(self.written[:, column]))
        if not written:
            return None
        spread = [f"{v:.{feature.digits}f}" for v in np.percentile(values, (5, 50, 95))] if len(values) else [""] * 3
        return {
            "measurement": feature.words,
            "unit": feature.unit,
            "images": len(values),
            **dict(zip(("5 %", "median", "95 %"), spread, strict=True)),
            "plausible": range_of(feature),
            "not plausible": len(outside),
            "left out besides": written - len(values) - len(outside),
            "reliability": feature.reliability,
            "why": self._why(feature, column),
        }

    def _why(self, feature: Feature, column: int) -> str:
        """Why the measurement is not told, or is not told of some images."""
        untold = f"not told: {feature.why_not}" if feature.why_not and feature.group not in self.told else ""
        counts = [int((self.reasons[:, column] == code).sum()) for code in range(1, len(measurements.REASONS) + 1)]
        some = [f"{count(n, 'image')}: {why}" for n, why in zip(counts, measurements.REASONS, strict=True) if n]
        return "; ".join(filter(None, [untold, *some]))

    @property
    def outliers(self) -> pd.DataFrame:
        """All values that are not plausible, then those far from the median, the farthest first."""
        rows = [row for column in range(len(measurements.features())) for row in self._outliers(column)]
        rows.sort(key=lambda row: -row[0])
        return pd.DataFrame([row for _, *row in rows], columns=["image", "measurement", "value", "why"])

    def _outliers(self, column: int) -> Iterator[tuple[float, str, str, str, str]]:
        """Distance from the median, image, measurement, value and reason of each outlier of a column."""
        feature = measurements.features()[column]
        written, trusted = self.written[:, column], self.trusted[:, column]
        values = _without_nan(trusted)
        median = float(np.median(values)) if len(values) else 0.0
        deviation = 1.4826 * float(np.median(np.abs(values - median))) if len(values) >= _MIN_VALUES else 0.0
        reasons = self.reasons[:, column]
        broken = (reasons > 0) & (reasons <= measurements.CONTRADICTIONS)
        for i in np.flatnonzero(broken).tolist():
            yield np.inf, self.images[i], feature.words, feature.say(written[i]), measurements.REASONS[reasons[i] - 1]
        for i in np.flatnonzero(~np.isnan(written) & ~_plausible(written, feature) & ~broken).tolist():
            failed = written[i] == -1
            why = "AutoMorph found nothing to measure" if failed else f"plausible is {range_of(feature)}"
            yield np.inf, self.images[i], feature.words, "-1" if failed else feature.say(written[i]), why
        far = np.abs(trusted - median) / deviation if deviation else np.zeros(len(trusted))
        for i in np.flatnonzero(far > FAR).tolist():
            why = f"{far[i]:.1f} robust deviations from the median {feature.say(median)}"
            yield far[i], self.images[i], feature.words, feature.say(written[i]), why


def _without_nan(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


def _plausible(values: np.ndarray, feature: Feature) -> np.ndarray:
    return (values > feature.low) & (values < feature.high)


def range_of(feature: Feature) -> str:
    """Returns a measurement's plausible range as text."""
    return f"{round(feature.low, 3) + 0.0:g} to {feature.high:g}"


def read(data: BaseDescription, images: Sequence[str], title: Callable[[str], str]) -> Measurements:
    """Returns the measurements of these images of a dataset; images without any are left out."""
    names, written, trusted, reasons, told = [], [], [], [], frozenset()
    for name in images:
        results = data.image(name).automorph
        row = results.tables.rows.get(results.key) if results else None
        if row is not None:
            names.append(title(name))
            written.append(results.tables.written[row])
            trusted.append(results.tables.values[row])
            reasons.append(results.tables.reasons[row])
            told = results.tables.tell
    shape = (len(names), len(measurements.features()))
    parts = (np.array(part).reshape(shape) for part in (written, trusted, reasons))
    return Measurements(tuple(names), *parts, told)
