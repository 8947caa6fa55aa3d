"""retinal_lib: retinal annotations to instruction-tuning conversations that can be checked."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("retinal_lib")
except PackageNotFoundError:  # used from a folder without installation
    __version__ = "0+unknown"

_HOMES = {
    "dataset.desc": "APTOSDesc EyeQDesc IDRIDDesc MICCAIDesc MessidorDesc ODIRDDesc RFMiDDesc UKDesc AlignDesc load_dataset",
    "dataset.base": "BaseDescription",
    "facts": "Case Fact Source",
    "errors": "UserError",
    "export.convert": "jsonl_to_json json_to_jsonl validate repair merge",
    "run.job": "Job",
    "review.review": "Review",
    "explore.boxes_job": "BoxJob",
    "explore.explore": "Explore",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    # loaded on first use, so that `import retinal_lib` stays quick and needs no heavy library
    if name not in _HOME:
        raise AttributeError(f"retinal_lib has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"retinal_lib.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
