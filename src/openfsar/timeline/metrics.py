"""How right segments are: average precision of the found ones, and the share of the time named rightly."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from openfsar.timeline.segments import Segment, iou

Videos = Sequence[Sequence[Segment]]
"""The segments of each of several videos."""


def mean_average_precision(found: Videos, truth: Videos, *, overlap: float = 0.5) -> float:
    """Mean over the classes that occur in ``truth`` of ``average_precision``, 0..1.

    Raises:
        ValueError: There is no true segment, or not one list of found ones per video.
    """
    labels = sorted({segment.label for video in truth for segment in video})
    if len(found) != len(truth) or not labels:
        raise ValueError(
            f"segments found in {len(found)} videos, and true ones of {len(labels)} classes in {len(truth)}; "
            "give both for every video, and at least one true segment"
        )
    return float(np.mean([average_precision(found, truth, label, overlap=overlap) for label in labels]))


def average_precision(found: Videos, truth: Videos, label: str, *, overlap: float = 0.5) -> float:
    """Area under the curve of precision over recall, as ActivityNet computes it.

    Segments are taken by falling confidence. One is right if its intersection over union with a true segment
    of the class, in the same video and not yet found, is at least ``overlap``; it takes the nearest such. The
    precision at a recall is the best at that recall or above.
    """
    wanted = [[s for s in video if s.label == label] for video in truth]
    guesses = [(s, v) for v, video in enumerate(found) for s in video if s.label == label]
    guesses.sort(key=lambda guess: -guess[0].confidence)
    free = [np.ones(len(video), bool) for video in wanted]
    right = np.zeros(len(guesses), bool)
    for number, (guess, video) in enumerate(guesses):
        start, end = _spans(wanted[video])
        shared = np.where(free[video], iou(guess.start, guess.end, start, end), -1.0)
        if len(shared) and shared.max() >= overlap:
            free[video][shared.argmax()] = False
            right[number] = True
    hits = np.cumsum(right)
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    return float(precision[right].sum() / sum(map(len, wanted)))


def frame_accuracy(found: Videos, truth: Videos, seconds: Sequence[float]) -> float:
    """Share of the time named rightly, 0..1, where no segment at all is the right name of the background.

    Exact: time is cut wherever a segment starts or ends. Where segments overlap, the surest one counts.

    Args:
        seconds: How long each video is.
    """
    names = {s.label: n for n, s in enumerate({s.label: s for v in [*found, *truth] for s in v}.values())}
    right = 0.0
    for one, other, end in zip(found, truth, seconds, strict=True):
        cuts = np.array([0.0, end, *(t for s in [*one, *other] for t in (s.start, s.end))])
        cuts = np.unique(np.clip(cuts, 0, end))
        middle = (cuts[1:] + cuts[:-1]) / 2
        right += np.diff(cuts)[_named(one, middle, names) == _named(other, middle, names)].sum()
    return float(right / sum(seconds))


def _named(
    segments: Sequence[Segment], times: Float[np.ndarray, " T"], names: dict[str, int]
) -> Int[np.ndarray, " T"]:
    """The number of the name at each time; -1 for the background."""
    named = np.full(len(times), -1)
    for segment in sorted(segments, key=lambda s: s.confidence):
        named[(segment.start <= times) & (times < segment.end)] = names[segment.label]
    return named


def _spans(segments: Sequence[Segment]) -> tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]:
    return np.array([s.start for s in segments], float), np.array([s.end for s in segments], float)
