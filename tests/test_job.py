"""A job from its parameters to its files, offline: every dataset and track, settings kept in files, choices, own data."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_server import FakeServer
from PIL import Image

from retinal_lib import Job, UserError, paths, validate, write_card
from retinal_lib.dataset import page
from retinal_lib.export.trainers import export
from retinal_lib.run.outcome import Reason
from retinal_lib.run.settings import params_file


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def params() -> Iterator[Callable[[str, str], Path]]:
    """Writes params/<dataset>.yaml in the tests' project folder for the length of a test."""
    written: list[Path] = []

    def write(dataset: str, text: str) -> Path:
        file = params_file(dataset)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        written.append(file)
        return file

    yield write
    for file in written:
        file.unlink(missing_ok=True)


@pytest.mark.parametrize(("track", "style"), [("instruction", None), ("alignment", "caption"), ("alignment", "consult")])
@pytest.mark.parametrize("dataset", page.names())
def test_every_dataset_runs_offline_without_a_finding(
    dataset: str, track: str, style: str | None, drawn: dict, tmp_path: Path
) -> None:
    job = Job.load(dataset=dataset, track=track, style=style, data_root=str(drawn[dataset]), out_dir=str(tmp_path))
    outcome = job.run()
    outcome.require()
    assert outcome.counts["accepted"] == len(job.data.images) and not outcome.checks.before
    assert validate(tmp_path / "conversations.jsonl") == []
    for entry in lines(tmp_path / "conversations.jsonl"):
        assert entry["image"].startswith(f"{dataset}/") and (len(entry["conversations"]) == 2) == (track == "alignment")
    for entry in lines(tmp_path / "lineage.jsonl"):
        files = {source["file"] for source in entry["sources"] if source["row"]}
        assert all((job.data.root / name).is_file() for name in files)


def test_the_same_seed_gives_the_same_files_and_another_seed_others(drawn: dict, tmp_path: Path) -> None:
    def run(folder: str, seed: int) -> str:
        Job.load(dataset="RFMiD", data_root=str(drawn["RFMiD"]), seed=seed, out_dir=str(tmp_path / folder)).run()
        return (tmp_path / folder / "conversations.jsonl").read_text(encoding="utf-8")

    assert run("a", 0) == run("b", 0) != run("c", 1)


def test_what_is_passed_counts_more_than_what_is_kept(params: Callable) -> None:
    params("ODIR", "track: alignment\nstyle: consult\nlimit: 3\nimage_prefix: my/ODIR/\nout_dir: runs/odir\n")
    kept = Job.load(dataset="odir")
    assert (kept.settings.track, kept.settings.style, len(kept.images), kept.context.prefix) == (
        "alignment",
        "consult",
        3,
        "my/ODIR/",
    )
    assert kept.folder == paths.root() / "runs" / "odir"
    assert Job.load(dataset="ODIR", track="instruction", limit=2).settings.style is None
    assert len(Job.load(dataset="ODIR", limit=2).images) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("concurency: 4", r"params/ODIR.yaml: unknown setting 'concurency'.*did you mean 'concurrency'"),
        ("limit: many", r"params/ODIR.yaml: limit: found 'many'"),
        ("- a list", "expected settings such as"),
        ("a: b: c", "not readable as YAML"),
        ("api_key: sk-0", "unknown setting 'api_key'"),
        ("tables: {trian: x.xlsx}", "unknown split of ODIR in tables 'trian'"),
    ],
)
def test_a_wrong_settings_file_is_named(text: str, sentence: str, params: Callable) -> None:
    params("ODIR", text)
    with pytest.raises(UserError, match=sentence):
        Job.load(dataset="ODIR")


def test_a_text_of_one_s_own_is_told_and_named_as_such(params: Callable, tmp_path: Path) -> None:
    params("ODIR", "hidden_text: The pupils were not dilated.")
    Job.load(dataset="ODIR", limit=2, out_dir=str(tmp_path)).run()
    for entry in lines(tmp_path / "conversations.jsonl"):
        assert any("The pupils were not dilated" in turn["value"] for turn in entry["conversations"])
    sources = lines(tmp_path / "lineage.jsonl")[0]["sources"]
    assert {"file": "params/ODIR.yaml", "row": None, "columns": ["hidden_text"]} in sources


def test_another_label_table_can_be_named(params: Callable, drawn: dict, tmp_path: Path) -> None:
    root = tmp_path / "APTOS"
    (root / "train_images").mkdir(parents=True)
    for name in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
        Image.new("RGB", (8, 8)).save(root / "train_images" / f"{name}.png")
    (root / "mine.csv").write_text("id_code,diagnosis\naaaaaaaaaaaa,2\n", encoding="utf-8")
    params("APTOS", "tables: {train: mine.csv}")
    job = Job.load(dataset="APTOS", data_root=str(root), out_dir=str(tmp_path / "run"))
    assert job.data.images == ["aaaaaaaaaaaa.png"] and "no row for it in mine.csv" in job.data.skipped["bbbbbbbbbbbb.png"]
    outcome = job.run()
    assert outcome.counts == {"images": 2, "accepted": 1, "rejected": 0, "failed": 0, "skipped": 1}


