"""AutoMorph's results: image quality and the 72 measurements, each kept only where it can be trusted."""

import csv
import hashlib
import io
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from retinal_lib import paths
from retinal_lib.dataset import tables
from retinal_lib.dataset.lesions.boxes import CropInfo
from retinal_lib.dataset.measurements import REASONS, SPEC, Feature, _by_column, features, withhold
from retinal_lib.dataset.tables import fold, image_key
from retinal_lib.display import are, count
from retinal_lib.errors import UserError
from retinal_lib.facts import Fact, Source
from retinal_lib.files import read_bytes

_MOST_COLUMNS = 1_000  # of a table; AutoMorph writes 75
ROW = " row"  # the column of a frame that keeps the row's number in the file; no column of a file begins with a space
Sources = Source | dict[str, Source]  # of a row: its place, or where older files share its columns, each column's cell
AUTOMORPH = "AutoMorph"  # the unit of its quality: who judged it
QUALITY_WORDS = ("good", "usable", "not gradable")
REJECTED = 2  # the level that is not gradable
# the files that AutoMorph writes today, then the intermediate ones that older versions left behind
FINAL = ("M3/Macular_Features.csv", "M3/Disc_Features.csv")
OLDER = tuple(
    (f"M3/{kind}_centred/{kind}_{zone}Measurement.csv", suffix)
    for kind in ("Macular", "Disc")
    for zone, suffix in (("", ""), ("Zone_B_", "_zone_b"), ("Zone_C_", "_zone_c"))
) + tuple((f"{folder}Disc_cup_results.csv", "") for folder in ("M3/", "M3/Macular_centred/", "M3/Disc_centred/"))
CROPS = "M0/crop_info.csv"
SCALES = "resolution_information.csv"  # fundus,res: mm per pixel of each picture, beside the Results folder
# centre_w holds the row and centre_h the column of the field's centre: AutoMorph has the two names the wrong way round
CROP_COLUMNS = ("centre_w", "centre_h", "radius")


class AutoMorph:
    """The tables under one `Results` folder; `notes` names those that are absent, and what is not told.

    `tell`: groups of unreliable measures that are told all the same; `microns_per_pixel`: the scale of the pictures that
    AutoMorph was given, where it is stated."""

    def __init__(self, root: Path, tell: Iterable[str] = (), microns_per_pixel: float | None = None):
        self.root, self.notes, self.inputs = root, [], {}
        self.clashing: set[str] = set()  # folded names of images with rows that contradict each other
        self.tell, self.microns_per_pixel = frozenset(tell), microns_per_pixel
        self.qualities = self._quality(root / "M1" / "results_ensemble.csv")
        # `written` as in the tables, `values` the trusted ones, NaN where there is none; float [rows, features]; `reasons` why
        # a value is withheld, as `withhold` returns it
        self.rows, self.written, self.values, self.reasons, self.sources = self._measurements()
        self._note_withheld()
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

    def _measurements(self) -> tuple[dict[str, int], np.ndarray, np.ndarray, np.ndarray, list[Sources]]:
        names = [f.column for f in features()]
        keys, values, sources = self._final(names)
        if not values and (older := self._older(names)):
            keys, rows, sources = older
            values = [np.array(rows, dtype=float).reshape(len(keys), len(names))]
        matrix = np.vstack(values) if values else np.empty((0, len(names)))
        written = matrix.copy()
        reasons = withhold(matrix, self._stated_scales(keys))
        return self._index(keys, matrix), written, matrix, reasons, sources

    def _stated_scales(self, keys: list[str]) -> np.ndarray:
        """1 for each image whose scale is stated, -1 where two different ones are, else 0; int [images]."""
        listed, page = self._scale_file(), self.microns_per_pixel
        if page is None:
            return np.array([int(key in listed) for key in keys], dtype=int)
        differs = {key for key, microns in listed.items() if abs(microns / page - 1) > 0.01}
        return np.array([-1 if key in differs else 1 for key in keys], dtype=int)

    def _scale_file(self) -> dict[str, float]:
        """Folded image stem -> µm per pixel, from AutoMorph's own file; what it holds by default states nothing."""
        path = next((p for p in (self.root / SCALES, self.root.parent / SCALES) if p.is_file() and self._is_there(p)), None)
        if path is None:
            return {}
        content = tables.read(path)
        self.inputs[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        scales: dict[str, set[float]] = defaultdict(set)
        for name, cell in zip(content.column("fundus"), content.column("res"), strict=True):
            if re.fullmatch(r"\d*\.?\d+(e-?\d+)?", cell.strip(), re.IGNORECASE) and float(cell) > 0:
                scales[image_key(name)].add(float(cell))
        values = {value for some in scales.values() for value in some}
        if len(values) == 1 and values & set(SPEC["default_scales"]):
            default = f"{values.pop():g} mm a pixel for every image, which is AutoMorph's default"
            self.notes.append(f"{path.name} has {default}: this is not taken as a stated scale; microns_per_pixel states one")
            return {}
        return {key: 1000 * min(some) for key, some in scales.items() if len(some) == 1}

    def _note_withheld(self) -> None:
        """Notes each reason once, with its images and values."""
        rows = sorted(self.rows.values())
        for code, why in enumerate(REASONS, start=1):
            cells = self.reasons[rows] == code
            if number := int(cells.sum()):
                images = count(int(cells.any(axis=1).sum()), "image")
                self.notes.append(f"AutoMorph: {count(number, 'value')} of {images} not told: {why}")
        for why in dict.fromkeys(f.why_not for f in features() if self._is_untold(f)):
            columns = [i for i, f in enumerate(features()) if f.why_not == why]
            if (self.written[rows][:, columns] > 0).any():
                group, source = features()[columns[0]].group, features()[columns[0]].source
                told = f"AutoMorph's {group} ({len(columns)} columns) is not told, being unreliable"
                self.notes.append(f"{told} ({source}); tell: [{group}] in params tells it")

    def _is_untold(self, feature: Feature) -> bool:
        return feature.reliability == "unreliable" and feature.group not in self.tell

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
            if value == value and not self._is_untold(f):  # NaN is not a measurement
                source = sources[f.column] if isinstance(sources, dict) else Source(*sources[:2], f.column, sources.cell)
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
