"""What the tests share: drawn samples, a server on loopback, an environment without keys, and notebook rules."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis
import papermill
import pytest
from fake_batches import FakeBatches
from fake_server import FakeServer, running
from filelock import FileLock
from jupyter_client.manager import start_new_kernel

from retinal_lib import paths
from retinal_lib.dataset import page
from retinal_lib.sample import draw as sample

# how long an example takes depends on the machine and on what else it does
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

# tests and the notebooks they run have a project folder of their own: your params/ and runs stay out of it
ROOT = Path(__file__).resolve().parents[1] / "artifacts" / "tests"
os.environ["RETINAL_LIB_ROOT"] = str(ROOT)
# each of pytest's workers has a core to itself: threads of torch's own would take it from the others (a tenth of the speed)
os.environ.setdefault("OMP_NUM_THREADS", "1")


SERVERS = "OPENAI_API_KEY OPENAI_BASE_URL HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy".split()


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach a real server."""
    for name in SERVERS:
        monkeypatch.delenv(name, raising=False)


class Drawn(Mapping[str, Path]):
    """The folder of each dataset's sample, where the notebooks look for it. One is drawn when it is first asked for, by one
    process, and kept."""

    def __init__(self) -> None:
        self.folder, self.found = paths.root() / "artifacts" / "sample", dict.fromkeys(page.names())
        self.folder.mkdir(parents=True, exist_ok=True)

    def __getitem__(self, name: str) -> Path:
        if self.found[name] is None:
            with FileLock(self.folder / f".{name}.lock"):
                self.found[name] = sample.draw(name, self.folder / name)
        return self.found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)


@pytest.fixture(scope="session")
def drawn() -> Mapping[str, Path]:
    """The samples of all datasets."""
    return Drawn()


@pytest.fixture(scope="session")
def execute() -> Iterator[Callable[[Path, Path, dict], None]]:
    """Runs a notebook by papermill, into a file, with parameters. All runs share a kernel, since to start one and to import
    takes longer than most notebooks do; it knows no name of the run before, and has the environment of a run by the command."""
    environment = {name: value for name, value in os.environ.items() if name not in SERVERS} | {paths.NON_INTERACTIVE: "1"}
    manager, client = start_new_kernel(kernel_name="python3", env=environment, extra_arguments=["--log-level=CRITICAL"])
    client.stop_channels()  # a kernel answers one client at a time: they share a name

    def execute(notebook: Path, output: Path, parameters: dict) -> None:
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(60)
        client.execute("%reset -f", silent=True, reply=True, timeout=60)
        client.stop_channels()
        papermill.execute_notebook(str(notebook), str(output), parameters, progress_bar=False, km=manager)

    yield execute
    manager.shutdown_kernel(now=True)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """An OpenAI-compatible server that the openai teacher finds in the environment."""
    with running(FakeServer()) as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
        yield fake


@pytest.fixture
def ask(tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Runs ODIR's sample against the server and returns the outcome; retries wait no time."""
    from retinal_lib import Job
    from retinal_lib.teacher.teachers import OpenAITeacher

    def run(**parameters: object) -> object:
        job = Job.load(
            **{"dataset": "ODIR", "teacher": "openai", "model": "m", "limit": 4, "out_dir": str(tmp_path / "run")} | parameters
        )
        assert isinstance(job.teacher, OpenAITeacher)
        job.teacher.server.backoff = 0.0
        return job.run()

    return run


@pytest.fixture
def prices() -> Iterator[Callable[[str, str], Path]]:
    """Writes params/prices.yaml in the tests' project folder, for one server, for the length of a test."""
    from retinal_lib.teacher.cost import prices_file

    file = prices_file()

    def write(server: str, models: str) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"as_of: 2026-01-31\nservers:\n  {server}:\n    {models}\n", encoding="utf-8")
        return file

    yield write
    file.unlink(missing_ok=True)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBatches]:
    """A server with files and batches that the openai teacher finds in the environment."""
    with running(FakeBatches()) as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
        yield fake


@pytest.fixture
def run(tmp_path: Path, batches: FakeBatches) -> Callable:
    """Runs ODIR's sample in batch mode to its end, unless told otherwise; nothing waits."""

    from retinal_lib import Job
    from retinal_lib.run import settings

    def run(**parameters: object) -> object:
        given = {"dataset": "ODIR", "teacher": "openai", "model": "m", "mode": "batch", "out_dir": str(tmp_path / "run")}
        limits, options = parameters.pop("batch", {}), parameters.pop("request", {})
        if given.get("mode") == parameters.get("mode", "batch"):
            given["wait"] = True
        chosen = settings.load(**given | parameters)
        limits = chosen.batch.model_copy(update={"poll_seconds": 0, **limits})
        job = Job(chosen.model_copy(update={"batch": limits, "request": options}))
        job.teacher.server.backoff = 0.0
        return job.run()

    return run
