"""The findings of drawn eyes: where their lesions lie, what shape they have, and how they colour the picture.

Lengths are in disc diameters, blur in pixels. Layers are float32 [height, width], 0 where there is nothing to 1."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from retinal_lib.sample.canvas import Canvas, Colour, scatter

Painter = Callable[[Canvas, float], None]  # paints a finding of that amount: a count, a strength or a radius
BLOOD = (0.42, 1.2, 0.8)  # how strongly blood takes away red, green and blue light
PALE = (244, 214, 160)


def blurred(layer: np.ndarray, sigma: float) -> np.ndarray:
    """Returns the layer with soft edges, or as it is for a sigma of 0."""
    return cv2.GaussianBlur(layer, (0, 0), sigma) if sigma else layer


# --- colours: what a layer does to the picture ---


@dataclass(frozen=True)
class Stain:
    """A colour that covers the picture."""

    colour: Colour
    opacity: float
    blur: float = 0

    def __call__(self, canvas: Canvas, layer: np.ndarray) -> None:
        canvas.stain(blurred(layer, self.blur), self.colour, self.opacity)


@dataclass(frozen=True)
class Absorb:
    """Darkness as of blood or pigment. `uneven`: thickness, its variation, and the size of the lumps."""

    strength: Colour
    blur: float = 0
    uneven: tuple[float, float, float] | None = None

    def __call__(self, canvas: Canvas, layer: np.ndarray) -> None:
        layer = blurred(layer, self.blur)
        if self.uneven:
            thickness, variation, lump = self.uneven
            layer = layer * (thickness + variation * canvas.cloud(lump))
        canvas.absorb(layer, self.strength)


def bare_sclera(canvas: Canvas, layer: np.ndarray) -> None:
    """Shows white sclera and a few choroidal vessels, with clumps of pigment at the edge."""
    canvas.stain(layer, (238, 206, 152), 0.86)
    ridge = np.clip(1 - np.abs(canvas.cloud(0.28)) * 3.2, 0, 1)
    canvas.absorb((ridge * layer * 0.6).astype(np.float32), (0.15, 0.5, 0.5))
    rim = blurred(layer, 0.05 * canvas.dd) * (1 - layer) * 3 * np.clip(canvas.cloud(0.16), 0, 1.4)
    canvas.absorb(np.clip(rim, 0, 1).astype(np.float32), (0.6, 0.6, 0.4))


@dataclass(frozen=True)
class Lesion:
    """A painter of lesions of one kind: their shape, their colours one over the other, and their type in the masks."""

    mask: str
    shape: Callable[[Canvas, float], np.ndarray]
    colours: Sequence[Callable[[Canvas, np.ndarray], None]]

    def __call__(self, canvas: Canvas, amount: float) -> None:
        layer = self.shape(canvas, amount)
        for colour in self.colours:
            colour(canvas, layer)
        canvas.mark(self.mask, layer)


# --- shapes: a layer with the lesions of that amount ---


@dataclass(frozen=True)
class Spots:
    """Scattered spots. `zone`: as `scatter` takes it after the count; `size`: radius, from and to; `stretch`: length over
    width, from and to; `lumps`: how many spots overlap to one, off its centre by about `jitter`."""

    zone: tuple[float, ...]
    size: tuple[float, float]
    rough: float
    soft: float
    stretch: tuple[float, float] | None = None
    lumps: int = 1
    jitter: tuple[float, float] = (0, 0)
    blur: float = 0

    def __call__(self, canvas: Canvas, count: float) -> np.ndarray:
        layer, rng = canvas.layer(), canvas.rng
        for x, y in scatter(canvas, round(count), *self.zone):
            for _ in range(self.lumps):
                dx, dy = (rng.normal(0, spread) if spread else 0 for spread in self.jitter)
                size = rng.uniform(*self.size)
                stretch, angle = (rng.uniform(*self.stretch), rng.uniform(0, 3)) if self.stretch else (1.0, 0.0)
                canvas.blob(layer, x + dx, y + dy, size, self.rough, stretch, angle, self.soft)
        return blurred(layer, self.blur)


def _flame(canvas: Canvas, layer: np.ndarray, x: float, y: float, size: float) -> None:
    """One flame-shaped haemorrhage: streaks along the nerve fibres, that is, towards the disc."""
    along = math.atan2(y - canvas.disc[1], x - canvas.disc[0]) + canvas.rng.normal(0, 0.12)
    for _ in range(16):
        shift = canvas.rng.normal(0, 0.13 * size)
        length = size * canvas.rng.uniform(0.5, 1.1) * math.exp(-((shift / (0.24 * size)) ** 2))
        t = np.linspace(-0.5, 0.5, 5)[:, None] * length + canvas.rng.normal(0, 0.1 * size)
        line = np.array((x, y)) + t * (math.cos(along), math.sin(along)) + shift * np.array((-math.sin(along), math.cos(along)))
        canvas.stroke(layer, line, size * 0.085, canvas.rng.uniform(0.7, 1))


def flames(canvas: Canvas, count: float) -> np.ndarray:
    """Draws flame-shaped haemorrhages."""
    layer = canvas.layer()
    for x, y in scatter(canvas, round(count), 0.5, 0.7, 3.2, 0.8):
        _flame(canvas, layer, x, y, canvas.rng.uniform(0.2, 0.38))
    return blurred(layer, 0.8)


def _exudates(canvas: Canvas, centres: list[tuple[float, float]], near: float, far: float) -> np.ndarray:
    """Clusters of sharp grains, some in a ring; every grain lies `near` to `far` from the fovea."""
    layer, rng = canvas.layer(), canvas.rng
    for n, (cx, cy) in enumerate(centres):
        ring = rng.uniform(0.22, 0.34) if n % 2 else 0.0
        for _ in range(rng.integers(16, 40)):
            angle, spread = rng.uniform(0, 2 * math.pi), ring + abs(rng.normal(0, 0.06 if ring else 0.17))
            x, y = cx + spread * math.cos(angle), cy + spread * math.sin(angle)
            size = min(float(rng.lognormal(-3.45, 0.5)), 0.085)
            outside_disc = math.hypot(x - canvas.disc[0], y - canvas.disc[1]) > 0.7
            if near + size * 1.5 < math.hypot(x, y) < far - size * 1.5 and canvas.inside(x, y, 0.96) and outside_disc:
                canvas.blob(layer, x, y, size, 0.35, rng.uniform(1, 1.6), angle, soft=0.25)
    return layer


def exudates_near(canvas: Canvas, count: float) -> np.ndarray:
    """Draws hard exudates within one disc diameter of the fovea."""
    angles = canvas.rng.uniform(0, 2 * math.pi) + np.arange(round(count)) * 2.2
    return _exudates(canvas, [(0.6 * math.cos(a), 0.6 * math.sin(a)) for a in angles.tolist()], 0.12, 0.95)


def exudates_far(canvas: Canvas, count: float) -> np.ndarray:
    """Draws hard exudates more than one disc diameter from the fovea."""
    return _exudates(canvas, scatter(canvas, round(count), 0.6, 1.5, 2.4, 1.1), 1.12, 9.0)


def new_vessels(canvas: Canvas, count: float) -> np.ndarray:
    """Draws fine tangles of new vessels on the disc and along the arcades."""
    layer, rng = canvas.layer(), canvas.rng

    def tangle(x: float, y: float, size: float, lines: int) -> None:
        for _ in range(lines):
            heading = rng.uniform(0, 2 * math.pi)
            points = [(x + rng.normal(0, size / 6), y + rng.normal(0, size / 6))]
            bend = rng.choice((-1, 1)) * rng.uniform(0.1, 0.4)
            for _ in range(24):
                heading += bend + rng.normal(0, 0.3)
                points.append((points[-1][0] + size / 11 * math.cos(heading), points[-1][1] + size / 11 * math.sin(heading)))
            canvas.stroke(layer, np.array(points), 0.012, 0.9)

    tangle(canvas.disc[0] - 0.15, canvas.disc[1] - 0.25, 0.55, 13)
    for x, y in scatter(canvas, round(count) - 1, 1.0, 1.5, 2.6, 1.0):
        tangle(x, y, 0.4, 9)
    return layer


def preretinal_blood(canvas: Canvas, strength: float) -> np.ndarray:
    """Draws blood before the retina that has settled into a boat with a flat top."""
    (x, y), *_ = [*scatter(canvas, 1, 0.4, 1.5, 1.9, 1.4), (-0.8, 1.4)]
    layer = canvas.layer()
    canvas.blob(layer, x, abs(y), 0.75 * strength, 0.08, 1.25, soft=0.06)
    return layer * np.clip((canvas.y - (abs(y) - 0.1) + 0.1 + 0.03 * canvas.cloud(0.5)) * canvas.dd / 2, 0, 1)


def subretinal_blood(canvas: Canvas, radius: float) -> np.ndarray:
    """Draws a broad bleed under the macula."""
    layer, rng = canvas.layer(), canvas.rng
    for _ in range(4):
        canvas.blob(layer, rng.normal(0, 0.22), rng.normal(0.05, 0.2), radius * rng.uniform(0.5, 0.8), 0.3, soft=0.35)
    return layer


def nerve_fibres(canvas: Canvas, strength: float) -> np.ndarray:
    """Draws myelinated nerve fibres: feathery patches at the disc's edge."""
    layer, rng = canvas.layer(), canvas.rng
    for _ in range(110):
        line = _ray(*canvas.disc, rng.normal(-1.9, 0.28), np.linspace(0.46, rng.uniform(0.75, 1.35) * strength, 6))
        canvas.stroke(layer, line, 0.03, rng.uniform(0.5, 1))
    return blurred(layer, 1.0)


