"""JSON and YAML that people and other programs wrote, read with limits and as data alone."""

import itertools
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar

import yaml

_DEEPEST = 60  # lists and mappings within one another; Python reads more, and then cannot write it again
_MOST_BYTES = 1_000_000  # of YAML: a page has a hundredth of that, and the reader is slow
_MOST_PARTS = 100_000  # lists and mappings on one level of YAML, whose references multiply them
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # half of a character outside the basic plane, as JSON escapes it
# what PyYAML raises for a value that its tag does not allow, such as `!!bool maybe` or the date 2024-99-99
YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)


class Unreadable(ValueError):
    """Raised for a text that cannot be read; the message says why, and `line` where, counted from 1 (0: not known)."""

    def __init__(self, why: str, line: int = 0):
        super().__init__(why)
        self.line = line


_TOO_DEEP = f"lists or objects nested more than {_DEEPEST} deep"


def json_value(raw: bytes) -> object:
    """Returns the value of a text of JSON in UTF-8. Unreadable: it is none, nested too deeply, or holds half a character."""
    try:
        text = raw.decode("utf-8-sig")
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"not JSON ({error.msg} at column {error.colno})", error.lineno) from error
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"not text in UTF-8 ({error.reason} at byte {error.start + 1})", line) from error
    except RecursionError as error:
        raise Unreadable(_TOO_DEEP) from error
    except ValueError as error:  # a number of thousands of digits
        raise Unreadable(f"not JSON ({error})") from error
    if text.count("[") + text.count("{") > _DEEPEST:
        _check_depth(value)
    if _HALF.search(text):
        _check_writable(value)
    return value


def yaml_value(raw: bytes, words: bool = False) -> object:
    """Returns the value of a text of YAML in UTF-8; tags make plain values only. `words`: yes, no, on and off stay the words
    that they are in tables. Unreadable: it is none, has more than a megabyte, is nested too deeply, names a key twice, or holds
    half a character."""
    try:
        if len(raw) > _MOST_BYTES:
            raise Unreadable(f"it has {len(raw):,} bytes, more than {_MOST_BYTES:,}")
        text = raw.decode("utf-8-sig")
        value = yaml.load(text, Loader=_WordLoader if words else _Loader)  # a safe loader, with limits
        _check_depth(value, _MOST_PARTS)
        _check_writable(value)
    except YAML_ERRORS as error:
        raise Unreadable(*yaml_problem(raw, error)) from error
    return value


def yaml_problem(raw: bytes, error: Exception) -> tuple[str, int]:
    """Returns what is wrong with a text of YAML, in plain words, and its line, counted from 1 (0: not known). `error`: what its
    reader raised.

    >>> raw = b"facts:\\n  - grade: {}\\n   - boxes"
    >>> try:
    ...     yaml.safe_load(raw)
    ... except yaml.YAMLError as error:
    ...     print(*yaml_problem(raw, error))
    this line begins with 3 blanks, but the lines above it with 0 or 2; entries of one list or mapping begin with equally many 3
    """
    mark = getattr(error, "problem_mark", None)
    lines = raw.decode("utf-8-sig", "replace").splitlines() if mark else []
    if not lines or mark.line > len(lines):
        return " ".join(str(error).split())[:300] or type(error).__name__, 0
    number = min(mark.line, len(lines) - 1)
    line, before = lines[number], lines[number][: mark.column]
    indent = len(line) - len(line.lstrip(" "))
    context = getattr(error, "context", None) or ""
    if context.startswith("while parsing a flow") and mark.line == len(lines):
        return "a [ or { is not closed before the end of the file", number + 1
    of_pair = ("while parsing a flow sequence", "while parsing a flow mapping", "while scanning a quoted scalar")
    if context in of_pair and ((opened := error.context_mark).line < mark.line or "end of stream" in error.problem):
        opening = lines[opened.line][opened.column : opened.column + 1]
        return f"the {opening} that opens in column {opened.column + 1} is not closed", opened.line + 1
    if line.lstrip(" ").startswith("\t"):
        return "this line begins with a tab; YAML needs blanks there", number + 1
    above = _indents(lines[:number])
    opens = re.search(r":\s*(#.*)?$", next(filter(_is_content, reversed(lines[:number])), ":"))  # so may begin further right
    if indent not in above and (mark.column == indent or not opens):
        begins = f"this line begins with {indent} blank{'s' * (indent != 1)}, but the lines above it with"
        return f"{begins} {' or '.join(map(str, above))}; entries of one list or mapping begin with equally many", number + 1
    rest = f"{line[len(before) :].strip()[:40]!r}" if line[len(before) :].strip() else "the end of the line"
    cure = "a text that holds ': ' or a backslash, or begins with a mark such as * @ % { [, stands between single quotes"
    return f"column {mark.column + 1}: {rest} cannot stand there; {cure}", number + 1


