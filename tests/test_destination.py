"""The gate: which data may leave this machine, and where it goes."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_server import FakeServer, completion
from PIL import Image

from retinal_lib import Infer, Job, UserError
from retinal_lib.dataset import page
from retinal_lib.dataset.tables import IMAGE_SUFFIXES
from retinal_lib.teacher import destination
from retinal_lib.teacher.destination import permission, published, terms_of, terms_of_picture

ELSEWHERE = "https://models.example.org/v1"
OWN_PAGE = """
name: {name}
title: Clinic
licence: internal
may_send: '{may_send}'
terms: the ethics board has not agreed
splits: {{all: {{images: ['*'], tables: [labels.csv]}}}}
key: image
facts: [{{columns: {{aspects: {{disease: disease}}}}}}]
"""


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server on another machine; it is never reached."""
    monkeypatch.setenv("OPENAI_BASE_URL", ELSEWHERE)
    monkeypatch.setenv("OPENAI_API_KEY", "k")


def may_leave(terms: set[destination.Terms], accepted: bool) -> bool:
    try:
        return bool(permission(terms, accepted))
    except UserError:
        return False


@pytest.mark.parametrize(
    ("name", "dataset", "without_word", "with_word"),
    [
        ("1234567_21015_0_0.png", "", False, False),
        ("1234567_21015_0_0_crop.png", "", False, False),
        ("1234567_21015_0_0.png", "RFMiD", False, False),  # the name says more than the file that names a dataset
        ("20051020_43808_0100_PP.tif", "", False, False),
        ("eye.png", "uk biobank", False, False),
        ("eye.png", "Messidor-2", False, False),
        ("12_left.jpg", "", False, False),  # ODIR's or EyeQ's: the stricter terms hold
        ("12_left.jpg", "EyeQ", False, True),
        ("12_left.jpg", "odir-5k", False, False),
        ("0123456789ab.png", "", False, True),
        ("12.png", "", False, True),  # RFMiD's names are anyone's
        ("12.png", "RFMiD", True, True),
        ("123.png", "", False, True),
        ("123.png", "ORIGA", False, False),
        ("IDRiD_001.jpg", "", True, True),
        ("my eye.png", "", False, True),
        ("my eye.png", "my dataset", False, True),
    ],
)
def test_a_picture_s_terms_are_known_by_its_name_and_its_dataset(
    name: str, dataset: str, without_word: bool, with_word: bool, elsewhere: None
) -> None:
    terms = terms_of_picture(f"some/folder/{name}", dataset)
    assert (may_leave(terms, False), may_leave(terms, True)) == (without_word, with_word)


