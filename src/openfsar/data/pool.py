"""One function over many videos in parallel processes, with time left; a crash costs one video only."""

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from threading import Thread
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

AHEAD = 2
"""Items handed out per worker: enough to keep it busy, few enough to look at one by one after a crash."""


@dataclass(frozen=True)
class Crash:
    """What stands for the outcome of an item that ended its process."""

    reason: str = "ended the process that decoded it (out of memory, or a fault in the decoder); re-encode it"


def in_parallel(
    function: Callable[[Item], Outcome], items: Sequence[Item], *, workers: int, title: str, progress: bool
) -> Generator[tuple[Item, Outcome | Crash], None, None]:
    """Each item with its outcome, in order of completion.

    Args:
        function: importable by name (its processes are started afresh); what it raises is raised here.
        workers: processes; 0 computes in this one.

    Raises:
        RuntimeError: worker processes cannot be started at all.
    """
    outcomes = _here(function, items) if workers == 0 else _in_processes(function, items, workers)
    columns = (
        *Progress.get_default_columns()[:-1],
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not (progress and items)) as bar:
        yield from bar.track(outcomes, total=len(items), description=title)


def _here(function: Callable[[Item], Outcome], items: Iterable[Item]) -> Iterator[tuple[Item, Outcome]]:
    for item in items:
        yield item, function(item)


def _in_processes(
    function: Callable[[Item], Outcome], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Outcome | Crash]]:
    waiting = deque(items)
    while waiting:
        pending: dict[Future[Outcome], Item] = {}
        suspects: list[Item] = []
        with _processes(min(workers, len(waiting))) as pool, suppress(BrokenProcessPool):
            while not suspects and (waiting or pending):
                while waiting and len(pending) < AHEAD * workers:
                    future = pool.submit(function, waiting[0])
                    pending[future] = waiting.popleft()
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    item = pending.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        suspects.append(item)
                    else:
                        yield item, future.result()
        for item in [*suspects, *pending.values()]:
            yield item, _alone(function, item)


def _alone(function: Callable[[Item], Outcome], item: Item) -> Outcome | Crash:
    with _processes(1) as pool:
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            return Crash()


@contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        try:
            pool.submit(os.getpid).result()  # else a failure to start would pass for a broken video
        except BrokenProcessPool as error:
            raise RuntimeError(
                "worker processes cannot start; put the calls of your script under "
                "`if __name__ == '__main__':`, or use workers=0"
            ) from error
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot stop its workers, and they would wait for it for ever."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
