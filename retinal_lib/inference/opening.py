"""A model's network opened by transformers: on which device, in which numbers, with an adapter merged into it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel
from transformers.utils import logging

from retinal_lib.display import count
from retinal_lib.errors import UserError
from retinal_lib.inference.llava import memory
from retinal_lib.inference.llava.checkpoint import Checkpoint

# parts of image-text models that lose most by 4-bit numbers, by their names in transformers
_NOT_QUANTIZED = ["vision_tower", "vision_model", "visual", "multi_modal_projector", "lm_head"]


@contextmanager
def without_bars() -> Iterator[None]:
    """Keeps transformers from printing tables and bars within the block."""
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


@dataclass(frozen=True)
class Opening:
    """How a network is opened; see `loading.load_model`."""

    device: str = "auto"
    dtype: str = "auto"
    quantize: str | None = None
    attn_implementation: str | None = None
    device_map: str | None = None

    def choose(self, name: str, numbers: int, own: torch.dtype = torch.float16) -> tuple[torch.device, torch.dtype]:
        """Chooses the device and number format for a network of so many weights; on a GPU, `own` is the model's. UserError:
        there is no such device or format, or the memory does not suffice."""
        target = memory.choose_device(self.device)
        number_format = memory.choose_dtype(self.dtype, target, own)
        memory.check_quantize(self.quantize, target)
        if self.device_map is None:
            memory.check_memory(name, numbers, target, number_format, self.quantize)
        return target, number_format

    def open(
        self, kind: type, checkpoint: Checkpoint, target: torch.device, number_format: torch.dtype, **options: object
    ) -> PreTrainedModel:
        """Opens the checkpoint's folder, or the `state_dict` among the options, as a network of a kind, without the tables and
        bars that transformers prints. UserError: weights are missing, or an adapter does not fit."""
        given = {"attn_implementation": self.attn_implementation, "device_map": self.device_map}
        options |= {name: value for name, value in given.items() if value is not None}
        if self.quantize:
            options |= {"device_map": {"": target}, "quantization_config": _four_bit(number_format)}
        source = None if "state_dict" in options else checkpoint.folder
        try:
            with without_bars():
                network, report = kind.from_pretrained(source, output_loading_info=True, dtype=number_format, **options)
        except (ValueError, ImportError) as error:  # such as an unknown back-end of attention, or accelerate that is missing
            wishes = "".join(f" with {name}={value!r}" for name, value in given.items() if value is not None)
            why = " ".join(str(error).split())[:300]
            raise UserError(f"{checkpoint.folder} cannot be opened by transformers{wishes} ({why})") from error
        if lost := [
            *report["missing_keys"],
            *report["mismatched_keys"],
            *(report["unexpected_keys"] if source is None else []),
        ]:
            raise UserError(
                f"{checkpoint.folder}: {count(len(lost), 'weight')}, the first {lost[0]}, cannot be loaded by this version of "
                "transformers; is the folder complete? Else install another version"
            )
        if checkpoint.adapter:
            network = _merge(network, checkpoint.adapter)
        return (network if "device_map" in options else network.to(target)).eval()


def _four_bit(number_format: torch.dtype) -> BitsAndBytesConfig:
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=number_format,
        llm_int8_skip_modules=_NOT_QUANTIZED,
    )


def _merge(network: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """The network with an adapter's weights added to its own. UserError: peft is not installed, or the adapter does not fit."""
    try:
        from peft import PeftConfig, get_peft_model, set_peft_model_state_dict
        from peft.utils import load_peft_weights
    except ModuleNotFoundError as error:
        raise UserError(
            f"{adapter} is an adapter, which peft merges into its model: python -m pip install peft; or merge it where it was "
            "trained (`merge_and_unload()`), and give the folder of the whole model"
        ) from error
    if (apart := adapter / "non_lora_trainables.bin").is_file():
        raise UserError(
            f"{adapter} holds trained weights apart from the adapter ({apart.name}): merge them where it was trained"
        )
    try:
        config = PeftConfig.from_pretrained(str(adapter))
        config.base_model_name_or_path = network.name_or_path  # where it lies here; peft warns of another one
        adapted = get_peft_model(network, config)
        names = set_peft_model_state_dict(adapted, load_peft_weights(str(adapter), device="cpu"))
    # what peft raises on files that are damaged or of another model
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise UserError(f"{adapter} does not fit its model ({' '.join(str(error).split())[:300]})") from error
    if lost := _unused(names.missing_keys, names.unexpected_keys):
        raise UserError(
            f"{adapter} does not fit its model: {count(len(lost), 'weight')} of it {'has' if len(lost) == 1 else 'have'} no "
            f"place there or are missing, the first {lost[0]}; it was trained on another model, or by other classes"
        )
    return adapted.merge_and_unload()


def _unused(missing: Sequence[str], unexpected: Sequence[str]) -> list[str]:
    """The adapter's weights that the network has no place for, and those that the adapter lacks."""
    return [*unexpected, *(name for name in missing if "lora_" in name or "modules_to_save" in name)]
