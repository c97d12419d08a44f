"""M2-CLIP's adapter of the visual tower: what neighbouring frames say, and what changed since the last one.

Wang et al., "M2-CLIP: A Multimodal, Multi-task Adapting Framework for Video Action Recognition", AAAI 2024,
arXiv 2401.11649. With x all tokens of a frame, p its patches, and in each branch maps of its own:

    e_t = up(conv_time(down(x)))_t                          temporal enhancement, three frames
    d_t = up(conv_space(down(p_t - p_{t-1})))               temporal difference, 3 x 3 patches; p_{-1} = p_0
    y_t = x_t + e_t + [0 ; d_t]                             0 at the class token

Both convolutions treat each channel on its own and start at zero, as do all biases, so at first y = x. There
is no activation and no norm inside.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openfsar.encoders.adapters.bottleneck import hidden_width
from openfsar.encoders.adapters.slots import BlockContext, TokenAdapter


class ConvBottleneck(nn.Module):
    """``up(conv(down(x)))`` with a convolution of each channel on its own along two axes; zero at first.

    Args:
        width: Feature width D.
        ratio: Hidden width as a share of ``width``.
        kernel: Odd extents of the convolution along the two axes in front of the last.
    """

    def __init__(self, width: int, *, ratio: float, kernel: tuple[int, int]) -> None:
        super().__init__()
        hidden = hidden_width(width, ratio)
        self.down, self.up = nn.Linear(width, hidden), nn.Linear(hidden, width)
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv = nn.Conv2d(hidden, hidden, kernel, padding=padding, groups=hidden)
        for zero in (self.down.bias, self.up.bias, self.conv.weight, self.conv.bias):
            assert zero is not None  # for pyright
            nn.init.zeros_(zero)

    def forward(self, x: Float[Tensor, "B _ _ D"]) -> Float[Tensor, "B _ _ D"]:
        # a view with the channels last in memory, which the convolution reads and writes as they lie
        hidden = self.down(x).permute(0, 3, 1, 2)
        return self.up(self.conv(hidden).permute(0, 2, 3, 1))


class TemporalEnhancement(ConvBottleneck):
    """The first branch: each token mixed with those at its place in the frames before and after.

    What it makes of ``B T X D`` is to be added. M2-CLIP also has one behind the tower, with a frame as the
    only token.
    """

    def __init__(self, width: int, *, ratio: float = 0.5) -> None:
        super().__init__(width, ratio=ratio, kernel=(3, 1))


class Ted(TokenAdapter):
    """Fills ``before``, or ``around`` inside ``AfterAttention``: before attention, or before the MLP.

    Args:
        width: Feature width D of the tokens.
        ratio: Hidden width of both branches as a share of ``width``.
    """

    identity_at_init = True

    def __init__(self, width: int, *, ratio: float = 0.5) -> None:
        super().__init__()
        self.enhancement = TemporalEnhancement(width, ratio=ratio)
        self.difference = ConvBottleneck(width, ratio=ratio, kernel=(3, 3))

    def forward(self, tokens: Float[Tensor, "B T X D"], context: BlockContext) -> Float[Tensor, "B T X D"]:
        first = context.class_tokens
        patches = tokens[:, :, first:]
        # subtracted before the map, not behind it: half precision would round the small change away
        change = torch.diff(patches, dim=1, prepend=patches[:, :1])
        found = self.difference(change.flatten(0, 1).unflatten(1, context.grid)).flatten(1, 2)
        enhanced = tokens + self.enhancement(tokens)
        return torch.cat([enhanced[:, :, :first], enhanced[:, :, first:] + found.view_as(patches)], 2)
