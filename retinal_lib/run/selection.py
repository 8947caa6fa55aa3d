"""Selects the images of a run: all, or those in a list or fitting a condition, from `start` on, at most `limit`."""

import tokenize
from pathlib import Path

import pandas as pd

from retinal_lib import paths
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.image_files import natural
from retinal_lib.dataset.tables import image_key
from retinal_lib.errors import UserError

# what pandas raises for a condition that it cannot read
UNREADABLE = (
    pd.errors.UndefinedVariableError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    NotImplementedError,
    tokenize.TokenError,
    IndexError,
    ArithmeticError,
)


def images(data: BaseDescription, subset: str | None, start: int, limit: int | None) -> list[str]:
    """Returns the names of the selected images in natural order, with skipped ones, so that each gets a state.

    UserError: a listed name is no image, a condition cannot be read, or no image is left.
    """
    names = sorted([*data.images, *data.skipped], key=natural)
    if subset:
        listed = _list_file(subset)
        names = _listed(data, listed, names) if listed else _fitting(data, subset, names)
    if not names:
        raise UserError(f"no image fits subset {subset!r}; pass another, or none for all {len(data.images)} images")
    chosen = names[start : None if limit is None else start + limit]
    if not chosen:
        raise UserError(f"start {start} leaves no image: there are {len(names)}; pass a smaller start")
    return chosen


def _list_file(subset: str) -> Path | None:
    path = paths.resolve(subset) if "\n" not in subset and len(subset) < 250 else Path("none/such")
    if path.is_file():
        return path
    if path.suffix.casefold() in (".txt", ".csv", ".lst"):
        raise UserError(f"subset {subset}: no such file")
    return None


def _listed(data: BaseDescription, path: Path, names: list[str]) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable list of image names ({error})") from error
    by_key: dict[str, list[str]] = {}
    for name in names:
        for key in {name.casefold(), Path(name).name.casefold(), image_key(name)}:
            by_key.setdefault(key, []).append(name)
    chosen = {}
    for number, line in enumerate(lines, start=1):
        word = line.strip()
        if not word:
            continue
        path_in_list = Path(word.replace("\\", "/"))
        matching = by_key.get(word.casefold()) or by_key.get(path_in_list.name.casefold()) or by_key.get(image_key(word), [])
        if path_in_list.parent.name in data.page.splits:  # "test/1.png" is not the 1.png of another split
            matching = [name for name in matching if data.image(name).split == path_in_list.parent.name]
        if not matching:
            like = "" if data.page.private_names else f"; names are like {names[0]}"
            raise UserError(f"{path}, line {number}: {data.page.name} has no image {word!r}{like}")
        if len(matching) > 1:
            raise UserError(
                f"{path}, line {number}: {word!r} matches {' and '.join(matching)}; write the full name, or pass split"
            )
        chosen[matching[0]] = True
    return sorted(chosen, key=natural)


def _fitting(data: BaseDescription, condition: str, names: list[str]) -> list[str]:
    labels = data.labels()
    try:
        fits = labels.eval(condition, engine="python")
    except UNREADABLE as error:
        raise _no_condition(condition, labels, " ".join(str(error).split())) from error
    # a number or a list would select images by their position
    if not isinstance(fits, pd.Series) or not all(isinstance(fit, bool) for fit in fits.dropna().tolist()):
        raise _no_condition(condition, labels, "it is not true or false for each image")
    chosen = set(labels["image"][fits.fillna(False).astype(bool)])
    return [name for name in names if name in chosen]


def _no_condition(condition: str, labels: pd.DataFrame, why: str) -> UserError:
    return UserError(
        f"subset {condition!r} is neither a file nor a condition that can be read ({why}); "
        f'conditions are like "grade == 0"; the labels are {", ".join(map(str, labels.columns))}'
    )
