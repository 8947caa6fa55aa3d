"""The command line of the package: `retinal --help` lists its commands, and `python -m retinal_lib` is another way to say it.

Each command imports what it needs when it runs, so that --help answers at once.
"""

import argparse
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

from retinal_lib import paths, typed_paths
from retinal_lib.display import are, count
from retinal_lib.errors import UserError, nearest, unknown
from retinal_lib.text.shown_text import for_people


def run_folder(word: str) -> Path:
    """Returns the folder of a run: a path, or the name of a folder below artifacts/ with or without its track. UserError:
    several runs have the name."""
    folder, artifacts, name = typed_paths.resolve(word), typed_paths.root() / "artifacts", word.casefold()
    if folder.exists() or not artifacts.is_dir():
        return folder
    runs = {each.name: each for each in sorted(artifacts.iterdir()) if (each / "manifest.json").is_file()}
    found = [run for run in runs if run.casefold() == name] or [run for run in runs if run.casefold().startswith(f"{name}-")]
    if len(found) > 1:
        raise UserError(f"several runs are called {word}: {', '.join(found)}; name one of them")
    return runs[found[0]] if found else folder


_RUN = {"metavar": "RUN", "type": run_folder, "help": "a finished run: its folder, or its name below artifacts/"}
_NOTEBOOKS = {
    "generate": "makes conversations from a dataset",
    "explore": "shows a dataset in one page",
    "infer": "asks a model about images",
    "train": "trains a model on conversations",
    "evaluate": "scores answers against a dataset's labels",
}
_KEYS = "papermill runs the notebook; each key is one of its parameters, and a wrong one is answered by the list of all."
_FORMS = """forms:
  llava     LLaVA's training: one list of id, image, conversations
  sharegpt  LLaMA-Factory: conversations and images, with dataset_info.json
  chat      TRL and others: messages of OpenAI's form with image parts, and images
  parquet   the same as Parquet, for the library datasets
  ms-swift  ms-swift: messages with <bbox> for boxes, images, objects
  dpo, orpo preference pairs for TRL: prompt, chosen, rejected; and for LLaMA-Factory, with dataset_info.json
  kto       the same, each answer by itself: prompt, completion, label"""


def main(arguments: list[str]) -> str:
    """Runs a command and returns the text to print. UserError: as the function behind the command says."""
    parser, commands = _parser()
    if not arguments or (arguments[0] not in commands and not arguments[0].startswith("-")):
        _check_dataset(arguments, list(commands))
        arguments = ["show", *arguments]
    options = parser.parse_args(arguments)
    return options.run(options)


def _check_dataset(arguments: list[str], commands: list[str]) -> None:
    """Checks that the first word can be a dataset. UserError: it is rather a mistyped command."""
    from retinal_lib.dataset import page

    word = arguments[0] if arguments else "ODIR"
    if _is_dataset(word):
        return
    if len(arguments) > 1 or nearest(word.casefold(), [*commands, *map(str.casefold, page.names())]) in commands:
        raise unknown("command", word, commands)


def _is_dataset(word: str) -> bool:
    """Whether a word names a published dataset, or a page or table of the user's own."""
    from retinal_lib.dataset import page

    return word.casefold() in map(str.casefold, page.names()) or page.is_own(word)


