"""Fact sheets, slots and their filling, and the check of conversations that were written with slots."""

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import corpus
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retinal_lib import load_dataset
from retinal_lib.check.conversation_check import errors
from retinal_lib.check.findings import Finding
from retinal_lib.conversation import Turn
from retinal_lib.dataset import measurements, page
from retinal_lib.facts import Case, Fact, Source
from retinal_lib.slots import filling, sentence_check, sheet, slot_check
from retinal_lib.slots.sheet import FactSheet
from retinal_lib.teacher import reply_parser

CELL = Source("labels.csv", 2, "x")
MEASURED = [column for group in sheet.SPEC["measurements"]["groups"] for column in group if column != "Average Branch Angle"]


def fact(aspect: str, name: str, value: object, unit: str, words: str) -> Fact:
    return Fact(aspect, name, value, unit, f"there is {words}", CELL, words)


def measured(column: str, value: float) -> Fact:
    feature = measurements.feature(column)
    return Fact("vascular", column, value, feature.unit, feature.template % value, CELL, feature.words)


def case(*facts: Fact, eye: str | None = None) -> Case:
    return Case("mine", "mine-1", "1.png", Path("1.png"), "all", None, eye, facts)


def told(facts: FactSheet, *answers: str, question: str = "What do you see?") -> list[str]:
    """The kinds of errors that the check finds."""
    turns = [Turn(question, answer) for answer in answers]
    return [finding.kind for finding in errors(slot_check.examine(turns, facts).checked.findings)]


WIDTHS = {"Average_width": 45.0, "Artery_Average_width": 41.0, "Vein_Average_width": 49.0}
VESSELS = sheet.make(case(*(measured(column, value) for column, value in WIDTHS.items())), 0)
ALL, ARTERY, VEIN = (f"{{{line.id}}}" for line in VESSELS.lines if line.slots)


# --- the sheet ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", page.names())
def test_what_a_teacher_gets_is_short_and_says_nothing_of_where_it_comes_from(name: str, drawn: dict[str, Path]) -> None:
    data = load_dataset(name, drawn[name])
    sheets = [sheet.make(data.describe(image), 0) for image in data.images if not data.image(image).excluded_because]
    assert sum(len(facts.text) for facts in sheets) / len(sheets) < 1200
    provenance = ("AutoMorph", "grader", "labelled", "marked", "was chosen", "dataset", "annotator")
    for facts in sheets:
        assert not [word for word in provenance if word in facts.text], facts.text
        assert len(facts.by_id) == len(facts.lines) + len(facts.explained)


def test_a_sheet_is_the_same_for_a_seed_and_balanced_over_a_run() -> None:
    facts = [measured(column, 150.0 if measurements.feature(column).unit else 0.5) for column in MEASURED]
    sheets = [sheet.make(Case("d", f"d-{i}", "", Path(), "", None, None, tuple(facts)), 7) for i in range(300)]
    assert sheets[0].text == sheet.make(sheets[0].case, 7).text
    assert all(4 <= len(each.slots) <= 8 for each in sheets)
    shares = [
        sum(any(slot.fact.name == column for _, slot in each.slots.values()) for each in sheets) / 300 for column in MEASURED
    ]
    assert min(shares) > 0.15 and max(shares) < 0.7
    assert len(sheet.make(sheets[0].case, 7, every_measurement=True).slots) == len(facts)


@given(st.floats(0.0001, 4999, allow_nan=False), st.integers(0, 50))
def test_what_a_slot_reads_is_the_value_as_rounded(value: float, seed: int) -> None:
    _, slot = next(iter(sheet.make(case(measured("Average_width", value)), seed).slots.values()))
    number = float(slot.text.removeprefix("about ").split(" ")[0])
    assert abs(number - value) <= max(0.051, 0.051 * value)


def test_what_a_photograph_does_not_show_is_told_as_diagnosed() -> None:
    eye = case(fact("disease", "cataract", 1, "", "cataract"), fact("disease", "absent", "no glaucoma", "", "no glaucoma"))
    denied = case(fact("disease", "absent", "no cataract", "", "no cataract"))
    lines = [line.text for each in (eye, denied) for line in sheet.make(each, 1).lines if line.facts]
    assert lines == ["diagnosed: cataract", "no glaucoma was diagnosed", "no cataract was diagnosed"]
    assert sheet.make(case(fact("disease", "glaucoma", 1, "", "glaucoma")), 1).text == "d1 glaucoma"


