"""Trainers get every accepted conversation in the form they read, each split in a file of its own.

After a change to a form, `python tests/test_trainers.py` writes tests/golden_exports anew.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from retinal_lib import Job, UserError, validate
from retinal_lib.__main__ import main
from retinal_lib.conversation import Conversation
from retinal_lib.dataset import page, splits
from retinal_lib.dataset.splits import SplitRow
from retinal_lib.export.trainers import FORMS, export
from retinal_lib.imaging.images import load_upright
from retinal_lib.text import training_text

GOLDEN = Path(__file__).parent / "golden_exports"
ODD = "ein Auge, 2: \"ü\" '=1' %20 眼"


def entry(name: str, *turns: str) -> dict:
    """A conversation of questions and answers by turns."""
    values = [f"{turns[0]}\n<image>", *turns[1:]]
    said = [{"from": "gpt" if i % 2 else "human", "value": value} for i, value in enumerate(values)]
    return {"id": f"my-{name}", "image": f"my/{name}.png", "conversations": said}


ENTRIES = [
    entry("a", "What is this?", "A fundus photograph.", "And the grade?", "Grade 2 (moderate)."),
    entry(ODD, "What is seen?\nBe exact, Dr Köhler.", 'The "retina" \\ “fundus”, ½ of it at 20 µm.\u2028Nothing more.'),
    entry("c", "How wide?", "About 120.5 µm."),
]
PLAIN = [form for form in FORMS if FORMS[form].of == "conversation"]  # of pairs: test_preferences.py
PLACES = {"my-a": "train", f"my-{ODD}": "train", "my-c": "test"}


def put(folder: Path, entries: list[dict] = ENTRIES, places: dict[str, str] | None = PLACES) -> Path:
    """A finished run, as far as an export reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(e, ensure_ascii=False) + "\n" for e in entries)
    (folder / "conversations.jsonl").write_text(text, encoding="utf-8")
    if places is not None:
        rows = [SplitRow("my", name, name, split, split, name, f"official {split}") for name, split in places.items()]
        splits.write(folder / "splits.csv", rows)
    return folder


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().decode().split("\n") if line]


@pytest.mark.parametrize("form", ["llava", "sharegpt", "chat"])
def test_each_form_looks_as_it_did(form: str, tmp_path: Path) -> None:
    written = export([put(tmp_path / "my-run")], form)
    assert {path.parent for path in written} == {tmp_path / "my-run" / "exports" / form}
    assert list(written.values()) == [2, 1]
    files = sorted((tmp_path / "my-run" / "exports" / form).iterdir())
    assert [p.name for p in files] == sorted(p.name for p in (GOLDEN / form).iterdir())
    for path in files:
        assert path.read_bytes() == (GOLDEN / form / path.name).read_bytes(), path.name


def test_llava_s_files_hold_the_run_s_own_entries(tmp_path: Path) -> None:
    train, test = export([put(tmp_path)], "llava")
    assert json.loads(train.read_bytes()) == ENTRIES[:2] and json.loads(test.read_bytes()) == ENTRIES[2:]
    assert validate(train) == validate(test) == []


@pytest.mark.parametrize("form", PLAIN)
def test_an_export_of_other_runs_and_a_file_of_one_s_own_stay(form: str, tmp_path: Path) -> None:
    out, suffix = tmp_path / "out", FORMS[form].suffix
    export([put(tmp_path / "one")], form, out=out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    other = put(tmp_path / "other", [entry("z", "What?", "An eye.")], {"my-z": "train"})
    with pytest.raises(UserError, match=rf"train{suffix} holds 2 conversations of other runs\. To keep it, .* --out .*out-2;"):
        export([other], form, out=out)
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert export([tmp_path / "one"], form, out=out), "an export of the same run is made anew"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / f"validation{suffix}").write_text('[{"mine": 1}]\n', encoding="utf-8")
    with pytest.raises(UserError):
        export([other], form, out=tmp_path / "own")
    assert [path.name for path in (tmp_path / "own").iterdir()] == [f"validation{suffix}"]


