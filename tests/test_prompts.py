"""Every system prompt as a text to read, and that it claims what its dataset can give and nothing else.

After a change to a template or a part, `python tests/test_prompts.py` writes tests/golden anew; read the diff.
"""

import re
from pathlib import Path
from string import Template

import pytest

from retinal_lib import paths
from retinal_lib.dataset import page
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.errors import UserError
from retinal_lib.facts import ASPECTS
from retinal_lib.run.settings import STYLES
from retinal_lib.teacher import prompt

GOLDEN = Path(__file__).parent / "golden"
KINDS = [(track, style) for track, styles in STYLES.items() for style in styles or (None,)]
EVERY = [(name, track, style) for name in page.names() for track, style in KINDS]


def rendered(name: str, track: str, style: str | None) -> str:
    """The prompt for an image that has all that its page gives and the track tells."""
    found = page.get(name)
    return prompt.render(found, track, style, [a for a in prompt.page_aspects(found) if a in prompt.track_aspects(track)])


def golden(name: str, track: str, style: str | None) -> Path:
    return GOLDEN / ("-".join(filter(None, (name, track, style))) + ".txt")


@pytest.mark.parametrize(("name", "track", "style"), EVERY)
def test_a_prompt_is_the_text_that_was_read_and_found_good(name: str, track: str, style: str | None) -> None:
    assert rendered(name, track, style) + "\n" == golden(name, track, style).read_text(encoding="utf-8")


def test_there_is_a_text_for_each_prompt_and_no_other() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {golden(*each).name for each in EVERY}


@pytest.mark.parametrize(("name", "track", "style"), EVERY)
def test_no_slot_stays_and_no_line_is_odd(name: str, track: str, style: str | None) -> None:
    text = rendered(name, track, style)
    assert not re.search(r"\$|\bNone\b|\.\.|;;|,,| [;,.]|: ;|\n\n\n", text)
    assert not re.search(r"[^\n ] {2,}", text) and not re.search(r" $", text, re.M)
    for block in re.findall(r"(?:^ *- .*\n)+", text + "\n", re.M):
        assert len(set(block.splitlines())) == len(block.splitlines()), "a bullet stands twice"


@pytest.mark.parametrize("name", page.names())
def test_what_must_be_covered_stands_below_its_rule_in_the_alignment_track(name: str) -> None:
    for style in STYLES["alignment"]:
        lines = rendered(name, "alignment", style).splitlines()
        rule = next(i for i, line in enumerate(lines) if line in ("- cover:", "- sum up:"))
        after = next(i for i, line in enumerate(lines[rule + 1 :], start=rule + 1) if not line.startswith("  - "))
        assert after > rule + 1 and lines[after].startswith("- ")


@pytest.mark.parametrize(("name", "track", "style"), EVERY)
def test_a_prompt_speaks_of_what_its_page_gives_and_of_nothing_else(name: str, track: str, style: str | None) -> None:
    found, text = page.get(name), rendered(name, track, style)
    hidden = text.split("each with a title:\n")[1].split("\n\n")[0].splitlines()
    told = [a for a in prompt.page_aspects(found) if a in prompt.track_aspects(track)]
    assert [line.removeprefix("- ").split(":")[0] for line in hidden] == [ASPECTS[aspect] for aspect in told]
    assert all(line.split(": ", 1)[1] for line in hidden)
    entries = {type(kind).__name__ for kind in found.facts}
    graded = {kind.scale for kind in found.facts if type(kind).__name__ == "Grade"}
    for scale, spec in scales().items():
        assert (f"{spec['of']} on the {spec['title']} (0 to {max(spec['levels'])})" in text) == (scale in graded)
    assert ("grade together with its scale" in text) == bool(graded) == ("how far it has gone" in text)
    assert ("which eye it shows" in text) == (name in ("EyeQ", "Messidor2", "ODIR", "UK"))
    assert ("both eyes together" in text) == ("PatientLabels" in entries)
    assert ("person's age and sex" in text) == ("Person" in entries)
    assert ("that graders gave" in text) == ("Quality" in entries)
    assert ("boxes of the largest" in text) == ("Boxes" in entries)
    assert ("never exchange arteries and veins" in text) == (track == "instruction")
    assert ("zone B" in text) == (track == "instruction")
    assert ("was chosen for the dataset because" in text) == (name == "IDRiD_seg")


def test_an_aspect_that_an_image_lacks_is_neither_hidden_nor_asked_for() -> None:
    text = prompt.render(page.get("ODIR"), "instruction", None, ["image", "disease"])
    assert "- Disease: what this eye is labelled with" in text and "which disease or abnormality" in text
    for word in ("Patient record", "both eyes", "Image quality", "how good", "Vessels", "arteries", "zone"):
        assert word not in text


def test_the_eye_is_not_demanded_of_pictures_that_no_table_pairs() -> None:
    assert "which eye it shows where that is known" in rendered("Messidor2", "alignment", "caption")
    assert "where that is known" not in rendered("EyeQ", "alignment", "caption")


def test_notes_of_one_s_own_are_told_and_covered() -> None:
    text = prompt.render(page.get("APTOS"), "alignment", "caption", ["image", "notes"])
    assert "- Notes: remarks of the person who keeps the dataset" in text and "  - what the notes add" in text


def test_a_slot_that_no_part_fills_is_named() -> None:
    with pytest.raises(UserError, match=r"the prompt has an unknown slot \$hiden; known: hidden, coverage"):
        prompt._fill("These are $hiden.", hidden="x", coverage="y")


@pytest.mark.parametrize(
    "path",
    sorted(p for p in (paths.PACKAGE / "teacher" / "prompts").glob("*.txt") if p.stem != "repair"),
    ids=lambda path: path.stem,
)
def test_each_template_uses_the_parts_and_shows_the_form_that_is_parsed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    slots = set(Template(text).get_identifiers())
    assert {"hidden", "coverage", "rules"} <= slots <= {"hidden", "coverage", "rules", "turns"}
    assert text.rstrip().splitlines()[-2].startswith("User: (") and text.rstrip().splitlines()[-1].startswith("Assistant: (")


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for old in GOLDEN.iterdir():
        old.unlink()
    for each in EVERY:
        golden(*each).write_text(rendered(*each) + "\n", encoding="utf-8")
    print(f"{len(EVERY)} prompts written to {GOLDEN}")