def _indents(lines: list[str]) -> list[int]:
    """The numbers of blanks with which a further line may begin: those of the lists and mappings that are open."""
    found: list[int] = []
    for line in lines:
        if _is_content(line):
            indent = len(line) - len(line.lstrip(" "))
            found = [each for each in found if each < indent] + [indent]
    return found or [0]


def _is_content(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def packaged_yaml(file: Path) -> Any:
    """Returns the value of a file of YAML that is a part of this package, so that no limit is needed."""
    return yaml.load(file.read_bytes(), Loader=_PARSER[-1])


def texts_in(content: object, keys_of: Collection[str] = ()) -> Iterator[str]:
    """Yields the values of parsed YAML or JSON as texts, and the keys of the objects that are named in `keys_of`.

    >>> list(texts_in({"key": {"image": "a"}, "facts": [{"grade": {"scale": 1}}]}, ["key"]))
    ['image', 'a', '1']
    """
    if isinstance(content, dict):
        for name, value in content.items():
            yield from map(str, value if isinstance(value, dict) and name in keys_of else ())
            yield from texts_in(value, keys_of)
    elif isinstance(content, list):
        yield from (text for each in content for text in texts_in(each, keys_of))
    else:
        yield str(content)


def yaml_lines(raw: bytes) -> dict[tuple, int]:
    """Returns the line, counted from 1, of each value of a readable text of YAML, by the keys and places that lead to it."""
    lines: dict[tuple, int] = {}
    todo = [((), yaml.compose(raw.decode("utf-8-sig"), Loader=_Loader))]
    while todo:
        way, node = todo.pop()
        lines.setdefault(way, node.start_mark.line + 1 if node else 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                inner = (*way, str(key.value))
                lines[inner] = key.start_mark.line + 1
                todo.append((inner, value))
        elif isinstance(node, yaml.SequenceNode):
            todo += [((*way, place), value) for place, value in enumerate(node.value)]
    return lines


def _check_depth(value: object, most: int | None = None) -> None:
    """Unreadable: a value is nested too deeply, or more than `most` of its parts are equally deep."""
    level = [value]
    for _ in range(_DEEPEST):
        held = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        nested = (part for part in itertools.chain.from_iterable(held) if isinstance(part, dict | list))
        level = list(itertools.islice(nested, most))
        if not level:
            return
        if len(level) == most:
            raise Unreadable(f"its references make more than {most:,} parts")
    raise Unreadable(_TOO_DEEP)


def _check_writable(value: object) -> None:
    """Unreadable: the value holds half a character, or a number of thousands of digits, which cannot be written again."""
    try:
        json.dumps(value, ensure_ascii=False, default=str, skipkeys=True).encode()
    except UnicodeEncodeError as error:
        raise Unreadable("it holds half a character (a surrogate such as \\ud800)") from error
    except ValueError as error:
        raise Unreadable(str(error)) from error


# libyaml reads text many times as fast as PyYAML's own parser, which is used where PyYAML was built without it
_PARSER = (yaml.composer.Composer, yaml.CSafeLoader) if yaml.__with_libyaml__ else (yaml.SafeLoader,)


class _Loader(*_PARSER):
    """PyYAML's safe loader, which also refuses deep nesting and keys that stand twice."""

    _depth = 0

    def __init__(self, text: str):
        _PARSER[-1].__init__(self, text)
        self.anchors: dict[str, yaml.Node] = {}

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        """Counts how deeply nodes are nested. Unreadable: too deeply."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Unreadable(_TOO_DEEP)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Makes a mapping. Unreadable: a key stands twice."""
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise Unreadable(f"the key {key.value!r} stands twice, the second time in line {key.start_mark.line + 1}")
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        return super().construct_mapping(node, deep)


class _WordLoader(_Loader):
    """The loader of pages: of the words that YAML takes for booleans, only true and false are."""

    yaml_implicit_resolvers: ClassVar[dict] = {
        first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_WordLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$", re.IGNORECASE), list("tTfF"))
