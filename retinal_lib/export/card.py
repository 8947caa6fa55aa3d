"""A dataset card in Hugging Face's format, made from a run's manifest, to decide by whether to train on the run."""

from collections import Counter
from pathlib import Path

import yaml

from retinal_lib import display
from retinal_lib.dataset import splits
from retinal_lib.dataset.splits import FILE as SPLITS
from retinal_lib.files import atomic_write
from retinal_lib.imaging import drawing
from retinal_lib.run import run_files

_MAX_BARS = 20  # of a figure
_TRACKS = {
    "instruction": "several question-and-answer pairs about each image, for the second stage of training (instruction tuning)",
    "alignment": "one question and answer about each image, for the first stage of training (feature alignment)",
    "vqa": "closed questions with their answers, made from the facts by the program, as far as labels affirm and deny",
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_card(folder: Path) -> Path:
    """Writes card.md and its pictures into a run's folder and returns its path. UserError: the folder holds no finished
    run."""
    manifest = run_files.read_manifest(folder)
    dataset, checks = manifest["dataset"], manifest["checks"]
    title = f"{dataset['title']}: {manifest['run'].split(' ', 1)[1]} conversations"
    card = display.render(
        "export/card.md.jinja",
        manifest=manifest,
        title=title,
        head=_head(title, manifest),
        dataset=dataset,
        track=_TRACKS[manifest["settings"]["track"]],
        counts=manifest["counts"],
        with_automorph=any("Macular_Features" in name or "results_ensemble" in name for name in manifest["inputs"]),
        splits=_splits(folder / SPLITS),
        pictures=_pictures(folder, manifest["survey"], dataset["drawn_sample"]),
        survey=manifest["survey"],
        checks=checks,
        after_repair={(row["kind"], row["severity"]): row["conversations"] for row in checks["after_repair"]},
    )
    with atomic_write(folder / "card.md") as file:
        file.write(card)
    return folder / "card.md"


def _head(title: str, manifest: dict) -> str:
    """The YAML block that hubs read."""
    accepted = manifest["counts"]["accepted"]
    head = {
        "pretty_name": title,
        "license": "other",
        "license_name": manifest["dataset"]["licence"],
        "language": ["en"],
        "task_categories": ["visual-question-answering"],
        "tags": ["medical", "retina", "fundus photograph", "instruction tuning"],
        "size_categories": [next((name for limit, name in _SIZES if accepted < limit), "n>1M")],
    }
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=120).rstrip()


def _splits(path: Path) -> str:
    """The number of images in each split, and what it rests on; "" if the run has no splits. UserError: splits.csv cannot be
    read."""
    if not path.exists():
        return ""
    rows = splits.read(path)
    counts = Counter(row.split for row in rows)
    listed = ", ".join(f"{number} {split}" for split, number in sorted(counts.items()))
    if unknown := splits.of_unknown_persons(rows):
        return f"Splits (`{SPLITS}`): {listed}. **{unknown}.**"
    return f"Splits by person and picture (`{SPLITS}`): {listed}."


def _pictures(folder: Path, survey: dict, drawn: bool) -> dict[str, str]:
    """Draws the distributions as PNG files beside the card; title -> file name."""
    pictures = {}
    for title, counts, name in (
        ("Findings that the conversations mention", survey["claims"], "card-claims"),
        ("Question-and-answer pairs of a conversation", survey["turns"], "card-turns"),
    ):
        if counts:
            bars = [(str(key), number) for key, number in counts.items()]
            figure = drawing.tell_drawn(drawing.bars({title: bars}, max_bars=_MAX_BARS), drawn)
            (file,) = drawing.save(figure, folder / name, ("png",))
            pictures[title] = file.name
    return pictures
