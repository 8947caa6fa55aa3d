"""Puts the site's pages together in docs/_build/source: the pages of docs/, the README files, the notebooks as they were last
executed, a page for each dataset from its YAML, an example for each finding, and the public functions with their docstrings.

Run by `make docs`; needs no network and no dataset.
"""

import html
import inspect
import json
import re
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

from retinal_lib.dataset import fact_kinds, page
from retinal_lib.dataset.page import Page

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
corpus = import_module("corpus")  # tests/corpus.py
TRIED, AROUND = 8, 90  # conversations tried of each planted fault; letters shown around the marked words
FAULTY = [  # case of the corpus, question, answer
    ("c41", "What kind of picture is this?", "It is an OCT scan of the left eye."),
    ("c03", "Is anything wrong with this eye?", "No, the eye is healthy."),
    ("c41", "Which eye is it?", "The left eye. Let me know if you have any other questions!"),
    ("c41", "What do you see?", "A colour fundus photograph. " * 3000),
]
OUT = ROOT / "docs" / "_build" / "source"
# file of the project -> page of the site; files that have none are named without a link
TOPICS = ["setup", "generate", "own-data", "batch", "closed-questions", "datasets", "checks", "splits", "trainers", "python"]
PAGES = {"README.md": "index", "notebooks/README.md": "notebooks", "CONTRIBUTING.md": "contributing", "SECURITY.md": "security"}
PAGES |= {f"docs/{name}.md": name for name in TOPICS} | {"CHANGELOG.md": "changes"}
MODULES = ["retinal_lib", "retinal_lib.check", "retinal_lib.evaluate", "retinal_lib.inference"]
MAY_SEND = {
    "yes": "may be sent to a remote server",
    "no": "may not be sent to a remote server",
    "ask": "may be sent to a remote server with leave",
    "local": "may be sent to whoever keeps nothing of it",
}


def main() -> None:
    """Writes all pages anew."""
    shutil.rmtree(OUT, ignore_errors=True)
    (OUT / "datasets").mkdir(parents=True)
    for file, name in PAGES.items():
        write(name, linked((ROOT / file).read_text(encoding="utf-8"), (ROOT / file).parent))
    for picture in ("generate.jpg", "review.jpg"):
        shutil.copy(ROOT / "notebooks" / picture, OUT)
    shutil.copytree(ROOT / "docs" / "eyes", OUT / "eyes")
    shown_notebooks, walkthroughs = (list(notebooks(ROOT / folder)) for folder in ("notebooks", "notebooks/learn"))
    names = page.names()
    for name in names:
        write(f"datasets/{name}", dataset_page(page.get(name)))
    write("findings", findings())
    write("functions", functions())
    guide = ["setup", "generate", "own-data", "review-and-more <notebooks>", "python"]
    reference = ["batch", "closed-questions", "checks", "findings", "splits", "trainers", "functions"]
    trees = [
        ("Guide", guide),
        ("Walkthroughs", walkthroughs),
        ("Notebooks", shown_notebooks),
        ("Reference", reference),
        ("Datasets", ["datasets", *(f"datasets/{name}" for name in names)]),
        ("Project", ["contributing", "security", "changes"]),
    ]
    with (OUT / "index.md").open("a", encoding="utf-8") as file:
        for caption, entries in trees:
            listed = "\n".join(entry.replace("review-and-more", "Review, ask, evaluate, cluster") for entry in entries)
            file.write(f"\n```{{toctree}}\n:hidden:\n:maxdepth: 1\n:caption: {caption}\n\n{listed}\n```\n")


def write(name: str, text: str) -> None:
    """Writes a page of the site."""
    (OUT / f"{name}.md").write_text(text, encoding="utf-8")


def linked(text: str, folder: Path) -> str:
    """A text of a folder, whose links lead to pages of the site; where there is none, the words stand alone."""

    def target(found: re.Match) -> str:
        words, path, anchor = found.groups()
        name = (folder / path).resolve().relative_to(ROOT).as_posix()
        if name.endswith(".jpg"):
            return f"[{words}]({Path(name).name})"
        if name.endswith(".ipynb") and (ROOT / name).is_file():
            return f"[{words}]({notebook_page(Path(name))}.ipynb)"
        return f"[{words}]({PAGES[name]}.md{anchor or ''})" if name in PAGES else words

    text = re.sub(r"\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]+)?\)", target, text)
    return re.sub(r"^```sh$", "```bash", text, flags=re.MULTILINE)


