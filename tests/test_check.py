"""The checks find what a retina specialist would strike out, and let pass what is true, however it is put."""

import os
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import corpus
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retinal_lib.check import conversation_check
from retinal_lib.check.language import lexicon as vocabulary
from retinal_lib.dataset import fact_kinds as kinds
from retinal_lib.dataset import measurements, page
from retinal_lib.dataset.label_kinds import Flags, PatientLabels
from retinal_lib.facts import Case, Fact


def talk(*said: str) -> list[dict[str, str]]:
    """Questions and answers in turn as an exported conversation."""
    parts = [{"from": "gpt" if i % 2 else "human", "value": text} for i, text in enumerate(said)]
    parts[0]["value"] += "\n<image>"
    return parts


def found(case: Case, *said: str) -> list[tuple[str, int]]:
    """(kind, turn) of each finding that is not about coverage."""
    return [(f.kind, f.turn) for f in conversation_check.check(talk(*said), case) if not f.kind.startswith("coverage")]


@pytest.mark.parametrize("group", corpus.AIMS)
def test_planted_faults_are_found(group: str) -> None:
    assert corpus.measured().recall(group) >= corpus.AIMS[group]


def test_clean_conversations_raise_no_alarm() -> None:
    result = corpus.measured()
    assert result.clean >= 150 and len(result.alarmed) <= corpus.FALSE_ALARMS * result.clean


@pytest.mark.parametrize("part", [1, 2, 3])
def test_conversations_written_unseen_stay_read_as_they_are_now(part: int) -> None:
    faulty, seen, faithful, alarms = corpus.unseen().total(part)
    assert seen >= 0.95 * faulty and alarms <= (0.07 if part == 3 else 0.02) * faithful


def test_another_checker_is_scored_on_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(
        "def no_turn(conversation, facts):\n    return [1] if 'grade' in ' '.join(facts) else []\n"
    )
    command = [sys.executable, corpus.__file__, "--checker", "careless:no_turn"]
    path = os.pathsep.join((str(tmp_path), str(Path(conversation_check.__file__).parents[2])))
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=True)
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith("part 1"))
    assert row[2] == "173" and 0 < float(row[4]) < 1 and float(row[7]) > 0


def test_the_corpus_is_wide_enough() -> None:
    result = corpus.measured()
    assert sum(result.planted.values()) >= 300 and len({case.dataset for case in corpus.cases().values()}) >= 8


def labels() -> list[str]:
    """Every label of every page, in words."""
    told: set[str] = set()
    for name in page.names():
        for kind in page.get(name).facts:
            if isinstance(kind, Flags | PatientLabels):
                told |= set(kind.labels.values())
    return sorted(told - {"normal"} - {words for words in told if "other disease" in words})


@pytest.mark.parametrize("words", labels())
def test_every_label_of_every_page_is_in_the_vocabulary(words: str) -> None:
    assert vocabulary.conditions(words), words


@pytest.mark.parametrize("name", kinds.scales())
def test_every_scale_has_its_levels_and_subjects(name: str) -> None:
    scale = kinds.scales()[name]
    assert set(vocabulary.VOCABULARY["levels"][name]) == set(scale["levels"]) and vocabulary.VOCABULARY["subjects"][name]
    for level in vocabulary.VOCABULARY["levels"][name].values():
        named = [c for stance in ("present", "absent", "possible") for c in level.get(stance, ())]
        assert set(named) <= set(vocabulary.VOCABULARY["conditions"]), named


def test_relations_of_conditions_lead_to_conditions() -> None:
    known = set(vocabulary.VOCABULARY["conditions"])
    for condition, names in vocabulary.VOCABULARY["conditions"].items():
        assert {n[2:] for n in names if n.startswith(("< ", "~ "))} <= known, condition
    assert {c for words in vocabulary.VOCABULARY["lay"].values() for c in words} <= known
    assert vocabulary.word_lists("leaks").asked_openly <= known


# --- properties: facts in any phrasing, and what mutations make of them ---

MEASURED = [case for case in corpus.cases().values() if sum(f.aspect == "vascular" for f in case.facts) > 60]
VESSELS = {
    "artery": ["the arteries", "arteries", "the retinal arteries"],
    "vein": ["the veins", "the retinal veins"],
    "all": ["all vessels"],
}
ZONES = {"whole": ["over the whole image", "in the image as a whole"], "b": ["in zone B"], "c": ["in zone C"]}
FRAMES = [
    "{Zone}, {vessel} have {article} {measure} of {value}.",
    "The {measure} of {vessel} {zone} is {value}.",
    "For {vessel}, the {measure} {zone} comes to {value}.",
    "{Zone} the {measure} is {value} for {vessel}.",
    "I measure {article} {measure} of {value} in {vessel} {zone}.",
]


