"""What an answer says, without the thoughts before it and the marks, quotes and braces around it."""

import re
from functools import cache, lru_cache
from pathlib import Path

from retinal_lib.parsing import Unreadable, json_value, packaged_yaml
from retinal_lib.text import reply_text

# marks of boxes, of what they hold and of their labels, which are no marks of a chat template
_BOX_MARKS = re.compile(r"</?b?box>|<\|/?(?:box|det|bbox)(?:_start|_end)?\|>", re.IGNORECASE)
_BARE_BOX = re.compile(r"<(b?box)>([\d.,;\s%-]*)</\1>", re.IGNORECASE)  # numbers alone between the marks
_LABEL_MARKS = re.compile(r"<(\|?)/?(?:object_)?ref(?:_start|_end)?\1>", re.IGNORECASE)
_FENCE = re.compile(r"```[a-z]*\n?", re.IGNORECASE)
_FLAT_OBJECT = re.compile(r"\{[^{}:]*:[^{}]*\}")
_QUOTED_KEY = re.compile(r"""["'](\w[\w \-]*)["']\s*:""")


@cache
def words() -> dict:
    """Reads evaluation.yaml: how answers are read."""
    return packaged_yaml(Path(__file__).with_name("evaluation.yaml"))


def said(text: str) -> str:
    """Returns what an answer says. Of JSON, the value of "answer" or the like counts where there is one, and what explains it
    does not. NoAnswer: the answer is cut in its thoughts.

    >>> said('<think>A or B?</think><answer>{"reasoning": "Not A.", "answer": "B"}</answer>')
    'B'
    """
    text = _FENCE.sub("", unwrapped(text)).strip()
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
    """A JSON object in words; None where it cannot be read."""
    try:
        return _told(json_value(text.encode("utf-8", "replace")))
    except Unreadable:
        return None


def _told(value: object) -> str:
    """A value of JSON in words: `key: value` for what an object holds, `no key` where that is false."""
    if isinstance(value, list):
        numbers = value and all(isinstance(each, int | float) for each in value)
        return f"[{', '.join(map(str, value))}]" if numbers or not value else ", ".join(map(_told, value))
    if not isinstance(value, dict):
        return "" if value is None else str(value)
    held = {key.replace("_", " ").strip(): each for key, each in value.items()}
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
