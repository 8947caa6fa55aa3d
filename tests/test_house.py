"""The house rules that a reader of the code relies on."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from retinal_lib.dataset import page
from retinal_lib.run import settings

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "retinal_lib"
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))
# modules by floor, the lowest first: imports go down, or sideways within a floor
FLOORS = [
    "errors paths spread fact conversation phrases progress shown tokens finding chance dialogue runs palette".split(),
    "masks boxes places telling picture table vault server price vocabulary form drawing".split(),
    "questions asking answer_parser scores".split(),
    "spelled polarity verdicts presumed".split(),
    "llava_folder llava_weights llava_tokenizer llava_pixels llava_decoder".split(),
    "llava_convert llava_memory answers marking score_figures".split(),
    "amounts heard folder record automorph crops book".split(),
    "sentences kinds unpack money".split(),
    "listing".split(),
    "naming".split(),
    "page ledger profile".split(),
    "whereabouts".split(),
    "binding".split(),
    "unheld faults".split(),
    "grades normality".split(),
    "audit claims circumstances compare beyond".split(),
    "leaks".split(),
    "check".split(),
    "marked lesions settings prompt offline_vessels".split(),
    "catalogue offline boxed".split(),
    "exclude teacher figures inference stand_in pretend".split(),
    "dataset settle export".split(),
    "pack splits decisions shelf overlay measured".split(),
    "collect exchange sheets heat".split(),
    "recheck survey".split(),
    "desc select convert direct batch trainers card handout charts".split(),
    "ways opened boxjob".split(),
    "outcome explore boxlook".split(),
    "label_questions evaluate".split(),
    "job infer evaluation scale papermill_plugin __init__ __main__".split(),
    "review".split(),
    "markup".split(),
    "report".split(),
    "reviewer".split(),
    "desk".split(),
]
SAMPLE = [name for name in MODULES if name.startswith("sample") or name == "fundus"]  # stands aside, used by job
# the model's modules: torch is used there, and they are reached through inference alone
MODEL = "inference llava_convert llava_decoder llava_memory llava_weights sample_model".split()
DOORS = {
    "openai": ["server"],
    "matplotlib": ["drawing", "score_figures"],
    "ray": [],  # scale takes it where it is used
    "sklearn": ["scores"],
    "scipy": ["scores"],
    "sqlite3": ["vault"],
    "cv2": [*SAMPLE],
    "PIL": ["inference", "llava_pixels", "masks", "picture", "shelf", *SAMPLE],
    "papermill": ["papermill_plugin"],
    "openpyxl": ["table", *SAMPLE],
    "xlrd": ["table"],
    "torch": MODEL,
    "transformers": ["inference"],
    "datasets": ["trainers"],
    "ipywidgets": ["reviewer"],
    "anywidget": ["reviewer"],
    "safetensors": MODEL,
    "IPython": [],
}


def imports(module: str, top: bool = False) -> set[str]:
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    found = set()
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def own(module: str) -> set[str]:
    return {
        part for name in imports(module) if name.startswith("retinal_lib.") for part in [name.split(".")[1]] if part in MODULES
    }


def test_every_module_has_a_floor() -> None:
    assert sorted([*sum(FLOORS, []), *SAMPLE]) == MODULES


@pytest.mark.parametrize("module", [m for m in MODULES if m not in SAMPLE])
def test_imports_go_down(module: str) -> None:
    floor = next(i for i, names in enumerate(FLOORS) if module in names)
    above = {name for names in FLOORS[floor + 1 :] for name in names}
    allowed = {"job"} if module in ("outcome", "ways") else set()  # for its type alone
    assert not (own(module) & above) - allowed


@pytest.mark.parametrize("module", MODULES)
def test_each_heavy_library_has_its_door(module: str) -> None:
    tops = {name.split(".")[0] for name in imports(module, top=True)}
    assert not [library for library, doors in DOORS.items() if library in tops and module not in doors]


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_functions_stay_small_and_explained(module: str) -> None:
    text = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    assert sum(bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines()) <= 300
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    inner = {child for n in nodes if not isinstance(n, ast.ClassDef) for child in ast.walk(n) if child is not n}
    explained = {n.name for n in nodes if ast.get_docstring(n)}
    explained |= {"facts", "columns"} if module == "kinds" else set()  # overrides, explained where record declares them
    assert {n.name for n in nodes if not n.name.startswith("_") and n not in inner} <= explained
    assert not [n.name for n in nodes if not isinstance(n, ast.ClassDef) and n.end_lineno - n.lineno >= 45]


def test_the_environment_names_one_thing_to_install() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["dependencies"] == ["python>=3.11", "pip", {"pip": ["-e .[all]"]}]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    every = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    for name in "jupyterlab papermill ipywidgets openai pandas matplotlib pillow torch transformers nbval pytest".split():
        assert any(re.match(rf"{name}\b", requirement) for requirement in every), name


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


@pytest.mark.parametrize(("notebook", "module"), [("infer", "infer"), ("evaluate", "evaluation")])
def test_the_other_notebooks_parameters_are_their_modules(notebook: str, module: str) -> None:
    from importlib import import_module

    from papermill.inspection import inspect_notebook

    found = inspect_notebook(str(ROOT / "notebooks" / f"{notebook}.ipynb"))
    assert set(found) == set(import_module(f"retinal_lib.{module}").PARAMETERS)
    assert all(parameter["help"] for parameter in found.values()), "each is explained"


def test_notebook_cells_are_short() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
        assert len(cells) <= 14
        for cell in cells:
            source = "".join(cell["source"])
            assert "parameters" in cell["metadata"].get("tags", []) or source.count("\n") < 15
            assert not re.search(r"^\s*(def|try|class)\b", source, re.MULTILINE)


def test_every_dataset_says_what_it_is() -> None:
    for name in page.names():
        found = page.get(name)
        assert found.title and found.citation and found.licence and found.terms and found.modality, name


@pytest.mark.parametrize("module", [m for m in MODULES if m not in MODEL and not m.startswith("llava_")])
def test_torch_is_reached_through_inference_alone(module: str) -> None:
    tops = {part for name in imports(module, top=True) for part in name.split(".")}
    assert not tops & {*MODEL, *(m for m in MODULES if m.startswith("llava_"))}
    assert not own(module) & {m for m in MODULES if m.startswith("llava_")}


def test_the_package_is_quick_to_import_and_needs_no_torch() -> None:
    heavy = ["torch", "pandas", "matplotlib", "openai", "cv2"]
    code = f"import sys, retinal_lib, retinal_lib.settings; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
