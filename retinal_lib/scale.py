"""Answers, lesion boxes and descriptions computed on many cores or machines, by Ray Data's actor pools.

With `workers=1` the work is done in this process, without Ray. With more, each worker of a pool loads its model or dataset
once and takes blocks of items. Results are written as they arrive, and a run that was stopped continues where it stopped.
On a cluster, pass `address="auto"` (for Slurm, see notebooks/README.md).
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from retinal_lib import display, paths
from retinal_lib.errors import UserError
from retinal_lib.files import json_line, read_jsonl, would_replace, write_jsonl
from retinal_lib.inference import answer_files, question_files
from retinal_lib.inference.answer_files import AnswerFile
from retinal_lib.inference.batching import ImageQuestions, Options, answer_in_batches

BLOCK = 32  # items that a worker takes at once
Worker = Callable[[list[dict]], list[dict]]  # from items to rows: one row for each item, with the item's id


# --- what the workers do ------------------------------------------------------------------------------------------------


class AnswerWorker:
    """A worker that answers questions with a model, which it loads once."""

    def __init__(self, model_name: str, loading: dict, options: dict):
        from retinal_lib.inference.loading import load_model

        self.model, self.options = load_model(model_name, **loading), Options.of(**options)

    def __call__(self, items: list[dict]) -> list[dict]:
        """Turns items with id, image and questions into rows with id and answers, or an error."""
        questions = [ImageQuestions(item["id"], item["image"], tuple(item["questions"])) for item in items]
        return [
            {"id": key} | ({"error": str(answers)} if isinstance(answers, UserError) else {"answers": answers})
            for key, answers in answer_in_batches(self.model, questions, self.options)
        ]


class ItemWorker:
    """A worker that treats each item by itself: `row` returns what is added to an item."""

    def __call__(self, items: list[dict]) -> list[dict]:
        """Turns items into rows; where `row` raises a UserError, the row has its text as `error`."""
        rows = []
        for item in items:
            try:
                rows.append(item | self.row(item))
            except UserError as error:
                rows.append(item | {"error": str(error)})
        return rows

    def row(self, item: dict) -> dict:
        """Returns what is added to an item. UserError: the item cannot be used."""
        raise NotImplementedError


class BoxWorker(ItemWorker):
    """A worker that finds the lesions of masks."""

    def row(self, item: dict) -> dict:
        """Returns the size of the item's mask and its lesions (box, pixels)."""
        from retinal_lib.dataset.lesions import boxes

        mask = boxes.load(boxes.MaskFile(Path(item["mask"])))
        lesions = [{"box": list(lesion.box), "pixels": lesion.pixels} for lesion in mask.lesions]
        return {"size": list(mask.size), "lesions": lesions}


class DescriptionWorker(ItemWorker):
    """A worker that describes images of a dataset, which it reads once."""

    def __init__(self, dataset: str, data_root: str, automorph_root: str | None, split: str | None):
        from retinal_lib.dataset.base import load_dataset

        self.data = load_dataset(dataset, data_root, automorph_root, split)

    def row(self, item: dict) -> dict:
        """Returns the sample's id, image and description, for an item whose id is the image's name."""
        case = self.data.describe(item["id"])
        return {"sample": case.id, "image": case.image, "description": case.description}


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
) -> AnswerFile:
    """Answers a question file with `workers` copies of a model, each with `gpus` GPUs.

    Files, options and continuing are as in `inference.answer_files.answer`; `loading` holds arguments for `load_model`,
    such as {"vision_tower": …}. UserError: as there, or Ray is not installed.
    """
    from retinal_lib.inference.loading import SERVER, identity

    entries = question_files.read(question_file, image_folder)
    loading = loading or {}
    model_identity = identity(model_name, loading.get("vision_tower"), loading.get("mm_projector"))
    model = SimpleNamespace(
        identity=model_identity, notes={}, own_defaults=str(model_name).startswith(SERVER)
    )  # the workers load the model itself

    def ask(_: object, images: Sequence[ImageQuestions], chat: Options) -> Iterator[tuple[object, list[str] | UserError]]:
        items = [{"id": i.key, "image": str(i.image), "questions": list(i.questions)} for i in images]
        worker = partial(AnswerWorker, str(model_name), loading, chat.given)
        for row in _rows(worker, items, workers, address, gpus, block=4 * chat.batch_size):
            yield row["id"], UserError(row["error"]) if "error" in row else row["answers"]

    return answer_files.answer(model, entries, answers_file, ask=ask, **options)


