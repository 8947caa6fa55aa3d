"""Paths that users type: as a shell reads them, and refused in a sentence where no file can have them."""

import errno
import os
import re
from pathlib import Path

from retinal_lib import paths
from retinal_lib.errors import UserError

_LONGEST, _LONGEST_NAME = 4_000, 240  # bytes; file systems allow 4,095 and 255, and names of ours are added


def root() -> Path:
    """Returns the project's folder, see `paths.root`; it need not exist yet. UserError: RETINAL_LIB_ROOT names what can be no
    folder."""
    folder = paths.root()
    try:
        if not expand(folder).is_dir() and folder.lstat():
            raise NotADirectoryError(errno.ENOTDIR, "it is a file, or a link that leads nowhere")
    except FileNotFoundError:
        pass
    except (OSError, UserError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"RETINAL_LIB_ROOT names no folder ({why}); set it to the project's folder, or unset it") from error
    return folder


def expand(path: str | Path) -> Path:
    """Returns a path that a user typed, with ~ as her home. UserError: no file can have it."""
    text = str(path)
    if odd := re.search(r"[\0\ud800-\udfff]", text):
        raise UserError(f"the path {text[:80]!r} holds {odd[0]!r}, which no name may hold here; use names in UTF-8")
    if len(text.encode()) > _LONGEST or any(len(part.encode()) > _LONGEST_NAME for part in Path(text).parts):
        raise UserError(f"the path {text[:80]!r}… is too long: {_LONGEST} bytes are possible, and {_LONGEST_NAME} for a name")
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser fails where a user is not known


def resolve(path: str | Path) -> Path:
    """Returns the absolute path for a path that a user typed: relative to the working directory, or to the project's folder
    if the working directory is `notebooks/`, where JupyterLab starts its kernels."""
    path = expand(path)
    project, here = root(), Path.cwd()
    return Path(os.path.normpath((project if here.is_relative_to(project / "notebooks") else here) / path))