def _parser() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    """The parser, and by name those of its commands."""
    parser = ArgumentParser(
        prog="retinal",
        description="Makes and checks conversations. `retinal DATASET` is short for `show DATASET`; where retinal is not on "
        "the path, `python -m retinal_lib` does the same.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[Namespace], str], text: str, **more: object) -> Callable:
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", **more)
        command.set_defaults(run=run)
        return command.add_argument

    _add_notebooks(add)
    argument = add("show", _show, "says where the conversations of a dataset are, and prints the first")
    argument("dataset", nargs="?", default="ODIR", help="a dataset's name, your own page or table, or a run (ODIR)")

    _add_splits(add)

    _add_export(add)

    argument = add("survey", _survey, "measures repetition, variety and balance of runs, and what a blind reader could guess")
    argument("folders", nargs="+", **_RUN)
    argument("--images", type=typed_paths.resolve, help="the folder of the dataset; finds near-identical pictures")

    argument = add("card", _card, "writes a run's dataset card, card.md, and its figures")
    argument("folder", **_RUN)

    _add_boxes(add)

    argument = add("page", _page, "writes the beginning of a dataset page from a look at a folder and its tables")
    argument("folder", type=typed_paths.resolve, help="the folder that holds pictures and tables")
    argument("--out", type=typed_paths.resolve, help="the file to write (<folder>/<its name>.yaml)")

    argument = add("review", _review, "shows a dataset's run (review.ipynb); of run folders, counts reviewers' decisions")
    argument("words", nargs="*", metavar="WORD", help="a dataset and key=value…, or the folders of finished runs")
    argument("--merge", nargs="+", metavar="reviews.jsonl", default=[], help="files of other reviewers, to add to the run's")

    add("doctor", _doctor, "looks at Python, packages, disk, key, server, GPU, font and kernel, and says what to do")
    return parser, commands.choices


def _add_notebooks(add: Callable[..., Callable]) -> None:
    for name, text in _NOTEBOOKS.items():
        argument = add(name, partial(_notebook, name), f"{text} ({name}.ipynb)", epilog=_KEYS)
        argument("words", nargs="*", metavar="WORD", help="a dataset, then key=value… such as data_root=/data/ODIR-5K limit=20")
    argument = add("notebooks", _copy_notebooks, "copies the notebooks into a folder of yours")
    argument("folder", type=typed_paths.resolve, help="the folder; a notebook of yours there is never replaced")


def _add_splits(add: Callable[..., Callable]) -> None:
    argument = add("splits", _splits, "writes one splits.csv for several runs, without a patient in two splits")
    argument("folders", nargs="+", **_RUN)
    argument("--out", type=typed_paths.resolve, default="splits.csv", help="the file to write (splits.csv)")
    shares = "how many of a hundred images without an official split train, validation and test get, as near as can be"
    argument("--shares", metavar="80,10,10", help=shares)
    argument("--seed", type=int, help="a number that draws other persons (0); without --shares, the shares are 80,10,10")


def _add_export(add: Callable[..., Callable]) -> None:
    shape = {"epilog": _FORMS, "formatter_class": argparse.RawDescriptionHelpFormatter}
    argument = add("export", _export, "writes accepted conversations in the form of a trainer, one file a split", **shape)
    argument("folders", nargs="+", **_RUN)
    argument("--form", required=True, help="llava, sharegpt, chat, parquet, ms-swift, dpo, orpo or kto")
    argument("--out", help="the folder to write to (exports/<form> in the run's)")
    argument("--splits", help="a splits.csv to use instead of the runs' own")
    images = "names images by their whole paths: where the run found them, or in this folder of the dataset"
    argument(
        "--images", "--data-root", nargs="?", const="", metavar="FOLDER", help=f"{images}; without it, names stay as in the run"
    )
    argument("--pictures", metavar="link|copy", help="puts the pictures into the folder too, as links or copies")
    argument("--size", type=int, metavar="PIXELS", help="with --pictures: larger pictures are written with this longest side")
    argument("--numbers", action="store_true", help="with --pictures copy: numbers stand for ids and names of pictures")
    boxes = "writes boxes as a model has them: qwen2.5-vl, qwen3-vl, internvl or loc (PaliGemma); without it, as shares"
    argument("--boxes", metavar="NOTATION", help=boxes)
    planted = "of pairs: the share of conversations in which a fault is planted (0.3, or number=0.1,side=0.1,diagnosis=0.1)"
    argument("--planted", metavar="SHARE", help=planted)
    reviewed = "accepted: only what reviewers accepted or fixed; unrejected: also what nobody has reviewed yet"
    argument("--reviewed", help=f"leave out rejected and disputed samples and apply fixes, by reviews.jsonl. {reviewed}")


def _add_boxes(add: Callable[..., Callable]) -> None:
    argument = add("boxes", _boxes, "writes boxes.json, with boxes for every lesion of a dataset")
    argument("dataset", help="a dataset with lesion masks, such as IDRiD_seg, or your own page")
    argument("--data-root", help="the dataset's folder as unzipped; without it, a sample is drawn")
    argument("--automorph-root", help="AutoMorph's Results folder, if the pictures are its crops")
    argument("--split", help="one of the dataset's splits")
    argument("--out-dir", help="the folder for boxes.json")
    argument("--limit", type=int, help="how many images at most")


def _notebook(name: str, options: Namespace) -> str:
    from retinal_lib import notebooks

    notebooks.run(name, options.words)
    return ""


def _copy_notebooks(options: Namespace) -> str:
    from retinal_lib import notebooks

    copies = notebooks.copy(options.folder)
    return f"{count(len(copies), 'notebook')} {are(len(copies))} in {paths.display_path(options.folder)}"


def _doctor(options: Namespace) -> str:
    from retinal_lib import doctor

    found = doctor.look()
    if any(each.mark == "stop" for each in found):
        raise SystemExit(for_people(doctor.text(found)))
    return doctor.text(found)


def _show(options: Namespace) -> str:
    from retinal_lib import conversation
    from retinal_lib.run import settings

    folder = None if _is_dataset(options.dataset) else run_folder(options.dataset)
    if folder is None or not (folder / "conversations.jsonl").is_file():
        folder = settings.load(dataset=options.dataset).folder
    file = folder / "conversations.jsonl"
    if not file.is_file():
        raise UserError(f"no conversations in {paths.display_path(folder)} yet; run retinal generate {options.dataset}")
    conversations = list(conversation.read(file))
    counted = f"{count(len(conversations), 'conversation')} {are(len(conversations))} in {paths.display_path(file)}"
    if not conversations:
        return counted
    turns = [f"  {who}: {text}" for turn in conversations[0].turns for who, text in zip("QA", turn, strict=True)]
    return "\n".join([counted, f"The first, about {conversations[0].image}:", *turns])


def _splits(options: Namespace) -> str:
    from retinal_lib.dataset import splits

    chosen = splits.SHARES if options.shares is None else splits.shares(options.shares)
    draw = None if options.shares is None and options.seed is None else splits.Draw(chosen, options.seed or 0)
    rows = splits.write_combined(options.folders, options.out, draw)
    return f"{splits.summary(rows, draw)}\nwritten to {paths.display_path(options.out)}"


def _export(options: Namespace) -> str:
    from retinal_lib.display import count
    from retinal_lib.export import trainers
    from retinal_lib.review import decisions

    chosen = (options.form, options.out, options.splits, options.images, options.reviewed, options.pictures, options.planted)
    written = trainers.export(options.folders, *chosen, options.boxes, options.size, options.numbers)
    lines = [f"{count(number, written.of):>20} in {paths.display_path(path)}" for path, number in written.items()]
    reviews = [folder / decisions.FILE for folder in options.folders]
    unused = [] if options.reviewed or written.of != "conversation" else [file for file in reviews if file.is_file()]
    lines += [f"{paths.display_path(file)} was not used; --reviewed uses it" for file in unused]
    return "\n".join([*lines, *written.notes])


def _survey(options: Namespace) -> str:
    from retinal_lib.run import survey

    return survey.of_runs(options.folders, options.images)


def _card(options: Namespace) -> str:
    from retinal_lib.export import card

    return f"The dataset card is {paths.display_path(card.write_card(options.folder))}"


def _boxes(options: Namespace) -> str:
    from retinal_lib.explore.boxes_job import FILE, BoxJob

    job = BoxJob.load(**{name: value for name, value in vars(options).items() if name != "run"})
    result = job.run()
    if result.note:
        raise UserError(result.note)
    result.require()
    tables = [result.table, result.failed] if result.failures else [result.table]
    file = paths.display_path(job.folder / FILE)
    return "\n".join([result.summary, *(table.to_string() for table in tables), f"written to {file}"])


def _page(options: Namespace) -> str:
    from retinal_lib.explore import first_page

    return first_page.write(options.folder, options.out)


def _review(options: Namespace) -> str:
    from retinal_lib.review import review

    first = options.words[0] if options.words else "ODIR"
    if (_is_dataset(first) or "=" in first) and not options.merge and not typed_paths.resolve(first).is_dir():
        return _notebook("review", options)
    folders = [run_folder(word) for word in options.words]
    lines = [review.merge_reviews(folders, options.merge)] if options.merge else []
    return "\n".join([*lines, *(line for folder in folders for line in review.report(folder))])


def command() -> None:
    """Runs the command that was typed, and ends the process with its status."""
    sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that knows ASCII alone shows the rest as \u00b5
    try:
        print(for_people(main(sys.argv[1:])), flush=True)
    except UserError as error:
        sys.exit(f"Error: {error}")
    except BrokenPipeError:  # whoever reads the output, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        sys.exit(f"Error: {paths.display_path(error.filename or '')} cannot be used ({error.strerror or error})")


if __name__ == "__main__":
    command()
