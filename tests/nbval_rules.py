"""Rules for `pytest --nbval`, loaded with `-p nbval_rules`: what nbval itself would let pass."""

import os
from pathlib import Path

import nbformat
import pytest
from nbval.kernel import RunningKernel

# kernels inherit these: a project folder of their own, no keys, one order of sets, and no progress bars, which a slow machine
# would show and a quick one would not
os.environ["RETINAL_LIB_ROOT"] = str(Path(__file__).resolve().parents[1] / "artifacts" / "tests")
os.environ["PYTHONHASHSEED"] = "0"
os.environ["RETINAL_LIB_HEADLESS"] = "1"
os.environ["TQDM_DISABLE"] = "1"
os.environ["RETINAL_LIB_SHORT_TRIAL"] = "yes"  # train.ipynb in seconds; its outputs are those of the whole trial
for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
    os.environ.pop(name, None)

_execute = RunningKernel.execute_cell_input


def _execute_with_history(self: RunningKernel, cell_input: str, allow_stdin: bool | None = None) -> str:
    # without history, a trailing semicolon does not silence a cell (nbval issue 194)
    return self.kc.execute(cell_input, allow_stdin=allow_stdin, stop_on_error=False, store_history=True)


RunningKernel.execute_cell_input = _execute_with_history


def pytest_configure(config: pytest.Config) -> None:
    """Pictures within HTML are compared no more than pictures of their own are."""
    config.option.nbval_sanitize_with = str(Path(__file__).with_name("nbval.cfg"))


def pytest_collect_file(file_path: Path) -> None:
    """A notebook whose outputs were stripped would pass unseen: nothing in it is compared."""
    if file_path.suffix == ".ipynb":
        cells = [cell for cell in nbformat.read(file_path, 4).cells if cell.cell_type == "code"]
        unrun = [i for i, cell in enumerate(cells, start=1) if not cell.execution_count]
        if unrun:
            raise pytest.UsageError(
                f"{file_path.name}: code cell {unrun[0]} has not been run; run the notebook and keep its outputs"
            )
