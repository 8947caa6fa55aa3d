"""One colour per lesion type, told apart by colour-blind eyes too and on the colours of a fundus."""

from collections.abc import Iterable
from typing import NamedTuple

# yellow, mint, pink, periwinkle, purple: any two differ by at least 30 (CIE 1976) for normal, red-, green- and blue-blind
# eyes alike; tests/test_figures.py measures it
COLOURS = ("#e6e600", "#8cffa9", "#ff0080", "#7e98e6", "#a64dff")
LANDMARK = "#ffffff"
INK, FAINT, ALARM = "#1a1a1a", "#8a8a8a", "#c1121f"  # text and axes, what stands back, what is not plausible
BAR = "#3b6ea5"
_DASHES = ((), (4, 1.5), (1.2, 1.2))
# published types keep their colour whatever else an image has; exudates are yellow and blood is not, as one expects
_KNOWN = {"MA": 1, "HE": 2, "EX": 0, "SE": 3, "LC": 1, "CNV": 2, "FS": 0}


class Hue(NamedTuple):
    """How a lesion type is drawn: colour, and dashes (on, off, in points; none: a solid line)."""

    colour: str
    dashes: tuple[float, ...] = ()


def hues(kinds: Iterable[str]) -> dict[str, Hue]:
    """A hue for each lesion type; types beyond the colours repeat them dashed."""
    kinds = list(dict.fromkeys(kinds))
    places = {kind: _KNOWN[kind] for kind in kinds if kind in _KNOWN}
    free = (i for i in range(len(kinds) + len(COLOURS)) if i not in places.values())
    places |= {kind: next(free) for kind in kinds if kind not in _KNOWN}
    return {kind: Hue(COLOURS[i % len(COLOURS)], _DASHES[i // len(COLOURS) % len(_DASHES)]) for kind, i in places.items()}
