"""The matcher a method compares videos with: one option with the same values everywhere."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from openfsar.episode import FrameFeatures, Task
from openfsar.matchers import TupleAttention, bi_mhm, frame_distances, hybrid, otam
from openfsar.prototypes import merge_shots

MatcherName = Literal["otam", "bi-mhm", "trx", "hybrid", "pooled"]


class Matcher(nn.Module, ABC):
    """Frames of queries and a task to one distance per class; lower is nearer.

    The exemplars of the task may be prototypes or single support videos, whose distances are then averaged
    per class (TRX attends over all of a class at once instead).
    """

    @abstractmethod
    def forward(self, query: Float[Tensor, "*e Q T D"], task: Task) -> Float[Tensor, "*e Q N"]: ...


class Ordered(Matcher):
    """OTAM: the cost of aligning the frames in order.

    Args:
        smoothing: Softness of the minimum over alignments, in units of distance.
        eps: Added to the product of norms in the cosine; 0.01 in published code.
    """

    def __init__(self, smoothing: float, eps: float) -> None:
        super().__init__()
        if not smoothing >= 0:
            raise ValueError(f"option {smoothing=} must be 0 (hard minimum) or positive")
        self.smoothing, self.eps = smoothing, eps

    def forward(self, query: Float[Tensor, "*e Q T D"], task: Task) -> Float[Tensor, "*e Q N"]:
        tables = frame_distances(query, task.exemplars.frames, eps=self.eps)
        return merge_shots(otam(tables, smoothing=self.smoothing), task.labels, task.way)


class Unordered(Matcher):
    """Bi-MHM: every frame to its nearest of the other video, both ways."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, query: Float[Tensor, "*e Q T D"], task: Task) -> Float[Tensor, "*e Q N"]:
        tables = frame_distances(query, task.exemplars.frames, eps=self.eps)
        return merge_shots(bi_mhm(tables), task.labels, task.way)


class Hybrid(Matcher):
    """GgHM's: frames and ordered pairs of frames, each to its nearest of the other video, both ways.

    Args:
        alpha: Share of the pairs, 0..1; at either end the other part is not computed.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"option {alpha=} must lie in 0..1: the share of pairs of frames")
        self.alpha = alpha

    def forward(self, query: Float[Tensor, "*e Q T D"], task: Task) -> Float[Tensor, "*e Q N"]:
        distances = hybrid(query, task.exemplars.frames, alpha=self.alpha)
        return merge_shots(distances, task.labels, task.way)


class Changes(Matcher):
    """Any matcher on what changes: frames less the mean frame of their video, single frames as they are.

    Our own addition. Where CLIP's features are dominated by who acts and where, as in scenes with a still
    camera, this is what is left to compare.
    """

    def __init__(self, matcher: Matcher) -> None:
        super().__init__()
        self.matcher = matcher

    def forward(self, query: Float[Tensor, "*e Q T D"], task: Task) -> Float[Tensor, "*e Q N"]:
        exemplars = FrameFeatures(changes(task.exemplars.frames))
        return self.matcher(changes(query), replace(task, exemplars=exemplars))


class Pooled(Matcher):
    """Cosine distance of the mean frames."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, query: Float[Tensor, "*e Q T D"], task: Task) -> Float[Tensor, "*e Q N"]:
        means = [frames.mean(-2, keepdim=True) for frames in (query, task.exemplars.frames)]
        return merge_shots(frame_distances(*means, eps=self.eps)[..., 0, 0], task.labels, task.way)


class Tuples(Matcher):
    """TRX: ordered tuples of frames, pairs and triples unless told otherwise, attend to those of a class."""

    def __init__(self, width: int, *, sizes: Sequence[int] = (2, 3), key_width: int = 1152) -> None:
        super().__init__()
        self.attention = TupleAttention(width, sizes=sizes, key_width=key_width)

    def forward(self, query: Float[Tensor, "*e Q T D"], task: Task) -> Float[Tensor, "*e Q N"]:
        return self.attention(query, task.exemplars.frames, task.labels, task.way)


def make_matcher(
    name: MatcherName,
    width: int,
    *,
    smoothing: float = 0.1,
    eps: float = 0.0,
    alpha: float = 0.5,
    centre: bool = False,
) -> Matcher:
    """The matcher of that name for features of that width; what a matcher does not use it does not read.

    ``centre`` compares what changes alone (see ``Changes``).

    Raises:
        ValueError: No such matcher, or one that would have nothing left to compare.
    """
    makers = {
        "otam": lambda: Ordered(smoothing, eps),
        "bi-mhm": lambda: Unordered(eps),
        "trx": lambda: Tuples(width),
        "hybrid": lambda: Hybrid(alpha),
        "pooled": lambda: Pooled(eps),
    }
    if name not in makers:
        raise ValueError(f"option matcher={name!r} is unknown; use one of {', '.join(makers)}")
    if centre and name == "pooled":
        raise ValueError(
            "option centre=True leaves nothing to matcher='pooled', which compares the means it takes away; "
            "use another matcher, or centre=False"
        )
    return Changes(makers[name]()) if centre else makers[name]()


def changes(frames: Float[Tensor, "*b T D"]) -> Float[Tensor, "*b T D"]:
    """Frames less the mean frame of their video; a single frame as it is."""
    return frames - frames.mean(-2, keepdim=True) if frames.shape[-2] > 1 else frames
