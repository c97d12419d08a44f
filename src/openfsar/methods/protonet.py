"""ProtoNet: an action is the mean of its examples, a video the mean of its frames.

Snell et al., "Prototypical Networks for Few-shot Learning", NeurIPS 2017, equations 1 and 2, on videos:

    v = mean_t frame_t      c_n = mean of v over support n      logits[q, n] = -scale * d(v_q, c_n)

The order of frames is lost in the first mean: this is the baseline that tells what order is worth. ``d`` is
the cosine distance (a departure; features of CLIP are made to be compared by angle) or the paper's squared
Euclidean one. Cosine distances of CLIP features differ by a few hundredths, too little for a softmax, hence
the default ``scale`` of 10 (Chen et al., "Meta-Baseline", ICCV 2021); the paper's own set-up is
``metric="euclidean", scale=1``. The factor never changes which class is nearest.
"""

from typing import Literal

from jaxtyping import Float, UInt8
from torch import Tensor

from openfsar.encoders.clip import ClipEncoder
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.matchers import frame_distances, squared_distances
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
from openfsar.prototypes import class_means


class ProtoNet(FusedMethod):
    """Nearest class mean of time-averaged features.

    Args:
        encoder: Taken over: frozen, but for the part that ``tune`` names.
        tune: Which part of the visual tower trains.
        metric: "cosine" or "euclidean" (squared).
        scale: Factor on the distances, see above.
        learn_scale: Whether the factor trains too.
        text_share: Share of the class names in the prediction, see ``FusedMethod``.
    """

    def __init__(
        self,
        encoder: ClipEncoder,
        *,
        tune: Tune = "full",
        metric: Literal["cosine", "euclidean"] = "cosine",
        scale: float = 10.0,
        learn_scale: bool = False,
        text_share: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = tuned(encoder, tune)
        self.metric = one_of("metric", metric, "cosine", "euclidean")
        self.scale = Scale(scale, learn=learn_scale)
        self.text_share = share_of("text_share", text_share)

    def encode(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> FrameFeatures:
        return FrameFeatures(self.encoder.frames(clips))

    def prepare(self, support: SupportSet) -> Task:
        pooled = support.features.frames.mean(-2, keepdim=True)
        return prototype_task(class_means(pooled, support.labels, support.way), support)

    def compare(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        pooled, prototypes = query.frames.mean(-2, keepdim=True), task.exemplars.frames
        if self.metric == "cosine":
            distances = frame_distances(pooled, prototypes)[..., 0, 0]
        else:
            distances = squared_distances(pooled[..., 0, :], prototypes[..., 0, :])
        return -self.scale(distances)

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        episode = episode_only(batch)
        return classification(self.compare(*self.embed(episode)), episode.query_labels)
