"""Which frames of a video to look at: pure functions from a frame count to frame numbers.

Without a generator a sampler is deterministic (testing), with one it draws (training). What it would draw
between a first and a last place it takes at the share ``at`` of the way, the middle unless told otherwise;
that is how several views of one video differ. Videos with fewer
frames than needed are lengthened by a named policy first:

- ``"repeat"``: every frame is shown longer, evenly, in order: 0 0 1 1 2
- ``"loop"``: the video starts again: 0 1 2 0 1
- ``"error"``: a ``ValueError``
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator

Short = Literal["repeat", "loop", "error"]


def segments(
    length: int,
    frames: int,
    generator: Generator | None = None,
    *,
    at: float = 0.5,
    short: Short = "repeat",
) -> list[int]:
    """One frame from each of ``frames`` equal segments: its centre, or anywhere in it (TSN, 1608.00859, 3.1).

    Used by MA-FSAR, ActionCLIP, HyRSM, MoLo, OTAM and GgHM.
    """
    video = _lengthened(length, frames, short)
    edges = [i * len(video) // frames for i in range(frames + 1)]
    if generator is None:
        return [video[int((i + at) * len(video) / frames)] for i in range(frames)]
    draws = torch.rand(frames, generator=generator, dtype=torch.float64).tolist()
    return [
        video[low + int(u * (high - low))] for low, high, u in zip(edges[:-1], edges[1:], draws, strict=True)
    ]


def clip_fsar_uniform(
    length: int,
    frames: int,
    generator: Generator | None = None,
    *,
    at: float = 0.5,
    short: Short = "repeat",
) -> list[int]:
    """CLIP-FSAR on SSv2, HMDB51 and UCF101: one frame from each of equal segments of whole frames.

    A segment has floor(length / frames) frames; the last ``length % frames`` are never seen. The original
    draws at test time too: pass a generator there to do the same; without one the middle is taken.
    """
    video = _lengthened(length, frames, short)
    step = len(video) // frames
    if generator is None:
        return [video[i * step + int(at * step)] for i in range(frames)]
    draws = torch.randint(step, (frames,), generator=generator).tolist()
    return [video[i * step + draw] for i, draw in enumerate(draws)]


def clip_fsar_strided(
    length: int,
    frames: int,
    generator: Generator | None = None,
    *,
    fps: int | float,
    rate: int = 35,
    target_fps: float = 12.0,
    short: Short = "repeat",
) -> list[int]:
    """CLIP-FSAR on Kinetics-100: evenly spaced frames of one stretch, ``rate`` apart at ``target_fps``.

    The stretch starts anywhere in training and in the middle of what is left at test time; where it is longer
    than the video (clips of 10 s and the default rate) it is cut to a multiple of ``frames``.
    """
    video = _lengthened(length, frames, short)
    stretch = frames * rate * fps / target_fps
    if stretch > len(video):
        stretch = float(frames * (len(video) // frames))
    room = len(video) - stretch + 1
    start = room * (0.5 if generator is None else float(torch.rand(1, generator=generator)))
    # Below `rate` frames the original's end would come before its start and play the video backwards.
    span = max(0.0, stretch - rate)
    gap = span / max(1, frames - 1)
    return [video[min(int(start + i * gap), len(video) - 1)] for i in range(frames)]


def trx_linspace(
    length: int, frames: int, generator: Generator | None = None, *, short: Short = "repeat"
) -> list[int]:
    """TRX: evenly spaced frames from the second to the last but one; in training both ends move by up to 5.

    Used by TRX, STRM and FSAR-lib. A video with no frames to spare is used from end to end.
    """
    video = _lengthened(length, frames, short)
    last = len(video) - 1
    if generator is None:
        start, end = 1, last - 1
    else:
        slack = min(5, (len(video) - frames) // 2)
        low, high = torch.randint(slack + 1, (2,), generator=generator).tolist()
        start, end = low, last - high
    if end - start < frames:
        start, end = 0, last
    return [video[start + i * (end - start) // max(1, frames - 1)] for i in range(frames)]


def strided(
    length: int,
    frames: int,
    generator: Generator | None = None,
    *,
    stride: int,
    at: float = 0.5,
    short: Short = "repeat",
) -> list[int]:
    """Frames ``stride`` apart, from anywhere in the video or its middle: what M2-CLIP does on Kinetics.

    A video too short for that is looked at from end to end, evenly.
    """
    _check(stride=stride)
    video = _lengthened(length, frames, short)
    stride = min(stride, (len(video) - 1) // max(1, frames - 1))
    room = len(video) - (frames - 1) * stride
    place = at if generator is None else float(torch.rand(1, generator=generator, dtype=torch.float64))
    start = min(int(place * room), room - 1)
    return [video[start + i * stride] for i in range(frames)]


def dense_windows(
    length: int, frames: int, *, stride: int = 1, hop: int | None = None, short: Short = "repeat"
) -> list[list[int]]:
    """Windows of ``frames`` frames, ``stride`` apart, that slide over the whole video by ``hop``.

    Args:
        hop: frames from one window's start to the next; by default windows do not overlap. The last window
            ends with the video, so every part of it is covered.
    """
    _check(stride=stride, hop=1 if hop is None else hop)
    span = (frames - 1) * stride + 1
    video = _lengthened(length, span, short)
    last = len(video) - span
    starts = [*range(0, last, hop or frames * stride), last]
    return [[video[start + i * stride] for i in range(frames)] for start in starts]


def _lengthened(length: int, needed: int, short: Short) -> Sequence[int]:
    """The frames of a video, in order, made up to ``needed`` if there are fewer."""
    _check(length=length, frames=needed)
    if length >= needed:
        return range(length)
    if short == "repeat":
        return [i * length // needed for i in range(needed)]
    if short == "loop":
        return [i % length for i in range(needed)]
    if short == "error":
        raise ValueError(f"{needed} frames are needed, the video has {length=}; use short='repeat' or 'loop'")
    raise ValueError(f"{short=} is no policy for short videos; use 'repeat', 'loop' or 'error'")


def _check(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