def boxes(masks: Sequence[str | Path], out: str | Path, workers: int = 1, address: str | None = None) -> Path:
    """Writes each mask's lesions as a line of JSON, in the order of the masks, and returns the file. A mask that cannot be
    read has an `error` in its line.

    >>> import tempfile
    >>> from PIL import Image
    >>> mask = Image.new("L", (8, 8))
    >>> mask.putpixel((2, 3), 255)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mask.save(f"{folder}/mask.png")
    ...     [(_, row)] = read_jsonl(boxes([f"{folder}/mask.png"], f"{folder}/boxes.jsonl"))
    >>> row["size"], row["lesions"]
    ([8, 8], [{'box': [0.25, 0.375, 0.375, 0.5], 'pixels': 1}])
    """
    items = [{"id": str(path), "mask": str(path)} for path in masks]
    return _write(BoxWorker, items, Path(out), "masks", workers, address)


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
    worker = partial(DescriptionWorker, dataset, str(data_root), str(automorph_root) if automorph_root else None, split)
    items = [{"id": name} for name in worker().data.images]
    return _write(worker, items, Path(out), "images", workers, address)


# --- how work is shared out -------------------------------------------------------------------------------------------------


def _rows(
    make: Callable[[], Worker], items: Sequence[dict], workers: int, address: str | None, gpus: float = 0, block: int = BLOCK
) -> Iterator[dict]:
    """Yields the rows that workers make of items, as they arrive. UserError: `workers` is not a whole number of at least 1."""
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise UserError(f"workers is {workers!r}; expected a whole number of at least 1")
    if not items:
        return
    if workers == 1 and address is None:
        worker = make()
        for i in range(0, len(items), block):
            yield from worker(list(items[i : i + block]))
        return
    blocks = max(1, min(len(items), max(workers, -(-len(items) // block))))  # enough for every worker, none empty
    with _ray(workers, address) as ray:
        # one column of JSON text, since Ray's own columns would need items of one shape
        data = ray.data.from_items([{"item": json.dumps(item)} for item in items], override_num_blocks=blocks)
        pool = ray.data.ActorPoolStrategy(size=workers)
        rows = data.map_batches(_Actor, fn_constructor_args=(make,), batch_size=block, compute=pool, num_gpus=gpus or None)
        for row in rows.iter_rows():
            yield json.loads(row["item"])


class _Actor:
    """A worker as Ray Data calls it: a column of JSON in, a column of JSON out."""

    def __init__(self, make: Callable[[], Worker]):
        self.worker = make()

    def __call__(self, batch: dict) -> dict:
        """Turns a block of items into a block of rows."""
        return {"item": [json.dumps(row) for row in self.worker([json.loads(item) for item in batch["item"]])]}


@contextmanager
def _ray(workers: int, address: str | None) -> Iterator[object]:
    """Yields Ray, started here with as many cores as workers, or joined at an address; a Ray started here is shut down."""
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed; several workers need it: python -m pip install -e '.[scale]'; or pass workers=1"
        ) from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports no usage statistics
    running = ray.is_initialized()
    if not running:
        resources = {} if address else {"num_cpus": workers, "include_dashboard": False}
        ray.init(address=address, logging_level="ERROR", log_to_driver=False, **resources)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield ray
    finally:
        if not running:
            ray.shutdown()


def _write(make: Callable[[], Worker], items: list[dict], out: Path, unit: str, workers: int, address: str | None) -> Path:
    """Writes a row for each item, in order; rows of a stopped run are kept, except those with an error."""
    earlier = {row["id"]: row for row in _earlier_rows(out) if "error" not in row}
    done = {item["id"]: earlier[item["id"]] for item in items if item["id"] in earlier}
    if lost := len(earlier) - len(done):
        raise would_replace(out, f"{display.count(lost, unit[:-1])} that are not among these", "out = ", of_folder=False)
    write_jsonl(out, list(done.values()))
    with out.open("a", encoding="utf-8") as lines, display.Bar(len(items), unit) as bar:
        bar.show(len(done))
        for row in _rows(make, [item for item in items if item["id"] not in done], workers, address):
            lines.write(json_line(row) + "\n")
            lines.flush()
            done[row["id"]] = row
            bar.show(len(done))
    return write_jsonl(out, [done[item["id"]] for item in items])


def _earlier_rows(out: Path) -> Iterator[dict]:
    """Yields the complete lines of an earlier run. UserError: the file was not written by this module."""
    if not out.is_file():
        return
    for number, row in read_jsonl(out, torn_end=True):
        if not isinstance(row, dict) or "id" not in row:
            raise UserError(f"{paths.display_path(out)}, line {number}: expected an object with an id")
        yield row
