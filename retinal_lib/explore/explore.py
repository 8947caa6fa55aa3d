"""A dataset on one page: counts, labels, missing and contradictory data, measurements, examples, lesions."""

import re
from collections import Counter, defaultdict
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from retinal_lib import display, files, paths
from retinal_lib.dataset import measurements
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.dataset.lesions.wording import is_count
from retinal_lib.display import FullTable, without_rows
from retinal_lib.errors import UserError
from retinal_lib.explore import charts, measurement_table, overlay
from retinal_lib.explore.lesion_map import LesionMap
from retinal_lib.explore.measurement_table import Measurements
from retinal_lib.facts import LIMITED, Fact
from retinal_lib.imaging import drawing
from retinal_lib.imaging.images import sent_size, why_unreadable
from retinal_lib.run import earlier_run, run_files
from retinal_lib.run.dataset_job import DatasetJob
from retinal_lib.text.shown_text import for_people

_ROWS = 15  # of a table in the notebook; files hold every row
RECORD = "explored.json"  # which data and images the files of a folder are about
_CLASSES = 8  # rows of example pictures
EXAMPLES = 6  # pictures of a class
_CONTRADICTS = re.compile(r"disagree|contradict|different labels|different files| though ")


class Label(NamedTuple):
    """A label: its title, and by class (value, meaning) the names of its images. `several` says that an image may be in
    several classes; images without the label are in none."""

    title: str
    classes: dict[tuple[str, str], list[str]]
    several: bool


class LabelledImage(NamedTuple):
    """One usable image: name, split, eye, patient, labels as (title of the label, value, meaning), and sentences on what is
    not known of it, without its name."""

    image: str
    split: str
    eye: str | None
    patient: str | None
    labels: tuple[tuple[str, str, str], ...]
    missing: tuple[str, ...]


