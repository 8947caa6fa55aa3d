"""A dataset page: what a dataset's files are called, what its labels mean and what its terms allow, as data."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from retinal_lib import paths, typed_paths
from retinal_lib.dataset import tables as table
from retinal_lib.dataset.cells import file_names
from retinal_lib.dataset.cells.columns import TEXTS, Reading, understand, understand_rows_of_both_eyes
from retinal_lib.dataset.cells.page_content import page_content
from retinal_lib.dataset.cells.values import in_english, is_of_both_eyes, names_in
from retinal_lib.dataset.fact_kinds import GradingScale, Kind, own_scales, scales
from retinal_lib.dataset.image import Column, Correction, Row, names_of
from retinal_lib.dataset.image_files import Folder, Places, files, folders
from retinal_lib.dataset.label_kinds import KINDS
from retinal_lib.dataset.lesions.spec import MaskSpec
from retinal_lib.dataset.tables import Code, code
from retinal_lib.errors import UserError, did_you_mean, from_validation, unknown, validation_text
from retinal_lib.files import read_bytes, read_yaml
from retinal_lib.parsing import yaml_lines


class StrictModel(BaseModel):
    """Base class of a page and its parts: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


MaySend = Literal["yes", "no", "ask", "local"]  # local: only to a third party that keeps nothing
Key = str | list[str] | dict[str, str]


class Split(StrictModel):
    """Where one split lies. `tables` may be given by eye, where each eye has its own; `where` are the cells of its rows, by
    column, where several splits share a table."""

    images: Places
    tables: Places | dict[Literal["left", "right"], Places] = []
    where: dict[str, Code | list[Code]] = {}
    masks: list[str] = []
    unlabelled: bool = False  # the split's table may lack the label columns
    role: Literal["train", "validation", "test"] | None = None  # what it is officially, where its name does not begin so


class Pairs(StrictModel):
    """A table that pairs left and right images of one patient."""

    tables: list[str]
    left: str
    right: str


class Join(StrictModel):
    """A second table, whose columns are read like those of the label table. `key`: a column of that name in both, or its
    columns with templates of what they hold."""

    tables: Places
    key: str | dict[str, str]
    header: list[str] | int | Literal["find"] = 1
    separator: str = ""

    @property
    def templates(self) -> dict[str, str]:
        """Its columns, each with the template of what it holds."""
        return self.key if isinstance(self.key, dict) else {self.key: f"{{{self.key}}}"}


