"""Writes the files of a sample as published datasets hold them: odd encodings, old spreadsheets, several masks."""

import io
import json
import re
import struct
import zipfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def table(path: Path, lines: list[str], newline: str = "\n", encoding: str = "utf-8") -> None:
    """Writes a label table from its lines of cells with commas between, as the path's suffix says: text, .xls or .xlsx."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".csv", ".txt"):
        path.write_bytes("".join(line + newline for line in lines).encode(encoding))
    elif path.suffix == ".json":
        header, *rows = [line.split(",") for line in lines]
        cells = [[float(cell) if re.fullmatch(r"\d+(\.\d+)?", cell) else cell for cell in row] for row in rows]
        content = {str(i): dict(zip(header, row, strict=True)) for i, row in enumerate(cells)}
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    else:
        rows: list[list[str | int]] = [[int(cell) if cell.isdigit() else cell for cell in line.split(",")] for line in lines]
        {".xls": _xls, ".xlsx": _xlsx}[path.suffix](path, rows)


def _xlsx(path: Path, rows: list[list[str | int]]) -> None:
    """A workbook of one sheet whose bytes depend on the cells alone: the times that openpyxl writes are fixed."""
    import openpyxl  # takes longer to import than to look whether a sample is drawn

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    content = io.BytesIO()
    book.save(content)
    with zipfile.ZipFile(content) as found, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name in found.namelist():
            part = re.sub(rb"\d{4}-\d\d-\d\dT[\d:.]+Z", b"2019-01-01T00:00:00Z", found.read(name))
            made.writestr(zipfile.ZipInfo(name, (2019, 1, 1, 0, 0, 0)), part, zipfile.ZIP_DEFLATED)


def _xls(path: Path, rows: list[list[str | int]]) -> None:
    """A legacy Excel sheet (BIFF2) of texts of up to 255 bytes in Windows' western code page, and numbers."""

    def record(code: int, data: bytes) -> bytes:
        return struct.pack("<HH", code, len(data)) + data

    parts = [record(0x0009, struct.pack("<HH", 7, 0x10)), record(0x0042, struct.pack("<H", 1252))]
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            place = struct.pack("<HH3x", r, c)
            if isinstance(cell, str):
                letters = cell.encode("cp1252")
                parts.append(record(0x0004, place + bytes([len(letters)]) + letters))
            else:
                parts.append(record(0x0003, place + struct.pack("<d", cell)))
    path.write_bytes(b"".join([*parts, record(0x000A, b"")]))


def mask(path: Path, mask: np.ndarray, alpha: bool = False) -> None:
    """Writes a lesion mask, bool [height, width], as the path's suffix says: a grey PNG of 0 and 255, or a 1-bit palette TIFF.

    `alpha`: an RGBA TIFF instead, with the lesion in red alone and alpha 255, as IDRiD_81_EX.tif."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if alpha:
        pixels = np.zeros((*mask.shape, 4), np.uint8)
        pixels[..., 0], pixels[..., 3] = mask * 255, 255
        Image.fromarray(pixels).save(path, compression="tiff_lzw")
    elif path.suffix in (".png", ".bmp"):
        Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    else:
        _palette_tiff(path, mask)


def classes(path: Path, marks: list[tuple[int, np.ndarray]], ground: int) -> None:
    """Writes several masks, bool [height, width], into one grey picture, each in its value, one over the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(marks[0][1].shape, ground, np.uint8)
    for value, mask in marks:
        pixels[mask] = value
    Image.fromarray(pixels).save(path)


def shrunk(mask: np.ndarray) -> np.ndarray:
    """Returns a mask, bool [height, width], without its edge, as a second expert may draw it."""
    return cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)


def shapes(path: Path, masks: dict[str, np.ndarray], labels: dict[str, str]) -> None:
    """Writes masks, bool [height, width], as the path's suffix says: the points of one contour (.txt), polygons of LabelMe
    (.json), or boxes of Pascal VOC (.xml), with the label of each type."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = next(iter(masks.values())).shape
    outlines = [
        (labels.get(kind, kind), outline[:, 0] + 0.5)
        for kind, mask in masks.items()
        for outline in cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    ]
    if path.suffix == ".txt":
        text = "".join(f"{x:.1f} {y:.1f}\n" for x, y in outlines[0][1])
    elif path.suffix == ".json":
        drawn = [{"label": label, "points": points.tolist(), "shape_type": "polygon"} for label, points in outlines]
        text = json.dumps({"shapes": drawn, "imagePath": f"{path.stem}.jpg", "imageHeight": height, "imageWidth": width})
    else:
        boxes = [(label, *(p.min(axis=0) - 0.5), *(p.max(axis=0) + 0.5)) for label, p in outlines]
        sides = ("xmin", "ymin", "xmax", "ymax")
        things = "".join(
            f"<object><name>{label}</name><bndbox>"
            + "".join(f"<{side}>{edge:.0f}</{side}>" for side, edge in zip(sides, edges, strict=True))
            + "</bndbox></object>\n"
            for label, *edges in boxes
        )
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{path.stem}.jpg</filename>{size}\n{things}</annotation>\n"
    path.write_text(text, encoding="utf-8")


def _palette_tiff(path: Path, mask: np.ndarray) -> None:
    """An uncompressed 1-bit palette TIFF as IDRiD publishes its masks: 0 black, 1 red; mask bool [height, width]."""
    height, width = mask.shape
    pixels = np.packbits(mask, axis=1).tobytes()
    colours = struct.pack("<6H", 0, 65535, 0, 0, 0, 0)  # red of both, green of both, blue of both
    start = 8 + len(pixels) + len(pixels) % 2
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 1),
        (259, 3, 1, 1),
        (262, 3, 1, 3),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, 1, len(pixels)),
        (320, 3, 6, start),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", 0)
    head = struct.pack("<2sHI", b"II", 42, start + len(colours))
    path.write_bytes(head + pixels.ljust(start - 8, b"\0") + colours + directory)


def picture(path: Path, image: np.ndarray) -> None:
    """Writes a photograph, uint8 [height, width, 3], in the format that the path's suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {".png": {"compress_level": 1}, ".tif": {}}.get(path.suffix.casefold(), {"quality": 92, "subsampling": 0})
    Image.fromarray(image).save(path, **settings)
