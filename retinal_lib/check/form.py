"""The form of a conversation: who speaks when, the image's place, turns, length, cut answers, words that break the scene."""

import re

from retinal_lib.check.findings import ERROR, WARNING, Finding
from retinal_lib.check.language.lexicon import word_lists
from retinal_lib.conversation import CONSULT_WORDS, IMAGE, TURNS

WORDS = word_lists("form")

_SPARE = 10  # words beyond which a short answer is no longer let pass
_MACHINE = re.compile(
    r"\b(?:as an? (?:\w+ )?(?:ai|artificial intelligence|language model|assistant)\b|(?:large )?language model"
    r"|i(?:'m| am) (?:an? )?(?:ai|artificial intelligence|assistant|language model)"
    r"|(?:virtual|digital|ai|automated|computer) assistant|chat ?bot|my training(?: data)?\b"
    r"|i (?:cannot|can't|am unable to|do not have the ability to) (?:actually |really |directly )?"
    r"(?:view|see|open|access|process) (?:the |this |your )?(?:actual )?(?:image|picture|photo|photograph)s?\b)",
    re.I,
)
# one of these is in every text that the pattern finds something in; to look for them first is many times as fast
_MACHINE_HINTS = (" ai", "model", "assistant", "artificial", "training", "chat", "ability", "cannot", "can't", "unable")
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
_DATA_HINTS = (
    *("data", "fact", "information", "description", "annotation", "csv", "table", "spreadsheet", "label", "measurement"),
    *("truth", "instruction", "prompt", "context", "details", "json", "record sheet", "input", "file", "hidden"),
)
_SPOKEN = (
    ("form_machine", _MACHINE, _MACHINE_HINTS, "mentions being an AI"),
    ("form_data", _DATA, _DATA_HINTS, "mentions the data behind the image"),
)
_ENDS = tuple(".!?:)]\"'’”*`%|")
_ITEM = re.compile(r"\s*(?:[-*•+]|\d+[.)]|#|\||\*\*)")


def check(parts: list[tuple[str, str]], track: str | None, style: str | None) -> list[Finding]:
    """What is wrong with the form of (from, value) parts; their kinds begin with 'form'."""
    if not parts:
        return [Finding("form_empty", ERROR, 1, (0, 0), "the conversation is empty")]
    found = [*_order(parts), *_image(parts), *_turns(parts, track)]
    for i, (who, value) in enumerate(parts):
        turn, part = i // 2 + 1, "question" if who == "human" else "answer"
        text = value.replace(IMAGE, "")
        if not text.strip():
            found.append(Finding("form_empty", ERROR, turn, (0, 0), f"the {part} of turn {turn} is empty", None, part))
            continue
        holds = value.lower().__contains__
        for kind, pattern, hints, says in _SPOKEN:
            if any(map(holds, hints)) and (said := pattern.search(value)):
                found.append(Finding(kind, ERROR, turn, said.span(), f"{said[0]!r} {says}", None, part))
        if who == "gpt" and _cut(text.rstrip()):
            span, says = (max(0, len(value) - 20), len(value)), f"the answer of turn {turn} breaks off: …{value[-30:]!r}"
            found.append(Finding("form_cut", ERROR, turn, span, says))
    return [*found, *_length(parts, style)]


def _order(parts: list[tuple[str, str]]) -> list[Finding]:
    for i, (who, _) in enumerate(parts):
        expected = "gpt" if i % 2 else "human"
        if who != expected:
            part = "question" if who == "human" else "answer"
            return [
                Finding(
                    "form_order", ERROR, i // 2 + 1, (0, 0), f"part {i + 1} is from {who!r}, expected {expected!r}", None, part
                )
            ]
    if len(parts) % 2:
        return [Finding("form_order", ERROR, len(parts) // 2 + 1, (0, 0), "the last question has no answer", None, "question")]
    return []


def _image(parts: list[tuple[str, str]]) -> list[Finding]:
    """The image stands once, as the first or last line of the first question."""
    count = sum(value.count(IMAGE) for _, value in parts)
    if count != 1:
        place = next((i for i, (_, value) in enumerate(parts) if IMAGE in value and i), 0)
        text = f"{IMAGE} stands {count} times, expected once"
        return [Finding("form_image", ERROR, place // 2 + 1, (0, 0), text, None, "answer" if place % 2 else "question")]
    first = parts[0][1].strip()
    if not (first.startswith(f"{IMAGE}\n") or first.endswith(f"\n{IMAGE}")):
        place = next(i for i, (_, value) in enumerate(parts) if IMAGE in value)
        text = f"{IMAGE} must be the first or last line of the first question"
        return [Finding("form_image", ERROR, place // 2 + 1, (0, 0), text, None, "answer" if place % 2 else "question")]
    return []


def _turns(parts: list[tuple[str, str]], track: str | None) -> list[Finding]:
    if track is None:
        return []
    (low, high), count = TURNS[track], (len(parts) + 1) // 2
    if low <= count <= high:
        return []
    severity = ERROR if high == 1 or count == 1 else WARNING
    wanted = str(low) if low == high else f"{low} to {high}"
    return [
        Finding("form_turns", severity, max(1, min(count, high)), (0, 0), f"{count} turns, expected {wanted}", None, "question")
    ]


def _length(parts: list[tuple[str, str]], style: str | None) -> list[Finding]:
    if style != "consult" or len(parts) < 2 or (words := len(parts[1][1].split())) <= CONSULT_WORDS:
        return []
    severity = ERROR if words > CONSULT_WORDS + _SPARE else WARNING
    return [Finding("form_length", severity, 1, (0, 0), f"{words} words, expected at most {CONSULT_WORDS}")]


def _cut(text: str) -> bool:
    """Whether an answer breaks off: no end of a sentence, though it is no short phrase and no list."""
    if text.endswith(("...", "…")) or text.count("[") > text.count("]") or text.count("(") > text.count(")"):
        return True
    if text.endswith(_ENDS):
        return False
    last = text.rpartition("\n")[2]
    words = last.split()
    if words[-1].lower() in WORDS.function or text[-1] in ",;-–—(/":
        return True
    return not _ITEM.match(last) and len(words) > 6
