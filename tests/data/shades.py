"""Videos whose frames can be told apart, and read again from their pixels."""

from pathlib import Path

import torch

from openfsar.data.manifest import Manifest, VideoRecord

CLASSES = ("jump", "run", "walk")
LENGTHS = (20, 5, 31, 12)
"""Frames of the videos of each class."""


def shades(count: int, base: int, height: int = 36, width: int = 48) -> torch.Tensor:
    """Frame t has the grey level 5 t in its left half; ``base`` tells the videos apart in the right half."""
    frames = torch.empty(count, 3, height, width, dtype=torch.uint8)
    frames[..., : width // 2] = (5 * torch.arange(count)).to(torch.uint8)[:, None, None, None]
    frames[..., width // 2 :] = base
    return frames


def number_of(frames: torch.Tensor) -> list[int]:
    """Which frames of the video these are."""
    return (frames[..., 2:-2, 4:8].double().mean((-3, -2, -1)) / 5).round().long().tolist()


def base_of(frames: torch.Tensor) -> torch.Tensor:
    return frames[..., 2:-2, -8:-4].double().mean((-3, -2, -1))


def with_broken(footage: Manifest, folder: Path) -> tuple[Manifest, Path]:
    """The same videos and a file that is none."""
    broken = folder / "broken.mp4"
    broken.write_text("no video")
    return Manifest(footage.root, (VideoRecord(broken, "run", "train"), *footage.records)), broken
