"""From scores over time to segments: pure functions on arrays.

    scores -> hysteresis -> gaps closed -> short ones dropped -> of those that overlap, the surest

A score holds from one edge to the next, so edges are one more than scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Segment:
    """An action and when it happens."""

    start: float
    """Seconds from the first frame of the video."""
    end: float
    label: str
    confidence: float = 1.0
    """Mean score over its time, 0..1."""

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Rules:
    """What makes a segment.

    Raises:
        ValueError: A number out of its range.
    """

    enter: float = 0.5
    """A segment somewhere reaches this score, 0..1."""
    leave: float = 0.3
    """It lasts as long as the score is no lower than this, 0..1."""
    shortest: float = 0.5
    """Seconds; shorter segments are dropped."""
    gap: float = 0.5
    """Segments of one class that are no further apart than so many seconds become one."""
    overlap: float = 0.0
    """Of two segments whose intersection over union is greater than this, the surer one stays, 0..1."""

    def __post_init__(self) -> None:
        if not 0 <= self.leave <= self.enter <= 1:
            raise ValueError(
                f"enter={self.enter:g} and leave={self.leave:g} must be scores, 0 <= leave <= enter <= 1"
            )
        for name, value in (("shortest", self.shortest), ("gap", self.gap)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value:g} must be seconds, 0 or more")
        if not 0 <= self.overlap <= 1:
            raise ValueError(f"overlap={self.overlap:g} must be an intersection over union, 0 to 1")


def find_segments(
    scores: Float[np.ndarray, "Q N"], edges: Float[np.ndarray, " Q+1"], labels: Sequence[str], rules: Rules
) -> list[Segment]:
    """The segments of all classes, by their start."""
    active = hysteresis(scores, enter=rules.enter, leave=rules.leave)
    first, last, kind = close_gaps(*stretches(active), edges, gap=rules.gap)
    start, end = edges[first], edges[last]
    long = end - start >= max(rules.shortest, 1e-9)
    first, last, kind, start, end = (x[long] for x in (first, last, kind, start, end))
    sums = np.concatenate([np.zeros((1, scores.shape[1])), np.cumsum(scores * np.diff(edges)[:, None], 0)])
    sure = np.clip((sums[last, kind] - sums[first, kind]) / (end - start), 0, 1)
    kept = suppress(start, end, sure, overlap=rules.overlap)
    found = [Segment(float(start[i]), float(end[i]), str(labels[int(kind[i])]), float(sure[i])) for i in kept]
    return sorted(found, key=lambda segment: (segment.start, segment.end, segment.label))


def hysteresis(scores: Float[np.ndarray, "Q N"], *, enter: float, leave: float) -> Bool[np.ndarray, "Q N"]:
    """Of the stretches whose scores are at least ``leave``, those that somewhere reach ``enter``.

    The same forwards and backwards in time: a start is found as early as an end is late.
    """
    high = scores >= leave
    first, last, kind = stretches(high)
    # In a running count of the scores that enter, a stretch without any ends where it began.
    count = np.concatenate([np.zeros((1, scores.shape[1]), int), np.cumsum(scores >= enter, 0)])
    entered = count[last, kind] > count[first, kind]
    change = np.zeros((len(scores) + 1, scores.shape[1]), int)
    change[first[entered], kind[entered]] += 1
    change[last[entered], kind[entered]] -= 1
    return np.cumsum(change, 0)[:-1] > 0


def stretches(
    active: Bool[np.ndarray, "Q N"],
) -> tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"], Int[np.ndarray, " _"]]:
    """First row, row behind the last, and column of every run of truths; column by column, in order."""
    padded = np.pad(active.astype(np.int8), ((1, 1), (0, 0)))
    change = np.diff(padded, axis=0).T
    kind, first = np.nonzero(change == 1)
    last = np.nonzero(change == -1)[1]
    return first, last, kind


def close_gaps(
    first: Int[np.ndarray, " R"],
    last: Int[np.ndarray, " R"],
    kind: Int[np.ndarray, " R"],
    edges: Float[np.ndarray, " _"],
    *,
    gap: float,
) -> tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"], Int[np.ndarray, " _"]]:
    """Stretches as ``stretches`` gives them; neighbours no more than ``gap`` seconds apart become one."""
    if len(first) == 0:
        return first, last, kind
    apart = (kind[1:] != kind[:-1]) | (edges[first[1:]] - edges[last[:-1]] > gap)
    begins, ends = np.append(True, apart), np.append(apart, True)
    return first[begins], last[ends], kind[begins]


def suppress(
    start: Float[np.ndarray, " R"],
    end: Float[np.ndarray, " R"],
    confidence: Float[np.ndarray, " R"],
    *,
    overlap: float,
) -> list[int]:
    """Numbers of those that stay: the surest first, and each that overlaps no one before it too much."""
    kept: list[int] = []
    for number in np.argsort(-confidence, kind="stable").tolist():
        shared = iou(start[number], end[number], start[kept], end[kept])
        if (shared <= overlap).all():
            kept.append(number)
    return kept


def iou(
    start: float | Float[np.ndarray, "*a"],
    end: float | Float[np.ndarray, "*a"],
    other_start: float | Float[np.ndarray, "*b"],
    other_end: float | Float[np.ndarray, "*b"],
) -> Float[np.ndarray, "*c"]:
    """Intersection over union of spans of time, broadcast against each other."""
    both = np.maximum(np.minimum(end, other_end) - np.maximum(start, other_start), 0.0)
    return np.asarray(both / (np.subtract(end, start) + np.subtract(other_end, other_start) - both))