words = st.text(alphabet=st.characters(exclude_categories=["C", "M"]), min_size=1).filter(
    lambda text: text.strip() and not training_text.problems([text])
)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=4))
def test_chat_messages_lose_no_word(tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[str, str]]) -> None:
    folder = put(tmp_path_factory.mktemp("run"), [entry("a", *sum(turns, ()))])
    for form, suffix in (("chat", "jsonl"), ("sharegpt", "json")):
        export([folder], form)
        text = (folder / "exports" / form / f"train.{suffix}").read_bytes().decode()
        row = json.loads(text) if form == "chat" else json.loads(text)[0]
        assert row["images"] == ["my/a.png"]
        if form == "sharegpt":
            assert row["conversations"][0]["value"] == f"{turns[0][0]}\n<image>"
            continue
        parts = [part for message in row["messages"] for part in message["content"]]
        assert [part["type"] for part in parts] == ["image", *["text"] * (2 * len(turns))]
        assert [part["text"] for part in parts[1:]] == list(sum(turns, ()))
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"] * len(turns)


# --- by the libraries that trainers read with ------------------------------------------------------------------------


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """`datasets.load_dataset` with a cache of the test's own, or a skip where the library is not installed."""
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="the library datasets is not installed: pip install '.[trainers]'")

    def read(kind: str, files: dict[str, Path]) -> object:
        paths = {split: str(path) for split, path in files.items()}
        return datasets.load_dataset(kind, data_files=paths, cache_dir=str(tmp_path / "cache"))

    return read


def pictures(root: Path) -> Path:
    """The pictures of ENTRIES."""
    (root / "my").mkdir(parents=True)
    for number, each in enumerate(ENTRIES):
        Image.new("RGB", (4 + number, 3)).save(root / each["image"])
    return root


def test_parquet_is_read_by_datasets_with_its_pictures(load: Callable, tmp_path: Path) -> None:
    import datasets

    train, test = export([put(tmp_path / "run")], "parquet", images=pictures(tmp_path / "data"))
    found = load("parquet", {"train": train, "test": test})
    assert found["train"]["id"] == [e["id"] for e in ENTRIES[:2]] and found["test"].num_rows == 1
    first = found["train"][0]
    assert first["messages"][0]["content"] == [{"type": "image", "text": None}, {"type": "text", "text": "What is this?"}]
    assert first["messages"][1] == {"role": "assistant", "content": [{"type": "text", "text": "A fundus photograph."}]}
    assert all(path.startswith(str(tmp_path / "data" / "my")) for path in found["train"]["images"][1])
    shown = found["train"].cast_column("images", datasets.Sequence(datasets.Image()))
    assert [row["images"][0].size for row in shown] == [(4, 3), (5, 3)]
    assert train.stat().st_size < 20_000 and b"PNG" not in train.read_bytes(), "paths, not pictures"


KEYS = {"sharegpt": "conversations", "chat": "messages", "llava": "conversations", "ms-swift": "messages"}


@pytest.mark.parametrize(("form", "key"), KEYS.items())
def test_json_files_are_read_by_datasets(form: str, key: str, load: Callable, tmp_path: Path) -> None:
    train, test = export([put(tmp_path / "run")], form)
    found = load("json", {"train": train, "test": test})
    assert found["train"]["id"] == [e["id"] for e in ENTRIES[:2]] and found["test"].num_rows == 1
    expected = FORMS[form].row(Conversation.from_llava(ENTRIES[1]))[key]
    read = found["train"][1][key]
    for turn in read if form == "chat" else ():  # an image part's text is empty here
        turn["content"] = [{name: value for name, value in part.items() if value is not None} for part in turn["content"]]
    assert read == expected


def test_llama_factory_s_list_names_files_and_columns_that_exist(load: Callable, tmp_path: Path) -> None:
    export([put(tmp_path / "ein Lauf, 2")], "sharegpt")
    folder = tmp_path / "ein Lauf, 2" / "exports" / "sharegpt"
    listed = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    assert list(listed) == ["ein_Lauf_2_train", "ein_Lauf_2_test"]
    for told in listed.values():
        rows = load("json", {"train": folder / told["file_name"]})["train"]
        tags = told["tags"]
        for row in rows:
            turns = row[told["columns"]["messages"]]
            assert {turn[tags["role_tag"]] for turn in turns} == {tags["user_tag"], tags["assistant_tag"]}
            text = "".join(turn[tags["content_tag"]] for turn in turns)
            assert text.count("<image>") == len(row[told["columns"]["images"]]) == 1


