"""Broken and hostile input, made up by hypothesis from good input: what comes out is a result or one sentence, nothing runs,
nothing outside the given folder changes, and no key and no participant stands in what was made or said. The examples are the
same on every machine."""

import copy
import csv
import io
import json
import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from fake_server import GOOD, FakeServer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_participants import DATA, PERSON

from retinal_lib import Job, UserError, load_dataset
from retinal_lib.__main__ import main
from retinal_lib.ask import result_files
from retinal_lib.ask.vault import Vault
from retinal_lib.dataset import tables
from retinal_lib.dataset.automorph import AutoMorph
from retinal_lib.dataset.lesions import masks
from retinal_lib.evaluate import label_questions
from retinal_lib.evaluate.scored_answers import score_answers
from retinal_lib.export import convert, trainers
from retinal_lib.export.card import write_card
from retinal_lib.imaging import images
from retinal_lib.inference import answer_files, question_files
from retinal_lib.parsing import Unreadable, json_value, yaml_value
from retinal_lib.review import decisions
from retinal_lib.run import settings as run_settings
from retinal_lib.run.selection import Condition
from retinal_lib.sample import draw
from retinal_lib.teacher import completion, cost, destination

FUZZ = settings(
    max_examples=int(os.environ.get("HOSTILE_EXAMPLES", "12")),
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # an example is small enough; looking for a smaller one takes minutes
    suppress_health_check=list(HealthCheck),
)
SLOW = settings(FUZZ, max_examples=max(3, FUZZ.max_examples // 4))
KEY = "sk-hostile-0123456789abcdef"
RAN = "hostile-code-ran"  # the file that code within the data would make
RUNS = f"!!python/object/apply:os.system ['touch {RAN}']"
DEEP, LONG_NUMBER = "[" * 100_000, "9" * 5_000
LAUGHS = "\n".join(
    ["a: &a [x, x]", *(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True))]
)
# what has broken readers of text before, wherever it stands
NASTY = [
    *(
        "",
        "\0",
        "\ufeff",
        "\ud800",
        "\\ud800",
        "\x1b[31m",
        "\u202e",
        "é" * 300,
        "%s%n",
        "{0.__class__}",
        "{{ 7*7 }}",
        "../../x",
    ),
    *("/etc/passwd", "~nobody-here/x", "a" * 5_000, "#" * 8_000, "nan", "1e999", "-1", LONG_NUMBER, "2024-99-99", "<image>"),
    *(
        "<|im_end|>",
        "### Human: x",
        "[" * 3_000,
        DEEP,
        RUNS,
        f"__import__('os').system('touch {RAN}')",
        "!!bool maybe",
        "&a [*a]",
    ),
]
PARTS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 10**30, 0.5, float("nan"), float("inf"), [], {}, [None], {"a": 1}, [[]]]),
    st.sampled_from([text for text in NASTY if len(text) < 9_000]),
    st.text(max_size=20),
)


@pytest.fixture(scope="module", autouse=True)
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which all of this happens; nothing beside it changes, no code of the data runs, and no key is kept."""
    above = tmp_path_factory.mktemp("hostile")
    here = above / "here"
    here.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("RETINAL_LIB_ROOT", str(here))
        yield here
    assert [path.name for path in above.iterdir()] == ["here"]
    assert not list(above.rglob(RAN))
    assert not [file for file in above.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]


def sentence(call: Callable[[], object]) -> object:
    """What a call returns; where it is a UserError, its message: not empty, short enough to be read, and without a stack.
    Neither holds the key or a participant's name."""
    try:
        said = call()
    except UserError as error:
        said = str(error)
        assert said and len(said) < 5_000 and "Traceback" not in said and "\x1b" not in said
    assert KEY not in str(said) and not (isinstance(said, str) and PERSON.search(said)), said
    return said


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes, cut, flipped, or with something nasty in them."""
    way = draw(st.sampled_from(["cut", "flip", "put", "junk", "doubled"]))
    if way == "cut":
        return good[: draw(st.integers(0, len(good)))]
    if way == "junk":
        return draw(st.one_of(st.binary(max_size=200), st.sampled_from(NASTY).map(encoded)))
    if way == "doubled":
        return good + good
    data = bytearray(good)
    for place in draw(st.lists(st.integers(0, max(0, len(good) - 1)), min_size=1, max_size=6)):
        if way == "flip":
            data[place] = draw(st.integers(0, 255))
        else:
            data[place:place] = encoded(draw(st.sampled_from(NASTY)))
    return bytes(data)


def encoded(text: str) -> bytes:
    """A text as bytes, half characters too."""
    return text.encode("utf-8", "surrogatepass")


@st.composite
def altered(draw: st.DrawFn, good: object) -> object:
    """A good value with one part replaced or left out."""
    value = copy.deepcopy(good)
    here, steps = value, draw(st.integers(1, 5))
    for step in range(steps):
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        if step < steps - 1 and isinstance(here[key], dict | list) and here[key]:
            here = here[key]
            continue
        if isinstance(here, dict) and draw(st.booleans()):
            del here[key]
        else:
            here[key] = draw(PARTS)
        break
    return value


def lines_of(value: object) -> bytes:
    """A value as a line of JSON."""
    return encoded(json.dumps(value, ensure_ascii=False)) + b"\n"


def written(path: Path, raw: bytes) -> Path:
    """The file with these bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


