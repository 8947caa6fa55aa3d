"""What a researcher wants to know of a dataset, in one page: counts, labels, trouble, measurements, lesions."""

import re
from collections import Counter, defaultdict
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from retinal_lib import display, drawing, paths
from retinal_lib.dataset import measurements
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.dataset.lesions.wording import is_count
from retinal_lib.display import FullTable
from retinal_lib.explore import charts, measurement_table, overlay
from retinal_lib.explore.lesion_map import LesionMap
from retinal_lib.explore.measurement_table import Measurements
from retinal_lib.facts import Fact
from retinal_lib.run.dataset_job import DatasetJob

_ROWS = 15  # of a table in the notebook; files hold every row
_CLASSES = 8  # rows of example pictures
EXAMPLES = 6  # pictures of a class
_CONTRADICTS = re.compile(r"disagree|contradict|different labels|different files| though ")


class Group(NamedTuple):
    """A label and its classes: what it is of, and per class (value, meaning) the titles of its images; `several` where an
    image may be in several classes; images without it are in none."""

    title: str
    classes: dict[tuple[str, str], list[str]]
    several: bool


class Seen(NamedTuple):
    """One usable image: name, split, eye, patient and labels as (group, value, meaning)."""

    image: str
    split: str
    eye: str | None
    patient: str | None
    labels: tuple[tuple[str, str, str], ...]


