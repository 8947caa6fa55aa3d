"""What an answer says, without the thoughts before it and the marks, quotes and braces around it."""

import ast
import re
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path

from retinal_lib.parsing import Unreadable, json_value, packaged_yaml
from retinal_lib.text import reply_text

# marks of boxes, of what they hold and of their labels, which are no marks of a chat template
_BOX_MARKS = re.compile(r"</?b?box>|<\|/?(?:box|det|bbox)(?:_start|_end)?\|>", re.IGNORECASE)
_BARE_BOX = re.compile(r"<(b?box)>([\d.,;\s%-]*)</\1>", re.IGNORECASE)  # numbers alone between the marks
_LABEL_MARKS = re.compile(r"<(\|?)/?(?:object_)?ref(?:_start|_end)?\1>", re.IGNORECASE)
_FENCE = re.compile(r"```[a-z]*\n?", re.IGNORECASE)
_ANSWER_MARK = re.compile(r"<(/?)((?:final_)?answer|conclusion|solution)>", re.IGNORECASE)
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf)\{([^{}]*)\}")
_LEAD = re.compile(
    r"\A[\s*_#>\"'“]{0,9}(?:(?:my|the|your)\s{1,3})?(?:(?:final|correct|best|short)\s{1,3})?answer(?:\s{1,3}is)?[\s*_]{0,4}[:=][\s*_]{0,4}",
    re.IGNORECASE,
)
_AROUND = " \t\r\n\u00a0#*\"'`“”"
_LONGEST_LITERAL = 8000
_FLAT_OBJECT = re.compile(r"\{[^{}:]*:[^{}]*\}")
_QUOTED_KEY = re.compile(r"""["'](\w[\w \-]*)["']\s*:""")


@cache
def words() -> dict:
    """Reads evaluation.yaml: how answers are read."""
    return packaged_yaml(Path(__file__).with_name("evaluation.yaml"))


def said(text: str) -> str:
    r"""Returns what an answer says. Of JSON, the value of "answer" or the like counts where there is one, and what explains it
    does not. NoAnswer: the answer is cut in its thoughts.

    >>> said('<think>A or B?</think><answer>{"reasoning": "Not A.", "answer": "B"}</answer>')
    'B'
    >>> said("It may be A. Final answer: $\\boxed{\\text{B}}$"), said("**Answer:** B"), said("{'answer': 'B'}"), said('["B"]')
    ('B', 'B', 'B', 'B')
    """
    text = _FENCE.sub("", _marked(text, unwrapped(text))).strip().removesuffix("###").rstrip()
    return _LEAD.sub("", _without_braces(_boxed(text))).strip(_AROUND)


def _marked(raw: str, text: str) -> str:
    """What an answer has between its last marks <answer>, unless these stand in thoughts; else the whole answer."""
    marks = list(_ANSWER_MARK.finditer(raw))
    for opens, ends in reversed(list(pairwise(marks))):
        if (opens[1], ends[1]) == ("", "/") and opens[2].casefold() == ends[2].casefold():
            between = unwrapped(raw[opens.end() : ends.start()]).strip()
            return between if between and between in text and not _is_cut(raw[: ends.end()]) else text
    return text


def _is_cut(text: str) -> bool:
    """Whether a text ends within thoughts."""
    try:
        unwrapped(text)
    except reply_text.NoAnswer:
        return True
    return False


def _boxed(text: str) -> str:
    """What the last \\boxed{…} of an answer holds; else the whole answer."""
    start = text.rfind("\\boxed{")
    depth, ends = 0, -1
    for place in range(start + 6, len(text)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            ends = place
            break
    return _LATEX_TEXT.sub(r"\1", text[start + 7 : ends]) if ends > 0 else text


def _without_braces(text: str) -> str:
    """An answer with its JSON in words."""
    if text.startswith("[") and text.endswith("]") and (told := _as_words(text)) is not None:
        return told
    first, last = text.find("{"), text.rfind("}")
    if first < 0 or last < first:  # no object, or one that is cut
        return text
    whole = _as_words(text[first : last + 1])
    if whole is not None:
        return text[:first] + whole + text[last + 1 :]
    flat = [_as_words(found[0]) for found in _FLAT_OBJECT.finditer(text)]
    words_of = iter(flat)
    text = _FLAT_OBJECT.sub(lambda found: found[0] if (told := next(words_of)) is None else told, text)
    return text if None not in flat else _QUOTED_KEY.sub(r"\1:", text)


@lru_cache(maxsize=16)  # an answer is read more than once
def unwrapped(text: str) -> str:
    """Returns an answer without thoughts, and without marks around it and around boxes. NoAnswer: it is cut in its thoughts."""
    return reply_text.answer(_LABEL_MARKS.sub(" ", _BOX_MARKS.sub(" ", _BARE_BOX.sub(r"[\2]", text))) if "<" in text else text)


def marks_boxes(text: str) -> bool:
    """Says whether an answer puts its boxes between marks of models that count to 1000: <box> or <|box_start|>."""
    return re.search(r"<box>|<\|(?:box_start|det)\|>", text, re.IGNORECASE) is not None


def _as_words(text: str) -> str | None:
    """A JSON value, or one of Python, in words; None where it cannot be read."""
    try:
        return _told(json_value(text.encode("utf-8", "replace")))
    except Unreadable:
        pass
    try:  # with single quotes, as Python shows an object
        value = ast.literal_eval(text) if "'" in text and len(text) < _LONGEST_LITERAL else None
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # all that a text can do to it
        return None
    return _told(value) if isinstance(value, dict | list) else None


def _told(value: object) -> str:
    """A value of JSON in words: `key: value` for what an object holds, `no key` where that is false."""
    if isinstance(value, list):
        numbers = value and all(isinstance(each, int | float) for each in value)
        return f"[{', '.join(map(str, value))}]" if numbers or not value else ", ".join(map(_told, value))
    if not isinstance(value, dict):
        return "" if value is None else str(value)
    held = {str(key).replace("_", " ").strip(): each for key, each in value.items()}
    held = {key: each for key, each in held.items() if key.casefold() not in words()["aside_keys"]}
    answers = [each for key, each in held.items() if key.casefold() in words()["answer_keys"]]
    if answers or len(held) == 1:
        only = (answers or list(held.values()))[-1]
        if not isinstance(only, bool) or answers:
            return _told(only)
    return ". ".join(_pair(key, each) for key, each in held.items())


def _pair(key: str, value: object) -> str:
    if isinstance(value, bool):
        return key if value else f"no {key}"
    return f"{key}: {_told(value)}"