def pigment_spicules(canvas: Canvas, count: float) -> np.ndarray:
    """Draws clumps of pigment shaped like bone cells in the mid-periphery."""
    layer, rng = canvas.layer(), canvas.rng
    for x, y in scatter(canvas, round(count), 0.16, 1.9, 9.0, 1.1):
        for _ in range(4):
            canvas.stroke(layer, _ray(x, y, rng.uniform(0, 6.3), np.linspace(0, rng.uniform(0.06, 0.15), 5)), 0.022, 0.9)
    return layer


def _ray(x: float, y: float, angle: float, t: np.ndarray) -> np.ndarray:
    """Points [n, 2] at the distances t [n] from a point."""
    return np.stack([x + t * math.cos(angle), y + t * math.sin(angle)], axis=1)


def drusen(canvas: Canvas, count: float) -> np.ndarray:
    """Draws soft spots around the fovea."""
    layer, rng = canvas.layer(), canvas.rng
    for _ in range(round(count)):
        far, angle = abs(rng.normal(0, 0.75)) + 0.08, rng.uniform(0, 2 * math.pi)
        if far < 1.7:
            canvas.blob(layer, far * math.cos(angle), far * math.sin(angle), rng.uniform(0.025, 0.075), 0.2, soft=0.6)
    return layer


