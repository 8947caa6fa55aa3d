"""An OpenAI-compatible server on loopback that answers as a script says, and remembers what it was asked."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

GOOD = (
    "User: What is this?\nAssistant: An eye [d1].\n"  # every fact sheet has a line d1
    "User: Is it ill?\nAssistant: Unknown.\nUser: Is that all?\nAssistant: Yes."
)


def completion(text: str | None = GOOD, finish: str = "stop", refusal: str | None = None) -> web.Response:
    """A chat completion as the API writes it."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return web.json_response(
        {
            "id": "c",
            "object": "chat.completion",
            "model": "m",
            "usage": usage,
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        },
        headers={"x-request-id": "req-1"},
    )


def error(status: int, message: str = "no", code: str | None = None, **headers: str) -> web.Response:
    """An API error as the API writes it."""
    return web.json_response({"error": {"message": message, "code": code, "type": code}}, status=status, headers=headers)


@dataclass
class FakeServer:
    """`script(number of the request from 1, its body)` gives the answer. `asked` are the bodies in order."""

    script: Callable[[int, dict], web.StreamResponse | None] = lambda number, body: completion()
    asked: list[dict] = field(default_factory=list)
    headers: list[dict] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    hold: threading.Event | None = None  # requests wait for it, where there is one
    reached: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))  # one for each request that came
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one request."""
        body = await request.json()
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        number = len(self.asked)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.reached.release()
        try:
            while self.hold is not None and not self.hold.is_set():
                await asyncio.sleep(0.005)
            answer = self.script(number, body)
        finally:
            self.in_flight -= 1
        if answer is None:  # the connection breaks off
            request.transport.close()
            return web.Response()
        return answer

    def routes(self, router: web.UrlDispatcher) -> None:
        """What it answers at all."""
        router.add_post("/v1/chat/completions", self.handle)

    def users(self) -> list[str]:
        """The text of each request's user message."""
        contents = [body["messages"][1]["content"] for body in self.asked]
        return [content if isinstance(content, str) else content[0]["text"] for content in contents]


@contextmanager
def running(server: FakeServer, port: int = 0) -> Iterator[FakeServer]:
    """Serves on a port of 127.0.0.1, by default a free one, in a thread; what the server remembers outlives it."""
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=256 << 20)
        server.routes(app.router)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024, reuse_address=True)
        await site.start()
        server.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"
        return runner

    def serve() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        loop.call_soon(ready.set)  # in the loop that a quick test stops
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def dumps(entry: object) -> str:
    """JSON, for scripts that answer in JSON."""
    return json.dumps(entry)
