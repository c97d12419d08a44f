"""MoLo: frames and motion compared as sets, class tokens trained to agree with the frames of other videos.

Wang et al., "MoLo: Motion-augmented Long-short Contrastive Learning for Few-shot Action Recognition", CVPR
2023, arXiv 2304.00946. With the tokens of frames F and of motion M of every video, class token first
(temporal/motion.py), prototypes the means of both over the support videos of a class, token by token, and
cos(x, y) = x.y / (|x||y| + 0.01):

    logits  = -scale * (bi_mhm(F_q, F_n) + 0.3 bi_mhm(M_q, M_n))          on 1 - cos of all pairs of tokens
    far     = sum over the frames of q of 1 - cos(frame, class token of n), and of n with the token of q
    loss    = CE(logits) + w CE(W (mean F + mean M))                      over all training classes
              + 0.05 (CE(-s_1 far_1) + .. + CE(-s_4 far_4))               two ways, F and M; s learnt from 1
              + r mean |decoder(maps of motion) - differences of pixels|^2

In the released code all but the last term are divided by the 4 episodes that a step accumulates, so that its
reconstruction counts four times what its weight says; preset "released" repeats that, and takes the position
code of that code, see methods/hyrsm.py.

The decoder works in training alone: ``encode`` does not run it. Its targets are differences of pixels as the
encoder normalises them.

Departures: batch statistics of an ImageNet tower stay those of its pre-training (encoders/norms.py), and
towers of another grid also serve, see ``MotionDecoder``.

Unknown to us, and chosen: that the matching includes the class tokens, while ``far`` sums over the others;
that one linear map names the sum of both branches; that the learnt factors are positive. A matcher other than
Bi-MHM is taken by both branches, with weights of its own in each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from openfsar.encoders.norms import StageNorm
from openfsar.encoders.visual import VisualEncoder
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.matchers import frame_distances
from openfsar.methods.episodic import (
    Scale,
    Tune,
    classification,
    episode_only,
    one_of,
    vocabulary_labels,
)
from openfsar.methods.matching import MatcherName, make_matcher
from openfsar.methods.spatial import SpatialMethod
from openfsar.objectives import cross_entropy
from openfsar.prototypes import class_means
from openfsar.temporal.motion import ClassTokenBlock, MotionDecoder, MotionMaps, pixel_differences


@dataclass(frozen=True, eq=False, repr=False)
class MotionFeatures(FrameFeatures):
    """Tokens of the frames and tokens of the motion between them; each begins with its class token."""

    motion: Float[Tensor, "*b _ D"]


@dataclass(frozen=True, eq=False, repr=False)
class DecodedFeatures(MotionFeatures):
    """And the mean squared error of each video's decoded motion."""

    error: Float[Tensor, "*b"]


