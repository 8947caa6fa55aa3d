"""A person's eyes and equal pictures stay together, and what is a benchmark anywhere is trained on nowhere.

After a change to what splits.csv holds, `python tests/test_splits.py` writes tests/golden_exports/splits.csv anew.
"""

import csv
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from retinal_lib import Job, UserError, load_dataset
from retinal_lib.__main__ import main
from retinal_lib.dataset import image_files, page, splits
from retinal_lib.dataset.splits import SplitCandidate, SplitRow, assign_splits, members, read, write
from retinal_lib.export import numbering
from retinal_lib.export.card import write_card

GOLDEN = Path(__file__).parent / "golden_exports" / "splits.csv"
PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "data" / "IDRiD"
ODD = "ein Auge, 2/3: \"ü\" '=1'\r\n%20;~ 眼"

OFFICIAL = st.sampled_from(["", *splits.SPLITS])
NAMES = st.sampled_from([*"abcdefgh", ODD])


@st.composite
def images(draw: Callable) -> list[SplitCandidate]:
    """Images of one or two datasets with ties among them, some to images that are not at hand."""
    found = {}
    for name in draw(st.lists(NAMES, unique=True, min_size=1)):
        ties = draw(st.lists(st.sampled_from(["patient:1", "patient:2", "person:3", "bytes:9-ff"]), max_size=2, unique=True))
        for other in draw(st.lists(NAMES, max_size=1)):
            ties.append(f"same:{draw(OFFICIAL)}:{quote(other, safe='')}")
        found[name] = SplitCandidate(draw(st.sampled_from("AB")), name, f"A/{name}.jpg", draw(OFFICIAL), tuple(ties))
    return list(found.values())


def rank(split: str) -> int:
    return ["", *splits.SPLITS].index(split)


@given(images())
def test_no_group_stands_in_two_splits_and_ties_stay_within_a_group(some: list[SplitCandidate]) -> None:
    rows = assign_splits(some)
    assert len(rows) == len(some) and {row.split for row in rows} <= set(splits.SPLITS)
    by_group, by_tie = defaultdict(set), defaultdict(set)
    for row in rows:
        by_group[row.group].add(row.split)
        for tie in row.ties.split():
            by_tie[tie if not tie.startswith("same:") else tie.split(":", 2)[2]].add(row.group)
    assert all(len(found) == 1 for found in by_group.values())
    assert all(len(found) == 1 for found in by_tie.values())


@given(images())
def test_a_group_goes_where_its_most_protective_image_belongs(some: list[SplitCandidate]) -> None:
    rows = assign_splits(some)
    for row in rows:
        known = [row.official_split, *(tie.split(":")[1] for tie in row.ties.split() if tie.startswith("same:"))]
        known += [other.official_split for other in rows if other.group == row.group]
        assert rank(row.split) >= max(map(rank, known)), "an official test image is trained on nowhere"
        assert (row.why == f"official {row.split}") == (row.official_split == row.split)
        assert row.why == "drawn" or row.why.endswith(f"official {row.split}")
        assert row.why != "drawn" or not any(known)


@given(images(), st.randoms())
def test_the_same_images_in_any_order_give_the_same_splits(some: list[SplitCandidate], random: object) -> None:
    shuffled = list(some)
    random.shuffle(shuffled)
    assert sorted(assign_splits(some)) == sorted(assign_splits(shuffled)) == sorted(assign_splits(shuffled + some))


@given(images())
def test_a_file_keeps_every_letter_and_gives_the_same_again(tmp_path_factory: pytest.TempPathFactory, some: list) -> None:
    folder, rows = tmp_path_factory.mktemp("run"), assign_splits(some)
    write(folder / "splits.csv", rows)
    assert read(folder / "splits.csv") == rows == splits.combine_runs([folder, folder])