def test_parquet_without_the_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs the library datasets: python -m pip install -e '.\[trainers\]'"):
        export([put(tmp_path)], "parquet")
    assert list((tmp_path / "exports" / "parquet").iterdir()) == []


# --- splits ----------------------------------------------------------------------------------------------------------


def test_without_splits_there_is_one_file(tmp_path: Path) -> None:
    (written,) = export([put(tmp_path, places=None)], "llava")
    assert written.name == "all.json" and json.loads(written.read_bytes()) == ENTRIES


def test_files_of_an_earlier_export_do_not_stay(tmp_path: Path) -> None:
    export([put(tmp_path)], "chat")
    (tmp_path / "exports" / "chat" / "notes.txt").write_text("mine", encoding="utf-8")
    put(tmp_path, places=dict.fromkeys(PLACES, "validation"))
    (written,) = export([tmp_path], "chat")
    assert lines(written)[0]["id"] == "my-a"
    assert sorted(p.name for p in written.parent.iterdir()) == ["notes.txt", "validation.jsonl"]


def test_a_split_s_file_of_your_own_decides(tmp_path: Path) -> None:
    put(tmp_path / "run")
    put(tmp_path / "other", places=dict.fromkeys(PLACES, "test"))
    told = main(["export", str(tmp_path / "run"), "--form", "llava", "--splits", str(tmp_path / "other" / "splits.csv")])
    assert told.strip().startswith("3 conversations in") and told.endswith("…/llava/test.json")


@pytest.mark.parametrize("edited", ["run", "other"])
def test_a_split_s_file_that_parts_a_person_is_refused(tmp_path: Path, edited: str) -> None:
    put(tmp_path / "run", places=None)
    rows = [SplitRow("my", id_, id_, "train", "", "g", "drawn", "patient:my/7" if id_ != "my-c" else "") for id_ in PLACES]
    splits.write(tmp_path / "run" / "splits.csv", rows)
    (tmp_path / "other").mkdir(exist_ok=True)
    mine = tmp_path / edited / "splits.csv"
    words = {"run": rows, "other": [row._replace(ties="", group="") for row in rows]}[edited]  # the run's own ties count
    splits.write(mine, [words[0], words[1]._replace(split="test"), words[2]])
    with pytest.raises(UserError, match=r"splits.csv: row 2 is in train and row 3 in test, but they are of one person"):
        export([tmp_path / "run"], "llava", splits_file=mine)
    assert not (tmp_path / "run" / "exports").exists()
    splits.write(mine, [words[0], words[1], words[2]._replace(split="test")])
    assert list(export([tmp_path / "run"], "llava", splits_file=mine).values()) == [2, 1]


def test_several_runs_are_split_as_one(tmp_path: Path) -> None:
    for name, official, ties in (("A", "train", "same:test:B-1"), ("B", "test", "")):
        put(tmp_path / name, [entry("1", "What?", "An eye.") | {"id": f"{name}-1"}], places=None)
        rows = [SplitRow(name, f"{name}-1", f"{name}/1", official, official, name, f"official {official}", ties)]
        splits.write(tmp_path / name / "splits.csv", rows)
    (written,) = export([tmp_path / "A", tmp_path / "B"], "llava", out=tmp_path / "both")
    assert written == tmp_path / "both" / "test.json"
    assert [e["id"] for e in json.loads(written.read_bytes())] == ["A-1", "B-1"]


