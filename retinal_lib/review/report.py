"""What reviewers came to: how far they are, how many errors there are, how far they agree."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import pandas as pd

from retinal_lib import conversation, paths
from retinal_lib.display import FullTable, are, count
from retinal_lib.errors import UserError
from retinal_lib.review import agreement as chance
from retinal_lib.review import decisions
from retinal_lib.review import sample_html as markup
from retinal_lib.review.agreement import Agreement
from retinal_lib.review.decisions import FILE, STATES, Verdict
from retinal_lib.review.review import Review
from retinal_lib.run import run_files as export


def table(review: Review) -> pd.DataFrame:
    """The runs under review, one row each."""
    rows = []
    for run in review.runs:
        made = "drawn eyes of this project" if run.job.drawn else str(run.job.data.root)
        mine = [item for item in review.drawn if item.run == run.number]
        broken = f"; {count(run.broken, 'line')} of {FILE} cannot be read" if run.broken else ""
        rows.append((run.manifest["run"], made, len(run.items), len(mine), f"{count(len(run.known), 'decision')}{broken}"))
    names = [paths.display_path(run.folder) for run in review.runs]
    return FullTable(rows, columns=["run", "data", "accepted samples", "under review", "so far"], index=names)


def states(review: Review) -> pd.DataFrame:
    """How many of the samples under review are in each state, by this reviewer and by all together."""
    mine = Counter(review.mine(item).state for item in review.drawn)
    final = Counter(review.final(item).state for item in review.drawn)
    return FullTable({"you": [mine[s] for s in STATES], "all reviewers": [final[s] for s in STATES]}, index=list(STATES))


def rates(review: Review) -> pd.DataFrame:
    """The error rate of each stratum and of the whole, with its interval at 95 %. An error is a sample that was rejected or
    fixed, or that reviewers dispute. It holds for samples that were drawn, not for ones that were picked out."""
    whole = review.sizes
    wrong, seen = Counter(), Counter()
    for item in review.judged:
        state = review.final(item).state
        seen[item.stratum(review.by)] += state != "unreviewed"
        wrong[item.stratum(review.by)] += state not in ("unreviewed", "accepted")
    rows = [(name, whole[name], str(chance.rate(wrong[name], seen[name]))) for name in sorted(whole)]
    if len(whole) > 1:
        total = chance.weighted([(whole[name], wrong[name], seen[name]) for name in whole])
        rows.append(("all, weighted by size", sum(whole.values()), str(total)))
    return FullTable(rows, columns=[review.by, "samples", "errors"])


def agreements(judged: Iterable[dict[str, Verdict]]) -> dict[tuple[str, str], Agreement]:
    """Each two reviewers, and how far they agree (accepted, fixed, rejected) on what both have judged."""
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for verdicts in judged:
        votes = {who: verdict.state for who, verdict in sorted(verdicts.items()) if verdict.state != "unreviewed"}
        for one, other in combinations(votes, 2):
            pairs[one, other].append((votes[one], votes[other]))
    return {who: chance.agreement(votes) for who, votes in sorted(pairs.items())}


def agreement(review: Review) -> pd.DataFrame:
    """How far each two reviewers agree."""
    found = agreements(review.verdicts(item) for item in review.judged)
    rows = [(one, other, told.both, str(told)) for (one, other), told in found.items()]
    none = [("", "", 0, "no two reviewers have judged the same sample yet")]
    return FullTable(rows or none, columns=["", "and", "both", "agreement"])


def files(review: Review) -> pd.DataFrame:
    """What reviewing has left in the runs' folders."""
    known = {FILE: export.AT_TIMES[FILE], markup.SHEET: "samples with their pictures, to look at in a browser"}
    found = {
        paths.display_path(f): what for run in review.runs for name, what in known.items() if (f := run.folder / name).is_file()
    }
    return FullTable({"holds": list(found.values())}, index=list(found))


def lines(review: Review) -> list[str]:
    """The same in a few lines, for the desk."""
    done, _ = review.progress
    if not done:
        return []
    told = rates(review)
    found = agreements(review.verdicts(item) for item in review.judged)
    return [f"Errors: {told.iloc[-1]['errors']}"] + [f"{one} and {other}: {said}" for (one, other), said in found.items()]


def of_folder(folder: Path) -> list[str]:
    """A run's reviews in a few lines, without its dataset. UserError: it holds no finished run, or reviews cannot be read."""
    file = folder / "conversations.jsonl"
    if not file.is_file():
        raise UserError(f"{paths.display_path(folder)} holds no conversations.jsonl; name the folder of a finished run")
    hashes = {talk.id: decisions.fingerprint(talk.to_llava()["conversations"]) for talk in conversation.read(file)}
    made, broken = decisions.read(folder / FILE)
    judged = decisions.verdicts(made, hashes)
    final = Counter(decisions.together(judged.get(name, {}).values()).state for name in hashes)
    told = [f"{paths.display_path(folder)}: " + ", ".join(f"{final[state]:,} {state}" for state in STATES)]
    told += [f"  {one} and {other}: {said}" for (one, other), said in agreements(judged.values()).items()]
    old = len({d.id for d in decisions.standing(made) if hashes.get(d.id) != d.sha256})
    told += [f"  {count(old, 'sample')} changed since a review, which does not count any more"] if old else []
    return told + ([f"  {count(broken, 'line')} of {FILE} cannot be read"] if broken else [])


def merge(folders: list[Path], others: list[str]) -> str:
    """Adds the decisions of other reviewers' files to a run's own, and returns how many it has then. UserError: there is not
    exactly one folder; as `of_folder` and `decisions.merge`."""
    if len(folders) != 1:
        raise UserError(f"--merge adds to the reviews of one run, found {count(len(folders), 'folder')}")
    own = folders[0] / FILE
    of_folder(folders[0])
    number = decisions.merge([*([own] if own.is_file() else []), *others], own)
    return f"{count(number, 'decision')} {are(number)} in {paths.display_path(own)}"
