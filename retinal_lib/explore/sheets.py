"""Contact sheets, to print and as HTML: pictures with their boxes, masks, and the smallest lesions enlarged."""

import math
from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase

import numpy as np

from retinal_lib import display, files
from retinal_lib.errors import UserError
from retinal_lib.explore import overlay
from retinal_lib.explore.overlay import Layer, Lesion, Overlay
from retinal_lib.imaging import drawing, images
from retinal_lib.imaging.drawing import Axes, Figure, Hue

_SIDE = 1200  # pixels of a picture in panels: 500 dots per inch at 2.4 inches
_THUMB = 480  # of a contact sheet
_INSETS = 6
_MIN_INSET = 96  # pixels of the picture that an inset shows
_MARGIN = 1.15  # an inset shows at least this much of a lesion's longer side
_LARGER = 1.3  # at least so much larger than in the picture above is an enlarged lesion
_MIN_COVERAGE = 0.12  # a marked cell is drawn with at least this coverage: the smallest lesions stay visible
_DPI = 100  # of an image pair 8 inches wide
_LANDMARK = Hue(drawing.LANDMARK, (1.5, 1.5))


def panels(image: Overlay, insets: int = _INSETS) -> Figure:
    """Draws picture, mask and boxes of one image side by side; below, its smallest lesions enlarged, at the picture's full
    resolution, with their outlines. A description names the thick boxes. UserError: the picture cannot be read."""
    with drawing.style():
        lesions = image.smallest(insets)
        ratio = image.size[1] / image.size[0] if image.layers else 0.7
        columns = _inset_columns(image, lesions, insets)
        rows = math.ceil(len(lesions) / columns)
        high, below = drawing.WIDTH / 3 * ratio + 0.16, (drawing.WIDTH / columns + 0.1) * rows
        figure = drawing.figure(high + (below if lesions else 0) + 0.3)
        parts = figure.subfigures(2, 1, height_ratios=(high, below)) if lesions else [figure]
        pixels = np.asarray(images.load_upright(image.path, _SIDE))
        axes = parts[0].subplots(1, 3)
        drawing.show(axes[0], pixels, image.title)
        drawing.show(axes[1], masks(image, pixels.shape[1::-1]), "mask")
        drawing.show(axes[2], pixels, image.caption)
        draw(axes[2], image)
        if lesions:
            centres = _enlarge(parts[1].subplots(rows, columns, squeeze=False), image, lesions)
            for letter, (x, y) in zip(ascii_lowercase, centres, strict=False):
                drawing.point(axes[2], x * pixels.shape[1], y * pixels.shape[0], letter)
        drawing.legend(figure, _legend([image], counted=True))
    return drawing.tell_drawn(figure, images.drawn_among([image.path]))


def contact(overlays: Sequence[Overlay], columns: int = 4, order: bool = True) -> Figure:
    """Draws many pictures with their boxes; those that need review most first (see `overlay.rank_for_review`), unless
    `order` is False. UserError: a picture cannot be read."""
    if not overlays:
        return drawing.sentence("there is no image to show")
    if order:
        overlays = [overlays[i] for i in overlay.rank_for_review(overlays)]
    rows = math.ceil(len(overlays) / columns)
    pictures = [np.asarray(images.load_upright(image.path, _THUMB)) for image in overlays]
    high = max(p.shape[0] / p.shape[1] for p in pictures) * drawing.WIDTH / columns + 0.33
    with drawing.style():
        figure, axes = drawing.grid(rows, columns, high * rows + 0.3)
        for panel, image, pixels in zip(axes.flat, overlays, pictures, strict=False):
            drawing.show(panel, pixels, image.title, image.caption)
            draw(panel, image, 0.6)
        for panel in axes.flat[len(overlays) :]:
            panel.axis("off")
        drawing.legend(figure, _legend(overlays))
    return drawing.tell_drawn(figure, images.drawn_among(image.path for image in overlays))


def image_pair(image: Overlay) -> Figure:
    """Draws one image without and with its boxes, side by side, without any text, for pages that have their own.
    UserError: the picture cannot be read."""
    pixels = np.asarray(images.load_upright(image.path, _THUMB))
    with drawing.style():
        figure = drawing.figure(4 * pixels.shape[0] / pixels.shape[1], 8)
        figure.get_layout_engine().set(w_pad=0, h_pad=0, wspace=0.01, hspace=0)
        axes = figure.subplots(1, 2)
        for panel in axes:
            drawing.show(panel, pixels)
        draw(axes[1], image, 1.1)
    return figure


def draw(axes: Axes, image: Overlay, width: float = 0.8) -> None:
    """Draws the boxes over the picture in `axes`: thick ones if a description names them, else thin ones; landmarks white."""
    for words, box in image.landmarks.items():
        drawing.boxes(axes, [box], _LANDMARK, width * 0.8, words)
    for layer in image.layers:
        edges = [cluster.box for cluster in layer.clusters]
        drawing.boxes(axes, edges[image.named :], layer.hue, width * 0.55, layer.kind)
        drawing.boxes(axes, edges[: image.named], layer.hue, width, layer.kind)


