"""ActionCLIP's post-network visual prompts: frames of a video to vectors whose mean is the video.

Wang et al., "ActionCLIP: A New Paradigm for Video Action Recognition", arXiv 2109.08472, with F the frames as
CLIP's projection leaves them, and every result averaged over its vectors:

    mean         F                              nothing is learnt
    conv         F + conv(F)                    along time, each channel on its own
    lstm         F + lstm(F)
    transf       F + transformer(F + p)         the paper's best; 18,953,728 parameters at D = 512
    transf-cls   transformer([c ; F] + p)_0     the class token alone

The residuals start the first four near the mean of CLIP's frames. Departure: the published convolution reads
the memory of ``T D`` as ``D T``, which scrambles channels and times; here the axes are exchanged.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openfsar.interpolation import stretch

HeadName = Literal["transf", "transf-cls", "conv", "lstm", "mean"]

_STD = 0.02
"""Of the normal distribution that weights and positions start from."""


class ShiftedConv(nn.Module):
    """A convolution of three frames in each channel, with a residual; at first it only shifts.

    A quarter of the channels starts with the frame before, another with the frame after, the rest in place.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, padding=1, groups=width, bias=False)
        quarter = width // 4
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[:quarter, 0, 0] = 1
            self.conv.weight[quarter : width - quarter, 0, 1] = 1
            self.conv.weight[width - quarter :, 0, 2] = 1

    def forward(self, frames: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return frames + self.conv(frames.mT).mT


class Recurrent(nn.Module):
    """An LSTM of one layer from the first frame to the last, with a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def forward(self, frames: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return frames + self.lstm(frames)[0]


class TimeTransformer(nn.Module):
    """A transformer like CLIP's over the frames, with a residual around all of it.

    Args:
        width: Feature width D.
        layers: Blocks: norm first, heads of 64 channels, MLP four times as wide, QuickGELU, no dropout.
        positions: Rows learnt, 77 as in CLIP's text tower. A video takes the first ones; one with more frames
            gets interpolated rows.

    Raises:
        ValueError: The heads do not divide ``width``, or there is no layer or no row.
    """

    def __init__(self, width: int, *, layers: int = 6, positions: int = 77) -> None:
        super().__init__()
        heads = _heads(width)
        self.positions = nn.Parameter(_STD * torch.randn(_positive("positions", positions), width))
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, heads, 4 * width, 0.0, quick_gelu, batch_first=True, norm_first=True
                )
                for _ in range(_positive("layers", layers))
            )
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):  # the fused map to queries, keys and values keeps torch's start
                nn.init.normal_(module.weight, std=_STD)
                nn.init.zeros_(module.bias)

    def forward(self, frames: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        length = frames.shape[1]
        rows = self.positions[:length] if length <= len(self.positions) else stretch(self.positions, length)
        return frames + self.layers(frames + rows)


class ClassTokenTransformer(nn.Module):
    """A transformer over a learnt token and the frames; what becomes of that token is the video.

    Args:
        width: Feature width D.
        layers: Blocks as torch makes them: norm last, 2048 hidden units, ReLU, dropout 0.1; heads of 64
            channels.
        positions: Rows learnt for frames, besides the token's own; videos of another length get interpolated
            ones.

    Raises:
        ValueError: The heads do not divide ``width``, or there is no layer or no row.
    """

    def __init__(self, width: int, *, layers: int = 6, positions: int = 8) -> None:
        super().__init__()
        heads = _heads(width)
        self.token = nn.Parameter(_STD * torch.randn(width))
        self.positions = nn.Parameter(_STD * torch.randn(1 + _positive("positions", positions), width))
        """The token's comes first."""
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(width, heads, batch_first=True)
                for _ in range(_positive("layers", layers))
            )
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, frames: Float[Tensor, "B T D"]) -> Float[Tensor, "B 1 D"]:
        rows = torch.cat([self.positions[:1], stretch(self.positions[1:], frames.shape[1])])
        tokens = torch.cat([self.token.to(frames.dtype).expand(len(frames), 1, -1), frames], 1)
        return self.norm(self.layers(tokens + rows)[:, :1])


def make_head(name: HeadName, width: int, *, layers: int = 6, positions: int | None = None) -> nn.Module:
    """The head of that name, from ``B T D`` to ``B X D``; what it does not use it does not read.

    Args:
        positions: None for the published number: 77 in "transf", 8 in "transf-cls".

    Raises:
        ValueError: No such head, or sizes it cannot have.
    """
    makers = {
        "transf": lambda: TimeTransformer(
            width, layers=layers, positions=77 if positions is None else positions
        ),
        "transf-cls": lambda: ClassTokenTransformer(
            width, layers=layers, positions=8 if positions is None else positions
        ),
        "conv": lambda: ShiftedConv(width),
        "lstm": lambda: Recurrent(width),
        "mean": nn.Identity,
    }
    if name not in makers:
        raise ValueError(f"option visual={name!r} is unknown; use one of {', '.join(map(repr, makers))}")
    return makers[name]()


def quick_gelu(x: Float[Tensor, "*b D"]) -> Float[Tensor, "*b D"]:
    """OpenAI's approximation of GELU."""
    return x * torch.sigmoid(1.702 * x)


def _heads(width: int) -> int:
    """As many as CLIP's text tower of that width has."""
    heads = max(1, width // 64)
    if width % heads:
        raise ValueError(
            f"a transformer over frames of width {width} would have {heads} heads, which do not divide it; "
            "use visual='conv', 'lstm' or 'mean' with this encoder"
        )
    return heads


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"option {name}={value!r} must be at least 1")
    return value
