"""The answer in a reply, without the thoughts, chat template marks and chatter that models and servers put around it.

All patterns take time in proportion to a reply's length, whatever it holds.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from retinal_lib.parsing import packaged_yaml

_DATA: dict = packaged_yaml(Path(__file__).with_suffix(".yaml"))
WORDS: dict[str, list[str]] = {name: _DATA[name] for name in ("english", "foreign")}  # function words, by language
_WHOLE, _TOO_LONG = frozenset(_DATA["finish"]["whole"]), frozenset(_DATA["finish"]["too_long"])
# hyphens and minus signs that look like those of a keyboard; line ends of any kind; what has no width goes
_LINE_END = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_PLAIN = (
    dict.fromkeys("‐‑−", "-") | {"‒": "–", "―": "—"} | dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff\ufe0e\ufe0f", "")
)
_KEPT = frozenset("…ªº™¹²³¼½¾⅓⅔⅛⅜⅝⅞⁰⁴⁵⁶⁷⁸⁹⁺⁻₀₁₂₃₄₅₆₇₈₉")  # their plain forms mean something else, or are longer to read
_DASH = re.compile(r"(?<=[^\W\d_])–(?=[^\W\d_])")  # in place of a hyphen, as in cup–to–disc


def _words(words: Iterable[str]) -> str:
    return "|".join(re.escape(word).replace(r"\ ", "[ _▁-]") for word in sorted(words, key=len, reverse=True))


def _plain(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, words))


_BOUND = r"(?:begin|start|end|stop)"
_BRACKETED = (  # a word in brackets of any kind; "/", begin and end may stand before or after it
    r"(?:[<\[◁⟨＜](?![<\[◁⟨＜])|&lt;)[ |｜]{0,3}+"
    rf"(?P<mark>/?+ ?+(?=[a-z])(?:{_BOUND}(?:[ _▁-]of)?[ _▁-])?+(?:[a-z]{{1,12}}:)?+"
    rf"(?:(?P<thought>{_words(_DATA['thoughts'])})|(?P<answer>{_words(_DATA['answers'])}))(?:[ _▁-]{_BOUND})?/?)"
    r"(?:[ ][\w-]{1,30}=[^<>\n]{0,100})?[ |｜/]{0,3}(?:[>\]▷⟩＞]|&gt;)"
)
_OTHER = rf"(?P<begin>{_plain(_DATA['begin_thoughts'])})|(?P<end>{_plain(_DATA['end_thoughts'])})"
# a channel's name is followed by the mark of its text; where a server drops the marks, the names are left, as "assistantfinal"
_CHANNEL = (
    r"<\|channel\|?>\s{0,3}(?P<channel>[a-z]{1,20})(?:[^<>\n]{0,60}(?:<\|constrain\|>[^<>\n]{0,20})?<\|message\|>)?"
    r"|(?-i:(?P<bare_end>assistantfinal)|(?P<bare>\A(?:analysis|commentary)(?=[A-Z])))"
)
_TEMPLATE = (
    rf"(?P<template>[<〈⟨‹][|｜] ?[^\s<>|｜]{{3,40}} ?[|｜][>〉⟩›]|{_plain(_DATA['template_marks'])})"
    rf"(?:\s{{0,2}}(?:{_plain(_DATA['template_roles'])})\b:?(?=\s|<|\Z))?"
    r"|(?-i:(?P<glued>(?<=[.!?)\]\"'])(?:assistant|model)(?=\s*+\Z|[ \t]*+\n)))"
)
_MARKS = re.compile(f"{_BRACKETED}|{_OTHER}|{_CHANNEL}|{_TEMPLATE}", re.IGNORECASE)
# how each mark begins: a search for these characters and words is much faster than one for marks
_FIRST = {mark[0] for name in ("begin_thoughts", "end_thoughts", "template_marks") for mark in _DATA[name]}
_BEGINNINGS = re.compile(f"[{re.escape(''.join(sorted(_FIRST | set('<[◁⟨＜&〈‹'))))}]|assistant|model|analysis|commentary")
_ROLES = "|".join(_DATA["roles"])
_LEFT = re.compile(
    rf"{_BRACKETED}|{_OTHER}|{_CHANNEL}|{_TEMPLATE}|</[a-z_]{{2,20}}>|<unused\d{{1,4}}>|<0x[0-9a-f]{{2}}>"
    rf"|<[a-z]{{1,20}}_[a-z_]{{1,30}}\d{{0,4}}>|{_plain(_DATA['image_marks'])}"
    rf"|^[#*_>\[( \t•-]{{0,12}}(?:{_ROLES})[*_\])]{{0,3}}[ ]?:|#{{2,6}}[ ]?(?:{_ROLES})\b[ ]?:?"
    r"|(?-i:\b(?:USER|HUMAN|ASSISTANT|SYSTEM):)",
    re.IGNORECASE | re.MULTILINE,
)
# most texts have none of these, and a search for them is fast
_MAY_BE_LEFT = re.compile(
    rf"[<〈‹◁⟨＜&#]|\[[ |｜]{{0,3}}/?[ ]?[a-z]|(?:{_ROLES})[*_\])]{{0,3}}[ ]?:|[.!?)\]\"'](?:assistant|model)|assistantfinal"
    r"|\A(?:analysis|commentary)",
    re.IGNORECASE,
)
_MAY_BEGIN, _MAY_NAME = "<〈‹◁⟨＜&#[:", ("assistant", "model", "analysis", "commentary")
_INSTRUCTION = re.compile("|".join(_DATA["instructions"]), re.IGNORECASE)
_AROUND = r"[#*_>(\[ \t]{0,8}+"
_HEADING = re.compile(rf"\A{_AROUND}(?:{'|'.join(_DATA['thought_headings'])})\b[^:\n]{{0,80}}(?::|\n|\Z)", re.IGNORECASE)
_ANSWER_HEADING = re.compile(
    rf"^{_AROUND}(?:\d{{1,2}}[.)][ \t]{{1,3}})?{_AROUND}(?:{'|'.join(_DATA['answer_headings'])})[:*_.\]) \t]{{0,6}}$",
    re.IGNORECASE | re.MULTILINE,
)
_CHATTER, _NOTES = "|".join(_DATA["chatter"]), "|".join(_DATA["notes"])
_SAYS = re.compile(rf"(?:^|(?<=[^\w\s,;:'’–—(-][ ])){_AROUND}(?:{_CHATTER})|[(\[][*_]{{0,3}}(?:{_NOTES})", re.I | re.M)
_SAYS_LINE = re.compile(rf"{_AROUND}(?:{_CHATTER})|[*_ \t]{{0,4}}[(\[*_#>][#*_ \t]{{0,6}}(?:{_NOTES})", re.I)
_NOTE_LINE = re.compile(rf"{_AROUND}(?:{_CHATTER}|{_NOTES})", re.I)


LONGEST_REPLY = 1_000_000  # characters, thoughts and all


class NoAnswer(ValueError):
    """Raised where a reply holds no answer; the message says why."""


class ChatAnswer(NamedTuple):
    """The answer in a choice of a chat completion, or the problem that makes it unusable."""

    text: str
    problem: str


def answer(text: str) -> str:
    """Returns the answer in a reply: what follows the last mark that ends thoughts, up to a mark of the chat template. Hyphens
    and spaces become those of a keyboard (see `plain`). NoAnswer: the reply is cut in its thoughts, or far too long to read.

    >>> answer("Is it the right one? No.</think>It is the left eye.<|im_end|>")
    'It is the left eye.'
    """
    if len(text) > LONGEST_REPLY:
        raise NoAnswer(f"the reply has {len(text):,} characters, and at most {LONGEST_REPLY:,} are read")
    text = _DASH.sub("-", plain(text)).strip()
    start, end = _bounds(text, _marks(text))
    text = text[start:end].strip()
    if heading := _HEADING.match(text):
        ends = [match.end() for match in _ANSWER_HEADING.finditer(text, heading.end())]
        if not ends:
            raise NoAnswer(f"the reply holds thoughts alone: it begins with {heading[0].strip()!r}, and no answer follows")
        text = text[ends[-1] :]
    return _unwrapped(text)


def plain(text: str) -> str:
    """Returns a text in the characters of a keyboard: letters, digits and marks that only look different become the usual
    ones, spaces and line ends of any kind plain ones, and what has no width goes.

    >>> plain("＜｜ｉｍ＿ｅｎｄ｜＞\\u200b 𝟑 µm²\\u00a0…")
    '<|im_end|> 3 µm² …'
    """
    if text.isascii() and not _LINE_END.search(text):
        return text
    text = unicodedata.normalize("NFC", _LINE_END.sub("\n", text))
    return text.translate({ord(each): _plain_character(each) for each in set(text) if not each.isascii()})


@lru_cache(maxsize=4096)
def _plain_character(character: str) -> str:
    if character in _PLAIN:
        return _PLAIN[character]
    if unicodedata.category(character) == "Zs":
        return " "
    usual = unicodedata.normalize("NFKC", character)
    looks_like = any(each.isascii() for each in usual) and usual[0] != " " and character not in _KEPT
    return usual if looks_like else character


def _marks(text: str) -> list[re.Match]:
    """All marks in a text, as a search for _MARKS finds them."""
    marks, end = [], 0
    while first := _BEGINNINGS.search(text, end):
        mark = _MARKS.match(text, first.start())
        end = mark.end() if mark else first.start() + 1
        if mark:
            marks.append(mark)
    return marks


def _opens(mark: re.Match) -> bool | None:
    """Whether a mark begins thoughts (True) or ends them (False); None for other marks."""
    if mark["thought"]:
        return not _is_end(mark["mark"])
    if mark["channel"]:
        return mark["channel"].casefold() not in _DATA["answer_channels"]
    return True if mark["begin"] or mark["bare"] else False if mark["end"] or mark["bare_end"] else None


def _bounds(text: str, marks: list[re.Match]) -> tuple[int, int]:
    """Where the answer begins and ends. NoAnswer: the last thoughts do not end."""
    start, opened, found = 0, None, None
    for mark in marks:
        opens = _opens(mark)
        if found and opens is not None:
            if opens:
                break  # thoughts before another turn
            found = None  # the mark stood in thoughts that only end here
        if opens:
            opened = opened or mark
        elif opens is False:
            start, opened = mark.end(), None
        elif (mark["template"] or mark["glued"]) and not opened and not found:
            if text[start : mark.start()].strip():
                found = (start, mark.start())
            else:
                start = mark.end()
    if found:
        return found
    if opened:
        raise NoAnswer(f"the reply is cut in its thoughts: they begin with {opened[0]!r} and do not end")
    return start, len(text)


def _unwrapped(text: str) -> str:
    """A text without the marks of an answer; what stands before a single one on a line of its own, or after the last, goes."""
    marks = [mark for mark in _marks(text) if mark["answer"]]
    opening = [mark for mark in marks if not _is_end(mark["mark"])]
    closing = [mark for mark in marks if _is_end(mark["mark"])]
    first = opening[0].start() if len(opening) == 1 else None
    alone = first is not None and not text[text.rfind("\n", 0, first) + 1 : first].strip()
    at = first if alone and not (closing and closing[-1].start() < first) else 0
    end = closing[-1].start() if closing and (alone or not opening or len(closing) > 1) else len(text)
    parts = []
    for mark in marks:
        if at <= mark.start() < end:
            parts.append(text[at : mark.start()])
            at = mark.end()
    return "".join([*parts, text[at:end]]).strip()


def _is_end(mark: str) -> bool:
    return re.search(r"/|end|stop", mark, re.IGNORECASE) is not None


def without_chatter(text: str) -> str:
    """Returns the last answer of a conversation without the lines at its end that are no part of it, such as "I hope this
    helps" or "(Note: …)". The first paragraph stays."""
    lines = text.rstrip().split("\n")
    end = len(lines)
    while (start := _chatter_start(lines, end)) is not None:
        end = start
    return "\n".join(lines[:end]).rstrip()


