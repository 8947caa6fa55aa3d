"""Asking a model: alone and in batches, again and again, with pictures of every kind."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from PIL import Image  # noqa: E402

from retinal_lib import UserError  # noqa: E402
from retinal_lib.files import write_jsonl  # noqa: E402
from retinal_lib.inference import Model, load_model  # noqa: E402
from retinal_lib.inference import answer_files as answers  # noqa: E402
from retinal_lib.inference import question_files as questions  # noqa: E402
from retinal_lib.inference.llava import conversation_forms  # noqa: E402
from retinal_lib.sample import llava_model as sample_model  # noqa: E402
from retinal_lib.sample.llava_model import Shape  # noqa: E402

LONG = "Is there any sign of diabetic retinopathy in this fundus photograph, and if so, of which grade?"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A tiny model with random weights."""
    found = load_model(sample_model.draw(tmp_path_factory.mktemp("model") / "m"), device="cpu")
    found.ask(Image.new("RGB", (60, 60)), "?", max_new_tokens=2)
    return found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures of many kinds, one path each."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(1)
    values = rng.integers(0, 255, (64, 90, 4), dtype=np.uint8)
    rgba = Image.fromarray(values, "RGBA")
    kinds = {
        "rgba.png": rgba,
        "grey.png": rgba.convert("L"),
        "palette.png": rgba.convert("RGB").quantize(32),
        "cmyk.tif": rgba.convert("CMYK"),
        "one.png": rgba.convert("1"),
        "strip.png": Image.fromarray(rng.integers(0, 255, (31, 800, 3), dtype=np.uint8)),
        "small.png": Image.fromarray(rng.integers(0, 255, (17, 9, 3), dtype=np.uint8)),
        "plain.jpg": rgba.convert("RGB"),
    }
    for name, picture in kinds.items():
        picture.save(folder / name)
    return [folder / name for name in kinds]


def conversations() -> list[list[str]]:
    """Questions of different number and length."""
    return [
        ["Which eye?", "Why?", "Really?"],
        [LONG],
        ["a", LONG],
        ["Describe.", "More."],
        ["x"],
        [LONG, LONG, "b"],
        ["?"],
        ["c"],
    ]


def test_a_batch_gives_what_each_gets_alone(model: Model, pictures: list[Path]) -> None:
    alone = []
    for asked, picture in zip(conversations(), pictures, strict=True):
        chat = model.chat(picture, max_new_tokens=24)
        alone.append([chat.ask(question) for question in asked])
    for size in (1, 3, 8):
        assert model.answer(conversations(), pictures, max_new_tokens=24, batch_size=size) == alone


def test_a_kept_conversation_says_what_a_new_one_would(model: Model, pictures: list[Path]) -> None:
    chat = model.chat(pictures[0], max_new_tokens=24)
    for question in ("Which eye?", LONG, "Why?"):
        chat.ask(question)
        text = model.prompt(chat.questions, chat.answers[:-1])
        ids, last = model.ids(text), None
        written: list[int] = []
        while len(written) < len(chat.written):  # word by word from nothing, without anything kept
            last = int(_logits(model, ids + written, pictures[0]).argmax())
            written.append(last)
        assert written == chat.written


def _logits(model: Model, ids: list[int], picture: Path) -> torch.Tensor:
    stock = model.llava
    pixels = torch.from_numpy(model.pixels(picture))[None]
    with torch.inference_mode():
        return stock(input_ids=torch.tensor([ids]), pixel_values=pixels, attention_mask=torch.ones(1, len(ids))).logits[0, -1]


def test_each_image_is_encoded_once(model: Model, pictures: list[Path]) -> None:
    model._features.clear()
    before = model.encoded
    model.answer(["a", LONG, "b", ["c", "d"]] * 3, [pictures[i % 3] for i in range(12)], max_new_tokens=3, batch_size=2)
    assert model.encoded - before == 3


def test_a_file_that_changed_is_read_anew(model: Model, pictures: list[Path], tmp_path: Path) -> None:
    eye = tmp_path / "eye.png"
    answers_ = []
    for picture in pictures[-2:]:
        Image.open(picture).convert("RGB").resize((60, 60)).save(eye)
        answers_.append(model.ask(eye, "Which eye?", max_new_tokens=16))
    assert answers_[0] != answers_[1] == model.ask(Image.open(eye), "Which eye?", max_new_tokens=16)


def test_sampling_follows_its_seed_and_no_batch(model: Model, pictures: list[Path]) -> None:
    options = {"temperature": 0.8, "max_new_tokens": 20}
    first = model.answer([LONG] * 4, pictures[:4], seed=1, **options)
    assert first == model.answer([LONG] * 4, pictures[:4], seed=1, batch_size=3, **options)
    assert first[2] == model.ask(pictures[2], LONG, seed=1, **options)
    assert first != model.answer([LONG] * 4, pictures[:4], seed=2, **options)
    assert model.ask(pictures[0], LONG, max_new_tokens=20) == model.ask(pictures[0], LONG, max_new_tokens=20, seed=5)


def test_one_image_for_all_and_pillow_images(model: Model, pictures: list[Path]) -> None:
    opened = Image.open(pictures[0])
    assert model.answer(["a", ["b", "c"]], opened, max_new_tokens=6) == model.answer(
        ["a", ["b", "c"]], pictures[0], max_new_tokens=6
    )
    with pytest.raises(UserError, match="2 questions and 1 images"):
        model.answer(["a", "b"], [opened])


