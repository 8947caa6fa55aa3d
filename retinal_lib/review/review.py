"""Finished runs as reviewers see them: each accepted sample, what is known of it, and what was decided."""

import getpass
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from retinal_lib import paths
from retinal_lib.check import conversation_check as check
from retinal_lib.check.findings import finding_entry, trace_entry
from retinal_lib.errors import UserError, unknown
from retinal_lib.facts import Case, Fact
from retinal_lib.review import agreement as chance
from retinal_lib.review import decisions
from retinal_lib.review.decisions import FILE, STATES, Decision, Verdict
from retinal_lib.run import settings
from retinal_lib.run.job import Job

NONE = "none"  # the filter's word for samples without a lesion or finding
STRATA = ("dataset", "split", "lesion", "finding")


class Item(NamedTuple):
    """An accepted sample of a run, without its words. `lesions` are the types that its conversation tells of, `kinds` those
    of the checks' findings; `title` is its id, or a number where names identify participants."""

    run: int
    place: int
    dataset: str
    id: str
    image: str
    title: str
    split: str
    sha256: str
    lesions: tuple[str, ...]
    kinds: tuple[str, ...]

    def stratum(self, by: str) -> str:
        """What the sample counts under, by one of STRATA."""
        told = {"dataset": self.dataset, "split": self.split or NONE}
        told |= {"lesion": " + ".join(self.lesions) or NONE, "finding": " + ".join(self.kinds) or NONE}
        return told[by]


class Page(NamedTuple):
    """A sample as it is laid before a reviewer: the conversation with the reviewer's own fixes, and what it rests on."""

    item: Item
    turns: list[dict[str, str]]
    traces: list[dict]
    findings: list[dict]
    verdict: Verdict
    others: dict[str, Verdict]  # told once the reviewer has a verdict of their own


class Run:
    """A finished run's folder, and the dataset it was made from. UserError: there is no finished run, or its dataset is not
    where it was."""

    def __init__(self, folder: Path, number: int = 0, **moved: object):
        self.folder, self.number = folder, number
        manifest = folder / "manifest.json"
        try:
            self.manifest = json.loads(manifest.read_text(encoding="utf-8"))
            kept = {name: value for name, value in self.manifest["settings"].items() if name in settings.Settings.model_fields}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"no finished run in {paths.display_path(folder)}; make one with notebooks/generate.ipynb, or name its out_dir"
            ) from error
        offline = {"teacher": "offline", "model": None, "mode": "direct", "budget_usd": None, "wait": False, "results": None}
        every = {"dry_run": False, "split": None, "subset": None, "start": 0, "limit": None, "out_dir": folder}
        given = {name: value for name, value in moved.items() if value is not None}
        chosen = settings.Settings(**kept | offline | every | given)
        self.job = Job(chosen)
        self.name = self.job.page.name
        try:
            self.items = list(self._read())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{paths.display_path(folder)}: conversations.jsonl and lineage.jsonl are not whole, or of an earlier version; "
                "run generate.ipynb again, which asks for nothing twice"
            ) from error
        self.known, self.broken = decisions.read(folder / FILE)

    def _read(self) -> Iterator[Item]:
        private = self.job.page.private_names
        types = self.job.page.masks.types if self.job.page.masks else {}
        self._places: list[tuple[int, int]] = []
        with (self.folder / "conversations.jsonl").open("rb") as said, (self.folder / "lineage.jsonl").open("rb") as lineage:
            places, number = [0, 0], 0
            for number, (line, whence) in enumerate(zip(said, lineage, strict=True), start=1):
                entry, origin = orjson.loads(line), orjson.loads(whence)
                if entry["id"] != origin["id"]:
                    raise ValueError("not the same order")
                self._places.append(tuple(places))
                places = [places[0] + len(line), places[1] + len(whence)]
                lesions = tuple(types[code][1] for code in types if any(_tells(trace, code) for trace in origin["traces"]))
                kinds = tuple(sorted({finding["kind"] for finding in origin["findings"]}))
                title = f"image {number}" if private else entry["id"]
                sha = decisions.fingerprint(entry["conversations"])
                image = entry["image"].removeprefix(self.job.context.prefix)
                yield Item(self.number, number - 1, self.name, entry["id"], image, title, origin["split"], sha, lesions, kinds)

    def entry(self, item: Item) -> tuple[dict, dict]:
        """A sample's lines of conversations.jsonl and lineage.jsonl. UserError: the run was made anew since."""
        found = []
        for name, start in zip(("conversations.jsonl", "lineage.jsonl"), self._places[item.place], strict=True):
            try:
                with (self.folder / name).open("rb") as file:
                    file.seek(start)
                    found.append(orjson.loads(file.readline()))
            except (OSError, orjson.JSONDecodeError):
                found.append({})
        if {entry.get("id") for entry in found} != {item.id} or decisions.fingerprint(found[0]["conversations"]) != item.sha256:
            raise UserError(f"{paths.display_path(self.folder)} was made anew; load the review again, decisions are kept")
        return found[0], found[1]


