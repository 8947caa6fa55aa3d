"""The house rules that a reader of the code relies on."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import yaml

import retinal_lib
from retinal_lib.dataset import page
from retinal_lib.evaluate.evaluation import EvaluationParameters
from retinal_lib.inference.infer import InferParameters
from retinal_lib.parameters import Parameters
from retinal_lib.run import settings
from retinal_lib.train.training import TrainParameters

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "retinal_lib"
# modules by their path below retinal_lib/, without the ending: "run/job", "files", "dataset/__init__"
MODULES = sorted(path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py"))
# the hall with its two rooms: these may import one another, in no circle
HALL = "errors parsing paths typed_paths files facts conversation parameters display text imaging".split()
# rooms by floor, the lowest first: a module imports from lower floors, from its own room, or from the hall
FLOORS = [
    HALL,
    ["dataset/lesions", "check/language"],
    ["dataset/cells"],
    ["dataset"],
    ["check", "sample"],
    ["slots", "closed_questions"],
    ["teacher"],
    ["ask", "inference/llava"],
    ["reader"],
    ["run", "inference"],
    ["explore", "review", "evaluate"],
    ["export", "scale", "train"],
    ["notebooks", "doctor"],
    ["papermill_plugin", "__main__", "__init__"],
]
SAMPLE = [module for module in MODULES if module.startswith("sample/")]
# the model's modules: torch is used there, and others reach them through inference/model alone
MODEL = ["sample/llava_model", "train/loop", "train/tiny_model", *(m for m in MODULES if m.startswith("inference/"))]
DOORS = {
    "openai": ["teacher/server"],
    "matplotlib": ["imaging/drawing"],
    "ray": [],  # scale takes it where it is used
    "sklearn": ["evaluate/metrics", "review/agreement"],
    "scipy": ["evaluate/metrics", "review/agreement"],
    "joblib": ["explore/boxes_job", "sample/many_eyes", "train/report", "train/training"],
    "jinja2": ["display"],
    "sqlite3": ["ask/vault"],
    "cv2": [*SAMPLE],
    "PIL": [
        "evaluate/label_questions",
        "inference/image_text_model",
        "inference/model",
        "inference/llava/pixels",
        "imaging/images",
        "imaging/boxed_picture",
        *SAMPLE,
    ],
    "papermill": ["papermill_plugin", "notebooks"],
    "openpyxl": [],  # where a workbook is read or drawn
    "xlrd": ["dataset/tables"],
    "pydicom": [],  # imaging/dicom takes it where it is used
    "torch": MODEL,
    "transformers": MODEL,
    "datasets": ["export/trainers"],
    "ipywidgets": ["review/reviewer"],
    "anywidget": ["review/reviewer"],
    "safetensors": MODEL,
    "peft": [],  # inference/opening and train/loop take it where an adapter is merged or made
    "IPython": [],
}


def room(module: str) -> str:
    """The folder of a module; a module of the hall, and what stands above all rooms, is a room by itself."""
    return module.rpartition("/")[0] or module


def floor(module: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room(module) in rooms)


def imports(module: str, top: bool = False) -> set[str]:
    """The dotted names that a module imports, anywhere or at its top alone."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    names = set()
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports within the package are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def own(module: str) -> set[str]:
    """The modules of this package that a module imports."""
    paths = {name.removeprefix("retinal_lib.").replace(".", "/") for name in imports(module) if name.startswith("retinal_lib")}
    return (paths | {f"{path}/__init__" for path in paths}) & set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_arrows_go_down(module: str) -> None:
    for other in own(module):
        same = room(other) == room(module) or {room(other), room(module)} <= set(HALL)
        assert same or floor(other) < floor(module), f"{module} imports {other}, which stands no lower"


def test_no_modules_import_each_other_in_a_circle() -> None:
    try:
        tuple(TopologicalSorter({module: own(module) - {module} for module in MODULES}).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_a_room_holds_few_modules() -> None:
    sizes = Counter(room(module) for module in MODULES if "/" in module and not module.endswith("/__init__"))
    assert {name: size for name, size in sizes.items() if not 3 <= size <= 12} == {}


@pytest.mark.parametrize("module", MODULES)
def test_each_heavy_library_has_its_door(module: str) -> None:
    tops = {name.split(".")[0] for name in imports(module, top=True)}
    assert not [library for library, doors in DOORS.items() if library in tops and module not in doors]


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_functions_stay_small_and_explained(module: str) -> None:
    text = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    assert len(text.splitlines()) <= 500
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    inner = {child for n in nodes if not isinstance(n, ast.ClassDef) for child in ast.walk(n) if child is not n}
    explained = {n.name for n in nodes if ast.get_docstring(n)}
    explained |= {"facts", "columns", "optional"} if module in ("dataset/fact_kinds", "dataset/label_kinds") else set()
    assert {n.name for n in nodes if not n.name.startswith("_") and n not in inner} <= explained
    assert not [n.name for n in nodes if not isinstance(n, ast.ClassDef) and n.end_lineno - n.lineno >= 45]


def test_the_map_of_the_house_is_true() -> None:
    """Each file and room that CONTRIBUTING.md names by its path is there."""
    paths = re.findall(
        r"`((?:[a-z_]+/)+(?:[A-Za-z_]+\.(?:py|yaml))?|[a-z_]+\.py)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    )
    assert len(paths) > 50
    assert [path for path in paths if not any((folder / path).exists() for folder in (ROOT, PACKAGE))] == []


def test_the_environment_names_one_thing_to_install() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["dependencies"] == ["python>=3.11", "pip", {"pip": ["-e .[all]"]}]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    every = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    for name in "jupyterlab papermill ipywidgets openai pandas matplotlib pillow torch transformers nbval pytest".split():
        assert any(re.match(rf"{name}\b", requirement) for requirement in every), name


PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "notebooks/README.md", "tests/corpus/README.md", "artifacts/README.md"]
PAGES += sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    here = ROOT / name
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", here.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (here.parent / path).resolve() if path else here
        assert target.exists(), f"{name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{name} links to {link}, which has no such heading"


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    assert [page for page in PAGES if page.startswith("docs/") and f"({page}" not in readme and page != "docs/index.md"] == []


def test_how_to_cite_names_the_licence_and_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["license"], cited["authors"][0]["name"]) == (project["license"], project["authors"][0]["name"])
    assert cited["version"] == retinal_lib.__version__
    assert "Apache License" in (ROOT / project["license-files"][0]).read_text(encoding="utf-8")


