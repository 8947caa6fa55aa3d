"""Painters of lesions on a drawn fundus."""

import math
from collections.abc import Callable

import cv2
import numpy as np

from retinal_lib.sample.canvas import Canvas, places

Painter = Callable[[Canvas, float], None]
EXUDATE = (246, 214, 112)
PALE = (244, 214, 160)
BLOOD = (0.42, 1.2, 0.8)  # per channel: how strongly blood takes the light


def microaneurysms(canvas: Canvas, count: float) -> None:
    """Tiny dark red dots."""
    layer = canvas.layer()
    for x, y in places(canvas, round(count), 0.2, 0.25, 3.0):
        canvas.blob(layer, x, y, canvas.rng.uniform(0.02, 0.032), 0.1, soft=0.5)
    canvas.absorb(cv2.GaussianBlur(layer, (0, 0), 0.5), (0.42, 0.95, 0.6))
    canvas.mark("MA", layer)


def haemorrhages(canvas: Canvas, count: float) -> None:
    """Dots and blots of blood."""
    layer = canvas.layer()
    for x, y in places(canvas, round(count), 0.34, 0.4):
        canvas.blob(
            layer,
            x,
            y,
            canvas.rng.uniform(0.045, 0.125),
            0.32,
            canvas.rng.uniform(1, 1.5),
            canvas.rng.uniform(0, 3),
            soft=0.45,
        )
    canvas.absorb(layer * (0.85 + 0.15 * canvas.cloud(0.06)), BLOOD)
    canvas.mark("HE", layer)


def _flame(canvas: Canvas, layer: np.ndarray, x: float, y: float, size: float) -> None:
    """One flame-shaped haemorrhage: streaks along the nerve fibres, that is, towards the disc."""
    along = math.atan2(y - canvas.disc[1], x - canvas.disc[0]) + canvas.rng.normal(0, 0.12)
    for _ in range(16):
        shift = canvas.rng.normal(0, 0.13 * size)
        length = size * canvas.rng.uniform(0.5, 1.1) * math.exp(-((shift / (0.24 * size)) ** 2))
        t = np.linspace(-0.5, 0.5, 5)[:, None] * length + canvas.rng.normal(0, 0.1 * size)
        line = np.array((x, y)) + t * (math.cos(along), math.sin(along)) + shift * np.array((-math.sin(along), math.cos(along)))
        canvas.stroke(layer, line, size * 0.085, canvas.rng.uniform(0.7, 1))


def flames(canvas: Canvas, count: float) -> None:
    """Flame-shaped haemorrhages."""
    layer = canvas.layer()
    for x, y in places(canvas, round(count), 0.5, 0.7, 3.2, 0.8):
        _flame(canvas, layer, x, y, canvas.rng.uniform(0.2, 0.38))
    canvas.absorb(cv2.GaussianBlur(layer, (0, 0), 0.8), BLOOD)
    canvas.mark("HE", cv2.GaussianBlur(layer, (0, 0), 0.8))


def vein_occlusion(canvas: Canvas, strength: float) -> None:
    """Blood along the upper temporal vein, or (above 1) in all quadrants, with cotton wool spots."""
    layer, pale = canvas.layer(), canvas.layer()
    every = strength > 1
    for _ in range(70 if every else 38):
        angle = canvas.rng.uniform(0, 2 * math.pi) if every else canvas.rng.uniform(-2.75, -1.75)
        far = canvas.rng.uniform(0.7, 3.2)
        x, y = canvas.disc[0] + far * math.cos(angle), canvas.disc[1] + far * math.sin(angle) * 0.9
        if math.hypot(x, y) > 0.5 and canvas.inside(x, y):
            _flame(canvas, layer, x, y, canvas.rng.uniform(0.16, 0.42))
            if canvas.rng.random() < 0.1:
                canvas.blob(pale, x + 0.3, y, canvas.rng.uniform(0.1, 0.17), 0.3, 1.4, angle, 1.0)
    canvas.absorb(cv2.GaussianBlur(layer, (0, 0), 0.8), BLOOD)
    canvas.stain(cv2.GaussianBlur(pale, (0, 0), 1.2), PALE, 0.8)
    canvas.mark("HE", layer)


def _exudates(canvas: Canvas, centres: list[tuple[float, float]], near: float, far: float) -> None:
    """Clusters of sharp yellow grains, some in a ring; every grain stays `near` to `far` from the fovea."""
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
    canvas.stain(np.clip(cv2.GaussianBlur(layer, (0, 0), 2.2), 0, 1), (226, 160, 84), 0.35)
    canvas.stain(layer, EXUDATE, 0.9)
    canvas.mark("EX", layer)


