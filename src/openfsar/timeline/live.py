"""What is happening now: a camera, a network stream, a pipe or a file, named while it runs.

Memory holds three windows of small pictures, however long it runs. A thread of its own reads cameras and
network streams and keeps the newest window only: who computes too slowly misses windows, and is never late.
Files and pipes wait for the answer, so that nothing of them is missed.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Event, Thread

import torch
from jaxtyping import UInt8
from torch import Tensor

from openfsar.methods.base import FewShotMethod, FrameFirst
from openfsar.timeline.judging import Judge, Judged, Namer, decoded_side, encode_frames, fit_picture
from openfsar.timeline.scan import WINDOW
from openfsar.timeline.windows import Windows
from openfsar.video.source import Pipe, Source
from openfsar.video.stream import FrameStream, is_address, is_camera, stream_frames, stream_live
from openfsar.video.transforms import Resize

_PATIENCE = 1.0
"""Seconds that a reader is waited for in the end."""


@dataclass(frozen=True)
class Live:
    """The name of the last window."""

    seconds: float
    """Time of its newest frame, from the first frame of the source."""
    label: str | None
    """None where it shows none of the classes."""
    probability: float
    """Of the nearest class."""
    latency_ms: float
    """From the arrival of that frame to the answer."""
    frames: int
    """That have arrived from the source so far."""
    dropped: int
    """Windows passed over so far, to keep up."""


@dataclass(frozen=True)
class _Frame:
    number: int
    picture: UInt8[Tensor, "C H W"]
    arrived: float
    seconds: float
    before: int
    """Frames of the source up to it."""


def watch(
    namer: Namer, source: Source | Pipe, *, window: float = WINDOW, stride: float | None = None
) -> Generator[Live, None, None]:
    """An answer per window: ``for now in watch(classifier, "/dev/video0"): ...``

    Args:
        source: A camera (/dev/video0), an address (rtsp://.., http://..), a file, or an open pipe of bytes
            (``sys.stdin.buffer.raw``).
        namer, window, stride: As for ``timeline``.

    Raises:
        VideoError: The source cannot be read, or falls silent.
        ValueError: Window or stride that no window can have.
    """
    labels, method, resize = tuple(map(str, namer.classes_)), namer.method_, namer.resize
    windows = Windows.of(window, stride, namer.frames)
    side = decoded_side(method)
    desk = _Desk(method, namer.judge)
    if isinstance(source, Pipe):
        with stream_live(source, short_side=side) as stream:
            yield from desk.answers(_windows(method, stream, windows, resize), labels)
    elif is_camera(source) or is_address(source):
        newest = _Newest()
        reader = Thread(target=newest.read, args=(method, source, side, windows, resize), daemon=True)
        with newest.running(reader):
            yield from desk.answers(newest, labels, newest)
    else:
        with stream_frames(source, short_side=side) as stream:
            yield from desk.answers(_windows(method, stream, windows, resize), labels)


def _windows(
    method: FewShotMethod, stream: FrameStream, windows: Windows, resize: Resize
) -> Iterator[list[_Frame]]:
    """Every window of the source, as soon as its last frame is there."""

    def arriving() -> Iterator[_Frame]:
        for number, shown in enumerate(stream.every(windows.step)):
            arrived = time.perf_counter()
            picture = fit_picture(method, shown.picture, resize)
            yield _Frame(number, picture, arrived, shown.seconds, stream.frames)

    for _, window in windows.slide(arriving()):
        yield window


class _Newest:
    """The newest window of a source that nobody can hold up."""

    def __init__(self) -> None:
        self.dropped = 0
        self._window: list[_Frame] | None = None
        self._error: Exception | None = None
        self._changed, self._stopped, self._over = Condition(), Event(), False

    def read(
        self, method: FewShotMethod, source: Source, side: int, windows: Windows, resize: Resize
    ) -> None:
        """Read until there is no more, or nobody wants more; the reader's thread does this."""
        error = None
        try:
            with stream_live(source, short_side=side) as stream:
                for window in _windows(method, stream, windows, resize):
                    if self._stopped.is_set():
                        break
                    with self._changed:
                        self.dropped += self._window is not None
                        self._window = window
                        self._changed.notify()
        except Exception as raised:  # to be raised where the answers are asked for
            error = raised
        with self._changed:
            self._error, self._over = error, True
            self._changed.notify()

    def __iter__(self) -> Iterator[list[_Frame]]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._over or self._window is not None)
                window, self._window = self._window, None
            if window is None:
                if self._error is not None:
                    raise self._error
                return
            yield window

    @contextmanager
    def running(self, reader: Thread) -> Iterator[None]:
        """While this lasts, the reader reads."""
        reader.start()
        try:
            yield
        finally:
            self._stopped.set()
            reader.join(_PATIENCE)


class _Desk:
    """Names windows that share frames with the ones before."""

    def __init__(self, method: FewShotMethod, judge: Judge) -> None:
        self._method, self._judge = method, judge
        self._vectors: dict[int, Tensor] = {}
        """The encoder's vectors of the last window's frames, by number."""

    def answers(
        self, windows: "Iterator[list[_Frame]] | _Newest", labels: Sequence[str], line: _Newest | None = None
    ) -> Iterator[Live]:
        for window in windows:
            with torch.no_grad():
                judged = self._judged(window)
            best = int(judged.probabilities[0].argmax())
            last = window[-1]
            yield Live(
                seconds=last.seconds,
                label=str(labels[best]) if judged.known[0] else None,
                probability=float(judged.probabilities[0, best]),
                latency_ms=1000 * (time.perf_counter() - last.arrived),
                frames=last.before,
                dropped=0 if line is None else line.dropped,
            )

    def _judged(self, window: Sequence[_Frame]) -> Judged:
        method = self._method
        if isinstance(method, FrameFirst) and method.frames_first:
            new = {f.number: f.picture for f in window if f.number not in self._vectors}
            vectors = encode_frames(method, new.values(), batch=len(window))
            self._vectors.update(zip(new, vectors, strict=True))
            self._vectors = {f.number: self._vectors[f.number] for f in window}
            raw = torch.stack([self._vectors[frame.number] for frame in window])
            return self._judge(method.refine(raw[None]))
        device = next(method.parameters()).device
        return self._judge(method.encode(torch.stack([f.picture for f in window])[None].to(device)))
