"""papermill's engine for this project, and a default for the output path of its command.

`papermill notebooks/generate.ipynb -p dataset ODIR` names no output path. papermill would ask for one in a terminal, write
to stdout if that is captured, and take the only path for the output if its input is piped. Notebooks with metadata such as
{"retinal_lib": {"output": "generate.ipynb"}} are executed into that file in the run's folder instead, and refuse unknown
parameters, of which papermill only warns. The folder is what `run.settings.folder` returns, or the function `folder` of the
module that "folder" names in FOLDER_MODULES. A notebook there that was executed without an error is replaced only by another
such one. At the end, the command tells what the cell tagged `result` printed, also of a run that failed, and which files to
open: the notebook, and the file that "open" names. Other notebooks are left to papermill.

papermill loads its engines before it defines its command, so the command cannot be changed from here; instead, click, which
runs the command, calls `_invoke`.
"""

import ast
import base64
import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import click
import nbformat
import yaml
from jupyter_client.kernelspec import KernelSpecManager
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillException, PapermillExecutionError
from papermill.iorw import LocalHandler, NoDatesSafeLoader, read_yaml_file

from retinal_lib.errors import UserError, unknown
from retinal_lib.files import read_json
from retinal_lib.parsing import YAML_ERRORS
from retinal_lib.paths import NON_INTERACTIVE, root
from retinal_lib.text.shown_text import cleaned

# "folder" in a notebook's metadata -> the module whose function `folder` returns the run's folder
FOLDER_MODULES = {"infer": "inference.infer", "evaluation": "evaluate.evaluation", "train": "train.training"}


class NotebookRefused(click.ClickException):
    """A notebook that was not run; the message says why. papermill's command prints it as one sentence."""

    exit_code = 2


class NotebookFailed(click.ClickException):
    """A notebook that stopped with a UserError. papermill's command prints its sentence, without a stack."""


# --- the command --------------------------------------------------------------------------------------------------------

_click_invoke = click.Command.invoke
_INTERRUPTED = 130  # the status of a command that Ctrl-C ended
_OS_ERROR = re.compile(r"\[Errno \d+\] (.+?): '(.+?)'")


class OwnNotebook(NamedTuple):
    """A notebook that asks for an output path: its file, its JSON, and where it ends up where the user named no path."""

    source: Path
    notebook: dict
    target: Path | None = None


def _invoke(command: click.Command, context: click.Context) -> object:
    """Runs any click command; papermill's own gets its output path first. NotebookRefused, NotebookFailed: see there."""
    if getattr(command.callback, "__module__", None) != "papermill.cli":
        return _click_invoke(command, context)
    params = context.params
    try:
        _check_source(params["notebook_path"] or "")
        own = _own_notebook(params)
        if own is not None:
            _check_kernel(params["kernel"], own.notebook)
            own = _with_output(params, own)
    except UserError as error:
        raise NotebookRefused(str(error)) from error
    if own is None:
        return _click_invoke(command, context)
    try:
        done = _click_invoke(command, context)
    except PapermillExecutionError as error:
        if not (sentence := _sentence(error, params)):
            raise
        written = Path(params["output_path"].format())
        for text in [*_results(written), f"The executed notebook with the error is {written}"]:
            click.echo(text, err=True)
        raise NotebookFailed(sentence) from error
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it would report the kernel that was stopped
        click.echo("\nStopped. Type the same command again: answers that are stored are not asked for again.", err=True)
        raise click.exceptions.Exit(_INTERRUPTED) from None
    except OSError as error:
        raise NotebookFailed(f"{error.filename or params['output_path']} cannot be used ({error.strerror or error})") from error
    except RuntimeError as error:  # how nbclient says it
        if "Kernel" not in str(error):
            raise
        raise NotebookFailed(f"the kernel did not start ({error}); {_other_kernels(params['kernel'])}") from error
    _finish(own, params)
    return done


def prepare(params: dict) -> bool:
    """Adds the output path to the parameters of papermill's command if it is missing and the notebook asks for it. Returns
    whether the notebook asks for it.

    UserError: a notebook parameter is unknown or unreadable, or the executed notebook cannot be written into the run's folder.
    """
    own = _own_notebook(params)
    if own is not None:
        _with_output(params, own)
    return own is not None


