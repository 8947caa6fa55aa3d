"""What leaves this machine, where it goes, and what is refused."""

import base64
import io
import json
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from fake_server import FakeServer, completion, error, running
from PIL import Image

from retinal_lib import Job, UserError
from retinal_lib.dataset import page
from retinal_lib.imaging import images as picture
from retinal_lib.teacher.destination import is_loopback
from retinal_lib.teacher.teachers import OpenAITeacher


def own(folder: Path, picture_name: str, **save: object) -> str:
    """A plain table of one picture."""
    (folder / "own").mkdir()
    image = Image.linear_gradient("L").resize((3000, 2000)).convert("RGB")
    image.save(folder / "own" / picture_name, **save)
    (folder / "own" / "own.csv").write_text(f"image,disease\n{picture_name},mild cataract\n", encoding="utf-8")
    return str(folder / "own" / "own.csv")


def sent(server: FakeServer) -> tuple[str, Image.Image]:
    text, part = server.asked[0]["messages"][1]["content"]
    assert text["type"] == "text" and part["type"] == "image_url"
    head, data = part["image_url"]["url"].split(",")
    return head, Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize("name", ["eye.jpg", "eye.tif", "eye.png", "eye.bmp"])
def test_pictures_are_sent_small_as_jpeg_and_in_their_place(
    name: str, ask: Callable, server: FakeServer, tmp_path: Path
) -> None:
    ask(dataset=own(tmp_path, name), images="send")
    head, image = sent(server)
    assert head == "data:image/jpeg;base64" and image.format == "JPEG" and image.size == (1024, 683)


def test_metadata_stays_home_and_the_picture_is_upright(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x013B], exif[0x9286] = 6, "Dr Name", "patient 42"  # turned by a quarter, artist, comment
    ask(dataset=own(tmp_path, "eye.jpg", exif=exif, comment=b"patient 42"), images="send")
    _, image = sent(server)
    assert image.size == (683, 1024) and not image.getexif() and "comment" not in image.info
    assert b"patient" not in base64.b64decode(server.asked[0]["messages"][1]["content"][1]["image_url"]["url"].split(",")[1])


