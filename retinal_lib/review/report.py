"""Review results of finished runs, read from their folders alone: no dataset and no pictures are needed."""

from collections import Counter
from pathlib import Path

from retinal_lib import conversation, paths
from retinal_lib.display import are, count
from retinal_lib.errors import UserError
from retinal_lib.review import agreement, decisions
from retinal_lib.review.decisions import FILE, STATES


def of_folder(folder: Path) -> list[str]:
    """Returns a run's review results in a few lines. UserError: it holds no finished run, or reviews cannot be read."""
    file = folder / "conversations.jsonl"
    if not file.is_file():
        raise UserError(f"{paths.display_path(folder)} holds no conversations.jsonl; name the folder of a finished run")
    hashes = {talk.id: decisions.conversation_hash(talk.to_llava()["conversations"]) for talk in conversation.read(file)}
    made, broken = decisions.read(folder / FILE)
    judged = decisions.verdicts(made, hashes)
    final = Counter(decisions.consensus(judged.get(name, {}).values()).state for name in hashes)
    lines = [f"{paths.display_path(folder)}: " + ", ".join(f"{final[state]:,} {state}" for state in STATES)]
    pairs = agreement.between(map(decisions.votes, judged.values()))
    lines += [f"  {one} and {other}: {found}" for (one, other), found in pairs.items()]
    old = len({d.id for d in decisions.not_undone(made) if hashes.get(d.id) != d.sha256})
    lines += [f"  {count(old, 'sample')} changed since a review, which does not count any more"] if old else []
    return lines + ([f"  {count(broken, 'line')} of {FILE} cannot be read"] if broken else [])


def merge(folders: list[Path], others: list[str]) -> str:
    """Adds the decisions of other reviewers' files to a run's own, and returns how many it has then. UserError: there is not
    exactly one folder; as `of_folder` and `decisions.merge`."""
    if len(folders) != 1:
        raise UserError(f"--merge adds to the reviews of one run, found {count(len(folders), 'folder')}")
    own = folders[0] / FILE
    of_folder(folders[0])
    number = decisions.merge([*([own] if own.is_file() else []), *others], own)
    return f"{count(number, 'decision')} {are(number)} in {paths.display_path(own)}"
