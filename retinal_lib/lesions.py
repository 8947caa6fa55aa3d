"""Lesion facts from mask files: which mask belongs to which image and type, and what its boxes say."""

import math
import re
from collections import defaultdict
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from retinal_lib import boxes, folder
from retinal_lib.errors import UserError
from retinal_lib.fact import Fact, Source
from retinal_lib.page import Page

NAMED = 10  # boxes named per lesion type, the largest first
Index = dict[tuple[str, str], dict[str, Path | None]]


def index(tree: list[folder.Folder], page: Page, notes: list[str]) -> Index:
    """(split, folded image stem) -> {type: mask file}. Where the page says that a missing file means no lesion, the type
    is there with None, but only if its folder has masks of other images: a folder not downloaded says nothing."""
    result: Index = defaultdict(dict)
    seen: dict[str, set[str]] = defaultdict(set)
    strange = []
    for split, spec in page.splits.items():
        for found in [f for p in spec.masks for f in folder.folders(tree, [p], page.masks.name)]:
            for name in folder.images(found):
                match = re.search(page.masks.name, Path(name).stem, re.IGNORECASE)
                if not match:
                    strange.append(str(found.path / name))
                    continue
                kind = match["type"].upper()
                image = match.groupdict().get("image") or Path(name).stem
                result[split, image.casefold()][kind] = found.path / name
                seen[split].add(kind)
    if strange:
        notes.append(f"{len(strange)} files in the mask folders are no masks by name, the first {strange[0]}")
    if page.masks.absent == "none":
        for (split, _), masks in result.items():
            for kind in seen[split] & set(page.masks.types):
                masks.setdefault(kind, None)
    return dict(result)


def facts(masks: dict[str, Path | None], page: Page, image: folder.Found, missing: list[str]) -> list[Fact]:
    """The lesion facts of an image: per type the count, the area share and the boxes; landmarks by their box."""
    found: list[Fact] = []
    for kind, (one, many) in page.masks.types.items():
        if kind in masks and masks[kind] is None:
            source = Source(f"no {kind} mask of {image.stem}")
            found.append(Fact("lesion", kind, 0, many, f"no {many} are marked", source, one))
        elif kind in masks:
            found += _lesions(kind, one, many, masks[kind], image, missing)
    for kind, words in page.masks.landmarks.items():
        if masks.get(kind) and (content := _read(masks[kind], image, missing)) and content.lesions:
            box = content.lesions[0].box
            text = f"the {words} lies in the box {said(box)}"
            found.append(Fact("lesion", f"{kind}_box", box, "box", text, Source(str(masks[kind])), words))
    return found


def _lesions(kind: str, one: str, many: str, path: Path, image: folder.Found, missing: list[str]) -> list[Fact]:
    content = _read(path, image, missing)
    if content is None:
        return []
    source, count = Source(str(path)), len(content.lesions)
    if not count:
        return [Fact("lesion", kind, 0, many, f"no {many} are marked", source, one)]
    named = content.lesions[:NAMED]
    verb = "is" if count == 1 else "are"
    found = [
        Fact("lesion", kind, count, many, f"{count} {one if count == 1 else many} {verb} marked", source, one),
        Fact(
            "lesion",
            f"{kind}_area",
            content.area * 100,
            "%",
            f"the {one if count == 1 else many} {'covers' if count == 1 else 'cover'} {percent(content.area)} of the image",
            source,
            many,
        ),
    ]
    title = (
        f"the {NAMED} largest of the {many} lie" if count > NAMED else f"the {one} lies" if count == 1 else f"the {many} lie"
    )
    for i, lesion in enumerate(named):
        start = f"{title} in the box{'' if len(named) == 1 else 'es'} " if i == 0 else ""
        found.append(Fact("lesion", f"{kind}_box", lesion.box, "box", f"{start}{said(lesion.box)}", source, many))
    return found


def _read(path: Path, image: folder.Found, missing: list[str]) -> boxes.Lesions | None:
    """The mask's lesions; None with a sentence where the mask cannot be read or is not of the image's shape."""
    try:
        content = boxes.read(path)
        with Image.open(image.path) as picture:
            width, height = picture.size
    except UserError as error:
        missing.append(str(error))
        return None
    except (UnidentifiedImageError, OSError) as error:
        missing.append(f"{image.path}: the image cannot be read ({error})")
        return None
    if abs(width / height - content.size[0] / content.size[1]) > 0.01:
        missing.append(
            f"{path}: the mask is {content.size[0]} x {content.size[1]}, the image {width} x {height}; not the same shape"
        )
        return None
    return content


def percent(share: float) -> str:
    """A share of the image as text with at least two digits that count."""
    value = share * 100
    digits = 1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.1 else max(4, 1 - math.floor(math.log10(value)))
    return f"{value:.{digits}f} %"


def said(box: tuple[float, float, float, float]) -> str:
    """A box as text."""
    return "[" + ", ".join(f"{edge:.4f}" for edge in box) + "]"
