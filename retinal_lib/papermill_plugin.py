"""What lets `papermill notebooks/generate.ipynb -p dataset ODIR` work as typed: papermill loads this when it starts.

papermill demands an OUTPUT path in a terminal, writes the notebook to stdout when captured, and takes the only path for
the output when something is piped in. It loads its engines before it reads its command line, so this engine's module
fills in the missing path first. That is a side effect at import; it happens only in the papermill command itself, and only
for notebooks that ask for it by metadata such as {"retinal_lib": {"output": "generate.ipynb"}}: the file's name in the
run's folder. Such notebooks also refuse parameters that they do not have, which papermill merely warns of. Anything else
is left to papermill.
"""

import ast
import base64
import binascii
import json
import sys
from contextlib import chdir, nullcontext
from pathlib import Path
from types import TracebackType

import click
import yaml
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillException, PapermillExecutionError
from papermill.iorw import NoDatesSafeLoader, read_yaml_file

from retinal_lib.errors import UserError, unknown

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
    """The parameters of a notebook with their defaults, from its cell tagged `parameters`."""
    cells = [cell for cell in notebook.get("cells", []) if "parameters" in cell.get("metadata", {}).get("tags", [])]
    found: dict[str, object] = {}
    for statement in ast.parse("".join(cells[0]["source"])).body if cells else []:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name):
                try:
                    found[target.id] = ast.literal_eval(statement.value)
                except ValueError:  # not a plain value: known by name
                    found[target.id] = None
    return found


def check(notebook: dict, given: dict[str, object]) -> None:
    """UserError: a parameter was passed that the notebook does not have."""
    own = own_parameters(notebook)
    for name in given:
        if name not in own and not name.startswith("PAPERMILL_"):
            raise unknown("parameter", name, own)


def _asks(notebook: dict) -> str | None:
    """The file name that a notebook asks to be executed into, or None."""
    return (notebook.get("metadata", {}).get("retinal_lib") or {}).get("output")


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
            # ipykernel warns on stderr that it listens on TCP, which for a kernel on this machine helps nobody
            options = {"extra_arguments": ["--log-level=ERROR"]} | options
        return super().execute_notebook(nb, kernel_name, *arguments, **options)


def _is_papermill() -> bool:
    name = Path(sys.argv[0]).stem if sys.argv else ""
    as_module = name == "-m" and "papermill" in sys.orig_argv[1:3]
    return name == "papermill" or as_module


def completed(arguments: list[str]) -> list[str]:
    """The arguments with the output path where it is missing and the notebook asks for it, else as they are.

    UserError: a parameter is unknown or has no meaning, so that no run's folder can be named.
    """
    line = parsed(arguments)
    if line is None or not line["paths"] or any(line[name] for name in ("help", "version", "help_notebook")):
        return arguments
    source = Path(line["paths"][0])
    try:
        notebook = json.loads(source.read_text(encoding="utf-8")) if source.is_file() else {}
    except (OSError, ValueError):  # papermill says what is wrong with it
        return arguments
    if not isinstance(notebook, dict) or not (name := _asks(notebook)):
        return arguments
    sys.excepthook = _excepthook
    if len(line["paths"]) > 1:
        return arguments
    given = passed(line)
    check(notebook, given)
    from retinal_lib import settings  # here: a notebook that does not ask for it need not wait

    with chdir(line["cwd"][-1]) if line["cwd"] else nullcontext():
        folder = settings.folder(own_parameters(notebook) | given)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the run's folder {folder} cannot be made ({error.strerror or error})") from error
    # papermill fills {names} in paths
    return [*arguments, str(folder / name).replace("{", "{{").replace("}", "}}")]


def _excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A sentence for the user is shown as such; papermill would put its own stack around it."""
    if isinstance(error, PapermillExecutionError) and error.ename == "UserError":
        print(f"Error: {error.evalue}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


papermill_engines.register(None, Engine)
if _is_papermill():
    try:
        sys.argv[1:] = completed(sys.argv[1:])
    except UserError as problem:
        print(f"Error: {problem}", file=sys.stderr)
        sys.exit(2)
