"""What an installation has and lacks: Python, packages, disk, key, server, graphics card, font and kernel, and what to do."""

import asyncio
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.requirements import Requirement

from retinal_lib import paths
from retinal_lib.errors import UserError

_PACKAGE = "retinal_lib"
_SPACE = 2 * 2**30  # bytes that should be free where runs are written
_PATIENCE = 10.0  # seconds for the server, the kernel's Python and the driver of the graphics card
# what a server calls the owner of its models -> which program it is
_PROGRAMS = {
    "vllm": "vLLM",
    "library": "Ollama",
    "llamacpp": "llama.cpp",
    "sglang": "SGLang",
    "organization_owner": "LM Studio",
}
# extra -> what it is for; `browser` and `test` are for who changes the code
_EXTRAS = {
    "lab": "JupyterLab and the reviewer's buttons",
    "dicom": "DICOM files",
    "inference": "infer.ipynb with a model on this machine (make infer)",
    "lora": "adapters (LoRA)",
    "scale": "several machines or processes, by Ray",
    "trainers": "the export as Parquet",
}


class Found(NamedTuple):
    """What was found of one thing, and what to do about it: `stop` hinders every run, `note` hinders some, `ok` none."""

    mark: Literal["ok", "note", "stop"]
    what: str
    found: str
    advice: str = ""


def look() -> list[Found]:
    """Returns what was found, one thing after the other. Nothing is written, and no data is sent anywhere."""
    checks = [
        _python,
        _packages,
        _extras,
        _disk,
        _key,
        _server,
        _graphics_card,
        _font,
        _kernel,
    ]
    return [found for check in checks for found in check()]


def text(found: list[Found]) -> str:
    """Returns a line for each thing, with what to do below it where there is anything to do."""
    lines = []
    for each in found:
        lines.append(f"{each.mark:<5} {each.what:<10} {each.found}")
        lines += [f"{'':<17}{each.advice}"] if each.advice else []
    return "\n".join(lines)


def _python() -> list[Found]:
    version = ".".join(map(str, sys.version_info[:3]))
    where = paths.display_path(sys.prefix)
    return [Found("ok", "Python", f"{version} in {where}")]


def _requirements(extra: str) -> list[Requirement]:
    """The requirements of an extra on this machine; "" stands for those of every run."""
    every = map(Requirement, importlib.metadata.requires(_PACKAGE) or [])
    if not extra:
        return [each for each in every if each.marker is None or each.marker.evaluate({"extra": ""})]
    of_extra = [each for each in every if each.marker and each.marker.evaluate({"extra": extra})]
    return [each for each in of_extra if not each.marker.evaluate({"extra": ""})]


def _lacking(requirements: list[Requirement]) -> list[str]:
    """Requirements that are not met, each with the version that is here."""
    lacking = []
    for each in requirements:
        try:
            version = importlib.metadata.version(each.name)
        except importlib.metadata.PackageNotFoundError:
            lacking.append(f"{each.name} is missing")
            continue
        if not each.specifier.contains(version, prereleases=True):
            lacking.append(f"{each.name} is {version}, expected {each.specifier}")
    return lacking


def _packages() -> list[Found]:
    try:
        needed = _requirements("")
    except importlib.metadata.PackageNotFoundError:
        return [Found("stop", "packages", "retinal_lib is not installed in this Python", "python -m pip install -e .")]
    version = importlib.metadata.version(_PACKAGE)
    if lacking := _lacking(needed):
        return [Found("stop", "packages", "; ".join(lacking), "python -m pip install -c constraints.txt -e .")]
    return [Found("ok", "packages", f"retinal_lib {version} has the {len(needed)} packages that every run needs")]


def _extras() -> list[Found]:
    try:
        lacking = {extra: _lacking(_requirements(extra)) for extra in _EXTRAS}
    except importlib.metadata.PackageNotFoundError:
        return []  # which is told above
    return [
        Found("note", extra, "; ".join(what), f"only for {_EXTRAS[extra]}: python -m pip install 'retinal_lib[{extra}]'")
        for extra, what in lacking.items()
        if what
    ]


def _disk() -> list[Found]:
    folder = paths.root() / "artifacts"
    there = next(each for each in (folder, *folder.parents) if each.is_dir())
    if not os.access(there, os.W_OK):
        advice = "start in another folder, set RETINAL_LIB_ROOT, or pass out_dir"
        return [Found("stop", "disk", f"runs are written to {paths.display_path(folder)}, which may not be written", advice)]
    free = shutil.disk_usage(there).free
    found = f"{free / 2**30:,.1f} GB are free where runs are written ({paths.display_path(folder)})"
    if free < _SPACE:
        return [Found("note", "disk", found, "pass out_dir on a larger disk, or make room: a run may need a few GB")]
    return [Found("ok", "disk", found)]