def figures(case: Case) -> list[tuple[Fact, str, str, str]]:
    """Vessel measurements with measure, vessels and zone in words."""
    result = []
    for fact in case.facts:
        if fact.aspect != "vascular" or fact.name.startswith(("Disc", "Cup", "CDR", "CRAE", "CRVE", "AVR", "Average Branch")):
            continue
        feature = measurements.feature(fact.name)
        vessel = "artery" if "arter" in feature.of else "vein" if "vein" in feature.of else "all"
        zone = fact.name[-1] if "_zone_" in fact.name else "whole"
        result.append((fact, feature.measure.split(" (")[0], vessel, zone))
    return result


def phrase(draw: random.Random, fact: Fact, measure: str, vessel: str, zone: str) -> str:
    """A sentence that tells a measurement."""
    value = measurements.feature(fact.name).say(float(fact.value))
    where, article = draw.choice(ZONES[zone]), "an" if measure[0] in "aeiou" else "a"
    return draw.choice(FRAMES).format(
        Zone=where.capitalize(), zone=where, vessel=draw.choice(VESSELS[vessel]), measure=measure, value=value, article=article
    )


@settings(max_examples=60)
@given(st.sampled_from(MEASURED), st.integers(0, 2**32))
def test_measurements_pass_in_any_frame_and_fail_under_another_name(case: Case, seed: int) -> None:
    draw = random.Random(seed)
    told = figures(case)
    fact, measure, vessel, zone = draw.choice(told)
    assert found(case, "What do you see?", phrase(draw, fact, measure, vessel, zone)) == []
    others = [
        t
        for t in told
        if t[1] == measure and (t[2], t[3]) != (vessel, zone) and abs(t[0].value - fact.value) > 0.06 * fact.value
    ]
    if others:
        other = draw.choice(others)
        wrong = phrase(draw, other[0], measure, vessel, zone)
        value = measurements.feature(fact.name).say(float(other[0].value))
        if value.split()[0] != measurements.feature(fact.name).say(float(fact.value)).split()[0]:
            assert [kind for kind, _ in found(case, "What do you see?", wrong)] in (
                ["misattributed"],
                ["unsupported"],
                ["unit"],
            ), wrong


@settings(max_examples=60)
@given(st.sampled_from(MEASURED), st.integers(0, 2**32), st.sampled_from([0, 1, 2, 3]))
def test_rounding_holds_at_the_digits_said(case: Case, seed: int, digits: int) -> None:
    draw = random.Random(seed)
    fact, _, vessel, zone = draw.choice([f for f in figures(case) if f[1] == "average width"])
    said = f"{float(fact.value):.{min(digits, 1)}f}"
    where = ZONES[zone][0]
    assert found(case, "What?", f"{VESSELS[vessel][0].capitalize()} are about {said} µm wide on average {where}.") == []
    wrong = float(said) + draw.choice([-1, 1]) * (3 if digits else 8)
    kinds_found = [
        kind for kind, _ in found(case, "What?", f"{VESSELS[vessel][0].capitalize()} are {wrong:g} µm wide on average {where}.")
    ]
    assert kinds_found in (["unsupported"], ["misattributed"], ["unit"]), (said, wrong)


GRADED = [c for c in corpus.cases().values() if any(f.unit == "ICDR" for f in c.facts)]


@settings(max_examples=40)
@given(st.sampled_from(GRADED), st.integers(0, 4))
def test_a_grade_passes_as_it_is_and_as_no_other(case: Case, level: int) -> None:
    fact = next(f for f in case.facts if f.unit == "ICDR")
    words = kinds.scales()["ICDR"]["levels"][level]
    answer = f"The image shows {words}, grade {level} on the ICDR scale."
    kinds_found = {kind for kind, _ in found(case, "What is it?", answer)}
    assert (not kinds_found) == (level == fact.value), kinds_found


# --- single points ---


def case_of(dataset: str) -> Case:
    return next(case for case in corpus.cases().values() if case.dataset == dataset)


