"""Untrimmed toy videos: actions one after the other in one scene, with rests in between.

Before its action an object stands as it will begin, after it as it has ended; half way through a rest another
object takes its place. Nothing acts in a rest, which is what ``background`` means here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from openfsar.toy.dataset import FPS, SECONDS
from openfsar.toy.world import Shot, camera_path, motion_shot, render

REST = (1.5, 4.0)
"""Seconds between two actions, before the first and after the last, drawn evenly."""


@dataclass(frozen=True)
class Act:
    """An action of an untrimmed video."""

    start: float
    """Seconds."""
    end: float
    label: str


@dataclass(frozen=True)
class Untrimmed:
    """A scene in which one object after the other acts."""

    stages: tuple[Shot, ...]
    """One per action, rests included; they follow each other without a gap."""
    acts: tuple[Act, ...]

    def __len__(self) -> int:
        return sum(map(len, self.stages))

    @property
    def seconds(self) -> float:
        return len(self) / FPS

    def parts(self) -> Iterator[UInt8[Tensor, "T C H W"]]:
        """The frames of one stage after the other."""
        for stage in self.stages:
            yield torch.from_numpy(render(stage)).permute(0, 3, 1, 2).contiguous()

    def frames(self) -> UInt8[Tensor, "T C H W"]:
        """All of them."""
        return torch.cat(list(self.parts()))

    def rests(self) -> list[tuple[float, float]]:
        """Start and end of every rest, in seconds."""
        starts, ends = [act.start for act in self.acts], [act.end for act in self.acts]
        return list(zip([0.0, *ends], [*starts, self.seconds], strict=True))


def untrimmed(
    actions: Sequence[str], rng: np.random.Generator, *, rest: tuple[float, float] = REST
) -> Untrimmed:
    """Actions of toy-motion in this order, each as long as a video of its own would be.

    Args:
        rest: Shortest and longest rest, in seconds.

    Raises:
        KeyError: For an action that is not one of toy-motion.
        ValueError: Without any action.
    """
    if not actions:
        raise ValueError("an untrimmed video needs at least one action")
    lengths = [int(rng.uniform(*SECONDS) * FPS) for _ in actions]
    rests = [round(rng.uniform(*rest) * FPS) for _ in range(len(actions) + 1)]
    before = [rests[0], *(gap - gap // 2 for gap in rests[1:-1])]
    after = [*(gap // 2 for gap in rests[1:-1]), rests[-1]]
    shots = [motion_shot(action, count, rng) for action, count in zip(actions, lengths, strict=True)]
    camera = camera_path(sum(rests) + sum(lengths), rng)

    stages: list[Shot] = []
    acts: list[Act] = []
    start = 0
    for shot, lead, tail in zip(shots, before, after, strict=True):
        end = start + lead + len(shot) + tail
        tracks = tuple(np.pad(track, ((lead, tail), (0, 0)), mode="edge") for track in shot.tracks)
        # The scene is that of the first shot, and so is the place where it is seen, which the seed decides.
        stages.append(replace(shots[0], **_who(shot), tracks=tracks, camera=camera[start:end]))
        acts.append(Act((start + lead) / FPS, (end - tail) / FPS, shot.action))
        start = end
    return Untrimmed(tuple(stages), tuple(acts))


def _who(shot: Shot) -> dict[str, object]:
    return {"sprites": shot.sprites, "actor": shot.actor, "action": shot.action}