class Page(StrictModel):
    """A dataset. See `pages/` for the published ones and CONTRIBUTING.md for how to write one."""

    name: str
    title: str
    aliases: list[str] = []  # other names of the dataset, by which a table or question file may call it
    citation: str = ""
    licence: str = "not stated"
    may_send: MaySend = "ask"
    terms: str = ""  # what the licence needs, as the end of a sentence
    modality: str = ""
    prefix: str = ""
    image: str = ".*"  # regular expression of an image's stem, or of folder/stem; its named groups are read like columns
    distinctive_names: bool = False  # a name that fits `image`, even within a longer one, is of this dataset alone
    eye: Column | None = None  # the column that says which eye it is, where the name does not
    eyes: dict[Code, Literal["left", "right"]] = {"left": "left", "right": "right", "os": "left", "od": "right"}
    patient: Column | None = None  # the column that says whose it is, where the name does not
    private_names: bool = False  # image names identify participants and are never shown in a notebook
    restart: bool = False  # numbering restarts in each split
    splits: dict[str, Split]
    # the columns of a label table that has no header row, the number of its header rows, or find: by the column of pictures
    header: list[str] | int | Literal["find"] = 1
    separator: str = ""  # what parts the cells of a label table in text, where it is not plain
    key: Key | None = None  # the column that names the image, one per eye, or columns with templates of what they hold
    join: list[Join] = []
    scales: dict[str, GradingScale] = {}  # grading scales of the dataset's own
    update: str | None = None  # regular expression of the part of a table's name that marks a newer edition
    pairs: Pairs | None = None
    masks: MaskSpec | None = None
    corrections: list[Correction] = []
    same_image: list[tuple[str, str]] = []  # two names of one picture, from the dataset's errata
    same_person: list[str] = []  # columns that together tell a person, where no name does
    exclude: dict[str, str] = {}  # image -> why it is never used
    not_read: dict[str, str] = {}  # folder of the dataset that is not read -> why, as the end of a sentence
    tell: list[Literal["tortuosity"]] = []  # measures of AutoMorph that are told although they are unreliable
    microns_per_pixel: float | None = Field(None, gt=0)  # the scale of the pictures that AutoMorph was given
    facts: list[Kind]
    file: Path | None = Field(None, exclude=True)

    @field_validator("may_send", mode="before")
    @classmethod
    def _yes_is_no_boolean(cls, value: object) -> object:
        return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value

    @field_validator("eyes")
    @classmethod
    def _any_case(cls, value: dict[Code, str]) -> dict[str, str]:
        return {code(name): eye for name, eye in value.items()}

    @field_validator("facts", mode="before")
    @classmethod
    def _known_kinds(cls, entries: object) -> list:
        if not isinstance(entries, list):
            raise ValueError(f"a list of kinds of facts is needed, found {entries!r}")
        return [_kind(entry) for entry in entries]

    @model_validator(mode="after")
    def _checked(self) -> "Page":
        if self.kind("boxes") and self.masks is None:
            raise ValueError("the kind of fact boxes needs masks: how mask files are named, and the lesion types they mark")
        places = [place for split in self.splits.values() for place in split.images if isinstance(place, dict)]
        names = [pattern for place in places for pattern in place.values()]
        for pattern in filter(None, (self.image, self.update, self.masks and self.masks.name, *names)):
            re.compile(pattern)
        return self

    @property
    def by_template(self) -> dict[str, str]:
        """The columns of the key with templates of what they hold; empty where the key names the image itself."""
        by_eye = not isinstance(self.key, dict) or set(self.key) <= {"left", "right"}
        return {} if by_eye else self.key

    def eyes_of_rows(self, content: table.Table) -> list[str | None]:
        """Returns which eye each row of a table is of by the column `eye`: left, right, None where the page names no column or
        its cell is empty or says both, and the cell itself where it is no eye's name, so that the row is of no picture of a
        known eye."""
        named = next((name for name in names_of(self.eye) if content.find(name)), None) if self.eye is not None else None
        cells = content.column(named) if named is not None else [""] * len(content)
        both = {cell for cell in cells if table.is_empty(cell) or (code(cell) not in self.eyes and is_of_both_eyes(cell))}
        return [None if cell in both else self.eyes.get(code(cell), cell) for cell in cells]

    def people_of(self, row: Row) -> list[str]:
        """Returns the cells of a row that name a person: of the column `patient`, and of those of the key that hold the
        patient of an image's name."""
        by_name = [column for column, template in self.by_template.items() if "{patient}" in template]
        named = [*(names_of(self.patient) if self.patient is not None else ()), *by_name]
        cells = [row.table.column(column)[row.number] for column in named if row.table.find(column)]
        return [cell for cell in cells if not table.is_empty(cell)]

    @property
    def of_table(self) -> bool:
        """True where the page was made for the user's own table, which is `file`."""
        return self.file is not None and table.is_table(self.file)

    @property
    def is_own(self) -> bool:
        """True for a page or table of the user's."""
        return self.file is not None and self.file.parent != Path(__file__).parent / "pages"

    @property
    def image_prefix(self) -> str:
        """What stands before an image's name in exported files."""
        return self.prefix or f"{self.name}/"

    def sample_id(self, split: str, stem: str) -> str:
        """Returns a sample's id by its image's split and stem: unique over splits and datasets."""
        stem = stem.replace("/", "-")
        return f"{self.name}-{split}-{stem}" if self.restart else f"{self.name}-{stem}"

    def role(self, split: str) -> str:
        """Returns what a split is officially: train, validation, test, or "" where the dataset does not say."""
        stated = self.splits[split].role if split in self.splits else None
        begins = {"train": "train", "val": "validation", "dev": "validation", "test": "test"}
        return stated or next((role for start, role in begins.items() if split.casefold().startswith(start)), "")

    def kind(self, name: str) -> Kind | None:
        """Returns the kind of facts that the page lists under this name, if any."""
        return next((kind for kind in self.facts if type(kind) is KINDS[name]), None)

    @property
    def max_boxes(self) -> int:
        """How many boxes of a lesion type a description names at most; 0 where the page lists no boxes."""
        boxes = self.kind("boxes")
        return boxes.max_boxes if boxes else 0


