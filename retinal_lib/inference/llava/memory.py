"""How much memory a model needs, what this machine has, and what would fit."""

from importlib.util import find_spec

import psutil
import torch

from retinal_lib.errors import UserError, unknown
from retinal_lib.inference.llava import weights as llava_weights
from retinal_lib.inference.llava.checkpoint import Found, gigabytes

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
QUANTIZE = ("4bit",)
_BESIDE = 1.1  # work beside the weights: a batch of conversations takes about a tenth
_FOUR_BIT = 0.6  # bytes a number, with the scales and the parts that stay in half precision


def device(named: str) -> torch.device:
    """The device of that name; `auto`: a GPU where there is one. UserError: it is not there."""
    if named == "auto":
        named = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        found = torch.device(named)
    except RuntimeError as error:
        raise unknown("device", named, ("auto", "cpu", "cuda", "cuda:1", "mps")) from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {named!r}: torch {torch.__version__} sees no GPU; pass device='cpu' or install torch for CUDA")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {named!r}: there are {torch.cuda.device_count()} GPUs, counted from cuda:0")
    return found


def dtype(named: str, place: torch.device) -> torch.dtype:
    """The number format of that name; `auto`: half precision on a GPU, full on a CPU. UserError: unknown."""
    if named == "auto":
        return torch.float32 if place.type == "cpu" else torch.float16
    if named not in DTYPES:
        raise unknown("dtype", named, ("auto", *DTYPES))
    return DTYPES[named]


def check_quantize(quantize: str | None, place: torch.device) -> None:
    """UserError: that way of making a model smaller is unknown, or cannot be had here."""
    if quantize is None:
        return
    if quantize not in QUANTIZE:
        raise unknown("quantize", quantize, QUANTIZE)
    if not has_bitsandbytes():
        raise UserError("quantize='4bit' needs bitsandbytes and accelerate: pip install bitsandbytes accelerate")
    if place.type != "cuda":
        raise UserError(f"quantize='4bit' is for a GPU, the device is {place}; pass dtype='float16' to halve the memory there")


def has_bitsandbytes() -> bool:
    """Whether 4-bit weights can be had."""
    return find_spec("bitsandbytes") is not None and find_spec("accelerate") is not None


def free(place: torch.device) -> int:
    """Bytes that a device has free."""
    if place.type == "cuda":
        return torch.cuda.mem_get_info(place)[0]
    return psutil.virtual_memory().available


def needed(numbers: int, kind: torch.dtype, quantize: str | None) -> int:
    """Bytes that a model of so many numbers needs to work."""
    return int(numbers * (_FOUR_BIT if quantize else torch.empty((), dtype=kind).element_size()) * _BESIDE)


def check(found: Found, place: torch.device, kind: torch.dtype, quantize: str | None) -> None:
    """UserError: the model does not fit; says what would."""
    numbers = llava_weights.count(found)
    wanted, has = needed(numbers, kind, quantize), free(place)
    if wanted <= has:
        return
    named = "the GPU" if place.type == "cuda" else "this machine"
    form = "4-bit" if quantize else str(kind).removeprefix("torch.")
    raise UserError(
        f"{found.folder.name} needs {gigabytes(wanted)} of memory ({numbers / 1e9:.2f} billion numbers, {form}), "
        f"{named} has {gigabytes(has)} free; {_advice(numbers, place, kind)}"
    )


def _advice(numbers: int, place: torch.device, kind: torch.dtype) -> str:
    ways = []
    half, four = needed(numbers, torch.float16, None), needed(numbers, torch.float16, "4bit")
    if kind == torch.float32 and half <= free(place):
        ways.append(f"dtype='float16' ({gigabytes(half)})")
    if place.type == "cuda" and four <= free(place):
        ways.append(
            f"quantize='4bit' ({gigabytes(four)}; {'' if has_bitsandbytes() else 'pip install '}bitsandbytes, accelerate)"
        )
    if place.type == "cuda" and half <= free(torch.device("cpu")):
        ways.append(f"device='cpu', dtype='float16' ({gigabytes(half)}, slow)")
    return f"what fits: {', '.join(ways)}" if ways else "nothing fits here: a 24 GB GPU holds a 7B model in half precision"


def is_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
