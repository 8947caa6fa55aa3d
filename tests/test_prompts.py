"""Every text that a teacher is told: the system prompt of each page, what is asked about an image, and the explanations.

After a change to a template or a part, `python tests/test_prompts.py` writes tests/golden and docs/eyes anew; read the diff.
"""

import io
import random
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retinal_lib import Job
from retinal_lib.ask.runner import PlannedImage
from retinal_lib.check.language import glossary
from retinal_lib.dataset import page
from retinal_lib.errors import UserError
from retinal_lib.facts import LIMITED, Case, Fact, Source
from retinal_lib.imaging.boxed_picture import Picture
from retinal_lib.run.settings import STYLES
from retinal_lib.slots import filling, sheet
from retinal_lib.slots.sheet import SPEC, FactSheet
from retinal_lib.teacher import prompt, reply_parser
from retinal_lib.teacher.teachers import Request

GOLDEN = Path(__file__).parent / "golden"
EYES = Path(__file__).parents[1] / "docs" / "eyes"
KINDS = [(track, style) for track, styles in STYLES.items() for style in styles or (None,)]
EVERY = [(name, track, style) for name in page.names() for track, style in KINDS]


def rendered(name: str, track: str, style: str | None) -> str:
    """The system prompt of a page."""
    return prompt.render(page.get(name), track, style)


def golden(name: str, track: str, style: str | None) -> Path:
    return GOLDEN / ("-".join(filter(None, (name, track, style))) + ".txt")


def chosen(job: Job) -> list[PlannedImage]:
    """The first image of a drawn sample that has all that its page gives, and the one with least."""
    planned = [each for each in job.plan() if each.request]
    sizes = [len(each.request.sheet.lines) for each in planned]
    return [planned[sizes.index(most)] for most in dict.fromkeys((max(sizes), min(sizes)))]


def messages(name: str, track: str, style: str | None) -> str:
    """What is told about the chosen images."""
    job = Job.load(dataset=name, track=track, **({"style": style} if style else {}))
    return "\n\n---\n\n".join(each.request.message for each in chosen(job))


def picture(name: str) -> Picture:
    """The first of the chosen images, as its dataset's page of the site shows it beside what is told of it."""
    job = Job.load(dataset=name)
    case = job.case(chosen(job)[0].row.image)
    return Picture(case.path, case.about("lesion"), 360)


def whole(name: str, track: str, style: str | None) -> str:
    return f"{rendered(name, track, style)}\n\n===\n\n{messages(name, track, style)}\n"


@pytest.mark.parametrize(("name", "track", "style"), EVERY)
def test_a_prompt_is_the_text_that_was_read_and_found_good(
    name: str, track: str, style: str | None, drawn: Mapping[str, Path]
) -> None:
    assert drawn[name] and whole(name, track, style) == golden(name, track, style).read_text(encoding="utf-8")
    if track == "instruction":
        kept = np.asarray(Image.open(EYES / f"{name}.jpg"), int)
        shown = np.asarray(Image.open(io.BytesIO(picture(name).jpeg)), int)
        assert kept.shape == shown.shape and np.abs(kept - shown).mean() < 1, "python tests/test_prompts.py draws it anew"


def test_there_is_a_text_for_each_prompt_and_no_other() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {golden(*each).name for each in EVERY}


@pytest.mark.parametrize(("name", "track", "style"), EVERY)
def test_no_place_stays_empty_and_no_line_is_odd(name: str, track: str, style: str | None) -> None:
    text = rendered(name, track, style)
    assert not re.search(r"\$|\bNone\b|(?<!\.)\.\.(?!\.)|;;|,,| [;,]|: ;|\n\n\n", text)
    assert not re.search(r"[^\n ] {2,}", text) and not re.search(r" $", text, re.M)
    for block in re.findall(r"(?:^ *- .*\n)+", text + "\n", re.M):
        assert len(set(block.splitlines())) == len(block.splitlines()), "a bullet stands twice"


@pytest.mark.parametrize(("name", "track", "style"), EVERY)
def test_a_prompt_has_the_rules_that_its_page_needs_and_no_other(name: str, track: str, style: str | None) -> None:
    found, text = page.get(name), rendered(name, track, style)
    kinds = {type(kind).__name__ for kind in found.facts}
    assert ("name a grade with its scale" in text) == ("Grade" in kinds)
    assert "both eyes" not in text
    assert ("left, upper, right, lower edge" in text) == ("Boxes" in kinds and style != "consult")
    assert "as they stand" not in text, "the program writes the numbers"
    for word in ("optic", "vessel density", "zone C", "AutoMorph"):  # an image may have no such line
        assert word not in text
    assert len(text) < 3400, "the prompt grows"


@pytest.mark.parametrize(("track", "style"), KINDS)
def test_a_reply_as_json_is_asked_for_in_its_form_and_read(track: str, style: str | None) -> None:
    text = prompt.render(page.get("ODIR"), track, style, "json")
    shown = text.splitlines()[-1]
    assert text.removesuffix(shown) == rendered("ODIR", track, style).partition("User: (")[0]
    assert [tuple(turn) for turn in reply_parser.parse(shown)] == [("(question)", "(answer)")]