@given(st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=40))
def test_a_draw_hangs_on_the_group_alone(numbers: list[int]) -> None:
    def drawn(some: list[int]) -> dict[str, str]:
        return {
            r.id: r.split
            for r in assign_splits(SplitCandidate("A", f"A-{n}", f"A/{n}", "", (f"patient:A/{n // 2}",)) for n in some)
        }

    whole, part = drawn(numbers), drawn(numbers[: len(numbers) // 2])
    assert part.items() <= whole.items(), "an image stays where it is when others are added"


def test_draws_come_in_the_promised_shares() -> None:
    rows = assign_splits(SplitCandidate("A", str(n), str(n)) for n in range(10_000))
    for split, share in splits.SHARES.items():
        assert abs(sum(row.split == split for row in rows) / 100 - share) < 1.5


@given(images(), st.integers(0, 3), st.randoms())
def test_a_draw_by_shares_keeps_groups_and_officials_in_any_order(some: list, seed: int, random: object) -> None:
    draw, shuffled = splits.Draw(splits.shares("60,20,20"), seed), list(some)
    random.shuffle(shuffled)
    drawn, plain = assign_splits(some, draw), {row.id: row for row in assign_splits(some)}
    assert sorted(drawn) == sorted(assign_splits(shuffled, draw))
    assert all(row.split == plain[row.id].split for row in drawn if row.why != "drawn")
    assert len({(row.group, row.split) for row in drawn}) == len({row.group for row in drawn})


def test_a_draw_by_shares_leaves_no_split_of_a_small_dataset_empty_whatever_it_is_called() -> None:
    def placed(dataset: str, draw: splits.Draw | None) -> dict[str, str]:
        eyes = [(n, eye) for n in range(11) for eye in "lr"]
        some = [
            SplitCandidate(dataset, f"{dataset}-{n}{e}", f"{dataset}/{n}{e}.png", "", (f"patient:{dataset}/{n}",))
            for n, e in eyes
        ]
        rows = assign_splits(some, draw)
        assert bool(splits.empty(rows)) == (len({row.split for row in rows}) < 3)
        return {row.image.partition("/")[2]: row.split for row in rows}

    for seed in range(20):
        found = placed("page", splits.Draw(seed=seed))
        assert sorted(Counter(found.values()).items()) == [("test", 2), ("train", 18), ("validation", 2)]
        assert found == placed("table", splits.Draw(seed=seed))
    assert placed("page", splits.Draw(seed=1)) != placed("page", splits.Draw(seed=2))
    (told,) = splits.empty(assign_splits(SplitCandidate("A", f"A-{n}", f"A/{n}") for n in (1, 2, 3)))
    assert told.startswith("No image is in ") and "--shares 80,10,10" in told
    draw = splits.Draw({"train": 80, "validation": 20, "test": 0})
    rows = assign_splits((SplitCandidate("A", f"A-{n}", f"A/{n}") for n in range(50)), draw)
    assert "0 test" in (told := splits.summary(rows, draw)) and "No image is in" not in told  # asked for
    for code, name, is_held in (("AK%2F1", "scan_1", False), ("1", "scan_1", True), ("an", "scan_1", False)):
        row = SplitRow("own", "own-1", f"own/{name}.png", "train", "", "", "", f"patient:own/{code}")
        assert numbering._holds_its_patient(row) is is_held
    for text in ("80,10", "80,10,20", "0,50,50", "a,b,c", ""):
        with pytest.raises(UserError, match="expected those of train, validation and test, which make 100"):
            splits.shares(text)


# --- datasets --------------------------------------------------------------------------------------------------------


def rows_of(drawn: dict[str, Path], *names: str) -> list[SplitRow]:
    """The images of drawn samples, divided together."""
    found = []
    for name in names:
        data = load_dataset(name, drawn[name])
        found += members(data.page, map(data.image, (*data.images, *data.skipped)), f"{name}/")
    return assign_splits(found)


def test_every_twin_is_an_image_of_its_dataset() -> None:
    pairs = image_files.shared_pictures()["pairs"]
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs}) == 60
    for name in sum(pairs, []):
        dataset, split, stem = name.split("/")
        assert split in page.get(dataset).splits and re.search(page.get(dataset).image, stem), name
    assert ["IDRiD_seg/train/IDRiD_09", "IDRiD/test/IDRiD_091"] in pairs
    assert ["IDRiD_seg/test/IDRiD_58", "IDRiD/train/IDRiD_356"] in pairs
    training = [stem for one, _ in pairs for _, split, stem in [one.split("/")] if split == "train"]
    assert max(training) == "IDRiD_54", "images 55 to 81 are the test set"
    for rule in image_files.shared_pictures()["same_name"]:
        for dataset, split in (spot.split("/") for spot in rule["splits"]):
            assert split in page.get(dataset).splits
            same = [spot for spot in rule["splits"] if spot.startswith(f"{dataset}/")]
            assert len(same) == 1 or not page.get(dataset).restart, "an id without its split would name no image"