def _kind(entry: object) -> Kind:
    if isinstance(entry, Kind):
        return entry
    if isinstance(entry, str):
        if " - " in entry:
            raise ValueError(f"{entry!r} was read as one entry; begin both lines equally far left")
        entry = {entry: {}}
    if not isinstance(entry, dict) or len(entry) != 1:
        raise ValueError(f"each fact is one kind with its settings, found {entry!r}")
    ((name, settings),) = entry.items()
    if name not in KINDS:
        raise ValueError(str(unknown("kind of fact", name, KINDS)))
    if not isinstance(settings, dict):
        raise ValueError(f"{name} needs a mapping of settings, found {settings!r}")
    try:
        return KINDS[name](**settings)
    except ValidationError as error:
        raise ValueError(f"{name}: {validation_text(error, settings)}") from error


def load(path: Path) -> Page:
    """Reads a page. UserError: a ? is left, it is not YAML, or has a key, kind or value that a page cannot have; named with
    file, line and key."""
    if left := _questions_left(path):
        lines = f"line{'s' if len(left) > 1 else ''} {', '.join(map(str, left))}"
        cure = "write what is asked in the '# answer' line above it, or begin the line with # to leave it out"
        raise UserError(f"{paths.display_path(path)}, {lines}: a ? still needs your answer; {cure}")
    content = read_yaml(path, "a dataset page", words=True)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path}: a dataset page is a mapping of keys such as name, title, splits and facts")
    try:
        own_scales(content.get("scales"), path)  # before the kinds that name them
        facts = content.get("facts")
        for place, entry in enumerate(facts if isinstance(facts, list) else ()):
            _check_kind(path, place, entry)
        return Page(**content, file=path)
    except ValidationError as error:
        raise from_validation(error, line_of(path, error.errors()[0]["loc"]), content) from error
    except re.error as error:
        keys = next(_ways_to(content, error.pattern), ())
        place = f"{line_of(path, keys)}: {' > '.join(map(str, keys))}"
        raise UserError(f"{place}: {error.pattern!r} is not a regular expression ({error})") from error


_QUOTED = re.compile(r"""(?<![\w.)])'(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|(?:^|(?<=\s))#.*""")  # texts between quotes, and comments
_OPEN = re.compile(r"[:\[{,]\s*\?\s*(?=[,\]}]|$)")  # a ? where a value belongs


def _questions_left(path: Path) -> list[int]:
    """The lines of a page, counted from 1, that hold a ? for a value, as the first page leaves it."""
    lines = read_bytes(path).decode("utf-8-sig", "replace").splitlines()
    return [number for number, line in enumerate(lines, 1) if _OPEN.search(_QUOTED.sub("", line))]


def _check_kind(path: Path, place: int, entry: object) -> None:
    """UserError: an entry of `facts` is no kind with right settings; it names the line."""
    try:
        _kind(entry)
    except ValueError as error:
        inner = error.__cause__.errors()[0]["loc"] if isinstance(error.__cause__, ValidationError) else ()
        name = tuple(entry) if isinstance(entry, dict) and len(entry) == 1 else ()
        raise UserError(f"{line_of(path, ('facts', place, *name, *inner))}: facts: {error}") from error


