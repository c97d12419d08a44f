"""ActionCLIP: CLIP tuned as a whole to match videos with sentences about them.

Wang, Xing and Liu, "ActionCLIP: A New Paradigm for Video Action Recognition", arXiv 2109.08472. With h the
visual prompt behind the tower (temporal/heads.py), B videos of a batch and one sentence w about each, made
from its class name by a template drawn among K = 16:

    v   = mean over h(frames)              S = e^s cos(v_i, w_j)           B x B
    G   = 1 where the labels are equal     Q = softmax(10 G)
    loss  = (KL(Q, softmax(S)) + KL(Q, softmax(S^T))) / 2
    p     = mean over the K templates of softmax over the names of e^s cos(v, w_k(name))

Everything trains: both towers, the scale s, which nothing limits, and h. What the tower itself may learn of
time ("shift", "joint") is in encoders/adapters/time.py.

The paper names videos by words alone, and so does this class at ``text_share=1``. Comparing with examples,
for few-shot recognition, is our addition: prototypes are means of what h makes of the examples, the factor on
distances is that on cosines, and the loss stays as it is. An episode is trained on as one batch of labelled
clips, support and query together.

Preset "paper" names videos at a factor of 100 whatever the scale has become, as the published code does;
preset "clean" (the default) uses the learnt one, which trained models were optimised for.

Departures: class names are split into words ("ApplyEyeMakeup"); negatives are those of one process; weights
are not rounded to half precision after each step, where a rate of 5e-6 would drown. Left to recipes: ten
times that rate for h, and weight decay of 0.2 on everything.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openfsar.encoders.adapters import JointSpaceTime, PatchShift, TemporalPosition
from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.prompts import TEMPLATES, fill
from openfsar.encoders.towers import VisionTower
from openfsar.encoders.trainable import freeze, unfreeze
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.matchers import frame_distances
from openfsar.methods.base import FrameFirst
from openfsar.methods.episodic import distinct, labelled, one_of, prototype_task, share_of
from openfsar.methods.fusion import FusedMethod
from openfsar.methods.matching import MatcherName, make_matcher
from openfsar.objectives import cross_entropy, multi_positive_kl
from openfsar.prototypes import class_means
from openfsar.temporal.heads import HeadName, make_head


class ActionClip(FusedMethod, FrameFirst):
    """CLIP tuned end to end to match videos with sentences, and a small network over frames behind it.

    Args:
        encoder: Taken over: frozen, but for what ``tune`` names.
        tune: What trains besides the visual prompt behind the tower: "full" both towers and the scale,
            "visual" all but the text tower, "none" nothing, the learnt positions of "joint" included.
        visual: The visual prompt behind the tower, see temporal/heads.py.
        tower: What the tower itself sees of time: "plain" nothing, "shift" the frames before and after,
            "joint" all frames at once. The paper combines these two with ``visual="mean"``.
        layers: Blocks of "transf" and "transf-cls".
        positions: Rows of learnt positions; None is 77 in "transf", as published, and 8 in "transf-cls" and
            "joint", whose published tables are as long as the videos they train on.
        target: "multi-positive" counts every sentence of the same class as right, "diagonal" (mmaction2) only
            the video's own.
        sharpness: Factor on the match matrix before its softmax becomes the target.
        ensemble: How templates are merged: means of "probabilities" (published), or of "embeddings", which
            is K times cheaper.
        test_scale: Factor on cosines in prediction; 0 is the learnt one.
        matcher: How frames are compared. "trx" would need a loss of its own.
        smoothing: Softness of OTAM's minimum, in units of distance.
        centre: Whether each video's mean frame is taken away before frames are compared: a departure, see
            ``matching.Changes``.
        text_share: Share of the class names in the prediction, 0..1; 1 is the paper's.
        prompt: Key of ``TEMPLATES``.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"clean": {}, "paper": {"test_scale": 100.0}}

    def __init__(
        self,
        encoder: ClipEncoder,
        *,
        tune: Literal["full", "visual", "none"] = "full",
        visual: HeadName = "transf",
        tower: Literal["plain", "shift", "joint"] = "plain",
        layers: int = 6,
        positions: int | None = None,
        target: Literal["multi-positive", "diagonal"] = "multi-positive",
        sharpness: float = 10.0,
        ensemble: Literal["probabilities", "embeddings"] = "probabilities",
        test_scale: float = 0.0,
        matcher: MatcherName = "pooled",
        smoothing: float = 0.1,
        centre: bool = False,
        text_share: float = 1.0,
        prompt: str = "actionclip",
    ) -> None:
        super().__init__()
        if positions is not None and positions < 1:
            raise ValueError(f"option {positions=} must be at least 1, or None for the published number")
        if not test_scale >= 0:
            raise ValueError(f"option {test_scale=} must be positive, or 0 for the learnt scale")
        if matcher == "trx":
            raise ValueError(
                "option matcher='trx' has weights that no loss of actionclip trains; use 'pooled', 'otam' or "
                "'bi-mhm', or the method trx"
            )
        self.templates = TEMPLATES[one_of("prompt", prompt, *TEMPLATES)]
        self.target = one_of("target", target, "multi-positive", "diagonal")
        self.ensemble = one_of("ensemble", ensemble, "probabilities", "embeddings")
        self.sharpness, self.test_scale = sharpness, test_scale
        self.text_share = share_of("text_share", text_share)
        self.encoder, self.tune = encoder, one_of("tune", tune, "full", "visual", "none")
        self.tower = one_of("tower", tower, "plain", "shift", "joint")
        if tower != "plain":
            self._adapt(tower, 8 if positions is None else positions)
        freeze(encoder)
        if tune == "full":
            unfreeze(encoder)
        elif tune == "visual":
            unfreeze(encoder.vision)
            encoder.logit_scale.requires_grad_(True)
        self.head = make_head(visual, encoder.dim, layers=layers, positions=positions)
        self.matcher = make_matcher(matcher, encoder.dim, smoothing=smoothing, centre=centre)

    def _adapt(self, kind: str, positions: int) -> None:
        """Fill the slots of every block."""
        tower = self.encoder.vision
        if not isinstance(tower, VisionTower):
            raise ValueError(
                f"option tower={kind!r} needs a transformer, and encoder {self.encoder.name!r} is none; use "
                "tower='plain' with a visual prompt behind it"
            )
        for block in tower.blocks:
            if kind == "shift":
                block.before = PatchShift()
            else:
                block.around = JointSpaceTime()
        if kind == "joint":
            tower.blocks[0].before = TemporalPosition(positions, tower.width, patches_only=True)

    def read(self, names: Sequence[str], templates: Sequence[str] | None = None) -> Float[Tensor, "N D"]:
        """One row per name: the unit features of its K sentences side by side, or their mean."""
        if self.ensemble == "embeddings":
            return self.clip.text(distinct(names), templates or self.templates)
        return self._sentences(distinct(names), templates or self.templates).flatten(1)

    def _sentences(self, names: Sequence[str], templates: Sequence[str]) -> Float[Tensor, "N X D"]:
        """Each name in each template on its own, kept by the encoder."""
        return torch.stack([self.clip.text(names, (template,)) for template in templates], 1)

    @property
    def frames_first(self) -> bool:
        return self.tower == "plain"

    def refine(self, raw: Float[Tensor, "B T D"]) -> FrameFeatures:
        return FrameFeatures(self.head(raw))

    def prepare(self, support: SupportSet) -> Task:
        return prototype_task(class_means(support.features.frames, support.labels, support.way), support)

    def compare(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        return -self.text_scale() * self.matcher(query.frames, task)

    def text_scale(self) -> Float[Tensor, ""]:
        """Factor on cosines in prediction."""
        learnt = self.clip.logit_scale
        return learnt.new_tensor(self.test_scale) if self.test_scale else learnt.exp()

    def named(
        self, videos: FrameFeatures, text: Float[Tensor, "*e N D"], *, eps: float = 0.0
    ) -> Float[Tensor, "*e Q N"]:
        """Logarithms of probabilities: a softmax over the names for each template, and their mean."""
        means = videos.frames.mean(-2, keepdim=True)
        sentences = text.unflatten(-1, (-1, means.shape[-1]))
        cosines = 1 - frame_distances(means, sentences, eps=eps)[..., 0, :]
        likely = (self.text_scale() * cosines).log_softmax(-2)
        return likely.logsumexp(-1) - math.log(likely.shape[-1])

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        """``accuracy`` is the share of clips whose nearest sentence in the batch is about their class.

        Templates are drawn from torch's global generator, in eval mode too.
        """
        names, clips, labels = labelled(batch)
        videos = torch.cat([self.encode(part).frames.mean(1) for part in clips])
        sentences = self._drawn(names, labels)
        cosines = 1 - frame_distances(videos[:, None], sentences[:, None])[..., 0, 0]
        logits = self.clip.logit_scale.exp() * cosines
        match = labels[:, None] == labels
        own = torch.arange(len(labels), device=labels.device)
        if self.target == "multi-positive":
            loss = multi_positive_kl(logits, match, sharpness=self.sharpness)
        else:
            loss = (cross_entropy(logits, own) + cross_entropy(logits.mT, own)) / 2
        return {"loss": loss, "accuracy": match[own, logits.argmax(1)].float().mean()}

    def _drawn(self, names: Sequence[str], labels: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """A sentence about each clip, by a template drawn for it. A frozen text tower reads each one once."""
        draw = torch.randint(len(self.templates), labels.shape)
        if self.tune == "full":
            pairs: list[tuple[int, int]] = torch.stack([labels.cpu(), draw], 1).tolist()
            return self.clip.sentences([fill([names[n]], [self.templates[k]])[0] for n, k in pairs])
        present, place = labels.unique(return_inverse=True)
        shown: list[int] = present.tolist()
        known = self._sentences([names[n] for n in shown], self.templates)
        return known[place, draw.to(place.device)]
