"""Prompts put together from a track's template and named parts, so that a prompt claims only what a description can give."""

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
    """Returns the aspects that a track tells: vessel measurements belong to the instruction track."""
    return tuple(aspect for aspect in ASPECTS if track == "instruction" or aspect != "vascular")


def page_aspects(page: Page) -> tuple[str, ...]:
    """Returns the aspects that a page can give at all, in the order of a description."""
    given = {"image"} | {aspect for kind in page.facts for aspect in kind.gives}
    return tuple(aspect for aspect in ASPECTS if aspect in given)


def render(page: Page, track: str, style: str | None, aspects: Iterable[str]) -> str:
    """Returns the system prompt for images of a page that have these aspects. UserError: a slot of the template has no part."""
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
    """What the answers must cover, as bullets; in the alignment track they stand below a bullet."""
    wanted = _parts()["coverage"] | (_parts()["consult"] if style == "consult" else {})
    bullet = "- " if track == "instruction" else "  - "
    slots = {"eye": _eye(page), "stage": _parts()["stage"] if page.kind("grade") else ""}
    return [bullet + _fill(wanted[aspect], **slots) for aspect in present if aspect in wanted]


def _rules(page: Page, style: str | None, present: list[str]) -> list[str]:
    """The parts that bind the answers: for grades, vessels, a record that speaks of both eyes, and boxes where told."""
    binding = {
        "grade": "disease" in present and page.kind("grade"),
        "vascular": "vascular" in present,
        "patient": "patient" in present and page.kind("patient_labels"),
        "lesion": "lesion" in present and style != "consult",
    }
    return [rule for rule, binds in binding.items() if binds]


def _fill(text: str, **slots: str) -> str:
    try:
        return Template(text).substitute(slots)
    except KeyError as missing:
        raise UserError(f"the prompt has a slot ${missing.args[0]} that no part fills; known: {', '.join(slots)}") from missing


def _eye(page: Page) -> str:
    """Every image of a page that reads the eye from the name has one; a pairing table may lack some."""
    if "(?P<eye>" in page.image or isinstance(page.key, dict):
        return _parts()["eye"]
    return _parts()["paired eye"] if page.pairs is not None else ""


def _hidden(page: Page, aspect: str) -> str:
    """What a line of this page's descriptions holds, from the kinds that fill it."""
    texts = [_kind_text(kind, aspect) for kind in page.facts if aspect in kind.gives]
    # AutoMorph's verdict on the quality is told only where graders gave none
    graded = aspect == "quality" and page.kind("quality")
    holds = {"eye": _eye(page), aspect: (_parts()["or"] if graded else "; ").join(filter(None, texts))}
    return _fill(_parts()["hidden"][aspect], **holds)


def _kind_text(kind: Kind, aspect: str) -> str:
    if isinstance(kind, Grade):
        scale = scales()[kind.scale]
        return _fill(_parts()["grade"], of=scale["of"], title=scale["title"], top=str(max(scale["levels"])))
    if isinstance(kind, AutoMorphFacts) and aspect == "vascular":
        return " ".join(measurements.SPEC["note"].split())
    if isinstance(kind, Say):
        return f"{_parts()['always']}{kind.text}"
    name = next(name for name, known in KINDS.items() if known is type(kind))
    return _parts()["kinds"].get(name, {}).get(aspect, "")