def test_a_bomb_or_a_broken_picture_is_skipped_with_a_reason(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    table = own(tmp_path, "eye.png")
    Image.new("1", (20000, 20000)).save(tmp_path / "own" / "bomb.png")
    (tmp_path / "own" / "cut.jpg").write_bytes(b"not a picture")
    rows = [f"{name},mild cataract" for name in ("eye.png", "bomb.png", "cut.jpg")]
    Path(table).write_text("\n".join(["image,disease", *rows]), encoding="utf-8")
    outcome = ask(dataset=table, images="send")
    assert outcome.counts == {"images": 3, "accepted": 1, "rejected": 0, "failed": 0, "skipped": 2}
    assert {row.reason for row in outcome.reasons} == {
        "the file is not a readable image: its format is none of PNG, JPEG, TIFF, BMP, WEBP, PPM, GIF",
        "the file has far too many pixels, more than the 100,000,000 that a fundus photograph may have",
    }


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS keeps no file name that is not UTF-8")
def test_what_is_no_picture_fails_alone_with_its_reason(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    table = Path(own(tmp_path, "eye.png"))
    folder = table.parent
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(folder / "pipe.png")
    Path(os.fsdecode(bytes(folder) + b"/caf\xe9.png")).write_bytes(b"x")
    contents = {
        "empty": b"",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "script": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",  # EPS: Pillow would start Ghostscript
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(99),
        "grib": b"GRIB" + bytes(99),
        "bufr": b"BUFR" + bytes(99),
    }
    for name, content in contents.items():
        (folder / f"{name}.png").write_bytes(content)
    names = ["eye", "loop", "gone", "pipe", *contents]
    table.write_text("image,disease\n" + "".join(f"{name}.png,mild cataract\n" for name in names), encoding="utf-8")
    outcome = ask(dataset=str(table), images="send", limit=None)
    assert outcome.counts == {"images": 11, "accepted": 1, "rejected": 0, "failed": 0, "skipped": 10}
    assert {(row.reason, row.images) for row in outcome.reasons} == {
        ("it is a link to a file that is not there", 2),
        ("it is a pipe or a device, not a file", 1),
        ("its name or folder is not in UTF-8; rename it", 1),
        ("the file is empty (0 bytes)", 1),
        ("the file is not a readable image: it is a git-lfs pointer, not the file itself: run `git lfs pull` in its folder", 1),
        ("the file is not a readable image: its format is none of PNG, JPEG, TIFF, BMP, WEBP, PPM, GIF", 4),
    }


def test_without_images_only_facts_are_sent(ask: Callable, server: FakeServer) -> None:
    ask(limit=1)
    messages = server.asked[0]["messages"]
    assert [m["role"] for m in messages] == ["system", "user"] and messages[1]["content"].startswith(
        "i1 colour fundus photograph\n"
    )
    assert "base64" not in str(server.asked[0])


def test_request_options_are_passed_on_and_cannot_replace_ours(tmp_path: Path, server: FakeServer, ask: Callable) -> None:
    from retinal_lib import paths

    file = paths.root() / "params" / "own_options.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "own").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "own" / "eye.png")
    table = tmp_path / "own" / "own_options.csv"
    table.write_text("image,disease\neye.png,cataract\n", encoding="utf-8")
    try:
        file.write_text("request: {temperature: 0.5, top_k: 40}\n", encoding="utf-8")
        ask(dataset=str(table))
        assert server.asked[0]["temperature"] == 0.5 and server.asked[0]["top_k"] == 40
        file.write_text("request: {model: other}\n", encoding="utf-8")
        with pytest.raises(UserError, match="model are set by the run"):
            ask(dataset=str(table))
    finally:
        file.unlink()


TERMS = {  # of the published datasets, by what their licences say; no other may be sent
    **dict.fromkeys(["IDRiD", "IDRiD_seg", "IDRiD_loc", "RFMiD", "RFMiD2", "PAPILA"], "yes"),  # CC BY 4.0
    **dict.fromkeys(["APTOS", "EyeQ", "EyePACS", "DDR", "DeepDRiD"], "ask"),
    **dict.fromkeys(["BRSET", "mBRSET"], "local"),
}


@pytest.mark.parametrize("name", page.names())
def test_terms_decide_where_data_may_go(name: str, monkeypatch: pytest.MonkeyPatch, drawn: dict[str, Path]) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.example.org/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0")
    assert page.get(name).may_send == TERMS.get(name, "no")
    needs = {"yes": False, "ask": True, "local": "keeps nothing", "no": None}[TERMS.get(name, "no")]
    message = {
        "ask": "pass terms_accepted=True",
        "local": "pass terms_accepted='keeps nothing'",
        "no": "may not be sent",
    }
    words = [False, True, "keeps nothing"]
    for accepted in words:
        settings = {
            "dataset": name,
            "teacher": "openai",
            "model": "m",
            "data_root": str(drawn[name]),
            "terms_accepted": accepted,
        }
        if needs is not None and words.index(accepted) >= words.index(needs):
            assert Job.load(**settings).images
        else:
            with pytest.raises(UserError, match=message[TERMS.get(name, "no")]):
                Job.load(**settings)


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1/v1", True),
        ("http://127.9.9.9/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://localhost.example.org/v1", False),
        ("http://192.168.0.4/v1", False),
        ("http://0.0.0.0:8000/v1", False),
        ("https://api.openai.com/v1", False),
        ("http://127.0.0.1.example.org", False),
        ("http://localhost@example.org/v1", False),
    ],
)
def test_loopback_is_this_machine_only(address: str, here: bool) -> None:
    assert is_loopback(address) == here


