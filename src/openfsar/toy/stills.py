"""Image-caption material for pre-training: single frames of the world and what can be said of them."""

from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn import functional as F

from openfsar.toy.captions import HELD_OUT, Subject, subject
from openfsar.toy.motions import MOTION_CLASSES
from openfsar.toy.scenes import SCENES
from openfsar.toy.sprites import SHAPES, STATES
from openfsar.toy.training import progress_bar
from openfsar.toy.world import Shot, alone, motion_shot, render, scene_shot

SIDE = 64
"""Pixels per side of ToyCLIP's input."""

ALL_KINDS = tuple(f"{state} {shape} on {scene}" for state in STATES for shape in SHAPES for scene in SCENES)


def any_shot(rng: np.random.Generator) -> Shot:
    """One in three an action of the training classes, the others still lifes of any kind.

    Half of them show nothing but the object they are about: a caption never says which one is meant.
    """
    if rng.random() < 1 / 3:
        shot = motion_shot(str(rng.choice(MOTION_CLASSES["train"])), 24, rng)
    else:
        shot = scene_shot(str(rng.choice(ALL_KINDS)), 24, rng)
    return alone(shot) if rng.random() < 0.5 else shot


def still_pair(
    seed: int, *, held_out: bool = False, side: int = SIDE
) -> tuple[UInt8[np.ndarray, "H W C"], Subject]:
    """One still (side, side, 3) and its subject; the side changes nothing but the size.

    Kinds that toy-scene keeps for validation and test appear only, and then alone, where ``held_out`` asks.
    """
    rng = np.random.default_rng([seed, int(held_out)])
    while True:
        shot = scene_shot(str(rng.choice(sorted(HELD_OUT))), 24, rng) if held_out else any_shot(rng)
        frame = int(rng.integers(len(shot)))
        seen = subject(shot, frame)
        if seen and (seen.kind in HELD_OUT) == held_out:
            break
    pixels = torch.from_numpy(render(shot, np.array([frame]))).permute(0, 3, 1, 2).float()
    small = F.interpolate(pixels, (side, side), mode="bicubic", antialias=True).clamp(0, 255)
    return small[0].permute(1, 2, 0).round().byte().numpy(), seen


def stills(
    seeds: range, *, held_out: bool = False, side: int = SIDE
) -> tuple[UInt8[np.ndarray, "B H W C"], list[Subject]]:
    """The stills of these seeds, and their subjects."""
    pairs = [still_pair(seed, held_out=held_out, side=side) for seed in seeds]
    return np.stack([image for image, _ in pairs]), [seen for _, seen in pairs]


def pool_seeds(count: int, seed: int) -> range:
    """Seeds of the stills in the pool of run ``seed``; no two runs share one."""
    return range(seed * 10_000_000, seed * 10_000_000 + count)


def render_pool(
    count: int, *, seed: int = 0, workers: int = 2, side: int = SIDE
) -> tuple[UInt8[np.ndarray, "B H W C"], list[Subject]]:
    """``count`` stills and their subjects, rendered by ``workers`` processes (0: by this one)."""
    seeds = pool_seeds(count, seed)
    chunks = [seeds[i : i + 500] for i in range(0, count, 500)]
    draw = partial(stills, side=side)
    images, subjects = [], []
    with ExitStack() as stack:
        parts = map(draw, chunks)
        if workers:
            pool = ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,))
            parts = stack.enter_context(pool).map(draw, chunks)
        progress = stack.enter_context(progress_bar())
        for part, seen in progress.track(parts, len(chunks), description="rendering"):
            images.append(part)
            subjects += seen
    return np.concatenate(images), subjects
