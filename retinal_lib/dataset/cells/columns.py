"""What the columns of a table hold, as far as their names and cells leave no doubt; the rest is not read."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from retinal_lib.check.language import lexicon
from retinal_lib.check.language.negation import NEGATED
from retinal_lib.check.language.statements import of_label
from retinal_lib.dataset.cells import notes, values
from retinal_lib.dataset.cells.names import disease_of, may_hold_diagnosis, without_range
from retinal_lib.dataset.cells.values import plain
from retinal_lib.text import reply_text, training_text

TEXTS = {"modality": "image", "quality": "quality", "disease": "disease", "vascular": "vascular", "notes": "notes"}
_NUMBER = re.compile(r"[-+]?\d{1,9}([.,]\d*)?")
_FILE = re.compile(r"\.(png|jpe?g|tiff?|bmp|gif|pp?m|pgm|webp|dcm)$", re.IGNORECASE)
_MOST_CODES = 12  # different cells that a column of codes has at most
_MOST_DENIED = 6  # classes of a label that words for a normal eye deny by name
_MOST_NAMED = 8  # of the cells of a column that is not read
_LIMIT = "; at most a tenth of the cells may be wrong (where there are four or more, one)"
_LIMIT_OF_CODES = f"{_LIMIT}, and no more than one number"
_LEAST = 0.5  # the share of filled cells that must be plain


class Reading(NamedTuple):
    """What a column holds. `role` is image, patient, eye, age, sex, split, grade, label, condition, number, person's (a disease
    of a person), a text (modality, quality, disease, vascular, notes), private (names and dates, never told) or "" where it is
    not read; `book` what its cells stand for; `of` the scale or condition; `says` what was understood, or why nothing was;
    `sides` its columns of the left and the right eye, where it is a pair of them and `column` what both are called; `number`
    what a page says of a column of numbers, None in place of what nothing states."""

    column: str
    role: str
    says: str
    book: dict[str, str | None] = {}
    of: str = ""
    sides: dict[str, str] = {}
    number: dict[str, object] = {}

    @property
    def place(self) -> str | dict[str, str]:
        """The column, or the pair of columns, as a page names it."""
        return self.sides or self.column

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return list(self.sides.values()) or [self.column]

    @property
    def is_read(self) -> bool:
        """Whether anything is made of the column."""
        return self.role not in ("", "private")

    @property
    def is_lost(self) -> bool:
        """Whether nothing is made of it although its name has a scale or a disease in it."""
        return not self.role and bool(self.of or may_hold_diagnosis(self.column))


def understand(columns: dict[str, list[str]], scales: dict[str, Iterable[int]]) -> list[Reading]:
    """Returns what each column of a table holds. `columns`: name -> cells, "" where one is empty; `scales`: name -> levels."""
    roles = {name: role for name, role in _roles(columns).items() if role != "split" or all(columns[name])}
    readings = []
    for name, cells in columns.items():
        filled = [cell for cell in cells if cell]
        role = roles.get(name, "")
        if role in TEXTS and filled and (all(map(values.is_code, filled)) or (role == "disease" and _is_of_codes(filled))):
            role = ""
        if role == "eye":
            reading = _eye(name, filled, values.eye_letters(columns))
        else:
            reading = _READERS[role](name, filled) if role in _READERS else Reading(name, role, "") if role else None
        readings.append(reading or _named_by_column(name, filled, scales) or _not_read(name, filled))
    private = [columns[reading.column] for reading in readings if reading.role in ("private", "patient")]
    foreign = bool(values.languages(columns))
    texts = {each.column: _text(each.role, columns[each.column], private, foreign) for each in readings if each.role in TEXTS}
    readings = [each._replace(says=texts.get(each.column, each.says)) for each in readings]
    return [each._replace(says=f"{each.says}{_levels(each, columns[each.column])}") for each in readings]


def _may_be_wrong(cells: list[str]) -> int:
    """How many cells of a column may say nothing beside others that do, such as 2?, see `_LIMIT`."""
    return max(len(cells) // 10, int(len(cells) >= 4))


def _are_too_many(odd: list[str], cells: list[str]) -> bool:
    """Whether cells that are no grade, yes or no are more than slips; a number that stands there twice is a code."""
    return len(odd) > _may_be_wrong(cells) or sum(map(values.is_code, odd)) > 1


def _levels(reading: Reading, cells: list[str]) -> str:
    """How a page tells a quality of which no word is English; "" for all other columns."""
    kinds = sorted({cell for cell in cells if cell})
    if reading.role != "quality" or len(kinds) > _MOST_CODES or not all(map(values.untold, kinds)):
        return ""
    levels = ", ".join(f"{cell}: …" for cell in kinds if _may_be_shown(cell))
    return f"; in a page: - quality: {{column: {reading.column}, levels: {{{levels}}}}}"


def understand_rows_of_both_eyes(columns: dict[str, list[str]], scales: dict[str, Iterable[int]]) -> list[Reading]:
    """Returns the same of a table whose rows may be of both eyes of a person: two columns such as ICDR OD and ICDR OS are read
    as one, where they hold grades, classes or a condition, or are not plain."""
    pairs = _pairs(columns)
    alone = {name: cells for name, cells in columns.items() if not any(name in sides.values() for sides in pairs.values())}
    of_pairs = {name: [*columns[sides["left"]], *columns[sides["right"]]] for name, sides in pairs.items()}
    readings = []
    for reading in understand(of_pairs | alone, scales):
        if sides := pairs.get(reading.column):
            if reading.role not in ("", "private", "grade", "label", "condition", "number"):
                held = "texts" if reading.role in TEXTS else reading.says
                says = f"columns for each eye are read where they hold grades, classes, numbers or a disease; these hold {held}"
                reading = Reading(reading.column, "private" if reading.role == "patient" else "", says)
            reading = reading._replace(sides=sides)
        readings.append(reading)
    return readings


def _pairs(columns: Iterable[str]) -> dict[str, dict[str, str]]:
    """Name -> its columns by eye, for columns whose names differ in the word for the eye alone."""
    sides = values.sides()
    found: dict[str, dict[str, str]] = {}
    for column in columns:
        words = re.findall(r"[^\W_]+", column)
        said = [word for word in words if plain(word) in sides]
        rest = " ".join(word for word in words if word not in said and plain(word) != "eye")
        if len(said) == 1 and rest:
            found.setdefault(rest, {})[sides[plain(said[0])]] = column
    known = set(map(plain, columns))
    return {name: of for name, of in found.items() if len(of) == 2 and plain(name) not in known}


def _roles(columns: dict[str, list[str]]) -> dict[str, str]:
    """Column -> role by its name. Texts may have several columns; of all others one must be meant."""
    by_role: dict[str, list[str]] = {
        role: [name for name in columns if values.name_place(role, name) is not None] for role in values.words()["columns"]
    }
    keys = by_role.pop("image"), by_role.pop("row id")
    found = {}
    if image := next((key for key in (_key(some, columns) for some in keys) if key), None):
        found[image] = "image"
    for role, names in by_role.items():
        exact = [name for name in names if plain(name) == role]
        first = sorted(exact or names, key=lambda name: values.name_place(role, name))
        for name in names if role in TEXTS else first[:1] if role == "patient" or len(first) == 1 else ():
            found.setdefault(name, role)
    return found


def _key(names: list[str], columns: dict[str, list[str]]) -> str | None:
    """The column that names the picture: the one called image, the only one that may, or the only one that holds files."""
    exact = [name for name in names if plain(name) == "image"]
    files = [name for name in names if columns[name] and all(_FILE.search(cell) for cell in columns[name] if cell)]
    return next((some[0] for some in (exact, files, names) if len(some) == 1), None)


# --- one column ---------------------------------------------------------------------------------------------------------


def _counted(cells: Iterable[str], most: int = 6) -> str:
    """Cells with their numbers, the most frequent first: OD (12), OS (10). Of a date, only that it is one is shown."""
    counts = Counter(training_text.personal(cell) or cell for cell in cells)
    listed = ", ".join(f"{cell} ({number})" for cell, number in counts.most_common(most))
    return f"{listed} and {len(counts) - most} more" if len(counts) > most else listed


def _unread(cells: list[str]) -> str:
    return f"; not read: {_shown(cells, 3)}" if cells else ""


def _shown(cells: list[str], most: int = _MOST_NAMED) -> str:
    """Cells with their numbers, as far as they are codes or words; of others, which may be names, only how many there are."""
    shown = [cell for cell in cells if _may_be_shown(cell)]
    hidden = len(set(cells)) - len(set(shown))
    more = f"{hidden} {'more ' if shown else ''}that may be {'a name' if hidden == 1 and not shown else 'names'}"
    return "; ".join([*([_counted(shown, most)] if shown else []), *([more] if hidden else [])])


def _coded(name: str, role: str, word: dict[str, str], cells: list[str]) -> Reading | None:
    """A column whose cells stand for one of a few meanings."""
    book = {cell: word[cell] for cell in dict.fromkeys(cells) if word.get(cell)}
    known = [cell for cell in cells if cell in book]
    if not cells or len(known) < _LEAST * len(cells):
        return None
    by_meaning = {m: _counted(cell for cell in known if book[cell] == m) for m in dict.fromkeys(book.values())}
    says = "; ".join(f"{meaning}: {listed}" for meaning, listed in sorted(by_meaning.items()))
    return Reading(name, role, says + _unread([cell for cell in cells if cell not in book]), book)


def _eye(name: str, cells: list[str], letters: dict[str, str]) -> Reading | None:
    sides = {cell: values.meaning("eye", cell) or letters.get(plain(cell)) for cell in set(cells)}
    sides = {cell: of for cell, of in sides.items() if of in ("left", "right") and not values.is_doubted(cell)}
    both = [cell for cell in cells if values.is_of_both_eyes(cell)]
    reading = _coded(name, "eye", sides, [cell for cell in cells if cell not in both])
    return reading and reading._replace(says=f"{reading.says}; both: {_counted(both)}" if both else reading.says)


def _sex(name: str, cells: list[str]) -> Reading | None:
    told = {cell: values.meaning("sex", cell) for cell in set(cells) if not values.is_doubted(cell)}
    if {plain(cell) for cell in told} == {"f", "h"}:
        told = {cell: sex if sex == "female" else "male" for cell, sex in told.items()}  # H is homme, hombre or homem
    elif "not plain" in told.values():
        told = {cell: sex for cell, sex in told.items() if len(plain(cell)) > 1}  # beside h, m may be mujer
    return _coded(name, "sex", told, cells)


def _split(name: str, cells: list[str]) -> Reading | None:
    reading = _coded(name, "split", {cell: values.meaning("split", cell) for cell in set(cells)}, cells)
    return reading if reading and len(reading.book) == len(set(cells)) else None


def _age(name: str, cells: list[str]) -> Reading | None:
    fractions = {cell for cell in cells if values.has_fraction(cell)}
    slips = fractions if 2 * sum(cell in fractions for cell in cells) <= len(cells) else ()
    ages = [years for cell in cells if cell not in slips and (years := values.age(cell)) is not None]
    if len(ages) < _LEAST * len(cells) or not ages:
        return None
    if max(ages) < 10 and len(ages) > 2:  # such as 1 to 5 for groups of age
        return None
    lost = [cell for cell in cells if cell in slips or values.age(cell) is None]
    return Reading(name, "age", f"{min(ages)} to {max(ages)} years" + _unread(lost))


def _patient(name: str, cells: list[str]) -> Reading | None:
    number = len({plain(cell) for cell in cells})
    return Reading(name, "patient", f"persons ({number:,}), kept together in splits and never told") if cells else None


def _image(name: str, cells: list[str]) -> Reading | None:
    return Reading(name, "image", f"names of pictures ({len(set(cells)):,})")


def _is_of_codes(cells: list[str]) -> bool:
    """Whether cells on disease are short words of which none is known, such as RG and NRG."""
    short = cells and all(len(cell) < 5 and cell.isascii() and cell.isalnum() for cell in cells)
    return bool(short) and not any(of_label(cell).conditions or of_label(cell).normal for cell in set(cells))


def _label(name: str, cells: list[str]) -> Reading | None:
    """A column of classes in words, each of which names a disease or calls the eye normal; of few classes, normal denies the
    others and nothing else."""
    book = {cell: _lower(values.in_words(values.in_english(cell))) for cell in dict.fromkeys(cells)}
    said = {cell: of_label(words) for cell, words in book.items()}
    strange = [cell for cell in cells if not (said[cell].conditions or said[cell].normal or values.is_other(cell))]
    if len(strange) == len(cells):
        return None
    if len(strange) > _may_be_wrong(cells):
        says = f"classes are read where each names a disease or a normal eye, and not: {_shown(list(dict.fromkeys(strange)))}"
        return Reading(name, "", says + _LIMIT)
    there: dict[tuple[str, ...], str] = {}
    for cell in sorted(said, key=values.is_doubted):
        if any(says != NEGATED for _, says in said[cell].conditions):
            named = tuple(condition for condition, _ in said[cell].conditions)
            there.setdefault(named, re.sub(r"\s*\(?[?？]+\)?", "", book[cell]))
    if 0 < len(there) <= _MOST_DENIED:
        *others, last = there.values()
        none = f"no {', '.join(others)} or {last}" if others else f"no {last}"
        book |= {cell: none for cell, each in said.items() if each.normal and not each.conditions}
    unnamed = {cell: None for cell in book if values.is_other(cell) or cell in strange}
    reading = _coded(name, "label", book | unnamed, cells)
    return reading and reading._replace(book=reading.book | unnamed)


def _text(role: str, cells: list[str], private: list[list[str]], foreign: bool) -> str:
    """What a column of texts holds, of which "" are empty cells; `private` are columns of names beside it, `foreign`: columns
    are named in another language. A pair of columns of n rows has 2n cells, those of the left eye first."""
    rows = min(map(len, (cells, *private)))
    names: list[set[str]] = [set() for _ in range(rows)]
    for place, cell in (pair for column in private for pair in enumerate(column)):
        names[place % rows] |= values.names_in(cell)
    why_of = {cell: _not_told(cell, foreign) for cell in set(cells)}
    english = [cell for cell in cells if cell and role == "disease" and values.in_english(cell) != cell]
    why = Counter(
        why_of[cell] or ("" if names[place % rows].isdisjoint(values.names_in(cell)) else "it holds a name or code of a person")
        for place, cell in enumerate(cells)
        if cell and cell not in english
    )
    told, filled = why.pop("", 0) + len(english), len(cells) - cells.count("")
    says = (
        f"texts ({filled:,}), told as they stand" if told == filled else f"texts ({told:,} of {filled:,}), told as they stand"
    )
    says += f"; told in English: {_counted(english, 3)}" if english else ""
    return says + (f"; not told: {', '.join(f'{reason} ({number})' for reason, number in why.items())}" if why else "")


def _not_told(cell: str, foreign: bool) -> str:
    """Why a text is not told, see fact_kinds.Columns; "" where it may be."""
    if values.is_code(cell):
        return "only a code"
    if values.is_other(cell):
        return "it names no disease"
    if not notes.without_plans(cell)[0]:
        return "a plan, or it refers to another text"
    why = training_text.cell_problem(reply_text.plain(cell)) or values.untold(cell, foreign_table=foreign)
    return "not understood as English" if "language" in why or "understood" in why else why


def _named_by_column(name: str, cells: list[str], scales: dict[str, Iterable[int]]) -> Reading | None:
    """A column whose name says what its cells are of: a disease, a scale, a measurement."""
    return _condition(name, cells) or _grade(name, cells, scales) or _number(name, cells)


def _condition(name: str, cells: list[str]) -> Reading | None:
    """A column that is called by a disease and says whether it is there, or suspected; it says nothing of others."""
    named, role = disease_of(name)
    said = {cell: _said(cell) for cell in dict.fromkeys(cells)}
    if not named or not {"present", "absent"}.intersection(said.values()):
        return None
    odd = [cell for cell in cells if not said[cell]]
    if set(said.values()) <= {"present", "absent"}:
        reading = _coded(name, role, said, cells)
        return reading and reading._replace(of=named)
    if role == "person's" or _are_too_many(odd, cells) or (odd and _is_of_grades(name, cells)):  # a DR of 0, 1 and 3
        return None
    words = {"present": named, "absent": f"no {named}", "suspected": f"suspected {named}", "ungradable": "ungradable"}
    reading = _coded(name, "label", {cell: words.get(what) for cell, what in said.items()}, cells)
    return reading and reading._replace(book=reading.book | dict.fromkeys(odd))  # None: their meaning is not known


def _said(cell: str) -> str:
    """What a cell says of the disease that its column is called by; "" where it does not say."""
    there = values.yes_or_no(cell)
    if there is not None:
        return "present" if there else "absent"
    return "suspected" if values.says_suspected(cell) else "ungradable" if values.says_ungradable(cell) else ""


def _lower(words: str) -> str:
    """The words of a class within a sentence: AMD and Stargardt keep their capitals, Glaucoma does not."""
    parts = re.split(r"(\W+)", words)
    return "".join(
        p.casefold() if p.upper() not in lexicon.capitals() and training_text.is_known(p.casefold()) else p for p in parts
    )


def _grade(name: str, cells: list[str], scales: dict[str, Iterable[int]]) -> Reading | None:
    """A column that names the scale of its grades, such as ICDR grade."""
    called, highest = without_range(name)
    called, about = f" {plain(called)} ", {*map(plain, values.words()["about grades"])}
    for scale, levels in scales.items():
        if f" {plain(scale)} " not in called or highest not in (None, max(levels)):
            continue
        rest = called.replace(f" {plain(scale)} ", " ").split()
        if not cells or set(rest) - about:
            continue
        others = [cell for cell in cells if values.whole(cell) not in map(str, levels)]
        book = {cell: "ungradable" if values.says_ungradable(cell) else "unclear" for cell in dict.fromkeys(others)}
        unclear = [cell for cell in others if book[cell] == "unclear"]
        shifted = str(min(levels)) not in map(values.whole, cells) and any(re.fullmatch(_NUMBER, cell) for cell in unclear)
        if shifted or _are_too_many(unclear, cells):  # of grades 1 to 5, a 5 is not the only one that is wrong
            of_words = any(re.search(r"[^\W\d_]", cell) for cell in unclear)
            key = "values: {…}" if of_words else "ungradable: […]"
            what = "which says what they stand for" if of_words else "or empty them"
            odd = f"{len(unclear)} of its {len(cells)} cells {'is' if len(unclear) == 1 else 'are'} none of the grades"
            says = f"it names the scale {scale}, but {odd} {min(levels)} to {max(levels)} of it: {_shown(unclear)}"
            cure = f"write these numbers, or a page with - grade: {{column: {name}, scale: {scale}, {key}}}, {what}"
            return Reading(name, "", f"{says}{_LIMIT_OF_CODES}; {cure}", book, scale)
        says = f"grades on the scale {scale}: {_counted(cell for cell in cells if cell not in book) or 'none'}"
        ungradable = [cell for cell in others if book[cell] == "ungradable"]
        says += f"; ungradable: {_counted(ungradable)}" if ungradable else ""
        return Reading(name, "grade", says + _unread(unclear), book, scale)
    return None


def _number(name: str, cells: list[str]) -> Reading | None:
    """A column of numbers that is called by what was measured, such as CDR or IOP (mmHg); no unit is guessed."""
    measure = values.measure(name)
    if measure is None or not cells:
        return None
    number = measure.entry
    plainly = {cell: float(cell.replace(",", ".")) for cell in cells if re.fullmatch(_NUMBER, cell)}
    called = f"it is called by the {measure.name}, but"
    if sum(cell in plainly for cell in cells) < _LEAST * len(cells):
        says = f"{called} most of its cells are not plain numbers: {_shown(cells)}; write plain numbers"
        return Reading(name, "", f"{says}, or write them as notes, such as '{name} {cells[0]}'")
    if measure.unit is None:
        unit = measure.known_unit
        says = f"{called} nothing states its unit; where it is {unit}, call the column '{name} ({unit})'"
        return Reading(name, "", f"{says}; or in a page: {_number_line(name, number)}", number=number)
    (low, high), unit = number["range"], f" {measure.unit}" if measure.unit else ""
    known = [cell for cell in cells if low <= plainly.get(cell, low - 1) <= high]
    lost = [cell for cell in cells if cell not in known]
    other, numbers = measure.other
    if other and numbers.issuperset(plainly.values()):
        says = f"{called} may be the {other} too, of whose numbers all are: {_shown(cells)}"
        return Reading(name, "", f"{says}; call it {measure.name!r} if it is that", number=number)
    if sum(cell in plainly for cell in lost) > _may_be_wrong(cells):
        number = number | {"range": None}
        says = f"{called} not all of its numbers are from {low:g} to {high:g}{unit}: {_shown(lost)}{_LIMIT}"
        return Reading(name, "", f"{says}; in a page: {_number_line(name, number)}", number=number)
    told = [plainly[cell] for cell in known]
    says = f"{measure.name}, {min(told):g} to {max(told):g}{unit} ({len(known):,})"
    return Reading(name, "number", says + _unread(lost), number=number)


def _number_line(column: str, number: dict[str, object]) -> str:
    """The line of a page for a column of numbers, with … for what nothing states."""
    told = {name: "…" if value is None else value for name, value in number.items()}
    told["range"] = told["range"] if number["range"] else "[lowest, highest]"
    return f"- number: {{column: {column}, {', '.join(f'{name}: {value}' for name, value in told.items())}}}"


def _not_read(name: str, cells: list[str]) -> Reading:
    if not cells:
        return Reading(name, "", "empty")
    if values.is_private(name) and not any(of_label(cell).conditions for cell in set(cells)):
        return Reading(name, "private", "names and dates are never read, nor a text told that holds one")
    called = f"grades are read where the column names their scale, such as {f'ICDR {name}'!r}"
    hint = f"; {called}" if _is_of_grades(name, cells) else ""
    if named := disease_of(name)[0]:
        says = f"it is called by {named}, but not all of its cells are plainly yes or no: {_shown(cells)}{_LIMIT_OF_CODES}"
        return Reading(name, "", f"{says}{_cure_of_disease(name, cells, called)}")
    said = {cell: values.yes_or_no(cell) for cell in cells if len(cell) > 1}
    if len(said) == len(set(cells)) and None not in said.values():
        yes, no = (next((cell for cell, there in said.items() if there is value), "…") for value in (True, False))
        line = f"- flags: {{labels: {{{name}: …}}, present: {yes}, absent: {no}}}"
        unknown = f"its cells say yes or no, but its name is no disease that is known: {_counted(cells)}"
        return Reading(name, "", f"{unknown}; if it is one, in a page: {line}")
    if len(set(cells)) > _MOST_CODES and all(re.fullmatch(_NUMBER, cell) for cell in cells):
        number = {"name": None, "unit": None, "range": None}
        says = f"{len(set(cells)):,} different numbers; nothing says what they are{hint}"
        return Reading(name, "", f"{says}; in a page: {_number_line(name, number)}", number=number)
    if len(set(cells)) > _MOST_CODES or not any(map(_may_be_shown, cells)):
        return Reading(name, "", f"{len(set(cells)):,} different cells; nothing says what they mean{hint}")
    return Reading(name, "", f"nothing says what its cells mean: {_shown(cells)}{hint}")


def _cure_of_disease(name: str, cells: list[str], scale: str) -> str:
    """What to do with a column that is called by a disease and holds other codes than yes and no; `scale`: how grades are
    read."""
    codes = sorted(set(cells))
    if len(codes) > _MOST_CODES or not all(map(_may_be_shown, codes)):
        return ""
    if _is_of_grades(name, cells):
        return f"; {scale}, or by a page (retinal page writes its beginning) with - grade: {{column: {name}, scale: …}}"
    return f"; in a page: - label: {{column: {name}, values: {{{', '.join(f'{code}: …' for code in codes)}}}}}"


def _is_of_grades(name: str, cells: list[str]) -> bool:
    called = set(plain(without_range(name)[0]).split())
    return (
        called <= {*map(plain, values.words()["about grades"])}
        and not called.isdisjoint(("dr", "retinopathy", "grade", "grades", "level", "levels"))
        and all(re.fullmatch("[0-5]", values.whole(cell)) for cell in cells)
    )


def without_names(reading: Reading) -> Reading:
    """Returns a reading for a page, which may be passed on: no cell without a known meaning is listed that may be a name."""
    may_be_names = [
        cell
        for cell, of in reading.book.items()
        if of in (None, "unclear") and not (values.is_other(cell) or _may_be_shown(cell))
    ]
    if not may_be_names:
        return reading
    book = {cell: of for cell, of in reading.book.items() if cell not in may_be_names}
    cure = "cells that may be names are not listed here: empty them or list them, or their images are left out"
    return reading._replace(book=book, says=f"{reading.says}; {cure}" if reading.is_read else reading.says)


def _may_be_shown(cell: str) -> bool:
    """Whether a cell of an unknown column is a code or words about eyes: it may be a person's name else."""
    return values.is_code(cell) or all(map(values.names_nobody, re.findall(r"[^\W\d_]+", cell)))


_READERS: dict[str, Callable[[str, list[str]], Reading | None]] = {
    "image": _image,
    "sex": _sex,
    "split": _split,
    "age": _age,
    "patient": _patient,
    "label": _label,
}