def test_a_run_s_accepted_conversations_alone_are_exported(tmp_path: Path) -> None:
    outcome = Job.load(dataset="ODIR", out_dir=str(tmp_path)).run()
    assert 0 < outcome.counts["accepted"] < outcome.counts["images"] == len(splits.read(tmp_path / "splits.csv"))
    assert sum(export([tmp_path], "chat").values()) == outcome.counts["accepted"]
    assert {"splits.csv", "exports"} <= {Path(name).name for name in outcome.files.index}


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_wrong_input_is_named(tmp_path: Path) -> None:
    run = put(tmp_path / "run")
    with pytest.raises(UserError, match=r"unknown form 'lava'; known: llava, .* \(did you mean 'llava'"):
        main(["export", str(run), "--form", "lava"])
    with pytest.raises(UserError, match=r"2 runs are exported into one folder; name it with --out <folder>"):
        export([run, run], "llava")
    with pytest.raises(UserError, match=r"none holds no conversations.jsonl; name the folder of a finished run"):
        export([tmp_path / "none"], "llava")
    with pytest.raises(UserError, match=r"no row for 1 conversation, the first my-c; create splits.csv again"):
        export([put(tmp_path / "old", places={k: v for k, v in PLACES.items() if k != "my-c"})], "llava")
    with pytest.raises(UserError, match=r"plain.splits.csv does not exist"):
        export([run, put(tmp_path / "plain", places=None)], "llava", out=tmp_path / "out")
    with pytest.raises(UserError, match=r"conversations.jsonl, line 2: the last question has no answer"):
        export([put(tmp_path / "odd", [ENTRIES[0], entry("b", "What?")])], "llava")
    with pytest.raises(UserError, match=r"no conversation was accepted"):
        export([put(tmp_path / "empty", [])], "llava")
    with pytest.raises(UserError, match=r"conversations.jsonl cannot be created as a folder"):
        export([run], "llava", out=run / "conversations.jsonl")
    assert not (run / "exports").exists()


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    root = pictures(tmp_path / "data")
    (root / "my" / "c.png").unlink()
    with pytest.raises(UserError, match=r"1 of 3 pictures are not in .*data, the first my/c.png"):
        export([put(tmp_path / "run")], "llava", images=root)


# --- pictures --------------------------------------------------------------------------------------------------------


def rows_of(folder: Path, form: str) -> list[dict]:
    """All rows of an export."""
    files = [path for path in sorted(folder.glob(f"*{FORMS[form].suffix}")) if path.name != "dataset_info.json"]
    if form == "parquet":
        return [row for path in files for row in pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()]
    return [row for path in files for row in (lines(path) if path.suffix == ".jsonl" else json.loads(path.read_bytes()))]


def image_of(row: dict) -> str:
    return row["image"] if "image" in row else row["images"][0]


