"""AutoMorph's results: image quality and the 72 measurements, each kept only where it can be trusted."""

import csv
import hashlib
import io
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from retinal_lib import paths
from retinal_lib.dataset import tables
from retinal_lib.dataset.lesions.boxes import CropInfo
from retinal_lib.dataset.measurements import SPEC, _by_column, features
from retinal_lib.dataset.tables import fold, image_key
from retinal_lib.display import are
from retinal_lib.errors import UserError
from retinal_lib.facts import Fact, Source
from retinal_lib.files import read_bytes

_MOST_COLUMNS = 1_000  # of a table; AutoMorph writes 75
ROW = " row"  # the column of a frame that keeps the row's number in the file; no column of a file begins with a space
Sources = Source | dict[str, Source]  # of a row: its place, or where older files share its columns, each column's cell
AUTOMORPH = "AutoMorph"  # the unit of its quality: who judged it
QUALITY_WORDS = ("good", "usable", "not gradable")
# the files that AutoMorph writes today, then the intermediate ones that older versions left behind
FINAL = ("M3/Macular_Features.csv", "M3/Disc_Features.csv")
OLDER = tuple(
    (f"M3/{kind}_centred/{kind}_{zone}Measurement.csv", suffix)
    for kind in ("Macular", "Disc")
    for zone, suffix in (("", ""), ("Zone_B_", "_zone_b"), ("Zone_C_", "_zone_c"))
) + tuple((f"{folder}Disc_cup_results.csv", "") for folder in ("M3/", "M3/Macular_centred/", "M3/Disc_centred/"))
CROPS = "M0/crop_info.csv"
# centre_w holds the row and centre_h the column of the field's centre: AutoMorph has the two names the wrong way round
CROP_COLUMNS = ("centre_w", "centre_h", "radius")