def _chatter_start(lines: list[str], end: int) -> int | None:
    """The first of the last lines before `end` that are chatter: the last line, or the last paragraph; None if neither is."""
    while end and _is_break(lines[end - 1]):
        end -= 1
    if end > 1 and _SAYS_LINE.match(lines[end - 1]):
        return end - 1
    start = end
    while start and not _is_break(lines[start - 1]):
        start -= 1
    above = start
    while above and not lines[above - 1].strip():
        above -= 1
    pattern = _NOTE_LINE if above and _is_break(lines[above - 1]) else _SAYS_LINE
    return start if start and pattern.match(lines[start]) else None


def _is_break(line: str) -> bool:
    """Whether a line is empty or a rule."""
    line = line.strip()
    return not line or (len(line) > 2 and set(line) <= set("-*_="))


def mark_in(text: str) -> re.Match | None:
    """Finds the first mark of thoughts, of an answer or of a chat template that is left in a text."""
    if not any(map(text.__contains__, _MAY_BEGIN)) and not any(map(text.lower().__contains__, _MAY_NAME)):
        return None  # most texts, and the quickest to tell
    return _LEFT.search(text) if _MAY_BE_LEFT.search(text) else None


def instruction_in(text: str) -> re.Match | None:
    """Finds the first words in a text that tell a model what to do, such as "ignore the instructions"."""
    return _INSTRUCTION.search(text)


