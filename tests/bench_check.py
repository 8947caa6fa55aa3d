"""How fast conversations are checked on one core, beside cutting the same texts into words alone."""

import re
import time
from collections.abc import Callable

from bench_size import size

from retinal_lib.conversation import Turn
from retinal_lib.slots.sheet import FactSheet
from retinal_lib.teacher import reply_parser

_WORDS = re.compile(r"\w+|[^\w\s]")
_ROUNDS = size(5, 2)


def _seconds(work: Callable[[], object]) -> float:
    """Processor seconds of the best of some rounds; the first warms what is kept between conversations."""
    taken = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken[1:])


def main(copies: int = size(20, 2)) -> None:
    """Prints conversations checked per second: offline instruction conversations of the drawn ODIR sample, `copies` of each
    image, worded differently."""
    from retinal_lib import Job
    from retinal_lib.check import conversation_check
    from retinal_lib.slots import sheet, slot_check
    from retinal_lib.teacher import offline

    job = Job.load(dataset="ODIR")
    cases = [job.case(name) for name in job.images if name not in job.data.skipped]
    sheets = [(sheet.make(case, seed), seed) for case in cases for seed in range(copies)]
    written = [(facts, reply_parser.parse(offline.compose(facts, "instruction", None, seed))) for facts, seed in sheets]
    slotted(written)
    told = [(facts.case, slot_check.examine(turns, facts).conversation) for facts, turns in written]
    texts = [part["value"] for _, parts in told for part in parts]
    checked = _seconds(lambda: [conversation_check.check(parts, case, "instruction") for case, parts in told])
    cut = _seconds(lambda: [_WORDS.findall(text) for text in texts])
    traced = sum(
        trace.kind == "number"
        for case, parts in told
        for trace in conversation_check.examine(parts, case, "instruction").traces
    )
    n = len(told)
    print(
        f"conversations checked: {n / checked:,.0f} per second on one core ({sum(map(len, texts)) / n:,.0f} letters, "
        f"{traced / n:.0f} traced numbers each), {checked / cut:.0f} times as long as cutting them into words"
    )


def slotted(written: list[tuple[FactSheet, list[Turn]]]) -> None:
    """Prints slotted conversations filled and checked per second, the second half of them after the first, as in a run."""
    from retinal_lib.slots import slot_check

    first = len(written) // 2
    for facts, turns in written[:first]:
        slot_check.examine(turns, facts, "instruction")
    start = time.process_time()
    for facts, turns in written[first:]:
        slot_check.examine(turns, facts, "instruction")
    taken = (time.process_time() - start) / (len(written) - first)
    texts = [text for _, turns in written for turn in turns for text in turn]
    cut = _seconds(lambda: [_WORDS.findall(text) for text in texts]) / len(written)
    print(
        f"slotted conversations filled and checked: {1 / taken:,.0f} per second on one core, {taken / cut:.0f} times as long "
        "as cutting them into words"
    )


if __name__ == "__main__":
    main()
