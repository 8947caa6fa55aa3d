"""The form of a conversation: order of messages, place of the image, turns, length, cut answers, what may not stand in training
text, and mentions of AI or data."""

import re
from collections.abc import Iterator
from functools import lru_cache

from retinal_lib.check.findings import ERROR, WARNING, Finding
from retinal_lib.check.language.lexicon import word_lists
from retinal_lib.conversation import CONSULT_WORDS, IMAGE, TURNS
from retinal_lib.text import reply_text, training_text

WORDS = word_lists("form")

_SPARE = 10  # words over the limit that are a warning only
_MACHINE = re.compile(
    r"\b(?:as an? (?:\w+ )?(?:ai|artificial intelligence|language model|assistant)\b|(?:large )?language model"
    r"|i(?:'m| am) (?:an? )?(?:ai|artificial intelligence|assistant|language model)"
    r"|(?:virtual|digital|ai|automated|computer) assistant|chat ?bot|my training(?: data)?\b"
    r"|i (?:cannot|can't|am unable to|do not have the ability to) (?:actually |really |directly )?"
    r"(?:view|see|open|access|process) (?:the |this |your )?(?:actual )?(?:image|picture|photo|photograph)s?\b)",
    re.I,
)
_HANDED = (
    r"(?:given|provided|hidden|supplied|available|input|listed|accompanying|underlying|structured|above|attached|"
    r"dataset's|following)"
)
_STORE = (
    r"(?:data|facts?|information|description|annotations?|metadata|meta-data|csv|table|spreadsheet|dataset|label file|labels|"
    r"measurements|ground truth|instructions|prompt|context|details|json)"
)
_DATA = re.compile(
    rf"\b(?:(?:{_HANDED}) {_STORE}"
    rf"|{_STORE} (?:that )?(?:you |i )?(?:was |were |have been |had been )?(?:given|provided|supplied|shared|gave|listed)"
    r"|(?:according to|based on|per|from|in) the (?:data|facts|annotations?|metadata|csv|table|spreadsheet|dataset|labels?|"
    r"description|instructions|prompt|label file|ground truth)\b"
    r"|the (?:description|annotations?|metadata|record sheet|data|facts|prompt|input|file) "
    r"(?:says?|states?|notes?|mentions?|lists?|shows?|gives?|tells?|indicates?)|(?:my|the|your) instructions"
    r"|hidden|csv|spreadsheet|the dataset|label file|ground[- ]truth|metadata)\b",
    re.I,
)
# a text without any of these words mentions neither; to look for them is faster
_MACHINES = frozenset("ai artificial language assistant chat chatbot training cannot can am do".split())
_STORES = frozenset(
    "data fact facts information description annotation annotations metadata meta csv table spreadsheet dataset label labels "
    "measurements ground truth instructions prompt context details json sheet input file hidden".split()
)
_WORDS = re.compile(r"[a-z]+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|[¼½¾]")
_ENDS = tuple(".!?:)]\"'’”*`%|")
_ITEM = re.compile(r"\s*(?:[-*•+]|\d+[.)]|#|\||\*\*)")


def check(parts: list[tuple[str, str]], track: str | None, style: str | None) -> list[Finding]:
    """Returns what is wrong with the form of (from, value) parts; the kinds begin with 'form'. Of a conversation that is too
    long to be read, `form_size` alone."""
    if not parts:
        return [_finding("form_empty", 1, "the conversation is empty")]
    if too_long := _size(parts):
        return too_long
    findings = [*_order(parts), *_image(parts), *_turns(parts, track)]
    whole = training_text.unfit_whole([value.replace(IMAGE, "") for _, value in parts])
    findings += [_finding(f"form_{found.kind}", 1, found.why) for found in whole]
    for i, (who, value) in enumerate(parts):
        text = value.replace(IMAGE, " " * len(IMAGE))  # spans stay those of the value
        if not text.strip():
            findings.append(_finding("form_empty", i, f"the {_name(i, who)} of turn {i // 2 + 1} is empty", who=who))
            continue
        findings += [_finding(kind, i, says, span, who=who) for kind, span, says in _out_of_place(text, who)]
        if who == "gpt" and _cut(text.rstrip()):
            says = f"the answer of turn {i // 2 + 1} breaks off: …{value[-30:]!r}"
            findings.append(_finding("form_cut", i, says, (max(0, len(value) - 20), len(value)), who=who))
    return [*findings, *_length(parts, style)]


@lru_cache(maxsize=4096)  # questions recur, and short answers
def _out_of_place(text: str, who: str) -> tuple[tuple[str, tuple[int, int], str], ...]:
    """What may not stand in a text: kind, place and what is wrong with it."""
    unfit = [(f"form_{found.kind}", found.span, found.why) for found in training_text.unfit(text)]
    return *unfit, *((kind, match.span(), f"{match[0]!r} {says}") for kind, match, says in _phrases(text, who))


