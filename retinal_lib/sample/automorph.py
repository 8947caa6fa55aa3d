"""What AutoMorph would measure on a drawn eye, taken from the drawing itself, and its tables; lengths in µm."""

import csv
import io
import math
from collections.abc import Callable
from functools import cached_property
from pathlib import PurePosixPath

import cv2
import numpy as np

from retinal_lib.dataset import measurements
from retinal_lib.sample.canvas import Canvas, Disc, generator
from retinal_lib.sample.vessels import Vessel

SQUARE = 912  # AutoMorph's grid
SHORTEST = 15 / SQUARE  # AutoMorph leaves out shorter vessels; as a share of the square
ZONES = {"": (0.0, 99.0), "_zone_b": (2.0, 3.0), "_zone_c": (2.0, 5.0)}  # in disc radii around the disc's centre
COLUMNS = ("Name", *(f.column for f in measurements.features() if f.column not in measurements.SPEC["extra"]))
QUALITY = "Name,softmax_good,softmax_usable,softmax_bad,good_sd,usable_sd,bad_sd,Prediction"
# quality -> probability of bad, from and to; and which share of the rest is good
PROBABILITIES = {
    "good": ((0.01, 0.08), 0.88),
    "usable": ((0.06, 0.2), 0.26),
    "doubtful": ((0.28, 0.36), 0.2),
    "bad": ((0.7, 0.95), 0.25),
}
PREFIXES = {"": ("artery", "vein"), "Artery_": ("artery",), "Vein_": ("vein",)}


