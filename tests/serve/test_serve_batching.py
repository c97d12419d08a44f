"""Requests that come together share the encoder; one that fails spoils no other."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from plain import files, fresh, service, teach

from openfsar.serve.batcher import Batcher


class Slow:
    """Answers with the item's square, after a gate has opened; fails over negative ones."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        await self.gate.wait()
        if min(items) < 0:
            raise ValueError(f"{min(items)} is negative")
        return [item * item for item in items]


def test_what_comes_while_a_batch_is_worked_on_shares_the_next() -> None:
    async def story() -> None:
        work = Slow()
        batcher = Batcher(work, size=4, wait=0.01)
        first = asyncio.create_task(batcher.ask(1))
        await asyncio.sleep(0.05)
        assert work.batches == [[1]]  # alone, after a moment
        rest = [asyncio.create_task(batcher.ask(item)) for item in range(2, 9)]
        await asyncio.sleep(0.05)
        assert work.batches == [[1]]  # one batch at a time
        work.gate.set()
        assert await asyncio.gather(first, *rest) == [item * item for item in range(1, 9)]
        assert work.batches == [[1], [2, 3, 4, 5], [6, 7, 8]]
        await batcher.close()

    asyncio.run(story())


def test_a_full_batch_does_not_wait() -> None:
    async def story() -> None:
        work = Slow()
        work.gate.set()
        batcher = Batcher(work, size=2, wait=60.0)
        answers = asyncio.gather(batcher.ask(2), batcher.ask(3))
        assert await asyncio.wait_for(answers, 5) == [4, 9]
        await batcher.close()

    asyncio.run(story())


def test_the_one_that_fails_is_found_and_the_others_are_answered() -> None:
    async def story() -> None:
        work = Slow()
        work.gate.set()
        batcher = Batcher(work, size=3, wait=0.01)
        found = await asyncio.gather(*(batcher.ask(item) for item in (2, -1, 3)), return_exceptions=True)
        assert found[0] == 4 and found[2] == 9 and isinstance(found[1], ValueError)
        assert work.batches == [[2, -1, 3], [2], [-1], [3]]
        gone = asyncio.create_task(batcher.ask(5))
        await asyncio.sleep(0)
        gone.cancel()  # whoever hangs up is not worked for
        assert await batcher.ask(6) == 36 and work.batches[-1] == [6]
        await batcher.close()

    asyncio.run(story())


def test_concurrent_requests_share_passes_of_the_encoder(
    tmp_path: Path, plain_clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = fresh(batch=8)
    method, batches = classifier.method, []
    encode = method.encode

    def counted(clips: torch.Tensor, text: torch.Tensor | None = None):
        batches.append(len(clips))
        return encode(clips, text)

    monkeypatch.setattr(method, "encode", counted)
    monkeypatch.setattr("openfsar.serve.model.WAIT", 0.5)
    with service(tmp_path, classifier) as client:
        teach(client, plain_clips, "red", "blue")
        assert batches == [2, 2]  # an example costs its own encode and no other
        batches.clear()
        names = ["red2", "blue2", "red3", "blue3", "red2", "blue2", "red3", "blue3"]
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(lambda n: client.post("/api/predict", files=files(plain_clips / f"{n}.mp4")), names)
            )
        labels = [answer.json()["results"][0]["label"] for answer in answers]
        assert labels == ["red", "blue"] * 4
        assert sum(batches) == 8 and len(batches) <= 3
        batches.clear()
        client.post("/api/predict?explain=true", files=files(plain_clips / "red2.mp4"))
        assert batches == [1]