def notebook_page(file: Path) -> str:
    """The name of the page that shows a notebook."""
    return f"notebook-{file.stem}"


def notebooks(folder: Path) -> Iterator[str]:
    """Copies a folder's notebooks with their outputs; gives the names of their pages."""
    for file in sorted(folder.glob("*.ipynb")):
        name = notebook_page(file)
        notebook, said = json.loads(file.read_text(encoding="utf-8")), file.stem
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                said = announced("".join(cell["source"])) or said
                cell["source"] = linked("".join(cell["source"]), folder)
            else:
                cell["metadata"]["mystnb"] = {"image": {"alt": f"Figure: {said}"}}  # else it would be the name of a file
        if not "".join(notebook["cells"][0]["source"]).startswith("# "):
            title = {"cell_type": "markdown", "metadata": {}, "source": [f"# {file.stem}"]}
            notebook["cells"].insert(0, title | ({"id": "title"} if notebook["nbformat_minor"] >= 5 else {}))
        (OUT / f"{name}.ipynb").write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")
        yield name


def announced(prose: str) -> str:
    """The first sentences of what is said before a figure, as plain words."""
    prose = re.sub(r"<details>.*?</details>|^#[^\n]*$|^\|[^\n]*$", "", prose, flags=re.DOTALL | re.MULTILINE)
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"[*`]", "", prose))
    return textwrap.shorten(plain, 160, placeholder=" …")


def cell(text: object) -> str:
    """A text as a cell of a table."""
    return str(text).replace("|", "\\|").replace("\n", " ")


