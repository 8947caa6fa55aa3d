"""Chooses the questions of a run in blocks, so that what is right cannot be told from the words.

A block is one question with one list of answers, asked of as many images as it has answers: each is right once. Who sees the
words alone is right in one of n, whatever was learned of the run, since each answer, place and length is right equally often.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from retinal_lib.closed_questions.topics import Answer, Topic
from retinal_lib.closed_questions.wording import CANNOT

_MOST = 5  # images of a block
_LOOKS = 40  # images that are tried for a place in a block
_RATIO = 1.15  # so far apart are the values of a block, from one to the next
_OVERLAP = 0.1  # of the smaller of two boxes that are told apart


@dataclass
class Room:
    """The room for questions: each image gets at most `per_image`, and none that another gives away. `asked` counts questions,
    and those of which the answer is that it cannot be told: at most the share `cannot_tell` of all."""

    per_image: int
    cannot_tell: float
    given: dict[int, set[object]] = field(default_factory=dict)
    number: Counter = field(default_factory=Counter)
    asked: int = 0
    cannot: int = 0

    def has(self, answer: Answer) -> bool:
        """Says whether an image can be asked one more question, and this one; once it cannot, it never can."""
        given = self.given.get(answer.image, set())
        if self.number[answer.image] >= self.per_image or not given.isdisjoint(answer.gives):
            return False
        diseases = any(getattr(each, "aspect", "") == "disease" for each in answer.gives)
        return not (("all diseases" in given and diseases) or ("all diseases" in answer.gives and "a disease" in given))

    def take(self, block: Sequence[Answer]) -> None:
        """Takes the room for the questions of a block."""
        for answer in block:
            given = self.given.setdefault(answer.image, set())
            given |= answer.gives
            given |= {"a disease"} if any(getattr(each, "aspect", "") == "disease" for each in answer.gives) else set()
            self.number[answer.image] += 1
        self.asked += len(block)
        self.cannot += sum(answer.option == CANNOT for answer in block)

    @property
    def may_ask_unknown(self) -> bool:
        """Whether one more block may hold an image of which nobody knows."""
        return self.cannot + 1 <= self.cannot_tell * (self.asked + 3)


def of(topics: Sequence[Topic], room: Room, seed: int) -> Iterator[tuple[Topic, list[Answer]]]:
    """Yields blocks, kind by kind in turn, until there is no room or no topic has one left."""
    rng = random.Random(f"blocks {seed}")
    waiting: dict[str, list[_Blocks]] = {}
    for topic in topics:
        waiting.setdefault(topic.kind, []).append(
            (_Apart if topic.apart else _Ordered if topic.ordered else _Blocks)(topic, rng)
        )
    for of_kind in waiting.values():
        rng.shuffle(of_kind)
    while waiting:
        for kind in list(waiting):
            while waiting[kind]:
                blocks = waiting[kind].pop(0)
                if block := blocks.next(room):
                    room.take(block)
                    waiting[kind].append(blocks)
                    yield blocks.topic, block
                    break
            else:
                del waiting[kind]


class _Blocks:
    """The blocks of a topic of which each answer shuts out the others. Images that have no room are dropped for good."""

    def __init__(self, topic: Topic, rng: random.Random):
        self.topic, self.rng = topic, rng
        self.queues = {option: rng.sample(answers, len(answers)) for option, answers in sorted(topic.by.items())}
        self.unknown = rng.sample(topic.unknown, len(topic.unknown))
        # the words of a question without options are the same in all blocks, so that all must have as many answers
        self.size = min(_MOST, len(self.queues))

    def next(self, room: Room) -> list[Answer]:
        """Returns the next block, empty where there is none."""
        block: list[Answer] = []
        for option in self._options():
            if len(block) < _MOST and (answer := self._first(self.queues[option], room, block)):
                block.append(answer)
        enough = self.size if self.topic.whole and "letters" not in self.topic.asked else 2
        if len(block) < enough or not self._fair(block):
            return []
        self._use(block)
        return [*block, *self._unknown(room, block)]

    def _options(self) -> list[str]:
        """The options in the order in which they are taken: those with most images first."""
        held = [option for option, queue in self.queues.items() if queue]
        return sorted(held, key=lambda option: -len(self.queues[option]))

    def _first(self, queue: list[Answer], room: Room, block: list[Answer]) -> Answer | None:
        while queue:
            if room.has(queue[-1]):
                return None if queue[-1].image in {answer.image for answer in block} else queue[-1]
            queue.pop()
        return None

    def _fair(self, block: list[Answer]) -> bool:
        """Whether each item of a list of which several may be right is right of one image and wrong of another."""
        right = [set(answer.option.split("; ")) for answer in block]
        return all(0 < sum(option in each for each in right) < len(block) for option in self.topic.options)

    def _use(self, block: list[Answer]) -> None:
        for answer in block:
            self.queues[answer.option].pop()

    def _unknown(self, room: Room, block: list[Answer]) -> list[Answer]:
        """An image of which nobody knows, as one more answer of the block."""
        images = {answer.image for answer in block}
        while self.unknown and room.may_ask_unknown:
            answer = self.unknown.pop()
            if room.has(answer) and answer.image not in images:
                return [answer]
        return []


class _Ordered(_Blocks):
    """The blocks of a topic whose answers are numbers, which are clearly apart in each."""

    def __init__(self, topic: Topic, rng: random.Random):
        super().__init__(topic, rng)
        every = sorted((answer for answers in topic.by.values() for answer in answers), key=lambda a: (float(a.value), a.image))
        size = min(4, len(topic.by))
        step = -(-len(every) // size) if every else 1
        self.rows = [every[i::step] for i in range(step)]
        rng.shuffle(self.rows)

    def next(self, room: Room) -> list[Answer]:
        while self.rows:
            block: list[Answer] = []
            for answer in self.rows.pop():
                if room.has(answer) and (not block or _is_above(float(answer.value), float(block[-1].value))):
                    block.append(answer)
            if len(block) > 1 and len({answer.image for answer in block}) == len(block):
                return [*block, *self._unknown(room, block)]
        return []


def _is_above(value: float, other: float) -> bool:
    return value > other * _RATIO and value - other >= 0.04 * max(value, 1e-9)


class _Apart(_Blocks):
    """The blocks of a topic whose answers are boxes, of which none lies on another image's."""

    def __init__(self, topic: Topic, rng: random.Random):
        super().__init__(topic, rng)
        every = [answer for answers in topic.by.values() for answer in answers]
        self.every = rng.sample(every, len(every))

    def next(self, room: Room) -> list[Answer]:
        while self.every:
            first = self.every.pop()
            if not room.has(first):
                continue
            block, tried = [first], self.every[-_LOOKS:]
            for other in reversed(tried):
                if len(block) < 4 and room.has(other) and all(_lie_apart(other, answer) for answer in block):
                    block.append(other)
            if len(block) > 1:
                images = {answer.image for answer in block}
                self.every[-_LOOKS:] = [answer for answer in tried if answer.image not in images]
                return block
        return []


def _lie_apart(one: Answer, other: Answer) -> bool:
    return one.image != other.image and not any(_overlap(a, b) > _OVERLAP for a in one.boxes for b in other.boxes)


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """The share of the smaller of two boxes that lies in the other."""
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(width, 0) * max(height, 0) / smaller if smaller else 1.0
