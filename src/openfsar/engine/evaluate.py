"""Accuracy on few-shot tasks: each video is encoded once, then thousands of tasks are matched from that."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from rich.progress import Progress
from torch import Tensor

from openfsar.data.dataset import VideoDataset
from openfsar.data.episodes import EpisodePlan
from openfsar.data.fixed import FixedEpisodes
from openfsar.engine.bank import VIDEOS_PER_BATCH, FeatureBank, batches, encode, encode_dataset, evaluating
from openfsar.engine.live import bar
from openfsar.engine.outcome import Outcome, Result, summarise
from openfsar.episode import FrameFeatures, SupportSet, Task
from openfsar.methods.base import FewShotMethod

EPISODES_PER_BATCH = 32
PAIRS_PER_BATCH = 4000
"""Pairs of a support and a query video that are matched at once; 32 episodes of 5 ways and 5 shots."""


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
    drawn = FixedEpisodes.draw(dataset, way=way, shot=shot, query=query, episodes=episodes, seed=seed)
    (outcome,) = answer(
        method, dataset, [drawn], protocol=protocol, batch=batch, device=device, progress=progress
    )
    return outcome.result


def answer(
    method: FewShotMethod,
    dataset: VideoDataset,
    lists: Sequence[FixedEpisodes],
    *,
    protocol: Literal["cached", "paper"] = "cached",
    batch: int = VIDEOS_PER_BATCH,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> list[Outcome]:
    """``evaluate`` on given lists of episodes, such as those of several seeds, with every answer kept.

    The videos are encoded once for all lists, each of whose results says how long that took.

    Raises:
        EpisodeError: the episodes are of another data set.
        VideoError: a video cannot be read.
    """
    for episodes in lists:
        episodes.check(dataset)
    with evaluating(method, device), bar(progress) as display:
        if protocol == "paper":
            return [_answer_resampled(method, dataset, episodes, batch, display) for episodes in lists]
        began = time.perf_counter()
        total = display.add_task("encoding videos", total=len(dataset))
        bank = encode_dataset(method, dataset, batch=batch, advance=lambda n: display.advance(total, n))
        encodes = len(dataset) * (1 if bank.query is bank.support else 2)
        seconds = time.perf_counter() - began
        total = display.add_task("matching episodes", total=sum(len(episodes.plan) for episodes in lists))
        found = []
        for episodes in lists:
            began = time.perf_counter()
            plan = episodes.plan
            pairs = max(1, plan.support[:1].numel() * plan.query[:1].numel())
            size = min(EPISODES_PER_BATCH, max(1, PAIRS_PER_BATCH // pairs))
            answers = match(method, bank, plan, size, advance=lambda n: display.advance(total, n))
            took = seconds, time.perf_counter() - began
            found.append(
                summarise(method, episodes, answers, protocol="cached", encodes=encodes, seconds=took)
            )
    return found


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


def _answer_resampled(
    method: FewShotMethod, dataset: VideoDataset, episodes: FixedEpisodes, batch: int, display: Progress
) -> Outcome:
    """Answers with the frames of every episode drawn by its number."""
    drawn, plan = dataset.at(train=True, random_crops=False, seed=max(0, episodes.seed)), episodes.plan
    text = method.text(dataset.classes)
    answers, encoding, matching = [], 0.0, 0.0
    size = max(1, batch // plan.support[0].numel())  # episodes at a time
    total = display.add_task("encoding and matching", total=len(plan))
    with torch.inference_mode():
        for start in range(0, len(plan), size):
            part = plan[start : start + size]
            began = time.perf_counter()
            support, query = (
                _encode_drawn(method, drawn, videos, start, batch, text if reads else None)
                for videos, reads in ((part.support, method.support_reads_text), (part.query, False))
            )
            encoded = time.perf_counter()
            rows = EpisodePlan(
                part.classes, *(torch.arange(x.numel()).view_as(x) for x in (part.support, part.query))
            )
            answers.append(match(method, FeatureBank(query, support, text), rows))
            encoding, matching = encoding + encoded - began, matching + time.perf_counter() - encoded
            display.advance(total, len(part))
    encodes, seconds = plan.support.numel() + plan.query.numel(), (encoding, matching)
    return summarise(method, episodes, torch.cat(answers), protocol="paper", encodes=encodes, seconds=seconds)


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
        parts.append(encode(method, clips, None if text is None else text[labels]))
    return type(parts[0]).cat(parts)
