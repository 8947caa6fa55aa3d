"""AutoMorph's measurements of a whole dataset: how they spread, and which of them stand out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from retinal_lib.dataset import automorph, measurements
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.measurements import Feature
from retinal_lib.display import FullTable

# what a page shows; every measurement stands in the file beside it
MAIN = (
    "Disc_height", "CDR_vertical", "CDR_horizontal", "Fractal_dimension", "Vessel_density", "Distance_tortuosity",
    "Artery_Average_width", "Vein_Average_width", "Squared_curvature_tortuosity",
    "CRAE_Knudtson_zone_b", "CRVE_Knudtson_zone_b", "AVR_Knudtson_zone_b",
)  # fmt: skip
FAR = 5.0  # as many robust standard deviations (1.4826 median distances) from the median stand out
_ENOUGH = 8  # values from which on "far from the others" means something


class _AsWritten(automorph.AutoMorph):
    """AutoMorph's tables that keep the numbers as written beside the trusted ones."""

    def _blank_invalid(self, matrix: np.ndarray, names: list[str]) -> None:
        self.written = matrix.copy()
        super()._blank_invalid(matrix, names)


@dataclass(frozen=True)
class Measured:
    """The measurements of `images` (their titles): `written` as in the tables and `trusted` as told, NaN where there is
    none, float [images, features]; features as `measurements.features()`."""

    images: tuple[str, ...]
    written: np.ndarray
    trusted: np.ndarray

    def of(self, column: str) -> tuple[Feature, np.ndarray, np.ndarray]:
        """A measurement, its trusted values, and the values outside its plausible range."""
        place = [f.column for f in measurements.features()].index(column)
        feature, written = measurements.features()[place], self.written[:, place]
        trusted = self.trusted[:, place]
        outside = written[~np.isnan(written) & ~_plausible(written, feature)]
        return feature, trusted[~np.isnan(trusted)], outside

    def table(self, columns: Sequence[str] = MAIN) -> pd.DataFrame:
        """Per measurement how many images have it, its spread, and how many values are left out."""
        rows = [self._row(column) for column in columns]
        return FullTable([row for row in rows if row] or [{"measurement": "none: there are no AutoMorph results"}])

    def _row(self, column: str) -> dict[str, object] | None:
        feature, values, outside = self.of(column)
        written = int((~np.isnan(self.written[:, [f.column for f in measurements.features()].index(column)])).sum())
        if not written:
            return None
        low, middle, high = np.percentile(values, (5, 50, 95)) if len(values) else (np.nan,) * 3
        said = [f"{v:.{feature.digits}f}" if v == v else "" for v in (low, middle, high)]
        return {
            "measurement": feature.words,
            "unit": feature.unit,
            "images": len(values),
            "5 %": said[0],
            "median": said[1],
            "95 %": said[2],
            "plausible": range_of(feature),
            "not plausible": len(outside),
            "left out besides": written - len(values) - len(outside),
        }

    @property
    def outliers(self) -> pd.DataFrame:
        """Every value that is not plausible, and then those far from the others, the farthest first."""
        found = sorted((o for i in range(len(measurements.features())) for o in self._standing_out(i)), key=lambda o: -o[0])
        return pd.DataFrame([row for _, row in found], columns=["image", "measurement", "value", "why"])

    def _standing_out(self, place: int) -> Iterator[tuple[float, tuple[str, str, str, str]]]:
        feature = measurements.features()[place]
        written, trusted = self.written[:, place], self.trusted[:, place]
        known = trusted[~np.isnan(trusted)]
        middle = float(np.median(known)) if len(known) else 0.0
        usual = 1.4826 * float(np.median(np.abs(known - middle))) if len(known) >= _ENOUGH else 0.0
        for image, value, told in zip(self.images, written.tolist(), trusted.tolist(), strict=True):
            if value != value:
                continue
            said = feature.say(value)
            if not _plausible(np.array(value), feature):
                failed = "AutoMorph found nothing to measure" if value == -1 else f"plausible is {range_of(feature)}"
                yield np.inf, (image, feature.words, said if value != -1 else "-1", failed)
            elif told == told and usual and abs(told - middle) > FAR * usual:
                far = abs(told - middle) / usual
                yield far, (image, feature.words, said, f"{far:.1f} robust deviations from the median {feature.say(middle)}")


def _plausible(values: np.ndarray, feature: Feature) -> np.ndarray:
    return (values > feature.low) & (values < feature.high)


def range_of(feature: Feature) -> str:
    """The plausible range as text; where all that is asked is more than its lower end, only that."""
    low = round(feature.low, 3) + 0.0
    return f"{low:g} to {feature.high:g}"


def read(data: BaseDescription, images: Sequence[str], title: Callable[[str], str]) -> Measured:
    """The measurements of these images of a dataset, those without any left out."""
    tables: dict[Path, _AsWritten] = {}
    names, written, trusted = [], [], []
    for image in images:
        results = data.image(image).automorph
        if results is None or results.key is None:
            continue
        known, key = results.tables, results.key
        if known.root not in tables:
            tables[known.root] = _AsWritten(known.root)
        table = tables[known.root]
        if (row := table.rows.get(key)) is not None:
            names.append(title(image))
            written.append(table.written[row])
            trusted.append(table.values[row])
    shape = (len(names), len(measurements.features()))
    return Measured(tuple(names), np.array(written).reshape(shape), np.array(trusted).reshape(shape))
