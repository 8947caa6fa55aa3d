"""A model's files on disk or on the Hugging Face hub: which there are, which are missing, what they say and hold."""

import hashlib
import json
import pickle
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import torch
from safetensors import SafetensorError, safe_open

from retinal_lib import typed_paths
from retinal_lib.display import Bar, count
from retinal_lib.errors import UserError, quoted
from retinal_lib.files import file_sha256, git_lfs_pointer, read_object

_SMALL = ("*.json", "tokenizer.model", "*.jinja", "merges.txt")
_ADAPTER = "adapter_config.json"
_NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.(bin|safetensors)")
_LARGEST_SIZE, _MOST_LAYERS = 10_000_000, 1_000
_LLAMA = {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"}
# towers that lie among a model's weights without a config of their own
_LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14}
_KNOWN_TOWERS = {
    "clip-vit-large-patch14": _LARGE | {"image_size": 224, "projection_dim": 768, "hidden_act": "quick_gelu"},
    "clip-vit-large-patch14-336": _LARGE | {"image_size": 336, "projection_dim": 768, "hidden_act": "quick_gelu"},
}
_CLIP = {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size"}


@dataclass(frozen=True)
class Checkpoint:
    """A model's files. `config` is in LLaVA-v0 form, or in transformers' form where the folder was `converted`; `tower_folder`
    is None where the vision tower's weights lie among the model's. `llava`: it is a LLaVA-v0 model, converted or not; of other
    models, transformers reads all but the weights' names. `adapter` is the folder of a LoRA to merge into it."""

    folder: Path
    config: dict
    converted: bool
    shards: tuple[Path, ...]
    tower_folder: Path | None
    tower_config: dict
    tower_shards: tuple[Path, ...]
    projector: Path | None
    llava: bool = True
    adapter: Path | None = None

    @property
    def name(self) -> str:
        """What the model is called: its folder, or that of its adapter."""
        return (self.adapter or self.folder).name

    @property
    def identity(self) -> str:
        """A name that differs between any two models: the folder's, and a hash of the weights."""
        return f"{self.name} {self.fingerprint}"

    @property
    def text_config(self) -> dict:
        """The language model's part of the config."""
        return self.config["text_config"] if self.converted else self.config

    @property
    def patches(self) -> int:
        """The number of tokens that stand for an image."""
        return (self.tower_config["image_size"] // self.tower_config["patch_size"]) ** 2

    @property
    def select_layer(self) -> int:
        """The index of the tower's hidden state that is used; in LLaVA-v0 a missing key means -1."""
        key = "vision_feature_layer" if self.converted else "mm_vision_select_layer"
        return self.config.get(key, -2 if self.converted else -1)

    @property
    def eos(self) -> frozenset[int]:
        """The token ids that end an answer; generation_config.json takes precedence over the config, as in `generate`.
        UserError: they are no ids."""
        file = self.folder / "generation_config.json"
        ids = read_object(file).get("eos_token_id") if file.is_file() else None
        ids = self.text_config.get("eos_token_id") if ids is None else ids
        ids = ids if isinstance(ids, list) else [] if ids is None else [ids]
        if not all(type(each) is int for each in ids):
            raise UserError(f"{self.folder}: eos_token_id is {quoted(ids)}; expected token ids, which are whole numbers")
        return frozenset(ids)

    @property
    def start_end(self) -> bool:
        """Whether <im_start> and <im_end> surround an image's tokens."""
        return bool(self.config.get("mm_use_im_start_end", False))

    @property
    def fingerprint(self) -> str:
        """A hash of the config and of all weights: a model that was trained further has another one. It reads every file once
        (13 GB: about 20 seconds from a fast disk)."""
        digests = []
        with Bar(len(self.files), "weight files read to tell this model from others") as bar:
            for done, path in enumerate(self.files, start=1):
                digests.append(file_sha256(path))
                bar.show(done)
        return hashlib.sha256(json.dumps([self.config, digests], sort_keys=True).encode()).hexdigest()[:12]

    @property
    def files(self) -> tuple[Path, ...]:
        """All files with weights."""
        adapter = sorted(self.adapter.glob("adapter_*")) if self.adapter else []
        return (*self.shards, *self.tower_shards, *([self.projector] if self.projector else []), *adapter)


def find(model_name: str | Path, vision_tower: str | Path | None = None, mm_projector: str | Path | None = None) -> Checkpoint:
    """Finds a model's files, by folder or hub id. UserError: a file is missing; says which, and where to get it."""
    given = _local_folder(model_name, "the model")
    folder = _base_of(given) if (given / _ADAPTER).is_file() else given
    adapter = None if folder == given else given
    config = read_config(folder)
    converted = "text_config" in config
    own = "mm_use_im_start_end" in config  # `convert` keeps it
    if config.get("model_type") not in ("llava", "llava_llama", "llama") or (converted and not own):
        if wrong := vision_tower or mm_projector:
            raise UserError(f"{folder} is no LLaVA-v0 model: it brings its own vision tower and projector; leave out {wrong}")
        return Checkpoint(folder, config, True, find_shards(folder), None, {}, (), None, False, adapter)
    found = _find_llava(folder, config, converted, vision_tower, mm_projector)
    return replace(found, adapter=adapter)


def _base_of(adapter: Path) -> Path:
    """The folder of the model that an adapter was trained on. UserError: it is not there."""
    file = adapter / _ADAPTER
    if (adapter / "config.json").is_file():
        raise UserError(
            f"{adapter} holds a whole model (config.json) and an adapter ({file.name}); leave only what is to be used"
        )
    base = read_object(file).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise UserError(f"{file} does not say on which model it was trained (base_model_name_or_path); write its folder there")
    for near in (adapter / base, adapter.parent / base, adapter.parent / Path(base).name):
        if (near / "config.json").is_file():
            return near
    return _local_folder(base, f"the model of the adapter {adapter} (base_model_name_or_path in {file.name})")


def _find_llava(
    folder: Path, config: dict, converted: bool, vision_tower: str | Path | None, mm_projector: str | Path | None
) -> Checkpoint:
    """The files of a LLaVA-v0 model. UserError: as in `find`."""
    _check_sizes(folder / "config.json", config["text_config"] if converted else config, _LLAMA)
    shards = find_shards(folder)
    projector = typed_paths.expand(mm_projector) if mm_projector else None
    if projector is None and (folder / "mm_projector.bin").is_file():
        projector = folder / "mm_projector.bin"
    if projector is not None and not projector.is_file():
        raise UserError(f"mm_projector {projector} is not a file; give the mm_projector.bin that belongs to the model")
    if converted:
        return _checked(Checkpoint(folder, config, True, shards, None, config["vision_config"], (), projector))
    tower = vision_tower or config.get("mm_vision_tower")
    if not isinstance(tower, str | Path | None):
        raise UserError(f"{folder / 'config.json'}: mm_vision_tower is {quoted(tower)}; expected a folder or hub id")
    if "biomedclip" in str(tower).casefold():
        raise UserError(f"the vision tower {tower} is a BiomedCLIP, whose form differs; only CLIP towers can be used")
    inside = vision_tower is None and any("vision_tower" in name for name in _stored_names(folder))
    tower_config = config.get("vision_config") or _KNOWN_TOWERS.get(Path(str(tower)).name) if inside else None
    tower_folder = None if tower_config else _find_tower(tower, folder)
    tower_config = tower_config or read_config(tower_folder)
    if "vision_config" in tower_config:  # a whole CLIP
        tower_config = tower_config["vision_config"]
    tower_shards = () if inside else find_shards(tower_folder)
    return _checked(Checkpoint(folder, config, False, shards, tower_folder, tower_config, tower_shards, projector))


def _checked(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint. UserError: its vision tower is no CLIP tower, or has not the layer that the model uses."""
    tower = checkpoint.tower_config
    _check_sizes(f"{checkpoint.tower_folder or checkpoint.folder}: the vision tower's config", tower, _CLIP)
    layer, layers = checkpoint.select_layer, tower["num_hidden_layers"]
    if type(layer) is not int or not -layers - 1 <= layer <= layers:
        raise UserError(f"{checkpoint.folder / 'config.json'}: layer {quoted(layer)} of a tower of {layers} layers is used")
    return checkpoint


def _check_sizes(where: str | Path, config: object, names: set[str]) -> None:
    """Checks the sizes in a config. UserError: one is missing or impossible."""
    if not isinstance(config, dict):
        raise UserError(f"{where}: found {type(config).__name__}; expected an object")
    if missing := sorted(names - set(config)):
        raise UserError(f"{where} does not say {', '.join(missing)}; is the folder that of a LLaVA model or CLIP tower?")
    for name in sorted(names):
        most = _MOST_LAYERS if name == "num_hidden_layers" else _LARGEST_SIZE
        if type(config[name]) is not int or not 0 < config[name] <= most:
            raise UserError(f"{where}: {name} is {quoted(config[name])}; expected a number from 1 to {most:,}")
    if config["hidden_size"] % config["num_attention_heads"]:
        raise UserError(f"{where}: hidden_size {config['hidden_size']} is no multiple of {config['num_attention_heads']} heads")


def read_config(folder: Path) -> dict:
    """Reads a folder's config.json. UserError: it is not there or not readable."""
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"{folder} has no config.json: it is not a model's folder, or its download is not complete")
    return read_object(file)


def find_shards(folder: Path) -> tuple[Path, ...]:
    """Finds the files with a folder's weights. UserError: there are none, or some of a set are missing."""
    if index := _index(folder):
        return _complete(folder, sorted(set(_weight_map(index).values())), index.name)
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return (folder / name,)
    numbered = [m for path in sorted(folder.iterdir()) if (m := _NUMBERED.fullmatch(path.name))]
    if numbered:
        stem, _, total, ending = numbered[0].groups()
        names = [f"{stem}-{i:05d}-of-{total}.{ending}" for i in range(1, int(total) + 1)]
        return _complete(folder, names, "their numbers")
    raise UserError(
        f"{folder} has no weights: expected model.safetensors, pytorch_model.bin, or numbered parts of them; "
        "is the download complete (with git: git lfs pull)?"
    )


def _complete(folder: Path, names: list[str], by: str) -> tuple[Path, ...]:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of {count(len(names), 'weight file')} are missing by {by}, "
            f"the first {missing[0]}; "
            "download them again"
        )
    return tuple(folder / name for name in names)


def _index(folder: Path) -> Path | None:
    files = (folder / "model.safetensors.index.json", folder / "pytorch_model.bin.index.json")
    return next((file for file in files if file.is_file()), None)


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor name -> file name."""
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise UserError(f"{index} is not an index of weights: it has no weight_map")
    # a downloaded index must not name other files of this machine
    if outside := [file for file in weight_map.values() if not isinstance(file, str) or file != PurePath(file).name]:
        raise UserError(f"{index} names {outside[0]!r}; expected the name of a file in the same folder")
    return {str(name): str(file) for name, file in weight_map.items()}


def _stored_names(folder: Path) -> Iterable[str]:
    """The names of a folder's tensors."""
    if index := _index(folder):
        return _weight_map(index)
    return [name for path in find_shards(folder) for name in tensor_names(path)]


def _find_tower(name: str | Path | None, folder: Path) -> Path:
    if not name:
        raise UserError(f"{folder / 'config.json'} names no vision tower; give vision_tower, a CLIP model's folder or hub id")
    near = [folder / name, folder.parent / name, folder / Path(name).name, folder.parent / Path(name).name]
    for candidate in (typed_paths.expand(name), *near):
        if (candidate / "config.json").is_file():
            return candidate
    if Path(name).is_absolute() or str(name).count("/") != 1:
        raise UserError(
            f"the vision tower {name} is not there; LLaVA-v0 models do not bring theirs: "
            "pass vision_tower, most often openai/clip-vit-large-patch14 (1.7 GB) or a copy of it"
        )
    return _local_folder(name, "the vision tower")


def _local_folder(name: str | Path, what: str) -> Path:
    """The folder of that name, or the hub's files, downloaded. UserError: there is neither, or no disk space."""
    folder = typed_paths.expand(name)
    if folder.is_dir():
        return folder.absolute()
    if folder.is_absolute() or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
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
        ending = "safetensors" if any(file.endswith(".safetensors") for file in sizes) else "bin"
        needed = sum(size for file, size in sizes.items() if "/" not in file and file.endswith((ending, ".json", ".model")))
        require_disk_space(Path(constants.HF_HUB_CACHE), needed, f"downloading {name}")
        return Path(snapshot_download(name, allow_patterns=[*_SMALL, f"*.{ending}"], ignore_patterns=["*/*", "flax*", "tf_*"]))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError, RuntimeError) as error:
        raise UserError(
            f"{what} {name} is neither a folder here nor could it be downloaded from the hub ({type(error).__name__}); "
            "check the name and the network, or download it elsewhere and give its folder"
        ) from error