def test_the_paper_s_showcase_answer_is_caught() -> None:
    case = case_of("APTOS")
    assert "unsupported" in [k for k, _ in found(case, "What?", "The fractal dimension is about [1.277, 1.2025].")]


def test_a_finding_says_where_and_what_stands_against_it() -> None:
    case = case_of("APTOS")
    answer = "The vertical cup-to-disc ratio is 0.999."
    finding = next(f for f in conversation_check.check(talk("What?", answer), case) if f.kind == "unsupported")
    assert (finding.severity, finding.turn, finding.part) == ("error", 1, "answer")
    assert answer[slice(*finding.span)] == "0.999" and "0.999" in finding.text
    assert finding.fact is not None and finding.fact.name == "CDR_vertical" and finding.fact.text in finding.text


def test_numbers_and_claims_are_traced_to_their_cells() -> None:
    case = case_of("APTOS")
    fact = next(f for f in case.facts if f.name == "CDR_vertical")
    traced = conversation_check.examine(talk("What?", f"The vertical cup-to-disc ratio is {fact.value:.2f}."), case).traces
    assert [(t.fact.source, t.kind) for t in traced] == [(fact.source, "number")]


def test_nothing_is_known_of_the_side_without_a_fact() -> None:
    case = next(c for c in corpus.cases().values() if c.eye is None)
    assert ("side", 1) in found(case, "Which eye?", "It is the left eye.")
    assert found(case, "Which eye?", "I cannot say whether it is the left or the right eye.") == []


def test_what_a_patient_s_record_says_is_not_told_of_the_eye() -> None:
    case = next(c for c in corpus.cases().values() if any(f.scope == "patient" and f.words == "cataract" for f in c.facts))
    eye = replace(case, facts=tuple(f for f in case.facts if f.scope == "patient" or f.aspect == "image"))
    assert ("unsupported_disease", 1) in found(eye, "What?", "This eye has a cataract.")
    assert found(eye, "What?", "The patient's record, for both eyes together, names cataract.") == []


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("What does CRAE_Knudtson_zone_b say?", "leak_jargon"),
        ("Isn't the picture too blurry?", "leak_answer"),
        ("What is wrong with my left eye?", "leak_answer"),
    ],
)
def test_questions_that_give_something_away(question: str, kind: str) -> None:
    case = next(c for c in corpus.cases().values() if c.dataset == "UK")
    assert (kind, 1) in found(case, question, "This is a colour fundus photograph.")


def test_a_finding_in_a_table_stands_at_its_cell() -> None:
    case = case_of("APTOS")
    answer = "So:\n\n| Vessels | Average width (µm) |\n|---|---|\n| Arteries | 48.1 |\n| Veins | 43.3 |\n\nThat is all."
    spans = [f.span for f in conversation_check.check(talk("What?", answer), case) if f.kind == "misattributed"]
    assert {answer[slice(*span)] for span in spans} == {"48.1", "43.3"}


# --- every list of the vocabulary is read ---

LANGUAGE = Path(conversation_check.__file__).parent / "language"
SOURCES = {path.stem: path.read_text(encoding="utf-8") for path in (*LANGUAGE.parent.glob("*.py"), *LANGUAGE.glob("*.py"))}


@pytest.mark.parametrize("heading", vocabulary.VOCABULARY["lists"])
def test_every_word_list_is_read_by_the_module_it_is_named_after(heading: str) -> None:
    read = set(re.findall(r"\bWORDS\.(\w+)", SOURCES[heading]))
    assert f'WORDS = word_lists("{heading}")' in SOURCES[heading] and read == set(vocabulary.VOCABULARY["lists"][heading])


def test_every_key_of_the_vocabulary_is_read() -> None:
    source = (
        SOURCES["lexicon"] + SOURCES["quantity_index"] + SOURCES["case_profile"] + SOURCES["diseases"] + SOURCES["glossary"]
    )
    assert [key for key in vocabulary.VOCABULARY if f'"{key}"' not in source] == []


@pytest.mark.parametrize(
    "heading", sorted({*vocabulary.VOCABULARY["lists"]} - {"form", "case_profile"})
)  # which read other texts
def test_words_of_lists_stand_as_texts_are_read(heading: str) -> None:
    for name, words in vocabulary.VOCABULARY["lists"][heading].items():
        for word in words if isinstance(words, list) and name != "asked_openly" else ():
            assert " ".join(vocabulary.tokens(word)) in (word, ""), f"{name}: {word!r} is never found in a text"
