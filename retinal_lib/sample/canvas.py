"""A fundus picture being painted: where things lie in the eye and in the picture, and soft shapes laid over it."""

import hashlib
import math
from dataclasses import dataclass, field

import cv2
import numpy as np

Colour = tuple[float, float, float]  # red, green, blue
DISC_TO_FOVEA = 2.5  # disc diameters from the centre of the disc to the fovea
DISC_ABOVE = 0.22  # disc diameters that the disc lies above the fovea


def generator(*words: object) -> np.random.Generator:
    """Returns a random generator that depends on the words alone, in every process alike."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@dataclass(frozen=True)
class Camera:
    """How a dataset's pictures look: size (width, height) in pixels, the round field's diameter over the height
    (above 1 it is cut at top and bottom), the field of view in degrees, and whether the field has a notch."""

    size: tuple[int, int] = (768, 512)
    field: float = 0.97
    degrees: float = 45
    notch: bool = True


@dataclass(frozen=True)
class Eye:
    """One eye to draw. `patient` and `name` make the randomness: both eyes of a patient share pigment and camera.
    `findings` are what the picture shows, with their amounts: the lesions of lesions.py, and what fundus.py and vessels.py
    draw otherwise (cup, tessellation, haze, tortuous ...)."""

    patient: str
    name: str
    side: str = "right"
    centre: str = "macula"
    camera: Camera = field(default_factory=Camera)
    findings: dict[str, float] = field(default_factory=dict)

    def amount(self, finding: str, otherwise: float = 0.0) -> float:
        """Returns the amount of a finding, or `otherwise` where nothing is said of it."""
        return self.findings.get(finding, otherwise)


@dataclass(frozen=True)
class Disc:
    """The optic disc: half axes (horizontal, vertical) in disc diameters, and the cup's share of each."""

    half: tuple[float, float]
    cup: tuple[float, float]


