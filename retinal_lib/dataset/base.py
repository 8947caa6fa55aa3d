"""A dataset on disk: its page, its files, and for each image a `Case` of facts."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pandas as pd

from retinal_lib import typed_paths
from retinal_lib.dataset import lesion_facts, measurements, page
from retinal_lib.dataset.automorph import AUTOMORPH, REJECTED
from retinal_lib.dataset.catalogue import Catalogue
from retinal_lib.dataset.cells.names import may_hold_diagnosis
from retinal_lib.dataset.cells.values import shorthand_in
from retinal_lib.dataset.fact_kinds import Columns, Person, denies
from retinal_lib.dataset.image import DISAGREE, EMPTY, NO_ROW, ExcludedImage, Image
from retinal_lib.dataset.image_files import natural
from retinal_lib.dataset.label_kinds import graded_only, known_of, looked_for, settled, told_once
from retinal_lib.dataset.lesion_facts import RATIO
from retinal_lib.dataset.page import Page, page_of
from retinal_lib.dataset.tables import Table, fold
from retinal_lib.display import are, count, without_cells, without_rows
from retinal_lib.errors import UserError, unknown
from retinal_lib.facts import ASPECTS, LIMITED, Case, Fact, Facts, Source
from retinal_lib.files import read_yaml
from retinal_lib.parsing import texts_in
from retinal_lib.text import training_text
from retinal_lib.text.shown_text import PERSON, for_people, keep_private

_MOST_NAMES = 20  # columns in a sentence
_MOST_YEARS = 10  # between the ages of one person, who may have come several times, where nothing says when
_MOST_CELLS, _MOST_ROWS = 6, 8  # kinds of cells that are not read, and rows of one, that sentences name


class BaseDescription:
    """A dataset on disk.

    `images` lists the names of usable images (`split/name` where numbering restarts and several splits are loaded), `skipped`
    maps every other image to the reason, `rows_without_image` lists label rows that have no picture, `notes` says what was
    found and what was not, one sentence each; `not_used` are those on columns, answers, rows and cells of the user's own table
    or page, and `not_used_places` the same without the texts of cells, which may name a person. UserError: the folder, a table
    or a column is missing, or the page is wrong.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "eye1.png").write_bytes(b"a picture")
    ...     _ = Path(folder, "labels.csv").write_text("image,disease\\neye1.png,signs of glaucoma\\neye2.png,\\n")
    ...     data = BaseDescription(folder, dataset=f"{folder}/labels.csv")
    >>> print(data.describe("eye1.png").description, data.describe("eye1.png").facts[0].source, sep="\\n")
    Disease: signs of glaucoma.
    labels.csv, row 2, column 'disease'
    >>> len(data.rows_without_image)
    1
    """

    dataset = ""
    aspects = tuple(ASPECTS)

    def __init__(
        self,
        data_root: str | Path,
        automorph_root: str | Path | None = None,
        split: str | None = None,
        dataset: str | Page | None = None,
        tables: dict[str, str] | None = None,
    ):
        self.page = dataset if isinstance(dataset, Page) else page_of(dataset or self.dataset)
        self.root = typed_paths.expand(data_root).absolute()
        if not self.root.is_dir():
            raise UserError(f"data_root {self.root} is not a folder; give the folder that holds {self.page.title} as unzipped")
        if split is not None and split not in self.page.splits:
            raise unknown(f"split of {self.page.name}", split, self.page.splits)
        self.split = split
        self.automorph_root = typed_paths.expand(automorph_root).absolute() if automorph_root else self.root / "Results"
        if automorph_root and not self.automorph_root.is_dir():
            raise UserError(f"automorph_root {self.automorph_root} is not a folder; give AutoMorph's Results folder")
        self._catalogue = Catalogue(self.root, self.page, split, tables or {}, self.automorph_root)
        self.notes, self.inputs = self._catalogue.notes, self._catalogue.inputs
        self.rows_without_image, self.unnamed_files = self._catalogue.rows_without_image, self._catalogue.unnamed_files
        if lost := self.rows_without_image:
            more = f"; {len(lost) - 5} more in manifest.json" if len(lost) > 5 else ""
            listed = "; ".join(lost[:5])
            self.notes.append(f"no image for {count(len(lost), 'row')} of the label tables, the first {listed}{more}")
        self._disagreeing: set[str] = set()  # persons, or images of none that is known, whose rows hold two ages or sexes
        self._list()
        self.not_used_places: list[str] = []
        self.not_used = self._find_not_used() if self.page.is_own else []
        self.notes += [sentence for sentence in self.not_used if not any(sentence in note for note in self.notes)]

    def _find_not_used(self) -> list[str]:
        """Sentences on columns, answers, files, rows and cells of the user's own table or page that are not used, and on
        persons whose cells disagree."""
        said = [] if self.page.of_table else page.unanswered(self.page)
        odd = [note for note in self.notes if f"not named like images of {self.page.name}" in note]
        lost = [note for note in self.notes if note.startswith("no image for")] if self.rows_without_image else []
        how = list(dict.fromkeys(note for content in self._catalogue.tables for note in content.notes))  # such as other sheets
        masks = self._unfit_masks()
        persons = self._persons_who_differ()
        cells, shorthand = self._unread_cells()
        unread, unread_names = self._catalogue.unread_columns, self._catalogue.unread_names
        if not self.page.of_table:
            unread, unread_names = _columns_not_named(self.page, self._catalogue.tables)
        names = ", ".join(f"{name!r}{' (may hold a diagnosis)' if of else ''}" for name, of in unread_names.items())
        columns = [f"{self.page.file.name}: columns that are not read: {names}"] if names else []
        asked = [each.partition(", so that ")[0] for each in said]
        rows = "; ".join(row.partition(": ")[0] for row in self.rows_without_image[:_MOST_ROWS])
        lost_rows = [f"{each.partition(', the first ')[0]}, the first {rows}" for each in lost]
        odd_places = [each.partition(", the first ")[0] for each in odd]
        odd_places += [each.partition(": ")[0] for each in masks]
        self.not_used_places = [*how, *columns, *asked, *odd_places, *lost_rows, *map(without_cells, [*persons, *cells])]
        self.not_used_places += shorthand
        return [*said, *how, *unread, *odd, *lost, *masks, *persons, *cells, *shorthand]

    def _unfit_masks(self) -> list[str]:
        """A sentence on masks that are not used since they do not fit their pictures; none where all fit."""
        found = []
        for image in map(self.image, self.images if self.page.kind("boxes") else ()):
            found += lesion_facts.unfit(image.masks, image.path, image.crop) if image.masks else []
        if len(found) > 1:
            return [f"{len(found)} masks not used, which do not fit their pictures: the first {found[0]}"]
        return [f"1 mask not used, which does not fit its picture: {found[0]}"] if found else []

    def _persons_who_differ(self) -> list[str]:
        """A sentence for the sex and one for the age, where rows of one person, also of skipped images, hold two, or ages that
        the time between their visits does not explain; `_disagreeing` keeps these persons."""
        found: dict[tuple[str, str], dict[tuple[object, str], Fact]] = defaultdict(dict)
        for name in self._by_name if self.page.kind("person") else ():
            for whose, year, fact in self._of_person(name):
                found[whose, fact.name].setdefault((fact.value, year), fact)
        pairs: dict[str, list[tuple[Fact, Fact]]] = defaultdict(list)
        for (whose, name), of_one in found.items():
            kept = sorted(of_one, key=str)
            if pair := next((pair for pair in combinations(kept, 2) if _differ(name, *pair)), None):
                self._disagreeing.add(whose)
                pairs[name].append((of_one[pair[0]], of_one[pair[1]]))
        return [
            f"the {name} of one person differs: {one.source} says '{one.value}', and {other.source} '{other.value}': "
            "neither age nor sex is told" + (f" ({count(len(some), 'person')})" if len(some) > 1 else "")
            for name, some in sorted(pairs.items())
            for one, other in some[:1]
        ]

    def _of_person(self, name: str) -> Iterator[tuple[str, str, Fact]]:
        """What each row of an image says of age and sex: whose, the year of the visit where the name says it, and the fact."""
        file = self._by_name[name]
        for row in self._catalogue.rows.get(file.place) or [None]:
            image = self._catalogue.image(file, name, row)
            try:
                facts = self.page.kind("person").facts(image).facts
            except ExcludedImage:  # it is skipped, and the reason is told
                continue
            year = image.record.groups.get("year", "")
            yield from ((image.record.patient or name, year if year.isdecimal() else "", fact) for fact in facts)

    def _unread_cells(self) -> tuple[list[str], list[str]]:
        """A sentence for each kind of filled cells that tell nothing, with its first row and the others: what contradicts
        another cell first, free text last; and one on shorthand with several meanings, which is told as it is written."""
        found: dict[tuple[int, str], list[str]] = defaultdict(list)
        short: Counter[str] = Counter()
        labels = [kind for kind in self.page.facts if kind.label]
        for image in map(self.image, self.images):
            of_kinds = [(isinstance(kind, Columns), kind.facts(image)) for kind in labels]
            facts = [fact for _, of in of_kinds for fact in of.facts]
            told, against, _ = settled(facts, [fact for _, of in of_kinds for fact in of.hidden])
            short.update({each for fact in told if fact.text == fact.words for each in shorthand_in(fact.words)})
            for why in against:
                found[-1, without_cells(without_rows(why))].append(why)
            missing = [(is_text, why) for is_text, of in of_kinds for why in of.missing]
            noted = image.record.notes  # such as that a joined table has no row, which each of its columns would repeat
            for is_text, why in [*((False, note) for note in noted), *((t, w) for t, w in missing if not w.endswith(noted))]:
                if not why.endswith((EMPTY, DISAGREE)):
                    found[is_text, without_rows(why)].append(why)
        said = [_with_rows(found[key]) for key in sorted(found, key=lambda key: key[0])]
        if (left := len(said) - _MOST_CELLS) > 0:
            more = f"{count(left, 'more kind')} of cells {are(left)} not read; retinal explore lists them in trouble.csv"
            said = [*said[:_MOST_CELLS], more]
        listed = ", ".join(f"{each} ({count(number, 'image')})" for each, number in sorted(short.items()))
        return said, [f"shorthand told as written, since it has several meanings: {listed}"] if listed else []

    def _list(self) -> None:
        chosen = [file for file in self._catalogue.files if self.split in (None, file.split)]
        prefix = self.page.restart and len({file.split for file in chosen}) > 1
        self._by_name = {(f"{file.split}/{file.name}" if prefix else file.name): file for file in chosen}
        if len(self._by_name) != len(chosen):
            twice = next(name for name, n in Counter(file.name for file in chosen).items() if n > 1)
            raise UserError(f"{twice} is in several splits of {self.page.name}; choose one with split")
        names = sorted(self._by_name, key=natural)
        self._called = {name: f"image {i}" if self.page.private_names else name for i, name in enumerate(names, start=1)}
        if self.page.private_names:
            self._keep_private()
        excluded = self._catalogue.excluded
        self.images = [name for name, file in self._by_name.items() if file.place not in excluded]
        self.skipped = {name: excluded[file.place] for name, file in self._by_name.items() if file.place in excluded}

    def _keep_private(self) -> None:
        """Has people read an image's number, in the order of the names, instead of the names that identify a participant, and
        no code of a participant, whose row may have no image."""
        for rows in self._catalogue.rows.values():
            keep_private((cell for row in rows for cell in self.page.people_of(row)), PERSON)
        for name, said in self._called.items():
            image = self.image(name)
            if image.record.patient:
                keep_private([image.record.patient], PERSON)
            keep_private([name, image.path.name, image.stem, image.id, image.export_name], said)

    def called(self, name: str) -> str:
        """Returns what people read instead of an image's name (as listed, or as exported): the name itself or, where it would
        identify a participant, the image's number in the order of the names."""
        if not self.page.private_names:
            return name
        return self._called.get(name) or for_people(Path(name).name)

    @property
    def paths(self) -> list[Path]:
        """The files of all images, of those that are not usable too."""
        return [file.path for file in self._by_name.values()]

    # --- describing ----------------------------------------------------------------------------------------------

    def image(self, name: str) -> Image:
        """Returns the image of that name, whether it can be used or not. UserError: there is none."""
        if name not in self._by_name:
            files = self._by_name.items()
            matching = {n: f for n, f in files if name in (f.name, self._catalogue.export_name(f))}
            if len(matching) != 1:
                which = ", ".join(f"{f.split}/{f.name}" for f in matching.values())
                found = f"{len(matching)} images {name!r}; say which: {which}" if matching else f"no image {name!r}"
                if not matching and self.page.private_names:
                    found = "no image of the name that was asked for"
                raise UserError(f"{self.page.name} has {found}")
            (name,) = matching
        image = self._catalogue.image(self._by_name[name], name)
        if (image.record.patient or name) in self._disagreeing:
            return replace(image, record=replace(image.record, disagrees=True))
        return image

    def describe(self, image: Image | str) -> Case:
        """Returns all facts of an image, given by name or as `image` returns it. UserError: it is unknown or skipped."""
        image = self.image(image) if isinstance(image, str) else image
        image.require_usable()
        of_header = () if self.page.kind("person") else (Person(),)
        of_kinds = [(kind, kind.facts(image)) for kind in (*of_header, *self.page.facts)]
        parts = [self._basics(image), *(found for _, found in of_kinds)]
        facts = [fact for part in parts for fact in part.facts]
        missing = [sentence for part in parts for sentence in part.missing]
        # what experts outlined comes before what AutoMorph measured
        facts = [fact for i, fact in enumerate(facts) if fact.name != RATIO or RATIO not in {f.name for f in facts[:i]}]
        judged = graded_only(of_kinds, image)
        facts, missing = self._withhold(*_withhold_measurements(facts, missing))
        hidden = [fact for part in parts for fact in part.hidden if not any(f.name == "ungradable" for f in facts)]
        facts, against, withheld = settled(facts, hidden)
        facts, missing = told_once(facts, [*missing, *against])
        order = {aspect: i for i, aspect in enumerate(ASPECTS)}
        facts = sorted((f for f in facts if f.aspect in self.aspects), key=lambda f: order[f.aspect])
        return Case(
            self.page.name,
            image.id,
            image.export_name,
            image.path,
            image.split,
            image.record.patient,
            image.eye,
            tuple(facts),
            tuple(missing),
            known_of(judged, withheld) if any(f.aspect in ("disease", "lesion") for f in facts) else (),
            known_of(looked_for(self.page.facts, image), withheld),
            tuple(sorted(withheld)),
        )

    def get_description(self, image: Image | str) -> str:
        """Returns the hidden description of an image, one line per aspect. UserError: as `describe`."""
        return self.describe(image).description

    def _basics(self, image: Image) -> Facts:
        facts, modality, eye = [], self.page.modality, image.eye
        if modality:
            source = Source(f"{self.page.name} page")
            facts.append(Fact("image", "modality", modality, "", f"this is a {modality}", source, modality))
        if eye:
            source = image.record.eye_from or Source(image.path.name)
            facts.append(Fact("image", "eye", eye, "", f"it shows the {eye} eye", source, eye, "eye"))
        return Facts(tuple(facts), image.record.notes)

    def _withhold(self, facts: list[Fact], missing: list[str]) -> tuple[list[Fact], list[str]]:
        """Withholds cells whose text may not stand in training text, and what describes the retina in an image that graders
        called ungradable."""
        written = (f for f in facts if f.source.row is not None and isinstance(f.value, str))  # the words of numbers are ours
        unfit = {f: why for f in written if (why := training_text.cell_problem(f.text))}
        facts = [f for f in facts if f not in unfit]
        missing += [f"{f.source} is not told: {why}" for f, why in unfit.items()]
        facts = _graders_first(facts)
        ungradable = next((f for f in facts if f.name == "ungradable"), None)
        if ungradable is None:
            return _withhold_absences(facts, missing)
        kept = [f for f in facts if f.aspect not in ("disease", "lesion", "vascular") and not denies(f)]
        if number := len(facts) - len(kept):
            what = f"{count(number, 'fact')} on disease and vessels {are(number)} withheld"
            missing = [*missing, f"{what}: {ungradable.text} ({ungradable.source})"]
        notes = [f for f in kept if f.aspect == "notes" and f.source.row is not None]  # of whose retina they may tell
        missing = [*missing, *(f"{f.source} is not told: {ungradable.text} ({ungradable.source})" for f in notes)]
        return [f for f in kept if f not in notes], missing

    def labels(self) -> pd.DataFrame:
        """Returns one row per usable image with split, eye, patient and every label by name: for choosing images."""
        rows = []
        for name in self.images:
            image = self.image(name)
            row = {"image": name, "split": image.split, "eye": image.eye, "patient": image.record.patient}
            for fact in _graders_first(fact for kind in self.page.facts for fact in kind.label_facts(image)):
                # an image may have several diagnoses: none is lost
                row[fact.name] = f"{row[fact.name]}, {fact.value}" if fact.name in row else fact.value
            rows.append(row)
        return pd.DataFrame(rows)


