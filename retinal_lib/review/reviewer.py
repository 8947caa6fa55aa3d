"""The reviewer in JupyterLab: picture and conversation side by side, decisions by button or key. No network, no build step."""

import traceback
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import anywidget
import ipywidgets as widgets
import traitlets

from retinal_lib.conversation import IMAGE
from retinal_lib.errors import UserError
from retinal_lib.review import pictures as shelf
from retinal_lib.review import report
from retinal_lib.review import sample_html as markup
from retinal_lib.review.pictures import Ready, Shelf
from retinal_lib.review.review import Item, Page, Review

EVERY = "all"
_AHEAD = 3  # pictures made ready before they are asked for
HELP = (
    "Keys, once the conversation was clicked: <b>a</b> accept, <b>r</b> reject (with the comment typed before), <b>c</b> "
    "comment, <b>f</b> fix, <b>Esc</b> out of a field, <b>→ ←</b> next and back, <b>n</b> next unreviewed, <b>u</b> undo, "
    "<b>b</b> boxes on and off. Hold the pointer over a marked number or claim to see its cell; click a box to find it in "
    "the picture and see it closer."
)


class Pane(anywidget.AnyWidget):
    """A conversation as HTML that tells of keys and of clicks on boxes. `html` must be escaped already."""

    _esm = Path(__file__).with_name("reviewer.js").read_text(encoding="utf-8")
    _css = markup.CSS
    html = traitlets.Unicode("").tag(sync=True)


