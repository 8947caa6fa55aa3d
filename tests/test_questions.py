"""Question files in all their forms, answers files, and a server in the model's place; no torch is needed here."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_server import FakeServer, completion, error
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from retinal_lib import UserError
from retinal_lib.files import sha256
from retinal_lib.inference import answer_files as answers
from retinal_lib.inference import infer
from retinal_lib.inference import question_files as questions
from retinal_lib.inference.batching import Answerer, ImageQuestions, Options
from retinal_lib.inference.infer import Infer
from retinal_lib.inference.llava import conversation_forms
from retinal_lib.inference.server_model import ServerModel

DEFAULT = (conversation_forms.DEFAULT_QUESTION,)


def write(folder: Path, content: object, name: str = "q.json") -> Path:
    """A question file."""
    file = folder / name
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "content",
    [
        [{"id": 1, "image": "a.png"}, {"id": "b", "image": "b.png", "question": "Q?"}],
        {"data": [{"id": 1, "image": "a.png"}, {"id": "b", "image": "b.png", "question": "Q?"}]},
        '{"id": 1, "image": "a.png"}\n\n{"id": "b", "image": "b.png", "question": "Q?"}\n',
        '\ufeff{"id": 1, "image": "a.png"}\n{"id": "b", "images": ["b.png"], "questions": ["<image>\\nQ?"]}',
    ],
)
def test_every_file_form_is_read(content: object, tmp_path: Path) -> None:
    found = questions.read(write(tmp_path, content), tmp_path / "images")
    assert [(e.id, e.image, e.questions) for e in found] == [("1", "a.png", DEFAULT), ("b", "b.png", ("Q?",))]
    assert found[0].path == tmp_path / "images" / "a.png"


@pytest.mark.parametrize(
    ("entry", "asked"),
    [
        ({"image": "a"}, DEFAULT),
        ({"image": "a", "question": "<image>\nQ"}, ("Q",)),
        ({"image": "a", "questions": ["Q", "R"]}, ("Q", "R")),
        (
            {
                "images": [{"path": "a"}],
                "messages": [{"role": "user", "content": "<image>Q"}, {"role": "assistant", "content": "A"}],
            },
            ("Q",),
        ),
        ({"image": "a", "messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q"}]}]}, ("Q",)),
        (
            {"image": "a", "conversations": [{"from": "human", "value": "Q\n<image>"}, {"from": "gpt", "value": "A"}] * 2},
            ("Q", "Q"),
        ),
        ({"image": "a", "questions": []}, DEFAULT),
        ({"image": "a", "question": 7, "questions": [0, 1.5]}, ("0", "1.5")),
        ({"images": "a", "questions": [], "question": 3}, ("3",)),
        ({"image": "", "images": "a", "questions": None, "question": "", "text": "Q"}, ("Q",)),
        *[
            (
                {"image": "a", **empty, place: [{role: who, said: "Q"}, {role: who, said: 2}]},
                ("Q", "2"),
            )
            for empty in ({"questions": []}, {"questions": ["", " <image> "]}, {"question": None}, {"question": " "})
            for place, role, who, said in (("messages", "role", "User", "content"), ("conversations", "from", "human", "value"))
        ],
    ],
)
def test_questions_are_found_wherever_they_stand(entry: dict, asked: tuple[str, ...], tmp_path: Path) -> None:
    assert questions.read(write(tmp_path, entry))[0].questions == asked
    assert questions.read(write(tmp_path, [entry]), max_questions=1)[0].questions == asked[:1]
    for every in (None, 0, -1, -7, len(asked) + 1):
        assert questions.read(tmp_path / "q.json", max_questions=every)[0].questions == asked
    read = questions.read(write(tmp_path, [entry]), suffix="Be brief.", question="Why?")[0]
    assert read.questions[0] == ("Why? Be brief." if read.default else f"{asked[0]} Be brief.")
    assert read.default == (asked == DEFAULT) and read.image == "a" and not read.error


def test_entries_without_an_id_are_told_apart_and_keep_their_names(tmp_path: Path) -> None:
    same = {"image": "x.png", "question": "Q?"}
    found = questions.read(write(tmp_path, [same, same | {"id": ""}, same | {"id": "x.png (2)"}, {"id": None}, same]))
    assert [entry.id for entry in found] == ["x.png", "x.png (3)", "x.png (2)", "3", "x.png (4)"]
    parts = [questions.read(tmp_path / "q.json", num_chunks=2, chunk_idx=i) for i in (0, 1)]
    assert [entry for part in parts for entry in part] == found


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"question": "Q"}, "names no image"),
        ({"images": ["a", "b"]}, "has 2 images, the model takes one"),
        ({"image": 3}, "names no image"),
        ({"image": "a", "questions": {"a": 1}}, "its 'questions' holds {'a': 1}; expected text"),
        ({"image": "a", "question": True}, "its 'question' holds True; expected text"),
        ({"image": "a", "questions": ["Q", None]}, "its 'questions' holds None; expected text"),
        ({"image": "a", "messages": "Q"}, "not a list of turns"),
        ({"image": "a", "messages": [{"role": "user", "content": None}]}, "its 'messages' holds None; expected text"),
        ("text", "the entry is str; expected an object"),
    ],
)
def test_a_bad_entry_keeps_its_place_with_the_reason(entry: object, said: str, tmp_path: Path) -> None:
    found = questions.read(write(tmp_path, [entry, {"image": "fine"}]))
    assert len(found) == 2 and said in found[0].error and not found[1].error


@pytest.mark.parametrize("content", ['{"id": 1,\n', "[1, 2", "3", '[{"id": 1, "image": "a"}, {"id": "1", "image": "b"}]'])
def test_a_file_that_cannot_be_asked_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not JSON|expected a list|two entries have the id"):
        questions.read(write(tmp_path, content))
    with pytest.raises(UserError, match="cannot be read"):
        questions.read(tmp_path / "nowhere.json")


@given(total=st.integers(1, 40), chunks=st.integers(1, 12))
def test_chunks_are_the_whole(total: int, chunks: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = write(tmp_path_factory.mktemp("c"), [{"id": i, "image": "a"} for i in range(total)])
    parts = [questions.read(file, num_chunks=chunks, chunk_idx=i) for i in range(chunks)]
    assert [e.id for part in parts for e in part] == [str(i) for i in range(total)]
    with pytest.raises(UserError, match="chunk_idx"):
        questions.read(file, num_chunks=chunks, chunk_idx=chunks)


@given(st.lists(st.sampled_from(["<im_", "start>", "patch>", "end>", "<image>", " x ", "<im_patch>"]), max_size=12))
def test_no_mark_of_an_image_is_left_in_a_question(parts: list[str]) -> None:
    assert not any(word in conversation_forms.without_image_tokens("".join(parts)) for word in conversation_forms.RESERVED)


@given(st.text(alphabet="#ab :AsitnR\n", max_size=40), st.text(alphabet="#ab ", max_size=10))
def test_an_answer_holds_no_mark_and_what_follows_does_not_count(text: str, more: str) -> None:
    found = conversation_forms.clean_answer(text, "###")
    assert "###" not in found and found == found.strip()
    if conversation_forms.is_complete(text, "###"):
        assert conversation_forms.clean_answer(text + more, "###") == found


# the sha256 of what the published conversation file writes for these turns (the last three: with the answering role behind it)
PUBLISHED = {
    "simple": "498cf589f3ce",
    "simple_legacy": "d9b4b998d98f",
    "multimodal": "4e6d39cd1c75",
    "llava_v1": "dc15232259f7",
    "v1": "f0fe7d7422b7",
    "default": "f0fe7d7422b7",
    "vicuna_v1_1": "c745eb7a8729",
    "bair_v1": "9defadae6bf6",
}


@pytest.mark.parametrize("name", conversation_forms.FORMS)
def test_the_forms_are_those_of_the_published_file(name: str) -> None:
    found = conversation_forms.form(name).prompt(["Which eye?", "Why?"], ["Left."], "<im_patch>")
    assert sha256(found)[:12] == PUBLISHED[name]
    assert found.endswith(("Human: Why?###", "USER: Why? ASSISTANT:", "USER: Why? GPT:"))


def test_answers_are_cut_as_the_script_cuts_them() -> None:
    for text in ("Yes.", "###Assistant: Yes.###Human: b", "Assistant: Yes.", " ### Response: Yes. ###", "###Assistant:###Yes."):
        assert conversation_forms.clean_answer(text, "###") == "Yes."


class Parrot(Answerer):
    """Answers with the question, without any model; some questions break it."""

    name, identity, runs_on = "parrot", "parrot", "nowhere"

    def __init__(self):
        self.notes: dict[str, str] = {}
        self.asked: list[str] = []

    def length(self, asked: ImageQuestions) -> int:
        return len(asked.questions[0])

    def check(self, asked: ImageQuestions) -> None:
        if "bad" in str(asked.image):
            raise UserError("the image is bad")

    def is_out_of_memory(self, error: BaseException) -> bool:
        return False

    def chat(self, image: object, **options: object) -> object:
        raise NotImplementedError

    def converse(self, batch: list[ImageQuestions], options: Options) -> list[list[str]]:
        for asked in batch:
            self.check(asked)
            if "crash" in asked.questions:
                raise KeyboardInterrupt
        self.asked += [str(asked.key) for asked in batch]
        return [[q.upper() for q in asked.questions] for asked in batch]


def entries(folder: Path, *asked: tuple[str, str]) -> list[questions.Entry]:
    """Entries of a question file, by image and question; an image is a file that holds its name, "gone…" is not there."""
    for image, _ in asked:
        if not image.startswith("gone") and not (folder / image).exists():
            (folder / image).write_text(image, encoding="utf-8")
    return questions.read(write(folder, [{"id": f"{i}", "image": im, "question": q} for i, (im, q) in enumerate(asked)]))


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    asked = entries(tmp_path, ("a", "a longer question"), ("bad", "x"), ("b", "crash"), ("c", "q"))
    out, parrot = tmp_path / "out" / "answers.jsonl", Parrot()
    with pytest.raises(KeyboardInterrupt):
        answers.answer(parrot, asked, out, batch_size=1)
    assert [row["id"] for row in answers.load(out)] == ["0"]
    with out.open("a", encoding="utf-8") as file:
        file.write('{"id": "3", "ima')  # torn
    asked[2] = questions.Entry("2", "b", tmp_path / "b", ("fine now",))
    before = out.read_text(encoding="utf-8").splitlines()[0]
    found = answers.answer(parrot, asked, out, batch_size=2, max_failed=0.3)
    assert parrot.asked == ["0", "2", "3"] and [row["id"] for row in found.rows] == ["0", "1", "2", "3"]
    assert out.read_text(encoding="utf-8").splitlines()[0] == before, "what was answered stays where it is"
    assert found.rows[1].items() >= {"id": "1", "image": "bad", "error": "the image is bad"}.items()
    assert found.rows[2]["qa_pairs"] == [{"question": "fine now", "answer": "FINE NOW"}]
    assert found.summary == "4 images: 3 answered, 1 failed, 1 of them was there already"
    found.require()
    assert list(found.table["answer"])[1] == "error: the image is bad"
    strict = answers.answer(parrot, asked, out, max_failed=0.2)
    with pytest.raises(
        UserError, match=r"1 of 4 images have no answer \(max_failed allows 20%\); the first, 1: the image is bad"
    ):
        strict.require()
    answers.AnswerFile(out, tuple([found.rows[1]] * 29 + [found.rows[0]] * 71), 0, 0.29).require()


def test_entries_are_no_images_where_they_share_some(tmp_path: Path) -> None:
    asked = entries(tmp_path, ("a", "which eye"), ("a", "which grade"), ("b", "which eye"))
    found = answers.answer(Parrot(), asked, tmp_path / "answers.jsonl")
    assert found.summary == "3 entries about 2 images: 3 answered, 0 failed"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("artifacts/train-trial/seed-0/model", "infer-train-trial-seed-0"),
        ("/models/RetinalGPT", "infer-RetinalGPT"),
        ("model", "infer-model"),
        ("/data/model", "infer-data"),
        ("../seed-0/model", "infer-seed-0"),
    ],
)
def test_models_that_are_all_called_model_have_folders_of_their_own(model: str, name: str) -> None:
    assert infer.folder({"model_name": model}).name == name


def test_a_changed_question_is_asked_again(tmp_path: Path) -> None:
    out, parrot = tmp_path / "answers.jsonl", Parrot()
    answers.answer(parrot, entries(tmp_path, ("a", "q"), ("b", "r")), out)
    answers.answer(parrot, entries(tmp_path, ("a", "q"), ("b", "other")), out)
    assert parrot.asked == ["0", "1", "1"]


def test_answers_belong_to_picture_question_options_and_model(tmp_path: Path) -> None:
    out, parrot = tmp_path / "answers.jsonl", Parrot()
    asked = entries(tmp_path, ("a", "q"), ("b", "q"), ("c", "q"))
    answers.answer(parrot, asked, out)
    few = answers.answer(parrot, asked[:1], out)
    assert few.asked == 0 and len(few.rows) == 1 and len(answers.load(out)) == 3, "a part of the questions takes nothing away"
    (tmp_path / "b").write_text("another picture under the same name", encoding="utf-8")
    blind = [questions.Entry(e.id, image, tmp_path / image, e.questions) for e, image in zip(asked, "bca", strict=True)]
    assert answers.answer(parrot, asked, out).asked == 1
    assert answers.answer(parrot, blind, out).asked == 3, "the blind test's answers are not the sighted ones"
    assert answers.answer(parrot, asked, out).asked == 0
    parrot.identity = "parrot, trained further"
    with pytest.raises(UserError, match="holds answers of other settings"):
        answers.answer(parrot, asked, out)


def test_append_asks_again_and_takes_nothing_away(tmp_path: Path) -> None:
    out, parrot = tmp_path / "answers.jsonl", Parrot()
    out.write_text('{"id": "old", "image": "a", "qa_pairs": [{"question": "q", "answer": "by the script"}]}', encoding="utf-8")
    asked = entries(tmp_path, ("a", "q"), ("b", "r"))
    for times in (1, 2):
        assert answers.answer(parrot, asked, out, append=True).asked == 2 and len(parrot.asked) == 2 * times
        rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        assert sorted(row["id"] for row in rows) == ["0"] * times + ["1"] * times + ["old"], "the last row had no line end"
    assert answers.answer(parrot, asked, out).asked == 0 and len(answers.load(out)) == 3


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    asked, out = entries(tmp_path, *[(f"eye{i}", "q") for i in range(40)]), tmp_path / "answers.jsonl"
    with ThreadPoolExecutor(4) as pool:  # the lock holds between threads as between processes
        list(pool.map(lambda k: answers.answer(Parrot(), asked[k::4], out, batch_size=1), range(4)))
    assert [row["id"] for row in answers.load(out)] == [str(i) for i in range(40)]


def test_a_broken_answers_file_is_told(tmp_path: Path) -> None:
    out = write(tmp_path, '{"id": "0"}\n{"id": "1", "image": "a", "qa_pairs": []}\n', "answers.jsonl")
    with pytest.raises(UserError, match="line 1: qa_pairs: is missing"):
        answers.load(out)


def test_a_folder_is_no_answers_file(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    with pytest.raises(UserError, match="inside is a folder; name a file in it"):
        answers.answer(Parrot(), entries(tmp_path, ("eye", "q")), tmp_path / "inside")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("inside.", "."))]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, True])
def test_a_temperature_is_a_number(value: float) -> None:
    with pytest.raises(UserError, match="temperature"):
        _ = Infer.load(temperature=value)


# --- a server in the model's place -------------------------------------------------------------------------------------


@pytest.fixture
def eye(tmp_path: Path) -> Path:
    """A picture."""
    Image.new("RGB", (40, 30), (200, 80, 20)).save(tmp_path / "eye.png")
    return tmp_path / "eye.png"


def test_a_server_answers_turn_by_turn(server: FakeServer, eye: Path) -> None:
    server.script = lambda number, body: completion(f"### Answer {len(body['messages'])} ### Human: more")
    model = ServerModel("gpt-x")
    assert model.answer([["a", "b<image>"], "c"], eye, max_new_tokens=7) == [["Answer 1", "Answer 3"], "Answer 1"]
    body = next(b for b in server.asked if len(b["messages"]) == 3)
    assert body["model"] == "gpt-x" and body["max_tokens"] == 7
    assert not {"temperature", "seed"} & set(body), "only what the user set"
    assert body["messages"][0]["content"][1]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert body["messages"][2]["content"] == [{"type": "text", "text": "b"}]
    assert body["messages"][1] == {"role": "assistant", "content": "Answer 1"}


def test_a_chat_with_a_server_keeps_its_turns(server: FakeServer, eye: Path) -> None:
    server.script = lambda number, body: completion(f"Answer {number}")
    chat = ServerModel("m").chat(eye)
    assert [chat.ask("a"), chat.ask("b", max_new_tokens=3)] == ["Answer 1", "Answer 2"]
    assert [m["role"] for m in server.asked[1]["messages"]] == ["user", "assistant", "user"] and server.asked[1][
        "max_tokens"
    ] == 3


def test_a_refused_request_is_one_entry_and_a_refused_key_the_end(server: FakeServer, eye: Path, tmp_path: Path) -> None:
    asked = entries(tmp_path, ("eye.png", "fine"), ("eye.png", "awful"), ("gone.png", "fine"))
    refuse = error(400, "too awful")
    server.script = lambda number, body: refuse if "awful" in json.dumps(body) else completion("Yes.")
    found = answers.answer(ServerModel("m"), asked, tmp_path / "a.jsonl")
    assert [bool(row.get("error")) for row in found.rows] == [False, True, True] and "too awful" in found.rows[1]["error"]
    server.script = lambda number, body: error(401, "who are you")
    with pytest.raises(UserError, match="refused the key"):
        answers.answer(ServerModel("m"), asked, tmp_path / "b.jsonl")


def test_the_notebook_s_parameters_work_with_a_server(server: FakeServer, eye: Path, tmp_path: Path) -> None:
    server.script = lambda number, body: completion("Left.")
    job = Infer.load(model_name="openai:m", image_folder=str(eye.parent), question="Which eye?", out_dir=str(tmp_path / "run"))
    assert job.ask().text == "Left."
    done = job.answer()
    done.require()
    assert done.file == tmp_path / "run" / "answers.jsonl" and "images are sent there" in str(job.table)


def test_refused_options_are_changed_and_said_and_one_is_asked_at_a_time(server: FakeServer, eye: Path, tmp_path: Path) -> None:
    def refuse(number: int, body: dict) -> object:
        if name := next((name for name in ("max_tokens", "temperature") if name in body), ""):
            return error(400, f"Unsupported parameter: '{name}' is not supported with this model.", "unsupported_parameter")
        return completion("Left.")

    server.script = refuse
    asked = entries(tmp_path, ("eye.png", "a"), ("eye.png", "b"), ("eye.png", "c"))
    found = answers.answer(ServerModel("m"), asked, tmp_path / "a.jsonl", temperature=0.2, max_new_tokens=9)
    assert not found.failed and len(server.asked) == 3 + 2 and server.asked[-1]["max_completion_tokens"] == 9
    assert "The server refused the option max_tokens" in found.notes[0] and len(found.notes) == 2
    assert server.most_in_flight == 1


def test_what_is_no_completion_is_no_answer_of_a_server(server: FakeServer, eye: Path, tmp_path: Path) -> None:
    from aiohttp import web

    asked = entries(tmp_path, *[("eye.png", str(i)) for i in range(7)])
    server.script = lambda number, body: web.json_response({"error": {"message": "overloaded", "code": 503}})
    model = ServerModel("m")
    model._server.backoff = 0.0
    with pytest.raises(UserError, match=r"5 requests in a row got no answer after 6 tries each; the last: .*503 overloaded"):
        answers.answer(model, asked, tmp_path / "a.jsonl")
    server.script = lambda number, body: completion("Left.")
    assert answers.answer(ServerModel("m"), asked, tmp_path / "a.jsonl").asked == 7
    server.script = lambda number, body: error(404, "no such model")
    with pytest.raises(UserError, match="does not offer model 'other'"):
        answers.answer(ServerModel("other"), asked, tmp_path / "b.jsonl")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"question_fil": "x"}, "did you mean 'question_file'"),
        ({"image_folder": "nowhere"}, "is not a folder"),
        ({"question_file": "nowhere.json"}, "cannot be read"),
        ({"image_file": "nowhere.png"}, "nowhere.png is not a file"),
        ({"limit": 0}, "limit: found 0"),
        ({"append": "Be brief."}, "append: found 'Be brief.'"),
        ({"question_file": "empty.jsonl"}, r"empty\.jsonl has no entries: there is nothing to ask"),
        ({"max_failed": 2}, "max_failed: found 2"),
        ({"conv_mode": "x"}, "unknown conv_mode 'x'; known: simple"),
        ({"model_name": "openai:"}, "lacks the model's name"),
    ],
)
def test_wrong_parameters_are_told_before_a_model_is_loaded(
    given: dict, said: str, server: FakeServer, eye: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (eye.parent / "empty.jsonl").write_text("", encoding="utf-8")
    monkeypatch.chdir(eye.parent)
    with pytest.raises(UserError, match=said):
        Infer.load(**{"model_name": "openai:m", "image_folder": str(eye.parent)} | given)
