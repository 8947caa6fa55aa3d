"""Models in every published form, and what is said of damaged ones."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from retinal_lib.inference.llava import checkpoint

torch = pytest.importorskip("torch", reason="torch is not installed")

from PIL import Image  # noqa: E402

from retinal_lib import UserError  # noqa: E402
from retinal_lib.inference import convert, load_model  # noqa: E402
from retinal_lib.inference.llava import memory as llava_memory  # noqa: E402
from retinal_lib.sample import llava_model as sample_model  # noqa: E402
from retinal_lib.sample.llava_model import Shape  # noqa: E402

QUESTION = "Which eye is it?"
FORMS = {
    "one file": Shape(),
    "three files": Shape(shards=3),
    "safetensors": Shape(safetensors=True, shards=2),
    "tower inside": Shape(tower="inside", safetensors=True),
    "projector apart": Shape(projector="apart"),
    "no marks around the image": Shape(start_end=False),
    "fewer heads, full precision": Shape(heads=2, dtype="float32"),
}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that is not square."""
    values = np.random.default_rng(0).integers(0, 255, (70, 110, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("image") / "eye.png"
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """A model that a test may damage."""
    return sample_model.draw(tmp_path / "model", Shape(shards=3))


def projector_of(folder: Path) -> Path | None:
    """The separate projector, where the sample has one."""
    file = folder.parent / "mm_projector.bin"
    return file if file.is_file() else None


def fingerprint(folder: Path) -> dict[str, tuple[int, float]]:
    """What shows that a folder was written to."""
    return {p.name: (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.iterdir()}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_loaded_and_converted_to_the_same(name: str, image: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, LlavaForConditionalGeneration

    folder = sample_model.draw(tmp_path / "model", FORMS[name])
    before = fingerprint(folder)
    model = load_model(folder, mm_projector=projector_of(folder), device="cpu")
    text = model.prompt([QUESTION])
    wanted = model.logits(text, image)
    out = convert(folder, tmp_path / "converted", mm_projector=projector_of(folder))
    assert fingerprint(folder) == before
    assert torch.allclose(load_model(out, device="cpu").logits(text, image), wanted, atol=1e-4)
    stock = LlavaForConditionalGeneration.from_pretrained(out, dtype=torch.float32)
    ids = AutoTokenizer.from_pretrained(out)([text])["input_ids"]
    assert ids == [model.ids(text)]
    with torch.inference_mode():
        found = stock(input_ids=torch.tensor(ids), pixel_values=torch.from_numpy(model.pixels(image))[None]).logits[0]
    assert torch.allclose(found, wanted, atol=1e-4)
    assert (out / "model.safetensors.index.json").is_file() and not list(out.glob("*.py"))


def test_missing_added_tokens_are_those_that_llava_adds(drawn: Path) -> None:
    wanted = load_model(drawn, device="cpu").ids("Human: ?\n<im_start><im_patch><im_end>###")
    (drawn / "added_tokens.json").write_text('{"[PAD]": 384}', encoding="utf-8")
    assert load_model(drawn, device="cpu").ids("Human: ?\n<im_start><im_patch><im_end>###") == wanted
    (drawn / "added_tokens.json").unlink()
    assert load_model(drawn, device="cpu").ids("Human: ?\n<im_start><im_patch><im_end>###") == wanted


def test_old_pickles_without_an_archive_are_read(drawn: Path) -> None:
    for path in drawn.glob("*.bin"):
        torch.save(torch.load(path, weights_only=True), path, _use_new_zipfile_serialization=False)
    load_model(drawn, device="cpu")


def test_conversion_refuses_what_is_there_already(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(UserError, match="not empty"):
        convert(drawn, tmp_path / "out")
    out = convert(drawn, tmp_path / "new")
    with pytest.raises(UserError, match="already in the form"):
        convert(out, tmp_path / "again")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")], "nothing half-made is left"


class Harmful:
    """Wants code to run when it is unpickled."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("harm-was-done"),))


def harm(folder: Path) -> None:
    """A file of weights that runs code."""
    torch.save({"model.norm.weight": Harmful()}, folder / "pytorch_model-00002-of-00003.bin")


def plain_pickle(folder: Path) -> None:
    """A pickle that is no archive, and runs code."""
    (folder / "pytorch_model-00002-of-00003.bin").write_bytes(pickle.dumps({"a": Harmful()}))


def wrong_shape(folder: Path) -> None:
    """A config of a wider model."""
    change(folder / "config.json", hidden_size=128)


def change(file: Path, **values: object) -> None:
    """Changes values of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")


def lose_weight(folder: Path) -> None:
    """Files without some of their weights."""
    for path in folder.glob("*.bin"):
        held = torch.load(path, weights_only=True)
        torch.save({k: v for k, v in held.items() if "q_proj" not in k}, path)


def strange_weight(folder: Path) -> None:
    """A weight that no such model has."""
    path = folder / "pytorch_model-00001-of-00003.bin"
    torch.save(torch.load(path, weights_only=True) | {"model.layers.0.adapter.weight": torch.zeros(2)}, path)


def cut(folder: Path) -> None:
    """A file whose download broke off."""
    path = folder / "pytorch_model-00003-of-00003.bin"
    path.write_bytes(path.read_bytes()[:-500])


def other_tokenizer(folder: Path) -> None:
    """The tokenizer of a larger model."""
    larger = sample_model.draw(folder.parents[1] / "larger", Shape(vocab=400))
    shutil.copy(larger / "tokenizer.model", folder / "tokenizer.model")


def lists_of_bytes(name: str, content: bytes):
    """Puts bytes in place of a file."""
    return lambda folder: (folder / name).write_bytes(content)


def smaller_tokenizer(folder: Path) -> None:
    """The tokenizer of a smaller model, without its added tokens."""
    smaller = sample_model.draw(folder.parents[1] / "smaller", Shape(vocab=375))
    shutil.copy(smaller / "tokenizer.model", folder / "tokenizer.model")
    (folder / "added_tokens.json").unlink()


DAMAGE = {
    "a shard is missing": (lambda f: (f / "pytorch_model-00002-of-00003.bin").unlink(), "1 of 3 weight files are missing"),
    "no weights": (lambda f: [p.unlink() for p in f.glob("pytorch*")], "has no weights: expected model.safetensors"),
    "a shard was cut": (cut, "00003-of-00003.bin is damaged"),
    "a shard runs code": (harm, "asks to run code when opened, so it is not opened"),
    "a plain pickle": (plain_pickle, "pytorch_model-00002-of-00003.bin"),
    "wrong shapes": (wrong_shape, "the file and config.json are of different models"),
    "weights are missing": (lose_weight, r"not complete: \d+ weights are missing, the first language_model.*q_proj"),
    "a strange weight": (strange_weight, "config.json has no place for the weight"),
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "config is no JSON": (lists_of_bytes("config.json", b"{"), "config.json, line 1: not JSON"),
    "config of another kind": (lambda f: change(f / "config.json", model_type="mpt"), "model_type is 'mpt'"),
    **{
        f"config with {key} {value!r}": (lambda f, key=key, value=value: change(f / "config.json", **{key: value}), said)
        for key, value, said in [
            ("hidden_size", "x", "hidden_size is 'x'; expected a number from 1 to"),
            ("hidden_size", -5, "hidden_size is -5; expected a number from 1 to"),
            ("num_hidden_layers", 10**6, "num_hidden_layers is 1000000; expected a number from 1 to 1,000"),
            ("vocab_size", 10**30, "vocab_size is 10+; expected a number from 1 to"),
            ("num_attention_heads", 0, "num_attention_heads is 0; expected"),
            ("num_attention_heads", 7, r"hidden_size \d+ is no multiple of 7 heads"),
            ("mm_vision_tower", 3, "mm_vision_tower is 3; expected a folder or hub id"),
            ("mm_vision_select_layer", 99, r"layer 99 of a tower of \d+ layers is used"),
            ("mm_vision_select_layer", "x", r"layer 'x' of a tower of \d+ layers is used"),
            ("rms_norm_eps", "x", "config.json cannot be used"),
            ("hidden_act", "__import__", "unknown hidden_act of .*config.json '__import__'; known: "),
            ("hidden_act", [1], r"unknown hidden_act of .*config.json \[1\]"),
        ]
    },
    "no tokenizer": (lambda f: (f / "tokenizer.model").unlink(), "has no tokenizer: expected tokenizer.model"),
    "tokenizer is no model": (lists_of_bytes("tokenizer.model", b"version https://git-lfs"), "not readable as a sentencepiece"),
    "tokenizer of another model": (other_tokenizer, "of different models|tokenizer of another model"),
    "a smaller tokenizer": (smaller_tokenizer, "has 13 embeddings more than the tokenizer has pieces"),
    "a shard is a git-lfs pointer": (
        lists_of_bytes("pytorch_model-00002-of-00003.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "it is a git-lfs pointer, not the file itself",
    ),
    "an index that points outside": (
        lists_of_bytes("pytorch_model.bin.index.json", b'{"weight_map": {"a": "../../other/pytorch_model.bin"}}'),
        "names '../../other/pytorch_model.bin'; expected the name of a file in the same folder",
    ),
    "no tower": (
        lambda f: shutil.rmtree(f.parent / "vision-tower"),
        "vision tower vision-tower is not there.*pass vision_tower",
    ),
    "BiomedCLIP": (lambda f: change(f / "config.json", mm_vision_tower="x/BiomedCLIP-PubMedBERT"), "only CLIP towers"),
    "a tower without weights": (lambda f: next((f.parent / "vision-tower").glob("*.bin")).unlink(), "has no weights"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told_in_a_sentence(name: str, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage, said = DAMAGE[name]
    monkeypatch.chdir(drawn.parent)
    damage(drawn)
    with pytest.raises(UserError, match=said):
        load_model(drawn, device="cpu")
    assert not (drawn.parent / "harm-was-done").exists()


def test_a_whole_clip_and_another_tower_are_taken(drawn: Path, image: Path) -> None:
    tower = drawn.parent / "vision-tower"
    held = torch.load(tower / "pytorch_model.bin", weights_only=True)
    whole = held | {
        "text_model.embeddings.x": torch.zeros(2),
        "logit_scale": torch.zeros(()),
        "visual_projection.weight": torch.eye(3),
    }
    torch.save(whole, tower / "pytorch_model.bin")
    config = json.loads((tower / "config.json").read_text(encoding="utf-8"))
    (tower / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": config}), encoding="utf-8")
    moved = tower.rename(drawn.parents[1] / "elsewhere")
    assert load_model(drawn, vision_tower=moved, device="cpu").ask(image, QUESTION, max_new_tokens=3) is not None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"device": "cuda"}, "sees no GPU"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
        ({"dtype": "float8"}, "unknown dtype 'float8'"),
        ({"quantize": "2bit"}, "unknown quantize '2bit'"),
        ({"quantize": "4bit"}, "bitsandbytes|is for a GPU"),
        ({"bos": "mine"}, "unknown bos 'mine'"),
        ({"mm_projector": "nowhere.bin"}, "mm_projector nowhere.bin is not a file"),
        ({"vision_tower": "nowhere"}, "vision tower nowhere is not there"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a GPU says")
def test_wrong_wishes_are_told(given: dict, said: str, drawn: Path) -> None:
    with pytest.raises(UserError, match=said):
        load_model(drawn, **{"device": "cpu"} | given)


def test_too_little_memory_is_told_with_what_fits(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llava_memory, "free", lambda place: 500_000)
    with pytest.raises(
        UserError, match=r"needs 0\.\d MB of memory .*float32.*0\.5 MB free; what fits: dtype='float16' \(0\.\d MB"
    ):
        load_model(drawn, device="cpu")
    monkeypatch.setattr(llava_memory, "free", lambda place: 1000)
    with pytest.raises(UserError, match="nothing fits here"):
        load_model(drawn, device="cpu")


def test_a_full_disk_is_told(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(UserError, match=r"converting checkpoint needs 0\.\d MB of disk, .* has 0\.0 MB free"):
        convert(drawn, tmp_path / "out")


def test_one_file_is_in_memory_at_a_time(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from retinal_lib.inference.llava import convert as llava_convert
    from retinal_lib.inference.llava import weights as llava_weights

    held, most = [], 0
    real_read, real_save = checkpoint.read_tensors, llava_convert.save_file

    def read(path: Path) -> dict:
        held.append(path)
        return real_read(path)

    def save(*args: object, **options: object) -> None:
        nonlocal most
        most = max(most, len(held))
        held.clear()
        real_save(*args, **options)

    monkeypatch.setattr(llava_weights, "read_tensors", read)
    monkeypatch.setattr(llava_convert, "save_file", save)
    convert(drawn, tmp_path / "out")
    assert most == 1


def test_a_hub_id_brings_only_what_is_needed(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    wanted: dict[str, dict] = {}
    places = {"lab/model": drawn, "lab/tower": drawn.parent / "vision-tower"}
    files = [
        type("File", (), {"rfilename": name, "size": 10}) for name in ("config.json", "model.safetensors", "pytorch_model.bin")
    ]

    def download(name: str, **options: object) -> str:
        wanted[name] = options
        return str(places[name])

    api = type("Api", (), {"model_info": lambda self, name, **_: type("Info", (), {"siblings": files})})
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub, "HfApi", api)
    assert load_model("lab/model", vision_tower="lab/tower", device="cpu").patches == 16
    assert set(wanted) == set(places) and "*.safetensors" in wanted["lab/model"]["allow_patterns"]
    assert not any(pattern.endswith((".bin", ".py")) for pattern in wanted["lab/model"]["allow_patterns"])


def test_an_unknown_hub_model_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*args: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: type("Api", (), {"model_info": refuse})())
    with pytest.raises(UserError, match="neither a folder here nor could it be downloaded from the hub"):
        load_model("nobody/no-such-model", device="cpu")
    with pytest.raises(UserError, match="not a folder and no hub id"):
        load_model("no-such-folder", device="cpu")


def test_the_sample_is_the_same_each_time_and_replaces_nothing(tmp_path: Path) -> None:
    first, second = (sample_model.draw(tmp_path / name) for name in ("a", "b"))
    assert (first / "pytorch_model.bin").stat().st_size == (second / "pytorch_model.bin").stat().st_size
    assert (first / "tokenizer.model").read_bytes() == (second / "tokenizer.model").read_bytes()
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="is no drawn model"):
        sample_model.draw(tmp_path / "mine")
