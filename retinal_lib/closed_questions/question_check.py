"""The check of a conversation of closed questions: it is the one that was chosen, and each answer is held by the facts."""

from collections.abc import Iterator, Sequence

from retinal_lib.check import conversation_check, form
from retinal_lib.check.conversation_check import Checked
from retinal_lib.check.findings import ERROR, Finding, Trace
from retinal_lib.closed_questions.writing import Asked
from retinal_lib.conversation import IMAGE, Turn, to_llava
from retinal_lib.errors import UserError
from retinal_lib.facts import Case

TRACK = "vqa"


def examine(turns: Sequence[Turn], asked: Sequence[Asked], case: Case) -> tuple[list[dict[str, str]], Checked]:
    """Returns the exported form of a conversation and what its check found; `case` has the facts of its answers. What an answer
    affirms and denies is held against the case in whole sentences."""
    exported = to_llava(turns)
    found = form.check([(part["from"], part["value"]) for part in exported], TRACK, None)
    found = [finding for finding in found if finding.kind != "form_cut"]  # an answer may be a letter
    if [(turn.question, turn.answer) for turn in turns] != [(each.turn.question, each.turn.answer) for each in asked]:
        found.append(Finding("question", ERROR, 1, (0, 0), "the conversation is not the one that was chosen for this image"))
        return exported, Checked(found, [])
    traces = []
    for number, (turn, each) in enumerate(zip(turns, asked, strict=True), start=1):
        found += _unsupported(number, each, case)
        span = (0, len(turn.answer))
        traces += [Trace(number, span, turn.answer, "claim", fact) for fact in each.facts]
    return exported, Checked(found, traces)


def refuse_fix(track: str) -> None:
    """UserError: the conversations of a track are closed questions, which are not fixed one by one."""
    if track == TRACK:
        raise UserError(
            "the answers of closed questions were chosen together with those of other images, so they are not fixed; reject "
            "the sample, or mend the table that its labels come from"
        )


def _unsupported(number: int, asked: Asked, case: Case) -> Iterator[Finding]:
    """Errors of the sentences in which a question's answer is told in full."""
    for sentence in asked.says:
        talk = [{"from": "human", "value": f"What does it show?\n{IMAGE}"}, {"from": "gpt", "value": sentence}]
        for finding in conversation_check.errors(conversation_check.examine(talk, case).findings):
            yield finding._replace(turn=number, span=(0, len(asked.turn.answer)), text=f"{sentence!r}: {finding.text}")
