"""What all modes of a run share: the plan they take, the progress they show, and the result they return."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from retinal_lib.ask.vault import ImageState
from retinal_lib.errors import UserError
from retinal_lib.teacher.cost import Estimate
from retinal_lib.teacher.teachers import Request

T = TypeVar("T")


@dataclass(frozen=True)
class PlannedImage:
    """One image of a plan: its state so far, and the request, if it needs one."""

    row: ImageState
    request: Request | None = None

    def set_key(self, identity: dict) -> bool:
        """Sets the row's key to that of its request; returns False where there is no request, or its picture cannot be read, so
        that the image has failed."""
        if self.request is None:
            return False
        try:
            self.row.key = self.request.key(identity)
        except UserError as error:
            self.row.state, self.row.reason = "failed", str(error)
            return False
        return True


Plan = Callable[[], Iterator[PlannedImage]]  # yields every selected image in order, from the first each time it is called


class Progress(NamedTuple):
    """The progress of a run: how many images have a state, and what it is waiting for."""

    done: int
    note: str = ""


class UnknownAnswer(NamedTuple):
    """An answer that belongs to no request of this run, and where it stands."""

    custom_id: str
    file: str  # or the batch
    line: int


class Change(NamedTuple):
    """An image whose state changed."""

    id: str
    image: str
    before: str
    after: str
    why: str


@dataclass(frozen=True)
class RunResult:
    """The result of a run, besides the states of images, which are in the vault."""

    asked: int = 0  # requests sent
    stopped: str = ""  # why no more were sent
    over_budget: str = ""  # why the budget allows no more requests
    no_result: str = ""  # why no image got an answer, where the user can do something about it
    problems: tuple[str, ...] = ()  # why some batches could not be fetched
    unknown: tuple[UnknownAnswer, ...] = ()
    failed_results: tuple[str, ...] = ()  # sentences on results that are errors instead of answers
    unreadable: tuple[str, ...] = ()  # lines of result files that hold no answer
    several: int = 0  # requests with answers that differ
    notes: tuple[str, ...] = ()  # sentences for the user
    changes: tuple[Change, ...] = ()  # of mode recheck
    to_ask: Estimate | None = None  # the tokens and cost of requests that were not sent


class Runner(Protocol):
    """One of the modes of a run."""

    @property
    def progress(self) -> Progress:
        """The progress so far; may be read from another thread."""

    async def run(self, plan: Plan) -> RunResult:
        """Gives every image of the plan a state in the vault. UserError: the vault or a file cannot be written."""


async def in_thread(work: Callable[[], T], stop: Callable[[], None] = lambda: None) -> T:
    """Runs work in a thread. Where the run is interrupted, calls `stop` and waits until the work has ended, since the vault is
    closed next."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([task])
        raise
