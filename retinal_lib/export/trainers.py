"""The conversations of runs in the forms that trainers read, with one file for each split."""

import json
import re
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from retinal_lib import conversation, paths, typed_paths
from retinal_lib.conversation import Conversation
from retinal_lib.dataset import splits
from retinal_lib.display import count
from retinal_lib.errors import UserError, unknown
from retinal_lib.export import box_texts, numbering, planted_faults, preferences
from retinal_lib.export import pictures as placing
from retinal_lib.export.numbering import Numbers
from retinal_lib.export.preferences import Judged, Pair
from retinal_lib.files import atomic_path, atomic_write, json_line, remove, would_replace
from retinal_lib.review import decisions, fixes
from retinal_lib.run import run_files
from retinal_lib.run.dataset_job import find_pictures
from retinal_lib.text import box_notation, training_text

Entry = Conversation | Pair | Judged
WHOLE = "all"  # the one file of runs without splits
SOURCES = "sources.md"


class Listed(NamedTuple):
    """Files that LLaMA-Factory's dataset_info.json lists: their suffix, the function that makes their rows, and what is told of
    them beside their names."""

    suffix: str
    row: Callable[[Any], dict]
    told: dict


class Form(NamedTuple):
    """A form of export: the suffix of its files, the function that turns an entry into a row, what LLaMA-Factory gets, and what
    a row is: a conversation, or else of preference pairs."""

    suffix: str
    row: Callable[[Any], dict]
    listed: Listed | None = None
    of: str = "conversation"

    @property
    def rows(self) -> dict[str, Callable[[Any], dict]]:
        """The functions that make rows, by the suffix of their files, the form's own first."""
        return {self.suffix: self.row} | ({self.listed.suffix: self.listed.row} if self.listed else {})


def _sharegpt(entry: Conversation) -> dict:
    return {"id": entry.id, "conversations": entry.to_llava()["conversations"], "images": [entry.image]}


def _chat(entry: Conversation) -> dict:
    return {"id": entry.id, "messages": entry.to_messages(), "images": [entry.image]}


def _listed(suffix: str, row: Callable[[Any], dict], *columns: str, **more: object) -> Listed:
    """`columns` are those that are called as LLaMA-Factory calls them, beside conversations and images."""
    tags = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"}
    named = {"messages": "conversations", **dict(zip(columns, columns, strict=True)), "images": "images"}
    named |= {"kto_tag": "label"} if row is preferences.llama_factory_judged else {}
    return Listed(suffix, row, {**more, "columns": named, "tags": tags})


_PAIRS = Form(
    ".jsonl",
    preferences.trl_pair,
    _listed("-sharegpt.json", preferences.llama_factory_pair, "chosen", "rejected", ranking=True),
    "pair",
)
FORMS = {
    "llava": Form(".json", Conversation.to_llava),
    "sharegpt": Form(".json", _sharegpt, _listed(".json", _sharegpt)),
    "chat": Form(".jsonl", _chat),
    "parquet": Form(".parquet", _chat),
    "ms-swift": Form(".jsonl", box_texts.ms_swift),
    "dpo": _PAIRS,
    "orpo": _PAIRS,
    "kto": Form(".jsonl", preferences.trl_judged, _listed("-sharegpt.json", preferences.llama_factory_judged), "answer"),
}
LINEAGE = "lineage.jsonl"  # of pairs


class Export(dict[Path, int]):
    """The files of an export with their numbers of entries; `notes` are sentences for the user, `of` is what an entry is."""

    notes: tuple[str, ...] = ()
    of: str = "conversation"


