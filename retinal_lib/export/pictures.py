"""The pictures of exported conversations, linked or copied into a folder for trainers."""

import filecmp
import json
import re
import unicodedata
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from retinal_lib import display, paths
from retinal_lib.display import count
from retinal_lib.errors import UserError
from retinal_lib.files import atomic_path, atomic_write, file_sha256
from retinal_lib.imaging import images

WAYS = {"link": "symbolic links to the pictures", "copy": "copies of the pictures"}
_DRAWN = "drawn"  # the folder for drawn pictures, whose name each exported path then begins with
_UNSAFE = re.compile(r'[<>:"\\|?*\x00-\x1f]')  # no file name on Windows may have these
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


class Placed(NamedTuple):
    """Pictures for an export: the name of each that can be read, by run and name in the run, and sentences for the user."""

    names: dict[tuple[Path, str], str]
    notes: list[str]


def leave(found: dict[tuple[Path, str], Path]) -> Placed:
    """Leaves pictures, by run and name in the run, where they lie: each is named by its whole path. UserError: none can be
    read."""
    unreadable: dict[Path, str] = {}
    shown = _as_shown(list(dict.fromkeys(found.values())), unreadable)
    names, notes = _readable({key: file.as_posix() for key, file in found.items()}, found, unreadable)
    if turned := sum(not as_shown for as_shown in shown.values()):
        notes.append(
            f"{count(turned, 'picture')} must be turned or brightened, which not every trainer does: --pictures does it"
        )
    return Placed(names, notes)


def _as_shown(
    files: list[Path], unreadable: dict[Path, str], side: int = images.MAX_PIXELS, bare: bool = False
) -> dict[Path, bool]:
    """Whether any reader of a file sees the picture as it is to be seen, see images.is_upright; those that cannot be read go to
    `unreadable`, with the reason."""
    shown = {}
    for file in display.progress(files, "pictures looked at"):
        try:
            shown[file] = images.is_upright(file, side, bare)
        except UserError as why:
            unreadable[file] = str(why)
    return shown


def _readable(
    names: dict[tuple[Path, str], str], found: dict[tuple[Path, str], Path], unreadable: dict[Path, str]
) -> tuple[dict[tuple[Path, str], str], list[str]]:
    """The names of pictures that can be read, and a sentence on the others. UserError: there is none."""
    left = {key: name for key, name in names.items() if found[key] not in unreadable}
    if not unreadable:
        return left, []
    said = f"{count(len(unreadable), 'picture')} cannot be read, the first: {next(iter(unreadable.values()))}"
    if not left:
        raise UserError(f"{said}; there is nothing to export")
    return left, [f"{said}; what was said of such pictures is left out"]


def place(found: dict[tuple[Path, str], Path], target: Path, way: str, size: int | None = None) -> Placed:
    """Links or copies pictures, by run and name in the run, into `target`, one by one, so that a stopped export continues.

    What trainers would see otherwise than the run did, or what is longer than `size` pixels, is written as PNG, upright.
    Copies have no metadata (EXIF, comments). Names are those of the run, as far as all
    systems allow them; where different pictures have one name, part of their sha256 is added. Drawn pictures lie below
    `drawn`. Pictures that cannot be read are left out. UserError: none can be read, one cannot be written, or another picture
    has its place.
    """
    unreadable: dict[Path, str] = {}
    files = list(dict.fromkeys(found.values()))
    side = size or images.MAX_PIXELS
    shown = _as_shown(files, unreadable, side, way == "copy")
    drawn = images.drawn_among(files)
    names = _names({key: (file, shown[file], file in drawn) for key, file in found.items() if file in shown})
    if drawn:
        _mark(target / _DRAWN)
    link = way == "link" and _can_link(target)
    with display.Bar(len(names), "pictures") as bar:
        for done, (name, file) in enumerate({name: found[key] for key, name in names.items()}.items(), start=1):
            if why := _put(file, target / name, link, shown[file], side):
                unreadable[file] = why
            bar.show(done)
        bar.show(len(names))
    names, left_out = _readable(names, found, unreadable)
    turned = sum(not as_shown for file, as_shown in shown.items() if file not in unreadable)
    number = len(set(names.values()))
    notes = [
        f"{count(number, 'picture')} in {paths.display_path(target)}, the folder that image names are relative to",
        *left_out,
    ]
    if way == "link" and not link:
        notes.append("they are copies: links cannot be made there")
    if turned:
        small = f", at most {size} pixels long" if size else ""
        notes.append(f"{count(turned, 'picture')} written anew as PNG, upright and as bright as the run saw them{small}")
    return Placed(names, notes)


