"""What a run is asked to do, and which images it takes: passed over kept over default, and every mistake named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retinal_lib import Job, UserError, load_dataset
from retinal_lib.dataset.base import BaseDescription
from retinal_lib.evaluate.evaluation import Evaluation
from retinal_lib.explore.boxes_job import BoxJob
from retinal_lib.review.review import Review
from retinal_lib.run import selection as select
from retinal_lib.run import settings


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder of one's own, as the working directory."""
    monkeypatch.setenv("RETINAL_LIB_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("params", "notebooks"):
        (tmp_path / name).mkdir()
    return tmp_path


def keep(project: Path, text: str, name: str = "ODIR") -> None:
    (project / "params" / f"{name}.yaml").write_text(text, encoding="utf-8")


def refused(**parameters: object) -> str:
    with pytest.raises(UserError) as error:
        settings.load(**parameters)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- what counts ---


@pytest.mark.usefixtures("project")
def test_without_anything_said_the_defaults_run_offline() -> None:
    found = settings.load(dataset="ODIR")
    assert (found.track, found.style, found.teacher, found.images, found.terms_accepted) == (
        "instruction",
        None,
        "offline",
        "none",
        False,
    )
    assert (found.start, found.limit, found.seed, found.subset, found.data_root) == (0, None, 0, None, None)


def test_what_is_passed_counts_over_what_is_kept_and_that_over_the_default(project: Path) -> None:
    keep(project, "seed: 3\nlimit: 5\nconcurrency: 7\n")
    found = settings.load(dataset="odir", seed=9, limit=None)
    assert (found.seed, found.limit, found.concurrency, found.attempts) == (9, 5, 7, 3)


def test_a_kept_null_counts_as_not_kept_and_an_empty_file_as_none(project: Path) -> None:
    keep(project, "limit:\nseed: null\n")
    assert settings.load(dataset="ODIR").seed == 0
    keep(project, "# nothing yet\n")
    assert settings.load(dataset="ODIR").limit is None


def test_a_dataset_s_file_is_found_whatever_case_its_name_is_typed_in(project: Path) -> None:
    keep(project, "seed: 4\n", "IDRiD_seg")
    assert settings.load(dataset="idrid_SEG").seed == 4 and settings.load(dataset="IDRiD").seed == 0


def test_a_dataset_of_one_s_own_is_named_after_its_file(project: Path) -> None:
    keep(project, "seed: 4\n", "my_eyes")
    found = settings.load(dataset="data/my eyes.csv")
    assert found.seed == 4 and found.name == "my_eyes" and found.dataset == str(project / "data" / "my eyes.csv")


@pytest.mark.usefixtures("project")
def test_numbers_typed_where_a_text_is_wanted_are_taken_as_text() -> None:
    assert settings.load(dataset="ODIR", model=4, split=1).model == "4"


# --- paths ---


def test_passed_paths_start_where_the_command_is_typed_and_kept_ones_at_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(project, "data_root: data/odir\n")
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    found = settings.load(dataset="ODIR", automorph_root="results", out_dir="../out")
    assert found.data_root == project / "data" / "odir"
    assert found.automorph_root == project / "elsewhere" / "results" and found.folder == project / "out"


def test_inside_notebooks_paths_start_at_the_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "notebooks")
    assert settings.load(dataset="ODIR", data_root="data").data_root == project / "data"


def test_a_home_folder_and_an_absolute_path_are_understood(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project / "home"))
    keep(project, "automorph_root: ~/results\n")
    found = settings.load(dataset="ODIR", data_root="~/odir", out_dir=str(project / "out"))
    assert found.automorph_root == project / "home" / "results" and found.data_root == project / "home" / "odir"
    assert found.folder == project / "out"


@pytest.mark.parametrize(
    ("root", "why"),
    [
        ("/" + "x" * 5_000, "is too long"),
        ("file", "it is a file"),
        ("file/x", "Not a directory"),
        ("loop", "a link that leads nowhere"),
        ("loop/x", "Too many levels"),
        ("gone", "a link that leads nowhere"),
        ("\udce9", "use names in UTF-8"),
    ],
)
def test_a_project_folder_that_is_none_is_told(root: str, why: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "file").touch()
    (project / "loop").symlink_to("loop")
    (project / "gone").symlink_to("nowhere")
    monkeypatch.setenv("RETINAL_LIB_ROOT", root)
    for load in (settings.load, Job.load, BoxJob.load, Evaluation.load, Review.load):
        with pytest.raises(UserError, match="RETINAL_LIB_ROOT names no folder") as error:
            load(dataset="IDRiD_seg")
        assert why in str(error.value) and len(str(error.value)) < 400


