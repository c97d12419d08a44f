"""Work that takes longer than a request: it waits its turn, tells how far it is, and can be stopped."""

import asyncio
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from openfsar.serve.metrics import Metrics
from openfsar.serve.problems import Problem, unforeseen
from openfsar.serve.records import JobRecord
from openfsar.timeline import Timeline

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]
Report: TypeAlias = Callable[[float], None]
"""Called by the work with the share that is done, 0..1; raises ``Cancelled`` where it is to stop."""


Work: TypeAlias = Callable[[Report], Timeline]

KEPT = 20
"""Timeline jobs that are remembered, however young."""


class Cancelled(Exception):
    """Nobody wants the result any more."""


@dataclass
class Job:
    """One piece of work and what has become of it."""

    name: str
    """Of the file it is about."""
    work: Work
    release: Callable[[], None]
    """Called once, when the file is no longer needed."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    state: State = "queued"
    progress: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    result: Timeline | None = None
    problem: Problem | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> Timeline:
        """In a thread of its own."""
        self.report(0.0)
        self.state, self.started = "running", time.monotonic()
        return self.work(self.report)

    def report(self, share: float) -> None:
        if self.stop.is_set():
            raise Cancelled
        self.progress = min(1.0, max(self.progress, share))

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed", "cancelled")


class Jobs:
    """A bounded queue that works on one job at a time.

    Args:
        queued: jobs that may wait.
        kept_seconds: how long a finished job is remembered.
    """

    def __init__(self, *, queued: int, kept_seconds: float, metrics: Metrics) -> None:
        self.queued, self.kept_seconds, self.metrics = queued, kept_seconds, metrics
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="timeline")

    def check_room(self) -> None:
        """Refuse before a long upload what could not be queued after it."""
        unfinished = sum(not job.over for job in self._jobs.values())
        if unfinished > self.queued:
            raise Problem(
                429,
                "too many timelines",
                f"{unfinished} are not finished",
                allowed=f"one at work and {self.queued} waiting",
                remedy="try again when one is done, or cancel one",
                headers={"Retry-After": "30"},
            )

    def submit(self, job: Job) -> Job:
        """Queue a job.

        Raises:
            Problem: The queue is full.
        """
        self.check_room()
        self._forget()
        self._jobs[job.id] = job
        self._tasks[job.id] = asyncio.create_task(self._run(job))
        self._count()
        return job

    def get(self, key: str) -> Job:
        """A job by its id.

        Raises:
            Problem: There is none, or it has been forgotten.
        """
        self._forget()
        if key not in self._jobs:
            raise Problem(
                404,
                "no such timeline",
                f"there is no timeline {key!r}",
                allowed=f"timelines of the last {self.kept_seconds / 60:g} minutes",
                remedy="send the video again",
            )
        return self._jobs[key]

    def cancel(self, key: str) -> None:
        """Stop a job and forget it."""
        job = self.get(key)
        job.stop.set()
        del self._jobs[key]
        self._count()

    async def close(self) -> None:
        """Stop everything."""
        for job in self._jobs.values():
            job.stop.set()
        await asyncio.gather(*self._tasks.values())
        self._worker.shutdown()

    def record(self, job: Job) -> JobRecord:
        """How far a job is."""
        elapsed = time.monotonic() - job.started
        guess = elapsed * (1 / job.progress - 1) if job.state == "running" and job.progress > 0.02 else None
        before = list(self._jobs.values())
        before = before[: before.index(job)] if job.state == "queued" else []
        return JobRecord(
            id=job.id,
            file=job.name,
            state=job.state,
            progress=1.0 if job.state == "done" else job.progress,
            seconds_left=guess,
            ahead=sum(not other.over for other in before),
            problem=None if job.problem is None else job.problem.record,
        )

    async def _run(self, job: Job) -> None:
        try:
            job.result = await asyncio.get_running_loop().run_in_executor(self._worker, job.run)
            job.state = "done"
        except Cancelled:
            job.state = "cancelled"
        except Problem as problem:
            job.state, job.problem = "failed", problem
        except Exception as error:
            job.state, job.problem = "failed", unforeseen(f"the timeline of {job.name}", error)
        finally:
            job.ended = time.monotonic()
            job.release()
            del self._tasks[job.id]
            self._count()

    def _forget(self) -> None:
        """Drop what has been over for long, and the oldest of too many."""
        over = [job for job in self._jobs.values() if job.over]
        old = [job for job in over if time.monotonic() - job.ended > self.kept_seconds]
        for job in {job.id: job for job in [*old, *over[: max(0, len(over) - KEPT)]]}.values():
            del self._jobs[job.id]
        self._count()

    def _count(self) -> None:
        for state in ("queued", "running", "done", "failed"):
            self.metrics.timelines.labels(state).set(sum(job.state == state for job in self._jobs.values()))
