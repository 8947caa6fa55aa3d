"""Lesion facts from mask files: which mask belongs to which image and type, and what its boxes say."""

import re
from collections import defaultdict
from pathlib import Path

from retinal_lib.dataset import image_files as folder
from retinal_lib.dataset import image_masks as marked
from retinal_lib.dataset.fact_kinds import Boxes
from retinal_lib.dataset.image_masks import Cut
from retinal_lib.dataset.lesions.wording import Type, said
from retinal_lib.dataset.page import Page
from retinal_lib.facts import Fact, Source

Index = dict[tuple[str, str], dict[str, Path | None]]


def index(tree: list[folder.Folder], page: Page, notes: list[str]) -> Index:
    """(split, folded image stem) -> {type: mask file}. Where the page says that a missing file means no lesion, the type
    is there with None, but only if its folder has masks of other images: a folder not downloaded says nothing."""
    result: Index = defaultdict(dict)
    seen: dict[str, set[str]] = defaultdict(set)
    strange = []
    for split, spec in page.splits.items():
        by_folder = "/" in page.masks.name
        for found in [f for p in spec.masks for f in folder.folders(tree, [p], "" if by_folder else page.masks.name)]:
            for name in folder.images(found):
                stem = Path(name).stem
                match = re.search(page.masks.name, f"{found.path.name}/{stem}" if by_folder else stem, re.IGNORECASE)
                if not match:
                    strange.append(str(found.path / name))
                    continue
                kind = match["type"].upper()
                image = match.groupdict().get("image") or stem
                result[split, image.casefold()][kind] = found.path / name
                seen[split].add(kind)
    if strange:
        notes.append(f"{len(strange)} files in the mask folders are no masks by name, the first {strange[0]}")
    if page.masks.absent == "none":
        for (split, _), masks in result.items():
            for kind in seen[split] & set(page.masks.types):
                masks.setdefault(kind, None)
    return dict(result)


def facts(
    files: dict[str, Path | None],
    page: Page,
    image: folder.Found,
    missing: list[str],
    eye: str | None = None,
    cut: Cut | None = None,
) -> list[Fact]:
    """The lesion facts of an image: per type the count, the area share, where the lesions lie, the boxes of the largest
    clusters and what these leave out; landmarks by their box. `cut` is AutoMorph's crop, where the image is one."""
    told = marked.read(files, page, image, eye, cut)
    most = next(kind.max_boxes for kind in page.gives if isinstance(kind, Boxes))
    found: list[Fact] = []
    for kind, (one, many) in page.masks.types.items():
        path, content = told.types.get(kind, (None, None))
        if content is not None and len(content.pixels):
            where, near = told.places(content.size), kind in page.masks.near_fovea
            type_ = Type(kind, one, many, path, content, page.masks.gap, page.masks.fill, where, near)
            found += type_.facts(most)
        elif kind in told.types:
            source = Source(str(path) if path else f"no {kind} mask of {image.stem}")
            found.append(Fact("lesion", kind, 0, many, f"no {many} are marked", source, one))
    for words, mark in told.marks.items():
        text = f"the {words} lies in the box {said(mark.at.box)}"
        found.append(Fact("lesion", f"{mark.kind}_box", mark.at.box, "box", text, Source(str(mark.path)), words))
    missing += dict.fromkeys(told.missing)
    return found
