"""The part of `make bench` for batch mode: request files written, pictures packed, results taken in, memory."""

import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import orjson
from bench_size import size
from PIL import Image

from retinal_lib import Job
from retinal_lib.ask.attempts import AttemptLimits
from retinal_lib.ask.batch_collect import BatchCollect
from retinal_lib.ask.batch_ledger import BatchLedger
from retinal_lib.ask.request_files import RequestFileWriter
from retinal_lib.ask.runner import PlannedImage
from retinal_lib.ask.vault import ImageState, Vault
from retinal_lib.teacher import cost, offline
from retinal_lib.teacher.teachers import OpenAITeacher, Request

DIFFERENT = 50  # texts and replies that take turns


def job(page: Path) -> Job:
    """The benchmark's dataset, in batch mode."""
    os.environ["OPENAI_BASE_URL"] = "http://127.0.0.1:9/v1"
    return Job.load(dataset=str(page), teacher="openai", model="m", mode="batch", limit=DIFFERENT)


def entries(first: list[Request], count: int, pictures: list[Path] | None = None) -> Iterator[PlannedImage]:
    """Requests as a plan gives them, each with an id of its own; how an image is described is measured elsewhere."""
    for i in range(count):
        case = replace(first[i % DIFFERENT].case, id=f"eye-{i}", image=f"eye-{i}.jpg")
        picture = pictures[i % len(pictures)] if pictures else None
        size_ = (1024, 768) if picture else None
        request = replace(
            first[i % DIFFERENT], sheet=replace(first[i % DIFFERENT].sheet, case=case), picture=picture, size=size_
        )
        yield PlannedImage(ImageState(i, case.id, case.image, "all", "failed"), request)


def packing(made: Job, vault: Vault) -> RequestFileWriter:
    """A pack without a budget or a limit of tokens."""
    limits = made.context.limits.model_copy(update={"enqueued_tokens": None})
    return RequestFileWriter(vault, made.teacher, cost.Budget(None, None), made.context.estimate(), limits, AttemptLimits(3, 1))


def seconds(work: Iterator) -> float:
    """How long it takes to go through it."""
    gc.collect()
    start = time.perf_counter()
    for _ in work:
        pass
    return time.perf_counter() - start


def disk(folder: Path) -> float:
    """Bytes per second at which a file of 512 MiB, written in large blocks, reaches the disk."""
    block, blocks = os.urandom(4 << 20), size(128, 4)
    start = time.perf_counter()
    with (folder / "plain").open("wb", buffering=0) as file:
        for _ in range(blocks):
            file.write(block)
        os.fsync(file.fileno())
    taken = time.perf_counter() - start
    (folder / "plain").unlink()
    return len(block) * blocks / taken


def texts(page: Path, folder: Path, count: int) -> None:
    """Text requests packed, then their results taken in."""
    made = job(page)
    first = [entry.request for entry in made.plan()]
    alone = seconds(entry.request.message for entry in entries(first, count))
    with Vault(folder) as vault:
        pack = packing(made, vault)
        batches = []
        taken = seconds(batches.append(batch) for batch in pack.files(entries(first, count), folder, "{}.jsonl")) - alone
        speed, plain = sum(batch.bytes for batch in batches) / taken, disk(folder)
        per_line = sum(batch.bytes for batch in batches) / count
        print(
            f"packing: {count / taken:,.0f} text requests per second, of {per_line:,.0f} bytes; {speed / plain:.2f} of the "
            f"disk's write speed ({0.5 * plain / per_line:,.0f} requests per second would be half of it)"
        )
        results(made.teacher, first, folder, batches, vault)
        stored = seconds(_taken(made.teacher, folder, batches, vault))
        again = seconds(packing(made, vault).files(entries(first, count), folder, "{}.jsonl")) - alone
        done = next(vault.rows("SELECT count(*) FROM samples WHERE state = 'accepted'"))[0]
        assert done == count, f"{done} of {count}"
        print(
            f"unpacking: {count / (stored + again):,.0f} results per second ({count / stored:,.0f} read and stored, "
            f"{count / again:,.0f} parsed, checked and settled)"
        )


def results(teacher: OpenAITeacher, first: list[Request], folder: Path, batches: list, vault: Vault) -> None:
    """A result file for each request file."""
    replies = [offline.compose(request.sheet, "instruction", None, i) for i, request in enumerate(first)]
    usage = {"prompt_tokens": 1500, "completion_tokens": 300, "prompt_tokens_details": {"cached_tokens": 0}}
    turns = cycle(replies)  # each reply belongs to its request, so that the check finds what it looks for
    for batch in batches:
        batch.state = "open"
        BatchLedger(vault).save(batch)
        with (folder / batch.file).open("rb") as requests, (folder / f"{batch.number}-results").open("wb") as file:
            for line in requests:
                message = {"role": "assistant", "content": next(turns)}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                body = {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}
                response = {"status_code": 200, "request_id": "r", "body": body}
                entry = {"id": "b", "custom_id": orjson.loads(line)["custom_id"], "response": response, "error": None}
                file.write(orjson.dumps(entry) + b"\n")


def _taken(teacher: OpenAITeacher, folder: Path, batches: list, vault: Vault) -> Iterator[None]:
    collect = BatchCollect(vault, teacher, folder)
    for batch in batches:
        assert collect._store(batch, folder / f"{batch.number}-results") == 0
        collect.ledger.finish(batch, "")
        yield


def pictures(page: Path, folder: Path, count: int) -> None:
    """Pictures of 12 megapixels packed."""
    made = job(page)
    first = [entry.request for entry in made.plan()]
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (75, 100, 3), dtype=np.uint8)).resize((4000, 3000), Image.Resampling.BICUBIC)
    coarse.save(folder / "eye.jpg", quality=92)
    with Vault(folder) as vault:
        pack = packing(made, vault)
        taken = seconds(pack.files(entries(first, count, [folder / "eye.jpg"]), folder, "{}.jsonl"))
    size = (folder / "eye.jpg").stat().st_size / 1e6
    print(f"pictures: {count / taken:.1f} JPEGs of 12 megapixels ({size:.1f} MB) packed per second on {os.cpu_count()} cores")


def memory(page: Path, count: int) -> None:
    """Peak memory of packing and taking in, in a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        arguments = [sys.executable, __file__, "memory", str(page), place, str(count)]
        done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    print(f"memory: {done.stdout.strip()} MiB at its peak, packing and unpacking {count:,} requests")


def _memory(page: Path, folder: Path, count: int) -> None:
    made = job(page)
    first = [entry.request for entry in made.plan()]
    short = [replace(request, system="Write a conversation.") for request in first]
    with Vault(folder) as vault:
        batches = list(packing(made, vault).files(entries(short, count), folder, "{}.jsonl"))
        results(made.teacher, first, folder, batches, vault)
        for _ in _taken(made.teacher, folder, batches, vault):
            pass
        for _ in packing(made, vault).files(entries(short, count), folder, "{}.jsonl"):
            pass
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == 'darwin' else 2**10):.0f}")


def main(page: Path) -> None:
    """Runs everything, over the dataset of a page."""
    for part, count in ((texts, size(20_000, 100)), (pictures, size(100, 2))):
        with tempfile.TemporaryDirectory() as place:
            subprocess.run([sys.executable, __file__, part.__name__, str(page), place, str(count)], check=True)
    for count in (size(10_000, 100), size(200_000, 200)):
        memory(page, count)


if __name__ == "__main__":
    PARTS = {"texts": texts, "pictures": pictures, "memory": _memory}
    PARTS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
