"""Painters of what lies behind the retinal vessels: atrophy, drusen, scars, membranes and blood under the retina.

As in `sample_lesions`, an amount is a number of lesions, a strength or a radius in disc diameters."""

import math
from collections.abc import Callable

import cv2
import numpy as np

from retinal_lib.sample.canvas import Canvas, places


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
