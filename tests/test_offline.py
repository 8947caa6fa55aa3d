"""Composed conversations: every fact as it stands, nothing beyond it, in sentences that a reader would accept."""

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from string import Template

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from retinal_lib import load_dataset, paths
from retinal_lib.check import conversation_check
from retinal_lib.conversation import Turn, to_llava
from retinal_lib.dataset import measurements, page
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.dataset.lesions import wording as telling
from retinal_lib.facts import LIMITED, Case, Fact, Source
from retinal_lib.teacher import offline, prompt
from retinal_lib.teacher.offline_phrases import Phrases, articled, joined, sentence
from retinal_lib.teacher.reply_parser import parse

KINDS = [("instruction", None), ("alignment", "caption"), ("alignment", "consult")]
SEEDS = (0, 1, 7)
EVERY = [(name, *kind) for name in page.names() for kind in KINDS]


@pytest.fixture(scope="session")
def cases(drawn: dict[str, Path]) -> dict[str, list[Case]]:
    found = {}
    for name, folder in drawn.items():
        dataset = load_dataset(name, folder)
        found[name] = [dataset.describe(image) for image in dataset.images]
    return found


def seen(case: Case, track: str) -> Case:
    """The case as a run of that track sees it."""
    return replace(case, facts=tuple(fact for fact in case.facts if fact.aspect in prompt.track_aspects(track)))


def composed(case: Case, track: str, style: str | None, seed: int = 0) -> list[Turn]:
    return parse(offline.compose(seen(case, track), track, style, seed))


def answers(turns: list[Turn]) -> str:
    return "\n".join(turn.answer for turn in turns)


# --- the texts and their version ---

GOLDEN = Path(__file__).parent / "golden_offline.txt"
ONE = Case("ODIR", "eye-1", "1.png", Path("1.png"), "train", "1", "left", (
    Fact("image", "modality", "fundus", "", "it is a colour fundus photograph", Source("page"), "colour fundus photograph"),
    Fact("image", "eye", "left", "", "it shows the left eye", Source("1.png"), "left"),
    Fact("patient", "age", 58, "years", "the patient is 58 years old", Source("t.csv", 2, "Age"), "58 years old", "patient"),
    Fact("quality", "quality", 0, "AutoMorph", "the quality is good", Source("q.csv", 2, "Prediction"), "good"),
    Fact("disease", "normal", 1, "", "a normal fundus", Source("t.csv", 2, "N"), "normal fundus"),
    Fact("vascular", "Disc_height", 1776.0, "µm", "the vertical diameter is 1776 µm", Source("m.csv", 2, "Disc_height")),
    Fact("vascular", "Disc_width", 1591.0, "µm", "the horizontal diameter is 1591 µm", Source("m.csv", 2, "Disc_width")),
    Fact("vascular", "Artery_Fractal_dimension", 1.3, "", "1.300", Source("m.csv", 2, "Fractal_dimension")),
    Fact("vascular", "Vein_Fractal_dimension", 1.451, "", "1.451", Source("m.csv", 2, "Fractal_dimension")),
))  # fmt: skip


def golden() -> str:
    texts = [offline.compose(seen(ONE, track), track, style, seed) for track, style in KINDS for seed in SEEDS]
    return "\n\n".join([f"version: {offline.version()}", *texts]) + "\n"


def test_composed_texts_change_with_the_version_alone() -> None:
    advice = "raise `version` in offline.yaml, so that runs compose anew; then write the texts by python tests/test_offline.py"
    assert golden() == GOLDEN.read_text(encoding="utf-8"), advice


# --- properties over all samples ---


@pytest.mark.parametrize(("name", "track", "style"), EVERY)
def test_a_conversation_is_the_same_for_the_same_seed_and_parses_back(
    cases: dict[str, list[Case]], name: str, track: str, style: str | None
) -> None:
    for case, seed in itertools.product(cases[name], SEEDS):
        reply = offline.compose(seen(case, track), track, style, seed)
        assert reply == offline.compose(seen(case, track), track, style, seed)
        assert reply == "\n".join(f"User: {turn.question}\nAssistant: {turn.answer}" for turn in parse(reply))


