"""papermill's engine for this project, and a default for the output path of its command.

`papermill notebooks/generate.ipynb -p dataset ODIR` names no output path. papermill would ask for one in a terminal, write
to stdout if that is captured, and take the only path for the output if its input is piped. Notebooks with metadata such as
{"retinal_lib": {"output": "generate.ipynb"}} are executed into that file in the run's folder instead, and refuse unknown
parameters, of which papermill only warns. The folder is what `run.settings.folder` returns, or the function `folder` of the
module that "folder" names in FOLDER_MODULES. Other notebooks are left to papermill.

papermill loads its engines before it defines its command, so the command cannot be changed from here; instead, click, which
runs the command, calls `_invoke`.
"""

import ast
import base64
import binascii
import json
import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from importlib import import_module
from pathlib import Path

import click
import yaml
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillException, PapermillExecutionError
from papermill.iorw import NoDatesSafeLoader, read_yaml_file

from retinal_lib.errors import UserError, unknown
from retinal_lib.paths import NON_INTERACTIVE

# "folder" in a notebook's metadata -> the module whose function `folder` returns the run's folder
FOLDER_MODULES = {"infer": "inference.infer", "evaluation": "evaluate.evaluation"}


class NotebookRefused(click.ClickException):
    """A notebook that was not run; the message says why. papermill's command prints it as one sentence."""

    exit_code = 2


class NotebookFailed(click.ClickException):
    """A notebook that stopped with a UserError. papermill's command prints its sentence, without a stack."""


# --- the command --------------------------------------------------------------------------------------------------------

_click_invoke = click.Command.invoke


def _invoke(command: click.Command, context: click.Context) -> object:
    """Runs any click command; papermill's own gets its output path first. NotebookRefused, NotebookFailed: see there."""
    if getattr(command.callback, "__module__", None) != "papermill.cli":
        return _click_invoke(command, context)
    try:
        has_output_name = prepare(context.params)
    except UserError as error:
        raise NotebookRefused(str(error)) from error
    try:
        return _click_invoke(command, context)
    except PapermillExecutionError as error:
        if error.ename != "UserError" or not has_output_name:
            raise
        if output := context.params["output_path"]:
            click.echo(f"The executed notebook with the error is {output.format()}", err=True)
        raise NotebookFailed(error.evalue) from error


def prepare(params: dict) -> bool:
    """Adds the output path to the parameters of papermill's command if it is missing and the notebook asks for it. Returns
    whether the notebook asks for it.

    UserError: a notebook parameter is unknown or unreadable, or the executed notebook cannot be written into the run's folder.
    """
    source = Path(params["notebook_path"] or "")
    try:
        notebook = json.loads(source.read_text(encoding="utf-8")) if source.is_file() else None
    except (OSError, ValueError):  # papermill says what is wrong with it
        return False
    name = _output_name(notebook)
    if not name or params["help_notebook"]:
        return False
    if not params["output_path"]:
        params["output_path"] = _output_path(params, source, notebook, name)
    return True


def _output_path(params: dict, source: Path, notebook: dict, name: str) -> str:
    parameters = passed(params)
    check(notebook, parameters)
    module = FOLDER_MODULES.get(_nested_value(notebook, "metadata", "retinal_lib", "folder"), "run.settings")
    target = _folder(own_parameters(notebook) | parameters, params["cwd"], module, Path(name).stem) / name
    try:
        same = target.exists() and target.samefile(source)
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the run's folder {target.parent} cannot be created ({error.strerror or error})") from error
    if same:
        raise UserError(f"{source} would be replaced by its executed copy; pass another out_dir, or an output path")
    return str(target).replace("{", "{{").replace("}", "}}")  # papermill fills {names} in paths


def _folder(parameters: dict[str, object], cwd: str | None, module: str, notebook: str) -> Path:
    folder = import_module(f"retinal_lib.{module}").folder  # imported here: other notebooks need not wait for it
    more = (notebook,) if module == "run.settings" else ()
    try:
        with chdir(cwd) if cwd else nullcontext():  # the kernel takes relative paths from there
            return folder(parameters, *more)
    except OSError as error:
        raise UserError(f"the run's folder cannot be determined: {error.filename} ({error.strerror or error})") from error


