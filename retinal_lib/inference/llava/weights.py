"""Weights of LLaVA-v0 models under the names that transformers' Llava class stores, read and checked one file at a time."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration

from retinal_lib.display import progress
from retinal_lib.errors import UserError
from retinal_lib.inference.llava.checkpoint import Checkpoint, read_tensors, tensor_names

_STALE = re.compile(r"(\.|^)(rotary_emb\.inv_freq|embeddings\.position_ids)$")  # computed anew by today's classes
_TEXT_TOWER = re.compile(r"^(text_model\.|logit_scale$|visual_projection\.|text_projection\.)")  # of a whole CLIP
_PROJECTOR = re.compile(r"^(?:model\.)?mm_projector\.(weight|bias)$")
_TOWER = re.compile(r"^(?:model\.)?vision_tower\.(?:0\.)?(?:vision_tower\.)?(vision_model\..+)$")
_LLAMA = re.compile(r"^(model\.(?:embed_tokens|layers|norm)\..+|lm_head\.weight)$")
Shapes = dict[str, tuple[int, ...]]
Rename = Callable[[str], str | None]  # a stored name -> the name in transformers; None: the tensor is not needed


def shapes(config: LlavaConfig) -> Shapes:
    """Lists every weight of a model, by stored name, with its shape; nothing is allocated."""
    with torch.device("meta"):
        llava = LlavaForConditionalGeneration(config)
    return {_stored_name(name): tuple(tensor.shape) for name, tensor in llava.state_dict().items()}


def _stored_name(name: str) -> str:
    """The name in files of a weight of the loaded class; the class names some parts by version of transformers."""
    part, _, rest = name.removeprefix("model.").partition(".")
    if part == "vision_tower":
        return f"vision_tower.vision_model.{rest.removeprefix('vision_model.')}"
    if part == "language_model":
        return f"language_model.model.{rest.removeprefix('model.')}"
    return f"language_model.{part}.{rest}" if part == "lm_head" else f"{part}.{rest}"


def count(shapes: Shapes) -> int:
    """Counts the numbers in a model's weights."""
    return sum(torch.Size(shape).numel() for shape in shapes.values())


def rename_tower(name: str) -> str | None:
    """Renames a weight of a CLIP vision tower; None where it is not needed."""
    if _STALE.search(name) or _TEXT_TOWER.match(name):
        return None
    return f"vision_tower.{name}" if name.startswith("vision_model.") else f"vision_tower.vision_model.{name}"


def rename(name: str) -> str | None:
    """Renames a LLaVA-v0 weight; None where it is computed anew. UserError: LLaVA-v0 has no such weight."""
    if _STALE.search(name):
        return None
    if match := _PROJECTOR.match(name):
        return f"multi_modal_projector.linear_1.{match[1]}"
    if match := _TOWER.match(name):
        return rename_tower(match[1])
    if _LLAMA.match(name):
        return f"language_model.{name}"
    raise UserError(f"the weights hold {name!r}, which no LLaVA-v0 model has; its answers could not be trusted without it")


def rename_projector(name: str) -> str | None:
    """Renames a weight of a separate projector file; such files may bring embeddings as well."""
    return rename(name if "mm_projector." in name or name.startswith("model.") else f"mm_projector.{name}")


def read_weights(checkpoint: Checkpoint, shapes: Shapes) -> Iterator[dict[str, torch.Tensor]]:
    """Reads the weights under the names in `shapes`, file by file, the second half of the projector last.

    UserError: a file is damaged, or a weight has the wrong shape, is unknown or is missing.
    """
    seen: set[str] = set()
    projector = checkpoint.projector
    replaced = {rename_projector(name) for name in tensor_names(projector)} if projector else set()
    for path, new_name in progress(_files(checkpoint), "weight files read"):
        tensors = {}
        for stored, tensor in read_tensors(path).items():
            name = new_name(stored)
            if name is None or (name in replaced and path != projector):
                continue
            _check(stored, name, tensor, shapes, path)
            tensors[name] = tensor
        seen |= set(tensors)
        yield tensors
    if not checkpoint.converted:
        tensors = _identity(checkpoint)
        seen |= set(tensors)
        yield tensors
    if missing := [name for name in shapes if name not in seen]:
        raise UserError(_incomplete(missing, checkpoint))


def _files(checkpoint: Checkpoint) -> list[tuple[Path, Rename]]:
    """The files, each with the function that renames its weights; later files win."""
    own: Rename = str if checkpoint.converted else rename
    files = [(path, own) for path in checkpoint.shards] + [(path, rename_tower) for path in checkpoint.tower_shards]
    return files + ([(checkpoint.projector, rename_projector)] if checkpoint.projector else [])


def _check(stored: str, name: str, tensor: torch.Tensor, shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    if name not in shapes:
        raise UserError(f"{path}: config.json has no place for the weight {stored}; it belongs to another model")
    if tuple(tensor.shape) != shapes[name]:
        raise UserError(
            f"{path}: {stored} has the shape {list(tensor.shape)}, by the config it must be {list(shapes[name])}; "
            "the file and config.json are of different models"
        )


def _incomplete(missing: list[str], checkpoint: Checkpoint) -> str:
    first = f"{len(missing)} weights are missing, the first {missing[0]}"
    if all(name.startswith("vision_tower") for name in missing):
        folder = checkpoint.tower_folder or checkpoint.folder
        return f"{folder} holds no complete vision tower: {first}; pass vision_tower"
    if all(name.startswith("multi_modal") for name in missing):
        return f"{checkpoint.folder} holds no projector: {first}; pass mm_projector, the mm_projector.bin that belongs to it"
    return f"{checkpoint.folder} is not complete: {first}; download it again"


def _identity(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The second layer of transformers' projector as an identity, exact to the bit: LLaVA-v0 has one layer."""
    text = checkpoint.text_config
    size, base = text["hidden_size"], "multi_modal_projector.linear_2"
    stored = str(text.get("torch_dtype") or text.get("dtype") or "float16").removeprefix("torch.")
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(stored, torch.float16)
    return {f"{base}.weight": torch.eye(size, dtype=dtype), f"{base}.bias": torch.zeros(size, dtype=dtype)}