def test_pre_commit_has_the_ruff_that_was_tested() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    (ruff,) = hooks[0]["additional_dependencies"]
    assert ruff in (ROOT / "constraints.txt").read_text(encoding="utf-8").split()


def test_no_file_names_a_registry_or_a_machine_s_folders() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    if tracked == [""]:
        pytest.skip("not a git checkout")
    texts = (".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".ipynb", ".json", ".jsonl", ".csv", ".css", ".js", "")
    hosts = re.compile(r"pypi\.org|pythonhosted|anaconda\.org|registry\.npmjs|(?<![\w.])/(?:root|home|tmp|opt)/\w")
    for name in tracked:
        path = ROOT / name
        if name and path.is_file() and path.suffix in texts:
            found = hosts.search(path.read_text(encoding="utf-8"))
            assert found is None or path == Path(__file__), f"{name}: {found[0]}"


def test_the_notebook_s_parameters_are_the_settings() -> None:
    from papermill.inspection import inspect_notebook

    found = inspect_notebook(str(ROOT / "notebooks" / "generate.ipynb"))
    assert tuple(found) == settings.NOTEBOOK
    assert all(parameter["help"] for parameter in found.values()), "each is explained"


@pytest.mark.parametrize(
    ("notebook", "parameters"), [("infer", InferParameters), ("evaluate", EvaluationParameters), ("train", TrainParameters)]
)
def test_the_other_notebooks_parameters_are_their_models(notebook: str, parameters: type[Parameters]) -> None:
    from papermill.inspection import inspect_notebook

    found = inspect_notebook(str(ROOT / "notebooks" / f"{notebook}.ipynb"))
    assert set(found) == set(parameters.model_fields)
    assert all(parameter["help"] for parameter in found.values()), "each is explained"


def test_notebook_cells_are_short() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
        assert len(cells) <= 14
        for cell in cells:
            source = "".join(cell["source"])
            assert "parameters" in cell["metadata"].get("tags", []) or source.count("\n") < 15
            assert not re.search(r"^\s*(def|try|class)\b", source, re.MULTILINE)


def test_walkthroughs_teach() -> None:
    """Short cells, more words than code, an answer that runs to each question, and what to read next."""
    walkthroughs = sorted((ROOT / "notebooks" / "learn").glob("*.ipynb"))
    assert walkthroughs
    for path in walkthroughs:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells]
        code = [text for cell, text in zip(cells, texts, strict=True) if cell["cell_type"] == "code"]
        prose = [text for cell, text in zip(cells, texts, strict=True) if cell["cell_type"] == "markdown"]
        tags = [cell["metadata"].get("tags", []) for cell in cells]
        lines = sum(len(_lines(text)) for text in code)
        assert 8 <= len(" ".join(prose).split()) / lines <= 20, path.name
        for i, text in enumerate(texts):
            assert text not in code or "server" in tags[i] or len(_lines(text)) <= 4, f"{path.name}: {text}"
            if "**Question.**" in text:
                assert "<details><summary>Answer</summary>" in text and "answer" in tags[i + 1], f"{path.name}: {text}"
        assert "**You will learn**" in texts[0] and "## Exercises" in " ".join(prose) and texts[-1].startswith("## Next"), (
            path.name
        )


def test_notebooks_say_what_comes_next_and_lead_to_what_is_copied_with_them() -> None:
    folder = ROOT / "notebooks"
    for path in (*folder.glob("*.ipynb"), *folder.glob("learn/*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        assert prose[-1].startswith("## Next\n\n| ") and cells[-1]["cell_type"] == "markdown", path.name
        for link in re.findall(r"\]\((?!https?:)([^)]*)\)", "\n".join(prose)):
            target = (path.parent / link).resolve()
            assert target.is_file() and target.suffix == ".ipynb" and folder in target.parents, f"{path.name}: {link}"


def _lines(code: str) -> list[str]:
    return [line for line in code.splitlines() if line.strip()]


def test_every_dataset_says_what_it_is() -> None:
    for name in page.names():
        found = page.get(name)
        assert found.title and found.citation and found.licence and found.terms and found.modality, name


@pytest.mark.parametrize("module", [m for m in MODULES if m not in MODEL])
def test_the_model_is_reached_through_the_room_of_inference(module: str) -> None:
    assert not {other for other in own(module) if other.startswith("inference/llava")}


def test_the_package_is_quick_to_import_and_needs_no_torch() -> None:
    heavy = ["torch", "pandas", "matplotlib", "openai", "cv2"]
    code = f"import sys, retinal_lib, retinal_lib.run.settings; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_run_imports_no_library_that_it_does_not_use() -> None:
    """They take more time to import than everything else together."""
    code = "import sys; from retinal_lib import Job; print([m for m in ('openai', 'scipy', 'openpyxl') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", f"{code}; Job"], capture_output=True, text=True).stdout.strip() == "[]"