def test_the_example_of_the_prompt_is_filled_as_it_says() -> None:
    """The good answers use the example's slots and marks alone; no number and no slot is typed in questions."""
    text = rendered("ODIR", "instruction", None)
    told = {*re.findall(r"^  (c\d)", text, re.M), *re.findall(r"\{(c\d[.\w]*)\} = ", text)}
    good = re.findall(r'^Good: "([^"]+)" - "([^"]+)"$', text, re.M)
    assert len(good) == 3
    for question, answer in good:
        assert not re.search(r"[{\[\d]", question)
        used = re.findall(r"[{\[](c\d[.\w]*)[}\]]", answer)
        assert used and set(used) <= told and filling.is_slotted([answer])
        assert not re.search(r"\d", re.sub(r"[{\[][^}\]]*[}\]]", "", answer))


# --- what is asked about an image -----------------------------------------------------------------------------------------


def fact(aspect: str, name: str, words: str, value: object = 1, unit: str = "", text: str | None = None) -> Fact:
    return Fact(aspect, name, value, unit, f"it has {words}" if text is None else text, Source("labels.csv", 2, name), words)


MODALITY = fact("image", "modality", "colour fundus photograph", text="colour fundus photograph")
GOOD = fact("quality", "quality", "good")
POOR = fact("quality", "ungradable", "not gradable", 2)
DRUSEN = fact("disease", "DN", "drusen")
GRADE = fact("disease", "grade", "moderate non-proliferative diabetic retinopathy", 2, "ICDR")
AGE = fact("patient", "age", "58 years old", 58, "years")
RATIO = fact("vascular", "CDR_vertical", "0.381", 0.381)
WIDTHS = [fact("vascular", f"{of}Average_width", "47.1 µm", 47.1, "µm") for of in ("", "Artery_", "Vein_")]


def sheet_of(*facts: Fact, id_: str = "X-1") -> FactSheet:
    return sheet.make(Case("X", id_, "1.png", Path("1.png"), "train", None, None, facts), 0)


def asked(told: FactSheet, track: str = "instruction", style: str | None = None, seed: int = 0) -> str:
    return prompt.task(told, track, style, seed)


def test_so_many_turns_are_asked_for_as_the_lines_fill() -> None:
    """Each line is used once, the number that is said is that of the groups, and which turn opens is drawn."""
    told, opens = sheet_of(MODALITY, GOOD, GRADE, RATIO, *WIDTHS), set()
    for seed in range(40):
        text = asked(told, seed=seed)
        number, groups = re.search(r"Write (\d) questions .* about the lines named: ([^.]*)\.", text).groups()
        turns = [group.split(", ") for group in groups.split("; ")]
        assert len(turns) == int(number) == 4
        assert sorted(sum(turns, [])) == sorted(line.id for line in told.lines)
        opens.add(turns[0][0])
    assert opens == {"i1", "d1", "v1", "v2"} or opens == {"i1", "d1", "v1", "v4"}


def test_an_image_with_two_lines_gets_two_turns_and_no_word_of_what_it_lacks() -> None:
    told = sheet_of(MODALITY, DRUSEN)
    request = Request(told, "", "instruction", None, asked(told))
    assert "Write 2 questions" in request.message
    for word in ("disc", "vessel", "arter", "zone", "quality", "lesion", "patient"):
        assert word not in request.message.replace("question", "")


@pytest.mark.parametrize(("track", "style"), KINDS)
def test_where_no_diagnosis_is_known_an_answer_declines(track: str, style: str | None) -> None:
    assert "in plain words" in asked(sheet_of(MODALITY, POOR), track, style)
    assert "d1 no diagnosis is known" in sheet_of(MODALITY, POOR).text
    known = sheet_of(MODALITY, GOOD, DRUSEN)
    assert "in plain words" not in asked(known, track, style) and SPEC["no diagnosis"] not in known.text


def test_a_disease_is_told_with_the_limited_quality() -> None:
    limited = fact("disease", LIMITED, "limited image quality")
    assert "limited image quality [d2]" in asked(sheet_of(MODALITY, POOR, DRUSEN, limited))
    assert "limited" not in asked(sheet_of(MODALITY, GOOD, DRUSEN))


def test_the_person_is_background() -> None:
    text = asked(sheet_of(MODALITY, AGE, DRUSEN))
    assert "Background, to be used only where it belongs: p1." in text and "p1" not in text.partition("Use each")[0]


def test_a_turn_has_no_more_values_than_an_answer_shows() -> None:
    risk = fact("disease", "risk", "there is no apparent hard exudate", 0, "exudate distance")
    told = sheet_of(MODALITY, GOOD, GRADE, risk, *WIDTHS)
    for turn in prompt.turns(told, random.Random(0)):
        assert sum(len(line.slots) for line in turn) <= 3


