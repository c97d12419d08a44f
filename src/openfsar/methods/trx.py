"""TRX: ordered pairs and triples of frames, compared with what all examples of a class answer to them.

Perrett et al., "Temporal-Relational CrossTransformers for Few-Shot Action Recognition", CVPR 2021,
arXiv 2101.06184 (equations in matchers/tuples.py):

    logits[q, n] = -scale * mean over cardinalities of distance[q, n]

A query tuple is compared with a mixture of the tuples of all videos of the class, so that one example may
answer for the beginning of an action and another for its end.

Departures: CLIP's frames instead of an ImageNet ResNet-50's, and therefore also CLIP's normalisation of
pixels (the published code has none) and a visual tower that trains as a whole; the loss is the mean over the
queries, which the published code sums, so that its learning rates are to be multiplied by their number; a
video too short for a tuple holds its last frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from openfsar.encoders.visual import VisualEncoder
from openfsar.episode import FrameFeatures, Task
from openfsar.methods.episodic import Tune
from openfsar.methods.frames import FrameMethod
from openfsar.methods.matching import Changes, Tuples, changes

PAIRS_AND_TRIPLES: Sequence[int] = [2, 3]
"""A list, as the recipe and the saved record of a method give it back."""


@dataclass(frozen=True, eq=False, repr=False)
class TupleFeatures(FrameFeatures):
    """Frames, and what their tuples ask and answer with."""

    keys: Float[Tensor, "*b _ _"]
    values: Float[Tensor, "*b _ _"]


class Trx(FrameMethod):
    """Nearest class by attention between ordered tuples of frames.

    Args:
        encoder: Taken over: frozen, but for the part that ``tune`` names.
        tune: Which part of the visual tower trains, besides the maps of the tuples.
        sizes: Cardinalities: how many frames make a tuple.
        key_width: Width of the keys and values of a tuple.
        centre: Whether each video's mean frame is taken away first, so that only what changes is compared: a
            departure, see ``matching.Changes``.
        scale: Factor on the distances; published 1.
        learn_scale: Whether the factor trains too.
        text_share: Share of the class names in the prediction, see ``FusedMethod``.
    """

    def __init__(
        self,
        encoder: VisualEncoder,
        *,
        tune: Tune = "full",
        sizes: Sequence[int] = PAIRS_AND_TRIPLES,
        key_width: int = 1152,
        centre: bool = False,
        scale: float = 1.0,
        learn_scale: bool = False,
        text_share: float = 0.0,
    ) -> None:
        matcher = Tuples(encoder.dim, sizes=sizes, key_width=key_width)
        super().__init__(
            encoder,
            Changes(matcher) if centre else matcher,
            tune=tune,
            merge="distance",  # the matcher attends over all examples of a class at once
            scale=scale,
            learn_scale=learn_scale,
            text_share=text_share,
        )

    def digest(self, features: FrameFeatures) -> TupleFeatures:
        """With the keys and values of all tuples, 774 kB for a video of 8 frames as published."""
        if isinstance(features, TupleFeatures):
            return features
        frames = changes(features.frames) if isinstance(self.matcher, Changes) else features.frames
        return TupleFeatures(features.frames, *self._tuples.attention.describe(frames))

    def compare(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        asked, shown = self.digest(query), self.digest(task.exemplars)
        described = (asked.keys, asked.values), (shown.keys, shown.values)
        return -self.scale(self._tuples.attention.compare(*described, task.labels, task.way))

    @property
    def _tuples(self) -> Tuples:
        inner = self.matcher.matcher if isinstance(self.matcher, Changes) else self.matcher
        assert isinstance(inner, Tuples)
        return inner
