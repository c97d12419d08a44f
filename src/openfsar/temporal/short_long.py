"""SloshNet's temporal modules (Xing et al., AAAI 2023, arXiv 2301.07944): long- and short-term, side by side.

Long-term, over the T frames at each position of the grid, each position on its own:

    y = x + W_o attention(LN(x))        long(x) = y + W_2 quick_gelu(W_1 LN(y))       W_1 four times as wide

Short-term, between each frame t and the next, with q, k, v = W_qkv x, C_q and C_k depthwise 3x3 convolutions
whose weights 16 groups of channels share, and products per channel and position:

    R_t = C_k k_(t+1) - C_q q_t,  zero for the last frame
    G = sigmoid(W_b gelu(W_a R))        short(x) = -(G v)

and together, with two weights that sum to one: 2 g_0 long(x) + 2 g_1 short(x).

The long-term part departs from the released code. That, by our reading, attends over the positions of all
videos of a pass where it means time (the tensor is handed over in the wrong order) and reads the output back
with channels and frames exchanged. A video's features would depend on the videos beside it, so that is no
option here, where ``encode`` is per video. The norms' epsilon is torch's 1e-5 and not 1e-12, with which a
position of equal channels, such as a black border behind ReLUs, gets a gradient a million times too large.

The minus is the released code's. It decides nothing: v is a learnt map that starts symmetric.

Neither starts from zero, and pre-trained features survive all the same: ``long`` is x and what attention and
MLP add to it, layers of the usual small start behind a norm, and ``short`` is a gated random projection of x,
whose energy is about a twelfth of x's and which keeps the distances that x has.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class LongTerm(nn.Module):
    """A transformer layer over the frames at each position.

    Args:
        width: Channels D.
        heads: Attention heads; must divide ``width``.

    Raises:
        ValueError: ``heads`` does not divide ``width``.
    """

    def __init__(self, width: int, *, heads: int = 8) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"option {heads=} must divide the feature width {width}")
        self.heads = heads
        self.norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, maps: Float[Tensor, "B T D H W"]) -> Float[Tensor, "B T D H W"]:
        x = maps.permute(0, 3, 4, 1, 2)  # B H W T D
        qkv = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = qkv.movedim(-4, -2).unbind(-4)
        x = x + self.out(F.scaled_dot_product_attention(queries, keys, values).transpose(-3, -2).flatten(-2))
        hidden = self.widen(self.mlp_norm(x))
        x = x + self.narrow(hidden * torch.sigmoid(1.702 * hidden))
        return x.permute(0, 3, 4, 1, 2)


class ShortTerm(nn.Module):
    """What changes from a frame to the next decides which channels of the frame pass where.

    Args:
        width: Channels D.
        groups: Groups of channels that share the two 3x3 convolutions; must divide ``width``.

    Raises:
        ValueError: ``groups`` does not divide ``width``.
    """

    def __init__(self, width: int, *, groups: int = 16) -> None:
        super().__init__()
        if groups < 1 or width % groups:
            raise ValueError(f"option {groups=} must divide the feature width {width}")
        own = width // groups
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.queries, self.keys = (nn.Conv2d(own, own, 3, groups=own, bias=False) for _ in range(2))
        self.gate = nn.Sequential(
            nn.Conv2d(width, width, 1, bias=False), nn.GELU(), nn.Conv2d(width, width, 1, bias=False)
        )

    def forward(self, maps: Float[Tensor, "B T D H W"]) -> Float[Tensor, "B T D H W"]:
        videos = maps.shape[:2]
        queries, keys, values = self.qkv(maps.flatten(0, 1)).unflatten(0, videos).chunk(3, 2)
        before, after = _shared(self.queries, queries[:, :-1]), _shared(self.keys, keys[:, 1:])
        gates = self.gate(after - before).sigmoid().unflatten(0, (videos[0], videos[1] - 1))
        # the last frame has no next one: R = 0, and the sigmoid of maps without bias is a half
        return -(F.pad(gates, (0, 0, 0, 0, 0, 0, 0, 1), value=0.5) * values)


def _shared(layer: nn.Conv2d, maps: Float[Tensor, "B _ D H W"]) -> Float[Tensor, "_ D H W"]:
    """A depthwise convolution of every group of channels by the same weights."""
    weight = layer.weight.repeat(maps.shape[2] // layer.out_channels, 1, 1, 1)
    return F.conv2d(maps.flatten(0, 1), weight, padding=1, groups=len(weight))


class ShortLong(nn.Module):
    """Both of them, or one alone, or none.

    Args:
        width: Channels D.
        long, short: Which of the two there are; one alone counts once.
        heads: Attention heads of the long-term part; must divide ``width``.
        groups: Groups of channels in the short-term part; must divide ``width``.
        long_share: Where the weight of the long-term part starts, of two that sum to one.

    Raises:
        ValueError: A number does not divide ``width``, or ``long_share`` is not between 0 and 1.
    """

    def __init__(
        self,
        width: int,
        *,
        long: bool = True,
        short: bool = True,
        heads: int = 8,
        groups: int = 16,
        long_share: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 < long_share < 1:
            raise ValueError(f"option {long_share=} must lie between 0 and 1")
        self.long = LongTerm(width, heads=heads) if long else None
        self.short = ShortTerm(width, groups=groups) if short else None
        odds = math.log(long_share / (1 - long_share)) / 2
        self.balance = nn.Parameter(torch.tensor([odds, -odds])) if long and short else None

    def shares(self) -> Float[Tensor, "2"]:
        """Weights of long- and short-term part, where there are both."""
        assert self.balance is not None, "there is nothing to balance"
        return self.balance.softmax(-1)

    def forward(self, maps: Float[Tensor, "B T D H W"]) -> Float[Tensor, "B T D H W"]:
        if self.long is not None and self.short is not None:
            long, short = 2 * self.shares().to(maps.dtype)
            return long * self.long(maps) + short * self.short(maps)
        alone = self.long or self.short
        return maps if alone is None else alone(maps)
