"""What the name of a column says of its cells: the disease that they are of, and a range of codes."""

import re

from retinal_lib.check.language import lexicon
from retinal_lib.check.language.statements import is_suspicion
from retinal_lib.dataset.cells import values

_OF_PERSON = ("diabetes", "hypertension")
_RANGE = re.compile(r"[\s_]*[(\[]?\s*(?<!\d)0\s*(?:[-–—/]|to|\.\.)\s*(\d)(?!\d)\s*[)\]]?\s*$")


def may_hold_diagnosis(column: str) -> bool:
    """Says whether a column is called by a disease, or has one or a scale of one in its name.

    >>> [name for name in ("EMD", "DR status (clinic)", "final_icdr", "Operator") if may_hold_diagnosis(name)]
    ['EMD', 'DR status (clinic)', 'final_icdr']
    """
    text = lexicon.read(_capitals(" ".join(re.findall(r"[^\W_]+", column))))
    return bool(text.of("conditions") or text.of("scales") or disease_of(column)[0])


def disease_of(column: str) -> tuple[str, str]:
    """The disease that a column is called by, as it is called in a sentence, and the role of such a column; "" where it is
    called by none, or by a suspicion."""
    column = without_range(column)[0]
    words = values.words()["diseases"].get(values.plain(column), " ".join(column.replace("_", " ").split()))
    text = lexicon.read(_capitals(words))
    term = next(iter(text.of("conditions")), None)
    if term is None or (term.first, term.last) != (0, len(text.words)) or is_suspicion(words):
        return "", ""
    condition = lexicon.conditions(_capitals(words))[0]
    return _named(words, condition), "person's" if condition in _OF_PERSON else "condition"


def without_range(column: str) -> tuple[str, int | None]:
    """Returns the name of a column without a range of codes from 0 at its end, and the highest of them; None where it has none.

    >>> [without_range(name) for name in ("DR (ICDR 0-4)", "DR (0 to 4)", "glaucoma 0/1", "ICDR 1-5")]
    [('DR (ICDR', 4), ('DR', 4), ('glaucoma', 1), ('ICDR 1-5', None)]
    """
    found = _RANGE.search(column)
    return (column[: found.start()], int(found[1])) if found else (column, None)


def _named(words: str, condition: str) -> str:
    """How a condition is called in a sentence: an abbreviation by its name."""
    names = lexicon.VOCABULARY["conditions"][condition]
    if _capitals(words).isupper():
        return next(name for name in names if not name.endswith(("ive", "ic", "ous")))
    return words.casefold() if words.casefold() in names else condition.replace("_", " ")


def _capitals(words: str) -> str:
    """The words of a name, abbreviations in the capitals in which they are known."""
    return " ".join(word.upper() if word.upper() in lexicon.capitals() else word for word in words.split())
