"""Every video of a data set, encoded once per role."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from openfsar.data.dataset import VideoDataset
from openfsar.episode import FrameFeatures, Record
from openfsar.methods.base import FewShotMethod

VIDEOS_PER_BATCH = 16
READERS = 4
"""Threads that decode videos ahead of the encoder."""

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, eq=False, repr=False)
class FeatureBank(Record):
    """Every video of a data set, encoded: row v is video v. Equal roles share one tensor."""

    query: FrameFeatures
    support: FrameFeatures
    text: Float[Tensor, "A D"] | None
    """Features of the class names; None for methods that read no names."""


def encode_dataset(
    method: FewShotMethod,
    dataset: VideoDataset,
    *,
    batch: int = VIDEOS_PER_BATCH,
    advance: Callable[[int], object] = lambda n: None,
) -> FeatureBank:
    """Decode each video once and encode it once per role, without gradient; features in float32 at least.

    The bank stays where the method is and takes ``4 V T D`` bytes (39 MB for 2,400 videos of 8 x 512), twice
    that where the method reads the names of support videos; and with what the method's ``digest`` adds,
    ``DIGEST_BYTES`` of methods/base.py at most.
    """
    text = method.text(dataset.classes)
    reads = text if method.support_reads_text else None
    queries, supports = [], []
    kept = len(dataset) * (1 if reads is None else 2)
    with torch.inference_mode():
        for rows, clips in batches(method, dataset, [(v,) for v in range(len(dataset))], batch):
            queries.append(method.digested(encode(method, clips, None), kept))
            if reads is not None:
                labels = torch.tensor([int(dataset.labels[row[0]]) for row in rows], device=reads.device)
                supports.append(method.digested(encode(method, clips, reads[labels]), kept))
            advance(len(rows))
        query = type(queries[0]).cat(queries)
        support = type(supports[0]).cat(supports) if supports else query
    return FeatureBank(query, support, text)


def encode(
    method: FewShotMethod, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None
) -> FrameFeatures:
    """``method.encode`` in float32 at least."""
    features = method.encode(clips, text)
    return features.map(
        lambda x: x.to(torch.promote_types(x.dtype, torch.float32)) if x.is_floating_point() else x
    )


def batches(
    method: FewShotMethod, dataset: VideoDataset, items: Sequence[tuple[int, ...]], batch: int
) -> Iterator[tuple[Sequence[tuple[int, ...]], UInt8[Tensor, "B T C H W"]]]:
    """Batches of what ``dataset.clip`` takes (video, draw, view), with the clips on the method's device.

    Threads decode ahead.
    """
    device = next(method.parameters()).device
    clips = _ahead(lambda item: dataset.clip(*item).frames, items, limit=2 * batch)
    for start in range(0, len(items), batch):
        rows = items[start : start + batch]
        yield rows, torch.stack(list(islice(clips, len(rows)))).to(device)


def _ahead(function: Callable[[A], B], items: Iterable[A], *, limit: int) -> Iterator[B]:
    """``map`` by threads, in order, at most ``limit`` results ahead of the consumer."""
    with ThreadPoolExecutor(READERS) as pool:
        waiting: deque[Future[B]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= limit:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def evaluating(method: FewShotMethod, device: torch.device | str | None) -> Iterator[None]:
    """Eval mode on ``device``; afterwards every submodule is in the mode and the place it was."""
    modes = {module: module.training for module in method.modules()}
    home = next(method.parameters()).device
    if device is None:
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else home
    try:
        method.to(device).eval()
        yield
    finally:
        method.to(home)
        for module, mode in modes.items():
            module.training = mode
