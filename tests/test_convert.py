"""Conversation files change form without losing a word, and every complaint names its line."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retinal_lib import UserError, json_to_jsonl, jsonl_to_json, merge, repair, validate


def entry(name: str = "a", first: str = "What?\n<image>", answer: str = "An eye.") -> dict:
    turns = [{"from": "human", "value": first}, {"from": "gpt", "value": answer}]
    return {"id": name, "image": f"X/{name}.jpg", "conversations": turns}


def put(path: Path, *entries: object) -> Path:
    path.write_text("".join(e if isinstance(e, str) else json.dumps(e) + "\n" for e in entries), encoding="utf-8")
    return path


words = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1)


@given(st.lists(st.tuples(words, words), min_size=1))
def test_there_and_back_again_nothing_is_lost(tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("convert")
    entries = [entry(str(i), f"{question}\n<image>", answer) for i, (question, answer) in enumerate(texts)]
    source = put(folder / "a.jsonl", *entries)
    assert jsonl_to_json(source, folder / "b.json") == len(entries)
    assert json_to_jsonl(folder / "b.json", folder / "c.jsonl") == len(entries)
    assert json.loads((folder / "b.json").read_text(encoding="utf-8")) == entries
    assert [json.loads(line) for line in (folder / "c.jsonl").read_text(encoding="utf-8").split("\n") if line] == entries


def test_a_broken_line_is_named_and_the_target_is_left_alone(tmp_path: Path) -> None:
    source = put(tmp_path / "a.jsonl", entry("a"), "\n", '{"id": "b", \n')
    (tmp_path / "b.json").write_text("precious", encoding="utf-8")
    with pytest.raises(UserError, match=r"a.jsonl, line 3: not JSON \(.*column"):
        jsonl_to_json(source, tmp_path / "b.json")
    assert (tmp_path / "b.json").read_text(encoding="utf-8") == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "b.json"]


@pytest.mark.parametrize(
    ("text", "what"),
    [('{"a": 1}', "expected a list"), ("[1]", "line 1: expected an object"), ("[", "not JSON"), ("\xff", "not text in UTF-8")],
)
def test_a_nested_file_of_another_kind_is_refused(text: str, what: str, tmp_path: Path) -> None:
    source = tmp_path / "a.json"
    source.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=what):
        json_to_jsonl(source, tmp_path / "b.jsonl")
    with pytest.raises(UserError, match=r"none.jsonl: cannot be read"):
        jsonl_to_json(tmp_path / "none.jsonl", tmp_path / "b.json")


def test_validate_finds_every_problem_with_its_line(tmp_path: Path) -> None:
    odd = entry("odd")
    odd["conversations"].append({"from": "human", "value": "And?"})
    source = put(
        tmp_path / "a.jsonl",
        entry("a"),
        "not json\n",
        entry("a"),
        entry("b", "What?"),
        odd,
        entry("c", answer=" "),
        7,
        {"id": "d", "conversations": -1},
        entry("e", "<image>\nWhat?"),
        entry("f", answer="It is the right eye.</think> An eye."),
    )
    found = [str(problem) for problem in validate(source)]
    assert found[0].startswith("line 2: not JSON")
    assert found[1] == "line 3 (a): the id is already used on line 1"
    assert found[2] == "line 4 (b): <image> occurs 0 times; expected once"
    assert found[3] == "line 5 (odd): the last question has no answer"
    assert found[4] == "line 6 (c): part 2 is empty"
    assert found[5] == "line 7: expected an object with id, image and conversations, found int"
    assert found[6].startswith("line 8 (d): image is missing") and "conversations must be a list" in found[7]
    assert found[8] == "line 9 (e): <image> must be the last line of the first question"
    assert found[9] == "line 10 (f): part 2: '</think>' is a mark of a model's thoughts or of its chat template"
    assert len(found) == 10
    assert validate(put(tmp_path / "b.jsonl", entry("a"), entry("b"))) == []


@pytest.mark.parametrize("first", ["What?", "<image>\nWhat?", "What? <image>", "<image>What?\n<image>"])
def test_repair_puts_the_image_in_its_place(first: str, tmp_path: Path) -> None:
    source = put(tmp_path / "a.jsonl", entry("a"), entry("b", first, "An eye. <image>"))
    changed = repair(source, tmp_path / "b.jsonl")
    assert [(problem.line, problem.id) for problem in changed] == [(2, "b")]
    assert [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()] == [entry("a"), entry("b")]
    assert validate(tmp_path / "b.jsonl") == []


def test_repair_refuses_what_it_cannot_mend(tmp_path: Path) -> None:
    for bad in (entry("a", answer=""), entry("a", "<image>", "An eye. <image>"), {"id": "a"}):
        with pytest.raises(UserError, match=r"a.jsonl, line 1: .*repair can only move"):
            repair(put(tmp_path / "a.jsonl", bad), tmp_path / "b.jsonl")
    assert not (tmp_path / "b.jsonl").exists()


def test_merge_joins_in_order_and_refuses_doubled_ids(tmp_path: Path) -> None:
    first, second = put(tmp_path / "a.jsonl", entry("a")), put(tmp_path / "b.jsonl", entry("b"), entry("c"))
    assert merge([second, first], tmp_path / "all.json") == 3
    assert [e["id"] for e in json.loads((tmp_path / "all.json").read_text())] == ["b", "c", "a"]
    with pytest.raises(UserError, match=r"b.jsonl, line 2: the id 'a' is already used in .*a.jsonl, line 1"):
        merge([first, put(tmp_path / "b.jsonl", entry("b"), entry("a"))], tmp_path / "all.json")
    assert len(json.loads((tmp_path / "all.json").read_text())) == 3, "the file of before is still there"
    with pytest.raises(UserError, match="id is missing"):
        merge([put(tmp_path / "c.jsonl", {"image": "x"})], tmp_path / "d.jsonl")