@pytest.mark.parametrize(("name", "track", "style"), EVERY)
def test_the_checks_find_nothing_to_say(cases: dict[str, list[Case]], name: str, track: str, style: str | None) -> None:
    for case, seed in itertools.product(cases[name], SEEDS):
        turns = composed(case, track, style, seed)
        assert conversation_check.check(to_llava(turns), seen(case, track), track, style) == []
        assert 3 <= len(turns) <= 6 if track == "instruction" else len(turns) == 1
        assert style != "consult" or len(turns[0].answer.split()) <= 50


def pieces(fact: Fact) -> list[str]:
    """What of a fact must stand in a text that tells it."""
    if fact.unit in scales():
        return [str(fact.value), fact.words, scales()[fact.unit]["title"]]
    if fact.name.endswith("_box"):
        return [telling.box_text(fact.value)]
    if fact.name.endswith("_area"):
        return [re.search(r"[\d.]+ %", fact.text)[0]]
    if fact.aspect == "lesion" and not telling.is_count(fact):
        return [fact.text]
    if fact.aspect == "lesion":
        return [f"{fact.value} {fact.words if fact.value == 1 else fact.unit}" if fact.value else f"no {fact.unit}"]
    if fact.name == LIMITED:
        return ["limited"]
    return [fact.words]


@pytest.mark.parametrize(("name", "track", "style"), [each for each in EVERY if each[2] != "consult"])
def test_every_fact_but_single_measurements_is_told(
    cases: dict[str, list[Case]], name: str, track: str, style: str | None
) -> None:
    for case, seed in itertools.product(cases[name], SEEDS):
        text = answers(composed(case, track, style, seed)).casefold()
        for fact in seen(case, track).facts:
            if fact.aspect != "vascular":
                assert all(piece.casefold() in text for piece in pieces(fact)), f"{case.id}: {fact.text}"
        measured = [f for f in seen(case, track).facts if f.aspect == "vascular"]
        assert not measured or any(measurements.feature(f.name).say(f.value).casefold() in text for f in measured)


@pytest.mark.parametrize("name", page.names())
def test_a_consultation_tells_the_disease_or_that_none_is_known(cases: dict[str, list[Case]], name: str) -> None:
    for case, seed in itertools.product(cases[name], SEEDS):
        text = answers(composed(case, "alignment", "consult", seed)).casefold()
        for fact in case.about("disease"):
            assert all(piece.casefold() in text for piece in pieces(fact)[-1:] if fact.unit not in scales()), fact.text
            assert fact.unit not in scales() or fact.words.casefold() in text, f"{case.id}: {fact.text}"
        counts = [f for f in case.about("lesion") if f.value and telling.is_count(f)]
        rejected = any(f.name == "ungradable" or f.words == "not gradable" for f in case.about("quality"))
        silent = not case.about("disease") and not counts and not rejected
        assert ("no diagnosis" in text) == silent


@pytest.mark.parametrize(("name", "track", "style"), EVERY)
def test_no_two_conversations_of_a_dataset_are_alike(
    cases: dict[str, list[Case]], name: str, track: str, style: str | None
) -> None:
    for seed in SEEDS:
        texts = [offline.compose(seen(case, track), track, style, seed) for case in cases[name]]
        assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(("name", "track", "style"), EVERY)
def test_questions_hold_no_word_of_the_answer(cases: dict[str, list[Case]], name: str, track: str, style: str | None) -> None:
    for case, seed in itertools.product(cases[name], SEEDS):
        turns = composed(case, track, style, seed)
        assert len({turn.question for turn in turns}) == len(turns)
        for turn in turns:
            assert not re.search(r"\d", turn.question)
            for fact in case.facts:
                if fact.aspect in ("disease", "lesion", "vascular"):
                    assert fact.words.casefold() not in turn.question.casefold()


ODD = re.compile(r"[$<>|]|  | [,;.?]|\.\.|[,;:][,;.]|\.;|\b(\w+) \1\b|\ba (?!one)[aeio]\w|\ban [^aeiouAEFHILMNORSX]", re.I)


