"""Accuracy on few-shot tasks: each video is encoded once, then thousands of tasks are matched from that."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import islice
from typing import Literal, TypeVar

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from openfsar.data.dataset import VideoDataset
from openfsar.data.episodes import EpisodePlan, EpisodeSampler
from openfsar.encoders.trainable import count_parameters
from openfsar.engine.live import bar
from openfsar.engine.metrics import class_accuracy, confusion_matrix, episode_accuracy, mean_interval
from openfsar.episode import FrameFeatures, Record, SupportSet, Task
from openfsar.methods.base import FewShotMethod

VIDEOS_PER_BATCH = 16
EPISODES_PER_BATCH = 32
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


@dataclass(frozen=True, eq=False)
class Result:
    """What an evaluation found, and all it takes to repeat it. Accuracies are fractions, 0..1."""

    method: str
    encoder: str
    data: str
    split: str
    way: int
    shot: int
    query: int
    episodes: int
    seed: int
    protocol: str
    """"cached": each video's frames are fixed and encoded once; "paper": drawn anew for every episode."""
    transductive: bool
    """Whether queries of an episode could see each other; such numbers stand apart from the others."""
    accuracy: float
    interval: float
    """Half width of the 95 % confidence interval over episodes."""
    per_class: dict[str, float]
    """Accuracy by class name; classes that no episode asked for are absent."""
    classes: tuple[str, ...]
    confusion: Int[Tensor, "A A"]
    """Queries of each class (row) that were given each name (column)."""
    episode_hash: str
    """Digest of the episode list: equal hashes mean equal tasks."""
    trainable: int
    """Parameters of the method that train."""
    encodes: int
    """Videos that passed the encoder."""
    seconds_encode: float
    """Decoding included."""
    seconds_match: float

    def to_json(self) -> str:
        """The text that ``from_json`` reads back."""
        return json.dumps(asdict(self) | {"confusion": self.confusion.tolist()})

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """The inverse of ``to_json``."""
        values = {field.name: json.loads(text)[field.name] for field in fields(cls)}
        lists = {"confusion": torch.tensor(values["confusion"]), "classes": tuple(values["classes"])}
        return cls(**values | lists)