def test_a_run_s_folder_names_dataset_track_and_style(project: Path) -> None:
    place = project / "artifacts"
    assert settings.load(dataset="odir").folder == place / "ODIR-instruction"
    assert settings.load(dataset="odir", track="alignment", style="consult").folder == place / "ODIR-alignment-consult"
    assert settings.folder({"dataset": "uk", "unheard": 1}) == place / "UK-instruction"


# --- style ---


@pytest.mark.usefixtures("project")
def test_style_belongs_to_alignment_where_caption_is_the_default() -> None:
    assert settings.load(dataset="ODIR", track="alignment").style == "caption"
    assert settings.load(dataset="ODIR", track="alignment", style="consult").style == "consult"
    assert "style 'consult' belongs to the alignment track" in refused(dataset="ODIR", style="consult")


def test_a_kept_style_does_not_stop_a_run_of_the_other_track(project: Path) -> None:
    keep(project, "track: alignment\nstyle: consult\n")
    assert settings.load(dataset="ODIR").style == "consult"
    assert settings.load(dataset="ODIR", track="instruction").style is None
    assert "belongs to the alignment track" in refused(dataset="ODIR", track="instruction", style="caption")


# --- mistakes ---


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        ({}, "dataset must be named, such as dataset=ODIR; known: APTOS, "),
        ({"dataset": "ODIRR"}, "unknown dataset 'ODIRR'; known: APTOS, "),
        ({"dataset": "ODIR", "limmit": 3}, "(did you mean 'limit'?)"),
        ({"dataset": "ODIR", "attempts": 3}, "unknown parameter 'attempts'"),
        (
            {"dataset": "ODIR", "track": "instruct"},
            "parameter track: found 'instruct'; expected 'instruction', 'alignment' or 'vqa'",
        ),
        (
            {"dataset": "ODIR", "track": "alignment", "style": "short"},
            "parameter style: found 'short'; expected 'caption' or 'consult'",
        ),
        ({"dataset": "ODIR", "limit": "many"}, "parameter limit: found 'many'"),
        ({"dataset": "ODIR", "limit": 0}, "parameter limit: found 0"),
        ({"dataset": "ODIR", "limit": 2.5}, "parameter limit: found 2.5"),
        ({"dataset": "ODIR", "limit": True}, "parameter limit: found True; expected a number"),
        ({"dataset": "ODIR", "start": -1}, "parameter start: found -1"),
        ({"dataset": "ODIR", "max_failed": 1.5}, "parameter max_failed: found 1.5"),
        ({"dataset": "ODIR", "terms_accepted": "perhaps"}, "parameter terms_accepted: found 'perhaps'"),
        ({"dataset": "ODIR", "data_root": 5}, "parameter data_root: found 5"),
        ({"dataset": "ODIR", "images": "yes"}, "parameter images: found 'yes'; expected 'none' or 'send'"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_would_be_right(parameters: dict, what: str) -> None:
    assert what in refused(**parameters)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("limmit: 3\n", "params/ODIR.yaml: unknown setting 'limmit'"),
        ("limmit: 3\n", "(did you mean 'limit'?)"),
        ("dataset: APTOS\n", "params/ODIR.yaml: unknown setting 'dataset'"),
        ("limit: many\n", "params/ODIR.yaml: limit: found 'many'"),
        ("concurrency: yes\n", "params/ODIR.yaml: concurrency: found True; expected a number"),
        ("- limit\n", "params/ODIR.yaml: expected settings such as 'data_root: /data/ODIR-5K'"),
        ("limit: [", "params/ODIR.yaml, line 1: not readable as YAML"),
        ("tables: train.xlsx\n", "params/ODIR.yaml: tables: found 'train.xlsx'"),
        ("attempts: 0\n", "params/ODIR.yaml: attempts: found 0"),
    ],
)
def test_a_wrong_line_in_a_kept_file_is_named_with_the_file(project: Path, text: str, what: str) -> None:
    keep(project, text)
    assert what in refused(dataset="ODIR")


# --- which images ---


@pytest.fixture(scope="module")
def eyes(drawn: dict[str, Path]) -> BaseDescription:
    return load_dataset("EyeQ", drawn["EyeQ"])


