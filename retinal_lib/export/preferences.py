"""Preference pairs: a right and a wrong answer to one question with the same history, each with the reason why one is wrong."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from retinal_lib import check, paths
from retinal_lib.ask import attempts
from retinal_lib.ask.vault import ImageState, Reply, Vault
from retinal_lib.check.findings import Finding, finding_entry
from retinal_lib.closed_questions.run_questions import TRACK
from retinal_lib.closed_questions.wording import CANNOT
from retinal_lib.closed_questions.writing import letters
from retinal_lib.conversation import Conversation, Turn, read, to_llava
from retinal_lib.display import count
from retinal_lib.export.planted_faults import KINDS, Planter
from retinal_lib.facts import Case
from retinal_lib.files import read_jsonl
from retinal_lib.review import decisions
from retinal_lib.review.finished_run import dataset_of
from retinal_lib.run import run_files
from retinal_lib.run.job import Job
from retinal_lib.teacher import completion, reply_parser
from retinal_lib.text.reply_text import chat_answer

_VAULT = "vault.sqlite"
_BY_LETTER = re.compile(r"None\.|[A-Z](?:, [A-Z])*")  # an answer of letters alone
_LOOKED_AT = 300  # conversations whose eyes give the diagnoses that are planted
# errors of how a draft was written, which does not make its text wrong: the checks of free text decide
_OF_FORM = frozenset(["typed_number", "unlicensed", "ungrounded_denial"])
_FROM = {
    "repair": "of a draft that the checks refused",
    "review": "that a reviewer replaced",
    "planted": "with a planted fault",
    "option": "of another image, to the same closed question",
}


@dataclass(frozen=True)
class Pair:
    """Two answers to the last question of `turns`, which ends with the right one. `id` is that of the conversation, `source` a
    key of _FROM, `why` what lineage.jsonl says of it."""

    id: str
    image: str
    turns: tuple[Turn, ...]
    rejected: str
    source: str
    why: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The id of the pair, unique in an export."""
        more = "-".join(str(self.why[key]) for key in ("attempt", "kind") if key in self.why)
        return f"{self.id}#{len(self.turns)}-{self.source}{f'-{more}' if more else ''}"

    @property
    def wrong(self) -> tuple[Turn, ...]:
        """The turns with the wrong answer."""
        return (*self.turns[:-1], self.turns[-1]._replace(answer=self.rejected))

    def lineage(self) -> dict:
        """Returns the pair's line of lineage.jsonl: where the wrong answer comes from, and what is wrong with it."""
        told = {"id": self.name, "conversation": self.id, "image": self.image, "turn": len(self.turns)}
        return told | {"source": self.source} | self.why

    def judged(self) -> tuple["Judged", "Judged"]:
        """Returns the right and the wrong answer, each by itself."""
        return Judged(self, True), Judged(self, False)


class Judged(NamedTuple):
    """One answer of a pair, with whether it is the right one."""

    pair: Pair
    right: bool

    @property
    def id(self) -> str:
        """The conversation's id."""
        return self.pair.id

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns, which end with this answer."""
        return self.pair.turns if self.right else self.pair.wrong


# --- rows of trainers ---------------------------------------------------------------------------------------------------


def _head(pair: Pair) -> dict:
    return {"id": pair.name, "conversation": pair.id}


def _messages(pair: Pair, turns: tuple[Turn, ...]) -> list[dict]:
    return Conversation(pair.id, pair.image, turns).to_messages()


def trl_pair(pair: Pair) -> dict:
    """Returns a row for TRL's DPO and ORPO trainers: prompt, chosen, rejected, images."""
    prompt, chosen, rejected = _messages(pair, pair.turns), _messages(pair, pair.turns)[-1:], _messages(pair, pair.wrong)[-1:]
    return _head(pair) | {"prompt": prompt[:-1], "chosen": chosen, "rejected": rejected, "images": [pair.image]}


def trl_judged(answer: Judged) -> dict:
    """Returns a row for TRL's KTO trainer: prompt, completion, label, images."""
    messages, pair = _messages(answer.pair, answer.turns), answer.pair
    row = {"prompt": messages[:-1], "completion": messages[-1:], "label": answer.right, "images": [pair.image]}
    return _head(pair) | row


def llama_factory_pair(pair: Pair) -> dict:
    """Returns a row for LLaMA-Factory's preference training: conversations, chosen, rejected, images."""
    right, wrong = to_llava(pair.turns), to_llava(pair.wrong)
    row = {"conversations": right[:-1], "chosen": right[-1], "rejected": wrong[-1], "images": [pair.image]}
    return _head(pair) | row


def llama_factory_judged(answer: Judged) -> dict:
    """Returns a row for LLaMA-Factory's KTO training: conversations, label, images."""
    row = {"conversations": to_llava(answer.turns), "label": answer.right, "images": [answer.pair.image]}
    return _head(answer.pair) | row


