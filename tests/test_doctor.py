"""`retinal doctor`: what it finds of the key, the server, torch and the kernel, and what it tells to do."""

import sys
from pathlib import Path

import pytest
from aiohttp import web
from fake_server import FakeServer, running

from retinal_lib import doctor
from retinal_lib.__main__ import main

KEY = "sk-a-key-that-nobody-may-see"


class Listing(FakeServer):
    """A server that lists its models, as vLLM does."""

    def routes(self, router: web.UrlDispatcher) -> None:
        async def models(request: web.Request) -> web.Response:
            owner = "vllm" if request.headers["authorization"] == f"Bearer {KEY}" else "nobody"
            return web.json_response({"object": "list", "data": [{"id": "qwen3-8b", "object": "model", "owned_by": owner}]})

        super().routes(router)
        router.add_get("/v1/models", models)


def found(what: str) -> doctor.Found:
    return next(each for each in doctor.look() if each.what == what)


def test_the_server_is_named_and_the_key_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with running(Listing()) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        told = main(["doctor"])
        assert not server.asked
    assert f"vLLM at {server.url}, on this machine; models: qwen3-8b" in told
    assert "OPENAI_API_KEY is set" in told and KEY not in told
    assert found("server").mark == "note" and KEY not in doctor.text(doctor.look())  # it does not run any more


def test_an_address_without_v1_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(FakeServer()) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url.removesuffix("/v1"))
        assert "/v1" in found("server").advice


def test_what_hinders_every_run_ends_with_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "ftp://localhost")
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert "stop  server" in ended.value.code and "expected an address such as" in ended.value.code


def test_torch_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert found("GPU").mark == "ok" and found("server").found == "none is named"


def test_a_kernel_of_another_environment_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = tmp_path / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(
        f'{{"argv": ["{tmp_path.as_posix()}/python"], "display_name": "x", "language": "python"}}', encoding="utf-8"
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert found("kernel").mark == "stop" and "which has no retinal_lib" in found("kernel").found