def macular_atrophy(canvas: Canvas, radius: float) -> np.ndarray:
    """Draws a well-defined patch that takes in the fovea."""
    layer = canvas.layer()
    canvas.blob(layer, 0.03, 0.02, radius, 0.14, 1.1, 0.4, 0.07)
    for _ in range(4):
        angle = canvas.rng.uniform(0, 6.3)
        canvas.blob(layer, radius * 0.8 * math.cos(angle), radius * 0.8 * math.sin(angle), radius * 0.4, 0.3, soft=0.12)
    return layer


def crescent(canvas: Canvas, strength: float) -> np.ndarray:
    """Draws atrophy beside the disc, on its temporal side, as in high myopia."""
    layer = canvas.layer()
    canvas.blob(layer, canvas.disc[0] - 0.22 * strength, canvas.disc[1], 0.5 + 0.1 * strength, 0.08, soft=0.08)
    return layer


def lacquer_cracks(canvas: Canvas, count: float) -> np.ndarray:
    """Draws fine, forking lines across the macula."""
    layer, rng = canvas.layer(), canvas.rng
    for n in range(round(count)):
        heading = rng.uniform(-0.5, 0.5) + 0.9 * n
        x, y = -0.9 * math.cos(heading) + rng.normal(0, 0.15), -0.9 * math.sin(heading) + 0.45 * (n - count / 2 + 0.5)
        points = [(x, y)]
        for step in range(26):
            heading += rng.normal(0, 0.2)
            x, y = x + 0.062 * math.cos(heading), y + 0.062 * math.sin(heading)
            points.append((x, y))
            if step in (8, 15):
                angle = heading + rng.choice((-0.6, 0.6))
                t = np.linspace(0, rng.uniform(0.3, 0.6), 9)
                canvas.stroke(layer, _ray(x, y, angle, t) + np.stack([0 * t, 0.02 * np.sin(t * 9)], axis=1), 0.034)
        canvas.stroke(layer, np.array(points), 0.045)
    return layer


