"""The one exception that tells a user what to put right, in one sentence."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something a user can put right: the message says what was found, where, and what would be right."""

    def _render_traceback_(self) -> list[str]:
        # IPython and papermill print this instead of a stack: the sentence is all that helps here
        return [f"{type(self).__name__}: {self}"]


def unknown(what: str, found: object, known: Iterable[str]) -> UserError:
    """A UserError that names the bad value, lists the good ones and points at the nearest."""
    known = list(known)
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(str(found).casefold(), folded, n=1)
    hint = f" (did you mean {folded[near[0]]!r}?)" if near else ""
    return UserError(f"unknown {what} {found!r}; known: {', '.join(known) or 'none'}{hint}")
