"""Where lesions lie, in words that are computed: quadrants, and distances from disc and fovea in disc diameters."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from retinal_lib.dataset.lesions.boxes import Landmark, Lesions

DISC, FOVEA = "optic disc", "fovea"  # what a page calls the two landmarks that places are told by
_CENTRAL = 0.1  # a disc less than this share of the width from the picture's middle does not tell its side
# a right eye's nose is on the right of a fundus photograph
_NASAL = {"right": 1, "left": -1}


@dataclass(frozen=True)
class Places:
    """How to tell places in one picture of `size` (width, height). `nasal` is 1 where the nose is on the right, -1 on the
    left, 0 where that is not known; `disc` and `fovea` are given where they are marked; lengths in pixels."""

    size: tuple[int, int]
    nasal: int = 0
    disc: Landmark | None = None
    fovea: Landmark | None = None

    @property
    def origin(self) -> tuple[float, float]:
        """The point that quadrants meet in: the fovea where it is known, else the picture's middle."""
        return self.fovea.centre if self.fovea else (self.size[0] / 2, self.size[1] / 2)

    @property
    def frame(self) -> str:
        """What the quadrants are quadrants of, as it follows their names."""
        return "around the fovea" if self.fovea else "of the image"

    def quadrants(self, found: Lesions, chosen: np.ndarray | None = None) -> dict[str, int]:
        """How many lesions (all, or those where `chosen` [n] is True) have their centre in each quadrant, the quadrant with
        most first; quadrants without any are left out."""
        x, y = (found.centres if chosen is None else found.centres[chosen]).T
        left, upper = x < self.origin[0], y < self.origin[1]
        counts = {
            self._named(is_upper, is_left): int(((left == is_left) & (upper == is_upper)).sum())
            for is_upper in (True, False)
            for is_left in (True, False)
        }
        return {name: n for name, n in sorted(counts.items(), key=lambda item: -item[1]) if n}

    def _named(self, upper: bool, left: bool) -> str:
        if not self.nasal:
            return f"{'upper' if upper else 'lower'} {'left' if left else 'right'} quarter"
        return f"{'supero' if upper else 'infero'}{'nasal' if left == (self.nasal < 0) else 'temporal'} quadrant"

    def nearest(self, found: Lesions, mark: Landmark | None) -> float | None:
        """Disc diameters from the centre of a landmark to the nearest pixel of a lesion; None where the landmark or the
        disc's diameter is not known, or there is no lesion."""
        if mark is None or self.disc is None or not len(found.pixels):
            return None
        return float(found.distances(*mark.centre).min()) / self.disc.diameter


def places(
    size: tuple[int, int], marks: dict[str, Landmark], eye: str | None, macula_centred: bool, missing: list[str]
) -> Places:
    """How to tell places in a picture with these landmarks (by their words) of this eye (left, right or not known).

    Without the eye, the disc's side tells the nose's where it is clearly off the fovea or, in a picture centred on the
    macula, off the middle. Where eye and disc contradict each other, neither is believed, and `missing` says so."""
    disc, fovea = marks.get(DISC), marks.get(FOVEA)
    seen = _side(size, disc, fovea, macula_centred)
    known = _NASAL.get(eye or "", 0)
    if seen * known < 0:
        missing.append(f"temporal and nasal are not told: the {eye} eye's disc should lie on the other side of the picture")
        seen = known = 0
    return Places(size, known or seen, disc, fovea)


def _side(size: tuple[int, int], disc: Landmark | None, fovea: Landmark | None, macula_centred: bool) -> int:
    middle = fovea.centre[0] if fovea else size[0] / 2 if macula_centred else None
    if disc is None or middle is None or abs(disc.centre[0] - middle) < _CENTRAL * size[0]:
        return 0
    return 1 if disc.centre[0] > middle else -1


def listed(counts: dict[str, int], words: str, frame: str) -> Iterable[tuple[str, int, str]]:
    """(quadrant, count, clause) for each quadrant that has lesions; `words` is what they are called, in the plural."""
    total = sum(counts.values())
    for i, (quadrant, n) in enumerate(counts.items()):
        where = f"in the {quadrant}"
        if i:
            yield quadrant, n, f"{n} {where}"
        elif len(counts) > 1:
            yield quadrant, n, f"{n} of the {words} {'lies' if n == 1 else 'lie'} {where} {frame}"
        else:
            yield quadrant, n, f"{'all of them lie' if total > 1 else 'it lies'} {where} {frame}"