def test_all_measurements_fill_no_more_than_six_turns() -> None:
    names = [f"{of}Vessel_density{zone}" for of in ("", "Artery_", "Vein_") for zone in ("", "_zone_b", "_zone_c")]
    many = [fact("vascular", name, "0.05", 0.05) for name in names] + WIDTHS
    told = sheet.make(Case("X", "X-1", "1.png", Path("1.png"), "train", None, None, (MODALITY, DRUSEN, RATIO, *many)), 0, True)
    assert len(told.lines) == 15 and len(prompt.turns(told, random.Random(0))) == prompt.MOST_TURNS


@pytest.mark.parametrize(("track", "style"), KINDS)
def test_style_cards_vary_by_image_and_are_the_same_for_a_seed(track: str, style: str | None) -> None:
    sheets = [sheet_of(MODALITY, GOOD, DRUSEN, id_=f"X-{i}") for i in range(60)]
    cards = [asked(told, track, style).splitlines()[-1] for told in sheets]
    assert len(set(cards)) > 40 and cards == [asked(told, track, style).splitlines()[-1] for told in sheets]
    assert cards != [asked(told, track, style, seed=1).splitlines()[-1] for told in sheets]
    assert {"British" in card for card in cards} == {"American" in card for card in cards} == {True, False}


def test_a_request_has_one_text_for_key_body_and_estimate() -> None:
    told = sheet_of(MODALITY, GOOD, GRADE)
    request = Request(told, "system", "instruction", None, asked(told))
    assert request.message.startswith(told.text) and request.message.endswith(asked(told))
    said = told.explained[0].text
    assert f'\n\nExplanations that you may use, each once and as a sentence of its own:\n{{g1}} = "{said}"\n' in request.message
    other = Request(told, "system", "instruction", None, asked(told, seed=1))
    assert request.key({}) != other.key({}) and request.user_text == request.message


# --- the glossary -----------------------------------------------------------------------------------------------------------


def test_explanations_are_short_and_hold_for_every_image() -> None:
    terms = [term for entry in glossary.entries() for term in entry.terms]
    assert len(glossary.entries()) > 40 and len(set(terms)) == len(terms)
    every = [says for entry in glossary.entries() for says in entry.says]
    assert len(every) > 2 * len(glossary.entries()) and len(set(every)) == len(every)
    for says in every:
        sentences = re.findall(r"[^.]+\.", says)
        assert "".join(sentences) == says and 1 <= len(sentences) <= 2
        assert all(len(sentence.split()) <= 25 for sentence in sentences) and not re.search(r"\d", says)
        assert not re.search(r"\b(this|your|the) (image|eye|patient) (shows|has|is)\b|\bhere\b", says, re.IGNORECASE)


def test_at_most_three_terms_are_explained_and_only_those_that_the_lines_name() -> None:
    told, drawn = [MODALITY, GOOD, GRADE, RATIO, *WIDTHS], set()
    for i in range(30):
        made = sheet_of(*told, id_=f"X-{i}")
        assert [line.id for line in made.explained] == ["g1", "g2", "g3"] and made.by_id["g1"] == made.explained[0]
        assert not any(line.text in made.text for line in made.explained) and not any(line.facts for line in made.explained)
        drawn |= {line.text for line in made.explained}
    named = list(glossary.named(line.text for line in made.lines))
    rare = {says: entry.terms[0] for entry in named if not entry.common for says in entry.says}
    assert drawn <= rare.keys() and {rare[says] for says in drawn} == set(rare.values()) and len(drawn) >= 5 < len(named)
    assert len(sheet_of(MODALITY, GOOD).explained) == 2, "common terms, where no others are named"
    assert not sheet_of(fact("disease", "x", "an odd thing")).explained


@pytest.mark.parametrize(
    ("line", "terms"),
    [
        ("vitreous haemorrhage", ["vitreous haemorrhage"]),
        ("haemorrhages: 6", ["haemorrhage"]),
        ("haemorrhagic retinopathy", []),
        ("wet (neovascular) age-related macular degeneration", ["age-related macular degeneration"]),
        ("horizontal cup-to-disc ratio", ["cup-to-disc ratio"]),
        ("the left eye", []),
    ],
)
def test_terms_are_found_in_lines(line: str, terms: list[str]) -> None:
    assert [entry.terms[0] for entry in glossary.named([line])] == terms


def test_what_was_noted_of_a_person_is_not_explained() -> None:
    note = fact("notes", "hidden_text", "no family history of glaucoma", text="no family history of glaucoma")
    assert "glaucoma" in sheet_of(MODALITY, note).text
    assert not any("Glaucoma" in line.text for line in sheet_of(MODALITY, note).explained)


def test_a_place_that_no_part_fills_is_named() -> None:
    with pytest.raises(UserError, match=r"the prompt has an unknown slot \$hiden; known: hidden, coverage"):
        prompt._fill("These are $hiden.", hidden="x", coverage="y")


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for old in GOLDEN.iterdir():
        old.unlink()
    for each in EVERY:
        golden(*each).write_text(whole(*each), encoding="utf-8")
    for dataset in page.names():
        (EYES / f"{dataset}.jpg").write_bytes(picture(dataset).jpeg)
    print(f"{len(EVERY)} prompts written to {GOLDEN}")
