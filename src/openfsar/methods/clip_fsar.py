"""CLIP-FSAR: CLIP tuned to name videos, and prototypes that have read the class name.

Wang et al., "CLIP-guided Prototype Modulating for Few-shot Action Recognition", IJCV 2023, arXiv 2303.02982.
With t the text feature of a class, v the mean over time of the tower's frames, g one temporal block:

    query:    Q' = g(Q)
    support:  S' = g([S ; t]) without its last token, averaged over the videos of a class
    cost      = otam(D) + otam(D^T),  D = 1 - cos(Q', S')
    loss      = CE(-cost) + w CE(e^s cos(v, t))   over all training classes, support and query videos alike
    text      p_text = softmax(e^s cos(v, t))     visual p_vis = softmax(-cost / T)
    score     a log p_text + (1 - a) log p_vis, with a = ``text_share``: 0 is the paper's visual mode, 1 its
              text mode, and what lies between the combined one

Preset "released" is the published code: 0.01 added to the product of norms, a logit scale that starts at 1
and trains, smoothing 0.5, visual scores alone, a prompt without a full stop. Preset "clean" (the default) has
a true cosine, CLIP's own logit scale and the paper's combined score. Both tune the whole visual tower; the
text tower is frozen.
Left to recipes: the schedule at double speed, the coupled weight decay of 1e-3 that the published yaml does
not show, and 1-shot training for 5-shot tests. Our own addition is ``tune="lora"``: the tower stays as it is,
and changes of low rank to its matrices train, for less memory and small files.

Departures: the published divisor 8 in p_vis is T; the loss is divided by the number of accumulated episodes
in the training loop instead of here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from openfsar.encoders.adapters import add_lora
from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.prompts import TEMPLATES
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.methods.base import FrameFirst
from openfsar.methods.episodic import (
    Scale,
    classification,
    distinct,
    episode_only,
    one_of,
    prototype_task,
    share_of,
    tuned,
)
from openfsar.methods.fusion import FusedMethod, RefinedFeatures
from openfsar.methods.matching import MatcherName, make_matcher
from openfsar.objectives import accuracy, cross_entropy
from openfsar.prototypes import class_means
from openfsar.temporal.transformer import TemporalBlock


class ClipFsar(FusedMethod, FrameFirst):
    """A tuned CLIP, a text token among the frames of every example, and ordered matching.

    Args:
        encoder: Taken over: frozen, but for the part that ``tune`` names.
        tune: What trains of the visual tower: "full" all of it, "lora" low-rank changes, "none" nothing.
        rank: Rank of those changes.
        modulation: Whether prototypes read their class name; False leaves the text token out, to see what it
            is worth.
        merge: Whether shots are averaged "before" the temporal block (published for 5-shot) or "after" it.
        matcher: How frames are compared.
        smoothing: Softness of OTAM's minimum, in units of distance.
        centre: Whether each video's mean frame is taken away before frames are compared: a departure, see
            ``matching.Changes``.
        eps: Added to the product of norms in every cosine of the training losses.
        logit_scale: Start of the learnt factor on cosines with text; 0 keeps CLIP's own, frozen.
        text_weight: Weight w of the loss over names; published 1.2 to 3.
        text_share: Share a of the class names in the prediction, 0..1; to be chosen on validation classes.
        heads: Attention heads of the temporal block.
        prompt: Key of ``TEMPLATES``; the feature of a name is the mean over its templates.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "clean": {},
        "released": {
            "eps": 0.01,
            "smoothing": 0.5,
            "logit_scale": 1.0,
            "text_share": 0.0,
            "prompt": "clip-fsar",
        },
    }

    def __init__(
        self,
        encoder: ClipEncoder,
        *,
        tune: Literal["full", "lora", "none"] = "full",
        rank: int = 8,
        modulation: bool = True,
        merge: Literal["before", "after"] = "before",
        matcher: MatcherName = "otam",
        smoothing: float = 0.1,
        centre: bool = False,
        eps: float = 0.0,
        logit_scale: float = 0.0,
        text_weight: float = 1.0,
        text_share: float = 0.5,
        heads: int = 8,
        prompt: str = "photo",
    ) -> None:
        super().__init__()
        one_of("tune", tune, "full", "lora", "none")
        self.encoder = tuned(encoder, "full" if tune == "full" else "none")
        self.templates = TEMPLATES[one_of("prompt", prompt, *TEMPLATES)]
        self.modulation = modulation
        self.merge = one_of("merge", merge, "before", "after")
        self.matcher = make_matcher(matcher, encoder.dim, smoothing=smoothing, eps=eps, centre=centre)
        self.temporal = TemporalBlock(encoder.dim, heads=heads)
        clip = encoder.logit_scale.exp().item()
        self.scale = Scale(logit_scale or clip, learn=bool(logit_scale))
        self.eps, self.text_weight = eps, text_weight
        self.text_share = share_of("text_share", text_share)
        if tune == "lora":
            add_lora(encoder.vision, rank)

    def read(self, names: Sequence[str], templates: Sequence[str] | None = None) -> Float[Tensor, "N D"]:
        return self.clip.text(distinct(names), templates or self.templates, unit=False)

    def text(self, names: Sequence[str]) -> Float[Tensor, "N D"]:
        """Whatever the share: prototypes read the names in any case."""
        return self.read(names)

    def refine(self, raw: Float[Tensor, "B T D"]) -> RefinedFeatures:
        return RefinedFeatures(self.temporal(raw), raw)

    def prepare(self, support: SupportSet) -> Task:
        """Prototypes that have read their class name.

        Raises:
            ValueError: The support set carries no text features.
        """
        features, labels = support.features, support.labels
        assert isinstance(features, RefinedFeatures)
        if support.text is None:
            raise ValueError("clip-fsar reads class names; give SupportSet(..., text=method.text(names))")
        if self.merge == "before":
            means = class_means(features.raw, labels, support.way)
            return prototype_task(self._modulated(means, support.text), support)
        own = support.text.gather(-2, labels[..., None].expand(*labels.shape, support.text.shape[-1]))
        return prototype_task(class_means(self._modulated(features.raw, own), labels, support.way), support)

    def _modulated(
        self, frames: Float[Tensor, "*e B T D"], text: Float[Tensor, "*e B D"]
    ) -> Float[Tensor, "*e B T D"]:
        if not self.modulation:
            return self.temporal(frames)
        return self.temporal(torch.cat([frames, text[..., None, :].to(frames.dtype)], -2))[..., :-1, :]

    def compare(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        return -self.matcher(query.frames, task) / query.frames.shape[-2]

    def text_scale(self) -> Float[Tensor, ""]:
        return self.scale.log.exp()

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        """The names are those of the whole training vocabulary where the episode knows it."""
        episode = episode_only(batch)
        vocabulary = episode.vocabulary or episode.classes
        number = torch.tensor(
            [vocabulary.index(name) for name in episode.classes], device=episode.query_labels.device
        )
        text = self.text(vocabulary)
        support, query = self.both(episode)
        task = self.prepare(SupportSet(support, episode.support_labels, episode.way, text[number]))
        compared = self.compare(query, task)
        found = classification(compared * query.frames.shape[-2], episode.query_labels)
        logits = torch.cat([self.named(features, text, eps=self.eps) for features in (support, query)])
        labels = number[torch.cat([episode.support_labels, episode.query_labels])]
        named = cross_entropy(logits, labels)
        with torch.no_grad():
            mixed = accuracy(self.with_names(compared, query, task), episode.query_labels)
        return {
            "loss": found["loss"] + self.text_weight * named,
            "accuracy": mixed,
            "visual": found["loss"].detach(),
            "text": named.detach(),
        }