def masks(image: Overlay, size: tuple[int, int]) -> np.ndarray:
    """Returns all masks of an image in their colours on black, uint8 [height, width, 3] of `size` (width, height)."""
    pixels = np.zeros((size[1], size[0], 3))
    for layer in image.layers:
        cover = overlay.coverage(image.mask(layer), size)
        alpha = np.where(cover > 0, np.maximum(cover, _MIN_COVERAGE) ** 0.5, 0)[..., None]
        pixels = pixels * (1 - alpha) + alpha * rgb(layer.hue.colour)
    return pixels.round().astype(np.uint8)


def rgb(colour: str) -> np.ndarray:
    """Returns #rrggbb as red, green and blue from 0 to 255, float [3]."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float)


def _legend(overlays: Sequence[Overlay], counted: bool = False) -> list[tuple[str, Hue]]:
    """Each lesion type and landmark of the images in words, with its hue; `counted`: with the number of lesions."""
    layers: dict[str, Layer] = {}
    for layer in (layer for image in overlays for layer in image.layers):
        layers.setdefault(layer.kind, layer)
    landmarks = dict.fromkeys(words for image in overlays for words in image.landmarks)
    lesions = [(layer.counted if counted else layer.many, layer.hue) for layer in layers.values()]
    return lesions + [(words, _LANDMARK) for words in landmarks]


def _inset_columns(image: Overlay, lesions: list[tuple[Layer, Lesion]], insets: int) -> int:
    """The insets in a row: three, each as wide as a picture above, if they are few or a lesion would else be no larger than
    above."""
    largest = max((_side(lesion, image.size) for _, lesion in lesions), default=0)
    fits = _MARGIN * largest * _LARGER <= image.size[0] * 3 / insets
    return insets if len(lesions) > 3 and fits else 3


def _side(lesion: Lesion, size: tuple[int, int]) -> float:
    """The longer side of a lesion's box in pixels of a picture of `size`."""
    x0, y0, x1, y1 = lesion.box
    return max((x1 - x0) * size[0], (y1 - y0) * size[1])


def _enlarge(axes: np.ndarray, image: Overlay, lesions: list[tuple[Layer, Lesion]]) -> list[tuple[float, float]]:
    """Draws the insets into axes [rows, columns]; returns the lesions' centres as fractions of the picture."""
    pixels = np.asarray(images.load_upright(image.path, max(image.size)))
    high, wide = pixels.shape[:2]
    mask_of = {layer.kind: image.mask(layer) for layer, _ in lesions}
    centres = []
    for panel, letter, (layer, lesion) in zip(axes.flat, ascii_lowercase, lesions, strict=False):
        x0, y0, x1, y1 = np.array(lesion.box) * (wide, high, wide, high)
        longest, most = _side(lesion, (wide, high)), wide * 3 / axes.shape[1] / _LARGER
        side = min(max(_MIN_INSET, _MARGIN * longest, min(3 * longest, most)), wide, high)
        left = round(min(max((x0 + x1 - side) / 2, 0), wide - side))
        top = round(min(max((y0 + y1 - side) / 2, 0), high - side))
        side = round(side)
        drawing.show(panel, pixels[top : top + side, left : left + side], f"{letter}  {layer.one.split(' (')[0]}")
        mask = mask_of[layer.kind]
        down, across = mask.shape[0] / high, mask.shape[1] / wide
        rows = slice(math.floor(top * down), math.ceil((top + side) * down))
        columns = slice(math.floor(left * across), math.ceil((left + side) * across))
        extent = [columns.start / across - left, columns.stop / across - left, rows.stop / down - top, rows.start / down - top]
        drawing.outline(panel, mask[rows, columns], layer.hue, np.array(extent) - 0.5)
        panel.set_xlim(-0.5, side - 0.5)
        panel.set_ylim(side - 0.5, -0.5)
        decade = 10 ** math.floor(math.log10(side / 2))
        length = 2 * decade if side / 2 > 2 * decade else decade
        drawing.ruler(panel, length, f"{length} px")
        centres.append(((x0 + x1) / 2 / wide, (y0 + y1) / 2 / high))
    for panel in axes.flat[len(lesions) :]:
        panel.axis("off")
    return centres


def write(overlays: Sequence[Overlay], file: Path, title: str, note: str = "", order: bool = True) -> Path:
    """Writes the sheet as one HTML file and returns its path: each image without and with its boxes, those that need review
    most first (see `overlay.rank_for_review`), unless `order` is False. `note` is a sentence under the title, such as the
    source and terms. Images that cannot be read are named at the end. UserError: the file cannot be written."""
    pairs, unreadable = [], []
    for image in display.progress(overlays, "pictures"):
        try:
            pairs.append((image, drawing.jpeg(image_pair(image), _DPI)))
        except UserError as error:
            unreadable.append(str(error))
    if order:
        pairs = [pairs[i] for i in overlay.rank_for_review([image for image, _ in pairs])]
    overlays = [image for image, _ in pairs]
    if images.drawn_among(image.path for image in overlays):
        note = f"{images.DRAWN}. {note}"
    html = display.render(
        "explore/sheet.html",
        title=title,
        note=note,
        named=max((image.named for image in overlays), default=0),
        colours={words: hue.colour for words, hue in _legend(overlays)},
        pairs=pairs,
        unreadable=unreadable,
    )
    with files.atomic_write(file) as page:
        page.write(html)
    return file