def exudates_near(canvas: Canvas, count: float) -> None:
    """Hard exudates within one disc diameter of the fovea."""
    angles = canvas.rng.uniform(0, 2 * math.pi) + np.arange(round(count)) * 2.2
    _exudates(canvas, [(0.6 * math.cos(a), 0.6 * math.sin(a)) for a in angles.tolist()], 0.12, 0.95)


def exudates_far(canvas: Canvas, count: float) -> None:
    """Hard exudates more than one disc diameter from the fovea."""
    _exudates(canvas, places(canvas, round(count), 0.6, 1.5, 2.4, 1.1), 1.12, 9.0)


def soft_exudates(canvas: Canvas, count: float) -> None:
    """Cotton wool spots: pale, with fuzzy edges."""
    layer = canvas.layer()
    for x, y in places(canvas, round(count), 0.5, 0.9, 2.8, 0.85):
        for _ in range(3):
            canvas.blob(
                layer,
                x + canvas.rng.normal(0, 0.05),
                y + canvas.rng.normal(0, 0.04),
                canvas.rng.uniform(0.06, 0.11),
                0.25,
                canvas.rng.uniform(1.1, 1.6),
                canvas.rng.uniform(0, 3),
                0.9,
            )
    layer = cv2.GaussianBlur(layer, (0, 0), 1.6)
    canvas.stain(layer, PALE, 0.75)
    canvas.mark("SE", layer)


def _tangle(canvas: Canvas, layer: np.ndarray, x: float, y: float, size: float, lines: int) -> None:
    for _ in range(lines):
        heading, points = (
            canvas.rng.uniform(0, 2 * math.pi),
            [(x + canvas.rng.normal(0, size / 6), y + canvas.rng.normal(0, size / 6))],
        )
        bend = canvas.rng.choice((-1, 1)) * canvas.rng.uniform(0.1, 0.4)
        for _ in range(24):
            heading += bend + canvas.rng.normal(0, 0.3)
            points.append((points[-1][0] + size / 11 * math.cos(heading), points[-1][1] + size / 11 * math.sin(heading)))
        canvas.stroke(layer, np.array(points), 0.012, 0.9)


def new_vessels(canvas: Canvas, count: float) -> None:
    """Fine tangles of new vessels on the disc and along the arcades."""
    layer = canvas.layer()
    _tangle(canvas, layer, canvas.disc[0] - 0.15, canvas.disc[1] - 0.25, 0.55, 13)
    for x, y in places(canvas, round(count) - 1, 1.0, 1.5, 2.6, 1.0):
        _tangle(canvas, layer, x, y, 0.4, 9)
    canvas.absorb(layer, (0.25, 0.75, 0.5))
    canvas.mark("NV", layer)


def preretinal(canvas: Canvas, strength: float) -> None:
    """Blood before the retina that has settled into a boat with a flat top."""
    radius = 0.75 * strength
    (x, y), *_ = [*places(canvas, 1, 0.4, 1.5, 1.9, 1.4), (-0.8, 1.4)]
    layer, rotated_y = canvas.layer(), canvas.y - (abs(y) - 0.1)
    canvas.blob(layer, x, abs(y), radius, 0.08, 1.25, soft=0.06)
    layer *= np.clip((rotated_y + 0.1 + 0.03 * canvas.cloud(0.5)) * canvas.dd / 2, 0, 1)
    canvas.absorb(cv2.GaussianBlur(layer, (0, 0), 1.2) * (0.9 + 0.12 * canvas.cloud(0.3)), (0.6, 1.4, 0.9))
    canvas.mark("PRH", layer)


def vitreous(canvas: Canvas, strength: float) -> None:
    """Blood in the vitreous: dark red clouds, denser below."""
    cloud = np.clip(0.55 * canvas.y / 2.5 + 0.35 * canvas.cloud(1.0) + 0.2, 0, 1.3)
    canvas.absorb((strength * cloud).astype(np.float32), (0.5, 1.0, 0.9))


def macular_hole(canvas: Canvas, radius: float) -> None:
    """A round, red, punched-out spot at the fovea with a grey cuff."""
    cuff, hole = canvas.layer(), canvas.layer()
    canvas.blob(cuff, 0, 0, radius * 1.9, 0.05, soft=0.5)
    canvas.blob(hole, 0, 0, radius, 0.05, soft=0.2)
    canvas.stain(cuff, (190, 132, 86), 0.55)
    canvas.absorb(hole, (0.42, 0.95, 0.7))
    canvas.mark("MHL", hole)


