"""papermill's engine for this project, and the output path that its command may leave out.

`papermill notebooks/generate.ipynb -p dataset ODIR` has no OUTPUT path: papermill would demand one in a terminal, write to
stdout when captured, and take the only path for the output when something is piped in. Notebooks with metadata such as
{"retinal_lib": {"output": "generate.ipynb"}} are executed into that file in the run's folder instead (which
`run.settings.folder` says, or the module in HOMES named by "folder"), and refuse parameters that they do not have, of which
papermill merely warns. Other notebooks are left to papermill.

papermill loads its engines before it defines its command, so the command cannot be changed from here; click, which runs it,
is asked to pass by `_invoke` instead.
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

# what metadata may name as "folder" -> the module whose function `folder` gives the run's folder
HOMES = {"infer": "inference.infer", "evaluation": "evaluate.evaluation"}


class NotebookRefused(click.ClickException):
    """Nothing was run; the message says why. papermill's command prints it as one sentence."""

    exit_code = 2


class NotebookFailed(click.ClickException):
    """The notebook stopped with a UserError. papermill's command prints its sentence, without a stack."""


# --- the command --------------------------------------------------------------------------------------------------------

_click_invoke = click.Command.invoke


def _invoke(command: click.Command, context: click.Context) -> object:
    """Runs any click command; papermill's own gets its output path first. NotebookRefused, NotebookFailed: see there."""
    if getattr(command.callback, "__module__", None) != "papermill.cli":
        return _click_invoke(command, context)
    try:
        ours = prepare(context.params)
    except UserError as error:
        raise NotebookRefused(str(error)) from error
    try:
        return _click_invoke(command, context)
    except PapermillExecutionError as error:
        if error.ename != "UserError" or not ours:
            raise
        if output := context.params["output_path"]:
            click.echo(f"The executed notebook with the error lies at {output.format()}", err=True)
        raise NotebookFailed(error.evalue) from error


def prepare(params: dict) -> bool:
    """Puts the output path into the parameters of papermill's command if it is missing and the notebook asks for it. Returns
    whether the notebook does.

    UserError: a notebook parameter is unknown or not readable, or the run's folder cannot take the executed notebook.
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
    given = passed(params)
    check(notebook, given)
    home = HOMES.get(_inside(notebook, "metadata", "retinal_lib", "folder"), "run.settings")
    target = _folder(own_parameters(notebook) | given, params["cwd"], home, Path(name).stem) / name
    try:
        same = target.exists() and target.samefile(source)
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the run's folder {target.parent} cannot be made ({error.strerror or error})") from error
    if same:
        raise UserError(f"{source} would be replaced by its own execution; pass another out_dir, or an output path")
    return str(target).replace("{", "{{").replace("}", "}}")  # papermill fills {names} in paths


def _folder(parameters: dict[str, object], cwd: str | None, home: str, notebook: str) -> Path:
    module = import_module(f"retinal_lib.{home}")  # here: a notebook that does not ask for it need not wait
    more = (notebook,) if home == "run.settings" else ()
    try:
        with chdir(cwd) if cwd else nullcontext():  # the kernel takes relative paths from there
            return module.folder(parameters, *more)
    except OSError as error:
        raise UserError(f"the run's folder is not known: {error.filename} ({error.strerror or error})") from error


def passed(params: dict) -> dict[str, object]:
    """Returns the notebook parameters of a command line, as papermill reads them. UserError: a file or text is not YAML."""
    from papermill.cli import _resolve_type  # papermill's own reading of -p; not defined yet when this module is loaded

    found: dict[str, object] = {}
    sources = [(read_yaml_file, params["parameters_file"]), (_yaml, params["parameters_yaml"])]
    for read, texts in [(lambda text: _yaml(base64.b64decode(text)), params["parameters_base64"]), *sources]:
        for text in texts:
            try:
                found.update(read(text) or {})
            except (OSError, yaml.YAMLError, PapermillException, binascii.Error, ValueError, TypeError) as error:
                raise UserError(f"parameters {text!r} cannot be read: {' '.join(str(error).split())}") from error
    return found | {name: _resolve_type(text) for name, text in params["parameters"]} | dict(params["parameters_raw"])


def _yaml(text: str | bytes) -> object:
    return yaml.load(text, Loader=NoDatesSafeLoader)


# --- notebooks ----------------------------------------------------------------------------------------------------------


def own_parameters(notebook: dict) -> dict[str, object]:
    """Returns the parameters of a notebook with their defaults, from its cell tagged `parameters`.

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
    """Checks the names of passed parameters. UserError: the notebook does not have one of them."""
    own = own_parameters(notebook)
    for name in given:
        if name not in own and not str(name).startswith("PAPERMILL_"):  # YAML keys may be numbers
            raise unknown("parameter", name, own)


def _inside(value: object, *keys: str) -> object:
    """A value from nested mappings, None where one is missing or is none: the file may hold any JSON."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _output_name(notebook: object) -> str | None:
    """The file name in the run's folder that a notebook asks to be executed into, or None."""
    name = _inside(notebook, "metadata", "retinal_lib", "output")
    return name if isinstance(name, str) and name and Path(name).name == name else None


# --- the engine ---------------------------------------------------------------------------------------------------------


class Engine(NBClientEngine):
    """papermill's own engine, which for notebooks with an output name refuses unknown parameters and keeps the kernel quiet."""

    @classmethod
    def execute_notebook(cls, nb: dict, kernel_name: str, *arguments: object, **options: object) -> object:
        """Runs a notebook. NotebookRefused: it does not have a parameter that was passed; nothing was run or written."""
        if _output_name(nb):
            try:
                check(nb, nb.metadata.get("papermill", {}).get("parameters", {}))
            except UserError as error:
                raise NotebookRefused(str(error)) from error
            # ipykernel warns on stderr that it listens on TCP, which for a kernel on this machine helps nobody
            options = {"extra_arguments": ["--log-level=ERROR"]} | options
        with _environment(NON_INTERACTIVE, "1"):  # kernels inherit it
            return super().execute_notebook(nb, kernel_name, *arguments, **options)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Sets an environment variable for a block of work."""
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