class AutoMorph:
    """The tables under one `Results` folder; `notes` names those that are absent."""

    def __init__(self, root: Path):
        self.root, self.notes, self.inputs = root, [], {}
        self.clashing: set[str] = set()  # folded names of images with rows that contradict each other
        self.qualities = self._quality(root / "M1" / "results_ensemble.csv")
        # `written` as in the tables, `values` the trusted ones, NaN where there is none; float [rows, features]
        self.rows, self.written, self.values, self.sources = self._measurements()
        if not self.qualities:
            self.notes.append(f"no AutoMorph quality table ({paths.display_path(root / 'M1/results_ensemble.csv')})")
        if not self.rows:
            self.notes.append(f"no AutoMorph measurements ({paths.display_path(root / 'M3')})")

    def _is_there(self, path: Path) -> bool:
        """Whether a table exists and is not empty, as AutoMorph leaves it where it was stopped."""
        if not path.is_file():
            return False
        if path.stat().st_size < 1024 and not path.read_bytes().strip():
            self.notes.append(f"{path.name} is empty, so nothing of it is told; run this step of AutoMorph again")
            return False
        return True

    def _read(self, path: Path) -> pd.DataFrame:
        raw = read_bytes(path)
        self.inputs[str(path)] = hashlib.sha256(raw).hexdigest()
        try:
            if raw.count(b",", 0, raw.find(b"\n")) > _MOST_COLUMNS:
                raise csv.Error(f"more than {_MOST_COLUMNS} columns")
            frame = pd.read_csv(io.BytesIO(raw), encoding="utf-8-sig", skipinitialspace=True, skip_blank_lines=False)
            header = next(csv.reader([raw.split(b"\n", 1)[0].decode("utf-8-sig").strip()]), [])
        except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error, ValueError, OverflowError) as error:
            raise UserError(f"{path}: not a readable AutoMorph table ({str(error).strip()})") from error
        if len(frame) and not isinstance(frame.index, pd.RangeIndex):
            columns = len(header)
            raise UserError(f"{path}, row 2: more cells than the {columns} of the header; cells cannot be matched to columns")
        names = [_canonical().get(fold(name), name.strip()) for name in header]
        twice = next((name for name in names if name and names.count(name) > 1), None)
        if twice:
            raise UserError(f"{path}: the column {twice!r} occurs twice; column names must be unique")
        if len(names) != frame.shape[1]:
            raise UserError(f"{path}, row 1: the header has {frame.shape[1]} cells over several lines; write it in one line")
        if "Name" not in names:
            raise UserError(f"{path}: no column 'Name'; the columns are {', '.join(map(repr, names[:8]))}, …")
        frame.columns = names
        frame = frame.assign(**{ROW: range(2, len(frame) + 2)})
        frame = frame[frame["Name"].notna()]
        # Name is a path in M1 and a bare name in M3, with either slash
        frame.index = [image_key(str(name)) for name in frame["Name"]]
        return frame

    def _quality(self, path: Path) -> dict[str, Fact]:
        """Folded image stem -> AutoMorph's verdict on its quality."""
        if not self._is_there(path):
            return {}
        frame = self._read(path)
        for column in ("Prediction", "softmax_bad"):
            if column not in frame.columns:
                raise UserError(f"{path}: no column {column!r}; the columns are {', '.join(map(repr, frame.columns))}")
        facts: dict[str, Fact] = {}
        clashing: set[str] = set()
        cells = zip(frame.index, frame[ROW], _numbers(frame["Prediction"]), _numbers(frame["softmax_bad"]), strict=True)
        for place, (key, number, prediction, bad) in enumerate(cells):
            if prediction not in (0, 1, 2) or np.isnan(bad):
                written = [str(frame[column].iloc[place]) for column in ("Prediction", "softmax_bad")]
                self.notes.append(
                    f"{path.name}, row {number}: Prediction {' with softmax_bad '.join(written)} is not a quality "
                    "(0, 1 or 2 with a probability); left out"
                )
                continue
            # a "usable" image is still rejected by AutoMorph where it is too probably bad
            level = 2 if prediction == 1 and bad >= SPEC["softmax_bad"] else int(prediction)
            if key in facts and facts[key].value != level:
                clashing.add(key)
            words = QUALITY_WORDS[level]
            verdict = "rejected the image as" if level == 2 else "called the image"
            text, source = f"AutoMorph's quality check {verdict} {words}", Source(str(path), number, "Prediction")
            facts[key] = Fact("quality", "quality", level, AUTOMORPH, text, source, words)
        self.clashing |= clashing
        for key in sorted(clashing):
            self.notes.append(f"{path.name}: {key!r} has rows with different qualities; they are left out")
            del facts[key]
        return facts

    def _measurements(self) -> tuple[dict[str, int], np.ndarray, np.ndarray, list[Sources]]:
        names = [f.column for f in features()]
        keys, values, sources = self._final(names)
        if not values and (older := self._older(names)):
            keys, rows, sources = older
            values = [np.array(rows, dtype=float).reshape(len(keys), len(names))]
        matrix = np.vstack(values) if values else np.empty((0, len(names)))
        written = matrix.copy()
        self._blank_invalid(matrix, names)
        return self._index(keys, matrix), written, matrix, sources

    def _final(self, names: list[str]) -> tuple[list[str], list[np.ndarray], list[Source]]:
        keys, values, sources = [], [], []
        for path in (self.root / name for name in FINAL if self._is_there(self.root / name)):
            frame = self._read(path)
            missing = [n for n in names if n not in frame.columns and n not in SPEC["extra"]]
            if missing:
                self.notes.append(
                    f"{path.name}: {len(missing)} of AutoMorph's 72 columns {are(len(missing))} missing, "
                    f"the first {missing[0]!r}"
                )
            values.append(self._matrix(path, frame, names))
            keys += list(frame.index)
            sources += [Source(str(path), number) for number in frame[ROW]]
        return keys, values, sources

    def _matrix(self, path: Path, frame: pd.DataFrame, names: list[str]) -> np.ndarray:
        """The cells of these columns as numbers [row, column], NaN where there is none."""
        bad = sum(
            int((_numbers(frame[n]).isna() & frame[n].notna() & (frame[n].astype(str).str.strip() != "")).sum())
            for n in names
            if n in frame.columns and not pd.api.types.is_numeric_dtype(frame[n])
        )
        if bad:
            self.notes.append(f"{path.name}: {bad} cells are not numbers; they are left out")
        return frame.reindex(columns=names).apply(_numbers).to_numpy(dtype=float).reshape(len(frame), len(names))

    def _older(self, names: list[str]) -> tuple[list[str], list[list[float]], list[dict[str, Source]]] | None:
        """The intermediate files: zone columns carry no suffix there, and each file holds some of the columns."""
        cells: dict[tuple[str, str], dict[str, tuple[float, Source]]] = defaultdict(dict)
        for name, suffix in OLDER:
            if not self._is_there(self.root / name):
                continue
            path, kind = self.root / name, "Disc" if name.startswith("M3/Disc_centred/") else "Macular"
            frame = self._read(path)
            frame = frame.rename(columns={c: c + suffix for c in frame.columns if c + suffix in names})
            matrix = self._matrix(path, frame, names)
            for key, i in self._index(list(frame.index), matrix).items():
                row, values = Source(str(path), int(frame[ROW].iloc[i])), zip(names, matrix[i].tolist(), strict=True)
                # zone tables write their columns without the zone
                found = {n: (v, row._replace(column=n.removesuffix(suffix))) for n, v in values if v == v}
                cells[kind, key] = found | cells[kind, key]  # of two files that both hold a column, the first counts
        if not cells:
            return None
        self.notes.append("AutoMorph's older intermediate tables were read (no M3/*_Features.csv)")
        rows = [[row[n][0] if n in row else np.nan for n in names] for row in cells.values()]
        return [key for _, key in cells], rows, [{n: place for n, (_, place) in row.items()} for row in cells.values()]

    def _blank_invalid(self, matrix: np.ndarray, names: list[str]) -> None:
        """Sets to NaN what is a failure value, implausible, of unknown unit, or derived from such a value."""
        column = {name: i for i, name in enumerate(names)}
        lengths = [column[f.column] for f in features() if f.unit == "µm"]
        measured = matrix > 0  # a ratio that needs no unit counts also where the unit of its two lengths is not known
        evidence, trusted = _unit_evidence(matrix, column)
        if len(matrix) and not trusted:
            hubbard = [i for name, i in column.items() if name.startswith("AVR_Hubbard")]
            matrix[:, lengths + hubbard] = np.nan
            self.notes.append(
                f"AutoMorph's lengths are left out: their unit could not be confirmed as µm ({evidence}); "
                "check resolution_information.csv (mm per pixel)"
            )
        with np.errstate(invalid="ignore"):
            for f in features():
                values = matrix[:, column[f.column]]
                values[~((values > f.low) & (values < f.high))] = np.nan
            for f in features():
                for parent in (column[name] for name in f.parents):
                    known = measured[:, parent] if parent in lengths and not trusted else ~np.isnan(matrix[:, parent])
                    matrix[~known, column[f.column]] = np.nan

    def _index(self, keys: list[str], matrix: np.ndarray) -> dict[str, int]:
        index: dict[str, int] = {}
        clashing = set()
        for i, key in enumerate(keys):
            if key in index and not np.array_equal(matrix[index[key]], matrix[i], equal_nan=True):
                clashing.add(key)
            index.setdefault(key, i)
        self.clashing |= clashing
        for key in sorted(clashing):
            self.notes.append(f"AutoMorph measured {key!r} twice with different values; they are left out")
            del index[key]
        return index

    @cached_property
    def crops(self) -> dict[str, CropInfo]:
        """Folded image stem -> its crop; empty where there is no such file. Left out: a row that is not three whole numbers,
        and an image listed twice with different ones. UserError: the file is not a table with these columns."""
        if not self._is_there(self.root / CROPS):
            return {}
        content = tables.read(self.root / CROPS)
        crops: dict[str, CropInfo] = {}
        clashing = set()
        for name, *cells in zip(content.column("Name"), *map(content.column, CROP_COLUMNS), strict=True):
            if not all(re.fullmatch(r"[0-9]{1,6}(\.0*)?", cell) for cell in cells):
                continue
            crop = CropInfo(*(int(float(cell)) for cell in cells))
            if not crop.radius or crops.setdefault(image_key(name), crop) != crop:
                clashing.add(image_key(name))
        return {key: crop for key, crop in crops.items() if key not in clashing}

    def measurements(self, key: str | None) -> list[Fact]:
        """Returns one fact per trusted measurement of an image."""
        row = self.rows.get(key)
        if row is None:
            return []
        sources = self.sources[row]
        facts = []
        for f, value in zip(features(), self.values[row].tolist(), strict=True):
            if value == value:  # NaN is not a measurement
                source = sources[f.column] if isinstance(sources, dict) else sources._replace(column=f.column)
                facts.append(Fact("vascular", f.column, value, f.unit, f.template % value, source, f.words))
        return facts


