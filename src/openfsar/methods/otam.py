"""OTAM: a video is compared with every example by the cost of aligning their frames in order.

Cao et al., "Few-Shot Video Classification via Temporal Alignment", CVPR 2020:

    D[t, u] = 1 - cos(query_t, support_u)      logits[q, n] = -scale * mean_s (otam(D) + otam(D^T))

over the support videos s of class n. Follows the public implementations rather than the paper where they
differ (both directions summed, a hard first row; see matchers/otam.py), with a true cosine where they add
0.01 to the product of norms. The encoder is CLIP instead of an ImageNet ResNet-50, and the whole visual
tower trains.
"""

from openfsar.encoders.visual import VisualEncoder
from openfsar.methods.episodic import Tune
from openfsar.methods.frames import FrameMethod, Merge
from openfsar.methods.matching import make_matcher


class Otam(FrameMethod):
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
        encoder: VisualEncoder,
        *,
        tune: Tune = "full",
        merge: Merge = "distance",
        smoothing: float = 0.1,
        centre: bool = False,
        scale: float = 1.0,
        learn_scale: bool = False,
        text_share: float = 0.0,
    ) -> None:
        super().__init__(
            encoder,
            make_matcher("otam", encoder.dim, smoothing=smoothing, centre=centre),
            tune=tune,
            merge=merge,
            scale=scale,
            learn_scale=learn_scale,
            text_share=text_share,
        )