def assert_reads_well(text: str, question: bool = False) -> None:
    assert not (odd := ODD.search(text)), f"{odd[0]!r} in: {text}"
    assert re.match(r"[A-Z0-9]", text) and text.endswith(("?", ".") if question else (".",)), text
    assert all(text.count(a) == text.count(b) for a, b in ("()", "[]")) and text.count('"') % 2 == 0, text
    for start in re.findall(r"[.!?] (\S)", text):
        assert start.isupper() or start.isdigit(), text


@pytest.mark.parametrize(("name", "track", "style"), EVERY)
def test_sentences_are_whole(cases: dict[str, list[Case]], name: str, track: str, style: str | None) -> None:
    for case, seed in itertools.product(cases[name], SEEDS):
        for turn in composed(case, track, style, seed):
            assert_reads_well(turn.question, question=True)
            assert_reads_well(turn.answer)


@pytest.mark.parametrize("name", page.names())
def test_numbers_stand_as_in_the_description_with_their_unit(cases: dict[str, list[Case]], name: str) -> None:
    for case, seed in itertools.product(cases[name], SEEDS):
        for number in re.findall(r"\d+(?:\.\d+)?(?: µm| %| degrees)?", answers(composed(case, "instruction", None, seed))):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d]|\.\d)", case.description), f"{case.id}: {number}"


VESSEL = re.compile(r"\b(arter|vein)(?:y|ies|s)?\b")


@pytest.mark.parametrize("name", page.names())
def test_a_value_of_the_arteries_is_said_of_arteries_and_one_of_the_veins_of_veins(
    cases: dict[str, list[Case]], name: str
) -> None:
    told = 0
    for case, seed in itertools.product(cases[name], range(12)):
        known = {f.name: measurements.feature(f.name).say(f.value) for f in case.about("vascular")}
        texts = list(known.values())
        text = answers(composed(case, "instruction", None, seed))
        for column, value in known.items():
            if not column.startswith(("Artery_", "Vein_")) or texts.count(value) > 1:
                continue
            vessel = "arter" if column.startswith("Artery_") else "vein"
            feature = measurements.feature(column)
            for place in re.finditer(rf"(?<![\d.]){re.escape(value)}(?![\d]|\.\d)", text):
                sentence_start = max(text.rfind(". ", 0, place.start()), text.rfind("\n", 0, place.start())) + 1
                before = VESSEL.findall(text[sentence_start : place.start()])
                after = re.match(r" in the (arter|vein)", text[place.end() :])
                assert (after[1] if after else before[-1]) == vessel, f"{case.id}: {column} {value}"
                around = text[sentence_start : text.find(". ", place.end())].casefold()
                assert feature.where.casefold() in around and feature.measure in around, f"{case.id}: {column} {value}"
                told += 1
    assert told > 20


# --- every phrase ---


def bank() -> dict:
    return yaml.safe_load((paths.PACKAGE / "teacher" / "prompts" / "offline.yaml").read_text(encoding="utf-8"))


