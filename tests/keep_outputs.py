"""`python tests/keep_outputs.py notebooks/*.ipynb`: runs notebooks as the tests do and keeps their outputs, without times."""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent


def keep(path: Path) -> None:
    """Runs one notebook in place."""
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        cell.metadata.pop("papermill", None)
    options = {"record_timing": False, "coalesce_streams": True, "extra_arguments": ["--log-level=ERROR"]}
    client = NotebookClient(notebook, kernel_name="python3", **options)
    client.execute(cwd=str(path.parent))
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    os.environ |= {
        "RETINAL_LIB_ROOT": str(HERE.parent / "artifacts" / "tests"),
        "PYTHONHASHSEED": "0",
        "RETINAL_LIB_HEADLESS": "1",
        "TQDM_DISABLE": "1",  # a slow machine would keep a progress bar
    }
    for name in sys.argv[1:]:
        keep(Path(name).resolve())
