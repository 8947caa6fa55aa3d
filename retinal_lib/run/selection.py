"""Selects the images of a run: all, or those in a list or fitting a condition, from `start` on, at most `limit`."""

import ast
import operator
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pandas as pd

from retinal_lib import typed_paths
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.dataset.image_files import natural
from retinal_lib.dataset.tables import image_key
from retinal_lib.display import are, count
from retinal_lib.errors import UserError, unknown
from retinal_lib.files import read_bytes

_LONGEST_CONDITION = 1_000  # characters
_COMPARISONS: dict[type[ast.cmpop], Callable[[object, object], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, values: value in values,
    ast.NotIn: lambda value, values: value not in values,
}


def images(data: BaseDescription, subset: str | None, start: int, limit: int | None) -> list[str]:
    """Returns the names of the selected images in natural order, with skipped ones, so that each gets a state.

    UserError: a listed name is no image, a condition cannot be read, or no image is left.
    """
    names = sorted([*data.images, *data.skipped], key=natural)
    if subset:
        listed = _list_file(subset)
        names = _listed(data, listed, names) if listed else _fitting(data, subset, names)
    if not names:
        raise UserError(f"no image fits subset {subset!r}; pass another, or none for all {count(len(data.images), 'image')}")
    chosen = names[start : None if limit is None else start + limit]
    if not chosen:
        raise UserError(f"start {start} leaves no image: there {are(len(names))} {len(names)}; pass a smaller start")
    return chosen


def _list_file(subset: str) -> Path | None:
    try:
        path = typed_paths.resolve(subset)
    except UserError:  # no file can have this name
        return None
    if path.is_file():
        return path
    if path.suffix.casefold() in (".txt", ".csv", ".lst"):
        raise UserError(f"subset {subset}: no such file")
    return None


def _listed(data: BaseDescription, path: Path, names: list[str]) -> list[str]:
    try:
        lines = read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
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
            private = data.page.private_names
            what = "image of the name that stands there" if private else f"image {word!r}; names are like {names[0]}"
            raise UserError(f"{path}, line {number}: {data.page.name} has no {what}")
        if len(matching) > 1:
            raise UserError(
                f"{path}, line {number}: {word!r} matches {' and '.join(matching)}; write the full name, or pass split"
            )
        chosen[matching[0]] = True
    return sorted(chosen, key=natural)


def _fitting(data: BaseDescription, condition: str, names: list[str]) -> list[str]:
    labels = data.labels()
    try:
        fits = Condition(condition, labels).fits()
    except UserError as error:
        raise UserError(
            f"subset {condition!r} is neither a file nor a condition that can be read ({error}); conditions are like "
            f'"grade == 0", "grade in [1, 2] and not dme == 0"; the labels are {", ".join(map(str, labels.columns))}'
        ) from error
    chosen = set(labels["image"][fits])
    return [name for name in names if name in chosen]


class Condition:
    """A condition on labels: they are compared (== != < <= > >= in, not in) with numbers, texts and lists of them, joined by
    and, or, not and parentheses. It is read, never run as code: anything else is a UserError. A label that an image lacks is
    neither equal nor unequal to anything; `grade is None` asks for it. `'right' in image` looks for a part of a text."""

    def __init__(self, text: str, labels: pd.DataFrame) -> None:
        self.labels = labels
        self.quoted: dict[str, str] = {}  # placeholder -> a column's name that stood in backticks
        if len(text) > _LONGEST_CONDITION:
            raise UserError(f"it has {len(text):,} characters, more than {_LONGEST_CONDITION:,}")
        try:
            self.tree = ast.parse(re.sub(r"""'[^']*'|"[^"]*"|`[^`]*`""", self._unquote, text).strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UserError(f"{getattr(error, 'msg', None) or error or 'it is nested too deeply'}") from error

    def fits(self) -> pd.Series:
        """Returns whether each row of `labels` fits, bool [rows]. UserError: the condition holds something that its grammar
        does not know, an unknown label, or a comparison of a number with a text."""
        try:
            return self._truth(self.tree).fillna(False).astype(bool)
        except RecursionError as error:
            raise UserError("it is nested too deeply") from error

    def _unquote(self, match: re.Match[str]) -> str:
        if not match[0].startswith("`"):
            return match[0]
        name = f"column_in_backticks_{len(self.quoted)}"
        self.quoted[name] = match[0].strip("`")
        return name

    def _truth(self, node: ast.expr) -> pd.Series:
        """True, False or missing for each row, by the rules of three-valued logic."""
        match node:
            case ast.BoolOp(op=ast.And()):
                return self._all([self._truth(part) for part in node.values])
            case ast.BoolOp(op=ast.Or()):
                return ~self._all([~self._truth(part) for part in node.values])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self._truth(operand)
            case ast.Compare():
                pairs = pairwise([node.left, *node.comparators])
                steps = zip(pairs, node.ops, strict=True)
                return self._all([self._compare(left, comparison, right) for (left, right), comparison in steps])
            case ast.Name() if all(isinstance(value, bool) for value in self._column(node).dropna()):
                return self._column(node).astype("boolean")
        hint = "; write and, or, not instead of &, |, ~" if isinstance(node, ast.BinOp | ast.UnaryOp) else ""
        raise UserError(f"{self._text(node)} is not true or false for each image{hint}")

    def _compare(self, left: ast.expr, comparison: ast.cmpop, right: ast.expr) -> pd.Series:
        if isinstance(comparison, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise UserError(f"write {self._text(left)} == {self._text(right)}; `is` goes before None alone")
            missing = self._column(left).isna().astype("boolean")
            return missing if isinstance(comparison, ast.Is) else ~missing
        if isinstance(comparison, ast.In | ast.NotIn) and not isinstance(right, ast.List | ast.Tuple | ast.Name):
            raise UserError(f"after `in` comes a list such as [0, 1] or a label, not {self._text(right)}")
        compare = _COMPARISONS[type(comparison)]
        rows = zip(self._side(left), self._side(right), strict=True)
        return pd.Series([self._result(compare, *row) for row in rows], self.labels.index, dtype="boolean")

    @staticmethod
    def _result(compare: Callable[[object, object], bool], left: object, right: object) -> object:
        if any(not isinstance(value, list) and pd.isna(value) for value in (left, right)):
            return pd.NA
        for value in right if isinstance(right, list) else [right]:
            if isinstance(left, str) != isinstance(value, str):
                raise UserError(f"{left!r} and {value!r} cannot be compared: one is a text, the other a number")
        return compare(left, right)

    def _side(self, node: ast.expr) -> list[object]:
        """The values of one side of a comparison, one for each row."""
        if isinstance(node, ast.Name):
            return self._column(node).tolist()
        if isinstance(node, ast.List | ast.Tuple):
            return [[self._constant(part) for part in node.elts]] * len(self.labels)
        return [self._constant(node)] * len(self.labels)

    def _constant(self, node: ast.expr) -> str | float:
        match node:
            case ast.Constant(value=str() | int() | float() as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
        raise UserError(f"{self._text(node)} is no number, text or label; write a missing value as `is None`")

    def _column(self, node: ast.expr) -> pd.Series:
        if not isinstance(node, ast.Name):
            raise UserError(f"{self._text(node)} is not the name of a label")
        name = self.quoted.get(node.id, node.id)
        if name not in self.labels:
            raise unknown("label", name, map(str, self.labels.columns))
        return self.labels[name]

    @staticmethod
    def _all(parts: list[pd.Series]) -> pd.Series:
        result = parts[0]
        for part in parts[1:]:
            result = result & part
        return result

    def _text(self, node: ast.expr) -> str:
        text = ast.unparse(node)
        for placeholder, name in self.quoted.items():
            text = text.replace(placeholder, f"`{name}`")
        return text