# --- painters of findings with several layers ---


def vein_occlusion(canvas: Canvas, strength: float) -> None:
    """Paints blood along the upper temporal vein, or (above 1) in all quadrants, with cotton wool spots."""
    layer, pale, rng = canvas.layer(), canvas.layer(), canvas.rng
    everywhere = strength > 1
    for _ in range(70 if everywhere else 38):
        angle = rng.uniform(0, 2 * math.pi) if everywhere else rng.uniform(-2.75, -1.75)
        far = rng.uniform(0.7, 3.2)
        x, y = canvas.disc[0] + far * math.cos(angle), canvas.disc[1] + far * math.sin(angle) * 0.9
        if math.hypot(x, y) > 0.5 and canvas.inside(x, y):
            _flame(canvas, layer, x, y, rng.uniform(0.16, 0.42))
            if rng.random() < 0.1:
                canvas.blob(pale, x + 0.3, y, rng.uniform(0.1, 0.17), 0.3, 1.4, angle, 1.0)
    canvas.absorb(blurred(layer, 0.8), BLOOD)
    canvas.stain(blurred(pale, 1.2), PALE, 0.8)
    canvas.mark("HE", layer)


def macular_hole(canvas: Canvas, radius: float) -> None:
    """Paints a round, red, punched-out spot at the fovea with a grey cuff."""
    cuff, hole = canvas.layer(), canvas.layer()
    canvas.blob(cuff, 0, 0, radius * 1.9, 0.05, soft=0.5)
    canvas.blob(hole, 0, 0, radius, 0.05, soft=0.2)
    canvas.stain(cuff, (190, 132, 86), 0.55)
    canvas.absorb(hole, (0.42, 0.95, 0.7))
    canvas.mark("MHL", hole)


def epiretinal_membrane(canvas: Canvas, strength: float) -> None:
    """Paints a glistening sheet over the macula with fine folds."""
    sheet = np.exp(-((canvas.x - 0.3) ** 2 / 1.4 + canvas.y**2 / 1.0)) * np.clip(0.7 + 0.4 * canvas.cloud(0.5), 0, 1.3)
    canvas.stain((sheet * strength).astype(np.float32), (208, 172, 132), 0.42)
    folds, rng = canvas.layer(), canvas.rng
    for _ in range(16):
        angle = rng.uniform(0, 6.3)
        t = np.linspace(rng.uniform(0.15, 0.4), rng.uniform(0.6, 1.3), 12)
        swing = angle + 0.12 * np.sin(t * 5)
        canvas.stroke(folds, np.stack([0.2 + t * np.cos(swing), t * np.sin(swing)], axis=1), 0.018, 0.8)
    canvas.stain(blurred(folds, 0.7), (236, 202, 160), 0.5)


