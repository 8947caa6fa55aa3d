"""The examples in docstrings run and give what they say; each takes a moment and writes nothing outside a temporary folder."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

from retinal_lib import Job, load_dataset

PACKAGE = Path(__file__).resolve().parents[1] / "retinal_lib"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.M))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_the_examples_of_a_module_are_true(path: Path) -> None:
    if path.is_relative_to(PACKAGE / "inference"):
        pytest.importorskip("torch", reason="torch is not installed")
    try:
        module = import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    tried = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert tried.attempted and not tried.failed


def test_the_figures_of_the_notebooks_readme_are_drawn(
    drawn: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (PACKAGE.parent / "notebooks" / "README.md").read_text(encoding="utf-8")
    example = readme.partition("## Figures to print")[2].partition("```python\n")[2].partition("```")[0]
    assert example.count("/data/IDRiD") == 1
    monkeypatch.chdir(tmp_path)
    exec(example.replace("/data/IDRiD", drawn["IDRiD_seg"].as_posix()), {})
    assert sorted(file.suffix for file in (tmp_path / "figures").iterdir()) == [".html", ".pdf", ".pdf", ".png", ".png"]


def test_the_review_in_python_of_the_notebooks_readme_says_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    readme = (PACKAGE.parent / "notebooks" / "README.md").read_text(encoding="utf-8")
    example = readme.partition("**Without JupyterLab.**")[2].partition("```python\n")[2].partition("```")[0]
    folder = (tmp_path / "run").as_posix()
    Job.load(dataset="ODIR", out_dir=folder).run()
    exec(example.replace('dataset="ODIR"', f'dataset="ODIR", out_dir="{folder}"'), {})
    rate = re.search(r'rates\["errors"\]\[0\]\)  # (.*)', example)[1]
    assert capsys.readouterr().out.splitlines()[-1] == rate


GUIDE = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = re.findall(r"```yaml\n(.*?)```\n```text\n(.*?)```", GUIDE.partition("### Pages by example")[2], re.S)


def _masks(text: str) -> list[tuple[str, tuple[int, ...]]]:
    """Names of masks with the white box, left, top, right, bottom, in each: masks/MA/1.png (1 1 3 3)."""
    return [(name, tuple(map(int, box.split()))) for name, box in re.findall(r"(\S+) \(([\d ]+)\)", text)]


@pytest.mark.parametrize(("text", "files"), PAGES, ids=[re.search("name: (.*)", text)[1] for text, _ in PAGES])
def test_the_pages_of_the_guide_tell_what_it_says(tmp_path: Path, text: str, files: str) -> None:
    (tmp_path / "page.yaml").write_text(text, encoding="utf-8")
    lines = [line.partition(": ") for line in files.splitlines()]
    for n, name in enumerate(name for head, _, names in lines if head == "pictures" for name in names.split()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (n * 40, 90, 40)).save(tmp_path / name)
    for name, box in ((name, box) for head, _, masks in lines if head == "masks" for name, box in _masks(masks)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        mask = Image.new("L", (8, 6))
        mask.paste(255, box)
        mask.save(tmp_path / name)
    for head, _, rows in lines:
        if head.endswith((".csv", ".txt")):
            (tmp_path / head).write_text("\n".join(rows.split(" | ")) + "\n", encoding="utf-8")
    data = load_dataset(str(tmp_path / "page.yaml"), tmp_path)
    assert data.skipped == {}
    told = [(head, part) for head, _, parts in lines if "told of" in head for part in parts.split("; ")]
    assert told
    for head, part in told:
        case = data.describe(head.partition("told of ")[2])
        said = case.description if head.startswith("told") else " ".join(case.missing)
        assert part in said, said
