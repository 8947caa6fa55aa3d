"""papermill's command as users type it: in a terminal, captured, piped, from elsewhere, with and without an output path."""

import base64
import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import nbformat
import papermill.engines  # first, since papermill loads the plug-in, and not the other way round
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from papermill.cli import papermill as command

from retinal_lib import UserError
from retinal_lib import papermill_plugin as plugin
from retinal_lib.text.shown_text import for_people

PAPERMILL = Path(sys.executable).with_name("papermill")
META = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}


def notebook(path: Path, body: str, asks: bool = True) -> Path:
    parameters = new_code_cell("dataset = 'ODIR'  # which\ntrack = None\nout_dir = None\nnumber: int = 1")
    parameters.metadata["tags"] = ["parameters"]
    metadata = META | ({"retinal_lib": {"output": "small.ipynb"}} if asks else {})
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[parameters, new_code_cell(body)], metadata=metadata), path)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    mark = tmp_path / "ran.txt"
    return notebook(tmp_path / "small.ipynb", f"open({str(mark)!r}, 'a').write(f'{{dataset}} {{number}};')")


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    settings = {"capture_output": True, "text": True, "timeout": 120, "stdin": subprocess.DEVNULL}
    if "input" in options:
        del settings["stdin"]
    return subprocess.run([str(PAPERMILL), *map(str, arguments), "--no-progress-bar"], **(settings | options))


def line_of(line: list[str]) -> dict:
    """A command line as papermill reads it."""
    return command.make_context("papermill", list(line)).params


def completed(line: list[str]) -> str:
    """The output path of a command line; papermill itself is not run."""
    context = command.make_context("papermill", list(line))
    plugin.prepare(context.params)
    return context.params["output_path"]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_captured_with_one_path_the_notebook_lands_in_the_run_folder(small: Path, tmp_path: Path) -> None:
    before = digest(small)
    done = run(small, "-p", "out_dir", tmp_path / "run", "-p", "number", "7")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and (tmp_path / "ran.txt").read_text() == "ODIR 7;"
    assert nbformat.read(tmp_path / "run" / "small.ipynb", 4).metadata.papermill.parameters["number"] == 7
    assert digest(small) == before
    assert "WARNING" not in done.stderr


@pytest.mark.parametrize("piped", ["", "a notebook"])
def test_with_something_piped_in_the_path_is_still_the_source(piped: str, small: Path, tmp_path: Path) -> None:
    before = digest(small)
    done = run(small, "-p", "out_dir", tmp_path / "run", input=small.read_text() if piped else "")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "small.ipynb").is_file() and digest(small) == before
    assert done.stdout == "" and (tmp_path / "ran.txt").is_file()


