"""Lesions on paper and in HTML: picture, mask and boxes side by side, and contact sheets."""

import base64
import html
import math
from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase

import numpy as np

from retinal_lib import display, drawing, files
from retinal_lib import images as picture
from retinal_lib.drawing import Axes, Figure, Hue
from retinal_lib.errors import UserError
from retinal_lib.explore import overlay
from retinal_lib.explore.overlay import Layer, Overlay

_SIDE = 1200  # pixels of a picture in panels: at 2.4 inches more than 300 to the inch hold nothing
_THUMB = 480  # of a contact sheet
_INSETS = 6
_LEAST = 96  # pixels of the picture that an inset shows at least
_CLEAR = 0.12  # coverage from which a cell of a mask is drawn as marked: the smallest lesions stay visible


def panels(shown: Overlay, insets: int = _INSETS) -> Figure:
    """Picture, mask and boxes of one image side by side; below, its smallest lesions enlarged, at the picture's own pixels,
    with their outline. Thick boxes are those that a description names. UserError: the picture cannot be read."""
    with drawing.style():
        small = shown.smallest(insets)
        ratio = shown.size[1] / shown.size[0] if shown.layers else 0.7
        high = drawing.WIDTH / 3 * ratio + 0.16
        figure = drawing.figure(high + (drawing.WIDTH / insets + 0.1 if small else 0) + 0.3)
        parts = figure.subfigures(2, 1, height_ratios=(high, drawing.WIDTH / insets + 0.1)) if small else [figure]
        pixels = np.asarray(picture.upright(shown.path, _SIDE))
        axes = parts[0].subplots(1, 3)
        drawing.show(axes[0], pixels, shown.title)
        drawing.show(axes[1], masks(shown, pixels.shape[1::-1]), "mask")
        drawing.show(axes[2], pixels, shown.caption)
        draw(axes[2], shown)
        if small:
            places = _enlarge(parts[1].subplots(1, insets, squeeze=False)[0], shown, small)
            for letter, (x, y) in zip(ascii_lowercase, places, strict=False):
                drawing.point(axes[2], x * pixels.shape[1], y * pixels.shape[0], letter)
        drawing.legend(figure, _entries([shown], counted=True))
    return figure


