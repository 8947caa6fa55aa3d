"""Lesion facts in words: how many, how much of the image, where, in which boxes, and what the boxes leave out."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from retinal_lib.dataset.lesions import boxes
from retinal_lib.dataset.lesions.boxes import Box, Lesions
from retinal_lib.dataset.lesions.locations import DISC, FOVEA, PERIPHERY, Locations, place_of_all, quadrant_texts
from retinal_lib.facts import Fact, Source

# what follows a lesion type's name in the names of its facts; the name alone is the count
ENDINGS = ("_area", "_clusters", "_place", "_fovea", "_disc", "_box", "_rest", "_rest_share", "_rest_place", "_centre")


def is_count(fact: Fact) -> bool:
    """Says whether a lesion fact is the number of lesions of a type."""
    return fact.aspect == "lesion" and not fact.name.endswith(ENDINGS)


@dataclass(frozen=True)
class LesionType:
    """One lesion type of an image: its code, singular and plural, its mask and lesions (at least one), the gap and fill of
    clusters (see `boxes.clusters`), the frame for locations, and whether the text says that a lesion is within one disc
    diameter of the fovea, which matters for exudates."""

    kind: str
    one: str
    many: str
    path: Path
    lesions: Lesions
    gap: float
    fill: float
    locations: Locations
    near_fovea: bool = False

    def facts(self, max_boxes: int) -> list[Fact]:
        """Returns its facts in the order of a description, with boxes for at most `max_boxes` clusters, the largest first."""
        groups, owners = boxes.clusters(self.lesions, self.gap, self.fill)
        return [
            *self._counted(len(groups)),
            *self._where(),
            *self._boxes(groups, owners, max_boxes),
            *self._rest(owners, max_boxes),
        ]

    @property
    def _count(self) -> int:
        return len(self.lesions.pixels)

    @property
    def _words(self) -> str:
        return self.one if self._count == 1 else self.many

    @cached_property
    def _distances(self) -> dict[str, np.ndarray | None]:
        """Ending of a fact's name -> the disc diameters from that landmark to each lesion."""
        marks = {"_fovea": self.locations.fovea, "_disc": self.locations.disc}
        return {ending: self.locations.distances(self.lesions, mark) for ending, mark in marks.items()}

    @cached_property
    def _near(self) -> dict[str, np.ndarray]:
        return self.locations.near(self._distances["_fovea"], self._distances["_disc"])

    @cached_property
    def _in_quadrants(self) -> dict[str, int]:
        """Quadrant -> how many lesions lie in it; of a single lesion, the one that holds most of it, if any."""
        counts = self.locations.quadrants(self.lesions)
        if self._count == 1:
            region = self.locations.region(self.lesions.lesions[0].box, tuple(self.lesions.centres[0]))
            return {name: n for name, n in counts.items() if name == region}
        return counts

    def _fact(self, ending: str, value: object, unit: str, text: str, words: str = "", place: str = "") -> Fact:
        source = Source(str(self.path))
        return Fact("lesion", f"{self.kind}{ending}", value, unit, text, source, words or self.many, place=place)

    def _counted(self, clusters: int) -> list[Fact]:
        is_one, area = self._count == 1, self.lesions.area
        covers = f"the {self._words} {'covers' if is_one else 'cover'} {percent(area)} of the image"
        marked = f"{self._count} {self._words} {'is' if is_one else 'are'} marked"
        place = place_of_all(self._near, self._in_quadrants)
        facts = [self._fact("", self._count, self.many, marked, self.one, place)]
        if self.lesions.are_boxes:
            return facts
        facts.append(self._fact("_area", area * 100, "%", covers))
        if clusters < self._count:
            text = f"the {self.many} lie in {clusters} {'clusters' if clusters > 1 else 'cluster'}"
            facts.append(self._fact("_clusters", clusters, "clusters", text))
        return facts

    def _where(self) -> list[Fact]:
        facts = self._quadrants("_place", self.many)
        which = f"the {self.one}" if self._count == 1 else f"the nearest of the {self.many}"
        for ending, words in (("_fovea", FOVEA), ("_disc", DISC)):
            distances = self._distances[ending]
            if distances is not None:
                distance = float(distances.min())
                is_near = ending == "_fovea" and self.near_fovea and distance <= 1
                within = ", within one disc diameter of it" if is_near else ""
                centre = "the fovea" if ending == "_fovea" else f"the centre of the {words}"
                text = f"{which} lies {distance:.2f} disc diameters from {centre}{within}"
                facts.append(self._fact(ending, round(distance, 2), "disc diameters", text, words))
                break  # from the fovea, as clinicians measure, where it is known
        return facts

    def _quadrants(self, ending: str, words: str, chosen: np.ndarray | None = None) -> list[Fact]:
        frame = self.locations.frame
        counts = self._in_quadrants if chosen is None else self.locations.quadrants(self.lesions, chosen)
        quadrants = quadrant_texts(counts, words, frame)
        return [self._fact(ending, n, self.many, text, f"{name} {frame}") for name, n, text in quadrants]

    def _boxes(self, groups: list[boxes.Cluster], owners: np.ndarray, max_boxes: int) -> list[Fact]:
        shown = [cluster.box for cluster in groups[:max_boxes]]
        clustered = len(groups) < self._count
        things = "clusters" if clustered else self.many
        if len(groups) > max_boxes:
            title = f"the {max_boxes} largest {'clusters' if clustered else f'of the {self.many}'} lie"
        elif len(groups) > 1:
            title = f"the {things} lie"
        else:
            title = "the cluster lies" if clustered else f"the {self.one} lies"
        start = f"{title} in the box{'' if len(shown) == 1 else 'es'} "
        return [
            self._fact("_box", box, "box", f"{'' if i else start}{box_text(box)}", place=self._place(box, owners == i))
            for i, box in enumerate(shown)
        ]

    def _place(self, box: Box, chosen: np.ndarray) -> str:
        """Where a box of the `chosen` lesions [n] lies, in words: "near the macula, inferonasal quadrant"."""
        near = {words: lesions[chosen] for words, lesions in self._near.items()}
        parts = [words for words, lesions in near.items() if (lesions.all() if words == PERIPHERY else lesions.any())]
        x, y = np.average(self.lesions.centres[chosen], axis=0, weights=self.lesions.pixels[chosen])
        return ", ".join(filter(None, [*parts, self.locations.region(box, (x, y))]))

    def _rest(self, owners: np.ndarray, max_boxes: int) -> list[Fact]:
        """What lies beyond the named boxes: how many lesions, their share of the lesions' area, and in which quadrants."""
        left = owners >= max_boxes
        count, share = int(left.sum()), float(self.lesions.pixels[left].sum() / self.lesions.pixels.sum())
        if not count:
            return []
        more = f"{count} more {self.one if count == 1 else self.many} {'lies' if count == 1 else 'lie'} beyond these boxes"
        area = f"{'it holds' if count == 1 else 'they hold'} {percent(share)} of the area of all {self.many}"
        return [
            self._fact("_rest", count, self.many, more, self.one if count == 1 else self.many),
            *([] if self.lesions.are_boxes else [self._fact("_rest_share", share * 100, "%", area)]),
            *self._quadrants("_rest_place", f"{self.many} beyond the boxes", left),
        ]


def percent(share: float) -> str:
    """Writes a share of the image with at least two digits that count."""
    value = share * 100
    digits = 1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.1 else max(4, 1 - math.floor(math.log10(value)))
    return f"{value:.{digits}f} %"


def box_text(box: Box) -> str:
    """Writes a box: [0.1000, 0.2000, 0.3000, 0.4000]."""
    return "[" + ", ".join(f"{edge:.4f}" for edge in box) + "]"
