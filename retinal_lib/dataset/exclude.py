"""Which images are left out because what is said of them cannot be trusted, and why."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator

from retinal_lib import progress
from retinal_lib.dataset import image_files as folder
from retinal_lib.dataset.catalogue import Catalogue, Row
from retinal_lib.dataset.lesion_facts import Index
from retinal_lib.dataset.record import ExcludedImage


def mark(found: Catalogue, masks: Index) -> None:
    """Writes the reason into each image that must not be used."""
    with progress.bar(len(found.images), "images checked") as bar:
        for done, image in enumerate(found.images):
            image.reason = image.reason or _why_not(found, masks, image)
            if done % 500 == 0:
                bar.show(done)
        bar.show(len(found.images))
    for group in _same_images(found):
        told = {labels for image in group if (labels := _labels(found, image))}  # an unlabelled copy says nothing else
        if len(told) > 1:
            names = " and ".join(f"{i.split}/{i.name}" for i in group)
            for image in group:
                image.reason = image.reason or f"{names} are the same picture with different labels"


def rows_without_image(found: Catalogue) -> list[str]:
    """The label rows of the loaded splits that have no picture."""
    used = {(i.split, i.key) for i in found.images}
    loaded = [s for s in found.page.splits if found.split in (None, s)]
    return [
        f"{rows[0][0].source(rows[0][1])}: {key}"
        for (split, key), rows in found.rows.items()
        if split in loaded and (split, key) not in used
    ]


def _why_not(found: Catalogue, masks: Index, image: folder.Found) -> str:
    listed = {name.casefold(): why for name, why in found.page.exclude.items()}
    for name in (image.key, f"{image.split}/{image.stem}".casefold()):
        if name in listed:
            return listed[name]
    if found.page.key is not None:
        rows = found.rows.get((image.split, image.key))
        if not rows:
            if image.split not in found.tabled:
                return f"the split {image.split} has no label table"
            return f"no row for it in {', '.join(found.tabled[image.split])}"
        try:
            if len({_labels(found, image, row) for row in rows}) > 1:
                return f"its rows disagree: {' and '.join(str(t.source(r)) for t, r, _ in rows)}"
        except ExcludedImage as why:
            return str(why)
    if found.page.masks and (image.split, image.key) not in masks:
        return "no mask for it"
    return ""


def _labels(found: Catalogue, image: folder.Found, row: Row | None = None) -> tuple:
    """What the labels of an image say, to compare two rows or two copies of a picture."""
    record = found.record(image, row)
    try:
        return tuple((f.name, f.value) for k in found.page.gives if k.label for f in k.facts(record) if f.scope != "patient")
    except ExcludedImage:
        if row is not None:
            raise
        return ("excluded",)


def _same_images(found: Catalogue) -> Iterator[list[folder.Found]]:
    """Groups of images that are one picture: by the page's list, and by equal bytes on disk."""
    by_name = {f"{i.split}/{i.stem}".casefold(): i for i in found.images} | {
        i.key: i for i in found.images if not found.page.restart
    }
    for pair in found.page.same_image:
        group = [by_name[n.casefold()] for n in pair if n.casefold() in by_name]
        if len(group) > 1:
            yield group
    by_size = defaultdict(list)
    for image in found.images if found.page.key is not None else ():
        by_size[image.size].append(image)
    for same_size in by_size.values():
        if len(same_size) > 1:
            yield from _equal_bytes(same_size)


def _equal_bytes(images: list[folder.Found]) -> Iterator[list[folder.Found]]:
    """Groups of byte-identical files among files of equal size; a piece from the middle tells most apart cheaply."""
    for digest in (_middle, _whole):
        groups = defaultdict(list)
        for image in images:
            groups[digest(image)].append(image)
        images = [i for group in groups.values() if len(group) > 1 for i in group]
    yield from (group for group in groups.values() if len(group) > 1)


def _middle(image: folder.Found) -> bytes:
    with image.path.open("rb") as file:
        file.seek(image.size // 2)
        return file.read(4096)


def _whole(image: folder.Found) -> str:
    with image.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