def epiretinal_membrane(canvas: Canvas, strength: float) -> None:
    """A glistening sheet over the macula with fine folds."""
    sheet = np.exp(-((canvas.x - 0.3) ** 2 / 1.4 + canvas.y**2 / 1.0)) * np.clip(0.7 + 0.4 * canvas.cloud(0.5), 0, 1.3)
    canvas.stain((sheet * strength).astype(np.float32), (208, 172, 132), 0.42)
    folds = canvas.layer()
    for _ in range(16):
        angle = canvas.rng.uniform(0, 6.3)
        start, end = canvas.rng.uniform(0.15, 0.4), canvas.rng.uniform(0.6, 1.3)
        t = np.linspace(start, end, 12)
        swing = angle + 0.12 * np.sin(t * 5)
        canvas.stroke(folds, np.stack([0.2 + t * np.cos(swing), t * np.sin(swing)], axis=1), 0.018, 0.8)
    canvas.stain(cv2.GaussianBlur(folds, (0, 0), 0.7), (236, 202, 160), 0.5)


def nerve_fibre_patch(canvas: Canvas, strength: float) -> None:
    """Myelinated nerve fibres: feathery white patches at the disc's edge."""
    layer = canvas.layer()
    for _ in range(110):
        angle = canvas.rng.normal(-1.9, 0.28)
        t = np.linspace(0.46, canvas.rng.uniform(0.75, 1.35) * strength, 6)
        canvas.stroke(
            layer,
            np.stack([canvas.disc[0] + t * math.cos(angle), canvas.disc[1] + t * math.sin(angle)], axis=1),
            0.03,
            canvas.rng.uniform(0.5, 1),
        )
    layer = cv2.GaussianBlur(layer, (0, 0), 1.0)
    canvas.stain(layer, (250, 232, 196), 0.9)
    canvas.mark("MNF", layer)


def asteroid_bodies(canvas: Canvas, count: float) -> None:
    """Many cream-coloured grains floating before the retina."""
    layer = canvas.layer()
    for x, y in canvas.rng.normal((0.8, 0.2), (1.3, 1.2), (round(count), 2)).tolist():
        canvas.blob(layer, x, y, canvas.rng.uniform(0.015, 0.05), 0.2, soft=0.5)
    canvas.stain(cv2.GaussianBlur(layer, (0, 0), 0.8), (248, 230, 180), 0.85)
    canvas.mark("AH", layer)


# finding -> painter, in the order of painting; masks are named after the published codes
FRONT: dict[str, Painter] = {
    "macular hole": macular_hole,
    "exudates near": exudates_near,
    "exudates far": exudates_far,
    "soft exudates": soft_exudates,
    "nerve fibres": nerve_fibre_patch,
    "haemorrhages": haemorrhages,
    "flames": flames,
    "microaneurysms": microaneurysms,
    "vein occlusion": vein_occlusion,
    "new vessels": new_vessels,
    "membrane": epiretinal_membrane,
    "preretinal": preretinal,
    "asteroid": asteroid_bodies,
    "vitreous": vitreous,
}


def paint(canvas: Canvas, painters: dict[str, Painter]) -> None:
    """Paints those of the painters that the eye's findings name."""
    for finding, painter in painters.items():
        if canvas.eye.of(finding):
            painter(canvas, canvas.eye.of(finding))


def drusen(canvas: Canvas, count: float) -> None:
    """Soft yellowish spots around the fovea."""
    layer, rng = canvas.layer(), canvas.rng
    for _ in range(round(count)):
        far, angle = abs(rng.normal(0, 0.75)) + 0.08, rng.uniform(0, 2 * math.pi)
        if far < 1.7:
            canvas.blob(layer, far * math.cos(angle), far * math.sin(angle), rng.uniform(0.025, 0.075), 0.2, soft=0.6)
    canvas.stain(cv2.GaussianBlur(layer, (0, 0), 0.8), (236, 186, 96), 0.62)
    canvas.mark("DN", layer)


