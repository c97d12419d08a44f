"""Fresh toy videos, as a practitioner would find them: a folder of files whose names tell nothing."""

from collections.abc import Sequence
from pathlib import Path

import torch

from openfsar.toy.dataset import FPS, toy_shot
from openfsar.toy.world import render
from openfsar.video import write_video


def write_fresh(folder: Path, actions: Sequence[str], each: int, *, seed: int) -> dict[Path, str]:
    """Write ``each`` videos per test action of toy-motion, and return what every file shows."""
    folder.mkdir(parents=True, exist_ok=True)
    shows: dict[Path, str] = {}
    for number in range(each):
        for action in actions:
            pixels = render(toy_shot("toy-motion", "test", action, number, seed=seed))
            path = folder / f"video-{len(shows):02d}.mp4"
            write_video(path, torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), fps=FPS)
            shows[path] = action
    return shows