def export(
    folders: Iterable[str | Path],
    form: str,
    out: str | Path | None = None,
    splits_file: str | Path | None = None,
    images: str | Path | None = None,
    reviewed: str | None = None,
    pictures: str | None = None,
    planted: str | None = None,
    boxes: str | None = None,
    size: int | None = None,
    numbers: bool = False,
) -> Export:
    """Writes the accepted conversations of finished runs in one of FORMS, and returns each file's number of entries.

    There is one file for each split: by the splits.csv of the runs, combined if there are several, or by `splits_file`, a
    splits.csv of your own; without any, one file `all`. Files are written into `out`; for one run, that is `exports/<form>`
    in its folder by default. `sources.md` beside them says where the images come from.
    With `images`, images are named by their whole paths: where the run found them ("" for that), or in the folder that their
    dataset, or their names, begin in. With `pictures`, link or copy, the folder holds the pictures too, and images are named
    by their paths in it, at most `size` pixels long. Each picture must exist.
    With `reviewed` (accepted or unrejected, see decisions.REVIEWED), samples that reviewers rejected or dispute are left out,
    and their fixes are applied. `planted` is the share of conversations with planted faults, see planted_faults.shares;
    `boxes` is the notation of boxes in all texts, one of box_notation.FORMS. With `numbers`, numbers stand for ids and names of
    pictures, which must then be copied.
    UserError: an unknown form, no conversations, an image that splits.csv lacks, a picture that does not exist, drawn
    samples among real datasets, or `out` holds something else than an earlier export of these runs.
    """
    _check_choices(form, reviewed, pictures, planted, boxes)
    _check_pictures(pictures, size, numbers)
    folders, target = _places(folders, out, form)
    runs = _runs(folders, reviewed, FORMS[form])
    sources = _sources(runs)
    split_of_id = _split_of_id(folders, splits_file)
    runs, told = _pairs(runs, planted) if FORMS[form].of != "conversation" else (runs, [])
    _by_split([entry for entries in runs.values() for entry in entries], split_of_id)  # before pictures are copied
    numbered = numbering.numbers(runs, target) if numbers else Numbers({}, {})
    _prepare(target, FORMS[form].suffix, folders if out else [], numbered)
    entries, notes = _with_pictures(runs, target, images, pictures, size, numbered)
    notes += [note for folder in folders if not numbers for note in numbering.note(folder)]
    entries = box_texts.with_boxes(entries, boxes, target) if boxes else entries
    written = _write(target, form, entries, numbered.splits(split_of_id), (folders[0] if len(folders) == 1 else target).name)
    written.notes = (*told, *notes, *written.notes, *_write_sources(target, sources))
    return written


def _places(folders: Iterable[str | Path], out: str | Path | None, form: str) -> tuple[list[Path], Path]:
    """The runs' folders, and that of the export. UserError: several runs, and no folder for them."""
    folders = [typed_paths.resolve(folder) for folder in folders]
    if out is None and len(folders) > 1:
        raise UserError(f"{count(len(folders), 'run')} are exported into one folder; name it with --out <folder>")
    return folders, typed_paths.resolve(out) if out else folders[0] / "exports" / form


def _check_choices(form: str, reviewed: str | None, pictures: str | None, planted: str | None, boxes: str | None) -> None:
    """UserError: there is no such choice."""
    choices = {"choice of reviewed": (reviewed, decisions.REVIEWED), "choice of pictures": (pictures, placing.WAYS)}
    choices["notation of boxes"] = (boxes, box_notation.FORMS)
    for what, (value, known) in {"form": (form, FORMS), **choices}.items():
        if value not in known and (value is not None or what == "form"):
            raise unknown(what, str(value), known)
    if planted is not None and FORMS[form].of == "conversation":
        raise UserError(f"--planted is for pairs: --form {', '.join(f for f in FORMS if FORMS[f].of != 'conversation')}")
    if boxes and form == "ms-swift":
        raise UserError("ms-swift writes boxes in the notation of the model it trains by itself; leave out --boxes")


def _check_pictures(pictures: str | None, size: int | None, numbers: bool) -> None:
    """UserError: the pictures cannot have this size, or numbers for names."""
    if size is not None and (pictures is None or size < 1):
        raise UserError("--size is the longest side of pictures in pixels, such as 1024, and needs --pictures copy or link")
    if numbers and pictures != "copy":
        raise UserError("--numbers gives the pictures other names, and so needs --pictures copy")


def _pairs(runs: dict[Path, list[Conversation]], planted: str | None) -> tuple[dict[Path, list[Pair]], list[str]]:
    """The preference pairs of each run, and sentences on them. UserError: there is none."""
    shares = planted_faults.shares(planted) if planted else {}
    made = {folder: preferences.RunPairs(folder, conversations) for folder, conversations in runs.items()}
    pairs = {folder: run.pairs(shares) for folder, run in made.items()}
    told = [preferences.summary([pair for found in pairs.values() for pair in found])]
    told += [note for run in made.values() for note in run.notes]
    if not any(pairs.values()):
        raise UserError("; ".join(told))
    return pairs, told


