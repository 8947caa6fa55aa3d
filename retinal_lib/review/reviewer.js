// The conversation of a sample: reports pressed keys and clicked boxes to the kernel. Loads nothing.
const KEYS = {
  a: "accept", r: "reject", u: "undo", n: "unreviewed", ArrowRight: "next", ArrowLeft: "back", c: "comment", f: "fix", b: "boxes",
};
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

  pane.addEventListener("click", (event) => {
    const mark = event.target.closest("[data-box]");
    for (const other of pane.querySelectorAll(".rl-lit")) if (other !== mark) other.classList.remove("rl-lit");
    if (mark) model.send({ box: mark.classList.toggle("rl-lit") ? mark.dataset.box : "" });
  });

  let root = null;
  const press = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest(TYPING)) {
      if (event.key === "Escape") pane.focus();
      return;
    }
    const key = KEYS[event.key];
    if (!key) return;
    event.preventDefault();
    event.stopPropagation();
    const field = { comment: ".rl-say input", fix: ".rl-text textarea" }[key];
    if (field) root.querySelector(field)?.focus();
    else model.send({ key });
  };
  const attach = (tries) => {
    root = el.closest(".rl-reviewer");
    if (root) {
      root.setAttribute("data-lm-suppress-shortcuts", "true"); // or JupyterLab takes "a" for a new cell
      root.addEventListener("keydown", press);
    } else if (tries) requestAnimationFrame(() => attach(tries - 1));
  };
  attach(300);
  return () => {
    model.off("change:html", show);
    root?.removeEventListener("keydown", press);
  };
}

export default { render };
