"""Where in a video a frame stands, added to its features: HyRSM's sinusoids (arXiv 2204.13423)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class PositionEncoding(nn.Module):
    """``sqrt(D / divisor) * frame + weight * sinusoid``.

    The usual sinusoid has sine and cosine of one frequency, ``10000^(-2i / D)``, in channels 2i and 2i + 1.
    The released code counts channels twice: the exponent in channel c is ``-2c / D``, so that sine and cosine
    differ in frequency and frequencies fall to 1e-8. Of that code's energy 6 % tells the 8 frames of a video
    apart, of the usual one's 13 % (at any width from 64 to 2048).

    Args:
        width: Feature width D.
        divisor: 10 in the released code; 2048, which leaves its features as they are, on Kinetics.
        weight: Of the sinusoid: 1; 0.01 on Kinetics.
        released: Whether exponents are those of the released code.
        dropout: On the sum.

    Raises:
        ValueError: ``divisor`` is not positive.
    """

    def __init__(
        self,
        width: int,
        *,
        divisor: float = 10.0,
        weight: float = 1.0,
        released: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not divisor > 0:
            raise ValueError(f"option {divisor=} must be a positive number; 10 is the published value")
        self.gain, self.weight, self.released = math.sqrt(width / divisor), weight, released
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Float[Tensor, "*b T D"]) -> Float[Tensor, "*b T D"]:
        dtype = torch.promote_types(frames.dtype, torch.float32)
        step, channel = (torch.arange(n, device=frames.device, dtype=dtype) for n in frames.shape[-2:])
        exponent = (2 * channel if self.released else channel - channel % 2) / frames.shape[-1]
        angles = step[:, None] * 10000.0**-exponent
        code = torch.where(channel % 2 == 0, angles.sin(), angles.cos())
        return self.dropout((self.gain * frames.to(dtype) + self.weight * code).to(frames.dtype))
