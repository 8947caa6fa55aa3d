"""Feeds a parser or check awkward texts of some length: `python tests/parsers_fed.py NAME 200000` prints seconds by kind.

Its time is that of the processor, so that a busy machine changes little; test_limits.py stops it where it does not end.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from retinal_lib import UserError, check, conversation, reply_text, training_text
from retinal_lib.check.language import glossary
from retinal_lib.conversation import Turn
from retinal_lib.dataset import tables
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.evaluate import scored_answers
from retinal_lib.facts import Case, Fact, Source
from retinal_lib.inference import question_files
from retinal_lib.slots import filling, sheet, slot_check
from retinal_lib.teacher import completion, reply_parser

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


def conversation_check(text: str) -> None:
    """All checks, on one long answer, and on as many turns as it makes."""
    turns = [text[i : i + 3000] for i in range(0, len(text), 3000)]
    for parts in (["What?\n<image>", text], [f"{text}\n<image>", "An eye."], ["What?\n<image>", *turns]):
        values = [{"from": "gpt" if i % 2 else "human", "value": part} for i, part in enumerate(parts)]
        assert check.errors(check.check(values, CASE))


def slots(text: str) -> None:
    """Filling a long answer, and the check of slotted answers as long as are read."""
    filling.is_slotted([text])
    filling.fill(text, SHEET)
    turns = [Turn("What?", text[i : i + 3000]) for i in range(0, min(len(text), 12_000), 3000)]
    for written in ([Turn("What?", text)], [Turn(text, "The person is {p1} years old.")], turns):
        slot_check.examine(written, SHEET)


def told(text: str) -> None:
    """A sheet of long cells, and its explanations."""
    facts = (DISEASE._replace(words=text, text=text), Fact("notes", "x", text, "", text, CELL, text))
    sheet.make(replace(CASE, facts=facts), 0)
    list(glossary.named([text]))


def parse(text: str) -> None:
    """The reply parser, on a reply and within turns and JSON."""
    half = text[: len(text) // 2]
    for reply in (text, f"User: {half}\nAssistant: {half}", f'[{{"role": "user", "content": "{text}'):
        with suppress(reply_parser.Unparsable):
            reply_parser.parse(reply)


def answer(text: str) -> None:
    """Thoughts and chatter."""
    with suppress(reply_text.NoAnswer):
        reply_text.answer(text)
    reply_text.without_chatter(text)
    reply_text.chatter_in(text)
    reply_text.instruction_in(text)


def body(text: str) -> None:
    """Bodies of servers."""
    for raw in (text, f"data: {text}", json.dumps({"error": text}), json.dumps({"choices": [{"message": {"content": text}}]})):
        with suppress(completion.NoCompletion):
            completion.parse(raw)


def files(text: str) -> None:
    """Conversations, questions and tables on disk."""
    with tempfile.TemporaryDirectory() as folder:
        for suffix, read in {
            "jsonl": lambda path: list(conversation.read(path)),
            "json": question_files.read,
            "csv": tables.read,
        }.items():
            path = Path(folder) / f"x.{suffix}"
            path.write_text(text, encoding="utf-8")
            with suppress(UserError):
                read(path)


def cell(text: str) -> None:
    """A cell of a table of one's own, told or not."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "1.png").touch()
        quoted = text.replace('"', '""')
        (Path(folder) / "my.csv").write_text(f'image,disease,notes\n1.png,"{quoted}","{quoted}"\n', encoding="utf-8")
        with suppress(UserError):
            BaseDescription(Path(folder), dataset=str(Path(folder) / "my.csv")).describe("1.png")


def scored(text: str) -> None:
    """An answer of a model, scored."""
    entry = {"id": "1", "image": "1.png", "dataset": "my", "kind": "eye", "subject": "", "question": "?", "reference": "left"}
    scored_answers._score_answer("m", entry, {"qa_pairs": [{"answer": text}]})


FED: dict[str, Callable[[str], object]] = {
    "answer": answer,
    "body": body,
    "cell": cell,
    "conversation_check": conversation_check,
    "files": files,
    "parse": parse,
    "scored": scored,
    "slots": slots,
    "told": told,
    "training_text": lambda text: (list(training_text.unfit(text)), training_text.is_foreign_talk(text)),
}


def main(name: str, size: int) -> None:
    """Prints the seconds by kind."""
    seconds = {}
    for kind in KINDS:
        text = (kind * (size // len(kind) + 1))[:size]
        begun = time.process_time()
        FED[name](text)
        seconds[kind] = round(time.process_time() - begun, 2)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
