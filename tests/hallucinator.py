"""A teacher on loopback that composes true conversations and plants faults in a share of them, and mends them when told."""

import json
import random
import re

from aiohttp import web
from fake_server import completion

_NUMBER = re.compile(r"(?<![\d.\[])\d+\.\d{2,}(?![\d\]])")
FAULTS = ("number", "disease", "side", "leak", "quality", "data")
_SAID = {
    "disease": "There is also a retinal detachment with vitreous haemorrhage.",
    "side": "This is the left eye and at once the right eye of OD and OS.",
    "data": "The provided data say so.",
    "quality": "The image is badly blurred and of poor quality.",
}
MARKS = ("retinal detachment", "OD and OS", "provided data", "badly blurred", "777.77", "CRAE_Knudtson_zone_b")


def plant(reply: str, fault: str, draw: random.Random) -> str:
    """The reply with one fault in it."""
    lines = reply.split("\n")
    if fault == "leak":
        lines[-2] = "User: What does CRAE_Knudtson_zone_b say?"
    elif fault == "number" and (found := [i for i, line in enumerate(lines) if i % 2 and _NUMBER.search(line)]):
        place = draw.choice(found)
        lines[place] = _NUMBER.sub("777.77", lines[place], count=1)
    else:
        lines[-1] += f" {_SAID.get(fault, _SAID['disease'])}"
    return "\n".join(lines)


class Hallucinator:
    """A script for FakeServer. `truth` gives the true conversation for the facts of a request; faults come at `rate`, and at
    `again` in what is sent back."""

    def __init__(self, truth: dict[str, str], rate: float, again: float, seed: int = 0):
        self.truth, self.rate, self.again, self.draw = truth, rate, again, random.Random(seed)
        self.planted = self.mended = 0

    def __call__(self, number: int, body: dict) -> web.Response:
        """Answers a request, or its corrective turn."""
        messages = body["messages"]
        reply, sent_back = self.truth[messages[1]["content"]], len(messages) > 2
        if self.draw.random() < (self.again if sent_back else self.rate):
            self.planted += 1
            return completion(plant(reply, self.draw.choice(FAULTS), self.draw))
        self.mended += sent_back
        return completion(reply)


def faulty(conversations: str) -> list[str]:
    """The marks of planted faults that a text holds."""
    return [mark for mark in MARKS if mark in json.dumps(conversations)]