def _columns_not_named(of: Page, contents: Iterable[Table]) -> tuple[list[str], dict[str, bool]]:
    """A sentence for each table with columns that the user's own page does not name, and these columns."""
    page = read_yaml(of.file, "a dataset page", words=True)
    named = {fold(text) for text in texts_in(page, ("labels", "alias", "aspects", "where", "key"))}
    unnamed = {each.path: [name for name in each.header if fold(name) not in named] for each in contents}
    said = []
    for path, names in unnamed.items():
        more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
        listed = ", ".join(map(repr, names[:_MOST_NAMES])) + more
        said += [f"{path.name}: columns that the page does not name: {listed}"] if names else []
    return said, {name: may_hold_diagnosis(name) for names in unnamed.values() for name in names}


def _differ(name: str, one: tuple, other: tuple) -> bool:
    """Whether two sexes, or two ages, each with the year of its visit or "", are not of one person."""
    (value, year), (other_value, other_year) = one, other
    if name == "sex":
        return value != other_value
    between = abs(int(year) - int(other_year)) + 1 if year and other_year else _MOST_YEARS
    return abs(value - other_value) > between


def _with_rows(sentences: list[str]) -> str:
    """The first of sentences that differ in their rows alone, with the others' rows."""
    if sentences[0].endswith(NO_ROW):
        have = "has" if len(sentences) == 1 else "have"
        return f"{count(len(sentences), 'image')} {have} no row in {sentences[0].removesuffix(NO_ROW)}"
    rows = list(dict.fromkeys(row for each in sentences for row in re.findall(r"\brow (\d+)", each)))
    if len(sentences) == 1 or len(rows) == 1:
        return sentences[0]
    listed = f": rows {', '.join(rows[:_MOST_ROWS])}{', …' if len(rows) > _MOST_ROWS else ''}" if rows else ""
    return f"{sentences[0]} ({count(len(sentences), 'image')}{listed})"


