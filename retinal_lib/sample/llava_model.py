"""Draws a tiny LLaVA-v0 model with random weights, in the form such models are published: its answers are noise.

It has everything that a real one has, some ten thousand times smaller, so that loading, asking and notebooks can be tried."""

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from retinal_lib.sample.draw import draw_once

_WORDS = """A chat between a curious human and an artificial intelligence assistant. The assistant gives
helpful, detailed, and polite answers to the human's questions. ###Human: Hi! ###Assistant: Hi
there! How can I help you today? Please describe this retinal image in detail. Is there any sign of
diabetic retinopathy in this fundus photograph? It shows moderate non-proliferative diabetic
retinopathy with microaneurysms, haemorrhages and hard exudates near the macula. The optic disc and
the vessels look normal. The grade of diabetic retinopathy is 2 on the International Clinical
Diabetic Retinopathy scale (0 to 4). The vessel density is 0.0712 and the fractal dimension 1.432
over the whole image. Which eye is it, left or right? The image quality is good."""


@dataclass(frozen=True)
class Shape:
    """The size and the published form of a model to draw.

    `hidden`, `layers`, `heads`, `inner`, `vocab`: the language model's; `clip`, `clip_layers`, `image`, `patch`: the vision
    tower's, the last two in pixels; `start_end`: whether it knows <im_start> and <im_end>; `tower`: apart (a folder beside the
    checkpoint), inside, or none; `projector`: inside or apart; `shards`: number of weight files; `safetensors`: their form."""

    seed: int = 0
    hidden: int = 64
    layers: int = 2
    heads: int = 4
    inner: int = 172
    clip: int = 32
    clip_layers: int = 3
    image: int = 56
    patch: int = 14
    vocab: int = 384
    start_end: bool = True
    tower: str = "apart"
    projector: str = "inside"
    shards: int = 1
    safetensors: bool = False
    dtype: str = "float16"
    words: str = ""  # sentences from which its tokens are made; its own where there are none


def draw(folder: str | Path, shape: Shape | None = None) -> Path:
    """Draws the model into `folder` (`checkpoint/`, and `vision-tower/` beside it) and returns the checkpoint's folder.

    A folder that holds this sample already is left as it is. UserError: it holds something else."""
    shape = shape or Shape()
    return draw_once(Path(folder), asdict(shape), lambda made: _write(made, shape), "model") / "checkpoint"


def _write(folder: Path, shape: Shape) -> None:
    (folder / "checkpoint").mkdir()
    generator = torch.Generator().manual_seed(shape.seed)
    added = ["[PAD]", "<im_patch>", *(["<im_start>", "<im_end>"] if shape.start_end else [])]
    _tokenizer(folder / "checkpoint", shape, added)
    weights = _language(shape, shape.vocab + len(added), generator)
    tower, projector = _tower(shape, generator), _projector(shape, generator)
    config = _config(shape, shape.vocab + len(added))
    if shape.tower == "inside":
        weights |= {f"model.vision_tower.{name}": tensor for name, tensor in tower.items()}
        config["vision_config"] = _tower_config(shape)
    if shape.tower == "apart":
        (folder / "vision-tower").mkdir()
        _json(folder / "vision-tower" / "config.json", _tower_config(shape))
        torch.save(tower, folder / "vision-tower" / "pytorch_model.bin")
    if shape.projector == "inside":
        weights |= projector
    else:
        torch.save(projector, folder / "mm_projector.bin")
    _json(folder / "checkpoint" / "config.json", config)
    _save(folder / "checkpoint", weights, shape)


def _config(shape: Shape, vocab: int) -> dict:
    return {
        "architectures": ["LlavaLlamaForCausalLM"],
        "model_type": "llava",
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": -1,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "max_position_embeddings": 2048,
        "mm_hidden_size": shape.clip,
        "mm_use_im_start_end": shape.start_end,
        "mm_vision_select_layer": -2,
        "mm_vision_tower": "vision-tower" if shape.tower != "none" else "openai/no-such-tower",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "rms_norm_eps": 1e-06,
        "tie_word_embeddings": False,
        "torch_dtype": shape.dtype,
        "transformers_version": "4.28.0.dev0",
        "use_mm_proj": True,
        "vocab_size": vocab,
    }


def _tower_config(shape: Shape) -> dict:
    return {
        "model_type": "clip_vision_model",
        "hidden_act": "quick_gelu",
        "hidden_size": shape.clip,
        "image_size": shape.image,
        "intermediate_size": 3 * shape.clip,
        "layer_norm_eps": 1e-05,
        "num_attention_heads": 4,
        "num_channels": 3,
        "num_hidden_layers": shape.clip_layers,
        "patch_size": shape.patch,
        "projection_dim": shape.clip,
    }