class Reviewer:
    """One reviewer's desk; `box` is the widget to show. Whatever goes wrong in it is told in its info line."""

    def __init__(self, review: Review):
        self.review, self.item = review, None
        self.shelf = Shelf(self._make)
        self.boxed = True
        self._page: Page | None = None
        self._ready: Ready | None = None
        self.actions: dict[str, Callable[[], None]] = {
            "back": lambda: self._step(-1),
            "next": lambda: self._step(1),
            "unreviewed": self._next_unreviewed,
            "accept": lambda: self._judge(self.review.accept),
            "reject": lambda: self._judge(self.review.reject),
            "undo": self._undo,
            "comment": self._comment,
            "save": self._save,
            "reset": self._show_part,
            "boxes": self._toggle_boxes,
        }
        self._build()
        self._wire()
        self._guarded(self._filter)()

    # --- what it is made of -------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.filters = {
            name: widgets.Dropdown(options=[EVERY, *values], description=name, layout={"width": "auto"})
            for name, values in self.review.options.items()
        }
        for name, value in self.review.filters.items():
            self.filters[name].value = value or EVERY
        words = {"back": "← back", "next": "next →", "unreviewed": "next unreviewed", "save": "save the fix"}
        styles = {"accept": "success", "reject": "danger", "undo": "warning"}
        tips = {"accept": "key a", "reject": "key r", "undo": "key u", "back": "key ←", "next": "key →", "unreviewed": "key n"}
        tips |= {"comment": "key c goes to the field", "boxes": "key b: with or without boxes"}
        self.buttons = {
            name: widgets.Button(
                description=words.get(name, name),
                button_style=styles.get(name, ""),
                tooltip=tips.get(name, ""),
                layout={"width": "auto"},
            )
            for name in self.actions
        }
        self.bar = widgets.IntProgress(min=0, max=1, layout={"width": "160px"})
        self.place, self.info, self.stand = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.image = widgets.Image(format="jpeg", layout={"max_width": "100%"})
        self.legend, self.closer = widgets.HTML(), widgets.Image(format="jpeg", layout={"width": "360px"})
        self.pane = Pane()
        self.say = widgets.Text(placeholder="comment", layout={"width": "auto"})
        self.part = widgets.Dropdown(options=[("", None)], layout={"width": "150px"})
        self.text = widgets.Textarea(rows=4, layout={"width": "auto"})
        self.say.add_class("rl-say")
        self.text.add_class("rl-text")
        self.box = self._laid_out()
        self.box.add_class("rl-reviewer")

    def _laid_out(self) -> widgets.VBox:
        flow, of = {"flex_flow": "row wrap", "align_items": "center"}, self.buttons
        sides = {"flex_flow": "row wrap", "align_items": "flex-start"}
        half = {"flex": "1 1 380px", "min_width": "0"}
        left = widgets.VBox([self.image, self.legend, self.closer], layout=half)
        fix = widgets.VBox([widgets.HBox([self.part, of["save"], of["reset"]], layout=flow), self.text])
        right = widgets.VBox([self.pane, self.say, fix], layout=half)
        deciding = [of[name] for name in ("back", "next", "unreviewed", "accept", "reject", "comment", "undo", "boxes")]
        return widgets.VBox(
            [
                widgets.HBox(list(self.filters.values()), layout=flow),
                widgets.HBox([*deciding, self.bar, self.place], layout=flow),
                self.info,
                widgets.HBox([left, right], layout=sides),
                self.stand,
                widgets.HTML(HELP),
            ]
        )

    def _wire(self) -> None:
        for name, button in self.buttons.items():
            button.on_click(self._guarded(self.actions[name]))
        for chosen in self.filters.values():
            chosen.observe(self._guarded(self._filter), "value")
        self.part.observe(self._guarded(self._show_part), "value")
        self.pane.on_msg(lambda _, content, __: self._guarded(lambda: self._hear(content))())

    def _guarded(self, work: Callable[[], None]) -> Callable[..., None]:
        """A callback whose errors are shown: Jupyter would drop them unseen."""

        def run(*_: object) -> None:
            self.info.value = ""
            try:
                work()
            except UserError as error:
                self._tell(str(error), "rl-problem")
            except Exception as error:  # noqa: BLE001 (nothing above would show it)
                self._tell(f"{type(error).__name__}: {error}\n\n{traceback.format_exc(limit=-3)}", "rl-problem")

        return run

    def _tell(self, text: str, kind: str = "rl-comment") -> None:
        self.info.value = f'<div class="{kind}">{escape(text)}</div>'

    # --- what is shown --------------------------------------------------------------------------------------------------

    def _make(self, key: tuple[int, str]) -> Ready:
        return shelf.prepare(*self.review.picture(self.review.find(*key)))

    def _filter(self) -> None:
        wanted = {name: None if chosen.value == EVERY else chosen.value for name, chosen in self.filters.items()}
        self.queue = self.review.filter(**wanted)
        if not self.queue:
            raise UserError("no sample passes these filters")
        if self.item not in self.queue:
            self._go(self.review.next_unreviewed(self.queue) or self.queue[0])
        else:
            self._show_progress()

    def _go(self, item: Item) -> None:
        """Shows another sample, or the same one anew."""
        self._keep_comment()
        if item != self.item and self._unsaved():
            raise UserError(f"the {self.part.label} is changed but not saved: save the fix, or reset it")
        self.item = item
        self._page = self._ready = None
        self._show_progress()
        try:
            self._page = self.review.page(item)
        finally:
            self.pane.html = markup.conversation(self._page, item.title) if self._page else ""
        self._fill_parts()
        try:
            self._ready = self.shelf.take(_key(item), map(_key, self._likely()))
        finally:  # the picture of another sample must not stand beside this one
            self._show_picture()

    def _show_picture(self, lit: Sequence[tuple[float, ...]] = ()) -> None:
        """The picture with or without its boxes; one that is lit up stands out, and is shown closer below."""
        ready = self._ready
        boxes = ready.boxes if ready and self.boxed else []
        self.legend.value = markup.legend(boxes)
        if ready is None or (not lit and self.boxed):
            self.image.value = ready.jpeg if ready else b""
        else:
            self.image.value = shelf.drawn(ready.pixels, boxes, lit)
        self.closer.value = shelf.closer(ready.path, lit[0]) if lit else b""
        self.closer.layout.display = "" if lit else "none"

    def _toggle_boxes(self) -> None:
        self.boxed = not self.boxed
        self._show_picture()

    def _likely(self) -> list[Item]:
        """What may be asked for next."""
        place = self.queue.index(self.item) if self.item in self.queue else 0
        return [*self.queue[place + 1 : place + 1 + _AHEAD], *self.queue[max(0, place - 1) : place]]

    def _show_progress(self) -> None:
        done, whole = self.review.progress
        self.bar.max, self.bar.value = whole, done
        place = self.queue.index(self.item) + 1 if self.item in self.queue else 0
        self.place.value = f"{place:,} of {len(self.queue):,}; {done:,} of {whole:,} reviewed by {escape(self.review.who)}"
        self.stand.value = "<br>".join(escape(line) for line in report.lines(self.review))

    def _fill_parts(self) -> None:
        names = [(f"{i // 2 + 1} {markup.PARTS[i % 2]}", i) for i in range(len(self._page.turns))]
        first = next((2 * f["turn"] - (f["part"] == "question") - 1 for f in self._page.findings if f["turn"]), 1)
        self.part.options = names
        self.part.value = first if first < len(names) else 1
        self._show_part()

    def _said(self) -> str:
        if self._page is None or self.part.value is None:
            return ""
        return self._page.turns[self.part.value]["value"].removesuffix(f"\n{IMAGE}")

    def _show_part(self) -> None:
        self.text.value = self._said()

    def _unsaved(self) -> bool:
        return self._page is not None and self.text.value.strip() != self._said().strip()

    # --- what is done ---------------------------------------------------------------------------------------------------

    def _hear(self, content: dict) -> None:
        """A key, or a click on a box ("": on one that was lit)."""
        if "key" in content:
            self.actions[content["key"]]()
        elif "box" in content and self._ready is not None:
            box = tuple(float(edge) for edge in content["box"].split())
            self._show_picture([box] if box else [])

    def _step(self, by: int) -> None:
        place = self.queue.index(self.item) + by if self.item in self.queue else 0
        if not 0 <= place < len(self.queue):
            raise UserError("this is the last sample" if by > 0 else "this is the first sample")
        self._go(self.queue[place])

    def _next_unreviewed(self) -> None:
        following = self.review.next_unreviewed(self.queue, self.item)
        if following is None:
            self._go(self.item)
            self._tell(f"Every other of these {len(self.queue):,} samples is reviewed.")
        else:
            self._go(following)

    def _judge(self, decide: Callable[[Item, str], object]) -> None:
        if self._unsaved():
            raise UserError(f"the {self.part.label} is changed but not saved: save the fix, or reset it")
        decide(self.item, self.say.value)
        self.say.value = ""
        self._next_unreviewed()

    def _comment(self) -> None:
        self.review.comment(self.item, self.say.value)
        self.say.value = ""
        self._go(self.item)

    def _keep_comment(self) -> None:
        """A comment that was typed and not sent belongs to the sample that is left."""
        if self.item is not None and self.say.value.strip():
            self.review.comment(self.item, self.say.value)
            self.say.value = ""
            self._tell("The comment was kept.")

    def _save(self) -> None:
        place = self.part.value
        self.review.fix(self.item, place // 2 + 1, markup.PARTS[place % 2], self.text.value)
        self._go(self.item)

    def _undo(self) -> None:
        self.text.value = self._said()
        item = self.review.undo()
        self._go(item)
        self._tell(f"Taken back: the latest decision on {item.title}.")


def _key(item: Item) -> tuple[int, str]:
    return item.run, item.id


def show(review: Review) -> widgets.VBox:
    """The reviewer as a widget."""
    return Reviewer(review).box
