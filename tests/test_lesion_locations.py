"""Where lesions lie, as answers tell it, against the facts."""

# ruff: noqa: E501

from pathlib import Path

import pytest

from retinal_lib.check.conversation_check import check
from retinal_lib.facts import Case, Fact, Source

SOURCE = Source("IDRiD_03_EX.tif")


def fact(name: str, value: object, unit: str, text: str, words: str) -> Fact:
    return Fact("lesion", name, value, unit, text, SOURCE, words)


def quadrants(ending: str, many: str, frame: str, **counts: int) -> list[Fact]:
    return [
        fact(
            ending,
            n,
            many,
            f"{n} of the {many} lie in the {name.replace('_', ' ')} {frame}",
            f"{name.replace('_', ' ')} {frame}",
        )
        for name, n in counts.items()
    ]


EX = [
    fact("EX", 29, "hard exudates", "29 hard exudates are marked", "hard exudate"),
    fact("EX_area", 0.74, "%", "the hard exudates cover 0.740 % of the image", "hard exudates"),
    fact("EX_clusters", 16, "clusters", "the hard exudates lie in 16 clusters", "hard exudates"),
    *quadrants("EX_place", "hard exudates", "around the fovea", superonasal_quadrant=13, inferotemporal_quadrant=9, superotemporal_quadrant=7),
    fact("EX_fovea", 0.83, "disc diameters", "the nearest of the hard exudates lies 0.83 disc diameters from the fovea, within one disc diameter of it", "fovea"),
    fact("EX_disc", 2.31, "disc diameters", "the nearest of the hard exudates lies 2.31 disc diameters from the centre of the optic disc", "optic disc"),
    fact("EX_box", (0.5, 0.1, 0.6, 0.2), "box", "[0.5000, 0.1000, 0.6000, 0.2000]", "hard exudates"),
    fact("EX_rest", 5, "hard exudates", "5 more hard exudates lie beyond these boxes", "hard exudates"),
    fact("EX_rest_share", 6.31, "%", "they hold 6.31 % of the area of all hard exudates", "hard exudates"),
    *quadrants("EX_rest_place", "hard exudates", "around the fovea", inferotemporal_quadrant=5),
]  # fmt: skip
MA = [
    fact("MA", 3, "microaneurysms", "3 microaneurysms are marked", "microaneurysm"),
    *quadrants("MA_place", "microaneurysms", "around the fovea", inferonasal_quadrant=3),
    fact("MA_disc", 1.6, "disc diameters", "the nearest of the microaneurysms lies 1.60 disc diameters from the centre of the optic disc", "optic disc"),
    fact("HE", 0, "haemorrhages", "no haemorrhages are marked", "haemorrhage"),
]  # fmt: skip
CNV = [
    fact("CNV", 1, "areas of choroidal neovascularisation", "1 area of choroidal neovascularisation is marked", "area of choroidal neovascularisation"),
    *quadrants("CNV_place", "areas of choroidal neovascularisation", "of the image", upper_left_quarter=1),
    fact("CNV_box", (0.3, 0.35, 0.5, 0.45), "box", "the area of choroidal neovascularisation lies in the box [0.3000, 0.3500, 0.5000, 0.4500]", "areas of choroidal neovascularisation"),
]  # fmt: skip


def kinds(answer: str, facts: list[Fact]) -> list[str]:
    case = Case("test", "test-1", "1.png", Path("1.png"), "all", None, None, tuple(facts), ())
    said = [{"from": "human", "value": "<image>\nDo you see any spots, and where?"}, {"from": "gpt", "value": answer}]
    return [f"{f.kind}: {f.text}" for f in check(said, case) if f.severity == "error"]


@pytest.mark.parametrize(
    "answer",
    [
        "There are 29 hard exudates: 13 in the superonasal, 9 in the inferotemporal and 7 in the superotemporal quadrant.",
        "Of the 29 hard exudates, 22 lie in the superonasal and inferotemporal quadrants.",
        "I count 29 hard exudates in 16 clusters. They lie in the upper nasal quadrant, the upper temporal quadrant and the lower temporal one.",
        "Hard exudates lie within one disc diameter of the fovea.",
        "The nearest hard exudate is about 0.8 disc diameters from the fovea and 2.31 disc diameters from the optic disc.",
        "No hard exudate lies within one disc diameter of the optic disc.",
        "The hard exudates stay more than two disc diameters away from the optic disc.",
        "5 more hard exudates lie beyond the boxes, all of them in the inferotemporal quadrant; they hold 6.31 % of the area of all hard exudates.",
        "All 3 microaneurysms lie in the inferonasal quadrant.",
        "There are no haemorrhages.",
        "There are 29 hard exudates, most of them in the upper half of the picture, and 3 microaneurysms in the inferonasal quadrant.",
        "None of the hard exudates lie in the inferonasal quadrant.",
    ],
)
def test_what_the_facts_hold_is_let_pass(answer: str) -> None:
    assert kinds(answer, [*EX, *MA]) == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("There are 13 hard exudates.", "misattributed"),
        ("There are 5 hard exudates in this eye.", "misattributed"),
        ("There are 16 hard exudates.", "misattributed"),
        ("There are 29 hard exudates, 9 of them in the superonasal quadrant.", "place"),
        ("The hard exudates lie in the inferonasal quadrant.", "place"),
        ("All of the hard exudates lie in the superonasal quadrant.", "place"),
        ("Most of the hard exudates lie in the superotemporal quadrant.", "place"),
        ("Most of the hard exudates lie in the superonasal quadrant around the fovea.", "place"),
        ("There are 29 hard exudates. Most lie in the lower half of the picture.", "place"),
        ("No hard exudate lies in the superonasal quadrant.", "place"),
        ("The microaneurysms lie in the upper nasal quadrant.", "place"),
        ("No hard exudate lies within one disc diameter of the fovea.", "place"),
        ("The hard exudates lie more than one disc diameter from the fovea.", "place"),
        ("The nearest hard exudate is 0.83 disc diameters from the optic disc.", "place"),
        ("The nearest hard exudate is 1.60 disc diameters from the optic disc.", "misattributed"),
        ("The microaneurysms lie within one disc diameter of the fovea.", "place"),
        ("The hard exudates cover 6.31 % of the image.", "misattributed"),
    ],
)
def test_what_the_facts_do_not_hold_is_found(answer: str, kind: str) -> None:
    found = kinds(answer, [*EX, *MA])
    assert found and found[0].startswith(kind), found


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("An area of choroidal neovascularisation lies in the upper left quarter of the image.", True),
        ("An area of choroidal neovascularisation lies in the upper half.", True),
        ("An area of choroidal neovascularisation lies in the lower right quarter of the image.", False),
        ("An area of choroidal neovascularisation lies in the superotemporal quadrant.", False),
    ],
)
def test_sides_of_the_picture_are_no_sides_of_the_nose(answer: str, right: bool) -> None:
    assert (kinds(answer, CNV) == []) == right
