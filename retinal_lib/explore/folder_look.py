"""What is plain to see below a folder: its pictures, what their names say, its masks, and the tables that name pictures."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retinal_lib.dataset import image_files, page, tables
from retinal_lib.dataset.cells import file_names
from retinal_lib.dataset.cells.file_names import Names
from retinal_lib.dataset.cells.values import plain
from retinal_lib.dataset.image_files import Folder
from retinal_lib.dataset.tables import Table
from retinal_lib.errors import UserError
from retinal_lib.explore import row_keys
from retinal_lib.explore.row_keys import RowKey
from retinal_lib.imaging import images

NOT_USED = "not used: no column names pictures"
_HOW = "see 'Rows without a file name' in docs/own-data.md"
_MASKS = frozenset(
    "mask masks label labels gt groundtruth ground truth segmentation segmentations annotation annotations".split()
)
_LEAST = 0.5  # the share of a table's rows that must name a picture
_MOST_TEXTS = 20  # files .txt of a folder that are read as tables
_FEW_COLOURS = 16  # of a mask, at most


class MaskFolder(NamedTuple):
    """A folder of masks: its name as it is, what they hold, and their stems."""

    name: str
    says: str
    stems: list[str]


class Keyed(NamedTuple):
    """A table with the column that names pictures, or templates of what several hold; its header, the share of its rows that
    name one, the pictures that they name, and how they do so by parts of names, where they do."""

    table: Table
    key: str | dict[str, str]
    header: object
    share: float
    stems: frozenset[str]
    by_parts: RowKey | None = None


@dataclass
class Look:
    """What was found below a folder. `pictures`: folded stem -> its folders; `masks`: folder -> its masks; `tables` those that
    name pictures, of one form; `others` sentences on files that are left out."""

    root: Path
    pictures: dict[str, list[Folder]] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    masks: dict[str, MaskFolder] = field(default_factory=dict)
    tables: list[Keyed] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def look_at(root: Path) -> Look:
    """Returns what is plain to see below a folder. UserError: there are no pictures."""
    results = root / "Results"
    look, tree, stems = Look(root), image_files.walk(root, without=[results]), []
    if results.is_dir():
        look.others.append("Results: taken for AutoMorph's, which automorph tells")
    for folder in tree:
        found = image_files.images(folder)
        if found and (says := _mask(folder, found)):
            stems_of = [Path(name).stem for name in found]
            look.masks["/".join(folder.words[1:]) or folder.words[0]] = MaskFolder(folder.path.name, says, stems_of)
            continue
        for name in found:
            stems.append(Path(name).stem)
            look.pictures.setdefault(stems[-1].casefold(), []).append(folder)
    if not look.pictures:
        raise UserError(f"no pictures under {root}; looked for files such as {', '.join(tables.IMAGE_SUFFIXES[:4])}")
    look.names = file_names.read(stems)
    _find_tables(look, tree)
    if look.tables and (by_parts := look.tables[0].by_parts):
        look.names = file_names.of_pattern(by_parts.pattern, stems)
    return look


def _find_tables(look: Look, tree: list[Folder]) -> None:
    """Finds the tables that name pictures, and notes what other files there are."""
    keyed: dict[Path, Keyed] = {}
    for folder in tree:
        others = Counter()
        for name in folder.files:
            suffix = Path(name).suffix.casefold()
            may_be = tables.is_table(name) or (suffix == ".txt" and others[suffix] < _MOST_TEXTS)
            found = _keyed(look, folder.path / name) if may_be else ""
            if isinstance(found, Keyed):
                keyed[folder.path / name] = found
            elif tables.is_table(name):
                why = f"{NOT_USED}, and {found}; {_HOW}"
                look.others.append(f"{(folder.path / name).relative_to(look.root).as_posix()}: {why}")
            else:
                others[suffix] += suffix not in (*tables.IMAGE_SUFFIXES, ".yaml", ".yml")
        listed = ", ".join(f"{number} {suffix or 'without an ending'}" for suffix, number in others.items() if number)
        if listed:
            look.others.append(f"{folder.path.relative_to(look.root).as_posix()}: {listed}, in which no column names pictures")
    look.tables = _main(list(keyed.values()))
    used = {each.table.path for each in look.tables}
    look.others += [note for each in keyed.values() for note in each.table.notes]
    for file in keyed.keys() - used:
        look.others.append(f"{file.relative_to(look.root).as_posix()}: also names pictures; {_joined(look, keyed[file])}")


def _joined(look: Look, found: Keyed) -> str:
    """How a second table is read: the line that joins it, where its key is of parts of the names as the first table has them,
    and its eyes are called as in the names."""
    first, own = look.tables[0].by_parts, found.by_parts
    if first and own:
        eye = next((reading for reading in page.readings(found.table) if reading.role == "eye"), None)
        key = own.key | ({eye.column: "{eye}"} if eye else {})
        parts = {part for template in key.values() for part in re.findall(r"{(\w+)", template)}
        tokens = file_names.of_pattern(first.pattern, look.pictures).eyes
        if parts <= re.compile(first.pattern).groupindex.keys() and not {*map(str.casefold, eye.book if eye else ())} - {
            *tokens
        }:
            return f"this line reads it too: join: [{{tables: [{found.table.path.name}], key: {key}}}]"
    return "see join in CONTRIBUTING.md"


# --- pictures, masks and names ------------------------------------------------------------------------------------------


def _mask(folder: Folder, names: list[str]) -> str:
    """What the masks of a folder hold; "" for a folder of photographs."""
    called = not _MASKS.isdisjoint(" ".join(map(plain, folder.words[1:])).split())
    few, values_, grounds = 0, Counter(), Counter()
    for name in names[:3]:
        try:
            with images.open_image(folder.path / name) as picture:
                pixels = np.asarray(picture)
        except UserError:
            return ""
        colours, numbers = np.unique(pixels.reshape(-1, *pixels.shape[2:]), axis=0, return_counts=True)
        few += len(colours) <= _FEW_COLOURS and len(numbers) < pixels.size
        if len(colours) <= _FEW_COLOURS:
            values_.update(map(str, colours.tolist()))
            border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
            edge, times = np.unique(border, axis=0, return_counts=True)
            grounds.update([str(edge[times.argmax()].tolist())])
    if few < min(3, len(names)) and not called:
        return ""
    listed = ", ".join(values_)
    ground = grounds.most_common(1)[0][0] if grounds else "not plain"
    return f"{len(names)} files like masks; values in the first: {listed or 'many'}; the ground along the border: {ground}"


# --- tables -------------------------------------------------------------------------------------------------------------


def _keyed(look: Look, file: Path) -> Keyed | str:
    """A table with the column, and the header, by which most of its rows name a picture; or why there is none."""
    best, why_not = None, []
    for header in filter(None, (1, 2, 3, 4, "find", _no_header(look, file))):
        try:
            content = tables.read(file, header)
        except UserError as error:
            why_not.append(str(error))
            continue
        for key, stems, share in _keys(look, content):
            if share >= _LEAST and (best is None or share > best.share):
                best = Keyed(content, key, header, share, stems)
        found = row_keys.read(look.pictures, content, page.readings(content)) if best is None else ""
        if isinstance(found, row_keys.RowKey):
            best = Keyed(content, found.key, header, 0.99 * found.share, found.stems, found)
        elif found:
            why_not.append(found)
    return best or why_not[0]


def _no_header(look: Look, file: Path) -> list[str]:
    """Names for the columns of a table whose first row names a picture; empty where it is a header."""
    try:
        first = list(tables.read(file).header)
    except UserError:
        return []
    cells = first[0].split() if len(first) == 1 else first
    named = [tables.image_key(cell) in look.pictures for cell in cells]
    return [f"column {n}" if not is_key else "image" for n, is_key in enumerate(named, 1)] if sum(named) == 1 else []


def _keys(look: Look, content: Table) -> Iterator[tuple[str, frozenset[str], float]]:
    """Each column that names pictures, with those that it names and the share of the rows that do."""
    for column in content.header:
        cells = [cell for cell in content.column(column) if cell]
        keys = [tables.image_key(cell) for cell in cells]
        named = frozenset(keys) & look.pictures.keys()
        if named and (share := sum(key in named for key in keys) / len(content)):
            yield column, named, share


def _main(keyed: list[Keyed]) -> list[Keyed]:
    """The tables of one form that name most pictures."""
    forms: dict[tuple, list[Keyed]] = {}
    for each in keyed:
        forms.setdefault((tuple(map(tables.fold, each.table.header)), str(each.key), str(each.header)), []).append(each)
    named = {form: len(frozenset().union(*(each.stems for each in some))) for form, some in forms.items()}
    return forms[max(named, key=lambda form: (named[form], len(form[0])))] if forms else []
