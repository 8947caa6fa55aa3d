"""RetinalGPT and other LLaVA-v0 models: load one, ask it, convert it."""

from importlib import import_module

_HOME = {
    "load_model": "model",
    "identity": "model",
    "Model": "model",
    "Chat": "model",
    "Options": "batching",
    "convert": "llava.convert",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"retinal_lib.inference has no {name!r}; it has {', '.join(_HOME)}")
    module, _, symbol = _HOME[name].partition(":")
    return getattr(import_module(f"retinal_lib.inference.{module}"), symbol or name)
