"""Seconds for 10,000 episodes from cached features, next to a plain loop over episodes for the same numbers.

    python benchmarks/matching.py [--episodes 10000] [--batch 64] [--threads 2]
    python benchmarks/matching.py --every [--episodes 1000]

The second form compares the matchers: episodes a second, and the largest memory of the process so far. TRX
stands there twice: with keys and values of its tuples computed for each episode, as public code does, and
once per video.

2,400 videos of 8 x 512 random features, 5-way episodes with one query per class, matched with OTAM. The
plain loop does what public code does: one episode at a time, its table of alignments filled cell by cell
for all pairs of that episode. It is measured on fewer episodes and scaled. Random features are the worst
case for agreement (all classes are equally near), so equal predictions mean something.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from typing import Any, get_args

import torch
from plain import alignment_costs
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from openfsar.cli.heap import keep_freed_memory
from openfsar.encoders.tiny import tiny_encoder
from openfsar.episode import FrameFeatures, SupportSet, Task
from openfsar.methods.base import FewShotMethod
from openfsar.methods.matching import MatcherName, make_matcher
from openfsar.methods.zoo import build

CLASSES, VIDEOS_PER_CLASS, FRAMES, WIDTH, WAY = 24, 100, 8, 512, 5


def draw(episodes: int, shot: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Indices of the support videos (E, way, shot) and of one query per class (E, way)."""
    classes = torch.rand(episodes, CLASSES, generator=generator).argsort(-1)[:, :WAY]
    videos = torch.rand(episodes, WAY, VIDEOS_PER_CLASS, generator=generator).argsort(-1)[..., : shot + 1]
    videos = videos + VIDEOS_PER_CLASS * classes[..., None]
    return videos[..., :shot], videos[..., shot]


@torch.inference_mode()
def batched(
    method: FewShotMethod, bank: FrameFeatures, support: Tensor, query: Tensor, batch: int
) -> Iterator[Tensor]:
    """Logits of all episodes, ``batch`` at a time, by the verbs that evaluation uses."""
    shot = support.shape[-1]
    labels = torch.arange(WAY).repeat_interleave(shot)
    for shown, asked in zip(support.flatten(1).split(batch), query.split(batch), strict=True):
        task = method.prepare(SupportSet(bank[shown], labels.expand(len(shown), -1), WAY))
        yield method.score(bank[asked], task)


@torch.inference_mode()
def plain(bank: FrameFeatures, support: Tensor, query: Tensor) -> Iterator[Tensor]:
    """The same one episode at a time, cell by cell."""
    for shown, asked in zip(support, query, strict=True):
        q, s = bank.frames[asked], bank.frames[shown.flatten()]
        yield -alignment_costs(q, s).unflatten(-1, shown.shape).mean(-1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=64, help="episodes at a time")
    parser.add_argument("--plain", type=int, default=100, help="episodes of the plain loop")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", action="store_true", help="compare the matchers instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as the commands do
    generator = torch.Generator().manual_seed(0)
    bank = FrameFeatures(torch.randn(CLASSES * VIDEOS_PER_CLASS, FRAMES, WIDTH, generator=generator))
    if options.every:
        compare_matchers(bank, options, generator)
        return
    method = build("otam", tiny_encoder(), tune="none")
    table = Table(
        title=f"{options.episodes:,} five-way OTAM episodes, {options.threads} threads, wall (processor) time"
    )
    for column in ("shots", "openfsar", "plain loop, scaled", "ratio", "largest difference", "same answers"):
        table.add_column(column, justify="right")
    for shot in (1, 5):
        support, query = draw(options.episodes, shot, generator)
        list(batched(method, bank, support[:200], query[:200], options.batch))  # warm up
        steps = -(-options.episodes // options.batch)
        answers, fast = timed(batched(method, bank, support, query, options.batch), steps, f"{shot}-shot")
        few = min(options.plain, options.episodes)
        plainly, slow = timed(plain(bank, support[:few], query[:few]), few, "plain loop")
        ours, theirs = torch.cat(answers)[:few], torch.stack(plainly)
        difference = (ours - theirs).abs().max().item()
        table.add_row(
            str(shot),
            f"{fast[0]:.2f} ({fast[1]:.2f}) s",
            "{:.0f} ({:.0f}) s".format(*(seconds * options.episodes / few for seconds in slow)),
            f"{slow[1] * options.episodes / few / fast[1]:.0f}x",
            f"{difference:.0e}",
            f"{(ours.argmax(-1) == theirs.argmax(-1)).float().mean():.1%}",
        )
        if difference > 1e-3:
            raise SystemExit(f"{shot}-shot: the two disagree by {difference}")
    Console().print(table)


@torch.inference_mode()
def compare_matchers(bank: FrameFeatures, options: argparse.Namespace, generator: torch.Generator) -> None:
    """A row per matcher, a column per number of shots."""
    shots = (1, 5)
    drawn = {shot: draw(options.episodes, shot, generator) for shot in shots}
    trx = build("trx", tiny_encoder(), tune="none").eval()
    trx.matcher = make_matcher("trx", WIDTH)  # the tiny tower is narrower than these features
    tuples = trx.digest(bank[:1]).nbytes
    table = Table(title=f"episodes a second, {options.threads} threads, {options.batch} at a time")
    for column in ("", *(f"{shot}-shot" for shot in shots), "peak memory", "bytes a video"):
        table.add_column(column, justify="right" if column else "left")
    for name in ("pooled", "otam", "bi-mhm", "hybrid", "trx", "trx, tuples once per video"):
        once = name not in get_args(MatcherName)
        features = trx.digest(bank) if once else bank
        matcher = trx.compare if once else make_matcher(name, WIDTH).eval()
        speeds = []
        for shot in shots:
            labels = torch.arange(WAY).repeat_interleave(shot)

            def scores(
                labels: Tensor = labels, shot: int = shot, matcher: Any = matcher, features: Any = features
            ) -> Iterator[Tensor]:
                for shown, asked in zip(*(x.split(options.batch) for x in drawn[shot]), strict=True):
                    task = Task(features[shown.flatten(1)], labels.expand(len(shown), -1), WAY)
                    query = features[asked]
                    yield matcher(query if matcher == trx.compare else query.frames, task)

            next(scores())  # warm up
            steps = -(-options.episodes // options.batch)
            _, (wall, _) = timed(scores(), steps, f"{name}, {shot}-shot")
            speeds.append(f"{options.episodes / wall:,.0f}")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        table.add_row(name, *speeds, f"{peak:.1f} GB", f"{tuples if once else bank[:1].nbytes:,}")
        del features
    Console().print(table)


def timed(work: Iterator[Tensor], steps: int, title: str) -> tuple[list[Tensor], tuple[float, float]]:
    """What the work yields, and the seconds it took by the wall clock and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    results = list(track(work, title, total=steps, transient=True))
    return results, (time.perf_counter() - wall, time.process_time() - processor)


if __name__ == "__main__":
    main()
