"""Requests that come at the same time share one pass of the encoder."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Collects what is asked until there is a batch, or nobody else has come for a moment.

    While one batch is worked on the next one gathers: waiting costs time only where the machine idles.

    Args:
        work: answers a batch, one answer per item in order.
        size: most items in a batch.
        wait: seconds to wait for company.
    """

    def __init__(
        self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], *, size: int, wait: float
    ) -> None:
        self.work, self.size, self.wait = work, size, wait
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._come = asyncio.Event()
        self._full = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    async def ask(self, item: Item) -> Answer:
        """The answer to one item; raises what ``work`` raised over it."""
        if self._loop is None:
            self._loop = asyncio.create_task(self._run())
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._come.set()
        if len(self._waiting) >= self.size:
            self._full.set()
        return await future

    async def close(self) -> None:
        """Stop; whoever still waits is told."""
        if self._loop is not None:
            self._loop.cancel()
        for _, future in self._waiting:
            future.cancel()

    async def _run(self) -> None:
        while True:
            await self._come.wait()
            try:
                await asyncio.wait_for(self._full.wait(), self.wait)
            except asyncio.TimeoutError:
                pass
            batch = [self._waiting.popleft() for _ in range(min(self.size, len(self._waiting)))]
            if not self._waiting:
                self._come.clear()
            if len(self._waiting) < self.size:
                self._full.clear()
            # Whoever has gone away in the meantime needs no answer.
            batch = [(item, future) for item, future in batch if not future.done()]
            await self._answer(batch)

    async def _answer(self, batch: list[tuple[Item, "asyncio.Future[Answer]"]]) -> None:
        """Hand out the answers; a batch that fails is tried again one by one, to find whose fault it is."""
        if not batch:
            return
        try:
            answers = await self.work([item for item, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                if not batch[0][1].done():
                    batch[0][1].set_exception(error)
                return
            for one in batch:
                await self._answer([one])
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