def laser(canvas: Canvas, count: float) -> None:
    """Paints rows of round scars in the periphery, pale with a pigmented middle."""
    pale, dark, rng = canvas.layer(), canvas.layer(), canvas.rng
    grid = [(x, y) for x in np.arange(-3.5, 5.5, 0.36) for y in np.arange(-3.4, 3.4, 0.36)]
    rng.shuffle(grid)
    spots = [
        (x + rng.normal(0, 0.05), y + rng.normal(0, 0.05))
        for x, y in grid
        if math.hypot(x, y) > 2.0 and math.hypot(x - canvas.disc[0], y - canvas.disc[1]) > 1.2
    ]
    for x, y in spots[: round(count)]:
        canvas.blob(pale, x, y, rng.uniform(0.075, 0.115), 0.2, soft=0.5)
        if rng.random() < 0.6:
            canvas.blob(dark, x + rng.normal(0, 0.02), y, rng.uniform(0.025, 0.06), 0.4, soft=0.6)
    canvas.stain(pale, (228, 182, 116), 0.6)
    canvas.absorb(dark, (0.9, 0.9, 0.6))
    canvas.mark("LS", pale)


def diffuse_atrophy(canvas: Canvas, strength: float) -> None:
    """Paints yellowish, ill-defined thinning of the choroid around the disc and the macula."""
    near = np.hypot(canvas.x - canvas.disc[0] * 0.62, canvas.y * 1.15)
    layer = np.clip(1.05 - near / 2.3 + 0.16 * canvas.cloud(0.9), 0, 1) * strength
    canvas.stain(layer.astype(np.float32), (226, 150, 78), 0.55)
    canvas.image *= 1 - (0.05 * layer * np.clip(canvas.cloud(0.2), -2, 2))[..., None]


def choroidal_neovascularisation(canvas: Canvas, radius: float) -> None:
    """Paints a grey-green membrane of new vessels beside the fovea, with blood at its edge."""
    membrane, blood, rng = canvas.layer(), canvas.layer(), canvas.rng
    x, y = rng.uniform(-0.2, 0.2), rng.uniform(-0.15, 0.2)
    canvas.blob(membrane, x, y, radius, 0.22, 1.2, rng.uniform(0, 3), 0.3)
    for _ in range(6):
        angle = rng.uniform(0, 6.3)
        u, v = x + radius * 1.05 * math.cos(angle), y + radius * 0.95 * math.sin(angle)
        canvas.blob(blood, u, v, radius * rng.uniform(0.2, 0.45), 0.4, 1.4, angle, 0.3)
    canvas.absorb(blood, (0.6, 1.2, 0.7))
    canvas.stain(membrane, (168, 128, 86), 0.78)
    canvas.absorb(np.clip(blurred(membrane, 2.0) - membrane, 0, 1) * 1.3, (0.7, 0.8, 0.5))
    canvas.mark("CNV", np.maximum(membrane, blood))


def fuchs_spot(canvas: Canvas, radius: float) -> None:
    """Paints a dark, raised spot of pigment at the fovea, with a paler rim."""
    rim, spot, rng = canvas.layer(), canvas.layer(), canvas.rng
    x, y = rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1)
    canvas.blob(rim, x, y, radius * 1.6, 0.2, 1.1, rng.uniform(0, 3), 0.5)
    canvas.blob(spot, x, y, radius, 0.28, 1.15, rng.uniform(0, 3), 0.3)
    canvas.stain(rim, (222, 168, 100), 0.5)
    canvas.absorb(spot * (0.9 + 0.12 * canvas.cloud(0.08)), (1.35, 1.15, 0.7))
    canvas.mark("FS", spot)


