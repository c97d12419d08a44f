"""Bi-MHM: a video is compared with every example as a set of frames, each matched to its nearest.

The metric of HyRSM (Wang et al., "Hybrid Relation Guided Set Matching for Few-shot Action Recognition",
CVPR 2022) on plain encoder features, without HyRSM's relation modules:

    D[t, u] = 1 - cos(query_t, support_u)      logits[q, n] = -scale * mean_s bi_mhm(D)

over the support videos s of class n. HyRSM averages the examples of a class first (``merge="prototype"``);
the default averages distances, so that Bi-MHM and OTAM differ in the matcher alone. The encoder is CLIP
instead of an ImageNet ResNet-50.
"""

from openfsar.encoders.visual import VisualEncoder
from openfsar.methods.episodic import Tune
from openfsar.methods.frames import FrameMethod, Merge
from openfsar.methods.matching import make_matcher


class BiMHM(FrameMethod):
    """Nearest class by bidirectional mean Hausdorff distance of frames, blind to their order.

    Args:
        encoder: Taken over: frozen, but for the part that ``tune`` names.
        tune: Which part of the visual tower trains.
        merge: With several shots, average "distance"s to the examples, or the examples themselves, frame by
            frame, to a "prototype" (published; K times faster).
        centre: Whether each video's mean frame is taken away first, so that only what changes is compared: a
            departure, see ``matching.Changes``.
        scale: Factor on the distances. The published 1 suits sums over eight frames and two directions.
        learn_scale: Whether the factor trains too.
        text_share: Share of the class names in the prediction, see ``FusedMethod``.
    """

    def __init__(
        self,
        encoder: VisualEncoder,
        *,
        tune: Tune = "full",
        merge: Merge = "distance",
        centre: bool = False,
        scale: float = 1.0,
        learn_scale: bool = False,
        text_share: float = 0.0,
    ) -> None:
        super().__init__(
            encoder,
            make_matcher("bi-mhm", encoder.dim, centre=centre),
            tune=tune,
            merge=merge,
            scale=scale,
            learn_scale=learn_scale,
            text_share=text_share,
        )
