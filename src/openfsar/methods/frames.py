"""What the methods share that compare the frames of the tower as they are: all but the matcher."""

import copy
from dataclasses import replace
from typing import Literal, TypeVar

from jaxtyping import Float
from torch import Tensor

from openfsar.encoders.visual import VisualEncoder
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.methods.base import FrameFirst
from openfsar.methods.episodic import (
    Scale,
    Tune,
    classification,
    episode_only,
    one_of,
    prototype_task,
    share_of,
    tuned,
)
from openfsar.methods.fusion import FusedMethod
from openfsar.methods.matching import Changes, Matcher
from openfsar.prototypes import class_means

Self = TypeVar("Self", bound="FrameMethod")

Merge = Literal["distance", "prototype"]
"""With several shots: average the distances to the examples, or the examples, frame by frame."""


class FrameMethod(FusedMethod, FrameFirst):
    """A tower, a matcher on its frames, and a factor: ``logits = -scale * distance``.

    Subclasses choose the matcher and say which options people have.
    """

    def __init__(
        self,
        encoder: VisualEncoder,
        matcher: Matcher,
        *,
        tune: Tune,
        merge: Merge,
        scale: float,
        learn_scale: bool,
        text_share: float,
    ) -> None:
        super().__init__()
        self.encoder = tuned(encoder, tune)
        self.matcher = matcher
        self.merge = one_of("merge", merge, "distance", "prototype")
        self.scale = Scale(scale, learn=learn_scale)
        self.text_share = share_of("text_share", text_share)

    def refine(self, raw: Float[Tensor, "B T D"]) -> FrameFeatures:
        return FrameFeatures(raw)

    def prepare(self, support: SupportSet) -> Task:
        if self.merge == "distance":
            return Task(support.features, support.labels, support.way, support.text)
        return prototype_task(class_means(support.features.frames, support.labels, support.way), support)

    def with_centre(self: Self, centre: bool) -> Self:
        """The same method, all parameters shared, that compares what changes, or whole frames.

        Raises:
            ValueError: Its matcher leaves no choice.
        """
        if "centre" not in self.spec.options:
            raise ValueError(f"{type(self).__name__} has no option centre; use otam, bi-mhm or trx")
        inner = self.matcher.matcher if isinstance(self.matcher, Changes) else self.matcher
        other = copy.copy(self)
        other._modules = {**self._modules, "matcher": Changes(inner) if centre else inner}
        other.spec = replace(self.spec, options={**self.spec.options, "centre": centre})
        return other

    def compare(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        return -self.scale(self.matcher(query.frames, task))

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        """Cross entropy of the queries, without the names."""
        episode = episode_only(batch)
        return classification(self.compare(*self.embed(episode)), episode.query_labels)
