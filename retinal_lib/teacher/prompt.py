"""Makes prompts from a track's template and named parts, so that a prompt names only what a description can contain."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from string import Template

import yaml

from retinal_lib.dataset import measurements
from retinal_lib.dataset.fact_kinds import KINDS, AutoMorphFacts, Grade, Kind, Say, scales
from retinal_lib.dataset.page import Page
from retinal_lib.errors import UserError
from retinal_lib.facts import ASPECTS

PROMPTS = Path(__file__).parent / "prompts"


@cache
def _parts() -> dict:
    return yaml.safe_load((PROMPTS / "parts.yaml").read_text(encoding="utf-8"))


@cache
def _template(track: str, style: str | None) -> str:
    name = f"{track}-{style}" if style else track
    return (PROMPTS / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")


def track_aspects(track: str) -> tuple[str, ...]:
    """Returns the aspects that a track uses: vessel measurements belong to the instruction track."""
    return tuple(aspect for aspect in ASPECTS if track == "instruction" or aspect != "vascular")


def page_aspects(page: Page) -> tuple[str, ...]:
    """Returns the aspects of which a page can have facts, in the order of a description."""
    given = {"image"} | {aspect for kind in page.facts for aspect in kind.gives}
    return tuple(aspect for aspect in ASPECTS if aspect in given)


def render(page: Page, track: str, style: str | None, aspects: Iterable[str]) -> str:
    """Returns the system prompt for images of a page that have these aspects. UserError: the template has an unknown slot."""
    parts = _parts()
    present = [a for a in ASPECTS if a in set(aspects)]
    slots = {
        "turns": parts["turns"][track],
        "hidden": "\n".join(f"- {_hidden(page, aspect)}" for aspect in present),
        "coverage": "\n".join(_coverage(page, track, style, present)),
        "rules": "".join(parts["rules"][rule] for rule in _rules(page, style, present)),
    }
    return _fill(_template(track, style), **slots)


def _coverage(page: Page, track: str, style: str | None, present: list[str]) -> list[str]:
    """What the answers must cover, as bullets; indented in the alignment track."""
    coverage = _parts()["coverage"] | (_parts()["consult"] if style == "consult" else {})
    bullet = "- " if track == "instruction" else "  - "
    slots = {"eye": _eye(page), "stage": _parts()["stage"] if page.kind("grade") else ""}
    return [bullet + _fill(coverage[aspect], **slots) for aspect in present if aspect in coverage]


def _rules(page: Page, style: str | None, present: list[str]) -> list[str]:
    """The names of the rules for answers: for grades, vessels, a record of both eyes, and lesions."""
    applies = {
        "grade": "disease" in present and page.kind("grade"),
        "vascular": "vascular" in present,
        "patient": "patient" in present and page.kind("patient_labels"),
        "lesion": "lesion" in present and style != "consult",
    }
    return [rule for rule, holds in applies.items() if holds]


def _fill(text: str, **slots: str) -> str:
    try:
        return Template(text).substitute(slots)
    except KeyError as missing:
        raise UserError(f"the prompt has an unknown slot ${missing.args[0]}; known: {', '.join(slots)}") from missing


def _eye(page: Page) -> str:
    """The part on the eye: known for every image where names contain it, else for images in the page's pairing table."""
    if "(?P<eye>" in page.image or isinstance(page.key, dict):
        return _parts()["eye"]
    return _parts()["paired eye"] if page.pairs is not None else ""


def _hidden(page: Page, aspect: str) -> str:
    texts = [_kind_text(page, kind, aspect) for kind in page.facts if aspect in kind.gives]
    # AutoMorph's quality is used only where graders gave none
    graded = aspect == "quality" and page.kind("quality")
    slots = {"eye": _eye(page), aspect: (_parts()["or"] if graded else "; ").join(filter(None, texts))}
    return _fill(_parts()["hidden"][aspect], **slots)


def _kind_text(page: Page, kind: Kind, aspect: str) -> str:
    if isinstance(kind, Grade):
        scale = scales()[kind.scale]
        return _fill(_parts()["grade"], of=scale["of"], title=scale["title"], top=str(max(scale["levels"])))
    if isinstance(kind, AutoMorphFacts) and aspect == "vascular":
        return measurements.note(page.tell)
    if isinstance(kind, Say):
        return f"{_parts()['always']}{kind.text}"
    name = next(name for name, class_ in KINDS.items() if class_ is type(kind))
    return _parts()["kinds"].get(name, {}).get(aspect, "")