@pytest.mark.parametrize("name", page.names())
def test_official_splits_are_known_by_their_role(name: str) -> None:
    expected = {
        "train": "train",
        "training": "train",
        "val": "validation",
        "valid": "validation",
        "validation": "validation",
        "test": "test",
        "off-site": "test",
        "on-site": "test",
        "all": "",
    }
    found = page.get(name)
    assert {split: found.role(split) for split in found.splits} == {split: expected[split] for split in found.splits}


@pytest.mark.parametrize("name", ["ODIR", "EyeQ", "UK", "Messidor2", "MICCAI_task1"])
def test_the_eyes_of_one_person_share_a_group(name: str, drawn: dict[str, Path]) -> None:
    groups = defaultdict(list)
    for row in rows_of(drawn, name):
        groups[row.group].append(row.id)
    assert groups and all(len(ids) == 2 for ids in groups.values()), groups


def test_mmac_s_hidden_pairs_need_all_four_cells(tmp_path: Path, drawn: dict[str, Path]) -> None:
    root = tmp_path / "mmac"
    shutil.copytree(drawn["MICCAI_task1"], root)
    table = next(root.rglob("*Training_Labels.csv"))
    lines = table.read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1].rsplit(",", 1)[0] + ","  # the first eye's weight is empty
    lines[3] = lines[3] + ".0"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = load_dataset("MICCAI_task1", root)
    found = list(members(data.page, map(data.image, data.images), ""))
    kinds = [[tie.partition(":")[0] for tie in one.ties] for one in found[:2]]
    assert kinds == [["bytes"], ["bytes", "person"]]
    assert found[2].ties[1] == found[3].ties[1]
    table.write_text("\n".join(line.rsplit(",", 1)[0] for line in lines) + "\n", encoding="utf-8")
    data = load_dataset("MICCAI_task1", root)
    assert any("no column 'weight', so images of one person cannot be recognised" in note for note in data.notes)
    first = next(members(data.page, map(data.image, data.images), ""))
    assert [tie for tie in first.ties if tie.startswith("person")] == []


def test_messidor_and_messidor_2_stay_together_by_name(drawn: dict[str, Path]) -> None:
    rows = rows_of(drawn, "Messidor", "Messidor2")
    groups = defaultdict(set)
    for row in rows:
        groups[Path(row.image).stem].add(row.group)
    assert all(len(found) == 1 for found in groups.values())
    both = [stem for stem in groups if len([row for row in rows if Path(row.image).stem == stem]) == 2]
    assert len(both) == 4
    pair = "20051020_43808_0100_PP", "20051020_43832_0100_PP"
    assert groups[pair[0]] == groups[pair[1]], "Messidor's images are paired by Messidor-2's table"


def test_a_duplicate_of_messidor_s_errata_is_known_in_messidor_2() -> None:
    found = splits._same_pictures(splits.ImageLocation(page.get("Messidor2"), "all", "20051202_55582_0400_pp"), {})
    assert {place.id.casefold() for place in found} == {
        *(f"{dataset}-20051202_54744_0400_pp" for dataset in ("messidor", "messidor2", "maples_dr")),
        *(f"{dataset}-20051202_55582_0400_pp" for dataset in ("messidor", "maples_dr")),
    }


def test_a_test_image_of_one_dataset_is_no_training_image_of_another(drawn: dict[str, Path]) -> None:
    alone = {row.id: row for row in rows_of(drawn, "IDRiD_seg")}
    both = {row.id: row for row in rows_of(drawn, "IDRiD", "IDRiD_seg")}
    row = both["IDRiD_seg-IDRiD_22"]
    assert (row.split, row.official_split, row.why) == ("test", "train", "with IDRiD-test-IDRiD_088, official test")
    assert alone["IDRiD_seg-IDRiD_22"] == row, "whether the other dataset is at hand or not"
    places = {
        place.id: place.split
        for place in splits._same_pictures(splits.ImageLocation(page.get("IDRiD"), "train", "IDRiD_356"), {})
    }
    assert places == {"IDRiD_seg-IDRiD_58": "test", "IDRiD_loc-train-IDRiD_356": "train"}