def _prepare(target: Path, suffix: str, folders: list[Path], numbered: Numbers) -> None:
    """Creates the folder of an export. A folder that the user named may hold an earlier export of the same runs. UserError: it
    holds something else that would be replaced, or cannot be created."""
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{target} cannot be created as a folder ({error.strerror}); name another one with --out") from error
    if not folders:
        return
    runs = (folder / name for folder in folders for name in ("conversations.jsonl", "failures.jsonl"))
    ours = {entry.get("id") for file in runs if file.is_file() for _, entry in conversation.entries(file)}
    ours |= set(numbered.ids.values())
    for name in (WHOLE, *splits.SPLITS):
        file = target / f"{name}{suffix}"
        if file.is_file() and (others := sum(id_ not in ours for id_ in _ids(file))):
            raise would_replace(file, f"{count(others, 'conversation')} of other runs", "--out ")


def _ids(file: Path) -> Iterable[str]:
    """The ids of an export's file. UserError: it is no such file."""
    if file.suffix != ".parquet":
        return [entry.get("conversation", entry.get("id")) for _, entry in conversation.entries(file)]  # of a pair
    import pyarrow  # comes with the library datasets
    from pyarrow import parquet

    try:
        return parquet.read_table(file, columns=["id"])["id"].to_pylist()
    except (pyarrow.ArrowException, KeyError) as error:
        raise UserError(f"{file} is no export of this program ({error}); name another folder with --out") from error


def _runs(folders: list[Path], choice: str | None, form: Form) -> dict[Path, list[Conversation]]:
    """Each run's accepted conversations that pass `choice` of reviews. UserError: there is none, or one holds what may not
    stand in training text."""
    runs = {}
    for folder in folders:
        file = folder / "conversations.jsonl"
        if not file.is_file():
            raise UserError(f"{paths.display_path(folder)} holds no conversations.jsonl; name the folder of a finished run")
        accepted = conversation.read(file)
        reviewed = choice if form.of == "conversation" else preferences.allowed(folder, choice)
        runs[folder] = list(fixes.reviewed(folder, accepted, reviewed) if reviewed else accepted)
        for number, each in enumerate(runs[folder], start=1):
            if wrong := training_text.problems(text for turn in each.turns for text in turn):
                where = f"{paths.display_path(file)}: conversation {number} of {len(runs[folder])}"
                raise UserError(f"{where} may not be trained on: {wrong[0]}; check the run again (mode=recheck)")
    if not any(runs.values()):
        names, whose = ", ".join(map(paths.display_path, folders)), " by a reviewer" if choice else ""
        raise UserError(f"{names}: no conversation was accepted{whose}, so there is nothing to export")
    return runs


def _sources(runs: dict[Path, list[Conversation]]) -> list[str]:
    """A line for each run, with the source and terms of its images, as far as a manifest tells them. UserError: some runs are
    made from drawn samples, and others are not."""
    told = {f: run_files.read_manifest(f)["dataset"] for f in runs if (f / run_files.MANIFEST).is_file()}
    drawn = [paths.display_path(folder) for folder, source in told.items() if source["drawn_sample"]]
    if drawn and len(drawn) < len(told):
        raise UserError(
            f"{', '.join(drawn)}: made from a drawn sample, and the other runs are not; made-up eyes must not be trained on "
            "with real ones: export them by themselves"
        )
    return [
        f"- {folder.name}, {count(len(runs[folder]), 'conversation')}: "
        + "; ".join(filter(None, (source["title"], source["citation"], f"licence: {source['licence']}", source.get("terms"))))
        for folder, source in told.items()
    ]


def _write_sources(target: Path, sources: list[str]) -> list[str]:
    if sources:
        with atomic_write(target / SOURCES) as file:
            file.write("\n".join(["# Where these conversations and their images come from", "", *sources, ""]))
    return sources


def _with_pictures(
    runs: dict[Path, list[Conversation | Pair]],
    target: Path,
    images: str | Path | None,
    pictures: str | None,
    size: int | None,
    numbered: Numbers,
) -> tuple[list[Conversation | Pair], list[str]]:
    """The entries of all runs with the paths of their images as exported, and sentences on the pictures."""
    if images is None and pictures is None:
        return [entry for entries in runs.values() for entry in entries], []
    root = typed_paths.resolve(images) if images else None
    found = {}
    for folder, entries in ((folder, entries) for folder, entries in runs.items() if entries):
        files = find_pictures(folder, (entry.image for entry in entries), root)
        found |= {(folder, entry.image): files[entry.image] for entry in entries}
    if pictures is None:
        names, notes = placing.leave(found)
    else:
        called = {key: numbered.images.get(key, key[1]) for key in found}
        placed, notes = placing.place({(key[0], called[key]): file for key, file in found.items()}, target, pictures, size)
        names = {key: placed[key[0], called[key]] for key in found if (key[0], called[key]) in placed}
    ids = numbered.ids
    exported = [
        replace(e, id=ids.get((folder, e.id), e.id), image=names[folder, e.image])
        for folder, entries in runs.items()
        for e in entries
        if (folder, e.image) in names
    ]
    return exported, notes


