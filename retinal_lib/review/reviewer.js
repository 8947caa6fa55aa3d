// The desk's keys and clicks. Each one tells the kernel which sample was on the screen, so that it cannot judge another one.
// Loads nothing.
const KEYS = {
  a: "accept", r: "reject", u: "undo", n: "unreviewed", ArrowRight: "next", ArrowLeft: "back", b: "boxes",
};
const FIELDS = { c: ".rl-say input", f: ".rl-text textarea" };
const TYPING = "input, textarea, select, [contenteditable]";

function render({ model, el }) {
  const pane = document.createElement("div");
  pane.className = "rl-pane";
  pane.tabIndex = 0;
  el.appendChild(pane);
  const show = () => {
    pane.innerHTML = model.get("html");
    pane.scrollTop = 0;
  };
  model.on("change:html", show);
  show();

  let keyboard = false; // the latest input came from there
  const deskOf = (event) => {
    const desk = el.closest(".rl-reviewer");
    return desk?.contains(event.target) ? desk : null;
  };
  const takeKeys = () => pane.focus({ preventScroll: true });
  const act = (key) => model.send({ key, shown: model.get("shown") });
  const end = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
  };

  const typed = (event, field) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && field.tagName === "TEXTAREA") {
      field.blur(); // sends the text first
      act("save");
    } else if (event.key !== "Escape" && !(event.key === "Enter" && field.tagName === "INPUT")) return;
    takeKeys();
    end(event);
  };
  const press = (event) => {
    const desk = deskOf(event);
    if (!desk) return;
    keyboard = true;
    const command = event.ctrlKey || event.metaKey;
    // JupyterLab takes no key from the desk ("a" would insert a cell) but the one that saves the notebook; it looks for this
    // mark from the focused element upwards and stops where a shortcut fits, so that one around the desk is not seen
    event.target.toggleAttribute("data-lm-suppress-shortcuts", !(command && event.key === "s"));
    const field = event.target.closest(TYPING);
    if (field) return typed(event, field);
    if (event.repeat && event.target.closest("button")) return end(event); // a key held down acts once
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (command || event.altKey || !(key in KEYS || key in FIELDS)) return;
    end(event);
    if (key in FIELDS) desk.querySelector(FIELDS[key])?.focus();
    else if (!event.repeat || key.startsWith("Arrow")) act(KEYS[key]);
  };

  const point = (event) => {
    const desk = deskOf(event);
    if (!desk) return;
    keyboard = false;
    desk.tabIndex = -1; // a click on the picture stays in the desk; it would go to the notebook
  };
  const click = (event) => {
    if (!deskOf(event)) return;
    const button = event.target.closest("button.rl-act");
    if (button) {
      end(event);
      act([...button.classList].find((name) => name.startsWith("rl-act-")).slice("rl-act-".length));
    }
    const mark = event.target.closest("[data-box]");
    if (mark && pane.contains(mark)) {
      for (const other of pane.querySelectorAll(".rl-lit")) if (other !== mark) other.classList.remove("rl-lit");
      model.send({ box: mark.classList.toggle("rl-lit") ? mark.dataset.box : "" });
    }
    if (event.detail && !event.target.closest(TYPING)) takeKeys(); // 0: a button pressed from the keyboard
  };
  const choose = (event) => {
    if (deskOf(event) && event.target.tagName === "SELECT" && !keyboard) takeKeys();
  };

  // at the document, before widgets and JupyterLab, which keep events to themselves
  const listeners = { keydown: press, pointerdown: point, click, change: choose };
  for (const [name, listener] of Object.entries(listeners)) document.addEventListener(name, listener, true);
  return () => {
    model.off("change:html", show);
    for (const [name, listener] of Object.entries(listeners)) document.removeEventListener(name, listener, true);
  };
}

export default { render };
