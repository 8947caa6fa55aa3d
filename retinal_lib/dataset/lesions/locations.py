"""Where lesions lie: quadrants, and distances from disc and fovea in disc diameters."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from retinal_lib.dataset.lesions.boxes import Box, Landmark, Lesions

DISC, FOVEA, CUP = "optic disc", "fovea", "optic cup"  # names of landmarks on a page
_CENTRAL = 0.1  # closer to the middle of the picture, as a share of its width, the disc is on neither side
# disc diameters from the fovea's centre, as risk of macular oedema is graded (Porwal et al., Data 2018; ADCIS, Messidor), and
# from the disc's margin, as new vessels of the disc are defined (ETDRS report 10, Ophthalmology 1991)
_NEAR = 1.0
_FAR = 3.0  # disc diameters of 1.5 mm from the fovea's centre: beyond the near periphery (Polyak, The Retina, 1941)
PERIPHERY = "periphery"
_MOST = 0.75  # the share of a box's width or height that lies on the side it is said to lie on
Side = Literal["right", "left", "unknown"]


@dataclass(frozen=True)
class Locations:
    """The frame for locations in one picture of `size` (width, height). `nasal_side` is the side of the nose; `disc` and
    `fovea` are None where they are not marked; lengths in pixels; `missing` says what is left out and why."""

    size: tuple[int, int]
    nasal_side: Side = "unknown"
    disc: Landmark | None = None
    fovea: Landmark | None = None
    missing: tuple[str, ...] = ()

    @property
    def origin(self) -> tuple[float, float]:
        """The point that quadrants meet in: the fovea where it is known, else the picture's middle."""
        return self.fovea.centre if self.fovea else (self.size[0] / 2, self.size[1] / 2)

    @property
    def frame(self) -> str:
        """What the quadrants are quadrants of, as it follows their names."""
        return "around the fovea" if self.fovea else "of the image"

    def quadrants(self, lesions: Lesions, chosen: np.ndarray | None = None) -> dict[str, int]:
        """Counts the lesions (all, or those where `chosen` [n] is True) that have their centre in each quadrant, the quadrant
        with most first; quadrants without any are left out."""
        x, y = (lesions.centres if chosen is None else lesions.centres[chosen]).T
        left, upper = x < self.origin[0], y < self.origin[1]
        counts = {
            self._named(is_upper, is_left): int(((left == is_left) & (upper == is_upper)).sum())
            for is_upper in (True, False)
            for is_left in (True, False)
        }
        return {name: n for name, n in sorted(counts.items(), key=lambda item: -item[1]) if n}

    def _named(self, upper: bool | None, left: bool | None) -> str:
        """The name of a quadrant, of a half where one of its sides is None, or "" where both are."""
        if upper is None and left is None:
            return ""
        if self.nasal_side == "unknown":
            side = "" if left is None else "left" if left else "right"
        else:
            side = "" if left is None else "nasal" if left == (self.nasal_side == "left") else "temporal"
        if upper is None:
            return f"{side} half"
        if not side:
            return f"{'upper' if upper else 'lower'} half"
        if self.nasal_side == "unknown":
            return f"{'upper' if upper else 'lower'} {side} quarter"
        return f"{'supero' if upper else 'infero'}{side} quadrant"

    def distances(self, lesions: Lesions, landmark: Landmark | None) -> np.ndarray | None:
        """Returns the disc diameters from the centre of a landmark to each lesion's nearest pixel, [n]; None where the landmark
        or the disc's diameter is not known, or there is no lesion."""
        if landmark is None or self.disc is None or not len(lesions.pixels):
            return None
        return lesions.distances(*landmark.centre) / self.disc.diameter

    def near(self, to_fovea: np.ndarray | None, to_disc: np.ndarray | None) -> dict[str, np.ndarray]:
        """Says of lesions by their `distances` from the two landmarks whether they lie near the macula, near the optic disc or
        in the periphery, bool [n]; what is not known is left out."""
        is_near = {}
        if to_fovea is not None:
            is_near["near the macula"] = to_fovea <= _NEAR
        if to_disc is not None:
            is_near["near the optic disc"] = to_disc <= 0.5 + _NEAR  # the margin is half a diameter from the centre
        if to_fovea is not None:
            is_near[PERIPHERY] = (to_fovea > _FAR) & ~is_near.get("near the optic disc", False)
        return is_near

    def region(self, box: Box, centre: tuple[float, float]) -> str:
        """Names the quadrant that a box (as fractions of the picture) lies in, or the half where it reaches over a quadrant's
        edge; "" where it reaches over both. `centre` is the mean place (x, y) of what the box holds, in pixels."""
        left, upper = (
            _is_before(box[axis] * self.size[axis], box[axis + 2] * self.size[axis], centre[axis], self.origin[axis])
            for axis in (0, 1)
        )
        return self._named(upper, left)


