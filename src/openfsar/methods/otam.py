"""OTAM: a video is compared with every example by the cost of aligning their frames in order.

Cao et al., "Few-Shot Video Classification via Temporal Alignment", CVPR 2020:

    D[t, u] = 1 - cos(query_t, support_u)      logits[q, n] = -scale * mean_s (otam(D) + otam(D^T))

over the support videos s of class n. Follows the public implementations rather than the paper where they
differ (both directions summed, a hard first row; see matchers/otam.py), with a true cosine where they add
0.01 to the product of norms. The encoder is CLIP instead of an ImageNet ResNet-50, and the whole visual
tower trains.
"""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float, UInt8
from torch import Tensor

from openfsar.encoders.clip import ClipEncoder
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.matchers import frame_distances, otam
from openfsar.methods.base import FewShotMethod
from openfsar.methods.episodic import (
    Scale,
    Tune,
    centred,
    classification,
    episode_only,
    one_of,
    prototype_task,
    tuned,
)
from openfsar.prototypes import class_means, merge_shots


class Otam(FewShotMethod):
    """Nearest class by soft ordered alignment of frames.

    Args:
        encoder: Taken over: frozen, but for the part that ``tune`` names.
        tune: Which part of the visual tower trains.
        merge: With several shots, average "distance"s to the examples (published), or the examples
            themselves, frame by frame, to a "prototype" (K times faster: one alignment per class).
        smoothing: Softness of the minimum over alignments, in units of distance.
        centre: Whether each video's mean frame is taken away first, so that only what changes is compared: a
            departure, see ``centred``.
        scale: Factor on the distances. The published 1 suits sums over eight frames and two directions.
        learn_scale: Whether the factor trains too.
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
    ) -> None:
        super().__init__()
        if not smoothing >= 0:
            raise ValueError(
                f"option {smoothing=} must be 0 (hard minimum) or positive; 0.1 is the published value"
            )
        self.encoder = tuned(encoder, tune)
        self.merge = one_of("merge", merge, "distance", "prototype")
        self.smoothing = smoothing
        self.centre = centre
        self.scale = Scale(scale, learn=learn_scale)

    def text(self, names: Sequence[str]) -> None:
        return None

    def encode(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> FrameFeatures:
        frames = self.encoder.frames(clips)
        return FrameFeatures(centred(frames) if self.centre else frames)

    def prepare(self, support: SupportSet) -> Task:
        if self.merge == "distance":
            return Task(support.features, support.labels, support.way, support.text)
        return prototype_task(class_means(support.features.frames, support.labels, support.way), support)

    def score(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        distances = otam(frame_distances(query.frames, task.exemplars.frames), smoothing=self.smoothing)
        return -self.scale(merge_shots(distances, task.labels, task.way))

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        episode = episode_only(batch)
        return classification(self.logits(episode), episode.query_labels)
