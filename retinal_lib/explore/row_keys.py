"""How a table without names of pictures finds them: what its rows hold of a person, a date or a visit stands in their names."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

from retinal_lib.dataset.cells.columns import Reading
from retinal_lib.dataset.cells.file_names import SIDES
from retinal_lib.dataset.cells.values import is_of_both_eyes, name_place, plain, words
from retinal_lib.dataset.image import fill
from retinal_lib.dataset.tables import Table, is_empty, key_code

_LEAST, _LEAST_OF_NUMBERS = 0.5, 0.9  # the share of a column's cells that must stand in names, whole or by their number alone
_DATE = r"(?<!\d)(?:(?:19|20)\d\d[-_.]?\d\d[-_.]?\d\d|\d\d[-_.]?\d\d[-_.]?(?:19|20)\d\d)(?!\d)"
_SPLITS = (rf"{_DATE}|[^\W_]+", rf"{_DATE}|\d+|[^\W\d_]+")  # of a name into parts: at its marks, or at letters and digits too
_ORDERS = {  # of a date in a name: how it is matched
    "year month day": r"(?P<year>\d{4})[-_.]?(?P<month>\d\d)[-_.]?(?P<day>\d\d)",
    "day month year": r"(?P<day>\d\d)[-_.]?(?P<month>\d\d)[-_.]?(?P<year>\d{4})",
    "month day year": r"(?P<month>\d\d)[-_.]?(?P<day>\d\d)[-_.]?(?P<year>\d{4})",
}
_PICTURES = frozenset("im img image picture pic photo foto file fundus scan dsc bild frame sample".split())
_LIKE = 0.9  # the share of the pictures whose names must be like most
_VISITS = frozenset("visit visits session exam examination study number image view field besuch aufnahme untersuchung".split())


class RowKey(NamedTuple):
    """The pattern of the pictures' names, the columns with templates of what they hold, the share of the rows that name a
    picture, the folded stems that they name, two pictures of one eye that share a row, if any do, and whether rows are of both
    eyes without a word that says so."""

    pattern: str
    key: dict[str, str]
    share: float
    stems: frozenset[str]
    shared: tuple[str, ...]
    of_both_eyes: bool


class _Found(NamedTuple):
    """A part of names that a column holds: how the part is matched, and the template of what the column holds."""

    match: str
    template: str
    share: float


def read(stems: Iterable[str], content: Table, readings: list[Reading]) -> RowKey | str:
    """Returns how the rows of a table name pictures by parts of their names, or why that is not plain. `stems`: the folded
    names of all pictures; `readings`: what the table's columns hold."""
    stems = sorted(stems)
    keys = [_read(stems, split, content, readings) for split in _SPLITS]
    whole = [key for key in keys if isinstance(key, RowKey)]
    return max(whole, key=lambda key: (len(key.key), key.share), default=keys[0])


def _read(stems: list[str], split: str, content: Table, readings: list[Reading]) -> RowKey | str:
    shapes = {stem: tuple(map(_shape, re.findall(split, stem))) for stem in stems}
    ((usual, _),) = Counter(shapes.values()).most_common(1)
    as_long = [stem for stem in stems if len(shapes[stem]) >= len(usual)]
    alike = [stem for stem in stems if shapes[stem][: len(usual)] == usual]
    # a few pictures of another kind are of no row
    stems = next((some for some in (alike, as_long) if len(some) > _LIKE * len(stems)), stems)
    parts = [re.findall(split, stem) for stem in stems]
    number = min(map(len, parts))
    columns = [[of_name[place] for of_name in parts] for place in range(number)]
    eyes = [place for place, texts in enumerate(columns) if set(texts) <= SIDES.keys() and len({*map(SIDES.get, texts)}) == 2]
    free = [place for place, texts in enumerate(columns) if len(set(texts)) > 1 and place not in eyes]
    role = {reading.column: reading.role for reading in readings}
    held: dict[int, tuple[str, _Found]] = {}
    for group in ("patient", "visit"):
        for name in sorted(content.header, key=lambda name: role.get(name) != "patient"):
            cells = [cell for cell in content.column(name) if cell]
            found = {place: _part(group, columns[place], cells) for place in free if place not in held}
            found = {place: f for place, f in found.items() if f and _begins_alike(f.template, columns[place - 1 : place])}
            if group == "patient":
                fits = {place: f for place, f in found.items() if _is_of_person(name, role.get(name, ""), cells, f)}
            else:
                fits = {place: f for place, f in found.items() if _is_of_visit(name, f)}
            if fits and not (group == "patient" and held) and all(group not in f.match for _, f in held.values()):
                place = max(fits, key=lambda place: fits[place].share)
                held[place] = name, fits[place]
        if not held:
            called = [name for name in content.header if role.get(name) == "patient"]
            holds = f"what {called[0]!r} holds" if called else "no column is called like one of patients, and what others hold"
            return f"{holds} does not plainly stand in the names of pictures"
    groups = {place: found.match for place, (_, found) in held.items()}
    groups |= {place: f"(?P<eye>{'|'.join(sorted(set(columns[place])))})" for place in eyes[:1]}
    key = {name: found.template for _, (name, found) in sorted(held.items())}
    eye = next((reading for reading in readings if reading.role == "eye"), None)
    return _checked(_pattern(stems, parts, columns, groups), key, stems, content, eye)