def _is_rejected(fact: Fact) -> bool:
    """Whether a fact says that AutoMorph rejected the image."""
    return fact.aspect == "quality" and fact.unit == AUTOMORPH and fact.value == REJECTED


def _withhold_measurements(facts: list[Fact], missing: list[str]) -> tuple[list[Fact], list[str]]:
    """Withholds what was measured in an image that AutoMorph or graders rejected."""
    rejected = next((f for f in facts if f.name == "ungradable" or _is_rejected(f)), None)
    measured = [f for f in facts if f.name in measurements.columns() or (f.aspect, f.scope) == ("patient", "image")]
    kept = [f for f in facts if f not in measured] if rejected else facts
    if len(kept) == len(facts):
        return facts, missing
    number = count(len(facts) - len(kept), "measurement")
    return kept, [*missing, f"{number} not told: {rejected.text} ({rejected.source})"]


def _withhold_absences(facts: list[Fact], missing: list[str]) -> tuple[list[Fact], list[str]]:
    """Withholds what denies a disease or lesion in an image that AutoMorph rejected, since such an image cannot show that there
    is none; what graders found is told together with the quality."""
    rejected = next((f for f in facts if _is_rejected(f)), None)
    if rejected is None:
        return facts, missing
    denied = [f for f in facts if denies(f)]
    why = "a rejected image does not show that there is none"
    kept = [f for f in facts if f not in denied]
    missing = [*missing, *(f"{f.text} ({f.source}): not told, since {why}" for f in denied)]
    if any(f.aspect == "disease" for f in kept):
        text = "this was judged although the image quality is limited"
        kept.append(Fact("disease", LIMITED, 1, AUTOMORPH, text, rejected.source, "limited image quality"))
    return kept, missing


