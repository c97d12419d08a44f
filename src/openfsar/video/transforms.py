"""From frames to what an encoder expects: uint8 in, uint8 out, one draw per clip from an explicit generator.

Who uses what:

- CLIP, and the zero-shot baseline: ``resize`` "aspect", bicubic with antialias, short side to the crop size,
  centre crop (``eval_transform``).
- TRX, STRM, HyRSM, SloshNet, MA-FSAR: "aspect", short side 256, crop 224 at random in training.
- CLIP-FSAR, MoLo: "squash", bilinear without antialias straight to 256 x 256, crop 224 (centre at test time).

Normalisation belongs to the encoder.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Generator, Tensor

from openfsar.video.colour import ColourJitter, colour_jitter

Resize = Literal["aspect", "squash"]

CROP_MARGIN = 256 / 224
"""Side before cropping over side after it, in the papers."""


def resize(
    frames: UInt8[Tensor, "T C H W"],
    size: int,
    *,
    mode: Resize = "aspect",
    interpolation: Literal["bicubic", "bilinear"] = "bicubic",
    antialias: bool = True,
) -> UInt8[Tensor, "T C _ _"]:
    """Scale so that the short side is ``size`` ("aspect"), or to ``size`` x ``size`` ("squash").

    With antialias the result is within one grey level of Pillow's, hence of CLIP's own preprocessing.
    """
    height, width = frames.shape[-2:]
    if mode == "aspect":
        short = min(height, width)
        target = (size * height // short, size * width // short)
    elif mode == "squash":
        target = (size, size)
    else:
        raise ValueError(f"{mode=} is no way to resize; use 'aspect' or 'squash'")
    if target == (height, width):
        return frames
    if antialias and frames.device.type == "cpu":  # the one case that torch computes on bytes
        return F.interpolate(frames, target, mode=interpolation, antialias=True)
    scaled = F.interpolate(frames.float(), target, mode=interpolation, antialias=antialias)
    return scaled.round_().clamp_(0, 255).to(torch.uint8)


def place_crop(frames: UInt8[Tensor, "T C H W"], size: int, at: float) -> UInt8[Tensor, "T C {size} {size}"]:
    """``size`` x ``size`` pixels at the share ``at`` of the way along the longer side, in the middle of the
    other; 0.5 is the middle."""
    down, right = _slack(frames, size)
    if right >= down:
        return _crop(frames, down // 2, int(at * right), size)
    return _crop(frames, int(at * down), right // 2, size)


def random_crop(
    frames: UInt8[Tensor, "T C H W"], size: int, generator: Generator
) -> UInt8[Tensor, "T C {size} {size}"]:
    """``size`` x ``size`` pixels from one place drawn for the whole clip."""
    down, right = _slack(frames, size)
    u, v = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    return _crop(frames, int(u * (down + 1)), int(v * (right + 1)), size)


def horizontal_flip(frames: UInt8[Tensor, "T C H W"]) -> UInt8[Tensor, "T C H W"]:
    """Left and right exchanged. Not for classes that tell left from right (most of SSv2)."""
    return frames.flip(-1)


def eval_transform(
    frames: UInt8[Tensor, "T C H W"], size: int, *, resize: Resize = "aspect", at: float = 0.5
) -> UInt8[Tensor, "T C {size} {size}"]:
    """Scale and take the centre: CLIP's preprocessing for "aspect", CLIP-FSAR's for "squash".

    Another ``at`` takes another place along the longer side, for several views of one video.
    """
    scaled = _scaled(frames, size, size if resize == "aspect" else _with_margin(size), resize)
    return place_crop(scaled, size, at)


def train_transform(
    frames: UInt8[Tensor, "T C H W"],
    size: int,
    *,
    generator: Generator,
    resize: Resize = "aspect",
    flip: bool = False,
    jitter: ColourJitter | None = None,
) -> UInt8[Tensor, "T C {size} {size}"]:
    """Scale with a margin of 256:224 and crop at random; mirror (half of the clips) and jitter if asked."""
    frames = random_crop(_scaled(frames, size, _with_margin(size), resize), size, generator)
    if flip and torch.rand(1, generator=generator) < 0.5:
        frames = horizontal_flip(frames)
    return frames if jitter is None else colour_jitter(frames, jitter, generator=generator)


def _scaled(frames: Tensor, size: int, side: int, mode: Resize) -> Tensor:
    if mode == "squash":
        return resize(frames, side, mode=mode, interpolation="bilinear", antialias=False)
    return resize(frames, side, mode=mode)


def _with_margin(size: int) -> int:
    return round(size * CROP_MARGIN)


def _slack(frames: Tensor, size: int) -> tuple[int, int]:
    height, width = frames.shape[-2:]
    if min(height, width) < size:
        raise ValueError(f"cannot crop {size=} from frames of {height}x{width}; resize them first")
    return height - size, width - size


def _crop(frames: Tensor, top: int, left: int, size: int) -> Tensor:
    return frames[..., top : top + size, left : left + size]
