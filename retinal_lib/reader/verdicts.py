"""What a second reader is asked about one sample, and its replies read into one verdict for each question and sentence."""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import NamedTuple

from retinal_lib.ask.attempts import AttemptLimits
from retinal_lib.ask.vault import ImageState, Reply
from retinal_lib.check.language import lexicon
from retinal_lib.check.language.lexicon import Term
from retinal_lib.conversation import Turn
from retinal_lib.display import count
from retinal_lib.parsing import packaged_yaml
from retinal_lib.slots.sheet import FactSheet
from retinal_lib.teacher.teachers import Teacher
from retinal_lib.text.training_text import LONGEST

SPEC: dict = packaged_yaml(Path(__file__).with_name("reader.yaml"))
SUPPORTED, DOUBTED, NOT_ADDRESSED = "supported", "not supported", "not addressed"
_ID = r"[a-z]\d{1,3}\b(?:\.[a-z]+\d*)?"
_LINE = re.compile(
    r"[\W_]*(?:(?:sentence|question)\W*)?(\d{1,3})\W+(?:(?:verdict|question)\W+)*"
    r"(not[\s_-]+supported|not[\s_-]+addressed|supported)\b(.*)",
    re.IGNORECASE,
)
_IDS = re.compile(rf"[\W_]*(?:(?:by|facts?|ids?)\W+)*((?:{_ID}(?:\W+and\b)?\W*)*)", re.IGNORECASE)
_VERDICT = re.compile(r"\b(?:un)?(?:supported|addressed)\b", re.IGNORECASE)


class Sentence(NamedTuple):
    """A numbered question, or a sentence of an answer (`part`): its turn, from 1, and its span there in characters."""

    number: int
    turn: int
    part: str
    span: tuple[int, int]
    text: str


class Verdict(NamedTuple):
    """What a reader says of a question or sentence, with the ids of the facts it names."""

    verdict: str
    facts: tuple[str, ...]


@dataclass(frozen=True)
class ReadingRequest:
    """A request to a second reader about one sample: its facts by id, its questions, and the sentences of its answers."""

    id: str
    message: str
    facts: dict[str, str]
    sentences: tuple[Sentence, ...]
    turns: tuple[tuple[str, str], ...] = ()  # earlier replies, each with what was said to it
    system: str = SPEC["system"]
    picture: None = None
    size: None = None

    @property
    def user_text(self) -> str:
        """All text besides the system prompt."""
        return "\n".join([self.message, *(text for turn in self.turns for text in turn)])

    def key(self, identity: dict) -> str:
        """Returns the sha256 of everything that changes the first answer."""
        parts = ["second reader", self.id, identity, self.system, self.message]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def request(id_: str, facts: dict[str, str], sentences: Iterable[Sentence]) -> ReadingRequest:
    """Returns the request about these questions and sentences."""
    sentences = tuple(sentences)
    lines = ["Facts:", *(f"{name} {fact}" for name, fact in facts.items()), "", "Conversation:"]
    for each in sentences:
        lines.append(f"{each.number}. {'Question: ' if each.part == 'question' else ''}{' '.join(each.text.split())}")
    return ReadingRequest(id_, "\n".join(lines), facts, sentences)


def of_sample(id_: str, sheet: FactSheet, turns: Sequence[Turn], only: Collection[int] = ()) -> ReadingRequest:
    """Returns the request about a conversation, or about those of its turns (from 1) that are in `only`."""
    facts, cuts = {}, []
    for line in sheet.lines:
        facts[line.id] = line.text
        for slot in line.slots:
            facts[line.id] = facts[line.id].replace(f'{{{slot.name}}} = "{slot.text}"', slot.text)
    for turn, (question, answer) in enumerate(turns, start=1):
        if not only or turn in only:
            cuts.append((turn, "question", (0, len(question)), question))
            cuts += [(turn, "answer", *cut) for cut in _sentences(answer)]
    return request(id_, facts, (Sentence(number, *cut) for number, cut in enumerate(cuts, start=1)))


