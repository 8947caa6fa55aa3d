"""The one exception for what a user can put right, and the sentences that other errors become."""

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


class UserError(Exception):
    """Something a user can put right: the message says where the problem is, what was found, and what would be right.

    >>> raise unknown("dataset", "ODRI", ["ODIR", "IDRiD"])
    Traceback (most recent call last):
    retinal_lib.errors.UserError: unknown dataset 'ODRI'; known: ODIR, IDRiD (did you mean 'ODIR'?)
    """

    def _render_traceback_(self) -> list[str]:
        # IPython and papermill print this instead of a stack: the sentence is all that helps here
        return [f"{type(self).__name__}: {self}"]


def unknown(kind: str, value: object, known: Iterable[str]) -> UserError:
    """Returns a UserError that names the unknown value, lists the known ones and suggests the most similar."""
    known = list(known)
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(str(value).casefold(), folded, n=1)
    hint = f" (did you mean {folded[near[0]]!r}?)" if near else ""
    return UserError(f"unknown {kind} {value!r}; known: {', '.join(known) or 'none'}{hint}")


def from_validation(error: "ValidationError", place: str) -> UserError:
    """Returns a UserError for the first error that pydantic found; `place` names the file or parameter."""
    return UserError(f"{place}{': ' if place else ''}{validation_text(error)}")


def validation_text(error: "ValidationError") -> str:
    """Returns a sentence on the first error that pydantic found: the key, the value, and what would be right."""
    first = error.errors()[0]
    keys = " > ".join(map(str, first["loc"]))
    return f"{keys}: {_sentence(first)}" if keys else _sentence(first)


def _sentence(first: dict) -> str:
    text, limits = first["msg"], first.get("ctx") or {}
    if first["type"] == "missing":
        return "is missing"
    if first["type"] == "extra_forbidden":
        return "is not a known key"
    if first["type"] in ("value_error", "assertion_error"):  # raised by our own checks, whose sentence says it all
        return text.partition(", ")[2]
    for name, words in _LIMITS.items():
        if name in limits:
            return f"found {first['input']!r}; expected a number of {words} {limits[name]}"
    return f"found {first['input']!r}; {text.replace('Input should be ', 'expected ', 1)}"