def laser(canvas: Canvas, count: float) -> None:
    """Rows of round scars in the periphery, pale with a pigmented middle."""
    pale, dark, rng = canvas.layer(), canvas.layer(), canvas.rng
    spots = [(x, y) for x in np.arange(-3.5, 5.5, 0.36) for y in np.arange(-3.4, 3.4, 0.36)]
    rng.shuffle(spots)
    spots = [
        (x + rng.normal(0, 0.05), y + rng.normal(0, 0.05))
        for x, y in spots
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
    """Yellowish, ill-defined thinning of the choroid around the disc and the macula."""
    near = np.hypot(canvas.x - canvas.disc[0] * 0.62, canvas.y * 1.15)
    layer = np.clip(1.05 - near / 2.3 + 0.16 * canvas.cloud(0.9), 0, 1) * strength
    canvas.stain(layer.astype(np.float32), (226, 150, 78), 0.55)
    canvas.image *= 1 - (0.05 * layer * np.clip(canvas.cloud(0.2), -2, 2))[..., None]


def _bare(canvas: Canvas, layer: np.ndarray) -> None:
    """Shows white sclera and a few choroidal vessels where the layer is, with clumps of pigment at its edge."""
    canvas.stain(layer, (238, 206, 152), 0.86)
    ridge = np.clip(1 - np.abs(canvas.cloud(0.28)) * 3.2, 0, 1)
    canvas.absorb((ridge * layer * 0.6).astype(np.float32), (0.15, 0.5, 0.5))
    rim = cv2.GaussianBlur(layer, (0, 0), 0.05 * canvas.dd) * (1 - layer) * 3 * np.clip(canvas.cloud(0.16), 0, 1.4)
    canvas.absorb(np.clip(rim, 0, 1).astype(np.float32), (0.6, 0.6, 0.4))


def patchy_atrophy(canvas: Canvas, count: float) -> None:
    """Well-defined grey-white patches off the fovea."""
    layer = canvas.layer()
    for x, y in places(canvas, round(count), 0.8, 0.75, 1.7, 1.2):
        for _ in range(3):
            canvas.blob(
                layer,
                x + canvas.rng.normal(0, 0.12),
                y + canvas.rng.normal(0, 0.12),
                canvas.rng.uniform(0.14, 0.3),
                0.35,
                soft=0.15,
            )
    _bare(canvas, layer)
    canvas.mark("PA", layer)


def macular_atrophy(canvas: Canvas, radius: float) -> None:
    """A well-defined bare patch that takes in the fovea."""
    layer = canvas.layer()
    canvas.blob(layer, 0.03, 0.02, radius, 0.14, 1.1, 0.4, 0.07)
    for _ in range(4):
        angle = canvas.rng.uniform(0, 6.3)
        canvas.blob(layer, radius * 0.8 * math.cos(angle), radius * 0.8 * math.sin(angle), radius * 0.4, 0.3, soft=0.12)
    _bare(canvas, layer)
    canvas.mark("MAT", layer)


def crescent(canvas: Canvas, strength: float) -> None:
    """Atrophy beside the disc, on its temporal side, as in high myopia."""
    layer = canvas.layer()
    canvas.blob(layer, canvas.disc[0] - 0.22 * strength, canvas.disc[1], 0.5 + 0.1 * strength, 0.08, 1.0, soft=0.08)
    _bare(canvas, layer)
    canvas.mark("PPA", layer)


def lacquer_cracks(canvas: Canvas, count: float) -> None:
    """Fine yellow-white, forking lines across the macula."""
    layer, rng = canvas.layer(), canvas.rng
    for n in range(round(count)):
        heading = rng.uniform(-0.5, 0.5) + 0.9 * n
        x, y = -0.9 * math.cos(heading) + rng.normal(0, 0.15), -0.9 * math.sin(heading) + 0.45 * (n - count / 2 + 0.5)
        points = [(x, y)]
        for step in range(26):
            heading += rng.normal(0, 0.2)
            points.append((points[-1][0] + 0.062 * math.cos(heading), points[-1][1] + 0.062 * math.sin(heading)))
            if step in (8, 15):
                fork = heading + rng.choice((-0.6, 0.6))
                start = points[-1]
                canvas.stroke(
                    layer,
                    np.array(
                        [
                            (start[0] + t * math.cos(fork), start[1] + t * math.sin(fork) + 0.02 * math.sin(t * 9))
                            for t in np.linspace(0, rng.uniform(0.3, 0.6), 9)
                        ]
                    ),
                    0.034,
                )
        canvas.stroke(layer, np.array(points), 0.045)
    canvas.stain(cv2.GaussianBlur(layer, (0, 0), 0.6), (246, 202, 122), 0.8)
    canvas.mark("LC", layer)


def neovascular_membrane(canvas: Canvas, radius: float) -> None:
    """Choroidal new vessels: a grey-green membrane beside the fovea with blood at its edge."""
    membrane, blood, rng = canvas.layer(), canvas.layer(), canvas.rng
    x, y = rng.uniform(-0.2, 0.2), rng.uniform(-0.15, 0.2)
    canvas.blob(membrane, x, y, radius, 0.22, 1.2, rng.uniform(0, 3), 0.3)
    for _ in range(6):
        angle = rng.uniform(0, 6.3)
        canvas.blob(
            blood,
            x + radius * 1.05 * math.cos(angle),
            y + radius * 0.95 * math.sin(angle),
            radius * rng.uniform(0.2, 0.45),
            0.4,
            1.4,
            angle,
            0.3,
        )
    canvas.absorb(blood, (0.6, 1.2, 0.7))
    canvas.stain(membrane, (168, 128, 86), 0.78)
    ring = np.clip(cv2.GaussianBlur(membrane, (0, 0), 2.0) - membrane, 0, 1)
    canvas.absorb(ring * 1.3, (0.7, 0.8, 0.5))
    canvas.mark("CNV", np.maximum(membrane, blood))


def fuchs_spot(canvas: Canvas, radius: float) -> None:
    """A dark, raised spot of pigment at the fovea, with a paler rim."""
    rim, spot, rng = canvas.layer(), canvas.layer(), canvas.rng
    x, y = rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1)
    canvas.blob(rim, x, y, radius * 1.6, 0.2, 1.1, rng.uniform(0, 3), 0.5)
    canvas.blob(spot, x, y, radius, 0.28, 1.15, rng.uniform(0, 3), 0.3)
    canvas.stain(rim, (222, 168, 100), 0.5)
    canvas.absorb(spot * (0.9 + 0.12 * canvas.cloud(0.08)), (1.35, 1.15, 0.7))
    canvas.mark("FS", spot)


