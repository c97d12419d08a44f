"""How well actions are found in long videos: segment mAP at IoU 0.5 and frame accuracy on toy footage.

    python benchmarks/untrimmed.py [--model runs/otam-toy-motion/best] [--videos 30] [--actions 5] [--seed 0]

A classifier is fitted on five toy clips of each of some unseen actions of toy-motion, and on rests of other
untrimmed videos as background. Videos join these actions in random order with rests in between. Windows last
as long as clips do on average, and segments follow the default rules. Intervals are bootstraps over videos.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from openfsar.classifier import FewShotVideoClassifier
from openfsar.cli.run import model_folder
from openfsar.episode import Clip
from openfsar.timeline import Rules, Segment, timeline
from openfsar.timeline.metrics import frame_accuracy, mean_average_precision
from openfsar.toy.dataset import FPS, toy_shot
from openfsar.toy.motions import MOTION_CLASSES
from openfsar.toy.untrimmed import untrimmed
from openfsar.toy.world import render
from openfsar.video import write_video

DRAWS = 1000
"""Of the bootstrap."""


def clip(pixels: torch.Tensor) -> Clip:
    return Clip(pixels, torch.arange(len(pixels)) / FPS)


def examples(actions: Sequence[str], shots: int, seed: int) -> dict[str, list[Clip]]:
    """Toy clips of each action."""

    def shoot(action: str, number: int) -> Clip:
        pixels = render(toy_shot("toy-motion", "test", action, number, seed=seed))
        return clip(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous())

    return {action: [shoot(action, number) for number in range(shots)] for action in actions}


def rests(actions: Sequence[str], count: int, rng: np.random.Generator) -> list[Clip]:
    """Rests of videos of their own, each as a clip."""
    found: list[Clip] = []
    while len(found) < count:
        video = untrimmed(rng.permutation(actions).tolist(), rng)
        frames = video.frames()
        found += [clip(frames[round(start * FPS) : round(end * FPS)]) for start, end in video.rests()]
    return found[:count]


def interval(
    measure: Callable[[np.ndarray], float], videos: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """The value, and the bounds of its 95 % bootstrap interval over videos."""
    draws = [measure(rng.integers(videos, size=videos)) for _ in range(DRAWS)]
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    return measure(np.arange(videos)), low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", help="a run or model folder; an untrained --method on ToyCLIP without it")
    parser.add_argument("--method", default="otam")
    parser.add_argument("--videos", type=int, default=30)
    parser.add_argument("--actions", type=int, default=5, help="in all, each once in every video")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--background", type=int, default=20, help="rests shown as background; 0 for none")
    parser.add_argument("--window", type=float, default=3.0, help="seconds; a clip lasts 2 to 4")
    parser.add_argument("--stride", type=float, default=None)
    for name, value in vars(Rules()).items():
        parser.add_argument(f"--{name}", type=float, default=value)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the result here too")
    given = parser.parse_args()
    rules = Rules(**{name: getattr(given, name) for name in vars(Rules())})

    rng = np.random.default_rng(given.seed)
    actions = rng.permutation(MOTION_CLASSES["test"])[: given.actions].tolist()
    classifier = FewShotVideoClassifier(
        model_folder(given.model) if given.model else given.method,
        reject="background" if given.background else None,
        progress=True,
    )
    others = rests(actions, given.background, np.random.default_rng([given.seed, 1]))
    classifier.fit(examples(actions, given.shots, given.seed), background=others)
    print(classifier.calibration_)

    found: list[list[Segment]] = []
    truth: list[list[Segment]] = []
    seconds: list[float] = []
    with TemporaryDirectory() as folder:
        for number in track(range(given.videos), "videos", console=Console(stderr=True)):
            drawn = np.random.default_rng([given.seed, 2, number])
            video = untrimmed(drawn.permutation(actions).tolist(), drawn)
            path = Path(folder) / f"{number}.mp4"
            write_video(path, video.frames(), fps=FPS)
            seen = timeline(classifier, path, window=given.window, stride=given.stride)
            path.unlink()
            found.append(seen.segments(rules))
            truth.append([Segment(act.start, act.end, act.label) for act in video.acts])
            seconds.append(video.seconds)

    def some(videos: np.ndarray, rows: list) -> list:
        return [rows[v] for v in videos.tolist()]

    everything = np.arange(given.videos)
    nothing: list[list[Segment]] = [[] for _ in found]
    alike = [[replace(s, label=actions[0]) for s in video] for video in found]
    spans = [[replace(s, label=actions[0]) for s in video] for video in truth]
    rows = {
        "segment mAP at IoU 0.5": lambda v: mean_average_precision(some(v, found), some(v, truth)),
        "the same, whatever the name": lambda v: mean_average_precision(some(v, alike), some(v, spans)),
        "frame accuracy": lambda v: frame_accuracy(some(v, found), some(v, truth), some(v, seconds)),
    }
    table = Table("", "value", "95 % interval", title=f"{given.videos} videos, {sum(seconds) / 60:.1f} min")
    result = {"settings": {k: v if k != "json" else str(v) for k, v in vars(given).items()}}
    for name, measure in rows.items():
        value, low, high = interval(measure, given.videos, np.random.default_rng(given.seed))
        table.add_row(name, f"{value:.1%}", f"{low:.1%} to {high:.1%}")
        result[name] = {"value": value, "low": low, "high": high}
    idle = frame_accuracy(some(everything, nothing), truth, seconds)
    table.add_row("frame accuracy of no answer at all", f"{idle:.1%}", "")
    Console().print(table)
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