# --- filling -----------------------------------------------------------------------------------------------------------


def test_slots_are_filled_and_marks_vanish() -> None:
    filled = filling.fill(f"{ARTERY} is less than {VEIN} [v1, v2]. So it is [v3].", VESSELS)
    arteries, veins = VESSELS.slots["v2"][1].text, VESSELS.slots["v3"][1].text
    assert filled.text == f"{arteries[0].upper()}{arteries[1:]} is less than {veins}. So it is."
    assert [(a.line.id, a.slot is not None) for a in filled.anchors] == [
        ("v2", True),
        ("v3", True),
        ("v1", False),
        ("v2", False),
        ("v3", False),
    ]
    assert not filled.problems


@pytest.mark.parametrize("written", ["{v9}", "{l1.count}", "[d4]", "{v1.grade}", "{width}", "{", "{v1"])
def test_a_slot_that_is_not_on_the_sheet_is_an_error(written: str) -> None:
    assert "slot" in told(VESSELS, f"The vessels measure {ALL}, and {written} besides.")


@pytest.mark.parametrize("repeated", [" µm", " micrometres", " microns", "µm"])
def test_a_unit_that_a_teacher_writes_after_a_slot_is_not_told_twice(repeated: str) -> None:
    filled = filling.fill(f"It is {ALL}{repeated}.", VESSELS)
    assert filled.text == f"It is {VESSELS.slots['v1'][1].text}."


@given(st.text(max_size=200))
def test_any_text_is_filled_and_checked(text: str) -> None:
    filled = filling.fill(text, VESSELS)
    assert all(0 <= a.start <= a.end <= len(filled.text) + 1 for a in filled.anchors)
    slot_check.examine([Turn("What is it?", text or "x")], VESSELS)


# --- words around slots ------------------------------------------------------------------------------------------------

PAIRED = [
    "The arteries are {0} wide and the veins {1}.",
    "Arteries average {0}, veins {1}.",
    "The average width is {0} for the arteries and {1} for the veins.",
    "At {0}, the arteries are narrower than the veins, at {1}.",
    "Arteries and veins have average widths of {0} and {1}, respectively.",
    "The arteries are narrower than the veins ({0} against {1}).",
    "The arteries measure {0} on average. The veins measure {1}.",
    "- arteries: {0}\n- veins: {1}",
    "| vessels | average width |\n|---|---|\n| arteries | {0} |\n| veins | {1} |",
    "Averaged over the whole image, arterial width is {0}; venous width is {1}.",
]


@pytest.mark.parametrize("pattern", PAIRED)
def test_slots_stand_with_the_vessels_that_they_are_of(pattern: str) -> None:
    assert told(VESSELS, pattern.format(ARTERY, VEIN)) == []
    assert "misattributed" in told(VESSELS, pattern.format(VEIN, ARTERY))


COMPARED = [
    ("The veins are wider than the arteries, {1} against {0}.", "The arteries are wider than the veins, {0} against {1}."),
    ("The arteries are narrower than the veins [v2, v3].", "The veins are narrower than the arteries [v2, v3]."),
    ("The width of the veins exceeds that of the arteries [v3].", "The width of the arteries exceeds that of the veins [v2]."),
    ("The veins, at {1}, are the wider ones: the arteries average {0}.", "The arteries are twice as wide as the veins [v2]."),
]


