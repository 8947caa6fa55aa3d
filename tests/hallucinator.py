"""A teacher on loopback that composes true conversations and plants faults in a share of them, and mends them when told."""

import random
import re
from collections.abc import Iterable

from aiohttp import web
from fake_server import completion

from retinal_lib.slots import filling
from retinal_lib.slots.sheet import FactSheet

_NUMBER = re.compile(r"(?<![\d.\[])\d+\.\d{2,}(?![\d\]])")
_SLOT = re.compile(r"\{\w+(?:\.\w+)?\}")
_FAULTS = ("number", "disease", "side", "leak", "quality", "data")
_SLOT_FAULTS = (*_FAULTS, "swapped", "unknown slot", "comparison", "word")
_SAID = {
    "disease": "There is also a retinal detachment with vitreous haemorrhage.",
    "side": "This is the left eye and at once the right eye of OD and OS.",
    "data": "The provided data say so.",
    "quality": "The image is badly blurred and of poor quality.",
    "unknown slot": "It measures {v99} as well.",
    "comparison": "The retinal arteries are three times as wide as the veins.",
    "word": "The macula shows a cherry-red spot.",
}


class Hallucinator:
    """A script for FakeServer. `truths` gives the true conversation for a sheet, with slots; faults come at `rate`, and at
    `again` in what is sent back. A teacher without slots (`slots` False) writes the values by itself. `wrong` are the answers
    with a fault that it said, as they would be exported."""

    def __init__(self, truths: dict[FactSheet, str], rate: float, again: float, slots: bool = True, seed: int = 0):
        self.truths = {sheet.text: (sheet, truth) for sheet, truth in truths.items()}
        self.rate, self.again, self.slots, self.seed = rate, again, slots, seed
        self.planted = self.mended = 0
        self.wrong: set[str] = set()

    def __call__(self, number: int, body: dict) -> web.Response:
        """Answers a request, or its corrective turn."""
        messages = body["messages"]
        sheet, truth = self.truths[messages[1]["content"].partition("\n\n")[0]]
        reply, sent_back = truth if self.slots else filled(truth, sheet), len(messages) > 2
        draw = random.Random(f"{self.seed}:{messages[1:]}")  # the same in whatever order requests come
        if draw.random() < (self.again if sent_back else self.rate):
            self.planted += 1
            planted = self._planted(reply, sheet, draw)
            self.wrong |= {*_answers(filled(planted, sheet))} - {*_answers(filled(truth, sheet))}
            return completion(planted)
        self.mended += sent_back
        return completion(reply)

    def _planted(self, reply: str, sheet: FactSheet, draw: random.Random) -> str:
        """The reply with one fault in it."""
        fault = draw.choice(_SLOT_FAULTS if self.slots else _FAULTS)
        if fault == "quality" and "not gradable" in sheet.text:
            fault = "disease"  # there, poor quality is true
        lines = reply.split("\n")
        values = [i for i, line in enumerate(lines) if i % 2 and (_SLOT if self.slots else _NUMBER).search(line)]
        if fault == "leak":
            lines[-2] = "User: What does CRAE_Knudtson_zone_b say?"
        elif fault == "number" and values:
            place = draw.choice(values)
            lines[place] = (_SLOT if self.slots else _NUMBER).sub("777.77", lines[place], count=1)
        elif fault == "swapped" and (pairs := [*swaps(lines, sheet)]):
            lines = draw.choice(pairs)
        else:
            lines[-1] += f" {_SAID.get(fault, _SAID['disease'])}"
        return "\n".join(lines)

    def said_wrong(self, conversations: Iterable[dict]) -> list[str]:
        """The answers of conversations that have a fault which was planted."""
        answers = (part["value"] for entry in conversations for part in entry["conversations"][1::2])
        return [answer for answer in answers if answer in self.wrong]


def filled(reply: str, sheet: FactSheet) -> str:
    """A reply whose slots are filled, without marks."""
    return "\n".join(filling.fill(line, sheet).text for line in reply.split("\n"))


def _answers(reply: str) -> Iterable[str]:
    return (line.removeprefix("Assistant: ") for line in reply.split("\n")[1::2])


def swaps(lines: list[str], sheet: FactSheet) -> Iterable[list[str]]:
    """The lines of a reply with two measurements exchanged that stand in one answer and read differently."""
    for place, line in enumerate(lines):
        measured = [slot for slot in _SLOT.findall(line) if slot.startswith("{v")]
        pairs = ((a, b) for i, a in enumerate(measured) for b in measured[i + 1 :])
        for a, b in ((a, b) for a, b in pairs if _reads(a, sheet) != _reads(b, sheet)):
            yield [*lines[:place], line.replace(a, "\0").replace(b, a).replace("\0", b), *lines[place + 1 :]]


def _reads(slot: str, sheet: FactSheet) -> str:
    return sheet.slots[slot.strip("{}")][1].text
