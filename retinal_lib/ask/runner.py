"""What the ways of carrying out a run have in common: what they take, what they tell meanwhile, and what they return."""

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
    """One image of a plan: its state so far, and the request where it is to be asked for."""

    row: ImageState
    request: Request | None = None

    def set_key(self, identity: dict) -> bool:
        """Gives the row the key of its request to a teacher. False where there is none, or its picture cannot be read: the
        image has then failed."""
        if self.request is None:
            return False
        try:
            self.row.key = self.request.key(identity)
        except UserError as error:
            self.row.state, self.row.reason = "failed", str(error)
            return False
        return True


Plan = Callable[[], Iterator[PlannedImage]]  # gives every chosen image in order, anew each time it is called


class Progress(NamedTuple):
    """How far a run is: images that have a state, and what it is waiting for."""

    done: int
    note: str = ""


class UnknownAnswer(NamedTuple):
    """An answer that belongs to no request of this run, and where it was found."""

    custom_id: str
    file: str  # or the batch
    line: int


class Change(NamedTuple):
    """An image whose state is another than before."""

    id: str
    image: str
    before: str
    after: str
    why: str


@dataclass(frozen=True)
class RunResult:
    """What a run did, beside the states of images, which the vault keeps."""

    asked: int = 0  # requests sent
    stopped: str = ""  # why no more were sent
    over_budget: str = ""  # why the budget lets nothing more be asked
    no_result: str = ""  # why no image got an answer, where the user can do something about it
    problems: tuple[str, ...] = ()  # what kept batches from being fetched
    unknown: tuple[UnknownAnswer, ...] = ()
    unreadable: tuple[str, ...] = ()  # lines of result files that tell nothing
    notes: tuple[str, ...] = ()  # sentences for the user
    changes: tuple[Change, ...] = ()  # of a run that only checks again
    to_ask: Estimate | None = None  # what the requests that were not sent would take


class Runner(Protocol):
    """Carries out a run in one of the modes."""

    @property
    def progress(self) -> Progress:
        """How far it is; may be read from another thread."""

    async def run(self, plan: Plan) -> RunResult:
        """Gives every image of the plan a state in the vault. UserError: the vault or a file cannot be written."""


async def in_thread(work: Callable[[], T], stop: Callable[[], None] = lambda: None) -> T:
    """Runs work in a thread. Where the run is interrupted, calls `stop` and waits for the work's end, since the vault is
    closed next."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([task])
        raise