@pytest.mark.parametrize(
    ("whole", "split", "part", "stem"),
    [
        ("Messidor", "all", "MAPLES_DR", "20051202_55582_0400_PP"),
        ("Messidor2", "all", "MAPLES_DR", "20051202_55582_0400_PP"),
        ("DDR", "train", "DDR_seg", "007-0004-000"),
        ("EyeQ", "train", "EyePACS", "12_left"),
    ],
)
def test_a_picture_that_may_lie_in_any_split_elsewhere_has_no_split_from_there(
    whole: str, split: str, part: str, stem: str
) -> None:
    here = splits.ImageLocation(page.get(whole), split, stem)
    (there,) = (p for p in splits._same_pictures(here, {}) if p.id == f"{part}-{stem}")
    assert there.page.role(there.split) == "", "the other dataset may hold it for training, for a test, or not at all"
    tie = f"same::{quote(there.id)}"
    alone = SplitCandidate(whole, here.id, "a", page.get(whole).role(split), (tie,))
    other = SplitCandidate(part, there.id, "b", "test")
    assert "with" not in assign_splits([alone])[0].why
    assert [row.split for row in assign_splits([alone, other])] == ["test", "test"], "its benchmark counts once it is at hand"
    told = f"1 image for training may be of {part}'s test split, which only its own files say"
    train = alone._replace(official="train")
    assert told in splits.summary(assign_splits([train])) and told not in splits.summary(assign_splits([train, other]))


def test_the_published_files_agree_with_what_is_said_of_them() -> None:
    if not PUBLISHED.is_dir():
        pytest.skip(f"the published files are not there ({PUBLISHED})")
    rows = {}
    for name in ("IDRiD", "IDRiD_seg"):
        data = load_dataset(name, PUBLISHED)
        rows |= {found.id: found for found in members(data.page, map(data.image, (*data.images, *data.skipped)), "")}
    same_bytes = defaultdict(set)
    for found in rows.values():
        same_bytes[next(tie for tie in found.ties if tie.startswith("bytes:"))].add(found.id)
    equal = [{"IDRiD_seg-IDRiD_01", "IDRiD-train-IDRiD_102"}, {"IDRiD-train-IDRiD_021", "IDRiD-train-IDRiD_391"}]
    equal.append({"IDRiD-train-IDRiD_118", "IDRiD-test-IDRiD_064"})
    assert sorted(map(sorted, (ids for ids in same_bytes.values() if len(ids) > 1))) == sorted(map(sorted, equal))
    placed = {row.id: row for row in assign_splits(rows.values())}
    assert all(len({placed[name].group for name in ids}) == 1 for ids in equal)
    assert placed["IDRiD-train-IDRiD_118"].why == "with IDRiD-test-IDRiD_064, official test"


def clinic(root: Path, *, restart: bool = False) -> Path:
    """A dataset of one's own with odd names; two of its pictures are byte for byte the same."""
    odd = ODD.replace("/", "-").strip()
    for split, names in {"Lehre": [odd, "5_left", "7_left"], "holdout": ["5_right", "6_left"]}.items():
        (root / split).mkdir(parents=True)
        for name in names:
            (root / split / f"{name}.png").write_bytes(f"picture {name}".encode())
    (root / "Lehre" / "7_left.png").write_bytes(b"picture 6_left")
    path = root / "clinic.yaml"
    path.write_text(
        "name: clinic\ntitle: Our clinic\nimage: '^((?P<patient>\\d+)_(?P<eye>left|right)|ein Auge[\\s\\S]*)$'\n"
        f"restart: {str(restart).lower()}\n"
        "splits: {teach: {images: [Lehre]}, holdout: {images: [holdout], role: test}}\n"
        "facts: [automorph]\n",
        encoding="utf-8",
    )
    return path


def test_a_page_of_your_own_names_the_role_of_its_splits(tmp_path: Path) -> None:
    data = load_dataset(str(clinic(tmp_path)), tmp_path)
    rows = {row.id: row for row in assign_splits(members(data.page, map(data.image, data.images), "c/"))}
    assert rows["clinic-5_left"].why == "with clinic-5_right, official test"
    assert rows["clinic-7_left"].group == rows["clinic-6_left"].group, "the same bytes"
    assert rows["clinic-7_left"].split == "test" and rows["clinic-7_left"].official_split == ""
    odd = next(row for name, row in rows.items() if "Auge" in name)
    assert odd.why == "drawn" and odd.id.startswith("clinic-ein Auge")


