"""HyRSM: frames related inside each video, then videos related inside each task, compared as sets.

Wang et al., "Hybrid Relation Guided Set Matching for Few-shot Action Recognition", CVPR 2022,
arXiv 2204.13423. With g the relation inside a video and h the one between the classes and one query
(temporal/relation.py):

    F        = g(sqrt(D / 10) tower(video) + position)            every video
    P_n      = mean of F over the support videos of class n       frame by frame
    Q', P'   = h(F_q, P_1 .. P_N)                                 anew for every query q
    logits   = -scale * bi_mhm(D),  D = 1 - cos(Q', P'_n)
    loss     = CE(logits) + w CE(W F)     second term: every frame of every video, over all training classes

Preset "released" has the position code of the published code, whose exponents run twice too far; the default
is the usual one, which tells the frames of a short video apart better (temporal/positions.py). The metric is
blind to order: positions are all that a model of this kind knows of it.

Departures: CLIP instead of an ImageNet ResNet-50, the whole visual tower trains. ReLU behind both relations
is kept, although half of CLIP's features are negative where those of a ResNet are not. The published Kinetics
setting is ``divisor=encoder width, position_weight=0.01``, which leaves features at their scale. Chosen
here without knowing the released ones: bias and start of the output maps of both attentions (the layers'
defaults), and support frames as well as query frames in the second loss.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

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
    vocabulary_labels,
)
from openfsar.methods.fusion import FusedMethod, RefinedFeatures
from openfsar.methods.matching import MatcherName, make_matcher
from openfsar.objectives import cross_entropy
from openfsar.prototypes import class_means
from openfsar.temporal.positions import PositionEncoding
from openfsar.temporal.relation import FrameRelation, TaskRelation


class Hyrsm(FusedMethod, FrameFirst):
    """Hybrid relations of frames and of videos, and matching of frames as sets.

    Args:
        encoder: Taken over: frozen, but for the part that ``tune`` names.
        tune: Which part of the visual tower trains, besides the relations.
        heads: Attention heads of both relations; must divide the width of the features.
        positions: The usual sinusoid ("standard") or that of the "released" code.
        divisor: Features are multiplied by ``sqrt(D / divisor)`` before a position is added.
        position_weight: Factor on the positions.
        matcher: How frames are compared.
        smoothing: Softness of OTAM's minimum, in units of distance.
        centre: Whether each video's mean frame is taken away before frames are compared: a departure, see
            ``matching.Changes``.
        scale: Factor on the distances; published 1.
        learn_scale: Whether the factor trains too.
        classes: Number of training classes that a linear layer tells apart from every single frame, while
            training; 0 for none.
        aux_weight: Weight w of that loss; published 0.6 on SSv2-Full, 0.4 on Kinetics, 0.15 elsewhere.
        text_share: Share of the class names in the prediction, see ``FusedMethod``.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "clean": {},
        "released": {"positions": "released"},
    }

    def __init__(
        self,
        encoder: VisualEncoder,
        *,
        tune: Tune = "full",
        heads: int = 8,
        positions: Literal["standard", "released"] = "standard",
        divisor: float = 10.0,
        position_weight: float = 1.0,
        matcher: MatcherName = "bi-mhm",
        smoothing: float = 0.1,
        centre: bool = False,
        scale: float = 1.0,
        learn_scale: bool = False,
        classes: int = 0,
        aux_weight: float = 0.15,
        text_share: float = 0.0,
    ) -> None:
        super().__init__()
        if classes < 0:
            raise ValueError(
                f"option {classes=} must be the number of training classes, or 0 for no such loss"
            )
        self.encoder = tuned(encoder, tune)
        self.positions = PositionEncoding(
            encoder.dim,
            divisor=divisor,
            weight=position_weight,
            released=one_of("positions", positions, "standard", "released") == "released",
        )
        self.inside = FrameRelation(encoder.dim, heads=heads)
        self.between = TaskRelation(encoder.dim, heads=heads)
        self.matcher = make_matcher(matcher, encoder.dim, smoothing=smoothing, centre=centre)
        self.scale = Scale(scale, learn=learn_scale)
        self.classifier = nn.Linear(encoder.dim, classes) if classes else None
        self.aux_weight = aux_weight
        self.text_share = share_of("text_share", text_share)

    def refine(self, raw: Float[Tensor, "B T D"]) -> RefinedFeatures:
        return RefinedFeatures(self.inside(self.positions(raw)), raw)

    def prepare(self, support: SupportSet) -> Task:
        return prototype_task(class_means(support.features.frames, support.labels, support.way), support)

    def compare(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        frames, prototypes = self.between(query.frames, task.exemplars.frames)
        # to the matcher each query is a task of its own, with one query
        labels = torch.arange(task.way, device=frames.device).expand(prototypes.shape[:-2])
        distances = self.matcher(frames[..., None, :, :], Task(FrameFeatures(prototypes), labels, task.way))
        return -self.scale(distances[..., 0, :])

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        """With ``classes``, the episode must know the vocabulary it was drawn from.

        Raises:
            ValueError: It does not, or the vocabulary has more names than ``classes``.
        """
        episode = episode_only(batch)
        support, query = self.encode(episode.support), self.encode(episode.query)
        task = self.prepare(SupportSet(support, episode.support_labels, episode.way))
        found = classification(self.compare(query, task), episode.query_labels)
        if self.classifier is None:
            return found
        named = self._told_apart(self.classifier, episode, support, query)
        return {
            "loss": found["loss"] + self.aux_weight * named,
            "accuracy": found["accuracy"],
            "matching": found["loss"].detach(),
            "frames": named.detach(),
        }

    def _told_apart(
        self, classifier: nn.Linear, episode: Episode, support: FrameFeatures, query: FrameFeatures
    ) -> Float[Tensor, ""]:
        """Cross entropy of every frame among the training classes."""
        labels = vocabulary_labels(episode, classifier.out_features)
        every = list(zip((support.frames, query.frames), labels, strict=True))
        frames = torch.cat([frames.flatten(0, 1) for frames, _ in every])
        each = torch.cat([own.repeat_interleave(frames.shape[1]) for frames, own in every])
        return cross_entropy(classifier(frames), each)