def measure(canvas: Canvas, disc: Disc, vessels: list[Vessel], drawn: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns AutoMorph's columns with their values; a column that cannot be measured is absent.

    `drawn`: the pixels of the arteries and of the veins, bool [height, width]."""
    micron = float(generator("scale", canvas.eye.patient).uniform(1720, 1900))  # µm in a disc diameter
    width, height = 2 * disc.half[0] * micron, 2 * disc.half[1] * micron
    values = {
        "Disc_height": height,
        "Disc_width": width,
        "Cup_height": height * disc.cup[1],
        "Cup_width": width * disc.cup[0],
        "CDR_vertical": disc.cup[1],
        "CDR_horizontal": disc.cup[0],
    }
    grids = {kind: _on_grid(canvas, mask) for kind, mask in drawn.items()}
    radius = max(disc.half)
    from_disc = _disc_distance(canvas) / radius
    by_zone = _stretches(canvas, vessels, [(near * radius, far * radius) for near, far in ZONES.values()])
    for (zone, (near, far)), parts in zip(ZONES.items(), by_zone, strict=True):
        ring = (from_disc >= near) & (from_disc < far)
        for prefix, kinds in PREFIXES.items():
            grid = np.logical_or.reduce([grids[kind] for kind in kinds]) & ring
            some = [part for kind in kinds for part in parts if part.kind == kind]
            values |= {f"{prefix}{name}{zone}": value for name, value in _vessel_values(grid, some, micron).items()}
        if zone:
            values |= {f"{name}{zone}": value for name, value in _calibres(parts, micron).items()}
    return {f.column: values[f.column] for f in measurements.features() if f.column in values}


def _on_grid(canvas: Canvas, mask: np.ndarray) -> np.ndarray:
    """The mask on AutoMorph's grid, bool [912, 912]."""
    scale = SQUARE / (2 * canvas.radius)
    move = np.float32([[scale, 0, SQUARE / 2 - scale * canvas.centre[0]], [0, scale, SQUARE / 2 - scale * canvas.centre[1]]])
    return cv2.warpAffine(mask.astype(np.uint8) * 255, move, (SQUARE, SQUARE), flags=cv2.INTER_LINEAR) > 127


def _disc_distance(canvas: Canvas) -> np.ndarray:
    """Distance of each point of AutoMorph's grid from the disc's centre, in disc diameters."""
    column, row = canvas.pixel(*canvas.disc)
    scale = SQUARE / (2 * canvas.radius)
    rows, columns = np.ogrid[0:SQUARE, 0:SQUARE]
    place = ((column - canvas.centre[0]) * scale + SQUARE / 2, (row - canvas.centre[1]) * scale + SQUARE / 2)
    return np.hypot(columns - place[0], rows - place[1]).astype(np.float32) / (canvas.dd * scale)


class _Stretch:
    """A stretch of a vessel: its kind, its points [n, 2] in eye coordinates, n of 5 or more, and its width in disc diameters.
    What is measured of it counts in several columns, and is measured once."""

    def __init__(self, kind: str, points: np.ndarray, widths: np.ndarray):
        self.kind, self.width = kind, float(widths.mean())
        self._points, self._steps = points, points[1:] - points[:-1]
        x, y = self._steps.T
        self._lengths = np.sqrt(x * x + y * y)
        self.length = float(self._lengths.sum())

    @cached_property
    def tortuosity(self) -> float:
        """Its length over the distance of its ends."""
        return self.length / float(_chords(self._points[[0, -1]])[0])

    @cached_property
    def _turns(self) -> np.ndarray:
        """The signed turn at each inner point, in radians."""
        heading = np.arctan2(self._steps[:, 1], self._steps[:, 0])
        return (heading[1:] - heading[:-1] + math.pi) % (2 * math.pi) - math.pi

    @cached_property
    def turn(self) -> float:
        """The turn from its first point to its last, in radians."""
        return float(abs(self._turns.sum()))

    @cached_property
    def tortuosity_density(self) -> float:
        """Grisan's, with AutoMorph's sum: (n-1)/n + sum(arc/chord - 1)/L over n stretches of one bend."""
        turns = np.convolve(self._turns, np.ones(3) / 3, "same")
        cuts = (np.flatnonzero((turns[1:] > 0) != (turns[:-1] > 0)) + 2).tolist()
        if not cuts:
            return 0.0
        arcs = np.add.reduceat(self._lengths, [0, *cuts])
        bends = arcs / _chords(self._points[[0, *cuts, -1]]) - 1
        return (len(arcs) - 1) / len(arcs) + float(bends.sum()) / self.length


def _chords(points: np.ndarray) -> np.ndarray:
    """The distances [n - 1] from each point to the next."""
    x, y = (points[1:] - points[:-1]).T
    return np.maximum(np.hypot(x, y), 1e-6)


def _stretches(canvas: Canvas, vessels: list[Vessel], zones: list[tuple[float, float]]) -> list[list[_Stretch]]:
    """For each zone, the stretches of the vessels that lie in the field and between its two distances from the disc."""
    found: list[list[_Stretch]] = [[] for _ in zones]
    for vessel in vessels:
        pixels = canvas.pixels(vessel.points)
        from_disc = np.hypot(*(vessel.points - canvas.disc).T)
        visible = np.hypot(*(pixels - canvas.centre).T) < canvas.radius
        visible &= (pixels[:, 1] > 0) & (pixels[:, 1] < canvas.height)
        for stretches, (near, far) in zip(found, zones, strict=True):
            padded = np.concatenate([[False], visible & (from_disc >= near) & (from_disc < far), [False]])
            for start, end in np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2).tolist():
                if end - start > 4:
                    stretch = _Stretch(vessel.kind, vessel.points[start:end], vessel.widths[start:end])
                    if stretch.length * canvas.dd / (2 * canvas.radius) > SHORTEST:
                        stretches.append(stretch)
    return found


def _vessel_values(grid: np.ndarray, parts: list[_Stretch], micron: float) -> dict[str, float]:
    if not parts or not grid.any():
        return {}
    length = sum(p.length for p in parts)
    return {
        "Fractal_dimension": fractal_dimension(grid),
        "Vessel_density": np.count_nonzero(grid) / grid.size,
        "Average_width": micron * sum(p.length * p.width for p in parts) / length,
        "Distance_tortuosity": float(np.mean([p.tortuosity for p in parts])),
        "Squared_curvature_tortuosity": float(np.mean([p.turn for p in parts])),
        "Tortuosity_density": float(np.mean([p.tortuosity_density for p in parts])),
    }


