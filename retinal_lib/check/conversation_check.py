"""The check of a conversation against the facts of its case."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from retinal_lib.check import form
from retinal_lib.check.added_details import AddedDetails
from retinal_lib.check.case_profile import CaseProfile
from retinal_lib.check.diseases import Diseases, Grades, Normality
from retinal_lib.check.findings import ERROR, WARNING, AnswerFindings, Finding, Trace
from retinal_lib.check.image_and_person import ImageAndPerson
from retinal_lib.check.language import glossary, lexicon, tables
from retinal_lib.check.language.lexicon import ParsedText, Term, word_lists
from retinal_lib.check.leaks import Leaks
from retinal_lib.check.lesion_locations import LesionLocations
from retinal_lib.check.number_check import Comparisons, NumberCheck
from retinal_lib.check.quantity_index import QuantityIndex
from retinal_lib.conversation import IMAGE, Turn, to_llava
from retinal_lib.dataset.lesions.wording import is_count
from retinal_lib.errors import UserError
from retinal_lib.facts import Case
from retinal_lib.text import reply_text

WORDS = word_lists("conversation_check")

VERSION = 24  # to be raised with every change of what the checks find; a run records it
# A new check is one more class here. Their order is that of findings about the same words.
CHECKS = (Leaks, NumberCheck, Diseases, Grades, Normality, ImageAndPerson, Comparisons, LesionLocations, AddedDetails)
_REQUIRED = ("image", "quality", "disease", "lesion", "vascular")
_ASPECT_OF = {
    "quality": "quality",
    "gradable": "quality",
    "conditions": "disease",
    "normal": "disease",
    "disorder": "disease",
    "modalities": "image",
}

_NOT_VASCULAR = frozenset("grade count area box age".split())  # measures of something else than vessels and disc


class Checked(NamedTuple):
    """The result of a check."""

    findings: list[Finding]
    traces: list[Trace]


def check(
    conversation: Sequence[dict[str, str]], case: Case, track: str | None = None, style: str | None = None
) -> list[Finding]:
    """Returns the findings of a conversation ([{"from": "human" or "gpt", "value": text}, ...]), in order of turns. Without
    `track` the number of turns is not checked, without `style` the length is not.

    >>> from pathlib import Path
    >>> from retinal_lib.facts import Case, Fact, Source
    >>> eye = Fact("eye", "eye", "left", "", "this is the left eye", Source("labels.csv", "1", "Eye"))
    >>> case = Case("mine", "1", "1.png", Path("1.png"), "all", None, "left", (eye,), ())
    >>> talk = [
    ...     {"from": "human", "value": "Which eye is this?\\n<image>"},
    ...     {"from": "gpt", "value": "It is the right eye. It shows drusen."},
    ... ]
    >>> for finding in check(talk, case):
    ...     print(finding.kind, finding.text, sep=": ")
    side: the answer names the right eye, but it is the left eye
    unsupported_disease: the answer says that 'drusen' is present, but no fact says so
    """
    return examine(conversation, case, track, style).findings


def examine(conversation: Sequence[dict[str, str]], case: Case, track: str | None = None, style: str | None = None) -> Checked:
    """Checks a conversation as `check` does; returns the traces to facts, too.

    >>> from pathlib import Path
    >>> from retinal_lib.facts import Case, Fact, Source
    >>> age = Fact("patient", "age", 61, "years", "the patient is 61 years old", Source("labels.csv", "1", "Age"))
    >>> case = Case("mine", "1", "1.png", Path("1.png"), "all", None, None, (age,), ())
    >>> talk = [{"from": "human", "value": "<image>\\nHow old?"}, {"from": "gpt", "value": "The person is 61 years old."}]
    >>> [(trace.text, trace.fact.source.column) for trace in examine(talk, case).traces]
    [('61 years old', 'Age')]
    """
    parts = [(part["from"], part["value"]) for part in conversation]
    found, traces, turns = form.check(parts, track, style), [], []
    if any(finding.kind == "form_size" for finding in found):
        return Checked(found, [])  # the other checks take too long for it
    profile, index = CaseProfile(case), QuantityIndex(case)
    checks = [each(profile, index) for each in CHECKS]
    question = ParsedText("")
    for i, (who, value) in enumerate(parts):
        flat = tables.flatten(value.replace(IMAGE, " " * len(IMAGE)))  # spans stay those of the value
        text = ParsedText(flat.text)
        findings = AnswerFindings(i // 2 + 1, text, "question" if who == "human" else "answer")
        if who == "human":
            question = text
            for each in checks:
                each.question(question, findings)
        else:
            for each in checks:
                each.answer(text, question, findings)
            _accept_explanations(findings)
            traces += [trace._replace(span=flat.place(trace.span)) for trace in findings.traces]
            turns.append((question, text))
        found += [finding._replace(span=flat.place(finding.span)) for finding in findings.findings]
    if turns and style != "consult" and (track is not None or len(turns) > 1):
        found += coverage(case, turns, traces)
    return Checked(sorted(found, key=lambda f: (f.turn, f.part != "question", f.span)), traces)


def _accept_explanations(findings: AnswerFindings) -> None:
    """Takes findings back within explanations of the glossary."""
    spans = [findings.text.span(Term(tokens.start, tokens.stop)) for tokens in glossary.sentences(findings.text)]
    if spans:
        findings.findings = [f for f in findings.findings if not any(a <= f.span[0] and f.span[1] <= b for a, b in spans)]


class _Turn(NamedTuple):
    question: ParsedText
    answer: ParsedText
    aspects: set[str]


def coverage(case: Case, texts: Sequence[tuple[ParsedText, ParsedText]], traces: Sequence[Trace]) -> list[Finding]:
    """Returns findings on what (question, answer) turns leave out, and on what they say twice."""
    turns = []
    for number, (question, answer) in enumerate(texts, start=1):
        traced = {trace.fact.aspect for trace in traces if trace.turn == number}
        turns.append(_Turn(question, answer, traced | _aspects_mentioned(answer)))
    return [*_missing_aspects(case, turns), *_repeated_turns(turns, list(traces))]


def _aspects_mentioned(text: ParsedText) -> set[str]:
    """The aspects that an answer mentions, whether or not a fact supports what it says."""
    aspects = {_ASPECT_OF[kind] for kind in text.by_kind if kind in _ASPECT_OF}
    if any(_NOT_VASCULAR.isdisjoint(t.values) for t in text.of("measures")):
        aspects.add("vascular")
    if text.has({"quality"}):
        aspects.add("quality")
    if text.has({"fundus", "photograph"}):
        aspects.add("image")
    return aspects


def _missing_aspects(case: Case, turns: list[_Turn]) -> Iterator[Finding]:
    """Finds aspects that have facts but that no answer mentions."""
    mentioned = set().union(*(turn.aspects for turn in turns))
    # the box of the disc alone is no finding that has to be told
    present = {fact.aspect for fact in case.facts if fact.aspect != "lesion" or is_count(fact)}
    answers = [turn.answer for turn in turns]
    for aspect in _REQUIRED if len(turns) > 1 else _REQUIRED[:-1]:  # the alignment track states no measurements
        if aspect in present - mentioned and not _worded(case, aspect, answers):
            says = f"no answer mentions the aspect {aspect!r}, although there are facts about it"
            yield Finding("coverage_missing", WARNING, len(turns), (0, 0), says)


def _worded(case: Case, aspect: str, answers: list[ParsedText]) -> bool:
    """Whether the answers have most of the words of a fact of an aspect, as where facts are free text."""
    words = {word for answer in answers for word in answer.words}
    for fact in case.about(aspect):
        own = {word for word in lexicon.read(fact.words or fact.text).words if len(word) > 2}
        if own and len(own & words) > 0.6 * len(own):
            return True
    return False


def _repeated_turns(turns: list[_Turn], traces: list[Trace]) -> Iterator[Finding]:
    """Finds turns with nearly the question of an earlier turn, or with an answer from the same facts; the very same question is
    an error, as where a reply holds a draft before the conversation."""
    asked = [frozenset(turn.question.words) - WORDS.common for turn in turns]
    said = [turn.question.text.casefold().split() for turn in turns]
    after = [{v for t in turn.question.of("asks") for v in t.values} for turn in turns]
    facts_of = [{trace.fact for trace in traces if trace.turn == turn} for turn in range(1, len(turns) + 1)]
    for later in range(1, len(turns)):
        for earlier in range(later):
            both = len(asked[later] & asked[earlier]) / (len(asked[later] | asked[earlier]) or 1)
            same = facts_of[later] and facts_of[later] <= facts_of[earlier]
            alike = both > 0.25 or after[later] & after[earlier]
            if (both > 0.6 and not facts_of[later]) or (same and alike):
                text = f"turn {later + 1} asks the same as turn {earlier + 1}"
                severity = ERROR if said[later] == said[earlier] else WARNING
                yield Finding("coverage_twice", severity, later + 1, (0, 0), text, None, "question")
                break


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Returns the findings that keep a conversation out of a dataset.

    >>> kinds = [Finding("side", ERROR, 1, (0, 4), ""), Finding("coverage_twice", WARNING, 2, (0, 0), "")]
    >>> [finding.kind for finding in errors(kinds)]
    ['side']
    """
    return [finding for finding in findings if finding.severity == ERROR]


