"""Held to what LLaVA-v0's original classes gave, on a tiny model that was taught to look: ids, pixels, logits and words."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from retinal_lib import UserError  # noqa: E402
from retinal_lib.inference import Model, convert, load_model  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden_llava"
if not GOLDEN.is_dir():
    pytest.skip("the golden model is not here (../shared/golden_llava)", allow_module_level=True)
CASES = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))["cases"]
TURNS = [(case, i) for case in CASES for i in range(len(case["turns"]))]
CLOSE = 1e-4


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """The original's pixels, features and logits."""
    return dict(np.load(GOLDEN / "expected.npz"))


@pytest.fixture(scope="module")
def model() -> Model:
    """The golden model from its published form."""
    found = load_model(GOLDEN / "checkpoint", device="cpu")
    found.ask(GOLDEN / "images" / "square.png", "?", max_new_tokens=2)  # a process's first forward may be a little off
    return found


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden model in today's form."""
    return convert(GOLDEN / "checkpoint", tmp_path_factory.mktemp("golden") / "converted")


def picture(case: dict) -> Path:
    """The image of a case."""
    return GOLDEN / "images" / case["image"]


def prompt(model: Model, case: dict, turn: int) -> str:
    """The prompt of a turn, with the original's answers before it."""
    turns = case["turns"]
    return model.prompt([t["question"] for t in turns[: turn + 1]], [t["answer"] for t in turns[:turn]])


@pytest.mark.parametrize(("case", "turn"), TURNS, ids=lambda x: x["id"] if isinstance(x, dict) else str(x))
def test_prompts_and_ids_are_the_original_s(model: Model, case: dict, turn: int) -> None:
    text = prompt(model, case, turn)
    assert text == case["turns"][turn]["prompt"]
    assert model.ids(text) == case["turns"][turn]["input_ids"]


def test_training_s_ids_are_had_on_request() -> None:
    trained = load_model(GOLDEN / "checkpoint", device="cpu", bos="training")
    for case, turn in TURNS:
        assert trained.ids(prompt(trained, case, turn)) == case["turns"][turn]["input_ids_slow_tokenizer"]


def test_pixels_features_and_logits_are_the_original_s(model: Model, arrays: dict, capsys: pytest.CaptureFixture) -> None:
    pixels = max(np.abs(model.pixels(picture(c)) - arrays[f"pixel_values/{c['image']}"]).max() for c in CASES)
    seen = max(np.abs(model.features([picture(c)])[0].numpy() - arrays[f"image_features/{c['image']}"]).max() for c in CASES)
    logits = 0.0
    for case, turn in TURNS:
        wanted = arrays[case["turns"][turn]["logits_key"]]
        found = model.logits(prompt(model, case, turn), picture(case)).numpy()
        logits = max(logits, float(np.abs(found[-len(wanted) :] - wanted).max()))
    with capsys.disabled():
        print(f"\nlargest difference from the original: pixels {pixels:.1e}, features {seen:.1e}, logits {logits:.1e}")
    assert pixels < CLOSE and seen < CLOSE and logits < CLOSE


def test_answers_are_the_original_s_one_by_one_and_together(model: Model) -> None:
    questions = [[turn["question"] for turn in case["turns"]] for case in CASES]
    wanted = [[turn["answer"] for turn in case["turns"]] for case in CASES]
    assert model.answer(questions, [picture(c) for c in CASES], max_new_tokens=40) == wanted
    for case, asked, answers in zip(CASES, questions, wanted, strict=True):
        chat = model.chat(picture(case), max_new_tokens=40)
        assert [chat.ask(question) for question in asked] == answers


def test_every_id_is_the_original_s_where_nothing_stops_it(model: Model) -> None:
    for case in CASES:
        chat = model.chat(picture(case), max_new_tokens=40, stop=False)
        for turn in case["turns"]:
            assert chat.ask(turn["question"]) == turn["answer"]
            assert chat.written == turn["output_ids"]


