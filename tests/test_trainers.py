"""Trainers get every accepted conversation in the form they read, each split in a file of its own.

After a change to a form, `python tests/test_trainers.py` writes tests/golden_exports anew.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retinal_lib import Job, UserError, validate
from retinal_lib.__main__ import main
from retinal_lib.conversation import Conversation
from retinal_lib.dataset import splits
from retinal_lib.dataset.splits import SplitRow
from retinal_lib.export.trainers import FORMS, export

GOLDEN = Path(__file__).parent / "golden_exports"
ODD = "ein Auge, 2: \"ü\" '=1' %20 眼"


def entry(name: str, *turns: str) -> dict:
    """A conversation of questions and answers by turns."""
    values = [f"{turns[0]}\n<image>", *turns[1:]]
    said = [{"from": "gpt" if i % 2 else "human", "value": value} for i, value in enumerate(values)]
    return {"id": f"my-{name}", "image": f"my/{name}.png", "conversations": said}


ENTRIES = [
    entry("a", "What is this?", "A fundus photograph.", "And the grade?", "Grade 2 (moderate)."),
    entry(ODD, "Was sieht man?\nBitte genau.", 'Eine "Netzhaut" \\ 眼底.\u2028Mehr nicht.'),
    entry("c", "How wide?", "About 120.5 µm."),
]
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


words = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text.strip() and "<image>" not in text
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
    from PIL import Image

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


@pytest.mark.parametrize(("form", "key"), [("sharegpt", "conversations"), ("chat", "messages"), ("llava", "conversations")])
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
    with pytest.raises(UserError, match=r"needs the library datasets: pip install -e '.\[trainers\]'"):
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
    assert told.strip().startswith("3 conversations in") and told.endswith("exports/llava/test.json")


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
    with pytest.raises(UserError, match=r"unknown form 'lava'; known: llava, sharegpt, chat, parquet \(did you mean 'llava'"):
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