# --- what is read before a run --------------------------------------------------------------------------------------------


@FUZZ
@given(st.one_of(damaged(b'{"a": [1, {"b": "c\\u00e9"}], "d": null}'), damaged(b"a: [1, {b: c}]\nd: 2024-01-01\n")))
def test_json_and_yaml(raw: bytes) -> None:
    for read in (json_value, yaml_value):
        try:
            json.dumps(read(raw), ensure_ascii=False, default=str, skipkeys=True).encode()
        except Unreadable as error:
            assert str(error)


@pytest.mark.parametrize("raw", [LAUGHS, "a: &a [*a]", "a: 1\na: 2", "x" * 2_000_000, RUNS, "[" * 5_000, "[" * 70 + "]" * 70])
def test_yaml_that_is_refused(raw: str) -> None:
    with pytest.raises(Unreadable):
        yaml_value(raw.encode())


@pytest.mark.parametrize(
    ("raw", "line", "says"),
    [
        ("facts:\n  - a: 1\n   - b: 2", 3, "begins with 3 blanks, but the lines above it with 0 or 2"),
        ("a: 1\n b: {c: 2}", 2, "begins with 1 blank, but the lines above it with 0"),
        ("a:\n  - b: @c", 2, "column 8: '@c' cannot stand there"),
        ("a:\n\tb: 1", 2, "begins with a tab"),
        ("a: {b: 1\nc: 2", 1, "the { that opens in column 4 is not closed"),
        ("a: 'b\nc: 2", 1, "the ' that opens in column 4 is not closed"),
        ("a: 1\nb: [", 2, "a [ or { is not closed"),
        ("a: b: c", 1, "column 5: ': c' cannot stand there; a text that holds ': '"),
    ],
)
def test_a_fault_of_yaml_is_named_in_plain_words(raw: str, line: int, says: str) -> None:
    with pytest.raises(Unreadable) as caught:
        yaml_value(raw.encode())
    assert (caught.value.line, says in str(caught.value)) == (line, True), str(caught.value)


CELLS = [["image", "disease", "notes"], ["a.png", "drusen", "clear"], ["b.png", "normal", "n/a"], ["c.png", "", "sharp"]]
TABLE = "\n".join(",".join(row) for row in CELLS).encode()


@cache  # a workbook holds the time, which must not differ between examples
def spreadsheet(ending: str) -> bytes:
    """The cells as a spreadsheet."""
    import openpyxl
    import xlwt

    file = io.BytesIO()
    if ending == "xlsx":
        book = openpyxl.Workbook()
        for row in CELLS:
            book.active.append(row)
    else:
        book = xlwt.Workbook()
        sheet = book.add_sheet("a")
        for y, row in enumerate(CELLS):
            for x, cell in enumerate(row):
                sheet.write(y, x, cell)
    book.save(file)
    return file.getvalue()


@FUZZ
@given(st.data())
@pytest.mark.parametrize("ending", ["csv", "tsv", "xlsx", "xls"])
def test_tables(ending: str, data: st.DataObject) -> None:
    good = spreadsheet(ending) if ending.startswith("x") else TABLE
    file = written(Path(f"table.{ending}"), data.draw(damaged(good)))
    sentence(lambda: tables.read(file))