def serous_detachment(canvas: Canvas, radius: float) -> None:
    """Paints a shallow round blister under the macula, with a light margin."""
    layer = canvas.layer()
    canvas.blob(layer, 0.05, 0.05, radius, 0.06, 1.1, 0.3, 0.12)
    canvas.absorb(layer, (0.12, 0.2, 0.0))
    margin = np.abs(blurred(layer, 0.08 * canvas.dd) - layer)
    canvas.stain(blurred(margin, 1.5), (226, 166, 98), 0.75)
    canvas.mark("CSR", layer)


# --- finding -> painter, in the order of painting; masks are named after the codes that datasets publish ---

_EXUDATE = (Stain((226, 160, 84), 0.35, blur=2.2), Stain((246, 214, 112), 0.9))
_PATCHES = Spots((0.8, 0.75, 1.7, 1.2), (0.14, 0.3), rough=0.35, soft=0.15, lumps=3, jitter=(0.12, 0.12))
UNDER_VESSELS: dict[str, Painter] = {
    "diffuse atrophy": diffuse_atrophy,
    "crescent": Lesion("PPA", crescent, [bare_sclera]),
    "patchy atrophy": Lesion("PA", _PATCHES, [bare_sclera]),
    "macular atrophy": Lesion("MAT", macular_atrophy, [bare_sclera]),
    "lacquer cracks": Lesion("LC", lacquer_cracks, [Stain((246, 202, 122), 0.8, blur=0.6)]),
    "CNV": choroidal_neovascularisation,
    "Fuchs spot": fuchs_spot,
    "subretinal blood": Lesion("HE", subretinal_blood, [Absorb((0.55, 1.0, 0.55), uneven=(0.9, 0.15, 0.25))]),
    "serous detachment": serous_detachment,
    "drusen": Lesion("DN", drusen, [Stain((236, 186, 96), 0.62, blur=0.8)]),
    "laser": laser,
    "spicules": Lesion("RP", pigment_spicules, [Absorb((1.2, 1.1, 0.7))]),
}
_COTTON_WOOL = Spots((0.5, 0.9, 2.8, 0.85), (0.06, 0.11), 0.25, 0.9, (1.1, 1.6), lumps=3, jitter=(0.05, 0.04), blur=1.6)
_BLOTS = Spots((0.34, 0.4), (0.045, 0.125), rough=0.32, soft=0.45, stretch=(1, 1.5))
_DOTS = Spots((0.2, 0.25, 3.0), (0.02, 0.032), rough=0.1, soft=0.5)
OVER_VESSELS: dict[str, Painter] = {
    "macular hole": macular_hole,
    "exudates near": Lesion("EX", exudates_near, _EXUDATE),
    "exudates far": Lesion("EX", exudates_far, _EXUDATE),
    "soft exudates": Lesion("SE", _COTTON_WOOL, [Stain(PALE, 0.75)]),
    "nerve fibres": Lesion("MNF", nerve_fibres, [Stain((250, 232, 196), 0.9)]),
    "haemorrhages": Lesion("HE", _BLOTS, [Absorb(BLOOD, uneven=(0.85, 0.15, 0.06))]),
    "flames": Lesion("HE", flames, [Absorb(BLOOD)]),
    "microaneurysms": Lesion("MA", _DOTS, [Absorb((0.42, 0.95, 0.6), blur=0.5)]),
    "vein occlusion": vein_occlusion,
    "new vessels": Lesion("NV", new_vessels, [Absorb((0.25, 0.75, 0.5))]),
    "membrane": epiretinal_membrane,
    "preretinal": Lesion("PRH", preretinal_blood, [Absorb((0.6, 1.4, 0.9), blur=1.2, uneven=(0.9, 0.12, 0.3))]),
}


def paint(canvas: Canvas, painters: dict[str, Painter]) -> None:
    """Paints those findings of the eye that the painters are for."""
    for finding, painter in painters.items():
        if canvas.eye.amount(finding):
            painter(canvas, canvas.eye.amount(finding))
