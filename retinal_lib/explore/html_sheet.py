"""A contact sheet as one HTML file to send to a colleague: the pictures lie inside it; no network, no script."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from retinal_lib import drawing, files, palette, progress
from retinal_lib.errors import UserError
from retinal_lib.explore import overlay, sheets
from retinal_lib.explore.overlay import Overlay

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
    with progress.bar(len(chosen), "pictures") as bar:
        for done, shown in enumerate(chosen):
            bar.show(done)
            try:
                cards.append(_card(shown))
            except UserError as error:
                unread.append(str(error))
    file.parent.mkdir(parents=True, exist_ok=True)
    with files.beside(file) as part:
        part.write_text(_page(chosen, cards, unread, title, note), encoding="utf-8")
    return file


def _page(chosen: Sequence[Overlay], cards: list[str], unread: list[str], title: str, note: str) -> str:
    key = {layer.many: layer.hue.colour for shown in chosen for layer in shown.layers}
    key |= {words: palette.LANDMARK for shown in chosen for words in shown.landmarks}
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
    picture = base64.b64encode(drawing.jpeg(sheets.card(shown), _DOTS)).decode()
    name = html.escape(shown.title)
    counts = html.escape(", ".join(layer.told for layer in shown.layers))
    missing = f"<small>{html.escape('; '.join(shown.missing))}</small>" if shown.missing else ""
    words = html.escape(f"{shown.title}: {shown.caption}; left without, right with boxes")
    return (
        f'<figure><img alt="{words}" src="data:image/jpeg;base64,{picture}">'
        f"<figcaption><b>{name}</b>{html.escape(shown.caption)}<small>{counts}</small>{missing}</figcaption></figure>"
    )
