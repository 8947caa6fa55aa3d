"""What AutoMorph's M0 cut out of each picture, from its crop_info.csv."""

import re
from functools import lru_cache
from pathlib import Path

from retinal_lib.dataset import tables as table

# centre_w holds the row and centre_h the column of the field's centre: AutoMorph has the two names the wrong way round
COLUMNS = ("centre_w", "centre_h", "radius")
FILE = "M0/crop_info.csv"


@lru_cache(maxsize=16)
def read(results: Path) -> dict[str, tuple[int, int, int]]:
    """Folded image stem -> row and column of the field's centre and its radius, in pixels of the whole picture; empty where
    there is no such file. Left out: a row that is not three whole numbers, and an image listed twice with different ones.
    UserError: the file is not a table with these columns."""
    if not (results / FILE).is_file():
        return {}
    content = table.read(results / FILE)
    found: dict[str, tuple[int, int, int]] = {}
    clashing = set()
    for name, *cells in zip(content.column("Name"), *map(content.column, COLUMNS), strict=True):
        if not all(re.fullmatch(r"\d+(\.0*)?", cell) for cell in cells):
            continue
        row, column, radius = (int(float(cell)) for cell in cells)
        key = table.image_key(name)
        if not radius or found.setdefault(key, (row, column, radius)) != (row, column, radius):
            clashing.add(key)
    return {key: cut for key, cut in found.items() if key not in clashing}