def fractal_dimension(grid: np.ndarray) -> float:
    """Returns the fractal dimension of a mask, bool [912, 912], by AutoMorph's box counting: boxes neither empty nor full."""
    shares = np.zeros((1024, 1024), np.float32)
    shares[: grid.shape[0], : grid.shape[1]] = grid
    sides, counts = [4, 8, 16, 32, 64, 128, 256, 512], []
    for side in sides:  # powers of two, so the shares of each box are exact
        shares = cv2.resize(shares, (1024 // side, 1024 // side), interpolation=cv2.INTER_AREA)
        counts.append(int(((shares > 0) & (shares < 1)).sum()))
    return float(-np.polyfit(np.log(sides), np.log(np.maximum(counts, 1)), 1)[0])


# how the widths of two vessels are combined in µm, the narrower one first
FORMULAS: dict[str, Callable[[float, float], float]] = {
    "CRAE_Hubbard": lambda a, b: math.sqrt(0.87 * a * a + 1.01 * b * b - 0.22 * a * b - 10.76),
    "CRVE_Hubbard": lambda a, b: math.sqrt(0.72 * a * a + 0.91 * b * b + 450.05),
    "CRAE_Knudtson": lambda a, b: 0.88 * math.hypot(a, b),
    "CRVE_Knudtson": lambda a, b: 0.95 * math.hypot(a, b),
}


def _calibres(parts: list[_Stretch], micron: float) -> dict[str, float]:
    """CRAE, CRVE and their ratios from the six widest parts; absent where there are fewer."""
    values: dict[str, float] = {}
    for name, formula in FORMULAS.items():
        kind = "artery" if name.startswith("CRAE") else "vein"
        widths = sorted((micron * part.width for part in parts if part.kind == kind), reverse=True)[:6]
        if len(widths) == 6:
            values[name] = _combine(widths, formula)
    for author in ("Hubbard", "Knudtson"):
        if f"CRAE_{author}" in values and f"CRVE_{author}" in values:
            values[f"AVR_{author}"] = values[f"CRAE_{author}"] / values[f"CRVE_{author}"]
    return values


def _combine(widths: list[float], formula: Callable[[float, float], float]) -> float:
    """Pairs the widest with the narrowest until one width is left."""
    while len(widths) > 1:
        widths = sorted(widths)
        half = len(widths) // 2
        widths = [formula(widths[i], widths[-1 - i]) for i in range(half)] + widths[half : len(widths) - half]
    return widths[0]


def quality_row(path: str, quality: str, seed: str) -> str:
    """Returns a photograph's row in the table of AutoMorph's quality check, for a quality as in eyes.yaml."""
    rng = generator(seed, "quality", path)
    between, share = PROBABILITIES[quality]
    bad = round(rng.uniform(*between), 8)
    good = round((1 - bad) * share * rng.uniform(0.92, 1.04), 8)
    probabilities = [good, round(1 - good - bad, 8), bad]
    spread = [round(float(x), 8) for x in rng.uniform(0.01, 0.08, 3)]
    # AutoMorph's Name is a path to its own crop, whatever the image was called
    name = f"../Results/M0/images/{PurePosixPath(path).stem}.png"
    return ",".join(map(str, [name, *probabilities, *spread, probabilities.index(max(probabilities))]))


def measurements_row(path: str, measures: dict[str, float], failed: str) -> str:
    """Returns a photograph's row in the table of measurements. `failed`: disc, artery, cup, or nothing.

    What failed is empty, a ratio of two failures 1.0, of one of them negative; a cup that failed is larger than its disc."""
    values = dict(measures)
    if failed == "disc":  # no disc, no zones
        values = {c: v for c, v in values.items() if "_zone_" not in c and not c.startswith(("Disc", "Cup", "CDR"))}
        values |= {c: 1.0 for c in COLUMNS if c.startswith("AVR")}
    elif failed == "cup" and "Disc_height" in values:
        values |= {"Cup_height": 1.08 * values["Disc_height"], "CDR_vertical": 1.08}
    elif failed == "artery":
        values = {c: v for c, v in values.items() if not (c.startswith("CRAE") and c.endswith("_zone_b"))}
        values |= {
            f"AVR_{f}_zone_b": -1 / values[f"CRVE_{f}_zone_b"] for f in ("Hubbard", "Knudtson") if f"CRVE_{f}_zone_b" in values
        }
    cells = [f"{PurePosixPath(path).stem}.png", *(f"{values[c]:.9g}" if c in values else "" for c in COLUMNS[1:])]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