def test_half_precision_says_the_same() -> None:
    half = load_model(GOLDEN / "checkpoint", device="cpu", dtype="float16")
    for case in CASES[:4]:
        assert half.ask(picture(case), case["turns"][0]["question"], max_new_tokens=40) == case["turns"][0]["answer"]


def test_stock_transformers_opens_what_was_converted(converted: Path) -> None:
    from PIL import Image
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    processor = AutoProcessor.from_pretrained(converted)
    stock, told = LlavaForConditionalGeneration.from_pretrained(converted, dtype=torch.float32, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"]
    for case in CASES:
        messages: list[dict] = []
        for turn in case["turns"]:
            content = [{"type": "text", "text": f" {turn['question']}\n"}]  # the script takes blanks off
            content += [] if messages else [{"type": "image", "image": Image.open(picture(case)).convert("RGB")}]
            messages.append({"role": "user", "content": content})
            told = processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
            assert told["input_ids"][0].tolist() == turn["input_ids"]
            found = stock.generate(**told, max_new_tokens=40)[0].tolist()
            assert found[len(turn["input_ids"]) :] == turn["output_ids"]
            messages.append({"role": "assistant", "content": [{"type": "text", "text": turn["answer"]}]})


def test_the_chat_template_marks_what_the_model_writes(converted: Path) -> None:
    from PIL import Image
    from transformers import AutoProcessor, pipeline

    processor, case = AutoProcessor.from_pretrained(converted), CASES[-1]
    question, answer = (case["turns"][0][key] for key in ("question", "answer"))
    image = Image.open(picture(case)).convert("RGB")
    asked = {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": f"\n{question} "}]}
    for content in (f" {answer} ", [{"type": "text", "text": f" {answer} "}]):
        told = processor.apply_chat_template(
            [asked, {"role": "assistant", "content": content}, {"role": "user", "content": "Why?"}],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            return_assistant_tokens_mask=True,
        )
        written = processor.tokenizer.decode(told["input_ids"][0][told["assistant_masks"][0].bool()])
        assert written.startswith(f"Assistant: {answer}###") and "Why" not in written and question not in written
    pipe = pipeline("image-text-to-text", model=str(converted), dtype=torch.float32)
    found = pipe(text=[asked], max_new_tokens=40, return_full_text=False)[0]["generated_text"]
    assert found.strip() == case["turns"][0]["raw_text"].strip()


def test_what_transformers_saves_anew_is_loaded(converted: Path, tmp_path: Path) -> None:
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    processor = AutoProcessor.from_pretrained(converted)
    processor.image_processor.image_mean = [0.1, 0.2, 0.3]
    processor.save_pretrained(tmp_path)
    LlavaForConditionalGeneration.from_pretrained(converted, dtype=torch.float32).save_pretrained(tmp_path)
    assert not (tmp_path / "preprocessor_config.json").exists()
    found = load_model(tmp_path, device="cpu")
    assert found.preprocessing.mean == (0.1, 0.2, 0.3)
    case = CASES[0]
    assert found.ids(prompt(found, case, 0)) == case["turns"][0]["input_ids"]
    file = tmp_path / "processor_config.json"
    file.write_text(file.read_text(encoding="utf-8").replace("0.1,", '"much",'), encoding="utf-8")
    with pytest.raises(UserError, match=r"processor_config.json: expected image_mean and image_std of three numbers.*'much'"):
        load_model(tmp_path, device="cpu")


def test_the_converted_model_answers_as_the_published_one(converted: Path, arrays: dict) -> None:
    found = load_model(converted, device="cpu")
    for case, turn in TURNS:
        assert found.ids(prompt(found, case, turn)) == case["turns"][turn]["input_ids"]
    case = CASES[-1]
    logits = found.logits(prompt(found, case, 1), picture(case)).numpy()
    wanted = arrays[case["turns"][1]["logits_key"]]
    assert np.abs(logits[-len(wanted) :] - wanted).max() < CLOSE
    again = load_model(convert(GOLDEN / "checkpoint", converted.parent / "trained", bos="training"), device="cpu")
    assert again.ids(prompt(again, case, 1)) == case["turns"][1]["input_ids_slow_tokenizer"]
