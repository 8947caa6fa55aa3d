"""No name that identifies a participant and no absolute path in anything that people read or pass on: every notebook's work is
done over datasets with faults of every kind, and all that it made is searched."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_server import FakeServer, completion
from PIL import Image

from retinal_lib import Job, write_card
from retinal_lib.__main__ import main
from retinal_lib.dataset import page
from retinal_lib.errors import UserError
from retinal_lib.evaluate.evaluation import Evaluation
from retinal_lib.explore.boxes_job import BoxJob
from retinal_lib.explore.explore import Explore
from retinal_lib.inference.infer import Infer
from retinal_lib.review.review import Review
from retinal_lib.text.shown_text import PATTERNS, for_people

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
PAPERMILL = Path(sys.executable).with_name("papermill")
# files that are the data themselves: they must name the image
DATA = "conversations.json conversations.jsonl lineage.jsonl failures.jsonl splits.csv vault.sqlite answers.jsonl boxes.json "
DATA += "questions.jsonl marks.jsonl places.json reviews.jsonl unknown.jsonl"
WITH_PATHS = {"questions.jsonl", "marks.jsonl", "answers.jsonl", "places.json", "vault.sqlite"}
PERSON = re.compile(r"90000\d\d|(?i:MRN\d{3,}|Jane.Doe)")
PAGE = """
name: ward
title: Eyes of a ward
may_send: 'no'
terms: the ethics board has not agreed
private_names: true
image: '^(?P<patient>.+)_(?P<eye>OD|OS)$'
eyes: {OD: right, OS: left}
splits: {all: {images: [photos], tables: [labels.csv], masks: [masks]}}
key: image
masks: {name: '^(?P<image>.+)-(?P<type>MA|HE)$', types: {MA: [microaneurysm, microaneurysms], HE: [haemorrhage, haemorrhages]}}
facts:
  - grade: {column: dr, scale: ICDR}
  - boxes
  - columns: {aspects: {remarks: notes}}
