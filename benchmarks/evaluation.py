"""From video files to an accuracy: each video encoded once, against frames drawn anew for every episode.

    python benchmarks/evaluation.py [--encoder toyclip] [--method otam] [--videos 100] [--episodes 10000]

The second is what published code does: a video is decoded and encoded again in each of the thousands of
episodes it stands in. It is measured on fewer episodes and scaled. The videos are those of toy-motion's 24
test classes, 100 of each by default, written into a temporary folder; both ways decode them from their files.
Accuracies differ where the frames do: the published way draws those of each video at random.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from openfsar import create
from openfsar.cli.heap import keep_freed_memory
from openfsar.data.dataset import VideoDataset
from openfsar.data.manifest import read_manifest
from openfsar.engine.evaluate import evaluate
from openfsar.engine.outcome import Result
from openfsar.toy.dataset import make_toy


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", default="toyclip")
    parser.add_argument("--method", default="otam")
    parser.add_argument("--videos", type=int, default=100, help="of each of the 24 classes")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--episodes", type=int, default=10_000, help="of five ways, one query each")
    parser.add_argument("--again", type=int, default=100, help="episodes of the published way")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    keep_freed_memory()  # as the commands do
    torch.set_num_threads(options.threads)
    pretrained = options.encoder in ("toyclip", "toyresnet")  # the weights that are always at hand
    method = create(options.method, encoder=options.encoder, pretrained=pretrained).requires_grad_(False)
    table = Table(
        title=f"{options.episodes:,} episodes, {24 * options.videos:,} videos, {options.method} on "
        f"{options.encoder}, {options.threads} threads"
    )
    columns = ("shots", "", "videos encoded", "encoding", "matching", "in all", "accuracy", "ratio")
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    with tempfile.TemporaryDirectory() as folder:
        make_toy("toy-motion", Path(folder), videos_per_class={"test": options.videos}, progress=True)
        size = method.encoder.image_size
        videos = VideoDataset(read_manifest(Path(folder)), "test", frames=options.frames, size=size)
        for shot in (1, 5):
            once = evaluate(method, videos, shot=shot, episodes=options.episodes, progress=True)
            again = evaluate(
                method, videos, shot=shot, episodes=options.again, protocol="paper", progress=True
            )
            scaled = scale(again, options.episodes)
            table.add_row(str(shot), "once per video", *cells(once), "")
            table.add_row("", "again per episode, scaled", *cells(scaled), "")
            encodes = scaled.encodes / once.encodes
            seconds = total(scaled) / total(once)
            table.add_row("", "", f"{encodes:.1f}x", "", "", "", "", f"{seconds:.1f}x in time")
    Console(width=130).print(table)


def total(result: Result) -> float:
    """Seconds."""
    return result.seconds_encode + result.seconds_match


def scale(result: Result, episodes: int) -> Result:
    """What more of the same episodes would take."""
    factor = episodes / result.episodes
    return replace(
        result,
        encodes=round(result.encodes * factor),
        seconds_encode=result.seconds_encode * factor,
        seconds_match=result.seconds_match * factor,
    )


def cells(result: Result) -> list[str]:
    """What stands in a row."""
    seconds = (result.seconds_encode, result.seconds_match, total(result))
    return [
        f"{result.encodes:,}",
        *(f"{x:,.1f} s" for x in seconds),
        f"{100 * result.accuracy:.1f} ± {100 * result.interval:.1f} %",
    ]


if __name__ == "__main__":
    main()