@pytest.fixture(scope="module")
def drawn_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of the drawn sample of every dataset, and one of a table beside pictures that are not drawn."""
    place, runs = tmp_path_factory.mktemp("runs"), {}
    for name in page.names():
        runs[name] = place / name
        Job.load(dataset=name, limit=3, out_dir=str(runs[name])).run()
    return runs


@pytest.mark.parametrize("dataset", page.names())
def test_every_exported_image_opens_as_the_run_saw_it(dataset: str, drawn_runs: dict[str, Path], tmp_path: Path) -> None:
    run = drawn_runs[dataset]
    job = Job.load(dataset=dataset, limit=3)
    seen = {f"{dataset}-{case.id.partition('-')[2]}": case.path for case in map(job.case, job.images)}
    for form in PLAIN if dataset == "MICCAI_task1" else ("llava", "chat"):
        for way in (["--images"], ["--pictures", "link"], ["--pictures", "copy"]):
            out = tmp_path / form / way[-1]
            if form == "parquet":
                pytest.importorskip("datasets")
            told = main(["export", str(run), "--form", form, "--out", str(out), *way])
            assert "made-up eyes" in told and job.page.licence not in told and job.page.citation not in told
            assert (out / "sources.md").read_text(encoding="utf-8").count("Drawn sample in the layout of") == 1
            rows = rows_of(out, form)
            assert len(rows) == 3
            for row in rows:
                with Image.open(out / image_of(row)) as image:
                    assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(load_upright(seen[row["id"]], 9999)))
                if way[0] == "--pictures":
                    assert image_of(row).startswith("drawn/") and (out / image_of(row)).is_symlink() == (way[1] == "link")


@pytest.mark.parametrize(
    ("dataset", "settings"),
    [
        ("ODIR", {"track": "instruction"}),
        ("ODIR", {"track": "alignment"}),
        ("IDRiD_seg", {"track": "vqa"}),
        ("ODIR", {"track": "vqa", "separate": True}),
    ],
)
def test_llava_s_reader_finds_what_it_needs(dataset: str, settings: dict, tmp_path: Path) -> None:
    Job.load(dataset=dataset, limit=4, out_dir=str(tmp_path), **settings).run()
    written = export([tmp_path], "llava", pictures="link")
    ids = []
    for file in written:
        entries = json.load(file.open(encoding="utf-8"))  # --data_path
        ids += [entry["id"] for entry in entries]
        for entry in entries:
            assert not Path(entry["image"]).is_absolute()
            with Image.open(file.parent / entry["image"]) as picture:  # --image_folder
                assert min(picture.convert("RGB").size) > 1
            turns = entry["conversations"]
            assert turns and [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
            assert all(isinstance(turn["value"], str) and turn["value"].strip() for turn in turns)
            assert [turn["value"].count("<image>") for turn in turns] == [1] + [0] * (len(turns) - 1)
            assert set(entry) == {"id", "image", "conversations"} and all(set(turn) == {"from", "value"} for turn in turns)
    assert len(ids) == len(set(ids)) == sum(written.values()) > 0


def own_run(folder: Path, names: Iterable[str], save: Callable[[Path, int], None]) -> Path:
    """The run of a table of one's own with pictures of these names, in `folder`."""
    (folder / "data").mkdir(parents=True)
    rows = ["image,disease"]
    for number, name in enumerate(names):
        save(folder / "data" / name, number)
        rows.append(f"{name},glaucoma")
    (folder / "data" / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    Job.load(dataset=str(folder / "data" / "labels.csv"), out_dir=str(folder / "run")).run().require()
    return folder / "run"


def save_plain(path: Path, number: int) -> None:
    Image.new("RGB", (8 + number, 6), (number, len(str(path)), 9)).save(path)


def test_equal_names_of_different_pictures_stay_apart(tmp_path: Path) -> None:
    runs = [own_run(tmp_path / place, ["1.png", "2.png"], save_plain) for place in ("A", "BB")]
    command = ["export", *map(str, runs), "--form", "chat", "--out", str(tmp_path / "out"), "--pictures", "copy"]
    main(command)
    rows = rows_of(tmp_path / "out", "chat")
    names = [image_of(row) for row in rows]
    assert len(set(names)) == 4 and all(name.startswith("labels/") for name in names)
    for row, source in zip(rows, [*runs[:1] * 2, *runs[1:] * 2], strict=True):
        with Image.open(tmp_path / "out" / image_of(row)) as image:
            assert image.getpixel((0, 0))[1] == len(str(source.parent / "data" / "1.png"))
    before = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in names}
    main(["export", *map(str, reversed(runs)), *command[3:]])
    assert {image_of(row) for row in rows_of(tmp_path / "out", "chat")} == set(names), "names do not depend on the order"
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in names} == before


def test_another_picture_is_never_replaced(tmp_path: Path) -> None:
    run = own_run(tmp_path, ["1.png"], save_plain)
    target = tmp_path / "out" / "labels" / "1.png"
    target.parent.mkdir(parents=True)
    for way in ("link", "copy"):
        target.write_bytes(b"mine")
        with pytest.raises(UserError, match=r"1.png is another picture than .*data/1.png; name another folder with --out"):
            main(["export", str(run), "--form", "llava", "--out", str(tmp_path / "out"), "--pictures", way])
        assert target.read_bytes() == b"mine" and not list(tmp_path.glob("out/*.json"))
    target.unlink()
    target.symlink_to(tmp_path / "gone.png")  # a link to nothing is no picture
    main(["export", str(run), "--form", "llava", "--out", str(tmp_path / "out"), "--pictures", "link"])
    assert target.samefile(tmp_path / "data" / "1.png")


