"""What lets `papermill notebooks/generate.ipynb -p dataset ODIR` work as typed: papermill loads this when it starts.

papermill demands an OUTPUT path in a terminal, writes the notebook to stdout when captured, and takes the only path for
the output when something is piped in. It loads its engines before it reads its command line, so this engine's module
fills in the missing path first. That is a side effect at import; it happens only in the papermill command itself, and only
for notebooks that ask for it by metadata such as {"retinal_lib": {"output": "generate.ipynb"}}: the file's name in the
run's folder, which `settings.folder` tells, or that of the module named under "folder". Such notebooks also refuse
parameters that they do not have, which papermill merely warns of. Anything else is left to papermill.
"""

import ast
import base64
import binascii
import json
import os
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType

import click
import yaml
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillException, PapermillExecutionError
from papermill.iorw import NoDatesSafeLoader, read_yaml_file

from retinal_lib.errors import UserError, unknown
from retinal_lib.paths import NON_INTERACTIVE

# papermill's options: names, and how many values each takes; its own command cannot be imported this early. A test
# compares this with papermill's.
OPTIONS: dict[tuple[str, ...], int] = {
    ("--parameters", "-p"): 2,
    ("--parameters_raw", "-r"): 2,
    ("--parameters_file", "-f"): 1,
    ("--parameters_yaml", "-y"): 1,
    ("--parameters_base64", "-b"): 1,
    ("--engine",): 1,
    ("--autosave-cell-every",): 1,
    ("--kernel", "-k"): 1,
    ("--language", "-l"): 1,
    ("--cwd",): 1,
    ("--stdout-file",): 1,
    ("--stderr-file",): 1,
    ("--log-level",): 1,
    ("--start-timeout", "--start_timeout"): 1,
    ("--execution-timeout",): 1,
    ("--help-notebook",): 0,
    ("--inject-input-path",): 0,
    ("--inject-output-path",): 0,
    ("--inject-paths",): 0,
    ("--request-save-on-cell-execute", "--no-request-save-on-cell-execute"): 0,
    ("--prepare-only", "--prepare-execute"): 0,
    ("--progress-bar", "--no-progress-bar"): 0,
    ("--log-output", "--no-log-output"): 0,
    ("--report-mode", "--no-report-mode"): 0,
    ("--version",): 0,
    ("--help", "-h"): 0,
}

HOMES = {
    "infer": "inference.infer",
    "evaluation": "evaluate.evaluation",
}  # what metadata may name -> the module whose `folder` is asked


class Refused(click.ClickException):
    """Nothing was run; the message says why. papermill's command prints it as one sentence."""

    exit_code = 2


def _command() -> click.Command:
    parameters: list[click.Parameter] = [click.Argument(["paths"], nargs=-1)]
    for names, values in OPTIONS.items():
        several = {"multiple": True, "nargs": values} if values else {"is_flag": True, "flag_value": True}
        # click folds --parameters_file to lower case and a dash to an underscore; the first name is the key
        parameters.append(click.Option([names[0].strip("-").replace("-", "_"), *names], **several))
    return click.Command("papermill", params=parameters, add_help_option=False)


def parsed(arguments: list[str]) -> dict | None:
    """papermill's command line as {option: values}, `paths` among them; None where papermill would refuse it."""
    try:
        return _command().make_context("papermill", list(arguments)).params
    except click.ClickException:
        return None


def passed(line: dict) -> dict[str, object]:
    """The parameters of a command line, as papermill reads them. UserError: a file or text is not readable as YAML."""
    found: dict[str, object] = {}
    sources = [(read_yaml_file, line["parameters_file"]), (_yaml, line["parameters_yaml"])]
    for read, texts in [(lambda text: _yaml(base64.b64decode(text)), line["parameters_base64"]), *sources]:
        for text in texts:
            try:
                found.update(read(text) or {})
            except (OSError, yaml.YAMLError, PapermillException, binascii.Error, ValueError, TypeError) as error:
                raise UserError(f"parameters {text!r} cannot be read: {' '.join(str(error).split())}") from error
    return found | {name: _resolved(text) for name, text in line["parameters"]} | dict(line["parameters_raw"])


def _yaml(text: str | bytes) -> object:
    return yaml.load(text, Loader=NoDatesSafeLoader)


