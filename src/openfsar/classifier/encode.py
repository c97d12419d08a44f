"""From video files to frame features: one batch is decoded by threads while the one before is encoded."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, UInt8
from rich.console import Console
from rich.progress import track
from torch import Tensor

from openfsar.episode import Clip, FrameFeatures
from openfsar.methods.base import FewShotMethod
from openfsar.video import VideoError, read_frames
from openfsar.video.sampling import segments
from openfsar.video.transforms import eval_transform

Video: TypeAlias = str | Path | Clip
"""A file, a folder of images, or frames in memory."""

DECODED_SIDE = 256
"""Frames are shrunk to this short side while decoding (as in the frame cache), so that 4K footage fits."""


@dataclass(frozen=True)
class Encoded:
    """A batch of videos: what became of each."""

    videos: Sequence[Video]
    errors: Sequence[VideoError | None]
    """One per video; None where it could be read."""
    features: FrameFeatures | None
    """Of the readable videos, in order; None where there is none."""


def read_clip(
    video: Video, *, frames: int, size: int, resize: Literal["aspect", "squash"]
) -> UInt8[Tensor, "T C {size} {size}"]:
    """One frame from the centre of each of ``frames`` equal segments, at the encoder's size.

    Raises:
        VideoError: where the video cannot be read.
    """
    if isinstance(video, Clip):
        chosen = video.frames[segments(len(video), frames)]
    else:
        side = max(size, DECODED_SIDE)
        chosen = read_frames(video, lambda length: segments(length, frames), short_side=side).frames
    return eval_transform(chosen, size, resize=resize)


def encode_videos(
    method: FewShotMethod,
    videos: Sequence[Video],
    text: Float[Tensor, "V D"] | None = None,
    *,
    frames: int,
    resize: Literal["aspect", "squash"],
    batch: int,
    workers: int,
    progress: bool,
) -> Iterator[Encoded]:
    """Features in batches, in order; memory holds two batches of clips.

    Args:
        text: the class feature of each video, for support videos of methods that read it.
    """
    device = next(method.parameters()).device
    size = method.encoder.image_size
    starts = range(0, len(videos), batch)
    console = Console(stderr=True)
    shown = progress and console.is_terminal
    with ThreadPoolExecutor(workers) as pool:

        def decode(start: int) -> list[Future[Tensor]]:
            chunk = videos[start : start + batch]
            return [pool.submit(read_clip, v, frames=frames, size=size, resize=resize) for v in chunk]

        ahead = decode(0)
        for start in track(starts, "encoding", console=console, transient=True, disable=not shown):
            reading, ahead = ahead, decode(start + batch)
            clips: list[Tensor] = []
            kept: list[int] = []
            errors: list[VideoError | None] = []
            for place, future in enumerate(reading, start):
                try:
                    clips.append(future.result())
                except VideoError as error:
                    errors.append(error)
                else:
                    kept.append(place)
                    errors.append(None)
            features = None
            if clips:
                with torch.no_grad():
                    pixels = torch.stack(clips).to(device)
                    features = method.encode(pixels, None if text is None else text[kept])
            yield Encoded(videos[start : start + batch], errors, features)
