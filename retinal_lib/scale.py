"""The same work over many machines: answering, mask-to-box and describing by Ray Data's actor pools.

Nothing here needs Ray on one machine: with `workers=1` the work is done in this process. With more, each worker of a pool
loads what it needs once and takes blocks of items; what comes back is written as it comes, and a run that was stopped goes on
where it was. On a cluster, pass `address="auto"` (see the README for Slurm).
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from retinal_lib import display, paths
from retinal_lib.errors import UserError
from retinal_lib.files import json_line, read_jsonl
from retinal_lib.inference import answer_files as answers
from retinal_lib.inference import question_files as questions
from retinal_lib.inference.answer_files import Answered
from retinal_lib.inference.batching import Asked, Options, run

BLOCK = 32  # items that a worker takes at once
Work = Callable[[list[dict]], list[dict]]


# --- what the workers do ------------------------------------------------------------------------------------------------


class Answering:
    """Answers requests with a model that it loads once."""

    def __init__(self, model_name: str, loading: dict, options: dict):
        from retinal_lib.inference.infer import load

        self.model, self.options = load(model_name, loading), Options.of(**options)

    def __call__(self, items: list[dict]) -> list[dict]:
        """Items with id, image and questions to rows with id and answers, or an error."""
        asked = [Asked(item["id"], item["image"], tuple(item["questions"])) for item in items]
        return [
            {"id": key} | ({"error": str(found)} if isinstance(found, UserError) else {"answers": found})
            for key, found in run(self.model, asked, self.options)
        ]


class Boxing:
    """Finds the lesions of masks."""

    def __call__(self, items: list[dict]) -> list[dict]:
        """Items with id and mask to rows with the mask's size and lesions (box, pixels), or an error."""
        return [self._one(item) for item in items]

    def _one(self, item: dict) -> dict:
        from retinal_lib.dataset.lesions import boxes

        try:
            found = boxes.load(Path(item["mask"]))
        except UserError as error:
            return item | {"error": str(error)}
        lesions = [{"box": list(lesion.box), "pixels": lesion.pixels} for lesion in found.lesions]
        return item | {"size": list(found.size), "lesions": lesions}


class Describing:
    """Describes images of a dataset that it reads once."""

    def __init__(self, dataset: str, data_root: str, automorph_root: str | None, split: str | None):
        from retinal_lib.dataset.desc import load_dataset

        self.data = load_dataset(dataset, data_root, automorph_root, split)

    def __call__(self, items: list[dict]) -> list[dict]:
        """Items with id (the image's name) to rows with the sample's id, image and description, or an error."""
        return [self._one(item) for item in items]

    def _one(self, item: dict) -> dict:
        try:
            case = self.data.describe(item["id"])
        except UserError as error:
            return item | {"error": str(error)}
        return item | {"sample": case.id, "image": case.image, "description": case.description}


# --- what users call ----------------------------------------------------------------------------------------------------


def answer(
    model_name: str | Path,
    question_file: str | Path,
    answers_file: str | Path,
    image_folder: str | Path | None = None,
    workers: int = 1,
    gpus: float = 0,
    address: str | None = None,
    loading: dict | None = None,
    **options: object,
) -> Answered:
    """Answers a question file with `workers` copies of a model, each with `gpus` GPUs; files and resuming are as in
    `answers.answer`, and so are the options. `loading` goes to `load_model`, such as {"vision_tower": …}.

    UserError: as there, or Ray is not installed.
    """
    from retinal_lib.inference.infer import identity

    entries = questions.read(question_file, image_folder)
    loading = loading or {}
    stand = SimpleNamespace(identity=identity(str(model_name), loading), noticed={})

    def spread_out(_model: object, asked: Sequence[Asked], chosen: Options) -> Iterator[tuple[object, list[str] | UserError]]:
        items = [{"id": a.key, "image": str(a.image), "questions": list(a.questions)} for a in asked]
        pool = _Pool(Answering, (str(model_name), loading, chosen.given), workers, gpus, address, block=4 * chosen.batch_size)
        for row in pool.rows(items):
            yield row["id"], UserError(row["error"]) if "error" in row else row["answers"]

    return answers.answer(stand, entries, answers_file, ask=spread_out, **options)


