"""The tiny videos all drawings speak of: in each of six frames a ball hangs at some height."""

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Heights: TypeAlias = tuple[float, ...]

RISES = (0.0, 0.2, 0.4, 0.6, 0.8, 1)
FALLS = RISES[::-1]
WAITS = (0, 0, 0, 0.2, 0.6, 1)
TWICE = (0, 0.5, 1, 0, 0.5, 1)
HALF = (0, 0.1, 0.2, 0.3, 0.4, 0.5)
STAYS = (0.5,) * 6
BALL, BOX = (1.0, 0.0), (0.0, 1.0)


def video(*heights: float, what: tuple[float, float] = BALL) -> Float[Tensor, "T 4"]:
    """Features of the frames: two numbers say where the object is, two say what it is.

    Between frames of the same object the cosine distance is ``(1 - cos 90°(a - b)) / 2`` for heights a and b,
    of different objects half more.
    """
    angles = torch.tensor(heights) * torch.pi / 2
    looks = torch.tensor(what).expand(len(heights), 2)
    return torch.cat([angles.cos()[:, None], angles.sin()[:, None], looks], -1)