def _graders_first(facts: Iterable[Fact]) -> list[Fact]:
    """The facts without AutoMorph's verdict on the quality where graders gave one."""
    facts = list(facts)
    graded = any(fact.name in ("quality", "ungradable") and fact.unit != AUTOMORPH for fact in facts)
    return [fact for fact in facts if not (graded and fact.name == "quality" and fact.unit == AUTOMORPH)]


# --- the datasets by the names that researchers know; some have a second page, chosen by `dataset=` ---


class APTOSDesc(BaseDescription):
    """APTOS 2019: ICDR grade."""

    dataset = "APTOS"


class EyeQDesc(BaseDescription):
    """EyeQ on EyePACS: graded quality and ICDR grade."""

    dataset = "EyeQ"


class IDRIDDesc(BaseDescription):
    """IDRiD: grading; `dataset="IDRiD_seg"` for the lesion masks."""

    dataset = "IDRiD"


class MICCAIDesc(BaseDescription):
    """MMAC 2023 task 1, META-PM grade; `dataset="MICCAI_task2"` for the lesion masks."""

    dataset = "MICCAI_task1"


class MessidorDesc(BaseDescription):
    """Messidor with its own scale; `dataset="Messidor2"` for Messidor-2 with ICDR grades."""

    dataset = "Messidor"


