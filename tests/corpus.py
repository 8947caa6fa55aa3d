"""The labelled corpus of the checks: conversations written by hand over twelve datasets and a table of one's own.

`python tests/corpus.py` prints recall and precision per kind of fault, and false alarms on clean conversations; `--checker
module:function` scores another checker (tests/corpus/README.md). A fault is found where its question-and-answer pair has a
finding (for form and coverage: where the conversation has one of that kind).
"""

import argparse
import importlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from retinal_lib.check import conversation_check
from retinal_lib.check.findings import Finding
from retinal_lib.dataset import measurements
from retinal_lib.facts import Case, Fact, Source

HERE = Path(__file__).resolve().parent / "corpus"
AIMS = {"number": 0.98, "side": 0.98, "claim": 0.95, "leak": 0.95}
FALSE_ALARMS = 0.01
Checker = Callable[[list[dict[str, str]], list[str]], Iterable[int]]  # conversation and facts -> the turns that are wrong
other: list[Checker] = []  # the checker that is scored instead of ours


class Entry(NamedTuple):
    """A conversation with its case; of a planted one the group and kind of its fault, its turn, and what is said wrong."""

    case: Case
    track: str
    style: str | None
    conversation: list[dict[str, str]]
    group: str = ""
    fault: str = ""
    turn: int = 0
    said: str = ""


@cache
def cases() -> dict[str, Case]:
    """The cases by name; measurements are kept as numbers and worded as everywhere."""
    found = {}
    for line in (HERE / "cases.jsonl").read_text(encoding="utf-8").splitlines():
        kept = json.loads(line)
        facts = [
            Fact(*f[:2], tuple(f[2]) if isinstance(f[2], list) else f[2], *f[3:5], Source(*f[5]), *f[6:]) for f in kept["facts"]
        ]
        for name, value in kept["measurements"].items():
            feature, source = measurements.feature(name), Source(*kept["measured_in"], name)
            facts.append(Fact("vascular", name, value, feature.unit, feature.template % value, source, feature.words))
        names = [kept[name] for name in ("dataset", "id", "image")]
        path = Path(kept["image"])
        found[kept["case"]] = Case(
            *names, path, kept["split"], kept["patient"], kept["eye"], tuple(facts), tuple(kept["missing"])
        )
    return found