def test_a_plain_table_is_enough(tmp_path: Path) -> None:
    for name in ("a.png", "b b.jpg", "ü.tif", "c.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "my eyes.csv").write_text(
        "image,modality,quality,disease,vascular,notes\na.png,OCT scan,good,drusen,,\n"
        "b b.jpg,,,,AVR is 0.66,\nü.tif,,,glaucoma,,seen twice\nd.png,,,,,\n",
        encoding="utf-8",
    )
    job = Job.load(dataset=str(tmp_path / "my eyes.csv"), out_dir=str(tmp_path / "run"))
    outcome = job.run()
    assert outcome.counts == {"images": 4, "accepted": 3, "rejected": 0, "failed": 0, "skipped": 1}
    assert len(job.data.rows_without_image) == 1
    texts = {e["id"]: " ".join(t["value"] for t in e["conversations"]) for e in lines(tmp_path / "run" / "conversations.jsonl")}
    assert "an OCT scan" in texts["my_eyes-a"] and "drusen" in texts["my_eyes-a"].casefold()
    assert "AVR is 0.66" in texts["my_eyes-b b"] and "seen twice" in texts["my_eyes-ü"].casefold()


def test_a_page_of_one_s_own_is_read_beside_its_images(tmp_path: Path) -> None:
    for name in ("P1_OD", "P1_OS", "P2_os"):
        Image.new("RGB", (8, len(name) + ord(name[1]) % 7 + ord(name[3]) % 5)).save(tmp_path / f"{name}.png")
    page_text = """
name: clinic
title: Our clinic
modality: colour fundus photograph
image: '^(?P<patient>P\\d+)_(?P<eye>OD|OS)$'
eyes: {OD: right, OS: left}
splits: {all: {images: ['*'], tables: [labels.csv]}}
key: image
facts: [{grade: {column: dr, scale: ICDR}}, {columns: {aspects: {remarks: notes}}}]
"""
    (tmp_path / "clinic.yaml").write_text(page_text, encoding="utf-8")
    (tmp_path / "labels.csv").write_text("image,dr,remarks\nP1_OD,2,\nP1_OS,,\nP2_OS,0,seen twice\n", encoding="utf-8")
    job = Job.load(dataset=str(tmp_path / "clinic.yaml"), out_dir=str(tmp_path / "run"))
    eyes = {case.image: (case.patient, case.eye) for case in job.first(9)}
    assert eyes == {"P1_OD.png": ("P1", "right"), "P1_OS.png": ("P1", "left"), "P2_os.png": ("P2", "left")}
    assert [case.about("disease") != () for case in job.first(9)] == [True, False, True], "no grade is guessed"
    assert job.run().counts["accepted"] == 3


def test_a_run_of_which_nothing_can_be_used_is_an_error(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "own.csv").write_text("image,disease\na.png,drusen\na.png,DR\n", encoding="utf-8")
    outcome = Job.load(dataset=str(tmp_path / "own.csv"), out_dir=str(tmp_path / "run")).run()
    with pytest.raises(
        UserError,
        match=r"\(1 skipped: its rows disagree: own.csv, row 2 and own.csv, row 3; disease: 'drusen' and 'DR'",
    ):
        outcome.require()


def test_a_reason_says_whose_numbers_it_gives() -> None:
    of = Reason("failed", "its 12,345 tokens are more than the limit of 9,000", 7, "a.png")
    assert of.text.startswith("7 failed, the first: its 12,345 tokens") and of._replace(images=1).text.startswith(
        "1 failed: its"
    )
    assert Reason("failed", "no picture", 7, "a.png").text == "7 failed: no picture"


