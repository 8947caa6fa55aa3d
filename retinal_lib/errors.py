"""The one exception for what a user can put right, and the sentences that other errors become."""

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from retinal_lib.text.shown_text import for_people

if TYPE_CHECKING:
    from pydantic import ValidationError

_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
# the beginning of the type of pydantic's error -> what would be right
_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a number",
    "decimal": "a number",
    "bool": "True or False",
    "string": "text",
    "path": "a path",
    "dict": "entries such as name: value",
    "mapping": "entries such as name: value",
    "model": "entries such as name: value",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
}
_TYPE = re.compile(r"(str|int|float|bool)|(list|dict|tuple|set)\[.*\]")


_LONGEST = 4_000  # characters of a message
_NEAR = 0.76  # how alike a slip and the name are, by difflib: age and image are 0.75
_LISTED = 30  # known names that a message lists
_ECHO = 160  # characters of a value that a message quotes
_QUOTED = re.compile(rf"""(?<!\w)(["'])((?:(?!\1)[^\n]){{{_ECHO},}})\1""")
_WORD = re.compile(rf"[^\s/\\]{{{_ECHO},}}|\S{{500,}}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class UserError(Exception):
    """Something a user can put right: the message says where the problem is, what was found, and what would be right. It shows
    no absolute path and no participant, see `shown_text`.

    >>> raise unknown("dataset", "ODRI", ["ODIR", "IDRiD"])
    Traceback (most recent call last):
    retinal_lib.errors.UserError: unknown dataset 'ODRI'; known: ODIR, IDRiD (did you mean 'ODIR'?)
    """

    def __init__(self, message: object = ""):
        """`message` quotes what was found, which may be a whole damaged file: a long value is told by its beginning and end,
        and control characters, which a terminal would obey, are written as escapes."""
        message = str(message)
        if len(message) > _LONGEST:
            message = f"{message[: _LONGEST // 2]} … {message[-_LONGEST // 4 :]}"
        message = for_people(_CONTROL.sub(lambda found: repr(found[0])[1:-1], message))
        message = _QUOTED.sub(lambda found: f"{found[1]}{shortened(found[2])}{found[1]}", message)
        super().__init__(_WORD.sub(lambda found: shortened(found[0]), message))

    def _render_traceback_(self) -> list[str]:
        # IPython and papermill print this instead of a stack: the sentence is all that helps here
        return [f"{type(self).__name__}: {self}"]


def shortened(value: str) -> str:
    """Returns a value as people are shown it: of a long one, the beginning and the end."""
    return f"{value[: _ECHO // 2]} … {value[-_ECHO // 8 :]}" if len(value) > _ECHO else value


def quoted(value: object) -> str:
    """Returns a value as messages quote it; a long one is shortened by UserError. A number may have too many digits to be
    written."""
    try:
        return repr(value)
    except ValueError:
        return "a number of thousands of digits"


def unknown(kind: str, value: object, known: Iterable[str]) -> UserError:
    """Returns a UserError that names the unknown value, lists the known ones and suggests the most similar."""
    known = list(known)
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    listed = ", ".join(known[:_LISTED]) or "none"
    return UserError(f"unknown {kind} {quoted(value)}; known: {listed}{more}{did_you_mean(value, known)}")


def did_you_mean(value: object, known: Iterable[str]) -> str:
    """Returns the question for the known name that is most similar to a value, in brackets; "" where none is."""
    folded = {name.casefold(): name for name in known}
    near = nearest(quoted(value)[:_ECHO].strip("'\"").casefold(), folded)
    return f" (did you mean {folded[near]!r}?)" if near else ""


def nearest(value: str, known: Iterable[str]) -> str:
    """Returns the known name of which a value may be a slip: nearly the same letters, or the same in another order; "" where
    there is none.

    >>> [nearest(name, ["image", "age", "split", "ODIR"]) for name in ("imgae", "ages", "ODRI", "Visit", "eye")]
    ['image', 'age', 'ODIR', '', '']
    """
    known = list(known)
    slips = difflib.get_close_matches(value, known, n=1, cutoff=_NEAR)
    return next(iter(slips), "") or next((name for name in known if sorted(name) == sorted(value)), "")


def from_validation(error: "ValidationError", place: str, given: object = None) -> UserError:
    """Returns a UserError for the first error that pydantic found; `place` names the file or parameter, `given` as below."""
    return UserError(f"{place}{': ' if place else ''}{validation_text(error, given)}")


def validation_text(error: "ValidationError", given: object = None) -> str:
    """Returns a sentence on the first error that pydantic found: the key, the value, and what would be right. `given` is what
    was checked, where it has mappings by numbers."""
    errors = error.errors()
    place = _place(errors[0], given)
    # where several kinds of value are allowed, pydantic has an error for each
    expected = dict.fromkeys(_expected(other) for other in errors if _place(other, given) == place)
    sentence = _sentence(errors[0], " or ".join(expected))
    return f"{place}: {sentence}" if place else sentence


def _place(error: dict, given: object) -> str:
    """The keys that lead to a value, without what pydantic adds: the names of types where several are allowed, and [key]. The
    entries of a list are counted from 1."""
    parts = []
    for key in error["loc"]:
        if isinstance(key, str) and (key == "[key]" or _TYPE.fullmatch(key)):
            continue
        of_mapping = isinstance(given, dict)
        parts.append(f"entry {key + 1}" if isinstance(key, int) and not of_mapping else str(key))
        inside = key in given if of_mapping else isinstance(given, list) and isinstance(key, int) and key < len(given)
        given = given[key] if inside else None
    return " > ".join(parts)


def _sentence(first: dict, expected: str) -> str:
    kind, found = first["type"], first["input"]
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is not a known key"
    if kind in ("value_error", "assertion_error"):  # raised by our own checks, whose sentence says it all
        return first["msg"].partition(", ")[2]
    near = nearest(quoted(found)[:_ECHO].strip("'\""), re.findall(r"'([^']*)'", expected))
    return f"found {quoted(found)}; expected {expected}" + (f" (did you mean {near!r}?)" if near else "")


def _expected(error: dict) -> str:
    """What would be right in place of a value."""
    kind, context = error["type"], error.get("ctx") or {}
    if kind == "literal_error":
        return context["expected"]
    if kind in ("too_short", "too_long"):
        return f"a list of {context.get('min_length', context.get('max_length'))}"
    for name, words in _LIMITS.items():
        if name in context:
            return f"a number of {words} {context[name]}"
    return _EXPECTED.get(kind.split("_")[0], "another kind of value")