class Explore(DatasetJob):
    """A dataset opened to be looked over; see `load`. Nothing is asked of anybody, and nothing is written before `save`."""

    notebook = "explore"

    @property
    def table(self) -> pd.DataFrame:
        """The dataset, its source and terms, and what was found on disk."""
        return self.glance(citation=self.page.citation or "not stated", licence=self.page.licence)

    @cached_property
    def usable(self) -> list[str]:
        """The chosen images that can be used."""
        skipped = self.data.skipped
        return [image for image in self.images if image not in skipped]

    @cached_property
    def _read(self) -> tuple[list[Seen], Counter, dict]:
        """Each usable image's labels; how often each kind of sentence says that something is not known, and its first image."""
        seen, missing, first = [], Counter(), {}
        with display.Bar(len(self.usable), "images read") as bar:
            for done, image in enumerate(self.usable):
                bar.show(done)
                case = self.data.describe(image)
                labels = tuple(dict.fromkeys(label for fact in case.facts if (label := _label(fact))))
                seen.append(Seen(image, case.split, case.eye, case.patient, labels))
                for kind in {self._alike(sentence) for sentence in case.missing}:
                    missing[kind] += 1
                    first.setdefault(kind, image)
        return seen, missing, first

    # --- counts and labels ----------------------------------------------------------------------------------------

    @property
    def counts(self) -> pd.DataFrame:
        """Images, patients and eyes, per split."""
        seen = self._read[0]
        splits = list(dict.fromkeys(self.data.image(image).split for image in self.images))
        columns = {split: self._counted(seen, split) for split in splits}
        return FullTable(columns | ({"all": self._counted(seen, None)} if len(splits) > 1 else {}))

    def _counted(self, seen: list[Seen], split: str | None) -> dict[str, object]:
        mine = [s for s in seen if split in (None, s.split)]
        every = [image for image in self.images if split in (None, self.data.image(image).split)]
        eyes = defaultdict(set)
        for s in mine:
            if s.patient is not None:
                eyes[s.patient].add(s.eye)
        both = sum({"left", "right"} <= found for found in eyes.values())
        by_eye = Counter(s.eye for s in mine)
        return {
            "images": len(every),
            "usable": len(mine),
            "not usable": len(every) - len(mine),
            "patients": len(eyes) if eyes else "not known",
            "patients with both eyes": both if eyes else "not known",
            "left eyes": by_eye["left"],
            "right eyes": by_eye["right"],
            "eye not known": by_eye[None],
        }

    @cached_property
    def groups(self) -> list[Group]:
        """The labels, each with its classes: those of a grade in its order, others the most frequent first."""
        found: dict[str, dict[tuple[str, str], list[str]]] = {}
        for s in self._read[0]:
            for title, value, meaning in s.labels:
                found.setdefault(title, {}).setdefault((value, meaning), []).append(s.image)
        return [_group(title, found[title]) for title in sorted(found, key=_rank)]

    @property
    def labels(self) -> pd.DataFrame:
        """How many images each class of each label has; a label's images that it says nothing of stand in its last row."""
        rows = []
        for group in self.groups:
            total, name = len(self.usable), group.title
            for (value, meaning), images in group.classes.items():
                rows.append((name, value, meaning, len(images), _share(len(images), total)))
                name = ""
            without = total - len({image for images in group.classes.values() for image in images})
            if without:
                rows.append((name, "", "none of these" if group.several else "not known", without, _share(without, total)))
        return FullTable(rows, columns=["label", "value", "meaning", "images", "share"])

    @property
    def label_chart(self) -> drawing.Figure:
        """The labels' classes as bars."""
        bars = {g.title: [(_named(c, g), len(images)) for c, images in g.classes.items()] for g in self.groups}
        return drawing.bars(bars, len(self.usable))

    # --- trouble --------------------------------------------------------------------------------------------------

    @property
    def trouble(self) -> pd.DataFrame:
        """What is missing or contradicts itself, equal things together."""
        return (
            FullTable(self._trouble[:_ROWS])
            if self._trouble
            else FullTable({"what": ["nothing is missing or contradicts itself"]})
        )

    @cached_property
    def _trouble(self) -> list[dict[str, object]]:
        groups: dict[tuple[str, str], list[str]] = defaultdict(list)
        for image in self.images:
            if image in self.data.skipped:
                why = self.data.skipped[image]
                kind = "contradictory" if _CONTRADICTS.search(why) else "not usable"
                groups[kind, self._alike(why)].append(image)
        rows = [(*key, len(found), self.title(found[0])) for key, found in groups.items()]
        _, missing, first = self._read
        rows += [("not known", kind, number, self.title(first[kind])) for kind, number in missing.items()]
        if lost := self.data.rows_without_image:
            rows.append(("missing", "rows of the label tables have no image", len(lost), self._hidden(lost[0])))
        order = ("contradictory", "not usable", "missing", "not known")
        rows.sort(key=lambda row: (order.index(row[0]), -row[2]))
        return [dict(zip(("kind", "what", "how many", "the first"), row, strict=True)) for row in rows]

    def _hidden(self, row: str) -> str:
        return "" if self.page.private_names else row

    @cached_property
    def _names(self) -> frozenset[str]:
        """What a sentence may name an image or a patient by, folded."""
        paths = [self.data.image(image).path for image in (*self.data.images, *self.data.skipped)]
        patients = {s.patient for s in self._read[0] if s.patient} if "_read" in self.__dict__ else set()
        names = {name for path in paths for name in (path.stem, path.name)}
        return frozenset(name.casefold() for name in names | patients)

    def _alike(self, sentence: str) -> str:
        """A sentence without what differs from image to image, their names above all."""
        sentence = re.sub(r"[\w.-]+", lambda m: "…" if m[0].strip(".-").casefold() in self._names else m[0], sentence)
        return re.sub(r"\brow \d+", "row …", sentence)

    # --- measurements ---------------------------------------------------------------------------------------------

    @cached_property
    def measured(self) -> Measurements:
        """AutoMorph's measurements of the usable images."""
        return measurement_table.read(self.data, self.usable, self.title)

    @property
    def measurement_chart(self) -> drawing.Figure:
        """How the main measurements spread, with their plausible ranges."""
        features = [measurements.feature(column) for column in measurement_table.MAIN]
        return charts.histograms([(feature, *self.measured.of(feature)) for feature in features])

    @property
    def outliers(self) -> pd.DataFrame:
        """The values that stand out most; a file holds all of them."""
        found = self.measured.outliers
        return FullTable(found.head(_ROWS)) if len(found) else FullTable({"value": ["none stands out"]})

    # --- pictures -------------------------------------------------------------------------------------------------

    @cached_property
    def _shown(self) -> dict[str, list[str]]:
        """Class -> images to show: of the first label with two classes or more, spread evenly over each class."""
        pictured = [g for g in self.groups if not g.title.startswith(_ABOUT_PEOPLE)]
        group = next((g for g in pictured if len([c for c in g.classes.values() if c]) > 1), next(iter(pictured), None))
        if group is None:
            return {"all images": _spread(self.usable, 2 * EXAMPLES)} if self.usable else {}
        filled = [(key, images) for key, images in group.classes.items() if images]
        return {f"{_named(key, group)} ({len(images)})": _spread(images, EXAMPLES) for key, images in filled[:_CLASSES]}

    @property
    def example_chart(self) -> drawing.Figure:
        """Six images of each class."""
        rows = {name: [(self.title(i), self.data.image(i).path) for i in images] for name, images in self._shown.items()}
        return charts.examples(rows, EXAMPLES)

    @property
    def examples(self) -> pd.DataFrame:
        """Which images are shown."""
        return FullTable(
            {"images": [", ".join(map(self.title, images)) for images in self._shown.values()]}, index=[*self._shown]
        )

    @cached_property
    def lesions(self) -> LesionMap:
        """Where the lesions lie; empty where the dataset has no masks."""
        lesions = LesionMap()
        if not self.page.masks:
            return lesions
        with display.Bar(len(self._read[0]), "masks read") as bar:
            for done, seen in enumerate(self._read[0]):
                bar.show(done)
                lesions.add(overlay.read(self.page, self.data.image(seen.image), self.title(seen.image)))
        return lesions

    @property
    def lesion_chart(self) -> drawing.Figure:
        """The map of the lesions."""
        return charts.lesion_map(self.lesions)

    # --- files ----------------------------------------------------------------------------------------------------

    def save(self) -> pd.DataFrame:
        """Writes figures (PNG and PDF) and whole tables (CSV) into the folder, and lists them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        written = []
        tables = {
            "labels": self.labels.replace({"label": {"": None}}).ffill() if len(self.labels) else self.labels,
            "trouble": pd.DataFrame(self._trouble),
            "measurements": self.measured.table([f.column for f in measurements.features()]),
            "outliers": self.measured.outliers,
            "lesions": self.lesions.table,
        }
        for name, table in tables.items():
            path = self.folder / f"{name}.csv"
            table.to_csv(path, index=name == "lesions")
            written.append((path, _HOLDS[name]))
        for name, figure in (
            ("labels", self.label_chart),
            ("measurements", self.measurement_chart),
            ("examples", self.example_chart),
            ("lesions", self.lesion_chart),
        ):
            files = drawing.save(figure, self.folder / name)
            written += [(path, f"the figure of {name}, to print") for path in files]
        return FullTable({"holds": [what for _, what in written]}, index=[paths.display_path(path) for path, _ in written])


_HOLDS = {
    "labels": "images of each class",
    "trouble": "what is missing or contradicts itself",
    "measurements": "the spread of every measurement",
    "outliers": "every value that stands out",
    "lesions": "the lesions of each type, and where they lie",
}
_ABOUT_PEOPLE = ("sex", "patient's labels", "age")
_CONDITIONS, _LESIONS = "conditions", "lesions"


def _label(fact: Fact) -> tuple[str, str, str] | None:
    """A fact as (group, value, meaning); None where it is no label."""
    if fact.aspect == "lesion":
        return (_LESIONS, "", fact.unit) if is_count(fact) and fact.value else None
    if fact.aspect == "quality":
        remark = fact.name == "remark"
        return ("remarks on quality", "", fact.words) if remark else ("image quality", str(fact.value), fact.words)
    if fact.aspect == "patient":
        if fact.name == "age":
            return "age of the patient", f"{fact.value // 10 * 10} to {fact.value // 10 * 10 + 9}", "years"
        return ("sex", "", fact.words) if fact.name == "sex" else ("patient's labels, both eyes", fact.name, fact.words)
    if fact.aspect != "disease":
        return None
    if fact.unit in scales():
        scale = scales()[fact.unit]
        return f"{scale['of']} ({scale['title']})", str(fact.value), fact.words
    return _CONDITIONS, "" if fact.value == fact.words or fact.name in ("normal", "diagnosis") else fact.name, fact.words


def _rank(title: str) -> int:
    """Grades first, then conditions, lesions, quality, and people last."""
    order = (_CONDITIONS, _LESIONS, "image quality", "remarks on quality", *_ABOUT_PEOPLE)
    return next((i for i, start in enumerate(order, start=1) if title.startswith(start)), 0)


def _group(title: str, classes: dict[tuple[str, str], list[str]]) -> Group:
    scale = next((s for s in scales().values() if title == f"{s['of']} ({s['title']})"), None)
    if scale:  # a level that nobody has is worth knowing
        classes = {(str(v), words): classes.get((str(v), words), []) for v, words in scale["levels"].items()}
    elif title.startswith(("image quality", "age")):
        classes = dict(sorted(classes.items()))
    else:
        classes = dict(sorted(classes.items(), key=lambda item: -len(item[1])))
    return Group(title, classes, title in (_CONDITIONS, _LESIONS) or title.startswith(("remarks", "patient's")))


def _named(key: tuple[str, str], group: Group) -> str:
    value, meaning = key
    return f"{value}: {meaning}" if value and not group.several else meaning


def _share(part: int, total: int) -> str:
    return f"{part / total:.1%}" if total else ""


def _spread(images: list[str], count: int) -> list[str]:
    """`count` images at even steps through a list."""
    if len(images) <= count:
        return list(images)
    return [images[i * len(images) // count] for i in range(count)]