# --- a reward for reinforcement learning ----------------------------------------------------------------------------------


def reward(
    prompts: Sequence[str | list[dict]],
    completions: Sequence[str | list[dict]],
    case: Sequence[Case | str] = (),
    **columns: object,
) -> list[float]:
    """Computes the reward of each completion, from -1 to 1, as TRL's GRPOTrainer calls reward functions.

    The dataset's column `case` holds what is known of each image, as Case.to_json writes it; other `columns` are ignored. A
    reward is the number of statements that facts support less the number of errors, divided by both together: 1 where all is
    right, -1 where all is wrong, 0 for an answer that says nothing that can be checked. Thoughts before an answer do not count.
    UserError: there is no such column, or a value is none.

    >>> from pathlib import Path
    >>> from retinal_lib.facts import Case, Fact, Source
    >>> eye = Fact("eye", "eye", "left", "", "this is the left eye", Source("labels.csv", 2, "Eye"))
    >>> known = Case("mine", "1", "1.png", Path("1.png"), "all", None, "left", (eye,)).to_json()
    >>> prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which eye is it?"}]}]
    >>> answers = ["This is the left eye.", "This is the right eye.", "Thank you for asking."]
    >>> reward([prompt] * 3, [[{"role": "assistant", "content": text}] for text in answers], case=[known] * 3)
    [1.0, -1.0, 0.0]
    """
    if len(case) != len(completions):
        raise UserError(
            f"the reward needs a column 'case', as Case.to_json writes it, with a value for each completion; found {len(case)} "
            f"for {len(completions)}"
        )
    cases = (each if isinstance(each, Case) else Case.from_json(each) for each in case)
    return [_reward(*each) for each in zip(prompts, completions, cases, strict=True)]


def _reward(prompt: str | list[dict], completion: str | list[dict], case: Case) -> float:
    asked, said = _texts(prompt), _texts(completion)
    try:
        last = reply_text.answer(said[-1]) if said else ""
    except reply_text.NoAnswer:  # it ends within its thoughts
        last = ""
    if not last.strip() or not asked:
        return 0.0
    turns = [*map(Turn, asked[:-1:2], asked[1::2]), Turn(asked[-1], last)]
    read = examine(to_llava(turns), case)
    wrong = sum(finding.turn == len(turns) and finding.part == "answer" for finding in errors(read.findings))
    right = len({trace.span for trace in read.traces if trace.turn == len(turns)})
    return (right - wrong) / (right + wrong) if right + wrong else 0.0


def _texts(messages: str | list[dict]) -> list[str]:
    """The texts of messages, without what the system says."""
    if isinstance(messages, str):
        return [messages.replace(IMAGE, "").strip()]
    contents = [message["content"] for message in messages if message["role"] != "system"]
    parts = [[{"type": "text", "text": each}] if isinstance(each, str) else each for each in contents]
    texts = ["\n".join(part["text"] for part in each if part.get("type") == "text") for each in parts]
    return [text.replace(IMAGE, "").strip() for text in texts]
