"""An OpenAI-compatible server on loopback that also has files and batches, as documented, with the faults that occur.

Time is counted in looks: a batch goes one status further with each look at it, so that nothing here waits.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web
from fake_server import FakeServer, completion, error
from PIL import Image

COURSE = ("validating", "in_progress", "in_progress", "finalizing", "completed")
LETTERS = "abcdefghijklmnop"


def mark(text: str) -> str:
    """A word that only this text has, in letters."""
    return "".join(LETTERS[int(digit, 16)] for digit in hashlib.sha256(text.encode()).hexdigest()[:16])


def told(body: dict) -> str:
    """The message of a request."""
    content = body["messages"][1]["content"]
    return content if isinstance(content, str) else content[0]["text"]


def answer(body: dict) -> str:
    """A conversation that is told apart by its request's message."""
    return (
        f"User: What is {mark(told(body))}?\nAssistant: An eye [d1].\nUser: Ill?\nAssistant: No.\nUser: Sure?\nAssistant: Yes."
    )


def reply(body: dict, text: str | None = None) -> dict:
    """A chat completion as the body of a result line."""
    found = json.loads(completion(answer(body) if text is None else text).text)
    return found | {"model": body["model"]}


def failure(status: int, message: str = "no", code: str | None = None) -> dict:
    """What a line script returns for a request that fails."""
    return {"status": status, "error": {"message": message, "type": "error", "code": code}}


def refusal(body: dict) -> str:
    """Why the API would refuse these messages; empty where it takes them."""
    for message in body.get("messages") or [{}]:
        if set(message) - {"role", "content", "name"}:
            return f"unknown keys {sorted(set(message) - {'role', 'content', 'name'})} beside content"
        content = message.get("content")
        if not isinstance(content, str | list):
            return "content must be a text or a list of parts"
        for part in content if isinstance(content, list) else []:
            if part.get("type") == "image_url":
                head, _, data = part["image_url"]["url"].partition(";base64,")
                kind = Image.open(io.BytesIO(base64.b64decode(data))).format
                if head != f"data:image/{kind.lower()}" or kind not in ("JPEG", "PNG", "GIF", "WEBP"):
                    return f"{head} holds {kind}"
    return ""


@dataclass
class Made:
    """A batch at the server."""

    id: str
    file: str
    metadata: dict
    number: int  # from 1
    looks: int = 0
    status: str = "validating"
    errors: list[dict] | None = None
    output: str | None = None
    failed: str | None = None
    counts: dict = field(default_factory=lambda: {"total": 0, "completed": 0, "failed": 0})