def of_picture(size: tuple[int, int], landmarks: dict[str, Landmark], eye: str | None, macula_centred: bool) -> Locations:
    """Returns the frame for locations in a picture with these landmarks (by their words) of this eye (left, right or not
    known).

    Without the eye, the nasal side is the side of the disc, where the disc is clearly off the fovea or, in a picture centred
    on the macula, off the middle. Where eye and disc contradict each other, the side is unknown and `missing` says why."""
    disc, fovea = landmarks.get(DISC), landmarks.get(FOVEA)
    of_disc = _side(size, disc, fovea, macula_centred)
    of_eye = eye or "unknown"  # a right eye's nose is on the right of a fundus photograph
    if "unknown" not in (of_disc, of_eye) and of_disc != of_eye:
        why = f"temporal and nasal are left out: the {eye} eye's disc should lie on the other side of the picture"
        return Locations(size, "unknown", disc, fovea, (why,))
    return Locations(size, of_disc if of_eye == "unknown" else of_eye, disc, fovea)


def _is_before(low: float, high: float, centre: float, middle: float) -> bool | None:
    """Whether most of an interval, and its `centre`, lie before `middle`; None where neither that nor the opposite is so."""
    share = (middle - low) / (high - low)
    if share >= _MOST and centre < middle:
        return True
    return False if share <= 1 - _MOST and centre >= middle else None


def _side(size: tuple[int, int], disc: Landmark | None, fovea: Landmark | None, macula_centred: bool) -> Side:
    middle = fovea.centre[0] if fovea else size[0] / 2 if macula_centred else None
    if disc is None or middle is None or abs(disc.centre[0] - middle) < _CENTRAL * size[0]:
        return "unknown"
    return "right" if disc.centre[0] > middle else "left"


class Quadrant(NamedTuple):
    """A quadrant's name, how many lesions lie in it, and the clause that says so."""

    name: str
    count: int
    text: str


def quadrant_texts(counts: dict[str, int], words: str, frame: str) -> Iterator[Quadrant]:
    """Words each quadrant that has lesions; `words` is what they are called, in the plural."""
    total = sum(counts.values())
    for i, (quadrant, n) in enumerate(counts.items()):
        where = f"in the {quadrant}"
        if i:
            yield Quadrant(quadrant, n, f"{n} {where}")
        elif len(counts) > 1:
            yield Quadrant(quadrant, n, f"{n} of the {words} {'lies' if n == 1 else 'lie'} {where} {frame}")
        else:
            yield Quadrant(quadrant, n, f"{'all of them lie' if total > 1 else 'it lies'} {where} {frame}")


def place_of_all(near: dict[str, np.ndarray], counts: dict[str, int]) -> str:
    """Words where the lesions of a type lie, without numbers: "partly near the macula, mostly in the inferonasal quadrant".
    `near` as `Locations.near` returns it, `counts` as `Locations.quadrants` does."""
    parts = []
    for words, lesions in near.items():
        share = "" if lesions.all() else "mostly " if lesions.mean() > 0.5 else "partly "
        parts += [f"{share}{'in the ' if words == PERIPHERY else ''}{words}"] if lesions.any() else []
    names, total = list(counts), sum(counts.values())
    if not names:
        return ", ".join(parts)
    if len(names) == 1:
        parts.append(f"in the {names[0]}")
    elif counts[names[0]] * 2 > total:
        parts.append(f"mostly in the {names[0]}")
    elif len(names) == 4:
        parts.append(f"in all {names[0].rsplit(' ', 1)[-1]}s")
    else:
        kind = names[0].rsplit(" ", 1)[-1]
        listed = [name.removesuffix(f" {kind}") for name in names]
        parts.append(f"in the {', '.join(listed[:-1])} and {listed[-1]} {kind}s")
    return ", ".join(parts)