def table(head: list[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def dataset_page(of: Page) -> str:
    """What is told of a dataset's images, its scales, traps and terms, and an example."""
    parts = [f"# {of.name}: {of.title}"]
    told = [("to cite", of.citation), ("licence", of.licence), ("sending", f"{MAY_SEND[of.may_send]}: {of.terms}")]
    told += [("pictures", of.modality), ("splits", ", ".join(of.splits)), ("other names", ", ".join(of.aliases))]
    parts.append(table(["", ""], [row for row in told if row[1]]))
    scales = fact_kinds.scales()
    used = {kind.scale: scales[kind.scale] for kind in of.facts if getattr(kind, "scale", None) in scales}
    for scale in used.values():
        levels = table(["grade", "meaning"], scale["levels"].items())
        parts.append(f"## Scale: {scale['title']}\n\nOf {scale['of']}. {scale.get('source', '')}\n\n{levels}")
    if traps := list(traps_of(of)):
        parts.append("## Traps\n\n" + "\n".join(f"- {trap}" for trap in traps))
    golden = ROOT / "tests" / "golden" / f"{of.name}-instruction.txt"
    lines = golden.read_text(encoding="utf-8").partition("\n===\n")[2].strip().partition("\n\n")[0]
    shown = f"![A drawn eye in the layout of {of.name}](../eyes/{of.name}.jpg)"
    parts.append(f"## A drawn eye, and what a teacher is told of it\n\n{shown}\n\n```text\n{lines}\n```")
    declared = (ROOT / "retinal_lib" / "dataset" / "pages" / f"{of.name}.yaml").read_text(encoding="utf-8")
    parts.append(f"## The page as it is declared\n\n```yaml\n{declared}```")
    return "\n\n".join(parts) + "\n"


def traps_of(of: Page) -> Iterator[str]:
    """What goes wrong with a dataset that is read without care."""
    if of.private_names:
        yield "Names of pictures identify participants: they are shown to nobody."
    if of.corrections:
        yield f"{len(of.corrections)} labels of a copy differ from the official ones and are put right."
    if of.same_image:
        yield f"{len(of.same_image)} pictures stand in it twice, as its errata say: they stay in one split."
    if of.same_person:
        yield f"Persons are told by {', '.join(of.same_person)}, since no name tells them: they stay in one split."
    if of.restart:
        yield "Numbering restarts in each split: a picture's name alone does not tell which it is."
    for image, why in of.exclude.items():
        yield f"{image} is never used: {why}."
    for folder, why in of.not_read.items():
        yield f"The folder {folder} is not read: {why}."


def faulty() -> Iterator[corpus.Entry]:
    """Conversations with a fault: those by which the checks are measured, then some for findings that none of them has."""
    tried: Counter[str] = Counter()
    for entry in corpus.entries("planted"):
        tried[entry.fault] += 1
        if tried[entry.fault] <= TRIED:
            yield entry
    for line in (corpus.HERE / "unseen.jsonl").read_text(encoding="utf-8").splitlines():
        kept = json.loads(line)
        if kept["faulty"]:
            yield corpus.Entry(corpus.cases()[kept["case"]], "instruction", None, kept["conversation"])
    for case, question, answer in FAULTY:
        turns = [{"from": "human", "value": f"{question}\n<image>"}, {"from": "gpt", "value": answer}]
        yield corpus.Entry(corpus.cases()[case], "instruction", None, turns)


def findings() -> str:
    """An example of each finding."""
    examples: dict[str, tuple[str, str, str]] = {}
    for entry in faulty():
        for found in corpus.findings(entry):
            said = entry.conversation[2 * found.turn - 2 + (found.part == "answer")]["value"]
            if found.kind not in examples and found.turn == (entry.turn or found.turn):
                examples[found.kind] = (found.severity, marked(said, found.span), html.escape(found.text, quote=False))
    told, _, with_slots = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8").partition("### In replies with slots")
    without = (
        set(re.findall(r"`([a-z_]+)`", told)) - set(examples) - set(re.findall(r"^\| `([a-z_]+)`", with_slots, re.MULTILINE))
    )
    assert not without, f"docs/checks.md names findings without an example: {without}"
    rows = [(f"`{kind}`", *example) for kind, example in sorted(examples.items())]
    head = (
        "# Findings by example\n\n[What is checked](checks.md) says what each finding means, and has examples of those in "
        "replies with slots. Most examples here are from the conversations by which the checks are measured; the words in "
        "question are marked.\n\n"
    )
    return head + table(["finding", "weight", "what the conversation says", "what the check says"], rows) + "\n"


def marked(text: str, span: tuple[int, int]) -> str:
    """A text with the words of a span marked, and some words around them."""
    start, end = span
    parts = text[:start][-AROUND:], text[start:end], text[end:][:AROUND]
    before, words, after = (html.escape(part, quote=False) for part in parts)
    shown = f"{before}<mark>{words}</mark>{after}" if words else html.escape(text[: 2 * AROUND], quote=False)
    return shown.replace("&lt;image&gt;\n", "")


def functions() -> str:
    """The public names of the package with their docstrings."""
    parts = ["# Functions and classes", "What `from retinal_lib import …` gives."]
    for name in MODULES:
        parts.append(f"## {name}")
        try:
            module = import_module(name)
            public = {each: getattr(module, each) for each in module.__all__}
        except ModuleNotFoundError as error:
            parts.append(f"Its docstrings are left out here: {error.name} was not installed when this page was made.")
            continue
        parts += [described(each, value) for each, value in public.items() if callable(value)]
    return "\n\n".join(parts) + "\n"


def described(name: str, value: object) -> str:
    """A function or class, and the public methods of a class."""
    try:
        signature = str(inspect.signature(value))
    except ValueError:  # of a class that is written in C
        signature = "(…)"
    call = re.sub(r" at 0x\w+|\b(?:pathlib|collections\.abc|retinal_lib(?:\.\w+)*)\.(?=[A-Z])", "", f"{name}{signature}")
    call = textwrap.fill(call, 80, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    text = f"### {name}\n\n```python\n{call}\n```\n\n{shown(value)}"
    methods = inspect.getmembers(value, inspect.isroutine) if inspect.isclass(value) else []
    for method, function in methods:
        own = not method.startswith("_") and (getattr(function, "__module__", "") or "").startswith("retinal_lib")
        if own and inspect.getdoc(function):
            text += f"\n\n`{method}`: {shown(function)}"
    return text


def shown(value: object) -> str:
    """A docstring as Markdown: its examples as code."""
    prose, mark, example = (inspect.getdoc(value) or "").partition(">>> ")
    prose = html.escape(prose.strip(), quote=False)
    return f"{prose}\n\n```pycon\n{mark}{example.strip()}\n```" if mark else prose


if __name__ == "__main__":
    main()