def entries(name: str) -> Iterator[Entry]:
    """The conversations of clean.jsonl or planted.jsonl."""
    for line in (HERE / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        kept = json.loads(line)
        yield Entry(**{**kept, "case": cases()[kept["case"]]})


def findings(entry: Entry) -> list[Finding]:
    """What the checks, or the other checker, find in a conversation."""
    if other:
        told = [fact.text for fact in entry.case.facts]
        return [Finding("other", "error", turn, (0, 0), "") for turn in other[0](entry.conversation, told)]
    return conversation_check.check(entry.conversation, entry.case, entry.track, entry.style)


def hits(entry: Entry, found: list[Finding]) -> list[Finding]:
    """The findings that are about the planted fault."""
    if other and entry.group in ("form", "coverage"):
        return found
    if entry.group in ("form", "coverage"):
        return [f for f in found if f.kind.startswith(entry.group)]
    return [f for f in found if f.turn == entry.turn and not f.kind.startswith("coverage")]


class Measured(NamedTuple):
    """What the checks come to: planted and found faults, right and all findings by kind, and clean conversations with any."""

    planted: Counter
    found: Counter
    right: Counter
    told: Counter
    clean: int
    alarmed: list[tuple[Entry, list[Finding]]]
    missed: list[Entry]

    def recall(self, group: str) -> float:
        """The share of a group's faults that are found."""
        total = sum(n for (g, _), n in self.planted.items() if g == group)
        return sum(n for (g, _), n in self.found.items() if g == group) / total


@cache
def measured() -> Measured:
    """Runs the checks over the whole corpus."""
    result = Measured(Counter(), Counter(), Counter(), Counter(), 0, [], [])
    for entry in entries("planted"):
        found = findings(entry)
        right = hits(entry, found)
        result.planted[entry.group, entry.fault] += 1
        result.found[entry.group, entry.fault] += bool(right)
        result.right.update({f.kind for f in right})
        result.told.update({f.kind for f in right} | {f.kind for f in found if not f.kind.startswith("coverage")})
        if not right:
            result.missed.append(entry)
    count = 0
    for entry in entries("clean"):
        count += 1
        if found := [f for f in findings(entry) if not f.kind.startswith("coverage")]:
            result.alarmed.append((entry, found))
            result.told.update({f.kind for f in found})
    return result._replace(clean=count)


class Unseen(NamedTuple):
    """What the checks come to on the conversations that were written without a look at them, by part and kind: faulty ones and
    found ones, faithful ones and alarms."""

    counted: dict[tuple[int, str], list[int]]
    wrong: list[tuple[dict, list[Finding]]]

    def total(self, part: int) -> list[int]:
        """The sums over all kinds of one part."""
        return [sum(column) for column in zip(*(n for (p, _), n in self.counted.items() if p == part), strict=True)]


@cache
def unseen() -> Unseen:
    """Runs the checks over unseen.jsonl; a fault is found where anything but coverage and the number of turns is."""
    result = Unseen({}, [])
    for line in (HERE / "unseen.jsonl").read_text(encoding="utf-8").splitlines():
        kept = json.loads(line)
        entry = Entry(cases()[kept["case"]], "instruction", None, kept["conversation"])
        found = [f for f in findings(entry) if not f.kind.startswith(("coverage", "form_turns"))]
        row = result.counted.setdefault((kept["part"], kept["kind"]), [0, 0, 0, 0])
        row[0 if kept["faulty"] else 2] += 1
        row[1 if kept["faulty"] else 3] += bool(found)
        if bool(found) != kept["faulty"]:
            result.wrong.append((kept, found))
    return result


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checker", help="module:function, which gets a conversation and its facts and gives the wrong turns")
    parser.add_argument("-v", action="store_true", help="names every fault that is missed, and every false alarm")
    given = parser.parse_args()
    if given.checker:
        module, _, function = given.checker.partition(":")
        other.append(getattr(importlib.import_module(module), function))
    print_unseen(given.v)
    print_planted(given.v)


def print_unseen(verbose: bool) -> None:
    """Prints recall and false alarms on the unseen conversations."""
    result = unseen()
    print(f"{'written unseen':20} {'faulty':>7} {'found':>6} {'recall':>7}   {'faithful':>8} {'alarms':>6} {'share':>6}")
    rows = [(f"  {part} {kind}", n) for (part, kind), n in result.counted.items()]
    for name, (faulty, found, faithful, alarms) in [*rows, *((f"part {part}", result.total(part)) for part in (1, 2, 3))]:
        print(f"{name:20} {faulty:7} {found:6} {found / faulty:7.3f}   {faithful:8} {alarms:6} {alarms / faithful:6.3f}")
    print()
    for kept, found in result.wrong if verbose else ():
        said = [part["value"] for part in kept["conversation"]][-2:]
        print(
            f"{'missed' if kept['faulty'] else 'false alarm'}: {kept['kind']}, {kept['case']}: {said} {[f.text for f in found]}"
        )


def print_planted(verbose: bool) -> None:
    """Prints recall and precision on the planted faults, and false alarms on the clean conversations."""
    result = measured()
    print(f"{'fault':32} {'planted':>8} {'found':>6} {'recall':>7}")
    for group in dict.fromkeys(g for g, _ in sorted(result.planted)):
        for (_, fault), n in sorted(item for item in result.planted.items() if item[0][0] == group):
            print(f"  {fault:30} {n:8} {result.found[group, fault]:6} {result.found[group, fault] / n:7.3f}")
        aim = f"   (aim {AIMS[group]})" if group in AIMS else ""
        planted = sum(n for (g, _), n in result.planted.items() if g == group)
        print(f"{group:32} {planted:8} {'':6} {result.recall(group):7.3f}{aim}")
    print(f"\n{'finding':32} {'told':>8} {'right':>6} {'precision':>9}")
    for kind, n in sorted(result.told.items()):
        print(f"  {kind:30} {n:8} {result.right[kind]:6} {result.right[kind] / n:9.3f}")
    share = len(result.alarmed) / result.clean
    print(
        f"\nfalse alarms: {len(result.alarmed)} of {result.clean} clean conversations, "
        f"{share:.2%} (aim at most {FALSE_ALARMS:.0%})"
    )
    if verbose:
        for entry in result.missed:
            print(f"missed: {entry.fault} in turn {entry.turn} of {entry.case.id}: {entry.said!r}")
        for entry, found in result.alarmed:
            print(f"false alarm: {entry.case.id}: {[(f.turn, f.kind, f.text) for f in found]}")


if __name__ == "__main__":
    main()
