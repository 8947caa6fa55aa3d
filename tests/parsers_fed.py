"""Feeds parsers and checks awkward texts of some length: `python tests/parsers_fed.py NAME 200000` prints, by kind of text, the
seconds of the slowest call.

Its time is that of the processor, so that a busy machine changes little; what seems slow is measured three times, and the
quickest counts. test_limits.py stops it where it does not end.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd

from retinal_lib import UserError, check, conversation
from retinal_lib.ask import result_files
from retinal_lib.check.language import glossary
from retinal_lib.conversation import Turn
from retinal_lib.dataset import tables
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.evaluate import scored_answers
from retinal_lib.export import convert
from retinal_lib.facts import Case, Fact, Source
from retinal_lib.inference import question_files
from retinal_lib.reader import verdicts
from retinal_lib.run.selection import Condition
from retinal_lib.slots import filling, sheet, slot_check
from retinal_lib.teacher import completion, destination, reply_parser
from retinal_lib.teacher.server import RefusedOptions
from retinal_lib.text import reply_text, shown_text, training_text

KINDS = "# \n [ < ( { 0 0. 1, a- a \u00a0 ' \" , - . * | / ? : é".split(" ")
KINDS += [
    " ",
    "no ",
    "(a",
    "a ",
    "1 ",
    "[0.1, ",
    "User:\n",
    "User: a\nAssistant: b\n",
    "```\n",
    "<think>",
    "</think>",
    "&lt;",
    "<|",
]
KINDS += ["{", "}", "{p1}", "{p1", "{v1} is ", "[d1]", "[d1", "[d1, ", "d1, ", "[d1] ", "p1.a", "The ", "wider than "]
KINDS += ["drusen, ", "right left ", "no drusen. ", '{"a":', '["', "1. ", "> ", "\\", "µm ", "I hope ", "x_min=", "10 % "]
CELL = Source("t", 2, "x")
DISEASE, AGE = Fact("disease", "x", 1, "", "a", CELL), Fact("patient", "age", 58, "", "58", CELL)
CASE = Case("my", "1", "1.png", Path("1.png"), "all", None, "left", (DISEASE, AGE))
SHEET = sheet.make(CASE, 0)  # has the slots d1 and p1


Calls = Iterator[Callable[[], object]]


def conversation_check(text: str) -> Calls:
    """All checks, on one long answer, and on as many turns as it makes."""
    turns = [text[i : i + 3000] for i in range(0, len(text), 3000)]
    for parts in (["What?\n<image>", text], [f"{text}\n<image>", "An eye."], ["What?\n<image>", *turns]):
        values = [{"from": "gpt" if i % 2 else "human", "value": part} for i, part in enumerate(parts)]
        yield lambda values=values: check.errors(check.check(values, CASE))


def slots(text: str) -> Calls:
    """Filling a long answer, and the check of slotted answers as long as are read."""
    yield lambda: filling.is_slotted([text])
    yield lambda: filling.fill(text, SHEET)
    turns = [Turn("What?", text[i : i + 3000]) for i in range(0, min(len(text), 12_000), 3000)]
    for written in ([Turn("What?", text)], [Turn(text, "The person is {p1} years old.")], turns):
        yield lambda written=written: slot_check.examine(written, SHEET)


def told(text: str) -> Calls:
    """A sheet of long cells, and its explanations."""
    facts = (DISEASE._replace(words=text, text=text), Fact("notes", "x", text, "", text, CELL, text))
    yield lambda: sheet.make(replace(CASE, facts=facts), 0)
    yield lambda: list(glossary.named([text]))


def reply(text: str) -> Calls:
    """The reply parser, on a reply and within turns and JSON; thoughts, chatter and instructions."""
    half = text[: len(text) // 2]
    for whole in (text, f"User: {half}\nAssistant: {half}", f'[{{"role": "user", "content": "{text}'):
        yield lambda whole=whole: reply_parser.parse(whole)
    for read in (reply_text.without_chatter, reply_text.chatter_in, reply_text.instruction_in):
        yield lambda read=read: read(text)


def reader(text: str) -> Calls:
    """A second reader's verdicts, and the sentences of which it is asked."""
    yield lambda: verdicts.of_sample("1", SHEET, [Turn("What?", text[:4000])])
    for whole in (text, f"1 supported {text}", f"1 not supported by d1 {text}"):
        yield lambda whole=whole: verdicts.parse(whole, [1], ["d1"])