def test_pictures_are_exported_as_they_were_seen(tmp_path: Path) -> None:
    def save(path: Path, number: int) -> None:
        picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (6, 9, 3), np.uint8))
        exif = Image.Exif()
        exif[274] = 6
        if number:
            Image.fromarray(np.linspace(0, 4000, 54).reshape(6, 9).astype(np.uint16)).save(path)
        else:
            picture.save(path, exif=exif)

    run = own_run(tmp_path, ["turned.jpg", "deep.png"], save)
    assert "2 pictures must be turned or brightened" in main(["export", str(run), "--form", "llava", "--images"])
    for way in ("link", "copy", "copy"):
        told = main(["export", str(run), "--form", "llava", "--pictures", way])
        assert "2 pictures written anew as PNG" in told
        for row in rows_of(run / "exports" / "llava", "llava"):
            with Image.open(run / "exports" / "llava" / row["image"]) as image:
                assert image.getexif().get(274) is None and image.format == "PNG"
                source = next(tmp_path.glob(f"data/{Path(row['image']).stem}.*"))
                assert np.array_equal(np.asarray(image), np.asarray(load_upright(source, 99)))


def test_copies_have_no_metadata_and_the_size_that_was_asked_for(tmp_path: Path) -> None:
    def save(path: Path, number: int) -> None:
        noise = np.random.default_rng(number).integers(0, 255, (60 + 60 * number, 90, 3), np.uint8)
        exif, notes = Image.Exif(), PngImagePlugin.PngInfo()
        exif[0x010E] = "Maria Musterfrau"
        notes.add_text("Comment", "Maria Musterfrau")
        more = (
            {"pnginfo": notes} if path.suffix == ".png" else {"comment": b"Maria Musterfrau"} if path.suffix == ".jpg" else {}
        )
        more |= {"progressive": True} if number == 1 else {}
        Image.fromarray(noise).save(path, exif=exif, **more)

    names = ["a.jpg", "b.jpg", "c.png", "d.tif"]
    run = own_run(tmp_path, names, save)
    out, pictures = run / "exports" / "llava", ["--pictures", "copy"]
    for more, longest, suffixes in (
        ([], [90, 120, 180, 240], [".jpg", ".jpg", ".png", ".png"]),
        (["--size", "100", "--out", str(tmp_path / "small")], [90, 100, 100, 100], [".jpg", ".png", ".png", ".png"]),
    ):
        for _ in range(2):
            main(["export", str(run), "--form", "llava", *pictures, *more])
        folder = Path(more[-1]) if more else out
        rows = sorted(rows_of(folder, "llava"), key=lambda row: row["image"])
        assert [Path(row["image"]).suffix for row in rows] == suffixes
        for name, side, row in zip(names, longest, rows, strict=True):
            assert b"Musterfrau" not in (folder / row["image"]).read_bytes()
            with Image.open(folder / row["image"]) as image:
                seen = np.asarray(load_upright(tmp_path / "data" / name, side))
                assert (
                    max(image.size) == side and not image.getexif() and np.array_equal(np.asarray(image.convert("RGB")), seen)
                )
    with pytest.raises(UserError, match="needs --pictures copy or link"):
        main(["export", str(run), "--form", "llava", "--size", "100"])


@pytest.mark.parametrize("options", [["--images"], ["--pictures", "link"], ["--pictures", "copy", "--size", "100"]])
def test_pictures_that_cannot_be_read_are_left_out(options: list[str], tmp_path: Path) -> None:
    """One lost its end since the run, one has damage inside, which only reading its pixels shows."""

    def save(path: Path, number: int) -> None:
        pixels = np.random.default_rng(number).integers(0, 255, (200, 300, 3), np.uint8)
        Image.fromarray(pixels).save(path)

    run = own_run(tmp_path, ["1.png", "2.jpg", "3.png"], save)
    cut, hurt = tmp_path / "data" / "2.jpg", tmp_path / "data" / "3.png"
    cut.write_bytes(cut.read_bytes()[:9000])
    hurt.write_bytes(hurt.read_bytes()[:5000] + b"x" * 3000 + hurt.read_bytes()[8000:])
    left = 1 if "--size" in options else 2
    told = main(["export", str(run), "--form", "llava", "--out", str(tmp_path / "out"), *options])
    assert len(rows_of(tmp_path / "out", "llava")) == left
    assert f"{3 - left} picture{'s' * (left == 1)} cannot be read, the first: 2.jpg is not a readable image" in told
    (tmp_path / "data" / "1.png").write_bytes(b"")
    hurt.write_bytes(hurt.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"3 pictures cannot be read, .*; there is nothing to export"):
        main(["export", str(run), "--form", "llava", "--out", str(tmp_path / "other"), *options])


