"""Where the header of a person's own table is: below a title, in two rows, or under merged cells."""

from collections import Counter
from typing import NamedTuple

from retinal_lib.dataset.cells import values

_TOP = 30  # rows in which a header is looked for


class Header(NamedTuple):
    """The names of a table's columns, and its first row of data, counted from 0."""

    names: list[str]
    first: int


def find(rows: list[list[str]]) -> Header | None:
    """Returns the header of a table whose cells are given, by the column that names the picture; None where none does.

    >>> find([["Our study"], [], ["", "Patient", "", "Eye"], ["Image", "Age", "Sex", ""], ["a.jpg", "58", "m", "OD"]])
    Header(names=['Image', 'Age', 'Sex', 'Eye'], first=4)
    """
    wide = max((len(_filled(row)) for row in rows), default=0) > 1
    for role in ("image", "row id"):
        for number, row in enumerate(rows[:_TOP]):
            key = next((n for n, cell in enumerate(row) if values.name_place(role, cell) is not None), None)
            if key is not None and (len(_filled(row)) > 1 or not wide):
                return _below(rows, number, key)
    return None


def widest(rows: list[list[str]]) -> int:
    """Returns the first of the top rows with the most filled cells, counted from 0: below a title, the header."""
    return max(range(min(len(rows), _TOP)), key=lambda number: len(_filled(rows[number])))


def _below(rows: list[list[str]], number: int, key: int) -> Header:
    """The header that begins in a row, with the groups of columns above it and the names below it."""
    names = [cell.strip() for cell in rows[number]]
    above = [cell.strip() for cell in rows[number - 1]] if number and len(_filled(rows[number - 1])) > 1 else []
    under = [cell.strip() for cell in rows[number + 1]] if number + 1 < len(rows) else []
    first = number + 1
    beneath = (under + [""] * len(names))[key]  # empty, or the name again, where it was merged over both rows
    if any(under) and beneath in ("", names[key]) and not any(any(map(str.isdigit, cell)) for cell in under):
        above, names, first = names, _filled_up(under, names), number + 2
    elif above:
        names = _filled_up(names, above)
    twice = {name for name, count in Counter(filter(None, names)).items() if count > 1}
    groups = _to_the_right(above, len(names))
    named = zip(names, groups, strict=True)
    return Header([f"{group} {name}" if name in twice and group else name for name, group in named], first)


def _filled(row: list[str]) -> list[str]:
    return [cell for cell in row if cell.strip()]


def _filled_up(names: list[str], others: list[str]) -> list[str]:
    """Names, and where a column has none its other name."""
    width = max(len(names), len(others))
    pairs = zip(names + [""] * (width - len(names)), others + [""] * (width - len(others)), strict=True)
    return [name or other for name, other in pairs]


def _to_the_right(groups: list[str], width: int) -> list[str]:
    """The group of each column: the nearest name at or before it, as merged cells have it."""
    found, last = [], ""
    for place in range(width):
        last = (groups[place] if place < len(groups) else "") or last
        found.append(last)
    return found
