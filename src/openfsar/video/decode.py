"""Frame-exact reading: the frames asked for and no others, from as few decoded packets as possible.

Frames are identified by their timestamps, never by index / fps. A seek is made only over keyframes that lie
between wanted frames, and its outcome is checked; whatever it fails to deliver is found by decoding in order.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from jaxtyping import UInt8
from torch import Tensor

from openfsar.episode import Clip
from openfsar.video import images
from openfsar.video.canvas import Canvas
from openfsar.video.index import FrameIndex, decode, decode_all, index_by_decoding, index_packets, packets
from openfsar.video.source import Indices, Source, VideoError, check_size, choose, open_video, shrunk

SEEK_COST = 8
"""Packets one might as well decode instead of seeking over them."""

# The default scaler is faster by 0.3 ms a frame of 320x240 and off by twice as much in colour.
SCALER = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)


@dataclass(frozen=True)
class VideoInfo:
    """What a video holds."""

    frames: int
    """Exact number of frames shown."""

    seconds: float
    """From the first frame to the end of the last."""

    fps: float
    """Mean frame rate: frames / seconds."""

    width: int
    """In pixels as displayed, after rotation; pixels are taken as square."""

    height: int
    rotation: int
    """Degrees clockwise by which the stored picture is turned for display: 0, 90, 180 or 270."""

    codec: str
    lost: int
    """Frames the header promised but the file lacks."""


def probe(source: Source) -> VideoInfo:
    """Frame count, duration and size of a video; decodes one frame, to learn its size and orientation.

    Raises:
        VideoError: the source is missing, damaged, too large, or holds no video frame.
    """
    path = Path(source)
    if path.is_dir():
        count, height, width = images.measure(path)
        fps = images.NOMINAL_FPS
        return VideoInfo(count, count / fps, fps, width, height, rotation=0, codec="images", lost=0)

    with open_video(path) as stream:
        codec = stream.codec_context.codec.canonical_name
        index = index_packets(stream)
    index = _nonempty(path, index_by_decoding(path) if index is None else index)
    with open_video(path) as stream:
        frame = next(decode_all(stream), None)
    if frame is None:
        raise VideoError(
            path, "none of its frames can be decoded", "re-encode it or leave it out of the data set"
        )
    a, b, c, _ = _matrix(frame)
    rotation = round(math.degrees(math.atan2(b, a)) / 90) % 4 * 90
    width, height = (frame.height, frame.width) if abs(c) > abs(a) else (frame.width, frame.height)
    fps = float(len(index) / index.duration)
    return VideoInfo(len(index), float(index.duration), fps, width, height, rotation, codec, index.lost)


def read_frames(source: Source, indices: Indices, *, short_side: int | None = None, threads: int = 1) -> Clip:
    """Frames of a video file or of a folder of images, in the order asked for.

    Args:
        source: mp4, avi, webm, mkv, gif and the like, or a folder of images (natural order, taken as 25 fps).
        indices: frame numbers from 0, repeats allowed, or a function from the frame count to such numbers.
        short_side: shrink while decoding until the short side has so many pixels; never enlarges.
        threads: decoder threads; more than one pays for a single interactive clip only.

    Returns:
        The frames upright (rotation metadata applied), with their times in seconds from the first frame.

    Raises:
        VideoError: the source cannot be read, or a frame asked for does not exist or cannot be decoded.
    """
    path = Path(source)
    if path.is_dir():
        return images.read(path, indices, short_side=short_side)

    with open_video(path, threads=threads) as stream:
        index = index_packets(stream)
        if index is not None:
            wanted = choose(path, indices, len(_nonempty(path, index)))
            canvas = Canvas(path, wanted)
            for run in plan(index, wanted):
                _decode_run(stream, index, run, canvas, short_side)
    if index is None:
        index = index_by_decoding(path, threads=threads)
        wanted = choose(path, indices, len(_nonempty(path, index)))
        canvas = Canvas(path, wanted)
    if canvas.missing:
        with open_video(path, threads=threads) as stream:
            _decode_in_order(stream, index, canvas, short_side)
    return Clip(canvas.frames(), torch.tensor([index.seconds(number) for number in wanted]))


@dataclass(frozen=True)
class Run:
    """A stretch of packets decoded in one go: from a keyframe to the last of some wanted frames."""

    key: int
    end: int
    frames: frozenset[int]


def plan(index: FrameIndex, wanted: list[int]) -> list[Run]:
    """Runs that cover the wanted frames; a new one begins where seeking skips more than it costs."""
    runs: list[Run] = []
    for number in sorted(set(wanted)):
        key, packet = index.keys[number], index.packets[number]
        if runs and key - runs[-1].end <= SEEK_COST:
            last = runs.pop()
            runs.append(Run(last.key, max(last.end, packet), last.frames | {number}))
        else:
            runs.append(Run(key, packet, frozenset({number})))
    return runs


def _decode_run(
    stream: VideoStream, index: FrameIndex, run: Run, canvas: Canvas, short_side: int | None
) -> None:
    """Decode one run. Where no seek lands on its keyframe the frames stay missing."""
    numbers: dict[int | None, int] = {index.times[number]: number for number in run.frames}
    for packet in _packets_from(stream, index, run.key):
        # No other frame is built from a non-reference frame, so those nobody asked for need no decoding.
        stream.codec_context.skip_frame = "DEFAULT" if packet.pts in numbers else "NONREF"
        for frame in decode(stream, packet):
            _paint(canvas, numbers.get(frame.pts), frame, short_side)
        if run.frames.isdisjoint(canvas.missing):
            return
    for frame in decode(stream, None):
        _paint(canvas, numbers.get(frame.pts), frame, short_side)


def _packets_from(stream: VideoStream, index: FrameIndex, key: int) -> "Iterator[Packet[VideoStream]]":
    """The packets from a keyframe on, or from one before it; none where the container cannot seek there."""
    shown = index.key_times[key][0]
    for time in index.key_times[key]:
        cast(InputContainer, stream.container).seek(time, stream=stream)
        rest = packets(stream)
        first = next(rest, None)
        if first is not None and first.is_keyframe and first.pts is not None and first.pts <= shown:
            yield first
            yield from rest
            return


def _decode_in_order(stream: VideoStream, index: FrameIndex, canvas: Canvas, short_side: int | None) -> None:
    """Decode from the start of the file to the last wanted frame."""
    numbers: dict[int | None, int] = {time: number for number, time in enumerate(index.times)}
    for place, frame in enumerate(decode_all(stream)):
        _paint(canvas, numbers.get(frame.pts) if index.packets else place, frame, short_side)
        if not canvas.missing:
            return


def _paint(canvas: Canvas, number: int | None, frame: VideoFrame, short_side: int | None) -> None:
    """A decoded frame onto the canvas; nothing if nobody asked for it."""
    if number in canvas.missing and not frame.is_corrupt:
        canvas.put(number, to_picture(canvas.path, frame, short_side))


def to_picture(source: Source, frame: VideoFrame, short_side: int | None) -> UInt8[Tensor, "C H W"]:
    """A decoded frame as RGB, shrunk and turned upright."""
    check_size(source, frame.width, frame.height)  # again: a stream may change its size midway
    height, width = shrunk(frame.height, frame.width, short_side)
    # planes, not pixels: the scaler then runs three times as fast, and they are what tensors hold anyway
    planar = frame.reformat(width=width, height=height, format="gbrp", interpolation=SCALER, threads=1)
    green, blue, red = (_rows(plane) for plane in planar.planes)
    picture = torch.stack([red, green, blue])
    a, b, c, d = _matrix(frame)
    if abs(c) > abs(a):
        picture, a, d = picture.transpose(1, 2), c, b
    mirrored = [axis for axis, sign in ((1, d), (2, a)) if sign < 0]
    return picture.flip(mirrored) if mirrored else picture


def _rows(plane: VideoPlane) -> UInt8[Tensor, "H W"]:
    """A view of the bytes, which end each row with padding."""
    return torch.frombuffer(plane, dtype=torch.uint8).view(plane.height, plane.line_size)[:, : plane.width]


def _matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """How the stored picture is to be displayed: (x, y) moves to (ax + cy, bx + dy), y pointing down."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    return a, b, c, d


def _nonempty(path: Path, index: FrameIndex) -> FrameIndex:
    if len(index) == 0:
        raise VideoError(path, "holds no video frame", "fetch it again or leave it out of the data set")
    return index