class Molo(SpatialMethod):
    """Tokens of frames and of motion, matched as sets.

    Args:
        encoder: Taken over: frozen, but for the part that ``tune`` names.
        tune: Which part of the visual tower trains, besides the two branches.
        heads: Attention heads of both branches; must divide the width of the maps.
        positions: The usual sinusoid ("standard") or that of the "released" code.
        divisor: Tokens are multiplied by ``sqrt(D / divisor)`` before a position is added.
        position_weight: Factor on the positions.
        matcher: How tokens are compared.
        smoothing: Softness of OTAM's minimum, in units of distance.
        centre: Whether each video's mean token is taken away before tokens are compared: a departure, see
            ``matching.Changes``.
        eps: Added to the product of norms in every cosine.
        motion_weight: Weight of the motion in the distance.
        scale: Factor on the distances; published 1.
        learn_scale: Whether the factor trains too.
        classes: Number of training classes that a linear layer tells apart, while training; 0 for none.
        class_weight: Weight w of that loss; published 0.8 on SSv2-Full, 0.15 on SSv2-Small, 0.1 on Kinetics,
            0.6 on UCF101, 0.4 on HMDB51.
        contrast_weight: Weight of each of the four losses between frames and class tokens; 0 for none.
        decoder_weight: Weight r of the reconstruction; published 0.1 on SSv2-Full and Kinetics, 0.05
            elsewhere; 0 for none.
        decoder_gain: Factor on that weight: 1, and 4 where the released code is followed.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "clean": {},
        "released": {"positions": "released", "decoder_gain": 4.0},
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
        eps: float = 0.01,
        motion_weight: float = 0.3,
        scale: float = 1.0,
        learn_scale: bool = False,
        classes: int = 0,
        class_weight: float = 0.4,
        contrast_weight: float = 0.05,
        decoder_weight: float = 0.1,
        decoder_gain: float = 1.0,
    ) -> None:
        super().__init__(encoder, tune=tune)
        if classes < 0:
            raise ValueError(
                f"option {classes=} must be the number of training classes, or 0 for no such loss"
            )
        width = encoder.widths[-1]
        released = one_of("positions", positions, "standard", "released") == "released"
        self.of_frames, self.of_motion = (
            ClassTokenBlock(
                width, heads=heads, divisor=divisor, position_weight=position_weight, released=released
            )
            for _ in range(2)
        )
        self.maps = MotionMaps(width)
        self.decoder = MotionDecoder(self.maps.narrow, norm=StageNorm) if decoder_weight else None
        self.decoder_weight = decoder_weight * decoder_gain
        self.matcher, self.motion_matcher = (
            make_matcher(matcher, width, smoothing=smoothing, eps=eps, centre=centre) for _ in range(2)
        )
        self.eps, self.motion_weight = eps, motion_weight
        self.scale = Scale(scale, learn=learn_scale)
        self.classifier = nn.Linear(width, classes) if classes else None
        self.class_weight = class_weight
        self.contrast_weight = contrast_weight
        self.contrast_scales = nn.ModuleList(
            [Scale(1.0, learn=True) for _ in range(4 if contrast_weight else 0)]
        )

    def encode(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> MotionFeatures:
        return self.by_parts(self._encode, clips)

    def _encode(self, clips: UInt8[Tensor, "B T C H W"]) -> MotionFeatures:
        return self._tokens(self.encoder.maps(clips)[-1])[0]

    def _tokens(self, maps: Float[Tensor, "B T D H W"]) -> tuple[MotionFeatures, Float[Tensor, "B _ _ H W"]]:
        """And the maps of motion, which the decoder reads."""
        motion = self.maps(maps)
        frames = self.of_frames(maps.mean((-2, -1)))
        return MotionFeatures(frames, self.of_motion(self.maps.vectors(motion))), motion

    def _decode(self, decoder: MotionDecoder, clips: UInt8[Tensor, "B T C H W"]) -> DecodedFeatures:
        """``_encode``, and how well the motion tells what the pixels do."""
        tokens, motion = self._tokens(self.encoder.maps(clips)[-1])
        target = pixel_differences(self.encoder.normalise(clips))
        gaps = decoder(motion, (clips.shape[-2], clips.shape[-1])) - target
        error = gaps.to(torch.promote_types(gaps.dtype, torch.float32)).square().mean((1, 2, 3, 4))
        return DecodedFeatures(tokens.frames, tokens.motion, error)

    def prepare(self, support: SupportSet) -> Task:
        videos, labels, way = support.features, support.labels, support.way
        prototypes = MotionFeatures(*(class_means(x, labels, way) for x in (videos.frames, _motion(videos))))
        numbers = torch.arange(way, device=labels.device).expand(*labels.shape[:-1], way)
        return Task(prototypes, numbers, way)

    def score(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        moving = replace(task, exemplars=FrameFeatures(_motion(task.exemplars)))
        motion = self.motion_matcher(_motion(query), moving)
        return -self.scale(self.matcher(query.frames, task) + self.motion_weight * motion)

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        """With ``classes``, the episode must know the vocabulary it was drawn from.

        Raises:
            ValueError: It does not, or the vocabulary has more names than ``classes``.
        """
        episode, decoder = episode_only(batch), self.decoder
        function = self._encode if decoder is None else lambda clips: self._decode(decoder, clips)
        support, query = (self.by_parts(function, clips) for clips in (episode.support, episode.query))
        task = self.prepare(SupportSet(support, episode.support_labels, episode.way))
        found = classification(self.score(query, task), episode.query_labels)
        terms: dict[str, tuple[float, Tensor]] = {}
        if self.classifier is not None:
            named = self._told_apart(self.classifier, episode, support, query)
            terms["classes"] = self.class_weight, named
        if self.contrast_weight:
            terms["contrast"] = self.contrast_weight, self._contrast(query, task, episode.query_labels)
        if isinstance(support, DecodedFeatures) and isinstance(query, DecodedFeatures):
            terms["decoder"] = self.decoder_weight, torch.cat([support.error, query.error]).mean()
        loss = found["loss"] + sum(weight * term for weight, term in terms.values())
        reported = {name: term.detach() for name, (_, term) in terms.items()}
        return {**found, "loss": loss, "matching": found["loss"].detach(), **reported}

    def _contrast(self, query: FrameFeatures, task: Task, labels: Tensor) -> Float[Tensor, ""]:
        """Frames of either side and class tokens of the other, in both branches: the sum of four losses."""
        branches = (
            (query.frames, task.exemplars.frames),
            (_motion(query), _motion(task.exemplars)),
        )
        far = []
        for asked, shown in branches:
            far.append(frame_distances(asked[:, 1:], shown[:, :1], eps=self.eps).sum((-2, -1)))
            far.append(frame_distances(asked[:, :1], shown[:, 1:], eps=self.eps).sum((-2, -1)))
        losses = [
            cross_entropy(-scale(gaps), labels) for scale, gaps in zip(self.contrast_scales, far, strict=True)
        ]
        return torch.stack(losses).sum()

    def _told_apart(
        self, classifier: nn.Linear, episode: Episode, support: FrameFeatures, query: FrameFeatures
    ) -> Float[Tensor, ""]:
        """Cross entropy of every video among the training classes."""
        labels = torch.cat(vocabulary_labels(episode, classifier.out_features))
        videos = torch.cat([x.frames.mean(-2) + _motion(x).mean(-2) for x in (support, query)])
        return cross_entropy(classifier(videos), labels)


def _motion(features: FrameFeatures) -> Float[Tensor, "*b T D"]:
    assert isinstance(features, MotionFeatures)  # what ``encode`` and ``prepare`` give
    return features.motion