class Canvas:
    """The picture in linear floats [height, width, 3] of 0 to 255, and its geometry.

    Eye coordinates count disc diameters from the fovea: x to the nose, y down. `x`, `y` hold them for every pixel."""

    def __init__(self, eye: Eye):
        self.eye = eye
        self.rng = generator("eye", eye.patient, eye.name)
        self.width, self.height = eye.camera.size
        self.radius = eye.camera.field * self.height / 2
        self.dd = 2 * self.radius / (eye.camera.degrees * self.rng.uniform(0.138, 0.15))  # pixels per disc diameter
        self.disc = (DISC_TO_FOVEA + self.rng.uniform(-0.12, 0.12), -DISC_ABOVE + self.rng.uniform(-0.12, 0.12))
        self._place()
        self.image = np.zeros((self.height, self.width, 3), np.float32)
        self.masks: dict[str, np.ndarray] = {}
        self.taken: list[tuple[float, float]] = []  # lesions keep apart, so that each stays one in its mask
        rows, columns = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        dx, dy = (columns - self.origin[0]) / self.dd, (rows - self.origin[1]) / self.dd
        self.x = self.mirror * (self.cos * dx + self.sin * dy)
        self.y = self.cos * dy - self.sin * dx
        self.from_centre = np.hypot(columns - self.centre[0], rows - self.centre[1]) / self.radius
        self.from_fovea = np.hypot(self.x, self.y)

    def _place(self) -> None:
        turn = self.rng.uniform(-0.07, 0.07)
        self.cos, self.sin = math.cos(turn), math.sin(turn)
        self.mirror = 1 if self.eye.side == "right" else -1
        self.centre = (self.width / 2 + self.rng.uniform(-4, 4), self.height / 2 + self.rng.uniform(-3, 3))
        view = self.disc if self.eye.centre == "disc" else (self.rng.uniform(0.1, 0.5), 0.0)
        view = (view[0] + self.rng.uniform(-0.15, 0.15), view[1] + self.rng.uniform(-0.15, 0.15))
        self.origin = (0.0, 0.0)
        dx, dy = self.pixel(*view)
        self.origin = (self.centre[0] - dx, self.centre[1] - dy)

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Turns eye coordinates into picture coordinates (column, row)."""
        x = x * self.mirror
        return (
            self.origin[0] + self.dd * (self.cos * x - self.sin * y),
            self.origin[1] + self.dd * (self.sin * x + self.cos * y),
        )

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Turns eye coordinates [n, 2] into picture coordinates [n, 2]."""
        return np.stack(self.pixel(points[:, 0], points[:, 1]), axis=1)

    def inside(self, x: float, y: float, share: float = 0.93) -> bool:
        """Tells whether a point lies in the visible field, within that share of its radius and not cut off."""
        column, row = self.pixel(x, y)
        edge = 0.04 * self.height
        visible = edge < row < self.height - edge and edge < column < self.width - edge
        return visible and math.hypot(column - self.centre[0], row - self.centre[1]) < share * self.radius

    def around(self, x: float, y: float, radius: float) -> tuple[slice, slice]:
        """Returns the part of the picture within `radius` disc diameters of a point, as slices of rows and columns."""
        (column, row), reach = self.pixel(x, y), radius * self.dd
        return (
            slice(max(int(row - reach), 0), max(int(row + reach), 0)),
            slice(max(int(column - reach), 0), max(int(column + reach), 0)),
        )

    @property
    def field(self) -> np.ndarray:
        """The visible field, bool [height, width]."""
        return self.from_centre < 1

    def cloud(self, cell: float) -> np.ndarray:
        """Returns soft noise [height, width] of about unit spread, with lumps of `cell` disc diameters."""
        size = max(2.0, cell * self.dd)
        small = self.rng.standard_normal((int(self.height / size) + 4, int(self.width / size) + 4)).astype(np.float32)
        return cv2.resize(small, (self.width, self.height), interpolation=cv2.INTER_CUBIC) * 1.3

    def blob(
        self,
        layer: np.ndarray,
        x: float,
        y: float,
        radius: float,
        rough: float = 0.2,
        stretch: float = 1.0,
        angle: float = 0.0,
        soft: float = 0.3,
    ) -> None:
        """Draws an uneven spot of `radius` disc diameters into a layer: 1 inside, 0 beyond `soft` of the radius."""
        column, row = self.pixel(x, y)
        size = max(radius * self.dd, 0.9)
        reach = math.ceil(size * max(stretch, 1) * (1 + rough + soft)) + 2
        left, top = max(int(column) - reach, 0), max(int(row) - reach, 0)
        right, bottom = min(int(column) + reach + 1, self.width), min(int(row) + reach + 1, self.height)
        phases, weights = self.rng.uniform(0, 2 * math.pi, 4), self.rng.uniform(0.3, 1, 4) / (0.5, 1, 1.7, 2.6)
        if right <= left or bottom <= top:
            return
        v, u = np.mgrid[top:bottom, left:right].astype(np.float32)
        u, v = u - column, v - row
        u, v = (u * math.cos(angle) + v * math.sin(angle)) / stretch, v * math.cos(angle) - u * math.sin(angle)
        theta = np.arctan2(v, u)
        wobble = sum(w * np.cos(k * theta + p) for k, (w, p) in enumerate(zip(weights, phases, strict=True), start=2))
        edge = size * (1 + rough * wobble / 2.0)
        alpha = np.clip((edge - np.hypot(u, v)) / max(soft * size, 1.0) + 0.5, 0, 1)
        np.maximum(layer[top:bottom, left:right], alpha, out=layer[top:bottom, left:right])

    def layer(self) -> np.ndarray:
        """Returns an empty layer, float32 [height, width]."""
        return np.zeros((self.height, self.width), np.float32)

    def stroke(self, layer: np.ndarray, points: np.ndarray, width: float, value: float = 1.0) -> None:
        """Draws a smooth line into a layer through eye coordinates [n, 2], `width` in disc diameters."""
        places, thin = self.pixels(points), width * self.dd
        low = np.maximum(np.floor(places.min(axis=0)).astype(int) - 3 - int(thin), 0)
        high = np.minimum(np.ceil(places.max(axis=0)).astype(int) + 4 + int(thin), (self.width, self.height))
        if (high <= low).any():
            return
        ink = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        line = np.round((places - low) * 16).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(ink, [line], False, int(255 * value * min(1.0, max(thin, 0.45))), max(1, round(thin)), cv2.LINE_AA, 4)
        part = layer[low[1] : high[1], low[0] : high[0]]
        np.maximum(part, ink.astype(np.float32) / 255, out=part)

    def stain(self, layer: np.ndarray, colour: Colour, opacity: float = 1.0) -> None:
        """Covers the picture with a colour where the layer is not 0; the light falling on the place is kept."""
        rows, columns = _extent(layer)
        light = np.clip(1.12 - 0.38 * self.from_centre[rows, columns] ** 2, 0, None)[..., None]
        alpha = (layer[rows, columns] * opacity)[..., None]
        self.image[rows, columns] += alpha * (np.array(colour, np.float32) * light - self.image[rows, columns])

    def absorb(self, layer: np.ndarray, strength: Colour) -> None:
        """Darkens the picture as blood or pigment does: each channel by exp(-strength * layer)."""
        rows, columns = _extent(layer)
        self.image[rows, columns] *= np.exp(-layer[rows, columns][..., None] * np.array(strength, np.float32))

    def mark(self, kind: str, layer: np.ndarray) -> None:
        """Adds what the layer covers by half or more, within the visible field, to a lesion's mask."""
        shown = (layer >= 0.5) & self.field
        self.masks[kind] = self.masks[kind] | shown if kind in self.masks else shown


def _extent(layer: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(layer.any(axis=1)), np.flatnonzero(layer.any(axis=0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def scatter(
    canvas: Canvas, count: int, apart: float, near: float = 0.0, far: float = 9.0, disc: float = 0.75
) -> list[tuple[float, float]]:
    """Returns up to `count` random points in the visible field, `apart` from each other, `near` to `far` from the fovea and off
    the disc; all in disc diameters."""
    points: list[tuple[float, float]] = []
    for _ in range(200 * count):
        x, y = canvas.rng.uniform(-3.4, 5.4), canvas.rng.uniform(-3.3, 3.3)
        fits = near <= math.hypot(x, y) <= far and math.hypot(x - canvas.disc[0], y - canvas.disc[1]) > disc
        if fits and canvas.inside(x, y) and all(math.hypot(x - a, y - b) > apart for a, b in [*canvas.taken, *points]):
            points.append((x, y))
            if len(points) == count:
                break
    canvas.taken += points
    return points