def _shape(part: str) -> str:
    """What a part of a name looks like."""
    return "eye" if part in SIDES else "date" if re.fullmatch(_DATE, part) else "other"


def _checked(pattern: str, key: dict[str, str], stems: list[str], content: Table, eye: Reading | None) -> RowKey | str:
    """The key with what it finds; or that a name is of another form, two rows are of one picture, most rows of none, or that
    pictures of one row may be of two eyes."""
    by = " and ".join(map(repr, key))
    pictures: dict[tuple, dict[str | None, list[str]]] = defaultdict(lambda: defaultdict(list))
    for stem in stems:
        if not (match := re.search(pattern, stem, re.IGNORECASE)):
            return f"by {by}: the names of pictures are not of one form"  # such as dates of two orders
        groups = match.groupdict()
        filled = tuple(key_code(fill(template, groups) or "") for template in key.values())
        pictures[filled][SIDES.get(groups.get("eye", ""))].append(stem)
    cells = [content.column(name) for name in key]
    says_eye = eye and "(?P<eye>" in pattern
    of_eye = [eye.book.get(cell) or _no_eye(cell) for cell in content.column(eye.column)] if says_eye else [None] * len(content)
    rows = [(tuple(key_code(column[row]) for column in cells), of_eye[row]) for row in range(len(content))]
    named = [[some for side, some in pictures[key_].items() if None in (side, of) or side == of] for key_, of in rows]
    share = sum(map(bool, named)) / len(rows) if rows else 0
    if share < _LEAST:
        return f"by {by}, {sum(map(bool, named))} of {len(rows)} rows find a picture"
    first: dict[tuple, int] = {}
    twice = next((n for n, row in enumerate(rows) if first.setdefault(row, n) != n), None)
    if twice is not None:
        same = f"rows {content.rows[first[rows[twice]]]} and {content.rows[twice]} are of the same pictures"
        unknown = f", whose names do not plainly say what {eye.column!r} does" if eye and not says_eye else ""
        return f"by {by}, {same}{unknown}"
    found = frozenset(stem for of_row in named for some in of_row for stem in some)
    several = [some for of_row in named for some in of_row if len(some) > 1]
    if may_be := next(filter(None, (_may_be_eyes(*some[:2]) for some in several)), None):
        return f"by {by}, a row is of several pictures, which differ in {may_be}; that may be the eye"
    shared = tuple(several[0][:2]) if several else ()
    both = [is_of_both_eyes(cell) for cell in content.column(eye.column)] if eye else [False] * len(rows)
    of_both = any(len(of_row) > 1 and not is_said for of_row, is_said in zip(named, both, strict=True))
    return RowKey(pattern, key, share, found, shared, of_both)


def _no_eye(cell: str) -> str | None:
    """What a cell says that names no eye: None for both, or the cell itself, by which no picture is found."""
    return None if is_empty(cell) or is_of_both_eyes(cell) else cell


def _may_be_eyes(one: str, other: str) -> str:
    """The words in which two names differ, where all of them may say which eye it is in some language; "" else."""
    letters = {letter for of in words()["eye letters"].values() for side in ("right", "left") for letter in of[side]}
    pairs = zip(*(re.findall(r"[^\W\d_]+", name) for name in (one, other)), strict=False)
    differ = dict.fromkeys(word for pair in pairs if pair[0] != pair[1] for word in pair)
    return " and ".join(map(repr, differ)) if differ and {*differ} <= {*SIDES, *letters} else ""


def _begins_alike(template: str, before: list[list[str]]) -> bool:
    """Whether letters before a number agree in cells and names, `before` being the part of the names before it: P7 is not the
    number of img_7, nor is 7."""
    in_cells = re.sub(r"[^a-z]", "", template.partition("{")[0].casefold())
    in_names = before[0][0] if before and len(set(before[0])) == 1 and before[0][0].isalpha() else ""
    return in_names in (in_cells, "") if in_cells else in_names not in _PICTURES


def _is_of_person(name: str, role: str, cells: list[str], found: _Found) -> bool:
    """Whether a column says whose a row is: it is called so, or no two of its cells are equal and none may be a mere code."""
    if "{year" in found.template or role == "patient" or name_place("row id", name) is not None:
        return "{year" not in found.template
    return len({*map(key_code, cells)}) == len(cells) and min(map(len, cells)) > 2 and ":d}" not in found.template


