"""Milliseconds to get 8 frames of a 10-second video: by seek plan, or in order, or with all others.

    python benchmarks/video.py

Writes its videos into a temporary folder. Times include opening the file; they are processor time of the best
of several runs, so that other work on the machine counts little.
"""

import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from openfsar.video import decode, read_frames, write_video
from openfsar.video.sampling import segments

SECONDS, FPS, FRAMES, REPEATS = 10, 30, 8, 5
VIDEOS = [
    (240, 320, 12),
    (240, 320, 30),
    (240, 320, 250),
    (720, 1280, 60),
]  # height, width, keyframe distance


def best(function: Callable[[], object]) -> float:
    """Milliseconds of the fastest run."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def moving_texture(height: int, width: int) -> torch.Tensor:
    """Frames that cost a codec about what footage costs: blurred noise that drifts, with some fresh grain."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, height // 8 + 40, width // 8 + 80, generator=generator) * 255
    world = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic")[0].clamp(0, 255)
    count = SECONDS * FPS
    views = [world[:, i // 2 : i // 2 + height, 2 * i : 2 * i + width] for i in range(count)]
    grain = torch.randn(4, 1, height, width, generator=generator) * 4
    return torch.stack([(view + grain[i % 4]).clamp(0, 255).to(torch.uint8) for i, view in enumerate(views)])


def in_order(path: Path, indices: list[int]) -> None:
    """The same frames without seeking."""
    with mock.patch.object(decode, "_decode_run", lambda *_: None):
        read_frames(path, indices)


def main() -> None:
    table = Table(
        title=f"{FRAMES} frames of {SECONDS} s at {FPS} fps, h264, 1 thread: milliseconds of processor time"
    )
    for column in (
        "video",
        "seek plan",
        "seek plan, short side 128",
        "in order",
        "3 frames, seek plan",
        "whole video",
    ):
        table.add_column(column, justify="left" if column == "video" else "right")
    dice = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        for height, width, gop in track(VIDEOS, description="measuring", transient=True):
            path = Path(folder) / f"{height}_{gop}.mp4"
            write_video(path, moving_texture(height, width), fps=FPS, gop=gop)
            wanted = segments(SECONDS * FPS, FRAMES)
            few = sorted(dice.sample(range(SECONDS * FPS), 3))
            times = [
                best(partial(read_frames, path, wanted)),
                best(partial(read_frames, path, wanted, short_side=128)),
                best(partial(in_order, path, wanted)),
                best(partial(read_frames, path, few)),
                best(partial(read_frames, path, range(SECONDS * FPS), short_side=128)),
            ]
            table.add_row(f"{width}x{height}, keyframe every {gop}", *(f"{t:.0f}" for t in times))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