@FUZZ
@given(st.lists(st.one_of(st.sampled_from([t for t in NASTY if len(t) < 9_000]), st.text(max_size=30)), min_size=6, max_size=6))
def test_cells(cells: list[str]) -> None:
    folder = Path("cells")
    written(folder / "a.png", picture("PNG"))
    rows = [CELLS[0], ["a.png", *cells[:2]], cells[2:5]]
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    file = written(folder / "my.csv", encoded(text.getvalue()))

    def told() -> None:
        dataset = load_dataset(str(file), file.parent)
        for name in dataset.images:
            assert dataset.describe(name).description is not None

    sentence(told)


PAGE = {
    "name": "clinic",
    "title": "Our clinic",
    "licence": "internal",
    "may_send": "no",
    "image": r"^(?P<patient>P\d+)_(?P<eye>OD|OS)$",
    "eyes": {"OD": "right", "OS": "left"},
    "splits": {"all": {"images": ["*"], "tables": ["labels.csv"]}},
    "key": "image",
    "masks": {"name": r"^(?P<image>.+)_(?P<type>MA)$", "types": {"MA": ["microaneurysm", "microaneurysms"]}},
    "facts": [
        {"grade": {"column": "dr", "scale": "ICDR"}},
        {"columns": {"aspects": {"remarks": "notes"}}},
        "automorph",
        "boxes",
    ],
}


def clinic(folder: Path, raw: bytes) -> Path:
    """A dataset of one image with this page."""
    written(folder / "P1_OD.png", picture("PNG"))
    written(folder / "labels.csv", b"image,dr,remarks\nP1_OD.png,2,clear\n")
    return written(folder / "clinic.yaml", raw)


@FUZZ
@given(
    st.one_of(
        altered(PAGE).map(lambda v: encoded(yaml.safe_dump(v, allow_unicode=True))), damaged(yaml.safe_dump(PAGE).encode())
    )
)
def test_pages(raw: bytes) -> None:
    file = clinic(Path("clinic"), raw)

    def told() -> None:
        dataset = load_dataset(str(file), file.parent)
        for name in dataset.images:
            dataset.describe(name)

    sentence(told)


def broken_yaml(content: dict) -> st.SearchStrategy[bytes]:
    """YAML of a content that was altered, or whose bytes were damaged."""
    whole = altered(content).map(lambda value: encoded(yaml.safe_dump(value, allow_unicode=True)))
    return st.one_of(whole, damaged(yaml.safe_dump(content).encode()))


PARAMS = {
    "limit": 2,
    "seed": 1,
    "request": {"temperature": 0.5},
    "tables": {"all": "labels.csv"},
    "batch": {"requests": 5},
    "out_dir": "x",
}


@FUZZ
@given(broken_yaml(PARAMS))
def test_params(raw: bytes) -> None:
    written(Path("params/RFMiD.yaml"), raw)
    sentence(lambda: run_settings.load(dataset="RFMiD"))
    Path("params/RFMiD.yaml").unlink()


@FUZZ
@given(st.dictionaries(st.sampled_from(run_settings.NOTEBOOK), PARTS, max_size=3))
def test_parameters(values: dict) -> None:
    sentence(lambda: run_settings.load(**{"dataset": "RFMiD"} | values).folder)


LABELS = pd.DataFrame({"image": ["a.png", "b.png"], "grade": [0, 2], "no DR": [True, False], "eye": ["left", None]})
WORDS = [
    "grade",
    "image",
    "`no DR`",
    "eye",
    "==",
    "<",
    "in",
    "not",
    "and",
    "or",
    "is",
    "None",
    "(",
    ")",
    "[",
    "]",
    "0",
    "'left'",
    ",",
]
WORDS += [
    ".",
    "@",
    "lambda",
    ":",
    "if",
    "else",
    "for",
    "**",
    "f'{grade}'",
    f"__import__('os').system('touch {RAN}')",
    "`",
    "\n",
    "=",
]


@FUZZ
@given(st.one_of(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), st.sampled_from(NASTY), st.text(max_size=30)))
def test_conditions(text: str) -> None:
    fits = sentence(lambda: Condition(text, LABELS).fits())
    assert isinstance(fits, str) or (len(fits) == 2 and fits.dtype == bool)


def picture(form: str) -> bytes:
    """A small picture."""
    file = io.BytesIO()
    Image.fromarray(np.arange(24 * 16 * 3, dtype=np.uint8).reshape(16, 24, 3)).save(file, form)
    return file.getvalue()


@FUZZ
@given(st.data())
@pytest.mark.parametrize("form", images.FORMATS)
def test_pictures_and_masks(form: str, data: st.DataObject) -> None:
    file = written(Path(f"pictures/{form}.png"), data.draw(damaged(picture(form))))
    for read in (images.sent_size, images.as_sent, images.perceptual_hash, images.is_upright, masks.read, masks.size):
        sentence(lambda read=read: read(file))


