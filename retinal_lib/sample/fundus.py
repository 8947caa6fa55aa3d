"""Draws one made-up fundus photograph: background, disc, vessels, lesions and the camera's faults."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from retinal_lib.sample import lesions, vessels
from retinal_lib.sample.automorph import measure
from retinal_lib.sample.canvas import Canvas, Disc, Eye, generator


@dataclass(frozen=True)
class Drawing:
    """A drawn eye: `image` uint8 [height, width, 3]; `masks` lesion type -> bool [height, width], only types that are
    drawn; `disc` and `cup` the masks of optic disc and cup; `centres` of disc and fovea as (column, row); `measures`
    AutoMorph's columns,
    lengths in µm, absent where they could not be measured."""

    eye: Eye
    image: np.ndarray
    masks: dict[str, np.ndarray]
    disc: np.ndarray
    cup: np.ndarray
    centres: dict[str, tuple[float, float]]
    measures: dict[str, float]

    @property
    def ratio(self) -> float:
        """The vertical cup-to-disc ratio of the masks, 0 where the disc is not in the picture."""
        cup, disc = (int(mask.any(axis=1).sum()) for mask in (self.cup, self.disc))
        return cup / disc if disc else 0.0


def draw(eye: Eye, measured: bool = True) -> Drawing:
    """Draws an eye; the same eye gives the same bytes. Without `measured`, nothing is measured, which halves the time."""
    canvas = Canvas(eye)
    disc = _disc(canvas)
    _paint_background(canvas)
    lesions.paint(canvas, lesions.UNDER_VESSELS)
    disc_mask, cup_mask = _paint_disc(canvas, disc)
    grown = vessels.grow(canvas)
    painted = vessels.paint(canvas, grown)
    measures = measure(canvas, disc, grown, painted) if measured else {}
    lesions.paint(canvas, lesions.OVER_VESSELS)
    if eye.amount("anterior"):
        _paint_front_of_eye(canvas)
    centres = {"disc": canvas.pixel(*canvas.disc), "fovea": canvas.pixel(0, 0)}
    return Drawing(eye, _photograph(canvas), canvas.masks, disc_mask & canvas.field, cup_mask & canvas.field, centres, measures)


def _disc(canvas: Canvas) -> Disc:
    rng = canvas.rng
    height, width = 0.5 * rng.uniform(0.97, 1.05), 0.5 * rng.uniform(0.88, 0.97)
    cup = canvas.eye.amount("cup", float(generator("cup", canvas.eye.patient).uniform(0.3, 0.45)))
    return Disc((width, height), (cup * rng.uniform(0.94, 1.02), cup * rng.uniform(0.97, 1.05)))


def _paint_background(canvas: Canvas) -> None:
    look = generator("look", canvas.eye.patient)  # shared by both eyes
    pigment, warmth = look.uniform(0, 1), look.uniform(-1, 1)
    base = np.array((210 - 34 * pigment, 104 - 32 * pigment + 6 * warmth, 46 - 14 * pigment - 6 * warmth), np.float32)
    x, y, r = canvas.x, canvas.y, canvas.from_centre
    off = look.uniform(-0.08, 0.08, 2).tolist()
    light = 1.06 - 0.30 * r**2.4 - off[0] * x * 0.4 - off[1] * y * 0.4
    light += 0.028 * canvas.cloud(1.4) + 0.018 * canvas.cloud(0.45) + 0.013 * canvas.cloud(0.1)
    canvas.image[:] = base * light[..., None]
    _paint_choroid(canvas, canvas.eye.amount("tessellation", look.uniform(0.25, 0.75)))
    near_disc = np.exp(-(((x - canvas.disc[0]) ** 2 + (y - canvas.disc[1]) ** 2) / 1.1))
    canvas.image += (near_disc * 16)[..., None] * np.array((1.0, 0.8, 0.45), np.float32)
    _paint_nerve_fibres(canvas)
    _paint_macula(canvas)


def _paint_choroid(canvas: Canvas, strength: float) -> None:
    """Choroidal vessels shining through: orange bands with darker gaps that run outwards from the macula."""
    x, y = canvas.x[::2, ::2] - 0.6, canvas.y[::2, ::2]  # soft enough for half the resolution
    warp = (0.25 * canvas.cloud(0.9) + 0.1 * canvas.cloud(0.3))[::2, ::2]
    noise = np.tile(canvas.rng.standard_normal((64, 64)).astype(np.float32), (3, 3))
    texture = cv2.GaussianBlur(noise, (0, 0), 1.0)[64:128, 64:128] * 3.2
    columns = (np.arctan2(y, x) / (2 * math.pi) + 0.5) * 64 + warp * 2.0
    rows = np.sqrt(np.hypot(x, y) + 0.05) * 17 + warp * 1.8
    bands = cv2.remap(np.tile(texture, (3, 3)), columns + 64, rows + 64, cv2.INTER_LINEAR)
    bands = cv2.GaussianBlur(1 - np.clip(np.abs(bands), 0, 1.4), (0, 0), 0.7)
    away = np.clip((canvas.from_fovea - 0.25) / 1.6, 0.12, 1) * strength
    amount = cv2.resize(bands, (canvas.width, canvas.height)) * away
    for channel, (gain, loss) in enumerate(((0.15, 4.8), (0.24, 6.0), (0.2, 1.8))):
        canvas.image[..., channel] *= 1 + gain * amount
        canvas.image[..., channel] -= loss * away


def _paint_nerve_fibres(canvas: Canvas) -> None:
    """Faint light streaks that fan out from the disc above and below."""
    dx, dy = canvas.x - canvas.disc[0], canvas.y - canvas.disc[1]
    theta, r = np.arctan2(dy, dx), np.hypot(dx, dy)
    lines = cv2.GaussianBlur(np.tile(canvas.rng.standard_normal((1, 720)).astype(np.float32), (1, 3)), (0, 0), 1.2)[:, 720:1440]
    at = ((theta + 0.22 * r * np.sign(dy) * np.sign(dx)) / (2 * math.pi) * 719 % 719).astype(np.float32)
    streaks = cv2.remap(lines, at, np.zeros_like(at), cv2.INTER_LINEAR)
    fan = np.exp(-(((r - 1.0) / 0.75) ** 2)) * np.abs(np.sin(theta)) ** 0.7
    canvas.image *= 1 + (0.05 * streaks * fan)[..., None]


def _paint_macula(canvas: Canvas) -> None:
    look = generator("macula", canvas.eye.patient)
    r2 = canvas.from_fovea**2
    wide, fovea = np.exp(-r2 / 0.55), np.exp(-r2 / 0.030)
    depth = look.uniform(0.75, 1.15)
    for channel, (broad, centre) in enumerate(((0.19, 0.14), (0.33, 0.27), (0.42, 0.12))):
        canvas.image[..., channel] *= np.exp(-depth * (broad * wide + centre * fovea))
    dx, dy = 0.035, -0.02
    here = canvas.around(dx, dy, 0.3)  # there is no light of it farther away
    glint = np.exp(-((canvas.x[here] - dx) ** 2 + (canvas.y[here] - dy) ** 2) / 0.0006) * look.uniform(0, 34)
    canvas.image[here] += glint[..., None] * np.array((1.0, 0.9, 0.7), np.float32)


def _paint_disc(canvas: Canvas, disc: Disc) -> tuple[np.ndarray, np.ndarray]:
    """Paints the optic disc with its cup; their masks, bool [height, width]."""
    look, eye = generator("disc", canvas.eye.patient), canvas.eye
    here = canvas.around(*canvas.disc, 1.4)
    dx, dy = canvas.x[here] - canvas.disc[0], canvas.y[here] - canvas.disc[1]
    outline = np.hypot(dx / disc.half[0], dy / disc.half[1])
    edge = 0.05 + 0.3 * eye.amount("disc oedema")
    halo, whole, cup = canvas.layer(), canvas.layer(), canvas.layer()
    halo[here] = np.exp(-(((outline - 1.06) / 0.07) ** 2)) * look.uniform(0.1, 0.45) * np.clip(0.5 - dx, 0, 1)
    canvas.stain(halo, (222, 160, 92))
    paleness = eye.amount("disc pallor") * np.array((10, 52, 66), np.float32)
    rim = np.array((238, 160, 98), np.float32) + paleness + look.uniform(-8, 8)
    whole[here] = _soft_step((1 - outline) / edge)
    canvas.stain(whole, tuple(rim.tolist()), 0.94)
    canvas.image[here] *= 1 + (0.03 * whole[here] * (canvas.cloud(0.12)[here] - 1.2 * dx / disc.half[0]))[..., None]
    inner = np.hypot((dx + 0.03) / (disc.half[0] * disc.cup[0]), dy / (disc.half[1] * disc.cup[1]))
    deep = disc.cup[1] > 0.6
    cup[here] = _soft_step((1 - inner) / (0.16 if deep else 0.28))
    canvas.stain(cup, (255, 226, 172) if deep else (262, 224, 164), 0.8)
    masks = np.zeros((2, canvas.height, canvas.width), bool)
    masks[0][here], masks[1][here] = outline <= 1, (inner <= 1) & (outline <= 1)
    return masks[0], masks[1]


def _soft_step(x: np.ndarray) -> np.ndarray:
    """A soft step from 0 (x well below 0) to 1."""
    return 1 / (1 + np.exp(np.clip(-2.2 * x, -30, 30)))


def _paint_front_of_eye(canvas: Canvas) -> None:
    """The front of the eye instead of the fundus: white sclera, brown iris, black pupil, a reflected light."""
    x, y = (canvas.x - canvas.disc[0] / 4) / 2.4, canvas.y / 2.4
    r, theta = np.hypot(x, y), np.arctan2(y, x)
    canvas.image[:] = np.array((206, 176, 158), np.float32) * (1 + 0.05 * canvas.cloud(0.5))[..., None]
    iris, pupil = _soft_step((1 - r) / 0.06), _soft_step((0.38 - r) / 0.03)
    fibres = 1 + 0.16 * np.sin(theta * 57 + 2 * canvas.cloud(0.5)) + 0.1 * canvas.cloud(0.15)
    canvas.image += iris[..., None] * (np.array((104, 68, 42), np.float32) * fibres[..., None] - canvas.image)
    canvas.image *= 1 - 0.93 * pupil[..., None]
    glint = _soft_step((0.09 - np.hypot(x - 0.2, y + 0.2)) / 0.03)
    canvas.image += glint[..., None] * (250 - canvas.image)
    lids = _soft_step((np.abs(y) - 1.02 + 0.16 * x**2) / 0.08)
    canvas.image += lids[..., None] * (np.array((150, 98, 76), np.float32) - canvas.image)


def _photograph(canvas: Canvas) -> np.ndarray:
    """The camera: haze, exposure, focus, the round field with its notch, dust on the lens, sensor noise."""
    eye, rng = canvas.eye, generator("camera", canvas.eye.patient, canvas.eye.name)
    image = canvas.image
    haze = eye.amount("haze")
    if haze:
        veil = np.array((176, 138, 92), np.float32) * (1.05 - 0.25 * canvas.from_centre[..., None])
        image += min(0.62 * haze, 0.85) * (veil * (1 + 0.06 * canvas.cloud(1.2)[..., None]) - image)
    focus = 0.55 + 3.2 * eye.amount("blur") + 2.0 * haze
    image = cv2.GaussianBlur(image, (0, 0), focus)
    exposure = rng.uniform(0.92, 1.06) * (1 - 0.55 * eye.amount("dark"))
    if eye.amount("dark"):
        image *= np.clip(1 + eye.amount("dark") * 0.3 * (canvas.x - 0.6)[..., None], 0.25, 1.3)
    image *= exposure
    image = _with_dust(canvas, image, rng)
    image *= _field_of_view(canvas)[..., None]
    noise = rng.standard_normal((canvas.height, canvas.width), dtype=np.float32)
    noise = 0.6 * noise + 0.9 * cv2.GaussianBlur(noise, (0, 0), 0.8)
    image += (1.7 * noise * (0.25 + 0.75 * canvas.field))[..., None] * np.array((1.0, 1.0, 1.2), np.float32) + 2.0
    image = np.where(image > 205, 205 + (image - 205) * 0.62, image)  # highlights roll off
    return np.clip(image, 0, 255).astype(np.uint8)


def _with_dust(canvas: Canvas, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    for _ in range(round(canvas.eye.amount("dust"))):
        angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.85) * canvas.radius
        column, row = canvas.centre[0] + far * math.cos(angle), canvas.centre[1] + far * math.sin(angle)
        spot = np.zeros((canvas.height, canvas.width), np.float32)
        cv2.circle(spot, (round(column), round(row)), round(canvas.dd * rng.uniform(0.05, 0.16)), 1.0, -1, cv2.LINE_AA)
        spot = cv2.GaussianBlur(spot, (0, 0), canvas.dd * 0.035) * rng.uniform(0.35, 0.75)
        image = image + spot[..., None] * (np.array((150, 156, 150), np.float32) - image)
    return image


def _field_of_view(canvas: Canvas) -> np.ndarray:
    """The round field of view, 1 inside and 0 outside, with the camera's notch at its upper right."""
    window = np.clip((1 - canvas.from_centre) * canvas.radius / 1.6 + 0.5, 0, 1)
    if canvas.eye.camera.notch:
        radii = canvas.radius * np.array((1.022, 0.98, 0.98))
        for angle in (-0.62, -0.54):
            angles = angle + np.array((0, -0.045, 0.03))  # the tip of a triangle and its base
            corners = canvas.centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            tab = np.zeros((canvas.height, canvas.width), np.uint8)
            cv2.fillPoly(tab, [np.round(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
            window = np.maximum(window, tab.astype(np.float32) / 255 * 0.9)
    return window