"""


@pytest.fixture(scope="module")
def biobank(drawn: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the drawn UK Biobank as somebody's own data, in a folder with a blank in its name, with faults."""
    root = tmp_path_factory.mktemp("private") / "study of Ann" / "UKB"
    shutil.copytree(drawn["UK"], root, ignore=shutil.ignore_patterns(".sample"))
    first, *others = sorted(root.glob("*.png"))
    Image.open(first).convert("RGB").save(first.with_suffix(".jpg"))  # one eye in two files
    others[8].write_bytes(others[8].read_bytes()[:4000])  # damaged
    others[9].write_bytes(b"not a picture at all")
    shutil.copy(others[2], root / "9000031_21015_0_0.png")  # without a row of AutoMorph
    shutil.copy(others[2], root / "9000032_21015_0_0 (1).png")  # odd names
    shutil.copy(others[2], root / "copy of 9000033.png")
    shutil.copy(others[2], os.fsencode(root) + b"/9000034_21015_0_0\xff.png")
    (root / "9000035_21015_0_0.png").touch()
    (root / "9000036_21016_0_0.png").symlink_to(root / "9000037_21016_0_0.png")
    (root / "9000038_21016_0_0.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    quality, measured = root / "Results/M1/results_ensemble.csv", root / "Results/M3/Macular_Features.csv"
    lines = quality.read_text().splitlines()
    lines += [lines[4].rsplit(",", 1)[0] + ",2", lines[5].replace("9000003", "9000039"), lines[6].rsplit(",", 1)[0] + ",7"]
    quality.write_text("\n".join(lines) + "\n")
    lines = measured.read_text().splitlines()
    lines += [re.sub(r",(\d)\.", r",1\1.", lines[4]), lines[5].replace("9000003", "9000039")]
    measured.write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def ward(drawn: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of one's own with private names, with a label table, masks, and faults."""
    root = tmp_path_factory.mktemp("private") / "ward of Bob"
    (root / "photos").mkdir(parents=True)
    (root / "masks").mkdir()
    eyes = sorted(drawn["UK"].glob("*.png"))
    names = [f"MRN{number:05}_{eye}" for number in (412, 413, 414, 415) for eye in ("OD", "OS")] + ["Jane Doe_OD"]
    for name, file in zip(names, eyes, strict=False):
        shutil.copy(file, root / "photos" / f"{name}.png")
        mask = Image.new("L", Image.open(file).size)
        mask.paste(255, (100, 100, 120, 120))
        mask.save(root / "masks" / f"{name}-MA.png")
    (root / "masks" / "MRN00412_OS-MA.png").write_bytes(b"no mask")
    Image.new("L", (9, 9), 255).save(root / "masks" / "MRN00413_OD-HE.png")  # of another shape
    shutil.copy(root / "photos" / "MRN00412_OD.png", root / "photos" / "MRN00499_OD.png")  # the same, labelled otherwise
    shutil.copy(root / "photos" / "MRN00412_OD.png", root / "photos" / "scan MRN00498.png")
    rows = [f"{name}.png,{i % 3},seen on Monday" for i, name in enumerate(names)]
    rows += ["MRN00413_OS.png,4,", "MRN00414_OD.png,17,", "MRN00777_OD.png,1,", "MRN00499_OD.png,3,", ",1,"]
    (root / "labels.csv").write_text("image,dr,remarks\n" + "\n".join(rows) + "\n")
    (root / "page.yaml").write_text(PAGE)
    return root


def texts_of(folder: Path) -> Iterator[tuple[Path, str]]:
    """Each file below a folder with its text: of pictures what they hold besides pixels."""
    for file in sorted(folder.rglob("*")):
        if not file.is_file():
            continue
        if file.suffix in (".png", ".jpg"):
            yield file, json.dumps({k: str(v) for k, v in Image.open(file).info.items()})
        else:
            yield file, _without_pixels(file.read_bytes().decode("utf-8", "replace"))


def _without_pixels(text: str) -> str:
    return re.sub(r"base64,[\w+/=]*|\"image/\w+\": \"[^\"]*\"", "", text)


def check_folder(folder: Path, *roots: Path) -> None:
    """Nothing that was made names a participant or tells where data lie."""
    found = []
    for file, text in texts_of(folder):
        named = file.name not in DATA.split() and "exports" not in file.parts
        found += [(file.name, text[max(0, m.start() - 80) : m.end() + 30]) for m in PERSON.finditer(text) if named]
        if file.name not in WITH_PATHS:
            found += [(file.name, str(root), text[text.index(str(root)) - 80 :][:200]) for root in roots if str(root) in text]
    assert not found


def check_text(text: str, *roots: Path) -> None:
    """The same for what is shown or sent, apart from pixels."""
    text = _without_pixels(text)
    assert not PERSON.search(text), text[max(0, PERSON.search(text).start() - 100) :][:300]
    assert not [root for root in roots if str(root) in text], text


def shown(*things: object) -> str:
    """What a notebook shows of things: tables as text and as HTML, figures' texts."""
    parts = []
    for thing in things:
        parts.append(str(thing))
        if hasattr(thing, "_repr_html_"):
            parts.append(thing._repr_html_() or "")
        if hasattr(thing, "findobj"):
            parts += [t.get_text() for t in thing.findobj(lambda artist: hasattr(artist, "set_text"))]
    return "\n".join(parts)


def refused(call: object, *arguments: object, **named: object) -> str:
    """The message with which something fails."""
    with pytest.raises(UserError) as error:
        call(*arguments, **named)
    return str(error.value)


@pytest.fixture
def data(request: pytest.FixtureRequest) -> dict[str, str]:
    """The parameters that name a dataset with faults."""
    root = request.getfixturevalue(request.param)
    return {"dataset": "UK", "data_root": str(root)} if request.param == "biobank" else {"dataset": str(root / "page.yaml")}


def root_of(data: dict[str, str]) -> Path:
    """The folder of the data."""
    return Path(data.get("data_root") or Path(data["dataset"]).parent)


both = pytest.mark.parametrize("data", ["biobank", "ward"], indirect=True)


@both
def test_generate_review_and_export(data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out, root = tmp_path / "run", root_of(data)
    job = Job.load(**data, out_dir=str(out), max_failed=1)
    told = shown(job.table, job.show(job.first(2)), job.prompt(job.first(1)[0]))
    outcome = job.run()
    write_card(out)
    told += shown(outcome.summary, outcome.table, outcome.show(3), outcome.files, outcome.example)
    assert outcome.counts["accepted"] >= 3 and outcome.counts["skipped"] >= 3
    review = Review.load(**data, out_dir=str(out), reviewer="Ada")
    told += shown(review.table, review.show("sheet"), review.states, review.rates, review.files)
    told += shown(*(sample.title for sample in review.chosen))
    with_pictures = ["export", str(out), "--form", "llava", "--pictures", "copy"]
    exported = main(["export", str(out), "--form", "sharegpt"]) + main(with_pictures)
    (empty := tmp_path / "empty").mkdir()
    told += for_people(refused(main, [*with_pictures, "--images", str(empty)]))
    told += for_people("\n".join([exported, main(["survey", str(out)])]))
    told += refused(job.data.image, "MRN00412_XX") + refused(Job.load, **data, subset=_listed(tmp_path, job), out_dir=str(out))
    check_text(told, root, tmp_path)
    check_folder(out, root, tmp_path)
    again = Job.load(**data, out_dir=str(out), max_failed=1).run()
    assert again.counts == outcome.counts, "the run knows its own data again"
    closed = Job.load(**data, track="vqa", out_dir=str(tmp_path / "closed"), max_failed=1)
    told = shown(closed.table, closed.prompt(closed.first(1)[0]))
    outcome = closed.run()
    assert outcome.counts["accepted"] >= 2
    write_card(tmp_path / "closed")
    check_text(told + shown(outcome.summary, outcome.table, outcome.blind.table), root, tmp_path)
    check_folder(tmp_path / "closed", root, tmp_path)


def _listed(folder: Path, job: Job) -> str:
    """A list of images in which one is not there."""
    file = folder / "list.txt"
    file.write_text("\n".join([job.images[0], "9000099_21015_0_0.png"]))
    return str(file)


@both
def test_explore_and_boxes(data: dict[str, str], tmp_path: Path) -> None:
    root = root_of(data)
    explored = Explore.load(**data, out_dir=str(tmp_path / "explore"))
    told = shown(explored.table, explored.counts, explored.labels, explored.problems, explored.outliers, explored.examples)
    told += shown(explored.example_chart, explored.lesion_chart, explored.save(), explored.lesions.table)
    job = BoxJob.load(**data, out_dir=str(tmp_path / "boxes"))
    made = job.run(workers=1)
    look = job.look(made)
    told += shown(job.table, made.summary, made.table, made.failed, look.sheet, look.table, look.panels, look.save())
    check_text(told, root, tmp_path)
    check_folder(tmp_path, root, tmp_path)


@both
def test_infer_and_evaluate(data: dict[str, str], server: FakeServer, tmp_path: Path) -> None:
    root = root_of(data)
    server.script = lambda number, body: completion("I see nothing.")
    job = Evaluation.load(**data, out_dir=str(tmp_path / "evaluate"))
    told = shown(job.table, job.save())
    asked = json.loads((tmp_path / "evaluate/questions.jsonl").read_text(encoding="utf-8").splitlines()[0])
    broken = tmp_path / "evaluate/broken.jsonl"
    rows = [asked, asked | {"id": f"{asked['id']}-2", "image": asked["image"].replace("_", "__")}]
    (tmp_path / "evaluate/questions.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    infer = Infer.load(
        model_name="openai:m",
        question_file=str(tmp_path / "evaluate/questions.jsonl"),
        out_dir=str(tmp_path / "infer"),
        max_failed=1,
    )
    done = infer.answer()
    told += shown(infer.table, infer.ask().shown, done.summary, done.table, done.notes)
    scored = Evaluation.load(
        question_file=str(tmp_path / "evaluate/questions.jsonl"), answers_files=str(done.file), out_dir=str(tmp_path / "scores")
    )
    told += shown(
        scored.table, scored.examples, scored.tables.unread, scored.tables.unread.head(3), scored.gallery(), scored.save()
    )
    broken.write_text(f"{json.dumps(asked)}\n{json.dumps(asked)}\n", encoding="utf-8")
    told += refused(Infer.load, model_name="openai:m", question_file=str(broken), out_dir=str(tmp_path / "infer2"))
    broken.unlink()
    check_text(told, root, tmp_path)
    check_folder(tmp_path, root, tmp_path)
    assert not PERSON.search(json.dumps(server.asked)) and str(root) not in json.dumps(server.asked)


def test_infer_over_a_folder(biobank: Path, server: FakeServer, tmp_path: Path) -> None:
    (images := tmp_path / "9 pictures").mkdir()
    for name in ("9000001_21016_0_0.png", "9000005_21016_0_0.png", "9000006_21015_1_0.png", "9000035_21015_0_0.png"):
        shutil.copy(biobank / name, images / name)
    job = Infer.load(model_name="openai:m", image_folder=str(images), out_dir=str(tmp_path / "infer"), max_failed=0.1)
    done = job.answer()
    assert len(done.failed) >= 2
    told = shown(job.table, job.ask().shown, done.summary, done.table) + refused(done.require)
    told += refused(Infer.load, model_name="openai:m", image_file=str(images / "9000099_21015_0_0.png"))
    check_text(told, tmp_path)
    check_folder(tmp_path / "infer", tmp_path)


def test_packed_requests_and_a_servers_answers(biobank: Path, server: FakeServer, tmp_path: Path) -> None:
    parameters = {"dataset": "UK", "data_root": str(biobank), "teacher": "openai", "model": "m", "images": "send", "limit": 6}
    Job.load(**parameters, out_dir=str(tmp_path / "direct")).run()
    Job.load(**parameters, mode="pack", terms_accepted=True, out_dir=str(tmp_path / "pack")).run()
    assert server.asked and list((tmp_path / "pack/requests").iterdir())
    check_text(json.dumps(server.asked), biobank, tmp_path)
    check_folder(tmp_path, biobank, tmp_path)


@pytest.mark.parametrize("notebook", ["generate", "infer"])
def test_the_commands_themselves(notebook: str, biobank: Path, server: FakeServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ["-p", "out_dir", str(out), "-p", "limit", "8", "-p", "max_failed", "1"]
    if notebook == "generate":
        line += ["-p", "dataset", "UK", "-p", "data_root", str(biobank)]
    else:
        line += ["-p", "model_name", "openai:m", "-p", "image_folder", str(biobank)]
        line += ["-p", "image_file", str(biobank / "9000002_21016_0_0.png")]
    command = [str(PAPERMILL), str(NOTEBOOKS / f"{notebook}.ipynb"), *line]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not PERSON.search(done.stdout + done.stderr) and str(biobank) not in done.stdout + done.stderr
    check_folder(out, biobank, tmp_path)
    lost = biobank / "9000099_21015_0_0.png"
    wrong = ["-p", "subset", f"image in ['{lost.name}']"] if notebook == "generate" else ["-p", "image_file", str(lost)]
    done = subprocess.run([*command, *wrong], capture_output=True, text=True)
    assert done.returncode == 1 and "Error: " in done.stderr, done.stderr
    assert not PERSON.search(done.stdout + done.stderr) and str(biobank) not in done.stdout + done.stderr
    check_folder(out, biobank, tmp_path)


def test_pages_with_names_that_are_certain_are_known_everywhere() -> None:
    private = [page.get(name) for name in page.names() if page.get(name).private_names]
    for each in private:
        samples = {"UK": "1234567_21015_2_1"}[each.name]
        assert re.search(each.image, samples) and any(re.fullmatch(pattern, samples) for pattern in PATTERNS)
        assert for_people(f"{samples}.png: {each.sample_id('all', samples)}") == f"an image: {each.name}-an image"


def test_rows_without_a_picture_name_nobody(drawn: dict[str, Path], tmp_path: Path) -> None:
    """Patients who stand in the table alone, found by their code and date: no code, no date and no name is told."""
    (tmp_path / "photos").mkdir()
    for eye in ("OD", "OS"):
        shutil.copy(next(drawn["UK"].glob("*.png")), tmp_path / "photos" / f"MRN00412_{eye}_2023-09-21.png")
    rows = ["MRN00412,21-09-2023,1,MRN00412", "MRN00777,14-05-2023,2,MRN00777", "Jane Doe,14-05-2023,2,Jane Doe", ",,1,"]
    (tmp_path / "labels.csv").write_text("id,seen,dr,who\n" + "\n".join(rows) + "\n")
    image = r"'^(?P<patient>.+)_(?P<eye>OD|OS)_(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)$'"
    own = PAGE.replace("'^(?P<patient>.+)_(?P<eye>OD|OS)$'", image).replace(", masks: [masks]", "").replace("  - boxes\n", "")
    own = re.sub("masks: {name.*\n", "", own).replace("key: image", "key: {id: '{patient}', seen: '{day}-{month}-{year}'}")
    (tmp_path / "page.yaml").write_text(own.replace("  - columns: {aspects: {remarks: notes}}\n", ""))
    job = Job.load(dataset=str(tmp_path / "page.yaml"), data_root=str(tmp_path), out_dir=tmp_path / "run", max_failed=1)
    assert job.data.rows_without_image == ["labels.csv, row 3", "labels.csv, row 4", "labels.csv, row 5"]
    job.run()
    check_folder(tmp_path / "run", tmp_path)
    looked = Explore.load(dataset=str(tmp_path / "page.yaml"), data_root=str(tmp_path), out_dir=tmp_path / "explored")
    check_text(shown(looked.problems, *job.data.notes, looked.notes), tmp_path)
    assert for_people("MRN00777 and Jane Doe") == "a participant and a participant"


def test_text_for_people(tmp_path: Path) -> None:
    (blank := tmp_path / "my eyes").mkdir()
    table = blank / "labels.csv"
    table.touch()
    for text, right in (
        (f"{table}, row 3: wrong", "…/my eyes/labels.csv, row 3: wrong"),
        (f"write '{blank / 'new.csv'}'", "write '…/my eyes/new.csv'"),
        (f"two: {table} and {table}.", "two: …/my eyes/labels.csv and …/my eyes/labels.csv."),
        ("http://localhost:8000/v1/files and and/or 1/2 /v1/files", "http://localhost:8000/v1/files and and/or 1/2 /v1/files"),
        ("<td>a</td></tr>", "<td>a</td></tr>"),
    ):
        assert for_people(text) == right == for_people(right)


def test_long_texts_cost_little() -> None:
    """Each is read in one pass; a pattern that goes back and forth, or the disk asked for each word, would take minutes."""
    for piece in (" /usr/a", " /a/b", "/", "a/", "1", "_", "1234567_21015_0_0", "1234567_", "/ ", "C:\\a\\", "\n/x/y"):
        assert len(for_people(piece * (200_000 // len(piece)))) > 10_000