def _names(found: dict[tuple[Path, str], tuple[Path, bool, bool]]) -> dict[tuple[Path, str], str]:
    """The name of each picture, by run and name in the run: of (file, whether it stays as it is, whether it is drawn)."""
    groups: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    names = {}
    for key, (_, as_shown, drawn) in found.items():
        name = _safe(key[1] if as_shown else f"{PurePosixPath(key[1]).with_suffix('.png')}")
        names[key] = f"{_DRAWN}/{name}" if drawn else name
        groups[unicodedata.normalize("NFC", names[key]).casefold()].append(key)  # one file on Windows and macOS
    for same in groups.values():
        if len({found[key][0] for key in same}) > 1:
            for key in same:
                path = PurePosixPath(names[key])
                names[key] = str(path.with_name(f"{path.stem}-{file_sha256(found[key][0])[:12]}{path.suffix}"))
    return names


def _safe(name: str) -> str:
    """A path below a folder that every system can hold."""
    parts = [_UNSAFE.sub("_", part).rstrip(" .") or "_" for part in name.split("/") if part not in ("", ".", "..")]
    return "/".join(f"_{part}" if _RESERVED.match(part) else part for part in parts)


def _mark(folder: Path) -> None:
    """Marks a folder of drawn pictures as such. UserError: it holds something else."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / images.MARKER).is_file():
        raise UserError(f"{folder} is to hold drawn pictures, but holds other files; name another folder with --out")
    with atomic_write(folder / images.MARKER) as file:
        file.write(json.dumps({"export": images.DRAWN}) + "\n")


def _can_link(folder: Path) -> bool:
    """Whether links can be made in a folder: not on every file system, and on Windows not by every user."""
    probe = folder / ".link.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.unlink(missing_ok=True)
        probe.symlink_to(folder)
        probe.unlink()
    except OSError:
        return False
    return True


def _put(file: Path, target: Path, link: bool, as_shown: bool, side: int) -> str:
    """Links, copies or writes one picture anew; returns why it cannot be read, "" where it can. UserError: it cannot be
    written, or another picture is there."""
    if target.exists():
        if link and as_shown and target.is_symlink() and target.readlink() == file:
            return ""
        if not _is_same(file, target, as_shown, side):
            raise UserError(f"{target} is another picture than {file}; name another folder with --out, or remove it")
        if not target.is_symlink() and (link or not as_shown or target.read_bytes() == _bare(file)):
            return ""
    try:
        anew = None if as_shown else images.load_bare(file, side)
    except UserError as why:
        return str(why)
    with atomic_path(target) as part:
        if anew:
            anew.save(part, "PNG")
        elif link:
            part.unlink(missing_ok=True)
            part.symlink_to(file)
        else:
            part.write_bytes(_bare(file))
    return ""


def _bare(file: Path) -> bytes:
    """The bytes of a picture without metadata. A damaged file is copied as it is: it opened, and is not ours to mend."""
    content = file.read_bytes()
    return images.without_metadata(content) or content


def _is_same(file: Path, target: Path, as_shown: bool, side: int) -> bool:
    if not as_shown:
        return images.same_pixels(file, target, side)
    return filecmp.cmp(file, target, shallow=False) or target.read_bytes() == _bare(file)
