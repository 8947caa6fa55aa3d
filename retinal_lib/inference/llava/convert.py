"""A LLaVA-v0 model written out as a folder that stock transformers opens, without any code of ours."""

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import save_file

from retinal_lib.errors import UserError
from retinal_lib.inference.llava import checkpoint as llava_folder
from retinal_lib.inference.llava import conversation_forms as dialogue
from retinal_lib.inference.llava import tokenizer as llava_tokenizer
from retinal_lib.inference.llava import weights as llava_weights
from retinal_lib.inference.llava.checkpoint import Found
from retinal_lib.inference.llava.pixels import Preparation

_TEXT = (
    "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim hidden_act "
    "max_position_embeddings initializer_range rms_norm_eps rope_scaling rope_theta vocab_size"
).split()
_TOWER = (
    "hidden_size intermediate_size num_hidden_layers num_attention_heads num_channels image_size patch_size "
    "projection_dim hidden_act layer_norm_eps attention_dropout initializer_factor initializer_range"
).split()


def config(found: Found, tokenizer) -> dict:
    """The config.json of today's Llava class for a LLaVA-v0 model; read back unchanged from a converted folder."""
    if found.converted:
        return found.config
    old = found.config
    text = {"model_type": "llama"} | {key: old[key] for key in _TEXT if old.get(key) is not None}
    text |= {"bos_token_id": tokenizer.token_to_id("<s>"), "eos_token_id": old.get("eos_token_id", 2)}
    text |= {"pad_token_id": pad_id(tokenizer), "tie_word_embeddings": False, "use_cache": True}
    text.setdefault("rms_norm_eps", 1e-6)
    tower = {key: found.tower_config[key] for key in _TOWER if found.tower_config.get(key) is not None}
    tower = {"model_type": "clip_vision_model", "hidden_act": "quick_gelu"} | tower
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "image_token_index": tokenizer.token_to_id(dialogue.IMAGE_PATCH),
        "image_seq_length": found.patches,
        "projector_hidden_act": "linear",
        "multimodal_projector_bias": True,
        "vision_feature_layer": found.select_layer,
        "vision_feature_select_strategy": "default",
        "mm_use_im_start_end": found.start_end,
        "tie_word_embeddings": False,
        "torch_dtype": old.get("torch_dtype") or "float16",
        "text_config": text,
        "vision_config": tower,
    }


def pad_id(tokenizer) -> int:
    """The id that fills rows up: [PAD] where there is one."""
    found = tokenizer.token_to_id("[PAD]")
    return tokenizer.token_to_id("<unk>") if found is None else found


def chat_template(found: Found) -> str:
    """A Jinja template with the words of conversation form `simple`; an image's tokens follow the text of its message."""
    told = dialogue.form("simple")
    head = json.dumps(told.prompt([], [], ""), ensure_ascii=False)
    image = json.dumps("\n" + dialogue.image_tokens(1, found.start_end))
    return (
        "{{ bos_token + " + head + " }}"
        "{%- for message in messages %}{%- if message['role'] in ('user', 'assistant') %}"
        "{{ 'Human: ' if message['role'] == 'user' else 'Assistant: ' }}"
        "{%- if message['content'] is string %}{{ message['content'] }}"
        "{%- else %}{%- for part in message['content'] %}{%- if part['type'] == 'text' %}{{ part['text'] }}{%- endif %}"
        "{%- endfor %}{%- for part in message['content'] %}{%- if part['type'] in ('image', 'image_url') %}"
        "{{ " + image + " }}{%- endif %}{%- endfor %}{%- endif %}{{ '###' }}{%- endif %}{%- endfor %}"
    )