def test_a_proxy_is_not_used_for_this_machine(ask: Callable, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(FakeServer(script=lambda number, body: error(500, "the proxy saw it"))) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        assert ask(limit=2).counts["accepted"] == 2
        assert proxy.asked == [] and len(server.asked) == 2


def test_a_redirect_is_not_followed(ask: Callable, server: FakeServer) -> None:
    with running(FakeServer()) as elsewhere:
        server.script = lambda number, body: error(307, "over there", Location=f"{elsewhere.url}/chat/completions")
        outcome = ask(limit=1)
        assert outcome.stopped and elsewhere.asked == []


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"OPENAI_BASE_URL": "https://api.example.org/v1"}, "no key for https://api.example.org/v1: set OPENAI_API_KEY"),
        ({"OPENAI_BASE_URL": "api.example.org"}, "expected an address such as"),
        ({"OPENAI_BASE_URL": "ftp://user:secret@example.org"}, "expected an address such as"),
    ],
)
def test_a_server_without_key_or_address_is_refused(environment: dict, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=sentence) as caught:
        Job.load(dataset="RFMiD", teacher="openai", model="m")
    assert "secret" not in str(caught.value)


def test_a_model_must_be_named() -> None:
    with pytest.raises(UserError, match="needs a model"):
        Job.load(dataset="RFMiD", teacher="openai")


def test_a_wait_that_the_server_asks_for_holds_for_all(server: FakeServer, ask: Callable) -> None:
    server.script = lambda number, body: (
        error(429, "slow down", "rate_limit_exceeded", **{"retry-after-ms": "1"}) if number < 9 else completion()
    )
    assert ask(limit=4, concurrency=4).counts["accepted"] == 4


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<think>User: hm\nAssistant: hm</think>\nUser: a?\nAssistant: b.", "User: a?\nAssistant: b."),
        ([{"type": "text", "text": "User: a?\n"}, {"type": "text", "text": "Assistant: b."}], "User: a?\nAssistant: b."),
    ],
)
def test_thoughts_and_parts_are_read_as_people_mean_them(content: object, text: str, server: FakeServer) -> None:
    import json

    raw = json.dumps({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]})
    assert OpenAITeacher("m").read(raw).text == text


def test_an_upright_picture_of_every_kind_can_be_shown(tmp_path: Path) -> None:
    for mode in ("1", "L", "P", "RGB", "RGBA", "I;16", "CMYK", "F"):
        path = tmp_path / "eye.tif"
        Image.new(mode, (40, 20)).save(path)
        assert picture.load_upright(path, 10).size == (10, 5) and picture.load_upright(path, 10).mode == "RGB"


def test_an_interrupted_run_lets_go_and_goes_on_later(ask: Callable, server: FakeServer, tmp_path: Path) -> None:
    import _thread
    import signal

    server.script = lambda number, body: completion()
    server.hold = threading.Event()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

    def interrupt() -> None:
        server.reached.acquire(timeout=10)
        _thread.interrupt_main()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        ask(concurrency=2)
    signal.signal(signal.SIGINT, before)
    thread.join()
    server.hold.set()
    assert ask().counts["accepted"] == 4


# --- slow and small servers, refused options, quotas -------------------------------------------------------------------------