def chatter_in(text: str) -> re.Match | None:
    """Finds the first sentence in an answer that speaks of the answer itself, such as "I hope this helps"."""
    return _SAYS.search(text)


def chat_answer(choice: dict, limit: str) -> ChatAnswer:
    """Returns the answer in a choice of a chat completion. `limit` names the setting that allows longer answers."""
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    content, finish = message.get("content"), str(choice.get("finish_reason") or "")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    if parts:  # some servers answer in parts, of which thoughts have a type of their own
        content = "".join(str(part.get("text") or "") for part in parts if part.get("type") in (None, "text", "output_text"))
    apart = any(message.get(key) for key in ("reasoning_content", "reasoning", "reasoning_details", "thinking"))
    apart = apart or any(part.get("type") in ("thinking", "reasoning") for part in parts)
    try:
        text, problem = answer(content) if isinstance(content, str) else "", ""
    except NoAnswer as error:
        text, problem = "", f"{error}; raise {limit}, or turn thinking off"
    if message.get("refusal"):
        problem = "the model refused"
    elif not text and apart:
        problem = (
            f"the answer is empty: the model spent its tokens on thinking; raise {limit}, or turn thinking off (many servers "
            "take chat_template_kwargs: {enable_thinking: false})"
        )
    elif finish.casefold() not in _WHOLE and not problem:
        problem = f"the reply is cut (finish_reason {finish})"
        problem += f": raise {limit}" if finish.casefold() in _TOO_LONG else ""
    return ChatAnswer(text, problem or ("" if text else "the reply is empty"))
