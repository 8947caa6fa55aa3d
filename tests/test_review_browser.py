"""The review notebook as a person uses it: a real Chromium on JupyterLab. Skipped where either cannot be started."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from retinal_lib import Job, paths

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 90  # seconds for JupyterLab and a kernel to start on a busy machine


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A headless Chromium: the one on PATH, else playwright's own."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[browser]'")
    with api.sync_playwright() as play:
        try:
            found = next(filter(None, map(shutil.which, NAMES)), None)
            started = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"no Chromium can be started: {str(error).splitlines()[0]}")
        yield started
        started.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of drawn eyes with lesions."""
    folder = tmp_path_factory.mktemp("review") / "run"
    Job.load(dataset="IDRiD_seg", out_dir=str(folder)).run()
    return folder


@pytest.fixture(scope="module")
def lab(run: Path) -> Iterator[str]:
    """JupyterLab's address, with a copy of the notebook that reviews the run."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: pip install -e '.[browser]'")
    notebook = json.loads((ROOT / "notebooks" / "review.ipynb").read_text(encoding="utf-8"))
    cell = next(c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", []))
    cell["source"] = [*cell["source"], "\ndataset = 'IDRiD_seg'", f"\nout_dir = {str(run)!r}", "\nreviewer = 'Ada'"]
    (run.parent / "review.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": run.parent,
    }
    options |= {"IdentityProvider.token": "", "ServerApp.allow_root": True, "LabApp.expose_app_in_browser": True}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RETINAL_LIB_ROOT": str(paths.root())}
    environment.pop(paths.NON_INTERACTIVE, None)
    arguments = [f"--{name}={value}" for name, value in options.items()]
    with (run.parent / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *arguments], env=environment, stdout=log, stderr=log, cwd=run.parent
        )
        try:
            yield _answering(f"http://127.0.0.1:{port}", server, run.parent / "lab.log")
        finally:
            server.terminate()
            server.wait(30)


def _answering(address: str, server: subprocess.Popen, log: Path) -> str:
    for _ in range(PATIENCE * 2):
        if server.poll() is not None:
            pytest.skip(f"JupyterLab does not start: {log.read_text()[-300:]}")
        try:
            urllib.request.urlopen(f"{address}/api/status", timeout=2).close()
            return address
        except OSError:
            time.sleep(0.5)
    pytest.skip("JupyterLab does not answer")


@pytest.fixture(scope="module")
def desk(browser: object, lab: str) -> Iterator[object]:
    """The page with the notebook run and the reviewer in it."""
    page = browser.new_page(viewport={"width": 1500, "height": 1300})
    page.goto(f"{lab}/lab/tree/review.ipynb")
    page.wait_for_selector(".jp-Notebook", timeout=PATIENCE * 1000)
    page.wait_for_function(
        "window.jupyterapp?.shell.currentWidget?.context?.sessionContext?.session?.kernel", timeout=PATIENCE * 1000
    )
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector(".rl-reviewer .rl-pane h3", timeout=PATIENCE * 1000)
    page.locator(".rl-reviewer").scroll_into_view_if_needed()
    yield page
    page.close()


def picture(page: object) -> str:
    return page.evaluate("document.querySelector('.rl-reviewer img').src")


def title(page: object) -> str:
    return page.inner_text(".rl-pane h3")


def until(page: object, condition: str) -> None:
    page.wait_for_function(condition, timeout=20_000)


def click(page: object, name: str) -> None:
    page.click(f".rl-reviewer button:text-is('{name}')")


def decided(run: Path) -> list[dict]:
    file = run / "reviews.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def shot(page: object, name: str) -> None:
    if folder := os.environ.get("RETINAL_LIB_SHOTS"):
        page.screenshot(path=f"{folder}/{name}.png")


def test_next_shows_another_picture(desk: object) -> None:
    desk.wait_for_function("document.querySelector('.rl-reviewer img').naturalWidth > 300", timeout=20_000)
    before, first = picture(desk), title(desk)
    shot(desk, "first")
    click(desk, "next →")
    until(desk, f"document.querySelector('.rl-reviewer img').src != {before!r}")
    assert title(desk) != first


def test_a_rejection_with_its_comment_is_in_the_file(desk: object, run: Path) -> None:
    name = title(desk).split()[0]
    desk.fill(".rl-say input", "The disc is <b>not</b> there")
    click(desk, "reject")
    until(desk, f"!document.querySelector('.rl-pane h3').innerText.startsWith({name!r})")
    last = decided(run)[-1]
    assert (last["id"], last["who"], last["what"], last["text"]) == (name, "Ada", "reject", "The disc is <b>not</b> there")
    click(desk, "← back")
    until(desk, f"document.querySelector('.rl-pane h3').innerText.startsWith({name!r})")
    assert desk.inner_text(".rl-pane .rl-comment") == "The disc is <b>not</b> there"
    shot(desk, "rejected")


# --- keys and focus --------------------------------------------------------------------------------------------------

PICTURE, SAY, FIX = ".rl-reviewer .rl-picture", ".rl-say input", ".rl-text textarea"


def name(page: object) -> str:
    return title(page).split()[0]


def moved(page: object, before: str) -> None:
    until(page, f"!document.querySelector('.rl-pane h3').innerText.startsWith({before!r})")


def told(page: object, text: str) -> None:
    until(page, f"document.querySelector('.rl-reviewer').innerText.includes({text!r})")


NOTEBOOK = """(() => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    const cells = [...notebook.model.cells].map((cell) => [cell.id, cell.type, cell.sharedModel.source, cell.executionCount]);
    return JSON.stringify([notebook.mode, cells]);
})()"""


@pytest.fixture
def notebook(desk: object) -> Iterator[None]:
    """Fails where a key of the desk reached the notebook: its cells, what they hold, their runs and the mode stay."""
    before = desk.evaluate(NOTEBOOK)
    yield
    assert desk.evaluate(NOTEBOOK) == before


@pytest.mark.parametrize("place", [PICTURE, ".rl-pane h3", ".rl-reviewer .rl-key", ".rl-reviewer .progress"])
def test_a_click_anywhere_in_the_desk_gives_it_the_keys(desk: object, run: Path, notebook: None, place: str) -> None:
    before, number = name(desk), len(decided(run))
    desk.click(place)
    desk.keyboard.press("ArrowRight")
    moved(desk, before)
    desk.keyboard.press("ArrowLeft")
    until(desk, f"document.querySelector('.rl-pane h3').innerText.startsWith({before!r})")
    desk.keyboard.press("a")
    moved(desk, before)
    assert (decided(run)[-1]["id"], decided(run)[-1]["what"]) == (before, "accept")
    desk.keyboard.press("u")
    until(desk, f"document.querySelector('.rl-pane h3').innerText.startsWith({before!r})")
    assert [line["what"] for line in decided(run)[number:]] == ["accept", "undo"]


def test_every_key_does_its_work(desk: object, run: Path, notebook: None) -> None:
    desk.click(PICTURE)
    first = name(desk)
    desk.keyboard.press("n")
    moved(desk, first)
    second, whole = name(desk), picture(desk)
    desk.keyboard.press("b")
    until(desk, f"document.querySelector('.rl-reviewer img').src != {whole!r}")
    assert desk.locator(".rl-reviewer .rl-key").count() == 0
    desk.keyboard.press("b")
    until(desk, "document.querySelectorAll('.rl-reviewer .rl-key').length > 0")
    desk.keyboard.press("r")
    moved(desk, second)
    assert (decided(run)[-1]["id"], decided(run)[-1]["what"]) == (second, "reject")
    desk.keyboard.press("U")  # as with Caps Lock
    until(desk, f"document.querySelector('.rl-pane h3').innerText.startsWith({second!r})")
    assert decided(run)[-1]["what"] == "undo"
    number = len(decided(run))
    for key in ("d", "d", "x", "z", "m", "y", "Shift+m", "Shift+Enter", "Control+Enter", "Enter", "Delete", "0", "0"):
        desk.keyboard.press(key)  # keys with which the notebook deletes, merges, runs and restarts
    assert name(desk) == second and len(decided(run)) == number


@pytest.mark.parametrize(("key", "field"), [("c", SAY), ("f", FIX)])
@pytest.mark.parametrize("back", ["Escape", "click"])
def test_out_of_a_field_keys_are_keys_again(desk: object, run: Path, notebook: None, key: str, field: str, back: str) -> None:
    desk.click(".rl-pane h3")
    before, number = name(desk), len(decided(run))
    desk.keyboard.press(key)
    text = desk.input_value(field)
    desk.keyboard.press("End")
    desk.keyboard.type("rauna")  # in a field, letters are letters
    assert "rauna" in desk.input_value(field) and len(decided(run)) == number and name(desk) == before
    for _ in "rauna":
        desk.keyboard.press("Backspace")
    assert desk.input_value(field) == text
    if back == "Escape":
        desk.keyboard.press("Escape")
    else:
        desk.click(PICTURE)
    desk.keyboard.press("r")
    moved(desk, before)
    assert (decided(run)[-1]["id"], decided(run)[-1]["what"]) == (before, "reject")
    desk.keyboard.press("u")
    until(desk, f"document.querySelector('.rl-pane h3').innerText.startsWith({before!r})")


def test_a_comment_and_a_fix_by_keys_alone(desk: object, run: Path, notebook: None) -> None:
    desk.click(PICTURE)
    before = name(desk)
    desk.keyboard.press("f")
    desk.keyboard.press("Control+a")
    desk.keyboard.type("This is a colour fundus photograph.")
    desk.keyboard.press("Control+Enter")
    until(desk, "document.querySelector('.rl-pane .rl-mark')?.innerText == 'fixed'")
    assert (decided(run)[-1]["id"], decided(run)[-1]["text"]) == (before, "This is a colour fundus photograph.")
    desk.keyboard.press("c")
    desk.keyboard.type("the arcade is right")
    desk.keyboard.press("Enter")
    desk.keyboard.press("r")
    moved(desk, before)
    last = decided(run)[-1]
    assert (last["id"], last["what"], last["text"]) == (before, "reject", "the arcade is right")
    for _ in ("reject", "fix"):
        number = len(decided(run))
        desk.keyboard.press("u")
        told(desk, "Undone")
        until(desk, f"document.querySelector('.rl-pane h3').innerText.startsWith({before!r})")
        assert len(decided(run)) == number + 1
        for _ in range(2):
            desk.keyboard.press("b")  # the next action clears the message
        until(desk, "!document.querySelector('.rl-reviewer').innerText.includes('Undone')")


def test_a_key_held_down_or_a_double_click_decides_once(desk: object, run: Path, notebook: None) -> None:
    desk.click(PICTURE)
    before, number = name(desk), len(decided(run))
    for _ in range(4):
        desk.keyboard.down("a")
    desk.keyboard.up("a")
    moved(desk, before)
    assert len(decided(run)) == number + 1
    desk.keyboard.press("u")
    until(desk, f"document.querySelector('.rl-pane h3').innerText.startsWith({before!r})")
    accept = "[...document.querySelectorAll('.rl-reviewer button')].find((b) => b.innerText == 'accept')"
    desk.evaluate(f"{accept}.click(), {accept}.click()")  # both before the next sample is shown
    told(desk, "another sample has come since")
    assert len(decided(run)) == number + 3 and decided(run)[-1]["id"] == before
    click(desk, "undo")
    until(desk, f"document.querySelector('.rl-pane h3').innerText.startsWith({before!r})")


def test_a_filter_that_nothing_passes_clears_the_desk(desk: object, run: Path, notebook: None) -> None:
    before, number = name(desk), len(decided(run))
    desk.select_option(".rl-reviewer .widget-dropdown:has-text('state') select", "fixed")
    told(desk, "no sample passes these filters")
    until(desk, "!document.querySelector('.rl-pane').innerText")
    assert not desk.is_visible(PICTURE) and desk.input_value(FIX) == "" and "0 of 0" in desk.inner_text(".rl-reviewer")
    shot(desk, "nothing")
    for key in "arn":
        desk.keyboard.press("Escape")
        desk.keyboard.press(key)
    click(desk, "accept")
    told(desk, "nothing to decide")
    assert len(decided(run)) == number
    desk.select_option(".rl-reviewer .widget-dropdown:has-text('state') select", "all")
    until(desk, "document.querySelector('.rl-pane h3')")
    assert desk.is_visible(PICTURE) and before


def test_everything_is_visible_on_a_small_screen(desk: object) -> None:
    desk.set_viewport_size({"width": 1280, "height": 720})
    desk.locator(".rl-reviewer").evaluate("(desk) => desk.scrollIntoView()")
    desk.locator(".rl-pane .rl-box").first.click()
    until(desk, "document.querySelector('.rl-reviewer .rl-zoomed').getBoundingClientRect().height > 100")
    shot(desk, "small")
    window = desk.locator(".jp-WindowedPanel-outer").first.bounding_box()
    for part in (
        PICTURE,
        ".rl-reviewer .rl-zoomed",
        ".rl-pane",
        SAY,
        FIX,
        *(f".rl-act-{b}" for b in ("accept", "save", "reset")),
    ):
        box = desk.locator(part).bounding_box()
        assert window["y"] <= box["y"] and box["y"] + box["height"] <= window["y"] + window["height"] + 1, (part, box, window)
        assert window["x"] <= box["x"] and box["x"] + box["width"] <= window["x"] + window["width"] + 1, (part, box, window)
    assert desk.locator(".rl-pane").bounding_box()["height"] > 150, "room to read"
    desk.set_viewport_size({"width": 1500, "height": 1300})


def test_a_box_lights_up_where_it_is_clicked(desk: object) -> None:
    before = picture(desk)
    desk.locator(".rl-pane .rl-box").nth(3).click()
    until(desk, f"document.querySelector('.rl-reviewer img').src != {before!r}")
    assert desk.locator(".rl-pane .rl-lit").count() == 1
    until(desk, "[...document.querySelectorAll('.rl-reviewer img')].at(-1).naturalWidth == 360")
    shot(desk, "lit")
    assert ".tif" in desk.locator(".rl-pane .rl-box").nth(3).get_attribute("title")


def test_a_fix_that_the_checks_refuse_is_told(desk: object, run: Path) -> None:
    before = len(decided(run))
    desk.fill(".rl-text textarea", "The image shows 97 drusen in the left eye.")
    click(desk, "save the fix")
    until(desk, "document.querySelector('.rl-reviewer .rl-problem')?.innerText.includes('not saved')")
    shot(desk, "refused")
    click(desk, "reset")
    assert len(decided(run)) == before


def test_a_click_is_answered_quickly(desk: object) -> None:
    times = desk.evaluate(
        """async () => {
            const times = [];
            for (let i = 0; i < 5; i++) {
                await new Promise((go) => setTimeout(go, 600));
                const image = document.querySelector(".rl-reviewer img"), start = performance.now(), before = image.src;
                [...document.querySelectorAll(".rl-reviewer button")].find((b) => b.innerText == "next →").click();
                while (image.src == before) await new Promise((go) => setTimeout(go, 1));
                times.push(performance.now() - start);
            }
            return times.sort((a, b) => a - b);
        }"""
    )
    print("click to new picture in Chromium, ms:", [round(t) for t in times])
    assert times[2] < 1000, "far above what a quiet machine takes"