def test_every_published_dataset_is_found_by_its_names_and_pictures(drawn: dict[str, Path]) -> None:
    for name in page.names():
        of = page.get(name)
        assert of in published(name.upper()) and all(of in published(alias) for alias in of.aliases)
        terms = [terms_of_picture(path.name, name) for path in drawn[name].rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
        assert any({each.name for each in found} == {name} for found in terms), "its pictures bear its names"


def test_an_own_page_cannot_loosen_a_published_dataset_s_terms(elsewhere: None, tmp_path: Path) -> None:
    for name, pictures, leaves in [
        ("ODIR", ["a.jpg"], False),
        ("uk-biobank", ["a.jpg"], False),
        ("clinic", ["1234567_21015_0_0.png"], False),
        ("clinic", ["12_left.jpg"], False),
        ("clinic", ["a.jpg", "12.jpg"], True),
    ]:
        (tmp_path / "page.yaml").write_text(OWN_PAGE.format(name=name, may_send="yes"), encoding="utf-8")
        assert may_leave(terms_of(page.get(str(tmp_path / "page.yaml")), pictures), True) == leaves, (name, pictures)


def own_dataset(folder: Path, picture: str, may_send: str = "yes") -> Path:
    """An own page with its table and one picture."""
    Image.new("RGB", (40, 30), (200, 80, 20)).save(folder / picture)
    (folder / "labels.csv").write_text(f"image,disease\n{picture},mild cataract\n", encoding="utf-8")
    (folder / "page.yaml").write_text(OWN_PAGE.format(name="clinic", may_send=may_send), encoding="utf-8")
    return folder / "page.yaml"


@pytest.mark.parametrize(("accepted", "leaves"), [(False, False), (True, False), ("keeps nothing", True)])
def test_local_data_go_elsewhere_only_to_those_who_keep_nothing(
    elsewhere: None, monkeypatch: pytest.MonkeyPatch, accepted: object, leaves: bool
) -> None:
    terms = terms_of(page.get("BRSET"))
    assert may_leave(terms, accepted) == leaves
    assert may_leave(terms_of(page.get("UK")), "keeps nothing") is False, "which loosens no other terms"
    assert may_leave(terms_of(page.get("APTOS")), "keeps nothing") is True
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    assert may_leave(terms, accepted), "nothing leaves this machine"


@pytest.mark.parametrize("mode", ["direct", "batch", "pack"])
def test_every_mode_asks_the_gate(mode: str, elsewhere: None, tmp_path: Path) -> None:
    settings = {"teacher": "openai", "model": "m", "mode": mode, "out_dir": str(tmp_path / "run")}
    settings |= {"dataset": str(own_dataset(tmp_path, "1234567_21015_0_0.png")), "data_root": str(tmp_path)}
    with pytest.raises(UserError, match=r"UK .*participant-level data") as error:
        Job.load(**settings)
    assert "1234567" not in str(error.value)


def test_packing_asks_for_leave_whatever_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(UserError, match="request files of ODIR contain facts"):
        Job.load(dataset="ODIR", teacher="openai", model="m", mode="pack", out_dir=str(tmp_path))
    assert Job.load(dataset="ODIR", teacher="openai", model="m", mode="pack", out_dir=str(tmp_path), terms_accepted=True)


def infer(folder: Path, **parameters: object) -> Infer:
    return Infer.load(model_name="openai:m", out_dir=str(folder / "out"), **parameters)


def test_pictures_of_forbidden_datasets_stay_here_however_they_are_named(elsewhere: None, tmp_path: Path) -> None:
    (tmp_path / "UK").mkdir()
    for name in ("1234567_21015_0_0.png", "eye.png", "UK/eye.png"):
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    forbidden = {"image_file": str(tmp_path / "1234567_21015_0_0.png")}, {"image_folder": str(tmp_path)}
    for given in forbidden:
        with pytest.raises(UserError, match="participant-level data"):
            infer(tmp_path, terms_accepted=True, **given)
    for entry in ({"image": "eye.png", "dataset": "messidor 2"}, {"image": "UK/eye.png"}, {"image": "1234567_21015_0_0.png"}):
        (tmp_path / "q.json").write_text(json.dumps([entry | {"id": 1, "question": "Q"}]), encoding="utf-8")
        with pytest.raises(UserError, match="may not be sent to a remote server"):
            infer(tmp_path, terms_accepted=True, question_file=str(tmp_path / "q.json"), image_folder=str(tmp_path))
    with pytest.raises(UserError, match="a dataset that retinal_lib does not know may be sent"):
        infer(tmp_path, image_file=str(tmp_path / "eye.png"))
    assert infer(tmp_path, image_file=str(tmp_path / "eye.png"), terms_accepted=True)


def test_a_run_s_own_conversations_keep_its_page_s_terms(elsewhere: None, tmp_path: Path) -> None:
    run = Job.load(dataset=str(own_dataset(tmp_path, "eye.png", "no")), data_root=str(tmp_path), out_dir=str(tmp_path / "run"))
    assert run.run().counts["accepted"] == 1
    questions = str(tmp_path / "run" / "conversations.jsonl")
    (tmp_path / "clinic").mkdir()
    (tmp_path / "eye.png").rename(tmp_path / "clinic" / "eye.png")
    with pytest.raises(UserError, match="clinic may not be sent"):
        infer(tmp_path, question_file=questions, image_folder=str(tmp_path), terms_accepted=True)


def test_localhost_is_this_machine_whatever_the_hosts_file_says(
    ask: Callable, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looked_up = socket.getaddrinfo, []

    def getaddrinfo(host: object, *arguments: object, **options: object) -> list:
        looked_up.append(host)
        return real("127.0.0.1" if isinstance(host, str) and "local" in host else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for host in ("localhost", "models.localhost"):
        monkeypatch.setenv("OPENAI_BASE_URL", server.url.replace("127.0.0.1", host))
        assert ask(dataset="UK", limit=1).counts["accepted"] == 1
    assert not [host for host in looked_up if "localhost" in str(host)]


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("OPENAI_BASE_URL", "https://user:secret@models.example.org/v1", "holds a login; leave it out"),
        ("OPENAI_BASE_URL", "http://localhost:99999/v1", "expected an address such as"),
        ("OPENAI_BASE_URL", "http://localhost:port/v1", "expected an address such as"),
        ("OPENAI_BASE_URL", "http://[::1/v1", "expected an address such as"),
        ("OPENAI_BASE_URL", "http://local host/v1", "expected an address such as"),
        ("OPENAI_BASE_URL", "http://localhost/\udce9", "expected an address such as"),
        ("OPENAI_BASE_URL", "http://0177.0.0.1:9/v1", "expected an address such as"),
        ("OPENAI_BASE_URL", f"http://localhost/{'x' * 100_000}", "expected an address such as"),
        ("OPENAI_BASE_URL", "http://a..b/v1", "expected an address such as"),
        ("OPENAI_BASE_URL", f"http://{'é' * 70}.com/v1", "expected an address such as"),
        ("OPENAI_BASE_URL", f"http://{'a' * 64}.com/v1", "expected an address such as"),
        ("OPENAI_ORG_ID", "a\nb", r"OPENAI_ORG_ID holds '\\n' as character 2; copy it again"),
        ("OPENAI_PROJECT_ID", "café", "OPENAI_PROJECT_ID holds 'é' as character 4; copy it again"),
        ("OPENAI_CUSTOM_HEADERS", "X-Team: a\nsecret", "a line that is no header such as"),
        ("OPENAI_CUSTOM_HEADERS", "X-Team: sécret", "a line that is no header such as"),
        ("OPENAI_API_KEY", "sk–secret", "holds '–' as character 3, which no key has"),
        ("OPENAI_API_KEY", "sk-se\ncret", r"holds '\\n' as character 6"),
    ],
)
def test_odd_keys_and_addresses_end_in_a_sentence(
    variable: str, value: str, sentence: str, elsewhere: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError, match=sentence) as error:
        Job.load(dataset="RFMiD", teacher="openai", model="m", out_dir=str(tmp_path))
    assert "secret" not in str(error.value)


def test_a_key_that_the_server_echoes_is_not_stored(
    ask: Callable, server: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdef")

    text = "User: What is this, sk-0123456789abcdef?\nAssistant: A fundus photograph, sk-0123456789abcdef."
    server.script = lambda number, body: completion(text)
    outcome = ask(limit=1, max_failed=1)
    files = [path for path in Path(outcome.folder).rglob("*") if path.is_file()]
    assert files and not [path for path in files if b"0123456789abcdef" in path.read_bytes()]