@dataclass
class FakeBatches(FakeServer):
    """`line(custom_id, body)` gives a line's text or failure, `ends(batch)` the status that a batch ends in ("completed",
    "expired", "cancelled", "failed: code"). `faults` are asked before each call: (name, how often it was called) -> a
    response instead, or None. `lost` names calls that are carried out while their answer gets lost, as often as given."""

    line: Callable[[str, dict], str | dict | None] = lambda name, body: None
    ends: Callable[[Made], str] = lambda batch: "completed"
    faults: Callable[[str, int], web.StreamResponse | None] = lambda name, number: None
    lost: Counter = field(default_factory=Counter)
    torn: Callable[[str, int, bytes], bytes] = lambda name, number, data: data
    whole_length: bool = True  # a torn download tells its true length
    most_lines: int = 50_000
    most_tokens: int | None = None  # under way at once, a line counting as one
    listed: bool = True
    form: str = "openai"  # of listings and errors: openai, groq or bare
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, Made] = field(default_factory=dict)
    calls: Counter = field(default_factory=Counter)
    billed: Counter = field(default_factory=Counter)  # custom_id -> how often it was answered for money
    seen: list[str] = field(default_factory=list)  # names of calls in order

    def routes(self, router: web.UrlDispatcher) -> None:
        """Chat, files and batches."""
        super().routes(router)
        router.add_post("/v1/files", self._guard("upload", self.upload))
        router.add_get("/v1/files/{id}", self._guard("file", self.file))
        router.add_get("/v1/files/{id}/content", self._guard("download", self.download))
        router.add_post("/v1/batches", self._guard("create", self.create))
        router.add_get("/v1/batches", self._guard("list", self.list))
        router.add_get("/v1/batches/{id}", self._guard("look", self.look))

    def _guard(self, name: str, handler: Callable) -> Callable:
        async def guarded(request: web.Request) -> web.StreamResponse:
            self.calls[name] += 1
            self.seen.append(name)
            self.headers.append(dict(request.headers))
            if (fault := self.faults(name, self.calls[name])) is not None:
                await request.read()
                return fault
            made = await handler(request)
            if self.lost[name] > 0:
                self.lost[name] -= 1
                request.transport.close()
            return made

        return guarded

    # --- files --------------------------------------------------------------------------------------------------------

    async def upload(self, request: web.Request) -> web.Response:
        """POST /files"""
        form = await request.post()
        if form.get("purpose") != "batch" or not hasattr(form.get("file"), "file"):
            return error(400, "purpose must be batch, with a file")
        file_id = f"file-{len(self.files) + 1}"
        self.files[file_id] = await asyncio.to_thread(form["file"].file.read)
        return web.json_response(self._file(file_id))

    def _file(self, file_id: str) -> dict:
        return {"id": file_id, "object": "file", "bytes": len(self.files[file_id]), "purpose": "batch", "status": "processed",
                "created_at": 1, "filename": "x.jsonl"}  # fmt: skip

    async def file(self, request: web.Request) -> web.Response:
        """GET /files/{id}"""
        file_id = request.match_info["id"]
        return web.json_response(self._file(file_id)) if file_id in self.files else error(404, "No such File object")

    async def download(self, request: web.Request) -> web.StreamResponse:
        """GET /files/{id}/content"""
        file_id = request.match_info["id"]
        if file_id not in self.files:
            return error(404, "No such File object")
        data = self.files[file_id]
        sent = self.torn(file_id, self.calls[f"download {file_id}"], data)
        self.calls[f"download {file_id}"] += 1
        if sent == data or not self.whole_length:
            return web.Response(body=sent, content_type="application/octet-stream")
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(sent)
        request.transport.close()
        return response

    # --- batches ------------------------------------------------------------------------------------------------------

    async def create(self, request: web.Request) -> web.Response:
        """POST /batches"""
        body = await request.json()
        tags = body.get("metadata") or {}
        if body.get("endpoint") != "/v1/chat/completions" or body.get("completion_window") != "24h":
            return error(400, "endpoint and completion_window")
        if len(tags) > 16 or any(len(k) > 64 or not isinstance(v, str) or len(v) > 512 for k, v in tags.items()):
            return error(400, "metadata")
        if body.get("input_file_id") not in self.files:
            return error(400, f"Invalid file: {body.get('input_file_id')} not found")
        number = len(self.batches) + 1
        made = self.batches[f"batch_{number}"] = Made(f"batch_{number}", body["input_file_id"], tags, number)
        return web.json_response(self._batch(made))

    def _batch(self, made: Made) -> dict:
        errors = made.errors and ({"object": "list", "data": made.errors} if self.form == "openai" else made.errors)
        status = made.status.upper() if self.form == "bare" else made.status
        tags = None if self.form == "bare" else made.metadata
        return {"id": made.id, "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": made.file,
                "completion_window": "24h", "status": status, "errors": errors, "output_file_id": made.output,
                "error_file_id": made.failed, "created_at": 1, "request_counts": made.counts, "metadata": tags}  # fmt: skip

    async def list(self, request: web.Request) -> web.Response:
        """GET /batches, two on a page whatever the limit, the newest first"""
        if not self.listed:
            return error(404, "no such route")
        every = list(reversed(self.batches.values()))
        after = request.query.get("cursor" if self.form == "groq" else "after")
        place = next((i + 1 for i, made in enumerate(every) if made.id == after), 0)
        page, more = [self._batch(made) for made in every[place : place + 2]], len(every) > place + 2
        if self.form == "bare":
            return web.json_response([self._batch(made) for made in every])
        if self.form == "groq":
            return web.json_response(
                {"object": "list", "data": page, "paging": {"next_cursor": page[-1]["id"] if more else None}}
            )
        return web.json_response({"object": "list", "data": page, "has_more": more})

    async def look(self, request: web.Request) -> web.Response:
        """GET /batches/{id}: each look moves it on"""
        made = self.batches.get(request.match_info["id"])
        if made is None:
            return error(404, "No batch found")
        if made.status in ("validating", "in_progress", "finalizing", "cancelling"):
            await asyncio.to_thread(self._move, made)
        return web.json_response(self._batch(made))

    def _move(self, made: Made) -> None:
        made.looks += 1
        lines = [json.loads(text) for text in self.files[made.file].splitlines()]
        if made.looks == 1:
            made.counts["total"] = len(lines)
            if errors := self._invalid(made, lines):
                made.status, made.errors = "failed", errors
                return
        end = self.ends(made)
        if made.looks < len(COURSE):
            made.status = COURSE[made.looks - 1] if not (end == "cancelled" and made.looks == 3) else "cancelling"
            return
        made.status, _, code = end.partition(": ")
        if made.status == "failed":
            made.errors = [{"code": code, "message": f"{code} happened", "param": None, "line": None}]
            return
        self._answer(made, lines)

    def _invalid(self, made: Made, lines: list[dict]) -> list[dict]:
        def wrong(code: str, line: int | None, message: str = "") -> dict:
            return {"code": code, "line": line, "message": message or code, "param": None}

        errors, names = [], Counter(line.get("custom_id") for line in lines)
        errors += [wrong("duplicate_custom_id", i) for i, line in enumerate(lines, 1) if names[line.get("custom_id")] > 1]
        errors += [
            wrong("invalid_custom_id", i)
            for i, line in enumerate(lines, 1)
            if not (0 < len(line["custom_id"]) <= 64 and line["custom_id"].replace("-", "").replace("_", "").isalnum())
        ]
        errors += [wrong("url_mismatch", i) for i, line in enumerate(lines, 1) if line.get("url") != "/v1/chat/completions"]
        if len({line["body"].get("model") for line in lines}) != 1:
            errors.append(wrong("mismatched_model", None))
        if len(lines) > self.most_lines:
            errors.append(wrong("too_many_tasks", None))
        under_way = sum(b.counts["total"] for b in self.batches.values() if b.status in COURSE[:4])
        if self.most_tokens is not None and under_way > self.most_tokens:
            text = f"Enqueued token limit reached for m. Limit: {self.most_tokens * self.weight:,} enqueued tokens."
            errors.append(wrong("token_limit_exceeded", None, text))
        return errors

    weight: int = 1  # tokens that the message of a refused batch counts for a line

    def _answer(self, made: Made, lines: list[dict]) -> None:
        output, failed = [], []
        random.Random(made.number).shuffle(lines)
        for place, line in enumerate(lines):
            name, body = line["custom_id"], line["body"]
            entry = {"id": f"batch_req_{made.number}_{place}", "custom_id": name, "response": None, "error": None}
            if made.status in ("expired", "cancelled") and place >= len(lines) // 2:
                failed.append(entry | {"error": {"code": f"batch_{made.status}", "message": "not run"}})
                continue
            said = failure(400, why, "invalid_request") if (why := refusal(body)) else self.line(name, body)
            response = {"request_id": f"req-{name[:8]}"}
            if isinstance(said, dict):
                failed.append(
                    entry | {"response": response | {"status_code": said["status"], "body": {"error": said["error"]}}}
                )
                continue
            self.billed[name] += 1
            output.append(entry | {"response": response | {"status_code": 200, "body": reply(body, said)}})
        made.counts = {"total": len(lines), "completed": len(output), "failed": len(failed)}
        for kind, entries in (("output", output), ("failed", failed)):
            if entries:
                file_id = f"file-{kind}-{made.number}"
                self.files[file_id] = "".join(json.dumps(entry) + "\n" for entry in entries).encode()
                setattr(made, kind, file_id)

    @property
    def uploaded(self) -> list[dict]:
        """Every line of every request file of a batch."""
        return [json.loads(text) for made in self.batches.values() for text in self.files[made.file].splitlines()]