@dataclass(frozen=True)
class ImageResults:
    """AutoMorph's results for one image; `key` is its name in the tables, None where its row cannot be identified."""

    tables: AutoMorph
    stem: str
    key: str | None

    @property
    def ambiguous(self) -> str:
        """Why the results of the image are left out; "" where its rows are known."""
        if self.key is not None:
            return ""
        root = paths.display_path(self.tables.root)
        return (
            f"AutoMorph's results are left out: several splits have an image {self.stem}, and {root} does not say "
            f"whose results these are; run each split alone, or put its results into {root}/<split>"
        )

    @property
    def quality(self) -> Fact | None:
        """The quality fact, None where AutoMorph gives none."""
        return self.tables.qualities.get(self.key)

    @property
    def measurements(self) -> list[Fact]:
        """One fact per trusted measurement."""
        return self.tables.measurements(self.key)

    @property
    def crop(self) -> CropInfo | None:
        """The crop of the picture; None where there is none. UserError: the file of crops cannot be read."""
        return self.tables.crops.get(self.key)


def _unit_evidence(matrix: np.ndarray, column: dict[str, int]) -> tuple[str, bool]:
    """The evidence for or against µm, and whether the lengths can be used."""
    for name, (low, high) in SPEC["micrometres"].items():
        values = matrix[:, [i for n, i in column.items() if n == name or n.startswith(f"{name}_zone")]]
        values = values[values > 0]
        if values.size:
            median = float(np.median(values))
            return f"the median {name} is {median:.4g}, in µm it lies between {low} and {high}", low <= median <= high
    return "neither a disc height nor a CRAE was measured", False


def _numbers(column: pd.Series) -> pd.Series:
    if column.dtype == object:  # a whole number of hundreds of digits fits into no float
        column = column.where(column.astype(str).str.len() < 100)
    return pd.to_numeric(column, errors="coerce")


@cache
def _canonical() -> dict[str, str]:
    """Folded column name -> the name as AutoMorph writes it."""
    return {fold(name): name for name in (*_by_column(), "Name", "Prediction", "softmax_bad")}


def results_folder(root: Path, split: str) -> Path:
    """Returns a split's own results folder where there is one (ids restart in some datasets), else the root itself."""
    return root / split if (root / split / "M1").is_dir() or (root / split / "M3").is_dir() else root
