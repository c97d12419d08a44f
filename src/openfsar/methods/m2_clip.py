"""M2-CLIP: a frozen CLIP with adapters for time in one tower and for words in the other, taught four tasks.

Wang et al., "M2-CLIP: A Multimodal, Multi-task Adapting Framework for Video Action Recognition", AAAI 2024,
arXiv 2401.11649. TED adapters (encoders/adapters/ted.py) enter the visual tower, plain ones the text tower.
With V the frames of the tower, mixed over time by one more adapter, c the class tokens behind the last block,
w the words "A video of {class}", and averages over time written as mean:

    v = mean(V)                         s cos(v, w) are the logits of the names, s CLIP's own, frozen
    L_con   KL, both ways, between the videos of a batch and their own names      objectives.py
    L_CMC   cross entropy of v among the names of all training classes
    L_VC    cross entropy of W dropout(LN(mean(c))) among the same classes
    L_CMLM  cross entropy of masked words of the name, which V helps to fill in   methods/masked_words.py
    loss  = (L_con + L_CMC) / 2 + L_VC + L_CMLM / 10

The last two need heads for a fixed list of ``classes``. By words any name can be given, without these heads.

The paper is not about few-shot tasks, and comparing with examples is our addition: prototypes are means of V,
the factor on distances is that on cosines, and an episode is trained on as one batch of labelled clips.

Presets: "paper" (the default) has the layout released for Kinetics-400, "k400" also its numbers of classes
and words, "ssv2" and "k400-b32" those of the other releases. The published text adapters change what CLIP's
words mean even before training, and users of the release report about 5 % on unseen classes with them, 60 %
without. Preset "clean" leaves the text tower alone, as the release for B/32 does; its features are then
computed once.

Departures: the released code masks no word, so its L_CMLM is undefined and trains nothing; here it does what
the paper says. It takes the softmax of CMC twice (``cmc="double-softmax"``). Its factor 100 on cosines is
CLIP's own scale here, the same number in OpenAI's models. Which head the paper's tables use is unknown:
``inference``. Kept as published: before the MLP of the last block the difference branch changes patches that
no attention reads any more, so it learns nothing. Left to recipes: half the rate for text adapters.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from openfsar.encoders.adapters import Bottleneck, Ted, TemporalEnhancement
from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.prompts import fill
from openfsar.encoders.towers import ClassTokenHead, VisionTower
from openfsar.encoders.trainable import trainable_parameters
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.methods.closed_set import TEMPLATE, ClosedSet
from openfsar.methods.episodic import distinct, labelled, one_of, prototype_task, share_of, tuned
from openfsar.methods.fusion import FusedMethod
from openfsar.methods.layers import Layers, Layout, block_numbers
from openfsar.methods.matching import MatcherName, make_matcher
from openfsar.objectives import accuracy, cross_entropy, multi_positive_kl
from openfsar.prototypes import class_means

Inference = Literal["text", "visual", "average"]

_LAST_TWO: list[int] = [-2, -1]


@dataclass(frozen=True, eq=False, repr=False)
class ClassTokenFeatures(FrameFeatures):
    """Frames in the joint space, and the mean over time of the class tokens they come from."""

    token: Float[Tensor, "*b _"]


class M2Clip(FusedMethod):
    """CLIP with adapters for motion and words, taught by matching, naming, classifying and filling in.

    Args:
        encoder: Taken over; frozen but for what ``tune`` and the text adapters add or release.
        tune: "adapters" fills the visual tower with them; "full" trains that tower itself, without any;
            "none" leaves the whole encoder as it is, without adapters in either tower.
        ted_before_attention, ted_before_mlp: Blocks of the visual tower with an adapter there.
        ted_ratio: Their hidden width as a share of the token width.
        text_before_attention, text_before_mlp: The same for the text tower, whose last block counts twice:
            the last number is that of the block in which masked words meet the video.
        text_ratio: Their hidden width as a share of the token width.
        head_adapter: Whether frames are mixed over time behind the tower.
        classes: Names of the training classes, for the heads of L_VC and L_CMLM; 0 leaves both out. Another
            number builds heads of that size, to be counted and not to be used.
        words: Outputs of the head of L_CMLM; 0 is as many as the names have words.
        contrastive_weight, cmc_weight, vc_weight, cmlm_weight: Of the four losses; a head of weight 0 is not
            built.
        cmc: "plain" cross entropy, or the released "double-softmax".
        mask_ratio: Share of the words of a name that are masked; at least one is.
        inference: Which head names videos: "text" by words, "visual" by L_VC's head, or the mean of both
            probabilities. The last two know ``classes`` alone.
        matcher: How frames are compared. "trx" would need a loss of its own.
        smoothing: Softness of OTAM's minimum, in units of distance.
        centre: Whether each video's mean frame is taken away before frames are compared: a departure, see
            ``matching.Changes``.
        text_share: Share of the class names in the prediction, 0..1; 1, names alone, is the paper's.
    """

    templates = TEMPLATE
    closed_set = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "clean": {"text_before_mlp": [-1]},
        "k400": {"classes": 400, "words": 520},
        "k400-b32": {"text_before_mlp": [-1], "classes": 400, "words": 520},
        "ssv2": {
            "ted_before_attention": "all",
            "text_before_attention": "all",
            "text_before_mlp": "all",
            "classes": 174,
            "words": 234,
        },
    }

    def __init__(
        self,
        encoder: ClipEncoder,
        *,
        tune: Literal["adapters", "full", "none"] = "adapters",
        ted_before_attention: Layers = "none",
        ted_before_mlp: Layers = "all",
        ted_ratio: float = 0.5,
        text_before_attention: Layers = "none",
        text_before_mlp: Layers = _LAST_TWO,
        text_ratio: float = 0.75,
        head_adapter: bool = True,
        classes: Sequence[str] | int = 0,
        words: int = 0,
        contrastive_weight: float = 0.5,
        cmc_weight: float = 0.5,
        vc_weight: float = 1.0,
        cmlm_weight: float = 0.1,
        cmc: Literal["plain", "double-softmax"] = "plain",
        mask_ratio: float = 0.2,
        inference: Inference = "text",
        matcher: MatcherName = "pooled",
        smoothing: float = 0.1,
        centre: bool = False,
        text_share: float = 1.0,
    ) -> None:
        super().__init__()
        if matcher == "trx":
            raise ValueError(
                "option matcher='trx' has weights that no loss of m2-clip trains; use 'pooled', 'otam' or "
                "'bi-mhm', or the method trx"
            )
        if not 0 <= mask_ratio <= 1:
            raise ValueError(f"option {mask_ratio=} must lie in 0..1: the share of words that are masked")
        self.weights = {
            "contrastive": contrastive_weight,
            "cmc": cmc_weight,
            "vc": vc_weight,
            "cmlm": cmlm_weight,
        }
        for name, weight in self.weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"option {name}_weight={weight!r} must be 0 or a positive number")
        tower = class_token_tower(encoder)
        one_of("tune", tune, "adapters", "full", "none")
        self.cmc = one_of("cmc", cmc, "plain", "double-softmax")
        self.text_share = share_of("text_share", text_share)
        self.encoder = tuned(encoder, "full" if tune == "full" else "none")
        self.head_adapter = TemporalEnhancement(encoder.dim) if head_adapter else None
        self.matcher = make_matcher(matcher, encoder.dim, smoothing=smoothing, centre=centre)

        def text_adapter() -> Bottleneck:
            return Bottleneck(words_tower.width, ratio=text_ratio, zero=False)

        words_tower, depth = encoder.text_tower, len(encoder.text_tower.blocks)
        ted = Layout(
            block_numbers("ted_before_attention", ted_before_attention, len(tower.blocks)),
            block_numbers("ted_before_mlp", ted_before_mlp, len(tower.blocks)),
        )
        text = Layout(
            block_numbers("text_before_attention", text_before_attention, depth + 1),
            block_numbers("text_before_mlp", text_before_mlp, depth + 1),
        )
        if tune == "adapters":
            ted.fill(tower.blocks, lambda: Ted(tower.width, ratio=ted_ratio))
        if tune != "none":
            text.fill(words_tower.blocks, text_adapter)

        self.heads = ClosedSet(
            classes,
            encoder,
            tower.width,
            words=words,
            ratio=mask_ratio,
            adapters=(
                text_adapter() if depth in text.before_attention else None,
                text_adapter() if depth in text.before_mlp else None,
            ),
            visual=vc_weight > 0,
            masked=cmlm_weight > 0,
        )
        self.inference = self._possible(inference)

    def _possible(self, inference: str) -> str:
        one_of("inference", inference, "text", "visual", "average")
        if inference != "text" and self.heads.classifier is None:
            raise ValueError(
                f"option {inference=} needs a head for known classes; give classes=[...] and a positive "
                "vc_weight, or use inference='text'"
            )
        return inference

    def set_inference(self, inference: Inference) -> None:
        """Change which head names videos, in what is saved of the method too."""
        self.inference = self._possible(inference)
        self.spec = replace(self.spec, options={**self.spec.options, "inference": inference})

    def encode(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> ClassTokenFeatures:
        tower = class_token_tower(self.clip)
        tokens = tower.tokens(self.encoder.normalise(clips))
        frames = tower.head(tokens)
        if self.head_adapter is not None:
            frames = frames + self.head_adapter(frames[:, :, None])[:, :, 0]
        return ClassTokenFeatures(frames, tokens[:, :, 0].mean(1))

    def prepare(self, support: SupportSet) -> Task:
        return prototype_task(class_means(support.features.frames, support.labels, support.way), support)

    def compare(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        return -self.text_scale() * self.matcher(query.frames, task)

    def visual(self, videos: FrameFeatures) -> Float[Tensor, "B A"]:
        """Logits of videos over the classes of the heads, in their order, by the head of L_VC.

        Raises:
            ValueError: There is no such head.
        """
        if self.heads.classifier is None:
            raise ValueError("this m2-clip has no head for known classes; build it with classes=[...]")
        assert isinstance(videos, ClassTokenFeatures)
        return self.heads.classifier(class_token_tower(self.clip).head.norm(videos.token))

    def classify(self, videos: FrameFeatures, names: Sequence[str]) -> dict[str, Float[Tensor, "B A"]]:
        """Logits of videos over a list of class names, by the head that gave them; ``inference`` comes first.

        "text" is always there. "visual" and "average", the logarithm of the mean of both probabilities, are
        there where ``names`` are the ``classes`` of the heads, in any order.

        Raises:
            ValueError: Two names are equal, or ``inference`` is not "text" and they are other ones.
        """
        found = {"text": self.named(videos, self.read(names))}
        if self.heads.classifier is not None and set(names) == set(self.heads.names):
            visual = self.visual(videos)[:, self.heads.numbers(names)]
            both = torch.logaddexp(found["text"].log_softmax(-1), visual.log_softmax(-1)) - math.log(2)
            found |= {"visual": visual, "average": both}
        if self.inference not in found:
            raise ValueError(
                f"option inference={self.inference!r} needs the {len(self.heads.names)} classes of training, "
                f"all of them and no other, got {len(names)} other names; set_inference('text') takes any"
            )
        return {self.inference: found.pop(self.inference), **found}

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        """Every loss of a positive weight under its own name. ``accuracy`` is that of naming by words.

        An episode of other classes than those of the heads does without the heads. Which words are masked is
        drawn from torch's global generator, in eval mode too.

        Raises:
            ValueError: Clips of other classes than those of the heads, or no loss is left.
        """
        names, clips, labels = labelled(batch)
        number = self._numbers(names, required=isinstance(batch, ClipBatch))
        videos = [self.encode(part) for part in clips]
        text = self._words(names)
        logits = torch.cat([self.named(part, text) for part in videos])
        found: dict[str, Tensor] = {}
        if self.weights["contrastive"]:
            match = labels[:, None] == labels
            found["contrastive"] = multi_positive_kl(logits[:, labels], match)
        if self.weights["cmc"]:
            twice = self.cmc == "double-softmax"
            found["cmc"] = cross_entropy(logits.softmax(-1) if twice else logits, labels)
        if number is not None and self.heads.classifier is not None:
            own = number.to(labels.device)[labels]
            found["vc"] = cross_entropy(torch.cat([self.visual(part) for part in videos]), own)
        if number is not None and self.heads.masked_words is not None:
            own_names = [names[i] for i in labels.tolist()]
            found["cmlm"] = self.heads.filled_in(self.clip, own_names, [part.frames for part in videos])
        if not found:
            raise ValueError(
                f"no loss of m2-clip is left for classes such as {names[0]!r}: give contrastive_weight or "
                "cmc_weight a positive value, or classes=[...] the names of the training classes"
            )
        total = torch.stack([self.weights[name] * value for name, value in found.items()]).sum()
        report = {name: value.detach() for name, value in found.items()}
        return {"loss": total, "accuracy": accuracy(logits, labels), **report}

    def _words(self, names: Sequence[str]) -> Float[Tensor, "N D"]:
        """As ``read``, with gradient where the text tower learns."""
        if not trainable_parameters(self.clip.text_tower):
            return self.read(names)
        return F.normalize(self.clip.sentences(fill(distinct(names), TEMPLATE)), dim=-1)

    def _numbers(self, names: Sequence[str], *, required: bool) -> Int[Tensor, " N"] | None:
        """The number of each name among the classes of the heads, if these know them all."""
        number = self.heads.numbers(names)
        if number is None and len(self.heads) and (required or not self.heads.names):
            raise ValueError(
                f"class {min(set(names) - set(self.heads.names))!r} is none of the {len(self.heads.names)} "
                "whose names the heads of this m2-clip were built with; build it with classes=[...] the "
                "names of the training classes, or with classes=0"
            )
        return number


def class_token_tower(encoder: ClipEncoder) -> VisionTower:
    """The visual tower of a CLIP with class tokens.

    Raises:
        ValueError: It is a ResNet, or a SigLIP.
    """
    tower = encoder.vision
    if not isinstance(tower, VisionTower) or not isinstance(tower.head, ClassTokenHead):
        raise ValueError(
            f"m2-clip needs the class tokens of CLIP's vision transformer, and encoder {encoder.name!r} has "
            "none; use clip-vit-b-16, clip-vit-b-32 or clip-vit-l-14, or the method actionclip"
        )
    return tower
