"""The command line of the package: what is mistyped, where it is shown, and how the environment is set up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from retinal_lib import Job, UserError
from retinal_lib.__main__ import main

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("exprot", "unknown command 'exprot'; known: show, splits, export, "),
        ("exprot artifacts/x --form llava", "did you mean 'export'?"),
        ("whatever artifacts/x", "unknown command 'whatever'; known: show, "),
        ("ODRI", "unknown dataset 'ODRI'; known: APTOS, "),
        ("nothing-like-it", "unknown dataset 'nothing-like-it'; known: APTOS, "),
    ],
)
def test_a_mistyped_command_is_told_as_one(line: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        main(line.split())
    assert sentence in str(error.value)


def test_a_terminal_that_knows_ascii_alone_is_enough(tmp_path: Path) -> None:
    Job.load(dataset="ODIR", limit=2, out_dir=str(tmp_path / "artifacts" / "ODIR-instruction")).run()
    file = tmp_path / "artifacts" / "ODIR-instruction" / "conversations.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace("The", "Größe µm: the"), encoding="utf-8")
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "RETINAL_LIB_ROOT": str(tmp_path)}
    command = [sys.executable, "-m", "retinal_lib", "ODIR"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 conversations are in artifacts/ODIR-instruction/conversations.jsonl" in done.stdout and r"\xb5m" in done.stdout


def test_what_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    Job.load(dataset="ODIR", limit=2, out_dir=str(tmp_path)).run()
    (tmp_path / "card-turns.png").mkdir()
    command = [sys.executable, "-m", "retinal_lib", "card", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("Error: ") and "card-turns.png" in done.stderr and done.stderr.count("\n") == 1


def test_make_brings_pip_into_an_environment_that_uv_makes_without(tmp_path: Path) -> None:
    """uv is played by a script that writes down what it is asked for, as it makes an environment without pip."""
    calls = tmp_path / "calls.txt"
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    python = tmp_path / "venv" / "bin" / "python"
    make_environment = f"mkdir -p {python.parent} && ln -s {sys.executable} {python}"
    uv.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n[ "$1" = venv ] && {make_environment}\nexit 0\n', encoding="utf-8")
    uv.chmod(0o755)
    environment = os.environ | {"PATH": f"{uv.parent}:{os.environ['PATH']}"}
    line = ["make", f"VENV={tmp_path / 'venv'}", f"PYTHON={sys.executable}", str(tmp_path / "venv" / ".run")]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = calls.read_text(encoding="utf-8").splitlines()
    assert made[0].startswith("venv ") and made[-1] == f"pip install --quiet --python {python} pip"


def test_testing_needs_no_ray() -> None:
    told = subprocess.run(["make", "-n", "-B", "test"], cwd=ROOT, capture_output=True, text=True).stdout
    assert ".[inference]" in told and "scale" not in told and "ray" not in told.split()
    assert "torch" not in subprocess.run(["make", "-n", "test", "TORCH=no"], cwd=ROOT, capture_output=True, text=True).stdout