def _split_of_id(folders: list[Path], splits_file: str | Path | None) -> dict[str, str] | None:
    """Id -> split; None if no run has splits. UserError: only some runs have splits, or a file that people may have edited
    has parted a group."""
    own = [folder / splits.FILE for folder in folders if (folder / splits.FILE).is_file()]
    if splits_file is None and not own:
        return None
    if splits_file is None and len(folders) > 1:
        return {row.id: row.split for row in splits.combine_runs(folders)}
    file = folders[0] / splits.FILE if splits_file is None else typed_paths.resolve(splits_file)
    rows = splits.read(file)
    splits.refuse_parted(file, rows, [row for each in own if each != file for row in splits.read(each)])
    return {row.id: row.split for row in rows}


def _by_split(entries: list[Entry], split_of_id: dict[str, str] | None) -> dict[str, list[Entry]]:
    """Split -> its entries, in the order of SPLITS."""
    if split_of_id is None:
        return {WHOLE: entries}
    places = {entry.id: split_of_id.get(entry.id) or split_of_id.get(run_files.image_id(entry.id)) for entry in entries}
    missing = [id_ for id_, split in places.items() if split is None]
    if missing:
        raise UserError(
            f"splits.csv has no row for {count(len(missing), 'conversation')}, the first {missing[0]}; "
            "create splits.csv again: run the dataset again, or retinal splits"
        )
    by_split = {split: [entry for entry in entries if places[entry.id] == split] for split in splits.SPLITS}
    return {split: part for split, part in by_split.items() if part}


def _write(
    target: Path, form: str, entries: list[Conversation | Pair], split_of_id: dict[str, str] | None, name: str
) -> Export:
    """Writes all files of a form, and removes those of an earlier export that are out of date."""
    spec, written = FORMS[form], Export()
    written.of = spec.of
    with ExitStack() as stack:  # all files are renamed into place together
        if spec.of != "conversation":
            lines = stack.enter_context(atomic_write(target / LINEAGE))
            lines.write("".join(f"{json_line(pair.lineage())}\n" for pair in entries))
        rows = [judged for pair in entries for judged in pair.judged()] if spec.of == "answer" else entries
        by_split = _by_split(rows, split_of_id)
        for split, part in by_split.items():
            for suffix, row in spec.rows.items():
                _write_rows(stack, target / f"{split}{suffix}", [row(entry) for entry in part])
            written[target / f"{split}{spec.suffix}"] = len(part)
        if spec.listed:
            file = stack.enter_context(atomic_write(target / "dataset_info.json"))
            file.write(json.dumps(_dataset_info(name, spec.listed, by_split), ensure_ascii=False, indent=2) + "\n")
    for split in {WHOLE, *splits.SPLITS} - set(by_split):
        for suffix in spec.rows:
            remove(target / f"{split}{suffix}")
    if spec.of != "conversation":
        written.notes = (f"why an answer is wrong stands in {LINEAGE}; dataset_info.json lists the same for LLaMA-Factory",)
    return written


def _write_rows(stack: ExitStack, path: Path, rows: list[dict]) -> None:
    if path.suffix == ".parquet":
        _write_parquet(stack.enter_context(atomic_path(path)), rows)
        return
    file, lines = stack.enter_context(atomic_write(path)), map(json_line, rows)
    file.write("[\n" + ",\n".join(lines) + "\n]\n" if path.suffix == ".json" else "".join(f"{line}\n" for line in lines))


def _dataset_info(name: str, listed: Listed, written: Iterable[str]) -> dict:
    """LLaMA-Factory's entry for each split, under a name that its `dataset:` line can hold."""
    return {
        f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}_{split}": {
            "file_name": f"{split}{listed.suffix}",
            "formatting": "sharegpt",
            **listed.told,
        }
        for split in written
    }


def _write_parquet(path: Path, rows: list[dict]) -> None:
    try:
        import pyarrow
        from datasets import Features, Value
        from pyarrow import parquet
    except ImportError as error:
        raise UserError("the form parquet needs the library datasets: python -m pip install -e '.[trainers]'") from error
    text = Value("string")
    messages = [{"role": text, "content": [{"type": text, "text": text}]}]
    features = Features({"id": text, "messages": messages, "images": [text]})
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=features.arrow_schema), path)
