"""The command line of the package: what is mistyped, where it is shown, and how the environment is set up."""

import os
import shutil
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
        ("exprot", "unknown command 'exprot'; known: generate, explore, "),
        ("exprot artifacts/x --form llava", "did you mean 'export'?"),
        ("whatever artifacts/x", "unknown command 'whatever'; known: generate, "),
        ("ODRI", "unknown dataset 'ODRI'; known: APTOS, "),
        ("nothing-like-it", "unknown dataset 'nothing-like-it'; known: APTOS, "),
    ],
)
def test_a_mistyped_command_is_told_as_one(line: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        main(line.split())
    assert sentence in str(error.value)


def test_a_folder_and_a_run_of_one_s_own_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINAL_LIB_ROOT", str(tmp_path))
    (tmp_path / "clinic").mkdir()
    (tmp_path / "clinic" / "labels.csv").write_text("image\n", encoding="utf-8")
    for words in (f"show {tmp_path}/clinic", f"boxes {tmp_path}/clinic"):
        with pytest.raises(UserError, match=r"clinic is a folder; name the table or page in it \(labels.csv\), or run"):
            main(words.split())
    artifacts = tmp_path / "artifacts"
    Job.load(dataset="ODIR", limit=2, out_dir=str(artifacts / "mine-instruction")).run()
    for words in ("show mine", "MINE-instruction", f"show {artifacts}/mine-instruction"):
        assert main(words.split()).startswith("2 conversations are in artifacts/mine-instruction/conversations.jsonl")
    assert main(["splits", "mine", "--out", str(tmp_path / "splits.csv")]).startswith("2 images in 1 group")
    with pytest.raises(UserError, match="shares '70,15': expected those of train, validation and test"):
        main(["splits", "mine", "--shares", "70,15", "--seed", "1", "--out", str(tmp_path / "more.csv")])
    (artifacts / "mine-vqa").mkdir()
    (artifacts / "mine-vqa" / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="several runs are called mine: mine-instruction, mine-vqa; name one of them"):
        main(["show", "mine"])


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


@pytest.mark.parametrize("name", ["generate", "explore", "review", "evaluate"])
def test_a_notebook_is_run_by_papermill_with_its_own_parameters(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "ODIR", "splitt=train"])
    assert ended.value.code == 2
    assert "unknown parameter 'splitt'; known: dataset, " in capsys.readouterr().err


def test_a_word_that_is_no_parameter_is_told() -> None:
    with pytest.raises(UserError, match=r"found '20' after the dataset; expected a parameter and its value, such as limit=20"):
        main(["generate", "ODIR", "20"])


def test_notebooks_are_copied_and_none_is_replaced(tmp_path: Path) -> None:
    assert "notebooks are in" in main(["notebooks", str(tmp_path / "mine")]) == main(["notebooks", str(tmp_path / "mine")])
    own = tmp_path / "mine" / "review.ipynb"
    own.write_text("mine", encoding="utf-8")
    (tmp_path / "mine" / "boxes.ipynb").unlink()
    with pytest.raises(UserError, match=r"review.ipynb is another notebook than the one to copy"):
        main(["notebooks", str(tmp_path / "mine")])
    assert own.read_text(encoding="utf-8") == "mine" and not (tmp_path / "mine" / "boxes.ipynb").exists()


def test_a_wheel_brings_the_notebooks_along(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77", reason="setuptools 77, which builds the wheel, is not installed")
    shutil.copytree(ROOT, tmp_path / "tree", ignore=shutil.ignore_patterns(".git", ".venv", "artifacts", "tests", "*.jpg"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path / "wheel", tmp_path / "tree"]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheel").iterdir()
    install = [*pip, "install", "-q", "--no-deps", "--no-index", "--no-compile", "--target", tmp_path / "site", wheel]
    subprocess.run(install, check=True, capture_output=True)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    environment.pop("RETINAL_LIB_ROOT", None)
    command = [sys.executable, "-m", "retinal_lib", "notebooks", "mine"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "notebooks are in mine" in done.stdout, done.stderr
    assert (tmp_path / "mine" / "generate.ipynb").read_bytes() == (ROOT / "notebooks" / "generate.ipynb").read_bytes()


def test_a_reader_that_has_enough_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as head does
    done = subprocess.run([sys.executable, "-m", "retinal_lib", "doctor"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.stderr == ""