# --- where pairs come from ----------------------------------------------------------------------------------------------


def allowed(folder: Path, reviewed: str | None) -> str | None:
    """Returns which conversations may be the right side: what reviewers rejected never is."""
    return reviewed or ("unrejected" if (folder / decisions.FILE).is_file() else None)


class RunPairs:
    """The pairs of one run; `conversations` are those that may be trained on, with reviewers' fixes. The dataset is read once
    there is something to check."""

    def __init__(self, folder: Path, conversations: Sequence[Conversation]):
        self.folder, self.conversations, self.notes = folder, conversations, []
        self.manifest = run_files.read_manifest(folder)

    @cached_property
    def _job(self) -> Job:
        return dataset_of(self.folder)

    def pairs(self, planted: Mapping[str, float]) -> list[Pair]:
        """Returns the pairs by conversation, without repetition; `planted`: the share of conversations that get a planted
        fault, by kind. UserError: the vault or the dataset cannot be read."""
        if self.manifest["settings"]["track"] == TRACK:
            return list(self._optional(any(planted.values())))
        found = [*self._repaired(), *self._reviewed(), *(self._planted(planted) if any(planted.values()) else ())]
        place = {conversation.id: number for number, conversation in enumerate(self.conversations)}
        unlike = {(pair.id, pair.turns, pair.rejected): pair for pair in reversed(found)}
        return sorted(unlike.values(), key=lambda pair: (place[pair.id], list(_FROM).index(pair.source), pair.name))

    def _repaired(self) -> Iterator[Pair]:
        """Refused drafts whose history is that of the conversation that was accepted."""
        if not (self.folder / _VAULT).is_file():
            self.notes.append(f"{paths.display_path(self.folder)} has no {_VAULT}, so there are no refused drafts")
            return
        right, changed = {conversation.id: conversation for conversation in self.conversations}, 0
        with Vault(self.folder) as vault:
            rows = [row for row in vault.samples() if row.id in right and len(row.usage) > 1]
            for row in rows:
                replies = {reply.attempt: reply for reply in vault.replies(row.key).get(row.key, [])}
                accepted = self._read(replies.pop(row.attempt, None), row)
                if accepted is None or accepted[0] != tuple(Conversation.from_llava(self._entry(row)).turns):
                    changed += 1
                    continue
                for attempt, reply in replies.items():
                    if draft := self._read(reply, row):
                        yield from _against(right[row.id], *draft, attempt)
        if changed:
            self.notes.append(
                f"{count(changed, 'image')} left out, since the facts or the checks have changed since the run; run it again "
                "(mode=recheck)"
            )

    @staticmethod
    def _entry(row: ImageState) -> dict:
        return run_files.conversation_entry(row, "")

    def _read(self, reply: Reply | None, row: ImageState) -> tuple[tuple[Turn, ...], list[Finding]] | None:
        """A reply as a conversation with the errors that the checks find in it now; None where it is no conversation."""
        text = self._text(reply.raw) if reply else ""
        try:
            turns = reply_parser.parse(text) if text else []
        except reply_parser.Unparsable:
            return None
        if not turns:
            return None
        request = self._job.request(self._job.case(row.image))
        _, exported, checked = attempts.examine(turns, request)
        errors = check.errors(checked.findings)
        if any(error.kind in _OF_FORM for error in errors):
            told = check.errors(check.check(exported, request.case, request.track, request.style))
            errors = [error for error in errors if error.kind not in _OF_FORM] + told
        found = Conversation.from_llava({"id": row.id, "image": row.image, "conversations": exported})
        return found.turns, list(dict.fromkeys(errors))

    def _text(self, raw: str) -> str:
        if self.manifest["teacher"] == "offline":
            return raw
        try:
            answer = chat_answer(completion.parse(raw).body["choices"][0], "")
        except completion.NoCompletion:
            return ""
        return "" if answer.problem else answer.text

    def _reviewed(self) -> Iterator[Pair]:
        """Answers that reviewers replaced."""
        originals = {each.id: each for each in read(self.folder / "conversations.jsonl")}
        for fixed in self.conversations:
            for number, (old, new) in enumerate(zip(originals[fixed.id].turns, fixed.turns, strict=True), start=1):
                if old.question == new.question and old.answer != new.answer:
                    yield Pair(fixed.id, fixed.image, fixed.turns[:number], old.answer, "review", {"findings": []})

    def _optional(self, planted: bool) -> Iterator[Pair]:
        """Closed questions with the answer of the next image of the same block, so that each answer of a block is right once
        and wrong once, and no text alone tells which. Where that is `cannot tell`, there is no pair."""
        if planted:
            name = paths.display_path(self.folder)
            self.notes.append(f"{name}: no fault is planted in closed questions, of which other answers are wrong already")
        lines = {line["id"]: line for _, line in read_jsonl(self.folder / "lineage.jsonl")}
        blocks: dict[int, list[_Closed]] = {}
        for each in self.conversations:
            line = lines.get(each.id, {})
            for number, told in enumerate(line.get("questions", ())):
                cells = [trace for trace in line["traces"] if trace["turn"] == number + 1]
                blocks.setdefault(told["block"], []).append(_Closed(each, number, told, cells))
        sides = (pair for block in blocks.values() for pair in zip(block, [*block[1:], *block[:1]], strict=True))
        pairs = (closed.against(other) for closed, other in sides)
        place = {each.id: number for number, each in enumerate(self.conversations)}
        yield from sorted(filter(None, pairs), key=lambda pair: (place[pair.id], len(pair.turns)))

    def _planted(self, planted: Mapping[str, float]) -> Iterator[Pair]:
        settings, done, chosen = self._job.settings, Counter(), Counter()
        planter = Planter(settings.track, settings.style, self._diagnoses())
        for kind, share in planted.items():
            for each in self._spread(share, kind):
                chosen[kind] += 1
                if fault := planter.plant(kind, to_llava(each.turns), self._case(each), f"{settings.seed} {each.id}"):
                    done[kind] += 1
                    why = {"kind": kind, "before": fault.before, "after": fault.after}
                    why["findings"] = [finding_entry(finding) for finding in fault.findings]
                    yield Pair(each.id, each.image, each.turns[: fault.turn], fault.answer, "planted", why)
        told = ", ".join(f"{kind} {done[kind]} of {chosen[kind]}" for kind in planted)
        self.notes.append(f"faults planted in conversations chosen for it: {told}")

    def _spread(self, share: float, kind: str) -> Iterator[Conversation]:
        """So large a share of the conversations, evenly; each kind begins elsewhere."""
        shift = KINDS.index(kind) / len(KINDS)
        for number, each in enumerate(self.conversations):
            if int((number + 1) * share + shift) > int(number * share + shift):
                yield each

    def _case(self, conversation: Conversation) -> Case:
        return self._job.case(conversation.image.removeprefix(self._job.context.prefix))

    def _diagnoses(self) -> list[str]:
        """What the labels of the run's first eyes name, without what is said of the person."""
        cases = map(self._case, self.conversations[:_LOOKED_AT])
        return [fact.words for case in cases for fact in case.about("disease") if fact.scope != "patient"]