def test_where_numbering_restarts_a_number_is_another_patient(tmp_path: Path) -> None:
    data = load_dataset(str(clinic(tmp_path, restart=True)), tmp_path)
    rows = {row.id: row for row in assign_splits(members(data.page, map(data.image, data.images), "c/"))}
    assert rows["clinic-teach-5_left"].group != rows["clinic-holdout-5_right"].group


def test_an_unknown_role_is_refused(tmp_path: Path) -> None:
    path = clinic(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("role: test", "role: exam"), encoding="utf-8")
    with pytest.raises(UserError, match=r"clinic.yaml, line 5: splits > holdout > role: found 'exam'"):
        page.load(path)


def test_a_picture_that_is_gone_has_no_bytes(tmp_path: Path) -> None:
    data = load_dataset(str(clinic(tmp_path)), tmp_path)
    (tmp_path / "holdout" / "6_left.png").unlink()
    (found,) = members(data.page, [data.image("6_left.png")], "")
    assert [tie.partition(":")[0] for tie in found.ties] == ["patient"]


# --- runs and the command --------------------------------------------------------------------------------------------


def golden_rows() -> list[SplitRow]:
    """What splits.csv holds, by a case of each kind."""
    return assign_splits(
        [
            SplitCandidate("ODIR", "ODIR-11_left", "ODIR/11_left.jpg", "train", ("bytes:10-aa", "patient:ODIR/11")),
            SplitCandidate("ODIR", "ODIR-11_right", "ODIR/11_right.jpg", "train", ("bytes:11-ab", "patient:ODIR/11")),
            SplitCandidate(
                "MICCAI_task1", "MICCAI_task1-m_2", "M/m_2.png", "validation", ("person:MICCAI_task1/34/female/162/54",)
            ),
            SplitCandidate("MICCAI_task1", "MICCAI_task1-m_1", "M/m_1.png", "train", ("person:MICCAI_task1/34/female/162/54",)),
            SplitCandidate("IDRiD_seg", "IDRiD_seg-IDRiD_22", "S/IDRiD_22.jpg", "train", ("same:test:IDRiD-test-IDRiD_088",)),
            SplitCandidate("IDRiD", "IDRiD-train-IDRiD_001", "I/train/IDRiD_001.jpg", "train", ("bytes:12-ac",)),
            SplitCandidate("my", f"my-{ODD}", f"my/{ODD}.png", "", ("bytes:12-ac",)),
            SplitCandidate("my", "my-b", "my/b.png"),
        ]
    )