def test_names_fit_every_system(tmp_path: Path) -> None:
    run = own_run(tmp_path, ["a:b?*<>|.png", "con.png", "eye .png"], save_plain)
    main(["export", str(run), "--form", "chat", "--pictures", "link"])
    names = [image_of(row) for row in rows_of(run / "exports" / "chat", "chat")]
    assert sorted(names) == ["labels/_con.png", "labels/a_b_____.png", "labels/eye .png"]


def test_without_links_pictures_are_copied_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    run = own_run(tmp_path, ["1.png"], save_plain)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    told = main(["export", str(run), "--form", "llava", "--pictures", "link"])
    assert "they are copies: links cannot be made there" in told
    (row,) = rows_of(run / "exports" / "llava", "llava")
    assert not (run / "exports" / "llava" / row["image"]).is_symlink()
    assert sorted(p.name for p in (run / "exports" / "llava").rglob("*") if p.is_file() and p.suffix != ".json") == [
        "1.png",
        "sources.md",
    ]


def test_a_dataset_that_moved_is_found_in_its_new_folder(tmp_path: Path) -> None:
    run = own_run(tmp_path, ["1.png"], save_plain)
    (tmp_path / "data" / "1.png").rename(tmp_path / "1.png")
    with pytest.raises(UserError, match=r"--images|no image of labels"):
        main(["export", str(run), "--form", "llava", "--images"])
    (tmp_path / "new" / "labels").mkdir(parents=True)
    (tmp_path / "1.png").rename(tmp_path / "new" / "labels" / "1.png")
    main(["export", str(run), "--form", "llava", "--images", str(tmp_path / "new")])
    assert rows_of(run / "exports" / "llava", "llava")[0]["image"] == str(tmp_path / "new" / "labels" / "1.png")


def test_drawn_and_real_eyes_are_not_mixed(drawn_runs: dict[str, Path], tmp_path: Path) -> None:
    run = own_run(tmp_path, ["1.png"], save_plain)
    with pytest.raises(UserError, match="made-up eyes must not be trained on with real ones"):
        export([run, drawn_runs["ODIR"]], "llava", out=tmp_path / "out")
    export([drawn_runs["IDRiD"], drawn_runs["ODIR"]], "llava", out=tmp_path / "out", pictures="link")
    assert {Path(row["image"]).parts[1] for row in rows_of(tmp_path / "out", "llava")} == {"IDRiD", "ODIR"}


def test_pictures_that_are_drawn_are_so_wherever_they_lie(drawn_runs: dict[str, Path], tmp_path: Path) -> None:
    export([drawn_runs["APTOS"]], "llava", out=tmp_path / "out", pictures="copy")
    rows = rows_of(tmp_path / "out", "llava")
    (tmp_path / "out" / "drawn" / "my.csv").write_text(
        "image,disease\n" + "".join(f"{Path(row['image']).name},glaucoma\n" for row in rows), encoding="utf-8"
    )
    job = Job.load(dataset=str(tmp_path / "out" / "drawn" / "my.csv"), out_dir=str(tmp_path / "run"))
    assert job.drawn and "no dataset's licence" in job.table.loc["terms", ""]
    sample = Job.load(dataset="IDRiD", data_root=str(Job.load(dataset="IDRiD").data.root))
    assert sample.drawn and not sample.source["citation"] and "CC BY" not in str(sample.source)


def test_nothing_is_replaced_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = export([put(tmp_path)], "chat")
    before = train.read_bytes()
    put(tmp_path, ENTRIES[1:])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("retinal_lib.files.os.fsync", full)
    with pytest.raises(UserError, match="cannot be written"):
        export([tmp_path], "chat")
    assert train.read_bytes() == before


if __name__ == "__main__":
    for form in ("llava", "sharegpt", "chat"):
        shutil.rmtree(GOLDEN / form, ignore_errors=True)
        written = export([put(GOLDEN / "my-run")], form)
        shutil.copytree(next(iter(written)).parent, GOLDEN / form)
        shutil.rmtree(GOLDEN / "my-run")