def _against(right: Conversation, draft: tuple[Turn, ...], errors: list[Finding], attempt: int) -> Iterator[Pair]:
    """The first answer in which a refused draft differs from the conversation, where the checks find an error in it."""
    same = len(list(takewhile(lambda turns: turns[0] == turns[1], zip(right.turns, draft, strict=False))))
    if same == min(len(right.turns), len(draft)) or right.turns[same].question != draft[same].question:
        return
    wrong = [finding for finding in errors if finding.turn == same + 1 and finding.part == "answer"]
    if wrong and right.turns[same].answer != draft[same].answer:
        why = {"attempt": attempt, "findings": [finding_entry(finding) for finding in wrong]}
        yield Pair(right.id, right.image, right.turns[: same + 1], draft[same].answer, "repair", why)


class _Closed(NamedTuple):
    """A closed question of a conversation, with its entry of lineage.jsonl and the cells that its answer rests on."""

    conversation: Conversation
    number: int
    told: dict
    cells: list[dict]

    @property
    def answer(self) -> str:
        """The right answer."""
        return self.conversation.turns[self.number].answer

    def against(self, other: "_Closed") -> Pair | None:
        """The pair with another image's answer to the same question as the wrong one; None where that is none."""
        right = other.told["right"]
        if sorted(right) == sorted(self.told["right"]) or CANNOT in right:
            return None
        wrong = other.answer
        if self.told["form"] == "letters":
            options = self.told["options"]
            places = sorted(options.index(option) for option in right)
            wrong = letters(options, places, _BY_LETTER.fullmatch(self.answer) is not None)
        cells = [{key: cell.get(key) for key in ("file", "row", "column", "value")} for cell in self.cells]
        why = {"question": self.told["kind"], "subject": self.told["subject"], "before": self.answer, "after": wrong}
        why |= {"right_of": other.conversation.id, "denied_by": cells, "findings": []}
        why |= {key: self.told[key] for key in ("unknown_because",) if key in self.told}
        each = self.conversation
        return Pair(each.id, each.image, each.turns[: self.number + 1], wrong, "option", why)


def summary(pairs: Sequence[Pair]) -> str:
    """Returns a sentence on where the wrong answers come from."""
    counted = Counter(pair.source for pair in pairs)
    told = ", ".join(f"{counted[source]:,} {words}" for source, words in _FROM.items() if counted[source])
    told = f"wrong answers: {told}" if told else "no draft was refused; --planted 0.3 plants faults"
    return f"{count(len(pairs), 'pair')}; {told}"