def leaves(node: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield ".".join(path), node
    for key, inner in node.items() if isinstance(node, dict) else ():
        yield from leaves(inner, (*path, str(key)))
    for inner in node if isinstance(node, list) else ():
        yield from leaves(inner, path)


class Script:
    """Stands where a random generator does and takes, run after run, every way through its choices."""

    def __init__(self) -> None:
        self.path: list[tuple[int, int]] = []
        self.step = 0

    def choice(self, options: list) -> object:
        if self.step == len(self.path):
            self.path.append((0, len(options)))
        taken, _ = self.path[self.step]
        self.step += 1
        return options[taken]

    def advance(self) -> bool:
        """Turns to the next way. False: there is none."""
        self.step = 0
        while self.path:
            taken, count = self.path.pop()
            if taken + 1 < count:
                self.path.append((taken + 1, count))
                return True
        return False


SLOTS = {
    "modality": "a colour fundus photograph", "eye": "left", "by": "EyeQ graders", "words": "drusen", "value": "2",
    "of": "diabetic retinopathy", "title": "International Clinical Diabetic Retinopathy scale", "top": "4",
    "counted": "3 drusen", "area": "0.251 %", "boxes": ", at [0.1, 0.2, 0.3, 0.4]", "many": "haemorrhages",
    "list": "[0.1, 0.2, 0.3, 0.4]", "count": "10", "things": " clusters",
    "a": "1800 µm", "b": "1700 µm", "where": "in zone B", "measure": "average width", "one": "an average width",
    "formula": "Hubbard's", "age": "58 years old", "sex": "male",
}  # fmt: skip
BY_PLACE = {
    "disease.normal": {"words": "a normal fundus"},
    "disease.normal_no": {"words": "no abnormality among the conditions that were looked for"},
    "disease.clause": {"words": "there is no apparent hard exudate", "of": "risk of macular oedema"},
    "disease.presence": {
        "words": "there is referable diabetic macular oedema",
        "of": "referable diabetic macular oedema",
    },
    "short.clause": {"words": "there is no apparent hard exudate", "of": "risk of macular oedema"},
    "short.presence": {"words": "there is referable diabetic macular oedema"},
    "short.some": {"list": "12 microaneurysms and no haemorrhages"},
    "vascular.list": {"of": "retinal arteries", "list": "a fractal dimension of 1.5 and an average width of 45.0 µm"},
    "vascular.calibre": {"list": "the equivalent is 152.0 µm and the ratio 0.652"},
    "vascular.single": {"words": "vertical cup-to-disc ratio", "value": "0.4"},
    "patient.labels": {"list": "diabetes and cataract"},
    "quality.graded": {"words": "good"},
    "quality.ungradable": {"words": "reject"},
}


def expansions(place: str, template: str) -> list[str]:
    script, found = Script(), []
    slots = SLOTS | BY_PLACE.get(place, {})
    while True:
        found.append(Phrases(script).say([template], **slots))
        if not script.advance():
            return found


@pytest.mark.parametrize(("place", "template"), list(leaves(bank())))
def test_every_way_to_say_a_phrase_reads_well(place: str, template: str) -> None:
    for text in expansions(place, template):
        if place in ("lesion.all", "lesion.clusters", "lesion.largest"):
            text = f"I see drusen{text if text[0] in ',;' else ' ' + text}."
        assert_reads_well(text, question=place.startswith("questions."))
    if place.startswith("questions."):
        assert "$" not in template


def test_the_ways_of_a_phrase_are_all_taken() -> None:
    template = "<A|The> <b|c <d|e>|> f."
    assert sorted(set(expansions("x", template))) == sorted(
        {f"{a} {b} f.".replace("  ", " ") for a in ("A", "The") for b in ("b", "c d", "c e", "")}
    )


def test_every_slot_of_the_bank_is_known() -> None:
    names = {slot for _, template in leaves(bank()) for slot in Template(template).get_identifiers()}
    assert names <= set(SLOTS) | {name.capitalize() for name in SLOTS}


@given(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1), st.integers())
def test_a_slot_is_filled_with_what_it_is_given(words: str, seed: int) -> None:
    assert Phrases(random.Random(seed)).say(["I see <|also> $words here."], words=words) in (
        f"I see {words} here.",
        f"I see also {words} here.",
    )


# --- odd cases ---


def case(*facts: Fact, eye: str | None = None) -> Case:
    return Case("own", "own-1", "a.png", Path("a.png"), "all", None, eye, facts)


@cache
def fact(aspect: str, name: str, words: str, value: object = 1, unit: str = "", text: str = "", row: int | None = 2) -> Fact:
    return Fact(aspect, name, value, unit, text or words, Source("own.csv", row, name), words)


MODALITY = fact("image", "modality", "OCT scan", text="OCT scan")
EYE = fact("image", "eye", "left", "left", text="it shows the left eye")
NOTE = fact("notes", "notes", "taken after laser treatment")
UNGRADABLE = fact("quality", "ungradable", "reject", 2, "EyeQ graders")
BOX = (0.1, 0.2, 0.3, 0.4)
SPOT = (
    fact("lesion", "FS", "Fuchs spot", 1, "Fuchs spots", "1 Fuchs spot is marked"),
    fact("lesion", "FS_area", "Fuchs spots", 0.976, "%", "the Fuchs spot covers 0.976 % of the image"),
    fact(
        "lesion",
        "FS_box",
        "Fuchs spots",
        BOX,
        "box",
        "the Fuchs spot lies in the box [0.1000, 0.2000, 0.3000, 0.4000]",
    ),
)
NO_SPOT = fact("lesion", "FS", "Fuchs spot", 0, "Fuchs spots", "no Fuchs spots are marked")


