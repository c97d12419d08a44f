"""The matcher a method compares videos with: one option with the same values everywhere."""

from abc import ABC, abstractmethod
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from openfsar.episode import Task
from openfsar.matchers import TupleAttention, bi_mhm, frame_distances, otam
from openfsar.prototypes import merge_shots

MatcherName = Literal["otam", "bi-mhm", "trx", "pooled"]


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


class Pooled(Matcher):
    """Cosine distance of the mean frames."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, query: Float[Tensor, "*e Q T D"], task: Task) -> Float[Tensor, "*e Q N"]:
        means = [frames.mean(-2, keepdim=True) for frames in (query, task.exemplars.frames)]
        return merge_shots(frame_distances(*means, eps=self.eps)[..., 0, 0], task.labels, task.way)


class Tuples(Matcher):
    """TRX: ordered pairs and triples of frames attend to those of a class."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = TupleAttention(width)

    def forward(self, query: Float[Tensor, "*e Q T D"], task: Task) -> Float[Tensor, "*e Q N"]:
        return self.attention(query, task.exemplars.frames, task.labels, task.way)


def make_matcher(name: MatcherName, width: int, *, smoothing: float = 0.1, eps: float = 0.0) -> Matcher:
    """The matcher of that name for features of that width; what a matcher does not use it does not read.

    Raises:
        ValueError: No such matcher.
    """
    makers = {
        "otam": lambda: Ordered(smoothing, eps),
        "bi-mhm": lambda: Unordered(eps),
        "trx": lambda: Tuples(width),
        "pooled": lambda: Pooled(eps),
    }
    if name not in makers:
        raise ValueError(f"option matcher={name!r} is unknown; use one of {', '.join(makers)}")
    return makers[name]()
