"""`python -m retinal_lib ODIR`: where the latest conversations of a dataset lie, and one of them; beside that, commands.

`splits` writes one splits.csv for several runs, `export` their conversations in the forms that trainers read, `survey` tells
how varied and balanced they are, `card` writes a run's dataset card, `boxes` a box for every lesion of a dataset, `review`
tells what reviewers came to; each tells its arguments with --help.
"""

import sys
from importlib import import_module

from retinal_lib import conversation, paths
from retinal_lib.errors import UserError
from retinal_lib.run import settings

COMMANDS = {"splits": "dataset.splits", "survey": "run.survey", "card": "export.card"}  # each the `main` of a module
COMMANDS |= {"export": "export.trainers", "review": "review.report", "boxes": "explore.boxes_job"}


def main(arguments: list[str]) -> str:
    """The text to print. UserError: no such dataset, or it has no conversations yet; or as the command says."""
    if arguments and arguments[0] in ("-h", "--help"):
        return str(__doc__).strip()
    if arguments and arguments[0] in COMMANDS:
        return import_module(f"retinal_lib.{COMMANDS[arguments[0]]}").main(arguments[1:])
    folder = settings.load(dataset=arguments[0] if arguments else "ODIR").folder
    file = folder / "conversations.jsonl"
    if not file.is_file():
        raise UserError(
            f"no conversations in {paths.display_path(folder)} yet; run "
            f"papermill notebooks/generate.ipynb -p dataset {folder.name.split('-')[0]}"
        )
    conversations = list(conversation.read(file))
    turns = [f"  {who}: {text}" for turn in conversations[0].turns for who, text in zip("QA", turn, strict=True)]
    counted = f"{len(conversations)} conversations lie in {paths.display_path(file)}"
    return "\n".join([counted, f"The first, about {conversations[0].image}:", *turns])


if __name__ == "__main__":
    try:
        print(main(sys.argv[1:]))
    except UserError as error:
        sys.exit(f"Error: {error}")