def require_disk_space(folder: Path, needed: int, what: str) -> None:
    """UserError: the disk of a folder has less than `needed` bytes free."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(f"{what} needs {gigabytes(needed)} of disk, {folder} has {gigabytes(free)} free")


def gigabytes(count: float) -> str:
    """Writes a number of bytes, such as 13.5 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Reads the tensors of one file, by name, in the shapes they were stored; most files are memory-mapped.

    UserError: the file is damaged, or would run code when opened."""
    if pointer := git_lfs_pointer(path):
        raise UserError(f"{path}: {pointer}")
    try:
        if path.suffix == ".safetensors":
            with safe_open(str(path), "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        try:
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap can only be used" not in str(error):
                raise
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error).casefold() and ("GLOBAL" in str(error) or "Unsupported" in str(error)):
            raise UserError(f"{path} holds more than tensors: it asks to run code when opened, so it is not opened") from error
        raise UserError(f"{path} is damaged: {_reason(error)}; download it again") from error
    except (RuntimeError, OSError, EOFError, ValueError, SafetensorError) as error:
        raise UserError(f"{path} is damaged: {_reason(error)}; download it again") from error
    tensors = tensors.get("state_dict", tensors) if isinstance(tensors, dict) else tensors
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise UserError(f"{path} does not hold tensors by name")
    return tensors


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160] if str(error).strip() else 'no reason given'}"


def tensor_names(path: Path) -> list[str]:
    """Lists the names of the tensors in one file. UserError: as in `read_tensors`."""
    return list(read_tensors(path))