def _phrases(text: str, who: str) -> Iterator[tuple[str, re.Match, str]]:
    """The first words of each kind that speak of something else than the image."""
    words = set(_WORDS.findall(text.lower()))
    if not words.isdisjoint(_MACHINES) and (match := _MACHINE.search(text)):
        yield "form_machine", match, "mentions being an AI"
    if not words.isdisjoint(_STORES) and (match := _DATA.search(text)):
        yield "form_data", match, "mentions the data behind the image"
    if who == "gpt" and (match := reply_text.chatter_in(text)):
        yield "form_chatter", match, "is no part of a conversation about the image"


def _size(parts: list[tuple[str, str]]) -> list[Finding]:
    """What makes a conversation too long for the other checks to read."""
    turns, most = (len(parts) + 1) // 2, training_text.LONGEST
    if turns > training_text.MOST_TURNS:
        return [_finding("form_size", 0, f"the number of turns is {turns}, and at most {training_text.MOST_TURNS} are read")]
    text = " ".join(value for _, value in parts)
    for size, limit, what in (
        (len(text), training_text.LONGEST_TALK, "characters"),
        (len(_NUMBER.findall(text)) if len(text) > training_text.MOST_NUMBERS else 0, training_text.MOST_NUMBERS, "numbers"),
    ):
        if size > limit:
            return [_finding("form_size", 0, f"the conversation has {size:,} {what}, and at most {limit:,} are read")]
    return [
        _finding("form_size", i, f"the {_name(i, who)} of turn {i // 2 + 1} has {len(value):,} characters; at most {most:,}")
        for i, (who, value) in enumerate(parts)
        if len(value) > most
    ]


def _name(i: int, who: str = "") -> str:
    return "question" if who == "human" or not (who or i % 2) else "answer"


def _finding(kind: str, i: int, text: str, span: tuple[int, int] = (0, 0), severity: str = ERROR, who: str = "") -> Finding:
    return Finding(kind, severity, i // 2 + 1, span, text, None, _name(i, who))


def _order(parts: list[tuple[str, str]]) -> list[Finding]:
    for i, (who, _) in enumerate(parts):
        expected = "gpt" if i % 2 else "human"
        if who != expected:
            return [_finding("form_order", i, f"message {i + 1} is from {who!r}, but should be from {expected!r}", who=who)]
    return [_finding("form_order", len(parts) - 1, "the last question has no answer")] if len(parts) % 2 else []


def _image(parts: list[tuple[str, str]]) -> list[Finding]:
    """Checks that the image occurs once, as the first or last line of the first question."""
    count, first = sum(value.count(IMAGE) for _, value in parts), parts[0][1].strip()
    if count != 1:
        place = next((i for i, (_, value) in enumerate(parts) if IMAGE in value and i), 0)
        return [_finding("form_image", place, f"{IMAGE} occurs {count} times, but must occur once")]
    if first.startswith(f"{IMAGE}\n") or first.endswith(f"\n{IMAGE}"):
        return []
    place = next(i for i, (_, value) in enumerate(parts) if IMAGE in value)
    return [_finding("form_image", place, f"{IMAGE} must be the first or last line of the first question")]


def _turns(parts: list[tuple[str, str]], track: str | None) -> list[Finding]:
    if track is None:
        return []
    (low, high), count = TURNS[track], (len(parts) + 1) // 2
    if low <= count <= high:
        return []
    severity = ERROR if high == 1 or count == 1 else WARNING
    expected = str(low) if low == high else f"{low} to {high}"
    last = 2 * max(1, min(count, high)) - 2
    return [_finding("form_turns", last, f"the number of turns is {count}, but should be {expected}", severity=severity)]


def _length(parts: list[tuple[str, str]], style: str | None) -> list[Finding]:
    if style != "consult" or len(parts) < 2 or (words := len(parts[1][1].split())) <= CONSULT_WORDS:
        return []
    severity = ERROR if words > CONSULT_WORDS + _SPARE else WARNING
    return [
        _finding("form_length", 1, f"the answer has {words} words, but should have at most {CONSULT_WORDS}", severity=severity)
    ]


def _cut(text: str) -> bool:
    """Whether an answer breaks off: no end of a sentence, though it is no short phrase and no list."""
    if text.endswith(("...", "…")) or text.count("[") > text.count("]") or text.count("(") > text.count(")"):
        return True
    if text.endswith(_ENDS):
        return False
    last = text.rpartition("\n")[2]
    words = last.split()
    if words[-2:] == ["looked", "for"]:
        return False
    if words[-1].lower() in WORDS.function or text[-1] in ",;-–—(/":
        return True
    return not _ITEM.match(last) and "|" not in last and len(words) > 6
