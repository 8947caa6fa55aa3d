"""A model loaded by its name: a folder, a hub id, or a model behind a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retinal_lib import typed_paths
from retinal_lib.errors import UserError
from retinal_lib.inference.batching import Answerer
from retinal_lib.inference.server_model import ServerModel
from retinal_lib.teacher.destination import Accepted

SERVER = "openai:"  # stands before the name of a model behind a server


def load_model(
    model_name: str | Path,
    vision_tower: str | Path | None = None,
    mm_projector: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str | None = None,
    bos: str = "script",
    attn_implementation: str | None = None,
    device_map: str | None = None,
    timeout_s: float | None = None,
    terms_accepted: Accepted = False,
) -> Answerer:
    """Loads a model from a folder or hub id: LLaVA-v0 as published (.bin or safetensors, tower apart or inside, projector apart
    or inside) or written by `convert`; or any image-text model that transformers knows, such as Qwen2.5-VL, InternVL and
    MedGemma, which is asked by its own processor and chat template. An adapter's folder (LoRA) stands for its model with the
    adapter merged into it, by peft. Nothing is written into these folders, and no code of theirs is run. With `openai:<name>`,
    the model of that name answers behind an OpenAI-compatible server.

    `vision_tower`, `mm_projector`: of LLaVA-v0, where the folder does not have them. `device`: auto, cpu, cuda. `dtype`: auto
    (half precision on a GPU, in the model's own format; full on a CPU), float32, float16, bfloat16. `quantize`: 4bit, with
    bitsandbytes. `bos`: of LLaVA-v0, `script` (ids as the released inference script makes them) or `training`.
    `attn_implementation`, `device_map`: as in transformers, such as sdpa, and auto for several GPUs. `timeout_s`: how long an
    answer of a server may take.
    `terms_accepted`: you may send the images to a server elsewhere, where their dataset's terms ask for leave.
    UserError: a file is missing or damaged, the memory does not suffice, or torch is not installed; says what would help.

    >>> import tempfile
    >>> from PIL import Image
    >>> from retinal_lib.sample import llava_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model = load_model(llava_model.draw(Path(folder) / "model"), device="cpu")
    >>> isinstance(model.ask(Image.new("RGB", (64, 64)), "Which eye is it?", max_new_tokens=4), str)
    True
    """
    if name := _on_server(model_name):
        return ServerModel(name, terms_accepted, timeout_s)
    with needs_torch():
        from retinal_lib.inference import image_text_model, model
        from retinal_lib.inference.llava import checkpoint
        from retinal_lib.inference.opening import Opening
    found = checkpoint.find(_resolve(model_name), vision_tower, mm_projector)
    opening = Opening(device, dtype, quantize, attn_implementation, device_map)
    return model.load(found, opening, bos) if found.llava else image_text_model.load(found, opening)


def identity(model_name: str | Path, vision_tower: str | Path | None = None, mm_projector: str | Path | None = None) -> str:
    """Gives the identity that the loaded model would have, from its files alone. UserError: as in `load_model`."""
    if name := _on_server(model_name):
        return ServerModel(name).identity
    with needs_torch():
        from retinal_lib.inference.llava import checkpoint
    return checkpoint.find(_resolve(model_name), vision_tower, mm_projector).identity


def _on_server(model_name: str | Path) -> str:
    """The name that a server knows the model by; "" where the model is on this machine. UserError: the name is missing."""
    if not str(model_name).startswith(SERVER):
        return ""
    if name := str(model_name).removeprefix(SERVER):
        return name
    raise UserError("model_name 'openai:' lacks the model's name, such as openai:gpt-4o-mini")


def _resolve(model_name: str | Path) -> str | Path:
    """A folder as typed, or a hub id as it is."""
    if typed_paths.expand(model_name).is_dir() or str(model_name).count("/") != 1:
        return typed_paths.resolve(model_name)
    return model_name


@contextmanager
def needs_torch() -> Iterator[None]:
    """For a block of imports. UserError: torch or a library beside it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed, which a model on this machine needs: python -m pip install -e '.[inference]'; "
            "or pass model_name openai:<name> to ask a server"
        ) from error
