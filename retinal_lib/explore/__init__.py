"""A dataset looked over."""

from importlib import import_module

_HOME = {"Explore": "explore"}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"retinal_lib.explore has no {name!r}; it has {', '.join(_HOME)}")
    module, _, symbol = _HOME[name].partition(":")
    return getattr(import_module(f"retinal_lib.explore.{module}"), symbol or name)
