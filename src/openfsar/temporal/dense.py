"""GgHM's learnable dense temporal modelling (LDTM): patches look along time, without T x P tokens at once.

Xing et al., "Boosting Few-shot Action Recognition with Graph-guided Hybrid Matching", ICCV 2023, arXiv
2308.09346, section 3.2. F is the feature map of a video, T frames of P patches; everything works in parallel:

    H        = W_2 relu(W_1 F) + F                    W_1, W_2: T x T, along time
    patch    = H at the patches n with n mod gap != 0, F at the others
    channel  = sum_i K_i F[t + i]                     a kernel K for every channel of its own
    SA(x)    = y + FFN(LN(y)),  y = F + attention(x)  over the patches of a frame; the residual is F, not x
    F'       = beta (gamma SA(patch) + (1 - gamma) SA(F)) + (1 - beta) SA(channel)

Unknown, for neither code nor numbers are public, and chosen here:

- beta, gamma: 0.5 each, which prefers nothing. What has a weight of zero is neither built nor computed.
- gap: 2, every other patch; on the 7 x 7 grid of a ResNet the two kinds then lie like the squares of a chess
  board, so that each sees the other all around.
- the kernel has 3 frames and starts as a shift (TSM's): an eighth of the channels with the frame before,
  another with the one after, the rest in place. Beyond the ends of a video there are zeros.
- SA: 8 heads, a hidden width of the FFN as large as its input (2048 in ResNet-50, as CLIP-FSAR's for every
  backbone), GELU. The equations have one SA, so its weights are shared by its three places.
- the last maps of attention and FFN start at zero: LDTM is the identity at first, and the features of the
  pre-training survive the first steps.
- another number of frames than T: features are interpolated to T in front of W_1 and back behind W_2, with
  the residual at their own times. The matrices meet what they learnt on, and no factor follows the number.
"""

from collections.abc import Callable
from itertools import cycle

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.interpolation import stretch


class DenseTemporal(nn.Module):
    """One layer of LDTM. Each video for itself; the output has the shape of the input.

    For ResNet-50 (D = 2048, P = 49, T = 8) with shared weights it has 25.2 million parameters and takes 30 G
    multiplications per video, as many as the tower itself.

    Args:
        width: Channels D.
        frames: T, the side of the matrices along time.
        gap: Every ``gap``-th patch, the first included, stays out of the mixing along time.
        beta: Share of the patch branch, 0..1; the rest is the channel branch's.
        gamma: Share of mixed patches within the patch branch, 0..1; the rest is that of the map as it came.
        kernel: Frames that a channel looks at; odd.
        heads: Of the attention over patches; must divide ``width``.
        expansion: Hidden width of the FFN as a multiple of ``width``.
        shared: One attention unit for all branches, instead of one each.

    Raises:
        ValueError: A value out of its range; the message names the option.
    """

    def __init__(
        self,
        width: int,
        *,
        frames: int = 8,
        gap: int = 2,
        beta: float = 0.5,
        gamma: float = 0.5,
        kernel: int = 3,
        heads: int = 8,
        expansion: int = 1,
        shared: bool = True,
    ) -> None:
        super().__init__()
        for name, share in (("beta", beta), ("gamma", gamma)):
            if not 0 <= share <= 1:
                raise ValueError(f"option {name}={share!r} must lie in 0..1: the share of a branch")
        branches: list[tuple[float, Callable[[], nn.Module]]] = [
            (beta * gamma, lambda: PatchMix(frames, gap)),
            (beta * (1 - gamma), nn.Identity),
            (1 - beta, lambda: ChannelShift(width, kernel)),
        ]
        self.shares = [share for share, _ in branches if share > 0]
        self.moves = nn.ModuleList([make() for share, make in branches if share > 0])
        units = 1 if shared else len(self.shares)
        self.units = nn.ModuleList(
            [PatchAttention(width, heads=heads, expansion=expansion) for _ in range(units)]
        )

    def forward(self, patches: Float[Tensor, "B T P D"]) -> Float[Tensor, "B T P D"]:
        mixed = torch.zeros_like(patches)
        for share, move, unit in zip(self.shares, self.moves, cycle(self.units), strict=False):
            mixed = mixed + share * unit(move(patches), patches)
        return mixed


