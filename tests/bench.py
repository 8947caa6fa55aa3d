"""`make bench`: how fast and how lean, as ratios measured in one run on this machine. Nothing here passes or fails."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench_batch
import bench_check
import bench_review
from bench_size import size
from PIL import Image

from retinal_lib.ask.vault import Vault
from retinal_lib.dataset import measurements

HERE = Path(__file__).resolve().parent
LATENCY, SLOW = 0.2, 2.0  # seconds: far faster than any language model answers, and about as fast as one does
ANSWER = """User: What kind of picture is this?
Assistant: This is a colour fundus photograph [i1].
User: Is any disease graded?
Assistant: Diabetic retinopathy is graded {d1.grade} on the {d1.scale}.
User: What was measured?
Assistant: Two values were measured: {v1} and {v2}."""

SERVER = """
import asyncio, sys
from aiohttp import web
body = sys.argv[1].encode()
async def answer(request):
    await request.read()
    await asyncio.sleep(float(sys.argv[2]))
    return web.Response(body=body, content_type="application/json")
async def main():
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def own_dataset(folder: Path, count: int) -> Path:
    """A plain table of `count` tiny pictures with AutoMorph's 72 measurements each."""

    folder.mkdir(parents=True)
    names = [f"eye{i:06d}" for i in range(count)]
    Image.new("RGB", (4, 4)).save(folder / "first.png")
    picture = (folder / "first.png").read_bytes()
    (folder / "first.png").unlink()
    for name in names:
        (folder / f"{name}.png").write_bytes(picture + name.encode())  # equal files would be one picture
    (folder / "page.yaml").write_text(PAGE, encoding="utf-8")
    (folder / "labels.csv").write_text(
        "image,grade\n" + "".join(f"{n},{i % 5}\n" for i, n in enumerate(names)), encoding="utf-8"
    )
    known = [f for f in measurements.features() if f.column not in measurements.SPEC["extra"]]
    middle = [(max(f.low, 0) + min(f.high, f.low + 2 if f.low >= 0 else 2)) / 2 if f.unit != "µm" else 150.0 for f in known]
    middle = [1700.0 if f.column in ("Disc_height", "Disc_width") else v for f, v in zip(known, middle, strict=True)]
    (folder / "Results" / "M3").mkdir(parents=True)
    rows = ["Name," + ",".join(f.column for f in known)]
    at = {f.column: place for place, f in enumerate(known)}
    ratios = [(f"CDR_{a}", f"Cup_{b}", f"Disc_{b}") for a, b in (("vertical", "height"), ("horizontal", "width"))]
    ratios += [(name, name.replace("AVR", "CRAE"), name.replace("AVR", "CRVE")) for name in at if name.startswith("AVR")]
    for ratio, above, below in ratios:  # rows that break their own arithmetic are not told
        middle[at[ratio]] = middle[at[above]] / middle[at[below]]
    for name in (name for name in at if "Vessel_density" in name):
        middle[at[name]] = 0.08 / (
            1 + (name[0] in "AV" and not name.startswith("Vessel")) + 2 * ("_zone_b" in name) + ("_zone_c" in name)
        )
    for name in (name for name in at if name.endswith("_zone_c") and not name.startswith("AVR") and "density" not in name):
        middle[at[name]] *= 1.01  # zones that are equal cell for cell are not told
    scaled = [f.column not in {ratio for ratio, _, _ in ratios} for f in known]
    for i, n in enumerate(names):
        rows.append(f"{n}.png," + ",".join(f"{v * (1 + i % 97 / 1000 * s):.6f}" for v, s in zip(middle, scaled, strict=True)))
    (folder / "Results" / "M3" / "Macular_Features.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "page.yaml"


PAGE = """
name: bench
title: bench
may_send: 'yes'
modality: colour fundus photograph
image: '^eye\\d+$'
splits: {all: {images: ['*'], tables: [labels.csv]}}
key: image
facts:
  - grade: {column: grade, scale: ICDR}
  - automorph
"""


def descriptions(folder: Path) -> None:
    """Descriptions of the 45 reliable measurements per second in one process."""
    from retinal_lib import load_dataset

    data = load_dataset(str(folder / "page.yaml"), folder)
    images = data.images
    assert data.get_description(images[0]).count(";") >= 44, "45 measurements are told"
    start = time.perf_counter()
    for image in images:
        data.get_description(image)
    taken = time.perf_counter() - start
    print(f"descriptions of 45 measurements: {len(images) / taken:,.0f} per second ({len(images):,} images)")


def packed(folder: Path) -> None:
    """Requests made ready per second: description, prompt and key."""
    from retinal_lib import Job

    os.environ["OPENAI_BASE_URL"] = "http://127.0.0.1:9/v1"
    job = Job.load(
        dataset=str(folder / "page.yaml"), data_root=str(folder), teacher="openai", model="m", out_dir=str(folder / "run")
    )
    start = time.perf_counter()
    count = sum(1 for entry in job.plan() if entry.request.key(job.teacher.identity))
    print(f"requests packed: {count / (time.perf_counter() - start):,.0f} per second")


def bare(url: str, messages: list[list[dict]], in_flight: int) -> float:
    """Seconds that a bare loop over the same SDK and transport takes."""
    import openai

    async def loop() -> float:
        client = openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=openai.DefaultAioHttpClient())
        todo = iter(messages)

        async def work() -> None:
            for message in todo:
                await client.chat.completions.with_raw_response.create(model="m", messages=message)

        await client.chat.completions.create(model="m", messages=messages[0])
        start = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(in_flight)))
        taken = time.perf_counter() - start
        await client.close()
        return taken

    return asyncio.run(loop())


