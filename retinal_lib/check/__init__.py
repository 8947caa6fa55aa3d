"""A conversation held against the facts of its image."""

from importlib import import_module

_HOME = {
    "check": "conversation_check",
    "examine": "conversation_check",
    "errors": "conversation_check",
    "Checked": "conversation_check",
    "VERSION": "conversation_check",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"retinal_lib.check has no {name!r}; it has {', '.join(_HOME)}")
    module, _, symbol = _HOME[name].partition(":")
    return getattr(import_module(f"retinal_lib.check.{module}"), symbol or name)
