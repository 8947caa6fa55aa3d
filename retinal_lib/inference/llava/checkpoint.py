"""A model on disk or on the hub: which files it has, which are missing, and what its config says."""

import hashlib
import json
import pickle
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from retinal_lib.errors import UserError

_SMALL = ("*.json", "tokenizer.model", "*.jinja")
_NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.(bin|safetensors)")
_LLAMA = {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"}
# towers that models bring without their config
_LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14}
_KNOWN = {
    "clip-vit-large-patch14": _LARGE | {"image_size": 224, "projection_dim": 768, "hidden_act": "quick_gelu"},
    "clip-vit-large-patch14-336": _LARGE | {"image_size": 336, "projection_dim": 768, "hidden_act": "quick_gelu"},
}
_CLIP = {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size"}


@dataclass(frozen=True)
class Found:
    """A model's files. `config` is the language model's in LLaVA-v0 form or the whole of a converted folder; `tower_folder`
    is None where the tower's weights lie among the model's."""

    folder: Path
    config: dict
    converted: bool
    shards: tuple[Path, ...]
    tower_folder: Path | None
    tower_config: dict
    tower_shards: tuple[Path, ...]
    projector: Path | None

    @property
    def text(self) -> dict:
        """The language model's part of the config."""
        return self.config["text_config"] if self.converted else self.config

    @property
    def patches(self) -> int:
        """How many tokens an image takes."""
        return (self.tower_config["image_size"] // self.tower_config["patch_size"]) ** 2

    @property
    def select_layer(self) -> int:
        """Which of the tower's hidden states is used; LLaVA-v0 means -1 where it says nothing."""
        key = "vision_feature_layer" if self.converted else "mm_vision_select_layer"
        return self.config.get(key, -2 if self.converted else -1)

    @property
    def eos(self) -> frozenset[int]:
        """The ids that end what the model writes: generation_config.json goes before the config, as in `generate`."""
        file = self.folder / "generation_config.json"
        held = _read_json(file).get("eos_token_id") if file.is_file() else None
        held = self.text.get("eos_token_id") if held is None else held
        return frozenset(held if isinstance(held, list) else [] if held is None else [held])

    @property
    def start_end(self) -> bool:
        """Whether an image's tokens stand between marks."""
        return bool(self.config.get("mm_use_im_start_end", False))

    @property
    def fingerprint(self) -> str:
        """What tells this model from another: its config, and its files with their sizes."""
        sizes = [(path.name, path.stat().st_size) for path in self.files]
        return hashlib.sha256(json.dumps([self.config, sizes], sort_keys=True).encode()).hexdigest()[:12]

    @property
    def files(self) -> tuple[Path, ...]:
        """All files with weights."""
        return (*self.shards, *self.tower_shards, *([self.projector] if self.projector else []))


def find(model_name: str | Path, vision_tower: str | Path | None = None, mm_projector: str | Path | None = None) -> Found:
    """The files of a model by folder or hub id. UserError: which is missing, and where to get it."""
    folder = _local(model_name, "the model")
    config = read_config(folder)
    if config.get("model_type") not in ("llava", "llava_llama", "llama"):
        raise UserError(f"{folder}: model_type is {config.get('model_type')!r}; expected a LLaVA model on LLaMA")
    converted = "text_config" in config
    if wanted := sorted(_LLAMA - set(config["text_config"] if converted else config)):
        raise UserError(f"{folder / 'config.json'} does not say {', '.join(wanted)}")
    found = shards(folder)
    projector = Path(mm_projector).expanduser() if mm_projector else None
    if projector is None and (folder / "mm_projector.bin").is_file():
        projector = folder / "mm_projector.bin"
    if projector is not None and not projector.is_file():
        raise UserError(f"mm_projector {projector} is not a file; give the mm_projector.bin that belongs to the model")
    if converted:
        return Found(folder, config, True, found, None, config["vision_config"], (), projector)
    name = vision_tower or config.get("mm_vision_tower")
    if "biomedclip" in str(name).casefold():
        raise UserError(f"the vision tower {name} is a BiomedCLIP, whose form differs; only CLIP towers can be used")
    inside = vision_tower is None and any("vision_tower" in key for key in _named(folder))
    own = _inside_config(folder) or _KNOWN.get(Path(str(name)).name, {}) if inside else {}
    tower = None if own else _tower(name, folder)
    held = read_config(tower) if tower else own
    held = held.get("vision_config", held) | ({} if "vision_config" not in held else {"model_type": "clip_vision_model"})
    if wanted := sorted(_CLIP - set(held)):
        raise UserError(f"{tower or folder}: the vision tower's config does not say {', '.join(wanted)}; is it a CLIP tower?")
    return Found(folder, config, False, found, tower, held, shards(tower) if tower and not inside else (), projector)


def read_config(folder: Path) -> dict:
    """A folder's config.json. UserError: it is not there or not readable."""
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"{folder} has no config.json; it is no model's folder, or its download is not complete")
    return _read_json(file)


def _read_json(file: Path) -> dict:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is not readable as JSON ({error})") from error
    if not isinstance(held, dict):
        raise UserError(f"{file}: expected a mapping")
    return held


def shards(folder: Path) -> tuple[Path, ...]:
    """The files with a folder's weights. UserError: there are none, or some of a set are missing."""
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (folder / index).is_file():
            return _complete(folder, sorted(set(_weight_map(folder / index).values())), index)
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return (folder / name,)
    numbered = [m for path in sorted(folder.iterdir()) if (m := _NUMBERED.fullmatch(path.name))]
    if numbered:
        stem, _, total, kind = numbered[0].groups()
        names = [f"{stem}-{i:05d}-of-{total}.{kind}" for i in range(1, int(total) + 1)]
        return _complete(folder, names, "their numbers")
    raise UserError(
        f"{folder} has no weights: expected model.safetensors, pytorch_model.bin, or numbered parts of them; "
        "is the download complete (with git: git lfs pull)?"
    )


def _complete(folder: Path, names: list[str], by: str) -> tuple[Path, ...]:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of {len(names)} weight files are missing by {by}, the first {missing[0]}; "
            "download them again"
        )
    return tuple(folder / name for name in names)