def _tokenizer(folder: Path, shape: Shape, added: list[str]) -> None:
    from sentencepiece import SentencePieceTrainer

    model, size = io.BytesIO(), shape.vocab
    sentences = shape.words or _WORDS.replace("\n", " ").replace(". ", ".\n")
    SentencePieceTrainer.train(
        sentence_iterator=iter(sentences.split("\n") * 4),
        model_writer=model,
        vocab_size=size,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    _json(folder / "added_tokens.json", {name: size + i for i, name in enumerate(added)})
    special = {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "[PAD]", "unk_token": "<unk>"}
    _json(folder / "special_tokens_map.json", special)


def _language(shape: Shape, vocab: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    hidden, inner = shape.hidden, shape.inner
    tensors = {"model.embed_tokens.weight": _random(generator, vocab, hidden, scale=1.0)}
    for i in range(shape.layers):
        at = f"model.layers.{i}"
        tensors |= {f"{at}.self_attn.{part}_proj.weight": _random(generator, hidden, hidden) for part in "qkvo"}
        tensors |= {f"{at}.mlp.{part}_proj.weight": _random(generator, inner, hidden) for part in ("gate", "up")}
        tensors[f"{at}.mlp.down_proj.weight"] = _random(generator, hidden, inner)
        tensors |= {f"{at}.{norm}.weight": torch.ones(hidden) for norm in ("input_layernorm", "post_attention_layernorm")}
        tensors[f"{at}.self_attn.rotary_emb.inv_freq"] = torch.ones(hidden // shape.heads // 2)  # unused, as published
    head = _random(generator, vocab, hidden)
    head[:259] = head[shape.vocab :] = 0  # so that it writes pieces of words, not bytes and marks
    tensors |= {"model.norm.weight": torch.ones(hidden), "lm_head.weight": head}
    return {name: tensor.to(getattr(torch, shape.dtype)) for name, tensor in tensors.items()}


def _projector(shape: Shape, generator: torch.Generator) -> dict[str, torch.Tensor]:
    tensors = {"weight": _random(generator, shape.hidden, shape.clip), "bias": _random(generator, shape.hidden)}
    return {f"model.mm_projector.{name}": tensor.to(getattr(torch, shape.dtype)) for name, tensor in tensors.items()}


def _tower(shape: Shape, generator: torch.Generator) -> dict[str, torch.Tensor]:
    clip, count = shape.clip, (shape.image // shape.patch) ** 2 + 1
    tensors = {
        "embeddings.class_embedding": _random(generator, clip),
        "embeddings.patch_embedding.weight": _random(generator, clip, 3, shape.patch, shape.patch, scale=0.05),
        "embeddings.position_embedding.weight": _random(generator, count, clip, scale=0.1),
        "embeddings.position_ids": torch.arange(count)[None],
    }
    sides = {f"self_attn.{part}_proj": (clip, clip) for part in ("q", "k", "v", "out")}
    sides |= {"mlp.fc1": (3 * clip, clip), "mlp.fc2": (clip, 3 * clip)}
    norms = ["pre_layrnorm", "post_layernorm"]
    for i in range(shape.clip_layers):
        for part, size in sides.items():
            tensors[f"encoder.layers.{i}.{part}.weight"] = _random(generator, *size)
            tensors[f"encoder.layers.{i}.{part}.bias"] = torch.zeros(size[0])
        norms += [f"encoder.layers.{i}.layer_norm{n}" for n in (1, 2)]
    for norm in norms:
        tensors |= {f"{norm}.weight": torch.ones(clip), f"{norm}.bias": torch.zeros(clip)}
    return {f"vision_model.{n}": t if t.dtype == torch.int64 else t.to(getattr(torch, shape.dtype)) for n, t in tensors.items()}


def _random(generator: torch.Generator, *size: int, scale: float | None = None) -> torch.Tensor:
    return torch.randn(*size, generator=generator) * (scale or 1.4 * size[-1] ** -0.5)


def _save(folder: Path, weights: dict[str, torch.Tensor], shape: Shape) -> None:
    from safetensors.torch import save_file

    ending, stem = ("safetensors", "model") if shape.safetensors else ("bin", "pytorch_model")
    names, weight_map = list(weights), {}
    for i in range(shape.shards):
        part = {name: weights[name] for name in names[i :: shape.shards]}
        name = f"{stem}-{i + 1:05d}-of-{shape.shards:05d}.{ending}" if shape.shards > 1 else f"{stem}.{ending}"
        weight_map |= dict.fromkeys(part, name)
        if shape.safetensors:
            save_file(part, str(folder / name), metadata={"format": "pt"})
        else:
            torch.save(part, folder / name)
    if shape.shards > 1:
        _json(folder / f"{stem}.{ending}.index.json", {"metadata": {}, "weight_map": weight_map})


def _json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