@pytest.mark.parametrize(("true", "wrong"), COMPARED)
def test_comparisons_are_evaluated_on_the_facts(true: str, wrong: str) -> None:
    assert told(VESSELS, true.format(ARTERY, VEIN)) == []
    assert "comparison" in told(VESSELS, wrong.format(ARTERY, VEIN))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (f"The arteries in zone B measure {ARTERY}.", "misattributed"),
        (f"The density of the arteries is {ARTERY}.", "misattributed"),
        (f"The optic disc measures {ALL}.", "misattributed"),
        (f"The vessels measure {ALL}, that is 45 µm.", "typed_number"),
        (f"The vessels measure {ALL}, in thirty places.", "typed_number"),
        (f"The vessels measure {ALL} and look tortuous.", "unsupported_disease"),
        (f"The vessels measure {ALL} and are inflamed.", "unlicensed"),
        (f"The vessels measure {ALL}, which is normal [v1].", "beyond"),
        (f"The vessels measure {ALL} and should be checked again.", "beyond"),
        (f"The vessels measure {ALL}; I recommend a visit to a clinic.", "unlicensed"),
        (f"The vessels measure {ALL}; they may close.", "beyond"),
        (f"The vessels measure {ALL}, wider than usual.", "comparison"),
        ("The veins are denser than the arteries [v2, v3].", "comparison"),
        ("The veins branch more than the arteries [v2, v3].", "comparison"),
        (f"The vessels measure {ALL}, and there is no diabetic retinopathy.", "ungrounded_denial"),
        (f"The vessels measure {ALL}, and the eye is healthy.", "unsupported_normal"),
        (f"The vessels measure {ALL}, and drusen are seen.", "unsupported_disease"),
        (f"The vessels measure {ALL} in the left eye.", "side"),
        (f"The vessels measure {ALL}. The picture is of good quality.", "quality"),
    ],
)
def test_what_no_fact_licenses_is_an_error(answer: str, kind: str) -> None:
    assert kind in told(VESSELS, answer)


@pytest.mark.parametrize(
    "answer",
    [
        "I cannot tell whether the eye is healthy.",
        "Nothing is known about any disease here, so I would rather not say whether there is one.",
        f"Taken together, the blood vessels are {ALL} wide on average, measured over the whole image.",
        f"They average {ALL} across the picture.",
        f"It is only natural to ask, and the answer is evident: they average {ALL}.",
    ],
)
def test_plain_words_are_no_error(answer: str) -> None:
    assert told(VESSELS, answer) == []


def test_a_number_in_a_question_that_no_answer_stated_is_a_leak() -> None:
    assert "leak_value" in told(VESSELS, f"It is {ALL}.", question="Are the 45 µm of the vessels much?")


# --- a run's worth of conversations, faithful and planted ---------------------------------------------------------------------


def _random_case(rng: random.Random, number: int) -> Case:
    """A case with a grade, quality, eye and all measurements, arteries narrower than veins by a random amount."""
    grade, eye = rng.randrange(5), rng.choice(["left", "right"])
    words = ["no", "mild non-proliferative", "moderate non-proliferative", "severe non-proliferative", "proliferative"]
    facts = [
        Fact("image", "modality", "", "", "this is a colour fundus photograph", CELL, "colour fundus photograph"),
        Fact("image", "eye", eye, "", f"it shows the {eye} eye", CELL, eye, "eye"),
        Fact("quality", "quality", 0, "AutoMorph", "AutoMorph's quality check called the image good", CELL, "good"),
        Fact("disease", "grade", grade, "ICDR", f"the grade is {grade}", CELL, f"{words[grade]} diabetic retinopathy"),
    ]
    for column in MEASURED:
        low = 0.3 if measurements.feature(column).unit == "" else 120
        facts.append(measured(column, low * (1 + rng.random() * 0.4) * (1.5 if column.startswith(("Vein", "CRVE")) else 1)))
    return Case("mine", f"mine-{number}", f"{number}.png", Path("1.png"), "all", None, eye, tuple(facts))


def _pairs(facts: FactSheet) -> list[tuple[str, str, str]]:
    """Pairs of slots that can be swapped, with a sentence for them."""
    names = {line.facts[0].name: line.id for line in facts.lines if line.facts[0].aspect == "vascular"}
    patterns = {
        ("Artery_Average_width", "Vein_Average_width"): "The arteries are {%s} wide on average and the veins {%s}.",
        ("Artery_Vessel_density", "Vein_Vessel_density"): "The density is {%s} for the arteries, and {%s} for the veins.",
        ("Artery_Fractal_dimension", "Vein_Fractal_dimension"): "Fractal dimensions: arteries {%s}; veins {%s}.",
        ("CRAE_Knudtson_zone_b", "CRVE_Knudtson_zone_b"): "In zone B, CRAE is {%s} and CRVE {%s}.",
        ("CDR_vertical", "CDR_horizontal"): "The cup-to-disc ratio is {%s} vertically and {%s} horizontally.",
        ("Disc_height", "Disc_width"): "The optic disc is {%s} high and {%s} wide.",
    }
    return [(text, names[a], names[b]) for (a, b), text in patterns.items() if a in names and b in names]


