"""A video from its first frame to its last in bounded memory: the pictures shown at evenly spaced times.

Files, folders of images, cameras, network streams and pipes are read alike. Every frame is decoded once, and
only what is shown at a time asked for becomes a picture.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TypeGuard, cast

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8
from torch import Tensor

from openfsar.video import images
from openfsar.video.decode import to_picture
from openfsar.video.index import decode_all
from openfsar.video.source import FORMATS, Pipe, Source, VideoError, open_stream, open_video

NOMINAL_FPS = 25.0
MAX_GAP = 600.0
"""Seconds for which one frame may be shown; a longer wait is taken for a jump of the clock."""
_STEP_BACK = 1.0
"""Seconds by which times may go back without being a jump: frames of some files are slightly out of order."""
_ROUNDING = 1e-6
"""Seconds by which a frame may come too late to be shown: times of frames and times asked for often meet."""
_SILENCE = 10.0
"""Seconds after which a network stream that sends nothing is given up."""

# A playlist from the network must not name files of this machine, hence no "file".
_NETWORK = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,crypto,hls,rtmp,rtmps,srt"
_CAMERA = "the camera must be there and in use by nobody else; `v4l2-ctl --list-devices` lists cameras"
_ADDRESS = "check the address, in a player such as VLC for instance, and whether the sender is on"
_PIPE = "send a stream such as Matroska or MPEG-TS, as `ffmpeg -i VIDEO -f matroska -` does"


@dataclass(frozen=True)
class Moment:
    """A frame on its way: when it is shown, and how to make a picture of it."""

    seconds: float | None
    """None where the source does not say."""
    lasts: float
    """Seconds, as the source says or as is usual in it."""
    paint: Callable[[], UInt8[Tensor, "C H W"]]


@dataclass(frozen=True)
class Shown:
    """What is shown at one of the times asked for."""

    seconds: float
    """From the first frame."""
    picture: UInt8[Tensor, "C H W"]


class FrameStream:
    """The frames of one source, to be gone through once.

    Args:
        source: For errors.
        moments: The frames in the order in which they are shown.
        fps: Frames a second.
        expected: How many seconds there are, as far as the header knows.
    """

    def __init__(
        self, source: Source, moments: Iterator[Moment], *, fps: float, expected: float | None
    ) -> None:
        self._source, self._moments = source, moments
        self.fps, self.expected = fps, expected
        self.seconds = 0.0
        """From the first frame to the end of the last one seen so far: at the end, the duration."""
        self.frames = 0
        """Seen so far."""

    def every(self, step: float) -> Iterator[Shown]:
        """The pictures at 1/2, 3/2, 5/2 .. of ``step`` seconds from the first frame; at least one.

        Raises:
            VideoError: There is no frame, or a picture cannot be made.
        """
        number = 0
        held: Moment | None = None
        for now, moment in self._in_time():
            while held is not None and (number + 0.5) * step < now - _ROUNDING:
                yield Shown((number + 0.5) * step, held.paint())
                number += 1
            held = moment
        if held is None:
            raise VideoError(
                self._source, "shows no frame that can be decoded", "fetch it again or leave it out"
            )
        while (number + 0.5) * step < self.seconds or number == 0:
            yield Shown((number + 0.5) * step, held.paint())
            number += 1

    def _in_time(self) -> Iterator[tuple[float, Moment]]:
        """Frames with their time from the first one: never backwards, and without jumps of the clock."""
        offset = now = 0.0
        for moment in self._moments:
            if self.frames == 0:
                offset = -(moment.seconds or 0.0)
            else:
                said = None if moment.seconds is None else moment.seconds + offset
                if said is not None and now - _STEP_BACK <= said <= now + MAX_GAP:
                    now = max(now, said)
                else:
                    now += 1 / self.fps
                    offset += 0.0 if said is None else now - said
            self.frames += 1
            self.seconds = now + moment.lasts
            yield now, moment


@contextmanager
def stream_frames(
    source: Source, *, short_side: int | None = None, threads: int = 1
) -> Iterator[FrameStream]:
    """A video file, or a folder of images.

    Args:
        short_side: Shrink pictures until the short side has so many pixels; never enlarges.
        threads: Decoder threads; 0 takes as many as there are cores.

    Raises:
        VideoError: The source is missing, damaged or too large.
    """
    path = Path(source)
    if path.is_dir():
        yield _of_images(path, short_side)
        return
    with open_video(path, threads=threads) as stream:
        yield _of_stream(path, stream, decode_all(stream), short_side)


@contextmanager
def stream_live(source: Source | Pipe, *, short_side: int | None = None) -> Iterator[FrameStream]:
    """A camera such as /dev/video0, an address such as rtsp://.., or an open pipe of bytes.

    Raises:
        VideoError: The source does not answer, falls silent, or sends no video.
    """
    name, opened = str(source), partial(open_stream, timeout=_SILENCE)
    if isinstance(source, Pipe):
        name = "the pipe"
        opening = open_stream(name, source, options={"format_whitelist": FORMATS}, remedy=_PIPE)
    elif is_address(source):
        options = {"protocol_whitelist": _NETWORK, "rtsp_transport": "tcp", "fflags": "nobuffer"}
        opening = opened(name, name, options=options, remedy=_ADDRESS)
    else:
        opening = opened(name, name, options={}, remedy=_CAMERA, format="v4l2")
    with opening as stream:
        yield _of_stream(name, stream, decode_all(stream, endless=True), short_side)


def is_address(source: Source | Pipe) -> TypeGuard[str]:
    """Whether it names something on a network."""
    return isinstance(source, str) and "://" in source


def is_camera(source: Source | Pipe) -> bool:
    """Whether it is a device that makes frames."""
    return not isinstance(source, Pipe) and not is_address(source) and Path(source).is_char_device()


def _of_stream(
    source: Source, stream: VideoStream, frames: Iterator[VideoFrame], short_side: int | None
) -> FrameStream:
    fps = float(stream.average_rate or stream.guessed_rate or NOMINAL_FPS)
    base = stream.time_base or 1 / Fraction(fps)
    length = stream.duration
    moments = (
        Moment(
            seconds=None if frame.pts is None else float(frame.pts * base),  # the last frames have no .time
            lasts=float(frame.duration * base) if frame.duration else 1 / fps,
            paint=partial(to_picture, source, frame, short_side),
        )
        for frame in frames
        if not frame.is_corrupt
    )
    if length is not None:
        return FrameStream(source, moments, fps=fps, expected=float(length * base))
    whole = cast(InputContainer, stream.container).duration  # in microseconds; Matroska knows no other
    return FrameStream(source, moments, fps=fps, expected=None if not whole or whole < 0 else whole / 1e6)


def _of_images(folder: Path, short_side: int | None) -> FrameStream:
    files = images.list_images(folder)
    lasts = 1 / images.NOMINAL_FPS
    moments = (
        Moment(number * lasts, lasts, partial(images.load, file, short_side))
        for number, file in enumerate(files)
    )
    return FrameStream(folder, moments, fps=images.NOMINAL_FPS, expected=len(files) * lasts)