def test_in_a_terminal_from_another_folder_and_as_a_module(small: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    arguments = ["-m", "papermill", str(small), "-p", "out_dir", "deep/run", "--no-progress-bar"]
    child = subprocess.Popen([sys.executable, *arguments], stdin=slave, stdout=slave, stderr=slave, cwd=tmp_path)
    os.close(slave)
    output = b""
    try:
        while chunk := os.read(master, 65536):
            output += chunk
    except OSError:  # how Linux says that the terminal was closed
        pass
    os.close(master)
    assert child.wait(120) == 0, output.decode()
    assert (tmp_path / "deep" / "run" / "small.ipynb").is_file()


def test_an_explicit_output_path_wins(small: Path, tmp_path: Path) -> None:
    done = run(small, tmp_path / "mine.ipynb", "-p", "out_dir", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine.ipynb").is_file() and not (tmp_path / "run").exists()


@pytest.mark.parametrize("explicit", [False, True])
def test_a_misspelt_parameter_stops_before_anything_runs(explicit: bool, small: Path, tmp_path: Path) -> None:
    output = [tmp_path / "mine.ipynb"] if explicit else []
    done = run(small, *output, "-p", "datset", "ODIR", "-p", "out_dir", tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("Error: unknown parameter 'datset'; known: dataset, track, out_dir, number")
    assert done.stderr.endswith("(did you mean 'dataset'?)\n") and "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.ipynb"]


def test_a_sentence_for_the_user_is_the_last_word(tmp_path: Path) -> None:
    source = notebook(tmp_path / "bad.ipynb", "from retinal_lib import UserError\nraise UserError('row 3 is odd')")
    done = run(source, "-p", "out_dir", tmp_path / "run")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Error: row 3 is odd" and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-2] == f"The executed notebook with the error is {tmp_path / 'run' / 'small.ipynb'}"
    saved = nbformat.read(tmp_path / "run" / "small.ipynb", 4)
    assert any(output.get("evalue") == "row 3 is odd" for cell in saved.cells for output in cell.get("outputs", []))


def test_a_run_that_failed_still_tells_its_result(tmp_path: Path) -> None:
    line = "from retinal_lib import UserError\nprint('40 images: 30 accepted')"
    file = notebook(tmp_path / "small.ipynb", line)
    read = nbformat.read(file, 4)
    read.cells[-1].metadata["tags"] = ["result"]
    read.cells.append(new_code_cell("raise UserError('too many failed')"))
    nbformat.write(read, file)
    done = run(file, "-p", "out_dir", tmp_path / "run")
    told = done.stderr.strip().splitlines()
    assert done.returncode == 1 and told[-1] == "Error: too many failed" and told[-3] == "40 images: 30 accepted", done.stderr


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    mark = tmp_path / "began.txt"
    file = notebook(tmp_path / "small.ipynb", f"open({str(mark)!r}, 'w').close()\nimport time\ntime.sleep(100)")
    command = [str(PAPERMILL), str(file), "-p", "out_dir", str(tmp_path / "run"), "--no-progress-bar"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 60
    while not mark.exists() and time.monotonic() < until:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    told = process.communicate(timeout=150)[1]
    assert process.returncode == 130 and told.strip().splitlines()[-1].startswith("Stopped. Type the same command again")
    assert "Traceback" not in told


def test_a_failed_start_leaves_a_good_executed_notebook(tmp_path: Path) -> None:
    source = notebook(tmp_path / "n.ipynb", "from retinal_lib import UserError\nif number > 1: raise UserError('no')\nnumber")
    assert run(source, "-p", "out_dir", tmp_path / "run").returncode == 0
    good = digest(tmp_path / "run" / "small.ipynb")
    failed = run(source, "-p", "out_dir", tmp_path / "run", "-p", "number", "2")
    assert failed.returncode == 1 and failed.stderr.splitlines()[-1] == "Error: no"
    assert failed.stderr.splitlines()[-2].endswith(f"is {tmp_path / 'run' / 'small-unfinished.ipynb'}")
    assert digest(tmp_path / "run" / "small.ipynb") == good
    assert run(source, "-p", "out_dir", tmp_path / "run").returncode == 0
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["small.ipynb"]


def test_a_notebook_that_failed_is_replaced_by_the_next(tmp_path: Path) -> None:
    source = notebook(tmp_path / "n.ipynb", "from retinal_lib import UserError\nif number > 1: raise UserError('no')")
    for number, code in ((2, 1), (1, 0)):
        assert run(source, "-p", "out_dir", tmp_path / "run", "-p", "number", number).returncode == code
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["small.ipynb"]


def test_the_last_lines_tell_the_result_and_what_to_open(tmp_path: Path) -> None:
    source = notebook(tmp_path / "n.ipynb", "open(out_dir + '/card.md', 'w').write('x')\nprint('12 images:', '11 accepted')")
    executed = nbformat.read(source, 4)
    executed.cells[1].metadata["tags"] = ["result"]
    executed.metadata["retinal_lib"]["open"] = "card.md"
    executed.cells.append(new_markdown_cell("## Next\n`retinal review ODIR`, `retinal card artifacts/ODIR-instruction`, ODIR"))
    nbformat.write(executed, source)
    folder = tmp_path / "run"
    done = run(source, "-p", "out_dir", folder, "-p", "dataset", "my eyes.csv")
    said = nbformat.read(folder / "small.ipynb", 4).cells[-1].source
    assert said == f"## Next\n`retinal review 'my eyes.csv'`, `retinal card {for_people(str(folder))}`, ODIR"
    assert done.stderr.splitlines()[-2:] == [
        "12 images: 11 accepted",
        f"To look at it, open {folder / 'small.ipynb'} and {folder / 'card.md'}",
    ]
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("here", "opens"),
    [("here", "here/run/small.ipynb"), ("project/notebooks", "{root}/project/artifacts/small/small.ipynb")],
)
def test_the_last_line_names_a_path_that_opens_from_the_current_folder(tmp_path: Path, here: str, opens: str) -> None:
    source = notebook(tmp_path / "n.ipynb", "print('done')")
    folder = tmp_path / ("here/run" if here == "here" else "project/artifacts/small")
    cwd = tmp_path if here == "here" else tmp_path / here
    cwd.mkdir(parents=True, exist_ok=True)
    done = run(source, "-p", "out_dir", folder, cwd=cwd, env=os.environ | {"RETINAL_LIB_ROOT": str(tmp_path / "project")})
    assert done.stderr.splitlines()[-1] == f"To look at it, open {opens.format(root=tmp_path)}"
    assert (cwd / opens.format(root=tmp_path)).is_file()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("open('/proc/none/x', 'w')", "Error: /proc/none/x cannot be used (No such file or directory)"),
        (
            "raise ModuleNotFoundError(\"No module named 'retinal_lib'\")",
            "Error: the notebook's kernel belongs to another environment, which has no retinal_lib; pass -k with one of: ",
        ),
    ],
)
def test_what_lies_outside_the_code_is_a_sentence(body: str, sentence: str, tmp_path: Path) -> None:
    done = run(notebook(tmp_path / "n.ipynb", body), "-p", "out_dir", tmp_path / "run")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(sentence)


