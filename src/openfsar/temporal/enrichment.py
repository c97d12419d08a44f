"""STRM's enrichment (Thatipelli et al., CVPR 2022, arXiv 2112.05132): of patches, then of frames.

Inside a frame, over at most 4 x 4 patches x, the maxima of the deepest map, with 0.1 of a sinusoid for their
place in row-major order:

    a = x + g softmax(q k^T) v        q, k, v maps of x; g learnt, 0 at the start; no 1 / sqrt(D)
    p = mean over the patches of a + MLP3(a)

Inside a video, over its frames p with 0.1 of a sinusoid for their time:

    h = p + (W_2 relu(W_1 p^T))^T     mixes frames, channel by channel
    f = h + W_4 relu(W_3 h)           mixes channels, frame by frame

Unknown to us, and chosen: q, k and v have no bias (that of the keys would cancel), MLP3 is half as wide
inside, as the auxiliary map is, and the other two are as wide inside as outside; ReLU in all three.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.temporal.positions import PositionEncoding

POSITION_WEIGHT = 0.1


class PatchEnrichment(nn.Module):
    """Feature maps to one vector per frame, behind attention among the patches of each frame.

    A map finer than ``grid`` is pooled to its maxima. A coarser one keeps its own grid: adaptive pooling
    would repeat its patches under other positions, which adds work and nothing to see.

    Args:
        width: Channels D of the map.
        grid: Rows and columns of patches.
        dropout: On patches that have their positions.

    Raises:
        ValueError: ``grid`` is below 1.
    """

    def __init__(self, width: int, *, grid: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        if grid < 1:
            raise ValueError(f"option patches={grid} must be at least 1: rows and columns of patches")
        self.grid = grid
        self.positions = _positions(width, dropout)
        self.queries, self.keys, self.values = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.gain = nn.Parameter(torch.zeros(()))
        inner = max(1, width // 2)
        self.mlp = nn.Sequential(
            nn.Linear(width, inner),
            nn.ReLU(),
            nn.Linear(inner, inner),
            nn.ReLU(),
            nn.Linear(inner, width),
        )

    def forward(self, maps: Float[Tensor, "*b D H W"]) -> Float[Tensor, "*b D"]:
        patches = self.positions(self.patches(maps))
        queries, keys, values = (layer(patches) for layer in (self.queries, self.keys, self.values))
        found = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        mixed = patches + self.gain * found
        return (mixed + self.mlp(mixed)).mean(-2)

    def patches(self, maps: Float[Tensor, "*b D H W"]) -> Float[Tensor, "*b P D"]:
        """Row by row."""
        rows, columns = (min(self.grid, side) for side in maps.shape[-2:])
        pooled = F.adaptive_max_pool2d(maps.flatten(0, -4), (rows, columns))
        return pooled.flatten(-2).mT.unflatten(0, maps.shape[:-3])


class FrameEnrichment(nn.Module):
    """Two perceptrons with skips, along time and along channels.

    The first has weights for so many frames, ``frames``, and its hidden units have no order in which they
    could be interpolated. So a video of another length is brought to this one first, each new frame the mean
    of those in its stretch of time: with fewer frames they are held, with more none is skipped, with as many
    nothing changes.

    Args:
        width: Feature width D.
        frames: Length of every result.
        dropout: On frames that have their positions.

    Raises:
        ValueError: ``frames`` is below 1.
    """

    def __init__(self, width: int, *, frames: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        if frames < 1:
            raise ValueError(f"option {frames=} must be at least 1: the frames that the token MLP mixes")
        self.frames = frames
        self.positions = _positions(width, dropout)
        self.along_time = _perceptron(frames)
        self.along_channels = _perceptron(width)

    def forward(self, frames: Float[Tensor, "*b T D"]) -> Float[Tensor, "*b _ D"]:
        """``frames`` of them, whatever T is."""
        placed = self.positions(self.resampled(frames))
        mixed = placed + self.along_time(placed.mT).mT
        return mixed + self.along_channels(mixed)

    def resampled(self, frames: Float[Tensor, "*b T D"]) -> Float[Tensor, "*b _ D"]:
        """Means over equal stretches of time, which overlap where the lengths do not divide."""
        if frames.shape[-2] == self.frames:
            return frames
        pooled = F.adaptive_avg_pool1d(frames.flatten(0, -3).mT, self.frames)
        return pooled.mT.unflatten(0, frames.shape[:-2])


def _positions(width: int, dropout: float) -> PositionEncoding:
    return PositionEncoding(width, divisor=float(width), weight=POSITION_WEIGHT, dropout=dropout)


def _perceptron(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