def contact(overlays: Sequence[Overlay], columns: int = 4, order: bool = True) -> Figure:
    """Many pictures with their boxes; those that want a second look first (see `overlay.worst`), unless `order` is False.
    UserError: a picture cannot be read."""
    if not overlays:
        return drawing.sentence("there is no image to show")
    chosen = overlay.worst(overlays) if order else list(overlays)
    rows = math.ceil(len(chosen) / columns)
    pictures = [np.asarray(picture.upright(shown.path, _THUMB)) for shown in chosen]
    high = max(p.shape[0] / p.shape[1] for p in pictures) * drawing.WIDTH / columns + 0.33
    with drawing.style():
        figure, axes = drawing.grid(rows, columns, high * rows + 0.3)
        for place, shown, pixels in zip(axes.flat, chosen, pictures, strict=False):
            drawing.show(place, pixels, drawing.short(shown.title, 128 // columns), shown.caption)
            draw(place, shown, 0.6)
        for place in axes.flat[len(chosen) :]:
            place.axis("off")
        drawing.legend(figure, _entries(chosen))
    return figure


def card(shown: Overlay) -> Figure:
    """One image without and with its boxes, side by side, and nothing else: for pages that have words of their own."""
    pixels = np.asarray(picture.upright(shown.path, _THUMB))
    with drawing.style():
        figure = drawing.figure(4 * pixels.shape[0] / pixels.shape[1], 8)
        figure.get_layout_engine().set(w_pad=0, h_pad=0, wspace=0.01, hspace=0)
        axes = figure.subplots(1, 2)
        for place in axes:
            drawing.show(place, pixels)
        draw(axes[1], shown, 1.1)
    return figure


def draw(axes: Axes, shown: Overlay, width: float = 0.8) -> None:
    """The boxes over the picture in `axes`: thick where a description names them, thin beyond; landmarks white."""
    for words, box in shown.landmarks.items():
        drawing.boxes(axes, [box], Hue(drawing.LANDMARK, (1.5, 1.5)), width * 0.8, words)
    for layer in shown.layers:
        found = [cluster.box for cluster in layer.clusters]
        drawing.boxes(axes, found[shown.named :], layer.hue, width * 0.55, layer.kind)
        drawing.boxes(axes, found[: shown.named], layer.hue, width, layer.kind)


def masks(shown: Overlay, size: tuple[int, int]) -> np.ndarray:
    """All masks of an image in their colours on black, uint8 [height, width, 3] of `size` (width, height)."""
    found = np.zeros((size[1], size[0], 3))
    for layer in shown.layers:
        cover = overlay.shares(shown.marked(layer), size)
        alpha = np.where(cover > 0, np.maximum(cover, _CLEAR) ** 0.5, 0)[..., None]
        found = found * (1 - alpha) + alpha * rgb(layer.hue.colour)
    return found.round().astype(np.uint8)


def rgb(colour: str) -> np.ndarray:
    """#rrggbb as three numbers from 0 to 255."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float)


def _entries(overlays: Sequence[Overlay], counted: bool = False) -> list[tuple[str, Hue]]:
    layers: dict[str, Layer] = {}
    for shown in overlays:
        layers |= {layer.kind: layer for layer in shown.layers if layer.kind not in layers}
    found = [(layer.told if counted else layer.many, layer.hue) for layer in layers.values()]
    marks = dict.fromkeys(words for shown in overlays for words in shown.landmarks)
    return found + [(words, Hue(drawing.LANDMARK, (1.5, 1.5))) for words in marks]


def _enlarge(axes: Sequence[Axes], shown: Overlay, small: list[tuple]) -> list[tuple[float, float]]:
    """Draws the insets; returns the lesions' centres as fractions of the picture."""
    whole = np.asarray(picture.upright(shown.path, max(shown.size)))
    high, wide = whole.shape[:2]
    cached = {layer.kind: shown.marked(layer) for layer, _ in small}
    places = []
    for place, letter, (layer, lesion) in zip(axes, ascii_lowercase, small, strict=False):
        x0, y0, x1, y1 = np.array(lesion.box) * (wide, high, wide, high)
        side = min(max(_LEAST, 3 * (x1 - x0), 3 * (y1 - y0)), wide, high)
        left = round(min(max((x0 + x1 - side) / 2, 0), wide - side))
        top = round(min(max((y0 + y1 - side) / 2, 0), high - side))
        side = round(side)
        drawing.show(place, whole[top : top + side, left : left + side], f"{letter}  {layer.one.split(' (')[0]}")
        mask = cached[layer.kind]
        down, across = mask.shape[0] / high, mask.shape[1] / wide
        rows = slice(math.floor(top * down), math.ceil((top + side) * down))
        columns = slice(math.floor(left * across), math.ceil((left + side) * across))
        extent = [columns.start / across - left, columns.stop / across - left, rows.stop / down - top, rows.start / down - top]
        drawing.outline(place, mask[rows, columns], layer.hue, np.array(extent) - 0.5)
        place.set_xlim(-0.5, side - 0.5)
        place.set_ylim(side - 0.5, -0.5)
        length = 10 ** math.floor(math.log10(side / 2)) * (2 if side / 2 > 2 * 10 ** math.floor(math.log10(side / 2)) else 1)
        drawing.ruler(place, length, f"{length} px")
        places.append(((x0 + x1) / 2 / wide, (y0 + y1) / 2 / high))
    for place in axes[len(small) :]:
        place.axis("off")
    return places


_DOTS = 100  # of a card 8 inches wide
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 2rem auto;
  max-width: 1240px; padding: 0 1rem }
h1 { font-size: 1.4rem; margin: 0 0 .3rem }
p { margin: .2rem 0 .8rem; max-width: 75ch }
ul.key { list-style: none; padding: 0; margin: 0 0 1.2rem; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem }
ul.key i { display: inline-block; width: 1.6em; height: .75em; margin-right: .45em; border: 1px solid #333 }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(560px, 100%), 1fr)); gap: 1.3rem 1.2rem }
figure { margin: 0; break-inside: avoid }
img { width: 100%; display: block; background: #000 }
figcaption { padding: .3rem 0 0 }
figcaption b { margin-right: .6em }
figcaption small { display: block; color: #555 }
"""


def write(overlays: Sequence[Overlay], file: Path, title: str, note: str = "", order: bool = True) -> Path:
    """Writes the sheet and returns its file: each image without and with its boxes, those that want a second look first (see
    `overlay.worst`), unless `order` is False. `note` is a sentence under the title, such as the source and terms. Images that
    cannot be read are named at the end. The whole file is written, or nothing."""
    cards, unread = [], []
    chosen = []
    for shown in overlays:
        try:
            _ = shown.at_rim
            chosen.append(shown)
        except UserError as error:
            unread.append(str(error))
    chosen = overlay.worst(chosen) if order else chosen
    with display.bar(len(chosen), "pictures") as bar:
        for done, shown in enumerate(chosen):
            bar.show(done)
            try:
                cards.append(_card(shown))
            except UserError as error:
                unread.append(str(error))
    file.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_path(file) as part:
        part.write_text(_page(chosen, cards, unread, title, note), encoding="utf-8")
    return file


def _page(chosen: Sequence[Overlay], cards: list[str], unread: list[str], title: str, note: str) -> str:
    key = {layer.many: layer.hue.colour for shown in chosen for layer in shown.layers}
    key |= {words: drawing.LANDMARK for shown in chosen for words in shown.landmarks}
    entries = "".join(f'<li><i style="background:{colour}"></i>{html.escape(words)}</li>' for words, colour in key.items())
    lost = f"<p>Not shown: {html.escape('; '.join(unread))}</p>" if unread else ""
    named = max((shown.named for shown in chosen), default=0)
    about = f"Left: as photographed. Right: with boxes, at most {named} thick ones of a type, which a description names; thin"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{html.escape(title)}</h1>
<p>{html.escape(note)}</p>
<p>{about} ones hold the rest. What wants a second look comes first: many boxes, little filled, at the rim.</p>
<ul class="key">{entries}</ul>
<main>
{chr(10).join(cards)}
</main>
{lost}</body></html>
"""


def _card(shown: Overlay) -> str:
    picture = base64.b64encode(drawing.jpeg(card(shown), _DOTS)).decode()
    name = html.escape(shown.title)
    counts = html.escape(", ".join(layer.told for layer in shown.layers))
    missing = f"<small>{html.escape('; '.join(shown.missing))}</small>" if shown.missing else ""
    words = html.escape(f"{shown.title}: {shown.caption}; left without, right with boxes")
    return (
        f'<figure><img alt="{words}" src="data:image/jpeg;base64,{picture}">'
        f"<figcaption><b>{name}</b>{html.escape(shown.caption)}<small>{counts}</small>{missing}</figcaption></figure>"
    )