AUTOMORPH = {
    "M1/results_ensemble.csv": b"Name,softmax_good,softmax_bad,Prediction\nP1_OD.png,0.9,0.05,0\nP2.png,0.1,0.8,2\n",
    "M3/Macular_Features.csv": b"Name,Disc_height,Disc_width,Fractal_dimension\nP1_OD,1800,1700,1.4\nP2,-1,x,1.3\n",
    "M0/crop_info.csv": b"Name,centre_w,centre_h,radius\nP1_OD.png,8,12,6\n",
}


@FUZZ
@given(st.data())
@pytest.mark.parametrize("name", AUTOMORPH)
def test_automorph(name: str, data: st.DataObject) -> None:
    for each, raw in AUTOMORPH.items():
        written(Path("Results", each), data.draw(damaged(raw)) if each == name else raw)

    def told() -> None:
        results = AutoMorph(Path("Results"))
        assert isinstance(results.measurements("p1_od"), list) and isinstance(results.crops, dict)

    sentence(told)


PRICES = {
    "as_of": "2026-01-01",
    "servers": {"https://x/v1": {"m": {"input": 1.0, "output": 2.0, "batch": 0.5, "image": {"tiles": [85, 170]}}}},
}


@FUZZ
@given(broken_yaml(PRICES))
def test_prices(raw: bytes) -> None:
    written(Path("params/prices.yaml"), raw)

    def told() -> None:
        price = cost.find_price("https://x/v1", "m")
        if price is not None:
            cost.picture_tokens((1024, 768), price.image)

    sentence(told)
    Path("params/prices.yaml").unlink()


@FUZZ
@given(
    st.one_of(st.sampled_from(NASTY), st.text(max_size=20)),
    st.sampled_from(["http://{}/v1", "{}", "http://localhost:{}", "http://127.0.0.1/{}"]),
)
def test_environment(text: str, address: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        text = (
            text.replace("\0", "")
            .encode("utf-8", "surrogateescape" if "\ud800" not in text else "replace")
            .decode(errors="replace")
        )
        patch.setenv("OPENAI_BASE_URL", address.format(text) if "{}" in address else text)
        patch.setenv("OPENAI_API_KEY", KEY + text)
        for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS"):
            patch.setenv(name, text)
        assert sentence(lambda: len(destination.key())) not in ("", KEY)
        to = sentence(destination.address)
        if to.startswith("http://127.0.0.1/"):
            assert destination.is_loopback(to)


@FUZZ
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["card", "export", "splits", "survey", "review", "show", "--form", "chat", "."]), PARTS.map(str)
        ),
        max_size=4,
    )
)
def test_command_lines(
    words: list[str],
) -> None:
    try:
        sentence(lambda: main(words))
    except SystemExit as error:  # argparse, which has told what is wrong
        assert error.code in (0, 2)
    except OSError as error:  # told by __main__ in one sentence
        assert error.strerror


# --- what answers ---------------------------------------------------------------------------------------------------------

REPLY = {
    "id": "c",
    "model": "m",
    "usage": {"prompt_tokens": 100, "completion_tokens": 20},
    "choices": [{"index": 0, "message": {"role": "assistant", "content": GOOD, "refusal": None}, "finish_reason": "stop"}],
}
BODIES = st.one_of(
    altered(REPLY).map(lines_of),
    st.sampled_from([REPLY | {"model": KEY}, {"error": {"message": f"bad {KEY}", "code": KEY}}, [KEY]]).map(lines_of),
    damaged(json.dumps(REPLY).encode()),
    st.sampled_from(NASTY).map(lambda t: lines_of(REPLY | {"choices": [{"message": {"content": t}, "finish_reason": "stop"}]})),
)


@FUZZ
@given(BODIES)
def test_completions(raw: bytes) -> None:
    try:
        assert isinstance(completion.parse(raw.decode(errors="replace")).body["choices"][0]["message"], dict)
    except completion.NoCompletion as error:
        assert str(error)


