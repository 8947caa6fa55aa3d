"""Limits of time and size: no answer, text or table fills the memory or keeps a run for ever."""

import asyncio
import gzip
import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import parsers_fed
import pytest
from aiohttp import web
from fake_server import FakeServer, completion, running

from retinal_lib import UserError, conversation
from retinal_lib.ask import result_files
from retinal_lib.dataset import tables
from retinal_lib.inference import question_files
from retinal_lib.teacher import body_limits
from retinal_lib.teacher.request_errors import RequestFailed
from retinal_lib.teacher.server import Server

BODY = {"model": "m", "messages": []}
BOMB = gzip.compress(bytes(8 << 20), 1, mtime=0)


class Hostile(FakeServer):
    """A server whose answers are too much: `body` with its `headers`, or a byte now and then for ever where there is none."""

    body: bytes | None = None
    sent: dict[str, str]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers anything."""
        self.asked.append({})
        if self.body is not None:
            return web.Response(body=self.body, headers=self.sent)
        answer = web.StreamResponse(headers={"content-type": "application/json"})
        await answer.prepare(request)
        while True:
            await answer.write(b" ")
            await asyncio.sleep(0.01)

    def routes(self, router: web.UrlDispatcher) -> None:
        """Everything."""
        router.add_route("*", "/{any:.*}", self.handle)


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    monkeypatch.setattr(body_limits, "LONGEST_BODY", 2 << 20)
    with running(Hostile()) as started:
        started.sent = {"content-type": "application/json"}
        monkeypatch.setenv("OPENAI_BASE_URL", started.url)
        yield started


def asked(call: Callable[[Server], Coroutine], timeout_s: float = 30) -> str:
    """The reason why a call got no answer."""

    async def once() -> None:
        ours = Server(backoff=0.001, timeout_s=timeout_s)
        try:
            await call(ours)
        finally:
            await ours.close()

    with pytest.raises(RequestFailed) as failed:
        asyncio.run(once())
    return str(failed.value)


CALLS = {
    "chat": lambda ours: ours.chat(BODY),
    "get": lambda ours: ours.get("/batches"),
    "create": lambda ours: ours.create("/batches", {}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("packed", ["gzip", "deflate", "identity"])
def test_an_answer_that_unpacks_to_too_much_is_left_where_it_is(call: str, packed: str, hostile: Hostile) -> None:
    hostile.body = {"gzip": BOMB, "deflate": zlib.compress(bytes(8 << 20), 1), "identity": bytes(3 << 20)}[packed]
    hostile.sent["content-encoding"] = packed
    assert "larger than 2 MiB" in asked(CALLS[call])


@pytest.mark.parametrize(
    ("encoding", "body", "sentence"),
    [
        ("br", b"x", "compressed in a way that was not asked for (br)"),
        ("gzip, gzip", gzip.compress(BOMB, mtime=0), "compressed in a way that was not asked for (gzip, gzip)"),
        ("gzip", b"no gzip", "cannot be decompressed"),
        ("gzip", gzip.compress(b'{"data": []}', mtime=0)[:-9], "is cut off"),
    ],
)
def test_an_odd_compression_is_named(encoding: str, body: bytes, sentence: str, hostile: Hostile) -> None:
    hostile.body, hostile.sent["content-encoding"] = body, encoding
    assert sentence in asked(CALLS["get"])


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate"])
def test_a_compressed_answer_is_read(encoding: str, hostile: Hostile) -> None:
    text = completion().body
    raw = zlib.compressobj(wbits=-15)
    parts = {"gzip": gzip.compress(text[:9], mtime=0) + gzip.compress(text[9:]), "deflate": zlib.compress(text)}
    hostile.body = parts.get(encoding) or raw.compress(text) + raw.flush()
    hostile.sent["content-encoding"] = encoding.split()[-1]

    async def once() -> str:
        ours = Server(backoff=0.001)
        try:
            return (await ours.chat(BODY)).raw
        finally:
            await ours.close()

    assert asyncio.run(once()).encode() == text


@pytest.mark.parametrize("call", CALLS)
def test_an_answer_that_drips_for_ever_is_cut_at_its_time(call: str, hostile: Hostile) -> None:
    assert "within 0.2 seconds" in asked(CALLS[call], timeout_s=0.2)


def test_a_file_of_results_has_a_time_and_a_size(hostile: Hostile, tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    assert "within 0.2 seconds" in asked(lambda ours: ours.download("f", file, lines=2), timeout_s=0.2)
    hostile.body, hostile.sent["content-encoding"] = BOMB, "gzip"
    assert "the file of 2 results is larger than 4 MiB" in asked(lambda ours: ours.download("f", file, lines=2))
    assert file.stat().st_size <= 5 << 20


def test_a_line_of_results_has_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_files, "LONGEST_BODY", 1000)
    file = tmp_path / "results.jsonl"
    file.write_bytes(b'{"custom_id": "' + b"a" * 5000 + b'"}\n{"custom_id": "b", "response": {}}\n')
    found = list(result_files.lines(file))
    assert [number for number, _ in found] == [1, 2] and len(found[0][1]) == 1001
    with pytest.raises(result_files.NoResult, match="longer than"):
        result_files.read(found[0][1])


def test_a_wide_table_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "my.csv"
    file.write_text(",".join(f"c{i}" for i in range(50_000)) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"has 50,000 columns, and at most 10,000 are read"):
        tables.read(file)
    file.write_text(",".join(f"c{i}" for i in range(10_000)) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"no column 'x'; the columns are 'c0'.* and 9,950 more"):
        tables.read(file).column("x")


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000])
def test_files_nested_too_deeply_end_in_a_sentence(deep: str, tmp_path: Path) -> None:
    for suffix, read in (("json", conversation.read), ("jsonl", conversation.read), ("json", question_files.read)):
        file = tmp_path / f"x.{suffix}"
        file.write_text(deep, encoding="utf-8")
        with pytest.raises(UserError, match=r"nested (too deeply|more than)"):
            list(read(file))


@pytest.mark.parametrize("name", parsers_fed.FED)
def test_parsers_and_checks_read_200000_characters_within_a_second(name: str) -> None:
    told = subprocess.run(
        [sys.executable, parsers_fed.__file__, name, "200000"], capture_output=True, text=True, timeout=300, check=True
    )
    seconds = json.loads(told.stdout)  # of the processor, the least of three where it is much: by the square, it is minutes
    assert len(seconds) == len(set(parsers_fed.KINDS)) and not {kind: taken for kind, taken in seconds.items() if taken > 1}
