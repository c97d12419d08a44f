"""From video files to frame features: one batch is decoded by threads while the one before is encoded."""

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from openfsar.classifier.progress import batches
from openfsar.episode import Clip, FrameFeatures
from openfsar.methods.base import FewShotMethod
from openfsar.video import VideoError, read_frames
from openfsar.video.sampling import segments
from openfsar.video.transforms import eval_transform

Video: TypeAlias = str | Path | Clip
"""A file, a folder of images, or frames in memory."""

Resize: TypeAlias = Literal["aspect", "squash"]
"""Shorter side, then centre crop; or the whole frame, proportions lost."""

DECODED_SIDE = 256
"""Frames are shrunk to this short side while decoding (as in the frame cache), so that 4K footage fits."""

STRIP_HEIGHT = 64
"""Pixels of a film strip."""


@dataclass(frozen=True)
class Encoded:
    """A batch of videos: what became of each."""

    videos: Sequence[Video]
    errors: Sequence[VideoError | None]
    """One per video; None where it could be read."""
    features: FrameFeatures | None
    """Of the readable videos, in order; None where there is none."""
    asked: FrameFeatures | None
    """The same videos in the role of queries, where ``both`` roles were wanted."""
    strips: Sequence[bytes]
    """A film strip of each readable video, where they were wanted."""


def read_clip(video: Video, *, frames: int, size: int, resize: Resize) -> UInt8[Tensor, "T C {size} {size}"]:
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


def film_strip(frames: UInt8[Tensor, "T C H W"]) -> bytes:
    """The frames side by side as a JPEG of a few kilobytes, for people to look at."""
    row = frames.permute(2, 0, 3, 1).flatten(1, 2)  # H, T * W, C
    width = max(1, round(row.shape[1] * STRIP_HEIGHT / row.shape[0]))
    picture = Image.fromarray(row.numpy()).resize((width, STRIP_HEIGHT), Image.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return file.getvalue()


def encode_videos(
    method: FewShotMethod,
    videos: Sequence[Video],
    text: Float[Tensor, "V D"] | None = None,
    *,
    both: bool = False,
    strips: bool = False,
    frames: int,
    resize: Resize,
    batch: int,
    workers: int,
    progress: bool,
) -> Iterator[Encoded]:
    """Features in batches, in order; memory holds two batches of clips.

    Args:
        text: the class feature of each video, for support videos of methods that read it.
        both: encode each video as a query, too, from the same pixels; free where the roles are alike.
        strips: draw a film strip of each video.
    """
    device = next(method.parameters()).device
    size = method.encoder.image_size

    def read(video: Video) -> tuple[Tensor, bytes]:
        clip = read_clip(video, frames=frames, size=size, resize=resize)
        return clip, film_strip(clip) if strips else b""

    with ThreadPoolExecutor(workers) as pool, ExitStack() as leaving:
        leaving.callback(pool.shutdown, cancel_futures=True)  # who stops early does not wait for the rest

        def decode(start: int) -> list[Future[tuple[Tensor, bytes]]]:
            return [pool.submit(read, video) for video in videos[start : start + batch]]

        ahead = decode(0)
        for start in batches(len(videos), batch, "encoding", shown=progress):
            reading, ahead = ahead, decode(start + batch)
            clips: list[Tensor] = []
            drawn: list[bytes] = []
            kept: list[int] = []
            errors: list[VideoError | None] = []
            for place, future in enumerate(reading, start):
                try:
                    clip, strip = future.result()
                except VideoError as error:
                    errors.append(error)
                else:
                    clips.append(clip)
                    drawn.append(strip)
                    kept.append(place)
                    errors.append(None)
            features = asked = None
            if clips:
                with torch.no_grad():
                    pixels = torch.stack(clips).to(device)
                    features = method.encode(pixels, None if text is None else text[kept])
                    if both:
                        asked = features if text is None else method.encode(pixels)
            yield Encoded(videos[start : start + batch], errors, features, asked, drawn if strips else [])
