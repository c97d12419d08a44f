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

from jaxtyping import Float, UInt8
from torch import Tensor

from openfsar.encoders.clip import ClipEncoder
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.matchers import TupleAttention
from openfsar.methods.base import FewShotMethod
from openfsar.methods.episodic import Scale, Tune, classification, episode_only, tuned

PAIRS_AND_TRIPLES: Sequence[int] = [2, 3]
"""A list, as the recipe and the saved record of a method give it back."""


class Trx(FewShotMethod):
    """Nearest class by attention between ordered tuples of frames.

    Args:
        encoder: Taken over: frozen, but for the part that ``tune`` names.
        tune: Which part of the visual tower trains, besides the maps of the tuples.
        sizes: Cardinalities: how many frames make a tuple.
        key_width: Width of the keys and values of a tuple.
        scale: Factor on the distances; published 1.
        learn_scale: Whether the factor trains too.
    """

    def __init__(
        self,
        encoder: ClipEncoder,
        *,
        tune: Tune = "full",
        sizes: Sequence[int] = PAIRS_AND_TRIPLES,
        key_width: int = 1152,
        scale: float = 1.0,
        learn_scale: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = tuned(encoder, tune)
        self.attention = TupleAttention(encoder.dim, sizes=sizes, key_width=key_width)
        self.scale = Scale(scale, learn=learn_scale)

    def text(self, names: Sequence[str]) -> None:
        return None

    def encode(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> FrameFeatures:
        return FrameFeatures(self.encoder.frames(clips))

    def prepare(self, support: SupportSet) -> Task:
        return Task(support.features, support.labels, support.way, support.text)

    def score(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        return -self.scale(self.attention(query.frames, task.exemplars.frames, task.labels, task.way))

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        episode = episode_only(batch)
        return classification(self.logits(episode), episode.query_labels)