def test_the_file_looks_as_it_did() -> None:
    expected = GOLDEN.read_bytes().decode()
    assert "".join(map(splits._line, (SplitRow._fields, *golden_rows()))) == expected
    assert read(GOLDEN) == golden_rows()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished runs of drawn samples."""
    root = tmp_path_factory.mktemp("runs")
    for name in ("IDRiD", "IDRiD_seg"):
        Job.load(dataset=name, out_dir=str(root / name)).run()
    return {name: root / name for name in ("IDRiD", "IDRiD_seg")}


def test_a_run_places_each_of_its_images(runs: dict[str, Path], tmp_path: Path) -> None:
    rows = read(runs["IDRiD"] / "splits.csv")
    names = [*(f"test-IDRiD_{n:03}" for n in range(1, 5)), *(f"train-IDRiD_{n:03}" for n in range(1, 9))]
    assert [row.id for row in rows] == [f"IDRiD-{name}" for name in names]
    assert all(row.split == row.official_split and row.image.startswith("IDRiD/") for row in rows)
    Job.load(dataset="IDRiD", out_dir=str(tmp_path), split="test", limit=2).run()
    assert set(read(tmp_path / "splits.csv")) < set(rows), "a part of a dataset is placed as the whole is"


def test_a_run_with_an_image_that_cannot_be_used_places_it_too(tmp_path: Path) -> None:
    data = Job.load(dataset="ODIR").data.root
    shutil.copytree(data, tmp_path / "data")
    next((tmp_path / "data").rglob("11_left.jpg")).write_bytes(b"broken")
    outcome = Job.load(dataset="ODIR", data_root=str(tmp_path / "data"), out_dir=str(tmp_path / "run")).run()
    assert outcome.counts["skipped"] == 2
    assert {r.split for r in read(tmp_path / "run" / "splits.csv") if r.id in ("ODIR-11_left", "ODIR-11_right")} == {"train"}


def test_the_command_writes_one_file_for_several_runs(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = main(["splits", *map(str, runs.values()), "--out", str(tmp_path / "both.csv")])
    assert told.startswith("24 images in 24 groups: 15 train, 0 validation, 9 test\n1 image left the official split")
    assert "IDRiD_seg-IDRiD_22: with IDRiD-test-IDRiD_088, official test" in told
    with (tmp_path / "both.csv").open(encoding="utf-8", newline="") as file:
        assert [row["dataset"] for row in csv.DictReader(file)] == ["IDRiD"] * 12 + ["IDRiD_seg"] * 12
    monkeypatch.chdir(tmp_path)
    main(["splits", *map(str, reversed(runs.values()))])
    assert sorted(read(tmp_path / "splits.csv")) == sorted(read(tmp_path / "both.csv"))


def test_a_wrong_folder_or_file_is_named(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.splits.csv does not exist; give the folder of a finished run"):
        main(["splits", str(tmp_path / "none")])
    own = runs["IDRiD"] / "splits.csv"
    with pytest.raises(UserError, match=r"is the splits.csv of one of these runs"):
        main(["splits", str(runs["IDRiD"]), "--out", str(own)])
    text = own.read_text(encoding="utf-8")
    for old, new, what in (
        ("official_split", "official", r"splits.csv: no column 'official_split'; the columns are dataset, id"),
        ("train,train", "train,trian", r"row 6, column official_split: unknown split 'trian'.*did you mean 'train'"),
        ("train,train", ",train", r"row 6, column split: unknown split ''; known: train, validation, test"),
        ("dataset", "\udcff", "not a readable table"),
    ):
        (tmp_path / "splits.csv").write_bytes(text.replace(old, new, 1).encode("utf-8", "surrogateescape"))
        with pytest.raises(UserError, match=what):
            splits.combine_runs([tmp_path])
    (tmp_path / "splits.csv").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="no column 'dataset'; the columns are none"):
        splits.combine_runs([tmp_path])


def test_a_split_that_was_edited_by_hand_does_not_count_for_the_whole(runs: dict[str, Path], tmp_path: Path) -> None:
    text = (runs["IDRiD"] / "splits.csv").read_text(encoding="utf-8")
    (tmp_path / "splits.csv").write_text(text.replace(",test,test,", ",train,test,"), encoding="utf-8")
    assert splits.combine_runs([tmp_path]) == splits.combine_runs([runs["IDRiD"]])


if __name__ == "__main__":
    write(GOLDEN, golden_rows())


@pytest.mark.parametrize(("header", "known"), [("Nº Doente", True), ("camera", False)])
def test_a_run_and_its_card_say_where_nobody_is_known(tmp_path: Path, header: str, known: bool) -> None:
    names = [f"P{n:03}_{eye}_macula" for n in range(12) for eye in ("OD", "OE")]
    for n, name in enumerate(names):
        Image.new("RGB", (8, 6), (n, 9, 90)).save(tmp_path / f"{name}.png")
    rows = [f"{name}.png,{name[:4]},drusen" for name in names]
    (tmp_path / "table.csv").write_text("\n".join([f"Ficheiro,{header},disease", *rows]) + "\n", encoding="utf-8")
    out = tmp_path / "run"
    outcome = Job.load(dataset=str(tmp_path / "table.csv"), data_root=str(tmp_path), out_dir=str(out)).run()
    splits_of = defaultdict(set)
    for row in read(out / "splits.csv"):
        splits_of[Path(row.image).name[:4]].add(row.split)
    assert known == (max(map(len, splits_of.values())) == 1)
    said = "Nothing says whose the 24 images are: two eyes of one person may be in different splits"
    card = write_card(out).read_text(encoding="utf-8")
    assert known == (said not in outcome.summary) == (said not in card) == ("Splits by person and picture" in card)
