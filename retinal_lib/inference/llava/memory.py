"""The memory that a model needs and a machine has, and what would fit."""

from importlib.util import find_spec

import psutil
import torch

from retinal_lib.errors import UserError, unknown
from retinal_lib.inference.llava.checkpoint import gigabytes

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
QUANTIZE = ("4bit",)
_OVERHEAD = 1.1  # besides the weights: a batch of conversations takes about a tenth
_FOUR_BIT = 0.6  # bytes a number, with the scales and the parts that stay in half precision


def choose_device(name: str) -> torch.device:
    """Chooses the device of that name; `auto` takes a GPU where there is one. UserError: there is no such device."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise unknown("device", name, ("auto", "cpu", "cuda", "cuda:1", "mps")) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {name!r}: torch {torch.__version__} sees no GPU; pass device='cpu' or install torch for CUDA")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name!r}: there are {torch.cuda.device_count()} GPUs, counted from cuda:0")
    return device


def choose_dtype(name: str, device: torch.device, own: torch.dtype) -> torch.dtype:
    """Chooses the number format of that name; `auto`: the model's `own` on a GPU, full precision on a CPU. UserError: it is
    unknown."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else own
    if name not in DTYPES:
        raise unknown("dtype", name, ("auto", *DTYPES))
    return DTYPES[name]


def check_quantize(quantize: str | None, device: torch.device) -> None:
    """UserError: that quantization is unknown, or not available on this machine."""
    if quantize is None:
        return
    if quantize not in QUANTIZE:
        raise unknown("quantize", quantize, QUANTIZE)
    if not has_bitsandbytes():
        raise UserError("quantize='4bit' needs bitsandbytes and accelerate: python -m pip install bitsandbytes accelerate")
    if device.type != "cuda":
        raise UserError(f"quantize='4bit' is for a GPU, the device is {device}; pass dtype='float16' to halve the memory there")


def has_bitsandbytes() -> bool:
    """Whether the libraries for 4-bit weights are installed."""
    return find_spec("bitsandbytes") is not None and find_spec("accelerate") is not None


def free(device: torch.device) -> int:
    """Measures the free memory of a device, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def needed(numbers: int, dtype: torch.dtype, quantize: str | None) -> int:
    """Estimates the memory in bytes that a model of so many weights needs to work."""
    return int(numbers * (_FOUR_BIT if quantize else dtype.itemsize) * _OVERHEAD)


def check_memory(name: str, numbers: int, device: torch.device, dtype: torch.dtype, quantize: str | None) -> None:
    """UserError: a model of so many weights does not fit; says what would."""
    required, available = needed(numbers, dtype, quantize), free(device)
    if required <= available:
        return
    owner = "the GPU" if device.type == "cuda" else "this machine"
    form = "4-bit" if quantize else str(dtype).removeprefix("torch.")
    raise UserError(
        f"{name} needs {gigabytes(required)} of memory ({numbers / 1e9:.2f} billion numbers, {form}), "
        f"{owner} has {gigabytes(available)} free; {_advice(numbers, device, dtype)}"
    )


def _advice(numbers: int, device: torch.device, dtype: torch.dtype) -> str:
    options = []
    half, four = needed(numbers, torch.float16, None), needed(numbers, torch.float16, "4bit")
    if dtype == torch.float32 and half <= free(device):
        options.append(f"dtype='float16' ({gigabytes(half)})")
    if device.type == "cuda" and four <= free(device):
        install = "" if has_bitsandbytes() else "python -m pip install "
        options.append(f"quantize='4bit' ({gigabytes(four)}; {install}bitsandbytes, accelerate)")
    if device.type == "cuda" and half <= free(torch.device("cpu")):
        options.append(f"device='cpu', dtype='float16' ({gigabytes(half)}, slow)")
    return (
        f"what fits: {', '.join(options)}" if options else "nothing fits here: a 24 GB GPU holds a 7B model in half precision"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; then, frees unused GPU memory."""
    out = isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
    if out and torch.cuda.is_available():
        torch.cuda.empty_cache()
    return out