def _own_notebook(params: dict) -> OwnNotebook | None:
    """The notebook of a command line, if it asks for an output path."""
    source = Path(params["notebook_path"] or "")
    if not source.is_file() or source.suffix != ".ipynb":
        return None
    notebook = _read(source)
    return None if not _output_name(notebook) or params["help_notebook"] else OwnNotebook(source, notebook)


def _read(source: Path) -> dict:
    """The JSON of a notebook. UserError: it is none; of one that asks for an output path, no part may be of another kind than
    the format says."""
    notebook = read_json(source)
    kinds = {"metadata": dict, "cells": list, "nbformat": int}
    whole = all(isinstance(_nested_value(notebook, name), kind) for name, kind in kinds.items())
    if not whole or not all(isinstance(cell, dict) for cell in notebook["cells"]):
        raise UserError(f"{source} is no notebook; save it again in Jupyter")
    if _output_name(notebook):
        try:
            nbformat.validate(notebook)
        except nbformat.ValidationError as error:
            place = " > ".join(map(str, error.absolute_path)) or "the notebook"
            raise UserError(f"{source} is no notebook ({place}: {error.message}); save it again in Jupyter") from error
    return notebook


def _with_output(params: dict, own: OwnNotebook) -> OwnNotebook:
    """Sets the output path, where it is missing. UserError: as `prepare`."""
    if params["output_path"]:
        return own
    parameters, name = passed(params), _output_name(own.notebook)
    check(own.notebook, parameters)
    module = FOLDER_MODULES.get(str(_nested_value(own.notebook, "metadata", "retinal_lib", "folder")), "run.settings")
    target = _folder(own_parameters(own.notebook) | parameters, params["cwd"], module, Path(name).stem) / name
    try:
        same = target.exists() and target.samefile(own.source)
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise UserError(
            f"the run's folder {target.parent} cannot be written ({error.strerror or error}); pass another out_dir"
        ) from error
    if same:
        raise UserError(f"{own.source} would be replaced by its executed copy; pass another out_dir, or an output path")
    written = target.with_name(f"{target.stem}-unfinished.ipynb") if _ended_well(target) else target
    params["output_path"] = str(written).replace("{", "{{").replace("}", "}}")  # papermill fills {names} in paths
    return own._replace(target=target)


def _ended_well(path: Path) -> bool:
    """Whether a file is a notebook that papermill executed without an error."""
    try:
        notebook = read_json(path)
    except UserError:
        return False
    end, failed = (_nested_value(notebook, "metadata", "papermill", name) for name in ("end_time", "exception"))
    return bool(end) and not failed


def _finish(own: OwnNotebook, params: dict) -> None:
    """Puts an executed notebook into its place, and says what the run's result is and which files to open."""
    written = Path(params["output_path"].format())
    if own.target is not None and written != own.target:
        written.replace(own.target)
        written = own.target
    opens = [written]
    if isinstance(name := _nested_value(own.notebook, "metadata", "retinal_lib", "open"), str):
        opens += [path for path in [written.with_name(name)] if path.is_file()]
    for text in [*_results(written), f"To look at it, open {' and '.join(map(_to_open, opens))}"]:
        click.echo(text, err=True)


def _to_open(path: Path) -> str:
    """A path that can be opened from the current folder: relative to it where it is below it, else absolute."""
    path = path.absolute()
    return (path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path).as_posix()


def _in_project(path: Path) -> str:
    """A path for the executed notebook, which may be opened anywhere: below the project where it is there, else whole."""
    return (path.relative_to(root()) if path.is_relative_to(root()) else path).as_posix()


def _results(executed: Path) -> list[str]:
    """The texts that cells tagged `result` show in an executed notebook; none where it was written elsewhere."""
    if not executed.is_file():
        return []
    cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    texts = [_shown(cell["outputs"]) for cell in cells if "result" in cell["metadata"].get("tags", [])]
    return [text for text in texts if text]


def _shown(outputs: list[dict]) -> str:
    """What a cell printed; where it printed nothing, what it displayed, as text."""
    printed = [output["text"] for output in outputs if output["output_type"] == "stream"]
    displayed = [text for output in outputs if (text := _nested_value(output, "data", "text/plain"))]
    texts = ["".join(text).rstrip() for text in printed or displayed]
    return "\n".join(text for text in texts if not text.startswith("Empty "))  # tables without rows


# --- what went wrong ----------------------------------------------------------------------------------------------------