class Explore(DatasetJob):
    """A dataset opened to be explored, see `load`. Nothing is sent anywhere, and nothing is written before `save`.

    >>> explored = Explore.load(dataset="ODIR", limit=4)
    >>> print(explored.counts["train"]["left eyes"], "left eyes; the first measured is", explored.measured.images[0])
    2 left eyes; the first measured is 11_left.jpg
    """

    notebook = "explore"

    @property
    def table(self) -> pd.DataFrame:
        """The dataset, its source and terms, and the files on disk, one row each."""
        source = self.source
        nothing = "none" if self.drawn else "not stated"
        return self.summary_table(citation=source["citation"] or nothing, licence=source["licence"])

    @cached_property
    def usable(self) -> list[str]:
        """The names of the chosen images that can be used."""
        return [image for image in self.images if image not in self._not_usable]

    @cached_property
    def _not_usable(self) -> dict[str, str]:
        """Why chosen images cannot be used, by name: what the dataset says, and files that are no whole picture."""
        reasons = {}
        for name in display.progress(self.images, "pictures looked at"):
            if name in self.data.skipped:
                reasons[name] = self.data.skipped[name]
                continue
            path = self.data.image(name).path
            try:
                sent_size(path)
            except UserError as why:
                reasons[name] = why_unreadable(path, why)
        return reasons

    @cached_property
    def labelled(self) -> list[LabelledImage]:
        """The usable images with their labels."""
        labelled = []
        for name in display.progress(self.usable, "images read"):
            case = self.data.describe(name)
            labels = dict.fromkeys(label for fact in case.facts if (label := _label(fact)))
            missing = dict.fromkeys(map(self._without_names, case.missing))
            labelled.append(LabelledImage(name, case.split, case.eye, case.patient, tuple(labels), tuple(missing)))
        return labelled

    # --- counts and labels ----------------------------------------------------------------------------------------

    @property
    def counts(self) -> pd.DataFrame:
        """Images, patients and eyes, per split."""
        split_of = {name: self.data.image(name).split for name in self.images}
        splits = list(dict.fromkeys(split_of.values()))
        columns = {split: self._count([name for name in self.images if split_of[name] == split]) for split in splits}
        return FullTable(columns | ({"all": self._count(self.images)} if len(splits) > 1 else {}))

    def _count(self, names: list[str]) -> dict[str, object]:
        chosen = frozenset(names)
        usable = [image for image in self.labelled if image.image in chosen]
        eyes: dict[str, set[str | None]] = defaultdict(set)
        for image in usable:
            if image.patient is not None:
                eyes[image.patient].add(image.eye)
        both = sum({"left", "right"} <= sides for sides in eyes.values())
        by_eye = Counter(image.eye for image in usable)
        return {
            "images": len(names),
            "usable": len(usable),
            "not usable": len(names) - len(usable),
            "patients": len(eyes) if eyes else "not known",
            "patients with both eyes": both if eyes else "not known",
            "left eyes": by_eye["left"],
            "right eyes": by_eye["right"],
            "eye not known": by_eye[None],
        }

    @cached_property
    def classes(self) -> list[Label]:
        """The labels with their classes: grades in their order, other classes by frequency."""
        images: dict[str, dict[tuple[str, str], list[str]]] = {}
        for image in self.labelled:
            for title, value, meaning in image.labels:
                images.setdefault(title, {}).setdefault((value, meaning), []).append(image.image)
        return [_label_of(title, images[title]) for title in sorted(images, key=_rank)]

    @property
    def labels(self) -> pd.DataFrame:
        """The number of images in each class of each label; a label's last row counts the images without it."""
        rows, total = [], len(self.usable)
        for label in self.classes:
            counts = [(value, meaning, len(images)) for (value, meaning), images in label.classes.items()]
            without = total - len({image for images in label.classes.values() for image in images})
            counts += [("", "none of these" if label.several else "not known", without)] if without else []
            titles = [label.title] + [""] * (len(counts) - 1)
            rows += [(title, *row, f"{row[-1] / total:.1%}") for title, row in zip(titles, counts, strict=True)]
        return FullTable(rows, columns=["label", "value", "meaning", "images", "share"])

    @property
    def label_chart(self) -> drawing.Figure:
        """The classes of the labels as bars."""
        bars = {
            label.title: [(_class_text(c, label), len(images)) for c, images in label.classes.items()] for label in self.classes
        }
        return drawing.tell_drawn(drawing.bars(bars, len(self.usable)), self.drawn)

    # --- problems -------------------------------------------------------------------------------------------------

    @property
    def problems(self) -> pd.DataFrame:
        """Missing and contradictory data, equal problems in one row, with the sentence on the first."""
        none = {"what": ["nothing is missing or contradicts itself"]}
        return FullTable(self._problem_rows[:_ROWS] or none)

    @cached_property
    def _problem_rows(self) -> list[dict[str, object]]:
        images: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)  # equal problems: (sentence, image)
        for name in self.images:
            if reason := self._not_usable.get(name):
                kind, sentence = "contradictory" if _CONTRADICTS.search(reason) else "not usable", self._without_names(reason)
                images[kind, without_rows(sentence)].append((sentence, name))
        for image in self.labelled:
            for sentence in image.missing:
                images["not known", without_rows(sentence)].append((sentence, image.image))
        rows = [(kind, same[0][0], len(same), self.title(same[0][1])) for (kind, _), same in images.items()]
        if rest := self.data.rows_without_image:
            rows.append(("missing", "rows of the label tables have no image", len(rest), for_people(rest[0])))
        if (odd := self.data.unnamed_files) and self.page.is_own:
            rows.append(("not usable", "files are not named like images of the page", len(odd), for_people(Path(odd[0]).name)))
        order = ("contradictory", "not usable", "missing", "not known")
        rows.sort(key=lambda row: (order.index(row[0]), -row[2]))
        return [dict(zip(("kind", "what", "how many", "the first"), row, strict=True)) for row in rows]

    @cached_property
    def _names(self) -> frozenset[str]:
        """The names by which a sentence may call an image, in lower case."""
        paths = [self.data.image(name).path for name in (*self.data.images, *self.data.skipped)]
        return frozenset(name.casefold() for path in paths for name in (path.stem, path.name))

    def _without_names(self, sentence: str) -> str:
        """A sentence without the names of images."""
        return re.sub(r"[\w.-]+", lambda m: "…" if m[0].strip(".-").casefold() in self._names else m[0], sentence)

    # --- measurements ---------------------------------------------------------------------------------------------

    @cached_property
    def measured(self) -> Measurements:
        """AutoMorph's measurements of the usable images."""
        return measurement_table.read(self.data, self.usable, self.title)

    @property
    def measurement_chart(self) -> drawing.Figure:
        """Histograms of the main measurements, with their plausible ranges."""
        features = [measurements.feature(column) for column in measurement_table.MAIN]
        figure = charts.histograms([(feature, *self.measured.of(feature)) for feature in features])
        return drawing.tell_drawn(figure, self.drawn)

    @property
    def outliers(self) -> pd.DataFrame:
        """The most extreme values; a file holds all of them."""
        outliers = self.measured.outliers
        return FullTable(outliers.head(_ROWS)) if len(outliers) else FullTable({"value": ["none stands out"]})

    # --- pictures -------------------------------------------------------------------------------------------------

    @cached_property
    def _per_class(self) -> dict[str, list[str]]:
        """Class -> example images, at even steps through the class, of the first label with two classes or more."""
        labels = [label for label in self.classes if not label.title.startswith(_ABOUT_PEOPLE)]
        several = (label for label in labels if sum(map(bool, label.classes.values())) > 1)
        label = next(several, next(iter(labels), None))
        if label is None:
            return {"all images": _at_even_steps(self.usable, 2 * EXAMPLES)} if self.usable else {}
        classes = [(key, images) for key, images in label.classes.items() if images]
        return {f"{_class_text(key, label)} ({len(images)})": _at_even_steps(images, EXAMPLES) for key, images in classes}

    @property
    def example_chart(self) -> drawing.Figure:
        """Example images of each class."""
        shown = list(self._per_class.items())[:_CLASSES]
        rows = {name: [(self.title(i), self.data.image(i).path) for i in images] for name, images in shown}
        more = len(self._per_class) - len(shown)
        note = f"{more} more {'class is' if more == 1 else 'classes are'} not drawn; the notebook's table names their images"
        return charts.examples(rows, EXAMPLES, note if more else "")

    @property
    def examples(self) -> pd.DataFrame:
        """The names of the example images."""
        return FullTable(
            {"images": [", ".join(map(self.title, images)) for images in self._per_class.values()]},
            index=[*self._per_class],
        )

    @cached_property
    def lesions(self) -> LesionMap:
        """The locations of the lesions; empty if the dataset has no masks."""
        lesions = LesionMap()
        if not self.page.masks:
            return lesions
        for name in display.progress(self.usable, "masks read"):
            lesions.add(overlay.read(self.page, self.data.image(name), self.title(name)))
        return lesions

    @property
    def lesion_chart(self) -> drawing.Figure:
        """The lesion map as a figure."""
        return drawing.tell_drawn(charts.lesion_map(self.lesions), self.drawn)

    # --- files ----------------------------------------------------------------------------------------------------

    def save(self) -> pd.DataFrame:
        """Writes figures (PNG and PDF) and complete tables (CSV) into the folder, and lists them. UserError: the folder cannot
        be written, or holds those of more images or of other data."""
        self._check_folder()
        written = []
        tables = {
            "labels": self.labels.replace({"label": {"": None}}).ffill() if len(self.labels) else self.labels,
            "trouble": pd.DataFrame(self._problem_rows),
            "measurements": self.measured.table([f.column for f in measurements.features()]),
            "outliers": self.measured.outliers,
            "lesions": self.lesions.table,
        }
        for name, table in tables.items():
            path = files.write_csv(self.folder / f"{name}.csv", table, index="lesion" if name == "lesions" else "")
            written.append((path, _HOLDS[name]))
        for name, figure in (
            ("labels", self.label_chart),
            ("measurements", self.measurement_chart),
            ("examples", self.example_chart),
            ("lesions", self.lesion_chart),
        ):
            written += [(path, f"the figure of {name}, to print") for path in drawing.save(figure, self.folder / name)]
        return FullTable({"holds": [what for _, what in written]}, index=[paths.display_path(path) for path, _ in written])

    def _check_folder(self) -> None:
        """Notes which images the folder is about; their names are hashed. UserError: it was about more, or about others."""
        file, images = self.folder / RECORD, earlier_run.hashed(self.images)
        earlier = earlier_run.record(file)
        earlier_run.check(file, earlier, self.data, self.drawn, earlier.get("images") or [], images, "image")
        inputs = {Path(path).name: digest for path, digest in sorted(self.data.inputs.items())}
        settings = self.settings.model_dump(mode="json", include={"dataset", "data_root", "split", "subset", "start", "limit"})
        about = {"dataset": {"name": self.page.name, "drawn_sample": self.drawn}, "settings": settings, "inputs": inputs}
        run_files.write_record(file, about | {"images": images}, indent=1)


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
    """A fact as (title of the label, value, meaning); None if it is not a label."""
    if fact.aspect == "lesion":
        return (_LESIONS, "", fact.unit) if is_count(fact) and fact.value else None
    if fact.aspect == "quality":
        remark = fact.name == "remark"
        return ("remarks on quality", "", fact.words) if remark else ("image quality", str(fact.value), fact.words)
    if fact.aspect == "patient":
        if fact.name == "age":
            return "age of the patient", f"{fact.value // 10 * 10} to {fact.value // 10 * 10 + 9}", "years"
        return ("sex", "", fact.words) if fact.name == "sex" else ("patient's labels, both eyes", fact.name, fact.words)
    if fact.aspect != "disease" or fact.name == LIMITED:
        return None
    if fact.unit in scales():
        scale = scales()[fact.unit]
        return f"{scale['of']} ({scale['title']})", str(fact.value), fact.words
    return _CONDITIONS, "" if fact.value == fact.words or fact.name in ("normal", "diagnosis") else fact.name, fact.words


