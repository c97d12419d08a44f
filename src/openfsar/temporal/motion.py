"""MoLo's branches (Wang et al., CVPR 2023, arXiv 2304.00946): tokens of frames, tokens of motion, a decoder.

From the deepest maps m_1 .. m_T of a video, D channels, and a class token c of each branch's own:

    g_t = conv3d(m)_t                          3 x 3 x 3, to D / 8 channels
    d_t = conv2d(g_{t+1}) - g_t                3 x 3; T - 1 maps of motion
    v_t = mean over the map of relu(W d_t)     1 x 1, back to D channels

    tokens(x) = relu(block(positions([c ; x])))     block: temporal/transformer.py, positions: HyRSM's
    frames    = tokens(means of m)             T + 1 of them, the class token first
    motion    = tokens(v)                      T of them

In training a decoder makes d_t the difference of the pixels of frames t + 1 and t. A video of one frame holds
it, so that there is one map of motion.

Unknown to us, and chosen: the decoder reads the narrow maps d; it enlarges before each convolution, which is
3 x 3; class tokens start at N(0, 0.02); positions are added in the branch of motion as well.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.temporal.positions import PositionEncoding
from openfsar.temporal.transformer import TemporalBlock

NARROWING = 8
"""Channels of a feature map per channel of a map of motion."""


class ClassTokenBlock(nn.Module):
    """A learnt token in front of the frames of each video, positions, one transformer block, ReLU.

    Args:
        width: Feature width D.
        heads: Attention heads; must divide ``width``.
        divisor, position_weight, released: Of the positions, see ``PositionEncoding``.

    Raises:
        ValueError: ``heads`` does not divide ``width``, or ``divisor`` is not positive.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int = 8,
        divisor: float = 10.0,
        position_weight: float = 1.0,
        released: bool = False,
    ) -> None:
        super().__init__()
        self.token = nn.Parameter(0.02 * torch.randn(width))
        self.positions = PositionEncoding(width, divisor=divisor, weight=position_weight, released=released)
        self.block = TemporalBlock(width, heads=heads)

    def forward(self, frames: Float[Tensor, "*b T D"]) -> Float[Tensor, "*b T+1 D"]:
        token = self.token.to(frames.dtype).expand(*frames.shape[:-2], 1, -1)
        return F.relu(self.block(self.positions(torch.cat([token, frames], -2))))


class MotionMaps(nn.Module):
    """What changes between consecutive feature maps, as narrow maps and as one vector each.

    Args:
        width: Channels D of the feature maps.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.narrow = max(1, width // NARROWING)
        self.squeeze = nn.Conv3d(width, self.narrow, 3, padding=1)
        self.onward = nn.Conv2d(self.narrow, self.narrow, 3, padding=1)
        self.widen = nn.Conv2d(self.narrow, width, 1)

    def forward(self, maps: Float[Tensor, "B T D H W"]) -> Float[Tensor, "B _ _ H W"]:
        """``T - 1`` maps, one for a single frame."""
        narrow = self.squeeze(held(maps).transpose(1, 2)).transpose(1, 2)
        later = narrow[:, 1:]
        return self.onward(later.flatten(0, 1)).unflatten(0, later.shape[:2]) - narrow[:, :-1]

    def vectors(self, motion: Float[Tensor, "B T _ H W"]) -> Float[Tensor, "B T D"]:
        """One per map that ``forward`` gave."""
        return F.relu(self.widen(motion.flatten(0, 1))).mean((-2, -1)).unflatten(0, motion.shape[:2])


class MotionDecoder(nn.Module):
    """Maps of motion to differences of pixels: enlarged by 2, 4 and 4, each time convolved and normed.

    That makes the 224 pixels of an image from the 7 x 7 maps of a ResNet-50. Maps of a finer grid, 14 x 14 of
    a ViT-B/16 say, would overshoot; no step goes beyond the image, and the last one always ends there, so
    that what is to be met is pixels in every case.

    For training only: per pair of frames of 224 x 224 pixels it keeps 16 MB in float32 for the gradient, 4 GB
    for 35 videos of 8 frames.

    Args:
        width: Channels of the maps.
        norm: Makes the batch normalisation of so many channels.
    """

    def __init__(self, width: int, *, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        steps, channels = [], width
        for narrower in (128, 32, 16):
            # a bias would be taken away again by the normalisation
            convolution = nn.Conv2d(channels, narrower, 3, padding=1, bias=False)
            steps.append(nn.Sequential(convolution, norm(narrower), nn.ReLU()))
            channels = narrower
        self.steps = nn.ModuleList(steps)
        self.colours = nn.Conv2d(channels, 3, 1)

    def forward(
        self, motion: Float[Tensor, "B T _ _ _"], size: tuple[int, int]
    ) -> Float[Tensor, "B T C H W"]:
        """``size``: rows and columns of the image."""
        x, (rows, columns) = motion.flatten(0, 1), motion.shape[-2:]
        sizes = [(min(f * rows, size[0]), min(f * columns, size[1])) for f in (2, 8)]
        for larger, step in zip([*sizes, size], self.steps, strict=True):
            x = step(F.interpolate(x, larger, mode="bilinear", align_corners=False))
        return self.colours(x).unflatten(0, motion.shape[:2])


def pixel_differences(pixels: Float[Tensor, "B T C H W"]) -> Float[Tensor, "B _ C H W"]:
    """Every frame less the one before it; zero for a single frame."""
    pixels = held(pixels)
    return pixels[:, 1:] - pixels[:, :-1]


def held(frames: Float[Tensor, "B T D H W"]) -> Float[Tensor, "B _ D H W"]:
    """A single frame twice, more as they are."""
    return frames if frames.shape[1] > 1 else frames.expand(-1, 2, -1, -1, -1)