@pytest.mark.parametrize(
    "facts",
    [
        (),
        (MODALITY,),
        (EYE,),
        (MODALITY, EYE),
        (NOTE,),
        (MODALITY, NOTE),
        (MODALITY, EYE, UNGRADABLE),
        SPOT,
        (MODALITY, NO_SPOT),
        (fact("disease", "disease", "drusen; a scar"),),
        (fact("vascular", "vascular", "AV ratio 0.7"),),
        (MODALITY, fact("image", "camera", "a hand-held camera was used"), EYE),
        (MODALITY, fact("image", "camera", "a hand-held camera was used"), EYE, fact("quality", "quality", "good")),
        (MODALITY, EYE, fact("patient", "age", "58 years old", 58, "years"), *SPOT, NOTE, UNGRADABLE),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("track", "style"), KINDS)
def test_a_case_of_few_facts_still_makes_a_whole_conversation(facts: tuple, track: str, style: str | None) -> None:
    for seed in range(20):
        turns = composed(case(*facts, eye="left" if EYE in facts else None), track, style, seed)
        assert 3 <= len(turns) <= 6 if track == "instruction" else len(turns) == 1
        assert (
            conversation_check.check(
                to_llava(turns), seen(case(*facts, eye="left" if EYE in facts else None), track), track, style
            )
            == []
        )
        for turn in turns:
            assert_reads_well(turn.question, question=True)
            assert_reads_well(turn.answer)
        if style != "consult":
            text = answers(turns).casefold()
            for each in seen(case(*facts), track).facts:
                assert all(piece.casefold() in text for piece in pieces(each)), f"{each.text}: {text}"


def test_where_lesions_are_marked_it_is_not_said_that_no_disease_is_known() -> None:
    for seed, (track, style) in itertools.product(range(20), KINDS):
        assert "diagnosis" not in answers(composed(case(MODALITY, *SPOT), track, style, seed))
    assert "diagnosis" in answers(composed(case(MODALITY, NO_SPOT), "instruction", None))


def test_where_graders_could_not_judge_nothing_is_said_of_a_diagnosis() -> None:
    for seed, (track, style) in itertools.product(range(20), KINDS):
        text = answers(composed(case(MODALITY, EYE, UNGRADABLE), track, style, seed))
        assert "diagnosis" not in text and "'reject'" in text


def test_a_consultation_opens_with_the_image_and_leaves_out_whole_sentences() -> None:
    long = [fact("notes", f"n{i}", f"remark {i} " + "of some length, " * 5 + "and an end") for i in range(4)]
    for seed in range(20):
        text = answers(composed(case(MODALITY, fact("disease", "disease", "drusen"), *long), "alignment", "consult", seed))
        assert "OCT scan" in text.split(". ")[0] and "drusen" in text and len(text.split()) <= 50
        assert_reads_well(text)


def test_words_of_a_free_note_stay_as_they_are() -> None:
    odd = fact("notes", "notes", "width .5 mm ; <a|b> costs $words, i.e. 3 : 4")
    for seed in range(10):
        assert odd.words in answers(composed(case(MODALITY, odd), "alignment", "caption", seed))


# --- small tools of grammar ---


@pytest.mark.parametrize(
    ("noun", "told"),
    [
        ("average width", "an average width"), ("fractal width", "a fractal width"), ("OCT scan", "an OCT scan"),
        ("UWF picture", "a UWF picture"), ("no scar", "no scar"), ("the disc", "the disc"), ("a scar", "a scar"),
        ("absolute curve", "an absolute curve"), ("ulcer", "an ulcer"), ("usable image", "a usable image"),
        ("ultra-wide-field picture", "an ultra-wide-field picture"), ("one-sided view", "a one-sided view"),
    ],
)  # fmt: skip
def test_a_noun_gets_the_article_that_is_spoken(noun: str, told: str) -> None:
    assert articled(noun) == told


def test_words_are_joined_and_clauses_made_sentences() -> None:
    assert [joined(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert sentence(" it is.") == "It is." and sentence("is it?") == "Is it?"


if __name__ == "__main__":
    GOLDEN.write_text(golden(), encoding="utf-8")
