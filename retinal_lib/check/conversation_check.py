"""A conversation read against its case: what is supported, by which fact, and what is not."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from retinal_lib.check import form
from retinal_lib.check.case_profile import CaseProfile
from retinal_lib.check.diseases import Diseases, Grades, Normality
from retinal_lib.check.findings import ERROR, WARNING, AnswerFindings, Finding, Trace
from retinal_lib.check.image_and_person import ImageAndPerson
from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import Reading, word_lists
from retinal_lib.check.leaks import Leaks
from retinal_lib.check.ledger import Ledger
from retinal_lib.check.lesion_locations import LesionLocations
from retinal_lib.check.number_check import Comparisons, NumberCheck
from retinal_lib.check.unsupported import Unsupported
from retinal_lib.conversation import IMAGE
from retinal_lib.facts import Case, Fact

WORDS = word_lists("conversation_check")

VERSION = 4  # rises with every change of what is found; a run records it
# A new check is one more class here. Their order is that of findings about the same words.
CHECKS = (Leaks, NumberCheck, Diseases, Grades, Normality, ImageAndPerson, Comparisons, LesionLocations, Unsupported)
_DEMANDED = ("image", "quality", "disease", "lesion", "vascular")
_TOUCHED = {
    "quality": "quality",
    "gradable": "quality",
    "conditions": "disease",
    "normal": "disease",
    "disorder": "disease",
    "modalities": "image",
}

_NOT_VASCULAR = frozenset("grade count area box age".split())  # measures of something else than vessels and disc


class Checked(NamedTuple):
    """What a reading of a conversation comes to; `touched` are the aspects that each turn speaks of."""

    findings: list[Finding]
    traces: list[Trace]
    touched: list[set[str]]


def check(
    conversation: Sequence[dict[str, str]], case: Case, track: str | None = None, style: str | None = None
) -> list[Finding]:
    """What is wrong with a conversation ([{"from": "human" or "gpt", "value": text}, ...]), in order of turns; nothing where
    all is well. Without `track` the number of turns is not judged, without `style` the length is not."""
    return examine(conversation, case, track, style).findings


def examine(conversation: Sequence[dict[str, str]], case: Case, track: str | None = None, style: str | None = None) -> Checked:
    """Checks a conversation as `check` does; returns the traces to facts, too."""
    parts = [(part["from"], part["value"]) for part in conversation]
    found, traces = form.check(parts, track, style), []
    touched: list[set[str]] = []
    questions: list[Reading] = []
    answers: list[Reading] = []
    profile, ledger = CaseProfile(case), Ledger(case)
    checks = [check(profile, ledger) for check in CHECKS]
    question = Reading("")
    for i, (who, value) in enumerate(parts):
        text = Reading(value.replace(IMAGE, " " * len(IMAGE)))  # spans stay those of the value
        findings = AnswerFindings(i // 2 + 1, text, "question" if who == "human" else "answer")
        if who == "human":
            question = text
            for each in checks:
                each.question(question, findings)
        else:
            for each in checks:
                each.answer(text, question, findings)
            traces += findings.traces
            touched.append({trace.fact.aspect for trace in findings.traces} | _spoken_of(text))
            questions.append(question)
            answers.append(text)
        found += findings.findings
    found += _coverage(case, touched, traces, questions, answers, track, style)
    return Checked(sorted(found, key=lambda f: (f.turn, f.part != "question", f.span)), traces, touched)


def _spoken_of(text: Reading) -> set[str]:
    """The aspects that an answer speaks of, whether or not a fact holds what it says."""
    found = {_TOUCHED[kind] for kind in text.by_kind if kind in _TOUCHED}
    if any(_NOT_VASCULAR.isdisjoint(t.values) for t in text.of("measures")):
        found.add("vascular")
    if text.has({"quality"}):
        found.add("quality")
    if text.has({"fundus", "photograph"}):
        found.add("image")
    return found


def _coverage(
    case: Case,
    touched: list[set[str]],
    traces: list[Trace],
    questions: list[Reading],
    answers: list[Reading],
    track: str | None,
    style: str | None,
) -> list[Finding]:
    """Aspects that the facts allow but no answer speaks of, and aspects that are asked twice."""
    if style == "consult" or not touched or (track is None and len(touched) == 1):
        return []
    spoken = set().union(*touched)
    if "lesion" not in spoken and any(t.fact.aspect == "lesion" for t in traces):
        spoken.add("lesion")
    last, present = len(touched), {fact.aspect for fact in case.facts}
    demanded = _DEMANDED if last > 1 else _DEMANDED[:-1]  # the alignment track states no measurements
    found = []
    for aspect in demanded:
        if aspect in present and aspect not in spoken and not _worded(case, aspect, answers):
            says = f"no answer speaks of the aspect {aspect!r}, which has facts"
            found.append(Finding("coverage_missing", WARNING, last, (0, 0), says))
    return [*found, *_twice(traces, questions)]


def _worded(case: Case, aspect: str, answers: list[Reading]) -> bool:
    """Whether the answers have most of the words of a fact of an aspect, as where facts are free text."""
    words = {word for answer in answers for word in answer.words}
    for fact in case.about(aspect):
        told = {word for word in lexicon.read(fact.words or fact.text).words if len(word) > 2}
        if told and len(told & words) > 0.6 * len(told):
            return True
    return False


def _twice(traces: list[Trace], questions: list[Reading]) -> list[Finding]:
    """Turns whose question is nearly that of an earlier one, or whose answer rests on the very facts of an earlier one."""
    found = []
    asked = [frozenset(q.words) - WORDS.common for q in questions]
    after = [{v for t in q.of("asks") for v in t.values} for q in questions]
    held: dict[int, set[Fact]] = {turn: set() for turn in range(len(asked))}
    for trace in traces:
        held.setdefault(trace.turn - 1, set()).add(trace.fact)
    for later in range(1, len(asked)):
        for earlier in range(later):
            both = len(asked[later] & asked[earlier]) / (len(asked[later] | asked[earlier]) or 1)
            same = held[later] and held[later] <= held[earlier]
            if (both > 0.6 and (same or not held[later])) or (same and (both > 0.25 or after[later] & after[earlier])):
                text = f"turn {later + 1} asks what turn {earlier + 1} asked"
                found.append(Finding("coverage_twice", WARNING, later + 1, (0, 0), text, None, "question"))
                break
    return found


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that keep a conversation out."""
    return [finding for finding in findings if finding.severity == ERROR]