FAULTS = ("swap", "digit", "unknown", "beyond", "finding", "grade", "eye", "quality", "slot")


def _reply(facts: FactSheet, fault: str, rng: random.Random) -> list[Turn]:
    """A conversation of an adversarial teacher that makes one fault, or none."""
    case = facts.case
    grade = next(f for f in case.facts if f.name == "grade")
    eye = case.eye if fault != "eye" else {"left": "right", "right": "left"}[case.eye]
    quality = "good" if fault != "quality" else "usable"
    words = grade.words if fault != "grade" else "mild non-proliferative diabetic retinopathy"
    if fault == "grade" and grade.value == 1:
        words = "severe non-proliferative diabetic retinopathy"
    text, one, other = rng.choice(_pairs(facts))
    if fault == "swap":
        one, other = other, one
    added = {
        "digit": " The average is 12.",
        "unknown": " There is no glaucoma.",
        "beyond": " You should come back in a year.",
        "finding": " There are also drusen near the macula.",
        "slot": " The rest is {x7}.",
    }.get(fault, "")
    yes = "No, there is" if not grade.value else "Yes, there is"
    return [
        Turn(
            "What is this?",
            f"This is a colour fundus photograph of the {eye} eye [i1, i2], and it is of {quality} quality [q1].",
        ),
        Turn("Do you see any disease?", f"{yes} {words}, grade {{d1.grade}} on the {{d1.scale}}."),
        Turn("And the rest?", text % (one, other) + added),
    ]


def test_of_a_thousand_adversarial_conversations_no_fault_passes_and_no_faithful_one_is_rejected() -> None:
    rng, wrong = random.Random(16), []
    for number, fault in zip(range(1000), itertools.cycle(("", *FAULTS, "")), strict=False):
        facts = sheet.make(_random_case(rng, number), number)
        found = errors(slot_check.examine(_reply(facts, fault, rng), facts, "instruction").checked.findings)
        if bool(found) != bool(fault):
            wrong.append((fault, facts.text, found))
    assert not wrong, wrong[:2]


# --- explanations, structures and the ends of scales -------------------------------------------------------------------------

EXUDATES = sheet.make(case(fact("lesion", "hard_exudates", 3, "hard exudates", "hard exudate")), 0)


def test_an_explanation_is_written_by_the_program_as_a_sentence_of_its_own() -> None:
    (explained,) = EXUDATES.explained
    filled = filling.fill("There are {l1.count} hard exudates. {g1} They are many.", EXUDATES)
    assert f". {explained.text} They" in filled.text and not filled.problems
    assert filling.fill("Yes, {l1.count} hard exudates.\n- {g1}.", EXUDATES).text.endswith(f"\n- {explained.text}")
    assert told(EXUDATES, "There are {l1.count} hard exudates. {g1}") == []


@pytest.mark.parametrize(
    "answer",
    [
        "There are {l1.count} hard exudates, {g1}",
        "There are {l1.count} hard exudates {g1} in the image.",
        "There are {l1.count} hard exudates. They are yellow deposits of fats [g1].",
        "There are {l1.count} hard exudates, which are yellow deposits of fats and proteins [l1, g1].",
    ],
)
def test_an_explanation_in_other_words_or_within_a_sentence_is_an_error(answer: str) -> None:
    assert "slot" in told(EXUDATES, answer)


def _mark(name: str, words: str, value: tuple[float, ...]) -> Fact:
    return fact("lesion", name, value, "point" if len(value) == 2 else "", words)


