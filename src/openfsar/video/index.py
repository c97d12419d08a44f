"""Which frames a video shows, when, and from which keyframe each can be decoded.

The index comes from the packets (a few milliseconds, no decoding) wherever one packet is known to be one
shown frame. Where that is not so (no timestamps, a stream that starts between keyframes, codecs with hidden
frames) the frames are counted by decoding once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import NamedTuple, cast

from av.container import InputContainer
from av.error import InvalidDataError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from openfsar.video.source import MAX_PACKETS, VideoError, open_video

# A packet of these holds exactly one frame that is shown. VP8 is absent for its hidden reference frames,
# MPEG-2 for its field pairs.
_ONE_PACKET_ONE_FRAME = {"h264", "hevc", "vp9", "av1", "mpeg4", "mjpeg", "png", "gif", "ffv1", "rawvideo"}
_NOT_CODED_BYTES = 16  # an MPEG-4 packet as small as this says "as before" and yields no frame
_NOMINAL_RATE = Fraction(25)


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a video in display order; times are in units of ``time_base``."""

    times: list[int]
    """When each frame is shown."""

    end: int
    """When the last frame ends."""

    time_base: Fraction
    """Seconds in one unit of time."""

    lost: int = 0
    """Frames the header promised but the file lacks."""

    packets: list[int] = field(default_factory=list)
    """Place of each frame's packet in decoding order; empty where frames were counted by decoding."""

    keys: list[int] = field(default_factory=list)
    """Place of the keyframe from which each frame can be decoded alone."""

    key_times: dict[int, tuple[int, int]] = field(default_factory=dict)
    """When the keyframe at a place is shown, and when it is decoded: containers differ in which one seeks."""

    def __len__(self) -> int:
        return len(self.times)

    def seconds(self, number: int) -> float:
        """When frame ``number`` is shown, counted from the first frame."""
        return float((self.times[number] - self.times[0]) * self.time_base)

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame to the end of the last."""
        return (self.end - self.times[0]) * self.time_base


class _Note(NamedTuple):
    """What is remembered of a packet; keeping the packets themselves would keep the file in memory."""

    pts: int
    dts: int
    duration: int
    key: bool
    shown: bool


def index_packets(stream: VideoStream) -> FrameIndex | None:
    """The index by reading packets alone, or None where packets do not tell the shown frames."""
    codec = stream.codec_context.codec.canonical_name
    container = stream.container.format.name
    if codec not in _ONE_PACKET_ONE_FRAME or (container == "avi" and stream.codec_context.has_b_frames):
        return None  # AVI stores no display times, only an order of decoding
    notes: list[_Note] = []
    for packet in packets(stream):
        if packet.pts is None or (codec == "mpeg4" and packet.size <= _NOT_CODED_BYTES):
            return None
        dts = packet.pts if packet.dts is None else packet.dts
        notes.append(_Note(packet.pts, dts, packet.duration or 0, packet.is_keyframe, not packet.is_discard))

    order = sorted(range(len(notes)), key=lambda place: notes[place].pts)
    if len({note.pts for note in notes}) < len(notes):
        return None
    if notes and (order[0] != 0 or not notes[0].key):
        return None  # frames before the first keyframe are shown by some decoders and dropped by others

    # The keyframe of a frame is found by time shown, not by place in the file: leading frames of an open
    # group follow a keyframe in the file, but are shown before it and need the group before.
    shown: list[int] = []
    keys: list[int] = []
    key = 0
    for place in order:
        key = place if notes[place].key else key
        if notes[place].shown:
            shown.append(place)
            keys.append(key)
    times = [notes[place].pts for place in shown]
    return FrameIndex(
        times=times,
        end=times[-1] + (notes[shown[-1]].duration or _mean_gap(times)) if times else 0,
        time_base=_time_base(stream),
        # The header of a trimmed mp4 still counts what was trimmed; its sample table does not.
        lost=max(0, (len(stream.index_entries) if "mp4" in container else stream.frames) - len(notes)),
        packets=shown,
        keys=keys,
        key_times={key: (notes[key].pts, notes[key].dts) for key in keys},
    )


def index_by_decoding(path: Path, *, threads: int = 1) -> FrameIndex:
    """The index by decoding everything once and keeping only the times."""
    with open_video(path, threads=threads) as stream:
        frames = [(frame.pts, frame.duration) for frame in decode_all(stream)]
        time_base = _time_base(stream)
        step = max(1, round(1 / ((stream.average_rate or _NOMINAL_RATE) * time_base)))
        times = [time for time, _ in frames if time is not None]
        if len(set(times)) < len(frames) or times != sorted(times):
            times = [number * step for number in range(len(frames))]
        end = times[-1] + (frames[-1][1] or step) if times else 0
        return FrameIndex(times, end, time_base, lost=max(0, stream.frames - len(frames)))


def decode_all(stream: VideoStream, *, endless: bool = False) -> Iterator[VideoFrame]:
    """Every frame that can be decoded, in display order; packets that cannot be are passed over."""
    for packet in packets(stream, endless=endless):
        yield from decode(stream, packet)
    yield from decode(stream, None)


def decode(stream: VideoStream, packet: "Packet[VideoStream] | None") -> list[VideoFrame]:
    """The frames a packet completes, none if it is damaged; None asks for those the decoder still holds."""
    try:
        return stream.decode(packet)
    except InvalidDataError:
        return []


def packets(stream: VideoStream, *, endless: bool = False) -> "Iterator[Packet[VideoStream]]":
    """The whole packets, up to the end or to where the file is cut; of an endless stream, any number."""
    demuxer = cast(InputContainer, stream.container).demux(stream)
    for _ in repeat(None) if endless else range(MAX_PACKETS):
        try:
            packet = next(demuxer, None)
        except (
            InvalidDataError,
            IndexError,
        ):  # the latter is PyAV's, where damage announces a new stream
            return
        if packet is None:
            return
        if packet.size and not packet.is_corrupt:  # corrupt is, among others, the last one of a cut file
            yield packet
    path = stream.container.name.removeprefix("file:")
    raise VideoError(path, f"holds more than {MAX_PACKETS} packets", "cut it into shorter videos")


def _time_base(stream: VideoStream) -> Fraction:
    return stream.time_base or 1 / _NOMINAL_RATE


def _mean_gap(times: list[int]) -> int:
    return max(1, (times[-1] - times[0]) // max(1, len(times) - 1))
