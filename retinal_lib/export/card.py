"""A dataset card in Hugging Face form, made from a run's manifest: what a person needs to decide whether to train on it."""

import csv
import json
from collections import Counter
from pathlib import Path

import yaml

from retinal_lib import drawing, paths
from retinal_lib.dataset import page
from retinal_lib.dataset.splits import FILE as SPLITS
from retinal_lib.errors import UserError
from retinal_lib.files import atomic_write

_GRAMS = {"1": "words", "2": "pairs of words"}
_SHOWN = 20  # bars of a figure
_TRACKS = {
    "instruction": "several question-and-answer pairs about each image, for the second stage of training (instruction tuning)",
    "alignment": "one question and answer about each image, for the first stage of training (feature alignment)",
}
_LIMITS = (
    "Answers rest on labels and automatic measurements, not on another look at the image. A label's error is an error here.",
    "AutoMorph's measurements are estimates; they are no reference values, and no normal range is told.",
    "The checks read words: a claim in words that they do not know is not held against a fact, and general advice is let pass.",
    "Not for use in patients: neither these conversations nor a model trained on them is a medical device.",
)
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_card(folder: Path) -> Path:
    """Writes card.md and its pictures into a run's folder; its path. UserError: the folder holds no finished run."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{paths.display_path(folder)} holds no finished run ({error}); give the folder of one") from error
    if "survey" not in manifest:
        raise UserError(f"{paths.display_path(folder)} was made by an earlier version; run it again (nothing is asked twice)")
    pictures = _pictures(folder, manifest)
    text = "\n".join(_head(manifest) + _body(manifest, folder, pictures)) + "\n"
    with atomic_write(folder / "card.md") as file:
        file.write(text)
    return folder / "card.md"


def _head(manifest: dict) -> list[str]:
    """The YAML block that hubs read."""
    accepted, dataset = manifest["counts"]["accepted"], manifest["dataset"]
    size = next((name for limit, name in _SIZES if accepted < limit), "n>1M")
    head = {
        "pretty_name": f"{dataset['title']}: {manifest['run'].split(' ', 1)[1]} conversations",
        "license": "other",
        "license_name": dataset["licence"],
        "language": ["en"],
        "task_categories": ["visual-question-answering"],
        "tags": ["medical", "retina", "fundus photograph", "instruction tuning"],
        "size_categories": [size],
    }
    return ["---", yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=120).rstrip(), "---", ""]


def _body(manifest: dict, folder: Path, pictures: dict[str, str]) -> list[str]:
    dataset = manifest["dataset"]
    lines = [f"# {dataset['title']}: {manifest['run'].split(' ', 1)[1]} conversations", ""]
    if dataset["drawn_sample"]:
        lines += ["**Made from a drawn sample: the eyes are made up, and nothing here is about a patient.**", ""]
    track = manifest["settings"]["track"]
    lines += [
        f"{manifest['counts']['accepted']} conversations: {_TRACKS[track]}. "
        f"Made by {manifest['teacher_is']} ({manifest['model']}).",
        "",
    ]
    lines += ["## Source, licence, attribution", ""]
    lines += [f"- Images and labels: {dataset['title']}; {dataset['citation']}", f"- Licence: {dataset['licence']}"]
    lines += [f"- May be sent to a remote server: {dataset['may_send']}; terms: {_terms(dataset['name'])}"]
    if any("Macular_Features" in name or "results_ensemble" in name for name in manifest["inputs"]):
        lines.append("- Image quality and vessel measurements: AutoMorph (Zhou et al., Transl Vis Sci Technol 2022)")
    lines += ["", "## Counts", "", "| state | images |", "|---|---|"]
    lines += [f"| {state} | {number} |" for state, number in manifest["counts"].items()]
    lines += [f"\n{row['images']} {row['state']}: {row['reason']}" for row in manifest["reasons"]]
    return [*lines, *_splits(folder), *_told(manifest, pictures), *_checks(manifest), *_use()]


def _terms(name: str) -> str:
    try:
        return page.get(name).terms
    except UserError:
        return "as the owner of the table says"


def _splits(folder: Path) -> list[str]:
    """How many images went where."""
    try:
        with (folder / SPLITS).open(encoding="utf-8", newline="") as file:
            counts = Counter(row["split"] for row in csv.DictReader(file))
    except OSError:
        return []
    told = ", ".join(f"{number} {split}" for split, number in sorted(counts.items()))
    return ["", f"Splits by person and picture (`{SPLITS}`): {told}."]


def _told(manifest: dict, pictures: dict[str, str]) -> list[str]:
    survey = manifest["survey"]
    lines = ["", "## What they say", ""]
    lines += [f"![{title}]({name})" for title, name in pictures.items()]
    lines += ["", "| | |", "|---|---|"]
    lines += [f"| turns | {', '.join(f'{n} with {t}' for t, n in survey['turns'].items())} |"]
    lines += [f"| questions that stood before, numbers and small words aside | {survey['repeated']['questions']:.1%} |"]
    lines += [f"| answers that stood before | {survey['repeated']['answers']:.1%} |"]
    lines += [
        f"| different first questions | {survey['openings']['different']}; "
        f"the most common begins {survey['openings']['most common']:.1%} |"
    ]
    grams = survey["distinct_n"].items()
    lines += [f"| different {_GRAMS[name[-1]]} among all, {name[:-2]} | {share:.3f} |" for name, share in grams]
    lines += [f"| sentences without a number or claim that a fact holds | {survey['sentences_without_fact']:.1%} |"]
    if survey["blind_guess"]:
        lines += [
            "",
            "What a reader who sees no picture would guess, for questions after one thing whose answer holds a label:",
            "",
            "| asked after | questions | most common answer | right |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {k} | {g['questions']} | {g['most common answer']} | {g['share']:.0%} |"
            for k, g in survey["blind_guess"].items()
        ]
    return lines


def _checks(manifest: dict) -> list[str]:
    checks = manifest["checks"]
    lines = [
        "",
        "## Checks",
        "",
        f"Each number and claim was held against the cell it comes from (checks version {checks['version']}); "
        "errors went back to the teacher,",
    ]
    lines += [
        f"{checks['repaired']} conversations were put right, {checks['rejected']} rejected for what remained. "
        "`lineage.jsonl` names the cell of each number.",
        "",
    ]
    rows = {(r["kind"], r["severity"]): r["conversations"] for r in checks["before_repair"]}
    after = {(r["kind"], r["severity"]): r["conversations"] for r in checks["after_repair"]}
    if not rows:
        return [*lines, "Nothing was found."]
    lines += ["| finding | severity | before repair | after |", "|---|---|---|---|"]
    return [*lines, *(f"| {k} | {s} | {n} | {after.get((k, s), 0)} |" for (k, s), n in rows.items())]


def _use() -> list[str]:
    return [
        "",
        "## Intended use",
        "",
        "Training and evaluating vision-language models on retinal images, in research, within the licence above.",
        "",
        "## Known limits",
        "",
        *(f"- {limit}" for limit in _LIMITS),
    ]


def _pictures(folder: Path, manifest: dict) -> dict[str, str]:
    """Distributions as PNG files beside the card: title -> file name."""
    survey, made = manifest["survey"], {}
    for title, counts, name in (
        ("What the eyes are told to show", survey["claims"], "card-claims.png"),
        ("Question-and-answer pairs of a conversation", survey["turns"], "card-turns.png"),
    ):
        if counts:
            more = f", the {_SHOWN} most frequent of {len(counts)}" if len(counts) > _SHOWN else ""
            bars = [(str(key), number) for key, number in list(counts.items())[:_SHOWN]]
            drawing.bars({title + more: bars}, max_bars=_SHOWN).savefig(folder / name, dpi=110)
            made[title] = name
    return made
