"""One kind of work on many things, by helper processes: for work that holds the interpreter, of which threads do no more."""

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from queue import SimpleQueue
from typing import TypeVar

from retinal_lib.errors import UserError
from retinal_lib.paths import PACKAGE

Item, Result = TypeVar("Item"), TypeVar("Result")
_CODE = "import sys; sys.path[:] = sys.argv[1:]; from retinal_lib.explore import spread; spread.serve()"

# glibc gives large blocks back at once; to ask for them again for each picture costs half as much as the work itself
_KEEP = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 28)}


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[tuple[Item, Result]]:
    """Each item with what `work` makes of it, in the order of the items, few of them at a time. One worker is this process
    itself; more are processes of their own, for which `work` (from a module, not a script or notebook), items and results
    must be picklable. What `work` raises is
    raised here. UserError: a helper process ended by itself, as where memory is short."""
    if workers < 2:
        yield from ((item, work(item)) for item in items)
        return
    with ExitStack() as stack:
        free: SimpleQueue[_Helper] = SimpleQueue()
        for _ in range(workers):
            helper = _Helper(work)
            stack.callback(helper.close)
            free.put(helper)
        pool = ThreadPoolExecutor(workers)  # a thread waits for each helper
        stack.callback(pool.shutdown, cancel_futures=True)
        waiting: deque = deque()
        for item in items:
            waiting.append((item, pool.submit(_ask, free, item)))
            if len(waiting) > 2 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        yield from ((item, future.result()) for item, future in waiting)


def _ask(free: "SimpleQueue[_Helper]", item: Item) -> Result:
    helper = free.get()
    try:
        return helper.ask(item)
    finally:
        free.put(helper)


class _Helper:
    """A process that does the work. It begins afresh, so that neither threads nor the caller's script reach into it."""

    def __init__(self, work: Callable):
        command = [sys.executable, "-c", _CODE, str(PACKAGE.parent), *sys.path]
        pipe = subprocess.PIPE
        environment = os.environ | _KEEP
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment)
        self._first: list[object] = [work]

    def ask(self, item: object) -> object:
        """What the work makes of an item."""
        try:
            for thing in (*self._first, item):
                pickle.dump(thing, self._process.stdin)
            self._process.stdin.flush()
            self._first = []
            done, result = pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise UserError(f"a helper process ended by itself (exit code {self._process.wait()}); run again") from error
        if not done:
            raise result
        return result

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        with suppress(OSError):  # it may have ended with something unsent
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def serve() -> None:
    """A helper's life: the work first, then items, each answered by (True, result) or (False, what was raised)."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the work may print is no answer
    work = pickle.load(sys.stdin.buffer)
    while True:
        try:
            item = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = (True, work(item))
        except Exception as error:  # noqa: BLE001 - raised again where the work was asked for
            answer = (False, error)
        pickle.dump(answer, answers)
        answers.flush()
