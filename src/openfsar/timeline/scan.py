"""A long video: named window by window, decoded once, in constant memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from openfsar.methods.base import FewShotMethod
from openfsar.timeline.judging import Namer, Scored, decoded_side, fit_picture, judge_windows
from openfsar.timeline.segments import Rules, Segment, find_segments
from openfsar.timeline.windows import Windows
from openfsar.video.source import Source
from openfsar.video.stream import FrameStream, stream_frames
from openfsar.video.transforms import Resize

WINDOW = 2.0
"""Seconds of a window, unless told otherwise."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """What is thought of each window of a video."""

    video: str
    seconds: float
    """Duration."""
    fps: float
    labels: tuple[str, ...]
    window: float
    """Seconds that a window lasts."""
    stride: float
    """Seconds from one window to the next."""
    starts: Float[np.ndarray, " Q"]
    """When each window begins, in seconds from the first frame."""
    probabilities: Float[np.ndarray, "Q N"]
    """In the order of ``labels``."""
    known: Bool[np.ndarray, " Q"]
    """False where a window shows none of the classes."""

    @property
    def edges(self) -> Float[np.ndarray, " _"]:
        """Each window speaks for the time around its centre: between these edges."""
        centres = self.starts + self.window / 2
        return np.concatenate([[0.0], (centres[1:] + centres[:-1]) / 2, [self.seconds]])

    @property
    def scores(self) -> Float[np.ndarray, "Q N"]:
        """The probability of the nearest class where it is known, 0 elsewhere: one class at a time."""
        nearest = self.probabilities.argmax(1)[:, None] == np.arange(len(self.labels))
        return np.where(nearest & self.known[:, None], self.probabilities, 0).astype(np.float64)

    def segments(self, rules: Rules | None = None) -> list[Segment]:
        """What happens when, by the start; by the default rules unless told otherwise."""
        return find_segments(self.scores, self.edges, self.labels, rules or Rules())


def timeline(
    namer: Namer,
    video: Source,
    *,
    window: float = WINDOW,
    stride: float | None = None,
    batch: int = 8,
    threads: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Timeline:
    """Name every window of a video: ``timeline(classifier, "day.mp4", window=3)``.

    A frame is decoded once, and encoded once where the method sees frames alone. Memory does not grow with
    the video, but for a row of probabilities per window.

    Args:
        namer: A fitted ``FewShotVideoClassifier``, or whatever names windows.
        window: Seconds; about as long as the examples are.
        stride: Seconds from one window to the next, rounded to whole frames of the window; by default a
            quarter of the window.
        batch: Windows encoded at a time.
        threads: Decoder threads; 0 takes as many as there are cores.
        progress: Told the share of the video that is done, 0..1, after each batch.

    Raises:
        VideoError: The video cannot be read.
        ValueError: Window or stride that no window can have, or not as many classes as probabilities.
    """
    labels, method = tuple(map(str, namer.classes_)), namer.method_
    windows = Windows.of(window, stride, namer.frames)
    parts: list[Scored] = []
    with stream_frames(video, short_side=decoded_side(method), threads=threads) as stream:
        pictures = _pictures(method, stream, windows, namer.resize)
        for part in judge_windows(method, namer.judge, pictures, windows, batch=batch):
            if part.probabilities.shape[1] != len(labels):
                raise ValueError(f"{len(labels)} classes for {part.probabilities.shape[1]} probabilities")
            parts.append(part)
            if progress is not None and stream.expected:
                progress(min(stream.seconds / stream.expected, 1.0))
    return Timeline(
        video=str(video),
        seconds=stream.seconds,
        fps=stream.fps,
        labels=labels,
        window=windows.window,
        stride=windows.stride,
        starts=np.array([start for part in parts for start in part.starts]) * windows.step,
        probabilities=np.concatenate([part.probabilities for part in parts]),
        known=np.concatenate([part.known for part in parts]),
    )


def _pictures(
    method: FewShotMethod, stream: FrameStream, windows: Windows, resize: Resize
) -> Iterator[UInt8[Tensor, "C H W"]]:
    for shown in stream.every(windows.step):
        yield fit_picture(method, shown.picture, resize)
