"""The clip that prediction is timed on: what a phone records, made for the occasion."""

from pathlib import Path

import torch

from openfsar.video import write_video

SECONDS, FPS, HEIGHT, WIDTH = 10, 25, 720, 1280


def make_clip(path: Path, seed: int) -> None:
    """A square that crosses a still, textured scene."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(40, 200, (1, 3, HEIGHT // 40, WIDTH // 40), generator=generator).float()
    scene = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")[0].to(torch.uint8)
    frames = scene.expand(SECONDS * FPS, 3, HEIGHT, WIDTH).clone()
    for number, frame in enumerate(frames):
        left = 40 + (seed * 130 + number * 4) % (WIDTH - 240)
        frame[:, 300:460, left : left + 160] = torch.tensor([230, 60, 20], dtype=torch.uint8).view(3, 1, 1)
    write_video(path, frames, fps=float(FPS))