def _tells(trace: dict, code: str) -> bool:
    return trace["fact"] == f"{code}_box" or (trace["fact"] == code and bool(trace["value"]))


class Review:
    """Samples of one or several finished runs before one reviewer. `chosen` are those that the filters and the draw let
    through, in order; every decision is in the run's reviews.jsonl before a method returns."""

    def __init__(self, runs: list[Run], reviewer: str | None = None):
        self.runs, self.who = runs, " ".join((reviewer or _login()).split())
        self.all = [item for run in runs for item in run.items]
        if not self.all:
            names = ", ".join(paths.display_path(run.folder) for run in runs)
            raise UserError(f"{names}: no conversation was accepted, none to review")
        self._found = {(item.run, item.id): item for item in self.all}
        self._made: dict[tuple[int, str], list[Decision]] = defaultdict(list)
        for run in runs:
            for decision in run.known:
                self._made[run.number, decision.id].append(decision)
        self._verdicts: dict[tuple[int, str], dict[str, Verdict]] = {}
        self.drawn, self.by = self.all, "dataset"
        self.sizes = Counter(item.dataset for item in self.all)  # of the strata, before anything was drawn
        self.filters: dict[str, str | None] = {}
        self._within: tuple[list[Item], set[tuple[int, str]]] = [], set()

    @classmethod
    def load(
        cls, reviewer: str | None = None, also: str | None = None, limit: int | None = None, **parameters: object
    ) -> "Review":
        """The run that generate.ipynb made with these parameters, and other runs' folders (`also`, separated by commas).

        Of a published dataset without any run and data_root, the drawn sample is run first. UserError: as in Run.
        """
        parameters = {name: value for name, value in parameters.items() if value is not None}
        chosen = settings.load(**parameters)
        drawn = (
            "out_dir" not in parameters
            and chosen.teacher == "offline"
            and chosen.data_root is None
            and not settings.is_own(chosen.dataset)
        )
        if drawn and not (chosen.folder / "manifest.json").is_file():
            Job.load(**parameters).run().require()
        moved = {name: paths.resolve(parameters[name]) for name in ("data_root", "automorph_root") if name in parameters}
        folders = [name.strip() for name in also.split(",")] if also else []
        runs = [Run(chosen.folder, **moved)]
        runs += [Run(paths.resolve(folder), number) for number, folder in enumerate(folders, start=1)]
        found = cls(runs, reviewer)
        if chosen.split:
            found.drawn = [item for item in found.drawn if item.split == chosen.split]
        found.drawn = found.drawn[:limit]
        return found.draw(None)

    # --- which samples ------------------------------------------------------------------------------------------------

    def draw(self, number: int | None, by: str | None = None, seed: int | None = None) -> "Review":
        """Keeps so many samples of each stratum (None: all of them), `by` one of STRATA. UserError: there is no such."""
        self.by = by or "dataset"
        if self.by not in STRATA:
            raise unknown("stratum", by, STRATA)
        self.sizes = Counter(item.stratum(self.by) for item in self.drawn)
        if number is not None:
            self.drawn = chance.draw(self.drawn, number, lambda item: item.stratum(self.by), lambda item: item.id, seed or 0)
        return self

    @property
    def options(self) -> dict[str, tuple[str, ...]]:
        """The filters, and what each can be set to."""
        lesions = {name for item in self.drawn for name in item.lesions or (NONE,)}
        kinds = {name for item in self.drawn for name in item.kinds or (NONE,)}
        datasets = tuple(dict.fromkeys(item.dataset for item in self.drawn))
        return {"dataset": datasets, "lesion": tuple(sorted(lesions)), "finding": tuple(sorted(kinds)), "state": STATES[:4]}

    def filter(self, **wanted: str | None) -> list[Item]:
        """Sets filters (dataset, lesion, finding, state) and returns what they let through; None lets everything.
        UserError: there is no such filter or value."""
        for name, value in wanted.items():
            if name not in self.options:
                raise unknown("filter", name, self.options)
            if value is not None and value not in self.options[name]:
                raise unknown(name, value, self.options[name])
        self.filters |= wanted
        return self.chosen

    @property
    def chosen(self) -> list[Item]:
        """What the filters let through."""
        return [item for item in self.drawn if self._passes(item)]

    def _passes(self, item: Item) -> bool:
        wanted = {name: value for name, value in self.filters.items() if value is not None}
        has = {"dataset": (item.dataset,), "lesion": item.lesions or (NONE,), "finding": item.kinds or (NONE,)}
        if not all(value in has[name] for name, value in wanted.items() if name != "state"):
            return False
        return "state" not in wanted or self.mine(item).state == wanted["state"]

    def next_unreviewed(self, among: list[Item], after: Item | None = None) -> Item | None:
        """The next one without a verdict of this reviewer, from `after` on and round again; None where all have one."""
        start = among.index(after) + 1 if after in among else 0
        return next((i for i in among[start:] + among[:start] if i != after and self.mine(i).state == "unreviewed"), None)

    def find(self, run: int, name: str) -> Item:
        """The sample of a run with that id."""
        return self._found[run, name]

    # --- what is known of one -----------------------------------------------------------------------------------------

    def page(self, item: Item) -> Page:
        """What to lay before the reviewer. UserError: the run was made anew since, or the dataset cannot be read."""
        said, origin = self.runs[item.run].entry(item)
        mine, theirs = self.mine(item), self.verdicts(item)
        others = {who: verdict for who, verdict in theirs.items() if who != self.who and mine.state != "unreviewed"}
        if not mine.fixes:
            return Page(item, said["conversations"], self._named(item, origin["traces"]), origin["findings"], mine, others)
        turns = decisions.fixed(said["conversations"], mine.fixes)
        read = self._examine(item, turns)
        traces = self._named(item, [trace_entry(t) for t in read.traces])
        return Page(item, turns, traces, [finding_entry(f) for f in read.findings], mine, others)

    def _named(self, item: Item, traces: list[dict]) -> list[dict]:
        """The traces, without the image's name where that identifies a participant."""
        if not self.runs[item.run].job.page.private_names:
            return traces
        own = Path(item.image).name
        return [trace | {"file": "the image's name"} if Path(trace["file"]).name == own else trace for trace in traces]

    def case(self, item: Item) -> Case:
        """All that the run's facts hold on a sample's image. UserError: its image or a mask is not there any more."""
        return self.runs[item.run].job.case(item.image)

    def picture(self, item: Item) -> tuple[Path, list[Fact]]:
        """The image's file, and the facts that hold boxes."""
        case = self.case(item)
        return case.path, [fact for fact in case.facts if fact.name.endswith("_box")]

    def _examine(self, item: Item, turns: list[dict[str, str]]) -> check.Checked:
        chosen = self.runs[item.run].job.settings
        return check.examine(turns, self.case(item), chosen.track, chosen.style)

    # --- decisions ----------------------------------------------------------------------------------------------------

    def verdicts(self, item: Item) -> dict[str, Verdict]:
        """What each reviewer makes of a sample."""
        key = item.run, item.id
        if key not in self._verdicts:
            self._verdicts[key] = decisions.verdicts(self._made.get(key, ()), {item.id: item.sha256}).get(item.id, {})
        return self._verdicts[key]

    def mine(self, item: Item) -> Verdict:
        """What this reviewer makes of a sample."""
        return self.verdicts(item).get(self.who) or Verdict()

    def final(self, item: Item) -> Verdict:
        """What all reviewers together make of a sample."""
        return decisions.together(self.verdicts(item).values())

    def accept(self, item: Item, comment: str = "") -> Decision:
        """The sample is right as it stands, fixes included. UserError, here as below: reviews.jsonl cannot be written."""
        return self._decide(item, "accept", text=comment.strip())

    def reject(self, item: Item, comment: str = "") -> Decision:
        """The sample must not be trained on."""
        return self._decide(item, "reject", text=comment.strip())

    def comment(self, item: Item, text: str) -> Decision:
        """Says something without a verdict. UserError: nothing is said."""
        if not text.strip():
            raise UserError("a comment needs a text")
        return self._decide(item, "comment", text=text.strip())

    def fix(self, item: Item, turn: int, part: str, text: str) -> Decision:
        """Replaces a question or an answer. UserError: the checks find an error in the conversation as fixed, or nothing is
        changed; then nothing is kept."""
        said, _ = self.runs[item.run].entry(item)
        before = decisions.fixed(said["conversations"], self.mine(item).fixes)
        after = decisions.fixed(said["conversations"], self.mine(item).fixes | {(turn, part): text.strip()})
        if after == before:
            raise UserError(f"the {part} of turn {turn} is as it was; change it, then save")
        found = self._examine(item, after).findings
        if wrong := check.errors(found):
            told = "; ".join(dict.fromkeys(f"turn {f.turn}, {f.part}: {f.text}" for f in wrong))
            raise UserError(f"not saved, the checks stand against it: {told}")
        warned = [finding_entry(f) for f in found]
        return self._decide(item, "fix", turn=turn, part=part, text=text.strip(), checks=check.VERSION, findings=warned)

    def undo(self) -> Item:
        """Takes back this reviewer's latest decision that stands, and returns its sample. UserError: there is none."""
        own = [(d.order, run.number, d) for run in self.runs for d in decisions.standing(run.known) if d.who == self.who]
        own = [(number, d) for _, number, d in sorted(own, key=lambda row: row[0]) if self._current(number, d)]
        if not own:
            raise UserError("nothing to undo")
        number, last = own[-1]
        item = self._found[number, last.id]
        self._decide(item, "undo", undoes=last.key)
        return item

    def _current(self, number: int, decision: Decision) -> bool:
        item = self._found.get((number, decision.id))
        return item is not None and item.sha256 == decision.sha256

    def _decide(self, item: Item, what: str, **said: object) -> Decision:
        run = self.runs[item.run]
        known = [decision for each in self.runs for decision in each.known]
        made = decisions.new(known, self.who, what, id=item.id, sha256=item.sha256, **said)
        decisions.append(run.folder / FILE, made)
        run.known.append(made)
        self._made[item.run, item.id].append(made)
        self._verdicts.pop((item.run, item.id), None)
        return made

    # --- how it stands --------------------------------------------------------------------------------------------------

    @property
    def progress(self) -> tuple[int, int]:
        """How many of the drawn samples have a verdict of this reviewer, and how many there are."""
        return sum(self.mine(item).state != "unreviewed" for item in self.judged), len(self.drawn)

    @property
    def judged(self) -> list[Item]:
        """Those of the drawn samples that any reviewer said something of."""
        if self._within[0] is not self.drawn:
            self._within = self.drawn, {(item.run, item.id) for item in self.drawn}
        return [self._found[key] for key in self._made if key in self._within[1]]


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without names
        return "reviewer"