@pytest.mark.parametrize(
    ("argv", "code", "sentence"),
    [
        (None, 2, "Error: there is no kernel 'other' in this environment "),
        (["/bin/false"], 1, "Error: the kernel did not start ("),
        (["/none/python"], 2, "Error: the kernel 'other' starts /none/python, which does not exist; "),
    ],
)
def test_a_kernel_of_another_environment_is_a_sentence(
    argv: list[str] | None, code: int, sentence: str, small: Path, tmp_path: Path
) -> None:
    if argv:
        folder = tmp_path / "jupyter" / "kernels" / "other"
        folder.mkdir(parents=True)
        spec = {"argv": argv, "display_name": "Other", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    environment = os.environ | {"JUPYTER_PATH": str(tmp_path / "jupyter")}
    done = run(small, "-k", "other", "-p", "out_dir", tmp_path / "run", env=environment)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1].startswith(sentence)
    if "kernel" in sentence:
        assert "python3" in done.stderr.splitlines()[-1], "it names the kernels that there are"


def test_a_misspelt_notebook_has_its_neighbour(small: Path) -> None:
    done = run(small.with_name("smal.ipynb"))
    assert done.returncode == 2 and done.stderr.startswith("Error: unknown notebook ") and done.stderr.count("\n") == 1
    assert done.stderr.endswith(f"(did you mean '…/{small.parent.name}/{small.name}'?)\n")


def test_a_folder_that_cannot_be_written_is_a_sentence(small: Path, tmp_path: Path) -> None:
    for folder in ("/proc", tmp_path / "small.ipynb"):
        done = run(small, "-p", "out_dir", folder)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert done.stderr.startswith(for_people(f"Error: the run's folder {folder} cannot be written ("))


def test_other_errors_keep_their_stack(tmp_path: Path) -> None:
    source = notebook(tmp_path / "bad.ipynb", "1 / 0")
    done = run(source, "-p", "out_dir", tmp_path / "run")
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr and "Traceback" in done.stderr


def test_a_notebook_that_does_not_ask_is_left_to_papermill(tmp_path: Path) -> None:
    source = notebook(tmp_path / "plain.ipynb", "print(dataset)", asks=False)
    done = run(source, "-p", "unknown", "1")
    assert done.returncode == 0 and '"cells"' in done.stdout, "papermill writes it to stdout when captured"


def test_a_dataset_that_does_not_exist_stops_with_its_neighbours(small: Path) -> None:
    done = run(small, "-p", "dataset", "ODR")
    assert done.returncode == 2 and done.stderr.endswith("(did you mean 'ODIR'?)\n") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        ["n.ipynb", "-p", "a", "1", "-r", "b", "1", "--cwd", "x", "-k", "python3"],
        ["-pa", "1", "--parameters_raw", "b", "1", "n.ipynb", "--cwd=x", "--kernel=python3", "--no-progress-bar"],
        ["--log-level", "ERROR", "n.ipynb", "-y", "{a: 9, b: 9}", "-p", "a", "1", "-r", "b", "1", "--cwd", "x", "--log-output"],
        ["-b", base64.b64encode(b"a: 7").decode(), "n.ipynb", "-p", "a", "1", "-r", "b", "1", "--cwd", "x", "--"],
    ],
)
def test_command_lines_are_read_as_papermill_reads_them(line: list[str]) -> None:
    found = line_of(line)
    assert (found["notebook_path"], found["output_path"], found["cwd"]) == ("n.ipynb", "", "x")
    assert plugin.passed(found) == {"a": 1, "b": "1"}