def _rank(title: str) -> int:
    """Grades first, then conditions, lesions, quality, and people last."""
    order = (_CONDITIONS, _LESIONS, "image quality", "remarks on quality", *_ABOUT_PEOPLE)
    return next((i for i, start in enumerate(order, start=1) if title.startswith(start)), 0)


def _label_of(title: str, images: dict[tuple[str, str], list[str]]) -> Label:
    scale = next((s for s in scales().values() if title == f"{s['of']} ({s['title']})"), None)
    if scale:  # levels without images are listed too
        images = {(str(v), words): images.get((str(v), words), []) for v, words in scale["levels"].items()}
    elif title.startswith(("image quality", "age")):
        images = dict(sorted(images.items()))
    else:
        images = dict(sorted(images.items(), key=lambda item: -len(item[1])))
    return Label(title, images, title in (_CONDITIONS, _LESIONS) or title.startswith(("remarks", "patient's")))


def _class_text(key: tuple[str, str], label: Label) -> str:
    """A class as text; its value comes before its meaning if an image can be in one class only."""
    value, meaning = key
    return f"{value}: {meaning}" if value and not label.several else meaning


def _at_even_steps(images: list[str], count: int) -> list[str]:
    """`count` images at even steps through a list."""
    if len(images) <= count:
        return list(images)
    return [images[i * len(images) // count] for i in range(count)]