PLACED = sheet.make(
    case(
        _mark("disc_box", "optic disc", (0.1, 0.4, 0.2, 0.5)),
        _mark("cup_box", "optic cup", (0.13, 0.43, 0.17, 0.47)),
        _mark("fovea_centre", "fovea", (0.48, 0.55)),
    ),
    0,
)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("The optic disc lies in the left half of the picture, in the box {l1.box}.", True),
        ("The optic disc lies on the right-hand side of the picture, in the box {l1.box}.", False),
        ("The fovea is at {l3.centre}, to the right of the disc and a little lower.", True),
        ("The fovea is at {l3.centre}, just to the left of the disc.", False),
        ("The disc sits to the left of the fovea [l1, l3].", True),
        ("The disc sits to the right of the fovea [l1, l3].", False),
        ("The fovea, at {l3.centre}, is near the middle of the image.", True),
        ("The disc, at {l1.box}, is in the middle of the image.", False),
        ("The pale hollow in the middle of the disc is the cup, at {l2.box}.", True),
        ("The disc lies above the fovea [l1, l3].", True),
        ("The disc lies below the fovea [l1, l3].", False),
    ],
)
def test_structures_lie_where_their_boxes_and_centres_say(answer: str, right: bool) -> None:
    assert (told(PLACED, answer) == []) == right, told(PLACED, answer)


SEVERE = sheet.make(case(fact("disease", "grade", 3, "ICDR", "severe non-proliferative diabetic retinopathy")), 0)


@pytest.mark.parametrize(
    ("words", "right"),
    [("the highest grade", False), ("the most severe step", False), ("the grade just below the highest", True), ("", True)],
)
def test_a_grade_is_called_the_end_of_its_scale_only_where_it_is(words: str, right: bool) -> None:
    answer = f"This is severe non-proliferative diabetic retinopathy, grade {{d1.grade}}, {words} on the {{d1.scale}}."
    assert (told(SEVERE, answer.replace(" , ", " ").replace(",  on", " on")) == []) == right


def test_the_examples_of_the_documentation_are_what_the_check_says() -> None:
    text = (Path(__file__).parents[1] / "docs" / "checks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", text.partition("### In replies with slots")[2], re.MULTILINE)
    assert {"typed_number", "slot", "comparison", "unlicensed"} <= {kind for kind, _, _ in rows}
    facts = sheet.make(corpus.cases()["c41"], 0)
    for kind, answer, says in rows:
        found = errors(slot_check.examine([Turn("What do you see?", answer)], facts).checked.findings)
        assert (found[0].kind, found[0].text) == (kind, says)


# --- replies that were written without a look at the checks -------------------------------------------------------------------

SLOTTED = Path(__file__).parent / "corpus" / "slotted.jsonl"


def replies_with_errors(drawn: dict[str, Path], step: int = 1) -> Iterator[tuple[dict, list[Finding]]]:
    """Each of the replies, or one in so many, with what the check finds in it."""
    replies = [json.loads(line) for line in SLOTTED.read_text(encoding="utf-8").splitlines()][::step]
    data = {name: load_dataset(name, drawn[name]) for name in {reply["dataset"] for reply in replies}}
    for reply in replies:
        told_of = data[reply["dataset"]].describe(reply["image"])
        if reply["track"] == "alignment":
            told_of = replace(told_of, facts=tuple(fact for fact in told_of.facts if fact.aspect != "vascular"))
        facts = sheet.make(told_of, reply["seed"])
        turns = reply_parser.parse(reply["reply"])
        yield reply, errors(slot_check.examine(turns, facts, reply["track"], reply["style"]).checked.findings)


def test_a_rule_is_asked_of_each_sentence_that_it_concerns(drawn: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(replies_with_errors(drawn, 12))
    always = [(rule, SimpleNamespace(isdisjoint=lambda _: False)) for rule, _ in sentence_check._RULES]
    monkeypatch.setattr(sentence_check, "_RULES", always)
    assert list(replies_with_errors(drawn, 12)) == found


def test_replies_in_the_manner_of_models_are_judged_no_worse_than_they_were(drawn: dict[str, Path]) -> None:
    counted = Counter()
    for reply, found in replies_with_errors(drawn):
        # parts a to m were written when terms could be explained in own words, which is an error today
        of = "slip" if reply["fault"] else "faithful, today's prompts" if reply["part"] > "m" else "faithful, earlier prompts"
        counted[of, bool(found)] += 1
    refused = {of: counted[of, True] / (counted[of, True] + counted[of, False]) for of, _ in counted}
    assert refused["slip"] >= 0.98, counted
    assert refused["faithful, today's prompts"] <= 0.02, counted
    assert refused["faithful, earlier prompts"] <= 0.195, counted
