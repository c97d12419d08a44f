"""A video with the names of what happens drawn into it; frame by frame, in constant memory, without sound."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from openfsar.timeline.segments import Segment
from openfsar.video.encode import video_writer
from openfsar.video.source import Source
from openfsar.video.stream import stream_frames

Picture = UInt8[np.ndarray, "H W 3"]


def annotate(
    video: Source,
    segments: Sequence[Segment],
    out: Path,
    *,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write the video again with a banner over each segment, at its mean frame rate.

    Where segments overlap, the surest one is named. Sizes are cut to even numbers, which every player wants.

    Args:
        progress: Told the share of the video that is done, 0..1, after each frame.

    Raises:
        VideoError: The video cannot be read, or the file not be written.
    """
    with stream_frames(video, threads=0) as stream, ExitStack() as stack:
        write, size = None, (0, 0)
        for shown in stream.every(1 / stream.fps):
            picture = np.ascontiguousarray(shown.picture.permute(1, 2, 0).numpy())
            if write is None:
                height, width = (max(2, side // 2 * 2) for side in picture.shape[:2])
                size = (width, height)
                write = stack.enter_context(video_writer(out, height, width, fps=stream.fps))
            if picture.shape[1::-1] != size:
                picture = _fitted(picture, size)
            now = [s for s in segments if s.start <= shown.seconds < s.end]
            if now:
                surest = max(now, key=lambda segment: segment.confidence)
                picture = draw(picture, f"{' '.join(surest.label.split())}  {surest.confidence:.0%}")
            write(picture)
            if progress is not None and stream.expected:
                progress(min(stream.seconds / stream.expected, 1.0))


def draw(picture: Picture, text: str) -> Picture:
    """The picture with a dark banner along its lower edge that says ``text``."""
    height, width, _ = picture.shape
    strip = banner(text, width, max(2, height // 10))
    drawn = picture.copy()
    drawn[height - len(strip) :] = strip
    return drawn


@lru_cache(maxsize=64)
def banner(text: str, width: int, height: int) -> Picture:
    """White on dark, as large as fits."""
    image = Image.new("RGB", (width, height), (16, 16, 16))
    pen = ImageDraw.Draw(image)
    size = max(6, round(height * 0.7))
    while size > 6 and pen.textlength(text, font=ImageFont.load_default(size)) > 0.96 * width:
        size -= 1
    place = (round(0.02 * width), height / 2)
    pen.text(place, text, fill=(255, 255, 255), font=ImageFont.load_default(size), anchor="lm")
    return np.asarray(image)


def _fitted(picture: Picture, size: tuple[int, int]) -> Picture:
    """A frame of odd sides without its last row or column; one of another size altogether, scaled."""
    width, height = size
    if picture.shape[0] - height in (0, 1) and picture.shape[1] - width in (0, 1):
        return picture[:height, :width]
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