def body(text: str) -> Calls:
    """Bodies of servers, with their errors, and lines of result files."""
    error = json.dumps({"error": text})
    for raw in (text, f"data: {text}", error, json.dumps({"choices": [{"message": {"content": text}}]})):
        yield lambda raw=raw: completion.parse(raw)
    for line in (text, json.dumps({"custom_id": text, "response": {"status_code": 400, "body": {"error": {"message": text}}}})):
        yield lambda line=line: result_files.read(line.encode())
    yield lambda: RefusedOptions().add(f"unsupported {text}", {"temperature": 0, "stop": "x"})
    yield lambda: destination.without_login(f"http://{text}")


def shown(text: str) -> Calls:
    """Text for people, and what a user chose by."""
    yield lambda: shown_text.for_people(text)
    yield lambda: UserError(f"found {text!r}")
    yield lambda: Condition(text, pd.DataFrame({"grade": [0, 1]})).fits()
    yield lambda: destination.terms_of_picture(text)


def files(text: str) -> Calls:
    """Conversations, questions and tables on disk."""
    with tempfile.TemporaryDirectory() as folder:
        lines, nested, table = (Path(folder) / f"x.{suffix}" for suffix in ("jsonl", "json", "csv"))
        for path in (lines, nested, table):
            path.write_text(text, encoding="utf-8")
        yield lambda: list(conversation.read(lines))
        yield lambda: question_files.read(nested)
        yield lambda: tables.read(table)
        values = [{"from": "human", "value": "What?\n<image>"}, {"from": "gpt", "value": text}]
        lines.write_text(json.dumps({"id": "1", "image": "1.png", "conversations": values}), encoding="utf-8")
        yield lambda: convert.validate(lines)
        yield lambda: convert.repair(lines, nested)


def cell(text: str) -> Calls:
    """A cell of a table of one's own, told or not."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "1.png").touch()
        quoted = text.replace('"', '""')
        (Path(folder) / "my.csv").write_text(f'image,disease,notes\n1.png,"{quoted}","{quoted}"\n', encoding="utf-8")
        yield lambda: BaseDescription(Path(folder), dataset=str(Path(folder) / "my.csv")).describe("1.png")


def unfit(text: str) -> Calls:
    """What may not stand in training text."""
    yield lambda: list(training_text.unfit(text))
    yield lambda: list(training_text.unfit_whole([text[:100_000], text[100_000:]]))
    yield lambda: training_text.cell_problem(text[: training_text.LONGEST_CELL])


def scored(text: str) -> Calls:
    """An answer of a model, scored."""
    entry = {"id": "1", "image": "1.png", "dataset": "my", "kind": "eye", "subject": "", "question": "?", "reference": "left"}
    yield lambda: scored_answers._score_answer("m", entry, {"qa_pairs": [{"answer": text}]})


FED: dict[str, Callable[[str], Calls]] = {
    each.__name__: each for each in (body, cell, conversation_check, files, reader, reply, scored, shown, slots, told, unfit)
}
REFUSED = (UserError, reply_text.NoAnswer, reply_parser.Unparsable, completion.NoCompletion, result_files.NoResult)


def slowest(name: str, text: str) -> float:
    """The seconds of the slowest call."""
    seconds = []
    for call in FED[name](text):
        begun = time.process_time()
        with suppress(*REFUSED):
            call()
        seconds.append(time.process_time() - begun)
    return max(seconds)


def main(name: str, size: int) -> None:
    """Prints the seconds by kind."""
    seconds = {}
    slowest(name, "An eye.")  # reads what is read once
    for kind in KINDS:
        text = (kind * (size // len(kind) + 1))[:size]
        seconds[kind] = slowest(name, text)
        if seconds[kind] > 1:
            seconds[kind] = min(seconds[kind], slowest(name, text), slowest(name, text))
    print(json.dumps({kind: round(taken, 2) for kind, taken in seconds.items()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
