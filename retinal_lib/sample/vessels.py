"""Retinal vessels: grows arteries and veins from the disc around the macula, and paints them."""

import math
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from retinal_lib.sample.canvas import Canvas

STEP = 0.05  # disc diameters between two points of a vessel
# the courses of the trunks from the disc, in disc diameters to the temple and up, and the relative width of each trunk
TRUNKS = (
    ([(-0.02, 0.4), (0.22, 0.95), (0.75, 1.5), (1.6, 1.95), (2.8, 2.02), (4.0, 1.7), (5.2, 1.15), (6.2, 0.7)], 1.0),
    ([(-0.02, -0.4), (0.2, -1.0), (0.7, -1.65), (1.5, -2.2), (2.7, -2.35), (3.9, -2.0), (5.1, -1.4), (6.2, -0.9)], 1.0),
    ([(-0.15, 0.4), (-0.45, 1.1), (-0.75, 1.9), (-1.3, 2.8), (-2.0, 3.8)], 0.82),
    ([(-0.15, -0.4), (-0.5, -1.1), (-0.9, -1.9), (-1.5, -2.7), (-2.2, -3.7)], 0.8),
    ([(-0.35, 0.1), (-1.0, 0.25), (-1.8, 0.5), (-3.0, 0.6)], 0.55),
    ([(0.35, 0.18), (0.85, 0.5), (1.4, 0.62), (1.95, 0.42)], 0.34),
    ([(0.35, -0.16), (0.9, -0.5), (1.5, -0.62), (2.05, -0.4)], 0.32),
)
WIDTH = {"artery": 0.063, "vein": 0.079}  # disc diameters at the disc


@dataclass
class Vessel:
    """One unbranched vessel: points [n, 2] in eye coordinates and its width at each, in disc diameters."""

    kind: str
    points: np.ndarray
    widths: np.ndarray


def grow(canvas: Canvas) -> list[Vessel]:
    """Returns all vessels of an eye, trunks and branches, arteries and veins."""
    rng, vessels = canvas.rng, []
    wave = 0.035 * canvas.eye.amount("tortuous", rng.uniform(0.7, 1.5))
    opening = rng.uniform(0.88, 1.1)
    for kind in ("vein", "artery"):
        base = WIDTH[kind] * rng.uniform(0.94, 1.08) * canvas.eye.amount(f"{kind} width", 1.0)
        for course, share in TRUNKS:
            trunk = _trunk(canvas, course, opening * rng.uniform(0.93, 1.07), wave)
            along = np.linspace(0, 1, len(trunk))
            vessel = Vessel(kind, trunk, base * share * (1 - 0.55 * along))
            vessels += [vessel, *_branches(canvas, vessel, wave, 0)]
    return vessels