def test_parameter_files_count_less_than_single_parameters(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("a: from file\nc: 2020-01-01\n", encoding="utf-8")
    found = line_of(["-p", "b", "2", "n.ipynb", "-y", "b: 1", "-f", str(file)])
    assert plugin.passed(found) == {"a": "from file", "b": 2, "c": "2020-01-01"}
    with pytest.raises(UserError, match=r"none.yaml' cannot be read"):
        plugin.passed(line_of(["n.ipynb", "-f", str(tmp_path / "none.yaml")]))


@pytest.mark.parametrize(
    "line", [[], ["--version"], ["n.ipynb", "--help"], ["n.ipynb", "--no-such-option"], ["none.ipynb"], ["n.ipynb", "-p", "a"]]
)
def test_what_papermill_answers_itself_is_left_alone(line: list[str]) -> None:
    try:
        assert completed(line) == ""
    except (click.ClickException, click.exceptions.Exit):  # before the plug-in is asked
        return


def test_braces_in_a_folder_are_no_placeholders(small: Path, tmp_path: Path) -> None:
    output = completed([str(small), "-p", "out_dir", str(tmp_path / "{run}")])
    assert output.format() == str(tmp_path / "{run}" / "small.ipynb")


def test_a_notebook_is_never_replaced_by_its_own_execution(small: Path, tmp_path: Path) -> None:
    before, shown = digest(small), f"…/{small.parent.name}/{small.name}"
    done = run(small, "-p", "out_dir", tmp_path, input=small.read_text())
    assert done.returncode == 2 and done.stderr.startswith(f"Error: {shown} would be replaced") and done.stderr.count("\n") == 1
    assert digest(small) == before
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(UserError, match="would be replaced"):
        completed([str(tmp_path / "link" / "small.ipynb"), "-p", "out_dir", str(tmp_path)])


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["-y", "{1: 2}"], "unknown parameter 1; known: dataset"),
        (["-y", "[1]"], r"parameters '\[1\]' cannot be read"),
        (["--cwd", "none"], r"none \(No such file"),
    ],
)
def test_what_cannot_be_a_run_is_a_sentence(line: list[str], sentence: str, small: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        completed([str(small), *line])


@pytest.mark.parametrize(
    "metadata",
    [{}, {"retinal_lib": True}, {"retinal_lib": {"output": 5}}, {"retinal_lib": {"output": "../up.ipynb"}}],
)
def test_metadata_that_asks_for_nothing_sensible_is_left_to_papermill(metadata: object, tmp_path: Path) -> None:
    (tmp_path / "odd.ipynb").write_text(json.dumps({"metadata": metadata, "cells": [], "nbformat": 4}), encoding="utf-8")
    assert completed([str(tmp_path / "odd.ipynb")]) == ""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cells": 3}, "is no notebook; save it again"),
        ({"cells": [3]}, "is no notebook; save it again"),
        ({"metadata": []}, "is no notebook; save it again"),
        ({"nbformat": "x"}, "is no notebook; save it again"),
        ({"cells": [{"cell_type": "code", "source": [1]}]}, "is no notebook (cells > 0"),
        ({"cells": [{"cell_type": "markdown", "id": "a", "source": "", "metadata": {"tags": 3}}]}, "> tags: 3 is not of type"),
        ({"metadata": META | {"retinal_lib": {"output": "a.ipynb"}, "kernelspec": {"name": [1]}}}, "(metadata > kernelspec"),
        ('{"cells": [', "line 1: not JSON"),
        ("[" * 100_000, "nested more than"),
        ("", "line 1: not JSON"),
    ],
)
def test_what_is_no_notebook_is_a_sentence(change: dict | str, sentence: str, small: Path) -> None:
    whole = json.loads(small.read_text(encoding="utf-8"))
    small.write_text(change if isinstance(change, str) else json.dumps(whole | change), encoding="utf-8")
    with pytest.raises(UserError) as error:
        completed([str(small)])
    assert sentence in str(error.value)
    with pytest.raises(plugin.NotebookRefused):
        command.main([str(small)], standalone_mode=False)


def test_a_parameters_cell_may_hold_more_than_plain_values() -> None:
    def own(source: str) -> dict:
        return plugin.own_parameters({"cells": [{"metadata": {"tags": ["parameters"]}, "source": source}]})

    lines = [
        "a: int = -1  # x = y",
        "b = 'p?q=1'; c: str",
        "d, e = 1, 2",
        "f = {[1]: 2}",
        "g = len('x')",
        "for i in a: pass",
        "h.x = 1",
    ]
    assert own("\n".join(lines)) == {"a": -1, "b": "p?q=1"} | dict.fromkeys("cdefg")
    assert plugin.own_parameters({"cells": []}) == {}
    with pytest.raises(UserError, match="not plain Python: line 2, invalid syntax"):
        own("a = 1\n%matplotlib inline")


@pytest.mark.parametrize("name", ["papermill", "other"])
def test_only_papermill_s_own_command_is_completed(name: str, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "prepare", lambda *_: pytest.fail("another command than papermill's was completed"))

    @click.command(name)
    @click.argument("notebook_path")
    def other(notebook_path: str) -> str:
        return notebook_path

    assert other.main([str(small)], standalone_mode=False) == str(small)
    assert papermill.engines.papermill_engines.get_engine(None) is plugin.Engine