def evaluate(
    method: FewShotMethod,
    dataset: VideoDataset,
    *,
    way: int = 5,
    shot: int = 1,
    query: int = 1,
    episodes: int = 10_000,
    seed: int = 0,
    protocol: Literal["cached", "paper"] = "cached",
    batch: int = VIDEOS_PER_BATCH,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> Result:
    """Mean accuracy over random few-shot tasks, with its 95 % interval.

    Args:
        dataset: The classes to draw tasks from, none of which the method was trained on.
        way: Classes per task.
        shot: Support videos per class.
        query: Query videos per class.
        seed: The same seed draws the same tasks.
        protocol: "cached" encodes each video once per role. "paper" draws frames anew for every task, as the
            published code does: some hundred times slower, for comparison only.
        batch: Videos in one pass of the encoder.
        device: Where to compute; by default the accelerator, if any. The method returns to where it was.
        progress: Show a bar with the time left.

    Raises:
        ValueError: if the data set has too few classes or videos for such tasks, or ``episodes`` is below 2.
        VideoError: if a video cannot be read.
    """
    plan = EpisodeSampler.of(dataset, way=way, shot=shot, query=query, seed=seed).plan(episodes)
    with evaluating(method, device), bar(progress) as display:
        if protocol == "cached":
            began = time.perf_counter()
            total = display.add_task("encoding videos", total=len(dataset))
            bank = encode_dataset(method, dataset, batch=batch, advance=lambda n: display.advance(total, n))
            encodes = len(dataset) * (1 if bank.query is bank.support else 2)
            encoded = time.perf_counter()
            total = display.add_task("matching episodes", total=episodes)
            predictions = match(method, bank, plan, advance=lambda n: display.advance(total, n))
            seconds = encoded - began, time.perf_counter() - encoded
        else:
            total = display.add_task("encoding and matching", total=episodes)
            drawn = dataset.at(train=True, random_crops=False, seed=seed)
            predictions, seconds = _match_resampled(
                method, drawn, plan, batch, advance=lambda n: display.advance(total, n)
            )
            encodes = plan.support.numel() + plan.query.numel()
    return _result(
        method, dataset, plan, predictions, seed=seed, protocol=protocol, encodes=encodes, seconds=seconds
    )


def encode_dataset(
    method: FewShotMethod,
    dataset: VideoDataset,
    *,
    batch: int = VIDEOS_PER_BATCH,
    advance: Callable[[int], object] = lambda n: None,
) -> FeatureBank:
    """Decode each video once and encode it once per role, without gradient; features in float32 at least.

    The bank stays where the method is and takes ``4 V T D`` bytes (39 MB for 2,400 videos of 8 x 512), twice
    that where the method reads the names of support videos.
    """
    text = method.text(dataset.classes)
    reads = text if method.support_reads_text else None
    queries, supports = [], []
    with torch.inference_mode():
        for rows, clips in batches(method, dataset, [(v,) for v in range(len(dataset))], batch):
            queries.append(_encode(method, clips, None))
            if reads is not None:
                labels = torch.tensor([int(dataset.labels[row[0]]) for row in rows], device=reads.device)
                supports.append(_encode(method, clips, reads[labels]))
            advance(len(rows))
        query = type(queries[0]).cat(queries)
        support = type(supports[0]).cat(supports) if supports else query
    return FeatureBank(query, support, text)


def match(
    method: FewShotMethod,
    bank: FeatureBank,
    plan: EpisodePlan,
    batch: int = EPISODES_PER_BATCH,
    *,
    advance: Callable[[int], object] = lambda n: None,
) -> Int[Tensor, "E Q"]:
    """The class, 0..way-1, that each query of each episode is nearest to; queries ordered by class."""
    predictions = []
    for query, task in tasks(method, bank, plan, batch):
        with torch.inference_mode():
            predictions.append(method.score(query, task).argmax(-1))
        advance(len(query))
    return torch.cat(predictions).cpu()


def tasks(
    method: FewShotMethod, bank: FeatureBank, plan: EpisodePlan, batch: int = EPISODES_PER_BATCH
) -> Iterator[tuple[FrameFeatures, Task]]:
    """What ``score`` takes, for ``batch`` episodes at a time, gathered from the bank.

    An episode takes ``4 T D (S + Q)`` bytes of gathered features (160 kB for 5-way 1-shot with one query per
    class, 8 x 512) and what the method's ``score`` needs, for a frame matcher a few times ``4 Q S T U`` (6
    kB).
    """
    way, shot = plan.support.shape[1:]
    device = bank.query.frames.device
    labels = torch.arange(way, device=device).repeat_interleave(shot)
    for start in range(0, len(plan), batch):
        part = plan[start : start + batch]
        with torch.inference_mode():
            support = bank.support[part.support.flatten(1).to(device)]
            text = None if bank.text is None else bank.text[part.classes.to(bank.text.device)]
            task = method.prepare(SupportSet(support, labels.expand(len(part), -1), way, text))
            query = bank.query[part.query.flatten(1).to(device)]
        yield query, task


def _match_resampled(
    method: FewShotMethod,
    dataset: VideoDataset,
    plan: EpisodePlan,
    batch: int,
    advance: Callable[[int], object],
) -> tuple[Int[Tensor, "E Q"], tuple[float, float]]:
    """Predictions with the frames of every episode drawn by its number; seconds to encode and to match."""
    text = method.text(dataset.classes)
    predictions, encoding, matching = [], 0.0, 0.0
    size = max(1, batch // plan.support[0].numel())  # episodes at a time
    with torch.inference_mode():
        for start in range(0, len(plan), size):
            part = plan[start : start + size]
            began = time.perf_counter()
            support, query = (
                _encode_drawn(method, dataset, videos, start, batch, text if reads else None)
                for videos, reads in ((part.support, method.support_reads_text), (part.query, False))
            )
            encoded = time.perf_counter()
            rows = EpisodePlan(
                part.classes, *(torch.arange(x.numel()).view_as(x) for x in (part.support, part.query))
            )
            predictions.append(match(method, FeatureBank(query, support, text), rows))
            encoding, matching = encoding + encoded - began, matching + time.perf_counter() - encoded
            advance(len(part))
    return torch.cat(predictions), (encoding, matching)


def _encode_drawn(
    method: FewShotMethod,
    dataset: VideoDataset,
    videos: Int[Tensor, "E N K"],
    first: int,
    batch: int,
    text: Float[Tensor, "A D"] | None,
) -> FrameFeatures:
    """The videos of episodes ``first``, ``first + 1``, … in one row; the episode decides the frames."""
    items = [(v, first + e) for e, episode in enumerate(videos.flatten(1).tolist()) for v in episode]
    parts = []
    for rows, clips in batches(method, dataset, items, batch):
        labels = [int(dataset.labels[row[0]]) for row in rows]
        parts.append(_encode(method, clips, None if text is None else text[labels]))
    return type(parts[0]).cat(parts)


def _encode(
    method: FewShotMethod, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None
) -> FrameFeatures:
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


def _result(
    method: FewShotMethod,
    dataset: VideoDataset,
    plan: EpisodePlan,
    predictions: Int[Tensor, "E Q"],
    *,
    seed: int,
    protocol: str,
    encodes: int,
    seconds: tuple[float, float],
) -> Result:
    way, shot = plan.support.shape[1:]
    query = plan.query.shape[2]
    spec = getattr(method, "spec", None)  # a method of the user's own may have none
    asked = torch.arange(way).repeat_interleave(query)
    accuracy, interval = mean_interval(episode_accuracy(predictions == asked))
    truth = plan.classes[:, asked].flatten()
    named = plan.classes.gather(1, predictions).flatten()
    confusion = confusion_matrix(truth, named, len(dataset.classes))
    shares = dict(zip(dataset.classes, class_accuracy(confusion).tolist(), strict=True))
    return Result(
        method=spec.method if spec else type(method).__name__,
        encoder=method.encoder.name,
        data=dataset.name,
        split=dataset.split,
        way=way,
        shot=shot,
        query=query,
        episodes=len(plan),
        seed=seed,
        protocol=protocol,
        transductive=method.transductive,
        accuracy=accuracy,
        interval=interval,
        per_class={name: share for name, share in shares.items() if share == share},
        classes=tuple(dataset.classes),
        confusion=confusion,
        episode_hash=plan.digest,
        trainable=count_parameters(method).trainable,
        encodes=encodes,
        seconds_encode=seconds[0],
        seconds_match=seconds[1],
    )