def boxes(masks: Sequence[str | Path], out: str | Path, workers: int = 1, address: str | None = None) -> Path:
    """Writes each mask's lesions as a line of JSON, in the order of the masks, and returns the file."""
    items = [{"id": str(path), "mask": str(path)} for path in masks]
    return _written(_Pool(Boxing, (), workers, 0, address), items, Path(out), "masks")


def describe(
    dataset: str,
    data_root: str | Path,
    out: str | Path,
    automorph_root: str | Path | None = None,
    split: str | None = None,
    workers: int = 1,
    address: str | None = None,
) -> Path:
    """Writes the hidden description of each usable image of a dataset as a line of JSON and returns the file."""
    given = (dataset, str(data_root), str(automorph_root) if automorph_root else None, split)
    items = [{"id": name} for name in Describing(*given).data.images]
    return _written(_Pool(Describing, given, workers, 0, address), items, Path(out), "images")


# --- how work is spread -------------------------------------------------------------------------------------------------


class _Pool:
    """Workers of one class, in this process or by Ray."""

    def __init__(self, kind: type, given: tuple, workers: int, gpus: float, address: str | None, block: int = BLOCK):
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise UserError(f"workers is {workers!r}; expected a whole number of at least 1")
        self.kind, self.given, self.workers, self.gpus, self.address, self.block = kind, given, workers, gpus, address, block

    def rows(self, items: Sequence[dict]) -> Iterator[dict]:
        """The rows that workers make of items, as they come."""
        if not items:
            return
        if self.workers == 1 and self.address is None:
            work: Work = self.kind(*self.given)
            for i in range(0, len(items), self.block):
                yield from work(list(items[i : i + self.block]))
            return
        with _ray(self.workers, self.address) as ray:
            # one text column: blocks keep any item as it is
            data = ray.data.from_items(
                [{"item": json.dumps(item)} for item in items], override_num_blocks=self._blocks(len(items))
            )
            made = data.map_batches(
                _Worker,
                fn_constructor_args=(self.kind, self.given),
                batch_size=self.block,
                compute=ray.data.ActorPoolStrategy(size=self.workers),
                num_gpus=self.gpus or None,
            )
            for row in made.iter_rows():
                yield json.loads(row["item"])

    def _blocks(self, count: int) -> int:
        """Enough blocks for every worker, none without items."""
        return max(1, min(count, max(self.workers, -(-count // self.block))))


class _Worker:
    """A worker as Ray Data calls it: a column of JSON in, a column of JSON out."""

    def __init__(self, kind: type, given: tuple):
        self.work: Work = kind(*given)

    def __call__(self, batch: dict) -> dict:
        """A block of items to a block of rows."""
        return {"item": [json.dumps(row) for row in self.work([json.loads(item) for item in batch["item"]])]}


@contextmanager
def _ray(workers: int, address: str | None) -> Iterator[object]:
    """Ray, started here with as many cores as workers, or joined at an address; what was started here is ended."""
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed, which several workers need: pip install -e '.[scale]'; or pass workers=1"
        ) from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported from here
    running = ray.is_initialized()
    if not running:
        here = {} if address else {"num_cpus": workers, "include_dashboard": False}
        ray.init(address=address, logging_level="ERROR", log_to_driver=False, **here)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield ray
    finally:
        if not running:
            ray.shutdown()


def _written(pool: _Pool, items: list[dict], out: Path, unit: str) -> Path:
    """Writes a row for each item, in order; rows that a stopped run left without an error are kept."""
    kept = {row["id"]: row for row in _left(out) if "error" not in row}
    wanted = {item["id"] for item in items}
    done = {key: row for key, row in kept.items() if key in wanted}
    answers.write(out, list(done.values()))
    with out.open("a", encoding="utf-8") as lines, display.Bar(len(items), unit) as bar:
        for row in pool.rows([item for item in items if item["id"] not in done]):
            lines.write(json_line(row) + "\n")
            lines.flush()
            done[row["id"]] = row
            bar.show(len(done))
    return answers.write(out, [done[item["id"]] for item in items])


def _left(out: Path) -> Iterator[dict]:
    """The whole lines of an earlier run. UserError: the file is none of ours."""
    if not out.is_file():
        return
    for number, row in read_jsonl(out, torn_end=True):
        if not isinstance(row, dict) or "id" not in row:
            raise UserError(f"{paths.display_path(out)}, line {number}: expected an object with an id")
        yield row