def test_a_server_on_this_machine_is_asked_one_at_a_time_unless_told_otherwise(
    ask: Callable, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(limit=6)
    assert server.most_in_flight == 1
    job = Job.load(dataset="RFMiD", teacher="openai", model="m")
    assert job.context.concurrency == 1 and job.teacher.server.timeout_s == 3600
    assert "1 (a server on this machine; set concurrency" in job.table.to_string()
    assert Job.load(dataset="RFMiD", teacher="openai", model="m", concurrency=7).context.concurrency == 7
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.example.org/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0")
    job = Job.load(dataset="RFMiD", teacher="openai", model="m")
    assert job.context.concurrency == 10 and job.teacher.server.timeout_s == 600


def test_an_answer_that_takes_too_long_is_not_asked_for_twice(ask: Callable, server: FakeServer) -> None:
    server.hold = threading.Event()
    outcome = ask(limit=9, timeout_s=0.5)
    assert len(server.asked) == 3, "each request once, then the run stops"
    assert "3 requests in a row got no answer in time; the last: no answer within 0.5 seconds" in outcome.stopped
    assert "pass a larger timeout_s" in outcome.stopped and outcome.counts["failed"] == 9
    server.hold.set()
    assert ask(limit=9).counts["accepted"] == 9


def openai_refuses(*names: str) -> Callable:
    """A script that refuses options as OpenAI's reasoning models do."""

    def script(number: int, body: dict) -> object:
        if name := next((name for name in names if name in body), ""):
            hint = "Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
            message = f"Unsupported parameter: '{name}' is not supported with this model. {hint}".strip()
            return error(400, message, "unsupported_parameter")
        return completion()

    return script


def with_options(**options: object) -> Callable:
    """Runs ODIR's sample with request options, as params/ODIR.yaml sets them; retries wait no time."""
    from retinal_lib.run import settings

    def run(**parameters: object) -> object:
        chosen = settings.load(**{"dataset": "ODIR", "teacher": "openai", "model": "m", "limit": 4} | parameters)
        job = Job(chosen.model_copy(update={"request": options}))
        job.teacher.server.backoff = 0.0
        return job.run()

    return run


def test_refused_options_are_renamed_or_left_out_once_and_said(server: FakeServer, tmp_path: Path) -> None:
    server.script = openai_refuses("max_tokens", "temperature")
    run = with_options(max_tokens=700, temperature=0.7, top_p=0.9)
    outcome = run(out_dir=str(tmp_path / "run"), concurrency=3)
    assert outcome.counts["accepted"] == 4
    assert server.asked[-1]["max_completion_tokens"] == 700 and server.asked[-1]["top_p"] == 0.9
    assert not {"max_tokens", "temperature"} & set(server.asked[-1])
    assert outcome.summary.count("The server refused the option max_tokens (400 Unsupported parameter") == 1
    assert "sent as max_completion_tokens." in outcome.summary and "sent without it." in outcome.summary
    asked = len(server.asked)
    outcome = run(out_dir=str(tmp_path / "run"), limit=6)
    assert len(server.asked) == asked + 2, "remembered in the run's folder, and its answers count as before"
    assert "The server refused the option temperature" in outcome.summary
    assert "sent without it" in (tmp_path / "run" / "manifest.json").read_text(encoding="utf-8")


def as_json(**parameters: object) -> Job:
    """ODIR's sample, asked for conversations as JSON, as params/ODIR.yaml sets it."""
    from retinal_lib.run import settings

    chosen = settings.load(**{"dataset": "ODIR", "teacher": "openai", "model": "m", "limit": 4} | parameters)
    return Job(chosen.model_copy(update={"answer_form": "json"}))


def slotted(body: dict) -> str:
    """A reply as JSON, in the form of the schema, with the slots and marks of a request."""
    told = body["messages"][1]["content"]
    ratio = re.search(r"(\w+) vertical cup-to-disc ratio", told)
    size = f"The vertical cup-to-disc ratio is {{{ratio[1]}}}." if ratio else "Nothing."
    turns = [("What is this?", "An eye [d1]."), ("What can be measured?", size)]
    return json.dumps({"turns": [{"question": question, "answer": answer} for question, answer in turns]})


def test_conversations_come_as_json_where_a_server_takes_a_schema(server: FakeServer, tmp_path: Path) -> None:
    server.script = lambda number, body: completion(slotted(body))
    outcome = as_json(out_dir=str(tmp_path / "run"), limit=14).run()
    assert outcome.counts["accepted"] == 13, outcome.summary
    asked = server.asked[0]["response_format"]
    jsonschema.validate(json.loads(slotted(server.asked[0])), asked["json_schema"]["schema"])
    assert asked["json_schema"]["strict"] and '{"turns": [{"question"' in server.asked[0]["messages"][0]["content"]
    text = (tmp_path / "run" / "conversations.jsonl").read_text(encoding="utf-8")
    assert re.search(r"ratio is (about )?0\.\d+\.", text) and "{v" not in text and "[d1]" not in text


def test_a_server_that_refuses_the_schema_is_asked_without_it(server: FakeServer, tmp_path: Path) -> None:
    message = "'response_format' of type 'json_schema' is not supported with this model"
    server.script = lambda number, body: (
        error(400, message, "unsupported_parameter") if "response_format" in body else completion(slotted(body))
    )
    job = as_json(out_dir=str(tmp_path / "run"))
    job.teacher.server.backoff = 0.0
    outcome = job.run()
    assert outcome.counts["accepted"] == 4 and "response_format" not in server.asked[-1]
    assert "The server refused the option response_format" in outcome.summary and "sent without it" in outcome.summary


def test_packed_requests_carry_the_schema(server: FakeServer, tmp_path: Path) -> None:
    as_json(out_dir=str(tmp_path / "run"), mode="pack", terms_accepted=True).run()
    [file] = (tmp_path / "run" / "requests").iterdir()
    bodies = [json.loads(line)["body"] for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(bodies) == 4 and all(body["response_format"]["json_schema"]["name"] == "conversation" for body in bodies)


@pytest.mark.parametrize(
    ("status", "entry", "gone"),
    [
        (400, {"error": {"message": "Unsupported value", "param": "temperature", "code": "unsupported_value"}}, "temperature"),
        (400, {"error": {"message": "litellm.UnsupportedParamsError: gpt-5 models don't support temperature=0.7.",
                         "type": "None", "param": "None", "code": "400"}}, "temperature"),
        (400, {"error": {"message": "Unrecognized request argument supplied: seed"}}, "seed"),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
         "seed"),
        (400, {"error": {"message": "max_tokens is too large: 700. This model supports at most 512 tokens."}}, None),
        (400, {"error": {"message": "user messages with pictures are not supported"}}, None),
        (400, {"error": {"message": "temperature must be at most 1"}}, None),
    ],
)  # fmt: skip
def test_refusals_of_options_are_told_from_others(
    status: int, entry: dict, gone: str | None, server: FakeServer, tmp_path: Path
) -> None:
    from aiohttp import web

    server.script = lambda number, body: completion() if gone and gone not in body else web.json_response(entry, status=status)
    outcome = with_options(temperature=0.7, seed=1, max_tokens=700, user="u")(out_dir=str(tmp_path / "run"), limit=2)
    assert outcome.counts["accepted"] == (2 if gone else 0)
    assert len(server.asked) == (3 if gone else 2)


def test_the_limit_of_an_answer_is_never_left_out(server: FakeServer, tmp_path: Path) -> None:
    server.script = openai_refuses("max_tokens", "max_completion_tokens")
    outcome = with_options(max_tokens=700)(out_dir=str(tmp_path / "run"), limit=1)
    assert outcome.counts["failed"] == 1 and len(server.asked) == 2
    assert "'max_completion_tokens' is not supported" in outcome.table.to_string()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda: error(429, "Daily limit", "rate_limit_exceeded", **{"retry-after": "86400"}),
         r"the quota is spent until \d\d \w{3} \d\d:\d\d \(429 Daily limit\); run again then: nothing answered is asked"),
        (lambda: error(429, "spent", "insufficient_quota"), r"the quota is spent \(429 spent\); raise it, or wait until it is"),
        (lambda: error(402, "Insufficient Balance"), r"the quota is spent \(402 Insufficient Balance\)"),
        (lambda: error(429, "Rate limit exceeded: free-models-per-day"), r"the quota is spent \(429 Rate limit"),
        (lambda: error(503, "maintenance", **{"retry-after": "7200"}), r"the server answers nothing until \d\d \w{3} \d\d"),
        (lambda: error(429, "odd", **{"retry-after": "99999999999999"}), "the quota is spent until"),
    ],
)  # fmt: skip
def test_a_long_wait_stops_the_run_in_a_sentence(answer: Callable, sentence: str, ask: Callable, server: FakeServer) -> None:
    server.script = lambda number, body: completion() if number == 1 else answer()
    outcome = ask(limit=9)
    assert re.search(sentence, outcome.stopped) and outcome.counts["accepted"] == 1
    assert len(server.asked) == 2
    with pytest.raises(UserError, match="more than max_failed"):
        outcome.require()