class ODIRDDesc(BaseDescription):
    """ODIR-5K: diagnostic keywords per eye, labels per patient."""

    dataset = "ODIR"


class RFMiDDesc(BaseDescription):
    """RFMiD: 45 conditions; `dataset="RFMiD2"` for RFMiD 2.0."""

    dataset = "RFMiD"


class UKDesc(BaseDescription):
    """UK Biobank: eye from the file name, AutoMorph's results."""

    dataset = "UK"


class AlignDesc(BaseDescription):
    """Any dataset (`dataset=`) as the alignment track describes it: without vessel measurements.

    >>> AlignDesc.aspects
    ('image', 'patient', 'quality', 'disease', 'lesion', 'notes')
    """

    dataset = "ODIR"
    aspects = tuple(aspect for aspect in ASPECTS if aspect != "vascular")


_FIRST = (APTOSDesc, EyeQDesc, IDRIDDesc, MICCAIDesc, MessidorDesc, ODIRDDesc, RFMiDDesc, UKDesc)
_SECOND = {"IDRiD_seg": IDRIDDesc, "MICCAI_task2": MICCAIDesc, "Messidor2": MessidorDesc, "RFMiD2": RFMiDDesc}
CLASSES = {class_.dataset: class_ for class_ in _FIRST} | _SECOND  # by page


def load_dataset(
    name: str,
    data_root: str | Path,
    automorph_root: str | Path | None = None,
    split: str | None = None,
) -> BaseDescription:
    """Opens a dataset on disk by its page's name (any case), by path to a page of your own, or by path to a plain CSV.

    UserError: unknown name or split, or the folder does not hold the dataset; the sentence says what was looked for.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "eye1.png").write_bytes(b"a picture")
    ...     _ = Path(folder, "labels.csv").write_text("image,disease\\neye1.png,signs of glaucoma\\n")
    ...     data = load_dataset(f"{folder}/labels.csv", folder)
    >>> data.images
    ['eye1.png']
    """
    of = page_of(name)
    return CLASSES.get(of.name, BaseDescription)(data_root, automorph_root, split, dataset=of)