def _is_of_visit(name: str, found: _Found) -> bool:
    """Whether a column tells the visits of a person apart: it holds dates, or is called so."""
    return "{year}" in found.template or not _VISITS.isdisjoint(plain(name).split())


# --- a column and a part of the names -------------------------------------------------------------------------------------


def _part(group: str, texts: list[str], cells: list[str]) -> _Found | None:
    """How a column holds a part of the names, which `group` is to name: as it stands, beside letters that are always the same,
    or as a date; None for an empty column."""
    if not cells:
        return None
    if all(re.fullmatch(_DATE, text) for text in texts):
        return _date(texts, cells)
    known, numbers = {key_code(text) for text in texts}, {int(text) for text in texts if text.isdecimal()}
    plain_cells = [cell for cell in cells if not re.search(r"[{}]", cell)]
    around = Counter(re.sub(r"\d+", "\n", cell, count=1) for cell in plain_cells if re.search(r"\d", cell))
    ((form, _),) = around.most_common(1) or [("", 0)]
    of_form = [re.search(r"\d+", cell)[0] for cell in plain_cells if form and re.sub(r"\d+", "\n", cell, count=1) == form]
    ways = [
        (sum(key_code(cell) in known for cell in cells), f"{{{group}}}"),
        (sum(text in texts for text in of_form), form.replace("\n", f"{{{group}}}")),
        (sum(int(text) in numbers for text in of_form), form.replace("\n", f"{{{group}:d}}")),
    ]
    most, template = max(ways, key=lambda way: way[0])
    if most < (_LEAST if template == ways[0][1] else _LEAST_OF_NUMBERS) * len(cells):
        return None
    return _Found(f"(?P<{group}>{_form(texts)})", template, most / len(cells))


def _date(texts: list[str], cells: list[str]) -> _Found | None:
    """The order of day, month and year by which most cells have dates of the names; None where two orders do, differently."""
    runs = [re.findall(r"\d+|\D+", cell) for cell in cells]
    dated = [run for run in runs if len(run) >= 5 and run[0].isdecimal() and run[2].isdecimal() and run[4].isdecimal()]
    digits = ":d" if any(len(run[place]) == 1 for run in dated for place in (0, 2, 4)) else ""
    ways: dict[tuple, _Found] = {}  # by what is found: which cells, as which names
    for match, order in product(_ORDERS.values(), map(str.split, _ORDERS)):
        named = {
            tuple(sorted((k, int(v)) for k, v in m.groupdict().items())): t for t in texts if (m := re.fullmatch(match, t))
        }
        of_cells = [tuple(sorted(zip(order, (int(run[0]), int(run[2]), int(run[4])), strict=True))) for run in dated]
        pairs = tuple(named.get(date, "") for date in of_cells)
        if (share := sum(map(bool, pairs)) / len(cells)) >= _LEAST and pairs not in ways:
            between, end = dated[0][1], "".join(dated[0][5:])
            template = between.join(f"{{{name}{digits if name != 'year' else ''}}}" for name in order) + end
            ways[pairs] = _Found(match, template, share)
    best = sorted(ways.values(), key=lambda found: -found.share)
    return best[0] if best and all(other.share < best[0].share for other in best[1:]) else None


# --- the pattern of the names ---------------------------------------------------------------------------------------------


def _form(texts: list[str]) -> str:
    """How the texts of a part are matched: only a date may hold marks."""
    forms = (r"\d+", r"[^\W_]+", r"\d{4}[-_.]?\d\d[-_.]?\d\d", r"\d\d[-_.]?\d\d[-_.]?\d{4}")
    of_all = (form for form in forms if all(re.fullmatch(form, text) for text in texts))
    return next(of_all, f"(?:{'|'.join(reversed(forms[1:]))})")


def _pattern(stems: list[str], parts: list[list[str]], columns: list[list[str]], groups: dict[int, str]) -> str:
    """The pattern of all names, with the groups of the parts that are read; what else differs may be anything of its form."""
    made, number = "", len(columns)
    for place, texts in enumerate(columns):
        before = {_between(stem, of_name, place) for stem, of_name in zip(stems, parts, strict=True)}
        made += re.escape(before.pop()) if len(before) == 1 else r"[\W_]*"
        made += groups.get(place) or (re.escape(texts[0]) if len(set(texts)) == 1 else _form(texts))
    rest = r"[\W_].*" if any(len(of_name) > number for of_name in parts) else ""
    return f"^{made}(?:{rest})?$" if rest else f"^{made}$"


def _between(stem: str, parts: list[str], place: int) -> str:
    """What stands in a name between a part and the one before it."""
    begin = 0
    for part in parts[:place]:
        begin = stem.index(part, begin) + len(part)
    return stem[begin : stem.index(parts[place], begin)]
