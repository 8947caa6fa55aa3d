"""The review widgets in JupyterLab: picture and conversation side by side, decisions by button or key, no network."""

import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from html import escape
from pathlib import Path

import anywidget
import ipywidgets as widgets
import traitlets

from retinal_lib.conversation import IMAGE
from retinal_lib.errors import UserError
from retinal_lib.imaging import boxed_picture, side_by_side
from retinal_lib.imaging.boxed_picture import Box, Picture
from retinal_lib.review import sample_html
from retinal_lib.review.finished_run import AcceptedSample
from retinal_lib.review.session import ReviewItem, ReviewSession

EVERY = "all"
_AHEAD = 3  # pictures that are drawn before they are needed
_MAX_PICTURES = 12  # in memory
_ON_A_SAMPLE = ("accept", "reject", "comment", "save", "undo")  # actions that must be meant for the sample on the screen
HELP = (
    "Keys, after a click into the desk: <b>a</b> accept, <b>r</b> reject (with the typed comment), <b>c</b> comment, "
    "<b>f</b> fix, <b>Esc</b> out of a field, <b>→ ←</b> next and back, <b>n</b> next unreviewed, <b>u</b> undo, "
    "<b>b</b> boxes, <b>Ctrl+Enter</b> save the fix"
)


_BUTTONS = {  # action -> text, style, tooltip
    "back": ("← back", "", "key ←"),
    "next": ("next →", "", "key →"),
    "unreviewed": ("next unreviewed", "", "key n"),
    "accept": ("accept", "success", "key a"),
    "reject": ("reject", "danger", "key r"),
    "comment": ("comment", "", "key c goes to the field"),
    "undo": ("undo", "warning", "key u"),
    "boxes": ("boxes", "", "key b: with or without boxes"),
    "save": ("save the fix", "", "key Ctrl+Enter in the field"),
    "reset": ("reset", "", ""),
}


class ConversationPane(anywidget.AnyWidget):
    """A conversation as HTML that sends a message for each key and each click of the desk around it. `html` must be escaped;
    `shown` counts the samples shown, and comes back with each message."""

    _esm = Path(__file__).with_name("reviewer.js").read_text(encoding="utf-8")
    _css = side_by_side.css() + Path(__file__).with_name("reviewer.css").read_text(encoding="utf-8")
    html = traitlets.Unicode("").tag(sync=True)
    shown = traitlets.Int(0).tag(sync=True)


class PictureCache:
    """A cache of the latest pictures, which draws the next ones in a background thread, one after the other."""

    def __init__(self, make: Callable[[Hashable], Picture]):
        self._make, self._futures = make, OrderedDict[Hashable, Future]()
        self._worker = ThreadPoolExecutor(1, "pictures")

    def order(self, key: Hashable) -> Future:
        """Starts drawing a picture, unless it is in the cache or being drawn."""
        if key not in self._futures:
            self._futures[key] = self._worker.submit(self._make, key)
        self._futures.move_to_end(key)
        while len(self._futures) > _MAX_PICTURES:
            self._futures.popitem(last=False)[1].cancel()
        return self._futures[key]

    def take(self, key: Hashable, following: Iterable[Hashable] = ()) -> Picture:
        """Returns a picture, once it is drawn; the `following` are drawn next. UserError: it cannot be read."""
        future = self.order(key)
        for other, waiting in list(self._futures.items()):  # this picture is drawn before those that may be needed later
            if other != key and not future.done() and waiting.cancel():
                del self._futures[other]
        try:
            picture = future.result()
        except BaseException:
            self._futures.pop(key, None)  # the file may be repaired
            raise
        for other in following:
            self.order(other)
        return picture

    def close(self) -> None:
        """Ends the thread."""
        self._worker.shutdown(wait=False, cancel_futures=True)