def direct(folder: Path, url: str, in_flight: int, count: int, latency: float) -> None:
    """A whole run against a server with latency, as a share of the ideal and of the bare loop."""
    from retinal_lib import Job

    os.environ["OPENAI_BASE_URL"] = url
    out = folder / f"direct-{in_flight}-{latency}"
    job = Job.load(
        dataset=str(folder / "page.yaml"),
        data_root=str(folder),
        teacher="openai",
        model="m",
        concurrency=in_flight,
        limit=count,
        out_dir=str(out),
    )
    messages = [
        [{"role": "system", "content": e.request.system}, {"role": "user", "content": e.request.message}] for e in job.plan()
    ]
    alone = bare(url, messages, in_flight)
    del messages
    start = time.perf_counter()
    outcome = job.run()
    taken = time.perf_counter() - start
    assert outcome.counts["accepted"] == count
    with Vault(out) as vault:
        assert next(vault.rows("SELECT count(*) FROM replies"))[0] == count, "each image is asked once, as in the bare loop"
    ideal = count * latency / in_flight
    print(
        f"direct, {in_flight} in flight, {count} requests of {latency:g} s: {ideal / taken:.2f} of the ideal; the bare loop "
        f"reaches {ideal / alone:.2f}; ratio {alone / taken:.2f}"
    )


def served(folder: Path, body: str, in_flight: int, count: int, latency: float) -> None:
    """Measures direct mode against a server of this latency, each in a process of its own."""
    command = [sys.executable, "-c", SERVER, body, str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
            arguments = ["direct", str(folder), url, str(in_flight), str(count), str(latency)]
            subprocess.run([sys.executable, __file__, *arguments], check=True)
        finally:
            server.kill()


def offline_run(folder: Path, count: int) -> tuple[float, float]:
    """Prints speed and memory of an offline run, in a process of its own; returns its processor seconds and its peak in MiB."""
    code = (
        "import resource, sys, time; from retinal_lib import Job\n"
        "job = Job.load(dataset=sys.argv[1], data_root=sys.argv[2], out_dir=sys.argv[3])\n"
        "before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()\n"
        "job.run()\n"
        "print(time.process_time() - start, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    arguments = [str(folder / "page.yaml"), str(folder), str(folder / "memory")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    taken, *memory = map(float, done.stdout.split()[-3:])
    before, peak = (size / (2**20 if sys.platform == "darwin" else 2**10) for size in memory)
    print(
        f"offline run of {count:,} images: {count / taken:,.0f} per second on one core; memory {before:.0f} MiB with the "
        f"tables read, {peak:.0f} MiB at its peak"
    )
    return taken, peak


def offline(few: tuple[Path, int], many: tuple[Path, int]) -> None:
    """Offline runs of two sizes: what each further image costs."""
    (short, low), (long, high) = offline_run(*few), offline_run(*many)
    more = many[1] - few[1]
    print(
        f"each image beyond {few[1]:,}: {more / (long - short):,.0f} per second, {(high - low) * 1024 / more:.1f} KiB of memory"
    )


def main() -> None:
    """Runs everything."""
    body = json.dumps({"choices": [{"message": {"content": ANSWER}, "finish_reason": "stop"}], "usage": {}})
    with tempfile.TemporaryDirectory() as place:
        small, large = Path(place) / "small", Path(place) / "large"
        own_dataset(small, size(5000, 100))
        own_dataset(large, size(20000, 200))
        descriptions(large)
        packed(small)
        for in_flight, count, latency in (
            (10, size(500, 50), LATENCY),
            (100, size(4000, 100), LATENCY),
            (100, size(1000, 100), SLOW),
        ):
            served(small, body, in_flight, count, latency)
        offline((small, size(5000, 100)), (large, size(20000, 200)))
        bench_batch.main(small / "page.yaml")
    bench_check.main()
    bench_review.main()


if __name__ == "__main__":
    if sys.argv[1:2] == ["direct"]:
        direct(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6]))
    else:
        main()