def _ways_to(content: object, value: object) -> Iterator[tuple]:
    """The keys and places that lead to a value."""
    if content == value:
        yield ()
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    yield from ((key, *way) for key, inner in entries for way in _ways_to(inner, value))


def line_of(path: Path, keys: tuple) -> str:
    """Returns a page's path with the line of the value that keys and places lead to, or of the nearest around it."""
    lines = yaml_lines(read_bytes(path))
    known = next((keys[:n] for n in range(len(keys), 0, -1) if keys[:n] in lines), ())
    return f"{path}, line {lines[known]}" if known else str(path)


@cache
def _published() -> dict[str, Path]:
    return {path.stem: path for path in sorted((Path(__file__).parent / "pages").glob("*.yaml"))}


def names() -> tuple[str, ...]:
    """Returns the names of the datasets that have a page in the package."""
    return tuple(_published())


def get(dataset: str) -> Page:
    """Returns the page of a published dataset by name (any case), or a page of the user's own by path to its .yaml file.
    UserError: there is no such dataset, or the page is wrong."""
    if Path(dataset).suffix.casefold() in (".yaml", ".yml"):
        return load(Path(dataset))
    return _cached(published_name(dataset))


def published_name(dataset: str) -> str:
    """Returns the name of a published dataset, given in any case. UserError: there is none; of a folder, it lists the tables
    and pages there, one of which may be meant."""
    folded = {name.casefold(): name for name in names()}
    if dataset.casefold() in folded:
        return folded[dataset.casefold()]
    folder = typed_paths.resolve(dataset)
    if not dataset or not folder.is_dir():
        raise unknown("dataset", dataset, names())
    own = [file.name for file in sorted(folder.iterdir()) if is_own(file.name)]
    one = f"name the table or page in it ({', '.join(own[:5])}{', …' if len(own) > 5 else ''}), or " if own else ""
    more = (
        "run retinal page with it, which writes the beginning of a page; of a published dataset, give its name, and the folder"
    )
    raise UserError(f"{dataset} is a folder; {one}{more} as data_root")


def other_way(tree: list[Folder]) -> str:
    """Returns what may be tried where a dataset's page does not fit a folder: a published dataset whose files lie in its tree,
    or a page of the user's own."""
    like = [name for name in names() if any(_lies_in(tree, get(name), split) for split in get(name).splits.values())]
    if like:
        return f"these files are like those of {' and '.join(like[:3])}: dataset={like[0]}"
    return "a page of your own may name other folders and tables: retinal page <folder> writes its beginning"


def other_table(of: Page, tree: list[Folder]) -> str:
    """Returns what may be done where none of the label tables that a page names is in a folder."""
    split = next(iter(of.splits))
    if of.is_own:
        found = sorted({file for folder in tree for file in folder.files if table.is_table(file)})
        there = f"the tables there are {', '.join(map(repr, found[:8]))}" if found else "there is no table"
        return f"{there}; name one in {line_of(of.file, ('splits', split, 'tables'))}, splits > {split} > tables"
    return f"name another in params/{of.name}.yaml, as in tables: {{{split}: labels.csv}}; or {other_way(tree)}"


def _lies_in(tree: list[Folder], of: Page, split: Split) -> bool:
    listed = split.tables.values() if isinstance(split.tables, dict) else [split.tables]
    labelled = any(files(tree, places) for places in listed)
    return (labelled or (of.key is None and of.distinctive_names)) and bool(folders(tree, split.images, of.image)[0])


def own_name(path: str | Path) -> str:
    """Returns the name of a dataset of the user's own, from its page's or table's file name."""
    return re.sub(r"\W+", "_", Path(path).stem).strip("_") or "own"


@cache
def _cached(name: str) -> Page:
    return load(_published()[name])


def page_of(dataset: str) -> Page:
    """Returns the page of a dataset by name, by path to a page, or for a table by path (see `table_page`). UserError: there is
    no such dataset, page or table."""
    return table_page(Path(dataset)) if table.is_table(dataset) else get(dataset)


