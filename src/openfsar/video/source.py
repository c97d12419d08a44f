"""What may be read and how a bad source is refused: one error, the limits, a guarded way to open a file."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import IOBase
from pathlib import Path

import av
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

Source = str | os.PathLike[str]
"""A video file, or a folder of images."""

Pipe = IOBase
"""Bytes as they come. One without a buffer, such as ``sys.stdin.buffer.raw``, loses no time."""

Indices = Sequence[int] | Callable[[int], Sequence[int]]
"""Frame numbers, or a function that chooses them once it is told how many frames there are."""

MAX_SIDE = 16_384
MAX_PIXELS = 8_192 * 8_192
MAX_PACKETS = 4_000_000
"""A day and a half at 30 frames a second; a file that yields more is taken for broken."""

# FFmpeg goes by content, not by extension: without this list a playlist or a text file named .mp4 would open,
# the former with another video's frames.
FORMATS = "mov,mp4,avi,matroska,webm,gif,mpegts,mpeg,mpegvideo,flv,asf,ogg,h264,hevc,ivf"
_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
_MEND = "it is cut short, damaged, or no video; fetch it again or re-encode it"


class VideoError(ValueError):
    """A video that cannot be read: which one, why, and what to do about it.

    Survives pickling between processes, and torch's data loaders, which make it anew from the text of the
    traceback in their worker: its last line is this error's own.
    """

    def __init__(self, source: Source, reason: str = "", remedy: str = "") -> None:
        super().__init__(str(source), reason, remedy)
        self.source, self.reason, self.remedy = str(source), reason, remedy

    def __str__(self) -> str:
        if not self.reason:
            return self.source.strip().splitlines()[-1].partition("VideoError: ")[2] or self.source
        return f"{self.source}: {self.reason}; {self.remedy}"


def check_size(source: Source, width: int, height: int) -> None:
    """Refuse a picture whose header alone shows that decoding it would exhaust the memory."""
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise VideoError(
            source,
            f"its header says {width}x{height} pixels, more than {MAX_SIDE} a side or {MAX_PIXELS} in all",
            "the header is damaged, or scale the video down first",
        )


def choose(source: Source, indices: Indices, length: int) -> list[int]:
    """The frame numbers asked for, checked against the frame count."""
    chosen = [int(i) for i in (indices(length) if callable(indices) else indices)]
    if not chosen:
        raise VideoError(source, "no frame was asked for", "give at least one frame number")
    for number in chosen:
        if not 0 <= number < length:
            raise VideoError(
                source,
                f"frame {number} was asked for, but the video has frames 0..{length - 1}",
                "choose frames by a function of the frame count, such as those of video.sampling",
            )
    return chosen


def shrunk(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    """Height and width after an aspect-keeping shrink to ``short_side``; never an enlargement."""
    if short_side is None or min(height, width) <= short_side:
        return height, width
    scale = short_side / min(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


@contextmanager
def open_video(path: Path, *, threads: int = 1) -> Iterator[VideoStream]:
    """The video stream of a file; whatever FFmpeg has to say against the file comes out as ``VideoError``."""
    _check_file(path)
    with open_stream(path, f"file:{path}", options=_OPTIONS, remedy=_MEND, threads=threads) as stream:
        yield stream


@contextmanager
def open_stream(
    source: Source,
    file: str | Pipe,
    *,
    options: dict[str, str],
    remedy: str,
    format: str | None = None,
    timeout: float | None = None,
    threads: int = 1,
) -> Iterator[VideoStream]:
    """The video stream of whatever FFmpeg can open; ``source`` and ``remedy`` are for its errors.

    Args:
        timeout: Seconds until a source that gives nothing is given up.
    """
    try:
        with av.open(
            file, "r", format=format, options=options, timeout=timeout, metadata_errors="replace"
        ) as container:
            pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
            if not pictures:
                kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
                raise VideoError(
                    source, f"has no video stream (found: {kinds})", "leave it out of the data set"
                )
            stream = pictures[0]
            if stream.codec_context is None:  # PyAV's stubs do not say so, but it happens
                raise VideoError(source, "its codec is unknown to this FFmpeg", "re-encode it as H.264")
            check_size(source, stream.width, stream.height)
            stream.thread_count = threads
            stream.thread_type = "SLICE" if threads == 1 else "AUTO"  # type: ignore[assignment]
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            stream.codec_context.open(strict=False)  # before frames are skipped: some decoders ask only now
            yield stream
    except FFmpegError as error:
        raise VideoError(source, f"cannot be decoded ({error.strerror or error})", remedy) from error


def _check_file(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise VideoError(path, (error.strerror or "cannot be opened").lower(), "check the path") from error
    except ValueError as error:  # a null byte in the name
        raise VideoError(path, str(error), "check the path") from error
    if not path.is_file():
        raise VideoError(path, "is not a regular file", "give a video file or a folder of images")
    if size == 0:
        raise VideoError(path, "is empty (0 bytes)", "fetch it again or leave it out of the data set")