def _trunk(canvas: Canvas, course: list, opening: float, wave: float) -> np.ndarray:
    rng = canvas.rng
    knots = np.array([(0, 0), *course]) * (1, opening)
    knots[2:] += rng.normal(0, 0.085, knots[2:].shape)
    knots[0] = (-0.09 + rng.normal(0, 0.03), rng.normal(0, 0.05))  # vessels come out on the nasal side of the disc
    line = _spline(knots)
    length = np.arange(len(line)) * STEP
    normal = np.gradient(line, axis=0)[:, ::-1] * (1, -1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    sway = sum(
        np.sin(length * 2 * math.pi / rng.uniform(*period) + rng.uniform(0, 6.3)) * size
        for period, size in (((0.9, 1.4), 0.6), ((1.8, 3.2), 1.4))
    )
    line = line + normal * (wave * sway * np.clip(length / 0.8, 0, 1))[:, None]
    return np.stack([canvas.disc[0] - line[:, 0], canvas.disc[1] - line[:, 1]], axis=1)


def _spline(knots: np.ndarray) -> np.ndarray:
    """Points about STEP apart on the Catmull-Rom curve through the knots."""
    padded = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        t = np.linspace(0, 1, max(2, round(float(np.linalg.norm(c - b)) / STEP)), endpoint=False)[:, None]
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.vstack([*pieces, knots[-1:]])


def _branches(canvas: Canvas, parent: Vessel, wave: float, depth: int) -> list[Vessel]:
    """Side branches along a vessel, left and right in turn, and theirs."""
    rng, branches = canvas.rng, []
    side = 1 if rng.random() < 0.5 else -1
    at = rng.uniform(0.45, 0.8) if depth == 0 else rng.uniform(0.35, 0.8)
    while (i := int(at / STEP)) < len(parent.points) - 3:
        width = float(parent.widths[i]) * rng.uniform(0.5, 0.78)
        if width > 0.009:
            ahead = parent.points[i + 1] - parent.points[i - 1]
            heading = math.atan2(ahead[1], ahead[0]) + side * rng.uniform(0.5, 1.0)
            points = _wander(canvas, parent.points[i], heading, width, wave)
            if len(points) > 5:
                child = Vessel(parent.kind, points, width * (1 - 0.6 * np.linspace(0, 1, len(points))))
                branches.append(child)
                if depth < 2:
                    branches += _branches(canvas, child, wave, depth + 1)
        side = -side
        at += rng.uniform(0.55, 1.25)
    return branches


def _wander(canvas: Canvas, start: np.ndarray, heading: float, width: float, wave: float) -> np.ndarray:
    """A branch that strays a little, is drawn to the macula inside the arcades and away from it outside."""
    rng = canvas.rng
    steps = int(rng.uniform(0.75, 1.25) * min(0.5 + width * 46, 3.2) / STEP)
    bends = rng.standard_normal(steps) * (0.05 + 2.2 * wave)
    x, y = float(start[0]), float(start[1])
    points, bend = [(x, y)], 0.0
    inward = math.cos(heading) * -x + math.sin(heading) * -y > 0 and math.hypot(x, y) < 2.9 and x < canvas.disc[0] - 0.5
    for turn in bends.tolist():
        bend = 0.72 * bend + turn
        goal = math.atan2(-y, -x) if inward else math.atan2(y, x - 1.0)
        heading += 0.3 * bend + 0.035 * math.sin(goal - heading)
        x, y = x + STEP * math.cos(heading), y + STEP * math.sin(heading)
        far = math.hypot(x - 1.2, y) > 6.2
        if far or math.hypot(x, y) < 0.34 or math.hypot(x - canvas.disc[0], y - canvas.disc[1]) < 0.45:
            break
        points.append((x, y))
    return np.array(points)


def ink(canvas: Canvas, vessels: list[Vessel], core: float = 1.0) -> np.ndarray:
    """Returns the vessels as a layer [height, width] of 0 to 1; thin ones are fainter. `core` draws that share of the width."""
    fine = np.zeros((canvas.height * 2, canvas.width * 2), np.uint8)
    pieces = []
    for vessel in vessels:
        places = np.round((canvas.pixels(vessel.points) * 2 + 0.5) * 16).astype(np.int32)
        wide = np.maximum(vessel.widths * canvas.dd * 2 * core, 1)
        thick = np.round(wide).astype(int)
        cuts = [0, *(np.flatnonzero(np.diff(thick)) + 1).tolist(), len(thick) - 1]
        pieces += [(int(thick[a]), places[a : b + 1]) for a, b in pairwise(cuts) if b > a]
    for thickness, places in sorted(pieces, key=lambda piece: piece[0]):
        faint = 1.0 if core < 1 else min(1.0, 0.34 + 0.085 * thickness)
        cv2.polylines(fine, [places.reshape(-1, 1, 2)], False, int(255 * faint), thickness, cv2.LINE_AA, 4)
    return cv2.resize(fine, (canvas.width, canvas.height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def paint(canvas: Canvas, vessels: list[Vessel]) -> dict[str, np.ndarray]:
    """Paints the vessels into the picture and returns the pixels of arteries and of veins, bool [height, width]."""
    drawn, layers = {}, {}
    for kind in ("artery", "vein"):
        layers[kind] = ink(canvas, [v for v in vessels if v.kind == kind])
        drawn[kind] = (layers[kind] > 0.33) & canvas.field
    strength = canvas.rng.uniform(0.85, 1.1)
    depth = {kind: cv2.GaussianBlur(layer, (0, 0), 0.75) for kind, layer in layers.items()}
    for channel, (artery, vein) in enumerate(((0.10, 0.30), (0.52, 0.84), (0.36, 0.55))):
        canvas.image[..., channel] *= np.exp(-strength * (artery * depth["artery"] + vein * depth["vein"]))
    broad = [v for v in vessels if v.widths[0] * canvas.dd > 2.6]
    for kind, gain in (("artery", 30.0), ("vein", 9.0)):  # light mirrored along the middle of the vessel
        reflex = ink(canvas, [v for v in broad if v.kind == kind], core=0.3)
        canvas.image += cv2.GaussianBlur(reflex, (0, 0), 0.7)[..., None] * np.array((0.9, 0.75, 0.45), np.float32) * gain
    return drawn