def test_the_end_of_a_run_says_what_of_a_table_or_page_was_not_used(tmp_path: Path) -> None:
    names = ["a_OD.png", "b_OD.png", "c_OS.png"]
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8), (number, 90, 90)).save(tmp_path / name)
    rows = ["OX,x1,7,drusen,A", "OD,58,7,DR,B", "OS,y2,9,DR; no DR,C", "OD,60,1,DR,D"]
    lines = ["image,eye,age,level,disease,mark", *map(",".join, zip([*names, "lost_OD.png"], rows, strict=True))]
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    said = Job.load(dataset=str(tmp_path / "own.csv"), out_dir=str(tmp_path / "run")).run().summary
    for sentence in (
        "own.csv: not read: 'level', nothing says what its cells mean: 7 (2), 9 (1), 1 (1); 'mark'",
        "no image for 1 row of the label tables, the first own.csv, row 5: lost_OD.png",
        "it is taken as the right eye all the same: own.csv, row 2, column 'eye' holds 'OX'",
        "the age is not known: own.csv, row 2, column 'age' holds 'x1', which is no usable age",
    ):
        assert sentence in said, said
    assert "1 skipped: its cells contradict each other" in said and "listed in …/run/failures.jsonl" in said
    card = write_card(tmp_path / "run").read_text(encoding="utf-8")
    exported = export([tmp_path / "run"], "llava")
    assert "run: the names and ids of 3 of 3 pictures hold the patient's code; to have numbers" in " ".join(exported.notes)
    with pytest.raises(UserError, match="--numbers gives the pictures other names, and so needs --pictures copy"):
        export([tmp_path / "run"], "llava", numbers=True)
    for _ in range(2):  # the second finds its own files
        exported = export([tmp_path / "run"], "chat", tmp_path / "out", pictures="copy", numbers=True)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {f"{number}.png" for number in (1, 2)} == {path.name for path in files if path.suffix == ".png"}
    texts = "".join(f"{path.name}{path.read_text(encoding='utf-8')}" for path in files if path.suffix != ".png")
    assert '"run-1' in texts and not any(name.removesuffix(".png") in texts for name in names)
    (tmp_path / "out" / "own").mkdir()
    (tmp_path / "out" / "own" / names[0]).write_bytes(b"")
    with pytest.raises(UserError, match="holds pictures under their names; name another folder with --out"):
        export([tmp_path / "run"], "llava", tmp_path / "out", pictures="copy", numbers=True)
    title = "Not used of the table or page, or told as written (what other cells hold is not shown here):"
    assert f"\n{title}\n\n- own.csv: columns that" in card
    assert "that are not read: 'level', 'mark'\n" in card and "label tables, the first own.csv, row 5\n" in card
    assert "- the age is not known: own.csv, row 2, column 'age' holds …, which is no usable age" in card
    assert not any(cell in card for cell in ("OX", "x1", "y2", "lost_OD", "7 (2)"))
    lines = ["name: own", "title: own", "splits: {all: {images: ['*'], tables: [own.csv]}}", "key: image", "facts:"]
    lines += [
        "  - columns: {aspects: {disease: disease}}",
        "# answer: level holds 7; what is it?",
        "# - label: {column: level}",
    ]
    lines += ["# - grade: {column: level, scale: ?}", "# answer: mark holds A; what is it?", "# - label: {column: mark}"]
    (tmp_path / "own.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = Job.load(dataset=str(tmp_path / "own.yaml"), out_dir=str(tmp_path / "page")).data
    asked = "own.yaml: 2 questions not answered, so that what is asked about is not used: line 7: level holds 7; what is it?;"
    assert data.not_used[0].startswith(f"{asked} line 10") and set(data.not_used) <= set(data.notes)
    lines[-3:-2] = ["  - number: {column: level, name: level, range: [0, 9]}"]
    lines[-2:] = ["# answer: mark holds A; what is it?", "  - label: {column: mark, values: {A: drusen, B: DR, C: DR, D: DR}}"]
    (tmp_path / "own.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = Job.load(dataset=str(tmp_path / "own.yaml"), out_dir=str(tmp_path / "page")).data
    assert "not answered" not in " ".join(data.not_used)


def test_windows_of_start_and_limit_cover_a_dataset_once() -> None:
    whole = Job.load(dataset="ODIR").images
    pieces = [Job.load(dataset="ODIR", start=start, limit=5).images for start in range(0, len(whole), 5)]
    assert sum(pieces, []) == whole


def test_the_job_is_shown_whole(tmp_path: Path) -> None:
    table = Job.load(dataset="ODIR", out_dir=str(tmp_path)).table
    assert "…" not in repr(table).replace("…/", "") and "..." not in repr(table) and "made-up eyes" in table._repr_html_()


FULL = """
import resource, signal, sys
from retinal_lib import Job, UserError
job = Job.load(dataset="ODIR", teacher="openai", model="m", concurrency=2, out_dir=sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    job.run()
except UserError as error:
    print("UserError:", error)
    sys.exit(3)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a Unix thing")
def test_a_full_disk_ends_in_a_sentence_and_loses_nothing(server: FakeServer, tmp_path: Path) -> None:
    def run(limit: int) -> subprocess.CompletedProcess:
        arguments = [sys.executable, "-c", FULL, str(tmp_path / "run"), str(limit)]
        return subprocess.run(
            arguments, capture_output=True, text=True, env=os.environ | {"OPENAI_BASE_URL": server.url}, timeout=60
        )

    done = run(64_000)
    assert done.returncode == 3 and "cannot be written" in done.stdout, done.stdout + done.stderr
    first = len(server.asked)
    assert 0 < first < 13
    assert run(resource.RLIM_INFINITY).returncode == 0
    assert len(lines(tmp_path / "run" / "conversations.jsonl")) == 13
    assert len(server.asked) <= first + 13