def convert(
    model_name: str | Path,
    out: str | Path,
    vision_tower: str | Path | None = None,
    mm_projector: str | Path | None = None,
    bos: str = "script",
) -> Path:
    """Writes the model into the new folder `out` and returns it; one file of weights is in memory at a time.

    UserError: something is missing or damaged (see `load_model`), `out` is not empty, or the disk has no room.
    """
    out = Path(out).expanduser().absolute()
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise UserError(f"{out} exists and is not empty; give a folder that does not exist yet")
    found = llava_folder.find(model_name, vision_tower, mm_projector)
    if found.converted:
        raise UserError(f"{found.folder} is already in the form that transformers opens; load it as it is")
    tokenizer = llava_tokenizer.build(found.folder, found.config["vocab_size"], bos)
    llava_folder.room(out.parent, sum(path.stat().st_size for path in found.files), f"converting {found.folder.name}")
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        made.chmod(0o755)
        _weights(found, made)
        _words(found, tokenizer, made, bos)
        if out.exists():
            out.rmdir()
        made.rename(out)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return out


def _weights(found: Found, made: Path) -> None:
    weight_map: dict[str, str] = {}
    size, written = 0, []
    for _, held in llava_weights.parts(found):
        if not held:
            continue
        name = f"part-{len(written) + 1:05d}.safetensors"
        held = _apart(held)
        save_file(held, str(made / name), metadata={"format": "pt"})
        size += sum(tensor.numel() * tensor.element_size() for tensor in held.values())
        weight_map |= dict.fromkeys(held, name)
        written.append(name)
        del held
    final = {name: f"model-{i:05d}-of-{len(written):05d}.safetensors" for i, name in enumerate(written, start=1)}
    for name, to in final.items():
        (made / name).rename(made / to)
    weight_map = {key: final[name] for key, name in weight_map.items()}
    (made / "model.safetensors.index.json").write_text(llava_weights.index(weight_map, size), encoding="utf-8")


def _apart(held: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors, those that share memory with others copied: they cannot be saved side by side."""
    places = Counter(tensor.untyped_storage().data_ptr() for tensor in held.values())
    shared = {key for key, tensor in held.items() if places[tensor.untyped_storage().data_ptr()] > 1}
    return {key: tensor.clone() if key in shared else tensor.contiguous() for key, tensor in held.items()}


def _words(found: Found, tokenizer, made: Path, bos: str) -> None:
    """Everything but the weights."""
    pad = tokenizer.id_to_token(pad_id(tokenizer))
    special = {"bos_token": "<s>" if bos == "script" else "</s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": pad}
    template = chat_template(found)
    held = config(found, tokenizer)
    held["retinal_lib"] = {"bos": bos, "made_of": {p.name: _sha256(p) for p in found.files}}
    tokenizer_config = {
        **special,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": [t for t in dialogue.RESERVED[:3] if tokenizer.token_to_id(t) is not None],
        "model_max_length": found.text.get("max_position_embeddings", 2048),
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "processor_class": "LlavaProcessor",
        "chat_template": template,
    }
    eos = sorted(found.eos)
    processor = {
        "processor_class": "LlavaProcessor",
        "image_token": dialogue.IMAGE_PATCH,
        "num_additional_image_tokens": 1,
        "patch_size": found.tower_config["patch_size"],
        "vision_feature_select_strategy": "default",
    }
    pixels = preparation(found).config() | {"processor_class": "LlavaProcessor"}
    generation = {"bos_token_id": held["text_config"]["bos_token_id"], "eos_token_id": eos, "pad_token_id": pad_id(tokenizer)}
    files = {
        "config.json": held,
        "generation_config.json": generation | {"do_sample": False},
        "preprocessor_config.json": pixels,
        "processor_config.json": processor,
        "special_tokens_map.json": special,
        "tokenizer_config.json": tokenizer_config,
    }
    for name, content in files.items():
        (made / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (made / "chat_template.jinja").write_text(template, encoding="utf-8")
    tokenizer.save(str(made / "tokenizer.json"))


def preparation(found: Found) -> Preparation:
    """How images are prepared for the model's tower."""
    return Preparation.read(found.folder if found.converted else found.tower_folder, found.tower_config["image_size"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state(found: Found, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """All weights under today's names; those stored in `dtype` stay on disk until they are used."""
    held: dict[str, torch.Tensor] = {}
    for _, part in llava_weights.parts(found):
        held |= {name: tensor if tensor.dtype == dtype else tensor.to(dtype) for name, tensor in part.items()}
    return held