@pytest.fixture(scope="module")
def idrid(drawn: dict[str, Path]) -> BaseDescription:
    return load_dataset("IDRiD", drawn["IDRiD"])


def listed(folder: Path, content: str | bytes, name: str = "some.txt") -> str:
    path = folder / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return str(path)


def test_all_images_come_in_natural_order_skipped_ones_among_them(drawn: dict[str, Path]) -> None:
    data = load_dataset("ODIR", drawn["ODIR"])
    found = select.images(data, None, 0, None)
    numbers = [int(name.split("_")[0]) for name in found]
    assert numbers == sorted(numbers) and set(found) == {*data.images, *data.skipped}
    assert "1086_left.jpg" in found and "1086_left.jpg" in data.skipped


@given(width=st.integers(1, 20))
def test_windows_of_start_and_limit_cover_every_image_once(eyes: BaseDescription, width: int) -> None:
    every = select.images(eyes, None, 0, None)
    windows = [select.images(eyes, None, start, width) for start in range(0, len(every), width)]
    assert [name for window in windows for name in window] == every


def test_a_start_beyond_the_last_image_is_refused(eyes: BaseDescription) -> None:
    with pytest.raises(UserError, match=r"start 99 leaves no image: there are \d+; pass a smaller start"):
        select.images(eyes, None, 99, None)


def test_a_list_of_names_is_read_with_bom_crlf_blank_lines_and_doubles(eyes: BaseDescription, tmp_path: Path) -> None:
    first, second, third = eyes.images[:3]
    bare, shouting = second.rsplit(".", 1)[0], third.upper()
    content = f"\ufeff{third}\r\n\r\n  {bare}  \r\nEyeQ/{first}\r\nC:\\eyes\\{shouting}\r\n"
    assert select.images(eyes, listed(tmp_path, content), 0, None) == [first, second, third]
    assert select.images(eyes, listed(tmp_path, content), 1, 1) == [second]


def test_an_unknown_name_in_a_list_is_named_with_its_line(eyes: BaseDescription, tmp_path: Path) -> None:
    path = listed(tmp_path, f"{eyes.images[0]}\n\nnobody.png\n")
    with pytest.raises(UserError, match=rf"some.txt, line 3: EyeQ has no image 'nobody.png'; names are like {eyes.images[0]}"):
        select.images(eyes, path, 0, None)
    with pytest.raises(UserError, match=r"subset none.txt: no such file"):
        select.images(eyes, "none.txt", 0, None)
    with pytest.raises(UserError, match=r"not a readable list"):
        select.images(eyes, listed(tmp_path, b"\xff\xfe\0a"), 0, None)
    with pytest.raises(UserError, match=r"no image fits subset"):
        select.images(eyes, listed(tmp_path, "\n\n"), 0, None)