class PatchMix(nn.Module):
    """PTRM: most patches mixed along time by two matrices, with a residual; every ``gap``-th as it came.

    The first patch is one of the latter, so that a map of a single patch is not mixed at all.

    Args:
        frames: T, the side of the matrices.
        gap: 2 or more, for 1 would leave every patch.

    Raises:
        ValueError: A number too small.
    """

    def __init__(self, frames: int, gap: int) -> None:
        super().__init__()
        if frames < 1:
            raise ValueError(f"option {frames=} must be at least 1")
        if gap < 2:
            raise ValueError(f"option {gap=} must be at least 2: at 1 no patch is mixed, which is gamma=0")
        self.frames, self.gap = frames, gap
        self.into, self.back = (nn.Linear(frames, frames, bias=False) for _ in range(2))

    def forward(self, patches: Float[Tensor, "B T P D"]) -> Float[Tensor, "B T P D"]:
        into, back, own = self.into.weight, self.back.weight, patches.shape[1]
        if own != self.frames:  # interpolation is linear: the matrices take it in
            into = into @ stretch(into.new_ones(own).diag(), self.frames)
            back = stretch(back.new_ones(self.frames).diag(), own) @ back
        flat = patches.flatten(2)
        mixed = (flat + back @ F.relu(into @ flat)).view_as(patches)
        stays = torch.arange(patches.shape[2], device=patches.device) % self.gap == 0
        return torch.where(stays[:, None], patches, mixed)


class ChannelShift(nn.Module):
    """CTRM: a convolution along time, each channel on its own; at first a shift of a quarter of them.

    Args:
        width: Channels D.
        kernel: Frames it looks at; odd.

    Raises:
        ValueError: ``kernel`` is even, or 1, which would look at no other frame.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        if kernel < 3 or kernel % 2 == 0:
            raise ValueError(f"option {kernel=} must be an odd number of frames from 3 up")
        start, middle, eighth = torch.zeros(kernel, width), kernel // 2, width // 8
        start[middle - 1, :eighth] = 1
        start[middle + 1, eighth : 2 * eighth] = 1
        start[middle, 2 * eighth :] = 1
        self.weight = nn.Parameter(start)

    def forward(self, patches: Float[Tensor, "B T P D"]) -> Float[Tensor, "B T P D"]:
        frames, reach = patches.shape[1], len(self.weight) // 2
        padded = F.pad(patches, (0, 0, 0, 0, reach, reach))
        shifted = torch.zeros_like(patches)
        for i, channels in enumerate(self.weight):
            shifted = shifted + channels * padded[:, i : i + frames]
        return shifted


class PatchAttention(nn.Module):
    """SA: the patches of each frame attend to each other; what they find is added to the unmoved map.

    Args:
        width: Channels D.
        heads: Must divide ``width``.
        expansion: Hidden width of the FFN as a multiple of ``width``.

    Raises:
        ValueError: ``heads`` does not divide ``width``, or ``expansion`` is below 1.
    """

    def __init__(self, width: int, *, heads: int, expansion: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"option {heads=} must divide the feature width {width}")
        if expansion < 1:
            raise ValueError(f"option {expansion=} must be at least 1")
        self.heads = heads
        self.queries, self.keys, self.values = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.out = _zeroed(nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)
        last = _zeroed(nn.Linear(expansion * width, width))
        self.mlp = nn.Sequential(nn.Linear(width, expansion * width), nn.GELU(), last)

    def forward(
        self, moved: Float[Tensor, "B T P D"], patches: Float[Tensor, "B T P D"]
    ) -> Float[Tensor, "B T P D"]:
        queries, keys, values = (
            layer(moved).unflatten(-1, (self.heads, -1)).transpose(-3, -2)
            for layer in (self.queries, self.keys, self.values)
        )
        found = F.scaled_dot_product_attention(queries, keys, values).transpose(-3, -2).flatten(-2)
        mixed = patches + self.out(found)
        return mixed + self.mlp(self.norm(mixed))


def _zeroed(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
