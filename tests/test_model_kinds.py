"""Image-text models of other kinds than LLaVA-v0, tiny and random: opened by their names in transformers, asked by their own
processors; and adapters, merged into the model that they were trained on."""

import base64
import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import transformers  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: E402

from retinal_lib import UserError  # noqa: E402
from retinal_lib.files import write_jsonl  # noqa: E402
from retinal_lib.inference import answer_files, convert, load_model, question_files  # noqa: E402
from retinal_lib.inference.batching import ImageQuestions  # noqa: E402
from retinal_lib.inference.llava.convert import VLLM_OVERRIDES  # noqa: E402
from retinal_lib.sample import llava_model  # noqa: E402
from retinal_lib.train import loop  # noqa: E402
from retinal_lib.train.examples import Example  # noqa: E402

QUESTIONS = [["Which eye is it?", "Why?"], ["a"], ["Is there any sign of diabetic retinopathy?"]]
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
TEXT |= {
    "head_dim": 8,
    "vocab_size": 280,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": 258,
    "tie_word_embeddings": False,
}
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 28}
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<turn>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}</s>{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)


def tokenizer(**special: str) -> transformers.PreTrainedTokenizerFast:
    """A tokenizer of bytes, with special tokens by the names under which processors look for them."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(["<s>", "</s>", "<pad>", "<turn>", *special.values()])
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, extra_special_tokens=special, **named)


def gemma3() -> tuple:
    """MedGemma's form."""
    words = tokenizer(boi_token="<soi>", eoi_token="<eoi>", image_token="<soft>")
    config = transformers.Gemma3Config(
        text_config=TEXT | {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
        vision_config=TOWER | {"patch_size": 7},
        mm_tokens_per_image=4,
        boi_token_index=260,
        eoi_token_index=261,
        image_token_index=262,
        eos_token_id=257,
    )
    pictures = transformers.Gemma3ImageProcessor(size={"height": 28, "width": 28})
    return config, transformers.Gemma3Processor, (pictures, words), {"image_seq_length": 4}, "<soi>"


def qwen2_5_vl() -> tuple:
    """Qwen2.5-VL's form: as many image tokens as the picture has patches."""
    words = tokenizer(image="<|image_pad|>", video="<|video_pad|>", start="<|vision_start|>", end="<|vision_end|>")
    text = TEXT | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}}
    tower = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32, "patch_size": 7}
    config = transformers.Qwen2_5_VLConfig(
        text_config=text | {"head_dim": None},
        vision_config=tower | {"window_size": 28, "fullatt_block_indexes": [1]},
        image_token_id=260,
        video_token_id=261,
        vision_start_token_id=262,
        vision_end_token_id=263,
    )
    pictures = transformers.Qwen2VLImageProcessor(patch_size=7, min_pixels=14 * 14, max_pixels=56 * 56)
    return config, transformers.Qwen2_5_VLProcessor, (pictures, words), {}, "<|vision_start|><|image_pad|><|vision_end|>"


def internvl() -> tuple:
    """InternVL's form, on Qwen2."""
    words = tokenizer(
        start_image_token="<img>", end_image_token="</img>", context_image_token="<IMG_CONTEXT>", video_token="<video>"
    )
    config = transformers.InternVLConfig(
        text_config=TEXT | {"model_type": "qwen2"},
        vision_config=TOWER | {"image_size": [28, 28], "patch_size": [7, 7]},
        image_token_id=262,
        image_seq_length=4,
    )
    pictures = transformers.GotOcr2ImageProcessor(size={"height": 28, "width": 28}, max_patches=2, crop_to_patches=True)
    return config, transformers.InternVLProcessor, (pictures, words), {"image_seq_length": 4}, "<IMG_CONTEXT>"


def llava_on_mistral() -> tuple:
    """LLaVA of a later version, whose words are its own."""
    words = tokenizer(image_token="<image>")
    config = transformers.LlavaConfig(
        text_config=TEXT | {"model_type": "mistral", "sliding_window": None},
        vision_config=TOWER | {"model_type": "clip_vision_model", "patch_size": 14, "projection_dim": 32},
        image_token_index=260,
        image_seq_length=4,
    )
    pictures = transformers.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    options = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return config, transformers.LlavaProcessor, (pictures, words), options, "<image>"