class Reviewer:
    """The widgets of a review session; `box` is the one to show. Errors are shown in its info line."""

    def __init__(self, session: ReviewSession):
        self.session = session
        self.sample: AcceptedSample | None = None
        self.pictures = PictureCache(lambda key: Picture(*session.picture(session.find(key))))
        self.with_boxes = True
        self._item: ReviewItem | None = None
        self._picture: Picture | None = None
        self._edited: int | None = None  # the question or answer whose text stands in the field
        self.actions: dict[str, Callable[[], None]] = {
            "back": lambda: self._step(-1),
            "next": lambda: self._step(1),
            "unreviewed": self._next_unreviewed,
            "accept": self._accept,
            "reject": lambda: self._decide(self.session.reject),
            "undo": self._undo,
            "comment": self._add_comment,
            "save": self._save,
            "reset": self._show_part,
            "boxes": self._toggle_boxes,
        }
        self._build()
        self._connect_events()
        self._show_errors(self._filter)()

    # --- the widgets -------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.filters = {
            name: widgets.Dropdown(
                options=[EVERY, *values], description=name, layout={"width": "auto"}, style={"description_width": "auto"}
            )
            for name, values in self.session.options.items()
        }
        for name, value in self.session.filters.items():
            self.filters[name].value = value or EVERY
        self.buttons = {
            name: widgets.Button(description=text, button_style=style, tooltip=tip, layout={"width": "auto"})
            for name, (text, style, tip) in _BUTTONS.items()
        }
        for name, button in self.buttons.items():
            button.add_class("rl-act").add_class(f"rl-act-{name}")
        self.bar = widgets.IntProgress(min=0, max=1, layout={"width": "100px"})
        self.place, self.info, self.summary, self.help = widgets.HTML(), widgets.HTML(), widgets.HTML(), widgets.HTML(HELP)
        self.image = widgets.Image(format="jpeg")
        self.legend, self.zoomed = widgets.HTML(), widgets.Image(format="jpeg")
        self.pane = ConversationPane()
        # a text is sent once it is whole, and so before the key or click that follows it
        self.comment = widgets.Text(placeholder="comment", continuous_update=False, layout={"width": "auto"})
        self.part = widgets.Dropdown(options=[("", None)], layout={"width": "150px"})
        self.text = widgets.Textarea(rows=3, continuous_update=False, layout={"width": "auto"})
        self.comment.add_class("rl-say")
        self.text.add_class("rl-text")
        self.box = self._layout()
        self.box.add_class("rl-reviewer")

    def _layout(self) -> widgets.VBox:
        flow, buttons = {"flex_flow": "row wrap", "align_items": "center"}, self.buttons
        left = widgets.VBox([self.image, self.legend, self.zoomed])
        fix = widgets.HBox([self.part, buttons["save"], buttons["reset"]], layout=flow)
        right = widgets.VBox([self.pane, self.comment, fix, self.text])
        sides = widgets.HBox([left, right])
        for part, name in ((sides, "rl-sides"), (left, "rl-seen"), (right, "rl-said"), (self.image, "rl-picture")):
            part.add_class(name)
        self.zoomed.add_class("rl-zoomed")
        for words in (self.legend, self.summary, self.help):
            words.add_class("rl-small")
        deciding = [button for name, button in buttons.items() if name not in ("save", "reset")]
        return widgets.VBox(
            [
                widgets.HBox([*self.filters.values(), self.bar], layout=flow),
                widgets.HBox([*deciding, self.place], layout=flow),
                self.info,
                sides,
                self.summary,
                self.help,
            ]
        )

    def _connect_events(self) -> None:
        for name, button in self.buttons.items():
            button.on_click(self._show_errors(self.actions[name]))
        for dropdown in self.filters.values():
            dropdown.observe(self._show_errors(self._filter), "value")
        self.part.observe(self._show_errors(self._choose_part), "value")
        self.pane.on_msg(lambda _, content, __: self._show_errors(lambda: self._on_message(content))())

    def _show_errors(self, work: Callable[[], None]) -> Callable[..., None]:
        """A callback that shows its errors: Jupyter would drop them."""

        def run(*_: object) -> None:
            self.info.value = ""
            try:
                work()
            except UserError as error:
                self._show_info(str(error), "rl-problem")
            except Exception as error:  # noqa: BLE001 (nothing else would show it)
                self._show_info(f"{type(error).__name__}: {error}\n\n{traceback.format_exc(limit=-3)}", "rl-problem")

        return run

    def _show_info(self, text: str, kind: str = "rl-comment") -> None:
        self.info.value = f'<div class="{kind}">{escape(text)}</div>'

    # --- showing ------------------------------------------------------------------------------------------------------

    def _filter(self) -> None:
        filters = {name: None if dropdown.value == EVERY else dropdown.value for name, dropdown in self.filters.items()}
        self.queue = self.session.filter(**filters)
        if self.sample in self.queue:
            self._show_progress()
        else:
            self._show(self.session.next_unreviewed(self.queue) or next(iter(self.queue), None))
        self._require_some()

    def _require_some(self) -> None:
        if not self.queue:
            raise UserError("no sample passes these filters; choose other ones")

    def _show(self, sample: AcceptedSample | None) -> None:
        """Shows another sample, the same one again, or none."""
        self._save_comment()
        if sample != self.sample:
            self._require_saved()
        self.sample, self._item, self._picture = sample, None, None
        try:
            if sample is not None:
                self._item = self.session.item(sample)
                self._picture = self.pictures.take(sample.key, [sample.key for sample in self._next_samples()])
        finally:  # picture and conversation change together: no decision may be on one beside the other of another sample
            self._show_picture()
            with self.pane.hold_sync():
                self.pane.html = sample_html.conversation(self._item, sample.title) if self._item else ""
                self.pane.shown += 1
            self._fill_parts()
            self._show_progress()

    def _show_picture(self, highlighted: Box | None = None) -> None:
        """Shows the picture with or without its boxes; the box `highlighted` is marked, and enlarged below."""
        picture = self._picture
        self.legend.value = boxed_picture.legend(picture.colours if picture and self.with_boxes else {})
        if picture is None or (not highlighted and self.with_boxes):
            self.image.value = picture.jpeg if picture else b""
        else:
            self.image.value = picture.to_jpeg(highlighted, self.with_boxes)
        self.zoomed.value = picture.zoom(highlighted) if highlighted else b""
        for widget in (self.image, self.zoomed):
            widget.layout.display = "" if widget.value else "none"

    def _toggle_boxes(self) -> None:
        self.with_boxes = not self.with_boxes
        self._show_picture()

    def _next_samples(self) -> list[AcceptedSample]:
        """The samples that may be asked for next."""
        index = self._index()
        return [*self.queue[index + 1 : index + 1 + _AHEAD], *self.queue[max(0, index - 1) : index]]

    def _show_progress(self) -> None:
        done, whole = self.session.progress
        self.bar.max, self.bar.value = whole, done
        number = self._index() + 1 if self.sample in self.queue else 0
        reviewed = f"{done:,} of {whole:,} reviewed by {escape(self.session.reviewer)}"
        self.place.value = f"{number:,} of {len(self.queue):,}; {reviewed}"
        self.summary.value = "<br>".join(map(escape, self.session.summary))

    def _index(self) -> int:
        return self.queue.index(self.sample) if self.sample in self.queue else 0

    def _fill_parts(self) -> None:
        self._edited = None
        if self._item is None:
            self.part.options, self.text.value = [("", None)], ""
            return
        names = [(f"{i // 2 + 1} {sample_html.PARTS[i % 2]}", i) for i in range(len(self._item.turns))]
        first = next((2 * f["turn"] - (f["part"] == "question") - 1 for f in self._item.findings if f["turn"]), 1)
        self.part.options = names
        self.part.value = first if first < len(names) else 1
        self._show_part()

    def _choose_part(self) -> None:
        if self.part.value != self._edited:
            try:
                self._require_saved()
            except UserError:
                self.part.value = self._edited
                raise
            self._show_part()

    def _part_text(self) -> str:
        """The question or answer that is being edited, without the edit."""
        if self._item is None or self._edited is None:
            return ""
        return self._item.turns[self._edited]["value"].removesuffix(f"\n{IMAGE}")

    def _show_part(self) -> None:
        self._edited = self.part.value
        self.text.value = self._part_text()

    def _require_saved(self) -> None:
        if self._edited is not None and self.text.value.strip() != self._part_text().strip():
            name = f"{sample_html.PARTS[self._edited % 2]} {self._edited // 2 + 1}"
            raise UserError(f"{name} has changed but is not saved; save the fix, or reset it")

    # --- acting -------------------------------------------------------------------------------------------------------

    def _on_message(self, content: dict) -> None:
        """Acts on a key or button, or on a click on a box ("": on one that is highlighted)."""
        if "key" in content:
            action = self.actions[content["key"]]
            if content["key"] in _ON_A_SAMPLE and content.get("shown") != self.pane.shown:
                raise UserError("not done: another sample has come since; look at it, then press again")
            action()
        elif "box" in content and self._picture is not None:
            self._show_picture(tuple(float(edge) for edge in content["box"].split()))

    def _step(self, by: int) -> None:
        self._require_some()
        index = self._index() + by if self.sample in self.queue else 0
        if not 0 <= index < len(self.queue):
            raise UserError("this is the last sample" if by > 0 else "this is the first sample")
        self._show(self.queue[index])

    def _next_unreviewed(self) -> None:
        self._require_some()
        following = self.session.next_unreviewed(self.queue, self.sample)
        if following is None:
            self._show(self.sample)
            self._show_info("All other samples that pass these filters are reviewed.")
        else:
            self._show(following)

    def _require_shown(self) -> None:
        if self._item is None:
            raise UserError("no conversation is shown, so there is nothing to decide")

    def _accept(self) -> None:
        if self._picture is None and self._item is not None:
            raise UserError("the picture cannot be shown, so its conversation cannot be accepted; reject it, or go on")
        self._decide(self.session.accept)

    def _decide(self, decide: Callable[[AcceptedSample, str], object]) -> None:
        self._require_shown()
        self._require_saved()
        decide(self.sample, self.comment.value)
        self.comment.value = ""
        self._next_unreviewed()

    def _add_comment(self) -> None:
        self._require_shown()
        self.session.comment(self.sample, self.comment.value)
        self.comment.value = ""
        self._show(self.sample)

    def _save_comment(self) -> None:
        """Saves a typed comment before another sample is shown."""
        if self.sample is not None and self.comment.value.strip():
            self.session.comment(self.sample, self.comment.value)
            self.comment.value = ""
            self._show_info("The comment was saved.")

    def _save(self) -> None:
        self._require_shown()
        index = self._edited
        self.session.fix(self.sample, index // 2 + 1, sample_html.PARTS[index % 2], self.text.value)
        self._show(self.sample)

    def _undo(self) -> None:
        self._show_part()
        sample = self.session.undo()
        self._show(sample)
        self._show_info(f"Undone: the latest decision on {sample.title}.")
