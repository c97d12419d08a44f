"""OTAM: a video is compared with every example by the cost of aligning their frames in order.

Cao et al., "Few-Shot Video Classification via Temporal Alignment", CVPR 2020:

    D[t, u] = 1 - cos(query_t, support_u)      logits[q, n] = -scale * mean_s (otam(D) + otam(D^T))

over the support videos s of class n. Follows the public implementations rather than the paper where they
differ (both directions summed, a hard first row; see matchers/otam.py), with a true cosine where they add
0.01 to the product of norms. The encoder is CLIP instead of an ImageNet ResNet-50, and the whole visual
tower trains.
"""

from typing import Literal

from jaxtyping import Float, UInt8
from torch import Tensor

from openfsar.encoders.clip import ClipEncoder
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
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
from openfsar.methods.matching import make_matcher
from openfsar.prototypes import class_means


class Otam(FusedMethod):
    """Nearest class by soft ordered alignment of frames.

    Args:
        encoder: Taken over: frozen, but for the part that ``tune`` names.
        tune: Which part of the visual tower trains.
        merge: With several shots, average "distance"s to the examples (published), or the examples
            themselves, frame by frame, to a "prototype" (K times faster: one alignment per class).
        smoothing: Softness of the minimum over alignments, in units of distance.
        centre: Whether each video's mean frame is taken away first, so that only what changes is compared: a
            departure, see ``matching.Changes``.
        scale: Factor on the distances. The published 1 suits sums over eight frames and two directions.
        learn_scale: Whether the factor trains too.
        text_share: Share of the class names in the prediction, see ``FusedMethod``.
    """

    def __init__(
        self,
        encoder: ClipEncoder,
        *,
        tune: Tune = "full",
        merge: Literal["distance", "prototype"] = "distance",
        smoothing: float = 0.1,
        centre: bool = False,
        scale: float = 1.0,
        learn_scale: bool = False,
        text_share: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = tuned(encoder, tune)
        self.merge = one_of("merge", merge, "distance", "prototype")
        self.matcher = make_matcher("otam", encoder.dim, smoothing=smoothing, centre=centre)
        self.scale = Scale(scale, learn=learn_scale)
        self.text_share = share_of("text_share", text_share)

    def encode(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> FrameFeatures:
        return FrameFeatures(self.encoder.frames(clips))

    def prepare(self, support: SupportSet) -> Task:
        if self.merge == "distance":
            return Task(support.features, support.labels, support.way, support.text)
        return prototype_task(class_means(support.features.frames, support.labels, support.way), support)

    def compare(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        return -self.scale(self.matcher(query.frames, task))

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        episode = episode_only(batch)
        return classification(self.compare(*self.embed(episode)), episode.query_labels)