def _resolved(text: str) -> object:
    """A -p value as papermill takes it: True, False, None, a number, or text."""
    if text in ("True", "False", "None"):
        return {"True": True, "False": False, "None": None}[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def own_parameters(notebook: dict) -> dict[str, object]:
    """The parameters of a notebook with their defaults, from its cell tagged `parameters`.

    A default that is no plain value counts as None. UserError: the cell is not plain Python.
    """
    cells = [cell for cell in notebook.get("cells") or [] if "parameters" in (_inside(cell, "metadata", "tags") or [])]
    try:
        statements = ast.parse("".join(cells[0]["source"])).body if cells else []
    except SyntaxError as error:
        raise UserError(f"the cell tagged parameters is not plain Python: line {error.lineno}, {error.msg}") from error
    found: dict[str, object] = {}
    for statement in statements:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
                names = [node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
                found |= dict.fromkeys(names, _plain(statement.value) if isinstance(target, ast.Name) else None)
    return found


def _plain(value: ast.expr | None) -> object:
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError):  # computed, or not there at all
        return None


def check(notebook: dict, given: dict[str, object]) -> None:
    """UserError: a parameter was passed that the notebook does not have."""
    own = own_parameters(notebook)
    for name in given:
        if name not in own and not str(name).startswith("PAPERMILL_"):  # YAML keys may be numbers
            raise unknown("parameter", name, own)


def _inside(value: object, *keys: str) -> object:
    """A value from nested mappings, None where one is missing or is none: the file may hold any JSON."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _asks(notebook: object) -> str | None:
    """The file name that a notebook asks to be executed into, or None."""
    name = _inside(notebook, "metadata", "retinal_lib", "output")
    return name if isinstance(name, str) and name and Path(name).name == name else None


class Engine(NBClientEngine):
    """papermill's own engine, which for notebooks that ask for it refuses unknown parameters and keeps the kernel quiet."""

    @classmethod
    def execute_notebook(cls, nb: dict, kernel_name: str, *arguments: object, **options: object) -> object:
        """Runs a notebook. Refused: it does not have a parameter that was passed; nothing was run or written."""
        if _asks(nb):
            try:
                check(nb, nb.metadata.get("papermill", {}).get("parameters", {}))
            except UserError as error:
                raise Refused(str(error)) from error
            if IN_COMMAND:
                sys.excepthook = partial(_excepthook, nb.metadata.papermill.output_path)
            # ipykernel warns on stderr that it listens on TCP, which for a kernel on this machine helps nobody
            options = {"extra_arguments": ["--log-level=ERROR"]} | options
        with _environment(NON_INTERACTIVE, "1"):  # kernels inherit it
            return super().execute_notebook(nb, kernel_name, *arguments, **options)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """An environment variable, for a block of work."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _is_papermill() -> bool:
    if sys.argv[:1] == ["-m"]:  # not yet replaced by the module's path; its name stands before papermill's arguments
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") in ("papermill", "papermill.__main__")
    return bool(sys.argv) and Path(sys.argv[0]).stem == "papermill"


def completed(arguments: list[str]) -> list[str]:
    """The arguments with the output path where it is missing and the notebook asks for it, else as they are.

    UserError: a parameter is unknown or has no meaning, or the run's folder cannot take the executed notebook.
    """
    line = parsed(arguments)
    if line is None or len(line["paths"]) != 1 or any(line[name] for name in ("help", "version", "help_notebook")):
        return arguments
    source = Path(line["paths"][0])
    try:
        notebook = json.loads(source.read_text(encoding="utf-8")) if source.is_file() else {}
    except (OSError, ValueError):  # papermill says what is wrong with it
        return arguments
    if not (name := _asks(notebook)):
        return arguments
    given = passed(line)
    check(notebook, given)
    home = _inside(notebook, "metadata", "retinal_lib", "folder")
    target = _folder(own_parameters(notebook) | given, line["cwd"], HOMES.get(home, "run.settings"), Path(name).stem) / name
    try:
        same = target.exists() and target.samefile(source)
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the run's folder {target.parent} cannot be made ({error.strerror or error})") from error
    if same:
        raise UserError(f"{source} would be replaced by its own execution; pass another out_dir, or an output path")
    return [*arguments, str(target).replace("{", "{{").replace("}", "}}")]  # papermill fills {names} in paths


def _folder(parameters: dict[str, object], cwd: tuple[str, ...], home: str, notebook: str) -> Path:
    asked = import_module(f"retinal_lib.{home}")  # here: a notebook that does not ask for it need not wait
    more = (notebook,) if home == "run.settings" else ()
    try:
        with chdir(cwd[-1]) if cwd else nullcontext():  # the kernel takes relative paths from there
            return asked.folder(parameters, *more)
    except OSError as error:
        raise UserError(f"the run's folder cannot be told: {error.filename} ({error.strerror or error})") from error


def _excepthook(output: str, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A sentence for the user is shown as such; papermill would put its own stack around it."""
    if isinstance(error, PapermillExecutionError) and error.ename == "UserError":
        place = f"The executed notebook with the error lies at {output}\n" if output != "-" else ""
        print(f"{place}Error: {error.evalue}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


papermill_engines.register(None, Engine)
IN_COMMAND = _is_papermill()  # asked once: argv changes when papermill runs as a module
if IN_COMMAND:
    try:
        sys.argv[1:] = completed(sys.argv[1:])
    except UserError as problem:
        print(f"Error: {problem}", file=sys.stderr)
        sys.exit(2)