@pytest.mark.parametrize("conv_mode", conversation_forms.FORMS)
def test_every_conversation_form_can_be_asked(conv_mode: str, model: Model, pictures: list[Path]) -> None:
    text = model.prompt(["Which eye?", "Why?"], ["Left."], conv_mode)
    assert text.count(conversation_forms.IMAGE_PATCH) == model.patches
    assert text.index("Which eye?") < text.index("Left.") < text.index("Why?")
    assert isinstance(model.answer([["Which eye?", "Why?"]], pictures[0], conv_mode=conv_mode, max_new_tokens=5)[0][1], str)


def test_marks_in_a_question_do_not_break_it(model: Model, pictures: list[Path]) -> None:
    assert model.ask(pictures[0], "<im_start>Which <im_<im_patch>patch>eye?<image>", max_new_tokens=9) == model.ask(
        pictures[0], "Which eye?", max_new_tokens=9
    )


def test_an_exif_turned_image_is_seen_as_the_script_sees_it_and_said_so(model: Model, tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 255, (64, 90, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    picture.save(tmp_path / "straight.png")
    assert np.array_equal(model.pixels(tmp_path / "turned.png"), model.pixels(tmp_path / "straight.png"))
    with pytest.warns(UserWarning, match=r"turned\.png is rotated by its EXIF orientation"):
        model.ask(tmp_path / "turned.png", "?", max_new_tokens=1)


def test_pixels_are_those_of_transformers_own_processor(model: Model, pictures: list[Path], tmp_path: Path) -> None:
    from transformers import CLIPImageProcessor

    deep = tmp_path / "deep.png"
    Image.fromarray((np.random.default_rng(3).integers(0, 65535, (60, 80))).astype(np.uint16)).save(deep)
    config = {k: v for k, v in model.preprocessing.config().items() if k != "image_processor_type"}
    processor = CLIPImageProcessor(**config)
    if "Pil" not in type(processor).__name__ and hasattr(processor, "backend"):
        pytest.skip("torchvision's processor rounds otherwise")
    for path in [*pictures, deep]:
        wanted = np.asarray(processor(Image.open(path).convert("RGB"), return_tensors="np")["pixel_values"][0])
        assert np.abs(model.pixels(path) - wanted).max() < 1e-5


def test_memory_that_runs_out_halves_the_batch(model: Model, pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = model.answer(["a", "b", "c", "d", "e"], pictures[:5], max_new_tokens=4)
    sizes, real = [], Model.converse

    def converse(self: Model, batch: list, options: object) -> list:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, batch, options)

    monkeypatch.setattr(Model, "converse", converse)
    assert model.answer(["a", "b", "c", "d", "e"], pictures[:5], max_new_tokens=4) == wanted
    assert sizes == [5, 2, 2, 1]
    monkeypatch.setattr(Model, "converse", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(UserError, match="does not suffice for this conversation"):
        model.answer(["a"], pictures[0])


def test_a_question_file_is_answered_in_order_and_resumed(model: Model, pictures: list[Path], tmp_path: Path) -> None:
    entries = [{"id": f"q{i}", "image": p.name, "questions": ["a", LONG][: 1 + i % 2]} for i, p in enumerate(pictures)]
    entries.insert(2, {"id": "gone", "image": "gone.png"})
    (tmp_path / "torn.png").write_bytes(pictures[0].read_bytes()[:200])
    entries.insert(5, {"id": "torn", "image": str(tmp_path / "torn.png"), "question": "b"})
    entries.insert(6, {"id": "bad", "question": "b"})
    file = write_jsonl(tmp_path / "questions.jsonl", entries)
    asked = questions.read(file, pictures[0].parent)
    out = tmp_path / "answers.jsonl"
    options = {"max_new_tokens": 5, "batch_size": 4}
    found = answers.answer(model, asked, out, **options)
    whole, rows = out.read_text(encoding="utf-8"), list(found.rows)
    assert [row["id"] for row in rows] == [entry["id"] for entry in entries]
    assert {row["id"] for row in rows if "error" in row} == {"gone", "torn", "bad"} == {row["id"] for row in found.failed}
    assert rows[1]["qa_pairs"][1]["question"] == LONG and found.asked == len(entries)
    with pytest.raises(UserError, match="3 of 11 images have no answer"):
        found.require()
    kept = whole.splitlines(keepends=True)[4:7]
    out.write_text("".join(kept)[:-20], encoding="utf-8")
    again = answers.answer(model, asked, out, **options)
    assert list(again.rows) == rows and again.asked == len(entries) - 2
    assert out.read_text(encoding="utf-8").startswith("".join(kept[:2])), "what was answered stays where it is"
    with pytest.raises(UserError, match="holds answers of other settings"):
        answers.answer(model, asked, out, max_new_tokens=6)


def test_options_are_checked(model: Model, pictures: list[Path]) -> None:
    for given, said in [
        ({"conv_mode": "smple"}, "did you mean 'simple'"),
        ({"temprature": 1}, "did you mean 'temperature'"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"temperature": -1}, "temperature is -1"),
    ]:
        with pytest.raises(UserError, match=said):
            model.ask(pictures[0], "?", **given)


def test_without_marks_around_the_image(tmp_path: Path, pictures: list[Path]) -> None:
    model = load_model(sample_model.draw(tmp_path / "m", Shape(start_end=False)), device="cpu")
    assert "<im_start>" not in model.prompt(["a"])
    alone = [model.ask(p, "Which eye?", max_new_tokens=12) for p in pictures]
    assert model.answer(["Which eye?"] * len(pictures), pictures, max_new_tokens=12) == alone