def _sentences(answer: str) -> list[tuple[tuple[int, int], str]]:
    """The sentences of an answer, each with its span; together they hold every word."""
    text = lexicon.read(answer)
    starts = [text.span(Term(tokens.start, tokens.stop))[0] for tokens in text.sentences if len(tokens)]
    starts = sorted({0, *starts[1:]})
    cuts = [(start, end) for start, end in zip(starts, [*starts[1:], len(answer)], strict=True) if answer[start:end].strip()]
    return [((start, start + len(answer[start:end].rstrip())), answer[start:end].strip()) for start, end in cuts]


def parse(text: str, numbers: Collection[int], facts: Collection[str]) -> dict[int, Verdict]:
    """Returns the verdicts in a reply by number. A line counts only where it begins with a number that was asked after, and has
    one verdict and no fact that was not given; "supported" must name a fact; two verdicts on one number count as none.

    >>> parse("1. supported [v1]\\n**2**: Not supported (d1, q1) since it is grade 2\\n3. yes", [1, 2, 3], ["v1", "d1", "q1"])
    {1: Verdict(verdict='supported', facts=('v1',)), 2: Verdict(verdict='not supported', facts=('d1', 'q1'))}
    """
    read: dict[int, set[Verdict | None]] = {}
    for line in text.splitlines():
        if (found := _LINE.match(line)) and int(found[1]) in numbers:
            read.setdefault(int(found[1]), set()).add(_verdict(found[2], found[3], facts))
    return {number: one for number, said in sorted(read.items()) if len(said) == 1 and (one := next(iter(said))) is not None}


def _verdict(word: str, rest: str, facts: Collection[str]) -> Verdict | None:
    named = tuple(dict.fromkeys(name.lower().partition(".")[0] for name in re.findall(_ID, _IDS.match(rest)[1], re.IGNORECASE)))
    verdict = " ".join(re.split(r"[\s_-]+", word.lower()))
    if _VERDICT.search(rest) or not set(named) <= set(facts) or (verdict == SUPPORTED and not named):
        return None
    return Verdict(verdict, named)


class Reading:
    """The replies about one sample, read in order into its row: as `Attempts`, for a second reader. The row is accepted once
    each number has a verdict; its `findings` are the verdicts so far."""

    def __init__(self, row: ImageState, request: ReadingRequest, teacher: Teacher, limits: AttemptLimits):
        self.row, self.request, self.teacher, self.limits = row, request, teacher, limits
        self._verdicts: dict[int, Verdict] = {}
        self._read = 0

    @property
    def open(self) -> bool:
        """Says whether another reply may change the row's state."""
        return self.row.state != "accepted" and self._read < self.limits.attempts

    @property
    def attempt(self) -> int:
        """The number of the next reply, from 1."""
        return self._read + 1

    def add_all(self, replies: list[Reply]) -> "Reading":
        """Reads stored replies."""
        for reply in replies:
            self.add(reply)
        return self

    def add(self, reply: Reply) -> None:
        """Reads a reply: the verdicts that can be read are kept, the others are asked for again."""
        row, parsed, sentences = self.row, self.teacher.read(reply.raw), self.request.sentences
        self._read = row.attempt = reply.attempt
        row.request_id, row.model, row.reason = reply.request_id, parsed.model, parsed.problem
        missing = [s.number for s in sentences if s.number not in self._verdicts]
        new = parse(parsed.text, missing, self.request.facts)
        self._verdicts |= new
        row.usage.append({"channel": reply.channel, **parsed.tokens, "used": bool(new)})
        row.findings = [self._entry(s, self._verdicts[s.number]) for s in sentences if s.number in self._verdicts]
        missing = [number for number in missing if number not in new]
        row.state = "rejected" if missing else "accepted"
        if missing and not parsed.problem:
            row.reason = f"no verdict can be read for {len(missing)} of {count(len(sentences), 'numbered line')}"
            again = Template(SPEC["again"]).substitute(numbers=", ".join(map(str, missing)))
            turn = parsed.text[:LONGEST], again
            self.request = replace(self.request, turns=(*self.request.turns, turn))

    def _entry(self, sentence: Sentence, verdict: Verdict) -> dict:
        facts = {name: self.request.facts[name] for name in verdict.facts}
        where = {"number": sentence.number, "turn": sentence.turn, "part": sentence.part, "span": list(sentence.span)}
        return where | {"said": sentence.text, "verdict": verdict.verdict, "facts": facts}