@settings(FUZZ, max_examples=2)
@given(st.lists(BODIES, min_size=24, max_size=24))
def test_replies_of_a_server(bodies: list[bytes]) -> None:
    from aiohttp import web
    from fake_server import running

    statuses = [200, 200, 200, 400, 429, 500]
    folder = Path("served", str(abs(hash(tuple(bodies)))))

    def answer(number: int, body: dict) -> web.Response:
        return web.Response(
            body=bodies[number % len(bodies)], status=statuses[number % len(statuses)], content_type="application/json"
        )

    with running(FakeServer(answer)) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", server.url)
        patch.setenv("OPENAI_API_KEY", KEY)
        for mode in ("direct", "recheck"):
            job = Job.load(dataset="RFMiD", limit=4, teacher="openai", model="m", out_dir=str(folder), mode=mode, max_failed=1)
            job.teacher.server.backoff = 0.0
            outcome = job.run()
            assert KEY not in str(outcome.summary) + str(outcome.problem)
            counts = outcome.counts
            assert counts.pop("images") == sum(counts.values()) == 4


NO_HTTP = [b"", b"hello", b"220 mail ESMTP\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"]
NO_HTTP += [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
]
NO_HTTP += [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"]


@pytest.mark.parametrize("number", range(len(NO_HTTP)))
def test_what_is_no_http(number: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.MonkeyPatch.context() as patch:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:  # the test has ended
                    return
                with connection, suppress(OSError):
                    connection.settimeout(5)
                    asked = b""
                    while b'"messages"' not in asked:
                        asked += connection.recv(65536)
                    connection.sendall(NO_HTTP[number])

        threading.Thread(target=serve, daemon=True).start()
        patch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
        job = Job.load(dataset="RFMiD", limit=2, teacher="openai", model="m", out_dir=f"no-http-{number}")
        job.teacher.server.backoff = 0.0
        outcome = job.run()
        assert outcome.counts["failed"] == 2 and outcome.problem
        listening.shutdown(socket.SHUT_RDWR)


RESULT = {"custom_id": "a", "response": {"status_code": 200, "request_id": "r", "body": REPLY}, "error": None}


@FUZZ
@given(st.one_of(altered(RESULT).map(lines_of), damaged(json.dumps(RESULT).encode())))
def test_result_lines(raw: bytes) -> None:
    try:
        answer = result_files.read(raw)
        assert answer.raw is not None or answer.problem
    except result_files.NoResult as error:
        assert str(error)


# --- what runs leave ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(inside: Path) -> Path:
    """A finished run over pictures whose names identify participants."""
    Job.load(dataset="UK", limit=3, out_dir="run").run().require()
    return inside / "run"


@SLOW
@given(st.data())
@pytest.mark.parametrize("name", ["conversations.jsonl", "lineage.jsonl", "manifest.json", "splits.csv", "reviews.jsonl"])
def test_files_of_a_run(run: Path, name: str, data: st.DataObject) -> None:
    file = run / name
    first = json.loads((run / "conversations.jsonl").read_text(encoding="utf-8").splitlines()[0])
    decision = {"key": "k", "id": first["id"], "sha256": decisions.conversation_hash(first["conversations"]), "who": "a"}
    decision |= {"when": "2026-01-01T00:00:00.000000+00:00", "what": "fix", "turn": 1, "part": "answer", "text": "An eye."}
    good = file.read_bytes() if file.is_file() else lines_of(decision)
    value = json.loads(good.splitlines()[0]) if name.endswith("l") else json.loads(good) if name.endswith("json") else None
    broken = data.draw(st.one_of(altered(value).map(lines_of), damaged(good)) if value is not None else damaged(good))
    try:
        file.write_bytes(broken)
        for use in (
            lambda: write_card(run),
            lambda: trainers.export([run], "chat", reviewed="unrejected"),
            lambda: main(["survey", str(run)]),
            lambda: main(["splits", str(run), "--out", "splits.csv"]),
            lambda: main(["review", str(run)]),
        ):
            sentence(use)
        for file_made in run.iterdir():
            if file_made.suffix in (".md", ".html", ".json") and file_made.name not in DATA.split() and file_made != file:
                assert not PERSON.search(file_made.read_text(encoding="utf-8")), file_made
    finally:
        Path("splits.csv").unlink(missing_ok=True)
        file.write_bytes(good) if name != "reviews.jsonl" else file.unlink(missing_ok=True)


@SLOW
@given(st.data())
def test_vaults(run: Path, data: st.DataObject) -> None:
    folder = Path("vault")
    folder.mkdir(exist_ok=True)
    with sqlite3.connect(run / "vault.sqlite") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for file in folder.iterdir():
        file.unlink()
    written(folder / "vault.sqlite", data.draw(damaged((run / "vault.sqlite").read_bytes())))

    def told() -> None:
        with Vault(folder) as vault:
            list(vault.samples())
            vault.usage()

    sentence(told)


ENTRY = {
    "id": "eye-1",
    "image": "a.png",
    "conversations": [{"from": "human", "value": "Which eye is it?\n<image>"}, {"from": "gpt", "value": "The left eye."}],
}


@FUZZ
@given(st.one_of(altered(ENTRY).map(lines_of), damaged(lines_of(ENTRY))), st.booleans())
def test_conversation_files(raw: bytes, nested: bool) -> None:
    file = written(Path("c.json" if nested else "c.jsonl"), b"[" + raw + b"]" if nested else raw)
    for use in (convert.validate, lambda f: convert.repair(f, "r.jsonl"), lambda f: convert.merge([f], "m.json")):
        sentence(lambda use=use: use(file))


QUESTION = {
    "id": "q1",
    "image": "a.png",
    "question": "Which eye?",
    "dataset": "RFMiD",
    "kind": "eye",
    "subject": "eye",
    "reference": "left",
}
ANSWER = {"id": "q1", "image": "a.png", "qa_pairs": [{"question": "Which eye?", "answer": "The left eye."}], "key": "k"}


@FUZZ
@given(st.one_of(altered(QUESTION).map(lines_of), damaged(lines_of(QUESTION))))
def test_question_files(raw: bytes) -> None:
    file = written(Path("q.jsonl"), raw)
    sentence(lambda: question_files.read(file))
    sentence(lambda: score_answers("m", label_questions.load(file), written(Path("a.jsonl"), lines_of(ANSWER))))


@FUZZ
@given(st.one_of(altered(ANSWER).map(lines_of), damaged(lines_of(ANSWER))))
def test_answers_files(raw: bytes) -> None:
    file = written(Path("a.jsonl"), raw)
    sentence(lambda: answer_files.load(file))
    sentence(lambda: score_answers("m", [QUESTION], file))


def test_model_folders(inside: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from retinal_lib.inference.llava import checkpoint
    from retinal_lib.sample import llava_model

    model = llava_model.draw(inside / "model", llava_model.Shape(shards=2))
    names = sorted(path.name for path in model.iterdir() if path.suffix == ".json")

    @SLOW
    @given(st.sampled_from(names), st.data())
    def broken(name: str, data: st.DataObject) -> None:
        good = (model / name).read_bytes()
        try:
            (model / name).write_bytes(data.draw(st.one_of(altered(json.loads(good)).map(lines_of), damaged(good))))
            sentence(lambda: checkpoint.find(model).files)
        finally:
            (model / name).write_bytes(good)

    broken()


def test_pipes_and_devices(inside: Path) -> None:
    """What has no end is not waited for."""
    if not hasattr(os, "mkfifo") or sys.platform == "win32":
        pytest.skip("no pipes here")
    for name in ("p.yaml", "p.csv", "p.jsonl", "p.json", "p.png"):
        Path(name).unlink(missing_ok=True)
        os.mkfifo(name)
    for use in (
        lambda: load_dataset("p.yaml", "."),
        lambda: load_dataset("p.csv", "."),
        lambda: convert.validate("p.jsonl"),
        lambda: convert.validate("p.json"),
        lambda: question_files.read("p.jsonl"),
        lambda: answer_files.load("p.jsonl"),
        lambda: label_questions.load("p.jsonl"),
        lambda: images.as_sent(Path("p.png")),
    ):
        with pytest.raises(UserError):
            use()


@pytest.mark.parametrize("name", ["a\ud800", "a\udce9", "a\0", "a/" * 10_000, "x" * 300, "loop", "loop/x", "gone", "file/x"])
def test_odd_paths(name: str) -> None:
    for link, to in (("loop", "loop"), ("gone", "nowhere")):
        if not os.path.lexists(link):
            Path(link).symlink_to(to)
    written(Path("file"), b"x")
    for use in (
        lambda: convert.validate(name),
        lambda: convert.merge([name], "m.json"),
        lambda: question_files.read(name),
        lambda: label_questions.load(name),
        lambda: load_dataset("RFMiD", name),
        lambda: draw.draw("RFMiD", name),
        lambda: trainers.export([name], "llava"),
        lambda: write_card(Path(name)),
    ):
        with pytest.raises(UserError) as error:
            use()
        assert len(str(error.value)) < 600 and "Traceback" not in str(error.value)
