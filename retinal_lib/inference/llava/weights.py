"""Weights of LLaVA-v0 models under the names of transformers' own Llava class, read and checked one file at a time."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from retinal_lib.errors import UserError
from retinal_lib.inference.llava.checkpoint import Found, names, read

_STALE = re.compile(r"(\.|^)(rotary_emb\.inv_freq|embeddings\.position_ids)$")  # computed anew by today's classes
_TEXT_TOWER = re.compile(r"^(text_model\.|logit_scale$|visual_projection\.|text_projection\.)")  # of a whole CLIP
_PROJECTOR = re.compile(r"^(?:model\.)?mm_projector\.(weight|bias)$")
_TOWER = re.compile(r"^(?:model\.)?vision_tower\.(?:0\.)?(?:vision_tower\.)?(vision_model\..+)$")
_LLAMA = re.compile(r"^(model\.(?:embed_tokens|layers|norm)\..+|lm_head\.weight)$")
_LINEARS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
Shapes = dict[str, tuple[int, ...]]


def tower_name(name: str) -> str | None:
    """Today's name of a tower's weight, None for one that is not needed."""
    if _STALE.search(name) or _TEXT_TOWER.match(name):
        return None
    return f"vision_tower.{name}" if name.startswith("vision_model.") else f"vision_tower.vision_model.{name}"


def name(old: str) -> str | None:
    """Today's name of a LLaVA-v0 weight, None for one that is computed anew. UserError: an unknown one."""
    if _STALE.search(old):
        return None
    if found := _PROJECTOR.match(old):
        return f"multi_modal_projector.linear_1.{found[1]}"
    if found := _TOWER.match(old):
        return tower_name(found[1])
    if _LLAMA.match(old):
        return f"language_model.{old}"
    raise UserError(f"the weights hold {old!r}, which no LLaVA-v0 model has; its answers could not be trusted without it")


def projector_name(old: str) -> str | None:
    """Today's name of a weight in a separate projector file; such files may bring embeddings as well."""
    return name(old if "mm_projector." in old or old.startswith("model.") else f"mm_projector.{old}")


def same_name(old: str) -> str | None:
    """The name of a converted folder's weight."""
    return old


def shapes(found: Found) -> Shapes:
    """Every weight that the model must have, by today's name, with its shape."""
    text, tower = found.text, found.tower_config
    hidden, inner, clip = text["hidden_size"], text["intermediate_size"], tower["hidden_size"]
    heads, size = text["num_attention_heads"], text.get("head_dim") or hidden // text["num_attention_heads"]
    few = (text.get("num_key_value_heads") or heads) * size
    wanted: Shapes = {"language_model.model.embed_tokens.weight": (text["vocab_size"], hidden)}
    for i in range(text["num_hidden_layers"]):
        at = f"language_model.model.layers.{i}"
        sides = [(heads * size, hidden), (few, hidden), (few, hidden), (hidden, heads * size)]
        wanted |= {f"{at}.{linear}.weight": shape for linear, shape in zip(_LINEARS, sides, strict=True)}
        wanted |= {f"{at}.mlp.{part}_proj.weight": (inner, hidden) for part in ("gate", "up")}
        wanted[f"{at}.mlp.down_proj.weight"] = (hidden, inner)
        wanted |= {f"{at}.{norm}.weight": (hidden,) for norm in ("input_layernorm", "post_attention_layernorm")}
    wanted |= {"language_model.model.norm.weight": (hidden,), "language_model.lm_head.weight": (text["vocab_size"], hidden)}
    wanted |= {"multi_modal_projector.linear_1.weight": (hidden, clip), "multi_modal_projector.linear_1.bias": (hidden,)}
    wanted |= {"multi_modal_projector.linear_2.weight": (hidden, hidden), "multi_modal_projector.linear_2.bias": (hidden,)}
    return wanted | _tower_shapes(tower, found.patches)