def is_own(dataset: str) -> bool:
    """Says whether a dataset is the path of the user's own page or table."""
    return table.is_table(dataset) or dataset.casefold().endswith((".yaml", ".yml"))


def table_page(path: Path) -> Page:
    """Makes a page for a table, of the columns that leave no doubt what they hold (see `readings`). UserError: the file is no
    table, or no column names the pictures."""
    content = table.read(path, "find")
    understood = readings(content)
    if not any(reading.role == "image" for reading in understood):
        columns, hint = ", ".join(map(repr, content.header)), did_you_mean("image", content.header)
        headless = any(Path(name).suffix.casefold() in table.IMAGE_SUFFIXES for name in content.header)
        cure = "; its first row names a picture: write the names of the columns above it, such as image, disease"
        wanted = "no column 'image', which names the picture of each row"
        ways = cure if headless else hint or f"; {_by_parts(path.parent)}"
        raise UserError(f"{path}: {wanted}; the columns are {columns}{ways}")
    split = next((reading for reading in understood if reading.role == "split"), None)
    places = {"images": ["*"], "tables": [path.name]}
    by_split: dict[str, list[str]] = {}
    for cell, name in split.book.items() if split else ():
        by_split.setdefault(name, []).append(cell)
    splits = {name: {**places, "where": {split.column: cells}, "role": name} for name, cells in by_split.items()}
    said, key = page_content(understood), next(reading.column for reading in understood if reading.role == "image")
    names = file_names.read(Path(table.image_key(cell)).name for cell in content.column(key) if cell)
    if names.pattern:
        patient = "patient" in said  # the column's counts
        said["image"] = names.pattern.replace("(?P<patient>", "(?:") if patient else names.pattern
        said["eyes"] = {**names.eyes, **said.get("eyes", {})}
    private = [cell for reading in understood if reading.role == "private" for cell in content.column(reading.column)]
    people = {word for cell in private for word in names_in(cell) if word.isalpha()}
    return Page(
        name=own_name(path),
        title=path.name,
        licence="your own data",
        may_send="ask",
        terms="confirm that these images and notes may be sent there",
        splits=splits or {"all": places},
        header="find",
        private_names=any(not people.isdisjoint(names_in(cell)) for cell in content.column(key)),
        file=path.absolute(),
        **said | {"facts": [*said["facts"], "automorph"]},
    )


def readings(content: table.Table) -> list[Reading]:
    """Returns what each column of a person's own table is read as, or why it is not read."""
    return readings_of([content])


def readings_of(contents: Iterable[table.Table], rows_of_both_eyes: bool = False) -> list[Reading]:
    """Returns what each column of tables of one form is read as; two columns as one where a row may be of both eyes."""
    cells: dict[str, list[str]] = {}
    for content in contents:
        for name in content.header:
            cells.setdefault(name, []).extend("" if table.is_empty(cell) else cell for cell in content.column(name))
    levels = {name: scale["levels"] for name, scale in scales().items()}
    return understand_rows_of_both_eyes(cells, levels) if rows_of_both_eyes else understand(cells, levels)


def refuse_table(of: Page, root: Path, lost: list[str], like: str) -> None:
    """UserError: no row of the user's own table names a picture; `lost` says what the rows name, `like` is a picture's name."""
    first = lost[0] if lost else "the column of pictures is empty"
    cure = "" if "(is it " in first else f"; {_by_parts(root)}"
    raise UserError(f"{of.file}: no row names a picture under {root}; {first}; pictures are like {like}{cure}")