KINDS = {each.__name__: each for each in (gemma3, qwen2_5_vl, internvl, llava_on_mistral)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a model of each kind, as transformers writes it."""
    made = {}
    for name, kind in KINDS.items():
        config, processor, parts, options, image = kind()
        made[name] = tmp_path_factory.mktemp("kinds") / name
        torch.manual_seed(0)
        config.tie_word_embeddings = False
        network = transformers.AutoModelForImageTextToText.from_config(config)
        for tensor in network.parameters():  # so that what is seen changes what is written
            torch.nn.init.normal_(tensor, std=0.5)
        network.get_output_embeddings().weight.data[256:] = 0  # letters alone are written
        network.save_pretrained(made[name])
        attributes = [a for a in processor.get_attributes() if a != "video_processor"]  # it would need torchvision
        of_images = type(processor.__name__, (processor,), {"get_attributes": classmethod(lambda cls, a=attributes: a)})
        of_images(*parts, chat_template=TEMPLATE.replace("IMAGE", image), **options).save_pretrained(made[name])
    return made


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three pictures of unlike colour and size."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, (colour, size) in enumerate([("red", (60, 40)), ("white", (40, 70)), ("blue", (33, 33))]):
        Image.new("RGB", size, colour).save(folder / f"{i}.png")
    return [folder / f"{i}.png" for i in range(3)]


@pytest.mark.parametrize("name", KINDS)
def test_any_image_text_model_is_opened_and_asked(name: str, folders: dict, pictures: list[Path], tmp_path: Path) -> None:
    model, options = load_model(folders[name], device="cpu"), {"max_new_tokens": 6, "stop": False}
    alone = []
    for asked, picture in zip(QUESTIONS, pictures, strict=True):
        chat = model.chat(picture, **options)
        alone.append([chat.ask(question) for question in asked])
    assert model.answer(QUESTIONS, pictures, **options) == alone, "a batch gives what each gets alone"
    assert len(set(model.answer(["a"] * 3, pictures, **options))) > 1, "it looks"
    sampled = [model.answer(["a", "b"], pictures[0], temperature=2.0, seed=seed, **options) for seed in (1, 1, 2)]
    assert sampled[0] == sampled[1] != sampled[2]
    file = write_jsonl(tmp_path / "q.jsonl", [{"id": i, "image": p.name, "question": "a"} for i, p in enumerate(pictures)])
    done = answer_files.answer(model, question_files.read(file, pictures[0].parent), tmp_path / "a.jsonl", **options)
    assert not done.failed and model.identity.startswith(f"{name} ")
    with pytest.raises(UserError, match="brings its own chat template"):
        model.ask(pictures[0], "a", conv_mode="simple")


@pytest.mark.parametrize(("name", "lora"), [*((name, 0) for name in KINDS), ("gemma3", 2), ("llava_v0", 2)])
def test_any_image_text_model_is_trained(name: str, lora: int, folders: dict, pictures: list[Path], tmp_path: Path) -> None:
    if lora:
        pytest.importorskip("peft", reason="peft is not installed")
    base = folders.get(name) or convert(llava_model.draw(tmp_path / "drawn"), tmp_path / "base")
    model = load_model(base, device="cpu")
    learned = [Example(f"{i}", p, ("Which eye is it?", "Why?"), ("b" * (i + 1), "c")) for i, p in enumerate(pictures)]
    recipe = loop.Recipe(epochs=3, learning_rate=1e-2, batch_size=3, lora=lora)
    losses = loop.train(model, learned, recipe, tmp_path / "state.pt", tmp_path / "tuned", base)
    assert losses[-1] < losses[0]
    opened = load_model(tmp_path / "tuned", device="cpu")
    asked = ["Which eye is it?"] * 3, pictures
    assert opened.answer(*asked, max_new_tokens=3) != load_model(base, device="cpu").answer(*asked, max_new_tokens=3)
    assert (tmp_path / "tuned" / "adapter_config.json").is_file() == bool(lora)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b"cut"), "cannot be opened by transformers as a model of type gemma3"),
        (lambda f: (f / "model.safetensors").unlink(), "has no weights"),
        (lambda f: (f / "chat_template.jinja").unlink(), "has no chat_template.jinja"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "cannot be opened by transformers as a model of type gemma3"),
        (lambda f: change(f / "config.json", vision_config=7), "cannot be opened by transformers as a model of type gemma3"),
        (lambda f: lose(f / "model.safetensors"), "1 weight, the first .*, cannot be loaded"),
        (lambda f: change(f / "config.json", model_type="gemma3", auto_map={"AutoConfig": "harm.Config"}), ""),
    ],
)
def test_damage_of_any_model_is_one_sentence(damage: object, said: str, folders: dict, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["gemma3"], tmp_path / "model"))
    (folder / "harm.py").write_text("raise SystemExit", encoding="utf-8")
    damage(folder)
    if not said:  # code that comes with a model is not run
        return load_model(folder, device="cpu").check(ImageQuestions(0, Image.new("RGB", (9, 9)), ("a",)))
    with pytest.raises(UserError, match=said):
        load_model(folder, device="cpu")


def change(file: Path, **values: object) -> None:
    """Changes values of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")


def lose(file: Path) -> None:
    """Takes a weight away."""
    tensors = load_file(file)
    del tensors[min(tensors)]
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("name", ["gemma3", "llava_v0"])
def test_transformers_own_options_are_passed_on(name: str, folders: dict, pictures: list[Path], tmp_path: Path) -> None:
    folder = folders.get(name) or llava_model.draw(tmp_path / "drawn")
    asked = {"max_new_tokens": 4, "stop": False}
    eager, usual = (load_model(folder, device="cpu", attn_implementation=each) for each in ("eager", None))
    assert getattr(eager, "network", getattr(eager, "llava", None)).config._attn_implementation == "eager"
    assert eager.ask(pictures[0], "a", **asked) == usual.ask(pictures[0], "a", **asked)
    with pytest.raises(UserError, match=r"cannot be opened by transformers with attn_implementation='abacus' \("):
        load_model(folder, device="cpu", attn_implementation="abacus")
    if find_spec("accelerate") is None:
        with pytest.raises(UserError, match=r"with device_map='auto' \(.*accelerate"):
            load_model(folder, device="cpu", device_map="auto")
    else:
        assert load_model(folder, device="cpu", device_map="cpu").ask(pictures[0], "a", **asked) == usual.ask(
            pictures[0], "a", **asked
        )


def test_a_tower_is_not_passed_to_a_model_that_has_its_own(folders: dict) -> None:
    with pytest.raises(UserError, match="brings its own vision tower and projector; leave out openai/clip"):
        load_model(folders["gemma3"], vision_tower="openai/clip")


def adapter(base: Path, out: Path) -> Path:
    """An adapter as peft saves it, trained on the model in a folder."""
    peft = pytest.importorskip("peft", reason="peft is not installed")
    network = transformers.AutoModelForImageTextToText.from_pretrained(base)
    torch.manual_seed(1)
    lora = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    peft.get_peft_model(network, lora).save_pretrained(out)
    change(out / "adapter_config.json", base_model_name_or_path=str(base))
    return out


@pytest.mark.parametrize("name", ["gemma3", "llava_v0"])
def test_an_adapter_is_merged_into_its_model(name: str, folders: dict, pictures: list[Path], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    base = folders.get(name) or convert(llava_model.draw(tmp_path / "drawn"), tmp_path / "base")
    found = load_model(adapter(base, tmp_path / "tuned"), device="cpu")
    plain = load_model(base, device="cpu")
    network, wanted = (getattr(each, "network", None) or each.llava for each in (found, plain))
    wanted = peft.PeftModel.from_pretrained(wanted, str(tmp_path / "tuned")).merge_and_unload().state_dict()
    assert all(torch.equal(tensor, wanted[key]) for key, tensor in network.state_dict().items())
    assert found.name == "tuned" and found.identity.split()[1] != plain.identity.split()[1]
    assert isinstance(found.ask(pictures[0], "a", max_new_tokens=4, stop=False), str)
    change(tmp_path / "tuned" / "adapter_config.json", base_model_name_or_path=str(folders["qwen2_5_vl"]))
    with pytest.raises(UserError, match="tuned does not fit its model"):
        load_model(tmp_path / "tuned", device="cpu")


def test_an_adapter_without_its_model_or_without_peft_is_one_sentence(
    folders: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "gone/away/far"}', encoding="utf-8")
    with pytest.raises(UserError, match=r"the model of the adapter .* gone/away/far is not a folder"):
        load_model(tmp_path, device="cpu")
    change(tmp_path / "adapter_config.json", base_model_name_or_path=None)
    with pytest.raises(UserError, match="does not say on which model it was trained"):
        load_model(tmp_path, device="cpu")
    change(tmp_path / "adapter_config.json", base_model_name_or_path=str(folders["gemma3"]))
    with pytest.raises(UserError, match=r"is an adapter, which peft merges into its model: python -m pip install peft"):
        load_model(tmp_path, device="cpu")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"holds a whole model .* and an adapter"):
        load_model(tmp_path, device="cpu")


def test_vllm_serves_what_was_converted(pictures: list[Path], tmp_path: Path) -> None:
    vllm = pytest.importorskip("vllm", reason="vllm is not installed")
    shape = llava_model.Shape(hidden=256, heads=4, inner=344, dtype="float32")  # on a CPU, vLLM has no smaller heads
    out = convert(llava_model.draw(tmp_path / "drawn", shape), tmp_path / "out")
    options = {"dtype": "float32", "max_model_len": 512, "enforce_eager": True, "max_num_seqs": 2}
    server, model = vllm.LLM(str(out), hf_overrides=VLLM_OVERRIDES, **options), load_model(out, device="cpu")
    for picture in pictures:
        url = f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
        content = [{"type": "text", "text": f" {QUESTIONS[0][0]}\n"}, {"type": "image_url", "image_url": {"url": url}}]
        sampling = vllm.SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)
        found = server.chat([{"role": "user", "content": content}], sampling)[0]
        chat = model.chat(picture, max_new_tokens=24, stop=False)
        chat.ask(QUESTIONS[0][0])
        assert list(found.prompt_token_ids) == model.ids(model.prompt([QUESTIONS[0][0]]))
        assert list(found.outputs[0].token_ids) == chat.written