def _check_source(path: str) -> None:
    """Checks the path of a notebook. UserError: there is no such file, and papermill takes it for nothing else."""
    if path.endswith(".ipynb") and "://" not in path and "{" not in path and not Path(path).exists():
        raise unknown("notebook", path, sorted(map(str, Path(path).parent.glob("*.ipynb"))))


def _check_kernel(name: str | None, notebook: dict) -> None:
    """Checks that there is a kernel of the name that was passed, or that the notebook asks for. UserError: there is none."""
    name = name or _nested_value(notebook, "metadata", "kernelspec", "name")
    if not name:
        raise UserError(f"the notebook names no kernel; {_other_kernels(None)}")
    found = KernelSpecManager().find_kernel_specs()
    if name not in found:
        raise UserError(f"there is no kernel {name!r} in this environment ({sys.prefix}); {_other_kernels(name)}")
    python = Path(KernelSpecManager().get_kernel_spec(name).argv[0])
    if python.is_absolute() and not python.exists():
        raise UserError(f"the kernel {name!r} starts {python}, which does not exist; {_other_kernels(name)}")


def _other_kernels(name: str | None) -> str:
    names = sorted(other for other in KernelSpecManager().find_kernel_specs() if other != name)
    return f"pass -k with one of: {', '.join(names)}" if names else "install one: pip install ipykernel"


def _sentence(error: PapermillExecutionError, params: dict) -> str:
    """The error of a cell in a sentence, where it is something that a user can put right; else ""."""
    if error.ename == "UserError":
        return error.evalue
    if error.ename == "ModuleNotFoundError" and "'retinal_lib'" in error.evalue:
        kernel = f"the kernel {params['kernel']!r}" if params["kernel"] else "the notebook's kernel"
        return f"{kernel} belongs to another environment, which has no retinal_lib; {_other_kernels(params['kernel'])}"
    if found := _OS_ERROR.match(error.evalue):
        return f"{found[2]} cannot be used ({found[1]})"
    return ""


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
            except (OSError, PapermillException, *YAML_ERRORS) as error:
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
            # ipykernel would warn on stderr that it listens on TCP, which does not matter for a kernel on this machine, and
            # at its end that it was interrupted, which is how it is ended; errors of cells come by another way
            options = {"extra_arguments": ["--log-level=CRITICAL"]} | options
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


# --- the executed notebook ----------------------------------------------------------------------------------------------

_local_write = LocalHandler.write


def _write(handler: LocalHandler, text: str, path: str) -> None:
    """Writes a notebook as papermill does, after each cell; one that asks for an output path as people may pass it on."""
    try:
        notebook = json.loads(text)
    except ValueError:  # papermill writes other files too
        notebook = None
    if _output_name(notebook):
        text = json.dumps(_for_people(_of_run(notebook, Path(path).parent)), ensure_ascii=False, indent=1)
    _local_write(handler, text, path)


def _of_run(notebook: dict, folder: Path) -> dict:
    """The notebook with the run's own names in its last cell, which says what comes next: its dataset, and its folder."""
    last = notebook["cells"][-1] if notebook["cells"] else {}
    example = own_parameters(notebook).get("dataset")
    if example and last["cell_type"] == "markdown":
        dataset = shlex.quote(str(_nested_value(notebook, "metadata", "papermill", "parameters", "dataset") or example))
        said = "".join(last["source"]).replace(f"artifacts/{example}-instruction", _in_project(folder))
        last["source"] = cleaned(re.sub(rf"(?<=`)(retinal \w+ ){example}\b", lambda match: match[1] + dataset, said))
    return notebook


def _for_people(notebook: dict) -> dict:
    """The notebook without names that identify participants, and without absolute paths: in what was passed to it, and in what
    it shows. Its code stays as it is."""
    notebook["metadata"]["papermill"] = cleaned(notebook["metadata"].get("papermill", {}))
    for cell in notebook["cells"]:
        if "injected-parameters" in cell["metadata"].get("tags", []):
            cell["source"] = cleaned(cell["source"])
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            pictures = {kind: content for kind, content in data.items() if kind.startswith("image/")}
            output |= cleaned({name: value for name, value in output.items() if name != "data"})
            if data:
                output["data"] = cleaned({kind: data[kind] for kind in data if kind not in pictures}) | pictures
    return notebook


LocalHandler.write = _write
papermill_engines.register(None, Engine)
click.Command.invoke = _invoke
