"""Answers with one small fault, planted into right ones: another number, the other eye, another diagnosis. Each is used only
where the checks find that fault, and where it contradicts a fact."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from retinal_lib import check
from retinal_lib.check.case_profile import ABSENT, CaseProfile
from retinal_lib.check.findings import Finding, Trace
from retinal_lib.check.language import glossary, lexicon
from retinal_lib.check.language.lexicon import ParsedText, Term
from retinal_lib.errors import UserError, quoted, unknown
from retinal_lib.facts import Case

KINDS = ("number", "side", "diagnosis")
_TRIES = 8  # of one kind in a conversation, each of which the checks read
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SIDES = {"left": "right", "right": "left", "OS": "OD", "OD": "OS"}
_SIDE = re.compile(rf"\b(?:{'|'.join(_SIDES)})\b", re.IGNORECASE)
_ADJECTIVE = re.compile(r"(?:ed|ic|al|ous|ive)$")  # no noun can stand in its place
_SEVERITY = re.compile(r"\b(?:mild|moderate|severe)\s+$", re.IGNORECASE)
_ARTICLE = re.compile(r"\b(?:a|an|some|the)\s+$", re.IGNORECASE)


@dataclass(frozen=True)
class Fault:
    """A fault in the answer of `turn` (from 1): the whole answer with it, the words before and after, and what the checks
    found."""

    kind: str
    turn: int
    answer: str
    before: str
    after: str
    findings: tuple[Finding, ...]


def shares(text: str) -> dict[str, float]:
    """Reads in which share of conversations faults are planted, by kind: `0.3` for all kinds together, or
    `number=0.2,side=0.1`. UserError: an unknown kind, or no share from 0 to 1.

    >>> shares("side=0.1")
    {'side': 0.1}
    """
    if "=" not in text:
        return dict.fromkeys(KINDS, _share(text) / len(KINDS))
    found = {}
    for part in text.split(","):
        kind, _, share = (piece.strip() for piece in part.partition("="))
        if kind not in KINDS:
            raise unknown("kind of planted fault", kind, KINDS)
        found[kind] = _share(share)
    return found


def _share(text: str) -> float:
    if not re.fullmatch(r"0*1(\.0*)?|0*(\.\d+)?|0+\.", text.strip()) or not text.strip():
        raise UserError(f"--planted is a share of the conversations from 0 to 1, such as 0.3, not {quoted(text)}")
    return float(text)


class Planter:
    """The maker of faults for the conversations of one run; `diagnoses` are those of its eyes, in words."""

    def __init__(self, track: str, style: str | None, diagnoses: Sequence[str]):
        self._track, self._style, self._diagnoses = track, style, sorted(filter(_is_diagnosis, set(diagnoses)))

    def plant(self, kind: str, conversation: list[dict[str, str]], case: Case, seed: str) -> Fault | None:
        """Returns a fault of a kind in a right conversation, the same for a seed; None where none can be planted."""
        read = check.examine(conversation, case, self._track, self._style)
        known = {(f.turn, f.kind, f.text) for f in read.findings}
        dice = random.Random(f"{kind} {seed}")
        places = list(self._places(kind, conversation, read.traces, CaseProfile(case), dice))
        for turn, (start, end), new in dice.sample(places, min(len(places), _TRIES)):
            answer = conversation[2 * turn - 1]["value"]
            wrong = answer[:start] + new + answer[end:]
            changed = [*conversation]
            changed[2 * turn - 1] = {"from": "gpt", "value": wrong}
            errors = check.errors(check.check(changed, case, self._track, self._style))
            found = tuple(f for f in errors if (f.turn, f.kind, f.text) not in known and _meets(f, start, start + len(new)))
            if found and all(f.turn == turn and f.part == "answer" for f in found):
                return Fault(kind, turn, wrong, answer[start:end], new, found)
        return None

    def _places(
        self, kind: str, conversation: list[dict[str, str]], traces: list[Trace], profile: CaseProfile, dice: random.Random
    ) -> Iterator[tuple[int, tuple[int, int], str]]:
        """Yields where an answer may be changed: (turn, span, new words)."""
        if kind == "side":
            for turn, part in enumerate(conversation[1::2], start=1):
                for word in _SIDE.finditer(part["value"]):
                    yield turn, word.span(), _in_case_of(_SIDES[_key(word[0])], word[0])
            return
        for trace in traces:
            if kind == "number" and trace.kind == "number" and "[" not in trace.text:
                for number in _NUMBER.finditer(trace.text):
                    span = (trace.span[0] + number.start(), trace.span[0] + number.end())
                    yield from ((trace.turn, span, new) for new in _other_numbers(number[0]))
            elif kind == "diagnosis" and trace.kind == "claim" and trace.fact.aspect in ("disease", "lesion"):
                answer = conversation[2 * trace.turn - 1]["value"]
                yield from self._other_diagnoses(trace, answer, profile, dice)

    def _other_diagnoses(
        self, trace: Trace, answer: str, profile: CaseProfile, dice: random.Random
    ) -> Iterator[tuple[int, tuple[int, int], str]]:
        """Other diagnoses of the run in place of one, where the labels deny them; and the same one, denied."""
        before = answer[: trace.span[0]]
        if trace.fact.scope == "patient" or not _is_diagnosis(trace.text) or _is_explained(trace, answer):
            return  # of a person's record: the other eye may have what this one has not
        article = _ARTICLE.search(before)
        denied = [word for word in self._diagnoses if word != trace.text and _is_denied(word, profile)]
        if article:
            yield trace.turn, (article.start(), trace.span[1]), _in_case_of(f"no {trace.text}", article[0])
        elif not _SEVERITY.search(before):  # such words do not go before every other diagnosis
            for word in dice.sample(denied, min(len(denied), 2)):
                yield trace.turn, trace.span, _in_case_of(word, trace.text)


def _is_explained(trace: Trace, answer: str) -> bool:
    """Whether words stand in an explanation of a term."""
    text = ParsedText(answer)
    spans = [text.span(Term(tokens.start, tokens.stop)) for tokens in glossary.sentences(text)]
    return any(start <= trace.span[0] < end for start, end in spans)


def _is_diagnosis(words: str) -> bool:
    """Whether words are the name of a condition and nothing else."""
    read = lexicon.read(words)
    whole = any((term.first, term.last) == (0, len(read.words)) for term in read.of("conditions"))
    return whole and not _ADJECTIVE.search(words.lower())


def _is_denied(words: str, profile: CaseProfile) -> bool:
    """Whether labels say that a condition is not there, or that it was looked for: what nobody looked for may be there."""
    terms = lexicon.read(words).of("conditions")
    states = [(profile.status_of(term.values)[0], profile.was_looked_for(term.values)) for term in terms]
    return all(status == ABSENT or (status is None and looked_for) for status, looked_for in states)


def _other_numbers(text: str) -> list[str]:
    """Numbers well apart from a number, with as many digits behind the point; the next ones of a small whole number."""
    digits, value = len(text.partition(".")[2]), float(text)
    values = [value + 1, value - 1] if not digits and value <= 5 else [value * 1.4, value * 0.6]
    return [new for new in (f"{other:.{digits}f}" for other in values) if new != text and float(new) >= 0]


def _key(word: str) -> str:
    return word.upper() if word.upper() in _SIDES else word.lower()


def _in_case_of(new: str, old: str) -> str:
    """New words that begin with a capital where the old ones do."""
    return new[:1].upper() + new[1:] if old[:1].isupper() else new


def _meets(finding: Finding, start: int, end: int) -> bool:
    """Whether a finding is about a span of its text, or about the whole text."""
    return finding.span == (0, 0) or (finding.span[0] < end and start < finding.span[1])
