"""Answers scored against a dataset's labels."""

from importlib import import_module

_HOME = {"questions": "label_questions:write", "blind": "label_questions", "Tables": "tables"}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"retinal_lib.evaluate has no {name!r}; it has {', '.join(_HOME)}")
    module, _, symbol = _HOME[name].partition(":")
    return getattr(import_module(f"retinal_lib.evaluate.{module}"), symbol or name)