def _key() -> list[Found]:
    from retinal_lib.teacher import destination

    try:
        key, address = destination.key(), destination.address()
    except UserError as error:
        return [Found("stop", "key", str(error))]
    if key:
        return [Found("ok", "key", "OPENAI_API_KEY is set (it is never shown)")]
    if destination.is_loopback(address):
        return [Found("ok", "key", "OPENAI_API_KEY is not set; a server on this machine needs none")]
    return [Found("note", "key", "OPENAI_API_KEY is not set", "only for a server elsewhere; the offline teacher needs none")]


def _server() -> list[Found]:
    from retinal_lib.teacher import destination

    try:
        address, key = destination.address(), destination.key()
    except UserError as error:
        return [Found("stop", "server", str(error), "or remove it: the offline teacher needs no server")]
    shown = destination.without_login(address)
    place = "on this machine" if destination.is_loopback(address) else "elsewhere: each dataset's terms say what may go there"
    if not key and not destination.is_loopback(address):
        if destination.has_no_address():
            advice = "only for teacher=openai: set OPENAI_BASE_URL, and OPENAI_API_KEY where the server wants one"
            return [Found("note", "server", "none is named", advice)]
        return [Found("note", "server", f"{shown} was not asked, for there is no key", "set OPENAI_API_KEY")]
    return [_asked(shown, place)]


def _asked(shown: str, place: str) -> Found:
    """What a server says of its models; no data is sent."""
    from retinal_lib.teacher.request_errors import NotFound, RequestFailed, RunStopped
    from retinal_lib.teacher.server import Server

    async def ask() -> dict:
        server = Server(backoff=0, timeout_s=_PATIENCE)
        try:
            async with asyncio.timeout(_PATIENCE):
                return await server.get("/models")
        finally:
            await server.close()

    try:
        answer = asyncio.run(ask())
    except NotFound:
        return Found("note", "server", f"{shown} answers, but lists no models", "does OPENAI_BASE_URL end in /v1?")
    except TimeoutError:
        return Found("note", "server", f"{shown} gave no answer within {_PATIENCE:g} seconds", "is it running, and reachable?")
    except (RequestFailed, RunStopped) as error:
        return Found("note", "server", f"{shown}: {error}", "start the server, or correct OPENAI_BASE_URL")
    models = [each for each in answer.get("data") or [] if isinstance(each, dict)]
    program = next((_PROGRAMS[owner] for each in models if (owner := str(each.get("owned_by"))) in _PROGRAMS), "")
    names = [str(each.get("id"))[:80] for each in models]
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return Found("ok", "server", f"{program or 'a server'} at {shown}, {place}; models: {listed or 'none'}")


def _graphics_card() -> list[Found]:
    card, driver = "", shutil.which("nvidia-smi")
    if driver:
        command = [driver, "--query-gpu=name,memory.total", "--format=csv,noheader"]
        card = _said(command) or ""
    card = "; ".join(card.splitlines())
    if importlib.util.find_spec("torch") is None:
        return [Found("ok", "GPU", card or "none that nvidia-smi knows (torch is not installed, which alone would use one)")]
    import torch

    if torch.cuda.is_available():
        return [Found("ok", "GPU", card or torch.cuda.get_device_name())]
    if torch.backends.mps.is_available():
        return [Found("ok", "GPU", "Apple's (mps)")]
    if card:
        advice = "a build of torch for this card is needed: python -m pip install --force-reinstall torch"
        return [Found("note", "GPU", f"{card}; but torch {torch.__version__} cannot use it", advice)]
    return [Found("ok", "GPU", "none; only infer.ipynb would use one, and runs on the CPU, slowly for a model of 7B")]


def _said(command: list[str]) -> str | None:
    """What a program prints; None where it fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _font() -> list[Found]:
    from matplotlib.font_manager import findfont

    from retinal_lib.imaging.drawing import FONT

    try:
        file = findfont(FONT, fallback_to_default=False)
    except ValueError:
        return [Found("stop", "font", f"{FONT} is missing", "python -m pip install --force-reinstall matplotlib")]
    return [Found("ok", "font", f"{FONT} ({paths.display_path(file)})")]


def _kernel() -> list[Found]:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        kernel = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        return [Found("stop", "kernel", "there is no kernel python3", "python -m pip install ipykernel")]
    where = paths.display_path(kernel.resource_dir)
    python = Path(kernel.argv[0])
    if not python.is_absolute():
        return [Found("ok", "kernel", f"python3 ({where}) runs this Python")]
    found = f"python3 ({where}) runs {paths.display_path(python)}"
    if _said([str(python), "-c", "import retinal_lib"]) is None:
        advice = "pass -k with another kernel, or make one here: python -m ipykernel install --sys-prefix"
        return [Found("stop", "kernel", f"{found}, which has no retinal_lib", advice)]
    return [Found("ok", "kernel", found)]