def test_participants_names_are_not_shown_for_an_unknown_one(drawn: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        select.images(load_dataset("UK", drawn["UK"]), listed(tmp_path, "x.png\n"), 0, None)
    assert "21015" not in str(error.value) and "line 1" in str(error.value)


def test_a_name_that_two_splits_have_must_say_which(idrid: BaseDescription, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"line 1: .IDRiD_001. matches test/IDRiD_001.jpg and train/IDRiD_001.jpg; write the full name"
    ):
        select.images(idrid, listed(tmp_path, "IDRiD_001\n"), 0, None)
    for written in ("test/IDRiD_001", "test/IDRiD_001.jpg", "/data/idrid/test/IDRiD_001.jpg"):
        assert select.images(idrid, listed(tmp_path, written), 0, None) == ["test/IDRiD_001.jpg"]


def test_a_name_of_another_split_is_not_taken_for_this_one_s(drawn: dict[str, Path], tmp_path: Path) -> None:
    train = load_dataset("IDRiD", drawn["IDRiD"], split="train")
    assert select.images(train, listed(tmp_path, "IDRiD_001\ntrain/IDRiD_002.jpg"), 0, None) == [
        "IDRiD_001.jpg",
        "IDRiD_002.jpg",
    ]
    with pytest.raises(UserError, match=r"line 1: IDRiD has no image 'test/IDRiD_001.jpg'"):
        select.images(train, listed(tmp_path, "test/IDRiD_001.jpg"), 0, None)


def test_a_condition_chooses_by_labels(eyes: BaseDescription) -> None:
    labels = eyes.labels()
    for condition, fits in (
        ("grade == 0", labels.grade == 0),
        ("grade < 2 and eye == 'left'", (labels.grade < 2) & (labels.eye == "left")),
        ("'right' in image", labels.eye == "right"),
        ("0 < grade <= 3 and not `quality` != 1", (labels.grade > 0) & (labels.grade <= 3) & (labels.quality == 1)),
        ("eye not in ('left',)", labels.eye == "right"),
        ("grade is not None", labels.grade.notna()),
        ("grade in [1, 3] or quality == 1", labels.grade.isin([1, 3]) | (labels.quality == 1)),
    ):
        assert set(select.images(eyes, condition, 0, None)) == set(labels.image[fits]) and fits.any()


@pytest.mark.parametrize(
    "condition",
    [
        "grad == 0", "grade = 0", "grade ==", "grade == 0)", "(grade == 0", "eye == 'left", "eye", "grade", "1", "[0]",
        "True", "grade.sum() > 3", "eye < 3", "eye.foo()", "grade == 0\neye == 'left'", "@x == 1", "]", "all images",
        "image.str.len() > @pd.io.common.os.system('touch ran')", "__import__('os').system('touch ran') == 0", "(" * 300,
        "grade == [x for x in (0,)]", "(lambda: 0)() == grade", "grade == 2 ** 9999999", "f'{grade}' == '0'", "eye[0] == 'l'",
        "grade == '0'", "grade == 0 if True else 1", "(grade := 0)", "not " * 240 + "grade", "grade == 0 " * 200, "grade is 0",
        "-" * 500 + "quality == 0",
    ],
)  # fmt: skip
def test_what_is_no_condition_is_refused_with_the_labels_there_are(eyes: BaseDescription, condition: str) -> None:
    with pytest.raises(UserError, match=r"nor a condition .*the labels are image, split, eye, patient, quality") as error:
        select.images(eyes, condition, 0, None)
    assert "\n" not in str(error.value)


def test_a_condition_that_fits_nothing_is_refused(eyes: BaseDescription) -> None:
    with pytest.raises(UserError, match=r"no image fits subset 'grade == 0 and grade == 1'"):
        select.images(eyes, "grade == 0 and grade == 1", 0, None)


def test_the_table_of_servers_is_what_the_limits_say() -> None:
    from retinal_lib.ask.limits import servers

    page = (Path(__file__).resolve().parents[1] / "docs" / "batch.md").read_text(encoding="utf-8")
    for kind in servers().values():
        tokens = f"{kind['enqueued_tokens']:,}" if kind["enqueued_tokens"] else "no limit known"
        cells = [kind["title"], kind["fits"], f"{kind['requests']:,}", f"{kind['bytes'] // 1_000_000:,}", tokens, kind["note"]]
        assert f"| {' | '.join(cells)} |".replace("|  |", "| |") in page, kind["title"]


@pytest.mark.parametrize(
    ("address", "requests"),
    [
        ("https://api.openai.com/v1", 50_000),
        ("https://mine.openai.azure.com/openai/v1", 100_000),
        ("https://api.siliconflow.cn/v1", 5_000),
        ("https://api.openai.com.example.org/v1", 50_000),
    ],
)
def test_limits_follow_the_server_unless_they_are_set(address: str, requests: int) -> None:
    from retinal_lib.ask.limits import BatchSettings

    assert BatchSettings().for_server(address).requests == requests
    assert BatchSettings(requests=7).for_server(address).requests == 7
    assert BatchSettings().for_server("https://api.openai.com.example.org/v1").bytes == 100_000_000


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"limit": "two"}, "parameter limit: found 'two'; expected a whole number"),
        ({"limit": 2.5}, "parameter limit: found 2.5; expected a whole number"),
        ({"wait": "maybe"}, "parameter wait: found 'maybe'; expected True or False"),
        ({"data_root": 5}, "parameter data_root: found 5; expected a path"),
        ({"budget_usd": "five"}, "parameter budget_usd: found 'five'; expected a number"),
        (
            {"mode": "bach"},
            "parameter mode: found 'bach'; expected 'direct', 'batch', 'pack', 'unpack' or 'recheck' (did you mean 'batch'?)",
        ),
    ],
)
def test_a_wrong_value_is_told_in_our_words(parameters: dict, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        settings.load(dataset="ODIR", **parameters)
    assert str(error.value) == sentence
