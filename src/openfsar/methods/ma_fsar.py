"""MA-FSAR: a frozen CLIP whose blocks learn to see time and to read the class name of the examples.

Xing et al., "Multimodal Adaptation of CLIP for Few-Shot Action Recognition", arXiv 2308.01532 (v1 calls it
MA-CLIP). With t the text feature of a class, F the frames of a video and [.]^avg their mean over time:

    F_S = tower(support, t)     F_Q = tower(query)              adapters: encoders/adapters/multimodal.py
    S~  = TPCM(F_S, t)          Q~  = TPCM(F_Q)                 prototypes/text_guided.py
    p_Q2T = softmax(100 cos(F_Q^avg, t))     p_Q2S = softmax(-distance(Q~, S~))
    p     = alpha p_Q2T + (1 - alpha) p_Q2S
    loss  = alpha (L_S2T + L_Q2T) / 2 + (1 - alpha) L_Q2S

L_Q2S is cross entropy; L_S2T and L_Q2T are multi-positive Kullback-Leibler losses between videos and the
names of the episode. No code was released. What the paper leaves open, and what is chosen here:

- alpha: 0.5, which prefers neither; the prediction may have another (``text_share``). Logit scale of the
  cosines: CLIP's own, frozen. Sharpness of the KL target: 10, as in the same group's ActionCLIP.
- scale of the joint adapter: 1 (AIM uses 1 on SSv2, 0.5 on Kinetics). Inner skip: none in the temporal
  adapter, one in the local adapter, as a zero adapter would otherwise delete the frozen attention.
- text features enter tower and TPCM as CLIP's projection leaves them, not normalised: their length is that of
  frame features, to which TPCM adds them.
- several shots: TPCM first, then the mean per class, as OTAM and CLIP-FSAR do (``merge="after"``).
- norms and heads of TPCM: see prototypes/text_guided.py.
- prompt: "a photo of {}", CLIP-FSAR's; v1 shows no prompt, so MA-CLIP uses the bare name.

The temporal position is added behind the tower's first layer norm, where a slot is, and not in front of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from openfsar.encoders.adapters import Bottleneck, MultimodalAdapter, Scaled, TemporalPosition
from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.prompts import TEMPLATES
from openfsar.encoders.towers import VisionTower
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.methods.episodic import classification, distinct, episode_only, one_of, share_of, tuned
from openfsar.methods.fusion import FusedMethod, RefinedFeatures
from openfsar.methods.matching import MatcherName, make_matcher
from openfsar.objectives import accuracy, multi_positive_kl
from openfsar.prototypes import Guidance, TextGuidance, class_means


class MaFsar(FusedMethod):
    """A frozen CLIP with adapters for time and text, text-guided prototypes, and any matcher.

    Args:
        encoder: Taken over; frozen but for what ``tune`` adds or releases.
        tune: "adapters" in every block of the visual tower (the paper's ViT); "full" trains the tower itself,
            without adapters (the paper's ResNet, and a row of its ablation); "none" trains TPCM alone.
        temporal: Whether class tokens attend over time and enter each frame as one more token.
        local: Whether the attention inside a frame is adapted.
        joint: Whether an adapter stands beside the MLP.
        text_token: Whether support videos read the name of their class in every block.
        text_layer: One projection of that name per "block" (the paper's count) or "shared" by all.
        ratio: Hidden width of adapters as a share of the token width.
        joint_scale: Factor on the joint adapter.
        positions: Frames of the learnt temporal position; 0 for none.
        prototype: The paper's TPCM ("text-guided"), its two alternatives, or "mean" for none at all.
        heads: Attention heads of TPCM.
        merge: Whether shots are averaged "after" or "before" TPCM.
        matcher: How frames are compared.
        smoothing: Softness of OTAM's minimum, in units of distance.
        centre: Whether each video's mean frame is taken away before frames are compared: a departure, see
            ``matching.Changes``.
        scale: Factor on distances before their softmax.
        alpha: Share of the class names in the loss, 0..1.
        text_share: Their share in the prediction; None is alpha, as in the paper.
        sharpness: Factor on the match matrix before its softmax becomes the target of the KL losses.
        prompt: Key of ``TEMPLATES``; the feature of a name is the mean over its templates.
        names: False never reads a class name: a departure for people who have none, where support videos pass
            like queries and the loss is L_Q2S alone.
    """

    support_reads_text = True
    mix = "sum"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}, "ma-clip": {"prompt": "name"}}

    def __init__(
        self,
        encoder: ClipEncoder,
        *,
        tune: Literal["adapters", "full", "none"] = "adapters",
        temporal: bool = True,
        local: bool = True,
        joint: bool = True,
        text_token: bool = True,
        text_layer: Literal["block", "shared"] = "block",
        ratio: float = 0.25,
        joint_scale: float = 1.0,
        positions: int = 8,
        prototype: Guidance | Literal["mean"] = "text-guided",
        heads: int = 8,
        merge: Literal["after", "before"] = "after",
        matcher: MatcherName = "otam",
        smoothing: float = 0.1,
        centre: bool = False,
        scale: float = 1.0,
        alpha: float = 0.5,
        text_share: float | None = None,
        sharpness: float = 10.0,
        prompt: str = "photo",
        names: bool = True,
    ) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"option {scale=} must be a positive number")
        one_of("tune", tune, "adapters", "full", "none")
        one_of("text_layer", text_layer, "block", "shared")
        one_of("prototype", prototype, "text-guided", "multimodal", "unimodal", "mean")
        self.encoder = tuned(encoder, "full" if tune == "full" else "none")
        self.templates = TEMPLATES[one_of("prompt", prompt, *TEMPLATES)]
        self.names, self.sharpness, self.scale = names, sharpness, scale
        self.alpha = share_of("alpha", alpha)
        self.text_share = (
            share_of("text_share", alpha if text_share is None else text_share) if names else 0.0
        )
        self.merge = one_of("merge", merge, "after", "before")
        self.guidance = (
            None if prototype == "mean" else TextGuidance(encoder.dim, guidance=prototype, heads=heads)
        )
        self.matcher = make_matcher(matcher, encoder.dim, smoothing=smoothing, centre=centre)
        if tune == "adapters":
            reads = text_token and names
            self._adapt(temporal, local, joint, reads, text_layer == "shared", ratio, joint_scale, positions)

    def _adapt(
        self,
        temporal: bool,
        local: bool,
        joint: bool,
        reads: bool,
        shared: bool,
        ratio: float,
        joint_scale: float,
        positions: int,
    ) -> None:
        """Fill the slots of every block."""
        tower = self.encoder.vision
        if not isinstance(tower, VisionTower):
            raise ValueError(
                f"option tune='adapters' needs a transformer, and encoder {self.encoder.name!r} is none; use "
                "tune='full' as the paper does with its ResNet"
            )
        width = tower.width

        def text_layer() -> nn.Linear | None:
            return nn.Linear(self.encoder.dim, width) if reads else None

        one = text_layer() if shared else None
        for block in tower.blocks:
            block.around = MultimodalAdapter(
                temporal=Bottleneck(width, ratio=ratio, skip=False) if temporal else None,
                local=Bottleneck(width, ratio=ratio) if local else None,
                text=one if shared else text_layer(),
            )
            if joint:
                block.beside = Scaled(Bottleneck(width, ratio=ratio, skip=False), joint_scale)
        if positions:
            tower.blocks[0].before = TemporalPosition(positions, width)

    def read(self, names: Sequence[str], templates: Sequence[str] | None = None) -> Float[Tensor, "N D"]:
        if not self.names:
            raise ValueError("option names=False never reads a class name; build the method with names=True")
        return self.clip.text(distinct(names), templates or self.templates, unit=False)

    @property
    def reads_names(self) -> bool:
        return self.names and super().reads_names

    def text(self, names: Sequence[str]) -> Float[Tensor, "N D"] | None:
        return self.read(names) if self.names else None

    def encode(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> RefinedFeatures:
        raw = self.encoder.frames(clips, text)
        return RefinedFeatures(raw if self.guidance is None else self.guidance(raw, text), raw)

    def prepare(self, support: SupportSet) -> Task:
        """Prototypes, which have read their class names unless the method was built without.

        Raises:
            ValueError: The support set carries no text features.
        """
        features = support.features
        if self.names and support.text is None:
            raise ValueError(
                "ma-fsar reads class names; give SupportSet(..., text=method.text(names)), or build it with "
                "names=False"
            )
        assert isinstance(features, RefinedFeatures)
        if self.merge == "after" or self.guidance is None:
            frames = class_means(features.frames, support.labels, support.way)
        else:
            frames = self.guidance(class_means(features.raw, support.labels, support.way), support.text)
        labels = torch.arange(support.way, device=support.labels.device)
        return Task(FrameFeatures(frames), labels.expand(frames.shape[:-2]), support.way, support.text)

    def compare(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        return -self.scale * self.matcher(query.frames, task)

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        episode = episode_only(batch)
        text = self.text(episode.classes)
        support = self.encode(episode.support, None if text is None else text[episode.support_labels])
        query = self.encode(episode.query)
        task = self.prepare(SupportSet(support, episode.support_labels, episode.way, text))
        compared = self.compare(query, task)
        found = classification(compared, episode.query_labels)
        if text is None:
            return found
        names = [
            multi_positive_kl(
                self.named(features, text),
                nn.functional.one_hot(labels, episode.way).bool(),
                sharpness=self.sharpness,
            )
            for features, labels in (
                (support, episode.support_labels),
                (query, episode.query_labels),
            )
        ]
        total = self.alpha * (names[0] + names[1]) / 2 + (1 - self.alpha) * found["loss"]
        with torch.no_grad():
            mixed = accuracy(self.with_names(compared, query, task), episode.query_labels)
        return {
            "loss": total,
            "accuracy": mixed,
            "support_to_text": names[0].detach(),
            "query_to_text": names[1].detach(),
            "query_to_support": found["loss"].detach(),
        }