def _tower_shapes(tower: dict, patches: int) -> Shapes:
    clip, inner, edge = tower["hidden_size"], tower["intermediate_size"], tower["patch_size"]
    base = "vision_tower.vision_model"
    wanted: Shapes = {
        f"{base}.embeddings.class_embedding": (clip,),
        f"{base}.embeddings.patch_embedding.weight": (clip, tower.get("num_channels", 3), edge, edge),
        f"{base}.embeddings.position_embedding.weight": (patches + 1, clip),
    }
    sides = {f"self_attn.{s}_proj": (clip, clip) for s in ("q", "k", "v", "out")}
    sides |= {"mlp.fc1": (inner, clip), "mlp.fc2": (clip, inner), "layer_norm1": (clip,), "layer_norm2": (clip,)}
    parts = {f"encoder.layers.{i}.{part}": shape for i in range(tower["num_hidden_layers"]) for part, shape in sides.items()}
    for part, shape in (parts | {"pre_layrnorm": (clip,), "post_layernorm": (clip,)}).items():
        wanted |= {f"{base}.{part}.weight": shape, f"{base}.{part}.bias": shape[:1]}
    return wanted


def files(found: Found) -> list[tuple[Path, Callable[[str], str | None]]]:
    """The model's files, each with the function that tells today's names; later files win."""
    own = same_name if found.converted else name
    parts = [(path, own) for path in found.shards] + [(path, tower_name) for path in found.tower_shards]
    return parts + ([(found.projector, projector_name)] if found.projector else [])


def parts(found: Found) -> Iterator[tuple[Path, dict[str, torch.Tensor]]]:
    """The weights under today's names, file by file, the second half of the projector last.

    UserError: a file is damaged, a weight has the wrong shape, is unknown or missing.
    """
    wanted, seen = shapes(found), set()
    replaced = {projector_name(old) for old in names(found.projector)} if found.projector else set()
    for path, named in files(found):
        held = {}
        for old, tensor in read(path).items():
            new = named(old)
            if new is None or (new in replaced and path != found.projector):
                continue
            _check(old, new, tensor, wanted, path)
            held[new] = tensor
        seen |= set(held)
        yield path, held
    if not found.converted:
        held = _identity(found.text["hidden_size"], _dtype(found))
        seen |= set(held)
        yield Path("projector"), held
    if missing := [new for new in wanted if new not in seen]:
        raise UserError(_lacking(missing, found))


def _check(old: str, new: str, tensor: torch.Tensor, wanted: Shapes, path: Path) -> None:
    if new not in wanted:
        raise UserError(f"{path}: {old} is a weight that the config leaves no place for; config.json is of another model")
    if tuple(tensor.shape) != wanted[new]:
        raise UserError(
            f"{path}: {old} has the shape {list(tensor.shape)}, by the config it must be {list(wanted[new])}; "
            "the file and config.json are of different models"
        )


def _lacking(missing: list[str], found: Found) -> str:
    first = f"{len(missing)} weights are missing, the first {missing[0]}"
    if all(name.startswith("vision_tower") for name in missing):
        return f"{found.tower_folder or found.folder} holds no complete vision tower: {first}; pass vision_tower"
    if all(name.startswith("multi_modal") for name in missing):
        return f"{found.folder} holds no projector: {first}; pass mm_projector, the mm_projector.bin that belongs to it"
    return f"{found.folder} is not complete: {first}; download it again"


def _dtype(found: Found) -> torch.dtype:
    named = str(found.text.get("torch_dtype") or found.text.get("dtype") or "float16").removeprefix("torch.")
    return getattr(torch, named, torch.float16)


def _identity(size: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The second half of today's projector, so that it does what LLaVA-v0's single one did, bit by bit."""
    base = "multi_modal_projector.linear_2"
    return {f"{base}.weight": torch.eye(size, dtype=dtype), f"{base}.bias": torch.zeros(size, dtype=dtype)}


def count(found: Found) -> int:
    """How many numbers the model's weights are."""
    total = 0
    for shape in shapes(found).values():
        size = 1
        for edge in shape:
            size *= edge
        total += size
    return total


def index(weight_map: dict[str, str], size: int) -> str:
    """The text of a model.safetensors.index.json."""
    return json.dumps({"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}, indent=1) + "\n"
