"""Small videos whose frames can be told apart: each carries its number as a barcode over moving texture."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from openfsar.video.decode import SCALER

BITS = 8


def picture(number: int, height: int = 64, width: int = 64) -> np.ndarray:
    """RGB frame: the top half says ``number`` in binary, the bottom half moves."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin((x + 3 * number) / 7), np.cos((y - 2 * number) / 5), np.sin((x + y + 5 * number) / 9)]
    image = np.stack([127 + 90 * wave for wave in waves], -1)
    edges = np.linspace(0, width, BITS + 1).round().astype(int)
    for bit in range(BITS):
        image[: height // 2, edges[bit] : edges[bit + 1]] = 235 if number >> bit & 1 else 20
    return image.astype(np.uint8)


def number_of(frame: torch.Tensor) -> int:
    """The number in a ``C H W`` frame."""
    code = frame[:, : frame.shape[1] // 2].float().mean((0, 1))
    edges = np.linspace(0, len(code), BITS + 1).round().astype(int)
    return sum((code[edges[bit] + 1 : edges[bit + 1] - 1].mean() > 127).item() << bit for bit in range(BITS))


@dataclass
class Footage:
    """How to make one file."""

    suffix: str = ".mp4"
    count: int = 40
    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=dict)
    gop: int = 12
    b_frames: int = 2
    pix_fmt: str = "yuv420p"
    size: tuple[int, int] = (64, 64)
    """Height and width."""
    ticks: list[int] | None = None
    """When each frame is shown, in 1/1000 s; evenly 25 a second if None."""
    skip: int = 0
    """Frames to trim from the start by an edit list."""
    turn: tuple[int, int, int, int] | None = None
    """a, b, c, d: the pixel at (x, y) is displayed at (ax + cy, bx + dy), y pointing down."""

    def write(self, path: Path) -> Path:
        path = path.with_suffix(self.suffix)
        untrimmed = path.with_name(f"untrimmed_{path.name}") if self.skip else path
        with av.open(str(untrimmed), "w") as container:
            options = {"preset": "veryfast", **self.options} if self.codec == "libx264" else self.options
            stream = container.add_stream(self.codec, rate=25, options={"threads": "1", **options})
            stream.height, stream.width = self.size
            stream.pix_fmt, stream.gop_size = self.pix_fmt, self.gop
            stream.codec_context.max_b_frames = self.b_frames
            if self.ticks:
                stream.codec_context.time_base = Fraction(1, 1000)
            if self.turn:
                a, b, c, d = (value << 16 for value in self.turn)
                stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
            for number in range(self.count):
                frame = av.VideoFrame.from_ndarray(picture(number, *self.size), format="rgb24")
                if self.ticks:
                    frame.pts, frame.time_base = self.ticks[number], Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return _trimmed(untrimmed, path, self.skip) if self.skip else path


def _trimmed(source: Path, target: Path, skip: int) -> Path:
    """A stream copy whose first ``skip`` frames lie before time zero, as `ffmpeg -ss` makes it."""
    with av.open(str(source)) as whole, av.open(str(target), "w", options={"avoid_negative_ts": "0"}) as copy:
        stream = copy.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.size:
                shift = int(skip / 25 / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                copy.mux(packet)
    return target


def decoded_in_order(path: Path) -> tuple[torch.Tensor, list[float]]:
    """Every frame and its time by plain decoding from start to end: the truth to compare with."""
    frames, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            frames.append(torch.from_numpy(frame.to_ndarray(format="rgb24", interpolation=SCALER)))
            times.append(float(frame.pts * frame.time_base) if frame.pts is not None else float("nan"))
    return torch.stack(frames).permute(0, 3, 1, 2), times
