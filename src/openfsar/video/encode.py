"""Writing video files: small, seekable, the same bytes for the same frames, complete or not there at all."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from jaxtyping import UInt8
from torch import Tensor

from openfsar.video.decode import SCALER
from openfsar.video.source import Source, VideoError


def write_video(
    path: Source,
    frames: UInt8[Tensor, "T 3 H W"],
    *,
    fps: int | float = 16.0,
    crf: int = 20,
    gop: int = 16,
    codec: str = "libx264",
) -> None:
    """Write RGB frames as a video file, tagged BT.709 in limited range, which every player reads.

    The decoded size always equals the size given: odd sizes, which 4:2:0 chroma cannot hold, are stored as
    4:4:4 (some browsers do not play that). The file appears under its name only when complete.

    Args:
        path: container by its extension: .mp4, .mkv, .avi, ...
        fps: frames per second.
        crf: quality of x264, 0 (lossless) to 51.
        gop: frames from one keyframe to the next.
        codec: an encoder of FFmpeg's.

    Raises:
        VideoError: no frame is given, or FFmpeg refuses codec, container or path.
    """
    if len(frames) == 0:
        raise VideoError(path, "no frame was given to write", "give at least one frame")
    height, width = frames.shape[-2:]
    with video_writer(path, height, width, fps=fps, crf=crf, gop=gop, codec=codec) as write:
        for array in frames.permute(0, 2, 3, 1).cpu().numpy():
            write(array)


@contextmanager
def video_writer(
    path: Source,
    height: int,
    width: int,
    *,
    fps: int | float = 16.0,
    crf: int = 20,
    gop: int = 16,
    codec: str = "libx264",
) -> Iterator[Callable[[UInt8[np.ndarray, "H W 3"]], None]]:
    """What writes one frame after the other, as ``write_video`` does: the file is there when the block ends.

    Raises:
        VideoError: FFmpeg refuses codec, container or path.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        if av.Codec(codec, "w").type != "video":
            raise ValueError(f"{codec=} does not encode video")
        with av.open(f"file:{partial}", "w", options=_container_options(path)) as container:
            options = {"crf": str(crf), "preset": "veryfast", "threads": "1"} if codec == "libx264" else {}
            rate = Fraction(fps).limit_denominator(1001)
            stream = cast(VideoStream, container.add_stream(codec, rate=rate, options=options))
            stream.width, stream.height, stream.gop_size = width, height, gop
            stream.pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
            stream.thread_count = 1
            _tag_colours(stream)
            yield lambda array: container.mux(stream.encode(_to_yuv(array, stream)))
            container.mux(stream.encode(None))
        os.replace(partial, path)
    except VideoError:  # of a video that is read meanwhile
        raise
    except (FFmpegError, OSError, ValueError) as error:  # unknown codecs are ValueErrors
        raise VideoError(
            path,
            f"cannot be written ({error})",
            "check folder, extension and codec ('libx264' in .mp4 works)",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _container_options(path: Path) -> dict[str, str]:
    """In mp4 the index goes to the front, so that a browser can start before the last byte has arrived."""
    return {"movflags": "+faststart"} if path.suffix.lower() in {".mp4", ".mov", ".m4v"} else {}


def _tag_colours(stream: VideoStream) -> None:
    stream.codec_context.colorspace = Colorspace.ITU709
    stream.codec_context.color_range = ColorRange.MPEG
    stream.codec_context.color_primaries = ColorPrimaries.BT709
    stream.codec_context.color_trc = ColorTrc.BT709


def _to_yuv(array: np.ndarray, stream: VideoStream) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
    return frame.reformat(
        format=stream.pix_fmt,
        interpolation=SCALER,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        threads=1,
    )