def subretinal_blood(canvas: Canvas, radius: float) -> None:
    """A broad, dark bleed under the macula, with exudation at its edge."""
    layer = canvas.layer()
    for _ in range(4):
        canvas.blob(
            layer,
            canvas.rng.normal(0, 0.22),
            canvas.rng.normal(0.05, 0.2),
            radius * canvas.rng.uniform(0.5, 0.8),
            0.3,
            soft=0.35,
        )
    canvas.absorb(layer * (0.9 + 0.15 * canvas.cloud(0.25)), (0.55, 1.0, 0.55))
    canvas.mark("HE", layer)


def serous_detachment(canvas: Canvas, radius: float) -> None:
    """A shallow round blister under the macula, with a light margin."""
    layer = canvas.layer()
    canvas.blob(layer, 0.05, 0.05, radius, 0.06, 1.1, 0.3, 0.12)
    ring = np.clip(cv2.GaussianBlur(layer, (0, 0), 0.08 * canvas.dd) - layer, 0, 1) + np.clip(
        layer - cv2.GaussianBlur(layer, (0, 0), 0.08 * canvas.dd), 0, 1
    )
    canvas.absorb(layer, (0.12, 0.2, 0.0))
    canvas.stain(cv2.GaussianBlur(ring, (0, 0), 1.5), (226, 166, 98), 0.75)
    canvas.mark("CSR", layer)


def pigment_spicules(canvas: Canvas, count: float) -> None:
    """Clumps of pigment shaped like bone cells in the mid-periphery."""
    layer = canvas.layer()
    for x, y in places(canvas, round(count), 0.16, 1.9, 9.0, 1.1):
        for _ in range(4):
            angle = canvas.rng.uniform(0, 6.3)
            t = np.linspace(0, canvas.rng.uniform(0.06, 0.15), 5)
            canvas.stroke(layer, np.stack([x + t * math.cos(angle), y + t * math.sin(angle)], axis=1), 0.022, 0.9)
    canvas.absorb(layer, (1.2, 1.1, 0.7))
    canvas.mark("RP", layer)


# finding -> painter, in the order of painting; masks are named after the published codes
BEHIND: dict[str, Callable[[Canvas, float], None]] = {
    "diffuse atrophy": diffuse_atrophy,
    "crescent": crescent,
    "patchy atrophy": patchy_atrophy,
    "macular atrophy": macular_atrophy,
    "lacquer cracks": lacquer_cracks,
    "CNV": neovascular_membrane,
    "Fuchs spot": fuchs_spot,
    "subretinal blood": subretinal_blood,
    "serous detachment": serous_detachment,
    "drusen": drusen,
    "laser": laser,
    "spicules": pigment_spicules,
}
