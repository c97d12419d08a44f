"""What a classifier says."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from openfsar.classifier.encode import Video
from openfsar.video import VideoError

NONE = "none of these"
"""The label of a video that is rejected."""


class NotFittedError(ValueError, AttributeError):
    """The classifier was asked to predict before it knew two classes."""


@dataclass(frozen=True)
class Labelled:
    """The answer for one video, or the reason why there is none."""

    video: Video
    label: str | None
    """The nearest class, ``NONE`` where it is none of these; None where the video could not be read."""
    probabilities: Float[np.ndarray, " N"] | None
    """In the order of ``classes_``; None where the video could not be read."""
    error: VideoError | None = None


@dataclass(frozen=True, eq=False)
class Judged:
    """What is thought of encoded videos."""

    probabilities: Float[np.ndarray, "Q N"]
    """In the order of ``classes_``; they add up to 1, however strange the video is."""
    known: Bool[np.ndarray, " Q"]
    """False where it is none of these."""