def passed(params: dict) -> dict[str, object]:
    """Returns the notebook parameters of a command line, as papermill reads them. UserError: a file or text is not YAML."""
    from papermill.cli import _resolve_type  # how papermill reads -p; not defined yet when this module is loaded

    values: dict[str, object] = {}
    sources = [(read_yaml_file, params["parameters_file"]), (_yaml, params["parameters_yaml"])]
    for read, texts in [(lambda text: _yaml(base64.b64decode(text)), params["parameters_base64"]), *sources]:
        for text in texts:
            try:
                values.update(read(text) or {})
            except (OSError, yaml.YAMLError, PapermillException, binascii.Error, ValueError, TypeError) as error:
                raise UserError(f"parameters {text!r} cannot be read: {' '.join(str(error).split())}") from error
    return values | {name: _resolve_type(text) for name, text in params["parameters"]} | dict(params["parameters_raw"])


def _yaml(text: str | bytes) -> object:
    return yaml.load(text, Loader=NoDatesSafeLoader)


# --- notebooks ----------------------------------------------------------------------------------------------------------


def own_parameters(notebook: dict) -> dict[str, object]:
    """Returns the parameters of a notebook with their defaults, from its cell tagged `parameters`.

    A default that is not a plain value counts as None. UserError: the cell is not plain Python.
    """
    cells = [cell for cell in notebook.get("cells") or [] if "parameters" in (_nested_value(cell, "metadata", "tags") or [])]
    try:
        statements = ast.parse("".join(cells[0]["source"])).body if cells else []
    except SyntaxError as error:
        raise UserError(f"the cell tagged parameters is not plain Python: line {error.lineno}, {error.msg}") from error
    defaults: dict[str, object] = {}
    for statement in statements:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
                names = [node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
                defaults |= dict.fromkeys(names, _plain(statement.value) if isinstance(target, ast.Name) else None)
    return defaults


def _plain(value: ast.expr | None) -> object:
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError):  # computed, or missing
        return None


def check(notebook: dict, parameters: dict[str, object]) -> None:
    """Checks the names of parameters. UserError: the notebook does not have one of them."""
    own = own_parameters(notebook)
    for name in parameters:
        if name not in own and not str(name).startswith("PAPERMILL_"):  # YAML keys may be numbers
            raise unknown("parameter", name, own)


def _nested_value(value: object, *keys: str) -> object:
    """A value from nested mappings; None if one is missing or is not a mapping, as the file may hold any JSON."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _output_name(notebook: object) -> str | None:
    """The file in the run's folder that a notebook is to be executed into, or None."""
    name = _nested_value(notebook, "metadata", "retinal_lib", "output")
    return name if isinstance(name, str) and name and Path(name).name == name else None


# --- the engine ---------------------------------------------------------------------------------------------------------


class Engine(NBClientEngine):
    """papermill's own engine; for notebooks with an output name, it refuses unknown parameters and quiets the kernel."""

    @classmethod
    def execute_notebook(cls, nb: dict, kernel_name: str, *arguments: object, **options: object) -> object:
        """Runs a notebook. NotebookRefused: it does not have a parameter that was passed; nothing was run or written."""
        if _output_name(nb):
            try:
                check(nb, nb.metadata.get("papermill", {}).get("parameters", {}))
            except UserError as error:
                raise NotebookRefused(str(error)) from error
            # ipykernel would warn on stderr that it listens on TCP, which does not matter for a kernel on this machine
            options = {"extra_arguments": ["--log-level=ERROR"]} | options
        with _environment(NON_INTERACTIVE, "1"):  # kernels inherit it
            return super().execute_notebook(nb, kernel_name, *arguments, **options)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Sets an environment variable within a block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


papermill_engines.register(None, Engine)
click.Command.invoke = _invoke
