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

from jaxtyping import Float
from torch import Tensor

from openfsar.encoders.visual import VisualEncoder
from openfsar.episode import Task
from openfsar.matchers import squared_distances
from openfsar.methods.episodic import Tune, one_of
from openfsar.methods.frames import FrameMethod
from openfsar.methods.matching import Matcher, make_matcher


class SquaredEuclidean(Matcher):
    """Squared distance of the mean frame of a query to that of each class's one exemplar."""

    def forward(self, query: Float[Tensor, "*e Q T D"], task: Task) -> Float[Tensor, "*e Q N"]:
        return squared_distances(query.mean(-2), task.exemplars.frames.mean(-2))


class ProtoNet(FrameMethod):
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
        encoder: VisualEncoder,
        *,
        tune: Tune = "full",
        metric: Literal["cosine", "euclidean"] = "cosine",
        scale: float = 10.0,
        learn_scale: bool = False,
        text_share: float = 0.0,
    ) -> None:
        euclidean = one_of("metric", metric, "cosine", "euclidean") == "euclidean"
        super().__init__(
            encoder,
            SquaredEuclidean() if euclidean else make_matcher("pooled", encoder.dim),
            tune=tune,
            merge="prototype",
            scale=scale,
            learn_scale=learn_scale,
            text_share=text_share,
        )