def _weight_map(index: Path) -> dict[str, str]:
    try:
        held = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{index} is not readable as an index of weights ({error})") from error
    return {str(key): str(value) for key, value in held.items()}


def _named(folder: Path) -> Iterable[str]:
    """The names of a folder's weights."""

    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (folder / index).is_file():
            return _weight_map(folder / index)
    return [name for path in shards(folder) for name in names(path)]


def _inside_config(folder: Path) -> dict:
    """The config of a tower whose weights lie among the model's, where the folder brings one."""
    held = read_config(folder).get("vision_config")
    return held if isinstance(held, dict) else {}


def _tower(name: str | Path | None, folder: Path) -> Path:
    if not name:
        raise UserError(f"{folder / 'config.json'} names no vision tower; give vision_tower, a CLIP model's folder or hub id")
    near = [folder / name, folder.parent / name, folder / Path(name).name, folder.parent / Path(name).name]
    for place in (Path(name).expanduser(), *near):
        if (place / "config.json").is_file():
            return place
    if Path(name).is_absolute() or str(name).count("/") != 1:
        raise UserError(
            f"the vision tower {name} is not there; LLaVA-v0 models do not bring theirs: "
            "pass vision_tower, most often openai/clip-vit-large-patch14 (1.7 GB) or a copy of it"
        )
    return _local(name, "the vision tower")


def _local(name: str | Path, what: str) -> Path:
    """The folder of that name, or the hub's files, downloaded. UserError: there is neither, or no room."""
    place = Path(name).expanduser()
    if place.is_dir():
        return place.absolute()
    if place.is_absolute() or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
        raise UserError(f"{what} {name} is not a folder and no hub id such as owner/name; give the folder with its config.json")
    return _download(str(name), what)


def _download(name: str, what: str) -> Path:
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        try:
            sizes = {f.rfilename: f.size or 0 for f in HfApi().model_info(name, files_metadata=True).siblings}
        except (OSError, HfHubHTTPError, RuntimeError):
            return Path(snapshot_download(name, local_files_only=True))
        kind = "safetensors" if any(file.endswith(".safetensors") for file in sizes) else "bin"
        needed = sum(size for file, size in sizes.items() if "/" not in file and file.endswith((kind, ".json", ".model")))
        room(Path(constants.HF_HUB_CACHE), needed, f"downloading {name}")
        return Path(snapshot_download(name, allow_patterns=[*_SMALL, f"*.{kind}"], ignore_patterns=["*/*", "flax*", "tf_*"]))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError, RuntimeError) as error:
        raise UserError(
            f"{what} {name} is neither a folder here nor could it be had from the hub ({type(error).__name__}); "
            "check the name and the network, or download it elsewhere and give its folder"
        ) from error


def room(folder: Path, needed: int, what: str) -> None:
    """UserError: the disk of a folder has less than `needed` bytes free."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(f"{what} needs {gigabytes(needed)} of disk, {folder} has {gigabytes(free)} free")


def gigabytes(count: float) -> str:
    """A number of bytes as text."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def read(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of one file; they are read from disk as they are used, where the file's form allows.

    UserError: the file is damaged, or wants to run code."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(str(path), "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        try:
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap can only be used" not in str(error):
                raise
            held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error).casefold() and ("GLOBAL" in str(error) or "Unsupported" in str(error)):
            raise UserError(f"{path} holds more than tensors: it asks to run code when opened, so it is not opened") from error
        raise UserError(f"{path} is damaged: {_first(error)}; download it again") from error
    except (RuntimeError, OSError, EOFError, ValueError, SafetensorError) as error:
        raise UserError(f"{path} is damaged: {_first(error)}; download it again") from error
    held = held.get("state_dict", held) if isinstance(held, dict) else held
    if not isinstance(held, dict) or not all(isinstance(value, torch.Tensor) for value in held.values()):
        raise UserError(f"{path} does not hold tensors by name")
    return held


def _first(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160] if str(error).strip() else 'no reason given'}"


def names(path: Path) -> list[str]:
    """The names of the tensors in one file."""
    return list(read(path))
