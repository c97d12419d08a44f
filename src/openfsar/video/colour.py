"""Colour jitter as in CLIP-FSAR's Kinetics-100 recipe: one draw per clip, so that colours do not flicker."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L"


@dataclass(frozen=True)
class ColourJitter:
    """How far colours may move. The defaults are CLIP-FSAR's and SloshNet's (training queries only)."""

    brightness: float = 0.5
    """Factors of brightness, contrast and saturation are drawn from 1 - x .. 1 + x."""

    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.25
    """Hue is turned by -x .. x of a full circle."""

    grey: float = 0.3
    """Probability that the clip loses its colour altogether."""


def colour_jitter(
    frames: UInt8[Tensor, "T 3 H W"], jitter: ColourJitter, *, generator: Generator
) -> UInt8[Tensor, "T 3 H W"]:
    """Grey or not, then brightness, contrast, saturation and hue in random order."""
    draws = (2 * torch.rand(4, generator=generator) - 1).tolist()
    to_grey = float(torch.rand(1, generator=generator)) < jitter.grey
    steps = [
        lambda x: brightness(x, 1 + draws[0] * jitter.brightness),
        lambda x: contrast(x, 1 + draws[1] * jitter.contrast),
        lambda x: saturation(x, 1 + draws[2] * jitter.saturation),
        lambda x: hue(x, draws[3] * jitter.hue),
    ]
    x = frames / 255
    if to_grey:
        x = saturation(x, 0.0)
    for step in torch.randperm(len(steps), generator=generator).tolist():
        x = steps[step](x)
    return (x * 255).round_().to(torch.uint8)


def brightness(x: Float[Tensor, "T 3 H W"], factor: float) -> Float[Tensor, "T 3 H W"]:
    """Values in 0..1 times ``factor``."""
    return (x * factor).clamp_(0, 1)


def contrast(x: Float[Tensor, "T 3 H W"], factor: float) -> Float[Tensor, "T 3 H W"]:
    """Away from (factor > 1) or towards the mean grey of each frame."""
    mean = luma(x).mean((-2, -1), keepdim=True)
    return (mean + factor * (x - mean)).clamp_(0, 1)


def saturation(x: Float[Tensor, "T 3 H W"], factor: float) -> Float[Tensor, "T 3 H W"]:
    """Away from (factor > 1) or towards each pixel's grey."""
    grey = luma(x)
    return (grey + factor * (x - grey)).clamp_(0, 1)


def hue(x: Float[Tensor, "T 3 H W"], turn: float) -> Float[Tensor, "T 3 H W"]:
    """Hue turned by a part of the full circle, in HSV."""
    value, low = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    chroma = value - low
    red, green, blue = x.split(1, dim=1)
    sector = torch.where(
        value == red, (green - blue), torch.where(value == green, (blue - red), (red - green))
    ) / chroma.clamp(min=torch.finfo(x.dtype).tiny)
    offset = torch.where(value == red, 0.0, torch.where(value == green, 2.0, 4.0))
    # Each channel is the value less a trapezoid of the hue, three copies a third of a circle apart.
    phase = torch.tensor([5.0, 3.0, 1.0], device=x.device, dtype=x.dtype).view(1, 3, 1, 1)
    k = (phase + sector + offset + 6 * (turn - math.floor(turn))) % 6
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


def luma(x: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "T 1 H W"]:
    """Grey as the eye weighs the colours."""
    weights = torch.tensor(_LUMA, device=x.device, dtype=x.dtype).view(1, 3, 1, 1)
    return (x * weights).sum(1, keepdim=True)