def notes_on_table(of: Page, content: table.Table, understood: list[Reading], measured: bool) -> list[str]:
    """Returns sentences on what the user of an own table, `content`, should know: columns that are not read (`understood`: what
    `readings` says of them), cells that count as empty, words that are read in one of two possible ways, and cells that the
    checks cannot read. `measured`: AutoMorph's results are there. UserError: it tells nothing of any picture."""
    name, notes = content.path.name, unread_columns(content.path, understood)
    notes[-1:] = [f"{sentence}. {_READ}" for sentence in notes[-1:]]
    read = [(reading.role, cell) for reading in understood if reading.is_read for cell in content.column(reading.column)]
    if empty := Counter(cell for _, cell in read if cell and table.is_empty(cell)):
        listed = ", ".join(f"{cell} ({number})" for cell, number in empty.most_common(9))
        notes.append(f"{name}: cells with a mark for a missing value are read as empty: {listed}")
    if none := sum(role == "disease" and table.fold(cell) in ("none", "nil") for role, cell in read if cell != "None"):
        notes.append(f"{name}: 'none' under disease ({none} of its cells) is read as no disease; empty means not known")
    texts = [cell for role, cell in read if role in TEXTS and in_english(cell) == cell]
    if foreign := sum(any(letter.isalpha() and ord(letter) > 0x24F for letter in cell) for cell in texts):
        notes.append(f"{name}: cells not in Latin letters ({foreign}) are not told; the checks read English alone")
    if len(content.header) > 1 and len(of.facts) == 1 and not measured and of.eye is None:
        raise UserError(f"{of.file}: no column tells anything of a picture; {notes[0] if notes else 'its cells are empty'}")
    return notes


def unread_columns(file: Path, understood: list[Reading]) -> list[str]:
    """Returns sentences on the columns of a person's own table that are not read, and why, first on those that are called by a
    scale or disease; none where all are read."""
    known = ["image", *TEXTS, "eye", "age", "sex", "patient", "split"]
    absent = [role for role in known if not any(reading.role == role for reading in understood)]
    unread = [reading for reading in understood if not reading.is_read]
    near = {r.column: did_you_mean(r.column, absent) if table.fold(r.column) not in absent else "" for r in unread}
    lost = [reading for reading in unread if reading.is_lost]
    rest = [reading for reading in unread if reading not in lost]
    said = (("not read, although it may hold a diagnosis", lost), ("not read", rest))
    return [
        f"{file.name}: {what}: {'; '.join(f'{r.column!r}{near[r.column]}, {r.says}' for r in some)}"
        for what, some in said
        if some
    ]


def unanswered(of: Page) -> list[str]:
    """Returns a sentence on the questions of a first page that nobody has answered: the lines below them still begin with #."""
    lines = [line.strip() for line in read_bytes(of.file).decode("utf-8-sig", "replace").splitlines()]
    asked: dict[int, str] = {}
    for number, line in enumerate(lines, start=1):
        if line.startswith("# answer:"):
            open_ = list(takewhile(lambda below: below.startswith("#") and "# answer" not in below, lines[number:]))
            below = lines[number + len(open_) :][:1]
            chosen = open_ and re.match(r"#\s*- ", open_[0]) and below and below[0].startswith("- ")  # of two ways to answer
            if open_ and not chosen:
                asked[number] = line.partition(":")[2].strip()
    if not asked:
        return []
    listed = "; ".join(f"line {number}: {what[:80].strip()}{'…' if len(what) > 80 else ''}" for number, what in asked.items())
    number = f"{len(asked)} question{'s' * (len(asked) > 1)}"
    return [f"{of.file.name}: {number} not answered, so that what is asked about is not used: {listed}"]


def _by_parts(folder: Path) -> str:
    """What to do where no column names pictures; `folder` holds them."""
    command = f"retinal page {shlex.quote(str(folder))}"
    return f"a page finds rows by parts of the pictures' names, such as patient, eye and date: {command} writes its beginning"


_READ = (
    "What is read: the picture (image), eye, age, sex, patient, split, texts (modality, quality, disease, vascular, notes), "
    "classes in words (label), columns called by a disease that say yes or no (1 or 0), grades on a scale that the column "
    "names (ICDR grade), and numbers that it names, with their unit (CDR, IOP (mmHg)); "
    "for others, retinal page <folder> writes the beginning of a page"
)
